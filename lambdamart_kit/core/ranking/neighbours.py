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

    discount: FloatArray
    truncation: int
    n_permutations: int
    noise: float


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
        state = query_seed(seed, q)
        for _ in range(settings.n_permutations):
            for i in range(n):
                state = next_state(state)
                u = min(max(uniform(state), 1e-12), 1.0 - 1e-12)
                noisy.scores[i] = ranked.score[i] + settings.noise * math.log(u / (1.0 - u))
            stable_descending32(noisy.scores[:n], noisy.order[:n], ranked.sort_work)
            n_pairs = min(n - 1, settings.truncation)
            _add_neighbours(noisy.order, n_pairs, settings.discount, ranked, factors)
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
        weight = abs(ranked.gain[high] - ranked.gain[low]) * (discount[r] - discount[r + 1])
        z = np.float64(ranked.score[high]) - np.float64(ranked.score[low])
        e = math.exp(-abs(z))
        lost = (e if z >= 0 else 1.0) / (1.0 + e)
        if factors is not None:
            loss = weight * (math.log1p(e) + max(-z, 0.0))
            ranked.cost[high] += np.float32(ranked.mass[low] * loss)
            ranked.cost[low] += np.float32(ranked.mass[high] * loss)
            weight *= np.float64(ranked.mass[high]) * np.float64(ranked.mass[low])
        ranked.force[high] += weight * lost
        ranked.force[low] -= weight * lost
        ranked.curvature[high] += weight * lost * (1.0 - lost)
        ranked.curvature[low] += weight * lost * (1.0 - lost)
