"""The pair objectives as short NumPy: the specification that the compiled kernels are tested against.

One query at a time, O(n**2) or worse, float64. Pair weights come from their definition, by swapping two
documents and computing the metric again, and expectations over ties by going through all orders.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from lambdamart_kit.core.typing import FloatArray, IndexArray

RankMetric = Callable[[FloatArray], float]
"""Metric of a ranking, from what it needs of the documents (gains, stop probabilities, ...) in rank order."""


def dcg(gain: FloatArray) -> float:
    """Sum of ``gain / log2(rank + 2)``."""
    return float(np.sum(gain / np.log2(np.arange(len(gain)) + 2)))


def precision(k: int) -> RankMetric:
    """Share of relevant documents (1, others 0) among the first k."""
    return lambda relevant: float(relevant[:k].sum() / k)


def average_precision(relevant: FloatArray) -> float:
    """Mean precision at the relevant documents (1, others 0)."""
    found = np.cumsum(relevant)
    return float(np.sum(relevant * found / np.arange(1, len(relevant) + 1)) / max(found[-1], 1))


def reciprocal_rank(relevant: FloatArray) -> float:
    """1 / (rank + 1) of the first relevant document (1, others 0)."""
    return float(1 / (np.argmax(relevant) + 1))


def expected_reciprocal_rank(stop: FloatArray) -> float:
    """ERR from stop probabilities (Chapelle et al. 2009)."""
    reach = np.concatenate(([1.0], np.cumprod(1 - stop)[:-1]))
    return float(np.sum(stop * reach / np.arange(1, len(stop) + 1)))


def descending_orders(scores: FloatArray) -> Iterator[IndexArray]:
    """All orders of the documents by descending score: every permutation of every tied block."""
    blocks = [np.flatnonzero(scores == s) for s in np.unique(scores)[::-1]]
    for chosen in itertools.product(*(itertools.permutations(block) for block in blocks)):
        yield np.concatenate([np.array(block) for block in chosen]).astype(np.intp)


def swap_weights(
    scores: FloatArray, values: FloatArray, metric: RankMetric, truncation: int | None = None
) -> FloatArray:
    """|metric after swapping two documents - before|, (n, n), mean over all descending orders.

    Pairs that stand wholly below the truncation count as 0.
    """
    n = len(scores)
    level = n if truncation is None else truncation
    weights = np.zeros((n, n))
    n_orders = 0
    for order in descending_orders(scores):
        ranked = values[order]
        before = metric(ranked)
        for i, j in itertools.combinations(range(n), 2):
            if i < level:
                swapped = ranked.copy()
                swapped[[i, j]] = ranked[[j, i]]
                # Over all orders either document of a tied pair may be the upper one. The transpose, added
                # at the end, makes both entries of a pair the same sum.
                weights[order[i], order[j]] += abs(metric(swapped) - before)
        n_orders += 1
    return (weights + weights.T) / n_orders


def rank_weights(
    scores: FloatArray, weight: Callable[[int, int], float], truncation: int | None = None
) -> FloatArray:
    """Mean of ``weight(upper rank, lower rank)`` over the ranks two documents may take, (n, n).

    The same mean over orders as in `swap_weights`, for weights that depend on ranks only: any size of block.
    """
    n = len(scores)
    level = n if truncation is None else truncation
    table = np.zeros((n, n))
    for a, b in itertools.combinations(range(n), 2):
        table[a, b] = table[b, a] = weight(a, b) if a < level else 0.0
    first = np.array([np.sum(scores > s) for s in scores])
    last = np.array([np.sum(scores >= s) for s in scores])
    weights = np.zeros((n, n))
    for i, j in itertools.permutations(range(n), 2):
        block = table[first[i] : last[i], first[j] : last[j]]
        # Inside one block the two documents cannot share a rank, so
        # the diagonal of the table does not count.
        n_pairs = block.size - (last[i] - first[i] if first[i] == first[j] else 0)
        weights[i, j] = block.sum() / n_pairs
    return weights


def pair_gradient(
    scores: FloatArray,
    labels: FloatArray,
    weights: FloatArray,
    *,
    sigma: float = 1.0,
    by_score: bool = False,
    by_query: bool = False,
    hessian_factor: float = 1.0,
) -> tuple[FloatArray, FloatArray]:
    """Gradient and hessian of sum over y[i] > y[j] of ``weights[i, j] * log(1 + exp(-sigma (s_i - s_j)))``.

    `by_score` divides a weight by ``0.01 + |s_i - s_j|`` unless all scores are equal; `by_query` multiplies
    by ``log2(1 + S) / S``, S the sum of 2 |lambda|.
    """
    difference = scores[:, None] - scores[None, :]
    weights = np.where(labels[:, None] > labels[None, :], weights, 0.0)
    if by_score and np.ptp(scores) > 0:
        weights = weights / (0.01 + np.abs(difference))
    lost = np.exp(-np.logaddexp(0.0, sigma * difference))  # 1 - p
    force = sigma * weights * lost
    curvature = sigma**2 * weights * lost * (1 - lost)
    gradient = force.sum(axis=0) - force.sum(axis=1)
    hessian = hessian_factor * (curvature.sum(axis=0) + curvature.sum(axis=1))
    # LightGBM's `lambdarank_norm`: its sum of |lambda| takes each pair twice, once for either document.
    total = 2 * force.sum()
    scale = np.log2(1 + total) / total if by_query and total > 0 else 1.0
    return scale * gradient, scale * hessian


def pair_loss(scores: FloatArray, labels: FloatArray, weights: FloatArray, sigma: float = 1.0) -> float:
    """The loss that `pair_gradient` differentiates, with the weights as constants."""
    difference = scores[:, None] - scores[None, :]
    weights = np.where(labels[:, None] > labels[None, :], weights, 0.0)
    return float(np.sum(weights * np.logaddexp(0.0, -sigma * difference)))
