"""Kernels between LETOR text and arrays, one block of whole lines at a time.

A line is ``label qid:id index:value ... # comment``. `scan_block` counts what has to be allocated; `parse_block`
checks and fills; `format_rows` is the way back. All three work on bytes and hold no Python object.

Rounding. A value is what ``numpy.float32(float(text))`` gives. With at most 19 digits the mantissa m is an exact
integer; if m < 2**53 and the power of ten is at most 22, one float64 operation is correctly rounded. Anything
else is computed to within 4 units in the last place of a float64, and is certain all the same when both ends of
that interval round to one float32. The few that are not (1 in 10**7 of long decimals) are handed back as
*doubts* for Python to settle.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lambdamart_kit.core.jit import kernel
from lambdamart_kit.datasets.words import digits_value, leading_digits, load_byte, load_word

POWERS = np.array([float(f"1e{k}") for k in range(309)])
MAX_INDEX = 2**31 - 2

# Positions in the `state` array that kernels report through.
ROWS, NONZEROS, LAST_MIN, LAST_MAX, COMMENTS, RUNS, NAMES, DOUBTS, ERROR, START = range(10)
STATE_SIZE = 10

# What can be wrong with a line. `LABEL`, `VALUE`: not a number; `FINITE`: NaN, infinite or too large for float32.
NO_ERROR, LABEL, NO_QID, UNEXPECTED_QID, EMPTY_QID, PAIR, ZERO, REPEATED, DESCENDING, HUGE, VALUE, FINITE = range(12)  # fmt: skip
BEYOND = 12  # index above the declared number of features
MORE_DOUBTS = 13  # not an error: call again with room for more

# "17:" as a word, its mask and its length: in dense files the next index is nearly always the last plus one.
_N_KEYS = 1024
_KEYS = [f"{k}:".encode() for k in range(_N_KEYS)]
_KEY_WORD = np.array([int.from_bytes(k, "little") for k in _KEYS], np.uint64)
_KEY_MASK = np.array([(1 << 8 * len(k)) - 1 for k in _KEYS], np.uint64)
_KEY_SIZE = np.array([len(k) for k in _KEYS], np.int64)
_UNITS = np.array([10**k for k in range(8)], np.uint64)

_MARGIN = 8 * 2.0**-52
_FLOAT32_MAX = 3.4028235677973366e38  # from here on values round to infinity

_NUMBER, _NOT_NUMBER, _NOT_FINITE, _DOUBT = 0, 1, 2, 3


@kernel
def _ends_token(c: Any) -> Any:
    return c == 32 or c == 10 or c == 9 or c == 13 or c == 35


@kernel
def count_lines(text: Any) -> Any:
    """Newlines in `text`."""
    n = 0
    for i in range(len(text)):
        n += text[i] == 10
    return n


@kernel
def scan_block(block: Any, state: Any) -> None:
    """Count rows and entries, and find the largest index that ends a row."""
    text = block.ctypes.data
    rows, colons, last_max = 0, 0, 0
    i, stop = 0, len(block)
    while i < stop:
        c = load_byte(text, i)
        while c == 32 or c == 9 or c == 13:
            i += 1
            c = load_byte(text, i)
        rows += c != 10 and c != 35
        colon = -1
        while c != 10 and c != 35:
            if c == 58 and load_byte(text, i - 1) == 100:  # "qid:": the id may hold colons of its own
                while not _ends_token(load_byte(text, i)):
                    i += 1
                c = load_byte(text, i)
                continue
            if c == 58:
                colon = i
                colons += 1
            i += 1
            c = load_byte(text, i)
        index, scale, j = 0, 1, colon - 1
        while j >= 0 and 48 <= load_byte(text, j) <= 57 and scale <= 10_000_000_000:
            index += np.int64(load_byte(text, j) - 48) * scale
            scale *= 10
            j -= 1
        last_max = max(last_max, index)
        while load_byte(text, i) != 10:
            i += 1
        i += 1
    state[ROWS], state[NONZEROS], state[LAST_MAX] = rows, colons, last_max


@kernel
def _exponent(text: Any, i: Any) -> Any:
    """Value of ``e+12`` at `i`, saturated, and the position behind it; -1 there if malformed."""
    i += 1
    negative = load_byte(text, i) == 45
    if negative or load_byte(text, i) == 43:
        i += 1
    first, value = i, 0
    while 48 <= load_byte(text, i) <= 57:
        value = min(value * 10 + np.int64(load_byte(text, i) - 48), 1_000_000_000)
        i += 1
    return (-value if negative else value), (i if i > first else -1)


@kernel
def _long_mantissa(text: Any, i: Any) -> Any:
    """First 19 significant digits from `i`, and the power of ten that stands for the others."""
    mantissa, digits, power, after_point = np.uint64(0), 0, 0, False
    while True:
        c = load_byte(text, i)
        if c == 46:
            after_point = True
        elif 48 <= c <= 57:
            if digits < 19:
                mantissa = mantissa * np.uint64(10) + np.uint64(c - 48)
                digits += mantissa > 0
                power -= after_point
            else:
                power += not after_point
        else:
            return mantissa, power
        i += 1


@kernel
def _scaled(mantissa: Any, power: Any) -> Any:
    """``mantissa * 10**power`` within 4 ulp; inf and 0 stand for what no float32 can hold."""
    value = float(mantissa)
    if power > 40:
        return np.inf if mantissa > 0 else 0.0
    if power < -80:
        return 0.0
    return value * POWERS[power] if power >= 0 else value / POWERS[-power]


@kernel
def number(text: Any, i: Any) -> Any:
    """Parse the number at `i`: its value as float32, the position behind it, and how it went."""
    first = i
    c = load_byte(text, i)
    negative = c == 45
    if negative or c == 43:
        i += 1
        c = load_byte(text, i)
    digits_at = i
    mantissa = np.uint64(0)
    while 48 <= c <= 57:
        mantissa = mantissa * np.uint64(10) + np.uint64(c - 48)
        i += 1
        c = load_byte(text, i)
    digits, power = i - digits_at, 0
    if c == 46:
        i += 1
        point = i
        c = load_byte(text, i)
        while 48 <= c <= 57:
            mantissa = mantissa * np.uint64(10) + np.uint64(c - 48)
            i += 1
            c = load_byte(text, i)
        power = point - i
        digits += i - point
    if digits == 0:
        return np.float32(0), first, _NOT_FINITE if _spells_non_finite(text, digits_at) else _NOT_NUMBER
    if digits > 19:
        mantissa, power = _long_mantissa(text, digits_at)
    if c == 101 or c == 69:
        exponent, i = _exponent(text, i)
        if i < 0:
            return np.float32(0), first, _NOT_NUMBER
        power += exponent
    if not _ends_token(load_byte(text, i)):
        return np.float32(0), first, _NOT_NUMBER
    status = _NUMBER
    if power == 0 and mantissa <= np.uint64(2**53):
        value = float(mantissa)
    elif mantissa <= np.uint64(2**53) and -22 <= power <= 22:
        value = float(mantissa) / POWERS[-power] if power < 0 else float(mantissa) * POWERS[power]
    else:
        value = _scaled(mantissa, power)
        if np.float32(value * (1 - _MARGIN)) != np.float32(value * (1 + _MARGIN)):
            status = _DOUBT
    if value >= _FLOAT32_MAX and status == _NUMBER:
        status = _NOT_FINITE
    return np.float32(-value if negative else value), i, status


@kernel
def _short_number(text: Any, i: Any) -> Any:
    """The usual number, ``-?d+(.d+)?`` with at most 7 digits on either side, and what is behind; -1 if another."""
    negative = load_byte(text, i) == 45
    i += negative
    word = load_word(text, i)
    n = leading_digits(word)
    if n == 0 or n == 8:
        return np.float32(0), -1
    mantissa = digits_value(word, n)
    i += n
    c = load_byte(text, i)
    value = float(mantissa)
    if c == 46:
        word = load_word(text, i + 1)
        n = leading_digits(word)
        if n == 0 or n == 8:
            return np.float32(0), -1
        mantissa = mantissa * _UNITS[n] + digits_value(word, n)
        value = float(mantissa) / POWERS[n]
        i += n + 1
        c = load_byte(text, i)
    if c != 32 and c != 10:
        return np.float32(0), -1
    return np.float32(-value if negative else value), i


@kernel
def _spells_non_finite(text: Any, i: Any) -> Any:
    """Whether ``nan`` or ``inf`` in any case starts here."""
    a, b, c = load_byte(text, i) | 32, 0, 0
    if a == 110 or a == 105:
        b = load_byte(text, i + 1) | 32
        if b == 97 or b == 110:
            c = load_byte(text, i + 2) | 32
    return (a == 110 and b == 97 and c == 110) or (a == 105 and b == 110 and c == 102)


@kernel
def _copy_name(text: Any, i: Any, whole: Any, names: Any, at: Any) -> Any:
    """Copy the comment at `i` (or its ``docid = name``) and a newline to `names`; return both new positions."""
    while load_byte(text, i) == 32 or load_byte(text, i) == 9 or load_byte(text, i) == 13:
        i += 1
    stop = i
    while load_byte(text, stop) != 10:
        stop += 1
    line_end = stop
    while stop > i and (
        load_byte(text, stop - 1) == 32 or load_byte(text, stop - 1) == 9 or load_byte(text, stop - 1) == 13
    ):
        stop -= 1
    if not whole and stop - i > 5 and load_byte(text, i) == 100 and load_byte(text, i + 1) == 111 and load_byte(text, i + 2) == 99 \
            and load_byte(text, i + 3) == 105 and load_byte(text, i + 4) == 100:  # fmt: skip
        j = i + 5
        while load_byte(text, j) == 32 or load_byte(text, j) == 9:
            j += 1
        if load_byte(text, j) == 61:
            j += 1
            while load_byte(text, j) == 32 or load_byte(text, j) == 9:
                j += 1
            if j < stop:
                i = j
                while (
                    j < stop
                    and load_byte(text, j) != 32
                    and load_byte(text, j) != 9
                    and load_byte(text, j) != 13
                ):
                    j += 1
                stop = j
    for j in range(i, stop):
        names[at] = load_byte(text, j)
        at += 1
    names[at] = 10
    return line_end, at + 1


@kernel
def _feature_index(text: Any, i: Any, previous: Any) -> Any:
    """The index at `i`, the position behind its colon, and what is wrong with it."""
    start, index = i, 0
    while 48 <= load_byte(text, i) <= 57 and index <= MAX_INDEX:
        index = index * 10 + np.int64(load_byte(text, i) - 48)
        i += 1
    if index > MAX_INDEX:
        return index, i, HUGE
    if load_byte(text, i) != 58 or i == start:
        return index, i, PAIR
    if index <= previous:
        return index, i, ZERO if index == 0 else (REPEATED if index == previous else DESCENDING)
    return index, i + 1, NO_ERROR


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
        Start and stop of each doubtful number, and its place: row for a label (as ``-1 - row``), else the flat
        position in X or in `data`.
    state : (STATE_SIZE,) int64
        Counts and the error.
    """
    text = block.ctypes.data
    dense = X.shape[1] > 0
    i, stop, row, entry, run, name, doubt = 0, len(block), 0, 0, 0, 0, 0
    qid_start, qid_stop = 0, 0
    last_min, last_max, comments = MAX_INDEX + 1, 0, 0
    error, start = NO_ERROR, 0
    while i < stop:
        c = load_byte(text, i)
        while c == 32 or c == 9 or c == 13:
            i += 1
            c = load_byte(text, i)
        if c == 10 or c == 35:  # blank line, or one that is only a comment
            while load_byte(text, i) != 10:
                i += 1
            i += 1
            continue
        start = i
        value, i, status = number(text, i)
        if status == _NOT_NUMBER or status == _NOT_FINITE:
            error = LABEL if status == _NOT_NUMBER else FINITE
            break
        if status == _DOUBT:
            if doubt == len(doubts):
                error = MORE_DOUBTS
                break
            doubts[doubt, 0], doubts[doubt, 1], doubts[doubt, 2] = start, i, -1 - row
            doubt += 1
        y[row] = value
        while load_byte(text, i) == 32 or load_byte(text, i) == 9 or load_byte(text, i) == 13:
            i += 1
        start = i
        if (
            load_byte(text, i) == 113
            and load_byte(text, i + 1) == 105
            and load_byte(text, i + 2) == 100
            and load_byte(text, i + 3) == 58
        ):
            if not has_qid:
                error = UNEXPECTED_QID
                break
            start = i = i + 4
            while not _ends_token(load_byte(text, i)):
                i += 1
            if i == start:
                start -= 4
                error = EMPTY_QID
                break
            same = row > 0 and i - start == qid_stop - qid_start
            if same:
                for j in range(i - start):
                    if load_byte(text, start + j) != load_byte(text, qid_start + j):
                        same = False
                        break
            if not same:
                runs[run, 0], runs[run, 1], runs[run, 2] = row, start, i
                run += 1
            qid_start, qid_stop = start, i
        elif has_qid:
            error = NO_QID
            break
        previous = 0
        while True:
            c = load_byte(text, i)
            while c == 32 or c == 9 or c == 13:
                i += 1
                c = load_byte(text, i)
            if c == 10 or c == 35:
                break
            start = i
            index = previous + 1
            if index < _N_KEYS and load_word(text, i) & _KEY_MASK[index] == _KEY_WORD[index]:
                i += _KEY_SIZE[index]
            else:
                index, i, error = _feature_index(text, i, previous)
                if error != NO_ERROR:
                    break
            if index > n_features:
                error = BEYOND
                break
            value_at = i
            value, i = _short_number(text, value_at)
            status = _NUMBER
            if i < 0:
                value, i, status = number(text, value_at)
            if status == _NOT_NUMBER or status == _NOT_FINITE:
                error = VALUE if status == _NOT_NUMBER else FINITE
                break
            if status == _DOUBT:
                if doubt == len(doubts):
                    error = MORE_DOUBTS
                    break
                place = row * X.shape[1] + index - 1 if dense else entry
                doubts[doubt, 0], doubts[doubt, 1], doubts[doubt, 2] = start, i, place
                doubt += 1
            if dense:
                X[row, index - 1] = value
            else:
                data[entry] = value
                indices[entry] = index - 1
            entry += 1
            previous = index
        if error != NO_ERROR:
            break
        last_min, last_max = min(last_min, previous), max(last_max, previous)
        comments += load_byte(text, i) == 35
        if not dense:
            indptr[row] = entry
        if name_mode > 0:
            if load_byte(text, i) == 35:
                i, name = _copy_name(text, i + 1, name_mode == 2, names, name)
            else:
                names[name] = 10
                name += 1
        else:
            while load_byte(text, i) != 10:
                i += 1
        i += 1
        row += 1
    state[ROWS], state[NONZEROS], state[RUNS], state[NAMES], state[DOUBTS] = row, entry, run, name, doubt
    state[LAST_MIN], state[LAST_MAX], state[COMMENTS] = last_min, last_max, comments
    state[ERROR], state[START] = error, start


@kernel
def _put_digits(value: Any, width: Any, out: Any, at: Any) -> Any:
    """Write the integer `value` with at least `width` digits; return the position behind it."""
    rest, length = value, 1
    while rest >= 10:
        rest //= 10
        length += 1
    length = max(length, width)
    for k in range(length):
        out[at + length - 1 - k] = 48 + value % 10
        value //= 10
    return at + length


@kernel
def put_number(value: Any, out: Any, at: Any) -> Any:
    """Write the fewest decimals that `number` reads back as this very float32; return the position behind."""
    x = float(value)
    if x < 0 or (x == 0 and 1 / x < 0):
        out[at] = 45
        at += 1
        x = -x
    if x < 1e15:
        for decimals in range(11):
            scaled = np.rint(x * POWERS[decimals])
            if scaled > 2.0**53:
                break
            if np.float32(scaled / POWERS[decimals]) == np.float32(x):
                whole = np.int64(scaled)
                if decimals == 0:
                    return _put_digits(whole, 1, out, at)
                unit = np.int64(POWERS[decimals])
                at = _put_digits(whole // unit, 1, out, at)
                out[at] = 46
                return _put_digits(whole % unit, decimals, out, at + 1)
    power = np.int64(np.floor(np.log10(x))) - 8
    mantissa = np.int64(np.rint(x * POWERS[-power] if power < 0 else x / POWERS[power]))
    at = _put_digits(mantissa, 1, out, at)
    out[at] = 101
    at += 1
    if power < 0:
        out[at] = 45
        at += 1
    return _put_digits(abs(power), 1, out, at)


@kernel
def format_rows(
    y: Any,
    X: Any,
    data: Any,
    indices: Any,
    indptr: Any,
    head: Any,
    head_ptr: Any,
    tail: Any,
    tail_ptr: Any,
    out: Any,
) -> Any:
    """Write one line a row to `out`: label, its `head` bytes, features (dense X, or CSR), its `tail` bytes.

    Returns the number of bytes written. Features of dense rows are all written; NaN is written as absent.
    """
    at = 0
    dense = X.shape[1] > 0
    for row in range(len(y)):
        at = put_number(y[row], out, at)
        for j in range(head_ptr[row], head_ptr[row + 1]):
            out[at] = head[j]
            at += 1
        n = X.shape[1] if dense else indptr[row + 1] - indptr[row]
        for k in range(n):
            column = k if dense else indices[indptr[row] + k]
            value = X[row, k] if dense else data[indptr[row] + k]
            if value == value:
                out[at] = 32
                at = _put_digits(column + 1, 1, out, at + 1)
                out[at] = 58
                at = put_number(value, out, at + 1)
        for j in range(tail_ptr[row], tail_ptr[row + 1]):
            out[at] = tail[j]
            at += 1
        out[at] = 10
        at += 1
    return at
