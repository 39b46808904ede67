"""Rankings and choices of the best, from files: what `PlackettLuce.fit` takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lambdamart_kit.core.typing import Array, FloatArray
from lambdamart_kit.files.records import Record
from lambdamart_kit.preferences.reading.records import RecordSource
from lambdamart_kit.preferences.reading.values import RowError, is_missing, number, required, shown

ROLES = ("ranking", "choice", "alternatives", "ballot", "item", "rank", "weight", "groups")


@dataclass(frozen=True, eq=False)
class RankingTable:
    """Arguments of :meth:`PlackettLuce.fit`.

    Attributes
    ----------
    rankings : list of lists
        Items of each ranking, best first; a list in the place of an item holds items that tie.
    alternatives : list of lists or None
        All items that were there for each ranking.
    weight : (n,) float64 or None
    groups : (n,) array or None
    """

    rankings: list[list[Any]]
    alternatives: list[list[Any]] | None
    weight: FloatArray | None
    groups: Array | None


def read_rankings(
    source: Any, *, columns: Mapping[str, str] | None = None, wide: bool = False
) -> RankingTable:
    """Rankings from files, a DataFrame or any records, in one of four layouts.

    - ``ranking``: the items of a row, best first: a list (a list in it holds items that tie), or text such as
      ``"b > a = c"``. With ``alternatives`` (a list, or ``"a | b | c | d"``) those not ranked are below all
      that are.
    - ``choice`` and ``alternatives``: which one was chosen of which.
    - ``ballot``, ``item`` and ``rank``: an item of a ranking a row; 1 is the best, equal ranks tie.
    - `wide`: a column an item and a ranking a row, with ranks as values; an empty cell was not ranked.

    Parameters
    ----------
    source : see :class:`lambdamart_kit.preferences.reading.records.RecordSource`
    columns : mapping of str to str, optional
        Roles ranking, choice, alternatives, ballot, item, rank, weight and groups to columns of the file; by
        default the columns of these names.
    wide : bool
        Whether each column but those of weight and groups is an item.

    Raises
    ------
    ValueError
        If the columns are of no layout, or a row does not fit; the message names the row.

    Examples
    --------
    >>> read_rankings([{"ranking": "b > a = c"}, {"ranking": ["a", "b"]}]).rankings
    [['b', ['a', 'c']], ['a', 'b']]
    """
    named = dict(columns or {})
    unknown = [role for role in named if role not in ROLES]
    if unknown:
        raise ValueError(f"'columns' must name roles out of {', '.join(ROLES)}; got {unknown[0]!r}")
    records = RecordSource(source)
    rows = list(records)
    names = list(dict.fromkeys(name for row in rows for name in row))
    for column in named.values():
        if column not in names:
            raise ValueError(f"no column {column!r}; have {', '.join(names)}")
    # Weight and groups have to be named in a wide table: an item may be called so.
    of = {role: named.get(role, role) for role in ROLES if role in named or (role in names and not wide)}
    try:
        return _read(rows, of, names, wide=wide)
    except RowError as error:
        raise ValueError(f"{records.place(error.row)}: {error.problem}") from None


def _read(rows: list[Record], of: dict[str, str], names: list[str], *, wide: bool) -> RankingTable:
    if wide:
        others = {of[role] for role in ("weight", "groups") if role in of}
        items = [name for name in names if name not in others]
        return _with_rest([_of_ranks(row, number, items) for number, row in enumerate(rows)], None, rows, of)
    if "ranking" in of:
        rankings = [_ranking(row, of["ranking"], number) for number, row in enumerate(rows)]
        return _with_rest(rankings, _alternatives(rows, of), rows, of)
    if {"choice", "alternatives"} <= set(of):
        chosen = [[required(row, of["choice"], number)] for number, row in enumerate(rows)]
        return _with_rest(chosen, _alternatives(rows, of), rows, of)
    if {"ballot", "item", "rank"} <= set(of):
        return _of_ballots(rows, of)
    raise ValueError(
        "the columns must hold ranking; or choice and alternatives; or ballot, item and rank; or ranks in a "
        f"column for each item (wide=True, on the command line --wide); got the columns {', '.join(names)}; "
        "name them with columns={'ranking': ...} (--columns ranking=...)"
    )


def _ranking(row: Record, name: str, at: int) -> list[Any]:
    """Items of one ranking, best first."""
    value = required(row, name, at)
    if isinstance(value, str):
        places = [[item.strip() for item in place.split("=")] for place in value.split(">")]
        if not all(item for place in places for item in place):
            raise RowError(at, f"{name!r} must be items such as 'b > a = c'; got {shown(value)}")
        return [place[0] if len(place) == 1 else place for place in places]
    if not isinstance(value, list | tuple | np.ndarray):
        raise RowError(at, f"{name!r} must be a list of items or text; got {shown(value)}")
    return [list(item) if isinstance(item, tuple | np.ndarray) else item for item in value]


def _alternatives(rows: list[Record], of: dict[str, str]) -> list[list[Any]] | None:
    """All items that were there for each ranking."""
    if "alternatives" not in of:
        return None
    name = of["alternatives"]
    found = []
    for at, row in enumerate(rows):
        value = required(row, name, at)
        if isinstance(value, str):
            value = [item.strip() for item in value.split("|")]
        if not isinstance(value, list | tuple | np.ndarray) or any(is_missing(item) for item in value):
            raise RowError(
                at, f"{name!r} must be a list of items, or text as 'a | b | c'; got {shown(value)}"
            )
        found.append(list(value))
    return found


def _of_ranks(row: Record, at: int, items: list[str]) -> list[Any]:
    """The ranking of a row with a rank for each item."""
    ranked = {item: number(row[item], item, at) for item in items if not is_missing(row.get(item))}
    if not ranked:
        raise RowError(at, "a ranking must hold a rank at least; all are empty")
    return _by_rank(ranked)


def _by_rank(ranked: dict[Any, float]) -> list[Any]:
    """Items by ascending rank; those of one rank in a list."""
    places: dict[float, list[Any]] = {}
    for item, rank in ranked.items():
        places.setdefault(rank, []).append(item)
    return [items[0] if len(items) == 1 else items for _, items in sorted(places.items())]


def _of_ballots(rows: list[Record], of: dict[str, str]) -> RankingTable:
    """Rankings of a table with an item a row; weight and groups are those of a ballot's first row."""
    ballots: dict[Any, dict[Any, float]] = {}
    first: dict[Any, Record] = {}
    for at, row in enumerate(rows):
        ballot = required(row, of["ballot"], at)
        item = required(row, of["item"], at)
        ranked = ballots.setdefault(ballot, {})
        if item in ranked:
            raise RowError(at, f"{of['item']!r} must be there once in a ballot; {shown(item)} is there again")
        ranked[item] = number(row.get(of["rank"]), of["rank"], at)
        first.setdefault(ballot, row)
    return _with_rest([_by_rank(ranked) for ranked in ballots.values()], None, list(first.values()), of)


def _with_rest(
    rankings: list[list[Any]], alternatives: list[list[Any]] | None, rows: list[Record], of: dict[str, str]
) -> RankingTable:
    weight = groups = None
    if "weight" in of:
        name = of["weight"]
        values = [number(row.get(name), name, at, low=0.0, default=1.0) for at, row in enumerate(rows)]
        weight = np.array(values)
    if "groups" in of:
        groups = pd.Series([required(row, of["groups"], at) for at, row in enumerate(rows)]).to_numpy()
    return RankingTable(rankings, alternatives, weight, groups)
