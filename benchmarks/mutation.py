"""Do the tests notice a small mistake? Mutants of the source, each run against the tests of its room.

A mutant is the package with one operator, constant or condition changed. It is killed if a test fails, the
import fails or the tests hang, and survives if all pass. Mutants are sampled at random over the rooms, every
place alike. A survivor is a gap in the tests, or a change that makes no difference (of speed only, or of a
message); survivors are listed, so that a reader can tell.

    python benchmarks/mutation.py --mutants 300            # hours
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
# Beginnings of the paths of modules, and of the names of the test files that are theirs; the longest wins.
TESTS = {
    "core/ranking": ("test_lambdas", "test_objectives", "test_metrics", "test_listwise"),
    "core/greedy": ("test_greedy", "test_diversify"),
    "core/heap": ("test_greedy",),
    "core/information": ("test_information", "test_explore"),
    "core/pairs": ("test_pairs", "test_lambdas"),
    "core/gains": ("test_gains", "test_lambdas"),
    "core/sorting": ("test_sorting",),
    "core/queries": ("test_queries",),
    "core/r": ("test_queries", "test_rankers_contract", "test_fit_files"),
    "core": ("test_queries", "test_sorting", "test_lambdas", "test_rankers_contract"),
    "trees": ("test_trees", "test_forest"),
    "trees/forest": ("test_forest",),
    "trees/growth": ("test_trees",),
    "objectives": ("test_objectives", "test_objective_matrix", "test_lambdas"),
    "preferences": ("test_preference", "test_pairs_cli", "test_reward", "test_dpo"),
    "preferences/strengths": ("test_bradley_terry", "test_strength", "test_ids"),
    "preferences/reading": ("test_preference", "test_pairs_cli"),
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
        return f"{self.path.relative_to(PACKAGE)}:{self.line} {self.change}"


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
    """Test files of a module, or those asked for."""
    name = str(path.relative_to(PACKAGE))
    prefix = max((p for p in TESTS if name.startswith(p)), key=len)
    files = sorted((ROOT / "tests").glob("test_*.py"))
    stems = tuple(asked.split(",")) if asked else TESTS[prefix]
    return [str(f) for f in files if f.stem.startswith(stems)]


def run_tests(copied: Path, tests: list[str], cache: Path, limit: float) -> str:
    """How the tests end with the package at `copied`: "passed", "failed" or "hung"."""
    environment = {**os.environ, "PYTHONPATH": str(copied), "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    silent = subprocess.DEVNULL
    try:
        done = subprocess.run(
            command, cwd=ROOT / "tests", env=environment, timeout=limit, stdout=silent, stderr=silent
        )
    except subprocess.TimeoutExpired:
        return "hung"
    return "passed" if done.returncode == 0 else "failed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rooms", default=",".join(ROOMS))
    parser.add_argument("--mutants", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds before a run counts as hung")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--tests", default="", help="beginnings of test files, instead of the module's own")
    parser.add_argument("--only", help="all mutants of one line, FILE:LINE")
    options = parser.parse_args()
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
    ends: Counter[str] = Counter()
    survivors = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copied, cache = Path(folder) / "copy", Path(folder) / "cache"
        shutil.copytree(PACKAGE, copied / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
        for mutant in chosen:
            if time.monotonic() - began > 60 * options.minutes:
                break
            target = copied / PACKAGE.name / mutant.path.relative_to(PACKAGE)
            target.write_text(source_of(mutant))
            end = run_tests(copied, tests_of(mutant.path, options.tests), cache, options.limit)
            target.write_text(mutant.path.read_text())
            ends[end] += 1
            survivors += [mutant] if end == "passed" else []
            print(f"{end:7} {mutant}", file=sys.stderr, flush=True)
    tried = sum(ends.values())
    print(f"{tried} run: {tried - ends['passed']} killed ({ends['hung']} hung), {ends['passed']} survived")
    for mutant in survivors:
        print(f"- {mutant}")


if __name__ == "__main__":
    main()
