"""What swapping two documents does to a metric: the pair weights of the lambda objectives.

Every metric here has |delta| of one form, for entry i in a block above that of entry j:

    |gain[i] - gain[j]| * (upper[i] - share[i] * lower[j])

so a kernel fills four arrays a query (`upper`, `share`, `lower` and, for pairs of one block, `within`) in
O(documents), and the pair loop is the same for all. Pairs count when the upper document ranks above the
truncation. Blocks of tied documents stand for all their orders: the arrays hold expectations.
"""

from __future__ import annotations

import numpy as np

from lambdamart_kit.core.jit import kernel
from lambdamart_kit.core.ranked import Ranked
from lambdamart_kit.core.typing import FloatArray


@kernel
def discount_swaps(
    n_entries: int,
    tied: bool,
    discount: FloatArray,
    cumulative: FloatArray,
    truncation: int,
    winner: bool,
    ranked: Ranked,
) -> None:
    """Weights from a discount per rank; exact expectations, by prefix sums (``cumulative[r]`` = sum below r).

    With `winner` the discount of the better document counts instead of the difference of the two.
    """
    if not tied:
        cut = min(truncation, n_entries)
        for rank in range(np.uint64(n_entries)):
            ranked.lower[rank] = discount[rank]
        for rank in range(np.uint64(cut)):
            ranked.upper[rank] = discount[rank]
        ranked.share[:cut] = 1.0
        ranked.upper[cut:n_entries] = 0.0
        ranked.share[cut:n_entries] = 0.0
        return
    start = 0
    while start < n_entries:
        stop = ranked.stop[start]
        _tied_discounts(start, stop, discount, cumulative, truncation, winner, ranked)
        start = stop


@kernel
def _tied_discounts(
    start: int,
    stop: int,
    discount: FloatArray,
    cumulative: FloatArray,
    truncation: int,
    winner: bool,
    ranked: Ranked,
) -> None:
    first, last = ranked.rank[start], ranked.rank[stop]
    cut = min(max(truncation, first), last)  # ranks first..cut-1 lie above the truncation
    within = 0.0
    if stop > start + 1 and cut > first:
        if winner:
            within = _winner_within(first, cut, last, cumulative)
        else:
            within = _difference_within(first, cut, last, discount, cumulative)
    for entry in range(start, stop):
        ranked.upper[entry] = (cumulative[cut] - cumulative[first]) / (last - first)
        ranked.share[entry] = (cut - first) / (last - first)
        ranked.lower[entry] = (cumulative[last] - cumulative[first]) / (last - first)
        ranked.within[entry] = within


@kernel
def _difference_within(
    first: int, cut: int, last: int, discount: FloatArray, cumulative: FloatArray
) -> float:
    """Mean of |discount(a) - discount(b)| over pairs of ranks of a block, pairs wholly below `cut` as 0."""
    total = 0.0
    for rank in range(first, cut):
        total += discount[rank] * (last - 1 - rank) - (cumulative[last] - cumulative[rank + 1])
    size = last - first
    return 2.0 * total / (size * (size - 1.0))


@kernel
def _winner_within(first: int, cut: int, last: int, cumulative: FloatArray) -> float:
    """Mean of discount(a) over ordered pairs of ranks a, b of a block, pairs wholly below `cut` as 0."""
    size, below = last - first, last - cut
    total = cumulative[last] - cumulative[first]
    lost = (cumulative[last] - cumulative[cut]) * (below - 1.0) / (size - 1.0) if below > 1 else 0.0
    return (total - lost) / size
