"""A decision tree in plain terms: what the trees of every library become before they leave the kit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lambdamart_kit.core.typing import Array, BoolArray, Float32Array, FloatArray
from lambdamart_kit.trees.model_text import (
    CATEGORICAL,
    DEFAULT_LEFT,
    MISSING_IS_NAN,
    ModelTree,
    block_fields,
    read_trees,
    tree_blocks,
)

_TINY = float(np.float32(1e-35))  # LightGBM reads values up to this size as zero
_ZERO_IS_MISSING, _NAN_IS_MISSING = 1, 2  # LightGBM's missing types; with 0, NaN is read as zero


@dataclass(frozen=True, eq=False)
class PlainTree:
    """A binary tree: rows walk from node 0 to a leaf, and the leaf's value is their score.

    A row goes left where ``x[feature] <= threshold``, or, at a split on categories, where ``x[feature]`` is
    one of them. A missing value (NaN) goes where `missing_left` says. A tree of one leaf has no nodes.

    Attributes
    ----------
    feature : ndarray (n_nodes,), int64
        Column that a node looks at.
    threshold : ndarray (n_nodes,), float64
        Largest value that goes left; infinite where all numbers go one way. Unused at a split on categories.
    categories : tuple of (ndarray of int64 or None), one a node
        Category codes that go left; None at a split on a threshold.
    missing_left : ndarray (n_nodes,), bool
        Whether NaN goes left.
    left, right : ndarray (n_nodes,), int64
        A node, or ``~leaf``.
    value : ndarray (n_leaves,), float64
        Leaf values, with the learning rate in them.
    gain : ndarray (n_nodes,), float64
        Gain of each split; zeros where the library keeps none.
    cover, leaf_cover : ndarray (n_nodes,) and (n_leaves,), float64
        Training rows (or their summed hessian) that reach a node, and a leaf: what explanations weigh by.

    Examples
    --------
    >>> tree = PlainTree.of_split(feature=0, threshold=0.5, left=-1.0, right=1.0, missing_left=True)
    >>> tree.predict(np.array([[0.5], [0.6], [np.nan]], dtype=np.float32)).tolist()
    [-1.0, 1.0, -1.0]
    """

    feature: Array
    threshold: FloatArray
    categories: tuple[Array | None, ...]
    missing_left: BoolArray
    left: Array
    right: Array
    value: FloatArray
    gain: FloatArray
    cover: FloatArray
    leaf_cover: FloatArray

    @classmethod
    def of_constant(cls, value: float) -> PlainTree:
        """A tree of one leaf."""
        none = np.empty(0)
        nodes = none.astype(np.int64)
        leaf = np.array([value], dtype=np.float64)
        return cls(nodes, none, (), none.astype(bool), nodes, nodes, leaf, none, none, np.zeros(1))

    @classmethod
    def of_split(
        cls, *, feature: int, threshold: float, left: float, right: float, missing_left: bool
    ) -> PlainTree:
        """A tree of one split and two leaves."""
        return cls(
            feature=np.array([feature], dtype=np.int64),
            threshold=np.array([threshold], dtype=np.float64),
            categories=(None,),
            missing_left=np.array([missing_left]),
            left=np.array([~0], dtype=np.int64),
            right=np.array([~1], dtype=np.int64),
            value=np.array([left, right], dtype=np.float64),
            gain=np.zeros(1),
            cover=np.zeros(1),
            leaf_cover=np.zeros(2),
        )

    @property
    def n_nodes(self) -> int:
        """Number of splits."""
        return len(self.feature)

    @property
    def has_categories(self) -> bool:
        """Whether any split is on categories."""
        return any(codes is not None for codes in self.categories)

    def scaled(self, factor: float, offset: float = 0.0) -> PlainTree:
        """The tree with leaf values ``factor * value + offset``."""
        return replace(self, value=factor * self.value + offset)

    def on_columns(self, columns: Array) -> PlainTree:
        """The tree for rows in which its column j is column ``columns[j]``."""
        return replace(self, feature=columns[self.feature])

    def mirrored(self, nodes: BoolArray) -> PlainTree:
        """The tree with the children of `nodes` exchanged, and NaN going to the same child as before.

        The caller has to turn the tests of these nodes around.
        """
        return replace(
            self,
            left=np.where(nodes, self.right, self.left),
            right=np.where(nodes, self.left, self.right),
            missing_left=self.missing_left ^ nodes,
        )

    def in_model(self, names: Sequence[str] | None = None) -> ModelTree:
        """The tree in LightGBM's terms; a ValueError where these have no words for it.

        The error says the column's name, if there are `names` of all columns, else its number.

        Examples
        --------
        >>> tree = PlainTree.of_split(feature=0, threshold=0.5, left=-1.0, right=1.0, missing_left=True)
        >>> tree.in_model().decision.tolist()  # 8: NaN is missing; 2: it goes left
        [10]
        """
        is_set = np.array([codes is not None for codes in self.categories], dtype=bool)
        for node in np.flatnonzero(is_set & self.missing_left).tolist():
            column = int(self.feature[node])
            raise ValueError(
                "LightGBM sends a missing category to the right, and a split on column "
                f"{column if names is None else repr(names[column])} sends it with the listed ones"
            )
        # The threshold of a split on categories is the number of its bit set.
        words = [_words(codes) for codes in self.categories if codes is not None]
        threshold = self.threshold.copy()
        threshold[is_set] = np.arange(len(words))
        return ModelTree(
            feature=self.feature,
            threshold=threshold,
            decision=MISSING_IS_NAN
            | np.where(is_set, CATEGORICAL, np.where(self.missing_left, DEFAULT_LEFT, 0)),
            left=self.left,
            right=self.right,
            value=self.value,
            boundaries=np.cumsum([0, *map(len, words)]),
            words=np.concatenate([np.empty(0, np.uint32), *words]),
        )

    def predict(self, X: Float32Array) -> FloatArray:
        """Leaf value of each row of X, (n_samples,) float64: slow and simple, for checks."""
        scores = np.empty(len(X))
        to_visit = [(0 if self.n_nodes else ~0, np.arange(len(X)))]
        # All rows of a node go down together: the list holds nodes
        # (or ~leaves) and the rows that reach them.
        while to_visit:
            node, rows = to_visit.pop()
            if node < 0:
                scores[rows] = self.value[~node]
                continue
            x = X[rows, self.feature[node]]
            codes = self.categories[node]
            goes_left = x <= self.threshold[node] if codes is None else np.isin(x, codes)
            goes_left = np.where(np.isnan(x), self.missing_left[node], goes_left)
            to_visit += [
                (int(self.left[node]), rows[goes_left]),
                (int(self.right[node]), rows[~goes_left]),
            ]
        return scores


def averaged(bags: Sequence[Sequence[PlainTree]], weights: Sequence[float] | None = None) -> list[PlainTree]:
    """The trees of several models as one model: their (weighted) mean.

    Parameters
    ----------
    bags : sequence of sequences of PlainTree
        The trees of each model.
    weights : sequence of float, optional
        Weight of each model, used as it is; None for ``1 / len(bags)`` each.

    Examples
    --------
    >>> one, two = [PlainTree.of_constant(1.0)], [PlainTree.of_constant(2.0)]
    >>> [float(tree.value[0]) for tree in averaged([one, two])]
    [0.5, 1.0]
    """
    factors = [1.0 / len(bags)] * len(bags) if weights is None else weights
    return [tree.scaled(factor) for trees, factor in zip(bags, factors) for tree in trees]


def plain_trees_of_lightgbm(text: str) -> list[PlainTree]:
    """The trees of a LightGBM model file.

    Raises
    ------
    ValueError
        If scores are not sums of leaf values (several classes, linear leaves), or if zero counts as missing
        and no test on a threshold says the same.
    """
    found = read_trees(text.replace("\naverage_output\n", "\n", 1))
    if found is None:
        raise ValueError(
            "the trees must have one output and constant leaves; this LightGBM model has several classes or "
            "linear leaves ('linear_tree'), which no other format holds"
        )
    fields = [block_fields(block) for block in tree_blocks(text)]
    header = text.partition("\nTree=")[0]
    # A random forest's score is the mean of its trees; here
    # scores are sums, so the mean goes into the leaves.
    factor = 1.0 / max(1, len(found)) if "\naverage_output" in header else 1.0
    return [_of_lightgbm(tree, extra).scaled(factor) for tree, extra in zip(found, fields)]


def _of_lightgbm(tree: ModelTree, fields: dict[str, str]) -> PlainTree:
    n_nodes = len(tree.feature)
    missing_type = (tree.decision >> 2) & 3
    default_left = tree.decision & DEFAULT_LEFT > 0
    is_set = tree.decision & CATEGORICAL > 0
    threshold = with_zero_as_lightgbm_reads_it(tree.threshold)
    # Where zero counts as missing, LightGBM sends it to the default side, whatever the threshold says. A
    # test on a threshold sends it left if the threshold is at least 0.
    zero_left = threshold >= 0
    disagrees = ~is_set & (missing_type == _ZERO_IS_MISSING) & (zero_left != default_left)
    if disagrees.any():
        raise ValueError(
            "'zero_as_missing' must be off to export this LightGBM model: a split on column "
            f"{tree.feature[disagrees][0]} sends zero and missing values to another side than the values "
            "around zero, which no test on a threshold does; train without it"
        )
    # Without a side for NaN, LightGBM reads it as zero.
    missing_left = np.where(missing_type == _NAN_IS_MISSING, default_left, zero_left)
    return PlainTree(
        feature=tree.feature,
        threshold=np.where(is_set, 0.0, threshold),
        categories=tuple(_codes(tree.bits(node)) if is_set[node] else None for node in range(n_nodes)),
        missing_left=missing_left & ~is_set,  # LightGBM sends a missing category right
        left=tree.left,
        right=tree.right,
        value=tree.value,
        gain=_numbers(fields, "split_gain", n_nodes),
        cover=_numbers(fields, "internal_count", n_nodes),
        leaf_cover=_numbers(fields, "leaf_count", n_nodes + 1),
    )


def with_zero_as_lightgbm_reads_it(threshold: FloatArray) -> FloatArray:
    """Thresholds that say of every value what LightGBM says, which takes 1e-35 and less for zero."""
    # Values from -1e-35 to 1e-35 are zero to LightGBM, so they all go left where the threshold is at least
    # 0, and all right where it is below 0. Thresholds inside that range move to its end.
    below_zero = np.nextafter(-_TINY, -np.inf)
    threshold = np.where((threshold >= 0) & (threshold < _TINY), _TINY, threshold)
    return np.where((threshold < 0) & (threshold >= -_TINY), below_zero, threshold)


def _words(codes: Array) -> Array:
    """32-bit words with the bits of these numbers set."""
    bits = np.zeros((int(codes.max(initial=0)) // 32 + 1) * 32, dtype=np.uint8)
    bits[codes] = 1
    return np.packbits(bits, bitorder="little").view("<u4")


def _codes(words: Array) -> Array:
    """Numbers of the bits that are set in 32-bit words."""
    return np.flatnonzero(np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little"))


def _numbers(fields: dict[str, str], name: str, n: int) -> FloatArray:
    numbers = np.array(fields.get(name, "").split(), dtype=np.float64)
    return numbers if len(numbers) == n else np.zeros(n)
