"""Search engines in miniature: each scores rows one by one, by the rules of the engine's own code.

Nothing here is shared with `lambdamart_kit.export`. A function takes the bytes of an exported file, the names
of the columns and the rows, and returns what the engine would score. Values that a rule compares or adds in
float32 are Python floats that hold a float32 number, so comparisons are exact.
"""

from __future__ import annotations

import ctypes
import json
import math
import struct
import subprocess
from xml.dom import minidom

import numpy as np


def float32(number):
    """Round to float32, as a cast does."""
    return struct.unpack("f", struct.pack("f", number))[0]


def sum_of_trees(trees, rows, step):
    """Sum in float32, tree by tree; `step` returns a leaf's value or the next node."""
    scores = []
    for row in rows.tolist():
        total = 0.0
        for node in trees:
            while isinstance(node := step(node, row), tuple | list | dict):
                pass
            total = float32(total + node)
        scores.append(total)
    return np.array(scores)


# ------------------------------------------------------------------------------------------------- RankLib


def ranklib(content, names, rows):
    """Ensemble(String) and Split.eval of RankLib; LinearRegRank.loadFromString and eval."""
    lines = content.decode().split("\n")
    if lines[0] == "## Linear Regression":
        (line,) = [line for line in lines if line.strip() and not line.startswith("##")]
        weights = {int(key): float(value) for key, value in (pair.split(":") for pair in line.split(" "))}
        rows = np.nan_to_num(rows).astype(np.float64)
        terms = [weights[fid] * rows[:, fid - 1] for fid in sorted(weights) if fid > 0]
        return weights[0] + np.sum(terms, axis=0)
    assert lines[0] == "## LambdaMART"
    text = "".join(line for line in lines if not line.startswith("#"))
    trees = [
        _ranklib_node(tree.firstChild, float32(float(tree.getAttribute("weight"))))
        for tree in minidom.parseString(text).getElementsByTagName("tree")
    ]

    def step(node, row):
        fid, threshold, left, right = node
        value = row[fid - 1]
        value = 0.0 if math.isnan(value) else value
        return left if value <= threshold else right

    return sum_of_trees([("root", tree) for tree in trees], rows, lambda n, r: _rooted(n, r, step))


def _rooted(node, row, step):
    """A tree may be a leaf at once, so its root is wrapped in a pair."""
    if node[0] == "root":
        return node[1]
    return step(node, row)


def _ranklib_node(node, weight):
    first = node.firstChild
    if first.nodeName.lower() == "feature":  # children by place, so a blank between tags would be one
        feature, threshold, left, right = (node.childNodes.item(k) for k in range(4))
        fid = int(feature.firstChild.nodeValue.strip())
        bound = float32(float(threshold.firstChild.nodeValue.strip()))
        return fid, bound, _ranklib_node(left, weight), _ranklib_node(right, weight)
    return float32(float(first.firstChild.nodeValue.strip())) * weight


# ------------------------------------------------------------------- plug-ins of Elasticsearch and OpenSearch


def plugin(content, names, rows):
    """The parsers model/xgboost+json, model/ranklib and model/linear, and their rankers."""
    body = json.loads(content)["model"]
    assert isinstance(body["name"], str)
    kind, definition = body["model"]["type"], body["model"]["definition"]
    if kind == "model/ranklib":
        return ranklib(definition.encode(), names, rows)
    if kind == "model/linear":
        weights = json.loads(definition)
        assert set(weights) <= set(names)
        total = np.zeros(len(rows), dtype=np.float32)
        for j, name in enumerate(names):
            total += np.float32(weights.get(name, 0.0)) * np.nan_to_num(rows[:, j])
        return total
    assert kind == "model/xgboost+json"
    model = json.loads(definition)
    assert set(model) == {"objective", "splits"}
    assert model["objective"] in ("rank:ndcg", "rank:map", "rank:pairwise", "binary:logitraw", "reg:linear")
    return xgboost_dump(json.dumps(model["splits"]).encode(), names, rows)


_NODE = {"nodeid", "depth", "split", "split_condition", "yes", "no", "missing", "children", "leaf"}


def xgboost_dump(content, names, rows):
    """XGBoostJsonParser and NaiveAdditiveDecisionTree: left where threshold > value, all in float32."""
    column = {name: j for j, name in enumerate(names)}

    def build(node):
        assert set(node) <= _NODE
        if "leaf" in node:
            assert isinstance(node["nodeid"], int)
            return float32(node["leaf"])
        yes, no = node["children"]
        assert (yes["nodeid"], no["nodeid"]) == (node["yes"], node["no"])
        assert node["missing"] in (node["yes"], node["no"])
        assert isinstance(node["depth"], int)
        threshold = float32(node["split_condition"])
        assert math.isfinite(threshold)
        return column[node["split"]], threshold, node["missing"] == node["yes"], build(yes), build(no)

    trees = [("root", build(tree)) for tree in json.loads(content)]
    assert trees

    def step(node, row):
        feature, threshold, missing_left, left, right = node
        value = row[feature]
        if math.isnan(value):
            return left if missing_left else right
        return left if threshold > value else right

    return sum_of_trees(trees, rows, lambda n, r: _rooted(n, r, step))


# --------------------------------------------------------------------------------------- Elasticsearch itself


def _java_order(value):
    """Key of Double.compare: -0.0 before 0.0, NaN after everything."""
    return (1, 0.0, 0) if math.isnan(value) else (0, value, 0 if math.copysign(1.0, value) < 0 else 1)


def elastic(content, names, rows):
    """TreeInferenceModel and EnsembleInferenceModel: float64, and a default side where there is no value."""
    body = json.loads(content)
    extractors = body["inference_config"]["learning_to_rank"]["feature_extractors"]
    extracted = [e["query_extractor"]["feature_name"] for e in extractors]
    assert len(set(extracted)) == len(extracted)
    ensemble = body["definition"]["trained_model"]["ensemble"]
    assert ensemble["aggregate_output"] == {"weighted_sum": {}}
    assert ensemble["feature_names"] == list(names) == extracted
    scores = []
    trees = [part["tree"] for part in ensemble["trained_models"]]
    for tree in trees:
        structure = tree["tree_structure"]
        assert [node["node_index"] for node in structure] == list(range(len(structure)))
        assert all("-0.0" not in repr(node.get("threshold", 0.0)).split("e") for node in structure)
    for row in rows.tolist():
        total = 0.0
        for tree in trees:
            structure = tree["tree_structure"]
            node = structure[0]
            while "leaf_value" not in node:
                value = row[node["split_feature"]]
                if not math.isfinite(value):
                    left = node["default_left"]
                else:
                    assert node["decision_type"] == "lte"
                    left = _java_order(value) <= _java_order(node["threshold"])
                node = structure[node["left_child"] if left else node["right_child"]]
            total += node["leaf_value"]
        scores.append(float32(total))
    return np.array(scores)


# ---------------------------------------------------------------------------------------------------- Solr

SLACK = float32(1e-6)


def solr(content, names, rows):
    """MultipleAdditiveTreesModel and LinearModel: float32, and a slack that is added to thresholds."""
    model = json.loads(content)
    column = {feature["name"]: j for j, feature in enumerate(model["features"])}
    assert len(column) == len(model["features"])
    place = [list(names).index(name) for name in column]
    rows = rows[:, place]
    params = model["params"]
    null_is_zero = params.get("isNullSameAsZero", True)
    assert isinstance(null_is_zero, bool)
    if null_is_zero:
        rows = np.nan_to_num(rows)  # defaultValue 0 of the feature
    for j, feature in enumerate(model["features"]):  # StandardNormalizer, in float32
        if "norm" in feature:
            assert feature["norm"]["class"].endswith(".norm.StandardNormalizer")
            mean, spread = (np.float32(feature["norm"]["params"][name]) for name in ("avg", "std"))
            assert spread > 0
            with np.errstate(over="ignore"):
                rows[:, j] = (rows[:, j] - mean) / spread
    if model["class"].endswith(".LinearModel"):
        assert set(params["weights"]) == set(column)
        total = np.zeros(len(rows), dtype=np.float32)
        for name, j in column.items():
            total += np.float32(params["weights"][name]) * np.nan_to_num(rows[:, j])
        return total
    assert model["class"] == "org.apache.solr.ltr.model.MultipleAdditiveTreesModel"

    def build(node):
        if "feature" not in node:
            assert isinstance(node["value"], str)
            assert "left" not in node
            return float32(float(node["value"]))
        assert isinstance(node["threshold"], str)
        threshold = float32(float32(float(node["threshold"])) + SLACK)
        left, right = build(node["left"]), build(node["right"])
        return column[node["feature"]], threshold, node.get("missing"), left, right

    def step(node, row):
        feature, threshold, missing, left, right = node
        value = row[feature]
        if math.isnan(value):
            return {"left": left, "right": right}[missing]  # a null here would end the query
        return left if value <= threshold else right

    assert all(tree["weight"] == "1" for tree in params["trees"])
    trees = [("root", build(tree["root"])) for tree in params["trees"]]
    return sum_of_trees(trees, rows, lambda n, r: _rooted(n, r, step))


# --------------------------------------------------------------------------------------------------- Vespa


def vespa(content, names, rows):
    """LightGBMParser and XGBoostParser make ranking expressions; these are in float64.

    A large forest is compiled to float32 thresholds instead, so both are tried and have to agree.
    """
    model = json.loads(content)
    column = {name: j for j, name in enumerate(names)}
    if isinstance(model, list):

        def build(node, cast):
            if "leaf" in node:
                return float(node["leaf"])
            yes, no = node["children"]
            missing_left = node["missing"] == node["yes"]
            bound = cast(node["split_condition"])
            return column[node["split"]], bound, missing_left, build(yes, cast), build(no, cast)

        structures = model
    else:
        assert {"objective", "feature_names", "pandas_categorical", "tree_info"} <= set(model)
        assert model["objective"] == "lambdarank"  # others get a sigmoid or an exponential

        def build(node, cast):
            if "leaf_value" in node:
                return float(node["leaf_value"])
            assert node["decision_type"] == "<="
            feature = column[model["feature_names"][node["split_feature"]]]
            left, right = build(node["left_child"], cast), build(node["right_child"], cast)
            return feature, cast(node["threshold"]), node["default_left"], left, right

        structures = [tree["tree_structure"] for tree in model["tree_info"]]

    def step(node, row):
        feature, threshold, missing_left, left, right = node
        value = row[feature]
        if missing_left:
            return left if not value >= threshold else right
        return left if value < threshold else right

    def total(cast):
        trees = [build(structure, cast) for structure in structures]
        scores = np.zeros(len(rows))
        for i, row in enumerate(rows.tolist()):
            for tree in trees:
                node = tree
                while isinstance(node, tuple):
                    node = step(node, row)
                scores[i] += node
        return scores

    scores = total(float)
    assert np.array_equal(scores, total(float32))
    return scores


# -------------------------------------------------------------------------------- libraries, as they are


def lightgbm(content, names, rows):
    import lightgbm as lgb

    return lgb.Booster(model_str=content.decode()).predict(rows, raw_score=True, num_threads=1)


def xgboost(content, names, rows):
    import xgboost as xgb

    booster = xgb.Booster()
    booster.load_model(bytearray(content))
    booster.set_param({"nthread": 1})
    kinds = booster.feature_types
    matrix = xgb.DMatrix(
        rows, feature_names=list(names), feature_types=kinds, enable_categorical=True, nthread=1
    )
    return booster.predict(matrix, output_margin=True)


def onnx(content, names, rows):
    import pytest

    session = pytest.importorskip("onnxruntime").InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {"X": rows})[0].ravel()


def c(content, names, rows, *, folder, compiler):
    """Compiled without a warning, and called row by row."""
    source = folder / "model.c"
    source.write_bytes(content)
    library = folder / "model.so"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, "-o", str(library), str(source), "-lm"], check=True)
    function = ctypes.CDLL(str(library)).ranker_score
    function.restype = ctypes.c_double
    function.argtypes = [ctypes.c_void_p]
    rows = np.ascontiguousarray(rows, dtype=np.float64)
    stride = rows.strides[0]
    return np.array([function(rows.ctypes.data + i * stride) for i in range(len(rows))])


ENGINES = {
    "elasticsearch": plugin,
    "opensearch": plugin,
    "elasticsearch-native": elastic,
    "solr": solr,
    "vespa": vespa,
    "ranklib": ranklib,
    "lightgbm": lightgbm,
    "xgboost": xgboost,
    "onnx": onnx,
    "c": c,
}
