"""XGBoost's model file, JSON or UBJ, which XGBoost itself reads, and whatever converts from it.

XGBoost asks ``x < bound`` in float32 and sums leaf values in float32. It holds the children of a node side by
side (``right == left + 1``), and of a split on categories those that go right.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Array, Float32Array, FloatArray, Settings
from lambdamart_kit.export.format import ExportOptions, Format, Written
from lambdamart_kit.export.model import Exportable, TreeSum
from lambdamart_kit.export.thresholds import below
from lambdamart_kit.trees.plain_tree import PlainTree

_NO_PARENT = 2147483647


class XGBoost(Format):
    """A file that ``xgboost.Booster(model_file=...)`` loads; ``.ubj`` is its binary form."""

    title = "XGBoost"
    holds_categories = True
    flavours = ("json", "ubj")
    forbidden = r"[\[\]<\s]"

    def flavour_of_suffix(self, suffix: str) -> str:
        """Binary by its suffix."""
        return "ubj" if suffix == ".ubj" else ""

    def write(self, model: Exportable, options: ExportOptions) -> Written:
        """The model file."""
        assert isinstance(model, TreeSum)
        content = _file(model)
        if self.flavour(options) == "ubj":
            content = bytes(_load(content).save_raw("ubj"))
        return Written(content)

    def scores(self, content: bytes, X: Float32Array, feature_names: Sequence[str]) -> FloatArray:
        """XGBoost's own choice of leaves; their values are summed in float64."""
        import xgboost

        booster = _load(content)
        matrix = xgboost.DMatrix(
            X, feature_names=list(feature_names), feature_types=booster.feature_types, enable_categorical=True
        )
        leaves = np.asarray(booster.predict(matrix, pred_leaf=True)).reshape(len(X), -1).astype(np.int64)
        parts = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]
        scores = np.zeros(len(X))
        for leaf, part in zip(leaves.T, parts):
            scores += np.array(part["split_conditions"], dtype=np.float32)[leaf]
        return scores


def _load(content: bytes) -> Any:
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(bytearray(content))
    return booster


def _file(model: TreeSum) -> bytes:
    n_features = len(model.feature_names)
    parts = [_part(below(tree), number, n_features) for number, tree in enumerate(model.folded().trees)]
    categorical = {
        int(tree.feature[node])
        for tree in model.trees
        for node, codes in enumerate(tree.categories)
        if codes is not None
    }
    forest = {
        "gbtree_model_param": {"num_trees": str(len(parts)), "num_parallel_tree": "1"},
        "iteration_indptr": list(range(len(parts) + 1)),
        "tree_info": [0] * len(parts),
        "trees": parts,
    }
    learner = {
        "attributes": {},
        "feature_names": list(model.feature_names),
        "feature_types": ["c" if j in categorical else "float" for j in range(n_features)],
        "gradient_booster": {"name": "gbtree", "model": forest},
        "learner_model_param": {
            "base_score": "0E0",
            "boost_from_average": "0",
            "num_class": "0",
            "num_feature": str(n_features),
            "num_target": "1",
        },
        "objective": {"name": "rank:ndcg", "lambdarank_param": {}},
    }
    return json.dumps({"version": [3, 0, 0], "learner": learner}).encode()


def _part(tree: PlainTree, number: int, n_features: int) -> Settings:
    """A tree with nodes and leaves in one numbering, level by level, two children side by side."""
    is_set = np.array([codes is not None for codes in tree.categories], dtype=bool)
    tree = tree.mirrored(is_set)
    order, left, parents = _by_level(tree)
    is_node = order >= 0
    nodes, leaves = order[is_node], ~order[~is_node]
    at = np.flatnonzero(is_node)
    n = len(order)

    def column(of_nodes: Any, of_leaves: Any, dtype: Any) -> list[Any]:
        values = np.zeros(n, dtype=dtype)
        values[is_node], values[~is_node] = of_nodes, of_leaves
        return values.tolist()

    value = tree.value[leaves].astype(np.float32)
    bounds = np.where(is_set, 0.0, tree.threshold)[nodes]
    listed = [np.sort(codes) for codes in (tree.categories[node] for node in nodes) if codes is not None]
    sizes = [len(codes) for codes in listed]
    return {
        "base_weights": column(0.0, value, np.float32),
        "categories": np.concatenate([np.empty(0, np.int64), *listed]).tolist(),
        "categories_nodes": at[is_set[nodes]].tolist(),
        "categories_segments": np.cumsum([0, *sizes])[: len(sizes)].tolist(),
        "categories_sizes": sizes,
        "default_left": column(tree.missing_left[nodes], 0, np.int64),
        "id": number,
        "left_children": left.tolist(),
        "loss_changes": column(tree.gain[nodes], 0.0, np.float32),
        "parents": parents.tolist(),
        "right_children": np.where(left < 0, -1, left + 1).tolist(),
        "split_conditions": column(bounds, value, np.float32),
        "split_indices": column(tree.feature[nodes], 0, np.int64),
        "split_type": column(is_set[nodes], 0, np.int64),
        "sum_hessian": column(tree.cover[nodes], tree.leaf_cover[leaves], np.float32),
        "tree_param": {
            "num_deleted": "0",
            "num_feature": str(n_features),
            "num_nodes": str(n),
            "size_leaf_vector": "1",
        },
    }


def _by_level(tree: PlainTree) -> tuple[Array, Array, Array]:
    """Nodes and ``~leaves`` level by level, place of each one's left child (-1 of a leaf) and its parent."""
    order = [0 if tree.n_nodes else ~0]
    left: list[int] = []
    parents = [_NO_PARENT]
    # The list grows while it is walked: children are appended in pairs.
    for place, node in enumerate(order):
        if node < 0:
            left.append(-1)
            continue
        left.append(len(order))
        order += [int(tree.left[node]), int(tree.right[node])]
        parents += [place, place]
    return np.array(order), np.array(left), np.array(parents)
