"""The greedy choice itself, plain or lazy: one heap of items by the gain they last had."""

from __future__ import annotations

import numpy as np

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.core.greedy.task import MAX_SUM, NO_FLOATS, Limits, Problem, Selection
from lambdamart_kit.core.greedy.utilities import gain_of, include, start
from lambdamart_kit.core.heap import heapify, pop, sift_down
from lambdamart_kit.core.typing import FloatArray, IndexArray


def maximise(task: Problem, limit: Limits, *, bounds: FloatArray | None = None) -> Selection:
    """Greedy maximisation of F under `limit`.

    Parameters
    ----------
    task : Problem
    limit : Limits
    bounds : (n,) float64, optional
        Upper bounds of the first gains (``m_i + c U({i})``). Without them every item is evaluated once.

    Returns
    -------
    Selection

    Examples
    --------
    Two topics; the second document repeats the first, so the third is worth more:

    >>> from lambdamart_kit.core.greedy.task import COVERAGE, limits, problem
    >>> topics = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.5]])
    >>> chosen = maximise(problem(COVERAGE, topics), limits(2))
    >>> chosen.items.tolist(), chosen.gains.tolist()
    ([0, 2], [1.0, 0.5])

    References
    ----------
    Nemhauser, Wolsey, Fisher (1978), "An analysis of approximations for maximizing submodular set
    functions", Math. Programming 14. Minoux (1978), "Accelerated greedy algorithms for maximizing
    submodular set functions".
    """
    n_chosen_most = max(min(limit.k, len(task.modular)), 0)
    items = np.empty(n_chosen_most, dtype=np.intp)
    gains = np.empty(n_chosen_most)
    known = NO_FLOATS if bounds is None else bounds
    n_chosen, n_evaluations = maximise_into(task, limit, known, items, gains)
    return Selection(items[:n_chosen], gains[:n_chosen], n_evaluations)


@kernel
def maximise_into(
    task: Problem, limit: Limits, bounds: FloatArray, items: IndexArray, gains: FloatArray
) -> tuple[int, int]:
    """:func:`maximise` into `items` and `gains`, for callers that are kernels: (chosen, evaluations)."""
    n = len(task.modular)
    state = start(task, len(items))
    heap, bound, stamp = _heap_of_items(task, limit, bounds)
    # Chosen items of each group.
    counts = np.zeros(limit.group.max() + 1 if len(limit.group) else 0, dtype=np.intp)
    size = n
    n_chosen = 0
    n_evaluations = 0
    left = limit.budget
    lazy = limit.lazy and task.kind != MAX_SUM
    # The item on top of the heap is chosen if its gain is up to date, that is, if its stamp is the number of
    # items chosen. If not, it is evaluated and sinks to its place. Plain greedy evaluates all items whenever
    # the top is out of date.
    while n_chosen < len(items) and size > 0:
        if not lazy and stamp[heap[0]] != n_chosen:
            for place in range(size):
                i = heap[place]
                gain = gain_of(task, state, items, n_chosen, i)
                bound[i] = gain / (limit.cost[i] if limit.per_cost else 1.0)
                stamp[i] = n_chosen
            n_evaluations += size
            # Every key has changed, so the heap is built anew: O(n), like the evaluations before it.
            heapify(heap, size, bound)
        # An item whose group is full, or that costs more than is left, can no longer be chosen.
        best = heap[0]
        full = len(counts) > 0 and counts[limit.group[best]] >= limit.max_per_group
        if full or (len(limit.cost) > 0 and limit.cost[best] > left):
            size = pop(heap, size, bound)
            continue
        if stamp[best] != n_chosen:
            gain = gain_of(task, state, items, n_chosen, best)
            bound[best] = gain / (limit.cost[best] if limit.per_cost else 1.0)
            stamp[best] = n_chosen
            n_evaluations += 1
            sift_down(heap, size, 0, bound)
            continue
        # The top's gain is up to date, and no bound is higher: plain greedy would choose the same item.
        if limit.allow_stop and bound[best] <= 0:
            break
        size = pop(heap, size, bound)
        gains[n_chosen] = bound[best] * (limit.cost[best] if limit.per_cost else 1.0)
        include(task, state, items, n_chosen, best)
        n_chosen += 1
        if len(counts):
            counts[limit.group[best]] += 1
        if len(limit.cost):
            left -= limit.cost[best]
    return n_chosen, n_evaluations


@inner
def _heap_of_items(
    task: Problem, limit: Limits, bounds: FloatArray
) -> tuple[IndexArray, FloatArray, IndexArray]:
    """All items in a heap by their bounds, which are those given or else the first gains.

    `bound` holds the gain each item had when it was last evaluated, and `stamp` how many items were chosen
    then.
    """
    n = len(task.modular)
    stamp = np.zeros(n, dtype=np.intp)
    if len(bounds):
        # Bounds may be larger than the gains, so no item may be chosen by its bound alone: stamp -1 is the
        # number of no round, and an item is evaluated before it is chosen.
        bound = bounds.copy()
        stamp[:] = -1
    else:
        bound = first_gains(task)
    if limit.per_cost:
        # A bound on the gain, divided by the cost, bounds the gain per cost, so the lazy rule still holds.
        bound /= limit.cost
    # The heap is built in O(n): each item that has children sinks to its place, from the last to the first.
    heap = np.arange(n)
    heapify(heap, n, bound)
    return heap, bound, stamp


@kernel
def first_gains(task: Problem) -> FloatArray:
    """What each item would add to F as the first choice, (n,)."""
    n = len(task.modular)
    nothing = np.empty(0, dtype=np.intp)
    state = start(task, 0)
    singles = np.empty(n)
    for i in range(n):
        singles[i] = gain_of(task, state, nothing, 0, i)
    return singles
