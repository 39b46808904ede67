"""Kernels that turn LETOR text into arrays, one block of whole lines at a time.

A line is ``label qid:id index:value ... # comment``. `scan_block` counts what has to be allocated,
`parse_block` checks and fills. They work on bytes, hold no Python object and touch nothing outside the given
arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.core.typing import Array
from lambdamart_kit.datasets.letor.byte_scan import (
    is_space,
    line_end,
    load_byte,
    load_word,
    skip_spaces,
    token_end,
)
from lambdamart_kit.datasets.letor.decimals import (
    DOUBT,
    NOT_FINITE,
    NOT_NUMBER,
    parse_number,
    parse_short_number,
)

MAX_INDEX = 2**31 - 2

# Positions in the `state` array that kernels report through.
ROWS, NONZEROS, LAST_MIN, LAST_MAX, COMMENTS, RUNS, NAMES, DOUBTS, ERROR, START = range(10)
STATE_SIZE = 10

# What can be wrong. FINITE: NaN, infinite, or too large for float32; BEYOND: index above n_features.
NO_ERROR, LABEL, NO_QID, UNEXPECTED_QID, EMPTY_QID, PAIR, ZERO, REPEATED, DESCENDING = range(9)
HUGE, VALUE, FINITE, BEYOND = range(9, 13)
CHANGED = 13  # more rows or entries than were counted: the file is being written to
MORE_DOUBTS = 14  # not an error: call again with room for more

# "17:" as a word, its mask and its length: in dense files the next index is nearly always the last plus one.
_N_KEYS = 1024
_KEYS = [f"{k}:".encode() for k in range(_N_KEYS)]
_KEY_WORD = np.array([int.from_bytes(k, "little") for k in _KEYS], np.uint64)
_KEY_MASK = np.array([(1 << 8 * len(k)) - 1 for k in _KEYS], np.uint64)
_KEY_SIZE = np.array([len(k) for k in _KEYS], np.int64)
_QID_WORD, _QID_MASK = np.uint64(int.from_bytes(b"qid:", "little")), np.uint64(0xFFFFFFFF)
_DOCID_WORD, _DOCID_MASK = np.uint64(int.from_bytes(b"docid", "little")), np.uint64(0xFFFFFFFFFF)


class Style(NamedTuple):
    """How lines are written.

    Attributes
    ----------
    has_qid : int
        1 where each line must have ``qid:``, 0 where none may.
    name_mode : int
        0 ignores comments, 1 keeps the ``docid``, 2 the whole comment.
    first_index : int
        What the first feature is called: 1, or 0.
    unordered : int
        1 where indices may stand in any order.
    """

    has_qid: int
    name_mode: int
    first_index: int
    unordered: int


@kernel
def count_lines(block: Array) -> int:
    """Newlines in `block`."""
    n = 0
    for i in range(len(block)):
        n += block[i] == 10
    return n


@kernel
def _index_before(text: int, colon: int) -> int:
    """The number that ends at `colon`, or anything above ``MAX_INDEX`` if it is above."""
    index, scale, i = 0, 1, colon - 1
    while i >= 0 and 48 <= load_byte(text, i) <= 57 and scale <= 10_000_000_000:
        index += (load_byte(text, i) - 48) * scale
        scale *= 10
        i -= 1
    return index


@kernel
def scan_block(block: Array, state: Array) -> None:
    """Count rows and entries, and find the largest index."""
    text = block.ctypes.data
    rows, colons, largest = 0, 0, 0
    i, stop = 0, len(block)
    while i < stop:
        i = skip_spaces(text, i)
        c = load_byte(text, i)
        rows += c != 10 and c != 35
        while c != 10 and c != 35:
            if load_word(text, i) & _QID_MASK == _QID_WORD:  # the id may hold colons of its own
                i = token_end(text, i) - 1
            elif c == 58:
                colons += 1
                largest = max(largest, _index_before(text, i))
            i += 1
            c = load_byte(text, i)
        i = line_end(text, i) + 1
    state[ROWS], state[NONZEROS], state[LAST_MAX] = rows, colons, largest


@kernel
def _feature_index(text: int, i: int, previous: int, style: Style) -> tuple[int, int, int]:
    """The index at `i`, counted from 1, the position behind its colon, and what is wrong with it."""
    start, index = i, 0
    while 48 <= load_byte(text, i) <= 57 and index <= MAX_INDEX:
        index = index * 10 + load_byte(text, i) - 48
        i += 1
    if index > MAX_INDEX:
        return index, i, HUGE
    if load_byte(text, i) != 58 or i == start:
        return index, i, PAIR
    index += 1 - style.first_index
    if index == 0:
        return index, i, ZERO
    if index <= previous and not style.unordered:
        return index, i, REPEATED if index == previous else DESCENDING
    return index, i + 1, NO_ERROR


@kernel
def _pair(
    text: int, i: int, previous: int, n_features: int, style: Style
) -> tuple[int, np.float32, int, int, bool]:
    """Parse ``index:value`` at `i`: index, value, position behind, error, whether the value is in doubt."""
    index = previous + 1
    key = previous + style.first_index  # how the file writes that index
    if key < _N_KEYS and load_word(text, i) & _KEY_MASK[key] == _KEY_WORD[key]:
        i += _KEY_SIZE[key]
    else:
        index, i, error = _feature_index(text, i, previous, style)
        if error != NO_ERROR:
            return index, np.float32(0), i, error, False
    if index > n_features:
        return index, np.float32(0), i, BEYOND, False
    value, stop = parse_short_number(text, i)
    if stop >= 0:
        return index, value, stop, NO_ERROR, False
    value, stop, status = parse_number(text, i)
    if status == NOT_FINITE:  # whether that is an error is for the reader to say, as of numbers in doubt
        return index, value, token_end(text, i), NO_ERROR, True
    return index, value, stop, _number_error(status, VALUE), status == DOUBT


@kernel
def _usual_pairs(text: int, i: int, previous: int, first_index: int, row: Array) -> tuple[int, int]:
    """Fill `row` while pairs are as in dense files, and return the position and index this leads to.

    Such a pair has the index after `previous`, a short number and one blank behind it. Everything else,
    errors included, is left to `_pair`: this loop has nothing to decide but whether to go on. It reads dense
    files in .7 of the time.
    """
    stop = min(len(row), _N_KEYS - first_index)
    while previous < stop:
        key = previous + first_index
        if load_word(text, i) & _KEY_MASK[key] != _KEY_WORD[key]:
            break
        value, end = parse_short_number(text, i + _KEY_SIZE[key])
        if end < 0 or load_byte(text, end) != 32:
            break
        row[previous] = value
        previous += 1
        i = end + 1
    return i, previous


@kernel
def _number_error(status: int, otherwise: int) -> int:
    if status == NOT_NUMBER:
        return otherwise
    return FINITE if status == NOT_FINITE else NO_ERROR


@kernel
def _same_bytes(text: int, a: int, b: int, n: int) -> bool:
    k = 0
    while k < n and load_byte(text, a + k) == load_byte(text, b + k):
        k += 1
    return k == n


@kernel
def _name_span(text: int, i: int, stop: int, whole: int) -> tuple[int, int]:
    """Start and stop of what to keep of the comment ``text[i:stop]``: its ``docid = name``, or all of it."""
    i = skip_spaces(text, i)
    while stop > i and is_space(load_byte(text, stop - 1)):
        stop -= 1
    if whole or load_word(text, i) & _DOCID_MASK != _DOCID_WORD:
        return i, stop
    j = skip_spaces(text, i + 5)
    if load_byte(text, j) != 61:
        return i, stop
    j = skip_spaces(text, j + 1)
    if j >= stop:
        return i, stop
    start = j
    while j < stop and not is_space(load_byte(text, j)):
        j += 1
    return start, j


class Rows(NamedTuple):
    """Where the values of a block go.

    Attributes
    ----------
    y : (n_rows,) float32
        Labels.
    X : (n_rows, n_features) float32
        Dense features; without columns when CSR is filled instead.
    data, indices, indptr : (n_entries,), (n_entries,), (n_rows,)
        CSR; `indptr` holds the end of each row, counted from the block's first entry.
    seen : (n_features,) int64
        Number, counted from 1, of the last row that has each feature; empty where indices must increase.
    """

    y: Array
    X: Array
    data: Array
    indices: Array
    indptr: Array
    seen: Array


class Found(NamedTuple):
    """Where the rest of a block goes; `state` says how much of each array is filled.

    Attributes
    ----------
    runs : (n_rows, 3) int64
        First row, start and stop of the id of each run of equal query ids.
    names : (n_bytes + n_rows,) uint8
        Names, one a line.
    doubts : (capacity, 3) int64
        Start and stop of each doubtful number, and its place: ``-1 - row`` for a label, else the flat
        position in X or in `data`.
    state : (STATE_SIZE,) int64
        Counts, and the code and position of the error.
    """

    runs: Array
    names: Array
    doubts: Array
    state: Array


@kernel(borrows=True, shared=True)
def parse_block(block: Array, style: Style, n_features: int, rows: Rows, found: Found) -> None:
    """Fill the arrays of one block, or report the first error in ``found.state``.

    Parameters
    ----------
    block : (n_bytes,) uint8
        Whole lines; the last byte is a newline, and ``byte_scan.PADDING`` more bytes can be read.
    style : Style
    n_features : int
        Largest index allowed, counted from 1.
    rows : Rows
    found : Found
    """
    text = block.ctypes.data
    stop = len(block)
    state = found.state
    state[LAST_MIN] = MAX_INDEX + 1
    # The id of the rows before; there is none yet.
    qid = 0
    qid_size = -1
    row = 0
    error = NO_ERROR
    start = 0
    i = 0
    while i < stop:
        start = i = skip_spaces(text, i)
        if _ends(text, i):  # a blank line, or only a comment
            i = line_end(text, i) + 1
            continue
        if row == len(rows.y):
            error = CHANGED
            break
        i, error = _read_label(text, i, row, rows, found)
        if error != NO_ERROR:
            break
        start = i = skip_spaces(text, i)
        if (load_word(text, i) & _QID_MASK == _QID_WORD) != style.has_qid:
            error = NO_QID if style.has_qid else UNEXPECTED_QID
            break
        if style.has_qid:
            i = token_end(text, start + 4)
            size = i - start - 4
            if size == 0:
                error = EMPTY_QID
                break
            if size != qid_size or not _same_bytes(text, qid, start + 4, size):
                qid = start + 4
                qid_size = size
                _note_run(found, row, qid, i)
        i, start, last, error = _read_features(text, i, row, n_features, style, rows, found)
        if error != NO_ERROR:
            break
        state[LAST_MIN] = min(state[LAST_MIN], last)
        state[LAST_MAX] = max(state[LAST_MAX], last)
        i = _read_comment(text, i, style.name_mode, found)
        row += 1
    state[ROWS] = row
    state[ERROR] = error
    state[START] = start


@inner(borrows=True, shared=True)
def _ends(text: int, i: int) -> bool:
    """Whether nothing but a comment follows in the line."""
    c = load_byte(text, i)
    return c == 10 or c == 35


@inner(borrows=True, shared=True)
def _read_label(text: int, i: int, row: int, rows: Rows, found: Found) -> tuple[int, int]:
    """Put the label at `i` in its place; the position behind it, and what is wrong with it."""
    value, stop, status = parse_number(text, i)
    rows.y[row] = value
    if status == DOUBT and not _note_doubt(found, i, stop, -1 - row):
        return stop, MORE_DOUBTS
    return stop, _number_error(status, LABEL)


@inner(borrows=True, shared=True)
def _read_features(
    text: int, i: int, row: int, n_features: int, style: Style, rows: Rows, found: Found
) -> tuple[int, int, int, int]:
    """Put the features that start at `i` in their places.

    Returns the position behind them, where the last one starts, its index (0 without any), and what is wrong
    with it.
    """
    dense = rows.X.shape[1] > 0
    entry = found.state[NONZEROS]
    previous = 0
    error = NO_ERROR
    start = i
    while True:
        start = i = skip_spaces(text, i)
        if dense and not style.unordered:
            entry -= previous
            i, previous = _usual_pairs(text, i, previous, style.first_index, rows.X[row])
            entry += previous
            start = i = skip_spaces(text, i)
        if _ends(text, i):
            break
        previous, value, i, error, doubtful = _pair(text, i, previous, n_features, style)
        if error == NO_ERROR and not dense and entry == len(rows.data):
            error = CHANGED
        if error == NO_ERROR and style.unordered:
            if rows.seen[previous - 1] == row + 1:
                error = REPEATED
            else:
                rows.seen[previous - 1] = row + 1
        if error == NO_ERROR and doubtful:
            place = row * rows.X.shape[1] + previous - 1 if dense else entry
            if not _note_doubt(found, start, i, place):
                error = MORE_DOUBTS
        if error != NO_ERROR:
            break
        if dense:
            rows.X[row, previous - 1] = value
        else:
            rows.data[entry] = value
            rows.indices[entry] = previous - 1
        entry += 1
    found.state[NONZEROS] = entry
    if not dense and error == NO_ERROR:
        rows.indptr[row] = entry
    return i, start, previous, error


@inner(borrows=True, shared=True)
def _note_doubt(found: Found, start: int, stop: int, place: int) -> bool:
    """Note a number that Python has to round; whether there was room."""
    n = found.state[DOUBTS]
    if n == len(found.doubts):
        return False
    found.doubts[n, 0] = start
    found.doubts[n, 1] = stop
    found.doubts[n, 2] = place
    found.state[DOUBTS] = n + 1
    return True


@inner(borrows=True, shared=True)
def _note_run(found: Found, row: int, start: int, stop: int) -> None:
    """Note that rows of another query begin at `row`; its id is ``text[start:stop]``."""
    n = found.state[RUNS]
    found.runs[n, 0] = row
    found.runs[n, 1] = start
    found.runs[n, 2] = stop
    found.state[RUNS] = n + 1


@inner(borrows=True, shared=True)
def _read_comment(text: int, i: int, name_mode: int, found: Found) -> int:
    """Keep what is wanted of the comment at `i`; the position of the next line."""
    end = line_end(text, i)
    found.state[COMMENTS] += end > i
    if name_mode > 0:
        name = found.state[NAMES]
        if end > i:
            first, last = _name_span(text, i + 1, end, name_mode == 2)
            for k in range(first, last):
                found.names[name] = load_byte(text, k)
                name += 1
        found.names[name] = 10
        found.state[NAMES] = name + 1
    return end + 1
