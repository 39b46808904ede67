"""Canonical metric names, parsed and printed the same everywhere: ``ndcg@10``, ``map(min_relevance=2)``."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any

from lambdamart_kit.core.typing import Settings
from lambdamart_kit.metrics.base import Metric
from lambdamart_kit.metrics.measures import DCG, ERR, MAP, MRR, NDCG, KendallTau, Precision, Recall
from lambdamart_kit.runtime.python_parser import PARSER

METRICS: dict[str, type[Metric]] = {
    metric.name: metric for metric in (NDCG, DCG, MAP, MRR, ERR, Precision, Recall, KendallTau)
}
_ALIASES = {"ap": "map", "rr": "mrr", "p": "precision", "r": "recall", "tau": "kendall_tau"}
_FORM = re.compile(r"\s*(?P<name>[a-z_]+)\s*(\((?P<options>.*)\))?\s*(@\s*(?P<k>[^\s@()]+))?\s*", re.I | re.S)


def parse_metric(name: str | Metric) -> Metric:
    """The metric of a name: ``name[(option=value,...)][@k]``, in any case.

    Names are the keys of ``METRICS``, or one of the short forms ap, rr, p, r and tau. Options are the fields
    of the metric's class (``ties``, ``blank``, ``gain``, ``min_relevance``, ``max_relevance``, ``variant``).
    ``str`` of the result is the canonical name, and parses back to an equal metric.

    Parameters
    ----------
    name : str or Metric
        A metric is returned as it is.

    Returns
    -------
    Metric
        The metric with all its options.

    Raises
    ------
    ValueError
        If the name, an option or the cut-off is not known; the message lists what is.

    Examples
    --------
    >>> parse_metric("NDCG@10")
    NDCG(k=10, ties='average', blank='skip', gain='exp2')
    >>> str(parse_metric("P(min_relevance=2, ties=input)@5"))
    'precision(min_relevance=2,ties=input)@5'
    """
    if isinstance(name, Metric):
        return name
    form = _FORM.fullmatch(name) if isinstance(name, str) else None
    if form is None:
        raise ValueError(
            f"a metric must be a name such as 'ndcg@10' or 'err(max_relevance=2)@20'; got {name!r}"
        )
    key = form["name"].lower()
    metric = METRICS.get(_ALIASES.get(key, key))
    if metric is None:
        raise ValueError(f"unknown metric {name!r}; known are {', '.join(METRICS)}")
    try:
        return metric(k=_cutoff(form["k"]), **_options(form["options"] or "", metric))
    except ValueError as error:
        raise ValueError(f"metric {name!r}: {error}") from None


def parse_metrics(names: str | Metric | Iterable[str | Metric]) -> list[Metric]:
    """Metrics of several names, or of one string with commas between them.

    Parameters
    ----------
    names : str, Metric, or iterable of these
        A string may hold several names with commas between them.

    Returns
    -------
    list of Metric
        In the order of the names.

    Raises
    ------
    ValueError
        Once, naming every bad name.

    Examples
    --------
    >>> [str(metric) for metric in parse_metrics("ndcg@10, map, err(ties=input,max_relevance=2)@20")]
    ['ndcg@10', 'map', 'err(max_relevance=2,ties=input)@20']
    """
    return each_metric(names, parse_metric)


def each_metric(
    names: str | Metric | Iterable[str | Metric], find: Callable[[str | Metric], Metric]
) -> list[Metric]:
    """What `find` finds for each of several names; one error for all that it does not know."""
    if isinstance(names, Metric):
        return [names]
    metrics: list[Metric] = []
    problems: list[str] = []
    for name in split_names(names):
        try:
            metrics.append(find(name))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("; ".join(problems))
    return metrics


def split_names(names: str | Iterable[Any]) -> list[Any]:
    """The names in one string with commas between them; commas within parentheses stay.

    Examples
    --------
    >>> split_names("ndcg@10, err(ties=input,max_relevance=2)@20")
    ['ndcg@10', 'err(ties=input,max_relevance=2)@20']
    """
    if not isinstance(names, str):
        return list(names)
    return [part.strip() for part in re.split(r",(?![^(]*\))", names) if part.strip()]


def _cutoff(text: str | None) -> int | None:
    if text is not None and not text.isdecimal():
        raise ValueError(f"'k' must be a whole number >= 1; got {text!r}")
    return None if text is None else int(text)


def _options(text: str, metric: type[Metric]) -> Settings:
    try:
        with PARSER:
            call = ast.parse(f"_({text})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError
        options = {str(keyword.arg): _value(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError):
        raise ValueError(f"options must be written as option=value; got ({text})") from None
    known = {field.name for field in fields(metric)} - {"k"}
    unknown = sorted(set(options) - known)
    if unknown:
        raise ValueError(
            f"unknown option {', '.join(map(repr, unknown))}; known are {', '.join(sorted(known))}"
        )
    return options


def _value(node: ast.expr) -> Any:
    return node.id if isinstance(node, ast.Name) else ast.literal_eval(node)
