"""A linear reward: logistic regression on differences of features, without forming a difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import LinearOperator, cg

from lambdamart_kit.core.information import laplacian
from lambdamart_kit.core.pairs import PairLoss
from lambdamart_kit.core.typing import FloatArray, IndexArray

_MAX_ITER = 50


@dataclass(frozen=True, eq=False)
class LinearReward:
    """``reward = X @ coef``; there is no intercept, since only differences are observed.

    Attributes
    ----------
    coef : (n_features,) float64
    """

    coef: FloatArray

    def predict(self, X: Any) -> FloatArray:
        """Reward of each row, (n,) float64."""
        return np.asarray(X @ self.coef, dtype=np.float64).ravel()


def fit_linear(X: Any, loss: PairLoss, *, reg_lambda: float = 1.0) -> LinearReward:
    r"""Minimise the pair loss of ``X @ coef`` plus ``reg_lambda / 2 * sum((coef * scale)**2)`` by Newton-CG.

    The gradient is :math:`X^\top g`, g the loss's gradient on the score of each row; the Hessian is
    :math:`X^\top L X`, L the Laplacian of the comparison graph with weights p (1 - p). Neither needs the
    differences, so memory is that of X however many pairs a response stands in. `scale` is each column's
    standard deviation: the penalty does not depend on units.

    Parameters
    ----------
    X : (n, n_features) array or CSR
    loss : PairLoss
        Over the rows of X.
    reg_lambda : float
    """
    scale = _deviations(X)
    penalty = reg_lambda * scale**2
    coef = np.zeros(X.shape[1])
    value = loss.loss(np.zeros(X.shape[0]))
    for _ in range(_MAX_ITER):
        scores = np.asarray(X @ coef, dtype=np.float64).ravel()
        terms = loss.terms(scores)
        gradient = np.asarray(X.T @ loss.gradient_hessian(scores)[0]).ravel() + penalty * coef
        curvature = laplacian(loss.first, loss.second, terms.hessian, loss.n_items, sparse=True)
        step = _step(X, curvature, penalty, gradient, terms.hessian.sum() * scale**2)
        if np.abs(step * scale).max(initial=0.0) < 1e-7:
            break
        proposed, share = np.inf, 2.0
        while not proposed <= value + 1e-12 * abs(value) and share > 1e-9:
            share /= 2.0
            proposal = coef + share * step
            proposed = loss.loss(X @ proposal) + 0.5 * float(np.sum(penalty * proposal**2))
        coef, value = proposal, proposed
    return LinearReward(coef)


def _step(
    X: Any, curvature: Any, penalty: FloatArray, gradient: FloatArray, typical: FloatArray
) -> FloatArray:
    def hessian_times(v: FloatArray) -> FloatArray:
        return np.asarray(X.T @ (curvature @ np.asarray(X @ v).ravel())).ravel() + penalty * v.ravel()

    n = len(gradient)
    # Columns of unit spread have about equal curvature, so their scale is the preconditioner.
    precondition = LinearOperator((n, n), matvec=lambda v: v.ravel() / np.maximum(typical + penalty, 1e-12))
    step, _ = cg(
        LinearOperator((n, n), matvec=hessian_times), -gradient, rtol=1e-6, maxiter=200, M=precondition
    )
    return np.asarray(step, dtype=np.float64)


def _deviations(X: Any) -> FloatArray:
    if scipy.sparse.issparse(X):
        mean = np.asarray(X.mean(axis=0)).ravel()
        variance = np.asarray(X.multiply(X).mean(axis=0)).ravel() - mean**2
    else:
        variance = np.asarray(X).var(axis=0, dtype=np.float64)
    deviation: FloatArray = np.sqrt(np.maximum(variance, 0.0))
    # A constant column says nothing about a difference; any positive scale keeps its coefficient at zero.
    return np.where(deviation > 0, deviation, 1.0)


def select_rows(first: IndexArray, second: IndexArray) -> tuple[IndexArray, IndexArray, IndexArray]:
    """Rows that stand in a pair, ascending, and both ends of each pair as positions among them."""
    rows, code = np.unique(np.concatenate([first, second]), return_inverse=True)
    return rows, code[: len(first)], code[len(first) :]
