"""Votes for a leaderboard: two items, an outcome and nothing else is decoded."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lambdamart_kit.core.typing import Array, FloatArray, IndexArray
from lambdamart_kit.files.records import RECORD_FORMATS, record_format
from lambdamart_kit.preferences.reading.labelled import one_hot_outcome
from lambdamart_kit.preferences.reading.records import RecordSource
from lambdamart_kit.preferences.reading.values import RowError, number

# Two columns of items, in the order in which they are looked for.
_SIDES = (
    ("model_a", "model_b"),
    ("left", "right"),
    ("model_x", "model_y"),
    ("home_team", "away_team"),
    ("chosen_model", "rejected_model"),
    ("chosen", "rejected"),
    ("winner", "loser"),
)
_IMPLIED = (("chosen_model", "rejected_model"), ("chosen", "rejected"), ("winner", "loser"))
_ONE_HOT = ("winner_model_a", "winner_model_b", "winner_tie")
_GOALS = ("home_score", "away_score")
# Results of football as tables write them. "A" is the away team there, and not the first of two.
_FOOTBALL = {"h": 1.0, "d": 0.5, "a": 0.0}


@dataclass(frozen=True, eq=False)
class VoteTable:
    """Comparisons between items.

    Attributes
    ----------
    pairs : DataFrame
        Two columns, the first and the second item of each vote.
    outcomes : (n_votes,) array or None
        For the first item, as :meth:`BradleyTerry.fit` takes them; None if the first item always won.
    weight : (n_votes,) float64 or None
        Column ``weight``, if there is one.
    columns : DataFrame
        The columns asked for with `keep`.
    rows : (n_votes,) intp
        Row of the source of each vote: games that were not played are left out.
    """

    pairs: pd.DataFrame
    outcomes: Array | None
    weight: FloatArray | None
    columns: pd.DataFrame
    rows: IndexArray


def read_votes(
    source: Any, *, columns: Mapping[str, str] | None = None, keep: Sequence[str] = ()
) -> VoteTable:
    """Votes from a file, a DataFrame or any records. Only the columns needed are decoded.

    The outcome is in the column ``winner``, in the columns ``winner_model_a``, ``winner_model_b`` and
    ``winner_tie``, in the goals of home and away team, or in the order of ``chosen`` and ``rejected`` or
    ``winner`` and ``loser`` (with ``target``, if there is one). Otherwise `columns` must name it: an
    outcome is never assumed.

    Parameters
    ----------
    source : see :class:`lambdamart_kit.preferences.reading.records.RecordSource`
    columns : mapping of str to str, optional
        Roles ``first``, ``second``, ``outcome`` and ``weight`` to columns of the file.
    keep : sequence of str
        Other columns to return.

    Raises
    ------
    ValueError
        If a column is not there, no column is known to hold the outcome, or an outcome is unknown.

    Examples
    --------
    >>> votes = read_votes([{"model_a": "x", "model_b": "y", "winner": "model_b"}])
    >>> votes.pairs.values.tolist(), votes.outcomes.tolist()
    ([['x', 'y']], ['model_b'])
    """
    named = dict(columns or {})
    unknown = [role for role in named if role not in ("first", "second", "outcome", "weight")]
    if unknown:
        raise ValueError(
            f"'columns' must name the roles first, second, outcome and weight; got {unknown[0]!r}"
        )
    records = RecordSource(source)
    if records.paths is None and not isinstance(source, pd.DataFrame):
        source = pd.DataFrame(list(records))
        records = RecordSource(source)
    names = records.names()
    for column in (*named.values(), *keep):
        if column not in names:
            raise ValueError(f"no column {column!r}; have {', '.join(names)}")
    first, second = _sides(named, names)
    outcome = _outcome_columns(named, names, (first, second))
    weight = named.get("weight", "weight" if "weight" in names else None)
    repeated = [name for name in (first, second, *outcome) if name not in keep]
    needed = [first, second, *outcome, *([] if weight is None else [weight]), *keep]
    frame = read_frame(source, records, list(dict.fromkeys(needed)), repeated)
    played = np.ones(len(frame), dtype=bool)
    if tuple(outcome) == _GOALS:
        frame, played = _played(frame)
    return VoteTable(
        frame[[first, second]],
        _outcomes(frame, (first, second), outcome),
        None if weight is None else _weights(frame[weight], weight),
        frame[list(keep)],
        np.flatnonzero(played),
    )


def _sides(named: Mapping[str, str], names: list[str]) -> tuple[str, str]:
    if "first" in named and "second" in named:
        return named["first"], named["second"]
    if "first" in named or "second" in named:
        raise ValueError(f"'columns' must name both 'first' and 'second'; got {dict(named)}")
    sides = next((s for s in _SIDES if set(s) <= set(names)), None)
    if sides is None:
        raise ValueError(
            "no columns are known to hold the two items; name the columns with columns={'first': ..., "
            "'second': ..., 'outcome': ...} (--columns first=...,second=...,outcome=...); have "
            + ", ".join(names)
        )
    return sides


def _outcome_columns(named: Mapping[str, str], names: list[str], sides: tuple[str, str]) -> list[str]:
    """Columns that hold the outcome; none where the first item is known to have won."""
    if "outcome" in named:
        return [named["outcome"]]
    if sides in _IMPLIED:
        return ["target"] if "target" in names else []
    if "winner" in names and "winner" not in sides:
        return ["winner"]
    one_hot = [name for name in _ONE_HOT if name in names]
    if set(_ONE_HOT[:2]) <= set(one_hot):
        return one_hot
    if set(_GOALS) <= set(names) and sides == ("home_team", "away_team"):
        return list(_GOALS)
    raise ValueError(
        f"no column is known to hold the outcome between {sides[0]!r} and {sides[1]!r}, and an outcome is "
        f"never "
        "assumed; name it with columns={'outcome': ...} (--columns outcome=...); have " + ", ".join(names)
    )


def read_frame(
    source: Any, records: RecordSource, wanted: list[str], repeated: Sequence[str] = ()
) -> pd.DataFrame:
    """Some columns of a source as a DataFrame; of Parquet files only these are decoded.

    Texts of the columns `repeated` may come as categories: Parquet holds few texts of many rows as codes,
    and keeping those codes reads 60,000 votes in half the time.
    """
    if isinstance(source, pd.DataFrame):
        return source[wanted].reset_index(drop=True)
    if records.paths is not None and all(
        record_format(path) is RECORD_FORMATS["parquet"] for path in records.paths
    ):
        parts = [_parquet_frame(path, wanted, repeated) for path in records.paths]
        return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
    return pd.DataFrame(list(RecordSource(source, wanted)), columns=wanted)


def _parquet_frame(path: Path, wanted: list[str], repeated: Sequence[str]) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(path, memory_map=True)
    texts = (pa.string(), pa.large_string())
    coded = [name for name in repeated if schema.field(name).type in texts]
    table = pq.read_table(path, columns=wanted, memory_map=True, read_dictionary=coded)
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _outcomes(frame: pd.DataFrame, sides: tuple[str, str], outcome: list[str]) -> Array | None:
    if not outcome:
        return None
    if tuple(outcome) == _GOALS:
        return (np.sign(frame[_GOALS[0]] - frame[_GOALS[1]]).to_numpy() + 1) / 2
    if len(outcome) > 1:
        return _numbered(frame[outcome].to_dict("records"), one_hot_outcome)
    column = frame[outcome[0]]
    if column.dtype.kind in "biuf":
        return column.to_numpy()
    # A column of votes has few words: they are looked at, and not every row.
    code, labels = pd.factorize(column, use_na_sentinel=False)
    words = np.asarray(labels, dtype=object)
    won = _football(words, sides)
    if won is not None:
        return won[code]
    return _labels_or_numbers(words, code, frame, sides, outcome[0])


def _numbered(values: list[Any], read: Callable[[Any, int], float]) -> FloatArray:
    try:
        return np.array([read(value, row) for row, value in enumerate(values)], dtype=np.float64)
    except RowError as error:
        raise ValueError(str(error)) from None


def _football(labels: Array, sides: tuple[str, str]) -> FloatArray | None:
    """Outcome of each label: H, D and A. A column of A's alone is one only between home and away teams."""
    words = [str(label).strip().lower() for label in labels]
    if not set(words) <= set(_FOOTBALL) or not ("h" in words or sides == ("home_team", "away_team")):
        return None
    return np.array([_FOOTBALL[word] for word in words], dtype=np.float64)


def _labels_or_numbers(
    labels: Array, code: IndexArray, frame: pd.DataFrame, sides: tuple[str, str], name: str
) -> Array:
    """Text as labels, or as numbers where it can only be that: CSV holds text only."""
    numbers = pd.to_numeric(pd.Series(labels), errors="coerce")
    column = labels[code]
    if not numbers.between(0, 1).all():
        return column
    said = np.array([str(label) for label in labels], dtype=object)[code]
    first = frame[sides[0]].astype(str).to_numpy(dtype=object)
    second = frame[sides[1]].astype(str).to_numpy(dtype=object)
    values = _numbered(column.tolist(), lambda value, row: number(value, name, row, low=0.0, high=1.0))
    names_winner = (said == first) | (said == second)
    if not names_winner.all():
        return values
    # Items called 0 and 1: is "1" the item that won, or does it say that the first one did?
    differs = np.flatnonzero((said == first) != (values == 1))
    if len(differs):
        row = differs[0]
        raise ValueError(
            f"{name!r} may be the winner's name or a number (1: the first item won); row {row} has "
            f"{said[row]!r} "
            f"for {first[row]!r} against {second[row]!r}; write 'model_a' or 'model_b' instead"
        )
    return values


def _played(frame: pd.DataFrame) -> tuple[pd.DataFrame, Array]:
    """Games with a result; a game without goals was not played."""
    scores = frame[list(_GOALS)].apply(pd.to_numeric, errors="coerce")
    played = scores.notna().all(axis=1).to_numpy()
    return frame.assign(**{name: scores[name] for name in _GOALS})[played].reset_index(drop=True), played


def _weights(column: pd.Series, name: str) -> FloatArray:
    if column.dtype.kind in "iuf":
        return column.fillna(1.0).to_numpy(np.float64)
    return _numbered(column.tolist(), lambda value, row: number(value, name, row, low=0.0, default=1.0))
