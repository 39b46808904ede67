"""Every layout: it says itself when records are in it, and reads prompt, responses, target, weight,
subset."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from layout_examples import BAD, EXAMPLES, GOOD, OTHER, QUESTION, bot, share, user

from lambdamart_kit.preferences import LAYOUTS, PreferencePairs
from lambdamart_kit.preferences.reading.layout import take_sample
from lambdamart_kit.preferences.reading.layouts import find_layout
from lambdamart_kit.preferences.reading.records import write_records


def read_as_tuples(pairs):
    return [
        (str(pairs.prompts[p]), str(pairs.responses[c]), str(pairs.responses[r]), round(float(t), 12))
        for p, c, r, t in zip(pairs.prompt, pairs.chosen, pairs.rejected, pairs.target)
    ]


def values(column):
    return [None if isinstance(v, float) and v != v else v for v in column.tolist()]


def check(pairs, example):
    assert read_as_tuples(pairs) == example.pairs
    if example.subset is not None:
        assert pairs.columns["subset"].tolist() == example.subset
    for name, expected in example.columns.items():
        assert values(pairs.columns[name]) == expected, name
    if example.shown_first is not None:
        assert pairs.chosen_shown_first.tolist() == example.shown_first
    assert pairs.rows.tolist() == (example.rows or [[i, i] for i in range(len(pairs))])
    assert pairs.margin.tolist() == (example.margin or [0] * len(pairs))


def test_every_layout_has_an_example():
    assert set(EXAMPLES) == set(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_knows_its_records_and_reads_them(name):
    example = EXAMPLES[name]
    sample, _ = take_sample(example.records)
    assert find_layout(sample).name == name
    is_gap = PreferencePairs.read(example.records).margin_is_gap
    assert is_gap.any() == (example.margin is not None and name != "kit")
    check(PreferencePairs.read(example.records), example)
    check(PreferencePairs.read(example.records, layout=name), example)


@pytest.mark.parametrize("name", LAYOUTS)
def test_weights_and_margins_of_every_layout(name):
    example = EXAMPLES[name]
    records = [{**record, "weight": 0.5, "margin": 0.25} for record in example.records]
    pairs = PreferencePairs.read(records, layout=name)
    assert pairs.weight.tolist() == [0.5] * len(example.pairs)
    assert pairs.margin.tolist() == [0.25] * len(example.pairs)
    assert not {"weight", "margin", "margin_from"} & set(pairs.columns)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_layouts_in_files(tmp_path, name, ending):
    example = EXAMPLES[name]
    if ending == "parquet" and name in ("trl", "openai", "kto"):
        pytest.skip("the example mixes types in one column, which Parquet cannot hold")
    write_records(example.records, tmp_path / f"data.{ending}")
    pairs = PreferencePairs.read(tmp_path / f"data.{ending}")
    assert read_as_tuples(pairs) == example.pairs
    frame = PreferencePairs.read(pd.DataFrame(example.records))
    assert read_as_tuples(frame) == example.pairs


@pytest.mark.parametrize("name", LAYOUTS)
def test_pairs_of_every_layout_survive_a_round_trip(name, tmp_path):
    pairs = PreferencePairs.read(EXAMPLES[name].records)
    pairs.write(tmp_path / "pairs.jsonl")
    again = PreferencePairs.read(tmp_path / "pairs.jsonl")
    assert read_as_tuples(again) == read_as_tuples(pairs)
    assert again.chosen_shown_first.tolist() == pairs.chosen_shown_first.tolist()
    assert PreferencePairs.read(pairs.to_frame()).target.tolist() == pairs.target.tolist()


# Other forms of the same layouts: (layout, records, pairs as prompt, chosen, rejected, target, margin).
FORMS = {
    "conversations without a prompt (TRL)": (
        "trl",
        [{"chosen": [user("2+2?"), bot("4")], "rejected": [user("2+2?"), bot("5")]}],
        [("2+2?", "4", "5", 1.0, 0.0)],
    ),
    "a margin (OpenRLHF)": (
        "trl",
        [{"prompt": "p", "chosen": "a", "rejected": "b", "margin": 2.5}],
        [("p", "a", "b", 1.0, 2.5)],
    ),
    "context and one message a side (axolotl)": (
        "trl",
        [{"messages": [user("q")], "chosen": bot("a"), "rejected": bot("b")}],
        [("q", "a", "b", 1.0, 0.0)],
    ),
    "messages beside texts (RewardBench's prior sets)": (
        "trl",
        [{"prompt": [user("q")], "chosen": "a", "rejected": "b", "subset": "hhh"}],
        [("q", "a", "b", 1.0, 0.0)],
    ),
    "completions as messages (TRL, KTO)": (
        "kto",
        [
            {"prompt": "p", "completion": [bot("a")], "label": True},
            {"prompt": "p", "completion": [bot("b")], "label": False},
        ],
        [("p", "a", "b", 1.0, 0.0)],
    ),
    "instruction, input, output and kto_tag (LLaMA-Factory, alpaca)": (
        "kto",
        [
            {"instruction": "Add", "input": "1 2", "output": "3", "kto_tag": True},
            {"instruction": "Add", "input": "1 2", "output": "4", "kto_tag": "false"},
            {"instruction": "Add", "input": "2 2", "output": "4", "kto_tag": True},
            {"instruction": "Add", "input": "2 2", "output": "5", "kto_tag": False},
        ],
        [("Add\n1 2", "3", "4", 1.0, 0.0), ("Add\n2 2", "4", "5", 1.0, 0.0)],
    ),
    "conversations and kto_tag (LLaMA-Factory, sharegpt)": (
        "kto",
        [
            {"conversations": [share("human", "q"), share("gpt", "a")], "kto_tag": True},
            {"conversations": [share("human", "q"), share("gpt", "b")], "kto_tag": False},
        ],
        [("q", "a", "b", 1.0, 0.0)],
    ),
    "an earlier turn (Anthropic HH)": (
        "hh",
        [
            {
                "chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
                "rejected": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:",
            }
        ],
        [("\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:", "d", "", 1.0, 0.0)],
    ),
    "justifications as a Python text (HelpSteer2)": (
        "helpsteer2_preference",
        [
            {
                "prompt": "q",
                "response_1": "a",
                "response_2": "b",
                "preference_strength": -1,
                "all_preferences_unprocessed": "[{'strength': -1, 'justification': 'x'}]",
            }
        ],
        [("q", "a", "b", 1.0, 0.0)],
    ),
    "a tie of two equal texts without ratings (distilabel orca)": (
        "distilabel_orca",
        [
            {
                "system": "s",
                "input": "q",
                "chosen": "a",
                "rejected": "a",
                "generations": ["a", "a"],
                "order": ["chosen", "rejected"],
                "rating": None,
                "status": "tie",
                "original_chosen": "a",
                "chosen_score": None,
            }
        ],
        [("system: s\n\nuser: q", "a", "a", 0.5, 0.0)],
    ),
    "one right answer against three (RewardBench 2)": (
        "rewardbench2",
        [{"id": "7", "subset": "Math", "prompt": "q", "chosen": ["a"], "rejected": ["b", "c", "d"]}],
        [("q", "a", other, 1.0, 0.0) for other in "bcd"],
    ),
    "generations and ratings (distilabel)": (
        "ranked",
        [{"instruction": "q", "generations": ["a", "b"], "ratings": [2, 5]}],
        [("q", "b", "a", 1.0, 3.0)],
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_other_forms_of_public_layouts(form):
    name, records, expected = FORMS[form]
    sample, _ = take_sample(records)
    assert find_layout(sample).name == name
    pairs = PreferencePairs.read(records)
    margins = [round(float(margin), 12) for margin in pairs.margin]
    assert [(*pair, m) for pair, m in zip(read_as_tuples(pairs), margins)] == expected


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_column_of_subsets_is_kept_in_every_layout(name):
    records = [{**record, "subset": "mine"} for record in EXAMPLES[name].records]
    pairs = PreferencePairs.read(records, layout=name)
    assert pairs.columns["subset"].tolist() == ["mine"] * len(EXAMPLES[name].pairs)


# The family of chosen and rejected ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        # Full conversations beside the prompt, as text or messages.
        (
            {"prompt": "Q", "chosen": [user("Q"), bot("A")], "rejected": [user("Q"), bot("B")]},
            ("Q", "A", "B"),
        ),
        (
            {"prompt": [user("Q")], "chosen": [user("Q"), bot("A")], "rejected": [user("Q"), bot("B")]},
            ("Q", "A", "B"),
        ),  # Without a prompt, it is the common run of messages; equal sides keep their last message.
        ({"chosen": [user("Q"), bot("A")], "rejected": [user("Q"), bot("A")]}, ("Q", "A", "A")),
        # A system message on one place only.
        (
            {
                "prompt": [{"role": "system", "content": "S"}, user("Q")],
                "chosen": [user("Q"), bot("A")],
                "rejected": [user("Q"), bot("B")],
            },
            ("system: S\n\nuser: Q", "A", "B"),
        ),
        # The prompt is only the last turn of the conversation.
        (
            {
                "prompt": "Q2",
                "chosen": [user("Q"), bot("x"), user("Q2"), bot("A")],
                "rejected": [user("Q"), bot("x"), user("Q2"), bot("B")],
            },
            ("user: Q\n\nassistant: x\n\nuser: Q2", "A", "B"),
        ),
        # Texts that repeat the prompt.
        (
            {"prompt": "def f():\n", "chosen": "def f():\n  return 1", "rejected": "def f():\n  pass"},
            ("def f():\n", "return 1", "pass"),
        ),
        # Answers that begin like each other or like the question are left as they are.
        (
            {"chosen": "The sky is blue", "rejected": "The sky is black"},
            ("", "The sky is blue", "The sky is black"),
        ),
        ({"prompt": "Hi", "chosen": "Hi there", "rejected": "Hi friend"}, ("Hi", "Hi there", "Hi friend")),
        (
            {"chosen": "def f():\n  return 1", "rejected": "def f():\n  return 2"},
            ("", "def f():\n  return 1", "def f():\n  return 2"),
        ),
        # Other names of the prompt, and what belongs to it.
        ({"question": "Q", "chosen": "A", "rejected": "B"}, ("Q", "A", "B")),
        ({"instruction": "Add", "input": "1 2", "chosen": "A", "rejected": "B"}, ("Add\n1 2", "A", "B")),
        ({"system": "S", "input": "Q", "chosen": "A", "rejected": "B"}, ("system: S\n\nuser: Q", "A", "B")),
        ({"context": [user("Q")], "chosen": "A", "rejected": "B"}, ("Q", "A", "B")),
        ({"messages": [user("Q")], "chosen": "A", "rejected": bot("B")}, ("Q", "A", "B")),
        (
            {"instruction": "Q2", "history": [["Q", "x"]], "chosen": "A", "rejected": "B"},
            ("user: Q\n\nassistant: x\n\nuser: Q2", "A", "B"),
        ),
        # Content that is no text.
        (
            {
                "prompt": "Q",
                "chosen": [
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [{"function": {"name": "search", "arguments": "{}"}}],
                    }
                ],
                "rejected": [bot("B")],
            },
            ("Q", '<tool_call>{"name": "search", "arguments": "{}"}</tool_call>', "B"),
        ),
        (
            {
                "prompt": [user([{"type": "image"}, {"type": "text", "text": "What?"}])],
                "chosen": [bot([{"type": "text", "text": "A"}])],
                "rejected": [{"from": "gpt", "value": "B"}],
            },
            ("[image]What?", "A", "B"),
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:all prompts are empty")
def test_prompt_and_responses_are_told_apart(record, expected):
    assert read_as_tuples(PreferencePairs.read([record]))[0][:3] == expected


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            {"prompt": "Q", "chosen": [bot(None)], "rejected": [bot("B")]},
            "'chosen' has a message of the assistant w",
        ),
        (
            {"prompt": "Q", "chosen": [bot([{"type": "blob"}])], "rejected": [bot("B")]},
            "'chosen' has a content part",
        ),
        (
            {"prompt": "X", "chosen": [user("Q"), bot("A")], "rejected": [user("Q"), bot("B")]},
            "do not begin with the p",
        ),
        (
            {"chosen": [user("Q"), bot("A")], "rejected": [user("P"), bot("B")]},
            "do not begin with the same message",
        ),
        (
            {"prompt": "Q", "chosen": None, "rejected": "B", "x": 1},
            "the columns must hold chosen and rejected",
        ),
        ({"prompt": "Q", "chosen": [], "rejected": " B"}, "'chosen' must be text or messages; got list"),
        (
            {"prompt": "Q", "chosen": "A", "rejected": {"text": "B"}},
            "'rejected' must be text or messages with 'role'",
        ),
    ],
)
def test_what_has_no_text_is_an_error(record, message):
    with pytest.raises(ValueError, match=message):
        PreferencePairs.read([record])


def test_pairs_without_a_prompt_have_prompts_of_their_own():
    rows = [{"chosen": f"yes {i}", "rejected": f"no {i}"} for i in range(4)]
    with pytest.warns(UserWarning, match="all prompts are empty"):
        pairs = PreferencePairs.read(rows)
    assert len(np.unique(pairs.prompt)) == 4
    train, test = pairs.split(test_size=0.25, random_state=0)
    assert len(train) == 3
    assert len(test) == 1


def test_the_folder_of_hh_is_its_subset(tmp_path):
    for folder in ("harmless-base", "helpful-base"):
        (tmp_path / folder).mkdir()
        write_records(EXAMPLES["hh"].records, tmp_path / folder / "test.jsonl.gz")
    pairs = PreferencePairs.read(str(tmp_path / "*" / "test.jsonl.gz"))
    assert pairs.columns["subset"].tolist() == ["harmless-base"] * 2 + ["helpful-base"] * 2


# What is refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"prompt": "p", "completions": ["a", "b"], "labels": [True, False]}, "process supervision"),
        ({"prompt": "p", "label": {"steps": []}}, "process supervision"),
        ({"transcript": "Human: hi"}, "red-team"),
        ({"conversations": [{"from": "human", "value": "hi"}]}, "supervised fine-tuning"),
        (
            {
                "prompt": "p",
                "response_0": "a",
                "response_1": "b",
                "better_response_id": 0,
                "safer_response_id": 1,
            },
            "layout='pku_better' or layout='pku_safer'",
        ),
        (
            {"model_a": "x", "model_b": "y", "preference": "A"},
            "an outcome is never assumed.*columns={'outcome'",
        ),
        ({"prompt": "p", "responses": ["a", "b"]}, "the order of the responses is unknown"),
        ({"text": "x", "meta": 1}, "got the columns 'text', 'meta'"),
    ],
)
def test_what_is_no_preference_is_refused(record, message):
    with pytest.raises(ValueError, match=message):
        PreferencePairs.read([record])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("shp", {"labels": 2}, "row 0: 'labels' must be one of '1', '0'; got int 2"),
        ("shp", {"labels": True}, "'labels' must be one of"),
        ("helpsteer3", {"overall_preference": 4}, "'overall_preference' must be a whole number from -3 to 3"),
        (
            "helpsteer2_preference",
            {"preference_strength": None},
            "'preference_strength' must be a finite number",
        ),
        ("webgpt", {"score_1": 0.4}, "'score_0' must be the opposite of 'score_1'"),
        ("summarize_feedback", {"choice": -1}, "'choice' must be one of"),
        ("llmbar", {"label": 0}, "'label' must be one of"),
        ("llmbar", {"output_1": None}, "'output_1' must be text"),
        ("judgebench", {"label": "A=>B"}, "'label' must be one of"),
        ("alpaca_eval", {"preference": 0.5}, "'preference' must lie from 1 to 2"),
        (
            "arena_55k",
            {"winner_tie": 1},
            "exactly one of 'winner_model_a', 'winner_model_b', 'winner_tie' must be 1",
        ),
        ("arena_33k", {"winner": "model_c"}, "'winner' must be 'ma', 'mb'"),
        ("arena_33k", {"winner": None}, "'winner' must be"),
        ("kto", {"label": -1}, "'label' must be true or false; got int -1"),
        ("nectar", {"answers": ["A"]}, "'answers' must hold dictionaries"),
        ("oasst", {"message_id": "2"}, "'message_id' must be unique; '2' is that of row 0"),
        ("rewardbench2", {"chosen": [1]}, "'chosen' must be a list of texts"),
        ("swift", {"messages": [user("Q")]}, "must end in the answer of the assistant"),
    ],
)
def test_unknown_values_name_row_and_column(name, change, message):
    records = [dict(record) for record in EXAMPLES[name].records]
    records[0].update(change)
    with pytest.raises(ValueError, match=message):
        PreferencePairs.read(records, layout=name)


def test_unknown_names():
    with pytest.raises(ValueError, match=r"'layout' must be one of kit, openai, .* got 'hf'"):
        PreferencePairs.read(EXAMPLES["trl"].records, layout="hf")
    with pytest.raises(ValueError, match=r"'columns' must name roles out of prompt, .* got 'best'"):
        PreferencePairs.read(EXAMPLES["trl"].records, columns={"best": "chosen"})
    with pytest.raises(ValueError, match=r"'columns' must name columns of the file; it has no 'good'"):
        PreferencePairs.read(EXAMPLES["trl"].records, columns={"chosen": "good"})


# columns= -------------------------------------------------------------------------------------------------


def test_columns_name_the_roles():
    rows = [{"ask": QUESTION, "good": GOOD, "bad": BAD, "w": 2.0, "who": "ann", "prompt": "an id"}]
    named = {"prompt": "ask", "chosen": "good", "rejected": "bad", "weight": "w", "annotator": "who"}
    pairs = PreferencePairs.read(rows, columns=named)
    assert read_as_tuples(pairs) == [(QUESTION, GOOD, BAD, 1.0)]
    assert pairs.weight.tolist() == [2.0]
    assert pairs.columns["annotator"].tolist() == ["ann"]
    assert pairs.columns["file_prompt"].tolist() == ["an id"]


def test_columns_of_votes_and_ratings():
    votes = [{"l": "x", "r": "y", "res": "y", "q": OTHER, "tl": GOOD, "tr": BAD}]
    named = {
        "first": "l",
        "second": "r",
        "outcome": "res",
        "prompt": "q",
        "first_response": "tl",
        "second_response": "tr",
    }
    assert read_as_tuples(PreferencePairs.read(votes, columns=named)) == [(OTHER, BAD, GOOD, 1.0)]
    ratings = [{"prompt": OTHER, "answer": GOOD, "stars": 5}, {"prompt": OTHER, "answer": BAD, "stars": 1}]
    pairs = PreferencePairs.read(ratings, columns={"response": "answer", "score": "stars"})
    assert read_as_tuples(pairs) == [(OTHER, GOOD, BAD, 1.0)]


def test_a_layout_is_told_from_many_rows():
    # The first rows hold no outcome: types vary and nulls come first.
    rows = [{"model_a": "x", "model_b": "y", "winner": "tie", "conversation_a": None, "conversation_b": None}]
    rows += EXAMPLES["mt_bench"].records
    sample, _ = take_sample(rows)
    assert find_layout(sample).name == "mt_bench"


def test_rows_without_a_preference_are_left_out_with_a_warning():
    rows = [{"prompt": "p", "responses": ["A", "B", "C"], "scores": [3, None, 1]}]
    with pytest.warns(UserWarning, match="left out responses without a score: 1 of them, the first in row 0"):
        pairs = PreferencePairs.read(rows)
    assert read_as_tuples(pairs) == [("p", "A", "C", 1.0)]


def test_turns_of_the_kaggle_arena_files():
    row = {
        **EXAMPLES["arena_55k"].records[0],
        "prompt": json.dumps(["Q1", "Q2"]),
        "response_a": json.dumps(["A1", "A2"]),
        "response_b": json.dumps(["B1", None]),
    }
    pairs = PreferencePairs.read([row])
    assert read_as_tuples(pairs)[0][:3] == (
        "Q1",
        "assistant: A1\n\nuser: Q2\n\nassistant: A2",
        "assistant: B1\n\nuser: Q2\n\nassistant: ",
    )


def test_openai_input_may_be_text_that_speaks_of_messages():
    record = {"input": "Which messages are new?", "preferred_output": GOOD, "non_preferred_output": BAD}
    assert PreferencePairs.read([record]).texts["prompt"].tolist() == ["Which messages are new?"] * 2


@pytest.mark.parametrize("number", [7, np.int64(7)])
def test_a_prompt_may_be_known_by_its_number_only(number):
    pairs = PreferencePairs.read([{"prompt": number, "chosen": GOOD, "rejected": BAD}])
    assert pairs.texts["prompt"].tolist() == ["7", "7"]
