"""Packed integer histograms: where the time of a tree goes.

Each row carries a quantised gradient g and hessian h. They are added as one int64, ``g * 2**32 + h``: one addition a row and
feature instead of two, exact, and in any order the same sum. Scales are chosen so that ``sum |g| < 2**31`` and
``sum h < 2**32`` over all rows, so no bin can wrap or borrow.

A row is stored as the list of its bins that are *not* the most frequent bin of their feature, each as the number of its
histogram slot. Ranking features are mostly zero (no query term in the anchor text), so the list is shorter than the row, and
the missing slot of a feature is the leaf's total minus the others. Lists come in groups of four 16-bit slot
numbers, read as one 64-bit word. Features are dealt out to blocks, one or more for each thread: a thread builds,
subtracts and searches the histograms of its own features, and shares no cache line with the others.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.core.jit import kernel
from lambdamart_kit.core.parallel import run_tasks
from lambdamart_kit.core.typing import Array, IndexArray
from lambdamart_kit.trees.binning import BinnedMatrix
from lambdamart_kit.trees.lockstep import prefetch

_MOST_SLOTS = 65_528  # of a block: slot numbers are 16 bits
_FAR, _NEAR = 24, 12  # rows ahead to ask for a row's place, and for its list
_ROWS_AT_ONCE = 512


class Layout(NamedTuple):
    """Rows as lists of histogram slots, and where each feature's slots lie. Features are in order of their blocks.

    Attributes
    ----------
    feature, start, n_bins, nan_bin, default_bin : ndarray (n_used,), int32
        Column of the matrix; first slot; bins in use; bin of NaN, in use or not; elided bin.
    is_categorical : ndarray (n_used,), bool
        Kind of split to search.
    block_feature, block_slot : ndarray (n_blocks + 1,), int64
        First feature and first slot of each block; the last slot of a block is a dummy that fills up lists.
    row_ptr : ndarray (n_blocks, n_samples + 1), uint32
        List of a row within its block, in groups of four.
    block_word : ndarray (n_blocks,), int64
        First word of each block's lists.
    words : ndarray, uint64
        The lists.
    """

    feature: Array
    start: Array
    n_bins: Array
    nan_bin: Array
    default_bin: Array
    is_categorical: Array
    block_feature: Array
    block_slot: Array
    row_ptr: Array
    block_word: Array
    words: Array

    @property
    def n_slots(self) -> int:
        """Slots of one leaf's histogram."""
        return int(self.block_slot[-1])


def make_layout(binned: BinnedMatrix, n_threads: int) -> Layout:
    """Lay out the features that are not constant, in at least `n_threads` blocks of equal work."""
    n_value_bins = binned.mapper.n_value_bins
    counts = [np.bincount(column, minlength=256) for column in binned.columns]
    has_nan = np.array([c[b] > 0 if b < 256 else False for c, b in zip(counts, n_value_bins)], dtype=bool)
    has_nan &= ~binned.mapper.is_categorical
    used = np.flatnonzero([np.count_nonzero(c) > 1 for c in counts])
    default = np.array([c.argmax() for c in counts], dtype=np.int64)
    listed = np.array([c.sum() - c.max() for c in counts], dtype=np.int64)
    n_bins = n_value_bins + has_nan
    blocks = _deal(used, listed, _padded(n_bins), n_threads)
    order = np.concatenate(blocks).astype(np.intp) if blocks else np.empty(0, np.intp)
    block_feature = np.concatenate(([0], np.cumsum([len(b) for b in blocks]))).astype(np.int64)
    slots = [int(_padded(n_bins[b]).sum()) + 8 for b in blocks]
    block_slot = np.concatenate(([0], np.cumsum(slots))).astype(np.int64)
    start = np.concatenate([at + np.cumsum(p) - p for at, p in zip(block_slot, (_padded(n_bins[b]) for b in blocks))]
                           or [np.empty(0)])  # fmt: skip
    row_ptr, block_word, words = _fill(
        binned.columns, blocks, default, start, block_feature, block_slot, n_threads
    )
    return Layout(
        feature=order.astype(np.int32),
        start=start.astype(np.int32),
        n_bins=n_bins[order].astype(np.int32),
        nan_bin=n_value_bins[order].astype(np.int32),
        default_bin=default[order].astype(np.int32),
        is_categorical=binned.mapper.is_categorical[order],
        block_feature=block_feature,
        block_slot=block_slot,
        row_ptr=row_ptr,
        block_word=block_word,
        words=words,
    )


def _padded(n_bins: IndexArray) -> IndexArray:
    """Slots set aside for a feature: a multiple of 8, never of 64, so that equal bins do not alias in the cache."""
    slots = (n_bins + 7) // 8 * 8
    return np.where(slots % 64 == 0, slots + 8, slots)


def _deal(used: IndexArray, listed: Array, slots: IndexArray, n_threads: int) -> list[IndexArray]:
    """Blocks of features with about equal work: heaviest first, each to the lightest block with room."""
    n_blocks = n_threads
    while True:
        work, room = np.zeros(n_blocks), np.full(n_blocks, _MOST_SLOTS - 8)
        members: list[list[int]] = [[] for _ in range(n_blocks)]
        for j in sorted(used.tolist(), key=lambda j: (-listed[j], j)):
            open_blocks = np.flatnonzero(room >= slots[j])
            if not len(open_blocks):
                break
            block = open_blocks[work[open_blocks].argmin()]
            members[block].append(j)
            work[block] += listed[j] + 0.002 * listed[used].max()
            room[block] -= slots[j]
        else:
            return [np.sort(np.array(m, dtype=np.intp)) for m in members]
        n_blocks += n_threads


def _fill(
    columns: Array,
    blocks: list[IndexArray],
    default: Array,
    start: Array,
    block_feature: Array,
    block_slot: Array,
    n_threads: int,
) -> tuple[Array, Array, Array]:
    n_samples = columns.shape[1]
    row_ptr = np.zeros((len(blocks), n_samples + 1), dtype=np.uint32)
    bounds = np.linspace(0, n_samples, 8 * n_threads + 1).astype(np.intp)
    for b, block in enumerate(blocks):
        run_tasks(_count_groups, bounds, n_threads, columns, block, default[block], row_ptr[b])
        if n_samples:
            row_ptr[b] = np.cumsum(row_ptr[b], dtype=np.int64)
    sizes = row_ptr[:, -1].astype(np.int64)
    block_word = np.cumsum(sizes) - sizes
    words = np.empty(int(sizes.sum()), dtype=np.uint64)
    for b, block in enumerate(blocks):
        inside = start[block_feature[b] : block_feature[b + 1]] - block_slot[b]
        dummy = block_slot[b + 1] - block_slot[b] - 1
        entries = words[block_word[b] : block_word[b] + sizes[b]].view(np.uint16)
        args = (columns, block, default[block], inside.astype(np.int64), dummy, row_ptr[b], entries)
        run_tasks(_write_lists, bounds, n_threads, *args)
    return row_ptr, block_word, words


@kernel
def _count_groups(start: int, stop: int, columns: Array, block: Array, default: Array, groups: Array) -> None:
    listed = np.empty(_ROWS_AT_ONCE, dtype=np.uint32)
    for a in range(start, stop, _ROWS_AT_ONCE):
        b = min(a + _ROWS_AT_ONCE, stop)
        listed[:] = 0
        for f in range(len(block)):
            column, elided = columns[block[f], a:b], np.uint8(default[f])
            for i in range(b - a):
                listed[i] += np.uint32(column[i] != elided)
        for i in range(b - a):
            groups[a + i + 1] = (listed[i] + 3) // 4


@kernel
def _write_lists(
    start: int, stop: int, columns: Array, block: Array, default: Array, slot: Array, dummy: int, row_ptr: Array,
    entries: Array,
) -> None:  # fmt: skip
    at = np.empty(_ROWS_AT_ONCE, dtype=np.int64)
    for a in range(start, stop, _ROWS_AT_ONCE):
        b = min(a + _ROWS_AT_ONCE, stop)
        for i in range(b - a):
            at[i] = np.int64(row_ptr[a + i]) * 4
        for f in range(len(block)):
            column, elided = columns[block[f], a:b], np.uint8(default[f])
            for i in range(b - a):
                if column[i] != elided:
                    entries[at[i]] = slot[f] + column[i]
                    at[i] += 1
        for i in range(b - a):
            while at[i] < np.int64(row_ptr[a + i + 1]) * 4:
                entries[at[i]] = dummy
                at[i] += 1


@kernel
def spread(carried: int) -> int:
    """``g * 2**32 + h`` of a carried row: bits 63-48 are g (signed), 47-32 are h, 31-0 the row."""
    return ((carried >> np.int64(48)) << np.int64(32)) + ((carried >> np.int64(32)) & np.int64(0xFFFF))


@kernel
def build(layout: Layout, block: int, carried: Array, counting: bool, histogram: Array) -> int:
    """Histogram of the `carried` rows over one block's features; returns the rows' total.

    When `counting`, every row adds 1: the histogram holds numbers of rows.
    """
    first, last = layout.block_slot[block], layout.block_slot[block + 1]
    mine = histogram[first:last]
    mine[:] = 0
    total = _accumulate(
        layout.row_ptr[block], layout.words[layout.block_word[block] :], carried, counting, mine
    )
    for f in range(layout.block_feature[block], layout.block_feature[block + 1]):
        others = np.int64(0)
        bins = histogram[layout.start[f] : layout.start[f] + layout.n_bins[f]]
        for value in bins:
            others += value
        bins[layout.default_bin[f]] = total - others
    return total


@kernel
def _accumulate(row_ptr: Array, words: Array, carried: Array, counting: bool, histogram: Array) -> int:
    # Unsigned indices everywhere: signed ones make Numba test each for being negative, which costs half the speed.
    low, mask, one = np.uint64(0xFFFFFFFF), np.uint64(0xFFFF), np.uint64(1)
    by16, by32, by48 = np.uint64(16), np.uint64(32), np.uint64(48)
    n = np.uint64(len(carried))
    far, near = np.uint64(_FAR), np.uint64(_NEAR)
    total = np.int64(0)
    for i in range(n):
        if i + far < n:
            prefetch(row_ptr, np.int64(np.uint64(carried[i + far]) & low))
        if i + near < n:
            ahead = np.int64(row_ptr[np.uint64(carried[i + near]) & low])
            prefetch(words, ahead)
            prefetch(words, ahead + 8)
        row = np.uint64(carried[i]) & low
        value = np.int64(1) if counting else spread(carried[i])
        total += value
        for k in range(np.uint64(row_ptr[row]), np.uint64(row_ptr[row + one])):
            word = words[k]
            histogram[word & mask] += value
            histogram[(word >> by16) & mask] += value
            histogram[(word >> by32) & mask] += value
            histogram[word >> by48] += value
    return total


@kernel
def subtract(layout: Layout, block: int, child: Array, parent: Array) -> None:
    """Turn the parent's histogram into the other child's, in place."""
    for s in range(layout.block_slot[block], layout.block_slot[block + 1]):
        parent[s] -= child[s]
