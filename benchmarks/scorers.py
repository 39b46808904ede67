"""What do NeuralRanker and LinearRanker cost?  An epoch and a fit against scikit-learn on the same rows.

    python benchmarks/scorers.py [--quick] [--repeats 5]

An epoch of NeuralRanker against one of MLPRegressor.partial_fit with the same network on batches of the same
size (its squared loss on the labels, BLAS on one thread for all); a fit of LinearRanker("pairwise") against
LogisticRegression on the differences of all pairs, which is the same problem. Medians of paired runs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from datetime import date
from itertools import pairwise

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPRegressor

import lambdamart_kit
from lambdamart_kit import LinearRanker, NeuralRanker
from lambdamart_kit.core.ordered_rows import order_rows
from lambdamart_kit.datasets import RankingDataset, make_letor
from lambdamart_kit.rankers.columns.scaling import InputTransform
from lambdamart_kit.runtime.blas import one_blas_thread

OBJECTIVES = ("pairwise", "ndcg", "listnet")
EPOCHS = 5


def seconds(call: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - started


def batches_of(rows: RankingDataset, batch_size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    ordered = order_rows(rows.X, rows.y, rows.qid, None)
    X = InputTransform.fit(ordered.X, "standard")(ordered.X)
    cuts = ordered.queries.ptr[:-1][batch_size::batch_size]
    return list(zip(np.split(X, cuts), np.split(ordered.y.astype(np.float32), cuts)))


def plain_epochs(batches: list[tuple[np.ndarray, np.ndarray]]) -> None:
    network = MLPRegressor(
        hidden_layer_sizes=(64, 32), shuffle=False, n_iter_no_change=np.inf, random_state=0
    )
    with one_blas_thread():
        for _ in range(EPOCHS):
            for X, y in batches:
                network.batch_size = len(y)
                network.partial_fit(X, y)


def neural_seconds(rows: RankingDataset, objective: str, batch_size: int) -> float:
    """Of the epochs alone: a fit less what comes before them."""
    ranker = NeuralRanker(objective, batch_size=batch_size, max_iter=1, random_state=0)
    first = seconds(ranker.fit, rows.X, rows.y, rows.qid)
    ranker.set_params(max_iter=1 + EPOCHS)
    return seconds(ranker.fit, rows.X, rows.y, rows.qid) - first


def differences(rows: RankingDataset) -> tuple[np.ndarray, np.ndarray]:
    ordered = order_rows(rows.X, rows.y, rows.qid, None)
    X, ptr = InputTransform.fit(ordered.X, "standard")(ordered.X), ordered.queries.ptr
    found = []
    for start, stop in pairwise(ptr):
        y = ordered.y[start:stop]
        high, low = np.nonzero(y[:, None] > y[None, :])
        found.append(X[start:stop][high] - X[start:stop][low])
    z = np.concatenate(found)
    sign = np.random.default_rng(0).choice([-1.0, 1.0], len(z)).astype(np.float32)
    return z * sign[:, None], sign


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rows and repeats")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    repeats = 3 if options.quick else options.repeats
    rows = make_letor(100 if options.quick else 400, random_state=0)
    few = make_letor(60, mean_documents=30, random_state=0)

    print(
        f"{date.today()}, lambdamart-kit {lambdamart_kit.__version__}, scikit-learn {sklearn.__version__}, "
    )
    print(f"NumPy {np.__version__}, {os.cpu_count()} cores; {len(rows.y):,} rows x 136, network 64-32\n")
    print("| objective | queries a batch | NeuralRanker s/epoch | MLPRegressor s/epoch | ratio |")
    print("|---|---|---|---|---|")
    for batch_size in (4, 16, 64):
        batches = batches_of(rows, batch_size)
        for objective in OBJECTIVES:
            pairs = [
                (neural_seconds(rows, objective, batch_size), seconds(plain_epochs, batches))
                for _ in range(repeats)
            ]
            ours, plain = (statistics.median(side) / EPOCHS for side in zip(*pairs))
            ratio = statistics.median(a / b for a, b in pairs)
            print(f"| {objective} | {batch_size} | {ours:.3f} | {plain:.3f} | {ratio:.2f} |", flush=True)

    z, sign = differences(few)
    penalty = 0.01
    peer = LogisticRegression(C=1 / (penalty * few.queries.n_queries), fit_intercept=False, max_iter=1000)
    ranker = LinearRanker("pairwise", reg_lambda=penalty)
    with one_blas_thread():
        pairs = [
            (seconds(ranker.fit, few.X, few.y, few.qid), seconds(peer.fit, z, sign)) for _ in range(repeats)
        ]
    ours, plain = (statistics.median(side) for side in zip(*pairs))
    print(
        f"\n{len(few.y):,} rows, {len(z):,} pairs: LinearRanker('pairwise') {ours:.3f} s, "
        f"LogisticRegression on differences {plain:.3f} s (differences not counted), "
        f"ratio {statistics.median(a / b for a, b in pairs):.2f}"
    )


if __name__ == "__main__":
    main()
