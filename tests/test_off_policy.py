"""Off-policy evaluation against written-out formulas, known values and simulated logs."""

import numpy as np
import pytest

from lambdamart_kit.explore import EpsilonGreedy
from lambdamart_kit.explore.evaluation import (
    ESTIMATORS,
    SLATE_ESTIMATORS,
    Log,
    PoorOverlap,
    cascade_doubly_robust,
    evaluate_policy,
    evaluate_slates,
    importance_weights,
    interval_of_mean,
    overlap,
)

# Four rows; the expected numbers are those of obp 0.5.5.
W = np.array([1.2, 2.0, 0.2, 2.0])
R = np.array([1.0, 0.0, 1.0, 1.0])
Q = np.array([0.7, 0.4, 0.6, 0.5])
V = np.array([0.52, 0.41, 0.23, 0.5])


@pytest.mark.parametrize(
    ("name", "limit", "expected"),
    [
        ("ips", np.inf, 0.85),
        ("clipped", 1.5, (1.2 + 0.2 + 1.5) / 4),
        ("snips", np.inf, 0.629629629630),
        ("direct", np.inf, 0.415),
        ("dr", np.inf, 0.575),
        ("sndr", np.inf, 0.533518518519),
        ("switch", 1.5, 0.525),
        ("shrinkage", 1.0, 0.481116015132),
    ],
)
def test_estimators_give_the_known_values(name, limit, expected):
    assert ESTIMATORS[name](W, R, Q, V, limit).mean() == pytest.approx(expected, abs=1e-11)


def test_slate_estimators_give_the_known_values():
    target = np.array([[0.5, 0.4], [0.2, 0.6]])
    logged = np.array([[0.25, 0.5], [0.4, 0.3]])
    rewards = np.array([[1.0, 0.0], [1.0, 1.0]])
    w = importance_weights(target, logged)
    known = {"standard": 1.8, "independent": 2.25, "cascade": 1.75, "pseudo-inverse": 2.4}
    assert set(known) == set(SLATE_ESTIMATORS)
    for name, value in known.items():
        assert SLATE_ESTIMATORS[name](w, rewards).mean() == pytest.approx(value, abs=1e-12)
        found = evaluate_slates(target, logged, rewards, estimator=name, check_overlap=False)
        assert found.value == pytest.approx(value, abs=1e-12)
    model = np.array([[0.8, 0.3], [0.9, 0.4]])
    under_policy = np.array([[0.7, 0.35], [0.6, 0.5]])
    found = cascade_doubly_robust(w, rewards, model, under_policy).mean()
    assert found == pytest.approx(1.41, abs=1e-12)


def simulated(rng, n, *, epsilon=0.4):
    """A log of a softmax policy over four arms, the target's probabilities, the truth, a fair model."""
    contexts = rng.normal(size=(n, 3))
    theta = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, -0.5]])
    mean = 1 / (1 + np.exp(-contexts @ theta.T))
    logits = np.exp(0.7 * contexts @ theta[::-1].T)
    logging = logits / logits.sum(axis=1, keepdims=True)
    target = np.full((n, 4), epsilon / 4)
    target[np.arange(n), mean.argmax(axis=1)] += 1 - epsilon
    actions = (rng.random((n, 1)) > np.cumsum(logging, axis=1)).sum(axis=1).clip(0, 3)
    row = np.arange(n)
    rewards = (rng.random(n) < mean[row, actions]).astype(float)
    log = Log(contexts, actions, logging[row, actions], rewards, logging)
    model = 0.8 * mean + 0.1  # fair, and biased towards 1/2
    return log, target, mean, model


TRUTH = None


def truth():
    """Value of the target policy: the mean over 400,000 contexts, where rewards are known in expectation."""
    global TRUTH
    if TRUTH is None:
        _, target, mean, _ = simulated(np.random.default_rng(99), 400_000)
        TRUTH = float((target * mean).sum(axis=1).mean())
    return TRUTH


def coverage_and_errors(n_logs, n=1500):
    inside = {name: [] for name in ("ips", "snips", "dr", "sndr")}
    errors = {name: [] for name in inside}
    for seed in range(n_logs):
        log, target, _, model = simulated(np.random.default_rng(seed), n)
        for name in inside:
            expected = model if name in ("dr", "sndr") else None
            found = evaluate_policy(log, lambda _, p=target: p, estimator=name, expected=expected)
            inside[name].append(found.low <= truth() <= found.high)
            errors[name].append((found.value - truth()) ** 2)
    return {k: np.mean(v) for k, v in inside.items()}, {k: np.mean(v) for k, v in errors.items()}


def test_intervals_cover_and_doubly_robust_is_closer():
    """The small twin: 80 logs. Three standard errors of a 95 % share are .073."""
    inside, errors = coverage_and_errors(80)
    assert all(share >= 0.877 for share in inside.values()), inside
    assert errors["dr"] < errors["ips"]


@pytest.mark.slow
def test_intervals_cover_at_their_level_over_500_logs():
    inside, errors = coverage_and_errors(500)
    print(inside, errors)
    assert all(0.92 <= share <= 0.98 for share in inside.values()), inside
    assert errors["dr"] < errors["ips"]


def test_a_policy_of_the_kit_is_evaluated_like_its_probabilities(rng):
    policy = EpsilonGreedy(epsilon=0.3, random_state=0).partial_fit(rng.normal(size=(40, 3)), rng.random(40))
    candidates = rng.normal(size=(400, 4, 3))
    actions = rng.integers(0, 4, 400)
    log = Log(candidates, actions, np.full(400, 0.25), rng.random(400))
    by_hand = policy.probabilities(candidates).values[..., 0]
    weights = by_hand[np.arange(400), actions] / 0.25
    found = evaluate_policy(log, policy, estimator="ips")
    assert found.value == pytest.approx((weights * log.rewards).mean(), abs=1e-12)


def test_a_log_that_says_too_little_gives_no_number(rng):
    n = 300
    actions = rng.integers(0, 2, n)
    actions[:] = 0
    actions[:3] = 1
    rare = Log(np.zeros((n, 1)), actions, np.where(actions == 1, 0.01, 0.99), np.ones(n))
    always_second = np.tile([0.0, 1.0], (n, 1))
    with pytest.raises(PoorOverlap, match=r"effective sample size is 3\.0, below 30; one row has 33%"):
        evaluate_policy(rare, lambda _: always_second)
    assert evaluate_policy(rare, lambda _: always_second, check_overlap=False).value == 1.0
    logging = np.tile([0.5, 0.5, 0.0], (n, 1))
    log = Log(np.zeros((n, 1)), rng.integers(0, 2, n), np.full(n, 0.5), np.ones(n), logging)
    with pytest.raises(PoorOverlap, match=r"40\.0% of the policy's choices could not be logged"):
        evaluate_policy(log, lambda _: np.tile([0.3, 0.3, 0.4], (n, 1)))
    with pytest.raises(PoorOverlap, match="every weight is 0"):
        evaluate_policy(
            log._replace(logging=None), lambda _: np.tile([0, 0, 1.0], (n, 1)), check_overlap=False
        )


def test_overlap_is_the_textbook_one():
    found = overlap(W)
    assert found.effective_sample_size == pytest.approx(5.4**2 / (1.44 + 4 + 0.04 + 4))
    assert found.largest_share == pytest.approx(2 / 5.4)
    assert found.mean_weight == pytest.approx(1.35)


def test_intervals_follow_their_formulas(rng):
    terms = rng.random(200)
    spread = terms.std(ddof=1) / np.sqrt(200)
    low, high = interval_of_mean(terms)
    assert (low, high) == pytest.approx(
        (terms.mean() - 1.959963984540054 * spread, terms.mean() + 1.959963984540054 * spread)
    )
    again = interval_of_mean(terms, kind="bootstrap")
    assert again == pytest.approx((low, high), abs=0.2 * (high - low))
    log = np.log(80.0)
    half = np.sqrt(2 * terms.var(ddof=1) * log / 200) + 7 * log / (3 * 199)
    assert interval_of_mean(terms, kind="bernstein", width=1.0) == pytest.approx(
        (terms.mean() - half, terms.mean() + half)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimator": "best"}, "'estimator' must be one of"),
        ({"estimator": "dr"}, "estimator='dr' needs 'expected'"),
        ({"expected": np.zeros((60, 2))}, "estimator='snips' does not use 'expected'"),
        ({"limit": 2.0}, "estimator='snips' does not use 'limit'"),
        ({"estimator": "clipped"}, "estimator='clipped' needs 'limit'"),
        ({"estimator": "clipped", "limit": 0.0}, "'limit' must be finite and > 0; got 0.0"),
        ({"interval": "bernstein"}, "holds for means of independent terms"),
        ({"estimator": "ips", "interval": "bernstein"}, "'width' must be given for kind='bernstein'"),
        ({"estimator": "dr", "expected": np.zeros((60, 3))}, "'expected' must be finite and"),
    ],
)
def test_settings_that_are_missing_or_ignored_are_named(options, message):
    log = Log(np.zeros((60, 1)), np.arange(60) % 2, np.full(60, 0.5), np.arange(60.0))
    with pytest.raises(ValueError, match=message):
        evaluate_policy(log, lambda _: np.full((60, 2), 0.5), **options)


def test_a_log_that_is_not_one_is_named():
    log = Log(np.zeros((60, 1)), np.arange(60) % 2, np.full(60, 0.5), np.arange(60.0))
    for wrong, message in (
        (log._replace(propensities=np.zeros(60)), r"'logged' must hold probabilities in \(0, 1\]"),
        (
            log._replace(actions=np.arange(60)),
            "'actions' must be numbers of candidates, integers from 0 to 1",
        ),
        (log._replace(rewards=np.full(60, np.nan)), "'rewards' must be"),
        (log._replace(rewards=np.ones(3)), "'rewards' of the log must have shape .60,."),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_policy(wrong, lambda _: np.full((60, 2), 0.5))
    with pytest.raises(ValueError, match="'policy' must return"):
        evaluate_policy(log, lambda _: np.ones((60, 2)))
