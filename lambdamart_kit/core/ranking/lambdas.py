"""Gradients of the lambda objectives: the pair model over all pairs of a query, each with its weight.

For a pair of documents of one query, `high` with the larger label,

    gradient[high] -= sigma   * weight * (1 - p)        p = 1 / (1 + exp(-sigma * (s[high] - s[low])))
    gradient[low]  += sigma   * weight * (1 - p)
    hessian[both]  += sigma^2 * weight * p * (1 - p)

A query at a time: sort (:mod:`lambdamart_kit.core.ranking.rank_order`), fill what the pair weights need
(:mod:`lambdamart_kit.core.ranking.swaps`), then for every row i of the ranking one vectorised loop over the
entries below it. The loop has no branch: scores stand in descending order, so ``e = exp(-sigma (s_i - s_j))``
is at most 1 and gives both p and 1 - p, and a pair of equal labels has weight 0. It has no exponential
either: e is the quotient of two that are taken once a document, from a base that follows the rows down before
they leave the range of floats. Queries share nothing, so the result is the same to the bit
on any number of threads.

A document may carry a factor: the weight of a pair is then multiplied by the factors of both. Documents of
one entry stay interchangeable but for that, so an entry counts with its mass, the sum of its factors.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.core.bits import float_of
from lambdamart_kit.core.ranking.distances import Distances, block_steps, distance_weights, list_tied
from lambdamart_kit.core.ranking.rank_order import LANES, Ranked, rank_query, weigh_entries
from lambdamart_kit.core.ranking.swaps import (
    AVERAGE_PRECISION,
    EXPECTED_RECIPROCAL_RANK,
    RECIPROCAL_RANK,
    average_precision_swaps,
    discount_swaps,
    expected_reciprocal_rank_swaps,
    reciprocal_rank_swaps,
)
from lambdamart_kit.core.splitmix import next_state, query_seed, scramble, shuffle
from lambdamart_kit.core.typing import Float32Array, FloatArray, IndexArray

_DEEPEST = np.float32(16.0)  # logarithm of a quotient of exponentials; what rounding does to it grows with it

SWAP, WINNER, DISTANCE = range(3)
"""How the weight of a pair follows from the entries: see `_swap_weights` and the two after it."""


class PairSettings(NamedTuple):
    """Scalars of a lambda objective.

    ``weight / (offset + slope * |s_i - s_j|)`` replaces the weight of a pair (slope 0 = as it is) unless all
    scores of the query are equal; with `normalize` the query is multiplied by ``log2(1 + S) / S``, S the sum
    of 2 |lambda|. `swap_share` and `distance_share` mix the two weights of DISTANCE. With `n_partners` > 0
    each row is paired with a random run of that many entries below it, weighted up to stand for all.
    """

    metric: int
    weighting: int
    swap_share: float
    distance_share: float
    n_partners: int
    truncation: int
    sigma: float
    offset: float
    slope: float
    normalize: bool
    hessian_factor: float
    merge: bool
    shuffle: bool


class Switches(NamedTuple):
    """What most objectives do without: for what is None no code is compiled.

    That spares time before the first gradient, and keeps the pair loop short enough to be optimised well.
    """

    other_metric: bool | None  # True: `PairSettings.metric` is not the discounted gain
    partners: bool | None  # True: `PairSettings.n_partners` is in force


class Shuffled(NamedTuple):
    """Scratch for a query whose documents are laid out in random order, so that ties fall at random."""

    places: IndexArray
    layout: IndexArray
    label: Float32Array
    gain: Float32Array


def new_shuffled(capacity: int) -> Shuffled:
    """Scratch for queries of up to `capacity` documents."""
    places, layout = np.empty(capacity, np.intp), np.empty(capacity, np.intp)
    return Shuffled(places, layout, np.empty(capacity, np.float32), np.empty(capacity, np.float32))


class LabelledQueries(NamedTuple):
    """What an objective knows of the queries; everything but `ptr` stands in layout order."""

    ptr: IndexArray
    layout: IndexArray  # ordered row at each place of the layout
    label: Float32Array
    gain: Float32Array
    scale: FloatArray  # (n_queries,) multiplies gradient and hessian; 0 where no pair can have a weight


@kernel(borrows=True, shared=True)
def lambda_gradients(
    first: int, last: int, ranked: Ranked, distances: Distances | None, shuffled: Shuffled | None,
    queries: LabelledQueries, settings: PairSettings, discount: FloatArray, cumulative: FloatArray,
    other_metric: bool | None, partners: bool | None, seed: np.uint64, scores: Float32Array,
    gradient: Float32Array, hessian: Float32Array, factor: Float32Array | None, cost: Float32Array | None,
) -> None:  # fmt: skip
    """Fill `gradient` and `hessian` (ordered rows) for the queries `first` to `last` - 1.

    The three arguments after `last` are scratch: `distances` for DISTANCE only, `shuffled` to put tied
    documents in random order. The two after `cumulative` are `Switches`. With a `factor` of each ordered row,
    and `ranked` from `with_mass`, `cost` is filled too: the loss of the row's pairs, each times the factor of
    the other document; else both are None.
    """
    for q in range(first, last):
        start, stop = queries.ptr[q], queries.ptr[q + 1]
        if queries.scale[q] == 0.0:
            gradient[start:stop] = 0.0
            hessian[start:stop] = 0.0
            if cost is not None:
                cost[start:stop] = 0.0
            continue
        layout, label, gain = queries.layout[start:stop], queries.label[start:stop], queries.gain[start:stop]
        own_seed = query_seed(seed, q)
        n = np.uint64(len(layout))
        if shuffled is not None:
            layout, label, gain = _shuffle(own_seed, layout, label, gain, shuffled)
        for i in range(n):
            ranked.laid[i] = scores[np.uint64(layout[i])]
        n_entries, tied = rank_query(label, gain, settings.merge, ranked)
        if factor is not None:
            weigh_entries(n_entries, layout, factor, ranked)
        if other_metric is not None:
            _fill_other_swaps(n_entries, settings, ranked)
        elif tied or ranked.ready[1] < n_entries:  # else as the query before left them
            winner = settings.weighting == WINNER
            discount_swaps(n_entries, tied, discount, cumulative, settings.truncation, winner, ranked)
        n_tied = 0
        if distances is not None and tied:
            n_tied = list_tied(n_entries, ranked, distances)
        total = pair_rows(
            n_entries, n_tied, settings, cumulative, distances, partners, own_seed, ranked, cost
        )
        scale = queries.scale[q]
        if settings.normalize and total > 0.0:
            doubled = 2.0 * settings.sigma * total
            scale *= np.log2(1.0 + doubled) / doubled
        by_gradient = np.float32(-settings.sigma * scale)
        by_hessian = np.float32(settings.sigma * settings.sigma * settings.hessian_factor * scale)
        _scatter(layout, by_gradient, by_hessian, ranked, gradient, hessian)
        if factor is not None and cost is not None:
            _scatter_factors(layout, np.float32(scale), ranked, factor, gradient, hessian, cost)


@inner(borrows=True)
def _shuffle(
    seed: np.uint64, layout: IndexArray, label: Float32Array, gain: Float32Array, shuffled: Shuffled
) -> tuple[IndexArray, Float32Array, Float32Array]:
    """Layout, labels and gains of a query in random order."""
    n, places = len(layout), shuffled.places
    for i in range(n):
        places[i] = i
    shuffle(places[:n], seed)
    for i in range(n):
        at = places[i]
        shuffled.layout[i], shuffled.label[i], shuffled.gain[i] = layout[at], label[at], gain[at]
    return shuffled.layout[:n], shuffled.label[:n], shuffled.gain[:n]


@inner(borrows=True)
def _fill_other_swaps(n_entries: int, settings: PairSettings, ranked: Ranked) -> None:
    if settings.metric == AVERAGE_PRECISION:
        average_precision_swaps(n_entries, settings.truncation, ranked)
    elif settings.metric == RECIPROCAL_RANK:
        reciprocal_rank_swaps(n_entries, settings.truncation, ranked)
    elif settings.metric == EXPECTED_RECIPROCAL_RANK:
        expected_reciprocal_rank_swaps(n_entries, settings.truncation, ranked)


@inner(borrows=True)
def _scatter(
    layout: IndexArray,
    by_gradient: np.float32,
    by_hessian: np.float32,
    ranked: Ranked,
    gradient: Float32Array,
    hessian: Float32Array,
) -> None:
    """From the entries of a query back to its rows."""
    order, entry_of, force, curvature = ranked.order, ranked.entry, ranked.force, ranked.curvature
    for rank in range(np.uint64(len(layout))):
        row, entry = np.uint64(layout[np.uint64(order[rank])]), np.uint64(entry_of[rank])
        gradient[row] = by_gradient * force[entry]
        # A weight that should be 0 may round to just below it (expected swaps of tied blocks).
        hessian[row] = by_hessian * max(curvature[entry], np.float32(0.0))


@inner(borrows=True)
def _scatter_factors(
    layout: IndexArray,
    scale: np.float32,
    ranked: Ranked,
    factor: Float32Array,
    gradient: Float32Array,
    hessian: Float32Array,
    cost: Float32Array,
) -> None:
    """What `_scatter` left out: each row's own factor, and the cost of its pairs."""
    for rank in range(len(layout)):
        row = layout[ranked.order[rank]]
        gradient[row] *= factor[row]
        hessian[row] *= factor[row]
        cost[row] = scale * max(ranked.cost[ranked.entry[rank]], np.float32(0.0))


@inner(fastmath=True, borrows=True)
def pair_rows(
    n_entries: int,
    n_tied: int,
    settings: PairSettings,
    cumulative: FloatArray,
    distances: Distances | None,
    partners: bool | None,
    seed: np.uint64,
    ranked: Ranked,
    costs: Float32Array | None,
) -> float:
    """All pairs of a query into `force` and `curvature`; returns the sum of ``weight * (1 - p)``.

    Their losses go into `cost` unless `costs` is None.
    """
    ranked.force[:n_entries] = 0.0
    ranked.curvature[:n_entries] = 0.0
    if costs is not None:
        ranked.cost[:n_entries] = 0.0
    sigma, offset, slope = np.float32(settings.sigma), np.float32(settings.offset), np.float32(settings.slope)
    if ranked.score[0] == ranked.score[n_entries - 1]:
        offset, slope = np.float32(1.0), np.float32(0.0)
    swap_share, distance_share = np.float32(settings.swap_share), np.float32(settings.distance_share)
    total, lanes, below = 0.0, np.uint64(LANES), 0
    # Loops run to a whole number of steps: the remainder, one pair at a time, would cost as much again.
    ranked.score[n_entries : n_entries + LANES] = ranked.score[n_entries - 1]
    base = ranked.score[0]
    _fall_below(np.uint64(0), np.uint64(n_entries + LANES), base, sigma, ranked)
    for i in range(n_entries - 1):
        if ranked.upper[i] == 0.0 and ranked.share[i] == 0.0:
            break  # below the truncation, and so is every row after it
        row, stop, end = np.uint64(i), np.uint64(ranked.stop[i]), np.uint64(n_entries)
        padded = row + np.uint64(1) + (end - row - np.uint64(1) + lanes - np.uint64(1)) // lanes * lanes
        if sigma * (base - ranked.score[row]) > _DEEPEST:
            base = ranked.score[row]
            _fall_below(row, end + lanes, base, sigma, ranked)
        if distances is not None:
            if n_tied > 0 and (i == 0 or ranked.stop[i - 1] == i):
                below = block_steps(
                    i, n_entries, below, n_tied, settings.truncation, cumulative, ranked, distances
                )
            distance_weights(row, stop, padded, n_tied > 0, swap_share, distance_share, ranked, distances)
        elif settings.weighting == WINNER:
            _winner_weights(row, stop, padded, ranked)
        else:
            _swap_weights(row, stop, padded, ranked)
        if partners is not None:
            n_below = n_entries - 1 - i
            if settings.n_partners < n_below:
                seed = next_state(seed)
                at = np.int64(scramble(seed) % np.uint64(n_below))
                total += _partners(i, at, n_entries, settings.n_partners, sigma, offset, slope, ranked, costs)
                continue
        for j in range(end, padded):
            ranked.weight[j] = np.float32(0.0)
        total += _pair_row(row, row + np.uint64(1), padded, sigma, offset, slope, ranked)
        if costs is not None:
            _pair_costs(i, i + 1, n_entries, sigma, offset, slope, ranked)
    return total


@inner(inline="always")
def _swap_weights(i: np.uint64, stop: np.uint64, end: np.uint64, ranked: Ranked) -> None:
    """Weights of the pairs of entry `i` with all entries below: what swapping the two documents changes."""
    gain, within, upper, share = ranked.gain[i], ranked.within[i], ranked.upper[i], ranked.share[i]
    for j in range(i + np.uint64(1), stop):
        ranked.weight[j] = within * abs(gain - ranked.gain[j])
    for j in range(stop, end):
        ranked.weight[j] = abs(gain - ranked.gain[j]) * (upper - share * ranked.lower[j])


@inner(inline="always")
def _winner_weights(i: np.uint64, stop: np.uint64, end: np.uint64, ranked: Ranked) -> None:
    """Weights of the pairs of entry `i` with all entries below: gain and discount of the better document."""
    zero = np.float32(0.0)
    gain, label = ranked.gain[i], ranked.label[i]
    within, upper, share = ranked.within[i], ranked.upper[i], ranked.share[i]
    for j in range(i + np.uint64(1), stop):
        ranked.weight[j] = within * gain  # blocks stand by label descending: i is the better one
    for j in range(stop, end):
        lost = share * ranked.lower[j] * ranked.gain[j] if label < ranked.label[j] else zero
        ranked.weight[j] = upper * gain if label > ranked.label[j] else lost


@inner(fastmath=True, borrows=True)
def _partners(
    i: int,
    at: int,
    n_entries: int,
    n_partners: int,
    sigma: np.float32,
    offset: np.float32,
    slope: np.float32,
    ranked: Ranked,
    costs: Float32Array | None,
) -> float:
    """Pairs of row `i` with a run of `n_partners` entries below it that starts at `at` and wraps around."""
    n_below = n_entries - 1 - i
    row, first = np.uint64(i), np.uint64(i + 1 + at)
    stop = min(i + 1 + at + n_partners, n_entries)
    wrapped = i + 1 + at + n_partners - stop
    scale = np.float32(n_below / n_partners)
    for j in range(first, np.uint64(stop)):
        ranked.weight[j] *= scale
    for j in range(row + np.uint64(1), np.uint64(i + 1 + wrapped)):
        ranked.weight[j] *= scale
    if costs is not None:
        _pair_costs(i, i + 1 + at, stop, sigma, offset, slope, ranked)
        _pair_costs(i, i + 1, i + 1 + wrapped, sigma, offset, slope, ranked)
    total = _pair_row(row, first, np.uint64(stop), sigma, offset, slope, ranked)
    return total + _pair_row(
        row, row + np.uint64(1), np.uint64(i + 1 + wrapped), sigma, offset, slope, ranked
    )


@inner(fastmath=True, borrows=True)
def _pair_row(
    i: np.uint64,
    begin: np.uint64,
    end: np.uint64,
    sigma: np.float32,
    offset: np.float32,
    slope: np.float32,
    ranked: Ranked,
) -> np.float32:
    """The pair model between entry `i` and the entries `begin` to `end` - 1 below it."""
    scores, labels, masses, weights = ranked.score, ranked.label, ranked.mass, ranked.weight
    forces, curvatures, fall = ranked.force, ranked.curvature, ranked.fall
    one, zero = np.float32(1.0), np.float32(0.0)
    own_force, own_curvature, total = zero, zero, zero
    score, label, n_own, rise = scores[i], labels[i], masses[i], one / fall[i]
    for j in range(begin, end):
        e = rise * fall[j]
        divisor = offset + slope * (score - scores[j])
        inverse = one / ((one + e) * divisor)
        lost = weights[j] * inverse  # weight * (1 - p) when j is the better document
        won = lost * e  # the same when i is
        curvature = won * (inverse * divisor)
        i_is_better = label > labels[j]
        absolute = won if i_is_better else lost
        force = won if i_is_better else -lost
        forces[j] -= n_own * force
        curvatures[j] += n_own * curvature
        own_force += masses[j] * force
        own_curvature += masses[j] * curvature
        total += masses[j] * absolute
    forces[i] += own_force
    curvatures[i] += own_curvature
    return total * n_own


@inner(borrows=True)
def _pair_costs(
    i: int, begin: int, end: int, sigma: np.float32, offset: np.float32, slope: np.float32, ranked: Ranked
) -> None:
    """Add ``weight * log(1 + exp(-sigma (s[high] - s[low])))`` times the other's mass to either entry."""
    label, mass = ranked.label[i], np.float64(ranked.mass[i])
    own = 0.0
    for j in range(begin, end):
        difference = np.float64(ranked.score[i]) - np.float64(ranked.score[j])
        loss = np.log1p(np.exp(-np.float64(sigma) * difference))
        if label < ranked.label[j]:
            loss += np.float64(sigma) * difference
        loss *= np.float64(ranked.weight[j]) / (np.float64(offset) + np.float64(slope) * difference)
        ranked.cost[j] += np.float32(mass * loss)
        own += np.float64(ranked.mass[j]) * loss
    ranked.cost[i] += np.float32(own)


@inner(borrows=True)
def _fall_below(
    first: np.uint64, last: np.uint64, base: np.float32, sigma: np.float32, ranked: Ranked
) -> None:
    scores, fall = ranked.score, ranked.fall
    for j in range(first, last):
        fall[j] = falling_exp(sigma * (base - scores[j]))


@kernel(inline="always")
def falling_exp(x: np.float32) -> np.float32:
    """``exp(-x)`` in float32 for x >= 0, to 2e-7; at least 2**-126.

    A polynomial and a bit trick, because a call to the C library would keep loops from being vectorised:
    ``exp(-x) = 2**n * exp(t)`` with n whole and t at most ``log(2) / 2`` in size. The logarithm of 2 comes in
    two parts, of which n times the first is exact.
    """
    down = min(x, np.float32(87.3))
    whole = np.floor(down * np.float32(-1.4426950408889634) + np.float32(0.5))
    t = (-down - whole * np.float32(0.693359375)) - whole * np.float32(-2.12194440e-4)
    # Taylor series: the next term, (ln 2 / 2)**7 / 7! = 1.2e-7, is below float32's last bit.
    series = np.float32(1 / 720)
    series = series * t + np.float32(1 / 120)
    series = series * t + np.float32(1 / 24)
    series = series * t + np.float32(1 / 6)
    series = series * t + np.float32(0.5)
    series = series * t + np.float32(1.0)
    series = series * t + np.float32(1.0)
    return series * float_of(np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)))
