"""Best of n: draw n responses from the reference, keep the one with the highest reward.

References
----------
Beirami et al. (2024), "Theoretical guarantees on the best-of-n alignment policy".
"""

from __future__ import annotations

import math

import numpy as np

from lambdamart_kit.core.typing import ArrayLike, FloatArray
from lambdamart_kit.preferences.dpo.algebra import kl_divergence
from lambdamart_kit.preferences.dpo.checks import distribution


def best_of_n(ref: ArrayLike, rewards: ArrayLike, *, n: int) -> FloatArray:
    """Probability that each response is the best of `n` draws from `ref`, (n_responses,).

    Equal rewards are drawn among in proportion to `ref`, as when the first of the best is kept.

    Examples
    --------
    >>> best_of_n([0.5, 0.5], [1.0, 0.0], n=2).tolist()
    [0.75, 0.25]
    """
    _check_n(n)
    reference, r = distribution(ref, rewards)
    _, level = np.unique(r, return_inverse=True)
    mass = np.bincount(level, reference)
    above = np.append(np.cumsum(mass[::-1])[-2::-1], 0.0)
    # P(best at this level) = (1 - above)^n - (1 - above - mass)^n
    #                       = (1 - above)^n (1 - (1 - mass / (1 - above))^n),
    # whose second factor keeps the digits of a rare level, where the difference would lose them.
    at_most = np.maximum(1.0 - above, mass)
    part = np.divide(mass, at_most, out=np.zeros_like(mass), where=at_most > 0)
    with np.errstate(divide="ignore"):
        drawn = -np.expm1(n * np.log1p(-np.minimum(part, 1.0)))
    best = at_most**n * drawn
    share = np.divide(best, mass, out=np.zeros_like(mass), where=mass > 0)
    return reference * share[level]


def best_of_n_reward(ref: ArrayLike, rewards: ArrayLike, *, n: int) -> float:
    """Expected reward of the best of `n` draws.

    Examples
    --------
    >>> best_of_n_reward([0.5, 0.5], [1.0, 0.0], n=2)
    0.75
    """
    return float(best_of_n(ref, rewards, n=n) @ np.asarray(rewards, dtype=np.float64))


def best_of_n_kl(ref: ArrayLike, rewards: ArrayLike, *, n: int) -> float:
    """KL of the best-of-n policy to `ref`, exact for finitely many responses.

    Examples
    --------
    >>> round(best_of_n_kl([0.25] * 4, [0, 1, 2, 3], n=4), 5)
    0.59031
    """
    return kl_divergence(best_of_n(ref, rewards, n=n), ref)


def best_of_n_kl_bound(n: int) -> float:
    """``log n - (n - 1) / n``: the KL for a continuum of responses, and a bound for finitely many.

    Examples
    --------
    >>> round(best_of_n_kl_bound(4), 5)
    0.63629
    """
    _check_n(n)
    return math.log(n) - (n - 1) / n


def select_best(
    scores: ArrayLike, prompts: ArrayLike, *, std: ArrayLike | None = None, caution: float = 1.0
) -> np.ndarray:
    """Row of the highest score of each prompt, prompts ascending; the first of equals.

    The best of many draws is often the one that the reward model overrates most. With `std` the highest
    lower bound ``scores - caution * std`` wins.

    Parameters
    ----------
    scores : (n,) array
    prompts : (n,) ids
    std : (n,) array, optional
        Standard deviation of each score, as ``RewardModel(n_bags=10).predict(X, return_std=True)`` gives it.
    caution : float
        How many standard deviations the bound lies below the score.

    Raises
    ------
    ValueError
        If lengths differ, a score is not finite, or a standard deviation or `caution` is below 0.

    References
    ----------
    Coste et al. (2024), "Reward model ensembles help mitigate overoptimization".

    Examples
    --------
    >>> select_best([0.1, 0.9, 0.5], ["a", "a", "b"]).tolist()
    [1, 2]
    >>> select_best([0.8, 0.9, 0.5], ["a", "a", "b"], std=[0.1, 0.4, 0.4]).tolist()
    [0, 2]
    """
    values = np.asarray(scores, dtype=np.float64)
    names = np.asarray(prompts)
    if std is not None:
        values = _lower_bounds(values, np.asarray(std, dtype=np.float64), caution)
    if values.shape != names.shape or values.ndim != 1:
        raise ValueError(f"'scores' and 'prompts' must be equally long; got {values.shape} and {names.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"'scores' must be finite; row {int(np.argmin(np.isfinite(values)))} is not")
    _, code = np.unique(names, return_inverse=True)
    order = np.lexsort((np.arange(len(values)), -values, code))
    first = np.concatenate(([True], np.diff(code[order]) > 0)) if len(order) else np.empty(0, bool)
    return order[first]


def _lower_bounds(scores: FloatArray, std: FloatArray, caution: float) -> FloatArray:
    if std.shape != scores.shape:
        raise ValueError(f"'std' must hold one value a score, {scores.shape}; got shape {std.shape}")
    if not np.all(np.isfinite(std) & (std >= 0)):
        row = int(np.argmin(np.isfinite(std) & (std >= 0)))
        raise ValueError(f"'std' must be finite and >= 0; row {row} has {std[row]}")
    if not 0 <= caution < np.inf:
        raise ValueError(f"'caution' must be finite and >= 0; got {caution}")
    return scores - caution * std


def _check_n(n: int) -> None:
    if int(n) != n or n < 1:
        raise ValueError(f"'n' must be a whole number >= 1; got {n}")
