"""Made-up records of every layout of preference data, with the pairs that they stand for.

Every example writes the same two questions with known answers. What a layout cannot say (a tie, who wrote a
response) is left out of what is expected of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

QUESTION, OTHER = "Name a fruit.", "Name a river."
GOOD, BAD, MIDDLE = "An apple is a fruit.", "A stone.", "Pear?"


@dataclass(frozen=True)
class Example:
    """Records of one layout.

    Attributes
    ----------
    records : list of dict
    pairs : list of (prompt, chosen, rejected, target)
    subset : list of str or None
        Expected column ``subset``.
    columns : dict of str to list
        Other columns that are expected.
    shown_first : list of int or None
        Expected `chosen_shown_first`.
    rows : list of [int, int] or None
        Expected rows; row i for pair i by default.
    margin : list of float or None
        Expected margins, which are gaps of ratings; none by default.
    """

    records: list[dict[str, Any]]
    pairs: list[tuple[str, str, str, float]]
    subset: list[Any] | None = None
    columns: dict[str, list[Any]] = field(default_factory=dict)
    shown_first: list[int] | None = None
    rows: list[list[int]] | None = None
    margin: list[float] | None = None


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def bot(text: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def share(who: str, text: str) -> dict[str, str]:
    return {"from": who, "value": text}


PLAIN = [(QUESTION, GOOD, BAD, 1.0), (OTHER, MIDDLE, BAD, 1.0)]
TIED = [(QUESTION, GOOD, BAD, 1.0), (OTHER, BAD, MIDDLE, 1.0), (OTHER, MIDDLE, BAD, 0.5)]


def labelled(
    sides: tuple[str, str], prompt: str, first: dict, second: dict, tie: dict | None, **extra: Any
) -> list:
    """The first answer wins, then the second, then it is a tie (if the layout has ties)."""
    rows = [
        {prompt: QUESTION, sides[0]: GOOD, sides[1]: BAD, **first, **extra},
        {prompt: OTHER, sides[0]: MIDDLE, sides[1]: BAD, **second, **extra},
    ]
    return rows if tie is None else [*rows, {prompt: OTHER, sides[0]: MIDDLE, sides[1]: BAD, **tie, **extra}]


def conversations(first: str, second: str, tie: str, content: Any = lambda text: text, **extra: Any) -> list:
    """Votes on whole conversations."""
    outcomes = [(QUESTION, GOOD, BAD, first), (OTHER, MIDDLE, BAD, second), (OTHER, MIDDLE, BAD, tie)]
    return [
        {
            "model_a": "ma",
            "model_b": "mb",
            "winner": winner,
            **extra,
            "conversation_a": [user(content(q)), bot(content(a))],
            "conversation_b": [user(content(q)), bot(content(b))],
        }
        for q, a, b, winner in outcomes
    ]


MODELS = {"chosen_model": ["ma", "mb", "ma"], "rejected_model": ["mb", "ma", "mb"]}
BLOCKS = [{"type": "text", "text": "{}"}]

EXAMPLES: dict[str, Example] = {
    "kit": Example(
        [
            {
                "prompt": QUESTION,
                "chosen": GOOD,
                "rejected": BAD,
                "target": 0.25,
                "weight": 2.0,
                "margin": 0.5,
                "chosen_shown_first": True,
                "system": "no system message, a column",
                "subset": "s",
            },
        ],
        [(QUESTION, GOOD, BAD, 0.25)],
        margin=[0.5],
        subset=["s"],
        columns={"system": ["no system message, a column"]},
        shown_first=[1],
    ),
    "openai": Example(
        [
            {
                "input": {"messages": [user(QUESTION)], "tools": []},
                "preferred_output": [bot(GOOD)],
                "non_preferred_output": [bot(BAD)],
            },
            {"input": [user(OTHER)], "preferred_output": [bot(MIDDLE)], "non_preferred_output": [bot(BAD)]},
        ],
        PLAIN,
    ),
    "ultrafeedback": Example(
        [
            {
                "source": "s",
                "instruction": QUESTION,
                "models": ["x", "y", "z"],
                "completions": [
                    {
                        "model": "x",
                        "response": BAD,
                        "overall_score": 10.0,
                        "annotations": {"honesty": {"Rating": "1"}, "truth": {"Rating": "2"}},
                    },
                    {
                        "model": "y",
                        "response": GOOD,
                        "overall_score": 2.0,
                        "annotations": {"honesty": {"Rating": "5"}, "truth": {"Rating": "N/A"}},
                    },
                    {
                        "model": "z",
                        "response": MIDDLE,
                        "annotations": {"honesty": {"Rating": "3"}, "truth": {"Rating": "3"}},
                    },
                ],
            }
        ],
        [(QUESTION, GOOD, BAD, 1.0), (QUESTION, MIDDLE, BAD, 1.0), (QUESTION, GOOD, MIDDLE, 1.0)],
        margin=[3.5, 1.5, 2.0],
        columns={
            "chosen_model": ["y", "z", "y"],
            "rejected_model": ["x", "x", "z"],
            "source": ["s"] * 3,
        },
        rows=[[0, 0]] * 3,
    ),
    "nectar": Example(
        [
            {
                "prompt": QUESTION,
                "answers": [
                    {"answer": BAD, "model": "x", "rank": 3.0},
                    {"answer": GOOD, "model": "y", "rank": 1.0},
                ],
            }
        ],
        PLAIN[:1],
        columns={"chosen_model": ["y"], "rejected_model": ["x"], "rank_difference": [2.0]},
    ),
    "stack_exchange": Example(
        [
            {
                "question": QUESTION,
                "answers": [
                    {"text": BAD, "pm_score": 0},
                    {"text": GOOD, "pm_score": 4},
                    {"text": MIDDLE, "pm_score": 0},
                ],
            }
        ],
        [(QUESTION, GOOD, BAD, 1.0), (QUESTION, GOOD, MIDDLE, 1.0)],
        rows=[[0, 0]] * 2,
        margin=[4.0, 4.0],
    ),
    "oasst": Example(
        [
            dict(zip(("message_id", "parent_id", "role", "text", "rank", "deleted"), message))
            for message in (
                ("1", None, "prompter", QUESTION, None, False),
                ("2", "1", "assistant", BAD, 1.0, False),
                ("3", "1", "assistant", GOOD, 0.0, False),
                ("4", "1", "assistant", "gone", 2.0, True),
                ("5", "3", "prompter", OTHER, None, False),
                ("6", "5", "assistant", MIDDLE, 0.0, False),
                ("7", "5", "assistant", BAD, 1.0, False),
            )
        ],
        [
            (QUESTION, GOOD, BAD, 1.0),
            (f"user: {QUESTION}\n\nassistant: {GOOD}\n\nuser: {OTHER}", MIDDLE, BAD, 1.0),
        ],
        rows=[[2, 1], [5, 6]],
    ),
    "shp": Example(
        labelled(("human_ref_A", "human_ref_B"), "history", {"labels": 1}, {"labels": 0}, None, domain="d"),
        TIED[:2],
        subset=["d", "d"],
        shown_first=[-1, -1],
    ),
    "pku_better": Example(
        labelled(
            ("response_0", "response_1"), "prompt", {"better_response_id": 0}, {"better_response_id": 1}, None
        ),
        TIED[:2],
    ),
    "pku_safer": Example(
        labelled(
            ("response_0", "response_1"), "prompt", {"safer_response_id": 0}, {"safer_response_id": 1}, None
        ),
        TIED[:2],
    ),
    "helpsteer3": Example(
        [
            {
                "domain": "code",
                "context": [user(q)],
                "response1": a,
                "response2": b,
                "overall_preference": label,
            }
            for q, a, b, label in (
                (QUESTION, GOOD, BAD, -2),
                (OTHER, MIDDLE, BAD, 3),
                (OTHER, MIDDLE, BAD, 0),
            )
        ],
        TIED,
        subset=["code"] * 3,
        shown_first=[1, 0, 1],
    ),
    "helpsteer2_preference": Example(
        labelled(
            ("response_1", "response_2"),
            "prompt",
            {"preference_strength": -1},
            {"preference_strength": 2},
            {"preference_strength": -100},
            split="train",
        ),
        TIED,
        subset=["train"] * 3,
        columns={"both_bad": [None, None, True]},
    ),
    "helpsteer": Example(
        [
            {
                "prompt": QUESTION,
                "response": text,
                "helpfulness": h,
                "correctness": h,
                "coherence": 4,
                "complexity": 1,
                "verbosity": v,
            }
            for text, h, v in ((BAD, 0, 4), (MIDDLE, 2, 0), (GOOD, 4, 0))
        ],
        PLAIN[:1],
        margin=[2.0],
        rows=[[2, 0]],
    ),
    "webgpt": Example(
        [
            {
                "question": {"full_text": q, "dataset": "eli5"},
                "answer_0": a,
                "answer_1": b,
                "score_0": s,
                "score_1": -s,
            }
            for q, a, b, s in (
                (QUESTION, GOOD, BAD, 0.5),
                (OTHER, MIDDLE, BAD, -1.0),
                (OTHER, MIDDLE, BAD, 0.0),
            )
        ],
        TIED,
        subset=["eli5"] * 3,
        margin=[1.0, 2.0, 0.0],
    ),
    "summarize_feedback": Example(
        [
            {
                "info": {source: q, "subreddit": "r"},
                "summaries": [{"text": a, "policy": "p"}, {"text": b, "policy": "q"}],
                "choice": choice,
                "worker": "w",
            }
            for source, q, a, b, choice in (
                ("post", QUESTION, GOOD, BAD, 0),
                ("article", OTHER, MIDDLE, BAD, 1),
            )
        ],
        TIED[:2],
        subset=["r", "r"],
        columns={"worker": ["w", "w"], "chosen_model": ["p", "q"]},
    ),
    "summarize_axes": Example(
        [
            {"info": {"post": QUESTION}, "summary": {"text": text, "policy": "p", "axes": {"overall": score}}}
            for text, score in ((BAD, 2), (GOOD, 7))
        ],
        PLAIN[:1],
        rows=[[1, 0]],
        margin=[5.0],
    ),
    "stack_exchange_paired": Example(
        [{"question": QUESTION, "response_j": GOOD, "response_k": BAD}], PLAIN[:1]
    ),
    "arena_55k": Example(
        [
            {
                "id": i,
                "model_a": "ma",
                "model_b": "mb",
                "prompt": json.dumps([q]),
                "response_a": json.dumps([a]),
                "response_b": json.dumps([b]),
                "winner_model_a": w[0],
                "winner_model_b": w[1],
                "winner_tie": w[2],
            }
            for i, (q, a, b, w) in enumerate(
                (
                    (QUESTION, GOOD, BAD, (1, 0, 0)),
                    (OTHER, MIDDLE, BAD, (0, 1, 0)),
                    (OTHER, MIDDLE, BAD, (0, 0, 1)),
                )
            )
        ],
        TIED,
        columns=MODELS,
        shown_first=[1, 0, 1],
    ),
    "arena_33k": Example(
        conversations(
            "model_a", "model_b", "tie (bothbad)", judge="j", anony=True, language="English", turn=1
        ),
        TIED,
        subset=["English"] * 3,
        columns={**MODELS, "judge": ["j"] * 3, "both_bad": [None, None, True]},
        shown_first=[1, 0, 1],
    ),
    "arena_100k": Example(
        conversations("model_a", "model_b", "tie", judge_hash="h", language="English"),
        TIED,
        subset=["English"] * 3,
        columns={**MODELS, "judge_hash": ["h"] * 3},
    ),
    "arena_140k": Example(
        conversations(
            "model_a",
            "model_b",
            "both_bad",
            lambda t: [{"type": "text", "text": t}],
            evaluation_session_id="e",
            evaluation_order=1,
            language="en",
        ),
        TIED,
        subset=["en"] * 3,
        columns={**MODELS, "both_bad": [None, None, True]},
    ),
    "mt_bench": Example(
        conversations(
            "model_a", "model_b", "tie (inconsistent)", judge=["gpt-4", "pair-v2"], turn=1, question_id=81
        ),
        TIED,
        columns={**MODELS, "judge": ["gpt-4, pair-v2"] * 3},
    ),
    "judgebench": Example(
        labelled(
            ("response_A", "response_B"), "question", {"label": "A>B"}, {"label": "B>A"}, None, source="mmlu"
        ),
        TIED[:2],
        subset=["mmlu"] * 2,
    ),
    "alpaca_eval": Example(
        [
            {
                "instruction": q,
                "output_1": a,
                "output_2": b,
                "preference": p,
                "generator_1": "ma",
                "generator_2": "mb",
                "is_switched_outputs": switched,
                "dataset": "d",
            }
            for q, a, b, p, switched in (
                (QUESTION, GOOD, BAD, 1.0, False),
                (OTHER, MIDDLE, BAD, 2.0, True),
                (OTHER, MIDDLE, BAD, 1.5, False),
                (QUESTION, GOOD, BAD, 1.2, True),
                (QUESTION, GOOD, BAD, 0, False),
            )
        ],
        [*TIED, (QUESTION, GOOD, BAD, 0.8), (QUESTION, GOOD, BAD, 0.5)],
        subset=["d"] * 5,
        columns={"chosen_model": ["ma", "mb", "ma", "ma", "ma"]},
        shown_first=[1, 1, 1, 0, 1],
    ),
    "llmbar": Example(
        labelled(("output_1", "output_2"), "input", {"label": 1}, {"label": 2}, None), TIED[:2]
    ),
    "rewardbench2": Example(
        [
            {
                "id": "1",
                "subset": "Ties",
                "prompt": QUESTION,
                "chosen": [GOOD, MIDDLE],
                "rejected": [BAD, "No."],
                "num_correct": 2,
                "total_completions": 4,
                "models": ["m"] * 4,
            }
        ],
        [(QUESTION, c, r, 1.0) for c in (GOOD, MIDDLE) for r in (BAD, "No.")],
        subset=["Ties"] * 4,
        rows=[[0, 0]] * 4,
    ),
    "llama_factory": Example(
        [
            {"conversations": [share("human", q)], "chosen": share("gpt", c), "rejected": share("gpt", r)}
            for q, c, r, _ in PLAIN
        ],
        PLAIN,
    ),
    "swift": Example(
        [{"messages": [user(q), bot(c)], "rejected_response": r} for q, c, r, _ in PLAIN], PLAIN
    ),
    "ultrafeedback_binarized": Example(
        [
            {
                "prompt": q,
                "prompt_id": "i",
                "chosen": [user(q), bot(c)],
                "rejected": [user(q), bot(r)],
                "messages": [user(q), bot(c)],
                "score_chosen": good,
                "score_rejected": 4.0,
            }
            for (q, c, r, _), good in zip(PLAIN, (8.5, 4.0))
        ],
        [PLAIN[0], (*PLAIN[1][:3], 0.5)],
        margin=[4.5, 0.0],
        columns={"prompt_id": ["i", "i"]},
    ),
    "argilla": Example(
        [
            {
                "instruction": q,
                "chosen_response": c,
                "rejected_response": r,
                "chosen_avg_rating": 5.0,
                "rejected_avg_rating": 3.5,
            }
            for q, c, r, _ in PLAIN
        ],
        PLAIN,
        margin=[1.5, 1.5],
    ),
    "argilla_cleaned": Example(
        [
            {
                "prompt": q,
                "chosen": [user(q), bot(c)],
                "rejected": [user(q), bot(r)],
                "chosen-rating": 5.0,
                "rejected-rating": 4.0,
                "chosen-model": "ma",
                "rejected-model": "mb",
            }
            for q, c, r, _ in PLAIN
        ],
        PLAIN,
        margin=[1.0, 1.0],
        columns={
            "chosen_model": ["ma", "ma"],
            "rejected_model": ["mb", "mb"],
        },
    ),
    "distilabel_orca": Example(
        [
            {
                "system": "",
                "input": q,
                "chosen": c,
                "rejected": r,
                "generations": [c, r],
                "order": order,
                "rating": rating,
                "status": status,
                "chosen_score": 9.0,
            }
            for (q, c, r, _), order, rating, status in zip(
                PLAIN,
                (["chosen", "rejected"], ["rejected", "chosen"]),
                ([9.0, 7.0], None),
                ("unchanged", "tie"),
            )
        ],
        [PLAIN[0], (*PLAIN[1][:3], 0.5)],
        margin=[2.0, 0.0],
        shown_first=[1, 0],
    ),
    "orca": Example(
        [{"system": "Be brief.", "question": q, "chosen": c, "rejected": r} for q, c, r, _ in PLAIN],
        [(f"system: Be brief.\n\nuser: {q}", c, r, t) for q, c, r, t in PLAIN],
    ),
    "rewardbench": Example(
        [
            {
                "id": 1,
                "prompt": q,
                "chosen": c,
                "rejected": r,
                "chosen_model": "ma",
                "rejected_model": "mb",
                "subset": "alpacaeval-easy",
            }
            for q, c, r, _ in PLAIN
        ],
        PLAIN,
        subset=["alpacaeval-easy"] * 2,
        columns={"chosen_model": ["ma", "ma"]},
    ),
    "hh": Example(
        [
            {"chosen": f"\n\nHuman: {q}\n\nAssistant: {c}", "rejected": f"\n\nHuman: {q}\n\nAssistant: {r}"}
            for q, c, r, _ in PLAIN
        ],
        [(f"\n\nHuman: {q}\n\nAssistant:", c, r, t) for q, c, r, t in PLAIN],
    ),
    "skywork": Example(
        [
            {"chosen": [user(q), bot(c)], "rejected": [user(q), bot(r)], "source": "magpie"}
            for q, c, r, _ in PLAIN
        ],
        PLAIN,
        subset=["magpie"] * 2,
    ),
    "trl": Example(
        [
            {"prompt": QUESTION, "chosen": GOOD, "rejected": BAD},
            {"prompt": [user(OTHER)], "chosen": [bot(MIDDLE)], "rejected": [bot(BAD)]},
        ],
        PLAIN,
    ),
    "kto": Example(
        [
            {"prompt": QUESTION, "completion": GOOD, "label": True},
            {"prompt": OTHER, "completion": MIDDLE, "label": True},
            {"prompt": QUESTION, "completion": BAD, "label": False},
            {"prompt": OTHER, "completion": BAD, "label": "false"},
        ],
        PLAIN,
        rows=[[0, 2], [1, 3]],
    ),
    "ranked": Example(
        [
            {"prompt": QUESTION, "responses": [BAD, GOOD], "ranks": [2, 1]},
            {"prompt": OTHER, "responses": [MIDDLE, BAD], "ranks": [1, 2]},
        ],
        PLAIN,
    ),
    "rated": Example(
        [
            {"prompt": q, "response": r, "score": s}
            for q, r, s in ((QUESTION, BAD, 1), (OTHER, MIDDLE, 2), (QUESTION, GOOD, 3), (OTHER, BAD, 1))
        ],
        PLAIN,
        margin=[2.0, 1.0],
        rows=[[2, 0], [1, 3]],
    ),
    "votes": Example(
        [
            {"model_a": "ma", "model_b": "mb", "prompt": q, "response_a": a, "response_b": b, "winner": w}
            for q, a, b, w in (
                (QUESTION, GOOD, BAD, "model_a"),
                (OTHER, MIDDLE, BAD, "mb"),
                (OTHER, MIDDLE, BAD, "tie"),
            )
        ],
        TIED,
        columns=MODELS,
        shown_first=[1, 0, 1],
    ),
}
