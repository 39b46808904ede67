"""Leaf-wise best-first growth of one tree, on all threads at once.

Every thread runs :func:`grow` from start to end and keeps its own copy of the table of leaves, which is the
same on all of them. The threads meet three times a split:

1. Each moves its half of the leaf's rows to the two children.
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
from lambdamart_kit.trees.growth.histogram import SlotLayout, accumulate, complete
from lambdamart_kit.trees.growth.leaf_table import divide, highest_gain, note_node, open_leaf, splittable
from lambdamart_kit.trees.growth.leaves import finish
from lambdamart_kit.trees.growth.offers import offer, take_best_offer
from lambdamart_kit.trees.growth.partition import move_rows
from lambdamart_kit.trees.growth.quantising import plain_scales, quantise
from lambdamart_kit.trees.growth.rules import (
    CategoryRules,
    SplitRules,
    TreeLimits,
    scaled_categories,
    split_rules,
)
from lambdamart_kit.trees.growth.splitting import FEATURE
from lambdamart_kit.trees.growth.state import (
    BEGIN,
    BUILD,
    FINISH,
    GAIN,
    HEAVY,
    QUANTISE,
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
    left_wanted = splittable(mine, leaf, limits, rules)
    right_wanted = right != leaf and splittable(mine, right, limits, rules)
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
            offer(crew, at, layout, allowed, monotone, rules, categories, mine, reals, own)
    # A thread's offers are complete; what the others offer is known after all have met.
    searched = cycles()
    meet(crew.arrivals, thread, crew.n_threads)
    for child in range(2):
        if right_wanted if child else left_wanted:
            take_best_offer(crew, right if child else leaf, child, tables, space.offers)
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
    layout: SlotLayout,
    columns: Array,
    allowed: Array,
    work: Work,
    scores: Array,
) -> tuple[int, tuple[float, float, float, float, float, float]]:
    """Grow one tree into `work` and add it to the `scores`.

    `allowed` has one row for all nodes, or one for each: the columns to split on. Where there are no
    categorical features, or no `monotone` constraints, None says so, and no code is compiled for them.

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
    open_leaf(mine, reals, 0, root, LeafPlace(0, 0, 0, -1), total, -np.inf, np.inf)
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
        leaf = highest_gain(reals, n_leaves)
        if reals[leaf, GAIN] <= 0.0:
            break
        # Split number `node` makes leaf number `right`. Only thread 0 writes the tree. Every thread writes
        # its own copy of the table of leaves, with the same numbers.
        node = n_leaves - 1
        right = n_leaves
        column = columns[mine[leaf, FEATURE]]
        heavy, light = move_rows(crew, column, leaf, mine, work.order)
        if thread == 0:
            note_node(leaf, node, mine, reals, tables.nodes, tables.node_gains)
        divide(leaf, node, heavy, light, monotone, mine, reals, rules)
        n_leaves += 1
    started = cycles()
    # Leaf values are made of unrounded sums, hence the rules in real units.
    real_rules = split_rules(limits, 1.0, 1.0, False)
    rate = limits.learning_rate
    carried = work.order.carried
    finish(crew, n_leaves, sample, scales, real_rules, rate, carried, tables, work.sums, scores)
    clock[FINISH] += cycles() - started
    return n_leaves, plain_scales(scales)
