"""Two goals: the front of `Combined` against that of LightGBM with mixed labels, on generated queries.

Relevance and margin pull apart. Every contestant fits one model for each of seven weights and is measured on
held-out queries. The labels of LightGBM's `lambdarank` are mixed in the two ways that can be done outside of
it: a label is ``w * relevance + (1 - w) * margin``, or its gain is the same mean of the two gains. Nothing is
rounded: each different value is a label of its own, with its gain in `label_gain`.

What was fixed before the seeds were looked at (other seeds, from 100 on, served for writing this script):
20 seeds; 100 training and 250 held-out queries each; seven weights, so seven models on each front; the same
number of trees, leaves and threads. A front wins a seed if its hypervolume is larger: the area that its
models dominate in the plane of the two NDCG@10, above the NDCG@10 of random orders. That area depends on
where the seven models happen to lie, so a second one is told, which does so less: the area below the front if
each query may draw one of two neighbouring models (the upper convex hull). Also told is the share of
LightGBM's models with mixed labels that some model dominates (is at least as good in both), and the other way
round.

    python benchmarks/several_goals.py               # 20 seeds
    python benchmarks/several_goals.py --seeds 2     # a look
    python benchmarks/several_goals.py --all         # other ways to mix, and LightGBM's trees, as well
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import lightgbm as lgb
import numpy as np
from joblib import Parallel, delayed
from scipy.spatial import ConvexHull

from lambdamart_kit import LambdaMART
from lambdamart_kit.metrics import ndcg
from lambdamart_kit.objectives import Combined
from lambdamart_kit.rankers.goals.front import hypervolume

WEIGHTS = np.arange(7) / 6
SHARES = np.array([[0.52, 0.32, 0.13, 0.02, 0.01], [0.50, 0.25, 0.15, 0.07, 0.03]])
# Of the grades 0 to 4: those of MSLR-WEB for relevance, and more high ones for the margin.
BASE = "lightgbm, labels mixed"
GAINS = "lightgbm, gains mixed"


@dataclass(frozen=True)
class Goals:
    """Queries with two labels: columns of Y are relevance and margin, grades from 0 to 4."""

    X: np.ndarray
    Y: np.ndarray
    qid: np.ndarray


def make_goals(n_queries: int, seed: int, n_documents: int = 20) -> Goals:
    """Queries with twelve features, some of which tell both goals; the margin falls where relevance grows."""
    rng = np.random.default_rng([21, seed])
    X = rng.normal(size=(n_queries * n_documents, 12)).astype(np.float32)
    relevant = X[:, 0] + X[:, 1] * X[:, 2] + np.sin(2 * X[:, 3]) + 0.5 * np.abs(X[:, 4])
    margin = X[:, 5] + np.maximum(X[:, 6], X[:, 7]) - X[:, 4] * X[:, 8] - 0.6 * relevant
    Y = np.empty((len(X), 2))
    for goal, told in enumerate((relevant, margin)):
        noisy = told + rng.normal(size=len(X))
        edges = np.quantile(noisy, np.cumsum(SHARES[goal])[:-1])
        Y[:, goal] = np.digitize(noisy, edges)
    return Goals(X, Y, np.repeat(np.arange(n_queries), n_documents))


def fit_combined(train: Goals, weight: float, options: argparse.Namespace, **settings: str) -> Callable:
    """The scores of a ranker that follows both goals."""
    goals = Combined(
        {"relevance": "ndcg", "margin": "ndcg"},
        weights={"relevance": weight, "margin": 1 - weight},
        mixing=settings.pop("mixing", None),
    )
    ranker = LambdaMART(
        goals,
        n_estimators=options.trees,
        num_leaves=options.leaves,
        learning_rate=0.1,
        random_state=0,
        n_jobs=options.threads,
        **settings,
    )
    return ranker.fit(train.X, train.Y, qid=train.qid).predict


def fit_lightgbm(train: Goals, weight: float, options: argparse.Namespace, *, mix_gains: bool) -> Callable:
    """The scores of LightGBM's `lambdarank` on mixed labels, or on labels with mixed gains."""
    share = np.array([weight, 1 - weight])
    gain = (2.0**train.Y - 1) @ share if mix_gains else 2.0 ** (train.Y @ share) - 1
    gains, label = np.unique(gain.round(9), return_inverse=True)
    order = np.argsort(train.qid, kind="stable")
    sizes = np.unique(train.qid, return_counts=True)[1]
    rows = lgb.Dataset(train.X[order], label[order], group=sizes)
    params = {
        "objective": "lambdarank",
        "label_gain": gains.tolist(),
        "num_leaves": options.leaves,
        "learning_rate": 0.1,
        "num_threads": options.threads,
        "deterministic": True,
        "seed": 0,
        "verbosity": -1,
    }
    return lgb.train(params, rows, options.trees).predict


CONTESTANTS: dict[str, Callable[..., Callable]] = {
    "Combined": partial(fit_combined, booster="native"),
    BASE: partial(fit_lightgbm, mix_gains=False),
    GAINS: partial(fit_lightgbm, mix_gains=True),
}
OTHERS: dict[str, Callable[..., Callable]] = {
    "Combined on LightGBM's trees": partial(fit_combined, booster="lightgbm"),
    "Combined, mixing=gradients": partial(fit_combined, booster="native", mixing="gradients"),
    "Combined, mixing=labels": partial(fit_combined, booster="native", mixing="labels"),
}


def both_ndcg(test: Goals, scores: np.ndarray) -> list[float]:
    """NDCG@10 of either goal."""
    return [ndcg(test.Y[:, goal], scores, test.qid, k=10) for goal in range(2)]


def covered(theirs: np.ndarray, ours: np.ndarray) -> float:
    """Share of their models that one of ours is at least as good as, in both goals."""
    return float(np.mean([(ours >= point).all(axis=1).any() for point in theirs]))


def one_seed(seed: int, options: argparse.Namespace) -> tuple[dict[str, np.ndarray], list[float]]:
    """The models' NDCG@10, (n_weights, 2), of every contestant; and that of random orders."""
    train, test = make_goals(options.queries, 2 * seed), make_goals(options.test_queries, 2 * seed + 1)
    contestants = {**CONTESTANTS, **(OTHERS if options.all else {})}
    points = {
        name: np.array([both_ndcg(test, fit(train, weight, options)(test.X)) for weight in WEIGHTS])
        for name, fit in contestants.items()
    }
    # All scores are equal, and the metric is the mean over all orders of equal scores.
    return points, both_ndcg(test, np.zeros(len(test.X)))


def hull_area(points: np.ndarray, reference: Sequence[float]) -> float:
    """Area above the reference and below the upper convex hull of the front."""
    inside = np.maximum(points - np.asarray(reference), 0.0)
    # A model gives as much of one goal and nothing of the other, too: its corners close the area.
    corners = np.vstack([[0.0, 0.0], inside, [inside[:, 0].max(), 0.0], [0.0, inside[:, 1].max()]])
    return float(ConvexHull(corners).volume)


def summary(areas: dict[str, np.ndarray], shares: dict[str, np.ndarray]) -> list[str]:
    """Lines of a Markdown table; `areas` has a row for each seed: hypervolume, area below the hull."""
    lines = [
        f"| | hypervolume | hull | seeds won against `{BASE}` | against `{GAINS}` | dominates | dominated |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, values in areas.items():
        won = []
        for other in (BASE, GAINS):
            ahead = (values > areas[other]).sum(axis=0)
            won.append("" if name == other else f"{ahead[0]}, hull {ahead[1]}, of {len(values)}")
        taken, lost = shares[name].mean(axis=0)
        mean = values.mean(axis=0)
        cells = [name, f"{mean[0]:.4f}", f"{mean[1]:.4f}", *won, f"{taken:.0%}", f"{lost:.0%}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def compare(seeds: Sequence[int], options: argparse.Namespace) -> list[str]:
    """Run all seeds, and return the table."""
    found_areas: dict[str, list[tuple[float, float]]] = {}
    found_shares: dict[str, list[tuple[float, float]]] = {}
    run = delayed(one_seed)
    in_turn = Parallel(n_jobs=options.jobs, return_as="generator")(run(seed, options) for seed in seeds)
    for seed, (points, reference) in zip(seeds, in_turn):
        for name, found in points.items():
            areas = (hypervolume(found, reference), hull_area(found, reference))
            found_areas.setdefault(name, []).append(areas)
            shares = (covered(points[BASE], found), covered(found, points[BASE]))
            found_shares.setdefault(name, []).append(shares)
        shown = "  ".join(f"{values[-1][0]:.4f} {values[-1][1]:.4f}" for values in found_areas.values())
        print(f"seed {seed:3d}: {shown}", flush=True)
        if options.points:
            for name, found in points.items():
                print("   ", name, found.round(3).tolist(), flush=True)
    return summary(
        {name: np.array(values) for name, values in found_areas.items()},
        {name: np.array(values) for name, values in found_shares.items()},
    )


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    found = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    found.add_argument("--seeds", type=int, default=20)
    found.add_argument("--first", type=int, default=0, help="the first seed")
    found.add_argument("--queries", type=int, default=100)
    found.add_argument("--test-queries", type=int, default=250)
    found.add_argument("--trees", type=int, default=60)
    found.add_argument("--leaves", type=int, default=15)
    found.add_argument("--threads", type=int, default=1)
    found.add_argument("--jobs", type=int, default=1, help="seeds that run side by side")
    found.add_argument("--all", action="store_true", help="other ways to mix, too")
    found.add_argument("--points", action="store_true", help="also print the models of each front")
    return found


def main() -> None:
    options = parser().parse_args()
    print(
        "hypervolume and area below the hull of "
        + ", ".join({**CONTESTANTS, **(OTHERS if options.all else {})})
    )
    lines = compare(range(options.first, options.first + options.seeds), options)
    print(
        f"\n{options.queries} training and {options.test_queries} held-out queries, {len(WEIGHTS)} weights, "
    )
    print(f"{options.trees} trees of {options.leaves} leaves, {options.threads} thread\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
