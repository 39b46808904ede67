"""What every ranker promises, whatever its trees."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from lambdamart_kit import query_routing
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.metrics import err, ndcg
from lambdamart_kit.model_selection import QueryKFold, make_ranking_scorer
from lambdamart_kit.objectives import OBJECTIVES, BoundFunction, LambdaNDCG
from lambdamart_kit.rankers import (
    CatBoostRanker,
    LambdaMART,
    LightGBMRanker,
    PointwiseRanker,
    XGBoostRanker,
    load_ranker,
)

SMALL = {"n_estimators": 8, "num_leaves": 8, "random_state": 0, "n_jobs": 1}
BOOSTED = {
    "lambdamart-native": LambdaMART(booster="native", **SMALL),
    "lambdamart-lightgbm": LambdaMART(booster="lightgbm", **SMALL),
    "lambdamart-xgboost": LambdaMART("pairwise", booster="xgboost", **SMALL),
    "lambdarank": LightGBMRanker(**SMALL),
    "rank_xendcg": LightGBMRanker("rank_xendcg", **SMALL),
    "regression": LightGBMRanker("regression", **SMALL),
    "rank:ndcg": XGBoostRanker(**SMALL),
    "rank:pairwise": XGBoostRanker("rank:pairwise", **SMALL),
}
RANKERS = {**BOOSTED, "pointwise": PointwiseRanker(random_state=0, n_jobs=1)}
try:
    import catboost  # noqa: F401
except ImportError:
    pass
else:
    BOOSTED["catboost"] = RANKERS["catboost"] = CatBoostRanker(
        n_estimators=8, max_depth=4, random_state=0, n_jobs=1
    )

every_ranker = pytest.mark.parametrize("name", RANKERS)
every_boosted = pytest.mark.parametrize("name", BOOSTED)


@pytest.fixture(autouse=True)
def _fewer_trees(monkeypatch):
    """Of the pointwise default, which grows 300."""
    monkeypatch.setattr("lambdamart_kit.rankers.pointwise._DEFAULT_TREES", 20)


@pytest.fixture(scope="module")
def train():
    return make_letor(n_queries=40, mean_documents=25, max_documents=60, random_state=0)


@pytest.fixture(scope="module")
def test():
    return make_letor(n_queries=20, mean_documents=25, max_documents=60, random_state=1)


# ------------------------------------------------------------------------------------------- row order


@every_ranker
def test_same_model_whatever_the_order_of_the_rows(name, train, test, rng):
    """Peers' defect 3, and the house rule: bit for bit."""
    ranker = clone(RANKERS[name])
    expected = ranker.fit(train.X, train.y, qid=train.qid).predict(test.X)
    for shuffle in (rng.permutation(len(train.y)), np.arange(len(train.y))[::-1]):
        again = clone(ranker).fit(train.X[shuffle], train.y[shuffle], qid=train.qid[shuffle])
        np.testing.assert_array_equal(again.predict(test.X), expected)


@every_boosted
def test_same_model_for_one_thread_and_two(name, train, test):
    one, two = (clone(RANKERS[name]).set_params(n_jobs=n) for n in (1, 2))
    few = train.qid < np.unique(train.qid)[10]
    for ranker in (one, two):
        ranker.set_params(n_estimators=3).fit(train.X[few], train.y[few], qid=train.qid[few])
    np.testing.assert_allclose(one.predict(test.X), two.predict(test.X), atol=1e-5)


@every_ranker
def test_ids_are_only_ids(name, train, test):
    """Text or numbers, as long as they sort alike."""
    expected = clone(RANKERS[name]).fit(train.X, train.y, qid=train.qid).predict(test.X)
    text = np.char.zfill(train.qid.astype(str), 6)
    got = clone(RANKERS[name]).fit(train.X, train.y, qid=text).predict(test.X)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("library", ["native", "lightgbm", "xgboost"])
def test_constant_features_do_not_leak_the_order_of_labels(library, train):
    """Peers' defect 3: NDCG@5 was 1.0 with rows label-descending and 0.065 ascending."""
    X = np.ones((len(train.y), 2))
    for order in (np.argsort(train.y), np.argsort(-train.y)):
        ranker = LambdaMART(booster=library, **SMALL).fit(X[order], train.y[order], qid=train.qid[order])
        assert np.ptp(ranker.predict(X)) == 0
        score = ranker.score(X[order], train.y[order], qid=train.qid[order])
        assert score == pytest.approx(ndcg(train.y, np.zeros(len(train.y)), train.qid, k=10))


# ----------------------------------------------------------------------------------- predict and score


@every_ranker
def test_learns_and_predicts(name, train, test):
    ranker = clone(RANKERS[name]).fit(train.X, train.y, qid=train.qid)
    scores = ranker.predict(test.X)
    assert scores.dtype == np.float64
    assert scores.shape == test.y.shape
    assert ranker.score(test.X, test.y, qid=test.qid) == ndcg(test.y, scores, test.qid, k=10)
    assert ranker.score(train.X, train.y, qid=train.qid) > 1.3 * ndcg(
        train.y, np.zeros_like(train.y), train.qid, k=10
    )
    assert ranker.n_queries_in_ == len(np.unique(train.qid))
    assert set(ranker.fit_times_) <= {"data", "gradient", "evaluation", "trees", "fit"}
    assert min(ranker.fit_times_.values()) >= 0


def test_score_takes_the_eval_metric_and_weights(train, test, rng):
    ranker = LambdaMART(eval_metric="err@3", **SMALL).fit(train.X, train.y, qid=train.qid)
    weight = rng.random(len(np.unique(test.qid)))[np.unique(test.qid, return_inverse=True)[1]]
    expected = err(test.y, ranker.predict(test.X), test.qid, k=3, sample_weight=weight)
    assert ranker.score(test.X, test.y, qid=test.qid, sample_weight=weight) == expected


def test_score_without_qid_is_an_error_after_a_fit_with_it(train):
    """Peers' defect 4: a search that does not pass ids on would score all rows as one query."""
    ranker = LambdaMART(**SMALL).fit(train.X, train.y, qid=train.qid)
    with pytest.raises(ValueError, match=r"'qid' must be given to score.*query_routing"):
        ranker.score(train.X, train.y)
    assert 0 < ranker.score(train.X, train.y, qid=np.zeros(len(train.y))) <= 1


@every_ranker
def test_no_qid_is_one_query_with_a_warning(name, train):
    with pytest.warns(UserWarning, match="qid=None and takes all rows as one query"):
        ranker = clone(RANKERS[name]).fit(train.X[:300], train.y[:300])
    assert ranker.n_queries_in_ == 1
    assert ranker.score(train.X[:300], train.y[:300]) > 0


@every_ranker
def test_pickle_copy_clone(name, train, test):
    ranker = clone(RANKERS[name]).fit(train.X, train.y, qid=train.qid)
    expected = ranker.predict(test.X)
    for twin in (pickle.loads(pickle.dumps(ranker)), copy.deepcopy(ranker)):
        np.testing.assert_array_equal(twin.predict(test.X), expected)
    assert not hasattr(clone(ranker), "fit_times_")


# ------------------------------------------------------------------------------ weights, blanks, sizes


@pytest.mark.parametrize("booster", ["native", "lightgbm", "xgboost"])
def test_weight_two_is_the_query_twice(booster, rng):
    """Features of a few values, so that doubling rows moves no bin border."""
    X, qid = rng.integers(0, 6, (200, 4)).astype(float), np.repeat(np.arange(20), 10)
    y, doubled = rng.integers(0, 3, 200), qid % 4 == 0
    settings = {**SMALL, "booster": booster, "min_child_weight": 0.0}
    if booster != "xgboost":
        settings["min_child_samples"] = 1
    weighted = LambdaMART(**settings).fit(X, y, qid=qid, sample_weight=1.0 + doubled)
    X_twice, y_twice = np.vstack([X, X[doubled]]), np.append(y, y[doubled])
    repeated = LambdaMART(**settings).fit(X_twice, y_twice, qid=np.append(qid, qid[doubled] + 100))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), atol=1e-5)


@every_boosted
def test_queries_that_prefer_nothing_change_nothing(name, rng):
    """One document, or one label: such queries hold no pair."""
    if name in ("regression", "catboost", "rank_xendcg"):
        pytest.skip("its loss counts every row")
    X, qid = rng.integers(0, 6, (200, 4)).astype(float), np.repeat(np.arange(20), 10)
    y = rng.integers(0, 3, 200)
    ranker = clone(RANKERS[name]).set_params(num_leaves=3)
    if name in ("lambdamart-native", "lambdamart-lightgbm", "lambdarank"):
        ranker.set_params(min_child_samples=1)  # which counts such rows too
    expected = clone(ranker).fit(X, y, qid=qid).predict(X)
    blank = rng.integers(0, 6, (12, 4)).astype(float)
    got = ranker.fit(
        np.vstack([X, blank]), np.append(y, np.repeat(1, 12)), qid=np.append(qid, [50] * 10 + [51, 52])
    )
    np.testing.assert_allclose(got.predict(X), expected, atol=1e-5)
    assert got.n_queries_in_ == 23


def test_fractional_labels(rng):
    X, qid = rng.normal(size=(300, 3)), np.repeat(np.arange(30), 10)
    y = np.maximum(0, X[:, 0]) * 1.5
    for ranker in (LambdaMART(**SMALL), LightGBMRanker(**SMALL), XGBoostRanker(**SMALL)):
        assert ranker.fit(X, y, qid=qid).score(X, y, qid=qid) > 0.9


# ------------------------------------------------------------------------- early stopping, warm start


@every_boosted
def test_early_stopping_keeps_the_best_round(name, train, test):
    ranker = clone(BOOSTED[name]).set_params(n_estimators=60, early_stopping_rounds=4, learning_rate=0.4)
    ranker.fit(train.X, train.y, qid=train.qid, X_val=test.X, y_val=test.y, qid_val=test.qid)
    history = ranker.evals_result_["validation"]["ndcg@10"]
    assert ranker.best_iteration_ == np.argmax(np.round(history, 12)) + 1
    assert len(history) == min(ranker.best_iteration_ + 4, 60)
    assert len(history) < 60
    assert ranker.best_score_ == max(history)
    assert ranker.score(test.X, test.y, qid=test.qid) == pytest.approx(ranker.best_score_, abs=1e-6)


@every_boosted
def test_history_without_early_stopping(name, train, test):
    ranker = clone(BOOSTED[name]).set_params(eval_metric="map")
    ranker.fit(train.X, train.y, qid=train.qid, X_val=test.X, y_val=test.y, qid_val=test.qid)
    assert len(ranker.evals_result_["validation"]["map"]) == ranker.best_iteration_ == 8
    assert ranker.best_score_ == ranker.evals_result_["validation"]["map"][-1]


def test_held_out_queries_do_not_depend_on_the_row_order(train, test, rng):
    settings = {**SMALL, "n_estimators": 40, "early_stopping_rounds": 5, "validation_fraction": 0.25}
    ranker = LambdaMART(**settings).fit(train.X, train.y, qid=train.qid)
    p = rng.permutation(len(train.y))
    again = LambdaMART(**settings).fit(train.X[p], train.y[p], qid=train.qid[p])
    assert again.evals_result_ == ranker.evals_result_
    np.testing.assert_array_equal(again.predict(test.X), ranker.predict(test.X))
    other = LambdaMART(**{**settings, "random_state": 1}).fit(train.X, train.y, qid=train.qid)
    assert other.evals_result_ != ranker.evals_result_


def test_given_validation_data_win_over_the_fraction(train, test):
    val = {"X_val": test.X, "y_val": test.y, "qid_val": test.qid}
    both = LambdaMART(validation_fraction=0.3, **SMALL).fit(train.X, train.y, qid=train.qid, **val)
    given = LambdaMART(**SMALL).fit(train.X, train.y, qid=train.qid, **val)
    assert both.evals_result_ == given.evals_result_


@every_boosted
def test_warm_start_adds_trees(name, train, test):
    once = clone(BOOSTED[name]).fit(train.X, train.y, qid=train.qid)
    twice = clone(BOOSTED[name]).set_params(n_estimators=4, warm_start=True)
    twice.fit(train.X, train.y, qid=train.qid)
    first = twice.predict(test.X)
    twice.set_params(n_estimators=8).fit(train.X, train.y, qid=train.qid)
    assert twice.best_iteration_ == 8
    np.testing.assert_allclose(twice.model_.predict(test.X, iteration_range=(0, 4)), first, atol=1e-6)
    if name not in ("rank_xendcg", "catboost", "regression"):  # draw random numbers, or average labels anew
        np.testing.assert_allclose(twice.predict(test.X), once.predict(test.X), atol=1e-5)
    if name == "lambdamart-native":
        assert np.array_equal(twice.predict(test.X), once.predict(test.X))
    with pytest.raises(ValueError, match=r"'n_estimators' must be at least 8.*warm_start"):
        twice.set_params(n_estimators=5).fit(train.X, train.y, qid=train.qid)


def test_a_warm_start_draws_as_if_it_had_never_stopped(train, test):
    ranker = LambdaMART("yeti", subsample=0.7, colsample_bytree=0.8, **SMALL)
    once = clone(ranker).fit(train.X, train.y, qid=train.qid)
    twice = ranker.set_params(n_estimators=3, warm_start=True).fit(train.X, train.y, qid=train.qid)
    twice.set_params(n_estimators=8).fit(train.X, train.y, qid=train.qid)
    assert np.array_equal(twice.predict(test.X), once.predict(test.X))


@pytest.mark.parametrize("booster", ["lightgbm", "xgboost"])
def test_objectives_draw_on_with_a_librarys_trees(booster, train, test):
    ranker = LambdaMART("yeti", booster=booster, **SMALL)
    once = clone(ranker).fit(train.X, train.y, qid=train.qid)
    twice = ranker.set_params(n_estimators=3, warm_start=True).fit(train.X, train.y, qid=train.qid)
    twice.set_params(n_estimators=8).fit(train.X, train.y, qid=train.qid)
    np.testing.assert_allclose(twice.predict(test.X), once.predict(test.X), atol=1e-5)


def test_progress_is_silent_or_a_few_lines(train, test, capfd):
    LambdaMART(**SMALL).fit(train.X, train.y, qid=train.qid)
    assert capfd.readouterr() == ("", "")
    val = {"X_val": test.X, "y_val": test.y, "qid_val": test.qid}
    LambdaMART(verbose=1, **{**SMALL, "n_estimators": 20}).fit(train.X, train.y, qid=train.qid, **val)
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 10
    assert "LambdaMART (native) 20/20  validation ndcg@10 0." in err


# --------------------------------------------------------------------------- scikit-learn around them


def test_early_stopping_inside_cross_validation_of_a_pipeline(train):
    """Peers' defect 6: held-out queries come out of each training part, already transformed."""
    ranker = LambdaMART(early_stopping_rounds=3, validation_fraction=0.2, **{**SMALL, "n_estimators": 30})
    pipeline = make_pipeline(StandardScaler(), ranker)
    with query_routing():
        result = cross_validate(
            pipeline,
            train.X,
            train.y,
            params={"qid": train.qid},
            cv=QueryKFold(3),
            scoring=make_ranking_scorer("ndcg@10"),
            return_estimator=True,
        )
    assert (result["test_score"] > 0.3).all()
    for fitted in result["estimator"]:
        assert len(fitted[-1].evals_result_["validation"]["ndcg@10"]) <= fitted[-1].best_iteration_ + 3


def test_validation_data_are_transformed_in_a_pipeline(train, test):
    """The other half of defect 6, with the eval set passed in."""
    val = {"X_val": 1000 * test.X + 5, "y_val": test.y, "qid_val": test.qid}
    with query_routing():
        pipeline = Pipeline(
            [("scale", StandardScaler()), ("rank", LambdaMART(**SMALL))], transform_input=["X_val"]
        ).fit(1000 * train.X + 5, train.y, qid=train.qid, **val)
        assert pipeline.score(val["X_val"], test.y, qid=test.qid) == pytest.approx(pipeline[-1].best_score_)


@pytest.mark.parametrize("name", ["lambdamart-native", "lambdarank", "rank:ndcg", "pointwise", "catboost"])
def test_grid_search_with_shuffled_text_ids(name, train, rng):
    """Peers' defects 4 and 5: `qid` reaches fit and score with no set_fit_request call."""
    if name not in RANKERS:
        pytest.skip("needs catboost")
    p = rng.permutation(len(train.y))
    X, y, qid = train.X[p], train.y[p], np.char.add("q", train.qid[p].astype(str))
    pipeline = make_pipeline(StandardScaler(), clone(RANKERS[name]))
    last = pipeline.steps[-1][0]
    grid = {f"{last}__random_state": [0, 1]} if name == "pointwise" else {f"{last}__num_leaves": [2, 8]}
    with query_routing():
        search = GridSearchCV(pipeline, grid, cv=QueryKFold(2), scoring=make_ranking_scorer("ndcg@10"))
        search.fit(X, y, qid=qid)
        by_own_score = GridSearchCV(pipeline, grid, cv=QueryKFold(2)).fit(X, y, qid=qid)
        assert search.score(X, y, qid=qid) == pytest.approx(search.best_estimator_.score(X, y, qid=qid))
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], by_own_score.cv_results_["mean_test_score"]
    )


def test_grid_search_over_objectives_and_boosters(train):
    with query_routing():
        search = GridSearchCV(
            LambdaMART(**SMALL),
            {"objective": ["ndcg", "pairwise", LambdaNDCG.burges()], "booster": ["native", "xgboost"]},
            cv=QueryKFold(2),
        ).fit(train.X, train.y, qid=train.qid)
    assert len(set(search.cv_results_["mean_test_score"])) == 6


# -------------------------------------------------------------------------------- kinds of objective


@pytest.mark.parametrize("booster", ["native", "lightgbm", "xgboost"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_on_every_trees(objective, booster, train):
    few = train.qid < np.unique(train.qid)[15]
    X, y, qid = train.X[few], train.y[few], train.qid[few]
    ranker = LambdaMART(objective, booster=booster, **{**SMALL, "n_estimators": 5}).fit(X, y, qid=qid)
    assert ranker.score(X, y, qid=qid) > 1.2 * ndcg(y, np.zeros(len(y)), qid, k=10)


def test_function_as_objective_sees_rows_as_given(train, test, rng):
    """Peers' defect 8. A squared loss of the labels is LightGBM's regression."""
    p = rng.permutation(len(train.y))
    X, y, qid = train.X[p], train.y[p], train.qid[p]
    ranker = LambdaMART(lambda scores: (scores - y, np.ones_like(scores)), booster="lightgbm", **SMALL)
    theirs = LightGBMRanker("regression", booster_params={"min_data_in_leaf": 20}, **SMALL)
    with pytest.raises(ValueError, match="'booster_params' must not hold 'min_data_in_leaf'"):
        theirs.fit(X, y, qid=qid)
    ranker.fit(X, y, qid=qid)
    assert ranker.score(X, y, qid=qid) > 0.4
    assert np.corrcoef(ranker.predict(X), y)[0, 1] > 0.4


def test_anything_with_bind_is_an_objective(train, test):
    class SquaredLoss:
        def bind(self, y, queries, sample_weight=None, *, n_threads=None):
            return BoundFunction(lambda scores: (scores - y, np.ones_like(scores)), queries)

    y = train.y.astype(np.float32)
    bound, function = (
        LambdaMART(objective, **SMALL).fit(train.X, train.y, qid=train.qid).predict(test.X)
        for objective in (SquaredLoss(), lambda scores: (scores - y, np.ones_like(scores)))
    )
    np.testing.assert_allclose(bound, function, atol=1e-6)


# ------------------------------------------------------------------------- frames, categories, sparse


def test_frames_keep_names(train, test):
    names = [f"f {j}" for j in range(train.X.shape[1])]
    frame, other = (pd.DataFrame(ds.X, columns=names) for ds in (train, test))
    for ranker in (LambdaMART(**SMALL), XGBoostRanker(**SMALL)):
        ranker.fit(frame, train.y, qid=train.qid)
        assert ranker.feature_names_in_.tolist() == names
        np.testing.assert_array_equal(
            ranker.predict(other), clone(ranker).fit(train.X, train.y, qid=train.qid).predict(test.X)
        )
        with pytest.raises(ValueError, match="feature names should match"):
            ranker.predict(other.rename(columns={"f 3": "g"}))


@every_ranker
def test_two_columns_of_one_name(name, train):
    """A library may give both columns the values of one."""
    names = [f"f{j}" for j in range(train.X.shape[1])]
    frame = pd.DataFrame(train.X, columns=names)
    twice = frame.rename(columns={"f3": "f1"})
    table = pa.table(list(train.X.T), names=["f1" if name == "f3" else name for name in names])
    message = "'X' must have columns of different names, got 'f1' 2 times"
    for X in (twice, table):
        with pytest.raises(ValueError, match=message):
            clone(RANKERS[name]).fit(X, train.y, qid=train.qid)
    ranker = clone(RANKERS[name]).fit(frame, train.y, qid=train.qid)
    with pytest.raises(ValueError, match=message):
        ranker.predict(twice)
    if name == "pointwise":
        return  # takes no validation rows
    with pytest.raises(ValueError, match="'X_val' must have columns of different names"):
        clone(RANKERS[name]).fit(frame, train.y, qid=train.qid, X_val=twice, y_val=train.y, qid_val=train.qid)


@pytest.mark.parametrize("booster", ["native", "lightgbm", "xgboost"])
def test_a_column_without_a_name(booster, train, tmp_path):
    names = ["", *(f"f{j}" for j in range(1, train.X.shape[1]))]
    frame = pd.DataFrame(train.X, columns=names)
    ranker = LambdaMART(booster=booster, n_estimators=3).fit(frame, train.y, qid=train.qid)
    ranker.save(tmp_path / "ranker.lmk")
    loaded = load_ranker(tmp_path / "ranker.lmk")
    assert loaded.feature_names_in_.tolist() == names
    np.testing.assert_array_equal(loaded.predict(frame), ranker.predict(frame))
    booster_names = ranker.booster_.feature_name() if booster != "xgboost" else ranker.booster_.feature_names
    assert booster_names[:2] == ["_", "f1"]


@pytest.mark.parametrize(
    "name", ["lambdamart-native", "lambdamart-lightgbm", "lambdamart-xgboost", "lambdarank", "catboost"]
)
def test_category_columns_are_categories(name, rng):
    """Wanted categories alternate in code order, so a single split finds them only as a set."""
    if name not in RANKERS:
        pytest.skip("needs catboost")
    code = rng.integers(0, 10, 2000)
    frame = pd.DataFrame({"noise": rng.normal(size=2000), "kind": pd.Categorical([f"k{c}" for c in code])})
    y, qid = code % 2, np.repeat(np.arange(200), 10)
    ranker = clone(RANKERS[name]).set_params(n_estimators=10, num_leaves=2 if name != "catboost" else None)
    ranker.fit(frame, y, qid=qid)
    assert ranker.categories_ == {1: [f"k{c}" for c in range(10)]}
    assert ranker.score(frame, y, qid=qid) == 1.0
    # Codes follow the categories seen in fit, not those of the frame at hand.
    reordered = frame.assign(kind=frame["kind"].cat.reorder_categories([f"k{c}" for c in range(9, -1, -1)]))
    np.testing.assert_array_equal(ranker.predict(reordered), ranker.predict(frame))
    np.testing.assert_array_equal(ranker.predict(frame.astype({"kind": "str"})), ranker.predict(frame))
    unseen = frame.assign(kind=pd.Categorical(["new"] * 2000))
    assert np.isfinite(ranker.predict(unseen)).all()
    with pytest.raises(ValueError, match="'X' must be a DataFrame"):
        ranker.predict(np.zeros((3, 2)))


def test_categorical_features_by_index_or_name(rng):
    code = rng.integers(0, 10, 2000).astype(float)
    X, y, qid = np.column_stack([rng.normal(size=2000), code]), code % 2, np.repeat(np.arange(200), 10)
    settings = {**SMALL, "num_leaves": 2, "n_estimators": 3}
    by_index = LambdaMART(categorical_features=[1], **settings).fit(X, y, qid=qid)
    assert by_index.score(X, y, qid=qid) == 1.0
    frame = pd.DataFrame(X, columns=["noise", "code"])
    by_name = LambdaMART(categorical_features=["code"], **settings).fit(frame, y, qid=qid)
    np.testing.assert_array_equal(by_name.predict(frame), by_index.predict(X))
    assert LambdaMART(categorical_features=None, **settings).fit(X, y, qid=qid).score(X, y, qid=qid) < 1


@every_ranker
def test_sparse_matrices(name, train, test):
    sparse_train, sparse_test = sparse.csr_matrix(train.X), sparse.csr_array(test.X)
    ranker = clone(RANKERS[name]).fit(sparse_train, train.y, qid=train.qid)
    np.testing.assert_allclose(ranker.predict(sparse_test), ranker.predict(test.X), atol=1e-12)
    if "xgboost" in name or ":" in name:
        return  # takes zeros of a sparse matrix as missing: same formats, another model
    dense = clone(RANKERS[name]).fit(train.X, train.y, qid=train.qid)
    np.testing.assert_allclose(ranker.predict(test.X), dense.predict(test.X), atol=1e-6)


def test_xgboost_fitted_on_an_array_takes_sparse_zeros_as_zeros(train, test):
    ranker = XGBoostRanker(**SMALL).fit(train.X, train.y, qid=train.qid)
    np.testing.assert_array_equal(ranker.predict(sparse.csr_matrix(test.X)), ranker.predict(test.X))


@every_ranker
def test_missing_values(name, train, test, rng):
    holes = np.where(rng.random(train.X.shape) < 0.2, np.nan, train.X)
    ranker = clone(RANKERS[name]).fit(holes, train.y, qid=train.qid)
    assert np.isfinite(ranker.predict(np.full_like(test.X, np.nan))).all()


@every_ranker
@pytest.mark.parametrize("missing_is_better", [True, False])
def test_a_missing_value_says_what_it_said_in_training(name, missing_is_better, rng):
    """Only whether the first feature is missing tells the labels; its values tell nothing."""
    X = rng.normal(size=(1200, 3)).astype(np.float32)
    is_missing = rng.random(1200) < 0.3
    X[is_missing, 0] = np.nan
    y = is_missing if missing_is_better else ~is_missing
    ranker = clone(RANKERS[name]).fit(X, y.astype(float), qid=np.arange(1200) // 20)
    probe = rng.normal(size=(400, 3)).astype(np.float32)
    probe[::2, 0] = np.nan
    scores = ranker.predict(probe)
    better, worse = (scores[::2], scores[1::2]) if missing_is_better else (scores[1::2], scores[::2])
    assert better.min() > worse.max()


def _first_gain(ranker):
    """Gain of the root of the first tree, as the library of the trees tells it; 0 for a single leaf."""
    table = ranker.booster_.trees_to_dataframe()
    return float(np.nan_to_num(table["Gain" if "Gain" in table else "split_gain"].to_numpy(dtype=float))[0])


@every_boosted
def test_the_least_gain_of_a_split_is_that_of_its_library(name, train):
    if name == "catboost":
        pytest.skip("CatBoost has no such parameter")
    ranker = clone(RANKERS[name]).set_params(n_estimators=1, num_leaves=2)
    gain = _first_gain(ranker.fit(train.X, train.y, qid=train.qid))
    assert gain > 0
    for factor, is_split in ((0.97, True), (1.03, False)):
        ranker.set_params(min_split_gain=factor * gain).fit(train.X, train.y, qid=train.qid)
        assert (len(np.unique(ranker.predict(train.X))) > 1) == is_split


@every_boosted
def test_monotone_constraints(name, train):
    if name == "catboost":
        ranker = clone(BOOSTED[name]).set_params(max_depth=3)
    else:
        ranker = clone(BOOSTED[name])
    X, decreasing = train.X[:, :5], -train.X[:, 0]
    y = (decreasing > np.median(decreasing)).astype(int)
    ranker.set_params(monotone_constraints=[1, 0, 0, 0, 0]).fit(X, y, qid=train.qid)
    grid = np.repeat(X[:1], 50, axis=0)
    grid[:, 0] = np.linspace(X[:, 0].min(), X[:, 0].max(), 50)
    assert (np.diff(ranker.predict(grid)) >= 0).all()


@every_boosted
def test_importances_find_the_feature(name, rng):
    X, qid = rng.normal(size=(500, 4)), np.repeat(np.arange(50), 10)
    ranker = clone(BOOSTED[name]).fit(X, (X[:, 2] > 0.5).astype(int), qid=qid)
    assert ranker.feature_importances_.sum() == pytest.approx(1)
    assert ranker.feature_importances_.argmax() == 2
    if name == "catboost":  # a copy of the trees in use, without the kit's own objects among its parameters
        np.testing.assert_array_equal(ranker.booster_.predict(X), ranker.predict(X))
    else:
        assert ranker.booster_ is ranker.model_.raw


# ------------------------------------------------------------------------------------------- pointwise


def test_pointwise_takes_any_estimator_and_row_weights(train, test, rng):
    regression = PointwiseRanker(LinearRegression()).fit(train.X, train.y, qid=train.qid)
    expected = LinearRegression().fit(train.X, train.y).predict(test.X)
    np.testing.assert_allclose(regression.predict(test.X), expected, rtol=1e-4, atol=1e-5)
    weight = rng.random(len(train.y))
    weighted = PointwiseRanker(LinearRegression()).fit(train.X, train.y, qid=train.qid, sample_weight=weight)
    expected = LinearRegression().fit(train.X, train.y, sample_weight=weight).predict(test.X)
    np.testing.assert_allclose(weighted.predict(test.X), expected, rtol=1e-4, atol=1e-5)
    by_weight, plain = (
        PointwiseRanker(random_state=0, n_jobs=1).fit(train.X, train.y, qid=train.qid, sample_weight=w)
        for w in (weight, None)
    )
    assert not np.array_equal(by_weight.predict(test.X), plain.predict(test.X))


def test_pointwise_classifier_scores_its_expected_label(rng):
    X, qid = rng.normal(size=(300, 3)), np.repeat(np.arange(30), 10)
    y = np.digitize(X[:, 0], [-0.5, 0.5]) * 2
    ranker = PointwiseRanker(LogisticRegression()).fit(X, y, qid=qid)
    probability = LogisticRegression().fit(X, y).predict_proba(X)
    np.testing.assert_allclose(ranker.predict(X), probability @ [0, 2, 4])


def test_importing_rankers_loads_no_library():
    code = (
        "import sys, lambdamart_kit.rankers; "
        "print([m for m in ('lightgbm', 'xgboost', 'catboost', 'sklearn', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_ranker_loads_only_its_own_library():
    code = (
        "import sys, numpy as np; from lambdamart_kit.rankers import LambdaMART; X = np.eye(4); "
        "LambdaMART(booster='lightgbm', n_estimators=1).fit(X, [0, 1, 0, 1], qid=[1, 1, 2, 2]); "
        "print([m for m in ('lightgbm', 'xgboost', 'catboost') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['lightgbm']"
