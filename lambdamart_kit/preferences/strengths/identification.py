"""What strengths leave undetermined, pinned once for every likelihood: one constant for each component."""

from __future__ import annotations

import numpy as np

from lambdamart_kit.core.information import Information
from lambdamart_kit.core.typing import FloatArray, IndexArray

_SINGULAR = 1e-13


def factored(hessian: FloatArray, n_items: int, components: IndexArray, *, pinned: bool) -> ScaledInformation:
    """The dense Hessian with every component's zero pinned to its mean, scaled and factored.

    Adding ``c 1 1'`` on a component only gives its undetermined direction a curvature; steps and covariances
    that leave the mean alone are not changed by it. Nothing is added when `pinned` already.

    Raises
    ------
    ValueError
        If another direction is undetermined.
    """
    whole = hessian
    if not pinned:
        whole = hessian.copy()
        sizes = np.bincount(components)
        same = components[:, None] == components[None, :]
        scale = max(float(np.trace(hessian)) / len(hessian), np.finfo(float).tiny)
        whole[:n_items, :n_items] += scale * same / sizes[components][:, None]
    try:
        return ScaledInformation(whole)
    except ValueError:
        raise ValueError(_reason(hessian, n_items)) from None


def _reason(hessian: FloatArray, n_items: int) -> str:
    curvature = np.diagonal(hessian)[:n_items]
    low, high = curvature.min(), curvature.max()
    if low < _SINGULAR * high:
        return (
            "'sample_weight' must not differ by so many orders of magnitude: the information on items goes "
            f"from {low:.2g} to {high:.2g}, past the digits of float64; rescale the weights or set 'prior'"
        )
    return (
        "the comparisons do not determine all parameters: 'covariates' are a combination of item "
        "differences (and of the order effect, where there is one) or predict the outcomes without error; "
        "drop covariates, or set 'prior'"
    )


class ScaledInformation:
    """A positive definite matrix factored after scaling its diagonal to ones.

    Scaling makes the test for undetermined directions, and the precision of solutions, the same whatever
    units the parameters have.
    """

    def __init__(self, matrix: FloatArray) -> None:
        diagonal = np.diagonal(matrix)
        if not np.all(diagonal > 0):
            raise ValueError("'matrix' must have a diagonal above 0")
        self._root = 1.0 / np.sqrt(diagonal)
        self._information = Information(matrix * self._root * self._root[:, None])
        if self._information.pivots.min() < _SINGULAR:
            raise ValueError("'matrix' must be positive definite")

    def solve(self, b: FloatArray) -> FloatArray:
        """``H^-1 b`` for a vector (d,) or for columns (d, m)."""
        root = self._root if b.ndim == 1 else self._root[:, None]
        return self._information.solve(b * root) * root

    def inverse(self) -> FloatArray:
        """``H^-1``, symmetric to the last bit."""
        return self._information.inverse() * self._root * self._root[:, None]


def centre(vectors: FloatArray, n_items: int, components: IndexArray) -> FloatArray:
    """Shift strengths (leading axis, in place) so that each component's sum to zero."""
    sizes = np.bincount(components)
    strengths = vectors[:n_items]
    means = np.zeros((len(sizes), *strengths.shape[1:]))
    np.add.at(means, components, strengths)
    means /= sizes.reshape(-1, *[1] * (strengths.ndim - 1))
    strengths -= means[components]
    return vectors
