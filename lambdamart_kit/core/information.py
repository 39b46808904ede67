"""The information matrix ``H = lambda I + sum_k w_k z_k z_k'`` and what is read off it.

One matrix answers four questions. With ``w = p (1 - p)`` and ``z`` the difference of two items, ``H`` is the
Hessian of the Bradley-Terry loss: its inverse gives confidence intervals. With ``w = 1`` and ``z`` a context,
it is LinUCB's ``A``: ``sqrt(z' H^-1 z)`` is the width of the bound. Gaussian draws with covariance ``H^-1``
are Thompson's posterior. ``log(1 + w z' H^-1 z)`` is what one more observation adds to ``log det H``, the
D-optimal value of asking for it.

When every ``z`` is the difference of two one-hot items, ``sum_k w_k z_k z_k'`` is the weighted Laplacian of
the comparison graph: :func:`laplacian` builds it without the one-hots, dense or sparse, and
:func:`solve_sparse` solves with the sparse one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse

from lambdamart_kit.core.jit import kernel
from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, IndexArray

# A rank-one update costs 2 d^2 flops in a scalar loop, a new factorisation d^3 / 3 in BLAS: past this share
# of d rows the factorisation is cheaper.
_UPDATE_SHARE = 0.05
# Below so many products a kernel beats LAPACK, whose threads take longer to wake than the work takes.
_SMALL_SOLVE = 50_000


class Information:
    r"""A positive definite information matrix kept as its Cholesky factor.

    .. math:: H = \lambda I + \sum_k w_k z_k z_k^\top = R^\top R

    Parameters
    ----------
    matrix : (d, d) array
        Symmetric positive definite. Use :meth:`prior` to start from ``lambda I``.

    Raises
    ------
    ValueError
        If `matrix` is not square, not finite or not positive definite.

    Examples
    --------
    The LinUCB matrix after the contexts (1, 0), (1, 1), (0, 1):

    >>> H = Information.prior(2, reg_lambda=1.0)
    >>> H.update([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    >>> H.matrix.tolist()
    [[3.0, 1.0], [1.0, 3.0]]
    >>> H.solve([1.0, 1.0]).round(12).tolist()
    [0.25, 0.25]
    >>> round(H.log_det, 6), H.quadratic([[1.0, 1.0]]).round(6).tolist()
    (2.079442, [0.5])

    References
    ----------
    Li, Chu, Langford, Schapire (2010), "A contextual-bandit approach to personalized news article
    recommendation", algorithm 1. Hunter (2004), "MM algorithms for generalized Bradley-Terry models",
    section 6 (asymptotic covariance).
    """

    def __init__(self, matrix: ArrayLike) -> None:
        dense = np.array(matrix, dtype=np.float64)
        if dense.ndim != 2 or dense.shape[0] != dense.shape[1]:
            raise ValueError(f"'matrix' must be square; got shape {dense.shape}")
        self.matrix: FloatArray = dense
        self._refactor()

    @classmethod
    def prior(cls, n_features: int, *, reg_lambda: float = 1.0) -> Information:
        """The matrix before any observation, ``reg_lambda * I``."""
        if not (np.isfinite(reg_lambda) and reg_lambda > 0):
            raise ValueError(f"'reg_lambda' must be finite and > 0; got {reg_lambda}")
        return cls(reg_lambda * np.eye(n_features))

    @property
    def n_features(self) -> int:
        """Order of the matrix, d."""
        return len(self.matrix)

    @property
    def log_det(self) -> float:
        """``log det H``."""
        return float(2.0 * np.log(np.diagonal(self._upper)).sum())

    @property
    def pivots(self) -> FloatArray:
        """Squared diagonal of the factor, (d,): near zero where a direction is all but undetermined."""
        return np.diagonal(self._upper) ** 2

    def copy(self) -> Information:
        """An independent matrix with the same content."""
        other = object.__new__(Information)
        other.matrix, other._upper = self.matrix.copy(), self._upper.copy()
        return other

    def update(self, Z: ArrayLike, weight: ArrayLike | None = None) -> None:
        """Add ``sum_k weight_k z_k z_k'`` in place: rank-one updates for a few rows, else a new factor.

        Parameters
        ----------
        Z : (n, d) array or (d,) array
            Observed directions.
        weight : (n,) array, optional
            Not negative; one each when left out.
        """
        rows = self._directions(Z)
        if weight is not None:
            rows = rows * np.sqrt(_check_weight(weight, len(rows)))[:, None]
        self.matrix += rows.T @ rows
        few = len(rows) <= max(1.0, _UPDATE_SHARE * self.n_features)
        if few or rows.size * self.n_features <= _SMALL_SOLVE:
            _rank_one_updates(self._upper, np.array(rows, order="C"))
        else:
            self._refactor()

    def solve(self, b: ArrayLike) -> FloatArray:
        """``H^-1 b`` for a vector (d,) or for columns (d, m)."""
        if np.ndim(b) == 1 and self.n_features**2 <= _SMALL_SOLVE:
            return np.asarray(_solve(self._upper, np.array(b, dtype=np.float64)))
        solved: FloatArray = scipy.linalg.cho_solve((self._upper, False), np.asarray(b, dtype=np.float64))
        return solved

    def inverse(self) -> FloatArray:
        """``H^-1``, symmetric to the last bit."""
        inverse = self.solve(np.eye(self.n_features))
        return (inverse + inverse.T) / 2

    def quadratic(self, Z: ArrayLike) -> FloatArray:
        """``z' H^-1 z`` of each row, (n,): the variance of ``z' theta`` and the square of LinUCB's width."""
        rows = self._directions(Z)
        if rows.size * self.n_features <= _SMALL_SOLVE:
            return _quadratics(self._upper[None], rows)[0]
        half = scipy.linalg.solve_triangular(self._upper, rows.T, trans="T")
        return np.einsum("dn,dn->n", half, half)

    def log_det_gain(self, Z: ArrayLike, weight: ArrayLike | None = None) -> FloatArray:
        """What each row alone would add to ``log det H``: ``log(1 + weight z' H^-1 z)``, (n,)."""
        quadratic = self.quadratic(Z)
        if weight is not None:
            quadratic = quadratic * _check_weight(weight, len(quadratic))
        return np.log1p(quadratic)

    def sample(self, mean: ArrayLike, rng: np.random.Generator, *, size: int = 1) -> FloatArray:
        """Draws from the normal distribution with this `mean` (d,) and covariance ``H^-1``, (size, d)."""
        normal = rng.standard_normal((self.n_features, size))
        return np.asarray(mean) + scipy.linalg.solve_triangular(self._upper, normal).T

    def _refactor(self) -> None:
        try:
            upper = scipy.linalg.cholesky(self.matrix)
        except (scipy.linalg.LinAlgError, ValueError) as error:
            raise ValueError(
                f"'matrix' must be finite and positive definite ({error}); raise 'reg_lambda'"
            ) from None
        self._upper: FloatArray = np.ascontiguousarray(upper)

    def _directions(self, Z: ArrayLike) -> FloatArray:
        rows = np.atleast_2d(np.asarray(Z, dtype=np.float64))
        if rows.ndim != 2 or rows.shape[1] != self.n_features:
            raise ValueError(f"'Z' must have {self.n_features} columns; got shape {rows.shape}")
        return rows


def _check_weight(weight: ArrayLike, n_rows: int) -> FloatArray:
    values = np.asarray(weight, dtype=np.float64)
    if values.ndim == 0:
        values = np.full(n_rows, float(values))
    if values.shape != (n_rows,) or not np.all(values >= 0):
        raise ValueError(f"'weight' must hold {n_rows} values >= 0; got shape {values.shape}")
    return values


@kernel
def _rank_one_updates(upper: FloatArray, rows: FloatArray) -> None:
    """Turn ``R' R`` into ``R' R + sum_k z_k z_k'`` in place by Givens rotations; `rows` is overwritten."""
    for k in range(rows.shape[0]):
        z = rows[k]
        for i in range(len(z)):
            diagonal = upper[i, i]
            radius = np.hypot(diagonal, z[i])
            cosine, sine = diagonal / radius, z[i] / radius
            upper[i, i] = radius
            for j in range(i + 1, len(z)):
                rotated = cosine * upper[i, j] + sine * z[j]
                z[j] = cosine * z[j] - sine * upper[i, j]
                upper[i, j] = rotated


def quadratics(models: Sequence[Information], Z: ArrayLike) -> FloatArray:
    """``z' H_m^-1 z`` for each of several matrices of one order, (n_models, n): all arms in one call.

    Examples
    --------
    >>> models = [Information.prior(2, reg_lambda=1.0), Information.prior(2, reg_lambda=4.0)]
    >>> quadratics(models, [[2.0, 0.0]]).tolist()
    [[4.0], [1.0]]
    """
    rows = models[0]._directions(Z)
    if rows.size * models[0].n_features > _SMALL_SOLVE:
        return np.stack([model.quadratic(rows) for model in models])
    return np.asarray(_quadratics(np.stack([model._upper for model in models]), rows))


@kernel
def _solve(upper: FloatArray, b: FloatArray) -> FloatArray:
    """``(R' R)^-1 b``, in place."""
    for i in range(len(b)):
        b[i] /= upper[i, i]
        for j in range(i + 1, len(b)):
            b[j] -= upper[i, j] * b[i]
    for i in range(len(b) - 1, -1, -1):
        for j in range(i + 1, len(b)):
            b[i] -= upper[i, j] * b[j]
        b[i] /= upper[i, i]
    return b


@kernel
def _quadratics(uppers: FloatArray, rows: FloatArray) -> FloatArray:
    """``|R_m^-T z|^2`` of each factor and row: forward substitution, all rows abreast to vectorise."""
    n, d = rows.shape
    squares = np.zeros((len(uppers), n))
    columns = np.empty((d, n))
    for m in range(len(uppers)):
        upper = uppers[m]
        for k in range(n):
            for i in range(d):
                columns[i, k] = rows[k, i]
        for i in range(d):
            inverse, solved = 1.0 / upper[i, i], columns[i]
            for k in range(n):
                solved[k] *= inverse
                squares[m, k] += solved[k] * solved[k]
            for j in range(i + 1, d):
                factor, column = upper[i, j], columns[j]
                for k in range(n):
                    column[k] -= factor * solved[k]
    return squares


def laplacian(
    first: IndexArray, second: IndexArray, weight: FloatArray, n_items: int, *, sparse: bool = False
) -> Any:
    r"""Weighted graph Laplacian :math:`\sum_k w_k (e_{i_k} - e_{j_k})(e_{i_k} - e_{j_k})^\top`.

    Parameters
    ----------
    first, second : (m,) intp
        The two items of each edge; parallel edges add up.
    weight : (m,) float64
        Weight of each edge.
    n_items : int
        Order of the matrix.
    sparse : bool
        CSR array instead of a dense one.

    Returns
    -------
    (n_items, n_items) array or CSR array
        Rows sum to zero; the rank is `n_items` less the number of connected components.

    Examples
    --------
    >>> laplacian(np.array([0]), np.array([1]), np.array([2.0]), 2).tolist()
    [[2.0, -2.0], [-2.0, 2.0]]
    """
    if sparse:
        rows, columns = np.concatenate([first, second]), np.concatenate([second, first])
        off = scipy.sparse.csr_array(
            (np.concatenate([weight, weight]), (rows, columns)), shape=(n_items, n_items)
        )
        return scipy.sparse.csr_array(scipy.sparse.diags_array(off.sum(axis=1)) - off)
    half = np.bincount(first * n_items + second, weight, n_items * n_items).reshape(n_items, n_items)
    off_diagonal = half + half.T
    return np.diag(off_diagonal.sum(axis=1)) - off_diagonal


def solve_sparse(matrix: Any, b: FloatArray, *, tolerance: float = 1e-10) -> FloatArray:
    """Solve a sparse symmetric positive semi-definite system whose right-hand side lies in its range.

    Conjugate gradients with the diagonal as preconditioner: comparison graphs mix fast, so a few dozen
    steps do where a factorisation would fill in. Graphs that do not mix (chains, grids) exhaust the steps
    and go to a sparse factorisation of the system with a ridge of 1e-12 of its diagonal, which they suit.

    Parameters
    ----------
    matrix : (n, n) sparse array
    b : (n,) float64
    tolerance : float
        Residual allowed, relative to `b`.

    Returns
    -------
    (n,) float64
        One solution; it differs from others by an element of the null space.

    Examples
    --------
    >>> path = laplacian(np.array([0, 1]), np.array([1, 2]), np.ones(2), 3, sparse=True)
    >>> x = solve_sparse(path, np.array([1.0, 0.0, -1.0]))
    >>> (x - x.mean()).round(6).tolist()
    [1.0, 0.0, -1.0]
    """
    norm = float(np.linalg.norm(b))
    if norm == 0.0:
        return np.zeros_like(b)
    diagonal = np.asarray(matrix.diagonal(), dtype=np.float64)
    scale = np.where(diagonal > 0, diagonal, 1.0)
    x = np.zeros_like(b)
    residual = b.copy()
    direction = residual / scale
    product = float(residual @ direction)
    for _ in range(max(200, min(len(b), 1000))):
        image = matrix @ direction
        step = product / float(direction @ image)
        x += step * direction
        residual -= step * image
        if np.linalg.norm(residual) <= tolerance * norm:
            return x
        preconditioned = residual / scale
        previous, product = product, float(residual @ preconditioned)
        direction = preconditioned + (product / previous) * direction
    return _factor_and_solve(matrix, b, diagonal)


def _factor_and_solve(matrix: Any, b: Array, diagonal: FloatArray) -> FloatArray:
    from scipy.sparse.linalg import splu

    ridge = scipy.sparse.diags_array(np.maximum(diagonal, diagonal.max()) * 1e-12)
    factor = splu(scipy.sparse.csc_array(matrix + ridge), permc_spec="MMD_AT_PLUS_A")
    solution: FloatArray = factor.solve(b)
    # One step of refinement takes the ridge's error out of the range of the matrix.
    return solution + factor.solve(b - matrix @ solution)
