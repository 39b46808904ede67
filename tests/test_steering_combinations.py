"""Everything that steers a fit, in all combinations, against a slow reference in NumPy: trees.

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
from steering_reference import (
    ROUNDS,
    STEERING,
    Rows,
    check_rounds,
    drawn,
    given_rows,
    gradient_hessian,
    measure,
    measured_sets,
    results_of_bag,
)

from lambdamart_kit import LambdaMART
from lambdamart_kit.objectives import RankNet

RATE = 0.3
SCENARIOS = st.fixed_dictionaries(
    {**STEERING, "booster": st.sampled_from(["native", "lightgbm", "xgboost"]), "warm": st.booleans()}
)


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


def check_measure(value, metric, part, scores, counts):
    """Two leaves of one value may differ by a last bit while LightGBM trains, and break a tie either way."""
    expected = measure(metric, part, scores, counts)
    if not np.isclose(value, expected, atol=1e-6):
        worst, best = (measure(metric, part, scores + tilt * part.y, counts) for tilt in (-1e-9, 1e-9))
        assert worst - 1e-6 <= value <= best + 1e-6
        assert worst < best, "there is no tie"


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
                check_measure(values[round_number], metric, part, totals[name], counts)
    check_rounds(scenario, sets, results, kept, n_before)


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
        n_estimators=ROUNDS,
        learning_rate=RATE,
        num_leaves=4,
        min_child_samples=None if scenario["booster"] == "xgboost" else 1,
        min_child_weight=0.0,
        eval_metric=scenario["metrics"],
        min_delta=scenario["min_delta"],
        n_bags=scenario["n_bags"],
        track_training=scenario["track_training"],
        random_state=scenario["seed"],
        n_jobs=1,
    )
    passed = given_rows(scenario, train, sets)
    n_before = 0
    if scenario["warm"]:
        n_before = 2
        ranker.set_params(warm_start=True, n_estimators=n_before).fit(train.X, train.y, **passed)
    ranker.set_params(n_estimators=ROUNDS, **steps).fit(train.X, train.y, **passed)
    assert rounds[0] == n_before + 1
    return ranker, n_before


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
    first = 0
    for number, times in enumerate(drawn(scenario, train)):
        sets = measured_sets(scenario, train, held_out, times)
        results = results_of_bag(scenario, ranker, number, sets)
        kept = ranker.best_iteration_ if scenario["n_bags"] == 1 else ranker.bag_iterations_[number]
        assert list(results) == list(sets)
        check_run(ranker, scenario, first, kept, train, sets, times, results, n_before)
        first += kept
    assert first == ranker.best_iteration_
    order = rng.permutation(len(train.y))
    assert clone(ranker).get_params()["min_delta"] == scenario["min_delta"]
    shown = ranker.predict(train.X[order], init_score=None if train.start is None else train.start[order])
    total = train.starts() + ranker.model_.predict(train.X)
    np.testing.assert_allclose(shown, total[order], atol=1e-9)
