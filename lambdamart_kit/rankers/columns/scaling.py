"""Features for linear and neural scorers: columns of comparable size, without missing values.

Trees do not care about the scale of a feature; a sum of weighted features does, and so does a network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias, cast

import numpy as np

from lambdamart_kit.core.precision import merged_columns
from lambdamart_kit.core.rows import is_sparse
from lambdamart_kit.core.typing import Array, Features, FloatArray

Kind: TypeAlias = Literal["standard", "log1p", "quantile"] | None
KINDS = ("standard", "log1p", "quantile")

_ROWS = 1 << 15  # rows worked on at a time
_KNOTS = 257
# A column that varies less than this share of its mean is constant: the resolution of its precision.
_RESOLUTION = {"float32": 1e-7, "float64": 1e-14}


@dataclass(frozen=True, eq=False)
class InputTransform:
    """Features as training sees them: bent by `kind`, then centred and divided by their spread.

    ============ ============================================================================
    `kind`       before centring and scaling
    ============ ============================================================================
    "standard"   as they are
    "log1p"      ``sign(x) log(1 + |x|)``, for counts and other heavy tails
    "quantile"   share of the training rows below, for any tail at all; dense features only
    None         as they are, and neither centred nor scaled
    ============ ============================================================================

    A missing value becomes the column's mean (0 in a sparse matrix). Sparse matrices are not centred, so they
    stay sparse.

    Attributes
    ----------
    kind : {"standard", "log1p", "quantile"} or None
    mean, scale : (n_features,) float64
        Of the bent columns. The scale of a constant column is 1.
    knots : (n_knots, n_features) float32 or float64
        Quantiles of each column, in the precision that features are bent in; no rows unless kind is
        "quantile".

    Examples
    --------
    >>> X = np.array([[1.0, 7.0], [3.0, 7.0]], dtype=np.float32)
    >>> InputTransform.fit(X, "standard")(X).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """

    kind: Kind
    mean: FloatArray
    scale: FloatArray
    knots: Array

    @classmethod
    def fit(cls, X: Features, kind: Kind) -> Self:
        """Learn the columns of X, an (n_samples, n_features) array or CSR matrix, float32 or float64.

        Raises
        ------
        ValueError
            If `kind` is "quantile" and X is sparse.
        """
        n_features = X.shape[1]
        dtype = np.float64 if kind is not None and merged_columns(X) else np.float32
        X = X.astype(dtype, copy=False)
        knots: Array = np.empty((0, n_features), dtype=dtype)
        if kind == "quantile":
            if is_sparse(X):
                raise ValueError(
                    "'input_transform' must be 'standard', 'log1p' or None with a sparse 'X'; got 'quantile'"
                    ", which would make it dense"
                )
            knots = _column_quantiles(X)
        plain = cls(kind, np.zeros(n_features), np.ones(n_features), knots)
        if kind is None:
            return plain
        mean, deviation = _moments(plain, X)
        scale = np.where(deviation > _RESOLUTION[str(X.dtype)] * np.abs(mean), deviation, 1.0)
        return cls(kind, np.zeros(n_features) if is_sparse(X) else mean, scale, knots)

    def __call__(self, X: Features) -> Any:
        """Transformed copy of X: float32, dense or CSR as X is.

        Where float32 would merge values, they are centred in float64 before they become float32.
        """
        bent = self.bend(X)
        if is_sparse(X):
            bent.data[:] = np.nan_to_num(bent.data) / self.scale[bent.indices]
            return bent.astype(np.float32, copy=False)
        bent -= self.mean.astype(bent.dtype)
        bent /= self.scale.astype(bent.dtype)
        np.nan_to_num(bent, copy=False)
        return bent.astype(np.float32, copy=False)

    def bend(self, X: Features) -> Any:
        """Copy of X with every column bent by `kind`, not yet centred or scaled."""
        bent = X.astype(self.knots.dtype, copy=True)
        if self.kind == "log1p":
            values = bent.data if is_sparse(bent) else bent
            np.copysign(np.log1p(np.abs(values)), values, out=values)
        elif self.kind == "quantile":
            for j in range(bent.shape[1]):
                bent[:, j] = _share_below(bent[:, j], self.knots[:, j])
        return bent

    def arrays(self) -> dict[str, Array]:
        """Everything but `kind`, to be saved."""
        return {"mean": self.mean, "scale": self.scale, "knots": self.knots}

    @classmethod
    def of_arrays(cls, kind: str | None, arrays: dict[str, Array]) -> Self:
        """The transform that `arrays` gave."""
        return cls(cast(Kind, kind), arrays["mean"], arrays["scale"], arrays["knots"])


def row_blocks(n_samples: int) -> Iterator[slice]:
    """Slices that cover all rows; each is small enough for a transformed copy in memory."""
    for start in range(0, n_samples, _ROWS):
        yield slice(start, min(start + _ROWS, n_samples))


def _moments(transform: InputTransform, X: Features) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of the bent columns over the values that are not missing."""
    if is_sparse(X):
        bent = transform.bend(X)
        bent.data[:] = np.nan_to_num(bent.data)
        bent = bent.astype(np.float64)
        mean = np.asarray(bent.mean(axis=0)).ravel()
        variance = np.asarray(bent.multiply(bent).mean(axis=0)).ravel() - mean**2
        return mean, np.sqrt(np.maximum(variance, 0.0))
    total = np.zeros(X.shape[1])
    count = np.zeros(X.shape[1])
    for rows in row_blocks(X.shape[0]):
        bent = transform.bend(X[rows])
        total += np.nansum(bent, axis=0, dtype=np.float64)
        count += (~np.isnan(bent)).sum(axis=0)
    mean = total / np.maximum(count, 1.0)
    squares = np.zeros(X.shape[1])
    for rows in row_blocks(X.shape[0]):
        squares += np.nansum((transform.bend(X[rows]) - mean) ** 2, axis=0)
    return mean, np.sqrt(squares / np.maximum(count, 1.0))


def _column_quantiles(X: Array) -> Array:
    knots = np.zeros((_KNOTS, X.shape[1]), dtype=X.dtype)
    for j in range(X.shape[1]):
        column = X[:, j]
        known = np.sort(column[~np.isnan(column)])
        if len(known):
            knots[:, j] = known[np.linspace(0, len(known) - 1, _KNOTS).round().astype(np.intp)]
    return knots


def _share_below(column: Array, knots: Array) -> FloatArray:
    """Position of each value among the knots, 0 .. 1; the middle of the run where knots repeat."""
    at = np.linspace(0.0, 1.0, len(knots))
    from_left = np.interp(column, knots, at)
    from_right = 1.0 - np.interp(-column, -knots[::-1], at)
    share: FloatArray = 0.5 * (from_left + from_right)
    return share
