"""XGBoost's model JSON is checked before XGBoost reads it: XGBoost itself believes every number in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Array, Settings

_PER_NODE = (
    "left_children",
    "right_children",
    "parents",
    "split_indices",
    "split_conditions",
    "default_left",
)
_ROOT_PARENT = 2**31 - 1


def check_xgboost_json(content: bytes) -> None:
    """Raise unless the trees of a model in XGBoost's JSON can be walked.

    Raises
    ------
    ValueError
        Naming the tree and what is wrong with it.
    """
    try:
        learner = json.loads(content)["learner"]
        booster = learner["gradient_booster"]
        n_features = int(learner["learner_model_param"]["num_feature"])
        if booster["name"] == "gblinear":
            return
        model = (booster["gbtree"] if booster["name"] == "dart" else booster)["model"]
        trees = model["trees"]
        n_trees = int(model["gbtree_model_param"]["num_trees"])
        if n_trees != len(trees) or len(model["tree_info"]) != n_trees:
            raise ValueError(f"the model must hold {n_trees} trees; it holds {len(trees)}")
        if len(weights_of_trees(booster)) not in ((n_trees,) if booster["name"] == "dart" else (0, n_trees)):
            raise ValueError("weight_drop must have an entry for each tree")
        for number, tree in enumerate(trees):
            _check_tree(tree, n_features, number)
    except (KeyError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise ValueError(f"not an XGBoost model, or damaged ({type(error).__name__}: {error})") from None


def _check_tree(tree: Mapping[str, Any], n_features: int, number: int) -> None:
    n_nodes = int(tree["tree_param"]["num_nodes"])
    if n_nodes < 1:
        raise ValueError(f"tree {number}: must have a root")
    for name in _PER_NODE:
        if len(tree[name]) != n_nodes:
            raise ValueError(f"tree {number}: {name} must have {n_nodes} entries; it has {len(tree[name])}")
    left = np.array(tree["left_children"], dtype=np.int64)
    right = np.array(tree["right_children"], dtype=np.int64)
    parents = np.array(tree["parents"], dtype=np.int64)
    _check_walk(left, right, parents, number)
    is_split = left >= 0
    features = np.array(tree["split_indices"], dtype=np.int64)[is_split]
    if ((features < 0) | (features >= n_features)).any():
        raise ValueError(f"tree {number}: features must be in 0 .. {n_features - 1}")
    if np.isnan(np.array(tree["split_conditions"], dtype=np.float64)).any():
        raise ValueError(f"tree {number}: thresholds and leaf values must be numbers; one is NaN")
    _check_categories(tree, n_nodes, number)


def _check_walk(left: Array, right: Array, parents: Array, number: int) -> None:
    """Every node is reached from the root once, so a walk ends; deleted nodes are not reached at all."""
    n_nodes = len(left)
    if ((left < 0) != (right < 0)).any() or (np.maximum(left, right) >= n_nodes).any():
        raise ValueError(f"tree {number}: a node has a child that does not exist")
    reached = np.zeros(n_nodes, dtype=bool)
    waiting = [0]
    while waiting:
        node = waiting.pop()
        if reached[node]:
            raise ValueError(f"tree {number}: node {node} has two parents")
        reached[node] = True
        if left[node] < 0:
            continue
        for child in (int(left[node]), int(right[node])):
            if parents[child] != node:
                raise ValueError(f"tree {number}: node {child} does not name {node} as its parent")
            waiting.append(child)
    if parents[0] not in (-1, _ROOT_PARENT):
        raise ValueError(f"tree {number}: the root has a parent")


def _check_categories(tree: Mapping[str, Any], n_nodes: int, number: int) -> None:
    codes = np.array(tree.get("categories", []), dtype=np.int64)
    nodes = np.array(tree.get("categories_nodes", []), dtype=np.int64)
    starts = np.array(tree.get("categories_segments", []), dtype=np.int64)
    sizes = np.array(tree.get("categories_sizes", []), dtype=np.int64)
    kinds = np.array(tree.get("split_type", [0] * n_nodes), dtype=np.int64)
    if len(kinds) != n_nodes or not len(nodes) == len(starts) == len(sizes):
        raise ValueError(f"tree {number}: its sets of categories do not fit its splits")
    inside = (starts >= 0) & (sizes >= 0) & (starts + sizes <= len(codes)) & (nodes >= 0) & (nodes < n_nodes)
    if not inside.all() or (codes < 0).any() or (codes >= 2**24).any():
        raise ValueError(f"tree {number}: a set of categories is outside its table")
    if set(np.flatnonzero(kinds == 1).tolist()) != set(nodes.tolist()):
        raise ValueError(f"tree {number}: splits on categories and sets of categories differ")


def weights_of_trees(booster: Settings) -> list[float]:
    """What the leaves of each tree of a DART model count; none for models without dropped trees.

    XGBoost has them beside the trees from 3.4 on, where DART is no booster of its own any more.
    """
    if booster["name"] == "dart":
        return list(booster["weight_drop"])
    return list(booster["model"].get("weight_drop") or ())
