"""``pairs leaderboard``: controls, groups, points, and the verdict on a single scale."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from typer.testing import CliRunner

from lambdamart_kit import BradleyTerry
from lambdamart_kit.cli.app import app
from lambdamart_kit.cli.leaderboard import Intervals, Ties
from lambdamart_kit.preferences.strengths.table import METHODS
from lambdamart_kit.preferences.strengths.ties import TIE_MODELS


def run(*arguments, code=0):
    result = CliRunner().invoke(app, ["pairs", "leaderboard", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def votes(tmp_path_factory):
    rng = np.random.default_rng(0)
    theta = dict(zip("abcd", [0.9, 0.3, -0.3, -0.9]))
    rows = []
    for i in range(800):
        a, b = rng.choice(list(theta), 2, replace=False)
        words = rng.integers(5, 40, 2)
        length = (words[0] - words[1]) / words.sum()
        won = rng.random() < expit(theta[a] - theta[b] + 1.5 * length)
        rows.append(
            {
                "model_a": a,
                "model_b": b,
                "response_a": "x " * words[0],
                "response_b": "y " * words[1],
                "winner": "tie" if rng.random() < 0.1 else "model_a" if won else "model_b",
                "judge": f"j{i % 25}",
                "cost_a": rng.random() * 1e-6,
                "cost_b": rng.random() * 1e-6,
            }
        )
    path = tmp_path_factory.mktemp("votes") / "votes.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_choices_are_those_of_the_library():
    assert [choice.value for choice in Ties] == list(TIE_MODELS)
    assert [choice.value for choice in Intervals] == list(METHODS)


def test_style_covariates_and_groups(votes, tmp_path):
    out = tmp_path / "board.csv"
    options = [
        "--style",
        "--covariates",
        "cost_a:cost_b",
        "--groups",
        "judge",
        "--order-effect",
        "--out",
        out,
    ]
    result = run(votes, *options)
    frame = pd.read_csv(votes)
    a, b = (frame[f"response_{side}"].str.split().str.len() for side in "ab")
    controls = pd.DataFrame({"length": (a - b) / (a + b), "cost_a - cost_b": frame.cost_a - frame.cost_b})
    bt = BradleyTerry(order_effect=True).fit(
        frame[["model_a", "model_b"]], frame["winner"], covariates=controls, groups=frame["judge"]
    )
    board = pd.read_csv(out)
    expected = bt.leaderboard(method="clustered")
    assert board["item"].tolist() == expected["item"].tolist() == list("abcd")
    np.testing.assert_allclose(board[["strength", "se"]], expected[["strength", "se"]], rtol=1e-9)
    lines = [line.split() for line in result.output.splitlines()]
    table = bt.coefficients(method="clustered").set_index("term")
    shown = next(line for line in lines if line and line[0] == "length")
    assert float(shown[1]) == pytest.approx(table["estimate"]["length"], rel=1e-3)
    assert float(shown[2]) == pytest.approx(table["se"]["length"], rel=1e-3)
    assert any(line and line[0] == "order_effect" for line in lines)
    plain = pd.read_csv(out) if run(votes, "--out", out) else None
    assert not np.allclose(plain["strength"], board["strength"], atol=0.01)


def test_points_of_the_anchor(votes, tmp_path):
    out = tmp_path / "board.csv"
    run(votes, "--elo", "--anchor", "c=1000", "--out", out)
    board = pd.read_csv(out).set_index("item")
    assert board["strength"]["c"] == board["lower"]["c"] == 1000
    assert board["strength"]["a"] > 1100
    run(votes, "--scale", 100, "--base", 50, "--out", out)
    assert pd.read_csv(out)["strength"].mean() == pytest.approx(50)
    assert "must be left out with --elo" in run(votes, "--elo", "--scale", 3, code=2).output
    assert "must be left out when --anchor" in run(votes, "--anchor", "c=1", "--base", 3, code=2).output
    assert "must be ITEM=POINTS" in run(votes, "--anchor", "c=many", code=2).output
    assert "must be an item seen in fit; got 'z'" in run(votes, "--anchor", "z=1", code=1).output


def test_rock_paper_scissors_are_not_three_equal_players(tmp_path):
    beats = [("rock", "scissors"), ("scissors", "paper"), ("paper", "rock")]
    rows = [
        {"model_a": a, "model_b": b, "winner": "model_a" if i < 96 else "model_b", "day": i}
        for a, b in beats
        for i in range(100)
    ]
    path = tmp_path / "games.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    text = " ".join(run(path).output.split())
    assert "a single scale does not describe them" in text
    assert "paper > rock > scissors > paper" in text
    assert "A single scale does not describe the votes" in " ".join(
        run(path, "--groups", "day").output.split()
    )


def test_votes_on_a_scale_are_said_to_be(votes):
    assert "A single scale describes the votes as far as they tell" in run(votes).output


def test_bad_controls(votes):
    assert "no column 'speed'" in run(votes, "--covariates", "speed", code=1).output
    assert "must hold finite numbers" in run(votes, "--covariates", "judge", code=1).output
    assert "'maybe' is not one of" in run(votes, "--ties", "maybe", code=2).output
