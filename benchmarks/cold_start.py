"""Seconds of the first use: imports, and from an empty kernel cache to the first tree, beside LightGBM's.

Each run is a Python process of its own. "package" and "class" are the seconds to import `lambdamart_kit` and
then `LambdaMART` (of LightGBM: `lightgbm`, then `LGBMRanker`). "fit" is one `fit` of one tree on a few rows.
Ours runs with a cache folder of its own: first empty ("cold": kernels are compiled), then as the first run
left it ("warm"). LightGBM, which comes compiled, takes its turn in between.

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
from dataclasses import dataclass

_OURS = """
import lambdamart_kit
package = time.perf_counter()
from lambdamart_kit import LambdaMART
imported = time.perf_counter()
ranker, group = LambdaMART(n_estimators=1, n_jobs=threads), lambda qid: {"qid": qid}
"""
_LIGHTGBM = """
import lightgbm
package = time.perf_counter()
from lightgbm import LGBMRanker
imported = time.perf_counter()
ranker = LGBMRanker(n_estimators=1, n_jobs=threads, verbosity=-1)
group = lambda qid: {"group": np.unique(qid, return_counts=True)[1]}
"""
_PROGRAM = """
import sys, time
n, threads = int(sys.argv[1]), int(sys.argv[2])
started = time.perf_counter()
{imports}
import numpy as np
rng = np.random.default_rng(0)
X, y, qid = rng.normal(size=(n, 20)), rng.integers(0, 5, n), np.arange(n) // 20
begun = time.perf_counter()
ranker.fit(X, y, **group(qid))
print(package - started, imported - package, time.perf_counter() - begun)
"""


@dataclass(frozen=True)
class Start:
    """Seconds of importing the package, then the class, and of the first fit."""

    package: float
    of_class: float
    fit: float

    @property
    def imports(self) -> float:
        """Both imports."""
        return self.package + self.of_class


@dataclass(frozen=True)
class Turn:
    """Ours with an empty cache and with a filled one, and LightGBM."""

    cold: Start
    warm: Start
    lightgbm: Start


def start(imports: str, cache: str, rows: int, threads: int) -> Start:
    """One process from its first import to its first tree."""
    command = [sys.executable, "-c", _PROGRAM.format(imports=imports), str(rows), str(threads)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return Start(*map(float, done.stdout.split()))


def turn(rows: int, threads: int) -> Turn:
    with tempfile.TemporaryDirectory() as cache:
        cold = start(_OURS, cache, rows, threads)
        lightgbm = start(_LIGHTGBM, cache, rows, threads)
        return Turn(cold, start(_OURS, cache, rows, threads), lightgbm)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    packages = ("numpy", "numba", "llvmlite", "lightgbm", "scikit-learn")
    versions = " ".join(f"{p} {importlib.metadata.version(p)}" for p in packages)
    print(f"{datetime.date.today()}, {options.rows:,} rows, {options.threads} threads, {versions}\n")
    print("| run | package s | class s | cold fit s | warm fit s | LightGBM package s | class s | fit s |")
    print("|---|---|---|---|---|---|---|---|")
    rows = []
    for run in range(options.repeats):
        found = turn(options.rows, options.threads)
        warm, theirs = found.warm, found.lightgbm
        ours = (warm.package, warm.of_class, found.cold.fit, warm.fit)
        rows.append((*ours, theirs.package, theirs.of_class, theirs.fit))
        print(f"| {run + 1} | " + " | ".join(f"{cell:.2f}" for cell in rows[-1]) + " |", flush=True)
    print("| median | " + " | ".join(f"{statistics.median(column):.2f}" for column in zip(*rows)) + " |")


if __name__ == "__main__":
    main()
