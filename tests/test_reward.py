"""Reward models: the pair model as objective, calibration, noise corrections, nuisance, saving."""

from __future__ import annotations

import dataclasses
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from scipy.stats import t
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from lambdamart_kit.core.pairs import PairLoss
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.objectives import ExplicitPairs, RankNet
from lambdamart_kit.preferences import PreferencePairs, RewardModel, TextFeatures, TfidfFeatures
from lambdamart_kit.preferences.rewards.pair_view import PairView
from lambdamart_kit.preferences.rewards.scorers import HeldOutLoss, LinearReward, LinearScorer, TreeScorer
from lambdamart_kit.preferences.scoring import (
    accuracy,
    calibration_slope,
    clustered_mean,
    expected_calibration_error,
    preference_report,
)
from lambdamart_kit.rankers import LambdaMART


def synthetic(n_pairs=1500, seed=0, sharpness=2.0):
    """Pairs of their own prompts whose reward is linear in column 0 and steps in column 1."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(2 * n_pairs, 4)).astype(np.float32)
    reward = sharpness * (X[:, 0] + (X[:, 1] > 0))
    a, b = np.arange(n_pairs), np.arange(n_pairs, 2 * n_pairs)
    a_wins = rng.random(n_pairs) < 1 / (1 + np.exp(reward[b] - reward[a]))
    return PreferencePairs.from_indices(X, np.where(a_wins, a, b), np.where(a_wins, b, a)), reward


def small(**options):
    defaults = {"n_estimators": 120, "learning_rate": 0.1, "num_leaves": 8, "random_state": 0, "n_jobs": 1}
    return RewardModel(**{**defaults, **options})


# One kernel -------------------------------------------------------------------------------------------------


def test_one_pair_is_ranknet_and_bradley_terry():
    """A query of one pair, an explicit pair and a vote have the same gradient."""
    scores = np.array([0.3, -0.4], dtype=np.float32)
    queries = Queries.from_qid([0, 0], 2)
    explicit = ExplicitPairs([[0, 1]]).bind([1, 0], queries).gradient_hessian(scores)
    ranknet = RankNet().bind([1, 0], queries).gradient_hessian(scores)
    strengths = PairLoss([0], [1], 2).gradient_hessian(scores)
    p = 1 / (1 + np.exp(-0.7))
    for gradient, hessian in (explicit, ranknet, strengths):
        np.testing.assert_allclose(gradient, [-(1 - p), 1 - p], rtol=2e-6)
        np.testing.assert_allclose(hessian, [p * (1 - p)] * 2, rtol=2e-6)


def test_explicit_pairs_follow_their_rows():
    """Pairs name rows as given, whatever order the queries put them in."""
    rng = np.random.default_rng(0)
    qid, scores = rng.permutation(np.repeat(np.arange(4), 3)), rng.normal(size=12).astype(np.float32)
    pairs = rng.permuted(np.tile(np.arange(12), (6, 1)), axis=1)[:, :2]
    queries = Queries.from_qid(qid, 12)
    by_query = ExplicitPairs(pairs, margin=0.2).bind(np.zeros(12), queries)
    flat = ExplicitPairs(pairs, margin=0.2).bind(np.zeros(12), Queries.from_qid(None, 12))
    for ordered, plain in zip(by_query.gradient_hessian(queries.sort(scores)), flat.gradient_hessian(scores)):
        np.testing.assert_allclose(queries.unsort(ordered), plain, rtol=1e-6)
    weighted = ExplicitPairs(pairs).bind(np.zeros(12), queries, np.full(12, 3.0)).gradient_hessian(scores)[0]
    once = ExplicitPairs(pairs).bind(np.zeros(12), queries).gradient_hessian(scores)[0]
    np.testing.assert_allclose(weighted, 3 * once, rtol=1e-6)


def test_flip_rate_of_the_objective():
    scores, queries = np.array([1.0, 0.0], dtype=np.float32), Queries.from_qid(None, 2)
    p, e = 1 / (1 + np.exp(-1.0)), 0.1
    smoothed = ExplicitPairs([[0, 1]], flip_rate=e).bind([0, 0], queries).gradient_hessian(scores)
    robust = ExplicitPairs([[0, 1]], flip_rate=e, correction="robust").bind([0, 0], queries)
    np.testing.assert_allclose(smoothed[0][0], p - (1 - e), rtol=1e-6)
    gradient, hessian = robust.gradient_hessian(scores)
    np.testing.assert_allclose(gradient[0], p - 1 - e / (1 - 2 * e), rtol=1e-6)
    np.testing.assert_allclose(hessian, smoothed[1], rtol=1e-6)


# Scorers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_matrix])
def test_linear_is_logistic_regression_on_differences(make):
    pairs, _ = synthetic(400)
    X, ones = pairs.features.astype(float), np.ones(len(pairs))
    prompt = np.arange(len(pairs))
    train = PairView(make(X), pairs.chosen, pairs.rejected, ones, ones, 0 * ones, prompt)
    found = LinearScorer(1e-6).fit(train, None, seed=0).coef
    difference = X[pairs.chosen] - X[pairs.rejected]
    both = np.vstack([difference, -difference])
    logistic = LogisticRegression(C=1e8, fit_intercept=False, tol=1e-10).fit(
        both, np.repeat([1, 0], len(difference))
    )
    np.testing.assert_allclose(found, logistic.coef_[0], rtol=1e-3)


def test_linear_rewards_know_the_penalty():
    """At the optimum the gradient of the summed loss is minus the penalty's, in units of a deviation."""
    pairs, _ = synthetic(300)
    X, ones = pairs.features.astype(float), np.ones(len(pairs))
    train = PairView(X, pairs.chosen, pairs.rejected, ones, ones, 0 * ones, np.arange(len(pairs)))
    coef = LinearScorer(30.0).fit(train, None, seed=0).coef
    gradient = X.T @ train.loss().gradient_hessian(X @ coef)[0]
    np.testing.assert_allclose(gradient, -30.0 * X.var(axis=0) * coef, rtol=2e-3, atol=1e-2)


def test_missing_values_of_a_linear_reward_count_as_the_mean():
    pairs, _ = synthetic(300)
    model = small(scorer="linear", calibrate=False, validation_fraction=0).fit_pairs(pairs)
    X = pairs.features[:5].copy()
    X[:, 0] = np.nan
    filled = X.copy()
    filled[:, 0] = pairs.features[:, 0].mean(dtype=float)
    np.testing.assert_allclose(model.predict(X), model.predict(filled), rtol=1e-5, atol=1e-6)


def test_linear_does_not_depend_on_units():
    pairs, _ = synthetic(400)
    units = np.array([1.0, 1000.0, 0.01, 1.0])
    scaled = PreferencePairs.from_indices(pairs.features * units, pairs.chosen, pairs.rejected)
    one = small(scorer="linear").fit_pairs(pairs).predict_proba_pairs(pairs)
    np.testing.assert_allclose(
        small(scorer="linear").fit_pairs(scaled).predict_proba_pairs(scaled), one, atol=1e-4
    )


def test_trees_learn_the_reward_with_calibrated_probabilities():
    train, _ = synthetic(4000)
    test, truth = synthetic(4000, seed=1)
    report = small().fit_pairs(train).report(test).iloc[0]
    margin = truth[test.chosen] - truth[test.rejected]
    best = np.mean(np.log1p(np.exp(-margin)))
    assert report["log_loss"] == pytest.approx(best, abs=0.025)
    assert report["calibration_slope"] == pytest.approx(1.0, abs=0.1)
    assert report["log_loss_lower"] < report["log_loss"] < report["log_loss_upper"]


def test_any_ranker_can_score():
    train, _ = synthetic(800)
    ranker = LambdaMART(booster="native", n_estimators=30, random_state=0, n_jobs=1)
    model = small(scorer=ranker).fit_pairs(train)
    assert model.report(train).loc[0, "accuracy"] > 0.8
    assert ranker.objective == "ndcg"
    with pytest.raises(TypeError, match="a reward model on a ranker has no file format"):
        model.save("never.lmk")


def test_network_scores():
    train, _ = synthetic(800)
    model = small(scorer="neural").fit_pairs(train)
    assert model.score_pairs(train)["results"].mean() > 0.8
    again = small(scorer="neural").fit_pairs(train)
    np.testing.assert_array_equal(model.predict(train.features), again.predict(train.features))


def test_mirrored_and_permuted_pairs():
    pairs, _ = synthetic(300)
    soft = PreferencePairs.from_indices(
        pairs.features, pairs.chosen, pairs.rejected, target=np.full(300, 0.8)
    )
    mirrored = PreferencePairs.from_indices(
        pairs.features, pairs.rejected, pairs.chosen, target=np.full(300, 0.2)
    )
    options = {"scorer": "linear", "validation_fraction": 0.0}
    X = pairs.features[:50]
    one = small(**options).fit_pairs(soft).predict(X)
    np.testing.assert_allclose(small(**options).fit_pairs(mirrored).predict(X), one, atol=1e-8)
    shuffled = soft.take(np.random.default_rng(0).permutation(300))
    np.testing.assert_allclose(small(**options).fit_pairs(shuffled).predict(X), one, atol=1e-8)


def test_doubled_weights_equal_repeated_pairs():
    pairs, _ = synthetic(300)
    twice = pairs.take(np.repeat(np.arange(300), 2))
    doubled = PreferencePairs.from_indices(
        pairs.features, pairs.chosen, pairs.rejected, weight=np.full(300, 2.0)
    )
    options = {"scorer": "linear", "validation_fraction": 0.0}
    one = small(**options).fit_pairs(twice).predict(pairs.features)
    np.testing.assert_allclose(small(**options).fit_pairs(doubled).predict(pairs.features), one, atol=1e-8)


def test_margins_push_rewards_apart():
    pairs, _ = synthetic(500)
    wide = PreferencePairs.from_indices(
        pairs.features, pairs.chosen, pairs.rejected, margin=np.full(500, 3.0)
    )
    options = {"scorer": "linear", "calibrate": False}
    plain, pushed = small(**options).fit_pairs(pairs), small(**options).fit_pairs(wide)
    ignored = small(**options, use_margins=False).fit_pairs(wide)
    assert np.std(pushed.predict(pairs.features)) > 1.3 * np.std(plain.predict(pairs.features))
    np.testing.assert_allclose(ignored.predict(pairs.features), plain.predict(pairs.features))


def rated_pairs(n_pairs=60):
    """Pairs whose margins are gaps of ratings, of a layout of public data; one rates the rejected higher."""
    rng = np.random.default_rng(0)
    good = np.where(np.arange(n_pairs) == 3, 1.0, 5.0)
    rows = [
        {
            "prompt": f"p{k}",
            "prompt_id": k,
            "chosen": "long answer " * rng.integers(2, 5),
            "rejected": "answer " * rng.integers(1, 4),
            "score_chosen": good[k],
            "score_rejected": 2.0,
        }
        for k in range(n_pairs)
    ]
    return PreferencePairs.read(rows)


def test_gaps_of_ratings_count_only_when_asked(tmp_path):
    pairs = rated_pairs()
    assert pairs.margin.tolist() == [-1.0 if k == 3 else 3.0 for k in range(60)]
    options = {"scorer": "linear", "features": "text", "calibrate": False}
    with pytest.warns(UserWarning, match="gaps of ratings .score_chosen - score_rejected. and are not used"):
        by_default = small(**options).fit_pairs(pairs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        without = small(**options, use_margins=False).fit_pairs(pairs)
        with_gaps = small(**options, use_margins=True).fit_pairs(pairs)
    rewards = [model.predict_responses(pairs) for model in (by_default, without, with_gaps)]
    np.testing.assert_array_equal(rewards[0], rewards[1])
    assert np.std(rewards[2]) > 1.3 * np.std(rewards[1])
    # The file that `convert` writes says where its margins are from, so it trains as the one before.
    pairs.write(tmp_path / "pairs.csv")
    again = PreferencePairs.read(tmp_path / "pairs.csv")
    assert again.margins().to_dict("records") == pairs.margins().to_dict("records")
    with pytest.warns(UserWarning, match="are not used"):
        np.testing.assert_array_equal(small(**options).fit_pairs(again).predict_responses(again), rewards[0])


def test_where_margins_are_from_is_told():
    pairs = rated_pairs()
    assert pairs.margins().to_dict("records") == [
        {"source": "score_chosen - score_rejected", "pairs": 60, "lowest": -1, "median": 3, "highest": 3}
    ]
    assert repr(pairs).endswith("no features, margins: score_chosen - score_rejected")
    report = pairs.audit()
    assert report.rows["rated_against"].tolist() == [3]
    assert "| score_chosen - score_rejected | 60 | -1 | 3 | 3 |" in report.to_markdown()
    assert report.to_dict()["margins"][0]["pairs"] == 60
    stated = PreferencePairs.read([{"prompt": "p", "chosen": "a", "rejected": "b", "margin": 2}])
    assert stated.margins()["source"].tolist() == ["column 'margin'"]
    assert "rated_against" not in stated.audit().rows
    plain = PreferencePairs.read([{"prompt": "p", "chosen": "a", "rejected": "b"}])
    assert plain.margins() is None
    assert "margin" not in repr(plain)
    assert "margin" not in plain.audit().to_markdown()


def test_a_turned_pair_turns_the_gap_of_its_ratings_and_no_stated_margin():
    pairs = rated_pairs(4)
    turned = pairs.flipped(np.array([True, False, False, True]))
    assert turned.margin.tolist() == [-3, 3, 3, 1]
    gap = turned.columns["score_chosen"] - turned.columns["score_rejected"]
    assert gap.tolist() == turned.margin.tolist()
    stated = PreferencePairs.read([{"prompt": "p", "chosen": "a", "rejected": "b", "margin": 2}])
    assert stated.flipped(np.array([True])).margin.tolist() == [2]


def test_use_margins_is_checked():
    pairs, _ = synthetic(50)
    with pytest.raises(ValueError, match="'use_margins' must be 'stated', True or False; got 'yes'"):
        small(use_margins="yes").fit_pairs(pairs)


def test_robust_correction_recovers_the_clean_slope():
    train, _ = synthetic(20_000, sharpness=1.0)
    flip = np.random.default_rng(0).random(20_000) < 0.2
    chosen = np.where(flip, train.rejected, train.chosen)
    rejected = np.where(flip, train.chosen, train.rejected)
    noisy = PreferencePairs.from_indices(train.features, chosen, rejected)
    X = np.eye(4, dtype=np.float32)[:1]
    options = {"scorer": "linear", "calibrate": False}
    clean = small(**options).fit_pairs(train).predict(X)[0]
    naive = small(**options).fit_pairs(noisy).predict(X)[0]
    robust = small(**options, flip_rate=0.2, correction="robust").fit_pairs(noisy).predict(X)[0]
    assert naive < 0.6 * clean
    assert robust == pytest.approx(clean, rel=0.1)


def test_held_out_loss_is_taken_at_the_best_scale():
    """Scores that are three times too large lose nothing by it, scores without order do."""
    pairs, truth = synthetic(500)
    zeros, ones = np.zeros(500), np.ones(500)
    held_out = HeldOutLoss(PairView(None, pairs.chosen, pairs.rejected, ones, ones, zeros, pairs.prompt))
    loss = held_out(truth)
    assert held_out(3 * truth) == pytest.approx(loss)
    assert held_out(np.zeros(1000)) == pytest.approx(np.log(2))
    assert loss < held_out(truth + np.random.default_rng(0).normal(size=1000)) < np.log(2)


def test_pairs_that_are_all_right_do_not_fit_for_ever():
    """Without a floor the loss would fall until the last tree: nothing held out is ever wrong."""
    first, second, ones = np.arange(5), np.arange(5, 10), np.ones(5)
    held_out = HeldOutLoss(PairView(None, first, second, ones, ones, np.zeros(5), first))
    right = np.where(np.arange(10) < 5, 1.0, -1.0)
    assert held_out(0.5 * right) == pytest.approx(np.log1p(np.exp(-1)))  # as they are: above the floor
    assert held_out(10 * right) == held_out(100 * right) == pytest.approx(np.log(7 / 6))
    assert held_out(-100 * right) == pytest.approx(200)  # all wrong: no floor

    X = np.repeat([[1.0], [0.0]], 60, axis=0).astype(np.float32)
    pairs = PreferencePairs.from_indices(X, np.arange(60), np.arange(60, 120))
    model = small(n_estimators=3000, early_stopping_rounds=10).fit_pairs(pairs)
    assert model.rewards_[0].n_trees < 1000


def test_refit_uses_all_prompts_and_keeps_the_size():
    train, _ = synthetic(600)
    once, again = small(refit=False).fit_pairs(train), small().fit_pairs(train)
    assert once.temperature_ == again.temperature_
    assert once.rewards_[0].n_trees == again.rewards_[0].n_trees
    assert not np.allclose(once.predict(train.features), again.predict(train.features))


def test_calibration_leaves_an_offset_as_it_is():
    rng = np.random.default_rng(0)
    x, offset = rng.normal(size=20_000), rng.normal(size=20_000)
    target = (rng.random(20_000) < 1 / (1 + np.exp(-(2 * x + offset)))).astype(float)
    slope = calibration_slope(x, target, np.ones(20_000), offset=offset)
    assert slope == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("nuisance", [[1, 2], [-1, 0], [[0, 1]]])
def test_one_bad_nuisance_column_among_good_ones(nuisance):
    X = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    pairs = PreferencePairs.from_indices(X, np.arange(20), np.arange(20, 40))
    with pytest.raises(ValueError, match="'nuisance' must hold columns from 0 to 1"):
        small(scorer="linear", nuisance=nuisance).fit_pairs(pairs)


def test_nuisance_is_fitted_and_removed():
    """Length wins pairs but is no merit: with it as nuisance, its effect is not part of the reward."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6000, 2)).astype(np.float32)
    X[:, 1] += 0.5 * X[:, 0]
    drive = 1.5 * X[:, 0] + 2.0 * X[:, 1]
    a, b = np.arange(3000), np.arange(3000, 6000)
    wins = rng.random(3000) < 1 / (1 + np.exp(drive[b] - drive[a]))
    pairs = PreferencePairs.from_indices(X, np.where(wins, a, b), np.where(wins, b, a))
    # Trees are steps, flat at the ends, so their slope is smaller: 1.16. Were length not removed, the slopes
    # would be 1.5 + 2.0 * 0.5 = 2.5 and 2.
    for scorer, lowest, highest in (("linear", 1.34, 1.66), ("trees", 1.0, 1.5)):
        model = small(scorer=scorer, nuisance=[1], calibrate=False).fit_pairs(pairs)
        # Standard errors of both coefficients are .08.
        assert model.nuisance_coef_[1] == pytest.approx(2.0, abs=0.16)
        zero, long = model.predict(np.array([[0, 0], [0, 5]], dtype=np.float32))
        assert long == pytest.approx(zero)
        slope = np.polyfit(X[:, 0], model.predict(X), 1)[0]
        assert lowest < slope < highest


def test_bagging():
    train, _ = synthetic(600)
    model = small(scorer="linear", n_bags=5).fit_pairs(train)
    assert len({tuple(r.coef) for r in model.rewards_}) == 5
    again = small(scorer="linear", n_bags=5).fit_pairs(train)
    np.testing.assert_array_equal(model.predict(train.features), again.predict(train.features))


@pytest.mark.parametrize("scorer", ["linear", "trees"])
def test_how_far_bags_are_apart(scorer, tmp_path):
    train, _ = synthetic(300)
    model = small(scorer=scorer, n_bags=4, n_estimators=8).fit_pairs(train)
    X = train.features[:50]
    rewards, std = model.predict(X, return_std=True)
    np.testing.assert_array_equal(rewards, model.predict(X))
    # By hand: each bag's rewards less their mean over the training responses, on the scale of the rewards.
    table = np.array([bag.predict(X) - bag.predict(train.features).mean() for bag in model.rewards_])
    np.testing.assert_allclose(std, table.std(axis=0, ddof=1) / model.temperature_, rtol=1e-6)
    assert (std > 0).all()
    model.save(tmp_path / "rm.lmk")
    loaded = RewardModel.load(tmp_path / "rm.lmk")
    np.testing.assert_allclose(loaded.predict(X, return_std=True)[1], std, rtol=1e-6)
    again = small(scorer=scorer, n_bags=4, n_estimators=8).fit_pairs(train)
    np.testing.assert_array_equal(again.predict(X, return_std=True)[1], std)


def test_bags_are_apart_where_there_are_no_data():
    rng = np.random.default_rng(0)
    X = np.vstack([rng.normal(size=(400, 2)), [[8.0, 8.0]]]).astype(np.float32)
    chosen = np.arange(0, 400, 2) + (X[:400:2, 0] < X[1:400:2, 0])
    rejected = chosen ^ 1
    model = small(scorer="linear", n_bags=10).fit_pairs(PreferencePairs.from_indices(X, chosen, rejected))
    _, std = model.predict(X, return_std=True)
    assert std[-1] > 2 * np.median(std)


def test_a_level_that_a_bag_adds_to_all_rewards_is_no_spread():
    train, _ = synthetic(300)
    model = small(scorer="linear", n_bags=3).fit_pairs(train)
    std = model.predict(train.features, return_std=True)[1]
    bag = model.rewards_[0]
    model.rewards_[0] = dataclasses.replace(bag, mean=bag.mean + 100.0)
    model.bag_levels_[0] = model.rewards_[0].predict(train.features).mean()
    np.testing.assert_allclose(model.predict(train.features, return_std=True)[1], std, atol=1e-9)


def test_a_spread_needs_bags():
    train, _ = synthetic(100)
    with pytest.raises(ValueError, match="'return_std' needs a reward model of several bags"):
        small(scorer="linear").fit_pairs(train).predict(train.features, return_std=True)


def test_fit_on_labels_is_fit_on_their_pairs():
    rng = np.random.default_rng(0)
    X, qid = rng.normal(size=(200, 3)), rng.integers(0, 40, 200)
    y = (X[:, 0] + 0.3 * rng.normal(size=200) > 0).astype(int) + (X[:, 0] > 1)
    model = small(scorer="linear").fit(X, y, qid=qid)
    chosen, rejected = np.nonzero((y[:, None] > y[None, :]) & (qid[:, None] == qid[None, :]))
    by_hand = PreferencePairs.from_indices(X, chosen, rejected, prompt=qid[chosen])
    kept = small(scorer="linear", validation_fraction=0.0)
    np.testing.assert_allclose(
        clone(kept).fit(X, y, qid=qid).predict(X), clone(kept).fit_pairs(by_hand).predict(X), atol=1e-8
    )
    assert model.score(X, y, qid=qid) > 0.9


def test_soft_targets_reach_their_probability():
    X = np.array([[1.0], [0.0]])
    pairs = PreferencePairs.from_indices(X, [0] * 50, [1] * 50, prompt=[0] * 50, target=np.full(50, 0.7))
    model = small(scorer="linear", reg_lambda=0.0).fit_pairs(pairs)
    np.testing.assert_allclose(model.predict_proba_pairs(pairs), 0.7, atol=1e-6)


# Scoring ----------------------------------------------------------------------------------------------------


def test_accuracy_log_loss_and_calibration_by_hand():
    margin, target = np.array([2.0, 0.0, -1.0, 3.0]), np.array([1.0, 1.0, 1.0, 0.5])
    np.testing.assert_array_equal(accuracy(margin, target, half_ties=False), [1, 0, 0, np.nan])
    np.testing.assert_array_equal(accuracy(margin, target, half_ties=True), [1, 0.5, 0, np.nan])
    np.testing.assert_array_equal(accuracy(margin, 1 - target, half_ties=True), [0, 0.5, 1, np.nan])
    # p = .75 said of every pair, right in 3 of 4: calibrated
    said = np.full(4, np.log(3.0)) * [1, 1, 1, -1]
    assert calibration_slope(said, np.ones(4), np.ones(4)) == pytest.approx(1.0)
    assert calibration_slope(2 * said, np.ones(4), np.ones(4)) == pytest.approx(0.5)
    assert expected_calibration_error(np.abs(said), np.array([1, 1, 1, 0.0]), np.ones(4)) == pytest.approx(0)
    assert expected_calibration_error(np.full(2, 50.0), np.array([1, 0.0]), np.ones(2)) == pytest.approx(0.5)
    assert np.isnan(calibration_slope(np.zeros(2), np.ones(2), np.ones(2)))


def test_clustered_interval_by_hand():
    """Two prompts with all right, two with all wrong: the mean of four, not of forty."""
    values, clusters = np.repeat([1.0, 1.0, 0.0, 0.0], 10), np.repeat(np.arange(4), 10)
    found = clustered_mean(values, np.ones(40), clusters)
    se = np.std([1, 1, 0, 0], ddof=1) / 2
    assert found.value == 0.5
    assert found.upper - found.value == pytest.approx(t.ppf(0.975, 3) * se, rel=1e-9)
    for flat in (
        clustered_mean(np.ones(40), np.ones(40), clusters),
        clustered_mean(values, np.ones(40), values * 0),
    ):
        assert np.isnan([flat.lower, flat.upper]).all()


def test_score_pairs_has_rewardbench_columns():
    rows = [
        {"id": 7, "subset": "s", "prompt": "p", "chosen": "good " * 9, "rejected": "bad"},
        {"id": 8, "subset": "t", "prompt": "q", "chosen": "yes " * 9, "rejected": "no"},
    ]
    pairs = PreferencePairs.read(rows * 10)
    model = small(scorer="linear", features="text").fit_pairs(pairs)
    table = model.score_pairs(pairs)
    assert table["id"].tolist()[:2] == [7, 8]
    assert table["subset"].tolist()[:2] == ["s", "t"]
    np.testing.assert_array_equal(table["results"], table["scores_chosen"] > table["scores_rejected"])
    np.testing.assert_allclose(table["probability"], 1 / (1 + np.exp(-table["score_margin"])))
    with pytest.warns(UserWarning, match="the model is not better than length"):
        report = model.report(pairs, by="subset")
    assert report["subset"].tolist() == ["all", "s", "t"]
    assert report.loc[0, "longer_wins"] == 1.0
    assert report.loc[0, "length_matched_pairs"] == 0


def test_a_margin_of_zero_is_half_right_in_the_accuracy_that_says_so():
    report = preference_report(
        np.array([1.0, 0.0, 0.0, -1.0]),
        np.ones(4),
        np.ones(4),
        np.arange(4),
        chosen_length=np.array([1, 1, 1, 1]),
        rejected_length=np.array([2, 2, 2, 2]),
    )
    assert report.loc[0, "accuracy"] == 0.25
    assert report.loc[0, "accuracy_half_ties"] == 0.5


def test_a_scorer_grows_as_many_trees_as_the_reward_it_is_like(rng):
    X = rng.normal(size=(40, 2))
    pairs = PreferencePairs.from_indices(X, np.arange(20), np.arange(20, 40))
    scorer = TreeScorer(LambdaMART(n_estimators=9, min_child_samples=1))
    view = PairView.of(pairs, X, margin=np.zeros(20))
    for n_trees in (1, 3):
        like = SimpleNamespace(n_trees=n_trees)
        assert scorer.fit(view, None, seed=0, like=like).n_trees == n_trees


def test_terms_of_a_linear_reward_against_another_response():
    """The reward is 2 a + 5 b: each term is what the feature adds to the reward of the other response."""
    reward = LinearReward(coef=np.array([2.0, 5.0]), mean=np.zeros(2))
    found = reward.contributions(np.array([[3.0, 1.0]]), np.array([[1.0, 2.0]]))
    np.testing.assert_array_equal(found, [[4.0, -5.0, 12.0]])
    np.testing.assert_array_equal(found.sum(axis=1), reward.predict(np.array([[3.0, 1.0]])))


# Text and files ---------------------------------------------------------------------------------------------


def test_text_features_by_hand():
    response = "# Title\n\n- One fruit!\n- Two?\n\n```x```"
    frame = pd.DataFrame({"prompt": ["a fruit"], "response": [response]})
    row = dict(zip(TextFeatures.names, TextFeatures().transform(frame)[0].tolist()))
    assert row["words"] == 5
    assert row["headings"] == 1
    assert row["list_items"] == 2
    assert row["code_blocks"] == 1
    assert row["paragraphs"] == 3
    assert row["questions"] == row["exclamations"] == 1
    assert row["prompt_words_covered"] == pytest.approx(0.5)
    assert row["words_from_prompt"] == pytest.approx(0.2)
    assert np.isfinite(TextFeatures().transform(pd.DataFrame({"prompt": [""], "response": [""]}))).all()


def test_all_text_features_written_out():
    """Counted by hand: 12 words in 3 sentences, and 10 trigrams of which one is there twice."""
    words = ["the", "old", "lady", "wanted", "the", "old", "lady", "2", "really", "see", "http", "yesterday"]
    response = "The old lady wanted. The old lady 2 really see?\n\nhttp yesterday!"
    prompt = "See the lady again"
    letters = sum(len(word) for word in words)
    # the-old-la/dy-wan/ted | the-old-la/dy-2-real/ly-see | http-yes/ter/day; a word has at least one.
    syllables = 1 + 1 + 2 + 2 + 1 + 1 + 2 + 1 + 2 + 1 + 1 + 3
    n = len(response)
    expected = {
        "log_characters": np.log(1 + n),
        "words": 12,
        "log_words": np.log(13),
        "sentences": 3,
        "words_per_sentence": 12 / 3,
        "characters_per_word": letters / 12,
        "long_words": 1 / 12,  # yesterday: of seven characters or more
        "distinct_words": 9 / 12,
        "repeated_trigrams": 1 / 10,  # "the old lady" is there twice
        "prompt_words_covered": 3 / 4,
        "words_from_prompt": 5 / 12,
        "flesch_reading_ease": 206.835 - 1.015 * 12 / 3 - 84.6 * syllables / 12,
        "paragraphs": 2,
        "list_items": 0,
        "headings": 0,
        "code_blocks": 0,
        "links": 1,
        "digits": 1 / n,
        "capitals": 2 / n,
        "punctuation": 3 / n,
        "questions": 1,
        "exclamations": 1,
    }
    row = TextFeatures().transform(pd.DataFrame({"prompt": [prompt], "response": [response]}))[0]
    assert TextFeatures.names == tuple(expected)
    np.testing.assert_allclose(row, list(expected.values()), rtol=1e-6)
    # Without a word there is still one to divide by: one sentence of one word, without letters or syllables.
    empty = TextFeatures().transform(pd.DataFrame({"prompt": [""], "response": ["?"]}))[0]
    row = dict(zip(TextFeatures.names, empty.tolist()))
    assert row["words"] == row["long_words"] == row["repeated_trigrams"] == row["digits"] == 0.0
    assert row["sentences"] == row["words_per_sentence"] == row["punctuation"] == row["paragraphs"] == 1.0
    assert row["flesch_reading_ease"] == pytest.approx(206.835 - 1.015, rel=1e-6)


def test_features_are_fitted_on_training_pairs_only():
    rows = [{"prompt": f"p{i}", "chosen": f"good word{i}", "rejected": f"bad term{i}"} for i in range(30)]
    pairs = PreferencePairs.read(rows)
    train, test = pairs.split(random_state=0)
    model = small(scorer="linear", features=TfidfFeatures(5)).fit_pairs(train)
    terms = set(model.extractor_.vectorizer_.vocabulary_)
    seen = {f"word{i}" for i in train.prompt}
    assert seen <= terms
    assert not {f"word{i}" for i in test.prompt} & terms
    assert model.score_pairs(test)["results"].mean() > 0.9


def test_sentence_embeddings_name_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)  # as if it were not installed
    pairs = PreferencePairs.read([{"prompt": "p", "chosen": "a", "rejected": "b"}])
    with pytest.raises(ImportError, match=r'pip install "lambdamart-kit\[embeddings\]"'):
        small(features="embeddings:any").fit_pairs(pairs)


@pytest.mark.parametrize("features", ["text", "tfidf"])
@pytest.mark.parametrize("scorer", ["linear", "trees"])
def test_save_and_load(tmp_path, scorer, features):
    rows = [
        {"prompt": f"p{i % 20}", "chosen": f"a good answer number {i}", "rejected": f"bad {i}!"}
        for i in range(80)
    ]
    pairs = PreferencePairs.read(rows)
    model = small(scorer=scorer, features=features, n_bags=2, nuisance=[0], n_estimators=5).fit_pairs(pairs)
    model.save(tmp_path / "rm.lmk")
    loaded = RewardModel.load(tmp_path / "rm.lmk")
    np.testing.assert_allclose(loaded.predict_proba_pairs(pairs), model.predict_proba_pairs(pairs), rtol=1e-6)
    assert loaded.get_params()["features"] == features


def test_llmbar_is_harder_than_length(real_data):
    """Adversarial pairs: trained elsewhere, hand features do no better than chance there."""
    bar = PreferencePairs.read(real_data / "preferences" / "llmbar.jsonl")
    arguments = PreferencePairs.read(real_data / "preferences" / "ukp_convarg1.jsonl")
    model = small(scorer="linear", features="text").fit_pairs(arguments)
    with pytest.warns(UserWarning, match="the model is not better than length"):
        report = model.report(bar, by="subset")
    assert report.loc[0, "pairs"] == 885
    assert report["pairs"].iloc[1:].sum() == 885


# Bad input --------------------------------------------------------------------------------------------------

PAIRS, _ = synthetic(20)
TEXTS = PreferencePairs.read([{"prompt": "p", "chosen": "a", "rejected": "b"}])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: small(scorer="magic").fit_pairs(PAIRS), "'scorer' must be 'trees', 'linear'"),
        (lambda: small(flip_rate=0.5).fit_pairs(PAIRS), r"flip probability in \[0, 0.5\)"),
        (lambda: small(correction="none").fit_pairs(PAIRS), "'correction' must be one of"),
        (lambda: small(n_bags=0).fit_pairs(PAIRS), "'n_bags' must be at least 1; got 0"),
        (lambda: small(validation_fraction=1.0).fit_pairs(PAIRS), "'validation_fraction' must be in"),
        (lambda: small(nuisance=[9]).fit_pairs(PAIRS), "'nuisance' must hold columns from 0 to 3"),
        (lambda: small().fit_pairs(PAIRS.take([])), "'pairs' must hold at least one pair"),
        (lambda: small().fit_pairs(TEXTS), "no features"),
        (lambda: small(scorer="linear").fit_pairs(PAIRS).predict(np.zeros((2, 3))), "'X' must have 4"),
        (lambda: small().fit(np.zeros((3, 1)), [1, 1, 1]), "'y' must hold two different labels"),
        (lambda: ExplicitPairs([[0, 5]]).bind([0, 0], Queries.from_qid(None, 2)), "pair 0 has"),
        (lambda: small(features="bert").fit_pairs(TEXTS), "'features' must be 'text'"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_symmetric_trees_are_native():
    pairs, _ = synthetic(300)
    features = small(n_estimators=5).fit_pairs(pairs).rewards_[0].raw.trees_to_dataframe()
    by_level = features[features["split_feature"].notna()].groupby(["tree_index", "node_depth"])
    assert (by_level["split_feature"].nunique() == 1).all()
    assert (by_level["threshold"].nunique() == 1).all()
    leafwise = small(n_estimators=5, grow_policy="leafwise").fit_pairs(pairs).rewards_[0].raw
    free = leafwise.trees_to_dataframe().dropna(subset="split_feature").groupby(["tree_index", "node_depth"])
    assert (free["threshold"].nunique() > 1).any()
    with pytest.raises(ValueError, match="'grow_policy'='symmetric' needs booster='native'"):
        small(booster="lightgbm", grow_policy="symmetric").fit_pairs(pairs)
    with pytest.raises(ValueError, match="'grow_policy' must be"):
        small(grow_policy="oblivious").fit_pairs(pairs)
