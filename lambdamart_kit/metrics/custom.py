"""A metric of one's own: a function of the labels and scores of one query."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lambdamart_kit.core.queries import Queries, query_weights
from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray
from lambdamart_kit.metrics.base import BLANK_VALUE, BoundMetric, Metric, check_scores

QueryFunction = Callable[[FloatArray, FloatArray], float]


def make_metric(name: str, function: QueryFunction) -> FunctionMetric:
    """A metric made of a function of one query, to be used wherever a metric is.

    As `eval_metric` of a ranker, in `make_ranking_scorer`, in `ranker.report`, and as it is: a call gives the
    mean over queries. Queries without a relevant document are left out, as with the kit's own metrics. A
    ranker that is saved keeps the metric's name, and asks for the function when it is fitted again.

    Parameters
    ----------
    name : str
        What tables call it, such as "revenue@10". A number behind the name's "@" is a part of the name only.
    function : callable
        Takes labels and scores of one query, two float64 arrays with the highest score first (of equal
        scores the least relevant first, so that no order of the rows helps), and returns a number. Higher
        is better. NaN leaves the query out of the mean.

    Returns
    -------
    FunctionMetric
        The metric.

    Raises
    ------
    ValueError
        If `name` is empty, or the function returns something else than a number.

    Examples
    --------
    >>> first_is_best = make_metric("first@1", lambda labels, scores: float(labels[0] == labels.max()))
    >>> first_is_best([1, 0, 0, 1], [0.9, 0.1, 0.9, 0.1], ["a", "a", "b", "b"])
    0.5
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"'name' must be a text such as 'revenue@10'; got {name!r}")
    if not callable(function):
        raise ValueError(f"'function' must take the labels and scores of a query; got {function!r}")
    return FunctionMetric(label=name, function=function)


@dataclass(frozen=True, kw_only=True)
class FunctionMetric(Metric):
    """What `make_metric` makes.

    Attributes
    ----------
    label : str
        What tables call it.
    function : callable
        Of labels and scores of a query.
    """

    label: str
    function: QueryFunction = field(repr=False)

    name = "function"

    def __str__(self) -> str:
        return self.label

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        document_weight: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> BoundMetric:
        """Prepare for evaluating many score vectors of the same rows; see `Metric.bind`."""
        labels = self._checked_labels(y, queries)
        self._documents(document_weight, queries)
        return _BoundFunction(self, queries.sort(labels), queries, query_weights(sample_weight, queries))

    def _values(self, labels: FloatArray) -> FloatArray:
        return labels

    def _plan(self, longest: int) -> tuple[Callable[..., None], tuple[Any, ...]]:
        raise NotImplementedError("a metric made of a function has no kernel")


class _BoundFunction(BoundMetric):
    """A function bound to labels, called once a query."""

    metric: FunctionMetric

    def __init__(
        self, metric: FunctionMetric, labels: FloatArray, queries: Queries, weights: FloatArray
    ) -> None:
        self.metric = metric
        self.weights = weights
        self._queries = queries
        self._labels = labels
        self.blank = np.maximum.reduceat(labels, queries.ptr[:-1]) <= 0

    def per_query(self, scores: Array) -> FloatArray:
        """Value of each query, in the order of ``queries.ids``."""
        ordered = np.asarray(check_scores(scores, self._queries, ordered=True), dtype=np.float64)
        values = np.full(self._queries.n_queries, BLANK_VALUE[self.metric.blank])
        for q in np.flatnonzero(~self.blank):
            rows = slice(self._queries.ptr[q], self._queries.ptr[q + 1])
            # Equal scores are put in the order of their labels, the least relevant first: no order of the
            # rows can make a metric better.
            order = np.lexsort((self._labels[rows], -ordered[rows]))
            try:
                found: Any = self.metric.function(self._labels[rows][order], ordered[rows][order])
            except Exception as error:
                error.add_note(
                    f"raised by the function of the metric {str(self.metric)!r} for query "
                    f"{self._name(int(q))}; it gets its labels and its scores, the highest score first"
                )
                raise
            values[q] = self._checked(found, int(q))
        return values

    def mean(self, values: FloatArray) -> float:
        """Weighted mean of per-query `values`; NaN, with a warning, where the function gave nothing else."""
        if not (np.isnan(values).all() and not self.blank.all()):
            return super().mean(values)
        warnings.warn(
            f"{self.metric} is undefined: its function returned NaN for every query with a relevant "
            "document, and NaN leaves a query out",
            UserWarning,
            stacklevel=4,
        )
        return float("nan")

    def _name(self, q: int) -> str:
        return repr(self._queries.ids.tolist()[q])

    def _checked(self, found: Any, q: int) -> float:
        try:
            if isinstance(found, str | bytes):
                raise TypeError
            return float(found)
        except (TypeError, ValueError):
            raise ValueError(
                f"the function of the metric {str(self.metric)!r} must return a number for each query; for "
                f"query {self._name(q)} it returned {found!r}"
            ) from None
