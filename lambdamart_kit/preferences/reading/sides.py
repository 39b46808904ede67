"""Layouts with a chosen and a rejected side: TRL and its relatives."""

from __future__ import annotations

from typing import Any

from lambdamart_kit.files.records import Record
from lambdamart_kit.preferences.reading import messages
from lambdamart_kit.preferences.reading.layout import Pair, Sample, layout, rest, with_margin
from lambdamart_kit.preferences.reading.messages import Turn, as_text, is_conversation, prompt_text, turns
from lambdamart_kit.preferences.reading.values import (
    RowError,
    flag,
    is_missing,
    listed,
    number,
    required,
    shown,
)

# Where the prompt stands, the first that has a value. `input` beside `instruction` belongs to the
# instruction.
_PROMPTS = ("prompt", "question", "instruction", "input", "context")
_USED = ("prompt", "chosen", "rejected", "system", "target", "chosen_shown_first")


def _sides(sample: Sample) -> bool:
    return sample.has("chosen", "rejected")


@layout(["preferred_output", "non_preferred_output"])
def openai(row: int, record: Record) -> Pair:
    """OpenAI's preference fine-tuning: `input` with messages, `preferred_output`, `non_preferred_output`."""
    given = required(record, "input", row)
    asked = given.get("messages") if isinstance(given, dict) and "messages" in given else given
    extra = rest(record, "input", "preferred_output", "non_preferred_output")
    if isinstance(given, dict) and not is_missing(given.get("tools")):
        extra["tools"] = given["tools"]
    return Pair(
        prompt_text(asked, None, "input", row),
        side_text(record, "preferred_output", row),
        side_text(record, "non_preferred_output", row),
        (row, row),
        extra,
    )


def _is_llama_factory(sample: Sample) -> bool:
    return sample.has("conversations", "chosen", "rejected") and isinstance(sample.first("chosen"), dict)


@layout(_is_llama_factory)
def llama_factory(row: int, record: Record) -> Pair:
    """LLaMA-Factory's ShareGPT form: `conversations`, and one message on each side."""
    return Pair(
        prompt_text(required(record, "conversations", row), record.get("system"), "conversations", row),
        side_text(record, "chosen", row),
        side_text(record, "rejected", row),
        (row, row),
        rest(record, "conversations", "chosen", "rejected", "system"),
    )


@layout(lambda sample: sample.has("messages", "rejected_response") and "chosen" not in sample.columns)
def swift(row: int, record: Record) -> Pair:
    """ms-swift: `messages` that end in the preferred answer, and `rejected_response`."""
    said = turns(required(record, "messages", row), "messages", row)
    if said[-1].role != "assistant" or len(said) < 2:
        raise RowError(row, "'messages' must end in the answer of the assistant that is preferred")
    return Pair(
        prompt_text(_plain_messages(said[:-1]), record.get("system"), "messages", row),
        said[-1].text,
        side_text(record, "rejected_response", row),
        (row, row),
        rest(record, "messages", "rejected_response", "system"),
    )


def _plain_messages(said: list[Turn]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.text} for turn in said]


def _is_binarized(sample: Sample) -> bool:
    known = sample.has("messages") or sample.has("prompt_id")
    return known and _sides(sample) and sample.has("score_chosen", "score_rejected")


@layout(_is_binarized)
def ultrafeedback_binarized(row: int, record: Record) -> Pair:
    """ultrafeedback_binarized: whole conversations on both sides, `score_chosen` and `score_rejected`."""
    return _scored(row, record, "score_chosen", "score_rejected", unused=("messages",))


@layout(["instruction", "chosen_response", "rejected_response"])
def argilla(row: int, record: Record) -> Pair:
    """Argilla's UltraFeedback: `instruction`, `chosen_response`, `rejected_response` and average ratings."""
    named = _renamed(record, {"chosen_response": "chosen", "rejected_response": "rejected"})
    return _scored(row, named, "chosen_avg_rating", "rejected_avg_rating")


@layout(lambda sample: _sides(sample) and sample.has("chosen-rating", "rejected-rating"))
def argilla_cleaned(row: int, record: Record) -> Pair:
    """UltraFeedback cleaned: `prompt`, conversations, `chosen-rating`, `rejected-rating`, `chosen-model`."""
    named = _renamed(record, {"chosen-model": "chosen_model", "rejected-model": "rejected_model"})
    return _scored(row, named, "chosen-rating", "rejected-rating")


# Pairs without a rating keep the column, and their status still says which are ties.
@layout(lambda sample: _sides(sample) and sample.has("generations", "order") and "rating" in sample.seen)
def distilabel_orca(row: int, record: Record) -> Pair:
    """Distilabel's orca pairs: `system`, `input`, the sides, `generations`, `order`, `rating`, `status`."""
    pair = read_sides(row, record)
    ratings, order = record.get("rating"), record.get("order")
    extra = dict(pair.extra)
    if not is_missing(ratings):
        scores = sorted(number(r, "rating", row) for r in listed(ratings, "rating", row) if not is_missing(r))
        if len(scores) == 2:
            extra = with_margin(extra, scores[1] - scores[0], "difference of the ratings in 'rating'")
    tied = str(record.get("status", "")).lower() == "tie" and "target" not in record
    first = None if is_missing(order) else str(listed(order, "order", row)[0]) == "chosen"
    return pair._replace(extra=extra, target=0.5 if tied else pair.target, chosen_shown_first=first)


@layout(lambda sample: _sides(sample) and sample.has("system", "question"))
def orca(row: int, record: Record) -> Pair:
    """orca_dpo_pairs: `system`, `question`, `chosen`, `rejected`."""
    return read_sides(row, record)


@layout(lambda sample: _sides(sample) and sample.has("subset", "chosen_model", "rejected_model"))
def rewardbench(row: int, record: Record) -> Pair:
    """RewardBench and its prior sets: `prompt`, the sides, `chosen_model`, `rejected_model`, `subset`."""
    return read_sides(row, record)


def _is_hh(sample: Sample) -> bool:
    if not _sides(sample) or sample.columns & {*_PROMPTS, "messages"}:
        return False
    texts = [text for name in ("chosen", "rejected") for text in sample.values(name)]
    return all(isinstance(t, str) for t in texts) and any("\n\nHuman:" in t for t in texts)


@layout(_is_hh, subset_from_folder=True)
def hh(row: int, record: Record) -> Pair:
    r"""Anthropic HH: both sides hold the whole dialogue, with ``\n\nHuman:`` and ``\n\nAssistant:``."""
    return read_sides(row, record)


def _is_skywork(sample: Sample) -> bool:
    implicit = _sides(sample) and not sample.columns & {*_PROMPTS, "messages"}
    return implicit and sample.has("source") and is_conversation(sample.first("chosen"))


@layout(_is_skywork)
def skywork(row: int, record: Record) -> Pair:
    """Skywork-Reward: conversations that begin with the prompt on both sides, and `source`."""
    pair = read_sides(row, record)
    return pair._replace(extra={**pair.extra, "subset": pair.extra.get("subset", record.get("source"))})


@layout(lambda sample: _sides(sample) or sample.has("chosen_response", "rejected_response"))
def trl(row: int, record: Record) -> Pair:
    """TRL: `chosen`, `rejected` and maybe `prompt`, as text or messages; also under other names."""
    named = _renamed(record, {"chosen_response": "chosen", "rejected_response": "rejected"})
    return read_sides(row, named)


def read_sides(row: int, record: Record) -> Pair:
    """A record with `chosen` and `rejected`, each an answer or a conversation that begins with the prompt.

    A prompt that stands at the start of both sides is taken off. Without a prompt it is what the sides share:
    whole messages, or for texts the beginning up to the last mark that the model speaks.

    Raises
    ------
    RowError
        If a side is missing or no text or messages, or the sides hold conversations that begin neither with
        the prompt nor alike.
    """
    given, used = find_prompt(record, row)
    sides: tuple[Any, Any] = (record.get("chosen"), record.get("rejected"))
    for name, side in zip(("chosen", "rejected"), sides):
        if not (isinstance(side, str) or (is_conversation(side) and len(side) > 0)):
            raise RowError(row, f"{name!r} must be text or messages; got {shown(side)}")
    prompt, chosen, rejected = _apart(given, sides, record.get("system"), row)
    target = record.get("target", 1.0)
    first = record.get("chosen_shown_first")
    return Pair(
        prompt,
        chosen,
        rejected,
        (row, row),
        rest(record, *_USED, *used),
        number(target, "target", row, low=0.0, high=1.0),
        None if is_missing(first) else flag(first, "chosen_shown_first", row),
    )


def find_prompt(record: Record, row: int) -> tuple[Any, tuple[str, ...]]:
    """What the record has as a prompt (None for nothing), and the columns it was made of."""
    history = record.get("history")
    if is_conversation(history):
        context = _history_messages(listed(history, "history", row), row)
        asked, used = _alias(record)
        last = [] if asked is None else _plain_messages(turns(asked, used[0], row))
        return [*context, *last] or None, ("history", *used)
    asked, used = _alias(record)
    if asked is None and not is_missing(history):
        return history, ("history",)
    if asked is None and not is_missing(record.get("messages")):
        return record["messages"], ("messages",)
    return asked, used


def _alias(record: Record) -> tuple[Any, tuple[str, ...]]:
    if not is_missing(record.get("instruction")) and "prompt" not in record:
        addendum = record.get("input")
        if isinstance(addendum, str) and addendum and isinstance(record["instruction"], str):
            return f"{record['instruction']}\n{addendum}", ("instruction", "input")
        return record["instruction"], ("instruction", "input")
    for name in _PROMPTS:
        if name in record and not is_missing(record[name]):
            return record[name], (name,)
    # An empty prompt that is stated says that nothing of the sides is prompt.
    return (record["prompt"], ("prompt",)) if record.get("prompt") == "" else (None, ())


def _history_messages(history: list[Any], row: int) -> list[dict[str, str]]:
    """Earlier turns, as messages or as [question, answer] lists."""
    if history and all(isinstance(entry, dict) for entry in history):
        return _plain_messages(turns(history, "history", row))
    said = []
    for entry in history:
        asked_and_answered = listed(entry, "history", row)
        for role, text in zip(("user", "assistant"), asked_and_answered):
            said.append({"role": role, "content": text})
    return said


def _apart(given: Any, sides: tuple[Any, Any], system: Any, row: int) -> tuple[str, str, str]:
    """Prompt and the two answers as text."""
    if is_conversation(sides[0]) != is_conversation(sides[1]):
        if given is None:
            raise RowError(
                row,
                "'chosen' and 'rejected' must both be text or both messages where there is no prompt; "
                f"got {shown(sides[0])} and {shown(sides[1])}",
            )
        return _texts_apart(given, _last_texts(sides, row), system, row)
    if not is_conversation(sides[0]):
        return _texts_apart(given, (sides[0], sides[1]), system, row)
    chosen = turns(sides[0], "chosen", row, role="assistant")
    rejected = turns(sides[1], "rejected", row, role="assistant")
    prompt = [] if is_missing(given) else messages.prompt_turns(given, "prompt", row)
    whole = chosen[0].role != "assistant" or rejected[0].role != "assistant"
    if not whole:
        return prompt_text(given, system, "prompt", row), as_text(chosen), as_text(rejected)
    return _conversations_apart(prompt, chosen, rejected, system, row)


def _conversations_apart(
    prompt: list[Turn], chosen: list[Turn], rejected: list[Turn], system: Any, row: int
) -> tuple[str, str, str]:
    shared, better, worse = messages.split_common(chosen, rejected)
    if not shared and not (len(chosen) == len(rejected) == 1):
        raise RowError(
            row, "'chosen' and 'rejected' are conversations that do not begin with the same message"
        )
    if prompt and shared and not _begins(prompt, shared):
        raise RowError(
            row,
            "'chosen' and 'rejected' are conversations that do not begin with the prompt; leave the "
            "prompt out "
            f"or correct it (it begins with {shown(as_text(prompt))})",
        )
    # A system message may stand in the prompt only.
    if not any(turn.role == "system" for turn in shared):
        shared = [*(turn for turn in prompt if turn.role == "system"), *shared]
    if not shared:
        return prompt_text(None, system, "prompt", row), as_text(better), as_text(worse)
    return prompt_text(_plain_messages(shared), system, "prompt", row), as_text(better), as_text(worse)


def _begins(prompt: list[Turn], shared: list[Turn]) -> bool:
    """Whether the shared turns start with the prompt's turns or end in its last one."""
    asked = [turn.text.split() for turn in prompt if turn.role != "system"]
    said = [turn.text.split() for turn in shared if turn.role != "system"]
    return said[: len(asked)] == asked or (bool(asked) and said[-1:] == asked[-1:])


def _last_texts(sides: tuple[Any, Any], row: int) -> tuple[str, str]:
    """Sides of which one is text and one messages: an answer each."""
    texts = []
    for name, side in zip(("chosen", "rejected"), sides):
        said = turns(side, name, row, role="assistant")
        if len(said) > 1:
            raise RowError(
                row, f"{name!r} must be one answer where the other side is text; it has {len(said)} messages"
            )
        texts.append(said[0].text)
    return texts[0], texts[1]


def _texts_apart(given: Any, sides: tuple[str, str], system: Any, row: int) -> tuple[str, str, str]:
    if given is None:
        found = messages.split_transcripts(*sides)
        if found is None:
            return prompt_text(None, system, "prompt", row), *sides
        prompt, chosen, rejected = found
        return prompt_text(prompt, system, "prompt", row), chosen, rejected
    if isinstance(given, str) and given and _repeats(given, sides):
        sides = (sides[0][len(given) :].lstrip(), sides[1][len(given) :].lstrip())
    return prompt_text(given, system, "prompt", row), *sides


def _repeats(prompt: str, sides: tuple[str, str]) -> bool:
    """Whether both texts start with the prompt as a prompt, and do not just begin with the same words.

    An answer may begin with the words of a short question. The prompt is taken as repeated if it holds a
    whole conversation, or if it ends in a line break or is followed by one on both sides.
    """
    if not all(side.startswith(prompt) for side in sides):
        return False
    if messages.is_transcript(prompt) or prompt.endswith("\n"):
        return True
    return all(side[len(prompt) : len(prompt) + 1] == "\n" for side in sides)


def side_text(record: Record, name: str, row: int) -> str:
    """The answer in a column: text, a message, or messages of the assistant."""
    value = record.get(name)
    if value is None or (is_conversation(value) and len(value) == 0):
        raise RowError(row, f"{name!r} must be text or messages; got {shown(value)}")
    return as_text(turns(value, name, row, role="assistant"))


def _renamed(record: Record, names: dict[str, str]) -> Record:
    return {
        names.get(name, name) if names.get(name) not in record else name: value
        for name, value in record.items()
    }


def _scored(row: int, record: Record, good: str, bad: str, *, unused: tuple[str, ...] = ()) -> Pair:
    """Sides with a score each; equal scores are a tie, and their difference is the margin."""
    pair = read_sides(row, {name: value for name, value in record.items() if name not in unused})
    scores = [record.get(good), record.get(bad)]
    if any(is_missing(score) for score in scores):
        return pair
    gap = number(scores[0], good, row) - number(scores[1], bad, row)
    extra = with_margin(pair.extra, gap, f"{good} - {bad}")
    tied = gap == 0 and "target" not in record
    return pair._replace(extra=extra, target=0.5 if tied else pair.target)
