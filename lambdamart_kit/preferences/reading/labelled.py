"""Layouts with two answers and a label that says which is better."""

from __future__ import annotations

import json
from typing import Any

from lambdamart_kit.files.records import Record
from lambdamart_kit.preferences.reading.layout import (
    Layout,
    Pair,
    Sample,
    both_texts,
    layout,
    preference,
    rest,
    with_margin,
)
from lambdamart_kit.preferences.reading.messages import (
    as_text,
    is_conversation,
    prompt_text,
    split_common,
    turns,
)
from lambdamart_kit.preferences.reading.values import (
    BOTH_BAD,
    WINNERS,
    RowError,
    flag,
    is_missing,
    listed,
    number,
    one_of,
    required,
    shown,
)

_SIDES_OF_VOTES = (
    ("model_a", "model_b"),
    ("left", "right"),
    ("model_x", "model_y"),
    ("home_team", "away_team"),
)
_ONE_HOT = ("winner_model_a", "winner_model_b", "winner_tie")


@layout(["human_ref_A", "human_ref_B", "labels"])
def shp(row: int, record: Record) -> Pair:
    """SHP: `history`, `human_ref_A`, `human_ref_B`, `labels` (1: A is better, 0: B)."""
    return preference(
        prompt_text(required(record, "history", row), None, "history", row),
        both_texts(record, ("human_ref_A", "human_ref_B"), row),
        one_of(required(record, "labels", row), "labels", row, {"1": 1.0, "0": 0.0}),
        row,
        rest(record, "history", "human_ref_A", "human_ref_B", "labels", subset="domain"),
        shown_in_order=False,
    )


def _pku(question: str, doc: str) -> Layout:
    def read(row: int, record: Record) -> Pair:
        winner = one_of(required(record, question, row), question, row, {"0": 1.0, "1": 0.0})
        return preference(
            prompt_text(required(record, "prompt", row), None, "prompt", row),
            both_texts(record, ("response_0", "response_1"), row),
            winner,
            row,
            rest(record, "prompt", "response_0", "response_1", question),
            shown_in_order=False,
        )

    read.__name__ = "pku_better" if question == "better_response_id" else "pku_safer"
    read.__doc__ = doc
    other = "safer_response_id" if question == "better_response_id" else "better_response_id"

    def fits(sample: Sample) -> bool:
        # The two ids answer different questions and may disagree: with both there, the user chooses.
        return sample.has("response_0", "response_1", question) and other not in sample.columns

    return layout(fits)(read)


pku_better = _pku(
    "better_response_id", "PKU-SafeRLHF by helpfulness: `response_0`, `response_1`, `better_response_id`."
)
pku_safer = _pku(
    "safer_response_id", "PKU-SafeRLHF by safety: `response_0`, `response_1`, `safer_response_id`."
)


@layout(["response1", "response2", "overall_preference"])
def helpsteer3(row: int, record: Record) -> Pair:
    """HelpSteer3: `context`, `response1`, `response2`, `overall_preference` (negative: the first)."""
    name = "context" if "context" in record else "prompt"
    return _signed(row, record, name, ("response1", "response2"), "overall_preference", subset="domain")


@layout(["response_1", "response_2", "preference_strength"])
def helpsteer2_preference(row: int, record: Record) -> Pair:
    """HelpSteer2-preference: `response_1`, `response_2`, `preference_strength` (negative: the first)."""
    return _signed(row, record, "prompt", ("response_1", "response_2"), "preference_strength", subset="split")


def _signed(
    row: int, record: Record, prompt: str, sides: tuple[str, str], label: str, *, subset: str
) -> Pair:
    strength = number(record.get(label), label, row)
    extra = rest(record, prompt, *sides, "system", subset=subset)
    if strength == -100:  # neither response is valid
        extra["both_bad"] = True
        strength = 0.0
    elif abs(strength) > 3 or strength != round(strength):
        raise RowError(
            row, f"{label!r} must be a whole number from -3 to 3, or -100; got {shown(record[label])}"
        )
    return preference(
        prompt_text(required(record, prompt, row), record.get("system"), prompt, row),
        both_texts(record, sides, row),
        0.5 if strength == 0 else float(strength < 0),
        row,
        extra,
    )


@layout(["answer_0", "answer_1", "score_0", "score_1"])
def webgpt(row: int, record: Record) -> Pair:
    """WebGPT comparisons: `question`, `answer_0`, `answer_1`, `score_0` = -`score_1` (0 is a tie)."""
    scores = [number(record.get(name), name, row) for name in ("score_0", "score_1")]
    if scores[0] != -scores[1]:
        raise RowError(
            row, f"'score_0' must be the opposite of 'score_1'; got {scores[0]:g} and {scores[1]:g}"
        )
    question = required(record, "question", row)
    subset = None
    if isinstance(question, dict):
        subset = question.get("dataset")
        question = question.get("full_text")
        if not isinstance(question, str):
            raise RowError(row, f"'question' must have a text 'full_text'; got {shown(record['question'])}")
    extra = rest(record, "question", "answer_0", "answer_1")
    if subset is not None:
        extra.setdefault("subset", subset)
    extra = with_margin(extra, abs(scores[0] - scores[1]), "score_0 - score_1, whichever is above 0")
    texts = both_texts(record, ("answer_0", "answer_1"), row)
    prompt = prompt_text(question, None, "question", row)
    return preference(prompt, texts, 0.5 if scores[0] == 0 else float(scores[0] > 0), row, extra)


@layout(["summaries", "choice"])
def summarize_feedback(row: int, record: Record) -> Pair:
    """OpenAI's summaries from feedback: `info`, two `summaries`, `choice` (0: the first is better)."""
    summaries = listed(required(record, "summaries", row), "summaries", row)
    texts = [s["text"] for s in summaries if isinstance(s, dict) and isinstance(s.get("text"), str)]
    if len(summaries) != 2 or len(texts) != 2:
        raise RowError(row, f"'summaries' must be two with a 'text' each; got {shown(record['summaries'])}")
    first_wins = one_of(required(record, "choice", row), "choice", row, {"0": 1.0, "1": 0.0})
    extra = rest(record, "summaries", "choice")
    policies = (summaries[0].get("policy"), summaries[1].get("policy"))
    return preference(
        summary_source(record, row), (texts[0], texts[1]), first_wins, row, _with_site(extra), models=policies
    )


def summary_source(record: Record, row: int) -> str:
    """The text that was summarised: a Reddit post or a news article."""
    info = required(record, "info", row)
    text = next((info[n] for n in ("post", "article") if isinstance(info, dict) and info.get(n)), None)
    if not isinstance(text, str):
        raise RowError(row, f"'info' must have a text 'post' or 'article'; got {shown(info)}")
    return text


def _with_site(extra: Record) -> Record:
    info = extra["info"]
    subset = info.get("subreddit") or info.get("site")
    return {**extra, "subset": subset} if subset and "subset" not in extra else extra


@layout(["response_j", "response_k"])
def stack_exchange_paired(row: int, record: Record) -> Pair:
    """stack-exchange-paired: `question`, `response_j` (the better one), `response_k`."""
    return preference(
        prompt_text(required(record, "question", row), None, "question", row),
        both_texts(record, ("response_j", "response_k"), row),
        1.0,
        row,
        rest(record, "question", "response_j", "response_k"),
        shown_in_order=False,
    )


def _is_judgebench(sample: Sample) -> bool:
    return sample.has("response_A", "response_B", "label") and ">" in str(sample.first("label"))


@layout(_is_judgebench)
def judgebench(row: int, record: Record) -> Pair:
    """JudgeBench: `question`, `response_A`, `response_B`, `label` ("A>B" or "B>A")."""
    label = one_of(required(record, "label", row), "label", row, {"a>b": 1.0, "b>a": 0.0, "a=b": 0.5})
    return preference(
        prompt_text(required(record, "question", row), None, "question", row),
        both_texts(record, ("response_A", "response_B"), row),
        label,
        row,
        rest(record, "question", "response_A", "response_B", "label", subset="source"),
    )


@layout(["instruction", "output_1", "output_2", "preference"])
def alpaca_eval(row: int, record: Record) -> Pair | None:
    """AlpacaEval: `output_1`, `output_2`, `preference` (1: the first, 2: the second, 1.5: a tie)."""
    if is_missing(record.get("preference")):
        return None  # the annotator gave no answer
    preferred = number(record["preference"], "preference", row, low=0.0, high=2.0)
    if 0 < preferred < 1:
        raise RowError(row, f"'preference' must lie from 1 to 2, or be 0 for a tie; got {preferred:g}")
    extra = rest(
        record,
        "instruction",
        "output_1",
        "output_2",
        "preference",
        "generator_1",
        "generator_2",
        subset="dataset",
    )
    pair = preference(
        prompt_text(required(record, "instruction", row), None, "instruction", row),
        both_texts(record, ("output_1", "output_2"), row),
        0.5 if preferred == 0 else 2.0 - preferred,
        row,
        extra,
        models=(record.get("generator_1"), record.get("generator_2")),
    )
    # The outputs are stored in one order; the column says whether the judge saw them in the other.
    switched = record.get("is_switched_outputs")
    first = pair.chosen_shown_first
    seen = (
        None if is_missing(switched) or first is None else first != flag(switched, "is_switched_outputs", row)
    )
    return pair._replace(chosen_shown_first=seen)


@layout(["input", "output_1", "output_2", "label"])
def llmbar(row: int, record: Record) -> Pair:
    """LLMBar: `input`, `output_1`, `output_2`, `label` (1 or 2)."""
    return preference(
        prompt_text(required(record, "input", row), None, "input", row),
        both_texts(record, ("output_1", "output_2"), row),
        one_of(required(record, "label", row), "label", row, {"1": 1.0, "2": 0.0}),
        row,
        rest(record, "input", "output_1", "output_2", "label"),
        shown_in_order=False,
    )


# Votes between models
# -----------------------------------------------------------------------------------------


@layout(["model_a", "model_b", "winner_model_a", "winner_model_b"])
def arena_55k(row: int, record: Record) -> Pair:
    """LMSYS arena 55k (Kaggle): `response_a`, `response_b`, and the outcome in three 0/1 columns."""
    return _vote(row, record, ("model_a", "model_b"), one_hot_outcome(record, row), _ONE_HOT)


def one_hot_outcome(record: Record, row: int) -> float:
    """Outcome for model a from `winner_model_a`, `winner_model_b` and `winner_tie`.

    Raises
    ------
    RowError
        If not exactly one of them is 1.
    """
    names = [name for name in _ONE_HOT if name in record]
    won = [flag(record[name], name, row) for name in names]
    if sum(won) != 1:
        stated = ", ".join(f"{name}={record[name]}" for name in names)
        raise RowError(row, f"exactly one of {', '.join(map(repr, names))} must be 1; got {stated}")
    return {"winner_model_a": 1.0, "winner_model_b": 0.0, "winner_tie": 0.5}[names[won.index(True)]]


def _conversations(*names: str) -> Any:
    return lambda sample: sample.has("conversation_a", "conversation_b", "winner", *names)


@layout(_conversations("evaluation_session_id"))
def arena_140k(row: int, record: Record) -> Pair:
    """Arena 140k: conversations of content blocks, `winner` ("both_bad" included), `evaluation_order`."""
    return _winner_vote(row, record)


@layout(_conversations("judge_hash"))
def arena_100k(row: int, record: Record) -> Pair:
    """Arena 100k: `conversation_a`, `conversation_b`, `winner`, `judge_hash`."""
    return _winner_vote(row, record)


@layout(_conversations("anony"))
def arena_33k(row: int, record: Record) -> Pair:
    """Arena 33k: `conversation_a`, `conversation_b`, `winner`, `judge`, `language`."""
    return _winner_vote(row, record)


@layout(_conversations())
def mt_bench(row: int, record: Record) -> Pair:
    """MT-bench judgments: `conversation_a`, `conversation_b`, `winner`, `judge`, `turn`."""
    judge = record.get("judge")
    if is_conversation(judge):
        record = {**record, "judge": ", ".join(map(str, listed(judge, "judge", row)))}
    return _winner_vote(row, record)


def vote_sides(columns: Any) -> tuple[str, str] | None:
    """The two columns of a vote that name the items, or None."""
    return next((sides for sides in _SIDES_OF_VOTES if set(sides) <= set(columns)), None)


@layout(lambda sample: vote_sides(sample.columns) is not None and sample.has("winner"))
def votes(row: int, record: Record) -> Pair:
    """Votes: `model_a`, `model_b` (or `left`, `right`), `winner`; maybe responses and a prompt."""
    return _winner_vote(row, record)


def _winner_vote(row: int, record: Record) -> Pair:
    sides = vote_sides(record)
    if sides is None:
        raise RowError(
            row, f"the two items must be named by 'model_a' and 'model_b'; got {', '.join(record)}"
        )
    outcome = winner_outcome(record.get("winner"), (record[sides[0]], record[sides[1]]), row)
    pair = _vote(row, record, sides, outcome, ("winner",))
    if str(record["winner"]).strip().lower() in BOTH_BAD:
        pair.extra["both_bad"] = True
    return pair


def winner_outcome(winner: Any, items: tuple[Any, Any], row: int) -> float:
    """Outcome for the first item: from the winner's name, a word for a side, or a number in [0, 1].

    Raises
    ------
    RowError
        If `winner` is none of these, or names both items.
    """
    names = [str(item) for item in items]
    said = str(winner)
    if names[0] != names[1] and said in names:
        return 1.0 if said == names[0] else 0.0
    outcome = WINNERS.get(said.strip().lower())
    if outcome is None and (isinstance(winner, int | float) or hasattr(winner, "dtype")):
        outcome = number(winner, "winner", row, low=0.0, high=1.0)
    if outcome is None:
        raise RowError(
            row,
            f"'winner' must be {names[0]!r}, {names[1]!r}, a number from 0 to 1 or one of "
            f"{', '.join(map(repr, WINNERS))}; got {winner!r}",
        )
    return outcome


def _vote(row: int, record: Record, sides: tuple[str, str], outcome: float, used: tuple[str, ...]) -> Pair:
    models = tuple(str(required(record, side, row)) for side in sides)
    prompt, texts, more = _texts_of_vote(row, record, (models[0], models[1]))
    extra = rest(record, *sides, *used, *more, subset="language")
    return preference(prompt, texts, outcome, row, extra, models=(models[0], models[1]))


def _texts_of_vote(
    row: int, record: Record, models: tuple[str, str]
) -> tuple[str, tuple[str, str], tuple[str, ...]]:
    """Prompt and the two responses; the names of the models stand for responses that are not recorded."""
    if "conversation_a" in record or "conversation_b" in record:
        used: tuple[str, ...] = ("conversation_a", "conversation_b", "full_conversation")
        said = [turns(required(record, n, row), n, row) for n in used[:2]]
        shared, first, second = split_common(*said)
        if not shared:
            raise RowError(row, "'conversation_a' and 'conversation_b' do not begin with the same message")
        return as_text(shared), (as_text(first), as_text(second)), used
    prompt = record.get("prompt")
    if "response_a" not in record and "response_b" not in record:
        return ("" if is_missing(prompt) else prompt_text(prompt, None, "prompt", row)), models, ("prompt",)
    answers = [_turn_list(record.get(name), name, row) for name in ("response_a", "response_b")]
    asked = [""] if is_missing(prompt) else _turn_list(prompt, "prompt", row)
    used = ("prompt", "response_a", "response_b")
    if len(asked) == len(answers[0]) == len(answers[1]) == 1:
        return asked[0], (answers[0][0], answers[1][0]), used
    if not len(asked) == len(answers[0]) == len(answers[1]):
        raise RowError(
            row,
            "'prompt', 'response_a' and 'response_b' must have the same number of turns; "
            f"got {len(asked)}, {len(answers[0])} and {len(answers[1])}",
        )
    texts = []
    for said_by in answers:
        later = [f"assistant: {said_by[0]}"]
        later += [f"user: {q}\n\nassistant: {a}" for q, a in zip(asked[1:], said_by[1:])]
        texts.append("\n\n".join(later))
    return asked[0], (texts[0], texts[1]), used


def _turn_list(value: Any, name: str, row: int) -> list[str]:
    """Texts of the turns: the arena's Kaggle files hold them as a list written as JSON."""
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        try:
            decoded = json.loads(value)
        except ValueError:
            return [value]  # an answer in brackets
        if isinstance(decoded, list) and decoded and all(t is None or isinstance(t, str) for t in decoded):
            return ["" if text is None else text for text in decoded]
        return [value]
    if isinstance(value, int) and not isinstance(value, bool) and name == "prompt":
        return [str(value)]
    if value is None or not (isinstance(value, str) or is_conversation(value)):
        raise RowError(row, f"{name!r} must be text, messages or a list of turns; got {shown(value)}")
    return [value] if isinstance(value, str) else [as_text(turns(value, name, row))]
