r"""Sampling from scores: Boltzmann probabilities and Plackett-Luce slates, with exact log-probabilities.

``boltzmann(scores, beta=beta)`` is the policy that maximises expected score less ``beta`` times the KL
divergence from the *uniform* policy. From a reference policy the maximiser is ``pi_ref exp(r / beta) / Z``
(:func:`lambdamart_kit.preferences.dpo.optimal_policy`), which is ``boltzmann(r + beta * log pi_ref,
beta=beta)``. Temperature at generation time is another thing: it divides ``log pi_ref`` too
(:func:`lambdamart_kit.preferences.dpo.temper`), so the two agree only when ``pi_ref`` is uniform.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from lambdamart_kit.core.gains import check_count, check_number
from lambdamart_kit.core.typing import ArrayLike, FloatArray, IndexArray


def boltzmann(scores: ArrayLike, *, beta: float = 1.0) -> FloatArray:
    r"""Probabilities :math:`\pi_i = \exp(s_i / \beta) / \sum_j \exp(s_j / \beta)` over the last axis.

    Parameters
    ----------
    scores : (..., n_items) array-like
        Minus infinity excludes an item.
    beta : float
        > 0; towards 0 the best item alone, towards infinity uniform.

    Returns
    -------
    (..., n_items) float64
        Probabilities, which sum to 1 over the last axis.

    Raises
    ------
    ValueError
        If `beta` is not > 0, a score is NaN or plus infinity, or every item is excluded.

    References
    ----------
    Sutton and Barto (2018), "Reinforcement learning", eq. 2.11; Ziebart (2010) for the link to entropy.

    Examples
    --------
    >>> boltzmann([1.0, 0.0, -1.0]).round(6).tolist()
    [0.665241, 0.244728, 0.090031]
    """
    return np.exp(log_softmax(_scaled(scores, beta), axis=-1))


def sample_slates(
    scores: ArrayLike,
    k: int,
    *,
    beta: float = 1.0,
    size: int = 1,
    random_state: int | np.random.Generator | None = None,
) -> IndexArray:
    r"""Slates of `k` different items from the Plackett-Luce model, by Gumbel-top-k.

    The first item is drawn with probability :math:`\propto \exp(s_i / \beta)`, the next likewise from what is
    left, and so on. Adding independent Gumbel noise to ``s / beta`` and sorting does all k draws at once.

    Parameters
    ----------
    scores : (n_items,) array-like
        Minus infinity excludes an item.
    k : int
        Items of a slate, at most the items that are not excluded.
    beta : float
        > 0; towards 0 the slate is the ranking by score.
    size : int
        Slates to draw.
    random_state : int, Generator or None
        Seed of the draws; None draws differently every time.

    Returns
    -------
    (size, k) intp
        Items, first choice first.

    Raises
    ------
    ValueError
        As in :func:`boltzmann`, or if fewer than `k` items are left.

    References
    ----------
    Yellott (1977), J. Math. Psychology 15; Kool, van Hoof, Welling (2019), "Stochastic beams and where to
    find them", ICML, section 3.

    Examples
    --------
    >>> sample_slates([5.0, 4.0, -np.inf], 2, beta=0.01, random_state=0).tolist()
    [[0, 1]]
    """
    logits = _scaled(scores, beta)
    if logits.ndim != 1:
        raise ValueError(f"'scores' must be one-dimensional, one per item; got shape {logits.shape}")
    n_left = int(np.isfinite(logits).sum())
    if check_count(k, name="k") > n_left:
        raise ValueError(f"'k' must be at most the {n_left} items that are not excluded; got {k}")
    rng = np.random.default_rng(random_state)
    keys = logits + rng.gumbel(size=(check_count(size, name="size"), len(logits)))
    return np.argsort(-keys, axis=1, kind="stable")[:, :k].astype(np.intp, copy=False)


def slate_log_prob(scores: ArrayLike, slates: ArrayLike, *, beta: float = 1.0) -> FloatArray:
    r"""Exact Plackett-Luce log-probability of ordered slates.

    .. math:: \log P(a_1 \dots a_k) = \sum_j \Big( s_{a_j} / \beta
              - \log \sum_{i \notin \{a_1 \dots a_{j-1}\}} \exp(s_i / \beta) \Big)

    Parameters
    ----------
    scores : (n_items,) array-like
        Minus infinity excludes an item.
    slates : (n_slates, k) or (k,) array-like
        Different items, first choice first.
    beta : float
        > 0: how random the choice is, as in :func:`boltzmann`.

    Returns
    -------
    (n_slates,) float64, or a 0-d array for one slate
        Log-probability of each slate, at most 0.

    Raises
    ------
    ValueError
        As in :func:`boltzmann`, or if a slate repeats an item or names one that does not exist.

    Examples
    --------
    >>> round(float(np.exp(slate_log_prob([0.0, 0.0, 0.0], [2, 0]))), 6)       # 1/3 * 1/2
    0.166667
    """
    logits = _scaled(scores, beta)
    if logits.ndim != 1:
        raise ValueError(f"'scores' must be (n_items,), one list; got shape {logits.shape}")
    items = np.asarray(slates)
    rows = _check_slates(np.atleast_2d(items), len(logits))
    left = np.tile(logits, (len(rows), 1))
    total = np.zeros(len(rows))
    each = np.arange(len(rows))
    for item in rows.T:
        with np.errstate(invalid="ignore"):
            total += log_softmax(left, axis=1)[each, item]
        left[each, item] = -np.inf
    return total if items.ndim == 2 else total[0]


def _scaled(scores: ArrayLike, beta: float) -> FloatArray:
    values = np.asarray(scores, dtype=np.float64)
    check_number(beta, name="beta", least=0.0, open_ends="low")
    if np.isnan(values).any() or np.isposinf(values).any():
        raise ValueError("'scores' must not be NaN or plus infinity")
    if values.ndim == 0 or values.shape[-1] == 0 or np.isneginf(values).all(axis=-1).any():
        raise ValueError(
            f"'scores' must leave at least one item that is not excluded; got shape {values.shape}"
        )
    # Relative to the best score nothing is above 0, so that scores of any size, over any beta, stay defined.
    best = values.max(axis=-1, keepdims=True)
    with np.errstate(over="ignore"):
        return np.asarray((values - best) / beta)


def _check_slates(rows: IndexArray, n_items: int) -> IndexArray:
    if rows.dtype.kind not in "iu" or rows.ndim != 2 or ((rows < 0) | (rows >= n_items)).any():
        raise ValueError(f"'slates' must hold items 0 to {n_items - 1}, (n_slates, k)")
    ordered = np.sort(rows, axis=1)
    repeated = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    if len(repeated):
        raise ValueError(
            f"'slates' must not repeat an item; slate {repeated[0]} is {rows[repeated[0]].tolist()}"
        )
    return rows.astype(np.intp)
