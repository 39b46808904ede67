"""Listwise losses: softmax cross-entropy and the likelihood of the label order. O(documents) a query.

Kernels go through the queries ``first`` to ``last - 1``. They sum in layout order (labels descending) and in
float64, so that sums do not depend on how the rows came.
"""

from __future__ import annotations

import math

import numpy as np

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.ranking.labelled import ScoredRows
from lambdamart_kit.core.splitmix import next_state, query_seed, uniform
from lambdamart_kit.core.typing import Array, FloatArray, IndexArray


@kernel
def softmax_gradients(
    first: int,
    last: int,
    ptr: IndexArray,
    layout: IndexArray,
    target: FloatArray,
    scale: FloatArray,
    rows: ScoredRows,
    loss: FloatArray,
) -> None:
    """Cross-entropy of ``softmax(scores)`` with `target` (a distribution in layout order, or all 0).

    loss = -sum t log p, gradient = p sum(t) - t, hessian = p (1 - p) sum(t), times the query's `scale`.
    """
    for q in range(first, last):
        start = ptr[q]
        stop = ptr[q + 1]
        # Subtracting the largest score leaves the softmax as it is, and no exponential can overflow.
        top = _largest_score(start, stop, layout, rows.scores)
        partition = 0.0
        mass = 0.0
        for i in range(start, stop):
            partition += math.exp(rows.scores[layout[i]] - top)
            mass += target[i]
        loss[q] = 0.0
        # With log p = s - log(sum of exp(s)): d/ds_i of -sum t log p is p_i sum(t) - t_i, and the diagonal
        # of the second derivative is p_i (1 - p_i) sum(t).
        log_partition = top + math.log(partition)
        for i in range(start, stop):
            row = layout[i]
            log_p = rows.scores[row] - log_partition
            p = math.exp(log_p)
            rows.gradient[row] = scale[q] * (mass * p - target[i])
            rows.hessian[row] = scale[q] * mass * p * (1.0 - p)
            if target[i] > 0:
                loss[q] -= scale[q] * target[i] * log_p


@kernel
def sampled_targets(
    first: int, last: int, ptr: IndexArray, power: FloatArray, seed: np.uint64, target: FloatArray
) -> None:
    """XE-NDCG's target ``(2**y - gamma) / sum``, gamma uniform on [0, 1); 0 where all labels are."""
    for q in range(first, last):
        # Every query draws from a stream of its own, in layout order,
        # so row order and threads change nothing.
        state = query_seed(seed, q)
        total = 0.0
        for i in range(ptr[q], ptr[q + 1]):
            state = next_state(state)
            target[i] = power[i] - uniform(state)
            total += target[i]
        blank = power[ptr[q]] <= 1.0  # labels stand descending
        for i in range(ptr[q], ptr[q + 1]):
            target[i] = 0.0 if blank else target[i] / total


@kernel
def likelihood_gradients(
    first: int,
    last: int,
    ptr: IndexArray,
    layout: IndexArray,
    label: FloatArray,
    scale: FloatArray,
    rows: ScoredRows,
    loss: FloatArray,
) -> None:
    """Plackett-Luce likelihood of the label order; each document is drawn from those with no larger label.

    loss = sum over documents i that have a larger label than some other of  log Z(y_i) - s_i,
    Z(y) = sum of exp(s) over the documents with labels up to y. With A = sum of 1 / Z(y_i) over the draws
    that document j takes part in, gradient_j = exp(s_j) A - [j was drawn]. All in logarithms.
    """
    for q in range(first, last):
        start = ptr[q]
        stop = ptr[q + 1]
        lowest = stop - 1  # start of the class with the smallest label, which is never drawn from
        while lowest > start and label[lowest - 1] == label[stop - 1]:
            lowest -= 1
        log_z = np.empty(stop - start)
        # Labels stand descending, so the sum from the end up to the first document of a class covers all
        # documents with that label or a smaller one: it is log Z of the class.
        running = -np.inf
        for i in range(stop - 1, start - 1, -1):
            running = _log_add(running, np.float64(rows.scores[layout[i]]))
            log_z[i - start] = running
        loss[q] = 0.0
        log_a = -np.inf  # logarithm of the sum of 1 / Z over the draws so far
        log_b = -np.inf  # the same of 1 / Z**2
        i = start
        # From the largest label down: a document takes part in the draws of its own label and of larger ones.
        while i < stop:
            class_stop = i + 1  # the documents i to class_stop - 1 share a label
            while class_stop < stop and label[class_stop] == label[i]:
                class_stop += 1
            drawn = 0.0
            if i < lowest:
                drawn = 1.0
                # Each of the documents in this class is one draw, and all of them have the same Z. So the
                # class adds its size over Z to A, and its size over Z squared to B.
                size = math.log(class_stop - i)
                log_a = _log_add(log_a, size - log_z[i - start])
                log_b = _log_add(log_b, size - 2.0 * log_z[i - start])
            for member in range(i, class_stop):
                row = layout[member]
                s = np.float64(rows.scores[row])
                # One draw adds q (1 - q) to the hessian, with q = exp(s) / Z the
                # probability that this document is the one drawn. Summed over draws
                # that is exp(s) A - exp(2 s) B; rounding may take it below 0.
                expected = math.exp(s + log_a)
                rows.gradient[row] = scale[q] * (expected - drawn)
                rows.hessian[row] = scale[q] * max(expected - math.exp(2.0 * s + log_b), 0.0)
                loss[q] += scale[q] * drawn * (log_z[i - start] - s)
            i = class_stop


@kernel
def _largest_score(start: int, stop: int, layout: IndexArray, scores: Array) -> float:
    top = -np.inf
    for i in range(start, stop):
        top = max(top, np.float64(scores[layout[i]]))
    return top


@kernel
def _log_add(a: float, b: float) -> float:
    """``log(exp(a) + exp(b))``."""
    high = max(a, b)
    low = min(a, b)
    return high if low == -np.inf else high + math.log1p(math.exp(low - high))
