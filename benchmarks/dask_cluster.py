"""What a cluster costs, and whether it learns the same.

Fits LambdaMART locally and on Dask with 1 and 2 worker processes of one thread each, on the same rows, and
compares NDCG@10 on held-out queries, time and CPU time a row, memory a worker and bytes over the network a
tree. CPU time is that of all workers, and what to believe where other work shares the cores. "Bytes a row" is
what the fullest worker needed at most, above what it needed before, a row that it trained on.

    python benchmarks/dask_cluster.py                          # 500,000 rows, both libraries
    python benchmarks/dask_cluster.py --trees 20 --memory-limit 6GiB --rows 60000 250000 500000 1000000
    python benchmarks/dask_cluster.py --booster lightgbm --rows 200000
    python benchmarks/dask_cluster.py --namespaces             # workers in network namespaces; needs root

Bytes are those that the loopback device passes on, or those that worker 0 sends from its namespace. What the
trees cost is told from what the rows cost by the difference between a short and a long fit.
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
import numpy as np
from distributed import Client, LocalCluster, wait

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.distributed import DaskLambdaMART
from lambdamart_kit.metrics import ndcg

ROWS_A_QUERY = 116  # of make_letor, on average
CHUNK = 50_000
HEAD = [
    "| booster | rows | where | NDCG@10 | rows to workers, us a row | CPU of it and of preparing, us a row "
    "| trees, us a row and tree | CPU, us a row and tree | peak memory | bytes a row | MB a tree |",
    "|---" * 11 + "|",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[500_000])
    parser.add_argument("--trees", type=int, default=50)
    parser.add_argument("--leaves", type=int, default=31)
    parser.add_argument("--booster", choices=["xgboost", "lightgbm"], action="append")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--memory-limit", default="2GiB")
    parser.add_argument("--namespaces", action="store_true", help="each worker in a network namespace")
    arguments = parser.parse_args()
    test = make_letor(n_queries=2000, random_state=1)
    print(f"{arguments.trees} trees of {arguments.leaves} leaves; NDCG@10 on {test}", flush=True)
    lines = []
    for n_rows in arguments.rows:
        train = make_letor(n_queries=round(n_rows / ROWS_A_QUERY), random_state=0)
        for booster in arguments.booster or ["xgboost", "lightgbm"]:
            params = {"booster": booster, "num_leaves": arguments.leaves, "random_state": 0}
            lines.append(measure_local(train, test, arguments.trees, params))
            print(lines[-1], flush=True)
            for n_workers in arguments.workers:
                lines.append(measure_cluster(train, test, arguments, params, n_workers))
                print(lines[-1], flush=True)
    print("\n".join(["", *HEAD, *lines]))  # LightGBM's workers talk in between


def measure_local(train, test, n_trees, params) -> str:
    def fit(n_trees):
        ranker = LambdaMART(n_estimators=n_trees, n_jobs=2, **params)
        return ranker.fit(train.X, train.y, qid=train.qid)

    ranker, cost = short_and_long(fit, n_trees, lambda: np.array([time.process_time(), 0]))
    return line(ranker, "local, 2 threads", score(ranker, test), len(train), cost)


def measure_cluster(train, test, arguments, params, n_workers) -> str:
    X = da.from_array(train.X, chunks=(CHUNK, -1), name=False)
    y, qid = (da.from_array(column, chunks=CHUNK, name=False) for column in (train.y, train.qid))
    start = in_namespaces if arguments.namespaces else on_loopback
    with start(n_workers, arguments.memory_limit) as (client, device):
        idle = max(client.run(peak_memory).values())
        X, y, qid = client.persist([X, y, qid])
        wait([X, y, qid])  # else the client's upload would count as the short fit's

        def fit(n_trees):
            return DaskLambdaMART(n_estimators=n_trees, **params).fit(X, y, qid=qid)

        def spent():
            return np.array([sum(client.run(time.process_time).values()), device_bytes(device)])

        ranker, cost = short_and_long(fit, arguments.trees, spent)
        peak = max(client.run(peak_memory).values())
        where = f"{n_workers} x 1 thread" + (", namespaces" if arguments.namespaces else "")
        memory = f"{peak / 2**20:.0f} MiB", f"{(peak - idle) / max(ranker.workers_.values()):,.0f}"
        text = line(ranker, where, score(ranker, test), len(train), cost, memory)
    gc.collect()
    return text


def short_and_long(fit, n_trees, spent):
    """The ranker of `n_trees`, and what is `spent` on a tree, and on everything else."""
    short, costs, ranker = max(1, n_trees // 5), [], None
    for n in (1, short, n_trees):  # the first loads code
        before = spent()
        ranker = fit(n)
        costs.append(spent() - before)
    a_tree = (costs[2] - costs[1]) / (n_trees - short)
    return ranker, (a_tree, costs[2] - n_trees * a_tree)


def line(ranker, where, value, n_rows, cost, memory=("", "")) -> str:
    times, (a_tree, rest) = ranker.fit_times_, cost
    seconds = times["trees"] + times.get("gradient", 0.0)
    cells = [
        ranker.booster,
        f"{n_rows:,}",
        where,
        f"{value:.4f}",
        f"{times['data'] / n_rows * 1e6:.1f}",
        f"{rest[0] / n_rows * 1e6:.1f}",
        f"{seconds / n_rows / ranker.n_estimators * 1e6:.3f}",
        f"{a_tree[0] / n_rows * 1e6:.3f}",
        *memory,
        f"{a_tree[1] / 1e6:.1f}" if memory[0] else "",
    ]
    return "| " + " | ".join(cells) + " |"


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
