"""How well single models and bags rank, and which defaults of LambdaMART held-out data prefer.

    python benchmarks/bags_quality.py test MQ2008-FOLDER           # test queries, each looked at once
    python benchmarks/bags_quality.py choose FILE... [--parts 4]   # query folds of training data

"test" fits on the training and validation queries of each of the five folds, with nothing chosen on either,
and measures NDCG@10 on the test queries: tied scores in the worst order, blank queries left out. "choose"
cross-validates settings by query, at several numbers of trees. Generated sets are always among its data.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import RankingDataset, make_letor, read_letor
from lambdamart_kit.metrics import ndcg

PRESENT = {
    "learning_rate": 0.1,
    "num_leaves": 31,
    "subsample": 1.0,
    "colsample_bytree": 1.0,
    "reg_lambda": 0.0,
}
SMALL = {
    "learning_rate": 0.05,
    "num_leaves": 15,
    "subsample": 0.8,
    "colsample_bytree": 0.6,
    "reg_lambda": 0.0,
}
STOPPED = {"n_bags": 10, "n_estimators": 600, "early_stopping_rounds": 50}
MODELS: Mapping[str, Mapping[str, object]] = {
    "one": PRESENT,
    "one, small steps": SMALL,
    "one, small steps, pairwise": {**SMALL, "objective": "pairwise"},
    "10 bags": {**PRESENT, "n_bags": 10},
    "10 bags, stopped": {**PRESENT, **STOPPED, "n_estimators": 500},
    "10 bags, small steps": {**SMALL, "n_bags": 10},
    "10 bags, small steps, stopped": {**SMALL, **STOPPED},
    "10 bags, small steps, stopped, pairwise": {**SMALL, **STOPPED, "objective": "pairwise"},
}
SETTINGS: Mapping[str, Mapping[str, object]] = {
    "present defaults": PRESENT,
    "small steps": SMALL,
    "small steps, L2 1": {**SMALL, "reg_lambda": 1.0},
    "small steps, L2 5": {**SMALL, "reg_lambda": 5.0},
    "small steps, L2 1, 31 leaves": {**SMALL, "reg_lambda": 1.0, "num_leaves": 31},
    "small steps, L2 1, 7 leaves": {**SMALL, "reg_lambda": 1.0, "num_leaves": 7},
    "small steps, L2 1, pairwise": {**SMALL, "reg_lambda": 1.0, "objective": "pairwise"},
}
TREES = (100, 200, 300, 400)


def quality(data: RankingDataset, scores: np.ndarray) -> np.ndarray:
    """NDCG@10 of each query that has a relevant document."""
    values = np.asarray(ndcg(data.y, scores, data.qid, k=10, ties="pessimistic", per_query=True))
    return values[~np.isnan(values)]


def measure_test(options: argparse.Namespace) -> None:
    """Print the table of test queries."""
    print("| model | queries | NDCG@10 | to one | standard error |\n|---|---|---|---|---|")
    base = None
    for name, settings in MODELS.items():
        parts = []
        for fold in sorted(options.data[0].glob("Fold*")):
            train, vali, test = (read_letor(fold / f"{part}.txt") for part in ("train", "vali", "test"))
            X, y, qid = (np.concatenate([getattr(d, at) for d in (train, vali)]) for at in ("X", "y", "qid"))
            ranker = LambdaMART(random_state=0, n_jobs=options.n_jobs).set_params(**settings)
            parts.append(quality(test, ranker.fit(X, y, qid=qid).predict(test.X)))
        values = np.concatenate(parts)
        base = values if base is None else base
        gain = values - base
        error = gain.std(ddof=1) / np.sqrt(len(gain))
        print(
            f"| {name} | {len(values)} | {values.mean():.4f} | {gain.mean():+.4f} | {error:.4f} |", flush=True
        )


def training_sets(files: list[Path]) -> Iterator[tuple[str, RankingDataset]]:
    """Name and rows of each set."""
    for path in files:
        yield path.stem, read_letor(path)
    for n_queries in (100, 400):
        yield f"generated {n_queries}", make_letor(n_queries=n_queries, random_state=n_queries)


def choose(options: argparse.Namespace) -> None:
    """Print NDCG@10 on held-out queries by setting, set and number of trees."""
    print(f"| set | settings | {' | '.join(f'{n} trees' for n in TREES)} |\n|---|---|{'---|' * len(TREES)}")
    for name, data in training_sets(options.data):
        ids = np.random.default_rng(0).permutation(np.unique(data.qid))
        for label, settings in SETTINGS.items():
            values: dict[int, list[np.ndarray]] = {n: [] for n in TREES}
            for part in range(options.parts):
                held_out = np.isin(data.qid, ids[part :: options.parts])
                ranker = LambdaMART(n_estimators=max(TREES), random_state=part, n_jobs=options.n_jobs)
                ranker.set_params(**settings).fit(
                    data.X[~held_out], data.y[~held_out], qid=data.qid[~held_out]
                )
                rest = RankingDataset(data.X[held_out], data.y[held_out], data.qid[held_out])
                for n in TREES:
                    values[n].append(quality(rest, ranker.model_.predict(rest.X, iteration_range=(0, n))))
            cells = " | ".join(f"{np.concatenate(of_n).mean():.4f}" for of_n in values.values())
            print(f"| {name} | {label} | {cells} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("question", choices=("test", "choose"))
    parser.add_argument("data", type=Path, nargs="+", help="folder of folds (test), or LETOR files (choose)")
    parser.add_argument("--parts", type=int, default=4, help="query folds of each set")
    parser.add_argument("--n-jobs", type=int, default=1)
    options = parser.parse_args()
    (measure_test if options.question == "test" else choose)(options)


if __name__ == "__main__":
    main()
