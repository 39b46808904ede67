"""Whether Ctrl-C was pressed, for programs that must end with it whatever a library makes of it.

Python raises KeyboardInterrupt in whatever code runs. A library may turn it into an error of its own (an
extension module that is interrupted while it is imported raises ImportError), or swallow it.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

_was_pressed = False


def note_ctrl_c() -> None:
    """From now on, remember that Ctrl-C was pressed; what it does stays as it is.

    Where it is ignored, as in a background process, or outside of the main thread, nothing is changed.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        return

    def note(number: int, frame: FrameType | None) -> None:
        global _was_pressed
        _was_pressed = True
        before(number, frame)

    signal.signal(signal.SIGINT, note)


def ctrl_c_was_pressed() -> bool:
    """Whether Ctrl-C was pressed since `note_ctrl_c`.

    Examples
    --------
    >>> ctrl_c_was_pressed()
    False
    """
    return _was_pressed
