"""Kernels that turn LETOR text into arrays, one block of whole lines at a time.

A line is ``label qid:id index:value ... # comment``. `scan_block` counts what has to be allocated,
`parse_block` checks and fills. They work on bytes, hold no Python object and touch nothing outside the given
arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lambdamart_kit.compile import kernel
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


@kernel
def count_lines(block: Any) -> int:
    """Newlines in `block`."""
    n = 0
    for i in range(len(block)):
        n += block[i] == 10
    return n


@kernel
def _index_before(text: Any, colon: Any) -> int:
    """The number that ends at `colon`, or anything above ``MAX_INDEX`` if it is above."""
    index, scale, i = 0, 1, colon - 1
    while i >= 0 and 48 <= load_byte(text, i) <= 57 and scale <= 10_000_000_000:
        index += (load_byte(text, i) - 48) * scale
        scale *= 10
        i -= 1
    return index


@kernel
def scan_block(block: Any, state: Any) -> None:
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
def _feature_index(text: Any, i: Any, previous: Any) -> tuple[int, int, int]:
    """The index at `i`, the position behind its colon, and what is wrong with it."""
    start, index = i, 0
    while 48 <= load_byte(text, i) <= 57 and index <= MAX_INDEX:
        index = index * 10 + load_byte(text, i) - 48
        i += 1
    if index > MAX_INDEX:
        return index, i, HUGE
    if load_byte(text, i) != 58 or i == start:
        return index, i, PAIR
    if index <= previous:
        return index, i, ZERO if index == 0 else (REPEATED if index == previous else DESCENDING)
    return index, i + 1, NO_ERROR


@kernel
def _pair(text: Any, i: Any, previous: Any, n_features: Any) -> tuple[int, np.float32, int, int, bool]:
    """Parse ``index:value`` at `i`: index, value, position behind, error, whether the value is in doubt."""
    index = previous + 1
    if index < _N_KEYS and load_word(text, i) & _KEY_MASK[index] == _KEY_WORD[index]:
        i += _KEY_SIZE[index]
    else:
        index, i, error = _feature_index(text, i, previous)
        if error != NO_ERROR:
            return index, np.float32(0), i, error, False
    if index > n_features:
        return index, np.float32(0), i, BEYOND, False
    value, stop = parse_short_number(text, i)
    if stop >= 0:
        return index, value, stop, NO_ERROR, False
    value, stop, status = parse_number(text, i)
    return index, value, stop, _number_error(status, VALUE), status == DOUBT


@kernel
def _number_error(status: Any, otherwise: Any) -> int:
    if status == NOT_NUMBER:
        return otherwise
    return FINITE if status == NOT_FINITE else NO_ERROR


@kernel
def _same_bytes(text: Any, a: Any, b: Any, n: Any) -> bool:
    k = 0
    while k < n and load_byte(text, a + k) == load_byte(text, b + k):
        k += 1
    return k == n


@kernel
def _name_span(text: Any, i: Any, stop: Any, whole: Any) -> tuple[int, int]:
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


@kernel
def parse_block(
    block: Any,
    has_qid: Any,
    name_mode: Any,
    n_features: Any,
    y: Any,
    X: Any,
    data: Any,
    indices: Any,
    indptr: Any,
    runs: Any,
    names: Any,
    doubts: Any,
    state: Any,
) -> None:
    """Fill the arrays of one block, or report the first error in `state`.

    Parameters
    ----------
    block : (n_bytes,) uint8
        Whole lines; the last byte is a newline, and ``words.PADDING`` more bytes can be read.
    has_qid : bool
        Whether each line must have, or must not have, ``qid:``.
    name_mode : int
        0 ignores comments, 1 keeps the ``docid``, 2 the whole comment.
    n_features : int
        Largest index allowed.
    y, X : (n_rows,), (n_rows, n_features) float32
        Labels and dense features; X has no column when CSR is filled instead.
    data, indices, indptr : (n_entries,), (n_entries,), (n_rows,)
        CSR; `indptr` holds the end of each row, counted from the block's first entry.
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
    text = block.ctypes.data
    dense = X.shape[1] > 0
    i, stop, row, entry, run, name, doubt = 0, len(block), 0, 0, 0, 0, 0
    last_min, last_max, comments = MAX_INDEX + 1, 0, 0
    qid, qid_size, error, start = 0, -1, NO_ERROR, 0
    while i < stop:
        start = i = skip_spaces(text, i)
        if load_byte(text, i) == 10 or load_byte(text, i) == 35:  # blank, or only a comment
            i = line_end(text, i) + 1
            continue
        if row == len(y):
            error = CHANGED
            break

        y[row], i, status = parse_number(text, i)
        error = _number_error(status, LABEL)
        if status == DOUBT:
            if doubt == len(doubts):
                error = MORE_DOUBTS
            else:
                doubts[doubt, 0], doubts[doubt, 1], doubts[doubt, 2] = start, i, -1 - row
                doubt += 1
        if error != NO_ERROR:
            break

        start = i = skip_spaces(text, i)
        if (load_word(text, i) & _QID_MASK == _QID_WORD) != has_qid:
            error = NO_QID if has_qid else UNEXPECTED_QID
            break
        if has_qid:
            i = token_end(text, start + 4)
            size = i - start - 4
            if size == 0:
                error = EMPTY_QID
                break
            if size != qid_size or not _same_bytes(text, qid, start + 4, size):
                qid, qid_size = start + 4, size
                runs[run, 0], runs[run, 1], runs[run, 2] = row, qid, i
                run += 1

        previous = 0
        while True:
            start = i = skip_spaces(text, i)
            if load_byte(text, i) == 10 or load_byte(text, i) == 35:
                break
            previous, value, i, error, doubtful = _pair(text, i, previous, n_features)
            if doubtful and doubt == len(doubts):
                error = MORE_DOUBTS
            if error == NO_ERROR and not dense and entry == len(data):
                error = CHANGED
            if error != NO_ERROR:
                break
            if doubtful:
                place = row * X.shape[1] + previous - 1 if dense else entry
                doubts[doubt, 0], doubts[doubt, 1], doubts[doubt, 2] = start, i, place
                doubt += 1
            if dense:
                X[row, previous - 1] = value
            else:
                data[entry] = value
                indices[entry] = previous - 1
            entry += 1
        if error != NO_ERROR:
            break

        if not dense:
            indptr[row] = entry
        last_min, last_max = min(last_min, previous), max(last_max, previous)
        end = line_end(text, i)
        comments += end > i
        if name_mode > 0:
            if end > i:
                first, last = _name_span(text, i + 1, end, name_mode == 2)
                for k in range(first, last):
                    names[name] = load_byte(text, k)
                    name += 1
            names[name] = 10
            name += 1
        i = end + 1
        row += 1
    state[ROWS], state[NONZEROS], state[RUNS], state[NAMES], state[DOUBTS] = row, entry, run, name, doubt
    state[LAST_MIN], state[LAST_MAX], state[COMMENTS] = last_min, last_max, comments
    state[ERROR], state[START] = error, start
