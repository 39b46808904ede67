"""Which files a path, a folder, a glob or a list stands for, and what the ending of a name says."""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

Files: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

COMPRESSED = (".gz", ".zst")
_HIDDEN = (".", "_")  # such as Spark's _SUCCESS


def format_suffix(path: Path) -> str:
    """Ending of a file's name in lower case, without that of a compression.

    Examples
    --------
    >>> format_suffix(Path("votes.JSONL.gz")), format_suffix(Path("README"))
    ('.jsonl', '')
    """
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def find_files(files: Files) -> list[Path]:
    """The files that a path, a folder, a glob or a list of such stands for."""
    if isinstance(files, str | os.PathLike):
        return _find(os.fspath(files))
    found = [path for entry in files for path in _find(os.fspath(entry))]
    if not found:
        raise ValueError("'files' must name at least one file; got an empty list")
    return found


def _find(name: str) -> list[Path]:
    path = Path(name)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith(_HIDDEN))
    elif path.exists() or not glob.has_magic(name):
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return [path]
    else:
        found = sorted(Path(p) for p in glob.glob(name, recursive=True) if Path(p).is_file())
    if not found:
        raise FileNotFoundError(errno.ENOENT, "No such files", name)
    return found
