"""How far the parts of native training are from what this machine can do at all.

One training without sampling of rows, so that the work is known from the trees: a histogram adds the listed
bins of all rows at the root and of the smaller child at every split; a partition moves all rows of a leaf.
Beside it stand limits, measured in the same process on all threads at once: reading memory in order, and
adding to random slots of a small table and of one that is as large as a histogram.

    python benchmarks/training_limits.py
    python benchmarks/training_limits.py --leaves 255 --queries 500
"""

from __future__ import annotations

import argparse
import datetime
import os
import time

import numpy as np

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.runtime.threads import run
from lambdamart_kit.trees.binning import BinMapper
from lambdamart_kit.trees.growth.histogram import make_layout
from lambdamart_kit.trees.tree import Tree
from training_speed import native


@kernel(borrows=True)
def read(thread: int, n_threads: int, numbers: np.ndarray, sums: np.ndarray) -> None:
    """Sum of this thread's share."""
    total, n = np.uint64(0), len(numbers)
    for i in range(np.uint64(n * thread // n_threads), np.uint64(n * (thread + 1) // n_threads)):
        total += numbers[i]
    sums[8 * thread] = total


@kernel(borrows=True)
def update(thread: int, n_threads: int, words: np.ndarray, tables: np.ndarray) -> None:
    """Add to four slots a word, as a histogram does."""
    table, mask = tables[thread], np.uint64(0xFFFF)
    by16, by32, by48 = np.uint64(16), np.uint64(32), np.uint64(48)
    for _ in range(50):
        for i in range(np.uint64(len(words))):
            word = words[i]
            table[word & mask] += 1
            table[(word >> by16) & mask] += 1
            table[(word >> by32) & mask] += 1
            table[word >> by48] += 1


def least_seconds(function, threads: int, *args: np.ndarray) -> float:
    times = []
    for _ in range(6):
        started = time.perf_counter()
        run(function, threads, *args)
        times.append(time.perf_counter() - started)
    return min(times)


def seconds_an_update(n_slots: int, threads: int) -> float:
    slots = np.random.default_rng(0).integers(0, n_slots, 2**16).astype(np.uint16)
    tables = np.zeros((threads, n_slots), np.int64)
    return least_seconds(update, threads, slots.view(np.uint64), tables) / (50 * len(slots))


def rows_summed(tree: Tree) -> int:
    """Rows of which a tree's histograms took the lists: the root's and each smaller child's."""
    counts = np.concatenate([tree.node_count, tree.leaf_count[::-1]])  # a child below 0 is ~leaf
    return int(tree.node_count[0] + counts[tree.children].min(axis=1).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=4800)
    parser.add_argument("--leaves", type=int, default=63)
    parser.add_argument("--trees", type=int, default=20)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    o = parser.parse_args()
    data = make_letor(o.queries, random_state=0)
    n = len(data.y)
    queries = Queries.from_qid(data.qid, n)
    binned = BinMapper.fit(data.X, queries, n_threads=o.threads).transform(data.X, n_threads=o.threads)
    layout = make_layout(binned, o.threads)
    native(make_letor(20, random_state=0), 7, 2, o.threads)  # compile
    trained = native(data, o.leaves, o.trees, o.threads, mvs_noise=0.0)
    seconds, trees = trained.parts, trained.trees

    numbers = np.ones(2**26, np.uint64)
    bandwidth = (
        numbers.nbytes / least_seconds(read, o.threads, numbers, np.zeros(8 * o.threads, np.uint64)) / 1e9
    )
    small, large = (seconds_an_update(n_slots, o.threads) * 1e9 for n_slots in (512, layout.n_slots))
    listed = 4 * len(layout.words) / n
    summed, moved = sum(map(rows_summed, trees)), sum(int(tree.node_count.sum()) for tree in trees)
    shape = f"{n:,} rows x {data.X.shape[1]}, {o.trees} trees of {o.leaves} leaves"
    print(f"{datetime.date.today()}, {o.threads} threads; {shape}")
    print(
        f"reading memory {bandwidth:.1f} GB/s together, a slot update {small:.2f} ns a core in a table of "
        f"512 slots, {large:.2f} in one of {layout.n_slots:,}\n"
    )
    row, entry = (seconds["histogram"] * o.threads / summed * 1e9 / k for k in (1, listed))
    print(
        f"histograms: {seconds['histogram']:.2f} s; {summed / n / o.trees:.2f} rows a row and tree, "
        f"{listed:.0f} entries each: {row:.0f} ns a row and core, "
        f"{entry:.2f} ns an entry = {entry / large:.1f} times an update; "
        f"{summed * (2 * listed + 12) / seconds['histogram'] / 1e9:.1f} GB/s"
    )
    print(
        f"partition: {seconds['partition']:.2f} s; {moved / n / o.trees:.2f} rows a row and tree, "
        f"{seconds['partition'] * o.threads / moved * 1e9:.1f} ns each and core; "
        f"{moved * 33 / seconds['partition'] / 1e9:.1f} GB/s with whole bytes only"
    )
    bins = layout.n_slots * sum(2 * len(tree.node_count) for tree in trees)
    a_bin = seconds["search"] * o.threads / bins * 1e9
    print(f"search: {seconds['search']:.2f} s; {a_bin:.2f} ns a bin and core")
    a_row = seconds["gradient"] * o.threads / n / o.trees * 1e9
    print(f"gradient: {seconds['gradient']:.2f} s, {a_row:.0f} ns a row and core")
    shown = ("histogram", "partition", "search", "gradient")
    rest = {k: round(v, 2) for k, v in seconds.items() if k not in shown}
    print("rest:", ", ".join(f"{k} {v} s" for k, v in rest.items()))


if __name__ == "__main__":
    main()
