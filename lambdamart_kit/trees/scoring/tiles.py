"""Codes of 64 rows, and the sums of the trees' leaves that they reach.

Values become codes first: a code says which of the model's thresholds lie below a value, so a split is a
comparison of two bytes. Then 64 rows go through a tree together, as 64 bits of one word: comparing a column
of 64 codes with a split's threshold gives the word of the rows that go right, and ``reached & right`` and
``reached & ~right`` are the rows that reach its children. Every split is looked at, but for 64 rows at a
time, without a branch and without a jump in memory.

The idea of bits for the rows or leaves of a tree is QuickScorer's [1]_.

References
----------
.. [1] Lucchese et al. (2015), QuickScorer: a fast algorithm to rank documents with additive ensembles of
   regression trees, SIGIR.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.compile.typing import NumbaObject
from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.scoring.vectors import (
    BLOCK,
    WIDTH,
    above,
    fill_codes,
    find_leaves,
    tidy,
    turn_block,
)

MOST_LEAVES = 256  # their numbers are bytes
# Kinds of tables: NaN is taken as zero; zero and NaN are missing; NaN is missing; categories.
AS_ZERO, ZERO_IS_MISSING, NAN_IS_MISSING, BIT_SET = range(4)


class Codes(NamedTuple):
    """How features become columns of codes: by tables of thresholds, or of bits.

    A model has one segment of trees or several. The tables of a segment have all that its trees ask for, so
    trees that not every row goes through cost only rows that do.

    Attributes
    ----------
    ptr : ndarray (n_segments + 1,), int64
        First table of each segment.
    feature, kind : ndarray (n_tables,), int64
        Feature of each table; what counts as missing, or that it is a bit set.
    start, stop : ndarray (n_tables,), int64
        Its place among all thresholds or words. The code of a value is the number of thresholds below it; of
        a category, 0 if its bit is set and 1 if not.
    right, left : ndarray (n_tables,), int64
        The columns it fills, -1 for none: one in which a missing value has code 255, above all thresholds;
        and one in which it has code 0, and the others one more than theirs.
    thresholds : ndarray, float32 or float64
        In the precision of the rows to score.
    words : ndarray, uint32
    n_columns : int
        Most columns of a segment.
    """

    ptr: Array
    feature: Array
    kind: Array
    start: Array
    stop: Array
    right: Array
    left: Array
    thresholds: Array
    words: Array
    n_columns: int


class Trees(NamedTuple):
    """All trees one after the other; a parent stands before its children.

    Attributes
    ----------
    segment_ptr : ndarray (n_segments + 1,), int64
        First tree of each segment.
    node_ptr : ndarray (n_trees + 1,), int64
        First split of each tree; it has one leaf more than splits.
    column, threshold : ndarray (n_nodes,), int32 and uint8
        A row goes right where its code in the column is above the threshold.
    left, right : ndarray (n_nodes,), int32
        A split of the tree, or the number of splits plus a leaf.
    value : ndarray (n_nodes + n_trees,), float64
        Leaf values.
    """

    segment_ptr: Array
    node_ptr: Array
    column: Array
    threshold: Array
    left: Array
    right: Array
    value: Array


class Tile(NamedTuple):
    """Space to score 64 rows.

    Attributes
    ----------
    rows : ndarray (64,), int64
        Which rows they are; one may be there more than once.
    codes : ndarray, uint8
        64 codes for each column.
    block, values : ndarray (1024,) and (64,), of the type of the rows
        Values of 16 columns, and of one.
    reached : ndarray, uint64
        The rows that reach each split and leaf of a tree.
    leaf : ndarray (64,), uint8
    sums : ndarray (64,), float64
        Scores so far.
    """

    rows: Array
    codes: Array
    block: Array
    values: Array
    reached: Array
    leaf: Array
    sums: Array

    @classmethod
    def allocate(cls, n_columns: int, dtype: NumbaObject) -> Tile:
        """For codes in `n_columns`, of values of `dtype`."""
        return cls(
            np.zeros(WIDTH, np.int64),
            np.zeros(n_columns * WIDTH, np.uint8),
            np.zeros(BLOCK * WIDTH, dtype),
            np.zeros(WIDTH, dtype),
            np.zeros(2 * MOST_LEAVES, np.uint64),
            np.zeros(WIDTH, np.uint8),
            np.zeros(WIDTH),
        )


@inner(borrows=True)
def _load_block(X: Array, tile: Tile, column: int) -> None:
    """Fill the block with the 16 columns of X from `column` on, or with all that there are."""
    rows, block = tile.rows, tile.block
    n_columns = X.shape[1]
    if n_columns >= BLOCK:
        # The last block of a matrix begins further left, so that it has 16 columns, too.
        for first in range(0, WIDTH, BLOCK):
            turn_block(X, rows, first, column, block)
        return
    # Narrow rows have no 16 values to read at once.
    for j in range(n_columns):
        for r in range(np.uint64(WIDTH)):
            block[np.uint64(WIDTH * j) + r] = X[np.uint64(rows[r]), np.uint64(j)]


@inner(borrows=True)
def _encode(X: Array, codes: Codes, segment: int, tile: Tile) -> None:
    """Fill the tile with the codes of its rows for the trees of a segment."""
    values, words, thresholds = tile.values, codes.words, codes.thresholds
    loaded = np.int64(-BLOCK)
    for c in range(codes.ptr[segment], codes.ptr[segment + 1]):
        feature, kind = codes.feature[c], codes.kind[c]
        start, stop = codes.start[c], codes.stop[c]
        # Tables come in the order of features, so a block of 16 columns serves several.
        if feature < loaded or feature >= loaded + BLOCK:
            loaded = max(np.int64(0), min(feature, np.int64(X.shape[1] - BLOCK)))
            _load_block(X, tile, loaded)
        missing = tidy(tile.block, WIDTH * (feature - loaded), kind == ZERO_IS_MISSING, values)
        right, left = codes.right[c] * WIDTH, codes.left[c] * WIDTH
        if kind == BIT_SET:
            # A look-up of bits: categories are few, so this is not worth a vector.
            for r in range(WIDTH):
                tile.codes[right + r] = _outside(values[r], words[start:stop])
            continue
        if kind == AS_ZERO and missing:
            # Models that keep no side for missing values are rare, and NaN in their rows, too.
            for r in range(WIDTH):
                values[r] = np.float32(0) if values[r] != values[r] else values[r]
            missing = np.uint64(0)
        # Code 255 is above every threshold and 0 below every one, so a missing value goes to its side
        # without a test in the tree.
        fill_codes(values, thresholds, start, stop, missing, tile.codes, right, left)


@inner(borrows=True)
def _outside(value: float, words: Array) -> NumbaObject:
    """0 if the category's bit is set; NaN, negative and unlisted ones are outside."""
    # LightGBM truncates a category to a whole number, so -0.5 is category 0. NaN fails both comparisons.
    if not (value > -1.0 and value < 32.0 * len(words)):
        return np.uint8(1)
    category = np.int64(value)
    return np.uint8(1) - np.uint8((words[category >> 5] >> np.uint32(category & 31)) & np.uint32(1))


@inner(borrows=True)
def add_trees(X: Array, codes: Codes, trees: Trees, segment: int, first: int, last: int, tile: Tile) -> None:
    """Add the trees ``first:last``, which are of one segment, to the sums of the tile's rows."""
    reached, leaf, sums = tile.reached, tile.leaf, tile.sums
    node_ptr, value = trees.node_ptr, trees.value
    column, threshold, left, right = trees.column, trees.threshold, trees.left, trees.right
    _encode(X, codes, segment, tile)
    for tree in range(first, last):
        # Places are unsigned numbers: for others, Numba asks at each access whether they count from the end.
        base = np.uint64(node_ptr[tree])
        n_nodes = np.uint64(node_ptr[tree + 1]) - base
        # Bit r of reached[k] says that row r reaches split or leaf k; all rows reach the root. A parent
        # stands before its children, so the word of a split is complete when the loop comes to it.
        reached[0] = np.uint64(0xFFFFFFFFFFFFFFFF)
        for k in range(n_nodes):
            i = base + k
            here = reached[k]
            goes_right = above(tile.codes, np.int64(column[i]) * WIDTH, threshold[i])
            reached[np.uint64(left[i])] = here & ~goes_right
            reached[np.uint64(right[i])] = here & goes_right
        # Every row reaches exactly one leaf.
        find_leaves(reached, np.int64(n_nodes), np.int64(n_nodes) + 1, leaf)
        # A tree has one leaf more than splits, so tree number t has its leaf values from base + t on.
        offset = base + np.uint64(tree)
        for r in range(np.uint64(WIDTH)):
            sums[r] += value[offset + np.uint64(leaf[r])]


@kernel(borrows=True)
def score_tiles(
    first_tile: int,
    last_tile: int,
    tile: Tile,
    X: Array,
    codes: Codes,
    trees: Trees,
    first: int,
    last: int,
    scores: Array,
) -> None:
    """Add the trees ``first:last`` to the scores of tiles of 64 rows."""
    segment_ptr = trees.segment_ptr
    for t in range(first_tile, last_tile):
        begin = t * WIDTH
        n = min(len(X) - begin, WIDTH)
        # A tile that X does not fill has its last row more than once.
        for r in range(WIDTH):
            tile.rows[r] = begin + min(r, n - 1)
        tile.sums[:] = 0.0
        # Rows are encoded for each segment that has some of the trees.
        for segment in range(len(segment_ptr) - 1):
            begins, ends = max(first, segment_ptr[segment]), min(last, segment_ptr[segment + 1])
            if begins < ends:
                add_trees(X, codes, trees, segment, begins, ends, tile)
        for r in range(n):
            scores[begin + r] += tile.sums[r]
