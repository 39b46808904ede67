"""Off-policy evaluation with models, and every estimator against obp 0.5.5 and against loops over rows.

obp does not install beside the versions of this project, so what it says of the logs below was written down:
the logs are drawn anew here, and each of its estimates has to come out.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor

from lambdamart_kit.explore.evaluation import (
    ESTIMATORS,
    Log,
    cascade_rewards,
    evaluate_policy,
    evaluate_rows,
    evaluate_slates,
    expected_rewards,
)

LIMIT = 2.0

# Estimates of obp 0.5.5 on `random_log` and `random_slates` of seeds 0, 1 and 2.
OBP = {
    "ips": (0.4231152209170645, 0.5118545800864069, 0.5256024128465714),
    "clipped": (0.371726923375678, 0.4057698630077399, 0.4187391612941088),
    "snips": (0.505112005959666, 0.5132909821556987, 0.5403261415382197),
    "direct": (0.4924818317897145, 0.5083322186703781, 0.4992167206598261),
    "dr": (0.5033279398656432, 0.4908468860479878, 0.55126712021746),
    "sndr": (0.5054298401246863, 0.4907978174864507, 0.5527252108628739),
    "switch": (0.5227127654719746, 0.4986191417974451, 0.5222454736520564),
    "shrinkage": (0.5107345486595919, 0.5016210254585878, 0.5125751889789988),
}
OBP_FITTED = {
    None: (0.5096767009831928, 0.5102490318056162, 0.5415707035209228),
    "importance": (0.5023678634638546, 0.509652369925062, 0.5369309838368194),
    "mrdr": (0.49728615681072746, 0.5042289977094123, 0.5422420710690462),
}
OBP_SLATES = {
    "standard": (20.11131207009747, 13.962388360154273, 20.029565923753967),
    "independent": (2.937318156547765, 3.5315011291710663, 3.257296642913949),
    "cascade": (8.468543745622606, 9.271251578109808, 11.724476066548938),
    "cascade-dr": (-1.024178238571821, 2.197617464735791, 3.3507965809798668),
}


def random_log(seed, n=300, n_arms=5):
    """A log of contexts, the target's probabilities and a model's expectations."""
    rng = np.random.default_rng(seed)
    contexts = rng.normal(size=(n, 3))
    logging, target = (np.exp(rng.normal(size=(n, n_arms))) for _ in range(2))
    logging /= logging.sum(1, keepdims=True)
    target /= target.sum(1, keepdims=True)
    actions = (rng.random((n, 1)) > np.cumsum(logging, 1)).sum(1).clip(0, n_arms - 1)
    rewards = rng.random(n)
    model = rng.random((n, n_arms))
    return Log(contexts, actions, logging[np.arange(n), actions], rewards, logging), target, model


def random_slates(seed, n=200, n_items=4, k=3):
    """Contexts, slates, rewards, probabilities of what was shown, and the target's of every item."""
    rng = np.random.default_rng(seed)
    contexts = rng.normal(size=(n, 2))
    slates = np.array([rng.permutation(n_items)[:k] for _ in range(n)])
    policies = []
    for _ in range(2):
        chance = np.exp(rng.normal(size=(n, k, n_items)))
        for position in range(k):
            for above in range(position):
                chance[np.arange(n), position, slates[:, above]] = 0
        policies.append(chance / chance.sum(2, keepdims=True))
    rewards = rng.random((n, k))
    logged, target = (np.take_along_axis(p, slates[:, :, None], 2)[..., 0] for p in policies)
    return contexts, slates, rewards, logged, target, policies[1]


def needed(name, model):
    options = {"check_overlap": False}
    if name in ("direct", "dr", "sndr", "switch", "shrinkage"):
        options["expected"] = model
    if name in ("clipped", "switch", "shrinkage"):
        options["limit"] = LIMIT
    return options


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", OBP)
def test_estimates_are_those_of_obp(name, seed):
    log, target, model = random_log(seed)
    found = evaluate_policy(log, lambda _: target, estimator=name, **needed(name, model))
    assert found.value == pytest.approx(OBP[name][seed], abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weighting", OBP_FITTED)
def test_cross_fitted_models_are_those_of_obp(weighting, seed):
    log, target, _ = random_log(seed)
    policy = None if weighting is None else lambda _: target
    model = expected_rewards(log, LinearRegression(), weighting=weighting, policy=policy, random_state=0)
    found = evaluate_policy(log, lambda _: target, estimator="dr", expected=model, check_overlap=False)
    assert found.value == pytest.approx(OBP_FITTED[weighting][seed], abs=1e-9)
    if weighting != "importance":
        short = evaluate_policy(
            log,
            lambda _: target,
            estimator="mrdr" if weighting else "dr",
            expected=LinearRegression(),
            check_overlap=False,
        )
        assert short.value == pytest.approx(found.value, abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", OBP_SLATES)
def test_estimates_from_slates_are_those_of_obp(name, seed):
    contexts, slates, rewards, logged, target, policy = random_slates(seed)
    options = {"check_overlap": False}
    if name == "cascade-dr":
        items = np.arange(4)[:, None]
        fitted = cascade_rewards(
            contexts, items, slates, rewards, policy, model=LinearRegression(), n_splits=1
        )
        options |= {"expected": fitted[0], "expected_under": fitted[1]}
    found = evaluate_slates(target, logged, rewards, estimator=name, **options)
    assert found.value == pytest.approx(OBP_SLATES[name][seed], abs=1e-9)


def by_loop(name, log, target, model):
    """Each estimator as its paper writes it, row by row."""
    weights, corrections, plain, expectations = [], [], [], []
    for i, (a, p, r) in enumerate(zip(log.actions, log.propensities, log.rewards)):
        weights.append(target[i, a] / p)
        plain.append(r)
        corrections.append(r - model[i, a])
        expectations.append(sum(target[i, b] * model[i, b] for b in range(target.shape[1])))
    n = len(weights)
    mean = sum(expectations) / n
    if name == "ips":
        return sum(w * r for w, r in zip(weights, plain)) / n
    if name == "clipped":
        return sum(min(w, LIMIT) * r for w, r in zip(weights, plain)) / n
    if name == "snips":
        return sum(w * r for w, r in zip(weights, plain)) / sum(weights)
    if name == "direct":
        return mean
    if name == "sndr":
        return mean + sum(w * c for w, c in zip(weights, corrections)) / sum(weights)
    shrunk = {
        "dr": lambda w: w,
        "mrdr": lambda w: w,
        "switch": lambda w: w if w <= LIMIT else 0.0,
        "shrinkage": lambda w: LIMIT * w / (w * w + LIMIT),
    }[name]
    return mean + sum(shrunk(w) * c for w, c in zip(weights, corrections)) / n


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "mrdr"])
def test_estimates_are_those_of_a_loop_over_rows(name):
    for seed in range(10, 20):
        log, target, model = random_log(seed, n=40)
        options = needed(name, model)
        known = by_loop(name, log, target, model)
        found = evaluate_policy(log, lambda _, p=target: p, estimator=name, **options)
        assert found.value == pytest.approx(known, abs=1e-12)
        row = np.arange(40)
        if "expected" in options:
            options |= {
                "expected": model[row, log.actions],
                "expected_under": (target * model).sum(axis=1),
            }
        rows = evaluate_rows(
            target[row, log.actions], log.propensities, log.rewards, estimator=name, **options
        )
        assert rows[:3] == pytest.approx(found[:3], abs=1e-12)


def test_no_row_is_predicted_by_a_model_that_saw_it():
    """The nearest neighbour of a row that was seen is itself, with its own reward."""
    log, _, _ = random_log(0, n=60)
    row = np.arange(60)
    seen = expected_rewards(log, KNeighborsRegressor(1), n_splits=1)
    assert seen[row, log.actions] == pytest.approx(log.rewards)
    unseen = expected_rewards(log, KNeighborsRegressor(1), n_splits=5)
    assert not np.isclose(unseen[row, log.actions], log.rewards).any()
    again = expected_rewards(log, KNeighborsRegressor(1), n_splits=5)
    assert (unseen == again).all()
    other = expected_rewards(log, KNeighborsRegressor(1), n_splits=5, random_state=1)
    assert (unseen != other).any()


def test_candidates_with_features_and_classifiers(rng):
    candidates = rng.normal(size=(400, 3, 2))
    actions = rng.integers(0, 3, 400)
    shown = candidates[np.arange(400), actions]
    rewards = (rng.random(400) < 1 / (1 + np.exp(-2 * shown[:, 0]))).astype(float)
    log = Log(candidates, actions, np.full(400, 1 / 3), rewards)
    model = expected_rewards(log, LogisticRegression())
    assert model.shape == (400, 3)
    truth = 1 / (1 + np.exp(-2 * candidates[..., 0]))
    assert np.abs(model - truth).mean() < 0.06
    with pytest.raises(ValueError, match="'model' is a classifier, which needs rewards 0 and 1"):
        expected_rewards(log._replace(rewards=rng.random(400)), LogisticRegression())


def test_a_model_helps_in_nearly_all_settings():
    """Doubly robust has the smaller squared error in at least nine of ten settings; here are twelve."""
    won = []
    for sharpness in (0.0, 0.5, 1.0):
        for n in (150, 400):
            for epsilon in (0.2, 0.6):
                errors = {"ips": [], "dr": []}
                for seed in range(10):
                    rng = np.random.default_rng(seed)
                    x = rng.normal(size=(n, 2))
                    mean = 0.5 + 0.2 * np.tanh(x @ np.array([[1.0, -1.0, 0.3], [0.5, 1.0, -1.0]]))
                    logging = np.exp(sharpness * rng.normal(size=(1, 3)) + 0 * mean)
                    logging /= logging.sum(1, keepdims=True)
                    target = np.full((n, 3), epsilon / 3)
                    target[np.arange(n), mean.argmax(1)] += 1 - epsilon
                    actions = (rng.random((n, 1)) > np.cumsum(logging, 1)).sum(1).clip(0, 2)
                    row = np.arange(n)
                    rewards = (rng.random(n) < mean[row, actions]).astype(float)
                    log = Log(x, actions, logging[row, actions], rewards)
                    truth = (target * mean).sum(1).mean()
                    for name in errors:
                        options = {"expected": Ridge()} if name == "dr" else {}
                        found = evaluate_policy(
                            log, lambda _, p=target: p, estimator=name, check_overlap=False, **options
                        )
                        errors[name].append((found.value - truth) ** 2)
                won.append(np.mean(errors["dr"]) < np.mean(errors["ips"]))
    assert len(won) == 12
    assert np.mean(won) >= 0.9


def test_cascade_model_follows_the_recursion():
    """Two positions: Q of the second is its regression, Q of the first adds the policy's mean of it."""
    contexts, slates, rewards, _, _, policy = random_slates(5, k=2)
    items = np.eye(4)
    Q, under = cascade_rewards(contexts, items, slates, rewards, policy, model=Ridge(), n_splits=1)
    last = np.hstack([contexts, items[slates[:, 0]], items[slates[:, 1]]])
    second = Ridge().fit(last, rewards[:, 1])
    assert Q[:, 1] == pytest.approx(second.predict(last))
    every = np.array(
        [
            second.predict(np.hstack([contexts, items[slates[:, 0]], np.tile(items[a], (200, 1))]))
            for a in range(4)
        ]
    ).T
    ahead = (policy[:, 1] * every).sum(axis=1)
    assert under[:, 1] == pytest.approx(ahead)
    first = np.hstack([contexts, items[slates[:, 0]]])
    assert Q[:, 0] == pytest.approx(Ridge().fit(first, rewards[:, 0] + ahead).predict(first))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weighting": "mrdr"}, "'policy' and 'weighting' go together"),
        ({"policy": lambda _: np.full((60, 2), 0.5)}, "'policy' and 'weighting' go together"),
        ({"weighting": "most", "policy": lambda _: 0}, "'weighting' must be one of 'importance', 'mrdr'"),
        ({"n_splits": 0}, "'n_splits' must be between 1 and the 60 rows; got 0"),
        ({"n_splits": 61}, "'n_splits' must be between 1 and the 60 rows; got 61"),
        (
            {"weighting": "importance", "policy": lambda _: np.tile([0.0, 0.0, 1.0], (60, 1))},
            "no row of a fold has weight",
        ),
    ],
)
def test_settings_of_models_that_do_not_fit_are_named(options, message):
    log = Log(np.zeros((60, 1)), np.arange(60) % 2, np.full(60, 0.5), np.arange(60.0))
    with pytest.raises(ValueError, match=message):
        expected_rewards(log, Ridge(), **options)


def test_further_settings_that_do_not_fit_are_named():
    log = Log(np.zeros((60, 2, 1)), np.arange(60) % 2, np.full(60, 0.5), np.arange(60.0))
    half = np.full((60, 2), 0.5)
    with pytest.raises(ValueError, match="'n_actions' is for a log of contexts"):
        expected_rewards(log, Ridge(), n_actions=2)
    with pytest.raises(ValueError, match="estimator='mrdr' needs a scikit-learn estimator as 'expected'"):
        evaluate_policy(log, lambda _: half, estimator="mrdr", expected=half)
    with pytest.raises(ValueError, match="estimator='mrdr' needs 'expected'"):
        evaluate_policy(log, lambda _: half, estimator="mrdr")
    one = np.full(60, 0.5)
    for options, message in (
        ({"estimator": "mrdr"}, "'estimator' must be one of"),
        ({"expected": one}, "must be given together"),
        ({"estimator": "dr", "expected": one, "expected_under": np.ones(3)}, "'expected_under' must be"),
        ({"rewards": np.ones(3)}, "'rewards' must be"),
        ({"target": half, "logged": half}, "'target' must be"),
    ):
        given = {"target": one, "logged": one, "rewards": log.rewards} | options
        with pytest.raises(ValueError, match=message):
            evaluate_rows(**given)
    contexts, slates, rewards, logged, target, policy = random_slates(0)
    with pytest.raises(ValueError, match="estimator='cascade-dr' needs 'expected' and 'expected_under'"):
        evaluate_slates(target, logged, rewards, estimator="cascade-dr")
    with pytest.raises(ValueError, match="estimator='cascade' does not use 'expected'"):
        evaluate_slates(target, logged, rewards, expected=rewards)
    with pytest.raises(ValueError, match="'target' must be"):
        evaluate_slates(target[:, 0], logged[:, 0], rewards[:, 0])
    with pytest.raises(ValueError, match="'slates' must be"):
        cascade_rewards(contexts, np.eye(2), slates, rewards, policy, model=Ridge())
    with pytest.raises(ValueError, match="'rewards' must be"):
        cascade_rewards(contexts, np.eye(4), slates, rewards[:, :1], policy, model=Ridge())
