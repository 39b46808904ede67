"""How training time grows with rows, features, leaves and threads: native trees against LightGBM's.

One thing varies at a time around 200,000 rows x 136 features of MSLR's shape, 63 leaves and all cores; both
sides have the same rows, threads, bins (255) and learning rate. A cell is seconds for one tree, gradient
included, the mean of a few after the first; binning is apart. Each point is measured on both sides in turn,
written to a file of JSON lines at once, and not measured again when the script is run again.

    python benchmarks/training_scaling.py                          # all axes, about ten minutes on two cores
    python benchmarks/training_scaling.py --axis leaves --seconds 1
    python benchmarks/training_scaling.py --quick                  # a hundredth of the rows, a minute
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightgbm
import matplotlib
import numpy as np

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.objectives import LambdaNDCG
from lambdamart_kit.trees.binning import BinMapper
from lambdamart_kit.trees.growth.grower import Grower
from lambdamart_kit.trees.parameters import TreeParameters

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.ticker import LogLocator

AXES = {
    "rows": [50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000],
    "features": [10, 30, 136, 400, 1000],
    "leaves": [7, 31, 63, 255, 1023],
    "threads": [1, 2],
}
BASE = {"rows": 200_000, "features": 136, "leaves": 63, "threads": 2}
WIDE_ROWS = 100_000  # rows of the features axis, so that a thousand float32 columns stay under 1 GB
Point = dict[str, int]


def make_rows(rows: int, features: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X, y and query ids; more than 136 features are the generated ones over again, each with its own noise.

    Rows beyond a million repeat earlier ones with other queries: what a row costs does not depend on it.
    """
    data = make_letor(max(1, min(rows, 1_000_000) // 115), random_state=0)
    n = min(rows, len(data.y))
    X, y = data.X[:n], data.y[:n]
    qid = np.repeat(np.arange(len(data.queries.sizes)), data.queries.sizes)[:n]
    if rows > n:
        times = -(-rows // n)
        X, y = np.tile(X, (times, 1))[:rows], np.tile(y, times)[:rows]
        qid = np.concatenate([qid + copy * (qid[-1] + 1) for copy in range(times)])[:rows]
    if features != X.shape[1]:
        rng = np.random.default_rng(1)
        columns = np.arange(features) % X.shape[1]
        wide = np.ascontiguousarray(X[:, columns])
        for j in range(X.shape[1], features):
            wide[:, j] *= rng.uniform(0.5, 1.5, len(wide)).astype(np.float32)  # zeros stay zeros
        X = wide
    return X, y, qid


def per_tree(grow: Callable[[int], Any], seconds: float) -> float:
    """Seconds for one tree: mean of those that fit into `seconds`, 2 at least, after a first one."""
    grow(0)
    started, n = time.perf_counter(), 0
    while n < 2 or time.perf_counter() - started < seconds:
        n += 1
        grow(n)
    return (time.perf_counter() - started) / n


def native(X: np.ndarray, y: np.ndarray, qid: np.ndarray, point: Point, seconds: float) -> dict[str, float]:
    threads = point["threads"]
    started = time.perf_counter()
    queries = Queries.from_qid(qid, len(y))
    bound = LambdaNDCG().bind(y, queries, n_threads=threads)
    binned = BinMapper.fit(X, queries, n_threads=threads).transform(X, n_threads=threads)
    grower = Grower(binned, queries, TreeParameters(num_leaves=point["leaves"]), n_threads=threads)
    binning = time.perf_counter() - started
    scores = np.zeros(len(y))

    def grow(index: int) -> None:
        gradient, hessian = bound.gradient_hessian(scores.astype(np.float32))
        grower.grow(gradient, hessian, scores, tree_index=index)

    return {"bin": binning, "tree": per_tree(grow, seconds)}


def lightgbm_trees(
    X: np.ndarray, y: np.ndarray, qid: np.ndarray, point: Point, seconds: float
) -> dict[str, float]:
    settings = {
        "objective": "lambdarank",
        "num_leaves": point["leaves"],
        "learning_rate": 0.1,
        "max_bin": 255,
        "num_threads": point["threads"],
        "verbosity": -1,
    }
    started = time.perf_counter()
    sizes = np.unique(qid, return_counts=True)[1]
    dataset = lightgbm.Dataset(X, y, group=sizes, params=settings).construct()
    booster = lightgbm.Booster(settings, dataset)
    binning = time.perf_counter() - started
    return {"bin": binning, "tree": per_tree(lambda _: booster.update(), seconds)}


SIDES = {"native": native, "lightgbm": lightgbm_trees}


def points(axis: str, scale: float) -> Iterator[Point]:
    for value in AXES[axis]:
        point = {**BASE, axis: value}
        if axis == "features":
            point["rows"] = WIDE_ROWS
        point["rows"] = max(500, round(point["rows"] * scale))
        point["threads"] = min(point["threads"], len(os.sched_getaffinity(0)))
        yield point


def measure(axes: list[str], scale: float, seconds: float, out: Path) -> list[dict[str, Any]]:
    """Measure what `out` does not hold yet; returns all it holds."""
    found = [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []
    done = {json.dumps(entry["point"]) for entry in found}
    X, y, qid = make_rows(2000, 136)
    native(X, y, qid, {**BASE, "threads": 2}, 0.0)  # compile
    made: tuple[tuple[int, int], Any] | None = None
    for axis in axes:
        for point in points(axis, scale):
            if json.dumps(point) in done:
                continue
            shape = (point["rows"], point["features"])
            if made is None or made[0] != shape:
                made = None  # before the next is made, or both are in memory
                made = (shape, make_rows(*shape))
            entry = {"point": point, **{side: run(*made[1], point, seconds) for side, run in SIDES.items()}}
            found.append(entry)
            done.add(json.dumps(point))
            with out.open("a") as lines:
                lines.write(json.dumps(entry) + "\n")
    return found


def show(axis: str, scale: float, found: list[dict[str, Any]]) -> tuple[list[int], list[dict[str, Any]]]:
    """Print the table of one axis."""
    by_point = {json.dumps(entry["point"]): entry for entry in found}
    entries = [by_point[key] for key in map(json.dumps, points(axis, scale)) if key in by_point]
    values = [entry["point"][axis] for entry in entries]
    print(
        f"\n| {axis} | native s a tree | LightGBM s a tree | LightGBM / native | bin s | LightGBM's bin s |"
    )
    print("|---|---|---|---|---|---|")
    for value, entry in zip(values, entries):
        ours, theirs = entry["native"], entry["lightgbm"]
        print(
            f"| {value:,} | {ours['tree']:.4f} | {theirs['tree']:.4f} | {theirs['tree'] / ours['tree']:.2f} "
            f"| {ours['bin']:.2f} | {theirs['bin']:.2f} |"
        )
    return values, entries


def draw(tables: dict[str, tuple[list[int], list[dict[str, Any]]]], path: Path) -> None:
    """One panel an axis, both sides, on logarithmic scales: a straight line is a power law."""
    figure, panels = pyplot.subplots(1, len(tables), figsize=(3.6 * len(tables), 3.4), squeeze=False)
    for panel, (axis, (values, entries)) in zip(panels[0], tables.items()):
        for side, marker, label in (("lightgbm", "s--", "LightGBM"), ("native", "o-", "native")):
            panel.plot(values, [entry[side]["tree"] for entry in entries], marker, label=label)
        panel.set(xscale="log", yscale="log", xlabel=axis)
        panel.set_xticks(values, [f"{v:,}" for v in values], rotation=45, ha="right")
        panel.minorticks_off()
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("seconds a tree")
    panels[0][0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--axis", default=",".join(AXES), help="axes to measure, by commas")
    parser.add_argument("--seconds", type=float, default=3.0, help="about how long to grow trees at a point")
    parser.add_argument("--quick", action="store_true", help="a hundredth of the rows, 0.2 seconds a point")
    parser.add_argument("--out", type=Path, default=Path("training_scaling.jsonl"))
    parser.add_argument("--picture", type=Path, default=Path("training_scaling.png"))
    options = parser.parse_args()
    scale, seconds = (0.01, 0.2) if options.quick else (1.0, options.seconds)
    axes = options.axis.split(",")
    if unknown := set(axes) - set(AXES):
        parser.error(f"--axis must be among {', '.join(AXES)}; got {', '.join(sorted(unknown))}")
    versions = " ".join(f"{p} {importlib.metadata.version(p)}" for p in ("numpy", "numba", "lightgbm"))
    print(f"{datetime.date.today()}, {len(os.sched_getaffinity(0))} cores, {versions}")
    found = measure(axes, scale, seconds, options.out)
    tables = {axis: show(axis, scale, found) for axis in axes}
    draw({axis: table for axis, table in tables.items() if table[0]}, options.picture)


if __name__ == "__main__":
    main()
