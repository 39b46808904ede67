"""The forest scores as LightGBM does, to the last bit: LightGBM is the oracle throughout."""

from __future__ import annotations

import pickle

import lightgbm
import numpy as np
import pytest
from scipy import sparse

from lambdamart_kit.boosters.lightgbm_model import LightGBMModel
from lambdamart_kit.rankers import LambdaMART
from lambdamart_kit.trees.forest import Forest
from lambdamart_kit.trees.model_text import read_trees

ODD = [np.nan, np.inf, -np.inf, 0, -0.0, 1e-36, -1e-35, 1e-35, 1e38, -1, -0.5, 2.5, 31, 32, 63, 64, 1e10]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 6)).astype(np.float32)
    X[:, 1] = np.round(3 * X[:, 1])
    X[:, 4] = np.where(rng.random(2000) < 0.5, 0, X[:, 4])
    X[rng.random(X.shape) < 0.1] = np.nan
    X[:, 2] = rng.integers(0, 70, 2000)  # a categorical, and one without missing values
    X[:, 5] = rng.normal(size=2000)
    y = np.nansum(X[:, :2], 1) + 2 * np.isin(X[:, 2], [3, 5, 40, 64]) + np.isnan(X[:, 3]) + (X[:, 5] > 0.3)
    return X, y


def odd_rows(X, rng, n=300):
    """Rows of values that a reader of thresholds can get wrong, each also among ordinary ones."""
    mixed = np.where(rng.random((n, X.shape[1])) < 0.5, X[:n], rng.choice(ODD, (n, X.shape[1])))
    return np.concatenate((mixed, rng.choice(ODD, (n, X.shape[1])))).astype(np.float32)


def trained(rows, categorical, n_trees=25, **settings):
    X, y = rows
    given = {"objective": "regression", "verbose": -1, "num_threads": 1, **settings}
    data = lightgbm.Dataset(X, y, categorical_feature=categorical)
    return lightgbm.train(given, data, n_trees)


SETTINGS = [
    {},
    {"zero_as_missing": True},
    {"use_missing": False},
    {
        "max_bin": 2000,
        "num_leaves": 255,
        "min_data_in_leaf": 1,
        "n_trees": 15,
    },  # over 254 thresholds a feature
    {"num_leaves": 2},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: ",".join(map(str, s)) or "default")
@pytest.mark.parametrize("categorical", ["auto", [2]], ids=["numeric", "categorical"])
def test_scores_are_lightgbms(rows, rng, settings, categorical):
    model = trained(rows, categorical, **settings)
    forest = Forest.of_text(model.model_to_string())
    n = model.num_trees()
    for X in (rows[0], odd_rows(rows[0], rng), rows[0][:1], rows[0][:64], rows[0][:65]):
        expected = model.predict(X, raw_score=True)
        assert np.array_equal(forest.predict(X, 0, n), expected)
        assert np.array_equal(forest.predict(X, 0, n, n_threads=3), expected)
        part = model.predict(X, raw_score=True, start_iteration=1, num_iteration=n - 2)
        assert np.array_equal(forest.predict(X, 1, n - 1), part)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: ",".join(map(str, s)) or "default")
def test_on_and_beside_every_threshold(rows, settings, dtype):
    model = trained(rows, "auto", **settings)
    forest = Forest.of_text(model.model_to_string(), dtype)
    values = np.unique(forest.codes.thresholds)
    assert values.dtype == dtype
    values = np.concatenate((values, np.nextafter(values, dtype(9)), np.nextafter(values, dtype(-9))))
    X = np.repeat(values[:, None], 6, axis=1)
    assert np.array_equal(forest.predict(X, 0, model.num_trees()), model.predict(X, raw_score=True))


@pytest.mark.parametrize("categorical", ["auto", [2]], ids=["numeric", "categorical"])
def test_double_precision_scores_are_lightgbms(rows, rng, categorical):
    """Also where float32 would merge values: near thresholds, and far from zero."""
    X, y = rows
    wide = X.astype(np.float64)
    wide[:, 0] = 1.75e12 + np.round(1000 * np.nan_to_num(wide[:, 0]))
    model = trained((wide, y + (wide[:, 0] > 1.75e12 + 300)), categorical)
    forest = Forest.of_text(model.model_to_string(), np.float64)
    odd = np.where(rng.random(wide.shape) < 0.3, rng.choice([*ODD, 1e-200, 1e300, -1e-40]), wide)
    for tested in (wide, odd, wide[:65]):
        expected = model.predict(tested, raw_score=True)
        assert np.array_equal(forest.predict(tested, 0, 25), expected)
        assert np.array_equal(forest.predict(tested, 0, 25, n_threads=3), expected)
    narrow = Forest.of_text(model.model_to_string())
    assert not np.array_equal(narrow.predict(wide.astype(np.float32), 0, 25), model.predict(wide))


def test_over_254_thresholds_are_several_columns(rows):
    forest = Forest.of_text(trained(rows, "auto", **SETTINGS[3]).model_to_string())
    assert (np.bincount(forest.codes.feature) > 1).any()


@pytest.mark.parametrize("n_columns", [15, 16, 17, 31, 32, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_that_are_turned_in_blocks_of_16_columns(rng, n_columns, dtype):
    X = rng.normal(size=(700, n_columns)).astype(dtype)
    X[rng.random(X.shape) < 0.05] = np.nan
    y = np.nansum(X * rng.normal(size=n_columns), axis=1)
    model = lightgbm.train(
        {"objective": "regression", "verbose": -1, "num_threads": 1}, lightgbm.Dataset(X, y), 30
    )
    forest = Forest.of_text(model.model_to_string(), dtype)
    assert len(np.unique(forest.codes.feature)) == n_columns
    for n in (1, 16, 63, 64, 100, 700):
        expected = model.predict(X[:n], raw_score=True)
        assert np.array_equal(forest.predict(X[:n], 0, 30), expected)


@pytest.mark.parametrize("categorical", ["auto", [2]], ids=["numeric", "categorical"])
def test_trees_in_segments_score_as_in_one(rows, rng, categorical):
    trees = read_trees(trained(rows, categorical).model_to_string())
    whole = Forest.of_trees(trees)
    cut = Forest.of_trees(trees, cuts=[1, 4, 20])
    assert cut.codes.ptr[1] < cut.codes.ptr[-1]
    X = odd_rows(rows[0], rng)
    for start, stop in [(0, 25), (0, 1), (3, 21), (4, 20), (7, 7), (24, 25)]:
        assert np.array_equal(cut.predict(X, start, stop), whole.predict(X, start, stop))


@pytest.mark.parametrize("missing", [False, True])
def test_native_models(rng, missing):
    X = rng.normal(size=(3000, 5)).astype(np.float32)
    if missing:
        X[rng.random(X.shape) < 0.2] = np.nan
    y, qid = (np.nan_to_num(X[:, 0]) > 0.5).astype(int), np.repeat(np.arange(150), 20)
    model = LambdaMART(n_estimators=20, random_state=0).fit(X, y, qid).booster_
    forest = Forest.of_text(model.model_to_string())
    tested = np.concatenate((X, odd_rows(X, rng)))
    assert np.array_equal(forest.predict(tested, 0, 20), model.predict(tested, raw_score=True))


def test_sparse_rows(rows):
    X = np.nan_to_num(rows[0])
    X[:, :2] = 0
    model = trained(rows, "auto")
    scores = Forest.of_text(model.model_to_string()).predict(sparse.csr_matrix(X), 0, 25)
    assert np.array_equal(scores, model.predict(X, raw_score=True))


@pytest.mark.parametrize(
    "settings",
    [
        {"num_leaves": 300, "min_data_in_leaf": 1},
        {"linear_tree": True},
        {"objective": "multiclass", "num_class": 3},
        {"boosting": "rf", "bagging_fraction": 0.5, "bagging_freq": 1},
    ],
    ids=["300 leaves", "linear", "multiclass", "averaged"],
)
def test_what_only_lightgbm_can_score_is_left_to_it(rows, settings):
    X, y = rows
    labels = np.digitize(y, np.quantile(y, [0.3, 0.6])) if "num_class" in settings else y
    assert Forest.of_text(trained((X, labels), "auto", 3, **settings).model_to_string()) is None


def test_a_model_changes_over_without_a_difference(rows):
    X = rows[0]
    model = LightGBMModel(trained(rows, [2]))
    expected = model.raw.predict(X, raw_score=True)
    for _ in range(2 * model._worth_a_forest() // len(X)):
        assert np.array_equal(model.predict(X), expected)
    assert model._forests[np.dtype(np.float32)] is not None
    again = pickle.loads(pickle.dumps(model))
    assert not again._forests
    assert np.array_equal(again.predict(X), expected)
    assert np.array_equal(model.predict(X.astype(np.float64)), expected)
    assert model._forests[np.dtype(np.float64)] is not None
    with pytest.raises(lightgbm.basic.LightGBMError):
        model.predict(X[:, :3])


@pytest.mark.parametrize("start", [None, "native", "lightgbm", "linear"])
@pytest.mark.parametrize("num_leaves", [31, 300])
def test_native_models_score_as_what_they_become(rows, num_leaves, start, rng):
    """Also on trees that training went on from, and where only LightGBM can score."""
    X, y = rows
    labels, qid = np.digitize(y, np.quantile(y, [0.3, 0.6])), np.arange(len(X)) // 20
    ranker = LambdaMART(n_estimators=14, num_leaves=num_leaves, min_child_samples=1, categorical_features=[2])
    if start is not None:
        ranker.set_params(
            warm_start=True,
            n_estimators=8,
            booster="native" if start == "native" else "lightgbm",
            booster_params={"linear_tree": True} if start == "linear" else None,
        ).fit(X, labels, qid)
        assert np.isfinite(ranker.predict(X)).all()
    ranker.set_params(booster="native", n_estimators=14, booster_params=None).fit(X, labels, qid)
    model, odd = ranker.model_, odd_rows(X, rng)
    found = {
        (0, -1): model.predict(odd),
        (3, 8): model.predict(odd, iteration_range=(3, 11)),
        (0, 10): model.truncate(10).predict(odd),
    }
    was_converted = model._ensemble is None
    assert was_converted == (start == "linear" or num_leaves > 256)
    with_sparse = model.predict(sparse.csr_matrix(np.nan_to_num(X)))
    raw = ranker.booster_
    for (first, n), scores in found.items():
        expected = raw.predict(odd, raw_score=True, start_iteration=first, num_iteration=n)
        np.testing.assert_array_equal(scores, expected)
    np.testing.assert_array_equal(with_sparse, raw.predict(np.nan_to_num(X), raw_score=True))
    np.testing.assert_array_equal(model.predict(odd), found[0, -1])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(odd), found[0, -1])


def test_no_rows_and_no_trees(rows):
    model = trained(rows, "auto")
    forest = Forest.of_text(model.model_to_string())
    assert forest.predict(rows[0][:0], 0, 25).shape == (0,)
    assert not forest.predict(rows[0], 5, 5).any()


def test_checked_arrays_skip_the_checks_and_others_do_not(rng):
    X = rng.normal(size=(200, 4)).astype(np.float32)
    ranker = LambdaMART(n_estimators=3).fit(X, (X[:, 0] > 0).astype(int), np.repeat(np.arange(20), 10))
    assert ranker._is_checked(X)
    assert ranker._is_checked(X.astype(np.float64))
    for other in (X[:, :3], X.astype(np.int64), X[::2], np.asfortranarray(X), X.tolist(), X[:0]):
        assert not ranker._is_checked(other)
    with_infinity, with_nan = X.copy(), X.copy()
    with_infinity[3, 1], with_nan[3, 1] = np.inf, np.nan
    largest = np.where(np.isinf(with_infinity), np.float32(3e38), with_infinity)
    np.testing.assert_array_equal(ranker.predict(with_infinity), ranker.predict(largest))
    assert np.isfinite(ranker.predict(with_nan)).all()
    with pytest.raises(ValueError, match="4 features"):
        ranker.predict(X[:, :3])
