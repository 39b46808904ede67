"""The booster protocol, its parameter table, and what happens around rounds."""

from __future__ import annotations

import dataclasses
import importlib.util
import io
import math
import sys

import numpy as np
import pytest
from scipy import sparse

from lambdamart_kit.boosters import settings as settings_module
from lambdamart_kit.boosters.lightgbm import lightgbm_settings
from lambdamart_kit.boosters.protocol import LibraryObjective
from lambdamart_kit.boosters.registry import BOOSTERS, capabilities, find_booster
from lambdamart_kit.boosters.rounds import (
    EarlyStopping,
    EvalSet,
    History,
    Measure,
    RoundsProgress,
    Stopwatch,
    finish_round,
)
from lambdamart_kit.boosters.settings import BoosterParams, safe_names, translate
from lambdamart_kit.boosters.xgboost import xgboost_settings
from lambdamart_kit.core.ordered_rows import order_rows
from lambdamart_kit.core.rowhash import row_hashes
from lambdamart_kit.objectives import RankNet
from lambdamart_kit.rankers.binding import split_queries

PARAMS = BoosterParams(n_estimators=6, num_leaves=5)
LOSS = {"lightgbm": "lambdarank", "xgboost": "rank:ndcg", "catboost": "YetiRank"}


@pytest.fixture
def rows(rng):
    X, qid = rng.normal(size=(300, 4)).astype(np.float32), np.repeat(np.arange(30), 10)
    return order_rows(X, np.digitize(X[:, 0] + rng.normal(size=300), [0, 1]), qid, None)


def fit(name, rows, params=PARAMS, **options):
    if name == "catboost":
        pytest.importorskip("catboost")
    if capabilities(name).runs_objectives:
        bound = RankNet().bind(rows.y, rows.queries)
    else:
        bound = LibraryObjective(LOSS[name], rows.y, rows.queries, None)
    return find_booster(name).fit(rows.X, bound, params, queries=rows.queries, **options)


@pytest.mark.parametrize("name", BOOSTERS)
def test_predictions_are_sums_over_trees(name, rows):
    model = fit(name, rows)
    assert model.n_trees == 6
    whole = model.predict(rows.X)
    assert whole.dtype == np.float64
    parts = [model.predict(rows.X, iteration_range=r) for r in ((0, 2), (2, 5), (5, 6))]
    np.testing.assert_allclose(sum(parts), whole, atol=1e-6)
    assert not model.predict(rows.X, iteration_range=(3, 3)).any()
    short = model.truncate(4)
    assert short.n_trees == 4
    np.testing.assert_allclose(
        short.predict(rows.X), sum(parts) - model.predict(rows.X, iteration_range=(4, 6)), atol=1e-6
    )
    assert model.truncate(6) is model
    assert model.gain().shape == (4,)
    np.testing.assert_array_equal(type(model).from_bytes(model.to_bytes()).predict(rows.X), whole)


@pytest.mark.parametrize("name", BOOSTERS)
def test_eval_sets_see_the_scores_that_predict_gives(name, rows):
    """After every round, in the order of the rows; and a callback that answers True ends training."""
    held_out, seen, rounds = rows.X[::-7], [], []

    def measure(scores):
        seen.append(np.array(scores))
        return float(len(seen))

    def callback(n_rounds, evaluation):
        rounds.append((n_rounds, dict(evaluation)))
        return n_rounds == 4

    eval_sets = [EvalSet("held out", held_out, (Measure("ndcg@10", measure),))]
    model = fit(name, rows, eval_sets=eval_sets, callbacks=[callback])
    assert rounds == [(n, {"held out ndcg@10": float(n)}) for n in range(1, 5)]
    assert model.n_trees == 4
    for n_trees, scores in enumerate(seen, start=1):
        np.testing.assert_allclose(scores, model.predict(held_out, iteration_range=(0, n_trees)), atol=1e-5)


@pytest.mark.parametrize("name", BOOSTERS)
def test_start_continues(name, rows):
    first = fit(name, rows)
    both = fit(name, rows, start=first)
    assert both.n_trees == 12
    np.testing.assert_allclose(both.predict(rows.X, iteration_range=(0, 6)), first.predict(rows.X), atol=1e-6)


def test_custom_and_library_objectives_stay_apart(rows):
    library = LibraryObjective("lambdarank", rows.y, rows.queries, None)
    with pytest.raises(TypeError, match="no objectives of their own"):
        find_booster("native").fit(rows.X, library, PARAMS)
    pytest.importorskip("catboost")
    with pytest.raises(ValueError, match="CatBoost runs its own losses only"):
        find_booster("catboost").fit(rows.X, RankNet().bind(rows.y, rows.queries), PARAMS)
    with pytest.raises(ValueError, match=r"'booster' must be one of .*; got 'gbm'"):
        find_booster("gbm")


# ----------------------------------------------------------------------------------------- parameters


def test_translation_table_in_the_docstring_is_the_one_in_force():
    documented = settings_module.__doc__.split("=\n")[2].splitlines()
    rows = {line.split()[0]: line for line in documented if line.strip() and not line.startswith("=")}
    untold = {"seed", "n_threads", "split_criterion"}
    libraries = ["lightgbm", "xgboost"] + ["catboost"] * (importlib.util.find_spec("catboost") is not None)
    for library in libraries:
        names = find_booster(library).parameter_names
        assert set(rows) == set(names) - untold
        for kit_name in rows:
            assert (names[kit_name] or "--") in rows[kit_name], kit_name


@pytest.mark.parametrize("name", BOOSTERS)
def test_every_booster_says_what_it_calls_each_setting(name):
    if name == "catboost":
        pytest.importorskip("catboost")
    told = {f.name for f in dataclasses.fields(BoosterParams)} - {
        "n_estimators",
        "monotone_constraints",
        "interaction_constraints",
        "categorical_features",
        "feature_names",
        "extra",
        "schedule",
        "network",
    }
    assert set(find_booster(name).parameter_names) == told


def test_settings_of_the_libraries():
    params = BoosterParams(max_depth=4, num_leaves=9, reg_lambda=2.0, subsample=0.5, seed=7, n_threads=3)
    lightgbm, xgboost = lightgbm_settings(params), xgboost_settings(params)
    assert (lightgbm["max_depth"], lightgbm["num_leaves"], lightgbm["lambda_l2"]) == (4, 9, 2.0)
    assert (lightgbm["bagging_fraction"], lightgbm["bagging_freq"], lightgbm["min_data_in_leaf"]) == (
        0.5,
        1,
        20,
    )
    assert (xgboost["max_depth"], xgboost["max_leaves"], xgboost["lambda"]) == (4, 9, 2.0)
    assert (xgboost["subsample"], xgboost["seed"], xgboost["nthread"]) == (0.5, 7, 3)
    unlimited = BoosterParams()
    assert lightgbm_settings(unlimited)["max_depth"] == -1
    assert xgboost_settings(unlimited)["max_depth"] == 0
    assert lightgbm_settings(unlimited)["bagging_freq"] == 0


def test_a_setting_the_library_lacks_is_not_ignored():
    with pytest.raises(ValueError, match="'min_child_samples' must be left at None with XGBoost"):
        xgboost_settings(BoosterParams(min_child_samples=20))
    with pytest.raises(ValueError, match=r"'min_split_gain' must be left at 0\.0 with a library"):
        translate(BoosterParams(min_split_gain=1.0), {"min_split_gain": None}, library="a library")
    with pytest.raises(ValueError, match="'split_criterion' must be left at 'newton' with LightGBM"):
        lightgbm_settings(BoosterParams(split_criterion="least_squares"))


def test_names_a_library_would_refuse():
    assert safe_names(["a", "b[0]", 'c:"x"']) == ["a", "b_0_", "c__x_"]
    assert safe_names(["", "  "]) == ["_", "__"]
    assert safe_names(["a b", "a_b"]) is None
    assert safe_names(["", "_"]) is None
    assert safe_names(None) is None


# ----------------------------------------------------------------------------------- around the rounds


def test_history_and_early_stopping():
    history = History()
    stop = EarlyStopping(history, rounds=2)
    answers = [
        finish_round([history, stop], n, {"v": v}) for n, v in enumerate([0.1, 0.3, 0.3, 0.2], start=1)
    ]
    assert answers == [False, False, False, True]
    assert (history.best_round, history.best_value, history.values) == (2, 0.3, [0.1, 0.3, 0.3, 0.2])
    lower = History(greater_is_better=False)
    for n, value in enumerate([3.0, 1.0, 2.0], start=1):
        lower(n, {"v": value})
    assert lower.best_round == 2
    silent = History()
    assert not finish_round([silent, EarlyStopping(silent, 1)], 5, {})
    assert math.isnan(silent.best_value)


def test_stopwatch_books_each_second_once(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    watch = Stopwatch()
    with watch.remainder("trees"):  # 0 .. 5, of which 1 .. 2 and 3 .. 4 are gradient
        for _ in range(2):
            assert watch.timed("gradient", abs)(-3) == 3
    assert watch.seconds == {"gradient": 2.0, "trees": 3.0}


def test_progress_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with RoundsProgress(10, label="LambdaMART", enabled=True) as progress:
        for n in range(1, 11):
            assert progress(n, {"validation ndcg@10": 0.25}) is False
    assert "LambdaMART" in terminal.getvalue()
    assert "ndcg@10 0.2500" in terminal.getvalue()


# ------------------------------------------------------------------------------------------- row order


def test_hash_is_of_the_content(rng):
    X = rng.normal(size=(500, 7)).astype(np.float32)
    X[rng.random(X.shape) < 0.4] = 0
    X[rng.random(X.shape) < 0.1] = np.nan
    hashes = row_hashes(X)
    assert len(np.unique(hashes)) == len(np.unique(X, axis=0, equal_nan=True))
    np.testing.assert_array_equal(row_hashes(sparse.csr_matrix(X)), hashes)
    np.testing.assert_array_equal(row_hashes(np.asfortranarray(X), n_threads=3), hashes)
    np.testing.assert_array_equal(row_hashes(np.where(X == 0, np.float32(-0.0), X)), hashes)
    order = rng.permutation(500)
    np.testing.assert_array_equal(row_hashes(X[order]), hashes[order])
    assert (row_hashes(X[:, ::-1]) != hashes).mean() > 0.9


@pytest.mark.parametrize("as_type", [np.asarray, sparse.csr_matrix])
def test_order_rows_depends_on_content_only(as_type, rng):
    X = rng.integers(0, 3, (200, 2)).astype(np.float32)
    y, qid = rng.integers(0, 3, 200), rng.integers(0, 9, 200)
    first = order_rows(as_type(X), y, qid, 1.0 + qid)
    p = rng.permutation(200)
    second = order_rows(as_type(X[p]), y[p], qid[p], 1.0 + qid[p])
    dense = (lambda m: m.toarray()) if as_type is sparse.csr_matrix else np.asarray
    np.testing.assert_array_equal(dense(second.X), dense(first.X))
    np.testing.assert_array_equal(second.y, first.y)
    np.testing.assert_array_equal(first.sample_weight, 1.0 + qid[first.order])
    np.testing.assert_array_equal(qid[first.order], np.repeat(first.queries.ids, first.queries.sizes))
    labels, queries, weight = first.as_given()
    np.testing.assert_array_equal(labels, y)
    np.testing.assert_array_equal(weight, 1.0 + qid)
    np.testing.assert_array_equal(queries.sort(labels), first.y)


def test_equal_rows_are_not_sorted_by_label(rng):
    """Constant features: were ties broken by label, a library's first round would see a perfect ranking."""
    y = rng.integers(0, 50, 400)
    ordered = order_rows(np.ones((400, 2), np.float32), y, None, None).y
    assert abs(np.corrcoef(ordered, np.arange(400))[0, 1]) < 0.5


def test_split_queries(rng):
    qid = np.repeat(np.arange(40), 5)
    y = np.where(qid < 10, 0, rng.integers(0, 3, 200))
    rows = order_rows(rng.normal(size=(200, 2)).astype(np.float32), y, qid, None)
    train, held_out = split_queries(rows, 0.25, np.random.default_rng(0))
    assert not set(train.queries.ids) & set(held_out.queries.ids)
    assert train.queries.n_queries + held_out.queries.n_queries == 40
    assert held_out.queries.n_queries == round(0.25 * rows.comparable().sum())
    assert held_out.comparable().all()
    np.testing.assert_array_equal(qid[train.order], np.repeat(train.queries.ids, train.queries.sizes))
    np.testing.assert_array_equal(y[held_out.order], held_out.y)
