"""Seconds from an empty kernel cache to the first tree, and the same with the cache filled.

Each run is a Python process of its own with a cache folder of its own: first empty, then as the first run
left it. Counted is one `fit` of one tree on a few rows, which is when kernels are compiled; imports are shown
apart.

    python benchmarks/cold_start.py
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import statistics
import subprocess
import sys
import tempfile

_PROGRAM = """
import sys, time
started = time.perf_counter()
import numpy as np
from lambdamart_kit import LambdaMART
imported = time.perf_counter()
rng = np.random.default_rng(0)
n, threads = int(sys.argv[1]), int(sys.argv[2])
X, y, qid = rng.normal(size=(n, 20)), rng.integers(0, 5, n), np.arange(n) // 20
begun = time.perf_counter()
LambdaMART(n_estimators=1, n_jobs=threads).fit(X, y, qid=qid)
print(imported - started, time.perf_counter() - begun)
"""


def fit_once(cache: str, rows: int, threads: int) -> tuple[float, float]:
    """Seconds of imports and of the fit."""
    command = [sys.executable, "-c", _PROGRAM, str(rows), str(threads)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    imports, fit = done.stdout.split()
    return float(imports), float(fit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    versions = " ".join(f"{p} {importlib.metadata.version(p)}" for p in ("numpy", "numba", "llvmlite"))
    print(f"{datetime.date.today()}, {options.rows:,} rows, {options.threads} threads, {versions}\n")
    print("| run | imports s | cold s | warm s |\n|---|---|---|---|")
    cold, warm = [], []
    for run in range(options.repeats):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(fit_once(cache, options.rows, options.threads)[1])
            imports, seconds = fit_once(cache, options.rows, options.threads)
            warm.append(seconds)
        print(f"| {run + 1} | {imports:.1f} | {cold[-1]:.1f} | {warm[-1]:.2f} |", flush=True)
    print(f"| median | | {statistics.median(cold):.1f} | {statistics.median(warm):.2f} |")


if __name__ == "__main__":
    main()
