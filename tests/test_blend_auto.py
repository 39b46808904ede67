"""AutoRanker: cross-fitting, budgets, determinism, files, and what it does with awkward data."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone

from lambdamart_kit import AutoRanker, LambdaMART
from lambdamart_kit.boosters.rounds import Stopwatch
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.metrics import ndcg
from lambdamart_kit.rankers import ModelFormatError, load_ranker
from lambdamart_kit.rankers.blend import crossfit, portfolio
from lambdamart_kit.rankers.blend.budget import Budget
from lambdamart_kit.rankers.blend.calibration import Calibration
from lambdamart_kit.rankers.blend.crossfit import thinned
from lambdamart_kit.rankers.blend.folds import deal_queries
from lambdamart_kit.rankers.blend.portfolio import PORTFOLIO, Facts, suitable
from lambdamart_kit.rankers.blend.scale import deviation_within_queries

N_FEATURES = 6


def make(n_queries=24, n_documents=8, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_queries * n_documents, N_FEATURES)).astype(np.float32)
    qid = np.repeat(np.arange(n_queries), n_documents)
    signal = X[:, 0] + X[:, 1] * X[:, 2] + rng.normal(size=len(X))
    return X, np.digitize(signal, [0.5, 1.5]).astype(float), qid


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    """Members of the portfolio with few rounds, so that the whole file takes seconds."""
    small = {"n_estimators": 8, "early_stopping_rounds": 4, "max_iter": 5, "min_child_samples": 2}
    made = portfolio.Recipe.make

    def make_small(self, **settings):
        ranker = made(self, **settings)
        known = ranker.get_params()
        least = {name: value for name, value in small.items() if known.get(name, "") not in ("", None)}
        return ranker.set_params(**least)

    monkeypatch.setattr(portfolio.Recipe, "make", make_small)


def auto(budget="fits=9", **settings):
    return AutoRanker(budget, **{"cv": 3, "random_state": 0, "n_jobs": 1, **settings})


# ------------------------------------------------------------------------------------------- its parts


@pytest.mark.parametrize(
    ("text", "seconds", "fits"),
    [("10min", 600, None), ("1.5h", 5400, None), (90, 90, None), (" 30 s ", 30, None), ("fits=7", None, 7)],
)
def test_budgets(text, seconds, fits):
    budget = Budget.read(text)
    assert budget.seconds == (np.inf if seconds is None else seconds)
    assert budget.fits == (np.inf if fits is None else fits)


@pytest.mark.parametrize("bad", ["10 weeks", "fits=0", "fits=-2", "", "0min", float("inf"), True, "min"])
def test_a_budget_that_cannot_be_read_says_what_can(bad):
    with pytest.raises(ValueError, match=r"'budget' must be a time such as '10min'"):
        Budget.read(bad)


def slow_deviation(scores, qid):
    squares = []
    for q in np.unique(qid):
        own = scores[(qid == q) & ~np.isnan(scores)]
        squares += [(s - own.mean()) ** 2 for s in own]
    return np.sqrt(np.mean(squares))


def test_the_scale_is_the_deviation_within_queries(rng):
    qid = rng.integers(0, 9, 200)
    scores = rng.normal(size=200) + 10 * qid
    scores[rng.integers(0, 200, 20)] = np.nan
    queries = Queries.from_qid(qid, 200)
    assert deviation_within_queries(scores, queries) == pytest.approx(slow_deviation(scores, qid))
    order = rng.permutation(200)
    shuffled = deviation_within_queries(scores[order], Queries.from_qid(qid[order], 200))
    assert shuffled == deviation_within_queries(scores, queries)  # to the bit


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_a_constant_scorer_has_scale_one(value):
    queries = Queries.from_qid([0, 0, 0, 1, 1], 5)
    assert deviation_within_queries(np.full(5, value), queries) == 1.0


def test_infinite_scores_have_no_scale():
    with pytest.raises(ValueError, match="diverged"):
        deviation_within_queries(np.array([0.0, np.inf]), Queries.from_qid(None, 2))


def test_every_fold_gets_queries_to_measure_on(rng):
    comparable = np.zeros(50, dtype=bool)
    comparable[:7] = True
    fold = deal_queries(comparable, 5, rng)
    assert np.bincount(fold).tolist() == [10] * 5
    assert sorted(np.bincount(fold[:7]).tolist()) == [1, 1, 1, 2, 2]


def test_thinned_draws_whole_queries(rng):
    queries = Queries.from_qid(np.repeat(np.arange(10), 4), 40)
    chosen = np.arange(10) > 1
    kept = thinned(chosen, queries, 13, rng)
    assert kept.sum() == 3
    assert not kept[:2].any()
    assert thinned(chosen, queries, 1, rng).sum() == 1
    assert (thinned(chosen, queries, 32, rng) == chosen).all()


def test_data_decide_which_members_there_are():
    names = {recipe.name for recipe in suitable(Facts())}
    assert names == {recipe.name for recipe in PORTFOLIO}
    assert {r.ranker for r in suitable(Facts(has_missing=True))} == {"LambdaMART", "LightGBMRanker"}
    assert {r.ranker for r in suitable(Facts(has_categories=True))} == {"LambdaMART", "LightGBMRanker"}
    assert "LightGBMRanker" not in {r.ranker for r in suitable(Facts(has_positions=True))}


def test_calibration_keeps_the_order(rng):
    scores = rng.normal(size=300)
    labels = (scores + rng.normal(size=300) > 0).astype(float)
    calibration = Calibration.fit(scores, labels, None)
    new = np.sort(rng.normal(scale=3, size=500))
    assert (np.diff(calibration(new)) > 0).all()
    # Steps of isotonic regression are means of labels, so the calibrated mean is close to that of the labels.
    assert calibration(scores).mean() == pytest.approx(labels.mean(), abs=0.05)
    again = Calibration.of_state(calibration.state())
    np.testing.assert_array_equal(again(new), calibration(new))


# ------------------------------------------------------------------------------------------ the whole


def test_a_member_is_what_its_folds_say():
    """The blend, put together by hand from rankers that are fitted on the folds."""
    X, y, qid = make()
    blend = auto("fits=6").fit(X, y, qid=qid)
    assert [member.name for member in blend.members_] == ["trees ndcg", "trees pairwise"]
    assert [member.weight for member in blend.members_] == [0.5, 0.5]
    by_hand = np.zeros(len(X))
    held_out = np.zeros(len(X))
    for member in blend.members_:
        scores = np.full(len(X), np.nan)
        folds = [set(fit.model.query_traces_ or []) for fit in member.fits]
        assert folds == [set()] * 3  # no model keeps the ids of its queries
        for fit in member.fits:
            by_hand += fit.model.predict(X) / fit.scale / 3 / 2
        assert len({fit.scale for fit in member.fits}) == 1
        seen = held_out_rows(blend, X, y, qid)
        for fit, rows in zip(member.fits, seen):
            scores[rows] = fit.model.predict(X[rows])
        assert member.fits[0].scale == pytest.approx(slow_deviation(scores, qid))
        held_out += scores / member.fits[0].scale / 2
    np.testing.assert_allclose(blend.predict(X), by_hand, rtol=1e-9)
    np.testing.assert_allclose(blend.oof_scores_, held_out, rtol=1e-9)
    board = blend.leaderboard_.set_index("model")
    assert board.loc["blend", "ndcg@10"] == pytest.approx(ndcg(y, held_out, qid, k=10))
    assert blend.best_score_ == board.loc["blend", "ndcg@10"]


def held_out_rows(blend, X, y, qid):
    """Rows of each fold: the folds are a function of the seed."""
    from lambdamart_kit.runtime.randomness import draw_seed

    queries = Queries.from_qid(qid, len(y))
    labels = [set(y[qid == q]) for q in queries.ids]
    comparable = np.array([len(found) > 1 for found in labels])
    fold = deal_queries(comparable, 3, np.random.default_rng([draw_seed(blend.random_state), 0]))
    return [queries.rows(fold == number) for number in range(3)]


def test_a_model_has_not_seen_the_queries_it_is_measured_on():
    X, y, qid = make()
    blend = auto("fits=3").fit(X, y, qid=qid)
    rows = held_out_rows(blend, X, y, qid)
    poisoned = y.copy()
    poisoned[rows[0]] = 0  # the labels of the first fold do not reach its model, but for when it stops
    other = auto("fits=3").fit(X, poisoned, qid=qid)
    settings = blend.members_[0].fits[0].model.get_params()
    assert settings == other.members_[0].fits[0].model.get_params()


def test_the_leaderboard_has_what_api_says():
    X, y, qid = make()
    blend = auto().fit(X, y, qid=qid)
    board = blend.leaderboard_
    assert board.columns.tolist() == ["model", "ndcg@10", "low", "high", "weight", "fits", "seconds"]
    assert board["model"].tolist()[0] == "blend"
    members = board.iloc[1:]
    assert (members["ndcg@10"].diff().dropna() <= 0).all()
    assert members["weight"].sum() == pytest.approx(1)
    assert ((board["low"] <= board["ndcg@10"]) & (board["ndcg@10"] <= board["high"])).all()
    assert board["fits"].tolist() == [9, 3, 3, 3]
    assert "average them" in blend.noise_


def test_row_order_threads_and_pauses_change_no_bit():
    X, y, qid = make()
    one = auto(n_jobs=1).fit(X, y, qid=qid)
    order = np.random.default_rng(1).permutation(len(X))
    two = auto(n_jobs=2).fit(X[order], y[order], qid=qid[order])
    np.testing.assert_array_equal(one.predict(X), two.predict(X))
    np.testing.assert_array_equal(one.oof_scores_[order], two.oof_scores_)


def test_files_keep_every_bit(tmp_path):
    X, y, qid = make()
    blend = auto("fits=15", calibrate="isotonic").fit(X, y, qid=qid)
    blend.save(tmp_path / "m.lmk")
    loaded = load_ranker(tmp_path / "m.lmk")
    assert isinstance(loaded, AutoRanker)
    np.testing.assert_array_equal(loaded.predict(X), blend.predict(X))
    pd.testing.assert_frame_equal(loaded.leaderboard_, blend.leaderboard_)
    assert loaded.noise_ == blend.noise_
    loaded.save(tmp_path / "again.lmk")
    np.testing.assert_array_equal(load_ranker(tmp_path / "again.lmk").predict(X), blend.predict(X))
    with pytest.raises(ModelFormatError, match="AutoRanker"):
        LambdaMART.load(tmp_path / "m.lmk")


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    X, y, qid = make()
    whole = auto().fit(X, y, qid=qid)
    n_fitted = 0
    fit = crossfit.Plan.fit

    def counted(self, *arguments):
        nonlocal n_fitted
        n_fitted += 1
        if n_fitted == limit:
            raise SystemExit  # what a kill leaves behind: no clean-up of AutoRanker's runs
        return fit(self, *arguments)

    monkeypatch.setattr(crossfit.Plan, "fit", counted)
    limit = 5
    folder = tmp_path / "run"
    with pytest.raises(SystemExit):
        auto(checkpoint=folder).fit(X, y, qid=qid)
    assert len(list(folder.glob("*.lmk"))) == 4
    limit = 100
    n_fitted = 0
    resumed = auto(checkpoint=folder, n_jobs=2).fit(X, y, qid=qid)
    assert n_fitted == 5
    np.testing.assert_array_equal(resumed.predict(X), whole.predict(X))
    # More budget goes on from there; other data or settings do not.
    more = auto("fits=12", checkpoint=folder).fit(X, y, qid=qid)
    assert n_fitted == 8
    assert more.n_fits_ == 12
    with pytest.raises(ValueError, match="'checkpoint' must be a folder of this run"):
        auto(checkpoint=folder).fit(X, y[::-1].copy(), qid=qid)
    with pytest.raises(ValueError, match="'checkpoint' must be a folder of this run"):
        auto(checkpoint=folder, cv=4).fit(X, y, qid=qid)


def test_a_run_without_a_seed_goes_on_with_the_one_it_had(tmp_path):
    X, y, qid = make()
    first = auto("fits=3", random_state=None, checkpoint=tmp_path / "run").fit(X, y, qid=qid)
    second = auto("fits=3", random_state=None, checkpoint=tmp_path / "run").fit(X, y, qid=qid)
    np.testing.assert_array_equal(first.predict(X), second.predict(X))


@pytest.mark.parametrize(("at", "n_kept"), [(8, 2), (5, 1), (2, 1)])
def test_ctrl_c_keeps_what_is_done(at, n_kept, monkeypatch):
    X, y, qid = make()
    interrupt_at(at, monkeypatch)
    with pytest.warns(UserWarning, match=r"stopped by Ctrl-C and keeps the"):
        blend = auto().fit(X, y, qid=qid)
    assert len(blend.members_) == n_kept
    assert np.isfinite(blend.predict(X)).all()
    assert len(blend.leaderboard_) == n_kept + 1
    monkeypatch.undo()


def test_ctrl_c_before_the_first_model_is_an_interrupt(monkeypatch):
    X, y, qid = make()
    interrupt_at(1, monkeypatch)
    blend = auto()
    with pytest.raises(KeyboardInterrupt):
        blend.fit(X, y, qid=qid)
    assert not hasattr(blend, "members_")


def interrupt_at(number, monkeypatch):
    fit = crossfit.Plan.fit
    calls = iter(range(1, 1000))

    def interrupted(self, *arguments):
        if next(calls) == number:
            raise KeyboardInterrupt
        return fit(self, *arguments)

    monkeypatch.setattr(crossfit.Plan, "fit", interrupted)


def test_a_member_that_fails_is_left_out_with_a_word(monkeypatch):
    X, y, qid = make()
    fit = crossfit.Plan.fit

    def failing(self, recipe, *arguments):
        if recipe.name == "trees pairwise":
            raise RuntimeError("no luck")
        return fit(self, recipe, *arguments)

    monkeypatch.setattr(crossfit.Plan, "fit", failing)
    with pytest.warns(UserWarning, match="leaves out 'trees pairwise', whose fit failed: no luck"):
        blend = auto("fits=6").fit(X, y, qid=qid)
    assert [member.name for member in blend.members_] == ["trees ndcg", "linear ndcg"]


def test_a_budget_in_seconds_ends(monkeypatch):
    X, y, qid = make()
    clock = iter(np.arange(0, 10_000, 2.5))
    monkeypatch.setattr(crossfit, "now", lambda: float(next(clock)))
    # Every fit takes 2.5 s by that clock. Three members are 22.5 s; a network costs twice as much as trees.
    assert auto(23).fit(X, y, qid=qid).n_fits_ == 9
    assert auto(1).fit(X, y, qid=qid).n_fits_ == 1  # one model at least


def test_budgets_in_fits():
    X, y, qid = make()
    assert auto("fits=1").fit(X, y, qid=qid).n_fits_ == 1
    assert auto("fits=2").fit(X, y, qid=qid).n_fits_ == 2
    assert auto("fits=5").fit(X, y, qid=qid).n_fits_ == 3
    partial = auto("fits=2").fit(X, y, qid=qid)
    assert np.isnan(partial.oof_scores_).any()
    assert np.isfinite(partial.predict(X)).all()
    assert np.isfinite(partial.best_score_)


# --------------------------------------------------------------------------------------- awkward data


def test_missing_values_and_categories_have_trees_only():
    X, y, qid = make()
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(N_FEATURES)])
    frame["kind"] = pd.Categorical(np.where(X[:, 0] > 0, "a", "b"))
    blend = auto().fit(frame, y, qid=qid)
    assert all("trees" in member.name for member in blend.members_)
    assert blend.feature_names_in_.tolist()[-1] == "kind"
    shuffled = frame[["kind"]].join(frame.drop(columns="kind"))[frame.columns]
    np.testing.assert_array_equal(blend.predict(shuffled), blend.predict(frame))
    holes = X.copy()
    holes[0, 0] = np.nan
    assert all("trees" in member.name for member in auto().fit(holes, y, qid=qid).members_)


def test_sparse_rows_score_as_dense_ones():
    X, y, qid = make()
    X[np.abs(X) < 0.5] = 0
    dense = auto("fits=6").fit(X, y, qid=qid)
    thin = auto("fits=6").fit(sparse.csr_matrix(X), y, qid=qid)
    np.testing.assert_array_equal(dense.predict(X), thin.predict(sparse.csr_matrix(X)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(auto("fits=15").fit(sparse.csr_array(X), y, qid=qid).members_) == 5


def test_one_query_is_fitted_without_folds():
    X, y, _ = make()
    with pytest.warns(UserWarning, match="qid=None"):
        blend = auto("fits=3").fit(X, y)
    assert len(blend.members_) == 3
    assert [member.weight for member in blend.members_] == pytest.approx([1 / 3] * 3)
    assert np.isnan(blend.best_score_)
    assert np.isnan(blend.oof_scores_).all()
    assert blend.score(X, y) > 0.5
    with pytest.raises(ValueError, match="at least two queries with different labels"):
        auto(distill=True).fit(X, y, qid=np.zeros(len(X)))


def test_few_queries_have_fewer_folds():
    X, y, qid = make()
    few = qid < 2
    blend = auto("fits=4", cv=5).fit(X[few], y[few], qid=qid[few])
    assert [len(member.fits) for member in blend.members_] == [2, 2]


def test_nothing_to_learn_is_an_error():
    X, _, qid = make()
    with pytest.raises(ValueError, match="two different labels"):
        auto().fit(X, np.ones(len(X)), qid=qid)


def test_clicks_are_measured_by_propensity(rng):
    X, y, qid = make(n_queries=40)
    position = np.tile(np.arange(1, 9), 40)
    clicks = ((y > 0) & (rng.random(len(y)) < 1 / position)).astype(float)
    blend = auto("fits=6").fit(X, clicks, qid=qid, position=position)
    assert {type(m.fits[0].model).__name__ for m in blend.members_} == {"LambdaMART"}
    first = blend.members_[0].fits
    known = min(len(fit.model.propensities_) for fit in first)
    mean = np.mean([fit.model.propensities_[:known] for fit in first], axis=0)
    # By hand: each click is a query, in which it is the only relevant document of its list.
    total, weights = 0.0, 0.0
    for row in np.flatnonzero(clicks):
        others = np.flatnonzero((qid == qid[row]) & (np.arange(len(y)) != row))
        value = ndcg(np.r_[1.0, np.zeros(len(others))], blend.oof_scores_[np.r_[row, others]], k=10)
        weight = 1 / max(mean[min(position[row], known) - 1], 0.02)
        total += weight * value
        weights += weight
    assert blend.best_score_ == pytest.approx(total / weights)


def test_sample_weight_weighs_queries():
    X, y, qid = make()
    weight = np.where(qid < 12, 1.0, 3.0)
    blend = auto("fits=3").fit(X, y, qid=qid, sample_weight=weight)
    mean = ndcg(y, blend.oof_scores_, qid, k=10, sample_weight=weight)
    assert blend.best_score_ == pytest.approx(mean)


def test_validation_rows_are_refused_with_what_to_do():
    X, y, qid = make()
    with pytest.raises(ValueError, match="'X_val' must be None with AutoRanker: it holds out queries itself"):
        auto().fit(X, y, qid=qid, X_val=X, y_val=y, qid_val=qid)


@pytest.mark.parametrize(
    "bad", [{"cv": 1}, {"calibrate": "platt"}, {"budget": -1}, {"budget": "soon"}, {"query_features": "yes"}]
)
def test_bad_parameters_are_named(bad):
    X, y, qid = make()
    with pytest.raises(ValueError, match=f"'{next(iter(bad))}'"):
        auto().set_params(**bad).fit(X, y, qid=qid)


# ------------------------------------------------------------------------------------ what it can do


def test_query_features_need_qid_to_predict():
    X, y, qid = make()
    blend = auto("fits=6", query_features=True).fit(X, y, qid=qid)
    assert blend.n_features_in_ == N_FEATURES
    assert blend.members_[0].fits[0].model.n_features_in_ == 4 * N_FEATURES
    scores = blend.predict(X, qid=qid)
    order = np.random.default_rng(2).permutation(len(X))
    np.testing.assert_array_equal(blend.predict(X[order], qid=qid[order]), scores[order])
    assert blend.score(X, y, qid=qid) == pytest.approx(ndcg(y, scores, qid, k=10))
    with pytest.raises(ValueError, match="'qid' must be given to predict"):
        blend.predict(X)
    with pytest.raises(ValueError, match="'query_features' must be False with a sparse"):
        auto(query_features=True).fit(sparse.csr_matrix(X), y, qid=qid)


def test_a_distilled_model_takes_the_place_of_the_blend(tmp_path):
    X, y, qid = make()
    blend = auto("fits=7", distill=True).fit(X, y, qid=qid)
    assert blend.n_fits_ == 3  # and four for the student
    assert blend.leaderboard_["model"].tolist()[-1:] == ["distilled"] or "distilled" in set(
        blend.leaderboard_["model"]
    )
    np.testing.assert_array_equal(blend.predict(X), blend.distilled_.predict(X))
    blend.save(tmp_path / "m.lmk")
    np.testing.assert_array_equal(AutoRanker.load(tmp_path / "m.lmk").predict(X), blend.predict(X))
    exported = blend.export(tmp_path / "m.json", format="xgboost", check=X)
    assert exported.check is not None


def test_a_blend_of_trees_is_exported_and_another_refused(tmp_path):
    X, y, qid = make()
    blend = auto("fits=6").fit(X, y, qid=qid)
    blend.export(tmp_path / "m.txt", format="lightgbm", check=X)
    mixed = auto().fit(X, y, qid=qid)
    with pytest.raises(TypeError, match="its member 'linear ndcg' is no sum of trees; fit with distill=True"):
        mixed.export(tmp_path / "m.txt", format="lightgbm")


def test_explanations_of_a_blend_are_sums_of_its_members():
    X, y, qid = make()
    blend = auto().fit(X, y, qid=qid)  # trees and a linear function: all have contributions
    why = blend.explain(X, qid=qid)
    pair = why.pair(0, 1)
    scores = blend.predict(X)
    assert sum(pair.attributions) == pytest.approx(scores[0] - scores[1])
    plain = blend._explainable()
    np.testing.assert_allclose(plain.contributions(X).sum(axis=1), scores, atol=1e-6)
    with_network = auto("fits=15").fit(X, y, qid=qid)
    assert with_network._explainable().contributions is None
    with pytest.raises(TypeError, match="'query_features' cannot be explained"):
        auto("fits=1", query_features=True).fit(X, y, qid=qid).explain(X, qid=qid)


def test_it_is_cloned_as_any_estimator():
    settings = {"budget": "fits=3", "cv": 4, "calibrate": "isotonic", "query_features": True}
    ranker = AutoRanker(**settings)
    assert clone(ranker).get_params() == ranker.get_params()


def test_large_rows_thin_what_networks_see(monkeypatch):
    X, y, qid = make()
    seen = {}
    fit_rows = LambdaMART.fit_rows
    from lambdamart_kit import LinearRanker

    def watched(self, data, watch):
        seen.setdefault(type(self).__name__, []).append(len(data.train.y))
        return fit_rows(self, data, watch)

    monkeypatch.setattr(LinearRanker, "fit_rows", watched)
    monkeypatch.setattr(LambdaMART, "fit_rows", watched)
    recipes = [r for r in PORTFOLIO if r.name in ("trees ndcg", "linear ndcg")]
    small = [
        portfolio.Recipe(r.name, r.ranker, r.settings, r.cost, 40) if "linear" in r.name else r
        for r in recipes
    ]
    monkeypatch.setattr(portfolio, "PORTFOLIO", tuple(small))
    auto("fits=6").fit(X, y, qid=qid)
    assert seen["LinearRanker"] == [40, 40, 40]
    assert min(seen["LambdaMART"]) == 128


def test_members_do_not_keep_copies_of_the_rows():
    X, y, qid = make()
    blend = auto("fits=3").fit(X, y, qid=qid)
    model = blend.members_[0].fits[0].model
    large = [name for name, value in vars(model).items() if getattr(value, "size", 0) >= len(X)]
    assert large == []


@pytest.mark.slow
def test_more_members_do_better_on_new_queries():
    X, y, qid = make(n_queries=120, seed=1)
    new = make(n_queries=300, seed=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = auto("fits=1", cv=5).fit(X, y, qid=qid).score(*new[:2], qid=new[2])
        many = auto("fits=60", cv=5).fit(X, y, qid=qid).score(*new[:2], qid=new[2])
    assert many > one


def test_stopwatch_knows_the_parts():
    X, y, qid = make()
    assert set(auto("fits=3").fit(X, y, qid=qid).fit_times_) == {"data", "members", "weights"}
    assert Stopwatch().seconds == {}
