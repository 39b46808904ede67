"""The pair objectives: compiled kernels against their NumPy specification, invariants and extremes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from conftest import ragged

from lambdamart_kit.core.pairs import PairLoss
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.ranking import reference
from lambdamart_kit.core.ranking.pair_loop import falling_exp
from lambdamart_kit.objectives import (
    LambdaERR,
    LambdaMAP,
    LambdaMRR,
    LambdaNDCG,
    LambdaPrecision,
    NDCGLoss1,
    NDCGLoss2,
    NDCGLoss2pp,
    RankNet,
)

ALL = [
    RankNet,
    LambdaNDCG,
    LambdaMAP,
    LambdaMRR,
    LambdaERR,
    LambdaPrecision,
    NDCGLoss1,
    NDCGLoss2,
    NDCGLoss2pp,
]


def gradient_of(objective, y, scores, qid, **options):
    """Row-aligned copies of gradient and hessian at row-aligned scores."""
    queries = Queries.from_qid(qid, len(y))
    bound = objective.bind(y, queries, **options)
    gradient, hessian = bound.gradient_hessian(queries.sort(np.asarray(scores, dtype=np.float32)))
    return queries.unsort(gradient).copy(), queries.unsort(hessian).copy()


def discount(rank):
    return 1 / math.log2(rank + 2)


def specification(objective, scores, y):
    """Labels and (n, n) pair weights of one query from the definitions in core.reference."""
    level = objective.truncation_level
    relevant = (y >= 1).astype(float)
    gain = 2.0**y - 1
    ideal = reference.dcg(np.where(np.arange(len(y)) < (level or len(y)), np.sort(gain)[::-1], 0)) or 1.0
    gap = np.abs(gain[:, None] - gain[None, :]) / ideal
    match objective:
        case RankNet():
            return y, reference.rank_weights(scores, lambda a, b: 1.0, level)
        case LambdaNDCG():
            return y, gap * reference.rank_weights(scores, lambda a, b: discount(a) - discount(b), level)
        case LambdaPrecision():
            share = reference.rank_weights(
                scores, lambda a, b: float(a < objective.k <= b) / objective.k, level
            )
            return relevant, share
        case LambdaMAP():
            return relevant, reference.swap_weights(scores, relevant, reference.average_precision, level)
        case LambdaMRR():
            return relevant, reference.swap_weights(scores, relevant, reference.reciprocal_rank, level)
        case LambdaERR():
            stop = (2.0**y - 1) / 2.0**objective.max_relevance
            return y, reference.swap_weights(scores, stop, reference.expected_reciprocal_rank, level)
        case NDCGLoss1():
            raise NotImplementedError
        case NDCGLoss2() | NDCGLoss2pp():
            swap, distance = (0.0, 1.0) if isinstance(objective, NDCGLoss2) else (1.0, objective.mu)

            def weight(a, b):
                near = discount(b - a - 1) - discount(b - a)
                return swap * (discount(a) - discount(b)) + distance * near

            return y, gap * reference.rank_weights(scores, weight, level)


def expected_gradient(objective, scores, y):
    labels, weights = specification(objective, scores, y)
    if len(np.unique(labels)) == 1:
        return np.zeros(len(y)), np.zeros(len(y))
    normal = objective.normalize
    return reference.pair_gradient(
        scores,
        labels,
        weights,
        sigma=objective.sigma,
        by_score=normal in (True, "scores"),
        by_query=normal in (True, "queries"),
        hessian_factor=objective.hessian_factor,
    )


def assert_equals_specification(objective, y, scores, qid):
    gradient, hessian = gradient_of(objective, y, scores, qid)
    for q in np.unique(qid):
        rows = qid == q
        expected = expected_gradient(objective, scores[rows].astype(float), y[rows])
        for ours, theirs in zip((gradient[rows], hessian[rows]), expected):
            np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-6 * max(1.0, np.abs(theirs).max()))


def make(kind, **options):
    return kind(**options)


SPECIFIED = [kind for kind in ALL if kind is not NDCGLoss1]


@pytest.mark.parametrize("kind", SPECIFIED)
@pytest.mark.parametrize("level", [None, 4])
@pytest.mark.parametrize("normalize", [False, True])
def test_equals_specification_without_ties(rng, kind, level, normalize):
    y, scores, qid = ragged(rng, n_queries=8, max_size=18)
    assert_equals_specification(make(kind, truncation_level=level, normalize=normalize), y, scores, qid)


@pytest.mark.parametrize("kind", [RankNet, LambdaNDCG, LambdaPrecision, NDCGLoss2, NDCGLoss2pp])
@pytest.mark.parametrize("level", [None, 1, 3, 10])
def test_equals_specification_with_long_ties(rng, kind, level):
    y, scores, qid = ragged(rng, n_queries=8, max_size=25)
    scores = scores.round().astype(np.float32)
    objective = make(kind, truncation_level=level, normalize=False)
    assert_equals_specification(objective, y, scores, qid)


@pytest.mark.parametrize("kind", [LambdaNDCG, LambdaMAP, LambdaMRR, LambdaPrecision])
@pytest.mark.parametrize("scores", [[0, 0, 0, 0, 0], [1, 0, 0, 0, -1], [1, 1, 0, 0, 0], [1, 1, 0, 0, -1]])
def test_ties_are_the_mean_over_all_orders(rng, kind, scores):
    scores = np.array(scores, dtype=np.float32)
    for labels in itertools.product([0, 1], repeat=5):
        assert_equals_specification(
            make(kind, truncation_level=None, normalize=False), np.array(labels, float), scores, np.zeros(5)
        )


TIED = [[0, 0, 0, 0, 0], [1, 0, 0, 0, -1], [1, 1, 1, 0, 0], [1, 1, 0, 0, -1]]


@pytest.mark.parametrize("kind", [LambdaNDCG, LambdaMAP, LambdaMRR, LambdaPrecision, NDCGLoss2, NDCGLoss2pp])
@pytest.mark.parametrize("level", [1, 2, 3])
@pytest.mark.parametrize("scores", TIED)
def test_a_block_across_the_truncation_counts_by_probability(kind, level, scores):
    for labels in itertools.product([0, 1], repeat=5):
        objective = make(kind, truncation_level=level, normalize=False)
        assert_equals_specification(
            objective, np.array(labels, float), np.array(scores, np.float32), np.zeros(5)
        )


def test_reciprocal_rank_of_three_tied_documents_by_hand():
    """One relevant document of three, truncation 1: of the swaps only those with rank 0 count.

    The relevant document stands at rank 0, 1 or 2 in a third of the orders each. Swapped with a given other
    one of rank 0 it moves to 0 (1/2 or 2/3 is gained, in half of the orders where it stands lower), and from
    rank 0 it moves to rank 1 or 2 (the same is lost).
    """
    weight = (0.5 * 1 / 2 + 0.5 * 2 / 3) / 3 * 2
    gradient, _ = gradient_of(
        LambdaMRR(truncation_level=1, normalize=False), np.array([1.0, 0, 0]), np.zeros(3), np.zeros(3)
    )
    np.testing.assert_allclose(gradient, [-weight, weight / 2, weight / 2], rtol=1e-6)


@pytest.mark.parametrize(("level", "largest"), [(None, 0.19), (1, 0.1), (2, 0.19), (3, 0.19)])
def test_the_error_of_err_over_ties_is_as_its_docstring_says(level, largest):
    """All queries of two to four documents with labels 0 to 4 in one block, and some of two blocks."""
    errors = []
    for n, scores in [(2, [0, 0]), (3, [0, 0, 0]), (3, [1, 0, 0]), (4, [0, 0, 0, 0]), (4, [1, 1, 0, 0])]:
        for labels in itertools.combinations_with_replacement(range(5), n):
            if len(set(labels)) > 1 and (level is None or level < n):
                y, s = np.array(labels, float), np.array(scores, np.float32)
                objective = LambdaERR(normalize=False, truncation_level=level)
                expected, _ = expected_gradient(objective, s.astype(float), y)
                gradient, _ = gradient_of(objective, y, s, np.zeros(n))
                errors.append(np.abs(gradient - expected).max() / np.abs(expected).max())
    assert 0.8 * largest < max(errors) < largest
    assert 0.015 < np.median(errors) < 0.08


@pytest.mark.parametrize("kind", SPECIFIED)
def test_gradient_by_central_differences_with_weights_frozen(rng, kind):
    """The gradient is that of the pair loss when the pair weights are held at their value at `scores`."""
    y, scores = rng.integers(0, 4, 10).astype(float), rng.normal(size=10).astype(np.float32)
    objective = make(kind, normalize=False, sigma=1.5)
    labels, weights = specification(objective, scores.astype(float), y)
    gradient, hessian = gradient_of(objective, y, scores, np.zeros(10))
    step = 1e-4
    for row in range(10):
        e = step * np.eye(10)[row]
        up, here, down = (reference.pair_loss(scores + d, labels, weights, 1.5) for d in (e, 0 * e, -e))
        assert gradient[row] == pytest.approx((up - down) / (2 * step), abs=1e-5)
        assert hessian[row] == pytest.approx((up + down - 2 * here) / step**2, abs=1e-4)


def test_tied_ndcg_by_enumeration_equals_rank_means(rng):
    """The two specifications of an expectation agree: all orders, and all pairs of ranks."""
    scores, gain = np.array([1.0, 0, 0, 0, -1, -1]), rng.integers(0, 8, 6).astype(float)
    for level in (None, 1, 3):
        gap = np.abs(gain[:, None] - gain[None, :])
        means = reference.rank_weights(scores, lambda a, b: discount(a) - discount(b), level)
        orders = reference.swap_weights(scores, gain, reference.dcg, level)
        np.testing.assert_allclose(gap * means, orders, atol=1e-12)


def test_delta_ndcg_is_what_a_swap_changes():
    """Labels 0, 2 at scores 1, 0: NDCG goes from 1/log2(3) to 1, so delta = .36907; p = sigma(-1)."""
    objective = LambdaNDCG.burges()
    gradient, hessian = gradient_of(objective, np.array([0, 2.0]), [1, 0], [0, 0])
    delta, lost = 1 - 1 / math.log2(3), 1 / (1 + math.exp(-1))
    np.testing.assert_allclose(gradient, [delta * lost, -delta * lost], rtol=1e-6)
    np.testing.assert_allclose(hessian, np.full(2, delta * lost * (1 - lost)), rtol=1e-6)


def test_lightgbm_normalisation_spelled_out():
    gradient, hessian = gradient_of(LambdaNDCG.lightgbm(sigma=2), np.array([0, 2.0]), [1, 0], [0, 0])
    delta, lost = (1 - 1 / math.log2(3)) / (0.01 + 1), 1 / (1 + math.exp(-2))
    total = 2 * 2 * delta * lost
    scale = math.log2(1 + total) / total
    np.testing.assert_allclose(gradient[0], scale * 2 * delta * lost, rtol=1e-6)
    np.testing.assert_allclose(hessian[0], scale * 4 * delta * lost * (1 - lost), rtol=1e-6)
    theirs, their_hessian = gradient_of(LambdaNDCG.xgboost(), np.array([0, 2.0]), [1, 0], [0, 0])
    ours, our_hessian = gradient_of(LambdaNDCG.lightgbm(), np.array([0, 2.0]), [1, 0], [0, 0])
    np.testing.assert_allclose(theirs, ours)
    np.testing.assert_allclose(their_hessian, 2 * our_hessian)


def test_ranknet_is_bradley_terry_on_explicit_pairs(rng):
    y, scores, qid = ragged(rng, tied=True)
    pairs = [
        (i, j)
        for q in np.unique(qid)
        for i, j in itertools.permutations(np.flatnonzero(qid == q), 2)
        if y[i] > y[j]
    ]
    winners, losers = np.array(pairs).T
    expected = PairLoss(winners, losers, len(y)).gradient_hessian(scores)
    for ours, theirs in zip(gradient_of(RankNet(), y, scores, qid), expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_one_pair_is_the_pair_model():
    gradient, hessian = gradient_of(RankNet(), np.array([3.0, 1.0]), [0.7, 0.2], ["a", "a"])
    p = 1 / (1 + math.exp(-0.5))
    np.testing.assert_allclose(gradient, [-(1 - p), 1 - p], rtol=1e-6)
    np.testing.assert_allclose(hessian, [p * (1 - p)] * 2, rtol=1e-6)


def test_ndcg_loss_1_weighs_the_better_document(rng):
    y, scores = rng.integers(0, 4, 12).astype(float), rng.normal(size=12).astype(np.float32)
    gain, rank = 2**y - 1, np.argsort(np.argsort(-scores))
    worth = gain / np.log2(rank + 2) / reference.dcg(np.sort(gain)[::-1])
    expected = reference.pair_gradient(scores.astype(float), y, np.repeat(worth[:, None], 12, axis=1))
    for ours, theirs in zip(gradient_of(NDCGLoss1(), y, scores, np.zeros(12)), expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_ndcg_loss_1_over_ties_is_the_mean_of_its_orders(rng):
    y, scores = np.array([2.0, 0, 1, 3, 1]), np.array([1, 0, 0, 0, 1], dtype=np.float32)
    orders = list(reference.descending_orders(scores))
    spread = [scores[order].astype(float) for order in orders]
    total = np.zeros(5)
    for order, _ in zip(orders, spread):
        rank = np.argsort(order)
        worth = (2**y - 1) / np.log2(rank + 2) / reference.dcg(np.sort(2**y - 1)[::-1])
        total += reference.pair_gradient(scores.astype(float), y, np.repeat(worth[:, None], 5, axis=1))[0]
    np.testing.assert_allclose(
        gradient_of(NDCGLoss1(), y, scores, np.zeros(5))[0], total / len(orders), rtol=1e-5, atol=1e-6
    )


def test_a_query_is_not_computed_with_what_another_left(rng):
    """The exponential of 128 log(2) is infinity in float32, and a weight of 0 times it NaN."""
    scores = np.append(128 * np.log(2) + np.linspace(0, 0.01, 40), [0.0, -0.5, -1.0])
    y, qid = np.append(rng.integers(0, 3, 40), [0, 2, 1]), np.repeat([0, 1], [40, 3])
    gradient, _ = gradient_of(RankNet(), y, scores, qid)
    alone, _ = gradient_of(RankNet(), y[40:], scores[40:], qid[40:])
    assert np.array_equal(gradient[40:], alone)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("ties", ["expected", "input", "random"])
class TestInvariants:
    def test_gradients_of_a_query_sum_to_zero(self, rng, kind, ties):
        y, scores, qid = ragged(rng, tied=True)
        gradient, hessian = gradient_of(kind(ties=ties), y, scores, qid)
        np.testing.assert_allclose(np.bincount(qid, gradient), 0, atol=2e-5)
        assert np.all(hessian >= 0)
        assert np.abs(gradient).max() > 0

    def test_shifting_a_query_changes_nothing(self, rng, kind, ties):
        y, scores, qid = ragged(rng)
        scores = (scores * 64).round() / 64  # so that adding a power of two is exact
        shifted = scores + np.where(qid % 2 == 0, 8, 0).astype(np.float32)
        for ours, theirs in zip(*(gradient_of(kind(ties=ties), y, s, qid) for s in (scores, shifted))):
            assert np.array_equal(ours, theirs)

    def test_extreme_scores_stay_finite(self, rng, kind, ties):
        y, scores, qid = ragged(rng)
        for factor in (1e4, 1e30):
            gradient, hessian = gradient_of(kind(ties=ties), y, np.sign(scores) * factor, qid)
            assert np.all(np.isfinite(gradient))
            assert np.all(np.isfinite(hessian))

    def test_queries_do_not_see_each_other(self, rng, kind, ties):
        if ties == "random":
            pytest.skip("shuffles are keyed by the query's place")
        y, scores, qid = ragged(rng, n_queries=10, tied=True)
        objective = make(kind, ties=ties)
        together = gradient_of(objective, y, scores, qid)
        for q in range(10):
            rows = qid == q
            alone = gradient_of(objective, y[rows], scores[rows], qid[rows])
            for ours, theirs in zip(alone, together):
                assert np.array_equal(ours, theirs[rows])

    def test_threads_do_not_change_a_bit(self, rng, kind, ties):
        y, scores, qid = ragged(rng, n_queries=200, tied=True)
        one, two = (gradient_of(kind(ties=ties), y, scores, qid, n_threads=n) for n in (1, 2))
        assert all(np.array_equal(a, b) for a, b in zip(one, two))


@pytest.mark.parametrize("kind", ALL)
def test_permuting_rows_permutes_the_gradient_bit_for_bit(rng, kind):
    y, scores, qid = ragged(rng, n_queries=40, max_size=120, tied=True)
    straight = gradient_of(kind(), y, scores, qid)
    order = rng.permutation(len(y))
    for ours, theirs in zip(gradient_of(kind(), y[order], scores[order], qid[order]), straight):
        assert np.array_equal(ours, theirs[order])


@pytest.mark.parametrize("kind", ALL)
def test_first_gradient_on_zero_scores_pulls_relevant_documents_up(rng, kind):
    y = np.array([0.0, 0, 1, 0, 2, 0, 0, 0])
    gradient, _ = gradient_of(kind(), y, np.zeros(8), np.zeros(8))
    assert np.all(gradient[y > 0] < 0)
    assert np.all(gradient[y == 0] > 0)
    assert len(np.unique(gradient[y == 0])) == 1


def test_random_ties_average_to_the_expectation():
    y, scores = np.array([2.0, 0, 1, 0, 0, 1]), np.array([0, 0, 0, 0, -1, -1], dtype=np.float32)
    queries = Queries.from_qid(None, 6)
    bound = LambdaNDCG(ties="random", normalize=False).bind(y, queries)
    draws = np.mean([bound.gradient_hessian(scores)[0].copy() for _ in range(4000)], axis=0)
    expected = LambdaNDCG(normalize=False).bind(y, queries).gradient_hessian(scores)[0]
    np.testing.assert_allclose(draws, expected, atol=0.01)


@pytest.mark.parametrize("kind", [RankNet, LambdaNDCG, NDCGLoss2pp])
def test_partners_average_to_all_pairs(rng, kind):
    y, scores = rng.integers(0, 3, 15).astype(float), rng.normal(size=15).astype(np.float32)
    queries = Queries.from_qid(None, 15)
    bound = kind(n_partners=4, normalize=False).bind(y, queries)
    draws = np.array([bound.gradient_hessian(scores)[0].copy() for _ in range(3000)])
    expected = kind(normalize=False).bind(y, queries).gradient_hessian(scores)[0]
    error = draws.std(axis=0) / math.sqrt(len(draws))
    assert np.all(np.abs(draws.mean(axis=0) - expected) <= 5 * error + 1e-6)
    assert error.max() > 0


def test_the_sum_of_sampled_pairs_normalizes():
    """Only the relevant document has pairs, so the sum over them is what its own gradient says."""
    queries = Queries.from_qid(None, 4)
    y, scores = np.array([1.0, 0, 0, 0]), np.array([2.0, 0.5, 0.2, 0.0], dtype=np.float32)
    plain, normal = (
        RankNet(n_partners=1, normalize=how, random_state=0).bind(y, queries).gradient_hessian(scores)[0]
        for how in (False, "queries")
    )
    total = 2 * abs(plain[0])
    np.testing.assert_allclose(normal, plain * math.log2(1 + total) / total, rtol=1e-5)


def test_equal_scores_are_not_divided_by_their_distance():
    """In the specification: at the start of training all scores are equal, and p is a half."""
    found = reference.pair_gradient(np.zeros(2), np.array([1.0, 0.0]), np.ones((2, 2)), by_score=True)
    np.testing.assert_array_equal(found, [[-0.5, 0.5], [0.25, 0.25]])


def test_partners_more_than_documents_are_all_pairs(rng):
    y, scores, qid = ragged(rng)
    few, all_pairs = (gradient_of(RankNet(n_partners=n), y, scores, qid) for n in (1000, None))
    assert np.array_equal(few[0], all_pairs[0])


def test_falling_exp():
    x = np.linspace(0, 87, 5001).astype(np.float32)
    values = np.array([falling_exp(v) for v in x], dtype=float)
    np.testing.assert_allclose(values, np.exp(-x.astype(float)), rtol=3e-7)
    # What is smaller than float32 can hold with all its digits stays at exp(-87.3).
    np.testing.assert_allclose(float(falling_exp(np.float32(1e30))), math.exp(-87.3), rtol=1e-5)
