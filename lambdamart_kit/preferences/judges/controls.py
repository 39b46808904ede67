"""Votes with what a leaderboard is to be controlled for: style, other covariates, and groups of votes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lambdamart_kit.core.typing import Array, FloatArray
from lambdamart_kit.preferences.judges.judged import style_differences
from lambdamart_kit.preferences.reading.facts import facts_of
from lambdamart_kit.preferences.reading.messages import as_text, is_conversation, turns
from lambdamart_kit.preferences.reading.records import RecordSource
from lambdamart_kit.preferences.reading.votes import read_votes

# Columns of the two responses, in the order in which they are looked for.
_RESPONSES = (
    ("response_a", "response_b"),
    ("conversation_a", "conversation_b"),
    ("answer_a", "answer_b"),
    ("response_1", "response_2"),
    ("response1", "response2"),
    ("chosen", "rejected"),
)


@dataclass(frozen=True, eq=False)
class ControlledVotes:
    """Arguments of :meth:`BradleyTerry.fit`.

    Attributes
    ----------
    pairs : DataFrame
        The two items of each vote.
    outcomes : (n,) array or None
    weight : (n,) float64 or None
    covariates : (n, q) DataFrame or None
    groups : (n,) array or None
    """

    pairs: pd.DataFrame
    outcomes: Array | None
    weight: FloatArray | None
    covariates: pd.DataFrame | None
    groups: Array | None


def read_controlled_votes(
    source: Any,
    *,
    columns: Mapping[str, str] | None = None,
    style: bool = False,
    covariates: Sequence[str] = (),
    groups: str | None = None,
) -> ControlledVotes:
    """Votes from a file, with covariates of each vote.

    Parameters
    ----------
    source, columns
        As in :func:`lambdamart_kit.preferences.reading.votes.read_votes`.
    style : bool
        Relative differences of length, headers, lists and bold text of the responses.
    covariates : list of str
        A column of differences, or ``FIRST:SECOND`` for the difference of two columns.
    groups : str, optional
        Column of what makes votes hang together.

    Raises
    ------
    ValueError
        If a column is not there or holds something else than numbers, or none is known to hold responses.
    """
    texts: tuple[str, ...] = _response_columns(source) if style else ()
    sides = [tuple(name.strip() for name in entry.split(":")) for entry in covariates]
    bad = [entry for entry, names in zip(covariates, sides) if len(names) > 2 or not all(names)]
    if bad:
        raise ValueError(f"'covariates' must be COLUMN or FIRST:SECOND; got {bad[0]!r}")
    wanted = [*texts, *(name for names in sides for name in names), *([] if groups is None else [groups])]
    votes = read_votes(source, columns=columns, keep=list(dict.fromkeys(wanted)))
    tables = []
    if style:
        first, second = [_counts(votes.columns[name]) for name in texts]
        tables.append(style_differences(first, second))
        if tables[0].empty:
            raise ValueError(
                f"the responses in {texts[0]!r} and {texts[1]!r} have the same style in every vote"
            )
    if sides:
        tables.append(pd.DataFrame({_label(names): _difference(votes.columns, names) for names in sides}))
    return ControlledVotes(
        votes.pairs,
        votes.outcomes,
        votes.weight,
        pd.concat(tables, axis=1) if tables else None,
        None if groups is None else votes.columns[groups].to_numpy(dtype=object),
    )


def _response_columns(source: Any) -> tuple[str, str]:
    names = list(source.columns) if isinstance(source, pd.DataFrame) else RecordSource(source).names()
    found = next((sides for sides in _RESPONSES if set(sides) <= set(names)), None)
    if found is None:
        known = "; ".join(f"{a} and {b}" for a, b in _RESPONSES)
        raise ValueError(f"'style' needs the texts of both responses, in {known}; have {', '.join(names)}")
    return found


def _counts(column: pd.Series) -> pd.DataFrame:
    return facts_of(_text(value, str(column.name), row) for row, value in enumerate(column))


def _text(value: Any, name: str, row: int) -> str:
    """The model's own words: a text, or the assistant's turns of a conversation."""
    if not is_conversation(value):
        return str(value)
    said = turns(value, name, row)
    return as_text([turn for turn in said if turn.role == "assistant"] or said)


def _label(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} - {names[1]}"


def _difference(frame: pd.DataFrame, names: tuple[str, ...]) -> FloatArray:
    sides = []
    for name in names:
        numbers = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64)
        bad = np.flatnonzero(~np.isfinite(numbers))
        if len(bad):
            raise ValueError(
                f"column {name!r} must hold finite numbers to be a covariate; vote {bad[0]} has "
                f"{frame[name].iloc[bad[0]]!r} ({len(bad)} such votes)"
            )
        sides.append(numbers)
    return sides[0] if len(sides) == 1 else sides[0] - sides[1]
