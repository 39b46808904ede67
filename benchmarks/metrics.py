"""Speed of NDCG@10 over a million rows in ten thousand queries, against ranx, ir_measures and scikit-learn.

The peers want their own types, so each is timed twice: from the arrays (y, scores, qid), conversion
counted, and from objects that are ready. Ours is timed from the arrays (`ndcg`), and bound to its labels as
early stopping uses it (`Metric.bind` once, then scores). Every repetition runs all contestants one after
another; the table shows medians, and ratios to ours in the same repetition.

    python benchmarks/metrics.py            # about two minutes
    python benchmarks/metrics.py --quick    # a tenth of the rows

Peers that are not installed are left out: pip install ranx ir_measures.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import statistics
from collections.abc import Callable
from functools import partial

import numpy as np
import pandas as pd

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.metrics import NDCG, ndcg
from pairing import in_turn

K = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, one repetition")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peers", default="sklearn,ranx,ir_measures", help="comma-separated")
    options = parser.parse_args()
    n_queries, repeats = (1_000, 1) if options.quick else (10_000, options.repeats)
    versions = ["python", platform.python_version(), "numpy", importlib.metadata.version("numpy")]
    versions += ["numba", importlib.metadata.version("numba")]
    print(f"{datetime.date.today()}, {len(os.sched_getaffinity(0))} cores, {' '.join(versions)}")
    for layout in ("equal", "ragged"):
        y, scores, qid = rows(n_queries, layout)
        print(f"\n{len(y):,} rows in {n_queries:,} queries, {layout} sizes, NDCG@{K}, median of {repeats}\n")
        report(contestants(y, scores, qid, options.peers.split(",")), repeats)
    report_columns(in_turn(from_columns(y, scores, qid), max(2, 3 * repeats)))


def rows(n_queries: int, layout: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MSLR-like label shares; a hundred documents a query on average."""
    rng = np.random.default_rng(0)
    sizes = np.full(n_queries, 100)
    if layout == "ragged":
        sizes = 1 + rng.multinomial(99 * n_queries, rng.dirichlet(np.full(n_queries, 2.0)))
    qid = np.repeat(np.arange(n_queries), sizes)
    y = rng.choice(5, len(qid), p=[0.52, 0.32, 0.13, 0.02, 0.01]).astype(np.float32)
    return y, rng.normal(size=len(qid)).astype(np.float32), qid


def contestants(
    y: np.ndarray, scores: np.ndarray, qid: np.ndarray, peers: list[str]
) -> dict[str, tuple[Callable[[], object], Callable[[object], float]]]:
    """Name -> (untimed preparation, timed evaluation)."""
    queries = Queries.from_qid(qid, len(y))
    bound = NDCG(k=K).bind(y, queries)
    found = {
        "ours, from arrays": (lambda: None, lambda _: ndcg(y, scores, qid, k=K)),
        "ours, bound": (lambda: None, lambda _: bound(scores)),
    }
    for peer in peers:
        try:
            importlib.import_module(peer)
        except ImportError:
            print(f"{peer} is not installed: left out")
        else:
            found |= PEERS[peer](y, scores, qid)
    return found


def from_columns(y: np.ndarray, scores: np.ndarray, qid: np.ndarray) -> dict[str, Callable[[], float]]:
    """NDCG from arrays, and from pandas columns whose query ids are text, stored in three ways."""
    ids = pd.Series([f"query-{number:06d}" for number in qid.tolist()])
    stored = {
        "text": ids.astype("str"),
        "text as Python objects": ids.astype(object),
        "categories": ids.astype("category"),
    }
    labels, values = pd.Series(y), pd.Series(scores)
    found = {"arrays": lambda: ndcg(y, scores, qid, k=K)}
    return found | {name: lambda ids=ids: ndcg(labels, values, ids, k=K) for name, ids in stored.items()}


def with_sklearn(y, scores, qid):
    from sklearn.metrics import ndcg_score

    version = importlib.metadata.version("scikit-learn")
    gain = np.exp2(y) - 1.0
    ends = np.flatnonzero(np.diff(qid, append=-1)) + 1
    parts = [slice(a, b) for a, b in zip([0, *ends[:-1]], ends)]

    def loop(_):
        return np.mean(
            [ndcg_score(gain[None, p], scores[None, p], k=K) for p in parts if p.stop - p.start > 1]
        )

    found = {f"scikit-learn {version}, a call a query": (lambda: None, loop)}
    if len({p.stop - p.start for p in parts}) == 1:
        table = (len(parts), -1)
        for ignore in (False, True):
            found[f"scikit-learn, one table, ignore_ties={ignore}"] = (
                lambda: (gain.reshape(table), scores.reshape(table)),
                lambda ready, ignore=ignore: ndcg_score(*ready, k=K, ignore_ties=ignore),
            )
    return found


def with_ranx(y, scores, qid):
    import ranx

    version = importlib.metadata.version("ranx")
    strings = np.arange(len(y)).astype(str)
    ends = np.flatnonzero(np.diff(qid, append=-1)) + 1
    parts = [(str(q), slice(a, b)) for q, (a, b) in enumerate(zip([0, *ends[:-1]], ends))]

    def convert():
        labels, values = y.astype(int).tolist(), scores.astype(float).tolist()
        names = strings.tolist()
        judged = {q: {n: v for n, v in zip(names[p], labels[p]) if v > 0} for q, p in parts}
        run = {q: dict(zip(names[p], values[p])) for q, p in parts if judged[q]}
        return ranx.Qrels({q: judged[q] for q in run}), ranx.Run(run)

    def evaluate(ready):
        return ranx.evaluate(*ready, f"ndcg_burges@{K}")

    def typed_lists():
        qrels, run = convert()
        return qrels.to_typed_list(), run.to_typed_list()  # sorted by score: the sort is not timed

    return {
        f"ranx {version}, from arrays": (lambda: None, lambda _: evaluate(convert())),
        "ranx, from Qrels and Run": (convert, evaluate),
        "ranx, from sorted typed lists": (typed_lists, evaluate),
    }


def with_ir_measures(y, scores, qid):
    import ir_measures

    version = importlib.metadata.version("ir_measures")
    measure = ir_measures.nDCG(gains={label: 2**label - 1 for label in range(5)}) @ K
    documents, labels = np.arange(len(y)).astype(str).tolist(), y.astype(int).tolist()
    values, ids = scores.astype(float).tolist(), qid.astype(str).tolist()

    def convert():
        qrels: dict[str, dict[str, int]] = {}
        run: dict[str, dict[str, float]] = {}
        for q, document, label, value in zip(ids, documents, labels, values):
            qrels.setdefault(q, {})[document] = label
            run.setdefault(q, {})[document] = value
        return qrels, run

    def evaluate(ready):
        return ir_measures.calc_aggregate([measure], *ready)[measure]

    def evaluator():
        qrels, run = convert()
        return ir_measures.evaluator([measure], qrels), run

    return {
        f"ir_measures {version}, from arrays": (lambda: None, lambda _: evaluate(convert())),
        "ir_measures, from dicts": (convert, evaluate),
        "ir_measures, prepared evaluator": (evaluator, lambda e: e[0].calc_aggregate(e[1])[measure]),
    }


PEERS = {"sklearn": with_sklearn, "ranx": with_ranx, "ir_measures": with_ir_measures}


def timed(entries, repeats: int) -> tuple[dict[str, float], dict[str, list[float]]]:
    """NDCG of each contestant, and its seconds in each turn; what it needs before is prepared outside."""
    prepared = {name: prepare() for name, (prepare, _) in entries.items()}
    values = {name: evaluate(prepared[name]) for name, (_, evaluate) in entries.items()}  # compile, warm up
    calls = {name: partial(evaluate, prepared[name]) for name, (_, evaluate) in entries.items()}
    return values, in_turn(calls, repeats, warm=False)


def report_columns(seconds: dict[str, list[float]]) -> None:
    print("\n| query ids | ms | times those from arrays |\n|---|---|---|")
    for name, taken in seconds.items():
        ratios = sorted(theirs / ours for theirs, ours in zip(taken, seconds["arrays"]))
        middle = f"{statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})"
        print(f"| {name} | {1e3 * statistics.median(taken):.1f} | {middle} |")


def report(entries, repeats: int) -> None:
    values, seconds = timed(entries, repeats)
    arrays, bound = seconds["ours, from arrays"], seconds["ours, bound"]
    print("| contestant | NDCG@10 | ms | times ours, from arrays | times ours, bound |")
    print("|---|---|---|---|---|")
    for name, taken in seconds.items():
        ratios = [statistics.median(t / o for t, o in zip(taken, ours)) for ours in (arrays, bound)]
        print(
            f"| {name} | {values[name]:.6f} | {1e3 * statistics.median(taken):.1f} "
            f"| {ratios[0]:.1f} | {ratios[1]:.1f} |"
        )


if __name__ == "__main__":
    main()
