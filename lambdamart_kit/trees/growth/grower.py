"""The grower: buffers for growing trees on one binned matrix, made once and used for every tree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, Float32Array, FloatArray
from lambdamart_kit.runtime.threads import run, run_tasks
from lambdamart_kit.trees.binning import BinnedMatrix
from lambdamart_kit.trees.growth.histogram import make_layout
from lambdamart_kit.trees.growth.leafwise import grow
from lambdamart_kit.trees.growth.quantising import hash_rows
from lambdamart_kit.trees.growth.splitting import (
    BIN,
    FEATURE,
    MASK,
    NAN_LEFT,
    CategoryRules,
    Interactions,
    TreeLimits,
)
from lambdamart_kit.trees.growth.state import (
    COUNT,
    LEFT_CHILD,
    NODE_TOTAL,
    ROWS,
    STAGES,
    Rounding,
    Sample,
    Scales,
    Work,
)
from lambdamart_kit.trees.parameters import TreeParameters
from lambdamart_kit.trees.tree import Tree


class Grower:
    """Grows trees on one binned matrix.

    Parameters
    ----------
    binned : BinnedMatrix
        Training rows, in query order.
    queries : Queries
        Their grouping; `subsample` draws whole queries.
    parameters : TreeParameters
        How to grow.
    n_threads : int
        Threads to use. The trees do not depend on it.
    """

    def __init__(
        self, binned: BinnedMatrix, queries: Queries, parameters: TreeParameters, *, n_threads: int = 1
    ) -> None:
        n_features, n = binned.columns.shape
        # A carried row has 32 bits for its number, and row numbers are int32 elsewhere.
        if n >= 2**31:
            raise ValueError(f"'X' must have fewer than 2**31 rows; got {n}")
        constraints = parameters.monotone_constraints
        if constraints and len(constraints) != n_features:
            raise ValueError(
                f"'monotone_constraints' must have one entry per feature, {n_features}; "
                f"got {len(constraints)}"
            )
        self._binned = binned
        self._queries = queries
        self._parameters = parameters
        self._n_threads = n_threads
        # What does not change from tree to tree is made once: the lists of slots, the hashes of the rows, and
        # all buffers.
        self._layout = make_layout(binned, n_threads)
        self._content = bin_hashes(binned, n_threads)
        self._monotone = np.array(constraints, dtype=np.int64) if any(constraints) else None
        self._interactions = Interactions.of(parameters, n_features)
        self._categories = CategoryRules.of(parameters) if binned.mapper.is_categorical.any() else None
        self._all_rows = np.arange(n, dtype=np.int32)
        self._limits = TreeLimits.of(parameters)
        self._work = Work.allocate(n, self._layout.n_slots, parameters.num_leaves, n_threads)

    def set_learning_rate(self, learning_rate: float) -> None:
        """Grow the trees to come with another learning rate."""
        self._parameters = replace(self._parameters, learning_rate=learning_rate)
        self._limits = TreeLimits.of(self._parameters)

    def grow(
        self, gradient: Float32Array, hessian: Float32Array, scores: FloatArray, *, tree_index: int
    ) -> Tree:
        """Grow a tree on the gradients and add its output to `scores`, in place.

        Parameters
        ----------
        gradient, hessian : ndarray (n_samples,), float32
            Of the loss that is minimised.
        scores : ndarray (n_samples,), float64
            Scores to add to.
        tree_index : int
            Number of the tree in the ensemble: with the seed, it fixes all that is random about the tree.

        Returns
        -------
        Tree
            The tree, its learning rate folded in.

        Raises
        ------
        ValueError
            If a gradient is not finite, or a hessian is negative or not finite.
        """
        parameters = self._parameters
        # All draws of a tree come from its number, in a fixed order: a warm start draws what one run would.
        rng = np.random.default_rng([parameters.seed, tree_index])
        seed = int(rng.integers(2**62))
        rows = sample_rows(self._queries, parameters.subsample, rng)
        # A tree of L leaves has L - 1 splits, so 2 L - 1 nodes are
        # opened in all, and each may draw its features.
        n_nodes = 2 * parameters.num_leaves - 1
        allowed = sample_features(parameters, self._binned.columns.shape[0], n_nodes, rng)
        if self._interactions is not None:
            allowed = with_interactions(allowed, self._interactions)
        content = self._content
        # The kernel reads gradients one after the other, so those of sampled rows are gathered first.
        if len(rows) < len(content):
            gradient, hessian, content = gradient[rows], hessian[rows], content[rows]
        # Every thread runs the same kernel from start to end; the counters they meet at start from zero.
        self._work.arrivals[:] = 0
        n_leaves, plain = run(
            grow,
            self._n_threads,
            Sample(rows, gradient, hessian, content),
            Rounding.of(parameters, seed, len(rows)),
            self._limits,
            self._categories,
            self._monotone,
            self._interactions,
            self._layout,
            self._binned.columns,
            allowed,
            self._work,
            scores,
        )
        if n_leaves == 0:
            raise bad_gradient(tree_index)
        tree = _as_tree(self._work, parameters, Scales(*plain), n_leaves)
        # The kernel scores only the rows it grew the tree on; the others walk down the finished tree.
        if len(rows) < len(self._all_rows):
            outside = np.delete(self._all_rows, rows)
            tree.add_to(scores, self._binned, rows=outside, n_threads=self._n_threads)
        return tree

    def stage_cycles(self) -> dict[str, int]:
        """Processor cycles of each stage of growing so far, on the thread that took most."""
        return dict(zip(STAGES, self._work.counters.max(axis=0).tolist()))


def bin_hashes(binned: BinnedMatrix, n_threads: int) -> Array:
    """64-bit hash of each row's bins: what stochastic rounding draws from."""
    n_features, n = binned.columns.shape
    content = np.empty(n, dtype=np.uint64)
    multipliers = np.random.default_rng(0).integers(0, 2**64, n_features, dtype=np.uint64) | np.uint64(1)
    # Multipliers are fixed, so that a row has the same hash, hence rounding, in every fit. They are odd, so
    # that no bit of a bin is lost.
    bounds = np.linspace(0, n, 4 * n_threads + 1).astype(np.intp)
    run_tasks(hash_rows, bounds, n_threads, binned.columns, multipliers, content)
    return content


def sample_rows(queries: Queries, share: float, rng: np.random.Generator) -> Array:
    """Rows of a `share` of the queries, int32; all rows in order where the share is 1."""
    if share >= 1.0:
        return np.arange(queries.n_samples, dtype=np.int32)
    # Whole queries: half a query's documents say little about the order of all of them.
    chosen = rng.choice(queries.n_queries, max(1, round(share * queries.n_queries)), replace=False)
    return queries.rows(chosen).astype(np.int32)


def sample_features(
    parameters: TreeParameters, n_features: int, n_draws: int, rng: np.random.Generator
) -> Array:
    """Features allowed: a mask for each of `n_draws` when `colsample_bynode` draws for each, else one."""
    if parameters.colsample_bytree >= 1.0 and parameters.colsample_bynode >= 1.0:
        return np.ones((1, n_features), dtype=bool)
    # Features of the tree first, then those of each node among them. The permutation is drawn even where
    # the tree may use all features, so that the draws of its nodes do not depend on that setting.
    by_tree = np.zeros(n_features, dtype=bool)
    by_tree[rng.permutation(n_features)[: max(1, round(parameters.colsample_bytree * n_features))]] = True
    if parameters.colsample_bynode >= 1.0:
        return by_tree[None]
    pool = np.flatnonzero(by_tree)
    drawn = max(1, round(parameters.colsample_bynode * len(pool)))
    allowed = np.zeros((n_draws, n_features), dtype=bool)
    for node in allowed:
        node[rng.choice(pool, drawn, replace=False)] = True
    return allowed


def with_interactions(allowed: Array, interactions: Interactions) -> Array:
    """A mask of features for each node, which growing narrows; only features in a group are split on."""
    # Drawn features come in one row for all nodes, or in a row for each; from here on each has its own.
    n_nodes = len(interactions.alive)
    return np.tile(allowed & interactions.groups.any(axis=0), (n_nodes // len(allowed), 1))


def bad_gradient(tree_index: int) -> ValueError:
    """What to raise where no tree can be grown."""
    return ValueError(
        "the objective returned a gradient that is not finite, or a hessian that is negative or "
        f"not finite; tree {tree_index} cannot be grown"
    )


def _as_tree(work: Work, parameters: TreeParameters, scales: Scales, n_leaves: int) -> Tree:
    """The tree in the tables of a grower, in real units."""
    nodes = work.tables.nodes[: n_leaves - 1]
    values = work.sums.values[0, :n_leaves]
    totals = nodes[:, NODE_TOTAL]
    # A packed total holds G in its upper 32 bits, with its sign, and H in the lower ones.
    G = (totals >> 32) / scales.gradient
    H = (totals & 0xFFFFFFFF) / scales.hessian
    return Tree(
        feature=nodes[:, FEATURE].copy(),
        threshold_bin=nodes[:, BIN].copy(),
        nan_left=nodes[:, NAN_LEFT].astype(bool),
        bins_left=np.ascontiguousarray(nodes[:, MASK : MASK + 4]).view(np.uint64),
        children=nodes[:, LEFT_CHILD : LEFT_CHILD + 2].copy(),
        gain=work.tables.node_gains[: n_leaves - 1] * scales.hessian / scales.gradient**2,
        # A node's value is the Newton step it would take as a leaf, from the quantised sums.
        node_value=-parameters.learning_rate * G / np.maximum(H + parameters.reg_lambda, 1e-300),
        node_weight=H,
        node_count=nodes[:, ROWS].astype(np.intp),
        leaf_value=values[:, 0].copy(),
        leaf_weight=values[:, 1].copy(),
        leaf_count=work.tables.leaves[0, :n_leaves, COUNT].astype(np.intp),
    )
