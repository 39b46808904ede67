"""How much each feature adds to the score of a row: exact SHAP values of a sum of trees.

The game is that of TreeSHAP [1]_: a row of which only the features S are known goes down both ways at a split
on another feature, in the proportion of the training rows that went there. Its expected score is v(S), and
the contribution of a feature is its Shapley value in v. Contributions and the expected score v(empty) of a
row sum to its score.

A leaf with value w asks m different features on the way to it. For feature j let ``a_j`` be 1 if the row
agrees with all tests on j, else 0, and ``r_j`` the share of training rows that go this way at the tests on j.
In the leaf's part of v, a known feature counts ``a_j`` and an unknown one ``r_j``, so

    v(S) = w  prod_{j in S} a_j  prod_{j not in S} r_j.

Its Shapley values are an integral of one variable [2]_, in which ``t`` is the probability to be known::

    phi_i = w (a_i - r_i)  integral_0^1  prod_{j != i} (r_j + (a_j - r_j) t)  dt.

The integrand is a polynomial of degree m - 1, which ceil(m / 2) Gauss-Legendre nodes integrate exactly. There
is nothing to divide by and there are no tables of 2^m entries, so deep paths are neither slow nor inaccurate.
Products of all factors but one are products of those before and those after it.

With another row as background, ``r_j`` says whether that row agrees instead. This is the interventional game,
in which an unknown feature takes the value of the background row; the same integral solves it.

Sixty-four rows go through a leaf together, so that the compiler makes vector instructions of the arithmetic.

References
----------
.. [1] Lundberg, Erion, Lee (2018), Consistent individualized feature attribution for tree ensembles,
   arXiv 1802.03888.
.. [2] Owen (1972), Multilinear extensions of games, Management Science 18(5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.core.typing import Array, Features, FloatArray
from lambdamart_kit.runtime.threads import run_tasks, threads_used
from lambdamart_kit.trees.plain_tree import PlainTree

_WIDTH = 64  # rows that go through a leaf together
_ROWS = 1 << 14  # rows copied at a time


class Splits(NamedTuple):
    """All tests of all trees; columns are counted among those that some tree looks at.

    Attributes
    ----------
    node_ptr : ndarray (n_trees + 1,), int64
        First split of each tree.
    column : ndarray (n_nodes,), int64
    threshold : ndarray (n_nodes,), float64
        Largest value that goes left.
    missing_left : ndarray (n_nodes,), uint8
    word_ptr : ndarray (n_nodes + 1,), int64
        Where a split on categories has its bit set among the words; empty for a split on a threshold.
    words : ndarray, uint32
        Bit c % 32 of word c // 32 says that category c goes left.
    """

    node_ptr: Array
    column: Array
    threshold: FloatArray
    missing_left: Array
    word_ptr: Array
    words: Array


class Paths(NamedTuple):
    """What stands between the root and each leaf: one entry for each feature that the path asks.

    Attributes
    ----------
    value : ndarray (n_leaves,), float64
        Leaf values; tree t has its leaves from ``node_ptr[t] + t`` on.
    entry_ptr : ndarray (n_leaves + 1,), int64
        First entry of each leaf.
    column : ndarray (n_entries,), int64
    ratio : ndarray (n_entries,), float64
        Share of the training rows that go this way at all tests of the entry.
    step_ptr : ndarray (n_entries + 1,), int64
        First step of each entry.
    node : ndarray (n_steps,), int64
        A split of the tree on the entry's feature.
    left : ndarray (n_steps,), uint8
        Whether the path goes left there.
    """

    value: FloatArray
    entry_ptr: Array
    column: Array
    ratio: FloatArray
    step_ptr: Array
    node: Array
    left: Array


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


@dataclass(frozen=True, eq=False)
class TreeContributions:
    """Trees laid out for contributions of features to scores.

    Attributes
    ----------
    splits : Splits
    paths : Paths
    rule : Rule
    columns : ndarray (n_used,), int64
        Columns of X that the trees look at.
    expected : float
        Mean score of the training rows, as covers of the nodes say it.
    single : bool
        Whether values are rounded to float32 before they are tested, as some libraries do.
    zero_is_missing : bool
        Whether zeros are taken for missing values.

    Examples
    --------
    >>> tree = PlainTree(
    ...     feature=np.array([0]),
    ...     threshold=np.array([0.5]),
    ...     categories=(None,),
    ...     missing_left=np.array([True]),
    ...     left=np.array([~0]),
    ...     right=np.array([~1]),
    ...     value=np.array([0.0, 4.0]),
    ...     gain=np.ones(1),
    ...     cover=np.array([4.0]),
    ...     leaf_cover=np.array([3.0, 1.0]),
    ... )
    >>> TreeContributions.of_trees([tree])(np.array([[0.0, 9.0], [1.0, 9.0]])).tolist()
    [[-1.0, 0.0, 1.0], [3.0, 0.0, 1.0]]
    """

    splits: Splits
    paths: Paths
    rule: Rule
    columns: Array
    expected: float
    single: bool = False
    zero_is_missing: bool = False

    @classmethod
    def of_trees(
        cls, trees: Sequence[PlainTree], *, single: bool = False, zero_is_missing: bool = False
    ) -> TreeContributions:
        """The trees laid out.

        Raises
        ------
        ValueError
            If a tree does not say how many training rows came through its nodes.
        """
        # Columns that no tree asks have contribution 0 and are not even copied.
        features = [tree.feature for tree in trees]
        columns = np.unique(np.concatenate([np.empty(0, np.int64), *features])).astype(np.int64)
        splits = _splits(trees, columns)
        paths = _paths(trees, splits)
        longest = int(np.diff(paths.entry_ptr).max(initial=0))
        # A leaf counts in the mean score by the share of rows that go its way at every test.
        share = np.ones(len(paths.value))
        np.multiply.at(share, np.repeat(np.arange(len(share)), np.diff(paths.entry_ptr)), paths.ratio)
        expected = float(paths.value @ share)
        return cls(splits, paths, Rule.up_to(-(-longest // 2)), columns, expected, single, zero_is_missing)

    def __call__(self, X: Features, background: Features = None, *, n_threads: int = 1) -> FloatArray:
        """Contributions of each feature to the score of each row.

        Parameters
        ----------
        X : (n_samples, n_features) array or CSR matrix
        background : (n_samples, n_features) array or CSR matrix, optional
            For each row the row whose values unknown features take. None for the training rows, as covers
            remember them.
        n_threads : int

        Returns
        -------
        (n_samples, n_features + 1) float64
            The last column is the expected score: that of the background row if there is one.
        """
        found = np.zeros((X.shape[0], X.shape[1] + 1))
        # A float64 copy of some rows at a time bounds the memory that many rows, or wide sparse ones, take.
        for at in range(0, X.shape[0], _ROWS):
            rows = slice(at, at + _ROWS)
            part = self._columns_of(X[rows])
            others = part[:0] if background is None else self._columns_of(background[rows])
            sums = self._sums(part, others, n_threads)
            found[rows, self.columns] = sums[:, :-1]
            found[rows, -1] = self.expected if background is None else sums[:, -1]
        return found

    def _sums(self, rows: FloatArray, others: FloatArray, n_threads: int) -> FloatArray:
        """Contributions of the columns in use, and the score of the background row."""
        sums = np.zeros((len(rows), len(self.columns) + 1))
        # Rows go to threads in whole tiles, so a row is added up in the same order however many there are.
        n_tiles = -(-len(rows) // _WIDTH)
        bounds = np.linspace(0, n_tiles, 1 if n_threads == 1 else 8 * n_threads + 1).astype(np.intp)
        bounds = np.unique(np.append(bounds, n_tiles))
        scratch = [(_Tile.for_trees(self),) for _ in range(threads_used(bounds, n_threads))]
        args = (rows, others, self.splits, self.paths, self.rule, sums)
        run_tasks(_add_tiles, bounds, n_threads, *args, scratch=scratch)
        return sums

    def _columns_of(self, X: Features) -> FloatArray:
        """The columns that the trees look at, as a dense float64 array."""
        part = X[:, self.columns]
        dense = part.toarray() if sparse.issparse(part) else part
        values = np.array(dense, dtype=np.float32 if self.single else np.float64, order="C")
        # XGBoost takes an entry that a sparse matrix does not store for a missing one.
        if self.zero_is_missing:
            values[values == 0] = np.nan
        return values.astype(np.float64, copy=False)


def _shares(tree: PlainTree) -> FloatArray:
    """Share of a node's training rows that go left and right, (n_nodes, 2)."""
    if tree.n_nodes and not tree.cover.any():
        raise ValueError(
            "the trees must say how many training rows came through their nodes, which is what contributions "
            "weigh the two ways at a split by; this model keeps no such counts"
        )
    children = np.stack((tree.left, tree.right), axis=1)
    # A leaf is ~leaf; the node that stands in for it in the first array is not used.
    inside = tree.cover[np.maximum(children, 0)]
    covers = np.where(children < 0, tree.leaf_cover[np.where(children < 0, ~children, 0)], inside)
    # Where no training row came, both ways count the same.
    total = tree.cover[:, None]
    return np.divide(covers, total, out=np.full(children.shape, 0.5), where=total > 0)


def _splits(trees: Sequence[PlainTree], columns: Array) -> Splits:
    words = [_words(codes) for tree in trees for codes in tree.categories]
    feature = np.concatenate([np.empty(0, np.int64), *(tree.feature for tree in trees)])
    return Splits(
        node_ptr=np.cumsum([0, *(tree.n_nodes for tree in trees)]).astype(np.int64),
        column=np.searchsorted(columns, feature).astype(np.int64),
        threshold=np.concatenate([np.empty(0), *(tree.threshold for tree in trees)]),
        missing_left=np.concatenate([np.empty(0), *(tree.missing_left for tree in trees)]).astype(np.uint8),
        word_ptr=np.cumsum([0, *map(len, words)]).astype(np.int64),
        words=np.concatenate([np.empty(0, np.uint32), *words]),
    )


def _words(codes: Array | None) -> Array:
    """Bit set of category codes, at least one word; no word for a split on a threshold."""
    if codes is None:
        return np.empty(0, np.uint32)
    # The bits of a word are in the order of the codes, the lowest code in the lowest bit.
    bits = np.zeros((int(codes.max(initial=0)) // 32 + 1) * 32, dtype=np.uint8)
    bits[codes] = 1
    return np.packbits(bits, bitorder="little").view("<u4").astype(np.uint32)


def _paths(trees: Sequence[PlainTree], splits: Splits) -> Paths:
    """The paths to all leaves, climbed from the leaves up to the roots: one level of all trees at a time."""
    n_nodes = int(splits.node_ptr[-1])
    parent, goes_left, share = _ways_up(trees, splits)
    value = np.concatenate([np.empty(0), *(tree.value for tree in trees)])
    leaf = np.arange(len(value))
    at = n_nodes + leaf
    levels: list[tuple[Array, Array, Array, FloatArray]] = []
    # In each round every leaf that has not arrived at its root goes up one split, which is one step of its
    # path. So there are as many rounds as the deepest tree has levels, and no loop over leaves.
    while len(leaf) or not levels:
        above = parent[at]
        leaf = leaf[above >= 0]
        at = at[above >= 0]
        levels.append((leaf, parent[at], goes_left[at], share[at]))
        at = parent[at]
    leaf, node, left, share = map(np.concatenate, zip(*levels))
    column = splits.column[node]
    # The steps of a leaf on one column stand together, and are one entry.
    order = np.lexsort((node, column, leaf))
    leaf = leaf[order]
    column = column[order]
    node = node[order]
    # An entry begins where the leaf or the column changes.
    begins = np.flatnonzero(np.diff(leaf, prepend=-1) | np.diff(column, prepend=-1))
    tree = np.searchsorted(splits.node_ptr, node, side="right") - 1
    return Paths(
        value=value,
        entry_ptr=np.searchsorted(leaf[begins], np.arange(len(value) + 1)).astype(np.int64),
        column=column[begins].astype(np.int64),
        ratio=np.multiply.reduceat(share[order], begins) if len(begins) else np.empty(0),
        step_ptr=np.append(begins, len(node)).astype(np.int64),
        node=(node - splits.node_ptr[tree]).astype(np.int64),
        left=left[order].astype(np.uint8),
    )


def _ways_up(trees: Sequence[PlainTree], splits: Splits) -> tuple[Array, Array, FloatArray]:
    """Of every node, and then of every leaf: its parent (-1 at a root), on which side, and its share."""
    n_nodes = int(splits.node_ptr[-1])
    n_leaves = n_nodes + len(trees)
    parent = np.full(n_nodes + n_leaves, -1, dtype=np.int64)
    goes_left = np.zeros(n_nodes + n_leaves, dtype=bool)
    share = np.ones(n_nodes + n_leaves)
    for t, tree in enumerate(trees):
        first = int(splits.node_ptr[t])
        shares = _shares(tree)
        for side, children in enumerate((tree.left, tree.right)):
            # Nodes are numbered over all trees, and leaves behind all nodes.
            child = np.where(children < 0, n_nodes + first + t + ~children, first + children)
            parent[child] = first + np.arange(tree.n_nodes)
            goes_left[child] = side == 0
            share[child] = shares[:, side]
    return parent, goes_left, share


class _Tile(NamedTuple):
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
    def for_trees(cls, trees: TreeContributions) -> _Tile:
        """Space for the widest tree and the longest path."""
        n_columns = len(trees.columns)
        n_nodes = int(np.diff(trees.splits.node_ptr).max(initial=0))
        longest = int(np.diff(trees.paths.entry_ptr).max(initial=0))
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
        arrays = [np.zeros(count * _WIDTH) for count in counts]
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
def _add_leaf(tile: _Tile, paths: Paths, leaf: int, rule: Rule, has_background: bool) -> None:
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
def _add_background(tile: _Tile, m: int, value: float, total: int) -> None:
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
def _add_tiles(
    first_tile: int,
    last_tile: int,
    tile: _Tile,
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
