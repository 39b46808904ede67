"""The pair model against its closed forms and derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from lambdamart_kit.core.pairs import PairLoss, flipped_target, pair_terms


def test_plain_pair_is_minus_log_sigma():
    z = np.array([-3.0, -0.5, 0.0, 0.5, 3.0])
    p = 1 / (1 + np.exp(-z))
    loss, gradient, hessian = pair_terms(z)
    np.testing.assert_allclose(loss, -np.log(p), rtol=1e-14)
    np.testing.assert_allclose(gradient, -(1 - p), rtol=1e-14)
    np.testing.assert_allclose(hessian, p * (1 - p), rtol=1e-14)


@pytest.mark.parametrize("target", [0.0, 0.3, 1.0, 1.125])
def test_derivatives_by_central_differences(target):
    z, step = np.linspace(-6, 6, 25), 1e-5
    at, above, below = (pair_terms(z + d, target=target) for d in (0, step, -step))
    np.testing.assert_allclose(at.gradient, (above.loss - below.loss) / (2 * step), atol=1e-9)
    np.testing.assert_allclose(at.hessian, (above.gradient - below.gradient) / (2 * step), atol=1e-9)


def test_soft_target_optimum_is_its_logit():
    best = minimize_scalar(lambda z: pair_terms([z], target=0.8).loss[0], bounds=(-5, 5), method="bounded")
    assert best.x == pytest.approx(logit(0.8), abs=1e-5)


@pytest.mark.parametrize("z", [-1e4, -800.0, 800.0, 1e4])
def test_extreme_differences_stay_finite(z):
    loss, gradient, hessian = pair_terms([z])
    assert loss[0] == pytest.approx(max(-z, 0.0))
    assert gradient[0] == pytest.approx(-1.0 if z < 0 else 0.0)
    assert np.isfinite(hessian[0])


def test_smoothed_labels_are_a_soft_target():
    assert flipped_target(1.0, 0.1, correction="smoothed") == pytest.approx(0.9)
    assert flipped_target(0.5, 0.2, correction="smoothed") == pytest.approx(0.5)


def test_robust_loss_is_plain_minus_a_line():
    e, z = 0.1, np.linspace(-4, 4, 9)
    plain = pair_terms(z)
    robust = pair_terms(z, target=flipped_target(1.0, e, correction="robust"))
    np.testing.assert_allclose(robust.loss, plain.loss - e / (1 - 2 * e) * z, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(robust.gradient, plain.gradient - e / (1 - 2 * e), rtol=1e-12)
    np.testing.assert_allclose(robust.hessian, plain.hessian, rtol=1e-12)


def test_robust_population_optimum_is_the_clean_probability():
    clean, e = 0.7, 0.15
    seen = clean * (1 - e) + (1 - clean) * e
    won, lost = (flipped_target(t, e, correction="robust") for t in (1.0, 0.0))

    def risk(z):
        return seen * pair_terms([z], target=won).loss[0] + (1 - seen) * pair_terms([z], target=lost).loss[0]

    best = minimize_scalar(risk, bounds=(-5, 5), method="bounded")
    assert expit(best.x) == pytest.approx(clean, abs=1e-5)


def test_two_players_meet_at_log_three():
    """3:1 has its optimum at a difference of log 3 = 1.098612."""
    loss = PairLoss([0, 1], [1, 0], 2, weight=[3, 1])
    gradient, hessian = loss.gradient_hessian([math.log(3), 0.0])
    np.testing.assert_allclose(gradient, 0, atol=1e-15)
    np.testing.assert_allclose(hessian, 4 * 0.75 * 0.25)


def random_pairs(rng, n_items=30, n_pairs=400):
    first = rng.integers(0, n_items, n_pairs)
    second = (first + rng.integers(1, n_items, n_pairs)) % n_items
    settings = {
        "weight": rng.random(n_pairs),
        "target": rng.random(n_pairs),
        "margin": rng.normal(size=n_pairs),
    }
    return first, second, settings


def test_sum_over_pairs_equals_a_loop(rng):
    first, second, settings = random_pairs(rng)
    scores = rng.normal(size=30)
    expected = np.zeros((2, 30))
    for i, j, w, t, m in zip(first, second, *settings.values()):
        p = 1 / (1 + math.exp(-(scores[i] - scores[j] - m)))
        expected[0, i] += w * (p - t)
        expected[0, j] -= w * (p - t)
        expected[1, [i, j]] += w * p * (1 - p)
    gradient, hessian = PairLoss(first, second, 30, **settings).gradient_hessian(scores)
    np.testing.assert_allclose(gradient, expected[0], atol=1e-12)
    np.testing.assert_allclose(hessian, expected[1], atol=1e-12)
    assert gradient.sum() == pytest.approx(0, abs=1e-12)


def test_item_gradient_by_central_differences(rng):
    first, second, settings = random_pairs(rng)
    loss, scores, step = PairLoss(first, second, 30, **settings), rng.normal(size=30), 1e-5
    gradient, _ = loss.gradient_hessian(scores)
    for item in (0, 7, 29):
        e = np.eye(30)[item] * step
        assert gradient[item] == pytest.approx(
            (loss.loss(scores + e) - loss.loss(scores - e)) / (2 * step), abs=1e-7
        )


def test_threads_do_not_change_a_bit(rng):
    first, second, settings = random_pairs(rng, 50, 5000)
    scores = rng.normal(size=50)
    one, two = (PairLoss(first, second, 50, n_threads=n, **settings).gradient_hessian(scores) for n in (1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, two))


def test_items_without_pairs_have_zero_gradient():
    gradient, hessian = PairLoss([0], [2], 4).gradient_hessian(np.zeros(4))
    assert gradient.tolist() == [-0.5, 0.0, 0.5, 0.0]
    assert hessian.tolist() == [0.25, 0.0, 0.25, 0.0]
    empty = PairLoss(np.empty(0, int), np.empty(0, int), 3)
    assert empty.gradient_hessian(np.zeros(3))[0].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([0], [3], 3), {}, "'second' must hold items from 0 to 2; pair 0 has 3"),
        (([-1], [0], 3), {}, "'first' must hold items from 0 to 2"),
        (([0, 1], [1], 3), {}, "'first' and 'second' must be equally long"),
        (([0.5], [1], 3), {}, "'first' must be a one-dimensional array of item numbers"),
        (([0], [1], 3), {"weight": -1.0}, "'weight' must not be negative"),
        (([0], [1], 3), {"weight": [1.0, 2.0]}, "'weight' must be a number or one value a pair"),
        (([0], [1], 3), {"target": np.nan}, "'target' must be finite"),
    ],
)
def test_bad_pairs(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        PairLoss(*arguments, **options)


def test_bad_flips():
    with pytest.raises(ValueError, match="'rate' must be a flip probability"):
        flipped_target(1.0, 0.5, correction="robust")
    with pytest.raises(ValueError, match="'correction' must be one of 'smoothed', 'robust'"):
        flipped_target(1.0, 0.1, correction="conservative")
