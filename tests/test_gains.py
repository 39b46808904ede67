"""Gains, discounts and query weights: exact values and every refusal."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from lambdamart_kit.core.gains import check_choice, check_relevance, discounts, gains, warn_of_amounts
from lambdamart_kit.core.queries import Queries, query_weights


def test_gains_by_hand():
    assert gains([0, 1, 2, 4]).tolist() == [0, 1, 3, 15]
    assert gains([0.5, 40]).tolist() == [2**0.5 - 1, 2**40 - 1]
    assert gains([0, 1.5, 31], "linear").tolist() == [0, 1.5, 31]
    assert gains([2, 0], [0, 3, 7]).tolist() == [7, 0]
    assert gains([2, 0], lambda label: label**2).tolist() == [4, 0]
    assert gains(np.array([], dtype=np.float32)).tolist() == []
    assert gains(np.array([1], dtype=np.uint8)).dtype == np.float64


def test_linear_gains_are_the_callers_to_change():
    labels = np.array([1.0, 2.0])
    gains(labels, "linear")[:] = 0
    assert labels.tolist() == [1, 2]


def test_the_largest_grade_and_the_largest_gain():
    """Grade 31 is the last that passes without a word; no gain may reach the largest."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_amounts(np.array([0.0, 31.0]), "exp2", of="NDCG")
        warn_of_amounts(np.array([0.0, 500.0]), "linear", of="NDCG")
    with pytest.warns(UserWarning, match="'y' holds labels up to 32"):
        warn_of_amounts(np.array([32.0, 0.0]), "exp2", of="NDCG")
    largest = np.finfo(np.float64).max / 2**53
    assert gains([0, 1], [0, np.nextafter(largest, 0)])[1] < largest
    with pytest.raises(ValueError, match="label 1 has gain"):
        gains([0, 1], [0, largest])


def test_discounts_by_hand():
    np.testing.assert_allclose(discounts(4), [1, 1 / np.log2(3), 1 / 2, 1 / np.log2(5)])
    assert len(discounts(0)) == 0


@pytest.mark.parametrize(
    ("labels", "gain", "message"),
    [
        ([0, 1100], "exp2", "label 1100 has gain inf; for labels this large use gain='linear'"),
        ([0, 1000], "exp2", "label 1000 has gain"),  # finite, but sums of such gains are not
        ([0, 1], "log", "'gain' must be 'exp2', 'linear', a table or a callable; got 'log'"),
        ([0, 3], [0, 1, 2], "'gain' table has 3 entries but a label is 3; give a longer table"),
        ([0, 0.5], [0, 1], "'gain' table needs whole-number labels; row 1 has 0.5"),
        ([0, 1], [[0, 1]], "'gain' table must be one-dimensional"),
        ([0, 1], [0, -1], "'gain' must be finite and >= 0; label 1 has gain -1"),
        ([0, 1], lambda label: label - 1, "label 0 has gain -1"),
        ([0, 1], lambda label: label * np.nan, "label 0 has gain nan"),
        ([0, 1], lambda label: label[:1], r"'gain' must return one value per label: expected shape \(2,\)"),
        ([0, -2], "exp2", "'y' must hold finite relevance labels >= 0; row 1 has -2"),
        ([np.inf], "exp2", "row 0 has inf"),
        (["a"], "exp2", "'y' must hold numbers"),
        ([[1]], "exp2", "'y' must be one-dimensional"),
    ],
)
def test_unusable_gains_are_named(labels, gain, message):
    with pytest.raises(ValueError, match=message):
        gains(labels, gain)


def test_relevance_names_its_parameter():
    with pytest.raises(ValueError, match=r"'y_val' must hold finite.*\(2 such rows\)"):
        check_relevance([np.nan, 1, -1], name="y_val")
    with pytest.raises(ValueError, match="'ties' must be one of 'a', 'b'; got 'c'"):
        check_choice("c", ("a", "b"), name="ties")


def test_query_weights_by_id():
    queries = Queries.from_qid(["b", "a", "b"], 3)
    assert query_weights([2, 5, 2], queries).tolist() == [5, 2]
    assert query_weights(None, queries).tolist() == [1, 1]
    assert query_weights([0, 0, 0], queries).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ([1, 1, 2], "must be the same for all rows of a query.*query 'b' has both 1 and 2"),
        ([1, 1], r"one weight per row: expected shape \(3,\), got \(2,\)"),
        ([1, -1, 1], "'sample_weight' must be finite and >= 0; row 1 has -1"),
        ([1, 1, np.nan], "row 2 has nan"),
    ],
)
def test_unusable_query_weights_are_named(weight, message):
    with pytest.raises(ValueError, match=message):
        query_weights(weight, Queries.from_qid(["b", "a", "b"], 3))
