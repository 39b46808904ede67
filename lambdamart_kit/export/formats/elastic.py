"""Elasticsearch's own learning to rank: the body of ``PUT _ml/trained_models/<name>``, as eland makes it.

Nodes compare in float64 (``lte``), missing values go where "default_left" says, and leaf values are summed
in float64. The order is that of Java's ``Double.compare``, for which -0.0 is below 0.0, so -0.0 is never
written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Array, Float32Array, FloatArray, Settings
from lambdamart_kit.export.format import ExportOptions, Format, Written, as_json, walk
from lambdamart_kit.export.model import Exportable, TreeSum
from lambdamart_kit.export.thresholds import with_finite_thresholds
from lambdamart_kit.trees.plain_tree import PlainTree


class ElasticsearchNative(Format):
    """Elasticsearch's ``learning_to_rank`` inference, which needs no plug-in."""

    title = "Elasticsearch's own learning to rank"

    def write(self, model: Exportable, options: ExportOptions) -> Written:
        """The request body, with an extractor for each feature."""
        assert isinstance(model, TreeSum)
        names = list(model.feature_names)
        ensemble = {
            "feature_names": names,
            "target_type": "regression",
            "aggregate_output": {"weighted_sum": {}},
            "trained_models": [_tree(with_finite_thresholds(tree), names) for tree in model.folded().trees],
        }
        body = {
            "input": {"field_names": names},
            "inference_config": {
                "learning_to_rank": {"feature_extractors": [_extractor(name) for name in names]}
            },
            "definition": {"preprocessors": [], "trained_model": {"ensemble": ensemble}},
        }
        return Written(as_json(body))

    def scores(self, content: bytes, X: Float32Array, feature_names: Sequence[str]) -> FloatArray:
        """As Elasticsearch scores documents; see `Format.scores`."""
        X = np.where(np.isinf(X), np.float32(np.nan), X)  # infinite values are missing there
        scores = np.zeros(len(X))
        for part in json.loads(content)["definition"]["trained_model"]["ensemble"]["trained_models"]:
            scores += _tree_scores(part["tree"], X)
        return scores


def _tree(tree: PlainTree, names: list[str]) -> Settings:
    """Nodes first and leaves after them: children are places in the list."""
    places = [np.where(child < 0, tree.n_nodes + ~child, child).tolist() for child in (tree.left, tree.right)]
    nodes: list[dict[str, Any]] = [
        {
            "node_index": node,
            "split_feature": int(tree.feature[node]),
            "threshold": float(tree.threshold[node]),
            "decision_type": "lte",
            "default_left": bool(tree.missing_left[node]),
            "left_child": places[0][node],
            "right_child": places[1][node],
        }
        for node in range(tree.n_nodes)
    ]
    leaves = [
        {"node_index": tree.n_nodes + leaf, "leaf_value": value}
        for leaf, value in enumerate(tree.value.tolist())
    ]
    return {"tree": {"feature_names": names, "target_type": "regression", "tree_structure": nodes + leaves}}


def _extractor(name: str) -> Settings:
    """A numeric field of the documents, to be replaced by a query where the feature is not one."""
    script = {"source": f"doc[{json.dumps(name)}].value"}
    query = {"script_score": {"query": {"exists": {"field": name}}, "script": script}}
    return {"query_extractor": {"feature_name": name, "query": query}}


def _tree_scores(tree: Settings, X: Float32Array) -> FloatArray:
    nodes = tree["tree_structure"]

    def step(at: int, rows: Array) -> float | tuple[Array, Any, Any]:
        node = nodes[at]
        if "leaf_value" in node:
            return float(node["leaf_value"])
        x = X[rows, node["split_feature"]].astype(np.float64)
        goes_left = np.where(np.isnan(x), node["default_left"], x <= node["threshold"])
        return goes_left, node["left_child"], node["right_child"]

    return walk(0, len(X), step)
