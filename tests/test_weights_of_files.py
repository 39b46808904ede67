"""Weights of queries reach the fit from every kind of file, and what has no place for them says so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from lambdamart_kit import LambdaMART
from lambdamart_kit.bench.files import train_file
from lambdamart_kit.bench.fitting import fit_with_validation
from lambdamart_kit.cli.app import app
from lambdamart_kit.datasets import RankingDataset, make_letor, read_letor, write_letor
from lambdamart_kit.files import Columns, convert, read_rows, write_rows
from lambdamart_kit.metrics import ndcg

COLUMNS = Columns(sample_weight="sample_weight")
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


def _weighted_queries(random_state):
    """Half of the queries weigh 400 times as much as the others: their mean is another one."""
    data = make_letor(n_queries=20, random_state=random_state)
    heavy = np.random.default_rng(random_state).random(data.queries.n_queries) < 0.5
    weight = np.where(heavy, 400.0, 1.0)[data.qid - data.qid.min()]
    return RankingDataset(data.X, data.y, data.qid, None, data.feature_names, weight)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("spec", ["lambdamart", "lambdamart@xgboost"])
def test_held_out_queries_weigh_what_their_file_says(tmp_path, spec, suffix, stream):
    parts = [_weighted_queries(0), _weighted_queries(1)]
    train, valid = parts
    paths = [tmp_path / f"train.{suffix}", tmp_path / f"valid.{suffix}"]
    for part, path in zip(parts, paths):
        write_rows(part, path)
    params = {"n_estimators": 12, "early_stopping_rounds": None}
    columns = Columns(sample_weight="sample_weight")
    fitted = train_file(*paths, spec=spec, params=params, columns=columns, stream=stream, n_jobs=1)
    ranker = LambdaMART(booster=fitted.booster, random_state=0, n_jobs=1, **params)
    held_out = {"X_val": valid.X, "y_val": valid.y, "qid_val": valid.qid}
    ranker.fit(train.X, train.y, train.qid, train.sample_weight, **held_out)
    without = ranker.evals_result_["validation"]["ndcg@10"]
    ranker.fit(
        train.X, train.y, train.qid, train.sample_weight, **held_out, sample_weight_val=valid.sample_weight
    )
    curve = fitted.evals_result_["validation"]["ndcg@10"]
    # XGBoost's external memory takes other bins, so its trees are near those of `fit`, not equal.
    loosely = stream and spec.endswith("xgboost")
    np.testing.assert_allclose(curve, ranker.evals_result_["validation"]["ndcg@10"], rtol=0.05 * loosely)
    assert np.abs(np.subtract(curve, without)).max() > 0.01
    scores = pd.DataFrame({"qid": valid.qid, "weight": valid.sample_weight})
    mean = ndcg(valid.y, ranker.predict(valid.X), valid.qid, k=10, per_query=True)
    weight = scores.groupby("qid")["weight"].first().to_numpy()
    by_hand = np.average(mean[~np.isnan(mean)], weights=weight[~np.isnan(mean)])
    assert ranker.best_score_ == pytest.approx(by_hand, abs=1e-12)


def test_held_out_files_need_the_weights_too(tmp_path):
    frame = _weighted_queries(0).to_frame()
    frame.to_csv(tmp_path / "train.csv", index=False)
    frame.drop(columns="sample_weight").to_csv(tmp_path / "valid.csv", index=False)
    for stream in (False, True):
        with pytest.raises(ValueError, match=r"must name a column; .*valid\.csv has no 'sample_weight'"):
            train_file(
                tmp_path / "train.csv",
                tmp_path / "valid.csv",
                columns=Columns(sample_weight="sample_weight"),
                stream=stream,
            )


def test_a_blend_learns_from_the_weights_of_both_files(weighted, tmp_path):
    """AutoRanker learns from the held-out queries too; two files are one to it."""
    half = np.arange(weighted.queries.n_queries) < 15
    parts = [weighted.select(np.flatnonzero(half)), weighted.select(np.flatnonzero(~half))]
    for name, part in zip(("train", "valid"), parts):
        write_rows(part, tmp_path / f"{name}.csv")
    given = {}

    class Recorder:
        holds_out_itself = True

        def fit(self, X, y, qid, sample_weight):
            given.update(y=y, sample_weight=sample_weight)
            return self

    fit_with_validation(Recorder(), *(read_rows(tmp_path / f"{n}.csv", COLUMNS) for n in ("train", "valid")))
    np.testing.assert_array_equal(
        given["sample_weight"], np.concatenate([part.sample_weight for part in parts])
    )


def test_commands_after_training_leave_the_weights_out(weighted, tmp_path):
    """Weights are no features to a ranker that knows its features by name."""
    path = tmp_path / "rows.csv"
    write_rows(weighted, path)
    model = tmp_path / "m.lmk"
    train_file(path, columns=COLUMNS, params={"n_estimators": 3}, n_jobs=1).save(model)
    for command in (
        ["predict", model, path, "--out", tmp_path / "scores.txt"],
        ["report", model, path, "--out", tmp_path / "page.html"],
        ["explain", model, path],
        ["export", model, "--to", "lightgbm", "--out", tmp_path / "model.txt", "--check", path],
    ):
        done = CliRunner().invoke(app, [str(part) for part in command])
        assert done.exit_code == 0, (command[0], done.output)
    unnamed = LambdaMART(**SETTINGS).fit(weighted.X, weighted.y, weighted.qid)
    unnamed.save(model)
    weighted.to_frame().rename(columns={"sample_weight": "w"}).to_csv(path, index=False)
    done = CliRunner().invoke(app, ["report", str(model), str(path), "--out", str(tmp_path / "page.html")])
    assert done.exit_code == 1
    assert "must have the 136 features the ranker was fitted on" in " ".join(done.output.split())


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
