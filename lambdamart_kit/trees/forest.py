"""Scoring with a LightGBM model, faster than LightGBM and to the same bits.

A model is laid out once for rows of one precision: every split becomes a comparison of two bytes, as
:mod:`.scoring.tiles` explains, whose kernels score the rows. Leaf values are added tree by tree in float64,
in LightGBM's order, so sums are equal to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from scipy import sparse

from lambdamart_kit.compile.typing import NumbaObject
from lambdamart_kit.core.precision import floor_single
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, Features, FloatArray
from lambdamart_kit.runtime.threads import run_tasks
from lambdamart_kit.trees.model_text import CATEGORICAL, DEFAULT_LEFT, ModelTree, read_trees
from lambdamart_kit.trees.scoring.exits import Exits, Grouped, score_with_exits
from lambdamart_kit.trees.scoring.tiles import (
    AS_ZERO,
    BIT_SET,
    MOST_LEAVES,
    NAN_IS_MISSING,
    ZERO_IS_MISSING,
    Codes,
    Tile,
    Trees,
    score_tiles,
)
from lambdamart_kit.trees.scoring.vectors import WIDTH

_MOST_CODES = 254  # thresholds of a column of codes; one code more than thresholds, and one for "missing"
_SPARSE_ROWS = 1 << 14  # rows of a sparse matrix made dense at a time
_ROWS_TO_SHARE = 256  # from which a second thread pays
_KIND_OF_MISSING = np.array([AS_ZERO, ZERO_IS_MISSING, NAN_IS_MISSING, AS_ZERO])  # by missing type


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
    _idle: list[Tile] = field(default_factory=list, init=False, repr=False)

    @classmethod
    def of_text(cls, text: str, dtype: NumbaObject = np.float32) -> Forest | None:
        """The forest of a model file; None of one that only LightGBM knows how to score.

        These are models of several classes, averaged ones, linear leaves, and trees of over 256 leaves.
        """
        trees = read_trees(text)
        return None if trees is None else cls.of_trees(trees, dtype)

    @classmethod
    def of_trees(
        cls, trees: Sequence[ModelTree], dtype: NumbaObject = np.float32, cuts: Sequence[int] = ()
    ) -> Forest | None:
        """The forest of these trees for rows of `dtype`; None if one of them has over 256 leaves.

        `cuts` are numbers of trees, ascending: those between two of them are laid out for themselves, which
        pays where not every row goes through all of them.
        """
        if any(len(tree.value) > MOST_LEAVES for tree in trees):
            return None
        return _lay_out(trees, dtype, [0, *cuts, len(trees)])

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

    def predict_with_exits(
        self, X: Features, queries: Queries, exits: Exits, *, n_threads: int = 1
    ) -> FloatArray:
        """Scores of rows that may stop after the segments of trees that end at ``exits.after``, (n_samples,).

        Rows that go through all trees have the scores of `predict`, to the last bit.
        """
        scores = np.empty(X.shape[0])
        if sparse.issparse(X):
            # Whole queries of about so many rows are made dense at a time.
            starts = np.searchsorted(queries.ptr, np.arange(0, len(scores), _SPARSE_ROWS))
            for first, last in pairwise(np.unique(np.append(starts, queries.n_queries)).tolist()):
                rows = queries.order[queries.ptr[first] : queries.ptr[last]]
                ptr = queries.ptr[first : last + 1] - queries.ptr[first]
                part = Queries(np.arange(len(rows), dtype=np.intp), ptr, queries.ids[first:last])
                scores[rows] = self.predict_with_exits(X[rows].toarray(), part, exits, n_threads=n_threads)
            return scores
        if not len(scores):
            return scores
        X = np.ascontiguousarray(X, dtype=self.codes.thresholds.dtype)
        # A block of queries is scored by one thread, and its scores do not depend on the block.
        n_threads = max(1, min(n_threads, len(X) // _ROWS_TO_SHARE))
        grouped = Grouped.of(queries, n_threads)
        margins = np.array(exits.margins, dtype=np.float64)
        args = (X, self.codes, self.trees, grouped, margins, scores)
        n_blocks = len(grouped.blocks) - 1
        with self._tiles(n_threads) as tiles:
            if n_threads == 1:
                score_with_exits(0, n_blocks, tiles[0], grouped.space(exits.k), *args)
                return scores
            scratch = [(tile, grouped.space(exits.k)) for tile in tiles]
            run_tasks(score_with_exits, np.arange(n_blocks + 1), n_threads, *args, scratch=scratch)
        return scores

    def _add(self, X: Features, start: int, stop: int, n_threads: int, scores: FloatArray) -> None:
        X = np.ascontiguousarray(X, dtype=self.codes.thresholds.dtype)
        n_threads = max(1, min(n_threads, len(X) // _ROWS_TO_SHARE))
        n_tiles = -(-len(X) // WIDTH)
        args = (X, self.codes, self.trees, start, stop, scores)
        with self._tiles(n_threads) as tiles:
            if n_threads == 1:  # sharing out the work would take longer than it does for a short query
                score_tiles(0, n_tiles, tiles[0], *args)
                return
            bounds = np.linspace(0, n_tiles, 8 * n_threads + 1).astype(np.intp)
            run_tasks(score_tiles, np.unique(bounds), n_threads, *args, scratch=[(tile,) for tile in tiles])

    @contextmanager
    def _tiles(self, n: int) -> Iterator[list[Tile]]:
        """Space for n threads, kept from call to call."""
        tiles = []
        # Other threads may take tiles at the same time, so the list may be empty by now.
        for _ in range(n):
            try:
                tiles.append(self._idle.pop())
            except IndexError:
                tiles.append(Tile.allocate(self.codes.n_columns, self.codes.thresholds.dtype))
        yield tiles
        self._idle.extend(tiles)


class _Tables:
    """Tables of thresholds and of bits, and the columns of codes they fill, as splits ask for them."""

    def __init__(self, dtype: NumbaObject) -> None:
        self._rows: list[tuple[int, int, int, int, list[int]]] = []
        self._thresholds: list[Array] = [np.empty(0, dtype)]
        self._words: list[Array] = [np.empty(0, np.uint32)]
        self._ptr: list[int] = []
        self._most_columns = 0
        self.begin_segment()

    def begin_segment(self) -> None:
        """From here on, tables are of the next segment of trees, which begins with no columns."""
        self._ptr.append(len(self._rows))
        self._n_columns = 0
        self._column_of_bits: dict[tuple[int, bytes], int] = {}

    def _add(self, feature: int, kind: int, table: Array) -> list[int]:
        """Add a table, and return the columns it fills on each side; none so far."""
        parts = self._words if kind == BIT_SET else self._thresholds
        start = sum(map(len, parts))
        columns = [-1, -1]
        parts.append(table)
        self._rows.append((feature, kind, start, start + len(table), columns))
        return columns

    def _column(self, columns: list[int], side: int) -> int:
        """The column of a table on one side, which is new if no split has asked for it before."""
        if columns[side] < 0:
            columns[side] = self._n_columns
            self._n_columns += 1
            self._most_columns = max(self._most_columns, self._n_columns)
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
            self._column_of_bits[name] = self._column(self._add(feature, BIT_SET, bits), 0)
        return self._column_of_bits[name]

    def codes(self) -> Codes:
        """Everything as arrays, when all splits are known."""
        rows = [(*row[:4], *row[4]) for row in self._rows]
        fields = np.array(rows, dtype=np.int64).reshape(-1, 6).T.copy()
        feature, kind, start, stop, right, left = fields
        return Codes(
            np.array([*self._ptr, len(rows)], dtype=np.int64),
            feature,
            kind,
            start,
            stop,
            right,
            left,
            np.concatenate(self._thresholds),
            np.concatenate(self._words),
            self._most_columns,
        )


def _lay_out(trees: Sequence[ModelTree], dtype: NumbaObject, cuts: Sequence[int]) -> Forest:
    """The forest of trees in segments, which are between consecutive `cuts`."""
    tables = _Tables(dtype)
    splits = []
    # Columns are numbered anew in each segment, because its rows are encoded anew.
    for number, (start, stop) in enumerate(pairwise(cuts)):
        if number:
            tables.begin_segment()
        splits.append(_lay_out_segment(trees[start:stop], tables, dtype))
    sizes = [len(tree.feature) for tree in trees]
    laid_out = Trees(
        np.array(cuts, dtype=np.int64),
        np.cumsum([0, *sizes]).astype(np.int64),
        np.concatenate([column for column, _ in splits]).astype(np.int32),
        np.concatenate([code for _, code in splits]).astype(np.uint8),
        _slots(trees, "left"),
        _slots(trees, "right"),
        _joined(trees, "value", np.float64),
    )
    return Forest(tables.codes(), laid_out)


def _lay_out_segment(trees: Sequence[ModelTree], tables: _Tables, dtype: NumbaObject) -> tuple[Array, Array]:
    """Column, and largest code that goes left, of each split of some trees, whose tables are added."""
    feature = _joined(trees, "feature", np.int64)
    threshold = _joined(trees, "threshold", np.float64)
    decision = _joined(trees, "decision", np.int64)
    # Bits 2 and 3 of a decision are the missing type. A categorical split has a table of bits whatever its
    # missing type is.
    kind = _KIND_OF_MISSING[(decision >> 2) & 3]
    kind[decision & CATEGORICAL > 0] = BIT_SET
    side = ((kind != AS_ZERO) & (decision & DEFAULT_LEFT > 0)).astype(np.int64)
    values = floor_single(threshold) if dtype == np.float32 else threshold
    column = np.zeros(len(feature), dtype=np.int64)
    code = np.zeros(len(feature), dtype=np.int64)
    # Splits on one feature and of one kind share tables, which come in the order of features, so that the
    # kernel reads each block of columns once. One number for both is sorted faster than pairs.
    pair = feature * 4 + kind
    for number in np.unique(pair[kind != BIT_SET]).tolist():
        f, k = divmod(number, 4)
        nodes = np.flatnonzero(pair == number)
        column[nodes], code[nodes] = tables.of_thresholds(f, k, values[nodes], side[nodes])
    ptr = np.cumsum([0, *(len(tree.feature) for tree in trees)])
    for node in np.flatnonzero(kind == BIT_SET).tolist():
        tree = int(np.searchsorted(ptr, node, side="right")) - 1
        column[node] = tables.of_bits(int(feature[node]), trees[tree].bits(node - int(ptr[tree])))
    return column, code


def _joined(trees: Sequence[ModelTree], name: str, dtype: NumbaObject) -> Array:
    return np.concatenate([np.empty(0, dtype), *(getattr(tree, name) for tree in trees)])


def _slots(trees: Sequence[ModelTree], name: str) -> Array:
    """Children as places in the list of a tree's splits and leaves."""
    children = [getattr(tree, name) for tree in trees]
    # A leaf is ~leaf in the model. Behind the splits it gets the place n_splits + leaf, so that one array
    # of reached rows serves splits and leaves.
    slots = [np.where(child < 0, len(child) + ~child, child) for child in children]
    return np.concatenate([np.empty(0, np.int32), *slots]).astype(np.int32)
