"""Several goals at once: mixed gradients, drawn labels, constraints, and all that stands around a fit."""

from __future__ import annotations

import warnings
from dataclasses import replace

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import lambdamart_kit as lk
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
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.distributed import DaskLambdaMART
from lambdamart_kit.metrics import NDCG, ndcg, parse_metric
from lambdamart_kit.model_selection import QueryKFold, make_ranking_scorer
from lambdamart_kit.objectives import Combined, ExplicitPairs, LambdaNDCG, ListNet, RankNet, YetiLoss
from lambdamart_kit.objectives.balance import Balance
from lambdamart_kit.rankers import load_ranker

BOOSTERS = ["native", "lightgbm", "xgboost"]
NAMES = {"relevance": "ndcg", "margin": "ndcg"}
SMALL = {"n_estimators": 8, "num_leaves": 6, "random_state": 0, "n_jobs": 1}


def make_goals(n_queries, seed, n_documents=12):
    """Two goals that pull apart: the margin falls with the feature that makes a document relevant."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_queries * n_documents, 6)).astype(np.float32)
    relevance = X[:, 0] + X[:, 1] * X[:, 2] + 0.5 * rng.normal(size=len(X))
    margin = X[:, 3] - 0.6 * X[:, 0] + 0.5 * rng.normal(size=len(X))
    Y = np.column_stack([np.digitize(relevance, [0, 1, 2]), np.digitize(margin, [0, 1])])
    return X, Y, np.repeat(np.arange(n_queries) + 1000 * seed, n_documents)


TRAIN, HELD_OUT, TEST = make_goals(60, 1), make_goals(40, 2), make_goals(60, 3)
VALIDATION = dict(zip(("X_val", "y_val", "qid_val"), HELD_OUT))


def rankers(goals, **options):
    trees = {b: LambdaMART(goals, booster=b, **SMALL, **options) for b in BOOSTERS}
    others = {"random_state": 0, "n_jobs": 1, **options}
    return {
        **trees,
        "linear": LinearRanker(goals, max_iter=8, **others),
        "neural": NeuralRanker(goals, max_iter=4, hidden_layer_sizes=(8,), **others),
    }


def fitted(ranker, rows=TRAIN, **arguments):
    X, Y, qid = rows
    return ranker.fit(X, Y, qid=qid, **arguments)


# ------------------------------------------------------------------------------------ the slow reference


def reference_pairs(labels, scores, of_pair):
    """Logistic loss of every pair of one query, by two loops; `of_pair` weighs a pair of rows."""
    gradient, hessian = np.zeros(len(labels)), np.zeros(len(labels))
    for high in range(len(labels)):
        for low in range(len(labels)):
            if labels[high] > labels[low]:
                p = 1 / (1 + np.exp(scores[high] - scores[low]))
                weight = of_pair(high, low)
                gradient[high] -= weight * p
                gradient[low] += weight * p
                hessian[high] += weight * p * (1 - p)
                hessian[low] += weight * p * (1 - p)
    return gradient, hessian


def reference_ndcg(labels, scores):
    """What swapping two documents changes in NDCG; scores must differ."""
    gain = 2.0**labels - 1
    rank = np.empty(len(labels), dtype=int)
    rank[np.argsort(-scores, kind="stable")] = np.arange(len(labels))
    discount = 1 / np.log2(np.arange(len(labels)) + 2)
    ideal = np.sort(gain)[::-1] @ discount or 1.0
    return lambda i, j: abs(gain[i] - gain[j]) * abs(discount[rank[i]] - discount[rank[j]]) / ideal


def reference_all(kind, labels, scores, qid, weight):
    found = np.zeros((2, len(labels)))
    for query in np.unique(qid):
        rows = np.flatnonzero(qid == query)
        of_pair = (lambda i, j: 1.0) if kind == "pairwise" else reference_ndcg(labels[rows], scores[rows])
        for at, values in enumerate(reference_pairs(labels[rows], scores[rows], of_pair)):
            found[at, rows] = weight[rows] * values
    return found


def sample(seed):
    rng = np.random.default_rng(seed)
    qid = np.sort(rng.integers(0, 5, 40))
    Y = np.column_stack([rng.integers(0, 4, 40), rng.integers(0, 3, 40), rng.integers(0, 2, 40)])
    weight = rng.integers(1, 4, 5)[qid].astype(float)
    return qid, Y, weight, rng.normal(size=40).astype(np.float32)


THREE = {"a": "pairwise", "b": LambdaNDCG.burges(), "c": "pairwise"}


def scales_of(qid, Y, weight):
    """Root mean squares where all scores are 0; there NDCG is an average over all orders."""
    queries = Queries.from_qid(qid, len(Y))
    zero = np.zeros(len(Y), dtype=np.float32)
    of_ndcg = LambdaNDCG.burges().bind(Y[:, 1], queries, weight).gradient_hessian(zero)[0]
    gradients = [
        reference_all("pairwise", Y[:, 0], zero, qid, weight)[0],
        of_ndcg.astype(float),
        reference_all("pairwise", Y[:, 2], zero, qid, weight)[0],
    ]
    return np.sqrt([np.mean(g**2) for g in gradients])


@pytest.mark.parametrize("seed", range(5))
def test_mixed_gradient_is_the_weighted_mean_of_scaled_gradients(seed):
    qid, Y, weight, scores = sample(seed)
    goals = Combined(THREE, weights={"a": 1.0, "b": 2.0, "c": 5.0})
    queries = Queries.from_qid(qid, len(Y))
    found = goals.bind(Y, queries, weight).gradient_hessian(queries.sort(scores))
    share, scale = np.array([1, 2, 5]) / 8, scales_of(qid, Y, weight)
    parts = [
        reference_all(kind, Y[:, at].astype(float), scores.astype(float), qid, weight)
        for at, kind in enumerate(("pairwise", "ndcg", "pairwise"))
    ]
    expected = (share @ scale) * sum(p * part / c for p, part, c in zip(share, parts, scale))
    for ours, theirs in zip(found, expected):
        np.testing.assert_allclose(queries.unsort(ours), theirs, atol=2e-6 * np.abs(theirs).max())


@pytest.mark.parametrize("seed", range(5))
def test_goals_that_are_ndcg_follow_the_swaps_of_their_mean(seed):
    qid, Y, weight, scores = sample(seed)
    members = [LambdaNDCG.burges(), LambdaNDCG.burges(gain="linear"), LambdaNDCG.burges()]
    goals = Combined(dict(zip("abc", members)), weights={"a": 1.0, "b": 2.0, "c": 5.0})
    queries = Queries.from_qid(qid, len(Y))
    found = goals.bind(Y, queries, weight).gradient_hessian(queries.sort(scores))
    gains = np.column_stack([2.0 ** Y[:, 0] - 1, Y[:, 1], 2.0 ** Y[:, 2] - 1])
    expected = np.zeros((2, len(Y)))
    for query in np.unique(qid):
        rows = np.flatnonzero(qid == query)
        discount = 1 / np.log2(np.arange(len(rows)) + 2)
        ideal = np.sort(gains[rows], axis=0)[::-1].T @ discount
        worth = gains[rows] / np.where(ideal > 0, ideal, 1.0) @ [1 / 8, 2 / 8, 5 / 8]
        at = discount[np.argsort(np.argsort(-scores[rows]))]

        def change(i, j, worth=worth, at=at):
            return abs(worth[i] - worth[j]) * abs(at[i] - at[j])

        pairs = reference_pairs(worth, scores[rows].astype(float), change)
        expected[:, rows] = weight[rows] * np.array(pairs)
    for ours, theirs in zip(found, expected):
        np.testing.assert_allclose(queries.unsort(ours), theirs, atol=2e-6 * np.abs(theirs).max())


def test_shares_that_change_change_the_mean_of_ndcg():
    qid, Y, _, scores = sample(2)
    queries = Queries.from_qid(qid, len(Y))
    member = LambdaNDCG(ties="random")
    goals = Combined({"a": member, "b": member, "c": member}, constraints={"a": 0.5})
    scaled = goals.scaled_to(Y, queries)
    bound = scaled.bind(Y, queries)
    bound.gradient_hessian(scores)
    scaled.balance.update({0: 0.1})  # 20 times as much, beside two weights of 1
    other = goals.with_weights((2, 1, 1)).scaled_to(Y, queries).bind(Y, queries)
    other.skip_calls(1)
    for ours, theirs in zip(bound.gradient_hessian(scores), other.gradient_hessian(scores)):
        np.testing.assert_array_equal(ours, theirs)


def test_how_goals_are_mixed_by_default():
    qid, Y, _, _ = sample(3)
    queries = Queries.from_qid(qid, len(Y))
    pairs = {"a": "ndcg", "b": LambdaNDCG(gain="linear"), "c": "ndcg"}
    assert Combined(pairs).scaled_to(Y, queries).mixing == "gains"
    pairs["b"] = LambdaNDCG(truncation_level=5)
    assert Combined(pairs).scaled_to(Y, queries).mixing == "gradients"
    with pytest.raises(ValueError, match=r"'mixing' can be 'gains' only where every goal has .* LambdaNDCG"):
        Combined(pairs, mixing="gains").scaled_to(Y, queries)


def test_every_query_draws_one_goal_and_the_mean_of_draws_is_the_mixed_gradient():
    qid, Y, weight, scores = sample(0)
    goals = Combined(THREE, weights={"a": 1.0, "b": 2.0, "c": 5.0}, mixing="labels")
    queries = Queries.from_qid(qid, len(Y))
    bound = goals.bind(Y, queries, weight)
    share, scale = np.array([1, 2, 5]) / 8, scales_of(qid, Y, weight)
    ordered = queries.sort(scores)
    single = [
        (share @ scale) / scale[at] * member.bind(Y[:, at], queries, weight).gradient_hessian(ordered)[0]
        for at, member in enumerate(goals.members())
    ]
    n_calls = 400
    drawn, total = np.zeros(3), np.zeros(len(Y))
    for _ in range(n_calls):
        gradient = bound.gradient_hessian(ordered)[0].copy()
        total += gradient
        for start, stop in zip(queries.ptr[:-1], queries.ptr[1:]):
            is_it = [np.allclose(gradient[start:stop], s[start:stop], rtol=1e-4, atol=1e-6) for s in single]
            assert any(is_it)
            drawn += is_it
    # A binomial count of 2,000 draws strays by less than five standard deviations.
    n = n_calls * queries.n_queries
    assert (np.abs(drawn - n * share) < 5 * np.sqrt(n * share * (1 - share))).all()
    expected = replace(goals, mixing="gradients")
    mean = expected.bind(Y, queries, weight).gradient_hessian(ordered)[0]
    assert np.corrcoef(total / n_calls, mean)[0, 1] > 0.99


@pytest.mark.parametrize("mixing", ["gains", "gradients", "labels"])
def test_calls_that_are_skipped_count(mixing):
    qid, Y, _, scores = sample(1)
    queries = Queries.from_qid(qid, len(Y))
    member = LambdaNDCG(ties="random") if mixing == "gains" else YetiLoss()
    goals = Combined({"a": member, "b": member, "c": member}, mixing=mixing)
    going, skipping = goals.bind(Y, queries), goals.bind(Y, queries)
    for _ in range(3):
        going.gradient_hessian(scores)
    skipping.skip_calls(3)
    for ours, theirs in zip(skipping.gradient_hessian(scores), going.gradient_hessian(scores)):
        np.testing.assert_array_equal(ours, theirs)


# ------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize("mixing", ["gains", "gradients", "labels"])
@pytest.mark.parametrize("name", [*BOOSTERS, "linear", "neural"])
def test_all_the_weight_on_one_goal_trains_as_if_it_stood_alone(name, mixing):
    X, Y, qid = TRAIN
    kind = "ndcg" if mixing == "gains" else "pairwise"
    goals = Combined({"relevance": "ndcg", "margin": kind}, weights={"relevance": 0, "margin": 3})
    together = fitted(rankers(replace(goals, mixing=mixing))[name])
    alone = rankers(kind)[name].fit(X, Y[:, 1], qid=qid)
    if name in ("linear", "neural"):
        # Rows are ordered by their labels too, which are other ones; sums of gradients then differ in their
        # last bits, and every step of the optimiser makes more of that.
        assert np.corrcoef(together.predict(X), alone.predict(X))[0, 1] > 0.9995
    else:
        np.testing.assert_allclose(together.predict(X), alone.predict(X), atol=1e-5)


@pytest.mark.parametrize("name", [*BOOSTERS, "linear", "neural"])
def test_weights_move_a_ranker_from_one_goal_to_the_other(name):
    X, Y, qid = TEST
    found = []
    for weight in (0.05, 0.5, 0.95):
        goals = Combined(NAMES, weights={"relevance": weight, "margin": 1 - weight})
        options = {"max_iter": 15, "learning_rate": 0.01} if name == "neural" else {}
        ranker = fitted(rankers(goals)[name].set_params(**options))
        found.append([ndcg(Y[:, at], ranker.predict(X), qid, k=10) for at in range(2)])
    relevance, margin = np.transpose(found)
    assert (np.diff(relevance) > 0).all()
    assert (np.diff(margin) < 0).all()


@pytest.mark.parametrize("mixing", ["gains", "gradients", "labels"])
@pytest.mark.parametrize("name", [*BOOSTERS, "linear", "neural"])
def test_neither_the_order_of_rows_nor_threads_change_the_model(name, mixing):
    X, Y, qid = make_goals(30, 1)
    X = X.copy()
    X[1::12] = X[::12]  # pairs of rows that differ in their labels alone
    Y = Y.copy()
    Y[::12] = [1, 0]
    Y[1::12] = [1, 2]
    order = np.random.default_rng(0).permutation(len(X))
    goals = Combined(NAMES, mixing=mixing)
    one = rankers(goals)[name].fit(X, Y, qid=qid)
    two = rankers(goals)[name].set_params(n_jobs=2).fit(X[order], Y[order], qid=qid[order])
    np.testing.assert_array_equal(one.predict(X), two.predict(X))


# ------------------------------------------------------------------------------------------------ measures


@pytest.mark.parametrize("name", ["native", "xgboost", "linear", "neural"])
def test_each_goal_is_measured_and_their_weighted_mean_decides(name):
    goals = Combined(NAMES, weights={"relevance": 1, "margin": 3}, metrics={"margin": "ndcg(gain=linear)@10"})
    ranker = rankers(goals, eval_metric=["ndcg@10", "map"], early_stopping_rounds=3, track_training=True)[
        name
    ]
    fitted(ranker, **VALIDATION)
    results = ranker.evals_result_["validation"]
    assert list(results) == [
        "combined",
        "relevance ndcg@10",
        "margin ndcg(gain=linear)@10",
        "relevance map",
        "margin map",
    ]
    assert list(ranker.evals_result_["training"]) == list(results)
    of_goals = [results["relevance ndcg@10"], results["margin ndcg(gain=linear)@10"]]
    np.testing.assert_allclose(results["combined"], np.average(of_goals, axis=0, weights=[1, 3]))
    best = getattr(ranker, "best_iteration_", getattr(ranker, "n_iter_", None)) - 1
    assert results["combined"][best] == ranker.best_score_ == max(results["combined"])
    X, Y, qid = HELD_OUT
    scores = ranker.predict(X)
    np.testing.assert_allclose(ranker.score(X, Y, qid=qid), ranker.best_score_, atol=1e-6)
    assert results["relevance ndcg@10"][best] == pytest.approx(ndcg(Y[:, 0], scores, qid, k=10), abs=1e-6)
    own = parse_metric("ndcg(gain=linear)@10")(Y[:, 1], scores, qid)
    assert results["margin ndcg(gain=linear)@10"][best] == pytest.approx(own, abs=1e-6)


class Cost(NDCG):
    greater_is_better = False


def test_metrics_of_goals_must_have_one_direction():
    with pytest.raises(ValueError, match="'metrics' must all get better in the same direction"):
        fitted(LambdaMART(Combined(NAMES, metrics={"margin": Cost()}), **SMALL), **VALIDATION)


def test_a_goal_without_a_relevant_document_is_named():
    X, Y, qid = HELD_OUT
    Y = Y * [1, 0]
    with pytest.raises(ValueError, match="must have a relevant document for the goal 'margin'"):
        fitted(LambdaMART(Combined(NAMES), **SMALL), X_val=X, y_val=Y, qid_val=qid)


# --------------------------------------------------------------------------------------------- constraints


def test_multipliers_follow_the_formula():
    balance = Balance(np.array([0.0, 2.0]), {0: 0.7})
    expected = 0.0
    for value in (0.5, 0.6, 0.75, 0.9, 0.69):
        balance.update({0: 0.7 - value})
        expected = min(max(expected + 20 * (0.7 - value), 0.0), 20.0)
        np.testing.assert_allclose(balance.shares, np.array([expected, 2.0]) / (2.0 + expected))
    balance.update({0: float("nan")})
    np.testing.assert_allclose(balance.shares[0], expected / (2.0 + expected))


@pytest.mark.parametrize("name", [*BOOSTERS, "neural"])
def test_a_constraint_holds_and_leaves_the_rest_to_the_other_goal(name):
    options = {"n_estimators": 80} if name in BOOSTERS else {"max_iter": 40, "learning_rate": 0.01}
    reached = {}
    for bound in (0.7, 0.8):
        goals = Combined(NAMES, constraints={"relevance": bound})
        ranker = rankers(goals, early_stopping_rounds=40)[name].set_params(**options)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # none that the constraint is not met
            fitted(ranker, **VALIDATION)
        X, Y, qid = HELD_OUT
        relevance, margin = (ndcg(Y[:, at], ranker.predict(X), qid, k=10) for at in range(2))
        assert relevance >= bound - 1e-6
        assert ranker.best_score_ == pytest.approx(margin, abs=1e-6)
        reached[bound] = margin
    # The less of the one is asked for, the more there is of the other.
    assert reached[0.7] > reached[0.8]


def test_a_constraint_that_cannot_be_met_is_said():
    goals = Combined(NAMES, constraints={"relevance": 0.999})
    with pytest.warns(
        UserWarning, match=r"'constraints' are not met .* 'relevance' has 0\.\d+ and not 0.999"
    ):
        fitted(LambdaMART(goals, **SMALL), **VALIDATION)


def test_what_cannot_hold_constraints_says_so(tmp_path):
    goals = Combined(NAMES, constraints={"relevance": 0.6})
    with pytest.raises(ValueError, match="'constraints' need held-out queries"):
        fitted(LambdaMART(goals, **SMALL, track_training=True))
    with pytest.raises(ValueError, match="'constraints' must be None with LinearRanker"):
        fitted(LinearRanker(goals), **VALIDATION)
    saving = LambdaMART(goals, **SMALL, booster_params={"checkpoint": str(tmp_path / "trees")})
    with pytest.raises(ValueError, match="must hold no checkpoint with 'constraints'"):
        fitted(saving, **VALIDATION)
    ranker = fitted(LambdaMART(goals, **SMALL, warm_start=True), **VALIDATION)
    with pytest.raises(ValueError, match="'warm_start' must be False with 'constraints'"):
        fitted(ranker.set_params(n_estimators=12), **VALIDATION)


# ------------------------------------------------------------------------------- what stands around a fit


def test_columns_of_a_frame_are_found_by_name():
    X, Y, qid = TRAIN
    goals = Combined(NAMES, weights={"relevance": 1, "margin": 3})
    expected = fitted(LambdaMART(goals, **SMALL)).predict(X)
    frame = pd.DataFrame(Y, columns=["relevance", "margin"])[["margin", "relevance"]]
    found = LambdaMART(goals, **SMALL).fit(X, frame, qid=qid)
    np.testing.assert_array_equal(found.predict(X), expected)
    assert found.score(X, frame, qid=qid) == found.score(X, Y, qid=qid)
    with pytest.raises(ValueError, match=r"'y' must have the columns 'relevance', 'margin'.* got 'margin'"):
        LambdaMART(goals, **SMALL).fit(X, frame[["margin"]], qid=qid)


@pytest.mark.parametrize("name", ["native", "linear", "neural"])
def test_files_copies_and_clones_keep_the_goals(name, tmp_path):
    goals = Combined(
        {"relevance": LambdaNDCG(gain="linear"), "margin": "pairwise"},
        weights={"relevance": 0.8, "margin": 0.2},
        metrics={"margin": "map"},
        mixing="labels",
        random_state=3,
    )
    ranker = rankers(goals)[name]
    assert clone(ranker).get_params()["objective"] == goals
    fitted(ranker).save(tmp_path / "model.lmk")
    loaded = load_ranker(tmp_path / "model.lmk")
    assert loaded.objective == goals
    X, Y, qid = TEST
    np.testing.assert_array_equal(loaded.predict(X), ranker.predict(X))
    assert loaded.score(X, Y, qid=qid) == ranker.score(X, Y, qid=qid)
    np.testing.assert_array_equal(fitted(clone(loaded)).predict(X), ranker.predict(X))


def test_a_grid_of_weights_is_searched_by_the_metric_of_a_goal():
    X, Y, qid = TRAIN
    goals = Combined(NAMES)
    grid = {"objective": [goals.with_weights((w, 1 - w)) for w in (0.1, 0.9)]}
    for goal, best in ((0, 0.9), (1, 0.1)):
        scorer = make_ranking_scorer("ndcg@10", goal=goal)
        assert repr(scorer) == f"make_ranking_scorer('ndcg@10', goal={goal})"
        with lk.query_routing():
            search = GridSearchCV(LambdaMART(goals, **SMALL), grid, cv=QueryKFold(3), scoring=scorer)
            search.fit(X, Y, qid=qid)
        assert search.best_params_["objective"].weights["relevance"] == best
    with pytest.raises(ValueError, match="'goal' must be a column of 'y', which has 0, 1; got 'price'"):
        make_ranking_scorer(goal="price")(search, X, Y, qid=qid)
    frame = pd.DataFrame(Y, columns=list(NAMES))
    assert make_ranking_scorer(goal="margin")(search, X, frame, qid=qid) == scorer(search, X, Y, qid=qid)


@pytest.mark.parametrize("name", ["native", "xgboost", "linear", "neural"])
def test_bags_measure_all_goals_outside(name):
    goals = Combined(NAMES, weights={"relevance": 0.5, "margin": 0.5})
    ranker = fitted(rankers(goals, n_bags=3, early_stopping_rounds=3)[name])
    assert list(ranker.evals_result_["bag 1"])[:2] == ["combined", "relevance ndcg@10"]
    _, Y, qid = TRAIN
    scored = ~np.isnan(ranker.oob_scores_)
    of_goals = [ndcg(Y[scored, at], ranker.oob_scores_[scored], qid[scored], k=10) for at in range(2)]
    assert ranker.oob_score_ == pytest.approx(np.mean(of_goals))
    constrained = Combined(NAMES, constraints={"relevance": 0.5})
    if name != "linear":
        fitted(rankers(constrained, n_bags=2, early_stopping_rounds=3)[name])


@pytest.mark.parametrize("mixing", ["gains", "gradients", "labels"])
def test_weighted_documents_have_the_gradient_of_their_copies(mixing):
    for seed in range(20):
        qid, Y, _, scores = sample(seed)
        weight = np.random.default_rng(seed).integers(0, 4, len(Y))
        weight[:2] = 1
        copies = np.repeat(np.arange(len(Y)), weight)
        middle = "ndcg" if mixing == "gains" else "pairwise"
        goals = Combined({"a": "ndcg", "b": middle, "c": "ndcg"}, mixing=mixing)
        scaled = goals.scaled_to(Y[copies], Queries.from_qid(qid[copies], len(copies)))
        queries = Queries.from_qid(qid, len(Y))
        of_weights = scaled.bind(Y, queries, document_weight=weight).gradient_hessian(queries.sort(scores))
        others = Queries.from_qid(qid[copies], len(copies))
        of_copies = scaled.bind(Y[copies], others).gradient_hessian(others.sort(scores[copies]))
        if mixing == "labels" and others.n_queries < queries.n_queries:
            continue  # a query without documents draws, too, so the draws of all others move
        for ours, theirs in zip(of_weights, of_copies):
            summed = np.bincount(copies, others.unsort(theirs), minlength=len(Y))
            np.testing.assert_allclose(queries.unsort(ours), summed, atol=2e-6 * max(1, np.abs(summed).max()))


def test_weights_of_documents_and_queries_reach_every_goal():
    X, Y, qid = TRAIN
    times = np.random.default_rng(0).integers(1, 4, len(X))
    goals = Combined(NAMES)
    weighted = fitted(LinearRanker(goals, max_iter=5, input_transform=None), document_weight=times)
    rows = np.repeat(np.arange(len(X)), times)
    repeated = LinearRanker(goals, max_iter=5, input_transform=None).fit(X[rows], Y[rows], qid=qid[rows])
    # The root mean square of a gradient is over rows, of which there are fewer with weights.
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=0.05, atol=0.05)
    twice = fitted(LambdaMART(goals, **SMALL), sample_weight=np.full(len(X), 2.0))
    once = fitted(LambdaMART(goals, **SMALL))
    np.testing.assert_allclose(twice.predict(X), once.predict(X), atol=1e-5)
    none = qid < 1030
    held = fitted(LambdaMART(goals, **SMALL), sample_weight=np.where(none, 0.0, 1.0))
    assert not np.allclose(held.predict(X), once.predict(X))
    mixed = Combined({"relevance": "ndcg", "margin": "map"})
    with pytest.raises(ValueError, match="'document_weight' must be None with LambdaMART"):
        fitted(LambdaMART(mixed, **SMALL), document_weight=times)


@pytest.mark.parametrize("mixing", ["gradients", "labels"])
@pytest.mark.parametrize("booster", BOOSTERS)
def test_trees_go_on_and_start_from_scores(booster, mixing):
    X = TRAIN[0]
    goals = Combined({"relevance": YetiLoss(), "margin": "ndcg"}, mixing=mixing)
    whole = fitted(LambdaMART(goals, booster=booster, **SMALL))
    part = LambdaMART(goals, booster=booster, **{**SMALL, "n_estimators": 3}, warm_start=True)
    fitted(part)
    fitted(part.set_params(n_estimators=8))
    np.testing.assert_allclose(part.predict(X), whole.predict(X), rtol=1e-5, atol=1e-5)
    started = fitted(LambdaMART(goals, booster=booster, **SMALL), init_score=X[:, 0])
    assert not np.allclose(started.predict(X, init_score=0), whole.predict(X))


def test_validation_share_holds_out_whole_queries_with_all_goals():
    goals = Combined(NAMES, constraints={"relevance": 0.5})
    ranker = LambdaMART(goals, **SMALL, validation_fraction=0.3, early_stopping_rounds=3)
    assert "margin ndcg@10" in fitted(ranker).evals_result_["validation"]


def test_signed_labels_where_the_goal_only_compares_them():
    X, Y, qid = TRAIN
    goals = Combined({"relevance": "ndcg", "margin": "pairwise"}, metrics={"margin": "kendall_tau"})
    signed = Y - [0, 1]
    ranker = LambdaMART(goals, **SMALL).fit(X, signed, qid=qid, X_val=X, y_val=signed, qid_val=qid)
    assert "margin kendall_tau" in ranker.evals_result_["validation"]
    with pytest.raises(ValueError, match="'y, goal relevance' must hold finite relevance labels >= 0"):
        LambdaMART(goals, **SMALL).fit(X, Y - [1, 0], qid=qid)


# ---------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({"relevance": "ndcg"},), "'objectives' must map the names of at least two goals"),
        ((["ndcg", "map"],), "'objectives' must map the names"),
        (({"": "ndcg", "b": "ndcg"},), "'objectives' must have names as keys; got ''"),
        (({"a": "ndgc", "b": "ndcg"},), "'objectives', goal 'a': 'objective' must be one of"),
        ((NAMES, {"relevance": 1}), "'weights' must hold a weight for every goal without a constraint; 'mar"),
        ((NAMES, {"relevance": 1, "price": 1}), "'weights' must name goals.* got 'price'"),
        ((NAMES, {"relevance": -1, "margin": 1}), "'weights' must be finite numbers >= 0; .* is -1"),
        ((NAMES, {"relevance": 0, "margin": 0}), "'weights' must hold a weight above 0"),
        ((NAMES, [1, 2]), "'weights' must map names of goals to values; got list"),
        ((NAMES, None, {"relevance": "high"}), "'constraints' must be finite numbers; .* is 'high'"),
        ((NAMES, None, {"relevance": 0.5, "margin": 0.5}), "with a constraint on every goal, give weights"),
        (
            (NAMES, None, None, None, "both"),
            "'mixing' must be one of 'gains', 'gradients', 'labels'; got 'both'",
        ),
    ],
)
def test_goals_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Combined(*arguments)


def test_constraints_on_every_goal_work_with_weights():
    goals = Combined(NAMES, {"relevance": 1, "margin": 0}, {"relevance": 0.5, "margin": 0.5})
    assert "margin ndcg@10" in fitted(LambdaMART(goals, **SMALL), **VALIDATION).evals_result_["validation"]


@pytest.mark.parametrize(
    "member", [lambda s: (s, s), ExplicitPairs([[0, 1]]), Combined({"x": "ndcg", "y": "map"})]
)
def test_members_must_go_by_labels(member):
    with pytest.raises(ValueError, match="'objectives' must go by labels; that of 'a' is"):
        fitted(LambdaMART(Combined({"a": member, "b": "ndcg"}), **SMALL))


def test_labels_must_have_a_column_for_each_goal():
    X, Y, qid = TRAIN
    goals = Combined(NAMES)
    for y in (Y[:, 0], Y[:, :1], np.column_stack([Y, Y])):
        with pytest.raises(ValueError, match="'y' must hold a column of labels for each of the 2 goals"):
            LambdaMART(goals, **SMALL).fit(X, y, qid=qid)
    with pytest.raises(ValueError, match="'y_val' must hold a column"):
        fitted(LambdaMART(goals, **SMALL), X_val=X, y_val=Y[:, 0], qid_val=qid)
    with pytest.raises(ValueError, match=r"must teach something for every goal: .* of 'margin' has no grad"):
        LambdaMART(goals, **SMALL).fit(X, Y * [1, 0], qid=qid)
    one = goals.with_weights((1, 0))
    assert LambdaMART(one, **SMALL).fit(X, Y * [1, 0], qid=qid).best_iteration_ == 8
    with pytest.raises(ValueError, match="'weights' must hold one weight for each of the 2 goals"):
        goals.with_weights((1, 2, 3))


@pytest.mark.parametrize(
    "ranker",
    [
        LambdaMART(**SMALL),
        LightGBMRanker(n_estimators=2),
        XGBoostRanker(n_estimators=2),
        LinearRanker(),
        PointwiseRanker(),
        EnsembleRanker([("a", LinearRanker()), ("b", LinearRanker("pairwise"))]),
        AutoRanker(budget="fits=2"),
    ],
    ids=lambda ranker: type(ranker).__name__,
)
def test_rankers_of_one_goal_refuse_columns(ranker):
    with pytest.raises(ValueError, match=r"must be one-dimensional.*needs the objective Combined"):
        fitted(ranker)


def test_what_has_no_columns_of_labels_refuses_goals(tmp_path):
    X, Y, qid = TRAIN
    ranker = LambdaMART(Combined(NAMES), **SMALL)
    with pytest.raises(ValueError, match="'position' must be None with the objective Combined"):
        fitted(ranker, position=np.tile(np.arange(1, 13), 60))
    with pytest.raises(ValueError, match="'objective' must have one goal to fit files"):
        ranker.fit_files(tmp_path)
    rows = [da.from_array(values, chunks=(len(X), *values.shape[1:])) for values in (X, Y[:, 0], qid)]
    with pytest.raises(ValueError, match="'objective' must have one goal on a cluster"):
        DaskLambdaMART(Combined(NAMES), n_estimators=2).fit(rows[0], rows[1], qid=rows[2])


def test_amounts_are_named_with_their_goal():
    X, Y, qid = TRAIN
    amounts = Y * [1, 100]
    with pytest.warns(UserWarning, match="gain of goal 'margin', objective LambdaNDCG"):
        LambdaMART(Combined(NAMES), **SMALL).fit(X, amounts, qid=qid)
    linear = Combined({"relevance": "ndcg", "margin": LambdaNDCG(gain="linear")})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LambdaMART(linear, **SMALL).fit(X, amounts, qid=qid)


def test_any_objectives_mix():
    goals = Combined({"a": ListNet(), "b": RankNet(), "c": "err"})
    X, Y, qid = TRAIN
    three = np.column_stack([Y, Y[:, 0] > 1])
    ranker = LambdaMART(goals, **SMALL).fit(X, three, qid=qid)
    assert ranker.score(X, three, qid=qid) > 0.6


class HalfPairs(RankNet):
    """An objective of a user's own, which no file can hold."""


def test_a_goal_with_an_objective_of_ones_own_is_saved_without_it(tmp_path):
    ranker = fitted(LambdaMART(Combined({"relevance": "ndcg", "margin": HalfPairs()}), **SMALL))
    ranker.save(tmp_path / "model.lmk")
    loaded = load_ranker(tmp_path / "model.lmk")
    X, Y, qid = TEST
    np.testing.assert_array_equal(loaded.predict(X), ranker.predict(X))
    assert loaded.score(X, Y, qid=qid) == ranker.score(X, Y, qid=qid)
    with pytest.raises(ValueError, match=r"'objectives' must go by labels; that of 'margin' is <.*saved>"):
        fitted(loaded)
