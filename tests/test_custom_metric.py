"""Metrics made of a function of one query: values, conventions, and every place that takes a metric."""

from __future__ import annotations

import numpy as np
import pytest

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.metrics import NDCG, make_metric, ndcg
from lambdamart_kit.model_selection import make_ranking_scorer


def plain_ndcg(labels, scores):
    """NDCG@5 of a query written out; ties are in the worst order already."""
    discount = 1 / np.log2(np.arange(2, 7))[: len(labels)]
    gain = 2.0**labels - 1
    return (gain[:5] * discount).sum() / (np.sort(gain)[::-1][:5] * discount).sum()


@pytest.fixture(scope="module")
def data():
    return make_letor(n_queries=40, mean_documents=12, random_state=0, blank_fraction=0.2)


def test_it_equals_the_kits_own_metric_written_out(data):
    scores = np.round(data.X[:, 0], 1)  # with ties
    own = make_metric("mine@5", plain_ndcg)
    values = own.per_query(data.y, scores, data.qid)
    expected = ndcg(data.y, scores, data.qid, k=5, ties="pessimistic", per_query=True)
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    assert np.isnan(values).any()
    order = np.random.default_rng(0).permutation(len(scores))
    assert own(data.y[order], scores[order], data.qid[order]) == own(data.y, scores, data.qid)


def test_weights_of_queries_count(data):
    weight = 1.0 + (data.qid % 3)
    own = make_metric("mine@5", plain_ndcg)
    expected = NDCG(k=5, ties="pessimistic")(data.y, data.X[:, 0], data.qid, sample_weight=weight)
    assert own(data.y, data.X[:, 0], data.qid, sample_weight=weight) == pytest.approx(expected)


def test_it_stops_training_scores_and_goes_into_searches(data):
    own = make_metric("mine@5", plain_ndcg)
    settings = {"n_estimators": 15, "early_stopping_rounds": 5, "validation_fraction": 0.3, "random_state": 0}
    ranker = LambdaMART(**settings, eval_metric=own).fit(data.X, data.y, qid=data.qid)
    same = LambdaMART(**settings, eval_metric=NDCG(k=5, ties="pessimistic")).fit(data.X, data.y, qid=data.qid)
    assert list(ranker.evals_result_["validation"]) == ["mine@5"]
    np.testing.assert_allclose(
        ranker.evals_result_["validation"]["mine@5"], next(iter(same.evals_result_["validation"].values()))
    )
    assert ranker.best_iteration_ == same.best_iteration_
    expected = own(data.y, ranker.predict(data.X), data.qid)
    assert make_ranking_scorer(own)(ranker, data.X, data.y, qid=data.qid) == expected


def test_a_saved_ranker_predicts_and_says_what_is_missing(data, tmp_path):
    ranker = LambdaMART(n_estimators=3, eval_metric=make_metric("mine@5", plain_ndcg))
    ranker.fit(data.X, data.y, qid=data.qid)
    ranker.save(tmp_path / "m.lmk")
    loaded = LambdaMART.load(tmp_path / "m.lmk")
    np.testing.assert_array_equal(loaded.predict(data.X), ranker.predict(data.X))
    with pytest.raises(ValueError, match="was the callable 'mine@5', which a saved model does not contain"):
        loaded.score(data.X, data.y, qid=data.qid)


def test_what_is_no_number_or_no_function_is_named(data):
    with pytest.raises(ValueError, match=r"'mine' must return a number .* it returned 'x'"):
        make_metric("mine", lambda labels, scores: "x")(data.y, data.X[:, 0], data.qid)
    with pytest.raises(ValueError, match="'name' must be a text"):
        make_metric("", plain_ndcg)
    with pytest.raises(ValueError, match="'function' must take"):
        make_metric("mine", 3)
