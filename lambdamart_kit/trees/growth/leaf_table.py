"""The table of leaves: what is known of each leaf while a tree grows, and how one leaf becomes two."""

from __future__ import annotations

from lambdamart_kit.compile import inner
from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.growth.rules import SplitRules, TreeLimits, gradient_of, hessian_of, leaf_output
from lambdamart_kit.trees.growth.splitting import FEATURE, LEFT_TOTAL, SPLIT_WIDTH
from lambdamart_kit.trees.growth.state import (
    BEGIN,
    COUNT,
    DEPTH,
    GAIN,
    HEAVY,
    HIGH,
    LEFT_CHILD,
    LIGHT,
    LOW,
    NODE,
    NODE_TOTAL,
    PARENT,
    RIGHT_CHILD,
    ROWS,
    SLOT,
    TOTAL,
    LeafPlace,
    LeafRows,
)


@inner(borrows=True)
def open_leaf(
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
def splittable(mine: Array, leaf: int, limits: TreeLimits, rules: SplitRules) -> bool:
    """Whether two children could each have enough rows and hessian, and depth is left."""
    # With less than twice the least of a child, no split makes two children.
    return (
        mine[leaf, COUNT] >= 2 * limits.min_child_samples
        and hessian_of(mine[leaf, TOTAL]) >= 2 * rules.min_hessian
        and (limits.max_depth <= 0 or mine[leaf, DEPTH] < limits.max_depth)
    )


@inner(borrows=True)
def note_node(leaf: int, node: int, mine: Array, reals: Array, nodes: Array, node_gains: Array) -> None:
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
def divide(
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
    open_leaf(mine, reals, leaf, rows, place, left_total, left_low, left_high)
    rows = LeafRows(begin + heavy_left, heavy - heavy_left, light + light_left, count - n_left)
    place = LeafPlace(depth, right_slot, 2 * node + 2, 2 * node + 1)
    open_leaf(mine, reals, right, rows, place, right_total, right_low, right_high)


@inner(borrows=True)
def highest_gain(reals: Array, n_leaves: int) -> int:
    """The leaf whose split gains most."""
    leaf = 0
    # A later leaf has to gain more, so of equal gains the leaf with the lower number is split.
    for other in range(1, n_leaves):
        leaf = other if reals[other, GAIN] > reals[leaf, GAIN] else leaf
    return leaf
