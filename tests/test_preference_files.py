"""Files of preferences: every format and form, round trips of any pairs, records that are broken anywhere."""

from __future__ import annotations

import copy
import gzip
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layout_examples import EXAMPLES

from lambdamart_kit.files.records import RECORD_FORMATS, json_line
from lambdamart_kit.preferences import PreferencePairs
from lambdamart_kit.preferences.reading.records import RecordSource, read_records, write_records

ROWS = [{"prompt": f"p{i}", "chosen": f"good {i}", "rejected": "bad"} for i in range(3)]


# Round trips ----------------------------------------------------------------------------------------------

# CSV and Parquet are UTF-8, which has no halves of surrogate pairs; JSON lines can hold those too.
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
NUMBER = st.floats(-1e6, 1e6)


def pair_records(text):
    return st.fixed_dictionaries(
        {
            "prompt": text,
            "chosen": text,
            "rejected": text,
            "target": st.floats(0, 1),
            "weight": st.floats(0, 1e6),
            "margin": NUMBER,
            "margin_from": st.sampled_from(["score_chosen - score_rejected", "difference of rating"]),
            "chosen_shown_first": st.sampled_from([True, False, None]),
            "note": text.filter(bool),
            "score_margin": NUMBER,
        }
    )


def same(one, two):
    for name in ("chosen", "rejected", "prompt", "target", "weight", "margin", "rows", "chosen_shown_first"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    for name in ("prompts", "responses", "response_prompt"):
        assert getattr(one, name).tolist() == getattr(two, name).tolist(), name
    assert list(one.columns) == list(two.columns)
    for name in one.columns:
        assert one.columns[name].tolist() == two.columns[name].tolist(), name


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "jsonl.zst", "csv", "csv.gz", "tsv", "parquet"])
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_pairs_are_read_back_equal(tmp_path, ending, data):
    text = ANY_TEXT if ending.startswith("jsonl") else TEXT
    records = data.draw(st.lists(pair_records(text), min_size=1, max_size=6))
    pairs = PreferencePairs.read(records, layout="kit")
    path = tmp_path / f"pairs.{ending}"
    assert pairs.write(path) == len(pairs)
    same(PreferencePairs.read(path), pairs)


def test_what_a_frame_or_a_subset_holds_is_read_back_equal(tmp_path):
    rows = [{**EXAMPLES["votes"].records[i], "weight": i + 0.5, "margin": i} for i in range(3)]
    pairs = PreferencePairs.read(rows)
    again = PreferencePairs.read(pairs.to_frame())
    same(again, pairs)
    assert pairs.to_frame()["chosen_row"].tolist() == [0, 1, 2]
    part = pairs.take([2, 0]).compact()
    part.write(tmp_path / "part.parquet")
    read = PreferencePairs.read(tmp_path / "part.parquet")
    assert read.target.tolist() == [0.5, 1.0]
    assert read.responses.tolist() == part.responses.tolist()


def test_flipped_labels_take_their_columns_along():
    pairs = PreferencePairs.read(EXAMPLES["alpaca_eval"].records)
    turned = pairs.flipped(np.array([True, False, False, False, False]))
    assert turned.responses[turned.chosen[0]] == pairs.responses[pairs.rejected[0]]
    assert turned.columns["chosen_model"].tolist() == ["mb", *pairs.columns["chosen_model"][1:]]
    assert turned.columns["rejected_model"].tolist() == ["ma", *pairs.columns["rejected_model"][1:]]
    assert turned.chosen_shown_first.tolist() == [0, 1, 1, 0, 1]


# Forms of files -------------------------------------------------------------------------------------------


def read_chosen(source):
    pairs = PreferencePairs.read(source)
    return pairs.responses[pairs.chosen].tolist()


EXPECTED = ["good 0", "good 1", "good 2"]


def write_text(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lines.json", "\n".join(map(json.dumps, ROWS))),
        ("array.json", json.dumps(ROWS, indent=1)),
        ("data.json", json.dumps({"data": ROWS})),
        ("pandas.json", pd.DataFrame(ROWS).to_json()),
        ("bom.jsonl", "\ufeff" + "\n".join(map(json.dumps, ROWS))),
        ("blank.jsonl", "\n\n".join(map(json.dumps, ROWS)) + "\n\n"),
        ("bom.csv", "\ufeff" + pd.DataFrame(ROWS).to_csv(index=False)),
        ("windows.csv", pd.DataFrame(ROWS).to_csv(index=False, lineterminator="\r\n")),
    ],
)
def test_forms_of_text_files(tmp_path, name, text):
    assert read_chosen(write_text(tmp_path / name, text)) == EXPECTED


@pytest.mark.parametrize("name", ["one.json", "one.jsonl"])
def test_a_single_record(tmp_path, name):
    assert read_chosen(write_text(tmp_path / name, json.dumps(ROWS[0]))) == EXPECTED[:1]


def test_several_files(tmp_path):
    for i, row in enumerate(ROWS):
        write_records([row], tmp_path / f"part-{i}.parquet")
    write_text(tmp_path / "README.md", "not data")
    assert read_chosen(tmp_path) == EXPECTED
    assert read_chosen(str(tmp_path / "part-*.parquet")) == EXPECTED
    assert read_chosen([tmp_path / "part-0.parquet", str(tmp_path / "part-1.parquet")]) == EXPECTED[:2]
    write_records(ROWS, tmp_path / "all.jsonl")
    with pytest.raises(ValueError, match=r"files of several formats \(\.jsonl, \.parquet\)"):
        read_chosen(tmp_path)


def test_an_error_names_the_file_and_its_row(tmp_path):
    write_records(ROWS, tmp_path / "a.jsonl")
    write_records([ROWS[0], {**ROWS[1], "chosen": 7}], tmp_path / "b.jsonl")
    with pytest.raises(ValueError, match=r"b\.jsonl, row 1: 'chosen' must be text or messages; got int 7"):
        PreferencePairs.read([tmp_path / "a.jsonl", tmp_path / "b.jsonl"])


def test_arrow_files(tmp_path):
    pa = pytest.importorskip("pyarrow")
    table = pa.Table.from_pylist(ROWS)
    with (
        pa.OSFile(str(tmp_path / "stream.arrow"), "wb") as out,
        pa.ipc.new_stream(out, table.schema) as writer,
    ):
        writer.write_table(table)
    with pa.OSFile(str(tmp_path / "file.arrow"), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    assert read_chosen(tmp_path / "stream.arrow") == read_chosen(tmp_path / "file.arrow") == EXPECTED


@pytest.mark.parametrize("kind", RECORD_FORMATS)
def test_only_the_columns_wanted_are_given(tmp_path, kind):
    known = RECORD_FORMATS[kind]
    path = tmp_path / f"rows{known.suffixes[0]}"
    if kind == "json":
        write_text(path, json.dumps(ROWS))
    elif kind == "arrow":
        pd.DataFrame(ROWS).to_feather(path)
    else:
        write_records(ROWS, path)
    source = RecordSource(path, ["rejected", "chosen"])
    assert list(source) == [{"chosen": row["chosen"], "rejected": "bad"} for row in ROWS]
    assert source.names() == ["prompt", "chosen", "rejected"]


def test_splits_are_not_rows():
    with pytest.raises(TypeError, match="pass one of its values \\(it has 'train', 'test'\\)"):
        PreferencePairs.read({"train": ROWS, "test": ROWS})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "a,b\n1,2,3\n", "row 0: has 3 cells, but the header has 2"),
        ("b.csv", "a,a\n1,2\n", "two columns have the name 'a'"),
        ("c.csv", 'a,b\n"1,2\n', "line 2: unexpected end of data"),
        ("a.json", "[1]", "row 0: expected a JSON object, got int"),
        ("b.json", "{oops", "not JSON"),
        ("c.json", "7", "must hold an array of objects"),
        ("a.jsonl", "[1]\n", "line 1: expected a JSON object, got list"),
        ("a.jsonl.gz", "plain", r"cannot be read as \.gz"),
        ("a.jsonl.zst", "plain", r"cannot be read as \.zst"),
        ("a.parquet", "plain", "cannot be read"),
        ("a.parquet.gz", "plain", r"compressed inside; leave \.gz away"),
    ],
)
def test_broken_files_are_named(tmp_path, name, content, message):
    path = write_text(tmp_path / name, content)
    with pytest.raises(ValueError, match=message) as caught:
        list(read_records(path))
    assert name in str(caught.value)


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "latin.jsonl").write_bytes(b'{"a": "\xe9"}\n')
    with pytest.raises(ValueError, match=r"latin\.jsonl: not UTF-8 text"):
        list(read_records(tmp_path / "latin.jsonl"))
    cut = gzip.compress(json_line({"a": "x" * 1000}).encode())[:-12]
    (tmp_path / "cut.jsonl.gz").write_bytes(cut)
    with pytest.raises(ValueError, match="was cut short"):
        list(read_records(tmp_path / "cut.jsonl.gz"))


def test_nothing_is_dropped_when_rows_differ(tmp_path):
    rows = [{"a": 1}] * 5000 + [{"a": 1, "b": 2}]
    for name in ("x.csv", "x.parquet"):
        with pytest.raises(ValueError, match=r"row 5000 has a column 'b' .* write \.jsonl instead"):
            write_records(rows, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"row 0: .*surrogates not allowed; write \.jsonl instead"):
        write_records([{"a": "\ud83d"}], tmp_path / "x.csv")


def test_csv_is_text(tmp_path):
    path = write_text(
        tmp_path / "x.csv", "prompt,chosen,rejected,weight,id\n2+2,4,True,2,007\n1+1,2,,0.5,7\n"
    )
    pairs = PreferencePairs.read(path)
    assert pairs.responses.tolist() == ["4", "True", "2", ""]
    assert pairs.weight.tolist() == [2.0, 0.5]
    assert pairs.columns["id"].tolist() == ["007", "7"]


def test_long_cells(tmp_path):
    rows = [{"prompt": "p", "chosen": "x" * 300_000, "rejected": "y\r\nz\0"}]
    write_records(rows, tmp_path / "x.csv")
    assert list(read_records(tmp_path / "x.csv")) == rows


# Fuzz -----------------------------------------------------------------------------------------------------

_WRONG = (
    None,
    "",
    "  ",
    "x",
    0,
    1,
    -1,
    2.5,
    float("nan"),
    float("inf"),
    True,
    [],
    {},
    ["x"],
    [None],
    {"content": None},
    [{"role": "user", "content": "hm"}],
    [{"role": "assistant"}],
    "\ud83d",
    "tie",
    "A>B",
    10**30,
    b"x",
)


def mutated(rng, value):
    """The value with one thing in it changed: replaced, removed, doubled or wrapped."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = list(value)[rng.integers(len(value))]
        changed = dict(value)
        if rng.random() < 0.25:
            del changed[key]
        else:
            changed[key] = mutated(rng, changed[key])
        return changed
    if isinstance(value, list) and value and rng.random() < 0.7:
        at = rng.integers(len(value))
        return [*value[:at], mutated(rng, value[at]), *value[at + 1 :]]
    kind = rng.integers(4)
    if kind == 0:
        return [copy.deepcopy(value)] * 2
    return _WRONG[rng.integers(len(_WRONG))] if kind > 1 or isinstance(value, dict) else str(value)


def fuzz(n_records, seed):
    """Read mutated records; return how many were read and how many refused, and check both."""
    rng = np.random.default_rng(seed)
    names = list(EXAMPLES)
    read, refused = 0, 0
    for _ in range(n_records):
        name = names[rng.integers(len(names))]
        records = copy.deepcopy(EXAMPLES[name].records)
        at = int(rng.integers(len(records)))
        records[at] = mutated(rng, records[at])
        if not isinstance(records[at], dict):
            continue
        try:
            pairs = PreferencePairs.read(records, layout=name)
        except ValueError as error:
            refused += 1
            complaint = str(error)
        else:
            read += 1
            check_pairs(pairs, records, name)
            continue
        assert complaint.startswith("row "), (name, records, complaint)
    return read, refused


def check_pairs(pairs, records, name):
    """Every pair is made of texts that stand in its rows; rows that were not touched read as before."""
    expected = {(c, r, t) for _, c, r, t in EXAMPLES[name].pairs}
    for k in range(len(pairs)):
        texts = [str(pairs.responses[code[k]]) for code in (pairs.chosen, pairs.rejected)]
        where = [json.dumps(records[row], default=str) for row in pairs.rows[k]]
        for text, row in zip(texts, where):
            words = [word for word in text.replace("\n", " ").split() if word.isalpha()]
            assert all(word in row for word in words), (name, text, row)
        assert 0 <= pairs.target[k] <= 1
        assert np.isfinite([pairs.weight[k], pairs.margin[k]]).all()
    untouched = {row for row in range(len(records)) if records[row] in EXAMPLES[name].records}
    for k in range(len(pairs)):
        if set(pairs.rows[k].tolist()) <= untouched and len(records) == len(pairs):
            texts = (str(pairs.responses[pairs.chosen[k]]), str(pairs.responses[pairs.rejected[k]]))
            assert (*texts, round(float(pairs.target[k]), 12)) in expected, (name, texts)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_broken_records_name_their_row():
    read, refused = fuzz(400, seed=0)
    assert read > 50
    assert refused > 50


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("seed", range(5))
def test_thousands_of_broken_records_name_their_row(seed):
    fuzz(1000, seed=seed + 1)
