"""How many impressions tell two rankers apart: interleaving against an A/B test, on simulated users.

Run as ``python benchmarks/interleaving.py``; ``--quick`` takes seconds. Rankers are true labels plus noise,
so which one is better is known. For each way to compare, a long experiment gives the effect of one
impression; from it follow the impressions that find the better ranker at p < .05 in 80 of 100 experiments.
Shorter experiments, cut from the long one, check that number.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from importlib.metadata import version

import numpy as np
from scipy.stats import norm

from lambdamart_kit.datasets import Cascade, DynamicBayesian, PositionBased, make_letor
from lambdamart_kit.explore.interleaving import (
    INTERLEAVINGS,
    ab_impressions_needed,
    impressions_needed,
    mean_test,
    sign_test,
    simulate_ab,
    simulate_interleaving,
)
from lambdamart_kit.metrics import ndcg

USERS = {"position": PositionBased(), "cascade": Cascade(), "dynamic Bayesian": DynamicBayesian()}
# The better ranker is the labels plus noise of standard deviation 1. The worse one is another such ranker
# with more noise, or the better one with noise added to its scores: a change to a ranker in production.
PAIRS = {
    "another ranker, noise 2": ("apart", 2.0),
    "another ranker, noise 1.25": ("apart", 1.25),
    "a change, noise 1": ("change", 1.0),
    "a change, noise 0.5": ("change", 0.5),
    "a change, noise 0.25": ("change", 0.25),
}


def rankers(n_queries: int, kind: str, deviation: float):
    """A data set, and the scores of the better ranker and of the worse one."""
    data = make_letor(n_queries=n_queries, random_state=0)
    rng = np.random.default_rng(0)
    better = data.y + rng.normal(size=len(data.y))
    worse = (data.y if kind == "apart" else better) + rng.normal(scale=deviation, size=len(data.y))
    return data, [better, worse]


def metrics_of(clicked: np.ndarray) -> dict[str, np.ndarray]:
    """What A/B tests count, by impression."""
    any_click = clicked.any(axis=1)
    first = np.where(any_click, 1.0 / (1.0 + clicked.argmax(axis=1)), 0.0)
    return {
        "clicks": clicked.sum(axis=1).astype(float),
        "any click": any_click.astype(float),
        "reciprocal rank of the first click": first,
    }


def ab_needed(ranker: np.ndarray, clicked: np.ndarray) -> dict[str, int]:
    """How many impressions each A/B metric needs to find the better ranker, where it can be told."""
    needed = {}
    for name, values in metrics_of(clicked).items():
        parts = [values[ranker == r] for r in (0, 1)]
        means = (float(parts[0].mean()), float(parts[1].mean()))
        error = np.sqrt(sum(part.var() / len(part) for part in parts))
        # An effect within the error of the long experiment says nothing about its size.
        if means[0] - means[1] > 3 * error:
            needed[name] = ab_impressions_needed(means, (float(parts[0].std()), float(parts[1].std())))
    return needed


def interleaved_needed(credits: np.ndarray, method: str) -> int:
    """Impressions for the test of the method, or 0 if the long experiment does not find the better ranker."""
    if method == "optimised":
        found = mean_test(credits)
        if found.mean < 3 * found.standard_error:
            return 0
        deviation = found.standard_error * np.sqrt(len(credits))
        return int(np.ceil((sum(norm.ppf([0.975, 0.8])) * deviation / found.mean) ** 2))
    found = sign_test(credits)
    if found.low <= 0.5:
        return 0
    return impressions_needed(found.share, decided=1 - found.ties / len(credits))


def power(credits: np.ndarray, method: str, n: int) -> float:
    """Share of experiments of n impressions, cut from the long one, that find the better ranker."""
    found = []
    for part in np.split(credits, np.arange(n, len(credits), n))[: len(credits) // n]:
        test = mean_test(part) if method == "optimised" else sign_test(part)
        better = test.mean > 0 if method == "optimised" else test.wins > test.losses
        found.append(better and test.p_value < 0.05)
    return float(np.mean(found))


def shown(n: int) -> str:
    return f"{n:,}" if n else "not found"


def compare(n_queries: int, n_impressions: int, n_ab: int) -> None:
    print(
        "| worse ranker | NDCG@10 | users | method | impressions | power there | A/B by clicks | times "
        "| A/B, best of three metrics | times |"
    )
    print("|---" * 10 + "|")
    for pair, (kind, deviation) in PAIRS.items():
        data, scores = rankers(n_queries, kind, deviation)
        quality = " and ".join(f"{ndcg(data.y, s, data.qid, k=10):.3f}" for s in scores)
        for users, model in USERS.items():
            log = simulate_ab(data, scores, model=model, n_impressions=n_ab, random_state=1)
            needed = ab_needed(*log)
            by_clicks = needed.get("clicks", 0)
            metric, best = min(needed.items(), key=lambda item: item[1], default=("none", 0))
            for method in INTERLEAVINGS:
                credits = simulate_interleaving(
                    data, scores, method=method, model=model, n_impressions=n_impressions, random_state=2
                )
                n = interleaved_needed(credits, method)
                there = f"{power(credits, method, n):.2f}" if n and n * 20 <= n_impressions else ""
                times = [f"{other / n:.1f}" if n and other else "" for other in (by_clicks, best)]
                print(
                    f"| {pair} | {quality} | {users} | {method} | {shown(n)} | {there} "
                    f"| {shown(by_clicks)} | {times[0]} | {shown(best)} ({metric}) | {times[1]} |",
                    flush=True,
                )


def null_rate(n_queries: int, n_experiments: int, n: int) -> None:
    """How often two rankers of equal quality are told apart, at 5 %."""
    print("\n| method | users | told apart at 5 % (two equally good rankers) |\n|---|---|---|")
    data = make_letor(n_queries=n_queries, random_state=0)
    for method in INTERLEAVINGS:
        for users, model in USERS.items():
            found = 0
            for seed in range(n_experiments):
                rng = np.random.default_rng(seed)
                # All of the documents are equally relevant: users click by position alone.
                blank = type(data)(data.X, np.zeros_like(data.y), data.qid)
                scores = [rng.normal(size=len(data.y)) for _ in range(2)]
                credits = simulate_interleaving(
                    blank, scores, method=method, model=model, n_impressions=n, random_state=seed
                )
                test = mean_test(credits) if method == "optimised" else sign_test(credits)
                found += test.p_value < 0.05
            print(f"| {method} | {users} | {found} of {n_experiments} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    print(
        f"{datetime.date.today()}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"lambdamart-kit {version('lambdamart-kit')}, numpy {np.__version__}\n"
    )
    if options.quick:
        compare(10, 2000, 5000)
        null_rate(5, 3, 200)
    else:
        compare(100, 200_000, 3_000_000)
        null_rate(20, 100, 500)


if __name__ == "__main__":
    main()
