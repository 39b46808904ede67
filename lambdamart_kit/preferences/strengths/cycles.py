r"""How much of a set of comparisons goes round in circles: the Hodge decomposition of the comparison graph.

A flow :math:`Y_{ij} = -Y_{ji}` on the pairs of a graph, positive where j beats i, is the sum of three flows
that are orthogonal in :math:`\langle X, Y \rangle = \sum w_{ij} X_{ij} Y_{ij}`:

==========  =============================================================================================
gradient    :math:`s_j - s_i`: what strengths explain. ``s`` is the weighted least-squares fit.
curl        inconsistent round triangles of items that all met each other: rock, paper, scissors.
harmonic    inconsistent round longer cycles only, which no triangle fills.
==========  =============================================================================================

References
----------
Jiang, Lim, Yao and Ye (2011), "Statistical ranking and combinatorial Hodge theory", Mathematical Programming
127, theorem 3 and section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import pandas as pd
import scipy.linalg
import scipy.sparse
from scipy.sparse import csgraph
from scipy.sparse.linalg import lsqr

from lambdamart_kit.core.information import Information, laplacian, solve_sparse
from lambdamart_kit.core.typing import Array, BoolArray, FloatArray, IndexArray

MOST_TRIANGLES = 2_000_000
_DENSE_ITEMS = 1000  # items up to which a dense factorisation beats conjugate gradients
_EIGEN_PAIRS = 1000  # pairs up to which an eigendecomposition takes less than a second
_RIDGE_PAIRS = 4000  # pairs up to which a Cholesky factor does (128 MB); LSQR beyond converges slowly
_LSQR_STEPS = 2000
_RIDGE = 1e-6
_LONG_CYCLES = (
    20  # pairs through which a long cycle is looked for, those with the largest harmonic flow first
)
_NOTHING = 1e-20  # a share of the squared flow below this is rounding


@dataclass(frozen=True, eq=False)
class HodgeDecomposition:
    """A flow on pairs of items and its three parts.

    Attributes
    ----------
    items : (n_items,) array
        Item ids.
    first, second : (m,) intp
        Items of each pair, ``first < second``.
    flow, weight : (m,) float64
        Flow of each pair, positive where `second` beats `first`, and its weight (one over its variance).
    strengths : (n_items,) float64
        The strengths whose differences fit the flow best; they sum to zero in every connected component.
    gradient, cyclic : (m,) float64
        The part that `strengths` explain, and the rest.
    """

    items: Array
    first: IndexArray
    second: IndexArray
    flow: FloatArray
    weight: FloatArray
    strengths: FloatArray
    gradient: FloatArray
    cyclic: FloatArray

    @cached_property
    def _triangle_edges(self) -> IndexArray | None:
        return find_triangles(self.first, self.second, len(self.items))

    @property
    def triangles(self) -> IndexArray:
        """Every three items that all met each other, ascending, (t, 3); none where `separated` is false."""
        if self._triangle_edges is None:
            return np.empty((0, 3), dtype=np.intp)
        near, far = self._triangle_edges[:, 0], self._triangle_edges[:, 1]
        return np.column_stack([self.first[near], self.second[near], self.second[far]])

    @property
    def separated(self) -> bool:
        """False when there are too many triangles to tell curl from harmonic flow."""
        return self._triangle_edges is not None

    @cached_property
    def curl(self) -> FloatArray:
        """The part of `cyclic` that goes round triangles, (m,); NaN where `separated` is false."""
        edges = self._triangle_edges
        if edges is None:
            return np.full(len(self.flow), np.nan)
        n_items = len(self.items)
        if _fills_every_cycle(self.first, self.second, n_items):
            return self.cyclic
        return _curl_part(edges, self.cyclic, self.weight)

    @property
    def harmonic(self) -> FloatArray:
        """The part of `cyclic` that goes round longer cycles only, (m,); NaN where `separated` is false."""
        return self.cyclic - self.curl

    def squared(self, part: FloatArray) -> float:
        """Weighted sum of squares of a flow on the pairs."""
        return float(np.sum(self.weight * part**2))

    @property
    def shares(self) -> dict[str, float]:
        """Share of the squared flow of gradient, cyclic, curl and harmonic part; zeros for no flow at all."""
        total = self.squared(self.flow)
        parts = {name: getattr(self, name) for name in ("gradient", "cyclic", "curl", "harmonic")}
        return {name: self.squared(part) / total if total > 0 else 0.0 for name, part in parts.items()}

    @property
    def cyclicity(self) -> float:
        """Share of the squared flow that no strengths explain, from 0 to 1."""
        total = self.squared(self.flow)
        return self.squared(self.cyclic) / total if total > 0 else 0.0

    def worst_cycles(self, n_cycles: int = 5, *, triangles_only: bool = False) -> pd.DataFrame:
        r"""The cycles that contradict a single scale most clearly.

        All triangles are compared, and unless `triangles_only` the shortest cycle through each of the pairs
        that carry most of the harmonic flow.

        Returns
        -------
        DataFrame
            ``cycle`` ("paper > rock > scissors > paper": each beats the next), ``length``, ``log_odds`` (sum
            of the log-odds around it, 0 for consistent votes) and ``z``, that sum over its standard error
            :math:`\sqrt{\sum 1 / w}`. Largest ``z`` first.
        """
        found = self._worst_triangles(n_cycles)
        if not triangles_only:
            found += self._long_cycles()
        rows = []
        for cycle in {_canonical(cycle): None for cycle in found}:
            flows, variances = self._around(cycle)
            z = flows.sum() / np.sqrt(variances.sum())
            ordered = cycle if z >= 0 else (cycle[0], *cycle[:0:-1])
            names = [str(self.items[item]) for item in (*ordered, ordered[0])]
            rows.append((" > ".join(names), len(cycle), abs(flows.sum()), abs(z)))
        table = pd.DataFrame(rows, columns=["cycle", "length", "log_odds", "z"])
        return table.sort_values("z", ascending=False, kind="stable").head(n_cycles).reset_index(drop=True)

    def _around(self, cycle: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
        """Log-odds by which each item of a cycle beats the next, and their variances."""
        here, there = np.array(cycle), np.roll(cycle, -1)
        low, high = np.minimum(here, there), np.maximum(here, there)
        at = _find(self.first * len(self.items) + self.second, low * len(self.items) + high)[0]
        return np.where(here > there, self.flow[at], -self.flow[at]), 1.0 / self.weight[at]

    def _worst_triangles(self, n_cycles: int) -> list[tuple[int, ...]]:
        edges = self._triangle_edges
        if edges is None or len(edges) == 0:
            return []
        around = self.flow[edges[:, 0]] + self.flow[edges[:, 1]] - self.flow[edges[:, 2]]
        z = np.abs(around) / np.sqrt((1.0 / self.weight[edges]).sum(axis=1))
        # The worst few of many: what is below the last of them need not be sorted.
        least = np.partition(z, -n_cycles)[-n_cycles] if n_cycles < len(z) else 0.0
        rows = np.flatnonzero(z >= least)
        rows = rows[np.argsort(-z[rows], kind="stable")[:n_cycles]]
        return [
            (int(self.first[near]), int(self.second[near]), int(self.second[far]))
            for near, far, _ in edges[rows]
        ]

    def _long_cycles(self) -> list[tuple[int, ...]]:
        """Shortest cycles along the harmonic flow (along all cyclic flow where the two were not separated).

        Weighted cyclic flow goes into an item as it comes out, so every pair that carries some lies on a
        cycle whose pairs all carry flow in the same direction: breadth-first search finds the shortest.
        """
        part = self.harmonic if self.separated else self.cyclic
        carried = self.weight * part**2
        if carried.sum() <= _NOTHING * max(self.squared(self.flow), np.finfo(float).tiny):
            return []
        carries = carried > 1e-12 * carried.max()
        loser = np.where(part > 0, self.first, self.second)[carries]
        winner = np.where(part > 0, self.second, self.first)[carries]
        n_items = len(self.items)
        graph = scipy.sparse.csr_array((np.ones(len(winner)), (winner, loser)), shape=(n_items, n_items))
        cycles = []
        for pair in np.argsort(-carried[carries], kind="stable")[:_LONG_CYCLES]:
            start, end = int(loser[pair]), int(winner[pair])
            _, previous = csgraph.breadth_first_order(graph, start)
            path = [end]
            while path[-1] != start and previous[path[-1]] >= 0:
                path.append(int(previous[path[-1]]))
            if path[-1] == start:
                cycles.append(tuple(path[::-1]))
        return cycles


def hodge_decomposition(
    first: IndexArray,
    second: IndexArray,
    flow: FloatArray,
    weight: FloatArray,
    items: Array | None = None,
) -> HodgeDecomposition:
    """Split a flow on pairs of items into gradient, curl and harmonic flow.

    Parameters
    ----------
    first, second : (m,) intp
        Items of each pair, ``first < second``, every pair once.
    flow : (m,) float64
        Positive where `second` beats `first`, such as the log-odds of that.
    weight : (m,) float64
        Weight of each pair, above 0; one over the variance of its flow.
    items : (n_items,) array, optional
        Item ids; 0 to the largest index when left out.

    Returns
    -------
    HodgeDecomposition

    Examples
    --------
    Rock beats scissors, scissors beat paper, paper beats rock: all of it is curl.

    >>> hodge = hodge_decomposition(np.array([0, 0, 1]), np.array([1, 2, 2]), np.array([1.0, -1.0, 1.0]),
    ...                             np.ones(3), np.array(["paper", "scissors", "rock"]))
    >>> {name: round(share, 12) for name, share in hodge.shares.items()}
    {'gradient': 0.0, 'cyclic': 1.0, 'curl': 1.0, 'harmonic': 0.0}
    >>> hodge.worst_cycles()["cycle"].tolist()
    ['paper > rock > scissors > paper']
    """
    n_items = int(second.max(initial=-1)) + 1 if items is None else len(items)
    _check_lengths(first, second, flow, weight)
    order = np.lexsort((second, first))
    first, second = np.asarray(first)[order], np.asarray(second)[order]
    flow, weight = np.asarray(flow, dtype=np.float64)[order], np.asarray(weight, dtype=np.float64)[order]
    _check(first, second, flow, weight, n_items)
    strengths = potential(first, second, flow, weight, n_items)
    gradient = strengths[second] - strengths[first]
    cyclic = flow - gradient
    return HodgeDecomposition(
        np.arange(n_items) if items is None else items,
        first,
        second,
        flow,
        weight,
        strengths,
        gradient,
        cyclic,
    )


def potential(
    first: IndexArray,
    second: IndexArray,
    flow: FloatArray,
    weight: FloatArray,
    n_items: int,
    *,
    labels: IndexArray | None = None,
) -> FloatArray:
    r"""Strengths that minimise :math:`\sum w (s_j - s_i - Y_{ij})^2`, summing to zero in each component.

    The normal equations :math:`D^\top W D s = D^\top W Y` have the graph's weighted Laplacian on the left.
    `labels` are the graph's components where they are known.
    """
    labels = weak_components(first, second, n_items) if labels is None else labels
    sizes = np.bincount(labels)
    dense = n_items <= _DENSE_ITEMS
    matrix = laplacian(first, second, weight, n_items, sparse=not dense)
    if dense:
        # Each component's sum gets a curvature of its own: the solution then sums to zero in each.
        scale = max(float(np.trace(matrix)) / max(1, n_items), np.finfo(float).tiny)
        factor = Information(matrix + scale * (labels[:, None] == labels) / sizes[labels][:, None])
    strengths = np.zeros(n_items)
    # The second round takes out the rounding of the first, so that it needs few digits only.
    for tolerance in (1e-10, 1e-4):
        pull = weight * (flow - strengths[second] + strengths[first])
        right: FloatArray = np.bincount(second, pull, n_items).astype(np.float64)
        right -= np.bincount(first, pull, n_items)
        step = factor.solve(right) if dense else solve_sparse(matrix, right, tolerance=tolerance)
        strengths = strengths + step
        strengths -= (np.bincount(labels, strengths) / sizes)[labels]
    return strengths


def weak_components(first: IndexArray, second: IndexArray, n_items: int) -> IndexArray:
    """Connected component of each item, whoever won, (n_items,)."""
    graph = scipy.sparse.csr_array((np.ones(len(first)), (first, second)), shape=(n_items, n_items))
    labels: IndexArray = csgraph.connected_components(graph, directed=False)[1].astype(np.intp)
    return labels


def find_triangles(first: IndexArray, second: IndexArray, n_items: int) -> IndexArray | None:
    """Pairs (i, j), (j, k) and (i, k) of all triangles i < j < k, (t, 3); None if there may be too many.

    Pairs must be sorted by (first, second).
    """
    n_after = np.bincount(first, minlength=n_items)
    starts = np.concatenate(([0], np.cumsum(n_after)))
    # Each pair (i, j) is continued by every (j, k); a triangle is closed by (i, k).
    n_wedges = n_after[second]
    if n_wedges.sum() > MOST_TRIANGLES:
        return None
    base = np.repeat(np.arange(len(first)), n_wedges)
    within = np.arange(len(base)) - np.repeat(np.cumsum(n_wedges) - n_wedges, n_wedges)
    continued = starts[second[base]] + within
    closing, closed = _find(first * n_items + second, first[base] * n_items + second[continued])
    return np.column_stack([base, continued, closing])[closed]


def _find(sorted_codes: IndexArray, codes: IndexArray) -> tuple[IndexArray, BoolArray]:
    """Where each code stands in `sorted_codes`, and whether it does."""
    at = np.minimum(np.searchsorted(sorted_codes, codes), max(0, len(sorted_codes) - 1))
    return at, sorted_codes[at] == codes if len(sorted_codes) else np.zeros(len(codes), dtype=bool)


def _fills_every_cycle(first: IndexArray, second: IndexArray, n_items: int) -> bool:
    """Whether some item of each component met all others of it: its triangles then span every cycle."""
    labels = weak_components(first, second, n_items)
    degree = np.bincount(first, minlength=n_items) + np.bincount(second, minlength=n_items)
    largest = np.zeros(labels.max(initial=-1) + 1, dtype=np.intp)
    np.maximum.at(largest, labels, degree)
    return bool(np.all(largest == np.bincount(labels) - 1))


def _curl_part(edges: IndexArray, cyclic: FloatArray, weight: FloatArray) -> FloatArray:
    """Projection of the cyclic flow on the flows that triangles span, orthogonal in the weights.

    With C the curl of each triangle and A = W^(-1/2) C', it is W^(-1/2) times the projection of W^(1/2) R on
    the columns of A. They are scaled to length 1 first, which does not change what they span.
    """
    n_triangles = len(edges)
    if n_triangles == 0:
        return np.zeros_like(cyclic)
    root = np.sqrt(weight)
    entries = np.array([1.0, 1.0, -1.0]) / root[edges]
    entries /= np.sqrt((entries**2).sum(axis=1, keepdims=True))
    columns = np.repeat(np.arange(n_triangles), 3)
    A = scipy.sparse.csr_array((entries.ravel(), (edges.ravel(), columns)), shape=(len(cyclic), n_triangles))
    target = root * cyclic
    projected = np.zeros_like(target)
    project, n_rounds = _projection(A)
    for _ in range(n_rounds):  # each round takes out what the one before left
        projected += project(target - projected)
    return projected / root


def _projection(A: scipy.sparse.csr_array) -> tuple[Callable[[FloatArray], FloatArray], int]:
    """Projection on the columns of A, and how often to repeat it on what is left, by the number of rows."""
    n_rows = A.shape[0]
    if n_rows > _RIDGE_PAIRS:
        options = {"atol": 1e-12, "btol": 1e-12, "conlim": 0, "iter_lim": _LSQR_STEPS}
        return lambda b: A @ lsqr(A, b, **options)[0], 2
    gram = (A @ A.T).toarray()
    if n_rows <= _EIGEN_PAIRS:
        values, vectors = scipy.linalg.eigh(gram)
        basis = vectors[:, values > 1e-12 * max(1.0, values[-1])]
        return lambda b: basis @ (basis.T @ b), 2
    # G (G + e)^-1 leaves a share e / (lambda + e) of what lies along an eigenvector of G = A A': all of it
    # for lambda = 0, next to nothing for others.
    ridge = _RIDGE * max(float(np.trace(gram)) / n_rows, 1.0)
    factor = scipy.linalg.cho_factor(gram + ridge * np.eye(n_rows))
    return lambda b: gram @ scipy.linalg.cho_solve(factor, b), 5


def _canonical(cycle: tuple[int, ...]) -> tuple[int, ...]:
    """The same cycle from its smallest item, in the direction of its smaller neighbour."""
    at = cycle.index(min(cycle))
    forward = cycle[at:] + cycle[:at]
    backward = (forward[0], *forward[:0:-1])
    return min(forward, backward)


def _check_lengths(first: IndexArray, second: IndexArray, flow: FloatArray, weight: FloatArray) -> None:
    lengths = [len(first), len(second), len(flow), len(weight)]
    if len(set(lengths)) > 1:
        raise ValueError(
            "'first', 'second', 'flow' and 'weight' must be equally long; got lengths "
            f"{', '.join(map(str, lengths[:3]))} and {lengths[3]}"
        )


def _check(first: IndexArray, second: IndexArray, flow: FloatArray, weight: FloatArray, n_items: int) -> None:
    if len(first) and (first.min() < 0 or second.max() >= n_items or np.any(first >= second)):
        raise ValueError(
            f"'first' and 'second' must satisfy 0 <= first < second < {n_items}; turn such pairs round"
        )
    if any(a == b for a, b in pairwise(zip(first.tolist(), second.tolist()))):
        raise ValueError("'first' and 'second' must hold every pair once; add up the flows of a pair first")
    if not (np.isfinite(flow).all() and np.isfinite(weight).all() and np.all(weight > 0)):
        raise ValueError("'flow' must be finite and 'weight' finite and > 0; leave pairs without weight out")
