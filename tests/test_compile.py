"""How kernels compile: what they return, where their code goes, and how they do without Numba's internals."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from lambdamart_kit.compile import inner, kernel, kernel_cache, kernels, second_process

PACKAGE = Path(__file__).parents[1] / "lambdamart_kit"
NUMBERS = {"None", "int", "float", "bool"} | {
    f"np.{kind}" for kind in ("float32", "float64", "int64", "uint8", "uint32", "uint64")
}
PLAIN = NUMBERS | {"Array", "FloatArray", "Float32Array", "IndexArray"}


def kernel_returns() -> Iterator[tuple[str, ast.expr | None]]:
    """Every function in the package that is a kernel, and the annotation of what it returns."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                decorators = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
                if any(isinstance(d, ast.Name) and d.id in ("kernel", "_summing") for d in decorators):
                    yield f"{path.relative_to(PACKAGE)}:{node.name}", node.returns


def is_plain(annotation: ast.expr | None) -> bool:
    """Whether an annotation is of numbers, arrays and plain tuples of them."""
    if isinstance(annotation, ast.Subscript):
        inside = annotation.slice
        parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
        return ast.unparse(annotation.value) == "tuple" and all(map(is_plain, parts))
    return annotation is not None and ast.unparse(annotation) in PLAIN


def test_no_kernel_returns_a_named_tuple():
    returns = list(kernel_returns())
    assert len(returns) > 100
    assert [name for name, annotation in returns if not is_plain(annotation)] == []


class Pair(NamedTuple):
    first: float
    second: float


@pytest.mark.skipif(kernels.lean is None, reason="kernels compile the plain way")
def test_a_kernel_that_returns_a_named_tuple_does_not_compile():
    @kernel(cache=False)
    def both(x):
        return 1, Pair(x, x)

    with pytest.raises(TypeError, match="returns a NamedTuple"):
        both(1.0)


def run_python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), **variables}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


METRIC = "from lambdamart_kit.metrics import ndcg; print(ndcg([1, 0, 2], [1.0, 2, 3], [1, 1, 1]))"


def test_without_a_place_for_the_cache_kernels_work_and_one_warning_says_so(tmp_path):
    """A read-only package, and no home: every folder that Numba tries is under a file, so cannot be made."""
    (tmp_path / "file").write_text("")
    nowhere = str(tmp_path / "file" / "folder")
    locators = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "NUMBA_CACHE_DIR": nowhere}
    done = run_python(METRIC, **locators, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(0.9639, abs=1e-3)
    assert done.stderr.count("RuntimeWarning") == 1
    assert "NUMBA_CACHE_DIR" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["file"]  # the temporary folder is gone


def test_a_damaged_or_full_cache_is_no_error(tmp_path, monkeypatch):
    class Broken:
        flushed = False

        def load_overload(self, sig, context):
            raise EOFError("half a file")

        def save_overload(self, sig, data):
            raise OSError(28, "No space left on device")

        def flush(self):
            self.flushed = True

    broken = Broken()
    monkeypatch.setattr(kernel_cache, "_told", False)
    monkeypatch.setattr(kernel_cache._TolerantCache, "stamp", lambda self: None)
    cache = kernel_cache._TolerantCache(broken, len)
    with pytest.warns(RuntimeWarning, match="half a file"):
        assert cache.load_overload("i8", None) is None
    assert broken.flushed
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # one warning a process
        cache.save_overload("i8", None)


def callee_source(body: str) -> str:
    return f"from lambdamart_kit.compile import inner\nSTEP = 1\n@inner\ndef step(x):\n    return {body}\n"


def test_cached_code_is_not_used_when_a_function_in_another_file_changed(tmp_path):
    (tmp_path / "callee.py").write_text(callee_source("x + STEP"))
    (tmp_path / "caller.py").write_text(
        "from callee import step\nfrom lambdamart_kit.compile import kernel\n"
        "@kernel\ndef twice(x):\n    return step(x) + step(x)\n"
    )
    variables = {
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{PACKAGE.parent}",
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    program = "import caller; print(caller.twice(1), sum(caller.twice.stats.cache_hits.values()))"
    answers = [run_python(program, **variables).stdout.split() for _ in range(2)]
    (tmp_path / "callee.py").write_text(callee_source("x + 10 * STEP"))
    answers.append(run_python(program, **variables).stdout.split())
    assert answers == [["4", "0"], ["4", "1"], ["22", "0"]]


@pytest.mark.parametrize(
    ("wanted", "version", "is_lean"),
    [
        ("", "0.62.0", True),
        ("", "0.99.0", False),
        ("", "1.0", False),
        ("", "0.68.0rc1", True),
        ("", "unknown", False),
        ("plain", "0.62.0", False),
        ("lean", "0.99.0", True),
    ],
)
def test_unknown_releases_of_numba_compile_the_plain_way(wanted, version, is_lean):
    assert (kernels._choose_lean(wanted, version) is not None) == is_lean


def test_a_missing_internal_of_numba_is_a_warning(monkeypatch):
    from lambdamart_kit.compile import lean

    def fail():
        raise AttributeError("_optimize_functions")

    monkeypatch.setattr(lean, "try_out", fail)
    with pytest.warns(RuntimeWarning, match="Numba 0.65.0 lacks an internal .*_optimize_functions"):
        assert kernels._choose_lean("", "0.65.0") is None


def test_an_unknown_way_to_compile_is_an_error():
    with pytest.raises(ValueError, match="'LAMBDAMART_KIT_JIT' must be 'plain', 'lean' or not set; got 'x'"):
        kernels._choose_lean("x", "0.65.0")


def test_plain_numba_gives_the_same_results(monkeypatch):
    monkeypatch.setattr(kernels, "lean", None)

    @inner(borrows=True)
    def add(a, i, value):
        a[i] += value

    @kernel(borrows=True, shared=True, cache=False)
    def fill(a, value):
        for i in range(len(a)):
            add(a, i, value if value is not None else 1.0)

    a = np.zeros(3)
    fill(a, None)
    fill(a, 2.0)
    assert a.tolist() == [3.0] * 3


HIJACK = """
import os
open(os.environ["PROOF"], "a").write("imported from the current directory")
raise ImportError
"""


@pytest.mark.parametrize("path", ["", os.pathsep, "."])
def test_the_second_process_does_not_import_from_the_current_directory(tmp_path, monkeypatch, path):
    for name in ("numpy", "lambdamart_kit", "typing", "runpy"):
        (tmp_path / f"{name}.py").write_text(HIJACK)
    proof = tmp_path / "proof"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PROOF", str(proof))
    monkeypatch.setenv("PYTHONPATH", path)
    child = second_process._start("lambdamart_kit.compile.kernels")
    assert child is not None
    assert child.wait(60) == 0
    assert not proof.exists()


def test_the_second_process_gets_the_options_of_this_one():
    code = "from lambdamart_kit.compile.second_process import interpreter_options as o; print(*o())"
    setup = f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r}); "
    for given, expected in (
        ([], ["-P"]),
        (["-I"], ["-P", "-I", "-E", "-s"]),
        (["-s", "-B"], ["-P", "-s", "-B"]),
    ):
        command = [sys.executable, *given, "-c", setup + code]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == expected


def test_what_numba_knows_is_loaded_by_one_thread_at_a_time(monkeypatch):
    """Two threads that met their first kernels together both loaded it, and one found its cache damaged."""
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.registry import cpu_target

    from lambdamart_kit.compile import notices

    seen = []
    for context in (cpu_target.typing_context, cpu_target.target_context):
        monkeypatch.setattr(context, "refresh", lambda: seen.append(global_compiler_lock.is_locked()))
    notices._load_registries()
    assert seen == [True, True]
    assert not global_compiler_lock.is_locked()
