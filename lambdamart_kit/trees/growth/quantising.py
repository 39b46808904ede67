"""Gradients as small integers, without bias, and the same whatever the order of the rows.

A row's gradient g becomes ``floor(a g + u)`` with u uniform in [0, 1): stochastic rounding, whose expectation
is ``a g``. The u comes from a hash of the row's *content* (its bins, its gradient, the tree's seed), never of
its position. The scale a is the largest for which no sum over rows can leave 32 bits and no row 16, found
from exact sums: floats are first rounded to fixed point, whose integer sums do not depend on the order
either.

Rows that hardly matter are rounded further, to nothing or to something: with thresholds
t_g = e sum g^2 / sum |g| and t_h = e sum h^2 / sum h, a row takes part in the search for splits with
probability

    p = min(1, max(|g| / t_g, h / t_h))        as (g / p, h / p), otherwise as (0, 0),

which leaves every expected sum as it is (minimal variance sampling) and adds a variance of g^2 (1/p - 1) <=
t_g |g| a row, over all rows at most a share e of sum g^2; likewise for h. Lambda gradients are heavy-tailed:
with e = 0.2 more than half of the rows are *light*, worth (0, 0) and no time in the histograms, while what is
added is two to five percent. Counts of rows, leaf values and scores are those of all rows.

References
----------
Ibragimov and Gusev (2019), "Minimal variance sampling in stochastic gradient boosting".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.core.splitmix import scramble
from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.growth.barrier import meet
from lambdamart_kit.trees.growth.partition import join
from lambdamart_kit.trees.growth.state import (
    N_FIRST,
    ROWS_AT_ONCE,
    RUN_BEGIN,
    SHARE_BEGIN,
    SHARE_END,
    Crew,
    Drawing,
    Rounding,
    RowOrder,
    Sample,
    Scales,
)

# Largest values of a row, one less than fits because rounding up adds at most one; and largest sums.
_MOST_GRADIENT = 32_766.0
_MOST_HESSIAN = 65_534.0
_MOST_GRADIENTS = 2.0**31 - 1
_MOST_HESSIANS = 2.0**32 - 1
_LOW_20 = np.uint64(2**20 - 1)


@kernel
def _fixed_scale(largest: float, n_rows: int) -> float:
    """The power of two that makes `n_rows` values of up to `largest` add up below 2**62."""
    # Both logarithms are rounded up, so the sum is at most 2**61. A power of two scales without error.
    if not largest > 0.0:
        return 1.0  # also for NaN, which the caller reports
    return 2.0 ** (61.0 - np.ceil(np.log2(n_rows + 1.0)) - np.ceil(np.log2(np.float64(largest))))


@inner(borrows=True, shared=True)
def _shared_peaks(crew: Crew, gradient: Array, hessian: Array, peaks: Array) -> tuple[Any, Any, bool]:
    """Largest |gradient| and hessian of all rows; whether all values are finite and no hessian negative."""
    thread = crew.thread
    n_threads = crew.n_threads
    n = len(gradient)
    start = n * thread // n_threads
    stop = n * (thread + 1) // n_threads
    peak_g: Any = np.float32(0)
    peak_h: Any = np.float32(0)
    sound = True
    for i in range(np.uint64(start), np.uint64(stop)):
        g = abs(gradient[i])
        h = hessian[i]
        # NaN fails every comparison, so no test of its own is needed, and the loop has no branch.
        sound &= (g < np.inf) & (h < np.inf) & (h >= 0)
        peak_g = max(peak_g, g)
        peak_h = max(peak_h, h)
    peaks[thread, 0] = peak_g
    peaks[thread, 1] = peak_h if sound else -1.0  # tells the others as well that a value is not sound
    meet(crew.arrivals, thread, n_threads)
    for t in range(n_threads):
        peak_g = max(peak_g, peaks[t, 0])
        peak_h = max(peak_h, peaks[t, 1])
        sound &= peaks[t, 1] >= 0
    return peak_g, peak_h, sound


@inner(borrows=True, shared=True)
def _shared_sums(
    crew: Crew, gradient: Array, hessian: Array, top_g: float, top_h: float, sums: Array
) -> tuple[np.int64, np.int64, np.int64, np.int64]:
    """Sums over all rows of |g|, h and their squares, in fixed point: they do not depend on the order."""
    thread = crew.thread
    n_threads = crew.n_threads
    n = len(gradient)
    start = n * thread // n_threads
    stop = n * (thread + 1) // n_threads
    fixed_g = _fixed_scale(top_g, n)
    fixed_h = _fixed_scale(top_h, n)
    square_g = _fixed_scale(top_g * top_g, n)
    square_h = _fixed_scale(top_h * top_h, n)
    total_g = np.int64(0)
    total_h = np.int64(0)
    squares_g = np.int64(0)
    squares_h = np.int64(0)
    for i in range(np.uint64(start), np.uint64(stop)):
        # The sums are of |g|: a leaf may hold any subset of the rows,
        # and the sum over no subset exceeds this one.
        g = np.float64(abs(gradient[i]))
        h = np.float64(hessian[i])
        total_g += np.int64(g * fixed_g)
        total_h += np.int64(h * fixed_h)
        squares_g += np.int64(g * g * square_g)
        squares_h += np.int64(h * h * square_h)
    sums[thread, 0] = total_g
    sums[thread, 1] = total_h
    sums[thread, 2] = squares_g
    sums[thread, 3] = squares_h
    meet(crew.arrivals, thread, n_threads)
    total_g = np.int64(0)
    total_h = np.int64(0)
    squares_g = np.int64(0)
    squares_h = np.int64(0)
    for t in range(n_threads):
        total_g += sums[t, 0]
        total_h += sums[t, 1]
        squares_g += sums[t, 2]
        squares_h += sums[t, 3]
    return total_g, total_h, squares_g, squares_h


@inner(borrows=True, shared=True)
def find_scales(
    crew: Crew, gradient: Array, hessian: Array, rounding: Rounding, peaks: Array, sums: Array
) -> Scales:
    """Scales of this tree, the same on every thread; hessian -1 if a value is not finite or below 0.

    If hessians are `constant`, each counts as 1 row, and every row takes part.
    """
    n = len(gradient)
    # First pass: the largest values, which set the units of the fixed-point sums of the second pass.
    peak_g, peak_h, sound = _shared_peaks(crew, gradient, hessian, peaks)
    top_g = np.float64(peak_g)
    top_h = np.float64(peak_h)
    total_g, total_h, squares_g, squares_h = _shared_sums(crew, gradient, hessian, top_g, top_h, sums)
    fixed_g = _fixed_scale(top_g, n)
    fixed_h = _fixed_scale(top_h, n)
    square_g = _fixed_scale(top_g * top_g, n)
    square_h = _fixed_scale(top_h * top_h, n)
    # Truncation to fixed point lost less than one unit a row.
    whole_g = max((total_g + n) / fixed_g, 1e-300)
    whole_h = max((total_h + n) / fixed_h, 1e-300)
    # Thresholds of the module's docstring; with e = 0 both are 0, and every row takes part.
    e = 0.0 if rounding.constant else rounding.noise
    t_g = e * squares_g / square_g / whole_g
    t_h = e * squares_h / square_h / whole_h
    # No row weighs more than its peak or its threshold; all light ones together at most n thresholds, even if
    # every one of them takes part. Rounding adds less than one quantum a row.
    scale_g = min(_MOST_GRADIENT / max(top_g, t_g, 1e-300), (_MOST_GRADIENTS - n) / (whole_g + n * t_g))
    scale_h = min(_MOST_HESSIAN / max(top_h, t_h, 1e-300), (_MOST_HESSIANS - n) / (whole_h + n * t_h))
    # Every hessian is the integer 1, so the unit of hessians is a row.
    if rounding.constant:
        scale_h = 1.0
    everything = not (t_g > 0.0 and t_h > 0.0)
    per_g = 0.0 if everything else 1.0 / t_g
    per_h = 0.0 if everything else 1.0 / t_h
    return Scales(scale_g, scale_h if sound else -1.0, fixed_g, fixed_h, per_g, per_h)


@inner
def spread(carried: Any) -> Any:
    """``g * 2**32 + h`` of a carried row: bits 63-48 are g (signed), 47-32 are h, 31-0 the row."""
    # The shift to the right is arithmetic and keeps the sign of g. The hessian is unsigned, hence the mask.
    return ((carried >> np.int64(48)) << np.int64(32)) + ((carried >> np.int64(32)) & np.int64(0xFFFF))


@kernel(borrows=True, shared=True)
def quantise_share(
    start: int,
    stop: int,
    sample: Sample,
    rounding: Rounding,
    scales: Scales,
    words: Array,
    shares: Array,
    heavy: Array,
    light: Array,
) -> tuple[np.int64, np.int64]:
    """Rows `start` to `stop` - 1 as 64-bit words: bits 63-48 quantised gradient, 47-32 hessian, 31-0 the row.

    Those that take part go to `heavy` from `start` upwards, the others to `light` from `stop` - 1 downwards,
    which may be the same array. Returns how many take part, and their `spread` sum.
    """
    at = np.uint64(start)
    end = np.uint64(stop - 1)
    one = np.uint64(1)
    total = np.int64(0)
    # As in `move_rows` there is no branch: a row is written to both places, and the right place moves on.
    for a in range(start, stop, ROWS_AT_ONCE):
        b = min(a + ROWS_AT_ONCE, stop)
        _draw(a, b, sample, rounding, scales, words, shares)
        for i in range(np.uint64(b - a)):
            word = words[i]
            takes_part = np.uint64(shares[i] > 0.0)
            heavy[at] = word
            light[end] = word  # light rows are only counted and scored later: only the row number is read
            total += spread(word) if takes_part else np.int64(0)
            at += takes_part
            end -= one - takes_part
    return np.int64(at) - start, total


@inner(borrows=True)
def _draw(
    start: int, stop: int, sample: Sample, rounding: Rounding, scales: Scales, words: Array, shares: Array
) -> None:
    """Words of some rows, and the probability p of each less the number drawn for it.

    A row takes part where that is above 0. The loop is a function of its own, so that it vectorises.
    """
    rows, gradient, hessian, content = sample
    seed = np.uint64(rounding.seed)
    per_g = scales.per_gradient
    per_h = scales.per_hessian
    scale_g = scales.gradient
    scale_h = scales.hessian
    fixed_g = scales.fixed_gradient
    fixed_h = scales.fixed_hessian
    least = 1.0 if per_g == 0.0 else 1e-300  # least p: 1 where all take part, else not 0, for 1 / p
    first = np.uint64(start)
    for i in range(np.uint64(stop - start)):
        at = first + i
        g = np.float64(gradient[at])
        h = np.float64(hessian[at])
        # The gradient goes into the hash, so rows with the same bins but other gradients round independently.
        # -0.0 and 0.0 have other bits, which does no harm: both round to 0.
        bits = np.uint64(np.int64(g * fixed_g)) ^ np.uint64(np.int64(h * fixed_h))
        noise = scramble(content[at] ^ scramble(bits + seed))
        # p of the module's docstring, less the upper 24 bits of the hash as a number from 0 to 1.
        share = min(max(abs(g) * per_g, h * per_h, least), 1.0)
        shares[i] = share - np.float64(noise >> np.uint64(40)) * 2.0**-24
        # Of the 64 bits of the hash, 24 decide whether the row takes part, and 20 each round g and h.
        u = np.float64((noise >> np.uint64(20)) & _LOW_20)
        v = np.float64(noise & _LOW_20)
        # A row that takes part with probability p counts 1 / p times.
        inverse = 1.0 / share
        # Stochastic rounding: floor(x + u) is the next integer above x with probability x - floor(x), so
        # its expectation is x (u has 20 bits, so up to 2**-20).
        g_int = np.int64(np.floor(g * inverse * scale_g + u * 2.0**-20))
        h_int = np.int64(1) if rounding.constant else np.int64(np.floor(h * inverse * scale_h + v * 2.0**-20))
        words[i] = (g_int << np.int64(48)) | (h_int << np.int64(32)) | np.int64(rows[at])


@inner(borrows=True, shared=True)
def quantise(
    crew: Crew, sample: Sample, rounding: Rounding, order: RowOrder, drawing: Drawing
) -> tuple[Scales, Any, Any]:
    """Fill ``order.carried`` with the rows as words, those that take part first.

    Returns the scales, how many rows take part, and their sum, on every thread. The order of rows is kept
    among those that take part. Nothing is filled in if the scale of hessians is below 0.
    """
    thread = crew.thread
    n_threads = crew.n_threads
    scales = find_scales(crew, sample.gradient, sample.hessian, rounding, drawing.peaks, drawing.sums)
    # The steps are those of a split: each thread parts its share into heavy and light rows, then all join.
    heavy = np.int64(0)
    total = np.int64(0)
    if scales.hessian >= 0:
        n = len(sample.rows)
        start = n * thread // n_threads
        stop = n * (thread + 1) // n_threads
        part = order.parts[thread, 0]
        sums = drawing.sums
        part[RUN_BEGIN] = 0
        part[SHARE_BEGIN] = start
        part[SHARE_END] = stop
        target = order.carried if thread == 0 else order.moved  # as in `move_rows`
        words = drawing.words[thread]
        shares = drawing.shares[thread]
        part[N_FIRST], sums[thread, 4] = quantise_share(
            start, stop, sample, rounding, scales, words, shares, target, order.moved
        )
        meet(crew.arrivals, thread, n_threads)
        heavy = join(thread, n_threads, 0, order)
        for t in range(n_threads):
            total += sums[t, 4]
        meet(crew.arrivals, thread, n_threads)
    return scales, heavy, total


@inner
def plain_scales(scales: Scales) -> tuple[float, float, float, float, float, float]:
    """The fields of `scales` as a plain tuple, which a kernel may return; ``Scales(*...)`` undoes it."""
    return (
        scales.gradient,
        scales.hessian,
        scales.fixed_gradient,
        scales.fixed_hessian,
        scales.per_gradient,
        scales.per_hessian,
    )


@kernel(borrows=True, shared=True)
def quantise_rows(
    thread: int,
    n_threads: int,
    sample: Sample,
    rounding: Rounding,
    order: RowOrder,
    drawing: Drawing,
    arrivals: Array,
    clock: Array,
) -> tuple[float, float, float, float, float, float]:
    """Call `quantise` from Python, on every thread; returns the `plain_scales`."""
    crew = Crew(thread, n_threads, arrivals, clock)
    scales, _, _ = quantise(crew, sample, rounding, order, drawing)
    return plain_scales(scales)


@kernel(borrows=True)
def hash_rows(start: int, stop: int, columns: Array, multipliers: Array, content: Array) -> None:
    """64-bit hash of each row's bins: a random multilinear form, mixed."""
    # Rows are hashed in groups of 512, whose hashes stay in the first cache level while all columns are read.
    for a in range(start, stop, 512):
        b = min(a + 512, stop)
        content[a:b] = 0
        for j in range(columns.shape[0]):
            column = columns[j, a:b]
            # The hash is the sum of m_j (b_j + 1) modulo 2**64. The 1 lets bin 0 count, and the sum can be
            # taken column by column.
            multiplier = multipliers[j]
            for i in range(b - a):
                content[a + i] += multiplier * (np.uint64(column[i]) + np.uint64(1))
        for i in range(a, b):
            content[i] = scramble(content[i])
