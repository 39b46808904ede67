"""The cache of parsed files: the second load maps, and no change or damage goes unnoticed."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from lambdamart_kit.datasets import make_letor, read_letor, write_letor
from lambdamart_kit.datasets.dataset import RankingDataset
from lambdamart_kit.datasets.letor import files as letor


@pytest.fixture
def source(tmp_path):
    data = make_letor(8, random_state=0)
    docid = np.array([f"d{i}" for i in range(len(data))])
    path = tmp_path / "data" / "train.txt"
    path.parent.mkdir()
    write_letor(RankingDataset(data.X, data.y, data.qid, docid), path)
    return path


@pytest.fixture
def parses(monkeypatch):
    """How often a text file has really been parsed."""
    count = []
    real = letor._read
    monkeypatch.setattr(letor, "_read", lambda *args: count.append(1) or real(*args))
    return count


def entry(path):
    (found,) = path.with_name(f"{path.name}.lmkcache").iterdir()
    return found


def is_mapped(array):
    while array is not None and not isinstance(array, np.memmap):
        array = array.base
    return array is not None


def assert_same(a, b):
    for name in ("y", "qid", "docid"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    Xa, Xb = (X if isinstance(X, np.ndarray) else X.toarray() for X in (a.X, b.X))
    np.testing.assert_array_equal(Xa, Xb)


@pytest.mark.parametrize("sparse", [False, True])
def test_second_load_is_a_memory_map(source, parses, sparse):
    plain = read_letor(source, sparse=sparse)
    first, second = (read_letor(source, sparse=sparse, cache=True) for _ in range(2))
    assert len(parses) == 2
    for data in (first, second):
        assert_same(plain, data)
        assert is_mapped(data.X.data if sparse else data.X)
    assert type(second.X) is not np.memmap


def test_writing_to_the_map_does_not_reach_the_disk(source):
    data = read_letor(source, cache=True)
    before = data.X[0, 0]
    data.X[0, 0] = before + 1
    assert read_letor(source, cache=True).X[0, 0] == before


def test_options_have_their_own_entries(source, parses):
    for _ in range(2):
        read_letor(source, cache=True)
        read_letor(source, cache=True, missing=np.nan)
        read_letor(source, cache=True, n_features=200)
    assert len(parses) == 3


def test_changed_content_is_read_again(source, parses):
    read_letor(source, cache=True)
    source.write_text(source.read_text().replace("qid:1 ", "qid:999 ", 1))
    assert read_letor(source, cache=True).qid[0] == 999
    assert len(parses) == 2


def test_same_content_with_a_new_date_is_not_read_again(source, parses):
    read_letor(source, cache=True)
    os.utime(source, ns=(1, 1))
    read_letor(source, cache=True)
    assert len(parses) == 1
    assert json.loads((entry(source) / "meta.json").read_text())["stamps"][0][1] == 1


@pytest.mark.parametrize("victim", ["X.npy", "y.npy", "qid.npy", "docid.npy", "meta.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone", "garbage", "empty"])
def test_damage_is_noticed_and_repaired(source, parses, victim, damage):
    plain = read_letor(source)
    read_letor(source, cache=True)  # not kept: its file is about to be cut under it
    path = entry(source) / victim
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        content[len(content) // 2] ^= 0xFF if damage == "flipped" else 0
        new = {"cut": content[:-7], "flipped": content, "garbage": b"\0" * len(content), "empty": b""}[damage]
        path.write_bytes(bytes(new))
    for _ in range(2):
        assert_same(plain, read_letor(source, cache=True))
    assert len(parses) == 3


def test_notes_that_lost_a_part_are_noticed(source, parses):
    """Sound JSON, and arrays that fit their fingerprints: without `docid` the names were lost in silence."""
    plain = read_letor(source)
    for change in ({"arrays": "docid"}, {"shape": None}):
        read_letor(source, cache=True)
        path = entry(source) / "meta.json"
        notes = json.loads(path.read_text())
        for name, part in change.items():
            if part is None:
                notes[name] = [len(plain), 7]
            else:
                del notes[name][part]
        path.write_text(json.dumps(notes))
        assert_same(plain, read_letor(source, cache=True))
    assert len(parses) == 4


def test_no_trace_is_left_of_failures(source, tmp_path, monkeypatch):
    monkeypatch.setattr(np, "save", lambda *args, **options: (_ for _ in ()).throw(OSError("disk full")))
    assert len(read_letor(source, cache=True)) > 0
    assert os.listdir(source.with_name("train.txt.lmkcache")) == []


def test_a_chosen_folder_and_the_users_folder(source, tmp_path, parses, monkeypatch):
    for _ in range(2):
        read_letor(source, cache=tmp_path / "mine")
    assert len(parses) == 1
    assert not source.with_name("train.txt.lmkcache").exists()
    monkeypatch.setenv("LAMBDAMART_KIT_CACHE", str(tmp_path / "user"))
    monkeypatch.setattr(os, "access", lambda *args, **options: False)  # as on a read-only disk
    for _ in range(2):
        read_letor(source, cache=True)
    assert len(parses) == 2
    assert len(list((tmp_path / "user" / "letor").iterdir())) == 1


def test_what_was_read_while_the_file_changed_is_not_stored(tmp_path, monkeypatch):
    path = tmp_path / "d.txt"
    path.write_text("0 qid:1 1:1\n1 qid:1 1:2\n")
    read = letor._read

    def replaced_meanwhile(*args):
        data = read(*args)
        (tmp_path / "new").write_text("5 qid:9 1:100\n6 qid:9 1:200\n")
        os.replace(tmp_path / "new", path)
        return data

    monkeypatch.setattr(letor, "_read", replaced_meanwhile)
    assert read_letor(path, cache=True).y.tolist() == [0, 1]
    monkeypatch.setattr(letor, "_read", read)
    assert read_letor(path, cache=True).y.tolist() == [5, 6]


def test_a_flipped_bit_in_a_compressed_file_is_found(tmp_path):
    path = tmp_path / "d.txt.zst"
    data = make_letor(n_queries=3, random_state=0)
    write_letor(data, path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            read = read_letor(path)
        except (ValueError, OSError):
            continue
        np.testing.assert_array_equal(read.X, data.X)  # the bit was one that no content depends on
        np.testing.assert_array_equal(read.y, data.y)
