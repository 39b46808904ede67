"""Damaged and hostile input to every reader: how many attempts, and how many did something else than allowed.

Run: ``python benchmarks/robustness.py [--inputs 10000] [--formats 'LETOR;TREC'] [--kept run.json]``. The
table goes to ``benchmarks/RESULTS-robustness.md``. A run that was stopped goes on where it was if it is given
the same file ``--kept``. An input is a good file after a few edits. It must end in the right value, which a
plain parser says independently, or in the error that the reader documents. Everything else is a failure:
another exception, another value, a process that dies, more than 20 seconds of the processor or ten minutes.
`tests/test_robustness.py` runs a few inputs of every format.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import datetime
import faulthandler
import hashlib
import io
import json
import math
import multiprocessing
import os
import platform
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "benchmarks")]  # plain parsers of the tests, and writers
SECONDS = 20  # of the processor: an input that takes longer hangs
MINUTES = 10  # by the clock: an input that takes longer waits for something that never comes
MEMORY = 8 << 30
KEPT_EVERY = 100  # inputs after which a run that is stopped goes on
RIGHT, REFUSED = "right", "refused"

TOKENS = [
    b"",
    b" ",
    b"\t",
    b"\n",
    b"\r\n",
    b"\r",
    b",",
    b":",
    b"#",
    b'"',
    b"'",
    b"\\",
    b"\0",
    b"\xff",
    b"\xc3\xa9",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\x85",
    b"\xa0",
    b"\x1b[31m",
    b"nan",
    b"inf",
    b"-inf",
    b"1e400",
    b"-1e39",
    b"1e-50",
    b"1_0",
    b"0x10",
    b"\xd9\xa1",
    b"99999999999999999999",
    b"-1",
    b"0.1",
    b"16777217",
    b"2147483648",
    b"qid:",
    b"null",
    b"{}",
    b"[]",
    b"true",
    b"=1+1",
    b"<script>",
    b"[red]",
]
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    0.5,
    2**31,
    2**63,
    2**70,
    -(2**63),
    1e308,
    float("nan"),
    float("inf"),
    "",
    " ",
    "1",
    "nan",
    "text",
    "\ud83d",
    "\0",
    "\x1b[31mred",
    "[red]x",
    "<script>",
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    [{"role": "user", "content": "x"}],
    "x" * 3000,
    [0] * 50,
]


class Failure(Exception):
    """The reader did something that is neither right nor a documented error."""


def edit_bytes(rng: random.Random, content: bytes, times: int = 4) -> bytes:
    """The content after up to `times` edits: insert, flip, overwrite, delete, repeat, cut, swap lines."""
    data = bytearray(content)
    for _ in range(rng.randint(1, times)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(8)
        if kind <= 1:
            data[at:at] = rng.choice(TOKENS)
        elif kind == 2 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 3 and at < len(data):
            data[at] = rng.randrange(256)
        elif kind == 4:
            del data[at : at + rng.randrange(1, 20)]
        elif kind == 5:
            data[at:at] = data[at : at + rng.randrange(1, 40)]
        elif kind == 6 and rng.random() < 0.3:
            del data[at:]
        elif kind == 7:
            lines = bytes(data).split(b"\n")
            first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
            lines[first], lines[second] = lines[second], lines[first]
            data = bytearray(b"\n".join(lines))
    return bytes(data)


def edit_tree(rng: random.Random, value: Any, times: int = 3) -> Any:
    """A JSON value after up to `times` edits somewhere inside of it."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.randint(1, times)):
        places = list(places_of(value))
        if not places:
            return rng.choice(VALUES)
        holder, key = rng.choice(places)
        kind = rng.randrange(6)
        if kind <= 2:
            holder[key] = json.loads(json.dumps(rng.choice(VALUES)))  # a copy, or edits would go on in it
        elif kind == 3:
            del holder[key]
        elif kind == 4 and isinstance(holder, list):
            holder.append(json.loads(json.dumps(holder[key])))
        elif kind == 5:
            other, name = rng.choice(places)
            holder[key] = json.loads(json.dumps(other[name] if has(other, name) else None))
        number = holder[key] if has(holder, key) else None
        if kind == 4 and isinstance(number, int | float) and not isinstance(number, bool):
            holder[key] = rng.choice([-number, number + 1, number * 1000, number + 0.5])
    return value


def has(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def places_of(value: Any) -> Any:
    for key in (
        list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    ):
        yield value, key
        yield from places_of(value[key])


@contextmanager
def limited() -> Any:
    """At most `SECONDS` of the processor, and `MINUTES` by the clock, for what stands inside."""

    def stop(number: int, *_: Any) -> None:
        spent = f"{SECONDS} seconds" if number == signal.SIGPROF else f"{MINUTES} minutes"
        raise TimeoutError(f"more than {spent}")

    before = {number: signal.signal(number, stop) for number in (signal.SIGPROF, signal.SIGALRM)}
    # The processor's time does not depend on what else the machine does.
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.alarm(60 * MINUTES)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)


def same(found: Any, expected: Any) -> None:
    if not np.array_equal(
        np.asarray(found), np.asarray(expected), equal_nan=np.asarray(found).dtype.kind == "f"
    ):
        raise Failure(f"another value: {str(found)[:200]} where the plain parser has {str(expected)[:200]}")


def agrees(read: Callable[[], Any], plain: Callable[[], Any], errors: tuple[type[Exception], ...]) -> Any:
    """Both parsers give the same, or both refuse: (outcome, value)."""
    try:
        expected = plain()
    except Refused as reason:
        expected = reason
    try:
        found = read()
    except errors as error:
        if not str(error):
            raise Failure("an error without a message") from None
        if not isinstance(expected, Refused):
            raise Failure(f"refused what is right: {error}") from None
        return REFUSED
    if isinstance(expected, Refused):
        raise Failure(f"took what the plain parser refuses ({expected}): {str(found)[:200]}")
    for one, other in zip(found, expected, strict=True):
        same(one, other)
    return RIGHT


class Refused(Exception):
    """The plain parser's error."""


# LETOR
# ---------------------------------------------------------------------------------------------------------

LETOR = b"""2 qid:10 1:0.031310 2:3 3:0.5 5:1e-3 #docid = GX008-86 inc = 1 prob = 0.08
0 qid:10 1:-7.25 2:0 3:12345678 5:2.5 #docid = GX037-06
1 qid:11 1:0.1 2:1 3:0.000001 5:0 #docid = GX044-30
0 qid:12 1:99 2:1.5 3:7 5:4 #docid = GX1
"""


def letor(rng: random.Random, folder: Path) -> str:
    import letor_reference

    from lambdamart_kit.datasets import LetorFormatError, read_letor

    content = edit_bytes(rng, LETOR)
    path = folder / "rows.txt"
    path.write_bytes(content)

    def plain() -> Any:
        try:
            X, y, ids, names = letor_reference.parse(content)
        except letor_reference.BadLine as error:
            raise Refused(error) from None
        whole = all(re.fullmatch(r"0|-?[1-9][0-9]{0,17}", name) for name in ids)
        return X, y, [int(name) for name in ids] if whole else ids, names

    def read() -> Any:
        data = read_letor(path, n_jobs=1)
        return (
            data.X,
            data.y,
            data.qid.tolist(),
            [""] * len(data.y) if data.docid is None else data.docid.tolist(),
        )

    if re.search(rb"[0-9]{7,}:", content):  # so wide an array is refused, or too large to compare
        try:
            read()
        except LetorFormatError:
            return REFUSED
        return RIGHT
    return agrees(read, plain, (LetorFormatError,))


def letor_cache(rng: random.Random, folder: Path) -> str:
    """A damaged entry of the parse cache: read again from the text, no error and no other numbers."""
    from lambdamart_kit.datasets import read_letor

    home = folder / "cached"
    if not home.exists():
        home.mkdir()
        (home / "rows.txt").write_bytes(LETOR)
        read_letor(home / "rows.txt", cache=True)
        shutil.copytree(home, folder / "sound")
    shutil.rmtree(home)
    shutil.copytree(folder / "sound", home)
    files = sorted(path for path in home.rglob("*") if path.is_file() and path.name != "rows.txt")
    victim = rng.choice(files)
    if victim.suffix == ".json":
        kind = rng.randrange(3)
        if kind == 0:
            victim.write_text(json.dumps(edit_tree(rng, json.loads(victim.read_text()))))
        elif kind == 1:
            victim.write_bytes(b"[" * 100_000)
        else:
            victim.write_bytes(edit_bytes(rng, victim.read_bytes()))
    elif rng.random() < 0.05:
        victim.unlink()
    else:
        head = victim.read_bytes()
        cut = (
            128 if rng.random() < 0.7 else len(head)
        )  # most damage to the header: values are checked by size
        victim.write_bytes(edit_bytes(rng, head[:cut]) + head[cut:])
    expected = read_letor(folder / "sound" / "rows.txt")
    found = read_letor(home / "rows.txt", cache=True)
    same(found.X, expected.X)
    same(found.qid, expected.qid)
    same(found.docid, expected.docid)
    return RIGHT


# Tables of ranking data
# ---------------------------------------------------------------------------------------------------------

TABLE = b"qid,label,price,stars\na,1,2.5,3\na,0,3,4.25\nb,2,-1e-3,0\nb,0,7,1\n"


def table_csv(rng: random.Random, folder: Path) -> str:
    from lambdamart_kit.files import read_rows

    content = TABLE
    for _ in range(rng.randint(1, 3)):  # cells of numbers only: what a quote or a line break means is Arrow's
        rows = [line.split(b",") for line in content.rstrip(b"\n").split(b"\n")]
        row = rng.choice(rows[1:])
        cells = b"|1|-2.5|1e5|nan|inf|1e400|0x1|1_0|x|\xff|1 2|True| 3 |+4|1,2|-0|NaN|None|1e-400|-1e6"
        row[rng.randrange(1, len(row))] = rng.choice(cells.split(b"|"))
        content = b"\n".join(b",".join(row) for row in rows) + b"\n"
    path = folder / "rows.csv"
    path.write_bytes(content)

    def number(cell: bytes) -> float:
        text = cell.decode("latin-1")
        if text == "inf":
            return math.inf  # of a label: reading takes it, and whoever uses the label refuses it
        if text in ("", "nan", "NaN", "None", "NA", "null", "N/A"):
            return math.nan
        if not re.fullmatch(r"[ \t]*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[ \t]*", text, re.ASCII):
            raise Refused(text)
        return float(text)

    def plain() -> Any:
        rows = [line.split(b",") for line in content.rstrip(b"\n").split(b"\n")][1:]
        if any(len(row) != 4 for row in rows):
            raise Refused("columns")
        X = np.array([[number(cell) for cell in row[2:]] for row in rows])
        if np.isinf(X).any():
            raise Refused("infinite")
        return X, [number(row[1]) for row in rows], [row[0].decode() for row in rows]

    try:
        data = read_rows(path, n_jobs=1)
    except ValueError as error:
        if not str(error):
            raise Failure("an error without a message") from None
        return REFUSED
    try:
        expected = plain()
    except Refused as reason:
        raise Failure(f"took what the plain parser refuses: {reason}") from None
    same(data.X.astype(np.float64), expected[0])  # float32 only where that changes no value
    same(data.y, np.asarray(expected[1], np.float32))
    same(data.qid.tolist(), expected[2])
    return RIGHT


def table_bytes(rng: random.Random, folder: Path) -> str:
    """CSV, JSON lines, Parquet and Arrow with edited bytes: a data set, or a ValueError."""
    from lambdamart_kit.datasets import RankingDataset
    from lambdamart_kit.files import read_rows, write_rows

    suffix = rng.choice([".csv", ".tsv", ".jsonl", ".parquet", ".arrow", ".npz"])
    sound = folder / f"sound{suffix}"
    if not sound.exists():
        data = RankingDataset(
            np.array([[2.5, 3], [3, 4.25], [-1e-3, 0], [7, 1]], np.float32),
            np.array([1, 0, 2, 0], np.float32),
            np.array([1, 1, 2, 2]),
        )
        write_rows(data, sound)
    path = folder / f"rows{suffix}"
    path.write_bytes(edit_bytes(rng, sound.read_bytes()))
    try:
        data = read_rows(path, n_jobs=1)
    except (ValueError, MemoryError) as error:
        if isinstance(error, MemoryError):
            raise Failure("MemoryError") from None
        return REFUSED
    if data.X.ndim != 2 or len(data.X) != len(data.y) or len(data.qid) != len(data.y):
        raise Failure("a data set whose parts do not fit")
    return RIGHT


# TREC
# ---------------------------------------------------------------------------------------------------------

QRELS = b"q1 0 d1 2\nq1 0 d2 0\nq2 0 d1 1\nq2 0 d3 -1\n"
RUN = b"q1 Q0 d1 1 2.5 mine\nq1 Q0 d2 2 1.25 mine\nq2 Q0 d3 1 -0.5 mine\nq2 Q0 d1 2 -1e3 mine\n"


def trec_lines(content: bytes, n: int) -> list[list[str]]:
    found = []
    for line in content.split(b"\n"):
        try:
            fields = line.decode().split()
        except UnicodeDecodeError:
            raise Refused("not UTF-8") from None
        if fields and len(fields) != n:
            raise Refused("fields")
        found += [fields] if fields else []
    keys = [(fields[0], fields[2]) for fields in found]
    if len(set(keys)) != len(keys):
        raise Refused("twice")
    return found


def trec(rng: random.Random, folder: Path) -> str:
    from lambdamart_kit.trec import read_qrels, read_run

    is_run = rng.random() < 0.5
    content = edit_bytes(rng, RUN if is_run else QRELS)
    path = folder / "file.trec"
    path.write_bytes(content)

    def plain_qrels() -> Any:
        rows = trec_lines(content, 4)
        if not all(re.fullmatch(r"[+-]?\d{1,18}", row[3], re.ASCII) for row in rows):
            raise Refused("relevance")
        return [r[0] for r in rows], [r[2] for r in rows], [int(r[3]) for r in rows]

    def plain_run() -> Any:
        rows = trec_lines(content, 6)
        for row in rows:
            if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", row[4], re.ASCII):
                raise Refused("score")
            if math.isinf(float(row[4])):
                raise Refused("infinite")
        return [r[0] for r in rows], [r[2] for r in rows], [float(r[4]) for r in rows]

    def qrels() -> Any:
        found = read_qrels(path)
        return found.qid.tolist(), found.docid.tolist(), found.relevance

    def run() -> Any:
        found = read_run(path)
        return found.qid.tolist(), found.docid.tolist(), found.scores

    return agrees(run if is_run else qrels, plain_run if is_run else plain_qrels, (ValueError,))


def trec_gzip(rng: random.Random, folder: Path) -> str:
    import gzip

    from lambdamart_kit.trec import read_qrels

    path = folder / "file.qrels.gz"
    path.write_bytes(edit_bytes(rng, gzip.compress(QRELS)))
    try:
        found = read_qrels(path)
    except ValueError:
        return REFUSED
    if len(found.relevance):  # a file cut to nothing holds no judgment
        same(found.docid.tolist(), ["d1", "d2", "d1", "d3"])
        same(found.relevance, [2, 0, 1, -1])
    return RIGHT


# Preferences
# ---------------------------------------------------------------------------------------------------------


def strings_in(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value}
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return set().union(*(strings_in(part) for part in parts)) if parts else set()


def is_made_of(text: str, everything: str) -> bool:
    """Whether the text, or both halves of it, as two equal parts of a message are joined, stand there."""
    half = len(text) // 2
    return text[:40] in everything or (text[:half] == text[half:] and text[:half] in everything)


def preferences(rng: random.Random, folder: Path) -> str:
    """Records of every layout, edited: pairs whose texts stand in the records, or a ValueError."""
    from layout_examples import EXAMPLES

    from lambdamart_kit import PreferencePairs

    name = rng.choice(sorted(EXAMPLES))
    example = EXAMPLES[name]
    records = edit_tree(rng, example.records)
    path = folder / "rows.jsonl"
    if rng.random() < 0.3 or not isinstance(records, list):
        lines = [json.dumps(record) for record in example.records]
        path.write_bytes(edit_bytes(rng, ("\n".join(lines) + "\n").encode()))
        records = None
    else:
        path.write_text("\n".join(json.dumps(record) for record in records) + "\n")
    try:
        pairs = PreferencePairs.read(path, layout=name if rng.random() < 0.5 else None)
    except ValueError as error:
        if not str(error):
            raise Failure("an error without a message") from None
        return REFUSED
    n = len(pairs)
    if not (
        np.isfinite(pairs.weight).all() and (pairs.weight >= 0).all() and np.isfinite(pairs.margin).all()
    ):
        raise Failure("weights or margins that no fit can use")
    if not ((pairs.target >= 0) & (pairs.target <= 1)).all():
        raise Failure("a target outside of [0, 1]")
    if n and (pairs.chosen.max() >= len(pairs.responses) or pairs.prompt.max() >= len(pairs.prompts)):
        raise Failure("a pair of responses that do not exist")
    if records is not None:
        everything = "\n".join(strings_in(records))
        for text in pairs.responses[np.unique(np.concatenate([pairs.chosen, pairs.rejected]))] if n else ():
            # Turns of a conversation are joined, each under the name of who says it.
            said = [re.sub(r"^[^:]+: ", "", line).strip() for line in text.split("\n")]
            if any(line and not is_made_of(line, everything) for line in said):
                raise Failure(f"a response that no record holds: {text!r}")
    return RIGHT


def chosen_rejected(rng: random.Random, folder: Path) -> str:
    """The commonest layout, against a plain parser."""
    from lambdamart_kit import PreferencePairs

    records = [
        {"prompt": "2+2?", "chosen": "four", "rejected": "five", "weight": 2.0, "margin": 0.5},
        {"prompt": "3+3?", "chosen": "six", "rejected": "seven", "weight": 1.0, "margin": 0.0},
        {"prompt": "2+2?", "chosen": "4", "rejected": "five", "weight": 1.0, "margin": 0.25},
    ]
    path = folder / "plain.jsonl"
    for _ in range(rng.randint(1, 2)):
        record = rng.choice(records)
        key = rng.choice(sorted(record) or ["prompt"])
        if rng.random() < 0.2:
            record.pop(key, None)
        else:
            record[key] = rng.choice(VALUES)
    path.write_text("\n".join(map(json.dumps, records)) + "\n")
    try:
        pairs = PreferencePairs.read(path)
    except ValueError:
        return REFUSED
    texts = pairs.texts
    prompts = [pairs.prompts[i] for i in pairs.prompt]
    found = [
        (prompt, texts["response"].iloc[a], texts["response"].iloc[b])
        for prompt, a, b in zip(prompts, pairs.chosen, pairs.rejected)
    ]
    for row, (prompt, chosen, rejected) in zip(pairs.rows[:, 0], found):
        record = records[row]
        for key, text in (("prompt", prompt), ("chosen", chosen), ("rejected", rejected)):
            given = record.get(key)
            if isinstance(given, str) and given.encode(errors="replace") != text.encode(errors="replace"):
                raise Failure(f"{key} of row {row} is {text!r} where the record has {given!r}")
        for key, value in (("weight", pairs.weight), ("margin", pairs.margin)):
            at = list(pairs.rows[:, 0]).index(row)
            given = record.get(key)
            is_number = isinstance(given, int | float) and not isinstance(given, bool)
            if is_number and math.isfinite(given) and float(given) != value[at]:
                raise Failure(f"{key} of row {row} is {value[at]} where the record has {given}")
    return RIGHT


def votes(rng: random.Random, folder: Path) -> str:
    from lambdamart_kit.preferences.reading.votes import read_votes

    rows = [["model_a", "model_b", "winner", "weight"]]
    rows += [
        ["x", "y", "model_a", "1"],
        ["y", "z", "model_b", "2"],
        ["x", "z", "tie", "1"],
        ["z", "x", "a", "0.5"],
    ]
    for _ in range(rng.randint(1, 3)):
        row = rng.choice(rows)
        row[rng.randrange(4)] = rng.choice(
            [
                "x",
                "",
                "nan",
                "MODEL_A",
                "tie (bothbad)",
                "b",
                "1",
                "-1",
                "1e400",
                "é",
                "x ",
                "\0",
                "None",
                "y",
                "2.5",
            ]
        )
    stream = io.StringIO()
    csv.writer(stream).writerows(rows)
    path = folder / "votes.csv"
    content = stream.getvalue().encode()
    path.write_bytes(edit_bytes(rng, content, 1) if rng.random() < 0.3 else content)
    is_whole = path.read_bytes() == content
    try:
        table = read_votes(path)
    except ValueError:
        return REFUSED
    if is_whole and rows[0] == ["model_a", "model_b", "winner", "weight"]:
        for at, row in enumerate(table.rows):
            line = rows[1 + int(row)]
            if [str(v) for v in table.pairs.iloc[at]] != line[:2]:
                raise Failure(f"items {list(table.pairs.iloc[at])} where the file has {line[:2]}")
            if table.weight is not None and line[3].strip() and float(line[3]) != table.weight[at]:
                raise Failure(f"weight {table.weight[at]} where the file has {line[3]}")
    return RIGHT


# Models
# ---------------------------------------------------------------------------------------------------------


def models(folder: Path) -> dict[str, tuple[bytes, Any]]:
    """A saved model of each kind, and its scores."""
    from lambdamart_kit import LambdaMART, LinearRanker, NeuralRanker, RewardModel, XGBoostRanker
    from lambdamart_kit.datasets import make_letor

    data = make_letor(n_queries=15, random_state=0)
    made = {
        "native": LambdaMART(n_estimators=3, num_leaves=8, random_state=0),
        "lightgbm": LambdaMART(booster="lightgbm", n_estimators=3, num_leaves=8, random_state=0),
        "xgboost": XGBoostRanker(n_estimators=3, num_leaves=8, random_state=0),
        "categories": LambdaMART(n_estimators=3, num_leaves=8, categorical_features=[0], random_state=0),
        "linear": LinearRanker(max_iter=2),
        "neural": NeuralRanker(max_iter=1, hidden_layer_sizes=(4,), random_state=0),
    }
    found = {}
    X = data.X.copy()
    X[:, 0] = np.abs(X[:, 0]).round().clip(0, 9)
    for name, ranker in made.items():
        path = folder / f"{name}.lmk"
        ranker.fit(X, data.y, qid=data.qid).save(path)
        found[name] = (path.read_bytes(), ranker.predict(X))
    reward = RewardModel(scorer="linear", random_state=0).fit(X, data.y, qid=data.qid)
    reward.save(folder / "reward.lmk")
    found["reward"] = ((folder / "reward.lmk").read_bytes(), reward.predict(X))
    return {"X": (b"", X), **found}


def catboost_models(folder: Path) -> dict[str, tuple[bytes, Any]]:
    """Saved models of CatBoost, whose format is its own, and their scores."""
    from lambdamart_kit import CatBoostRanker
    from lambdamart_kit.datasets import make_letor

    data = make_letor(n_queries=15, random_state=0)
    X = data.X.copy()
    X[:, 0] = np.abs(X[:, 0]).round().clip(0, 9)
    found = {"X": (b"", X)}
    for name, columns in (("numbers", ()), ("categories", (0,))):
        path = folder / f"{name}.lmk"
        ranker = CatBoostRanker(
            n_estimators=3, categorical_features=list(columns), n_jobs=1, random_state=0
        ).fit(X, data.y, qid=data.qid)
        ranker.save(path)
        found[name] = (path.read_bytes(), ranker.predict(X))
    return found


_MODELS: dict[str, dict[str, tuple[bytes, Any]]] = {}  # what each format of models starts from


def model(rng: random.Random, folder: Path) -> str:
    """A model with edited bytes, or with an edited part and right digests: ModelFormatError, or scores."""
    if "models" not in _MODELS:
        _MODELS["models"] = models(folder)
    return edited_model(rng, folder, _MODELS["models"])


def catboost_model(rng: random.Random, folder: Path) -> str:
    """The same of CatBoost, which reads its format by itself."""
    if "models of CatBoost" not in _MODELS:
        _MODELS["models of CatBoost"] = catboost_models(folder)
    return edited_model(rng, folder, _MODELS["models of CatBoost"])


def edited_model(rng: random.Random, folder: Path, sound: dict[str, tuple[bytes, Any]]) -> str:
    from lambdamart_kit import RewardModel
    from lambdamart_kit.rankers import ModelFormatError, load_ranker

    name = rng.choice([name for name in sound if name != "X"])
    content, expected = sound[name]
    path = folder / "edited.lmk"
    signed = rng.random() < 0.7
    path.write_bytes(resigned(rng, content) if signed else edit_bytes(rng, content))
    load = RewardModel.load if name == "reward" else load_ranker
    try:
        loaded = load(path)
    except ModelFormatError as error:
        if str(path) not in str(error):
            raise Failure(f"an error that does not name the file: {error}") from None
        return REFUSED
    try:
        scores = loaded.predict(sound["X"][1])
    except ValueError:
        if signed:
            return REFUSED  # such as another number of columns, which is no contradiction within the file
        raise
    if not signed:
        same(scores, expected)
    if np.shape(scores) != np.shape(expected):
        raise Failure("not one score a row")
    return RIGHT


def resigned(rng: random.Random, content: bytes) -> bytes:
    """The archive with one part edited and right digests, as anyone can make it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop("manifest.json"))
    name = rng.choice([*members, "manifest"])
    if name == "manifest":
        manifest = edit_tree(rng, manifest)
    elif members[name][:1] == b"{" and members[name][-1:] == b"}" and is_json(members[name]):
        members[name] = json.dumps(edit_tree(rng, json.loads(members[name]))).encode()
    elif name.endswith(".npz"):
        members[name] = edit_arrays(rng, members[name])
    else:
        members[name] = (
            edit_numbers(rng, members[name]) if rng.random() < 0.7 else edit_bytes(rng, members[name])
        )
    if isinstance(manifest, dict) and name != "manifest":
        manifest["files"] = {part: hashlib.sha256(data).hexdigest() for part, data in members.items()}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        for part, data in members.items():
            archive.writestr(part, data)
    return stream.getvalue()


def is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def edit_numbers(rng: random.Random, content: bytes) -> bytes:
    """Text with one to three of its numbers changed."""
    for _ in range(rng.randint(1, 3)):
        found = list(re.finditer(rb"-?\d+(\.\d+)?(e[+-]?\d+)?", content))
        if not found:
            return content
        number = rng.choice(found)
        value = rng.choice(
            [b"-1", b"0", b"1", b"7", b"1000", b"2147483648", b"nan", b"inf", b"1e400", b"", b"-0.5"]
        )
        content = content[: number.start()] + value + content[number.end() :]
    return content


def edit_arrays(rng: random.Random, content: bytes) -> bytes:
    arrays = dict(np.load(io.BytesIO(content)))
    name = rng.choice(sorted(arrays))
    array = arrays[name]
    kind = rng.randrange(7)
    if kind == 0:
        arrays.pop(name)
    elif kind == 1:
        arrays[name] = array.ravel()[: array.size // 2]
    elif kind == 2 and array.dtype.kind in "iuf" and array.size:
        array.flat[rng.randrange(array.size)] = rng.choice([0, 1, 100]) if array.dtype.kind == "u" else -7
    elif kind == 3:
        arrays[name] = array.astype(str)
    elif kind == 4:
        arrays[name] = array[..., None]
    elif kind == 5 and array.dtype.kind == "f" and array.size:
        array.flat[rng.randrange(array.size)] = rng.choice([np.nan, np.inf, 1e308])
    else:
        arrays[name] = array.astype(np.float16) if array.dtype.kind in "iuf" else array
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    data = stream.getvalue()
    return data if rng.random() < 0.8 else edit_bytes(rng, data)


def checkpoint(rng: random.Random, folder: Path) -> str:
    """A damaged checkpoint: the fit goes on and gives the same trees, or one ValueError says what to do."""
    from lambdamart_kit import LambdaMART
    from lambdamart_kit.datasets import make_letor

    data = make_letor(n_queries=4, random_state=0)
    path = folder / "run.npz"
    settings = {"num_leaves": 4, "n_jobs": 1, "random_state": 0}
    kept = {"checkpoint": str(path), "checkpoint_trees": 1}
    if "checkpoints" not in _MODELS:
        path.unlink(missing_ok=True)
        LambdaMART(n_estimators=3, booster_params=kept, **settings).fit(data.X, data.y, qid=data.qid)
        whole = LambdaMART(n_estimators=4, **settings).fit(data.X, data.y, qid=data.qid)
        _MODELS["checkpoints"] = {"run": (path.read_bytes(), whole.predict(data.X))}
    content, expected = _MODELS["checkpoints"]["run"]
    edited = edit_arrays(rng, content) if rng.random() < 0.5 else edit_bytes(rng, content)
    path.write_bytes(edited)
    try:
        ranker = LambdaMART(n_estimators=4, booster_params=kept, **settings).fit(data.X, data.y, qid=data.qid)
    except ValueError as error:
        if "checkpoint" not in str(error):
            raise Failure(f"an error that does not name the checkpoint: {error}") from None
        return REFUSED
    if edited is content:
        same(ranker.predict(data.X), expected)
    return RIGHT


# What a benchmark remembers, scores, catalogue
# ---------------------------------------------------------------------------------------------------------


def runs(rng: random.Random, folder: Path) -> str:
    from lambdamart_kit.bench.results import ResultsFile, Run, chosen

    first = Run(
        "k1", "linear", "Fold1", 0, {"a": 1}, {"ndcg@10": 0.5}, {"ndcg@10": [0.25, None]}, ["q1", "q2"]
    )
    second = Run("k2", "pointwise", "Fold1", 0, {}, {"ndcg@10": 0.75}, {"ndcg@10": [0.5, 1.0]}, ["q1", "q2"])
    lines = [first.to_json(), second.to_json()]
    at = rng.randrange(2)
    if rng.random() < 0.6:
        lines[at] = json.dumps(edit_tree(rng, json.loads(lines[at])))
        content = ("\n".join(lines) + "\n").encode()
    else:
        content = edit_bytes(rng, ("\n".join(lines) + "\n").encode())
    path = folder / "runs.jsonl"
    path.write_bytes(content)
    try:
        kept = list(ResultsFile(path))
        for run in chosen(kept, "ndcg@10"):
            run.per_query("ndcg@10")
            run.scores()
    except ValueError:
        return REFUSED
    return RIGHT


def scores(rng: random.Random, folder: Path) -> str:
    from lambdamart_kit.files.score_reading import read_scores

    content = edit_bytes(rng, b"0.5\n-1.25\n3\n1e-3\n", 2)
    path = folder / "scores.txt"
    path.write_bytes(content)
    try:
        found = read_scores(path)
    except ValueError:
        return REFUSED
    plain = [line for line in content.decode().split("\n") if line.strip()]
    if all(re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", line, re.ASCII) for line in plain):
        same(found, [float(line) for line in plain])
    elif not np.isfinite(found).all():
        raise Failure("scores that are not finite")
    return RIGHT


def catalogue(rng: random.Random, folder: Path) -> str:
    from lambdamart_kit.datasets.catalogue import _read_catalogue, packaged_files

    path = folder / f"catalogue{rng.randrange(10**9)}.toml"
    path.write_bytes(edit_bytes(rng, (packaged_files() / "catalogue.toml").read_bytes(), 2))
    try:
        _read_catalogue(path)
    except ValueError:
        return REFUSED
    finally:
        path.unlink()
    return RIGHT


# Arrays
# ---------------------------------------------------------------------------------------------------------


def arrays(rng: random.Random, folder: Path) -> str:
    """Every public call with one argument exchanged, as tests/test_hostile_arrays.py does one by one."""
    import test_hostile_arrays as hostile

    cheap = [name for name in hostile.CALLS if not name.startswith(("Crowd", "RewardModel", "LambdaMART("))]
    call = hostile.CALLS[rng.choice(cheap)]
    given = dict(call.arrays)
    for _ in range(rng.randint(1, 2)):
        argument = rng.choice(sorted(given))
        change = hostile.OTHER[rng.choice(sorted(hostile.OTHER))]
        try:
            given[argument] = change(call.arrays[argument])
        except (TypeError, ValueError, OverflowError):
            continue
    try:
        call.function(**given)
    except (ValueError, TypeError):
        return REFUSED
    return RIGHT


def ndcg_values(rng: random.Random, folder: Path) -> str:
    """Random labels, scores and queries against NDCG written out, ties in expectation by all their orders."""
    from lambdamart_kit.metrics import ndcg

    n = rng.randrange(1, 7)
    y = [rng.randrange(4) for _ in range(n)]
    ranked = [rng.choice([0.0, 1.0, -2.5, rng.random()]) for _ in range(n)]
    k = rng.choice([None, 1, 2, 3, 10, 2**63])
    depth = n if k is None else min(n, k)

    def gain(label: int) -> float:
        return 2.0**label - 1.0

    worth = [1 / math.log2(rank + 2) if rank < depth else 0.0 for rank in range(n)]
    order = sorted(range(n), key=lambda i: -ranked[i])
    total, at = 0.0, 0
    while at < n:
        tied = [i for i in order if ranked[i] == ranked[order[at]]]
        total += sum(gain(y[i]) for i in tied) * sum(worth[at : at + len(tied)]) / len(tied)
        at += len(tied)
    ideal = sum(gain(label) * w for label, w in zip(sorted(y, reverse=True), worth))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = ndcg(y, ranked, k=k)
    expected = total / ideal if ideal else math.nan
    if not (abs(found - expected) < 1e-12 or (math.isnan(found) and math.isnan(expected))):
        raise Failure(f"{found} where NDCG is {expected}")
    return RIGHT


def killed_writer(rng: random.Random, folder: Path) -> str:
    import failing_writes

    return failing_writes.killed(rng, folder)


def failing_disk(rng: random.Random, folder: Path) -> str:
    import failing_writes

    return failing_writes.full_disk(rng, folder)


FORMATS: dict[str, Callable[[random.Random, Path], str]] = {
    "LETOR text": letor,
    "LETOR parse cache": letor_cache,
    "CSV cells": table_csv,
    "CSV, TSV, JSONL, Parquet, Arrow, npz: bytes": table_bytes,
    "TREC qrels and runs": trec,
    "TREC, gzip": trec_gzip,
    "preferences, every layout": preferences,
    "preferences, chosen and rejected": chosen_rejected,
    "votes": votes,
    "models": model,
    "models of CatBoost": catboost_model,
    "checkpoints": checkpoint,
    "runs.jsonl": runs,
    "scores": scores,
    "catalogue": catalogue,
    "writers that are killed": killed_writer,
    "disks that fail": failing_disk,
    "arrays, every public call": arrays,
    "arrays, NDCG's value": ndcg_values,
}


def every_call(rng: random.Random, folder: Path) -> None:
    """Every call that `arrays` makes, with what it should get."""
    import test_hostile_arrays as hostile

    for call in hostile.CALLS.values():
        call.function(**call.arrays)


WARMED: dict[str, Callable[[random.Random, Path], object]] = {"arrays, every public call": every_call}

# Running
# ---------------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """How far the inputs of one format came: the first seed not tried yet, and what the others ended in."""

    next_seed: int = 0
    right: int = 0
    refused: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def note(self, seed: int, outcome: str) -> None:
        """Count what the input of this seed ended in."""
        self.next_seed = seed + 1
        if outcome == RIGHT:
            self.right += 1
        elif outcome == REFUSED:
            self.refused += 1
        else:
            self.failures[str(seed)] = outcome

    @property
    def attempts(self) -> int:
        """Inputs tried so far."""
        return self.right + self.refused + len(self.failures)

    def kinds(self) -> list[str]:
        """The commonest failures in words, with how often and the seed of one."""
        kinds = Counter(_without_numbers(text) for text in self.failures.values())
        lines = []
        for kind, count in kinds.most_common(8):
            seed, text = next(item for item in self.failures.items() if _without_numbers(item[1]) == kind)
            lines.append(f"{count} x seed {seed}: {text}")
        return lines


def _without_numbers(text: str) -> str:
    return re.sub(r"[0-9]+", "#", text)[:160]


def attack(name: str, seed: int, folder: Path) -> str:
    """One input: "right", "refused", or the failure in words."""
    rng = random.Random(f"{name} {seed}")
    try:
        with limited(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return FORMATS[name](rng, folder)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        where = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in where if "lambdamart_kit" in frame.filename]
        place = f" at {Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
        return f"{type(error).__name__}: {str(error)[:300]}{place}"


def attack_many(
    name: str, tally: Tally, stop: int, seconds: float, keep: Callable[[], None] = lambda: None
) -> None:
    """Inputs one after another in a process of its own, which is started anew when it dies."""
    context = multiprocessing.get_context("fork")
    end = time.monotonic() + seconds
    while tally.next_seed < stop and time.monotonic() < end:
        receiver, sender = context.Pipe(duplex=False)
        seeds = range(tally.next_seed, stop)
        child = context.Process(target=_work, args=(name, seeds, sender, end - time.monotonic()))
        child.start()
        sender.close()
        with contextlib.suppress(EOFError):
            while True:
                tally.note(*receiver.recv())
                if tally.attempts % KEPT_EVERY == 0:
                    keep()
        child.join()
        if child.exitcode != 0:
            tally.note(tally.next_seed, f"the process ended with {child.exitcode}")
    keep()


def _work(name: str, seeds: range, sender: Any, seconds: float) -> None:
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.environ["OMP_NUM_THREADS"] = "1"
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        # Kernels that compile for the first time, and models that are fitted, take longer than an input may.
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter("ignore")
            WARMED.get(name, FORMATS[name])(random.Random("warm"), Path(folder))
        for seed in seeds:
            sender.send((seed, attack(name, seed, Path(folder))))
            if time.monotonic() - started > seconds:
                break
    sender.close()
    os._exit(0)


def kept_tallies(path: Path | None) -> dict[str, Tally]:
    if path is None or not path.exists():
        return {}
    return {name: Tally(**values) for name, values in json.loads(path.read_text()).items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument(
        "--formats", help="beginnings of their names, with semicolons between; all by default"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the first input")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="at most, for each format")
    parser.add_argument("--kept", type=Path, help="a file of its own: a run that was stopped goes on from it")
    parser.add_argument("--out", default=str(Path(__file__).with_name("RESULTS-robustness.md")))
    options = parser.parse_args()
    parts = tuple((options.formats or "").split(";"))
    tallies = kept_tallies(options.kept)

    def keep() -> None:
        if options.kept is not None:
            fresh = options.kept.with_suffix(".part")
            fresh.write_text(json.dumps({name: asdict(tally) for name, tally in tallies.items()}))
            fresh.replace(options.kept)

    for name in FORMATS:
        if not name.startswith(parts):
            continue
        tally = tallies.setdefault(name, Tally(next_seed=options.seed))
        started = time.monotonic()
        attack_many(name, tally, options.seed + options.inputs, options.seconds, keep)
        tally.seconds += time.monotonic() - started
        keep()
        print(name, tally.attempts, len(tally.failures), f"{tally.seconds:.0f} s", sep=" | ", flush=True)
        for line in tally.kinds():
            print(f"   {line}", flush=True)
    rows = [
        (name, tally.attempts, tally.right, tally.refused, len(tally.failures))
        for name, tally in tallies.items()
    ]
    Path(options.out).write_text(table(rows))


def table(rows: list[tuple[str, int, int, int, int]]) -> str:
    import lightgbm
    import numba
    import xgboost

    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, Numba {numba.__version__}, "
    versions += f"LightGBM {lightgbm.__version__}, XGBoost {xgboost.__version__}"
    head = f"""# Damaged and hostile input

`python benchmarks/robustness.py`, {datetime.date.today()}, {os.cpu_count()} cores, {versions}.
What counts as right, as refused and as a failure stands at the top of the script.

| input | attempts | right value | documented error | failures |
|---|---:|---:|---:|---:|
"""
    return head + "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)


if __name__ == "__main__":
    main()
