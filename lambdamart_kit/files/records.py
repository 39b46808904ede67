"""Files of records: rows as dictionaries, one at a time. JSON lines, JSON, CSV, TSV, Parquet and Arrow.

No reader here but that of a JSON array holds a whole file, so work on a file larger than memory needs the
memory of one batch. Text in CSV and TSV stays text: ``007`` is not 7, and ``True`` may be an answer. Whoever
reads the records converts the columns that it knows to be numbers.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from lambdamart_kit.files.paths import format_suffix
from lambdamart_kit.runtime.compressed import open_text

Record: TypeAlias = dict[str, Any]
Reader: TypeAlias = Callable[[Path, Sequence[str] | None], Iterator[Record]]
Writer: TypeAlias = Callable[[Iterable[Record], BinaryIO], int]

_BATCH = 4096
_LONGEST_CELL = 1 << 30  # characters; Python's own limit is 131,072, and a long conversation is longer
_OBEYED = re.compile(r"[\x7f-\x9f]")  # characters for terminals that JSON itself does not escape


@dataclass(frozen=True)
class RecordFormat:
    """How the records of one format are read and written.

    Attributes
    ----------
    suffixes : tuple of str
        Endings of file names, without that of a compression.
    read : callable
        A path and the columns wanted (None for all) to the rows.
    write : callable or None
        Rows and a binary stream to the number of rows written; None if the format cannot be written.
    names : callable
        A path to the names of the columns. Formats without a header give those of the first row.
    """

    suffixes: tuple[str, ...]
    read: Reader
    write: Writer | None
    names: Callable[[Path], list[str]]


# JSON
# ---------------------------------------------------------------------------------------------------------


def read_json_lines(path: Path, wanted: Sequence[str] | None = None) -> Iterator[Record]:
    """Rows of a file with one JSON object a line; blank lines are skipped.

    Raises
    ------
    ValueError
        If a line is no JSON object; it names the line.
    """
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _only(_parsed_line(line, path, number), wanted)


def read_json(path: Path, wanted: Sequence[str] | None = None) -> Iterator[Record]:
    """Rows of a ``.json`` file: an array of objects, lines of objects, or one object that holds the rows.

    An object holds rows if it has a single key whose value is an array of objects, as in
    ``{"data": [...]}``, or if all its values are columns with numbered cells, as pandas writes them.

    Raises
    ------
    ValueError
        If the file is neither.
    """
    if _holds_lines(path):
        yield from read_json_lines(path, wanted)
        return
    with open_text(path) as text:
        try:
            content = json.load(text)
        except ValueError as error:
            raise ValueError(f"{path}: not JSON ({error})") from None
    rows = _rows_of_object(content) if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise ValueError(f"{path}: must hold an array of objects, or one object a line")
    for number, record in enumerate(rows):
        if not isinstance(record, dict):
            raise ValueError(f"{path}, row {number}: expected a JSON object, got {type(record).__name__}")
        yield _only(record, wanted)


def write_json_lines(records: Iterable[Record], stream: BinaryIO) -> int:
    """Write one JSON object a line; return the number of lines."""
    n_rows = 0
    for record in records:
        stream.write(json_line(record).encode())
        n_rows += 1
    return n_rows


def json_line(record: Record) -> str:
    r"""A record as a line of JSON.

    Half of a surrogate pair, which a cut emoji leaves behind, cannot be written as UTF-8. A line that holds
    one is written with escapes, which every JSON parser reads back. So is one with a character that a
    terminal would obey.

    Examples
    --------
    >>> json_line({"text": "a\ud83d"})
    '{"text": "a\\ud83d"}\n'
    """
    line = json.dumps(record, ensure_ascii=False, default=_plain)
    try:
        if _OBEYED.search(line):
            line = json.dumps(record, default=_plain)
        line.encode()
    except UnicodeEncodeError:
        line = json.dumps(record, default=_plain)
    return line + "\n"


def _holds_lines(path: Path) -> bool:
    """Whether a ``.json`` file has an object a line: its first line is one, and another line follows."""
    with open_text(path) as text:
        filled = (line for line in text if line.strip())
        first = next(filled, "")
        if not first.lstrip().startswith("{"):
            return False
        try:
            record = json.loads(first)
        except ValueError:
            return False
        return next(filled, None) is not None or _rows_of_object(record) is None


def _rows_of_object(content: Record) -> list[Any] | None:
    values = list(content.values())
    if len(values) == 1 and isinstance(values[0], list) and all(isinstance(v, dict) for v in values[0]):
        return values[0]
    numbered = bool(values) and all(isinstance(v, dict) and v for v in values)
    if numbered and all(key.isdigit() for column in values for key in column):
        cells = dict.fromkeys(key for column in values for key in column)
        return [{name: column.get(cell) for name, column in content.items()} for cell in cells]
    return None


def _parsed_line(line: str, path: Path, number: int) -> Record:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{path}, line {number}: not JSON ({error})") from None
    if not isinstance(record, dict):
        raise ValueError(f"{path}, line {number}: expected a JSON object, got {type(record).__name__}")
    return record


def _only(record: Record, wanted: Sequence[str] | None) -> Record:
    if wanted is None:
        return record
    return {name: record[name] for name in wanted if name in record}


# CSV
# ----------------------------------------------------------------------------------------------------------


def read_table(path: Path, wanted: Sequence[str] | None = None, *, separator: str = ",") -> Iterator[Record]:
    """Rows of a CSV file with a header line, every cell as text.

    Raises
    ------
    ValueError
        If a row has more or fewer cells than the header, or two columns have one name.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    with open_text(path, newline="") as text:
        rows = csv.reader(text, delimiter=separator, strict=True)
        try:
            header = next(rows, [])
            repeated = sorted({name for name in header if header.count(name) > 1})
            if repeated:
                raise ValueError(f"{path}: two columns have the name {repeated[0]!r}")
            places = [at for at, name in enumerate(header) if wanted is None or name in wanted]
            names = [header[at] for at in places]
            for number, cells in enumerate(row for row in rows if row):
                if len(cells) != len(header):
                    raise ValueError(
                        f"{path}, row {number}: has {len(cells)} cells, but the header has {len(header)}"
                    )
                yield dict(zip(names, [cells[at] for at in places]))
        except csv.Error as error:
            raise ValueError(f"{path}, line {rows.line_num}: {error}") from None


def read_tab_table(path: Path, wanted: Sequence[str] | None = None) -> Iterator[Record]:
    """Rows of a file with tabs between the cells; see :func:`read_table`."""
    return read_table(path, wanted, separator="\t")


def write_table(records: Iterable[Record], stream: BinaryIO, *, separator: str = ",") -> int:
    """Write CSV with the columns of the first record; return the number of rows.

    A missing value is an empty cell; lists and dictionaries are written as JSON.

    Raises
    ------
    ValueError
        If a later record has another column, or a text is not valid Unicode.
    """
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    n_rows, names, out = 0, None, csv.writer(text, delimiter=separator)
    for record in records:
        if names is None:
            names = list(record)
            out.writerow(names)
        unknown = [name for name in record if name not in names]
        if unknown:
            raise ValueError(
                f"row {n_rows} has a column {unknown[0]!r} that row 0 does not have; write .jsonl instead"
            )
        try:
            # A blank line would be skipped when the file is read, so a lone empty cell is quoted.
            cells = [_cell(record.get(name)) for name in names]
            text.write('""\r\n') if cells == [""] else out.writerow(cells)
        except UnicodeEncodeError as error:
            raise ValueError(f"row {n_rows}: {error}; write .jsonl instead, which can hold it") from None
        n_rows += 1
    text.flush()
    text.detach()
    return n_rows


def write_tab_table(records: Iterable[Record], stream: BinaryIO) -> int:
    """Write rows with tabs between the cells; see :func:`write_table`."""
    return write_table(records, stream, separator="\t")


def _table_names(path: Path, separator: str = ",") -> list[str]:
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    with open_text(path, newline="") as text:
        return next(csv.reader(text, delimiter=separator), [])


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, str):
        return value
    if hasattr(value, "tolist"):
        return _cell(value.tolist())
    return (
        json.dumps(value, ensure_ascii=False, default=_plain)
        if isinstance(value, list | dict)
        else str(value)
    )


# Parquet
# ------------------------------------------------------------------------------------------------------


def read_parquet(path: Path, wanted: Sequence[str] | None = None) -> Iterator[Record]:
    """Rows of a Parquet file; only the columns wanted are decoded."""
    with _naming(path), _parquet().ParquetFile(path, memory_map=True) as file:
        for batch in file.iter_batches(_BATCH, columns=_present(file.schema_arrow.names, wanted)):
            yield from batch.to_pylist()


def read_arrow(path: Path, wanted: Sequence[str] | None = None) -> Iterator[Record]:
    """Rows of an Arrow file, which is what Hugging Face data sets and Feather are."""
    _parquet()
    import pyarrow as pa

    with _naming(path), pa.memory_map(str(path)) as source:
        try:
            reader: Any = pa.ipc.open_file(source)
            batches = (reader.get_batch(at) for at in range(reader.num_record_batches))
        except pa.ArrowInvalid:  # Hugging Face writes the streaming form
            reader = batches = pa.ipc.open_stream(source)
        for batch in batches:
            names = _present(batch.schema.names, wanted)
            yield from (batch if names is None else batch.select(names)).to_pylist()


def write_parquet(records: Iterable[Record], stream: BinaryIO) -> int:
    """Write Parquet, with the columns and types of the first rows; return the number of rows.

    Raises
    ------
    ValueError
        If a later row has a column or a type that the first rows do not have; nothing is dropped silently.
    """
    parquet = _parquet()
    import pyarrow as pa

    writer, n_rows, rows = None, 0, iter(records)
    try:
        while batch := list(itertools.islice(rows, _BATCH)):
            try:
                table = _arrow_table(batch, n_rows, None if writer is None else writer.schema)
            except (pa.ArrowException, TypeError, UnicodeEncodeError) as error:
                raise ValueError(
                    f"rows {n_rows} to {n_rows + len(batch) - 1} do not fit the columns of a Parquet file "
                    f"({' '.join(str(error).split())}); write .jsonl instead"
                ) from None
            writer = writer or parquet.ParquetWriter(stream, table.schema)
            writer.write_table(table)
            n_rows += len(batch)
        if writer is None:
            parquet.write_table(pa.table({}), stream)
    finally:
        if writer is not None:
            writer.close()
    return n_rows


def _arrow_table(batch: list[Record], start: int, schema: Any) -> Any:
    import pyarrow as pa

    if schema is None:
        names = dict.fromkeys(name for record in batch for name in record)
        return pa.table({name: [record.get(name) for record in batch] for name in names})
    for number, record in enumerate(batch, start):
        unknown = [name for name in record if name not in schema.names]
        if unknown:
            raise ValueError(
                f"row {number} has a column {unknown[0]!r} that the first {_BATCH} rows do not have; write "
                ".jsonl instead"
            )
    return pa.Table.from_pylist(batch, schema=schema)


def _parquet_names(path: Path) -> list[str]:
    with _naming(path):
        names: list[str] = _parquet().read_schema(path).names
    return names


def _present(names: list[str], wanted: Sequence[str] | None) -> list[str] | None:
    return None if wanted is None else [name for name in names if name in wanted]


def _parquet() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise ImportError(
            'Parquet files need pyarrow; install it with: pip install "lambdamart-kit[parquet]"'
        ) from None
    return pyarrow.parquet


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of pyarrow as errors that name the file."""
    _parquet()
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: cannot be read, or was cut short ({reason})") from None


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays, and dates, as JSON can say them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"a column of type {type(value).__name__} cannot be written as JSON")


def _first_names(read: Reader) -> Callable[[Path], list[str]]:
    return lambda path: list(next(read(path, None), {}))


RECORD_FORMATS: dict[str, RecordFormat] = {
    "jsonl": RecordFormat(
        (".jsonl", ".ndjson"), read_json_lines, write_json_lines, _first_names(read_json_lines)
    ),
    "json": RecordFormat((".json",), read_json, None, _first_names(read_json)),
    "parquet": RecordFormat((".parquet", ".pq"), read_parquet, write_parquet, _parquet_names),
    "csv": RecordFormat((".csv",), read_table, write_table, _table_names),
    "tsv": RecordFormat((".tsv",), read_tab_table, write_tab_table, lambda path: _table_names(path, "\t")),
    "arrow": RecordFormat((".arrow", ".feather"), read_arrow, None, _first_names(read_arrow)),
}


def record_format(path: Path) -> RecordFormat | None:
    """The format of records that the ending of a file's name says, or None.

    Examples
    --------
    >>> record_format(Path("votes.csv.gz")) is RECORD_FORMATS["csv"], record_format(Path("rows.txt"))
    (True, None)
    """
    suffix = format_suffix(path)
    return next((known for known in RECORD_FORMATS.values() if suffix in known.suffixes), None)
