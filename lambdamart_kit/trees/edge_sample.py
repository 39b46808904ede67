"""Binning rows that come a chunk at a time: a bounded sample for the edges, then columns of bins on disk."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.rowhash import id_hashes
from lambdamart_kit.core.typing import Array, IndexArray
from lambdamart_kit.runtime.threads import run_tasks
from lambdamart_kit.trees import binning

_BUCKET_BYTES = 64 << 20  # columns of rows put in order at a time
_MOST_BUCKETS = 512


class EdgeSample:
    """Rows of the queries that `sample_queries` would take from all rows, kept while the rows stream by.

    Memory holds at most a quarter more rows than asked for, and a chunk.

    Parameters
    ----------
    n_rows : int
        Rows to sample, in whole queries.

    Examples
    --------
    >>> sample = EdgeSample(3)
    >>> for _ in range(100):
    ...     new = np.array(["a", "b"][sample.n_known :])
    ...     sample.add(np.zeros((2, 1), np.float32), np.array([0, 1]), new)
    >>> len(sample.take(np.array(["a"])))
    100
    """

    def __init__(self, n_rows: int) -> None:
        self._n_rows = n_rows
        self._parts: list[tuple[Array, Array]] = []
        self._hash_of = np.empty(0, dtype=np.uint64)  # by code
        self._limit: Any = np.uint64(2**64 - 1)  # hashes of queries that may still be in the sample
        self._n_kept = 0

    @property
    def n_known(self) -> int:
        """Queries seen so far."""
        return len(self._hash_of)

    def add(self, X: Array, codes: Array, new_ids: Array) -> None:
        """Look at the next rows: features, codes of their queries, and the ids of codes not seen before."""
        if len(new_ids):
            self._hash_of = np.append(self._hash_of, id_hashes(new_ids))
        wanted = np.flatnonzero(self._hash_of[codes] <= self._limit)
        if len(wanted):
            self._parts.append((X[wanted], codes[wanted]))
            self._n_kept += len(wanted)
        # Each clean-up goes through all rows kept, so it waits until
        # there is a quarter more than is needed.
        if self._n_kept > self._n_rows * 5 // 4:
            self._forget()

    def _forget(self) -> None:
        """Drop the queries that later rows can only push further out of the sample."""
        sizes = np.bincount(np.concatenate([codes for _, codes in self._parts]))
        kept = np.flatnonzero(sizes)
        by_hash = kept[np.argsort(self._hash_of[kept], kind="stable")]
        last = min(int(np.searchsorted(np.cumsum(sizes[by_hash]), self._n_rows)), len(by_hash) - 1)
        # The queries up to `last`, by hash, hold enough rows. Rows to come can make the sample end earlier,
        # never later, so no query with a larger hash will ever be in it.
        self._limit = self._hash_of[by_hash[last]]
        for i, (X, codes) in enumerate(self._parts):  # part by part: a copy of all would be in memory twice
            inside = self._hash_of[codes] <= self._limit
            if not inside.all():
                self._parts[i] = X[inside], codes[inside]
        self._n_kept = sum(len(codes) for _, codes in self._parts)

    def take(self, ids: Array) -> Array | None:
        """The rows of the queries of these `ids`, or None if the stream went by without keeping them all.

        The sample is empty afterwards: with both, its rows would be in memory twice.
        """
        hashes = id_hashes(ids)
        if len(hashes) and hashes.max() > self._limit:
            return None
        n_features = max((X.shape[1] for X, _ in self._parts), default=0)
        chosen = np.isin(self._hash_of, hashes)
        dtype = np.result_type(np.float32, *{X.dtype for X, _ in self._parts})
        rows = np.zeros((sum(int(chosen[codes].sum()) for _, codes in self._parts), n_features), dtype)
        at = 0
        # Parts are taken from the end, in the order they came, and let go one by one: their rows and the
        # result are never in memory together as a whole.
        self._parts.reverse()
        while self._parts:
            X, codes = self._parts.pop()
            part = X[chosen[codes]]
            rows[at : at + len(part), : X.shape[1]] = part
            at += len(part)
        return rows


class Maps:
    """Arrays in files of one folder, mapped into memory: the system keeps in memory what fits.

    Parameters
    ----------
    folder : Path
        Where the files go; they are removed with it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()

    def allocate(self, n: int, dtype: Any) -> Array:
        """A one-dimensional array in a file of its own."""
        return create_map(self._folder / f"array-{next(self._numbers)}.npy", (n,), dtype)


def create_map(path: Path, shape: tuple[int, ...], dtype: Any) -> Array:
    """An array in a new ``.npy`` file, its room on the disk set aside.

    Without that, a disk that fills up later would end the process where it writes to the array.

    Raises
    ------
    OSError
        If the disk has no room.
    """
    if not int(np.prod(shape)):  # nothing to map
        np.save(path, np.empty(shape, dtype))
        return np.empty(shape, dtype)
    mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:
                reason = f"{error.strerror} ({mapped.nbytes / 1e9:.1f} GB needed in 'work_dir')"
                raise OSError(error.errno, reason, str(path)) from None
    return np.asarray(mapped)  # a plain ndarray: kernels compile for one type only


class ColumnWriter:
    """Puts bins of rows that come in any order into columns on disk, where rows stand in their final order.

    Writing each row to its place would touch all pages of the columns again and again. Rows are dealt out to
    buckets first, each a range of places and a file; then one bucket after the other is put in order in
    memory and written in long runs.

    Parameters
    ----------
    path : Path
        File of the columns; buckets lie beside it until `finish`.
    place : ndarray (n_streamed,), int64
        Final place of each row of the stream; -1 for rows to leave out.
    shape : tuple
        (n_features, n_placed).

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "columns.npy"
    >>> writer = ColumnWriter(path, np.array([1, -1, 0]), (1, 2))
    >>> writer.add(np.array([[7, 8, 9]], dtype=np.uint8))
    >>> writer.finish(1).tolist()
    [[9, 7]]
    """

    def __init__(self, path: Path, place: Array, shape: tuple[int, int]) -> None:
        self._path, self._place, self._shape = path, place, shape
        n_features, n = shape
        # A bucket has as many rows as fit in its bytes, at one byte a bin, but more if there would be more
        # files than may be open at a time.
        rows = max(1, _BUCKET_BYTES // max(n_features, 1), -(-n // _MOST_BUCKETS))
        self._starts = np.append(np.arange(0, n, rows), n)
        self._bucket_rows = rows
        self._streams: dict[int, Any] = {}
        self._at = 0

    def _bucket(self, b: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{b}")

    def add(self, columns: Array) -> None:
        """Take the bins of the next rows of the stream, (n_features, n)."""
        place = self._place[self._at : self._at + columns.shape[1]]
        self._at += columns.shape[1]
        bucket = np.where(place < 0, -1, place // self._bucket_rows)
        for b in np.unique(bucket[bucket >= 0]).tolist():
            if b not in self._streams:
                self._streams[b] = open(self._bucket(b), "wb")  # noqa: SIM115 -- closed in `finish`
            inside = np.flatnonzero(bucket == b)
            # A block in a file is the number of its rows, their places in
            # the bucket, and their bins by column.
            header = np.array([len(inside)], dtype=np.int64)
            for part in (header, place[inside] - self._starts[b], columns[:, inside]):
                self._streams[b].write(np.ascontiguousarray(part).data)

    def finish(self, n_threads: int) -> Array:
        """The columns, all rows in place."""
        for stream in self._streams.values():
            stream.close()
        columns = create_map(self._path, self._shape, np.uint8)
        # Only one bucket is in memory at a time, and each column of it is written to disk in one run.
        for b, (start, stop) in enumerate(itertools.pairwise(self._starts.tolist())):
            ordered = np.empty((len(columns), stop - start), dtype=np.uint8)
            for place, block in self._blocks(b):
                bounds = np.linspace(0, len(columns), 4 * n_threads + 1).astype(np.intp)
                run_tasks(_put, bounds, n_threads, block, place, ordered)
            columns[:, start:stop] = ordered
            self._bucket(b).unlink(missing_ok=True)
        return columns

    def _blocks(self, b: int) -> Iterator[tuple[IndexArray, Array]]:
        if b not in self._streams:
            return
        with open(self._bucket(b), "rb") as stream:
            while header := stream.read(8):
                n = int(np.frombuffer(header, np.int64)[0])
                place = np.fromfile(stream, np.int64, n)
                yield place, np.fromfile(stream, np.uint8, n * self._shape[0]).reshape(-1, n)


@kernel
def _put(start: int, stop: int, block: Array, place: Array, ordered: Array) -> None:
    for j in range(start, stop):
        for i in range(len(place)):
            ordered[j, place[i]] = block[j, i]


def sampled_ids(ids: Array, sizes: Array) -> Array:
    """Ids of the queries that edges are taken from: `BinMapper.fit` takes the same from rows in memory."""
    if sizes.sum() <= binning.SAMPLE_ROWS:
        return ids
    return ids[binning.sample_queries(ids, sizes, binning.SAMPLE_ROWS)]
