"""The registry of file formats: which suffixes mean which format, and what reads it.

A new format is one module with a `Reader` and one entry in `FORMATS`; ``fit_files``, ``predict`` and the
command line find it there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lambdamart_kit.files.chunk import Columns, Reader
from lambdamart_kit.files.letor import LetorReader
from lambdamart_kit.files.tables import CsvReader, ParquetReader

_COMPRESSED = (".gz", ".zst")


@dataclass(frozen=True)
class Format:
    """One format of files of rows.

    Attributes
    ----------
    suffixes : tuple of str
        Endings of file names, without that of a compression; the empty tuple is the format of all others.
    open : callable
        Paths, columns and a number of threads to a reader.
    output_suffix : str
        Ending of the files of scores that are written for files of this format.
    """

    suffixes: tuple[str, ...]
    open: Callable[[Sequence[Path], Columns, int | None], Reader]
    output_suffix: str


def _letor(paths: Sequence[Path], columns: Columns, n_jobs: int | None) -> Reader:
    return LetorReader(list(paths), columns, n_jobs)


def _csv(paths: Sequence[Path], columns: Columns, n_jobs: int | None) -> Reader:
    return CsvReader(list(paths), columns)


def _parquet(paths: Sequence[Path], columns: Columns, n_jobs: int | None) -> Reader:
    return ParquetReader(list(paths), columns)


FORMATS: dict[str, Format] = {
    "parquet": Format((".parquet", ".pq"), _parquet, ".parquet"),
    "csv": Format((".csv",), _csv, ".csv"),
    "letor": Format((), _letor, ".txt"),
}


def kind_of(path: Path) -> str:
    """Name in `FORMATS` of the format of a file, told by its suffix; files of no known suffix are LETOR."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    for name, known in FORMATS.items():
        if last in known.suffixes:
            return name
    return "letor"
