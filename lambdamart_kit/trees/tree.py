"""One grown tree, in bins."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.typing import Array, BoolArray, FloatArray, IndexArray
from lambdamart_kit.runtime.threads import run_tasks
from lambdamart_kit.trees.binning import BinnedMatrix


@dataclass(frozen=True)
class Tree:
    """A tree whose splits are sets of bins. A child is a node, or ``~leaf``.

    Attributes
    ----------
    feature : ndarray (n_nodes,)
        Column that a node splits on.
    threshold_bin : ndarray (n_nodes,)
        Last bin that goes left; -1 where the split is categorical.
    nan_left : ndarray (n_nodes,), bool
        Whether NaN goes left.
    bins_left : ndarray (n_nodes, 4), uint64
        Bit b of 256 is set when bin b goes left.
    children : ndarray (n_nodes, 2)
        Left and right child.
    gain, node_value, node_weight, node_count : ndarray (n_nodes,)
        Gain of the split; output, hessian and rows the node would have as a leaf.
    leaf_value, leaf_weight, leaf_count : ndarray (n_leaves,)
        Output with the learning rate in it; hessian; rows.
    """

    feature: Array
    threshold_bin: Array
    nan_left: BoolArray
    bins_left: Array
    children: Array
    gain: FloatArray
    node_value: FloatArray
    node_weight: FloatArray
    node_count: IndexArray
    leaf_value: FloatArray
    leaf_weight: FloatArray
    leaf_count: IndexArray

    @property
    def n_leaves(self) -> int:
        """Number of leaves."""
        return len(self.leaf_value)

    def divided_by(self, n: int) -> Tree:
        """The tree with its outputs divided by `n`."""
        return replace(self, leaf_value=self.leaf_value / n, node_value=self.node_value / n)

    def add_to(
        self, scores: FloatArray, binned: BinnedMatrix, *, rows: Array | None = None, n_threads: int = 1
    ) -> None:
        """Add the tree's output to the scores of a binned matrix, or of some of its `rows`."""
        if rows is None:
            rows = np.arange(binned.n_samples, dtype=np.int32)
        # One byte for each node and bin: a look-up is then one load instead of a shift and a mask.
        table = np.unpackbits(self.bins_left.view(np.uint8), axis=-1, bitorder="little")
        bounds = np.linspace(0, len(rows), 4 * n_threads + 1).astype(np.intp)
        args = (rows, binned.columns, self.feature, table, self.children, self.leaf_value, scores)
        run_tasks(_add, bounds, n_threads, *args)


@kernel
def _add(
    start: int,
    stop: int,
    rows: Array,
    columns: Array,
    feature: Array,
    table: Array,
    children: Array,
    value: Array,
    scores: Array,
) -> None:
    """Walk the `rows` from `start` to `stop` - 1 down the tree and add the values of their leaves."""
    # A child below zero is ~leaf. A tree that is one leaf has no node to start from.
    for i in range(start, stop):
        row = rows[i]
        at = np.int64(0) if len(feature) else np.int64(-1)
        while at >= 0:
            went_left = table[at, columns[feature[at], row]]
            at = children[at, 1 - went_left]
        scores[row] += value[~at]
