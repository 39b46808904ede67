"""What a cluster costs, and whether it learns the same.

Fits LambdaMART locally and on Dask with 1 and 2 worker processes of one thread each, on the same rows, and
compares NDCG@10 on held-out queries, time a row and tree, memory a worker and bytes over the network a tree.

    python benchmarks/dask_cluster.py                          # 500,000 rows, both libraries
    python benchmarks/dask_cluster.py --booster lightgbm --rows 200000
    python benchmarks/dask_cluster.py --namespaces             # workers in network namespaces; needs root

Bytes are those that the loopback device passes on, or those that worker 0 sends from its namespace. Those of
the trees are told from those of the rows by the difference between a short and a long fit.
"""

from __future__ import annotations

import argparse
import gc
import re
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dask.array as da
from distributed import Client, LocalCluster, wait

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.distributed import DaskLambdaMART
from lambdamart_kit.metrics import ndcg

ROWS_A_QUERY = 116  # of make_letor, on average
CHUNK = 50_000
SHORT = 10  # trees of the short fit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--trees", type=int, default=50)
    parser.add_argument("--leaves", type=int, default=31)
    parser.add_argument("--booster", choices=["xgboost", "lightgbm"], action="append")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--memory-limit", default="2GiB")
    parser.add_argument("--namespaces", action="store_true", help="each worker in a network namespace")
    arguments = parser.parse_args()
    train = make_letor(n_queries=round(arguments.rows / ROWS_A_QUERY), random_state=0)
    test = make_letor(n_queries=2000, random_state=1)
    print(f"{train}, {arguments.trees} trees of {arguments.leaves} leaves; NDCG@10 on {test}", flush=True)
    print(
        "| booster | where | NDCG@10 | rows to workers | trees | us a row, tree | peak memory | MB a tree |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for booster in arguments.booster or ["xgboost", "lightgbm"]:
        params = {"booster": booster, "num_leaves": arguments.leaves, "random_state": 0}
        measure_local(train, test, arguments.trees, params)
        for n_workers in arguments.workers:
            measure_cluster(train, test, arguments, params, n_workers)


def measure_local(train, test, n_trees, params) -> None:
    ranker = LambdaMART(n_estimators=n_trees, n_jobs=2, **params).fit(train.X, train.y, qid=train.qid)
    times = ranker.fit_times_
    show(params["booster"], "local, 2 threads", score(ranker, test), times, len(train), n_trees)


def measure_cluster(train, test, arguments, params, n_workers) -> None:
    X = da.from_array(train.X, chunks=(CHUNK, -1), name=False)
    y, qid = (da.from_array(column, chunks=CHUNK, name=False) for column in (train.y, train.qid))
    start = in_namespaces if arguments.namespaces else on_loopback
    with start(n_workers, arguments.memory_limit) as (client, device):
        X, y, qid = client.persist([X, y, qid])
        wait([X, y, qid])  # else the client's upload would count as the short fit's
        moved = {}
        for n_trees in (SHORT, arguments.trees):
            before = device_bytes(device)
            ranker = DaskLambdaMART(n_estimators=n_trees, **params).fit(X, y, qid=qid)
            moved[n_trees] = device_bytes(device) - before
        peaks = client.run(peak_memory).values()
        where = f"{n_workers} x 1 thread" + (", namespaces" if arguments.namespaces else "")
        a_tree = (moved[arguments.trees] - moved[SHORT]) / (arguments.trees - SHORT)
        show(
            params["booster"], where, score(ranker, test), ranker.fit_times_, len(train), arguments.trees,
            memory=max(peaks), a_tree=a_tree,
        )  # fmt: skip
    gc.collect()


def show(booster, where, value, times, n_rows, n_trees, *, memory=None, a_tree=None) -> None:
    seconds = times["trees"] + times.get("gradient", 0.0)
    cells = [
        booster, where, f"{value:.4f}", f"{times['data']:.1f} s", f"{seconds:.1f} s",
        f"{seconds / n_rows / n_trees * 1e6:.3f}",
        "" if memory is None else f"{memory / 2**20:.0f} MiB",
        "" if a_tree is None else f"{a_tree / 1e6:.2f}",
    ]  # fmt: skip
    print("| " + " | ".join(cells) + " |", flush=True)


def score(ranker, test) -> float:
    return ndcg(test.y, ranker.predict(test.X), test.qid, k=10)


def peak_memory() -> int:
    """Bytes: the largest resident set this process ever had."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024


def device_bytes(device) -> int:
    return int(Path(f"/sys/class/net/{device}/statistics/rx_bytes").read_text())


@contextmanager
def on_loopback(n_workers, memory_limit):
    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, memory_limit=memory_limit, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client, "lo"


@contextmanager
def in_namespaces(n_workers, memory_limit):
    """A bridge with the scheduler on it, and a namespace with a network device of its own for each worker."""
    with ExitStack() as stack:
        ip(stack, "link add lmkbr0 type bridge", undo="link del lmkbr0")
        ip(stack, "addr add 10.77.0.1/24 dev lmkbr0")
        ip(stack, "link set lmkbr0 up")
        for w in range(n_workers):
            space, near, far = f"lmk{w}", f"lmkh{w}", f"lmkn{w}"
            ip(stack, f"netns add {space}", undo=f"netns del {space}")
            ip(stack, f"link add {near} type veth peer name {far} netns {space}")
            ip(stack, f"link set {near} master lmkbr0 up")
            for command in (f"addr add 10.77.0.{w + 2}/24 dev {far}", f"link set {far} up", "link set lo up"):
                ip(stack, f"-n {space} {command}")
        python, address = [sys.executable, "-m"], "tcp://10.77.0.1:8799"
        run(stack, [*python, "distributed.cli.dask_scheduler", "--host", "10.77.0.1", "--port", "8799"])
        for w in range(n_workers):
            options = f"--nthreads 1 --memory-limit {memory_limit} --name {w} --host 10.77.0.{w + 2}"
            inside = ["ip", "netns", "exec", f"lmk{w}", *python, "distributed.cli.dask_worker"]
            run(stack, [*inside, address, *options.split()])
        client = stack.enter_context(Client(address, timeout="60s"))
        client.wait_for_workers(n_workers, timeout=60)
        yield client, "lmkh0"


def ip(stack, command, undo=None) -> None:
    subprocess.run(["ip", *command.split()], check=True)
    if undo is not None:
        stack.callback(subprocess.run, ["ip", *undo.split()], check=False)


def run(stack, command) -> None:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(process.wait, 20)
    stack.callback(process.terminate)


if __name__ == "__main__":
    started = time.perf_counter()
    main()
    print(f"\n{time.perf_counter() - started:.0f} s in all")
