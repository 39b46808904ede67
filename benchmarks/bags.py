"""What do ten bags cost?  Ten models of the kit, fitted in bags, against one LightGBM `lambdarank` fit.

Both get the same rows, settings and number of threads. Every repetition runs the contestants one after
another; the table has medians of seconds and of processor seconds, and the ratio to the LightGBM fit of the
same repetition. "one" is a single fit of the kit. With --stop bags stop early by the queries they did not
draw, which is measured after every tree; LightGBM stops never, and gets as many trees as the bags may have.

    python benchmarks/bags.py                            # 200,000 generated rows x 136
    python benchmarks/bags.py --letor FOLDER/train.txt   # rows of a LETOR file, such as MQ2008's
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lambdamart_kit import LambdaMART, LightGBMRanker
from lambdamart_kit.datasets import RankingDataset, make_letor, read_letor


def seconds(fit: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor seconds of a call."""
    cpu = time.process_time()
    started = time.perf_counter()
    fit()
    return time.perf_counter() - started, time.process_time() - cpu


def contestants(data: RankingDataset, options: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """Name of each contestant, and its fit."""
    shared = {
        "n_estimators": options.trees,
        "num_leaves": options.leaves,
        "learning_rate": 0.1,
        "subsample": 1.0,
        "colsample_bytree": 1.0,
        "reg_lambda": 0.0,
        "random_state": 0,
        "n_jobs": options.threads,
    }
    stop = {"early_stopping_rounds": options.stop} if options.stop else {}
    rankers = {
        "lightgbm": LightGBMRanker(**shared),
        "one": LambdaMART(**shared),
        f"{options.bags} bags": LambdaMART(**shared, n_bags=options.bags, **stop),
    }
    return {name: partial(ranker.fit, data.X, data.y, data.qid) for name, ranker in rankers.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--letor", type=Path, help="file to read instead of generated rows")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--bags", type=int, default=10)
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--leaves", type=int, default=31)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--stop", type=int, default=0, help="early stopping rounds of the bags; 0 is none")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    if options.letor is None:
        data = make_letor(n_queries=options.rows // 120, random_state=0)  # 120 rows a query
    else:
        data = read_letor(options.letor)
    fits = contestants(data, options)
    few = LambdaMART(n_estimators=2, n_bags=2, n_jobs=1)
    few.fit(data.X[:2000], data.y[:2000], data.qid[:2000])  # compiles
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in fits}
    for _ in range(options.repeats):
        for name, fit in fits.items():
            times[name].append(seconds(fit))
    print(
        f"{data.X.shape[0]:,} rows x {data.X.shape[1]}, {options.trees} trees of {options.leaves} leaves, ",
        end="",
    )
    print(f"{options.threads} threads, {options.repeats} repetitions\n")
    print("| fit | seconds | to lightgbm | processor seconds | to lightgbm |\n|---|---|---|---|---|")
    for name, of_name in times.items():
        row = [name]
        for kind in range(2):
            ratios = [run[kind] / base[kind] for run, base in zip(of_name, times["lightgbm"])]
            row += [
                f"{statistics.median(run[kind] for run in of_name):.2f}",
                f"{statistics.median(ratios):.2f}",
            ]
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
