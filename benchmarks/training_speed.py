"""Seconds to train LambdaMART: the kit's own trees against LightGBM and XGBoost, on the same rows and cores.

Generated data with the shape of MSLR (136 features), 255 bins, learning rate 0.1, truncation 30 (XGBoost:
top 32). Every repetition runs all contestants one after another; the table shows medians, and each
contestant's time as a multiple of ours in the same repetition. "train" is gradient + trees, "bin" all before
the first tree, "CPU" the processor seconds of training: with one thread a busy machine hardly disturbs them.
NDCG@10 is on held-out queries of the same population. Native samples rows in the search for splits;
"native-every-row" does not, and "lightgbm-goss" is LightGBM's way to sample (from its tenth tree on).
"hessboost" takes part where it is installed.

Processor seconds of several threads include what they wait for each other in a loop. On a machine that does
other work too, only those of one thread (`--threads 1`) say what the work itself takes.

    python benchmarks/training_speed.py                  # about ten minutes
    python benchmarks/training_speed.py --busy           # beside a process of lower priority on every core
    python benchmarks/training_speed.py --quick          # 50,000 rows, one repetition
    python benchmarks/training_speed.py --leaves 255 --contestants native,lightgbm-row
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.metadata
import importlib.util
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import lightgbm
import numpy as np
import xgboost

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.datasets import RankingDataset, make_letor
from lambdamart_kit.metrics import ndcg
from lambdamart_kit.objectives import LambdaNDCG
from lambdamart_kit.trees.binning import BinMapper
from lambdamart_kit.trees.ensemble import Ensemble
from lambdamart_kit.trees.growth.grower import Grower
from lambdamart_kit.trees.growth.state import STAGES
from lambdamart_kit.trees.parameters import TreeParameters
from lambdamart_kit.trees.tree import Tree
from pairing import orders

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass
class Run:
    """One training."""

    bin: float
    train: float
    cpu: float
    predict: Predict
    parts: dict[str, float]
    trees: Sequence[Tree] = ()


class Clock:
    """Wall and processor seconds since the last call."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def __call__(self) -> tuple[float, float]:
        """The two."""
        wall, cpu = self.wall, self.cpu
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self.wall - wall, self.cpu - cpu


def native(data: RankingDataset, leaves: int, trees: int, threads: int, **options: float) -> Run:
    clock = Clock()
    queries = Queries.from_qid(data.qid, len(data.y))
    bound = LambdaNDCG().bind(data.y, queries, n_threads=threads)
    mapper = BinMapper.fit(data.X, queries, n_threads=threads)
    binned = mapper.transform(data.X, n_threads=threads)
    grower = Grower(binned, queries, TreeParameters(num_leaves=leaves, **options), n_threads=threads)
    binning, _ = clock()
    scores, gradient_seconds = np.zeros(len(data.y)), 0.0
    ensemble = Ensemble(mapper, tuple(data.feature_names), 0.1)
    for i in range(trees):
        started = time.perf_counter()
        gradient, hessian = bound.gradient_hessian(scores.astype(np.float32))
        gradient_seconds += time.perf_counter() - started
        ensemble.trees.append(grower.grow(gradient, hessian, scores, tree_index=i))
    wall, cpu = clock()
    cycles = grower.stage_cycles()
    per_cycle = (wall - gradient_seconds) / max(1, sum(cycles.values()))
    parts = {"gradient": gradient_seconds, **{s: cycles[s] * per_cycle for s in STAGES}}
    return Run(binning, wall, cpu, ensemble.predict, parts, ensemble.trees)


def lightgbm_run(data: RankingDataset, leaves: int, trees: int, threads: int, **options: object) -> Run:
    settings = {
        "objective": "lambdarank",
        "num_leaves": leaves,
        "learning_rate": 0.1,
        "max_bin": 255,
        "num_threads": threads,
        "verbosity": -1,
        **options,
    }
    clock = Clock()
    dataset = lightgbm.Dataset(data.X, data.y, group=data.queries.sizes, params=settings).construct()
    booster = lightgbm.Booster(settings, dataset)
    binning, _ = clock()
    for _ in range(trees):
        booster.update()
    wall, cpu = clock()
    return Run(binning, wall, cpu, booster.predict, {})


def xgboost_settings(leaves: int, threads: int) -> dict[str, object]:
    return {
        "objective": "rank:ndcg",
        "lambdarank_pair_method": "topk",
        "lambdarank_num_pair_per_sample": 32,
        "tree_method": "hist",
        "grow_policy": "lossguide",
        "max_leaves": leaves,
        "max_depth": 0,
        "eta": 0.1,
        "max_bin": 256,
        "nthread": threads,
    }


def xgboost_run(data: RankingDataset, leaves: int, trees: int, threads: int) -> Run:
    clock = Clock()
    matrix = xgboost.QuantileDMatrix(data.X, data.y, qid=data.qid, max_bin=256, nthread=threads)
    binning, _ = clock()
    booster = xgboost.train(xgboost_settings(leaves, threads), matrix, trees)
    wall, cpu = clock()
    return Run(binning, wall, cpu, lambda X: booster.predict(xgboost.DMatrix(X)), {})


def hessboost_run(data: RankingDataset, leaves: int, trees: int, threads: int) -> Run:
    """A library in Rust that takes XGBoost's parameters; the same trees for any number of threads."""
    import hessboost

    clock = Clock()
    matrix = hessboost.BinnedMatrix(hessboost.DMatrix(data.X, data.y, qid=data.qid), 256)
    binning, _ = clock()
    booster = hessboost.train(xgboost_settings(leaves, threads), matrix, trees)
    wall, cpu = clock()
    return Run(binning, wall, cpu, lambda X: booster.predict(hessboost.DMatrix(X)), {})


QUANTISED = {"use_quantized_grad": True, "num_grad_quant_bins": 16, "quant_train_renew_leaf": True}
CONTESTANTS: dict[str, Callable[..., Run]] = {
    "native": native,
    "native-every-row": lambda *a: native(*a, mvs_noise=0.0),
    "lightgbm-auto": lightgbm_run,
    "lightgbm-row": lambda *a: lightgbm_run(*a, force_row_wise=True),
    "lightgbm-col": lambda *a: lightgbm_run(*a, force_col_wise=True),
    "lightgbm-quantised": lambda *a: lightgbm_run(*a, force_row_wise=True, **QUANTISED),
    "lightgbm-goss": lambda *a: lightgbm_run(*a, force_row_wise=True, data_sample_strategy="goss"),
    "xgboost": xgboost_run,
}
if importlib.util.find_spec("hessboost") is not None:
    CONTESTANTS["hessboost"] = hessboost_run


def in_turns(
    data: RankingDataset, names: Sequence[str], leaves: int, trees: int, threads: int, turns: int
) -> dict[str, list[Run]]:
    """Trainings of each contestant, one of each a turn."""
    runs: dict[str, list[Run]] = {name: [] for name in names}
    native(make_letor(20, random_state=0), 7, 2, threads)  # compile
    for order in orders(names, turns):
        for name in order:
            runs[name].append(CONTESTANTS[name](data, leaves, trees, threads))
    return runs


def compare(data: RankingDataset, test: RankingDataset, leaves: int, options: argparse.Namespace) -> None:
    names = options.contestants.split(",")
    runs = in_turns(data, names, leaves, options.trees, options.threads, options.repeats)
    print(f"\n{len(data.y):,} rows, {leaves} leaves, {options.trees} trees, medians of {options.repeats}\n")
    print(
        f"| | bin s | train s | CPU s | train / {names[0]} | bin + train / {names[0]} | CPU / {names[0]} "
        "| from | to | NDCG@10 |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in names:
        paired = list(zip(runs[name], runs[names[0]]))
        cells = [statistics.median(getattr(r, part) for r in runs[name]) for part in ("bin", "train", "cpu")]
        cells += [
            statistics.median(a.train / b.train for a, b in paired),
            statistics.median((a.bin + a.train) / (b.bin + b.train) for a, b in paired),
            statistics.median(a.cpu / b.cpu for a, b in paired),
            min(a.cpu / b.cpu for a, b in paired),
            max(a.cpu / b.cpu for a, b in paired),
        ]
        score = ndcg(test.y, runs[name][-1].predict(test.X), test.qid, k=10)
        print(f"| {name} | {' | '.join(f'{cell:.2f}' for cell in cells)} | {score:.4f} |")
    for run in runs.get("native", [])[-1:]:
        print("\nWhere native's time went:", ", ".join(f"{k} {v:.2f} s" for k, v in run.parts.items()))


@contextlib.contextmanager
def neighbours(wanted: bool) -> Iterator[None]:
    """If `wanted`, one process of lower priority for each core that does nothing but count."""
    loop = "import os\nos.nice(5)\nwhile True: pass"
    count = len(os.sched_getaffinity(0)) if wanted else 0
    processes = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="50,000 rows, one repetition")
    parser.add_argument("--queries", type=int, default=4800)
    parser.add_argument("--leaves", default="63,255")
    parser.add_argument("--trees", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--contestants", default=",".join(CONTESTANTS))
    parser.add_argument("--busy", action="store_true", help="a busy process of lower priority on each core")
    options = parser.parse_args()
    if options.quick:
        options.queries, options.repeats = 420, 1
    packages = ["numpy", "numba", "lightgbm", "xgboost"]
    packages += ["hessboost"] if "hessboost" in CONTESTANTS else []
    versions = " ".join(f"{p} {importlib.metadata.version(p)}" for p in packages)
    load = f"load {os.getloadavg()[0]:.1f}{', busy' if options.busy else ''}"
    print(
        f"{datetime.date.today()}, {options.threads} threads, {load}, {platform.machine()}, "
        f"python {platform.python_version()}, {versions}"
    )
    data = make_letor(options.queries, random_state=0)
    test = make_letor(max(200, options.queries // 5), random_state=1)
    with neighbours(options.busy):
        for leaves in map(int, options.leaves.split(",")):
            compare(data, test, leaves, options)


if __name__ == "__main__":
    main()
