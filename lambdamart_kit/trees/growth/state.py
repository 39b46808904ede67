"""What the threads that grow a tree share: tables, buffers and settings, and the names of their columns.

Buffers come in small tuples, by the work they are for. A compiled function that passes a tuple on passes
every field of every array in it, one by one, so each field that is not needed costs time to compile.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.growth.splitting import SPLIT_WIDTH
from lambdamart_kit.trees.parameters import TreeParameters

# Columns of the table of leaves. The record of the leaf's best split comes first, then these. The rows of a
# leaf are two runs of `carried`: HEAVY rows that are in the histograms start at BEGIN, and the light rows,
# which are not (see `quantising`), start at LIGHT. COUNT is the number of both.
BEGIN, HEAVY, LIGHT, COUNT, TOTAL, DEPTH, SLOT, NODE, PARENT = range(SPLIT_WIDTH, SPLIT_WIDTH + 9)
LEAF_WIDTH = SPLIT_WIDTH + 9
# Columns of the table of the leaves' real numbers: gain of the best split, least and largest output that
# monotone ancestors allow, and the gain of this thread's offer.
GAIN, LOW, HIGH, OFFERED = range(4)
REALS_WIDTH = 4
# Columns of the table of nodes. The record of the split comes first, then these.
LEFT_CHILD, RIGHT_CHILD, ROWS, NODE_TOTAL = range(SPLIT_WIDTH, SPLIT_WIDTH + 4)
NODE_WIDTH = SPLIT_WIDTH + 4
# Columns of `parts`, for each of a leaf's two runs: where the run begins, this thread's share of it, and how
# many rows of the share went to the first part.
RUN_BEGIN, SHARE_BEGIN, SHARE_END, N_FIRST = range(4)
ROWS_AT_ONCE = 1024  # rows that are rounded in one go: their buffers fit in the first cache level
FEWEST_TO_SAMPLE = 20_000  # rows of a tree below which all take part in the search for splits
# Stages whose cycles are counted, for each thread. Waiting for the others is part of a stage.
QUANTISE, BUILD, SUBTRACT, SEARCH, MOVE, FINISH = range(6)
STAGES = ("quantise", "histogram", "subtract", "search", "partition", "leaf values and scores")


class Crew(NamedTuple):
    """A thread, the threads it grows the tree with, and where they meet.

    Attributes
    ----------
    thread, n_threads : int
        Number of this thread, from 0, and of all.
    arrivals : ndarray, int64
        What `meet` counts in.
    clock : ndarray (8,), int64
        Cycles of this thread, by stage.
    """

    thread: int
    n_threads: int
    arrivals: Array
    clock: Array


class Sample(NamedTuple):
    """The rows a tree is grown on, and the gradient, hessian and hash of bins of each."""

    rows: Array
    gradient: Array
    hessian: Array
    content: Array


class Rounding(NamedTuple):
    """How to round gradients, in the words of `quantising`.

    Attributes
    ----------
    seed : int
        Of the tree.
    noise : float
        The share e of the gradients' variance that sampling may add.
    constant : bool
        Whether every hessian counts as 1 (least-squares splits).
    """

    seed: int
    noise: float
    constant: bool

    @classmethod
    def of(cls, p: TreeParameters, seed: int, n_rows: int) -> Rounding:
        """For a tree on `n_rows`."""
        # With fewer rows a leaf has few of them, so sampling adds
        # much noise to its sums and saves little time.
        noise = float(p.mvs_noise) if n_rows >= FEWEST_TO_SAMPLE else 0.0
        return cls(seed, noise, p.split_criterion == "least_squares")


class Scales(NamedTuple):
    """Units of a tree: quantised values are real ones times these, fixed-point ones times `fixed_*`.

    `per_gradient` and `per_hessian` are ``1 / t_g`` and ``1 / t_h``. Both are 0 where every row takes part.
    """

    gradient: float
    hessian: float
    fixed_gradient: float
    fixed_hessian: float
    per_gradient: float
    per_hessian: float


class RowOrder(NamedTuple):
    """Rows as 64-bit words in the order of the tree, and what moving them takes.

    Attributes
    ----------
    carried, moved : ndarray (n,), int64
        The words, and a buffer of the same size.
    parts : ndarray (n_threads, 2, 8), int64
        What each thread did with its share of each run.
    goes_left : ndarray (n_threads, 256), uint8
        Whether a bin goes left.
    """

    carried: Array
    moved: Array
    parts: Array
    goes_left: Array

    @classmethod
    def allocate(cls, n: int, n_threads: int) -> RowOrder:
        """Space for `n` rows."""
        return cls(
            carried=np.empty(n, np.int64),
            moved=np.empty(n, np.int64),
            # Four numbers are used of eight: 64 bytes, a cache line for each thread and run.
            parts=np.zeros((n_threads, 2, 8), np.int64),
            goes_left=np.empty((n_threads, 256), np.uint8),
        )


class Drawing(NamedTuple):
    """Buffers to round rows in.

    Attributes
    ----------
    words, shares : ndarray (n_threads, ROWS_AT_ONCE), int64 and float64
        Rows of one go as words, and what decides whether each takes part.
    peaks, sums : ndarray (n_threads, 8), float64 and int64
        What the threads tell each other: a row each, so that no two write to one cache line.
    """

    words: Array
    shares: Array
    peaks: Array
    sums: Array

    @classmethod
    def allocate(cls, n_threads: int) -> Drawing:
        """Buffers for that many threads."""
        return cls(
            words=np.empty((n_threads, ROWS_AT_ONCE), np.int64),
            shares=np.empty((n_threads, ROWS_AT_ONCE)),
            peaks=np.zeros((n_threads, 8)),
            sums=np.zeros((n_threads, 8), np.int64),
        )


class LeafTables(NamedTuple):
    """The tree as it grows.

    Attributes
    ----------
    leaves, reals : ndarray (n_threads, num_leaves, columns), int64 and float64
        Each thread's copy of the table of leaves. All copies are the same.
    nodes : ndarray (num_leaves - 1, NODE_WIDTH), int64
        The splits so far.
    node_gains : ndarray (num_leaves - 1,), float64
        Their gains.
    """

    leaves: Array
    reals: Array
    nodes: Array
    node_gains: Array


class LeafRows(NamedTuple):
    """Where the rows of a leaf stand in `carried`; see BEGIN, HEAVY, LIGHT and COUNT."""

    begin: int
    heavy: int
    light: int
    n_rows: int


class LeafPlace(NamedTuple):
    """Where a leaf stands in the tree.

    Attributes
    ----------
    depth : int
        Splits above it.
    slot : int
        Number of the histogram it owns.
    node : int
        Its number among all nodes ever opened: which row of the allowed features it uses.
    parent : int
        Twice the number of its parent split, plus 1 for a right child; -1 at the root.
    """

    depth: int
    slot: int
    node: int
    parent: int


class SearchSpace(NamedTuple):
    """Histograms and buffers of the search for splits.

    Attributes
    ----------
    histograms : ndarray (num_leaves + n_threads - 1, n_slots), int64
        One for each leaf; then, for every thread but the first, one for its share of a leaf's rows.
    offers : ndarray (2 * n_threads, SPLIT_WIDTH), int64
        Each thread's best split of the left and of the right child.
    left, gains : ndarray (n_threads, 256), int64 and float64
        Prefix sums and gains of one feature.
    """

    histograms: Array
    offers: Array
    left: Array
    gains: Array


class OfferSpace(NamedTuple):
    """One thread's part of the `SearchSpace`, for one child: its histogram, buffers and record to fill."""

    histogram: Array
    left: Array
    gains: Array
    best: Array


class LeafSums(NamedTuple):
    """What leaf values are made of, and the values: (n_threads, num_leaves, 2), and the leaf of every row."""

    sums: Array
    values: Array
    leaf_of_row: Array


class Work(NamedTuple):
    """All tables and buffers of a grower; threads meet at `arrivals` and count cycles in `counters`."""

    order: RowOrder
    drawing: Drawing
    tables: LeafTables
    space: SearchSpace
    sums: LeafSums
    arrivals: Array
    counters: Array

    @classmethod
    def allocate(cls, n: int, n_slots: int, num_leaves: int, n_threads: int) -> Work:
        """Space to grow trees on `n` rows and histograms of `n_slots`."""
        n_splits = max(num_leaves - 1, 1)
        tables = LeafTables(
            leaves=np.zeros((n_threads, num_leaves, LEAF_WIDTH), np.int64),
            reals=np.zeros((n_threads, num_leaves, REALS_WIDTH)),
            nodes=np.zeros((n_splits, NODE_WIDTH), np.int64),
            node_gains=np.zeros(n_splits),
        )
        # Pages of an empty array that are never touched cost no memory.
        space = SearchSpace(
            histograms=np.empty((num_leaves + n_threads - 1, n_slots), np.int64),
            offers=np.zeros((2 * n_threads, SPLIT_WIDTH), np.int64),
            left=np.empty((n_threads, 256), np.int64),
            gains=np.empty((n_threads, 256)),
        )
        sums = LeafSums(
            sums=np.zeros((n_threads, num_leaves, 2), np.int64),
            values=np.zeros((n_threads, num_leaves, 2)),
            # 16 bits, because a tree has at most 65,535 leaves.
            leaf_of_row=np.zeros(n, np.uint16),
        )
        return cls(
            order=RowOrder.allocate(n, n_threads),
            drawing=Drawing.allocate(n_threads),
            tables=tables,
            space=space,
            sums=sums,
            arrivals=np.zeros(8 * (n_threads + 1), np.int64),
            counters=np.zeros((n_threads, 8), np.int64),
        )
