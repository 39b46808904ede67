"""The catalogue is complete and consistent; data sets become frames and come back."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import sparse

from lambdamart_kit.datasets import (
    RankingDataset,
    catalogue,
    info,
    make_letor,
    read_letor,
)

PROMISED = {
    "MSLR-WEB10K",
    "MSLR-WEB30K",
    "MQ2007",
    "MQ2008",
    "OHSUMED",
    "TD2003",
    "TD2004",
    "HP2003",
    "HP2004",
    "NP2003",
    "NP2004",
    "Yahoo-LTRC-set1",
    "Yahoo-LTRC-set2",
    "Istella",
    "Istella-S",
}


def test_promised_sets_are_there():
    assert {entry.name for entry in catalogue()} == PROMISED


@pytest.mark.parametrize("entry", catalogue(), ids=lambda e: e.name)
def test_entries_are_whole(entry):
    assert entry.homepage.startswith("http")
    assert "FOLDER" in entry.manual
    assert len(entry.terms) > 20
    assert entry.labels == tuple(range(len(entry.labels)))
    if entry.archive is not None and entry.archive.sha256 is not None:
        assert re.fullmatch("[0-9a-f]{64}", entry.archive.sha256)
    if entry.parts:
        assert sum(part.rows for part in entry.parts.values()) == entry.rows
        assert sum(part.queries for part in entry.parts.values()) == entry.queries


def test_info():
    assert info("mslr-web30k").queries == 31_531
    with pytest.raises(ValueError, match="got 'MSLR-WEB20K', known: MSLR-WEB"):
        info("MSLR-WEB20K")
    with pytest.raises(ValueError, match="known: MSLR-WEB10K, MSLR-WEB30K, MQ2007, MQ2008, OHSUMED"):
        info("x")


def test_expected_counts_of_real_data(real_data):
    entry = info("MQ2008")
    for role in ("train", "vali", "test"):
        data = read_letor(real_data / "mq2008" / "Fold1" / f"{role}.txt")
        assert entry.problems(f"Fold1/{role}", data) == []
    assert entry.problems("Fold1/train", data) == [
        "Fold1/train has 2,874 rows, expected 9,630",
        "Fold1/train has 156 queries, expected 471",
    ]


def test_unexpected_labels_and_features():
    data = RankingDataset(np.zeros((2, 3), np.float32), np.array([0, 7], np.float32), np.array([1, 1]))
    assert info("OHSUMED").problems("Fold1/train", data) == [
        "Fold1/train has 3 features, expected 45",
        "Fold1/train has labels [7.0]",
    ]


def test_frames():
    X = np.array([[1, 0], [0, 2], [3, 0]], np.float32)
    data = RankingDataset(
        X, np.array([1, 0, 2], np.float32), np.array(["b", "a", "b"]), np.array(["x", "y", "z"])
    )
    frame = data.to_frame()
    assert frame.columns.tolist() == ["qid", "docid", "label", "f1", "f2"]
    back = RankingDataset.from_frame(frame)
    np.testing.assert_array_equal(back.X, X)
    assert (back.qid.tolist(), back.docid.tolist(), back.feature_names) == (
        ["b", "a", "b"],
        ["x", "y", "z"],
        ("f1", "f2"),
    )
    csr = RankingDataset(sparse.csr_matrix(X), data.y, data.qid)
    np.testing.assert_array_equal(csr.to_frame()[["f1", "f2"]].to_numpy(), X)
    with pytest.raises(ValueError, match="'label' must name a column of 'frame'; got 'grade'"):
        RankingDataset.from_frame(frame, label="grade")
    with pytest.raises(ValueError, match="numeric feature columns; color are not"):
        RankingDataset.from_frame(frame.assign(color="red"))


def test_subsets():
    data = make_letor(6, random_state=0)
    some = data.select([0, 2])
    assert some.queries.ids.tolist() == [1, 3]
    assert len(data.subset(data.y > 0)) == (data.y > 0).sum()
    assert data.subset(slice(0, 4)).feature_names == data.feature_names
    with pytest.raises(ValueError, match="'y' must have one entry a row"):
        RankingDataset(data.X, data.y[1:], data.qid)
    with pytest.raises(ValueError, match="'feature_names' must have one name a column"):
        RankingDataset(data.X, data.y, data.qid, feature_names=("a",))
