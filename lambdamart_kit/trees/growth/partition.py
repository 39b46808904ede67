"""Rows in the order of the tree: all threads part a leaf's rows in two, or, at the root, all rows.

A thread goes through its share of the rows and puts those of the first part together where the share starts,
in order, and those of the second where it ends, backwards; then the threads join what they have.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lambdamart_kit.compile import inner
from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.growth.barrier import cycles, meet
from lambdamart_kit.trees.growth.splitting import MASK
from lambdamart_kit.trees.growth.state import (
    BEGIN,
    COUNT,
    HEAVY,
    LIGHT,
    MOVE,
    N_FIRST,
    RUN_BEGIN,
    SHARE_BEGIN,
    SHARE_END,
    RowOrder,
)


@inner(borrows=True, shared=True)
def move_rows(
    thread: int, n_threads: int, column: Array, leaf: int, mine: Array, order: RowOrder, arrivals: Array,
    clock: Array,
) -> tuple[Any, Any]:  # fmt: skip
    """Stable partition of both runs of a leaf by its split; returns how many of each go left.

    Threads meet twice.
    """
    started = cycles()
    goes_left = order.goes_left[thread]
    for b in range(256):
        goes_left[b] = (mine[leaf, MASK + (b >> 6)] >> np.int64(b & 63)) & np.int64(1)
    carried, moved = order.carried, order.moved
    # The first thread's left rows can stay where they are; the others' would be written over.
    lefts = carried if thread == 0 else moved
    low, one = np.uint64(0xFFFFFFFF), np.uint64(1)
    for run in range(2):
        begin, count = mine[leaf, LIGHT if run else BEGIN], mine[leaf, HEAVY]
        count = mine[leaf, COUNT] - count if run else count
        start, stop = begin + count * thread // n_threads, begin + count * (thread + 1) // n_threads
        at, end = np.uint64(start), np.uint64(stop - 1)
        for i in range(np.uint64(start), np.uint64(stop)):
            row = carried[i]
            left = np.uint64(goes_left[column[np.uint64(row) & low]])
            lefts[at] = row
            moved[end] = row
            at += left
            end -= one - left
        part = order.parts[thread, run]
        part[RUN_BEGIN], part[SHARE_BEGIN], part[SHARE_END] = begin, start, stop
        part[N_FIRST] = np.int64(at) - start
    meet(arrivals, thread, n_threads)
    n_heavy = join(thread, n_threads, 0, order)
    n_light = join(thread, n_threads, 1, order)
    meet(arrivals, thread, n_threads)
    clock[MOVE] += cycles() - started
    return n_heavy, n_light


@inner(borrows=True, shared=True)
def join(thread: int, n_threads: int, run: int, order: RowOrder) -> int:
    """Put together what the threads parted; returns the length of the first part.

    The first part of thread 0 lies in `carried`, where it belongs; those of the others, and all second parts,
    in `moved`.
    """
    carried, moved, part = order.carried, order.moved, order.parts[thread, run]
    begin, start, stop, n_mine = part[RUN_BEGIN], part[SHARE_BEGIN], part[SHARE_END], part[N_FIRST]
    before, n_first = 0, 0
    for t in range(n_threads):
        before += order.parts[t, run, N_FIRST] if t < thread else 0
        n_first += order.parts[t, run, N_FIRST]
    if thread > 0:
        for i in range(n_mine):  # a slice would compile for three seconds: the message of a mismatch
            carried[begin + before + i] = moved[start + i]
    target = begin + n_first + (start - begin - before)
    for i in range(stop - start - n_mine):
        carried[target + i] = moved[stop - 1 - i]
    return n_first
