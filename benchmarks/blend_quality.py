"""How good is AutoRanker?  Against tuned peers on the same queries, and search against equal weights.

    python benchmarks/blend_quality.py peers MQ2008-FOLDER|FILE... [--models auto,lightgbm] [--tune 8]
    python benchmarks/blend_quality.py weights [FILE...]
    python benchmarks/blend_quality.py members [FILE...]

"peers" fits every model on the training queries of each fold; the validation queries tune and stop the peers,
and AutoRanker learns from them too. Test queries are looked at once. A file is split into five folds of
queries. "weights" compares the weights that `EnsembleRanker(weights="search")` finds with equal ones, on many
small data sets, generated and real: the difference must not be negative on average. "members" compares
AutoRanker, with 30 fits, on the same sets with each of its members.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lambdamart_kit import AutoRanker, EnsembleRanker, LambdaMART, LinearRanker, NeuralRanker
from lambdamart_kit.bench import compare
from lambdamart_kit.bench.render import to_markdown
from lambdamart_kit.cli.output import progress_bar
from lambdamart_kit.datasets import RankingDataset, make_letor, read_letor
from lambdamart_kit.metrics import ndcg

METRICS = "ndcg(ties=pessimistic)@10,ndcg@10"
MODELS = "auto,lambdamart,lightgbm,xgboost,catboost"
GENERATED = 30
TRAINING_QUERIES = 100


def peers(options: argparse.Namespace) -> None:
    """Compare on each data set, continuing from runs that are there."""
    for data in options.data:
        with progress_bar() as progress:
            comparison = compare(
                data,
                models=options.models,
                metrics=METRICS,
                n_settings=options.tune,
                folds=None if Path(data).is_dir() else "5",
                baseline="lightgbm" if "lightgbm" in options.models.split(",") else None,
                out=options.out,
                n_jobs=1,
                progress=progress,
            )
        print(f"## {Path(data).name}\n\n{to_markdown(comparison.report)}", flush=True)


def small_sets(files: list[str]) -> list[tuple[str, RankingDataset]]:
    """Generated sets of different noise and shape, and draws of queries of real ones."""
    found = [
        (
            f"generated {seed}",
            make_letor(n_queries=TRAINING_QUERIES + 300, random_state=seed, concept_seed=seed),
        )
        for seed in range(GENERATED)
    ]
    for file in files:
        rows = read_letor(file)
        for draw in range(4):
            chosen = np.random.default_rng(draw).permutation(rows.queries.n_queries)
            found.append((f"{Path(file).stem} {draw}", rows.select(np.sort(chosen[: TRAINING_QUERIES * 3]))))
    return found


def halves(files: list[str]) -> Iterator[tuple[int, str, RankingDataset, RankingDataset]]:
    """Number and name of each small set, its queries to learn from and those to measure on."""
    for number, (name, rows) in enumerate(small_sets(files)):
        drawn = np.random.default_rng(number).permutation(rows.queries.n_queries)
        n_train = min(TRAINING_QUERIES, len(drawn) // 2)
        yield number, name, rows.select(np.sort(drawn[:n_train])), rows.select(np.sort(drawn[n_train:]))


def members(seed: int) -> list[tuple[str, object]]:
    """Between two and five of these, good ones and bad ones."""
    small = {"n_estimators": 40, "num_leaves": 7, "n_jobs": 1, "random_state": seed}
    known = [
        ("ndcg", LambdaMART(**small)),
        ("pairwise", LambdaMART("pairwise", **small)),
        ("linear", LinearRanker(max_iter=10, n_jobs=1)),
        ("network", NeuralRanker(max_iter=15, n_jobs=1, random_state=seed)),
        ("stump", LambdaMART(**{**small, "n_estimators": 3, "num_leaves": 2})),
    ]
    rng = np.random.default_rng(seed)
    return [known[at] for at in sorted(rng.permutation(len(known))[: rng.integers(2, 6)])]


def weights(options: argparse.Namespace) -> None:
    """Print the difference of search and equal weights on queries that neither has seen."""
    differences = []
    best_members = []
    for number, name, train, test in halves(options.data):
        blend = EnsembleRanker(members(number), weights="search", random_state=0)
        blend.fit(train.X, train.y, qid=train.qid)
        scores = np.column_stack([member.predict(test.X) for member in blend.estimators_]) / blend.scales_
        found, equal = (
            ndcg(test.y, scores @ w, test.qid, k=10)
            for w in (blend.weights_, np.full(len(blend.weights_), 1 / len(blend.weights_)))
        )
        best = max(ndcg(test.y, column, test.qid, k=10) for column in scores.T)
        differences.append(found - equal)
        best_members.append(found - best)
        print(
            f"{name:28s} equal {equal:.4f}  search {found - equal:+.4f}  {blend.weights_.round(2)}",
            flush=True,
        )
    spread = np.std(differences) / np.sqrt(len(differences))
    print(
        f"{len(differences)} sets: search less equal {np.mean(differences):+.4f} (SE {spread:.4f}), worst "
        f"{min(differences):+.4f}; search less the best member on the test {np.mean(best_members):+.4f}"
    )


def against_members(options: argparse.Namespace) -> None:
    """Print what AutoRanker is ahead of each of its members, and of the best one in hindsight."""
    gains: dict[str, list[float]] = {}
    for _, name, train, test in halves(options.data):
        blend = AutoRanker("fits=30", n_jobs=1, random_state=0).fit(train.X, train.y, qid=train.qid)
        whole = ndcg(test.y, blend.predict(test.X), test.qid, k=10)
        single = {
            member.name: ndcg(test.y, member.scores(test.X), test.qid, k=10) for member in blend.members_
        }
        best = max(single, key=lambda member: single[member])
        for member in single:
            gains.setdefault(member, []).append(whole - single[member])
        gains.setdefault("the best one of each set", []).append(whole - single[best])
        print(f"{name:28s} blend {whole:.4f}, best member {single[best]:.4f} ({best})", flush=True)
    print("\n| member | sets | blend less it | standard error |\n|---|---|---|---|")
    for member, of_sets in gains.items():
        error = np.std(of_sets, ddof=1) / np.sqrt(len(of_sets))
        print(f"| {member} | {len(of_sets)} | {np.mean(of_sets):+.4f} | {error:.4f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("peers", "weights", "members"))
    parser.add_argument("data", nargs="*", help="folders of folds, or files")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--tune", type=int, default=8, help="settings a peer and fold")
    parser.add_argument("--out", type=Path, help="keep runs here and continue from them")
    options = parser.parse_args()
    {"peers": peers, "weights": weights, "members": against_members}[options.what](options)


if __name__ == "__main__":
    main()
