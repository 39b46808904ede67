"""Nothing is silently wrong: DART, forests, warm starts, frames of any library, foreign arguments, forks."""

from __future__ import annotations

import multiprocessing
import warnings

import numpy as np
import pandas as pd
import pytest
import xgboost as xgb

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.metrics import ndcg
from lambdamart_kit.rankers import CatBoostRanker, LambdaMART, LightGBMRanker, XGBoostRanker

SMALL = {"n_estimators": 20, "num_leaves": 7, "random_state": 0, "n_jobs": 1}
DART = {
    "lightgbm": lambda **k: LambdaMART(
        booster="lightgbm", booster_params={"boosting": "dart", "drop_rate": 0.5}, **{**SMALL, **k}
    ),
    "LightGBMRanker": lambda **k: LightGBMRanker(
        booster_params={"boosting": "dart", "drop_rate": 0.5}, **{**SMALL, **k}
    ),
    "xgboost": lambda **k: LambdaMART(
        booster="xgboost", booster_params={"booster": "dart", "rate_drop": 0.5}, **{**SMALL, **k}
    ),
    "XGBoostRanker": lambda **k: XGBoostRanker(
        booster_params={"booster": "dart", "rate_drop": 0.5}, **{**SMALL, **k}
    ),
}


@pytest.fixture(scope="module")
def train():
    return make_letor(n_queries=25, mean_documents=10, random_state=0)


@pytest.fixture(scope="module")
def held_out():
    return make_letor(n_queries=25, mean_documents=10, random_state=2)


@pytest.mark.parametrize("name", DART)
def test_dart_keeps_the_model_of_its_best_round(name, train, held_out):
    ranker = DART[name](n_estimators=40, early_stopping_rounds=8)
    ranker.fit(train.X, train.y, qid=train.qid, X_val=held_out.X, y_val=held_out.y, qid_val=held_out.qid)
    kept = ndcg(held_out.y, ranker.predict(held_out.X), held_out.qid, k=10)
    assert kept == pytest.approx(ranker.best_score_, abs=1e-6)
    assert ranker.best_score_ == max(ranker.evals_result_["validation"]["ndcg@10"])


def test_a_random_forest_predicts_the_mean_of_its_trees(train, held_out):
    ranker = LightGBMRanker(subsample=0.5, booster_params={"boosting": "rf"}, **SMALL)
    ranker.fit(train.X, train.y, qid=train.qid)
    np.testing.assert_allclose(ranker.predict(held_out.X), ranker.booster_.predict(held_out.X), rtol=1e-12)


@pytest.mark.parametrize("booster", ["native", "lightgbm", "xgboost"])
def test_a_warm_start_that_grows_nothing_says_so(booster, train, held_out):
    ranker = LambdaMART(booster=booster, warm_start=True, **SMALL).fit(train.X, train.y, qid=train.qid)
    before = ranker.predict(held_out.X)
    with pytest.warns(UserWarning, match=r"grew no trees: 'n_estimators' is 20.*raise 'n_estimators'"):
        ranker.set_params(learning_rate=9.0).fit(held_out.X, held_out.y, qid=held_out.qid)
    np.testing.assert_array_equal(ranker.predict(held_out.X), before)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ranker.set_params(n_estimators=22).fit(held_out.X, held_out.y, qid=held_out.qid)
    assert not np.allclose(ranker.predict(held_out.X), before)


@pytest.mark.parametrize(("before", "after"), [("native", "xgboost"), ("xgboost", "native")])
def test_a_warm_start_cannot_change_the_library(before, after, train):
    ranker = LambdaMART(booster=before, warm_start=True, **SMALL).fit(train.X, train.y, qid=train.qid)
    with pytest.raises(ValueError, match="'booster' must stay what it was with warm_start=True"):
        ranker.set_params(booster=after, n_estimators=30).fit(train.X, train.y, qid=train.qid)


# ------------------------------------------------------------------------------------------------ frames


def frames(n=300, seed=0):
    rng = np.random.default_rng(seed)
    colour = rng.choice(["red", "green", "blue", "grey"], n)
    frame = pd.DataFrame({"colour": pd.Categorical(colour), "x": rng.normal(size=n)})
    return frame, (colour == "red").astype(int) + (frame.x > 1), np.repeat(np.arange(n // 10), 10)


@pytest.mark.parametrize("ranker", [LambdaMART, LightGBMRanker, XGBoostRanker])
def test_category_columns_of_polars_are_those_of_pandas(ranker):
    polars = pytest.importorskip("polars")
    frame, y, qid = frames()
    expected = ranker(**SMALL).fit(frame, y, qid=qid)
    scores = expected.predict(frame)
    as_categories = polars.from_pandas(frame).with_columns(
        polars.Series("colour", frame.colour.astype(str).tolist(), dtype=polars.Categorical)
    )
    as_enum = as_categories.with_columns(
        polars.col("colour").cast(polars.Enum(["blue", "green", "grey", "red"]))
    )
    for other in (as_categories, as_enum):
        np.testing.assert_allclose(expected.predict(other), scores, rtol=1e-12)
        fitted = ranker(**SMALL).fit(other, y, qid=qid)
        assert fitted.categorical_columns_ == (0,)
        np.testing.assert_allclose(fitted.predict(frame), fitted.predict(other), rtol=1e-12)


EXPORTED = {
    "native": lambda: LambdaMART(**SMALL),
    "lightgbm": lambda: LambdaMART(booster="lightgbm", **SMALL),
    "LightGBMRanker": lambda: LightGBMRanker(**SMALL),
    "xgboost": lambda: LambdaMART(booster="xgboost", **SMALL),
    "XGBoostRanker": lambda: XGBoostRanker(**SMALL),
    "CatBoostRanker": lambda: CatBoostRanker(n_estimators=20, random_state=0, n_jobs=1),
}


@pytest.mark.parametrize("n_frames", [20, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", EXPORTED)
def test_the_library_alone_reproduces_predict_on_any_frame(name, n_frames):
    """Categories in any order, unseen ones, missing and infinite numbers, pandas and Polars; 30 rows each."""
    polars = pytest.importorskip("polars")
    if name == "CatBoostRanker":
        pytest.importorskip("catboost")
    frame, y, qid = frames()
    ranker = EXPORTED[name]().fit(frame, y, qid=qid)
    rng = np.random.default_rng(1)
    levels = ["red", "green", "blue", "grey", "new", "other"]
    if "xgb" in name.lower() and tuple(map(int, xgb.__version__.split(".")[:2])) >= (3, 4):
        levels = levels[:4]  # XGBoost refuses categories that it has not seen, since then
    for _ in range(n_frames):
        order = rng.permutation(levels)[: rng.integers(3, len(levels) + 1)]
        colour = pd.Categorical(rng.choice(order, 30), categories=order)
        colour[rng.random(30) < 0.1] = np.nan
        x = rng.normal(size=30)
        x[rng.random(30) < 0.2] = np.nan
        x[rng.random(30) < 0.1] = rng.choice([-np.inf, np.inf])
        later = pd.DataFrame({"colour": colour, "x": x})
        if "xgb" in name.lower():
            found = ranker.booster_.inplace_predict(later, predict_type="margin")
        else:
            found = ranker.booster_.predict(later)
        np.testing.assert_allclose(found, ranker.predict(later), atol=1e-6)
        np.testing.assert_array_equal(ranker.predict(polars.from_pandas(later)), ranker.predict(later))


def test_dates_get_a_clear_answer():
    frame, y, qid = frames()
    with pytest.raises(ValueError, match=r"column 'when' holds datetime64.*pass seconds"):
        LambdaMART(**SMALL).fit(frame.assign(when=pd.Timestamp("2024-01-01")), y, qid=qid)


def test_categories_that_cannot_be_saved_are_said_before_training():
    frame, y, qid = frames()
    binned = pd.DataFrame({"c": pd.cut(frame.x, 4), "x": frame.x})
    with pytest.warns(UserWarning, match=r"column 'c' has categories of type Interval.*save\(\) will fail"):
        ranker = LambdaMART(**SMALL).fit(binned, y, qid=qid)
    assert "pandas_categorical:null" in ranker.booster_.model_to_string()


def test_categories_that_are_tuples_are_saved_without_a_word(tmp_path):
    frame, y, qid = frames()
    colour = pd.Categorical([(text[0], len(text)) for text in frame.colour.astype(str)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ranker = LambdaMART(**SMALL).fit(frame.assign(colour=colour), y, qid=qid)
    ranker.save(tmp_path / "m.lmk")
    expected = ranker.predict(frame.assign(colour=colour))
    assert np.ptp(expected) > 0
    assert np.array_equal(LambdaMART.load(tmp_path / "m.lmk").predict(frame.assign(colour=colour)), expected)


@pytest.mark.parametrize("booster", ["lightgbm", "xgboost"])
@pytest.mark.parametrize("kind", ["bool", "float", "int", "str"])
def test_the_librarys_model_is_there_whatever_the_categories(booster, kind):
    frame, y, qid = frames()
    values = np.random.default_rng(2).integers(0, 2 if kind == "bool" else 5, len(frame)).astype(kind)
    frame = frame.assign(colour=pd.Categorical(values))
    ranker = LambdaMART(booster=booster, **SMALL).fit(frame, y, qid=qid)
    model = ranker.booster_
    if booster == "lightgbm":
        np.testing.assert_allclose(model.predict(frame), ranker.predict(frame), atol=1e-6)
    elif kind in ("int", "str"):
        found = model.inplace_predict(frame, predict_type="margin")
        np.testing.assert_allclose(found, ranker.predict(frame), atol=1e-6)


# --------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("argument", "hint"), [("group", "qid"), ("eval_set", "X_val"), ("cat_features", "categorical_features")]
)
def test_arguments_of_other_libraries_get_a_hint(argument, hint, train):
    with pytest.raises(TypeError, match=rf"unexpected arguments '{argument}'; instead of .*{hint}"):
        LambdaMART(**SMALL).fit(train.X, train.y, **{argument: [1]})
    with pytest.raises(TypeError, match=r"unexpected arguments 'gruop'$"):
        LambdaMART(**SMALL).fit(train.X, train.y, gruop=[1])


def test_query_ids_of_several_parts():
    whole = np.array([2, 2, 0, 1, 0])
    expected = Queries.from_qid(whole, 5)
    parts = [(int(q) // 2, f"day {q % 2}") for q in whole]
    for ids in (parts, pd.DataFrame(parts), pd.Series(parts), whole[:, None]):
        found = Queries.from_qid(ids, 5)
        assert found.n_queries == expected.n_queries == 3
        np.testing.assert_array_equal(found.order, expected.order)


def _predict(ranker, X, out):
    out.put(float(ranker.predict(X).sum()))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
@pytest.mark.parametrize("booster", ["native", "lightgbm", "xgboost"])
def test_a_forked_process_predicts(booster, train):
    """A web server that loads a model and forks: OpenMP's threads do not live through it."""
    ranker = LambdaMART(booster=booster, **{**SMALL, "n_jobs": 2}).fit(train.X, train.y, qid=train.qid)
    X = np.repeat(train.X, 30, axis=0)
    expected = 30 * float(ranker.predict(train.X).sum())  # so the parent has laid out no forest
    context = multiprocessing.get_context("fork")
    out = context.Queue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = context.Process(target=_predict, args=(ranker, X, out))
        child.start()
    try:
        assert out.get(timeout=60) == pytest.approx(expected)
    finally:
        child.kill()
        child.join()
