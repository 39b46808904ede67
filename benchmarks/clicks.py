"""How much of what position bias costs do debiased rankers win back?  Simulated clicks, known propensities.

    python benchmarks/clicks.py [--seeds 20] [--sessions 150] [--processes 2] [--table FILE.md]
    python benchmarks/clicks.py --letor FILE --letor-test FILE       # a labelled set of your own

A set of queries is shown by a ranker of little use (one feature, with Plackett-Luce noise, so that documents
move), users click, and pairwise LambdaMART learns from the log: as it is (naive), and with each way to allow
for the position. All grow the same trees. NDCG@10 on other queries with true labels; *recovered* is the
share of the gap between naive clicks and the true labels of the same documents. Seeds draw the data, the
lists and the clicks; intervals are 95 % bootstrap intervals over seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np

from lambdamart_kit.bench.fitting import environment
from lambdamart_kit.clicks import HarvestedPropensities, JointPropensities, KnownPropensities
from lambdamart_kit.datasets import (
    Cascade,
    DynamicBayesian,
    PositionBased,
    RankingDataset,
    TrustBias,
    make_letor,
    read_letor,
    simulate_clicks,
)
from lambdamart_kit.metrics import ndcg
from lambdamart_kit.rankers import LambdaMART

N_POSITIONS = 10
PRODUCTION = 129  # column of make_letor and MSLR that ranks the lists: page rank (MSLR: 129 is near it)
USERS = {
    "position-based": {"model": PositionBased(eta=1.0)},
    "position-based, trust bias": {"model": PositionBased(eta=1.0), "trust": TrustBias()},
    "dynamic Bayesian": {"model": DynamicBayesian()},
    "cascade": {"model": Cascade()},
}
METHODS = (
    "naive",
    "known, weights",
    "known, offset",
    "harvest",
    "harvest, weights",
    "gam",
    "joint, p=0",
    "joint",
)


def method(name: str, theta: np.ndarray):
    return {
        "naive": KnownPropensities(np.ones(len(theta))),
        "known, weights": KnownPropensities(theta),
        "known, offset": KnownPropensities(theta, correction="offset"),
        "harvest": HarvestedPropensities(),
        "harvest, weights": HarvestedPropensities(correction="weights"),
        "gam": "gam",
        "joint, p=0": JointPropensities(p=0.0),
        "joint": JointPropensities(),
    }[name]


@dataclasses.dataclass(frozen=True)
class Task:
    """One simulated log."""

    user: str
    seed: int
    queries: int
    sessions: int
    noise: float
    gain: str
    methods: tuple[str, ...]
    letor: tuple[Path, Path] | None


def data_of(task: Task) -> tuple[RankingDataset, RankingDataset]:
    if task.letor is not None:
        return tuple(small_lists(read_letor(path), task.seed) for path in task.letor)
    shape = {"mean_documents": 10, "max_documents": 12}
    return (
        make_letor(task.queries, random_state=100 + task.seed, **shape),
        make_letor(400, random_state=1_000 + task.seed, **shape),
    )


def small_lists(data: RankingDataset, seed: int) -> RankingDataset:
    """At most 12 documents of each query, drawn at random: lists short enough to be clicked through."""
    order = np.random.default_rng(seed).permutation(len(data))
    rank = np.empty(len(data), dtype=int)
    by_query = order[np.argsort(data.qid[order], kind="stable")]
    starts = np.flatnonzero(np.concatenate(([True], np.diff(data.qid[by_query]) != 0)))
    rank[by_query] = np.arange(len(data)) - np.repeat(starts, np.diff(np.append(starts, len(data))))
    return data.subset(rank < 12)


def run(task: Task) -> dict:
    """NDCG@10 and estimated over true propensities of each method on one simulated log."""
    train, test = data_of(task)
    column = min(PRODUCTION, train.X.shape[1] - 1)
    scores = np.argsort(np.argsort(train.X[:, column], kind="stable")) * (3.46 / len(train))
    noise = {} if "trust" in USERS[task.user] else {"noise": task.noise}
    log = simulate_clicks(
        train,
        scores,
        sessions_per_query=task.sessions,
        n_positions=N_POSITIONS,
        temperature=0.3,
        gain=task.gain,
        random_state=task.seed,
        **USERS[task.user],
        **noise,
    )
    trees = {"n_estimators": 60, "num_leaves": 15, "min_child_samples": 30, "n_jobs": 1, "random_state": 0}
    truth = LambdaMART("pairwise", **trees).fit(train.X, train.y, qid=train.qid)
    quality = {"true labels": ndcg(test.y, truth.predict(test.X), test.qid, k=10)}
    ratio, seconds = {}, {}
    for name in task.methods:
        started = time.perf_counter()
        ranker = LambdaMART("pairwise", position_bias=method(name, log.propensities), **trees)
        ranker.fit(log.X, log.y, qid=log.qid, position=log.position)
        seconds[name] = time.perf_counter() - started
        quality[name] = ndcg(test.y, ranker.predict(test.X), test.qid, k=10)
        ratio[name] = (ranker.propensities_ / log.propensities)[:5].tolist()
    return {
        "task": task,
        "quality": quality,
        "ratio": ratio,
        "seconds": seconds,
        "clicks": int(log.y.sum()),
        "impressions": len(log),
        "production": ndcg(test.y, test.X[:, column], test.qid, k=10),
    }


def table(results: list[dict]) -> str:
    first = results[0]
    mean = {key: np.mean([r[key] for r in results]) for key in ("clicks", "impressions", "production")}
    low = [r["quality"]["naive"] for r in results]
    high = [r["quality"]["true labels"] for r in results]
    lines = [
        f"## {first['task'].user}, {len(results)} seeds",
        "",
        f"{mean['impressions']:,.0f} impressions and {mean['clicks']:,.0f} clicks a seed; NDCG@10 of "
        f"production {mean['production']:.4f}, of true labels {np.mean(high):.4f}.",
        "",
        "| method | NDCG@10 | recovered | 95 % interval | estimate / true propensity, positions 2-5 "
        "| most off in the mean, 1-5 | in any seed | s a fit |",
        "|---|---:|---:|---:|---|---:|---:|---:|",
    ]
    for name in first["task"].methods:
        value = np.array([r["quality"][name] for r in results])
        gap = np.array(high) - low
        # Of the means: a ratio in each seed would be at the mercy of seeds with a small gap.
        share = (value - low).mean() / gap.mean()
        drawn = np.random.default_rng(0).integers(0, len(results), (5_000, len(results)))
        boot = (value - low)[drawn].mean(axis=1) / gap[drawn].mean(axis=1)
        interval = np.quantile(boot, [0.025, 0.975])
        ratios = np.array([r["ratio"][name] for r in results])
        estimated = name not in ("naive", "known, weights", "known, offset")
        shown = " ".join(f"{v:.3f}" for v in ratios.mean(axis=0)[1:]) if estimated else ""
        off = f"{np.abs(ratios.mean(axis=0) - 1).max():.1%}" if estimated else ""
        worst = f"{np.abs(ratios - 1).max():.1%}" if estimated else ""
        taken = np.median([r["seconds"][name] for r in results])
        lines.append(
            f"| {name} | {value.mean():.4f} | {share:.0%} | {interval[0]:.0%} to {interval[1]:.0%} "
            f"| {shown} | {off} | {worst} | {taken:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--queries", type=int, default=200, help="queries that are shown")
    parser.add_argument("--sessions", type=int, default=150, help="lists shown for each query")
    parser.add_argument(
        "--noise", type=float, default=0.1, help="clicks on examined documents without relevance"
    )
    parser.add_argument("--gain", default="linear", help="relevance of a label: linear or exp2")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--users", default="position-based", help="comma-separated, or 'all'")
    parser.add_argument("--methods", default=";".join(METHODS), help="semicolon-separated")
    parser.add_argument("--letor", type=Path, help="labelled LETOR file to show instead of generated data")
    parser.add_argument("--letor-test", type=Path, help="LETOR file to test on")
    parser.add_argument("--table", type=Path, help="append the tables to this file")
    args = parser.parse_args()

    letor = None if args.letor is None else (args.letor, args.letor_test)
    users = list(USERS) if args.users == "all" else args.users.split(",")
    methods = tuple(args.methods.split(";"))
    written = [f"{date.today()}, " + ", ".join(f"{k} {v}" for k, v in environment().items()) + "\n"]
    print(written[0])
    with ProcessPoolExecutor(args.processes) as pool:
        for user in users:
            tasks = [
                Task(user, seed, args.queries, args.sessions, args.noise, args.gain, methods, letor)
                for seed in range(args.seeds)
            ]
            written.append(table(list(pool.map(run, tasks))))
            print(written[-1], flush=True)
    if args.table is not None:
        with args.table.open("a") as file:
            file.write("\n".join(written))


if __name__ == "__main__":
    main()
