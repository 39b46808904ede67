"""The trees of a CatBoost model file, in plain terms."""

from __future__ import annotations

import json

import numpy as np

from lambdamart_kit.core.typing import Array, Settings
from lambdamart_kit.trees.plain_tree import PlainTree

_Split = tuple[int, float, bool]  # column, border, whether missing values go left


def plain_trees_of_catboost(content: bytes, n_trees: int) -> list[PlainTree]:
    """The first `n_trees` trees of a model in CatBoost's JSON; its scale and bias are in the leaves.

    A symmetric tree of depth d becomes one of ``2**d`` leaves, whose order CatBoost counts in bits: bit i is
    set where the value is above the border of split i.

    Raises
    ------
    ValueError
        If a split is on categories: CatBoost replaces them by statistics that no other format computes.
    """
    model = json.loads(content)
    columns = {
        part["feature_index"]: (part["flat_feature_index"], part.get("nan_value_treatment") != "AsTrue")
        for part in model["features_info"].get("float_features", ())
    }
    if "oblivious_trees" in model:
        trees = [_symmetric(part, columns) for part in model["oblivious_trees"][:n_trees]]
    else:
        trees = [_nested(part, columns) for part in model.get("trees", ())[:n_trees]]
    scale, (bias, *_) = model.get("scale_and_bias", (1.0, [0.0]))
    trees = [tree.scaled(scale) for tree in trees]
    if bias == 0.0:
        return trees
    return [trees[0].scaled(1.0, bias), *trees[1:]] if trees else [PlainTree.of_constant(bias)]


def _split(part: Settings, columns: dict[int, tuple[int, bool]]) -> _Split:
    if part["split_type"] != "FloatFeature":
        raise ValueError(
            "'categorical_features' must be empty to export a CatBoost model: it splits on statistics of the "
            "categories, which only CatBoost computes; encode the column as numbers, or use LambdaMART"
        )
    column, missing_left = columns[part["float_feature_index"]]
    return column, float(np.float32(part["border"])), missing_left


def _symmetric(part: Settings, columns: dict[int, tuple[int, bool]]) -> PlainTree:
    """Levels from the last split down to the first, so that leaves keep CatBoost's order of bits."""
    splits = [_split(split, columns) for split in reversed(part.get("splits") or [])]
    depth = len(splits)
    n_nodes = (1 << depth) - 1
    level = np.repeat(np.arange(depth), 1 << np.arange(depth)) if depth else np.empty(0, dtype=np.int64)
    node = np.arange(n_nodes)
    left = np.where(level == depth - 1, ~(2 * node + 1 - n_nodes), 2 * node + 1)
    right = np.where(level == depth - 1, ~(2 * node + 2 - n_nodes), 2 * node + 2)
    weights = np.array(part.get("leaf_weights", np.zeros(n_nodes + 1)), dtype=np.float64)
    return _tree([splits[at] for at in level.tolist()], left, right, np.array(part["leaf_values"]), weights)


def _nested(part: Settings, columns: dict[int, tuple[int, bool]]) -> PlainTree:
    splits: list[_Split] = []
    children: list[list[int]] = []
    values: list[float] = []
    weights: list[float] = []

    def add(node: Settings) -> int:
        if "split" not in node:
            values.append(float(node["value"]))
            weights.append(float(node.get("weight", 0.0)))
            return ~(len(values) - 1)
        at = len(splits)
        splits.append(_split(node["split"], columns))
        children.append([0, 0])
        children[at] = [add(node["left"]), add(node["right"])]
        return at

    add(part)
    left, right = np.array(children, dtype=np.int64).reshape(-1, 2).T
    return _tree(splits, left, right, np.array(values), np.array(weights))


def _tree(splits: list[_Split], left: Array, right: Array, value: Array, weights: Array) -> PlainTree:
    n_nodes = len(splits)
    return PlainTree(
        feature=np.array([column for column, _, _ in splits], dtype=np.int64),
        threshold=np.array([border for _, border, _ in splits], dtype=np.float64),
        categories=(None,) * n_nodes,
        missing_left=np.array([missing_left for _, _, missing_left in splits], dtype=bool),
        left=left.astype(np.int64),
        right=right.astype(np.int64),
        value=value.astype(np.float64),
        gain=np.zeros(n_nodes),
        cover=_sums_below(left, right, weights),
        leaf_cover=weights,
    )


def _sums_below(left: Array, right: Array, weights: Array) -> Array:
    """Weight below each node: a parent stands before its children, so the last node comes first."""
    totals = np.zeros(len(left))
    for node in reversed(range(len(left))):
        for child in (int(left[node]), int(right[node])):
            totals[node] += weights[~child] if child < 0 else totals[child]
    return totals
