"""What `ranker.compress` gains and loses: time and NDCG@10 on test queries that it has never seen.

Each model is compressed on queries that it was not trained on, and scored on test queries: the kit's
`predict` of all trees, that of the compressed ranker with the ids of queries, and LightGBM's own, in turn, in
processor seconds of one thread. Generated data have the shape of MSLR-WEB; real data are used where they are.

    python benchmarks/compression.py                       # 2,000 queries of 100 documents each: 15 minutes
    python benchmarks/compression.py --quick               # 300 queries
    python benchmarks/compression.py --data DIR            # with mslr_web10k_fold1_5k and mq2008 in DIR
    python benchmarks/compression.py --alternatives        # other ways to have a third of the trees
    python benchmarks/compression.py --promises            # how often the promise is broken
    python benchmarks/compression.py --operations          # what the cost of an operation is measured by
"""

from __future__ import annotations

import argparse
import datetime
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import lightgbm
import numpy as np

from lambdamart_kit import LambdaMART, XGBoostRanker
from lambdamart_kit.datasets import make_letor, read_letor
from lambdamart_kit.metrics import ndcg
from lambdamart_kit.rankers import load_ranker
from pairing import in_turn
from serving import paired_ratio, score_each

TOLERANCE = 5e-4


def report(
    name: str, ranker, other, test, repeats: int, tolerance: float = TOLERANCE, y: bool = True
) -> None:
    """Compress a ranker on the queries `other`, and print what that does on `test`."""
    ranker.set_params(n_jobs=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        started = time.process_time()
        labels = other.y if y else None
        small = ranker.compress(other.X, other.qid, y=labels, tolerance=tolerance)
        taken = time.process_time() - started
    print(f"\n## {name}\n")
    print(
        f"compress: {taken:.1f} s for {len(np.unique(other.qid)):,} queries, {len(other.X):,} rows, "
        f"tolerance {tolerance:g}{'' if y else ', without labels'}"
    )
    for warning in caught:
        print(f"  warning: {warning.message}")
    for line in str(small.compression_).splitlines():
        print(f"  {line}")
    before = ndcg(test.y, ranker.predict(test.X), test.qid, k=10, per_query=True)
    after = ndcg(test.y, small.predict(test.X, qid=test.qid), test.qid, k=10, per_query=True)
    losses = (before - after)[~np.isnan(before)]
    print(
        f"test, {len(losses):,} queries: NDCG@10 {np.nanmean(before):.5f} before, {np.nanmean(after):.5f} "
        f"after; loss {losses.mean():.5f} +- {losses.std() / np.sqrt(len(losses)):.5f}"
    )
    calls = {
        "all trees": lambda: ranker.predict(test.X),
        "compressed": lambda: small.predict(test.X, qid=test.qid),
        "compressed, no ids": lambda: small.predict(test.X),
    }
    native = hasattr(ranker.booster_, "model_to_string")
    if native:
        booster = ranker.booster_
        calls["lightgbm"] = lambda: booster.predict(test.X, raw_score=True, num_threads=1)
    times = in_turn(calls, repeats, clock=time.process_time)
    for key, values in times.items():
        print(f"  {key:20} {np.median(values) / len(test.X) * 1e6:7.3f} us a row")
    gain = paired_ratio(times["all trees"], times["compressed"])
    without = paired_ratio(times["all trees"], times["compressed, no ids"])
    print(f"  compressed against all trees: {gain}; without ids {without}")
    if native:
        print(
            f"  against LightGBM: compressed {paired_ratio(times['lightgbm'], times['compressed'])}, "
            f"all trees {paired_ratio(times['lightgbm'], times['all trees'])}"
        )
    queries = [test.X[test.qid == q][:100].copy() for q in np.unique(test.qid)[:100]]
    single = in_turn(
        {
            "all trees": score_each(ranker.predict, queries),
            "compressed": score_each(lambda q: small.predict(q, qid=0), queries),
        },
        repeats,
        clock=time.process_time,
    )
    for key, values in single.items():
        print(f"  single queries, {key:12} {np.median(values) / len(queries) * 1e3:7.3f} ms")
    gain = paired_ratio(single["all trees"], single["compressed"])
    print(f"  single queries, compressed against all trees: {gain}", flush=True)


def generated(n: int, seed: int):
    return make_letor(n, mean_documents=100, random_state=seed)


def trained(path: Path | None, make: Callable):
    """The ranker of the file, or a new one, which is kept there."""
    if path is not None and path.exists():
        return load_ranker(path)
    ranker = make()
    if path is not None:
        ranker.save(path)
    return ranker


def models(options: argparse.Namespace):
    n = options.queries
    train, stop = generated(n, 0), generated(max(100, n // 4), 9)
    held_out = {"X_val": stop.X, "y_val": stop.y, "qid_val": stop.qid}
    shared = {"num_leaves": 63, "random_state": 0, "n_jobs": 1}
    slow = {"n_estimators": 800, "learning_rate": 0.012, "early_stopping_rounds": 60, **shared}

    def fit(ranker, **more):
        return lambda: ranker.fit(train.X, train.y, qid=train.qid, **more)

    return {
        "native, stopped early": fit(LambdaMART(**slow), **held_out),
        "native, 300 trees at rate .1": fit(LambdaMART(n_estimators=300, **shared)),
        "LightGBM's trees, stopped early": fit(LambdaMART(booster="lightgbm", **slow), **held_out),
        "XGBoost's ranker, stopped early": fit(XGBoostRanker(**slow), **held_out),
    }


def on_generated(options: argparse.Namespace) -> None:
    other, test = generated(options.queries, 1), generated(options.queries, 2)
    for number, (name, make) in enumerate(models(options).items()):
        if options.only and number not in options.only:
            continue
        path = options.keep / f"model{number}_{options.queries}.lmk" if options.keep else None
        ranker = trained(path, make)
        report(f"{name}: {ranker.model_.n_trees} trees of 63 leaves", ranker, other, test, options.repeats)
        if number == 0:
            report(f"{name}, without labels", ranker, other, test, options.repeats, tolerance=5e-3, y=False)


def on_real(options: argparse.Namespace) -> None:
    folder = options.data / "mslr_web10k_fold1_5k"
    if folder.exists():
        train = read_letor(folder / "msn1.fold1.train.5k.txt")
        test = read_letor(folder / "msn1.fold1.test.5k.txt")
        queries = np.unique(train.qid)
        first = np.isin(train.qid, queries[::2])
        ranker = LambdaMART(n_estimators=300, num_leaves=63, random_state=0, n_jobs=1)
        ranker.fit(train.X[first], train.y[first], qid=train.qid[first])
        rest = type(train)(train.X[~first], train.y[~first], train.qid[~first])
        for tolerance in (TOLERANCE, 0.02):
            report("MSLR-WEB10K, sample of 5,000 rows", ranker, rest, test, options.repeats, tolerance)
    if not (options.data / "mq2008").exists():
        return
    for fold in range(1, 6):
        parts = [
            read_letor(options.data / "mq2008" / f"Fold{fold}" / f"{part}.txt", n_features=46)
            for part in ("train", "vali", "test")
        ]
        ranker = LambdaMART(n_estimators=300, num_leaves=63, random_state=0, n_jobs=1)
        ranker.fit(parts[0].X, parts[0].y, qid=parts[0].qid)
        for tolerance in (TOLERANCE, 0.02):
            report(f"MQ2008, fold {fold}", ranker, parts[1], parts[2], options.repeats, tolerance)


def alternatives(options: argparse.Namespace) -> None:
    """NDCG@10 of a third of the trees: the first ones, reweighted ones, and a model of the model's scores."""
    other, test = generated(options.queries, 1), generated(options.queries, 2)
    name, make = next(iter(models(options).items()))
    ranker = trained(options.keep / f"model0_{options.queries}.lmk" if options.keep else None, make)
    model = ranker.model_
    n = model.n_trees
    third = n // 3
    full = ndcg(test.y, ranker.predict(test.X), test.qid, k=10)
    print(f"\n## {name}: a third of {n} trees, NDCG@10 on test queries (all trees: {full:.5f})\n")

    def show(what: str, scores: np.ndarray) -> None:
        print(f"  {what:60} {ndcg(test.y, scores, test.qid, k=10) - full:+.5f}", flush=True)

    show("the first third", ranker.predict(test.X, n_trees=third))

    def columns(X: np.ndarray, size: int) -> np.ndarray:
        bounds = [(start, min(start + size, n)) for start in range(0, n, size)]
        return np.column_stack([model.predict(X, iteration_range=b) for b in bounds])

    def centred(values: np.ndarray, qid: np.ndarray) -> np.ndarray:
        _, query = np.unique(qid, return_inverse=True)
        sums = np.stack([np.bincount(query, weights=column) for column in values.T], axis=1)
        return values - (sums / np.bincount(query)[:, None])[query]

    trees, own = columns(other.X, 1), columns(test.X, 1)
    part = centred(trees, other.qid)
    target = part.sum(axis=1)
    gram = part.T @ part
    for what, chosen in {
        "the first third, each tree reweighted by ridge": np.arange(third),
        "every third tree, reweighted by ridge": np.arange(0, n, 3),
        "the third chosen by orthogonal matching pursuit, reweighted": pursued(part, target, third),
    }.items():
        square = gram[np.ix_(chosen, chosen)]
        weights = np.linalg.solve(
            square + 1e-3 * np.trace(square) / len(chosen) * np.eye(len(chosen)), part[:, chosen].T @ target
        )
        show(what, own[:, chosen] @ weights)
    scores = ranker.predict(other.X)
    span = scores.max() - scores.min()
    for rate in (0.05, 0.1):
        booster = lightgbm.train(
            {
                "objective": "regression",
                "num_leaves": 63,
                "learning_rate": rate,
                "verbose": -1,
                "num_threads": 1,
            },
            lightgbm.Dataset(other.X, scores / span),
            third,
        )
        show(f"{third} new trees of the scores (distillation), rate {rate}", booster.predict(test.X))


def pursued(part: np.ndarray, target: np.ndarray, n: int) -> np.ndarray:
    """The n trees that explain the scores best, one after the other."""
    gram, moments = part.T @ part, part.T @ target
    chosen: list[int] = []
    for _ in range(n):
        residual = moments.copy()
        if chosen:
            residual -= gram[:, chosen] @ np.linalg.solve(gram[np.ix_(chosen, chosen)], moments[chosen])
        gain = np.abs(residual) / np.sqrt(np.diag(gram) + 1e-12)
        gain[chosen] = -1
        chosen.append(int(np.argmax(gain)))
    return np.sort(chosen)


def promises(options: argparse.Namespace) -> None:
    """Compress on draws of queries, and measure the true loss on the many that were not drawn."""
    make = next(iter(models(options).values()))
    ranker = trained(options.keep / f"model0_{options.queries}.lmk" if options.keep else None, make)
    ranker.set_params(n_jobs=1)
    data = make_letor(4 * options.queries, mean_documents=60, random_state=77)
    ids = np.unique(data.qid)
    before = ndcg(data.y, ranker.predict(data.X), data.qid, k=10, per_query=True)
    found = []
    for draw in range(options.draws):
        chosen = np.random.default_rng(draw).permutation(len(ids))[: 3 * options.queries // 4]
        drawn = np.isin(data.qid, ids[chosen])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            small = ranker.compress(data.X[drawn], data.qid[drawn], y=data.y[drawn], tolerance=TOLERANCE)
        rest = ~drawn
        after = ndcg(
            data.y[rest],
            small.predict(data.X[rest], qid=data.qid[rest]),
            data.qid[rest],
            k=10,
            per_query=True,
        )
        losses = np.delete(before, chosen) - after
        losses = losses[~np.isnan(losses)]
        found.append((small.compression_.speed_up, losses.mean(), losses.std() / np.sqrt(len(losses))))
        print("  expected speed-up {:.2f}, true loss {:.5f} +- {:.5f}".format(*found[-1]), flush=True)
    speeds, true, errors = np.array(found).T
    surely = (true - 2 * errors > TOLERANCE).sum()
    print(f"  over {TOLERANCE}: {(true > TOLERANCE).sum()} of {len(true)}, by two standard errors {surely}")
    print(f"  mean loss {true.mean():.5f}, median of the expected speed-ups {np.median(speeds):.2f}")


def operations(options: argparse.Namespace) -> None:
    """Nanoseconds a row by what the first trees have: what the costs in `rankers.compression` are from."""
    from lambdamart_kit.trees.forest import Forest

    make = next(iter(models(options).values()))
    ranker = trained(options.keep / f"model0_{options.queries}.lmk" if options.keep else None, make)
    trees = ranker.model_.model_trees()
    X = generated(30, 2).X[:2048].copy()
    lines, times = [], []
    for n in (1, 2, 4, 8, 16, 32, 64, 128, len(trees)):
        forest = Forest.of_trees(trees[:n])
        calls = {"": lambda f=forest, n=n: [f.predict(X, 0, n) for _ in range(5)]}
        taken = min(in_turn(calls, 9, clock=time.process_time)[""]) / 5
        lines.append((1.0, len(forest.codes.thresholds), forest.trees.node_ptr[-1] + n))
        times.append(taken / len(X) * 1e9)
        print(
            f"  {n:4} trees, {lines[-1][1]:6,} thresholds, {lines[-1][2]:6,} nodes: {times[-1]:7.1f} ns a row"
        )
    weights = 1.0 / np.array(times)
    row, threshold, node = np.linalg.lstsq(
        np.array(lines) * weights[:, None], np.ones(len(times)), rcond=None
    )[0]
    print(
        f"  a row {row:.1f} ns, a threshold {threshold:.4f} ns, a node or leaf {node:.4f} ns: "
        f"{row / node:.0f} and {threshold / node:.2f} in nodes"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--queries", type=int, default=2000, help="to train on, to compress on, and to test on"
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--keep", type=Path, help="folder for the models")
    parser.add_argument("--data", type=Path, help="folder with real data")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of the models on generated data")
    parser.add_argument("--alternatives", action="store_true")
    parser.add_argument("--promises", action="store_true")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--operations", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.queries = 300
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    cores = len(os.sched_getaffinity(0))
    print(
        f"{datetime.date.today()}, {cores} cores, one thread; lightgbm {lightgbm.__version__}; "
        f"{options.queries:,} queries"
    )
    if options.operations:
        operations(options)
    elif options.promises:
        promises(options)
    elif options.alternatives:
        alternatives(options)
    elif options.data:
        on_real(options)
    else:
        on_generated(options)


if __name__ == "__main__":
    main()
