"""Covariances of fitted strengths: Hessian, sandwich, clustered sandwich, one-step bootstrap."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse

from lambdamart_kit.core.rows import native
from lambdamart_kit.core.typing import FloatArray, Ids, IndexArray
from lambdamart_kit.preferences.strengths.likelihood import Likelihood

DENSE_COVARIANCE = 5000  # items up to which an n x n covariance is reasonable
_CHUNK = 64  # bootstrap replicates drawn together, to bound memory


def hessian_covariance(model: Likelihood, parameters: FloatArray) -> FloatArray:
    """``H^+``: right when comparisons are independent and the model holds."""
    return _centred(model, _bread(model, parameters))


def sandwich_covariance(
    model: Likelihood, parameters: FloatArray, clusters: ClusterCounts | None = None
) -> FloatArray:
    """``H^+ B H^+``, B the sum of squared scores of comparisons, or of clusters of comparisons.

    With clusters, B is scaled by G / (G - 1) for G clusters.
    """
    bread = _bread(model, parameters)
    derivatives = model.derivatives(parameters)
    if clusters is None:
        meat = model.meat(derivatives)
    else:
        weighted = clusters.counts @ scipy.sparse.diags_array(model.sample_weight)
        sums = weighted @ model.scores(derivatives)
        n_clusters = clusters.counts.shape[0]
        product = sums.T @ sums
        meat = product.toarray() if scipy.sparse.issparse(product) else np.asarray(product)
        meat = meat * (n_clusters / max(1, n_clusters - 1))
    return _centred(model, bread @ meat @ bread)


def bootstrap_replicates(
    model: Likelihood,
    parameters: FloatArray,
    n_replicates: int,
    rng: np.random.Generator,
    clusters: ClusterCounts | None = None,
) -> FloatArray:
    """Resample comparisons (or clusters of them) and take one Newton step from the fit to each resample.

    The fit to the data is within the sampling error of the fit to a resample, so one step leaves an error of
    second order; a resample whose own Hessian is singular (an item fell out) uses the data's.

    Returns
    -------
    (n_replicates, n_parameters) float64
    """
    derivatives = model.derivatives(parameters)
    scores = model.scores(derivatives)
    replicates = np.empty((n_replicates, model.n_parameters))
    for start in range(0, n_replicates, _CHUNK):
        size = min(_CHUNK, n_replicates - start)
        counts = _resample(model.count, size, rng) if clusters is None else clusters.resample(size, rng)
        weights = counts * model.sample_weight
        gradients = (scores.T @ weights.T).T
        for row, (weight, gradient) in enumerate(zip(weights, gradients)):
            step = model.resampled_step(parameters, derivatives, weight, gradient)
            if model.prior == 0.0:
                step = model.centre(step)
            replicates[start + row] = parameters + step
    return replicates


class ClusterCounts:
    """How often each cluster (annotator, day) made each record.

    Attributes
    ----------
    counts : (n_clusters, m) CSR array
    """

    @classmethod
    def of_groups(
        cls, groups: Ids, record: IndexArray, seen: FloatArray | None, n_records: int, *, rows: str
    ) -> ClusterCounts:
        """Clusters by the group of each row, numbered from 0 in ascending order of ids.

        Parameters
        ----------
        groups : (n,) array
            Id of the group of each row.
        record : (n,) intp
            Record that each row was counted in, or -1.
        seen : (n,) float64, optional
            Times each row was seen.
        n_records : int
        rows : str
            The argument that the rows are of, for messages.

        Raises
        ------
        ValueError
            If there is not one id for each row.
        """
        code, _ = pd.factorize(native(groups), sort=True)
        if code.shape != (len(record),) or (code < 0).any():
            raise ValueError(f"'groups' must hold one cluster id per row of {rows!r}, none missing")
        return cls(np.asarray(code, dtype=np.intp), record, seen, n_records)

    def __init__(
        self, cluster: IndexArray, record: IndexArray, seen: FloatArray | None, n_records: int
    ) -> None:
        kept = record >= 0
        values = np.ones(kept.sum()) if seen is None else seen[kept]
        shape = (int(cluster.max()) + 1, n_records)
        self.counts = scipy.sparse.csr_array((values, (cluster[kept], record[kept])), shape=shape)

    def restricted(self, kept: FloatArray | IndexArray) -> ClusterCounts:
        """The same clusters on some of the records."""
        other = object.__new__(ClusterCounts)
        other.counts = scipy.sparse.csr_array(self.counts[:, np.flatnonzero(kept)])
        return other

    def resample(self, size: int, rng: np.random.Generator) -> FloatArray:
        """Count of each record when clusters are drawn with replacement, (size, m)."""
        n_clusters = self.counts.shape[0]
        drawn = rng.multinomial(n_clusters, np.full(n_clusters, 1.0 / n_clusters), size=size)
        counts: FloatArray = (self.counts.T @ drawn.T.astype(np.float64)).T
        return counts


def _resample(count: FloatArray, size: int, rng: np.random.Generator) -> FloatArray:
    total = count.sum()
    return rng.multinomial(round(total), count / total, size=size).astype(np.float64)


def _bread(model: Likelihood, parameters: FloatArray) -> FloatArray:
    if model.n_items > DENSE_COVARIANCE:
        raise ValueError(
            f"'method' must be 'bootstrap' above {DENSE_COVARIANCE} items: other methods need the dense "
            f"covariance of all {model.n_items}"
        )
    return model.identified(model.hessian(model.derivatives(parameters))).inverse()


def _centred(model: Likelihood, covariance: FloatArray) -> FloatArray:
    """Covariance once each component's strengths sum to zero: ``P C P``."""
    return model.centre(model.centre(covariance).T.copy())
