"""Whole files of pairs, a batch at a time: score them, filter them, count their votes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from lambdamart_kit.core.typing import BoolArray
from lambdamart_kit.preferences.audit import audit
from lambdamart_kit.preferences.pairs import PreferencePairs
from lambdamart_kit.preferences.reading.records import Record, read_records
from lambdamart_kit.preferences.reward import RewardModel

_BATCH = 2048
_SIDES = (
    ("model_a", "model_b"),
    ("left", "right"),
    ("chosen", "rejected"),
    ("home_team", "away_team"),
    ("winner", "loser"),
)
_ADDED = ("scores_chosen", "scores_rejected", "results", "margin", "probability")


def score_records(
    model: RewardModel, source: Any, *, progress: Callable[[int], None] = lambda n_rows: None
) -> Iterator[Record]:
    """Rows of `source`, each with the columns of :meth:`RewardModel.score_pairs` added, one batch in memory.

    Parameters
    ----------
    model : RewardModel
        Fitted on texts.
    source : path, DataFrame, data set or iterable of mappings
        One pair a row.
    progress : callable
        Told the number of rows after each batch.

    Raises
    ------
    ValueError
        If rows are not pairs, such as rated responses.
    """
    for start, batch in _batches(source):
        table = _scores(model, batch, start)
        for record, scores in zip(batch, table.to_dict("records")):
            yield {**record, **{name: scores[name] for name in _ADDED}}
        progress(len(batch))


def keep_mask(
    source: Any,
    *,
    model: RewardModel | None = None,
    min_probability: float = 0.0,
    drop: Iterable[str] = (),
    progress: Callable[[int], None] = lambda n_rows: None,
) -> BoolArray:
    """Which rows to keep: probable enough under `model`, and without the audit's problems named in `drop`.

    `drop` reads the texts of the whole file, `model` a batch at a time.

    Raises
    ------
    ValueError
        If a name in `drop` is no problem that the audit looks for.
    """
    kept: list[BoolArray] = []
    for start, batch in _batches(source):
        probable = np.ones(len(batch), dtype=bool)
        if model is not None:
            probable = _scores(model, batch, start)["probability"].to_numpy() >= min_probability
        kept.append(probable)
        progress(len(batch))
    mask = np.concatenate(kept) if kept else np.empty(0, dtype=bool)
    unwanted = list(drop)
    if unwanted:
        rows = audit(PreferencePairs.read(source)).rows
        for name in unwanted:
            if name not in rows:
                raise ValueError(f"'drop' must be one of {', '.join(map(repr, rows))}; got {name!r}")
            mask[rows[name]] = False
    return mask


def filter_records(source: Any, mask: BoolArray) -> Iterator[Record]:
    """Rows of `source` where `mask` is true."""
    return itertools.compress(read_records(source), mask)


def votes(
    source: Any, *, first: str | None = None, second: str | None = None, winner: str | None = None
) -> tuple[pd.DataFrame, Any]:
    """Items of each comparison (two columns), and its outcomes, from a file of votes.

    Parameters
    ----------
    first, second, winner : str, optional
        Columns; by default model_a and model_b, left and right, chosen and rejected, or home_team and
        away_team, and "winner". Without a winner column the scores of home and away team decide, or the first
        item won.

    Raises
    ------
    ValueError
        If the columns are not there.
    """
    frame = pd.DataFrame(read_records(source))
    if first is None or second is None:
        sides = next((s for s in _SIDES if set(s) <= set(frame.columns)), None)
        if sides is None:
            raise ValueError(
                f"name the columns of the two items with 'first' and 'second'; have {list(frame.columns)}"
            )
        first, second = sides
    absent = [name for name in (first, second, winner) if name is not None and name not in frame]
    if absent:
        raise ValueError(f"no column {absent[0]!r}; have {list(frame.columns)}")
    pairs = frame[[first, second]]
    if winner is None and "winner" in frame and "winner" not in (first, second):
        winner = "winner"
    if winner is not None:
        return pairs, frame[winner].to_numpy()
    if {"home_score", "away_score"} <= set(frame.columns):
        scores = frame[["home_score", "away_score"]].apply(pd.to_numeric, errors="coerce")
        played = scores.notna().all(axis=1)
        difference = scores["home_score"] - scores["away_score"]
        return pairs[played], (np.sign(difference[played]).to_numpy() + 1) / 2
    return pairs, None


def _batches(source: Any) -> Iterator[tuple[int, list[Record]]]:
    rows, start = iter(read_records(source)), 0
    while batch := list(itertools.islice(rows, _BATCH)):
        yield start, batch
        start += len(batch)


def _scores(model: RewardModel, batch: list[Record], start: int) -> pd.DataFrame:
    try:
        pairs = PreferencePairs.read(batch)
    except ValueError as error:
        raise ValueError(f"in the rows from {start} on: {error}") from None
    if len(pairs) != len(batch):
        raise ValueError("rows must be pairs, one a row; make pairs of rated or unpaired rows first")
    return model.score_pairs(pairs)
