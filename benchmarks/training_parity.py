"""NDCG@10 on held-out queries: native trees against LightGBM's lambdarank at the same settings.

Both sides have the same rows, trees, leaves, learning rate, bins, truncation (30) and least rows of a leaf,
and several seeds, which draw 95 % of the training queries (the same for both), 95 % of the features of each
tree and, here, the rounding of gradients: a hair's difference in one split makes another model, and only
means over such draws say which trees are better. A query's NDCG@10 is averaged over the seeds of each side;
the difference is the mean over queries, and its standard error that of the paired queries. A difference
within two standard errors says nothing; the goal is not to be worse by more than .001. What a small training
set happens to be moves the difference by more than that, so generated data come as several sets; their spread
is added to the error.

    python benchmarks/training_parity.py                                  # generated, three sizes
    python benchmarks/training_parity.py --folds MQ2008                   # and each fold of a folder
    python benchmarks/training_parity.py --files train.txt test.txt --sizes "" --seeds 10
    python benchmarks/training_parity.py --reg-lambda 1
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
from pathlib import Path

import lightgbm
import numpy as np

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import RankingDataset, load_folds, make_letor, read_letor
from lambdamart_kit.metrics import ndcg
from lambdamart_kit.objectives import LambdaNDCG


def native(train: RankingDataset, test: RankingDataset, o: argparse.Namespace, seed: int) -> np.ndarray:
    ranker = LambdaMART(
        LambdaNDCG(truncation_level=30),
        n_estimators=o.trees,
        num_leaves=o.leaves,
        learning_rate=0.1,
        min_child_samples=20,
        min_child_weight=1e-3,
        reg_lambda=o.reg_lambda,
        colsample_bytree=0.95,
        max_bin=255,
        random_state=seed,
        n_jobs=o.threads,
    )
    return ranker.fit(train.X, train.y, qid=train.qid).predict(test.X)


def lambdarank(train: RankingDataset, test: RankingDataset, o: argparse.Namespace, seed: int) -> np.ndarray:
    order = train.queries.order
    settings = {
        "objective": "lambdarank",
        "num_leaves": o.leaves,
        "learning_rate": 0.1,
        "max_bin": 255,
        "seed": seed,
        "min_data_in_leaf": 20,
        "min_sum_hessian_in_leaf": 1e-3,
        "lambda_l2": o.reg_lambda,
        "feature_fraction": 0.95,
        "num_threads": o.threads,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(train.X[order], train.y[order], group=train.queries.sizes)
    return lightgbm.train(settings, data, o.trees).predict(test.X)


def most_of(train: RankingDataset, seed: int) -> RankingDataset:
    """95 % of the training queries, the same for both sides."""
    n = train.queries.n_queries
    drawn = np.zeros(n, dtype=bool)
    drawn[np.random.default_rng(seed).permutation(n)[: max(1, round(0.95 * n))]] = True
    return train.select(drawn)


def by_query(train: RankingDataset, test: RankingDataset, o: argparse.Namespace) -> np.ndarray:
    """NDCG@10 of each test query that has a relevant document, mean over seeds: native's row, LightGBM's."""
    sides = []
    for side in (native, lambdarank):
        runs = [
            ndcg(test.y, side(most_of(train, seed), test, o, seed), test.qid, k=10, per_query=True)
            for seed in range(o.seeds)
        ]
        sides.append(np.mean(runs, axis=0))
    both = np.stack(sides)
    counting: np.ndarray = both[:, np.isfinite(both[0])]
    return counting


def generated(o: argparse.Namespace) -> None:
    """A row for each size, over several training sets of it and the same test queries."""
    sizes = [tuple(map(int, s.split("x"))) for s in o.sizes.split(",") if s]
    test = make_letor(2000, random_state=1) if sizes else None
    for size, n_sets in sizes:
        sets = [by_query(make_letor(size, random_state=10 * k), test, o) for k in range(n_sets)]
        report(f"generated, {size:,} queries, {n_sets} training sets", np.stack(sets))


def real(o: argparse.Namespace) -> None:
    """A row for a pair of files, one for each fold of a folder, and one for all its folds."""
    if o.files:
        train_file, test_file = o.files
        report(Path(train_file).name, by_query(read_letor(train_file), read_letor(test_file), o)[None])
    for folder in o.folds or []:
        parts = []
        for number, fold in enumerate(load_folds(folder), 1):
            parts.append(by_query(fold.train, fold.test, o))
            report(f"{Path(folder).name}, fold {number}", parts[-1][None])
        report(f"{Path(folder).name}, all folds", np.concatenate(parts, axis=1)[None])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sizes", default="100x20,500x6,2000x2", help="queries x training sets of generated data, by commas"
    )
    parser.add_argument("--folds", nargs="*", help="folders of LETOR folds")
    parser.add_argument("--files", nargs=2, metavar=("TRAIN", "TEST"), help="a pair of LETOR files")
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--leaves", type=int, default=31)
    parser.add_argument("--reg-lambda", type=float, default=0.0, help="L2 on leaf values, of both sides")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    versions = " ".join(f"{p} {importlib.metadata.version(p)}" for p in ("numpy", "numba", "lightgbm"))
    print(
        f"{datetime.date.today()}, {options.trees} trees, {options.leaves} leaves, "
        f"reg_lambda {options.reg_lambda:g}, {options.seeds} seeds, {versions}\n"
    )
    print("| | test queries | native | LightGBM | difference | standard error | |")
    print("|---|---|---|---|---|---|---|")
    generated(options)
    real(options)


def compared(sets: np.ndarray) -> tuple[float, float, float, float]:
    """Both means, their difference and its standard error, from NDCG by training set, side and test query."""
    ours, theirs = sets.mean(axis=(0, 2))
    differences = sets[:, 0] - sets[:, 1]
    n_sets, n_queries = differences.shape
    variance = differences.mean(axis=0).var(ddof=1) / n_queries
    if n_sets > 1:
        variance += differences.mean(axis=1).var(ddof=1) / n_sets
    return float(ours), float(theirs), float(ours - theirs), float(np.sqrt(variance))


def report(name: str, sets: np.ndarray) -> None:
    """Print a row from NDCG by training set, side and test query."""
    ours, theirs, mean, error = compared(sets)
    n_queries = sets.shape[2]
    if mean - 2 * error > -0.001:
        verdict = "not worse by .001"
    else:
        verdict = "within noise" if abs(mean) < 2 * error else "worse"
    print(
        f"| {name} | {n_queries:,} | {ours:.4f} | {theirs:.4f} | {mean:+.4f} | {error:.4f} | {verdict} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
