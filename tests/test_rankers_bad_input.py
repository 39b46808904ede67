"""Bad input gets an error that names the parameter, the rule and the remedy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor

from lambdamart_kit.rankers import (
    CatBoostRanker,
    LambdaMART,
    LightGBMRanker,
    PointwiseRanker,
    XGBoostRanker,
)

SMALL = {"n_estimators": 2, "num_leaves": 4, "n_jobs": 1}
RANKERS = {
    "native": LambdaMART(booster="native", **SMALL),
    "lightgbm": LambdaMART(booster="lightgbm", **SMALL),
    "lambdarank": LightGBMRanker(**SMALL),
    "rank:ndcg": XGBoostRanker(**SMALL),
    "pointwise": PointwiseRanker(n_jobs=1),
    "linear": PointwiseRanker(LinearRegression()),
}
X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.array([0, 1, 2] * 4)
QID = np.repeat(["a", "b", "c", "d"], 3)

every_ranker = pytest.mark.parametrize("name", RANKERS)


@pytest.fixture(autouse=True)
def _fewer_trees(monkeypatch):
    monkeypatch.setattr("lambdamart_kit.rankers.pointwise._DEFAULT_TREES", 2)


def put(values, row, value):
    changed = np.array(values, dtype=np.result_type(values, type(value)))
    changed[row] = value
    return changed


BAD_ROWS = [
    (X, put(Y, 4, np.nan), QID, r"'y' must hold finite relevance labels >= 0; row 4 has nan"),
    (X, put(Y, 4, np.inf), QID, r"'y' must hold finite.*row 4 has inf"),
    (X, put(Y, 4, -1), QID, r"'y' must hold finite.*row 4 has -1"),
    (X, Y.astype(str), QID[:-1], r"'(qid|y)' must hold"),
    (X, ["many"] * 12, QID, r"'y' must hold numbers"),
    (X, np.column_stack([Y, Y]), QID, r"'y' must be one-dimensional"),
    (X, Y[:-1], QID[:-1], r"'y' must hold one label per row of 'X': expected 12, got 11|inconsistent|'X'"),
    (X, Y, QID[:-1], r"'qid' must hold one query id per row: expected shape \(12,\), got \(11,\)"),
    (X, Y, [3, 3, 3, 3], r"group sizes are not accepted, use numpy.repeat"),
    (X, Y, np.where(QID == "b", None, QID.astype(object)), r"'qid' must not be missing: row 3 has None"),
    (X, Y, np.where(QID == "b", np.nan, 1.0), r"'qid' must not be missing: row 3 has .*nan"),
    (X + 1j, Y, QID, r"[Cc]omplex data not supported"),
    (put(X, 2, np.inf), Y, QID, r"Input X contains infinity"),
    (put(X, 2, 1e300), Y, QID, r"too large for dtype"),
    (X[:, 0], Y, QID, r"Expected 2D array|2D"),
    (X[:0], Y[:0], QID[:0], r"0 sample\(s\)|minimum"),
    (X[:, :0], Y, QID, r"0 feature\(s\)"),
    (X.astype(str)[:, [0]] + "x", Y, QID, r"'X' must hold numbers; column 0 holds '0.12|dtype='numeric'"),
]


@every_ranker
@pytest.mark.parametrize(("X", "y", "qid", "message"), BAD_ROWS)
def test_bad_rows(name, X, y, qid, message):
    if name == "linear" and "too large" in message:
        pytest.skip("X is the estimator's own business, and float64 holds 1e300")
    with pytest.raises(ValueError, match=message):
        clone(RANKERS[name]).fit(X, y, qid=qid)


@every_ranker
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(11), r"sample_weight.*\(12,\)"),
        (put(np.ones(12), 3, np.nan), r"NaN|finite"),
        (put(np.ones(12), 3, -1.0), r"[Nn]egative values|>= 0"),
        (np.zeros(12), r"all weights are zero|non-zero"),
    ],
)
def test_bad_weights(name, weight, message):
    with pytest.raises(ValueError, match=message):
        clone(RANKERS[name]).fit(X, Y, qid=QID, sample_weight=weight)


def test_weights_belong_to_queries():
    weight = put(np.ones(12), 4, 2.0)
    with pytest.raises(ValueError, match=r"must be the same for all rows of a query.*'b' has both 1 and 2"):
        LambdaMART(**SMALL).fit(X, Y, qid=QID, sample_weight=weight)
    PointwiseRanker(LinearRegression()).fit(X, Y, qid=QID, sample_weight=weight)
    with pytest.raises(ValueError, match=r"'sample_weight' must be None with KNeighborsRegressor"):
        PointwiseRanker(KNeighborsRegressor()).fit(X, Y, qid=QID, sample_weight=weight)


@pytest.mark.parametrize("name", ["native", "lightgbm", "lambdarank", "rank:ndcg"])
@pytest.mark.parametrize(
    ("y", "qid"), [(np.zeros(12), QID), (np.ones(12), QID), (Y, np.arange(12)), ([3] * 3 + [0] * 9, QID)]
)
def test_nothing_to_learn(name, y, qid):
    """All blank, all equal, or one document a query: no document is preferred to another."""
    with pytest.raises(
        ValueError, match=r"'y' must hold two different labels in at least one query.*n_samples=12"
    ):
        clone(RANKERS[name]).fit(X, y, qid=qid)


def test_unsorted_mixed_and_single_document_queries_are_fine():
    qid = np.array(["b", "a", "b", "a", "solo", "c", "c", "b", "a", "c", "c", "b"])
    ranker = LambdaMART(**SMALL).fit(X, Y, qid=qid)
    assert ranker.n_queries_in_ == 4
    assert np.isfinite(ranker.score(X, Y, qid=qid))


@every_ranker
def test_predict_checks_features(name):
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    ranker = clone(RANKERS[name]).fit(frame, Y, qid=QID)
    with pytest.raises(ValueError, match=r"X has 2 features, but \w+ is expecting 3"):
        ranker.predict(X[:, :2])
    with pytest.raises(ValueError, match=r"feature names should match"):
        ranker.predict(frame.rename(columns={"a": "z"}))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        ranker.predict(X)
    if name == "linear":
        with pytest.raises(ValueError, match="infinity"):
            ranker.predict(np.full((2, 3), np.inf))
    else:  # to trees an infinite value is one above, or below, all others
        largest = np.full((2, 3), 3e38)
        np.testing.assert_array_equal(ranker.predict(np.full((2, 3), np.inf)), ranker.predict(largest))
        np.testing.assert_array_equal(ranker.predict(np.full((2, 3), -np.inf)), ranker.predict(-largest))
    with pytest.raises(ValueError, match=r"2D|features"):
        ranker.predict(X[0])


@pytest.mark.parametrize(
    ("val", "message"),
    [
        ({"y_val": Y}, r"'X_val' must be given with 'y_val'"),
        ({"X_val": X, "qid_val": QID}, r"'y_val' must be given with 'X_val'"),
        ({"X_val": X, "y_val": Y}, r"'qid_val' must be given with 'X_val', because 'qid' was"),
        ({"X_val": X, "y_val": Y[:5], "qid_val": QID}, r"'y_val' must hold one label per row of 'X_val'"),
        ({"X_val": X, "y_val": put(Y, 0, -1), "qid_val": QID}, r"'y_val' must hold finite"),
        ({"X_val": X[:, :2], "y_val": Y, "qid_val": QID}, r"X has 2 features"),
        ({"X_val": put(X, 0, np.inf), "y_val": Y, "qid_val": QID}, r"Input X_val contains infinity"),
        ({"X_val": X, "y_val": 0 * Y, "qid_val": QID}, r"held-out queries must have a relevant document"),
    ],
)
def test_bad_validation_data(val, message):
    with pytest.raises(ValueError, match=message):
        LambdaMART(**SMALL).fit(X, Y, qid=QID, **val)


def test_early_stopping_needs_something_to_stop_on():
    with pytest.raises(
        ValueError, match=r"'early_stopping_rounds' needs held-out queries: set 'validation_fract"
    ):
        LambdaMART(early_stopping_rounds=3, **SMALL).fit(X, Y, qid=QID)
    with pytest.raises(ValueError, match=r"'validation_fraction' needs at least two queries.*got 1"):
        LambdaMART(validation_fraction=0.5, **SMALL).fit(X, [0, 1] + [0] * 10, qid=QID)
    with pytest.raises(ValueError, match=r"'X_val' must be None.*LightGBMRanker\(objective='regression'\)"):
        PointwiseRanker().fit(X, Y, qid=QID, X_val=X, y_val=Y, qid_val=QID)


BAD_PARAMETERS = [
    ({"objective": "ndgc"}, r"'objective' must be one of .*'ndcg'.*got 'ndgc'"),
    ({"objective": 3}, r"'objective' parameter of LambdaMART must be"),
    ({"booster": "yggdrasil"}, r"'booster' parameter of LambdaMART must be"),
    ({"booster": "catboost"}, r"'booster' parameter of LambdaMART must be"),
    ({"num_leaves": 1}, r"'num_leaves' parameter of LambdaMART must be"),
    ({"n_estimators": 0}, r"'n_estimators' parameter"),
    ({"learning_rate": 0.0}, r"'learning_rate' parameter"),
    ({"subsample": 1.5}, r"'subsample' parameter"),
    ({"validation_fraction": 1.0}, r"'validation_fraction' parameter"),
    ({"eval_metric": "ndgc@10", "validation_fraction": 0.5}, r"unknown metric 'ndgc@10'"),
    ({"n_jobs": 0}, r"'n_jobs' must not be 0"),
    (
        {"monotone_constraints": [1, 0]},
        r"'monotone_constraints' must hold -1, 0 or 1 for each of the 3 features",
    ),
    ({"monotone_constraints": [1, 0, 2]}, r"'monotone_constraints' must hold -1, 0 or 1"),
    ({"monotone_constraints": [[1, 0], [1], 0]}, r"'monotone_constraints' must hold -1, 0 or 1"),
    ({"monotone_constraints": {"z": 1}}, r"'monotone_constraints' names \['z'\]"),
    ({"categorical_features": ["z"]}, r"'categorical_features' has 'z', which is not a column"),
    ({"categorical_features": [3]}, r"'categorical_features' must be in 0 .. 2"),
    ({"categorical_features": [0]}, r"'categorical_features' column 0 must hold codes"),
    (
        {"booster": "xgboost", "min_child_samples": 5},
        r"'min_child_samples' must be left at None with XGBoost",
    ),
    (
        {"booster": "lightgbm", "split_criterion": "least_squares"},
        r"'split_criterion' must be left at 'newton' with Light",
    ),
    ({"booster": "lightgbm", "booster_params": {"lambda_l2": 1}}, r"must not hold 'lambda_l2'.*'reg_lambda'"),
    (
        {"booster": "lightgbm", "booster_params": {"path_smoth": 1}},
        r"settings of LightGBM; it has no 'path_smoth' \(did you mean 'path_smooth",
    ),
    (
        {"booster": "xgboost", "booster_params": {"max_delta": 1}},
        r"settings of XGBoost; it has no 'max_delta'",
    ),
    (
        {"booster": "native", "booster_params": {"path_smooth": 1}},
        r"settings of booster='native'; it has no 'path_smooth'",
    ),
    ({"objective": lambda s: s}, r"\(gradient, hessian\)|unpack|shape"),
    ({"objective": lambda s: (s[:3], s[:3])}, r"shape \(12,\), got \(3,\)"),
    (
        {"objective": lambda s: (s, s), "validation_fraction": 0.5},
        r"'validation_fraction' cannot be combined",
    ),
]


@pytest.mark.parametrize(("parameters", "message"), BAD_PARAMETERS, ids=[m for _, m in BAD_PARAMETERS])
def test_bad_parameters(parameters, message):
    with pytest.raises((ValueError, TypeError), match=message):
        LambdaMART(**{**SMALL, "booster": "lightgbm", **parameters}).fit(X, Y, qid=QID)


def test_typos_are_not_swallowed():
    with pytest.raises(TypeError, match="num_leafs"):
        LambdaMART(num_leafs=3)
    with pytest.raises(ValueError, match="Invalid parameter 'num_leafs'"):
        LambdaMART().set_params(num_leafs=3)


def test_limits_of_the_libraries_objectives():
    with pytest.raises(ValueError, match=r"'y' must hold only 0 and 1 with objective='rank:map'; got 2"):
        XGBoostRanker("rank:map", **SMALL).fit(X, Y, qid=QID)
    with pytest.raises(ValueError, match=r"'y' must hold whole numbers 0 .. 30 with objective='rank_xendcg'"):
        LightGBMRanker("rank_xendcg", **SMALL).fit(X, Y * 20, qid=QID)
    rows = np.random.default_rng(0).normal(size=(10_001, 1))
    with pytest.raises(ValueError, match=r"more than 10,000 documents a query.*7 has 10,001; use LambdaMART"):
        LightGBMRanker(**SMALL).fit(rows, rows[:, 0] > 0, qid=np.full(10_001, 7))
    ranker = LambdaMART(booster="lightgbm", **SMALL).fit(rows, rows[:, 0] > 0, qid=np.full(10_001, 7))
    assert ranker.n_queries_in_ == 1


def test_limits_of_catboost():
    pytest.importorskip("catboost")
    with pytest.raises(ValueError, match=r"'min_child_samples' needs 'num_leaves' with CatBoost"):
        CatBoostRanker(n_estimators=2, min_child_samples=3).fit(X, Y, qid=QID)
    with pytest.raises(ValueError, match="NoSuchLoss"):
        CatBoostRanker(n_estimators=2, loss="NoSuchLoss").fit(X, Y, qid=QID)
