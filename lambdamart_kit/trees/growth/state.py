"""What the threads that grow a tree share: tables, buffers and settings, and the names of their columns.

Buffers come in small tuples, by the work they are for: a compiled function that passes a tuple on passes
every field of every array in it, one by one, so what it does not need costs time to compile.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.growth.splitting import SPLIT_WIDTH
from lambdamart_kit.trees.parameters import TreeParameters

# Columns of the table of leaves: the record of the best split, then these. A leaf's rows are two runs of
# `carried`: HEAVY rows that are in the histograms from BEGIN, and those that are not (see `quantising`) from
# LIGHT; COUNT is of both.
BEGIN, HEAVY, LIGHT, COUNT, TOTAL, DEPTH, SLOT, NODE, PARENT = range(SPLIT_WIDTH, SPLIT_WIDTH + 9)
LEAF_WIDTH = SPLIT_WIDTH + 9
# Columns of the table of the leaves' real numbers; OFFERED is the gain of this thread's offer.
GAIN, LOW, HIGH, OFFERED = range(4)
REALS_WIDTH = 4
# Columns of the table of nodes: the record of the split, then
LEFT_CHILD, RIGHT_CHILD, ROWS, NODE_TOTAL = range(SPLIT_WIDTH, SPLIT_WIDTH + 4)
NODE_WIDTH = SPLIT_WIDTH + 4
# Columns of `parts`, for each of a leaf's two runs: where it begins, this thread's share of it, and how many
# rows of that went to the first part.
RUN_BEGIN, SHARE_BEGIN, SHARE_END, N_FIRST = range(4)
ROWS_AT_ONCE = 1024  # rounded in one go
FEWEST_TO_SAMPLE = 20_000  # rows of a tree below which all take part in the search for splits
# Stages whose cycles are counted, for each thread; waiting for the others is inside them.
QUANTISE, BUILD, SUBTRACT, SEARCH, MOVE, FINISH = range(6)
STAGES = ("quantise", "histogram", "subtract", "search", "partition", "leaf values and scores")


class Sample(NamedTuple):
    """The rows a tree is grown on, and of each its gradient, hessian and hash of bins."""

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
        noise = float(p.mvs_noise) if n_rows >= FEWEST_TO_SAMPLE else 0.0
        return cls(seed, noise, p.split_criterion == "least_squares")


class Scales(NamedTuple):
    """Units of a tree: quantised values are real ones times these, fixed-point ones times `fixed_*`.

    `per_gradient` and `per_hessian` are ``1 / t_g`` and ``1 / t_h``; both 0 where every row takes part.
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
        The words, and a buffer.
    parts : ndarray (n_threads, 2, 8), int64
        What each thread did with its share of each run.
    goes_left : ndarray (n_threads, 256), uint8
        Bins that go left.
    """

    carried: Array
    moved: Array
    parts: Array
    goes_left: Array

    @classmethod
    def allocate(cls, n: int, n_threads: int) -> RowOrder:
        """Space for `n` rows."""
        parts, goes_left = np.zeros((n_threads, 2, 8), np.int64), np.empty((n_threads, 256), np.uint8)
        return cls(np.empty(n, np.int64), np.empty(n, np.int64), parts, goes_left)


class Drawing(NamedTuple):
    """Buffers: (n_threads, ROWS_AT_ONCE) of words and of shares; what the threads tell each other."""

    words: Array
    shares: Array
    peaks: Array
    sums: Array

    @classmethod
    def allocate(cls, n_threads: int) -> Drawing:
        """Buffers for that many threads."""
        T = n_threads
        words, shares = np.empty((T, ROWS_AT_ONCE), np.int64), np.empty((T, ROWS_AT_ONCE))
        return cls(words, shares, np.zeros((T, 8)), np.zeros((T, 8), np.int64))


class LeafTables(NamedTuple):
    """The tree as it grows: (n_threads, num_leaves, columns) of leaves, one row for each node."""

    leaves: Array
    reals: Array
    nodes: Array
    node_gains: Array


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


class LeafSums(NamedTuple):
    """What leaf values are made of, and the values: (n_threads, num_leaves, 2), and the leaf of every row."""

    sums: Array
    values: Array
    leaf_of_row: Array


class Work(NamedTuple):
    """All of that, threads meeting at `arrivals` and counting cycles in `counters`, by stage."""

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
        T, L, int64 = n_threads, num_leaves, np.int64
        tables = LeafTables(
            leaves=np.zeros((T, L, LEAF_WIDTH), int64),
            reals=np.zeros((T, L, REALS_WIDTH)),
            nodes=np.zeros((max(L - 1, 1), NODE_WIDTH), int64),
            node_gains=np.zeros(max(L - 1, 1)),
        )
        space = SearchSpace(
            histograms=np.empty((L + T - 1, n_slots), int64),  # pages that are never touched cost nothing
            offers=np.zeros((2 * T, SPLIT_WIDTH), int64),
            left=np.empty((T, 256), int64),
            gains=np.empty((T, 256)),
        )
        return cls(
            RowOrder.allocate(n, T),
            Drawing.allocate(T),
            tables,
            space,
            LeafSums(np.zeros((T, L, 2), int64), np.zeros((T, L, 2)), np.zeros(n, np.uint16)),
            arrivals=np.zeros(8 * (T + 1), int64),
            counters=np.zeros((T, 8), int64),
        )
