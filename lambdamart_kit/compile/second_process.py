"""A second process for the second core while kernels compile for the first time.

Numba compiles under one lock a process, so threads do not help. What helps is a process that fills the same
cache on disk: it compiles one kernel while this process compiles the others, and this process then reads the
kernel from the cache.
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

_PATIENCE = 120.0  # seconds after which this process compiles the kernel itself
_pending = threading.Lock()


@contextmanager
def compiled_aside(
    kernel: Any, types: tuple[Any, ...], module: str, *words: str, n_threads: int
) -> Iterator[None]:
    """Inside the block, a process of its own may compile `kernel`; the first call of it waits for that.

    ``python -m module`` is started if `kernel` is in no cache yet, there is a core for it and no other is
    under way. It is a fresh program, not a fork, so threads and locks of this process do not matter to it.
    Whatever goes wrong there, the kernel is then compiled here, as without it. It ends with the block.

    Parameters
    ----------
    kernel : Numba dispatcher
        What is compiled aside.
    types : tuple
        Of the arguments this process is going to call it with.
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

        def wait_and_compile(signature: Any) -> Any:
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


def _is_missing(kernel: Any, types: tuple[Any, ...]) -> bool:
    """Whether `kernel` is neither compiled nor cached, and a process of ours would find this interpreter."""
    if numba.config.DISABLE_JIT or not sys.executable or getattr(sys, "frozen", False):
        return False
    try:
        if types in kernel.signatures:
            return False
        return all(key[0] != types for key in kernel._cache._cache_file._load_index())
    except Exception:
        return False  # another Numba, or a cache that cannot be read: the ordinary way copes


def _start(module: str, *words: str) -> subprocess.Popen[bytes] | None:
    root = str(Path(__file__).parents[2])  # this very package, wherever it was imported from
    path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH", "")) if p)
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    if numba.config.CACHE_DIR:
        environment["NUMBA_CACHE_DIR"] = numba.config.CACHE_DIR
    silent = subprocess.DEVNULL
    try:
        return subprocess.Popen(
            [sys.executable, "-m", module, *words],
            env=environment,
            stdin=silent,
            stdout=silent,
            stderr=silent,
        )
    except OSError:
        return None
