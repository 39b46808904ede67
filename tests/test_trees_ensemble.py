from __future__ import annotations

import subprocess
import sys

import lightgbm
import numpy as np
import pytest

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.trees.boosting import boost
from lambdamart_kit.trees.model_text import mean_text
from lambdamart_kit.trees.parameters import TreeParameters


class SquaredLoss:
    def __init__(self, y):
        self.y = y

    def gradient_hessian(self, scores):
        return (scores - self.y).astype(np.float32), np.ones(len(self.y), np.float32)


@pytest.fixture(scope="module")
def trained():
    """Numbers, zeros, NaN, infinities and categories, all of which matter."""
    rng = np.random.default_rng(0)
    n = 2000
    X = rng.normal(size=(n, 6)).astype(np.float32)
    X[:, 1] = np.maximum(X[:, 1], 0)
    X[rng.random(n) < 0.1, 2] = np.nan
    X[rng.random(n) < 0.1, 3] = np.inf
    X[rng.random(n) < 0.1, 3] = -np.inf
    X[:, 4] = rng.integers(0, 70, n)
    X[rng.random(n) < 0.05, 4] = np.nan
    X[rng.random(n) < 0.3, 5] = np.nan
    y = X[:, 0] + X[:, 1] + np.nan_to_num(X[:, 2], nan=2) + np.clip(X[:, 3], -3, 3)
    y = y + 2 * (X[:, 4] % 7 == 3) + 3 * np.isnan(X[:, 5])
    queries = Queries.from_qid(np.arange(n) // 10, n)
    ensemble = boost(X, queries, SquaredLoss(y), TreeParameters(), n_estimators=20, categorical=[4])
    return X, y, ensemble


def nasty_rows(ensemble, n=6000):
    """Values exactly on thresholds and next to them, NaN, infinities, unseen and impossible categories."""
    rng = np.random.default_rng(1)
    rows = np.empty((n, 6), dtype=np.float32)
    special = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 1e-36, 3e38, -3e38], dtype=np.float32)
    for j, edges in enumerate(ensemble.mapper.edges):
        if j == 4:
            codes = np.array([np.nan, np.inf, -1, -0.5, 71, 1000, 2.0**33], dtype=np.float32)
            values = np.concatenate((np.arange(70, dtype=np.float32), codes))
        else:
            values = np.concatenate((edges, np.nextafter(edges, np.inf, dtype=np.float32), special))
        rows[:, j] = rng.choice(values, n)
    return rows


def test_lightgbm_scores_are_the_engines_own(trained):
    X, y, ensemble = trained
    booster = ensemble.to_lightgbm()
    assert np.corrcoef(ensemble.predict(X), y)[0, 1] > 0.9
    for rows in (X, nasty_rows(ensemble)):
        assert np.array_equal(booster.predict(rows), ensemble.predict(rows))
        assert np.array_equal(booster.predict(rows, num_threads=1), ensemble.predict(rows, n_threads=2))


def test_all_kinds_of_splits_were_tested(trained):
    _, _, ensemble = trained
    features = np.concatenate([tree.feature for tree in ensemble.trees])
    assert set(features) == set(range(6))
    past_the_last_edge = [
        b == len(ensemble.mapper.edges[j])
        for tree in ensemble.trees
        for j, b in zip(tree.feature, tree.threshold_bin)
    ]
    assert any(past_the_last_edge)  # "is it NaN?": the threshold is infinite


def test_the_text_loads_in_a_process_without_the_kit(trained, tmp_path):
    _, _, ensemble = trained
    rows = nasty_rows(ensemble, 500)
    ensemble.to_lightgbm().save_model(tmp_path / "model.txt")
    np.save(tmp_path / "rows.npy", rows)
    code = (
        "import sys, lightgbm, numpy as np; folder = sys.argv[1]\n"
        "scores = lightgbm.Booster(model_file=folder + '/model.txt').predict(np.load(folder + '/rows.npy'))\n"
        "assert 'lambdamart_kit' not in sys.modules; np.save(folder + '/scores.npy', scores)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert np.array_equal(np.load(tmp_path / "scores.npy"), ensemble.predict(rows))


def test_shap_values_sum_to_the_prediction(trained):
    X, _, ensemble = trained
    booster = ensemble.to_lightgbm()
    contributions = booster.predict(X[:200], pred_contrib=True)
    assert contributions.shape == (200, 7)
    assert contributions.sum(axis=1) == pytest.approx(booster.predict(X[:200]), abs=1e-10)


def test_importances_and_names(trained):
    X, y, _ = trained
    queries = Queries.from_qid(np.arange(len(X)) // 10, len(X))
    names = ["a", "b", "c", "d", "e", "f"]
    ensemble = boost(X, queries, SquaredLoss(y), TreeParameters(), n_estimators=2, feature_names=names)
    booster = ensemble.to_lightgbm()
    assert booster.feature_name() == names
    counts = np.bincount(np.concatenate([t.feature for t in ensemble.trees]), minlength=6)
    assert booster.feature_importance("split").tolist() == counts.tolist()
    gains = sum(np.bincount(t.feature, t.gain, 6) for t in ensemble.trees)
    assert booster.feature_importance("gain") == pytest.approx(gains)
    frame = booster.trees_to_dataframe()
    assert frame["count"].iloc[0] == len(X)


def test_training_goes_on_from_any_lightgbm_model(trained):
    X, y, _ = trained
    data = lightgbm.Dataset(X, y - y.mean(), categorical_feature=[4], params={"verbosity": -1})
    start = lightgbm.train({"verbosity": -1, "num_leaves": 7}, data, 5)
    queries = Queries.from_qid(np.arange(len(X)) // 10, len(X))
    ensemble = boost(X, queries, SquaredLoss(y), TreeParameters(), n_estimators=10, start=start)
    combined = ensemble.to_lightgbm(start)
    assert combined.num_trees() == 15
    rows = nasty_rows(ensemble, 300)
    rows[:, 4] = np.arange(300) % 70
    assert combined.predict(rows) == pytest.approx(start.predict(rows) + ensemble.predict(rows), abs=1e-12)
    before, after = (np.mean((y - m.predict(X)) ** 2) for m in (start, combined))
    assert after < before


def test_a_tree_without_splits():
    X, y = np.zeros((50, 2), np.float32), np.full(50, 3.0, np.float32)
    queries = Queries.from_qid(np.zeros(50), 50)
    ensemble = boost(X, queries, SquaredLoss(y), TreeParameters(learning_rate=1.0), n_estimators=1)
    assert ensemble.to_lightgbm().predict(X) == pytest.approx(np.full(50, 3.0))
    (tree,) = ensemble.trees
    scores = np.ones(60)
    tree.add_to(scores, ensemble.mapper.transform(np.ones((60, 2), np.float32)), n_threads=2)
    assert scores == pytest.approx(np.full(60, 4.0))


def test_the_mean_of_models_that_are_sums_and_means_of_their_trees():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    y = X[:, 0] + rng.normal(size=300)
    models = []
    for boosting, n_trees in (("rf", 3), ("gbdt", 2), ("rf", 5)):
        settings = {"boosting": boosting, "bagging_freq": 1, "bagging_fraction": 0.6, "verbose": -1}
        models.append(lightgbm.train(settings, lightgbm.Dataset(X, y), n_trees))
    mean = lightgbm.Booster(model_str=mean_text([m.model_to_string() for m in models]))
    np.testing.assert_allclose(mean.predict(X), sum(m.predict(X) for m in models) / 3, rtol=1e-12)
