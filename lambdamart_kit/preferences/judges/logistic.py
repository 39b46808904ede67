"""Logistic regression without intercept, with standard errors that hold for votes that hang together."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import norm, t

from lambdamart_kit.core.typing import FloatArray, IndexArray

_MOST_STEPS = 50
FEW_CLUSTERS = 20  # below this many a sandwich of clusters is often far too small


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
        ``term``, ``estimate``, ``se``, ``z``, ``p``; see :func:`with_tests`.

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
            scores = Z * (outcome - p)[:, None]
            return with_tests(
                list(X.columns),
                beta / scale,
                _standard_errors(hessian, scores, cluster) / scale,
                _standard_errors(hessian, scores, np.arange(len(scores))) / scale,
                clusters_of(values, cluster),
            )
    raise ValueError("no finite estimate exists: the columns predict the votes or each other without error")


def clusters_of(values: FloatArray, cluster: IndexArray) -> IndexArray:
    """Number of clusters in which each column of (n, d) values is not zero, (d,)."""
    return np.array([len(np.unique(cluster[column != 0.0])) for column in values.T], dtype=np.intp)


def with_tests(
    terms: list[str],
    estimate: FloatArray,
    clustered: FloatArray,
    independent: FloatArray,
    n_clusters: IndexArray,
) -> pd.DataFrame:
    """Estimates with a standard error and a test that few clusters do not deceive.

    The sum of scores over few clusters says little of their spread: over one cluster it is zero, whatever
    the votes. So with fewer than 20 clusters the standard error is not below that of independent votes, and
    p is that of Student's t with one degree of freedom less than there are clusters.

    Parameters
    ----------
    terms : list of str
    estimate : (d,) float64
    clustered, independent : (d,) float64
        Standard errors with scores summed over clusters, and of independent rows.
    n_clusters : (d,) intp
        Clusters that a column is not zero in.

    Returns
    -------
    DataFrame
        ``term``, ``estimate``, ``se``, ``z``, ``p``.
    """
    few = n_clusters < FEW_CLUSTERS
    se = np.where(few, np.maximum(clustered, independent), clustered)
    z = estimate / np.where(se > 0, se, np.nan)
    several = n_clusters > 1
    p = np.where(several, 2.0 * t.sf(np.abs(z), np.maximum(n_clusters - 1, 1)), 2.0 * norm.sf(np.abs(z)))
    return pd.DataFrame({"term": terms, "estimate": estimate, "se": se, "z": z, "p": p})


def _standard_errors(hessian: FloatArray, scores: FloatArray, cluster: IndexArray) -> FloatArray:
    _, code = np.unique(cluster, return_inverse=True)
    n_clusters = int(code.max()) + 1
    sums = np.zeros((n_clusters, scores.shape[1]))
    np.add.at(sums, code, scores)
    bread = np.linalg.inv(hessian)
    covariance = bread @ (sums.T @ sums) @ bread * (n_clusters / max(1, n_clusters - 1))
    errors: FloatArray = np.sqrt(np.diagonal(covariance))
    return errors
