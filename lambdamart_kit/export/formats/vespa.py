"""Vespa: dumps of LightGBM or XGBoost as its rank features ``lightgbm("file")`` and ``xgboost("file")`` read.

Vespa turns LightGBM's ``<=`` into ``<`` when it imports a model. So the dump holds the float32 number after
each threshold. Vespa may compare in float32 or in float64, and this number is right for both.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Array, Float32Array, FloatArray, Settings
from lambdamart_kit.export.format import ExportOptions, Format, Written, as_json, walk
from lambdamart_kit.export.formats.plugins import xgboost_dump, xgboost_dump_scores
from lambdamart_kit.export.model import Exportable, TreeSum
from lambdamart_kit.export.thresholds import below
from lambdamart_kit.trees.plain_tree import PlainTree


class Vespa(Format):
    """Files for the folder ``models`` of an application package, and a rank profile that uses them.

    Names of features are pasted into a rank expression, so they have to be identifiers. The rank profile
    defines a function of each name: an attribute of the document, to be replaced where it is something else.
    """

    title = "Vespa"
    flavours = ("lightgbm", "xgboost")
    features_suffix = ".profile"
    forbidden = r"[^A-Za-z0-9_]|^(?=[0-9])"

    def write(self, model: Exportable, options: ExportOptions) -> Written:
        """The dump and a rank profile."""
        assert isinstance(model, TreeSum)
        flavour = self.flavour(options)
        content = as_json(xgboost_dump(model) if flavour == "xgboost" else _lightgbm_dump(model))
        profile = _rank_profile(model.feature_names, flavour, options)
        return Written(content, profile.encode())

    def scores(self, content: bytes, X: Float32Array, feature_names: Sequence[str]) -> FloatArray:
        """As Vespa scores documents; see `Format.scores`."""
        dump = json.loads(content)
        if isinstance(dump, list):
            return xgboost_dump_scores(dump, X, feature_names)
        column = {name: j for j, name in enumerate(feature_names)}
        place = [column[name] for name in dump["feature_names"]]
        scores = np.zeros(len(X))
        for part in dump["tree_info"]:
            scores += _tree_scores(part["tree_structure"], X[:, place])
        return scores


def _lightgbm_dump(model: TreeSum) -> Settings:
    trees = [{"tree_structure": _structure(below(tree))} for tree in model.folded().trees]
    return {
        "objective": "lambdarank",
        "feature_names": list(model.feature_names),
        "pandas_categorical": [],
        "tree_info": trees,
    }


def _structure(tree: PlainTree) -> Settings:
    def node(at: int) -> Settings:
        if at < 0:
            return {"leaf_value": float(tree.value[~at])}
        return {
            "split_feature": int(tree.feature[at]),
            "decision_type": "<=",
            "threshold": float(tree.threshold[at]),
            "default_left": bool(tree.missing_left[at]),
            "left_child": node(int(tree.left[at])),
            "right_child": node(int(tree.right[at])),
        }

    return node(0 if tree.n_nodes else ~0)


def _rank_profile(names: Sequence[str], flavour: str, options: ExportOptions) -> str:
    functions = "".join(
        f"    function {name}() {{\n        expression: attribute({name})\n    }}\n" for name in names
    )
    phase = f'    second-phase {{\n        expression: {flavour}("{options.file_name}")\n    }}\n'
    return f"rank-profile {options.name} {{\n{functions}{phase}}}\n"


def _tree_scores(root: Settings, X: Float32Array) -> FloatArray:
    def step(node: Settings, rows: Array) -> float | tuple[Array, Any, Any]:
        if "leaf_value" in node:
            return float(node["leaf_value"])
        x = X[rows, node["split_feature"]].astype(np.float64)
        # Imported as `if (!(x >= t), left, right)` where missing values go left, else `if (x < t, ...)`.
        goes_left = ~(x >= node["threshold"]) if node["default_left"] else x < node["threshold"]
        return goes_left, node["left_child"], node["right_child"]

    return walk(root, len(X), step)
