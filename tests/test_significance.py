"""Paired tests and intervals against enumeration and SciPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lambdamart_kit.metrics.significance import bootstrap_interval, holm, sign_flip_test


def enumerated(differences):
    sums = [np.dot(s, differences) for s in itertools.product([-1, 1], repeat=len(differences))]
    return np.mean(np.abs(sums) >= abs(np.sum(differences)) - 1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_exact_is_enumeration(units):
    differences = np.array(units) / 8
    outcome = sign_flip_test(differences)
    assert outcome.exact
    assert outcome.pvalue[0] == enumerated(differences)


def test_exact_against_scipy(rng):
    differences = rng.normal(0.4, 1, 11)
    ours = sign_flip_test(differences).pvalue[0]
    theirs = stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    ).pvalue
    # SciPy doubles the smaller tail; for a symmetric distribution that is the two-sided count.
    assert ours == pytest.approx(theirs)


def test_monte_carlo_is_near_exact_and_never_zero(rng):
    differences = rng.normal(0.5, 1, 12)
    exact = sign_flip_test(differences).pvalue[0]
    drawn = sign_flip_test(differences, n_resamples=4000)
    assert not drawn.exact
    assert drawn.pvalue[0] == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 4000))
    assert sign_flip_test(np.ones(200), n_resamples=999).pvalue[0] == 1 / 1000


def test_monte_carlo_against_the_t_test(rng):
    differences = rng.normal(0.08, 1, 800)
    ours = sign_flip_test(differences, n_resamples=20_000).pvalue[0]
    assert ours == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.015)


def test_equal_sums_tie():
    # 0.1 + 0.2 and 0.3 differ in the last bit: |0.1 + 0.2 - 0.3| must not fall below |0.3 - 0.1 - 0.2|.
    assert sign_flip_test([0.1, 0.2, -0.3]).pvalue[0] == 1.0


def test_rows_of_zeros_do_not_matter(rng):
    differences = rng.normal(size=10)
    padded = np.concatenate([differences, np.zeros(500)])
    assert sign_flip_test(padded).pvalue[0] == sign_flip_test(differences).pvalue[0]
    assert sign_flip_test(np.zeros((5, 2))).pvalue.tolist() == [1.0, 1.0]


def test_columns_are_tested_as_if_alone(rng):
    table = rng.normal(size=(300, 3))
    together = sign_flip_test(table).pvalue
    assert together.tolist() == [sign_flip_test(column).pvalue[0] for column in table.T]
    low, high = bootstrap_interval(table)
    assert low[1] == pytest.approx(bootstrap_interval(table[:, 1])[0][0])
    assert high[1] == pytest.approx(bootstrap_interval(table[:, 1])[1][0])


def test_p_values_are_uniform_under_the_null(rng):
    pvalues = sign_flip_test(rng.normal(size=(60, 2000)), n_resamples=1999).pvalue
    assert stats.kstest(pvalues, "uniform").pvalue > 0.001


def test_bootstrap_against_scipy(rng):
    values = rng.beta(2, 1, 400)
    low, high = bootstrap_interval(values, n_resamples=20_000)
    theirs = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=1, vectorized=True
    ).confidence_interval
    assert (low[0], high[0]) == pytest.approx((theirs.low, theirs.high), abs=1e-3)


def test_bootstrap_covers(rng):
    low, high = bootstrap_interval(rng.normal(size=(200, 1000)), confidence=0.9, n_resamples=800)
    covered = np.mean((low <= 0) & (high >= 0))
    assert 0.87 < covered < 0.93


def test_bootstrap_of_nothing_is_nan():
    low, high = bootstrap_interval(np.empty((0, 2)))
    assert np.isnan([*low, *high]).all()


def test_holm():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([np.nan, 0.02, 0.9]).tolist() == pytest.approx([np.nan, 0.04, 0.9], nan_ok=True)
    assert holm([0.6, 0.7]).tolist() == [1.0, 1.0]


def test_blocks_do_not_change_the_answer(monkeypatch, rng):
    differences = rng.normal(size=100)
    whole = bootstrap_interval(differences, n_resamples=500), sign_flip_test(differences).pvalue
    monkeypatch.setattr("lambdamart_kit.metrics.significance._BLOCK", 1 << 12)
    parts = bootstrap_interval(differences, n_resamples=500), sign_flip_test(differences).pvalue
    assert whole == parts


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: sign_flip_test([0.1, np.nan]), "'differences'.*query 1.*nan"),
        (lambda: sign_flip_test([0.1], n_resamples=0), "'n_resamples'.*0"),
        (lambda: sign_flip_test(np.zeros((1, 1, 1))), "'differences'.*one row per query"),
        (lambda: bootstrap_interval([0.1], confidence=95), "'confidence'.*95"),
        (lambda: holm([0.2, 1.5]), r"'pvalues'.*1\.5"),
    ],
)
def test_bad_input(call, names):
    with pytest.raises(ValueError, match=names):
        call()
