"""Choose the trade-off for a wanted similarity, on lists of the past."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lambdamart_kit.core.gains import check_number
from lambdamart_kit.core.queries import factorize_ids, run_starts
from lambdamart_kit.core.rows import as_ids
from lambdamart_kit.core.typing import ArrayLike, FloatArray, Ids
from lambdamart_kit.diversify.lists import intra_list_distance
from lambdamart_kit.diversify.reranking import rerank


class TradeOff(NamedTuple):
    """What :func:`choose_trade_off` found.

    Parameters
    ----------
    trade_off : float
        The smallest one tried whose lists are no more alike than wanted.
    similarity : float
        Mean similarity within the lists at `trade_off`.
    relevance_kept : float
        Share of the discounted relevance of the undiversified lists that is kept at `trade_off`.
    curve : (n_tried, 3) float64
        Trade-off, similarity and relevance kept, of each trade-off that was tried.

    Examples
    --------
    >>> found = choose_trade_off([1.0, 0.9, 0.0], [[1, 0], [1, 0], [0, 1]], 1.0, k=2)
    >>> found.trade_off, found.curve.shape
    (0.0, (21, 3))
    """

    trade_off: float
    similarity: float
    relevance_kept: float
    curve: FloatArray


def choose_trade_off(
    scores: ArrayLike,
    features: ArrayLike,
    similarity: float,
    k: int = 10,
    *,
    qid: Ids = None,
    grid: ArrayLike | None = None,
    **options: Any,
) -> TradeOff:
    r"""The smallest `trade_off` at which the lists of the past would have been diverse enough.

    Similarity is the mean cosine of two different rows of a list, averaged over the lists. The relevance kept
    is :math:`\sum r_i / \log_2(rank_i + 2)` relative to the same sum without diversification, where r are the
    scores, mapped to [0, 1] within each query.

    Parameters
    ----------
    scores : (n_samples,) array-like
        Relevance of the rows of past queries.
    features : (n_samples, n_features) array-like
        What rows are compared by.
    similarity : float
        The wanted mean similarity, in [-1, 1].
    k : int
        Length of the lists.
    qid : (n_samples,) array-like, optional
        Query of each row; None is one list.
    grid : (n_tried,) array-like, optional
        Trade-offs to try; 0, 0.05, ..., 1 by default.
    **options
        Passed to :func:`rerank`, such as ``utility="mmr"``. Utility "coverage" also needs its `topics`.

    Returns
    -------
    TradeOff
        The trade-off, what it costs, and the curve it was read from.

    Raises
    ------
    ValueError
        If no trade-off of the grid makes the lists so diverse; the message says how close they came.

    Examples
    --------
    >>> scores, features = [1.0, 0.9, 0.8, 0.0], [[1, 0], [1, 0], [0, 1], [1, 1]]
    >>> found = choose_trade_off(scores, features, 0.1, k=2, utility="mmr")
    >>> found.trade_off, round(found.relevance_kept, 3)
    (0.1, 0.96)
    """
    check_number(similarity, name="similarity", least=-1.0, most=1.0)
    tried = np.linspace(0.0, 1.0, 21).round(2) if grid is None else np.sort(np.asarray(grid, dtype=float))
    if tried.ndim != 1 or not len(tried):
        raise ValueError(f"'grid' must be a list of at least one trade-off; got {grid!r}")
    given: dict[str, Any] = {} if options.get("utility") == "coverage" else {"features": features}
    curve = []
    for trade_off in tried:
        chosen = rerank(scores, k, qid=qid, trade_off=float(trade_off), **given, **options)
        curve.append([trade_off, *_judge(np.asarray(scores, dtype=float), features, qid, k, chosen)])
    points = np.array(curve)
    if np.isnan(points[:, 1]).all():
        raise ValueError(
            "'similarity' is that of two rows of a list, and no list has two; give a 'k' of at least 2 and "
            f"'qid' whose lists have several rows; got k={k!r}"
        )
    undiversified = rerank(scores, k, qid=qid, trade_off=0.0, **given, **options)
    _, most = _judge(np.asarray(scores, dtype=float), features, qid, k, undiversified)
    points[:, 2] /= most if most > 0 else 1.0
    enough = np.flatnonzero(points[:, 1] <= similarity)
    if not len(enough):
        best = points[points[:, 1].argmin()]
        raise ValueError(
            f"'similarity' {similarity:g} is not reached by any trade-off of the grid: the least is "
            f"{best[1]:.4g}, at trade_off={best[0]:g}; ask for that, or try another utility"
        )
    first = points[enough[0]]
    return TradeOff(float(first[0]), float(first[1]), float(first[2]), points)


def _judge(
    scores: FloatArray, features: ArrayLike, qid: Ids, k: int, chosen: ArrayLike
) -> tuple[float, float]:
    """Mean similarity within the lists, and their mean discounted relevance."""
    rows = np.asarray(chosen)
    groups = np.zeros(len(scores), dtype=np.intp) if qid is None else as_ids(qid)
    _, code = factorize_ids(groups, "qid")
    low = np.full(code.max() + 1, np.inf)
    high = np.full(code.max() + 1, -np.inf)
    np.minimum.at(low, code, scores)
    np.maximum.at(high, code, scores)
    width = np.where(high > low, high - low, 1.0)
    relevance = (scores - low[code]) / width[code]
    # `chosen` holds the lists end to end, so a row's place is its distance from where its list begins.
    of_list = code[rows]
    starts = run_starts(of_list)
    place = np.arange(len(rows)) - np.repeat(starts, np.diff(np.r_[starts, len(rows)]))
    gained = float((relevance[rows] / np.log2(place + 2.0)).sum())
    distances = intra_list_distance(
        np.asarray(features)[rows], -place.astype(float), groups[rows], k=k, per_query=True
    )
    known = np.asarray(distances)[~np.isnan(distances)]
    return 1.0 - float(known.mean()) if len(known) else np.nan, gained
