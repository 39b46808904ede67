"""pandas, Polars and Arrow tables: one model whichever brings the rows, columns by name, missing values."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression

from lambdamart_kit import LambdaMART, LightGBMRanker, LinearRanker, PointwiseRanker, XGBoostRanker
from lambdamart_kit.model_selection import permutation_importance

pl = pytest.importorskip("polars")
pa = pytest.importorskip("pyarrow")

SMALL = {"n_estimators": 5, "num_leaves": 8, "random_state": 0, "n_jobs": 1}
RANKERS = {
    "native": LambdaMART(**SMALL),
    "lightgbm": LambdaMART(booster="lightgbm", **SMALL),
    "xgboost": LambdaMART(booster="xgboost", **SMALL),
    "bags": LambdaMART(n_bags=2, **SMALL),
    "lambdarank": LightGBMRanker(**SMALL),
    "rank:ndcg": XGBoostRanker(**SMALL),
}
N = 400
RNG = np.random.default_rng(0)
KIND = RNG.choice(["x", "y", "z"], N)
A = RNG.normal(size=N)
B = RNG.integers(0, 5, N)
HOLES = RNG.random(N) < 0.1
C = np.where(HOLES, np.nan, B + RNG.normal(size=N))
Y = ((KIND == "z") + (A > 0)).astype(int)
QID = np.repeat(np.arange(40), 10)
MAYBE = [None if hole else float(value) for hole, value in zip(HOLES, C)]


def pandas_frame():
    return pd.DataFrame({"kind": pd.Categorical(KIND), "a": A, "b": B, "c": C})


def polars_frame():
    kind = pl.Series(KIND, dtype=pl.Categorical)
    return pl.DataFrame({"kind": kind, "a": A, "b": B, "c": pl.Series(MAYBE, dtype=pl.Float64)})


def arrow_table():
    kind = pa.array(KIND).dictionary_encode()
    return pa.table({"kind": kind, "a": A, "b": B, "c": pa.array(MAYBE, pa.float64())})


FRAMES = {
    "pandas": pandas_frame,
    "pandas, nullable": lambda: pandas_frame().astype({"a": "Float64", "b": "Int64", "c": "Float64"}),
    "pandas, Arrow types": lambda: pandas_frame().astype(
        {"a": "double[pyarrow]", "b": "int64[pyarrow]", "c": "double[pyarrow]"}
    ),
    "polars": polars_frame,
    "polars, Enum": lambda: polars_frame().with_columns(pl.Series("kind", KIND, dtype=pl.Enum(list("xyz")))),
    "arrow": arrow_table,
    "arrow, a batch": lambda: arrow_table().to_batches()[0],
}
every_frame = pytest.mark.parametrize("kind", FRAMES)


def columns_of(frame, names):
    return frame.select(names) if hasattr(frame, "select") and not hasattr(frame, "iloc") else frame[names]


@pytest.mark.parametrize("name", RANKERS)
@every_frame
def test_every_frame_gives_the_same_model_and_scores(kind, name):
    expected = clone(RANKERS[name]).fit(pandas_frame(), Y, qid=QID)
    frame = FRAMES[kind]()
    ranker = clone(RANKERS[name]).fit(frame, Y, qid=QID)
    assert ranker.categories_ == {0: ["x", "y", "z"]}
    assert list(ranker.feature_names_in_) == ["kind", "a", "b", "c"]
    scores = expected.predict(pandas_frame())
    np.testing.assert_array_equal(ranker.predict(frame), scores)
    for other in FRAMES.values():
        np.testing.assert_array_equal(expected.predict(other()), ranker.predict(frame))


@every_frame
def test_columns_are_found_by_name(kind):
    ranker = LambdaMART(**SMALL, n_bags=2).fit(pandas_frame(), Y, qid=QID)
    frame = FRAMES[kind]()
    turned = columns_of(frame, ["c", "a", "kind", "b"])
    np.testing.assert_array_equal(ranker.predict(turned), ranker.predict(frame))
    np.testing.assert_array_equal(ranker.leaf_indices(turned), ranker.leaf_indices(frame))
    np.testing.assert_array_equal(ranker.bag_scores(turned), ranker.bag_scores(frame))
    np.testing.assert_array_equal(ranker.contributions(turned), ranker.contributions(frame))
    np.testing.assert_array_equal(
        ranker.predict(turned, return_std=True)[1], ranker.bag_scores(frame).std(0, ddof=1)
    )
    assert ranker.score(turned, Y, qid=QID) == ranker.score(frame, Y, qid=QID)
    with pytest.raises(ValueError, match="Feature names seen at fit time, yet now missing"):
        ranker.predict(columns_of(frame, ["c", "a", "kind"]))


def test_held_out_columns_are_found_by_name():
    turned = pandas_frame()[["c", "a", "kind", "b"]]
    found = [
        LambdaMART(**SMALL).fit(pandas_frame(), Y, qid=QID, X_val=held, y_val=Y, qid_val=QID).evals_result_
        for held in (pandas_frame(), turned)
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "ranker", [LinearRanker(), PointwiseRanker(LinearRegression())], ids=["linear", "pointwise"]
)
def test_columns_are_found_by_name_without_trees(ranker):
    frame = pandas_frame()[["a", "b"]]
    ranker = clone(ranker).fit(frame, Y, qid=QID)
    np.testing.assert_allclose(ranker.predict(frame[["b", "a"]]), ranker.predict(frame))


def test_categories_nobody_declared_do_not_depend_on_the_order_of_rows():
    """Polars and Arrow number categories as they meet them."""
    order = np.random.default_rng(1).permutation(N)
    for frame in (polars_frame(), arrow_table()):
        shuffled = frame[order.tolist()] if hasattr(frame, "with_columns") else frame.take(order)
        model = LambdaMART(**SMALL).fit(frame, Y, qid=QID)
        again = LambdaMART(**SMALL).fit(shuffled, Y[order], qid=QID[order])
        assert model.categories_ == again.categories_ == {0: ["x", "y", "z"]}
        assert model.model_.to_bytes() == again.model_.to_bytes()


def test_a_declared_order_of_categories_stays():
    kind = pl.Enum(["z", "x", "y"])
    frame = polars_frame().with_columns(pl.Series("kind", KIND, dtype=kind))
    assert LambdaMART(**SMALL).fit(frame, Y, qid=QID).categories_ == {0: ["z", "x", "y"]}


def test_a_value_that_is_missing_or_unknown():
    ranker = LambdaMART(**SMALL).fit(polars_frame(), Y, qid=QID)
    frame = pandas_frame().astype({"b": "Int64"})
    frame.loc[0, "b"] = pd.NA
    frame["kind"] = frame["kind"].cat.add_categories("new")
    frame.loc[1, "kind"] = "new"
    table = pa.Table.from_pandas(frame)
    np.testing.assert_array_equal(ranker.predict(table), ranker.predict(frame))
    np.testing.assert_array_equal(ranker.predict(pl.from_arrow(table)), ranker.predict(frame))


def test_labels_and_ids_of_any_frame():
    X = polars_frame()
    expected = LambdaMART(**SMALL).fit(X, Y, qid=QID).predict(X)
    for y, qid in (
        (pl.Series(Y), pl.Series(QID)),
        (pa.chunked_array([Y]), pa.chunked_array([QID])),
        (pd.Series(Y, dtype="Int64"), pd.Series(QID, dtype="Int64")),
        (pd.Series(Y, dtype="int64[pyarrow]"), pd.Series(QID.astype(str), dtype="string")),
    ):
        ranker = LambdaMART(**SMALL).fit(X, y, qid=qid)
        if getattr(qid, "dtype", None) != "string":  # text ids sort otherwise, and rows are in their order
            np.testing.assert_array_equal(ranker.predict(X), expected)
        assert ranker.n_queries_in_ == 40


def test_a_lazy_frame_is_told_what_to_do():
    with pytest.raises(
        ValueError, match=r"'X' must hold rows, and a lazy LazyFrame has none yet; pass X.collect"
    ):
        LambdaMART(**SMALL).fit(polars_frame().lazy(), Y, qid=QID)


@pytest.mark.parametrize("name", RANKERS)
def test_permutation_importance_shuffles_columns_of_any_frame_without_a_word(name):
    ranker = clone(RANKERS[name]).fit(pandas_frame(), Y, qid=QID)
    known = permutation_importance(ranker, pandas_frame(), Y, QID, n_repeats=2, random_state=0)
    assert known.importances_mean[0] > 0.01
    for frame in (polars_frame(), arrow_table()):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = permutation_importance(ranker, frame, Y, QID, n_repeats=2, random_state=0)
        np.testing.assert_array_equal(found.importances, known.importances)
        assert found.feature_names.tolist() == ["kind", "a", "b", "c"]


def test_a_report_takes_any_frame(tmp_path):
    ranker = clone(RANKERS["native"]).fit(pandas_frame(), Y, qid=QID)
    pages = []
    for frame in (pandas_frame(), polars_frame(), arrow_table()):
        ranker.report(tmp_path / "page.html", frame, Y, qid=QID)
        pages.append((tmp_path / "page.html").read_text())
    assert pages[0] == pages[1] == pages[2]
