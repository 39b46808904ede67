"""Canonical order of each query's documents."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdamart_kit.core import sorting
from lambdamart_kit.core.sorting import descending_order, label_order, tied_block_stop


def stable_reference(scores, ptr):
    parts = [a + np.argsort(-scores[a:b], kind="stable") for a, b in itertools.pairwise(ptr)]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.intp)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("decimals", [0, 1, None])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_equals_numpy_stable_argsort(rng, dtype, decimals, n_threads):
    sizes = np.array([1, 2, 3, 99, 100, 101, 102, 1000, 5000, 1])
    ptr = np.concatenate(([0], np.cumsum(sizes)))
    scores = rng.normal(size=ptr[-1]) * 10.0 ** rng.integers(-3, 4, ptr[-1])
    if decimals is not None:
        scores = scores.round(decimals)
    scores = scores.astype(dtype)
    assert np.array_equal(descending_order(scores, ptr, n_threads=n_threads), stable_reference(scores, ptr))


@pytest.mark.parametrize("n", [50, 400])
def test_float64_scores_that_agree_as_float32_are_told_apart(rng, n):
    scores = 1.0 + rng.integers(0, 5, n) * 2.0**-50
    ptr = np.array([0, n])
    assert np.array_equal(descending_order(scores, ptr), stable_reference(scores, ptr))


def test_scores_that_differ_in_every_bit_of_their_lower_half():
    scores = np.array([0x3FF0000000000000, 0x3FF00000FFFFFFFF], dtype=np.uint64).view(np.float64)
    assert descending_order(scores, np.array([0, 2])).tolist() == [1, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_signed_zeros_tie_and_infinities_sort(dtype):
    scores = np.array([0.0, -0.0, np.inf, -np.inf, 0.0, -1e-30, 1e-30, -np.inf], dtype=dtype)
    assert descending_order(scores, np.array([0, 8])).tolist() == [2, 6, 0, 1, 4, 5, 3, 7]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=130))
def test_any_float32(values):
    scores = np.array(values, dtype=np.float32)
    ptr = np.array([0, len(scores)])
    expected = stable_reference(scores, ptr)
    assert np.array_equal(descending_order(scores, ptr), expected)
    assert np.array_equal(descending_order(scores.astype(np.float64), ptr), expected)


def test_no_rows():
    assert descending_order(np.empty(0), np.zeros(1, dtype=np.intp)).shape == (0,)
    assert label_order(np.empty(0), np.zeros(1, dtype=np.intp)).shape == (0,)


def test_canonical_order_is_score_then_label_then_position():
    y = np.array([0, 1, 2, 1, 0])
    scores = np.array([1.0, 1.0, 0.0, 1.0, 1.0])
    ptr = np.array([0, 5])
    layout = label_order(y, ptr)
    assert layout[descending_order(scores[layout], ptr)].tolist() == [1, 3, 0, 4, 2]


def test_tied_blocks():
    ranked = np.array([3.0, 3.0, 2.0, 1.0, 1.0, 1.0])
    assert [tied_block_stop(ranked, start) for start in (0, 2, 3)] == [2, 3, 6]


def test_radix_sort_stays_in_its_workspace(rng):
    """Words of a score in bytes 4 to 7 and a position below, n of workspace, and 256 counts for each byte."""
    n = 300
    words = (rng.integers(0, 2**32, n, dtype=np.uint64) << np.uint64(32)) | np.arange(n, dtype=np.uint64)
    expected = np.argsort(words >> np.uint64(32), kind="stable")
    order, work = np.empty(n, dtype=np.intp), np.full(n + 4 * 256 + 300, 7, dtype=np.uint64)
    sorting._sort_by_radix(words, order, work)
    assert np.array_equal(order, expected)
    assert (work[n + 4 * 256 :] == 7).all()
