"""Run tests in a process in which one module of the package is a mutant; used by ``workplace.py``.

Files stay as they are: an import hook hands out the mutant's source. So all mutants share one copy of the
package, and the compiled kernels of the original stay valid. A compiled kernel counts as current if the
bytecode of every function that it reaches is unchanged, so only kernels that reach the mutant are compiled
anew. (The package itself compares whole files, which is safer for users and slower here.)
"""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import resource
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pytest

_CACHE = "lambdamart_kit.compile.kernel_cache"
# Environment variables by which the processes that a test starts learn of the mutant.
_MODULE = "LAMBDAMART_KIT_MUTANT_MODULE"
_SOURCE = "LAMBDAMART_KIT_MUTANT_SOURCE"
START_UP = "from mutants import process\n\nprocess.install()\n"


class _Loader(importlib.machinery.SourceFileLoader):
    """Loads a module, from the mutant's source if there is one."""

    def __init__(self, name: str, path: str, source: Path | None) -> None:
        super().__init__(name, path)
        self._mutant = source

    def get_code(self, fullname: str) -> CodeType | None:
        """Bytecode of the mutant, or that of the file."""
        if self._mutant is None:
            return super().get_code(fullname)
        return compile(self._mutant.read_text(), self.path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module."""
        super().exec_module(module)
        if module.__name__ == _CACHE:
            _stamp_by_bytecode(module)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the mutated module, and the module that keeps compiled kernels."""

    def find_spec(self, fullname, path=None, target=None):  # type: ignore[no-untyped-def]
        """Where a module is, and how it is loaded."""
        mutant = os.environ.get(_MODULE)
        if fullname not in (mutant, _CACHE):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.origin is not None:
            source = Path(os.environ[_SOURCE]) if fullname == mutant else None
            spec.loader = _Loader(fullname, spec.origin, source)
        return spec


def install() -> None:
    """Let imports of this process find the mutant that the environment names."""
    sys.meta_path.insert(0, _Finder())


def _stamp_by_bytecode(kernel_cache: ModuleType) -> None:
    """Make compiled kernels depend on the bytecode of what they reach, and not on whole files."""

    def stamp(self) -> None:  # type: ignore[no-untyped-def]
        if not self._stamped:
            self._disk._cache_file._source_stamp = _digest(kernel_cache, self._function)
            self._stamped = True

    kernel_cache._TolerantCache.stamp = stamp  # type: ignore[attr-defined]


def _digest(kernel_cache: ModuleType, function: FunctionType) -> str:
    """Digest of the bytecode of all functions that a kernel reaches, and of the constants they use."""
    parts = []
    seen = {function}
    waiting = [function]
    while waiting:
        current = waiting.pop()
        parts.append(_code_key(current.__code__))
        for name, value in kernel_cache._used_by(current):
            callee = getattr(value, "py_func", None) or getattr(value, "_defn", None)
            if isinstance(callee, FunctionType):
                if callee not in seen:
                    seen.add(callee)
                    waiting.append(callee)
            elif hasattr(value, "tobytes"):
                parts.append(f"{name}={value.tobytes()!r}")
            elif isinstance(value, (int, float, str, tuple)):
                parts.append(f"{name}={value!r}")
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()


def _code_key(code: CodeType) -> str:
    constants = [_code_key(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return repr((code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants))


class Selection:
    """Pytest plugin: run the tests that are asked for, in the order asked for; keep the first that fails."""

    def __init__(self, wanted: Iterable[str] | None, failure: Path) -> None:
        self._rank = None if wanted is None else {name: i for i, name in enumerate(wanted)}
        self._failure = failure

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave the tests that are wanted, in their order."""
        rank = self._rank
        if rank is not None:
            items[:] = sorted((i for i in items if i.nodeid in rank), key=lambda item: rank[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the name of the first test that fails."""
        if report.failed and not self._failure.exists():
            self._failure.write_text(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep the name of the first file that cannot be imported."""
        if report.failed and not self._failure.exists():
            self._failure.write_text(report.nodeid)


class Reach:
    """Pytest plugin: which lines of the package each test reaches, and how long it takes."""

    def __init__(self, coverage) -> None:  # type: ignore[no-untyped-def]
        self._coverage = coverage
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item):  # type: ignore[no-untyped-def]
        """Say whose lines the next ones are."""
        self._coverage.switch_context(item.nodeid)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add up a test's seconds, and keep whether it failed."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed or report.skipped:
            self.failed.add(report.nodeid)


def fork(body: Callable[[], int], log: Path, environment: dict[str, str], limit: float) -> int:
    """Start a forked process that runs `body` and ends with its exit code; returns its id."""
    process = os.fork()
    if process:
        return process
    code = 99
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 5))
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(environment)
        import numba

        numba.config.reload_config()
        code = body()
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return 0


def mutant_environment(module: str, source: Path) -> dict[str, str]:
    """What tells this process, and those that it starts, of a mutant."""
    return {_MODULE: module, _SOURCE: str(source)}
