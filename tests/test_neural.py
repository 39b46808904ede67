"""NeuralRanker: the step it takes, determinism, early stopping, inputs, saving, scikit-learn's checks."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from test_check_estimator import EXPECTED

import lambdamart_kit as lk
from lambdamart_kit import NeuralRanker
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.model_selection import QueryKFold, make_ranking_scorer
from lambdamart_kit.objectives import BoundFunction, ExplicitPairs, RankNet
from lambdamart_kit.rankers import load_ranker

SMALL = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0, "n_jobs": 1}


@pytest.fixture(scope="module")
def letor():
    return make_letor(60, mean_documents=20, random_state=0)


# Fast steps: a regressor must fit labels in the few epochs that a check may take.
@parametrize_with_checks(
    [NeuralRanker(learning_rate=0.05, **{**SMALL, "max_iter": 10})], expected_failed_checks=lambda _: EXPECTED
)
def test_scikit_learn_check(estimator, check):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*qid=None")
        check(estimator)


def forward(ranker, weights, X):
    hidden = np.maximum(X @ weights[0] + weights[1], 0)
    return (hidden @ weights[2] + weights[3]).ravel()


def pair_loss(ranker, weights, X, y, qid):
    s, total = forward(ranker, weights, X), 0.0
    for q in np.unique(qid):
        rows = np.flatnonzero(qid == q)
        total += sum(np.log1p(np.exp(s[j] - s[i])) for i in rows for j in rows if y[i] > y[j])
    penalty = sum((w**2).sum() for w in weights[::2])
    return total / len(np.unique(qid)) + ranker.reg_lambda / 2 * penalty


def test_a_step_is_adams_on_the_mean_query_loss_and_the_penalty(rng):
    """Adam's first step is the learning rate times the sign of the gradient: central differences tell it."""
    qid, y = np.repeat([0, 1, 2], [4, 3, 5]), rng.integers(0, 3, 12).astype(float)
    X = rng.normal(size=(12, 3)).astype(np.float32)
    settings = {"hidden_layer_sizes": (4,), "input_transform": None, "reg_lambda": 0.3, "random_state": 3}
    still = NeuralRanker(max_iter=1, learning_rate=1e-30, **settings).fit(X, y, qid=qid)
    moved = NeuralRanker(max_iter=1, learning_rate=1e-3, **settings).fit(X, y, qid=qid)
    start = [w.astype(float) for pair in zip(still.coefs_, still.intercepts_) for w in pair]
    after = [w for pair in zip(moved.coefs_, moved.intercepts_) for w in pair]
    checked = 0
    for part, (before, now) in enumerate(zip(start, after)):
        for at in np.ndindex(before.shape):
            up, down = ([w.copy() for w in start] for _ in range(2))
            up[part][at] += 1e-5
            down[part][at] -= 1e-5
            slope = (pair_loss(still, up, X, y, qid) - pair_loss(still, down, X, y, qid)) / 2e-5
            if abs(slope) > 1e-3:  # the last intercept moves all scores alike: no slope
                assert now[at] - before[at] == pytest.approx(-1e-3 * np.sign(slope), rel=0.02)
                checked += 1
    assert checked > 10


def test_small_penalty_and_gradient_are_to_scale(rng):
    """Adam hides the scale of a step, not the balance of loss and penalty: a huge penalty wins."""
    X, qid = rng.normal(size=(80, 3)), np.repeat(np.arange(8), 10)
    y = (X[:, 0] > 0).astype(int)
    settings = {"hidden_layer_sizes": (4,), "learning_rate": 0.01, "max_iter": 200, "random_state": 0}
    sizes = [
        sum(np.square(c).sum() for c in NeuralRanker(reg_lambda=r, **settings).fit(X, y, qid=qid).coefs_)
        for r in (0.0, 0.1, 1e3)
    ]
    assert sizes[0] > sizes[1] > 10 * sizes[2]


def test_row_order_and_threads_change_nothing(letor, rng):
    order = rng.permutation(len(letor.y))
    settings = {**SMALL, "validation_fraction": 0.3, "early_stopping_rounds": 2}
    plain = NeuralRanker(**settings).fit(letor.X, letor.y, letor.qid).predict(letor.X)
    shuffled = NeuralRanker(**{**settings, "n_jobs": 2})
    shuffled.fit(letor.X[order], letor.y[order], letor.qid[order])
    assert np.array_equal(shuffled.predict(letor.X), plain)
    other = NeuralRanker(**{**settings, "random_state": 1}).fit(letor.X, letor.y, letor.qid)
    assert not np.array_equal(other.predict(letor.X), plain)


def test_weights_times_a_constant_are_the_same_problem(letor):
    weight = np.random.default_rng(0).integers(1, 4, letor.qid.max() + 1)[letor.qid]
    one, four, none = (
        NeuralRanker(**SMALL).fit(letor.X, letor.y, letor.qid, sample_weight=w).predict(letor.X)
        for w in (weight, 4 * weight, None)
    )
    assert np.array_equal(one, four)
    assert not np.allclose(one, none)


def test_early_stopping_keeps_the_best_weights(letor):
    held_out = make_letor(30, mean_documents=20, random_state=1)
    given = {"X_val": held_out.X, "y_val": held_out.y, "qid_val": held_out.qid}
    settings = {"learning_rate": 0.02, "max_iter": 40, "random_state": 0}
    ranker = NeuralRanker(early_stopping_rounds=4, **settings).fit(letor.X, letor.y, letor.qid, **given)
    curve = ranker.evals_result_["validation"]["ndcg@10"]
    assert ranker.n_iter_ == int(np.argmax(curve)) + 1 == len(curve) - 4
    assert ranker.best_score_ == max(curve)
    assert ranker.score(held_out.X, held_out.y, held_out.qid) == pytest.approx(max(curve), abs=1e-6)
    again = NeuralRanker(**{**settings, "max_iter": ranker.n_iter_}).fit(letor.X, letor.y, letor.qid)
    assert np.array_equal(again.predict(letor.X), ranker.predict(letor.X))
    assert set(ranker.fit_times_) == {"data", "gradient", "evaluation", "network"}


@pytest.mark.parametrize("kind", ["standard", "log1p", "quantile"])
def test_transformed_inputs_do_not_depend_on_units(letor, kind):
    X = letor.X[:, :20]
    scaled = X * np.float32(8) if kind != "log1p" else -X
    ranker = NeuralRanker(input_transform=kind, **SMALL)
    plain = ranker.fit(X, letor.y, letor.qid).inputs_(X)
    np.testing.assert_allclose(plain.mean(axis=0), 0, atol=1e-4)
    constant = np.ptp(X, axis=0) == 0
    np.testing.assert_allclose(plain.std(axis=0)[~constant], 1, atol=1e-3)
    other = ranker.fit(scaled, letor.y, letor.qid).inputs_(scaled)
    np.testing.assert_allclose(other, -plain if kind == "log1p" else plain, atol=1e-4)


def test_missing_values_are_the_mean_and_constants_say_nothing(letor):
    X = letor.X[:, :6].copy()
    X[:, 2] = 7
    X[::5, 1] = np.nan
    ranker = NeuralRanker(**SMALL).fit(X, letor.y, letor.qid)
    filled = X.copy()
    filled[::5, 1] = np.nanmean(X[:, 1], dtype=float)
    np.testing.assert_allclose(ranker.predict(X), ranker.predict(filled), atol=1e-5)
    assert np.isfinite(ranker.predict(np.full((3, 6), np.nan))).all()


def test_sparse_features(letor):
    X = np.where(np.abs(letor.X) > np.median(np.abs(letor.X)), letor.X, 0)
    for kind in ("standard", "log1p", None):
        ranker = NeuralRanker(input_transform=kind, **SMALL).fit(sparse.csr_matrix(X), letor.y, letor.qid)
        assert ranker.predict(sparse.csr_matrix(X)) == pytest.approx(ranker.predict(X), abs=1e-4)
    with pytest.raises(ValueError, match=r"'input_transform' must be .* with a sparse 'X'"):
        NeuralRanker(input_transform="quantile").fit(sparse.csr_matrix(X), letor.y, letor.qid)


def test_objectives_that_speak_of_rows_see_all_of_them(letor, rng):
    y, qid = letor.y, letor.qid
    n = len(y)
    order = rng.permutation(n)
    pairs = [(i, j) for i in range(n - 1) for j in [i + 1] if qid[i] == qid[j] and y[i] > y[j]]
    pairs = np.array(pairs)
    place = np.empty(n, dtype=int)
    place[order] = np.arange(n)
    plain = NeuralRanker(ExplicitPairs(pairs), **SMALL).fit(letor.X, y, qid)
    moved = NeuralRanker(ExplicitPairs(place[pairs]), **SMALL)
    moved.fit(letor.X[order], y[order], qid[order])
    np.testing.assert_allclose(moved.predict(letor.X), plain.predict(letor.X), atol=1e-5)

    def squared(scores):
        return scores - y, np.ones_like(scores)

    fitted = NeuralRanker(squared, max_iter=150, learning_rate=0.01, random_state=0).fit(letor.X, y, qid)
    assert np.mean((fitted.predict(letor.X) - y) ** 2) < np.var(y) / 2
    with pytest.raises(ValueError, match="'validation_fraction' cannot be combined with a function"):
        NeuralRanker(squared, validation_fraction=0.2).fit(letor.X, y, qid)


def test_own_objective_is_bound_to_whole_queries(letor):
    seen = []

    class Watching:
        def bind(self, y, queries, sample_weight=None, *, n_threads=None):
            seen.append(queries)
            return BoundFunction(lambda scores: (scores - y, np.ones_like(scores)), queries)

    NeuralRanker(Watching(), batch_size=25, **SMALL).fit(letor.X, letor.y, letor.qid)
    every = np.concatenate([q.ids for q in seen])
    whole = Queries.from_qid(letor.qid, len(letor.y))
    assert len(seen) == 3
    assert sorted(every) == whole.ids.tolist()
    sizes = dict(zip(whole.ids.tolist(), whole.sizes.tolist()))
    assert all(sizes[i] == s for q in seen for i, s in zip(q.ids.tolist(), q.sizes.tolist()))


def test_save_and_load(letor, tmp_path):
    ranker = NeuralRanker(RankNet(sigma=2.0), input_transform="quantile", **SMALL)
    ranker.fit(letor.X, letor.y, letor.qid).save(tmp_path / "n.lmk")
    for loaded in (NeuralRanker.load(tmp_path / "n.lmk"), load_ranker(tmp_path / "n.lmk")):
        assert np.array_equal(loaded.predict(letor.X), ranker.predict(letor.X))
        assert loaded.get_params() == ranker.get_params()
        assert loaded.n_iter_ == 3


def test_pipeline_and_search(letor):
    with lk.query_routing():
        search = GridSearchCV(
            make_pipeline(MinMaxScaler(), NeuralRanker(**SMALL)),
            {"neuralranker__objective": ["pairwise", "ndcg"]},
            cv=QueryKFold(2),
            scoring=make_ranking_scorer("ndcg@10"),
        ).fit(letor.X, letor.y, qid=letor.qid)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ({"activation": "swish"}, "activation"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"input_transform": "robust"}, "input_transform"),
        ({"objective": "ncdg"}, "objective"),
        ({"early_stopping_rounds": 3}, "early_stopping_rounds"),
        ({"hidden_layer_sizes": (0,)}, "hidden_layer_sizes"),
    ],
)
def test_bad_settings_are_named(letor, setting, word):
    with pytest.raises(ValueError, match=word):
        NeuralRanker(**{**SMALL, **setting}).fit(letor.X, letor.y, letor.qid)


def test_nothing_to_learn():
    with pytest.raises(ValueError, match="'y' must hold two different labels"):
        NeuralRanker().fit(np.eye(4), [0, 0, 1, 1], qid=[1, 1, 2, 2])
