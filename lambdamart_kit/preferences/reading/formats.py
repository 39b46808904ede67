"""The shapes in which preference data comes, each turned into (prompt, chosen, rejected) pairs.

=========  ==================================================================================================
pairs      ``chosen``, ``rejected`` and maybe ``prompt`` (TRL); strings or lists of messages. Without a prompt
           it is what both have in common at their start: whole messages, or for strings the common prefix up
           to its last ``Assistant:`` or, without one, its last line break. ``target`` is a soft label.
unpaired   ``prompt``, ``completion``, ``label`` (bool): every accepted against every refused one.
rated      ``prompt``, ``response``, ``score`` in rows, or ``prompt``, ``responses``, ``scores`` in lists:
           every pair of responses to a prompt with different scores; ``score_difference`` is a column.
votes      ``model_a``, ``model_b``, ``winner``, maybe ``response_a``, ``response_b``, ``prompt``. A tie has
           target 1/2. Without responses the models are compared, ``prompt`` apart.
=========  ==================================================================================================
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from lambdamart_kit.preferences.reading.records import Record
from lambdamart_kit.preferences.strengths.comparisons import WINNERS

_RENAMED = {
    "reference_chosen_logps": "ref_chosen_logps",
    "reference_rejected_logps": "ref_rejected_logps",
    "model_x": "model_a",
    "model_y": "model_b",
    "completion": "response",
    "completions": "responses",
    "rating": "score",
    "ratings": "scores",
}


class Pair(NamedTuple):
    """One preference as text, with what else the row held."""

    prompt: str
    chosen: str
    rejected: str
    target: float
    extra: Record


def to_pairs(records: Iterable[Record]) -> Iterator[Pair]:
    """Pairs of whatever shape the first row has, in row order.

    Raises
    ------
    ValueError
        If the columns are of no known shape, or a row does not fit; it names the row and the value.
    """
    renamed = ({_RENAMED.get(k, k): v for k, v in record.items()} for record in records)
    first = next(renamed, None)
    if first is None:
        return
    shape = _shape(first)
    yield from shape(itertools.chain([first], renamed))


def _shape(record: Record) -> Callable[[Iterable[Record]], Iterator[Pair]]:
    columns = set(record)
    if {"chosen", "rejected"} <= columns:
        return _paired
    if {"model_a", "model_b", "winner"} <= columns:
        return _votes
    if {"prompt", "response", "label"} <= columns:
        return _unpaired
    if {"prompt", "response", "score"} <= columns or {"prompt", "responses", "scores"} <= columns:
        return _rated
    raise ValueError(
        "the columns must hold chosen and rejected; or prompt, completion and label; or prompt, response and "
        f"score; or model_a, model_b and winner; got {', '.join(map(repr, record)) or 'none'}"
    )


def _paired(records: Iterable[Record]) -> Iterator[Pair]:
    for row, record in enumerate(records):
        extra = dict(record)
        chosen, rejected = extra.pop("chosen", None), extra.pop("rejected", None)
        prompt = extra.pop("prompt", None)
        if prompt is None:
            prompt, chosen, rejected = implicit_prompt(chosen, rejected, row)
        yield Pair(
            as_text(prompt, "prompt", row),
            as_text(chosen, "chosen", row),
            as_text(rejected, "rejected", row),
            _number(extra.pop("target", 1.0), "target", row, low=0.0, high=1.0),
            extra,
        )


def implicit_prompt(chosen: Any, rejected: Any, row: int) -> tuple[Any, Any, Any]:
    """What `chosen` and `rejected` have in common at their start, and the rest of each."""
    if isinstance(chosen, str) and isinstance(rejected, str):
        same = (a == b for a, b in zip(chosen, rejected))
        shared = chosen[: sum(1 for _ in itertools.takewhile(bool, same))]
        turn = shared.rfind("Assistant:")
        at = turn + len("Assistant:") if turn >= 0 else shared.rfind("\n") + 1
        return chosen[:at], chosen[at:].lstrip(), rejected[at:].lstrip()
    if _is_messages(chosen) and _is_messages(rejected):
        at = sum(1 for _ in itertools.takewhile(lambda two: two[0] == two[1], zip(chosen, rejected)))
        at = min(at, len(chosen) - 1, len(rejected) - 1)
        return chosen[:at], chosen[at:], rejected[at:]
    raise ValueError(
        f"row {row}: 'chosen' and 'rejected' must both be text or both lists of messages; "
        f"got {type(chosen).__name__} and {type(rejected).__name__}"
    )


def _unpaired(records: Iterable[Record]) -> Iterator[Pair]:
    for rows in _by_prompt(records):
        good = [(n, r) for n, r in rows if _label(r, n)]
        bad = [(n, r) for n, r in rows if not _label(r, n)]
        for (n, better), (m, worse) in itertools.product(good, bad):
            yield _text_pair(better, worse, n, m, {})


def _rated(records: Iterable[Record]) -> Iterator[Pair]:
    for rows in _by_prompt(_unrolled(records)):
        scored = [(_number(r.get("score"), "score", n), n, r) for n, r in rows]
        for (a, n, one), (b, m, other) in itertools.combinations(scored, 2):
            if a > b:
                yield _text_pair(one, other, n, m, {"score_difference": a - b})
            elif b > a:
                yield _text_pair(other, one, m, n, {"score_difference": b - a})


def _unrolled(records: Iterable[Record]) -> Iterator[Record]:
    for row, record in enumerate(records):
        if "responses" not in record:
            yield record
            continue
        responses, scores = list(record["responses"]), list(record["scores"])
        if len(responses) != len(scores):
            raise ValueError(
                f"row {row}: 'responses' and 'scores' must be equally long; "
                f"got {len(responses)} and {len(scores)}"
            )
        for response, score in zip(responses, scores):
            yield {**record, "response": response, "score": score}


def _votes(records: Iterable[Record]) -> Iterator[Pair]:
    for row, record in enumerate(records):
        extra = dict(record)
        models = [str(extra.pop(name)) for name in ("model_a", "model_b")]
        winner = extra.pop("winner")
        outcome = _outcome(winner, models, row)
        texts = [extra.pop(f"response_{side}", model) for side, model in zip("ab", models)]
        better, worse = (0, 1) if outcome >= 0.5 else (1, 0)
        extra.update(chosen_model=models[better], rejected_model=models[worse])
        yield Pair(
            as_text(extra.pop("prompt", ""), "prompt", row),
            as_text(texts[better], "response", row),
            as_text(texts[worse], "response", row),
            0.5 if outcome == 0.5 else 1.0,
            extra,
        )


def _outcome(winner: Any, models: list[str], row: int) -> float:
    if str(winner) in models:
        return 1.0 if str(winner) == models[0] else 0.0
    outcome = WINNERS.get(str(winner).strip().lower())
    if outcome is None:
        raise ValueError(
            f"row {row}: 'winner' must be {models[0]!r}, {models[1]!r} or one of "
            f"{', '.join(map(repr, WINNERS))}; got {winner!r}"
        )
    return outcome


def _by_prompt(records: Iterable[Record]) -> list[list[tuple[int, Record]]]:
    """Rows of each prompt, prompts in the order of their first row."""
    groups: dict[str, list[tuple[int, Record]]] = {}
    for row, record in enumerate(records):
        groups.setdefault(normalised(as_text(record.get("prompt"), "prompt", row)), []).append((row, record))
    return list(groups.values())


def _text_pair(better: Record, worse: Record, n: int, m: int, extra: Record) -> Pair:
    used = {"prompt", "response", "responses", "label", "score", "scores"}
    kept = {k: v for k, v in better.items() if k not in used and worse.get(k) == v}
    return Pair(
        as_text(better["prompt"], "prompt", n),
        as_text(better["response"], "response", n),
        as_text(worse["response"], "response", m),
        1.0,
        {**kept, **extra},
    )


def _label(record: Record, row: int) -> bool:
    label = record.get("label")
    if label is True or label is False or (isinstance(label, int | float) and label in (0, 1)):
        return bool(label)
    raise ValueError(f"row {row}: 'label' must be true or false; got {label!r}")


def _number(value: Any, name: str, row: int, *, low: float = -math.inf, high: float = math.inf) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and low <= number <= high):
        between = f" in [{low:g}, {high:g}]" if math.isfinite(low) else ""
        raise ValueError(f"row {row}: {name!r} must be a finite number{between}; got {value!r}")
    return number


def _is_messages(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str | dict) and len(value) > 0


def as_text(value: Any, name: str, row: int) -> str:
    """A string as it is; one message as its content; several as ``role: content`` blocks.

    Raises
    ------
    ValueError
        If `value` is neither text nor messages; it names the column and the row.
    """
    if isinstance(value, str):
        return value
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, int) and not isinstance(value, bool) and name == "prompt":
        return str(value)  # a prompt's number
    if isinstance(value, list) and all(isinstance(m, dict) and "content" in m for m in value):
        if len(value) == 1:
            return str(value[0]["content"])
        return "\n\n".join(f"{m.get('role', 'user')}: {m['content']}" for m in value)
    raise ValueError(
        f"row {row}: {name!r} must be text or a list of messages with 'content'; got {type(value).__name__} "
        f"{value!r}"
    )


def normalised(prompt: str) -> str:
    """A prompt without differences of case and white space: what decides that two prompts are one."""
    return " ".join(prompt.split()).casefold()
