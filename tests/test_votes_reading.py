"""Votes, filters and selections: outcomes are never assumed, and rows are the rows of the file."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from layout_examples import EXAMPLES
from typer.testing import CliRunner

from lambdamart_kit.cli.app import app
from lambdamart_kit.preferences import LAYOUTS, BradleyTerry, PreferencePairs, audit
from lambdamart_kit.preferences.auditing.near_duplicates import near_any, near_duplicates
from lambdamart_kit.preferences.reading.records import read_records, write_records
from lambdamart_kit.preferences.reading.votes import read_votes
from lambdamart_kit.preferences.scoring import label_probability, preference_report
from lambdamart_kit.preferences.streaming import keep_mask


def run(*arguments, code=0):
    result = CliRunner().invoke(app, ["pairs", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def board(path, *options):
    lines = run("leaderboard", path, *options).stdout.splitlines()[1:]
    return [line.split()[1] for line in lines]


@pytest.fixture
def games():
    """The strong item usually stands second, so that a board that takes the first as the winner is wrong."""
    rng = np.random.default_rng(5)
    strength = {"strong": 1.4, "middle": 0.0, "weak": -1.4}
    rows = []
    for _ in range(300):
        a, b = rng.choice(list(strength), 2, replace=False)
        if strength[a] > strength[b] and rng.random() < 0.7:
            a, b = b, a
        won = rng.random() < 1 / (1 + np.exp(strength[b] - strength[a]))
        rows.append({"model_a": a, "model_b": b, "won": bool(won)})
    return pd.DataFrame(rows)


ORDER = ["strong", "middle", "weak"]


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_one_hot_outcomes_are_read(tmp_path, games, ending):
    won = games["won"].astype(int)
    games = games.assign(winner_model_a=won, winner_model_b=1 - won, winner_tie=0).drop(columns="won")
    path = tmp_path / f"votes.{ending}"
    write_records(games.to_dict("records"), path)
    assert board(path) == ORDER
    votes = read_votes(path)
    expected = BradleyTerry().fit(games[["model_a", "model_b"]], won)
    np.testing.assert_allclose(
        BradleyTerry().fit(votes.pairs, votes.outcomes).strengths_, expected.strengths_
    )


@pytest.mark.parametrize(
    ("column", "labels"),
    [("preference", ("A", "B")), ("FTR", ("H", "A")), ("verdict", ("1", "0")), ("res", ("0.9", "0.2"))],
)
def test_an_outcome_under_another_name_must_be_named(tmp_path, games, column, labels):
    first, second = ("home_team", "away_team") if column == "FTR" else ("model_a", "model_b")
    table = games.rename(columns={"model_a": first, "model_b": second})
    table[column] = np.where(table.pop("won"), *labels)
    table.to_csv(tmp_path / "votes.csv", index=False)
    refused = run("leaderboard", tmp_path / "votes.csv", code=1).output
    assert "an outcome is never assumed" in refused
    assert f"{first}, {second}, {column}" in refused
    assert board(tmp_path / "votes.csv", "--columns", f"outcome={column}") == ORDER
    assert board(tmp_path / "votes.csv", "--winner", column) == ORDER


def test_the_away_team_is_no_first_item():
    rows = pd.DataFrame({"home_team": ["x", "y"], "away_team": ["y", "x"], "FTR": ["A", "D"]})
    assert read_votes(rows, columns={"outcome": "FTR"}).outcomes.tolist() == [0.0, 0.5]
    assert read_votes(rows.iloc[:1], columns={"outcome": "FTR"}).outcomes.tolist() == [0.0]


@pytest.mark.parametrize(
    "sides", [("chosen", "rejected"), ("winner", "loser"), ("chosen_model", "rejected_model")]
)
def test_only_these_columns_imply_the_outcome(sides):
    votes = read_votes(pd.DataFrame([("x", "y")], columns=list(sides)))
    assert votes.outcomes is None
    assert votes.pairs.to_numpy().tolist() == [["x", "y"]]


def test_targets_and_weights_of_pairs_count(tmp_path):
    rows = [
        {"chosen": "x", "rejected": "y", "target": 0.5, "weight": 3.0},
        {"chosen": "y", "rejected": "x", "target": 1},
    ]
    votes = read_votes(rows)
    assert votes.outcomes.tolist() == [0.5, 1.0]
    assert votes.weight.tolist() == [3.0, 1.0]


def test_ids_in_csv_are_text(tmp_path):
    rows = [
        ("007", "7", "model_a"),
        ("7", "007", "model_a"),
        ("1e3", "7", "model_a"),
        ("7", "1e3", "model_a"),
    ] * 2000
    table = pd.DataFrame(rows, columns=["model_a", "model_b", "winner"])
    table.loc[len(table)] = ["guest", "7", "guest"]
    table.loc[len(table)] = ["guest", "7", "7"]
    table.to_csv(tmp_path / "votes.csv", index=False)
    votes = read_votes(tmp_path / "votes.csv")
    assert sorted(BradleyTerry().fit(votes.pairs, votes.outcomes).items_) == ["007", "1e3", "7", "guest"]


def test_integer_ids_of_winners():
    fitted = BradleyTerry().fit([[10, 20], [20, 10], [10, 20]], [10, 10, 20])
    assert fitted.strengths_ == pytest.approx([np.log(2) / 2, -np.log(2) / 2])
    with pytest.warns(UserWarning, match="read as outcomes"):
        BradleyTerry().fit([[0, 1], [0, 1], [0, 1]], [0, 1, 0])
    ambiguous = pd.DataFrame({"model_a": ["0", "0"], "model_b": ["1", "1"], "winner": ["0", "1"]})
    with pytest.raises(ValueError, match="may be the winner's name or a number"):
        read_votes(ambiguous)


def test_only_the_columns_needed_are_decoded(tmp_path, monkeypatch):
    pq = pytest.importorskip("pyarrow.parquet")
    write_records(EXAMPLES["arena_33k"].records, tmp_path / "arena.parquet")
    read, decoded = pq.read_table, []

    def spy(path, columns=None, **options):
        decoded.append(columns)
        return read(path, columns=columns, **options)

    monkeypatch.setattr(pq, "read_table", spy)
    votes = read_votes(tmp_path / "arena.parquet", keep=["judge"])
    assert decoded == [["model_a", "model_b", "winner", "judge"]]
    assert votes.columns["judge"].tolist() == ["j"] * 3


def test_texts_read_as_codes_give_the_same_board(tmp_path, games):
    """Of Parquet only the codes of few texts are read; several files may code the same text differently."""
    pytest.importorskip("pyarrow.parquet")
    games = games.assign(winner=np.where(games["won"], games["model_a"], "model_b")).drop(columns="won")
    for name, part in (("1", games.iloc[::-1].iloc[:200]), ("2", games.iloc[::-1].iloc[200:])):
        part.to_parquet(tmp_path / f"{name}.parquet")
    votes = read_votes(str(tmp_path / "*.parquet"))
    whole = tmp_path / "whole.parquet"
    games.to_parquet(whole)
    one_file = read_votes(whole)
    assert isinstance(one_file.pairs["model_a"].dtype, pd.CategoricalDtype)
    expected = BradleyTerry().fit(games[["model_a", "model_b"]].astype(object), games["winner"].to_numpy())
    for read in (votes, one_file, read_votes(whole, keep=["model_a"])):
        fitted = BradleyTerry().fit(read.pairs, read.outcomes)
        assert fitted.items_.tolist() == expected.items_.tolist()
        np.testing.assert_allclose(fitted.strengths_, expected.strengths_, atol=1e-12)


@pytest.mark.parametrize("dtype", [object, "string", "str", "category"])
def test_outcomes_of_every_text_type_say_the_same(dtype):
    pairs = [["x", "y"], ["y", "x"], ["x", "y"], ["x", "y"]]
    labels = pd.Series(["model_a", "x", "tie", "y"], dtype=dtype)
    expected = BradleyTerry().fit(pairs, [1.0, 0.0, 0.5, 0.0])
    np.testing.assert_array_equal(BradleyTerry().fit(pairs, labels).strengths_, expected.strengths_)
    missing = pd.Series(["model_a", "x", None, "y"], dtype=dtype)
    with pytest.raises(ValueError, match=r"row 2 has (None|nan|<NA>) for 'x' against 'y' \(1 such rows\)"):
        BradleyTerry().fit(pairs, missing)
    with pytest.raises(ValueError, match=r"row 1 has 'somebody' for 'y' against 'x'"):
        BradleyTerry().fit(pairs, labels.astype(object).replace("x", "somebody").astype(dtype))
    with pytest.raises(ValueError, match=r"expected shape \(4,\), got \(3,\)"):
        BradleyTerry().fit(pairs, labels[:3])


def test_games_that_were_not_played_are_left_out():
    rows = pd.DataFrame(
        {
            "home_team": ["x", "y", "x"],
            "away_team": ["y", "x", "y"],
            "home_score": [1, None, 0],
            "away_score": [0, 2, 0],
        }
    )
    votes = read_votes(rows, keep=["home_score"])
    assert votes.outcomes.tolist() == [1.0, 0.5]
    assert votes.rows.tolist() == [0, 2]


# Filter and select ----------------------------------------------------------------------------------------


def kept(tmp_path, rows, *options):
    write_records(rows, tmp_path / "in.jsonl")
    run("filter", tmp_path / "in.jsonl", "--out", tmp_path / "out.jsonl", *options)
    return list(read_records(tmp_path / "out.jsonl"))


def test_filters_drop_rows_and_not_pair_numbers(tmp_path):
    kto = [
        {"prompt": "p1", "completion": "fine", "label": True},
        {"prompt": "p2", "completion": "also fine", "label": True},
        {"prompt": "p1", "completion": "", "label": False},
        {"prompt": "p2", "completion": "bad", "label": False},
    ]
    assert kept(tmp_path, kto, "--drop", "empty_response") == [kto[0], kto[1], kto[3]]
    rated = [
        {"prompt": f"p{i}", "response": f"{w} {i}" if (i, w) != (1, "mid") else "", "score": s}
        for i in range(3)
        for w, s in (("bad", 1), ("good", 3), ("mid", 2))
    ]
    assert kept(tmp_path, rated, "--drop", "empty_response") == [r for r in rated if r["response"]]
    assert kept(tmp_path, [*kto, kto[1]], "--drop", "duplicate") == kto


def test_rows_of_which_only_some_pairs_are_bad_are_not_guessed():
    rows = [{"prompt": "p", "responses": ["a", "b", "A"], "scores": [3, 2, 1]}]
    with pytest.raises(
        ValueError, match="row 0 holds several pairs, of which only some have the problem 'nearly_equal'"
    ):
        keep_mask(rows, drop=["nearly_equal"])
    assert keep_mask(rows, drop=["duplicate"]).tolist() == [True]


def test_votes_of_several_judges_are_kept(tmp_path):
    votes = [{"prompt": "p", "chosen": c, "rejected": r, "annotator": w} for c, r, w in ("ABx", "ABy", "BAz")]
    found = {
        name: rows.tolist() for name, rows in PreferencePairs.read(votes).audit().rows.items() if len(rows)
    }
    assert found == {"outvoted": [2]}
    assert kept(tmp_path, votes, "--drop", "contradiction", "--drop", "duplicate") == votes
    assert kept(tmp_path, votes, "--drop", "outvoted") == votes[:2]


def test_repeats_of_one_judge_are_not_the_others():
    votes = [{"prompt": "p", "chosen": "A", "rejected": "B", "annotator": "x"}] * 3
    report = audit(PreferencePairs.read(votes))
    assert report.rows["duplicate"].tolist() == [1, 2]
    assert report.annotators["shared"].tolist() == [0]


def test_selection_of_rated_rows_gives_pairs(tmp_path):
    rows = [
        {"prompt": f"q {i}", "chosen": "a long good answer " * (i % 4 + 1), "rejected": "no"}
        for i in range(40)
    ]
    write_records(rows, tmp_path / "fit.jsonl")
    run("fit", tmp_path / "fit.jsonl", "--model", tmp_path / "m.lmk", "--scorer", "linear", "--test-size", 0)
    rated = [{"prompt": "p", "response": f"resp {i}" + " x" * i, "score": i} for i in range(4)]
    write_records(rated, tmp_path / "rated.jsonl")
    lines = run("select", tmp_path / "m.lmk", tmp_path / "rated.jsonl", "-k", 6).stdout.splitlines()
    assert len({(row["chosen"], row["rejected"]) for row in map(json.loads, lines)}) == 6
    scored = [
        json.loads(line)
        for line in run("score", tmp_path / "m.lmk", tmp_path / "fit.jsonl").stdout.splitlines()
    ]
    assert set(scored[0]) - set(rows[0]) == {
        "scores_chosen",
        "scores_rejected",
        "results",
        "score_margin",
        "probability",
    }
    assert "pairs convert" in run("score", tmp_path / "m.lmk", tmp_path / "rated.jsonl", code=1).output


def test_filters_go_by_the_label_and_leave_ties_alone():
    class Model:
        def predict_proba_pairs(self, pairs):
            return np.array([0.9, 0.9, 0.9, 0.2])

    rows = [{"prompt": "p", "chosen": "a", "rejected": "b", "target": t} for t in (1.0, 0.0, 0.5, 0.3)]
    assert keep_mask(rows, model=Model(), min_probability=0.5).tolist() == [True, False, True, True]
    p = label_probability(np.array([0.9, 0.9, 0.9]), np.array([1.0, 0.2, 0.5]))
    np.testing.assert_allclose(p, [0.9, 0.1, np.nan])


def test_a_subset_may_be_called_all():
    report = preference_report(
        np.array([2.0, -1.0]),
        np.ones(2),
        np.ones(2),
        np.arange(2),
        chosen_length=np.array([1, 1]),
        rejected_length=np.array([2, 2]),
        subset=np.array(["all", "other"]),
    )
    assert report["subset"].tolist() == ["all", "all", "other"]
    assert report["pairs"].tolist() == [2, 1, 1]


# Commands -------------------------------------------------------------------------------------------------


def test_every_layout_is_listed_and_taken_on_the_command_line(tmp_path):
    listed = [line.split()[0] for line in run("layouts").stdout.splitlines()]
    assert listed == list(LAYOUTS)
    write_records(EXAMPLES["pku_better"].records, tmp_path / "pku.jsonl")
    run("convert", tmp_path / "pku.jsonl", "--layout", "pku_better", "--out", tmp_path / "pairs.csv")
    assert len(PreferencePairs.read(tmp_path / "pairs.csv")) == 2
    assert "got 'hf'" in run("audit", tmp_path / "pku.jsonl", "--layout", "hf", code=1).output


def test_columns_on_the_command_line(tmp_path):
    write_records([{"ask": "q", "good": "x", "bad": "y"}], tmp_path / "mine.jsonl")
    named = ("--columns", "prompt=ask,chosen=good,rejected=bad")
    assert "1 pairs, 1 prompts" in run("audit", tmp_path / "mine.jsonl", *named).stdout
    assert "got the columns 'ask', 'good', 'bad'" in run("audit", tmp_path / "mine.jsonl", code=1).output
    assert "ROLE=COLUMN" in run("audit", tmp_path / "mine.jsonl", "--columns", "ask", code=2).output


def test_an_audit_keeps_no_texts(tmp_path):
    write_records(EXAMPLES["helpsteer3"].records, tmp_path / "data.jsonl")
    lean = PreferencePairs.read(tmp_path / "data.jsonl", texts=False)
    full = PreferencePairs.read(tmp_path / "data.jsonl")
    assert len(lean.responses) == 0
    pd.testing.assert_frame_equal(lean.response_facts, full.response_facts)
    assert lean.audit().to_dict() == full.audit().to_dict()
    with pytest.raises(ValueError, match="these pairs have no texts"):
        lean.to_frame()


# Near duplicates ------------------------------------------------------------------------------------------


def test_near_duplicates_by_hand():
    texts = [
        "What is the capital of France?",
        "what is the  capital of france ?",
        "What's the capital of France?",
        "What is the capital of Spain, and why?",
        *("2+2=?", "2+3=?", "", "", "Name a fruit"),
    ]
    assert near_duplicates(texts).tolist() == [0, 0, 0, 3, 4, 5, 6, 7, 8]
    assert near_any(["Name a  FRUIT!", "Name a fort", ""], texts).tolist() == [True, False, False]
    assert near_duplicates([]).tolist() == []


COUNTED = " ".join(f"w{chr(97 + k % 26)}{chr(97 + k // 26)}" for k in range(40))


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("tv is better than books | books", "tv is better than books | tv", False),
        ("gay marriage right or wrong | it is right", "gay marriage right or wrong | it is wrong", False),
        ("name a fruit that is red in colour", "name a vegetable that is red in colour", False),
        ("should parents be allowed to vote twice", "should parents not be allowed to vote twice", False),
        ("is it possible to square the circle", "is it impossible to square the circle", False),
        ("why don't cats like cold water at all", "why do cats like cold water at all", False),
        ("name a fruit that is red in colour", "name a fruit that is red in color", True),
        (
            "please write a poem about the wide blue sea at night",
            "write a poem about the wide blue sea at night",
            True,
        ),
        (
            "list all the planets of the solar system by mass",
            "list all planets of the solar system by mass",
            True,
        ),
        (
            "explain how a double rainbow forms in the sky",
            "briefly explain how a double rainbow forms in the sky",
            True,
        ),
        ("explain the difference of cats and dogs", "explain the differences of cats and dogs", True),
        (f"{COUNTED} ends in smith", f"{COUNTED} ends in jones", True),  # one word of 43
    ],
)
def test_words_that_decide_and_words_that_do_not(one, other, near):
    assert near_duplicates([one, other]).tolist() == ([0, 0] if near else [0, 1])


def test_a_word_that_decides_is_no_near_duplicate():
    texts = ["christianity or atheism | christianity", "christianity or atheism | atheism"]
    assert near_duplicates(texts).tolist() == [0, 1]


@pytest.mark.parametrize("texts", [True, False])
def test_the_length_of_a_name_is_no_length_of_a_response(texts):
    votes = [{"prompt": "p", "left": "a long name", "right": "short", "winner": w} for w in ("left", "right")]
    report = PreferencePairs.read(votes, texts=texts).audit()
    assert "longer_response_preferred" not in report.facts


def test_near_duplicates_are_found_at_any_distance(rng):
    """Every text with a few characters of a word changed is found; texts drawn anew are not."""
    words = ["".join(chr(97 + c) for c in rng.integers(0, 26, 6)) for _ in range(400)]
    texts = [" ".join(rng.choice(words, 20)) for _ in range(300)]
    changed = [text[:43] + "zq" + text[45:] for text in texts]
    group = near_duplicates(texts + changed)
    np.testing.assert_array_equal(group, np.tile(np.arange(300), 2))


def test_contamination_between_splits():
    def ask(text):
        return PreferencePairs.read([{"prompt": text, "chosen": "Paris.", "rejected": "Lyon."}])

    near = ask("What is the capital of France?").audit(ask("What's the capital of France?"))
    assert near.rows["prompt_in_both"].tolist() == []
    assert near.rows["near_prompt_in_both"].tolist() == [0]
