"""``lambdamart-kit pairs`` from files to files."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from lambdamart_kit.cli.app import app
from lambdamart_kit.preferences import PreferencePairs, RewardModel
from lambdamart_kit.preferences.reading.records import read_records, write_records


def run(*arguments, code=0):
    result = CliRunner().invoke(app, ["pairs", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def prefs(tmp_path):
    rows = [
        {
            "id": i,
            "prompt": f"p{i % 15}",
            "chosen": f"answer {i} is good and long",
            "rejected": f"no {i}",
            "mine": 1,
        }
        for i in range(60)
    ]
    rows.append({**rows[0], "id": 60})
    write_records(rows, tmp_path / "prefs.jsonl")
    return tmp_path / "prefs.jsonl"


def test_audit(prefs, tmp_path):
    assert "| duplicate | 1 |" in run("audit", prefs).stdout
    options = ("--noise", 3, "--other", prefs)
    report = json.loads(run("audit", prefs, "--json", *options).stdout)
    assert json.loads(run("audit", prefs, "--format", "json", *options).stdout) == report
    assert report["problems"]["duplicate"] == [60]
    assert len(report["problems"]["prompt_in_both"]) == 61
    assert len(report["suspicious"]) == 3
    run("audit", prefs, "--out", tmp_path / "report.md")
    assert (tmp_path / "report.md").read_text().startswith("# Audit")


@pytest.mark.filterwarnings("ignore:the model is not better than length")
def test_fit_score_filter(prefs, tmp_path):
    model, scored, kept = tmp_path / "rm.lmk", tmp_path / "scored.parquet", tmp_path / "kept.jsonl.gz"
    fit = ("fit", prefs, "--model", model, "--scorer", "linear", "--features", "text")
    report = run(*fit, "--bags", 2).stdout
    assert "calibration_slope" in report
    assert len(RewardModel.load(model).rewards_) == 2
    run(*fit)
    assert len(RewardModel.load(model).rewards_) == 1
    run("score", model, prefs, "--out", scored)
    rows = list(read_records(scored))
    assert len(rows) == 61
    assert rows[3]["mine"] == 1
    assert rows[3]["results"] == 1.0
    assert rows[3]["score_margin"] == pytest.approx(rows[3]["scores_chosen"] - rows[3]["scores_rejected"])
    lines = run("score", model, prefs).stdout.strip().splitlines()
    assert json.loads(lines[3])["probability"] == pytest.approx(rows[3]["probability"])
    run("filter", prefs, "--out", kept, "--model", model, "--min-probability", 0.5, "--drop", "duplicate")
    assert [row["id"] for row in read_records(kept)] == list(range(60))
    assert list(next(read_records(kept))) == ["id", "prompt", "chosen", "rejected", "mine"]


def test_filter_names_unknown_problems(prefs, tmp_path):
    result = run("filter", prefs, "--out", tmp_path / "x.jsonl", "--drop", "boring", code=1)
    assert "got 'boring'" in result.output


def test_leaderboard(tmp_path):
    votes = pd.DataFrame(
        [("a", "b", "model_a")] * 3
        + [("b", "a", "model_a")]
        + [("c", "a", "tie")] * 2
        + [("b", "c", "model_a")] * 2,
        columns=["model_a", "model_b", "winner"],
    )
    votes.to_csv(tmp_path / "votes.csv", index=False)
    table = run(
        "leaderboard",
        tmp_path / "votes.csv",
        "--elo",
        "--plot",
        tmp_path / "board.png",
        "--out",
        tmp_path / "b.csv",
    ).stdout
    assert table.splitlines()[1].split()[:2] == ["1", "a"]
    board = pd.read_csv(tmp_path / "b.csv")
    assert board["strength"].mean() == pytest.approx(1500)
    assert (tmp_path / "board.png").stat().st_size > 1000
    renamed = votes.rename(columns={"model_a": "x", "model_b": "y", "winner": "w"})
    renamed.to_csv(tmp_path / "renamed.csv", index=False)
    names = ("--first", "x", "--second", "y", "--winner", "w")
    assert (
        run("leaderboard", tmp_path / "renamed.csv", *names, "--top", 1).stdout.splitlines()[1].split()[1]
        == "a"
    )
    assert (
        "no column 'z'"
        in run("leaderboard", tmp_path / "renamed.csv", "--first", "x", "--second", "z", code=1).output
    )
    assert "name the columns" in run("leaderboard", tmp_path / "renamed.csv", code=1).output


def test_leaderboard_of_games(tmp_path):
    games = pd.DataFrame(
        [("x", "y", 2, 1), ("y", "x", 0, 0), ("y", "x", 3, 1), ("x", "y", None, None)],
        columns=["home_team", "away_team", "home_score", "away_score"],
    )
    games.to_csv(tmp_path / "games.csv", index=False)
    result = run("leaderboard", tmp_path / "games.csv", "--order-effect", "--prior", 1)
    assert result.stdout.splitlines()[1].split()[1] in "xy"


def test_pairs_survive_a_round_trip(prefs, tmp_path):
    write_records(read_records(prefs), tmp_path / "copy.parquet")
    one, two = PreferencePairs.read(prefs), PreferencePairs.read(tmp_path / "copy.parquet")
    assert one.to_frame().equals(two.to_frame())


@pytest.mark.filterwarnings("ignore:the model is not better than length")
def test_reports_by_subset_and_pairs_of_equal_responses(prefs, tmp_path):
    rows = [{**row, "subset": "ab"[i % 2]} for i, row in enumerate(read_records(prefs))]
    rows[5]["rejected"] = rows[5]["chosen"]
    write_records(rows, tmp_path / "subsets.jsonl")
    model = tmp_path / "rm.lmk"
    report = run(
        "fit", tmp_path / "subsets.jsonl", "-m", model, "--scorer", "linear", "--by", "subset"
    ).stdout
    assert report.splitlines()[0].split()[:4] == ["subset", "pairs", "accuracy", "log_loss"]
    assert [line.split()[0] for line in report.splitlines()[1:]] == ["all", "a", "b"]
    assert max(map(len, report.splitlines())) < 130
    selected = run("select", model, tmp_path / "subsets.jsonl", "-k", 60)
    assert "left out 1 pairs of two equal responses" in selected.stderr
    chosen = [json.loads(line)["id"] for line in selected.stdout.splitlines()]
    assert sorted(chosen) == [i for i in range(61) if i != 5]
