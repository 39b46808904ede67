"""The fitted ``booster_`` goes through the converters that read LightGBM models."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import xgboost as xgb

from lambdamart_kit import CatBoostRanker, LambdaMART, LightGBMRanker, XGBoostRanker


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 6)).astype(np.float32)
    X[:, 1] = np.maximum(X[:, 1], 0)
    X[rng.random(2000) < 0.2, 2] = np.nan
    X[:, 5] = rng.integers(0, 40, 2000)
    y = np.digitize(X[:, 0] + X[:, 1] + np.nan_to_num(X[:, 2], nan=2) + (X[:, 5] % 7 == 3), [0, 1, 2])
    qid = np.arange(2000) // 20

    def fit(columns):
        ranker = LambdaMART(n_estimators=30, num_leaves=15, random_state=0, categorical_features=columns)
        return ranker.fit(X, y, qid=qid).booster_

    return fit


def rows_on_thresholds(booster, n=4000):
    """Rows of values exactly on thresholds, one float32 above them, NaN and infinities."""
    rng = np.random.default_rng(1)
    nodes = booster.trees_to_dataframe().query("decision_type == '<='")
    assert nodes["split_feature"].nunique() > 3
    rows = np.empty((n, 6), dtype=np.float32)
    for j in range(6):
        edges = nodes.query(f"split_feature == 'Column_{j}'")["threshold"].astype(float).to_numpy(np.float32)
        above = np.nextafter(edges, np.float32(np.inf))
        special = np.array([np.nan, np.inf, -np.inf, 0.0, 3e38], dtype=np.float32)
        rows[:, j] = rng.choice(np.concatenate((edges, above, special)), n)
    return rows


@pytest.mark.parametrize("categorical", [False, True])
def test_treelite_predicts_the_same_to_the_bit(fitted, categorical):
    treelite = pytest.importorskip("treelite")
    booster = fitted([5] if categorical else None)
    rows = rows_on_thresholds(booster).astype(np.float64)
    if categorical:
        rows[:, 5] = np.random.default_rng(2).integers(0, 60, len(rows))  # codes never seen among them
    model = treelite.frontend.from_lightgbm(booster)
    assert np.array_equal(treelite.gtil.predict(model, rows).ravel(), booster.predict(rows))


def test_onnx_predicts_the_same_to_float32(fitted):
    onnxmltools = pytest.importorskip("onnxmltools")
    onnxruntime = pytest.importorskip("onnxruntime")
    from onnxmltools.convert.common.data_types import FloatTensorType

    booster = fitted(None)
    rows = rows_on_thresholds(booster)
    model = onnxmltools.convert_lightgbm(booster, initial_types=[("X", FloatTensorType([None, 6]))])
    (scores,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"X": rows})
    # Leaf values and their sum are float32 there; a row sent to another leaf would be off by 0.01 and more.
    np.testing.assert_allclose(scores.ravel(), booster.predict(rows), rtol=0, atol=2e-6)


RANKERS = {
    "native": lambda: LambdaMART(n_estimators=10, n_jobs=1),
    "lightgbm": lambda: LambdaMART(booster="lightgbm", n_estimators=10, n_jobs=1),
    "LightGBMRanker": lambda: LightGBMRanker(n_estimators=10, n_jobs=1),
    "xgboost": lambda: LambdaMART(booster="xgboost", n_estimators=10, n_jobs=1),
    "XGBoostRanker": lambda: XGBoostRanker(n_estimators=10, n_jobs=1),
    "CatBoostRanker": lambda: CatBoostRanker(n_estimators=10, n_jobs=1),
}


def frame_of(rng, n, levels):
    columns = {
        "x": rng.normal(size=n),
        "colour": pd.Categorical(rng.choice(levels, n)),
        "z": rng.normal(size=n),
    }
    return pd.DataFrame({**columns, "size": pd.Categorical(rng.integers(0, 5, n) * 10)})


@pytest.mark.parametrize("n_frames", [20, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("loaded", [False, True])
@pytest.mark.parametrize("name", RANKERS)
def test_the_library_finds_the_codes_of_later_frames_itself(name, loaded, n_frames, tmp_path):
    if name == "CatBoostRanker":
        pytest.importorskip("catboost")
    rng = np.random.default_rng(0)
    frame = frame_of(rng, 800, ["red", "green", "blue", "grey"])
    y = frame["colour"].isin(["red", "blue"]).astype(int) + frame["size"].isin([20, 30])
    ranker = RANKERS[name]().fit(frame, y, qid=np.arange(800) // 20)
    if loaded:
        ranker.save(tmp_path / "m.lmk")
        ranker = type(ranker).load(tmp_path / "m.lmk")
    # Other categories occur, in another order, and some values are missing. Infinities and categories
    # never seen are for the others only: XGBoost takes no infinity, and its own models raise for some
    # categories and mistake others for known.
    of_xgboost = "xgb" in name.lower()
    unseen = [] if of_xgboost else ["purple"]
    odd = [np.nan] if of_xgboost else [np.nan, np.inf, -np.inf]
    for _ in range(n_frames):
        known = rng.permutation(["red", "green", "blue", "grey", *unseen])[: rng.integers(1, 5)].tolist()
        later = frame_of(rng, 60, known)
        later["colour"] = later["colour"].cat.reorder_categories(
            rng.permutation(later["colour"].cat.categories)
        )
        later.loc[rng.random(60) < 0.1, "colour"] = np.nan
        later.loc[rng.random(60) < 0.1, "x"] = rng.choice(odd)
        later["size"] = pd.Categorical(rng.choice([40, 10], 60), categories=[40, 10])
        expected = ranker.predict(later)
        np.testing.assert_allclose(scores_of_the_library(ranker, later), expected, rtol=0, atol=1e-6)
        by_polars = pl.from_pandas(later.astype({"size": int})).with_columns(pl.col("x").fill_nan(None))
        np.testing.assert_array_equal(ranker.predict(by_polars), expected)


def scores_of_the_library(ranker, frame):
    booster = ranker.booster_
    if isinstance(ranker, CatBoostRanker):
        return booster.predict(frame)
    if hasattr(booster, "save_config"):
        matrix = xgb.DMatrix(frame, enable_categorical=True, missing=np.nan)
        return booster.predict(matrix, output_margin=True)
    scores = booster.predict(frame, raw_score=True)
    contributions = booster.predict(frame, pred_contrib=True)
    np.testing.assert_allclose(contributions.sum(axis=1), scores, rtol=0, atol=1e-9)
    return scores


@pytest.mark.parametrize("name", ["native", "lightgbm", "LightGBMRanker"])
def test_a_category_never_seen_is_missing_for_the_library_too(name):
    # Not so for XGBoost 3.2, whose own models raise for some such categories and mistake others for known.
    rng = np.random.default_rng(0)
    frame = frame_of(rng, 400, ["red", "green"])
    ranker = RANKERS[name]().fit(frame, frame["colour"] == "red", qid=np.arange(400) // 20)
    later = frame_of(rng, 60, ["green", "purple"])
    assert np.array_equal(ranker.booster_.predict(later, raw_score=True), ranker.predict(later))


def test_onnx_of_a_booster_driven_by_our_gradients_is_converted_without_help():
    onnxmltools = pytest.importorskip("onnxmltools")
    onnxruntime = pytest.importorskip("onnxruntime")
    from onnxmltools.convert.common.data_types import FloatTensorType

    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4)).astype(np.float32)
    ranker = LambdaMART(booster="lightgbm", n_estimators=10, n_jobs=1)
    ranker.fit(X, (X[:, 0] > 0).astype(int), qid=np.repeat(np.arange(20), 10))
    types = [("X", FloatTensorType([None, 4]))]
    model = onnxmltools.convert_lightgbm(ranker.booster_, initial_types=types)
    (scores,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"X": X})
    np.testing.assert_allclose(scores.ravel(), ranker.predict(X), rtol=0, atol=2e-6)


@pytest.mark.parametrize("num_leaves", [None, 8])
@pytest.mark.parametrize("with_categories", [False, True])
def test_what_catboost_gives_out_is_the_ranker(num_leaves, with_categories, tmp_path):
    """Only the trees in use, categories in any order, copied and pickled; SHAP values, or a refusal."""
    catboost = pytest.importorskip("catboost")
    rng = np.random.default_rng(0)
    columns = ["colour", "x", "z", "size"] if with_categories else ["x", "z"]
    frame = frame_of(rng, 800, ["red", "green", "blue", "grey"])
    y = ((frame["colour"] == "red") + rng.normal(size=800) > 0).astype(int) + (frame["x"] > 0)
    stopping = {"early_stopping_rounds": 5, "validation_fraction": 0.3}
    ranker = CatBoostRanker(n_estimators=200, num_leaves=num_leaves, n_jobs=1, random_state=0, **stopping)
    ranker.fit(frame[columns], y, qid=np.arange(800) // 20)
    later = frame_of(rng, 60, ["grey", "red", "purple"])[columns]
    later.loc[:9, "x"] = np.nan
    scores = ranker.predict(later)
    assert np.ptp(scores) > 0.1
    booster = ranker.booster_
    for model in (booster, copy.deepcopy(booster), pickle.loads(pickle.dumps(booster))):
        np.testing.assert_allclose(model.predict(later), scores, rtol=0, atol=1e-9)
        assert model.calc_leaf_indexes(later).shape == (60, ranker.best_iteration_)
    stopped_inside = int(booster.tree_count_) > ranker.best_iteration_
    assert stopped_inside == (num_leaves is not None)  # symmetric trees are taken out, others left out
    codes = {"cat_features": booster.get_cat_feature_indices()}
    if with_categories:
        with pytest.raises(ValueError, match=r"must be a frame, not a catboost\.Pool"):
            booster.predict(catboost.Pool(later.assign(colour="red", size=1), **codes))
    if stopped_inside:
        with pytest.raises(ValueError, match=r"stopped early .* use ranker\.contributions\(X\)"):
            booster.get_feature_importance(later, type="ShapValues")
    elif with_categories:
        shap = booster.get_feature_importance(later, type="ShapValues")
        np.testing.assert_allclose(shap.sum(axis=1), scores, rtol=0, atol=1e-6)
    if with_categories or stopped_inside:
        with pytest.warns(UserWarning, match=r"CatBoost's file does not hold .* use ranker\.save"):
            booster.save_model(tmp_path / "model.cbm")


def test_shap_explains_catboost_or_says_why_not():
    pytest.importorskip("catboost")
    shap = pytest.importorskip("shap")
    rng = np.random.default_rng(0)
    frame = frame_of(rng, 400, ["red", "green"])
    y = (frame["colour"] == "red").astype(int) + (frame["x"] > 0)
    numbers = frame[["x", "z"]]
    ranker = CatBoostRanker(n_estimators=10, n_jobs=1).fit(numbers, y, qid=np.arange(400) // 20)
    values = shap.TreeExplainer(ranker.booster_)(numbers)
    sums = values.values.sum(axis=1) + values.base_values
    np.testing.assert_allclose(sums, ranker.predict(numbers), rtol=0, atol=1e-6)
    ranker.fit(frame, y, qid=np.arange(400) // 20)
    with pytest.raises(ValueError, match=r"not a catboost\.Pool"):
        shap.TreeExplainer(ranker.booster_)(frame)
    sums = ranker.contributions(frame).sum(axis=1)
    np.testing.assert_allclose(sums, ranker.predict(frame), rtol=0, atol=1e-6)
