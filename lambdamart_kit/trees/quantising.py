"""Gradients as small integers, without bias, and the same whatever the order of the rows.

A row's gradient g becomes ``floor(a g + u)`` with u uniform in [0, 1): stochastic rounding, whose expectation
is ``a g``. The u comes from a hash of the row's *content* (its bins, its gradient, the tree's seed), never of
its position. The scale a is the largest for which no sum over rows can leave 32 bits and no row 16, found
from exact sums: floats are first rounded to fixed point, whose integer sums do not depend on the order
either.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from lambdamart_kit.core.jit import kernel
from lambdamart_kit.core.splitmix import scramble
from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.lockstep import meet

_MOST_GRADIENT, _MOST_HESSIAN = 32_766.0, 65_534.0  # one less than fits: rounding up adds at most one
_MOST_GRADIENTS, _MOST_HESSIANS = 2.0**31 - 1, 2.0**32 - 1


class Scales(NamedTuple):
    """Units of a tree: quantised values are real ones times these, fixed-point ones times `fixed_*`."""

    gradient: float
    hessian: float
    fixed_gradient: float
    fixed_hessian: float


@kernel
def _fixed_scale(largest: float, n_rows: int) -> float:
    """The power of two that makes `n_rows` values of up to `largest` add up below 2**62."""
    if not largest > 0.0:
        return 1.0
    return 2.0 ** (61.0 - np.ceil(np.log2(n_rows + 1.0)) - np.ceil(np.log2(np.float64(largest))))


@kernel
def find_scales(
    thread: int, n_threads: int, rows: Array, gradient: Array, hessian: Array, constant: bool, peaks: Array,
    sums: Array, arrivals: Array,
) -> Scales:  # fmt: skip
    """Scales of this tree, the same on every thread; hessian -1 if a value is not finite or below 0.

    With `constant`, every hessian counts as 1 row (least-squares splits).
    """
    n = len(rows)
    start, stop = n * thread // n_threads, n * (thread + 1) // n_threads
    peak_g: Any = np.float32(0)
    peak_h: Any = np.float32(0)
    sound = True
    for i in range(start, stop):
        g, h = abs(gradient[rows[i]]), hessian[rows[i]]
        sound &= (g < np.inf) & (h < np.inf) & (h >= 0)
        peak_g, peak_h = max(peak_g, g), max(peak_h, h)
    peaks[thread, 0], peaks[thread, 1] = peak_g, peak_h if sound else -1.0
    meet(arrivals, thread, n_threads)
    for t in range(n_threads):
        peak_g, peak_h = max(peak_g, peaks[t, 0]), max(peak_h, peaks[t, 1])
        sound &= peaks[t, 1] >= 0
    fixed_g, fixed_h = _fixed_scale(peak_g, n), _fixed_scale(peak_h, n)
    total_g, total_h = np.int64(0), np.int64(0)
    for i in range(start, stop):
        total_g += np.int64(abs(gradient[rows[i]]) * fixed_g)
        total_h += np.int64(hessian[rows[i]] * fixed_h)
    sums[thread, 0], sums[thread, 1] = total_g, total_h
    meet(arrivals, thread, n_threads)
    total_g, total_h = np.int64(0), np.int64(0)
    for t in range(n_threads):
        total_g, total_h = total_g + sums[t, 0], total_h + sums[t, 1]
    # Truncation to fixed point lost less than one unit a row; rounding adds less than one quantum a row.
    scale_g = min(
        _MOST_GRADIENT / max(peak_g, 1e-300), (_MOST_GRADIENTS - n) / max((total_g + n) / fixed_g, 1e-300)
    )
    scale_h = min(
        _MOST_HESSIAN / max(peak_h, 1e-300), (_MOST_HESSIANS - n) / max((total_h + n) / fixed_h, 1e-300)
    )
    if constant:
        scale_h = 1.0
    return Scales(scale_g, scale_h if sound else -1.0, fixed_g, fixed_h)


@kernel
def quantise(
    start: int, stop: int, rows: Array, gradient: Array, hessian: Array, content: Array, seed: int,
    constant: bool, scales: Scales, carried: Array,
) -> None:  # fmt: skip
    """Fill ``carried[start:stop]``: bits 63-48 quantised gradient, 47-32 hessian, 31-0 the row."""
    half = 2.0**-32
    for i in range(start, stop):
        row = rows[i]
        g, h = np.float64(gradient[row]), np.float64(hessian[row])
        # Rows alike in all bins but not in gradient round apart; -0.0 and 0.0 may, and both round to 0.
        bits = np.uint64(np.int64(g * scales.fixed_gradient)) ^ np.uint64(np.int64(h * scales.fixed_hessian))
        noise = scramble(content[row] ^ scramble(bits + np.uint64(seed)))
        g_int = np.int64(np.floor(g * scales.gradient + np.float64(noise >> np.uint64(32)) * half))
        h_int = np.int64(np.floor(h * scales.hessian + np.float64(noise & np.uint64(0xFFFFFFFF)) * half))
        if constant:
            h_int = np.int64(1)
        carried[i] = (g_int << np.int64(48)) | (h_int << np.int64(32)) | np.int64(row)


@kernel
def hash_rows(start: int, stop: int, columns: Array, multipliers: Array, content: Array) -> None:
    """64-bit hash of each row's bins: a random multilinear form, mixed."""
    for a in range(start, stop, 512):
        b = min(a + 512, stop)
        content[a:b] = 0
        for j in range(columns.shape[0]):
            column, multiplier = columns[j, a:b], multipliers[j]
            for i in range(b - a):
                content[a + i] += multiplier * (np.uint64(column[i]) + np.uint64(1))
        for i in range(a, b):
            content[i] = scramble(content[i])
