"""Logistic regression without intercept, with standard errors that hold for votes that hang together."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import expit, ndtr

from lambdamart_kit.core.typing import FloatArray, IndexArray

_MOST_STEPS = 50


def effect_table(X: pd.DataFrame, outcome: FloatArray, cluster: IndexArray) -> pd.DataFrame:
    """Log-odds of the outcome for each unit of each column, all columns together.

    Without an intercept nothing changes if rows are mirrored: columns negated and outcomes taken from 1.

    Parameters
    ----------
    X : (n, d) DataFrame
        First response's value less the second's, or 1 for an advantage of the first.
    outcome : (n,) float64
        1 if the first response won, 0 if it lost, between for ties and soft votes.
    cluster : (n,) intp
        Rows of one cluster (a prompt) hang together: the sandwich sums their scores.

    Returns
    -------
    DataFrame
        ``term``, ``estimate``, ``se``, ``z``, ``p``.

    Raises
    ------
    ValueError
        If no finite estimate exists: the columns predict the outcomes without error, or depend on each other.
    """
    values = X.to_numpy(np.float64)
    scale = np.sqrt(np.mean(values**2, axis=0))
    if np.any(scale == 0.0):
        raise ValueError(f"column {X.columns[int(np.argmin(scale))]!r} is zero in every row")
    Z = values / scale
    beta = np.zeros(Z.shape[1])
    for _ in range(_MOST_STEPS):
        p = expit(Z @ beta)
        hessian = Z.T @ (Z * (p * (1.0 - p))[:, None])
        if np.linalg.matrix_rank(hessian, tol=1e-10 * max(1.0, np.trace(hessian)), hermitian=True) < len(
            beta
        ):
            break
        step = np.linalg.solve(hessian, Z.T @ (outcome - p))
        beta += np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-9:
            return _tested(list(X.columns), beta, scale, hessian, Z * (outcome - p)[:, None], cluster)
    raise ValueError("no finite estimate exists: the columns predict the votes or each other without error")


def _tested(
    terms: list[str],
    beta: FloatArray,
    scale: FloatArray,
    hessian: FloatArray,
    scores: FloatArray,
    cluster: IndexArray,
) -> pd.DataFrame:
    _, code = np.unique(cluster, return_inverse=True)
    n_clusters = int(code.max()) + 1
    sums = np.zeros((n_clusters, len(beta)))
    np.add.at(sums, code, scores)
    bread = np.linalg.inv(hessian)
    covariance = bread @ (sums.T @ sums) @ bread * (n_clusters / max(1, n_clusters - 1))
    estimate = beta / scale
    se = np.sqrt(np.diagonal(covariance)) / scale
    z = estimate / np.where(se > 0, se, np.nan)
    return pd.DataFrame({"term": terms, "estimate": estimate, "se": se, "z": z, "p": 2.0 * ndtr(-np.abs(z))})
