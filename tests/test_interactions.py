"""Interaction constraints: all features of a path are in one group, whatever grows the trees."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from lambdamart_kit import LambdaMART, LightGBMRanker, XGBoostRanker
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.rankers import load_ranker

SMALL = {"n_estimators": 12, "num_leaves": 16, "min_child_samples": 5, "random_state": 0, "n_jobs": 1}
XGBOOST = {**SMALL, "min_child_samples": None}
RANKERS = {
    "native": LambdaMART(**SMALL),
    "native, features drawn": LambdaMART(**SMALL, colsample_bynode=0.7, colsample_bytree=0.9),
    "native, queries drawn": LambdaMART(**SMALL, subsample=0.6),
    "native, two threads": LambdaMART(**{**SMALL, "n_jobs": 2}),
    "native, bags": LambdaMART(**SMALL, n_bags=3),
    "symmetric": LambdaMART(**SMALL, booster_params={"grow_policy": "symmetric"}),
    "lightgbm": LambdaMART(**SMALL, booster="lightgbm"),
    "xgboost": LambdaMART(**XGBOOST, booster="xgboost"),
    "lambdarank": LightGBMRanker(**SMALL),
    "rank:ndcg": XGBoostRanker(**{k: v for k, v in SMALL.items() if k != "min_child_samples"}),
}
every_ranker = pytest.mark.parametrize("name", RANKERS)
N_FEATURES = 6


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1200, N_FEATURES)).astype(np.float32)
    # Products across all groups below, so that trees without constraints do break them.
    signal = X[:, 0] * X[:, 1] + X[:, 2] * X[:, 3] + X[:, 1] * X[:, 4] + X[:, 5] * X[:, 0]
    return X, np.digitize(signal, [0, 1, 2]), np.repeat(np.arange(60), 20)


def paths(ranker):
    """Features of every path from a root to a leaf, each a frozenset."""
    found = set()

    def walk(tree, node, above):
        if node < 0:
            found.add(above)
            return
        with_node = above | {int(tree.feature[node])}
        walk(tree, int(tree.left[node]), with_node)
        walk(tree, int(tree.right[node]), with_node)

    for tree in ranker.model_.plain_trees():
        if len(tree.feature):
            walk(tree, 0, frozenset())
    return found


def obeys(found, groups):
    return all(any(path <= set(group) for group in groups) for path in found)


@every_ranker
@pytest.mark.parametrize(
    ("given", "groups"),
    [
        ([[0, 1], [2, 3], [4, 5]], [[0, 1], [2, 3], [4, 5]]),
        ([[0, 1, 2], [2, 3]], [[0, 1, 2], [2, 3], [4, 5]]),  # they overlap; the rest is a group
        ([[0, 1]], [[0, 1], [2, 3, 4, 5]]),
        ("no_interactions", [[j] for j in range(N_FEATURES)]),
        ("pairwise", list(itertools.combinations(range(N_FEATURES), 2))),
    ],
)
def test_every_path_stays_in_one_group(name, given, groups, data):
    X, y, qid = data
    ranker = clone(RANKERS[name]).set_params(interaction_constraints=given).fit(X, y, qid=qid)
    found = paths(ranker)
    assert obeys(found, groups)
    # Something is left to learn: several features are used, and groups of two or more do interact.
    assert len(frozenset().union(*found)) > 2
    assert max(map(len, found)) == 1 if given == "no_interactions" else max(map(len, found)) > 1
    assert not obeys(paths(clone(RANKERS[name]).fit(X, y, qid=qid)), groups)


@every_ranker
def test_one_group_of_all_is_no_constraint(name, data):
    X, y, qid = data
    free = clone(RANKERS[name]).fit(X, y, qid=qid)
    whole = clone(free).set_params(interaction_constraints=[list(range(N_FEATURES))]).fit(X, y, qid=qid)
    np.testing.assert_array_equal(whole.predict(X), free.predict(X))


@every_ranker
def test_without_interactions_scores_are_sums_over_features(name, data):
    """f(a, b, rest) + f(a', b', rest) = f(a, b', rest) + f(a', b, rest)."""
    X, y, qid = data
    ranker = clone(RANKERS[name]).set_params(interaction_constraints="no_interactions").fit(X, y, qid=qid)
    one, other, crossed, back = X[:300].copy(), X[:300].copy(), X[:300].copy(), X[:300].copy()
    other[:, :2] = X[300:600, :2]
    crossed[:, 1] = other[:, 1]
    back[:, 0] = other[:, 0]
    straight = ranker.predict(one) + ranker.predict(other)
    np.testing.assert_allclose(straight, ranker.predict(crossed) + ranker.predict(back), atol=1e-5)


def test_with_categories_and_monotone_constraints(data):
    X, y, qid = data
    X = X.copy()
    X[:, 3] = np.digitize(X[:, 3], [-1, 0, 1])
    settings = {"categorical_features": [3], "monotone_constraints": [1, 0, 0, 0, 0, 0]}
    ranker = LambdaMART(**SMALL, **settings, interaction_constraints=[[0, 3], [1, 2]]).fit(X, y, qid=qid)
    assert obeys(paths(ranker), [[0, 3], [1, 2], [4, 5]])
    grid = np.repeat(X[:50], 20, axis=0)
    grid[:, 0] = np.tile(np.linspace(-3, 3, 20), 50)
    assert (np.diff(ranker.predict(grid).reshape(50, 20), axis=1) >= 0).all()


def test_rows_in_any_order_and_threads_give_the_same_trees(data):
    X, y, qid = data
    ranker = LambdaMART(**SMALL, colsample_bynode=0.7, interaction_constraints=[[0, 1], [1, 2, 4]])
    order = np.random.default_rng(1).permutation(len(y))
    expected = clone(ranker).fit(X, y, qid=qid).model_.to_bytes()
    assert clone(ranker).fit(X[order], y[order], qid=qid[order]).model_.to_bytes() == expected
    assert clone(ranker).set_params(n_jobs=2).fit(X, y, qid=qid).model_.to_bytes() == expected


def test_threads_that_share_the_work_agree():
    """Enough values that two threads really run; they write the same masks at the same time."""
    big = make_letor(n_queries=60, random_state=0)
    assert big.X.size > 300_000
    groups = [list(range(0, 50)), list(range(40, 90)), list(range(85, 120))]
    models = [
        LambdaMART(n_estimators=4, random_state=0, n_jobs=n_jobs, interaction_constraints=groups)
        .fit(big.X, big.y, qid=big.qid)
        .model_.to_bytes()
        for n_jobs in (1, 2, 3)
    ]
    assert models[0] == models[1] == models[2]


@pytest.mark.parametrize("booster", ["native", "lightgbm", "xgboost"])
def test_names_and_files(booster, data, tmp_path):
    X, y, qid = data
    settings = XGBOOST if booster == "xgboost" else SMALL
    frame = pd.DataFrame(X, columns=list("abcdef"))
    ranker = LambdaMART(**settings, booster=booster, interaction_constraints=[["a", "b"], ["c", "f"]])
    ranker.fit(frame, y, qid=qid)
    by_index = clone(ranker).set_params(interaction_constraints=[[0, 1], [2, 5]]).fit(X, y, qid=qid)
    np.testing.assert_array_equal(ranker.predict(frame), by_index.predict(X))
    ranker.save(tmp_path / "m.lmk")
    loaded = load_ranker(tmp_path / "m.lmk")
    assert loaded.interaction_constraints == [["a", "b"], ["c", "f"]]
    np.testing.assert_array_equal(loaded.predict(frame), ranker.predict(frame))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([["z"]], r"names 'z', which 'X' does not have"),
        ([[1.5]], r"must hold lists of columns, by index or name, such as \[\[0, 1\], \[2\]\]; got"),
        ([[True]], "must hold lists of columns"),
        ([0, 1], "must hold lists of columns"),
        (["ab"], "must hold lists of columns"),
        ([[]], "must hold no empty group"),
        ([[6]], r"must name columns in 0 \.\. 5, those of 'X'; got 6"),
        ([[-1]], r"must name columns in 0 \.\. 5"),
        (3, "'interaction_constraints' parameter"),
        ("all", "'interaction_constraints' parameter"),
    ],
)
def test_bad_constraints(given, message, data):
    X, y, qid = data
    frame = pd.DataFrame(X, columns=list("abcdef"))
    with pytest.raises(ValueError, match=message):
        LambdaMART(**SMALL, interaction_constraints=given).fit(frame, y, qid=qid)


# ------------------------------------------------------------------------------------------- stages


@every_ranker
def test_stages_are_the_scores_of_the_first_trees(name, data):
    X, y, qid = data
    ranker = clone(RANKERS[name]).fit(X, y, qid=qid)
    stages = list(ranker.staged_predict(X[:200]))
    sizes = ranker.bag_iterations_ or [ranker.model_.n_trees]
    assert len(stages) == max(sizes)
    np.testing.assert_allclose(stages[-1], ranker.predict(X[:200]), atol=1e-6)
    for n_trees in (1, 5, len(stages)):
        short = ranker.predict(X[:200], n_trees=n_trees)
        np.testing.assert_allclose(stages[n_trees - 1], short, atol=1e-6)
        fewer = clone(ranker).set_params(n_estimators=n_trees).fit(X, y, qid=qid)
        np.testing.assert_allclose(short, fewer.predict(X[:200]), atol=1e-6)


def test_stages_of_catboost(data):
    pytest.importorskip("catboost")
    from lambdamart_kit import CatBoostRanker

    X, y, qid = data
    ranker = CatBoostRanker("RMSE", n_estimators=6, random_state=0, n_jobs=1).fit(X, y, qid=qid)
    stages = list(ranker.staged_predict(X[:100]))
    np.testing.assert_allclose(stages[-1], ranker.predict(X[:100]), atol=1e-9)
    np.testing.assert_allclose(stages[2], ranker.predict(X[:100], n_trees=3), atol=1e-9)


def test_stages_of_a_forest_of_means(data):
    """LightGBM's random forest scores the mean of its trees."""
    X, y, qid = data
    ranker = LightGBMRanker(**{**SMALL, "subsample": 0.5}, booster_params={"boosting": "rf"}).fit(
        X, y, qid=qid
    )
    stages = list(ranker.staged_predict(X[:100]))
    np.testing.assert_allclose(stages[-1], ranker.predict(X[:100]), atol=1e-12)
    np.testing.assert_allclose(stages[3], ranker.predict(X[:100], n_trees=4), atol=1e-12)


def test_bags_that_stop_at_different_trees(data):
    X, y, qid = data
    ranker = LambdaMART(**{**SMALL, "n_estimators": 60}, n_bags=3, early_stopping_rounds=3)
    ranker.fit(X, y, qid=qid)
    assert len(set(ranker.bag_iterations_)) > 1
    stages = list(ranker.staged_predict(X[:100]))
    assert len(stages) == max(ranker.bag_iterations_)
    np.testing.assert_allclose(stages[-1], ranker.predict(X[:100]), atol=1e-12)
    leaves = ranker.leaf_indices(X[:1])[0]
    values = [tree.value[leaf] for tree, leaf in zip(ranker.model_.plain_trees(), leaves)]
    starts = np.cumsum([0, *ranker.bag_iterations_[:-1]])
    assert stages[0][0] == pytest.approx(sum(values[start] for start in starts))


@pytest.mark.parametrize("n_trees", [0, 13, -1, 2.5, True, "3"])
def test_bad_number_of_trees(n_trees, data):
    X, y, qid = data
    ranker = LambdaMART(**SMALL).fit(X, y, qid=qid)
    with pytest.raises(ValueError, match="'n_trees' must be a number from 1 to 12, the trees there are"):
        ranker.predict(X, n_trees=n_trees)


def test_stages_check_their_rows_at_once(data):
    X, y, qid = data
    ranker = LambdaMART(**SMALL).fit(X, y, qid=qid)
    with pytest.raises(ValueError, match="X has 2 features, but LambdaMART is expecting 6"):
        ranker.staged_predict(X[:, :2])
