"""What a policy would have earned, from a log of slates."""

from __future__ import annotations

import numpy as np

from lambdamart_kit.core.gains import check_choice
from lambdamart_kit.core.typing import ArrayLike, FloatArray, RandomState
from lambdamart_kit.explore.evaluation.log import Estimate, checked_overlap
from lambdamart_kit.explore.evaluation.pseudo_inverse import SlateMoments, pseudo_inverse_weights
from lambdamart_kit.explore.evaluation.slates import SLATE_ESTIMATORS, cascade_doubly_robust
from lambdamart_kit.explore.evaluation.weights import importance_weights

_NAMES = (*SLATE_ESTIMATORS, "cascade-dr")
# Whose weights are products over positions, so that whole slates must overlap.
_OF_WHOLE_SLATES = ("standard", "cascade", "cascade-dr")


def evaluate_slates(
    target: ArrayLike,
    logged: ArrayLike,
    rewards: ArrayLike,
    *,
    estimator: str = "cascade",
    expected: ArrayLike | None = None,
    expected_under: ArrayLike | None = None,
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
    estimator : {"standard", "independent", "cascade", "cascade-dr", "pseudo-inverse"}
        What a reward is assumed to depend on; "cascade-dr" also has a model. "pseudo-inverse" is for a log
        that drew each position by itself; for every other one there is :func:`evaluate_slate_totals`.
    expected, expected_under : (n, k) array-like, optional
        For "cascade-dr": what a model expects from each position on, of the logged item and on average under
        the policy, as :func:`cascade_rewards` gives them.
    interval : {"normal", "bootstrap", "bernstein"}
        See :func:`interval_of_mean`.
    width : float, optional
        Range of the terms; for "bernstein".
    confidence : float
        In (0, 1).
    check_overlap : bool
        Refuse where :meth:`Overlap.problems` finds a reason. Overlap is of the whole slate for "standard",
        "cascade" and "cascade-dr", and of the worst position for the other two.
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
    interactions", KDD (cascade). Kiyohara et al. (2022), WSDM (cascade-dr). Swaminathan et al. (2017),
    "Off-policy evaluation for slate recommendation", NeurIPS (pseudo-inverse).

    Examples
    --------
    >>> found = evaluate_slates([[0.5, 0.4], [0.2, 0.6]], [[0.25, 0.5], [0.4, 0.3]], [[1, 0], [1, 1]],
    ...                         estimator="independent", check_overlap=False)
    >>> found.value
    2.25
    """
    check_choice(estimator, _NAMES, name="estimator")
    weights = importance_weights(target, logged)
    if weights.ndim != 2:
        raise ValueError(
            f"'target' must be (n, k), one probability a position; got shape {weights.shape}; single actions "
            "are for evaluate_rows"
        )
    received = _per_position(rewards, weights.shape, "rewards")
    model = _model(expected, expected_under, weights.shape, estimator)
    if estimator in _OF_WHOLE_SLATES:
        found = checked_overlap(weights.prod(axis=1), check_overlap)
    else:
        by_position = [checked_overlap(column, check_overlap) for column in weights.T]
        found = min(by_position, key=lambda one: one.effective_sample_size)
    if model is not None:
        terms = cascade_doubly_robust(weights, received, *model)
    else:
        terms = SLATE_ESTIMATORS[estimator](weights, received)
    return Estimate.of_terms(
        terms, found, interval=interval, width=width, confidence=confidence, random_state=random_state
    )


def evaluate_slate_totals(
    slates: ArrayLike,
    totals: ArrayLike,
    target: ArrayLike,
    logging: SlateMoments,
    *,
    interval: str = "normal",
    width: float | None = None,
    confidence: float = 0.95,
    check_overlap: bool = True,
    random_state: RandomState = 0,
) -> Estimate:
    """Expected reward of a slate where only the whole slate's reward is seen: the general pseudo-inverse.

    The reward is assumed to be a sum over positions, each term depending on the item there. The log may have
    drawn slates in any way, without replacement too.

    Parameters
    ----------
    slates : (n, k) array-like of integers
        Items that were shown, from the top.
    totals : (n,) array-like
        Reward of each slate.
    target : (k, n_items) or (n, k, n_items) array-like
        Probability that the policy puts each item at each position, for all slates or for each.
    logging : SlateMoments
        Of the log, from :func:`slate_moments`, for all slates or for each.
    interval : {"normal", "bootstrap", "bernstein"}
        See :func:`interval_of_mean`.
    width : float, optional
        Range of the terms; for "bernstein".
    confidence : float
        In (0, 1).
    check_overlap : bool
        Refuse where :meth:`Overlap.problems` finds a reason, at the worst position.
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
        If shapes do not fit.

    References
    ----------
    Swaminathan et al. (2017), "Off-policy evaluation for slate recommendation", NeurIPS, equation 6.

    Examples
    --------
    Two of three items in random order; the policy always shows 0, then 1. Items are worth 1, 2 and 3:

    >>> from itertools import permutations
    >>> from lambdamart_kit.explore.evaluation import slate_moments
    >>> slates = np.array(list(permutations(range(3), 2)))
    >>> found = evaluate_slate_totals(slates, (slates + 1.0).sum(axis=1), [[1, 0, 0], [0, 1, 0]],
    ...                               slate_moments(slates, 3), check_overlap=False)
    >>> round(found.value, 9)
    3.0
    """
    shown = np.asarray(slates)
    wanted = np.asarray(target, dtype=np.float64)
    weights = pseudo_inverse_weights(shown, wanted, logging)
    received = np.asarray(totals, dtype=np.float64)
    if received.shape != weights.shape or not np.isfinite(received).all():
        raise ValueError(f"'totals' must be finite, one a slate, {weights.shape}; got {received.shape}")
    n, k = shown.shape
    by_position = []
    # Weights of the pseudo-inverse may be negative, so the overlap is that of what stands at each position.
    for position in range(k):
        chances = np.broadcast_to(wanted[..., position, :], (n, wanted.shape[-1]))
        known = np.broadcast_to(logging.single[..., position, :], (n, wanted.shape[-1]))
        at = np.arange(n), shown[:, position]
        by_position.append(checked_overlap(chances[at] / known[at], check_overlap, chances, known))
    terms = weights * received
    worst = min(by_position, key=lambda one: one.effective_sample_size)
    return Estimate.of_terms(
        terms, worst, interval=interval, width=width, confidence=confidence, random_state=random_state
    )


def _per_position(values: ArrayLike, shape: tuple[int, ...], name: str) -> FloatArray:
    found = np.asarray(values, dtype=np.float64)
    if found.shape != shape or not np.isfinite(found).all():
        raise ValueError(f"{name!r} must be finite, one for each position, {shape}; got shape {found.shape}")
    return found


def _model(
    expected: ArrayLike | None, expected_under: ArrayLike | None, shape: tuple[int, ...], estimator: str
) -> tuple[FloatArray, FloatArray] | None:
    """Both parts of the model of "cascade-dr"; refuse what is missing, and what would be ignored."""
    given = [name for name, value in _named(expected, expected_under) if value is not None]
    if estimator != "cascade-dr" and given:
        raise ValueError(f"estimator={estimator!r} does not use {given[0]!r}; 'cascade-dr' does")
    if expected is None or expected_under is None:
        if estimator == "cascade-dr":
            raise ValueError(
                "estimator='cascade-dr' needs 'expected' and 'expected_under'; cascade_rewards fits them"
            )
        return None
    return (
        _per_position(expected, shape, "expected"),
        _per_position(expected_under, shape, "expected_under"),
    )


def _named(
    expected: ArrayLike | None, expected_under: ArrayLike | None
) -> list[tuple[str, ArrayLike | None]]:
    return [("expected", expected), ("expected_under", expected_under)]
