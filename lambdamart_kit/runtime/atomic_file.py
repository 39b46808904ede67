"""Files and folders that appear under their name only when they are whole.

Everything the package writes goes through here. A file is written under a name of its own in the target's
folder and renamed at the end, so a reader sees the old content or the new one, never half of one, however
many threads and processes write to the same path. The last one to finish wins.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from lambdamart_kit.runtime.leftovers import remove_abandoned, unfinished_name

_TRIES = 100  # of putting a folder in place while others do the same


@contextmanager
def atomic_file(path: str | os.PathLike[str], *, durable: bool = False) -> Iterator[BinaryIO]:
    """A binary stream whose content becomes the file `path` when the block ends without an error.

    Parameters
    ----------
    path : path
        File to write. A symbolic link is followed: the file it points to is replaced.
    durable : bool
        Whether the content must be on the disk, not only in the system's memory, before the name points to
        it; costs some milliseconds.

    Raises
    ------
    OSError
        If the file cannot be written, for example because its folder does not exist or the disk is full. The
        error names `path`, not the temporary file.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "greeting.txt"
    >>> with atomic_file(target) as stream:
    ...     _ = stream.write(b"hello")
    >>> target.read_bytes(), [entry.name for entry in target.parent.iterdir()]
    (b'hello', ['greeting.txt'])
    """
    target = Path(os.path.realpath(path))
    check_writable(path)
    remove_abandoned(target.parent, target.name)
    unfinished = unfinished_name(target)
    try:
        with named_after(path, unfinished):
            # Opened so, and not with `tempfile`, the file has the permissions that the user's umask gives.
            descriptor = os.open(
                unfinished, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o666
            )
            with os.fdopen(descriptor, "w+b") as stream:
                yield stream
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())
            _keep_mode(target, unfinished)
            os.replace(unfinished, target)
    finally:
        with suppress(FileNotFoundError):
            unfinished.unlink()


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise unless a file of this name could be written: long work must not end at a missing folder.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    IsADirectoryError
        If `path` is a folder.
    NotADirectoryError
        If what should be the folder is a file.
    PermissionError
        If nothing can be written there.
    """
    name = os.fspath(path)
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, but a file is to be written there", name)
    if not target.parent.exists():
        raise FileNotFoundError(errno.ENOENT, "cannot be written, because its folder does not exist", name)
    if not target.parent.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "cannot be written, because its folder is a file", name)
    if not os.access(target.parent, os.W_OK):
        raise PermissionError(errno.EACCES, "cannot be written, because its folder is read-only", name)


@contextmanager
def named_after(path: str | os.PathLike[str], temporary: Path) -> Iterator[None]:
    """Inside the block, errors of the operating system about `temporary`, or about no file, name `path`."""
    try:
        yield
    except OSError as error:
        other = error.filename is not None and not os.fspath(error.filename).startswith(str(temporary))
        if other:
            raise
        # NumPy reports a short write, as on a full disk, without a number.
        number = errno.ENOSPC if error.errno is None else error.errno
        raise OSError(number, error.strerror or str(error), os.fspath(path)) from error


def replace_folder(fresh: Path, target: Path) -> None:
    """Put the complete folder `fresh` in the place of `target`, whatever others do there meanwhile.

    Raises
    ------
    OSError
        If it cannot be put there.
    """
    for _ in range(_TRIES):
        try:
            os.rename(fresh, target)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES):
                raise
        # A folder cannot be renamed onto one that has content: the old one is moved out of the way first.
        aside = unfinished_name(target)
        with suppress(FileNotFoundError):
            os.rename(target, aside)
            shutil.rmtree(aside, ignore_errors=True)
    raise OSError(errno.EBUSY, "is replaced by other processes all the time", os.fspath(target))


def _keep_mode(target: Path, unfinished: Path) -> None:
    """The permissions of a file that is replaced stay as they were."""
    with suppress(FileNotFoundError, PermissionError):
        os.chmod(unfinished, stat.S_IMODE(target.stat().st_mode))
