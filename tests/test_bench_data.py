"""Folds of samples, files and folders: whole queries, nothing in two parts, the same features in all."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest

from lambdamart_kit.bench.data import find_folds
from lambdamart_kit.datasets import make_letor


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three folds of LETOR files; the test files never mention the last features."""
    root = tmp_path_factory.mktemp("folds")
    for fold in range(3):
        place = root / f"Fold{fold + 1}"
        place.mkdir()
        for part, name in enumerate(["train", "vali", "test"]):
            rows = make_letor(n_queries=8, mean_documents=10, random_state=10 * fold + part)
            if name == "test":
                rows.X[:, 100:] = 0
            text = write_without_zeros(rows)
            (place / f"{name}.txt").write_text(text)
    return root


def write_without_zeros(rows):
    lines = []
    for x, y, q in zip(rows.X, rows.y, rows.qid):
        features = " ".join(f"{j + 1}:{v:.6g}" for j, v in enumerate(x) if v != 0)
        lines.append(f"{y:g} qid:{q} {features}\n")
    return "".join(lines)


def ids(part):
    return set(part.queries.ids.tolist())


@pytest.mark.parametrize("source", ["sample", "file"])
def test_splits_partition_the_queries(source, folder):
    path = None if source == "sample" else folder / "Fold1" / "train.txt"
    folds = find_folds(path, folds="4", seed=1)
    loaded = [fold.load() for fold in folds]
    tests = [ids(data.test) for data in loaded]
    every = set.union(*tests)
    assert sum(map(len, tests)) == len(every)
    for data in loaded:
        assert ids(data.train) | ids(data.valid) | ids(data.test) == every
        assert len(ids(data.train)) + len(ids(data.valid)) + len(ids(data.test)) == len(every)
        assert ids(data.valid)


def test_splits_repeat_and_follow_the_seed(folder):
    path = folder / "Fold1" / "train.txt"
    first, again, other = (find_folds(path, seed=seed)[0] for seed in (0, 0, 1))
    assert len(find_folds(path)) == 5
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    assert ids(first.load().test) == ids(again.load().test)
    assert {len(ids(fold.load().test)) for fold in find_folds(path, folds="4")} == {2}


def test_folder_parts_have_the_same_features(folder):
    folds = find_folds(folder)
    assert [fold.name for fold in folds] == ["Fold1", "Fold2", "Fold3"]
    data = folds[0].load()
    assert data.train.X.shape[1] == data.valid.X.shape[1] == data.test.X.shape[1] > 100
    assert not data.test.X[:, 100:].any()
    assert data.test.X[:, :100].any()
    assert data.test.X.dtype == np.float32


@pytest.mark.parametrize(
    ("folds", "names"), [("1,3", ["Fold1", "Fold3"]), ("fold2", ["Fold2"]), ("3,Fold1,1", ["Fold1", "Fold3"])]
)
def test_folds_can_be_chosen(folder, folds, names):
    assert [fold.name for fold in find_folds(folder, folds=folds)] == names


def test_a_folder_with_three_files_is_one_fold(folder):
    (fold,) = find_folds(folder / "Fold2")
    assert fold.name == "Fold2"


def test_fingerprint_is_of_content_not_of_place(folder, tmp_path):
    here, there = find_folds(folder)[0], find_folds(shutil.copytree(folder, tmp_path / "copy"))[0]
    assert here.fingerprint() == there.fingerprint()
    with (tmp_path / "copy" / "Fold1" / "vali.txt").open("a") as file:
        file.write("1 qid:999 1:1\n")
    assert find_folds(tmp_path / "copy")[0].fingerprint() != here.fingerprint()


def test_folds_are_small_to_send(folder):
    assert all(len(pickle.dumps(fold)) < 2000 for fold in [*find_folds(folder), *find_folds()])


@pytest.mark.parametrize(
    ("data", "folds", "names"),
    [
        ("Fold1/train.txt", "1", "'folds' must be the number.*2 or more; got '1'"),
        ("Fold1/train.txt", "Fold1", "'folds' must be the number"),
        ("", "4", "'folds' must name some of Fold1, Fold2, Fold3.*got '4'"),
        ("", ",", "'folds' must name some of"),
        ("Fold7", None, "'data' must be.*Fold7"),
    ],
)
def test_bad_input(folder, data, folds, names):
    with pytest.raises((ValueError, FileNotFoundError), match=names):
        find_folds(folder / data, folds=folds)
