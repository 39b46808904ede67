r"""The fastest way to score of which it can be said that it loses no more than the tolerance.

Candidates are tested one after the other in an order that was fixed before, on queries that had no part in
making them, and the first failure ends it. To accept any that loses more, the first such one in the order
must pass by chance, and the probability of that is at most ``1 - confidence``, however many candidates there
are (fixed sequence testing [1]_). Where fewer trees seem to rank as well as all, there are two orders, each
tested at half of that probability. A candidate passes if the upper confidence bound of its mean loss is
within the tolerance:

.. math:: \bar l + t_{n, confidence} \, s / \sqrt{n + 1}

Mean and standard deviation are those of the losses of n queries and of one more, which loses 0.05. Without
it, 20 queries of which none lost anything would seem to prove that none ever will.

References
----------
.. [1] Angelopoulos et al. (2021), Learn then test: calibrating predictive algorithms to achieve risk control,
   arXiv 2110.01052, section 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lambdamart_kit.boosters.protocol import Model
from lambdamart_kit.core.gains import gains
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, Features, FloatArray, IndexArray
from lambdamart_kit.metrics import Metric
from lambdamart_kit.metrics.base import BoundMetric
from lambdamart_kit.metrics.measures import NDCG
from lambdamart_kit.rankers.compression.candidates import (
    Candidate,
    Costs,
    Sample,
    agreement_gains,
    candidates,
    kept_counts,
    points_of,
)
from lambdamart_kit.rankers.compression.record import Compression
from lambdamart_kit.trees.forest import Forest
from lambdamart_kit.trees.scoring.exits import Exits

_UNSEEN_LOSS = 0.05  # of a query that loses a relevant document among its first ten; seen: .01 to .1
_LEAST_QUERIES = 10  # in each part
_WORTH_IT = 0.95  # the largest share of the operations that is called faster


@dataclass(frozen=True, eq=False)
class Promise:
    """What a compressed ranker must keep.

    Attributes
    ----------
    metric : Metric
        With a cut-off.
    tolerance, confidence : float
    """

    metric: Metric
    tolerance: float
    confidence: float

    @property
    def k(self) -> int:
        """First documents of a query that matter."""
        assert self.metric.k is not None
        return self.metric.k


@dataclass(frozen=True, eq=False)
class Part:
    """Some of the queries, the rows of each side by side.

    Attributes
    ----------
    rows : (n_part,) intp
        Which rows of X they are.
    queries : Queries
        Of these rows, which stand in order.
    labels : (n_part,) float64
    partial : (n_part, n_points) float64
        Scores of the first so many trees.
    bound : BoundMetric
    before : (n_queries,) float64
        The metric of the whole model, NaN for queries that do not count.
    """

    rows: IndexArray
    queries: Queries
    labels: FloatArray
    partial: FloatArray
    bound: BoundMetric
    before: FloatArray

    def losses(self, scores: FloatArray) -> FloatArray:
        """What each query that counts loses by these scores."""
        lost = self.before - self.bound.per_query(scores)
        return lost[~np.isnan(lost)]

    @property
    def n_counting(self) -> int:
        """Queries that the metric does not skip."""
        return int(np.count_nonzero(~np.isnan(self.before)))


class Search:
    """The search of one model; `run` does it.

    Parameters
    ----------
    model : Model
    X : (n_samples, n_features) array or CSR matrix
        Checked rows.
    queries : Queries
    y : (n_samples,) float64, or None
        Relevance; None measures by the agreement with the model.
    promise : Promise
    n_threads : int
    """

    def __init__(
        self,
        model: Model,
        X: Features,
        queries: Queries,
        y: FloatArray | None,
        promise: Promise,
        n_threads: int,
    ) -> None:
        self._X = X
        self._promise = promise
        self._n_threads = n_threads
        self._trees = model.model_trees()
        self._costs = Costs(self._trees)
        self._points = points_of(len(self._trees))
        self._forest = model.forest(X, self._points[:-1])
        partial = self._partial_scores()
        k = promise.k
        self._metric = promise.metric if y is not None else NDCG(k=k, gain="linear")
        self._name = str(promise.metric) if y is not None else f"agreement@{k}"
        self._has_labels = y is not None
        labels = agreement_gains(partial[:, -1], queries, k) if y is None else y
        self._learning, self._measuring = self._parts(queries, labels, partial)

    def _partial_scores(self) -> FloatArray:
        """Scores at all points, (n_samples, n_points)."""
        partial = np.zeros((self._X.shape[0], len(self._points)))
        start = 0
        for column, stop in enumerate(self._points):
            partial[:, column] = self._forest.predict(self._X, start, stop, n_threads=self._n_threads)
            start = stop
        return np.cumsum(partial, axis=1)

    def _parts(self, queries: Queries, labels: FloatArray, partial: FloatArray) -> tuple[Part, Part]:
        """A third of the queries to learn from, and the others."""
        code = queries.unsort(queries.query_of_ordered_row)
        # Rows of a query in an order of their own content, so that sums come out the same for any row order.
        order = np.lexsort((labels, *partial.T, code))
        learns = np.zeros(queries.n_queries, dtype=bool)
        drawn = np.random.default_rng(0).permutation(queries.n_queries)
        learns[drawn[: queries.n_queries // 3]] = True
        return (
            self._part(queries, order, labels, partial, learns),
            self._part(queries, order, labels, partial, ~learns),
        )

    def _part(
        self, queries: Queries, order: IndexArray, labels: FloatArray, partial: FloatArray, mask: Array
    ) -> Part:
        rows = order[mask[queries.query_of_ordered_row]]
        ptr = np.concatenate(([0], np.cumsum(queries.sizes[mask]))).astype(np.intp)
        own = Queries(np.arange(len(rows), dtype=np.intp), ptr, queries.ids[mask])
        if not len(rows):
            return Part(rows, own, labels[rows], partial[rows], None, np.empty(0))  # type: ignore[arg-type]
        bound = self._metric.bind(labels[rows], own, n_threads=self._n_threads)
        return Part(rows, own, labels[rows], partial[rows], bound, bound.per_query(partial[rows, -1]))

    # ------------------------------------------------------------------------------------------- running

    def run(self) -> Compression:
        """The fastest way that keeps the promise; that of the whole model if none does."""
        if min(self._learning.n_counting, self._measuring.n_counting) < _LEAST_QUERIES:
            return self._record(None)
        # Values of the rows that are measured on, once for all tests.
        X = self._X[self._measuring.rows]
        orders = self._orders()
        # Two orders share what may go wrong, so each is tested at half of it.
        confidence = 1.0 - (1.0 - self._promise.confidence) / len(orders)
        accepted = [self._fastest(order, X, confidence) for order in orders]
        found = [entry for entry in accepted if entry is not None and entry[0].cost <= _WORTH_IT]
        return self._record(min(found, key=lambda entry: entry[0].cost) if found else None)

    def _fastest(
        self, order: Sequence[Candidate], X: Features, confidence: float
    ) -> tuple[Candidate, FloatArray, float] | None:
        """The last candidate before the first one that may lose too much; with its losses and their bound."""
        accepted = None
        for candidate in order:
            losses = self._measuring.losses(self._scores(X, candidate))
            bound = upper_bound(losses, confidence)
            if bound > self._promise.tolerance:
                break
            accepted = (candidate, losses, bound)
        return accepted

    def _orders(self) -> list[list[Candidate]]:
        """Candidates from the safest to the fastest: with all trees, and with fewer if these rank as well."""
        sample = Sample(self._points, self._learning.partial, self._learning.queries.ptr, self._gains())
        n_trees = len(self._trees)
        return [self._in_order(sample, kept) for kept in sorted({n_trees, self._trees_to_keep(sample)})]

    def _in_order(self, sample: Sample, kept: int) -> list[Candidate]:
        """Candidates of so many trees, by what the learning queries say alone."""
        promise = self._promise
        found = candidates(sample, self._costs, kept, promise.k, promise.tolerance)
        return [
            candidate
            for candidate in found
            if self._learning.losses(sample.scores_of(candidate)).mean() <= 2 * promise.tolerance
        ]

    def _trees_to_keep(self, sample: Sample) -> int:
        """The fewest trees that rank as well as the best number of them, up to the tolerance."""
        promise = self._promise
        losses = {kept: self._learning.losses(sample.scores(kept)) for kept in kept_counts(len(self._trees))}
        # All trees lose nothing, so there is always one.
        safe = [
            kept
            for kept, lost in losses.items()
            if kept == len(self._trees) or upper_bound(lost, promise.confidence) <= promise.tolerance
        ]
        best = min(losses[kept].mean() for kept in safe)
        return min(kept for kept in safe if losses[kept].mean() <= best + promise.tolerance)

    def _gains(self) -> FloatArray:
        """Gains of the documents to learn from."""
        return gains(self._learning.labels, "exp2" if self._has_labels else "linear")

    def _scores(self, X: Features, candidate: Candidate) -> FloatArray:
        """Scores of the rows that are measured on, as the compressed ranker gives them."""
        trees = self._trees[: candidate.kept]
        forest = Forest.of_trees(trees, self._forest.codes.thresholds.dtype, candidate.exits.after)
        assert forest is not None  # because the whole model could be laid out
        queries = self._measuring.queries
        return forest.predict_with_exits(X, queries, candidate.exits, n_threads=self._n_threads)

    def _record(self, accepted: tuple[Candidate, FloatArray, float] | None) -> Compression:
        n_trees = len(self._trees)
        measured = self._measuring
        candidate = Candidate(n_trees, Exits((), (), self._promise.k), 1.0)
        losses = np.zeros(measured.n_counting)
        bound = 0.0
        if accepted is not None:
            candidate, losses, bound = accepted
        exits = candidate.exits
        columns = [self._points.index(point) for point in exits.after]
        stopped = exits.stops(measured.partial[:, columns], measured.queries.ptr)
        shares = np.bincount(stopped, minlength=len(exits.after) + 1) / max(1, len(stopped))
        before = float(np.nanmean(measured.before)) if len(losses) else float("nan")
        whole = self._costs.of_all(n_trees)
        cost = self._costs.of_exits(candidate.kept, exits.after, stopped) if len(stopped) else whole
        return Compression(
            n_trees=n_trees,
            kept=candidate.kept,
            exits=exits,
            stopped=tuple(shares[:-1].tolist()),
            metric=self._name,
            tolerance=self._promise.tolerance,
            confidence=self._promise.confidence,
            n_learned=self._learning.n_counting,
            n_measured=measured.n_counting,
            before=before,
            after=before - float(losses.mean()) if len(losses) else float("nan"),
            bound=bound,
            speed_up=whole / cost,
            speed_up_without_qid=whole / self._costs.of_all(candidate.kept),
        )


def upper_bound(losses: FloatArray, confidence: float) -> float:
    """Upper confidence bound of the mean loss of queries like these; see the module's formula.

    Examples
    --------
    >>> round(upper_bound(np.zeros(20), 0.95), 4), round(upper_bound(np.zeros(2000), 0.95), 6)
    (0.0065, 6.6e-05)
    """
    from scipy.stats import t  # takes .7 s to import

    more = np.append(losses, _UNSEEN_LOSS)
    n = len(losses)
    return float(more.mean() + t.ppf(confidence, n) * more.std(ddof=1) / np.sqrt(n + 1))


def least_queries(tolerance: float, confidence: float) -> int:
    """Queries that count of which a loss within the tolerance could be shown if none lost anything.

    Examples
    --------
    >>> least_queries(5e-4, 0.95)
    400
    """
    n = _LEAST_QUERIES
    while upper_bound(np.zeros(n), confidence) > tolerance and n < 10_000_000:
        n = int(1.01 * n) + 1
    return 3 * n // 2 + 1
