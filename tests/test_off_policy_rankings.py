"""Values of slates from their totals, of rankings from clicks, and of every policy of the kit."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import PositionBased, make_letor, simulate_clicks
from lambdamart_kit.explore import (
    EpsilonGreedy,
    LinearThompson,
    LinUCB,
    LogisticThompson,
    RankerPolicy,
    sample_slates,
    slate_log_prob,
)
from lambdamart_kit.explore.evaluation import (
    SLATE_ESTIMATORS,
    Log,
    PoorOverlap,
    SlateMoments,
    evaluate_policy,
    evaluate_ranking,
    evaluate_slate_totals,
    overlap,
    plackett_luce_moments,
    pseudo_inverse_weights,
    slate_moments,
)


def slates_of(n_items, k):
    return np.array(list(itertools.permutations(range(n_items), k)))


def test_pseudo_inverse_is_unbiased_without_replacement(rng):
    """Over all slates that the log may draw, the estimate's expectation is the value, exactly."""
    scores = rng.normal(size=5)
    slates = slates_of(5, 3)
    chance = np.exp(slate_log_prob(scores, slates))
    target_chance = np.exp(slate_log_prob(rng.normal(size=5), slates))
    worth = rng.normal(size=(3, 5))
    totals = worth[np.arange(3), slates].sum(axis=1)
    weights = pseudo_inverse_weights(
        slates, slate_moments(slates, 5, target_chance).single, plackett_luce_moments(scores, 3)
    )
    assert (chance * weights * totals).sum() == pytest.approx((target_chance * totals).sum(), abs=1e-9)
    # The closed form for independent positions would be biased here.
    single = slate_moments(slates, 5, target_chance).single / plackett_luce_moments(scores, 3).single
    wrong = 1 + (single[np.arange(3), slates] - 1).sum(axis=1)
    assert abs((chance * wrong * totals).sum() - (target_chance * totals).sum()) > 1e-3


def test_pseudo_inverse_has_its_closed_form_for_independent_positions(rng):
    n_items, k, n = 4, 2, 50
    logging, target = (rng.dirichlet(np.ones(n_items), size=k) for _ in range(2))
    every = np.array(list(itertools.product(range(n_items), repeat=k)))
    moments = slate_moments(every, n_items, logging[np.arange(k), every].prod(axis=1))
    assert moments.single == pytest.approx(logging)
    slates = rng.integers(0, n_items, (n, k))
    rewards = rng.random((n, k))
    weights = pseudo_inverse_weights(slates, target, moments)
    w = target[np.arange(k), slates] / logging[np.arange(k), slates]
    assert weights * rewards.sum(axis=1) == pytest.approx(SLATE_ESTIMATORS["pseudo-inverse"](w, rewards))
    # One set of moments and one target for each slate gives the same.
    repeated = SlateMoments(*(np.repeat(part[None], n, axis=0) for part in moments))
    each = pseudo_inverse_weights(slates, np.repeat(target[None], n, axis=0), repeated)
    assert each == pytest.approx(weights)


def test_totals_of_slates_are_evaluated(rng):
    scores = np.array([1.0, 0.5, 0.0, -0.5])
    worth = np.array([0.1, 0.2, 0.3, 0.4])
    slates = sample_slates(scores, 2, size=4000, random_state=0)
    totals = worth[slates].sum(axis=1) + 0.1 * rng.normal(size=4000)
    target = np.zeros((2, 4))
    target[0, 3] = 1.0
    target[1, 2] = 1.0
    found = evaluate_slate_totals(slates, totals, target, plackett_luce_moments(scores, 2))
    assert found.low < 0.7 < found.high
    assert found.high - found.low < 0.3
    from_sample = slate_moments(sample_slates(scores, 2, size=4000, random_state=1), 4)
    assert evaluate_slate_totals(slates, totals, target, from_sample).value == pytest.approx(
        found.value, abs=0.1
    )
    with pytest.raises(PoorOverlap, match="the effective sample size is"):
        evaluate_slate_totals(slates[:40], totals[:40], target, plackett_luce_moments(scores, 2))


def test_slates_that_do_not_fit_are_named():
    moments = slate_moments([[0, 1], [1, 0]], 3)
    target = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    for call, message in (
        (
            lambda: pseudo_inverse_weights([[0, 1]], [[0, 0, 1.0], [0, 1.0, 0]], moments),
            "'target' shows items",
        ),
        (lambda: pseudo_inverse_weights([[0, 1]], target[:1], moments), "'target' must be"),
        (lambda: pseudo_inverse_weights([[0, 3]], target, moments), "'slates' must hold items 0 to 2"),
        (lambda: pseudo_inverse_weights([[0.5, 1]], target, moments), "'slates' must be"),
        (
            lambda: pseudo_inverse_weights([[0, 1]], np.tile(target, (2, 1, 1)), moments),
            "'target' must be for",
        ),
        (lambda: slate_moments([[0, 1]], 2, [0.5]), "'probabilities' must be"),
        (lambda: plackett_luce_moments([0.0, 0.0], 3), "'k' must be at most the 2 items; got 3"),
        (lambda: plackett_luce_moments(np.zeros(60), 3), "too many to list"),
        (lambda: evaluate_slate_totals([[0, 1]], [np.nan], target, moments), "'totals' must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


# ------------------------------------------------------------------------------- rankings from clicks


def test_rankings_by_a_loop_over_clicks(rng):
    qid = np.repeat(np.arange(30), rng.integers(2, 8, 30))
    position = np.concatenate([rng.permutation(n) + 1 for n in np.bincount(qid)])
    clicks = rng.integers(0, 2, len(qid))
    scores = rng.normal(size=len(qid))
    theta = 1 / np.arange(1, 9)
    for measure, k in (("clicks", 3), ("dcg", 4), ("clicks", None)):
        terms = np.zeros(30)
        for q in range(30):
            rows = np.flatnonzero(qid == q)
            for rank, row in enumerate(rows[np.argsort(-scores[rows])][: k or 8]):
                worth = theta[rank] if measure == "clicks" else 1 / np.log2(rank + 2)
                terms[q] += clicks[row] * worth / theta[position[row] - 1]
        found = evaluate_ranking(scores, clicks, position, theta, qid, measure=measure, k=k)
        assert found.value == pytest.approx(terms.mean())
        spread = 1.959964 * terms.std(ddof=1) / np.sqrt(30)
        assert found.high - found.value == pytest.approx(spread, rel=1e-6)
        shuffle = rng.permutation(len(qid))
        again = evaluate_ranking(
            scores[shuffle], clicks[shuffle], position[shuffle], theta, qid[shuffle], measure=measure, k=k
        )
        assert again.value == pytest.approx(found.value)


def test_the_order_that_was_shown_gets_the_clicks_it_got(rng):
    qid = np.repeat(np.arange(50), 6)
    position = np.tile(np.arange(1, 7), 50)
    clicks = rng.integers(0, 2, 300)
    found = evaluate_ranking(-position, clicks, position, 1 / np.arange(1, 7), qid)
    assert found.value == pytest.approx(clicks.sum() / 50)
    none = evaluate_ranking(-position, clicks, position, 1 / np.arange(1, 7), qid, against=-position)
    assert none[:3] == (0.0, 0.0, 0.0)


def test_a_new_order_is_judged_as_it_would_do():
    """On simulated clicks, with propensities that a ranker harvested from the same log."""
    data = make_letor(n_queries=40, mean_documents=8, max_documents=10, random_state=0)
    theta = 1 / np.arange(1, 11)
    model = PositionBased(propensities=theta)
    new = data.y + 0.3 * data.X[:, 0]

    def clicks_on(scores, sessions, temperature, seed):
        return simulate_clicks(
            data,
            scores,
            model=model,
            n_positions=None,
            sessions_per_query=sessions,
            temperature=temperature,
            random_state=seed,
        )

    shown = clicks_on(new, 200, 0.0, 1)
    truth = shown.y.sum() / (shown.qid.max() + 1)
    log = clicks_on(data.X[:, 1], 40, 3.0, 2)
    ranker = LambdaMART("pairwise", n_estimators=1, position_bias="harvest", random_state=0)
    ranker.fit(log.X, log.y, qid=log.qid, position=log.position)
    clicks = log.y.astype(int)
    as_they_are = clicks.sum() / (log.qid.max() + 1)
    found = evaluate_ranking(new[log.rows], clicks, log.position, ranker.propensities_, log.qid)
    assert found.low <= truth <= found.high
    assert abs(found.value - truth) < 0.5 * abs(as_they_are - truth)
    # Which of two orders is better is told more precisely than how good each is.
    better = evaluate_ranking(
        new[log.rows],
        clicks,
        log.position,
        ranker.propensities_,
        log.qid,
        against=data.X[log.rows, 1],
    )
    assert better.low > 0


def test_documents_that_nobody_saw_are_told(rng):
    qid = np.repeat(np.arange(100), 4)
    position = np.tile([1, 2, 0, 0], 100)
    clicks = np.where(position > 0, rng.integers(0, 2, 400), 0)
    with pytest.raises(PoorOverlap, match=r"33\.3% of the policy's choices could not be logged"):
        evaluate_ranking(np.tile([2, 0, 1, -1], 100), clicks, position, [1.0, 0.5], qid)
    with pytest.raises(PoorOverlap, match="no document of the new lists was shown"):
        evaluate_ranking(np.tile([0, 1, 5, 6], 100), clicks, position, [1.0, 0.5], qid, check_overlap=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clicks": [0, 2]}, "'clicks' must be 0 or 1"),
        ({"clicks": [0]}, "'clicks' and 'position' must be"),
        ({"position": [1, 3]}, "'position' must be whole numbers from 1 to the 2 'propensities'"),
        ({"position": [1, -1]}, "'position' must be"),
        ({"position": [1.0, 2.0]}, "'position' must be"),
        ({"position": [1, 0]}, "'clicks' must be 0 where 'position' is 0, not shown; row 1 is clicked"),
        ({"propensities": [1.0, 0.0]}, "'propensities' must be"),
        ({"scores": [0.0, np.nan]}, "'scores' must not be NaN"),
        ({"k": 3}, "'k' must be at most the 2 'propensities' for measure='clicks'"),
        ({"k": 0}, "'k' must be a whole number >= 1"),
        ({"measure": "ndcg"}, "'measure' must be one of 'clicks', 'dcg'"),
    ],
)
def test_click_logs_that_are_none_are_named(change, message):
    given = {
        "scores": [1.0, 0.0],
        "clicks": [0, 1],
        "position": [1, 2],
        "propensities": [1.0, 0.5],
        "qid": [0, 0],
    }
    with pytest.raises(ValueError, match=message):
        evaluate_ranking(**given | change)


# ------------------------------------------------------------------------------------- overlap, policies


def test_large_weights_that_were_not_drawn_are_seen():
    """The target's arm was never drawn, so that the weights at hand look harmless."""
    n = 400
    logging = np.tile([0.999, 0.001], (n, 1))
    target = np.tile([0.5, 0.5], (n, 1))
    weights = np.full(n, 0.5 / 0.999)
    blind = overlap(weights)
    assert blind.effective_sample_size == pytest.approx(n)
    assert blind.problems()[0].startswith("the mean weight is 0.501")
    seen = overlap(weights, probabilities=target, logging=logging)
    assert seen.expected_effective == pytest.approx(n / (0.25 / 0.999 + 0.25 / 0.001))
    assert "large weights did not happen to be drawn" in seen.problems()[0]


def test_wrong_propensities_are_seen(rng):
    n = 2000
    actions = rng.integers(0, 2, n)
    log = Log(np.zeros((n, 1)), actions, np.full(n, 0.5), rng.random(n))
    target = np.tile([0.3, 0.7], (n, 1))
    assert evaluate_policy(log, lambda _: target).overlap.problems() == []
    wrong = log._replace(propensities=np.where(actions == 1, 0.25, 0.75))
    with pytest.raises(PoorOverlap, match=r"the mean weight is 1\.6.*propensities are wrong"):
        evaluate_policy(wrong, lambda _: target)


class Linear:
    """A ranker for RankerPolicy: the first feature is the score."""

    def fit(self, X, y, qid=None):
        return self

    def predict(self, X):
        return np.asarray(X)[:, 0]


@pytest.mark.parametrize(
    "policy",
    [
        EpsilonGreedy(epsilon=0.5, random_state=0),
        LinUCB(random_state=0),
        LinearThompson(random_state=0),
        LogisticThompson(random_state=0),
        RankerPolicy(Linear(), random_state=0),
    ],
    ids=lambda policy: type(policy).__name__,
)
def test_every_policy_is_evaluated(policy, rng):
    X = rng.normal(size=(200, 3))
    clicked = (rng.random(200) < 1 / (1 + np.exp(-X[:, 0]))).astype(float)
    if isinstance(policy, RankerPolicy):
        policy = RankerPolicy(Linear().fit(X, clicked), random_state=0)
    else:
        policy.partial_fit(X, clicked)
    candidates = rng.normal(size=(600, 3, 3))
    actions = rng.integers(0, 3, 600)
    mean = 1 / (1 + np.exp(-candidates[..., 0]))
    row = np.arange(600)
    rewards = (rng.random(600) < mean[row, actions]).astype(float)
    log = Log(candidates, actions, np.full(600, 1 / 3), rewards, np.full((600, 3), 1 / 3))
    before = policy.probabilities(candidates[:5]).values
    found = evaluate_policy(log, policy)
    truth = (policy.probabilities(candidates).values[..., 0] * mean).sum(axis=1).mean()
    assert abs(found.value - truth) < 4 * (found.high - found.low) / 3.92
    assert found.value > rewards.mean()
    after = policy.probabilities(candidates[:5]).values
    assert after == pytest.approx(before, abs=0.15)
