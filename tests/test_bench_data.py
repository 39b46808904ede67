"""Folds of samples, files and folders: whole queries, nothing in two parts, the same features in all."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pandas as pd
import pytest

from lambdamart_kit.bench.data import find_folds
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.files import Columns


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


# ------------------------------------------------------------------------------------ folds as tables


def _tables(folder, suffix=".csv", parts=("train", "vali", "test")):
    """Parts of four queries each; the columns of `vali` and `test` stand in another order."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    frames = {}
    for number, part in enumerate(parts):
        frame = pd.DataFrame(rng.normal(size=(24, 2)).round(2), columns=["price", "clicks"])
        frame.insert(0, "qid", np.repeat([f"q{number}{i}" for i in range(4)], 6))
        frame["label"] = (frame.price > 0).astype(int)
        frames[part] = frame
        shown = frame if number == 0 else frame[["clicks", "label", "price", "qid"]]
        path = folder / (part + suffix)
        if suffix == ".parquet":
            shown.to_parquet(path, index=False)
        else:
            shown.to_csv(path, index=False)
    return frames


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".csv.gz"])
def test_parts_that_are_tables(tmp_path, suffix):
    frames = _tables(tmp_path / "Fold1", suffix)
    _tables(tmp_path / "Fold2", suffix)
    first, second = find_folds(tmp_path)
    assert (first.name, second.name) == ("Fold1", "Fold2")
    data = first.load()
    for part, frame in zip((data.train, data.valid, data.test), frames.values()):
        assert part.feature_names == ("price", "clicks")
        np.testing.assert_array_equal(part.X, frame[["price", "clicks"]].to_numpy(part.X.dtype))
        assert part.qid.tolist() == frame.qid.tolist()
    assert [fold.name for fold in find_folds(tmp_path, folds="2")] == ["Fold2"]
    only = find_folds(tmp_path, columns=Columns(features=("clicks",)))[0]
    assert only.load().test.feature_names == ("clicks",)
    assert only.fingerprint() != first.fingerprint() == second.fingerprint()


def test_five_parts_that_are_tables(tmp_path):
    frames = _tables(tmp_path, ".csv", [f"S{i}" for i in range(1, 6)])
    second = find_folds(tmp_path)[1].load()
    assert second.train.qid.tolist() == [q for i in (2, 3, 4) for q in frames[f"S{i}"].qid]
    assert second.test.qid.tolist() == frames["S1"].qid.tolist()


def test_folders_of_tables_that_are_not_whole(tmp_path):
    _tables(tmp_path / "a", ".csv", ["train", "test"])
    with pytest.raises(FileNotFoundError, match=r"missing in .*: a/vali\.csv"):
        find_folds(tmp_path / "a")
    _tables(tmp_path / "b", ".csv", ["S1", "S2", "S4"])
    with pytest.raises(FileNotFoundError, match=r"missing in .*: S3\.csv, S5\.csv"):
        find_folds(tmp_path / "b")
    for other in ("train.parquet", "train.txt"):
        _tables(tmp_path / other)
        (tmp_path / other / other).touch()
        with pytest.raises(ValueError, match=r"holds train\.\w+ and train\.\w+; leave only one"):
            find_folds(tmp_path / other)
    _tables(tmp_path / "c")
    pd.read_csv(tmp_path / "c/test.csv").drop(columns="price").to_csv(tmp_path / "c/test.csv", index=False)
    with pytest.raises(ValueError, match="price"):
        find_folds(tmp_path / "c")[0].load()
