r"""Estimators of a policy's value from a log of single actions.

With w the importance weight of a row, r its reward, q the expected reward of the logged action under a model
and v the model's expected reward under the policy, :math:`\sum_a \pi(a) q(a)`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lambdamart_kit.core.typing import FloatArray

# Each estimator returns one number a row, whose mean is the estimate. Self-normalised ones are linearised
# around their estimate, so that the same intervals serve all of them.
Terms = FloatArray


def ips(w: FloatArray, r: FloatArray, q: FloatArray, v: FloatArray, limit: float) -> Terms:
    """Inverse propensity score: ``w r``."""
    return w * r


def clipped(w: FloatArray, r: FloatArray, q: FloatArray, v: FloatArray, limit: float) -> Terms:
    """IPS with weights of at most `limit`: ``min(w, limit) r``. Biased, with less variance."""
    return np.minimum(w, limit) * r


def self_normalised(w: FloatArray, r: FloatArray, q: FloatArray, v: FloatArray, limit: float) -> Terms:
    """``sum w r / sum w``, as ``estimate + w (r - estimate) / mean w``."""
    estimate = (w * r).sum() / w.sum()
    return estimate + w * (r - estimate) / w.mean()


def direct(w: FloatArray, r: FloatArray, q: FloatArray, v: FloatArray, limit: float) -> Terms:
    """Direct method: what the model expects, ``v``. The log's rewards are not used."""
    return v.copy()


def doubly_robust(w: FloatArray, r: FloatArray, q: FloatArray, v: FloatArray, limit: float) -> Terms:
    """``v + w (r - q)``: unbiased if the propensities or the model are right."""
    return v + w * (r - q)


def self_normalised_doubly_robust(
    w: FloatArray, r: FloatArray, q: FloatArray, v: FloatArray, limit: float
) -> Terms:
    """``mean v + sum w (r - q) / sum w``, linearised."""
    correction = (w * (r - q)).sum() / w.sum()
    return v + correction + w * (r - q - correction) / w.mean()


def switch(w: FloatArray, r: FloatArray, q: FloatArray, v: FloatArray, limit: float) -> Terms:
    """Doubly robust where ``w <= limit``, and the model elsewhere."""
    return v + np.where(w <= limit, w, 0.0) * (r - q)


def optimistic_shrinkage(w: FloatArray, r: FloatArray, q: FloatArray, v: FloatArray, limit: float) -> Terms:
    """Doubly robust with weights ``limit w / (w^2 + limit)``."""
    return v + w / (w**2 / limit + 1.0) * (r - q)


ESTIMATORS: dict[str, Callable[[FloatArray, FloatArray, FloatArray, FloatArray, float], Terms]] = {
    "ips": ips,
    "clipped": clipped,
    "snips": self_normalised,
    "direct": direct,
    "dr": doubly_robust,
    "sndr": self_normalised_doubly_robust,
    "switch": switch,
    "shrinkage": optimistic_shrinkage,
    # Its model is fitted in another way: `reward_models`.
    "mrdr": doubly_robust,
}
NEED_MODEL = ("direct", "dr", "sndr", "switch", "shrinkage", "mrdr")
RATIOS = ("snips", "sndr")
NEED_LIMIT = ("clipped", "switch", "shrinkage")
