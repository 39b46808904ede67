"""Prediction only reads: every ranker gives the same scores from eight threads at once as from one."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lambdamart_kit.datasets import make_letor
from lambdamart_kit.rankers import (
    CatBoostRanker,
    LambdaMART,
    LightGBMRanker,
    LinearRanker,
    NeuralRanker,
    PointwiseRanker,
    XGBoostRanker,
)

TREES = {"n_estimators": 8, "num_leaves": 6, "random_state": 0}
RANKERS = {
    "native": lambda n: LambdaMART(**TREES, n_jobs=n),
    "lightgbm": lambda n: LambdaMART(booster="lightgbm", **TREES, n_jobs=n),
    "xgboost": lambda n: LambdaMART(booster="xgboost", **TREES, n_jobs=n),
    "LightGBMRanker": lambda n: LightGBMRanker(**TREES, n_jobs=n),
    "XGBoostRanker": lambda n: XGBoostRanker(**TREES, n_jobs=n),
    "xgboost dart": lambda n: XGBoostRanker(**TREES, booster_params={"booster": "dart"}, n_jobs=n),
    "CatBoostRanker": lambda n: CatBoostRanker(**TREES, n_jobs=n),
    "LinearRanker": lambda n: LinearRanker(max_iter=2, n_jobs=n),
    "NeuralRanker": lambda n: NeuralRanker(max_iter=2, random_state=0, n_jobs=n),
    "PointwiseRanker": lambda n: PointwiseRanker(n_jobs=n),
}


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize("name", RANKERS)
def test_predict_from_eight_threads(name, n_jobs, tmp_path, monkeypatch):
    if name == "CatBoostRanker" and importlib.util.find_spec("catboost") is None:
        pytest.skip("needs catboost")
    monkeypatch.setattr("lambdamart_kit.rankers.pointwise._DEFAULT_TREES", 8)
    data = make_letor(n_queries=12, mean_documents=8, random_state=0)
    fitted = RANKERS[name](n_jobs).fit(data.X, data.y, qid=data.qid)
    expected = fitted.predict(data.X)
    fitted.save(tmp_path / "model")
    loaded = type(fitted).load(tmp_path / "model")  # its first prediction is made by eight threads at once

    def score(row):
        return [ranker.predict(data.X[row : row + 1])[0] for ranker in (loaded, fitted)]

    rows = np.arange(400) % len(data.X)
    with ThreadPoolExecutor(8) as pool:
        found = np.array(list(pool.map(score, rows)))
    np.testing.assert_allclose(found, expected[rows][:, None] * [1, 1], rtol=1e-6, atol=1e-9)
