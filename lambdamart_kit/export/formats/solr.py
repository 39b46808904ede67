"""Solr's learning to rank: ``MultipleAdditiveTreesModel`` and ``LinearModel`` as JSON.

Solr compares in float32 and adds a slack to the threshold it reads: ``x <= threshold + 1e-6``. So what is
written is a number which becomes the ranker's threshold when 1e-6 is added and the sum is rounded. There is
one for most thresholds, but not for all: not for -1, and for few near zero, where sums with 1e-6 are coarser
than float32 numbers. Then the feature gets a normalizer that multiplies it by a power of two, which is exact,
and its thresholds are multiplied alike, until all of them can be written.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Array, BoolArray, Float32Array, FloatArray, Settings
from lambdamart_kit.export.format import ExportOptions, LinearFormat, Written, as_json, walk
from lambdamart_kit.export.model import Exportable, LinearSum, TreeSum
from lambdamart_kit.export.thresholds import LARGEST, at_most
from lambdamart_kit.trees.plain_tree import PlainTree

SLACK = np.float32(1e-6)
_TINY = 1.0000001e-35  # LightGBM takes values up to 1e-35 for zero, and often splits there
_MOST_EXPONENT = 149  # that of the smallest float32 number
_ULPS = 3  # how far from threshold - 1e-6 a number is looked for
_PACKAGE = "org.apache.solr.ltr"


class Solr(LinearFormat):
    """Solr with its module ltr: bodies for ``schema/model-store`` and ``schema/feature-store``."""

    title = "Solr"
    holds = (TreeSum, LinearSum)

    def write(self, model: Exportable, options: ExportOptions) -> Written:
        """The model and its features."""
        if isinstance(model, LinearSum):
            return _linear(model, options)
        assert isinstance(model, TreeSum)
        notes: list[str] = []
        params, exponents = _trees(model, options, notes)
        norms = [_normalizer(0.0, 2.0**-k) if k else {} for k in exponents]
        default = 0.0 if options.no_missing else "NaN"
        defaults = [default] * len(norms)
        return _written(
            "MultipleAdditiveTreesModel", params, model.feature_names, norms, defaults, options, notes
        )

    def _check_linear(self, model: LinearSum, options: ExportOptions) -> None:
        """Solr's normalizers hold mean and scale; only bent features are refused."""
        if model.inputs.kind == "log1p":
            super()._check_linear(model, options)

    def scores(self, content: bytes, X: Float32Array, feature_names: Sequence[str]) -> FloatArray:
        """As Solr scores documents; see `Format.scores`."""
        model = json.loads(content)
        params = model["params"]
        if params.get("isNullSameAsZero", True) and "trees" in params:
            X = np.where(np.isnan(X), np.float32(0), X)
        column = {name: j for j, name in enumerate(feature_names)}
        X = np.stack([_normalised(X[:, column[part["name"]]], part) for part in model["features"]], axis=1)
        place = {part["name"]: j for j, part in enumerate(model["features"])}
        if "weights" in params:
            weights = np.array([np.float32(params["weights"][name]) for name in place])
            # A missing value has its mean for default value, and is 0 when that is taken off.
            linear: FloatArray = np.nan_to_num(X).astype(np.float64) @ weights.astype(np.float64)
            return linear
        scores = np.zeros(len(X))
        for tree in params["trees"]:
            scores += np.float32(tree["weight"]) * _tree_scores(tree["root"], X, place)
        return scores


def _written(
    kind: str,
    params: Settings,
    names: Sequence[str],
    norms: Sequence[Settings],
    defaults: Sequence[float | str],
    options: ExportOptions,
    notes: list[str],
) -> Written:
    body = {
        "class": f"{_PACKAGE}.model.{kind}",
        "name": options.name,
        "store": options.store,
        "features": [{"name": name, **norm} for name, norm in zip(names, norms)],
        "params": params,
    }
    features = [_feature(name, options.store, default) for name, default in zip(names, defaults)]
    return Written(as_json(body), as_json(features, indent=1), notes=notes)


def _linear(model: LinearSum, options: ExportOptions) -> Written:
    """Weights of normalised features; a missing value has the mean for default value."""
    means = model.inputs.mean.astype(np.float32).tolist()
    scales = model.inputs.scale.astype(np.float32).tolist()
    norms = [_normalizer(m, s) if (m, s) != (0.0, 1.0) else {} for m, s in zip(means, scales)]
    params = {"weights": dict(zip(model.feature_names, model.weights.tolist()))}
    written = _written("LinearModel", params, model.feature_names, norms, means, options, [])
    if model.constant:
        written.notes.append(f"Solr's scores are lower by {model.constant:g}: the format has no constant.")
        written.constant = model.constant
    return written


def _normalizer(mean: float, scale: float) -> Settings:
    params = {"avg": repr(mean), "std": repr(scale)}
    return {"norm": {"class": f"{_PACKAGE}.norm.StandardNormalizer", "params": params}}


def _normalised(values: Float32Array, feature: Settings) -> Float32Array:
    if "norm" not in feature:
        return values
    params = feature["norm"]["params"]
    with np.errstate(over="ignore"):  # a large value becomes infinite, which is above every threshold
        return (values - np.float32(params["avg"])) / np.float32(params["std"])


def _trees(model: TreeSum, options: ExportOptions, notes: list[str]) -> tuple[Settings, list[int]]:
    """The trees, and the power of two that each feature is multiplied by."""
    trees = [at_most(tree) for tree in model.folded().trees]
    columns = np.concatenate([tree.feature for tree in trees])
    wanted = np.concatenate([tree.threshold for tree in trees]).astype(np.float32)
    exponents = np.zeros(len(model.feature_names), dtype=np.int64)
    for column in np.unique(columns).tolist():
        exponents[column] = _exponent(np.unique(wanted[columns == column]))
    scaled = np.ldexp(wanted, exponents[columns]).astype(np.float32)
    written, exact = thresholds_for_solr(scaled)
    _report(model, columns, wanted, written, exact, options, notes)
    roots = []
    at = 0
    for tree in trees:
        part = written[at : at + tree.n_nodes]
        roots.append(_root(tree, part, model.feature_names, not options.no_missing))
        at += tree.n_nodes
    params: dict[str, Any] = {"trees": [{"weight": "1", "root": root} for root in roots]}
    if not options.no_missing:
        params = {"isNullSameAsZero": False, **params}
    return params, exponents.tolist()


def _report(
    model: TreeSum,
    columns: Array,
    wanted: Float32Array,
    written: Float32Array,
    exact: BoolArray,
    options: ExportOptions,
    notes: list[str],
) -> None:
    """Refuse or note thresholds that Solr does not reach."""
    around_zero = ~exact & (np.abs(wanted) <= _TINY) & (written + SLACK == 0.0) & (wanted > 0)
    if around_zero.any():
        notes.append(
            "Values above 0 and up to 1e-35 count as above 0 in Solr, and as 0 in the ranker "
            f"({int(around_zero.sum())} splits)."
        )
    unreachable = np.flatnonzero(~exact & ~around_zero)
    if not len(unreachable):
        return
    at = unreachable[0]
    message = (
        f"Solr adds 1e-6 to the thresholds it reads, and {len(unreachable)} of {len(wanted)} cannot be "
        f"written such that the sum is exact: {model.feature_names[columns[at]]!r} <= {wanted[at]!s} becomes "
        f"<= {written[at] + SLACK!s}, and values between the two go the other way"
    )
    if not options.approximate:
        raise ValueError(
            f"{message}; accept it with approximate=True (--approximate) if the feature has no such values"
        )
    notes.append(f"{message}.")


def _exponent(wanted: Float32Array) -> int:
    """Smallest power of two times which Solr reaches all `wanted`; 0 if there is none."""
    largest = float(np.abs(wanted).max(initial=0.0))
    for exponent in range(_MOST_EXPONENT):
        if largest * 2.0**exponent > LARGEST / 2:
            break
        if thresholds_for_solr(np.ldexp(wanted, exponent).astype(np.float32))[1].all():
            return exponent
    return 0


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


def _root(tree: PlainTree, written: Float32Array, names: Sequence[str], says_missing: bool) -> Settings:
    """Numbers are text: Solr's setters for JSON's numbers do not fit them."""

    def node(at: int) -> Settings:
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


def _feature(name: str, store: str, default: float | str) -> Settings:
    """A numeric field of the documents, to be replaced by a query where the feature is not one."""
    params = {"field": name, "defaultValue": default}
    return {"store": store, "name": name, "class": f"{_PACKAGE}.feature.FieldValueFeature", "params": params}


def _tree_scores(root: Settings, X: Float32Array, column: dict[str, int]) -> FloatArray:
    def step(node: Settings, rows: Array) -> float | tuple[Array, Any, Any]:
        if "feature" not in node:
            return float(np.float32(node["value"]))
        x = X[rows, column[node["feature"]]]
        goes_left = x <= np.float32(node["threshold"]) + SLACK
        goes_left = np.where(np.isnan(x), node.get("missing") == "left", goes_left)
        return goes_left, node["left"], node["right"]

    return walk(root, len(X), step)
