"""Ranking data as tables: columns ``qid``, ``docid`` where it is known, ``label``, and one a feature."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

from lambdamart_kit.datasets.dataset import RankingDataset
from lambdamart_kit.datasets.letor.writing import compressed_file
from lambdamart_kit.runtime.atomic_file import atomic_file


def write_parquet(data: RankingDataset, path: Path) -> None:
    """Write a Parquet file."""
    _pyarrow()
    with atomic_file(path) as stream:
        data.to_frame().to_parquet(stream, index=False)


def write_arrow(data: RankingDataset, path: Path) -> None:
    """Write an Arrow file."""
    pa = _pyarrow()
    table = pa.Table.from_pandas(data.to_frame(), preserve_index=False)
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
    frame = data.to_frame()
    with compressed_file(path) as stream:
        frame.to_json(_Closing(stream), orient="records", lines=True, double_precision=15)


def _write_text(data: RankingDataset, path: Path, separator: str) -> None:
    frame = data.to_frame()
    with compressed_file(path) as stream:
        stream.write(frame.to_csv(index=False, sep=separator).encode())


class _Closing:
    """Takes text, and passes it on as bytes."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write `text`."""
        return self._stream.write(text.encode())


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise ImportError(
            "Parquet and Arrow files need the 'pyarrow' package: pip install 'lambdamart-kit[parquet]'"
        ) from None
    return pyarrow
