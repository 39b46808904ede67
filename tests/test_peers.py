"""Defects that users of the libraries meet today, kept out of ours.

Early stopping on transformed data (6), objectives (8) and calibration are in test_rankers_contract.py and
test_rankers_parity.py; Bradley-Terry's are in test_bradley_terry.py.
"""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import pytest
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics import ndcg_score
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from lambdamart_kit import CatBoostRanker, LambdaMART, LightGBMRanker, PointwiseRanker, XGBoostRanker
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.metrics import NDCG, ndcg
from lambdamart_kit.model_selection import QueryKFold, make_ranking_scorer, query_routing

SMALL = {"n_estimators": 4, "n_jobs": 1, "random_state": 0}
RANKERS = {
    "native": LambdaMART(booster="native", **SMALL),
    "lightgbm": LambdaMART(booster="lightgbm", **SMALL),
    "xgboost": LambdaMART(booster="xgboost", **SMALL),
    "lambdarank": LightGBMRanker(**SMALL),
    "rank:ndcg": XGBoostRanker(**SMALL),
    "pointwise": PointwiseRanker(DecisionTreeRegressor(max_depth=5, random_state=0)),
}
if importlib.util.find_spec("catboost"):
    RANKERS["yetirank"] = CatBoostRanker(**SMALL)
every_ranker = pytest.mark.parametrize("ranker", RANKERS.values(), ids=RANKERS)
boosted = pytest.mark.parametrize(
    "ranker",
    [r for name, r in RANKERS.items() if name != "pointwise"],
    ids=[n for n in RANKERS if n != "pointwise"],
)


@pytest.fixture(scope="module")
def letor():
    """Rows in random order, text ids, queries of very different sizes, some of them blank."""
    data = make_letor(n_queries=40, random_state=0)
    rows = np.random.default_rng(0).permutation(len(data.y))
    return data.X[rows], data.y[rows], np.char.add("query ", data.qid[rows].astype(str))


def query_means(y, scores, qid, k=10, weight=None):
    """NDCG by the book, query by query; blank queries left out."""
    values, weights = [], []
    for q in np.unique(qid):
        rows = qid == q
        if y[rows].max() > 0:
            gain = 2.0 ** y[rows] - 1
            values.append(ndcg_score([gain], [scores[rows]], k=k) if rows.sum() > 1 else 1.0)
            weights.append(1.0 if weight is None else weight[rows][0])
    return np.average(values, weights=weights)


@boosted
def test_1_a_query_counts_once_whatever_its_size(ranker, letor):
    """XGBRanker weighs a custom metric by query size: 20.43 where the plain mean is 17.05."""
    X, y, qid = letor
    ranker = ranker.__class__(**{**ranker.get_params(), "eval_metric": "ndcg@10"})
    ranker.fit(X, y, qid=qid, X_val=X, y_val=y, qid_val=qid)
    expected = query_means(y, ranker.predict(X), qid)
    assert ranker.score(X, y, qid=qid) == pytest.approx(expected)
    (history,) = ranker.evals_result_.values()
    assert history["ndcg@10"][-1] == pytest.approx(expected, rel=1e-6)


@every_ranker
def test_2_weighted_ndcg_with_blank_queries_is_a_mean(ranker, letor):
    """LightGBM reports 2.0, XGBoost aborts."""
    X, y, qid = letor
    code = np.unique(qid, return_inverse=True)[1]
    weight = 10.0 ** (code % 3)
    y = np.where(code % 4 == 0, 0, y)
    ranker.fit(X, y, qid=qid, sample_weight=weight)
    score = ranker.score(X, y, qid=qid, sample_weight=weight)
    assert score == pytest.approx(query_means(y, ranker.predict(X), qid, weight=weight))
    assert ndcg([1, 0, 0, 0], [2, 1, 2, 1], [1, 1, 2, 2], sample_weight=[1, 1, 9, 9]) == 1


@pytest.mark.parametrize("name", sorted(set(RANKERS) - {"yetirank"}))  # CatBoost refuses constant features
def test_3_the_order_of_rows_does_not_leak_through_ties(name, letor):
    """With constant features NDCG@5 is 1.0 if rows come label-descending and 0.065 ascending, in both."""
    _, y, qid = letor
    X = np.ones((len(y), 2), dtype=np.float32)
    values = []
    for order in (np.argsort(-y), np.argsort(y)):
        fitted = RANKERS[name].fit(X[order], y[order], qid=qid[order])
        values.append(NDCG(k=5)(y[order], fitted.predict(X[order]), qid[order]))
    assert values[0] == values[1] == NDCG(k=5)(y, np.zeros(len(y)), qid)


@every_ranker
def test_4_a_grid_search_scores_by_query(ranker, letor):
    """GridSearchCV(XGBRanker()) silently scores all rows as one query: 0.600 instead of 0.820."""
    X, y, qid = letor
    cv = QueryKFold(3)
    with query_routing():
        search = GridSearchCV(ranker, {}, cv=cv, error_score="raise").fit(X, y, qid=qid)
    for fold, (train, test) in enumerate(cv.split(X, y, qid)):
        fitted = ranker.fit(X[train], y[train], qid=qid[train])
        expected = query_means(y[test], fitted.predict(X[test]), qid[test])
        assert search.cv_results_[f"split{fold}_test_score"][0] == pytest.approx(expected)


@every_ranker
@pytest.mark.parametrize("cv", [3, QueryKFold(3)], ids=["rows", "queries"])
@pytest.mark.parametrize("scoring", [None, make_ranking_scorer("ndcg@10")], ids=["own", "scorer"])
def test_4_and_never_silently_by_row_when_routing_is_off(ranker, cv, scoring, letor):
    X, y, qid = letor
    search = GridSearchCV(ranker, {}, cv=cv, scoring=scoring, error_score="raise")
    with pytest.raises(ValueError, match=r"'qid'.*query_routing\(\)"):
        search.fit(X, y, qid=qid)


@every_ranker
def test_5_every_ranker_can_be_cross_validated(ranker, letor):
    """LGBMRanker's `group` is a list of sizes and it has no `score`; CatBoostRanker cannot be routed to."""
    X, y, qid = letor
    with query_routing(), warnings.catch_warnings():
        warnings.simplefilter("error")
        result = cross_validate(
            ranker,
            X,
            y,
            params={"qid": qid},
            cv=QueryKFold(3),
            error_score="raise",
            return_train_score=True,
            scoring={"own": make_ranking_scorer("ndcg@10"), "map": make_ranking_scorer("map")},
        )
    assert (result["test_own"] > 0.1).all()
    assert result["train_own"].mean() > result["test_own"].mean()


@pytest.mark.parametrize("resource", ["n_samples", "lambdamart__n_estimators"])
def test_7_halving_behind_a_scaler_with_unsorted_queries(resource, letor):
    """HalvingGridSearch unsorts queries; a query id column breaks under a scaler."""
    X, y, qid = letor
    pipeline = make_pipeline(StandardScaler(), LambdaMART(**SMALL))
    most = {"n_samples": "auto", "lambdamart__n_estimators": 8}[resource]
    with query_routing():
        search = HalvingGridSearchCV(
            pipeline,
            {"lambdamart__num_leaves": [4, 8, 16]},
            resource=resource,
            max_resources=most,
            factor=2,
            min_resources=4 if most == 8 else 1000,
            cv=QueryKFold(3),
            random_state=0,
            scoring=make_ranking_scorer("ndcg@10"),
            error_score="raise",
        ).fit(X, y, qid=qid)
    assert (search.cv_results_["mean_test_score"] > 0.1).all()
    assert ndcg(y, search.predict(X), qid, k=10) > search.best_score_


@pytest.mark.parametrize("booster", ["native", "lightgbm", "xgboost"])
def test_9_labels_over_thirty(booster, letor):
    """LightGBM labels > 30 and XGBoost labels > 31 fail or need a gain table."""
    X, y, qid = letor
    large = 10.0 * y  # up to 40
    ranker = LambdaMART(booster=booster, eval_metric="ndcg@10", **SMALL).fit(X, large, qid=qid)
    assert 0 < ranker.score(X, large, qid=qid) <= 1
    assert ndcg(1000 * y, ranker.predict(X), qid, gain="linear") == pytest.approx(
        ndcg(y, ranker.predict(X), qid, gain="linear")
    )


@pytest.mark.parametrize("booster", ["native", "lightgbm", "xgboost"])
def test_9_queries_over_ten_thousand_rows(booster, rng):
    """Queries over 10,000 rows fail in LightGBM."""
    X = rng.normal(size=(12_000, 2)).astype(np.float32)
    y = np.clip((X[:, 0] + rng.normal(size=12_000)).round(), 0, 4)
    qid = np.zeros(12_000)
    ranker = LambdaMART(booster=booster, **SMALL).fit(X, y, qid=qid)
    assert ranker.score(X, y, qid=qid) > 2 * ndcg(y, np.zeros(12_000), qid, k=10)


def test_14_ndcg_of_ragged_queries_of_any_size():
    """sklearn.metrics.ndcg_score: linear gain, raises on one-document queries, needs a 2-D array."""
    with pytest.raises(ValueError, match="NDCG"):
        ndcg_score([[1]], [[0.5]])
    assert ndcg([1, 2, 0], [0.5, 1.0, 2.0], ["one", "two", "two"], per_query=True).tolist() == [
        1,
        pytest.approx(1 / np.log2(3)),
    ]
    assert ndcg([2, 1], [1, 2]) == pytest.approx((1 + 3 / np.log2(3)) / (3 + 1 / np.log2(3)))
