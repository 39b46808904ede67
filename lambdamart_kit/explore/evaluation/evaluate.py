"""What a policy would have earned, from the log of single actions that another one made."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator

from lambdamart_kit.core.gains import check_choice, check_number
from lambdamart_kit.core.typing import ArrayLike, FloatArray, RandomState
from lambdamart_kit.explore.evaluation.estimators import ESTIMATORS, NEED_LIMIT, NEED_MODEL, RATIOS
from lambdamart_kit.explore.evaluation.log import (
    Estimate,
    Log,
    PolicyLike,
    check_log,
    checked_overlap,
    finite_rows,
    policy_probabilities,
)
from lambdamart_kit.explore.evaluation.reward_models import expected_rewards
from lambdamart_kit.explore.evaluation.weights import importance_weights


def evaluate_policy(
    log: Log,
    policy: PolicyLike,
    *,
    estimator: str = "snips",
    expected: ArrayLike | BaseEstimator | None = None,
    n_splits: int = 3,
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
    estimator : {"ips", "clipped", "snips", "direct", "dr", "sndr", "switch", "shrinkage", "mrdr"}
        The last six need `expected`; "clipped", "switch" and "shrinkage" need `limit`. "mrdr" is "dr" with a
        model that is fitted to make the variance of the estimate small.
    expected : (n, n_candidates) array-like or scikit-learn estimator, optional
        Expected reward of every candidate under a model that was fitted on other rows than those of the log.
        An estimator, such as ``Ridge()``, is cross-fitted on the log: :func:`expected_rewards`. "mrdr" needs
        an estimator.
    n_splits : int
        Folds of the cross-fit, where `expected` is an estimator.
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
        For "bootstrap" and the folds of the cross-fit.

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
    (SWITCH). Su et al. (2020), "Doubly robust off-policy evaluation with shrinkage", ICML. Farajtabar, Chow,
    Ghavamzadeh (2018), "More robust doubly robust off-policy evaluation", ICML (MRDR).

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
    _check_used(estimator, expected is not None, limit, interval)
    probabilities = policy_probabilities(policy, log.candidates)
    actions, rewards = check_log(log, *probabilities.shape)
    row = np.arange(len(actions))
    weights = importance_weights(probabilities[row, actions], log.propensities)
    found = checked_overlap(weights, check_overlap, probabilities, log.logging)
    if expected is None:
        of_action = np.zeros(len(weights))
        under_policy = of_action
    else:
        model = _expected(log, probabilities, estimator, expected, n_splits, random_state)
        of_action = model[row, actions]
        under_policy = np.einsum("na,na->n", probabilities, model)
    most = np.inf if limit is None else float(limit)
    terms = ESTIMATORS[estimator](weights, rewards, of_action, under_policy, most)
    return Estimate.of_terms(
        terms, found, interval=interval, width=width, confidence=confidence, random_state=random_state
    )


def evaluate_rows(
    target: ArrayLike,
    logged: ArrayLike,
    rewards: ArrayLike,
    *,
    estimator: str = "snips",
    expected: ArrayLike | None = None,
    expected_under: ArrayLike | None = None,
    limit: float | None = None,
    interval: str = "normal",
    width: float | None = None,
    confidence: float = 0.95,
    check_overlap: bool = True,
    random_state: RandomState = 0,
) -> Estimate:
    """:func:`evaluate_policy` where only probabilities are at hand, as in a table of a log.

    Parameters
    ----------
    target, logged : (n,) array-like
        Probability of the logged action under the policy, and when it was logged.
    rewards : (n,) array-like
        What came of it.
    estimator : str
        As in :func:`evaluate_policy`, without "mrdr".
    expected, expected_under : (n,) array-like, optional
        Reward that a model expects of the logged action, and its mean over the policy's actions; for the
        estimators with a model.
    limit : float, optional
        Largest weight (or the constant of "shrinkage"), > 0.
    interval : {"normal", "bootstrap", "bernstein"}
        See :func:`interval_of_mean`.
    width : float, optional
        Range of the terms; for "bernstein".
    confidence : float
        In (0, 1).
    check_overlap : bool
        Refuse where :meth:`Overlap.problems` finds a reason.
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
        If shapes differ, values are out of range, or settings are missing or not used.

    Examples
    --------
    >>> rows = [0.6, 0.4] * 50, [0.5, 0.5] * 50, [1.0, 0.5] * 50
    >>> round(evaluate_rows(*rows).value, 6)
    0.8
    """
    names = tuple(name for name in ESTIMATORS if name != "mrdr")
    check_choice(estimator, names, name="estimator")
    if (expected is None) != (expected_under is None):
        raise ValueError("'expected' and 'expected_under' must be given together; got one of them")
    _check_used(estimator, expected is not None, limit, interval)
    weights = importance_weights(target, logged)
    if weights.ndim != 1:
        raise ValueError(f"'target' must be (n,), one probability a row; got shape {weights.shape}")
    received = finite_rows(rewards, len(weights), "rewards")
    found = checked_overlap(weights, check_overlap)
    of_action = (
        np.zeros(len(weights)) if expected is None else finite_rows(expected, len(weights), "expected")
    )
    under = of_action
    if expected_under is not None:
        under = finite_rows(expected_under, len(weights), "expected_under")
    most = np.inf if limit is None else float(limit)
    terms = ESTIMATORS[estimator](weights, received, of_action, under, most)
    return Estimate.of_terms(
        terms, found, interval=interval, width=width, confidence=confidence, random_state=random_state
    )


def _expected(
    log: Log,
    probabilities: FloatArray,
    estimator: str,
    expected: ArrayLike | BaseEstimator,
    n_splits: int,
    random_state: RandomState,
) -> FloatArray:
    """Expected reward of every candidate, cross-fitted where `expected` is an estimator."""
    if hasattr(expected, "fit"):
        weighted = estimator == "mrdr"
        return expected_rewards(
            log,
            expected,
            weighting="mrdr" if weighted else None,
            policy=(lambda _: probabilities) if weighted else None,
            n_splits=n_splits,
            n_actions=probabilities.shape[1] if np.ndim(log.candidates) == 2 else None,
            random_state=random_state,
        )
    if estimator == "mrdr":
        raise ValueError(
            "estimator='mrdr' needs a scikit-learn estimator as 'expected', because it fits the model in its "
            "own way; got an array; use 'dr' with an array of expected_rewards(..., weighting='mrdr')"
        )
    model = np.asarray(expected, dtype=np.float64)
    if model.shape != probabilities.shape or not np.isfinite(model).all():
        raise ValueError(f"'expected' must be finite and {probabilities.shape}; got shape {model.shape}")
    return model


def _check_used(estimator: str, has_model: bool, limit: float | None, interval: str) -> None:
    """Refuse what is missing, and what would be ignored."""
    if has_model != (estimator in NEED_MODEL):
        rule = "does not use" if has_model else "needs"
        raise ValueError(f"estimator={estimator!r} {rule} 'expected'; those that use it: {NEED_MODEL}")
    if (limit is None) == (estimator in NEED_LIMIT):
        rule = "needs" if limit is None else "does not use"
        raise ValueError(f"estimator={estimator!r} {rule} 'limit'; those that use it: {NEED_LIMIT}")
    if limit is not None and limit != np.inf:
        check_number(limit, name="limit", least=0.0, open_ends="low")
    if interval == "bernstein" and estimator in RATIOS:
        raise ValueError(
            f"interval='bernstein' holds for means of independent terms; {estimator!r} is a ratio; "
            "use 'normal' or 'bootstrap', or estimator 'ips', 'clipped', 'dr', 'switch' or 'shrinkage'"
        )
