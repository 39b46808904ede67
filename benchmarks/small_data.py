"""Small data: what a fit costs besides its trees, and a grid search beside the same with LGBMRanker by hand.

"Overhead" is processor seconds of `LambdaMART.fit` less those of the bare engine (bins, gradients, the same
trees) on the same arrays in the same turn. Fits and searches are compared with `lightgbm.LGBMRanker`: the
same rows, trees, leaves and least rows of a leaf. The search has 20 candidates (leaves x learning rate) and 5
folds of whole queries: ours is scikit-learn's `GridSearchCV` with `QueryKFold` and NDCG@10, the peer's a loop
by hand over the same folds, scored by the same function. One thread each; seconds are the processor's, which
a busy machine disturbs less.

    python benchmarks/small_data.py
    python benchmarks/small_data.py --turns 15 --only overhead
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import itertools
import platform
import statistics
import time
from functools import partial

import lightgbm
import numpy as np
from sklearn.model_selection import GridSearchCV

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import RankingDataset, make_letor
from lambdamart_kit.metrics import ndcg
from lambdamart_kit.model_selection import QueryKFold, make_ranking_scorer, query_routing
from pairing import in_turn
from training_speed import native

SIZES = (100, 1_000, 10_000)
LEAVES = 15
LEAST = 5
GRID = {"num_leaves": [4, 8, 15, 31], "learning_rate": [0.02, 0.05, 0.1, 0.2, 0.3]}


def data_of(n_rows: int, n_features: int = 20) -> RankingDataset:
    """The first columns of rows that are generated like MSLR's, in any order within a query."""
    whole = make_letor(n_rows // 10 + 5, mean_documents=14, random_state=0)
    kept = np.lexsort((np.random.default_rng(0).random(n_rows), whole.qid[:n_rows]))
    X = np.ascontiguousarray(whole.X[kept, :n_features])
    names = tuple(f"column {at}" for at in range(n_features))
    return RankingDataset(X, whole.y[kept], whole.qid[kept], feature_names=names)


def ranker(trees: int, **options: float) -> LambdaMART:
    settings = {"num_leaves": LEAVES, "min_child_samples": LEAST, **options}
    return LambdaMART(n_estimators=trees, random_state=0, n_jobs=1, **settings)


def peer(trees: int, **options: float) -> lightgbm.LGBMRanker:
    settings = {"num_leaves": LEAVES, "min_child_samples": LEAST, **options}
    return lightgbm.LGBMRanker(n_estimators=trees, random_state=0, n_jobs=1, verbosity=-1, **settings)


def sizes_of(qid: np.ndarray) -> np.ndarray:
    """Rows of each query, as LightGBM wants them; the rows of a query lie together."""
    begins = np.flatnonzero(np.r_[True, qid[1:] != qid[:-1]])
    return np.diff(np.r_[begins, len(qid)])


def overhead(n_rows: int, trees: int, turns: int) -> dict[str, list[float]]:
    """Processor seconds of the bare engine and of `fit`, in turn."""
    data = data_of(n_rows)
    calls = {
        "engine": lambda: native(data, LEAVES, trees, 1, min_child_samples=LEAST),
        "fit": lambda: ranker(trees).fit(data.X, data.y, qid=data.qid),
    }
    return in_turn(calls, turns, clock=time.process_time)


def fits(n_rows: int, trees: int, turns: int) -> dict[str, list[float]]:
    """Processor seconds of one fit, and of score on the same rows: ours and LightGBM's."""
    data = data_of(n_rows)
    group = sizes_of(data.qid)
    ours, theirs = ranker(trees), peer(trees)
    calls = {
        "fit": lambda: ours.fit(data.X, data.y, qid=data.qid),
        "fit, LightGBM": lambda: theirs.fit(data.X, data.y, group=group),
        "score": lambda: ours.score(data.X, data.y, qid=data.qid),
        "score, LightGBM": lambda: ndcg(data.y, theirs.predict(data.X), data.qid, k=10),
    }
    return in_turn(calls, turns, clock=time.process_time)


def our_search(data: RankingDataset, trees: int) -> dict[str, float]:
    with query_routing():
        search = GridSearchCV(ranker(trees), GRID, cv=QueryKFold(5), scoring=make_ranking_scorer("ndcg@10"))
        best: dict[str, float] = search.fit(data.X, data.y, qid=data.qid).best_params_
    return best


def search_by_hand(data: RankingDataset, trees: int) -> dict[str, float]:
    """What one writes without the kit: loops over candidates and folds, and a fit of the best on all rows."""
    X, y, qid = data.X, data.y, data.qid
    folds = list(QueryKFold(5).split(X, y, qid=qid))
    means = {}
    for values in itertools.product(*GRID.values()):
        found = []
        for train, test in folds:
            model = peer(trees, **dict(zip(GRID, values)))
            model.fit(X[train], y[train], group=sizes_of(qid[train]))
            found.append(ndcg(y[test], model.predict(X[test]), qid[test], k=10))
        means[values] = np.mean(found)
    best = dict(zip(GRID, max(means, key=means.get)))
    peer(trees, **best).fit(X, y, group=sizes_of(qid))
    return best


def searches(n_rows: int, trees: int, turns: int) -> dict[str, list[float]]:
    """Processor seconds of the whole search, ours and by hand."""
    data = data_of(n_rows)
    calls = {
        "search": partial(our_search, data, trees),
        "search, LightGBM": partial(search_by_hand, data, trees),
    }
    our_search(data_of(100), 2)  # loads what a search needs
    return in_turn(calls, turns, clock=time.process_time, warm=False)


def spread(values: list[float], digits: int) -> str:
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def ratios(found: dict[str, list[float]], name: str) -> list[float]:
    return [theirs / ours for ours, theirs in zip(found[name], found[f"{name}, LightGBM"])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--trees", type=int, default=50)
    parser.add_argument("--search-turns", type=int, default=5)
    parser.add_argument("--only", choices=["overhead", "fits", "search"])
    options = parser.parse_args()
    packages = ("numpy", "numba", "lightgbm", "scikit-learn")
    versions = " ".join(f"{p} {importlib.metadata.version(p)}" for p in packages)
    print(f"{datetime.date.today()}, Python {platform.python_version()}, {versions}; one thread each\n")
    if options.only in (None, "overhead"):
        print("| rows x 20 | trees | engine ms | fit ms | overhead ms |\n|---|---|---|---|---|")
        for n_rows in SIZES:
            found = overhead(n_rows, options.trees, options.turns)
            beyond = [1e3 * (fit - engine) for engine, fit in zip(found["engine"], found["fit"])]
            engine, fit = (1e3 * statistics.median(found[name]) for name in ("engine", "fit"))
            print(f"| {n_rows:,} | {options.trees} | {engine:.1f} | {fit:.1f} | {spread(beyond, 1)} |")
    if options.only in (None, "fits"):
        print(
            "\n| rows x 20 | fit ms | LightGBM / ours | score ms | LightGBM / ours |\n|---|---|---|---|---|"
        )
        for n_rows in SIZES:
            found = fits(n_rows, options.trees, options.turns)
            cells = []
            for name in ("fit", "score"):
                cells += [f"{1e3 * statistics.median(found[name]):.2f}", spread(ratios(found, name), 1)]
            print(f"| {n_rows:,} | {' | '.join(cells)} |")
    if options.only in (None, "search"):
        print("\n| rows x 20 | search s | by hand with LGBMRanker s | by hand / ours |\n|---|---|---|---|")
        for n_rows in SIZES:
            found = searches(n_rows, options.trees, options.search_turns)
            ours, theirs = (statistics.median(found[name]) for name in found)
            row = f"| {n_rows:,} | {ours:.2f} | {theirs:.2f} | {spread(ratios(found, 'search'), 1)} |"
            print(row, flush=True)


if __name__ == "__main__":
    main()
