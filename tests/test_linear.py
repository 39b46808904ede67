"""LinearRanker: where it ends, what coefficients mean, determinism, wide and sparse features, saving."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks
from test_check_estimator import EXPECTED

from lambdamart_kit import LinearRanker
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.objectives import ListMLE, ListNet
from lambdamart_kit.rankers import linear, load_ranker


@pytest.fixture(scope="module")
def letor():
    return make_letor(60, mean_documents=20, random_state=0)


@parametrize_with_checks([LinearRanker(max_iter=5, n_jobs=1)], expected_failed_checks=lambda _: EXPECTED)
def test_scikit_learn_check(estimator, check):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*qid=None")
        check(estimator)


def differences(X, y, qid):
    """Rows high minus low of every pair of a query with different labels."""
    rows = [
        X[i] - X[j]
        for q in np.unique(qid)
        for i in np.flatnonzero(qid == q)
        for j in np.flatnonzero(qid == q)
        if y[i] > y[j]
    ]
    return np.array(rows, dtype=float)


def test_pairwise_is_logistic_regression_on_differences(rng):
    qid, y = np.repeat(np.arange(12), 6), rng.integers(0, 3, 72)
    X = (rng.normal(size=(72, 4)) + 0.5 * y[:, None]).astype(np.float32)
    ranker = LinearRanker("pairwise", input_transform=None, reg_lambda=0.5, tol=1e-7).fit(X, y, qid=qid)
    z = differences(X, y, qid)
    sign = rng.choice([-1, 1], len(z))
    peer = LogisticRegression(C=1 / (0.5 * 12), fit_intercept=False, tol=1e-10, max_iter=1000)
    peer.fit(z * sign[:, None], sign)
    np.testing.assert_allclose(ranker.coef_, peer.coef_[0], rtol=1e-3, atol=1e-4)
    assert ranker.n_iter_ < 50


@pytest.mark.parametrize("objective", [ListNet(), ListMLE()], ids=repr)
def test_ends_at_the_minimum_that_l_bfgs_finds(rng, objective):
    qid, y = np.repeat(np.arange(15), 8), rng.integers(0, 3, 120).astype(float)
    X = (rng.normal(size=(120, 5)) + 0.3 * y[:, None]).astype(np.float32)
    bound = objective.bind(y, Queries.from_qid(qid, 120))

    def loss(w):
        return bound.loss((X @ w).astype(np.float32)) / 15 + 0.05 * w @ w

    found = minimize(loss, np.zeros(5), method="L-BFGS-B", options={"eps": 1e-3}).x
    ours = LinearRanker(objective, input_transform=None, reg_lambda=0.1, tol=1e-6).fit(X, y, qid=qid).coef_
    np.testing.assert_allclose(ours, found, atol=5e-3)
    assert loss(ours) <= loss(found) + 1e-6


def test_predict_is_centred_features_times_coefficients(letor):
    ranker = LinearRanker().fit(letor.X, letor.y, letor.qid)
    scores = (letor.X.astype(float) - ranker.mean_) @ ranker.coef_
    np.testing.assert_allclose(ranker.predict(letor.X), scores, atol=1e-3 * np.ptp(scores))


def test_units_of_features_do_not_matter(letor):
    units = np.exp2(np.arange(letor.X.shape[1]) % 9 - 4).astype(np.float32)
    plain = LinearRanker("listnet", reg_lambda=0.1).fit(letor.X, letor.y, letor.qid)
    other = LinearRanker("listnet", reg_lambda=0.1).fit(letor.X * units, letor.y, letor.qid)
    np.testing.assert_allclose(
        other.coef_ * units, plain.coef_, rtol=1e-2, atol=1e-4 * np.abs(plain.coef_).max()
    )


def test_row_order_and_threads_change_nothing(letor, rng):
    order = rng.permutation(len(letor.y))
    for objective in ("ndcg", "pairwise"):
        plain = LinearRanker(objective, n_jobs=1).fit(letor.X, letor.y, letor.qid)
        other = LinearRanker(objective, n_jobs=2).fit(letor.X[order], letor.y[order], letor.qid[order])
        assert np.array_equal(other.coef_, plain.coef_)


def test_weights_times_a_constant_are_the_same_problem(letor):
    weight = np.random.default_rng(0).integers(1, 4, letor.qid.max() + 1)[letor.qid]
    one, four = (
        LinearRanker("listnet").fit(letor.X, letor.y, letor.qid, sample_weight=w).coef_
        for w in (weight, 4 * weight)
    )
    np.testing.assert_allclose(four, one, rtol=1e-6)


def test_conjugate_gradients_end_where_the_direct_solver_does(letor, monkeypatch):
    direct = LinearRanker("listnet", reg_lambda=0.1, tol=1e-5).fit(letor.X, letor.y, letor.qid)
    monkeypatch.setattr(linear, "_MOST_DIRECT", 0)
    monkeypatch.setattr(linear, "_CG_TOLERANCE", 1e-3)
    steps = LinearRanker("listnet", reg_lambda=0.1, tol=1e-5).fit(letor.X, letor.y, letor.qid)
    np.testing.assert_allclose(steps.coef_, direct.coef_, atol=1e-3 * np.abs(direct.coef_).max())


def test_wide_sparse_text_like_features(rng):
    """3,000 columns, three of a thousand non-zero: more than are solved directly."""
    X = sparse.random(2000, 3000, density=0.003, format="csr", rng=rng, dtype=np.float32)
    qid = np.repeat(np.arange(100), 20)
    worth = rng.normal(size=3000)
    y = (X @ worth > 0.5).astype(int)
    ranker = LinearRanker("pairwise", reg_lambda=0.01).fit(X, y, qid=qid)
    assert ranker.score(X, y, qid=qid) > 0.95
    assert not ranker.mean_.any()


def test_sparse_and_dense_agree(letor):
    X = np.where(np.abs(letor.X) > np.median(np.abs(letor.X)), letor.X, 0)
    for kind in ("standard", "log1p"):
        dense, thin = (
            LinearRanker("listnet", reg_lambda=0.1, input_transform=kind, tol=1e-5)
            .fit(rows, letor.y, letor.qid)
            .coef_
            for rows in (X, sparse.csr_matrix(X))
        )
        np.testing.assert_allclose(thin, dense, atol=0.01 * np.abs(dense).max())


def test_early_stopping_keeps_the_best_step(letor):
    held_out = make_letor(30, mean_documents=20, random_state=1)
    given = {"X_val": held_out.X, "y_val": held_out.y, "qid_val": held_out.qid}
    ranker = LinearRanker("pairwise", reg_lambda=0.0, early_stopping_rounds=3, tol=0.0)
    ranker.fit(letor.X, letor.y, letor.qid, **given)
    curve = ranker.evals_result_["validation"]["ndcg@10"]
    assert ranker.n_iter_ == int(np.argmax(curve)) + 1 < len(curve)
    assert ranker.best_score_ == max(curve)
    assert ranker.score(held_out.X, held_out.y, held_out.qid) == pytest.approx(max(curve), abs=1e-6)
    assert set(ranker.fit_times_) == {"data", "gradient", "evaluation", "solver"}


def test_separable_queries_and_constant_features_stay_finite():
    X = np.array([[0, 5.0], [1, 5], [0, 5], [1, 5]], dtype=np.float32)
    for objective in ("pairwise", "ndcg", "listmle"):
        ranker = LinearRanker(objective, reg_lambda=0.0).fit(X, [0, 1, 0, 1], qid=[1, 1, 2, 2])
        assert np.isfinite(ranker.coef_).all()
        assert ranker.coef_[0] > 0
        assert abs(ranker.coef_[1]) < 1e-6


def test_save_and_load(letor, tmp_path):
    ranker = LinearRanker("map", input_transform="quantile").fit(letor.X, letor.y, letor.qid)
    ranker.save(tmp_path / "l.lmk")
    for loaded in (LinearRanker.load(tmp_path / "l.lmk"), load_ranker(tmp_path / "l.lmk")):
        assert np.array_equal(loaded.predict(letor.X), ranker.predict(letor.X))
        assert loaded.get_params() == ranker.get_params()


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ({"reg_lambda": -1.0}, "reg_lambda"),
        ({"max_iter": 0}, "max_iter"),
        ({"input_transform": "robust"}, "input_transform"),
        ({"objective": "ncdg"}, "objective"),
        ({"early_stopping_rounds": 3}, "early_stopping_rounds"),
    ],
)
def test_bad_settings_are_named(letor, setting, word):
    with pytest.raises(ValueError, match=word):
        LinearRanker(**setting).fit(letor.X, letor.y, letor.qid)
