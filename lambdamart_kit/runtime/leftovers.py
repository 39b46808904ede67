"""What processes that were killed in the middle of writing have left: it is recognised, and removed.

A file or folder that is not whole yet is called ``.NAME.HEX.part``. Nobody writes to one with a pause of an
hour, so an older one has lost its writer. A scratch folder may stand still for longer, while trees grow from
what is in it, so its process holds a lock on a file in it instead.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lambdamart_kit.runtime.file_lock import take_lock

_ABANDONED_AFTER = 3600.0  # seconds without a write
_SCRATCH = ".scratch-"
_LOCK = "lock"


def unfinished_name(target: Path) -> Path:
    """A name beside `target` that nobody else takes, for what becomes `target` when it is whole."""
    return target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")


def remove_abandoned(folder: Path, name: str | None = None) -> None:
    """Remove what killed writers have left in a folder.

    Parameters
    ----------
    folder : Path
    name : str, optional
        Only what was to become the file or folder of this name; everything unfinished by default.

    Examples
    --------
    >>> home = Path(tempfile.mkdtemp())
    >>> half = unfinished_name(home / "model.lmk")
    >>> _ = half.write_bytes(b"half of a model")
    >>> os.utime(half, (0, 0))  # last written to in 1970
    >>> remove_abandoned(home)
    >>> half.exists()
    False
    """
    written_for = ".+" if name is None else re.escape(name)
    wanted = re.compile(rf"\.{written_for}\.[0-9a-f]{{16}}\.part", re.DOTALL)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if wanted.fullmatch(entry.name) and _last_write(Path(entry.path)) < _long_ago():
                _remove(Path(entry.path))


@contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A folder in `parent` for this process alone, which is removed at the end. Those of the dead go first.

    Parameters
    ----------
    parent : Path
        Must exist.

    Examples
    --------
    >>> home = Path(tempfile.mkdtemp())
    >>> with scratch_folder(home) as folder:
    ...     _ = (folder / "large.bin").write_bytes(b"...")
    >>> list(home.iterdir())
    []
    """
    for other in parent.glob(f"{_SCRATCH}*"):
        _remove_if_dead(other)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=parent, ignore_cleanup_errors=True) as name:
        lock = take_lock(Path(name) / _LOCK)
        try:
            yield Path(name)
        finally:
            if lock is not None:
                lock.release()


def _remove_if_dead(scratch: Path) -> None:
    with suppress(OSError):
        # The process of a young folder may not have come to lock it yet.
        if scratch.stat().st_mtime >= _long_ago():
            return
        lock = take_lock(scratch / _LOCK)
        if lock is not None and lock.is_held:
            _remove(scratch)
            lock.release()


def _long_ago() -> float:
    return time.time() - _ABANDONED_AFTER


def _last_write(path: Path) -> float:
    """When a file, or anything in a folder, was last written to; infinity if it is gone."""
    try:
        written = path.lstat().st_mtime
        if path.is_dir() and not path.is_symlink():
            written = max([written, *(inner.lstat().st_mtime for inner in path.rglob("*"))])
    except OSError:
        return float("inf")
    return written


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
