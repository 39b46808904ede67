"""What the greedy maximiser is given and returns: a utility over items, limits on the choice, a selection."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.core.typing import ArrayLike, Float32Array, FloatArray, IndexArray

FACILITY, COVERAGE, LOGDET, REDUNDANCY, MMR, MAX_SUM = range(6)
KINDS = {
    "facility": FACILITY,
    "coverage": COVERAGE,
    "logdet": LOGDET,
    "redundancy": REDUNDANCY,
    "mmr": MMR,
    "max-sum": MAX_SUM,
}

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
        Weight of each item's rank-one term (LOGDET), of each row to be covered (FACILITY) or of each topic
        (COVERAGE); ones when empty.
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
