"""Peak memory of training on large data, and time on small data: native trees against LightGBM.

Memory is what a process's peak resident size grows by during one fit (Linux), X not counted, each contestant
in a process of its own after a warm-up on a few rows. Time is 200 trees of 31 leaves on a few thousand rows,
the kit's side with everything its estimator does.

    python benchmarks/training_footprint.py                      # generated data
    python benchmarks/training_footprint.py --folds MQ2008       # time on the first fold of a folder
"""

from __future__ import annotations

import argparse
import datetime
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import lightgbm
import numpy as np

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import RankingDataset, load_folds, make_letor


def fit_native(data: RankingDataset, trees: int, leaves: int, threads: int) -> None:
    LambdaMART(n_estimators=trees, num_leaves=leaves, n_jobs=threads).fit(data.X, data.y, qid=data.qid)


def fit_lightgbm(data: RankingDataset, trees: int, leaves: int, threads: int) -> None:
    order = data.queries.order
    X, y = (data.X, data.y) if data.queries.is_ordered else (data.X[order], data.y[order])
    settings = {"objective": "lambdarank", "num_leaves": leaves, "num_threads": threads, "verbose": -1}
    lightgbm.train(settings, lightgbm.Dataset(X, label=y, group=data.queries.sizes), trees)


CONTESTANTS = {"native": fit_native, "lightgbm": fit_lightgbm}


def grown_by(call: Callable[[], object]) -> int:
    """Bytes by which the peak of this process's resident memory exceeds what it holds before the call."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    call()
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(peak.split()[1]) * 1024 - before


def growth(name: str, n_queries: int, answer: multiprocessing.Queue[float]) -> None:
    data, few = make_letor(n_queries, random_state=0), make_letor(20, random_state=1)
    CONTESTANTS[name](few, 1, 7, 2)
    answer.put(grown_by(lambda: CONTESTANTS[name](data, 10, 63, 2)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folds", help="folder of LETOR folds to time small data on")
    parser.add_argument("--queries", type=int, default=4700, help="queries of the large data")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, one repetition")
    options = parser.parse_args()
    n_queries, repeats = (470, 1) if options.quick else (options.queries, options.repeats)
    print(f"{datetime.date.today()}, {len(os.sched_getaffinity(0))} cores, lightgbm {lightgbm.__version__}\n")

    spawn = multiprocessing.get_context("spawn")
    print(f"Peak memory of 10 trees of 63 leaves, {n_queries} generated queries\n")
    print("| | MB | of LightGBM's |\n|---|---|---|")
    grown = {}
    for name in ("lightgbm", "native"):
        answer: multiprocessing.Queue[float] = spawn.Queue()
        process = spawn.Process(target=growth, args=(name, n_queries, answer))
        process.start()
        grown[name] = answer.get()
        process.join()
        print(f"| {name} | {grown[name] / 2**20:.0f} | {grown[name] / grown['lightgbm']:.2f} |")

    data = next(iter(load_folds(options.folds))).train if options.folds else make_letor(80, random_state=0)
    print(f"\n200 trees of 31 leaves, {data.X.shape[0]:,} x {data.X.shape[1]}, median of {repeats}\n")
    print("| threads | native s | LightGBM s | LightGBM / native |\n|---|---|---|---|")
    for threads in (1, 2):
        seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
        for _ in range(repeats + 1):
            for name, fit in CONTESTANTS.items():
                started = time.perf_counter()
                fit(data, 200, 31, threads)
                seconds[name].append(time.perf_counter() - started)
        native, library = (np.array(seconds[name][1:]) for name in CONTESTANTS)  # the first run warms up
        ratio = statistics.median(library / native)
        print(f"| {threads} | {np.median(native):.3f} | {np.median(library):.3f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
