"""The learning-to-rank plug-ins of Elasticsearch and OpenSearch: bodies that create model and features.

The plug-ins read three kinds of models. ``xgboost`` (``model/xgboost+json``, XGBoost's dump) asks
``threshold > value`` in float32 and sends missing values where "missing" says. ``ranklib``
(``model/ranklib``) is RankLib's text, which takes a missing value for 0. ``model/linear`` holds one weight a
feature and no constant.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from lambdamart_kit.core.typing import Array, Float32Array, FloatArray, Settings
from lambdamart_kit.export.format import ExportOptions, LinearFormat, Written, as_json, walk
from lambdamart_kit.export.formats.ranklib import ranklib_scores, ranklib_text
from lambdamart_kit.export.model import Exportable, LinearSum, TreeSum
from lambdamart_kit.export.thresholds import below, sends_missing_as_zero
from lambdamart_kit.trees.plain_tree import PlainTree

_MOST_FEATURES = 10_000  # of a feature set
_RANKLIB, _XGBOOST, _LINEAR = "model/ranklib", "model/xgboost+json", "model/linear"


class Elasticsearch(LinearFormat):
    """Elasticsearch with the learning-to-rank plug-in of o19s.

    The file is the body of ``POST _ltr/_featureset/<store>/_createmodel``, the feature definitions that of
    ``POST _ltr/_featureset/<store>``.
    """

    title = "the learning-to-rank plug-in of Elasticsearch"
    holds = (TreeSum, LinearSum)
    flavours = ("xgboost", "ranklib")
    knows_missing: ClassVar[str] = "releases since February 2024 (o19s/elasticsearch-learning-to-rank#482)"

    def without_missing(self, options: ExportOptions) -> bool:
        """RankLib's trees take missing values for zero."""
        return self.flavour(options) == "ranklib"

    def write(self, model: Exportable, options: ExportOptions) -> Written:
        """The two request bodies."""
        if len(model.feature_names) > _MOST_FEATURES:
            raise ValueError(
                f"'X' must have at most {_MOST_FEATURES:,} features for {self.title}; the ranker has "
                f"{len(model.feature_names):,}"
            )
        kind, definition = _definition(model, self.flavour(options))
        body = {"model": {"name": options.name, "model": {"type": kind, "definition": definition}}}
        notes = _notes(model)
        if kind == _XGBOOST and not options.no_missing and _depends_on_missing(model):
            notes.append(
                f"A missing value goes where the ranker sends it in {self.knows_missing}; older plug-ins "
                "send it elsewhere."
            )
        features = as_json(_feature_set(model, options), indent=1)
        return Written(as_json(body), features, notes=notes, constant=_left_out(model))

    def scores(self, content: bytes, X: Float32Array, feature_names: Sequence[str]) -> FloatArray:
        """As the plug-in scores documents; see `Format.scores`."""
        model = json.loads(content)["model"]["model"]
        if model["type"] == _RANKLIB:
            return ranklib_scores(model["definition"], X)
        definition = json.loads(model["definition"])
        if model["type"] == _LINEAR:
            weights = np.array([np.float32(definition.get(name, 0.0)) for name in feature_names])
            linear: FloatArray = np.nan_to_num(X).astype(np.float64) @ weights.astype(np.float64)
            return linear
        return xgboost_dump_scores(definition["splits"], X, feature_names)


class OpenSearch(Elasticsearch):
    """OpenSearch with its learning-to-rank plug-in, which reads what that of Elasticsearch reads."""

    title = "the learning-to-rank plug-in of OpenSearch"
    knows_missing = "3.8 (opensearch-project/opensearch-learning-to-rank-base#378)"


def _definition(model: Exportable, flavour: str) -> tuple[str, str]:
    if isinstance(model, LinearSum):
        weights = dict(zip(model.feature_names, model.raw_weights.tolist()))
        return _LINEAR, as_json(weights).decode()
    assert isinstance(model, TreeSum)
    if flavour == "ranklib":
        return _RANKLIB, ranklib_text(model)
    # The plug-ins name few objectives; this one leaves the sum as it is.
    dump = {"objective": "rank:ndcg", "splits": xgboost_dump(model)}
    return _XGBOOST, as_json(dump).decode()


def _depends_on_missing(model: Exportable) -> bool:
    """Whether a missing value goes elsewhere than zero at some split."""
    trees = model.trees if isinstance(model, TreeSum) else ()
    return any(not sends_missing_as_zero(tree).all() for tree in trees)


def _left_out(model: Exportable) -> float:
    return model.raw_constant if isinstance(model, LinearSum) else 0.0


def _notes(model: Exportable) -> list[str]:
    if isinstance(model, LinearSum):
        constant = model.raw_constant
        if not constant:
            return []
        return [f"The engine's scores are lower by {constant:g}: the format has no constant."]
    lowest = model.lowest_score if isinstance(model, TreeSum) else 0.0
    if lowest >= 0.0:
        return []
    return [
        f"Scores may be negative, down to {lowest:.6g}, and Lucene may refuse negative scores; "
        "shift='positive' (--shift positive) adds a constant that avoids them."
    ]


def _feature_set(model: Exportable, options: ExportOptions) -> Settings:
    """Features that are numeric fields of the documents, to be replaced by queries where they are not."""
    features = [
        {
            "name": name,
            "params": [],
            "template_language": "mustache",
            "template": {
                "function_score": {
                    "query": {"exists": {"field": name}},
                    "field_value_factor": {"field": name},
                    "boost_mode": "replace",
                }
            },
        }
        for name in model.feature_names
    ]
    return {"featureset": {"name": options.store, "features": features}}


def xgboost_dump(model: TreeSum) -> list[Settings]:
    """The trees as ``xgboost.Booster.get_dump(dump_format="json")`` shows them."""
    return [_dumped(below(tree), model.feature_names) for tree in model.folded().trees]


def _dumped(tree: PlainTree, names: Sequence[str]) -> Settings:
    """Nested nodes, numbered in the order in which they are written."""
    n_written = 0

    def dump(node: int, depth: int) -> Settings:
        nonlocal n_written
        number = n_written
        n_written += 1
        if node < 0:
            return {"nodeid": number, "leaf": float(np.float32(tree.value[~node]))}
        yes = dump(int(tree.left[node]), depth + 1)
        no = dump(int(tree.right[node]), depth + 1)
        missing = yes if tree.missing_left[node] else no
        return {
            "nodeid": number,
            "depth": depth,
            "split": names[int(tree.feature[node])],
            "split_condition": float(tree.threshold[node]),
            "yes": yes["nodeid"],
            "no": no["nodeid"],
            "missing": missing["nodeid"],
            "children": [yes, no],
        }

    return dump(0 if tree.n_nodes else ~0, 0)


def xgboost_dump_scores(
    trees: Sequence[Settings], X: Float32Array, feature_names: Sequence[str]
) -> FloatArray:
    """Scores of dumped trees: float32, left where the threshold is above the value."""
    column = {name: j for j, name in enumerate(feature_names)}

    def step(node: Settings, rows: Array) -> float | tuple[Array, Any, Any]:
        if "leaf" in node:
            return float(np.float32(node["leaf"]))
        x = X[rows, column[node["split"]]]
        goes_left = np.float32(node["split_condition"]) > x
        goes_left = np.where(np.isnan(x), node["missing"] == node["yes"], goes_left)
        return goes_left, node["children"][0], node["children"][1]

    scores = np.zeros(len(X))
    for tree in trees:
        scores += walk(tree, len(X), step)
    return scores
