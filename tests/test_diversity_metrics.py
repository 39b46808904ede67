import itertools

import numpy as np
import pytest

from lambdamart_kit.diversify import (
    alpha_ndcg,
    catalogue_coverage,
    err_ia,
    gini_exposure,
    intra_list_distance,
    precision_ia,
    rerank,
    subtopic_recall,
    vendi_score,
)
from lambdamart_kit.metrics import dcg, err, precision

TOPIC_METRICS = [alpha_ndcg, err_ia, precision_ia, subtopic_recall]


def alpha_dcg(J, order, k, alpha):
    """By its definition."""
    seen, total = np.zeros(J.shape[1]), 0.0
    for rank, row in enumerate(order[:k]):
        total += (J[row] * (1 - alpha) ** seen).sum() / np.log2(rank + 2)
        seen += J[row]
    return total


def lists(rng, n_queries=12, n_topics=4, tied=False):
    qid = np.repeat(np.arange(n_queries), rng.integers(1, 12, n_queries))
    topics = (rng.random((len(qid), n_topics)) < 0.3).astype(float)
    topics[qid == 3] = 0
    scores = rng.normal(size=len(qid))
    return topics, (scores.round() if tied else scores), rng.permutation(n_queries)[qid]


def orders_of_ties(scores):
    """All rankings that random orders of equal scores can give, equally likely."""
    blocks = [np.flatnonzero(scores == s) for s in -np.unique(-scores)]
    for parts in itertools.product(*(itertools.permutations(block) for block in blocks)):
        yield [int(i) for part in parts for i in part]


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("k", [1, 3, None])
def test_alpha_ndcg_by_definition(alpha, k, rng):
    topics, scores, qid = lists(rng)
    found = alpha_ndcg(topics, scores, qid, k=k, alpha=alpha, per_query=True)
    for q, value in zip(np.unique(qid), found):
        J, s = topics[qid == q], scores[qid == q]
        cut = k or len(s)
        greedy, left = [], list(range(len(s)))
        while left:
            best = max(left, key=lambda i: alpha_dcg(J, [*greedy, i], None, alpha))
            greedy.append(best)
            left.remove(best)
        ideal = alpha_dcg(J, greedy, cut, alpha)
        if J.sum() == 0:
            assert np.isnan(value)
        else:
            # Documents of equal gain need not continue equally well, so greedy orders may differ a little.
            assert value == pytest.approx(alpha_dcg(J, np.argsort(-s), cut, alpha) / ideal, rel=0.03)


def test_alpha_zero_is_dcg_of_summed_gains(rng):
    topics, scores, qid = lists(rng)
    n_covered = topics.sum(axis=1)
    value = alpha_ndcg(topics, scores, qid, k=5, alpha=0.0, per_query=True)
    raw = dcg(n_covered, scores, qid, k=5, gain="linear", per_query=True)
    ideal = dcg(n_covered, n_covered, qid, k=5, gain="linear", per_query=True)
    np.testing.assert_allclose(value, raw / ideal, rtol=1e-12)


def test_alpha_ndcg_is_one_in_the_greedy_order_and_near_the_best(rng):
    for _ in range(20):
        topics = (rng.random((6, 3)) < 0.5).astype(float)
        topics[0, 0] = 1
        best = max(alpha_dcg(topics, order, 6, 0.5) for order in itertools.permutations(range(6)))
        scores = rng.normal(size=6)
        value = alpha_ndcg(topics, scores)
        ideal = alpha_dcg(topics, np.argsort(-scores), 6, 0.5) / value
        assert 0.95 * best <= ideal <= best + 1e-9


@pytest.mark.parametrize(
    ("metric", "by_order"),
    [
        (alpha_ndcg, lambda J, order, k: alpha_dcg(J, order, k, 0.5)),
        (
            subtopic_recall,
            lambda J, order, k: (J[order[:k]].max(axis=0) > 0).sum() / (J.max(axis=0) > 0).sum(),
        ),
        (precision_ia, lambda J, order, k: J[order[:k]].sum() / k / (J.max(axis=0) > 0).sum()),
        (
            err_ia,
            lambda J, order, k: (
                sum(
                    0.5 * J[i, t] * np.prod(1 - 0.5 * J[order[:rank], t]) / (rank + 1)
                    for rank, i in enumerate(order[:k])
                    for t in range(J.shape[1])
                )
                / (J.max(axis=0) > 0).sum()
            ),
        ),
    ],
)
def test_ties_are_exact_expectations(metric, by_order, rng):
    for _ in range(10):
        J = (rng.random((6, 3)) < 0.5).astype(float)
        J[0] = [1, 0, 1]
        scores = rng.integers(0, 3, 6).astype(float)
        orders = list(orders_of_ties(scores))
        expected = np.mean([by_order(J, order, 3) for order in orders])
        value = metric(J, scores, k=3)
        if metric is alpha_ndcg:  # the ideal is the same for all orders
            reference = by_order(J, orders[0], 3) / metric(J, -np.argsort(orders[0]).astype(float), k=3)
            value *= reference
        assert value == pytest.approx(expected, rel=1e-12)


def test_intent_aware_metrics_are_means_over_topics(rng):
    topics, scores, qid = lists(rng)
    present = np.stack([[topics[qid == q, t].any() for t in range(4)] for q in np.unique(qid)])
    for metric, of_topic in ((err_ia, err), (precision_ia, precision)):
        options = {"max_relevance": 1.0} if metric is err_ia else {}
        per_topic = [
            of_topic(topics[:, t], scores, qid, k=4, per_query=True, blank="zero", **options)
            for t in range(4)
        ]
        weight = np.array([1.0, 2.0, 3.0, 4.0])
        with np.errstate(invalid="ignore"):
            expected = (np.stack(per_topic, axis=1) * weight * present).sum(axis=1) / (weight * present).sum(
                axis=1
            )
        found = metric(topics, scores, qid, k=4, topic_weight=weight, per_query=True)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("metric", TOPIC_METRICS)
def test_conventions_of_the_kit(metric, rng):
    topics, scores, qid = lists(rng, tied=True)
    values = metric(topics, scores, qid, per_query=True)
    blank = np.isnan(values)
    assert blank.any()
    assert metric(topics, scores, qid) == pytest.approx(np.nanmean(values))
    for name, worth in (("zero", 0.0), ("one", 1.0)):
        assert (metric(topics, scores, qid, per_query=True, blank=name)[blank] == worth).all()
    weight_of = rng.random(12)
    weighted = metric(topics, scores, qid, sample_weight=weight_of[qid])
    assert weighted == pytest.approx((weight_of[~blank] * values[~blank]).sum() / weight_of[~blank].sum())
    shuffle = rng.permutation(len(qid))
    again = metric(topics[shuffle], scores[shuffle], qid[shuffle], per_query=True)
    np.testing.assert_allclose(again, values, rtol=1e-12)
    assert (values[~blank] <= 1 + 1e-9).all()


def test_input_ties_take_rows_as_they_come():
    topics = [[1, 0], [1, 0], [0, 1]]
    assert subtopic_recall(topics, [0.0, 0.0, 0.0], k=2, ties="input") == 0.5
    assert subtopic_recall(topics, [0.0, 0.0, 0.0], k=2) == pytest.approx((1 + 2 / 3) / 2)


def test_intra_list_distance_by_definition(rng):
    X, scores = rng.normal(size=(7, 3)), np.array([3.0, 2.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    for distance in ("cosine", "euclidean"):
        U = X / np.linalg.norm(X, axis=1, keepdims=True)

        def apart(i, j, distance=distance, U=U):
            return 1 - U[i] @ U[j] if distance == "cosine" else np.linalg.norm(X[i] - X[j])

        for k in (2, 3, 4, None):
            expected = np.mean(
                [
                    np.mean([apart(i, j) for i, j in itertools.combinations(order[:k], 2)])
                    for order in orders_of_ties(scores)
                ]
            )
            assert intra_list_distance(X, scores, k=k, distance=distance) == pytest.approx(expected)


def test_a_list_of_one_has_no_distance():
    values = intra_list_distance(np.eye(3), [1.0, 2.0, 3.0], [0, 1, 1], per_query=True)
    assert np.isnan(values[0])
    assert values[1] == 1.0
    assert intra_list_distance(np.eye(3), [1.0, 2.0, 3.0], [0, 1, 1], blank="zero") == 0.5


def test_catalogue_coverage_under_ties():
    # One of a, b at random in the first list; c in the second: expected items shown 0.5 + 0.5 + 1.
    value = catalogue_coverage(["a", "b", "c"], [1.0, 1.0, 1.0], [0, 0, 1], k=1)
    assert value == pytest.approx(2 / 3)
    assert catalogue_coverage(["a", "b", "c"], [2.0, 1.0, 1.0], [0, 0, 1], k=1, n_items=10) == pytest.approx(
        0.2
    )


def test_gini_of_exposure():
    assert gini_exposure(list("abcd"), [1.0] * 4, k=1) == pytest.approx(0.0, abs=1e-12)
    assert gini_exposure(list("abcd"), [4.0, 3.0, 2.0, 1.0], k=1) == pytest.approx(1 - 1 / 4)
    one, third = 1.0, 1 / np.log2(4)
    exposure = np.sort([one, 1 / np.log2(3), third])
    mean_difference = np.abs(exposure[:, None] - exposure).mean()
    expected = mean_difference / (2 * exposure.mean())
    assert gini_exposure(list("abc"), [3.0, 2.0, 1.0]) == pytest.approx(expected)


def test_vendi_score_counts_different_items(rng):
    for n in (1, 2, 7):
        assert vendi_score(np.tile(rng.normal(size=(1, 4)), (n, 1))) == pytest.approx(1.0)
        assert vendi_score(np.eye(9)[:n]) == pytest.approx(n)
    three_kinds = np.repeat(np.eye(3), 5, axis=0)
    for order in (0.5, 1.0, 2.0, np.inf):
        assert vendi_score(three_kinds, order=order) == pytest.approx(3.0)
    X = rng.normal(size=(20, 4))
    U = X / np.linalg.norm(X, axis=1, keepdims=True)
    assert vendi_score(X) == pytest.approx(vendi_score(similarity=U @ U.T))
    values = [vendi_score(X, order=order) for order in (0.5, 1.0, 2.0, np.inf)]
    assert values == sorted(values, reverse=True)
    qid = np.repeat([1, 0], 10)
    per_query = vendi_score(X, qid, per_query=True)
    assert per_query == pytest.approx([vendi_score(X[10:]), vendi_score(X[:10])])


def test_reranking_raises_the_vendi_score(rng):
    centres = rng.normal(size=(6, 8))
    X = centres[rng.integers(0, 6, 200)] + 0.2 * rng.normal(size=(200, 8))
    scores = X @ centres[0]  # relevance likes one kind
    plain = rerank(scores, 10, features=X, utility="logdet", trade_off=0.0)
    diverse = rerank(scores, 10, features=X, utility="logdet", trade_off=0.9)
    assert vendi_score(X[diverse]) > 2 * vendi_score(X[plain])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: alpha_ndcg([1, 0], [1.0, 2.0]), "'topics' must be"),
        (lambda: alpha_ndcg(np.empty((0, 2)), []), "'topics' must be"),
        (lambda: alpha_ndcg([[np.nan]], [1.0]), "'topics' must be finite and >= 0; row 0"),
        (lambda: alpha_ndcg([[1.0]], [np.nan]), "'scores' must not be NaN"),
        (lambda: alpha_ndcg([[1.0]], [1.0], alpha=2), r"'alpha' must be in \[0, 1\]; got 2"),
        (lambda: alpha_ndcg([[1.0]], [1.0], ties="optimistic"), "'ties' must be one of 'average', 'input'"),
        (lambda: alpha_ndcg([[1.0]], [1.0], k=0), "'k' must be a whole number"),
        (lambda: alpha_ndcg([[1.0]], [1.0], blank="two"), "'blank' must be one of"),
        (lambda: err_ia([[2.0]], [1.0]), "'max_relevance' must be at least the largest label, 2"),
        (lambda: err_ia([[1.0]], [1.0], topic_weight=[1.0, 2.0]), "'topic_weight' must hold 1"),
        (lambda: gini_exposure([], []), r"'items' must be \(n_samples,\), at least one"),
        (lambda: intra_list_distance([1.0], [1.0]), "'features' must be"),
        (lambda: intra_list_distance([[np.inf]], [1.0]), "'features' must be finite; row 0"),
        (lambda: intra_list_distance([[1.0]], [1.0], distance="edit"), "'distance' must be one of"),
        (lambda: catalogue_coverage(["a", "b"], [1.0, 1.0], n_items=1), "'n_items' must be at least the 2"),
        (lambda: vendi_score([[0.0], [1.0]]), "'features' must not be zero"),
        (lambda: vendi_score(), "exactly one of 'features' and 'similarity'"),
        (lambda: vendi_score(similarity=[[1, 2], [2, 1]]), "positive semi-definite"),
        (lambda: vendi_score(similarity=[[2, 0], [0, 2]]), "diagonal of ones"),
        (lambda: vendi_score([[1.0]], order=0), "'order' must be finite and > 0"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
