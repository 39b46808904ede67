"""Values of the leaves of a grown tree, from the unrounded gradients, and the scores they add to."""

from __future__ import annotations

import numpy as np

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.growth.barrier import meet
from lambdamart_kit.trees.growth.splitting import SplitRules, leaf_output
from lambdamart_kit.trees.growth.state import (
    BEGIN,
    COUNT,
    HEAVY,
    HIGH,
    LIGHT,
    LOW,
    Crew,
    LeafSums,
    LeafTables,
    Sample,
    Scales,
)


@inner(borrows=True, shared=True)
def finish(
    crew: Crew,
    n_leaves: int,
    sample: Sample,
    scales: Scales,
    rules: SplitRules,
    learning_rate: float,
    carried: Array,
    tables: LeafTables,
    result: LeafSums,
    scores: Array,
) -> None:
    """Newton step and hessian of each leaf, and the scores of the rows that grew the tree.

    `rules` are in real units. Sums are of fixed-point numbers, so the order of rows does not matter.
    """
    thread = crew.thread
    n_threads = crew.n_threads
    rows = sample.rows
    n = len(rows)
    start = n * thread // n_threads
    stop = n * (thread + 1) // n_threads
    sums = result.sums[thread]
    values = result.values[thread]
    reals = tables.reals[thread]
    _note_leaves(start, stop, n_leaves, carried, tables.leaves[thread], result.leaf_of_row)
    # Which leaf each row is in is known to all only after the threads have met.
    for leaf in range(n_leaves):
        sums[leaf, 0] = 0
        sums[leaf, 1] = 0
    meet(crew.arrivals, thread, n_threads)
    sum_leaves(start, stop, sample, result.leaf_of_row, scales, sums)
    meet(crew.arrivals, thread, n_threads)
    # Every thread adds up all threads' sums of every leaf: few numbers, and nobody waits for the values.
    for leaf in range(n_leaves):
        g = np.int64(0)
        h = np.int64(0)
        for t in range(n_threads):
            g += result.sums[t, leaf, 0]
            h += result.sums[t, leaf, 1]
        # The Newton step -G / (H + lambda) comes from all rows of the leaf, heavy and light, before
        # quantising: noise that the search may bear would stay in the scores.
        G = g / scales.fixed_gradient
        H = h / scales.fixed_hessian
        values[leaf, 0] = learning_rate * leaf_output(G, H, rules, reals[leaf, LOW], reals[leaf, HIGH])
        values[leaf, 1] = H
    # Rows are of this thread's share alone, so nobody else writes to their scores.
    for i in range(start, stop):
        scores[rows[i]] += values[result.leaf_of_row[rows[i]], 0]


@kernel(borrows=True)
def sum_leaves(
    start: int, stop: int, sample: Sample, leaf_of_row: Array, scales: Scales, sums: Array
) -> None:
    """Add the gradients and hessians of some rows to the `sums` of their leaves, in fixed point."""
    rows = sample.rows
    gradient = sample.gradient
    hessian = sample.hessian
    # Truncation to fixed point makes each value an integer below 2**62 in all: sums are exact in any order.
    for i in range(start, stop):
        leaf = leaf_of_row[rows[i]]
        sums[leaf, 0] += np.int64(gradient[i] * scales.fixed_gradient)
        sums[leaf, 1] += np.int64(hessian[i] * scales.fixed_hessian)


@inner(borrows=True, shared=True)
def _note_leaves(
    start: int, stop: int, n_leaves: int, carried: Array, leaves: Array, leaf_of_row: Array
) -> None:
    """Note the leaf of each of the rows `start` to `stop` - 1 of `carried`."""
    # A thread's share of `carried` cuts through leaves: of each leaf's two runs, it takes what lies inside.
    for leaf in range(n_leaves):
        n_heavy = leaves[leaf, HEAVY]
        # First the run of heavy rows, then that of light ones: both count in the value of the leaf.
        for run in range(2):
            first = leaves[leaf, LIGHT if run else BEGIN]
            length = leaves[leaf, COUNT] - n_heavy if run else n_heavy
            for i in range(max(start, first), min(stop, first + length)):
                leaf_of_row[carried[i] & np.int64(0xFFFFFFFF)] = leaf
