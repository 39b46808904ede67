"""EnsembleRanker: scales, weights, members of any kind, files and exports."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import lambdamart_kit as lk
from lambdamart_kit import EnsembleRanker, LambdaMART, LinearRanker, PointwiseRanker
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.metrics import ndcg, parse_metric
from lambdamart_kit.model_selection import QueryKFold, make_ranking_scorer
from lambdamart_kit.rankers import load_ranker
from lambdamart_kit.rankers.blend.folds import deal_queries
from lambdamart_kit.rankers.blend.weights import Held, search_weights
from lambdamart_kit.runtime.randomness import draw_seed


def make(n_queries=24, n_documents=8, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_queries * n_documents, 4)).astype(np.float32)
    qid = np.repeat(np.arange(n_queries), n_documents)
    signal = X[:, 0] + X[:, 1] * X[:, 2] + rng.normal(size=len(X))
    return X, np.digitize(signal, [0.5, 1.5]).astype(float), qid


def trees(**settings):
    return LambdaMART(
        **{"n_estimators": 5, "min_child_samples": 2, "random_state": 0, "n_jobs": 1, **settings}
    )


def blend(members=None, **settings):
    members = members or [("a", trees()), ("b", LinearRanker(max_iter=5))]
    return EnsembleRanker(members, **{"cv": 3, "random_state": 0, **settings})


def test_the_blend_is_the_sum_written_out():
    X, y, qid = make()
    fitted = blend(weights=[3, 1]).fit(X, y, qid=qid)
    comparable = np.array([len(set(y[qid == q])) > 1 for q in range(24)])
    fold = deal_queries(comparable, 3, np.random.default_rng(draw_seed(0)))[qid]
    total = np.zeros(len(X))
    for at, (weight, member) in enumerate(zip([0.75, 0.25], [trees(), LinearRanker(max_iter=5)])):
        held_out = np.full(len(X), np.nan)
        for number in range(3):
            seen = fold != number
            held_out[~seen] = clone(member).fit(X[seen], y[seen], qid=qid[seen]).predict(X[~seen])
        squares = [(held_out[qid == q] - held_out[qid == q].mean()) ** 2 for q in range(24)]
        scale = np.sqrt(np.mean(squares))
        assert fitted.scales_[at] == pytest.approx(scale)
        np.testing.assert_allclose(fitted.oof_scores_[:, at], held_out / scale)
        total += weight / scale * member.fit(X, y, qid=qid).predict(X)
    np.testing.assert_allclose(fitted.predict(X), total)
    assert fitted.weights_.tolist() == [0.75, 0.25]
    board = fitted.leaderboard_.set_index("model")
    mean = ndcg(y, fitted.oof_scores_ @ fitted.weights_, qid, k=10)
    assert board.loc["blend", "ndcg@10"] == pytest.approx(mean)


def test_row_order_changes_no_bit():
    X, y, qid = make()
    order = np.random.default_rng(1).permutation(len(X))
    for weights in (None, "search"):
        one = blend(weights=weights).fit(X, y, qid=qid)
        two = blend(weights=weights).fit(X[order], y[order], qid=qid[order])
        np.testing.assert_array_equal(one.predict(X), two.predict(X))


def test_a_constant_member_does_no_harm():
    X, y, qid = make()
    X = X[:, :1] * 0 + 1
    X = np.hstack((X, make()[0]))
    dull = make_pipeline(OnlyFirst(), LinearRegression())
    fitted = blend([("a", trees()), ("dull", dull)]).fit(X, y, qid=qid)
    assert fitted.scales_[1] == 1.0
    alone = trees().fit(X, y, qid=qid)
    np.testing.assert_array_equal(np.argsort(fitted.predict(X)), np.argsort(alone.predict(X)))


class OnlyFirst(StandardScaler):
    """The first column alone."""

    def transform(self, X, copy=None):
        return np.asarray(X)[:, :1]

    def fit_transform(self, X, y=None, **params):
        return self.fit(X).transform(X)


def test_any_members_pipelines_regressors_classifiers():
    X, y, qid = make()
    members = [
        ("pipeline", make_pipeline(StandardScaler(), trees())),
        ("regressor", LinearRegression()),
        ("classifier", RandomForestClassifier(5, random_state=0)),
        ("pointwise", PointwiseRanker(n_jobs=1)),
        ("blend", blend(cv=2)),
    ]
    fitted = blend(members).fit(X, y, qid=qid)
    assert fitted.score(X, y, qid=qid) > 0.5
    assert len(fitted.leaderboard_) == 6
    with pytest.raises(TypeError, match="EnsembleRanker with a Pipeline as 'pipeline' has no file format"):
        fitted.save("never.lmk")
    assert fitted.named_estimators_["regressor"].coef_.shape == (4,)


def test_frames_categories_missing_and_sparse_are_passed_on():
    X, y, qid = make()
    frame = pd.DataFrame(X, columns=list("abcd"))
    frame["kind"] = pd.Categorical(np.where(X[:, 0] > 0, "u", "v"))
    frame.loc[3, "a"] = np.nan
    members = [("a", trees()), ("b", trees(objective="pairwise"))]
    fitted = blend(members).fit(frame, y, qid=qid)
    assert fitted.estimators_[0].categories_ == {4: ["u", "v"]}
    np.testing.assert_array_equal(fitted.predict(frame.iloc[:9]), fitted.predict(frame)[:9])
    thin = sparse.coo_matrix(np.where(np.abs(X) < 0.5, 0, X))
    np.testing.assert_array_equal(
        blend(members).fit(thin, y, qid=qid).predict(thin),
        blend(members).fit(thin.toarray(), y, qid=qid).predict(thin.toarray()),
    )


def test_held_out_rows_go_to_members_that_stop_early():
    X, y, qid = make()
    new = make(seed=1)
    members = [("stops", trees(early_stopping_rounds=2, n_estimators=30)), ("all", trees())]
    fitted = blend(members).fit(X, y, qid=qid, X_val=new[0], y_val=new[1], qid_val=new[2])
    assert fitted.estimators_[0].evals_result_
    assert not fitted.estimators_[1].evals_result_
    with pytest.raises(ValueError, match="early_stopping_rounds"):
        blend(members).fit(X, y, qid=qid)


def test_a_search_reaches_members_by_name():
    X, y, qid = make()
    with lk.query_routing():
        search = GridSearchCV(
            blend(cv=2),
            {"a__num_leaves": [2, 4], "weights": [None, "search"]},
            cv=QueryKFold(2),
            scoring=make_ranking_scorer("ndcg@10"),
        ).fit(X, y, qid=qid)
    assert search.best_estimator_.get_params()["a__num_leaves"] in (2, 4)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert blend().get_params()["a__n_estimators"] == 5
    replaced = blend().set_params(a=LinearRanker(), a__max_iter=3)
    assert replaced.estimators[0][1].max_iter == 3
    assert clone(blend()).get_params().keys() == blend().get_params().keys()


def test_files_keep_every_bit(tmp_path):
    X, y, qid = make()
    inner = ("inner", blend(weights=[1, 2]))
    fitted = blend([("a", trees()), inner], weights="search").fit(X, y, qid=qid)
    fitted.save(tmp_path / "m.lmk")
    loaded = load_ranker(tmp_path / "m.lmk")
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))
    pd.testing.assert_frame_equal(loaded.leaderboard_, fitted.leaderboard_)
    assert loaded.get_params()["a__n_estimators"] == 5
    # A loaded blend can be fitted again, and saved again.
    np.testing.assert_array_equal(clone(loaded).fit(X, y, qid=qid).predict(X), fitted.predict(X))
    loaded.save(tmp_path / "again.lmk")


def test_trees_are_exported_as_one_model(tmp_path):
    X, y, qid = make()
    fitted = blend([("a", trees()), ("b", trees(objective="pairwise"))]).fit(X, y, qid=qid)
    fitted.export(tmp_path / "m.txt", format="lightgbm", check=X)
    import lightgbm

    text = lightgbm.Booster(model_file=str(tmp_path / "m.txt"))
    np.testing.assert_allclose(text.predict(X), fitted.predict(X), rtol=1e-12, atol=1e-12)
    with pytest.raises(TypeError, match="'b' are no sums of trees"):
        blend().fit(X, y, qid=qid).export(tmp_path / "m.txt", format="lightgbm")


def test_explanations_are_sums_of_those_of_the_members():
    X, y, qid = make()
    fitted = blend(weights=[1, 3]).fit(X, y, qid=qid)
    found = fitted._explainable().contributions(X)
    np.testing.assert_allclose(found.sum(axis=1), fitted.predict(X), atol=1e-6)
    assert fitted.explain(X, qid=qid).pair(0, 1) is not None
    mixed = blend([("a", trees()), ("b", LinearRegression())]).fit(X, y, qid=qid)
    with pytest.raises(TypeError, match="'b' are no rankers of the kit"):
        mixed.explain(X, qid=qid)


def test_one_query():
    X, y, _ = make()
    with pytest.warns(UserWarning, match="qid=None"):
        fitted = blend(weights="search").fit(X, y)
    assert fitted.weights_.tolist() == [0.5, 0.5]
    assert fitted.leaderboard_["ndcg@10"].isna().all()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"estimators": []}, "'estimators' must be a list"),
        ({"estimators": [("a__b", LinearRanker())]}, "must not contain __"),
        ({"estimators": [("a", 3)]}, "'a' is 3"),
        ({"weights": [1.0]}, "'weights' must hold 2 numbers"),
        ({"weights": [0.0, 0.0]}, "'weights' must hold 2 numbers"),
        ({"weights": [1.0, -1.0]}, "'weights' must hold 2 numbers"),
        ({"weights": "best"}, "'weights'"),
        ({"cv": 1}, "'cv'"),
    ],
)
def test_bad_parameters_are_named(bad, message):
    X, y, qid = make()
    with pytest.raises(ValueError, match=message):
        EnsembleRanker(**{"estimators": blend().estimators, **bad}).fit(X, y, qid=qid)


def test_weights_that_no_member_can_use_are_refused():
    X, y, qid = make()
    with pytest.raises(ValueError, match="'sample_weight' must be None: the member 'b'"):
        blend([("a", trees()), ("b", LinearRegression())]).fit(X, y, qid=qid, sample_weight=np.ones(len(y)))
    with pytest.raises(TypeError, match="'eval_set'"):
        blend().fit(X, y, qid=qid, eval_set=[])


# ---------------------------------------------------------------------------------------------- weights


def held(columns, y, qid):
    return Held(np.column_stack(columns), y, Queries.from_qid(qid, len(y)), None, parse_metric("ndcg@10"))


def test_search_finds_the_member_that_knows(rng):
    qid = np.repeat(np.arange(200), 10)
    y = rng.integers(0, 3, 2000).astype(float)
    weights = search_weights(held([y + 0.5 * rng.normal(size=2000), rng.normal(size=2000)], y, qid), 0)
    assert weights[0] > 0.7
    assert weights.sum() == pytest.approx(1)


def test_search_stays_equal_where_nothing_is_to_gain(rng):
    qid = np.repeat(np.arange(100), 10)
    y = rng.integers(0, 3, 1000).astype(float)
    moved = 0
    for seed in range(10):
        noise = np.random.default_rng(seed)
        columns = [y + 3 * noise.normal(size=1000) for _ in range(4)]
        moved += bool((search_weights(held(columns, y, qid), seed) != 0.25).any())
    assert moved <= 4


def test_search_needs_queries(rng):
    qid = np.repeat(np.arange(20), 5)
    y = rng.integers(0, 3, 100).astype(float)
    assert search_weights(held([y, -y], y, qid), 0).tolist() == [0.5, 0.5]


# ------------------------------------------------------------------------ scikit-learn's own ensembles


def test_scikit_learns_ensembles_do_not_pass_query_ids_unnoticed():
    """They take rankers for regressors; the notes of EnsembleRanker say what to use instead."""
    from sklearn.ensemble import StackingRegressor, VotingRegressor

    X, y, _ = make()
    for ensemble in (VotingRegressor, StackingRegressor):
        with pytest.warns(UserWarning, match="got qid=None and takes all rows as one query"):
            ensemble([("a", trees())]).fit(X, y)
    assert "VotingRegressor and StackingRegressor" in EnsembleRanker.__doc__
