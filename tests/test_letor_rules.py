"""LETOR files with other habits: indices from 0 or in any order, absent features missing, no qid."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from lambdamart_kit import LambdaMART
from lambdamart_kit.cli.app import app
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.files import Columns, LetorRules, letor, read_rows
from lambdamart_kit.files.row_files import RowFiles

N_FEATURES = 9
HABITS = {
    "zero-based": LetorRules(zero_based=True),
    "unordered": LetorRules(unordered=True),
    "missing=nan": LetorRules(missing=float("nan")),
    "zero-based,unordered,missing=nan": LetorRules(True, True, float("nan")),
}


def rows_of(seed, n_queries=12):
    """Sparse rows with NaN where a line has no value, one in a hundred of them huge."""
    data = make_letor(n_queries, random_state=seed)
    rng = np.random.default_rng(seed)
    X = data.X[:, :N_FEATURES].astype(np.float64)
    X[rng.random(X.shape) < 0.3] = np.nan
    X[rng.random(X.shape) < 0.01] = 1.797e308
    # The last features come late, so that chunks and files differ in width.
    X[: len(X) // 2, -2:] = np.nan
    return X, data.y, data.qid


def write(path, rows, rules, *, qid=True):
    X, y, ids = rows
    rng = np.random.default_rng(0)
    lines = []
    for values, label, query in zip(X, y, ids):
        present = np.flatnonzero(~np.isnan(values))
        if rules.unordered:
            rng.shuffle(present)
        pairs = [f"{j + (not rules.zero_based)}:{values[j]!r}" for j in present.tolist()]
        pairs = [pair.replace("np.float64(", "").rstrip(")") for pair in pairs]
        lines.append(" ".join([f"{label:g}", *([f"qid:{query}"] if qid else []), *pairs]))
    path.write_text("\n".join(lines) + "\n")
    if not qid:
        starts = np.flatnonzero(np.append(True, ids[1:] != ids[:-1]))
        sizes = np.diff(np.append(starts, len(ids)))
        path.with_name(f"{path.name}.query").write_text("".join(f"{size}\n" for size in sizes))


def expected(X, rules, clip):
    return np.nan_to_num(np.clip(X, -clip, clip), nan=rules.missing).astype(np.float32)


@pytest.fixture
def small_sections(monkeypatch):
    """Many chunks a file."""
    from lambdamart_kit.datasets.letor import text_file

    monkeypatch.setattr(text_file, "_BLOCK", 2000)
    monkeypatch.setattr(letor, "_SECTION_BLOCKS", 1)


@pytest.mark.parametrize("words", HABITS)
@pytest.mark.parametrize("qid", [True, False])
def test_rows_are_read_alike_in_one_piece_and_in_chunks(words, qid, tmp_path, small_sections):
    rules = HABITS[words]
    a, b = rows_of(0), rows_of(1)
    for name, rows in (("a.txt", a), ("b.txt", b)):
        write(tmp_path / name, rows, rules, qid=qid)
    columns = Columns(clip=100.0, letor=rules)
    X = np.concatenate([a[0], b[0]])
    both = read_rows([tmp_path / "a.txt", tmp_path / "b.txt"], columns)
    np.testing.assert_array_equal(both.X, expected(X, rules, 100.0))
    for part, name in ((a, "a.txt"), (b, "b.txt")):
        whole = read_rows(tmp_path / name, columns)
        np.testing.assert_array_equal(whole.X, expected(part[0], rules, 100.0))
        np.testing.assert_array_equal(whole.y, part[1])
        chunks = list(RowFiles(tmp_path / name, columns).chunks(N_FEATURES))
        assert len(chunks) > 3
        np.testing.assert_array_equal(np.concatenate([chunk.X for chunk in chunks]), whole.X)
        np.testing.assert_array_equal(np.concatenate([chunk.qid for chunk in chunks]), whole.qid)
    # The queries of the second file are counted on from those of the first.
    ids = np.concatenate([a[2], b[2] + 1000]) if not qid else np.concatenate([a[2], b[2]])
    _, groups = np.unique(ids, return_inverse=True)
    _, found = np.unique(both.qid, return_inverse=True)
    np.testing.assert_array_equal(found, groups)


def run(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, done.output


@pytest.mark.parametrize("words", HABITS)
@pytest.mark.parametrize("stream", [[], ["--stream"]], ids=["memory", "stream"])
def test_train_predict_and_evaluate(words, stream, tmp_path, small_sections):
    rules = HABITS[words]
    rows = rows_of(2)
    path = tmp_path / "train.txt"
    write(path, rows, rules)
    common = ["-p", "n_estimators=4", "--clip", "50", "--letor", words]
    code, output = run("train", path, "-o", tmp_path / "m.lmk", *common, *stream)
    assert code == 0, output
    X = expected(rows[0], rules, 50.0)
    ranker = LambdaMART(n_estimators=4, random_state=0).fit(X, rows[1], qid=rows[2])
    # The file of the ranker knows how its rows were read, so nobody has to say it again.
    code, output = run("predict", tmp_path / "m.lmk", path, "--out", tmp_path / "s.txt")
    assert code == 0, output
    np.testing.assert_array_equal(np.loadtxt(tmp_path / "s.txt"), ranker.predict(X))
    code, output = run("evaluate", path, tmp_path / "s.txt", "--letor", words, "-f", "csv")
    assert code == 0, output


def test_every_command_takes_the_rules(tmp_path):
    words = "zero-based,unordered,missing=nan"
    rules = HABITS[words]
    rows = rows_of(3, n_queries=30)
    path = tmp_path / "all.txt"
    write(path, rows, rules, qid=False)
    how = ["--clip", "50", "--letor", words]
    X = expected(rows[0], rules, 50.0)

    code, output = run("datasets", "convert", path, tmp_path / "all.parquet", *how)
    assert code == 0, output
    np.testing.assert_array_equal(read_rows(tmp_path / "all.parquet").X, X)
    code, output = run("datasets", "split", path, "--parts", "train:.5,vali:.2,test:.3", *how)
    assert code == 0, output
    code, output = run(
        "bench", path, "-m", "linear", "--folds", "2", "--quick", "-f", "json", "-j", "1", *how
    )
    assert code == 0, output
    code, output = run("train", path, "-o", tmp_path / "m.lmk", "-p", "n_estimators=2", *how)
    assert code == 0, output
    code, output = run("export", tmp_path / "m.lmk", "--to", "c", "--out", tmp_path / "m.c", "--check", path)
    assert code == 0, output
    assert "checked" in output
    for name in ("one", "two"):
        np.savetxt(tmp_path / f"{name}.txt", np.random.default_rng(len(name)).normal(size=len(X)))
    code, output = run("report", tmp_path / "m.lmk", path, "--out", tmp_path / "r.html")
    assert code == 0, output
    code, output = run("compare", path, tmp_path / "one.txt", tmp_path / "two.txt", "--letor", words)
    assert code == 0, output


def test_bench_on_a_folder_reads_the_rules(tmp_path):
    words = "zero-based,missing=nan"
    for seed, name in enumerate(("train", "vali", "test")):
        write(tmp_path / f"{name}.txt", rows_of(seed), LetorRules(True, False, float("nan")))
    command = ["bench", tmp_path, "-m", "linear", "--quick", "-f", "json", "-j", "1"]
    code, output = run(*command, "--clip", "50", "--letor", words)
    assert code == 0, output
    code, output = run(*command)
    assert code == 1
    assert "set --letor zero-based" in output


def test_words_that_are_none_and_files_that_have_none(tmp_path):
    path = tmp_path / "x.txt"
    write(path, rows_of(0), LetorRules())
    code, output = run("train", path, "-o", tmp_path / "m.lmk", "--letor", "one-based")
    assert code == 2
    assert "is none of zero-based" in " ".join(output.replace("│", " ").split())
    (tmp_path / "x.csv").write_text("qid,label,a\n1,1,2\n1,0,3\n")
    code, output = run("train", tmp_path / "x.csv", "-o", tmp_path / "m.lmk", "--letor", "unordered")
    assert code == 1
    assert "--letor says how LETOR lines are written" in output
    with pytest.raises(ValueError, match="'missing' must be 0 or NaN; got -1"):
        LetorRules(missing=-1)


@pytest.mark.parametrize("sizes", ["5\n", "500\n"])
def test_sizes_that_do_not_add_up(sizes, tmp_path, small_sections):
    path = tmp_path / "x.txt"
    write(path, rows_of(0), LetorRules(), qid=False)
    (tmp_path / "x.txt.query").write_text(sizes)
    with pytest.raises(ValueError, match=r"x\.txt\.query: .*rows"):
        list(RowFiles(path, Columns(clip=9.0)).chunks(N_FEATURES))


def test_sizes_by_option(tmp_path):
    path = tmp_path / "x.txt"
    write(path, rows_of(0), LetorRules(), qid=False)
    sizes = (tmp_path / "x.txt.query").rename(tmp_path / "sizes")
    rules = LetorRules(query_file=str(sizes))
    assert read_rows(path, Columns(clip=9.0, letor=rules)).queries.n_queries == 12
    with pytest.raises(ValueError, match="'query_file' gives the queries of one file; got 2 files"):
        RowFiles([path, path], Columns(letor=rules))
    with pytest.raises(ValueError, match="'qid:' must follow the label"):
        read_rows(path, Columns(clip=9.0))
