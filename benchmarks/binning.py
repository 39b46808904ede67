"""What doubles cost to bin, beside float32: the edges of the bins, and the bins of all rows.

Run as ``python benchmarks/binning.py``. The kinds are bound to differ in how often float32 decides: always
(float32 itself), nearly always (normal draws), a float32 for each value that is not the same number (prices
with two decimals), long numbers far apart (ids), and long numbers close together, where nearly every
comparison needs the double. Each repetition bins all kinds in turn, and ratios are of one repetition. Seconds
are of the processor, so that other programs on the machine disturb them less.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.trees.binning import BinMapper

KINDS: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "float32, normal": lambda rng, shape: rng.normal(size=shape).astype(np.float32),
    "float64, normal": lambda rng, shape: rng.normal(size=shape),
    "float64, the same as float32": lambda rng, shape: (
        rng.normal(size=shape).astype(np.float32).astype(float)
    ),
    "float64, two decimals": lambda rng, shape: rng.gamma(2.0, 20.0, size=shape).round(2),
    "float64, ids of nine digits": lambda rng, shape: rng.integers(10**8, 10**9, size=shape).astype(float),
    "float64, ids of thirteen digits": lambda rng, shape: rng.integers(10**12, 10**13, size=shape).astype(
        float
    ),
    "float64, milliseconds of a week": lambda rng, shape: 1.7e12 + rng.integers(0, 604_800_000, size=shape),
    "float64, ids of fifteen digits, 5,000 in a row": lambda rng, shape: (
        1e15 + rng.integers(0, 5000, size=shape)
    ),
}


def seconds(X: np.ndarray, queries: Queries, n_threads: int) -> tuple[float, float]:
    """Processor seconds of the edges, and of the bins of all rows."""
    began = time.process_time()
    mapper = BinMapper.fit(X, queries, max_bin=255, n_threads=n_threads)
    between = time.process_time()
    mapper.transform(X, n_threads=n_threads)
    return between - began, time.process_time() - between


def spread(values: np.ndarray) -> str:
    low, middle, high = np.quantile(values, [0.0, 0.5, 1.0])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--features", type=int, default=40)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    queries = Queries.from_qid(np.arange(options.rows) // 100, options.rows)
    tables = {kind: make(rng, (options.rows, options.features)) for kind, make in KINDS.items()}
    for X in tables.values():
        seconds(X, queries, options.threads)  # compiles, and touches the memory
    found = np.array(
        [[seconds(X, queries, options.threads) for X in tables.values()] for _ in range(options.repetitions)]
    )
    print(
        f"{datetime.date.today()}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"numpy {np.__version__}, numba {version('numba')}; {options.rows:,} rows x {options.features}, "
        f"{options.threads} thread(s), {options.repetitions} repetitions: processor seconds, median; ratios "
        "to float32, median and range\n"
    )
    print("| values | edges s | bins s | edges | bins | both |\n|---|---|---|---|---|---|")
    for place, kind in enumerate(tables):
        edges, bins = (np.median(found[:, place, part]) for part in (0, 1))
        ratios = [spread(found[:, place, part] / found[:, 0, part]) for part in (0, 1)]
        both = spread(found[:, place].sum(axis=1) / found[:, 0].sum(axis=1))
        print(f"| {kind} | {edges:.3f} | {bins:.3f} | {ratios[0]} | {ratios[1]} | {both} |")


if __name__ == "__main__":
    main()
