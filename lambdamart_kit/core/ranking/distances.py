"""Pair weights of NDCG-Loss2: a discount of the distance of two ranks instead of the ranks.

For the entries i and j, with D the discount and d the distance of their ranks,

    |gain[i] - gain[j]| * (swap_share * (what swapping them changes) + distance_share * E[D(d - 1) - D(d)])

The expectation is over all orders of tied documents. It depends on the blocks of i and j only, so it is
computed once for two blocks and shared by their entries. Between two blocks it is a second difference of the
running sums of D.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.compile import inner
from lambdamart_kit.core.ranking.labelled import Discounts
from lambdamart_kit.core.ranking.rank_order import LANES, Ranked
from lambdamart_kit.core.typing import Array, Float32Array, FloatArray


class Distances(NamedTuple):
    """Scratch for one query; `near` is given. The last four list the entries of tied blocks."""

    near: Float32Array  # D(d - 1) - D(d) by distance d
    mean: Float32Array  # its mean between the current block and a document at each rank
    step: Float32Array  # its mean between the current block and the block of each entry
    tied: Array  # int32: entry
    first: Array  # int32: first rank of its block
    last: Array  # int32: rank after its block
    each: FloatArray  # one over the documents of its block


def new_distances(capacity: int, near: Float32Array) -> Distances:
    """Scratch for queries of up to `capacity` documents."""
    padded = capacity + LANES
    return Distances(
        near=near,
        mean=np.zeros(padded, np.float32),
        step=np.zeros(padded, np.float32),
        tied=np.zeros(capacity, np.int32),
        first=np.zeros(capacity, np.int32),
        last=np.zeros(capacity, np.int32),
        each=np.zeros(capacity),
    )


@inner(borrows=True)
def list_tied(n_entries: int, ranked: Ranked, distances: Distances) -> int:
    """List the entries of blocks of several documents; returns how many there are."""
    start = 0
    count = 0
    while start < n_entries:
        stop = ranked.stop[start]
        first = ranked.rank[start]
        last = ranked.rank[stop]
        if last > first + 1:
            for entry in range(start, stop):
                distances.tied[count] = entry
                distances.each[count] = 1.0 / (last - first)
                distances.first[count] = first
                distances.last[count] = last
                count += 1
        start = stop
    return count


@inner(borrows=True)
def block_steps(
    i: int,
    n_entries: int,
    below: int,
    n_tied: int,
    truncation: int,
    discounts: Discounts,
    ranked: Ranked,
    distances: Distances,
) -> int:
    """Fill `step` for the block that begins at entry `i` and all entries below it.

    `below` is any place in the list of `n_tied` entries at or above this block; returns the place after it.

    Pairs count where the better ranked document stands above the truncation. Of a block across it that are
    the ranks `top` to `cut` - 1, so sums go over those, and are divided by all documents of the block.
    """
    ranks = ranked.rank
    stops = ranked.stop
    step = distances.step
    cumulative = discounts.above
    stop = np.uint64(stops[i])
    end = np.uint64(n_entries)
    top = np.uint64(ranks[i])
    bottom = np.uint64(ranks[stop])
    size = np.float64(bottom - top)
    cut = np.uint64(min(max(np.int64(truncation), np.int64(top)), np.int64(bottom)))
    if size == 1.0:
        # The distance of untied entries below is known. Those of tied blocks are overwritten further down.
        for j in range(stop, end):
            step[j] = distances.near[np.uint64(ranks[j]) - top]
    else:
        # For each upper rank a: the sum of D(b - a - 1) - D(b - a) over the ranks b below it in the block.
        # The inner sum telescopes to D(0) - D(bottom - 1 - a). Summed over the ranks a from `top` to
        # `cut` - 1 that is (cut - top) D(0) less a window of D, which is `farthest`. The mean is over all
        # size (size - 1) / 2 pairs of the block, counted or not.
        farthest = cumulative[bottom - top] - cumulative[bottom - cut]
        inside = 2.0 * (np.float64(cut - top) * cumulative[1] - farthest) / (size * (size - 1.0))
        step[i:stop] = inside
        _mean_steps(top, cut, bottom, np.uint64(ranks[n_entries]), discounts, distances)
        for j in range(stop, end):
            step[j] = distances.mean[np.uint64(ranks[j])]
    while below < n_tied and distances.tied[below] < stop:
        below += 1
    # Entries of tied blocks below: the mean over both blocks is a difference of two windows of D.
    for t in range(np.uint64(below), np.uint64(n_tied)):
        change = _window(distances.first[t], top, cut, discounts)
        change -= _window(distances.last[t], top, cut, discounts)
        step[np.uint64(distances.tied[t])] = 1.0 / size * change * distances.each[t]
    return below


@inner(inline="always")
def _window(rank: int, top: np.uint64, cut: np.uint64, discounts: Discounts) -> float:
    """Sum of D(rank - 1 - a) over the ranks a from `top` to `cut` - 1."""
    return discounts.above[np.uint64(rank) - top] - discounts.above[np.uint64(rank) - cut]


@inner(borrows=True)
def _mean_steps(
    top: np.uint64,
    cut: np.uint64,
    bottom: np.uint64,
    n: np.uint64,
    discounts: Discounts,
    distances: Distances,
) -> None:
    """Fill `mean` for the block of ranks `top` to `bottom` - 1, counted to `cut`, and each rank below it."""
    mean = distances.mean
    cumulative = discounts.above
    one = np.uint64(1)
    # For a fixed rank b below the block, the sum over its ranks a of D(b - 1 - a) - D(b - a) is the
    # difference of two neighbouring windows of D.
    each = 1.0 / np.float64(bottom - top)
    for rank in range(bottom, n):
        far = rank - top
        close = rank - cut
        change = cumulative[far] - cumulative[close] - (cumulative[far + one] - cumulative[close + one])
        mean[rank] = each * change


@inner(inline="always")
def distance_weights(
    i: np.uint64,
    stop: np.uint64,
    end: np.uint64,
    tied: bool,
    shares: tuple[np.float32, np.float32],
    ranked: Ranked,
    distances: Distances,
) -> None:
    """Weights of the pairs of entry `i` with all entries below it; `shares` of the swap and the distance."""
    swap, distance = shares
    gain = ranked.gain[i]
    within = ranked.within[i]
    upper = ranked.upper[i]
    share = ranked.share[i]
    if tied:
        for j in range(i + np.uint64(1), stop):
            ranked.weight[j] = abs(gain - ranked.gain[j]) * (swap * within + distance * distances.step[j])
        for j in range(stop, end):
            delta = swap * (upper - share * ranked.lower[j]) + distance * distances.step[j]
            ranked.weight[j] = abs(gain - ranked.gain[j]) * delta
    else:
        # Without ties entries are ranks, so the difference of two entries is the distance of their ranks.
        for j in range(stop, end):
            delta = swap * (upper - share * ranked.lower[j]) + distance * distances.near[j - i]
            ranked.weight[j] = abs(gain - ranked.gain[j]) * delta
