"""Eight bytes at a time: the word tricks behind the LETOR parser.

A word holds the eight bytes from a position on, the first in its lowest byte. Bytes behind the end of the
text are read too, so a buffer needs ``PADDING`` of them. Text is passed on by its address: an array would be
reference-counted at every call, which costs more than the work done there (measured: twice the time).
"""

from __future__ import annotations

import sys

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from lambdamart_kit.compile import kernel
from lambdamart_kit.compile.typing import NumbaObject

PADDING = 16

_ZEROS = np.uint64(0x3030303030303030)
_TO_HIGH = np.uint64(0x7676767676767676)
_HIGH = np.uint64(0x8080808080808080)
_NIBBLES = np.uint64(0x0F0F0F0F0F0F0F0F)
_BYTES = np.uint64(0x00FF00FF00FF00FF)
_PAIRS = np.uint64(0x0000FFFF0000FFFF)


@intrinsic
def load_byte(typing_context: NumbaObject, text: NumbaObject, position: NumbaObject) -> NumbaObject:
    """The byte at `position` of the text at address `text`, with neither bounds check nor wrap-around."""
    return types.uint8(types.intp, types.intp), _loader(8)


@intrinsic
def load_word(typing_context: NumbaObject, text: NumbaObject, position: NumbaObject) -> NumbaObject:
    """The little-endian word of the eight bytes from `position` on, aligned or not."""
    return types.uint64(types.intp, types.intp), _loader(64)


def _loader(width: int) -> NumbaObject:
    def generate(
        context: NumbaObject, builder: NumbaObject, signature: NumbaObject, arguments: NumbaObject
    ) -> NumbaObject:
        kind = ir.IntType(width)
        address = builder.inttoptr(builder.add(*arguments), kind.as_pointer())
        word = builder.load(address)
        word.align = 1
        return word if width == 8 or sys.byteorder == "little" else builder.bswap(word)

    return generate


@intrinsic
def trailing_zeros(typing_context: NumbaObject, word: NumbaObject) -> NumbaObject:
    """Zero bits below the lowest set bit; 64 of zero."""
    signature = types.int64(types.uint64)

    def generate(
        context: NumbaObject, builder: NumbaObject, signature: NumbaObject, arguments: NumbaObject
    ) -> NumbaObject:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return signature, generate


@kernel
def leading_digits(word: int) -> np.uint64:
    """How many of the word's bytes, from the first on, are digits."""
    x = word ^ _ZEROS
    return trailing_zeros(((x + _TO_HIGH) | x) & _HIGH) >> 3


@kernel
def digits_value(word: int, n: int) -> np.uint64:
    """Value of the word's first `n` digits, 1 to 8: summed in pairs, then fours, then eights at once."""
    x = (word << np.uint64(64 - 8 * n)) & _NIBBLES
    x = (x * np.uint64(2561)) >> np.uint64(8)
    x = ((x & _BYTES) * np.uint64(6553601)) >> np.uint64(16)
    return ((x & _PAIRS) * np.uint64(42949672960001)) >> np.uint64(32)


@kernel
def is_space(c: int) -> bool:
    """Blank, tab or carriage return: what separates tokens of a line."""
    return c == 32 or c == 9 or c == 13


@kernel
def ends_token(c: int) -> bool:
    """Space, newline or the ``#`` of a comment."""
    return c == 32 or c == 10 or c == 9 or c == 13 or c == 35


@kernel
def skip_spaces(text: int, i: int) -> int:
    """First position from `i` on that is no space."""
    while is_space(load_byte(text, i)):
        i += 1
    return i


@kernel
def token_end(text: int, i: int) -> int:
    """First position from `i` on that ends a token."""
    while not ends_token(load_byte(text, i)):
        i += 1
    return i


@kernel
def line_end(text: int, i: int) -> int:
    """Position of the next newline."""
    while load_byte(text, i) != 10:
        i += 1
    return i
