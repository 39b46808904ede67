"""`datasets split` and `inspect`."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from lambdamart_kit import LambdaMART, LinearRanker
from lambdamart_kit.bench.splitting import parse_parts, split_file
from lambdamart_kit.cli.app import app

PARTS = {"train": 0.6, "vali": 0.2, "test": 0.2}


@pytest.fixture
def table(tmp_path):
    """100 queries of 4 rows; every fifth query has nothing above label 0."""
    rng = np.random.default_rng(0)
    qid = np.repeat([f"q{i}" for i in range(100)], 4)
    label = np.tile([2, 1, 0, 0], 100) * np.repeat(np.arange(100) % 5 > 0, 4)
    day = np.repeat(pd.date_range("2024-01-01", periods=100)[::-1].strftime("%Y-%m-%d"), 4)
    frame = pd.DataFrame({"qid": qid, "label": label, "day": day, "f": rng.normal(size=400)})
    path = tmp_path / "data.csv"
    frame.to_csv(path, index=False)
    frame.drop(columns="day").to_csv(tmp_path / "plain.csv", index=False)
    return path


def parts_of(written):
    return {path.stem: set(np.unique(rows.qid).tolist()) for path, rows in written.items()}


@pytest.mark.parametrize(
    "options", [{}, {"stratified": True}, {"by": "hash"}, {"by": "time", "time": "day"}], ids=str
)
def test_every_query_is_in_one_part(table, tmp_path, options):
    source = table if "time" in options else tmp_path / "plain.csv"
    parts = parts_of(split_file(source, PARTS, tmp_path / "out", **options))
    assert set.union(*parts.values()) == {f"q{i}" for i in range(100)}
    assert sum(map(len, parts.values())) == 100
    sizes = [len(parts[name]) for name in PARTS]
    if options.get("by") == "hash":
        assert abs(sizes[0] - 60) < 20
    else:
        assert sizes == [60, 20, 20]
    whole = pd.concat(pd.read_csv(tmp_path / "out" / f"{name}.csv") for name in PARTS)
    assert sorted(whole.f) == pytest.approx(sorted(pd.read_csv(table).f), rel=1e-6)
    assert "day" not in whole


def test_time_goes_to_later_parts(table, tmp_path):
    parts = parts_of(split_file(table, PARTS, tmp_path / "out", by="time", time="day"))
    assert parts["train"] == {f"q{i}" for i in range(40, 100)}  # the last ids have the first days
    assert parts["test"] == {f"q{i}" for i in range(20)}


def test_a_hash_keeps_queries_where_they_are(table, tmp_path):
    frame = pd.read_csv(tmp_path / "plain.csv")
    first = parts_of(split_file(tmp_path / "plain.csv", PARTS, tmp_path / "a", by="hash"))
    frame[frame.qid.isin([f"q{i}" for i in range(0, 100, 3)])].to_csv(tmp_path / "less.csv", index=False)
    second = parts_of(split_file(tmp_path / "less.csv", PARTS, tmp_path / "b", by="hash"))
    assert all(second[name] <= first[name] for name in PARTS)
    other = parts_of(split_file(tmp_path / "plain.csv", PARTS, tmp_path / "c", by="hash", seed=1))
    assert other != first


def test_strata_keep_their_shares(table, tmp_path):
    written = split_file(tmp_path / "plain.csv", PARTS, tmp_path / "out", stratified=True, seed=3)
    for path, rows in written.items():
        blank = sum(rows.y[rows.qid == q].max() == 0 for q in np.unique(rows.qid))
        assert blank == pytest.approx(20 * PARTS[path.stem], abs=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parts", "train:.6,test:.6"], "--parts must be two or more shares that add up to 1"),
        (["--parts", "train:high"], "--parts must be NAME:SHARE"),
        (["--parts", "a:.5,a:.5"], "'a' is named twice"),
        (["--by", "time"], "--time must name the column with the time for --by time"),
        (["--by", "hash", "--stratified"], "--stratified needs --by query"),
        (["--by", "time", "--time", "f1"], "has no 'f1'"),
        (["--by", "time", "--time", "qid"], "must hold numbers or ISO dates; got 'q0'"),
        (["--parts", "plain:.5,test:.5"], "is read as input"),
        (["--parts", "data:.5,test:.5"], "is there already"),
    ],
)
def test_mistakes(table, tmp_path, arguments, message):
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    done = CliRunner().invoke(app, ["datasets", "split", str(tmp_path / "plain.csv"), *arguments])
    assert done.exit_code == 1
    assert message in done.output
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_part_without_queries_is_refused(table, tmp_path):
    with pytest.raises(ValueError, match="part 'test' would have none of the 100 queries"):
        split_file(tmp_path / "plain.csv", parse_parts("train:.999,test:.001"), tmp_path / "out")
    assert not (tmp_path / "out" / "train.csv").exists()


def test_inspect(tmp_path):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(200, 3)), columns=["price", "age", "clicks"])
    y = (X.age > 0).astype(int)
    qid = np.repeat(np.arange(20), 10)
    LambdaMART(n_estimators=3, num_leaves=4).fit(X, y, qid).save(tmp_path / "m.lmk")
    done = CliRunner().invoke(app, ["inspect", str(tmp_path / "m.lmk")])
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert lines[0] == "LambdaMART, 3 features"
    assert "n_estimators = 3" in lines
    assert "num_leaves = 4" in lines
    assert next(line for line in lines if line.startswith("age")).split()[1] > "0.5"
    LinearRanker().fit(X, y, qid).save(tmp_path / "l.lmk")
    done = CliRunner().invoke(app, ["inspect", str(tmp_path / "l.lmk"), "-f", "json"])
    found = json.loads(done.output)
    assert (found["kind"], found["importance_of"]) == ("LinearRanker", "coefficient")
    assert found["importance"][0][0] == "age"
