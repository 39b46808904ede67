r"""Estimators of a policy's value from logged slates, with one weight and one reward for each position.

All return one number a slate; their mean is the estimate of the expected sum of rewards.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lambdamart_kit.core.typing import FloatArray


def standard(w: FloatArray, r: FloatArray) -> FloatArray:
    """Whole slates: every reward has the product of all weights. No assumption; the largest variance."""
    return np.asarray(w.prod(axis=1) * r.sum(axis=1))


def independent(w: FloatArray, r: FloatArray) -> FloatArray:
    """Item by position: a reward depends on the item at its position only."""
    return np.asarray((w * r).sum(axis=1))


def cascade(w: FloatArray, r: FloatArray) -> FloatArray:
    """Reward interaction: a reward depends on its item and those above, as of a reader from the top."""
    return np.asarray((np.cumprod(w, axis=1) * r).sum(axis=1))


def pseudo_inverse(w: FloatArray, r: FloatArray) -> FloatArray:
    """The slate's reward is a sum over positions, of which only the total is seen: ``r (1 + sum (w - 1))``.

    This is the closed form for a logging policy that draws each position independently of the others.
    """
    return np.asarray(r.sum(axis=1) * (1.0 + (w - 1.0).sum(axis=1)))


def cascade_doubly_robust(
    w: FloatArray, r: FloatArray, expected: FloatArray, expected_under: FloatArray
) -> FloatArray:
    r"""Cascade with a model of the reward from each position on, given the items above.

    .. math:: \sum_l W_l (r_l - Q_l) + W_{l-1} E_\pi Q_l, \qquad W_l = w_1 \cdots w_l

    Parameters
    ----------
    w, r : (n, k) float64
        Weights and rewards.
    expected, expected_under : (n, k) float64
        Q of the logged item, and its mean under the policy.

    References
    ----------
    Kiyohara et al. (2022), "Doubly robust off-policy evaluation for ranking policies under the cascade
    behavior model", WSDM.

    Returns
    -------
    (n,) float64
        One number a slate, whose mean is the estimate.

    Examples
    --------
    >>> w, r = np.array([[2.0, 0.5]]), np.array([[1.0, 1.0]])
    >>> cascade_doubly_robust(w, r, np.array([[0.5, 0.5]]), np.array([[0.6, 0.4]])).round(9).tolist()
    [2.9]
    """
    upto = np.cumprod(w, axis=1)
    before = np.concatenate((np.ones((len(w), 1)), upto[:, :-1]), axis=1)
    return np.asarray((upto * (r - expected) + before * expected_under).sum(axis=1))


SLATE_ESTIMATORS: dict[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "standard": standard,
    "independent": independent,
    "cascade": cascade,
    "pseudo-inverse": pseudo_inverse,
}
