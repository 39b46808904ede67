"""LightGBM's model text, which LightGBM itself reads, and whatever converts from it.

Thresholds are float64 and tests ``x <= threshold``, as the ranker's; scores are equal to the bit. Categories
of a data frame's columns go into the file, so that LightGBM finds the codes of other frames itself.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Array, Float32Array, FloatArray
from lambdamart_kit.export.format import ExportOptions, Format, Written
from lambdamart_kit.export.model import Exportable, TreeSum
from lambdamart_kit.runtime.threads import limit_libraries_after_fork
from lambdamart_kit.trees.model_text import model_text
from lambdamart_kit.trees.plain_tree import PlainTree, with_zero_as_lightgbm_reads_it


class LightGBM(Format):
    """A file that ``lightgbm.Booster(model_file=...)`` loads."""

    title = "LightGBM"
    reads_float64 = True
    holds_categories = True

    def write(self, model: Exportable, options: ExportOptions) -> Written:
        """The model text."""
        assert isinstance(model, TreeSum)
        trees = model.trees or model.folded().trees
        names = model.feature_names
        text = model_text([_block(tree, names) for tree in trees], names, _infos(model))
        categories = [list(model.categories[j]) for j in sorted(model.categories)]
        as_text = json.dumps(categories, default=_plain_value) if categories else "null"
        thresholds = np.concatenate([tree.threshold for tree in trees])
        notes = []
        if (with_zero_as_lightgbm_reads_it(thresholds) != thresholds).any():
            notes.append("Values other than 0 of up to 1e-35 in size count as 0 in LightGBM.")
        return Written(f"{text}\npandas_categorical:{as_text}\n".encode(), notes=notes)

    def scores(self, content: bytes, X: Float32Array, feature_names: Sequence[str]) -> FloatArray:
        """LightGBM's own scores."""
        import lightgbm

        limit_libraries_after_fork()
        scores = lightgbm.Booster(model_str=content.decode()).predict(X, raw_score=True)
        return np.asarray(scores, dtype=np.float64)


def _plain_value(value: Any) -> Any:
    """JSON of a NumPy number; other values by their text."""
    return value.item() if isinstance(value, np.generic) else str(value)


def _block(tree: PlainTree, names: Sequence[str]) -> str:
    try:
        found = tree.in_model(names)
    except ValueError as error:
        raise ValueError(f"{error}; use format='xgboost' or 'c'") from None
    lines = [
        f"num_leaves={len(tree.value)}",
        f"num_cat={len(found.boundaries) - 1}",
        _line("split_feature", tree.feature),
        _line("split_gain", tree.gain),
        _line("threshold", found.threshold),
        _line("decision_type", found.decision),
        _line("left_child", tree.left),
        _line("right_child", tree.right),
        _line("leaf_value", tree.value),
        _line("leaf_weight", tree.leaf_cover),
        _line("leaf_count", tree.leaf_cover.round().astype(np.int64)),
        _line("internal_value", _values_inside(tree)),
        _line("internal_weight", tree.cover),
        _line("internal_count", tree.cover.round().astype(np.int64)),
    ]
    if len(found.words):
        lines += [_line("cat_boundaries", found.boundaries), _line("cat_threshold", found.words)]
    return "\n".join([*lines, "is_linear=0", "shrinkage=1"])


def _line(name: str, values: Array) -> str:
    return f"{name}={' '.join(map(repr, values.tolist()))}"


def _values_inside(tree: PlainTree) -> FloatArray:
    """Mean leaf value below each node, weighed by cover; 0 where there is none."""
    totals = np.zeros(tree.n_nodes)
    # A parent stands before its children, so the last node comes first.
    for node in reversed(range(tree.n_nodes)):
        for child in (int(tree.left[node]), int(tree.right[node])):
            below = tree.value[~child] * tree.leaf_cover[~child] if child < 0 else totals[child]
            totals[node] += below
    return np.divide(totals, tree.cover, out=np.zeros_like(totals), where=tree.cover > 0)


def _infos(model: TreeSum) -> list[str]:
    """What LightGBM notes of each feature: the codes of categories, or the range of thresholds."""
    infos = ["none"] * len(model.feature_names)
    codes: dict[int, list[Array]] = {}
    bounds: dict[int, list[float]] = {}
    for tree in model.trees:
        for feature, threshold, listed in zip(
            tree.feature.tolist(), tree.threshold.tolist(), tree.categories
        ):
            if listed is not None:
                codes.setdefault(feature, []).append(listed)
            else:
                bounds.setdefault(feature, []).append(threshold)
    for feature, thresholds in bounds.items():
        finite = [t for t in thresholds if np.isfinite(t)] or [0.0]
        infos[feature] = f"[{min(finite)!r}:{max(finite)!r}]"
    for feature, sets in codes.items():
        infos[feature] = ":".join(map(str, np.unique(np.concatenate(sets)).tolist()))
    return infos
