from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.runtime.threads import run
from lambdamart_kit.trees.binning import BinMapper
from lambdamart_kit.trees.growth import histogram, quantising, state
from lambdamart_kit.trees.growth import leafwise as growing
from lambdamart_kit.trees.growth.grower import Grower
from lambdamart_kit.trees.growth.state import Crew, Drawing, Rounding, Sample, Scales
from lambdamart_kit.trees.parameters import TreeParameters

LOOSE = {"min_child_samples": 1, "min_child_weight": 0.0}


def problem(rng, n=300, d=5, *, whole=False):
    """Zeros, few values, a constant column, NaN; whole gradients are quantised without rounding."""
    X = rng.normal(size=(n, d)).astype(np.float32)
    X[:, 1] = np.maximum(X[:, 1], 0)
    X[:, 2] = X[:, 2].round()
    X[rng.random(n) < 0.2, 3] = np.nan
    X[:, 4] = 1
    gradient = X[:, 0] + np.nan_to_num(X[:, 3], nan=1.5) + rng.normal(size=n)
    hessian = rng.uniform(0.1, 1, n)
    if whole:  # the peak decides the scale: 32,766 quanta and 65,534
        gradient, hessian = gradient.round(), np.full(n, 1.0)
    return X, gradient.astype(np.float32), hessian.astype(np.float32)


def grow(X, gradient, hessian, *, n_threads=1, queries=None, categorical=(), trees=1, **settings):
    queries = Queries.from_qid(np.arange(len(X)), len(X)) if queries is None else queries
    binned = BinMapper.fit(X, queries, categorical=categorical).transform(X)
    grower = Grower(binned, queries, TreeParameters(**settings), n_threads=n_threads)
    scores = np.zeros(len(X))
    return [grower.grow(gradient, hessian, scores, tree_index=i) for i in range(trees)], scores, binned


def rows_of(tree, binned):
    """Rows of every leaf, by walking the tree in plain Python."""
    leaves = [[] for _ in range(tree.n_leaves)]
    for row in range(binned.n_samples):
        at = 0 if len(tree.feature) else -1
        while at >= 0:
            b = int(binned.columns[tree.feature[at], row])
            left = int(tree.bins_left[at][b // 64]) >> (b % 64) & 1
            at = tree.children[at, 0 if left else 1]
        leaves[~at].append(row)
    return leaves


def rows_of_nodes(tree, binned):
    """Rows of every node and, at ``~leaf``, leaf."""
    members = {~leaf: rows for leaf, rows in enumerate(rows_of(tree, binned))}
    for node in reversed(range(len(tree.feature))):
        members[node] = [r for child in tree.children[node] for r in members[child]]
    return members


def best_split(X, gradient, hessian, rows, *, least=1, reg_lambda=0.0, reg_alpha=0.0):
    """Best gain of any threshold, NaN on either side, by brute force over raw values."""
    best = 0.0

    def score(selected):
        soft = max(abs(gradient[selected].sum()) - reg_alpha, 0.0)
        return soft**2 / (hessian[selected].sum() + reg_lambda)

    for j in range(X.shape[1]):
        column = X[rows, j]
        for value in np.unique(column[~np.isnan(column)]):
            for nan_left in (False, True):
                left = (column <= value) | (np.isnan(column) & nan_left)
                if min(left.sum(), (~left).sum()) >= least:
                    gain = score(rows[left]) + score(rows[~left]) - score(rows)
                    best = max(best, gain)
    return best


@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_histograms_are_numpys(rng, n_threads):
    X, _, _ = problem(rng, 700, 9)
    binned = BinMapper.fit(X).transform(X)
    layout = histogram.make_layout(binned, n_threads)
    rows = np.sort(rng.choice(700, 333, replace=False))
    g, h = rng.integers(-32766, 32767, 333), rng.integers(0, 65535, 333)
    carried = (g << 48) | (h << 32) | rows
    packed = (g << 32) + h
    out = np.zeros(layout.n_slots, np.int64)
    for thread in range(n_threads):
        histogram.accumulate(layout, 0, thread, thread + 1, carried, out)
        histogram.complete(layout, thread, packed.sum(), out)
    for feature in layout.features:
        start, n_bins = feature[histogram.START], feature[histogram.N_BINS]
        expected = np.zeros(n_bins, np.int64)
        np.add.at(expected, binned.columns[feature[histogram.COLUMN], rows], packed)
        assert np.array_equal(out[start : start + n_bins], expected)


def test_blocks_have_about_equal_work(rng):
    """Dealt heaviest first to the lightest block, no block exceeds the lightest by more than one feature."""
    used = np.flatnonzero(rng.random(60) < 0.8)
    listed, slots = rng.integers(1, 1000, 60), np.full(60, 16)
    blocks = histogram._deal_to(4, 16 * 16, used, listed, slots)
    assert np.array_equal(np.sort(np.concatenate(blocks)), used)
    assert max(map(len, blocks)) <= 16
    work = [listed[block].sum() for block in blocks]
    overhead = 0.002 * listed.max() * 60
    assert max(work) - min(work) <= np.sort(listed[used])[len(used) // 2] + overhead
    # A feature that finds no room in any block asks for more planes.
    assert histogram._deal_to(4, 16 * (len(used) // 4), used, listed, slots) is None


def test_constant_columns_are_in_no_block(rng):
    X, _, _ = problem(rng, 700, 9)
    layout = histogram.make_layout(BinMapper.fit(X).transform(X), 2)
    assert sorted(layout.features[:, histogram.COLUMN]) == [0, 1, 2, 3, 5, 6, 7, 8]  # column 4 is all ones


def test_wide_data_takes_several_planes(rng):
    X = rng.normal(size=(300, 400)).astype(np.float32)  # 400 x 255 bins do not fit in 16 bits
    layout = histogram.make_layout(BinMapper.fit(X).transform(X), 2)
    assert len(layout.row_ptr) == 2
    gradient, hessian = (X[:, 7] + X[:, 390]).astype(np.float32), np.ones(300, np.float32)
    (one,), _, _ = grow(X, gradient, hessian, num_leaves=4)
    (two,), _, _ = grow(X, gradient, hessian, num_leaves=4, n_threads=2)
    assert np.array_equal(one.feature, two.feature)
    assert set(one.feature) <= {7, 390}


@pytest.mark.parametrize("least", [1, 40])
@pytest.mark.parametrize("penalty", [{}, {"reg_lambda": 5.0}, {"reg_lambda": 2.0, "reg_alpha": 3.0}])
def test_every_split_is_the_best_there_is(rng, least, penalty):
    X, gradient, hessian = problem(rng, 200, whole=True)
    settings = {**LOOSE, "min_child_samples": least, "num_leaves": 8, **penalty}
    (tree,), _, binned = grow(X, gradient, hessian, **settings)
    members = rows_of_nodes(tree, binned)
    for node in range(len(tree.feature)):
        rows = np.sort(members[node])
        assert tree.node_count[node] == len(rows)
        expected = best_split(X, gradient, hessian, rows, least=least, **penalty)
        # whole gradients have an exact multiple of the scale only up to stochastic rounding of 1 in 1e4
        assert tree.gain[node] == pytest.approx(expected, rel=2e-3)
    assert tree.leaf_count.min() >= least
    assert tree.gain[0] == max(tree.gain)


@pytest.mark.parametrize("categorical", [(), (2,)])
def test_rows_of_a_leaf_count_by_their_hessian(rng, categorical):
    """LightGBM's rule for the fewest rows: few rows may be a leaf if they weigh as much as many."""
    X, gradient, _ = problem(rng, 1000)
    X[:, 2] = rng.integers(0, 6, 1000)
    hessian = np.where(rng.random(1000) < 0.1, 1.0, 0.01).astype(np.float32)
    settings = {**LOOSE, "min_child_samples": 30, "num_leaves": 20}
    (tree,), _, binned = grow(X, gradient, hessian, categorical=categorical, **settings)
    members = rows_of_nodes(tree, binned)
    for node, children in enumerate(tree.children):
        mean = hessian[members[node]].mean()
        for child in children:
            assert hessian[members[child]].sum() > 29.4 * mean  # 29.5 but for rounding
    assert tree.leaf_count.min() < 30
    for criterion, same_for_all in (("least_squares", hessian), ("newton", np.full(1000, 0.3, np.float32))):
        (tree,), _, _ = grow(X, gradient, same_for_all, split_criterion=criterion, **settings)
        assert tree.leaf_count.min() >= 30


def test_leaves_are_newton_steps_and_scores_follow(rng):
    X, gradient, hessian = problem(rng)
    (tree,), scores, binned = grow(X, gradient, hessian, reg_lambda=2.0, reg_alpha=3.0, num_leaves=9)
    for leaf, rows in enumerate(rows_of(tree, binned)):
        G, H = gradient[rows].astype(float).sum(), hessian[rows].astype(float).sum()
        value = -0.1 * np.sign(G) * max(abs(G) - 3, 0) / (H + 2)
        assert tree.leaf_value[leaf] == pytest.approx(value, rel=1e-9)
        assert tree.leaf_count[leaf] == len(rows)
        assert tree.leaf_weight[leaf] == pytest.approx(H, rel=1e-6)
        assert (scores[rows] == tree.leaf_value[leaf]).all()


def test_leaf_wise_takes_the_best_leaf_first(rng):
    X, gradient, hessian = problem(rng, 2000)
    (small,), _, _ = grow(X, gradient, hessian, num_leaves=8)
    (large,), _, _ = grow(X, gradient, hessian, num_leaves=16)
    assert np.array_equal(small.gain, large.gain[:7])


def same(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in a.__dataclass_fields__)


@pytest.fixture
def samples_few(monkeypatch):
    """Rows are sampled on small data too."""
    monkeypatch.setattr(state, "FEWEST_TO_SAMPLE", 0)


@pytest.mark.usefixtures("samples_few")
def test_trees_do_not_depend_on_threads_or_order_of_rows(rng):
    X, gradient, hessian = problem(rng, 4000)
    X[2000:2100] = X[:100]  # twins with gradients of their own
    gradient[::3] *= 0.01
    hessian[::3] *= 0.01
    settings = {"num_leaves": 31, "subsample": 0.7, "colsample_bynode": 0.7, "trees": 3, "mvs_noise": 0.5}
    queries = Queries.from_qid(np.arange(4000) // 10, 4000)
    order = rng.permuted(np.arange(4000).reshape(-1, 10), axis=1).ravel()
    trees, scores, _ = grow(X, gradient, hessian, queries=queries, **settings)
    for n_threads in (1, 2, 3):
        again, shuffled, _ = grow(
            X[order], gradient[order], hessian[order], queries=queries, n_threads=n_threads, **settings
        )
        assert all(map(same, trees, again))
        assert np.array_equal(scores[order], shuffled)


def test_sharing_by_rows_changes_nothing(rng, monkeypatch):
    X, gradient, hessian = problem(rng, 8000)
    (by_rows,), _, _ = grow(X, gradient, hessian, n_threads=2)
    (alone,), _, _ = grow(X, gradient, hessian)
    assert 2 * growing._ROWS_TO_SHARE < 8000
    assert same(by_rows, alone)


@pytest.mark.parametrize("factor", [1e-30, 1e-3, 1e30])
def test_the_scale_of_gradients_cancels(rng, factor):
    X, gradient, hessian = problem(rng)
    (tree,), _, _ = grow(X, gradient, hessian, min_child_weight=0)
    scaled = (gradient * np.float32(factor)).astype(np.float32)
    (other,), _, _ = grow(X, scaled, hessian, min_child_weight=0)
    assert np.isfinite(other.leaf_value).all()
    assert other.gain[0] == pytest.approx(tree.gain[0] * factor**2, rel=1e-2)


@kernel(cache=False)
def _plain_scales_of(g, h, rounding, peaks, sums, arrivals):
    return quantising.plain_scales(
        quantising.find_scales(Crew(0, 1, arrivals, arrivals), g, h, rounding, peaks, sums)
    )


def scales_of(g, h, noise, *, constant=False):
    drawing, rounding = Drawing.allocate(1), Rounding(0, noise, constant)
    arrivals = np.zeros(16, np.int64)
    return Scales(*_plain_scales_of(g, h, rounding, drawing.peaks, drawing.sums, arrivals))


@pytest.mark.parametrize("noise", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("factor", [2.0**-60, 1.0, 2.0**60])
@pytest.mark.parametrize("n_heavy", [0, 1, 500])
def test_scales_written_out(rng, noise, factor, n_heavy):
    """Formulas of the module's docstring; a power of two cancels without error, however small or large."""
    n = 2000
    g = rng.normal(size=n).astype(np.float32)
    g[:n_heavy] *= 300
    h = rng.uniform(0.5, 1, n).astype(np.float32)
    scales = scales_of(np.float32(factor) * g, np.float32(factor) * h, noise)
    for values, most, most_in_all, scale, per in (
        (np.abs(g).astype(float), 32_766, 2**31 - 1, scales.gradient, scales.per_gradient),
        (h.astype(float), 65_534, 2**32 - 1, scales.hessian, scales.per_hessian),
    ):
        threshold = noise * (values**2).sum() / values.sum()
        for_one = most / max(values.max(), threshold)
        for_all = (most_in_all - n) / (values.sum() + n * threshold)
        assert scale * factor == pytest.approx(min(for_one, for_all), rel=1e-9)
        assert per * factor == pytest.approx(1 / threshold if noise else 0.0, rel=1e-9)


@pytest.mark.parametrize("constant", [False, True])
def test_scales_of_gradients_that_are_all_zero(constant):
    """Thresholds of 0 leave no row out; a constant hessian counts rows, and then every row takes part."""
    ones, zeros = np.ones(10, np.float32), np.zeros(10, np.float32)
    for g, h in ((zeros, ones), (ones, zeros), (zeros, zeros)):
        scales = scales_of(g, h, 0.2, constant=constant)
        assert scales.per_gradient == scales.per_hessian == 0.0
        assert 0 < scales.gradient < np.inf
        assert scales.hessian == 1.0 if constant else 0 < scales.hessian < np.inf
    half = scales_of(ones, np.full(10, 0.5, np.float32), 0.2, constant=constant)
    assert half.hessian == 1.0 if constant else half.hessian == pytest.approx(65_534 / 0.5)
    assert half.per_gradient == 0.0 if constant else half.per_gradient == pytest.approx(1 / 0.2)


def quantised(g, h, content, scales, *, seed=7):
    """Rows that take part, the others, and quantised gradients and hessians of the former."""
    n = len(g)
    words, rows, drawing = np.empty(n, np.int64), np.arange(n, dtype=np.int32), Drawing.allocate(1)
    sample, rounding, drawn = Sample(rows, g, h, content), Rounding(seed, 0.0, False), drawing[:2]
    heavy, total = quantising.quantise_share(
        0, n, sample, rounding, scales, *(buffer[0] for buffer in drawn), words, words
    )
    g_int, h_int = words[:heavy] >> 48, words[:heavy] >> 32 & 0xFFFF
    assert total == (g_int << 32).sum() + h_int.sum()
    numbers = words & 0xFFFFFFFF
    assert np.array_equal(np.sort(numbers), rows)  # no row is lost
    return numbers[:heavy], numbers[heavy:], g_int, h_int


@pytest.mark.parametrize("noise", [0.0, 0.2, 1.0])
def test_sums_never_leave_their_fields(rng, noise):
    """One heavy row in a crowd, and a crowd of equal rows: the bounds are reached, not crossed."""
    content = rng.integers(0, 2**63, 200_000).astype(np.uint64)
    for gradient in (np.ones(200_000), np.where(np.arange(200_000) == 5, 1e6, 1.0), -np.ones(200_000)):
        g, h = gradient.astype(np.float32), np.abs(gradient).astype(np.float32)
        scales = scales_of(g, h, noise)
        rows, _, g_int, h_int = quantised(g, h, content, scales)
        assert np.abs(g_int).sum() < 2**31
        assert h_int.sum() < 2**32
        if noise == 0.0:
            assert len(rows) == len(g)
            assert np.abs(g_int - g * scales.gradient).max() <= 1
            assert g_int.sum() / scales.gradient == pytest.approx(g.sum(), rel=0.01)
            assert np.abs(g_int).sum() > 2**30 or np.abs(g_int).max() > 32_000  # as fine as it can be


def test_the_bound_holds_even_if_every_light_row_takes_part():
    """Content whose hash draws 0: the worst that can happen to the sums."""
    g = np.r_[np.full(100_000, 1e-3), np.full(300, 1.0)].astype(np.float32)
    scales = scales_of(g, g, 1.0)
    assert 1e-3 * scales.per_gradient < 1  # the crowd is light
    worst = np.maximum(g, 1 / scales.per_gradient).sum(dtype=float)
    assert worst * scales.gradient + len(g) < 2**31
    assert np.maximum(g, 1 / scales.per_hessian).sum(dtype=float) * scales.hessian + len(g) < 2**32


def test_stochastic_rounding_is_unbiased(rng):
    n = 100_000
    g = np.full(n, 1.0, np.float32)
    scales = Scales(0.3, 0.6, 2.0**20, 2.0**20, 0.0, 0.0)
    content = rng.integers(0, 2**63, n).astype(np.uint64)
    rows, light, g_int, h_int = quantised(g, g, content, scales)
    assert len(rows) == n
    assert len(light) == 0
    assert g_int.mean() == pytest.approx(0.3, abs=0.006)
    assert h_int.mean() == pytest.approx(0.6, abs=0.006)


def test_sampling_small_gradients_is_unbiased_and_its_noise_is_bounded(rng):
    n, draws = 3000, 400
    g = (rng.standard_t(2, n) * 0.1).astype(np.float32)
    h = np.abs(rng.standard_t(2, n) * 0.05).astype(np.float32)
    g[:50] = h[:50] = 0.0
    content = rng.integers(0, 2**63, n).astype(np.uint64)
    scales = scales_of(g, h, 0.2)
    sums, squares, taken = np.zeros((2, n)), np.zeros((2, n)), np.zeros(n)
    for seed in range(draws):
        rows, light, g_int, h_int = quantised(g, h, content, scales, seed=seed)
        values = np.stack([g_int / scales.gradient, h_int / scales.hessian])
        sums[:, rows] += values
        squares[:, rows] += values**2
        taken[rows] += 1
        assert set(light) >= set(range(50))  # what weighs nothing never takes part
    for real, total, square in zip((g, h), sums, squares):
        mean, variance = total / draws, square / draws - (total / draws) ** 2
        error = np.sqrt(np.maximum(variance, 1e-12) / draws)
        assert (np.abs(mean - real) < 6 * error + 1e-3 * np.abs(real) + 1e-4 * np.abs(real).max()).all()
        assert variance.sum() < 0.2 * (real.astype(float) ** 2).sum()
    share = np.minimum(1, np.maximum(np.abs(g) * scales.per_gradient, h * scales.per_hessian))
    assert np.abs(taken / draws - share).max() < 6 * 0.5 / np.sqrt(draws)
    assert 0.3 < share.mean() < 0.7
    heavy = share == 1
    assert (taken[heavy] == draws).all()


def test_few_rows_all_take_part(rng):
    X, gradient, hessian = problem(rng, 1000)
    gradient *= np.exp(2 * rng.normal(size=1000)).astype(np.float32)
    (tree,), _, _ = grow(X, gradient, hessian, mvs_noise=1.0)
    (whole,), _, _ = grow(X, gradient, hessian, mvs_noise=0.0)
    assert same(tree, whole)


@pytest.mark.usefixtures("samples_few")
def test_light_rows_count_and_move_the_leaves(rng):
    """Rows left out of histograms are in the counts, in the leaf values and in the scores."""
    X, _, _ = problem(rng, 3000)
    gradient = (X[:, 0] * np.exp(2 * rng.normal(size=3000))).astype(np.float32)
    hessian = np.abs(gradient) + np.float32(1e-3)
    (tree,), scores, binned = grow(X, gradient, hessian, num_leaves=12, min_child_samples=60, mvs_noise=1.0)
    (whole,), _, _ = grow(X, gradient, hessian, num_leaves=12, min_child_samples=60, mvs_noise=0.0)
    assert tree.leaf_count.sum() == 3000
    assert tree.gain[0] != whole.gain[0]
    for leaf, rows in enumerate(rows_of(tree, binned)):
        G, H = gradient[rows].astype(float).sum(), hessian[rows].astype(float).sum()
        assert tree.leaf_value[leaf] == pytest.approx(-0.1 * G / H, rel=1e-6)
        assert tree.leaf_count[leaf] == len(rows)
        assert (scores[rows] == tree.leaf_value[leaf]).all()


@pytest.mark.usefixtures("samples_few")
def test_the_gain_of_the_rows_drawn_is_on_average_that_of_all():
    """Each row drawn weighs one over its chance. Ratios spread by 0.11, so their mean of 20 does by .025."""
    ratios = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        X, _, _ = problem(rng, 3000)
        gradient = (X[:, 0] * np.exp(2 * rng.normal(size=3000))).astype(np.float32)
        hessian = np.abs(gradient) + np.float32(1e-3)
        stump = {"num_leaves": 2, "min_child_samples": 60}
        (drawn,), _, _ = grow(X, gradient, hessian, mvs_noise=1.0, **stump)
        (whole,), _, _ = grow(X, gradient, hessian, mvs_noise=0.0, **stump)
        ratios.append(drawn.gain[0] / whole.gain[0])
    assert 0.05 < np.std(ratios) < 0.2
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.08)


@pytest.mark.parametrize("direction", [1, -1])
def test_monotone_constraints_hold_everywhere(rng, direction):
    X, gradient, hessian = problem(rng, 1000, whole=True)
    constraints = (direction, 0, 0, 0, 0)
    (tree,), _, binned = grow(X, gradient, hessian, monotone_constraints=constraints, num_leaves=20, **LOOSE)
    grid = np.repeat(X[:50, None], 30, axis=1)
    grid[:, :, 0] = np.linspace(-3, 3, 30)
    scores = np.zeros(1500)
    tree.add_to(scores, binned.mapper.transform(grid.reshape(1500, -1)))
    assert (np.diff(scores.reshape(50, 30), axis=1) * direction >= 0).all()
    assert tree.n_leaves > 5


def test_a_depth_of_0_or_below_is_no_limit(rng):
    X, gradient, hessian = problem(rng)
    trees = [grow(X, gradient, hessian, max_depth=depth, num_leaves=8, **LOOSE)[0][0] for depth in (-1, 0, 7)]
    assert trees[0].n_leaves == 8  # seven splits, so depth 7 is no limit either
    assert same(trees[0], trees[1])
    assert same(trees[0], trees[2])


def test_depth_and_sampling_are_obeyed(rng):
    X, gradient, hessian = problem(rng, 1000)
    (tree,), _, _ = grow(X, gradient, hessian, max_depth=2, num_leaves=31)
    assert tree.n_leaves == 4
    trees, _, _ = grow(X, gradient, hessian, colsample_bytree=0.2, trees=8, num_leaves=4)
    assert all(len(set(tree.feature)) <= 1 for tree in trees)
    assert len({int(f) for tree in trees for f in tree.feature}) > 1
    queries = Queries.from_qid(np.arange(1000) // 10, 1000)
    (tree,), scores, binned = grow(X, gradient, hessian, queries=queries, subsample=0.3)
    assert tree.leaf_count.sum() == 300
    walked = np.zeros(1000)
    tree.add_to(walked, binned)
    assert np.array_equal(scores, walked)  # rows outside the sample are scored too


def test_least_squares_splits_ignore_hessians(rng):
    X, gradient, hessian = problem(rng, 500)
    hessian *= rng.lognormal(size=500).astype(np.float32)
    (tree,), _, binned = grow(X, gradient, hessian, split_criterion="least_squares", num_leaves=2, **LOOSE)
    expected = best_split(X, gradient, np.ones(500), np.arange(500))
    assert tree.gain[0] == pytest.approx(expected, rel=1e-3)
    for leaf, rows in enumerate(rows_of(tree, binned)):
        step = -0.1 * gradient[rows].sum() / hessian[rows].sum()
        assert tree.leaf_value[leaf] == pytest.approx(step, rel=1e-4)


def test_categories_split_as_sets(rng):
    X = rng.integers(0, 12, (600, 1)).astype(np.float32)
    good = np.isin(X[:, 0], [1, 4, 5, 9])
    (tree,), _, binned = grow(
        X, np.where(good, -1, 1).astype(np.float32), np.ones(600, np.float32), categorical=[0], num_leaves=2
    )
    left, right = rows_of(tree, binned)
    assert set(X[left, 0]) in ({1, 4, 5, 9}, {0, 2, 3, 6, 7, 8, 10, 11})
    assert not set(X[left, 0]) & set(X[right, 0])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_gradients_are_refused(rng, bad):
    X, gradient, hessian = problem(rng)
    gradient[7] = bad
    with pytest.raises(ValueError, match="gradient that is not finite"):
        grow(X, gradient, hessian, n_threads=2)
    with pytest.raises(ValueError, match="hessian that is negative"):
        grow(X, hessian, -hessian)


def test_nothing_to_split(rng):
    X, gradient, hessian = problem(rng)
    for data, settings in (
        (np.ones_like(X), {}),
        (X, {"min_child_samples": 200}),
        (X, {"min_split_gain": 1e9}),
    ):
        (tree,), scores, _ = grow(data, gradient, hessian, **settings)
        assert tree.n_leaves == 1
        assert scores[0] == pytest.approx(-0.1 * gradient.sum() / hessian.sum(), rel=1e-4)


@pytest.mark.parametrize("reg_lambda", [0.0, 20.0])
@pytest.mark.parametrize("factor", [1.0, 2.0**20])
def test_the_least_gain_of_a_split_is_in_the_units_of_its_gain(rng, factor, reg_lambda):
    """Histograms hold integers on a scale of their own, which must not show."""
    X, gradient, hessian = problem(rng)
    gradient = gradient * np.float32(factor)
    settings = {"num_leaves": 2, "reg_lambda": reg_lambda}
    (tree,), _, binned = grow(X, gradient, hessian, **settings)
    parts = [*rows_of(tree, binned), range(len(X))]
    g = np.array([gradient[list(rows)].sum(dtype=float) for rows in parts])
    h = np.array([hessian[list(rows)].sum(dtype=float) for rows in parts])
    left, right, whole = g**2 / (h + reg_lambda)
    gain = left + right - whole
    for least, n_leaves in ((0.98 * gain, 2), (1.02 * gain, 1)):
        (tree,), _, _ = grow(X, gradient, hessian, min_split_gain=least, **settings)
        assert tree.n_leaves == n_leaves


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_leaves": 1}, "'num_leaves' must be from 2 to 65535; got 1"),
        ({"subsample": 0.0}, "'subsample' must be above 0 and at most 1; got 0.0"),
        ({"mvs_noise": 1.5}, "'mvs_noise' must be from 0 to 1; got 1.5"),
        ({"split_criterion": "gini"}, "'split_criterion' must be one of 'newton', 'least_squares'"),
        ({"monotone_constraints": (2,)}, "'monotone_constraints' must hold -1, 0 or 1"),
    ],
)
def test_bad_parameters(settings, message):
    with pytest.raises(ValueError, match=message):
        TreeParameters(**settings)


def test_constraints_must_match_the_columns(rng):
    with pytest.raises(ValueError, match="one entry per feature, 5; got 2"):
        grow(*problem(rng), monotone_constraints=(1, 0))


def test_threads_meet():
    from lambdamart_kit.trees.growth.barrier import meet

    @kernel(cache=False)
    def count(thread, n_threads, arrivals, counts, wrong):
        for turn in range(300):
            counts[8 * thread] += 1
            meet(arrivals, thread, n_threads)
            for t in range(n_threads):
                wrong[thread] += counts[8 * t] != turn + 1
            meet(arrivals, thread, n_threads)

    for n_threads in (2, 7):  # on two cores, seven threads have to leave the cores to each other
        wrong = np.zeros(n_threads, np.int64)
        arrivals, counts = np.zeros(8 * n_threads + 8, np.int64), np.zeros(8 * n_threads, np.int64)
        run(count, n_threads, arrivals, counts, wrong)
        assert not wrong.any()


def test_more_groups_of_entries_than_32_bits_count_are_refused(monkeypatch):
    """Three times 2**31 groups, as the first pass would count them in a matrix of 50 billion entries."""

    def count(function, bounds, n_threads, *args, **options):
        if function is histogram._count_groups:
            args[-1][:] = 2**31

    monkeypatch.setattr(histogram, "run_tasks", count)
    two_rows = SimpleNamespace(n_samples=2, allocate=np.empty)
    one_block = SimpleNamespace(block_feature=[0, 0])
    with pytest.raises(ValueError, match="'X' is too large for one machine's engine"):
        histogram._write(two_rows, one_block, 1)
