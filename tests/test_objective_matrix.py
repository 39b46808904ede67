"""Every objective on every learner: beats random and improves its own metric over its start."""

from __future__ import annotations

import numpy as np
import pytest

from lambdamart_kit import LambdaMART, LinearRanker, NeuralRanker
from lambdamart_kit.boosters.registry import BOOSTERS, BoosterEntry, boosters_that_can
from lambdamart_kit.datasets import load_sample
from lambdamart_kit.metrics import parse_metric
from lambdamart_kit.objectives import OBJECTIVES

OWN_METRIC = {"map": "map", "mrr": "mrr", "err": "err", "precision": "precision@10"}
TREES = {"n_estimators": 12, "num_leaves": 8, "learning_rate": 0.3, "n_jobs": 1, "random_state": 0}
# The one line that adds a booster: trees of scikit-learn that exist only in these tests.
SCIKIT_LEARN = BoosterEntry("scikit_learn_booster:ScikitLearnBooster", "scikit-learn")


def trees_of(booster):
    settings = {**TREES, "n_estimators": 10, "learning_rate": 0.5} if booster == "scikit-learn" else TREES
    return lambda objective: LambdaMART(objective, booster=booster, **settings)


LEARNERS = {name: trees_of(name) for name in [*boosters_that_can("runs_objectives"), "scikit-learn"]} | {
    "neural": lambda objective: NeuralRanker(
        objective, (16,), max_iter=6, learning_rate=0.01, input_transform="log1p", n_jobs=1, random_state=0
    ),
    "linear": lambda objective: LinearRanker(objective, max_iter=8, input_transform="log1p", n_jobs=1),
}


@pytest.fixture(scope="module")
def parts():
    rows = load_sample()
    n = rows.queries.n_queries
    mixed = np.random.default_rng(0).permutation(n)
    return rows.select(mixed[: 2 * n // 3]), rows.select(mixed[2 * n // 3 :])


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_learns(parts, objective, learner, monkeypatch):
    monkeypatch.setitem(BOOSTERS, "scikit-learn", SCIKIT_LEARN)
    train, test = parts
    metric = parse_metric(OWN_METRIC.get(objective, "ndcg@10"))
    ranker = LEARNERS[learner](objective).fit(train.X, train.y, train.qid)

    # All scores start equal, and ties count as their mean over orders: the start is random ranking.
    start = metric(train.y, np.zeros(len(train)), train.qid)
    assert metric(train.y, ranker.predict(train.X), train.qid) > start + 0.05

    random = metric(test.y, np.zeros(len(test)), test.qid)
    assert metric(test.y, ranker.predict(test.X), test.qid) > random + 0.03
