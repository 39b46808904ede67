"""`fit_files` against `fit`: the same rows give the same trees, bit for bit, however they lie in files."""

from __future__ import annotations

import gzip
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lambdamart_kit.core.queries import Queries, QueryIds
from lambdamart_kit.core.rowhash import id_hashes
from lambdamart_kit.datasets import LetorFormatError, make_letor, write_letor
from lambdamart_kit.files import write_rows
from lambdamart_kit.files.chunk import Columns, stack
from lambdamart_kit.files.row_files import RowFiles, find_files
from lambdamart_kit.rankers import LambdaMART
from lambdamart_kit.trees import edge_sample as streaming
from lambdamart_kit.trees.binning import BinMapper, sample_queries
from lambdamart_kit.trees.edge_sample import ColumnWriter, EdgeSample
from lambdamart_kit.trees.model_text import tree_blocks

COMMON = {"n_estimators": 8, "num_leaves": 15, "random_state": 0}


@pytest.fixture(scope="module")
def data():
    return make_letor(n_queries=40, mean_documents=50, random_state=0)


@pytest.fixture(scope="module")
def held_out():
    return make_letor(n_queries=15, mean_documents=40, random_state=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, data, held_out):
    """The rows in one file of each kind, and shuffled over several, so that queries straddle them."""
    folder = tmp_path_factory.mktemp("files")
    places = np.random.default_rng(0).permutation(len(data))
    cut = len(data) // 3
    write_letor(data, folder / "one.txt")
    write_letor(data, folder / "one.txt.gz")
    for i, rows in enumerate((places[:cut], places[cut:])):
        write_letor(data.subset(rows), folder / f"shuffled-{i}.txt")
        data.to_frame().iloc[rows].to_parquet(folder / f"shuffled-{i}.parquet", index=False)
    data.to_frame().to_parquet(folder / "one.parquet", index=False, row_group_size=300)
    write_rows(data.subset(places), folder / "one.csv")
    write_letor(held_out, folder / "vali.txt")
    held_out.to_frame().to_parquet(folder / "vali.parquet", index=False)
    return folder


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Many chunks, many buckets, and a sample that is not all rows."""
    monkeypatch.setattr("lambdamart_kit.files.letor._SECTION_BLOCKS", 1)
    monkeypatch.setattr("lambdamart_kit.files.tables.CHUNK_BYTES", 1 << 17)
    monkeypatch.setattr("lambdamart_kit.files.tables._LEAST_ROWS", 64)
    monkeypatch.setattr("lambdamart_kit.trees.edge_sample._BUCKET_BYTES", 60_000)
    monkeypatch.setattr("lambdamart_kit.trees.binning.SAMPLE_ROWS", 500)
    monkeypatch.setattr("lambdamart_kit.files.training.SAMPLE_ROWS", 500)


def numbered(data):
    """The rows as a table whose features are called f1, f2, ..."""
    return replace(data, feature_names=None).to_frame()


def assert_same(from_files, in_memory):
    assert tree_blocks(from_files.booster_.model_to_string()) == tree_blocks(
        in_memory.booster_.model_to_string()
    )
    assert from_files.evals_result_ == in_memory.evals_result_
    assert from_files.best_iteration_ == in_memory.best_iteration_
    assert from_files.n_queries_in_ == in_memory.n_queries_in_
    assert from_files.n_features_in_ == in_memory.n_features_in_


KINDS = ["one.txt", "one.txt.gz", "shuffled-*.txt", "one.parquet", "shuffled-*.parquet", "one.csv"]


@pytest.mark.parametrize("name", KINDS)
def test_the_model_is_that_of_fit(folder, data, name):
    in_memory = LambdaMART(**COMMON).fit(data.X, data.y, data.qid)
    assert_same(LambdaMART(**COMMON).fit_files(folder / name, qid="qid"), in_memory)


@pytest.mark.parametrize("name", ["shuffled-*.txt", "one.parquet"])
def test_early_stopping_on_a_share_of_the_queries(folder, data, name):
    settings = {**COMMON, "validation_fraction": 0.3, "early_stopping_rounds": 2, "subsample": 0.7}
    in_memory = LambdaMART(**settings).fit(data.X, data.y, data.qid)
    assert_same(LambdaMART(**settings).fit_files(folder / name), in_memory)


@pytest.mark.parametrize("kind", ["txt", "parquet"])
def test_early_stopping_on_files(folder, data, held_out, kind):
    settings = {**COMMON, "early_stopping_rounds": 3}
    in_memory = LambdaMART(**settings).fit(
        data.X, data.y, data.qid, X_val=held_out.X, y_val=held_out.y, qid_val=held_out.qid
    )
    from_files = LambdaMART(**settings).fit_files(folder / f"one.{kind}", eval_files=folder / f"vali.{kind}")
    assert_same(from_files, in_memory)


def test_weights_names_constraints_and_categories(tmp_path, rng):
    frame = pd.DataFrame(rng.normal(size=(600, 3)), columns=["a", "b", "c"]).astype(np.float32)
    frame["kind"] = rng.integers(0, 12, 600)
    frame.loc[rng.random(600) < 0.1, "b"] = np.nan
    y = ((frame.a + (frame.kind % 3 == 1)) > 0.5).astype(int)
    qid = np.repeat([f"query {i}" for i in range(30)], 20)
    weight = np.repeat(rng.integers(1, 4, 30), 20).astype(float)
    settings = {**COMMON, "monotone_constraints": {"a": 1}, "categorical_features": ["kind"]}
    in_memory = LambdaMART(**settings).fit(frame, y, qid, sample_weight=weight)
    table = frame.assign(stars=y, query=qid, w=weight, note="text")
    table.sample(frac=1, random_state=0).to_parquet(tmp_path / "rows.parquet")
    from_files = LambdaMART(**settings).fit_files(
        tmp_path / "rows.parquet", y="stars", qid="query", sample_weight="w", features=list(frame)
    )
    assert_same(from_files, in_memory)
    assert from_files.feature_names_in_.tolist() == ["a", "b", "c", "kind"]
    assert np.array_equal(from_files.predict(frame), in_memory.predict(frame))


def test_work_dir_is_used_again_and_made_anew(folder, data, tmp_path, monkeypatch):
    work, settings = tmp_path / "work", {**COMMON, "validation_fraction": 0.2}
    expected = LambdaMART(**settings).fit_files(folder / "one.parquet", work_dir=work)
    kept = sorted(p.name.partition("-")[0] for p in work.iterdir())
    assert kept == ["bins", "bins", "digests.json", "edges", "rows"]

    def no_reading(self, n_features=None):
        raise AssertionError("the files were read again")

    with monkeypatch.context() as patch:
        patch.setattr(RowFiles, "chunks", no_reading)
        assert_same(LambdaMART(**settings).fit_files(folder / "one.parquet", work_dir=work), expected)
        with pytest.raises(AssertionError, match="read again"):
            LambdaMART(**settings, max_bin=16).fit_files(folder / "one.parquet", work_dir=work)
    coarse = LambdaMART(**settings, max_bin=16)  # labels and ids are known, the sample is not
    in_memory = LambdaMART(**settings, max_bin=16).fit(data.X, data.y, data.qid)
    assert_same(coarse.fit_files(folder / "one.parquet", work_dir=work), in_memory)
    for entry in work.glob("bins-*"):  # damaged: made anew
        with open(entry / "columns.npy", "r+b") as file:
            file.seek(5000)
            file.write(b"damage")
    assert_same(LambdaMART(**settings).fit_files(folder / "one.parquet", work_dir=work), expected)


def test_changed_content_is_noticed(folder, data, tmp_path):
    path, work = tmp_path / "rows.txt", tmp_path / "work"
    write_letor(data, path)
    LambdaMART(**COMMON).fit_files(path, work_dir=work)
    fewer = data.select(np.arange(20))
    write_letor(fewer, path)
    in_memory = LambdaMART(**COMMON).fit(fewer.X, fewer.y, fewer.qid)
    assert_same(LambdaMART(**COMMON).fit_files(path, work_dir=work), in_memory)


def test_nothing_is_left_behind(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    LambdaMART(**COMMON).fit_files(folder / "one.parquet")
    assert not list(tmp_path.iterdir())


def test_goes_on_from_a_checkpoint(folder, data, tmp_path):
    path = tmp_path / "trees.npz"
    settings = {**COMMON, "booster_params": {"checkpoint": path, "checkpoint_trees": 1}}
    LambdaMART(**{**settings, "n_estimators": 4}).fit_files(folder / "one.parquet")
    assert path.exists()
    resumed = LambdaMART(**settings).fit_files(folder / "shuffled-*.parquet")
    assert_same(resumed, LambdaMART(**COMMON).fit(data.X, data.y, data.qid))


def test_progress_says_how_long(folder, capsys):
    LambdaMART(**COMMON, verbose=1).fit_files(folder / "one.txt")
    said = capsys.readouterr().err
    for part in ("reading", "writing bins", "MB", "left", "8/8"):
        assert part in said


def test_xgboost_external_memory_is_nearly_xgboost_in_memory(folder, data, held_out, monkeypatch):
    monkeypatch.setattr("lambdamart_kit.files.tables.CHUNK_BYTES", 1 << 20)
    settings = {"booster": "xgboost", **COMMON, "n_estimators": 4, "validation_fraction": 0.3}
    in_memory = LambdaMART(**settings).fit(data.X, data.y, data.qid)
    from_files = LambdaMART(**settings).fit_files(folder / "one.parquet")
    scores = [
        ranker.booster_.inplace_predict(held_out.X, validate_features=False)
        for ranker in (in_memory, from_files)
    ]
    assert np.corrcoef(scores)[0, 1] > 0.95
    first = [ranker.evals_result_["validation"]["ndcg@10"] for ranker in (in_memory, from_files)]
    assert np.allclose(*first, atol=0.05)
    # Rows in another order in the files are still matched with their own labels.
    shuffled = LambdaMART(**settings).fit_files(folder / "shuffled-*.parquet")
    assert abs(shuffled.best_score_ - in_memory.best_score_) < 0.05


# --------------------------------------------------------------------------------------- what does not work


def test_lightgbm_warm_start_and_functions_are_refused(folder):
    with pytest.raises(ValueError, match="'booster' must be 'native' or 'xgboost'"):
        LambdaMART(booster="lightgbm").fit_files(folder / "one.txt")
    ranker = LambdaMART(**COMMON, warm_start=True).fit_files(folder / "one.txt")
    with pytest.raises(ValueError, match="'warm_start' must be False"):
        ranker.fit_files(folder / "one.txt")
    with pytest.raises(ValueError, match="'objective' must work on labels"):
        LambdaMART(objective=lambda scores: (scores, scores)).fit_files(folder / "one.txt")
    with pytest.raises(ValueError, match="needs held-out queries"):
        LambdaMART(early_stopping_rounds=2).fit_files(folder / "one.txt")


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_columns_that_are_missing_or_differ(tmp_path, data, suffix):
    def write(frame, name):
        getattr(frame, f"to_{suffix}")(tmp_path / f"{name}.{suffix}", index=False)

    frame = numbered(data).astype(np.float64 if suffix == "csv" else np.float32)  # text of float32 numbers
    write(frame, "a")
    write(frame.drop(columns="f7"), "b")
    write(frame.assign(more=1), "c")
    write(frame[frame.columns[::-1]], "d")
    ranker = LambdaMART(**COMMON)
    with pytest.raises(ValueError, match=r"'y' must name a column; .*a.* has no 'stars'"):
        ranker.fit_files(tmp_path / f"a.{suffix}", y="stars")
    with pytest.raises(ValueError, match=r"'qid' must name a column; .*a.* has no 'q'"):
        ranker.fit_files(tmp_path / f"a.{suffix}", qid="q")
    with pytest.raises(ValueError, match=r"same columns: .*b.* has no 'f7', unlike .*a"):
        ranker.fit_files([tmp_path / f"{name}.{suffix}" for name in "ab"])
    with pytest.raises(ValueError, match=r"same columns: .*c.* also has 'more'"):
        ranker.fit_files([tmp_path / f"{name}.{suffix}" for name in "ac"])
    twice = LambdaMART(**COMMON).fit_files([tmp_path / f"{name}.{suffix}" for name in "ad"])  # order is free
    doubled = {name: np.concatenate([getattr(data, name)] * 2) for name in ("X", "y", "qid")}
    assert_same(twice, LambdaMART(**COMMON).fit(**doubled))


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_values_that_cannot_be_used(tmp_path, data, suffix):
    path = tmp_path / f"rows.{suffix}"

    def fit(frame):
        getattr(frame, f"to_{suffix}")(path, index=False)
        LambdaMART(**COMMON).fit_files(path)

    frame = numbered(data)
    with pytest.raises(ValueError, match=r"rows.*'f3' has inf"):
        fit(frame.assign(f3=np.where(np.arange(len(frame)) == 1500, np.inf, frame.f3)))
    with pytest.raises(ValueError, match=r"beyond float32"):
        fit(frame.assign(f3=1e300))
    with pytest.raises(ValueError, match="'y' must hold finite relevance labels >= 0; row 7"):
        fit(frame.assign(label=np.where(np.arange(len(frame)) == 7, -1.0, frame.label)))
    with pytest.raises(ValueError, match=r"rows.*'qid' must not be missing"):
        fit(frame.assign(qid=np.where(np.arange(len(frame)) == 7, None, frame.qid.astype(str))))
    with pytest.raises(ValueError, match="rows"):
        fit(frame.assign(f3="text"))


def test_files_that_cannot_be_read(tmp_path, data):
    write_letor(data, tmp_path / "a.txt")
    text = (tmp_path / "a.txt").read_bytes()
    (tmp_path / "cut.txt").write_bytes(text[: len(text) // 2 + 3])
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(text)[:-2000])
    data.to_frame().to_parquet(tmp_path / "a.parquet")
    table = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(table[: len(table) // 2])
    data.to_frame().to_csv(tmp_path / "a.csv", index=False)
    rows = (tmp_path / "a.csv").read_bytes()
    (tmp_path / "cut.csv").write_bytes(rows[: rows.rfind(b",")])
    (tmp_path / "empty.csv").touch()
    ranker = LambdaMART(**COMMON)
    for name, error in (("cut.txt", LetorFormatError), ("cut.txt.gz", LetorFormatError)):
        with pytest.raises(error, match=name):
            ranker.fit_files(tmp_path / name)
    for name in ("cut.parquet", "cut.csv", "empty.csv"):
        with pytest.raises(ValueError, match=rf"{name}: .*(cut short|empty)"):
            ranker.fit_files(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        ranker.fit_files(tmp_path / "none.txt")
    with pytest.raises(FileNotFoundError, match="No such files"):
        ranker.fit_files(tmp_path / "none-*.txt")
    with pytest.raises(ValueError, match="of one kind; got csv, parquet"):
        ranker.fit_files([tmp_path / "a.csv", tmp_path / "a.parquet"])
    with pytest.raises(ValueError, match="at least one file"):
        ranker.fit_files([])


def test_files_without_rows_among_others(tmp_path, data):
    data.to_frame().iloc[:0].to_parquet(tmp_path / "a.parquet")
    data.to_frame().to_parquet(tmp_path / "b.parquet")
    (tmp_path / "_SUCCESS").touch()
    in_memory = LambdaMART(**COMMON).fit(data.X, data.y, data.qid)
    assert_same(LambdaMART(**COMMON).fit_files(tmp_path), in_memory)
    with pytest.raises(ValueError, match="'files' must hold at least one row"):
        LambdaMART(**COMMON).fit_files(tmp_path / "a.parquet")


def test_wider_letor_files_that_come_later(tmp_path, data):
    narrow, wide = data.select(np.arange(20)), data.select(np.arange(20, 40))
    narrow.X[:, 100:] = 0
    write_letor(narrow, tmp_path / "a.txt")
    text = (tmp_path / "a.txt").read_text().splitlines()
    (tmp_path / "a.txt").write_text("".join(line.split(" 101:")[0] + "\n" for line in text))
    write_letor(wide, tmp_path / "b.txt")
    together = {n: np.concatenate((getattr(narrow, n), getattr(wide, n))) for n in ("X", "y", "qid")}
    assert_same(LambdaMART(**COMMON).fit_files(tmp_path), LambdaMART(**COMMON).fit(**together))


def test_a_full_disk_is_an_error(folder, monkeypatch):
    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(streaming.os, "posix_fallocate", no_room)
    with pytest.raises(OSError, match="needed in 'work_dir'"):
        LambdaMART(**COMMON).fit_files(folder / "one.parquet")


# ------------------------------------------------------------------------------------------------ the parts


@pytest.mark.parametrize("name", KINDS)
def test_chunks_are_the_rows(folder, data, name):
    files = RowFiles(folder / name)
    chunks = list(files.chunks())
    assert len(chunks) > 1
    X = stack([c.X for c in chunks], 136).astype(np.float32)
    assert sorted(map(bytes, X)) == sorted(map(bytes, data.X))
    assert sum(c.n_bytes for c in chunks) == pytest.approx(files.n_bytes, abs=len(chunks))


def test_find_files(tmp_path):
    for name in ("b.txt", "a.txt", "_SUCCESS", ".hidden"):
        (tmp_path / name).touch()
    assert [p.name for p in find_files(tmp_path)] == ["a.txt", "b.txt"]
    assert [p.name for p in find_files([tmp_path / "b.txt", f"{tmp_path}/a*"])] == ["b.txt", "a.txt"]


@pytest.mark.parametrize(
    "ids",
    [[5, 5, 10, 7, 5], ["b", "a", "b", "b", "c"], ["10", "9", "10", "x", "9"], [2.5, 1.0, 1.0, 2.5, 0.0]],
    ids=["whole", "text", "mixed text", "fractional"],
)
def test_ids_by_chunk_are_the_ids(ids):
    whole = np.array(ids)
    expected = Queries.from_qid(whole, 5)
    collected = QueryIds()
    for part in (whole[:2], whole[2:2], whole[2:]):
        collected.add(part)
    found = collected.queries()
    for name in ("order", "ptr", "ids"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))


def test_ids_from_text_are_numbers_if_all_are():
    numbers, mixed = QueryIds(from_text=True), QueryIds(from_text=True)
    for chunk in (np.array([10, 9]), np.array(["9", "7"])):
        numbers.add(chunk)
        mixed.add(chunk)
    mixed.add(np.array(["x", "10"]))
    assert numbers.queries().ids.tolist() == [7, 9, 10]
    assert mixed.queries().ids.tolist() == ["10", "7", "9", "x"]


def test_equal_ids_hash_alike_whatever_their_type():
    kinds = [np.array([3, -7, 0]), np.array([3.0, -7.0, 0.0]), np.array(["3", "-7", "0"])]
    assert len({id_hashes(ids).tobytes() for ids in kinds}) == 1
    assert len(set(id_hashes(np.array(["3", "03", "3.5", "a", ""])).tolist())) == 5


@pytest.mark.parametrize("seed", range(5))
def test_the_sample_is_that_of_all_rows(seed):
    rng = np.random.default_rng(seed)
    qid = rng.integers(0, 60, 3000)
    X = np.arange(3000, dtype=np.float32)[:, None]
    n_rows = int(rng.integers(1, 2500))
    sample, ids = EdgeSample(n_rows), QueryIds()
    for at in range(0, 3000, 200):
        codes = ids.add(qid[at : at + 200])
        sample.add(X[at : at + 200], codes, ids.names(sample.n_known))
    queries = Queries.from_qid(qid, 3000)
    chosen = sample_queries(queries.ids, queries.sizes, n_rows)
    if n_rows < 1000:
        assert sample.take(queries.ids) is None  # not all were kept, and it says so
    kept = sample.take(queries.ids[chosen])
    assert sorted(kept[:, 0]) == queries.rows(chosen).tolist()
    assert len(kept) >= n_rows
    by_hash = chosen[np.argsort(id_hashes(queries.ids[chosen]))]
    assert queries.sizes[by_hash[:-1]].sum() < n_rows  # one query fewer would not do


@pytest.mark.parametrize("left_out", [False, True])
def test_columns_are_put_in_place(tmp_path, rng, left_out):
    codes = rng.integers(0, 256, (7, 5000)).astype(np.uint8)
    rows = rng.permutation(5000)[: 4000 if left_out else 5000]
    place = np.full(5000, -1)
    place[rows] = np.arange(len(rows))
    writer = ColumnWriter(tmp_path / "columns.npy", place, (7, len(rows)))
    for at in range(0, 5000, 333):
        writer.add(codes[:, at : at + 333])
    assert np.array_equal(writer.finish(2), codes[:, rows])
    assert [p.name for p in tmp_path.iterdir()] == ["columns.npy"]


def test_a_mapper_comes_back_from_its_arrays(rng):
    X = np.column_stack((rng.normal(size=100), rng.integers(0, 5, 100), np.ones(100))).astype(np.float32)
    mapper = BinMapper.fit(X, categorical=[1])
    again = BinMapper.of_arrays(mapper.to_arrays())
    assert np.array_equal(again.transform(X).columns, mapper.transform(X).columns)
    assert again.categories[0] is None
    assert again.categories[1].tolist() == mapper.categories[1].tolist()


def test_columns_know_their_roles(folder):
    names = RowFiles(folder / "one.parquet").feature_names[1::-1]
    files = RowFiles(folder / "one.parquet", Columns(features=names))
    chunk = next(files.chunks())
    assert files.feature_names == names
    assert chunk.X.shape[1] == 2
    assert chunk.qid is not None
