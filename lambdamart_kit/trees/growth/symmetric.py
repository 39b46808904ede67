"""Symmetric (oblivious) trees: all nodes of a level split on the same feature at the same value.

A level's split maximises the sum of its nodes' gains, so a tree of depth d chooses d splits where a leaf-wise
one chooses ``2**d - 1``: it cannot chase what a few rows of one node say, and it finds products of features,
because the second split of a pair is judged on both sides of the first. On noisy labels (preferences) that is
worth more than the freedom it costs.

Leaf of a row: the bits of the levels' answers, first split highest. Rows are not moved: each feature's column
is read in the order of rows, once a level, and added to the histogram ``[leaf, bin]``, which fits in the
first or second cache level. Sums are the integers of :mod:`lambdamart_kit.trees.growth.histogram`, so
neither the number of threads nor the order of rows changes the tree.

References
----------
Kohavi (1994), "Bottom-up induction of oblivious read-once decision graphs"; Prokhorenkova et al. (2018),
"CatBoost: unbiased boosting with categorical features", section 5.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, Float32Array, FloatArray, IndexArray
from lambdamart_kit.runtime.threads import run, run_tasks
from lambdamart_kit.trees.binning import BinnedMatrix
from lambdamart_kit.trees.growth.grower import (
    bad_gradient,
    bin_hashes,
    sample_features,
    sample_rows,
)
from lambdamart_kit.trees.growth.leaves import sum_leaves
from lambdamart_kit.trees.growth.quantising import quantise_rows, spread
from lambdamart_kit.trees.growth.splitting import (
    Interactions,
    SplitRules,
    TreeLimits,
    gradient_of,
    hessian_of,
    leaf_gain,
    split_rules,
)
from lambdamart_kit.trees.growth.state import Drawing, Rounding, RowOrder, Sample, Scales
from lambdamart_kit.trees.parameters import TreeParameters
from lambdamart_kit.trees.tree import Tree


class _Level(NamedTuple):
    """The split of a level."""

    feature: int
    threshold_bin: int
    nan_left: bool


class _Bins(NamedTuple):
    """Binned columns, bins in use of each, and its bins of values: the bin of NaN, if in use, comes next."""

    columns: Array
    n_bins: Array
    n_value_bins: Array


class _LevelRows(NamedTuple):
    """Rows of the tree at one level: row numbers, node and packed sums of each, and packed sums of nodes."""

    rows: Array
    node: Array
    packed: Array
    totals: Array


class SymmetricGrower:
    """Grows symmetric trees on one binned matrix; parameters are those of `Grower`.

    `num_leaves` is rounded down to a power of two. A leaf with fewer rows than `min_child_samples` takes the
    value of its nearest ancestor that has them; a node of which one side would have less hessian than
    `min_child_weight` has no say in the split of its level.

    Raises
    ------
    ValueError
        If there are categorical features or monotone constraints, which these trees do not take.
    """

    def __init__(
        self, binned: BinnedMatrix, queries: Queries, parameters: TreeParameters, *, n_threads: int = 1
    ) -> None:
        if any(parameters.monotone_constraints) or binned.mapper.is_categorical.any():
            raise ValueError(
                "'grow_policy'='symmetric' takes neither categorical features nor monotone constraints; "
                "use 'leafwise'"
            )
        self._binned = binned
        self._queries = queries
        self._parameters = parameters
        self._n_threads = n_threads
        self._interactions = Interactions.of(parameters, binned.columns.shape[0])
        self._content = bin_hashes(binned, n_threads)
        self._n_value_bins = binned.mapper.n_value_bins.astype(np.int64)
        highest = np.array([column.max(initial=0) for column in binned.columns], dtype=np.int64)
        self._n_bins = highest + 1  # one past the last bin in use; the bin of NaN comes last
        # The largest depth d with 2**d <= num_leaves.
        self._depth = parameters.num_leaves.bit_length() - 1
        if parameters.max_depth > 0:
            self._depth = min(self._depth, parameters.max_depth)
        self._limits = TreeLimits.of(parameters)
        self._free = parameters.split_criterion == "least_squares"
        self._order = RowOrder.allocate(binned.n_samples, n_threads)
        self._drawing = Drawing.allocate(n_threads)
        self._arrivals = np.zeros(8 * (n_threads + 1), dtype=np.int64)
        self._clock = np.zeros(8, dtype=np.int64)  # kernels count cycles; nobody reads those of this grower

    def set_learning_rate(self, learning_rate: float) -> None:
        """Grow the trees to come with another learning rate."""
        self._parameters = replace(self._parameters, learning_rate=learning_rate)
        self._limits = TreeLimits.of(self._parameters)

    def grow(
        self, gradient: Float32Array, hessian: Float32Array, scores: FloatArray, *, tree_index: int
    ) -> Tree:
        """Grow a tree on the gradients and add its output to `scores`, in place; see `Grower.grow`."""
        parameters = self._parameters
        n = self._binned.n_samples
        rng = np.random.default_rng([parameters.seed, tree_index])
        seed = int(rng.integers(2**62))
        # Rows ascend, so that columns and leaves are read in order, once a level.
        rows = np.sort(sample_rows(self._queries, parameters.subsample, rng))
        allowed = sample_features(parameters, len(self._n_bins), self._depth, rng)
        content = self._content
        if len(rows) < n:
            gradient, hessian, content = gradient[rows], hessian[rows], content[rows]
        sample = Sample(rows, gradient, hessian, content)
        # No row is sampled away: without heavy and light rows, `carried` stays in the order of the sample,
        # and so it can be read beside the columns.
        rounding = Rounding(seed, 0.0, self._free)
        self._arrivals[:] = 0
        buffers = (self._order, self._drawing, self._arrivals, self._clock)
        scales = Scales(*run(quantise_rows, self._n_threads, sample, rounding, *buffers))
        if scales.hessian < 0:
            raise bad_gradient(tree_index)
        carried = self._order.carried
        rules = split_rules.py_func(self._limits, scales.gradient, scales.hessian, self._free)
        leaf = np.zeros(n, dtype=np.uint16)
        levels: list[_Level] = []
        # Each level gets the split that is best for all its nodes together; then every row goes down.
        while len(levels) < self._depth:
            may_split = allowed[len(levels) % len(allowed)] & (self._n_bins > 1)
            features = np.flatnonzero(may_split & self._may_join(levels))
            level = self._best_split(features, rows, leaf, carried, 1 << len(levels), rules)
            if level is None:
                break
            levels.append(level)
            column = self._binned.columns[level.feature]
            bounds = self._bounds(n)
            nan_bin = self._n_value_bins[level.feature]
            args = (column, level.threshold_bin, level.nan_left, nan_bin, leaf)
            run_tasks(_descend, bounds, self._n_threads, *args)
        tree = self._tree(levels, sample, leaf, scales)
        scores += tree.leaf_value[leaf]
        return tree

    def _may_join(self, levels: list[_Level]) -> Array:
        """Features that interaction constraints let join those of `levels`, (n_features,) bool."""
        if self._interactions is None:
            return np.ones(len(self._n_bins), dtype=bool)
        groups = self._interactions.groups
        # All nodes of a level have the same features above them, so one mask serves all.
        alive = np.all(groups[:, [level.feature for level in levels]], axis=1)
        joining: Array = np.any(groups[alive], axis=0)
        return joining

    def _bounds(self, n: int) -> IndexArray:
        return np.linspace(0, n, (2 * self._n_threads if self._n_threads > 1 else 1) + 1).astype(np.intp)

    def _best_split(
        self, features: IndexArray, rows: Array, leaf: Array, carried: Array, n_nodes: int, rules: SplitRules
    ) -> _Level | None:
        """The split with the largest summed gain; equal gains go to the lower feature."""
        totals = np.zeros(n_nodes, dtype=np.int64)
        packed = np.empty(len(rows), dtype=np.int64)
        node = np.empty(len(rows), dtype=np.uint16)
        _unpack(carried, rows, leaf, packed, node, totals)
        gains = np.zeros(len(features))
        found = np.zeros((len(features), 2), dtype=np.int64)
        bins = _Bins(self._binned.columns, self._n_bins, self._n_value_bins)
        args = (features, bins, _LevelRows(rows, node, packed, totals), rules, gains, found)
        bounds = np.linspace(0, len(features), 8 * self._n_threads + 1).astype(np.intp)
        run_tasks(_search, np.unique(bounds), self._n_threads, *args)
        G = totals >> 32
        H = totals & 0xFFFFFFFF
        # A split must gain more than rounding alone could.
        rounding = 1e-10 * np.sum(G * (G / (H + rules.reg_lambda + 1e-300)))
        if not len(gains) or gains.max() <= rules.min_gain + rounding:
            return None
        best = int(gains.argmax())
        return _Level(int(features[best]), int(found[best, 0]), bool(found[best, 1]))

    def _tree(self, levels: list[_Level], sample: Sample, leaf: Array, scales: Scales) -> Tree:
        """Leaf values from the unrounded gradients; nodes are numbered level by level."""
        p = self._parameters
        depth = len(levels)
        G, H, count = _leaf_sums(sample, leaf, scales, 1 << depth)
        n_nodes = (1 << depth) - 1
        # Node i has the children 2 i + 1 and 2 i + 2; those past the last node are leaves.
        children = 2 * np.arange(n_nodes)[:, None] + np.array([1, 2])
        children[children >= n_nodes] = ~(children[children >= n_nodes] - n_nodes)
        features = np.array([level.feature for level in levels], dtype=np.int64)
        # Sums of a node of level d are those of the leaves below it, which stand side by side.
        masks = [
            _mask(level.threshold_bin, level.nan_left, int(nan_bin))
            for level, nan_bin in zip(levels, self._n_value_bins[features])
        ]
        sums = [[v.reshape(1 << d, -1).sum(axis=1) for d in range(depth)] for v in (G, H, count)]
        node_G, node_H, node_count = (
            np.concatenate([part[:0], *by]) for part, by in zip((G, H, count), sums)
        )
        # Scores of nodes and leaves in one row: the children of node i stand at 2 i + 1 and 2 i + 2 of it.
        score = _score(np.concatenate([node_G, G]), np.concatenate([node_H, H]), p)
        repeats = 1 << np.arange(depth)
        return Tree(
            feature=np.repeat(features, repeats),
            threshold_bin=np.repeat(np.array([v.threshold_bin for v in levels], dtype=np.int64), repeats),
            nan_left=np.repeat(np.array([v.nan_left for v in levels], dtype=bool), repeats),
            bins_left=np.repeat(np.array(masks, dtype=np.uint64).reshape(-1, 4), repeats, axis=0),
            children=children,
            gain=np.maximum(score[1:].reshape(-1, 2).sum(axis=1) - score[:n_nodes], 0.0),
            node_value=_step(node_G, node_H, p),
            node_weight=node_H,
            node_count=node_count,
            leaf_value=_values(G, H, count, p),
            leaf_weight=H,
            leaf_count=count,
        )


def _leaf_sums(
    sample: Sample, leaf: Array, scales: Scales, n_leaves: int
) -> tuple[FloatArray, FloatArray, IndexArray]:
    """Gradient, hessian and rows of each leaf; fixed-point sums do not depend on the order of rows."""
    sums = np.zeros((n_leaves, 2), dtype=np.int64)
    sum_leaves(0, len(sample.rows), sample, leaf, scales, sums)
    counts = np.bincount(leaf[sample.rows], minlength=n_leaves)
    return sums[:, 0] / scales.fixed_gradient, sums[:, 1] / scales.fixed_hessian, counts


def _values(G: FloatArray, H: FloatArray, count: IndexArray, p: TreeParameters) -> FloatArray:
    """Newton step of each leaf, or of its nearest ancestor with `min_child_samples` rows."""
    value = np.empty(len(G))
    undecided = np.ones(len(G), dtype=bool)
    width = 1
    # A leaf's ancestors are tried from the leaf itself upwards. They span 1, 2, 4, ... leaves side by side.
    while undecided.any() and width <= len(G):
        # Each of G, H and count becomes, for every leaf, the sum over the ancestor that spans `width`
        # leaves. The root takes whatever is still undecided.
        parts = [np.repeat(s.reshape(-1, width).sum(axis=1), width) for s in (G, H, count)]
        taken = undecided & ((parts[2] >= p.min_child_samples) | (width == len(G)))
        value[taken] = _step(parts[0][taken], parts[1][taken], p)
        undecided &= ~taken
        width *= 2
    return value


def _soft(G: FloatArray, p: TreeParameters) -> FloatArray:
    soft: FloatArray = np.sign(G) * np.maximum(np.abs(G) - p.reg_alpha, 0.0)
    return soft


def _step(G: FloatArray, H: FloatArray, p: TreeParameters) -> FloatArray:
    step: FloatArray = -p.learning_rate * _soft(G, p) / np.maximum(H + p.reg_lambda, 1e-300)
    return step


def _score(G: FloatArray, H: FloatArray, p: TreeParameters) -> FloatArray:
    score: FloatArray = _soft(G, p) ** 2 / np.maximum(H + p.reg_lambda, 1e-300)
    return score


def _mask(threshold_bin: int, nan_left: bool, nan_bin: int) -> list[int]:
    """256 bits in four words: the bins that go left."""
    # The bins 0 to `threshold_bin` go left; the bin of NaN, which
    # comes after all others, is set on its own.
    bits = (1 << (threshold_bin + 1)) - 1
    bits = bits | 1 << nan_bin if nan_left else bits & ~(1 << nan_bin)
    return [bits >> 64 * word & 0xFFFFFFFFFFFFFFFF for word in range(4)]


@kernel
def _unpack(carried: Array, rows: Array, leaf: Array, packed: Array, node: Array, totals: Array) -> None:
    """Gradient and hessian of the sampled rows as they are added up, their nodes, and the nodes' sums."""
    # These three arrays are gathered once a level, and all features then read them in order.
    for k in range(len(rows)):
        packed[k] = spread(carried[k])
        node[k] = leaf[rows[k]]
        totals[node[k]] += packed[k]


@kernel
def _descend(
    start: int, stop: int, column: Array, threshold: int, nan_left: bool, nan_bin: int, leaf: Array
) -> None:
    """Every row's node becomes the child that its bin leads to."""
    # The answer of a level is the next bit of the leaf's number. Rows outside the sample go down as well.
    for i in range(start, stop):
        right = not nan_left if column[i] == nan_bin else column[i] > threshold
        leaf[i] = 2 * leaf[i] + right


@kernel
def _search(
    start: int,
    stop: int,
    features: Array,
    binned: _Bins,
    level: _LevelRows,
    rules: SplitRules,
    gains: Array,
    found: Array,
) -> None:
    """Best split of each of the `features` from `start` to `stop` - 1: its gain, bin and side of NaN."""
    totals = level.totals
    total_gains = np.empty(256)
    for at in range(start, stop):
        feature = features[at]
        size = binned.n_bins[feature]
        nan_bin = binned.n_value_bins[feature]
        histogram = np.zeros(len(totals) * size, dtype=np.int64)
        _fill(binned.columns[feature], size, level, histogram)
        has_nan = size > nan_bin
        # One pass with NaN on the right and, where there is NaN, one with NaN on the left: gains of all
        # nodes are added up bin by bin, and the best bin is that of the level.
        for nan_left in range(2 if has_nan else 1):
            total_gains[:] = 0.0
            for leaf in range(len(totals)):
                bins = histogram[leaf * size : (leaf + 1) * size]
                before = bins[nan_bin] if nan_left else np.int64(0)
                _add_gains(bins, before, totals[leaf], rules, total_gains)
            for b in range(size - 1):
                if total_gains[b] > gains[at]:
                    gains[at] = total_gains[b]
                    found[at, 0] = b
                    found[at, 1] = nan_left
        # Nothing was learned about NaN where there is none: it follows the side with more hessian.
        if not has_nan and gains[at] > 0.0:
            found[at, 1] = 2.0 * _hessian_left(histogram, size, found[at, 0]) >= _hessian_left(
                histogram, size, size - 1
            )


@inner
def _fill(column: Array, size: int, level: _LevelRows, histogram: Array) -> None:
    """Add the rows of a level to the histogram ``[node, bin]`` of one feature."""
    rows = level.rows
    node = level.node
    packed = level.packed
    # Unsigned indices: signed ones are tested for being negative.
    width = np.uint64(size)
    for k in range(np.uint64(len(rows))):
        histogram[np.uint64(node[k]) * width + np.uint64(column[np.uint64(rows[k])])] += packed[k]


@inner
def _add_gains(bins: Array, before: int, total: int, rules: SplitRules, gains: Array) -> None:
    """Add what splitting one node at each of its bins would gain; a forbidden split gains nothing."""
    G = gradient_of(total)
    H = hessian_of(total)
    # What a level gains is the sum over its nodes of the children's gains less the node's own. A node whose
    # split is forbidden adds 0: it has no say, and does not forbid the level's split.
    undivided = leaf_gain(G, H, rules)
    alpha = rules.reg_alpha
    lam = rules.reg_lambda
    least = rules.min_hessian
    running = before
    # The same arithmetic as `_soft_gains` of leaf-wise trees.
    for b in range(len(bins) - 1):
        running += bins[b]
        gl = gradient_of(running)
        hl = hessian_of(running)
        gr = G - gl
        hr = H - hl
        sl = max(gl - alpha, 0.0) + min(gl + alpha, 0.0)
        sr = max(gr - alpha, 0.0) + min(gr + alpha, 0.0)
        dl = hl + lam
        dr = hr + lam
        gain = (sl * sl * dr + sr * sr * dl) / (dl * dr)  # one division instead of two
        gains[b] += gain - undivided if (hl >= least) & (hr >= least) else 0.0


@inner
def _hessian_left(histogram: Array, size: int, threshold: int) -> float:
    """Hessian of all nodes in the bins up to the threshold."""
    # Slots are ``[node, bin]``, so the bin is the remainder.
    left = 0.0
    for slot in range(len(histogram)):
        left += hessian_of(histogram[slot]) if slot % size <= threshold else 0.0
    return left
