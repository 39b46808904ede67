"""A second process for the second core while kernels compile for the first time.

Numba compiles under one lock a process, so threads do not help. What helps is a process that fills the same
cache on disk: it compiles one kernel while this process compiles the others, and this process then reads the
kernel from the cache. The kernel that grows trees takes about as long as all others of a fit together.

The second process trusts what this one trusts and no more. It gets the options -I, -E, -s and -S as this
process has them and always -P, so it never imports from the current directory. It takes this very package,
by its path, and everything else from where its interpreter looks.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba

from lambdamart_kit.compile.kernel_cache import folder_in_use, is_cached
from lambdamart_kit.compile.typing import NumbaObject

_PATIENCE = 120.0  # seconds after which this process compiles the kernel itself
_PACKAGE = Path(__file__).parents[1]
# Loads the package from argv[1] without putting that folder on the path, then runs the module argv[2].
_PROGRAM = """
import importlib.util, runpy, sys
package, module = sys.argv[1:3]
del sys.argv[1:3]
spec = importlib.util.spec_from_file_location(
    "lambdamart_kit", package + "/__init__.py", submodule_search_locations=[package]
)
sys.modules["lambdamart_kit"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["lambdamart_kit"])
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
_pending = threading.Lock()


@contextmanager
def compiled_aside(
    kernel: NumbaObject, types: tuple[Any, ...], module: str, *words: str, n_threads: int
) -> Iterator[None]:
    """Inside the block, a process of its own may compile `kernel`; the first call of it waits for that.

    A process that runs `module` is started if `kernel` is in no cache yet, there is a core for it and no
    other is under way. It is a fresh program, not a fork, so threads and locks of this process do not matter
    to it. If anything goes wrong there, the kernel is compiled here. The process ends with the block.

    Parameters
    ----------
    kernel : Numba dispatcher
        What is compiled aside.
    types : tuple
        Types of the arguments this process is going to call it with.
    module : str
        A module that, run, compiles `kernel` for those.
    words : str
        What to call the module with.
    n_threads : int
        Threads this process may use; below 2 nothing is started.
    """
    if n_threads < 2 or not _is_missing(kernel, types) or not _pending.acquire(blocking=False):
        yield
        return
    try:
        child = _start(module, *words)
        if child is None:
            yield
            return
        ordinary = kernel.compile

        def wait_and_compile(signature: NumbaObject) -> NumbaObject:
            try:
                child.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                child.kill()
            return ordinary(signature)

        kernel.compile = wait_and_compile
        try:
            yield
        finally:
            del kernel.compile
            if child.poll() is None:
                child.kill()
            child.wait()
    finally:
        _pending.release()


def _is_missing(kernel: NumbaObject, types: tuple[Any, ...]) -> bool:
    """Whether `kernel` is neither compiled nor cached, and a process of ours would find this interpreter."""
    if numba.config.DISABLE_JIT or not sys.executable or getattr(sys, "frozen", False):
        return False
    try:
        return types not in kernel.signatures and not is_cached(kernel, types)
    except Exception:
        return False  # another Numba, or a cache that cannot be read: this process compiles


def interpreter_options() -> list[str]:
    """Options of a Python process that imports from nowhere this one does not, and not from its folder."""
    flags = {
        "-I": sys.flags.isolated,
        "-E": sys.flags.ignore_environment,
        "-s": sys.flags.no_user_site,
        "-S": sys.flags.no_site,
        "-B": sys.flags.dont_write_bytecode,
    }
    return ["-P", *(option for option, is_on in flags.items() if is_on)]


def _environment() -> dict[str, str]:
    """Environment of the second process: ``PYTHONPATH`` without what means the current directory."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    environment["PYTHONPATH"] = os.pathsep.join(entry for entry in entries if os.path.isabs(entry))
    if folder_in_use():
        environment["NUMBA_CACHE_DIR"] = folder_in_use()
    return environment


def _start(module: str, *words: str) -> subprocess.Popen[bytes] | None:
    silent = subprocess.DEVNULL
    try:
        return subprocess.Popen(
            [sys.executable, *interpreter_options(), "-c", _PROGRAM, str(_PACKAGE), module, *words],
            env=_environment(),
            stdin=silent,
            stdout=silent,
            stderr=silent,
        )
    except OSError:
        return None
