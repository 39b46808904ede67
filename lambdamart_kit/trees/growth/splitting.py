"""The best split of a leaf: gains over the prefix sums of its histogram.

    gain = T(G_left)^2 / (H_left + lambda) + T(G_right)^2 / (H_right + lambda) - T(G)^2 / (H + lambda)

with T(G) = sign(G) max(|G| - alpha, 0). Gradients and hessians stay in their integer units: with gradient
scale a and hessian scale b, gain is b / a^2 times the gain in those units if lambda is scaled by b and alpha
by a. A NaN bin, where a feature has one, is tried on both sides. Categories are sorted by gradient / (hessian
+ smoothing), and the best prefix of that order, from either end, goes left (Fisher 1958: the best of all
subsets for a convex loss).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.compile import inner
from lambdamart_kit.core.bits import bits_of, float_of
from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.parameters import TreeParameters

# Columns of a split record (int64).
FEATURE, BIN, NAN_LEFT, LEFT_TOTAL, MASK = 0, 1, 2, 3, 4
_STEP = 32  # bins a vectorised and unrolled loop takes at a time; the rest, one by one, would cost as much
SPLIT_WIDTH = 8  # the mask takes four: bit b of 256 is set when bin b goes left


class Limits(NamedTuple):
    """Parameters of a tree as compiled code takes them, in real units; see `TreeParameters`."""

    num_leaves: int
    max_depth: int
    min_child_samples: int
    min_child_weight: float
    min_split_gain: float
    reg_lambda: float
    reg_alpha: float
    learning_rate: float

    @classmethod
    def of(cls, p: TreeParameters) -> Limits:
        """Those of `p`; compiled code is for Python's own numbers."""
        return cls(
            int(p.num_leaves), int(p.max_depth), int(p.min_child_samples), float(p.min_child_weight),
            float(p.min_split_gain), float(p.reg_lambda), float(p.reg_alpha), float(p.learning_rate),
        )  # fmt: skip


class SplitRules(NamedTuple):
    """What a split must satisfy, in integer units of gradient and hessian.

    Attributes
    ----------
    reg_lambda, reg_alpha, min_gain : float
        Regularisation and the least gain.
    min_hessian : float
        Least hessian of a child, at least 1 unit.
    min_rows : float
        Least hessian of a child as well, in rows: multiples of the mean hessian of the leaf's rows.
    value_scale : float
        Leaf output = value_scale * -G / (H + lambda).
    """

    reg_lambda: float
    reg_alpha: float
    min_gain: float
    min_hessian: float
    min_rows: float
    value_scale: float


class CategoryRules(NamedTuple):
    """What else holds for splits of categories: smoothing of their order, extra L2, most that go left."""

    smooth: float
    l2: float
    most: int

    @classmethod
    def of(cls, p: TreeParameters) -> CategoryRules:
        """Those of `p`, in real units."""
        return cls(float(p.cat_smooth), float(p.cat_l2), int(p.max_cat_threshold))


class Bounds(NamedTuple):
    """Of monotone constraints: direction of the feature, least and largest output below the leaf."""

    direction: int
    low: float
    high: float


@inner
def split_rules(limits: Limits, gradient_scale: float, hessian_scale: float, free: bool) -> SplitRules:
    """The rules in the units of the scales. `free` of regularisation are least-squares splits."""
    return SplitRules(
        0.0 if free else limits.reg_lambda * hessian_scale,
        0.0 if free else limits.reg_alpha * gradient_scale,
        limits.min_split_gain * gradient_scale * gradient_scale / hessian_scale,
        1.0 if free else max(limits.min_child_weight * hessian_scale, 1.0),
        # Half a row less, so that quantised hessians do not decide between n rows and n - 1.
        limits.min_child_samples - 0.5 if limits.min_child_samples > 1 else 0.0,
        hessian_scale / gradient_scale,
    )


@inner
def scaled_categories(
    categories: CategoryRules | None, hessian_scale: float, free: bool
) -> CategoryRules | None:
    """The rules in the unit of the scale, `free` as in `split_rules`; None stays None."""
    if categories is None:
        return None
    unit = 1.0 if free else hessian_scale
    return CategoryRules(categories.smooth * unit, categories.l2 * unit, categories.most)


@inner
def gradient_of(packed: int) -> float:
    """G of a packed sum."""
    return np.float64(packed >> np.int64(32))


@inner
def hessian_of(packed: int) -> float:
    """H of a packed sum."""
    return np.float64(packed & np.int64(0xFFFFFFFF))


@inner
def rules_of_leaf(rules: SplitRules, hessian: float, rows: int) -> SplitRules:
    """The rules with all that a child's hessian must reach in `min_hessian`."""
    least = max(rules.min_hessian, rules.min_rows * hessian / rows)
    return SplitRules(
        rules.reg_lambda, rules.reg_alpha, rules.min_gain, least, rules.min_rows, rules.value_scale
    )


@inner
def _soft(gradient: float, alpha: float) -> float:
    return max(gradient - alpha, 0.0) + min(gradient + alpha, 0.0)


@inner
def leaf_gain(gradient: float, hessian: float, rules: SplitRules) -> float:
    """``T(G)^2 / (H + lambda)``: twice what a leaf of its own takes off the loss."""
    soft = _soft(gradient, rules.reg_alpha)
    denominator = hessian + rules.reg_lambda
    return soft * soft / denominator if denominator > 0 else 0.0


@inner
def leaf_output(gradient: float, hessian: float, rules: SplitRules, low: float, high: float) -> float:
    """Newton step of a leaf, inside the bounds that monotone ancestors set."""
    denominator = hessian + rules.reg_lambda
    step = -_soft(gradient, rules.reg_alpha) * rules.value_scale / denominator if denominator > 0 else 0.0
    return min(max(step, low), high)


@inner
def _gain_at(output: float, gradient: float, hessian: float, rules: SplitRules) -> float:
    """Gain of a leaf with any output: ``-(2 T(G) w + (H + lambda) w^2)``, w in integer units."""
    w = output / rules.value_scale
    return -(2 * _soft(gradient, rules.reg_alpha) * w + (hessian + rules.reg_lambda) * w * w)


@inner(borrows=True)
def _gains(left: Array, n: int, total: int, rules: SplitRules, gains: Array) -> None:
    """Gains of the `n` splits with packed left sums `left`, for alpha = 0; 0 where a rule forbids the split.

    ``(G_l D - G D_l)^2 / (D D_l D_r) + G^2 / D`` with ``D_l = H_l + lambda`` and ``D = D_l + D_r``: the same
    as the sum of the children's gains, and half the work.
    """
    G, H, lam, least = gradient_of(total), hessian_of(total), rules.reg_lambda, rules.min_hessian
    D = H + 2.0 * lam
    inverse, base = 1.0 / D, G * G / D
    for b in range(n):
        hl = hessian_of(left[b])
        dl = hl + lam
        x = gradient_of(left[b]) * D - G * dl
        gain = x * x / (dl * (D - dl)) * inverse + base
        gains[b] = gain if (hl >= least) & (H - hl >= least) else 0.0


@inner(borrows=True)
def _may_beat(left: Array, n: int, total: int, rules: SplitRules, best_gain: float) -> bool:
    """Whether `_gains` could hold one of at least `best_gain`: its inequality without the division.

    Most features of a leaf are far from the best, and this turns them away at half the cost. The margin is
    above what rounding does to either side, so what is turned away could not have won.
    """
    G, H, lam, least = gradient_of(total), hessian_of(total), rules.reg_lambda, rules.min_hessian
    D = H + 2.0 * lam
    threshold = (best_gain - G * G / D - 1e-9 * best_gain) * D
    found = np.int64(0)
    for b in range(np.uint64(n)):
        hl = hessian_of(left[b])
        dl = hl + lam
        x = gradient_of(left[b]) * D - G * dl
        found += (x * x >= threshold * (dl * (D - dl))) & (hl >= least) & (H - hl >= least)
    return bool(found > 0)


@inner(borrows=True)
def _soft_gains(left: Array, n: int, total: int, rules: SplitRules, gains: Array) -> None:
    """`_gains` for any alpha."""
    G, H = gradient_of(total), hessian_of(total)
    alpha, lam, least = rules.reg_alpha, rules.reg_lambda, rules.min_hessian
    for b in range(n):
        gl, hl = gradient_of(left[b]), hessian_of(left[b])
        gr, hr = G - gl, H - hl
        sl = max(gl - alpha, 0.0) + min(gl + alpha, 0.0)
        sr = max(gr - alpha, 0.0) + min(gr + alpha, 0.0)
        dl, dr = hl + lam, hr + lam
        gain = (sl * sl * dr + sr * sr * dl) / (dl * dr)  # one division instead of two
        gains[b] = gain if (hl >= least) & (hr >= least) else 0.0


@inner(borrows=True)
def _bounded_gains(left: Array, n: int, total: int, bounds: Bounds, rules: SplitRules, gains: Array) -> None:
    """Gains of allowed splits under output bounds; 0 where a monotone feature would turn back."""
    direction, low, high = bounds.direction, bounds.low, bounds.high
    for b in range(n):
        if gains[b] > 0.0:
            gl, hl = gradient_of(left[b]), hessian_of(left[b])
            gr, hr = gradient_of(total) - gl, hessian_of(total) - hl
            wl, wr = leaf_output(gl, hl, rules, low, high), leaf_output(gr, hr, rules, low, high)
            turned = (wr - wl) * direction < 0
            gains[b] = 0.0 if turned else _gain_at(wl, gl, hl, rules) + _gain_at(wr, gr, hr, rules)


@inner(borrows=True)
def _beats(gain: float, feature: int, best_gain: float, best: Array) -> bool:
    """Equal gains go to the lower feature, so that the order of the search does not matter."""
    return gain > best_gain or (gain == best_gain and feature < best[FEATURE])


@inner(borrows=True)
def _largest(gains: Array, n: int) -> float:
    """Largest of the first `n` gains, all >= 0."""
    top = np.int64(0)
    for b in range(n):
        top = max(top, bits_of(gains[b]))
    return float_of(top)


@inner(borrows=True)
def _keep_best(
    gains: Array, n: int, left: Array, feature: int, nan_left: bool, best_gain: float, best: Array
) -> float:  # fmt: skip
    top = _largest(gains, n)
    if not _beats(top, feature, best_gain, best):
        return best_gain
    chosen = 0
    while gains[chosen] < top:
        chosen += 1
    best[FEATURE], best[BIN], best[NAN_LEFT], best[LEFT_TOTAL] = feature, chosen, nan_left, left[chosen]
    for word in range(4):
        ahead = min(max(chosen + 1 - 64 * word, 0), 64)
        best[MASK + word] = -1 if ahead == 64 else (np.int64(1) << np.int64(ahead)) - 1
    return top


@inner(borrows=True)
def search_numeric(
    feature: int, first: int, n_bins: int, nan_bin: int, histogram: Array, total: int,
    bounds: Bounds | None, rules: SplitRules, left: Array, gains: Array, best_gain: float, best: Array,
) -> float:  # fmt: skip
    """Best ``bin <= b`` of a feature, with NaN on either side; fills `best` if above `best_gain`."""
    n = n_bins - 1  # the last bin on the left leaves nothing on the right; before a NaN bin it leaves NaN
    whole = (n + _STEP - 1) // _STEP * _STEP
    has_nan = n_bins > nan_bin and histogram[first + nan_bin] != 0
    for nan_left in range(2 if has_nan else 1):
        running = histogram[first + nan_bin] if nan_left else np.int64(0)
        for b in range(np.uint64(n)):
            running += histogram[np.uint64(first) + b]
            left[b] = running
        for b in range(np.uint64(n), np.uint64(whole)):
            left[b] = total  # all on the left is forbidden: gain 0
        if rules.reg_alpha == 0.0 and not _may_beat(left, whole, total, rules, best_gain):
            continue
        if rules.reg_alpha == 0.0:
            _gains(left, whole, total, rules, gains)
        else:
            _soft_gains(left, whole, total, rules, gains)
        if bounds is not None:
            _bounded_gains(left, n, total, bounds, rules, gains)
        best_gain = _keep_best(gains, whole, left, feature, nan_left, best_gain, best)
    if best[FEATURE] == feature:
        if not has_nan:  # nothing was learned about NaN here: it follows the heavier child
            best[NAN_LEFT] = 2 * hessian_of(best[LEFT_TOTAL]) >= hessian_of(total)
        if best[NAN_LEFT]:
            best[MASK + (nan_bin >> 6)] |= np.int64(1) << np.int64(nan_bin & 63)
    return best_gain


@inner(borrows=True)
def search_categorical(
    feature: int, first: int, n_bins: int, histogram: Array, total: int, rules: SplitRules,
    categories: CategoryRules, present: Array, ratio: Array, best_gain: float, best: Array,
) -> float:  # fmt: skip
    """Best set of categories of a feature to send left; bin 0 (anything else) always goes right.

    `present` and `ratio` are buffers, as are `left` and `gains` of `search_numeric`.
    """
    n = 0
    for b in range(1, n_bins):
        packed = histogram[first + b]
        if packed != 0:
            present[n] = b
            ratio[n] = gradient_of(packed) / (hessian_of(packed) + categories.smooth)
            n += 1
    for i in range(1, n):  # insertion sort: stable, and there are at most 254
        b, r, k = present[i], ratio[i], i
        while k > 0 and ratio[k - 1] > r:
            present[k], ratio[k] = present[k - 1], ratio[k - 1]
            k -= 1
        present[k], ratio[k] = b, r
    G, H = gradient_of(total), hessian_of(total)
    extra = categories.l2
    for backwards in range(2):
        running = np.int64(0)
        for taken in range(min(n, categories.most)):
            b = present[n - 1 - taken if backwards else taken]
            running += histogram[first + b]
            gl, hl = gradient_of(running), hessian_of(running)
            if hl < rules.min_hessian or H - hl < rules.min_hessian:
                continue
            gain = leaf_gain(gl, hl + extra, rules) + leaf_gain(G - gl, H - hl + extra, rules)
            if _beats(gain, feature, best_gain, best):
                best_gain = gain
                best[FEATURE], best[BIN], best[NAN_LEFT], best[LEFT_TOTAL] = feature, -1, 0, running
                best[MASK : MASK + 4] = 0
                for t in range(taken + 1):
                    c = present[n - 1 - t if backwards else t]
                    best[MASK + (c >> 6)] |= np.int64(1) << np.int64(c & 63)
    return best_gain
