"""Re-ranking: speed against apricot in one run, large sets, and the trade-off of relevance and diversity.

Run as ``python benchmarks/reranking.py [--mq2008 FOLDER] [--plot FILE]``; FOLDER holds Fold1/train.txt and so
on. ``--quick`` takes seconds.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import time
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from lambdamart_kit import LambdaMART
from lambdamart_kit.core import greedy
from lambdamart_kit.datasets import read_letor
from lambdamart_kit.diversify import alpha_ndcg, intra_list_distance, rerank
from lambdamart_kit.metrics import ndcg

TRADE_OFFS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def known(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} not installed"


def embeddings(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Points around cluster centres, as real embeddings are, of unit length."""
    centres = rng.normal(size=(max(n // 50, 2), d))
    points = centres[rng.integers(0, len(centres), n)] + 0.7 * rng.normal(size=(n, d))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def median(function, repeats: int = 3):
    """Median seconds, and the last result."""
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        spent.append(time.perf_counter() - start)
    return float(np.median(spent)), result


def facility(n: int, k: int) -> None:
    """Facility location on one given similarity matrix: ours and apricot's lazy optimiser, paired."""
    E = embeddings(n, 64, np.random.default_rng(0)).astype(np.float64)
    S = np.maximum(E @ E.T, 0.0)
    print(f"\nFacility location, n = {n:,}, k = {k}, similarity given (medians of 3)\n")
    print("| maximiser | seconds | ratio | same picks |\n|---|---|---|---|")

    def ours(lazy=True):
        return greedy.maximise(
            greedy.problem(greedy.FACILITY, similarity=S), greedy.limits(k, lazy=lazy)
        ).items

    ours()
    seconds, picks = median(ours)
    plain, plain_picks = median(lambda: ours(lazy=False))
    print(f"| kit, lazy | {seconds:.3f} | 1.0 | |")
    print(f"| kit, plain | {plain:.3f} | {plain / seconds:.1f} | {(plain_picks == picks).all()} |")
    try:
        from apricot import FacilityLocationSelection
    except ImportError:
        print("apricot is not installed: left out")
        return

    def apricot(matrix=S, k=k):
        return FacilityLocationSelection(k, metric="precomputed", optimizer="lazy").fit(matrix**2).ranking

    apricot(S[:20, :20].copy(), 2)
    # apricot compiles its kernels anew in every fit: a tiny one measures that.
    compiling, _ = median(lambda: apricot(S[:20, :20].copy(), 2))
    theirs, ranking = median(apricot)
    same = (np.asarray(ranking) == picks).all()
    print(f"| apricot, lazy | {theirs:.3f} | {theirs / seconds:.1f} | {same} |")
    net = theirs - compiling
    print(f"| apricot, lazy, less compiling | {net:.3f} | {net / seconds:.1f} | {same} |")


def scale(n_queries: int, n_long: int) -> None:
    rng = np.random.default_rng(0)
    n = n_queries * 100
    E, scores, qid = embeddings(n, 64, rng), rng.normal(size=n), np.repeat(np.arange(n_queries), 100)
    print(
        f"\nSeconds from features, 64 dimensions: {n_queries:,} queries x 100 documents, k = 10; "
        "and one long list, k = 50\n"
    )
    print("| utility | many queries | one long list |\n|---|---|---|")
    for utility in ("logdet", "mmr", "redundancy", "max-sum", "facility"):
        rerank(scores[:300], 10, qid=qid[:300], features=E[:300], utility=utility)
        many, _ = median(lambda u=utility: rerank(scores, 10, qid=qid, features=E, utility=u))
        length = n_long // 5 if utility == "facility" else n_long  # its cost grows with the square
        start = time.perf_counter()
        rerank(scores[:length], 50, features=E[:length], utility=utility)
        spent = time.perf_counter() - start
        print(f"| {utility} | {many:.2f} | {spent:.2f} ({length:,} documents) |", flush=True)


def movies(n_users: int = 500):
    """MovieLens-like, 60 films a user: predicted scores, relevance, users, genres liked, genre features."""
    rng = np.random.default_rng(0)
    n, n_genres = n_users * 60, 12
    qid = np.repeat(np.arange(n_users), 60)
    genres = (rng.random((n, n_genres)) < 0.12).astype(float)
    genres[np.arange(n), rng.integers(0, n_genres, n)] = 1.0
    taste = rng.normal(size=(n_users, n_genres))
    truth = (genres * taste[qid]).sum(axis=1) + rng.normal(size=n)
    y = np.digitize(truth, [0.5, 1.5, 2.5, 3.5]).astype(float)
    topics = genres * (y > 0)[:, None]
    return truth + 0.7 * rng.normal(size=n), y, qid, topics, genres + 0.05 * rng.normal(size=genres.shape)


def mq2008(folder: Path):
    """LambdaMART on Fold1; the topic of a relevant document is the cluster of its features."""
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import StandardScaler

    train, test = (read_letor(folder / "Fold1" / f"{part}.txt") for part in ("train", "test"))
    ranker = LambdaMART(booster="lightgbm", n_estimators=100, num_leaves=15, random_state=0)
    ranker.fit(train.X, train.y, qid=train.qid)
    features = np.nan_to_num(StandardScaler().fit_transform(np.asarray(test.X)))
    cluster = KMeans(8, n_init=5, random_state=0).fit_predict(features)
    topics = np.eye(8)[cluster] * (test.y > 0)[:, None]
    return ranker.predict(test.X), test.y, test.qid, topics, features


def curve(name: str, data, utility: str) -> list[tuple[float, float, float, float]]:
    """NDCG@10, alpha-nDCG@10 and distance of the re-ranked lists as `trade_off` moves."""
    scores, y, qid, topics, features = data
    print(
        f"\n{name}, utility {utility}\n\n"
        "| trade_off | NDCG@10 | alpha-nDCG@10 | distance@10 |\n|---|---|---|---|"
    )
    points = []
    for trade_off in TRADE_OFFS:
        rows = rerank(scores, 10, qid=qid, features=features, utility=utility, trade_off=trade_off)
        place = np.full(len(scores), -np.inf)
        place[rows] = -np.arange(len(rows), dtype=float)
        point = (
            ndcg(y, place, qid, k=10),
            alpha_ndcg(topics, place, qid, k=10),
            intra_list_distance(features, place, qid, k=10),
        )
        points.append((trade_off, *point))
        print(f"| {trade_off:.1f} | " + " | ".join(f"{value:.4f}" for value in point) + " |")
    return points


def draw(curves: dict, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axes, (name, by_utility) in zip(np.atleast_1d(figure.subplots(1, len(curves))), curves.items()):
        for (utility, points), colour in zip(
            by_utility.items(), ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
        ):
            _, relevance, novelty, distance = np.transpose(points)
            axes.plot(distance, relevance, "o-", color=colour, markersize=4, label=f"{utility}: NDCG@10")
            axes.plot(
                distance, novelty, "s--", color=colour, markersize=3, label=rf"{utility}: $\alpha$-nDCG@10"
            )
        axes.set(title=name, xlabel="intra-list distance @10")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#d8dee4", linewidth=0.6)
        axes.legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=150, facecolor="white")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--mq2008", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    print(
        f"{datetime.date.today()}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"{known('lambdamart-kit')}, {known('apricot-select')}, numpy {np.__version__}"
    )
    facility(300 if options.quick else 3000, 20 if options.quick else 200)
    scale(100 if options.quick else 10_000, 5_000 if options.quick else 100_000)
    sets = {"MovieLens-like": movies(50 if options.quick else 500)}
    if options.mq2008:
        sets["MQ2008 Fold1"] = mq2008(options.mq2008)
    curves = {name: {u: curve(name, data, u) for u in ("mmr", "logdet")} for name, data in sets.items()}
    if options.plot:
        draw(curves, options.plot)


if __name__ == "__main__":
    main()
