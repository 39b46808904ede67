r"""What another ranking would have been worth, from clicks and the propensities of positions.

A click at position p counts :math:`1 / \theta_p` times, because only a share :math:`\theta_p` of those who
would have clicked there looked. Summed with what the new ranking makes of the document, this is unbiased
where users look at positions independently of documents (the position-based model).
"""

from __future__ import annotations

import numpy as np

from lambdamart_kit.core.gains import check_choice, check_count, discounts
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.sorting import worth_of_rows
from lambdamart_kit.core.typing import ArrayLike, BoolArray, FloatArray, Ids, IndexArray, RandomState
from lambdamart_kit.explore.evaluation.log import Estimate, PoorOverlap, refuse_poor
from lambdamart_kit.explore.evaluation.weights import Overlap, overlap
from lambdamart_kit.metrics.base import check_scores

MEASURES = ("clicks", "dcg")


def evaluate_ranking(
    scores: ArrayLike,
    clicks: ArrayLike,
    position: ArrayLike,
    propensities: ArrayLike,
    qid: Ids = None,
    *,
    against: ArrayLike | None = None,
    measure: str = "clicks",
    k: int | None = None,
    interval: str = "normal",
    width: float | None = None,
    confidence: float = 0.95,
    check_overlap: bool = True,
    random_state: RandomState = 0,
) -> Estimate:
    r"""Clicks a list (or DCG@k) that an order by `scores` would get, from a log of another order.

    .. math:: \frac{1}{n} \sum_{lists} \sum_{i\ clicked} \frac{v(rank_i)}{\theta_{position_i}}

    with v the propensity of the new rank ("clicks") or the discount ``1 / log2(rank + 2)`` ("dcg").

    Parameters
    ----------
    scores : (n_samples,) array-like
        Score of each row under the new ranker; a higher one ranks first. Equal scores: the mean over orders.
    clicks : (n_samples,) array-like of 0 and 1
        What was clicked.
    position : (n_samples,) array-like of integers
        Where it was shown, from 1; 0 for a candidate that was not shown.
    propensities : (n_positions,) array-like
        Probability that each position is looked at, relative to the first: ``propensities_`` of a ranker that
        was fitted with ``position_bias="harvest"``, for example.
    qid : (n_samples,) array-like, optional
        The list that each row stood in; None is one list.
    against : (n_samples,) array-like, optional
        Scores of another ranker: estimate by how much `scores` is better. The interval of the difference is
        narrower than those of both.
    measure : {"clicks", "dcg"}
        "clicks" counts clicks a list; "dcg" is DCG@k of the probability of a click, times that of looking at
        the first position.
    k : int, optional
        Length of the new lists; by default as many positions as have `propensities`.
    interval : {"normal", "bootstrap", "bernstein"}
        See :func:`interval_of_mean`; lists are independent, rows of one list are not.
    width : float, optional
        Range of the terms; for "bernstein".
    confidence : float
        In (0, 1).
    check_overlap : bool
        Refuse where :meth:`Overlap.problems` finds a reason, such as many new documents that nobody saw.
    random_state : int, Generator or None
        For "bootstrap".

    Returns
    -------
    Estimate
        The value a list, its interval and the overlap of shown rows with the new order.

    Raises
    ------
    PoorOverlap
        If the log covers the new order too badly.
    ValueError
        If an array does not fit, clicks are not 0 or 1, or a row that was not shown is clicked.

    References
    ----------
    Joachims, Swaminathan, Schnabel (2017), "Unbiased learning-to-rank with biased feedback", WSDM, eq. 4.

    Examples
    --------
    A quarter of the users click at the second position, where only half of them look. The new order puts
    that document first:

    >>> qid = np.repeat(np.arange(200), 2)
    >>> clicks = np.tile([0, 0, 0, 1, 0, 0, 0, 0], 50)
    >>> position = np.tile([1, 2], 200)
    >>> found = evaluate_ranking(position, clicks, position, [1.0, 0.5], qid)
    >>> found.value, float(clicks.sum() / 200)
    (0.5, 0.25)
    """
    check_choice(measure, MEASURES, name="measure")
    clicked, place, theta = _check_log(clicks, position, propensities)
    queries = Queries.from_qid(qid, len(clicked))
    _check_lists(place, queries)
    worth = _worth(
        measure, len(theta) if k is None else check_count(k, name="k"), theta, int(queries.sizes.max())
    )
    gained = [_of_rank(values, worth, queries) for values in (scores, against) if values is not None]
    shown = place > 0
    inverse = np.zeros(len(clicked))
    inverse[shown] = 1.0 / theta[place[shown] - 1]
    found = _overlap(gained[0], inverse, shown)
    if check_overlap:
        refuse_poor(found)
    difference = gained[0] if against is None else gained[0] - gained[1]
    if queries.n_queries < 2:
        raise ValueError("'qid' must name at least two lists for an interval; got one list")
    terms = np.add.reduceat(queries.sort(difference * inverse * clicked), queries.ptr[:-1])
    return Estimate.of_terms(
        terms, found, interval=interval, width=width, confidence=confidence, random_state=random_state
    )


def _check_lists(place: IndexArray, queries: Queries) -> None:
    """Refuse lists that show two rows at one position: their ids are of queries, not of lists."""
    of_list = queries.query_of_ordered_row
    ordered = queries.sort(place)
    order = np.lexsort((ordered, of_list))
    same = (np.diff(of_list[order]) == 0) & (np.diff(ordered[order]) == 0) & (ordered[order][1:] > 0)
    if same.any():
        first, second = queries.order[order[np.flatnonzero(same)[0] :][:2]]
        raise ValueError(
            f"'qid' must name one list that was shown; rows {first} and {second} stand in one list, both at "
            f"position {place[first]}; give each impression an id of its own"
        )


def _worth(measure: str, k: int, theta: FloatArray, longest: int) -> FloatArray:
    """What a click is worth at each rank of the new lists."""
    worth = np.zeros(max(longest, k))
    if measure == "dcg":
        worth[:k] = discounts(k)
        return worth[:longest]
    if k > len(theta):
        raise ValueError(
            f"'k' must be at most the {len(theta)} 'propensities' for measure='clicks', because clicks below "
            f"them cannot be told; got {k}"
        )
    worth[:k] = theta[:k]
    return worth[:longest]


def _of_rank(scores: ArrayLike, worth: FloatArray, queries: Queries) -> FloatArray:
    """What a click on each row is worth at the row's rank by `scores`, in row order."""
    ordered = queries.sort(check_scores(scores, queries))
    return np.asarray(queries.unsort(worth_of_rows(ordered, queries.ptr, worth)), dtype=np.float64)


def _overlap(worth: FloatArray, inverse: FloatArray, shown: BoolArray) -> Overlap:
    """Overlap of what was shown with the new order; the share of the new order that nobody saw."""
    weights = worth[shown] * inverse[shown]
    if not weights.any():
        raise PoorOverlap("no document of the new lists was shown, so the log says nothing about them")
    # These weights are no ratios of probabilities, so their mean need not be 1.
    found = overlap(weights[worth[shown] > 0])._replace(mean_weight=np.nan)
    if shown.all():
        return found
    return found._replace(unsupported=float(worth[~shown].sum() / worth.sum()))


def _check_log(
    clicks: ArrayLike, position: ArrayLike, propensities: ArrayLike
) -> tuple[FloatArray, IndexArray, FloatArray]:
    clicked = np.asarray(clicks, dtype=np.float64)
    place = np.asarray(position)
    theta = np.asarray(propensities, dtype=np.float64)
    if clicked.ndim != 1 or not len(clicked) or place.shape != clicked.shape:
        raise ValueError(
            f"'clicks' and 'position' must be (n_samples,), at least one row; got {clicked.shape} and "
            f"{place.shape}"
        )
    if not np.isin(clicked, (0.0, 1.0)).all():
        raise ValueError("'clicks' must be 0 or 1; got another value, or NaN")
    if theta.ndim != 1 or not len(theta) or not (np.isfinite(theta) & (theta > 0)).all():
        raise ValueError(f"'propensities' must be (n_positions,), finite and > 0; got shape {theta.shape}")
    if place.dtype.kind not in "iu" or place.min() < 0 or place.max() > len(theta):
        raise ValueError(
            f"'position' must be whole numbers from 1 to the {len(theta)} 'propensities', or 0 for not "
            f"shown; got {place.dtype} {place.min()} to {place.max()}"
        )
    if (clicked[place == 0] > 0).any():
        row = np.flatnonzero((place == 0) & (clicked > 0))[0]
        raise ValueError(f"'clicks' must be 0 where 'position' is 0, not shown; row {row} is clicked")
    return clicked, place.astype(np.intp), theta
