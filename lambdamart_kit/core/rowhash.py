"""64-bit hashes of a row's content and of a query's id, so that nothing need depend on the order of rows.

    hash(row) = sum over columns j with x_j != 0 of mix(bits(x_j) + (j + 1) * golden)   (mod 2**64)

``mix`` is the finaliser of SplitMix64. The bits are those of float32, or of float64 where float32 does not
hold the value. Zeros add nothing and the sum commutes, so a dense row and its sparse twin hash alike. Minus
zero is zero; every NaN is the same NaN.

References
----------
Steele, Lea and Flood (2014), Fast splittable pseudorandom number generators, OOPSLA.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.core.bits import bits_of
from lambdamart_kit.core.precision import feature_dtype
from lambdamart_kit.core.splitmix import next_state, scramble
from lambdamart_kit.core.typing import Array, Features
from lambdamart_kit.runtime.threads import balanced_bounds, run_tasks

# The step between SplitMix64's states. A value in column j gets output j + 1 of the stream that starts at
# its bits, so equal values in different columns have unrelated hashes.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_NAN = np.uint32(0x7FC00000)  # the quiet NaN that all others are hashed as
# Texts that are hashed as the int64 they spell: at most 18 digits, and ".0" as str() writes whole floats.
_WHOLE_NUMBER = re.compile(r"(0|-?[1-9][0-9]{0,17})(\.0)?")


def row_hashes(X: Features, *, n_threads: int = 1) -> Array:
    """Hash of each row of an array or CSR matrix of floats, (n_samples,) uint64.

    Examples
    --------
    >>> X = np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)
    >>> h = row_hashes(X)
    >>> bool(h[0] == h[2]), bool(h[0] == h[1])
    (True, False)
    """
    hashes = np.empty(X.shape[0], dtype=np.uint64)
    if hasattr(X, "indptr"):
        bounds = balanced_bounds(np.diff(X.indptr), n_threads)
        run_tasks(_hash_csr, bounds, n_threads, *_with_bits(X.data), X.indices, X.indptr, hashes)
    else:
        bounds = balanced_bounds(np.ones(len(X)), n_threads)
        run_tasks(_hash_dense, bounds, n_threads, *_with_bits(X), hashes)
    return hashes


def rounded_row_hashes(X: Features, *, n_threads: int = 1) -> Array:
    """Hash of each row of a float64 array or CSR matrix as it would be in float32, (n_samples,) uint64."""
    hashes = np.empty(X.shape[0], dtype=np.uint64)
    if hasattr(X, "indptr"):
        with np.errstate(over="ignore"):
            rounded = X.astype(np.float32)
        return row_hashes(rounded, n_threads=n_threads)
    bounds = balanced_bounds(np.ones(len(X)), n_threads)
    run_tasks(_hash_rounded, bounds, n_threads, np.ascontiguousarray(X, dtype=np.float64), hashes)
    return hashes


def _with_bits(values: Any) -> tuple[Array, Array]:
    """The values in the precision that holds them, and the integers their bits spell."""
    floats = np.ascontiguousarray(values, dtype=feature_dtype(values.dtype))
    return floats, floats.view(np.uint32 if floats.dtype == np.float32 else np.uint64)


def mix(values: Array) -> Array:
    """Next outputs of SplitMix64 streams in these states, (n,) uint64."""
    mixed = np.empty(len(values), dtype=np.uint64)
    _scramble_next(np.ascontiguousarray(values, dtype=np.uint64), mixed)
    return mixed


def id_hashes(ids: Array) -> Array:
    """Hash of each id, (n,) uint64: of its text, so that 7, 7.0 and "7" hash alike.

    Examples
    --------
    >>> bool(id_hashes(np.array([7]))[0] == id_hashes(np.array(["7"]))[0])
    True
    """
    if ids.dtype.kind in "iu":
        return mix(ids.astype(np.int64).view(np.uint64))
    hashes = np.empty(len(ids), dtype=np.uint64)
    for i, text in enumerate(map(str, ids.tolist())):
        whole = _WHOLE_NUMBER.fullmatch(text)
        if whole:
            hashes[i] = int(whole[1]) & 0xFFFFFFFFFFFFFFFF
        else:
            hashes[i] = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
    return mix(hashes)


@kernel(borrows=True)
def _scramble_next(states: Any, out: Any) -> None:
    for i in range(len(states)):
        out[i] = scramble(next_state(states[i]))


@inner
def _hash_value(value: Any, bits: Any, column: Any) -> Any:
    """The part of one value: by its float32 bits, if float32 holds it, and else by the bits it has."""
    single = np.float32(value)
    if single == value or value != value:
        return _hash_single(np.uint32(bits_of(single)), column)
    return scramble(np.uint64(bits) + np.uint64(column + 1) * _GOLDEN)


@kernel(inline="always")
def _hash_single(bits: Any, column: Any) -> np.uint64:
    # Without the sign bit both zeros are 0. 0x7F800000 is infinity, and every larger magnitude is a NaN.
    magnitude = bits & np.uint32(0x7FFFFFFF)
    if magnitude == 0:
        return np.uint64(0)
    if magnitude > np.uint32(0x7F800000):
        bits = _NAN
    return scramble(np.uint64(bits) + np.uint64(column + 1) * _GOLDEN)


@kernel(borrows=True)
def _hash_dense(start: Any, stop: Any, values: Any, bits: Any, hashes: Any) -> None:
    for row in range(start, stop):
        total = np.uint64(0)
        for column in range(bits.shape[1]):
            total += _hash_value(values[row, column], bits[row, column], column)
        hashes[row] = total


@kernel(borrows=True)
def _hash_rounded(start: Any, stop: Any, values: Any, hashes: Any) -> None:
    for row in range(start, stop):
        total = np.uint64(0)
        for column in range(values.shape[1]):
            total += _hash_single(np.uint32(bits_of(np.float32(values[row, column]))), column)
        hashes[row] = total


@kernel(borrows=True)
def _hash_csr(start: Any, stop: Any, values: Any, bits: Any, indices: Any, indptr: Any, hashes: Any) -> None:
    for row in range(start, stop):
        total = np.uint64(0)
        for at in range(indptr[row], indptr[row + 1]):
            total += _hash_value(values[at], bits[at], indices[at])
        hashes[row] = total
