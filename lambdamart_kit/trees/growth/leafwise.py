"""Leaf-wise best-first growth of one tree, on all threads at once.

Every thread runs :func:`grow` from start to end and keeps its own copy of the table of leaves, which is the
same on all of them; they meet three times a split. A split: each thread moves its half of the leaf's rows;
then builds the smaller child's histogram over its own features, gets the larger child's by subtraction, and
offers its best split of each child; then all take the best offer. Every sum is an integer, so neither the
number of threads nor the order of rows changes the tree.

Fewest rows of a child: a row counts as its hessian over the mean hessian of the leaf, as in LightGBM, so
histograms need not carry counts. It is the better rule, too: what a leaf knows is its hessian. A few
documents that the metric hangs on make a leaf, many that nothing hangs on do not.
"""

from __future__ import annotations

import numpy as np

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.growth.barrier import cycles, meet
from lambdamart_kit.trees.growth.histogram import (
    CATEGORICAL,
    COLUMN,
    N_BINS,
    NAN_BIN,
    START,
    Layout,
    accumulate,
    complete,
)
from lambdamart_kit.trees.growth.leaves import finish
from lambdamart_kit.trees.growth.partition import move_rows
from lambdamart_kit.trees.growth.quantising import plain_scales, quantise
from lambdamart_kit.trees.growth.splitting import (
    FEATURE,
    LEFT_TOTAL,
    SPLIT_WIDTH,
    Bounds,
    CategoryRules,
    Limits,
    SplitRules,
    gradient_of,
    hessian_of,
    leaf_gain,
    leaf_output,
    rules_of_leaf,
    scaled_categories,
    search_categorical,
    search_numeric,
    split_rules,
)
from lambdamart_kit.trees.growth.state import (
    BEGIN,
    BUILD,
    COUNT,
    DEPTH,
    FINISH,
    GAIN,
    HEAVY,
    HIGH,
    LEFT_CHILD,
    LIGHT,
    LOW,
    NODE,
    NODE_TOTAL,
    OFFERED,
    PARENT,
    QUANTISE,
    RIGHT_CHILD,
    ROWS,
    SEARCH,
    SLOT,
    SUBTRACT,
    TOTAL,
    LeafTables,
    Rounding,
    Sample,
    SearchSpace,
    Work,
)

_ROWS_TO_SHARE = 1500  # rows a thread from which a leaf is shared out by rows


@inner(borrows=True)
def _offer(
    thread: int, n_threads: int, leaf: int, layout: Layout, allowed: Array, monotone: Array | None,
    tree_rules: SplitRules, categories: CategoryRules | None, mine: Array, reals: Array, histogram: Array,
    left: Array, gains: Array, best: Array,
) -> None:  # fmt: skip
    """Search this thread's features for the best split of `leaf`: `best`, with its gain in `reals`."""
    total, node = mine[leaf, TOTAL], mine[leaf, NODE]
    rules = rules_of_leaf(tree_rules, hessian_of(total), mine[leaf, COUNT])
    best[FEATURE] = -1
    parent = leaf_gain(gradient_of(total), hessian_of(total), rules)
    gain = parent * (1 + 1e-10) + rules.min_gain  # what rounding alone could gain is no gain
    may_split, features, block_feature = allowed[node % len(allowed)], layout.features, layout.block_feature
    for block in range(thread, len(block_feature) - 1, n_threads):
        for f in range(block_feature[block], block_feature[block + 1]):
            feature, first, n_bins = features[f, COLUMN], features[f, START], features[f, N_BINS]
            if not may_split[feature]:
                continue
            if categories is not None and features[f, CATEGORICAL]:
                gain = search_categorical(
                    feature, first, n_bins, histogram, total, rules, categories, left, gains, gain, best
                )
            elif monotone is not None:
                bounds = Bounds(monotone[feature], reals[leaf, LOW], reals[leaf, HIGH])
                gain = search_numeric(
                    feature, first, n_bins, features[f, NAN_BIN], histogram, total, bounds, rules, left,
                    gains, gain, best,
                )  # fmt: skip
            else:
                gain = search_numeric(
                    feature, first, n_bins, features[f, NAN_BIN], histogram, total, None, rules, left,
                    gains, gain, best,
                )  # fmt: skip
    reals[leaf, OFFERED] = gain - parent if best[FEATURE] >= 0 else 0.0


@inner(borrows=True)
def _take_best_offer(
    thread: int, n_threads: int, leaf: int, child: int, tables: LeafTables, offers: Array
) -> None:
    """Note the best of all threads' offers for `leaf`; equal gains go to the lower feature."""
    chosen, top, feature = 0, 0.0, np.int64(-1)
    for t in range(n_threads):
        gain, candidate = tables.reals[t, leaf, OFFERED], offers[2 * t + child, FEATURE]
        if gain > top or (gain == top and gain > 0.0 and candidate < feature):
            chosen, top, feature = t, gain, candidate
    tables.reals[thread, leaf, GAIN] = top
    for column in range(SPLIT_WIDTH):  # a slice would compile for a second, here and below
        tables.leaves[thread, leaf, column] = offers[2 * chosen + child, column]


@inner(borrows=True)
def _open_leaf(
    mine: Array, reals: Array, leaf: int, begin: int, heavy: int, light: int, count: int, total: int,
    depth: int, slot: int, node: int, parent: int, low: float, high: float,
) -> None:  # fmt: skip
    mine[leaf, BEGIN], mine[leaf, HEAVY], mine[leaf, LIGHT], mine[leaf, COUNT] = begin, heavy, light, count
    mine[leaf, TOTAL], mine[leaf, DEPTH], mine[leaf, SLOT] = total, depth, slot
    mine[leaf, NODE], mine[leaf, PARENT] = node, parent
    reals[leaf, GAIN], reals[leaf, LOW], reals[leaf, HIGH] = 0.0, low, high


@inner(borrows=True)
def _splittable(mine: Array, leaf: int, limits: Limits, rules: SplitRules) -> bool:
    return (
        mine[leaf, COUNT] >= 2 * limits.min_child_samples
        and hessian_of(mine[leaf, TOTAL]) >= 2 * rules.min_hessian
        and (limits.max_depth <= 0 or mine[leaf, DEPTH] < limits.max_depth)
    )


@inner(borrows=True)
def _note_node(leaf: int, node: int, mine: Array, reals: Array, nodes: Array, node_gains: Array) -> None:
    """Write the split into the tree. Children are LightGBM's: a node, or ~leaf."""
    for column in range(SPLIT_WIDTH):
        nodes[node, column] = mine[leaf, column]
    nodes[node, LEFT_CHILD], nodes[node, RIGHT_CHILD] = ~leaf, ~(node + 1)
    nodes[node, ROWS], nodes[node, NODE_TOTAL] = mine[leaf, COUNT], mine[leaf, TOTAL]
    node_gains[node] = reals[leaf, GAIN]
    parent = mine[leaf, PARENT]
    if parent >= 0:
        nodes[parent >> 1, LEFT_CHILD + (parent & 1)] = node


@inner(borrows=True)
def _divide(
    leaf: int, node: int, heavy_left: int, light_left: int, monotone: Array | None, mine: Array, reals: Array,
    rules: SplitRules,
) -> None:  # fmt: skip
    """Leaf `leaf` becomes the left child, leaf ``node + 1`` the right; the larger keeps the histogram."""
    begin, heavy, light, count = mine[leaf, BEGIN], mine[leaf, HEAVY], mine[leaf, LIGHT], mine[leaf, COUNT]
    total, depth, slot = mine[leaf, TOTAL], mine[leaf, DEPTH] + 1, mine[leaf, SLOT]
    left_total, right_total = mine[leaf, LEFT_TOTAL], total - mine[leaf, LEFT_TOTAL]
    low, high = reals[leaf, LOW], reals[leaf, HIGH]
    left_low, left_high, right_low, right_high = low, high, low, high
    if monotone is not None:
        middle = leaf_output(gradient_of(left_total), hessian_of(left_total), rules, low, high) / 2
        middle += leaf_output(gradient_of(right_total), hessian_of(right_total), rules, low, high) / 2
        direction = monotone[mine[leaf, FEATURE]]
        if direction > 0:  # a rising feature: the left child stays below the middle, the right one above
            left_high = right_low = middle
        elif direction < 0:
            left_low = right_high = middle
    right, n_left = node + 1, heavy_left + light_left
    left_slot, right_slot = (right, slot) if 2 * heavy_left <= heavy else (slot, right)
    _open_leaf(
        mine, reals, leaf, begin, heavy_left, light, n_left, left_total, depth, left_slot, 2 * node + 1,
        2 * node, left_low, left_high,
    )  # fmt: skip
    _open_leaf(
        mine, reals, right, begin + heavy_left, heavy - heavy_left, light + light_left, count - n_left,
        right_total, depth, right_slot, 2 * node + 2, 2 * node + 1, right_low, right_high,
    )  # fmt: skip


@inner(borrows=True, shared=True)
def _build(
    thread: int, n_threads: int, begin: int, heavy: int, total: int, layout: Layout, carried: Array,
    histograms: Array, target: Array, arrivals: Array,
) -> None:  # fmt: skip
    """Fill `target`, the histogram of a leaf; on return each thread has the slots of its own blocks.

    Many rows are shared out by rows, each thread adding whole lists to a histogram of its own: this reads
    every list once, and in one go. Few rows are not worth adding up those histograms: each thread adds its
    own blocks.
    """
    n_planes, n_blocks = layout.row_ptr.shape[0], len(layout.block_slot) - 1
    by_rows = n_threads > 1 and heavy >= _ROWS_TO_SHARE * n_threads
    first, last = (0, n_blocks // n_planes) if by_rows else (thread, thread + 1)
    share, shares = (thread, n_threads) if by_rows else (0, 1)
    own = histograms[len(histograms) - thread] if by_rows and thread > 0 else target
    if by_rows:
        own[:] = 0
    else:
        for block in range(thread, n_blocks, n_threads):
            own[layout.block_slot[block] : layout.block_slot[block + 1]] = 0
    rows = carried[begin + heavy * share // shares : begin + heavy * (share + 1) // shares]
    for plane in range(n_planes):
        accumulate(layout, plane, first, last, rows, own)
    if by_rows:
        meet(arrivals, thread, n_threads)
    for block in range(thread, n_blocks, n_threads):
        if by_rows:
            for t in range(1, n_threads):
                partial = histograms[len(histograms) - t]
                for s in range(layout.block_slot[block], layout.block_slot[block + 1]):
                    target[s] += partial[s]
        complete(layout, block, total, target)


@inner(borrows=True)
def _subtract(thread: int, n_threads: int, block_slot: Array, child: Array, parent: Array) -> None:
    """Turn the parent's histogram into the other child's, in place."""
    for block in range(thread, len(block_slot) - 1, n_threads):
        for s in range(np.uint64(block_slot[block]), np.uint64(block_slot[block + 1])):
            parent[s] -= child[s]


@inner(borrows=True, shared=True)
def _search(
    thread: int, n_threads: int, leaf: int, right: int, limits: Limits, rules: SplitRules,
    categories: CategoryRules | None, monotone: Array | None, layout: Layout, allowed: Array, carried: Array,
    tables: LeafTables, space: SearchSpace, arrivals: Array, clock: Array,
) -> None:  # fmt: skip
    """Histograms of two children and the best split of each that may still be split.

    At the root, `right` is `leaf`: there is one of all that, and nothing to subtract it from.
    """
    mine, reals, histograms = tables.leaves[thread], tables.reals[thread], space.histograms
    left_wanted = _splittable(mine, leaf, limits, rules)
    right_wanted = right != leaf and _splittable(mine, right, limits, rules)
    if not (left_wanted or right_wanted):
        return
    small, large = (leaf, right) if mine[leaf, SLOT] == right else (right, leaf)
    started, target = cycles(), histograms[mine[small, SLOT]]
    _build(
        thread, n_threads, mine[small, BEGIN], mine[small, HEAVY], mine[small, TOTAL], layout, carried,
        histograms, target, arrivals,
    )  # fmt: skip
    built = cycles()
    if right != leaf:
        _subtract(thread, n_threads, layout.block_slot, target, histograms[mine[large, SLOT]])
    subtracted = cycles()
    for child in range(2):
        if right_wanted if child else left_wanted:
            at = right if child else leaf
            _offer(
                thread, n_threads, at, layout, allowed, monotone, rules, categories, mine, reals,
                histograms[mine[at, SLOT]], space.left[thread], space.gains[thread],
                space.offers[2 * thread + child],
            )  # fmt: skip
    searched = cycles()
    meet(arrivals, thread, n_threads)
    for child in range(2):
        if right_wanted if child else left_wanted:
            _take_best_offer(thread, n_threads, right if child else leaf, child, tables, space.offers)
    clock[BUILD] += built - started
    clock[SUBTRACT] += subtracted - built
    clock[SEARCH] += searched - subtracted


@kernel(borrows=True, shared=True)
def grow(
    thread: int, n_threads: int, sample: Sample, rounding: Rounding, limits: Limits,
    categories: CategoryRules | None, monotone: Array | None, layout: Layout, columns: Array, allowed: Array,
    work: Work, scores: Array,
) -> tuple[int, tuple[float, float, float, float, float, float]]:  # fmt: skip
    """Grow one tree into `work` and add it to the `scores`.

    Returns the number of leaves, 0 if gradients are bad, and the scales.

    `allowed` has one row for all nodes, or one for each: the columns to split on. Where there are no
    categorical features, or no `monotone` constraints, None says so, and no code is compiled for them.
    """
    tables, arrivals, clock = work.tables, work.arrivals, work.counters[thread]
    mine, reals, free, started = tables.leaves[thread], tables.reals[thread], rounding.constant, cycles()
    scales, heavy, total = quantise(thread, n_threads, sample, rounding, work.order, work.drawing, arrivals)
    clock[QUANTISE] += cycles() - started
    if scales.hessian < 0:
        return 0, plain_scales(scales)
    rules = split_rules(limits, scales.gradient, scales.hessian, free)
    scaled = scaled_categories(categories, scales.hessian, free)
    _open_leaf(mine, reals, 0, 0, heavy, heavy, len(sample.rows), total, 0, 0, 0, -1, -np.inf, np.inf)
    n_leaves, leaf, right = 1, 0, 0
    while n_leaves < limits.num_leaves:
        _search(
            thread, n_threads, leaf, right, limits, rules, scaled, monotone, layout, allowed,
            work.order.carried, tables, work.space, arrivals, clock,
        )  # fmt: skip
        leaf = 0
        for other in range(1, n_leaves):
            leaf = other if reals[other, GAIN] > reals[leaf, GAIN] else leaf
        if reals[leaf, GAIN] <= 0.0:
            break
        node, right, column = n_leaves - 1, n_leaves, columns[mine[leaf, FEATURE]]
        heavy, light = move_rows(thread, n_threads, column, leaf, mine, work.order, arrivals, clock)
        if thread == 0:
            _note_node(leaf, node, mine, reals, tables.nodes, tables.node_gains)
        _divide(leaf, node, heavy, light, monotone, mine, reals, rules)
        n_leaves += 1
    started = cycles()
    finish(
        thread, n_threads, n_leaves, sample, scales, split_rules(limits, 1.0, 1.0, False),
        limits.learning_rate, work.order.carried, tables, work.sums, scores, arrivals,
    )  # fmt: skip
    clock[FINISH] += cycles() - started
    return n_leaves, plain_scales(scales)
