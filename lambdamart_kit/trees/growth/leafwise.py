"""Leaf-wise best-first growth of one tree, on all threads at once.

Every thread runs :func:`grow` from start to end and keeps its own copy of the table of leaves, which is the
same on all of them. The threads meet three times a split:

1. Each moves its share of the leaf's rows to the two children.
2. Each builds the smaller child's histogram over its own features, gets the larger child's by subtraction,
   and offers its best split of each child.
3. All take the best offer.

Every sum is an integer, so neither the number of threads nor the order of rows changes the tree.

Fewest rows of a child: a row counts as its hessian over the mean hessian of the leaf, as in LightGBM, so
histograms need not carry counts. It is the better rule, too, because what a leaf knows is its hessian: a few
documents that the metric depends on make a leaf, and many that nothing depends on do not.

The package's docstring explains the words used here.
"""

from __future__ import annotations

import numpy as np

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.growth.barrier import cycles, meet
from lambdamart_kit.trees.growth.categorical import search_categorical
from lambdamart_kit.trees.growth.histogram import (
    CATEGORICAL,
    COLUMN,
    N_BINS,
    NAN_BIN,
    START,
    SlotLayout,
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
    FeatureBins,
    Interactions,
    SplitRules,
    TreeLimits,
    gradient_of,
    hessian_of,
    leaf_gain,
    leaf_output,
    rules_of_leaf,
    scaled_categories,
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
    Crew,
    LeafPlace,
    LeafRows,
    LeafTables,
    OfferSpace,
    Rounding,
    Sample,
    SearchSpace,
    Work,
)

_ROWS_TO_SHARE = 1500  # rows a thread from which a leaf is shared out by rows


@inner(borrows=True)
def _offer(
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
def _take_best_offer(crew: Crew, leaf: int, child: int, tables: LeafTables, offers: Array) -> None:
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


@inner(borrows=True)
def _open_leaf(
    mine: Array,
    reals: Array,
    leaf: int,
    rows: LeafRows,
    place: LeafPlace,
    total: int,
    low: float,
    high: float,
) -> None:
    """Fill in the row of a new leaf, whose best split is not known yet."""
    mine[leaf, BEGIN] = rows.begin
    mine[leaf, HEAVY] = rows.heavy
    mine[leaf, LIGHT] = rows.light
    mine[leaf, COUNT] = rows.n_rows
    mine[leaf, TOTAL] = total
    mine[leaf, DEPTH] = place.depth
    mine[leaf, SLOT] = place.slot
    mine[leaf, NODE] = place.node
    mine[leaf, PARENT] = place.parent
    reals[leaf, GAIN] = 0.0
    reals[leaf, LOW] = low
    reals[leaf, HIGH] = high


@inner(borrows=True)
def _splittable(mine: Array, leaf: int, limits: TreeLimits, rules: SplitRules) -> bool:
    """Whether two children could each have enough rows and hessian, and depth is left."""
    # With less than twice the least of a child, no split makes two children.
    return (
        mine[leaf, COUNT] >= 2 * limits.min_child_samples
        and hessian_of(mine[leaf, TOTAL]) >= 2 * rules.min_hessian
        and (limits.max_depth <= 0 or mine[leaf, DEPTH] < limits.max_depth)
    )


@inner(borrows=True)
def _note_node(leaf: int, node: int, mine: Array, reals: Array, nodes: Array, node_gains: Array) -> None:
    """Write the split into the tree. Children are LightGBM's: a node, or ~leaf."""
    # The left child keeps the leaf's number, and the right child takes the next: leaf node + 1.
    for column in range(SPLIT_WIDTH):
        nodes[node, column] = mine[leaf, column]
    nodes[node, LEFT_CHILD] = ~leaf
    nodes[node, RIGHT_CHILD] = ~(node + 1)
    nodes[node, ROWS] = mine[leaf, COUNT]
    nodes[node, NODE_TOTAL] = mine[leaf, TOTAL]
    node_gains[node] = reals[leaf, GAIN]
    # The parent pointed to this leaf; now it points to the node. Its last bit says which child this was.
    parent = mine[leaf, PARENT]
    if parent >= 0:
        nodes[parent >> 1, LEFT_CHILD + (parent & 1)] = node


@inner(borrows=True)
def _divide(
    leaf: int,
    node: int,
    heavy_left: int,
    light_left: int,
    monotone: Array | None,
    mine: Array,
    reals: Array,
    rules: SplitRules,
) -> None:
    """Leaf `leaf` becomes the left child, leaf ``node + 1`` the right; the larger keeps the histogram."""
    begin = mine[leaf, BEGIN]
    heavy = mine[leaf, HEAVY]
    light = mine[leaf, LIGHT]
    count = mine[leaf, COUNT]
    depth = mine[leaf, DEPTH] + 1
    slot = mine[leaf, SLOT]
    left_total = mine[leaf, LEFT_TOTAL]
    right_total = mine[leaf, TOTAL] - left_total
    low = reals[leaf, LOW]
    high = reals[leaf, HIGH]
    # Without a constraint on the feature both children inherit the bounds of their parent.
    left_low = low
    left_high = high
    right_low = low
    right_high = high
    if monotone is not None:
        # Outputs of the two children are kept apart by the middle between them, on every level below.
        middle = leaf_output(gradient_of(left_total), hessian_of(left_total), rules, low, high) / 2
        middle += leaf_output(gradient_of(right_total), hessian_of(right_total), rules, low, high) / 2
        direction = monotone[mine[leaf, FEATURE]]
        if direction > 0:  # a rising feature: the left child stays below the middle, the right one above
            left_high = middle
            right_low = middle
        elif direction < 0:
            left_low = middle
            right_high = middle
    right = node + 1
    n_left = heavy_left + light_left
    # The larger child's histogram is made in the parent's place, by subtracting the smaller child's.
    left_slot = right if 2 * heavy_left <= heavy else slot
    right_slot = slot if 2 * heavy_left <= heavy else right
    # Both runs were parted in place: left rows come first in each.
    rows = LeafRows(begin, heavy_left, light, n_left)
    # Split number `node` opens the nodes 2 node + 1 and 2 node + 2, the root being 0. The last argument
    # says where the parent points to the child: 2 node for its left side, and 2 node + 1 for its right one.
    place = LeafPlace(depth, left_slot, 2 * node + 1, 2 * node)
    _open_leaf(mine, reals, leaf, rows, place, left_total, left_low, left_high)
    rows = LeafRows(begin + heavy_left, heavy - heavy_left, light + light_left, count - n_left)
    place = LeafPlace(depth, right_slot, 2 * node + 2, 2 * node + 1)
    _open_leaf(mine, reals, right, rows, place, right_total, right_low, right_high)


@inner(borrows=True)
def _narrow(interactions: Interactions | None, leaf: int, node: int, mine: Array, allowed: Array) -> None:
    """Leave to both children of split number `node` the features that may follow it and those above it."""
    if interactions is None:
        return
    groups = interactions.groups
    alive = interactions.alive
    parent = mine[leaf, NODE]
    feature = mine[leaf, FEATURE]
    # Threads write these rows at the same time, but all of them write the same: a feature stays if it was
    # drawn for the node and is in a group that has all features of the path.
    for child in range(2 * node + 1, 2 * node + 3):
        # Groups without the feature of the split are over for all nodes below.
        for group in range(len(groups)):
            alive[child, group] = alive[parent, group] and groups[group, feature]
        for column in range(groups.shape[1]):
            permitted = False
            for group in range(len(groups)):
                permitted |= alive[child, group] and groups[group, column]
            allowed[child, column] &= permitted


@inner(borrows=True, shared=True)
def _build(
    crew: Crew,
    begin: int,
    heavy: int,
    total: int,
    layout: SlotLayout,
    carried: Array,
    histograms: Array,
    target: Array,
) -> None:
    """Fill `target`, the histogram of a leaf; on return each thread has the slots of its own blocks.

    Many rows are shared out by rows, each thread adding whole lists to a histogram of its own: this reads
    every list once, and in one go. Few rows are not worth adding up those histograms: each thread adds its
    own blocks.
    """
    thread = crew.thread
    n_threads = crew.n_threads
    n_planes = layout.row_ptr.shape[0]
    n_blocks = len(layout.block_slot) - 1
    by_rows = n_threads > 1 and heavy >= _ROWS_TO_SHARE * n_threads
    # Shared out by rows, a thread adds all blocks of a plane for its share of the rows. Shared out by blocks,
    # it adds its own block for all rows.
    first = 0 if by_rows else thread
    last = n_blocks // n_planes if by_rows else thread + 1
    share = thread if by_rows else 0
    shares = n_threads if by_rows else 1
    # The histograms behind those of the leaves are the other threads' own: thread t's is the t-th from the
    # end. Thread 0 adds to the target itself.
    own = histograms[len(histograms) - thread] if by_rows and thread > 0 else target
    # By rows a thread writes to all slots of its own histogram; by blocks, only to its blocks of `target`.
    if by_rows:
        own[:] = 0
    else:
        for block in range(thread, n_blocks, n_threads):
            own[layout.block_slot[block] : layout.block_slot[block + 1]] = 0
    rows = carried[begin + heavy * share // shares : begin + heavy * (share + 1) // shares]
    for plane in range(n_planes):
        accumulate(layout, plane, first, last, rows, own)
    if by_rows:
        meet(crew.arrivals, thread, n_threads)
    # What the other threads added up of this thread's own blocks comes on top; then every block lacks only
    # the bins that are not in the lists.
    for block in range(thread, n_blocks, n_threads):
        if by_rows:
            for t in range(1, n_threads):
                partial = histograms[len(histograms) - t]
                for s in range(layout.block_slot[block], layout.block_slot[block + 1]):
                    target[s] += partial[s]
        complete(layout, block, total, target)


@inner(borrows=True)
def _subtract(crew: Crew, block_slot: Array, child: Array, parent: Array) -> None:
    """Turn the parent's histogram into the other child's, in place."""
    # Each thread subtracts the slots of its own blocks, which are in its own cache. Unsigned indices, because
    # Numba tests signed ones for being negative.
    for block in range(crew.thread, len(block_slot) - 1, crew.n_threads):
        for s in range(np.uint64(block_slot[block]), np.uint64(block_slot[block + 1])):
            parent[s] -= child[s]


@inner(borrows=True, shared=True)
def _search(
    crew: Crew,
    leaf: int,
    right: int,
    limits: TreeLimits,
    rules: SplitRules,
    categories: CategoryRules | None,
    monotone: Array | None,
    layout: SlotLayout,
    allowed: Array,
    carried: Array,
    tables: LeafTables,
    space: SearchSpace,
) -> None:
    """Histograms of two children and the best split of each that may still be split.

    At the root, `right` is `leaf`: there is one histogram, and nothing to subtract it from.
    """
    thread = crew.thread
    mine = tables.leaves[thread]
    reals = tables.reals[thread]
    histograms = space.histograms
    # All threads return here or none does, because their tables are the same. Otherwise those that go on
    # would wait at the barrier for ever.
    left_wanted = _splittable(mine, leaf, limits, rules)
    right_wanted = right != leaf and _splittable(mine, right, limits, rules)
    if not (left_wanted or right_wanted):
        return
    # The smaller child is the one that got the new histogram.
    small = leaf if mine[leaf, SLOT] == right else right
    large = right if mine[leaf, SLOT] == right else leaf
    started = cycles()
    target = histograms[mine[small, SLOT]]
    _build(
        crew, mine[small, BEGIN], mine[small, HEAVY], mine[small, TOTAL], layout, carried, histograms, target
    )
    built = cycles()
    if right != leaf:
        _subtract(crew, layout.block_slot, target, histograms[mine[large, SLOT]])
    subtracted = cycles()
    for child in range(2):
        if right_wanted if child else left_wanted:
            at = right if child else leaf
            own = OfferSpace(
                histograms[mine[at, SLOT]],
                space.left[thread],
                space.gains[thread],
                space.offers[2 * thread + child],
            )
            _offer(crew, at, layout, allowed, monotone, rules, categories, mine, reals, own)
    # A thread's offers are complete; what the others offer is known after all have met.
    searched = cycles()
    meet(crew.arrivals, thread, crew.n_threads)
    for child in range(2):
        if right_wanted if child else left_wanted:
            _take_best_offer(crew, right if child else leaf, child, tables, space.offers)
    crew.clock[BUILD] += built - started
    crew.clock[SUBTRACT] += subtracted - built
    crew.clock[SEARCH] += searched - subtracted


@kernel(borrows=True, shared=True)
def grow(
    thread: int,
    n_threads: int,
    sample: Sample,
    rounding: Rounding,
    limits: TreeLimits,
    categories: CategoryRules | None,
    monotone: Array | None,
    interactions: Interactions | None,
    layout: SlotLayout,
    columns: Array,
    allowed: Array,
    work: Work,
    scores: Array,
) -> tuple[int, tuple[float, float, float, float, float, float]]:
    """Grow one tree into `work` and add it to the `scores`.

    `allowed` has one row for all nodes, or one for each: the columns to split on. Where there are no
    categorical features, or no `monotone` constraints or `interactions`, None says so, and no code is
    compiled for them. With `interactions`, `allowed` has a row for each node, which the kernel narrows.

    Returns the number of leaves, 0 if gradients are bad, and the scales.
    """
    crew = Crew(thread, n_threads, work.arrivals, work.counters[thread])
    clock = crew.clock
    tables = work.tables
    mine = tables.leaves[thread]
    reals = tables.reals[thread]
    free = rounding.constant
    started = cycles()
    scales, heavy, total = quantise(crew, sample, rounding, work.order, work.drawing)
    clock[QUANTISE] += cycles() - started
    # Every thread computes the same scales, so all of them leave before the first barrier that follows.
    if scales.hessian < 0:
        return 0, plain_scales(scales)
    # Splits are searched in integer units, so the regularisation is scaled to those, once a tree.
    rules = split_rules(limits, scales.gradient, scales.hessian, free)
    scaled = scaled_categories(categories, scales.hessian, free)
    root = LeafRows(0, heavy, heavy, len(sample.rows))
    _open_leaf(mine, reals, 0, root, LeafPlace(0, 0, 0, -1), total, -np.inf, np.inf)
    n_leaves = 1
    leaf = 0
    right = 0
    # Best first: find the best splits of the two newest leaves, then split the leaf that gains most of all.
    # The first time round there is one leaf, the root, and `right` is `leaf`.
    while n_leaves < limits.num_leaves:
        carried = work.order.carried
        _search(
            crew, leaf, right, limits, rules, scaled, monotone, layout, allowed, carried, tables, work.space
        )
        leaf = 0
        # A later leaf has to gain more, so of equal gains the leaf with the lower number is split.
        for other in range(1, n_leaves):
            leaf = other if reals[other, GAIN] > reals[leaf, GAIN] else leaf
        if reals[leaf, GAIN] <= 0.0:
            break
        # Split `node` makes leaf `right`. Thread 0 writes the tree, each thread its own table of leaves.
        node = n_leaves - 1
        right = n_leaves
        heavy, light = move_rows(crew, columns[mine[leaf, FEATURE]], leaf, mine, work.order)
        if thread == 0:
            _note_node(leaf, node, mine, reals, tables.nodes, tables.node_gains)
        _narrow(interactions, leaf, node, mine, allowed)
        _divide(leaf, node, heavy, light, monotone, mine, reals, rules)
        n_leaves += 1
    started = cycles()
    # Leaf values are made of unrounded sums, hence the rules in real units.
    real_rules = split_rules(limits, 1.0, 1.0, False)
    rate = limits.learning_rate
    carried = work.order.carried
    finish(crew, n_leaves, sample, scales, real_rules, rate, carried, tables, work.sums, scores)
    clock[FINISH] += cycles() - started
    return n_leaves, plain_scales(scales)
