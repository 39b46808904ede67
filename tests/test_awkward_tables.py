"""Generated awkward tables through train, predict, evaluate and bench.

A table is a right one with some oddities: of names, types, index columns, encodings, separators, duplicates.
Each command must give a right result, or stop with exit code 1 and one line that names the file and says
something of the oddity, and leave every file as it was.
"""

from __future__ import annotations

import csv
import gzip
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from lambdamart_kit.cli.app import app

N_QUERIES = 12


def plain_table(rng):
    """Whose label follows the first feature."""
    n = N_QUERIES * 6
    values = rng.normal(size=(n, 3)).round(3)
    frame = pd.DataFrame(values, columns=["bm25", "clicks", "price"])
    frame.insert(0, "qid", np.repeat([f"q{i}" for i in range(N_QUERIES)], 6))
    frame.insert(1, "docid", [f"d{i}" for i in range(n)])
    frame.insert(2, "label", np.digitize(frame.bm25, [0.0, 1.0]))
    return frame


# Each changes a frame and says what an error may name; "" where the table must simply work.
def _renamed(name):
    return lambda frame, rng: frame.rename(columns={"clicks": name})


def _set(column, values):
    def change(frame, rng):
        changed = frame.astype({column: object})
        rows = rng.choice(len(frame), size=min(len(values), 3), replace=False)
        for row, value in zip(rows, values * 3):
            changed.loc[changed.index[row], column] = value
        return changed

    return change


FRAMES = {
    "plain": (lambda f, r: f, ""),
    "name with comma": (_renamed("a,b"), ""),
    "name with quote": (_renamed('the "best"'), ""),
    "name with newline": (_renamed("two\nlines"), ""),
    "name with spaces": (_renamed("  spaced out "), ""),
    "name in Greek": (_renamed("τιμή"), ""),
    "name is a formula": (_renamed("=SUM(A1)"), ""),
    "name like JSON": (_renamed('{"a": [1]}'), ""),
    "empty name": (_renamed(""), "no name"),
    "duplicate feature": (_renamed("bm25"), "'bm25'"),
    "duplicate label": (_renamed("label"), "'label'"),
    "duplicate qid": (_renamed("qid"), "'qid'"),
    "names collide when cleaned": (lambda f, r: f.rename(columns={"bm25": "x y", "clicks": "x_y"}), ""),
    "no label": (lambda f, r: f.drop(columns="label"), "label"),
    "no qid": (lambda f, r: f.drop(columns="qid"), "qid"),
    "no docid": (lambda f, r: f.drop(columns="docid"), ""),
    "no features": (lambda f, r: f[["qid", "docid", "label"]], "features"),
    "columns reversed": (lambda f, r: f[f.columns[::-1]], ""),
    "rows shuffled": (lambda f, r: f.sample(frac=1, random_state=0), ""),
    "rows twice": (lambda f, r: pd.concat([f, f]), ""),
    "no rows": (lambda f, r: f.iloc[:0], "row"),
    "one row": (lambda f, r: f.iloc[:1], "quer"),
    "one query": (lambda f, r: f.iloc[:6], "quer"),
    "text feature": (lambda f, r: f.assign(title="blue shoe"), "'title'"),
    "boolean feature": (lambda f, r: f.assign(stock=f.price > 0), "'stock'"),
    "date feature": (lambda f, r: f.assign(day="2024-01-02"), "'day'"),
    "money feature": (lambda f, r: f.assign(cost="$3.50"), "'cost'"),
    "decimal comma": (lambda f, r: f.assign(cost="3,50"), "'cost'"),
    "empty feature": (lambda f, r: f.assign(nothing=np.nan), ""),
    "constant feature": (lambda f, r: f.assign(one=1), ""),
    "row number as feature": (lambda f, r: f.assign(number=np.arange(len(f))), ""),
    "missing values": (_set("price", [np.nan]), ""),
    "NA token": (_set("price", ["NA"]), ""),
    "n/a token": (_set("price", ["n/a"]), ""),
    "question mark": (_set("price", ["?"]), "'price'"),
    "infinite value": (_set("price", ["inf"]), "'price'"),
    "huge value": (_set("price", ["1.797e308"]), "'price'"),
    "label missing": (_set("label", [np.nan]), "label"),
    "label negative": (_set("label", [-1]), "label"),
    "label text": (_set("label", ["good"]), "label"),
    "label fraction": (lambda f, r: f.assign(label=f.label + 0.5), ""),
    "label all zero": (lambda f, r: f.assign(label=0), "label"),
    "label all one": (lambda f, r: f.assign(label=1), "label"),
    "label huge": (lambda f, r: f.assign(label=1000), "label"),
    "qid missing": (_set("qid", [np.nan]), "qid"),
    "qid with spaces": (lambda f, r: f.assign(qid="query " + f.qid), ""),
    "qid with comma": (lambda f, r: f.assign(qid=f.qid + ",x"), ""),
    "qid numbers": (lambda f, r: f.assign(qid=f.qid.str[1:].astype(int)), ""),
    "qid with leading zeros": (lambda f, r: f.assign(qid="00" + f.qid.str[1:]), ""),
    "qid unique a row": (lambda f, r: f.assign(qid=np.arange(len(f))), "label"),
    "docid missing": (_set("docid", [np.nan]), ""),
    "thousands separators": (lambda f, r: f.assign(cost="1,234.5"), "'cost'"),
    "percent signs": (lambda f, r: f.assign(cost="12%"), "'cost'"),
    "underscored number": (_set("price", ["1_000"]), "'price'"),
    "hexadecimal number": (_set("price", ["0x1A"]), "'price'"),
    "number with spaces": (_set("price", [" 3.5 "]), ""),
    "a million digits": (_set("price", ["9" * 1_000_000]), "'price'"),
    "a million digits behind the point": (_set("price", ["0." + "3" * 1_000_000]), ""),
    "huge name of a document": (_set("docid", ["x" * 1_500_000]), ""),
    "truth as text": (lambda f, r: f.assign(stock=np.where(f.price > 0, "yes", "no")), "'stock'"),
    "mixed types": (_set("price", ["cheap", 3, None]), "'price'"),
    "timestamps": (lambda f, r: f.assign(day=pd.Timestamp("2024-01-02 03:04")), "'day'"),
    "categories": (lambda f, r: f.assign(kind=pd.Categorical(["shoe"] * len(f))), "'kind'"),
    "long name": (_renamed("n" * 5000), ""),
    "name of a score": (_renamed("score"), ""),
    "name with an escape": (_renamed("red \x1b[31m"), ""),
    "label infinite": (_set("label", ["inf"]), "label"),
    "label as truth": (lambda f, r: f.assign(label=f.label > 0), ""),
    "label with leading zeros": (lambda f, r: f.assign(label="0" + f.label.astype(str)), ""),
    "qid a fraction": (lambda f, r: f.assign(qid=f.qid.str[1:].astype(int) + 0.5), ""),
    "qid empty": (_set("qid", [""]), "qid"),
    "qid with a newline": (lambda f, r: f.assign(qid=f.qid + "\nx"), ""),
    "docid with a newline": (lambda f, r: f.assign(docid=f.docid + "\n,x"), ""),
    "many columns": (
        lambda f, r: f.join(pd.DataFrame(0.5, index=f.index, columns=range(500)).add_prefix("c")),
        "",
    ),
}


def to_text(frame, **options):
    return frame.to_csv(index=False, **options)


WRITERS = {
    "plain": (lambda f: to_text(f).encode(), ""),
    "crlf": (lambda f: to_text(f, lineterminator="\r\n").encode(), ""),
    "quoted": (lambda f: to_text(f, quoting=csv.QUOTE_NONNUMERIC).encode(), ""),
    "byte-order mark": (lambda f: to_text(f).encode("utf-8-sig"), ""),
    "index": (lambda f: f.to_csv().encode(), ""),
    "no last newline": (lambda f: to_text(f).rstrip("\n").encode(), ""),
    "blank lines at the end": (lambda f: (to_text(f) + "\n\n").encode(), ""),
    "semicolons": (lambda f: to_text(f, sep=";").encode(), "semicolons"),
    "tabs": (lambda f: to_text(f, sep="\t").encode(), "tabs"),
    "utf-16": (lambda f: to_text(f).encode("utf-16"), "UTF-16"),
    "only carriage returns": (lambda f: to_text(f, lineterminator="\r").encode(), ""),
    "latin-1": (lambda f: to_text(f.assign(docid="é" + f.docid.astype(str))).encode("latin-1"), ""),
    "cut in a line": (lambda f: to_text(f).encode()[:-7], ""),
    "short line": (lambda f: (to_text(f) + "q99,d9\n").encode(), "columns"),
    "no header": (lambda f: to_text(f, header=False).encode(), "no '"),
    "empty": (lambda f: b"", "empty"),
    "semicolons and decimal commas": (lambda f: to_text(f, sep=";", decimal=",").encode(), "must"),
    "a line for Excel": (lambda f: b"sep=,\n" + to_text(f).encode(), "first line"),
    "a comment first": (lambda f: b"# made by hand\n" + to_text(f).encode(), "first line"),
    "trailing commas": (lambda f: to_text(f).replace("\n", ",\n").encode(), "no name"),
    "header twice": (lambda f: (to_text(f) + to_text(f)).encode(), "second time"),
    "one cell more": (lambda f: (to_text(f) + "q99,d9,1,2,3,4,5,6,7\n").encode(), "columns"),
    "open quote": (lambda f: (to_text(f) + 'q99,"d9,1,2,3,4\n').encode(), ""),
    "utf-16 without its mark": (lambda f: to_text(f).encode("utf-16-le"), "UTF-16"),
    "called gz": (lambda f: to_text(f).encode(), ""),
    "packed": (lambda f: gzip.compress(to_text(f).encode()), ""),
    "packed and cut": (lambda f: gzip.compress(to_text(f).encode())[:-20], ""),
    "packed utf-16": (lambda f: gzip.compress(to_text(f).encode("utf-16")), "UTF-16"),
    "zeros": (lambda f: b"\0" * 100, ""),
    "parquet": (lambda f: as_parquet(f), ""),
    "parquet with an index": (lambda f: as_parquet(f.set_index("docid") if "docid" in f else f), ""),
    "parquet called csv": (lambda f: as_parquet(f), ""),
    "csv called parquet": (lambda f: to_text(f).encode(), ""),
}


def as_parquet(frame):
    stream = io.BytesIO()
    if not frame.columns.is_unique:  # which pandas does not write, but other programs do
        columns = [frame.iloc[:, j] for j in range(frame.shape[1])]
        arrays = [pa.array(c.astype(str) if c.dtype == object else c) for c in columns]
        pq.write_table(pa.Table.from_arrays(arrays, names=list(map(str, frame.columns))), stream)
        return stream.getvalue()
    texts = {name: frame[name].astype(str) for name in frame if frame[name].dtype == object}
    frame.assign(**texts).to_parquet(stream)
    return stream.getvalue()


def suffix_of(writer):
    if writer in ("called gz", "packed", "packed and cut", "packed utf-16"):
        return ".csv.gz"
    return ".parquet" if writer in ("parquet", "parquet with an index", "csv called parquet") else ".csv"


def cases(n, seed):
    """Every oddity alone as far as `n` goes, then pairs of one of the table and one of the file."""
    rng = np.random.default_rng(seed)
    alone = [(name, "plain") for name in FRAMES] + [("plain", name) for name in WRITERS]
    rng.shuffle(alone)
    frames, writers = list(FRAMES), list(WRITERS)
    pairs = [(str(rng.choice(frames)), str(rng.choice(writers))) for _ in range(n)]
    return [tuple(map(str, case)) for case in [*alone, *pairs]][:n]


def run(folder, *arguments):
    """Exit code and output; a traceback fails, and so does an error of more than one line."""
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    if done.exit_code:
        assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
        assert done.exit_code == 1, done.output
        own = [line for line in done.output.splitlines() if line.startswith("lambdamart-kit: ")]
        errors = [line for line in own if "compiling kernels" not in line]  # said on a new machine
        assert len(errors) == 1, done.output
        after = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
        assert after == before, set(after) ^ set(before)
    assert "Traceback" not in done.output
    return done.exit_code, done.output


def check(case, folder, *, with_bench):
    frame_name, writer_name = case
    change, frame_word = FRAMES[frame_name]
    write, file_word = WRITERS[writer_name]
    rng = np.random.default_rng(len(frame_name) + len(writer_name))
    table = change(plain_table(rng), rng)
    path = folder / f"table{suffix_of(writer_name)}"
    try:
        path.write_bytes(write(table))
    except (ValueError, TypeError, pa.ArrowException) as error:  # no program writes such a file
        pytest.skip(f"cannot be written: {error}")
    common = ["-p", "n_estimators=3", "-p", "min_child_samples=1", "-j", "1"]
    code, output = run(folder, "train", path, "-o", folder / "m.lmk", *common)
    if code:
        assert str(path) in output or any(w in output for w in (frame_word, file_word) if w), output
        if case[1] == "plain" and frame_word:
            assert frame_word in output, output
        if case[0] == "plain" and file_word:
            assert file_word in output, output
        return "refused"
    assert frame_name == "plain" or writer_name != "plain" or not frame_word or frame_name in TAKEN, output
    code, output = run(folder, "predict", folder / "m.lmk", path, "--out", folder / "scores.txt", "-j", "1")
    assert code == 0, output
    scores = np.loadtxt(folder / "scores.txt", ndmin=1)
    assert len(scores) == len(table)
    code, output = run(folder, "evaluate", path, folder / "scores.txt", "-f", "csv")
    assert code == 0, output
    mean = float(output.splitlines()[-1].split(",")[1] or "nan")
    if case[1] in ("plain", "crlf", "quoted") and frame_name not in MEANINGLESS:
        assert mean > 0.9, (output, mean)
    if with_bench:
        code, output = run(
            folder, "bench", path, "-m", "linear", "--folds", "2", "--quick", "-j", "1", "-f", "csv"
        )
    return "right"


# Oddities of which an error would be right too, and which are taken.
TAKEN = {"one row", "one query", "label all zero", "boolean feature", "label huge"}
# Where a high NDCG is no sign of a right result.
MEANINGLESS = {
    "label all zero",
    "label all one",
    "one row",
    "qid unique a row",
    "label huge",
    "duplicate qid",
}


@pytest.mark.parametrize("case", cases(60, 0), ids="/".join)
def test_awkward_table(case, tmp_path):
    check(case, tmp_path, with_bench=False)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "case"), list(enumerate(cases(300, 1))), ids=str)
def test_many_awkward_tables(number, case, tmp_path):
    # A comparison starts processes of its own, which takes seconds: every sixth table has one.
    check(case, tmp_path, with_bench=number % 6 == 0)
