"""Bags against slow, explicit versions of the same: draws, weights, early stopping, merged models."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import lambdamart_kit as lk
from lambdamart_kit import (
    CatBoostRanker,
    LambdaMART,
    LightGBMRanker,
    LinearRanker,
    NeuralRanker,
    XGBoostRanker,
)
from lambdamart_kit.core.ordered_rows import order_rows
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.metrics import ndcg
from lambdamart_kit.model_selection import QueryKFold, make_ranking_scorer
from lambdamart_kit.objectives import OBJECTIVES
from lambdamart_kit.runtime.randomness import make_rng
from lambdamart_kit.trees.binning import BinMapper, BinnedMatrix
from lambdamart_kit.trees.boosting import boost
from lambdamart_kit.trees.parameters import TreeParameters

SMALL = {"n_estimators": 6, "num_leaves": 5, "min_child_samples": 5}


def make_data(n_queries=24, seed=0):
    data = make_letor(n_queries=n_queries, random_state=seed)
    return data.X[:, :8], data.y, data.qid


X, Y, QID = make_data()
X_TEST, Y_TEST, QID_TEST = make_data(10, 1)

RANKERS = {
    "native": LambdaMART(**SMALL),
    "symmetric": LambdaMART(booster_params={"grow_policy": "symmetric"}, **SMALL),
    "lightgbm": LambdaMART(booster="lightgbm", **SMALL),
    "xgboost": LambdaMART(booster="xgboost", n_estimators=6, num_leaves=5),
    "LightGBM": LightGBMRanker(**SMALL),
    "XGBoost": XGBoostRanker(n_estimators=6, num_leaves=5),
    "CatBoost": CatBoostRanker(n_estimators=6, max_depth=3),
    "linear": LinearRanker(max_iter=5),
    "neural": NeuralRanker(hidden_layer_sizes=(6, 4), max_iter=2),
}
# XGBoost keeps leaves in float32, so a leaf divided by the number of bags is rounded once more.
ROUNDING = {"xgboost": 1e-6, "XGBoost": 1e-6}


def bagged(name, **parameters):
    ranker = clone(RANKERS[name]).set_params(n_bags=3, random_state=5, n_jobs=1)
    return ranker.set_params(**parameters)


@pytest.fixture(scope="module")
def fitted():
    return {name: bagged(name).fit(X, Y, qid=QID) for name in RANKERS}


# -------------------------------------------------------------------------------- against explicit versions


def drawn_times(n_bags, n_queries, random_state):
    """How often each bag draws each query, and the seed of its fit, as the docstrings say."""
    streams = make_rng(random_state).spawn(n_bags)
    draws = []
    for stream in streams:
        times = np.zeros(n_queries, dtype=int)
        for query in stream.integers(n_queries, size=n_queries):
            times[query] += 1
        draws.append((times, int(stream.integers(2**31 - 1))))
    return draws


def test_a_bag_is_a_fit_on_the_drawn_queries_with_their_weights(fitted):
    # The slow version: sort rows as every fit does, bin all of them once, and grow each bag on its own rows.
    ranker = fitted["native"]
    ids, query_of_row = np.unique(QID, return_inverse=True)
    rows = order_rows(X, Y, QID, None)
    ordered = X[rows.order]
    binned = BinMapper.fit(ordered, rows.queries).transform(ordered)
    test = binned.mapper.transform(X_TEST)
    scores = []
    outside = []
    for times, seed in drawn_times(3, len(ids), 5):
        of_row = times[query_of_row[rows.order]]
        inside = np.flatnonzero(of_row > 0)
        queries = Queries.from_qid(QID[rows.order][inside], len(inside))
        bound = OBJECTIVES["ndcg"]().bind(rows.y[inside], queries, of_row[inside].astype(float), n_threads=1)
        parameters = TreeParameters(
            num_leaves=5,
            min_child_samples=5,
            learning_rate=ranker.learning_rate,
            seed=int(make_rng(seed).integers(2**31 - 1)),
            **{name: getattr(ranker, name) for name in ("reg_lambda", "subsample", "colsample_bytree")},
        )
        part = BinnedMatrix(np.ascontiguousarray(binned.columns[:, inside]), binned.mapper)
        ensemble = boost(part, queries, bound, parameters, n_estimators=6)
        scores.append(sum_of_trees(ensemble, test))
        own = np.full(len(Y), np.nan)
        own[rows.order] = sum_of_trees(ensemble, binned)
        own[times[query_of_row] > 0] = np.nan
        outside.append(own)
    assert np.abs(ranker.predict(X_TEST) - np.mean(scores, axis=0)).max() < 1e-9
    np.testing.assert_allclose(ranker.bag_scores(X_TEST), scores, atol=1e-9)
    known = ~np.isnan(outside).all(axis=0)
    assert known.any()
    assert not known.all()
    np.testing.assert_allclose(ranker.oob_scores_[known], np.nanmean(np.array(outside)[:, known], axis=0))
    assert np.isnan(ranker.oob_scores_[~known]).all()
    measured = ndcg(Y[known], ranker.oob_scores_[known], QID[known], k=10)
    assert ranker.oob_score_ == pytest.approx(measured, abs=1e-12)


def sum_of_trees(ensemble, binned):
    scores = np.zeros(binned.n_samples)
    for tree in ensemble.trees:
        tree.add_to(scores, binned)
    return scores


@pytest.mark.parametrize("name", ["ndcg", "pairwise", "map", "mrr", "listnet", "listmle"])
def test_a_weight_gives_the_gradient_of_copies(name):
    rng = np.random.default_rng(0)
    sizes = [4, 7, 5]
    times = [3, 1, 2]
    labels = [rng.integers(0, 2 if name in ("map", "mrr") else 4, n).astype(float) for n in sizes]
    scores = [rng.normal(size=n).astype(np.float32) for n in sizes]
    once = OBJECTIVES[name]().bind(
        np.concatenate(labels),
        Queries.from_qid(np.repeat([0, 1, 2], sizes), 16),
        np.repeat(np.array(times, dtype=float), sizes),
        n_threads=1,
    )
    g, h = (part.copy() for part in once.gradient_hessian(np.concatenate(scores)))
    copied = np.repeat([0, 1, 2], times)
    copies = OBJECTIVES[name]().bind(
        np.concatenate([labels[q] for q in copied]),
        Queries.from_qid(np.repeat(np.arange(6), np.array(sizes)[copied]), np.array(sizes)[copied].sum()),
        n_threads=1,
    )
    parts = copies.gradient_hessian(np.concatenate([scores[q] for q in copied]))
    for weighted, all_copies in zip((g, h), parts):
        cuts = np.split(all_copies, np.cumsum(np.array(sizes)[copied])[:-1])
        summed = [sum(cut for cut, q in zip(cuts, copied) if q == query) for query in range(3)]
        np.testing.assert_allclose(weighted, np.concatenate(summed), rtol=2e-5, atol=1e-6)


def test_each_bag_stops_on_the_queries_it_did_not_draw():
    ranker = bagged("native", n_estimators=30, early_stopping_rounds=3).fit(X, Y, qid=QID)
    query_of_row = np.unique(QID, return_inverse=True)[1]
    scores = ranker.bag_scores(X)
    draws = drawn_times(3, query_of_row.max() + 1, 5)
    for number, (times, _) in enumerate(draws):
        rest = times[query_of_row] == 0
        history = ranker.evals_result_[f"bag {number}"]["ndcg@10"]
        best = ranker.bag_iterations_[number]
        assert best == int(np.argmax(history)) + 1
        assert max(history) == pytest.approx(ndcg(Y[rest], scores[number][rest], QID[rest], k=10), abs=1e-9)
    assert len(set(ranker.bag_iterations_)) > 1
    assert ranker.best_iteration_ == sum(ranker.bag_iterations_)


@pytest.mark.parametrize("name", ["native", "linear"])
def test_given_held_out_queries_stop_all_bags(name):
    ranker = bagged(name, early_stopping_rounds=2)
    ranker.fit(X, Y, qid=QID, X_val=X_TEST, y_val=Y_TEST, qid_val=QID_TEST)
    scores = ranker.bag_scores(X_TEST)
    for number in range(3):
        history = ranker.evals_result_[f"bag {number}"]["ndcg@10"]
        assert max(history) == pytest.approx(ndcg(Y_TEST, scores[number], QID_TEST, k=10), abs=1e-6)


def test_a_validation_share_is_outside_of_every_bag():
    ranker = bagged("native", validation_fraction=0.25, early_stopping_rounds=2).fit(X, Y, qid=QID)
    held_out = np.isnan(ranker.oob_scores_)
    assert len(np.unique(QID[held_out])) >= 6
    assert len(ranker.oob_scores_) == len(Y)


# -------------------------------------------------------------------------------------------- one model


@pytest.mark.parametrize("name", RANKERS)
def test_the_mean_of_the_bags_is_one_model(name, fitted, tmp_path):
    ranker = fitted[name]
    members = ranker.bag_scores(X_TEST)
    scores, std = ranker.predict(X_TEST, return_std=True)
    atol = ROUNDING.get(name, 1e-9)
    assert members.shape == (3, len(X_TEST))
    assert len(ranker.bag_iterations_) == 3
    assert np.abs(members[0] - members[1]).max() > 1e-3
    np.testing.assert_allclose(scores, members.mean(axis=0), atol=atol)
    np.testing.assert_allclose(std, members.std(axis=0, ddof=1), atol=atol)
    ranker.save(tmp_path / "bags.lmk")
    loaded = type(ranker).load(tmp_path / "bags.lmk")
    np.testing.assert_array_equal(loaded.predict(X_TEST), scores)
    np.testing.assert_array_equal(loaded.bag_scores(X_TEST), members)
    assert loaded.oob_score_ == ranker.oob_score_


@pytest.mark.parametrize("name", ["native", "lightgbm", "xgboost", "CatBoost"])
def test_a_bag_of_trees_has_one_booster_importances_and_exports(name, fitted):
    ranker = fitted[name]
    assert ranker.feature_importances_.sum() == pytest.approx(1.0)
    trees = ranker.model_.plain_trees()
    assert len(trees) == ranker.model_.n_trees == ranker.best_iteration_ == 18
    assert ranker.leaf_indices(X_TEST).shape == (len(X_TEST), 18)


def test_the_text_of_a_bag_is_a_lightgbm_model(fitted):
    raw = fitted["native"].booster_
    np.testing.assert_array_equal(raw.predict(X_TEST, raw_score=True), fitted["native"].predict(X_TEST))


def test_the_json_of_a_bag_is_an_xgboost_model(fitted):
    content = json.loads(fitted["xgboost"].model_.to_bytes())
    model = content["learner"]["gradient_booster"]["model"]
    assert [tree["id"] for tree in model["trees"]] == list(range(18))
    assert model["iteration_indptr"] == list(range(19))


def test_linear_bags_are_one_linear_model(fitted):
    ranker = fitted["linear"]
    np.testing.assert_allclose(ranker.coef_, ranker.bag_coefs_.mean(axis=0))
    by_hand = (X_TEST.astype(float) - ranker.mean_) @ ranker.coef_
    np.testing.assert_allclose(ranker.predict(X_TEST), by_hand, atol=1e-4)


def test_neural_bags_are_one_network_of_blocks(fitted):
    ranker = fitted["neural"]
    assert [coef.shape for coef in ranker.coefs_] == [(8, 18), (18, 12), (12, 1)]
    layer = ranker.inputs_(X_TEST).astype(float)
    for coef, intercept in zip(ranker.coefs_[:-1], ranker.intercepts_[:-1]):
        layer = np.maximum(layer @ coef + intercept, 0)
    by_hand = (layer @ ranker.coefs_[-1] + ranker.intercepts_[-1]).ravel()
    np.testing.assert_allclose(ranker.predict(X_TEST), by_hand, atol=1e-6)


@pytest.mark.parametrize("name", ["native", "linear"])
def test_contributions_of_a_bag_sum_to_its_scores(name, fitted):
    total = fitted[name].contributions(X_TEST).sum(axis=1)
    np.testing.assert_allclose(total, fitted[name].predict(X_TEST), atol=1e-6)


# ----------------------------------------------------------------------------------------- determinism


@pytest.mark.parametrize("name", ["native", "lightgbm", "linear", "neural"])
def test_row_order_and_threads_do_not_matter(name, fitted):
    shuffled = np.random.default_rng(0).permutation(len(Y))
    other = bagged(name, n_jobs=2).fit(X[shuffled], Y[shuffled], qid=QID[shuffled])
    np.testing.assert_array_equal(other.predict(X_TEST), fitted[name].predict(X_TEST))
    np.testing.assert_array_equal(other.oob_scores_, fitted[name].oob_scores_[shuffled])


def test_more_bags_begin_with_the_same_ones(fitted):
    more = bagged("native", n_bags=4).fit(X, Y, qid=QID)
    np.testing.assert_array_equal(
        more.bag_scores(X_TEST)[:3].round(9), fitted["native"].bag_scores(X_TEST).round(9)
    )


def test_one_bag_is_the_plain_ranker():
    plain = LambdaMART(random_state=0, **SMALL).fit(X, Y, qid=QID)
    assert plain.bag_iterations_ is None
    assert plain.oob_scores_ is None
    again = bagged("native").fit(X, Y, qid=QID).set_params(n_bags=1, random_state=0, warm_start=False)
    np.testing.assert_array_equal(again.fit(X, Y, qid=QID).predict(X_TEST), plain.predict(X_TEST))
    assert again.bag_iterations_ is None


def test_a_stopped_run_goes_on_by_bag(tmp_path, fitted):
    settings = {"checkpoint": str(tmp_path / "run"), "checkpoint_trees": 1}
    bagged("native", n_bags=2, n_estimators=4, booster_params=settings).fit(X, Y, qid=QID)
    assert sorted(path.name for path in tmp_path.glob("run*")) == ["run.bag0", "run.bag1"]
    went_on = bagged("native", booster_params=settings).fit(X, Y, qid=QID)
    np.testing.assert_array_equal(went_on.predict(X_TEST), fitted["native"].predict(X_TEST))


# ------------------------------------------------------------------------------------ scikit-learn, errors


def test_grid_search_over_the_number_of_bags():
    with lk.query_routing():
        search = GridSearchCV(
            LambdaMART(random_state=0, n_jobs=1, **SMALL),
            {"n_bags": [1, 2]},
            cv=QueryKFold(2),
            scoring=make_ranking_scorer("ndcg@10"),
        ).fit(X, Y, qid=QID)
    assert len(search.cv_results_["mean_test_score"]) == 2
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


class Failing:
    """An objective that fails at the third gradient."""

    def bind(self, y, queries, sample_weight=None, *, n_threads=None):
        return self

    calls = 0

    def gradient_hessian(self, scores):
        self.calls += 1
        if self.calls > 2:
            raise RuntimeError("no more")
        return scores - 1, np.ones_like(scores)


def test_a_failure_in_one_bag_is_the_failure_of_the_fit():
    ranker = bagged("native", objective=Failing(), n_jobs=2)
    with pytest.raises(RuntimeError, match="no more"):
        ranker.fit(X, Y, qid=QID)
    assert not hasattr(ranker, "model_")


@pytest.mark.parametrize(
    ("parameters", "arguments", "message"),
    [
        ({"objective": lambda s: (s, s)}, {}, "'n_bags' must be 1 with a function"),
        ({}, {"position": np.ones(len(Y), int)}, "'n_bags' must be 1 when fit gets 'position'"),
        ({"n_bags": 0}, {}, "'n_bags' parameter"),
        ({"warm_start": True}, {}, "'warm_start' must be False"),
    ],
)
def test_what_bags_do_not_go_with(parameters, arguments, message):
    y = (Y > 1).astype(int)
    with pytest.raises(ValueError, match=message):
        bagged("native", **parameters).fit(X, y, qid=QID, **arguments)


def test_too_few_queries_to_stop_on():
    one = QID[0] == QID
    with pytest.raises(ValueError, match="'n_bags' with 'early_stopping_rounds' needs queries"):
        bagged("native", early_stopping_rounds=2).fit(X[one], Y[one], qid=QID[one])


def test_a_ranker_without_bags_has_no_spread():
    ranker = LambdaMART(random_state=0, **SMALL).fit(X, Y, qid=QID)
    for call in (lambda: ranker.predict(X_TEST, return_std=True), lambda: ranker.bag_scores(X_TEST)):
        with pytest.raises(ValueError, match="needs a ranker of several bags"):
            call()


def test_files_take_one_bag(tmp_path):
    with pytest.raises(ValueError, match="'n_bags' must be 1 to fit files"):
        LambdaMART(n_bags=2).fit_files(tmp_path / "*.txt")


def test_a_cluster_takes_one_bag():
    array = pytest.importorskip("dask.array")
    from lambdamart_kit.distributed import DaskLambdaMART

    ranker = DaskLambdaMART(n_bags=2)
    with pytest.raises(ValueError, match="'n_bags' must be 1 on a cluster"):
        ranker.fit(array.from_array(X), array.from_array(Y), qid=array.from_array(QID))


@pytest.mark.parametrize("name", ["native", "lightgbm", "linear"])
def test_sparse_rows_in_bags(name):
    sparse = csr_matrix(np.where(X > 0.5, X, 0))
    ranker = bagged(name).fit(sparse, Y, qid=QID)
    np.testing.assert_allclose(ranker.bag_scores(sparse).mean(axis=0), ranker.predict(sparse), atol=1e-9)


def test_categories_and_missing_values_in_bags():
    frame = pd.DataFrame(np.where(X > 1.5, np.nan, X), columns=list("abcdefgh"))
    frame["kind"] = pd.Categorical(np.where(X[:, 0] > 0, "x", "y"))
    ranker = bagged("native").fit(frame, Y, qid=QID)
    np.testing.assert_allclose(ranker.bag_scores(frame).mean(axis=0), ranker.predict(frame), atol=1e-9)
    assert ranker.booster_.pandas_categorical == [["x", "y"]]


def test_dropped_trees_keep_their_weights_in_bags():
    ranker = bagged("xgboost", booster_params={"booster": "dart", "rate_drop": 0.5}).fit(X, Y, qid=QID)
    np.testing.assert_allclose(ranker.bag_scores(X).mean(axis=0), ranker.predict(X), atol=1e-6)


def test_queries_without_weight_are_no_reason_to_stop():
    weight = np.where(np.isin(QID, np.unique(QID)[:12]), 2.0, 0.0)
    ranker = bagged("native", early_stopping_rounds=2).fit(X, Y, qid=QID, sample_weight=weight)
    assert all(np.isfinite(ranker.evals_result_["bag 0"]["ndcg@10"]))
