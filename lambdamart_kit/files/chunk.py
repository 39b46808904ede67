"""A chunk of rows, the columns it is read from, and what reads them: shared by all formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lambdamart_kit.core.typing import Array, FloatArray

CHUNK_BYTES = 32 << 20  # of a chunk's features as float32


@dataclass(frozen=True, eq=False)
class Chunk:
    """Consecutive rows of one file.

    Attributes
    ----------
    path : Path
        The file.
    X : (n, n_features) float32 or float64 array
        Features; the number of columns may differ between chunks of LETOR files of unstated width.
    y, sample_weight : (n,) float64, or None
        Labels and weights, where they were asked for.
    qid, docid : (n,) array, or None
        Ids and names, where the files have them.
    n_bytes : int
        About how much of the file the rows took.
    """

    path: Path
    X: Array
    y: FloatArray | None
    qid: Array | None
    sample_weight: FloatArray | None
    docid: Array | None
    n_bytes: int


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are what. LETOR lines say it themselves.

    Attributes
    ----------
    y, qid, sample_weight, docid : str or None
        Names of the columns; None reads none. A column that is named is not a feature.
    features : tuple of str, or None
        The features, in order; None takes every column that has no other role.
    ignore : tuple of str
        Columns that are neither features nor anything else.
    required : bool
        Whether `y` and `qid` must be there; if not, they are read where they are.
    """

    y: str | None = "label"
    qid: str | None = "qid"
    sample_weight: str | None = None
    docid: str | None = "docid"
    features: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    required: bool = True

    @property
    def roles(self) -> dict[str, str]:
        """Parameter name to column name, of the columns that are not features."""
        named = {"y": self.y, "qid": self.qid, "sample_weight": self.sample_weight, "docid": self.docid}
        return {role: column for role, column in named.items() if column is not None}


class Reader(Protocol):
    """Rows of files of one kind."""

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the features, None where the files have none."""

    def chunks(self, n_features: int | None) -> Iterator[Chunk]:
        """The rows, in order."""


def widen(X: Array, n_features: int) -> Array:
    """`X` with absent features, which are 0 in LETOR, as columns of zeros."""
    if X.shape[1] == n_features:
        return X
    wide = np.zeros((len(X), n_features), dtype=X.dtype)
    wide[:, : X.shape[1]] = X
    return wide


def stack(parts: Iterable[Array], n_features: int) -> Array:
    """Chunks' features one below the other."""
    wide: list[Any] = [widen(X, n_features) for X in parts]
    return np.concatenate(wide) if wide else np.empty((0, n_features), dtype=np.float32)
