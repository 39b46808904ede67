"""Documents that take more than one place of a ranking, or part of one: weights of documents.

A document of weight 2 stands for two copies of itself. The copies have one score, so they are a block of
ties, and every measure of the block is its expectation over the orders of the block, as for other ties. So
a ranking is a line that is cut into pieces as long as the documents weigh:

    weights 2, 1, 3      |  a   a  |  b  |  c   c   c  |
    place                0    1    2     3    4    5   6

Rank r has the places r to r + 1, all with the discount D(r). With A(x), the area under the discount up to
place x, a block from `first` to `last` has the mean discount

    (A(last) - A(first)) / (last - first)

For whole weights that is exactly the mean over the ranks of the copies; for other weights A interpolates.
"""

from __future__ import annotations

import numpy as np

from lambdamart_kit.compile import inner
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.ranking.block_order import AVERAGE, INPUT, PESSIMISTIC
from lambdamart_kit.core.ranking.labelled import Discounts
from lambdamart_kit.core.ranking.pair_loop import PairSettings
from lambdamart_kit.core.ranking.rank_order import Ranked
from lambdamart_kit.core.sorting import label_order
from lambdamart_kit.core.typing import Array, FloatArray, IndexArray


@inner(inline="always")
def _area(place: float, discounts: Discounts) -> float:
    """A(place); discounts must reach one rank further than the places do."""
    rank = np.intp(place)
    return discounts.above[rank] + (place - rank) * discounts.at[rank]


@inner(borrows=True)
def placed_swaps(n_entries: int, settings: PairSettings, winner: bool, ranked: Ranked) -> None:
    """Weights from a discount for each rank, entries taking as many places as they have mass.

    What :func:`lambdamart_kit.core.ranking.swaps.discount_swaps` is for the copies that weights stand for.
    """
    discounts = settings.discounts
    truncation = np.float64(settings.truncation)
    start = 0
    first = 0.0
    while start < n_entries:
        stop = ranked.stop[start]
        last = first
        for entry in range(start, stop):
            last += np.float64(ranked.mass[entry])
        size = last - first
        cut = min(max(truncation, first), last)  # places first to cut lie above the truncation
        mean = 0.0
        if stop > start + 1 and cut > first:
            if winner:
                mean = _winner_within(first, cut, last, discounts)
            else:
                mean = _difference_within(first, cut, last, discounts)
        above = _area(first, discounts)
        for entry in range(start, stop):
            ranked.upper[entry] = (_area(cut, discounts) - above) / size
            ranked.share[entry] = (cut - first) / size
            ranked.lower[entry] = (_area(last, discounts) - above) / size
            ranked.within[entry] = mean
        first = last
        start = stop


@inner(borrows=True)
def _difference_within(first: float, cut: float, last: float, discounts: Discounts) -> float:
    """Mean of |discount(a) - discount(b)| over pairs of places of a block, pairs wholly below `cut` as 0."""
    whole = _area(last, discounts)
    total = 0.0
    place = first
    # The sum over all places b below a of D(a) - D(b) is D(a) (last - a) - (A(last) - A(a)). It is the same
    # for all places a of one rank, because the places between them have the discount D(a), too. So a step
    # of the loop is a rank.
    while place < cut:
        rank = np.intp(place)
        end = min(np.float64(rank + 1), cut)
        total += (end - place) * (discounts.at[rank] * (last - rank) - (whole - discounts.above[rank]))
        place = end
    size = last - first
    # Of n copies there are n (n - 1) / 2 pairs. A block of less than two copies, which only weights that are
    # no whole numbers make, has n n / 4: the two agree at n = 2.
    return 2.0 * total / (size * max(size - 1.0, 0.5 * size))


@inner(borrows=True)
def _winner_within(first: float, cut: float, last: float, discounts: Discounts) -> float:
    """Mean of discount(a) over ordered pairs of places a, b of a block, pairs wholly below `cut` as 0."""
    size = last - first
    below = last - cut
    whole = _area(last, discounts)
    total = whole - _area(first, discounts)
    lost = (whole - _area(cut, discounts)) * (below - 1.0) / (size - 1.0) if below > 1.0 else 0.0
    return (total - lost) / size


def most_places(weight: FloatArray, queries: Queries) -> int:
    """Ranks that discounts must reach: the places of the heaviest query, and room for rounding."""
    return int(np.ceil(np.add.reduceat(weight, queries.ptr[:-1]).max(initial=0.0))) + 2


def ideal_placed_dcg(
    gain: FloatArray, weight: FloatArray, discounts: Discounts, truncation: int, queries: Queries
) -> FloatArray:
    """Ideal DCG, cut at the truncation, of each ordered row's query; 1 where it is 0.

    Parameters
    ----------
    gain, weight : (n_samples,) array
        Ordered rows.
    discounts : Discounts
        Of at least one rank more than a query has places.
    truncation : int
        Places that count.
    queries : Queries
    """
    order = label_order(gain, queries.ptr)
    last = _ends(weight[order], queries)
    worth = _span(last - weight[order], last, truncation, discounts) * gain[order]
    ideal = np.bincount(queries.query_of_ordered_row, weights=worth, minlength=queries.n_queries)
    ideal[ideal == 0] = 1.0
    per_row: FloatArray = np.repeat(ideal, queries.sizes)
    return per_row


def placed_sums(
    scores: Array,
    values: FloatArray,
    weight: FloatArray,
    queries: Queries,
    cutoff: float,
    ties: int,
    discounts: Discounts,
) -> FloatArray:
    """``sum over the places before the cut-off of value * discount`` of each query, (n_queries,).

    What :func:`lambdamart_kit.core.ranking.tie_blocks.discounted_sums` is for the copies that weights stand
    for. A document of weight 0 counts as absent.

    Parameters
    ----------
    scores, values, weight : (n_samples,) array
        Ordered rows.
    queries : Queries
    cutoff : float
        Places that count; infinity for all.
    ties : int
        One of the conventions of `block_order.TIES`.
    discounts : Discounts
        Of at least one rank more than a query has places.
    """
    query = queries.query_of_ordered_row
    descending = -scores.astype(np.float64)
    # Values and weights are sorted too, so that no sum depends on how the rows came.
    if ties == INPUT:
        order = np.lexsort((descending, query))
    else:
        order = np.lexsort((weight, values if ties == PESSIMISTIC else -values, descending, query))
    starts: IndexArray = np.arange(len(order), dtype=np.intp)
    if ties == AVERAGE:
        ranked = descending[order]
        new_query = query[order][1:] != query[order][:-1]
        starts = np.concatenate(([0], 1 + np.flatnonzero(new_query | (ranked[1:] != ranked[:-1]))))
    mass = np.add.reduceat(weight[order], starts)
    worth = np.add.reduceat((weight * values)[order], starts)
    ends = np.append(starts[1:], len(order)) - 1
    last: FloatArray = _ends(weight[order], queries)[ends]
    span = _span(last - mass, last, cutoff, discounts)
    mean = np.divide(worth, mass, out=np.zeros_like(worth), where=mass > 0)
    sums = np.bincount(query[order][starts], weights=mean * span, minlength=queries.n_queries)
    return np.asarray(sums, dtype=np.float64)


def _ends(weight: FloatArray, queries: Queries) -> FloatArray:
    """Place at which each row ends, rows of a query standing one after the other."""
    total = np.concatenate(([0.0], np.cumsum(weight)))
    ends: FloatArray = total[1:] - np.repeat(total[queries.ptr[:-1]], queries.sizes)
    return ends


def _span(first: FloatArray, last: FloatArray, cutoff: float, discounts: Discounts) -> FloatArray:
    """Area under the discount between two places, as far as it lies before the cut-off."""
    ends = np.minimum(np.maximum([first, last], 0.0), cutoff)
    rank = ends.astype(np.intp)
    area = discounts.above[rank] + (ends - rank) * discounts.at[rank]
    span: FloatArray = area[1] - area[0]
    return span
