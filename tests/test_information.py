"""The information matrix: LinUCB and Laplacian oracles, updates against new factorisations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdamart_kit.core.information import Information, InformationStack, accumulate, laplacian, solve_sparse


def test_linucb_oracle():
    H = Information.prior(2, reg_lambda=1.0)
    contexts, rewards = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]), np.array([1.0, 0.0, 1.0])
    H.update(contexts)
    theta = H.solve(contexts.T @ rewards)
    np.testing.assert_array_equal(H.matrix, [[3, 1], [1, 3]])
    np.testing.assert_allclose(theta, [0.25, 0.25])
    index = theta.sum() + np.sqrt(H.quadratic([[1.0, 1.0]])[0])
    assert index == pytest.approx(1.207107, abs=1e-6)
    assert H.log_det == pytest.approx(2.079442, abs=1e-6)


def test_unseen_direction_has_the_prior_width():
    H = Information.prior(3, reg_lambda=0.25)
    H.update([1.0, 0.0, 0.0], 5.0)
    assert np.sqrt(H.quadratic([0.0, 3.0, 4.0])[0]) == pytest.approx(5 / np.sqrt(0.25))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_update_equals_a_new_factorisation(n_features, n_rows, seed):
    rng = np.random.default_rng(seed)
    Z, weight = rng.normal(size=(n_rows, n_features)), rng.random(n_rows)
    H = Information.prior(n_features, reg_lambda=0.5)
    gains = 0.0
    for row, w in zip(Z, weight):
        gains += H.log_det_gain(row, w)[0]
        H.update(row, w)
    again = Information(0.5 * np.eye(n_features) + (Z * weight[:, None]).T @ Z)
    np.testing.assert_allclose(H.matrix, again.matrix, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(H.inverse(), np.linalg.inv(again.matrix), rtol=1e-7, atol=1e-9)
    assert H.log_det == pytest.approx(again.log_det, abs=1e-8)
    # log det A_t = log det A_{t-1} + log(1 + x' A_{t-1}^-1 x)
    assert H.log_det == pytest.approx(n_features * np.log(0.5) + gains, abs=1e-8)


@pytest.mark.parametrize("n_features", [1, 7, 24])
@pytest.mark.parametrize("n_rows", [1, 5, 60, 400])  # rotations, factorisations, both, and past the kernel
def test_a_stack_is_its_matrices_one_by_one(n_features, n_rows):
    rng = np.random.default_rng(n_rows)
    stack = InformationStack(3, n_features, reg_lambda=0.5)
    single = [Information.prior(n_features, reg_lambda=0.5) for _ in range(3)]
    moments, expected = np.zeros((3, n_features)), np.zeros((3, n_features))
    for _ in range(3):
        Z, b, model = (
            rng.normal(size=(n_rows, n_features)),
            rng.normal(size=n_rows),
            rng.integers(0, 3, n_rows),
        )
        model[model == 1] = 0  # one matrix is never updated
        stack.update(Z, model)
        accumulate(moments, Z, b, model)
        for m in range(3):
            single[m] = Information(single[m].matrix + Z[model == m].T @ Z[model == m])
            expected[m] += b[model == m] @ Z[model == m]
    np.testing.assert_allclose(moments, expected, rtol=1e-10, atol=1e-12)
    solved, widths = stack.solve(moments), stack.quadratic(Z)
    for m in range(3):
        np.testing.assert_allclose(stack[m].matrix, single[m].matrix, rtol=1e-10, atol=1e-12)
        assert stack[m].log_det == pytest.approx(single[m].log_det, abs=1e-8)
        np.testing.assert_allclose(stack[m].inverse(), single[m].inverse(), rtol=1e-7, atol=1e-10)
        np.testing.assert_allclose(
            solved[m], np.linalg.solve(single[m].matrix, expected[m]), rtol=1e-7, atol=1e-10
        )
        np.testing.assert_allclose(widths[m], single[m].quadratic(Z), rtol=1e-8)
    assert (stack[1].matrix == 0.5 * np.eye(n_features)).all()


def test_matrices_of_a_stack_share_its_memory():
    stack = InformationStack(2, 2, reg_lambda=1.0)
    stack[1].update([0.0, 3.0])
    assert stack.quadratic([[0.0, 1.0]]).ravel().tolist() == pytest.approx([1.0, 0.1])
    stack[1].update(np.tile([1.0, 0.0], (20_000, 1)))  # past the kernel: a new factorisation
    assert stack.quadratic([[1.0, 0.0]])[1, 0] == pytest.approx(1 / 20_001)
    stack[0] = Information([[2.0, 0.0], [0.0, 2.0]])
    assert stack.quadratic([[1.0, 0.0]])[0, 0] == pytest.approx(0.5)


def test_elliptical_potential():
    rng = np.random.default_rng(0)
    H, total = Information.prior(4, reg_lambda=1.0), 0.0
    for x in rng.normal(size=(200, 4)):
        total += min(1.0, H.quadratic(x)[0])
        H.update(x)
    assert total <= 2 * H.log_det


def test_copy_is_independent():
    H = Information.prior(2)
    other = H.copy()
    other.update([1.0, 2.0])
    assert H.log_det == 0.0
    assert other.log_det == pytest.approx(np.log(6))


def test_samples_have_the_inverse_as_covariance():
    H = Information([[4.0, 1.0], [1.0, 2.0]])
    draws = H.sample([1.0, -1.0], np.random.default_rng(0), size=200_000)
    np.testing.assert_allclose(draws.mean(axis=0), [1, -1], atol=0.01)
    np.testing.assert_allclose(np.cov(draws.T), np.linalg.inv(H.matrix), atol=0.01)


def test_laplacian_is_the_sum_over_one_hot_differences():
    rng = np.random.default_rng(1)
    first, second, weight = rng.integers(0, 5, 40), rng.integers(5, 9, 40), rng.random(40)
    Z = np.eye(9)[first] - np.eye(9)[second]
    expected = (Z * weight[:, None]).T @ Z
    dense = laplacian(first, second, weight, 9)
    np.testing.assert_allclose(dense, expected, atol=1e-12)
    np.testing.assert_allclose(laplacian(first, second, weight, 9, sparse=True).toarray(), dense, atol=1e-12)


def test_laplacian_rank_is_items_less_components():
    dense = laplacian(np.array([0, 1, 3]), np.array([1, 2, 4]), np.ones(3), 6)
    assert np.linalg.matrix_rank(dense) == 6 - 3
    np.testing.assert_array_equal(dense.sum(axis=1), 0)


@pytest.mark.parametrize("n_items", [50, 5000])
@pytest.mark.parametrize("shape", ["random", "path"])
def test_sparse_solve(n_items, shape):
    """A path exhausts the conjugate gradients and goes to the factorisation."""
    rng = np.random.default_rng(2)
    if shape == "path":
        first, second = np.arange(n_items - 1), np.arange(1, n_items)
    else:
        first = rng.integers(0, n_items, 20 * n_items)
        second = (first + rng.integers(1, n_items, len(first))) % n_items
    matrix = laplacian(first, second, rng.random(len(first)) + 0.1, n_items, sparse=True)
    truth = rng.normal(size=n_items)
    truth -= truth.mean()
    found = solve_sparse(matrix, matrix @ truth)
    np.testing.assert_allclose(found - found.mean(), truth, atol=1e-4 if shape == "path" else 1e-7)


def test_a_long_path_is_solved_without_the_error_of_the_ridge():
    """One unit flows from end to end, so the solution falls by one a step. The ridge bends it by 1e-3."""
    n_items = 2000
    path = laplacian(
        np.arange(n_items - 1), np.arange(1, n_items), np.ones(n_items - 1), n_items, sparse=True
    )
    ends = np.zeros(n_items)
    ends[0] = 1.0
    ends[-1] = -1.0
    np.testing.assert_allclose(np.diff(solve_sparse(path, ends)), -1.0, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Information(np.ones((2, 3))), "'matrix' must be square"),
        (lambda: Information([[1.0, 2.0], [2.0, 1.0]]), "positive definite"),
        (lambda: Information([[np.nan]]), "finite and positive definite"),
        (lambda: Information.prior(2, reg_lambda=0.0), "'reg_lambda' must be finite and > 0; got 0.0"),
        (lambda: Information.prior(2).update([1.0, 2.0, 3.0]), "'Z' must have 2 columns"),
        (lambda: Information.prior(2).update([1.0, 2.0], -1.0), "'weight' must hold 1 values >= 0"),
        (lambda: InformationStack(1, 2).update([[1.0]], np.array([0])), "'Z' must have 2 columns"),
        (
            lambda: InformationStack(1, 2).update([[1e200, 0.0]] * 2, np.array([0, 0])),
            "'Z' makes a matrix that",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
