"""Re-ranking: speed against apricot in one run, large sets, and the trade-off of relevance and diversity.

Run as ``python benchmarks/reranking.py [--mq2008 FOLDER] [--ukp FILE] [--plot FILE]``; FOLDER holds
Fold1/train.txt and so on, FILE is ukp_convarg1.jsonl. ``--quick`` takes seconds; ``--only`` runs a part.
Times are processor times, of one thread.
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

UTILITIES = ("facility", "logdet", "mmr", "redundancy", "max-sum", "coverage")
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
    """Median seconds of processor time, and the last result."""
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        spent.append(time.process_time() - start)
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
        many, _ = median(lambda u=utility: rerank(scores, 10, qid=qid, features=E, utility=u, n_jobs=1))
        length = n_long // 5 if utility == "facility" else n_long  # its cost grows with the square
        start = time.process_time()
        rerank(scores[:length], 50, features=E[:length], utility=utility, n_jobs=1)
        spent = time.process_time() - start
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
    features = genres + 0.05 * rng.normal(size=genres.shape)
    return truth + 0.7 * rng.normal(size=n), y, qid, topics, features, genres


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
    return ranker.predict(test.X), test.y, test.qid, topics, features, np.eye(8)[cluster]


def arguments(file: Path):
    """Arguments on 15 questions with embeddings of their texts; the topic of a good one is its cluster.

    Relevance is the share of duels that an argument won, in four grades; scores are that share with noise.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    from lambdamart_kit import PreferencePairs

    pairs = PreferencePairs.read(file)
    won = np.bincount(pairs.chosen, minlength=len(pairs.responses))
    share = won / (won + np.bincount(pairs.rejected, minlength=len(won)))
    question = np.array([prompt.split("|")[0].strip() for prompt in pairs.prompts])[pairs.response_prompt]
    words = TfidfVectorizer(sublinear_tf=True, stop_words="english").fit_transform(pairs.responses)
    features = TruncatedSVD(64, random_state=0).fit_transform(words)
    y = np.digitize(share, [0.25, 0.5, 0.75]).astype(float)
    cluster = np.zeros(len(y), dtype=int)
    for q in np.unique(question):
        rows = np.flatnonzero(question == q)
        unit = features[rows] / np.linalg.norm(features[rows], axis=1, keepdims=True).clip(1e-9)
        cluster[rows] = KMeans(8, n_init=5, random_state=0).fit_predict(unit)
    scores = share + 0.15 * np.random.default_rng(0).normal(size=len(y))
    return scores, y, question, np.eye(8)[cluster] * (y > 1)[:, None], features, np.eye(8)[cluster]


def curve(name: str, data, utility: str) -> list[tuple[float, float, float, float]]:
    """NDCG@10, alpha-nDCG@10 and distance of the re-ranked lists as `trade_off` moves."""
    scores, y, qid, topics, features, known = data
    # Coverage looks at what is known of a row without its relevance.
    given = {"topics": known} if utility == "coverage" else {"features": features}
    print(
        f"\n{name}, utility {utility}\n\n"
        "| trade_off | NDCG@10 | alpha-nDCG@10 | distance@10 |\n|---|---|---|---|"
    )
    points = []
    for trade_off in TRADE_OFFS:
        rows = rerank(scores, 10, qid=qid, utility=utility, trade_off=trade_off, **given)
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

    figure = Figure(figsize=(4.4 * len(curves), 4.0), layout="constrained")
    for axes, (name, by_utility) in zip(np.atleast_1d(figure.subplots(1, len(curves))), curves.items()):
        for utility, points in by_utility.items():
            trade_offs, relevance, novelty, _ = np.transpose(points)
            (line,) = axes.plot(relevance, novelty, ".-", linewidth=1, label=utility)
            half = trade_offs == 0.5
            axes.plot(relevance[half], novelty[half], "o", color=line.get_color())
        axes.set(title=name, xlabel="NDCG@10", ylabel=r"$\alpha$-nDCG@10")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#d8dee4", linewidth=0.6)
    axes.legend(frameon=False, fontsize=8, title="dot: trade_off .5")
    figure.savefig(path, dpi=110, facecolor="white")


def summary(name: str, by_utility: dict) -> None:
    """What each utility gains at best, and what half and half costs."""
    print(
        f"\n{name}: the best alpha-nDCG@10, and trade_off .5\n\n"
        "| utility | best alpha-nDCG | at trade_off | NDCG kept there | alpha-nDCG at .5 | NDCG kept at .5 | "
        "distance at .5 |\n|---|---|---|---|---|---|---|"
    )
    for utility, points in by_utility.items():
        trade_offs, relevance, novelty, distance = np.transpose(points)
        best = novelty.argmax()
        half = int(np.flatnonzero(trade_offs == 0.5)[0])
        print(
            f"| {utility} | {novelty[best]:.4f} | {trade_offs[best]:.1f} "
            f"| {relevance[best] / relevance[0]:.1%} | {novelty[half]:.4f} "
            f"| {relevance[half] / relevance[0]:.1%} | {distance[half]:.3f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--mq2008", type=Path)
    parser.add_argument("--ukp", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--only", choices=("speed", "curves"))
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    print(
        f"{datetime.date.today()}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"{known('lambdamart-kit')}, {known('apricot-select')}, numpy {np.__version__}"
    )
    if options.only in (None, "speed"):
        facility(300 if options.quick else 3000, 20 if options.quick else 200)
        scale(100 if options.quick else 10_000, 5_000 if options.quick else 100_000)
    if options.only == "speed":
        return
    sets = {"MovieLens-like": movies(50 if options.quick else 500)}
    if options.ukp:
        sets["UKP arguments, embeddings"] = arguments(options.ukp)
    if options.mq2008:
        sets["MQ2008 Fold1"] = mq2008(options.mq2008)
    curves = {name: {u: curve(name, data, u) for u in UTILITIES} for name, data in sets.items()}
    for name, by_utility in curves.items():
        summary(name, by_utility)
    if options.plot:
        draw(curves, options.plot)


if __name__ == "__main__":
    main()
