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

from lambdamart_kit.core.jit import inner, kernel
from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.histogram import Layout, accumulate, complete
from lambdamart_kit.trees.lockstep import cycles, meet
from lambdamart_kit.trees.partition import move_rows, quantise_rows
from lambdamart_kit.trees.quantising import find_scales
from lambdamart_kit.trees.splitting import (
    FEATURE,
    LEFT_TOTAL,
    SPLIT_WIDTH,
    SplitRules,
    gradient_of,
    hessian_of,
    leaf_gain,
    leaf_output,
    rules_of_leaf,
    search_categorical,
    search_numeric,
)
from lambdamart_kit.trees.state import (
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
    PARENT,
    QUANTISE,
    RIGHT_CHILD,
    ROWS,
    SEARCH,
    SLOT,
    SUBTRACT,
    TOTAL,
    Data,
    Limits,
    Work,
)

_ROWS_TO_SHARE = 1500  # rows a thread from which a leaf is shared out by rows


@inner
def _rules(limits: Limits, gradient_scale: float, hessian_scale: float, free: bool) -> SplitRules:
    """The rules in integer units. `free` of regularisation are least-squares splits, as in Burges 2010."""
    return SplitRules(
        0.0 if free else limits.reg_lambda * hessian_scale,
        0.0 if free else limits.reg_alpha * gradient_scale,
        limits.min_split_gain * gradient_scale * gradient_scale / hessian_scale,
        1.0 if free else max(limits.min_child_weight * hessian_scale, 1.0),
        # Half a row less, so that quantised hessians do not decide between n rows and n - 1.
        limits.min_child_samples - 0.5 if limits.min_child_samples > 1 else 0.0,
        hessian_scale / gradient_scale,
        limits.cat_smooth if free else limits.cat_smooth * hessian_scale,
        limits.cat_l2 if free else limits.cat_l2 * hessian_scale,
        limits.max_cat,
    )


@inner(borrows=True)
def _offer(
    thread: int, n_threads: int, leaf: int, child: int, layout: Layout, data: Data, tree_rules: SplitRules,
    bounded: bool, work: Work,
) -> None:  # fmt: skip
    """Search this thread's features for the best split of `leaf` and put it on the table as offer `child`."""
    started = cycles()
    mine, reals = work.leaves[thread], work.leaf_reals[thread]
    total, node, histogram = mine[leaf, TOTAL], mine[leaf, NODE], work.histograms[mine[leaf, SLOT]]
    low, high = reals[leaf, LOW], reals[leaf, HIGH]
    rules = rules_of_leaf(tree_rules, hessian_of(total), mine[leaf, COUNT])
    best = work.offers[thread, child]
    best[FEATURE] = -1
    parent = leaf_gain(gradient_of(total), hessian_of(total), rules)
    gain = parent * (1 + 1e-10) + rules.min_gain  # what rounding alone could gain is no gain
    allowed, directions = data.allowed[node % data.allowed.shape[0]], data.direction
    features, starts, sizes, nan_bins = layout.feature, layout.start, layout.n_bins, layout.nan_bin
    categorical, block_feature = layout.is_categorical, layout.block_feature
    left, gains = work.scratch[thread], work.gains[thread]
    for block in range(thread, len(block_feature) - 1, n_threads):
        for f in range(block_feature[block], block_feature[block + 1]):
            feature = features[f]
            if not allowed[feature]:
                continue
            if categorical[f]:
                gain = search_categorical(
                    feature, starts[f], sizes[f], histogram, total, rules, left, gains, gain, best,
                )  # fmt: skip
            else:
                gain = search_numeric(
                    feature, starts[f], sizes[f], nan_bins[f], histogram, total, directions[feature], bounded,
                    low, high, rules, left, gains, gain, best,
                )  # fmt: skip
    work.offer_gains[thread, child] = gain - parent if best[FEATURE] >= 0 else 0.0
    work.cycles[thread, SEARCH] += cycles() - started


@inner(borrows=True)
def _take_best_offer(thread: int, n_threads: int, leaf: int, child: int, work: Work) -> None:
    """Note the best of all threads' offers for `leaf`; equal gains go to the lower feature."""
    chosen, top, feature = 0, 0.0, np.int64(-1)
    for t in range(n_threads):
        gain, candidate = work.offer_gains[t, child], work.offers[t, child, FEATURE]
        if gain > top or (gain == top and gain > 0.0 and candidate < feature):
            chosen, top, feature = t, gain, candidate
    work.leaf_reals[thread, leaf, GAIN] = top
    for column in range(SPLIT_WIDTH):  # a slice would compile for a second, here and below
        work.leaves[thread, leaf, column] = work.offers[chosen, child, column]


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


@inner(borrows=True, shared=True)
def _note_node(leaf: int, node: int, mine: Array, reals: Array, work: Work) -> None:
    """Thread 0 writes the split into the tree. Children are LightGBM's: a node, or ~leaf."""
    nodes = work.nodes
    for column in range(SPLIT_WIDTH):
        nodes[node, column] = mine[leaf, column]
    nodes[node, LEFT_CHILD], nodes[node, RIGHT_CHILD] = ~leaf, ~(node + 1)
    nodes[node, ROWS], nodes[node, NODE_TOTAL] = mine[leaf, COUNT], mine[leaf, TOTAL]
    work.node_gains[node] = reals[leaf, GAIN]
    parent = mine[leaf, PARENT]
    if parent >= 0:
        nodes[parent >> 1, LEFT_CHILD + (parent & 1)] = node


@inner(borrows=True)
def _divide(
    leaf: int, node: int, heavy_left: int, light_left: int, direction: int, mine: Array, reals: Array,
    rules: SplitRules, bounded: bool
) -> None:  # fmt: skip
    """Leaf `leaf` becomes the left child, leaf ``node + 1`` the right; the larger keeps the histogram."""
    begin, heavy, light, count = mine[leaf, BEGIN], mine[leaf, HEAVY], mine[leaf, LIGHT], mine[leaf, COUNT]
    total, depth = mine[leaf, TOTAL], mine[leaf, DEPTH] + 1
    slot, low, high = mine[leaf, SLOT], reals[leaf, LOW], reals[leaf, HIGH]
    left_total, right_total = mine[leaf, LEFT_TOTAL], total - mine[leaf, LEFT_TOTAL]
    middle = 0.0
    if bounded and direction != 0:
        middle = leaf_output(gradient_of(left_total), hessian_of(left_total), rules, low, high) / 2
        middle += leaf_output(gradient_of(right_total), hessian_of(right_total), rules, low, high) / 2
    right, n_left = node + 1, heavy_left + light_left
    left_slot, right_slot = (right, slot) if 2 * heavy_left <= heavy else (slot, right)
    # A rising feature: the left child stays below the middle, the right one above.
    falls, rises = bounded and direction < 0, bounded and direction > 0
    _open_leaf(
        mine, reals, leaf, begin, heavy_left, light, n_left, left_total, depth, left_slot, 2 * node + 1,
        2 * node, middle if falls else low, middle if rises else high,
    )  # fmt: skip
    _open_leaf(
        mine, reals, right, begin + heavy_left, heavy - heavy_left, light + light_left, count - n_left,
        right_total, depth, right_slot, 2 * node + 2, 2 * node + 1, middle if rises else low,
        middle if falls else high,
    )  # fmt: skip


@inner(borrows=True, shared=True)
def _build(
    thread: int, n_threads: int, leaf: int, layout: Layout, work: Work
) -> None:  # fmt: skip
    """Histogram of a leaf; on return each thread has the slots of its own blocks.

    Many rows are shared out by rows, each thread adding whole lists to a histogram of its own: this reads
    every list once, and in one go. Few rows are not worth adding up those histograms: each thread adds its
    own blocks.
    """
    mine = work.leaves[thread]
    begin, heavy, target = mine[leaf, BEGIN], mine[leaf, HEAVY], work.histograms[mine[leaf, SLOT]]
    n_planes, n_blocks = layout.row_ptr.shape[0], len(layout.block_slot) - 1
    by_rows = n_threads > 1 and heavy >= _ROWS_TO_SHARE * n_threads
    first, last = (0, n_blocks // n_planes) if by_rows else (thread, thread + 1)
    share, shares = (thread, n_threads) if by_rows else (0, 1)
    own = work.partial[thread - 1] if by_rows and thread > 0 else target
    if by_rows:
        own[:] = 0
    else:
        for block in range(thread, n_blocks, n_threads):
            own[layout.block_slot[block] : layout.block_slot[block + 1]] = 0
    rows = work.carried[begin + heavy * share // shares : begin + heavy * (share + 1) // shares]
    for plane in range(n_planes):
        accumulate(layout, plane, first, last, rows, own)
    if by_rows:
        meet(work.arrivals, thread, n_threads)
    for block in range(thread, n_blocks, n_threads):
        if by_rows:
            for t in range(n_threads - 1):
                for s in range(layout.block_slot[block], layout.block_slot[block + 1]):
                    target[s] += work.partial[t, s]
        complete(layout, block, mine[leaf, TOTAL], target)


@inner(borrows=True)
def _subtract(thread: int, n_threads: int, layout: Layout, child: Array, parent: Array) -> None:
    """Turn the parent's histogram into the other child's, in place."""
    for block in range(thread, len(layout.block_slot) - 1, n_threads):
        for s in range(np.uint64(layout.block_slot[block]), np.uint64(layout.block_slot[block + 1])):
            parent[s] -= child[s]


@inner(borrows=True, shared=True)
def _search_children(
    thread: int, n_threads: int, leaf: int, right: int, layout: Layout, data: Data, limits: Limits,
    rules: SplitRules, work: Work,
) -> None:  # fmt: skip
    """Histograms of both children and the best split of each that may still be split."""
    mine = work.leaves[thread]
    left_wanted, right_wanted = (
        _splittable(mine, leaf, limits, rules),
        _splittable(mine, right, limits, rules),
    )
    if not (left_wanted or right_wanted):
        return
    small, large = (leaf, right) if mine[leaf, SLOT] == right else (right, leaf)
    started = cycles()
    _build(thread, n_threads, small, layout, work)
    built = cycles()
    _subtract(
        thread, n_threads, layout, work.histograms[mine[small, SLOT]], work.histograms[mine[large, SLOT]]
    )
    work.cycles[thread, BUILD] += built - started
    work.cycles[thread, SUBTRACT] += cycles() - built
    if left_wanted:
        _offer(thread, n_threads, leaf, 0, layout, data, rules, limits.bounded, work)
    if right_wanted:
        _offer(thread, n_threads, right, 1, layout, data, rules, limits.bounded, work)
    meet(work.arrivals, thread, n_threads)
    if left_wanted:
        _take_best_offer(thread, n_threads, leaf, 0, work)
    if right_wanted:
        _take_best_offer(thread, n_threads, right, 1, work)


@inner(borrows=True, shared=True)
def _search_root(
    thread: int, n_threads: int, layout: Layout, data: Data, limits: Limits, rules: SplitRules, work: Work
) -> None:  # fmt: skip
    """Histogram of all rows and its best split."""
    started = cycles()
    _build(thread, n_threads, 0, layout, work)
    work.cycles[thread, BUILD] += cycles() - started
    _offer(thread, n_threads, 0, 0, layout, data, rules, limits.bounded, work)
    meet(work.arrivals, thread, n_threads)
    _take_best_offer(thread, n_threads, 0, 0, work)


@inner(borrows=True, shared=True)
def _finish(
    thread: int, n_threads: int, n_leaves: int, limits: Limits, data: Data, fixed_g: float, fixed_h: float,
    work: Work
) -> None:  # fmt: skip
    """Leaf values from the unrounded gradients, and the scores of the rows that grew the tree."""
    mine, sums, n = work.leaves[thread], work.leaf_sums[thread], len(data.rows)
    start, stop = n * thread // n_threads, n * (thread + 1) // n_threads
    for leaf in range(n_leaves):
        heavy, light = mine[leaf, HEAVY], mine[leaf, COUNT] - mine[leaf, HEAVY]
        for first, length in ((mine[leaf, BEGIN], heavy), (mine[leaf, LIGHT], light)):
            for i in range(max(start, first), min(stop, first + length)):
                work.leaf_of_row[work.carried[i] & np.int64(0xFFFFFFFF)] = leaf
    sums[:] = 0
    meet(work.arrivals, thread, n_threads)
    for i in range(start, stop):
        leaf = work.leaf_of_row[data.rows[i]]
        sums[leaf, 0] += np.int64(data.gradient[i] * fixed_g)
        sums[leaf, 1] += np.int64(data.hessian[i] * fixed_h)
    meet(work.arrivals, thread, n_threads)
    rules = _rules(limits, 1.0, 1.0, False)
    values = work.leaf_values[thread]
    for leaf in range(n_leaves):
        g, h = np.int64(0), np.int64(0)
        for t in range(n_threads):
            g, h = g + work.leaf_sums[t, leaf, 0], h + work.leaf_sums[t, leaf, 1]
        low, high = work.leaf_reals[thread, leaf, LOW], work.leaf_reals[thread, leaf, HIGH]
        values[leaf, 0] = limits.learning_rate * leaf_output(g / fixed_g, h / fixed_h, rules, low, high)
        values[leaf, 1] = h / fixed_h
    for i in range(start, stop):
        row = data.rows[i]
        work.scores[row] += values[work.leaf_of_row[row], 0]


@kernel(borrows=True, shared=True)
def grow(thread: int, n_threads: int, layout: Layout, data: Data, limits: Limits, work: Work) -> None:
    """Grow one tree into ``work``; ``work.result`` is its leaves (-1 if gradients are bad) and scales."""
    started = cycles()
    n = len(data.rows)
    mine, reals = work.leaves[thread], work.leaf_reals[thread]
    scales = find_scales(
        thread, n_threads, data.gradient, data.hessian, limits.least_squares, limits.mvs_noise, work.peaks,
        work.sums, work.arrivals,
    )  # fmt: skip
    if scales.hessian < 0:
        work.result[0] = -1
        return
    heavy, total = quantise_rows(thread, n_threads, data, limits, scales, work)
    rules = _rules(limits, scales.gradient, scales.hessian, limits.least_squares)
    work.cycles[thread, QUANTISE] += cycles() - started
    _open_leaf(mine, reals, 0, 0, heavy, heavy, n, total, 0, 0, 0, -1, -np.inf, np.inf)
    if limits.num_leaves > 1 and _splittable(mine, 0, limits, rules):
        _search_root(thread, n_threads, layout, data, limits, rules, work)
    n_leaves = 1
    while n_leaves < limits.num_leaves:
        leaf = 0
        for other in range(1, n_leaves):
            leaf = other if reals[other, GAIN] > reals[leaf, GAIN] else leaf
        if reals[leaf, GAIN] <= 0.0:
            break
        feature, node = mine[leaf, FEATURE], n_leaves - 1
        heavy, light = move_rows(thread, n_threads, data.columns[feature], leaf, work)
        if thread == 0:
            _note_node(leaf, node, mine, reals, work)
        _divide(leaf, node, heavy, light, data.direction[feature], mine, reals, rules, limits.bounded)
        n_leaves += 1
        if n_leaves < limits.num_leaves:
            _search_children(thread, n_threads, leaf, n_leaves - 1, layout, data, limits, rules, work)
    started = cycles()
    _finish(thread, n_threads, n_leaves, limits, data, scales.fixed_gradient, scales.fixed_hessian, work)
    work.cycles[thread, FINISH] += cycles() - started
    if thread == 0:
        work.result[0], work.result[1], work.result[2] = n_leaves, scales.gradient, scales.hessian
