"""Matrices of features as learners take them, and views of chosen rows of one."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from lambdamart_kit.core.precision import feature_dtype
from lambdamart_kit.core.typing import Array, ArrayLike, Features, IndexArray


@dataclass(frozen=True, eq=False)
class RowView:
    """Chosen rows of a matrix, without a copy: features are the largest thing in memory.

    Attributes
    ----------
    source : (n, n_features) float32 or float64 array or CSR matrix
    rows : (n_samples,) intp
        Row of `source` that stands at each place.

    Examples
    --------
    >>> view = RowView(np.array([[1.0], [2.0], [3.0]]), np.array([2, 0]))
    >>> view.shape, view.gather().ravel().tolist()
    ((2, 1), [3.0, 1.0])
    """

    source: Any
    rows: IndexArray

    @classmethod
    def of(cls, X: Features) -> RowView:
        """`X` itself if it is a view, else a view of all its rows."""
        return X if isinstance(X, cls) else cls(X, np.arange(X.shape[0], dtype=np.intp))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features."""
        return len(self.rows), int(self.source.shape[1])

    @property
    def is_whole(self) -> bool:
        """Whether these are all rows of `source`, in its order."""
        # As many rows as the source has, each after the one before, can only be all of them in order.
        return len(self.rows) == self.source.shape[0] and bool((self.rows[1:] > self.rows[:-1]).all())

    def take(self, places: Array) -> RowView:
        """View of the rows at these `places`."""
        return RowView(self.source, self.rows[places])

    def gather(self) -> Any:
        """A copy of the rows."""
        return self.source[self.rows]

    def column(self, j: int) -> Array:
        """Column `j` as a contiguous array, float32 or float64."""
        whole = self.source[:, [j]].toarray()[:, 0] if sparse.issparse(self.source) else self.source[:, j]
        return np.ascontiguousarray(whole[self.rows], dtype=feature_dtype(whole.dtype))


def flat(y: ArrayLike) -> Array:
    """A single column is taken as the vector it is."""
    labels = np.asarray(y)
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def is_sparse(X: Features) -> bool:
    """Whether X is a scipy sparse matrix or array."""
    return bool(sparse.issparse(X))


def as_csr(X: Features, *, copy: bool = False) -> Any:
    """Any sparse input as a CSR matrix with 32-bit indices where they fit.

    LightGBM and CatBoost do not know scipy's sparse arrays, nor CatBoost 64-bit indices.
    """
    matrix: Any = sparse.csr_matrix(X, copy=copy)
    if matrix.indices.dtype != np.int32 and matrix.nnz < 2**31:
        narrow = (matrix.data, matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32))
        matrix = sparse.csr_matrix(narrow, shape=matrix.shape)
    return matrix


def column_index(value: Any) -> int:
    """A whole number as a column's index.

    Raises
    ------
    TypeError
        If it is anything else: True is no column, and 2.0 is most often a value that went astray.
    """
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"a column is a whole number; got {value!r}")
    return operator.index(value)


def check_codes(X: Features, columns: Sequence[int]) -> None:
    """Categorical columns must hold whole numbers 0 .. 2**24 - 1, or NaN."""
    for j in columns:
        values = X[:, [j]].data if is_sparse(X) else X[:, j]
        with np.errstate(invalid="ignore"):
            bad = np.flatnonzero(~(np.isnan(values) | ((values >= 0) & (values == np.floor(values)))))
        # float32 holds every whole number up to 2**24. From there on it would merge neighbouring codes.
        if len(bad) or np.any(values >= 2**24):
            example = values[bad[0]] if len(bad) else np.nanmax(values)
            raise ValueError(
                f"'categorical_features' column {j} must hold codes 0, 1, 2, ... below 2**24; got "
                f"{example:g}; pass a DataFrame with a category column and the codes are made for you"
            )
