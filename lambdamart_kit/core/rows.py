"""Rows of a matrix in an order of their own, read where they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from lambdamart_kit.core.typing import Array, Float32Array, IndexArray


@dataclass(frozen=True, eq=False)
class RowView:
    """Chosen rows of a matrix, without a copy: features are the largest thing in memory.

    Attributes
    ----------
    source : (n, n_features) float32 array or CSR matrix
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
    def of(cls, X: Any) -> RowView:
        """`X` itself if it is a view, else a view of all its rows."""
        return X if isinstance(X, cls) else cls(X, np.arange(X.shape[0], dtype=np.intp))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features."""
        return len(self.rows), int(self.source.shape[1])

    @property
    def is_whole(self) -> bool:
        """Whether these are all rows of `source`, in its order."""
        return len(self.rows) == self.source.shape[0] and bool((self.rows[1:] > self.rows[:-1]).all())

    def take(self, places: Array) -> RowView:
        """View of the rows at these `places`."""
        return RowView(self.source, self.rows[places])

    def gather(self) -> Any:
        """A copy of the rows."""
        return self.source[self.rows]

    def column(self, j: int) -> Float32Array:
        """Column `j` as a contiguous float32 array."""
        whole = self.source[:, [j]].toarray()[:, 0] if sparse.issparse(self.source) else self.source[:, j]
        return np.ascontiguousarray(whole[self.rows], dtype=np.float32)
