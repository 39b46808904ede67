"""NDCG@10 on held-out queries: native trees against LightGBM's lambdarank at the same settings.

Both sides have the same rows, trees, leaves, learning rate, bins, truncation (30) and least rows of a leaf,
and several seeds, which draw the features of a tree (95 % on both sides) and, here, the rounding of
gradients. A query's NDCG@10 is averaged over the seeds of each side; the difference is the mean over queries,
and its standard error that of the paired queries. A difference within two standard errors says nothing; the
goal is not to be worse by more than .001.

    python benchmarks/training_parity.py                                  # generated, three sizes
    python benchmarks/training_parity.py --folds MQ2008                   # and each fold of a folder
    python benchmarks/training_parity.py --files train.txt test.txt --sizes "" --seeds 10
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path

import lightgbm
import numpy as np

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import RankingDataset, load_folds, make_letor, read_letor
from lambdamart_kit.metrics import ndcg
from lambdamart_kit.objectives import LambdaNDCG


def native(train: RankingDataset, test: RankingDataset, o: argparse.Namespace, seed: int) -> np.ndarray:
    ranker = LambdaMART(
        LambdaNDCG(truncation_level=30), n_estimators=o.trees, num_leaves=o.leaves, learning_rate=0.1,
        min_child_samples=20, min_child_weight=1e-3, reg_lambda=0.0, colsample_bytree=0.95, max_bin=255,
        random_state=seed, n_jobs=o.threads,
    )  # fmt: skip
    return ranker.fit(train.X, train.y, qid=train.qid).predict(test.X)


def lambdarank(train: RankingDataset, test: RankingDataset, o: argparse.Namespace, seed: int) -> np.ndarray:
    order = train.queries.order
    settings = {
        "objective": "lambdarank", "num_leaves": o.leaves, "learning_rate": 0.1, "max_bin": 255, "seed": seed,
        "min_data_in_leaf": 20, "min_sum_hessian_in_leaf": 1e-3, "lambda_l2": 0.0, "feature_fraction": 0.95,
        "num_threads": o.threads, "verbosity": -1,
    }  # fmt: skip
    data = lightgbm.Dataset(train.X[order], train.y[order], group=train.queries.sizes)
    return lightgbm.train(settings, data, o.trees).predict(test.X)


def by_query(train: RankingDataset, test: RankingDataset, o: argparse.Namespace) -> list[np.ndarray]:
    """NDCG@10 of each test query that has a relevant document, mean over seeds, of each side."""
    sides = []
    for side in (native, lambdarank):
        runs = [
            ndcg(test.y, side(train, test, o, seed), test.qid, k=10, per_query=True)
            for seed in range(o.seeds)
        ]
        sides.append(np.mean(runs, axis=0))
    counts = np.isfinite(sides[0])
    return [side[counts] for side in sides]


def problems(o: argparse.Namespace) -> Iterator[tuple[str, RankingDataset, RankingDataset]]:
    sizes = [int(s) for s in o.sizes.split(",") if s]
    test = make_letor(2000, random_state=1) if sizes else None
    for size in sizes:
        yield f"generated, {size:,} queries", make_letor(size, random_state=0), test
    if o.files:
        train_file, test_file = o.files
        yield Path(train_file).name, read_letor(train_file), read_letor(test_file)
    for folder in o.folds or []:
        for number, fold in enumerate(load_folds(folder), 1):
            yield f"{Path(folder).name}, fold {number}", fold.train, fold.test


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="100,500,2000", help="queries of the generated sets, by commas")
    parser.add_argument("--folds", nargs="*", help="folders of LETOR folds")
    parser.add_argument("--files", nargs=2, metavar=("TRAIN", "TEST"), help="a pair of LETOR files")
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--leaves", type=int, default=31)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    versions = " ".join(f"{p} {importlib.metadata.version(p)}" for p in ("numpy", "numba", "lightgbm"))
    print(f"{datetime.date.today()}, {options.trees} trees, {options.leaves} leaves, {options.seeds} seeds, "
          f"{versions}\n")  # fmt: skip
    print("| | test queries | native | LightGBM | difference | standard error | |")
    print("|---|---|---|---|---|---|---|")
    pooled: dict[str, list[np.ndarray]] = {}
    for name, train, test in problems(options):
        ours, theirs = by_query(train, test, options)
        report(name, ours, theirs)
        if ", fold " in name:
            pooled.setdefault(name.split(",")[0], []).append(np.stack([ours, theirs]))
    for name, parts in pooled.items():
        report(f"{name}, all folds", *np.concatenate(parts, axis=1))


def report(name: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    difference = ours - theirs
    error = difference.std(ddof=1) / np.sqrt(len(difference))
    mean = difference.mean()
    if mean - 2 * error > -0.001:
        verdict = "not worse by .001"
    else:
        verdict = "within noise" if abs(mean) < 2 * error else "worse"
    print(f"| {name} | {len(ours):,} | {ours.mean():.4f} | {theirs.mean():.4f} | {mean:+.4f} | {error:.4f} "
          f"| {verdict} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
