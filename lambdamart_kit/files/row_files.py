"""Files of rows, read a chunk at a time: what is larger than memory goes through here.

LETOR text (plain, ``.gz``, ``.zst``), Parquet, and CSV (plain, ``.gz``, ``.zst``); several files follow each
other as if they were one. The kind is told by the suffix: ``.parquet`` or ``.pq``, ``.csv``, anything else is
LETOR.
"""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from lambdamart_kit.files.chunk import Chunk, Columns
from lambdamart_kit.files.formats import FORMATS, kind_of
from lambdamart_kit.runtime.disk_cache import identity

Files: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_HIDDEN = (".", "_")  # such as Spark's _SUCCESS


class RowFiles:
    r"""The rows of files, as often as they are asked for.

    Parameters
    ----------
    files : path, glob or list of them
        A folder stands for the files in it. Files come in the order given, those of a folder or a glob by
        name.
    columns : Columns
        Which columns are what, in Parquet and CSV.
    n_jobs : int, optional
        Threads; all by default.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the files are of different kinds, or a column is missing.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "rows.txt"
    >>> _ = path.write_text("2 qid:7 1:0.5 3:2\n0 qid:7 2:1 3:4\n")
    >>> [chunk.X.shape for chunk in RowFiles(path).chunks()]
    [(2, 3)]
    """

    def __init__(self, files: Files, columns: Columns | None = None, *, n_jobs: int | None = None) -> None:
        self.paths = find_files(files)
        self.columns = columns or Columns()
        kinds = {kind_of(path) for path in self.paths}
        if len(kinds) > 1:
            raise ValueError(f"'files' must be of one kind; got {', '.join(sorted(kinds))}")
        (self.kind,) = kinds
        self._identities = [identity(path) for path in self.paths]
        self._reader = FORMATS[self.kind].open(self.paths, self.columns, n_jobs)

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the features; None for LETOR files."""
        return self._reader.feature_names

    @property
    def n_bytes(self) -> int:
        """Size of all files on disk."""
        return sum(path.stat().st_size for path in self.paths)

    def check_unchanged(self) -> None:
        """Raise if a file is no longer the one that was opened: its rows would be a mixture of two contents.

        Raises
        ------
        ValueError
            If a file was written to, or replaced, since this object was made.
        """
        for path, before in zip(self.paths, self._identities):
            if identity(path) != before:
                raise ValueError(
                    f"{path}: the file changed while it was read; start again when it is complete"
                )

    def chunks(self, n_features: int | None = None) -> Iterator[Chunk]:
        """The rows, in order.

        Parameters
        ----------
        n_features : int, optional
            Columns of LETOR files; None takes those each chunk has.
        """
        return self._reader.chunks(n_features)


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
