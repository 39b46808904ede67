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

from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.gains import check_number
from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, IndexArray

# A rank-one update costs 2 d^2 operations in a scalar loop, and a new factorisation d^3 / 3 in BLAS. With
# more rows than this share of d, the factorisation is cheaper.
_UPDATE_SHARE = 0.05
# In a kernel of its own a factorisation costs about d / 8 rotations of the factor.
_ROTATION_COST = 8
# With fewer products than this a kernel beats LAPACK, whose threads take longer to wake up than to work.
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
        self._upper: FloatArray = np.empty_like(dense)
        self._refactor()

    @classmethod
    def prior(cls, n_features: int, *, reg_lambda: float = 1.0) -> Information:
        """The matrix before any observation, ``reg_lambda * I``."""
        check_number(reg_lambda, name="reg_lambda", least=0.0, open_ends="low")
        return cls(reg_lambda * np.eye(n_features))

    @property
    def n_features(self) -> int:
        """Order of the matrix, d."""
        return len(self.matrix)

    @property
    def log_det(self) -> float:
        """``log det H``."""
        # det H = (det R)^2, and the determinant of a triangular matrix is the product of its diagonal.
        return float(2.0 * np.log(np.diagonal(self._upper)).sum())

    @property
    def pivots(self) -> FloatArray:
        """Squared diagonal of the factor, (d,): near zero where a direction is all but undetermined."""
        return np.diagonal(self._upper) ** 2

    def copy(self) -> Information:
        """An independent matrix with the same content."""
        other = object.__new__(Information)
        other.matrix = self.matrix.copy()
        other._upper = self._upper.copy()
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
        # sum_k w_k z_k z_k' of rows that carry the root of their weight.
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
        # Rounding leaves the two triangles a bit apart.
        inverse = self.solve(np.eye(self.n_features))
        return (inverse + inverse.T) / 2

    def quadratic(self, Z: ArrayLike) -> FloatArray:
        """``z' H^-1 z`` of each row, (n,): the variance of ``z' theta`` and the square of LinUCB's width."""
        rows = self._directions(Z)
        if rows.size * self.n_features <= _SMALL_SOLVE:
            return _quadratics(self._upper[None], rows)[0]
        # z' (R' R)^-1 z = |R^-T z|^2: one triangular solve instead of two.
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
        # R^-1 e has the covariance R^-1 R^-T = H^-1 if e is standard normal.
        normal = rng.standard_normal((self.n_features, size))
        return np.asarray(mean) + scipy.linalg.solve_triangular(self._upper, normal).T

    def _refactor(self) -> None:
        try:
            upper = scipy.linalg.cholesky(self.matrix)
        except (scipy.linalg.LinAlgError, ValueError) as error:
            raise ValueError(
                f"'matrix' must be finite and positive definite ({error}); raise 'reg_lambda'"
            ) from None
        self._upper[...] = upper  # in place: it may be part of a stack

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
    # Append z as a row below R. Rotation i of that row with row i of R makes its entry i zero; after all of
    # them R is triangular again, and R' R has grown by z z'.
    for k in range(rows.shape[0]):
        z = rows[k]
        for i in range(len(z)):
            diagonal = upper[i, i]
            radius = np.hypot(diagonal, z[i])
            cosine = diagonal / radius
            sine = z[i] / radius
            upper[i, i] = radius
            for j in range(i + 1, len(z)):
                rotated = cosine * upper[i, j] + sine * z[j]
                z[j] = cosine * z[j] - sine * upper[i, j]
                upper[i, j] = rotated


class InformationStack:
    r"""Several information matrices of one order, such as one for each arm, updated and read in one call.

    Parameters
    ----------
    n_models, n_features : int
    reg_lambda : float
        Every matrix starts as ``reg_lambda * I``.

    Examples
    --------
    ``stack[m]`` is the m-th matrix as an :class:`Information` that shares its memory:

    >>> stack = InformationStack(2, 2, reg_lambda=1.0)
    >>> stack.update([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0]], np.array([0, 1, 0]))
    >>> stack[0].matrix.tolist(), stack[1].matrix.tolist()
    ([[3.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 5.0]])
    >>> stack.quadratic([[0.0, 1.0]]).round(12).tolist()
    [[1.0], [0.2]]
    """

    def __init__(self, n_models: int, n_features: int, *, reg_lambda: float = 1.0) -> None:
        prior = Information.prior(n_features, reg_lambda=reg_lambda)
        self._matrices = np.repeat(prior.matrix[None], n_models, axis=0)
        self._uppers = np.repeat(prior._upper[None], n_models, axis=0)

    def __len__(self) -> int:
        return len(self._matrices)

    def __getitem__(self, model: int) -> Information:
        view = object.__new__(Information)
        view.matrix = self._matrices[model]
        view._upper = self._uppers[model]
        return view

    def __setitem__(self, model: int, information: Information) -> None:
        self._matrices[model] = information.matrix
        self._uppers[model] = information._upper

    @classmethod
    def of(cls, matrices: ArrayLike) -> InformationStack:
        """A stack of given matrices, (n_models, d, d), each positive definite."""
        made = [Information(matrix) for matrix in np.asarray(matrices, dtype=np.float64)]
        stack = cls(len(made), made[0].n_features)
        for model, information in enumerate(made):
            stack[model] = information
        return stack

    @property
    def matrices(self) -> FloatArray:
        """The matrices, (n_models, d, d)."""
        return self._matrices

    def copy(self) -> InformationStack:
        """An independent stack with the same content."""
        other = object.__new__(InformationStack)
        other._matrices = self._matrices.copy()
        other._uppers = self._uppers.copy()
        return other

    def fade(self, keep: float, reg_lambda: float) -> None:
        """Turn every H into ``keep H + (1 - keep) reg_lambda I``: old rows count less, the prior does not."""
        diagonal = np.arange(self._matrices.shape[1])
        self._matrices *= keep
        self._matrices[:, diagonal, diagonal] += (1.0 - keep) * reg_lambda
        for model in range(len(self)):
            self[model]._refactor()

    def update(self, Z: ArrayLike, model: IndexArray) -> None:
        """Add ``z z'`` of each row (n, d) to the matrix that `model` (n,) names."""
        rows = self[0]._directions(Z)
        if rows.size * rows.shape[1] > _SMALL_SOLVE:
            for m in np.unique(model):
                self[m].update(rows[model == m])
        elif not _update_stack(self._matrices, self._uppers, rows.copy(), model):
            raise ValueError("'Z' makes a matrix that is not finite or not positive definite; scale it down")

    def solve(self, b: ArrayLike) -> FloatArray:
        """``H_m^-1 b_m`` of each matrix and row of `b`, (n_models, d)."""
        return np.asarray(_solve_stack(self._uppers, np.array(b, dtype=np.float64)))

    def quadratic(self, Z: ArrayLike) -> FloatArray:
        """``z' H_m^-1 z`` of each matrix and row, (n_models, n)."""
        rows = self[0]._directions(Z)
        if rows.size * rows.shape[1] > _SMALL_SOLVE:
            return np.stack([self[m].quadratic(rows) for m in range(len(self))])
        return np.asarray(_quadratics(self._uppers, rows))


@kernel
def _update_stack(matrices: FloatArray, uppers: FloatArray, rows: FloatArray, model: IndexArray) -> bool:
    """Add the rows to their matrices and factors; `rows` is overwritten. False if a factor breaks down."""
    n_models, d, _ = matrices.shape
    counts = np.bincount(model, minlength=n_models)
    # A matrix that gets few rows has its factor rotated row by row; one that gets many is factored anew, in
    # the second loop.
    for k in range(len(rows)):
        z = rows[k]
        matrix = matrices[model[k]]
        for i in range(d):
            for j in range(d):
                matrix[i, j] += z[i] * z[j]
        if counts[model[k]] * _ROTATION_COST <= d:
            _rank_one_updates(uppers[model[k]], rows[k : k + 1])
    for m in range(n_models):
        if counts[m] * _ROTATION_COST > d and not _factor(matrices[m], uppers[m]):
            return False
    return True


@kernel
def accumulate(totals: FloatArray, rows: FloatArray, weight: FloatArray, model: IndexArray) -> None:
    """Add ``weight_k rows_k`` to the row of `totals` (n_models, d) that ``model_k`` names, in place."""
    for k in range(len(rows)):
        total = totals[model[k]]
        for c in range(len(total)):
            total[c] += weight[k] * rows[k, c]


@kernel
def _factor(matrix: FloatArray, upper: FloatArray) -> bool:
    """``matrix = R' R`` into `upper`; False if the matrix is not finite or not positive definite."""
    d = len(matrix)
    upper[:] = matrix
    # Row i of the factor is row i of what is left of the matrix over the root of its pivot; then its outer
    # product is taken off the rows below.
    for i in range(d):
        row = upper[i]
        if not (0.0 < row[i] < np.inf):
            return False
        root = np.sqrt(row[i])
        for j in range(i, d):
            row[j] /= root
        for j in range(i + 1, d):
            below = upper[j]
            factor = row[j]
            below[i] = 0.0
            for c in range(j, d):
                below[c] -= factor * row[c]
    return True


@kernel
def _solve_stack(uppers: FloatArray, b: FloatArray) -> FloatArray:
    for m in range(len(uppers)):
        _solve(uppers[m], b[m])
    return b


@kernel
def _solve(upper: FloatArray, b: FloatArray) -> FloatArray:
    """``(R' R)^-1 b``, in place."""
    # Forward substitution with R', then backward substitution with R.
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
    # Stored by component, component i of all rows lies side by side, so the inner loops run along memory.
    transposed = rows.T.copy()
    columns = np.empty((d, n))
    for m in range(len(uppers)):
        upper = uppers[m]
        columns[:] = transposed
        for i in range(d):
            inverse = 1.0 / upper[i, i]
            solved = columns[i]
            for k in range(n):
                solved[k] *= inverse
                squares[m, k] += solved[k] * solved[k]
            for j in range(i + 1, d):
                factor = upper[i, j]
                column = columns[j]
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
        rows = np.concatenate([first, second])
        columns = np.concatenate([second, first])
        # Conversion to CSR adds up entries of the same place, which is what parallel edges need.
        off = scipy.sparse.csr_array(
            (np.concatenate([weight, weight]), (rows, columns)), shape=(n_items, n_items)
        )
        return scipy.sparse.csr_array(scipy.sparse.diags_array(off.sum(axis=1)) - off)
    # Every edge goes into one of the two triangles; adding the transpose makes the matrix symmetric.
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
    if not b.any():
        return np.zeros_like(b)
    # Items without comparisons have a zero on the diagonal and nothing to solve for.
    diagonal = np.asarray(matrix.diagonal(), dtype=np.float64)
    inverse = scipy.sparse.diags_array(1.0 / np.where(diagonal > 0, diagonal, 1.0))
    # In exact arithmetic conjugate gradients need at most one step a row. A graph that has not converged
    # after 1,000 does not mix, and the factorisation is quicker.
    steps = max(200, min(len(b), 1000))
    x, n_missing = scipy.sparse.linalg.cg(matrix, b, rtol=tolerance, maxiter=steps, M=inverse)
    return _factor_and_solve(matrix, b, diagonal) if n_missing else np.asarray(x)


def _factor_and_solve(matrix: Any, b: Array, diagonal: FloatArray) -> FloatArray:
    # The ridge makes the singular matrix positive definite; it is far below what a comparison weighs.
    ridge = scipy.sparse.diags_array(np.maximum(diagonal, diagonal.max()) * 1e-12)
    factor = scipy.sparse.linalg.splu(scipy.sparse.csc_array(matrix + ridge), permc_spec="MMD_AT_PLUS_A")
    solution: FloatArray = factor.solve(b)
    # One step of refinement takes the ridge's error out of the range of the matrix.
    return solution + factor.solve(b - matrix @ solution)
