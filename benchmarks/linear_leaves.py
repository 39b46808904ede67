"""Whether trees with a linear function in each leaf rank better than trees with a constant.

    python benchmarks/linear_leaves.py MQ2008-FOLDER [--seeds 3]

Only LightGBM has such trees with ranking objectives (`linear_tree`), so both kinds are LightGBM's here, with
lambdarank, small steps and sampled rows and columns. They learn from the training queries of MQ2008's five
folds and are measured on the validation queries, and on 1,000 other queries of generated data. The NDCG@10
of a query is averaged over the seeds before kinds are compared. Test queries are not looked at: this decides
whether the native trees get such leaves.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from cheap_ideas import Pair, measured
from lambdamart_kit import LightGBMRanker
from lambdamart_kit.datasets import RankingDataset, make_letor, read_letor

COMMON = {
    "n_estimators": 200,
    "learning_rate": 0.05,
    "num_leaves": 15,
    "subsample": 0.8,
    "colsample_bytree": 0.6,
}
KINDS: Mapping[str, Mapping[str, object]] = {
    "constant": {},
    "linear": {"linear_tree": True},
    "linear, L2 1": {"linear_tree": True, "linear_lambda": 1.0},
    "linear, L2 100": {"linear_tree": True, "linear_lambda": 100.0},
}


def data_sets(folder: Path) -> Iterator[tuple[str, list[Pair]]]:
    """Names of the data, each with pairs of data to learn from and to measure on."""
    folds = sorted(folder.glob("Fold*"))
    yield "MQ2008", [(read_letor(fold / "train.txt"), read_letor(fold / "vali.txt")) for fold in folds]
    yield (
        "generated",
        [(make_letor(n_queries=500, random_state=1), make_letor(n_queries=1000, random_state=2))],
    )


def scored(kind: str, train: RankingDataset, other: RankingDataset, seed: int) -> np.ndarray:
    """Scores of other rows by trees of this kind that learned from the training rows."""
    ranker = LightGBMRanker(objective="lambdarank", random_state=seed, n_jobs=1, **COMMON)
    ranker.set_params(booster_params=dict(KINDS[kind]))
    return ranker.fit(train.X, train.y, qid=train.qid).predict(other.X)


def main() -> None:
    """Print a table of the kinds of leaves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print("| data | queries | leaves | NDCG@10 | to constant | standard error |\n|---|---|---|---|---|---|")
    for name, parts in data_sets(options.folder):
        base = measured(parts, partial(scored, "constant"), options.seeds)
        for kind in KINDS:
            values = base if kind == "constant" else measured(parts, partial(scored, kind), options.seeds)
            gain = values - base
            error = gain.std(ddof=1) / np.sqrt(len(gain))
            print(
                f"| {name} | {len(gain)} | {kind} | {values.mean():.4f} | {gain.mean():+.4f} | {error:.4f} |"
            )


if __name__ == "__main__":
    main()
