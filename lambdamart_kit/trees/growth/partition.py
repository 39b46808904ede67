"""Rows in the order of the tree: all threads part a leaf's rows in two, or, at the root, all rows.

A thread goes through its share of the rows. It puts those of the first part together where the share starts,
in order, and those of the second where the share ends, backwards. Then the threads join what they have::

    share of thread 0        share of thread 1
    | first >  < second |    | first >  < second |       after a thread's own pass
    | first 0 | first 1 | second 0 | second 1    |       after joining, all in their old order
"""

from __future__ import annotations

import numpy as np

from lambdamart_kit.compile import inner
from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.growth.barrier import cycles, meet, prefetch
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
    Crew,
    RowOrder,
)

_ROWS_AHEAD = 48  # prefetch distance in rows; it takes a tenth off the partition


@inner(borrows=True, shared=True)
def move_rows(crew: Crew, column: Array, leaf: int, mine: Array, order: RowOrder) -> tuple[int, int]:
    """Stable partition of both runs of a leaf by its split; returns how many of each go left.

    Threads meet twice.
    """
    thread = crew.thread
    n_threads = crew.n_threads
    started = cycles()
    goes_left = order.goes_left[thread]
    # The split's set of bins becomes a table of bytes: one load a row instead of a shift and a mask.
    for b in range(256):
        goes_left[b] = (mine[leaf, MASK + (b >> 6)] >> np.int64(b & 63)) & np.int64(1)
    carried = order.carried
    moved = order.moved
    # The first thread's left rows can stay where they are; the others' would be written over.
    lefts = carried if thread == 0 else moved
    low = np.uint64(0xFFFFFFFF)
    one = np.uint64(1)
    ahead = np.uint64(_ROWS_AHEAD)
    for run in range(2):
        begin = mine[leaf, LIGHT if run else BEGIN]
        n_heavy = mine[leaf, HEAVY]
        count = mine[leaf, COUNT] - n_heavy if run else n_heavy
        start = begin + count * thread // n_threads
        stop = begin + count * (thread + 1) // n_threads
        at = np.uint64(start)
        end = np.uint64(stop - 1)
        last = np.uint64(max(stop - 1, 0))
        # The loop has no branch: every row is written to both places, and the place that was right moves on.
        for i in range(np.uint64(start), np.uint64(stop)):
            row = carried[i]
            # Rows of a leaf have gaps, so their bins lie in cache lines that the processor does not foresee.
            prefetch(column, np.int64(np.uint64(carried[min(i + ahead, last)]) & low))
            left = np.uint64(goes_left[column[np.uint64(row) & low]])
            # `at` never passes i, so thread 0 overwrites no row that is still to be read. The other place
            # gets the row as well, and the next row of the kind that belongs there overwrites it.
            lefts[at] = row
            moved[end] = row
            at += left
            end -= one - left
        # The other threads need these numbers to join the parts.
        part = order.parts[thread, run]
        part[RUN_BEGIN] = begin
        part[SHARE_BEGIN] = start
        part[SHARE_END] = stop
        part[N_FIRST] = np.int64(at) - start
    meet(crew.arrivals, thread, n_threads)
    heavy_left = join(thread, n_threads, 0, order)
    light_left = join(thread, n_threads, 1, order)
    meet(crew.arrivals, thread, n_threads)
    crew.clock[MOVE] += cycles() - started
    return heavy_left, light_left


@inner(borrows=True, shared=True)
def join(thread: int, n_threads: int, run: int, order: RowOrder) -> int:
    """Put together what the threads parted; returns the length of the first part.

    The first part of thread 0 lies in `carried`, where it belongs. Those of the others, and all second parts,
    lie in `moved`.
    """
    carried = order.carried
    moved = order.moved
    part = order.parts[thread, run]
    begin = part[RUN_BEGIN]
    start = part[SHARE_BEGIN]
    stop = part[SHARE_END]
    n_mine = part[N_FIRST]
    # The first parts of the threads before this one come before its own.
    before = 0
    n_first = 0
    for t in range(n_threads):
        before += order.parts[t, run, N_FIRST] if t < thread else 0
        n_first += order.parts[t, run, N_FIRST]
    # Rows are copied one by one: assigning a slice would take three seconds to compile, for the message of a
    # mismatch.
    if thread > 0:
        for i in range(n_mine):
            carried[begin + before + i] = moved[start + i]
    # Second parts stand backwards in `moved`, so they are read from their end.
    # start - begin rows of the run come before this thread's share, and `before` of them are in first
    # parts. The rest are second parts of other threads, which come before this one's.
    target = begin + n_first + (start - begin - before)
    for i in range(stop - start - n_mine):
        carried[target + i] = moved[stop - 1 - i]
    return n_first
