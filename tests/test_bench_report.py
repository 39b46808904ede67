"""Means, differences and formats of a comparison, from values written out by hand."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from lambdamart_kit.bench.plots import learning_curves, write_plots
from lambdamart_kit.bench.render import FORMATS, print_report
from lambdamart_kit.bench.report import summarise
from lambdamart_kit.bench.results import Run

MEGABYTE = 2**20


def run(model, fold, values, setting=0, valid=0.5, **more):
    defaults = {
        "fit_seconds": 2.0,
        "fit_times": {"gradient": 0.5},
        "predict_seconds": 0.001,
        "n_test_documents": 100,
        "fit_memory": 3 * MEGABYTE,
        "n_iterations": 10,
        "learning_curve": {"validation": {"map": [0.3, 0.5, 0.4]}},
        "environment": {"python": "3.11.9", "cores": 2},
    }
    return Run(
        f"{model} {fold} {setting}",
        model,
        fold,
        setting,
        {"num_leaves": 7},
        {"map": valid},
        {"map": values},
        [str(i) for i in range(len(values))],
        **(defaults | more),
    )


@pytest.fixture
def runs():
    return [
        run("new", "F1", [0.5, None, 1.0]),
        run("new", "F2", [0.25, 0.75], fit_seconds=4.0),
        run("pointwise", "F1", [0.25, None, 0.5], fit_times={}),
        run("pointwise", "F2", [0.25, 0.5], fit_times={}),
    ]


def test_means_and_differences(runs):
    report = summarise(runs, metrics=["map"])
    new, pointwise = report.quality
    assert (report.baseline, report.n_queries, report.n_blank) == ("pointwise", 5, 1)
    assert new.mean == (0.5 + 1 + 0.25 + 0.75) / 4
    assert new.mean_blank_zero == (0.5 + 0 + 1 + 0.25 + 0.75) / 5
    assert new.difference == pytest.approx((0.25 + 0.5 + 0 + 0.25) / 4)
    # Three queries differ, all in one direction: 2 of the 8 sign vectors.
    assert new.pvalue == new.pvalue_holm == 0.25
    assert new.low <= new.mean <= new.high
    assert 0 <= new.difference_low <= new.difference <= new.difference_high <= 0.5
    assert pointwise.difference is pointwise.pvalue is None


def test_costs_are_medians_over_folds(runs):
    new, pointwise = summarise(runs, metrics=["map"]).costs
    assert new.fit_seconds == (2.0 + 4.0) / 2
    assert new.gradient_seconds == 0.5
    assert pointwise.gradient_seconds is None
    assert new.predict_microseconds is None  # 100 documents: the time of the call, not of a document
    larger = [replace(r, n_test_documents=1_000) for r in runs]
    assert summarise(larger, metrics=["map"]).costs[0].predict_microseconds == pytest.approx(
        1e6 * 0.001 / 1_000
    )
    assert new.fit_memory == 3 * MEGABYTE


def test_the_setting_that_validation_prefers_is_reported(runs):
    better_on_test = run("new", "F1", [1.0, None, 1.0], setting=1, valid=0.4)
    better_on_valid = run("new", "F1", [0.0, None, 0.0], setting=2, valid=0.6)
    report = summarise([*runs, better_on_test, better_on_valid], metrics=["map"])
    new = next(row for row in report.quality if row.model == "new")
    assert new.mean == (0 + 0 + 0.25 + 0.75) / 4
    assert report.n_settings == 3


def test_holm_counts_the_other_models(runs):
    twin = [replace(r, model="twin", key=r.key + "t") for r in runs if r.model == "new"]
    report = summarise([*runs, *twin], metrics=["map"])
    assert [row.pvalue_holm for row in report.quality] == [0.5, 0.5, None]


def test_baseline_can_be_chosen(runs):
    report = summarise(runs, metrics=["map"], baseline="new")
    assert report.quality[1].difference == pytest.approx(-0.25)
    with pytest.raises(ValueError, match=r"'baseline' must be one of new, pointwise; got 'newer'"):
        summarise(runs, metrics=["map"], baseline="newer")


def test_a_model_that_failed_is_left_out_and_said(runs):
    failed = replace(runs[1], error="MemoryError: no", test={})
    report = summarise([runs[0], failed, *runs[2:]], metrics=["map"])
    assert [row.model for row in report.quality] == ["pointwise"]
    assert report.notes == ("new failed in 1 fit(s), first on F2: MemoryError: no",)
    assert summarise([runs[0], failed, *runs[2:]], metrics=["map"], baseline="new").baseline == "pointwise"
    with pytest.raises(ValueError, match="no model finished on every fold: new failed"):
        summarise([failed], metrics=["map"])


def test_all_blank_is_an_error(runs):
    with pytest.raises(ValueError, match="no test query has a relevant document"):
        summarise([run("new", "F1", [None, None])], metrics=["map"])


def test_json_and_csv_hold_every_number(runs):
    report = summarise(runs, metrics=["map"], notes=["a note"])
    content = json.loads(FORMATS["json"](report))
    assert content["quality"][0]["mean"] == 0.625
    assert content["notes"] == ["a note"]
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](report))))
    assert [row["model"] for row in rows] == ["new", "pointwise"]
    assert float(rows[0]["difference"]) == pytest.approx(0.25)
    assert rows[1]["difference"] == rows[1]["gradient_seconds"] == ""
    assert float(rows[0]["fit_seconds"]) == 3.0


def test_markdown(runs):
    text = FORMATS["markdown"](summarise(runs, metrics=["map"]))
    assert "| new | 0.6250 |" in text
    assert "| pointwise | 0.3750 |" in text
    assert "**map, mean over 4 test queries in 2 folds (1 blank, left out)**" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {8}


def printed(report, **options):
    console = Console(file=io.StringIO(), **options)
    print_report(report, console)
    return console.file.getvalue()


def test_piped_output_is_plain_and_never_wrapped(runs):
    text = printed(
        summarise(runs, metrics=["map"], notes=["a note that is " + "very " * 40 + "long"]), width=40
    )
    assert not set(text) & set("─│┃━┏\x1b")
    lines = text.splitlines()
    assert lines[2].startswith("new        0.6250")
    assert "+0.2500" in lines[2]
    assert any(line.startswith("a note") and line.endswith("long") for line in lines)
    assert all(line == line.rstrip() for line in lines[:4])


@pytest.mark.parametrize("width", [60, 80, 120])
def test_terminal_output_fits(runs, width):
    long = [replace(r, model=r.model + ":with-a-long-variant@xgboost") for r in runs]
    text = printed(summarise(long, metrics=["map"]), width=width, force_terminal=True, color_system=None)
    assert max(map(len, text.splitlines())) <= width
    assert "0.6250" in text
    assert "its interval" in text
    assert ("Difference to" in text) == (width < 100)


def test_learning_curves_are_means_over_chosen_runs(runs):
    longer = replace(runs[1], learning_curve={"validation": {"map": [0.5, 0.7, 0.8, 0.9]}})
    curves = learning_curves([runs[0], longer, runs[2]], "map")
    np.testing.assert_allclose(curves["new"].mean(axis=0), [0.4, 0.6, 0.6])
    np.testing.assert_allclose(curves["pointwise"], [[0.3, 0.5, 0.4]])


def test_plots_are_written(tmp_path, runs):
    pytest.importorskip("matplotlib")
    written = write_plots(summarise(runs, metrics=["map"]), runs, tmp_path / "plots")
    assert sorted(path.name for path in written) == [
        "learning_curves.png",
        "learning_curves.svg",
        "map.png",
        "map.svg",
    ]
    assert (tmp_path / "plots" / "map.png").read_bytes().startswith(b"\x89PNG")
    svg = (tmp_path / "plots" / "map.svg").read_text()
    assert "<svg" in svg


def test_plots_without_matplotlib_say_what_to_install(tmp_path, runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'lambdamart-kit\[plot\]'"):
        write_plots(summarise(runs, metrics=["map"]), runs, tmp_path)
    assert not list(tmp_path.iterdir())
