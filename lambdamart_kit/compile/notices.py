"""What goes on beside compiling: Python's collector of cycles rests, and a long wait is explained."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
import time

from lambdamart_kit.compile.interrupts import interrupts_held
from lambdamart_kit.compile.typing import NumbaObject

_PATIENCE = 1.0  # seconds of compilation a user sits through before being told why


class _Collector:
    """Python's collector of cycles, at rest inside ``with``.

    What compilers and modules make is there to stay, and going through all of it takes a tenth of a second.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._was_on = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._start_anew)

    def _start_anew(self) -> None:
        """A fork has none of the threads that may have asked for rest."""
        self._lock = threading.Lock()
        if self._depth > 0 and self._was_on:
            gc.enable()
        self._depth = 0

    def __enter__(self) -> None:
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                self._was_on = gc.isenabled()
                gc.disable()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._depth = max(self._depth - 1, 0)
            if self._depth == 0 and self._was_on:
                gc.enable()


collector_at_rest = _Collector()


class _Loading:
    """Collects no cycles while Numba compiles a kernel, or reads it from disk."""

    def __init__(self) -> None:
        self._is_first = True

    def on_start(self, event: NumbaObject) -> None:
        collector_at_rest.__enter__()
        if self._is_first:
            self._is_first = False
            _load_registries()

    def on_end(self, event: NumbaObject) -> None:
        collector_at_rest.__exit__()


def _load_registries() -> None:
    """Let Numba load what it knows of NumPy, without being interrupted.

    It does so at the first kernel, and takes an entry off its list before it has loaded it. After Ctrl-C in
    the middle, no kernel of the process that needs such an entry would compile any more. Numba reports that a
    thread wants its lock, not that it has it: without the lock, two threads that meet their first kernels at
    the same moment load at the same time.
    """
    from numba.core.compiler_lock import global_compiler_lock
    from numba.core.registry import cpu_target

    with interrupts_held(), global_compiler_lock:
        cpu_target.typing_context.refresh()
        cpu_target.target_context.refresh()


class _Compiling:
    """Says on stderr, once a process, what takes over a second."""

    def __init__(self) -> None:
        self._depth = 0
        self._spent = 0.0
        self._started = 0.0
        self._timer: threading.Timer | None = None
        self._told = False

    def on_start(self, event: NumbaObject) -> None:
        self._depth += 1
        if self._depth == 1 and not self._told:
            self._started = time.perf_counter()
            self._timer = threading.Timer(max(0.0, _PATIENCE - self._spent), self._tell)
            self._timer.daemon = True
            self._timer.start()

    def on_end(self, event: NumbaObject) -> None:
        self._depth -= 1
        if self._depth == 0 and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._spent += time.perf_counter() - self._started

    def _tell(self) -> None:
        self._told = True
        message = "lambdamart-kit: compiling kernels (first use on this machine; cached for the next)"
        print(message, file=sys.stderr, flush=True)


def listen() -> None:
    """Have Numba report when it compiles. A Numba that does not report events goes without the two."""
    with contextlib.suppress(Exception):
        from numba.core import event

        def as_listener(receiver: NumbaObject) -> NumbaObject:
            return type(type(receiver).__name__, (type(receiver), event.Listener), {})()

        event.register("numba:compiler_lock", as_listener(_Loading()))
        event.register("numba:compile", as_listener(_Compiling()))
