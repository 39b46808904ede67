"""The loop over the pairs of one query.

For every entry i of the ranking one vectorised loop goes over the entries j below it. The loop has no branch:
scores stand in descending order, so ``e = exp(-sigma (s_i - s_j))`` is at most 1 and gives both p and 1 - p,
and a pair of equal labels has weight 0. The loop has no exponential either. `Ranked.fall` holds
``exp(-sigma (base - s))`` of every entry, computed once, and e is the quotient of two of them. The base is
the score of an entry above; it moves down before the exponentials leave the range of float32.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.core.bits import float_of
from lambdamart_kit.core.ranking.distances import Distances, block_steps, distance_weights
from lambdamart_kit.core.ranking.labelled import Discounts, RowFactors
from lambdamart_kit.core.ranking.rank_order import LANES, Ranked
from lambdamart_kit.core.splitmix import next_state, scramble

# Logarithm of the largest quotient of exponentials. Its rounding error grows with it.
_DEEPEST = np.float32(16.0)

SWAP, WINNER, DISTANCE = range(3)
"""How the weight of a pair follows from the two entries: `_swap_weights`, `_winner_weights` or
:func:`lambdamart_kit.core.ranking.distances.distance_weights`."""


class PairSettings(NamedTuple):
    """Settings of a lambda objective.

    ``weight / (offset + slope * |s_i - s_j|)`` replaces the weight of a pair (offset 1 and slope 0 change
    nothing) unless all scores of the query are equal. With `normalize` the query is multiplied by
    ``log2(1 + S) / S``, S the sum of 2 |lambda|. `swap_share` and `distance_share` mix the two weights of
    DISTANCE.
    """

    weighting: int  # SWAP, WINNER or DISTANCE
    swap_share: float
    distance_share: float
    truncation: int  # pairs count if the upper document's rank is below this
    sigma: float  # slope of the sigmoid
    offset: float
    slope: float
    normalize: bool
    hessian_factor: float  # 1 by default, 2 in the presets that follow XGBoost
    merge: bool  # documents of equal score and label become one entry
    discounts: Discounts


class PairScale(NamedTuple):
    """What a pair's score difference is multiplied by, and what divides its weight; see `PairSettings`."""

    sigma: np.float32
    offset: np.float32
    slope: np.float32


@inner(fastmath=True, borrows=True)
def pair_rows(
    n_entries: int,
    n_tied: int,
    settings: PairSettings,
    distances: Distances | None,
    n_partners: int | None,
    seed: np.uint64,
    ranked: Ranked,
    factors: RowFactors | None,
) -> float:
    """Sum all pairs of a query into `force` and `curvature`; returns the sum of ``weight * (1 - p)``.

    Unless `factors` is None or takes places, the losses of the pairs are summed into `cost`.
    """
    _clear(n_entries, ranked, factors)
    scale = _pair_scale(n_entries, settings, ranked)
    sigma = scale.sigma
    shares = (np.float32(settings.swap_share), np.float32(settings.distance_share))
    total = 0.0
    below = 0
    lanes = np.uint64(LANES)
    end = np.uint64(n_entries)
    # Loops run to a whole number of vector steps. The remainder, taken one pair at a time, would cost as
    # much again. The entries that pad a query have the last score and weight 0.
    ranked.score[n_entries : n_entries + LANES] = ranked.score[n_entries - 1]
    base = ranked.score[0]
    _fall_below(np.uint64(0), np.uint64(n_entries + LANES), base, sigma, ranked)
    for i in range(n_entries - 1):
        if ranked.upper[i] == 0.0 and ranked.share[i] == 0.0:
            break  # this entry ranks below the truncation, and so do all that follow
        row = np.uint64(i)
        stop = np.uint64(ranked.stop[i])
        padded = row + np.uint64(1) + (end - row - np.uint64(1) + lanes - np.uint64(1)) // lanes * lanes
        if sigma * (base - ranked.score[row]) > _DEEPEST:
            base = ranked.score[row]
            _fall_below(row, end + lanes, base, sigma, ranked)
        if distances is not None:
            if n_tied > 0 and (i == 0 or ranked.stop[i - 1] == i):
                below = block_steps(
                    i, n_entries, below, n_tied, settings.truncation, settings.discounts, ranked, distances
                )
            distance_weights(row, stop, padded, n_tied > 0, shares, ranked, distances)
        elif settings.weighting == WINNER:
            _winner_weights(row, stop, padded, ranked)
        else:
            _swap_weights(row, stop, padded, ranked)
        if n_partners is not None:
            n_below = n_entries - 1 - i
            if n_partners < n_below:
                seed = next_state(seed)
                # The start of the run is uniform, and the run wraps around. So each entry below is drawn
                # with the same probability, n_partners / n_below.
                at = np.int64(scramble(seed) % np.uint64(n_below))
                total += _partners(i, at, n_entries, n_partners, scale, ranked, factors)
                continue
        # Entries past the end take part in the arithmetic of the last
        # vector step, so they must weigh nothing.
        for j in range(end, padded):
            ranked.weight[j] = np.float32(0.0)
        total += _pair_row(row, row + np.uint64(1), padded, scale, ranked)
        if factors is not None and not factors.takes_places:
            _pair_costs(i, i + 1, n_entries, scale, ranked)
    return total


@inner(inline="always")
def _pair_scale(n_entries: int, settings: PairSettings, ranked: Ranked) -> PairScale:
    """The scale of a query's pairs; see `PairSettings`."""
    sigma = np.float32(settings.sigma)
    offset = np.float32(settings.offset)
    slope = np.float32(settings.slope)
    # LightGBM makes the same exception: with equal scores every weight would be divided by the offset
    # alone, and a first gradient on zeros would come out 100 times larger.
    if ranked.score[0] == ranked.score[n_entries - 1]:
        offset = np.float32(1.0)
        slope = np.float32(0.0)
    return PairScale(sigma, offset, slope)


@inner(borrows=True)
def _clear(n_entries: int, ranked: Ranked, factors: RowFactors | None) -> None:
    """Set what the pairs of a query are summed into to 0."""
    ranked.force[:n_entries] = 0.0
    ranked.curvature[:n_entries] = 0.0
    if factors is not None:
        ranked.cost[:n_entries] = 0.0


@inner(inline="always")
def _swap_weights(i: np.uint64, stop: np.uint64, end: np.uint64, ranked: Ranked) -> None:
    """Weights of the pairs of entry `i` with all entries below: what swapping the two documents changes."""
    gain = ranked.gain[i]
    within = ranked.within[i]
    upper = ranked.upper[i]
    share = ranked.share[i]
    for j in range(i + np.uint64(1), stop):
        ranked.weight[j] = within * abs(gain - ranked.gain[j])
    for j in range(stop, end):
        ranked.weight[j] = abs(gain - ranked.gain[j]) * (upper - share * ranked.lower[j])


@inner(inline="always")
def _winner_weights(i: np.uint64, stop: np.uint64, end: np.uint64, ranked: Ranked) -> None:
    """Weights of the pairs of entry `i` with all entries below: gain and discount of the better document."""
    zero = np.float32(0.0)
    gain = ranked.gain[i]
    label = ranked.label[i]
    within = ranked.within[i]
    upper = ranked.upper[i]
    share = ranked.share[i]
    for j in range(i + np.uint64(1), stop):
        ranked.weight[j] = within * gain  # a block stands by label descending: i is the better one
    for j in range(stop, end):
        # Where entry j is the better document, its own discount counts, `lower[j]`; the pair is counted
        # with the probability that i stands above the truncation, `share`. Equal labels leave both at 0.
        lost = share * ranked.lower[j] * ranked.gain[j] if label < ranked.label[j] else zero
        ranked.weight[j] = upper * gain if label > ranked.label[j] else lost


@inner(fastmath=True, borrows=True)
def _partners(
    i: int,
    at: int,
    n_entries: int,
    n_partners: int,
    scale: PairScale,
    ranked: Ranked,
    factors: RowFactors | None,
) -> float:
    """Pairs of entry `i` with a run of `n_partners` entries below it that starts at `at` and wraps around."""
    n_below = n_entries - 1 - i
    row = np.uint64(i)
    first = np.uint64(i + 1 + at)
    stop = min(i + 1 + at + n_partners, n_entries)
    wrapped = i + 1 + at + n_partners - stop
    # Each pair is in the sample with probability n_partners / n_below. Weighted with the inverse, the
    # sampled sum has the full sum as its expectation.
    each_stands_for = np.float32(n_below / n_partners)
    for j in range(first, np.uint64(stop)):
        ranked.weight[j] *= each_stands_for
    for j in range(row + np.uint64(1), np.uint64(i + 1 + wrapped)):
        ranked.weight[j] *= each_stands_for
    if factors is not None and not factors.takes_places:
        _pair_costs(i, i + 1 + at, stop, scale, ranked)
        _pair_costs(i, i + 1, i + 1 + wrapped, scale, ranked)
    total = _pair_row(row, first, np.uint64(stop), scale, ranked)
    return total + _pair_row(row, row + np.uint64(1), np.uint64(i + 1 + wrapped), scale, ranked)


@inner(fastmath=True, borrows=True)
def _pair_row(i: np.uint64, begin: np.uint64, end: np.uint64, scale: PairScale, ranked: Ranked) -> np.float32:
    """The pair model between entry `i` and the entries `begin` to `end` - 1 below it."""
    scores = ranked.score
    labels = ranked.label
    masses = ranked.mass
    weights = ranked.weight
    forces = ranked.force
    curvatures = ranked.curvature
    fall = ranked.fall
    offset = scale.offset
    slope = scale.slope
    one = np.float32(1.0)
    own_force = np.float32(0.0)
    own_curvature = np.float32(0.0)
    total = np.float32(0.0)
    score = scores[i]
    label = labels[i]
    n_own = masses[i]
    rise = one / fall[i]
    for j in range(begin, end):
        # e = exp(-sigma (s_i - s_j)) is a quotient of two entries of `fall`. Then 1 / (1 + e) is the
        # probability that i beats j, and e / (1 + e) the probability that j beats i. The gradient has the
        # size of the worse document's probability. One division by (1 + e) * divisor serves all of it.
        e = rise * fall[j]
        divisor = offset + slope * (score - scores[j])
        inverse = one / ((one + e) * divisor)
        lost = weights[j] * inverse  # weight * (1 - p) when j is the better document
        won = lost * e  # the same when i is
        # weight e / (1 + e) * 1 / (1 + e) = weight p (1 - p): the
        # same whichever document is the better one.
        curvature = won * (inverse * divisor)
        i_is_better = label > labels[j]
        absolute = won if i_is_better else lost
        force = won if i_is_better else -lost
        # An entry stands for `mass` documents, each of which meets every document of the other entry. So a
        # sum is multiplied by the mass of the other side only.
        forces[j] -= n_own * force
        curvatures[j] += n_own * curvature
        own_force += masses[j] * force
        own_curvature += masses[j] * curvature
        total += masses[j] * absolute
    forces[i] += own_force
    curvatures[i] += own_curvature
    return total * n_own


@inner(borrows=True)
def _pair_costs(i: int, begin: int, end: int, scale: PairScale, ranked: Ranked) -> None:
    """Add ``weight * log(1 + exp(-sigma (s[high] - s[low])))`` times the other's mass to either entry."""
    label = ranked.label[i]
    mass = np.float64(ranked.mass[i])
    own = 0.0
    for j in range(begin, end):
        difference = np.float64(ranked.score[i]) - np.float64(ranked.score[j])
        # z = sigma * difference is at least 0. If i is the better document the loss is log(1 + exp(-z)); if
        # j is, it is log(1 + exp(z)) = log(1 + exp(-z)) + z. Neither form can overflow.
        loss = np.log1p(np.exp(-np.float64(scale.sigma) * difference))
        if label < ranked.label[j]:
            loss += np.float64(scale.sigma) * difference
        loss *= np.float64(ranked.weight[j]) / (
            np.float64(scale.offset) + np.float64(scale.slope) * difference
        )
        ranked.cost[j] += np.float32(mass * loss)
        own += np.float64(ranked.mass[j]) * loss
    ranked.cost[i] += np.float32(own)


@inner(borrows=True)
def _fall_below(
    first: np.uint64, last: np.uint64, base: np.float32, sigma: np.float32, ranked: Ranked
) -> None:
    """Fill `fall` of the entries `first` to `last` - 1 with ``exp(-sigma (base - score))``."""
    scores = ranked.score
    fall = ranked.fall
    for j in range(first, last):
        fall[j] = falling_exp(sigma * (base - scores[j]))


@kernel(inline="always")
def falling_exp(x: np.float32) -> np.float32:
    """``exp(-x)`` in float32 for x >= 0, to 2e-7; at least 2**-126.

    It is a polynomial and a bit trick, because a call to the C library would keep loops from being
    vectorised: ``exp(-x) = 2**n * exp(t)`` with n whole and t at most ``log(2) / 2`` in size. The logarithm
    of 2 comes in two parts, so that n times the first part is exact.
    """
    # 126 ln 2 = 87.34: exp(-87.3) is just above 2**-126, the smallest float32 with all its digits. The
    # factor below is -1 / ln 2, and adding 0.5 before the floor rounds to the nearest whole number.
    down = min(x, np.float32(87.3))
    whole = np.floor(down * np.float32(-1.4426950408889634) + np.float32(0.5))
    t = (-down - whole * np.float32(0.693359375)) - whole * np.float32(-2.12194440e-4)
    # Taylor series. The next term, (ln 2 / 2)**7 / 7! = 1.2e-7, is below float32's last bit.
    series = np.float32(1 / 720)
    series = series * t + np.float32(1 / 120)
    series = series * t + np.float32(1 / 24)
    series = series * t + np.float32(1 / 6)
    series = series * t + np.float32(0.5)
    series = series * t + np.float32(1.0)
    series = series * t + np.float32(1.0)
    # 2**n as a float32 is the number n + 127 in the exponent field, which begins at bit 23.
    return series * float_of(np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)))
