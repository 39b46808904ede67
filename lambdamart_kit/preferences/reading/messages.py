"""Conversations, whatever their form, as lists of turns and as text.

A conversation comes as a string, as one message, or as a list of messages. A message is
``{"role": ..., "content": ...}`` or ``{"from": ..., "value": ...}``. How its content becomes text:

==================  =========================================================================================
text                as it is
list of parts       the parts one after the other: the text of text parts, ``[image]`` and the like for others
tool calls          after the content, each as ``<tool_call>{"name": ..., "arguments": ...}</tool_call>``
null                nothing, if there are tool calls; else it is an error
==================  =========================================================================================

A single turn is written as its text, several as ``role: text`` with blank lines between them.
"""

from __future__ import annotations

import itertools
import json
from typing import Any, NamedTuple

from lambdamart_kit.preferences.reading.values import RowError, is_missing, shown

_ROLES = {"human": "user", "gpt": "assistant", "prompter": "user", "bot": "assistant", "chatbot": "assistant"}
_MEDIA = {
    "image": "[image]",
    "image_url": "[image]",
    "input_image": "[image]",
    "audio": "[audio]",
    "input_audio": "[audio]",
    "video": "[video]",
    "file": "[file]",
}
# Texts that hold a whole conversation begin the answers of the model with one of these.
_ANSWER_MARKS = (
    "\n\nAssistant:",
    "<|im_start|>assistant\n",
    "<|assistant|>\n",
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "<start_of_turn>model\n",
    "[/INST]",
    "### Assistant:",
    "### Response:\n",
)


class Turn(NamedTuple):
    """One message: who says what."""

    role: str
    text: str


def is_conversation(value: Any) -> bool:
    """Whether a value is a message or a list of messages rather than plain text."""
    return isinstance(value, dict) or (hasattr(value, "__len__") and not isinstance(value, str))


def turns(value: Any, name: str, row: int, *, role: str = "user") -> list[Turn]:
    """The turns of a conversation; a string is one turn of the role `role`.

    Raises
    ------
    RowError
        If `value` is no conversation, or the content of a message cannot become text.

    Examples
    --------
    >>> turns([{"from": "human", "value": "2+2?"}], "prompt", 0)
    [Turn(role='user', text='2+2?')]
    """
    if isinstance(value, str):
        return [Turn(role, value)]
    if hasattr(value, "tolist"):
        value = value.tolist()
    messages = [value] if isinstance(value, dict) else value
    if not isinstance(messages, list | tuple) or not messages:
        raise RowError(row, f"{name!r} must be text or messages; got {shown(value)}")
    return [_turn(message, name, row) for message in messages]


def _turn(message: Any, name: str, row: int) -> Turn:
    if not isinstance(message, dict) or not ({"content", "value", "tool_calls"} & set(message)):
        raise RowError(
            row,
            f"{name!r} must be text or messages with 'role' and 'content' (or 'from' and 'value'); got "
            f"{shown(message)}",
        )
    role = str(message.get("role") or message.get("from") or "user")
    content = message["value"] if "value" in message and "content" not in message else message.get("content")
    calls = _tool_calls(message.get("tool_calls"))
    if content is None and not calls:
        raise RowError(row, f"{name!r} has a message of the {role} without content or tool calls")
    text = "" if content is None else content_text(content, name, row)
    return Turn(_ROLES.get(role, role), "\n".join(part for part in (text, *calls) if part))


def content_text(content: Any, name: str, row: int) -> str:
    """Text of a message's content, by the table of this module.

    Raises
    ------
    RowError
        If the content has a part of an unknown kind.
    """
    if isinstance(content, str):
        return content
    if hasattr(content, "tolist"):
        content = content.tolist()
    parts = content if isinstance(content, list) else [content]
    texts = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(part, dict) and part.get("type") in _MEDIA:
            texts.append(_MEDIA[part["type"]])
        else:
            raise RowError(
                row, f"{name!r} has a content part that is neither text nor a known medium: {shown(part)}"
            )
    return "".join(texts)


def _tool_calls(calls: Any) -> list[str]:
    if calls is None or (isinstance(calls, float) and calls != calls):
        return []
    rendered = []
    for call in calls.tolist() if hasattr(calls, "tolist") else calls:
        function = call.get("function", call) if isinstance(call, dict) else {"name": str(call)}
        known = {k: function[k] for k in ("name", "arguments") if function.get(k) is not None}
        rendered.append(f"<tool_call>{json.dumps(known, ensure_ascii=False)}</tool_call>")
    return rendered


def as_text(conversation: list[Turn]) -> str:
    r"""One turn as its text, several as ``role: text`` with blank lines between them.

    Examples
    --------
    >>> as_text([Turn("system", "Be brief."), Turn("user", "2+2?")])
    'system: Be brief.\n\nuser: 2+2?'
    """
    if len(conversation) == 1:
        return conversation[0].text
    return "\n\n".join(f"{turn.role}: {turn.text}" for turn in conversation)


def prompt_text(value: Any, system: Any, name: str, row: int) -> str:
    """Prompt with its system message, as text. Without a prompt it is the system message or nothing."""
    prompt = (
        []
        if is_missing(value) or (is_conversation(value) and len(value) == 0)
        else prompt_turns(value, name, row)
    )
    if not is_missing(system) and not any(turn.role == "system" for turn in prompt):
        prompt = [*turns(system, "system", row, role="system"), *prompt]
    return as_text(prompt) if prompt else ""


def prompt_turns(value: Any, name: str, row: int) -> list[Turn]:
    """Turns of a prompt. A whole number is a prompt known only by its id."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    elif (
        hasattr(value, "item")
        and getattr(value, "dtype", None) is not None
        and value.dtype.kind in "iu"
        and value.ndim == 0
    ):
        value = str(value.item())
    return turns(value, name, row)


def split_common(chosen: list[Turn], rejected: list[Turn]) -> tuple[list[Turn], list[Turn], list[Turn]]:
    """What two conversations share at their start, and the rest of each: at least its last turn.

    Examples
    --------
    >>> user = Turn("user", "2+2?")
    >>> split_common([user, Turn("assistant", "4")], [user, Turn("assistant", "5")])[0]
    [Turn(role='user', text='2+2?')]
    """
    shared = sum(1 for _ in itertools.takewhile(lambda two: two[0] == two[1], zip(chosen, rejected)))
    at = min(shared, len(chosen) - 1, len(rejected) - 1)
    return chosen[:at], chosen[at:], rejected[at:]


def split_transcripts(chosen: str, rejected: str) -> tuple[str, str, str] | None:
    r"""Shared prompt and the two answers of texts that hold whole conversations, or None if they do not.

    The prompt is the common beginning, up to its last mark that the model speaks. Texts without such a mark
    share no prompt: where two answers begin alike, that beginning belongs to the answers.

    Examples
    --------
    >>> human = "\n\nHuman: Hi\n\nAssistant:"
    >>> split_transcripts(human + " Hello", human + " Hell no")
    ('\n\nHuman: Hi\n\nAssistant:', 'Hello', 'Hell no')
    """
    shared = chosen[
        : sum(1 for _ in itertools.takewhile(lambda two: two[0] == two[1], zip(chosen, rejected)))
    ]
    ends = [shared.rfind(mark) + len(mark) for mark in _ANSWER_MARKS if mark in shared]
    if not ends:
        return None
    at = max(ends)
    return chosen[:at], chosen[at:].lstrip(), rejected[at:].lstrip()


def is_transcript(text: str) -> bool:
    """Whether a text holds a conversation with marks of who speaks."""
    return any(mark in text for mark in _ANSWER_MARKS)
