"""Python's own parser, one thread at a time where it cannot take two."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any

_TAKES_THREADS = (3, 11, 8)


def _parser() -> AbstractContextManager[Any]:
    if sys.version_info >= _TAKES_THREADS:
        return nullcontext()
    lock = threading.RLock()
    if hasattr(os, "register_at_fork"):
        # A thread that held the lock while the process was forked is not there in the child to let it go.
        os.register_at_fork(after_in_child=lock._at_fork_reinit)  # type: ignore[attr-defined]
    return lock


PARSER = _parser()
"""Held while NumPy reads the head of an array, which takes Python's parser, or a text is parsed otherwise.

Before 3.11.8 two threads that parse at once may get ``SystemError: AST constructor recursion depth mismatch``
(https://github.com/python/cpython/issues/106905), which would look like a damaged file.

>>> with PARSER:
...     pass
"""
