"""The tests of trees, and the paths to their leaves, as the kernel of contributions reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lambdamart_kit.core.typing import Array, FloatArray
from lambdamart_kit.trees.plain_tree import PlainTree


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


def splits_of(trees: Sequence[PlainTree], columns: Array) -> Splits:
    """All tests of all trees, on columns counted among `columns`."""
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


def paths_of(trees: Sequence[PlainTree], splits: Splits) -> Paths:
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
