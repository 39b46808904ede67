"""What the checks of input cost: predict of one query and reading LETOR, before and after they came.

    python benchmarks/hardening_costs.py FOLDER_BEFORE FOLDER_AFTER [--pairs 11]

Each folder is a checkout. A pair is a fresh process for each of the two, one after the other, and which of
them is first changes every time: where a process happens to lay its arrays moves predict by a third, so pairs
of measurements within the same two processes say nothing. Processor seconds count, not elapsed ones, so that
other programs on the machine matter little. The table has the median and the quartiles of after / before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

N_BATCHES = 7
# Calls in a batch.
CALLS = {
    "predict, one query of 20 rows": 100,
    "predict, one query of 20 rows, CSR": 50,
    "predict, 20,000 rows, CSR": 1,
    "read_letor, 4,000 rows": 2,
    "read_letor, 20 rows": 30,
}


def prepare(folder: Path) -> None:
    """A model and files, made by the checkout that will use them."""
    import numpy as np

    from lambdamart_kit import LambdaMART
    from lambdamart_kit.datasets import make_letor, write_letor

    data = make_letor(n_queries=200, random_state=0)
    ranker = LambdaMART(n_estimators=100, n_jobs=1, random_state=0).fit(data.X, data.y, qid=data.qid)
    ranker.save(folder / "model.lmk")
    np.save(folder / "X.npy", data.X)
    rows = np.resize(np.arange(len(data.y)), 4_000)
    write_letor(type(data)(data.X[rows], data.y[rows], np.arange(4_000) // 20), folder / "long.txt")
    lines = (folder / "long.txt").read_text().splitlines(keepends=True)
    (folder / "short.txt").write_text("".join(lines[:20]))


def measure(folder: Path) -> dict[str, float]:
    """Processor milliseconds of each call, the median of its batches."""
    import numpy as np
    from scipy import sparse

    from lambdamart_kit import LambdaMART
    from lambdamart_kit.datasets import read_letor

    ranker = LambdaMART.load(folder / "model.lmk").set_params(n_jobs=1)
    X = np.load(folder / "X.npy")
    query = np.ascontiguousarray(X[:20])
    many = sparse.csr_matrix(np.resize(X, (20_000, X.shape[1])))
    calls: list[Callable[[], object]] = [
        lambda: ranker.predict(query),
        lambda: ranker.predict(many[:20]),
        lambda: ranker.predict(many),
        lambda: read_letor(folder / "long.txt", n_jobs=1),
        lambda: read_letor(folder / "short.txt", n_jobs=1),
    ]
    found = {}
    for (name, n_calls), call in zip(CALLS.items(), calls):
        call()
        batches = []
        for _ in range(N_BATCHES):
            start = time.process_time()
            for _ in range(n_calls):
                call()
            batches.append((time.process_time() - start) / n_calls * 1000)
        found[name] = median(batches)
    return found


def in_checkout(checkout: str, step: str, folder: Path) -> str:
    """What a step prints that runs with the package of a checkout."""
    environment = {**os.environ, "PYTHONPATH": str(Path(checkout).resolve()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), step, str(folder)]
    done = subprocess.run(command, env=environment, cwd=checkout, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode()


def compare(checkouts: list[str], n_pairs: int) -> None:
    """Print the table."""
    before, after = checkouts
    with tempfile.TemporaryDirectory() as scratch:
        folders = {checkout: Path(scratch) / str(i) for i, checkout in enumerate(checkouts)}
        for checkout, folder in folders.items():
            folder.mkdir()
            in_checkout(checkout, "--prepare", folder)
        pairs = []
        for pair in range(n_pairs):
            order = checkouts if pair % 2 else checkouts[::-1]
            pairs.append({c: json.loads(in_checkout(c, "--measure", folders[c])) for c in order})
    print("| call | before, ms | after / before: quartile | median | quartile | pairs |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in CALLS:
        ratios = quantiles([pair[after][name] / pair[before][name] for pair in pairs], n=4)
        figures = " | ".join(f"{ratio:.3f}" for ratio in ratios)
        print(f"| {name} | {median(pair[before][name] for pair in pairs):.3g} | {figures} | {n_pairs} |")


def main() -> None:
    """Compare, or take the step that `compare` asks for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("checkouts", nargs="*", metavar="FOLDER")
    parser.add_argument("--pairs", type=int, default=11)
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.prepare:
        prepare(options.prepare)
    elif options.measure:
        print(json.dumps(measure(options.measure)))
    elif len(options.checkouts) == 2:
        compare(options.checkouts, options.pairs)
    else:
        parser.error("give two checkouts, the one before and the one after")


if __name__ == "__main__":
    main()
