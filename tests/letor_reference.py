"""A slow, readable LETOR parser: the specification that the compiled one is tested against."""

from __future__ import annotations

import re

import numpy as np

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
SPACES = re.compile(r"[ \t\r]+")
MAX_INDEX = 2**31 - 2


class BadLine(Exception):
    """Number of the first bad line, or None where the whole file is at fault."""


def to_float32(token):
    if not NUMBER.fullmatch(token):
        raise ValueError(token)
    with np.errstate(over="ignore"):
        value = np.float32(float(token))
    if not np.isfinite(value):
        raise ValueError(token)
    return value


def parse_line(line):
    """(label, qid, [(index, value)], comment or None), or None for a line without a row."""
    text = line.decode("latin-1")  # one character a byte
    content, hash_sign, comment = text.partition("#")
    tokens = [token for token in SPACES.split(content) if token]
    if not tokens:
        return None
    label = to_float32(tokens[0])
    if len(tokens) < 2 or not tokens[1].startswith("qid:") or tokens[1] == "qid:":
        raise ValueError("qid")
    entries = []
    for token in tokens[2:]:
        index, colon, value = token.partition(":")
        if not colon or not re.fullmatch(r"[0-9]+", index) or int(index) > MAX_INDEX:
            raise ValueError(token)
        if int(index) <= (entries[-1][0] if entries else 0):
            raise ValueError(token)
        entries.append((int(index), to_float32(value)))
    return label, tokens[1][4:].encode("latin-1"), entries, comment.strip(" \t\r") if hash_sign else None


def name_of(comment):
    """The docid in a comment, or the whole comment."""
    found = re.match(r"docid[ \t\r]*=[ \t\r]*([^ \t\r]+)", comment)
    return found[1] if found else comment


def parse(content):
    """(X, y, list of qid tokens, list of names) of a file's bytes; raises BadLine."""
    if content.startswith(b"\xef\xbb\xbf"):
        content = content[3:]
    lines = content.split(b"\n")
    rows, names, ids = [], [], []
    for number, line in enumerate(lines, start=1):
        try:
            row = parse_line(line)
            if row is not None:
                rows.append((number, row))
                names.append(name_of(row[3] or "").encode("latin-1").decode())
        except ValueError:  # of which UnicodeDecodeError is one
            raise BadLine(number) from None
        if row is not None and "\0" in names[-1]:
            raise BadLine(number)
    if not rows:
        raise BadLine(None)
    _check_cut(lines, rows)
    for number, (_, qid, _, _) in rows:
        ids.append(qid.decode(errors="replace"))
        if not ids[-1].isprintable() or "\ufffd" in ids[-1]:
            raise BadLine(number)
    width = max((entries[-1][0] for _, (_, _, entries, _) in rows if entries), default=0)
    X = np.zeros((len(rows), width), np.float32)
    for i, (_, (_, _, entries, _)) in enumerate(rows):
        for index, value in entries:
            X[i, index - 1] = value
    return X, np.array([row[0] for _, row in rows], np.float32), ids, names


def _check_cut(lines, rows):
    """A last line without newline must end where all others end, if those agree."""
    if lines[-1] == b"" or rows[-1][0] != len(lines) or len(rows) == 1:
        return
    ends = [entries[-1][0] if entries else 0 for _, (_, _, entries, _) in rows]
    commented = [comment is not None for _, (_, _, _, comment) in rows]
    if len(set(ends[:-1])) == 1 and ends[-1] != ends[0]:
        raise BadLine(len(lines))
    if all(commented[:-1]) and not commented[-1]:
        raise BadLine(len(lines))
