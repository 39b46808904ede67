"""Thresholds that say in an engine's arithmetic what they say in the ranker's.

A node of the ranker asks ``x <= t`` with t in float64, and x is a float32 number. Engines ask something else
in something else, so each gets another number:

====================================  =====================================================================
the engine asks                        it gets
====================================  =====================================================================
``x <= T`` in float64                  t itself
``x <= T`` in float32                  the largest float32 number that is not above t
``x < T`` in float32 or float64        the float32 number after that
====================================  =====================================================================

No float32 number lies between the first two, so every float32 x goes the way it goes in the ranker. (The
nearest float32 to t may lie above t, and then x = T goes left where the ranker sends it right.)

Infinite thresholds, where all numbers go one way and only NaN the other, cannot be written in JSON. They
become the largest or the smallest finite number; where that is not enough, the test is turned around.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lambdamart_kit.core.typing import Array, Float32Array
from lambdamart_kit.trees.plain_tree import PlainTree

LARGEST = float(np.finfo(np.float32).max)


def float32_at_most(threshold: Array) -> Float32Array:
    """The largest float32 number that is not above each threshold; -inf where there is none.

    Examples
    --------
    >>> [float(t) for t in float32_at_most(np.array([0.1, 0.5, 1e300]))]
    [0.09999999403953552, 0.5, 3.4028234663852886e+38]
    """
    with np.errstate(over="ignore"):
        nearest = np.asarray(threshold, dtype=np.float64).astype(np.float32)
        below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest > threshold, below, np.minimum(nearest, np.float32(LARGEST))).astype(np.float32)


def merged_thresholds(trees: Sequence[PlainTree]) -> list[int]:
    """Features with two thresholds that are one in float32: the trees tell apart what float32 does not.

    Examples
    --------
    >>> def split(at):
    ...     return PlainTree.of_split(feature=0, threshold=at, left=-1.0, right=1.0, missing_left=True)
    >>> merged_thresholds([split(1e9 + 1), split(1e9 + 2)]), merged_thresholds([split(1.0), split(2.0)])
    ([0], [])
    """
    none = np.empty(0)
    numbers = [~_is_set(tree) for tree in trees]
    feature = np.concatenate([none, *(tree.feature[chosen] for tree, chosen in zip(trees, numbers))])
    exact = np.concatenate([none, *(tree.threshold[chosen] for tree, chosen in zip(trees, numbers))])
    _, at = np.unique(np.column_stack([feature, exact]), axis=0, return_index=True)
    pairs, counts = np.unique(
        np.column_stack([feature[at], float32_at_most(exact[at])]), axis=0, return_counts=True
    )
    return sorted({int(j) for j in pairs[counts > 1, 0]})


def with_finite_thresholds(tree: PlainTree) -> PlainTree:
    """The tree with ``x <= t`` in float64, t finite and not -0.0, for every finite float32 x."""
    is_set = _is_set(tree)
    nobody = ~is_set & (tree.threshold < -LARGEST)
    tree = tree.mirrored(nobody)  # nobody goes left: instead everybody does, to the other child
    threshold = np.where(nobody, LARGEST, np.minimum(tree.threshold, LARGEST))
    return replace(tree, threshold=np.where(is_set, 0.0, threshold) + 0.0)


def at_most(tree: PlainTree) -> PlainTree:
    """The tree with ``x <= t`` in float32: thresholds are float32 numbers."""
    tree = with_finite_thresholds(tree)
    return replace(tree, threshold=float32_at_most(tree.threshold).astype(np.float64) + 0.0)


def below(tree: PlainTree) -> PlainTree:
    """The tree with ``x < t``: thresholds are float32 numbers, and not the ``x <= t`` of a `PlainTree`."""
    tree = at_most(tree)
    everybody = ~_is_set(tree) & (tree.threshold >= LARGEST)
    tree = tree.mirrored(everybody)  # everybody goes left: instead nobody does
    with np.errstate(over="ignore"):
        after = np.nextafter(tree.threshold.astype(np.float32), np.float32(np.inf)).astype(np.float64)
    return replace(tree, threshold=np.where(everybody, -LARGEST, after) + 0.0)


def sends_missing_as_zero(tree: PlainTree) -> Array:
    """Nodes at which a missing value goes where zero goes, (n_nodes,) bool."""
    zero_left = [
        t >= 0.0 if codes is None else 0 in codes for t, codes in zip(tree.threshold, tree.categories)
    ]
    return np.array(zero_left, dtype=bool) == tree.missing_left


def _is_set(tree: PlainTree) -> Array:
    return np.array([codes is not None for codes in tree.categories], dtype=bool)


def float32_text(number: float) -> str:
    """Shortest text that reads as this float32 number.

    Examples
    --------
    >>> float32_text(0.09999999403953552), float32_text(2.0)
    ('0.099999994', '2.0')
    """
    return str(np.float32(number))
