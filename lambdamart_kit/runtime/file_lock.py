"""Locks on files, by which processes see that another one is at work; the system frees those of the dead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows: every lock is granted, and none is held
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(file: IO[bytes], *, shared: bool = False) -> Iterator[None]:
    """Wait until nobody else works on an open file, and keep others out until the block ends.

    Parameters
    ----------
    file : binary stream
        Open. Others are kept out who lock the same file, in this process or another one.
    shared : bool
        Let others in who lock it so too: readers.
    """
    is_held = False
    if fcntl is not None:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
            is_held = True
    try:
        yield
    finally:
        if is_held:
            fcntl.flock(file, fcntl.LOCK_UN)


class FileLock:
    """A lock that was granted; see `take_lock`.

    Parameters
    ----------
    path : Path
        The file of the lock.
    stream : binary stream or None
        The open, locked file; None where the system has no locks, or the file could not be written.
    """

    def __init__(self, path: Path, stream: IO[bytes] | None) -> None:
        self._path = path
        self._stream = stream

    @property
    def is_held(self) -> bool:
        """Whether others are really kept out."""
        return self._stream is not None

    def release(self) -> None:
        """Let others have it, and remove its file."""
        if self._stream is None:
            return
        # The file is removed while the lock is still held, when no other process can hold it.
        with suppress(OSError):
            os.unlink(self._path)
        self._stream.close()
        self._stream = None


def take_lock(path: Path) -> FileLock | None:
    """The lock whose file is `path`, or None if another process has it, or another part of this one.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "lock"
    >>> lock = take_lock(path)
    >>> take_lock(path) is None or not lock.is_held
    True
    >>> lock.release()
    >>> path.exists()
    False
    """
    if fcntl is None:
        return FileLock(path, None)
    while True:
        try:
            stream = open(path, "ab")  # noqa: SIM115 - held until it is released
        except OSError:
            return FileLock(path, None)
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            return None
        except OSError:  # a file system without locks
            stream.close()
            return FileLock(path, None)
        # Its last holder may have removed the file between the two calls: then others lock a new file.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(stream.fileno()), os.stat(path)):
                return FileLock(path, stream)
        stream.close()
