"""Scoring with a LightGBM model, faster than LightGBM and to the same bits.

Values become codes first: a code says which of the model's thresholds lie below a value, so a split is a
comparison of two bytes. Then 64 rows go through a tree together, as 64 bits of one word: comparing a column
of 64 codes with a split's threshold gives the word of the rows that go right, and ``reached & right`` and
``reached & ~right`` are the rows that reach its children. Every split is looked at, but for 64 rows at a
time, without a branch and without a jump in memory. Leaf values are added tree by tree in float64, in
LightGBM's order, so sums are equal to the last bit.

The idea of bits for the rows or leaves of a tree is QuickScorer's [1]_.

References
----------
.. [1] Lucchese et al. (2015), QuickScorer: a fast algorithm to rank documents with additive ensembles of
   regression trees, SIGIR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from scipy import sparse

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.compile.typing import NumbaObject
from lambdamart_kit.core.precision import TINY, floor_single
from lambdamart_kit.core.typing import Array, Features, FloatArray
from lambdamart_kit.runtime.threads import run_tasks
from lambdamart_kit.trees.model_text import CATEGORICAL, DEFAULT_LEFT, ModelTree, read_trees

_WIDTH = 64  # rows that go through a tree together
_MOST_CODES = 254  # thresholds of a column of codes; one code more than thresholds, and one for "missing"
_MOST_LEAVES = 256  # their numbers are bytes
_SPARSE_ROWS = 1 << 14  # rows of a sparse matrix made dense at a time
_ROWS_TO_SHARE = 256  # from which a second thread pays
# Kinds of tables: NaN is taken as zero; zero and NaN are missing; NaN is missing; categories.
_AS_ZERO, _ZERO_IS_MISSING, _NAN_IS_MISSING, _BIT_SET = range(4)
_KIND_OF_MISSING = np.array([_AS_ZERO, _ZERO_IS_MISSING, _NAN_IS_MISSING, _AS_ZERO])  # by missing type


class Codes(NamedTuple):
    """How features become columns of codes: by tables of thresholds, or of bits.

    Attributes
    ----------
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
    """

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
    node_ptr : ndarray (n_trees + 1,), int64
        First split of each tree; it has one leaf more than splits.
    column, threshold : ndarray (n_nodes,), int32 and uint8
        A row goes right where its code in the column is above the threshold.
    left, right : ndarray (n_nodes,), int32
        A split of the tree, or the number of splits plus a leaf.
    value : ndarray (n_nodes + n_trees,), float64
        Leaf values.
    """

    node_ptr: Array
    column: Array
    threshold: Array
    left: Array
    right: Array
    value: Array


@dataclass(frozen=True, eq=False)
class Forest:
    """A LightGBM model, laid out for scoring rows of one precision.

    Attributes
    ----------
    codes : Codes
    trees : Trees
    """

    codes: Codes
    trees: Trees

    @classmethod
    def of_text(cls, text: str, dtype: NumbaObject = np.float32) -> Forest | None:
        """The forest of a model file; None of one that only LightGBM knows how to score.

        These are models of several classes, averaged ones, linear leaves, and trees of over 256 leaves.
        """
        trees = read_trees(text)
        return None if trees is None else cls.of_trees(trees, dtype)

    @classmethod
    def of_trees(cls, trees: Sequence[ModelTree], dtype: NumbaObject = np.float32) -> Forest | None:
        """The forest of these trees for rows of `dtype`; None if one of them has over 256 leaves."""
        return None if any(len(tree.value) > _MOST_LEAVES for tree in trees) else _lay_out(trees, dtype)

    def predict(self, X: Features, start: int, stop: int, *, n_threads: int = 1) -> FloatArray:
        """Sum of the trees ``start:stop`` for each row of an array or CSR matrix, (n_samples,)."""
        scores = np.zeros(X.shape[0])
        if sparse.issparse(X):
            # A dense copy of some rows at a time bounds the memory that a wide sparse matrix takes.
            for at in range(0, len(scores), _SPARSE_ROWS):
                rows = slice(at, at + _SPARSE_ROWS)
                self._add(X[rows].toarray(), start, stop, n_threads, scores[rows])
        else:
            self._add(X, start, stop, n_threads, scores)
        return scores

    def _add(self, X: Features, start: int, stop: int, n_threads: int, scores: FloatArray) -> None:
        X = np.ascontiguousarray(X, dtype=self.codes.thresholds.dtype)
        n_threads = max(1, min(n_threads, len(X) // _ROWS_TO_SHARE))
        n_tiles = -(-len(X) // _WIDTH)
        bounds = np.linspace(0, n_tiles, 1 if n_threads == 1 else 8 * n_threads + 1).astype(np.intp)
        bounds = np.unique(np.append(bounds, n_tiles))
        scratch = [(_Tile.allocate(self.codes.n_columns, X.dtype),) for _ in range(n_threads)]
        args = (X, self.codes, self.trees, start, stop, scores)
        run_tasks(_score_tiles, bounds, n_threads, *args, scratch=scratch)


class _Tile(NamedTuple):
    """Space to score 64 rows: their codes, one column's values and counts, nodes reached, leaves and sums."""

    codes: Array
    values: Array
    counts: Array
    reached: Array
    leaf: Array
    sums: Array

    @classmethod
    def allocate(cls, n_columns: int, dtype: NumbaObject) -> _Tile:
        """For codes in `n_columns`, of values of `dtype`."""
        W = _WIDTH
        return cls(
            np.zeros(n_columns * W, np.uint8),
            np.zeros(W, dtype),
            np.zeros(W, np.uint8),
            np.zeros(2 * _MOST_LEAVES, np.uint64),
            np.zeros(W, np.uint8),
            np.zeros(W),
        )


class _Tables:
    """Tables of thresholds and of bits, and the columns of codes they fill, as splits ask for them."""

    def __init__(self, dtype: NumbaObject) -> None:
        self._rows: list[tuple[int, int, int, int, list[int]]] = []
        self._thresholds: list[Array] = [np.empty(0, dtype)]
        self._words: list[Array] = [np.empty(0, np.uint32)]
        self._n_columns = 0
        self._column_of_bits: dict[tuple[int, bytes], int] = {}

    def _add(self, feature: int, kind: int, table: Array) -> list[int]:
        parts = self._words if kind == _BIT_SET else self._thresholds
        start, columns = sum(map(len, parts)), [-1, -1]
        parts.append(table)
        self._rows.append((feature, kind, start, start + len(table), columns))
        return columns

    def _column(self, columns: list[int], side: int) -> int:
        if columns[side] < 0:
            columns[side], self._n_columns = self._n_columns, self._n_columns + 1
        return columns[side]

    def of_thresholds(self, feature: int, kind: int, thresholds: Array, side: Array) -> tuple[Array, Array]:
        """Column and largest code that goes left, of splits on one feature; on side 1 missing goes left."""
        values, place = np.unique(thresholds, return_inverse=True)
        # A feature with more than 254 thresholds gets several tables. A code counts the thresholds of its
        # own table only, which is all that a split on one of them has to know.
        part, code = np.divmod(place, _MOST_CODES)
        column = np.empty(len(part), dtype=np.int32)
        for i in range(part.max() + 1):
            columns = self._add(feature, kind, values[i * _MOST_CODES : (i + 1) * _MOST_CODES])
            for s in (0, 1):
                chosen = (part == i) & (side == s)
                if chosen.any():
                    column[chosen] = self._column(columns, s)
        # A value is above threshold number `code` just when its code is. Where missing values go left, code
        # 0 is theirs and all others are one higher, so the split's code is too.
        return column, code + side

    def of_bits(self, feature: int, bits: Array) -> int:
        """Column of a split on a set of categories; code 0 goes left."""
        name = feature, bits.tobytes()
        if name not in self._column_of_bits:
            self._column_of_bits[name] = self._column(self._add(feature, _BIT_SET, bits), 0)
        return self._column_of_bits[name]

    def codes(self) -> Codes:
        """Everything as arrays, when all splits are known."""
        rows = [(*row[:4], *row[4]) for row in self._rows]
        fields = np.array(rows, dtype=np.int64).reshape(-1, 6).T.copy()
        thresholds, words = np.concatenate(self._thresholds), np.concatenate(self._words)
        feature, kind, start, stop, right, left = fields
        return Codes(feature, kind, start, stop, right, left, thresholds, words, self._n_columns)


def _lay_out(trees: Sequence[ModelTree], dtype: NumbaObject) -> Forest:
    sizes = [len(tree.feature) for tree in trees]
    feature, threshold = _joined(trees, "feature", np.int64), _joined(trees, "threshold", np.float64)
    decision = _joined(trees, "decision", np.int64)
    kind = _KIND_OF_MISSING[(decision >> 2) & 3]
    # Bits 2 and 3 of a decision are the missing type. A categorical
    # split has a table of bits whatever its missing type is.
    kind[decision & CATEGORICAL > 0] = _BIT_SET
    side = ((kind != _AS_ZERO) & (decision & DEFAULT_LEFT > 0)).astype(np.int64)
    values = floor_single(threshold) if dtype == np.float32 else threshold
    tables = _Tables(dtype)
    column, code = np.zeros(len(feature), dtype=np.int32), np.zeros(len(feature), dtype=np.int64)
    # Splits on one feature and of one kind share tables. One number for both is sorted faster than pairs.
    pair = feature * 4 + kind
    for number in np.unique(pair[kind != _BIT_SET]).tolist():
        f, k = divmod(number, 4)
        nodes = np.flatnonzero(pair == number)
        column[nodes], code[nodes] = tables.of_thresholds(f, k, values[nodes], side[nodes])
    ptr = np.cumsum([0, *sizes]).astype(np.int64)
    for node in np.flatnonzero(kind == _BIT_SET).tolist():
        tree = int(np.searchsorted(ptr, node, side="right")) - 1
        column[node] = tables.of_bits(int(feature[node]), trees[tree].bits(node - int(ptr[tree])))
    laid_out = Trees(
        ptr,
        column,
        code.astype(np.uint8),
        _slots(trees, "left"),
        _slots(trees, "right"),
        _joined(trees, "value", np.float64),
    )
    return Forest(tables.codes(), laid_out)


def _joined(trees: Sequence[ModelTree], name: str, dtype: NumbaObject) -> Array:
    return np.concatenate([np.empty(0, dtype), *(getattr(tree, name) for tree in trees)])


def _slots(trees: Sequence[ModelTree], name: str) -> Array:
    """Children as places in the list of a tree's splits and leaves."""
    children = [getattr(tree, name) for tree in trees]
    # A leaf is ~leaf in the model. Behind the splits it gets the place n_splits + leaf, so that one array
    # of reached rows serves splits and leaves.
    slots = [np.where(child < 0, len(child) + ~child, child) for child in children]
    return np.concatenate([np.empty(0, np.int32), *slots]).astype(np.int32)


def _vector(
    builder: NumbaObject,
    context: NumbaObject,
    array_type: NumbaObject,
    array: NumbaObject,
    index: NumbaObject,
    kind: NumbaObject,
) -> NumbaObject:
    """Pointer to 64 elements of a one-dimensional array."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), ir.VectorType(kind, _WIDTH).as_pointer())


def _splat(builder: NumbaObject, value: NumbaObject) -> NumbaObject:
    vector, int32 = ir.VectorType(value.type, _WIDTH), ir.IntType(32)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(int32, 0))
    zeros = ir.Constant(ir.VectorType(int32, _WIDTH), [0] * _WIDTH)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)


@intrinsic
def _count_above(
    typingctx: NumbaObject,
    values: NumbaObject,
    threshold: NumbaObject,
    codes: NumbaObject,
    index: NumbaObject,
) -> NumbaObject:
    """``codes[index + r] += values[r] > threshold`` for 64 values; bit r of the result says where."""

    def codegen(
        context: NumbaObject, builder: NumbaObject, sig: NumbaObject, args: NumbaObject
    ) -> NumbaObject:
        zero = ir.Constant(ir.IntType(64), 0)
        kind = context.get_value_type(sig.args[0].dtype)
        loaded = builder.load(_vector(builder, context, sig.args[0], args[0], zero, kind))
        # The pointer is cast to a vector of 64, for which LLVM would assume full alignment. Arrays are only
        # aligned to their elements.
        loaded.align = 4
        bits = builder.fcmp_ordered(">", loaded, _splat(builder, args[1]))
        pointer = _vector(builder, context, sig.args[2], args[2], args[3], ir.IntType(8))
        counts = builder.load(pointer)
        counts.align = 1
        more = builder.zext(bits, ir.VectorType(ir.IntType(8), _WIDTH))
        builder.store(builder.add(counts, more), pointer).align = 1
        return builder.bitcast(bits, ir.IntType(64))

    return types.uint64(values, values.dtype, codes, types.int64), codegen


@intrinsic
def _above(
    typingctx: NumbaObject, codes: NumbaObject, index: NumbaObject, threshold: NumbaObject
) -> NumbaObject:
    """Bit r of the result: ``codes[index + r] > threshold``, for 64 bytes."""

    def codegen(
        context: NumbaObject, builder: NumbaObject, sig: NumbaObject, args: NumbaObject
    ) -> NumbaObject:
        loaded = builder.load(_vector(builder, context, sig.args[0], args[0], args[1], ir.IntType(8)))
        loaded.align = 1
        bits = builder.icmp_unsigned(">", loaded, _splat(builder, args[2]))
        return builder.bitcast(bits, ir.IntType(64))

    return types.uint64(codes, types.int64, types.uint8), codegen


@intrinsic
def _assign(typingctx: NumbaObject, target: NumbaObject, bits: NumbaObject, byte: NumbaObject) -> NumbaObject:
    """``target[r] = byte`` where bit r is set, for 64 bytes."""

    def codegen(
        context: NumbaObject, builder: NumbaObject, sig: NumbaObject, args: NumbaObject
    ) -> NumbaObject:
        zero, int8 = ir.Constant(ir.IntType(64), 0), ir.IntType(8)
        pointer = _vector(builder, context, sig.args[0], args[0], zero, int8)
        loaded = builder.load(pointer)
        loaded.align = 1
        mask = builder.bitcast(args[1], ir.VectorType(ir.IntType(1), _WIDTH))
        builder.store(builder.select(mask, _splat(builder, args[2]), loaded), pointer).align = 1
        return context.get_dummy_value()

    return types.void(target, types.uint64, types.uint8), codegen


@inner(borrows=True)
def _encode(
    X: Array, first: int, n: int, codes: NumbaObject, tile: Array, values: Array, counts: Array
) -> None:
    """Fill the tile, 64 bytes a column, with the codes of the rows ``first:first + n`` of X."""
    thresholds, words, features, kinds = codes.thresholds, codes.words, codes.feature, codes.kind
    for c in range(len(features)):
        feature, kind, start, stop = features[c], kinds[c], codes.start[c], codes.stop[c]
        n_missing = np.int64(0)
        for r in range(n):
            x = X[first + r, feature]
            x = np.float32(0) if abs(x) <= TINY else x  # as LightGBM reads rows
            values[r] = x
            n_missing += np.int64(x != x) | np.int64(kind == _ZERO_IS_MISSING and x == 0)
        right, left = codes.right[c] * 64, codes.left[c] * 64
        if kind == _BIT_SET:
            for r in range(n):
                tile[right + r] = _outside(values[r], words[start:stop])
            continue
        if kind == _AS_ZERO and n_missing:
            for r in range(n):
                values[r] = np.float32(0) if values[r] != values[r] else values[r]
            n_missing = np.int64(0)
        # The code of a value is the number of thresholds below it, and thresholds ascend.
        counts[:] = 0
        for k in range(start, stop):
            if not _count_above(values, thresholds[k], counts, 0):
                break  # none is above the next one either
        if right >= 0:
            for r in range(64):
                tile[right + r] = counts[r]
        if left >= 0:
            for r in range(64):
                tile[left + r] = counts[r] + np.uint8(1)
        # Code 255 is above every threshold and 0 below every one, so a missing value goes to its side
        # without a test in the tree.
        if n_missing:
            for r in range(n):
                if values[r] != values[r] or (kind == _ZERO_IS_MISSING and values[r] == 0):
                    if right >= 0:
                        tile[right + r] = 255
                    if left >= 0:
                        tile[left + r] = 0


@inner(borrows=True)
def _outside(value: float, words: Array) -> NumbaObject:
    """0 if the category's bit is set; NaN, negative and unlisted ones are outside."""
    # LightGBM truncates a category to a whole number, so -0.5 is category 0. NaN fails both comparisons.
    if not (value > -1.0 and value < 32.0 * len(words)):
        return np.uint8(1)
    category = np.int64(value)
    return np.uint8(1) - np.uint8((words[category >> 5] >> np.uint32(category & 31)) & np.uint32(1))


@kernel(borrows=True)
def _score_tiles(
    first_tile: int,
    last_tile: int,
    scratch: _Tile,
    X: Array,
    codes: Codes,
    trees: Trees,
    first: int,
    last: int,
    scores: Array,
) -> None:
    """Add the trees ``first:last`` to the scores of tiles of 64 rows."""
    tile, values, counts, reached, leaf, sums = scratch
    node_ptr, value = trees.node_ptr, trees.value
    column, threshold, left, right = trees.column, trees.threshold, trees.left, trees.right
    for t in range(first_tile, last_tile):
        begin = t * 64
        n = min(len(X) - begin, 64)
        _encode(X, begin, n, codes, tile, values, counts)
        sums[:] = 0.0
        for tree in range(first, last):
            base, stop = node_ptr[tree], node_ptr[tree + 1]
            # Bit r of reached[k] says that row r reaches split or leaf k; all rows reach the root. A parent
            # stands before its children, so the word of a split is complete when the loop comes to it.
            reached[0] = np.uint64(0xFFFFFFFFFFFFFFFF)
            for i in range(base, stop):
                here = reached[np.uint64(i - base)]
                goes_right = _above(tile, np.int64(column[i]) * 64, threshold[i])
                reached[np.uint64(left[i])] = here & ~goes_right
                reached[np.uint64(right[i])] = here & goes_right
            n_nodes = np.uint64(stop - base)
            # Every row reaches exactly one leaf. Rows past the end of X hold old codes; they reach some
            # leaf as well, and their sums are not used.
            for k in range(n_nodes + np.uint64(1)):
                _assign(leaf, reached[n_nodes + k], np.uint8(k))
            # A tree has one leaf more than splits, so tree number t has its leaf values from base + t on.
            offset = np.uint64(base + tree)
            for r in range(64):
                sums[r] += value[offset + np.uint64(leaf[r])]
        for r in range(n):
            scores[begin + r] += sums[r]
