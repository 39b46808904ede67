"""Scores of files are those of `predict`, in order, with the ids beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lambdamart_kit.cli.app import app
from lambdamart_kit.datasets import make_letor, write_letor
from lambdamart_kit.files.scoring import score_files
from lambdamart_kit.rankers import LambdaMART


@pytest.fixture(scope="module")
def data():
    return make_letor(n_queries=30, mean_documents=40, random_state=0)


@pytest.fixture(scope="module")
def ranker(data):
    return LambdaMART(n_estimators=5, random_state=0).fit(data.X, data.y, data.qid)


@pytest.fixture
def folder(tmp_path, data, monkeypatch):
    monkeypatch.setattr("lambdamart_kit.files.letor._SECTION_BLOCKS", 1)
    monkeypatch.setattr("lambdamart_kit.files.tables.CHUNK_BYTES", 1 << 17)
    monkeypatch.setattr("lambdamart_kit.files.tables._LEAST_ROWS", 64)
    frame = data.to_frame().assign(docid=[f"d{i}" for i in range(len(data))])
    frame.to_parquet(tmp_path / "rows.parquet", index=False)
    frame.drop(columns="label").to_csv(tmp_path / "rows.csv", index=False)
    write_letor(data, tmp_path / "rows.txt")
    return tmp_path


@pytest.mark.parametrize("source", ["rows.parquet", "rows.csv", "rows.txt"])
@pytest.mark.parametrize("target", ["out.parquet", "out.csv", "out.txt"])
def test_scores_are_those_of_predict(folder, data, ranker, source, target):
    assert score_files(ranker, folder / source, folder / target) == len(data)
    expected = ranker.predict(data.X)
    if target.endswith("txt"):
        assert np.array_equal(np.loadtxt(folder / target), expected)
        return
    read = pd.read_parquet if target.endswith("parquet") else pd.read_csv
    scored = read(folder / target)
    assert np.allclose(scored.score, expected, rtol=1e-15)
    assert scored.qid.astype(str).tolist() == data.qid.astype(str).tolist()
    assert ("docid" in scored) == (source != "rows.txt")
    if "docid" in scored:
        assert scored.docid.tolist() == [f"d{i}" for i in range(len(data))]


def test_a_folder_to_a_folder(folder, data, ranker):
    parts = folder / "parts"
    parts.mkdir()
    for i in range(2):
        data.to_frame().iloc[i::2].to_parquet(parts / f"part-{i}.parquet", index=False)
    assert score_files(ranker, parts, f"{folder}/scores/") == len(data)
    for i in range(2):
        scored = pd.read_parquet(folder / "scores" / f"part-{i}.parquet")
        assert np.array_equal(scored.score, ranker.predict(data.X[i::2]))


def test_columns_are_found_by_name(folder, data):
    frame = data.to_frame().drop(columns=["label", "qid"])
    named = LambdaMART(n_estimators=5, random_state=0).fit(frame, data.y, data.qid)
    mixed = frame[frame.columns[::-1]].assign(more=1, qid=data.qid)
    mixed.to_parquet(folder / "mixed.parquet", index=False)
    score_files(named, folder / "mixed.parquet", folder / "out.parquet")
    assert np.array_equal(pd.read_parquet(folder / "out.parquet").score, named.predict(frame))


def test_mistakes_leave_nothing_behind(folder, data, ranker):
    data.to_frame().iloc[:, :20].to_parquet(folder / "narrow.parquet", index=False)
    with pytest.raises(ValueError, match=r"136 features .* has 18"):
        score_files(ranker, folder / "narrow.parquet", folder / "out.parquet")
    bad = data.to_frame()
    bad.iloc[-1, 5] = np.inf
    bad.to_parquet(folder / "bad.parquet", index=False)
    with pytest.raises(ValueError, match=r"bad\.parquet: .*infinity"):
        score_files(ranker, folder / "bad.parquet", folder / "out.parquet")
    assert not list(folder.glob("*out*"))


@pytest.mark.parametrize("suffix", ["parquet", "csv", "txt"])
def test_the_commands(folder, data, ranker, suffix):
    model, rows = folder / "m.lmk", folder / f"rows.{suffix}"
    data.to_frame().to_csv(folder / "rows.csv", index=False)
    for command in (
        ["train", rows, "--model", model, "-p", "n_estimators=5"],
        ["predict", model, rows, "--out", folder / "out.parquet"],
    ):
        with pytest.raises(SystemExit) as exit:
            app([str(a) for a in command])
        assert not exit.value.code
    assert np.array_equal(pd.read_parquet(folder / "out.parquet").score, ranker.predict(data.X))
