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
    if not callable(policy):
        raise TypeError(
            "'policy' must be a policy of the kit or a function from candidates to the (n, n_candidates) "
            f"probabilities of showing each; got a {type(policy).__name__}; a PersonalPolicy needs to know "
            "the users: pass a function that asks it"
        )
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
    if len(np.asarray(log.candidates)) != n:
        raise ValueError(f"'candidates' of the log must have {n} rows, as the policy's probabilities have")
    for name in ("actions", "propensities", "rewards"):
        found = np.shape(getattr(log, name))
        if found != (n,):
            raise ValueError(
                f"'{name}' of the log must have shape ({n},), a row for each of the policy's; got {found}"
            )
    if actions.dtype.kind not in "iu" or actions.min() < 0 or actions.max() >= n_candidates:
        ends = f" {actions.min()} to {actions.max()}" if actions.dtype.kind in "iuf" else ""
        raise ValueError(
            f"'actions' must be numbers of candidates, integers from 0 to {n_candidates - 1}; got "
            f"{actions.dtype}{ends}"
        )
    places = actions.astype(np.intp)
    if log.logging is not None:
        _check_logging(log, places, n_candidates)
    return places, finite_rows(log.rewards, n, "rewards")


def finite_rows(values: ArrayLike, n: int, name: str) -> FloatArray:
    """One finite number for each of `n` rows.

    Parameters
    ----------
    values : (n,) array-like
        What was given.
    n : int
        Number of rows.
    name : str
        Of the parameter.

    Raises
    ------
    ValueError
        If there is another number of them, or one is NaN or infinite.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.shape != (n,):
        raise ValueError(f"{name!r} must be ({n},), one value a row; got shape {found.shape}")
    wrong = np.flatnonzero(~np.isfinite(found))
    if len(wrong):
        raise ValueError(
            f"{name!r} must be finite; row {wrong[0]} has {found[wrong[0]]} ({len(wrong)} such rows); "
            "drop those rows, or wait for what came of them"
        )
    return found


def _check_logging(log: Log, actions: IndexArray, n_candidates: int) -> None:
    """Refuse probabilities of all candidates that are none, or are not those of the propensities."""
    chance = np.asarray(log.logging, dtype=np.float64)
    n = len(actions)
    if chance.shape != (n, n_candidates):
        raise ValueError(f"'logging' of the log must be ({n}, {n_candidates}); got shape {chance.shape}")
    sums = chance.sum(axis=1)
    wrong = np.flatnonzero(~((chance >= 0).all(axis=1) & (np.abs(sums - 1.0) < 1e-6)))
    if len(wrong):
        raise ValueError(
            f"'logging' of the log must hold probabilities, >= 0, whose rows sum to 1; row {wrong[0]} has "
            f"{chance[wrong[0]].tolist()} ({len(wrong)} such rows)"
        )
    logged = np.asarray(log.propensities, dtype=np.float64)
    of_action = chance[np.arange(n), actions]
    differ = np.flatnonzero(~(np.abs(of_action - logged) <= 1e-6 + 1e-3 * np.abs(logged)))
    if len(differ):
        row = differ[0]
        raise ValueError(
            f"'logging' of the log must give what was shown its propensity; row {row} has "
            f"{of_action[row]:g} for action {actions[row]} and the propensity {logged[row]:g} "
            f"({len(differ)} such rows); are rows or candidates in another order?"
        )


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
