"""Contributions are Shapley values of trees: brute force, LightGBM, XGBoost and CatBoost are the oracles."""

from __future__ import annotations

import itertools
import math
import pickle

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from scipy import sparse

from lambdamart_kit import LambdaMART, LightGBMRanker, LinearRanker, XGBoostRanker
from lambdamart_kit.trees.contributions import TreeContributions
from lambdamart_kit.trees.plain_tree import PlainTree


def random_tree(rng, n_features, n_leaves, *, categorical=0, empty=False):
    """A tree of random splits; the last `categorical` columns hold codes; `empty` leaves some covers at 0."""
    n = n_leaves - 1
    left, right = np.full(n, 10**6), np.full(n, 10**6)
    slots = []
    for node in range(n):  # each node hangs on a random free side of an earlier one
        if node:
            parent, side = slots.pop(rng.integers(len(slots)))
            (left if side == 0 else right)[parent] = node
        slots += [(node, 0), (node, 1)]
    for leaf, (parent, side) in enumerate(slots):
        (left if side == 0 else right)[parent] = ~leaf
    feature = rng.integers(0, n_features, n)
    is_set = feature >= n_features - categorical
    leaf_cover = rng.integers(0 if empty else 1, 30, n_leaves).astype(float)
    cover = np.zeros(n)
    for node in reversed(range(n)):
        for child in (left[node], right[node]):
            cover[node] += leaf_cover[~child] if child < 0 else cover[child]
    return PlainTree(
        feature=feature.astype(np.int64),
        threshold=np.where(is_set, 0.0, rng.integers(-2, 3, n)).astype(float),
        categories=tuple(rng.choice(40, 15, replace=False) if s else None for s in is_set),
        missing_left=rng.random(n) < 0.5,
        left=left,
        right=right,
        value=rng.normal(size=n_leaves),
        gain=np.zeros(n),
        cover=cover,
        leaf_cover=leaf_cover,
    )


def goes_left(tree, node, x):
    value = x[tree.feature[node]]
    if np.isnan(value):
        return tree.missing_left[node]
    codes = tree.categories[node]
    return value <= tree.threshold[node] if codes is None else value in codes


def expected_score(tree, x, known, node=0):
    """Score of a row of which some features are known: the definition, one node at a time."""
    if not tree.n_nodes:
        return tree.value[0]
    if node < 0:
        return tree.value[~node]
    sides = tree.left[node], tree.right[node]
    if tree.feature[node] in known:
        return expected_score(tree, x, known, sides[0 if goes_left(tree, node, x) else 1])
    covers = [tree.leaf_cover[~s] if s < 0 else tree.cover[s] for s in sides]
    shares = [c / tree.cover[node] if tree.cover[node] else 0.5 for c in covers]
    return sum(share * expected_score(tree, x, known, s) for share, s in zip(shares, sides))


def shapley(v, n):
    """Shapley values of a game, over all subsets."""
    phi = np.zeros(n)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for S in itertools.combinations(others, size):
                phi[i] += weight * (v({*S, i}) - v(set(S)))
    return phi


def random_rows(rng, n, n_features, categorical):
    X = rng.integers(-3, 4, (n, n_features)).astype(float)
    X[rng.random(X.shape) < 0.15] = np.nan
    if categorical:
        X[:, -categorical:] = rng.integers(0, 45, (n, categorical))
    return X


@pytest.mark.parametrize("empty", [False, True], ids=["covered", "some covers are 0"])
@pytest.mark.parametrize("seed", range(4))
def test_brute_force(seed, empty):
    rng = np.random.default_rng(seed)
    trees = [random_tree(rng, 5, 9, categorical=1, empty=empty) for _ in range(3)]
    trees.append(PlainTree.of_constant(0.25))
    X = random_rows(rng, 4, 5, 1)
    found = TreeContributions.of_trees(trees)(X)
    for x, row in zip(X, found):
        phi = shapley(lambda S, x=x: sum(expected_score(t, x, S) for t in trees), 5)
        assert row[:-1] == pytest.approx(phi, abs=1e-12)
        assert row[-1] == pytest.approx(sum(expected_score(t, x, set()) for t in trees), abs=1e-12)


def test_brute_force_against_another_row():
    rng = np.random.default_rng(5)
    trees = [random_tree(rng, 5, 12, categorical=1) for _ in range(3)]
    X, B = random_rows(rng, 4, 5, 1), random_rows(rng, 4, 5, 1)
    found = TreeContributions.of_trees(trees)(X, B)
    for x, b, row in zip(X, B, found):

        def score(S, x=x, b=b):
            mixed = np.array([x[j] if j in S else b[j] for j in range(5)])
            return sum(float(t.predict(mixed[None])[0]) for t in trees)

        assert row[:-1] == pytest.approx(shapley(score, 5), abs=1e-12)
        assert row[-1] == pytest.approx(score(set()), abs=1e-12)


def test_a_path_of_forty_features_sums_up():
    # A chain: node j asks feature j, and its left child is a leaf. There are no closed tables of 2^40.
    n = 40
    tree = PlainTree(
        feature=np.arange(n),
        threshold=np.zeros(n),
        categories=(None,) * n,
        missing_left=np.zeros(n, dtype=bool),
        left=~np.arange(n),
        right=np.append(np.arange(1, n), ~n),
        value=np.append(np.zeros(n), 1.0),
        gain=np.zeros(n),
        cover=np.arange(n + 1, 1, -1).astype(float),
        leaf_cover=np.append(np.ones(n), 1.0),
    )
    found = TreeContributions.of_trees([tree])(np.ones((1, n)))[0]
    assert found.sum() == pytest.approx(1.0, abs=1e-12)
    assert found[-1] == pytest.approx(1 / (n + 1))
    # With every feature at the same ratio, all would get the same; the product of (j + 1) / (j + 2) has none.
    fair = PlainTree(
        **{
            **tree.__dict__,
            "cover": 2.0 ** np.arange(n, 0, -1),
            "leaf_cover": np.append(2.0 ** np.arange(n - 1, -1, -1), 1.0),
        }
    )
    phi = TreeContributions.of_trees([fair])(np.ones((1, n)))[0][:-1]
    assert phi == pytest.approx(np.full(n, (1 - 2.0**-n) / n), abs=1e-14)


def test_without_counts_of_rows_there_are_no_contributions():
    tree = PlainTree.of_split(feature=0, threshold=0.5, left=-1.0, right=1.0, missing_left=True)
    with pytest.raises(ValueError, match="keeps no such counts"):
        TreeContributions.of_trees([tree])


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    n = 1500
    X = rng.normal(size=(n, 7)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    X[:, 3] = rng.integers(0, 40, n)
    X[:, 4] = np.where(rng.random(n) < 0.6, 0, X[:, 4])
    signal = np.nansum(X[:, :2], axis=1) * (1 + np.isnan(X[:, 2])) + 2 * np.isin(X[:, 3], [3, 5, 33])
    y = np.digitize(signal + rng.normal(size=n), [-1, 0.5, 2])
    return X, y, np.repeat(np.arange(n // 15), 15)


NATIVE = {
    "plain": {},
    "categories": {"categorical_features": [3]},
    "symmetric": {"booster_params": {"grow_policy": "symmetric"}, "max_depth": 4},
    "deep": {"num_leaves": 120, "min_child_samples": 1},
    "one split": {"num_leaves": 2},
}


@pytest.mark.parametrize("settings", NATIVE.values(), ids=NATIVE)
@pytest.mark.parametrize("booster", ["native", "lightgbm"])
def test_equal_to_lightgbm(rows, settings, booster):
    if booster == "lightgbm" and "booster_params" in settings:
        pytest.skip("LightGBM grows no symmetric trees")
    X, y, qid = rows
    ranker = LambdaMART(booster=booster, n_estimators=12, random_state=0, **settings).fit(X, y, qid=qid)
    found = ranker.contributions(X[:300])
    model = lightgbm.Booster(model_str=ranker.booster_.model_to_string())
    expected = model.predict(X[:300], pred_contrib=True)
    known = ~np.isnan(expected)
    # A symmetric tree has leaves without rows, and LightGBM divides 0 by 0 there.
    assert known.all() or "booster_params" in settings
    assert found[known] == pytest.approx(expected[known], abs=1e-9)
    assert found.sum(axis=1) == pytest.approx(ranker.predict(X[:300]), abs=1e-9)


def test_float64_rows_keep_their_precision(rows):
    X, y, qid = rows
    X = X.astype(np.float64) + 1e-9 * np.random.default_rng(1).normal(size=X.shape)
    ranker = LambdaMART(booster="lightgbm", n_estimators=8, num_leaves=200, min_child_samples=1)
    found = ranker.fit(X, y, qid=qid).contributions(X)
    assert found == pytest.approx(ranker.booster_.predict(X, pred_contrib=True), abs=1e-9)
    assert found.sum(axis=1) == pytest.approx(ranker.predict(X), abs=1e-9)


@pytest.mark.parametrize("settings", [{}, {"categorical_features": [3]}], ids=["plain", "categories"])
@pytest.mark.parametrize("is_sparse", [False, True], ids=["dense", "sparse"])
def test_equal_to_xgboost(rows, settings, is_sparse):
    X, y, qid = rows
    if is_sparse:
        X = np.nan_to_num(X)
    given = sparse.csr_matrix(X) if is_sparse else X
    ranker = XGBoostRanker(n_estimators=12, random_state=0, **settings).fit(given, y, qid=qid)
    found = ranker.contributions(given)
    as_seen = np.where(X == 0, np.nan, X) if is_sparse else X
    types = ["c" if "categorical_features" in settings and j == 3 else "q" for j in range(7)]
    matrix = xgboost.DMatrix(as_seen, feature_types=types, enable_categorical=True)
    assert found == pytest.approx(ranker.booster_.predict(matrix, pred_contribs=True), abs=2e-5)
    assert found.sum(axis=1) == pytest.approx(ranker.predict(given), abs=2e-5)


@pytest.mark.parametrize("settings", [{}, {"num_leaves": 15}, {"categorical_features": [3]}], ids=str)
def test_equal_to_catboost(rows, settings):
    catboost = pytest.importorskip("catboost")
    from lambdamart_kit import CatBoostRanker

    X, y, qid = rows
    ranker = CatBoostRanker(n_estimators=8, random_state=0, **settings).fit(X, y, qid=qid)
    found = ranker.contributions(X[:200])
    assert found.sum(axis=1) == pytest.approx(ranker.predict(X[:200]), abs=1e-9)
    # CatBoost 1.2's own values of trees that grow leaf by leaf do not sum to its scores.
    if not settings:
        own = ranker.booster_.get_feature_importance(catboost.Pool(X[:200]), type="ShapValues")
        assert found == pytest.approx(own, abs=1e-9)


def test_models_beyond_sums_of_leaves_are_lightgbms_affair(rows):
    X, y, qid = rows
    ranker = LightGBMRanker(n_estimators=5, booster_params={"zero_as_missing": True}).fit(X, y, qid=qid)
    found = ranker.contributions(X)
    assert found == pytest.approx(ranker.booster_.predict(X, pred_contrib=True), abs=1e-9)
    linear = LightGBMRanker(n_estimators=5, booster_params={"linear_tree": True}).fit(X, y, qid=qid)
    with pytest.raises(ValueError, match="linear_tree"):
        linear.contributions(X)


@pytest.fixture(scope="module")
def ranker(rows):
    X, y, qid = rows
    return LambdaMART(n_estimators=10, categorical_features=[3], random_state=0).fit(X, y, qid=qid)


def test_same_bits_for_any_threads_batch_and_layout(ranker, rows):
    X = rows[0]
    found = ranker.contributions(X)
    several = pickle.loads(pickle.dumps(ranker)).set_params(n_jobs=3)
    assert np.array_equal(several.contributions(X), found)
    assert np.array_equal(ranker.contributions(X[37:41]), found[37:41])
    dense = np.nan_to_num(X)
    assert np.array_equal(ranker.contributions(sparse.csr_matrix(dense)), ranker.contributions(dense))


def test_another_row_as_background(ranker, rows):
    X = rows[0]
    found = ranker.contributions(X[:100], background=X[100:200])
    assert found.sum(axis=1) == pytest.approx(ranker.predict(X[:100]), abs=1e-9)
    assert found[:, -1] == pytest.approx(ranker.predict(X[100:200]), abs=1e-9)
    itself = ranker.contributions(X[:100], background=X[:100])
    assert not itself[:, :-1].any()
    with pytest.raises(ValueError, match="'background' must have a row for each row"):
        ranker.contributions(X[:100], background=X[:1])


def test_frames_and_saved_rankers(rows, tmp_path):
    X, y, qid = rows
    frame = pd.DataFrame(X, columns=list("abcdefg"))
    frame["d"] = pd.Categorical([f"level {int(v)}" for v in X[:, 3]])
    fitted = LambdaMART(n_estimators=5, random_state=0).fit(frame, y, qid=qid)
    fitted.save(tmp_path / "model.lmk")
    found = fitted.contributions(frame)
    assert found.sum(axis=1) == pytest.approx(fitted.predict(frame), abs=1e-9)
    assert np.array_equal(LambdaMART.load(tmp_path / "model.lmk").contributions(frame), found)


@pytest.mark.parametrize("kind", ["standard", "log1p", "quantile", None])
@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix], ids=["dense", "sparse"])
def test_terms_of_a_linear_ranker(rows, kind, layout):
    if kind == "quantile" and layout is not np.asarray:
        pytest.skip("not of sparse matrices")
    X = layout(np.nan_to_num(rows[0]))
    linear = LinearRanker(input_transform=kind).fit(X, rows[1], qid=rows[2])
    found = linear.contributions(X)
    assert found.sum(axis=1) == pytest.approx(linear.predict(X), abs=1e-9)
    paired = linear.contributions(X[:50], background=X[50:100])
    assert paired[:, :-1] == pytest.approx((found[:50] - found[50:100])[:, :-1], abs=1e-12)
    assert paired[:, -1] == pytest.approx(linear.predict(X[50:100]), abs=1e-9)
    if kind is None:
        assert found[:, :-1] == pytest.approx(np.nan_to_num(rows[0]) * linear.coef_, abs=1e-6)
    with pytest.raises(ValueError, match="'background' must have a row for each"):
        linear.contributions(X[:50], background=X[:3])


@pytest.mark.parametrize("booster", ["native", "lightgbm", "xgboost"])
def test_bags_are_one_sum(rows, booster):
    X, y, qid = rows
    bags = LambdaMART(booster=booster, n_estimators=4, n_bags=3, random_state=0).fit(X, y, qid=qid)
    found = bags.contributions(X[:200])
    tolerance = 1e-5 if booster == "xgboost" else 1e-9
    assert found.sum(axis=1) == pytest.approx(bags.predict(X[:200]), abs=tolerance)
