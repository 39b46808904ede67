"""Do the tests notice a small mistake? Mutants of the source, each run against the tests of its room.

A mutant is the package with one operator, constant or condition changed. It is killed if a test fails, the
import fails or the tests hang, and survives if all pass. Mutants are sampled at random over the rooms, every
place alike. A survivor is a gap in the tests, or a change that makes no difference (of speed only, or of a
message); survivors are listed, so that a reader can tell.

    python benchmarks/mutation.py --mutants 300 --results ends.txt      # hours; goes on where it stopped
    python benchmarks/mutation.py --rooms trees --mutants 20 --seed 1
    python benchmarks/mutation.py --only trees/growth/leafwise.py:196
"""

from __future__ import annotations

import argparse
import ast
import copy
import datetime
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lambdamart_kit"
ROOMS = ("core", "trees", "objectives", "preferences")
# Beginnings of the paths of modules, and of the names of the test files that are theirs, the quickest first.
# The longest beginning wins.
TESTS = {
    "core": ("test_queries", "test_sorting", "test_lambdas", "test_rankers_contract"),
    "core/bits": ("test_queries", "test_lambdas", "test_trees_growing"),
    "core/gains": ("test_gains", "test_lambdas"),
    "core/greedy": ("test_greedy", "test_diversify"),
    "core/heap": ("test_greedy",),
    "core/information": ("test_information", "test_explore"),
    "core/ordered_rows": ("test_queries", "test_objectives", "test_fit_files"),
    "core/pairs": ("test_pairs", "test_lambdas"),
    "core/precision": ("test_precision", "test_trees_binning"),
    "core/queries": ("test_queries", "test_fit_files"),
    "core/query_traces": ("test_cut_queries", "test_model_selection"),
    "core/ranking": ("test_objectives", "test_lambdas", "test_metrics"),
    "core/rowhash": ("test_queries", "test_rankers_contract", "test_fit_files"),
    "core/rows": ("test_queries", "test_trees_binning", "test_rankers_contract"),
    "core/sorting": ("test_sorting",),
    "core/splitmix": ("test_objectives", "test_trees_growing", "test_explore"),
    "objectives": ("test_objectives", "test_lambdas"),
    "preferences": ("test_preference_pairs", "test_reward", "test_preference_files"),
    "preferences/auditing": ("test_audit",),
    "preferences/dpo": ("test_dpo_losses", "test_dpo_policy", "test_dpo"),
    "preferences/exporting": ("test_layouts", "test_preference_files"),
    "preferences/judges": ("test_judges", "test_judge_effects"),
    "preferences/judges/effects": ("test_judge_effects", "test_judges"),
    "preferences/judges/logistic": ("test_judge_effects", "test_judges"),
    "preferences/pairs": ("test_preference_pairs", "test_reward"),
    "preferences/reading": ("test_layouts", "test_votes_reading", "test_preference", "test_pairs_cli"),
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
    "trees/edge_sample": ("test_trees_binning", "test_fit_files"),
    "trees/ensemble": ("test_trees_ensemble", "test_trees_boosting", "test_forest"),
    "trees/forest": ("test_forest",),
    "trees/growth/symmetric": ("test_trees_symmetric", "test_trees_split_rules"),
    "trees/model_text": ("test_forest", "test_trees_ensemble"),
    "trees/plain_tree": ("test_trees_ensemble", "test_trees_symmetric", "test_trees"),
}
_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.FloorDiv: ast.Mult,
}
_NAMES = {"min": "max", "max": "min", "argmin": "argmax", "argmax": "argmin", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutant:
    """One change: a file, the place of a node in the walk of its tree, and which of its changes."""

    path: Path
    node: int
    variant: int
    line: int
    change: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(PACKAGE)}:{self.line} {self.change} #{self.node}.{self.variant}"


def mutated(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Copies of a node with one small mistake, and what it is."""
    if isinstance(node, (ast.AugAssign, ast.Assign)):
        yield ast.Pass(), f"{ast.unparse(node)!r} left out"
    new = copy.deepcopy(node)
    if isinstance(node, ast.Compare) and isinstance(new, ast.Compare) and type(node.ops[0]) in _SWAPS:
        new.ops[0] = _SWAPS[type(node.ops[0])]()  # type: ignore[call-overload]
    elif isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in _SWAPS:
        new.op = _SWAPS[type(node.op)]()  # type: ignore[attr-defined]
    elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        value = node.value
        new.value = not value if isinstance(value, bool) else value + 1  # type: ignore[attr-defined]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
        new = copy.deepcopy(node.operand)
    elif isinstance(node, ast.Name) and node.id in _NAMES:
        new.id = _NAMES[node.id]  # type: ignore[attr-defined]
    elif isinstance(node, ast.Attribute) and node.attr in _NAMES:
        new.attr = _NAMES[node.attr]  # type: ignore[attr-defined]
    elif isinstance(node, ast.IfExp) and isinstance(new, ast.IfExp):
        new.body = copy.deepcopy(node.orelse)
        new.orelse = copy.deepcopy(node.body)
    else:
        return
    yield new, f"{ast.unparse(node)!r} -> {ast.unparse(new)!r}"


def _untouched(tree: ast.Module) -> set[ast.AST]:
    """Nodes that no test could miss, or none should check: annotations, messages, decorators."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.FunctionDef):
            parts += [node.returns, *node.decorator_list]
        if isinstance(node, (ast.arg, ast.AnnAssign)):
            parts.append(node.annotation)
        if isinstance(node, (ast.Raise, ast.Import, ast.ImportFrom, ast.JoinedStr)):
            parts.append(node)
        for part in parts:
            if part is not None:
                skipped |= set(ast.walk(part))
    return skipped


def mutants_of(path: Path) -> list[Mutant]:
    """All mutants of a file."""
    tree = ast.parse(path.read_text())
    skipped = _untouched(tree)
    found = []
    for i, node in enumerate(ast.walk(tree)):
        if node not in skipped:
            line = getattr(node, "lineno", 0)
            found += [Mutant(path, i, k, line, change) for k, (_, change) in enumerate(mutated(node))]
    return found


def source_of(mutant: Mutant) -> str:
    """The file's source with the change."""
    tree = ast.parse(mutant.path.read_text())
    target = list(ast.walk(tree))[mutant.node]
    new = list(mutated(target))[mutant.variant][0]

    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            return new if node is target else self.generic_visit(node)

    return ast.unparse(ast.fix_missing_locations(Replace().visit(tree)))


def tests_of(path: Path, asked: str) -> list[str]:
    """Test files of a module, or those asked for; the quickest first."""
    name = str(path.relative_to(PACKAGE))
    prefix = max((p for p in TESTS if name.startswith(p)), key=len)
    stems = asked.split(",") if asked else TESTS[prefix]
    files = sorted((ROOT / "tests").glob("test_*.py"))
    found = [str(file) for stem in stems for file in files if file.stem.startswith(stem)]
    return list(dict.fromkeys(found))


class Workplace:
    """A copy of the package in which one module at a time is a mutant, and compiled kernels of the original.

    A test run gets its own folder of hard links to the compiled kernels. Numba replaces files and never
    writes into them, so what a mutant's run compiles does not push the original's kernels out, and only
    kernels that reach the mutant are compiled anew.
    """

    def __init__(self, folder: Path, limit: float) -> None:
        self._copied = folder / "copy"
        self._compiled = folder / "compiled"
        self._limit = limit
        self._compiled.mkdir()
        shutil.copytree(PACKAGE, self._copied / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))

    def run(self, mutant: Mutant, tests: list[str]) -> str:
        """How the tests of a mutant end: "passed", "failed" or "hung"."""
        target = self._copied / PACKAGE.name / mutant.path.relative_to(PACKAGE)
        original = target.read_text()
        stamp = target.stat()
        target.write_text(source_of(mutant))
        scratch = self._compiled.with_name("scratch")
        shutil.copytree(self._compiled, scratch, copy_function=os.link)
        try:
            return self._pytest(tests, scratch)
        finally:
            shutil.rmtree(scratch)
            target.write_text(original)
            # Numba takes compiled code for current only if the file's time is the one that it knows.
            os.utime(target, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))

    def warm(self, tests: list[str]) -> str:
        """Run the tests on the original, which compiles its kernels; how they end."""
        return self._pytest(tests, self._compiled)

    def _pytest(self, tests: list[str], compiled: Path) -> str:
        environment = {**os.environ, "PYTHONPATH": str(self._copied), "NUMBA_CACHE_DIR": str(compiled)}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        # Processor time is limited, since a busy machine must not make a test hang; and time as well, since a
        # deadlock takes none of the processor.
        process = subprocess.Popen(
            ["sh", "-c", f'ulimit -t {self._limit:.0f}; exec "$@"', "sh", *command],
            cwd=ROOT / "tests",
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=6 * self._limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return "hung"
        if code in (-signal.SIGXCPU, -signal.SIGKILL):
            return "hung"
        return "passed" if code == 0 else "failed"


class Results:
    """Ends of mutants in a file, one a line, so that a run can go on where an earlier one stopped."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        # A line is the end, a blank, and the mutant.
        self.ends = {line.split(" ", 1)[1]: line.split(" ", 1)[0] for line in lines}

    def add(self, mutant: Mutant, end: str) -> None:
        """Keep how a mutant ended."""
        self.ends[str(mutant)] = end
        print(f"{end:7} {mutant}", file=sys.stderr, flush=True)
        if self._path is not None:
            with self._path.open("a") as stream:
                stream.write(f"{end} {mutant}\n")


def parse_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", default=",".join(ROOMS))
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--limit", type=float, default=200.0, help="seconds of the processor before a run counts as hung"
    )
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--tests", default="", help="beginnings of test files, instead of the module's own")
    parser.add_argument("--only", help="all mutants of one line, FILE:LINE")
    parser.add_argument("--results", type=Path, help="file of ends; mutants that are in it are not run again")
    return parser.parse_args()


def main() -> None:
    options = parse_options()
    paths = [p for room in options.rooms.split(",") for p in sorted((PACKAGE / room).rglob("*.py"))]
    everything = [m for p in paths for m in mutants_of(p)]
    if options.only:
        chosen = [m for m in everything if str(m).startswith(options.only + " ")]
    else:
        chosen = random.Random(options.seed).sample(everything, min(options.mutants, len(everything)))
    print(
        f"{datetime.date.today()}: {len(chosen)} of {len(everything):,} mutants of {options.rooms}\n",
        flush=True,
    )
    results = Results(options.results)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        workplace = Workplace(Path(folder), options.limit)
        warmed: set[str] = set()
        for mutant in chosen:
            if time.monotonic() - began > 60 * options.minutes:
                break
            if str(mutant) in results.ends:
                continue
            tests = tests_of(mutant.path, options.tests)
            for test in tests:
                if test not in warmed and workplace.warm([test]) != "passed":
                    raise SystemExit(f"{test} does not pass on the package as it is")
                warmed.add(test)
            results.add(mutant, workplace.run(mutant, tests))
    ended = {str(m): results.ends[str(m)] for m in chosen if str(m) in results.ends}
    counts = Counter(ended.values())
    survived = counts["passed"]
    print(f"{len(ended)} run: {len(ended) - survived} killed ({counts['hung']} hung), {survived} survived")
    for name, end in ended.items():
        if end == "passed":
            print(f"- {name}")


if __name__ == "__main__":
    main()
