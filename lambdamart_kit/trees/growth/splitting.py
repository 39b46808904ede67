"""The best split of a leaf: gains over the prefix sums of its histogram.

    gain = T(G_left)^2 / (H_left + lambda) + T(G_right)^2 / (H_right + lambda) - T(G)^2 / (H + lambda)

with T(G) = sign(G) max(|G| - alpha, 0). Gradients and hessians stay in their integer units: with gradient
scale a and hessian scale b, gain is b / a^2 times the gain in those units if lambda is scaled by b and alpha
by a. A NaN bin, where a feature has one, is tried on both sides. Categories have a search of their own,
:mod:`lambdamart_kit.trees.growth.categorical`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.compile import inner
from lambdamart_kit.core.bits import bits_of, float_of
from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.parameters import TreeParameters

# Columns of a split's record (int64). The mask takes four: bit b of 256 is set when bin b goes left.
FEATURE, BIN, NAN_LEFT, LEFT_TOTAL, MASK = range(5)
SPLIT_WIDTH = 8
# Bins that a vectorised and unrolled loop takes at a time. Loops run over whole multiples of it, because the
# rest, one by one, would cost as much as all the others.
_STEP = 32


class TreeLimits(NamedTuple):
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
    def of(cls, p: TreeParameters) -> TreeLimits:
        """Those of `p`, as Python's own numbers: compiled code is for their types."""
        return cls(
            num_leaves=int(p.num_leaves),
            max_depth=int(p.max_depth),
            min_child_samples=int(p.min_child_samples),
            min_child_weight=float(p.min_child_weight),
            min_split_gain=float(p.min_split_gain),
            reg_lambda=float(p.reg_lambda),
            reg_alpha=float(p.reg_alpha),
            learning_rate=float(p.learning_rate),
        )


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
    """What else holds for splits of categories.

    Attributes
    ----------
    smooth : float
        Added to a category's hessian where categories are put in order.
    l2 : float
        Extra L2.
    most : int
        Most categories that go left.
    """

    smooth: float
    l2: float
    most: int

    @classmethod
    def of(cls, p: TreeParameters) -> CategoryRules:
        """Those of `p`, in real units."""
        return cls(float(p.cat_smooth), float(p.cat_l2), int(p.max_cat_threshold))


class Interactions(NamedTuple):
    """Which features may stand on one path: groups of them, and the groups that are left below each node.

    Attributes
    ----------
    groups : (n_groups, n_features) bool
        Features of each group.
    alive : (n_nodes, n_groups) bool
        Groups that have all features split on above the node. Filled as nodes are opened.
    """

    groups: Array
    alive: Array

    @classmethod
    def of(cls, p: TreeParameters, n_features: int) -> Interactions | None:
        """Those of `p`, for the nodes of one tree; None without constraints."""
        if not p.interaction_constraints:
            return None
        groups = np.zeros((len(p.interaction_constraints), n_features), dtype=np.bool_)
        # As with masks of drawn features, there is a row for each of the nodes that a tree of L leaves opens.
        # Nothing is split on above the root, so it starts with every group.
        for group, columns in zip(groups, p.interaction_constraints):
            group[list(columns)] = True
        return cls(groups, np.ones((2 * p.num_leaves - 1, len(groups)), dtype=np.bool_))


class Bounds(NamedTuple):
    """Of monotone constraints: direction of the feature, least and largest output below the leaf."""

    direction: int
    low: float
    high: float


class FeatureBins(NamedTuple):
    """A feature in a histogram: its column, first slot, bins in use, and bin of NaN, in use or not."""

    column: int
    first: int
    n_bins: int
    nan_bin: int


@inner
def split_rules(limits: TreeLimits, gradient_scale: float, hessian_scale: float, free: bool) -> SplitRules:
    """The rules in the units of the scales; least-squares splits are `free` of regularisation."""
    return SplitRules(
        0.0 if free else limits.reg_lambda * hessian_scale,
        0.0 if free else limits.reg_alpha * gradient_scale,
        # Gains are G^2 / H: in integer units a^2 / b times what they are in real ones.
        limits.min_split_gain * gradient_scale * gradient_scale / hessian_scale,
        1.0 if free else max(limits.min_child_weight * hessian_scale, 1.0),
        # Half a row is taken off, so that rounding of hessians does not decide between n rows and n - 1.
        limits.min_child_samples - 0.5 if limits.min_child_samples > 1 else 0.0,
        # The real step is (G / a) / (H / b) = b / a times the quotient of the integer sums.
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
    # A row weighs the mean hessian of the leaf, so the fewest rows are a least hessian as well.
    least = max(rules.min_hessian, rules.min_rows * hessian / rows)
    return SplitRules(
        rules.reg_lambda, rules.reg_alpha, rules.min_gain, least, rules.min_rows, rules.value_scale
    )


@inner
def _soft(gradient: float, alpha: float) -> float:
    # G moved towards zero by alpha, or 0 if it is nearer: at most one of the two terms is not 0. There is
    # no branch on the sign, so loops vectorise.
    return max(gradient - alpha, 0.0) + min(gradient + alpha, 0.0)


@inner
def leaf_gain(gradient: float, hessian: float, rules: SplitRules) -> float:
    """``T(G)^2 / (H + lambda)``: twice what a leaf of its own takes off the loss."""
    # The loss of a leaf with output w is G w + (H + lambda) w^2 / 2 + alpha |w|. It is least at
    # w = -T(G) / (H + lambda), where it is -T(G)^2 / (2 (H + lambda)).
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
    # An output between 0 and the Newton step has the sign of -G, so alpha |w| joins G w as T(G) w. At the
    # Newton step itself this is `leaf_gain`.
    w = output / rules.value_scale
    return -(2 * _soft(gradient, rules.reg_alpha) * w + (hessian + rules.reg_lambda) * w * w)


@inner(borrows=True)
def _gains(left: Array, n: int, total: int, rules: SplitRules, gains: Array) -> None:
    """Gains of the `n` splits with packed left sums `left`, for alpha = 0; 0 where a rule forbids the split.

    ``(G_l D - G D_l)^2 / (D D_l D_r) + G^2 / D`` with ``D_l = H_l + lambda`` and ``D = D_l + D_r``: the same
    as the sum of the children's gains, and half the work.
    """
    G = gradient_of(total)
    H = hessian_of(total)
    lam = rules.reg_lambda
    least = rules.min_hessian
    # With G_r = G - G_l and D_r = D - D_l the sum of the children's gains is
    #     (G_l^2 D_r + (G - G_l)^2 D_l) / (D_l D_r).
    # Its numerator times D is (G_l D - G D_l)^2 + G^2 D_l D_r, which gives the docstring's form. Each child
    # adds lambda, hence the 2.
    D = H + 2.0 * lam
    inverse = 1.0 / D
    base = G * G / D
    # The rule is a factor of the gain and not a branch, so that the loop vectorises.
    for b in range(n):
        hl = hessian_of(left[b])
        dl = hl + lam
        x = gradient_of(left[b]) * D - G * dl
        gain = x * x / (dl * (D - dl)) * inverse + base
        gains[b] = gain if (hl >= least) & (H - hl >= least) else 0.0


@inner(borrows=True)
def _may_beat(left: Array, n: int, total: int, rules: SplitRules, best_gain: float) -> bool:
    """Whether `_gains` could hold one of at least `best_gain`: the same inequality without the division.

    Most features of a leaf are far from the best, and this turns them away at half the cost. The margin is
    above what rounding does to either side, so what is turned away could not have won.
    """
    G = gradient_of(total)
    H = hessian_of(total)
    lam = rules.reg_lambda
    least = rules.min_hessian
    D = H + 2.0 * lam
    # gain >= best is x^2 / (D D_l D_r) >= best - G^2 / D. All factors of the denominator are above 0 where
    # the least hessian is met, so multiplying by them keeps the direction of the inequality.
    threshold = (best_gain - G * G / D - 1e-9 * best_gain) * D
    found = np.int64(0)
    # Counting every bin that could win vectorises; stopping at the first one would not.
    for b in range(np.uint64(n)):
        hl = hessian_of(left[b])
        dl = hl + lam
        x = gradient_of(left[b]) * D - G * dl
        found += (x * x >= threshold * (dl * (D - dl))) & (hl >= least) & (H - hl >= least)
    return bool(found > 0)


@inner(borrows=True)
def _soft_gains(left: Array, n: int, total: int, rules: SplitRules, gains: Array) -> None:
    """`_gains` for any alpha."""
    G = gradient_of(total)
    H = hessian_of(total)
    alpha = rules.reg_alpha
    lam = rules.reg_lambda
    least = rules.min_hessian
    # T is written out here: with calls of `_soft` the loop was not vectorised.
    for b in range(n):
        gl = gradient_of(left[b])
        hl = hessian_of(left[b])
        gr = G - gl
        hr = H - hl
        sl = max(gl - alpha, 0.0) + min(gl + alpha, 0.0)
        sr = max(gr - alpha, 0.0) + min(gr + alpha, 0.0)
        dl = hl + lam
        dr = hr + lam
        gain = (sl * sl * dr + sr * sr * dl) / (dl * dr)  # one division instead of two
        gains[b] = gain if (hl >= least) & (hr >= least) else 0.0


@inner(borrows=True)
def _bounded_gains(left: Array, n: int, total: int, bounds: Bounds, rules: SplitRules, gains: Array) -> None:
    """Gains of allowed splits under output bounds; 0 where a monotone feature would turn back."""
    low = bounds.low
    high = bounds.high
    # A gain of 0 says that a rule forbids the split. For the others the gain is computed anew, because an
    # output that a bound holds back is not the Newton step that `_gains` assumes.
    for b in range(n):
        if gains[b] > 0.0:
            gl = gradient_of(left[b])
            hl = hessian_of(left[b])
            gr = gradient_of(total) - gl
            hr = hessian_of(total) - hl
            wl = leaf_output(gl, hl, rules, low, high)
            wr = leaf_output(gr, hr, rules, low, high)
            turned = (wr - wl) * bounds.direction < 0
            gains[b] = 0.0 if turned else _gain_at(wl, gl, hl, rules) + _gain_at(wr, gr, hr, rules)


@inner(borrows=True)
def beats(gain: float, feature: int, best_gain: float, best: Array) -> bool:
    """Equal gains go to the lower feature, so that the order of the search does not matter."""
    return gain > best_gain or (gain == best_gain and feature < best[FEATURE])


@inner(borrows=True)
def _largest(gains: Array, n: int) -> float:
    """Largest of the first `n` gains, all >= 0."""
    # Bits of floats that are not negative compare as the floats do, and a maximum of integers vectorises.
    top = np.int64(0)
    for b in range(n):
        top = max(top, bits_of(gains[b]))
    return float_of(top)


@inner(borrows=True)
def _keep_best(
    gains: Array, n: int, left: Array, feature: int, nan_left: bool, best_gain: float, best: Array
) -> float:
    """Fill in the record `best` if the largest gain beats it; returns the gain of the record."""
    top = _largest(gains, n)
    if not beats(top, feature, best_gain, best):
        return best_gain
    # The first bin of that gain is taken. So equal gains of one feature go to the lower bin, and with NaN
    # on either side, to the side that was tried first.
    chosen = 0
    while gains[chosen] < top:
        chosen += 1
    best[FEATURE] = feature
    best[BIN] = chosen
    best[NAN_LEFT] = nan_left
    best[LEFT_TOTAL] = left[chosen]
    # Bits 0 to `chosen` of the mask: full words, one that is partly full, then empty ones.
    for word in range(4):
        ahead = min(max(chosen + 1 - 64 * word, 0), 64)
        best[MASK + word] = -1 if ahead == 64 else (np.int64(1) << np.int64(ahead)) - 1
    return top


@inner(borrows=True)
def search_numeric(
    feature: FeatureBins,
    histogram: Array,
    total: int,
    bounds: Bounds | None,
    rules: SplitRules,
    left: Array,
    gains: Array,
    best_gain: float,
    best: Array,
) -> float:
    """Best ``bin <= b`` of a feature, with NaN on either side; fills `best` if above `best_gain`."""
    first = feature.first
    nan_bin = feature.nan_bin
    # The last bin on the left leaves nothing on the right or, where there is a bin of NaN, leaves NaN.
    n = feature.n_bins - 1
    whole = (n + _STEP - 1) // _STEP * _STEP
    has_nan = feature.n_bins > nan_bin and histogram[first + nan_bin] != 0
    # One pass with NaN on the right and, if the leaf has NaN, one with NaN on the left.
    for nan_left in range(2 if has_nan else 1):
        # Prefix sums: `left[b]` is the packed sum of all that goes left with ``bin <= b``.
        running = histogram[first + nan_bin] if nan_left else np.int64(0)
        for b in range(np.uint64(n)):
            running += histogram[np.uint64(first) + b]
            left[b] = running
        for b in range(np.uint64(n), np.uint64(whole)):
            left[b] = total  # all on the left is forbidden: gain 0
        # Most features end here: no split of theirs can beat what was found before.
        if rules.reg_alpha == 0.0 and not _may_beat(left, whole, total, rules, best_gain):
            continue
        if rules.reg_alpha == 0.0:
            _gains(left, whole, total, rules, gains)
        else:
            _soft_gains(left, whole, total, rules, gains)
        if bounds is not None:
            _bounded_gains(left, n, total, bounds, rules, gains)
        best_gain = _keep_best(gains, whole, left, feature.column, nan_left, best_gain, best)
    if best[FEATURE] == feature.column:
        if not has_nan:  # nothing was learned about NaN here: it follows the heavier child
            best[NAN_LEFT] = 2 * hessian_of(best[LEFT_TOTAL]) >= hessian_of(total)
        if best[NAN_LEFT]:
            best[MASK + (nan_bin >> 6)] |= np.int64(1) << np.int64(nan_bin & 63)
    return best_gain
