"""A slow reference of everything that steers a fit, in NumPy and loops over pairs."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from lambdamart_kit.core.ordered_rows import order_rows
from lambdamart_kit.metrics import make_metric
from lambdamart_kit.rankers.bags.drawing import draw_bags
from lambdamart_kit.runtime.randomness import make_rng

ROUNDS = 6
TOP = make_metric("top", lambda labels, scores: float(labels[0] > 0))
STEERING = {
    "seed": st.integers(0, 9),
    "start": st.booleans(),
    "weights": st.booleans(),
    "n_sets": st.integers(0, 2),
    "metrics": st.sampled_from([["ndcg@3"], ["ndcg@3", TOP], [TOP, "ndcg@3"]]),
    "patience": st.sampled_from([None, 1, 2]),
    "min_delta": st.sampled_from([0.0, 0.02]),
    "n_bags": st.sampled_from([1, 1, 3]),
    "track_training": st.booleans(),
    "stop_at": st.sampled_from([None, 3, 5]),
}


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


def check_rounds(scenario, sets, results, kept, n_before):
    """Where training stopped, and which round is the best, by the first metric on the first set."""
    deciding = None
    if sets:
        deciding = next(iter(next(iter(results.values())).values()))[n_before:]
    best, best_round, done = -np.inf, 0, 0
    for number in range(1, ROUNDS - n_before + 1):
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


def given_rows(scenario, train, sets):
    """Arguments of `fit` beside the features and labels."""
    given = {"qid": train.qid, "sample_weight": train.weight, "init_score": train.start}
    if not sets:
        return given
    return given | {
        "X_val": [part.X for part in sets],
        "y_val": [part.y for part in sets],
        "qid_val": [part.qid + 1000 for part in sets],
        "sample_weight_val": [part.weight for part in sets],
        "init_score_val": [part.start for part in sets] if scenario["start"] else None,
    }


def measured_sets(scenario, train, held_out, times):
    """What is measured in a bag, by name: rows, and how often each of their queries counts."""
    sets = {name: (part, np.ones(4)) for name, part in zip(["validation", "validation 2"], held_out)}
    if not sets and scenario["patience"] is not None:
        sets["validation"] = (train, (times == 0).astype(float))
    if scenario["track_training"]:
        sets["training"] = (train, times)
    return sets


def results_of_bag(scenario, ranker, number, sets):
    """Measures of all rounds by set and metric, for a bag; for the only one with ``n_bags=1``."""
    if scenario["n_bags"] == 1:
        return ranker.evals_result_
    keys = {name: f"bag {number}" + (f" {name}" if len(sets) > 1 else "") for name in sets}
    return {name: ranker.evals_result_[key] for name, key in keys.items()}


def drawn(scenario, train):
    """How often each bag has each query."""
    if scenario["n_bags"] == 1:
        return [np.ones(train.qid.max() + 1)]
    rows = order_rows(train.X, train.y, train.qid, train.weight)
    outside = scenario["patience"] is not None and scenario["n_sets"] == 0
    rng = make_rng(scenario["seed"])
    return [bag.times for bag in draw_bags(rows, scenario["n_bags"], rng, stops_outside=outside)]
