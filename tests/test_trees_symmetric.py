"""Symmetric trees: against exhaustive search, through LightGBM's format, and whatever order or threads."""

from __future__ import annotations

import numpy as np
import pytest

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.rankers import LambdaMART
from lambdamart_kit.trees.binning import BinMapper
from lambdamart_kit.trees.boosting import boost
from lambdamart_kit.trees.ensemble import Ensemble
from lambdamart_kit.trees.growth.symmetric import SymmetricGrower
from lambdamart_kit.trees.parameters import TreeParameters

LOOSE = {"min_child_samples": 1, "min_child_weight": 0.0, "learning_rate": 1.0}


def problem(rng, n=400):
    """A product of two columns, a column with NaN that speaks, a constant one."""
    X = rng.normal(size=(n, 5)).astype(np.float32)
    X[rng.random(n) < 0.2, 2] = np.nan
    X[:, 3] = 1
    gradient = np.sign(X[:, 0] * X[:, 1]) + np.nan_to_num(X[:, 2], nan=1.5) + 0.3 * rng.normal(size=n)
    return X, gradient.astype(np.float32), rng.uniform(0.2, 1, n).astype(np.float32)


def grow(X, gradient, hessian, *, n_threads=1, tree_index=0, **settings):
    queries = Queries.from_qid(np.arange(len(X)), len(X))
    binned = BinMapper.fit(X, queries).transform(X)
    grower = SymmetricGrower(binned, queries, TreeParameters(**settings), n_threads=n_threads)
    scores = np.zeros(len(X))
    return grower.grow(gradient, hessian, scores, tree_index=tree_index), scores, binned


def exhaustive(X, gradient, hessian, depth, reg_lambda):
    """Leaf of each row after `depth` splits, each the best of all features, values and sides of NaN."""

    def score(rows):
        return gradient[rows].sum() ** 2 / (hessian[rows].sum() + reg_lambda) if rows.any() else 0.0

    leaf = np.zeros(len(X), dtype=int)
    for _ in range(depth):
        best, chosen = -np.inf, None
        for j in range(X.shape[1]):
            missing = np.isnan(X[:, j])
            for value in np.unique(X[~missing, j])[:-1]:
                for right in (X[:, j] > value, (X[:, j] > value) | missing):
                    parts = [(leaf == k) & side for k in np.unique(leaf) for side in (right, ~right)]
                    total = sum(map(score, parts))
                    if total > best + 1e-9:
                        best, chosen = total, right
        leaf = 2 * leaf + chosen
    return leaf


def test_every_level_takes_the_split_with_the_largest_summed_gain():
    X, gradient, hessian = problem(np.random.default_rng(0), n=220)  # a bin a value
    tree, scores, _ = grow(X, gradient, hessian, num_leaves=8, reg_lambda=2.0, **LOOSE)
    leaf = exhaustive(X, gradient.astype(float), hessian.astype(float), 3, 2.0)
    for k in np.unique(leaf):
        G, H = gradient[leaf == k].sum(dtype=float), hessian[leaf == k].sum(dtype=float)
        np.testing.assert_allclose(tree.leaf_value[k], -G / (H + 2.0), rtol=1e-6)
        np.testing.assert_allclose(scores[leaf == k], tree.leaf_value[k], rtol=1e-12)
    assert tree.leaf_count.tolist() == np.bincount(leaf, minlength=8).tolist()
    np.testing.assert_allclose(tree.node_weight[0], hessian.sum(dtype=float), rtol=1e-6)
    for level in range(3):  # one question a level
        nodes = slice((1 << level) - 1, (2 << level) - 1)
        assert len(set(tree.feature[nodes])) == len(set(tree.threshold_bin[nodes])) == 1


@pytest.mark.parametrize("num_leaves", [2, 16, 31])
def test_walking_the_tree_gives_the_scores(num_leaves):
    X, gradient, hessian = problem(np.random.default_rng(1))
    tree, scores, binned = grow(X, gradient, hessian, num_leaves=num_leaves, **LOOSE)
    walked = np.zeros(len(X))
    tree.add_to(walked, binned)
    np.testing.assert_array_equal(walked, scores)
    assert tree.n_leaves == {2: 2, 16: 16, 31: 16}[num_leaves]  # rounded down to a power of two


def test_neither_threads_nor_the_order_of_rows_matter():
    rng = np.random.default_rng(2)
    X, gradient, hessian = problem(rng, n=3000)
    one, scores, _ = grow(X, gradient, hessian, num_leaves=32)
    many, same, _ = grow(X, gradient, hessian, num_leaves=32, n_threads=3)
    np.testing.assert_array_equal(scores, same)
    np.testing.assert_array_equal(one.bins_left, many.bins_left)
    order = rng.permutation(len(X))
    _, moved, _ = grow(X[order], gradient[order], hessian[order], num_leaves=32)
    np.testing.assert_array_equal(moved, scores[order])


def test_units_of_the_loss_do_not_matter():
    """Gradients and hessians a trillion times as large (2**40, which rounds nothing) have the same steps."""
    X, gradient, hessian = problem(np.random.default_rng(4))
    settings = {"num_leaves": 8, "reg_lambda": 0.0, **LOOSE}
    _, scores, _ = grow(X, gradient, hessian, **settings)
    _, larger, _ = grow(X, gradient * 2.0**40, hessian * 2.0**40, **settings)
    assert np.ptp(scores) > 0
    np.testing.assert_array_equal(larger, scores)


def test_small_leaves_take_their_ancestors_value():
    X = np.array([[0, 0], [0, 0], [0, 1], [1, 0], [1, 0], [1, 1], [1, 1]], dtype=np.float32)
    gradient = np.array([-4, -4, -1, 3, 3, 1, 1], dtype=np.float32)
    hessian = np.ones(7, dtype=np.float32)
    tree, scores, _ = grow(X, gradient, hessian, num_leaves=4, **{**LOOSE, "min_child_samples": 2})
    # Left side: 2 rows and 1 row, so the single one takes the mean of its three siblings: (4 + 4 + 1) / 3.
    np.testing.assert_allclose(scores, [4, 4, 3, -3, -3, -1, -1], rtol=1e-6)
    assert tree.leaf_count.tolist() == [2, 1, 2, 2]


def test_lightgbm_predicts_what_the_bins_say():
    X, gradient, _ = problem(np.random.default_rng(3), n=1500)

    class Squared:
        def gradient_hessian(self, scores):
            return (scores - gradient).astype(np.float32), np.ones(len(X), dtype=np.float32)

    queries = Queries.from_qid(np.arange(1500) // 5, 1500)
    parameters = TreeParameters(num_leaves=16, grow_policy="symmetric", subsample=0.5, colsample_bynode=0.6)
    ensemble = boost(X, queries, Squared(), parameters, n_estimators=40)
    assert isinstance(ensemble, Ensemble)
    fresh = np.vstack([X, problem(np.random.default_rng(4))[0]])
    predicted = ensemble.to_lightgbm().predict(fresh, raw_score=True)
    np.testing.assert_allclose(predicted, ensemble.predict(fresh), rtol=1e-12, atol=1e-12)
    assert np.corrcoef(ensemble.predict(X), gradient)[0, 1] > 0.9


def test_products_of_features_are_found():
    """A split on one factor gains nothing by itself; greedy leaves see noise, a level sees the product."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(4000, 10)).astype(np.float32)
    noisy = (np.sign(X[:, 0] * X[:, 1]) + 3 * rng.normal(size=4000)).astype(np.float32)

    class Squared:
        def gradient_hessian(self, scores):
            return (scores - noisy).astype(np.float32), np.ones(4000, dtype=np.float32)

    queries = Queries.from_qid(np.arange(4000), 4000)
    fresh = rng.normal(size=(4000, 10)).astype(np.float32)
    right = {}
    for policy in ("leafwise", "symmetric"):
        parameters = TreeParameters(num_leaves=16, grow_policy=policy, learning_rate=0.05)
        ensemble = boost(X, queries, Squared(), parameters, n_estimators=60)
        right[policy] = np.corrcoef(ensemble.predict(fresh), np.sign(fresh[:, 0] * fresh[:, 1]))[0, 1]
    assert right["symmetric"] > right["leafwise"] + 0.02


def test_what_symmetric_trees_do_not_take_is_named():
    X, gradient, hessian = problem(np.random.default_rng(6))
    with pytest.raises(ValueError, match="'grow_policy'='symmetric' takes neither categorical"):
        grow(X, gradient, hessian, monotone_constraints=(1, 0, 0, 0, 0))
    with pytest.raises(ValueError, match="not finite, or a hessian that is negative"):
        grow(X, gradient, -hessian)
    with pytest.raises(ValueError, match="'grow_policy' must be"):
        TreeParameters(grow_policy="oblivious")


def test_no_split_worth_its_least_gain_leaves_one_leaf():
    X, gradient, hessian = problem(np.random.default_rng(7))
    tree, scores, _ = grow(X, gradient, hessian, min_split_gain=1e9, **LOOSE)
    assert tree.n_leaves == 1
    np.testing.assert_allclose(scores, -gradient.sum(dtype=float) / hessian.sum(dtype=float), rtol=1e-6)


@pytest.mark.parametrize("factor", [1.0, 2.0**20])
def test_the_least_gain_is_of_a_whole_level(factor):
    """Leaves are worth G^2 / (H + lambda); a level's gain is by how much the sum of them grows."""
    X, gradient, hessian = problem(np.random.default_rng(7))
    gradient = gradient * np.float32(factor)
    settings = {"num_leaves": 4, "reg_lambda": 5.0, **LOOSE}

    def worth(scores):
        leaves = [np.flatnonzero(scores == value) for value in np.unique(scores)]
        return sum(gradient[r].sum(dtype=float) ** 2 / (hessian[r].sum(dtype=float) + 5.0) for r in leaves)

    worths = [worth(np.zeros(len(X)))]
    for n_leaves in (2, 4):
        worths.append(worth(grow(X, gradient, hessian, **{**settings, "num_leaves": n_leaves})[1]))
    first, second = np.diff(worths)
    for least, n_leaves in ((0.97 * second, 4), (1.03 * second, 2), (1.03 * first, 1)):
        tree, _, _ = grow(X, gradient, hessian, **settings, min_split_gain=least)
        assert tree.n_leaves == n_leaves


def test_rankers_grow_them_too():
    rng = np.random.default_rng(8)
    X, qid = rng.normal(size=(600, 4)).astype(np.float32), np.repeat(np.arange(60), 10)
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    options = {"grow_policy": "symmetric"}
    ranker = LambdaMART(n_estimators=60, num_leaves=8, booster_params=options, n_jobs=1, random_state=0)
    assert ranker.fit(X, y, qid=qid).score(X, y, qid=qid) > 0.9
