"""Ctrl-C while a library calls Python back through C: it counts as soon as the library has returned.

Python raises KeyboardInterrupt in whatever Python code runs when the signal is noticed. In a function that C
code called (a ``ctypes`` callback), the exception cannot pass through the C code: it is printed and lost, the
library goes on with a call that did half its work, and fails later with an error of its own, or does not.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class HeldInterrupt:
    """Whether Ctrl-C was pressed inside the block; a callback that sees it may end the work early."""

    is_asked: bool = False


@contextmanager
def interrupts_held() -> Iterator[HeldInterrupt]:
    """Ctrl-C inside the block raises KeyboardInterrupt when the block ends, in place of any other error.

    A second Ctrl-C is not held. Python runs signal handlers in the main thread alone, so in any other thread
    the block is as it would be without this.

    Examples
    --------
    >>> import os
    >>> ignored = signal.signal(signal.SIGINT, signal.default_int_handler)  # as a background process may
    >>> try:
    ...     with interrupts_held() as held:
    ...         os.kill(os.getpid(), signal.SIGINT)
    ...         print("goes on", held.is_asked)
    ... except KeyboardInterrupt:
    ...     print("stopped")
    goes on True
    stopped
    """
    held = HeldInterrupt()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield held
        return

    def note(number: int, frame: FrameType | None) -> None:
        if held.is_asked:
            before(number, frame)
        held.is_asked = True

    signal.signal(signal.SIGINT, note)
    try:
        yield held
    finally:
        signal.signal(signal.SIGINT, before)
        if held.is_asked:
            before(signal.SIGINT, None)
