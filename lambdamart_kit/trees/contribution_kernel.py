"""The integrals of `lambdamart_kit.trees.contributions`, for 64 rows at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.core.typing import Array, FloatArray
from lambdamart_kit.trees.contribution_paths import Paths, Splits

WIDTH = 64  # rows that go through a leaf together


class Rule(NamedTuple):
    """Gauss-Legendre rules on [0, 1]: that of K nodes begins at ``K (K - 1) / 2``."""

    node: FloatArray
    weight: FloatArray

    @classmethod
    def up_to(cls, n_nodes: int) -> Rule:
        """All rules of 1 to `n_nodes` nodes."""
        rules = [np.polynomial.legendre.leggauss(k) for k in range(1, max(n_nodes, 1) + 1)]
        # NumPy's nodes are on [-1, 1], and its weights sum to 2.
        nodes = [(1.0 + node) / 2.0 for node, _ in rules]
        return cls(np.concatenate(nodes), np.concatenate([weight / 2.0 for _, weight in rules]))


class Tile(NamedTuple):
    """Space for 64 rows and their 64 background rows; every array has 64 places for each thing it holds.

    Values of columns, sides taken at splits; for each entry of a path the agreement of the background,
    what the row's differs by, and products of the factors before; products; integrals; sums of columns.
    """

    values: Array
    other_values: Array
    sides: Array
    other_sides: Array
    base: Array
    gap: Array
    before: Array
    product: Array
    integral: Array
    sums: Array

    @classmethod
    def for_trees(cls, splits: Splits, paths: Paths, n_columns: int) -> Tile:
        """Space for the widest tree and the longest path."""
        n_nodes = int(np.diff(splits.node_ptr).max(initial=0))
        longest = int(np.diff(paths.entry_ptr).max(initial=0))
        counts = [
            n_columns,
            n_columns,
            n_nodes,
            n_nodes,
            longest,
            longest,
            longest,
            1,
            longest,
            n_columns + 1,
        ]
        arrays = [np.zeros(count * WIDTH) for count in counts]
        arrays[2] = arrays[2].astype(np.uint8)
        arrays[3] = arrays[3].astype(np.uint8)
        return cls(*arrays)


@inner(borrows=True)
def _load(X: Array, first: int, n: int, values: Array) -> None:
    """Turn the rows ``first:first + n`` of X around: 64 values of one column stand together."""
    for column in range(X.shape[1]):
        for r in range(n):
            values[column * 64 + r] = X[first + r, column]


@inner(borrows=True)
def _send(values: Array, splits: Splits, first: int, stop: int, sides: Array) -> None:
    """Fill `sides` with 1 where a row goes left at the splits ``first:stop``, else 0."""
    for i in range(first, stop):
        side = sides[(i - first) * 64 : (i - first) * 64 + 64]
        x = values[splits.column[i] * 64 : splits.column[i] * 64 + 64]
        threshold = splits.threshold[i]
        missing_left = splits.missing_left[i]
        n_words = splits.word_ptr[i + 1] - splits.word_ptr[i]
        if n_words == 0:
            for r in range(64):
                value = x[r]
                side[r] = np.uint8(value <= threshold) | (np.uint8(value != value) & missing_left)
            continue
        words = splits.words[splits.word_ptr[i] : splits.word_ptr[i + 1]]
        for r in range(64):
            value = x[r]
            listed = np.uint8(0)
            # Categories that are not listed go right. Fractions are cut off, as LightGBM does.
            if value > -1.0 and value < 32.0 * n_words:
                code = np.int64(value)
                listed = np.uint8((words[code >> 5] >> np.uint32(code & 31)) & np.uint32(1))
            side[r] = missing_left if value != value else listed


@inner(borrows=True)
def _agree(sides: Array, paths: Paths, entry: int, target: Array) -> None:
    """Fill `target` with 1.0 where a row goes the path's way at all tests of an entry, else 0.0."""
    begin = paths.step_ptr[entry]
    for step in range(begin, paths.step_ptr[entry + 1]):
        at = paths.node[step] * 64
        side = sides[at : at + 64]
        left = paths.left[step]
        if step == begin:
            for r in range(64):
                target[r] = np.float64(side[r] == left)
        else:
            for r in range(64):
                target[r] *= np.float64(side[r] == left)


@inner(borrows=True)
def _integrate(
    n_entries: int,
    t: float,
    weight: float,
    base: Array,
    gap: Array,
    before: Array,
    product: Array,
    integral: Array,
) -> None:
    """Add one node of the quadrature: for each entry, the product of the factors of all others."""
    for r in range(64):
        product[r] = weight
    for j in range(n_entries):
        base_j = base[j * 64 : j * 64 + 64]
        gap_j = gap[j * 64 : j * 64 + 64]
        before_j = before[j * 64 : j * 64 + 64]
        for r in range(64):
            before_j[r] = product[r]
            product[r] *= base_j[r] + gap_j[r] * t
    for r in range(64):
        product[r] = 1.0
    for j in range(n_entries - 1, -1, -1):
        base_j = base[j * 64 : j * 64 + 64]
        gap_j = gap[j * 64 : j * 64 + 64]
        before_j = before[j * 64 : j * 64 + 64]
        integral_j = integral[j * 64 : j * 64 + 64]
        for r in range(64):
            integral_j[r] += before_j[r] * product[r]
            product[r] *= base_j[r] + gap_j[r] * t


@inner(borrows=True)
def _add_leaf(tile: Tile, paths: Paths, leaf: int, rule: Rule, has_background: bool) -> None:
    """Add the contributions of one leaf to the sums of 64 rows."""
    begin = paths.entry_ptr[leaf]
    m = paths.entry_ptr[leaf + 1] - begin
    base = tile.base
    gap = tile.gap
    for j in range(m):
        base_j = base[j * 64 : j * 64 + 64]
        gap_j = gap[j * 64 : j * 64 + 64]
        _agree(tile.sides, paths, begin + j, gap_j)
        if has_background:
            _agree(tile.other_sides, paths, begin + j, base_j)
        else:
            base_j[:] = paths.ratio[begin + j]
        for r in range(64):
            gap_j[r] -= base_j[r]
    tile.integral[: m * 64] = 0.0
    n_nodes = (m + 1) // 2
    first = n_nodes * (n_nodes - 1) // 2
    for k in range(first, first + n_nodes):
        weight = paths.value[leaf] * rule.weight[k]
        _integrate(m, rule.node[k], weight, base, gap, tile.before, tile.product, tile.integral)
    for j in range(m):
        at = paths.column[begin + j] * 64
        total = tile.sums[at : at + 64]
        gap_j = gap[j * 64 : j * 64 + 64]
        integral_j = tile.integral[j * 64 : j * 64 + 64]
        for r in range(64):
            total[r] += gap_j[r] * integral_j[r]


@inner(borrows=True)
def _add_background(tile: Tile, m: int, value: float, total: int) -> None:
    """Add the leaf's value to the score of each background row that falls into it."""
    for r in range(64):
        tile.product[r] = value
    for j in range(m):
        base_j = tile.base[j * 64 : j * 64 + 64]
        for r in range(64):
            tile.product[r] *= base_j[r]
    score = tile.sums[total : total + 64]
    for r in range(64):
        score[r] += tile.product[r]


@kernel(borrows=True)
def add_tiles(
    first_tile: int,
    last_tile: int,
    tile: Tile,
    X: Array,
    others: Array,
    splits: Splits,
    paths: Paths,
    rule: Rule,
    sums: Array,
) -> None:
    """Contributions of all trees to tiles of 64 rows; the last column of `sums` is the background's score."""
    has_background = len(others) > 0
    n_columns = X.shape[1]
    for t in range(first_tile, last_tile):
        begin = t * 64
        n = min(len(X) - begin, 64)
        _load(X, begin, n, tile.values)
        if has_background:
            _load(others, begin, n, tile.other_values)
        tile.sums[:] = 0.0
        for tree in range(len(splits.node_ptr) - 1):
            first = splits.node_ptr[tree]
            stop = splits.node_ptr[tree + 1]
            _send(tile.values, splits, first, stop, tile.sides)
            if has_background:
                _send(tile.other_values, splits, first, stop, tile.other_sides)
            # A tree has one leaf more than splits, so the leaves of tree number t begin at first + t.
            for leaf in range(first + tree, stop + tree + 1):
                _add_leaf(tile, paths, leaf, rule, has_background)
                if has_background:
                    m = paths.entry_ptr[leaf + 1] - paths.entry_ptr[leaf]
                    _add_background(tile, m, paths.value[leaf], n_columns * 64)
        # Rows past the end of X hold old values, and their sums are not used.
        for column in range(n_columns + 1):
            for r in range(n):
                sums[begin + r, column] += tile.sums[column * 64 + r]
