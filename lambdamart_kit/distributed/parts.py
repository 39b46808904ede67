"""Dask collections and files as parts: one delayed `Part` a partition, checked where it is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import dask.array as da
import numpy as np
from dask.delayed import delayed

from lambdamart_kit.core.gains import check_relevance
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rows import flat
from lambdamart_kit.core.typing import Array, Features, FloatArray, Ids, Settings
from lambdamart_kit.distributed.threads import own_threads
from lambdamart_kit.files.chunk import Columns, stack
from lambdamart_kit.files.row_files import RowFiles
from lambdamart_kit.rankers.tree_ranker import TreeRanker


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of a partition.

    Attributes
    ----------
    number : int
        Of the partition they came from.
    X : (n, n_features) float32 array or CSR matrix
    y : (n,) float64
    qid : (n,) array
    sample_weight : (n,) float64, or None
    """

    number: int
    X: Features
    y: FloatArray
    qid: Array
    sample_weight: FloatArray | None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: Any) -> Part:
        """The given rows."""
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return replace(self, X=self.X[rows], y=self.y[rows], qid=self.qid[rows], sample_weight=weight)


@dataclass(frozen=True, eq=False)
class Source:
    """Rows that are not computed yet.

    Attributes
    ----------
    parts : list of Delayed
        Each gives a `Part`.
    widths_vary : bool
        Whether parts may have fewer features than others, as LETOR files do: those absent are 0.
    """

    parts: list[Any]
    widths_vary: bool = False


def collect(
    ranker: TreeRanker, X: Features, y: Any, qid: Ids, sample_weight: Any, *, suffix: str = ""
) -> Source:
    """Parts of row-aligned collections, or of a frame whose columns `y`, `qid` and `sample_weight` name.

    Parameters
    ----------
    ranker : TreeRanker
        Checks and encodes features as it would its own.
    X : Dask array or DataFrame; a local array or DataFrame is one partition
    y, qid, sample_weight : collection like X's rows, or name of a column of X
    suffix : str
        Added to parameter names in errors: ``"_val"`` for validation data.
    """
    columns = {"y": y, "qid": qid, "sample_weight": sample_weight}
    for name in ("y", "qid"):
        if columns[name] is None:
            raise ValueError(
                f"'{name}{suffix}' must be given to fit on a cluster, with an entry for each row of "
                f"'X{suffix}', or as the name of its column; got None"
            )
    split = {
        role: [column] * n_partitions(X) if isinstance(column, str) else split_like(X, column, role + suffix)
        for role, column in columns.items()
        if column is not None
    }
    make = delayed(_collected_part, pure=False)
    parts = [
        make(number, ranker, suffix, rows, {role: column[number] for role, column in split.items()})
        for number, rows in enumerate(delayed_partitions(X))
    ]
    return Source(parts)


def columns_of(X: Features, roles: Sequence[Any], suffix: str = "") -> Features:
    """What tells number, names and types of the features: X, or of a frame its columns without rows.

    Raises
    ------
    ValueError
        If one of `roles` is a name that is not a column of X.
    """
    named = [column for column in roles if isinstance(column, str)]
    missing = [column for column in named if column not in getattr(X, "columns", ())]
    if missing:
        raise ValueError(f"'X{suffix}' must be a frame with the columns that are named; it has no {missing}")
    meta: Features = getattr(X, "_meta", X) if hasattr(X, "columns") else X
    return meta.drop(columns=named) if named else meta


def from_files(ranker: TreeRanker, found: RowFiles) -> Source:
    """Parts of Parquet, CSV or LETOR files, one a file: see :mod:`lambdamart_kit.files.row_files`."""
    columns = replace(found.columns, features=found.feature_names)
    make = delayed(_file_part, pure=False)
    parts = [make(number, ranker, str(path), columns) for number, path in enumerate(found.paths)]
    return Source(parts, widths_vary=found.kind == "letor")


def n_partitions(X: Features) -> int:
    """Partitions of the rows of a collection; 1 for local data."""
    return int(X.numblocks[0]) if isinstance(X, da.Array) else int(getattr(X, "npartitions", 1))


def delayed_partitions(X: Features) -> list[Any]:
    """The partitions of the rows of a collection, each delayed; local data is one."""
    if isinstance(X, da.Array):
        if X.ndim == 2 and X.numblocks[1] > 1:
            X = X.rechunk({1: -1})
        return list(X.to_delayed().ravel())
    if hasattr(X, "to_delayed"):
        return list(X.to_delayed())
    return [X]


def split_like(X: Features, column: Any, name: str, *, to: str = "X") -> list[Any]:
    """The partitions of `column`, which must be those of `X` (called `to`); known chunks are cut to fit."""
    local = not hasattr(column, "dask")
    if _known_chunks(X) and (local or _known_chunks(column)):
        if len(column) != len(X):
            raise ValueError(
                f"{name!r} must have one entry a row of {to!r}: expected {len(X)}, got {len(column)}"
            )
        column = da.asarray(np.asarray(column) if local else column).rechunk({0: X.chunks[0]})
    elif n_partitions(column) != n_partitions(X):
        raise ValueError(
            f"{name!r} must have the partitions of {to!r}: expected {n_partitions(X)}, got "
            f"{n_partitions(column)}; take both from the same collection, or repartition both by the same "
            "divisions (a Dask array: rechunk)"
        )
    return delayed_partitions(column)


def _known_chunks(X: Features) -> bool:
    return isinstance(X, da.Array) and not any(math.isnan(size) for size in X.chunks[0])


def _collected_part(number: int, ranker: TreeRanker, suffix: str, X: Features, columns: Settings) -> Part:
    """Runs on a worker: check and convert one partition."""
    named = [column for column in columns.values() if isinstance(column, str)]
    values = {role: X[column] if isinstance(column, str) else column for role, column in columns.items()}
    try:
        features = X.drop(columns=named) if named else X
        return _checked(number, ranker, features, values, suffix)
    except ValueError as error:
        raise ValueError(f"partition {number}: {error}") from None


def _file_part(number: int, ranker: TreeRanker, path: str, columns: Columns) -> Part:
    """Runs on a worker: read one file."""
    chunks = list(RowFiles(path, columns, n_jobs=own_threads(ranker.n_jobs)).chunks())
    X = stack([chunk.X for chunk in chunks], max((chunk.X.shape[1] for chunk in chunks), default=0))
    values = {
        role: np.concatenate([getattr(chunk, role) for chunk in chunks]) if chunks else np.empty(0)
        for role in ("y", "qid", "sample_weight")
        if role != "sample_weight" or columns.sample_weight is not None
    }
    try:
        return _checked(number, ranker, X, values, "")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _checked(number: int, ranker: TreeRanker, X: Features, values: Settings, suffix: str) -> Part:
    labels = check_relevance(flat(values["y"]), name=f"y{suffix}")
    ids = np.asarray(values["qid"])
    weight = values.get("sample_weight")
    for name, rows in (("y", labels), ("qid", ids), ("sample_weight", weight)):
        if rows is not None and len(rows) != X.shape[0]:
            raise ValueError(
                f"'{name}{suffix}' must have one entry a row of 'X{suffix}': expected {X.shape[0]}, got "
                f"{len(rows)}"
            )
    if len(labels):
        Queries.from_qid(ids, len(labels))  # refuses missing ids
        features = ranker.training_features(X, name=f"X{suffix}")
    else:  # scikit-learn refuses to check features without rows
        features = np.empty((0, X.shape[1]), dtype=np.float32)
    return Part(
        number, features, labels, ids, None if weight is None else np.asarray(weight, dtype=np.float64)
    )
