"""The command line: what it prints where, and its exit codes."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest
import typer

from lambdamart_kit.bench import compare
from lambdamart_kit.cli.app import app
from lambdamart_kit.datasets import make_letor, read_letor, write_letor
from lambdamart_kit.metrics import mean_average_precision, ndcg
from lambdamart_kit.rankers import LambdaMART, LightGBMRanker


@pytest.fixture
def cli(capsys):
    """Run a command in this process: exit code, stdout, stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as exit:
            app([str(a) for a in arguments], prog_name="lambdamart-kit")
        code = exit.value.code
        written = capsys.readouterr()
        return int(code or 0), written.out, written.err

    return run


@pytest.fixture(scope="module")
def letor(tmp_path_factory):
    """A folder with train.txt, vali.txt and test.txt."""
    folder = tmp_path_factory.mktemp("letor")
    for seed, name in enumerate(["train", "vali", "test"]):
        rows = make_letor(n_queries=25, mean_documents=12, blank_fraction=0.1, random_state=seed)
        write_letor(rows, folder / f"{name}.txt")
    return folder


@pytest.fixture(scope="module")
def trained(letor):
    """Ranker of `train` on those files, and scores of `predict`."""
    model, scores = letor / "model.lmk", letor / "scores.txt"
    train = [
        "train",
        letor / "train.txt",
        "--valid",
        letor / "vali.txt",
        "--model",
        model,
        "-p",
        "num_leaves=7",
    ]
    predict = ["predict", model, letor / "test.txt", "--out", scores]
    for arguments in (train, predict):
        with pytest.raises(SystemExit) as exit:
            app([str(a) for a in arguments])
        assert not exit.value.code
    return model, scores


def test_train_and_predict_are_fit_and_predict(letor, trained):
    model, scores = trained
    train, vali, test = (read_letor(letor / f"{name}.txt") for name in ("train", "vali", "test"))
    saved = LambdaMART.load(model)
    expected = LambdaMART(**saved.get_params()).fit(
        train.X, train.y, train.qid, X_val=vali.X, y_val=vali.y, qid_val=vali.qid
    )
    assert saved.num_leaves == 7
    assert saved.best_iteration_ == expected.best_iteration_
    np.testing.assert_allclose(np.loadtxt(scores), expected.predict(test.X))


def test_predict_writes_to_stdout_without_out(cli, letor, trained):
    code, out, err = cli("predict", trained[0], letor / "test.txt")
    assert (code, out, err) == (0, trained[1].read_text(), "")


def test_evaluate_prints_the_metrics(cli, letor, trained):
    test, scores = read_letor(letor / "test.txt"), np.loadtxt(trained[1])
    code, out, _ = cli("evaluate", letor / "test.txt", trained[1], "-k", "ndcg@5,map", "-f", "json")
    first, second = json.loads(out)
    assert code == 0
    assert (first["metric"], second["metric"]) == ("ndcg@5", "map")
    assert first["mean"] == pytest.approx(ndcg(test.y, scores, test.qid, k=5))
    assert first["mean_blank_zero"] == pytest.approx(ndcg(test.y, scores, test.qid, k=5, blank="zero"))
    assert second["mean"] == pytest.approx(mean_average_precision(test.y, scores, test.qid))
    assert first["n_queries"] == 25
    assert first["low"] <= first["mean"] <= first["high"]


@pytest.mark.parametrize("format", ["table", "csv", "markdown"])
def test_evaluate_formats(cli, letor, trained, format):
    code, out, _ = cli("evaluate", letor / "test.txt", trained[1], "-f", format)
    assert code == 0
    assert not set(out) & set("─│┃━┏\x1b")
    if format == "csv":
        assert next(csv.DictReader(io.StringIO(out)))["metric"] == "ndcg@10"
    if format == "markdown":
        assert "| metric | mean |" in out


def test_another_ranker_and_no_validation(cli, letor, tmp_path):
    model = tmp_path / "m.lmk"
    code, out, err = cli(
        "train",
        letor / "train.txt",
        "-o",
        model,
        "--ranker",
        "lightgbm",
        "--objective",
        "rank_xendcg",
        "-p",
        "n_estimators=5",
        "--seed",
        "3",
        "-j",
        "1",
    )
    assert (code, out) == (0, "")
    assert "5 trees" in err
    ranker = LightGBMRanker.load(model)
    assert (ranker.objective, ranker.random_state, ranker.n_jobs) == ("rank_xendcg", 3, 1)


def test_train_in_bags_that_stop_on_the_queries_they_did_not_draw(cli, letor, tmp_path):
    model = tmp_path / "bags.lmk"
    settings = ("-p", "n_estimators=8", "-p", "num_leaves=4", "-p", "early_stopping_rounds=2")
    code, _, _ = cli("train", letor / "train.txt", "-o", model, "--bags", "2", *settings, "-j", "1")
    assert code == 0
    ranker = LambdaMART.load(model)
    assert ranker.n_bags == 2
    assert len(ranker.bag_iterations_) == 2
    assert ranker.early_stopping_rounds == 2


def test_bench_in_bags_says_so(letor, tmp_path):
    out = tmp_path / "runs.jsonl"
    comparison = compare(letor, models="lambdamart,linear", n_bags=2, quick=True, out=out, n_jobs=1)
    assert not comparison.failed
    assert any("the mean of 2 fits on draws of the queries" in note for note in comparison.report.notes)
    single = compare(letor, models="linear", quick=True, out=out, n_jobs=1)
    assert single.runs[0].key not in {run.key for run in comparison.runs}


def test_bench_on_a_folder(cli, letor, tmp_path):
    arguments = [
        "bench",
        letor,
        "-m",
        "lambdamart,pointwise",
        "--quick",
        "-k",
        "ndcg@5,map",
        "-j",
        "1",
        "--out",
        tmp_path / "runs.jsonl",
    ]
    code, out, _ = cli(*arguments, "-f", "json")
    report = json.loads(out)
    assert (code, report["baseline"], report["folds"]) == (0, "pointwise", [letor.name])
    assert {(row["model"], row["metric"]) for row in report["quality"]} == {
        (model, metric) for model in ("lambdamart", "pointwise") for metric in ("ndcg@5", "map")
    }
    assert report["costs"][0]["fit_seconds"] > 0
    runs = (tmp_path / "runs.jsonl").read_text()
    code, again, _ = cli(*arguments, "-f", "json")
    assert (code, again, (tmp_path / "runs.jsonl").read_text()) == (0, out, runs)
    code, table, _ = cli(*arguments)
    assert "pointwise" in table
    assert not set(table) & set("─│┃━┏\x1b")


def test_bench_on_a_file_splits_by_query_and_draws(cli, letor, tmp_path):
    pytest.importorskip("matplotlib")
    code, out, err = cli(
        "bench",
        letor / "train.txt",
        "--folds",
        "2",
        "-m",
        "lightgbm",
        "--tune",
        "2",
        "--plots",
        tmp_path,
        "-j",
        "1",
    )
    assert code == 0
    assert "test queries in 2 folds" in out
    assert "tuned over 2 settings" in out
    assert sorted(p.name for p in tmp_path.glob("*.svg")) == ["learning_curves.svg", "ndcg@10.svg"]
    assert "wrote" in err


def test_failed_fits_are_told_and_give_exit_code_1(cli, letor, tmp_path):
    for name in ("train", "vali", "test"):
        text = (letor / f"{name}.txt").read_text()
        blank = "\n".join("0" + line[1:] for line in text.splitlines() if line)
        (tmp_path / f"{name}.txt").write_text((blank if name == "vali" else text.strip()) + "\n")
    code, out, err = cli("bench", tmp_path, "-m", "lightgbm", "--quick", "-j", "1")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "lightgbm failed in 1 fit(s)" in err


def test_user_mistakes_are_one_line_and_exit_code_1(cli, letor, trained, tmp_path):
    bad = tmp_path / "bad.txt"
    bad.write_text("1 qid:1 1:0.5\n0 qid:1 1:what\n")
    short = tmp_path / "short.txt"
    short.write_text("0.5\n")
    words = tmp_path / "words.txt"
    words.write_text("0.5\nhigh\n")
    mistakes = {
        ("train", letor / "none.txt", "-o", "m"): "none.txt: No such file",
        ("train", bad, "-o", "m"): "bad.txt",
        ("train", letor / "train.txt", "-o", tmp_path / "m", "--objective", "ndgc"): "did you mean ndcg",
        ("train", letor / "train.txt", "-o", tmp_path / "m", "-p", "leaves=7"): "leaves",
        ("train", letor / "train.txt", "-o", tmp_path / "m", "-p", "num_leaves=1"): "num_leaves",
        ("predict", letor / "train.txt", letor / "test.txt"): "train.txt",
        ("evaluate", letor / "test.txt", short): "short.txt has 1",
        ("evaluate", letor / "test.txt", words): "words.txt, line 2: not a number: 'high'",
        ("evaluate", letor / "test.txt", trained[1], "-k", "ndgc"): "ndgc",
        ("bench", tmp_path / "nowhere"): "nowhere",
        ("bench", letor, "-m", "lightgmb"): "lightgmb",
        ("bench", letor, "-k", "ndgc"): "ndgc",
        ("bench", letor, "-m", "lightgbm", "--baseline", "xgboost"): "--baseline",
        ("bench", letor, "--folds", "Fold9"): "Fold9",
        ("bench", letor / "train.txt", "--folds", "one"): "--folds",
        ("bench", letor, "--out", letor / "train.txt"): "'out'",
    }
    for arguments, names in mistakes.items():
        code, out, err = cli(*arguments)
        assert (code, out) == (1, ""), (arguments, err)
        *said, last = err.splitlines()
        assert last.startswith("lambdamart-kit: "), arguments
        assert all(line.endswith("features") for line in said), err  # what was read before the mistake
        assert names in err


def test_debug_shows_the_traceback(letor):
    with pytest.raises(FileNotFoundError):
        app(["--debug", "train", str(letor / "none.txt"), "-o", "m"])


@pytest.mark.parametrize(
    "arguments",
    [
        ["bnech"],
        ["bench", "--tnue", "2"],
        ["bench", "--tune", "0"],
        ["train"],
        ["evaluate", "a", "b", "-f", "xml"],
        ["train", "a", "-o", "b", "-p", "num_leaves"],
    ],
)
def test_usage_errors_are_exit_code_2(cli, arguments):
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert "Usage" in err
    assert not set(err) & set("─│╭")


def test_help_names_every_command(cli):
    code, out, _ = cli("--help")
    assert code == 0
    for command in ("bench", "train", "predict", "evaluate", "datasets"):
        assert f"\n  {command}" in out


def test_starts_quickly_and_as_a_module():
    heavy = ["numba", "sklearn", "lightgbm", "pandas"]
    code = f"import sys, lambdamart_kit.cli.app; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    done = subprocess.run(
        [sys.executable, "-m", "lambdamart_kit", "--version"], capture_output=True, text=True
    )
    assert done.stdout.startswith("lambdamart-kit ")


def test_datasets_list_and_info(cli):
    code, out, _ = cli("datasets", "list", "-f", "json")
    found = {entry["name"]: entry for entry in json.loads(out)}
    assert code == 0
    assert found["MQ2008"]["queries"] == 784
    assert found["MSLR-WEB10K"]["features"] == 136
    code, out, _ = cli("datasets", "list")
    assert code == 0
    assert set(found) <= {line.split("  ")[0] for line in out.splitlines()}
    code, out, _ = cli("datasets", "info", "mslr-web10k")
    assert code == 0
    assert "Microsoft Research" in out
    assert "723,412 rows" in out


def test_datasets_sample_and_convert(cli, tmp_path):
    text, arrays = tmp_path / "sample.txt", tmp_path / "sample.npz"
    assert cli("datasets", "sample", text, "--queries", 3, "--seed", 4)[0] == 0
    assert cli("datasets", "convert", text, arrays)[0] == 0
    expected = make_letor(3, random_state=4)
    np.testing.assert_array_equal(read_letor(text).y, expected.y)
    with np.load(arrays) as stored:
        np.testing.assert_allclose(stored["X"], expected.X, rtol=1e-6)


def test_datasets_that_are_not_there(cli, monkeypatch, tmp_path):
    monkeypatch.setenv("LAMBDAMART_KIT_DATA", str(tmp_path))
    for arguments in [("datasets", "fetch", "MSLR-WEB10K"), ("bench", "MSLR-WEB10K")]:
        code, out, err = cli(*arguments)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "terms" in err
    code, _, err = cli("datasets", "info", "MSLR-WEB20K")
    assert code == 1
    assert "MSLR-WEB10K" in err
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------- names of options


def options_of_all_commands():
    """(command, names of the option) of every option, letters included."""

    def walk(command, path):
        for name, sub in getattr(command, "commands", {}).items():
            yield from walk(sub, [*path, name])
        if not hasattr(command, "commands"):
            yield from ((" ".join(path), tuple(p.opts)) for p in command.params if p.opts[0].startswith("-"))

    return list(walk(typer.main.get_command(app), []))


# What else a letter may stand for: `-k` alone is a cut-off or a number of pairs, and `train -o` its output.
LETTERS = {
    "-f": {"--format"},
    "-j": {"--n-jobs"},
    "-k": {"--metrics", "--metric", "-k"},
    "-m": {"--model", "--models"},
    "-o": {"--out", "--model"},
    "-p": {"--param"},
    "-v": {"--verbose"},
}


def test_an_option_has_one_letter_and_a_letter_one_meaning():
    found = options_of_all_commands()
    assert len(found) > 250
    for command, names in found:
        letters = {name for name in names if len(name) == 2}
        assert letters <= set(LETTERS), (command, names)
        for letter in LETTERS:
            if letter in letters:
                assert names[0] in LETTERS[letter], (command, names)
            elif letter != "-k":
                assert names[0] not in LETTERS[letter] - {"--model"}, f"{command} {names[0]} lacks {letter}"
        assert names[0] != "--model" or "-m" in letters


def test_options_have_their_other_names(cli, letor, trained, tmp_path):
    """The names that commands once had beside the common ones go on working."""
    model = letor / "model.lmk"
    assert cli("inspect", model, "--features", 3)[1] == cli("inspect", model, "--top", 3)[1]
    assert cli("datasets", "sample", tmp_path / "a.csv", "--queries", 3)[0] == 0
    assert cli("datasets", "sample", "-o", tmp_path / "b.csv", "--queries", 3)[0] == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert cli("datasets", "convert", tmp_path / "a.csv", "-o", tmp_path / "c.parquet")[0] == 0
    code, _, error = cli("datasets", "convert", tmp_path / "a.csv")
    assert code == 2
    assert "name the file to write as TARGET or with --out; got neither" in " ".join(error.split())
    code, _, error = cli("datasets", "sample", tmp_path / "a.csv", "--out", tmp_path / "b.csv")
    assert code == 2
    assert "got both" in error
