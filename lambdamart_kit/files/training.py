"""Training on more rows than fit in memory: files in, a binned matrix on disk, trees grown on that.

Passes over the files: one notes label, query and a hash of each row, and keeps a sample; the edges of the
bins come from the sample; the next writes each row's bins, one byte a value, to where the row stands in
canonical order. Both the sample and the order depend on the rows alone, so the trees are those that `fit`
grows on the same rows in memory, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np

from lambdamart_kit.boosters.xgboost_external import ExternalRows
from lambdamart_kit.core.alike_ids import warn_of_alike_ids
from lambdamart_kit.core.gains import check_relevance
from lambdamart_kit.core.ordered_rows import OrderedRows, arrange_rows, row_contents
from lambdamart_kit.core.queries import Queries, QueryIds
from lambdamart_kit.core.rows import RowView, check_codes
from lambdamart_kit.core.typing import Array, BoolArray, FloatArray
from lambdamart_kit.files.bin_cache import BinCache
from lambdamart_kit.files.chunk import Chunk, stack, widen
from lambdamart_kit.files.row_files import RowFiles
from lambdamart_kit.runtime.progress import Progress
from lambdamart_kit.trees.binning import SAMPLE_ROWS, BinMapper, BinnedMatrix
from lambdamart_kit.trees.edge_sample import ColumnWriter, EdgeSample, Maps, sampled_ids


@dataclass(frozen=True, eq=False)
class FileRows:
    """Everything about the rows of files but their features, in the order of the files.

    Attributes
    ----------
    files : RowFiles
    n_features : int
    y : (n_samples,) float64
    queries : Queries
    content : (n_samples,) uint64
        Hash of each row's features and label.
    sample_weight : (n_samples,) float64, or None
    key : str
        Names these rows in a `BinCache`.
    sample : EdgeSample or None
        Rows kept for the edges on the way; None if the rows come from a store.
    """

    files: RowFiles
    n_features: int
    y: FloatArray
    queries: Queries
    content: Array
    sample_weight: FloatArray | None
    key: str
    sample: EdgeSample | None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features."""
        return len(self.y), self.n_features

    @cached_property
    def query_of_row(self) -> Array:
        """Index of the query of each row, (n_samples,) int32."""
        query = np.empty(len(self.y), dtype=np.int32)
        query[self.queries.order] = self.queries.query_of_ordered_row
        return query

    def in_order(self, *, suffix: str = "") -> OrderedRows:
        """The rows in canonical order, features left in the files: the view's source is this."""
        labels = check_relevance(self.y, name=f"y{suffix}")
        return arrange_rows(self, labels, self.queries, self.sample_weight, self.content)


class FileTraining:
    """Turns files into rows a booster can train on.

    Parameters
    ----------
    store : BinCache
        Where bins go.
    n_threads : int
    verbose : bool
        Report progress on stderr.
    """

    def __init__(self, store: BinCache, *, n_threads: int, verbose: bool) -> None:
        self._store, self._n_threads, self._verbose = store, n_threads, verbose
        self._maps = Maps(store.scratch)

    def scan(
        self, files: RowFiles, *, n_features: int | None = None, sample_rows: int = 0, suffix: str = ""
    ) -> FileRows:
        """Note label, query, weight and content of each row, and keep a sample; or recall them.

        Parameters
        ----------
        files : RowFiles
        n_features : int, optional
            Columns; None for the widest row.
        sample_rows : int
            Rows of the sample; 0 keeps none.
        suffix : str
            Added to parameter names in errors.
        """
        what = [self._store.digests(files.sources), files.kind, asdict(files.columns), n_features]
        key = self._store.key(what)
        stored = self._store.load("rows", key)
        if stored is not None:
            return _recall(files, stored, key)
        scan = _Scan(files, EdgeSample(sample_rows) if sample_rows else None, self._n_threads)
        for chunk in self.chunks(files, n_features, f"reading{suffix.replace('_', ' ')}"):
            scan.add(chunk)
        rows = scan.finish(n_features, key)
        self._store.save("rows", key, _to_store(rows))
        return rows

    def fit_mapper(self, train: OrderedRows, *, max_bin: int, categorical: Sequence[int]) -> BinMapper:
        """Edges from the sample that `BinMapper.fit` would take from these rows in memory."""
        rows: FileRows = train.view.source
        ids = sampled_ids(train.queries.ids, train.queries.sizes)
        chosen = np.isin(rows.queries.ids, ids)
        key = self._store.key(rows.key, chosen, max_bin, list(categorical))
        stored = self._store.load("edges", key)
        if stored is not None:
            return BinMapper.of_arrays(stored)
        X = rows.sample.take(ids) if rows.sample is not None else None
        if X is None:
            X = self._gather(rows, chosen[rows.query_of_row])
        sample = RowView.of(widen(X, rows.n_features))
        mapper = BinMapper.of_sample(
            sample, max_bin=max_bin, categorical=categorical, n_threads=self._n_threads
        )
        self._store.save("edges", key, mapper.to_arrays())
        return mapper

    def bin(self, mapper: BinMapper, parts: Sequence[OrderedRows], label: str) -> list[OrderedRows]:
        """The same rows with their bins as features, from one pass over their files, or from the store."""
        rows: FileRows = parts[0].view.source
        edges = list(mapper.to_arrays().values())
        keys = [self._store.key(rows.key, part.order, *edges) for part in parts]
        stored = [self._store.load("bins", key) for key in keys]
        columns = {i: arrays["columns"] for i, arrays in enumerate(stored) if arrays is not None}
        missing = [i for i in range(len(parts)) if i not in columns]
        if missing:
            made = self._write(mapper, rows, [parts[i] for i in missing], [keys[i] for i in missing], label)
            columns |= dict(zip(missing, made))
        return [self._with_bins(part, columns[i], mapper) for i, part in enumerate(parts)]

    def leave_in_files(self, part: OrderedRows) -> OrderedRows:
        """The same rows with features that XGBoost reads from the files."""
        rows: FileRows = part.view.source

        def chunks() -> Iterator[Array]:
            for chunk in self.chunks(rows.files, rows.n_features, "reading for XGBoost"):
                yield chunk.X

        external = ExternalRows(chunks, part.order, rows.n_features, self._store.scratch)
        return OrderedRows(RowView.of(external), part.y, part.queries, part.sample_weight)

    def _with_bins(self, part: OrderedRows, columns: Array, mapper: BinMapper) -> OrderedRows:
        binned = BinnedMatrix(columns, mapper, self._maps.allocate)
        return OrderedRows(RowView.of(binned), part.y, part.queries, part.sample_weight)

    def _write(
        self, mapper: BinMapper, rows: FileRows, parts: list[OrderedRows], keys: list[str], label: str
    ) -> list[Array]:
        """Columns of bins of each of the `parts`."""
        categorical = np.flatnonzero(mapper.is_categorical).tolist()
        with ExitStack() as entries:
            writers = []
            for part, key in zip(parts, keys):
                folder = entries.enter_context(self._store.fresh("bins", key))
                place = np.full(len(rows.y), -1, dtype=np.int64)
                place[part.order] = np.arange(len(part.order))
                shape = rows.n_features, len(part.order)
                writers.append(ColumnWriter(folder / "columns.npy", place, shape))
            for chunk in self.chunks(rows.files, rows.n_features, label):
                check_codes(chunk.X, categorical)
                columns = mapper.transform(chunk.X, n_threads=self._n_threads).columns
                for writer in writers:
                    writer.add(columns)
            return [writer.finish(self._n_threads) for writer in writers]

    def _gather(self, rows: FileRows, wanted: BoolArray) -> Array:
        """The `wanted` rows (a mask), from another pass over the files."""
        parts, at = [], 0
        for chunk in self.chunks(rows.files, rows.n_features, "sampling"):
            parts.append(chunk.X[wanted[at : at + len(chunk.X)]])
            at += len(chunk.X)
        return stack(parts, rows.n_features)

    def chunks(self, files: RowFiles, n_features: int | None, label: str) -> Iterator[Chunk]:
        """The rows, checked, with progress on stderr."""
        wanted = self._verbose
        with Progress(label, files.n_bytes, unit="bytes", bar=wanted, lines=wanted) as progress:
            for chunk in files.chunks(n_features):
                _check_finite(chunk, files.feature_names)
                yield chunk
                progress.advance(chunk.n_bytes)
        files.check_unchanged()


class _Scan:
    """What the first pass keeps of the chunks."""

    def __init__(self, files: RowFiles, sample: EdgeSample | None, n_threads: int) -> None:
        self._files, self._sample, self._n_threads = files, sample, n_threads
        self._ids = QueryIds(from_text=files.kind != "parquet")
        self._y: list[FloatArray] = []
        self._content: list[Array] = []
        self._weight: list[FloatArray] = []
        self._n_features = 0

    def add(self, chunk: Chunk) -> None:
        assert chunk.y is not None
        assert chunk.qid is not None
        try:
            codes = self._ids.add(chunk.qid)
        except ValueError as error:
            raise ValueError(f"{chunk.path}: {error}") from None
        if self._sample is not None:
            self._sample.add(chunk.X, codes, self._ids.names(self._sample.n_known))
        self._n_features = max(self._n_features, chunk.X.shape[1])
        self._y.append(chunk.y)
        self._content.append(row_contents(chunk.X, chunk.y, n_threads=self._n_threads))
        if chunk.sample_weight is not None:
            self._weight.append(chunk.sample_weight)

    def finish(self, n_features: int | None, key: str) -> FileRows:
        if not self._y:
            raise ValueError(f"'files' must hold at least one row; {_shown(self._files)} hold none")
        if n_features is None:
            n_features = self._n_features
        weight = np.concatenate(self._weight) if self._weight else None
        y, content = np.concatenate(self._y), np.concatenate(self._content)
        queries = self._ids.queries()
        warn_of_alike_ids(queries.ids, _shown(self._files))
        return FileRows(self._files, n_features, y, queries, content, weight, key, self._sample)


def _shown(files: RowFiles) -> str:
    names = ", ".join(map(str, files.paths[:3]))
    return names + (", ..." if len(files.paths) > 3 else "")


def _check_finite(chunk: Chunk, names: Sequence[str] | None) -> None:
    """Infinite features are refused, as `fit` refuses them; NaN is a missing value."""
    if np.fmax.reduce(np.abs(chunk.X), axis=None, initial=0) > np.finfo(np.float32).max:
        row, j = np.argwhere(np.abs(chunk.X) > np.finfo(np.float32).max)[0]
        name = names[j] if names is not None else j + 1
        raise ValueError(
            f"{chunk.path}: features must be finite or missing; column {name!r} has {chunk.X[row, j]} "
            "(or a number beyond float32); set 'clip'"
        )


def _to_store(rows: FileRows) -> dict[str, Array]:
    ids = rows.queries.ids
    return {
        "y": rows.y,
        "query": rows.query_of_row,
        "ids": ids.astype(str) if ids.dtype == object else ids,
        "content": rows.content,
        "weight": np.empty(0) if rows.sample_weight is None else rows.sample_weight,
        "n_features": np.array([rows.n_features]),
    }


def _recall(files: RowFiles, stored: dict[str, Array], key: str) -> FileRows:
    queries = Queries.from_qid(stored["query"], len(stored["y"]))
    named = Queries(queries.order, queries.ptr, stored["ids"])
    weight = stored["weight"] if len(stored["weight"]) else None
    n_features = int(stored["n_features"][0])
    return FileRows(files, n_features, stored["y"], named, stored["content"], weight, key, None)


def sample_size(validation_fraction: float | None) -> int:
    """Rows to keep on the first pass, before it is known which queries will be held out."""
    if validation_fraction is None:
        return SAMPLE_ROWS
    return math.ceil(1.1 * SAMPLE_ROWS / (1.0 - validation_fraction))
