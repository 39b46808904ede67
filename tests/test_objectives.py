"""The seam: names, user-defined objectives, weights, bad input; listwise losses; parity with libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from conftest import ragged

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.objectives import (
    OBJECTIVES,
    XENDCG,
    BoundFunction,
    ExplicitPairs,
    LambdaERR,
    LambdaNDCG,
    LambdaPrecision,
    ListMLE,
    ListNet,
    NDCGLoss2pp,
    RankNet,
    YetiLoss,
    resolve_objective,
    takes_signed_labels,
)

WITH_LOSS = [RankNet(sigma=0.7), ListNet(), ListNet(target="gain", gain="exp2"), XENDCG(gamma=0.3), ListMLE()]


@pytest.mark.parametrize("name", OBJECTIVES)
class TestEveryName:
    def test_resolves_and_binds_in_any_row_order(self, rng, name):
        y, scores, qid = ragged(rng, n_queries=30, tied=True)
        queries = Queries.from_qid(qid, len(y))
        straight = resolve_objective(name).bind(y, queries).gradient_hessian(scores)
        straight = [values.copy() for values in straight]
        assert all(values.dtype == np.float32 and values.shape == y.shape for values in straight)
        assert np.abs(straight[0]).max() > 0
        order = rng.permutation(len(y))
        shuffled = Queries.from_qid(qid[order], len(y))
        again = (
            resolve_objective(name).bind(y[order], shuffled).gradient_hessian(shuffled.sort(scores[order]))
        )
        if name in ("xendcg", "yeti"):
            return  # draws tell equal documents apart
        for ours, theirs in zip(again, straight):
            assert np.array_equal(shuffled.unsort(ours), theirs[order])

    def test_blank_and_single_document_queries_have_no_gradient(self, rng, name):
        y = np.array([0, 0, 0, 2.0, 1] + [0] * 11)
        qid = np.array([1, 1, 1, 2] + [3] * 12)
        scores = rng.normal(size=16).astype(np.float32)
        scores[4] = -9  # the relevant document of query 3 ranks last
        bound = resolve_objective(name).bind(y, Queries.from_qid(qid, 16))
        gradient, hessian = bound.gradient_hessian(scores)
        np.testing.assert_allclose(gradient[:4], 0, atol=1e-7)
        np.testing.assert_allclose(hessian[:4], 0, atol=1e-7)
        assert gradient[4] < 0 < gradient[5:].max()

    def test_query_weight_multiplies_its_gradient(self, rng, name):
        y, scores, qid = ragged(rng)
        queries = Queries.from_qid(qid, len(y))
        weight = rng.random(qid.max() + 1)[qid]
        plain = [v.copy() for v in resolve_objective(name).bind(y, queries).gradient_hessian(scores)]
        weighted = resolve_objective(name).bind(y, queries, weight).gradient_hessian(scores)
        for ours, theirs in zip(weighted, plain):
            np.testing.assert_allclose(ours, weight * theirs, rtol=1e-5, atol=1e-9)

    def test_extreme_scores_stay_finite(self, rng, name):
        y, scores, qid = ragged(rng)
        bound = resolve_objective(name).bind(y, Queries.from_qid(qid, len(y)))
        for values in bound.gradient_hessian((np.sign(scores) * 1e4).astype(np.float32)):
            assert np.all(np.isfinite(values))

    def test_no_rows(self, name):
        bound = resolve_objective(name).bind(np.empty(0), Queries.from_qid([], 0))
        assert bound.gradient_hessian(np.empty(0, np.float32))[0].shape == (0,)

    def test_threads_do_not_change_a_bit(self, rng, name):
        y, scores, qid = ragged(rng, n_queries=100)
        queries = Queries.from_qid(qid, len(y))
        one, two = (
            resolve_objective(name).bind(y, queries, n_threads=n).gradient_hessian(scores) for n in (1, 2)
        )
        assert all(np.array_equal(a, b) for a, b in zip(one, two))

    def test_bad_weights_labels_and_scores(self, name):
        queries = Queries.from_qid(["a", "a", "b"], 3)
        objective = resolve_objective(name)
        with pytest.raises(ValueError, match=r"query .*'a'.* has both 1 and 2"):
            objective.bind([0, 1, 0], queries, [1, 2, 1])
        with pytest.raises(ValueError, match="'y' must hold one relevance label per row"):
            objective.bind([0, 1], queries)
        signed = takes_signed_labels(objective)
        with pytest.raises(ValueError, match=r"'y' must hold finite .*labels"):
            objective.bind([0, np.nan if signed else -1, 0], queries)
        with pytest.raises(ValueError, match="'scores' must be finite; ordered row 1 has nan"):
            objective.bind([0, 1, 0], queries).gradient_hessian(np.array([0, np.nan, 0], np.float32))
        with pytest.raises(ValueError, match="'scores' must have shape"):
            objective.bind([0, 1, 0], queries).gradient_hessian(np.zeros(2, np.float32))


@pytest.mark.parametrize("objective", WITH_LOSS, ids=repr)
class TestObjectivesWithALoss:
    def test_gradient_by_central_differences(self, rng, objective):
        y, scores, qid = ragged(rng, n_queries=5, max_size=8)
        bound = objective.bind(y, Queries.from_qid(qid, len(y)))
        gradient, hessian = (values.copy() for values in bound.gradient_hessian(scores))
        step = 2.0**-6
        for row in range(len(y)):
            e = np.zeros(len(y), dtype=np.float32)
            e[row] = step
            up, here, down = (bound.loss(scores + d) for d in (e, 0 * e, -e))
            assert gradient[row] == pytest.approx((up - down) / (2 * step), abs=5e-4)
            assert hessian[row] == pytest.approx((up + down - 2 * here) / step**2, abs=5e-3)

    def test_gradients_of_a_query_sum_to_zero(self, rng, objective):
        y, scores, qid = ragged(rng)
        gradient, _ = objective.bind(y, Queries.from_qid(qid, len(y))).gradient_hessian(scores)
        np.testing.assert_allclose(np.bincount(qid, gradient), 0, atol=1e-5)


def test_listnet_spelled_out():
    y, scores = np.array([2.0, 0.0]), np.array([0.5, 1.0], dtype=np.float32)
    bound = ListNet().bind(y, Queries.from_qid(None, 2))
    target, p = 1 / (1 + math.exp(-2)), 1 / (1 + math.exp(0.5))
    np.testing.assert_allclose(bound.gradient_hessian(scores)[0], [p - target, target - p], rtol=1e-6)
    assert bound.loss(scores) == pytest.approx(-target * math.log(p) - (1 - target) * math.log(1 - p))


def test_listmle_spelled_out():
    """Labels 2, 1, 0: log(e^a + e^b + e^c) - a + log(e^b + e^c) - b."""
    a, b, c = 0.3, -0.2, 0.9
    scores = np.array([a, b, c], dtype=np.float32)
    bound = ListMLE().bind([2, 1, 0], Queries.from_qid(None, 3))
    pool = math.exp(b) + math.exp(c)
    assert bound.loss(scores) == pytest.approx(math.log(math.exp(a) + pool) - a + math.log(pool) - b)


def test_listmle_survives_scores_far_apart():
    """The smaller pool's exponentials vanish beside the larger's; logarithms keep them."""
    scores = np.array([1e4, -1e4, -1e4], dtype=np.float32)
    gradient, _ = ListMLE().bind([2, 1, 0], Queries.from_qid(None, 3)).gradient_hessian(scores)
    np.testing.assert_allclose(gradient, [0, -0.5, 0.5], atol=1e-6)


def test_xendcg_draws_average_to_its_target():
    y, scores, queries = np.array([3.0, 1, 0, 0]), np.zeros(4, dtype=np.float32), Queries.from_qid(None, 4)
    bound = XENDCG().bind(y, queries)
    draws = np.mean([bound.gradient_hessian(scores)[0].copy() for _ in range(5000)], axis=0)
    rng = np.random.default_rng(0)
    mass = 2**y - rng.random((200_000, 4))
    np.testing.assert_allclose(draws, 0.25 - (mass / mass.sum(axis=1, keepdims=True)).mean(axis=0), atol=5e-3)
    again = XENDCG().bind(y, queries)
    first, second = (again.gradient_hessian(scores)[0].copy() for _ in range(2))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, XENDCG().bind(y, queries).gradient_hessian(scores)[0])


def test_yeti_without_noise_is_the_neighbours_of_the_ranking():
    y, scores = np.array([0.0, 2, 1]), np.array([3, 2, 1], dtype=np.float32)
    gradient, _ = YetiLoss(noise=1e-6).bind(y, Queries.from_qid(None, 3)).gradient_hessian(scores)
    discount = 1 / np.log2(np.arange(2, 5))
    ideal = 3 * discount[0] + 1 * discount[1]
    up = 3 / ideal * (discount[0] - discount[1]) / (1 + math.exp(-1))  # 1 beats 0, but stands below
    down = 2 / ideal * (discount[1] - discount[2]) / (1 + math.exp(1))  # 1 beats 2 and stands above
    np.testing.assert_allclose(gradient, [up, -up - down, down], rtol=1e-5)


def test_explicit_pairs_of_all_labels_are_ranknet(rng):
    y, scores, qid = ragged(rng, n_queries=10)
    order = rng.permutation(len(y))
    y, scores, qid = y[order], scores[order], qid[order]
    pairs = np.argwhere((qid[:, None] == qid[None, :]) & (y[:, None] > y[None, :]))
    queries = Queries.from_qid(qid, len(y))
    ordered = queries.sort(scores)
    ours = ExplicitPairs(pairs).bind(y, queries)
    ranknet = RankNet().bind(y, queries).gradient_hessian(ordered)
    for a, b in zip(ours.gradient_hessian(ordered), ranknet):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert ours.loss(ordered) == pytest.approx(
        np.logaddexp(0, -np.diff(scores[pairs[:, ::-1]]).ravel()).sum()
    )


class TestResolve:
    def test_instances_pass_through(self):
        objective = LambdaNDCG(truncation_level=7)
        assert resolve_objective(objective) is objective

    def test_a_callable_sees_rows_as_given(self):
        y = np.array([1.0, 0.0, 2.0])
        queries = Queries.from_qid(["b", "a", "b"], 3)
        bound = resolve_objective(lambda scores: (scores - y, np.ones(3))).bind(y, queries)
        gradient, hessian = bound.gradient_hessian(queries.sort(np.array([0.0, 0.0, 0.0], np.float32)))
        assert queries.unsort(gradient).tolist() == [-1.0, 0.0, -2.0]
        assert hessian.tolist() == [1.0, 1.0, 1.0]

    def test_a_callable_of_the_wrong_shape(self):
        bound = resolve_objective(lambda scores: (scores[:1], scores)).bind([0, 1], Queries.from_qid(None, 2))
        with pytest.raises(ValueError, match="expected gradient of shape"):
            bound.gradient_hessian(np.zeros(2, np.float32))

    def test_user_defined(self):
        class Squared:
            def bind(self, y, queries, sample_weight=None, *, n_threads=None):
                return BoundFunction(lambda scores: (scores - y, np.ones_like(scores)), queries)

        bound = resolve_objective(Squared()).bind(np.array([1.0, 3.0]), Queries.from_qid(None, 2))
        assert bound.gradient_hessian(np.zeros(2, np.float32))[0].tolist() == [-1.0, -3.0]

    def test_bad_objectives(self):
        with pytest.raises(ValueError, match=r"'objective' must be one of .*'ndcg2\+\+'.*; got 'lambdarank'"):
            resolve_objective("lambdarank")
        with pytest.raises(TypeError, match=r"write RankNet\(\) instead of RankNet"):
            resolve_objective(RankNet)
        with pytest.raises(TypeError, match="got int"):
            resolve_objective(3)


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (LambdaNDCG(truncation_level=0), "'truncation_level' must be None"),
        (LambdaNDCG(truncation_level=2.5), "'truncation_level' must be None"),
        (LambdaNDCG(sigma=0), "'sigma' must be a positive number"),
        (LambdaNDCG(ties="average"), "'ties' must be one of 'expected', 'input', 'random'"),
        (LambdaNDCG(normalize="both"), "'normalize' must be True, False, 'scores' or 'queries'"),
        (LambdaNDCG(gain="log"), "'gain' must be"),
        (RankNet(n_partners=0), "'n_partners' must be None"),
        (LambdaERR(max_relevance=1), "'max_relevance' must be >= 2, a label that occurs; got 1"),
        (LambdaPrecision(k=0), "'k' must be"),
        (NDCGLoss2pp(mu=-1), "'mu' must be"),
        (XENDCG(gamma=2), "'gamma' must be"),
        (ListNet(target="y"), "'target' must be one of"),
        (YetiLoss(n_permutations=0), "'n_permutations' must be"),
        (YetiLoss(noise=-1), "'noise' must be a positive number"),
    ],
    ids=lambda value: repr(value) if not isinstance(value, str) else "",
)
def test_bad_options(objective, message):
    with pytest.raises(ValueError, match=message):
        objective.bind([0, 1, 2], Queries.from_qid(None, 3))


def test_large_labels_need_no_table():
    y = np.array([40.0, 35, 0, 1])
    gradient, _ = LambdaNDCG(gain="linear").bind(y, Queries.from_qid(None, 4)).gradient_hessian(np.zeros(4))
    assert gradient[0] < 0
    assert np.all(np.isfinite(LambdaNDCG().bind(y, Queries.from_qid(None, 4)).gradient_hessian(np.zeros(4))))
    table = (
        LambdaNDCG(gain=tuple(range(41))).bind(y, Queries.from_qid(None, 4)).gradient_hessian(np.zeros(4))[0]
    )
    np.testing.assert_allclose(table, gradient)


@pytest.fixture
def parity_data(rng):
    sizes = rng.integers(1, 40, 12)
    qid = np.repeat(np.arange(12), sizes)
    y = rng.integers(0, 5, len(qid)).astype(float)
    return rng.normal(size=(len(qid), 1)), y, qid, sizes


def leaf_values(objective, y, qid, scores, leaf, reg_lambda):
    gradient, hessian = objective.bind(y, Queries.from_qid(qid, len(y))).gradient_hessian(scores)
    total, curvature = np.bincount(leaf, gradient.astype(float)), np.bincount(leaf, hessian.astype(float))
    return (-total / (curvature + reg_lambda))[leaf]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("start", [0.0, 1.0])
@pytest.mark.parametrize("level", [5, 30])
def test_lightgbm_lambdarank(rng, parity_data, normalize, start, level):
    """Leaves with few rows each; LightGBM's sigmoid is a table, hence 1e-4. Zero scores tie in row order."""
    lightgbm = pytest.importorskip("lightgbm")
    X, y, qid, sizes = parity_data
    scores = (start * rng.normal(size=len(y))).astype(np.float32)
    parameters = {
        "objective": "lambdarank",
        "lambdarank_norm": normalize,
        "lambdarank_truncation_level": level,
        "num_leaves": 60,
        "min_data_in_leaf": 1,
        "min_sum_hessian_in_leaf": 1e-6,
        "lambda_l2": 1e-3,
        "learning_rate": 1.0,
        "verbose": -1,
        "boost_from_average": False,
        "num_threads": 1,
        "min_data_in_bin": 1,
        "max_bin": 500,
    }
    train = lightgbm.Dataset(X, y, group=sizes, init_score=scores, params=parameters)
    booster = lightgbm.train(parameters, train, 1)
    leaf = booster.predict(X, pred_leaf=True).ravel()
    objective = LambdaNDCG.lightgbm(normalize=normalize, truncation_level=level)
    ours = leaf_values(objective, y, qid, scores, leaf, 1e-3)
    assert len(np.unique(leaf)) > 20
    np.testing.assert_allclose(ours, booster.predict(X, raw_score=True), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "kind"), [("rank:ndcg", LambdaNDCG), ("rank:pairwise", RankNet)])
@pytest.mark.parametrize("normalize", [True, False, "scores", "queries"])
@pytest.mark.parametrize("start", [0.0, 1.0])
def test_xgboost_rank(rng, parity_data, name, kind, normalize, start):
    xgboost = pytest.importorskip("xgboost")
    X, y, qid, _ = parity_data
    scores = (start * rng.normal(size=len(y))).astype(np.float32)
    train = xgboost.DMatrix(X, y, qid=qid, base_margin=scores)
    parameters = {
        "objective": name,
        "lambdarank_pair_method": "topk",
        "lambdarank_num_pair_per_sample": 8,
        "lambdarank_normalization": normalize in (True, "queries"),
        "base_score": 0.0,
        "lambdarank_score_normalization": normalize in (True, "scores"),
        "max_depth": 0,
        "max_leaves": 60,
        "grow_policy": "lossguide",
        "tree_method": "hist",
        "max_bin": 500,
        "min_child_weight": 0,
        "reg_lambda": 1e-3,
        "eta": 1.0,
        "nthread": 1,
    }
    booster = xgboost.train(parameters, train, 1)
    leaf = booster.predict(train, pred_leaf=True).astype(int).ravel()
    theirs = booster.predict(train, output_margin=True) - scores
    objective = kind.xgboost(truncation_level=8, normalize=normalize)
    assert len(np.unique(leaf)) > 20
    np.testing.assert_allclose(
        leaf_values(objective, y, qid, scores, leaf, 1e-3), theirs, rtol=1e-4, atol=1e-5
    )
