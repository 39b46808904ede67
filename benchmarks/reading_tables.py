"""From a table in a file to its first tree: `fit_files` against reading it whole for LightGBM.

    python benchmarks/reading_tables.py [--rows 300000] [--turns 5]

`fit_files` reads a file twice, for the edges of the bins and for the bins, and never holds more than a part
of it. The peer is what people write by hand: pandas' reader, a `lightgbm.Dataset`, one tree. "reader" is the
file read once in batches, by the library that `fit_files` reads it with, and nothing done with it. One thread
each, processor seconds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow.csv as csv
import pyarrow.parquet as pq

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor
from pairing import in_turn

ROWS_AT_ONCE = 20_000
KINDS = ("parquet", "csv")


def write(folder: Path, n_rows: int) -> int:
    """One file of each kind with about `n_rows` rows of MSLR's shape; how many they are."""
    data = make_letor(n_queries=max(2, n_rows // 117), random_state=0)
    table = pd.DataFrame(data.X, columns=[f"feature {at}" for at in range(data.X.shape[1])])
    table.insert(0, "label", data.y)
    table.insert(1, "qid", data.qid)
    table.to_parquet(folder / "rows.parquet", row_group_size=50_000)
    table.to_csv(folder / "rows.csv", index=False)
    return len(table)


def read(path: Path) -> None:
    """The file once, in batches."""
    if path.suffix == ".csv":
        for _ in csv.open_csv(path, csv.ReadOptions(use_threads=False)):
            pass
        return
    for _ in pq.ParquetFile(path).iter_batches(ROWS_AT_ONCE, use_threads=False):
        pass


def fit_kit(path: Path) -> None:
    """One tree from the file, nothing kept from an earlier fit."""
    with tempfile.TemporaryDirectory() as folder:
        LambdaMART(n_estimators=1, n_jobs=1).fit_files(path, work_dir=folder)


def fit_by_hand(path: Path) -> None:
    """The whole file by pandas, then one tree of LightGBM."""
    table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    table = table.sort_values("qid", kind="stable")
    sizes = table.groupby("qid", sort=True).size().to_numpy()
    X = table.drop(columns=["label", "qid"]).to_numpy(np.float32)
    rows = lgb.Dataset(X, table["label"].to_numpy(), group=sizes)
    lgb.train({"objective": "lambdarank", "num_threads": 1, "verbose": -1}, rows, num_boost_round=1)


def measure(folder: Path, kind: str, turns: int) -> dict[str, list[float]]:
    """Processor seconds of each contestant in each turn."""
    path = folder / f"rows.{kind}"
    calls: dict[str, Callable[[], object]] = {
        "fit_files": lambda: fit_kit(path),
        "pandas and LightGBM": lambda: fit_by_hand(path),
        "reader": lambda: read(path),
    }
    return in_turn(calls, turns, clock=time.process_time)


def main() -> None:
    """Print a table of seconds and ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        n_rows = write(Path(folder), options.rows)
        print(f"{n_rows:,} rows x 136\n")
        print("| file | contestant | processor seconds | to fit_files |\n|---|---|---|---|")
        for kind in KINDS:
            spent = measure(Path(folder), kind, options.turns)
            for name, seconds in spent.items():
                ratio = statistics.median(b / a for a, b in zip(spent["fit_files"], seconds))
                print(f"| {kind} | {name} | {statistics.median(seconds):.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
