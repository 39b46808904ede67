"""Threads that wait for calls, handed over in steps which an interrupt may end anywhere.

Python raises KeyboardInterrupt in the main thread, between any two of its steps. That may be within
``threading`` or ``concurrent.futures``, which are themselves written in Python: their locks then stay taken
or are given back twice, and the next wait fails or never ends. (It did about once in two thousand interrupted
searches.) So everything here that the main thread does is one step of the interpreter, such as putting into a
``SimpleQueue`` or taking a lock, or may be left out.
"""

from __future__ import annotations

import _thread
import atexit
import os
import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

_at_work: set[Call] = set()


class Call:
    """A function that a worker will call, and what came of it. One thread may wait for it.

    Parameters
    ----------
    function : callable
    args : tuple
        What the function is called with.
    """

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self._function = function
        self._args = args
        self._result: Any = None
        self._error: BaseException | None = None
        # Whoever takes it decides whether the function is called: a worker, or the one who calls it off.
        self._decision = _thread.allocate_lock()
        # Taken until the call is finished.
        self._unfinished = _thread.allocate_lock()
        self._unfinished.acquire()
        self.finished = False

    def make(self) -> None:
        """Call the function, unless that was called off."""
        if not self._decision.acquire(blocking=False):
            return
        _at_work.add(self)
        try:
            self._result = self._function(*self._args)
        except BaseException as error:
            self._error = error
        finally:
            _at_work.discard(self)
            self._finish()

    def call_off(self) -> None:
        """See to it that the function is not called, if no worker has begun with it."""
        if self._decision.acquire(blocking=False):
            self._finish()

    def wait(self) -> None:
        """Wait until the function has returned or raised, or was called off."""
        # An interrupt may come after the lock was taken. Who waits again then must not take it twice.
        if not self.finished:
            self._unfinished.acquire()

    def result(self) -> Any:
        """Wait, and return what the function returned; what it raised is raised here."""
        self.wait()
        if self._error is None:
            return self._result
        try:
            raise self._error
        finally:
            self._error = None  # it refers to this frame, which refers to the call

    def _finish(self) -> None:
        self.finished = True
        self._unfinished.release()


class Workers:
    """Threads that make the calls they are handed, the oldest first. They end when nobody has this object.

    Parameters
    ----------
    size : int
        Number of threads.

    Examples
    --------
    >>> Workers(2).run(None, max, 3, 5)
    5
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        for _ in range(size):
            # They have the queue alone, so that they do not keep this object.
            _thread.start_new_thread(_work, (self._calls,))

    def begin(self, function: Callable[..., Any], *args: Any) -> Call:
        """Hand over a call and go on."""
        call = Call(function, args)
        self._calls.put(call)
        return call

    def run(self, stop: Callable[[], Any] | None, function: Callable[..., Any], *args: Any) -> Any:
        """Have ``function(*args)`` called, and return what it returns.

        After an interrupt, `stop` is called, which may make the function return soon. KeyboardInterrupt is
        raised when it has, so that nobody writes to the caller's arrays afterwards; a second one at once.
        """
        call = Call(function, args)
        try:
            self._calls.put(call)
            call.wait()
        except BaseException:
            call.call_off()
            if stop is not None:
                stop()
            call.wait()
            raise
        return call.result()

    def __del__(self) -> None:
        for _ in range(self.size):
            self._calls.put(None)


def _work(calls: SimpleQueue[Call | None]) -> None:
    """Make the calls of a queue until it says None."""
    while True:
        call = calls.get()
        if call is None:
            return
        call.make()
        del call


@atexit.register
def _wait_for_calls() -> None:
    """Wait for calls that nobody waits for any longer: code that they run must not be unloaded."""
    while any(not call.finished for call in tuple(_at_work)):
        time.sleep(0.01)


if hasattr(os, "register_at_fork"):
    # Calls of the parent are not made in its child, which would wait for them for ever.
    os.register_at_fork(after_in_child=_at_work.clear)
