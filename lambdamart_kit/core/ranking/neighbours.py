"""Stochastic smoothing: pairs of neighbours in rankings of noisy scores (YetiRank, YetiLoss)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.core.ranking.labelled import LabelledQueries, RowFactors, ScoredRows
from lambdamart_kit.core.ranking.rank_order import Ranked, rank_query, weigh_entries
from lambdamart_kit.core.sorting import stable_descending32
from lambdamart_kit.core.splitmix import next_state, query_seed, uniform
from lambdamart_kit.core.typing import Float32Array, FloatArray, IndexArray


class NeighbourSettings(NamedTuple):
    """Settings of YetiLoss."""

    discount: FloatArray  # (n_ranks,): discount of each rank
    truncation: int  # a pair counts if its upper rank is below this
    n_permutations: int  # noisy rankings drawn for one gradient
    noise: float  # scale of the logistic noise, in units of the score


class Noisy(NamedTuple):
    """Scratch for one query: its scores with noise, and the order of its documents by them."""

    scores: Float32Array
    order: IndexArray


def new_noisy(capacity: int) -> Noisy:
    """Scratch for queries of up to `capacity` documents."""
    return Noisy(np.empty(capacity, np.float32), np.empty(capacity, np.intp))


@kernel(borrows=True, shared=True)
def neighbour_gradients(
    first: int,
    last: int,
    ranked: Ranked,
    noisy: Noisy,
    queries: LabelledQueries,
    settings: NeighbourSettings,
    seed: np.uint64,
    rows: ScoredRows,
    factors: RowFactors | None,
) -> None:
    """Pair model over neighbours of noisy rankings, each weighing what swapping the two changes in DCG.

    Noise is drawn in rank order, so it does not depend on how the rows came.
    `ranked` and `noisy` are scratch; `rows` and `factors` are as in
    :func:`lambdamart_kit.core.ranking.lambdas.lambda_gradients`.
    """
    for q in range(first, last):
        start = queries.ptr[q]
        stop = queries.ptr[q + 1]
        # No pair of this query can have a weight, so its gradient is 0 and nothing is drawn for it.
        if queries.scale[q] == 0.0:
            rows.gradient[start:stop] = 0.0
            rows.hessian[start:stop] = 0.0
            if factors is not None:
                factors.cost[start:stop] = 0.0
            continue
        n = stop - start
        layout = queries.layout[start:stop]
        for i in range(n):
            ranked.laid[i] = rows.scores[layout[i]]
        rank_query(queries.label[start:stop], queries.gain[start:stop], False, ranked)
        ranked.force[:n] = 0.0
        ranked.curvature[:n] = 0.0
        if factors is not None:
            weigh_entries(n, layout, factors.factor, ranked)
            ranked.cost[:n] = 0.0
        # Each query has a stream of its own. So the noise depends
        # neither on the threads nor on other queries.
        state = query_seed(seed, q)
        for _ in range(settings.n_permutations):
            for i in range(n):
                state = next_state(state)
                # Inversion: if u is uniform on (0, 1), log(u / (1 - u)) has the
                # standard logistic distribution. The limits on u keep the noise
                # within 27.6 scales of zero and keep the logarithm finite.
                u = min(max(uniform(state), 1e-12), 1.0 - 1e-12)
                noisy.scores[i] = ranked.score[i] + settings.noise * math.log(u / (1.0 - u))
            stable_descending32(noisy.scores[:n], noisy.order[:n], ranked.sort_work)
            n_pairs = min(n - 1, settings.truncation)
            _add_neighbours(noisy.order, n_pairs, settings.discount, ranked, factors)
        # The gradient is the mean over the noisy rankings. `force` is
        # minus the gradient, hence the sign below.
        scale = np.float32(queries.scale[q] / settings.n_permutations)
        for rank in range(n):
            row = layout[ranked.order[rank]]
            rows.gradient[row] = -scale * ranked.force[rank]
            rows.hessian[row] = scale * ranked.curvature[rank]
            if factors is not None:
                factors.cost[row] = scale * ranked.cost[rank]


@inner(borrows=True)
def _add_neighbours(
    order: IndexArray, n_pairs: int, discount: FloatArray, ranked: Ranked, factors: RowFactors | None
) -> None:
    """Pairs at ranks (r, r + 1) of a noisy ranking, at the scores without noise."""
    for r in range(n_pairs):
        high = order[r]
        low = order[r + 1]
        if ranked.label[high] == ranked.label[low]:
            continue
        if ranked.label[high] < ranked.label[low]:
            high, low = low, high
        # Swapping the documents at ranks r and r + 1 moves the gain of each to the other's discount, so DCG
        # changes by the difference of gains times the difference of discounts.
        weight = abs(ranked.gain[high] - ranked.gain[low]) * (discount[r] - discount[r + 1])
        z = np.float64(ranked.score[high]) - np.float64(ranked.score[low])
        # 1 - sigma(z) = exp(-z) / (1 + exp(-z)) = 1 / (1 + exp(z)). Of the
        # two forms, the one whose exponential is at most 1 cannot overflow.
        # `lost` is 1 - p, the probability that the worse document wins.
        e = math.exp(-abs(z))
        lost = (e if z >= 0 else 1.0) / (1.0 + e)
        if factors is not None:
            # -log sigma(z) = log(1 + exp(-z)) = log(1 + exp(-|z|)) + max(-z, 0). The cost of a document
            # leaves its own factor out, see `RowFactors`; the weight below has both.
            loss = weight * (math.log1p(e) + max(-z, 0.0))
            ranked.cost[high] += np.float32(ranked.mass[low] * loss)
            ranked.cost[low] += np.float32(ranked.mass[high] * loss)
            weight *= np.float64(ranked.mass[high]) * np.float64(ranked.mass[low])
        # d/ds_high of -log sigma(s_high - s_low) is -(1 - p), and the second derivative is p (1 - p).
        ranked.force[high] += weight * lost
        ranked.force[low] -= weight * lost
        ranked.curvature[high] += weight * lost * (1.0 - lost)
        ranked.curvature[low] += weight * lost * (1.0 - lost)
