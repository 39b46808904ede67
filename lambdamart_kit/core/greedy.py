r"""The lazy greedy maximiser: one routine for diversified re-ranking and for choosing pairs to annotate.

It maximises, one item at a time,

.. math:: F(A) = \sum_{i \in A} m_i + c \, U(A), \qquad |A| \le k

with a modular part m (relevance; zero when annotating) and a set utility U:

============ ========================================================== ========== ======== ===============
`kind`       U(A)                                                       submodular monotone greedy reaches
============ ========================================================== ========== ======== ===============
FACILITY     sum over rows v of max over i in A of sim(v, i)+           yes        yes      1 - (1 - 1/k)^k
COVERAGE     sum over topics t of w_t (1 - prod over i in A (1 - p_it)) yes        yes      1 - (1 - 1/k)^k
LOGDET       log det(I + sum over i in A of w_i z_i z_i')               yes        yes      1 - (1 - 1/k)^k
REDUNDANCY   - sum over pairs in A of sim(i, j)+                        yes        no       no bound
MMR          - sum over i in A of max over earlier j of sim(j, i)+      by gains   no       no bound
MAX_SUM      sum over pairs in A of abs(z_i - z_j) / 2                  super-     yes      1/2 (m halved)
============ ========================================================== ========== ======== ===============

``x+ = max(x, 0)``. What is not monotone should be allowed to stop early. The 1/2 of MAX_SUM holds when the
modular part is given at half its weight (Borodin, Lee and Ye 2012, theorem 1). MMR is a rule for the next
item rather than a set function: its sum depends on the order, but its gains only ever fall, so the same
routine serves it.

A submodular gain only ever falls as A grows, so a gain computed earlier bounds the gain now: `lazy`
re-evaluates an item only when its bound comes to the top (Minoux 1978), and picks exactly what plain greedy
picks, ties included (the lowest index wins). MAX_SUM's gains grow, so it always runs plain.

Items hold what they need from the chosen ones as running numbers and catch up when evaluated, so nothing of
size n x n is needed except a facility's similarity, and that only where it is quicker than the features.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.core.heap import heapify, pop, sift_down
from lambdamart_kit.core.typing import Array, ArrayLike, Float32Array, FloatArray, IndexArray

FACILITY, COVERAGE, LOGDET, REDUNDANCY, MMR, MAX_SUM = range(6)
KINDS = {
    "facility": FACILITY,
    "coverage": COVERAGE,
    "logdet": LOGDET,
    "redundancy": REDUNDANCY,
    "mmr": MMR,
    "max-sum": MAX_SUM,
}

# Sums may be taken in any order, so that they vectorise; the order still depends on the length alone.
_summing = kernel(fastmath={"reassoc", "contract"})

# Parts of a problem that are left out.
NO_FLOATS = np.empty(0)
NO_ITEMS = np.empty(0, dtype=np.intp)
NO_MATRIX = np.empty((0, 0))
NO_VECTORS = np.empty((0, 0), dtype=np.float32)


class Problem(NamedTuple):
    """What is maximised over items 0 .. n - 1; see :func:`problem` to make one.

    Attributes
    ----------
    kind : int
        One of the module's six.
    modular : (n,) float64
        Worth of each item by itself, already multiplied by whatever trades it off.
    scale : float
        Multiplies the utility (c).
    vectors : (n, d) float32
        Features (their inner product is the similarity), or topic probabilities for COVERAGE. Sums are
        taken in float64, so gains carry the error of float32 input and no more.
    similarity : (n, n) float64 or (0, 0)
        Used instead of the vectors when given.
    first, second : (n,) intp or (0,)
        When given, item i is the difference of two vectors, ``vectors[first[i]] - vectors[second[i]]``.
    weight : (n,) or (n_topics,) float64, or (0,)
        Weight of each item's rank-one term (LOGDET) or of each topic (COVERAGE); ones when empty.
    """

    kind: int
    modular: FloatArray
    scale: float
    vectors: Float32Array
    similarity: FloatArray
    first: IndexArray
    second: IndexArray
    weight: FloatArray


class Limits(NamedTuple):
    """What may be chosen; see :func:`limits` to make one."""

    k: int  # most items that are chosen
    lazy: bool
    allow_stop: bool  # stop where no gain is above 0, which only a utility that is not monotone needs
    group: IndexArray  # (n,) code of each item's group; empty where groups do not matter
    max_per_group: int
    cost: FloatArray  # (n,), or empty where items cost nothing
    budget: float  # largest sum of costs; infinite where there is none
    per_cost: bool


class Selection(NamedTuple):
    """What was chosen.

    Attributes
    ----------
    items : (m,) intp
        Chosen items, first choice first.
    gains : (m,) float64
        What each added to F when chosen.
    n_evaluations : int
        Gains computed after the first round; plain greedy computes about ``n k``.
    """

    items: IndexArray
    gains: FloatArray
    n_evaluations: int


class _State(NamedTuple):
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


def problem(
    kind: int,
    vectors: ArrayLike | None = None,
    *,
    modular: FloatArray | None = None,
    scale: float = 1.0,
    similarity: FloatArray | None = None,
    first: IndexArray | None = None,
    second: IndexArray | None = None,
    weight: FloatArray | None = None,
) -> Problem:
    """A :class:`Problem` with the parts that are left out empty (and `modular` zero)."""
    rows = NO_VECTORS if vectors is None else np.ascontiguousarray(vectors, dtype=np.float32)
    if similarity is not None:
        n_items = len(similarity)
    else:
        n_items = len(rows) if first is None else len(first)
    return Problem(
        kind,
        np.zeros(n_items) if modular is None else modular,
        float(scale),
        rows,
        NO_MATRIX if similarity is None else similarity,
        NO_ITEMS if first is None else first,
        NO_ITEMS if second is None else second,
        NO_FLOATS if weight is None else weight,
    )


def limits(
    k: int,
    *,
    lazy: bool = True,
    allow_stop: bool = False,
    group: IndexArray | None = None,
    max_per_group: int | None = None,
    cost: FloatArray | None = None,
    budget: float | None = None,
    per_cost: bool = False,
) -> Limits:
    """Limits on a selection.

    Parameters
    ----------
    k : int
        Most items to choose.
    lazy : bool
        Re-evaluate only items whose bound comes to the top. False evaluates all in every round.
    allow_stop : bool
        Stop when no item has a positive gain.
    group, max_per_group
        Group code of each item, (n,), and how many items of a group may be chosen.
    cost, budget
        Cost of each item, (n,), and the largest total cost; an item that no longer fits is passed over.
    per_cost : bool
        Choose by gain per cost instead of by gain.
    """
    return Limits(
        k=k,
        lazy=lazy,
        allow_stop=allow_stop,
        group=NO_ITEMS if group is None or max_per_group is None else group,
        max_per_group=0 if max_per_group is None else max_per_group,
        cost=NO_FLOATS if cost is None else cost,
        budget=np.inf if budget is None else float(budget),
        per_cost=per_cost,
    )


def maximise(task: Problem, limit: Limits, *, bounds: FloatArray | None = None) -> Selection:
    """Greedy maximisation of F under `limit`.

    Parameters
    ----------
    task : Problem
    limit : Limits
    bounds : (n,) float64, optional
        Upper bounds of the first gains (``m_i + c U({i})``). Without them every item is evaluated once.

    Returns
    -------
    Selection

    Examples
    --------
    Two topics; the second document repeats the first, so the third is worth more:

    >>> topics = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.5]])
    >>> chosen = maximise(problem(COVERAGE, topics), limits(2))
    >>> chosen.items.tolist(), chosen.gains.tolist()
    ([0, 2], [1.0, 0.5])

    References
    ----------
    Nemhauser, Wolsey, Fisher (1978), "An analysis of approximations for maximizing submodular set
    functions", Math. Programming 14. Minoux (1978), "Accelerated greedy algorithms for maximizing
    submodular set functions".
    """
    n_chosen_most = max(min(limit.k, len(task.modular)), 0)
    items = np.empty(n_chosen_most, dtype=np.intp)
    gains = np.empty(n_chosen_most)
    known = NO_FLOATS if bounds is None else bounds
    n_chosen, n_evaluations = maximise_into(task, limit, known, items, gains)
    return Selection(items[:n_chosen], gains[:n_chosen], n_evaluations)


@kernel
def maximise_into(
    task: Problem, limit: Limits, bounds: FloatArray, items: IndexArray, gains: FloatArray
) -> tuple[int, int]:
    """:func:`maximise` into `items` and `gains`, for callers that are kernels: (chosen, evaluations)."""
    n = len(task.modular)
    state = _start(task, len(items))
    stamp = np.zeros(n, dtype=np.intp)
    if len(bounds):
        # Bounds may be larger than the gains, so no item may be chosen by its bound alone: stamp -1 is the
        # number of no round, and an item is evaluated before it is chosen.
        bound = bounds.copy()
        stamp[:] = -1  # never evaluated
    else:
        bound = first_gains(task)
    if limit.per_cost:
        # A bound on the gain, divided by the cost, bounds the gain per cost, so the lazy rule still holds.
        bound /= limit.cost
    # The heap is built in O(n): each item that has children sinks to its place, from the last to the first.
    heap = np.arange(n)
    heapify(heap, n, bound)
    # Chosen items of each group.
    counts = np.zeros(limit.group.max() + 1 if len(limit.group) else 0, dtype=np.intp)
    size = n
    n_chosen = 0
    n_evaluations = 0
    left = limit.budget
    lazy = limit.lazy and task.kind != MAX_SUM
    # `bound` holds the gain each item had when it was last evaluated, and `stamp` how many items were chosen
    # then. The item on top of the heap is chosen if its gain is up to date, that is, if its stamp is the
    # number of items chosen. If not, it is evaluated and sinks to its place. Plain greedy evaluates all items
    # whenever the top is out of date.
    while n_chosen < len(items) and size > 0:
        if not lazy and stamp[heap[0]] != n_chosen:
            for place in range(size):
                i = heap[place]
                bound[i] = _gain(task, state, items, n_chosen, i) / (limit.cost[i] if limit.per_cost else 1.0)
                stamp[i] = n_chosen
            n_evaluations += size
            # Every key has changed, so the heap is built anew: O(n), like the evaluations before it.
            heapify(heap, size, bound)
        # An item whose group is full, or that costs more than is left, can no longer be chosen.
        best = heap[0]
        full = len(counts) > 0 and counts[limit.group[best]] >= limit.max_per_group
        if full or (len(limit.cost) > 0 and limit.cost[best] > left):
            size = pop(heap, size, bound)
            continue
        if stamp[best] != n_chosen:
            gain = _gain(task, state, items, n_chosen, best)
            bound[best] = gain / (limit.cost[best] if limit.per_cost else 1.0)
            stamp[best] = n_chosen
            n_evaluations += 1
            sift_down(heap, size, 0, bound)
            continue
        # The top's gain is up to date, and no bound is higher: plain greedy would choose the same item.
        if limit.allow_stop and bound[best] <= 0:
            break
        size = pop(heap, size, bound)
        gains[n_chosen] = bound[best] * (limit.cost[best] if limit.per_cost else 1.0)
        _include(task, state, items, n_chosen, best)
        n_chosen += 1
        if len(counts):
            counts[limit.group[best]] += 1
        if len(limit.cost):
            left -= limit.cost[best]
    return n_chosen, n_evaluations


@kernel
def first_gains(task: Problem) -> FloatArray:
    """What each item would add to F as the first choice, (n,)."""
    n = len(task.modular)
    nothing = np.empty(0, dtype=np.intp)
    state = _start(task, 0)
    singles = np.empty(n)
    for i in range(n):
        singles[i] = _gain(task, state, nothing, 0, i)
    return singles


@inner
def _start(task: Problem, k: int) -> _State:
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
    return _State(value, np.zeros(n, dtype=np.intp), level, basis, projected)


@kernel
def _gain(task: Problem, state: _State, items: IndexArray, n_chosen: int, i: int) -> float:
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
def _include(task: Problem, state: _State, items: IndexArray, n_chosen: int, i: int) -> None:
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
def _extend_basis(task: Problem, state: _State, n_chosen: int, i: int) -> None:
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
    """By how much item i is nearer to the rows than all chosen items, summed over the rows."""
    total = 0.0
    if len(task.similarity):
        # Similarities are symmetric, so row i serves as column i, and
        # its numbers lie side by side in memory.
        row = task.similarity[i]
        for v in range(len(level)):
            total += max(row[v] - level[v], 0.0)
    else:
        for v in range(len(level)):
            total += max(_dot(task.vectors[v], task.vectors[i]) - level[v], 0.0)
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
def _along(task: Problem, state: _State, i: int, j: int) -> float:
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
