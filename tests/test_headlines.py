"""README's table of headlines and the page of headlines are what the measured runs say."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


tables = load("headline_tables")
pairing = load("pairing")


def test_readme_shows_the_table_of_the_runs():
    text = tables.README.read_text()
    assert text.count(tables.BEGIN) == text.count(tables.END) == 1
    assert tables.put_in(text, tables.readme(tables.load())) == text


def test_the_page_shows_all_runs():
    assert tables.PAGE.read_text() == tables.results(tables.load())


def test_every_figure_has_a_peer_five_pairs_and_both_sides_threads():
    runs = tables.load()
    assert runs
    for run in runs:
        assert {"name", "cores", "caches"} <= set(run["machine"])
        assert {"Python", "numpy", "numba", "lightgbm", "xgboost"} <= set(run["versions"])
        for record in run["comparisons"]:
            assert record["pairs"] >= 5, record
            assert record["least"] <= record["ratio"] <= record["most"], record
            assert record["peer"], record
            assert len(record["threads"]) == 2, record
            assert re.fullmatch(r"\d{4}-\d\d-\d\d", record["date"]), record


def test_a_damaged_table_is_noticed():
    runs = tables.load()
    changed = [{**run, "comparisons": [{**r, "ratio": 99.0} for r in run["comparisons"]]} for run in runs]
    assert tables.readme(changed) != tables.readme(runs)


def test_every_second_turn_runs_backwards():
    assert pairing.orders(["a", "b"], 3) == [["a", "b"], ["b", "a"], ["a", "b"]]


def test_contestants_take_turns_and_ratios_stay_within_a_turn():
    called = []
    ticks = iter(range(100))
    calls = {"ours": lambda: called.append("ours"), "theirs": lambda: called.append("theirs")}
    spent = pairing.in_turn(calls, 2, clock=lambda: next(ticks), warm=False)
    assert called == ["ours", "theirs", "theirs", "ours"]
    assert spent == {"ours": [1, 1], "theirs": [1, 1]}
    found = pairing.Comparison("x", "peer", "n", (1, 1), [1.0, 2.0, 4.0], [3.0, 2.0, 8.0])
    assert found.ratios == pytest.approx([1.0, 2.0, 3.0])
    assert found.record()["ratio"] == pytest.approx(2.0)


def test_the_runner_lists_its_headlines():
    command = [sys.executable, "-m", "benchmarks", "list"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    names = [line.split()[0] for line in done.stdout.splitlines()]
    assert {"training", "scoring", "letor", "bradley-terry", "small-data", "first-use"} <= set(names)
