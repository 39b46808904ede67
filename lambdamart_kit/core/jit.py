"""Numba as the kit uses it: compiled without the GIL, cached on disk, and not silent while it compiles.

Kernels are threaded by :mod:`lambdamart_kit.core.parallel`, not by ``prange``: Numba's own threading layers
are either not safe to call from two threads at once (workqueue) or not safe after a fork (OpenMP), and
``prange`` compiles several times slower.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numba
from numba.core import event

_PATIENCE = 1.0  # seconds of compilation a user sits through before being told why


def kernel(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """``numba.njit`` with the kit's defaults: ``nogil``, on-disk ``cache``, NumPy division semantics.

    Numba's cache looks at the kernel's own file only: after editing a kernel that a kernel of *another*
    module inlines, delete ``__pycache__``.
    """
    settings = {"nogil": True, "cache": True, "error_model": "numpy", "no_cfunc_wrapper": True, **options}
    decorate = numba.njit(**settings)
    return decorate if function is None else decorate(function)


def inner(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """A `kernel` that only kernels call: compiled without an entry from Python.

    The code that unpacks a tuple of arrays for Python takes longer to compile than most functions themselves.
    """
    return kernel(function, no_cpython_wrapper=True, **options)


class _CompileNotice(event.Listener):
    """Says on stderr, once per process, that kernels are being compiled when that takes over a second."""

    def __init__(self) -> None:
        self._depth = 0
        self._spent = 0.0
        self._started = 0.0
        self._timer: threading.Timer | None = None
        self._told = False

    def on_start(self, event: Any) -> None:
        self._depth += 1
        if self._depth == 1 and not self._told:
            self._started = time.perf_counter()
            self._timer = threading.Timer(max(0.0, _PATIENCE - self._spent), self._tell)
            self._timer.daemon = True
            self._timer.start()

    def on_end(self, event: Any) -> None:
        self._depth -= 1
        if self._depth == 0 and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._spent += time.perf_counter() - self._started

    def _tell(self) -> None:
        self._told = True
        print("lambdamart-kit: compiling kernels (first use on this machine; cached for the next)",
              file=sys.stderr, flush=True)  # fmt: skip


event.register("numba:compile", _CompileNotice())
