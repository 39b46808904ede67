"""Scoring: `Model.predict` against LightGBM and Treelite, in batches and one query at a time.

The model is LambdaMART's own (500 trees); LightGBM scores the same file, and Treelite what it makes of it:
compiled to machine code by tl2cgen and gcc, and by its own interpreter (GTIL). Rows are generated like
MSLR's. All three work on arrays; what the estimator's `predict` adds is reported beside. The interpreter is
timed on the first 100,000 rows of a batch, because it takes minutes for a million.

    python benchmarks/serving.py --keep DIR --prepare     # train and compile: minutes, most of them gcc's
    python benchmarks/serving.py --keep DIR               # a million rows
    python benchmarks/serving.py --quick
    python benchmarks/serving.py --pairs 7 --trees 300 --leaves 63   # LightGBM alone, on a busy machine

With `--pairs`, the kit and LightGBM score in turn on one thread, in processor seconds; the ratios are of one
pair each.
"""

from __future__ import annotations

import argparse
import datetime
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import lightgbm
import numpy as np

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.trees.forest import Forest
from pairing import in_turn, orders

INTERPRETED_ROWS = 100_000


@dataclass
class Timed:
    """Seconds of a batch in each turn, and of every single query in each turn."""

    batches: list[float]
    singles: list[np.ndarray]


def paired_ratio(slow: Sequence[float], fast: Sequence[float]) -> str:
    """Median of the ratios of one turn each, and their range."""
    ratios = np.divide(slow, fast)
    return f"{np.median(ratios):.1f} ({ratios.min():.1f} to {ratios.max():.1f})"


def score_each(predict: Callable, queries: list[np.ndarray]) -> Callable[[], None]:
    """A call that scores the queries one by one."""

    def run() -> None:
        for query in queries:
            predict(query)

    return run


def pairs(path: Path, X: np.ndarray, options: argparse.Namespace) -> None:
    """Batches and single queries of 100 rows beside LightGBM, in turn."""
    ranker = LambdaMART.load(path.with_suffix(".lmk")).set_params(n_jobs=1)
    booster, forest = lightgbm.Booster(model_file=path), Forest.of_text(path.read_text())
    n = booster.num_trees()
    contestants = {
        "lambdamart_kit": lambda X: forest.predict(X, 0, n),
        "its estimator's predict": ranker.predict,
        "lightgbm": lambda X: booster.predict(X, raw_score=True, num_threads=1),
    }
    assert np.array_equal(contestants["lambdamart_kit"](X[:20_000]), contestants["lightgbm"](X[:20_000]))
    queries = [X[i * 100 : i * 100 + 100].copy() for i in range(100)]
    print(
        f"{datetime.date.today()}, one thread, lightgbm {lightgbm.__version__}; {len(X):,} rows x 136, {n} "
    )
    print(f"trees of {options.leaves} leaves; processor seconds, medians of {options.pairs}, equal scores")
    batches = {name: partial(predict, X) for name, predict in contestants.items()}
    singles = {name: score_each(predict, queries) for name, predict in contestants.items()}
    batch = in_turn(batches, options.pairs, clock=time.process_time)
    single = in_turn(singles, options.pairs, clock=time.process_time)
    for name in contestants:
        print(
            f"{name:26} {np.median(batch[name]) / len(X) * 1e6:7.3f} us a row, LightGBM takes "
            f"{paired_ratio(batch['lightgbm'], batch[name])} times that; a query "
            f"{np.median(single[name]) * 10:6.3f} ms, best {min(single[name]) * 10:6.3f}, LightGBM "
            f"{paired_ratio(single['lightgbm'], single[name])} times"
        )


def one_by_one(predict: Callable, queries: list[np.ndarray], n: int) -> np.ndarray:
    """Seconds of n single queries."""
    taken = np.empty(n)
    for at, query in enumerate(islice(cycle(queries), n)):
        started = time.perf_counter()
        predict(query)
        taken[at] = time.perf_counter() - started
    return taken


def in_turns(found: dict[str, Callable], X: np.ndarray, turns: int, n_single: int) -> dict[str, Timed]:
    """Batches and single queries of 100 rows of every contestant, all contestants in each turn."""
    queries = [X[i * 100 : i * 100 + 100].copy() for i in range(50)]
    parts = {name: X[:INTERPRETED_ROWS] if name.endswith("interpreted") else X for name in found}
    for predict in found.values():
        predict(X[:20_000])
        one_by_one(predict, queries, 5)
    batches = in_turn({name: partial(found[name], parts[name]) for name in found}, turns, warm=False)
    timed = {name: Timed(batches[name], []) for name in found}
    for order in orders(list(found), turns):
        for name in order:
            timed[name].singles.append(one_by_one(found[name], queries, n_single // turns))
    return timed


def compiled(path: Path, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """The model as machine code, compiled once."""
    import tl2cgen
    import treelite

    library = path.with_suffix(".so")
    if not library.exists():
        model = treelite.frontend.load_lightgbm_model(path)
        tl2cgen.export_lib(model, toolchain="gcc", libpath=library, params={"parallel_comp": 32})
    predictor = tl2cgen.Predictor(library, nthread=threads)
    return lambda X: predictor.predict(tl2cgen.DMatrix(X), pred_margin=True).ravel()


def interpreted(path: Path, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    import treelite

    model = treelite.frontend.load_lightgbm_model(path)
    return lambda X: treelite.gtil.predict(model, X, nthread=threads, pred_margin=True).ravel()


def contestants(path: Path, ranker: LambdaMART, threads: int, with_gcc: bool) -> dict[str, Callable]:
    booster, forest = lightgbm.Booster(model_file=path), Forest.of_text(path.read_text())
    n = booster.num_trees()
    found = {
        "lambdamart_kit": lambda X: forest.predict(X, 0, n, n_threads=threads),
        "its estimator's predict": ranker.set_params(n_jobs=threads).predict,
        "lightgbm": lambda X: booster.predict(X, raw_score=True, num_threads=threads),
    }
    try:
        found["treelite, interpreted"] = interpreted(path, threads)
        if with_gcc:
            found["treelite, compiled"] = compiled(path, threads)
    except ImportError as error:
        print(f"without treelite: {error}")
    return found


def prepare(folder: Path, trees: int, leaves: int, *, with_gcc: bool) -> Path:
    """The model of LambdaMART, and as LightGBM's text, from which Treelite's library is made beside it."""
    saved, path = folder / "model.lmk", folder / "model.txt"
    if not path.exists():
        train = make_letor(400, random_state=0)
        ranker = LambdaMART(n_estimators=trees, num_leaves=leaves, random_state=0)
        ranker.fit(train.X, train.y, qid=train.qid).save(saved)
        path.write_text(ranker.booster_.model_to_string())
    if with_gcc:
        with suppress(ImportError):
            compiled(path, 1)
    return path


def rows(n_rows: int) -> np.ndarray:
    base = make_letor(400, random_state=1).X
    X = np.resize(base, (n_rows, base.shape[1]))
    X *= np.random.default_rng(0).uniform(0.9, 1.1, (n_rows, 1)).astype(np.float32)
    return X


def measure(path: Path, X: np.ndarray, options: argparse.Namespace) -> None:
    ranker = LambdaMART.load(path.with_suffix(".lmk"))
    turns, n_single = (1, 100) if options.quick else (2, 600)
    size = f"{len(X):,} rows x 136, {ranker.model_.n_trees} trees of {options.leaves} leaves"
    cores = len(os.sched_getaffinity(0))
    print(f"{datetime.date.today()}, {cores} cores, lightgbm {lightgbm.__version__}; {size}\n")
    heads = zip(("threads", "batch s", "us a row", "p50 ms", "p99 ms", "differs by"), (8, 10, 10, 9, 9, 12))
    print(" " * 26 + "".join(f"{text:>{width}}" for text, width in heads))
    for threads in options.threads:
        found = contestants(path, ranker, threads, not options.no_gcc)
        scores = {name: predict(X[:20_000]) for name, predict in found.items()}
        for name, timed in in_turns(found, X, turns, n_single).items():
            batch = min(timed.batches)
            n_rows = min(len(X), INTERPRETED_ROWS) if name.endswith("interpreted") else len(X)
            middle, late = np.quantile(np.concatenate(timed.singles) * 1e3, [0.5, 0.99])
            differs = np.abs(scores[name] - scores["lambdamart_kit"]).max()
            print(
                f"{name:26}{threads:8}{batch:10.2f}{batch / n_rows * 1e6:10.2f}"
                f"{middle:9.3f}{late:9.3f}{differs:12.1g}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--leaves", type=int, default=31)
    parser.add_argument("--trees", type=int, default=500)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--keep", type=Path, help="folder for the model and the compiled library")
    parser.add_argument("--prepare", action="store_true", help="train and compile only")
    parser.add_argument("--no-gcc", action="store_true", help="without the compiled contestant")
    parser.add_argument("--quick", action="store_true", help="50,000 rows, one repetition")
    parser.add_argument("--pairs", type=int, help="compare with LightGBM alone, in so many rounds")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        folder = options.keep or Path(folder)
        path = prepare(folder, options.trees, options.leaves, with_gcc=not options.no_gcc)
        if options.pairs:
            pairs(path, rows(50_000), options)
        elif not options.prepare:
            measure(path, rows(50_000 if options.quick else options.rows), options)


if __name__ == "__main__":
    main()
