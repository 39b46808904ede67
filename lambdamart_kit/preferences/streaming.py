"""Whole files of pairs, a batch at a time: score them and filter them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lambdamart_kit.core.typing import Array, BoolArray, IndexArray
from lambdamart_kit.files.records import Record
from lambdamart_kit.preferences.auditing.audit import audit
from lambdamart_kit.preferences.pair_table import PairTable
from lambdamart_kit.preferences.pairs import PreferencePairs
from lambdamart_kit.preferences.reading.builder import PairBuilder
from lambdamart_kit.preferences.reading.layouts import PairReader
from lambdamart_kit.preferences.reading.records import RecordSource, read_records
from lambdamart_kit.preferences.scoring import label_probability

if TYPE_CHECKING:
    from lambdamart_kit.preferences.reward import RewardModel

_BATCH = 2048
# Columns that scoring adds. None of them is one that training reads: a scored file trains like the file
# before.
_ADDED = ("scores_chosen", "scores_rejected", "results", "score_margin", "probability")


def score_records(
    model: RewardModel,
    source: Any,
    *,
    columns: Mapping[str, str] | None = None,
    layout: str | None = None,
    progress: Callable[[int], None] = lambda n_rows: None,
) -> Iterator[Record]:
    """Rows of `source`, each with the columns of :meth:`RewardModel.score_pairs` added, one batch in memory.

    Parameters
    ----------
    model : RewardModel
        Fitted on texts.
    source : path, DataFrame, data set or iterable of mappings
        One pair a row.
    columns, layout
        As in :meth:`PreferencePairs.read`.
    progress : callable
        Told the number of rows after each batch.

    Raises
    ------
    ValueError
        If rows are not pairs, such as rated responses.
    """
    for records, pairs in _batches(source, columns, layout):
        table = model.score_pairs(pairs)
        for record, scores in zip(records, table.to_dict("records")):
            yield {**record, **{name: scores[name] for name in _ADDED}}
        progress(len(records))


def keep_mask(
    source: Any,
    *,
    model: RewardModel | None = None,
    min_probability: float = 0.0,
    drop: Iterable[str] = (),
    columns: Mapping[str, str] | None = None,
    layout: str | None = None,
    progress: Callable[[int], None] = lambda n_rows: None,
) -> BoolArray:
    """Which rows of `source` to keep: probable enough under `model`, with none of the problems in `drop`.

    A tie is kept whatever the model says: it names no response as the better one. `drop` needs the facts of
    the whole file, `model` a batch at a time. Where a row is one response of several pairs, it goes if all
    its pairs have the problem; of a pair with an empty response only the row of that response goes.

    Raises
    ------
    ValueError
        If a name in `drop` is no problem that the audit looks for; or if a row holds several pairs of which
        only some have the problem.
    """
    unwanted = list(drop)
    if model is None:
        mask = np.ones(_count(source, progress), dtype=bool)
    else:
        kept = []
        for records, pairs in _batches(source, columns, layout):
            p = label_probability(model.predict_proba_pairs(pairs), pairs.target)
            kept.append(np.isnan(p) | (p >= min_probability))
            progress(len(records))
        mask = np.concatenate(kept) if kept else np.empty(0, dtype=bool)
    if unwanted:
        pairs = PreferencePairs.read(source, columns=columns, layout=layout, texts=False)
        rows = audit(pairs).rows
        for name in unwanted:
            if name not in rows:
                raise ValueError(f"'drop' must be one of {', '.join(map(repr, rows))}; got {name!r}")
            mask[_rows_with(pairs, name, rows[name])] = False
    return mask


def filter_records(source: Any, mask: BoolArray) -> Iterator[Record]:
    """Rows of `source` where `mask` is true."""
    return itertools.compress(read_records(source), mask)


def _count(source: Any, progress: Callable[[int], None]) -> int:
    n_rows = 0
    records = iter(read_records(source))
    while batch := list(itertools.islice(records, _BATCH)):
        n_rows += len(batch)
        progress(len(batch))
    return n_rows


def _rows_with(pairs: PairTable, name: str, found: IndexArray) -> IndexArray:
    """Rows of the source to drop for a problem of the pairs `found`."""
    same_row = pairs.rows[:, 0] == pairs.rows[:, 1]
    if name == "empty_response" and not same_row.all():
        return _rows_of_empty(pairs, found)
    has_problem = np.zeros(len(pairs), dtype=bool)
    has_problem[found] = True
    # Of each row that stands in a pair: do all of its pairs have the problem, or only some?
    row = np.concatenate([pairs.rows[:, 0], pairs.rows[~same_row, 1]])
    bad = np.concatenate([has_problem, has_problem[~same_row]])
    table = pd.DataFrame({"row": row, "bad": bad}).groupby("row")["bad"].agg(["all", "any"])
    partly = table.index[table["any"] & ~table["all"]].to_numpy()
    several = np.intersect1d(partly, pairs.rows[same_row, 0])
    if len(several):
        raise ValueError(
            f"row {several[0]} holds several pairs, of which only some have the problem {name!r} "
            f"({len(several)} such rows); write the pairs with `pairs convert` first and filter those"
        )
    return table.index[table["all"]].to_numpy(dtype=np.intp)


def _rows_of_empty(pairs: PairTable, found: IndexArray) -> IndexArray:
    facts = pairs.response_facts
    empty: Array = np.zeros(len(pairs.response_prompt), dtype=bool)
    if facts is not None:
        empty = facts["empty"].to_numpy()
    rows = [
        pairs.rows[found, side][empty[code[found]]] for side, code in ((0, pairs.chosen), (1, pairs.rejected))
    ]
    return np.unique(np.concatenate(rows))


def _batches(
    source: Any, columns: Mapping[str, str] | None, layout: str | None
) -> Iterator[tuple[list[Record], PreferencePairs]]:
    """Records as they are, with the pairs made of them: one pair a record.

    The layout is found once, from the start of the whole source, and not for every batch.
    """
    seen: list[Record] = []

    def remembered() -> Iterator[Record]:
        for record in RecordSource(source):
            seen.append(record)
            yield record

    reader = PairReader(remembered(), columns=columns, layout=layout)
    if reader.layout is not None and not reader.layout.pair_per_row:
        raise ValueError(
            f"rows must be pairs, one a row, but in the layout {reader.layout.name!r} they are not; write "
            f"the "
            "pairs with `pairs convert` first"
        )
    pairs = iter(reader)
    done = 0
    while batch := list(itertools.islice(pairs, _BATCH)):
        if [pair.rows[0] for pair in batch] != list(range(done, done + len(batch))):
            row = next(at for at, pair in enumerate(batch, done) if pair.rows[0] != at)
            raise ValueError(f"row {row} states no preference; drop such rows first")
        builder = PairBuilder()
        builder.add_all(batch)
        yield seen[: len(batch)], PreferencePairs(**builder.fields(), features=None)
        del seen[: len(batch)]
        done += len(batch)
