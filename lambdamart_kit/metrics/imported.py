"""Metrics of one's own by the name of their function, ``module:function``, for commands.

Only what a person types is looked up here. Names in model files never are: opening a model, and measuring it,
must not import what the file names.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from lambdamart_kit.metrics.base import Metric
from lambdamart_kit.metrics.custom import FunctionMetric, make_metric
from lambdamart_kit.metrics.naming import each_metric, parse_metric

_FORM = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def is_import_name(name: Any) -> bool:
    """Whether a text has the form ``module:function``.

    Examples
    --------
    >>> is_import_name("shop.metrics:revenue"), is_import_name("ndcg@10")
    (True, False)
    """
    return isinstance(name, str) and _FORM.fullmatch(name) is not None


def find_metric(name: str | Metric) -> Metric:
    """The metric of a name, or of ``module:function``, whose module is imported.

    Parameters
    ----------
    name : str or Metric
        As for :func:`parse_metric`; or ``module:function``, where the function takes the labels and scores of
        a query, as in :func:`make_metric`, or is a metric that `make_metric` returned.

    Returns
    -------
    Metric
        Called by the whole name where it was imported.

    Raises
    ------
    ValueError
        If the name is not known, there is no such module or function, or it is no metric.

    Examples
    --------
    >>> find_metric("statistics:correlation")([2, 1, 0], [3.0, 2.0, 1.0], ["q", "q", "q"])
    1.0
    """
    if isinstance(name, Metric) or not is_import_name(name):
        return parse_metric(name)
    found = _imported(name)
    if isinstance(found, FunctionMetric):
        return replace(found, label=name)
    if isinstance(found, Metric | type) or not callable(found):
        raise ValueError(
            f"metric {name!r} must be a function of the labels and scores of a query, or what make_metric "
            f"returned; it is {found!r}"
        )
    return make_metric(name, found)


def find_metrics(names: str | Metric | Iterable[str | Metric]) -> list[Metric]:
    """Metrics of several names, or of one string with commas between them; every bad name in one error.

    Parameters
    ----------
    names : str, Metric, or iterable of these
        Each as for :func:`find_metric`.

    Raises
    ------
    ValueError
        Once, naming every bad name.
    """
    return each_metric(names, find_metric)


def source_digest(metric: Metric) -> str:
    """What changes when the code of a metric's function does; empty for the kit's own metrics."""
    if not isinstance(metric, FunctionMetric):
        return ""
    function = getattr(metric.function, "py_func", metric.function)  # of one that Numba compiled
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        source = repr(getattr(function, "__qualname__", type(function)))
    return hashlib.sha256(source.encode()).hexdigest()


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise  # the module is there, and lacks another one
        raise ValueError(
            f"metric {name!r}: there is no module {error.name!r}; install it, or set PYTHONPATH to its "
            "folder (PYTHONPATH=. for the present one)"
        ) from None
    try:
        return getattr(found, attribute)
    except AttributeError:
        raise ValueError(f"metric {name!r}: the module {module!r} has no {attribute!r}") from None
