"""Ways to score with fewer operations, from what some queries say of them.

A candidate is a number of trees and exits. The margins of its exits come from the documents that matter:
those among the first k of their query that have a gain. At each exit, the margin is the smallest one with
which all documents that matter and stop there, together, lose at most a small part of the metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from lambdamart_kit.core.gains import discounts
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, FloatArray, IndexArray
from lambdamart_kit.trees.model_text import ModelTree
from lambdamart_kit.trees.scoring.exits import Exits

# Shares of the trees that a candidate keeps, and after which a document of it may stop.
_KEPT = (1.0, 0.9, 0.8, 0.65, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05)
_EXITS = (0.01, 0.02, 0.03, 0.045, 0.065, 0.1, 0.15, 0.22, 0.33, 0.5, 0.7)
# What all documents that stop at an exit may lose of the metric, as a share of the tolerance. It is counted
# as if nobody took their places, so the ranking loses less than that.
_LOSSES = (0.0, 0.05, 0.15, 0.3, 0.5, 0.8, 1.2, 1.8, 2.5, 3.5)
# Safer still: margins as multiples of those by which no document that mattered has stopped.
_WIDER = (2.0, 1.5, 1.2)
# Operations in units of one split of a row, about .05 ns (`benchmarks/compression.py --operations`, AVX-512):
# fetching a row from memory, turning its values, comparing one with a threshold, and looking at an exit.
_FETCH, _ROW, _THRESHOLD, _EXIT = 1500.0, 1000.0, 0.7, 250.0


@dataclass(frozen=True, eq=False)
class Sample:
    """Queries to learn from: what their documents score after some of the trees.

    Attributes
    ----------
    points : tuple of int
        Numbers of trees, ascending; the last is all of them.
    partial : (n_samples, n_points) float64
        Scores of the first so many trees, the rows of each query side by side.
    ptr : (n_queries + 1,) intp
        Where each query begins.
    gains : (n_samples,) float64
        Gain of each document.
    """

    points: tuple[int, ...]
    partial: FloatArray
    ptr: IndexArray
    gains: FloatArray

    def scores(self, n_trees: int) -> FloatArray:
        """Scores of the first `n_trees`, which is one of the points."""
        return self.partial[:, self.points.index(n_trees)]

    def stopped(self, exits: Exits) -> Array:
        """The exit at which each document stops."""
        columns = [self.points.index(point) for point in exits.after]
        return exits.stops(self.partial[:, columns], self.ptr)

    def scores_of(self, candidate: Candidate) -> FloatArray:
        """Scores that rank documents as the candidate does, which differ from its own by constants."""
        after = candidate.exits.after
        stopped = self.stopped(candidate.exits)
        columns = np.array([self.points.index(point) for point in (*after, candidate.kept)])
        scores = self.partial[np.arange(len(stopped)), columns[stopped]]
        # Those that stop at an exit are below all that go further.
        step = 1.0 + 2.0 * float(np.abs(self.partial).max(initial=0.0))
        return scores - step * (len(after) - stopped)


@dataclass(frozen=True)
class Candidate:
    """A number of trees and exits, and the share of the operations that they take."""

    kept: int
    exits: Exits
    cost: float


class Costs:
    """Operations that scoring takes, counted in splits of one row.

    Parameters
    ----------
    trees : sequence of ModelTree
        Of the whole model.
    """

    def __init__(self, trees: Sequence[ModelTree]) -> None:
        sizes = [len(tree.feature) for tree in trees]
        self._first_node = np.cumsum([0, *sizes])
        tests = np.zeros(self._first_node[-1], dtype=[("feature", np.int64), ("value", np.float64)])
        tests["feature"] = np.concatenate([tree.feature for tree in trees])
        tests["value"] = np.concatenate([tree.threshold for tree in trees])
        _, self._test = np.unique(tests, return_inverse=True)
        self.of_segment = lru_cache(maxsize=None)(self._of_segment)

    def _of_segment(self, start: int, stop: int) -> float:
        """For a row that goes through the trees ``start:stop``, which begin with its values."""
        first, last = self._first_node[start], self._first_node[stop]
        n_thresholds = len(np.unique(self._test[first:last]))
        return _ROW + _THRESHOLD * n_thresholds + float(last - first + stop - start)

    def of_all(self, n_trees: int) -> float:
        """For a row that goes through the first `n_trees` at once."""
        return float(_FETCH + self.of_segment(0, n_trees))

    def of_exits(self, kept: int, after: Sequence[int], stopped: Array) -> float:
        """The mean over rows that stop at these exits of a model of so many trees."""
        n_rows = len(stopped)
        reached = n_rows - np.cumsum(np.bincount(stopped, minlength=len(after) + 1))
        n_active = [n_rows, *reached[:-1].tolist()]
        bounds = [0, *after, kept]
        total = n_rows * _FETCH
        for segment, rows in enumerate(n_active):
            total += rows * self.of_segment(bounds[segment], bounds[segment + 1])
            total += rows * _EXIT if segment < len(after) else 0.0
        return total / n_rows


def points_of(n_trees: int) -> tuple[int, ...]:
    """Numbers of trees at which scores are looked at, for all candidates of a model."""
    exits = {max(1, round(share * n_trees)) for share in _EXITS}
    return tuple(sorted(exits.union(kept_counts(n_trees))))


def kept_counts(n_trees: int) -> list[int]:
    """Numbers of trees that candidates keep, from all to a twentieth."""
    return sorted({max(1, round(share * n_trees)) for share in _KEPT}, reverse=True)


def candidates(sample: Sample, costs: Costs, kept: int, k: int, tolerance: float) -> list[Candidate]:
    """Ways to score with the first `kept` trees, from the safest to the fastest, each faster than before.

    Parameters
    ----------
    sample : Sample
    costs : Costs
    kept : int
        A number of `kept_counts`.
    k : int
        First documents of a query that matter.
    tolerance : float
        What may be lost of the metric.
    """
    whole = costs.of_all(sample.points[-1])
    found = [Candidate(kept, Exits((), (), k), costs.of_all(kept) / whole)]
    points = [point for point in sample.points if point < 0.85 * kept]
    if points:
        needs = _Needs(sample, kept, points, k)
        # Which exits pay is decided once, by the tolerance itself: it changes little with the margins.
        used = _paying(sample, costs, kept, needs.exits(points, tolerance))
        safest = needs.exits(used, 0.0)
        wider = [replace(safest, margins=tuple(f * m for m in safest.margins)) for f in _WIDER]
        for exits in [*wider, *(needs.exits(used, loss * tolerance) for loss in _LOSSES)]:
            cost = costs.of_exits(kept, exits.after, sample.stopped(exits)) / whole
            if cost < found[-1].cost:
                found.append(Candidate(kept, exits, cost))
    return [candidate for candidate in found if candidate.cost < 1.0]


class _Needs:
    """How far below the k-th best the documents that matter are at each point.

    Parameters
    ----------
    sample : Sample
    kept : int
        Trees that say which documents matter.
    points : sequence of int
    k : int
    """

    def __init__(self, sample: Sample, kept: int, points: Sequence[int], k: int) -> None:
        self._k = k
        n_queries = len(sample.ptr) - 1
        query = np.repeat(np.arange(n_queries), np.diff(sample.ptr))
        rank = _ranks(sample.scores(kept), query, sample.ptr)
        among = (rank < k) & (sample.gains > 0)
        shares = sample.gains[among] * discounts(k)[rank[among]] / _ideal(sample, query, k)[query[among]]
        self._margins = {}
        for point in points:
            partial = sample.scores(point)
            below = _kth_best(partial, query, sample.ptr, k)[query[among]] - partial[among]
            # From the document that is furthest below to the nearest: what is lost if it, and all before it,
            # stop.
            order = np.lexsort((shares, -below))
            self._margins[point] = (below[order], np.cumsum(shares[order]) / n_queries)

    def exits(self, points: Sequence[int], loss: float) -> Exits:
        """Exits at these points with the smallest margins at each of which no more than `loss` is lost."""
        margins = []
        for point in points:
            below, lost = self._margins[point]
            first_kept = int(np.searchsorted(lost, loss, side="right"))
            margins.append(max(0.0, float(below[first_kept])) if first_kept < len(below) else 0.0)
        return Exits(tuple(points), tuple(margins), self._k)


def _ranks(scores: FloatArray, query: IndexArray, ptr: IndexArray) -> IndexArray:
    """Rank of each row in its query, from 0."""
    order = np.lexsort((-scores, query))
    rank = np.empty(len(scores), dtype=np.intp)
    rank[order] = np.arange(len(scores)) - ptr[query]
    return rank


def _kth_best(scores: FloatArray, query: IndexArray, ptr: IndexArray, k: int) -> FloatArray:
    """The k-th best score of each query, or the worst if it has fewer rows."""
    ordered = scores[np.lexsort((-scores, query))]
    found: FloatArray = ordered[np.minimum(ptr[:-1] + k, ptr[1:]) - 1]
    return found


def _ideal(sample: Sample, query: IndexArray, k: int) -> FloatArray:
    """DCG of the best order of each query."""
    rank = _ranks(sample.gains, query, sample.ptr)
    first = rank < k
    weights = sample.gains[first] * discounts(k)[rank[first]]
    return np.bincount(query[first], weights=weights, minlength=len(sample.ptr) - 1).astype(np.float64)


def _paying(sample: Sample, costs: Costs, kept: int, exits: Exits) -> list[int]:
    """The points, of those of `exits`, at which it pays to look."""

    def cost(used: Sequence[int]) -> float:
        margins = tuple(exits.margins[exits.after.index(point)] for point in used)
        part = Exits(tuple(used), margins, exits.k)
        return costs.of_exits(kept, used, sample.stopped(part))

    used = list(exits.after)
    now = cost(used)
    # One exit less as long as that is faster; the one that is missed least goes first.
    while len(used) > 1:
        without = [[point for point in used if point != left_out] for left_out in used]
        options = [cost(option) for option in without]
        best = int(np.argmin(options))
        if options[best] >= now:
            break
        now = options[best]
        used = without[best]
    return used


def agreement_gains(scores: FloatArray, queries: Queries, k: int) -> FloatArray:
    """Gains that make the ranking by `scores` ideal: ``1 / log2(rank + 2)`` of the first k, else 0.

    Rows of one query and equal score share the gains of their ranks, so that they do not depend on the order
    of the rows.

    Examples
    --------
    >>> queries = Queries.from_qid([7, 7, 7, 7], 4)
    >>> agreement_gains(np.array([0.0, 2.0, 1.0, 2.0]), queries, k=3).round(4).tolist()
    [0.0, 0.8155, 0.5, 0.8155]
    """
    ordered = queries.sort(scores)
    query = queries.query_of_ordered_row
    order = np.lexsort((-ordered, query))
    rank = np.arange(len(order)) - queries.ptr[query]
    by_rank = np.where(rank < k, discounts(k)[np.minimum(rank, k - 1)], 0.0)
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (ordered[order][1:] != ordered[order][:-1]) | (query[1:] != query[:-1])
    run = np.cumsum(is_first) - 1
    mean = np.bincount(run, weights=by_rank) / np.bincount(run)
    gains = np.empty(len(order))
    gains[order] = mean[run]
    return queries.unsort(gains)
