"""The registry of file formats: which suffixes mean which format, what reads it and what writes it.

A new format of feature rows is one module with a `Reader` and one entry in `FORMATS`; ``fit_files``,
`read_rows`, `convert` and every command find it there. Formats that hold records too (preference pairs,
votes) have an entry in `RECORD_FORMATS`, which also states their suffixes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lambdamart_kit.datasets.dataset import RankingDataset
from lambdamart_kit.datasets.letor.files import write_letor
from lambdamart_kit.files.arrays import ArraysReader, write_arrays
from lambdamart_kit.files.chunk import Columns, Reader
from lambdamart_kit.files.letor import LetorReader
from lambdamart_kit.files.paths import format_suffix
from lambdamart_kit.files.records import RECORD_FORMATS
from lambdamart_kit.files.table_writing import (
    write_arrow,
    write_csv,
    write_json_lines,
    write_parquet,
    write_tsv,
)
from lambdamart_kit.files.tables import ArrowReader, CsvReader, JsonLinesReader, ParquetReader


@dataclass(frozen=True)
class Format:
    """One format of files of rows.

    Attributes
    ----------
    suffixes : tuple of str
        Endings of file names, without that of a compression; the first is given to files of scores that are
        written for files of this format.
    open : callable
        Paths, columns and a number of threads to a reader.
    write : callable
        Writes a `RankingDataset` to a path.
    named : bool
        Whether columns have names in this format.
    """

    suffixes: tuple[str, ...]
    open: Callable[[Sequence[Path], Columns, int | None], Reader]
    write: Callable[[RankingDataset, Path], None]
    named: bool = True


FORMATS: dict[str, Format] = {
    "letor": Format((".txt", ".letor", ".svm", ".dat"), LetorReader, write_letor, named=False),
    "parquet": Format(RECORD_FORMATS["parquet"].suffixes, ParquetReader, write_parquet),
    "csv": Format(RECORD_FORMATS["csv"].suffixes, CsvReader, write_csv),
    "tsv": Format(RECORD_FORMATS["tsv"].suffixes, CsvReader, write_tsv),
    "arrow": Format(RECORD_FORMATS["arrow"].suffixes, ArrowReader, write_arrow),
    "jsonl": Format(RECORD_FORMATS["jsonl"].suffixes, JsonLinesReader, write_json_lines),
    "npz": Format((".npz",), ArraysReader, write_arrays, named=False),
}


def kind_of(path: Path) -> str:
    """Name in `FORMATS` of the format of a file, told by its suffix; files of no known suffix are LETOR."""
    last = format_suffix(path)
    for name, known in FORMATS.items():
        if last in known.suffixes:
            return name
    return "letor"
