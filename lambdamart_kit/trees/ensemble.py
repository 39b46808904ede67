"""From grown trees to a LightGBM model, and from any LightGBM model to trees that training can go on from.

The engine trains; LightGBM serves. Its model text (version v4) is written here so that a LightGBM model
decides every value as the bins did: a bin's edge is the float32 threshold e of ``x <= e``, exact in float64;
NaN goes to the side that training chose (missing type NaN); categories are a bit set, and codes outside it go
right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Array, FloatArray
from lambdamart_kit.trees.binning import BinMapper
from lambdamart_kit.trees.tree import Tree

_CATEGORICAL, _NAN_LEFT, _MISSING_IS_NAN = 1, 2, 8  # bits of LightGBM's decision_type


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

    def predict(self, X: Any, *, n_threads: int = 1) -> FloatArray:
        """Scores by walking the trees in bins: what the LightGBM model must reproduce."""
        binned = self.mapper.transform(X, n_threads=n_threads)
        scores = np.zeros(binned.n_samples)
        for tree in self.trees:
            tree.add_to(scores, binned, n_threads=n_threads)
        return scores

    def to_lightgbm(self, start: Any = None) -> Any:
        """The model as a ``lightgbm.Booster``, after the trees of the booster `start` if there is one."""
        import lightgbm

        blocks = [] if start is None else tree_blocks(start.model_to_string(num_iteration=-1))
        blocks += [_block(tree, self.mapper, self.learning_rate) for tree in self.trees]
        return lightgbm.Booster(model_str=model_text(blocks, self.feature_names, _feature_infos(self.mapper)))


def model_text(blocks: Sequence[str], feature_names: Sequence[str], feature_infos: Sequence[str]) -> str:
    """A LightGBM model file of these trees, each given as its block of text without the line ``Tree=``."""
    numbered = [f"Tree={i}\n{block}\n\n" for i, block in enumerate(blocks)]
    header = [
        "tree",
        "version=v4",
        "num_class=1",
        "num_tree_per_iteration=1",
        "label_index=0",
        f"max_feature_idx={len(feature_names) - 1}",
        "objective=lambdarank",
        f"feature_names={' '.join(feature_names)}",
        f"feature_infos={' '.join(feature_infos)}",
        f"tree_sizes={' '.join(str(len(block.encode())) for block in numbered)}",
    ]
    return "\n".join(header) + "\n\n" + "".join(numbered) + "end of trees\n"


def tree_blocks(text: str) -> list[str]:
    """The trees of a LightGBM model file, as :func:`model_text` takes them.

    Examples
    --------
    >>> tree_blocks(model_text(["num_leaves=1", "num_leaves=1"], ["a"], ["none"]))
    ['num_leaves=1', 'num_leaves=1']
    """
    body = text.partition("\nend of trees")[0]
    return [block.partition("\n")[2].strip() for block in body.split("\nTree=")[1:]]


def _block(tree: Tree, mapper: BinMapper, learning_rate: float) -> str:
    threshold, decision, boundaries, words = _decisions(tree, mapper)
    lines = [
        f"num_leaves={tree.n_leaves}",
        f"num_cat={len(boundaries) - 1}",
        _line("split_feature", tree.feature),
        _line("split_gain", tree.gain),
        _line("threshold", threshold),
        _line("decision_type", decision),
        _line("left_child", tree.children[:, 0]),
        _line("right_child", tree.children[:, 1]),
        _line("leaf_value", tree.leaf_value),
        _line("leaf_weight", tree.leaf_weight),
        _line("leaf_count", tree.leaf_count),
        _line("internal_value", tree.node_value),
        _line("internal_weight", tree.node_weight),
        _line("internal_count", tree.node_count),
    ]
    if len(boundaries) > 1:
        lines += [_line("cat_boundaries", boundaries), _line("cat_threshold", words)]
    return "\n".join([*lines, "is_linear=0", f"shrinkage={learning_rate!r}"])


def _line(name: str, values: Array | Sequence[Any]) -> str:
    return f"{name}={' '.join(map(repr, np.asarray(values).tolist()))}"


def _decisions(tree: Tree, mapper: BinMapper) -> tuple[list[float], list[int], list[int], list[int]]:
    """Thresholds (of a categorical node: the number of its bit set), decision types, and all bit sets."""
    threshold: list[float] = []
    decision: list[int] = []
    boundaries, words = [0], list[int]()
    for node, j in enumerate(tree.feature.tolist()):
        codes = mapper.categories[j]
        if codes is not None:
            threshold.append(float(len(boundaries) - 1))
            decision.append(_CATEGORICAL | _MISSING_IS_NAN)
            left = np.unpackbits(tree.bins_left[node].view(np.uint8), bitorder="little")
            words += _bit_set(codes[np.flatnonzero(left[1 : len(codes) + 1])])
            boundaries.append(len(words))
        else:
            edges, b = mapper.edges[j], int(tree.threshold_bin[node])
            # Past the last edge: every number goes left, and NaN right.
            threshold.append(float(edges[b]) if b < len(edges) else float("inf"))
            decision.append(_MISSING_IS_NAN | (_NAN_LEFT if tree.nan_left[node] else 0))
    return threshold, decision, boundaries, words


def _bit_set(codes: Array) -> list[int]:
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
            infos.append(f"[{float(edges[0])!r}:{float(edges[-1])!r}]" if len(edges) else "none")
    return infos
