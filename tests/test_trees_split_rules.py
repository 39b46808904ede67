"""Every rule of a split against arithmetic written out: bounds, lambda, alpha, categories, unseen NaN."""

from __future__ import annotations

import numpy as np
import pytest

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.trees.binning import BinMapper
from lambdamart_kit.trees.growth.grower import Grower
from lambdamart_kit.trees.growth.symmetric import SymmetricGrower
from lambdamart_kit.trees.parameters import TreeParameters

RATE = 0.1
LOOSE = {"min_child_samples": 1, "min_child_weight": 0.0, "learning_rate": RATE}


def grow(X, gradient, hessian, *, categorical=(), policy=Grower, **settings):
    X = np.asarray(X, dtype=np.float32)
    queries = Queries.from_qid(np.arange(len(X)), len(X))
    binned = BinMapper.fit(X, queries, categorical=categorical).transform(X)
    grower = policy(binned, queries, TreeParameters(**{**LOOSE, **settings}))
    gradient, hessian = np.asarray(gradient, np.float32), np.asarray(hessian, np.float32)
    scores = np.zeros(len(X))
    return grower.grow(gradient, hessian, scores, tree_index=0), scores, binned


def rows_below(tree, binned):
    """Rows of every node, from the root down, and of every leaf."""
    nodes = {0: np.arange(binned.n_samples)}
    leaves = {}
    for node, (left, right) in enumerate(tree.children):
        bins = binned.columns[tree.feature[node], nodes[node]]
        goes_left = np.array([tree.bins_left[node][b >> 6] >> np.uint64(b & 63) & np.uint64(1) for b in bins])
        for child, side in ((left, goes_left == 1), (right, goes_left == 0)):
            (leaves if child < 0 else nodes)[int(~child if child < 0 else child)] = nodes[node][side]
    return nodes, leaves


def soft(G, alpha):
    return np.sign(G) * max(abs(G) - alpha, 0.0)


def monotone_problem(seed, direction):
    """A weak effect of the constrained column beside a strong one of another: bounds are in the way."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(size=(1500, 2))
    target = (
        direction * 0.4 * X[:, 0] + 3 * np.sin(5 * X[:, 1]) * (0.3 + X[:, 0]) + 0.2 * rng.normal(size=1500)
    )
    return X, -target, rng.uniform(0.5, 1, 1500)


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("penalty", [{}, {"reg_lambda": 40.0}, {"reg_lambda": 20.0, "reg_alpha": 10.0}])
def test_bounds_of_monotone_constraints(direction, penalty):
    """Gain and value of every node and leaf, with the bounds worked out from the root down."""
    X, gradient, hessian = monotone_problem(0, direction)
    tree, _, binned = grow(
        X, gradient, hessian, num_leaves=24, monotone_constraints=(direction, 0), **penalty
    )
    lam, alpha = penalty.get("reg_lambda", 0.0), penalty.get("reg_alpha", 0.0)
    nodes, leaves = rows_below(tree, binned)
    bounds = {0: (-np.inf, np.inf)}
    held_back = 0

    def sums(rows):
        return gradient[rows].sum(), hessian[rows].sum()

    for node, (left, right) in enumerate(tree.children):
        low, high = bounds[node]
        G, H = sums(nodes[node])
        gain = -(soft(G, alpha) ** 2) / (H + lam)
        outputs = []
        for child in (left, right):
            g, h = sums(leaves[~child] if child < 0 else nodes[child])
            step = -soft(g, alpha) / (h + lam)
            w = np.clip(step, low, high)
            held_back += w != step
            gain += -(2 * soft(g, alpha) * w + (h + lam) * w**2)
            outputs.append(w)
        assert tree.gain[node] == pytest.approx(gain, rel=0.02, abs=0.05)
        middle = sum(outputs) / 2
        sides = [[low, high], [low, high]]
        if tree.feature[node] == 0:
            sides[0][1 if direction > 0 else 0] = middle
            sides[1][0 if direction > 0 else 1] = middle
        for child, side in zip((left, right), sides):
            if child >= 0:
                bounds[child] = tuple(side)
                continue
            g, h = sums(leaves[~child])
            step = -soft(g, alpha) / (h + lam)
            expected = RATE * np.clip(step, *side)
            assert tree.leaf_value[~child] == pytest.approx(expected, rel=2e-3, abs=2e-4)
    assert held_back >= 1 or penalty  # the case is one where bounds matter
    assert (tree.feature == 0).sum() >= 2


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("seed", range(4))
def test_no_leaf_on_the_right_lies_below_one_on_the_left(seed, direction):
    X, gradient, hessian = monotone_problem(seed, direction)
    tree, _, _ = grow(X, gradient, hessian, num_leaves=40, monotone_constraints=(direction, 0))

    def values(child):
        if child < 0:
            return [tree.leaf_value[~child]]
        return [value for below in tree.children[child] for value in values(below)]

    for node in np.flatnonzero(tree.feature == 0):
        left, right = map(values, tree.children[node])
        lower, upper = (left, right) if direction > 0 else (right, left)
        assert max(lower) <= min(upper) + 1e-12


@pytest.mark.parametrize("penalty", [{"reg_lambda": 30.0}, {"reg_lambda": 30.0, "reg_alpha": 15.0}])
def test_a_constraint_that_holds_anyway_changes_no_gain(penalty):
    rng = np.random.default_rng(1)
    X = rng.uniform(size=(800, 2))
    gradient = -(5 * X[:, 0] + rng.normal(size=800))
    hessian = np.ones(800)
    free, _, _ = grow(X, gradient, hessian, num_leaves=2, **penalty)
    bound, _, _ = grow(X, gradient, hessian, num_leaves=2, monotone_constraints=(1, 0), **penalty)
    assert free.feature[0] == 0
    assert free.threshold_bin[0] == bound.threshold_bin[0]
    assert bound.gain[0] == pytest.approx(free.gain[0], rel=1e-9)


@pytest.mark.parametrize("policy", [Grower, SymmetricGrower])
@pytest.mark.parametrize("heavy_side", [0, 1])
def test_nan_that_was_not_seen_goes_to_the_side_with_more_hessian(policy, heavy_side):
    X = (np.arange(200) >= (80 if heavy_side else 120)).astype(float)[:, None]
    hessian = np.ones(200)
    tree, _, _ = grow(X, np.where(X[:, 0] > 0, 1.0, -1.0), hessian, num_leaves=2, policy=policy)
    assert tree.nan_left[0] == (heavy_side == 0)
    hessian[X[:, 0] == heavy_side] = 0.05  # fewer in all now, though more in number
    tree, scores, binned = grow(X, np.where(X[:, 0] > 0, 1.0, -1.0), hessian, num_leaves=2, policy=policy)
    assert tree.nan_left[0] == (heavy_side == 1)
    out = np.zeros(1)
    tree.add_to(out, binned.mapper.transform(np.array([[np.nan]], dtype=np.float32)))
    assert out[0] == scores[0 if heavy_side == 1 else -1]


@pytest.mark.parametrize("policy", [Grower, SymmetricGrower])
def test_nan_that_was_not_seen_goes_left_where_both_sides_weigh_the_same(policy):
    X = (np.arange(200) >= 100).astype(float)[:, None]
    tree, _, _ = grow(X, np.where(X[:, 0] > 0, 1.0, -1.0), np.ones(200), num_leaves=2, policy=policy)
    assert tree.nan_left[0]


def best_categories(codes, gradient, hessian, *, smooth, l2, most, lam, alpha):
    """Largest gain of a prefix, from either end, of the categories in order of G / (H + smooth)."""
    G, H = np.bincount(codes, gradient), np.bincount(codes, hessian)

    def score(g, h):
        return soft(g, alpha) ** 2 / (h + lam + l2)

    order = np.argsort(G / (H + smooth), kind="stable")
    parent = soft(G.sum(), alpha) ** 2 / (H.sum() + lam)
    best = (0.0, frozenset())
    for ranked in (order, order[::-1]):
        for taken in range(1, min(most, len(order)) + 1):
            left = ranked[:taken]
            g, h = G[left].sum(), H[left].sum()
            if h < H.sum():
                gain = score(g, h) + score(G.sum() - g, H.sum() - h) - parent
                best = max(best, (gain, frozenset(left.tolist())), key=lambda pair: pair[0])
    return best


@pytest.mark.parametrize(
    ("smooth", "l2", "most", "lam", "alpha"),
    [
        (0.0, 0.0, 32, 0.0, 0.0),
        (60.0, 0.0, 2, 0.0, 0.0),
        (400.0, 0.0, 1, 0.0, 0.0),
        (0.0, 40.0, 32, 0.0, 0.0),
        (0.0, 0.0, 1, 0.0, 0.0),
        (0.0, 0.0, 2, 0.0, 0.0),
        (10.0, 10.0, 3, 5.0, 8.0),
        (400.0, 5.0, 32, 1.0, 0.0),
    ],
)
def test_settings_of_categorical_splits(smooth, l2, most, lam, alpha):
    """Rare categories with large means beside frequent ones: each setting changes what is best."""
    rng = np.random.default_rng(3)
    codes = rng.choice(10, 1500, p=np.array([30, 20, 15, 10, 8, 6, 5, 3, 2, 1]) / 100)
    means = 0.5 + np.array([0.1, -0.4, 0.3, -0.2, 0.9, -1.0, 1.3, -1.6, 2.5, -3.0])
    gradient = means[codes] + rng.normal(size=1500)
    hessian = rng.uniform(0.2, 1.0, 1500)
    tree, _, binned = grow(
        codes[:, None],
        gradient,
        hessian,
        categorical=[0],
        num_leaves=2,
        cat_smooth=smooth,
        cat_l2=l2,
        max_cat_threshold=most,
        reg_lambda=lam,
        reg_alpha=alpha,
    )
    gain, left = best_categories(
        codes, gradient, hessian, smooth=smooth, l2=l2, most=most, lam=lam, alpha=alpha
    )
    _, leaves = rows_below(tree, binned)
    assert tree.gain[0] == pytest.approx(gain, rel=5e-3)
    assert set(codes[leaves[0]]) in (left, set(range(10)) - left)
    if most < 5:
        assert len(set(codes[leaves[0]])) <= most


def test_settings_of_categorical_splits_each_matter():
    """The oracle's answers differ, so the test above can tell the settings apart."""
    rng = np.random.default_rng(3)
    codes = rng.choice(10, 1500, p=np.array([30, 20, 15, 10, 8, 6, 5, 3, 2, 1]) / 100)
    means = 0.5 + np.array([0.1, -0.4, 0.3, -0.2, 0.9, -1.0, 1.3, -1.6, 2.5, -3.0])
    gradient, hessian = means[codes] + rng.normal(size=1500), rng.uniform(0.2, 1.0, 1500)
    plain = {"smooth": 0.0, "l2": 0.0, "most": 32, "lam": 0.0, "alpha": 0.0}
    gains = [best_categories(codes, gradient, hessian, **plain)[0]]
    for changed in (
        {"l2": 40.0},
        {"lam": 5.0},
        {"alpha": 8.0},
        {"most": 1},
        {"most": 2},
        {"most": 1, "smooth": 400.0},
    ):
        gains.append(best_categories(codes, gradient, hessian, **{**plain, **changed})[0])
    assert len({round(gain, 1) for gain in gains}) == len(gains)


@pytest.mark.parametrize("alpha", [0.0, 4.0, 25.0])
@pytest.mark.parametrize("lam", [0.0, 10.0])
def test_alpha_and_lambda_in_symmetric_trees(alpha, lam):
    rng = np.random.default_rng(4)
    X = rng.integers(0, 6, (300, 3)).astype(float)
    gradient = X[:, 0] - 2 + 0.7 * (X[:, 1] - 2) * (X[:, 2] > 2) + rng.normal(size=300)
    hessian = rng.uniform(0.3, 1, 300)

    def score(rows):
        return soft(gradient[rows].sum(), alpha) ** 2 / (hessian[rows].sum() + lam) if rows.any() else 0.0

    leaf = np.zeros(300, dtype=int)
    for _ in range(2):
        splits = [X[:, j] > value for j in range(3) for value in range(5)]
        totals = [
            sum(score((leaf == k) & side) for k in np.unique(leaf) for side in (right, ~right))
            for right in splits
        ]
        leaf = 2 * leaf + splits[int(np.argmax(totals))]
    tree, scores, _ = grow(
        X, gradient, hessian, num_leaves=4, reg_alpha=alpha, reg_lambda=lam, policy=SymmetricGrower
    )
    for k in np.unique(leaf):
        G, H = gradient[leaf == k].sum(), hessian[leaf == k].sum()
        np.testing.assert_allclose(
            scores[leaf == k], -RATE * soft(G, alpha) / (H + lam), rtol=1e-5, atol=1e-9
        )
    everyone = np.ones(300, dtype=bool)
    first = leaf >= 2
    assert tree.gain[0] == pytest.approx(score(first) + score(~first) - score(everyone), rel=1e-5)


def test_alpha_decides_which_symmetric_split_is_best():
    """A large sum spread over many small nodes loses to one that survives the threshold."""
    X = np.zeros((40, 2))
    X[:20, 0] = 1  # the first column: sums of +12 and -12
    X[::2, 1] = 1
    gradient = np.where(X[:, 0] > 0, 0.6, -0.6)
    tree, _, _ = grow(X, gradient, np.ones(40), num_leaves=2, reg_alpha=11.0, policy=SymmetricGrower)
    assert tree.gain[0] == pytest.approx(2 * (12 - 11) ** 2 / 20, rel=1e-3)
    none, _, _ = grow(X, gradient, np.ones(40), num_leaves=2, reg_alpha=13.0, policy=SymmetricGrower)
    assert none.n_leaves == 1
