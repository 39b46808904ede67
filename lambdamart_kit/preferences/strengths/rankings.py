"""Rankings of items, with ties and with alternatives that nobody ranked, as flat arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.typing import Array, FloatArray, Ids, IndexArray
from lambdamart_kit.preferences.strengths.comparisons import check_rows, plain, warn_of_look_alikes
from lambdamart_kit.preferences.strengths.factorize import code_ids

_TIED = (set, frozenset, list)


@dataclass(frozen=True, eq=False)
class Rankings:
    """Rankings as flat arrays.

    Attributes
    ----------
    items : (n_items,) array
        Item ids, ascending.
    ptr : (n + 1,) intp
        Ranking r is in positions ``ptr[r]`` to ``ptr[r + 1]``, best first.
    item : (n_positions,) intp
        Item at each position.
    place : (n_positions,) intp
        Place of each position in its ranking, from 0; tied items share one. -1 for an alternative that was
        there and not ranked: it is below all places, in unknown order.
    count, sample_weight : (n,) float64
        Times a ranking was observed, and the weight of one observation.
    """

    items: Array
    ptr: IndexArray
    item: IndexArray
    place: IndexArray
    count: FloatArray
    sample_weight: FloatArray

    def __len__(self) -> int:
        return len(self.ptr) - 1

    @property
    def weight(self) -> FloatArray:
        """Total weight of each ranking, (n,)."""
        return self.count * self.sample_weight

    @property
    def ranking(self) -> IndexArray:
        """Ranking of each position, (n_positions,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.ptr))

    def tallies(self) -> tuple[FloatArray, FloatArray]:
        """Times each item was placed above each other, and times they tied, (n_items, n_items) each."""
        above = np.zeros((len(self.items), len(self.items)))
        tied = np.zeros_like(above)
        _tally(self.ptr, self.item, self.place, np.where(self.weight > 0, self.count, 0.0), above, tied)
        return above, tied


@kernel
def _tally(
    ptr: IndexArray,
    item: IndexArray,
    place: IndexArray,
    count: FloatArray,
    above: FloatArray,
    tied: FloatArray,
) -> None:
    for r in range(len(ptr) - 1):
        for p in range(ptr[r], ptr[r + 1]):
            if place[p] < 0:
                continue
            for q in range(p + 1, ptr[r + 1]):
                if place[p] == place[q]:
                    tied[item[p], item[q]] += count[r]
                    tied[item[q], item[p]] += count[r]
                else:
                    above[item[p], item[q]] += count[r]


def encode_rankings(
    rankings: Ids, alternatives: Ids = None, *, sample_weight: Any = None, counts: Any = None
) -> Rankings:
    """Rankings from lists of ids, or from a table of ranks; see :meth:`PlackettLuce.fit`.

    Raises
    ------
    ValueError
        If a ranking is empty, holds an item twice or a missing id, or ranks what was no alternative.
    """
    if isinstance(rankings, pd.DataFrame):
        if alternatives is not None:
            raise ValueError(
                "'alternatives' must be None with a table of ranks; leave unranked cells missing"
            )
        rows = _rows_of_ranks(rankings)
    else:
        rows = [_placed(ranking, row) for row, ranking in enumerate(_as_rows(rankings))]
    if not rows:
        raise ValueError("'rankings' must hold at least one ranking; got none")
    if alternatives is not None:
        _add_alternatives(rows, list(alternatives))
    ids = [item for row, _ in rows for item in row]
    items, codes, places, low = code_ids([_column(ids)])
    warn_of_look_alikes(items)
    item = places[0][codes[0] - low].astype(np.intp)
    lengths = np.array([len(row) for row, _ in rows])
    ptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.intp)
    place = np.array([p for _, row in rows for p in row], dtype=np.intp)
    bad = np.flatnonzero(item < 0)
    if len(bad):
        row = int(np.searchsorted(ptr, bad[0], side="right")) - 1
        raise ValueError(f"'rankings' must not hold missing ids; ranking {row} has one")
    weight, seen = (
        check_rows(sample_weight, len(rows), "sample_weight"),
        check_rows(counts, len(rows), "counts"),
    )
    ones = np.ones(len(rows))
    result = Rankings(
        items, ptr, item, place, ones if seen is None else seen, ones if weight is None else weight
    )
    _check_repeats(result)
    if not np.any(result.weight > 0):
        raise ValueError("'sample_weight' must leave at least one ranking with a weight above 0")
    return result


def _as_rows(rankings: Ids) -> Sequence[Any]:
    if isinstance(rankings, np.ndarray) and rankings.ndim != 2 and rankings.dtype.kind != "O":
        raise ValueError(f"'rankings' must have shape (n, n_ranked), best first; got {rankings.shape}")
    return rankings.tolist() if isinstance(rankings, np.ndarray) else list(rankings)


def _placed(ranking: Any, row: int) -> tuple[list[Any], list[int]]:
    """Items of one ranking, best first, and the place of each."""
    if isinstance(ranking, str) or not isinstance(ranking, Iterable):
        raise ValueError(f"'rankings' must hold one list of items each, best first; row {row} is {ranking!r}")
    items: list[Any] = []
    places: list[int] = []
    for place, entry in enumerate(ranking):
        group = list(entry) if isinstance(entry, _TIED) else [entry]
        items += group
        places += [place] * len(group)
    if not items:
        raise ValueError(f"'rankings' must not hold empty rankings; row {row} is one")
    return items, places


def _rows_of_ranks(table: pd.DataFrame) -> list[tuple[list[Any], list[int]]]:
    """Rankings from a table with a column an item and a row a ranking: 1 is best, missing is not ranked."""
    ranks = table.to_numpy(dtype=np.float64, na_value=np.nan)
    names = table.columns.to_numpy()
    rows = []
    for row, values in enumerate(ranks):
        known = np.flatnonzero(~np.isnan(values))
        if len(known) == 0:
            raise ValueError(f"'rankings' must not hold empty rankings; row {row} has no rank")
        order = known[np.argsort(values[known], kind="stable")]
        places = np.unique(values[order], return_inverse=True)[1]
        rows.append((names[order].tolist(), places.tolist()))
    return rows


def _add_alternatives(rows: list[tuple[list[Any], list[int]]], alternatives: list[Any]) -> None:
    if len(alternatives) != len(rows):
        raise ValueError(
            f"'alternatives' must hold one list for each of the {len(rows)} rankings; got {len(alternatives)}"
        )
    for number, ((items, places), offered) in enumerate(zip(rows, alternatives)):
        left = dict.fromkeys(offered)
        for item in items:
            if item not in left:
                raise ValueError(
                    f"'alternatives' must hold every ranked item; ranking {number} ranks {plain(item)!r}, "
                    "which is no alternative of it"
                )
            del left[item]
        items += list(left)
        places += [-1] * len(left)


def _column(ids: list[Any]) -> Any:
    """Ids as one array: of NumPy's own types where they are all alike, else of objects."""
    values = np.empty(len(ids), dtype=object)
    values[:] = ids
    kinds = {type(item) for item in ids}
    return np.asarray(ids) if len(kinds) == 1 and kinds <= {int, float} else values


def _check_repeats(rankings: Rankings) -> None:
    ranking = rankings.ranking
    order = np.lexsort((rankings.item, ranking))
    same = (np.diff(ranking[order]) == 0) & (np.diff(rankings.item[order]) == 0)
    if same.any():
        at = order[np.flatnonzero(same)[0]]
        raise ValueError(
            f"'rankings' must hold an item once each; ranking {ranking[at]} has "
            f"{plain(rankings.items[rankings.item[at]])!r} twice"
        )
