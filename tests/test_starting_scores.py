"""Starting scores and models of others: rankers learn the rest, and all that measures includes them."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from lambdamart_kit import (
    AutoRanker,
    EnsembleRanker,
    LambdaMART,
    LightGBMRanker,
    LinearRanker,
    NeuralRanker,
    PointwiseRanker,
    XGBoostRanker,
    query_routing,
)
from lambdamart_kit.metrics import make_metric, ndcg
from lambdamart_kit.model_selection import QueryKFold
from lambdamart_kit.objectives import LambdaNDCG, RankNet

SMALL = {"n_estimators": 6, "num_leaves": 6, "random_state": 0, "n_jobs": 1}
TREES = {
    "native": LambdaMART(**SMALL),
    "lightgbm": LambdaMART(booster="lightgbm", **SMALL),
    "xgboost": LambdaMART(booster="xgboost", **SMALL),
}
RANKERS = {
    **TREES,
    "lambdarank": LightGBMRanker(**SMALL),
    "regression": LightGBMRanker("regression", **SMALL),
    "rank:ndcg": XGBoostRanker(**SMALL),
    "linear": LinearRanker("pairwise", max_iter=5, n_jobs=1),
    "neural": NeuralRanker(max_iter=4, learning_rate=0.01, random_state=0, n_jobs=1),
}
try:
    from lambdamart_kit import CatBoostRanker

    RANKERS["catboost"] = CatBoostRanker(n_estimators=6, max_depth=3, random_state=0, n_jobs=1)
except ImportError:
    pass

every_ranker = pytest.mark.parametrize("name", RANKERS)
every_tree = pytest.mark.parametrize("name", TREES)

RNG = np.random.default_rng(7)
N = 400
X = RNG.normal(size=(N, 4)).astype(np.float32)
QID = np.repeat(np.arange(40), 10)
START = 2.0 * RNG.normal(size=N)
Y = np.digitize(START + X[:, 0] ** 2 + 0.3 * RNG.normal(size=N), [0.5, 2.0, 3.5])
TRAIN = slice(0, 300)
TEST = slice(300, N)
HELD_OUT = {"X_val": X[TEST], "y_val": Y[TEST], "qid_val": QID[TEST], "init_score_val": START[TEST]}


def fitted(name, **fit):
    given = {"qid": QID[TRAIN], "init_score": START[TRAIN]} | fit
    return clone(RANKERS[name]).fit(X[TRAIN], Y[TRAIN], **given)


@every_ranker
def test_what_is_learned_is_better_than_the_start_and_than_learning_anew(name):
    ranker = fitted(name)
    total = ranker.score(X[TEST], Y[TEST], qid=QID[TEST], init_score=START[TEST])
    anew = clone(RANKERS[name]).fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN])
    assert total > anew.score(X[TEST], Y[TEST], qid=QID[TEST])
    if name != "linear":  # the rest is a square, which no line has
        assert total > ndcg(Y[TEST], START[TEST], QID[TEST], k=10)


@every_ranker
def test_predict_adds_the_start(name):
    ranker = fitted(name)
    rest = ranker.predict(X[TEST], init_score=0)
    np.testing.assert_allclose(ranker.predict(X[TEST], init_score=START[TEST]), rest + START[TEST], rtol=0)
    if hasattr(ranker, "staged_predict"):
        *_, before, last = ranker.staged_predict(X[TEST], init_score=START[TEST])
        np.testing.assert_allclose(last, rest + START[TEST], atol=1e-6)
        some = ranker.predict(X[TEST], init_score=START[TEST], n_trees=5)
        np.testing.assert_allclose(before, some, atol=1e-6)
    with pytest.warns(UserWarning, match="'predict' got no 'init_score'"):
        np.testing.assert_array_equal(ranker.predict(X[TEST]), rest)
    with pytest.warns(UserWarning, match="'score' got no 'init_score'"):
        alone = ranker.score(X[TEST], Y[TEST], qid=QID[TEST])
    assert alone == pytest.approx(ndcg(Y[TEST], rest, QID[TEST], k=10), abs=1e-12)


@every_ranker
def test_held_out_measures_include_the_start(name):
    ranker = clone(RANKERS[name]).set_params(eval_metric=["ndcg@10", "map"])
    ranker.fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN], init_score=START[TRAIN], **HELD_OUT)
    last = {metric: values[-1] for metric, values in ranker.evals_result_["validation"].items()}
    # Libraries and float32 networks round the scores that they hand to measures.
    total = ranker.score(X[TEST], Y[TEST], qid=QID[TEST], init_score=START[TEST])
    assert last["ndcg@10"] == pytest.approx(total, abs=1e-4) == ranker.best_score_
    assert set(last) == {"ndcg@10", "map"}


@every_ranker
def test_the_order_of_rows_changes_nothing(name, rng):
    order = rng.permutation(300)
    same = clone(RANKERS[name]).fit(
        X[TRAIN][order], Y[TRAIN][order], qid=QID[TRAIN][order], init_score=START[TRAIN][order]
    )
    expected = fitted(name).predict(X[TEST], init_score=0)
    np.testing.assert_array_equal(same.predict(X[TEST], init_score=0), expected)


@pytest.mark.parametrize("name", [name for name in RANKERS if name != "catboost"])
def test_equal_rows_with_different_starts_do_not_depend_on_their_order(name, rng):
    twins = np.repeat(X[:150], 2, axis=0)
    y = np.repeat(Y[:150], 2)
    qid = np.repeat(np.arange(30), 10)
    order = rng.permutation(300)
    start = START[:300]
    one = clone(RANKERS[name]).fit(twins, y, qid=qid, init_score=start)
    two = clone(RANKERS[name]).fit(twins[order], y[order], qid=qid[order], init_score=start[order])
    np.testing.assert_array_equal(one.predict(X, init_score=0), two.predict(X, init_score=0))


@every_ranker
def test_a_start_of_zeros_is_no_start(name):
    zeros = fitted(name, init_score=np.zeros(300))
    none = clone(RANKERS[name]).fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN])
    expected = none.predict(X[TEST])
    found = zeros.predict(X[TEST], init_score=0)
    np.testing.assert_allclose(found - found.mean(), expected - expected.mean(), atol=1e-6)


@pytest.mark.parametrize("name", [name for name in RANKERS if name not in ("regression", "catboost")])
def test_a_shift_of_the_start_of_a_query_changes_nothing(name):
    """Losses look at differences within a query; so do starting scores of the learned part."""
    shifted = fitted(name, init_score=START[TRAIN] + 0.5 * (QID[TRAIN] % 3))
    expected = fitted(name).predict(X[TEST], init_score=0)
    # Adam makes steps of full size of gradients that are nothing but rounding.
    tolerance = 0.02 if name == "neural" else 2e-4
    np.testing.assert_allclose(shifted.predict(X[TEST], init_score=0), expected, atol=tolerance)


def test_the_first_tree_is_grown_on_the_gradient_at_the_start():
    """Leaf values are -rate * sum g / sum h at the starting scores, written out."""
    start = np.array([0.0, 1.0, 2.0, -1.0])
    labels = [1, 0, 0, 1]
    ranker = LambdaMART(
        RankNet(normalize=False),
        n_estimators=1,
        learning_rate=1.0,
        min_child_samples=1,
        min_child_weight=0.0,
        n_jobs=1,
    )
    rows = np.array([[0.0], [0.0], [1.0], [1.0]])
    ranker.fit(rows, labels, qid=[0, 0, 0, 0], init_score=start)
    gradient = np.zeros(4)
    hessian = np.zeros(4)
    for high in (0, 3):
        for low in (1, 2):
            p = 1 / (1 + np.exp(start[high] - start[low]))
            gradient[high] -= p
            gradient[low] += p
            hessian[[high, low]] += p * (1 - p)
    left = -gradient[:2].sum() / hessian[:2].sum()
    right = -gradient[2:].sum() / hessian[2:].sum()
    np.testing.assert_allclose(ranker.predict([[0.0], [1.0]], init_score=0), [left, right], rtol=1e-2)


@every_tree
def test_bags_include_the_start(name):
    ranker = clone(TREES[name]).set_params(n_bags=4, early_stopping_rounds=3)
    ranker.fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN], init_score=START[TRAIN])
    known = ~np.isnan(ranker.oob_scores_)
    measured = ndcg(Y[TRAIN][known], ranker.oob_scores_[known], QID[TRAIN][known], k=10)
    assert ranker.oob_score_ == pytest.approx(measured, abs=1e-12)
    bags = ranker.bag_scores(X[TEST])
    scores, std = ranker.predict(X[TEST], init_score=START[TEST], return_std=True)
    np.testing.assert_allclose(scores, bags.mean(axis=0) + START[TEST], atol=1e-6)
    np.testing.assert_allclose(std, bags.std(axis=0, ddof=1), atol=1e-6)
    assert all(values["ndcg@10"][0] > 0.8 for values in ranker.evals_result_.values())


@pytest.mark.parametrize("name", ["native", "lightgbm", "xgboost", "rank:ndcg"])
def test_warm_start_goes_on_from_start_and_trees(name):
    whole = fitted(name).predict(X[TEST], init_score=0)
    ranker = clone(RANKERS[name]).set_params(n_estimators=2, warm_start=True)
    given = {"qid": QID[TRAIN], "init_score": START[TRAIN]}
    ranker.fit(X[TRAIN], Y[TRAIN], **given)
    ranker.set_params(n_estimators=6).fit(X[TRAIN], Y[TRAIN], **given)
    np.testing.assert_allclose(ranker.predict(X[TEST], init_score=0), whole, atol=1e-5)
    with pytest.raises(ValueError, match="'init_score' must be given with warm_start=True"):
        ranker.set_params(n_estimators=8).fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN])


def test_lightgbms_own_objective_refuses_both():
    ranker = clone(RANKERS["lambdarank"]).set_params(n_estimators=2, warm_start=True)
    given = {"qid": QID[TRAIN], "init_score": START[TRAIN]}
    ranker.fit(X[TRAIN], Y[TRAIN], **given)
    with pytest.raises(ValueError, match="'init_score' must be None with LightGBM's own objectives"):
        ranker.set_params(n_estimators=4).fit(X[TRAIN], Y[TRAIN], **given)


@every_tree
def test_sparse_frames_weights_and_fractions_take_it_too(name):
    weight = 1.0 + (QID[TRAIN] % 2)
    frame = pd.DataFrame(X, columns=list("abcd"))
    series = pd.Series(START)
    ranker = clone(TREES[name]).set_params(early_stopping_rounds=2, validation_fraction=0.3)
    ranker.fit(frame[TRAIN], Y[TRAIN], qid=QID[TRAIN], sample_weight=weight, init_score=series[TRAIN])
    assert ranker.best_score_ > 0.85
    matrix = sparse.csr_matrix(X)
    ranker = clone(TREES[name]).fit(matrix[:300], Y[TRAIN], qid=QID[TRAIN], init_score=START[TRAIN])
    assert ranker.score(matrix[300:], Y[TEST], qid=QID[TEST], init_score=START[TEST]) > 0.9


def test_clicks_with_positions_take_it_too():
    position = np.tile(np.arange(1, 11), 30)
    clicks = (RNG.random(300) < (Y[TRAIN] + 0.5) / 4 / position).astype(int)
    given = {"qid": QID[TRAIN], "position": position}
    ranker = clone(TREES["native"]).fit(X[TRAIN], clicks, init_score=START[TRAIN], **given)
    plain = clone(TREES["native"]).fit(X[TRAIN], clicks, **given)
    assert np.abs(ranker.predict(X, init_score=0) - plain.predict(X)).max() > 0.01


def test_a_metric_of_ones_own_sees_the_start():
    seen = []
    own = make_metric("first", lambda labels, scores: seen.append(scores[0]) or float(labels[0] > 0))
    ranker = clone(TREES["native"]).set_params(eval_metric=own, n_estimators=1, learning_rate=1e-9)
    ranker.fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN], init_score=START[TRAIN], **HELD_OUT)
    expected = [START[q == QID].max() for q in range(30, 40) if (Y[q == QID] > 0).any()]
    np.testing.assert_allclose(seen, expected, atol=1e-6)


def test_saved_rankers_know_that_they_start_from_scores(tmp_path):
    for name in ("native", "linear", "neural"):
        ranker = fitted(name)
        ranker.save(tmp_path / "model.lmk")
        loaded = type(ranker).load(tmp_path / "model.lmk")
        expected = ranker.predict(X, init_score=START)
        np.testing.assert_array_equal(loaded.predict(X, init_score=START), expected)
        with pytest.warns(UserWarning, match="got no 'init_score'"):
            loaded.predict(X)


def test_searches_cut_starting_scores_with_the_rows():
    with query_routing(), warnings.catch_warnings():
        warnings.simplefilter("error")
        search = GridSearchCV(TREES["native"], {"num_leaves": [4, 6]}, cv=QueryKFold(3))
        search.fit(X, Y, qid=QID, init_score=START)
    assert search.best_score_ > 0.9


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        (
            {"init_score": START[:299]},
            r"'init_score' must hold one score per row of 'X'.*\(300,\), got \(299,\)",
        ),
        ({"init_score": np.where(np.arange(300) == 7, np.nan, 0.0)}, r"'init_score' must be finite.*row 7"),
        ({"init_score": np.full(300, 1e300)}, r"'init_score' must be finite and within 3.4e38"),
        ({"init_score": np.array(["a"] * 300)}, r"'init_score' must hold numbers"),
        ({**HELD_OUT, "init_score_val": None}, r"'init_score_val' must be given with 'init_score'"),
        ({**HELD_OUT, "init_score": None}, r"'init_score_val' must be given with 'init_score' and only then"),
        ({"init_score_val": START[TEST]}, r"'init_score_val' must be given with 'X_val' only"),
        ({**HELD_OUT, "sample_weight_val": [1.0]}, r"'sample_weight_val' must hold one weight per row"),
    ],
)
def test_bad_starting_scores_are_named(fit, message):
    with pytest.raises(ValueError, match=message):
        fitted("native", **fit)


def test_scores_that_float32_merges_are_told():
    with pytest.warns(UserWarning, match=r"'init_score' has scores that float32 merges"):
        fitted("native", init_score=START[TRAIN] + 1e9)


def test_predict_refuses_a_start_where_there_was_none():
    ranker = clone(TREES["native"]).fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN])
    for call in (
        lambda: ranker.predict(X, init_score=START),
        lambda: ranker.score(X, Y, qid=QID, init_score=START),
    ):
        with pytest.raises(ValueError, match="the ranker was fitted without"):
            call()
    with pytest.raises(ValueError, match=r"'init_score' must hold one number per row.*\(400,\), got \(3,\)"):
        fitted("native").predict(X, init_score=[1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    "ranker",
    [
        PointwiseRanker(),
        EnsembleRanker([("a", LinearRanker())]),
        AutoRanker(budget="fits=1"),
    ],
    ids=lambda ranker: type(ranker).__name__,
)
@pytest.mark.parametrize("argument", ["init_score", "init_model"])
def test_rankers_that_cannot_start_from_scores_refuse(ranker, argument):
    with pytest.raises(ValueError, match=f"'{argument}' must be None with {type(ranker).__name__}"):
        ranker.fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN], **{argument: START[TRAIN]})


# ---------------------------------------------------------------------------------- models of others


def of_lightgbm(**options):
    import lightgbm as lgb

    settings = {"objective": "lambdarank", "verbosity": -1, "num_leaves": 6, "num_threads": 1, **options}
    data = lgb.Dataset(X[TRAIN], Y[TRAIN], group=np.full(30, 10))
    return lgb.train(settings, data, num_boost_round=5)


def of_xgboost(**options):
    import xgboost as xgb

    data = xgb.DMatrix(X[TRAIN], Y[TRAIN], qid=QID[TRAIN])
    settings = {"objective": "rank:ndcg", "max_depth": 3, "nthread": 1, **options}
    return xgb.train(settings, data, num_boost_round=5)


def relative(scores):
    return scores - scores.mean()


@pytest.mark.parametrize("name", ["native", "lightgbm", "lambdarank"])
def test_training_goes_on_from_lightgbm(name, tmp_path):
    other = of_lightgbm()
    before = other.model_to_string()
    given = clone(RANKERS[name]).set_params(n_estimators=4)
    ranker = given.fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN], init_model=other)
    assert ranker.best_iteration_ == 9
    np.testing.assert_allclose(ranker.model_.truncate(5).predict(X), other.predict(X), atol=1e-9)
    assert other.model_to_string() == before
    other.save_model(tmp_path / "other.txt")
    again = clone(given).fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN], init_model=tmp_path / "other.txt")
    np.testing.assert_array_equal(again.predict(X), ranker.predict(X))
    ranker.save(tmp_path / "model.lmk")
    np.testing.assert_array_equal(type(ranker).load(tmp_path / "model.lmk").predict(X), ranker.predict(X))


@pytest.mark.parametrize("name", ["xgboost", "rank:ndcg"])
@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_training_goes_on_from_xgboost(name, suffix, tmp_path):
    other = of_xgboost(base_score=0.5)
    given = clone(RANKERS[name]).set_params(n_estimators=4)
    ranker = given.fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN], init_model=other)
    assert ranker.best_iteration_ == 9
    expected = other.inplace_predict(X, predict_type="margin")
    np.testing.assert_allclose(relative(ranker.model_.truncate(5).predict(X)), relative(expected), atol=1e-6)
    path = tmp_path / f"other.{suffix}"
    other.save_model(path)
    again = clone(given).fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN], init_model=str(path))
    np.testing.assert_allclose(again.predict(X), ranker.predict(X), atol=1e-6)


def test_training_goes_on_from_catboost(tmp_path):
    cb = pytest.importorskip("catboost")
    pool = cb.Pool(X[TRAIN], Y[TRAIN], group_id=QID[TRAIN])
    settings = {"loss_function": "YetiRank", "iterations": 5, "depth": 3, "allow_writing_files": False}
    other = cb.CatBoost({**settings, "verbose": False}).fit(pool)
    ranker = CatBoostRanker(n_estimators=4, max_depth=3, random_state=0, n_jobs=1)
    ranker.fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN], init_model=other)
    assert ranker.best_iteration_ == 9
    np.testing.assert_allclose(ranker.model_.truncate(5).predict(X), other.predict(X), atol=1e-6)
    other.save_model(tmp_path / "other.cbm")
    again = clone(ranker).fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN], init_model=tmp_path / "other.cbm")
    np.testing.assert_allclose(again.predict(X), ranker.predict(X), atol=1e-6)


@every_tree
def test_a_model_goes_on_as_with_warm_start(name):
    """What init_model grows on its own trees is what warm_start grows."""
    first = clone(TREES[name]).set_params(n_estimators=3).fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN])
    whole = clone(TREES[name]).fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN])
    going_on = clone(TREES[name]).set_params(n_estimators=3)
    going_on.fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN], init_model=first)
    np.testing.assert_allclose(going_on.predict(X), whole.predict(X), atol=1e-6)
    assert first.best_iteration_ == 3


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_estimators_of_libraries_are_models_too(library):
    """Their trees up to the best round."""
    if library == "lightgbm":
        from lightgbm import LGBMRanker as Estimator

        options = {"verbose": -1, "num_leaves": 6}
        stops = {}
    else:
        from xgboost import XGBRanker as Estimator

        options = {"max_depth": 3}
        stops = {}
    other = Estimator(n_estimators=4, n_jobs=1, **options)
    other.fit(X[TRAIN], Y[TRAIN], group=np.full(30, 10), **stops)
    ranker = clone(TREES[library]).fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN], init_model=other)
    expected = relative(other.predict(X).astype(float))
    np.testing.assert_allclose(relative(ranker.model_.truncate(4).predict(X)), expected, atol=1e-5)


def test_categories_must_be_the_same():
    import lightgbm as lgb

    values = np.array(["x", "y", "z"])[RNG.integers(3, size=300)]
    frame = pd.DataFrame({"a": X[TRAIN, 0], "c": pd.Categorical(values, categories=["x", "y", "z"])})
    data = lgb.Dataset(frame, Y[TRAIN], group=np.full(30, 10))
    settings = {"objective": "lambdarank", "verbosity": -1, "min_data_per_group": 1, "cat_smooth": 1}
    other = lgb.train(settings, data, 3)
    ranker = LambdaMART(booster="lightgbm", **SMALL)
    ranker.fit(frame, Y[TRAIN], qid=QID[TRAIN], init_model=other)
    np.testing.assert_allclose(
        ranker.model_.truncate(3).predict(ranker.training_features(frame)), other.predict(frame)
    )
    turned = frame.assign(c=frame["c"].cat.reorder_categories(["z", "y", "x"]))
    with pytest.raises(ValueError, match="'init_model' must have no categorical features"):
        clone(ranker).fit(turned, Y[TRAIN], qid=QID[TRAIN], init_model=other)


@pytest.mark.parametrize(
    ("name", "model", "message"),
    [
        ("native", of_xgboost, r"'init_model' must be a model of LightGBM.*'native' trees; got xgboost"),
        ("xgboost", of_lightgbm, r"'init_model' must be a model of XGBoost.*got lightgbm"),
        (
            "xgboost",
            lambda: clone(TREES["native"]).fit(X, Y, qid=QID),
            r"'init_model' must be a model of XGBoost",
        ),
        ("native", lambda: "nowhere.txt", r"'init_model' must be a model.*there is no such file"),
        ("native", lambda: __file__, r"'init_model' must be a model.*cannot be read"),
        ("xgboost", lambda: __file__, r"'init_model' must be a model.*cannot be read"),
        ("native", lambda: 3, r"'init_model' must be a model of LightGBM.*got builtins.int"),
        ("linear", of_lightgbm, r"'init_model' must be None with LinearRanker"),
        ("neural", of_lightgbm, r"'init_model' must be None with NeuralRanker"),
        (
            "native",
            lambda: of_lightgbm(boosting="rf", bagging_freq=1, bagging_fraction=0.5),
            r"'init_model' must be.*averages its trees",
        ),
    ],
)
def test_other_models_are_refused(name, model, message):
    with pytest.raises(ValueError, match=message):
        clone(RANKERS[name]).fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN], init_model=model())


def test_a_model_of_other_columns_is_refused():
    other = clone(TREES["native"]).fit(X[:, :3], Y, qid=QID)
    with pytest.raises(ValueError, match="'init_model' must have the features of 'X', 4; it has 3"):
        clone(TREES["native"]).fit(X, Y, qid=QID, init_model=other)
    frame = pd.DataFrame(X, columns=list("abcd"))
    other = clone(TREES["native"]).fit(frame, Y, qid=QID)
    with pytest.raises(ValueError, match="its feature 0 is 'a', that of 'X' is 'd'"):
        clone(TREES["native"]).fit(frame[list("dcba")], Y, qid=QID, init_model=other)


def test_a_model_is_refused_with_bags_and_after_a_warm_start():
    other = clone(TREES["native"]).fit(X, Y, qid=QID)
    with pytest.raises(ValueError, match="'n_bags' must be 1 with 'init_model'; got 3"):
        clone(TREES["native"]).set_params(n_bags=3).fit(X, Y, qid=QID, init_model=other)
    ranker = clone(TREES["native"]).set_params(warm_start=True).fit(X, Y, qid=QID, init_model=other)
    assert ranker.best_iteration_ == 12
    with pytest.raises(ValueError, match="'init_model' must be None with warm_start=True after a fit"):
        ranker.set_params(n_estimators=20).fit(X, Y, qid=QID, init_model=other)
    assert ranker.fit(X, Y, qid=QID).best_iteration_ == 20


def test_early_stopping_keeps_the_model_and_the_best_new_trees():
    other = of_lightgbm()
    ranker = clone(TREES["native"]).set_params(n_estimators=30, early_stopping_rounds=4)
    held_out = {name: value for name, value in HELD_OUT.items() if name != "init_score_val"}
    ranker.fit(X[TRAIN], Y[TRAIN], qid=QID[TRAIN], init_model=other, **held_out)
    values = ranker.evals_result_["validation"]["ndcg@10"]
    assert ranker.best_iteration_ == 5 + 1 + int(np.argmax(values))
    assert ranker.best_score_ == pytest.approx(ranker.score(X[TEST], Y[TEST], qid=QID[TEST]), abs=1e-9)


def test_a_model_and_a_start_go_together():
    """Trees of the model were grown on the same start."""
    first = clone(TREES["native"]).set_params(n_estimators=3)
    given = {"qid": QID[TRAIN], "init_score": START[TRAIN]}
    first.fit(X[TRAIN], Y[TRAIN], **given)
    both = (
        clone(TREES["native"]).set_params(n_estimators=3).fit(X[TRAIN], Y[TRAIN], init_model=first, **given)
    )
    np.testing.assert_allclose(
        both.predict(X, init_score=0), fitted("native").predict(X, init_score=0), atol=1e-6
    )


def test_objectives_that_name_rows_start_from_scores():
    """A function gets the sum of start and trees, in the order of the rows as given."""
    seen = []

    def objective(scores):
        seen.append(np.array(scores))
        return scores - Y[TRAIN], np.ones(300)

    order = np.random.default_rng(0).permutation(300)
    ranker = LambdaMART(objective, **{**SMALL, "n_estimators": 1})
    ranker.fit(X[TRAIN][order], Y[TRAIN][order], qid=QID[TRAIN][order], init_score=START[TRAIN][order])
    np.testing.assert_allclose(seen[0], START[TRAIN][order], atol=1e-6)


def test_labels_decide_and_not_the_start():
    objective = LambdaNDCG()
    with pytest.raises(ValueError, match="'y' must hold two different labels"):
        LambdaMART(objective, **SMALL).fit(X, np.ones(N), qid=QID, init_score=START)


def test_catboost_goes_on_from_the_trees_that_it_kept():
    """Those that early stopping dropped are not grown on."""
    pytest.importorskip("catboost")
    stops = {"early_stopping_rounds": 2, "validation_fraction": 0.3, "warm_start": True}
    ranker = CatBoostRanker(n_estimators=40, max_depth=3, random_state=0, n_jobs=1, **stops)
    ranker.fit(X, Y, qid=QID)
    kept = ranker.best_iteration_
    scores = ranker.predict(X)
    ranker.set_params(n_estimators=kept + 3, early_stopping_rounds=None, validation_fraction=None)
    assert ranker.fit(X, Y, qid=QID).best_iteration_ == kept + 3
    np.testing.assert_array_equal(ranker.predict(X, n_trees=kept), scores)
    leafwise = CatBoostRanker(n_estimators=40, num_leaves=6, random_state=0, n_jobs=1, **stops)
    leafwise.fit(X, Y, qid=QID)
    with pytest.raises(ValueError, match="'num_leaves' must be None with CatBoost and a model that stopped"):
        leafwise.set_params(n_estimators=60).fit(X, Y, qid=QID)
