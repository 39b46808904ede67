"""The records of a preference set, wherever they are: files, frames, data sets, or any mappings."""

from __future__ import annotations

import bisect
import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lambdamart_kit.files.paths import COMPRESSED, find_files
from lambdamart_kit.files.records import (
    RECORD_FORMATS,
    Record,
    RecordFormat,
    record_format,
)
from lambdamart_kit.runtime.atomic_file import atomic_file
from lambdamart_kit.runtime.compressed import compressing

_BATCH = 4096
_BINARY = ("parquet", "arrow")


class RecordSource:
    """The records of a source, numbered from 0 across all its files, and where each one stands.

    Parameters
    ----------
    source : path, glob, folder, list of paths, DataFrame, data set or iterable of mappings
        Paths end in one of the suffixes of `RECORD_FORMATS`, each also with ``.gz`` or ``.zst``
        where the format is text. A folder stands for the files of records in it.
    wanted : sequence of str, optional
        Columns to decode; all by default. Parquet reads no others.

    Raises
    ------
    ValueError
        If the ending of a path is unknown.
    FileNotFoundError
        If there is no such file.
    TypeError
        If `source` is no rows at all.

    Examples
    --------
    >>> source = RecordSource([{"a": 1}, {"a": 2}])
    >>> list(source), source.place(1)
    ([{'a': 1}, {'a': 2}], 'row 1')
    """

    def __init__(self, source: Any, wanted: Sequence[str] | None = None) -> None:
        self.paths = record_files(source)
        self._source = source
        self._wanted = wanted
        self._starts: list[int] = []
        if self.paths is None:
            _check_iterable(source)

    def __iter__(self) -> Iterator[Record]:
        if self.paths is None:
            yield from self._records_in_memory()
            return
        self._starts = []
        n_rows = 0
        for path in self.paths:
            self._starts.append(n_rows)
            for record in _format(path).read(path, self._wanted):
                yield record
                n_rows += 1

    def place(self, row: int) -> str:
        """Where a row that was read stands, for messages."""
        path = self.path_of(row)
        if path is None or self.paths is None or len(self.paths) == 1:
            return f"row {row}"
        return f"{path}, row {row - self._starts[self.paths.index(path)]}"

    def path_of(self, row: int) -> Path | None:
        """File of a row that was read, or None for rows in memory."""
        if self.paths is None or not self._starts:
            return None
        return self.paths[bisect.bisect_right(self._starts, row) - 1]

    def names(self) -> list[str]:
        """Names of the columns: those of the header, or else of the first row."""
        if self.paths is not None:
            return _format(self.paths[0]).names(self.paths[0])
        if isinstance(self._source, pd.DataFrame):
            return [str(name) for name in self._source.columns]
        if hasattr(self._source, "column_names"):
            return list(self._source.column_names)
        return list(next(iter(self._records_in_memory()), {}))

    def _records_in_memory(self) -> Iterator[Record]:
        source = self._source
        if isinstance(source, pd.DataFrame):
            table = source if self._wanted is None else source[[n for n in source if n in self._wanted]]
            for start in range(0, len(table), _BATCH):
                yield from table.iloc[start : start + _BATCH].to_dict("records")
            return
        for row, record in enumerate(source):
            if not hasattr(record, "keys"):
                raise TypeError(
                    f"row {row} must be a mapping of column to value; got {type(record).__name__}"
                )
            known = dict(record)
            yield known if self._wanted is None else {n: known[n] for n in self._wanted if n in known}


def read_records(source: Any, wanted: Sequence[str] | None = None) -> Iterator[Record]:
    """Rows of a source as dictionaries; see :class:`RecordSource` for what a source may be."""
    yield from RecordSource(source, wanted)


def write_records(records: Iterable[Record], path: str | os.PathLike[str]) -> int:
    """Write rows as they come, in the format that the ending of `path` says, and return their number.

    The file appears under its name only when it is complete.

    Raises
    ------
    ValueError
        If the ending is unknown, or a row does not fit the format.
    """
    target = Path(path)
    write = _format(target, parameter="'path'").write
    if write is None:
        raise ValueError(f"'path' must end in {_suffixes(writable=True)}; got {target.name!r}")
    with atomic_file(target) as raw, compressing(raw, target.suffix) as stream:
        return write(records, stream)


def record_files(source: Any) -> list[Path] | None:
    """Files that a path, glob, folder or list of paths stands for; None if `source` is no path."""
    if isinstance(source, str | os.PathLike):
        folder = Path(source)
        if folder.is_dir():
            return _files_in(folder)
        if not glob.has_magic(os.fspath(source)):
            _format(folder)
        return _known(find_files(source))
    is_list = isinstance(source, list | tuple) and len(source) > 0
    if is_list and all(isinstance(entry, str | os.PathLike) for entry in source):
        return [path for entry in source for path in record_files(entry) or []]
    return None


def _files_in(folder: Path) -> list[Path]:
    """Files of records in a folder; what else lies there, such as a README, is no data."""
    found = [path for path in find_files(folder) if record_format(path) is not None]
    kinds = sorted({_format(path).suffixes[0] for path in found})
    if len(kinds) > 1:
        raise ValueError(
            f"the folder {folder} holds files of several formats ({', '.join(kinds)}); name those that "
            f"are meant "
            "with a glob, such as '*.parquet'"
        )
    if not found:
        raise ValueError(f"the folder {folder} holds no file that ends in {_suffixes()}")
    return found


def _known(paths: list[Path]) -> list[Path]:
    for path in paths:
        _format(path)
    return paths


def _format(path: Path, parameter: str = "a file of records") -> RecordFormat:
    known = record_format(path)
    if known is None:
        raise ValueError(f"cannot tell the format of {path.name!r}: {parameter} must end in {_suffixes()}")
    if path.suffix in COMPRESSED and any(known is RECORD_FORMATS[name] for name in _BINARY):
        raise ValueError(f"{path.name!r}: this format is compressed inside; leave {path.suffix} away")
    return known


def _suffixes(*, writable: bool = False) -> str:
    kinds = [known for known in RECORD_FORMATS.values() if known.write is not None or not writable]
    suffixes = [suffix for kind in kinds for suffix in kind.suffixes]
    return f"{', '.join(suffixes[:-1])} or {suffixes[-1]} (text also with .gz or .zst)"


def _check_iterable(source: Any) -> None:
    if isinstance(source, Mapping):
        splits = ", ".join(map(repr, source)) or "none"
        raise TypeError(
            f"'source' must be one set of rows, not a mapping; pass one of its values (it has {splits})"
        )
    if not isinstance(source, Iterable):
        raise TypeError(
            "'source' must be a path, a DataFrame, a data set or an iterable of mappings; "
            f"got {type(source).__name__}"
        )
