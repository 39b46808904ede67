"""The best split of a categorical feature: categories in the order of their gradients, cut once.

Categories are sorted by gradient / (hessian + smoothing), and the best prefix of that order, from either end,
goes left (Fisher 1958: the best of all subsets for a convex loss).
"""

from __future__ import annotations

import numpy as np

from lambdamart_kit.compile import inner
from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.growth.splitting import (
    BIN,
    FEATURE,
    LEFT_TOTAL,
    MASK,
    NAN_LEFT,
    CategoryRules,
    FeatureBins,
    SplitRules,
    beats,
    gradient_of,
    hessian_of,
    leaf_gain,
)


@inner(borrows=True)
def search_categorical(
    feature: FeatureBins,
    histogram: Array,
    total: int,
    rules: SplitRules,
    categories: CategoryRules,
    present: Array,
    ratio: Array,
    best_gain: float,
    best: Array,
) -> float:
    """Best set of categories of a feature to send left; bin 0 (anything else) always goes right.

    `present` and `ratio` are buffers, as are `left` and `gains` of `search_numeric`.
    """
    first = feature.first
    n = _put_in_order(feature, histogram, categories.smooth, present, ratio)
    G = gradient_of(total)
    H = hessian_of(total)
    # A split on categories is the best of many sets, chosen by the gradients it is judged on. So its
    # children are regularised more than those of a threshold.
    extra = categories.l2
    # Prefixes of the order from its lower end, then from its upper end: with at most `most` categories on
    # the left, the two are different splits.
    for backwards in range(2):
        running = np.int64(0)
        for taken in range(min(n, categories.most)):
            b = present[n - 1 - taken if backwards else taken]
            running += histogram[first + b]
            gl = gradient_of(running)
            hl = hessian_of(running)
            # One child is too small, but more categories may still make it large enough.
            if hl < rules.min_hessian or H - hl < rules.min_hessian:
                continue
            gain = leaf_gain(gl, hl + extra, rules) + leaf_gain(G - gl, H - hl + extra, rules)
            if beats(gain, feature.column, best_gain, best):
                best_gain = gain
                best[FEATURE] = feature.column
                best[BIN] = -1
                best[NAN_LEFT] = 0
                best[LEFT_TOTAL] = running
                # Unlike a threshold's bins, the categories on the left are no
                # range, so their bits are set one by one.
                best[MASK : MASK + 4] = 0
                for t in range(taken + 1):
                    c = present[n - 1 - t if backwards else t]
                    best[MASK + (c >> 6)] |= np.int64(1) << np.int64(c & 63)
    return best_gain


@inner(borrows=True)
def _put_in_order(feature: FeatureBins, histogram: Array, smooth: float, present: Array, ratio: Array) -> int:
    """Fill `present` with the categories that have rows, by ascending ratio; returns their number."""
    first = feature.first
    # Categories without rows in this leaf are left out; they go right, with bin 0.
    n = 0
    for b in range(1, feature.n_bins):
        packed = histogram[first + b]
        if packed != 0:
            present[n] = b
            # Smoothing draws the ratio of a category with little hessian towards 0, so that noise alone does
            # not put the category at an end of the order.
            ratio[n] = gradient_of(packed) / (hessian_of(packed) + smooth)
            n += 1
    # Insertion sort by ratio: stable, and there are at most 254.
    for i in range(1, n):
        b = present[i]
        r = ratio[i]
        k = i
        while k > 0 and ratio[k - 1] > r:
            present[k] = present[k - 1]
            ratio[k] = ratio[k - 1]
            k -= 1
        present[k] = b
        ratio[k] = r
    return n
