"""Everything that steers a fit, in all combinations, against a slow reference in NumPy: no trees.

The references are written from the formulas of the rankers' documentation: Newton steps of a linear function
and Adam's steps of a small network, on the gradient of the pairs at the starting scores plus those of the
model, with weights and the draws of bags. What is measured after each round, and which round must be the last
and the best, is checked as for trees.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
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

from lambdamart_kit import LinearRanker, NeuralRanker
from lambdamart_kit.objectives import RankNet

LAMBDA = 0.05
RATE = 0.05
RANKERS = {
    "linear": LinearRanker(RankNet(normalize=False), reg_lambda=LAMBDA, tol=0.0),
    "neural": NeuralRanker(
        RankNet(normalize=False),
        hidden_layer_sizes=(3,),
        activation="tanh",
        reg_lambda=LAMBDA,
        learning_rate=RATE,
        batch_size=100,
    ),
}


def query_weights(rows, times):
    return times * rows.weights()[::5]


class SlowLinear:
    """Newton steps on the mean loss of a query plus the penalty."""

    def __init__(self, rows, times):
        self.rows = rows
        self.times = times
        self.spread = rows.X.std(axis=0)
        self.X = (rows.X - rows.X.mean(axis=0)) / self.spread
        self.w = np.zeros(rows.X.shape[1])
        self.total = query_weights(rows, times).sum()

    def gradient(self, w):
        gradient, hessian = gradient_hessian(self.rows, self.rows.starts() + self.X @ w, self.times)
        return self.X.T @ gradient / self.total + LAMBDA * w, hessian / self.total

    def step(self):
        slope, hessian = self.gradient(self.w)
        matrix = LAMBDA * np.eye(len(self.w))
        for q in np.unique(self.rows.qid):
            of_query = self.rows.qid == q
            h, X = hessian[of_query], self.X[of_query]
            if h.sum() > 0:
                centred = X - h @ X / h.sum()
                matrix += (h[:, None] * centred).T @ centred
        direction = np.linalg.solve(matrix, -slope)
        share = 1.0
        # Shortened where the slope along the step has changed sign by more than a half.
        while share >= 1e-3:
            ahead = direction @ self.gradient(self.w + share * direction)[0]
            if ahead <= -0.5 * (direction @ slope):
                break
            share *= max(0.1, direction @ slope / (direction @ slope - ahead))
        self.w = self.w + share * direction

    def scores(self, X):
        return X / self.spread @ self.w


class SlowNetwork:
    """Adam's steps of a network with one layer of tanh, all queries at once."""

    def __init__(self, rows, times, first):
        self.rows = rows
        self.times = times
        self.mean = rows.X.mean(axis=0)
        self.spread = rows.X.std(axis=0)
        (self.weights, self.outputs), (self.biases, self.shift) = first
        self.parts = [np.array(part, dtype=float) for part in (*first[0], *first[1])]
        self.moments = [(np.zeros_like(part), np.zeros_like(part)) for part in self.parts]
        self.n_steps = 0

    def hidden(self, X):
        return np.tanh((X - self.mean) / self.spread @ self.parts[0] + self.parts[2])

    def scores(self, X):
        return (self.hidden(X) @ self.parts[1] + self.parts[3]).ravel()

    def step(self):
        X = (self.rows.X - self.mean) / self.spread
        hidden = self.hidden(self.rows.X)
        scores = self.rows.starts() + self.scores(self.rows.X)
        force = gradient_hessian(self.rows, scores, self.times)[0]
        force = force[:, None] / query_weights(self.rows, self.times).sum()
        below = force @ self.parts[1].T * (1 - hidden**2)
        slopes = [
            X.T @ below + LAMBDA * self.parts[0],
            hidden.T @ force + LAMBDA * self.parts[1],
            below.sum(axis=0),
            force.sum(axis=0),
        ]
        self.n_steps += 1
        rate = RATE * np.sqrt(1 - 0.999**self.n_steps) / (1 - 0.9**self.n_steps)
        for part, slope, (first, second) in zip(self.parts, slopes, self.moments):
            first += 0.1 * (slope - first)
            second += 0.001 * (slope**2 - second)
            part -= rate * first / (np.sqrt(second) + 1e-8)


def first_weights(ranker, train, passed):
    """The network of each bag before its first step: a rate of nearly nothing leaves it as it is."""
    still = {"learning_rate": 1e-30, "max_iter": 1, "early_stopping_rounds": None, "callbacks": None}
    fitted = NeuralRanker(**{**ranker.get_params(), **still}).fit(train.X, train.y, **passed)
    return fitted.bag_networks_ or [(fitted.coefs_, fitted.intercepts_)]


def centred(scores):
    """No order of documents depends on a shift of all scores, so that the shift is nobody's business."""
    return scores - scores.mean()


@pytest.mark.parametrize("name", RANKERS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.fixed_dictionaries(STEERING))
def test_any_combination_is_the_slow_reference(name, scenario):
    if scenario["n_bags"] == 1 and scenario["n_sets"] == 0:
        scenario["patience"] = None
    rng = np.random.default_rng(scenario["seed"])
    train = Rows(rng, 8, scenario)
    held_out = [Rows(rng, 4, scenario) for _ in range(scenario["n_sets"])]
    for part in (train, *held_out):
        part.X = rng.normal(size=part.X.shape).astype(np.float32)
    rounds = {}

    def watch(event):
        rounds.setdefault(event.bag or 0, []).append(event.model)
        return event.round == scenario["stop_at"]

    ranker = type(RANKERS[name])(
        **{
            **RANKERS[name].get_params(deep=False),
            "max_iter": ROUNDS,
            "eval_metric": scenario["metrics"],
            "min_delta": scenario["min_delta"],
            "n_bags": scenario["n_bags"],
            "track_training": scenario["track_training"],
            "early_stopping_rounds": scenario["patience"],
            "callbacks": [watch],
            "random_state": scenario["seed"],
            "n_jobs": 1,
        }
    )
    passed = given_rows(scenario, train, held_out)
    ranker.fit(train.X, train.y, **passed)
    networks = first_weights(ranker, train, passed) if name == "neural" else None
    mean = np.zeros(len(train.y))
    for number, times in enumerate(drawn(scenario, train)):
        slow = SlowLinear(train, times) if networks is None else SlowNetwork(train, times, networks[number])
        sets = measured_sets(scenario, train, held_out, times)
        results = results_of_bag(scenario, ranker, number, sets)
        kept = ranker.n_iter_ if scenario["n_bags"] == 1 else ranker.bag_iterations_[number]
        assert list(results) == list(sets)
        check_rounds(scenario, sets, results, kept, 0)
        for at, model in enumerate(rounds[number]):
            slow.step()
            alone = model.predict(train.X, **({} if train.start is None else {"init_score": 0}))
            np.testing.assert_allclose(centred(alone), centred(slow.scores(train.X)), rtol=2e-3, atol=2e-3)
            if at + 1 == kept:
                mean += alone / scenario["n_bags"]
            for of_set, (part, counts) in sets.items():
                start = {} if part.start is None else {"init_score": part.start}
                for metric, values in results[of_set].items():
                    expected = measure(metric, part, model.predict(part.X, **start), counts)
                    np.testing.assert_allclose(values[at], expected, atol=1e-6)
    shown = ranker.predict(train.X, init_score=train.start)
    np.testing.assert_allclose(shown, train.starts() + mean, atol=1e-5)
