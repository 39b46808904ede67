"""`ranker.export` for every ranker and format, what is refused, and the command."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from export_engines import ENGINES
from typer.testing import CliRunner

from lambdamart_kit import (
    LambdaMART,
    LightGBMRanker,
    LinearRanker,
    NeuralRanker,
    PointwiseRanker,
    RewardModel,
    XGBoostRanker,
)
from lambdamart_kit.cli.app import app
from lambdamart_kit.datasets import write_letor
from lambdamart_kit.datasets.dataset import RankingDataset
from lambdamart_kit.export import EXPORTS, export_model, find_format
from lambdamart_kit.export.format import engine_names
from lambdamart_kit.export.model import TreeSum
from lambdamart_kit.trees.plain_tree import PlainTree, averaged

TREES = {
    "native": lambda: LambdaMART(n_estimators=8, num_leaves=8, n_jobs=1),
    "symmetric": lambda: LambdaMART(n_estimators=8, booster_params={"grow_policy": "symmetric"}, n_jobs=1),
    "lightgbm": lambda: LambdaMART(booster="lightgbm", n_estimators=8, num_leaves=8, n_jobs=1),
    "xgboost": lambda: LambdaMART(booster="xgboost", n_estimators=8, num_leaves=8, n_jobs=1),
    "bag": lambda: LambdaMART(n_bags=3, n_estimators=4, num_leaves=8, n_jobs=1),
    "bag of lightgbm": lambda: LambdaMART(
        n_bags=3, booster="lightgbm", n_estimators=4, num_leaves=8, n_jobs=1
    ),
    "bag of xgboost": lambda: LambdaMART(n_bags=3, booster="xgboost", n_estimators=4, num_leaves=8, n_jobs=1),
    "LightGBMRanker": lambda: LightGBMRanker(n_estimators=8, num_leaves=8, n_jobs=1),
    "XGBoostRanker": lambda: XGBoostRanker(n_estimators=8, num_leaves=8, n_jobs=1),
}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 5)).astype(np.float32)
    X[:, 1] = np.maximum(X[:, 1], 0)
    X[:, 3] = rng.integers(-2, 4, 600)
    y = np.digitize(X[:, 0] + X[:, 1] + 0.3 * X[:, 3], [0, 1, 2])
    X[rng.random(600) < 0.2, 2] = np.nan
    return X, y, np.arange(600) // 20


@pytest.fixture(scope="module")
def fitted(data):
    made = {}

    def fit(name):
        if name not in made:
            X, y, qid = data
            made[name] = TREES[name]().fit(X, y, qid=qid)
        return made[name]

    return fit


def engine_scores(name, path, names, rows):
    if name == "onnx":
        pytest.importorskip("onnxruntime")
    more = {}
    if name == "c":
        more = {"folder": path.parent, "compiler": shutil.which("gcc") or shutil.which("cc")}
        if more["compiler"] is None:
            pytest.skip("no C compiler")
    return ENGINES[name](path.read_bytes(), names, rows, **more)


def export(ranker, name, path, **options):
    if name == "onnx":
        pytest.importorskip("onnx")
    return ranker.export(path, format=name, **options)


@pytest.mark.parametrize("name", EXPORTS)
@pytest.mark.parametrize("trees", TREES)
def test_every_tree_ranker_scores_the_same_in_every_format(fitted, data, trees, name, tmp_path):
    X, _, _ = data
    ranker = fitted(trees)
    only_zero = name == "ranklib"  # it takes a missing value for 0
    rows = np.nan_to_num(X) if only_zero else X
    exported = export(ranker, name, tmp_path / "m", no_missing=only_zero)
    assert exported.feature_names == ("f1", "f2", "f3", "f4", "f5")
    scores = engine_scores(name, tmp_path / "m", exported.feature_names, rows)
    np.testing.assert_allclose(scores, ranker.predict(rows), rtol=0, atol=1e-6)


def test_pointwise_rankers(data, tmp_path):
    X, y, qid = data
    ranker = PointwiseRanker(n_jobs=1).fit(X, y, qid=qid)
    exported = ranker.export(tmp_path / "m.json", format="xgboost")
    scores = engine_scores("xgboost", exported.path, exported.feature_names, X)
    np.testing.assert_allclose(scores, ranker.predict(X), rtol=0, atol=1e-5)  # 300 trees in float32


@pytest.mark.parametrize("name", EXPORTS)
def test_the_check_passes_and_counts_rows(fitted, data, name, tmp_path):
    if name == "c" and not (shutil.which("gcc") or shutil.which("cc")):
        pytest.skip("no C compiler")
    if name == "onnx":
        pytest.importorskip("onnxruntime")
    ranker = fitted("native")
    exported = export(ranker, name, tmp_path / "m", check=data[0], no_missing=name == "ranklib")
    assert exported.check.n_different == 0
    assert exported.check.n_rows > 2000  # 2,000 are made on thresholds
    assert exported.check.largest_difference < 1e-6


def test_the_check_finds_a_wrong_threshold(fitted, data, tmp_path, monkeypatch):
    from lambdamart_kit.export.formats import vespa

    # What Vespa scores if the dump holds the thresholds of `<=`, as LightGBM writes them.
    monkeypatch.setattr(vespa, "below", vespa.__dict__["below"].__globals__["at_most"])
    with pytest.raises(ValueError, match=r"[1-9]\d* of 2,600 rows are scored differently"):
        fitted("native").export(tmp_path / "m", format="vespa", check=data[0])
    assert not (tmp_path / "m").exists()


def test_onnx_of_lightgbm_trees_needs_no_objective(fitted, data, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    ranker = fitted("lightgbm")
    ranker.export(tmp_path / "m.onnx", format="onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    (scores,) = session.run(["score"], {"X": data[0]})
    np.testing.assert_allclose(scores.ravel(), ranker.predict(data[0]), rtol=0, atol=1e-6)


# ---------------------------------------------------------------------------------------------- categories


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(1)
    colours = ["red", "green", "blue", "grey", "black"]
    frame = pd.DataFrame({"colour": pd.Categorical(rng.choice(colours, 800)), "x": rng.normal(size=800)})
    y = frame["colour"].isin(["red", "blue"]).astype(int) + (frame["x"] > 0.5)
    later = frame.iloc[:60].copy()
    words = later["colour"].astype(str).to_numpy()
    words[::7] = "never seen"
    words[::11] = None
    later["colour"] = pd.Categorical(
        words, categories=["blue", "never seen", "black", "red", "grey", "green"]
    )
    return frame, y, np.arange(800) // 20, later


@pytest.mark.parametrize("trees", [name for name in TREES if name != "symmetric"])
@pytest.mark.parametrize("name", [name for name in EXPORTS if find_format(name).holds_categories])
def test_formats_with_categories_take_codes(frames, trees, name, tmp_path):
    frame, y, qid, later = frames
    ranker = TREES[trees]().fit(frame, y, qid=qid)
    of_ranker = ranker.model_.plain_trees()
    with_listed = any(tree.missing_left[[c is not None for c in tree.categories]].any() for tree in of_ranker)
    if name == "lightgbm" and with_listed:
        assert "xgb" in trees.lower()
        with pytest.raises(ValueError, match="LightGBM sends a missing category to the right"):
            ranker.export(tmp_path / "m", format=name)
        return
    exported = export(ranker, name, tmp_path / "m")
    code = {level: code for code, level in enumerate(frame["colour"].cat.categories)}
    codes = [code.get(level, np.nan) for level in later["colour"]]
    rows = np.column_stack([codes, later["x"]]).astype(np.float32)
    scores = engine_scores(name, tmp_path / "m", exported.feature_names, rows)
    np.testing.assert_allclose(scores, ranker.predict(later), rtol=0, atol=1e-6)


@pytest.mark.parametrize("trees", [name for name in TREES if name != "symmetric"])
def test_onnx_of_a_thousand_rows_with_missing_values_and_categories(trees, tmp_path):
    """What converters made for the libraries' own models get wrong for XGBoost, see docs/deploying.md."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 5)).astype(np.float32)
    X[rng.random(X.shape) < 0.2] = np.nan
    code = rng.integers(0, 12, 1000)
    y = np.digitize(np.nan_to_num(X[:, 0]) + np.isnan(X[:, 1]) + (code % 3 == 0), [0, 1, 2])
    frame = pd.DataFrame(X).rename(columns=str)
    frame["kind"] = pd.Categorical.from_codes(
        np.where(rng.random(1000) < 0.1, -1, code), list("abcdefghijkl")
    )
    ranker = TREES[trees]().fit(frame, y, qid=np.arange(1000) // 20)
    exported = export(ranker, "onnx", tmp_path / "m.onnx")
    codes = frame["kind"].cat.codes.replace(-1, np.nan)
    rows = np.column_stack([X, codes]).astype(np.float32)
    scores = engine_scores("onnx", tmp_path / "m.onnx", exported.feature_names, rows)
    np.testing.assert_allclose(scores, ranker.predict(frame), rtol=0, atol=2e-6)


def test_onnxmltools_takes_a_ranker_of_xgboost_for_a_classifier(fitted):
    """The warning in docs/deploying.md can go when this fails."""
    onnxmltools = pytest.importorskip("onnxmltools")
    from onnxmltools.convert.common.data_types import FloatTensorType

    with np.errstate(divide="ignore"):
        model = onnxmltools.convert_xgboost(
            fitted("XGBoostRanker").booster_, initial_types=[("X", FloatTensorType([None, 5]))]
        )
    assert [output.name for output in model.graph.output] == ["label", "probabilities"]


@pytest.mark.parametrize("booster", ["native", "lightgbm"])
def test_lightgbm_itself_finds_the_codes_of_other_frames(frames, booster, tmp_path):
    import lightgbm

    frame, y, qid, later = frames
    ranker = LambdaMART(booster=booster, n_estimators=8, n_jobs=1).fit(frame, y, qid=qid)
    ranker.export(tmp_path / "m.txt", format="lightgbm")
    loaded = lightgbm.Booster(model_file=tmp_path / "m.txt")
    assert np.array_equal(loaded.predict(later, raw_score=True), ranker.predict(later))


@pytest.mark.parametrize("name", [name for name in EXPORTS if not find_format(name).holds_categories])
def test_formats_without_categories_refuse_them_by_name(frames, name, tmp_path):
    frame, y, qid, _ = frames
    ranker = LambdaMART(n_estimators=3, n_jobs=1).fit(frame, y, qid=qid)
    with pytest.raises(ValueError, match=r"column 'colour' has them.*xgboost, lightgbm, onnx, c"):
        ranker.export(tmp_path / "m", format=name)


def test_explanations_of_the_exported_lightgbm_text(fitted, data, tmp_path):
    import lightgbm

    ranker = fitted("native")
    ranker.export(tmp_path / "m.txt", format="lightgbm")
    loaded = lightgbm.Booster(model_file=tmp_path / "m.txt")
    own = ranker.booster_
    assert np.array_equal(loaded.predict(data[0], pred_contrib=True), own.predict(data[0], pred_contrib=True))
    gains = own.feature_importance("gain")  # LightGBM's text has six digits of them
    np.testing.assert_allclose(loaded.feature_importance("gain"), gains, rtol=1e-5)


# ------------------------------------------------------------------------------------- what is in the leaves


def test_bags_are_concatenated_and_averaged(data, tmp_path):
    X, y, qid = data
    bags = [
        LambdaMART(n_estimators=4, random_state=s, subsample=0.5, n_jobs=1).fit(X, y, qid=qid) for s in (0, 1)
    ]
    trees = averaged([bag.model_.plain_trees() for bag in bags])
    export_model(TreeSum(tuple(trees), ("a", "b", "c", "d", "e")), tmp_path / "m.json", "solr")
    scores = ENGINES["solr"]((tmp_path / "m.json").read_bytes(), list("abcde"), X)
    np.testing.assert_allclose(scores, (bags[0].predict(X) + bags[1].predict(X)) / 2, rtol=0, atol=1e-6)


def test_xgboost_dart_weights_and_base_score_are_in_the_leaves(data):
    import xgboost as xgb

    from lambdamart_kit.boosters.xgboost_trees import plain_trees_of_xgboost

    X, y, qid = data
    matrix = xgb.DMatrix(X, label=y, qid=qid)
    settings = {"booster": "dart", "rate_drop": 0.5, "objective": "rank:ndcg", "base_score": 0.25, "seed": 3}
    booster = xgb.train(settings, matrix, 10)
    trees = plain_trees_of_xgboost(bytes(booster.save_raw("json")))
    scores = np.sum([tree.predict(X) for tree in trees], axis=0)
    np.testing.assert_allclose(scores, booster.predict(matrix, output_margin=True), rtol=0, atol=1e-5)


def test_lightgbm_random_forests_are_averaged(data):
    import lightgbm as lgb

    from lambdamart_kit.trees.plain_tree import plain_trees_of_lightgbm

    X, y, _ = data
    settings = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5, "verbosity": -1}
    booster = lgb.train({**settings, "objective": "regression"}, lgb.Dataset(X, y), 5)
    trees = plain_trees_of_lightgbm(booster.model_to_string())
    scores = np.sum([tree.predict(X) for tree in trees], axis=0)
    np.testing.assert_allclose(scores, booster.predict(X), rtol=0, atol=1e-9)


def test_catboost_trees_are_plain_trees_too(data, tmp_path):
    pytest.importorskip("catboost")
    from lambdamart_kit import CatBoostRanker

    X, y, qid = data
    for settings in ({}, {"num_leaves": 6, "loss": "QueryRMSE"}):
        ranker = CatBoostRanker(n_estimators=6, n_jobs=1, **settings).fit(X, y, qid=qid)
        ranker.export(tmp_path / "m.json", format="vespa", check=X)
        scores = ENGINES["vespa"]((tmp_path / "m.json").read_bytes(), ["f1", "f2", "f3", "f4", "f5"], X)
        np.testing.assert_allclose(scores, ranker.predict(X), rtol=0, atol=1e-9)


def test_catboost_with_categories_is_refused(frames, tmp_path):
    pytest.importorskip("catboost")
    from lambdamart_kit import CatBoostRanker

    frame, y, qid, _ = frames
    ranker = CatBoostRanker(n_estimators=10, n_jobs=1, booster_params={"one_hot_max_size": 2}).fit(
        frame, y, qid=qid
    )
    with pytest.raises(ValueError, match="'categorical_features' must be empty to export a CatBoost model"):
        ranker.export(tmp_path / "m", format="c")


def test_a_constant_model_and_a_shift(tmp_path):
    model = TreeSum((PlainTree.of_constant(-0.5), PlainTree.of_constant(0.25)), ("a",))
    rows = np.array([[1.0], [np.nan]], dtype=np.float32)
    for name in EXPORTS:
        if name == "onnx":
            continue
        made = export_model(model, tmp_path / name, name, shift="positive")
        assert any("0.25 was added" in note for note in made.notes)
        assert engine_scores(name, tmp_path / name, ("a",), rows) == pytest.approx([0.0, 0.0], abs=1e-6)


def test_no_score_is_negative_after_a_positive_shift(fitted, data, tmp_path):
    ranker = fitted("native")
    plain = ranker.export(tmp_path / "a", format="elasticsearch")
    assert "Scores may be negative" in plain.notes[0]
    assert "older plug-ins send it elsewhere" in plain.notes[1]
    assert len(ranker.export(tmp_path / "a", format="opensearch", no_missing=True).notes) == 1
    ranker.export(tmp_path / "b", format="elasticsearch", shift="positive", check=data[0])
    scores = ENGINES["elasticsearch"]((tmp_path / "b").read_bytes(), plain.feature_names, data[0])
    assert scores.min() >= 0
    expected = ranker.predict(data[0])
    np.testing.assert_allclose(scores - scores[0], expected - expected[0], rtol=0, atol=1e-6)


# ------------------------------------------------------------------------------ linear functions and networks


@pytest.fixture(scope="module")
def linear(data):
    X, y, qid = data
    return LinearRanker("pairwise", n_jobs=1).fit(X, y, qid=qid)


@pytest.mark.parametrize("name", ["elasticsearch", "opensearch", "solr", "ranklib", "onnx", "c"])
def test_linear_rankers(linear, data, name, tmp_path):
    rows = np.nan_to_num(data[0])
    holds_mean = name in ("solr", "onnx", "c")
    exported = export(linear, name, tmp_path / "m", no_missing=not holds_mean)
    scores = engine_scores(name, tmp_path / "m", exported.feature_names, rows)
    expected = linear.predict(rows)
    if name in ("elasticsearch", "opensearch"):
        constant = float(linear.coef_ @ linear.mean_)
        assert f"lower by {-constant:g}" in exported.notes[0]
        expected = expected + constant
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["onnx", "c"])
def test_linear_rankers_with_missing_values_and_logarithms(data, name, tmp_path):
    X, y, qid = data
    ranker = LinearRanker("pairwise", input_transform="log1p", n_jobs=1).fit(X, y, qid=qid)
    exported = export(ranker, name, tmp_path / "m")
    scores = engine_scores(name, tmp_path / "m", exported.feature_names, X)
    np.testing.assert_allclose(scores, ranker.predict(X), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="'log1p'"):
        ranker.export(tmp_path / "s", format="solr")


def test_solr_takes_the_mean_for_a_missing_value_of_a_linear_ranker(linear, data, tmp_path):
    exported = linear.export(tmp_path / "m.json", format="solr", check=data[0])
    features = json.loads(exported.features_path.read_text())
    rows = np.array(data[0])
    for j, feature in enumerate(features):  # what the feature store extracts where the field is missing
        rows[np.isnan(rows[:, j]), j] = feature["params"]["defaultValue"]
    scores = ENGINES["solr"]((tmp_path / "m.json").read_bytes(), exported.feature_names, rows)
    np.testing.assert_allclose(scores, linear.predict(data[0]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["elasticsearch", "ranklib"])
def test_linear_rankers_are_refused_where_missing_is_zero(linear, name, tmp_path):
    with pytest.raises(ValueError, match=r"takes a missing value of 'f1' for its mean.*no_missing=True"):
        linear.export(tmp_path / "m", format=name)


def test_shares_of_training_rows_are_in_no_format(data, tmp_path):
    X, y, qid = data
    ranker = LinearRanker("pairwise", input_transform="quantile", n_jobs=1).fit(X, y, qid=qid)
    with pytest.raises(ValueError, match="'input_transform' must not be 'quantile'"):
        ranker.export(tmp_path / "m", format="c")


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
def test_networks_go_to_onnx_only(data, activation, tmp_path):
    X, y, qid = data
    ranker = NeuralRanker(hidden_layer_sizes=(6, 4), activation=activation, max_iter=2, n_jobs=1)
    ranker.fit(X, y, qid=qid)
    with pytest.raises(
        ValueError, match="'format' must be one that holds a neural network: onnx; Solr holds"
    ):
        ranker.export(tmp_path / "m", format="solr")
    exported = export(ranker, "onnx", tmp_path / "m.onnx")
    scores = engine_scores("onnx", tmp_path / "m.onnx", exported.feature_names, X)
    np.testing.assert_allclose(scores, ranker.predict(X), rtol=0, atol=1e-6)


# ------------------------------------------------------------------------------------------ reward models


def preference_pairs(nuisance=False):
    from lambdamart_kit import PreferencePairs

    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4)).astype(np.float32)
    better = X[::2, 0] + X[::2, 2] - X[1::2, 0] - X[1::2, 2] > rng.logistic(size=200) / 3
    first = np.arange(0, 400, 2)
    return X, PreferencePairs.from_indices(X, first + ~better, first + better)


@pytest.mark.parametrize("nuisance", [None, [1]])
@pytest.mark.parametrize("scorer", ["trees", "linear"])
def test_reward_models(scorer, nuisance, tmp_path):
    X, pairs = preference_pairs()
    model = RewardModel(scorer, n_estimators=6, n_bags=2, nuisance=nuisance, random_state=0, n_jobs=1)
    model.fit_pairs(pairs)
    exported = model.export(tmp_path / "m.json", format="solr", no_missing=True, check=X)
    assert exported.check.n_different == 0
    scores = ENGINES["solr"]((tmp_path / "m.json").read_bytes(), exported.feature_names, X)
    np.testing.assert_allclose(scores + _lower_by(exported), model.predict(X), rtol=0, atol=1e-5)


def _lower_by(exported):
    text = next((note for note in exported.notes if "lower by" in note), "lower by 0: ")
    return float(text.split("lower by ")[1].split(":")[0])


# ------------------------------------------------------------------------------------------------- refusals


def test_missing_values_that_go_elsewhere_than_zero_are_refused(fitted, tmp_path):
    ranker = fitted("native")
    for name, options in (("ranklib", {}), ("elasticsearch", {"flavour": "ranklib"})):
        with pytest.raises(ValueError, match=r"sends missing values of 'f\d' to another side than 0"):
            ranker.export(tmp_path / "m", format=name, **options)


def test_sparse_xgboost_trees_that_take_zero_for_missing_are_refused(data, tmp_path):
    from scipy.sparse import csr_matrix

    X, y, qid = data
    ranker = LambdaMART(booster="xgboost", n_estimators=5, n_jobs=1)
    ranker.fit(csr_matrix(np.nan_to_num(X) * (np.abs(np.nan_to_num(X)) > 0.5)), y, qid=qid)
    with pytest.raises(ValueError, match="'X' must not be a sparse matrix at fit for XGBoost trees"):
        ranker.export(tmp_path / "m", format="c")


def test_zero_as_missing_is_refused(data, tmp_path):
    X, y, qid = data
    ranker = LambdaMART(
        booster="lightgbm", n_estimators=5, booster_params={"zero_as_missing": True}, n_jobs=1
    )
    ranker.fit(np.round(X), y, qid=qid)
    with pytest.raises(ValueError, match="'zero_as_missing' must be off"):
        ranker.export(tmp_path / "m", format="c")


def test_mistakes_name_the_parameter(fitted, tmp_path):
    ranker = fitted("native")
    for pattern, options in {
        "'format' must be one of elasticsearch, .*; got 'slor'": {"format": "slor"},
        "'flavour' of Solr must be one of: none; got 'x'": {"format": "solr", "flavour": "x"},
        "'name' must be of letters": {"format": "c", "name": "a b"},
        "'path' must not end in .profile": {"format": "vespa", "path": tmp_path / "m.profile"},
        "'feature_names' must hold one name a feature, 5; got 1": {"format": "c", "feature_names": ["a"]},
        "'feature_names' has 'z', which is no feature": {"format": "c", "feature_names": {"z": "a"}},
        "'feature_names' must be different": {"format": "c", "feature_names": {"f1": "f2"}},
    }.items():
        with pytest.raises(ValueError, match=pattern):
            ranker.export(**{"path": tmp_path / "m", **options})
    with pytest.raises(TypeError, match="unexpected keyword argument 'flavor'"):
        ranker.export(tmp_path / "m", format="c", flavor="x")


def test_trees_that_are_too_deep_to_be_nested_are_refused(tmp_path):
    depth = 2000
    nodes = np.arange(depth)
    ones, zeros = np.ones(depth), np.zeros(depth)
    right = np.where(nodes == depth - 1, ~depth, nodes + 1)
    chain = (zeros.astype(int), nodes / depth, (None,) * depth, ones > 0, ~nodes, right)
    tree = PlainTree(*chain, np.arange(depth + 1.0), zeros, ones, np.ones(depth + 1))
    for name in ("solr", "vespa", "ranklib", "elasticsearch"):
        with pytest.raises(ValueError, match="'max_depth' must be set at fit"):
            export_model(TreeSum((tree,), ("a",)), tmp_path / "m", name)
    for name in ("lightgbm", "elasticsearch-native", "xgboost", "c"):  # these list nodes
        export_model(TreeSum((tree,), ("a",)), tmp_path / "m", name)
        rows = np.array([[0.7314]], dtype=np.float32)
        assert engine_scores(name, tmp_path / "m", ("a",), rows)[0] == tree.predict(rows)[0]


def test_estimators_of_other_libraries_are_refused(data, tmp_path):
    from sklearn.linear_model import LinearRegression

    X, y, qid = np.nan_to_num(data[0]), data[1], data[2]
    ranker = PointwiseRanker(LinearRegression()).fit(X, y, qid=qid)
    with pytest.raises(
        TypeError, match="PointwiseRanker with 'estimator' LinearRegression cannot be exported"
    ):
        ranker.export(tmp_path / "m", format="c")


# -------------------------------------------------------------------------------------- names and features


def test_names_are_changed_where_an_engine_does_not_take_them(data, tmp_path):
    X, y, qid = data
    frame = pd.DataFrame(X, columns=["title bm25", "title_bm25", "2nd", "price", "ü"])
    ranker = LambdaMART(n_estimators=3, n_jobs=1).fit(frame, y, qid=qid)
    exported = ranker.export(tmp_path / "m.json", format="vespa", check=frame)
    assert exported.feature_names == ("title_bm25", "title_bm25_2", "_2nd", "price", "_")
    assert "'title bm25' is 'title_bm25'" in exported.notes[0]
    profile = exported.features_path.read_text()
    assert profile.startswith("rank-profile ranker {\n    function title_bm25() {\n")
    assert 'expression: lightgbm("m.json")' in profile


def test_own_names_in_the_engine(fitted, tmp_path):
    names = ["bm25", "age", "clicks", "price", "length"]
    exported = fitted("native").export(
        tmp_path / "m.json", format="elasticsearch", feature_names=names, name="my_model", store="my_set"
    )
    assert json.loads((tmp_path / "m.json").read_text())["model"]["name"] == "my_model"
    features = json.loads(exported.features_path.read_text())["featureset"]
    assert features["name"] == "my_set"
    assert [feature["name"] for feature in features["features"]] == names


@pytest.mark.parametrize("name", ["elasticsearch", "opensearch", "solr", "vespa", "ranklib"])
def test_feature_definitions_name_every_feature(fitted, name, tmp_path):
    exported = fitted("native").export(tmp_path / "m", format=name, no_missing=True)
    text = exported.features_path.read_text()
    assert all(feature in text for feature in exported.feature_names)


def test_names_without_forbidden_characters_are_unique():
    assert engine_names(["a b", "a_b", "a b"], r"[^\w]") == ("a_b", "a_b_2", "a_b_3")
    assert engine_names(["1st", ""], find_format("vespa").forbidden) == ("_1st", "_")


# ------------------------------------------------------------------------------------------------- command


@pytest.fixture
def saved(fitted, data, tmp_path):
    fitted("native").save(tmp_path / "m.lmk")
    X, y, qid = data
    write_letor(RankingDataset(np.nan_to_num(X), y, qid), tmp_path / "test.txt")
    return tmp_path


def run(*args):
    return CliRunner().invoke(app, ["export", *map(str, args)])


def test_command_writes_and_checks(saved):
    done = run(saved / "m.lmk", "--to", "solr", "--out", saved / "m.json", "--check", saved / "test.txt")
    assert done.exit_code == 0, done.output
    assert "2,600 rows scored as the ranker scores them" in done.stderr
    assert f"features in {saved / 'm.features.json'}" in done.stderr
    assert json.loads((saved / "m.json").read_text())["name"] == "ranker"


def test_command_finds_columns_of_tables_by_name(data, tmp_path):
    X, y, qid = data
    frame = pd.DataFrame(np.nan_to_num(X), columns=["title", "body", "age", "price", "clicks"])
    LambdaMART(n_estimators=3, n_jobs=1).fit(frame, y, qid=qid).save(tmp_path / "m.lmk")
    table = frame[["price", "age", "title", "clicks", "body"]].assign(label=y, qid=qid)
    table.to_csv(tmp_path / "test.csv", index=False)
    done = run(
        tmp_path / "m.lmk", "--to", "vespa", "--out", tmp_path / "m.json", "--check", tmp_path / "test.csv"
    )
    assert done.exit_code == 0, done.output
    assert "2,600 rows scored as the ranker scores them" in done.stderr
    assert "Warning" not in done.stderr


def test_command_knows_every_format(saved):
    shown = " ".join(run("--help").stdout.split())
    assert all(name in shown for name in EXPORTS)


def test_command_writes_over_nothing(saved):
    for out in ("m.lmk", "test.txt"):
        done = run(
            saved / "m.lmk", "--to", "c", "--out", saved / out, "--check", saved / "test.txt", "--force"
        )
        assert done.exit_code == 1
        assert "is read as input, so it cannot be the output" in done.stderr
    (saved / "there.c").write_text("mine")
    done = run(saved / "m.lmk", "--to", "c", "--out", saved / "there.c")
    assert done.exit_code == 1
    assert "--force" in done.stderr
    assert (saved / "there.c").read_text() == "mine"
    assert run(saved / "m.lmk", "--to", "c", "--out", saved / "there.c", "--force").exit_code == 0
    (saved / "m.profile").write_text("mine")
    done = run(saved / "m.lmk", "--to", "vespa", "--out", saved / "m.json")
    assert done.exit_code == 1
    assert "m.profile" in done.stderr
    assert not (saved / "m.json").exists()


def test_command_says_what_is_wrong_in_one_line(saved):
    done = run(saved / "m.lmk", "--to", "ranklib", "--out", saved / "m.txt")
    assert done.exit_code == 1
    assert done.stderr.count("\n") == 1
    assert "--no-missing" in done.stderr
    assert run(saved / "m.lmk", "--to", "c", "--out", saved / "m.c", "--shift", "much").exit_code == 2
    assert run(saved / "m.lmk", "--to", "c", "--out", saved / "m.c", "--rename", "f1").exit_code == 2
    done = run(saved / "m.lmk", "--to", "c", "--out", saved / "no" / "m.c")
    assert done.exit_code == 1
    assert "no" in done.stderr


def test_command_exports_reward_models(tmp_path):
    _, pairs = preference_pairs()
    RewardModel(n_estimators=3, random_state=0, n_jobs=1).fit_pairs(pairs).save(tmp_path / "rm.lmk")
    done = run(
        tmp_path / "rm.lmk", "--to", "lightgbm", "--out", tmp_path / "rm.txt", "--rename", "f1=fluency"
    )
    assert done.exit_code == 0, done.output
    assert "feature_names=fluency f2 f3 f4" in (tmp_path / "rm.txt").read_text()
