"""Rows of preference files as dictionaries, one at a time: JSON lines, Parquet, CSV, frames, data sets.

Nothing here holds a whole file, so a filter over a file larger than memory needs the memory of one batch.
"""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from lambdamart_kit.runtime.atomic_file import atomic_file

Record = dict[str, Any]
_BATCH = 4096


def read_records(source: Any) -> Iterator[Record]:
    """Rows of a path, a DataFrame, a data set or any iterable of mappings, as dictionaries.

    Paths end in ``.jsonl``, ``.ndjson``, ``.json`` (an array), ``.csv``, ``.tsv``, each also with ``.gz``, or
    ``.parquet``.

    Raises
    ------
    ValueError
        If the ending is unknown or a line is no JSON object; it names the line.
    TypeError
        If `source` is no rows at all.
    """
    if isinstance(source, str | os.PathLike):
        yield from _read_path(Path(source))
    elif isinstance(source, pd.DataFrame):
        for start in range(0, len(source), _BATCH):
            yield from source.iloc[start : start + _BATCH].to_dict("records")
    elif hasattr(source, "column_names") or (isinstance(source, Iterable) and not isinstance(source, dict)):
        for row, record in enumerate(source):
            if not hasattr(record, "keys"):
                raise TypeError(
                    f"row {row} must be a mapping of column to value; got {type(record).__name__}"
                )
            yield dict(record)
    else:
        raise TypeError(
            "'source' must be a path, a DataFrame, a data set or an iterable of mappings; "
            f"got {type(source).__name__}"
        )


def write_records(records: Iterable[Record], path: str | os.PathLike[str]) -> int:
    """Write rows to ``.jsonl`` (also ``.gz``) or ``.parquet`` as they come, and return their number.

    The file appears under its name only when it is complete.
    """
    target = Path(path)
    write = _write_parquet if target.suffix == ".parquet" else _write_lines
    if write is _write_lines and _ending(target) not in (".jsonl", ".ndjson"):
        raise ValueError(f"'path' must end in .jsonl, .jsonl.gz or .parquet; got {target.name!r}")
    with atomic_file(target) as stream:
        return write(records, stream, compressed=target.suffix == ".gz")


def _ending(path: Path) -> str:
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()


def _read_path(path: Path) -> Iterator[Record]:
    ending = _ending(path)
    if ending in (".jsonl", ".ndjson"):
        with _open(path) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _parse(line, path, number)
    elif ending == ".json":
        with _open(path) as text:
            yield from read_records(json.load(text))
    elif ending == ".parquet":
        for batch in _parquet().ParquetFile(path).iter_batches(_BATCH):
            yield from batch.to_pylist()
    elif ending in (".csv", ".tsv"):
        separator = "\t" if ending == ".tsv" else ","
        for chunk in pd.read_csv(path, sep=separator, chunksize=_BATCH, keep_default_na=False):
            yield from chunk.to_dict("records")
    else:
        raise ValueError(
            f"cannot tell the format of {path.name!r}: it must end in .jsonl, .ndjson, .json, .parquet, .csv "
            "or .tsv"
        )


def _open(path: Path) -> io.TextIOBase:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return open(path, encoding="utf-8")


def _parse(line: str, path: Path, number: int) -> Record:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: not JSON ({error})") from None
    if not isinstance(record, dict):
        raise ValueError(f"{path}, line {number}: expected a JSON object, got {type(record).__name__}")
    return record


def _write_lines(records: Iterable[Record], stream: BinaryIO, *, compressed: bool) -> int:
    n_rows = 0
    raw = (
        gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) if compressed else nullcontext(stream)
    )
    with raw as out:
        for n_rows, record in enumerate(records, 1):  # noqa: B007
            line = json.dumps(record, ensure_ascii=False, default=_plain) + "\n"
            out.write(line.encode())
    return n_rows


def _write_parquet(records: Iterable[Record], stream: BinaryIO, *, compressed: bool) -> int:
    parquet = _parquet()
    import pyarrow as pa

    writer, n_rows, rows = None, 0, iter(records)
    try:
        while batch := list(itertools.islice(rows, _BATCH)):
            table = pa.Table.from_pylist(batch, schema=None if writer is None else writer.schema)
            writer = writer or parquet.ParquetWriter(stream, table.schema)
            writer.write_table(table)
            n_rows += len(batch)
        if writer is None:
            parquet.write_table(pa.table({}), stream)
    finally:
        if writer is not None:
            writer.close()
    return n_rows


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays as JSON can say them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a column of type {type(value).__name__} cannot be written as JSON")


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise ImportError(
            'Parquet files need pyarrow; install it with: pip install "lambdamart-kit[parquet]"'
        ) from None
    return pyarrow.parquet
