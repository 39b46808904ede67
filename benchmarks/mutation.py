"""Do the tests notice a small mistake? Mutants of the source, each run against the tests that reach it.

A mutant is the package with one operator, constant or condition changed. It is killed if a test fails, the
import fails or the tests hang, and survives if all pass. Mutants are sampled at random over the rooms, every
place alike. Places where a change cannot make a difference to any result are left out by rule: docstrings,
annotations, decorators, imports, errors and their messages, texts with values in them, the text and the stack
level of warnings, whether an array is copied, and how wide the lines of a picture are.

First, the tests run once on the package as it is, and a trace tells which lines each test reaches. The tests
of a mutant are those that reach its line, the quickest first; for a line of a compiled kernel, which no trace
sees, those that reach a line of Python that names the kernel, or a kernel that calls it. A mutant whose
survival is suspected can then be run against whole test files (``--whole``).

    pip install coverage
    python benchmarks/mutation.py --mutants 300 --work DIR      # hours; goes on where it stopped
    python benchmarks/mutation.py --rooms trees --mutants 20 --seed 1 --work DIR
    python benchmarks/mutation.py --only trees/growth/leafwise.py:196 --work DIR

A survivor is a gap in the tests, or a change that makes no difference. ``RESULTS-mutation.md`` lists both.
"""

from __future__ import annotations

import argparse
import datetime
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mutants.kinds import Mutant, line_in_copy, mutants_of
from mutants.reach import Reached
from mutants.workplace import ROOT, Workplace, path_of

ROOMS = ("core", "trees", "objectives", "preferences")
# Rooms whose tests take the least time come first.
_SOONEST = ("preferences", "objectives", "core", "trees")
# Beginnings of the paths of modules, and of the names of the test files that are theirs, the quickest first.
# The longest beginning wins.
TESTS = {
    "core": (
        "test_queries",
        "test_sorting",
        "test_lambdas",
        "test_document_weights",
        "test_position_bias",
        "test_rankers_contract",
    ),
    "core/bits": ("test_queries", "test_lambdas", "test_trees_growing"),
    "core/gains": ("test_gains", "test_lambdas"),
    "core/greedy": ("test_greedy", "test_diversify"),
    "core/heap": ("test_greedy",),
    "core/information": ("test_information",),
    "core/ordered_rows": ("test_queries", "test_objectives", "test_position_bias"),
    "core/pairs": ("test_pairs", "test_lambdas"),
    "core/precision": ("test_precision", "test_trees_binning"),
    "core/queries": ("test_queries",),
    "core/query_traces": ("test_cut_queries",),
    "core/ranking": ("test_objectives", "test_lambdas", "test_document_weights", "test_metrics"),
    "core/rowhash": ("test_queries", "test_rankers_contract"),
    "core/rows": ("test_queries", "test_trees_binning", "test_rankers_contract"),
    "core/sorting": ("test_sorting",),
    "core/splitmix": ("test_objectives", "test_trees_growing"),
    "objectives": ("test_objectives", "test_lambdas", "test_document_weights", "test_position_bias"),
    "preferences": ("test_preference_pairs", "test_reward", "test_preference_files"),
    "preferences/auditing": ("test_audit", "test_report"),
    "preferences/dpo": ("test_dpo_losses", "test_dpo_policy", "test_dpo"),
    "preferences/exporting": ("test_layouts", "test_preference_files"),
    "preferences/judges": ("test_judges", "test_judge_effects"),
    "preferences/judges/effects": ("test_judge_effects", "test_judges"),
    "preferences/judges/logistic": ("test_judge_effects", "test_judges"),
    "preferences/pairs": ("test_preference_pairs", "test_reward"),
    "preferences/reading": (
        "test_layouts",
        "test_votes_reading",
        "test_rankings_cli",
        "test_preference",
        "test_pairs_cli",
    ),
    "preferences/reward": ("test_reward",),
    "preferences/saving": ("test_reward",),
    "preferences/scor": ("test_reward", "test_preference_pairs"),
    "preferences/strengths": (
        "test_cycles",
        "test_strength",
        "test_ids",
        "test_bradley_terry",
        "test_leaderboard_cli",
    ),
    "preferences/strengths/ranking": ("test_plackett_luce",),
    "trees": ("test_trees",),
    "trees/binning": ("test_trees_binning", "test_trees_boosting", "test_precision"),
    "trees/boosting": ("test_trees_boosting",),
    "trees/checkpoint": ("test_trees_boosting",),
    "trees/edge_sample": ("test_fit_files",),
    "trees/ensemble": ("test_trees_ensemble", "test_trees_boosting", "test_forest"),
    "trees/forest": ("test_forest",),
    "trees/growth/symmetric": ("test_trees_symmetric", "test_trees_split_rules"),
    "trees/model_text": ("test_forest", "test_trees_ensemble"),
    "trees/contribution": ("test_contributions", "test_explain"),
    "trees/validation": ("test_hostile_models", "test_trees_ensemble", "test_forest"),
    "trees/plain_tree": ("test_trees_ensemble", "test_trees_symmetric", "test_trees"),
}


def test_files(prefixes: tuple[str, ...] | list[str]) -> list[str]:
    """Test files whose names begin so, in that order."""
    files = sorted((ROOT / "tests").glob("test_*.py"))
    found = [str(file) for stem in prefixes for file in files if file.stem.startswith(stem)]
    return list(dict.fromkeys(found))


def own_tests(name: str) -> list[str]:
    """Test files that are a module's own, the quickest first."""
    prefix = max((p for p in TESTS if name.startswith(p)), key=len)
    return test_files(TESTS[prefix])


@dataclass(frozen=True)
class End:
    """How a mutant ended, after how long, and which test failed.

    It ends as "passed", "failed", "hung", "unreached" (by no test), or "not run" where the tests did not
    start. Seconds are of the processor.
    """

    end: str
    seconds: float
    test: str


class Results:
    """Ends of mutants in a file, one a line, so that a run can go on where an earlier one stopped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.ends: dict[str, End] = {}
        for line in lines:
            end, seconds, name, test = line.split("\t")
            self.ends[name] = End(end, float(seconds), test)

    def add(self, mutant: Mutant, end: End) -> None:
        """Keep how a mutant ended."""
        self.ends[str(mutant)] = end
        line = f"{end.end}\t{end.seconds:.1f}\t{mutant}\t{end.test}"
        print(line, file=sys.stderr, flush=True)
        with self._path.open("a") as stream:
            stream.write(line + "\n")


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", default=",".join(ROOMS))
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=200.0, help="processor seconds until a run hangs")
    parser.add_argument("--most", type=float, default=60.0, help="seconds of tests beside a module's own")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", help="all mutants of one line, FILE:LINE, or a file of names of mutants")
    parser.add_argument(
        "--whole", action="store_true", help="run the module's own test files as a whole, too"
    )
    parser.add_argument(
        "--tests", default="", help="beginnings of test files to run, instead of those traced"
    )
    parser.add_argument(
        "--work", type=Path, required=True, help="folder of the copy, the traces and the results"
    )
    parser.add_argument("--results", default="results.txt", help="file of ends, in that folder")
    return parser.parse_args()


def choose(options: argparse.Namespace, package: Path) -> list[Mutant]:
    """The mutants that the command line asks for."""
    paths = [p for room in options.rooms.split(",") for p in sorted((package / room).rglob("*.py"))]
    everything = [m for p in paths for m in mutants_of(p, package)]
    if options.only and Path(options.only).exists():
        names = set(Path(options.only).read_text().splitlines())
        chosen = [m for m in everything if str(m) in names]
    elif options.only:
        chosen = [m for m in everything if str(m).startswith(options.only + " ")]
    else:
        chosen = random.Random(options.seed).sample(everything, min(options.mutants, len(everything)))
    print(
        f"{datetime.date.today()}: {len(chosen)} of {len(everything):,} mutants of {options.rooms}\n",
        flush=True,
    )
    return chosen


class Pool:
    """At most so many forked processes at a time."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._running: dict[int, tuple[float, float, object]] = {}

    def add(self, process: int, wall: float, what: object) -> None:
        """Watch a process, which is killed after so many seconds."""
        self._running[process] = (time.monotonic(), wall, what)

    def ended(self, everything: bool = False) -> Iterator[tuple[object, int, float]]:
        """What ended, its exit code (negative: a signal) and its processor time; waits for a free place."""
        while self._running and (everything or len(self._running) >= self._size):
            for process, (began, wall, what) in list(self._running.items()):
                found, status, used = os.wait4(process, os.WNOHANG)
                if found:
                    del self._running[process]
                    yield what, os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
                elif time.monotonic() - began > wall:
                    os.killpg(process, signal.SIGKILL)
            time.sleep(0.1)


def trace_all(workplace: Workplace, files: list[str], processes: int) -> None:
    """Trace the test files that are not traced yet."""
    pool = Pool(processes)
    missing = [file for file in files if not workplace.traced(file)]
    for file in missing:
        for what, code, used in pool.ended():
            print(f"traced {Path(str(what)).name}: {code}, {used:.0f} s", file=sys.stderr, flush=True)
        pool.add(workplace.trace(file), 3600, file)
    for what, code, used in pool.ended(everything=True):
        print(f"traced {Path(str(what)).name}: {code}, {used:.0f} s", file=sys.stderr, flush=True)


def select(mutant: Mutant, line: int, reached: Reached, workplace: Workplace, most: float) -> list[str]:
    """Tests of a mutant in the order to run them: its module's own first, then others, up to a time."""
    found = reached.tests(workplace.copy_of(mutant.path), line)
    stems = {Path(file).stem for file in own_tests(mutant.name)} | {mutant.path.stem}
    own = [t for t in found if Path(t.split("::")[0]).stem in stems]
    others, spent = [], 0.0
    for test in found:
        if test not in own:
            spent += reached.seconds[test]
            if spent < most:
                others.append(test)
    return own + others


def _end(code: int, seconds: float, scratch: Path) -> End:
    """What an exit code says."""
    failure = scratch / "failure"
    test = failure.read_text() if failure.exists() else ""
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return End("hung", seconds, test)
    if code in (0, 5):  # 5: there was no test
        return End("passed", seconds, test)
    if code > 0 and not test:
        # Pytest could not start, so nothing was tried. A crash of the interpreter has a negative code.
        return End("not run", seconds, f"exit code {code}")
    return End("failed", seconds, test or f"signal {-code}")


def main() -> None:
    options = parse_options()
    workplace = Workplace(options.work.resolve(), options.limit)
    chosen = choose(options, workplace.package)
    for name in ("lightgbm", "xgboost", "sklearn.base", "scipy.optimize", "pandas", "numba", "hypothesis"):
        __import__(name)
    results = Results(options.work / options.results)
    # Room by room, so that only tests are traced whose turn comes.
    for room in sorted({m.name.split("/")[0] for m in chosen}, key=_SOONEST.index):
        waiting = [m for m in chosen if m.name.startswith(room + "/") and str(m) not in results.ends]
        if not options.tests and not options.whole:
            files = dict.fromkeys(file for m in waiting for file in own_tests(m.name))
            trace_all(
                workplace, [*files, str(workplace.copy_of(workplace.package / room))], options.processes
            )
        run_all(waiting, workplace, results, options)
    report(chosen, results)


def run_all(
    mutants: list[Mutant], workplace: Workplace, results: Results, options: argparse.Namespace
) -> None:
    """Run the tests of each mutant, and keep how they end."""
    reached = workplace.reach()
    pool = Pool(options.processes)
    free = [options.work.resolve() / f"scratch{os.getpid()}-{i}" for i in range(options.processes)]

    def collect(everything: bool = False) -> None:
        for (mutant, scratch), code, used in pool.ended(everything):  # type: ignore[misc]
            results.add(mutant, _end(code, used, scratch))
            shutil.rmtree(scratch, ignore_errors=True)
            free.append(scratch)

    for mutant in mutants:
        collect()
        if options.tests or options.whole:
            tests = None
            files = test_files(options.tests.split(",")) if options.tests else own_tests(mutant.name)
        else:
            line = line_in_copy(mutant, workplace.copy_of(mutant.path))
            tests = select(mutant, line, reached, workplace, options.most)
            files = list(dict.fromkeys(path_of(t) for t in tests))
        if tests == []:
            results.add(mutant, End("unreached", 0.0, ""))
            continue
        scratch = free.pop()
        pool.add(workplace.start(mutant, tests, files, scratch), 12 * options.limit, (mutant, scratch))
    collect(everything=True)


def report(chosen: list[Mutant], results: Results) -> None:
    """Print what was killed, and what survived by name."""
    ended = {str(m): results.ends[str(m)].end for m in chosen if str(m) in results.ends}
    counts = Counter(ended.values())
    survived = counts["passed"] + counts["unreached"]
    n_run = len(ended) - counts["not run"]
    print(f"{n_run} run: {n_run - survived} killed ({counts['hung']} hung), {survived} survived")
    for name, end in ended.items():
        if end in ("passed", "unreached", "not run"):
            print(f"- {name} ({end})")


if __name__ == "__main__":
    main()
