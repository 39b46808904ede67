"""What a split must satisfy, what a leaf gains and puts out, in real units and in those of the histograms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.compile import inner
from lambdamart_kit.trees.parameters import TreeParameters


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


class Bounds(NamedTuple):
    """Of monotone constraints: direction of the feature, least and largest output below the leaf."""

    direction: int
    low: float
    high: float


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
def gain_at(output: float, gradient: float, hessian: float, rules: SplitRules) -> float:
    """Gain of a leaf with any output: ``-(2 T(G) w + (H + lambda) w^2)``, w in integer units."""
    # An output between 0 and the Newton step has the sign of -G, so alpha |w| joins G w as T(G) w. At the
    # Newton step itself this is `leaf_gain`.
    w = output / rules.value_scale
    return -(2 * _soft(gradient, rules.reg_alpha) * w + (hessian + rules.reg_lambda) * w * w)
