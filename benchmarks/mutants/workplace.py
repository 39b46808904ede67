"""A copy of the package on which the tests are traced, and run against mutants."""

from __future__ import annotations

import ast
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from mutants import process
from mutants.kinds import Mutant, source_of
from mutants.reach import Reached

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "lambdamart_kit"
# Names of tests begin at the root of the file system, so that those of the copy, which are examples in
# docstrings, are told apart from those of the project whatever folder the copy is in.
_NAMES_FROM = "/"
_OPTIONS = (
    *("-q", "-p", "no:cacheprovider", "--disable-warnings"),
    *("-c", str(ROOT / "pyproject.toml"), "--rootdir", _NAMES_FROM),
)


def path_of(test: str) -> str:
    """Path of the file that holds a test."""
    return str(Path(_NAMES_FROM) / test.split("::")[0])


class Workplace:
    """A copy of the package, the compiled kernels of the original, and what its tests reach.

    The copy is made once: a run goes on with the package as it was when the folder was made, and with the
    tests as they are now.

    The copy's files are written by ``ast.unparse``, as those of the mutants are, so that a function begins on
    the same line in both. A run gets its own folder of hard links to the compiled kernels. Numba replaces
    files and never writes into them, so what a mutant's run compiles leaves the original's kernels in place.
    """

    def __init__(self, folder: Path, limit: float) -> None:
        self._folder = folder
        self.package = folder / "original" / PACKAGE.name
        self._copied = folder / "copy"
        self._compiled = folder / "compiled"
        self._reach = folder / "reach"
        self._limit = limit
        folder.mkdir(parents=True, exist_ok=True)
        self._compiled.mkdir(exist_ok=True)
        self._reach.mkdir(exist_ok=True)
        self._start_up = folder / "start_up"
        if not self._copied.exists():
            shutil.copytree(PACKAGE, self.package, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copytree(self.package, self._copied / PACKAGE.name)
            for path in self._copied.rglob("*.py"):
                path.write_text(ast.unparse(ast.parse(path.read_text())) + "\n")
            self._start_up.mkdir()
            (self._start_up / "sitecustomize.py").write_text(process.START_UP)
        sys.path.insert(0, str(self._copied))

    def copy_of(self, path: Path) -> Path:
        """The copy of a file of the package."""
        return self._copied / PACKAGE.name / path.relative_to(self.package)

    def _environment(self, compiled: Path) -> dict[str, str]:
        paths = [str(self._start_up), str(Path(__file__).parents[1]), str(self._copied)]
        return {
            "PYTHONPATH": os.pathsep.join(paths),
            "NUMBA_CACHE_DIR": str(compiled),
            "CI": "1",  # hypothesis draws the same examples in every run
            "HYPOTHESIS_STORAGE_DIRECTORY": str(compiled / "hypothesis"),
        }

    def trace(self, file: str) -> int:
        """Start a process that runs a test file, or the doctests of a room, on the original; its id."""
        out = self._reach / (Path(file).stem + ".json")

        def body() -> int:
            import coverage

            process.install()
            trace = coverage.Coverage(data_file=None, source=[str(self._copied / PACKAGE.name)])
            plugin = process.Reach(trace)
            trace.start()
            trace.switch_context("import")
            code = pytest.main([*_OPTIONS, file], plugins=[plugin])
            trace.stop()
            data = trace.get_data()
            lines: dict[str, dict[str, list[str]]] = {}
            for name in data.measured_files():
                by_line = data.contexts_by_lineno(name)
                lines[name] = {str(line): contexts for line, contexts in by_line.items()}
            found = {"seconds": plugin.seconds, "failed": sorted(plugin.failed), "lines": lines}
            out.with_suffix(".new").write_text(json.dumps(found))
            out.with_suffix(".new").rename(out)
            return int(code)

        os.chdir(ROOT / "tests")
        log = self._reach / (Path(file).stem + ".log")
        return process.fork(body, log, self._environment(self._compiled), 3600)

    def traced(self, file: str) -> bool:
        """Whether the trace of a test file is there."""
        return (self._reach / (Path(file).stem + ".json")).exists()

    def reach(self) -> Reached:
        """What the tests that were traced reach."""
        return Reached([json.loads(p.read_text()) for p in sorted(self._reach.glob("*.json"))], self._copied)

    def start(self, mutant: Mutant, tests: list[str] | None, files: list[str], scratch: Path) -> int:
        """Start a process that runs tests against a mutant; its id."""
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(self._compiled, scratch / "compiled", copy_function=os.link)
        source = scratch / "mutant.py"
        source.write_text(source_of(mutant, self.copy_of(mutant.path)))
        parts = mutant.path.relative_to(self.package.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        environment = {
            **self._environment(scratch / "compiled"),
            **process.mutant_environment(module, source),
        }
        failure = scratch / "failure"

        def body() -> int:
            import importlib

            process.install()
            try:
                importlib.import_module(module)
            except BaseException as error:
                failure.write_text(f"import: {type(error).__name__}")
                return 1
            plugin = process.Selection(tests, failure)
            options = [*_OPTIONS, "-x", "--basetemp", str(scratch / "temporary")]
            return int(pytest.main([*options, *files], plugins=[plugin]))

        os.chdir(ROOT / "tests")
        return process.fork(body, scratch / "log", environment, self._limit)
