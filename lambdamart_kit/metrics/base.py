"""What all metrics share: conventions, binding to labels, one value a query, and the weighted mean."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, get_args

import numpy as np

from lambdamart_kit.core.gains import Blank, Ties, check_choice, check_count, check_relevance
from lambdamart_kit.core.queries import Queries, document_weights, query_weights
from lambdamart_kit.core.ranking import tie_blocks
from lambdamart_kit.core.ranking.block_order import TIES
from lambdamart_kit.core.ranking.places import most_places
from lambdamart_kit.core.rows import check_given_rows
from lambdamart_kit.core.typing import Array, ArrayLike, BoolArray, FloatArray, Ids, IndexArray
from lambdamart_kit.metrics.placed import PlacedScores
from lambdamart_kit.runtime.threads import balanced_bounds, resolve_n_jobs, run_tasks

# Fewer rows are measured faster than a thread is woken.
_WORTH_SHARING = 20_000

BLANK_VALUE = {"skip": np.nan, "zero": 0.0, "one": 1.0}


@dataclass(frozen=True, kw_only=True)
class Metric(ABC):
    """A ranking metric with all its conventions fixed.

    A metric is computed for each query; its mean over queries is ``sum w_q m_q / sum w_q`` over the queries
    that count. ``str(metric)`` is its canonical name, such as ``"ndcg@10"``, and
    :func:`~lambdamart_kit.metrics.parse_metric` turns that back into the metric.

    Parameters
    ----------
    k : int, optional
        Cut-off: only the first `k` documents count. None for all.
    ties : {"average", "optimistic", "pessimistic", "input"}
        What equal scores mean: "average" is the exact expectation over random orders of the tied documents,
        "optimistic" and "pessimistic" the best and the worst order, "input" the order of the rows. As
        `eval_metric` during a fit, "input" means the ranker's canonical order: by a hash of the rows'
        content, so arbitrary, but always the same.
    blank : {"skip", "zero", "one"}
        What a query without a relevant document is worth: NaN and left out of the mean, 0, or 1.

    Attributes
    ----------
    name : str
        Name without cut-off or options.
    greater_is_better : bool
        True for every metric here; early stopping and scorers ask.
    weighs_documents : bool
        Whether it takes `document_weight`.
    takes_signed_labels : bool
        Whether labels may be negative, because the metric only compares them.

    Examples
    --------
    >>> from lambdamart_kit.metrics import parse_metric
    >>> metric = parse_metric("ndcg(blank=zero)@10")
    >>> isinstance(metric, Metric), metric.k, metric.blank, str(metric)
    (True, 10, 'zero', 'ndcg(blank=zero)@10')
    """

    k: int | None = None
    ties: Ties = "average"
    blank: Blank = "skip"

    name: ClassVar[str]
    greater_is_better: ClassVar[bool] = True
    weighs_documents: ClassVar[bool] = False
    takes_signed_labels: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.k is not None:
            check_count(self.k, name="k")
        check_choice(self.ties, get_args(Ties), name="ties")
        check_choice(self.blank, get_args(Blank), name="blank")

    def __str__(self) -> str:
        changed = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        changed.pop("k", None)
        options = ",".join(f"{name}={_written(value)}" for name, value in sorted(changed.items()))
        return self.name + (f"({options})" if options else "") + ("" if self.k is None else f"@{self.k}")

    def __call__(
        self,
        y: ArrayLike,
        scores: ArrayLike,
        qid: Ids = None,
        *,
        sample_weight: ArrayLike | None = None,
        document_weight: ArrayLike | None = None,
        n_jobs: int | None = None,
    ) -> float:
        """Weighted mean over queries, for row-aligned labels and scores.

        Parameters
        ----------
        y : (n_samples,) array-like
            Graded relevance, finite and >= 0.
        scores : (n_samples,) array-like
            Higher is ranked first; not NaN.
        qid : (n_samples,) array-like, optional
            Query of each row, any hashable ids in any order; None is one query.
        sample_weight : (n_samples,) array-like, optional
            Weight of the row's query, constant within a query.
        document_weight : (n_samples,) array-like, optional
            Weight of the document, >= 0: one of weight 2 counts as two copies of it in the ranking.
        n_jobs : int, optional
            Threads; None for all. The result does not depend on it.

        Returns
        -------
        float
            NaN, with a warning, when no query counts.

        Raises
        ------
        ValueError
            If lengths differ, there are no rows, or a label, score or weight is not usable.
        """
        bound, ordered = self._bind_and_order(y, scores, qid, sample_weight, document_weight, n_jobs)
        return bound(ordered)

    def per_query(
        self,
        y: ArrayLike,
        scores: ArrayLike,
        qid: Ids = None,
        *,
        document_weight: ArrayLike | None = None,
        n_jobs: int | None = None,
    ) -> FloatArray:
        """Value of each query, (n_queries,), in ascending order of query id.

        That is the order of ``numpy.unique(qid)`` and of ``Queries.ids``. Blank queries are NaN under
        ``blank="skip"``. Parameters as in a call of the metric.

        Parameters
        ----------
        y : (n_samples,) array-like
            Graded relevance of each row, finite and >= 0.
        scores : (n_samples,) array-like
            Score of each row; a higher one ranks first. Not NaN.
        qid : (n_samples,) array-like, optional
            Query of each row: any hashable ids in any order. None is one query.
        document_weight : (n_samples,) array-like, optional
            Weight of the document, >= 0: one of weight 2 counts as two copies of it in the ranking.
        n_jobs : int, optional
            Threads; None for all. The result does not depend on it.

        Returns
        -------
        (n_queries,) array
            Value of each query.
        """
        bound, ordered = self._bind_and_order(y, scores, qid, None, document_weight, n_jobs)
        return bound.per_query(ordered)

    def _bind_and_order(
        self,
        y: ArrayLike,
        scores: ArrayLike,
        qid: Ids,
        sample_weight: ArrayLike | None,
        document_weight: ArrayLike | None,
        n_jobs: int | None,
    ) -> tuple[BoundMetric, Array]:
        given = {"y": y, "scores": scores, "qid": qid}
        weights = {"sample_weight": sample_weight, "document_weight": document_weight}
        check_given_rows({**given, **weights}, stacklevel=3)
        labels = check_relevance(y, signed=self.takes_signed_labels)
        queries = Queries.from_qid(qid, len(labels))
        checked = check_scores(scores, queries)
        n_threads = resolve_n_jobs(n_jobs)
        bound = self.bind(
            labels, queries, sample_weight, document_weight=document_weight, n_threads=n_threads
        )
        return bound, queries.sort(checked)

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        document_weight: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> BoundMetric:
        """Prepare for evaluating many score vectors of the same rows, as early stopping does.

        `y` and `sample_weight` are row-aligned with the qid that made `queries`; the bound metric takes
        scores in *ordered rows* (``queries.sort(scores)``).

        Parameters
        ----------
        y : (n_samples,) array-like
            Graded relevance of each row, finite and >= 0, row-aligned with the qid that made `queries`.
        queries : Queries
            How rows are grouped by query.
        sample_weight : (n_samples,) array-like, optional
            Weight of the row's query, row-aligned. 1 by default.
        document_weight : (n_samples,) array-like, optional
            Weight of the document, >= 0, row-aligned. 1 by default.
        n_threads : int, optional
            Threads; None for all. The result does not depend on it.

        Returns
        -------
        BoundMetric
            Takes scores in ordered rows.

        Examples
        --------
        >>> from lambdamart_kit.core.queries import Queries
        >>> from lambdamart_kit.metrics import NDCG
        >>> queries = Queries.from_qid(["b", "a", "b"], 3)
        >>> bound = NDCG().bind([0, 1, 1], queries)
        >>> round(bound(queries.sort(np.array([2.0, 0.0, 1.0]))), 4)
        0.8155
        """
        labels = self._checked_labels(y, queries)
        return BoundMetric(
            self,
            queries.sort(labels),
            queries,
            query_weights(sample_weight, queries),
            resolve_n_jobs(n_threads),
            self._documents(document_weight, queries),
        )

    def _documents(self, document_weight: ArrayLike | None, queries: Queries) -> FloatArray | None:
        """Weights of documents in ordered rows, None if all are 1; a metric may have no use for them."""
        weights = document_weights(document_weight, queries)
        if weights is not None and not self.weighs_documents:
            raise ValueError(
                f"'document_weight' must be None with the metric {str(self)!r}, which cannot weigh "
                "documents; ndcg, dcg, precision and recall can"
            )
        return weights

    def _checked_labels(self, y: ArrayLike, queries: Queries) -> FloatArray:
        """Labels that can be bound: usable ones, at least one, and as many as there are rows of queries."""
        labels = check_relevance(y, signed=self.takes_signed_labels)
        if len(labels) != queries.n_samples:
            raise ValueError(f"'y' has {len(labels)} rows but 'qid' has {queries.n_samples}; they must agree")
        if not len(labels):
            raise ValueError(f"{self} needs at least one row; got an empty 'y'")
        return labels

    @abstractmethod
    def _values(self, labels: FloatArray) -> FloatArray:
        """What the metric makes of each label: a gain, 0 or 1, a stop probability."""

    @abstractmethod
    def _plan(self, longest: int) -> tuple[Callable[..., None], tuple[Any, ...]]:
        """The kernel that scores every query, and its arguments between `ties` and `out`."""

    def _scale(self, ranked: RankedScores | PlacedScores) -> tuple[FloatArray | float, BoolArray]:
        """What each query's raw value is divided by, and which queries are blank."""
        return 1.0, ranked.blank()


@dataclass(frozen=True, eq=False)
class RankedScores:
    """Values of ordered rows, ready to be ranked by scores: kernel, arguments and how work is shared out."""

    values: FloatArray
    ptr: IndexArray
    cutoff: int
    kernel: Callable[..., None]
    arguments: tuple[Any, ...]
    bounds: IndexArray
    n_threads: int

    def run(self, scores: Array, ties: int) -> FloatArray:
        """Raw value of each query for `scores` in ordered rows."""
        return self.share_out(self.kernel, scores, self.values, self.ptr, self.cutoff, ties, *self.arguments)

    def share_out(self, kernel: Callable[..., None], *arguments: Any) -> FloatArray:
        """What ``kernel(start, stop, *arguments, out)`` makes of all queries, shared out to the threads."""
        out = np.empty(len(self.ptr) - 1)
        run_tasks(kernel, self.bounds, self.n_threads, *arguments, out)
        return out

    def ideal(self) -> FloatArray:
        """Raw value of each query in the best order, for a sum of values times discounts."""
        return self.share_out(tie_blocks.ideal_sums, self.values, self.ptr, self.cutoff, *self.arguments)

    def totals(self) -> FloatArray:
        """Sum of the values of each query."""
        sums: FloatArray = np.add.reduceat(self.values, self.ptr[:-1])
        return sums

    def sizes(self) -> FloatArray:
        """Documents of each query."""
        return np.diff(self.ptr).astype(np.float64)

    def blank(self) -> BoolArray:
        """Queries whose documents have no value."""
        blank: BoolArray = np.maximum.reduceat(self.values, self.ptr[:-1]) <= 0
        return blank


class BoundMetric:
    """A metric bound to labels: what does not depend on scores is computed once.

    Made by :meth:`Metric.bind`; takes scores in ordered rows.

    Parameters
    ----------
    metric : Metric
        What is bound.
    labels : (n_samples,) array
        Graded relevance, ordered rows.
    queries : Queries
        How rows are grouped by query.
    weights : (n_queries,) float64
        Query weights.
    n_threads : int
        Threads that work on the queries.
    document_weight : (n_samples,) float64, optional
        Weights of documents, ordered rows.

    Attributes
    ----------
    blank : (n_queries,) bool
        Queries without a relevant document.

    Examples
    --------
    >>> from lambdamart_kit.core.queries import Queries
    >>> from lambdamart_kit.metrics import MRR
    >>> bound = MRR().bind([0, 1, 1], Queries.from_qid(["a", "a", "b"], 3))
    >>> scores = np.array([2.0, 1.0, 0.0])
    >>> bound.per_query(scores).tolist(), bound(scores)
    ([0.5, 1.0], 0.75)
    """

    def __init__(
        self,
        metric: Metric,
        labels: FloatArray,
        queries: Queries,
        weights: FloatArray,
        n_threads: int,
        document_weight: FloatArray | None = None,
    ) -> None:
        self.metric = metric
        self.weights = weights
        self._queries = queries
        self._ties = TIES[metric.ties]
        self._ranked: RankedScores | PlacedScores
        if document_weight is None:
            self._ranked = _ranked_scores(metric, labels, queries, n_threads)
        else:
            discount = metric._plan(most_places(document_weight, queries))[1][0]
            cutoff = np.inf if metric.k is None else float(metric.k)
            values = metric._values(labels)
            self._ranked = PlacedScores(values, document_weight, queries, cutoff, discount)
        self._scale, self.blank = metric._scale(self._ranked)
        self._absent = None
        if document_weight is not None:  # a query whose documents all weigh 0 does not count, blank or not
            self._absent = np.add.reduceat(document_weight, queries.ptr[:-1]) == 0

    def __call__(self, scores: Array) -> float:
        """Weighted mean over the queries that count; NaN with a warning when none does."""
        return self.mean(self.per_query(scores))

    def per_query(self, scores: Array) -> FloatArray:
        """Value of each query, (n_queries,), in the order of ``queries.ids``.

        Parameters
        ----------
        scores : (n_samples,) array
            Scores of the ordered rows, not NaN.

        Returns
        -------
        (n_queries,) array
            NaN for a blank query under ``blank="skip"``.
        """
        ordered = check_scores(scores, self._queries, ordered=True)
        values = self._ranked.run(ordered, self._ties)
        with np.errstate(invalid="ignore", divide="ignore"):
            values /= self._scale
        values[self.blank] = BLANK_VALUE[self.metric.blank]
        if self._absent is not None:
            values[self._absent] = np.nan
        return values

    def sums(self, scores: Array) -> tuple[float, float]:
        """``sum w_q m_q`` and ``sum w_q`` over the queries that count: what a mean over parts adds up.

        Parameters
        ----------
        scores : (n_samples,) array
            Scores of the ordered rows, not NaN.

        Returns
        -------
        tuple of two floats
            Weighted sum of the values, and sum of the weights.
        """
        return weighted_sums(self.per_query(scores), self.weights)

    def mean(self, values: FloatArray) -> float:
        """Weighted mean of per-query `values`; NaN values do not count.

        Parameters
        ----------
        values : (n_queries,) array
            One value a query, as `per_query` returns them.

        Returns
        -------
        float
            NaN, with a warning, when no query counts.
        """
        return weighted_mean(values, self.weights, str(self.metric))


def _ranked_scores(metric: Metric, labels: FloatArray, queries: Queries, n_threads: int) -> RankedScores:
    """What the metric makes of ordered labels, and how it is computed."""
    longest = int(queries.sizes.max())
    cutoff = longest if metric.k is None else min(int(metric.k), longest)
    kernel, arguments = metric._plan(longest)
    if len(labels) < _WORTH_SHARING:
        n_threads = 1
    bounds = balanced_bounds(queries.sizes, n_threads)
    return RankedScores(metric._values(labels), queries.ptr, cutoff, kernel, arguments, bounds, n_threads)


def weighted_mean(values: FloatArray, weights: FloatArray, name: str) -> float:
    """``sum w_q m_q / sum w_q`` over the queries whose value is not NaN; NaN with a warning when none is."""
    return mean_of_sums(*weighted_sums(values, weights), name)


def weighted_sums(values: FloatArray, weights: FloatArray) -> tuple[float, float]:
    """``sum w_q m_q`` and ``sum w_q`` over the queries whose value is not NaN."""
    counted = ~np.isnan(values)
    return float((weights[counted] * values[counted]).sum()), float(weights[counted].sum())


def mean_of_sums(weighted: float, total: float, name: str) -> float:
    """``weighted / total``; NaN with a warning when `total` is 0."""
    if total == 0.0:
        warnings.warn(
            f"{name} is undefined: no query with weight has a relevant document; "
            "blank='zero' or blank='one' gives such queries a value",
            UserWarning,
            stacklevel=5,
        )
        return float("nan")
    return weighted / total


def check_scores(scores: ArrayLike, queries: Queries, *, ordered: bool = False) -> Array:
    """Scores as contiguous float32 or float64, one a row, none NaN; errors name the row."""
    checked = np.asarray(scores)
    if checked.dtype.kind not in "fiub":
        raise ValueError(f"'scores' must hold numbers; got dtype {checked.dtype}")
    if checked.shape != (queries.n_samples,):
        raise ValueError(
            f"'scores' must hold one score per row: expected shape ({queries.n_samples},), "
            f"got {checked.shape}"
        )
    checked = np.ascontiguousarray(checked, dtype=None if checked.dtype == np.float32 else np.float64)
    if np.isnan(checked).any():
        rows = np.flatnonzero(np.isnan(checked))
        row = np.min(queries.order[rows]) if ordered else rows[0]
        raise ValueError(
            f"'scores' must not be NaN; row {row} is ({len(rows)} such rows); the model may have diverged"
        )
    return checked


def _written(value: Any) -> str:
    """An option's value as it stands in a metric's canonical name."""
    if isinstance(value, tuple):
        return "[" + ",".join(f"{v:g}" for v in value) + "]"
    if isinstance(value, float):
        return f"{value:g}"
    return getattr(value, "__name__", str(value))
