"""What each part of the kit's own way to compile buys: against plain Numba, and with one part left out.

Every run is a process of its own with a cache folder of its own. "cold" is the processor time (user and
system, of the process and those it starts) from an empty cache to one tree, imports taken off; "warm" is the
same with the cache filled; "trees" and "gradient" are seconds of training on one thread with everything
compiled. The ways take turns, and medians are shown, each with its ratio to the kit's own way in the same
turn. Processor time is little disturbed by a busy machine.

    python benchmarks/compile_ways.py
    python benchmarks/compile_ways.py --ways lean,plain --training --repeats 5
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile

# Statements that leave out one part, run before the first kernel is made.
WITHOUT = {
    "lean": "",
    "plain": "",
    "no shared inner code": (
        "for c in (lean._InnerCompiler, lean._InnerBorrowerCompiler, lean._ApartInnerBorrowerCompiler):"
        " c._lowering = lean._EntryLowering\n"
        "lean.has_named_tuple = lambda kind: False"
    ),
    "literals apart": "lean.unliteral = lambda kind: kind",
    "types not remembered": "lean.Remembering = lambda context: context",
    "references counted": (
        "entry, linked = lean.entry, lean.linked\n"
        "lean.entry = lambda f, *, borrows, shared, **o: entry(f, borrows=False, shared=False, **o)\n"
        "lean.linked = lambda f, *, borrows, shared, **o: linked(f, borrows=False, shared=False, **o)"
    ),
    "overlaps tested": "lean._Apart.define_pipelines = lean._EntryCompiler.define_pipelines",
    "cycles collected": "from lambdamart_kit.compile import notices; notices.collector_at_rest.__class__."
    "__enter__ = lambda self: None; notices.collector_at_rest.__class__.__exit__ = lambda self, *_: None",
}

_PREPARE = """
import json, os, resource, sys, time
def spent():
    return sum(sum(resource.getrusage(w)[:2]) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
import lambdamart_kit.compile.lean as lean
"""
_FIRST_TREE = """
import numpy as np
from lambdamart_kit import LambdaMART
rng = np.random.default_rng(0)
n = 1000
X, y, qid = rng.normal(size=(n, 20)), rng.integers(0, 5, n), np.arange(n) // 20
before = spent()
LambdaMART(n_estimators=1, n_jobs=1).fit(X, y, qid=qid)
print(json.dumps({"seconds": spent() - before}))
"""
_TRAINING = """
import numpy as np
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.objectives import LambdaNDCG
from lambdamart_kit.trees.binning import BinMapper
from lambdamart_kit.trees.growth.grower import Grower
from lambdamart_kit.trees.parameters import TreeParameters
data = make_letor(n_queries=500, random_state=0)
queries = Queries.from_qid(data.qid, len(data.y))
bound = LambdaNDCG().bind(data.y, queries, n_threads=1)
binned = BinMapper.fit(data.X, queries).transform(data.X)
scores = np.zeros(len(data.y))
times = {}
def fastest(function, times):
    taken = []
    for _ in range(times):
        begun = time.process_time()
        function()
        taken.append(time.process_time() - begun)
    return min(taken)
gradient = lambda: bound.gradient_hessian(scores.astype(np.float32))
gradient()
times["gradient"] = fastest(gradient, 10)
for leaves in (63, 255):
    grower = Grower(binned, queries, TreeParameters(num_leaves=leaves), n_threads=1)
    g, h = gradient()
    grow = lambda: grower.grow(g, h, scores.copy(), tree_index=0)
    grow()
    times[f"trees {leaves}"] = fastest(grow, 10)
print(json.dumps(times))
"""


def run_way(way: str, program: str, cache: str) -> dict[str, float]:
    """What a process that compiles this way prints."""
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": cache,
        "LAMBDAMART_KIT_JIT": "plain" if way == "plain" else "lean",
    }
    command = [sys.executable, "-c", f"{_PREPARE}\n{WITHOUT[way]}\n{program}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(way: str, *, training: bool) -> dict[str, float]:
    """Seconds of one turn of one way."""
    with tempfile.TemporaryDirectory() as cache:
        seconds = {run: run_way(way, _FIRST_TREE, cache)["seconds"] for run in ("cold", "warm")}
        return seconds | (run_way(way, _TRAINING, cache) if training else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ways", default=",".join(WITHOUT))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--training", action="store_true", help="time trees and gradients as well")
    options = parser.parse_args()
    ways = options.ways.split(",")
    versions = " ".join(f"{p} {importlib.metadata.version(p)}" for p in ("numpy", "numba", "llvmlite"))
    print(f"{datetime.date.today()}, one thread, {options.repeats} turns, {versions}\n", flush=True)
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for turn in range(options.repeats):
        for way in ways:
            found[way].append(measure(way, training=options.training))
            print(f"turn {turn + 1}, {way}: {found[way][-1]}", file=sys.stderr, flush=True)
    names = list(found[ways[0]][0])
    print(f"| way | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for way in ways:
        cells = []
        for name in names:
            own = statistics.median(turn[name] for turn in found[way])
            ratio = statistics.median(
                turn[name] / first[name] for turn, first in zip(found[way], found[ways[0]])
            )
            cells.append(f"{own:.3g} ({ratio:.2f})")
        print(f"| {way} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
