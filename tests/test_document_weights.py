"""Weights of documents: a query without its duplicates, weighted, is the query with them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from lambdamart_kit import (
    AutoRanker,
    EnsembleRanker,
    LambdaMART,
    LightGBMRanker,
    LinearRanker,
    NeuralRanker,
    PointwiseRanker,
    XGBoostRanker,
)
from lambdamart_kit.core.queries import Queries, document_weights
from lambdamart_kit.core.ranking.reference import dcg, pair_gradient, swap_weights
from lambdamart_kit.metrics import METRICS, make_metric, ndcg, parse_metric
from lambdamart_kit.objectives import (
    OBJECTIVES,
    LambdaMAP,
    LambdaNDCG,
    LambdaPrecision,
    NDCGLoss1,
    RankNet,
    weighs_documents,
)

WEIGHING = [
    RankNet(),
    RankNet(truncation_level=3),
    RankNet(normalize=True, ties="input"),
    LambdaNDCG(),
    LambdaNDCG(truncation_level=3),
    LambdaNDCG.burges(),
    LambdaNDCG.lightgbm(),
    NDCGLoss1(truncation_level=4, normalize=True),
    LambdaPrecision(k=5),
]


def sample(seed, n_features=0):
    """A small data set with whole weights; half of the samples have many equal scores."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(5, 60))
    qid = rng.integers(0, 4, n)
    y = rng.integers(0, 4, n)
    weight = rng.integers(0, 4, n)
    weight[0] = 2
    scores = rng.integers(0, 5, n) if seed % 2 else rng.normal(size=n)
    return qid, y, weight, scores.astype(np.float32)


def gradient(objective, y, qid, scores, **weights):
    queries = Queries.from_qid(qid, len(y))
    bound = objective.bind(y, queries, **weights)
    both = bound.gradient_hessian(queries.sort(scores))
    return np.array([queries.unsort(values.astype(np.float64)) for values in both])


@pytest.mark.parametrize("objective", WEIGHING, ids=str)
def test_weighted_gradient_is_the_sum_over_the_copies(objective):
    for seed in range(50):
        qid, y, weight, scores = sample(seed)
        copies = np.repeat(np.arange(len(y)), weight)
        found = gradient(objective, y, qid, scores, document_weight=weight)
        of_copies = gradient(objective, y[copies], qid[copies], scores[copies])
        expected = [np.bincount(copies, values, minlength=len(y)) for values in of_copies]
        size = max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(found, expected, atol=1e-6 * size)


def test_weighted_gradient_is_that_of_all_orders_of_the_copies():
    # The reference swaps documents and goes through all orders of ties: it knows neither entries nor places.
    labels = np.array([2.0, 0.0, 1.0])
    scores = np.array([0.3, 0.3, 0.1])
    copies = np.repeat([0, 1, 2], [2, 1, 3])
    gain = 2 ** labels[copies] - 1
    weights = swap_weights(scores[copies], gain / dcg(np.sort(gain)[::-1]), dcg)
    expected = pair_gradient(scores[copies], labels[copies], weights)
    found = gradient(
        LambdaNDCG.burges(), labels, [7, 7, 7], scores.astype(np.float32), document_weight=[2, 1, 3]
    )
    np.testing.assert_allclose(found, [np.bincount(copies, v) for v in expected], rtol=1e-5)


@pytest.mark.parametrize("objective", WEIGHING, ids=str)
def test_fractional_weights_lie_between_whole_ones(objective):
    # A weight just above a whole number changes next to nothing, so fractions interpolate.
    qid, y, weight, scores = sample(3)
    near = gradient(objective, y, qid, scores, document_weight=weight + 1e-4 * (weight > 0))
    whole = gradient(objective, y, qid, scores, document_weight=weight)
    np.testing.assert_allclose(near, whole, atol=2e-2)


def test_pairs_of_fractional_weights_weigh_their_product():
    found = gradient(RankNet(), [1, 0], [5, 5], np.zeros(2, np.float32), document_weight=[0.5, 3.0])
    np.testing.assert_allclose(found, [[-0.75, 0.75], [0.375, 0.375]])


def test_weights_of_one_give_the_same_bits():
    qid, y, _, scores = sample(1)
    weighted = gradient(LambdaNDCG(), y, qid, scores, document_weight=np.ones(len(y)))
    assert (weighted == gradient(LambdaNDCG(), y, qid, scores)).all()


def test_weights_of_one_are_taken_by_objectives_that_cannot_weigh_documents():
    queries = Queries.from_qid([1, 1], 2)
    assert document_weights([1.0, 1.0], queries) is None
    assert not weighs_documents(LambdaMAP())
    assert type(LambdaMAP().bind([1, 0], queries, document_weight=[1.0, 1.0])) is type(
        LambdaMAP().bind([1, 0], queries)
    )


def test_query_weights_multiply_document_weights():
    qid, y, weight, scores = sample(5)
    once = gradient(RankNet(), y, qid, scores, document_weight=weight)
    twice = gradient(RankNet(), y, qid, scores, document_weight=weight, sample_weight=np.full(len(y), 2.0))
    np.testing.assert_allclose(twice, 2 * once)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_objectives_weigh_documents_or_say_that_they_cannot(name):
    objective = OBJECTIVES[name]()
    queries = Queries.from_qid([1, 1], 2)
    if weighs_documents(objective):
        bound = objective.bind([1, 0], queries, document_weight=[2.0, 1.0])
        assert bound.gradient_hessian(np.zeros(2, np.float32))[0].any()
    else:
        with pytest.raises(ValueError, match=f"document_weight.*{type(objective).__name__}"):
            objective.bind([1, 0], queries, document_weight=[2.0, 1.0])


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1.0, -1.0], "row 1 has -1"),
        ([1.0, np.nan], "row 1 has nan"),
        ([0.0, 0.0], "all weights are zero"),
        ([1.0], "expected shape"),
        ([1e9, 1.0], "divide the weights"),
        (["a", "b"], "hold numbers"),
    ],
)
def test_unusable_weights_are_refused(weight, message):
    with pytest.raises(ValueError, match=message) as refused:
        RankNet().bind([1, 0], Queries.from_qid([1, 1], 2), document_weight=weight)
    assert "'document_weight'" in str(refused.value)


def test_weights_that_leave_all_documents_in_the_first_place_are_reported():
    queries = Queries.from_qid([1, 1, 1], 3)
    with pytest.warns(UserWarning, match="multiply the weights"):
        LambdaNDCG().bind([1, 0, 0], queries, document_weight=np.full(3, 1 / 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RankNet().bind([1, 0, 0], queries, document_weight=np.full(3, 1 / 3))


# ------------------------------------------------------------------------------------------- metrics


METRIC_NAMES = [
    "ndcg",
    "ndcg@3",
    "dcg@5",
    "precision@4",
    "precision",
    "recall@3",
    "ndcg(ties=optimistic)@4",
    "ndcg(ties=pessimistic)@4",
    "ndcg(ties=input)@4",
    "ndcg(blank=one)@4",
]


@pytest.mark.parametrize("name", METRIC_NAMES)
def test_weighted_metric_is_that_of_the_copies(name):
    metric = parse_metric(name)
    for seed in range(50):
        qid, y, weight, scores = sample(seed)
        copies = np.repeat(np.arange(len(y)), weight)
        found = metric(y, scores, qid, document_weight=weight)
        assert found == pytest.approx(metric(y[copies], scores[copies], qid[copies]), nan_ok=True, abs=1e-12)


def test_weighted_ndcg_by_hand():
    # Places: b b | a | c: gains 0 0 3 1 with discounts 1, 1/log2(3), 1/2, 1/log2(5).
    found = ndcg([2, 0, 1], [2.0, 3.0, 1.0], document_weight=[1, 2, 1])
    discount = 1 / np.log2(np.arange(2, 6))
    assert found == pytest.approx((3 * discount[2] + discount[3]) / (3 * discount[0] + discount[1]))


def test_a_query_whose_documents_weigh_nothing_does_not_count():
    values = ndcg([1, 0, 1], [1, 2, 3], [1, 1, 2], document_weight=[1, 1, 0], blank="one", per_query=True)
    assert np.isnan(values).tolist() == [False, True]


@pytest.mark.parametrize("name", sorted(METRICS))
def test_metrics_weigh_documents_or_say_that_they_cannot(name):
    metric = parse_metric(name)
    if metric.weighs_documents:
        assert metric([1, 0], [1.0, 2.0], document_weight=[1.0, 3.0]) > 0
    else:
        with pytest.raises(ValueError, match="document_weight"):
            metric([1, 0], [1.0, 2.0], document_weight=[1.0, 3.0])
    with pytest.raises(ValueError, match="document_weight"):
        make_metric("own", lambda labels, scores: 1.0)([1, 0], [1.0, 2.0], document_weight=[1.0, 3.0])


# ------------------------------------------------------------------------------------------- rankers


def grid(seed=0):
    """Features with few values, so that copies do not change the edges of bins."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 20, (300, 5)).astype(np.float32)
    return X, rng.integers(0, 4, 300), np.repeat(np.arange(20), 15), rng.integers(0, 4, 300)


SAME_TREES = {
    "native": {},
    "lightgbm": {"booster_params": {"min_data_in_bin": 1}},
    "xgboost": {"min_child_samples": None},
}


@pytest.mark.parametrize("booster", SAME_TREES)
@pytest.mark.parametrize("objective", ["pairwise", "ndcg"])
def test_trees_are_those_of_the_copies(booster, objective):
    # Not asked of LightGBM after its first trees: it tells the rows of a leaf from its share of the hessian,
    # and copies change that share. Nor where features have more values than bins: copies move the edges.
    # Nor of native trees with 20,000 rows and more, which sample rows. After many trees any learner may come
    # upon two splits that are equally good but for rounding.
    X, y, qid, weight = grid()
    copies = np.repeat(np.arange(len(y)), weight)
    settings = {"n_estimators": 2 if booster == "lightgbm" else 8, "num_leaves": 8, "random_state": 0}
    settings |= {"min_child_samples": 1, **SAME_TREES[booster]}
    ranker = LambdaMART(objective, booster=booster, **settings)
    weighted = ranker.fit(X, y, qid=qid, document_weight=weight)
    score = weighted.score(X, y, qid=qid, document_weight=weight)
    scores = weighted.predict(X)
    with_copies = ranker.fit(X[copies], y[copies], qid=qid[copies])
    np.testing.assert_allclose(scores, with_copies.predict(X), atol=1e-5)
    assert score == pytest.approx(with_copies.score(X[copies], y[copies], qid=qid[copies]), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("booster", SAME_TREES)
@pytest.mark.parametrize("objective", ["pairwise", "ndcg"])
def test_trees_are_those_of_the_copies_on_fifty_data_sets(booster, objective):
    # LightGBM's very first tree is another one on 2 (pairwise) and 3 (NDCG) of the 50, for the reason above.
    settings = {"n_estimators": 1 if booster == "lightgbm" else 3, "num_leaves": 8, "random_state": 0}
    settings |= {"min_child_samples": 1, **SAME_TREES[booster]}
    ranker = LambdaMART(objective, booster=booster, **settings)
    same = 0
    for seed in range(50):
        X, y, qid, weight = grid(seed)
        copies = np.repeat(np.arange(len(y)), weight)
        weighted = ranker.fit(X, y, qid=qid, document_weight=weight).predict(X)
        with_copies = ranker.fit(X[copies], y[copies], qid=qid[copies]).predict(X)
        same += np.abs(weighted - with_copies).max() <= 1e-5
    assert same >= (45 if booster == "lightgbm" else 50)


@pytest.mark.parametrize("steered", [{"n_bags": 3}, {"early_stopping_rounds": 3, "validation_fraction": 0.3}])
def test_bags_and_early_stopping_keep_weights_of_documents(steered):
    X, y, qid, weight = grid()
    copies = np.repeat(np.arange(len(y)), weight)
    ranker = LambdaMART(n_estimators=15, num_leaves=8, min_child_samples=1, random_state=0, **steered)
    scores = ranker.fit(X, y, qid=qid, document_weight=weight).predict(X)
    with_copies = ranker.fit(X[copies], y[copies], qid=qid[copies]).predict(X)
    np.testing.assert_allclose(scores, with_copies, atol=1e-5)


@pytest.mark.parametrize(
    "ranker",
    [
        LinearRanker("pairwise", input_transform=None, max_iter=20),
        NeuralRanker(
            "ndcg", input_transform=None, max_iter=2, hidden_layer_sizes=(4,), batch_size=20, random_state=0
        ),
    ],
    ids=["linear", "neural"],
)
def test_gradient_rankers_learn_as_from_the_copies(ranker):
    X, y, qid, weight = grid()
    X /= 20
    copies = np.repeat(np.arange(len(y)), weight)
    scores = ranker.fit(X, y, qid=qid, document_weight=weight).predict(X)
    with_copies = ranker.fit(X[copies], y[copies], qid=qid[copies]).predict(X)
    np.testing.assert_allclose(scores, with_copies, atol=1e-3 * np.ptp(with_copies))


def test_held_out_documents_are_weighted_too():
    X, y, qid, weight = grid()
    X_val, y_val, qid_val, weight_val = grid(1)
    ranker = LambdaMART(n_estimators=3, random_state=0)
    held_out = {"X_val": X_val, "y_val": y_val, "qid_val": qid_val, "document_weight_val": weight_val}
    ranker.fit(X, y, qid=qid, document_weight=weight, **held_out)
    expected = ranker.score(X_val, y_val, qid=qid_val, document_weight=weight_val)
    assert ranker.evals_result_["validation"]["ndcg@10"][-1] == pytest.approx(expected)
    assert expected != ranker.score(X_val, y_val, qid=qid_val)


def test_the_model_does_not_depend_on_the_order_of_equal_rows_with_different_weights():
    X, y, qid, weight = grid()
    X = np.concatenate([X, X])
    y, qid, weight = np.tile(y, 2), np.tile(qid, 2), np.concatenate([weight, weight[::-1] + 1])
    shuffled = np.random.default_rng(0).permutation(len(y))
    ranker = LambdaMART(n_estimators=5, random_state=0)
    text = ranker.fit(X, y, qid=qid, document_weight=weight).booster_.model_to_string()
    again = ranker.fit(X[shuffled], y[shuffled], qid=qid[shuffled], document_weight=weight[shuffled])
    assert again.booster_.model_to_string() == text


@pytest.mark.parametrize(
    "ranker",
    [
        LightGBMRanker(),
        XGBoostRanker(),
        PointwiseRanker(),
        LambdaMART("map"),
        AutoRanker("fits=1"),
        EnsembleRanker([("a", LambdaMART()), ("b", LambdaMART("pairwise"))]),
    ],
    ids=lambda ranker: type(ranker).__name__,
)
def test_rankers_that_cannot_weigh_documents_say_so(ranker):
    X, y, qid, weight = grid()
    with pytest.raises(ValueError, match="'document_weight' must be None"):
        ranker.fit(X, y, qid=qid, document_weight=weight)
    with pytest.raises(ValueError, match="'document_weight' must be None"):
        ranker.fit(X, y, qid=qid, X_val=X, y_val=y, qid_val=qid, document_weight_val=weight)


def test_positions_and_weights_of_documents_exclude_each_other():
    X, y, qid, weight = grid()
    with pytest.raises(ValueError, match="'document_weight' must be None with 'position'"):
        LambdaMART("pairwise").fit(
            X, y > 2, qid=qid, document_weight=weight, position=np.tile(np.arange(1, 16), 20)
        )


# ------------------------------------------------------------------------------------- signed labels


def test_pairwise_labels_may_have_any_sign():
    X, y, qid, _ = grid()
    ranker = LambdaMART("pairwise", n_estimators=5, random_state=0)
    scores = ranker.fit(X, y, qid=qid).predict(X)
    np.testing.assert_array_equal(ranker.fit(X, y * 0.5 - 1.0, qid=qid).predict(X), scores)


def test_signed_labels_are_measured_by_what_compares_them():
    X, y, qid, _ = grid()
    ranker = LambdaMART("pairwise", n_estimators=5, validation_fraction=0.3, random_state=0)
    with pytest.raises(ValueError, match=r"'eval_metric' must take labels below 0.*kendall_tau"):
        ranker.fit(X, y - 1.5, qid=qid)
    ranker.set_params(eval_metric="kendall_tau").fit(X, y - 1.5, qid=qid)
    assert ranker.score(X, y - 1.5, qid=qid) == ranker.score(X, y, qid=qid)


@pytest.mark.parametrize("objective", ["ndcg", "listnet", "map"])
def test_other_objectives_refuse_signed_labels(objective):
    X, y, qid, _ = grid()
    with pytest.raises(ValueError, match="'y' must hold finite relevance labels >= 0"):
        LambdaMART(objective).fit(X, y - 1.5, qid=qid)
