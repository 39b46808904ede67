"""AutoRanker on the command line and in comparisons."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from lambdamart_kit import AutoRanker
from lambdamart_kit.bench.fitting import FoldData, fit_with_validation
from lambdamart_kit.bench.models import parse_model
from lambdamart_kit.bench.render import footer
from lambdamart_kit.bench.report import summarise
from lambdamart_kit.bench.results import Run
from lambdamart_kit.cli.app import app
from lambdamart_kit.datasets import make_letor, write_letor
from lambdamart_kit.metrics import noise_sentence
from lambdamart_kit.rankers import load_ranker


@pytest.fixture
def files(tmp_path):
    for name, seed in (("train", 0), ("vali", 1)):
        data = make_letor(n_queries=8, mean_documents=6, random_state=seed)
        write_letor(data, tmp_path / f"{name}.txt")
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_train_auto(files):
    model = files / "m.lmk"
    done = run(
        "train",
        files / "train.txt",
        "--valid",
        files / "vali.txt",
        "--auto",
        "--budget",
        "fits=2",
        "-o",
        model,
        "-j",
        1,
    )
    assert done.exit_code == 0, done.output
    assert "blend" in done.output
    assert "trees ndcg" in done.output
    ranker = load_ranker(model)
    assert isinstance(ranker, AutoRanker)
    assert ranker.budget == "fits=2"
    assert ranker.n_queries_in_ == 16  # the validation queries too
    scored = run("predict", model, files / "vali.txt", "-o", files / "scores.txt")
    assert scored.exit_code == 0, scored.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budget", "10min"], "--budget needs --auto"),
        (["--auto", "--objective", "map"], "--auto cannot be combined"),
        (["--auto", "--ranker", "xgboost"], "--auto cannot be combined"),
        (["--auto", "--budget", "soon"], "'budget' must be a time"),
    ],
)
def test_options_that_contradict_each_other_are_named(files, options, message):
    done = run("train", files / "train.txt", "-o", files / "m.lmk", *options)
    assert done.exit_code == 1
    assert message in done.output


def test_a_comparison_joins_what_a_blend_holds_out_itself():
    one = make_letor(n_queries=6, mean_documents=6, random_state=0)
    data = FoldData(one, one, one)  # the same ids on both sides are different queries
    candidate = parse_model("auto").candidate(quick=True, n_jobs=1, random_state=0)
    assert candidate.estimator.budget == "fits=10"
    fitted = fit_with_validation(candidate.estimator.set_params(budget="fits=1"), data.train, data.valid)
    assert fitted.n_queries_in_ == 12
    assert fitted.n_fits_ == 1


def test_a_report_says_what_a_difference_is_worth():
    def made(model, values):
        return Run(
            key=model,
            model=model,
            fold="f",
            setting=0,
            params={},
            valid={"map": 0.5},
            test={"map": values},
            test_qid=list(map(str, range(len(values)))),
        )

    runs = [made("a", [0.0, 0.2, 0.4, 0.2]), made("b", [0.2, 0.2, 0.2, 0.2])]
    report = summarise(runs, metrics=["map"])
    # Differences -.2, 0, .2, 0 have the standard deviation .163, the mean of four .0816; 1.96 of that is .16.
    assert "On 4 queries, two of these models must differ by about 0.160 in map" in report.noise
    assert report.noise in footer(report)
    assert "average them" in report.noise


def test_noise_of_one_model_is_nothing():
    assert noise_sentence([[0.1, 0.2]], "map") == ""
    assert noise_sentence([[0.1], [0.2]], "map") == ""
    assert noise_sentence([[np.nan, 0.1], [0.1, np.nan]], "map") == ""
