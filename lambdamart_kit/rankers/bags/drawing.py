"""Which queries each bag learns from."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.core.typing import BoolArray, IndexArray

_MOST_DRAWS = 100  # tries for a bag that can learn; one is nearly always enough
_MOST_SEED = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Bag:
    """A draw of queries with replacement.

    Attributes
    ----------
    times : (n_queries,) intp
        How often each query was drawn.
    seed : int
        Of all that is random in the fit on it.
    """

    times: IndexArray
    seed: int

    def inside(self, rows: OrderedRows) -> OrderedRows:
        """The queries that were drawn, each once; its weight is multiplied by how often it was drawn."""
        drawn = self.times > 0
        part = rows.select(drawn)
        weight = np.repeat(self.times[drawn].astype(np.float64), part.queries.sizes)
        if part.sample_weight is not None:
            weight *= part.sample_weight
        return replace(part, sample_weight=weight)

    def outside(self, rows: OrderedRows) -> OrderedRows:
        """The queries that were not drawn; there may be none."""
        return rows.select(self.times == 0)


def draw_bags(
    rows: OrderedRows, n_bags: int, rng: np.random.Generator, *, stops_outside: bool = False
) -> list[Bag]:
    """Draw `n_bags` times as many queries as there are, with replacement.

    Every bag has a random stream of its own, so the first bags of ten are those of five. A draw depends on
    `rng` and on the sorted query ids, not on the order of the rows. A draw that leaves nothing to learn from
    is repeated.

    Parameters
    ----------
    rows : OrderedRows
        Training rows.
    n_bags : int
    rng : numpy Generator
    stops_outside : bool
        Whether each bag stops early by the queries outside of it. Then one of those must have a relevant
        document, for every goal.

    Raises
    ------
    ValueError
        If there are too few queries for that.
    """
    teaches = rows.comparable()
    starts = rows.queries.ptr[:-1]
    measures = rows.relevant()
    if rows.sample_weight is not None:
        has_weight = rows.sample_weight[starts] > 0
        teaches &= has_weight
        measures &= has_weight
    streams = rng.spawn(n_bags)
    return [_draw(teaches, measures if stops_outside else None, stream) for stream in streams]


def _draw(teaches: BoolArray, measures: BoolArray | None, rng: np.random.Generator) -> Bag:
    n = len(teaches)
    for _ in range(_MOST_DRAWS):
        times = np.bincount(rng.integers(n, size=n), minlength=n).astype(np.intp, copy=False)
        learns = teaches[times > 0].any() or not teaches.any()  # the fit says it where no query teaches
        if learns and (measures is None or measures[:, times == 0].any(axis=1).all()):
            return Bag(times, int(rng.integers(_MOST_SEED)))
    raise ValueError(
        "'n_bags' with 'early_stopping_rounds' needs queries to stop on that a bag did not draw, and queries "
        f"to learn from that it did; got {n} queries, {int(teaches.sum())} of them with different labels; "
        "pass X_val, y_val and qid_val, or set early_stopping_rounds=None"
    )
