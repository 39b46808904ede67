"""LETOR files: what is read, what is written, and what is refused with which words."""

from __future__ import annotations

import gzip
import os
import sys

import numpy as np
import pytest
from scipy import sparse

from lambdamart_kit.datasets import (
    LetorFormatError,
    RankingDataset,
    load_folds,
    make_letor,
    read_letor,
    write_letor,
)
from lambdamart_kit.datasets.letor import files, parsing, text_file

TEXT = "2 qid:10 1:0.5 3:-2 #docid = a\n0 qid:10 2:1e-2 3:4 #docid = b\n1 qid:7 1:1 2:2 3:3 #docid = c\n"


def write(folder, text, name="file.txt"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def same(a, b):
    Xa, Xb = (x.toarray() if sparse.issparse(x) else x for x in (a.X, b.X))
    np.testing.assert_array_equal(Xa, Xb)
    np.testing.assert_array_equal(a.y, b.y)
    np.testing.assert_array_equal(a.qid, b.qid)
    assert (a.docid is None) == (b.docid is None)
    if a.docid is not None:
        assert a.docid.tolist() == b.docid.tolist()


def test_reads_every_part(tmp_path):
    data = read_letor(write(tmp_path, TEXT))
    np.testing.assert_array_equal(data.X, np.array([[0.5, 0, -2], [0, 0.01, 4], [1, 2, 3]], np.float32))
    assert data.X.dtype == data.y.dtype == np.float32
    assert data.y.tolist() == [2, 0, 1]
    assert data.qid.tolist() == [10, 10, 7]
    assert data.docid.tolist() == ["a", "b", "c"]
    assert repr(data) == "RankingDataset(3 rows, 2 queries, 3 features)"


def test_missing_features(tmp_path):
    path = write(tmp_path, TEXT)
    assert np.isnan(read_letor(path, missing=np.nan).X).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert read_letor(path, n_features=5).X.shape == (3, 5)
    csr = read_letor(path, sparse=True).X
    assert (csr.format, csr.dtype, csr.nnz) == ("csr", np.float32, 7)


def test_comments(tmp_path):
    text = "1 qid:1 1:1 #docid = GX1 inc = 1 prob = 0.08\n0 qid:1 1:2 # seen by hand \n0 qid:1 1:3\n"
    path = write(tmp_path, text)
    assert read_letor(path).docid.tolist() == ["GX1", "seen by hand", ""]
    assert read_letor(path, docid="comment").docid.tolist() == [
        "docid = GX1 inc = 1 prob = 0.08",
        "seen by hand",
        "",
    ]
    assert read_letor(path, docid="none").docid is None
    assert read_letor(write(tmp_path, "1 qid:1 1:1\n")).docid is None


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["7", "-3", "0"], [7, -3, 0]),
        (["7", "007", "8"], ["7", "007", "8"]),  # leading zeros would be lost
        (["a:b", "7", "é"], ["a:b", "7", "é"]),
        (["1", "2", "1"], [1, 2, 1]),  # a query that comes again is the same query
        (["9" * 18, "1", "2"], [10**18 - 1, 1, 2]),
        (["9" * 40, "1", "2"], ["9" * 40, "1", "2"]),
    ],
)
def test_query_ids(tmp_path, ids, expected):
    assert read_letor(write(tmp_path, "".join(f"1 qid:{i} 1:1\n" for i in ids))).qid.tolist() == expected


def test_blank_lines_comments_bom_and_line_ends(tmp_path):
    text = "\ufeff# a header\r\n\r\n1\tqid:1  1:0.5 \t 2:1\r\n  \n0 qid:1 1:2 2:3\r\n# the end"
    data = read_letor(write(tmp_path, text))
    assert data.X.tolist() == [[0.5, 1], [2, 3]]
    same(data, read_letor(tmp_path / "file.txt", sparse=True))


def test_rows_without_features(tmp_path):
    data = read_letor(write(tmp_path, "1 qid:1\n0 qid:2\n"))
    assert data.X.shape == (2, 0)
    assert read_letor(tmp_path / "file.txt", n_features=3).X.tolist() == [[0, 0, 0], [0, 0, 0]]


BAD = [
    ("", None, "the file is empty", None),
    ("# only a comment\n\n", None, "the file is empty", None),
    ("1 qid:1 1:1\n0 1:2\n", 2, "'qid:' must follow the label", "0 1:2"),
    ("1 1:1\n0 1:2\n", 1, "'qid:' must follow the label", "1 1:1"),
    ("1 qid: 1:1\n", 1, "followed by the query's id", "qid:"),
    ("one qid:1 1:1\n", 1, "the label must be a number", "one"),
    ("1 qid:1 1:1\n1 qid:1 1:abc 2:2\n", 2, "the value must be a number", "1:abc"),
    ("1 qid:1 1:0x10\n", 1, "the value must be a number", "1:0x10"),
    ("1 qid:1 1:1_0\n", 1, "the value must be a number", "1:1_0"),
    ("1 qid:1 1:1.2.3\n", 1, "the value must be a number", "1:1.2.3"),
    ("1 qid:1 1:\n", 1, "the value must be a number", "1:"),
    ("1 qid:1 hello\n", 1, "expected 'index:value'", "hello"),
    ("1 qid:1 qid:2 1:1\n", 1, "expected 'index:value'", "qid:2"),
    ("1 qid:1 0:1 1:1\n", 1, "count from 1", "0:1"),
    ("1 qid:1 1:1 1:2\n", 1, "repeated", "1:2"),
    ("1 qid:1 2:1 1:2\n", 1, "below its predecessor", "1:2"),
    ("1 qid:1 1:nan\n", 1, "finite", "1:nan"),
    ("1 qid:1 1:-Infinity\n", 1, "finite", "1:-Infinity"),
    ("NaN qid:1 1:1\n", 1, "finite", "NaN"),
    ("1 qid:1 1:3.5e38\n", 1, "finite", "1:3.5e38"),
    ("1 qid:1 99999999999:1\n", 1, "must not exceed 2147483646", "99999999999:1"),
    ("1 qid:1 1:1\n" * 9 + "1 qid:1 2000000000:1\n", 10, "dense array of 80.0 GB", "2000000000:1"),
    (b"1 qid:\xff 1:1\n", 1, "not printable", "\\xff"),
    (b"1 qid:1 1:1 #\xff\xfe\n", 1, "not UTF-8", "\\xff\\xfe"),
    (b"\x1f\x8b\x08\x00garbage\x00\xff", 1, "the label must be", "\x1f\\x8b\x08\x00garbage\x00\\xff"),
    ("1 qid:1 1:1 2:2\n0 qid:1 1:1", 2, "cut short", "0 qid:1 1:1"),
    ("1 qid:1 1:1 #docid = a\n0 qid:1 1:1", 2, "every other line ends in a comment", "0 qid:1 1:1"),
    ("1 qid:1 1:1 2:2\n0 qid:1 1:1 2:", 2, "cut short", "2:"),
]


@pytest.mark.parametrize(("text", "line", "reason", "offending"), BAD)
@pytest.mark.parametrize("is_sparse", [False, True])
def test_bad_files(tmp_path, text, line, reason, offending, is_sparse):
    path = write(tmp_path, text)
    if is_sparse and "dense" in reason:
        assert read_letor(path, sparse=True).X.shape == (10, 2_000_000_000)
        return
    with pytest.raises(LetorFormatError, match=r"file\.txt") as caught:
        read_letor(path, sparse=is_sparse)
    error = caught.value
    assert reason in str(error)
    assert str(path) in str(error)
    assert (error.line, error.text, error.path) == (line, offending, str(path))
    if line is not None:
        assert f"line {line}:" in str(error)


def test_first_error_of_many_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(text_file, "_BLOCK", 64)
    lines = [f"1 qid:{i} 1:{i} 2:{i}.5\n" for i in range(200)]
    whole = read_letor(write(tmp_path, "".join(lines)), n_jobs=2)
    assert whole.X[:, 1].tolist() == [i + 0.5 for i in range(200)]
    lines[150], lines[90] = "1 qid:3 1:bad\n", "1 qid:3 5:1 4:2\n"
    with pytest.raises(LetorFormatError, match="line 91: feature indices must increase") as caught:
        read_letor(write(tmp_path, "".join(lines)), n_jobs=2)
    assert caught.value.text == "4:2"


def test_index_beyond_n_features(tmp_path):
    with pytest.raises(LetorFormatError, match="line 1: the feature index exceeds 'n_features' = 2: '3:-2'"):
        read_letor(write(tmp_path, TEXT), n_features=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"docid": "all"}, "'docid' must be one of 'none', 'id', 'comment'"),
        ({"missing": 1.0}, "'missing' must be 0 or NaN"),
        ({"missing": np.nan, "sparse": True}, "'missing' must be 0 with sparse=True"),
        ({"n_features": 0}, "'n_features' must be a positive"),
    ],
)
def test_bad_options(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        read_letor(write(tmp_path, TEXT), **options)
    with pytest.raises(FileNotFoundError):
        read_letor(tmp_path / "nothing.txt")


def test_query_file(tmp_path):
    path = write(tmp_path, "1 1:1\n0 2:1\n2 1:3\n")
    data = read_letor(path, query_file=write(tmp_path, "2\n1\n", "q"))
    assert data.qid.tolist() == [1, 1, 2]
    with pytest.raises(LetorFormatError, match="add up to the 3 rows of the data; they add up to 4"):
        read_letor(path, query_file=write(tmp_path, "2\n2\n", "q"))
    with pytest.raises(LetorFormatError, match="q, line 2: expected the number of rows of one query: 'x'"):
        read_letor(path, query_file=write(tmp_path, "2\nx\n", "q"))
    with pytest.raises(LetorFormatError, match="leave one of them out"):
        read_letor(write(tmp_path, TEXT), query_file=write(tmp_path, "3\n", "q"))


@pytest.mark.parametrize("suffix", [".txt", ".txt.gz", ".txt.zst"])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_round_trip(tmp_path, suffix, is_sparse):
    data = make_letor(12, random_state=3)
    docid = np.array([f"d{i}" if i % 3 else "two words" for i in range(len(data))])
    data = RankingDataset(
        sparse.csr_matrix(data.X) if is_sparse else data.X, data.y, data.qid.astype(str), docid
    )
    path = tmp_path / f"data{suffix}"
    write_letor(data, path)
    found = read_letor(path, sparse=is_sparse, n_features=136)
    assert found.qid.dtype == np.int64
    same(found, RankingDataset(data.X, data.y, data.qid.astype(np.int64), docid))
    once = path.read_bytes()
    write_letor(found, path)
    assert path.read_bytes() == once
    assert os.listdir(tmp_path) == [path.name]


def test_absent_features_are_left_out(tmp_path):
    path = tmp_path / "nan.txt"
    X = np.array([[1, np.nan, 3], [np.nan, 0, -0.0]], np.float32)
    write_letor(RankingDataset(X, np.array([1, 0], np.float32), np.array([1, 1])), path)
    assert path.read_text() == "1 qid:1 1:1 3:3\n0 qid:1 2:0 3:-0\n"
    np.testing.assert_array_equal(read_letor(path, missing=np.nan).X, X)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.array([[np.inf]], np.float32)}, "'X' must not hold infinite"),
        ({"y": np.array([np.nan], np.float32)}, "'y' must be finite"),
        ({"qid": np.array(["a b"])}, "'qid' must be printable text without spaces"),
        ({"docid": np.array(["a\nb"])}, "'docid' must not contain line breaks"),
    ],
)
def test_what_cannot_be_written(tmp_path, change, message):
    parts = {"X": np.zeros((1, 1), np.float32), "y": np.zeros(1, np.float32), "qid": np.array([1])} | change
    with pytest.raises(ValueError, match=message):
        write_letor(RankingDataset(**parts), tmp_path / "out.txt")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("damage", ["cut", "garbage"])
def test_damaged_archives(tmp_path, suffix, damage):
    path = tmp_path / f"file.txt{suffix}"
    write_letor(make_letor(3, random_state=0), path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if damage == "cut" else b"not an archive")
    with pytest.raises(LetorFormatError, match=r"gzip|zstd"):
        read_letor(path)


def test_several_gzip_members(tmp_path):
    first, second = TEXT.encode()[:31], TEXT.encode()[31:]
    path = write(tmp_path, gzip.compress(first) + gzip.compress(second), "file.txt.gz")
    assert read_letor(path).docid.tolist() == ["a", "b", "c"]


def test_zst_without_zstandard(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ImportError, match=r"pip install 'lambdamart-kit\[zstd\]'"):
        read_letor(write(tmp_path, b"", "file.txt.zst"))


def test_threads_do_not_matter(tmp_path, monkeypatch):
    path = tmp_path / "file.txt"
    write_letor(make_letor(20, random_state=1), path)
    in_one_block = read_letor(path, n_jobs=1)
    monkeypatch.setattr(text_file, "_BLOCK", 10_000)
    assert path.stat().st_size > 8 * 10_000  # every thread has blocks to read
    same(read_letor(path, n_jobs=1), in_one_block)
    same(read_letor(path, n_jobs=4), in_one_block)


@pytest.mark.parametrize("is_sparse", [False, True])
def test_file_that_grows_between_the_two_passes(tmp_path, monkeypatch, is_sparse):
    path = write(tmp_path, TEXT)
    plain = read_letor(path, sparse=is_sparse)
    monkeypatch.setattr(parsing, "count_lines", lambda block: 1)
    same(read_letor(path, sparse=is_sparse), plain)  # a wrong guess is put right
    scan = parsing.scan_block

    def undercount(block, state):
        scan(block, state)
        state[[parsing.ROWS, parsing.NONZEROS]] -= 1

    monkeypatch.setattr(parsing, "scan_block", undercount)
    with pytest.raises(LetorFormatError, match="line 3: the file changed while it was read"):
        read_letor(path, sparse=is_sparse)


def test_progress_bar_when_someone_watches(tmp_path, monkeypatch, capsys):
    path = write(tmp_path, TEXT)
    plain = read_letor(path)
    monkeypatch.setattr(files, "_LONG_READ", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    same(read_letor(path), plain)
    assert "reading file.txt" in capsys.readouterr().err
    same(read_letor(path, progress=False), plain)
    assert capsys.readouterr().err == ""


def test_wide_index_late_in_the_file(tmp_path, monkeypatch):
    """The guess from the first block is wrong here, and the exact count takes over."""
    monkeypatch.setattr(text_file, "_BLOCK", 64)
    lines = [f"1 qid:{i} 1:{i}\n" for i in range(60)]
    path = write(tmp_path, "".join([*lines, "\n# a gap\n", "0 qid:60 1:2 9:3\n"]))
    assert read_letor(path, n_jobs=2).X.shape == (61, 9)
    assert read_letor(path).X[60].tolist() == [2, 0, 0, 0, 0, 0, 0, 0, 3]


@pytest.mark.parametrize(
    "name", ["mq2008/Fold1/vali.txt", "mq2008/S4.txt", "mslr_web10k_fold1_5k/msn1.fold1.test.5k.txt"]
)
def test_real_files_agree_with_scikit_learn(real_data, name):
    from sklearn.datasets import load_svmlight_file

    data = read_letor(real_data / name)
    X, y, qid = load_svmlight_file(str(real_data / name), query_id=True)
    np.testing.assert_array_equal(data.X, X.toarray().astype(np.float32))
    np.testing.assert_array_equal(data.y, y)
    np.testing.assert_array_equal(data.qid, qid)


def test_real_query_sizes(real_data):
    folder = real_data / "lightgbm_lambdarank"
    data = read_letor(folder / "rank.train", query_file=folder / "rank.train.query", sparse=True)
    assert (len(data), data.queries.n_queries, data.X.shape[1]) == (3005, 201, 300)


def test_real_folds_are_the_rotation_of_the_parts(real_data, tmp_path):
    for part in range(1, 6):
        (tmp_path / f"S{part}.txt").symlink_to(real_data / f"mq2008/S{part}.txt")
    shipped, rotated = list(load_folds(real_data / "mq2008")), list(load_folds(tmp_path))
    assert (
        [f.name for f in shipped]
        == [f.name for f in rotated]
        == ["Fold1", "Fold2", "Fold3", "Fold4", "Fold5"]
    )
    for a, b in zip(shipped, rotated, strict=True):
        for role in ("train", "vali", "test"):
            same(getattr(a, role), getattr(b, role))


def test_fold_layouts(tmp_path):
    for fold in ("Fold2", "Fold10"):
        (tmp_path / fold).mkdir()
        for role in ("train", "vali", "test"):
            with gzip.open(tmp_path / fold / f"{role}.txt.gz", "wt") as stream:
                stream.write(TEXT)
    folds = list(load_folds(tmp_path))
    assert [fold.name for fold in folds] == ["Fold2", "Fold10"]
    assert len(folds[1].vali) == 3
    assert folds[0].train is folds[0].train
    (single,) = load_folds(tmp_path / "Fold2")
    assert single.name == "Fold2"
    (tmp_path / "Fold10" / "vali.txt.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"Fold10/vali\.txt"):
        load_folds(tmp_path)


def test_folds_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folds in"):
        load_folds(tmp_path)
    with pytest.raises(FileNotFoundError, match="must be a folder"):
        load_folds(tmp_path / "nowhere")
    write(tmp_path, TEXT, "S1.txt")
    with pytest.raises(FileNotFoundError, match=r"S2\.txt, S3\.txt, S4\.txt, S5\.txt"):
        load_folds(tmp_path)
    for part in range(2, 6):
        write(tmp_path, TEXT, f"S{part}.txt")
    with pytest.raises(ValueError, match="query ids must not repeat across files; 7 does"):
        assert next(load_folds(tmp_path)).train


def test_huge_values_are_named_or_clipped(tmp_path):
    path = tmp_path / "istella.txt"
    path.write_text("1 qid:1 1:1.797e308 2:0.5\n0 qid:1 1:-inf 2:NaN\n0 qid:1 1:12 2:-7\n")
    with pytest.raises(LetorFormatError, match=r"line 1: .*1:1\.797e308|line 1") as caught:
        read_letor(path)
    assert "set 'clip'" in str(caught.value)
    X = read_letor(path, clip=10).X
    np.testing.assert_array_equal(X, np.array([[10, 0.5], [-10, np.nan], [10, -7]], np.float32))
    sparse = read_letor(path, clip=10, sparse=True).X
    np.testing.assert_array_equal(sparse.toarray(), X)
    path.write_text("inf qid:1 1:1\n")
    with pytest.raises(LetorFormatError, match="line 1"):
        read_letor(path, clip=10)  # a label is no feature
    path.write_text("1 qid:1 1:nonsense\n")
    with pytest.raises(LetorFormatError, match="the value must be a number"):
        read_letor(path, clip=10)
    with pytest.raises(ValueError, match="'clip' must be a positive number"):
        read_letor(path, clip=0)


def svmlight(rng, *, zero_based, unordered, n_rows=400, n_features=12):
    """The text of random rows twice: as LETOR has it, and with indices from 0 or in any order."""
    letor, other = [], []
    for row in range(n_rows):
        present = np.flatnonzero(rng.random(n_features) < 0.4)
        values = [f"{value:.3f}" for value in rng.normal(size=len(present))]
        start = f"{row % 3} qid:q{row // 7}"
        letor.append(" ".join([start, *(f"{j + 1}:{v}" for j, v in zip(present, values))]))
        order = rng.permutation(len(present)) if unordered else np.arange(len(present))
        first = 0 if zero_based else 1
        other.append(" ".join([start, *(f"{present[k] + first}:{values[k]}" for k in order)]))
    return "\n".join(letor) + "\n", "\n".join(other) + "\n"


@pytest.mark.parametrize("zero_based", [False, True])
@pytest.mark.parametrize("unordered", [False, True])
@pytest.mark.parametrize("options", [{}, {"sparse": True}, {"missing": np.nan}, {"n_features": 15}], ids=str)
def test_svmlight_of_other_habits(zero_based, unordered, options, tmp_path):
    letor, other = svmlight(np.random.default_rng(5), zero_based=zero_based, unordered=unordered)
    expected = read_letor(write(tmp_path, letor, "a.txt"), **options)
    path = write(tmp_path, other, "b.txt")
    same(read_letor(path, zero_based=zero_based, unordered=unordered, **options), expected)
    if zero_based or unordered:
        with pytest.raises(LetorFormatError, match=r"set '(zero_based|unordered)'"):
            read_letor(path, **options)


def test_zero_based_and_unordered_files_of_many_blocks(tmp_path):
    letor, other = svmlight(np.random.default_rng(6), zero_based=True, unordered=True, n_rows=30_000)
    expected = read_letor(write(tmp_path, letor, "a.txt"))
    path = write(tmp_path, other, "b.txt")
    assert len(other) > 2 * text_file._BLOCK
    same(read_letor(path, zero_based=True, unordered=True, n_jobs=2), expected)
    same(read_letor(path, zero_based=True, unordered=True, sparse=True, n_jobs=2), expected)


@pytest.mark.parametrize("sparse_", [False, True])
def test_a_feature_twice_in_an_unordered_line(sparse_, tmp_path):
    path = write(tmp_path, "1 qid:1 3:1 1:2 2:5\n0 qid:1 3:1 1:2 3:5\n")
    with pytest.raises(LetorFormatError, match=r"line 2.*only once in a line") as caught:
        read_letor(path, unordered=True, sparse=sparse_)
    assert "3:5" in str(caught.value)


def test_a_cache_knows_how_indices_are_counted(tmp_path):
    path = write(tmp_path, "1 qid:1 1:5\n0 qid:1 1:7\n")
    assert read_letor(path, cache=True).X.tolist() == [[5], [7]]
    assert read_letor(path, cache=True, zero_based=True).X.tolist() == [[0, 5], [0, 7]]
