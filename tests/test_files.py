"""Files of every format: read whole, written, converted; awkward tables are refused or read right."""

from __future__ import annotations

import gzip
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from lambdamart_kit.datasets import RankingDataset, make_letor, write_letor
from lambdamart_kit.files import FORMATS, Columns, convert, read_rows, write_rows
from lambdamart_kit.files.checks import check_output, doubtful_columns, seen_before

SUFFIXES = sorted(suffix for known in FORMATS.values() for suffix in known.suffixes)
NAMED = sorted(known.suffixes[0] for known in FORMATS.values() if known.named)


@pytest.fixture
def data():
    rows = make_letor(6, random_state=0)
    docid = np.array([f"d{i}" for i in range(len(rows))])
    return RankingDataset(rows.X, rows.y, rows.qid, docid, rows.feature_names)


def assert_same(found, expected):
    np.testing.assert_array_equal(found.X, expected.X)
    np.testing.assert_array_equal(found.y, expected.y)
    np.testing.assert_array_equal(found.qid.astype(str), expected.qid.astype(str))
    np.testing.assert_array_equal(found.docid, expected.docid)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".txt.gz", ".txt.zst", ".csv.gz", ".jsonl.gz"])
def test_what_is_written_is_read_back(tmp_path, data, suffix):
    write_rows(data, tmp_path / f"rows{suffix}")
    assert_same(read_rows(tmp_path / f"rows{suffix}"), data)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_formats_convert_both_ways(tmp_path, data, suffix):
    comments = np.array([f"docid = {name} inc = 1" for name in data.docid])
    write_letor(RankingDataset(data.X, data.y, data.qid, comments), tmp_path / "a.txt")
    convert(tmp_path / "a.txt", tmp_path / f"b{suffix}")
    convert(tmp_path / f"b{suffix}", tmp_path / "c.txt")
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "c.txt").read_bytes()


@pytest.mark.parametrize("suffix", [*NAMED, ".npz"])
def test_feature_names_survive(tmp_path, data, suffix):
    names = tuple(f"feature {j}" for j in range(data.X.shape[1]))
    write_rows(RankingDataset(data.X, data.y, data.qid, data.docid, names), tmp_path / f"rows{suffix}")
    assert read_rows(tmp_path / f"rows{suffix}").feature_names == names
    assert read_rows(tmp_path / f"rows{suffix}", cache=True).feature_names == names
    assert read_rows(tmp_path / f"rows{suffix}", cache=True).feature_names == names  # from the cache


def small_frame():
    return pd.DataFrame({"qid": ["a", "a", "b"], "label": [1, 0, 2], "price": [1.5, 2.5, 3.5]})


def write_frame(frame, path, **options):
    writers = {".csv": "to_csv", ".tsv": "to_csv", ".parquet": "to_parquet", ".arrow": "to_feather"}
    if path.suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        separator = {"sep": "\t"} if path.suffix == ".tsv" else {}
        getattr(frame, writers[path.suffix])(path, **separator, **options)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_the_index_of_a_frame_is_no_feature(tmp_path, suffix):
    frame = small_frame().iloc[[2, 0, 1]]  # an index that is not 0, 1, 2, which Parquet stores as a column
    write_frame(frame, tmp_path / f"rows{suffix}")
    with pytest.warns(UserWarning, match="is the index of a pandas frame"):
        rows = read_rows(tmp_path / f"rows{suffix}")
    assert rows.feature_names == ("price",)
    assert rows.X.ravel().tolist() == [3.5, 1.5, 2.5]


def test_an_index_with_a_name_is_found_in_parquet(tmp_path):
    small_frame().set_index(pd.Index([7, 9, 8], name="row")).to_parquet(tmp_path / "rows.parquet")
    with pytest.warns(UserWarning, match="'row' is the index"):
        assert read_rows(tmp_path / "rows.parquet").feature_names == ("price",)


def test_an_index_read_back_by_pandas_is_found(tmp_path):
    small_frame().rename_axis("Unnamed: 0").reset_index().to_csv(tmp_path / "rows.csv", index=False)
    with pytest.warns(UserWarning, match="Unnamed: 0"):
        assert read_rows(tmp_path / "rows.csv").feature_names == ("price",)


@pytest.mark.parametrize("repeated", ["qid", "label", "price"])
def test_two_columns_of_one_name_are_refused(tmp_path, repeated):
    names = ["qid", "label", "price", repeated]
    (tmp_path / "rows.csv").write_text(",".join(names) + "\n1,0,2,3\n")
    with pytest.raises(ValueError, match=f"two columns are called '{repeated}'"):
        read_rows(tmp_path / "rows.csv")


def test_a_column_without_a_name_is_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("qid,label, ,price\n1,0,2,3\n")
    with pytest.raises(ValueError, match="column 3 has no name"):
        read_rows(tmp_path / "rows.csv")


def test_features_and_columns_to_ignore(tmp_path):
    frame = small_frame().assign(age=[1, 2, 3], note=["x", "y", "z"])
    write_frame(frame, tmp_path / "rows.csv", index=False)
    chosen = read_rows(tmp_path / "rows.csv", Columns(features=("age",)))
    assert chosen.feature_names == ("age",)
    others = read_rows(tmp_path / "rows.csv", Columns(ignore=("note",)))
    assert others.feature_names == ("price", "age")
    with pytest.raises(ValueError, match=r"'ignore' must name columns; .* has no 'title'"):
        read_rows(tmp_path / "rows.csv", Columns(ignore=("title",)))


@pytest.mark.parametrize("suffix", [".query", ".group"])
def test_sizes_of_queries_from_a_file_beside(tmp_path, suffix):
    (tmp_path / "train.txt").write_text("1 1:0.5\n0 1:0.7\n2 1:0.1\n")
    (tmp_path / f"train.txt{suffix}").write_text("2\n1\n")
    assert read_rows(tmp_path / "train.txt").qid.tolist() == [1, 1, 2]


def test_conversion_errors(tmp_path, monkeypatch):
    np.savez(tmp_path / "x.npz", X=np.zeros((1, 1)), y=np.zeros(1))
    with pytest.raises(ValueError, match="must hold arrays X, y and qid; qid missing"):
        read_rows(tmp_path / "x.npz")
    (tmp_path / "damaged.npz").write_bytes((tmp_path / "x.npz").read_bytes()[:100])
    with pytest.raises(ValueError, match=r"damaged\.npz: not a NumPy archive, or damaged"):
        read_rows(tmp_path / "damaged.npz")
    write_rows(make_letor(2, random_state=0), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="is read as input"):
        convert(tmp_path / "x.parquet", tmp_path / "x.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'lambdamart-kit\[parquet\]'"):
        read_rows(tmp_path / "x.parquet")


def test_doubtful_columns():
    X = np.stack([np.arange(100), np.ones(100), np.arange(100) % 7, np.linspace(0, 1, 100)], axis=1)
    data = RankingDataset(
        X.astype(np.float32), X[:, 1], np.repeat([1, 2], 50), feature_names=("id", "one", "few", "real")
    )
    ids, constant = doubtful_columns(data)
    assert ids.startswith("feature 'id' has another whole number in every row")
    assert constant == "1 feature has the same value in every row: one"


def test_rows_and_queries_seen_before():
    first = make_letor(4, random_state=0)
    other = make_letor(4, random_state=1)
    # The generator gives every seed ids of its own; here both parts count from the same one.
    other = RankingDataset(other.X, other.y, other.qid - other.qid.min() + first.qid.min())
    assert seen_before(first, first.select([0]), "test")[0].startswith(f"{first.queries.sizes[0]} of")
    (ids,) = seen_before(first, other, "test")
    assert ids.startswith("4 query ids stand in the training and the test part with different rows")
    renamed = RankingDataset(other.X, other.y, other.qid + 100)
    assert seen_before(first, renamed, "test") == []


def test_rows_that_are_alike_by_chance_prove_nothing():
    """Five features of three values: most rows of the test part stand in the training part, too."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, (4000, 5)).astype(np.float32)
    data = RankingDataset(X, np.zeros(4000, np.float32), np.repeat(np.arange(80), 50))
    train, test = data.select(np.arange(60)), data.select(np.arange(60, 80))
    assert (
        np.isin(np.unique(test.X, axis=0) @ 3.0 ** np.arange(5), train.X @ 3.0 ** np.arange(5)).mean() > 0.9
    )
    assert seen_before(train, test, "test") == []


def test_a_query_that_is_in_both_parts_is_found_under_another_name_and_with_rows_missing():
    data = make_letor(8, random_state=0)
    train = data.select([0, 1, 2, 3])
    copied = data.select([2, 5])
    rows = np.random.default_rng(0).random(len(copied)) < 0.7
    copied = replace(copied.subset(rows), qid=copied.qid[rows] + 1000)
    n_copied = (copied.qid == data.queries.ids[2] + 1000).sum()
    (sentence,) = seen_before(train, copied, "test")
    assert sentence.startswith(f"{n_copied} of {len(copied)} test rows (in 1 queries) are training rows")


def test_outputs_are_checked_before_any_work(tmp_path):
    source, other = tmp_path / "train.txt", tmp_path / "notes.md"
    for path in (source, other):
        path.write_text("text")
    with pytest.raises(ValueError, match="is read as input"):
        check_output(source, [source], suffix=".lmk", force=True)
    with pytest.raises(ValueError, match=r"does not end in \.lmk; name another file, or add --force"):
        check_output(other, [source], suffix=".lmk", force=False)
    check_output(other, [source], suffix=".lmk", force=True)
    with pytest.raises(FileNotFoundError, match="its folder does not exist"):
        check_output(tmp_path / "no" / "m.lmk", [source], suffix=".lmk", force=False)


def test_huge_values_are_named_or_clipped(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("qid,label,a,price\nq,1,0.5,1.797e308\nq,0,1,\nq,0,1,-inf\n")
    with pytest.raises(ValueError, match=r"x\.csv: feature 'price' holds an infinite value.* set 'clip'"):
        read_rows(path)
    X = read_rows(path, Columns(clip=1e6)).X
    np.testing.assert_array_equal(X, [[0.5, 1e6], [1, np.nan], [1, -1e6]])
    with pytest.raises(ValueError, match="'clip' must be a positive number"):
        read_rows(path, Columns(clip=-1))


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".tsv", ".jsonl"])
@pytest.mark.parametrize("compressed", [False, True])
def test_encodings_that_are_not_read_are_named(tmp_path, suffix, compressed):
    text = {
        ".txt": "1 qid:é 1:2\n0 qid:é 1:3\n",
        ".csv": "qid,label,a\né,1,2\né,0,3\n",
        ".tsv": "qid\tlabel\ta\né\t1\t2\né\t0\t3\n",
        ".jsonl": '{"qid":"é","label":1,"a":2}\n{"qid":"é","label":0,"a":3}\n',
    }[suffix]
    path = tmp_path / f"x{suffix}{'.gz' if compressed else ''}"

    def write(content):
        path.write_bytes(gzip.compress(content) if compressed else content)

    write(text.encode("utf-8-sig"))
    assert read_rows(path).qid.tolist() == ["é", "é"]
    for encoding, said in (
        ("utf-16", "the file is UTF-16 text; save it as UTF-8"),
        ("utf-16-le", "holds zero bytes, as UTF-16 text has them; save it as UTF-8"),
        ("latin-1", "not (printable )?UTF-8 text"),
    ):
        write(text.encode(encoding))
        with pytest.raises(ValueError, match=rf"x\..*{said}"):
            read_rows(path)


def test_carriage_returns_alone(tmp_path):
    text = "1 qid:1 1:2\n0 qid:1 1:3\n"
    table = "qid,label,a\n1,1,2\n1,0,3\n"
    (tmp_path / "x.txt").write_bytes(text.replace("\n", "\r").encode())
    with pytest.raises(ValueError, match="lines end in carriage returns alone"):
        read_rows(tmp_path / "x.txt")
    (tmp_path / "x.csv").write_bytes(table.replace("\n", "\r").encode())
    assert len(read_rows(tmp_path / "x.csv")) == 2


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_sparse_rows_are_written_to_every_format(suffix, tmp_path):
    data = make_letor(2, random_state=0)
    X = np.where(data.X > 0, data.X, 0)
    write_rows(RankingDataset(sparse.csr_matrix(X), data.y, data.qid), tmp_path / f"rows{suffix}")
    back = read_rows(tmp_path / f"rows{suffix}", n_jobs=1)
    np.testing.assert_array_equal(back.X, X)
    np.testing.assert_array_equal(back.y, data.y)
