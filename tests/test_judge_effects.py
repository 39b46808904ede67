"""Position, style, self-preference, consistency: effects planted in votes are found, and no others."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import norm, t

from lambdamart_kit.preferences import PreferencePairs
from lambdamart_kit.preferences.judges.controls import read_controlled_votes
from lambdamart_kit.preferences.judges.effects import (
    position_effect,
    self_preference,
    style_effect,
    swap_consistency,
)
from lambdamart_kit.preferences.judges.judged import JudgedPairs
from lambdamart_kit.preferences.judges.logistic import with_tests
from lambdamart_kit.preferences.judges.report import judge_report, vote_agreement

MODELS = {"gpt-x": 0.8, "claude-y": 0.2, "qwen-z": -0.3, "llama-w": -0.7}


def battles(
    n=3000, *, position=0.0, length=0.0, own=0.0, seed=0, judges=("gpt-judge", "claude-judge", "ann")
):
    """Votes of judges who know the models' strengths but for the effects planted."""
    rng = np.random.default_rng(seed)
    family = {"gpt-judge": "gpt-x", "claude-judge": "claude-y"}
    rows = []
    for i in range(n):
        a, b = rng.choice(list(MODELS), 2, replace=False)
        # Strong models are shown first more often: position must not be taken for strength.
        if MODELS[a] < MODELS[b] and rng.random() < 0.5:
            a, b = b, a
        words = rng.integers(5, 60, 2)
        judge = judges[rng.integers(len(judges))]
        eta = MODELS[a] - MODELS[b] + position + length * (words[0] - words[1]) / words.sum()
        eta += own * ((family.get(judge) == a) - (family.get(judge) == b))
        won = rng.random() < expit(eta)
        rows.append(
            {
                "prompt": f"question {i}",
                "model_a": str(a),
                "model_b": str(b),
                "response_a": " ".join(["word"] * words[0]) + f" {i}",
                "response_b": " ".join(["term"] * words[1]) + f" {i}",
                "winner": "tie" if rng.random() < 0.1 else "model_a" if won else "model_b",
                "judge": judge,
            }
        )
    return rows


def judged(rows, annotator=None):
    return JudgedPairs.of(PreferencePairs.read(rows), annotator)


def within(table, term, truth, column="judge"):
    row = table[table[column] == term].iloc[0]
    return abs(row["estimate"] - truth) < 3 * row["se"]


def test_nothing_planted_nothing_found():
    votes = judged(battles())
    assert (position_effect(votes)["p"] > 0.01).all()
    assert (style_effect(votes)["p"] > 0.01).all()
    assert (self_preference(votes)["p"] > 0.01).all()


def test_position_is_told_from_strength():
    votes = judged(battles(position=0.6))
    table = position_effect(votes)
    assert table["judge"].tolist()[0] == "all"
    assert sorted(table["judge"][1:]) == ["ann", "claude-judge", "gpt-judge"]
    assert table["votes"][0] == 3000 == table["votes"][1:].sum()
    # Ties pull log-odds of halves towards zero, by the same share in every judge.
    for name in table["judge"]:
        assert within(table, name, 0.6 * 0.9)
    unplanted = position_effect(judged(battles()))
    assert unplanted["first_wins"][0] > 0.52  # strength alone makes the first response win more often
    assert abs(unplanted["z"][0]) < 2.6


def test_position_without_names_of_models_is_the_share_of_first_places():
    rows = [
        {
            "prompt": f"p{i}",
            "response_a": f"a{i}",
            "response_b": f"b{i}",
            "model_a": "m",
            "model_b": "m",
            "winner": "model_a" if i % 4 else "model_b",
        }
        for i in range(200)
    ]
    table = position_effect(judged(rows))
    assert table["first_wins"][0] == 0.75
    assert table["estimate"][0] == pytest.approx(np.log(3))
    assert table["se"][0] == pytest.approx(np.sqrt(1 / (200 * 0.75 * 0.25)) * np.sqrt(200 / 199))
    assert position_effect(judged([{"prompt": "p", "chosen": "a", "rejected": "b"}])) is None


def test_position_of_judges_who_always_vote_for_the_first():
    rows = battles(600)
    for row in rows:
        if row["judge"] == "ann":
            row["winner"] = "model_a"
    table = position_effect(judged(rows)).set_index("judge")
    assert table["first_wins"]["ann"] == 1.0
    assert np.isnan(table["estimate"]["ann"])
    assert np.isfinite(table["estimate"]["gpt-judge"])
    text = judge_report(PreferencePairs.read(rows)).to_markdown()
    assert "they all went one way" in text


@pytest.mark.parametrize("named", [True, False])
def test_votes_on_one_prompt_do_not_make_chance_look_sure(named):
    """Scores sum to zero over a single cluster, so its sandwich is zero whatever the votes."""
    rows = battles(200, seed=4)
    for row in rows:
        row["prompt"] = "the only question"
        if not named:  # one model: no strengths to tell the first place from
            row["model_a"] = "m"
            row["model_b"] = "m"
    table = position_effect(judged(rows)).set_index("judge")
    assert (table["se"] > 0.1).all()
    assert 0.12 < table["se"]["all"] < 0.25  # 2 over the square root of 200, and more beside strengths
    np.testing.assert_allclose(table["p"], 2 * norm.sf(np.abs(table["estimate"] / table["se"])))
    assert (table["p"] > (0.01 if named else 1e-6)).all()  # strong models are shown first more often


def test_few_prompts_make_a_wider_test():
    found = with_tests(
        ["x", "y", "z"], np.array([1.0, 1.0, 1.0]), np.full(3, 0.3), np.full(3, 0.5), np.array([5, 19, 20])
    )
    assert found["se"].tolist() == [0.5, 0.5, 0.3]
    np.testing.assert_allclose(found["p"], 2 * t.sf([2.0, 2.0, 10 / 3], [4, 18, 19]))
    wider = with_tests(["x"], np.array([1.0]), np.array([0.7]), np.array([0.5]), np.array([5]))
    assert wider["se"].tolist() == [0.7]


def test_readers_are_told_what_chance_finds():
    judges = tuple(f"judge {i}" for i in range(12))
    text = judge_report(PreferencePairs.read(battles(600, judges=judges))).to_markdown()
    assert "Of 13 tests, about 1 would have p below 0.05 by chance alone." in text
    few = judge_report(PreferencePairs.read(battles(300))).to_markdown()
    assert "by chance alone" not in few
    assert "votes on one prompt may hang together" in few


def test_style_is_told_from_strength():
    table = style_effect(judged(battles(length=1.5)))
    assert table["term"].tolist() == ["length"]
    assert within(table, "length", 1.5 * 0.9, column="term")


def test_style_of_pairs_without_names():
    rng = np.random.default_rng(0)
    rows = []
    for i in range(600):
        one = ["**x**", f"# t{i}", "- a", "plain words here"]
        texts = ["\n".join(rng.permutation(one)[: rng.integers(1, 4)]) + f" {i}{k}" for k in range(2)]
        bold = ["**" in text for text in texts]
        first = int(rng.random() < expit(2.0 * (bold[0] - bold[1])))
        rows.append({"prompt": f"p{i}", "chosen": texts[1 - first], "rejected": texts[first]})
    table = style_effect(judged(rows)).set_index("term")
    assert set(table.index) == {"length", "headers", "lists", "bold"}
    assert abs(table["estimate"]["bold"] - 2.0) < 3 * table["se"]["bold"]
    assert (table["p"].drop("bold") > 0.01).all()
    mirrored = [{"prompt": r["prompt"], "chosen": r["rejected"], "rejected": r["chosen"]} for r in rows]
    turned = style_effect(judged(mirrored)).set_index("term")
    np.testing.assert_allclose(turned["estimate"], -table["estimate"], rtol=1e-6)


def test_self_preference_is_told_from_strength():
    votes = judged(battles(6000, own=0.7))
    table = self_preference(votes)
    assert table["judge"].tolist()[0] == "all"
    assert set(table["judge"][1:]) == {"openai", "anthropic"}
    for name in table["judge"]:
        assert within(table, name, 0.7 * 0.9)
    alone = self_preference(judged(battles(judges=("gpt-judge",))))
    assert alone["judge"].tolist() == ["all"]
    assert np.isnan(alone["estimate"][0])
    assert alone["own_wins"][0] > 0.5
    assert self_preference(judged(battles(judges=("ann", "bob")))) is None


def test_consistency_when_places_are_swapped():
    rows = []
    for i in range(40):
        good = i % 2 == 0  # the judge knows the answer to every other question, else takes the first
        for a, b in (("x", "y"), ("y", "x")):
            winner = "model_a" if (a == "x" if good else True) else "model_b"
            rows.append(
                {
                    "prompt": f"q{i}",
                    "model_a": a,
                    "model_b": b,
                    "response_a": f"{a}{i}",
                    "response_b": f"{b}{i}",
                    "winner": winner,
                    "judge": "k",
                }
            )
    table = swap_consistency(judged(rows))
    assert len(table) == 1
    row = table.iloc[0]
    assert (row["pairs"], row["consistent"], row["for_first"], row["for_second"]) == (40, 0.5, 0.5, 0.0)
    assert row["se"] == pytest.approx(np.sqrt(0.25 / 40))
    assert swap_consistency(judged(battles(50))) is None
    other = [{**r, "judge": "m", "winner": "tie"} for r in rows]
    both = swap_consistency(judged(rows + other)).set_index("judge")
    assert both["consistent"].to_dict() == {"all": 0.75, "k": 0.5, "m": 1.0}
    # Over a single prompt residuals sum to zero: the standard error is that of independent pairs.
    one_prompt = swap_consistency(judged([{**row, "prompt": "q"} for row in rows])).iloc[0]
    assert one_prompt["se"] == pytest.approx(np.sqrt(0.25 / 40))


def test_agreement_of_votes_does_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(0)
    rows = [
        {"prompt": f"p{i}", "chosen": c, "rejected": r, "annotator": w}
        for i in range(60)
        for w in "abc"
        for c, r in ([("A", "B")] if rng.random() < 0.8 else [("B", "A")])
    ]
    found = vote_agreement(judged(rows))
    assert found.n_units == 60
    assert found.lower < found.alpha < found.upper
    assert vote_agreement(judged(rows[::-1])).alpha == pytest.approx(found.alpha, abs=1e-12)
    assert vote_agreement(judged(battles(20))) is None
    coin = [
        {**r, "chosen": r["rejected"], "rejected": r["chosen"]} if rng.random() < 0.5 else r for r in rows
    ]
    assert abs(vote_agreement(judged(coin)).alpha) < 0.2


def test_report_says_all_and_is_json():
    report = judge_report(PreferencePairs.read(battles(2000, position=0.8)))
    text = report.to_markdown()
    for title in ("Position", "Style", "Self-preference", "A single scale describes the votes"):
        assert title in text
    found = json.loads(json.dumps(report.to_dict()))
    assert found["position"][0]["p"] < 1e-6
    assert found["scale"]["single_scale_rejected"] is False
    assert {"score", "p", "likelihood_ratio", "p_likelihood_ratio"} <= set(found["scale"])
    empty = judge_report(PreferencePairs.read([{"prompt": "p", "chosen": "a b", "rejected": "c d"}]))
    assert not empty
    assert empty.to_markdown() == ""


def test_report_names_the_cycle():
    rng = np.random.default_rng(0)
    beats = {("rock", "scissors"), ("scissors", "paper"), ("paper", "rock")}
    rows = []
    for i in range(900):
        a, b = rng.choice(["rock", "paper", "scissors"], 2, replace=False)
        right = rng.random() < 0.9
        winner = "model_a" if ((a, b) in beats) == right else "model_b"
        rows.append(
            {
                "prompt": f"q{i}",
                "model_a": str(a),
                "model_b": str(b),
                "response_a": f"{a}{i}",
                "response_b": f"{b}{i}",
                "winner": winner,
                "judge": f"j{i % 4}",
            }
        )
    report = judge_report(PreferencePairs.read(rows))
    assert report.scale.rejects()
    assert report.to_dict()["scale"]["worst_cycles"][0]["cycle"] == "paper > rock > scissors > paper"
    assert "does not describe the votes" in report.to_markdown()


# Votes with controls ---------------------------------------------------------------------------------------


def test_controls_of_a_leaderboard():
    rows = [
        {
            "model_a": "x",
            "model_b": "y",
            "winner": "model_a",
            "judge": "j",
            "len_a": "7",
            "len_b": 5,
            "gap": 2.5,
            "response_a": "one two three",
            "response_b": "**one**",
        },
        {
            "model_a": "y",
            "model_b": "x",
            "winner": "tie",
            "judge": "k",
            "len_a": 1,
            "len_b": 4,
            "gap": -1,
            "response_a": [
                {"role": "user", "content": "long question here"},
                {"role": "assistant", "content": "a"},
            ],
            "response_b": "b c",
        },
    ]
    votes = read_controlled_votes(rows, style=True, covariates=["len_a:len_b", "gap"], groups="judge")
    assert votes.groups.tolist() == ["j", "k"]
    assert votes.covariates.columns.tolist() == ["length", "bold", "len_a - len_b", "gap"]
    np.testing.assert_allclose(votes.covariates["length"], [2 / 4, -1 / 3])
    np.testing.assert_allclose(votes.covariates["bold"], [-1, 0])
    np.testing.assert_allclose(votes.covariates["len_a - len_b"], [2, -3])
    plain = read_controlled_votes(pd.DataFrame(rows))
    assert plain.covariates is None
    assert plain.groups is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"covariates": ["a:b:c"]}, "'covariates' must be COLUMN or FIRST:SECOND; got 'a:b:c'"),
        ({"covariates": ["word"]}, "column 'word' must hold finite numbers .* vote 0 has 'much'"),
        ({"covariates": ["nothing"]}, "no column 'nothing'"),
        ({"groups": "nobody"}, "no column 'nobody'"),
        ({"style": True}, "'style' needs the texts of both responses"),
    ],
)
def test_bad_controls(options, message):
    rows = [{"model_a": "x", "model_b": "y", "winner": "model_a", "word": "much"}]
    with pytest.raises(ValueError, match=message):
        read_controlled_votes(rows, **options)


def test_audit_shows_what_votes_say_of_judges():
    pairs = PreferencePairs.read(battles(600, position=0.8))
    report = pairs.audit()
    assert "## Judges" in report.to_markdown()
    assert report.to_dict()["judges"]["position"][0]["votes"] == 600
    plain = PreferencePairs.read([{"prompt": "p", "chosen": "a b", "rejected": "c d"}]).audit()
    assert "## Judges" not in plain.to_markdown()
    assert plain.to_dict()["judges"] == {}
