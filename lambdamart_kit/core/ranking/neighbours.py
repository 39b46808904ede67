"""Stochastic smoothing: pairs of neighbours in rankings of noisy scores (YetiRank, YetiLoss)."""

from __future__ import annotations

import math

import numpy as np

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.core.ranking.lambdas import LabelledQueries
from lambdamart_kit.core.ranking.rank_order import Ranked, rank_query, weigh_entries
from lambdamart_kit.core.sorting import stable_descending32
from lambdamart_kit.core.splitmix import next_state, query_seed, uniform
from lambdamart_kit.core.typing import Float32Array, FloatArray, IndexArray


@kernel(borrows=True, shared=True)
def neighbour_gradients(
    first: int,
    last: int,
    ranked: Ranked,
    noisy: Float32Array,
    order: IndexArray,
    queries: LabelledQueries,
    discount: FloatArray,
    truncation: int,
    n_permutations: int,
    noise: float,
    seed: np.uint64,
    scores: Float32Array,
    gradient: Float32Array,
    hessian: Float32Array,
    factor: Float32Array | None,
    cost: Float32Array | None,
) -> None:
    """Pair model over neighbours of noisy rankings, each weighing what swapping the two changes in DCG.

    Noise is drawn in the canonical order of the documents, so it does not depend on how the rows came.
    `ranked`, `noisy` and `order` are scratch; `factor` and `cost` are as in
    :func:`lambdamart_kit.core.ranking.lambdas.lambda_gradients`.
    """
    for q in range(first, last):
        start, stop = queries.ptr[q], queries.ptr[q + 1]
        if queries.scale[q] == 0.0:
            gradient[start:stop] = 0.0
            hessian[start:stop] = 0.0
            if cost is not None:
                cost[start:stop] = 0.0
            continue
        n, layout = stop - start, queries.layout[start:stop]
        for i in range(n):
            ranked.laid[i] = scores[layout[i]]
        rank_query(queries.label[start:stop], queries.gain[start:stop], False, ranked)
        ranked.force[:n] = 0.0
        ranked.curvature[:n] = 0.0
        if factor is not None:
            weigh_entries(n, layout, factor, ranked)
            ranked.cost[:n] = 0.0
        state = query_seed(seed, q)
        for _ in range(n_permutations):
            for i in range(n):
                state = next_state(state)
                u = min(max(uniform(state), 1e-12), 1.0 - 1e-12)
                noisy[i] = ranked.score[i] + noise * math.log(u / (1.0 - u))
            stable_descending32(noisy[:n], order[:n], ranked.sort_work)
            _add_neighbours(order, min(n - 1, truncation), discount, ranked, cost)
        scale = np.float32(queries.scale[q] / n_permutations)
        for rank in range(n):
            row = layout[ranked.order[rank]]
            gradient[row] = -scale * ranked.force[rank]
            hessian[row] = scale * ranked.curvature[rank]
            if cost is not None:
                cost[row] = scale * ranked.cost[rank]


@inner(borrows=True)
def _add_neighbours(
    order: IndexArray, n_pairs: int, discount: FloatArray, ranked: Ranked, costs: Float32Array | None
) -> None:
    """Pairs at ranks (r, r + 1) of a noisy ranking, at the scores without noise."""
    for r in range(n_pairs):
        high, low = order[r], order[r + 1]
        if ranked.label[high] == ranked.label[low]:
            continue
        if ranked.label[high] < ranked.label[low]:
            high, low = low, high
        weight = abs(ranked.gain[high] - ranked.gain[low]) * (discount[r] - discount[r + 1])
        z = np.float64(ranked.score[high]) - np.float64(ranked.score[low])
        e = math.exp(-abs(z))
        lost = (e if z >= 0 else 1.0) / (1.0 + e)
        if costs is not None:
            loss = weight * (math.log1p(e) + max(-z, 0.0))
            ranked.cost[high] += np.float32(ranked.mass[low] * loss)
            ranked.cost[low] += np.float32(ranked.mass[high] * loss)
            weight *= np.float64(ranked.mass[high]) * np.float64(ranked.mass[low])
        ranked.force[high] += weight * lost
        ranked.force[low] -= weight * lost
        ranked.curvature[high] += weight * lost * (1.0 - lost)
        ranked.curvature[low] += weight * lost * (1.0 - lost)
