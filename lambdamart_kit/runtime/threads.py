"""Threads for kernels that run without the GIL.

Every thread that calls into the kit owns its pool of helpers, made on first use and remade after a fork.
So two fits in two threads never wait on each other, forked children never inherit dead threads, and the
number of threads is exactly what the caller asked for.

Interrupts. Python raises KeyboardInterrupt in the main thread, between any two of its steps. Threads that
wait for each other inside a kernel must all start, or those that did would wait forever. So the main thread
never is one of them: it has a leader start them and take part, and an interrupt reaches only its wait (see
:mod:`lambdamart_kit.runtime.workers`).
"""

from __future__ import annotations

import ctypes
import itertools
import os
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
import threadpoolctl

from lambdamart_kit.runtime.workers import Call, Workers

MOST_THREADS = 192  # blocks of the native booster's layout have room for a feature up to here

Bounds = np.ndarray[Any, np.dtype[np.intp]]

_local = threading.local()


def available_threads() -> int:
    """Threads this process may use: its CPU affinity, cut by ``NUMBA_NUM_THREADS`` and ``OMP_NUM_THREADS``.

    joblib sets both in its worker processes, so a fit inside ``GridSearchCV(n_jobs=2)`` does not
    oversubscribe.
    """
    limit = int(numba.config.NUMBA_NUM_THREADS)
    declared = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(limit, int(declared))) if declared.isdigit() and int(declared) > 0 else limit


def resolve_n_jobs(n_jobs: int | None) -> int:
    """Number of threads for scikit-learn's ``n_jobs``: None = all available, -1 = all, -2 = all but one.

    More than there are cores are taken too, up to `MOST_THREADS`.
    """
    if n_jobs is None:
        return min(available_threads(), MOST_THREADS)
    if n_jobs == 0:
        raise ValueError("'n_jobs' must not be 0; use None for all cores or a positive number of threads")
    asked = n_jobs if n_jobs > 0 else max(1, available_threads() + 1 + n_jobs)
    return min(asked, MOST_THREADS)


_forked = False


def _note_fork() -> None:
    """Note that this process was forked by one that may have had OpenMP's threads.

    The server of multiprocessing's start method "forkserver" only imports before it forks, so its children
    are as good as new. Theirs, forked in any other way, are not.
    """
    global _forked
    forked_by = sys._getframe(1).f_globals.get("__name__")
    _forked = forked_by != "multiprocessing.forkserver"


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def limit_libraries_after_fork() -> None:
    """Have OpenMP use one thread in a forked process, also where a library is told no number of threads.

    LightGBM reads and writes models with as many as its last fit had. OpenMP's threads do not live through a
    fork, and the library waits for them for ever.
    """
    if _forked and not getattr(_local, "openmp_is_limited", False):
        threadpoolctl.threadpool_limits(limits=1, user_api="openmp")
        library = getattr(getattr(sys.modules.get("lightgbm"), "basic", None), "_LIB", None)
        if library is not None:  # it remembers the number of threads of its last fit
            library.LGBM_SetMaxThreads(ctypes.c_int(1))
        _local.openmp_is_limited = True


def library_threads(n_threads: int) -> int:
    """Threads that a library with OpenMP may use: one in a forked process, where more wait forever.

    The kit's own kernels do not use OpenMP.
    """
    if not _forked:
        return n_threads
    limit_libraries_after_fork()
    if n_threads > 1:
        _warn_of_fork(n_threads)
    return 1


_warned_of_fork = False


def _warn_of_fork(n_threads: int) -> None:
    """Say once a process that a library gets fewer threads than asked for."""
    global _warned_of_fork
    if not _warned_of_fork:
        _warned_of_fork = True
        warnings.warn(
            f"'n_jobs' is {n_threads}, and LightGBM and XGBoost use 1 thread in a forked process, where more "
            "would wait forever; start processes by 'spawn' or 'forkserver', or set n_jobs=1",
            UserWarning,
            stacklevel=3,
        )


def run(function: Callable[..., Any], n_threads: int, *args: Any) -> Any:
    """Call ``function(thread, n_threads, *args)`` on each of `n_threads` threads at the same time.

    Returns what thread 0 returns. The threads may wait for each other. A KeyboardInterrupt is raised when all
    of them are done, a second one at once.
    """
    if n_threads <= 1:
        return function(0, 1, *args)
    return _led(None, function, n_threads, *args)


def _led(stop: Callable[[], Any] | None, function: Callable[..., Any], n_threads: int, *args: Any) -> Any:
    """Call the function on `n_threads` threads, never the main one, which calls `stop` when interrupted."""
    if threading.get_ident() != threading.main_thread().ident:
        return _run_together(function, n_threads, *args)
    return _workers("leader", 1).run(stop, _run_together, function, n_threads, *args)


def _run_together(function: Callable[..., Any], n_threads: int, *args: Any) -> Any:
    """Call the function on this thread and on helpers, and wait for all, also where one of them failed."""
    helpers = _workers("helpers", n_threads - 1)
    others: list[Call] = []
    try:
        for thread in range(1, n_threads):
            others.append(helpers.begin(function, thread, n_threads, *args))
        return function(0, n_threads, *args)
    finally:
        for other in others:
            other.wait()
        for other in others:
            other.result()


def run_tasks(
    function: Callable[..., Any],
    bounds: Bounds,
    n_threads: int,
    *args: Any,
    scratch: Sequence[tuple[Any, ...]] | None = None,
    stop: Callable[[], Any] | None = None,
) -> None:
    """Call ``function(first, last, *args)`` for each consecutive pair of `bounds`, on `n_threads` threads.

    One thread makes a single call from the first of the bounds to the last. What a thread needs for itself is
    its entry of `scratch`, and goes between the bounds and the other arguments; there need be no more entries
    than `threads_used` says. After an error no more calls begin. Nor do they after an interrupt, and then
    `stop` is called, which may end those that run; KeyboardInterrupt is raised when they have ended.
    """
    n_used = threads_used(bounds, n_threads)
    own: Sequence[tuple[Any, ...]] = [()] * n_used if scratch is None else scratch
    if n_used == 1:
        function(bounds[0], bounds[-1], *own[0], *args)
        return
    tasks = deque(itertools.pairwise(bounds))

    def work(thread: int, n_threads: int) -> None:
        while True:  # whoever is free takes the next
            try:
                first, last = tasks.popleft()
            except IndexError:
                return
            try:
                function(first, last, *own[thread], *args)
            except BaseException:
                tasks.clear()
                raise

    def begin_nothing_new() -> None:
        tasks.clear()
        if stop is not None:
            stop()

    _led(begin_nothing_new, work, n_used)


def threads_used(bounds: Bounds, n_threads: int) -> int:
    """Threads that `run_tasks` takes: no more than there are tasks."""
    return max(1, min(n_threads, len(bounds) - 1))


def balanced_bounds(cost: np.ndarray, n_threads: int, *, tasks_per_thread: int = 8) -> Bounds:
    """Cut ``range(len(cost))`` into consecutive runs of about equal total `cost`, several for each thread."""
    # Cut the running total of the cost at equal steps; several tasks a thread even out wrong costs.
    n_items = len(cost)
    n_tasks = 1 if n_threads <= 1 else min(n_items, n_threads * tasks_per_thread)
    total = np.cumsum(cost, dtype=np.float64)
    targets = total[-1] * np.arange(1, n_tasks) / n_tasks if n_items else np.empty(0)
    inner = np.searchsorted(total, targets)
    return np.unique(np.concatenate(([0], inner, [n_items]))).astype(np.intp)


def _workers(name: str, size: int) -> Workers:
    """The workers of that name which this thread owns, `size` of them at least."""
    # Threads do not survive a fork, so a child makes its own.
    pid, workers = getattr(_local, name, (0, None))
    if workers is None or pid != os.getpid() or workers.size < size:
        workers = Workers(size)
        setattr(_local, name, (os.getpid(), workers))
    found: Workers = workers
    return found
