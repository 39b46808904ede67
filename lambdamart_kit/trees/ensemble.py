"""From grown trees to a LightGBM model, and from any LightGBM model to trees that training can go on from.

The engine trains; LightGBM serves. Trees are written such that a LightGBM model decides every value as the
bins did: a bin's edge is the float32 threshold e of ``x <= e``, exact in float64;
NaN goes to the side that training chose (missing type NaN); categories are a bit set, and codes outside it go
right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Array, Features, FloatArray
from lambdamart_kit.runtime.threads import limit_libraries_after_fork
from lambdamart_kit.trees.binning import BinMapper
from lambdamart_kit.trees.model_text import (
    CATEGORICAL,
    DEFAULT_LEFT,
    MISSING_IS_NAN,
    ModelTree,
    model_text,
    tree_blocks,
)
from lambdamart_kit.trees.tree import Tree


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Trees in the order they were grown, and what their bins mean.

    Attributes
    ----------
    mapper : BinMapper
        Bins of the features.
    feature_names : tuple of str
        Name of each column.
    learning_rate : float
        Noted in the model text; it is in the leaf values already.
    trees : list of Tree
        The trees.
    """

    mapper: BinMapper
    feature_names: tuple[str, ...]
    learning_rate: float
    trees: list[Tree] = field(default_factory=list)

    @classmethod
    def average(cls, ensembles: Sequence[Ensemble]) -> Ensemble:
        """The trees of all `ensembles`, whose mapper is one, with leaves such that they sum to the mean."""
        n = len(ensembles)
        first = ensembles[0]
        trees = [tree.divided_by(n) for ensemble in ensembles for tree in ensemble.trees]
        return cls(first.mapper, first.feature_names, first.learning_rate / n, trees)

    def predict(self, X: Features, *, n_threads: int = 1) -> FloatArray:
        """Scores by walking the trees in bins: what the LightGBM model must reproduce."""
        binned = self.mapper.transform(X, n_threads=n_threads)
        scores = np.zeros(binned.n_samples)
        for tree in self.trees:
            tree.add_to(scores, binned, n_threads=n_threads)
        return scores

    def model_trees(self) -> list[ModelTree]:
        """The trees as a LightGBM model has them."""
        return [_in_model(tree, self.mapper) for tree in self.trees]

    def to_lightgbm(self, start: Any = None) -> Any:
        """The model as a ``lightgbm.Booster``, after the trees of the booster `start` if there is one."""
        import lightgbm

        limit_libraries_after_fork()
        blocks = [] if start is None else tree_blocks(start.model_to_string(num_iteration=-1))
        blocks += [_block(tree, self.mapper, self.learning_rate) for tree in self.trees]
        return lightgbm.Booster(model_str=model_text(blocks, self.feature_names, _feature_infos(self.mapper)))


def _block(tree: Tree, mapper: BinMapper, learning_rate: float) -> str:
    plain = _in_model(tree, mapper)
    n_bit_sets = len(plain.boundaries) - 1
    lines = [
        f"num_leaves={tree.n_leaves}",
        f"num_cat={n_bit_sets}",
        _line("split_feature", plain.feature),
        _line("split_gain", tree.gain),
        _line("threshold", plain.threshold),
        _line("decision_type", plain.decision),
        _line("left_child", plain.left),
        _line("right_child", plain.right),
        _line("leaf_value", plain.value),
        _line("leaf_weight", tree.leaf_weight),
        _line("leaf_count", tree.leaf_count),
        _line("internal_value", tree.node_value),
        _line("internal_weight", tree.node_weight),
        _line("internal_count", tree.node_count),
    ]
    if n_bit_sets:
        lines += [_line("cat_boundaries", plain.boundaries), _line("cat_threshold", plain.words)]
    return "\n".join([*lines, "is_linear=0", f"shrinkage={learning_rate!r}"])


def _line(name: str, values: Array) -> str:
    return f"{name}={' '.join(map(repr, values.tolist()))}"


def _in_model(tree: Tree, mapper: BinMapper) -> ModelTree:
    """The tree by the values that its bins stand for."""
    threshold: list[float] = []
    decision: list[int] = []
    boundaries = [0]
    words: list[int] = []
    # A bin stands for a range of values or for a category: thresholds are edges of bins, and sets of bins
    # become sets of category codes.
    for node, j in enumerate(tree.feature.tolist()):
        codes = mapper.categories[j]
        if codes is not None:
            # LightGBM's threshold of a split on categories is the number of its bit set.
            threshold.append(float(len(boundaries) - 1))
            decision.append(CATEGORICAL | MISSING_IS_NAN)
            left = np.unpackbits(tree.bins_left[node].view(np.uint8), bitorder="little")
            # Bin b holds category codes[b - 1], and bin 0 all others, which always go right.
            words += _bit_set(codes[np.flatnonzero(left[1 : len(codes) + 1])])
            boundaries.append(len(words))
        else:
            edges = mapper.edges[j]
            b = int(tree.threshold_bin[node])
            # Past the last edge: every number goes left, and NaN right.
            threshold.append(float(edges[b]) if b < len(edges) else float("inf"))
            decision.append(MISSING_IS_NAN | (DEFAULT_LEFT if tree.nan_left[node] else 0))
    return ModelTree(
        feature=tree.feature,
        threshold=np.array(threshold, dtype=np.float64),
        decision=np.array(decision, dtype=np.int64),
        left=tree.children[:, 0],
        right=tree.children[:, 1],
        value=tree.leaf_value,
        boundaries=np.array(boundaries, dtype=np.int64),
        words=np.array(words, dtype=np.uint32),
    )


def _bit_set(codes: Array) -> list[int]:
    # LightGBM's bit sets: bit c % 32 of word c // 32 says that code c goes left.
    words = [0] * (int(codes.max()) // 32 + 1)
    for code in codes.tolist():
        words[code // 32] |= 1 << (code % 32)
    return words


def _feature_infos(mapper: BinMapper) -> list[str]:
    infos = []
    for edges, codes in zip(mapper.edges, mapper.categories):
        if codes is not None:
            infos.append(":".join(map(str, codes.tolist())) or "none")
        else:
            # The true range of the values is not kept; LightGBM reads the field and does not score by it.
            infos.append(f"[{float(edges[0])!r}:{float(edges[-1])!r}]" if len(edges) else "none")
    return infos
