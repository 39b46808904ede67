"""Offers: the best split of a leaf that each thread finds among its own features, and the best of those."""

from __future__ import annotations

import numpy as np

from lambdamart_kit.compile import inner
from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.growth.categorical import search_categorical
from lambdamart_kit.trees.growth.histogram import CATEGORICAL, COLUMN, N_BINS, NAN_BIN, START, SlotLayout
from lambdamart_kit.trees.growth.rules import (
    Bounds,
    CategoryRules,
    SplitRules,
    gradient_of,
    hessian_of,
    leaf_gain,
    rules_of_leaf,
)
from lambdamart_kit.trees.growth.splitting import FEATURE, SPLIT_WIDTH, FeatureBins, search_numeric
from lambdamart_kit.trees.growth.state import (
    COUNT,
    GAIN,
    HIGH,
    LOW,
    NODE,
    OFFERED,
    TOTAL,
    Crew,
    LeafTables,
    OfferSpace,
)


@inner(borrows=True)
def offer(
    crew: Crew,
    leaf: int,
    layout: SlotLayout,
    allowed: Array,
    monotone: Array | None,
    tree_rules: SplitRules,
    categories: CategoryRules | None,
    mine: Array,
    reals: Array,
    space: OfferSpace,
) -> None:
    """Search this thread's features for the best split of `leaf`: ``space.best``, its gain in `reals`."""
    total = mine[leaf, TOTAL]
    best = space.best
    histogram = space.histogram
    rules = rules_of_leaf(tree_rules, hessian_of(total), mine[leaf, COUNT])
    # No split is found yet. -1 is below every feature, so by the rule for equal gains no feature wins with
    # just the gain that is to be beaten.
    best[FEATURE] = -1
    parent = leaf_gain(gradient_of(total), hessian_of(total), rules)
    gain = parent * (1 + 1e-10) + rules.min_gain  # a split must gain more than rounding could
    # Either one row of features serves all nodes, or each node
    # has a row of its own; the remainder serves both.
    may_split = allowed[mine[leaf, NODE] % len(allowed)]
    features = layout.features
    block_feature = layout.block_feature
    # Blocks are dealt out to the threads in turn, in every plane, and each thread searches the features of
    # its own blocks. `gain` is what the next feature has to beat.
    for block in range(crew.thread, len(block_feature) - 1, crew.n_threads):
        for f in range(block_feature[block], block_feature[block + 1]):
            feature = FeatureBins(
                features[f, COLUMN], features[f, START], features[f, N_BINS], features[f, NAN_BIN]
            )
            if not may_split[feature.column]:
                continue
            if categories is not None and features[f, CATEGORICAL]:
                gain = search_categorical(
                    feature, histogram, total, rules, categories, space.left, space.gains, gain, best
                )
            elif monotone is not None:
                bounds = Bounds(monotone[feature.column], reals[leaf, LOW], reals[leaf, HIGH])
                gain = search_numeric(
                    feature, histogram, total, bounds, rules, space.left, space.gains, gain, best
                )
            else:
                gain = search_numeric(
                    feature, histogram, total, None, rules, space.left, space.gains, gain, best
                )
    # What is offered is the improvement: the children's gains less what the leaf has undivided.
    reals[leaf, OFFERED] = gain - parent if best[FEATURE] >= 0 else 0.0


@inner(borrows=True)
def take_best_offer(crew: Crew, leaf: int, child: int, tables: LeafTables, offers: Array) -> None:
    """Note the best of all threads' offers for `leaf`; equal gains go to the lower feature."""
    chosen = 0
    top = 0.0
    feature = np.int64(-1)
    # Each thread finds the same answer from the same offers, so nobody waits for one that decides.
    for t in range(crew.n_threads):
        gain = tables.reals[t, leaf, OFFERED]
        candidate = offers[2 * t + child, FEATURE]
        if gain > top or (gain == top and gain > 0.0 and candidate < feature):
            chosen = t
            top = gain
            feature = candidate
    tables.reals[crew.thread, leaf, GAIN] = top
    # Columns are copied one by one: assigning a slice would take a second to compile, here and below.
    for column in range(SPLIT_WIDTH):
        tables.leaves[crew.thread, leaf, column] = offers[2 * chosen + child, column]
