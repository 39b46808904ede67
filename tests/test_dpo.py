"""RLHF and DPO algebra against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from lambdamart_kit.preferences import BradleyTerry, dpo

REF, REWARDS = (0.5, 0.3, 0.2), (1.0, 0.0, -1.0)
ROW = {
    "chosen_logps": [-10.0],
    "rejected_logps": [-12.0],
    "ref_chosen_logps": [-11.0],
    "ref_rejected_logps": [-11.5],
}


@pytest.mark.parametrize(
    ("beta", "policy", "value", "kl"),
    [
        (0.1, (0.999973, 0.000027, 0.0), 0.930688, 0.692848),
        (0.5, (0.918672, 0.074597, 0.006730), 0.695839, 0.432205),
        (1, (0.784399, 0.173139, 0.042463), 0.549691, 0.192245),
        (10, (0.534646, 0.290261, 0.175093), 0.330023, 0.002953),
    ],
)
def test_closed_form_optimum(beta, policy, value, kl):
    best = dpo.optimal_policy(REF, REWARDS, beta=beta)
    np.testing.assert_allclose(best.policy, policy, atol=1e-6)
    assert best.value == pytest.approx(value, abs=1e-6)
    assert best.kl == pytest.approx(kl, abs=1e-6)
    assert dpo.objective(best.policy, REF, REWARDS, beta=beta) == pytest.approx(best.value)
    assert dpo.kl_divergence(best.policy, REF) == pytest.approx(best.kl)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 5))
def test_no_policy_beats_the_optimum(seed, beta):
    rng = np.random.default_rng(seed)
    ref, other, rewards = rng.dirichlet(np.ones(5)), rng.dirichlet(np.ones(5)), rng.normal(size=5)
    assert (
        dpo.objective(other, ref, rewards, beta=beta)
        <= dpo.optimal_policy(ref, rewards, beta=beta).value + 1e-9
    )


def test_one_row():
    margin = dpo.implicit_margin(**ROW, beta=0.1)
    assert margin[0] == pytest.approx(0.15)
    for loss, value in {"sigmoid": 0.6209570, "hinge": 0.85, "ipo": 12.25}.items():
        assert dpo.dpo_loss(margin, loss=loss, beta=0.1)[0] == pytest.approx(value, abs=1e-7)
    assert dpo.dpo_loss(margin, loss="robust", label_smoothing=0.1)[0] == pytest.approx(0.6022070, abs=1e-7)
    smoothed = -0.9 * np.log(1 / (1 + np.exp(-0.15))) - 0.1 * np.log(1 / (1 + np.exp(0.15)))
    assert dpo.dpo_loss(margin, loss="smoothed", label_smoothing=0.1)[0] == pytest.approx(smoothed)


def test_length_normalised_ipo():
    margin = dpo.implicit_margin(**ROW, beta=0.1, chosen_lengths=[4], rejected_lengths=[2])
    assert margin[0] == pytest.approx(0.1 * (1 / 4 - -0.5 / 2))
    assert dpo.dpo_loss(margin, loss="ipo", beta=0.1)[0] == pytest.approx((0.5 - 5) ** 2)


def test_policy_equal_to_reference():
    margin = dpo.implicit_margin([-3.0, -4.0], [-5.0, -6.0], [-3.0, -4.0], [-5.0, -6.0])
    np.testing.assert_allclose(dpo.dpo_loss(margin), np.log(2))
    assert dpo.margin_accuracy(margin) == (0.0, 0.5)


@pytest.mark.parametrize("beta", [0.01, 0.1, 1.0, 7.0])
def test_tabular_dpo_is_bradley_terry(beta):
    rng = np.random.default_rng(0)
    ref = rng.dirichlet(np.ones(4))
    pairs = rng.integers(0, 4, (200, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    policy = dpo.tabular_dpo(ref, pairs, beta=beta)
    theta = dpo.implicit_rewards(np.log(policy), np.log(ref), beta=beta)
    np.testing.assert_allclose(theta - theta.mean(), BradleyTerry().fit(pairs).strengths_, atol=1e-8)


def test_tabular_dpo_minimises_the_dpo_loss():
    ref, beta = np.array([0.6, 0.3, 0.1]), 0.5
    pairs = np.array([[0, 1]] * 3 + [[1, 0]] + [[1, 2]] * 2 + [[2, 0]] * 2 + [[0, 2]])

    def loss(logits):
        logps = logits - np.log(np.exp(logits).sum())
        c, r = pairs.T
        margin = dpo.implicit_margin(logps[c], logps[r], np.log(ref)[c], np.log(ref)[r], beta=beta)
        return dpo.dpo_loss(margin).sum()

    found = minimize(loss, np.zeros(3), tol=1e-12).x
    expected = np.exp(found) / np.exp(found).sum()
    np.testing.assert_allclose(dpo.tabular_dpo(ref, pairs, beta=beta), expected, atol=1e-5)


@pytest.mark.parametrize(("n", "kl"), [(2, 0.17398), (4, 0.59031), (16, 1.33007)])
def test_best_of_n_exact_kl(n, kl):
    uniform, rewards = np.full(4, 0.25), np.arange(4.0)
    assert dpo.best_of_n_kl(uniform, rewards, n=n) == pytest.approx(kl, abs=1e-5)
    assert kl <= dpo.best_of_n_kl_bound(n)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30))
def test_best_of_n_is_a_distribution_within_its_bounds(seed, n):
    rng = np.random.default_rng(seed)
    ref, rewards = rng.dirichlet(np.ones(6)), rng.integers(0, 4, 6).astype(float)
    policy = dpo.best_of_n(ref, rewards, n=n)
    assert policy.sum() == pytest.approx(1)
    assert dpo.kl_divergence(policy, ref) <= dpo.best_of_n_kl_bound(n) + 1e-12
    # win rate over one fresh draw, ties half, is at most n / (n + 1)
    beats = (rewards[:, None] > rewards[None, :]) + 0.5 * (rewards[:, None] == rewards[None, :])
    assert policy @ beats @ ref <= n / (n + 1) + 1e-12


@pytest.mark.parametrize("n", [1, 2, 16])
def test_the_bound_of_best_of_n_is_the_kl_of_a_continuum(n):
    """Of 100,000 responses alike, the one at share x is drawn with density n x^(n-1)."""
    uniform = np.full(100_000, 1e-5)
    kl = dpo.best_of_n_kl(uniform, np.arange(100_000), n=n)
    assert dpo.best_of_n_kl_bound(n) == pytest.approx(kl, rel=1e-3, abs=1e-9)


def test_best_of_n_by_simulation():
    rng = np.random.default_rng(1)
    ref, rewards = np.array([0.4, 0.35, 0.25]), np.array([0.0, 2.0, 1.0])
    draws = rng.choice(3, size=(200_000, 3), p=ref)
    best = draws[np.arange(len(draws)), rewards[draws].argmax(axis=1)]
    np.testing.assert_allclose(dpo.best_of_n(ref, rewards, n=3), np.bincount(best) / len(best), atol=0.005)
    assert dpo.best_of_n_reward(ref, rewards, n=1) == pytest.approx(ref @ rewards)


def test_best_of_n_keeps_the_digits_of_rare_responses():
    """n draws find a response of probability p with probability n p (1 - (n - 1) p / 2 ...)."""
    for rare in (1e-8, 1e-12, 1e-17):
        policy = dpo.best_of_n([1 - rare, rare], [0.0, 1.0], n=4)
        assert policy[1] == pytest.approx(4 * rare * (1 - 1.5 * rare), rel=1e-14)
    # the rare one is the worst: all four draws must find it
    assert dpo.best_of_n([1 - 1e-12, 1e-12], [1.0, 0.0], n=4)[1] == pytest.approx(1e-48, rel=1e-3)
    assert dpo.best_of_n([0.5, 0.5, 0.0], [0.0, 1.0, 2.0], n=2).tolist() == [0.25, 0.75, 0.0]


def test_temperature_is_the_optimum_only_for_a_uniform_reference():
    """Lowering the temperature sharpens the reference too."""
    for ref, equal in ((np.full(3, 1 / 3), True), (np.array(REF), False)):
        policy = dpo.optimal_policy(ref, REWARDS, beta=1.0).policy
        sharper = dpo.optimal_policy(ref, REWARDS, beta=0.5).policy
        assert np.allclose(dpo.temper(policy, temperature=0.5), sharper) is equal


def test_select_best():
    assert dpo.select_best([1.0, 3.0, 3.0, -1.0], [7, 5, 5, 7]).tolist() == [1, 0]


def test_select_best_by_lower_bound():
    scores, prompts = [1.0, 1.2, 0.0, 0.5], ["a", "a", "b", "b"]
    std = [0.1, 0.5, 0.0, 0.4]
    assert dpo.select_best(scores, prompts, std=std).tolist() == [0, 3]
    assert dpo.select_best(scores, prompts, std=std, caution=0.25).tolist() == [1, 3]
    assert dpo.select_best(scores, prompts, std=std, caution=2.0).tolist() == [0, 2]


def test_compare_margins():
    explicit = np.array([2.0, -1.0, 0.5, 3.0, -2.0])
    same = dpo.compare_margins(0.1 * explicit, explicit)
    assert same.agreement == 1.0
    assert same.rank_correlation == pytest.approx(1)
    assert same.effective_beta == pytest.approx(0.1)
    assert same.disagree.tolist() == []
    flipped = dpo.compare_margins([0.2, 0.1, 0.05, -0.3, -0.2], explicit)
    assert flipped.agreement == pytest.approx(3 / 5)
    assert flipped.disagree.tolist() == [3, 1]


def test_audit_logps():
    found = dpo.audit_logps(
        [-1.0, 0.0, -3, np.nan], [-2.0, -3.0, -1, -1], [-1.0, -1.0, 2.0, -1], [-2.0, -2.5, -1, -2]
    )
    rows = {name: rows.tolist() for name, rows in found.items()}
    assert rows == {"policy_equals_reference": [0], "zero": [1], "positive": [2], "not_finite": [3]}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dpo.optimal_policy([0.5, 0.6], [0, 1], beta=1), "'ref' must hold probabilities"),
        (lambda: dpo.optimal_policy(REF, [0, 1], beta=1), "'rewards' must have one"),
        (lambda: dpo.optimal_policy(REF, [0, 1, np.inf], beta=1), "'rewards' must be finite; row 2"),
        (lambda: dpo.optimal_policy(REF, REWARDS, beta=0), "'beta' must be finite and > 0; got 0"),
        (lambda: dpo.dpo_loss([0.1], loss="kto"), "'loss' must be one of 'sigmoid'"),
        (lambda: dpo.dpo_loss([0.1], label_smoothing=0.1), "'label_smoothing' needs loss='smoothed'"),
        (lambda: dpo.dpo_loss([0.1], loss="robust", label_smoothing=0.5), r"\[0, 0.5\)"),
        (lambda: dpo.temper(REF, temperature=0), "'temperature' must be > 0"),
        (lambda: dpo.best_of_n(REF, REWARDS, n=0), "'n' must be a whole number >= 1; got 0"),
        (lambda: dpo.tabular_dpo(REF, [[0, 1], [1, 0]], beta=1), "'pairs' must hold every"),
        (lambda: dpo.implicit_margin([1.0], [1.0, 2.0], [1.0], [1.0, 2.0]), "'rejected_logps' must have one"),
        (lambda: dpo.implicit_margin(**ROW, chosen_lengths=[3]), "'rejected_lengths' must hold"),
        (lambda: dpo.select_best([np.nan], [1]), "'scores' must be finite; row 0"),
        (lambda: dpo.select_best([1, 2], [1, 1], std=[1]), "'std' must hold one value a score"),
        (lambda: dpo.select_best([1, 2], [1, 1], std=[1, -1]), "'std' must be finite and >= 0; row 1"),
        (lambda: dpo.select_best([1], [1], std=[1], caution=-1), "'caution' must be finite and >= 0"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
