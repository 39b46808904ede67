"""Simulated clicks: exact probabilities by enumeration, and the log's form."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lambdamart_kit.clicks.harvesting import SingleClicks, harvested_propensities
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.datasets import (
    Cascade,
    DynamicBayesian,
    PositionBased,
    RankingDataset,
    TrustBias,
    make_letor,
    simulate_clicks,
)

N = 200_000
RELEVANCE = np.array([0.2, 1.0, 0.0, 0.6])
PERCEIVED = np.array([0.3, 0.9, 0.1, 0.64])


def enumerated(model, perceived, relevance):
    """Examination and click probability of each position, from every path a user can take."""
    k = len(perceived)
    examined, clicked = np.zeros(k), np.zeros(k)
    for clicks in itertools.product([0, 1], repeat=k):
        for depth in range(1, k + 1):  # positions 1 .. depth are read
            p = path_probability(model, perceived, relevance, clicks, depth)
            examined[:depth] += p
            clicked += p * np.array(clicks)
    return examined, clicked


def path_probability(model, perceived, relevance, clicks, depth):
    if any(clicks[depth:]):
        return 0.0
    p = 1.0
    for at in range(depth):
        p *= perceived[at] if clicks[at] else 1 - perceived[at]
        if isinstance(model, Cascade):
            goes_on = 0.0 if clicks[at] else 1.0
        else:
            goes_on = model.continuation * (1 - clicks[at] * model.satisfaction * relevance[at])
        last = at == len(clicks) - 1
        p *= goes_on if at < depth - 1 else 1.0 if last else 1 - goes_on
    return p


@pytest.mark.parametrize("model", [Cascade(), DynamicBayesian(continuation=0.8, satisfaction=0.7)])
def test_reading_down_against_enumeration(model):
    examined, clicked = enumerated(model, PERCEIVED, RELEVANCE)
    lists = np.tile(PERCEIVED, (N, 1)), np.tile(RELEVANCE, (N, 1))
    clicks = model.click(*lists, np.random.default_rng(0))
    np.testing.assert_allclose(clicks.examination[0], examined, rtol=1e-12)
    np.testing.assert_allclose(examined * PERCEIVED, clicked, rtol=1e-12)
    np.testing.assert_allclose(clicks.clicked.mean(axis=0), clicked, atol=4 * np.sqrt(0.25 / N))


def test_position_based_clicks_are_independent():
    model = PositionBased(propensities=[1.0, 0.5, 0.25, 0.2])
    clicks = model.click(np.tile(PERCEIVED, (N, 1)), np.tile(RELEVANCE, (N, 1)), np.random.default_rng(0))
    expected = np.array([1.0, 0.5, 0.25, 0.2]) * PERCEIVED
    np.testing.assert_allclose(clicks.clicked.mean(axis=0), expected, atol=4 * np.sqrt(0.25 / N))
    both = (clicks.clicked[:, 0] & clicks.clicked[:, 1]).mean()
    assert both == pytest.approx(expected[0] * expected[1], abs=4 * np.sqrt(0.25 / N))


def test_trust_bias_by_hand():
    trust = TrustBias(plus=0.9, minus=0.6)
    # 0.9 * 0.5 + 0.6 * 0.5 at the top, 0.9 * 0.5 + 0.3 * 0.5 below it
    np.testing.assert_allclose(trust.perceived(np.full((1, 2), 0.5)), [[0.75, 0.6]])


def small_set():
    X = np.arange(7, dtype=np.float32)[:, None]
    y = np.array([0, 1, 4, 0, 0, 2, 0], dtype=np.float32)
    return RankingDataset(X, y, np.array([5, 5, 5, 5, 9, 9, 9]))


def test_lists_follow_scores_and_are_cut():
    data = small_set()
    log = simulate_clicks(data, [1, 2, 3, 4, 3, 2, 1], sessions_per_query=2, n_positions=3, random_state=0)
    assert log.rows.tolist() == [3, 2, 1, 3, 2, 1, 4, 5, 6, 4, 5, 6]
    assert log.position.tolist() == [1, 2, 3] * 4
    assert log.qid.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert log.query.tolist() == [5] * 6 + [9] * 6
    np.testing.assert_array_equal(log.X, data.X[log.rows])
    np.testing.assert_array_equal(log.relevance, data.y[log.rows])
    np.testing.assert_allclose(log.propensities, [1, 1 / 2, 1 / 3])


def test_click_rates_are_propensity_times_perceived_relevance():
    data = small_set()
    log = simulate_clicks(data, np.zeros(7), sessions_per_query=60_000, noise=0.1, random_state=0)
    perceived = 0.1 + 0.9 * (2.0**data.y - 1) / 15
    rate = np.bincount(log.rows, weights=log.y / log.examination) / np.bincount(log.rows)
    np.testing.assert_allclose(rate, perceived, atol=0.02)


def test_equal_scores_stand_in_any_order():
    log = simulate_clicks(small_set(), np.zeros(7), sessions_per_query=4_000, random_state=0)
    first = log.rows[log.position == 1]
    np.testing.assert_allclose(np.bincount(first)[:4] / 4_000, 0.25, atol=0.03)


def test_temperature_draws_from_plackett_luce():
    scores = np.array([0.0, 1.0, 2.0, 0.5, 0, 0, 0])
    log = simulate_clicks(small_set(), scores, sessions_per_query=20_000, temperature=0.5, random_state=0)
    first = np.bincount(log.rows[(log.position == 1) & (log.query == 5)], minlength=4) / 20_000
    expected = np.exp(scores[:4] / 0.5) / np.exp(scores[:4] / 0.5).sum()
    np.testing.assert_allclose(first, expected, atol=0.015)


def test_the_seed_decides():
    data = make_letor(10, random_state=0)
    a, b, c = (simulate_clicks(data, data.X[:, 0], temperature=1.0, random_state=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(a.y, b.y)
    assert (a.rows != c.rows).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scores": np.zeros(6)}, r"'scores' must hold one finite number a row"),
        ({"scores": np.full(7, np.nan)}, r"'scores' must hold one finite number.*NaN"),
        ({"sessions_per_query": 0}, r"'sessions_per_query' must be a whole number >= 1"),
        ({"n_positions": 0}, r"'n_positions' must be a whole number >= 1"),
        ({"temperature": -1}, r"'temperature' must be a finite number >= 0"),
        ({"noise": 1.5}, r"'noise' must be a probability"),
        ({"noise": 0.1, "trust": TrustBias()}, r"'noise' must be None with 'trust'"),
        ({"model": PositionBased(eta=-1)}, r"'eta' must be a finite number >= 0"),
        (
            {"model": PositionBased(propensities=[1.0])},
            r"'propensities' must hold one probability a position",
        ),
        ({"model": PositionBased(propensities=[1.0, 0, 1, 1])}, r"position 2 has 0.0"),
        ({"model": DynamicBayesian(continuation=2)}, r"'continuation' must be a probability"),
    ],
)
def test_bad_input(change, message):
    settings = {"scores": np.zeros(7), "random_state": 0} | change
    with pytest.raises(ValueError, match=message):
        simulate_clicks(small_set(), **settings)


def test_harvesting_solves_its_equations():
    rng = np.random.default_rng(0)
    document, position = rng.integers(0, 50, 20_000), rng.integers(1, 6, 20_000)
    clicks = (rng.random(20_000) < 0.4 / position * rng.random(50)[document]).astype(float)
    theta, known = harvested_propensities(clicks, position, document, 5)
    shown = np.zeros((50, 5))
    np.add.at(shown, (document, position - 1), 1)
    offered = shown * theta
    of_document = np.bincount(document, weights=clicks, minlength=50)
    expected = (of_document[:, None] * offered / offered.sum(axis=1, keepdims=True)).sum(axis=0)
    expected += theta / theta.sum()  # the virtual document
    np.testing.assert_allclose(np.bincount(position - 1, weights=clicks) + 1 / 5, expected, rtol=1e-6)
    assert known.all()
    np.testing.assert_allclose(theta, 1 / np.arange(1, 6), rtol=0.25)


def test_positions_without_moving_documents_are_not_known():
    clicks, position, document = np.ones(6), np.array([1, 2, 1, 2, 3, 3]), np.array([7, 7, 7, 7, 8, 8])
    assert harvested_propensities(clicks, position, document, 3)[1].tolist() == [True, True, False]


def test_single_clicks_by_hand():
    queries = Queries.from_qid([0, 0, 1, 1, 1], 5)
    single = SingleClicks.of(np.array([0, 0, 1, 0, 1.0]), queries)
    assert single.rows.tolist() == [2, 3, 4, 2, 3, 4]
    assert single.y.tolist() == [1, 0, 0, 0, 0, 1]
    assert single.clicked.tolist() == [2, 4]
    assert single.queries.ptr.tolist() == [0, 3, 6]
