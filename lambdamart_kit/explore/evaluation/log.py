"""A log of what was shown, and what an estimate made from it holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from lambdamart_kit.core.typing import ArrayLike, FloatArray, IndexArray, RandomState
from lambdamart_kit.explore.base import Policy
from lambdamart_kit.explore.evaluation.intervals import interval_of_mean
from lambdamart_kit.explore.evaluation.weights import Overlap, overlap


class PoorOverlap(ValueError):
    """The log says too little about the policy for a number that anybody should trust.

    Examples
    --------
    >>> issubclass(PoorOverlap, ValueError)
    True
    """


class Estimate(NamedTuple):
    """A policy's value.

    Parameters
    ----------
    value : float
        Estimated expected reward of a row (or slate).
    low, high : float
        Confidence interval.
    overlap : Overlap
        How well the log covers the policy.

    Examples
    --------
    >>> from lambdamart_kit.explore.evaluation import overlap
    >>> Estimate(0.6, 0.5, 0.7, overlap([1.0, 1.0])).value
    0.6
    """

    value: float
    low: float
    high: float
    overlap: Overlap

    @classmethod
    def of_terms(
        cls,
        terms: FloatArray,
        overlap: Overlap,
        *,
        interval: str,
        width: float | None,
        confidence: float,
        random_state: RandomState,
    ) -> Estimate:
        """The mean of independent terms, with its interval.

        Parameters
        ----------
        terms : (n,) float64
            One of a row, slate or list.
        overlap : Overlap
            How well the log covers the policy.
        interval : str
            The `kind` of :func:`interval_of_mean`.
        width : float, optional
            Range of the terms.
        confidence : float
            In (0, 1).
        random_state : int, Generator or None
            Of resampling.

        Returns
        -------
        Estimate
            The value, its interval and the overlap.
        """
        low, high = interval_of_mean(
            terms, kind=interval, width=width, confidence=confidence, random_state=random_state
        )
        return cls(float(terms.mean()), low, high, overlap)


class Log(NamedTuple):
    """What was shown, with which probability, and what came of it.

    Parameters
    ----------
    candidates : (n, n_candidates, d) float64
        What could be shown. For a policy with `arms`: contexts, (n, d).
    actions : (n,) intp
        Which candidate (or arm, by its place among the arms) was shown.
    propensities : (n,) float64
        Probability with which it was shown.
    rewards : (n,) float64
        What came of it.
    logging : (n, n_candidates) float64 or None
        Probability of every candidate, where it was kept; then unsupported actions are found.

    Examples
    --------
    >>> Log(np.zeros((2, 3, 1)), [0, 2], [0.5, 0.25], [1.0, 0.0]).propensities
    [0.5, 0.25]
    """

    candidates: FloatArray
    actions: ArrayLike
    propensities: ArrayLike
    rewards: ArrayLike
    logging: FloatArray | None = None


PolicyLike: TypeAlias = Policy | Callable[[FloatArray], ArrayLike]


def policy_probabilities(policy: PolicyLike, candidates: FloatArray) -> FloatArray:
    """Probability that the policy shows each candidate, (n, n_candidates)."""
    if isinstance(policy, Policy):
        return np.asarray(policy.probabilities(candidates, k=1).values[..., 0], dtype=np.float64)
    found = np.asarray(policy(candidates), dtype=np.float64)
    # A product with ones sums short rows several times faster than `sum(axis=1)` does.
    fits = found.ndim == 2 and bool((found >= 0).all())
    if not fits or not (np.abs(found @ np.ones(found.shape[1]) - 1.0) < 1e-8).all():
        raise ValueError(
            f"'policy' must return (n, n_candidates) probabilities whose rows sum to 1; got {found.shape}"
        )
    return found


def check_log(log: Log, n: int, n_candidates: int) -> tuple[IndexArray, FloatArray]:
    """The actions and rewards of a log of `n` rows with `n_candidates` each."""
    actions = np.asarray(log.actions)
    rewards = np.asarray(log.rewards, dtype=np.float64)
    for name in ("candidates", "actions", "propensities", "rewards"):
        if len(np.asarray(getattr(log, name))) != n:
            raise ValueError(f"'{name}' of the log must have {n} rows, as the policy's probabilities have")
    if actions.dtype.kind not in "iu" or actions.min() < 0 or actions.max() >= n_candidates:
        raise ValueError(f"'actions' must be numbers of candidates, 0 to {n_candidates - 1}")
    if rewards.shape != (n,) or not np.isfinite(rewards).all():
        raise ValueError(f"'rewards' must be ({n},) and finite; got shape {rewards.shape}")
    return actions.astype(np.intp), rewards


def checked_overlap(
    weights: FloatArray,
    refuse: bool,
    probabilities: FloatArray | None = None,
    logging: FloatArray | None = None,
) -> Overlap:
    """Overlap of the weights; where it is poor, an error."""
    found = overlap(weights, probabilities=None if logging is None else probabilities, logging=logging)
    if not weights.any():
        raise PoorOverlap("the log holds no action that the policy would take, so every weight is 0")
    if refuse:
        refuse_poor(found)
    return found


def refuse_poor(found: Overlap) -> None:
    """Raise if the overlap is too poor for a number that anybody should trust."""
    problems = found.problems()
    if problems:
        raise PoorOverlap(
            f"the log cannot tell what this policy is worth: {'; '.join(problems)}; log more rows, explore "
            "more, or evaluate a policy nearer to the logged one (check_overlap=False gives it anyway)"
        )
