"""Objectives on pairs, bound to labels and queries: what runs their kernels and owns the buffers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lambdamart_kit.core.pairs import label_pair_losses
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.ranking.distances import new_distances
from lambdamart_kit.core.ranking.labelled import LabelledQueries, RowFactors, ScoredRows
from lambdamart_kit.core.ranking.lambdas import lambda_gradients, new_shuffled
from lambdamart_kit.core.ranking.pair_loop import DISTANCE, PairSettings
from lambdamart_kit.core.ranking.rank_order import LANES, new_ranked, with_mass
from lambdamart_kit.core.sorting import label_order
from lambdamart_kit.core.typing import BoolArray, Float32Array, FloatArray, IndexArray
from lambdamart_kit.objectives.base import CallSeeds, check_ordered_scores
from lambdamart_kit.runtime.threads import balanced_bounds, run_tasks, threads_used


class BoundKernel(CallSeeds):
    """A kernel of the pair model bound to labelled queries; owns its buffers.

    Parameters
    ----------
    kernel : callable
        ``kernel(first, last, *scratch, queries, *settings, seed, rows, factors)``; see
        :func:`lambdamart_kit.core.ranking.lambdas.lambda_gradients`.
    queries : LabelledQueries
    settings : tuple
        Arguments of the kernel that stay the same from call to call.
    new_scratch : callable
        ``(capacity) -> (Ranked, ...)``, what one thread needs for queries of up to `capacity` documents.
    cost : ndarray (n_queries,)
        About how long each query takes, in any unit.
    random_state : int
        Seeds every gradient.
    n_threads : int
    """

    def __init__(
        self,
        kernel: Callable[..., None],
        queries: LabelledQueries,
        settings: tuple[Any, ...],
        new_scratch: Callable[[int], tuple[Any, ...]],
        cost: FloatArray | IndexArray,
        random_state: int,
        n_threads: int,
    ) -> None:
        super().__init__(random_state)
        self._kernel = kernel
        self._queries = queries
        self._settings = settings
        self._n_threads = n_threads
        self._bounds = balanced_bounds(cost, n_threads, tasks_per_thread=4)
        capacity = int(np.diff(queries.ptr).max(initial=0))
        self._scratch = [new_scratch(capacity) for _ in range(threads_used(self._bounds, n_threads))]
        self._gradient = np.empty(len(queries.label), dtype=np.float32)
        self._hessian = np.empty(len(queries.label), dtype=np.float32)

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores`, ordered rows; the next call overwrites them."""
        self._run(scores, None, self._scratch)
        return self._gradient, self._hessian

    def weighted(
        self, scores: Float32Array, factor: Float32Array
    ) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Gradient, hessian and cost with the weight of each pair times the factors of its two rows.

        The cost of a row is the loss of its pairs, each times the factor of the other row only.
        """
        factors = RowFactors(np.ascontiguousarray(factor, dtype=np.float32), np.empty_like(self._gradient))
        self._run(scores, factors, [(with_mass(ranked), *others) for ranked, *others in self._scratch])
        return self._gradient, self._hessian, factors.cost

    def _run(self, scores: Float32Array, factors: RowFactors | None, scratch: list[tuple[Any, ...]]) -> None:
        ordered = check_ordered_scores(scores, len(self._gradient))
        rows = ScoredRows(ordered, self._gradient, self._hessian)
        run_tasks(
            self._kernel,
            self._bounds,
            self._n_threads,
            self._queries,
            *self._settings,
            self.next_seed(),
            rows,
            factors,
            scratch=scratch,
        )


class BoundPairs(BoundKernel):
    """A pair objective bound to labels and queries.

    Parameters
    ----------
    settings : PairSettings
    metric, n_partners : int or None
        See :func:`lambdamart_kit.core.ranking.lambdas.lambda_gradients`.
    queries : LabelledQueries
    shuffle : bool
        Ties fall at random.
    random_state, n_threads : int
    """

    def __init__(
        self,
        settings: PairSettings,
        metric: int | None,
        n_partners: int | None,
        queries: LabelledQueries,
        *,
        shuffle: bool,
        random_state: int,
        n_threads: int,
    ) -> None:
        by_distance = settings.weighting == DISTANCE
        near = _distance_weights(settings.discounts.at) if by_distance else None

        def new_scratch(capacity: int) -> tuple[Any, ...]:
            distances = None if near is None else new_distances(capacity, near)
            shuffled = new_shuffled(capacity) if shuffle else None
            return new_ranked(capacity), distances, shuffled

        super().__init__(
            lambda_gradients,
            queries,
            (settings, metric, n_partners),
            new_scratch,
            _cost(queries, settings.truncation),
            random_state,
            n_threads,
        )


class BoundDocuments(BoundPairs):
    """A pair objective bound to labels and queries, documents counting as often as they weigh.

    Parameters
    ----------
    settings, metric, n_partners, queries
        See `BoundPairs`.
    document_weight : (n_samples,) array
        Weights > 0 of the ordered rows.
    shuffle, random_state, n_threads
        See `BoundPairs`. With `shuffle` the copies that a weight stands for stay together.
    """

    def __init__(
        self,
        settings: PairSettings,
        metric: int | None,
        n_partners: int | None,
        queries: LabelledQueries,
        document_weight: FloatArray,
        *,
        shuffle: bool,
        random_state: int,
        n_threads: int,
    ) -> None:
        super().__init__(
            settings,
            metric,
            n_partners,
            queries,
            shuffle=shuffle,
            random_state=random_state,
            n_threads=n_threads,
        )
        weight = np.ascontiguousarray(document_weight, dtype=np.float32)
        self._factors = RowFactors(weight, np.empty_like(self._gradient), takes_places=True)
        self._scratch = [(with_mass(ranked), *others) for ranked, *others in self._scratch]

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores`, summed over the copies; the next call overwrites them."""
        self._run(scores, self._factors, self._scratch)
        return self._gradient, self._hessian


class BoundRankNet(BoundPairs):
    """RankNet bound to labels and queries; has a loss."""

    def loss(self, scores: Float32Array) -> float:
        """Loss summed over all pairs, times query weights, at `scores` (ordered rows).

        Truncation, partners and normalisation change the gradient only, so they leave out or rescale parts
        of this sum.
        """
        ordered = check_ordered_scores(scores, len(self._gradient))[self._queries.layout]
        losses = np.empty(len(self._queries.scale))
        settings: PairSettings = self._settings[0]
        run_tasks(
            label_pair_losses,
            self._bounds,
            self._n_threads,
            self._queries.ptr,
            self._queries.label,
            settings.sigma,
            ordered,
            losses,
        )
        return float(losses @ self._queries.scale)


def labelled_queries(
    labels: FloatArray, gain: FloatArray, queries: Queries, weights: FloatArray, *, as_input: bool = False
) -> LabelledQueries:
    """Labels and gains of ordered rows, laid out by label; with `as_input` in the order they stand in."""
    layout = np.arange(len(labels), dtype=np.intp) if as_input else label_order(labels, queries.ptr)
    # Kernels compare labels only, and codes are exact in float32 where labels might not be.
    codes = np.unique(labels, return_inverse=True)[1]
    return LabelledQueries(
        ptr=queries.ptr,
        layout=layout,
        label=codes[layout].astype(np.float32),
        gain=gain[layout].astype(np.float32),
        scale=np.where(_has_pairs(codes, queries), weights, 0.0),
    )


def ideal_dcg_of_rows(
    gain: FloatArray, discount: FloatArray, truncation: int, queries: Queries
) -> FloatArray:
    """Ideal DCG, cut at the truncation, of each ordered row's query; 1 where it is 0."""
    best_first = gain[label_order(gain, queries.ptr)]
    rank = np.arange(queries.n_samples) - np.repeat(queries.ptr[:-1], queries.sizes)
    terms = np.where(rank < truncation, best_first * discount[rank], 0.0)
    ideal = np.bincount(queries.query_of_ordered_row, weights=terms, minlength=queries.n_queries)
    ideal[ideal == 0] = 1.0
    per_row: FloatArray = np.repeat(ideal, queries.sizes)
    return per_row


def largest_size(queries: Queries) -> int:
    """Documents in the largest query; 0 without queries."""
    return int(queries.sizes.max(initial=0))


def _distance_weights(discount: FloatArray) -> Float32Array:
    """``discount(d - 1) - discount(d)`` by the distance d of two ranks; padded with 0, as at 0."""
    return np.concatenate(([0.0], -np.diff(discount), np.zeros(LANES))).astype(np.float32)


def _has_pairs(labels: IndexArray, queries: Queries) -> BoolArray:
    """Whether each query holds two different labels."""
    starts = queries.ptr[:-1]
    if not len(starts):
        return np.empty(0, dtype=bool)
    differ: BoolArray = np.maximum.reduceat(labels, starts) > np.minimum.reduceat(labels, starts)
    return differ


def _cost(queries: LabelledQueries, truncation: int) -> FloatArray:
    """About how long a query takes: its pairs, plus sorting and copying worth some 40 pairs a document."""
    sizes = np.diff(queries.ptr).astype(np.float64)
    rows: FloatArray = sizes * (np.minimum(sizes, truncation) + 40.0)
    return rows
