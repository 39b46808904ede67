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
    LeafSums,
    LeafTables,
    Sample,
    Scales,
)


@inner(borrows=True, shared=True)
def finish(
    thread: int, n_threads: int, n_leaves: int, sample: Sample, scales: Scales, rules: SplitRules,
    learning_rate: float, carried: Array, tables: LeafTables, result: LeafSums, scores: Array,
    arrivals: Array,
) -> None:  # fmt: skip
    """Newton step and hessian of each leaf, and the scores of the rows that grew the tree.

    `rules` are in real units. Sums are of fixed-point numbers: the order of rows does not matter.
    """
    rows, n = sample.rows, len(sample.rows)
    start, stop = n * thread // n_threads, n * (thread + 1) // n_threads
    _note_leaves(start, stop, n_leaves, carried, tables.leaves[thread], result.leaf_of_row)
    sums, values, reals = result.sums[thread], result.values[thread], tables.reals[thread]
    for leaf in range(n_leaves):
        sums[leaf, 0], sums[leaf, 1] = 0, 0
    meet(arrivals, thread, n_threads)
    sum_leaves(start, stop, sample, result.leaf_of_row, scales, sums)
    meet(arrivals, thread, n_threads)
    for leaf in range(n_leaves):
        g, h = np.int64(0), np.int64(0)
        for t in range(n_threads):
            g, h = g + result.sums[t, leaf, 0], h + result.sums[t, leaf, 1]
        G, H = g / scales.fixed_gradient, h / scales.fixed_hessian
        values[leaf, 0] = learning_rate * leaf_output(G, H, rules, reals[leaf, LOW], reals[leaf, HIGH])
        values[leaf, 1] = H
    for i in range(start, stop):
        scores[rows[i]] += values[result.leaf_of_row[rows[i]], 0]


@kernel(borrows=True)
def sum_leaves(
    start: int, stop: int, sample: Sample, leaf_of_row: Array, scales: Scales, sums: Array
) -> None:
    """Add the gradients and hessians of some rows to the `sums` of their leaves, in fixed point."""
    rows, gradient, hessian = sample.rows, sample.gradient, sample.hessian
    for i in range(start, stop):
        leaf = leaf_of_row[rows[i]]
        sums[leaf, 0] += np.int64(gradient[i] * scales.fixed_gradient)
        sums[leaf, 1] += np.int64(hessian[i] * scales.fixed_hessian)


@inner(borrows=True, shared=True)
def _note_leaves(
    start: int, stop: int, n_leaves: int, carried: Array, leaves: Array, leaf_of_row: Array
) -> None:
    """The leaf of each of the rows `start` to `stop` - 1 of `carried`."""
    for leaf in range(n_leaves):
        n_heavy = leaves[leaf, HEAVY]
        for run in range(2):
            first = leaves[leaf, LIGHT if run else BEGIN]
            length = leaves[leaf, COUNT] - n_heavy if run else n_heavy
            for i in range(max(start, first), min(stop, first + length)):
                leaf_of_row[carried[i] & np.int64(0xFFFFFFFF)] = leaf
