"""Training from files on data several times the memory limit: to the same bits, and at what cost.

Rows are generated and written to Parquet a part at a time. Then two processes train on them: one under a
limit on its memory, with `fit_files`; one without a limit, which loads X as float32 and calls `fit`. The
models are compared, and the seconds of training once the rows are binned.

The limit is on RssAnon, the memory that is the process's own; pages of files, which the system can drop, do
not count. A watchdog ends the process when it goes over. (``RLIMIT_DATA`` would count address space that
allocators and threads reserve and never touch, ``RLIMIT_AS`` the mapped files themselves; a cgroup needs
privileges.)

    python benchmarks/out_of_core.py                             # 4,000,000 rows x 220: 3.5 GB
    python benchmarks/out_of_core.py --rows 400000 --quick
    python benchmarks/out_of_core.py --rows 1000000 2000000 4000000 8000000 --features 136    # the cost a row
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

PART = 500_000


def generate(folder: Path, n_rows: int, n_features: int) -> int:
    """Parquet files of rows with many zeros, as MSLR has, sorted by query; returns bytes on disk."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    weight = np.random.default_rng(0).normal(size=n_features).astype(np.float32)
    for part, start in enumerate(range(0, n_rows, PART)):
        rng = np.random.default_rng(part + 1)
        n = min(PART, n_rows - start)
        X = rng.standard_exponential((n, n_features), dtype=np.float32)
        X[:, ::2] = np.where(X[:, ::2] < 1.4, 0, np.round(X[:, ::2]))
        X[:, 1::4] = np.round(X[:, 1::4], 2)
        utility = np.log1p(X) @ weight / 4 + rng.gumbel(size=n)
        y = np.digitize(utility, np.quantile(utility, [0.5, 0.8, 0.95, 0.99])).astype(np.int8)
        columns = {"label": y, "qid": (start + np.arange(n)) // 100}
        columns |= {f"f{j}": X[:, j] for j in range(n_features)}
        pq.write_table(pa.table(columns), folder / f"part-{part:04}.parquet", use_dictionary=False)
    return sum(p.stat().st_size for p in folder.iterdir())


def load(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All rows as float32 in memory, each part put in its place."""
    import pyarrow.parquet as pq

    files = sorted(folder.glob("*.parquet"))
    sizes = [pq.read_metadata(f).num_rows for f in files]
    names = [name for name in pq.read_schema(files[0]).names if name not in ("label", "qid")]
    X, at = np.empty((sum(sizes), len(names)), dtype=np.float32), 0
    y, qid = np.empty(len(X)), np.empty(len(X), dtype=np.int64)
    for file, n in zip(files, sizes):
        table = pq.read_table(file)
        y[at : at + n], qid[at : at + n] = table["label"], table["qid"]
        for j, name in enumerate(names):
            X[at : at + n, j] = table[name]
        at += n
    return X, y, qid


def peak(name: str) -> float:
    """A line of /proc/self/status in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


def work(options: argparse.Namespace) -> None:
    """Train in this process and write what came of it."""
    import threading

    from lambdamart_kit import LambdaMART

    most = [0.0]

    def watch() -> None:
        while True:
            most[0] = max(most[0], peak("RssAnon"))
            if options.limit_mb and most[0] > options.limit_mb:
                print(f"over the limit: {most[0]:.0f} MB", file=sys.stderr, flush=True)
                os._exit(137)
            time.sleep(0.01)

    threading.Thread(target=watch, daemon=True).start()
    ranker = LambdaMART(n_estimators=options.trees, num_leaves=63, random_state=0, n_jobs=2)
    started, cpu = time.perf_counter(), time.process_time()
    if options.work == "files":
        ranker.fit_files(f"{options.folder}/*.parquet", work_dir=options.work_dir)
        loading = 0.0
    else:
        X, y, qid = load(Path(options.folder))
        loading = time.perf_counter() - started
        ranker.fit(X, y, qid=qid)
    result = {
        "seconds": time.perf_counter() - started,
        "loading": loading,
        "times": ranker.fit_times_,
        "cpu": time.process_time() - cpu,
        "anon_mb": most[0],
        "peak_mb": peak("VmHWM"),
    }
    Path(options.model).write_text(ranker.booster_.model_to_string())
    print(json.dumps(result))


def run(kind: str, folder: Path, options: argparse.Namespace, limit_mb: int, work_dir: Path | None) -> dict:
    command = [*options.launcher.split(), sys.executable, __file__, "--work", kind, "--folder", str(folder)]
    command += ["--trees", str(options.trees)]
    command += ["--model", str(folder.parent / f"{kind}.txt"), "--limit-mb", str(limit_mb)]
    command += ["--work-dir", str(work_dir)] if work_dir else []
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{kind}: failed\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def trees_of(path: Path) -> list[str]:
    from lambdamart_kit.trees.model_text import tree_blocks

    return tree_blocks(path.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[4_000_000])
    parser.add_argument("--features", type=int, default=220, help="Istella's by default")
    parser.add_argument("--trees", type=int, default=20)
    parser.add_argument("--limit-mb", type=int, help="memory limit; a quarter of X as float32 by default")
    parser.add_argument("--scratch", help="folder for the data; the system's by default")
    parser.add_argument("--launcher", default="", help="command before each training process, such as nice")
    parser.add_argument("--quick", action="store_true", help="no limit, to see that it runs")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    parser.add_argument("--work-dir", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options)
        return
    print(
        f"{datetime.date.today()}, {len(os.sched_getaffinity(0))} cores; {options.trees} trees of 63 leaves"
    )
    if len(options.rows) == 1:
        compare(options, options.rows[0])
    else:
        scale(options)


@contextmanager
def generated(options: argparse.Namespace, n_rows: int) -> Iterator[tuple[Path, float]]:
    """A folder of files, and their MB."""
    base = Path(tempfile.mkdtemp(prefix="lmk-out-of-core-", dir=options.scratch))
    try:
        folder = base / "data"
        folder.mkdir()
        yield folder, generate(folder, n_rows, options.features) / 2**20
    finally:
        shutil.rmtree(base)


def kept(work_dir: Path) -> float:
    return sum(p.stat().st_size for p in work_dir.rglob("*.npy")) / 2**20


def compare(options: argparse.Namespace, n_rows: int) -> None:
    """Train from files under a limit and in memory without, and compare the trees."""
    with generated(options, n_rows) as (folder, on_disk):
        work_dir = folder.parent / "work"
        X_mb = n_rows * options.features * 4 / 2**20
        limit = 0 if options.quick else options.limit_mb or int(X_mb / 4)
        print(
            f"{n_rows:,} rows x {options.features}; X as float32 {X_mb:,.0f} MB; "
            f"Parquet {on_disk:,.0f} MB; limit {limit:,} MB\n",
            flush=True,
        )
        print(f"{'':28}{'data s':>9}{'gradient s':>12}{'trees s':>9}{'all s':>8}{'anon MB':>9}{'peak MB':>9}")

        def show(name: str, r: dict) -> float:
            t = r["times"]
            data = t["data"] + r["loading"]
            print(
                f"{name:28}{data:9.1f}{t['gradient']:12.1f}{t['trees']:9.1f}{r['seconds']:8.1f}"
                f"{r['anon_mb']:9.0f}{r['peak_mb']:9.0f}",
                flush=True,
            )
            return t["gradient"] + t["trees"]

        files = show("files, under the limit", run("files", folder, options, limit, work_dir))
        again = show("files, bins used again", run("files", folder, options, limit, work_dir))
        bits = trees_of(folder.parent / "files.txt")
        bins = kept(work_dir)
        shutil.rmtree(work_dir)
        memory = show("memory, no limit", run("memory", folder, options, 0, None))
        same = bits == trees_of(folder.parent / "memory.txt")
        print(f"\nsame trees, bit for bit: {same}; kept on disk {bins:,.0f} MB")
        print(f"training once binned, files / memory: {files / memory:.2f}; again {again / memory:.2f}")


def scale(options: argparse.Namespace) -> None:
    """What a row costs from files, by the number of rows; CPU time where other work shares the cores."""
    heads = (
        "rows",
        "Parquet, MB",
        "read and binned, us a row",
        "CPU, us a row",
        "trees, us a row and tree",
        "CPU, us a row and tree",
        "RssAnon, MB",
        "bytes a row more",
        "kept, bytes a row",
    )
    print(f"{options.features} features\n\n| {' | '.join(heads)} |\n{'|---' * len(heads)}|", flush=True)
    before = None
    for n_rows in options.rows:
        with generated(options, n_rows) as (folder, on_disk):
            work_dir = folder.parent / "work"
            first, again = (run("files", folder, options, 0, work_dir) for _ in range(2))
            times, n_updates = again["times"], n_rows * options.trees
            more = (
                ""
                if before is None
                else (f"{(first['anon_mb'] - before[1]) * 2**20 / (n_rows - before[0]):.0f}")
            )
            before = n_rows, first["anon_mb"]
            cells = (
                f"{n_rows:,}",
                f"{on_disk:,.0f}",
                f"{first['times']['data'] / n_rows * 1e6:.1f}",
                f"{(first['cpu'] - again['cpu']) / n_rows * 1e6:.1f}",
                f"{(times['gradient'] + times['trees']) / n_updates * 1e6:.3f}",
                f"{again['cpu'] / n_updates * 1e6:.3f}",
                f"{first['anon_mb']:,.0f}",
                more,
                f"{kept(work_dir) * 2**20 / n_rows:.0f}",
            )
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
