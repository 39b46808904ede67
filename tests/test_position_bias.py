"""Learning from clicks: unbiasedness by enumeration, estimates on a small twin, contract on every learner."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import lambdamart_kit as lk
from lambdamart_kit.clicks import HarvestedPropensities, JointPropensities, KnownPropensities, PositionGAM
from lambdamart_kit.clicks.impressions import Impressions
from lambdamart_kit.clicks.position_bias import resolve_position_bias
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.datasets import PositionBased, make_letor, simulate_clicks
from lambdamart_kit.metrics import MRR, ndcg
from lambdamart_kit.model_selection import QueryKFold, make_ranking_scorer
from lambdamart_kit.objectives import OBJECTIVES, ExplicitPairs, LambdaNDCG, ListNet, RankNet, YetiLoss
from lambdamart_kit.rankers import LambdaMART, LightGBMRanker, LinearRanker, NeuralRanker

THETA = np.array([1.0, 0.6, 0.3])
RELEVANCE = np.array([0.2, 0.9, 0.5])
ONE_LIST = Queries.from_qid(None, 3)
SCORES = np.array([0.3, -0.2, 0.1], dtype=np.float32)


def log_of(y, position=(1, 2, 3), documents=None):
    rows = np.arange(len(y)) if documents is None else np.asarray(documents)
    return Impressions(np.asarray(y, dtype=float), np.asarray(position), lambda: rows)


# ------------------------------------------------------------------------------------------ inverse weights


@pytest.mark.parametrize(
    "objective",
    [RankNet(), LambdaNDCG(), LambdaNDCG(normalize=False), OBJECTIVES["map"](), ListNet()],
    ids=repr,
)
def test_expected_gradient_is_that_of_full_information(objective):
    """Over all eight outcomes of three clicks; full information: each document alone, times its relevance."""
    expected = np.zeros((2, 3))
    for clicks in itertools.product([0.0, 1.0], repeat=3):
        p = np.prod(np.where(clicks, THETA * RELEVANCE, 1 - THETA * RELEVANCE))
        if any(clicks):
            y = np.array(clicks)
            bound = KnownPropensities(THETA).start(log_of(y)).bind(objective, y, ONE_LIST, np.arange(1, 4))
            expected += p * np.array(bound.gradient_hessian(SCORES))
    full = np.zeros((2, 3))
    for document in range(3):
        bound = objective.bind(np.eye(3)[document], ONE_LIST)
        full += RELEVANCE[document] * np.array(bound.gradient_hessian(SCORES))
    np.testing.assert_allclose(expected, full, rtol=2e-5, atol=1e-7)


def test_expected_metric_is_that_of_full_information():
    """Sum over clicks of MRR / propensity, in expectation the sum over documents of relevance * MRR."""
    total = 0.0
    for clicks in itertools.product([0.0, 1.0], repeat=3):
        p = np.prod(np.where(clicks, THETA * RELEVANCE, 1 - THETA * RELEVANCE))
        if any(clicks):
            y = np.array(clicks)
            known = KnownPropensities(THETA).start(log_of(y))
            measure = known.measure(MRR(), y, ONE_LIST, np.arange(1, 4))
            total += p * measure(SCORES) * known.inverse(np.flatnonzero(y) + 1).sum()
    ranks = np.array([1, 3, 2])  # of the scores
    assert total == pytest.approx(float(RELEVANCE @ (1 / ranks)))


def test_small_propensities_are_clipped():
    y = np.array([0.0, 0.0, 1.0])
    clipped = KnownPropensities([1.0, 0.5, 0.001], clip=0.1).start(log_of(y))
    assert clipped.inverse(np.array([1, 2, 3])).tolist() == [1.0, 2.0, 10.0]


def test_a_function_of_positions_and_a_common_factor():
    y = np.array([1.0, 0.0, 1.0])
    by_function = resolve_position_bias(lambda k: 0.4 / k).start(log_of(y))
    by_values = resolve_position_bias([1, 1 / 2, 1 / 3]).start(log_of(y))
    np.testing.assert_allclose(by_function.propensities, by_values.propensities)


def test_offset_shifts_the_scores():
    y, position = np.array([1.0, 0.0]), np.array([2, 1])
    queries = Queries.from_qid(None, 2)
    offset = KnownPropensities([1.0, 0.25], correction="offset").start(log_of(y, position))
    gradient, _ = offset.bind(RankNet(), y, queries, position).gradient_hessian(np.zeros(2, np.float32))
    assert gradient[0] == pytest.approx(-1 / (1 + 0.25))  # the clicked one wins with odds 1 : 4


# ------------------------------------------------------------------------------------------ joint estimates


def test_joint_estimates_by_hand():
    """Two lists of two: the loss of each pair goes to the position of the click and of the other."""
    y, position = np.array([1.0, 0, 0, 1]), np.array([1, 2, 1, 2])
    queries, scores = Queries.from_qid([0, 0, 1, 1], 4), np.array([0.5, 0, 0.5, 0], dtype=np.float32)
    joint = JointPropensities(p=1.0, clip=0.01).start(log_of(y, position))
    bound = joint.bind(RankNet(), y, queries, position)
    bound.gradient_hessian(scores)
    right, wrong = np.log1p(np.exp(-0.5)), np.log1p(np.exp(0.5))
    np.testing.assert_allclose(joint.propensities, [1, np.sqrt(wrong / right)], rtol=1e-5)
    np.testing.assert_allclose(joint.unclick_propensities, [1, np.sqrt(right / wrong)], rtol=1e-5)
    first = 1 / joint.unclick_propensities[1] / (1 + np.exp(0.5))
    second = 1 / joint.propensities[1] / (1 + np.exp(-0.5))
    gradient, _ = bound.gradient_hessian(scores)  # with those, and then it estimates anew
    np.testing.assert_allclose(gradient, [-first, first, second, -second], rtol=1e-5)


@pytest.mark.parametrize("objective", [RankNet(sigma=2.0), RankNet(truncation_level=2), YetiLoss()], ids=repr)
def test_factors_multiply_pair_weights(objective):
    """With documents of distinct scores, a pair alone in its query shows the product of its factors."""
    queries, y = Queries.from_qid([0, 0, 1, 1], 4), np.array([1, 0, 0, 1])
    scores, factor = np.array([1, 0, 1, 0], np.float32), np.array([2, 3, 0.5, 4], np.float32)
    plain = np.array(objective.bind(y, queries).gradient_hessian(scores))
    gradient, hessian, cost = objective.bind(y, queries).weighted(scores, factor)
    np.testing.assert_allclose([gradient, hessian], plain * [6, 6, 2, 2], rtol=1e-5)
    assert cost[0] / 3 == pytest.approx(cost[1] / 2)
    assert cost[2] / 4 == pytest.approx(cost[3] / 0.5)


def test_tied_documents_with_different_factors():
    """Merging interchangeable documents must not mix their factors: against one pair at a time."""
    rng = np.random.default_rng(0)
    y, scores = rng.integers(0, 2, 12).astype(float), rng.integers(0, 3, 12).astype(np.float32)
    factor = rng.uniform(0.5, 2, 12).astype(np.float32)
    gradient, hessian, cost = RankNet().bind(y, Queries.from_qid(None, 12)).weighted(scores, factor)
    expected = np.zeros((3, 12))
    for i, j in itertools.product(np.flatnonzero(y == 1), np.flatnonzero(y == 0)):
        z = float(scores[i] - scores[j])
        lost = 1 / (1 + np.exp(z))
        expected[0, [i, j]] += factor[i] * factor[j] * lost * np.array([-1, 1])
        expected[1, [i, j]] += factor[i] * factor[j] * lost * (1 - lost)
        expected[2, [i, j]] += np.log1p(np.exp(-z)) * factor[[j, i]]
    np.testing.assert_allclose([gradient, hessian, cost], expected, rtol=1e-4)


def test_gam_finds_odds_of_a_pair():
    """One document above the other 100 times, 80 clicks above and 20 below: propensity 1/4."""
    y = np.concatenate([np.tile([1.0, 0.0], 80), np.tile([0.0, 1.0], 20)])
    position, queries = np.tile([1, 2], 100), Queries.from_qid(np.repeat(np.arange(100), 2), 200)
    gam = PositionGAM(reg_lambda=0.0).start(log_of(y, position))
    bound = gam.bind(RankNet(), y, queries, position)
    for _ in range(60):
        bound.gradient_hessian(np.zeros(200, np.float32))
    np.testing.assert_allclose(gam.propensities, [1.0, 0.25], rtol=1e-4)


def concluded(y, position, documents, terms):
    gam = PositionGAM().start(log_of(y, position, documents))
    gam.terms = np.log(terms)
    np.testing.assert_allclose(gam.propensities, terms / terms[0])
    gam.conclude()
    return gam.propensities


def test_gam_concludes_from_documents_that_moved():
    """A document with 40 clicks above, 20 below; position 3, where nothing moved, is half of 2 by term."""
    y = np.tile(np.arange(100), 4) < np.repeat([40, 20, 30, 0], 100)
    position, terms = np.repeat([1, 2, 3, 1], 100), np.array([2.0, 1.4, 0.7])
    moved = concluded(y * 1.0, position, np.repeat([0, 0, 1, 2], 100), terms)
    np.testing.assert_allclose(moved, [1, 0.5, 0.25], rtol=0.02)  # one virtual click
    for documents, clicks in (([0, 1, 2, 3], y * 1.0), ([0, 0, 1, 2], y * 2.0)):  # in place; graded
        unchanged = concluded(clicks, position, np.repeat(documents, 100), terms)
        np.testing.assert_allclose(unchanged, [1, 0.7, 0.35])


# ------------------------------------------------------------------------------------------ rankers


@pytest.fixture(scope="module")
def twin():
    """A small population in which position hides relevance, and clicks on it."""
    data = make_letor(60, mean_documents=10, max_documents=12, random_state=0)
    scores = np.argsort(np.argsort(data.X[:, 129])) / len(data) * 3.5
    log = simulate_clicks(
        data,
        scores,
        model=PositionBased(eta=1.0),
        sessions_per_query=150,
        temperature=0.4,
        noise=0.05,
        random_state=0,
    )
    return data, log


TREES = LambdaMART("pairwise", n_estimators=25, num_leaves=8, n_jobs=1, random_state=0)
METHODS = ["gam", "harvest", JointPropensities(p=0.0)]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_propensities_of_the_twin(twin, method):
    _, log = twin
    ranker = clone(TREES).set_params(position_bias=method)
    ranker.fit(log.X, log.y, qid=log.qid, position=log.position)
    # Measured errors of the first five: 5 % with harvested propensities, 12 % with "joint".
    tolerance = 0.13 if isinstance(method, JointPropensities) else 0.06
    np.testing.assert_allclose(ranker.propensities_[:5], log.propensities[:5], rtol=tolerance)
    table = ranker.propensity_table()
    assert table.index.tolist() == list(range(1, log.position.max() + 1))
    np.testing.assert_array_equal(table["propensities"], ranker.propensities_)


@pytest.mark.parametrize("method", ["gam", "harvest", "known"])
def test_debiased_rankers_beat_the_naive_one(twin, method):
    data, log = twin
    value = log.propensities if method == "known" else method
    naive = clone(TREES).fit(log.X, log.y, qid=log.qid)
    debiased = clone(TREES).set_params(position_bias=value)
    debiased.fit(log.X, log.y, qid=log.qid, position=log.position)
    gap = [ndcg(data.y, ranker.predict(data.X), data.qid, k=10) for ranker in (naive, debiased)]
    assert gap[1] > gap[0] + 0.03, gap


@pytest.mark.parametrize("method", ["gam", "harvest", "joint", 1 / np.arange(1, 11)], ids=str)
@pytest.mark.parametrize(
    "learner",
    [
        LambdaMART("pairwise", booster="native", n_estimators=6, num_leaves=6, n_jobs=1),
        LambdaMART("ndcg", booster="lightgbm", n_estimators=6, num_leaves=6, n_jobs=1),
        LambdaMART("ndcg2++", booster="xgboost", n_estimators=6, num_leaves=6, n_jobs=1),
        LambdaMART("yeti", n_estimators=4, num_leaves=6, n_jobs=1),
        NeuralRanker(
            "pairwise", hidden_layer_sizes=(8,), batch_size=200, max_iter=3, random_state=0, n_jobs=1
        ),
        LinearRanker("pairwise", max_iter=5, n_jobs=1),
    ],
    ids=["native", "lightgbm", "xgboost", "yeti", "neural", "linear"],
)
def test_every_learner_takes_positions(twin, learner, method):
    data, log = twin
    rows = log.qid < 2_000
    ranker = clone(learner).set_params(position_bias=method)
    ranker.fit(log.X[rows], log.y[rows], qid=log.qid[rows], position=log.position[rows])
    assert ranker.propensities_[0] == 1.0
    assert (ranker.propensities_ > 0).all()
    assert (ranker.unclick_propensities_ is not None) == (isinstance(method, str) and method == "joint")
    assert np.isfinite(ranker.predict(data.X)).all()


@pytest.mark.parametrize("method", ["gam", "harvest", "joint"])
def test_order_of_rows_and_threads_do_not_matter(twin, method):
    _, log = twin
    rows = np.flatnonzero(log.qid < 3_000)
    mixed = np.random.default_rng(0).permutation(rows)
    models = []
    for at, n_jobs in ((rows, 1), (mixed, 2)):
        ranker = clone(TREES).set_params(position_bias=method, n_jobs=n_jobs, n_estimators=5)
        ranker.fit(log.X[at], log.y[at], qid=log.qid[at], position=log.position[at])
        models.append((ranker.booster_.model_to_string(), ranker.propensities_.tolist()))
    assert models[0] == models[1]


def test_equal_rows_with_different_positions_keep_them_apart():
    """Two impressions alike but for their position: which is which must not depend on the order of rows."""
    X = np.array([[1.0], [1.0], [0.0], [0.0]] * 30)
    qid, position = np.repeat(np.arange(30), 4), np.tile([1, 3, 2, 4], 30)
    y = np.tile([1, 0, 0, 0], 30)
    flipped = np.arange(120).reshape(-1, 4)[:, ::-1].ravel()
    found = [
        clone(TREES).fit(X[r], y[r], qid=qid[r], position=position[r]).propensities_.tolist()
        for r in (np.arange(120), flipped)
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("method", ["gam", "harvest", "joint"])
def test_early_stopping_by_query(twin, method):
    _, log = twin
    rows = log.qid < 3_000
    ranker = clone(TREES).set_params(
        position_bias=method, n_estimators=60, early_stopping_rounds=5, validation_fraction=0.2
    )
    ranker.fit(log.X[rows], log.y[rows], qid=log.qid[rows], position=log.position[rows])
    assert 1 <= ranker.best_iteration_ <= 60
    assert 0 < ranker.best_score_ < 1
    assert len(ranker.evals_result_["validation"]["ndcg@10"]) >= ranker.best_iteration_


def test_held_out_rows_of_ones_own(twin):
    data, log = twin
    a, b = log.qid < 2_000, log.qid >= 8_500
    fit = {"qid": log.qid[a], "X_val": log.X[b], "y_val": log.y[b], "qid_val": log.qid[b]}
    ranker = clone(TREES).set_params(early_stopping_rounds=5)
    debiased = clone(ranker).fit(
        log.X[a], log.y[a], position=log.position[a], position_val=log.position[b], **fit
    )
    plain = clone(ranker).fit(log.X[a], log.y[a], position=log.position[a], **fit)
    assert debiased.evals_result_ != plain.evals_result_
    labelled = {"X_val": data.X, "y_val": data.y, "qid_val": data.qid, "qid": log.qid[a]}
    clone(ranker).fit(log.X[a], log.y[a], position=log.position[a], **labelled)


def test_routing_through_a_pipeline_and_a_search(twin):
    _, log = twin
    rows = log.qid < 1_200
    with lk.query_routing():
        search = GridSearchCV(
            make_pipeline(StandardScaler(), clone(TREES).set_params(n_estimators=4)),
            {"lambdamart__position_bias": ["gam", "harvest"]},
            cv=QueryKFold(2),
            scoring=make_ranking_scorer("ndcg@10"),
        ).fit(log.X[rows], log.y[rows], qid=log.qid[rows], position=log.position[rows])
    assert search.best_estimator_[-1].propensities_[1] < 0.9


def test_saving_keeps_what_was_estimated(twin, tmp_path):
    _, log = twin
    rows = log.qid < 1_000
    ranker = clone(TREES).set_params(position_bias=JointPropensities(p=0.5), n_estimators=3)
    ranker.fit(log.X[rows], log.y[rows], qid=log.qid[rows], position=log.position[rows])
    ranker.save(tmp_path / "m.lmk")
    loaded = LambdaMART.load(tmp_path / "m.lmk")
    assert loaded.position_bias == JointPropensities(p=0.5)
    np.testing.assert_array_equal(loaded.propensities_, ranker.propensities_)
    np.testing.assert_array_equal(loaded.unclick_propensities_, ranker.unclick_propensities_)


def test_the_plot_shows_the_table(twin):
    _, log = twin
    ranker = clone(TREES).set_params(n_estimators=2).fit(log.X, log.y, qid=log.qid, position=log.position)
    (line,) = ranker.plot_propensities().get_lines()
    np.testing.assert_array_equal(line.get_ydata(), ranker.propensities_)


# ------------------------------------------------------------------------------------------ bad input

X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.array([1, 0, 0, 0, 1, 0] * 2)
QID = np.repeat([0, 1, 2, 3], 3)
POSITION = np.tile([1, 2, 3], 4)


def put(values, row, value):
    changed = np.array(values, dtype=float)
    changed[row] = value
    return changed


@pytest.mark.parametrize(
    ("position", "message"),
    [
        (
            POSITION[:-1],
            r"'position' must hold one position per row of 'X': expected shape \(12,\), got \(11,\)",
        ),
        (put(POSITION, 4, np.nan), r"'position' must hold whole numbers from 1.*row 4 has nan"),
        (put(POSITION, 4, -2), r"row 4 has -2"),
        (put(POSITION, 4, 1.5), r"row 4 has 1.5"),
        (POSITION - 1, r"row 0 has 0.*add 1 if yours count from 0"),
        (put(POSITION, 4, 10_001), r"to 10,000; row 4 has 10001"),
        (POSITION.astype(str), r"'position' must hold numbers"),
        (pd.Series(POSITION).astype(object).where(POSITION > 1, None), r"'position' must hold numbers"),
    ],
)
def test_bad_positions(position, message):
    with pytest.raises(ValueError, match=message):
        clone(TREES).fit(X, Y, qid=QID, position=position)


@pytest.mark.parametrize(
    ("settings", "fit", "message"),
    [
        ({"position_bias": "pbm"}, {}, r"'position_bias' must be one of 'gam', 'harvest', 'joint'"),
        ({"position_bias": [1.0, 0.5]}, {}, r"one propensity a position: 'position' goes up to 3"),
        ({"position_bias": [1.0, 0.5, 0.0]}, {}, r"finite propensities above 0; position 3 has 0.0"),
        ({"position_bias": [1.0, np.nan, 0.1]}, {}, r"position 2 has nan"),
        ({"position_bias": "joint"}, {"y": Y * 2}, r"'y' must hold clicks, 0 or 1.*got 2"),
        ({"position_bias": "joint"}, {"position": POSITION + 1}, r"clicked rows at position 1"),
        ({"position_bias": "joint", "objective": "listnet"}, {}, r"'objective' must be on pairs"),
        ({"position_bias": "harvest"}, {}, r"some clicked document.*at two positions"),
        ({"position_bias": KnownPropensities([1, 1, 1], clip=0)}, {}, r"'clip' must be a positive number"),
        ({"position_bias": KnownPropensities([1, 1, 1], correction="x")}, {}, r"'correction' must be one of"),
        ({"position_bias": PositionGAM(rate=2)}, {}, r"'rate' must lie in \(0, 1\]"),
        ({"position_bias": PositionGAM(reg_lambda=-1)}, {}, r"'reg_lambda' must be a finite number >= 0"),
        ({"position_bias": JointPropensities(p=-1)}, {}, r"'p' must be a finite number >= 0"),
        (
            {"position_bias": np.ones(3), "objective": ExplicitPairs([[0, 1]])},
            {},
            r"does not go by the labels",
        ),
        ({}, {"position_val": POSITION}, r"'position_val' must be given with 'X_val'"),
    ],
)
def test_bad_settings(settings, fit, message):
    given = {"y": Y, "position": POSITION} | fit
    with pytest.raises(ValueError, match=message):
        clone(TREES).set_params(**settings).fit(X, qid=QID, **given)


def test_who_does_not_take_positions_says_so():
    with pytest.raises(ValueError, match=r"'position' must be None with LightGBMRanker"):
        LightGBMRanker(n_estimators=2).fit(X, Y, qid=QID, position=POSITION)
    with pytest.raises(TypeError, match=r"'position_bias' must be a name, an instance or propensities"):
        resolve_position_bias(HarvestedPropensities)


def test_without_positions_there_are_no_propensities():
    ranker = clone(TREES).set_params(n_estimators=2).fit(X, Y, qid=QID)
    assert ranker.propensities_ is None
    with pytest.raises(ValueError, match=r"fitted without 'position'"):
        ranker.propensity_table()
