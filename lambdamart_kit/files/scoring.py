"""Scores of rows in files, a chunk at a time: memory does not grow with the files."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from lambdamart_kit.core.queries import run_starts
from lambdamart_kit.core.typing import Array, Float32Array, FloatArray
from lambdamart_kit.datasets.letor.writing import compressed_file
from lambdamart_kit.files.chunk import Chunk, Columns, LetorRules, whole_queries
from lambdamart_kit.files.formats import FORMATS, kind_of
from lambdamart_kit.files.paths import format_suffix
from lambdamart_kit.files.row_files import Files, RowFiles, find_files
from lambdamart_kit.runtime.progress import Progress
from lambdamart_kit.trec import RunFile, write_run


class Scorer(Protocol):
    """A fitted ranker, as far as scoring files goes."""

    n_features_in_: int

    def predict(self, X: Float32Array) -> FloatArray:
        """Score of each row."""
        ...


def score_files(
    ranker: Scorer,
    files: Files,
    out: str | os.PathLike[str] | None,
    *,
    columns: Columns | None = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> int:
    """Score the rows of files and write the scores, in the order of the rows.

    A ranker that ``compress`` made lets documents stop early where the files have query ids. A query is then
    what stands together in one file: rows of the same id further down are another one.

    Parameters
    ----------
    ranker : estimator
        Fitted. The features are found by name in Parquet and CSV files, if it was fitted with names.
    files : path, glob, folder, or list of them
        LETOR, Parquet or CSV; labels need not be there.
    out : path or None
        ``.parquet`` and ``.csv``: columns ``qid`` and ``docid`` where the input has them, and ``score``.
        ``.run``: a TREC run, see :func:`~lambdamart_kit.trec.write_run`; rows without names are called
        ``row1``, ``row2``, and so on. Any other name: one number a line; None is standard output. A folder
        (one that is there, or a name that ends in a slash): a file for each input file, of its kind and
        name.
    columns : Columns, optional
        Names of the columns with ids, ``qid`` and ``docid`` by default, and how values are read: as in
        training, where nothing is said and the ranker's file knows it (see `as_trained`).
    n_jobs : int, optional
        Threads that read; the ranker's own `n_jobs` says how many score.
    progress : bool
        Draw a progress bar if stderr is a terminal.

    Returns
    -------
    int
        Number of rows.

    Raises
    ------
    ValueError
        If a file, or a value in it, is not usable: the message names it.

    Examples
    --------
    >>> import tempfile
    >>> from lambdamart_kit import LambdaMART
    >>> from lambdamart_kit.datasets import make_letor, write_letor
    >>> folder, data = Path(tempfile.mkdtemp()), make_letor(n_queries=5, random_state=0)
    >>> write_letor(data, folder / "test.txt")
    >>> ranker = LambdaMART(n_estimators=2).fit(data.X, data.y, data.qid)
    >>> score_files(ranker, folder / "test.txt", folder / "scores.txt") == len(data)
    True
    >>> bool(float((folder / "scores.txt").read_text().split()[0]) == ranker.predict(data.X)[0])
    True
    """
    roles = as_trained(ranker, replace(columns or Columns(), required=False), files)
    opened = _open(ranker, files, roles, n_jobs)
    into_folder = out is not None and (os.path.isdir(out) or os.fspath(out).endswith(("/", os.sep)))
    with Progress("predicting", opened.n_bytes, unit="bytes", bar=progress) as shown:
        if not into_folder:
            return _score(ranker, opened, None if out is None else Path(out), shown.advance)
        folder = Path(os.fspath(out))  # type: ignore[arg-type]
        folder.mkdir(parents=True, exist_ok=True)
        done = 0
        for path in opened.paths:
            name = path.name.partition(".")[0] + FORMATS[opened.kind].suffixes[0]
            done += _score(ranker, _open(ranker, path, roles, n_jobs), folder / name, shown.advance)
        return done


def as_trained(ranker: object, columns: Columns, files: Files) -> Columns:
    """`columns` with the features of training, their values read as then, where `columns` does not say.

    Parameters
    ----------
    ranker : estimator
        Its ``feature_names_in_``, if there are any, name the columns of tables; others, such as weights, are
        left out. Its ``reading_``, if there is one, holds ``clip`` and the rules of LETOR lines that the
        command ``train`` was given.
    columns : Columns
    files : path, glob, folder, or list of them
        What is going to be read: rules of LETOR lines are for LETOR files.
    """
    known: dict[str, Any] = dict(getattr(ranker, "reading_", {}))
    clip = known.pop("clip", None)
    if columns.clip is None and clip is not None:
        columns = replace(columns, clip=clip)
    of_letor = kind_of(find_files(files)[0]) == "letor"
    if known and of_letor and columns.letor == LetorRules():
        columns = replace(columns, letor=LetorRules(**known))
    names = getattr(ranker, "feature_names_in_", None)
    if names is not None and columns.features is None and not of_letor:
        columns = replace(columns, features=tuple(names))
    return columns


def check_features(ranker: Scorer, names: Sequence[str] | None, path: str | os.PathLike[str]) -> None:
    """Raise unless a table has as many features as the ranker was fitted on.

    Parameters
    ----------
    ranker : estimator
    names : sequence of str, or None
        Names of the table's features; None for files whose features have no names.
    path : path
        The table.

    Raises
    ------
    ValueError
        Naming the features that were found.
    """
    if names is not None and len(names) != ranker.n_features_in_:
        raise ValueError(
            f"'files' must have the {ranker.n_features_in_} features the ranker was fitted on; "
            f"{path} has {len(names)}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        )


def _open(ranker: Scorer, files: Files, columns: Columns, n_jobs: int | None) -> RowFiles:
    names = getattr(ranker, "feature_names_in_", None)
    if names is not None:  # then labels, which may be anything here, need not be told from features
        columns = replace(columns, features=tuple(names), y=None)
    opened = RowFiles(files, columns, n_jobs=n_jobs)
    check_features(ranker, opened.feature_names, opened.paths[0])
    return opened


def _score(ranker: Scorer, files: RowFiles, out: Path | None, advance: Callable[[int], None]) -> int:
    done = 0
    with _writer(out) as write, warnings.catch_warnings():
        # Columns were found by name, or have none here: either way they are in the order of the fit.
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        chunks = files.chunks(ranker.n_features_in_)
        by_query = _ByQuery(ranker) if getattr(ranker, "stops_early", False) else None
        for chunk in chunks if by_query is None else whole_queries(chunks):
            if np.isinf(chunk.X).any():
                raise ValueError(
                    f"{chunk.path}: features must be finite or missing; got infinity; set 'clip'"
                )
            try:
                scores = ranker.predict(chunk.X) if by_query is None else by_query(chunk)
            except ValueError as error:
                raise ValueError(f"{chunk.path}: {error}") from None
            write(chunk, scores)
            advance(chunk.n_bytes)
            done += len(scores)
    return done


class _ByQuery:
    """Scores of chunks of whole queries by a ranker with early exits, which gets the ids of the queries."""

    def __init__(self, ranker: Any) -> None:
        self._ranker = ranker
        self._seen: set[Any] = set()
        self._warned = False

    def __call__(self, chunk: Chunk) -> FloatArray:
        scores: FloatArray
        if chunk.qid is None:
            scores = self._ranker.predict(chunk.X)
            return scores
        # Each run of equal ids is a query, whatever the chunk: scores do not depend on where chunks end.
        starts = run_starts(chunk.qid)
        sizes = np.diff(np.append(starts, len(chunk.qid)))
        self._look_for_scattered(chunk, chunk.qid[starts].tolist())
        scores = self._ranker.predict(chunk.X, qid=np.repeat(np.arange(len(starts)), sizes))
        return scores

    def _look_for_scattered(self, chunk: Chunk, ids: list[Any]) -> None:
        """Warn, once, if a query was there before."""
        if self._warned:
            return
        n_seen = len(self._seen)
        self._seen.update(ids)
        if len(self._seen) < n_seen + len(ids):
            self._warned = True
            warnings.warn(
                f"{chunk.path}: rows of one query do not stand together; each run of rows with the same id "
                "is then a query of its own to the ranker's early exits; sort the rows by query",
                UserWarning,
                stacklevel=5,
            )


Write = Callable[[Chunk, FloatArray], None]


@contextmanager
def _writer(out: Path | None) -> Iterator[Write]:
    """What writes scores; the file is there when all are written."""
    if out is None:
        yield lambda chunk, scores: _print_text(scores)
        return
    if format_suffix(out) == ".run":
        collected = _RunCollector(out)
        yield collected
        collected.finish()
        return
    kind = kind_of(out)
    with compressed_file(out) as stream:
        if kind == "parquet":
            with _parquet_writer(stream) as write:
                yield write
        elif kind == "csv":
            yield _CsvWriter(stream)
        else:
            yield lambda chunk, scores: _write_text(stream, scores)


def _as_text(scores: FloatArray) -> str:
    return "".join(f"{score!r}\n" for score in scores.tolist())


def _print_text(scores: FloatArray) -> None:
    sys.stdout.write(_as_text(scores))


def _write_text(stream: BinaryIO, scores: FloatArray) -> None:
    stream.write(_as_text(scores).encode())


def _columns(chunk: Chunk, scores: FloatArray) -> dict[str, Array]:
    keys = {"qid": chunk.qid, "docid": chunk.docid}
    return {name: values for name, values in keys.items() if values is not None} | {"score": scores}


class _RunCollector:
    """Keeps ids and scores of all rows: a run has the rows of a query sorted."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._qid: list[Array] = []
        self._docid: list[Array] = []
        self._scores: list[FloatArray] = []
        self._n_rows = 0

    def __call__(self, chunk: Chunk, scores: FloatArray) -> None:
        if chunk.qid is None:
            raise ValueError(
                f"{chunk.path}: has no query ids, which a TREC run needs; name their column with 'qid'"
            )
        names = chunk.docid
        if names is None:
            if not self._n_rows:
                warnings.warn(
                    f"{chunk.path}: names no documents; they are called row1, row2, ... in {self._out}",
                    UserWarning,
                    stacklevel=2,
                )
            names = np.array([f"row{self._n_rows + i + 1}" for i in range(len(scores))])
        self._n_rows += len(scores)
        self._qid.append(chunk.qid.astype(str))
        self._docid.append(names.astype(str))
        self._scores.append(scores)

    def finish(self) -> None:
        """Write the file."""
        parts = self._qid, self._docid, self._scores
        qid, docid, scores = (np.concatenate(part) if part else np.empty(0) for part in parts)
        tag = "_".join(self._out.name.partition(".")[0].split()) or "lambdamart-kit"
        write_run(RunFile(qid, docid, scores, tag), self._out)


class _CsvWriter:
    """A header, then a line a row."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self._begun = stream, False

    def __call__(self, chunk: Chunk, scores: FloatArray) -> None:
        import pandas as pd

        frame = pd.DataFrame(_columns(chunk, scores))
        self._stream.write(frame.to_csv(index=False, header=not self._begun).encode())
        self._begun = True


@contextmanager
def _parquet_writer(stream: BinaryIO) -> Iterator[Write]:
    """Ids keep the type they have in Parquet; from text, whose chunks may differ in it, they are text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer: Any = None

    def write(chunk: Chunk, scores: FloatArray) -> None:
        nonlocal writer
        columns = _columns(chunk, scores)
        if "qid" in columns and kind_of(chunk.path) != "parquet":
            columns["qid"] = columns["qid"].astype(str).astype(object)
        table = pa.table(columns)
        if writer is None:
            writer = pq.ParquetWriter(stream, table.schema)
        writer.write_table(table.cast(writer.schema))

    try:
        yield write
    finally:
        if writer is None:
            writer = pq.ParquetWriter(stream, pa.schema([("score", pa.float64())]))
        writer.close()
