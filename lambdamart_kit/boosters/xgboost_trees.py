"""The trees of an XGBoost model file, in plain terms."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from lambdamart_kit.boosters.xgboost_checks import weights_of_trees
from lambdamart_kit.core.typing import Array, Settings
from lambdamart_kit.trees.plain_tree import PlainTree

_PLAIN_SCORES = ("reg:", "rank:", "multi:")  # objectives that add base_score as it is


def plain_trees_of_xgboost(content: bytes, *, zero_is_missing: bool = False) -> list[PlainTree]:
    """The trees of a model in XGBoost's JSON; the base score is in the leaves of the first.

    Parameters
    ----------
    content : bytes
        What ``Booster.save_raw("json")`` returns.
    zero_is_missing : bool
        Whether the model takes zeros for missing values, as one fitted on a sparse matrix does.

    Raises
    ------
    ValueError
        If the model is not a sum of trees of one output, or if `zero_is_missing` and no test on a threshold
        says the same.
    """
    learner = json.loads(content)["learner"]
    booster = learner["gradient_booster"]
    if booster["name"] not in ("gbtree", "dart"):
        raise ValueError(f"'booster' must be made of trees to be exported; got XGBoost's {booster['name']!r}")
    factors = weights_of_trees(booster)
    if booster["name"] == "dart":
        booster = booster["gbtree"]
    parts = booster["model"]["trees"]
    if any(int(part["tree_param"]["size_leaf_vector"]) > 1 for part in parts):
        raise ValueError("the trees must have one output; this XGBoost model has vectors in its leaves")
    trees = [_of_xgboost(part) for part in parts]
    if factors:
        trees = [tree.scaled(float(factor)) for tree, factor in zip(trees, factors)]
    if zero_is_missing:
        for tree in trees:
            _check_zero_goes_with_missing(tree)
    base = _base_score(learner)
    if base == 0.0:
        return trees
    return [trees[0].scaled(1.0, base), *trees[1:]] if trees else [PlainTree.of_constant(base)]


def mean_of_xgboost(contents: Sequence[bytes]) -> bytes:
    """One model in XGBoost's JSON whose scores are the mean of those of the models `contents`.

    Leaves are float32 there, so the scores are the mean to about 1e-7 of their size.

    Raises
    ------
    ValueError
        If a model is not made of trees of one output.
    """
    models = [json.loads(content) for content in contents]
    parts = [_trees_of_one_output(model["learner"]["gradient_booster"]) for model in models]
    merged = models[0]
    booster = merged["learner"]["gradient_booster"]
    trees = [tree for part in parts for tree in part["model"]["trees"]]
    for number, tree in enumerate(trees):
        tree["id"] = number
        _scale_leaves(tree, 1.0 / len(models))
    model = parts[0]["model"]
    weights = [weights_of_trees(each["learner"]["gradient_booster"]) for each in models]
    if any(weights):
        holder = booster if booster["name"] == "dart" else model
        counts = [len(part["model"]["trees"]) for part in parts]
        # A model that dropped no tree may have no weights: its trees count once.
        whole = [each or [1.0] * count for each, count in zip(weights, counts)]
        holder["weight_drop"] = [weight for each in whole for weight in each]
    model["trees"] = trees
    model["tree_info"] = [0] * len(trees)
    model["iteration_indptr"] = list(range(len(trees) + 1))
    model["gbtree_model_param"]["num_trees"] = str(len(trees))
    return json.dumps(merged).encode()


def _trees_of_one_output(booster: Settings) -> Settings:
    """The part of a model that holds its trees, one a round."""
    part: Settings = booster["gbtree"] if booster["name"] == "dart" else booster
    if (
        "trees" not in part.get("model", ())
        or int(part["model"]["gbtree_model_param"]["num_parallel_tree"]) > 1
    ):
        raise ValueError(
            "'n_bags' must be 1 with XGBoost models that are not made of one tree a round; got "
            f"{booster['name']!r}; leave 'booster' and 'num_parallel_tree' at their defaults"
        )
    return part


def _scale_leaves(tree: Settings, factor: float) -> None:
    """Multiply the outputs of a tree; a leaf's output stands where a node has its bound."""
    bounds = np.array(tree["split_conditions"], dtype=np.float32)
    leaves = np.array(tree["left_children"]) < 0
    bounds[leaves] = (bounds[leaves].astype(np.float64) * factor).astype(np.float32)
    weights = np.array(tree["base_weights"], dtype=np.float32) * np.float32(factor)
    # The shortest text that reads back as the same float32 number.
    tree["split_conditions"] = [float(str(bound)) for bound in bounds]
    tree["base_weights"] = [float(str(weight)) for weight in weights]


def _base_score(learner: Settings) -> float:
    base = float(learner["learner_model_param"]["base_score"].strip("[]"))
    name = learner["objective"]["name"]
    if base != 0.0 and not name.startswith(_PLAIN_SCORES):
        raise ValueError(f"'objective' must be a ranking or regression one to be exported; got {name!r}")
    return base


def _of_xgboost(part: Settings) -> PlainTree:
    left, right = np.array(part["left_children"]), np.array(part["right_children"])
    # Nodes and leaves share one numbering there and have one each here; what pruning left behind drops out.
    reached = _reached(left, right)
    is_node, is_leaf = reached & (left >= 0), reached & (left < 0)
    place = np.where(is_node, np.cumsum(is_node) - 1, ~(np.cumsum(is_leaf) - 1)).astype(np.int64)
    nodes, leaves = np.flatnonzero(is_node), np.flatnonzero(is_leaf)
    bounds = np.array(part["split_conditions"], dtype=np.float32)
    is_set = np.array(part.get("split_type", np.zeros(len(left))))[nodes] == 1
    # XGBoost tests x < bound: the float32 number before the bound is the last that goes left.
    threshold = np.nextafter(bounds[nodes], np.float32(-np.inf)).astype(np.float64)
    cover = np.array(part["sum_hessian"], dtype=np.float64)
    tree = PlainTree(
        feature=np.array(part["split_indices"], dtype=np.int64)[nodes],
        threshold=np.where(is_set, 0.0, threshold),
        categories=_sets(part, nodes),
        missing_left=np.array(part["default_left"])[nodes] != 0,
        left=place[left[nodes]],
        right=place[right[nodes]],
        value=bounds[leaves].astype(np.float64),
        gain=np.array(part["loss_changes"], dtype=np.float64)[nodes],
        cover=cover[nodes],
        leaf_cover=cover[leaves],
    )
    return tree.mirrored(is_set)  # its categories are those that go right


def _reached(left: Array, right: Array) -> Array:
    """Which entries can be reached from the root, a level at a time."""
    reached = np.zeros(len(left), dtype=bool)
    level = np.zeros(1, dtype=np.int64)
    while len(level):
        reached[level] = True
        level = level[left[level] >= 0]
        level = np.concatenate([left[level], right[level]])
    return reached


def _sets(part: Settings, nodes: Array) -> tuple[Array | None, ...]:
    codes = np.array(part.get("categories", ()), dtype=np.int64)
    named = zip(
        part.get("categories_nodes", ()),
        part.get("categories_segments", ()),
        part.get("categories_sizes", ()),
    )
    sets = {node: codes[start : start + size] for node, start, size in named}
    return tuple(sets.get(node) for node in nodes.tolist())


def _check_zero_goes_with_missing(tree: PlainTree) -> None:
    for node, codes in enumerate(tree.categories):
        zero_left = tree.threshold[node] >= 0.0 if codes is None else 0 in codes
        if zero_left != tree.missing_left[node]:
            raise ValueError(
                "'X' must not be a sparse matrix at fit for XGBoost trees that are to be exported: they take "
                f"zero for missing, and a split on column {tree.feature[node]} sends missing values to the "
                "other side than the values around zero, which no threshold does; fit on an array"
            )
