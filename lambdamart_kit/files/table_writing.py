"""Ranking data as tables: columns ``qid``, ``docid`` where it is known, ``label``, and one a feature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lambdamart_kit.datasets.dataset import RankingDataset
from lambdamart_kit.datasets.letor.writing import compressed_file
from lambdamart_kit.files.tables import load_pyarrow
from lambdamart_kit.runtime.atomic_file import atomic_file

if TYPE_CHECKING:
    import pandas as pd


def write_parquet(data: RankingDataset, path: Path) -> None:
    """Write a Parquet file."""
    load_pyarrow()
    with atomic_file(path) as stream:
        _dense(data.to_frame()).to_parquet(stream, index=False)


def write_arrow(data: RankingDataset, path: Path) -> None:
    """Write an Arrow file."""
    pa = load_pyarrow()
    table = pa.Table.from_pandas(_dense(data.to_frame()), preserve_index=False)
    with atomic_file(path) as stream, pa.ipc.new_file(stream, table.schema) as writer:
        writer.write_table(table)


def write_csv(data: RankingDataset, path: Path) -> None:
    """Write a CSV file; numbers read back exactly."""
    _write_text(data, path, ",")


def write_tsv(data: RankingDataset, path: Path) -> None:
    """Write a file of values separated by tabs; numbers read back exactly."""
    _write_text(data, path, "\t")


def write_json_lines(data: RankingDataset, path: Path) -> None:
    """Write one JSON object a row."""
    frame = _dense(data.to_frame())
    columns = [_as_json(frame[name]) for name in frame]
    names = [json.dumps(str(name)) for name in frame]
    with compressed_file(path) as stream:
        for values in zip(*columns):
            fields = ", ".join(f"{name}: {value}" for name, value in zip(names, values))
            stream.write(f"{{{fields}}}\n".encode())


def _write_text(data: RankingDataset, path: Path, separator: str) -> None:
    frame = data.to_frame()
    # A reader takes text for float64. The shortest text of a float32 is not the text of the same float64.
    singles = frame.select_dtypes(np.float32).columns
    frame = frame.astype(dict.fromkeys(singles, np.float64))
    with compressed_file(path) as stream:
        stream.write(frame.to_csv(index=False, sep=separator).encode())


def _dense(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with every value in it: Arrow and Parquet have no sparse columns."""
    import pandas as pd

    kinds = {name: kind.subtype for name, kind in frame.dtypes.items() if isinstance(kind, pd.SparseDtype)}
    return frame.astype(kinds)


def _as_json(column: Any) -> list[str]:
    """Values of a column as JSON: numbers with all their digits, of which pandas cuts some; NaN as null."""
    values = column.tolist()
    return ["null" if value != value else json.dumps(value) for value in values]
