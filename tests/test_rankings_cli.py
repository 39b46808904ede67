"""``pairs rankings`` and ``pairs dpo``: files of every layout, and what the commands print, draw and save."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from lambdamart_kit import DPOPolicy, PlackettLuce, PreferencePairs
from lambdamart_kit.cli.app import app
from lambdamart_kit.preferences.reading.rankings import read_rankings

RANKINGS = [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "c", "b"], ["a", "b"]]


def run(*arguments, code=0):
    result = CliRunner().invoke(app, ["pairs", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def strengths(board):
    return board.set_index("item")["strength"].sort_index().to_numpy()


def test_four_layouts_make_the_same_strengths(tmp_path):
    expected = PlackettLuce().fit(RANKINGS).strengths_
    text = [" > ".join(ranking) for ranking in RANKINGS]
    long = [
        {"ballot": k, "item": item, "rank": place}
        for k, ranking in enumerate(RANKINGS)
        for place, item in enumerate(ranking, 1)
    ]
    ranks = [{item: ranking.index(item) + 1 for item in ranking} for ranking in RANKINGS]
    pd.DataFrame({"ranking": text}).to_csv(tmp_path / "text.csv", index=False)
    pd.DataFrame(long).sort_values("item").to_csv(tmp_path / "long.csv", index=False)
    pd.DataFrame(ranks).to_csv(tmp_path / "wide.csv", index=False)
    lines(tmp_path / "lists.jsonl", [{"ranking": ranking} for ranking in RANKINGS])
    out = tmp_path / "board.csv"
    for name, options in (("text.csv", ()), ("long.csv", ()), ("wide.csv", ("--wide",)), ("lists.jsonl", ())):
        result = run("rankings", tmp_path / name, "--out", out, *options)
        np.testing.assert_allclose(strengths(pd.read_csv(out)), expected, atol=1e-9)
        assert "5 rankings of 3 items" in result.stderr
        assert result.stdout.split()[:3] == ["rank", "item", "strength"]


def test_choices_of_the_best(tmp_path):
    sets = [["a", "b", "c"]] * 4 + [["a", "b"]] * 2
    chosen = ["a", "a", "b", "c", "a", "b"]
    rows = [
        {"choice": c, "alternatives": " | ".join(s), "who": k % 2}
        for k, (c, s) in enumerate(zip(chosen, sets))
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "choices.csv", index=False)
    out = tmp_path / "board.csv"
    run(
        "rankings",
        tmp_path / "choices.csv",
        "--out",
        out,
        "--groups",
        "who",
        "--anchor",
        "b=1000",
        "--scale",
        100,
    )
    fitted = PlackettLuce().fit([[c] for c in chosen], sets, groups=[0, 1] * 3)
    expected = fitted.leaderboard(method="clustered", scale=100.0, base=1000.0, anchor="b")
    pd.testing.assert_frame_equal(pd.read_csv(out), expected, check_dtype=False)


def test_ties_are_read_and_their_parameter_is_told(tmp_path):
    rows = [{"ranking": r} for r in ("a > b = c", "c > a = b", "b > c > a", "a = c > b")]
    assert read_rankings(rows).rankings[0] == ["a", ["b", "c"]]
    result = run("rankings", lines(tmp_path / "ties.jsonl", rows))
    assert "log_tie_parameter_2" in result.stderr


def test_weights_and_named_columns():
    rows = [{"order": ["a", "b"], "times": "2"}, {"order": ["b", "a"], "times": ""}]
    read = read_rankings(rows, columns={"ranking": "order", "weight": "times"})
    assert read.rankings == [["a", "b"], ["b", "a"]]
    assert read.weight.tolist() == [2, 1]
    wide = read_rankings([{"a": 1, "b": 2, "n": 3}], columns={"weight": "n"}, wide=True)
    assert (wide.rankings, wide.weight.tolist()) == ([["a", "b"]], [3])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"a": 1, "b": 2}], "must hold ranking; or choice and alternatives; .* got the columns a, b"),
        ([{"ranking": "a > b"}, {"ranking": "a > > b"}], "row 1: 'ranking' must be items such as"),
        ([{"ranking": 3}], "row 0: 'ranking' must be a list of items or text"),
        ([{"choice": "a", "alternatives": "a | | b"}], "row 0: 'alternatives' must be a list of items"),
        ([{"choice": "a", "alternatives": ["a", None]}], "row 0: 'alternatives' must be a list of items"),
        ([{"ballot": 1, "item": "a", "rank": 1}] * 2, "row 1: 'item' must be there once in a ballot"),
        ([{"ballot": 1, "item": "a", "rank": "first"}], "row 0: 'rank' must be a finite number"),
    ],
)
def test_what_is_no_ranking_is_named(rows, message):
    with pytest.raises(ValueError, match=message):
        read_rankings(rows)


def test_bad_columns_and_empty_rows():
    with pytest.raises(ValueError, match=r"'columns' must name roles out of ranking, .*; got 'order'"):
        read_rankings([{"ranking": "a > b"}], columns={"order": "ranking"})
    with pytest.raises(ValueError, match="no column 'x'; have ranking"):
        read_rankings([{"ranking": "a > b"}], columns={"ranking": "x"})
    with pytest.raises(ValueError, match="row 1: a ranking must hold a rank at least"):
        read_rankings([{"a": 1, "b": 2}, {"a": None, "b": ""}], wide=True)


@pytest.fixture(scope="module")
def preferences(tmp_path_factory):
    rng = np.random.default_rng(0)
    rows = []
    for k in range(40):
        words = rng.choice(20, 2, replace=False) + 1
        long, short = ("word " * n for n in sorted(words)[::-1])
        good, bad = (long, short) if rng.random() < 0.8 else (short, long)
        rows.append({"prompt": f"question {k}", "chosen": good, "rejected": bad})
    return lines(tmp_path_factory.mktemp("dpo") / "pairs.jsonl", rows)


def test_dpo_trains_prints_draws_and_saves(preferences, tmp_path):
    model, out, picture = tmp_path / "policy.lmk", tmp_path / "history.csv", tmp_path / "training.png"
    result = run("dpo", preferences, "--model", model, "--out", out, "--plot", picture, "--beta", 0.5)
    assert picture.read_bytes()[:4] == b"\x89PNG"
    train, held_out = PreferencePairs.read(preferences).split(test_size=0.2, random_state=0)
    expected = DPOPolicy(beta=0.5, features="text", reg_lambda=1.0).fit_pairs(train, eval_pairs=held_out)
    saved = DPOPolicy.load(model)
    np.testing.assert_array_equal(saved.predict_responses(held_out), expected.predict_responses(held_out))
    pd.testing.assert_frame_equal(pd.read_csv(out), expected.history_, check_dtype=False)
    assert set(pd.read_csv(out)["pairs"]) == {"train", "held out"}
    assert result.stdout.split()[:4] == ["step", "pairs", "loss", "accuracy"]
    assert "converged" in result.stderr


def test_dpo_without_held_out_pairs_and_with_another_loss(preferences):
    result = run("dpo", preferences, "--loss", "ipo", "--test-size", 0, "--max-iter", 50)
    assert "held out" not in result.stdout


def test_dpo_names_an_unknown_loss(preferences):
    result = CliRunner().invoke(app, ["pairs", "dpo", str(preferences), "--loss", "nope"])
    assert result.exit_code != 0
    assert "'loss' must be one of" in str(result.exception) + result.output
