"""Layouts with more than two responses to a prompt: ratings, ranks, accepted and refused ones, trees."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from lambdamart_kit.files.records import Record
from lambdamart_kit.preferences.reading.labelled import summary_source
from lambdamart_kit.preferences.reading.layout import (
    Numbered,
    Pair,
    Sample,
    Skipped,
    layout_of_many,
    rest,
    with_margin,
)
from lambdamart_kit.preferences.reading.messages import (
    Turn,
    as_text,
    content_text,
    is_conversation,
    prompt_text,
    turns,
)
from lambdamart_kit.preferences.reading.sides import find_prompt, side_text
from lambdamart_kit.preferences.reading.values import (
    RowError,
    flag,
    is_missing,
    listed,
    mapping,
    number,
    required,
    shown,
)

_NO_SCORE = "responses without a score"
_HELPFUL = ("helpfulness", "correctness", "coherence", "complexity")
_RATING_COLUMNS = ("score", "rating")
_TEXT_COLUMNS = ("response", "completion")
LIST_COLUMNS = ("responses", "completions", "generations")
_SCORE_LISTS = ("scores", "ratings")
_PROMPT_COLUMNS = ("prompt", "instruction", "question", "input", "context", "history")
_DIALOGUES = ("messages", "conversations")
_ALPACA_ANSWER = "output"


class _Rated(NamedTuple):
    """A response with its score: the higher, the better."""

    text: str
    score: float
    row: int
    record: Record
    model: Any = None


def _pairs_by_score(
    prompt: str, rated: list[_Rated], used: tuple[str, ...], gap_of: str | None
) -> Iterator[Pair]:
    """Every pair of responses with different scores, with their difference, of `gap_of`, as the margin."""
    for one, other in itertools.combinations(rated, 2):
        if one.score == other.score:
            continue
        better, worse = (one, other) if one.score > other.score else (other, one)
        same = better.record is worse.record
        extra = {
            name: value
            for name, value in better.record.items()
            if name not in used and (same or _equal(worse.record.get(name), value))
        }
        if gap_of == "ranks":  # the distance of two ranks is no distance of quality
            extra["rank_difference"] = better.score - worse.score
        elif gap_of is not None and not ("margin" in better.record or "margin" in worse.record):
            extra = with_margin(extra, better.score - worse.score, f"difference of {gap_of}")
        if not (is_missing(better.model) and is_missing(worse.model)):
            extra["chosen_model"] = better.model
            extra["rejected_model"] = worse.model
        yield Pair(prompt, better.text, worse.text, (better.row, worse.row), extra)


def _equal(one: Any, other: Any) -> bool:
    same = one == other
    return bool(np.all(same)) if not isinstance(same, bool) else same


@layout_of_many(lambda s: s.has("completions") and _all_dicts(s.first("completions")))
def ultrafeedback(records: Iterable[Numbered], skipped: Skipped) -> Iterator[Pair]:
    """UltraFeedback: `instruction`, `completions` with ratings of several aspects, which are averaged."""
    for row, record in records:
        rated = []
        for completion in listed(required(record, "completions", row), "completions", row):
            if not isinstance(completion, dict):
                raise RowError(row, f"'completions' must hold dictionaries; got {shown(completion)}")
            score = _mean_rating(completion, row)
            if score is None:
                skipped.add(row, _NO_SCORE)
                continue
            text = side_text(completion, "response", row)
            rated.append(_Rated(text, score, row, record, completion.get("model")))
        used = ("instruction", "completions", "models", "prompt")
        yield from _pairs_by_score(_asked(record, row), rated, used, "mean ratings")


def _all_dicts(value: Any) -> bool:
    return (
        is_conversation(value)
        and not isinstance(value, dict)
        and len(value) > 0
        and all(isinstance(entry, dict) and "response" in entry for entry in value)
    )


def _mean_rating(completion: Record, row: int) -> float | None:
    """Mean of the ratings of a completion's aspects ("N/A" aside), or its overall score, or None."""
    aspects = completion.get("annotations")
    if isinstance(aspects, dict):
        stated = [a.get("Rating", a.get("rating")) for a in aspects.values() if isinstance(a, dict)]
        known = [
            number(r, "Rating", row) for r in stated if not is_missing(r) and str(r).strip().upper() != "N/A"
        ]
        if known:
            return float(np.mean(known))
    overall = completion.get("overall_score")
    return None if is_missing(overall) else number(overall, "overall_score", row)


@layout_of_many(lambda s: s.has("answers") and _entry_has(s.first("answers"), "rank"))
def nectar(records: Iterable[Numbered], skipped: Skipped) -> Iterator[Pair]:
    """Nectar: `prompt`, `answers` with `answer`, `model` and `rank` (1 is the best)."""
    for row, record in records:
        rated = []
        for answer in _entries(record, "answers", row):
            if is_missing(answer.get("rank")):
                skipped.add(row, _NO_SCORE)
                continue
            rank = number(answer["rank"], "rank", row)
            rated.append(_Rated(side_text(answer, "answer", row), -rank, row, record, answer.get("model")))
        yield from _pairs_by_score(_asked(record, row), rated, ("prompt", "answers"), "ranks")


@layout_of_many(lambda s: s.has("answers") and _entry_has(s.first("answers"), "pm_score"))
def stack_exchange(records: Iterable[Numbered], skipped: Skipped) -> Iterator[Pair]:
    """stack-exchange-preferences: `question`, `answers` with `text` and `pm_score`."""
    for row, record in records:
        rated = [
            _Rated(
                side_text(answer, "text", row), number(answer.get("pm_score"), "pm_score", row), row, record
            )
            for answer in _entries(record, "answers", row)
        ]
        yield from _pairs_by_score(_asked(record, row), rated, ("question", "answers"), "pm_score")


def _entry_has(entries: Any, name: str) -> bool:
    usable = is_conversation(entries) and not isinstance(entries, dict) and len(entries) > 0
    return usable and isinstance(entries[0], dict) and name in entries[0]


def _entries(record: Record, name: str, row: int) -> list[Record]:
    entries = listed(required(record, name, row), name, row)
    bad = [entry for entry in entries if not isinstance(entry, dict)]
    if bad:
        raise RowError(row, f"{name!r} must hold dictionaries; got {shown(bad[0])}")
    return entries


@layout_of_many(["message_id", "parent_id", "role", "text"])
def oasst(records: Iterable[Numbered], skipped: Skipped) -> Iterator[Pair]:
    """OASST: one message a row, `parent_id`, `rank` among the answers to the same message (0 is the best)."""
    by_id: dict[str, tuple[int, Record]] = {}
    answers: dict[str, list[str]] = {}
    for row, record in records:
        name = str(required(record, "message_id", row))
        if name in by_id:
            raise RowError(row, f"'message_id' must be unique; {name!r} is that of row {by_id[name][0]} too")
        by_id[name] = (row, record)
        parent = record.get("parent_id")
        if not is_missing(parent) and record.get("role") == "assistant":
            answers.setdefault(str(parent), []).append(name)
    used = ("message_id", "parent_id", "role", "text", "rank")
    for parent, names in answers.items():
        rated = []
        for name in names:
            row, record = by_id[name]
            deleted = record.get("deleted")
            if is_missing(record.get("rank")) or (not is_missing(deleted) and flag(deleted, "deleted", row)):
                continue
            text = content_text(record.get("text"), "text", row)
            rated.append(_Rated(text, -number(record["rank"], "rank", row), row, record))
        if len(rated) > 1:
            prompt = as_text(_path_to_root(by_id, parent, rated[0].row))
            yield from _pairs_by_score(prompt, rated, used, "ranks")


def _path_to_root(by_id: dict[str, tuple[int, Record]], name: str, row: int) -> list[Turn]:
    said: list[Turn] = []
    while True:
        if name not in by_id:
            raise RowError(row, f"'parent_id' must name a message of the file; {name!r} is not there")
        at, record = by_id[name]
        if len(said) > len(by_id):
            raise RowError(row, f"'parent_id' goes round in a circle at {name!r}")
        role = "assistant" if record.get("role") == "assistant" else "user"
        said.append(Turn(role, content_text(record.get("text"), "text", at)))
        if is_missing(record.get("parent_id")):
            return said[::-1]
        name = str(record["parent_id"])


def _sides_are_lists(sample: Sample) -> bool:
    sides = [sample.first("chosen"), sample.first("rejected")]
    return sample.has("chosen", "rejected") and all(
        is_conversation(s) and not isinstance(s, dict) and len(s) > 0 and all(isinstance(t, str) for t in s)
        for s in sides
    )


@layout_of_many(_sides_are_lists)
def rewardbench2(records: Iterable[Numbered], skipped: Skipped) -> Iterator[Pair]:
    """RewardBench 2: `prompt`, and lists of texts as `chosen` and `rejected`."""
    for row, record in records:
        sides = []
        for name in ("chosen", "rejected"):
            texts = listed(required(record, name, row), name, row)
            if not texts or not all(isinstance(text, str) for text in texts):
                raise RowError(row, f"{name!r} must be a list of texts; got {shown(record[name])}")
            sides.append(texts)
        extra = rest(record, "prompt", "chosen", "rejected")
        prompt = _asked(record, row)
        for better, worse in itertools.product(*sides):
            yield Pair(prompt, better, worse, (row, row), dict(extra))


@layout_of_many(lambda s: s.has("response", "helpfulness") and s.has("prompt"))
def helpsteer(records: Iterable[Numbered], skipped: Skipped) -> Iterator[Pair]:
    """HelpSteer and HelpSteer2 ratings: the best against the worst response by the mean rating.

    The mean is over helpfulness, correctness, coherence and complexity. Verbosity says how long a response
    is, not how good.
    """
    for prompt, rows in _by_prompt(records):
        rated = []
        for row, record in rows:
            known = [number(record[n], n, row) for n in _HELPFUL if not is_missing(record.get(n))]
            if not known:
                skipped.add(row, _NO_SCORE)
                continue
            rated.append(_Rated(side_text(record, "response", row), float(np.mean(known)), row, record))
        if rated:
            ends = [max(rated, key=lambda r: r.score), min(rated, key=lambda r: r.score)]
            used = ("prompt", "response", *_HELPFUL, "verbosity")
            yield from _pairs_by_score(prompt, ends, used, "mean ratings")


@layout_of_many(lambda s: s.has("summary", "info") and _entry_has([s.first("summary")], "axes"))
def summarize_axes(records: Iterable[Numbered], skipped: Skipped) -> Iterator[Pair]:
    """OpenAI's summaries from feedback, rated: `info`, `summary` with `text` and `axes.overall`."""
    groups: dict[str, list[_Rated]] = {}
    for row, record in records:
        summary = mapping(required(record, "summary", row), "summary", row)
        overall = mapping(summary.get("axes") or {}, "axes", row).get("overall")
        if is_missing(overall):
            skipped.add(row, _NO_SCORE)
            continue
        text = side_text(summary, "text", row)
        score = number(overall, "overall", row)
        groups.setdefault(summary_source(record, row), []).append(
            _Rated(text, score, row, record, summary.get("policy"))
        )
    for prompt, rated in groups.items():
        yield from _pairs_by_score(prompt, rated, ("summary",), "axes.overall")


def _is_kto(sample: Sample) -> bool:
    if sample.has("kto_tag"):  # LLaMA-Factory's name, beside its own names of columns
        answers: tuple[str, ...] = (*_TEXT_COLUMNS, *_DIALOGUES, _ALPACA_ANSWER)
    else:
        answers = (*_TEXT_COLUMNS, "messages")
    if not any(sample.has(name) for name in answers) or not (sample.has("label") or sample.has("kto_tag")):
        return False
    label = sample.first("label") if sample.has("label") else sample.first("kto_tag")
    truth = str(label).strip().lower() in {"true", "false", "0", "1", "0.0", "1.0"}
    # Beside a rating, a label of another kind says something else.
    return truth or not any(sample.has(name) for name in _RATING_COLUMNS)


@layout_of_many(_is_kto)
def kto(records: Iterable[Numbered], skipped: Skipped) -> Iterator[Pair]:
    """KTO: `prompt`, `completion`, `label` (true or false): every accepted against every refused response."""
    used = (*_PROMPT_COLUMNS, *_TEXT_COLUMNS, *_DIALOGUES, _ALPACA_ANSWER, "label", "kto_tag", "system")
    for prompt, rows in _by_prompt(records):
        good: list[_Rated] = []
        bad: list[_Rated] = []
        for row, record in rows:
            name = "label" if "label" in record else "kto_tag"
            accepted = flag(record.get(name), name, row)
            (good if accepted else bad).append(_Rated(_answer(record, row), float(accepted), row, record))
        if not good or not bad:
            for item in good or bad:
                skipped.add(item.row, "responses whose prompt has none with the opposite label")
            continue
        for better, worse in itertools.product(good, bad):
            yield from _pairs_by_score(prompt, [better, worse], used, None)


def _answer(record: Record, row: int) -> str:
    """The response of a record with one response."""
    dialogue = _dialogue(record)
    if dialogue is not None:
        return turns(record[dialogue], dialogue, row)[-1].text
    name = next((n for n in (*_TEXT_COLUMNS, _ALPACA_ANSWER) if n in record), "response")
    return side_text(record, name, row)


@layout_of_many(lambda s: any(s.has(t) for t in _TEXT_COLUMNS) and any(s.has(r) for r in _RATING_COLUMNS))
def rated(records: Iterable[Numbered], skipped: Skipped) -> Iterator[Pair]:
    """Ratings: `prompt`, `response`, `score`, one response a row: every pair with different scores."""
    used = (*_PROMPT_COLUMNS, *_TEXT_COLUMNS, *_RATING_COLUMNS, "system")
    for prompt, rows in _by_prompt(records):
        found = []
        name = "score"
        for row, record in rows:
            name = next((n for n in _RATING_COLUMNS if n in record), "score")
            if is_missing(record.get(name)):
                skipped.add(row, _NO_SCORE)
                continue
            found.append(_Rated(_answer(record, row), number(record[name], name, row), row, record))
        yield from _pairs_by_score(prompt, found, used, name)


@layout_of_many(
    lambda s: any(s.has(t) for t in LIST_COLUMNS) and any(s.has(n) for n in (*_SCORE_LISTS, "ranks"))
)
def ranked(records: Iterable[Numbered], skipped: Skipped) -> Iterator[Pair]:
    """Ranked or rated lists: `prompt`, `responses`, and `scores` or `ranks` (1 is the best)."""
    used = (*_PROMPT_COLUMNS, *LIST_COLUMNS, *_SCORE_LISTS, "ranks", "system")
    for row, record in records:
        name = next((n for n in LIST_COLUMNS if n in record), "responses")
        judged = next((n for n in (*_SCORE_LISTS, "ranks") if n in record), "scores")
        texts = listed(required(record, name, row), name, row)
        scores = listed(required(record, judged, row), judged, row)
        if len(texts) != len(scores):
            raise RowError(
                row, f"{name!r} and {judged!r} must be equally long; got {len(texts)} and {len(scores)}"
            )
        found = []
        for text, score in zip(texts, scores):
            if is_missing(score):
                skipped.add(row, _NO_SCORE)
                continue
            value = number(score, judged, row)
            answer = side_text({name: text}, name, row)
            found.append(_Rated(answer, -value if judged == "ranks" else value, row, record))
        yield from _pairs_by_score(_asked(record, row), found, used, judged)


def _by_prompt(records: Iterable[Numbered]) -> list[tuple[str, list[Numbered]]]:
    """Rows of each prompt, prompts in the order of their first row."""
    groups: dict[str, list[Numbered]] = {}
    for row, record in records:
        groups.setdefault(_asked(record, row), []).append((row, record))
    return list(groups.items())


def _asked(record: Record, row: int) -> str:
    """Prompt of a record. Only responses to the same prompt can be compared, so it must be there."""
    dialogue = _dialogue(record)
    if dialogue is not None and is_missing(record.get("prompt")):
        said = turns(record[dialogue], dialogue, row)
        return as_text(said[:-1]) if len(said) > 1 else ""
    prompt, columns = find_prompt(record, row)
    if is_missing(prompt):
        raise RowError(
            row,
            f"'prompt' must not be missing: only responses to the same prompt compare; got "
            f"{', '.join(record)}",
        )
    return prompt_text(prompt, record.get("system"), columns[0], row)


def _dialogue(record: Record) -> str | None:
    """The column that holds a whole conversation, of which the last turn is the response."""
    return next((name for name in _DIALOGUES if not is_missing(record.get(name))), None)
