"""Do cheap ideas from the literature pay?  Each against the same trees without it, on held-out queries.

    python benchmarks/cheap_ideas.py DATA... [--seeds 2]

DATA is as for auto_quality.py: a folder of folds, or files of one data set joined by "+"; generated data of
200 queries follow. The trees are those that `AutoRanker` averages (15 leaves, rate .05, 80 % of the queries,
60 % of the columns, an L2 of 1), 200 of them. They learn from training queries and are measured on validation
queries; test queries are not looked at. A query's NDCG@10, tied scores in the worst order, is averaged over
the seeds before ideas are compared.

- a falling rate: from .1 to .02, with the same number of trees;
- DART: trees of LightGBM with dropout, against LightGBM's without;
- query features: rank, z-score and share of the maximum within the query, besides each feature;
- three seeds: the mean of three models that differ in their draws of queries and columns alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from auto_quality import folds_of
from lambdamart_kit import LambdaMART, QueryFeatures, schedule
from lambdamart_kit.datasets import RankingDataset, make_letor
from lambdamart_kit.metrics import ndcg

N_TREES = 200
TREES = {
    "n_estimators": N_TREES,
    "num_leaves": 15,
    "learning_rate": 0.05,
    "subsample": 0.8,
    "colsample_bytree": 0.6,
    "reg_lambda": 1.0,
    "n_jobs": 1,
}
Pair = tuple[RankingDataset, RankingDataset]
Fit = Callable[[RankingDataset, RankingDataset, int], np.ndarray]


def plain(train: RankingDataset, other: RankingDataset, seed: int, **settings: object) -> np.ndarray:
    """Scores of other rows by trees that learned from the training rows."""
    ranker = LambdaMART(random_state=seed).set_params(**{**TREES, **settings})
    return ranker.fit(train.X, train.y, qid=train.qid).predict(other.X)


def falling(train: RankingDataset, other: RankingDataset, seed: int) -> np.ndarray:
    """A rate that falls geometrically from .1 to .02."""
    rates = np.geomspace(0.1, 0.02, N_TREES).tolist()
    return plain(train, other, seed, callbacks=[schedule(rates)])


def library(train: RankingDataset, other: RankingDataset, seed: int) -> np.ndarray:
    """LightGBM's trees on the same gradients."""
    return plain(train, other, seed, booster="lightgbm")


def dart(train: RankingDataset, other: RankingDataset, seed: int) -> np.ndarray:
    """LightGBM's trees with dropout, at its defaults."""
    return plain(train, other, seed, booster="lightgbm", booster_params={"boosting": "dart"})


def with_query_features(train: RankingDataset, other: RankingDataset, seed: int) -> np.ndarray:
    """Features as they are, and where they stand within the query."""
    wide = [
        RankingDataset(QueryFeatures().fit_transform(rows.X, qid=rows.qid), rows.y, rows.qid)
        for rows in (train, other)
    ]
    return plain(*wide, seed)


def three_seeds(train: RankingDataset, other: RankingDataset, seed: int) -> np.ndarray:
    """The mean of three models."""
    return np.mean([plain(train, other, 1000 * (1 + seed) + at) for at in range(3)], axis=0)


IDEAS: Mapping[str, tuple[Fit, Fit]] = {
    "a falling rate": (falling, plain),
    "DART": (dart, library),
    "query features": (with_query_features, plain),
    "three seeds": (three_seeds, plain),
}


def data_sets(given: list[str]) -> Iterator[tuple[str, list[Pair]]]:
    """Names of the data, each with pairs of rows to learn from and to measure on."""
    for data in given:
        folds = list(folds_of(data, 1))
        yield folds[0].data, [(fold.parts.train, fold.parts.valid) for fold in folds]
    seeds = range(3)
    train = [make_letor(n_queries=200, random_state=seed, concept_seed=seed) for seed in seeds]
    other = [make_letor(n_queries=600, random_state=100 + seed, concept_seed=seed) for seed in seeds]
    yield "generated", list(zip(train, other))


def measured(parts: list[Pair], fit: Fit, n_seeds: int) -> np.ndarray:
    """NDCG@10 of each query that has a relevant document, mean over the seeds."""
    found = []
    for train, other in parts:
        of_seed = [
            ndcg(other.y, fit(train, other, seed), other.qid, k=10, ties="pessimistic", per_query=True)
            for seed in range(n_seeds)
        ]
        found.append(np.mean(of_seed, axis=0))
    values = np.concatenate(found)
    return values[~np.isnan(values)]


def main() -> None:
    """Print a table of the ideas, for each set and over all of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="*")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    gains: dict[str, list[np.ndarray]] = {idea: [] for idea in IDEAS}
    print("| data | queries | idea | without | with | difference | standard error |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for name, parts in data_sets(options.data):
        known: dict[Fit, np.ndarray] = {}
        for idea, (fit, base) in IDEAS.items():
            for one in (fit, base):
                if one not in known:
                    known[one] = measured(parts, one, options.seeds)
            gain = known[fit] - known[base]
            gains[idea].append(gain)
            row = f"{name} | {len(gain)} | {idea} | {known[base].mean():.4f} | {known[fit].mean():.4f}"
            print(f"| {row} | {difference(gain)} |", flush=True)
    for idea, of_sets in gains.items():
        gain = np.concatenate(of_sets)
        print(f"| all | {len(gain)} | {idea} | | | {difference(gain)} |")


def difference(gain: np.ndarray) -> str:
    """Mean and standard error, as two cells."""
    return f"{gain.mean():+.4f} | {gain.std(ddof=1) / np.sqrt(len(gain)):.4f}"


if __name__ == "__main__":
    main()
