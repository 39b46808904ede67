"""What the threads that grow a tree share: tables, buffers and settings, and the names of their columns."""

from __future__ import annotations

from typing import NamedTuple

from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.splitting import SPLIT_WIDTH

# Columns of the table of leaves: the record of the best split, then these. A leaf's rows are two runs of
# `carried`: HEAVY rows that are in the histograms from BEGIN, and those that are not (see `quantising`) from
# LIGHT; COUNT is of both.
BEGIN, HEAVY, LIGHT, COUNT, TOTAL, DEPTH, SLOT, NODE, PARENT = range(SPLIT_WIDTH, SPLIT_WIDTH + 9)
LEAF_WIDTH = SPLIT_WIDTH + 9
GAIN, LOW, HIGH = range(3)
# Columns of the table of nodes: the record of the split, then
LEFT_CHILD, RIGHT_CHILD, ROWS, NODE_TOTAL = range(SPLIT_WIDTH, SPLIT_WIDTH + 4)
NODE_WIDTH = SPLIT_WIDTH + 4
# Stages whose cycles are counted, for each thread; waiting for the others is inside them.
QUANTISE, BUILD, SUBTRACT, SEARCH, MOVE, FINISH = range(6)
STAGES = ("quantise", "histogram", "subtract", "search", "partition", "leaf values and scores")


class Data(NamedTuple):
    """What does not change while a tree grows. `content`, `gradient` and `hessian` are those of `rows`.

    `allowed` has one row for all nodes, or one for each.
    """

    columns: Array
    content: Array
    rows: Array
    gradient: Array
    hessian: Array
    allowed: Array
    direction: Array


class Limits(NamedTuple):
    """Shape of the tree, in real units; see :class:`TreeParameters`."""

    num_leaves: int
    max_depth: int
    min_child_samples: int
    min_child_weight: float
    min_split_gain: float
    reg_lambda: float
    reg_alpha: float
    learning_rate: float
    cat_smooth: float
    cat_l2: float
    max_cat: int
    least_squares: bool
    mvs_noise: float
    bounded: bool
    seed: int


class Work(NamedTuple):
    """Buffers and results. First axis: threads, where each has its own."""

    arrivals: Array
    carried: Array
    moved: Array
    histograms: Array
    partial: Array
    leaves: Array
    leaf_reals: Array
    offers: Array
    offer_gains: Array
    lefts: Array
    parts: Array
    goes_left: Array
    scratch: Array
    gains: Array
    words: Array
    shares: Array
    peaks: Array
    sums: Array
    nodes: Array
    node_gains: Array
    leaf_sums: Array
    leaf_values: Array
    leaf_of_row: Array
    scores: Array
    cycles: Array
    result: Array
