r"""The pseudo-inverse estimator for slates whose reward is only seen in total.

With the indicator :math:`1_s` of a slate, one entry for each pair of position and item, a reward that is a
sum over positions is :math:`1_s^\top \phi`. Its least-squares estimate from the log leads to the weight

.. math:: w(s) = q_\pi^\top \Gamma^+ 1_s, \qquad \Gamma = E_\mu[1_s 1_s^\top], \quad q_\pi = E_\pi[1_s]

of a slate's reward. For a log that draws each position by itself it is :math:`1 + \sum_l (w_l - 1)`.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from lambdamart_kit.core.gains import check_count
from lambdamart_kit.core.typing import ArrayLike, FloatArray, IndexArray
from lambdamart_kit.explore.sampling import slate_log_prob

_MOST_SLATES = 100_000  # that are listed one by one
_RANK = 1e-10  # eigenvalues below this share of the largest count as zero
_OUTSIDE = 1e-6  # of a policy that the log could not have shown


class SlateMoments(NamedTuple):
    """How often a log shows an item at a position, and two items at two positions.

    Parameters
    ----------
    single : (..., k, n_items) float64
        Probability of each item at each position.
    pairs : (..., k * n_items, k * n_items) float64
        Probability of each two entries of `single` together: :math:`E[1_s 1_s']`.

    Examples
    --------
    >>> from lambdamart_kit.explore.evaluation import slate_moments
    >>> slate_moments([[0, 1], [1, 0]], 2).single.tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """

    single: FloatArray
    pairs: FloatArray


def slate_moments(slates: ArrayLike, n_items: int, probabilities: ArrayLike | None = None) -> SlateMoments:
    """Moments of slates with given probabilities, or of slates that were drawn.

    Parameters
    ----------
    slates : (n_slates, k) array-like of integers
        All slates that a policy may show, or a large sample of what it shows.
    n_items : int
        Number of items there are.
    probabilities : (n_slates,) array-like, optional
        Probability of each slate; equal by default, as for a sample.

    Returns
    -------
    SlateMoments
        Of the log, or (its `single`) of the policy to be evaluated.

    Raises
    ------
    ValueError
        If a slate names an item that does not exist, or probabilities do not sum to 1.

    Examples
    --------
    >>> moments = slate_moments([[0, 1], [1, 0]], 2, [0.75, 0.25])
    >>> moments.single.tolist(), moments.pairs.shape
    ([[0.75, 0.25], [0.25, 0.75]], (4, 4))
    """
    rows = _check_slates(slates, check_count(n_items, name="n_items"))
    n, k = rows.shape
    chance = np.full(n, 1.0 / n) if probabilities is None else np.asarray(probabilities, dtype=np.float64)
    if chance.shape != (n,) or not (chance >= 0).all() or not np.isclose(chance.sum(), 1.0):
        raise ValueError(
            f"'probabilities' must be ({n},), >= 0, with sum 1; got shape {chance.shape}, sum {chance.sum()}"
        )
    shown = _indicators(rows, n_items)
    return SlateMoments((chance @ shown).reshape(k, n_items), shown.T @ (shown * chance[:, None]))


def plackett_luce_moments(scores: ArrayLike, k: int, *, beta: float = 1.0) -> SlateMoments:
    """Exact moments of slates of `k` items that :func:`~lambdamart_kit.explore.sample_slates` draws.

    Parameters
    ----------
    scores : (n_items,) array-like
        Scores that the log drew by.
    k : int
        Length of the slates.
    beta : float
        > 0, as in `sample_slates`; with all scores equal, slates are drawn uniformly.

    Returns
    -------
    SlateMoments
        Of the log.

    Raises
    ------
    ValueError
        If there are more than 100,000 slates to list; draw a sample for :func:`slate_moments` instead.

    Examples
    --------
    >>> plackett_luce_moments([0.0, 0.0, 0.0], 2).single.round(6).tolist()
    [[0.333333, 0.333333, 0.333333], [0.333333, 0.333333, 0.333333]]
    """
    values = np.asarray(scores, dtype=np.float64)
    n_items = len(values)
    if not 1 <= check_count(k, name="k") <= n_items:
        raise ValueError(f"'k' must be at most the {n_items} items; got {k}")
    n_slates = math.perm(n_items, k)
    if n_slates > _MOST_SLATES:
        raise ValueError(
            f"{n_slates:,} slates of {k} of {n_items} items are too many to list, above {_MOST_SLATES:,}; "
            "pass a sample of sample_slates to slate_moments"
        )
    slates = np.array(list(itertools.permutations(range(n_items), k)), dtype=np.intp)
    return slate_moments(slates, n_items, np.exp(slate_log_prob(values, slates, beta=beta)))


def pseudo_inverse_weights(slates: ArrayLike, target: ArrayLike, logging: SlateMoments) -> FloatArray:
    r"""Weight :math:`q_\pi^\top \Gamma^+ 1_s` of each slate's reward; their mean product is the estimate.

    Parameters
    ----------
    slates : (n, k) array-like of integers
        Items that were shown, from the top.
    target : (k, n_items) or (n, k, n_items) array-like
        Probability that the policy puts each item at each position.
    logging : SlateMoments
        Of the log, for all slates or for each.

    Returns
    -------
    (n,) float64
        Some may be negative.

    Raises
    ------
    ValueError
        If shapes do not fit, or the policy shows what the log cannot have told about.

    References
    ----------
    Swaminathan et al. (2017), "Off-policy evaluation for slate recommendation", NeurIPS, equation 6.

    Examples
    --------
    >>> moments = slate_moments([[0, 1], [1, 0]], 2)
    >>> pseudo_inverse_weights([[0, 1], [1, 0]], [[1, 0], [0, 1]], moments).round(9).tolist()
    [2.0, 0.0]
    """
    wanted = np.asarray(target, dtype=np.float64)
    rows = _check_slates(slates, wanted.shape[-1])
    n, k = rows.shape
    if wanted.shape[-2:] != logging.single.shape[-2:] or wanted.shape[-2] != k or wanted.ndim not in (2, 3):
        raise ValueError(
            f"'target' must be (k, n_items) or (n, k, n_items), with the k and n_items of 'slates' and "
            f"'logging'; got {wanted.shape}, slates {rows.shape} and logging {logging.single.shape}"
        )
    for name, first in (("target", wanted.shape[:-2]), ("logging", logging.pairs.shape[:-2])):
        if first not in ((), (n,)):
            raise ValueError(f"{name!r} must be for all slates or for each of the {n}; got {first}")
    flat = wanted.reshape(*wanted.shape[:-2], -1)
    inverse = np.linalg.pinv(logging.pairs, rcond=_RANK, hermitian=True)
    direction = np.einsum("...i,...ij->...j", flat, inverse)
    # What the log can tell is the range of its second moments; a policy outside has no unbiased estimate.
    missed = np.abs(np.einsum("...i,...ij->...j", direction, logging.pairs) - flat).max()
    if missed > _OUTSIDE:
        raise ValueError(
            f"'target' shows items at positions that 'logging' never shows, or combines them as it never "
            f"does (off by {missed:.3g}); evaluate a policy that stays within what was logged"
        )
    place = np.arange(k) * wanted.shape[-1] + rows
    at_place = np.take_along_axis(np.broadcast_to(direction, (n, direction.shape[-1])), place, axis=1)
    return np.asarray(at_place.sum(axis=1), dtype=np.float64)


def _indicators(rows: IndexArray, n_items: int) -> FloatArray:
    """One row a slate, one column a pair of position and item."""
    n, k = rows.shape
    shown = np.zeros((n, k * n_items))
    np.put_along_axis(shown, np.arange(k) * n_items + rows, 1.0, axis=1)
    return shown


def _check_slates(slates: ArrayLike, n_items: int) -> IndexArray:
    rows = np.asarray(slates)
    if rows.ndim != 2 or not rows.size or rows.dtype.kind not in "iu":
        raise ValueError(f"'slates' must be (n, k) numbers of items, at least one; got shape {rows.shape}")
    if rows.min() < 0 or rows.max() >= n_items:
        raise ValueError(f"'slates' must hold items 0 to {n_items - 1}; got {rows.min()} to {rows.max()}")
    return rows.astype(np.intp)
