"""Files of rows, read a chunk at a time: what is larger than memory goes through here.

LETOR text (plain, ``.gz``, ``.zst``), Parquet, and CSV (plain, ``.gz``, ``.zst``); several files follow each
other as if they were one. The kind is told by the suffix: ``.parquet`` or ``.pq``, ``.csv``, anything else is
LETOR.
"""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from lambdamart_kit.core.typing import Array, Float32Array, FloatArray

Files: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

CHUNK_BYTES = 32 << 20  # of a chunk's features as float32
_HIDDEN = (".", "_")  # such as Spark's _SUCCESS
_COMPRESSED = (".gz", ".zst")


@dataclass(frozen=True, eq=False)
class Chunk:
    """Consecutive rows of one file.

    Attributes
    ----------
    path : Path
        The file.
    X : (n, n_features) float32 array
        Features; the number of columns may differ between chunks of LETOR files of unstated width.
    y, sample_weight : (n,) float64, or None
        Labels and weights, where they were asked for.
    qid, docid : (n,) array, or None
        Ids and names, where the files have them.
    n_bytes : int
        About how much of the file the rows took.
    """

    path: Path
    X: Float32Array
    y: FloatArray | None
    qid: Array | None
    sample_weight: FloatArray | None
    docid: Array | None
    n_bytes: int


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are what. LETOR lines say it themselves.

    Attributes
    ----------
    y, qid, sample_weight, docid : str or None
        Names of the columns; None reads none. A column that is named is not a feature.
    features : tuple of str, or None
        The features, in order; None takes every column that has no other role.
    required : bool
        Whether `y` and `qid` must be there; if not, they are read where they are.
    """

    y: str | None = "label"
    qid: str | None = "qid"
    sample_weight: str | None = None
    docid: str | None = "docid"
    features: tuple[str, ...] | None = None
    required: bool = True

    @property
    def roles(self) -> dict[str, str]:
        """Parameter name to column name, of the columns that are not features."""
        named = {"y": self.y, "qid": self.qid, "sample_weight": self.sample_weight, "docid": self.docid}
        return {role: column for role, column in named.items() if column is not None}


class Reader(Protocol):
    """Rows of files of one kind."""

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the features, None where the files have none."""

    def chunks(self, n_features: int | None) -> Iterator[Chunk]:
        """The rows, in order."""


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
        self._reader = self._open(n_jobs)

    def _open(self, n_jobs: int | None) -> Reader:
        if self.kind == "letor":
            from lambdamart_kit.datasets.chunks_letor import LetorReader

            return LetorReader(self.paths, self.columns, n_jobs)
        from lambdamart_kit.datasets.chunks_table import CsvReader, ParquetReader

        return (ParquetReader if self.kind == "parquet" else CsvReader)(self.paths, self.columns)

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the features; None for LETOR files."""
        return self._reader.feature_names

    @property
    def n_bytes(self) -> int:
        """Size of all files on disk."""
        return sum(path.stat().st_size for path in self.paths)

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


def kind_of(path: Path) -> str:
    """``"parquet"``, ``"csv"`` or ``"letor"``, by the suffix."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    return {".parquet": "parquet", ".pq": "parquet", ".csv": "csv"}.get(last, "letor")


def widen(X: Float32Array, n_features: int) -> Float32Array:
    """`X` with absent features, which are 0 in LETOR, as columns of zeros."""
    if X.shape[1] == n_features:
        return X
    wide = np.zeros((len(X), n_features), dtype=np.float32)
    wide[:, : X.shape[1]] = X
    return wide


def stack(parts: Iterable[Float32Array], n_features: int) -> Float32Array:
    """Chunks' features one below the other."""
    wide: list[Any] = [widen(X, n_features) for X in parts]
    return np.concatenate(wide) if wide else np.empty((0, n_features), dtype=np.float32)
