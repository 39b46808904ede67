"""Weights of queries reach the fit from every kind of file, and what has no place for them says so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from lambdamart_kit import LambdaMART
from lambdamart_kit.bench.files import train_file
from lambdamart_kit.cli.app import app
from lambdamart_kit.datasets import RankingDataset, make_letor, read_letor, write_letor
from lambdamart_kit.files import Columns, convert, read_rows, write_rows

SETTINGS = {"n_estimators": 5, "random_state": 0, "n_jobs": 1}


@pytest.fixture(scope="module")
def weighted():
    data = make_letor(n_queries=30, random_state=0)
    weight = np.random.default_rng(0).integers(1, 9, data.queries.n_queries)[data.qid - data.qid.min()]
    return RankingDataset(data.X, data.y, data.qid, None, data.feature_names, weight.astype(float))


@pytest.mark.parametrize(
    "name", [f"rows.{suffix}" for suffix in ("csv", "parquet", "arrow", "jsonl", "tsv", "npz")]
)
def test_weights_are_written_read_and_learned_from(weighted, tmp_path, name):
    path = tmp_path / name
    write_rows(weighted, path)
    columns = Columns(sample_weight="sample_weight")
    read = read_rows(path, columns)
    np.testing.assert_array_equal(read.sample_weight, weighted.sample_weight)
    assert read.feature_names == weighted.feature_names
    by_hand = LambdaMART(**SETTINGS).fit(weighted.X, weighted.y, weighted.qid, weighted.sample_weight)
    without = LambdaMART(**SETTINGS).fit(weighted.X, weighted.y, weighted.qid)
    fitted = train_file(path, columns=columns, params={"n_estimators": 5}, n_jobs=1)
    X = read.X if name == "rows.npz" else pd.DataFrame(read.X, columns=read.feature_names)
    np.testing.assert_array_equal(fitted.predict(X), by_hand.predict(weighted.X))
    assert not np.array_equal(by_hand.predict(weighted.X), without.predict(weighted.X))


def test_the_command_learns_from_them(weighted, tmp_path):
    weighted.to_frame().rename(columns={"sample_weight": "w"}).to_csv(tmp_path / "rows.csv", index=False)
    arguments = ["train", str(tmp_path / "rows.csv"), "-o", str(tmp_path / "m.lmk"), "--weight", "w"]
    done = CliRunner().invoke(app, [*arguments, "-p", "n_estimators=5", "--n-jobs", "1"])
    assert done.exit_code == 0, done.output
    by_hand = LambdaMART(**SETTINGS).fit(weighted.X, weighted.y, weighted.qid, weighted.sample_weight)
    frame = pd.DataFrame(weighted.X, columns=weighted.feature_names)
    np.testing.assert_array_equal(
        LambdaMART.load(tmp_path / "m.lmk").predict(frame), by_hand.predict(weighted.X)
    )


def test_a_cache_keeps_them(weighted, tmp_path):
    write_rows(weighted, tmp_path / "rows.parquet")
    columns = Columns(sample_weight="sample_weight")
    for _ in range(2):
        read = read_rows(tmp_path / "rows.parquet", columns, cache=tmp_path / "cache")
        np.testing.assert_array_equal(read.sample_weight, weighted.sample_weight)


def test_frames_keep_them(weighted):
    back = RankingDataset.from_frame(weighted.to_frame())
    np.testing.assert_array_equal(back.sample_weight, weighted.sample_weight)
    assert back.feature_names == weighted.feature_names
    part = weighted.select(np.array([1, 3]))
    assert len(part.sample_weight) == len(part)


def test_frames_keep_numbers_that_float32_would_merge():
    frame = pd.DataFrame({"qid": [1, 1], "label": [0, 1], "id": [1_700_000_000_001, 1_700_000_000_002]})
    back = RankingDataset.from_frame(frame)
    assert back.X.dtype == np.float64
    assert back.X[:, 0].tolist() == frame["id"].tolist()


def test_a_column_of_weights_is_never_a_feature_unnoticed(weighted, tmp_path):
    write_rows(weighted, tmp_path / "rows.csv")
    with pytest.raises(ValueError, match="'sample_weight' must have a role"):
        read_rows(tmp_path / "rows.csv")
    left_out = read_rows(tmp_path / "rows.csv", Columns(ignore=("sample_weight",)))
    assert left_out.feature_names == weighted.feature_names


def test_letor_has_no_place_for_them(weighted, tmp_path):
    with pytest.raises(ValueError, match="LETOR has no place for weights"):
        write_letor(weighted, tmp_path / "rows.txt")
    write_rows(weighted, tmp_path / "rows.csv")
    with pytest.raises(ValueError, match="LETOR has no place for weights"):
        convert(tmp_path / "rows.csv", tmp_path / "rows.txt", Columns(sample_weight="sample_weight"))
    assert not (tmp_path / "rows.txt").exists()
    plain = make_letor(n_queries=3, random_state=0)
    write_letor(plain, tmp_path / "plain.txt")
    with pytest.raises(ValueError, match="LETOR files, which have no such column"):
        read_rows(tmp_path / "plain.txt", Columns(sample_weight="w"))


@pytest.mark.parametrize("suffix", [".weight", ".position", ".init"])
def test_what_the_libraries_would_read_beside_the_file_is_named(tmp_path, suffix):
    path = tmp_path / "rank.train"
    path.write_text("1 qid:1 1:2\n0 qid:1 1:3\n")
    (tmp_path / f"rank.train{suffix}").write_text("1\n1\n")
    with pytest.warns(UserWarning, match=f"rank.train{suffix} is not read"):
        read_letor(path)


def test_letor_merges_no_values_unnoticed(tmp_path):
    X = np.array([[1_700_000_000_001.0], [1_700_000_000_002.0]])
    data = RankingDataset(X, np.array([0, 1], np.float32), np.array([1, 1]))
    with pytest.warns(UserWarning, match="2 distinct values become 1"):
        write_letor(data, tmp_path / "rows.txt")
