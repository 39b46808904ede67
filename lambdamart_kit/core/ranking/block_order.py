"""The documents of one query in rank order: those that a cut-off needs, equal scores as a convention says.

:mod:`lambdamart_kit.core.ranking.tie_blocks` explains the conventions, and measures what is ordered here.
"""

from __future__ import annotations

import numpy as np

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.sorting import (
    largest_query,
    sort_workspace,
    stable_descending64,
    tied_block_stop,
)
from lambdamart_kit.core.typing import Array, FloatArray, IndexArray

AVERAGE, OPTIMISTIC, PESSIMISTIC, INPUT = range(4)
TIES = {"average": AVERAGE, "optimistic": OPTIMISTIC, "pessimistic": PESSIMISTIC, "input": INPUT}

_FEW = 100  # up to so many documents, counting larger scores ranks them faster than any sort
_LANES = 16  # a multiple of what one vector instruction compares
MOST_LANES = 128  # for more, that is for cut-offs over 85, sorting the whole query is as fast


@kernel
def workspace(
    start: int, stop: int, ptr: IndexArray
) -> tuple[FloatArray, FloatArray, FloatArray, IndexArray, Array]:
    """Room for the longest of the queries `start` to `stop` - 1."""
    room = largest_query(start, stop, ptr)
    return np.empty(room), np.empty(room), np.empty(room), np.empty(room, dtype=np.intp), sort_workspace(room)


@kernel
def rank_documents(
    scores: Array,
    values: FloatArray,
    cutoff: int,
    ties: int,
    key: FloatArray,
    value: FloatArray,
    spare: FloatArray,
    order: IndexArray,
    work: Array,
) -> int:
    """Scores and values of one query in rank order, into `key` and `value`; how many.

    At least the first `cutoff` documents, and always whole blocks of equal scores.
    """
    n = 0
    # Rows below the bound cannot be among the first `cutoff`, so they are neither copied nor sorted.
    lowest = _lower_bound(scores, cutoff, spare)
    # The loop has no branch: every row is written, and one below the bound is overwritten by the next.
    for row in range(len(scores)):
        order[n] = row
        n += scores[row] >= lowest
    if n <= _FEW:
        tied = _place_few(scores, values, order[:n], key, value, spare, work)
    else:
        for i in range(n):
            key[i] = scores[order[i]]
            value[i] = values[order[i]]
        stable_descending64(key[:n], order[:n], work)
        _permute(key[:n], order, spare)
        _permute(value[:n], order, spare)
        tied = True
    rank = 0
    # Equal scores stand in the order of their rows by now, which is what INPUT asks for. Under the other
    # conventions the values of each block are put in order.
    while tied and ties != INPUT and rank < n:
        end = tied_block_stop(key[:n], rank)
        if end > rank + 1:
            _sort_block(value[rank:end], ties, spare, order, work)
        rank = end
    return n


@kernel
def _place_few(
    scores: Array,
    values: FloatArray,
    rows: IndexArray,
    key: FloatArray,
    value: FloatArray,
    chosen: FloatArray,
    equal: Array,
) -> bool:
    """Put the few documents at `rows` in rank order, equal scores by row; whether there are equal scores."""
    n = len(rows)
    tied = False
    for i in range(n):
        chosen[i] = scores[rows[i]]
        equal[i] = 0
    for i in range(n):
        rank = 0
        for j in range(n):
            rank += chosen[j] > chosen[i]
        # Documents with equal scores count the same number of larger ones. `equal` counts those that were
        # placed at a rank before, so that each gets a place of its own, in the order of rows.
        before = np.intp(equal[rank])
        equal[rank] += np.uint64(1)
        if before > 0:
            tied = True
        key[rank + before] = chosen[i]
        value[rank + before] = values[rows[i]]
    return tied


@kernel
def _sort_block(value: FloatArray, ties: int, spare: FloatArray, order: IndexArray, work: Array) -> None:
    """Values of equal scores: worst first under PESSIMISTIC, otherwise best first."""
    n = len(value)
    sign = -1.0 if ties == PESSIMISTIC else 1.0
    for i in range(n):
        value[i] *= sign
    stable_descending64(value, order[:n], work)
    _permute(value, order, spare)
    for i in range(n):
        value[i] *= sign


@kernel
def _permute(value: FloatArray, order: IndexArray, spare: FloatArray) -> None:
    """``value[order]``, in place."""
    for i in range(len(value)):
        spare[i] = value[order[i]]
    value[:] = spare[: len(value)]


@kernel
def _lower_bound(scores: Array, n: int, best: FloatArray) -> float:
    """A score that at least `n` documents reach, and not many more; `best` is scratch.

    Rows are distributed over lanes, as cards are dealt, and each lane keeps its best score. That loop is
    vectorised. At least n rows reach the n-th largest of the lanes' best scores, so it is a bound.
    """
    # At least 3/2 n lanes: with fewer, several of the best n scores would often share a lane, and the bound
    # would be lower. With too few rows a lane, finding the bound costs more than it saves.
    n_lanes = _LANES * (1 + 3 * n // (2 * _LANES))
    if n_lanes > MOST_LANES or len(scores) < 2 * n_lanes:
        return -np.inf
    lanes = best[:n_lanes]
    lanes[:] = scores[:n_lanes]
    n_whole = len(scores) // n_lanes * n_lanes
    for first in range(n_lanes, n_whole, n_lanes):
        for lane in range(n_lanes):
            score = scores[first + lane]
            lanes[lane] = score if score > lanes[lane] else lanes[lane]
    for row in range(n_whole, len(scores)):
        lanes[row - n_whole] = max(lanes[row - n_whole], scores[row])
    # The n-th largest is the smallest of the lanes' best scores that has fewer than n larger ones. Counting
    # these has no branch, so the loop vectorises.
    bound = np.inf
    for lane in range(n_lanes):
        larger = 0
        for other in range(n_lanes):
            larger += lanes[other] > lanes[lane]
        bound = min(bound, lanes[lane] if larger < n else np.inf)
    return bound
