"""The grower: buffers for growing trees on one binned matrix, made once and used for every tree."""

from __future__ import annotations

import numpy as np

from lambdamart_kit.core.parallel import run, run_tasks
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, Float32Array, FloatArray
from lambdamart_kit.trees.binning import BinnedMatrix
from lambdamart_kit.trees.growing import grow
from lambdamart_kit.trees.histogram import make_layout
from lambdamart_kit.trees.parameters import TreeParameters
from lambdamart_kit.trees.quantising import FEWEST_TO_SAMPLE, ROWS_AT_ONCE, hash_rows
from lambdamart_kit.trees.splitting import BIN, FEATURE, MASK, NAN_LEFT, SPLIT_WIDTH
from lambdamart_kit.trees.state import (
    COUNT,
    LEAF_WIDTH,
    LEFT_CHILD,
    NODE_TOTAL,
    NODE_WIDTH,
    ROWS,
    STAGES,
    Data,
    Limits,
    Work,
)
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
        if n >= 2**31:
            raise ValueError(f"'X' must have fewer than 2**31 rows; got {n}")
        constraints = parameters.monotone_constraints
        if constraints and len(constraints) != n_features:
            raise ValueError(
                f"'monotone_constraints' must have one entry per feature, {n_features}; "
                f"got {len(constraints)}"
            )
        self._binned, self._queries, self._parameters = binned, queries, parameters
        self._n_threads = n_threads
        self._layout = make_layout(binned, n_threads)
        self._content = row_contents(binned, n_threads)
        self._direction = np.array(constraints or [0] * n_features, dtype=np.int64)
        self._all_rows = np.arange(n, dtype=np.int32)
        self._work = buffers(n, self._layout.n_slots, parameters.num_leaves, n_threads)

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
        rng = np.random.default_rng([parameters.seed, tree_index])
        seed = int(rng.integers(2**62))
        rows = sample_rows(self._queries, parameters.subsample, rng)
        n_nodes = 2 * parameters.num_leaves - 1
        allowed = sample_features(parameters, self._binned.columns.shape[0], n_nodes, rng)
        content = self._content
        if len(rows) < len(content):
            gradient, hessian, content = gradient[rows], hessian[rows], content[rows]
        data = Data(self._binned.columns, content, rows, gradient, hessian, allowed, self._direction)
        work = self._work._replace(scores=scores)
        work.arrivals[:] = 0
        run(grow, self._n_threads, self._layout, data, limits_of(parameters, seed, len(rows)), work)
        if work.result[0] < 0:
            raise bad_gradient(tree_index)
        tree = _as_tree(work, parameters)
        if len(rows) < len(self._all_rows):
            outside = np.delete(self._all_rows, rows)
            tree.add_to(scores, self._binned, rows=outside, n_threads=self._n_threads)
        return tree

    def stage_cycles(self) -> dict[str, int]:
        """Processor cycles of each stage of growing so far, on the thread that took most."""
        return dict(zip(STAGES, self._work.cycles.max(axis=0).tolist()))


def row_contents(binned: BinnedMatrix, n_threads: int) -> Array:
    """64-bit hash of each row's bins: what stochastic rounding draws from."""
    n_features, n = binned.columns.shape
    content = np.empty(n, dtype=np.uint64)
    multipliers = np.random.default_rng(0).integers(0, 2**64, n_features, dtype=np.uint64) | np.uint64(1)
    bounds = np.linspace(0, n, 4 * n_threads + 1).astype(np.intp)
    run_tasks(hash_rows, bounds, n_threads, binned.columns, multipliers, content)
    return content


def sample_rows(queries: Queries, share: float, rng: np.random.Generator) -> Array:
    """Rows of a `share` of the queries, int32; all rows in order where the share is 1."""
    if share >= 1.0:
        return np.arange(queries.n_samples, dtype=np.int32)
    chosen = rng.choice(queries.n_queries, max(1, round(share * queries.n_queries)), replace=False)
    return queries.rows(chosen).astype(np.int32)


def sample_features(
    parameters: TreeParameters, n_features: int, n_draws: int, rng: np.random.Generator
) -> Array:
    """Features allowed: a mask for each of `n_draws` when `colsample_bynode` draws for each, else one."""
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


def bad_gradient(tree_index: int) -> ValueError:
    """What to raise where no tree can be grown."""
    return ValueError(
        "the objective returned a gradient that is not finite, or a hessian that is negative or "
        f"not finite; tree {tree_index} cannot be grown"
    )


def limits_of(p: TreeParameters, seed: int, n_rows: int) -> Limits:
    """The parameters as the kernel takes them, for a tree on `n_rows`."""
    noise = float(p.mvs_noise) if n_rows >= FEWEST_TO_SAMPLE else 0.0
    return Limits(
        p.num_leaves, p.max_depth, p.min_child_samples, float(p.min_child_weight), float(p.min_split_gain),
        float(p.reg_lambda), float(p.reg_alpha), float(p.learning_rate), float(p.cat_smooth), float(p.cat_l2),
        p.max_cat_threshold, p.split_criterion == "least_squares", noise,
        any(p.monotone_constraints), seed,
    )  # fmt: skip


def buffers(n: int, n_slots: int, num_leaves: int, n_threads: int) -> Work:
    """Space to grow trees on `n` rows and histograms of `n_slots`; no scores yet."""
    T, L = n_threads, num_leaves
    return Work(
        arrivals=np.zeros(8 * (T + 1), dtype=np.int64),
        carried=np.empty(n, dtype=np.int64),
        moved=np.empty(n, dtype=np.int64),
        histograms=np.empty((L, n_slots), dtype=np.int64),  # pages that are never touched cost nothing
        partial=np.empty((T - 1, n_slots), dtype=np.int64),
        leaves=np.zeros((T, L, LEAF_WIDTH), dtype=np.int64),
        leaf_reals=np.zeros((T, L, 3)),
        offers=np.zeros((T, 2, SPLIT_WIDTH), dtype=np.int64),
        offer_gains=np.zeros((T, 8)),
        lefts=np.zeros((T, 8), dtype=np.int64),
        parts=np.zeros((T, 2, 8), dtype=np.int64),
        goes_left=np.empty((T, 256), dtype=np.uint8),
        scratch=np.empty((T, 256), dtype=np.int64),
        gains=np.empty((T, 256)),
        words=np.empty((T, ROWS_AT_ONCE), dtype=np.int64),
        shares=np.empty((T, ROWS_AT_ONCE)),
        peaks=np.zeros((T, 8)),
        sums=np.zeros((T, 8), dtype=np.int64),
        nodes=np.zeros((max(L - 1, 1), NODE_WIDTH), dtype=np.int64),
        node_gains=np.zeros(max(L - 1, 1)),
        leaf_sums=np.zeros((T, L, 2), dtype=np.int64),
        leaf_values=np.zeros((T, L, 2)),
        leaf_of_row=np.zeros(n, dtype=np.uint16),
        scores=np.empty(0),
        cycles=np.zeros((T, 8), dtype=np.int64),
        result=np.zeros(3),
    )


def _as_tree(work: Work, parameters: TreeParameters) -> Tree:
    n_leaves = int(work.result[0])
    gradient_scale, hessian_scale = work.result[1], work.result[2]
    nodes = work.nodes[: n_leaves - 1]
    totals = nodes[:, NODE_TOTAL]
    G, H = (totals >> 32) / gradient_scale, (totals & 0xFFFFFFFF) / hessian_scale
    return Tree(
        feature=nodes[:, FEATURE].copy(),
        threshold_bin=nodes[:, BIN].copy(),
        nan_left=nodes[:, NAN_LEFT].astype(bool),
        bins_left=np.ascontiguousarray(nodes[:, MASK : MASK + 4]).view(np.uint64),
        children=nodes[:, LEFT_CHILD : LEFT_CHILD + 2].copy(),
        gain=work.node_gains[: n_leaves - 1] * hessian_scale / gradient_scale**2,
        node_value=-parameters.learning_rate * G / np.maximum(H + parameters.reg_lambda, 1e-300),
        node_weight=H,
        node_count=nodes[:, ROWS].astype(np.intp),
        leaf_value=work.leaf_values[0, :n_leaves, 0].copy(),
        leaf_weight=work.leaf_values[0, :n_leaves, 1].copy(),
        leaf_count=work.leaves[0, :n_leaves, COUNT].astype(np.intp),
    )
