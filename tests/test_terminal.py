"""Names from data reach a terminal as text: no escape sequence is obeyed and no markup is read."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from lambdamart_kit.bench.render import Table, print_table, table_to_markdown
from lambdamart_kit.cli.app import app
from lambdamart_kit.datasets.catalogue import Archive, info
from lambdamart_kit.datasets.fetch import fetch
from lambdamart_kit.files.records import json_line
from lambdamart_kit.runtime.progress import Progress

HOSTILE = "[red]\x1b[31m\x07x\x9b"
SHOWN = r"[red]\x1b[31m\x07x\x9b"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_table_shows_names_as_they_are(terminal):
    table = Table(HOSTILE, ("name", HOSTILE), ((HOSTILE, "1"), ("b", HOSTILE)), {(0, 0): "bold"})
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=200, color_system=None)
    print_table(table, console)
    text = stream.getvalue()
    assert text.count(SHOWN) == 4
    assert not {"\x07", "\x9b"} & set(text)
    assert "\x1b[31m" not in text


def test_progress_shows_labels_as_they_are(capsys):
    with Progress(HOSTILE, 3) as progress:
        progress.update(1, label=HOSTILE)
    assert "\x1b" not in capsys.readouterr().err


@pytest.fixture
def votes(tmp_path):
    rng = np.random.default_rng(0)
    names = [HOSTILE, "b", "c<script>"]
    rows = [(*rng.permutation(names)[:2], rng.choice(["model_a", "model_b"])) for _ in range(60)]
    path = tmp_path / "votes.csv"
    pd.DataFrame(rows, columns=["model_a", "model_b", "winner"]).to_csv(path, index=False)
    return path


def test_a_leaderboard_shows_items_as_they_are(votes):
    result = CliRunner().invoke(app, ["pairs", "leaderboard", str(votes), "--top", "2"])
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert SHOWN in result.output or "c<script>" in result.output


def test_commands_on_rows_show_columns_as_they_are(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"qid": np.repeat(range(8), 5), "label": rng.integers(0, 3, 40)})
    frame[HOSTILE] = rng.normal(size=40)
    frame["other"] = rng.normal(size=40)
    path = tmp_path / "rows.csv"
    model = tmp_path / "m.lmk"
    frame.to_csv(path, index=False)
    train = ["train", str(path), "--model", str(model), "-p", "n_estimators=2", "--label", "label"]
    for command in (
        [*train, "--qid", "qid"],
        ["inspect", str(model)],
        ["datasets", "inspect", str(path)],
        ["evaluate", str(path), str(tmp_path / HOSTILE)],
    ):
        result = CliRunner().invoke(app, command)
        assert "\x1b" not in result.output, command
        assert "Traceback" not in result.output


def test_an_unencrypted_download_without_a_checksum_is_refused(tmp_path):
    from dataclasses import replace

    entry = info("Istella-S")
    assert entry.archive.sha256
    open_to_all = replace(entry, archive=Archive("x.tar.gz", "http://127.0.0.1:1/x.tar.gz"))
    with pytest.raises(ValueError, match="is not encrypted and the catalogue has no checksum"):
        fetch(open_to_all, folder=tmp_path, accept_terms=True)


def test_markdown_shows_names_as_they_are():
    table = Table(HOSTILE, ("name", HOSTILE), (("<script>x</script>", "< 1"), ("a\nb", HOSTILE)), {})
    text = table_to_markdown(table)
    assert text.count(SHOWN) == 3
    assert "&lt;script>x&lt;/script> | < 1 |" in text
    assert "| a b |" in text


def test_lines_of_json_hold_nothing_that_a_terminal_obeys():
    record = {"name": HOSTILE + "\x7f\x85", "other": "\u00e4"}
    line = json_line(record)
    assert not set(line) & set(map(chr, [*range(10), *range(11, 32), *range(127, 160)]))
    assert json.loads(line) == record
    assert json_line({"a": "\u00e4"}) == '{"a": "\u00e4"}\n'
