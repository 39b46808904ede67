"""Scores of files are those of `predict`, in order, with the ids beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lambdamart_kit.cli.app import app
from lambdamart_kit.datasets import make_letor, write_letor
from lambdamart_kit.files.chunk import Chunk, Columns, whole_queries
from lambdamart_kit.files.row_files import RowFiles
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


# ----------------------------------------------------------------------------------------------- early exits


@pytest.fixture(scope="module")
def compressed(data):
    """A ranker with exits, of more trees, so that where documents stop makes a difference."""
    other = make_letor(n_queries=300, mean_documents=60, random_state=1)
    ranker = LambdaMART(n_estimators=40, random_state=0, n_jobs=1).fit(data.X, data.y, data.qid)
    found = ranker.compress(other.X, other.qid, y=other.y, tolerance=0.01)
    assert found.stops_early
    assert not ranker.stops_early
    return found


@pytest.mark.parametrize("source", ["rows.parquet", "rows.csv", "rows.txt"])
def test_documents_stop_early_where_files_have_query_ids(folder, data, compressed, source):
    """Chunks end within queries, which are put together again."""
    sizes = [len(chunk.X) for chunk in RowFiles(folder / source, Columns(required=False)).chunks(136)]
    ends = set(np.cumsum(sizes[:-1]).tolist())
    assert ends - set(np.flatnonzero(np.diff(data.qid)) + 1)
    expected = compressed.predict(data.X, qid=data.qid)
    assert not np.array_equal(expected, compressed.predict(data.X))
    assert score_files(compressed, folder / source, folder / "out.txt") == len(data)
    assert np.array_equal(np.loadtxt(folder / "out.txt"), expected)


def test_without_query_ids_rows_go_through_all_trees(folder, data, compressed):
    data.to_frame().drop(columns="qid").to_parquet(folder / "none.parquet", index=False)
    score_files(compressed, folder / "none.parquet", folder / "out.txt")
    assert np.array_equal(np.loadtxt(folder / "out.txt"), compressed.predict(data.X))


def test_rows_of_a_query_that_stand_apart(folder, data, compressed):
    """Each run is a query of its own, whatever the chunks, and a warning says so."""
    order = np.concatenate([np.arange(0, len(data), 2), np.arange(1, len(data), 2)])
    data.to_frame().iloc[order].to_parquet(folder / "apart.parquet", index=False)
    run = np.cumsum(np.diff(data.qid[order], prepend=-1) != 0)
    with pytest.warns(UserWarning, match=r"apart\.parquet: rows of one query do not stand together"):
        score_files(compressed, folder / "apart.parquet", folder / "out.txt")
    assert np.array_equal(np.loadtxt(folder / "out.txt"), compressed.predict(data.X[order], qid=run))


def test_the_command_uses_early_exits(folder, data, compressed):
    compressed.save(folder / "small.lmk")
    with pytest.raises(SystemExit) as exit:
        app([str(a) for a in ("predict", folder / "small.lmk", folder / "rows.txt", "--out", folder / "out")])
    assert not exit.value.code
    assert np.array_equal(np.loadtxt(folder / "out"), compressed.predict(data.X, qid=data.qid))


def test_queries_longer_than_a_chunk_and_of_two_files():
    def chunk(path, qid):
        X = np.zeros((len(qid), 1), dtype=np.float32)
        return Chunk(Path(path), X, None, np.array(qid, dtype=int), None, None, 10 * len(qid))

    given = [[1, 1], [1], [2, 3, 3], [3], [4], [], [4, 5]]
    chunks = [*(chunk("a", ids) for ids in given), chunk("b", [5, 6])]
    found = list(whole_queries(chunks))
    assert [(part.path.name, part.qid.tolist(), part.n_bytes) for part in found if len(part.X)] == [
        ("a", [1, 1, 1, 2], 40),
        ("a", [3, 3, 3], 30),
        ("a", [4, 4], 20),
        ("a", [5], 10),
        ("b", [5], 10),
        ("b", [6], 10),
    ]
