"""Text in Python objects, told apart where CPython keeps it.

A column of objects may hold a string object of its own for every id. ``pandas.factorize`` takes 43 ms for a
million of them, twice as long as everything else of a Bradley-Terry fit together: each is fetched, asked for
its hash, and compared. A kernel reads the same bytes in 10 ms.

    offset  0          8        16       24     32      header
            count      type     length   hash   state   characters, and a zero

An ASCII string is such an object, and its characters follow the header. Nothing promises that. So `_layout`
compares real strings with this picture before anything is read, and where one does not look so (another
interpreter, another build), `code_text` declines, as it does of any object that is not an ASCII string.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable
from functools import cache, reduce
from operator import and_, or_
from typing import NamedTuple

import numpy as np

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.splitmix import scramble
from lambdamart_kit.core.typing import Array, IndexArray
from lambdamart_kit.datasets.letor.byte_scan import load_word

_TYPE, _LENGTH, _STATE = 8, 16, 32
_TABLE_BITS = 15
_MOST_TEXTS = 1 << 13  # distinct texts up to which they are worth telling apart here


class _Layout(NamedTuple):
    """Address of the type `str`, the bits of the state that say "ASCII, behind the header", and its size."""

    kind: int
    flags: int
    header: int


class _Subclass(str):
    """A string whose characters are not behind its header."""

    __slots__ = ()


def _word(value: object, offset: int) -> int:
    """Eight bytes of an object."""
    return int.from_bytes(ctypes.string_at(id(value) + offset, 8), sys.byteorder)


@cache
def _layout() -> _Layout | None:
    """Where strings have what, found out from some; None where they are not as in the picture above."""
    header = sys.getsizeof("") - 1
    if sys.implementation.name != "cpython" or sys.byteorder != "little" or sys.maxsize < 2**32:
        return None
    if header % 8 or not _STATE + 8 <= header <= 64:
        return None
    plain = ["ab", "a b\n\t~", "x" * 100, *map(str, range(64)), *(f"model-{i:09d}" for i in range(64))]
    latin = [f"\xe9{i}" for i in range(64)]
    derived = [_Subclass(i) for i in range(64)]
    # What all ASCII strings have, and no string of Latin letters, or of a subclass. Bits of the state that
    # mean nothing are as the memory was, so one string of each would not do.
    common = _all_of(_word(text, _STATE) for text in plain)
    ascii_only = common & ~_any_of(_word(text, _STATE) for text in latin)
    behind = common & ~_any_of(_word(text, _STATE) for text in derived)
    if ascii_only.bit_count() != 1 or behind.bit_count() != 1:
        return None
    layout = _Layout(id(str), ascii_only | behind, header)
    others = [*latin, *derived, "a\u20ac", "\U0001f600b", b"abc", None, 1.5]
    known = all(_is_plain(text, layout) for text in plain) and not any(_is_plain(v, layout) for v in others)
    right = all(_word(text, _LENGTH) == len(text) and _characters(text, header) == text for text in plain)
    return layout if known and right else None


def _all_of(states: Iterable[int]) -> int:
    return reduce(and_, states, 2**32 - 1)


def _any_of(states: Iterable[int]) -> int:
    return reduce(or_, states, 0)


def _is_plain(value: object, layout: _Layout) -> bool:
    # The state is read of strings only: another object may be shorter.
    is_text = _word(value, _TYPE) == layout.kind
    return is_text and _word(value, _STATE) & layout.flags == layout.flags


def _characters(text: str, header: int) -> str:
    return ctypes.string_at(id(text) + header, len(text)).decode("latin-1")


def code_text(objects: Array) -> tuple[Array, IndexArray]:
    """Code of the text of each row, and a row of each; no rows if they hold anything but few ASCII strings.

    Parameters
    ----------
    objects : (n,) array of object

    Returns
    -------
    codes : (n,) int32
        In order of appearance.
    first : (n_distinct,) intp

    Examples
    --------
    >>> codes, first = code_text(np.array(["b", "a", "b"], dtype=object))
    >>> codes.tolist(), first.tolist()
    ([0, 1, 0], [0, 1])
    """
    codes = np.empty(len(objects), dtype=np.int32)
    first = np.empty(_MOST_TEXTS, dtype=np.intp)
    layout = _layout()
    if layout is None:
        return codes, first[:0]
    n_distinct = _code_texts(addresses_of(objects), layout, codes, first)
    return codes, first[:n_distinct]


class _Addresses:
    """The addresses of an array of objects, for NumPy to look at; the array must outlive it."""

    def __init__(self, objects: Array) -> None:
        description = dict(objects.__array_interface__)
        self.__array_interface__ = {**description, "typestr": np.dtype(np.intp).str, "descr": []}


def addresses_of(objects: Array) -> Array:
    """Where the objects of an array are, (n,) intp; the array must outlive it."""
    return np.asarray(_Addresses(objects))


@kernel
def _hash(address: int, header: int, length: int) -> np.uint64:
    """Hash of the characters, eight at a time."""
    value = np.uint64(length)
    whole = length // 8
    for at in range(whole):
        value = scramble(value ^ load_word(address, header + 8 * at))
    # Objects begin at multiples of eight, and so do these words: the last lies in the memory of the object.
    rest = np.uint64(8 * (length - 8 * whole))
    last = load_word(address, header + 8 * whole) & ((np.uint64(1) << rest) - np.uint64(1))
    return scramble(value ^ last)


@kernel
def _equal(a: int, b: int, header: int, length: int) -> bool:
    """Whether two texts of one length have the same characters."""
    whole = length // 8
    for at in range(whole):
        if load_word(a, header + 8 * at) != load_word(b, header + 8 * at):
            return False
    rest = np.uint64(8 * (length - 8 * whole))
    differ = load_word(a, header + 8 * whole) ^ load_word(b, header + 8 * whole)
    return differ & ((np.uint64(1) << rest) - np.uint64(1)) == 0


# The interpreter's lock is held, or another thread might take an object away while it is read. To keep all
# objects alive by a copy of the array takes longer than two threads would save.
@kernel(nogil=False)
def _code_texts(addresses: Array, layout: _Layout, codes: Array, first: Array) -> int:
    """Number texts as they first come, in an open hash table; 0 for too many, or if one is not plain text."""
    size = np.uint64(1) << np.uint64(_TABLE_BITS)
    slots = np.full(size, np.int32(-1))
    hashes = np.empty(len(first), dtype=np.uint64)
    flags = np.uint64(layout.flags)
    n_distinct = 0
    for row in range(len(addresses)):
        address = np.int64(addresses[row])
        if load_word(address, _TYPE) != np.uint64(layout.kind):
            return 0
        if load_word(address, _STATE) & flags != flags:
            return 0
        length = np.int64(load_word(address, _LENGTH))
        value = _hash(address, layout.header, length)
        at = value >> np.uint64(64 - _TABLE_BITS)
        while True:
            code = slots[at]
            if code < 0:
                if n_distinct == len(first):
                    return 0
                code = n_distinct
                slots[at], hashes[code], first[code] = code, value, row
                n_distinct += 1
                break
            known = np.int64(addresses[first[code]])
            same = hashes[code] == value and np.int64(load_word(known, _LENGTH)) == length
            if same and _equal(address, known, layout.header, length):
                break
            at = (at + np.uint64(1)) & (size - np.uint64(1))
        codes[row] = code
    return n_distinct
