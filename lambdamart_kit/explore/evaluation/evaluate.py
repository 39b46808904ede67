"""What a policy would have earned, from the log of another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lambdamart_kit.core.gains import check_choice
from lambdamart_kit.core.typing import ArrayLike, FloatArray, RandomState
from lambdamart_kit.explore.base import Policy
from lambdamart_kit.explore.evaluation.estimators import ESTIMATORS, NEED_LIMIT, NEED_MODEL
from lambdamart_kit.explore.evaluation.intervals import interval_of_mean
from lambdamart_kit.explore.evaluation.slates import SLATE_ESTIMATORS
from lambdamart_kit.explore.evaluation.weights import Overlap, importance_weights, overlap


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
    >>> Estimate(0.6, 0.5, 0.7, overlap([1.0, 1.0])).value
    0.6
    """

    value: float
    low: float
    high: float
    overlap: Overlap


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


PolicyLike = Policy | Callable[[FloatArray], ArrayLike]


def evaluate_policy(
    log: Log,
    policy: PolicyLike,
    *,
    estimator: str = "snips",
    expected: ArrayLike | None = None,
    limit: float | None = None,
    interval: str = "normal",
    width: float | None = None,
    confidence: float = 0.95,
    check_overlap: bool = True,
    random_state: RandomState = 0,
) -> Estimate:
    """Value of a policy, from a log made by another policy.

    Parameters
    ----------
    log : Log
        Of rows that the policy did not learn from.
    policy : Policy or callable
        A policy of the kit, which is not changed, or a function from candidates to the (n, n_candidates)
        probabilities of showing each.
    estimator : {"ips", "clipped", "snips", "direct", "dr", "sndr", "switch", "shrinkage"}
        The last five need `expected`; "clipped", "switch" and "shrinkage" need `limit`.
    expected : (n, n_candidates) array-like, optional
        Expected reward of every candidate under a model, fitted on other rows than those of the log.
    limit : float, optional
        Largest weight (or the constant of "shrinkage"), > 0.
    interval : {"normal", "bootstrap", "bernstein"}
        See :func:`interval_of_mean`.
    width : float, optional
        Range of the terms; for "bernstein".
    confidence : float
        In (0, 1).
    check_overlap : bool
        Refuse where :meth:`Overlap.problems` finds a reason. The model of "direct" is not excused: there it
        extrapolates.
    random_state : int, Generator or None
        For "bootstrap".

    Returns
    -------
    Estimate
        The value, its interval and the overlap.

    Raises
    ------
    PoorOverlap
        If the log covers the policy too badly.
    ValueError
        If the log is not as :class:`Log` says, or the estimator's settings are missing or not used.

    References
    ----------
    Dudik, Erhan, Langford, Li (2014), "Doubly robust policy evaluation and optimization", Stat. Science.
    Swaminathan and Joachims (2015), "The self-normalized estimator for counterfactual learning", NeurIPS.
    Wang, Agarwal, Dudik (2017), "Optimal and adaptive off-policy evaluation in contextual bandits", ICML
    (SWITCH). Su et al. (2020), "Doubly robust off-policy evaluation with shrinkage", ICML.

    Examples
    --------
    A log that showed both candidates equally often, and a policy that always shows the second:

    >>> n = 100
    >>> actions = np.arange(n) % 2
    >>> log = Log(np.zeros((n, 2, 1)), actions, np.full(n, 0.5), rewards=actions * 0.6)
    >>> found = evaluate_policy(log, lambda candidates: np.tile([0.0, 1.0], (n, 1)))
    >>> round(found.value, 6), found.overlap.effective_sample_size
    (0.6, 50.0)
    """
    check_choice(estimator, tuple(ESTIMATORS), name="estimator")
    _check_used(estimator, expected, limit)
    if interval == "bernstein" and estimator in ("snips", "sndr"):
        raise ValueError(
            f"interval='bernstein' holds for means of independent terms; {estimator!r} is a ratio; "
            "use 'normal' or 'bootstrap', or estimator 'ips', 'clipped', 'dr', 'switch' or 'shrinkage'"
        )
    probabilities = _probabilities(policy, log.candidates)
    actions, rewards = _check_log(log, probabilities)
    row = np.arange(len(actions))
    weights = importance_weights(probabilities[row, actions], log.propensities)
    found = _checked_overlap(weights, check_overlap, probabilities, log.logging)
    model = np.zeros_like(probabilities) if expected is None else np.asarray(expected, dtype=np.float64)
    if model.shape != probabilities.shape or not np.isfinite(model).all():
        raise ValueError(f"'expected' must be finite and {probabilities.shape}; got shape {model.shape}")
    under_policy = (probabilities * model).sum(axis=1)
    most = np.inf if limit is None else float(limit)
    terms = ESTIMATORS[estimator](weights, rewards, model[row, actions], under_policy, most)
    low, high = interval_of_mean(
        terms, kind=interval, width=width, confidence=confidence, random_state=random_state
    )
    return Estimate(float(terms.mean()), low, high, found)


def evaluate_slates(
    target: ArrayLike,
    logged: ArrayLike,
    rewards: ArrayLike,
    *,
    estimator: str = "cascade",
    interval: str = "normal",
    width: float | None = None,
    confidence: float = 0.95,
    check_overlap: bool = True,
    random_state: RandomState = 0,
) -> Estimate:
    """Expected sum of rewards of a slate, from logged slates.

    Parameters
    ----------
    target, logged : (n, k) array-like
        Probability of the item at each position, given those above it, under the policy and when logged.
    rewards : (n, k) array-like
        Reward at each position.
    estimator : {"standard", "independent", "cascade", "pseudo-inverse"}
        What a reward is assumed to depend on.
    interval : {"normal", "bootstrap", "bernstein"}
        See :func:`interval_of_mean`.
    width : float, optional
        Range of the terms; for "bernstein".
    confidence : float
        In (0, 1).
    check_overlap : bool
        Refuse where :meth:`Overlap.problems` finds a reason. Overlap is of the whole slate for "standard"
        and "cascade", and of the worst position for the other two.
    random_state : int, Generator or None
        For "bootstrap".

    Returns
    -------
    Estimate
        The value, its interval and the overlap.

    References
    ----------
    Li et al. (2018), "Offline evaluation of ranking policies with click models", KDD (independent).
    McInerney et al. (2020), "Counterfactual evaluation of slate recommendations with sequential reward
    interactions", KDD (cascade). Swaminathan et al. (2017), "Off-policy evaluation for slate
    recommendation", NeurIPS (pseudo-inverse).

    Examples
    --------
    >>> found = evaluate_slates([[0.5, 0.4], [0.2, 0.6]], [[0.25, 0.5], [0.4, 0.3]], [[1, 0], [1, 1]],
    ...                         estimator="independent", check_overlap=False)
    >>> found.value
    2.25
    """
    check_choice(estimator, tuple(SLATE_ESTIMATORS), name="estimator")
    weights = importance_weights(target, logged)
    received = np.asarray(rewards, dtype=np.float64)
    if weights.ndim != 2 or received.shape != weights.shape or not np.isfinite(received).all():
        raise ValueError(
            f"'rewards' must be finite, one for each position, {weights.shape}; got shape {received.shape}"
        )
    if estimator in ("standard", "cascade"):
        found = _checked_overlap(weights.prod(axis=1), check_overlap)
    else:
        by_position = [_checked_overlap(column, check_overlap) for column in weights.T]
        found = min(by_position, key=lambda one: one.effective_sample_size)
    terms = SLATE_ESTIMATORS[estimator](weights, received)
    low, high = interval_of_mean(
        terms, kind=interval, width=width, confidence=confidence, random_state=random_state
    )
    return Estimate(float(terms.mean()), low, high, found)


def _checked_overlap(
    weights: FloatArray,
    refuse: bool,
    probabilities: FloatArray | None = None,
    logging: FloatArray | None = None,
) -> Overlap:
    found = overlap(weights, probabilities=None if logging is None else probabilities, logging=logging)
    problems = found.problems()
    if refuse and problems:
        raise PoorOverlap(
            f"the log cannot tell what this policy is worth: {'; '.join(problems)}; log more rows, explore "
            "more, or evaluate a policy nearer to the logged one (check_overlap=False gives it anyway)"
        )
    if not weights.any():
        raise PoorOverlap("the log holds no action that the policy would take, so every weight is 0")
    return found


def _probabilities(policy: PolicyLike, candidates: FloatArray) -> FloatArray:
    if isinstance(policy, Policy):
        return policy.probabilities(candidates, k=1).values[..., 0]
    found = np.asarray(policy(candidates), dtype=np.float64)
    if found.ndim != 2 or not (found >= 0).all() or not np.allclose(found.sum(axis=1), 1.0):
        raise ValueError(
            f"'policy' must return (n, n_candidates) probabilities whose rows sum to 1; got {found.shape}"
        )
    return found


def _check_log(log: Log, probabilities: FloatArray) -> tuple[np.ndarray, FloatArray]:
    actions = np.asarray(log.actions)
    rewards = np.asarray(log.rewards, dtype=np.float64)
    n, n_candidates = probabilities.shape
    for name in ("candidates", "actions", "propensities", "rewards"):
        if len(np.asarray(getattr(log, name))) != n:
            raise ValueError(f"'{name}' of the log must have {n} rows, as the policy's probabilities have")
    if actions.dtype.kind not in "iu" or actions.min() < 0 or actions.max() >= n_candidates:
        raise ValueError(f"'actions' must be numbers of candidates, 0 to {n_candidates - 1}")
    if rewards.shape != (n,) or not np.isfinite(rewards).all():
        raise ValueError(f"'rewards' must be ({n},) and finite; got shape {rewards.shape}")
    return actions, rewards


def _check_used(estimator: str, expected: ArrayLike | None, limit: float | None) -> None:
    """Refuse what is missing, and what would be ignored."""
    if (expected is None) == (estimator in NEED_MODEL):
        rule = "needs" if expected is None else "does not use"
        raise ValueError(f"estimator={estimator!r} {rule} 'expected'; those that use it: {NEED_MODEL}")
    if (limit is None) == (estimator in NEED_LIMIT):
        rule = "needs" if limit is None else "does not use"
        raise ValueError(f"estimator={estimator!r} {rule} 'limit'; those that use it: {NEED_LIMIT}")
    if limit is not None and not limit > 0:
        raise ValueError(f"'limit' must be > 0; got {limit!r}")
