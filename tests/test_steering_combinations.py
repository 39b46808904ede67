"""Everything that steers a fit, in all combinations, against a slow reference in NumPy.

The reference takes the trees of the fitted model one by one. It computes the gradient of the pairs at the
starting scores plus all trees before, with weights and the draws of bags, and from that what each leaf must
hold. It computes every measure of every round on every set, and from these the round that must be the last,
and the one that must be the best.
"""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from lambdamart_kit import LambdaMART
from lambdamart_kit.core.ordered_rows import order_rows
from lambdamart_kit.metrics import make_metric
from lambdamart_kit.objectives import RankNet
from lambdamart_kit.rankers.bags.drawing import draw_bags
from lambdamart_kit.runtime.randomness import make_rng

RATE = 0.3
TREES = 6
TOP = make_metric("top", lambda labels, scores: float(labels[0] > 0))
SCENARIOS = st.fixed_dictionaries(
    {
        "booster": st.sampled_from(["native", "lightgbm"]),
        "seed": st.integers(0, 9),
        "start": st.booleans(),
        "weights": st.booleans(),
        "n_sets": st.integers(0, 2),
        "metrics": st.sampled_from([["ndcg@3"], ["ndcg@3", TOP], [TOP, "ndcg@3"]]),
        "patience": st.sampled_from([None, 1, 2]),
        "min_delta": st.sampled_from([0.0, 0.02]),
        "n_bags": st.sampled_from([1, 1, 3]),
        "warm": st.booleans(),
        "track_training": st.booleans(),
        "stop_at": st.sampled_from([None, 3, 5]),
    }
)


class Rows:
    """Rows of whole queries, five documents each."""

    def __init__(self, rng, n_queries, scenario):
        self.qid = np.repeat(np.arange(n_queries), 5)
        self.X = rng.integers(0, 4, size=(len(self.qid), 3)).astype(np.float32)
        self.y = rng.integers(0, 3, size=len(self.qid))
        self.y[::5], self.y[1::5] = 0, 2  # every query has something to say
        self.start = rng.normal(size=len(self.qid)) if scenario["start"] else None
        self.weight = rng.integers(1, 4, size=n_queries)[self.qid] if scenario["weights"] else None

    def weights(self):
        return np.ones(len(self.qid)) if self.weight is None else self.weight.astype(float)

    def starts(self):
        return np.zeros(len(self.qid)) if self.start is None else self.start


def ndcg_at_3(y, scores):
    """Documents of equal scores share the gains of their block."""
    gain = 2.0**y - 1
    order = np.argsort(-scores, kind="stable")
    shared = [gain[scores == scores[row]].mean() for row in order]
    discount = 1 / np.log2(np.arange(2, len(y) + 2))
    discount[3:] = 0
    return (shared * discount).sum() / (np.sort(gain)[::-1] * discount).sum()


def top(y, scores):
    return float(y[scores == scores.max()].min() > 0)


def measure(metric, rows, scores, times):
    """Weighted mean over the queries that count `times`."""
    function = ndcg_at_3 if metric == "ndcg@3" else top
    values, weights = [], []
    for q in np.flatnonzero(times > 0):
        of_query = rows.qid == q
        values.append(function(rows.y[of_query], scores[of_query]))
        weights.append(times[q] * rows.weights()[of_query][0])
    return np.average(values, weights=weights)


def gradient_hessian(rows, scores, times):
    """Of the loss of all pairs; a query that was drawn m times counts m times."""
    gradient, hessian = np.zeros(len(scores)), np.zeros(len(scores))
    for high in range(len(scores)):
        for low in range(len(scores)):
            if rows.qid[high] != rows.qid[low] or rows.y[high] <= rows.y[low]:
                continue
            weight = times[rows.qid[high]] * rows.weights()[high]
            p = 1 / (1 + np.exp(scores[high] - scores[low]))
            gradient[high] -= weight * p
            gradient[low] += weight * p
            hessian[[high, low]] += weight * p * (1 - p)
    return gradient, hessian


def check_leaves(model, tree, rows, scores, times, factor):
    """Every leaf holds minus the rate times its gradient over its hessian."""
    gradient, hessian = gradient_hessian(rows, scores, times)
    leaves = model.leaf_indices(rows.X)[:, tree]
    outputs = factor * model.predict(rows.X, iteration_range=(tree, tree + 1))
    for leaf in np.unique(leaves):
        inside = leaves == leaf
        if hessian[inside].sum() > 0.01 and len(np.unique(leaves)) > 1:
            expected = -RATE * gradient[inside].sum() / hessian[inside].sum()
            np.testing.assert_allclose(outputs[inside], expected, rtol=1e-3, atol=1e-3)


def check_run(ranker, scenario, first, kept, rows, sets, times, results, n_before):
    """The trees of one bag, and what was measured after each of them."""
    factor = scenario["n_bags"]
    totals = {name: part.starts().copy() for name, (part, _) in sets.items()}
    scores = rows.starts().copy()
    for round_number in range(kept):
        tree = first + round_number
        check_leaves(ranker.model_, tree, rows, scores, times, factor)
        bounds = {"iteration_range": (tree, tree + 1)}
        scores += factor * ranker.model_.predict(rows.X, **bounds)
        for name, (part, counts) in sets.items():
            totals[name] += factor * ranker.model_.predict(part.X, **bounds)
            for metric, values in results[name].items():
                expected = measure(metric, part, totals[name], counts)
                np.testing.assert_allclose(values[round_number], expected, atol=1e-6)
    check_rounds(scenario, sets, results, kept, n_before)


def check_rounds(scenario, sets, results, kept, n_before):
    """Where training stopped, and which round is the best, by the first metric on the first set."""
    deciding = None
    if sets:
        deciding = next(iter(next(iter(results.values())).values()))[n_before:]
    best, best_round, done = -np.inf, 0, 0
    for number in range(1, TREES - n_before + 1):
        done = number
        if deciding is not None and deciding[number - 1] > best + max(scenario["min_delta"], 1e-12):
            best, best_round = deciding[number - 1], number
        if scenario["patience"] is not None and number - best_round >= scenario["patience"]:
            break
        if scenario["stop_at"] == n_before + number:
            break
    if deciding is not None:
        assert len(deciding) == done
    assert kept == n_before + (done if scenario["patience"] is None else best_round)


def fit(scenario, train, sets):
    """A fitted ranker, in two steps with `warm`."""
    rounds = []
    steps = {
        "early_stopping_rounds": scenario["patience"],
        "callbacks": [lambda event: rounds.append(event.round) or event.round == scenario["stop_at"]],
    }
    ranker = LambdaMART(
        RankNet(normalize=False),
        booster=scenario["booster"],
        n_estimators=TREES,
        learning_rate=RATE,
        num_leaves=4,
        min_child_samples=1,
        min_child_weight=0.0,
        eval_metric=scenario["metrics"],
        min_delta=scenario["min_delta"],
        n_bags=scenario["n_bags"],
        track_training=scenario["track_training"],
        random_state=scenario["seed"],
        n_jobs=1,
    )
    given_rows = {"qid": train.qid, "sample_weight": train.weight, "init_score": train.start}
    if sets:
        given_rows |= {
            "X_val": [part.X for part in sets],
            "y_val": [part.y for part in sets],
            "qid_val": [part.qid + 1000 for part in sets],
            "sample_weight_val": [part.weight for part in sets],
            "init_score_val": [part.start for part in sets] if scenario["start"] else None,
        }
    n_before = 0
    if scenario["warm"]:
        n_before = 2
        ranker.set_params(warm_start=True, n_estimators=n_before).fit(train.X, train.y, **given_rows)
    ranker.set_params(n_estimators=TREES, **steps).fit(train.X, train.y, **given_rows)
    assert rounds[0] == n_before + 1
    return ranker, n_before


def drawn(scenario, train):
    """How often each bag has each query."""
    if scenario["n_bags"] == 1:
        return [np.ones(train.qid.max() + 1)]
    rows = order_rows(train.X, train.y, train.qid, train.weight)
    outside = scenario["patience"] is not None and scenario["n_sets"] == 0
    rng = make_rng(scenario["seed"])
    return [bag.times for bag in draw_bags(rows, scenario["n_bags"], rng, stops_outside=outside)]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SCENARIOS)
def test_any_combination_is_the_slow_reference(scenario):
    if scenario["n_bags"] > 1:
        scenario["warm"] = False
    elif scenario["n_sets"] == 0:
        scenario["patience"] = None
    rng = np.random.default_rng(scenario["seed"])
    train = Rows(rng, 8, scenario)
    held_out = [Rows(rng, 4, scenario) for _ in range(scenario["n_sets"])]
    ranker, n_before = fit(scenario, train, held_out)
    every = np.ones(4)
    first = 0
    for number, times in enumerate(drawn(scenario, train)):
        names = ["validation", "validation 2"]
        sets = {name: (part, every) for name, part in zip(names, held_out)}
        if not sets and scenario["patience"] is not None:
            sets["validation"] = (train, (times == 0).astype(float))
        if scenario["track_training"]:
            sets["training"] = (train, times)
        results = ranker.evals_result_
        kept = ranker.best_iteration_
        if scenario["n_bags"] > 1:
            keys = {name: f"bag {number}" + (f" {name}" if len(sets) > 1 else "") for name in sets}
            results = {name: results[key] for name, key in keys.items()}
            kept = ranker.bag_iterations_[number]
        assert list(results) == list(sets)
        check_run(ranker, scenario, first, kept, train, sets, times, results, n_before)
        first += kept
    assert first == ranker.best_iteration_
    order = rng.permutation(len(train.y))
    assert clone(ranker).get_params()["min_delta"] == scenario["min_delta"]
    shown = ranker.predict(train.X[order], init_score=None if train.start is None else train.start[order])
    total = train.starts() + ranker.model_.predict(train.X)
    np.testing.assert_allclose(shown, total[order], atol=1e-9)
