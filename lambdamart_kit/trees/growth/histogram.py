"""Packed integer histograms: where the time of a tree goes.

Each row carries a quantised gradient g and hessian h. They are added as one int64, ``g * 2**32 + h``: one
addition a row and feature instead of two, exact, and in any order the same sum. Scales are chosen so that
``sum |g| < 2**31`` and ``sum h < 2**32`` over all rows, so no bin can wrap or borrow.

A row is stored as the list of its bins that are *not* the most frequent bin of their feature, each as the
number of its histogram slot. Ranking features are mostly zero (no query term in the anchor text), so the list
is shorter than the row, and the missing slot of a feature is the leaf's total minus the others. Lists come in
groups of four 16-bit slot numbers, read as one 64-bit word. Features are dealt out to blocks, one or more for
each thread: a thread builds, subtracts and searches the histograms of its own features, and shares no cache
line with the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.typing import Array, IndexArray
from lambdamart_kit.runtime.threads import run_tasks
from lambdamart_kit.trees.growth.barrier import prefetch
from lambdamart_kit.trees.growth.quantising import spread

if TYPE_CHECKING:
    from lambdamart_kit.trees.binning import BinnedMatrix

_MOST_SLOTS = 65_528  # of a block: slot numbers are 16 bits
# Prefetch distances in rows: first the pointer to a row's list, then the list. Without a prefetch, each cache
# line costs about 35 ns.
_FAR = 24
_NEAR = 12
_ROWS_AT_ONCE = 512  # rows whose lists are written together: their positions fit in the first cache level
# Columns of the table of features.
COLUMN, START, N_BINS, NAN_BIN, DEFAULT_BIN, CATEGORICAL = range(6)


class SlotLayout(NamedTuple):
    """Rows as lists of histogram slots, and where each feature's slots lie; features by block.

    Slots are numbered within planes of at most 65,528, and a plane has one block for each thread. The lists
    of a row's blocks lie side by side, so that a thread can also take whole rows.

    Attributes
    ----------
    features : ndarray (n_used, 6), int32
        For each feature: its column of the matrix; its first slot; its bins in use; the bin of NaN, in use or
        not; the elided bin, which is not in the lists; and whether its splits are of categories.
    block_feature, block_slot : ndarray (n_blocks + 1,), int64
        First feature and first slot of each block; the last slot of a block is a dummy that fills up lists.
    row_ptr : ndarray (n_planes, n_samples * blocks_per_plane + 1), uint32
        Where each list begins, in groups of four.
    plane_word : ndarray (n_planes,), int64
        First word of each plane's lists.
    words : ndarray, uint64
        The lists.
    """

    features: Array
    block_feature: Array
    block_slot: Array
    row_ptr: Array
    plane_word: Array
    words: Array

    @property
    def n_slots(self) -> int:
        """Slots of one leaf's histogram."""
        return int(self.block_slot[-1])


class ListPlan(NamedTuple):
    """What the lists of a layout are made from.

    Attributes
    ----------
    columns : ndarray (n_features, n_samples), uint8
        Bins.
    order, default, start : ndarray (n_used,), int64
        Column, elided bin and first slot of each feature, by block.
    block_feature, block_slot : ndarray (n_blocks + 1,), int64
        As in `SlotLayout`.
    """

    columns: Array
    order: Array
    default: Array
    start: Array
    block_feature: Array
    block_slot: Array


def make_layout(binned: BinnedMatrix, n_threads: int) -> SlotLayout:
    """Lay out the features that are not constant, in blocks of equal work, `n_threads` to a plane."""
    n_value_bins = binned.mapper.n_value_bins
    counts = _count_bins(binned, n_threads)
    # A bin of NaN that no row is in costs no slot; a feature with a single bin in use is left out.
    has_nan = counts[np.arange(len(counts)), np.minimum(n_value_bins, 255)] > 0
    has_nan &= (n_value_bins < 256) & ~binned.mapper.is_categorical
    used = np.flatnonzero(np.count_nonzero(counts, axis=1) > 1)
    n_bins = n_value_bins + has_nan
    # The work of a feature is its additions: one for each row outside its most frequent bin.
    blocks = _deal(used, counts.sum(axis=1) - counts.max(axis=1), _padded(n_bins), n_threads)
    order = np.concatenate(blocks).astype(np.intp)
    slots = [_padded(n_bins[block]) for block in blocks]
    # Eight slots more than the features need: one is the dummy, and with eight the next block begins at a
    # multiple of 64 bytes, so no cache line belongs to two threads.
    block_slot = np.cumsum([0, *(s.sum() + 8 for s in slots)]).astype(np.int64)
    start = np.concatenate([first + np.cumsum(s) - s for first, s in zip(block_slot, slots)])
    # The most frequent bin of a feature is elided: it is in no list, and is found by subtraction.
    default = counts.argmax(axis=1)[order]
    block_feature = np.cumsum([0, *map(len, blocks)]).astype(np.int64)
    lists = ListPlan(
        binned.columns,
        order=order.astype(np.int64),
        default=default.astype(np.int64),
        start=start.astype(np.int64),
        block_feature=block_feature,
        block_slot=block_slot,
    )
    row_ptr, plane_word, words = _write(binned, lists, n_threads)
    columns = (order, start, n_bins[order], n_value_bins[order], default, binned.mapper.is_categorical[order])
    return SlotLayout(
        features=np.stack(columns, axis=1).astype(np.int32),
        block_feature=block_feature,
        block_slot=block_slot,
        row_ptr=row_ptr,
        plane_word=plane_word,
        words=words,
    )


def _count_bins(binned: BinnedMatrix, n_threads: int) -> Array:
    """Rows in each bin of each feature, (n_features, 256)."""
    counts = np.zeros((len(binned.columns), 256), dtype=np.int64)
    bounds = np.linspace(0, len(counts), 4 * n_threads + 1).astype(np.intp)
    scratch = [(np.empty((4, 256), dtype=np.int64),) for _ in range(n_threads)]
    run_tasks(_count_columns, bounds, n_threads, binned.columns, counts, scratch=scratch)
    return counts


@kernel(borrows=True)
def _count_columns(start: int, stop: int, tables: Array, columns: Array, counts: Array) -> None:
    n = columns.shape[1]
    for j in range(start, stop):
        tables[:] = 0
        # Four tables in turn: adding to one slot over and over waits for the last addition each time.
        for i in range(n):
            tables[i & 3, columns[j, i]] += 1
        # Bin by bin: an expression of arrays would take three seconds to compile.
        for b in range(256):
            counts[j, b] = tables[0, b] + tables[1, b] + tables[2, b] + tables[3, b]


def _padded(n_bins: IndexArray) -> IndexArray:
    """Slots set aside for a feature: a multiple of 8, not of 64, or equal bins alias in the cache."""
    # With a stride of 64 slots (512 bytes) or a multiple, the lowest bins of all features fall on few sets of
    # the cache, and zero-heavy columns evict each other: measured 1.3 to 1.7 ns an addition instead of 0.6.
    slots = (n_bins + 7) // 8 * 8
    return np.where(slots % 64 == 0, slots + 8, slots)


def _deal(used: IndexArray, listed: Array, slots: IndexArray, n_threads: int) -> list[IndexArray]:
    """Features of each block, with about equal work: heaviest first, each to the lightest block with room."""
    # A plane is shared by the threads, and each block gives eight
    # of its slots to the dummy and the padding.
    capacity = _MOST_SLOTS // n_threads - 8
    # Fewer planes than these have too few slots in all. Wide data would try hundreds in vain.
    n_planes = max(1, -(-int(slots[used].sum()) // (capacity * n_threads)))
    while True:
        blocks = _deal_to(n_planes * n_threads, capacity, used, listed, slots)
        if blocks is not None:
            return blocks
        n_planes += 1


def _deal_to(
    n_blocks: int, capacity: int, used: IndexArray, listed: Array, slots: IndexArray
) -> list[IndexArray] | None:
    """Features of each of `n_blocks` blocks; None if one of them finds no room."""
    work = np.zeros(n_blocks)
    room = np.full(n_blocks, capacity)
    members: list[list[int]] = [[] for _ in range(n_blocks)]
    overhead = 0.002 * listed[used].max(initial=0)  # of a feature, however few of its bins are listed
    # Heaviest first, because the light ones then even out what is left.
    for j in sorted(used.tolist(), key=lambda j: (-listed[j], j)):
        fits = np.flatnonzero(room >= slots[j])
        if not len(fits):
            return None
        block = fits[work[fits].argmin()]
        members[block].append(j)
        work[block] += listed[j] + overhead
        room[block] -= slots[j]
    return [np.sort(np.array(m, dtype=np.intp)) for m in members]


def _write(binned: BinnedMatrix, lists: ListPlan, n_threads: int) -> tuple[Array, Array, Array]:
    """Row pointers, first word of each plane, and words."""
    n_samples = binned.n_samples
    n_planes = (len(lists.block_feature) - 1) // n_threads
    row_ptr = np.zeros((n_planes, n_samples * n_threads + 1), dtype=np.uint32)
    bounds = np.linspace(0, n_samples, 8 * n_threads + 1).astype(np.intp)
    scratch = [(np.empty(_ROWS_AT_ONCE, dtype=np.int64),) for _ in range(n_threads)]
    # Two passes: count the groups of four of every list, then write the lists where the counts put them.
    for plane in range(n_planes):
        args = (lists, plane, n_threads, row_ptr[plane])
        run_tasks(_count_groups, bounds, n_threads, *args, scratch=scratch)
        sums = np.cumsum(row_ptr[plane], dtype=np.int64)
        # Pointers count groups of four entries in 32 bits, which keeps them half as long as 64-bit ones:
        # there is one for each row and block.
        if sums[-1] >= 2**32:
            raise ValueError("'X' is too large for one machine's engine: over 2**34 values in 65,528 bins")
        row_ptr[plane] = sums
    sizes = row_ptr[:, -1].astype(np.int64)
    plane_word = np.cumsum(sizes) - sizes
    words = binned.allocate(int(sizes.sum()), np.uint64)
    for plane in range(n_planes):
        entries = words[plane_word[plane] : plane_word[plane] + sizes[plane]].view(np.uint16)
        args = (lists, plane, n_threads, row_ptr[plane])
        run_tasks(_write_lists, bounds, n_threads, *args, entries, scratch=scratch)
    return row_ptr, plane_word, words


@kernel(borrows=True)
def _count_groups(
    start: int, stop: int, listed: Array, lists: ListPlan, plane: int, width: int, groups: Array
) -> None:
    """Groups of four of the lists of the rows `start` to `stop` - 1, one list for each of `width` blocks."""
    # A few rows at a time go through all columns: each column is read in order, and the counts stay in the
    # cache.
    for a in range(start, stop, _ROWS_AT_ONCE):
        b = min(a + _ROWS_AT_ONCE, stop)
        for part in range(width):
            listed[:] = 0
            block = plane * width + part
            for f in range(lists.block_feature[block], lists.block_feature[block + 1]):
                column = lists.columns[lists.order[f], a:b]
                elided = np.uint8(lists.default[f])
                for i in range(b - a):
                    listed[i] += column[i] != elided
            for i in range(b - a):
                # List k's length goes to place k + 1, so that the running sum
                # at place k is where list k begins.
                groups[(a + i) * width + part + 1] = (listed[i] + 3) // 4


@kernel(borrows=True)
def _write_lists(
    start: int,
    stop: int,
    at: Array,
    lists: ListPlan,
    plane: int,
    width: int,
    row_ptr: Array,
    entries: Array,
) -> None:
    """Write the lists of the rows `start` to `stop` - 1; `at` has room for where each list goes on."""
    origin = lists.block_slot[plane * width]
    for a in range(start, stop, _ROWS_AT_ONCE):
        b = min(a + _ROWS_AT_ONCE, stop)
        for part in range(width):
            block = plane * width + part
            for i in range(b - a):
                at[i] = np.int64(row_ptr[(a + i) * width + part]) * 4
            for f in range(lists.block_feature[block], lists.block_feature[block + 1]):
                column = lists.columns[lists.order[f], a:b]
                elided = np.uint8(lists.default[f])
                first = lists.start[f] - origin
                for i in range(b - a):
                    if column[i] != elided:
                        entries[at[i]] = first + column[i]
                        at[i] += 1
            # The last group of a list is filled up with a slot that nobody reads.
            dummy = lists.block_slot[block + 1] - 1 - origin
            for i in range(b - a):
                while at[i] < np.int64(row_ptr[(a + i) * width + part + 1]) * 4:
                    entries[at[i]] = dummy
                    at[i] += 1


@kernel(borrows=True)
def accumulate(
    layout: SlotLayout, plane: int, first: int, last: int, carried: Array, histogram: Array
) -> None:
    """Add the `carried` rows to the slots of the plane's blocks `first` to `last` - 1; listed bins only."""
    n_planes = layout.row_ptr.shape[0]
    parts = (len(layout.block_slot) - 1) // n_planes
    row_ptr = layout.row_ptr[plane]
    words = layout.words[layout.plane_word[plane] :]
    slots = histogram[layout.block_slot[plane * parts] :]
    # Unsigned indices everywhere: signed ones make Numba test each for being negative, which costs half the
    # speed.
    low = np.uint64(0xFFFFFFFF)
    mask = np.uint64(0xFFFF)
    width = np.uint64(parts)
    by16 = np.uint64(16)
    by32 = np.uint64(32)
    by48 = np.uint64(48)
    begin = np.uint64(first)
    end = np.uint64(last)
    n = np.uint64(len(carried))
    far = np.uint64(_FAR)
    near = np.uint64(_NEAR)
    # Rows of a leaf are an ascending list with gaps, which the processor's own prefetcher does not follow. So
    # the loop asks for the pointer to a row's list well ahead, then for the list, four lines of it at once.
    for i in range(n):
        if i + far < n:
            prefetch(row_ptr, np.int64((np.uint64(carried[i + far]) & low) * width))
        if i + near < n:
            coming = (np.uint64(carried[i + near]) & low) * width
            ahead = np.int64(row_ptr[coming + begin])
            stop = np.int64(row_ptr[coming + end])
            prefetch(words, ahead)
            prefetch(words, ahead + 8)
            prefetch(words, ahead + 16)
            prefetch(words, ahead + 24)
            for line in range(ahead + 32, stop, 8):
                prefetch(words, line)
        row = (np.uint64(carried[i]) & low) * width
        # The carried word is spread to ``g * 2**32 + h``, so that one 64-bit addition adds g and h. The
        # bounds on the sums (see the module's docstring) keep h from carrying into g.
        value = spread(carried[i])
        # A word holds four slot numbers: the inner loop of all training.
        for k in range(np.uint64(row_ptr[row + begin]), np.uint64(row_ptr[row + end])):
            word = words[k]
            slots[word & mask] += value
            slots[(word >> by16) & mask] += value
            slots[(word >> by32) & mask] += value
            slots[word >> by48] += value


@kernel(borrows=True)
def complete(layout: SlotLayout, block: int, total: int, histogram: Array) -> None:
    """Fill in the elided bin of each of the block's features: the leaf's total minus the others."""
    # The rows that are in no list of a feature are those in its elided bin.
    features = layout.features
    for f in range(layout.block_feature[block], layout.block_feature[block + 1]):
        first = np.uint64(features[f, START])  # unsigned, as in `accumulate`
        others = np.int64(0)
        default = first + np.uint64(features[f, DEFAULT_BIN])
        histogram[default] = 0
        # Integer sums are exact, so what is left for the elided bin
        # is exact too, in whatever order rows came.
        for s in range(first, first + np.uint64(features[f, N_BINS])):
            others += histogram[s]
        histogram[default] = total - others
