"""Scoring: `Model.predict` against LightGBM and Treelite, in batches and one query at a time.

The model is LambdaMART's own (500 trees); LightGBM scores the same file, and Treelite what it makes of it:
compiled to machine code by tl2cgen and gcc, and by its own interpreter (GTIL). Rows are generated like
MSLR's. All three work on arrays; what the estimator's `predict` adds is reported beside. The interpreter is
timed on the first 100,000 rows of a batch, because it takes minutes for a million.

    python benchmarks/serving.py --keep DIR --prepare     # train and compile: minutes, most of them gcc's
    python benchmarks/serving.py --keep DIR               # a million rows
    python benchmarks/serving.py --quick
"""

from __future__ import annotations

import argparse
import datetime
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import lightgbm
import numpy as np

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.trees.forest import Forest

INTERPRETED_ROWS = 100_000


def seconds(call: Callable[[], object], repeats: int) -> np.ndarray:
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return np.sort(taken)


def one_by_one(predict: Callable, queries: list[np.ndarray], n: int) -> np.ndarray:
    """Milliseconds of n single queries, ascending."""
    return np.sort([seconds(lambda q=q: predict(q), 1)[0] for q in (queries * n)[:n]]) * 1e3


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


def prepare(folder: Path, options: argparse.Namespace) -> Path:
    """The model of LambdaMART, and as LightGBM's text, from which Treelite's library is made beside it."""
    saved, path = folder / "model.lmk", folder / "model.txt"
    if not path.exists():
        train = make_letor(400, random_state=0)
        ranker = LambdaMART(n_estimators=options.trees, num_leaves=options.leaves, random_state=0)
        ranker.fit(train.X, train.y, qid=train.qid).save(saved)
        path.write_text(ranker.booster_.model_to_string())
    if not options.no_gcc:
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
    queries = [X[i * 100 : i * 100 + 100].copy() for i in range(50)]
    repeats, n_single = (1, 100) if options.quick else (2, 600)
    size = f"{len(X):,} rows x 136, {ranker.model_.n_trees} trees of {options.leaves} leaves"
    cores = len(os.sched_getaffinity(0))
    print(f"{datetime.date.today()}, {cores} cores, lightgbm {lightgbm.__version__}; {size}\n")
    heads = zip(("threads", "batch s", "us a row", "p50 ms", "p99 ms", "differs by"), (8, 10, 10, 9, 9, 12))
    print(" " * 26 + "".join(f"{text:>{width}}" for text, width in heads))
    for threads in options.threads:
        expected = None
        for name, predict in contestants(path, ranker, threads, not options.no_gcc).items():
            part = X[:INTERPRETED_ROWS] if name.endswith("interpreted") else X
            scores = predict(X[:20_000])
            expected = scores if expected is None else expected
            batch = seconds(lambda p=predict, part=part: p(part), repeats)[0]
            for q in queries[:5]:
                predict(q)
            single = one_by_one(predict, queries, n_single)
            differs = np.abs(scores - expected).max()
            print(
                f"{name:26}{threads:8}{batch:10.2f}{batch / len(part) * 1e6:10.2f}"
                f"{single[n_single // 2]:9.3f}{single[int(0.99 * n_single)]:9.3f}{differs:12.1g}",
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
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        path = prepare(options.keep or Path(folder), options)
        if not options.prepare:
            measure(path, rows(50_000 if options.quick else options.rows), options)


if __name__ == "__main__":
    main()
