"""Each query's documents from the highest score to the lowest, in one canonical order.

The canonical order is: score descending, then label descending, then position. Two steps make it. Once per
label column, `label_order` lays the rows of each query out by label; after that a *stable* descending sort
of the scores is canonical, so labels are never compared again. Documents that share score and label are
interchangeable: whatever is computed from the canonical order depends on the scores and labels of a query
but not on how its rows came.

The sorts pack ``(score bits, position)`` into one 64-bit word. Small queries are ranked by counting smaller
words (branch-free, vectorised), larger ones by a radix sort; both beat a comparison sort several times and
cost the same whatever the order of the input. Scores must not be NaN.
"""

from __future__ import annotations

import numpy as np

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.bits import bits_of
from lambdamart_kit.core.typing import Array, FloatArray, IndexArray
from lambdamart_kit.runtime.threads import balanced_bounds, resolve_n_jobs, run_tasks

_COUNTING_LIMIT = 100  # documents; above it the radix sort is faster (measured: 10 ns a document at 100)
_RADIX_WORK = 4 * 256  # counts of the values of four bytes


def label_order(y: Array, ptr: IndexArray) -> IndexArray:
    """Rows of each query by label descending, then position: (n_samples,) intp.

    Examples
    --------
    >>> label_order(np.array([0, 2, 1, 0, 1]), np.array([0, 3, 5])).tolist()
    [1, 2, 0, 4, 3]
    """
    # `lexsort` is stable and sorts by its last key first: by
    # query, then by label descending, then by position.
    query = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
    return np.lexsort((-np.asarray(y, dtype=np.float64), query)).astype(np.intp, copy=False)


def descending_order(scores: Array, ptr: IndexArray, *, n_threads: int | None = None) -> IndexArray:
    """Rows of each query by score descending, equal scores by position: (n_samples,) intp.

    Parameters
    ----------
    scores : (n_samples,) float32 or float64
        Finite or infinite, not NaN; rows grouped by query. -0.0 and 0.0 are equal.
    ptr : (n_queries + 1,) intp
        Query ``q`` holds rows ``ptr[q]:ptr[q + 1]``.
    n_threads : int, optional
        Threads; None for all available. The result does not depend on it.

    Examples
    --------
    >>> descending_order(np.array([1.0, 3.0, 2.0, 5.0, 5.0]), np.array([0, 3, 5])).tolist()
    [1, 2, 0, 3, 4]
    """
    scores = np.ascontiguousarray(scores)
    if scores.dtype not in (np.float32, np.float64):
        scores = scores.astype(np.float64)
    ptr = np.ascontiguousarray(ptr, dtype=np.intp)
    order = np.empty(len(scores), dtype=np.intp)
    # float32 scores need one sort by 32 bits. float64 scores need a second sort of the runs that agree in
    # the upper half.
    narrow = scores.dtype == np.float32
    threads = resolve_n_jobs(n_threads)
    bounds = balanced_bounds(np.diff(ptr), threads)
    run_tasks(_order_queries32 if narrow else _order_queries64, bounds, threads, ptr, scores, order)
    return order


def worth_of_rows(scores: Array, ptr: IndexArray, worth: FloatArray, *, tied: bool = True) -> FloatArray:
    """What each ordered row is worth at its rank within its query.

    Parameters
    ----------
    scores : (n,) array
        By query; a higher one ranks first.
    ptr : (n_queries + 1,) intp
        Where queries begin.
    worth : (n_ranks,) float64
        Worth of rank 0, 1, ...: as many as the longest query has rows, or more.
    tied : bool
        Equal scores get the mean of their ranks' worth: the expectation over random orders of ties.

    Examples
    --------
    >>> worth_of_rows(np.array([1.0, 2.0, 2.0]), np.array([0, 3]), np.array([1.0, 0.5, 0.0])).tolist()
    [0.0, 0.75, 0.75]
    """
    order = descending_order(scores, ptr)
    rank = np.arange(len(order)) - np.repeat(ptr[:-1], np.diff(ptr))
    of_rank: FloatArray = worth[rank]
    if tied:
        ranked = scores[order]
        # Blocks of equal scores begin where a query does, or where the score changes.
        starts = np.zeros(len(ranked), dtype=bool)
        starts[ptr[:-1]] = True
        starts[1:] |= ranked[1:] != ranked[:-1]
        first = np.flatnonzero(starts)
        sizes = np.diff(np.append(first, len(ranked)))
        of_rank = np.repeat(np.add.reduceat(of_rank, first) / sizes, sizes)
    found = np.empty(len(order))
    found[order] = of_rank
    return found


@kernel
def sort_workspace(max_size: int) -> Array:
    """Scratch for sorting queries of up to `max_size` documents, reused from query to query."""
    return np.empty(2 * max_size + _RADIX_WORK, dtype=np.uint64)


@kernel(borrows=True)
def stable_descending32(scores: Array, order: IndexArray, work: Array) -> None:
    """Positions of one query's float32 `scores`, highest first, into `order` (n,)."""
    n = len(scores)
    # The position in the lower half keeps equal scores in order, and says which row a sorted word is of.
    words = work[:n]
    for i in range(n):
        words[i] = (np.uint64(_descending_word32(scores[i])) << np.uint64(32)) | np.uint64(i)
    _sort_words(words, order, work[n:])


@kernel(borrows=True)
def stable_descending64(scores: Array, order: IndexArray, work: Array) -> None:
    """Positions of one query's float64 `scores`, highest first, into `order` (n,).

    Sorted by the upper half of the bits first; runs that agree there are then sorted by the lower half.
    """
    n = len(scores)
    # The upper half holds the sign, the 11 bits of the exponent and the
    # first 20 of the significand, so scores agree in it only if they differ
    # by less than 2**-20 of their size. The second sort has few runs to do.
    low_half = np.uint64(0xFFFFFFFF)
    words = work[:n]
    for i in range(n):
        words[i] = (_descending_word64(scores[i]) & ~low_half) | np.uint64(i)
    _sort_words(words, order, work[n:])
    # Runs of equal upper halves, where the lower halves differ, are sorted again by the lower halves.
    start = 0
    while start < n:
        upper = _descending_word64(scores[order[start]])
        stop = start + 1
        mixed = False
        while stop < n:
            word = _descending_word64(scores[order[stop]])
            if (word ^ upper) > low_half:
                break
            mixed = mixed or word != upper
            stop += 1
        if mixed:
            for r in range(start, stop):
                # Rows of a run stand by position after the first sort, and enter the second sort in that
                # order. So equal scores stay in order of position.
                low = _descending_word64(scores[order[r]]) & low_half
                work[r - start] = (low << np.uint64(32)) | np.uint64(order[r])
            _sort_words(work[: stop - start], order[start:stop], work[n:])
        start = stop


@kernel
def tied_block_stop(ranked: Array, start: int) -> int:
    """First rank after `start` whose score in `ranked` (descending) differs from the one at `start`."""
    stop = start + 1
    while stop < len(ranked) and ranked[stop] == ranked[start]:
        stop += 1
    return stop


@kernel
def _descending_word32(score: np.float32) -> np.uint32:
    """Unsigned word that grows as the score falls."""
    # Bits of positive floats grow with the float, so they are turned round. Bits of negative floats have the
    # sign bit set and grow as the float falls already.
    bits = np.uint32(bits_of(score))
    if bits == np.uint32(0x80000000):  # -0.0
        bits = np.uint32(0)
    return bits if bits >> np.uint32(31) else np.uint32(0x7FFFFFFF) - bits


@kernel
def _descending_word64(score: float) -> np.uint64:
    bits = np.uint64(bits_of(score))
    if bits == np.uint64(0x8000000000000000):  # -0.0
        bits = np.uint64(0)
    return bits if bits >> np.uint64(63) else np.uint64(0x7FFFFFFFFFFFFFFF) - bits


@kernel(borrows=True)
def _sort_words(words: Array, order: IndexArray, work: Array) -> None:
    """Low halves of distinct `words`, ascending by word, into `order`."""
    if len(words) <= _COUNTING_LIMIT:
        _sort_by_counting(words, order)
    else:
        _sort_by_radix(words, order, work)


@kernel(borrows=True)
def _sort_by_counting(words: Array, order: IndexArray) -> None:
    """The rank of a word is the number of smaller words: n^2 comparisons, without a branch."""
    n = len(words)
    for i in range(n):
        word = words[i]
        rank = np.uint64(0)
        for j in range(n):
            rank += np.uint64(words[j] < word)
        order[np.intp(rank)] = np.intp(word & np.uint64(0xFFFFFFFF))


@kernel(borrows=True)
def _sort_by_radix(words: Array, order: IndexArray, work: Array) -> None:
    """Four stable passes over the bytes of the upper halves; lower halves need to ascend beforehand."""
    n = len(words)
    source = words
    target = work[:n]
    offsets = work[n : n + _RADIX_WORK]
    byte = np.uint64(255)
    one = np.uint64(1)
    offsets[:] = 0
    # One pass counts the values of all four bytes. Then, byte by byte from the lowest, counts become first
    # places, and words move to their places.
    for i in range(n):
        upper = words[i] >> np.uint64(32)
        for digit in range(4):
            offsets[np.uint64(256 * digit) + ((upper >> np.uint64(8 * digit)) & byte)] += one
    for digit in range(4):
        of_digit = offsets[256 * digit : 256 * digit + 256]
        total = np.uint64(0)
        for value in range(256):
            count = of_digit[value]
            of_digit[value] = total
            total += count
        # Bytes 4 to 7 hold the score. The position, in bytes 0 to 3, ascends beforehand, and stable passes
        # leave words with equal scores in that order.
        shift = np.uint64(32 + 8 * digit)
        for i in range(n):
            word = source[i]
            bucket = (word >> shift) & byte
            target[of_digit[bucket]] = word
            of_digit[bucket] += one
        # After four passes the words are back where they started.
        source, target = target, source
    for i in range(n):
        order[i] = np.intp(source[i] & np.uint64(0xFFFFFFFF))


@kernel
def _order_queries32(first: int, last: int, ptr: IndexArray, scores: Array, order: IndexArray) -> None:
    work = sort_workspace(largest_query(first, last, ptr))
    for q in range(first, last):
        start = ptr[q]
        stop = ptr[q + 1]
        stable_descending32(scores[start:stop], order[start:stop], work)
        order[start:stop] += start


@kernel
def _order_queries64(first: int, last: int, ptr: IndexArray, scores: Array, order: IndexArray) -> None:
    work = sort_workspace(largest_query(first, last, ptr))
    for q in range(first, last):
        start = ptr[q]
        stop = ptr[q + 1]
        stable_descending64(scores[start:stop], order[start:stop], work)
        order[start:stop] += start


@kernel
def largest_query(first: int, last: int, ptr: IndexArray) -> int:
    """Documents in the largest of the queries `first` to `last` - 1."""
    size = 0
    for q in range(first, last):
        size = max(size, int(ptr[q + 1]) - int(ptr[q]))
    return size
