"""The utilities of the greedy maximiser: what an item adds now, from running numbers of what was chosen.

The package's docstring lists them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.core.greedy.task import COVERAGE, FACILITY, LOGDET, MAX_SUM, MMR, REDUNDANCY, Problem
from lambdamart_kit.core.typing import Array, FloatArray, IndexArray

# Sums may be taken in any order, so that they vectorise; the order still depends on the length alone.
_summing = kernel(fastmath={"reassoc", "contract"})


class State(NamedTuple):
    """Running numbers: what each item, row or topic has seen of the chosen items.

    Attributes
    ----------
    value : (n,) float64
        Of each item: nearest or summed similarity, distance, or ``z' H^-1 z``.
    seen : (n,) intp
        How many of the chosen items are in `value`.
    level : (n,) or (n_topics,) float64
        Best similarity of each row (FACILITY), or how much of each topic is uncovered (COVERAGE).
    basis : (k, d) float64
        ``H^-1 = I - basis' basis`` (LOGDET).
    projected : (n_vectors, k) float64
        Vectors along the basis, when items are differences (LOGDET).
    """

    value: FloatArray
    seen: IndexArray
    level: FloatArray
    basis: FloatArray
    projected: FloatArray


@inner
def start(task: Problem, k: int) -> State:
    """The running numbers before anything is chosen, with room for `k` choices."""
    n = len(task.modular)
    kind = task.kind
    value = np.zeros(n)
    n_levels = 0
    if kind == FACILITY:
        n_levels = n
    elif kind == COVERAGE:
        n_levels = task.vectors.shape[1]
    level = np.zeros(n_levels)
    # Topics start uncovered, each with its weight; rows start with similarity 0 to the nearest chosen item.
    if kind == COVERAGE:
        level[:] = 1.0
        if len(task.weight):
            level[:] = task.weight
    # With nothing chosen H is I, so z' H^-1 z is the squared length of z. Each choice then adds a row b to
    # the basis, and H^-1 = I - sum of b b'.
    basis = np.empty((k if kind == LOGDET else 0, task.vectors.shape[1]))
    projected = np.empty((len(task.vectors) if len(task.first) else 0, k))
    if kind == LOGDET:
        for i in range(n):
            value[i] = _squared_norm(task, i)
    return State(value, np.zeros(n, dtype=np.intp), level, basis, projected)


@kernel
def gain_of(task: Problem, state: State, items: IndexArray, n_chosen: int, i: int) -> float:
    """What item i would add to F now; brings its running number up to date."""
    kind = task.kind
    if kind == FACILITY:
        gain = _facility_gain(task, state.level, i)
    elif kind == COVERAGE:
        gain = _coverage_gain(task.vectors[i], state.level)
    else:
        # Catch up with the items that were chosen since item i was last looked at.
        value = state.value[i]
        for j in range(state.seen[i], n_chosen):
            if kind == LOGDET:
                value -= _along(task, state, i, j) ** 2
            elif kind == MMR:
                value = max(value, _similarity(task, items[j], i))
            elif kind == REDUNDANCY:
                value += max(_similarity(task, items[j], i), 0.0)
            else:
                value += _distance(task, items[j], i)
        state.value[i] = value
        state.seen[i] = n_chosen
        if kind == LOGDET:
            # Matrix determinant lemma: det(H + w z z') = det(H) (1 + w z' H^-1 z). Rounding may take the
            # quadratic form just below 0.
            weight = task.weight[i] if len(task.weight) else 1.0
            gain = np.log1p(weight * max(value, 0.0))
        else:
            # MAX_SUM gains the distances to the chosen items. MMR and
            # REDUNDANCY lose the similarities to them.
            gain = value if kind == MAX_SUM else -value
    return task.modular[i] + task.scale * gain


@kernel
def include(task: Problem, state: State, items: IndexArray, n_chosen: int, i: int) -> None:
    """Record that item i is the next choice; its running number is up to date."""
    items[n_chosen] = i
    if task.kind == FACILITY:
        _raise_levels(task, state.level, i)
    elif task.kind == COVERAGE:
        # The chance that no chosen item covers topic t.
        for t in range(len(state.level)):
            state.level[t] *= 1.0 - task.vectors[i, t]
    elif task.kind == LOGDET:
        _extend_basis(task, state, n_chosen, i)


@kernel
def _extend_basis(task: Problem, state: State, n_chosen: int, i: int) -> None:
    """``H^-1 - w u u' / (1 + w z' u)`` with ``u = H^-1 z`` (Sherman and Morrison), kept as one more row."""
    weight = task.weight[i] if len(task.weight) else 1.0
    # u = z - sum over rows b of the basis of (b' z) b, because H^-1 = I - basis' basis.
    row = state.basis[n_chosen]
    for c in range(len(row)):
        row[c] = _component(task, i, c)
    for j in range(n_chosen):
        along = _along(task, state, i, j)
        for c in range(len(row)):
            row[c] -= along * state.basis[j, c]
    # What is taken off H^-1 is b b' with b = u sqrt(w / (1 + w z' u)), where
    # z' u = z' H^-1 z is the item's running number.
    row *= np.sqrt(weight / (1.0 + weight * max(state.value[i], 0.0)))
    # Many items share few vectors, so each vector is projected on the new row once.
    for v in range(len(state.projected)):
        state.projected[v, n_chosen] = _dot(task.vectors[v], row)


@_summing
def _facility_gain(task: Problem, level: FloatArray, i: int) -> float:
    """By how much item i raises the squared similarity of the rows to what is chosen, in their weighted sum.

    The square is what keeps many weak similarities, which random directions have, from counting as much as
    the few strong ones of near-copies.
    """
    total = 0.0
    weighted = len(task.weight) > 0
    # Similarities are symmetric, so row i serves as column i, and
    # its numbers lie side by side in memory.
    if len(task.similarity) and weighted:
        row = task.similarity[i]
        for v in range(len(level)):
            nearest = max(row[v], level[v])
            total += task.weight[v] * (nearest - level[v]) * (nearest + level[v])
    elif len(task.similarity):
        row = task.similarity[i]
        for v in range(len(level)):
            nearest = max(row[v], level[v])
            total += (nearest - level[v]) * (nearest + level[v])
    else:
        for v in range(len(level)):
            nearest = max(_dot(task.vectors[v], task.vectors[i]), level[v])
            weight = task.weight[v] if weighted else 1.0
            total += weight * (nearest - level[v]) * (nearest + level[v])
    return total


@kernel
def _raise_levels(task: Problem, level: FloatArray, i: int) -> None:
    """Note for each row whether the chosen item i is the nearest so far."""
    for v in range(len(level)):
        level[v] = max(level[v], _similarity(task, i, v))


@_summing
def _coverage_gain(topics: Array, uncovered: FloatArray) -> float:
    """How much an item with these topics covers of what is still uncovered."""
    total = 0.0
    for t in range(len(uncovered)):
        # Of topic t, u_t = w_t prod(1 - p_jt) is uncovered. The item lowers that to u_t (1 - p_t), a gain
        # of u_t p_t.
        total += topics[t] * uncovered[t]
    return total


@kernel
def _similarity(task: Problem, i: int, j: int) -> float:
    """Similarity of two items: as given, or the inner product of their vectors."""
    if len(task.similarity):
        return float(task.similarity[i, j])
    return float(_dot(task.vectors[i], task.vectors[j]))


@kernel
def _distance(task: Problem, i: int, j: int) -> float:
    """Half the chord ``|z_i - z_j|``: a metric, and at most 1 between unit vectors."""
    if len(task.similarity):
        # |z_i - z_j|^2 = z_i' z_i + z_j' z_j - 2 z_i' z_j, which rounding may take just below 0.
        squared = task.similarity[i, i] + task.similarity[j, j] - 2.0 * task.similarity[i, j]
    else:
        squared = _squared_chord(task.vectors[i], task.vectors[j])
    return float(np.sqrt(max(squared, 0.0)) / 2.0)


@kernel
def _along(task: Problem, state: State, i: int, j: int) -> float:
    """Item i along row j of the basis."""
    if len(task.first):
        return float(state.projected[task.first[i], j] - state.projected[task.second[i], j])
    return float(_dot(task.vectors[i], state.basis[j]))


@kernel
def _component(task: Problem, i: int, c: int) -> float:
    """Component c of item i, which may be a difference of two vectors."""
    if len(task.first):
        return float(task.vectors[task.first[i], c] - task.vectors[task.second[i], c])
    return float(task.vectors[i, c])


@kernel
def _squared_norm(task: Problem, i: int) -> float:
    """Squared length of item i, which may be a difference of two vectors."""
    if len(task.first):
        return float(_squared_chord(task.vectors[task.first[i]], task.vectors[task.second[i]]))
    return float(_dot(task.vectors[i], task.vectors[i]))


@_summing
def _dot(a: Array, b: Array) -> float:
    total = 0.0
    for c in range(len(a)):
        total += np.float64(a[c]) * b[c]
    return total


@_summing
def _squared_chord(a: Array, b: Array) -> float:
    total = 0.0
    for c in range(len(a)):
        difference = np.float64(a[c]) - b[c]
        total += difference * difference
    return total
