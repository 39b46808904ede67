"""Rows in the order of the tree: all threads quantise and sort them at the root, and part a leaf's in two.

Both are the same movement. A thread goes through its share of the rows and puts those of the first part
together where the share starts, in order, and those of the second where it ends, backwards; then the threads
join what they have.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lambdamart_kit.core.jit import inner
from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.lockstep import cycles, meet
from lambdamart_kit.trees.quantising import Scales, quantise
from lambdamart_kit.trees.splitting import MASK
from lambdamart_kit.trees.state import BEGIN, COUNT, HEAVY, LIGHT, MOVE, Data, Limits, Work


@inner(borrows=True, shared=True)
def quantise_rows(
    thread: int, n_threads: int, data: Data, limits: Limits, scales: Scales, work: Work
) -> tuple[Any, Any]:
    """Fill `carried`, rows that take part first; returns how many those are, and their sum. Threads meet."""
    n = len(data.rows)
    start, stop = n * thread // n_threads, n * (thread + 1) // n_threads
    work.parts[thread, 0, 0], work.parts[thread, 0, 1], work.parts[thread, 0, 2] = 0, start, stop
    target = work.carried if thread == 0 else work.moved  # as in `move_rows`
    work.lefts[thread, 0], work.sums[thread, 4] = quantise(
        start, stop, data.rows, data.gradient, data.hessian, data.content, limits.seed, limits.least_squares,
        scales, work.words[thread], work.shares[thread], target, work.moved,
    )  # fmt: skip
    meet(work.arrivals, thread, n_threads)
    heavy, total = _join(thread, n_threads, 0, work), np.int64(0)
    for t in range(n_threads):
        total += work.sums[t, 4]
    meet(work.arrivals, thread, n_threads)
    return heavy, total


@inner(borrows=True, shared=True)
def move_rows(thread: int, n_threads: int, column: Array, leaf: int, work: Work) -> tuple[Any, Any]:
    """Stable partition of both runs of a leaf by its split; returns how many of each go left.

    Threads meet twice.
    """
    started = cycles()
    mine, part, counts = work.leaves[thread], work.parts[thread], work.lefts[thread]
    goes_left = work.goes_left[thread]
    for b in range(256):
        goes_left[b] = (mine[leaf, MASK + (b >> 6)] >> np.int64(b & 63)) & np.int64(1)
    carried, moved = work.carried, work.moved
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
        part[run, 0], part[run, 1], part[run, 2] = begin, start, stop
        counts[run] = np.int64(at) - start
    meet(work.arrivals, thread, n_threads)
    n_heavy = _join(thread, n_threads, 0, work)
    n_light = _join(thread, n_threads, 1, work)
    meet(work.arrivals, thread, n_threads)
    work.cycles[thread, MOVE] += cycles() - started
    return n_heavy, n_light


@inner(borrows=True, shared=True)
def _join(thread: int, n_threads: int, run: int, work: Work) -> int:
    """Put together what the threads parted; returns the length of the first part.

    The first part of thread 0 lies in `carried`, where it belongs; those of the others, and all second parts,
    in `moved`.
    """
    carried, moved = work.carried, work.moved
    begin, start, stop = work.parts[thread, run, 0], work.parts[thread, run, 1], work.parts[thread, run, 2]
    n_mine, before, n_first = work.lefts[thread, run], 0, 0
    for t in range(n_threads):
        before += work.lefts[t, run] if t < thread else 0
        n_first += work.lefts[t, run]
    if thread > 0:
        for i in range(n_mine):  # a slice would compile for three seconds: the message of a mismatch
            carried[begin + before + i] = moved[start + i]
    target = begin + n_first + (start - begin - before)
    for i in range(stop - start - n_mine):
        carried[target + i] = moved[stop - 1 - i]
    return n_first
