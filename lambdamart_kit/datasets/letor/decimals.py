"""Decimal text to float32 and back, in kernels.

A number is what ``numpy.float32(float(text))`` gives. With at most 19 digits the mantissa is an exact
integer; when it is also below 2**53 and the power of ten at most 22, one float64 operation is correctly
rounded. Anything else is computed to within 4 units in the last place of a float64, and is certain all the
same when both ends of that interval round to one float32. The few that are not (1 in 10**7 of long decimals)
are *doubts*, which the caller hands to Python.
"""

from __future__ import annotations

import numpy as np

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.typing import Array
from lambdamart_kit.datasets.letor.byte_scan import (
    digits_value,
    ends_token,
    leading_digits,
    load_byte,
    load_word,
)

NUMBER, NOT_NUMBER, NOT_FINITE, DOUBT = 0, 1, 2, 3

_POWERS = np.array([float(f"1e{k}") for k in range(81)])
_UNITS = np.array([10**k for k in range(8)], np.uint64)
_DIGIT_BLANK = np.uint64(int.from_bytes(b"0 ", "little"))
_TWO_BYTES = np.uint64(0xFFFF)
_EXACT = np.uint64(2**53)
_MARGIN = 8 * 2.0**-52
_OVERFLOW = 2.0**128 - 2.0**103  # from here on values round to infinity in float32


@kernel
def _exponent(text: int, i: int) -> tuple[int, int]:
    """Value of the ``e-12`` at `i`, saturated, and the position behind it; -1 there if malformed."""
    i += 1
    negative = load_byte(text, i) == 45
    if negative or load_byte(text, i) == 43:
        i += 1
    first, value = i, 0
    while 48 <= load_byte(text, i) <= 57:
        value = min(value * 10 + load_byte(text, i) - 48, 1_000_000_000)
        i += 1
    return (-value if negative else value), (i if i > first else -1)


@kernel
def _long_mantissa(text: int, i: int) -> tuple[np.uint64, int]:
    """First 19 significant digits from `i`, and the power of ten that stands for the others."""
    mantissa, digits, power, after_point = np.uint64(0), 0, 0, False
    while True:
        c = load_byte(text, i)
        if c == 46:
            after_point = True
        elif 48 <= c <= 57:
            if digits < 19:
                mantissa = mantissa * np.uint64(10) + np.uint64(c - 48)
                digits += 1 if mantissa > 0 else 0
                power -= 1 if after_point else 0
            else:
                power += 0 if after_point else 1
        else:
            return mantissa, power
        i += 1


@kernel
def _spells_non_finite(text: int, i: int) -> bool:
    """Whether ``nan`` or ``inf`` in any case starts at `i`."""
    word = (load_word(text, i) | np.uint64(0x202020)) & np.uint64(0xFFFFFF)
    return word == np.uint64(0x6E616E) or word == np.uint64(0x666E69)


@kernel
def _rounded(mantissa: int, power: int) -> tuple[float, bool]:
    """``mantissa * 10**power`` as float64, and whether its float32 is certain."""
    value = float(mantissa)
    if mantissa <= _EXACT and -22 <= power <= 22:
        return (value * _POWERS[power] if power >= 0 else value / _POWERS[-power]), True
    if power > 40:  # no mantissa but 0 is small enough
        return (np.inf if mantissa > 0 else 0.0), True
    if power < -80:  # no mantissa is large enough
        return 0.0, True
    value = value * _POWERS[power] if power >= 0 else value / _POWERS[-power]
    return value, np.float32(value * (1 - _MARGIN)) == np.float32(value * (1 + _MARGIN))


@kernel
def _digits(text: int, i: int, mantissa: np.uint64) -> tuple[np.uint64, int]:
    """Append the digits at `i` to `mantissa`; the result wraps around after 19 of them."""
    c = load_byte(text, i)
    while 48 <= c <= 57:
        mantissa = mantissa * np.uint64(10) + np.uint64(c - 48)
        i += 1
        c = load_byte(text, i)
    return mantissa, i


@kernel
def parse_number(text: int, i: int) -> tuple[np.float32, int, int]:
    """Parse the number at `i`: its float32, the position behind it, and how it went."""
    first = i
    negative = load_byte(text, i) == 45
    if negative or load_byte(text, i) == 43:
        i += 1
    start = i
    mantissa, i = _digits(text, i, np.uint64(0))
    n_digits, power = i - start, 0
    if load_byte(text, i) == 46:
        point = i + 1
        mantissa, i = _digits(text, point, mantissa)
        power = point - i
        n_digits -= power
    if n_digits == 0:
        return np.float32(0), first, NOT_FINITE if _spells_non_finite(text, start) else NOT_NUMBER
    if n_digits > 19:
        mantissa, power = _long_mantissa(text, start)
    if load_byte(text, i) | 32 == 101:
        exponent, i = _exponent(text, i)
        power += exponent
    if i < 0 or not ends_token(load_byte(text, i)):
        return np.float32(0), first, NOT_NUMBER
    value, certain = _rounded(mantissa, power)
    status = NUMBER if certain else DOUBT
    if certain and value >= _OVERFLOW:
        status = NOT_FINITE
    return np.float32(-value if negative else value), i, status


@kernel
def parse_short_number(text: int, i: int) -> tuple[np.float32, int]:
    """The usual number, ``-?d+(.d+)?`` with up to 7 digits on each side, and what is behind; else -1."""
    # One digit and a blank, which is every second number of LETOR files: 5.8 instead of 7.8 ns for a number
    # of generated MSLR. (To find end and point of any number with one comparison of 16 bytes took 9.9 ns.)
    word = load_word(text, i)
    if (word ^ _DIGIT_BLANK) & _TWO_BYTES <= np.uint64(9):
        return np.float32(np.int64(word & np.uint64(15))), i + 1
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
        value = float(mantissa) / _POWERS[n]
        i += n + 1
        c = load_byte(text, i)
    if c != 32 and c != 10:
        return np.float32(0), -1
    return np.float32(-value if negative else value), i


@kernel
def put_digits(value: int, width: int, out: Array, at: int) -> int:
    """Write the integer `value` >= 0 with at least `width` digits; return the position behind it."""
    rest, length = value // 10, 1
    while rest > 0:
        rest //= 10
        length += 1
    length = max(length, width)
    for k in range(length):
        out[at + length - 1 - k] = 48 + value % 10
        value //= 10
    return at + length


@kernel
def put_number(value: int, out: Array, at: int) -> int:
    """Write the fewest decimals that read back as this very float32; return the position behind them."""
    x = float(value)
    if x < 0 or (x == 0 and 1 / x < 0):
        out[at] = 45
        at += 1
        x = -x
    for decimals in range(11):
        scaled = np.rint(x * _POWERS[decimals])
        if scaled > 2.0**53:
            break
        if np.float32(scaled / _POWERS[decimals]) == np.float32(x):
            whole, unit = np.int64(scaled), np.int64(_POWERS[decimals])
            at = put_digits(whole // unit, 1, out, at)
            if decimals == 0:
                return at
            out[at] = 46
            return put_digits(whole % unit, decimals, out, at + 1)
    # Nine significant digits tell any two float32 apart.
    power = np.int64(np.floor(np.log10(x))) - 8
    mantissa = np.int64(np.rint(x * _POWERS[-power] if power < 0 else x / _POWERS[power]))
    at = put_digits(mantissa, 1, out, at)
    out[at] = 101
    at += 1
    if power < 0:
        out[at] = 45
        at += 1
    return put_digits(abs(power), 1, out, at)
