"""One gradient against LightGBM's and XGBoost's own, on about 229,000 rows in 2,000 queries.

A library's gradient is not callable by itself, so it is timed inside training: stumps on one feature, once
with the ranking objective and once with squared error on the same data; the difference an iteration is what
the ranking gradient costs. All start from random scores, so that no query is one block of ties. Ours is
timed on a cycle of random scores, so that no branch is learned by heart. Every repetition runs all
contestants one after another; the tables show medians and the median of the ratios.

    python benchmarks/gradient.py             # about three minutes
    python benchmarks/gradient.py --quick     # a tenth of the queries, one repetition
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import itertools
import os
import platform
import statistics
import time

import lightgbm
import numpy as np
import xgboost

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.objectives import OBJECTIVES, LambdaNDCG
from pairing import orders

THREADS = len(os.sched_getaffinity(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the queries, one repetition")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--objectives", action="store_true", help="leave out the libraries")
    options = parser.parse_args()
    n_queries, repeats, rounds = (200, 1, 10) if options.quick else (2_000, options.repeats, 30)
    packages = ("numpy", "numba", "lightgbm", "xgboost")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    print(f"{datetime.date.today()}, {THREADS} threads, python {platform.python_version()}, {versions}\n")
    data = make_letor(n_queries, mean_documents=114.5, random_state=0)
    scores = np.random.default_rng(0).normal(size=(8, len(data.y))).astype(np.float32)
    pairs = np.square(np.unique(data.qid, return_counts=True)[1].astype(float)).sum() / 2
    print(
        f"{len(data.y):,} rows, {n_queries:,} queries, {pairs / 1e6:.1f} million pairs, median of {repeats}\n"
    )
    if not options.objectives:
        against_libraries(data, scores, repeats, rounds)
    for ties, tied in score_sets(scores).items():
        every_objective(data, tied, repeats, ties)


def against_libraries(data, scores, repeats: int, rounds: int) -> None:
    queries = Queries.from_qid(data.qid, len(data.y))
    print("| truncation | ours, ms | LightGBM, ms | XGBoost, ms | LightGBM / ours | XGBoost / ours |")
    print("|---|---|---|---|---|---|")
    longest = int(queries.sizes.max())
    for truncation in (10, 30, None):
        runs = in_turns(data, queries, scores, truncation or longest, rounds, repeats)
        ours, lgb, xgb = (statistics.median(column) for column in zip(*runs))
        lgb_ratio, xgb_ratio = (statistics.median(run[at] / run[0] for run in runs) for at in (1, 2))
        print(
            f"| {truncation or 'all'} | {ours * 1e3:.2f} | {lgb * 1e3:.1f} | {xgb * 1e3:.1f} "
            f"| {lgb_ratio:.1f} | {xgb_ratio:.1f} |",
            flush=True,
        )


def in_turns(
    data, queries: Queries, scores, truncation: int, rounds: int, repeats: int
) -> list[tuple[float, float, float]]:
    """Seconds of a gradient in each turn: ours, LightGBM's, XGBoost's."""
    bound = LambdaNDCG(truncation_level=truncation).bind(data.y, queries, n_threads=THREADS)
    calls = {
        "ours": lambda: our_seconds(bound, scores),
        "lightgbm": lambda: lightgbm_seconds(data, scores[0], truncation, rounds),
        "xgboost": lambda: xgboost_seconds(data, scores[0], truncation, rounds),
    }
    runs = []
    for order in orders(list(calls), repeats):
        spent = {name: calls[name]() for name in order}
        runs.append((spent["ours"], spent["lightgbm"], spent["xgboost"]))
    return runs


def our_seconds(bound, scores, calls: int = 24) -> float:
    bound.gradient_hessian(scores[0])
    spent = []
    for s in itertools.islice(itertools.cycle(scores), calls):
        start = time.perf_counter()
        bound.gradient_hessian(s)
        spent.append(time.perf_counter() - start)
    return statistics.median(spent)


def lightgbm_seconds(data, scores, truncation: int, rounds: int) -> float:
    def per_round(objective: str) -> float:
        parameters = {
            "objective": objective,
            "lambdarank_truncation_level": truncation,
            "num_leaves": 2,
            "num_threads": THREADS,
            "verbose": -1,
            "boost_from_average": False,
            "learning_rate": 1e-3,
        }
        sizes = np.unique(data.qid, return_counts=True)[1]
        train = lightgbm.Dataset(data.X[:, :1], data.y, group=sizes, init_score=scores, params=parameters)
        booster = lightgbm.Booster(parameters, train)
        return median_round(booster.update, rounds)

    return per_round("lambdarank") - per_round("regression")


def xgboost_seconds(data, scores, truncation: int, rounds: int) -> float:
    def per_round(objective: str) -> float:
        parameters = {
            "objective": objective,
            "max_depth": 1,
            "nthread": THREADS,
            "eta": 1e-3,
            "tree_method": "hist",
        }
        if objective.startswith("rank"):
            parameters |= {"lambdarank_pair_method": "topk", "lambdarank_num_pair_per_sample": truncation}
        train = xgboost.DMatrix(data.X[:, :1], data.y, qid=data.qid, base_margin=scores)
        booster = xgboost.Booster(parameters, [train])
        numbers = itertools.count()
        return median_round(lambda: booster.update(train, next(numbers)), rounds)

    return per_round("rank:ndcg") - per_round("reg:squarederror")


def median_round(update, rounds: int) -> float:
    for _ in range(3):
        update()
    spent = []
    for _ in range(rounds):
        start = time.perf_counter()
        update()
        spent.append(time.perf_counter() - start)
    return statistics.median(spent)


def score_sets(scores) -> dict[str, np.ndarray]:
    """Scores without ties, with a few, and with as many as one tree of 31 leaves leaves."""
    return {
        "no ties": scores,
        "scores rounded to 0.01": np.round(scores, 2),
        "31 different scores": np.round(scores * 5).clip(-15, 15).astype(np.float32),
    }


def every_objective(data, scores, repeats: int, ties: str) -> None:
    queries = Queries.from_qid(data.qid, len(data.y))
    print(f"\n{ties}\n\n| objective | ms a gradient | of LambdaNDCG at the same truncation |")
    print("|---|---|---|")
    for name, objective in OBJECTIVES.items():
        made = objective()
        level = getattr(made, "truncation_level", None)
        peer = LambdaNDCG(truncation_level=level).bind(data.y, queries, n_threads=THREADS)
        bound = made.bind(data.y, queries, n_threads=THREADS)
        runs = [(our_seconds(bound, scores), our_seconds(peer, scores)) for _ in range(repeats)]
        own = statistics.median(own for own, _ in runs)
        ratio = statistics.median(own / peer for own, peer in runs)
        print(f"| {name} | {own * 1e3:.2f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
