"""The registry of layouts, in the order in which they are tried: the first that fits reads the file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping

from lambdamart_kit.files.records import Record
from lambdamart_kit.preferences.reading import labelled, many, sides
from lambdamart_kit.preferences.reading.layout import (
    Layout,
    Pair,
    Sample,
    Skipped,
    layout,
    renamed,
    take_sample,
)
from lambdamart_kit.preferences.reading.records import RecordSource
from lambdamart_kit.preferences.reading.values import RowError, flag, is_missing, number, shown

ROLES = (
    "prompt",
    "system",
    "chosen",
    "rejected",
    "target",
    "weight",
    "margin",
    "subset",
    "annotator",
    "response",
    "label",
    "score",
    "responses",
    "scores",
    "ranks",
    "first",
    "second",
    "outcome",
    "first_response",
    "second_response",
)
# Roles of `columns` under the names that the layouts know them by.
_NAMES = {
    "first": "model_a",
    "second": "model_b",
    "outcome": "winner",
    "first_response": "response_a",
    "second_response": "response_b",
}
_OWN = ("prompt", "chosen", "rejected", "target", "weight", "margin", "chosen_shown_first")


# Of these no column is kept. The rows are those of an earlier source, which this one is not.
_KIT_ONLY = {*_OWN, "chosen_row", "rejected_row"} - {"weight", "margin"}


@layout(
    lambda sample: set(_OWN) <= set(sample.seen) and all(isinstance(t, str) for t in sample.values("chosen"))
)
def kit(row: int, record: Record) -> Pair:
    """What `pairs convert` and ``PreferencePairs.write`` make: texts with target, weight and margin."""
    for name in ("chosen", "rejected", "prompt"):
        if not isinstance(record.get(name), str):
            raise RowError(row, f"{name!r} must be text; got {shown(record.get(name))}")
    first = record.get("chosen_shown_first")
    return Pair(
        record["prompt"],
        record["chosen"],
        record["rejected"],
        (row, row),
        {name: value for name, value in record.items() if name not in _KIT_ONLY},
        number(record.get("target"), "target", row, low=0.0, high=1.0),
        None if is_missing(first) else flag(first, "chosen_shown_first", row),
    )


LAYOUTS: dict[str, Layout] = {
    known.name: known
    for known in (
        kit,
        sides.openai,
        many.ultrafeedback,
        many.nectar,
        many.stack_exchange,
        many.oasst,
        labelled.shp,
        labelled.pku_better,
        labelled.pku_safer,
        labelled.helpsteer3,
        labelled.helpsteer2_preference,
        many.helpsteer,
        labelled.webgpt,
        labelled.summarize_feedback,
        many.summarize_axes,
        labelled.stack_exchange_paired,
        labelled.arena_55k,
        labelled.arena_140k,
        labelled.arena_100k,
        labelled.arena_33k,
        labelled.mt_bench,
        labelled.judgebench,
        labelled.alpaca_eval,
        labelled.llmbar,
        many.rewardbench2,
        sides.llama_factory,
        sides.swift,
        sides.ultrafeedback_binarized,
        sides.argilla,
        sides.argilla_cleaned,
        sides.distilabel_orca,
        sides.orca,
        sides.rewardbench,
        sides.hh,
        sides.skywork,
        sides.trl,
        many.kto,
        many.ranked,
        many.rated,
        labelled.votes,
    )
}


def find_layout(sample: Sample, name: str | None = None) -> Layout:
    """The layout called `name`, or the first that fits the sample.

    Raises
    ------
    ValueError
        If `name` is unknown, or no layout fits; the message lists the columns seen.
    """
    if name is not None:
        if name not in LAYOUTS:
            raise ValueError(f"'layout' must be one of {', '.join(LAYOUTS)}; got {name!r}")
        return LAYOUTS[name]
    _refuse(sample)
    fitting = next((known for known in LAYOUTS.values() if known.fits(sample)), None)
    if fitting is None:
        raise ValueError(_no_layout(sample))
    return fitting


def _refuse(sample: Sample) -> None:
    """Refuse files that look like preferences but are not, or that need a choice."""
    process = sample.has("completions", "labels") or _has_steps(sample)
    if process:
        raise ValueError(
            "this file labels the steps of one completion: it is process supervision, not preferences"
        )
    if sample.has("response_0", "response_1", "better_response_id", "safer_response_id"):
        raise ValueError(
            "this file has two labels that may disagree, 'better_response_id' (helpfulness) and "
            "'safer_response_id' (safety): say which with layout='pku_better' or layout='pku_safer'"
        )
    if sample.has("transcript") and not sample.has("chosen"):
        raise ValueError("this file holds single dialogues (a red-team 'transcript'), not preferences")
    if sample.has("conversations") and not sample.columns & {"chosen", "rejected", "kto_tag", "label"}:
        raise ValueError("this file holds single conversations for supervised fine-tuning, not preferences")


def _has_steps(sample: Sample) -> bool:
    label = sample.first("label")
    return isinstance(label, dict) and "steps" in label


def _no_layout(sample: Sample) -> str:
    seen = ", ".join(map(repr, sample.seen)) or "none"
    hints = ["name them with columns={'prompt': ..., 'chosen': ..., 'rejected': ...} or layout=..."]
    if labelled.vote_sides(sample.columns) is not None:
        hints = [
            "there are two items but no column is known to hold the outcome, and an outcome is never "
            "assumed; "
            "name it with columns={'outcome': ...}"
        ]
    elif any(sample.has(name) for name in many.LIST_COLUMNS):
        hints = [
            "the order of the responses is unknown; it must be in a column 'scores' or 'ranks' (1 is the "
            "best)"
        ]
    blank = [name for name in sample.seen if name not in sample.columns]
    if blank:
        seen += f" (without a value: {', '.join(map(repr, blank))})"
    return (
        "the columns must hold chosen and rejected; or prompt, completion and label; or prompt, response and "
        f"score; or model_a, model_b and winner; or be in one of the layouts {', '.join(LAYOUTS)}; "
        f"got the columns {seen}; {hints[0]} (on the command line --columns and --layout)"
    )


def check_columns(columns: Mapping[str, str] | None) -> dict[str, str]:
    """`columns` with the names that layouts know.

    Raises
    ------
    ValueError
        If a role is unknown.
    """
    named = dict(columns or {})
    unknown = [role for role in named if role not in ROLES]
    if unknown:
        raise ValueError(
            f"'columns' must name roles out of {', '.join(ROLES)}; got {', '.join(map(repr, unknown))}"
        )
    return {_NAMES.get(role, role): column for role, column in named.items()}


class PairReader:
    """Pairs of a source, in row order, with what was found out while reading.

    Parameters
    ----------
    source : see :class:`RecordSource`
    columns : mapping of str to str, optional
        Role to column of the file.
    layout : str, optional
        Name in `LAYOUTS`.

    Attributes
    ----------
    layout : Layout or None
        None if there are no records.
    records : RecordSource
    """

    def __init__(
        self, source: object, *, columns: Mapping[str, str] | None = None, layout: str | None = None
    ) -> None:
        self.records = source if isinstance(source, RecordSource) else RecordSource(source)
        named = check_columns(columns)
        stream = renamed(self.records, named) if named else iter(self.records)
        sample, self._stream = take_sample(stream)
        absent = [column for role, column in named.items() if role not in sample.seen]
        if absent and sample.records:
            have = ", ".join(map(repr, self.records.names()))
            raise ValueError(
                f"'columns' must name columns of the file; it has no {absent[0]!r}, it has {have}"
            )
        if layout is not None or sample.records:
            self.layout: Layout | None = find_layout(sample, layout)
        else:
            self.layout = None

    def __iter__(self) -> Iterator[Pair]:
        if self.layout is None:
            return
        skipped = Skipped()
        n_pairs = 0
        try:
            for pair in self.layout.read(enumerate(self._stream), skipped):
                n_pairs += 1
                yield pair
        except RowError as error:
            place = self.records.place(error.row)
            raise ValueError(f"{place}: {error.problem} (layout {self.layout.name!r})") from None
        problems = skipped.messages()
        if not n_pairs:
            problems.append(f"no row made a pair (layout {self.layout.name!r}: {self.layout.title})")
        for problem in problems:
            warnings.warn(problem, UserWarning, stacklevel=3)
