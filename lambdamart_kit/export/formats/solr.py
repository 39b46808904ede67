"""Solr's learning to rank: ``MultipleAdditiveTreesModel`` and ``LinearModel`` as JSON.

Solr compares in float32 and adds a slack to the threshold it reads: ``x <= threshold + 1e-6``. So what is
written is a number which becomes the ranker's threshold when 1e-6 is added and the sum is rounded. Far from
zero there is always one. Near zero, where sums with 1e-6 are coarser than float32 numbers, there may be none.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Array, BoolArray, Float32Array, FloatArray
from lambdamart_kit.export.format import LinearFormat, Options, Written, as_json, walk
from lambdamart_kit.export.model import Exportable, LinearSum, TreeSum
from lambdamart_kit.export.thresholds import LARGEST, at_most
from lambdamart_kit.trees.plain_tree import PlainTree

SLACK = np.float32(1e-6)
_TINY = 1.0000001e-35  # LightGBM takes values up to 1e-35 for zero, and often splits there
_ULPS = 3  # how far from threshold - 1e-6 a number is looked for
_PACKAGE = "org.apache.solr.ltr"


class Solr(LinearFormat):
    """Solr with its module ltr: bodies for ``schema/model-store`` and ``schema/feature-store``."""

    title = "Solr"
    holds = (TreeSum, LinearSum)

    def write(self, model: Exportable, options: Options) -> Written:
        """The model and its features."""
        notes: list[str] = []
        if isinstance(model, LinearSum):
            kind = "LinearModel"
            default: float | str = 0.0
            params: dict[str, Any] = {"weights": dict(zip(model.feature_names, model.raw_weights.tolist()))}
            if model.raw_constant:
                notes.append(
                    f"Solr's scores are lower by {model.raw_constant:g}: the format has no constant."
                )
        else:
            assert isinstance(model, TreeSum)
            kind = "MultipleAdditiveTreesModel"
            default = 0.0 if options.no_missing else "NaN"
            params = _trees(model, options, notes)
        body = {
            "class": f"{_PACKAGE}.model.{kind}",
            "name": options.name,
            "store": options.store,
            "features": [{"name": name} for name in model.feature_names],
            "params": params,
        }
        features = [_feature(name, options.store, default) for name in model.feature_names]
        constant = model.raw_constant if isinstance(model, LinearSum) else 0.0
        return Written(as_json(body), as_json(features, indent=1), notes=notes, constant=constant)

    def scores(self, content: bytes, X: Float32Array, feature_names: Sequence[str]) -> FloatArray:
        """As Solr scores documents; see `Format.scores`."""
        model = json.loads(content)
        column = {name: j for j, name in enumerate(feature_names)}
        params = model["params"]
        if "weights" in params:
            weights = np.array([np.float32(params["weights"][name]) for name in feature_names])
            linear: FloatArray = np.nan_to_num(X).astype(np.float64) @ weights.astype(np.float64)
            return linear
        if params.get("isNullSameAsZero", True):
            X = np.where(np.isnan(X), np.float32(0), X)
        scores = np.zeros(len(X))
        for tree in params["trees"]:
            scores += np.float32(tree["weight"]) * _tree_scores(tree["root"], X, column)
        return scores


def _trees(model: TreeSum, options: Options, notes: list[str]) -> dict[str, Any]:
    trees = [at_most(tree) for tree in model.folded().trees]
    wanted = np.concatenate([tree.threshold for tree in trees]).astype(np.float32)
    columns = np.concatenate([tree.feature for tree in trees])
    written, exact = thresholds_for_solr(wanted)
    around_zero = ~exact & (np.abs(wanted) <= _TINY) & (written + SLACK == 0.0) & (wanted > 0)
    if around_zero.any():
        notes.append(
            "Values above 0 and up to 1e-35 count as above 0 in Solr, and as 0 in the ranker "
            f"({int(around_zero.sum())} splits)."
        )
    unreachable = np.flatnonzero(~exact & ~around_zero)
    if len(unreachable):
        at = unreachable[0]
        message = (
            f"Solr adds 1e-6 to the thresholds it reads, and {len(unreachable)} of {len(wanted)} cannot be "
            f"written such that the sum is exact: {model.feature_names[columns[at]]!r} <= {wanted[at]!s} "
            f"becomes <= {written[at] + SLACK!s}, and values between the two go the other way"
        )
        if not options.approximate:
            raise ValueError(
                f"{message}; accept it with approximate=True (--approximate) if there are no such values, or "
                "train on a larger unit of the feature"
            )
        notes.append(f"{message}.")
    roots = []
    at = 0
    for tree in trees:
        roots.append(
            _root(tree, written[at : at + tree.n_nodes], model.feature_names, not options.no_missing)
        )
        at += tree.n_nodes
    params: dict[str, Any] = {"trees": [{"weight": "1", "root": root} for root in roots]}
    return params if options.no_missing else {"isNullSameAsZero": False, **params}


def thresholds_for_solr(wanted: Float32Array) -> tuple[Float32Array, BoolArray]:
    """What to write so that Solr compares with `wanted`, and where that is possible.

    Elsewhere, what leads to the largest threshold that is not above.

    Examples
    --------
    >>> written, exact = thresholds_for_solr(np.array([0.1, 1e-35], dtype=np.float32))
    >>> bool(written[0] + SLACK == np.float32(0.1)), exact.tolist()
    (True, [True, False])
    """
    candidates = [wanted - SLACK]
    with np.errstate(over="ignore"):
        for _ in range(_ULPS):
            candidates.insert(0, np.nextafter(candidates[0], np.float32(-np.inf)))
            candidates.append(np.nextafter(candidates[-1], np.float32(np.inf)))
        tried = np.clip(np.stack(candidates, axis=1), -LARGEST, LARGEST).astype(np.float32)
        reached = tried + SLACK
    # The sum grows with what is written, so the largest of those that stay below is the closest.
    best = np.argmax(np.where(reached <= wanted[:, None], reached, np.float32(-np.inf)), axis=1)
    rows = np.arange(len(wanted))
    return tried[rows, best], reached[rows, best] == wanted


def _root(tree: PlainTree, written: Float32Array, names: Sequence[str], says_missing: bool) -> dict[str, Any]:
    """Numbers are text: Solr's setters for JSON's numbers do not fit them."""

    def node(at: int) -> dict[str, Any]:
        if at < 0:
            return {"value": repr(float(tree.value[~at]))}
        split: dict[str, Any] = {
            "feature": names[int(tree.feature[at])],
            "threshold": repr(float(written[at])),
        }
        if says_missing:
            split["missing"] = "left" if tree.missing_left[at] else "right"
        return {**split, "left": node(int(tree.left[at])), "right": node(int(tree.right[at]))}

    return node(0 if tree.n_nodes else ~0)


def _feature(name: str, store: str, default: float | str) -> dict[str, Any]:
    """A numeric field of the documents, to be replaced by a query where the feature is not one."""
    params = {"field": name, "defaultValue": default}
    return {"store": store, "name": name, "class": f"{_PACKAGE}.feature.FieldValueFeature", "params": params}


def _tree_scores(root: dict[str, Any], X: Float32Array, column: dict[str, int]) -> FloatArray:
    def step(node: dict[str, Any], rows: Array) -> float | tuple[Array, Any, Any]:
        if "feature" not in node:
            return float(np.float32(node["value"]))
        x = X[rows, column[node["feature"]]]
        goes_left = x <= np.float32(node["threshold"]) + SLACK
        goes_left = np.where(np.isnan(x), node.get("missing") == "left", goes_left)
        return goes_left, node["left"], node["right"]

    return walk(root, len(X), step)
