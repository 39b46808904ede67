"""Tables with named columns, a batch of rows at a time, by pyarrow: Parquet, CSV, Arrow and JSON lines."""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.precision import feature_dtype, narrowed
from lambdamart_kit.core.typing import Array, FloatArray, Settings
from lambdamart_kit.datasets.dataset import WEIGHT_COLUMN
from lambdamart_kit.datasets.letor.text_file import check_encoding
from lambdamart_kit.files.checks import NUMBER_REMEDY, check_header, number_remedy
from lambdamart_kit.files.chunk import CHUNK_BYTES, Chunk, Columns

_CSV_BLOCK = 16 << 20
_CODECS = {".gz": "gzip", ".zst": "zstd"}
_TILE = 64
_LEAST_ROWS = 1024
_NO_NUMBER = re.compile(r"In CSV column #(?P<column>\d+): .*?invalid value '(?P<value>.*?)'", re.S)
_NO_TEXT = re.compile(r"In CSV column #(?P<column>\d+): .*?invalid UTF8 data", re.S)
_LOOKED_AT = 1 << 16  # bytes at the start of a file that hold its first line


class _TableReader(ABC):
    """What all tables have in common: columns with names, the same in every file."""

    _typed = True  # whether a file says in which precision its numbers are

    def __init__(self, paths: Sequence[Path], columns: Columns, n_jobs: int | None = None) -> None:
        load_pyarrow()
        self._paths = paths
        self._columns = columns
        names = self._names(paths[0])
        check_names(names, paths[0])
        self._roles = _find_roles(columns, names, paths[0])
        ignored = {*columns.ignore, *self._index_columns(paths[0], names)}
        self._ignored = ignored
        unknown = [name for name in columns.ignore if name not in names]
        if unknown:
            raise ValueError(f"'ignore' must name columns; {paths[0]} has no {', '.join(map(repr, unknown))}")
        others = tuple(name for name in names if name not in self._roles.values() and name not in ignored)
        if columns.features is None and WEIGHT_COLUMN in others:
            raise ValueError(
                f"{paths[0]}: the column {WEIGHT_COLUMN!r} must have a role: name it as 'sample_weight', or "
                "in 'ignore' if it is not to be used"
            )
        self.feature_names = columns.features if columns.features is not None else others
        if not self.feature_names and columns.features is None:
            raise ValueError(f"{paths[0]}: no column is left for the features; it has {', '.join(names)}")
        for path in paths:
            self._check_columns(path)

    @abstractmethod
    def _names(self, path: Path) -> list[str]:
        """Names of the file's columns."""

    def _index_columns(self, path: Path, names: list[str]) -> set[str]:
        """Columns that are the row numbers of a pandas frame; a warning says that they are left out."""
        if self._columns.features is not None:
            return set()  # the features are named, so nothing has to be guessed
        found = {name for i, name in enumerate(names) if is_index_column(name, i)} | self._stored_index(path)
        found -= set(self._roles.values())
        if found:
            shown = ", ".join(repr(name) for name in sorted(found))
            warnings.warn(
                f"{path}: column {shown} is the index of a pandas frame, not a feature, and is left out; "
                "name it in 'features' if it is one",
                UserWarning,
                stacklevel=2,
            )
        return found

    def _stored_index(self, path: Path) -> set[str]:
        """Index columns that the file itself names."""
        return set()

    @abstractmethod
    def _batches(self, path: Path) -> Iterator[tuple[Any, int]]:
        """Tables of the file's rows, each with the bytes of the file it took."""

    def _check_columns(self, path: Path) -> None:
        names = self._names(path)
        wanted = [*self.feature_names, *self._roles.values()]
        missing = [name for name in wanted if name not in names]
        check_names(names, path)
        known = {*wanted, *self._ignored}
        if self._columns.features is not None and (absent := _missing_features(self.feature_names, names)):
            raise ValueError(f"{path}: must have every feature that is asked for; it has no {absent}")
        extra = [name for name in names if name not in known] if self._columns.features is None else []
        for what, differing in (("has no", missing), ("also has", extra)):
            if differing:
                first = "" if path == self._paths[0] else f", unlike {self._paths[0]}"
                of_rows = any(name in self._roles.values() for name in differing)
                remedy = "leave the file out" if of_rows else "name the ones to use in 'features'"
                shown = ", ".join(map(repr, differing[:5])) + (", ..." if len(differing) > 5 else "")
                raise ValueError(
                    f"'files' must have the same columns: {path} {what} {shown}{first}; {remedy}"
                )

    def chunks(self, n_features: int | None) -> Iterator[Chunk]:
        """The rows, in order."""
        for path in self._paths:
            with _naming(path):
                for batch, n_bytes in self._batches(path):
                    if batch.num_rows:
                        yield self._as_chunk(path, batch, n_bytes)

    @property
    def _batch_rows(self) -> int:
        return max(_LEAST_ROWS, CHUNK_BYTES // (4 * max(len(self.feature_names), 1)))

    def _as_chunk(self, path: Path, batch: Any, n_bytes: int) -> Chunk:
        roles = {role: batch.column(name) for role, name in self._roles.items()}
        X = _matrix(batch, self.feature_names, path, typed=self._typed)
        return Chunk(
            path,
            X,
            _numbers(roles.get("y"), self._roles.get("y"), path),
            _ids(roles.get("qid"), self._roles.get("qid"), path),
            _numbers(roles.get("sample_weight"), self._roles.get("sample_weight"), path),
            _texts(roles.get("docid")),
            n_bytes,
        )


class ParquetReader(_TableReader):
    """Rows of Parquet files."""

    def _names(self, path: Path) -> list[str]:
        import pyarrow.parquet as pq

        with _naming(path):
            names: list[str] = pq.read_schema(path).names
        return names

    def _stored_index(self, path: Path) -> set[str]:
        import pyarrow.parquet as pq

        with _naming(path):
            return pandas_index(pq.read_schema(path))

    def _batches(self, path: Path) -> Iterator[tuple[Any, int]]:
        import pyarrow.parquet as pq

        # Mapped, so that compressed pages lie in the system's cache and not in this process.
        with pq.ParquetFile(path, memory_map=True) as file:
            share = path.stat().st_size / max(file.metadata.num_rows, 1)
            wanted = [*self.feature_names, *self._roles.values()]
            for batch in file.iter_batches(self._batch_rows, columns=wanted):
                yield batch, int(batch.num_rows * share)


class ArrowReader(_TableReader):
    """Rows of Arrow files (Feather), mapped into memory."""

    def _names(self, path: Path) -> list[str]:
        with self._open(path) as file:
            names: list[str] = file.schema.names
        return names

    def _stored_index(self, path: Path) -> set[str]:
        with self._open(path) as file:
            return pandas_index(file.schema)

    def _batches(self, path: Path) -> Iterator[tuple[Any, int]]:
        wanted = [*self.feature_names, *self._roles.values()]
        with self._open(path) as file:
            n_batches = file.num_record_batches
            share = path.stat().st_size / max(n_batches, 1)
            for number in range(n_batches):
                batch = file.get_batch(number).select(wanted)
                n_bytes = int(share)
                for start in range(0, batch.num_rows, self._batch_rows):
                    yield batch.slice(start, self._batch_rows), n_bytes
                    n_bytes = 0

    @contextmanager
    def _open(self, path: Path) -> Iterator[Any]:
        import pyarrow as pa

        with _naming(path), pa.memory_map(str(path)) as source:
            yield pa.ipc.open_file(source)


class JsonLinesReader(_TableReader):
    """Rows of files with one JSON object a line; a value that is absent or null is missing."""

    _typed = False

    def _names(self, path: Path) -> list[str]:
        with _naming(path):
            names: list[str] = self._table(path).schema.names
        return names

    def _batches(self, path: Path) -> Iterator[tuple[Any, int]]:
        wanted = [*self.feature_names, *self._roles.values()]
        table = self._table(path).select(wanted)
        share = path.stat().st_size / max(table.num_rows, 1)
        for batch in table.to_batches(self._batch_rows):
            yield batch, int(batch.num_rows * share)

    def _table(self, path: Path) -> Any:
        """The whole file: pyarrow's reader of JSON has no batches."""
        import pyarrow as pa
        from pyarrow import json

        if not path.stat().st_size:
            raise ValueError(f"{path}: the file is empty; expected one JSON object a line")
        codec = _CODECS.get(path.suffix)
        _start(path)
        with pa.OSFile(str(path)) as source:
            return json.read_json(source if codec is None else pa.CompressedInputStream(source, codec))


class CsvReader(_TableReader):
    """Rows of CSV files with a header line; an empty cell is a missing value.

    Values are separated by commas, in files called ``.tsv`` by tabs.
    """

    _typed = False

    def _names(self, path: Path) -> list[str]:
        with _naming(path), self._open(path) as (table, _):
            names: list[str] = table.schema.names
        return names

    def _batches(self, path: Path) -> Iterator[tuple[Any, int]]:
        import pyarrow as pa

        kinds = {name: pa.float64() for name in self.feature_names}
        text = {"qid", "docid"}
        kinds |= {n: pa.string() if role in text else pa.float64() for role, n in self._roles.items()}
        done = 0
        with self._naming_column(path), self._open(path, kinds) as (table, source):
            for block in table:
                at, n_bytes = source.tell(), 0
                at, n_bytes, done = at, at - done, at
                for start in range(0, max(block.num_rows, 1), self._batch_rows):
                    yield block.slice(start, self._batch_rows), n_bytes
                    n_bytes = 0

    @contextmanager
    def _naming_column(self, path: Path) -> Iterator[None]:
        """Values that are no numbers as an error that names the column."""
        import pyarrow as pa

        try:
            yield
        except pa.ArrowInvalid as error:
            not_text = _NO_TEXT.search(str(error))
            if not_text is not None:
                name = self._names(path)[int(not_text["column"])]
                raise ValueError(
                    f"{path}: column {name!r} is not UTF-8 text; save the file as UTF-8"
                ) from None
            found = _NO_NUMBER.search(str(error))
            if found is None:
                raise
            name = self._names(path)[int(found["column"])]
            role = next((role for role, column in self._roles.items() if column == name), None)
            remedy = number_remedy(found["value"], name, role)
            raise ValueError(
                f"{path}: column {name!r} must hold numbers; it holds {found['value']!r}; {remedy}"
            ) from None

    @contextmanager
    def _open(self, path: Path, kinds: Settings | None = None) -> Iterator[tuple[Any, Any]]:
        import pyarrow as pa
        from pyarrow import csv

        if not path.stat().st_size:
            raise ValueError(f"{path}: the file is empty; a CSV file starts with the names of its columns")
        separator = "\t" if ".tsv" in path.suffixes else ","
        check_header(_start(path), separator, path)
        with pa.OSFile(str(path)) as source:
            codec = _CODECS.get(path.suffix)
            stream = source if codec is None else pa.CompressedInputStream(source, codec)
            parsing = csv.ParseOptions(delimiter=separator)
            if kinds is None:
                yield csv.open_csv(stream, parse_options=parsing), source
                return
            reading = csv.ReadOptions(block_size=_CSV_BLOCK)
            converting = csv.ConvertOptions(column_types=kinds, include_columns=list(kinds))
            yield csv.open_csv(stream, reading, parsing, converting), source


def _start(path: Path) -> bytes:
    """The first bytes of a text file, compressed or not; an error if they are UTF-16."""
    import pyarrow as pa

    codec = _CODECS.get(path.suffix)
    with _naming(path), pa.OSFile(str(path)) as source:
        start: bytes = (source if codec is None else pa.CompressedInputStream(source, codec)).read(_LOOKED_AT)
    check_encoding(start, path)
    return start


def check_names(names: Sequence[str], where: object) -> None:
    """Raise unless every column has a name of its own.

    Parameters
    ----------
    names : sequence of str
        In the order of the columns.
    where : object
        File or frame, for the message.
    """
    seen: set[str] = set()
    for number, name in enumerate(names):
        if not str(name).strip() and not is_index_column(str(name), number):
            raise ValueError(f"{where}: column {number + 1} has no name; name it or remove it")
        if name in seen:
            raise ValueError(f"{where}: two columns are called {name!r}; rename or remove one of them")
        seen.add(name)


def is_index_column(name: str, number: int) -> bool:
    """Whether a column is called as pandas calls the index of a frame when it writes it to a file."""
    return name == "__index_level_0__" or (number == 0 and name in ("", "Unnamed: 0"))


def pandas_index(schema: Any) -> set[str]:
    """Index columns that pandas noted in the metadata of an Arrow schema."""
    metadata = schema.pandas_metadata or {}
    stored = metadata.get("index_columns", [])
    # A range index is described by a dict and has no column.
    return {name for name in stored if isinstance(name, str) and name in schema.names}


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of pyarrow as errors that name the file."""
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: the file is not UTF-8 text ({error}); save it as UTF-8") from None
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: cannot be read, or was cut short ({reason})") from None


def _missing_features(wanted: Sequence[str], names: Sequence[str]) -> str:
    """The wanted names that are not there, the first five of them."""
    there = set(names)
    missing = [repr(name) for name in wanted if name not in there]
    return ", ".join(missing[:5]) + (f", and {len(missing) - 5} more" if len(missing) > 5 else "")


def _find_roles(columns: Columns, names: list[str], path: Path) -> dict[str, str]:
    found = {}
    for role, name in columns.roles.items():
        if name in names:
            found[role] = name
        elif role != "docid" and (columns.required or role == "sample_weight"):
            shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            raise ValueError(f"{role!r} must name a column; {path} has no {name!r} (it has {shown})")
    return found


def _matrix(batch: Any, names: Sequence[str], path: Path, *, typed: bool) -> Array:
    """Columns as the rows of an array in the precision that holds all of them: null is NaN.

    Text does not say its precision, so its numbers stay the float64 that they are read as. A column is
    float32 only where that changes no value: then neither the other rows of the file, nor in which batch a
    row is read, can change what a number means to a model.
    """
    if not names:  # only ids, labels or scores are wanted
        return np.empty((batch.num_rows, 0), dtype=np.float32)
    columns = [_numeric(batch.column(name), name, path) for name in names]
    if not typed:
        columns = [narrowed(column) for column in columns]
    by_column = np.empty((len(names), batch.num_rows), dtype=feature_dtype(np.result_type(*columns)))
    for j, column in enumerate(columns):
        by_column[j] = column
    X = np.empty(by_column.shape[::-1], dtype=by_column.dtype)
    _transpose(by_column, X)
    return X


def _numeric(column: Any, name: str, path: Path) -> Array:
    import pyarrow as pa

    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        if not (pa.types.is_null(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)):
            raise ValueError(f"{path}: column {name!r} must hold numbers; it holds {kind}; {NUMBER_REMEDY}")
        column = column.cast(pa.float64())
    values: Array = column.to_numpy(zero_copy_only=False)
    return values


def _numbers(column: Any, name: str | None, path: Path) -> FloatArray | None:
    return None if column is None else _numeric(column, str(name), path).astype(np.float64)


def _ids(column: Any, name: str | None, path: Path) -> Array | None:
    """Query ids: integers, or text. From CSV they are text here even where all are whole numbers."""
    import pyarrow as pa

    if column is None:
        return None
    if column.null_count:
        raise ValueError(f"{path}: 'qid' must not be missing; column {name!r} has {column.null_count} nulls")
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        ids: Array = column.to_numpy(zero_copy_only=False)
        return ids
    texts = _texts(column)
    if texts is not None and not all(texts):
        raise ValueError(f"{path}: 'qid' must not be missing; column {name!r} has an empty id")
    return texts


def _texts(column: Any) -> Array | None:
    """Text, each distinct one decoded once."""
    import pyarrow as pa

    if column is None:
        return None
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    known = np.array([str(v) for v in column.dictionary.to_pylist()], dtype=object)
    if column.null_count:
        known = np.append(known, "")
        return known[column.indices.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)]
    return known[column.indices.to_numpy(zero_copy_only=False)]


@kernel
def _transpose(columns: Any, rows: Any) -> None:
    n_features, n = columns.shape
    for a in range(0, n, _TILE):
        for j in range(n_features):
            for i in range(a, min(a + _TILE, n)):
                rows[i, j] = columns[j, i]


def load_pyarrow() -> Any:
    """Import pyarrow; an error that says how to install it if it is not there."""
    try:
        import pyarrow
    except ImportError:
        raise ImportError(
            "Parquet, Arrow and CSV files need the 'pyarrow' package: pip install 'lambdamart-kit[parquet]'"
        ) from None
    return pyarrow
