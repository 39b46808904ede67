"""Arrays to LETOR text."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.precision import warn_of_merged_values
from lambdamart_kit.core.typing import Array, Features, IndexArray
from lambdamart_kit.datasets.dataset import RankingDataset
from lambdamart_kit.datasets.letor.decimals import put_digits, put_number
from lambdamart_kit.datasets.letor.text_file import import_zstandard
from lambdamart_kit.runtime.atomic_file import atomic_file

_BLOCK_ENTRIES = 1 << 20
_NUMBER_WIDTH = 32  # longest that `put_number` writes is 17 digits with a point, sign and exponent


def write_rows(data: RankingDataset, path: Path) -> None:
    """Write `data` to `path`, a block of rows at a time."""
    from lambdamart_kit.core.rows import as_csr, as_matrix
    from lambdamart_kit.core.rows import is_sparse as takes_no_zeros

    if data.sample_weight is not None:
        raise ValueError(
            "'sample_weight' must be None: LETOR has no place for weights; write a table, such as .parquet"
        )
    X: Features = as_matrix(data.X, "X")
    warn_of_merged_values(
        X, data.feature_names, "LETOR", remedy="write a table, such as .parquet, which keeps them"
    )
    is_sparse = takes_no_zeros(X)
    X = as_csr(X) if is_sparse else X
    _check_finite(data.y, X.data if is_sparse else X)
    heads = [f" qid:{name}" for name in _checked_ids(data.qid)]
    tails = [""] * len(data) if data.docid is None else [_comment(name) for name in data.docid.tolist()]
    per_row = max(1, X.nnz // max(1, len(data)) if is_sparse else X.shape[1])
    step = max(1, _BLOCK_ENTRIES // per_row)
    with compressed_file(path) as stream:
        for start in range(0, len(data), step):
            rows = slice(start, start + step)
            stream.write(_block(data.y[rows], X[rows], heads[rows], tails[rows]))


def _block(y: Array, X: Features, heads: list[str], tails: list[str]) -> memoryview:
    none = np.zeros(0, np.int64)
    y = np.ascontiguousarray(y, np.float32)
    if isinstance(X, np.ndarray):
        arrays = (np.ascontiguousarray(X, np.float32), np.zeros(0, np.float32), none, none)
        n_entries = X.size
    else:
        X.sort_indices()
        indices, indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
        arrays = (np.zeros((0, 0), np.float32), X.data.astype(np.float32), indices, indptr)
        n_entries = X.nnz
    if not n_entries and arrays[0].shape[1] == 0:
        arrays = (*arrays[:3], np.zeros(len(y) + 1, np.int64))
    head, head_ptr = _joined(heads)
    tail, tail_ptr = _joined(tails)
    width = _NUMBER_WIDTH + 12  # the index, its colon and the space
    out = np.empty(n_entries * width + len(y) * (_NUMBER_WIDTH + 1) + len(head) + len(tail), np.uint8)
    n_bytes = _format_rows(y, *arrays, head, head_ptr, tail, tail_ptr, out)
    return out[:n_bytes].data


@kernel
def _format_rows(
    y: Any,
    X: Features,
    data: Any,
    indices: Any,
    indptr: Any,
    head: Any,
    head_ptr: Any,
    tail: Any,
    tail_ptr: Any,
    out: Any,
) -> int:
    """Write each row's label, `head`, features (dense X, or CSR) and `tail` to `out`; return bytes written.

    Dense features are all written but NaN, which stands for an absent one.
    """
    at = 0
    dense = X.shape[1] > 0
    for row in range(len(y)):
        at = put_number(y[row], out, at)
        for j in range(head_ptr[row], head_ptr[row + 1]):
            out[at] = head[j]
            at += 1
        n = X.shape[1] if dense else indptr[row + 1] - indptr[row]
        for k in range(n):
            column = k if dense else indices[indptr[row] + k]
            value = X[row, k] if dense else data[indptr[row] + k]
            if value == value:
                out[at] = 32
                at = put_digits(column + 1, 1, out, at + 1)
                out[at] = 58
                at = put_number(value, out, at + 1)
        for j in range(tail_ptr[row], tail_ptr[row + 1]):
            out[at] = tail[j]
            at += 1
        out[at] = 10
        at += 1
    return at


def _joined(strings: list[str]) -> tuple[Array, IndexArray]:
    encoded = [s.encode() for s in strings]
    ptr = np.concatenate(([0], np.cumsum([len(s) for s in encoded]))).astype(np.int64)
    return np.frombuffer(b"".join(encoded), np.uint8), ptr


def _check_finite(y: Array, values: Array) -> None:
    bad = np.flatnonzero(~np.isfinite(y))
    if len(bad):
        raise ValueError(f"'y' must be finite to be written; row {bad[0]} has {y[bad[0]]}")
    step = max(1, _BLOCK_ENTRIES // max(1, values[:1].size))
    for start in range(0, len(values), step):
        if np.isinf(values[start : start + step]).any():
            raise ValueError("'X' must not hold infinite values to be written; clip them, or set them to NaN")


def _checked_ids(qid: Array) -> list[str]:
    """Ids as text; each distinct one is looked at once."""
    names = list(map(str, qid.tolist()))
    for name in set(names):
        if not name or not name.isprintable() or any(c in name for c in " #"):
            raise ValueError(
                f"'qid' must be printable text without spaces or '#' to be written; got {name!r}"
            )
    return names


def _comment(name: str) -> str:
    text = str(name)
    if not text:
        return ""
    if "\n" in text or "\0" in text:
        raise ValueError(f"'docid' must not contain line breaks to be written; got {text!r}")
    return f" #{text}" if any(c.isspace() for c in text) else f" #docid = {text}"


@contextmanager
def compressed_file(path: Path) -> Iterator[BinaryIO]:
    """A stream, compressed as the suffix says, that becomes `path` only when all has been written."""
    with atomic_file(path) as raw:
        if path.suffix == ".gz":
            # No name and no time in the header: equal data give equal bytes.
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=6, mtime=0) as stream:
                yield stream  # type: ignore[misc]
        elif path.suffix == ".zst":
            # With a checksum of the content, which readers check: otherwise a flipped bit gives other
            # numbers.
            compressor = import_zstandard().ZstdCompressor(level=6, write_checksum=True)
            with compressor.stream_writer(raw, closefd=False) as stream:
                yield stream
        else:
            yield raw
