"""``lambdamart-kit pairs select``, from files to files."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from lambdamart_kit.cli.app import app
from lambdamart_kit.preferences.reading.records import read_records, write_records


def run(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.filterwarnings("ignore:the model is not better than length")
@pytest.mark.parametrize("scorer", ["linear", "trees"])
def test_select(tmp_path, scorer):
    prefs, model, chosen = tmp_path / "prefs.jsonl", tmp_path / "rm.lmk", tmp_path / "chosen.jsonl"
    answers = [("answer {} is good and long", "no {}"), ("no {} thanks", "answer {} is short")]
    rows = [
        {"id": i, "prompt": f"p{i % 15}", "chosen": good.format(i), "rejected": bad.format(i)}
        for i, (good, bad) in enumerate(answers * 30)
    ]
    write_records(rows, prefs)
    run("pairs", "fit", prefs, "--model", model, "--scorer", scorer, "--features", "text", "--test-size", 0)
    run("pairs", "select", model, prefs, "-k", 8, "--max-per-prompt", 1, "--out", chosen)
    found = list(read_records(chosen))
    assert len({row["prompt"] for row in found}) == len(found) == 8
    lines = run("pairs", "select", model, prefs, "-k", 3, "--method", "random").stdout.strip().splitlines()
    assert len({json.loads(line)["id"] for line in lines}) == 3
    timed = run("pairs", "select", model, prefs, "-k", 60, "--minutes", 1)
    words = {row["id"]: len(f"{row['chosen']} {row['rejected']}".split()) for row in rows}
    taken = [json.loads(line)["id"] for line in timed.stdout.strip().splitlines()]
    seconds = sum(5 + words[name] * 60 / 238 for name in taken)
    assert 60 - (5 + 10 * 60 / 238) < seconds <= 60
    assert f"chose {len(taken)} pairs, {seconds / 60:.1f} minutes" in timed.stderr
