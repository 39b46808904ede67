"""Rows, columns and arguments that are mistaken for others: put right, refused, or warned of by name."""

from __future__ import annotations

import datetime
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from lambdamart_kit import (
    LambdaMART,
    LinearRanker,
    PointwiseRanker,
    log_to_jsonl,
    prune,
    schedule,
)
from lambdamart_kit.adapters.pyterrier import _labels
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.metrics import make_metric, ndcg
from lambdamart_kit.model_selection import QueryTimeSeriesSplit
from lambdamart_kit.rankers import load_ranker

DATA = make_letor(n_queries=30, mean_documents=10, random_state=0)
X, Y, QID = DATA.X[:, :5].copy(), DATA.y.astype(int), DATA.qid
FRAME = pd.DataFrame(X, columns=list("abcde"))
MIXED = np.random.default_rng(0).permutation(len(Y))
CLASSES = [LambdaMART, LinearRanker, PointwiseRanker]


def small(cls=LambdaMART, **settings):
    few = {"n_estimators": 5, "num_leaves": 7, "random_state": 0, "n_jobs": 1} if cls is LambdaMART else {}
    return cls(**few | settings)


@pytest.mark.parametrize("cls", CLASSES)
def test_labels_in_another_order_of_rows_are_warned_of(cls):
    with pytest.warns(UserWarning, match="'y' has other rows than 'X', or in another order") as caught:
        small(cls).fit(FRAME, pd.Series(Y).iloc[MIXED], qid=QID)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("name", ["qid", "sample_weight", "init_score", "document_weight"])
def test_each_row_aligned_argument_in_another_order_is_warned_of(name):
    values = {
        "qid": QID,
        "sample_weight": np.ones(len(Y)),
        "init_score": X[:, 0],
        "document_weight": 1 + X[:, 0],
    }
    given = {"qid": QID} | {name: pd.Series(values[name]).iloc[MIXED]}
    with pytest.warns(UserWarning, match=f"'{name}' has other rows than 'X'"):
        small().fit(FRAME, Y, **given)


def test_held_out_rows_scores_and_metrics_are_looked_at_too():
    y = pd.Series(Y).iloc[MIXED]
    with pytest.warns(UserWarning, match="'y_val' has other rows than 'X_val'"):
        small().fit(FRAME, Y, qid=QID, X_val=FRAME, y_val=y, qid_val=QID)
    ranker = small().fit(FRAME, Y, qid=QID, init_score=X[:, 0])
    with pytest.warns(UserWarning, match="'init_score' has other rows than 'X'"):
        ranker.predict(FRAME, init_score=pd.Series(X[:, 0]).iloc[MIXED])
    with pytest.warns(UserWarning, match="'y' has other rows than 'X'"):
        ranker.score(FRAME, y, qid=QID, init_score=0)
    with pytest.warns(UserWarning, match="'scores' has other rows than 'y'"):
        ndcg(y, pd.Series(X[:, 0]), QID)


def test_rows_that_do_not_contradict_each_other_are_taken_in_silence():
    half = slice(len(Y) // 2, None)
    y, qid = pd.Series(Y), pd.Series(QID)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small().fit(FRAME.iloc[half], y.iloc[half], qid=qid.iloc[half])
        small().fit(FRAME.iloc[half], y.iloc[half].reset_index(drop=True), qid=QID[half])
        small().fit(FRAME, pd.Series(Y, index=[f"row {at}" for at in range(len(Y))]), qid=QID)


def test_other_rows_of_the_same_number_are_warned_of():
    n = len(Y) // 2
    with pytest.warns(UserWarning, match="'y' has other rows than 'X'"):
        small().fit(FRAME.iloc[1 : n + 1], pd.Series(Y).iloc[n - 1 : 2 * n - 1], qid=QID[1 : n + 1])


@pytest.mark.parametrize("cls", CLASSES)
def test_exchanged_labels_and_ids_are_warned_of(cls):
    with pytest.warns(UserWarning, match="'y' and 'qid' look exchanged"):
        small(cls).fit(X, QID, qid=Y)


def test_sizes_for_ids_are_warned_of():
    sizes = np.unique(QID, return_counts=True)[1]
    with pytest.warns(UserWarning, match="'qid' looks like the size of each row's query"):
        small().fit(X, Y, qid=np.repeat(sizes, sizes))


@pytest.mark.parametrize("ids", [QID, QID + 0.5, -QID, np.repeat([2, 3, 4, 1, 5], len(Y) // 5 + 1)[: len(Y)]])
def test_usual_ids_are_taken_in_silence(ids):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        small().fit(X, Y, qid=ids)
        order = np.argsort(Y, kind="stable")
        small().fit(X[order], Y[order], qid=ids[order])


@pytest.mark.parametrize("labels", [range(5), [3, 1, 9, 0, 2], pd.MultiIndex.from_product([["a"], range(5)])])
def test_columns_whose_labels_are_no_text_are_found_by_label(labels, tmp_path):
    frame = pd.DataFrame(X, columns=labels)
    ranker = small().fit(frame, Y, qid=QID)
    expected = ranker.predict(X)
    turned = frame[frame.columns[::-1]]
    np.testing.assert_array_equal(ranker.predict(turned), expected)
    ranker.save(tmp_path / "m.lmk")
    np.testing.assert_array_equal(load_ranker(tmp_path / "m.lmk").predict(turned), expected)
    longer = small(warm_start=True).fit(frame, Y, qid=QID).set_params(n_estimators=8).fit(turned, Y, qid=QID)
    np.testing.assert_array_equal(longer.predict(X), small(n_estimators=8).fit(X, Y, qid=QID).predict(X))
    with pytest.raises(
        ValueError, match=r"'X' must have the columns of the fit; its column (77|4|1) was not there"
    ):
        ranker.predict(pd.DataFrame(X, columns=[77, 1, 2, 3, 4]))
    refitted = ranker.fit(X, Y, qid=QID)
    np.testing.assert_array_equal(refitted.predict(pd.DataFrame(X)), expected)


def test_columns_of_any_estimator_are_found_by_label():
    ranker = PointwiseRanker(Ridge()).fit(pd.DataFrame(X), Y, qid=QID)
    np.testing.assert_allclose(
        ranker.predict(pd.DataFrame(X)[[4, 3, 2, 1, 0]]), ranker.predict(pd.DataFrame(X))
    )


def test_masked_entries_are_refused():
    ranker = small().fit(X, Y, qid=QID)
    hidden = np.ma.masked_where(X > 1, X)
    with pytest.raises(ValueError, match=r"'X' must hold no masked entries.*pass X.filled\(np.nan\)"):
        small().fit(hidden, Y, qid=QID)
    with pytest.raises(ValueError, match="'X' must hold no masked entries"):
        ranker.predict(hidden)
    for name, values in (("y", Y), ("qid", QID), ("document_weight", np.ones(len(Y)))):
        given = {"y": Y, "qid": QID} | {name: np.ma.masked_where(Y == 1, values)}
        with pytest.raises(ValueError, match=f"'{name}' must hold no masked entries"):
            small().fit(X, **given)
    with pytest.raises(ValueError, match="'y' must hold no masked entries"):
        ndcg(np.ma.masked_where(Y == 1, Y), X[:, 0], QID)
    np.testing.assert_array_equal(
        small().fit(np.ma.masked_array(X), Y, qid=QID).predict(X), ranker.predict(X)
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (FRAME["a"], r"'X' must have two dimensions.*pass X.to_frame\(\)"),
        (FRAME.to_dict("list"), r"got a dict; pass pd.DataFrame\(X\)"),
        (FRAME.to_records(index=False), r"got an array of records; pass pd.DataFrame\(X\)"),
        (FRAME.assign(t=pd.Period("2024-01")), "column 't' holds period"),
        (FRAME.assign(t=[datetime.date(2024, 1, 1)] * len(Y)), "column 't' holds datetime.date"),
        (FRAME.assign(t=[{"a": 1}] * len(Y)), "column 't' holds {'a': 1}"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused_by_name(table, message):
    with pytest.raises(ValueError, match=message):
        small().fit(table, Y, qid=QID)


@pytest.mark.parametrize("booster", ["native", "lightgbm", "xgboost"])
@pytest.mark.parametrize(
    ("fitted", "given", "message"),
    [
        (int, str, "numbers such as 0; got text such as '[1-4]'"),
        (str, int, "text such as '0'; got numbers such as [1-4]"),
        (bool, int, "booleans such as False; got numbers such as [1-4]"),
    ],
)
def test_categories_of_another_kind_are_refused(booster, fitted, given, message):
    """Text where the ranker learned numbers would be unknown in every row, and so taken as missing."""
    size = np.arange(120) % 5
    frame = pd.DataFrame({"size": pd.Categorical([fitted(value) for value in size]), "x": 0.5})
    other = frame.assign(size=pd.Categorical([given(1 + value % 4) for value in size]))
    ranker = LambdaMART(booster=booster, n_estimators=2)
    ranker.fit(frame, (size > 3).astype(int), qid=np.arange(120) // 10)
    with pytest.raises(ValueError, match=f"'X' must hold in column 'size' categories .* {message}"):
        ranker.predict(other)


def test_new_categories_of_the_same_kind_are_missing_values():
    frame = pd.DataFrame({"size": pd.Categorical(np.resize(["s", "m"], 40)), "x": np.arange(40.0)})
    ranker = LambdaMART(n_estimators=2).fit(frame, np.arange(40) % 2, qid=np.arange(40) // 10)
    new = frame.assign(size=pd.Categorical(["xl"] * 40))
    missing = frame.assign(size=pd.Categorical([None] * 40, categories=["s", "m"]))
    np.testing.assert_array_equal(ranker.predict(new), ranker.predict(missing))


def test_categories_where_none_are_taken_are_refused_with_what_helps():
    frame = FRAME.assign(k=pd.Categorical(np.where(X[:, 0] > 0, "u", "v")))
    with pytest.raises(ValueError, match=r"column 'k' holds '[uv]'; encode it as numbers"):
        LinearRanker().fit(frame, Y, qid=QID)
    with pytest.raises(ValueError, match="set the ranker's parameter categorical_features='auto'"):
        small(categorical_features=None).fit(frame, Y, qid=QID)


@pytest.mark.parametrize(
    ("X_val", "message"),
    [
        ([], "'X_val' must hold rows.*got an empty list"),
        ({"a": X}, "'X_val' must hold rows.*got a dict"),
        ([(X, Y)], "'X_val' must hold rows.*got pairs"),
        ([X, X[:, :3]], r"'X_val\[1\]' must have the columns of 'X'"),
    ],
)
def test_held_out_sets_in_other_forms_are_refused(X_val, message):
    with pytest.raises(ValueError, match=message):
        small().fit(X, Y, qid=QID, X_val=X_val, y_val=[Y, Y], qid_val=[QID, QID])


def test_errors_of_held_out_ids_say_which_set():
    with pytest.raises(ValueError, match=r"'qid_val\[1\]' must hold one query id per row"):
        small().fit(X, Y, qid=QID, X_val=[X, X], y_val=[Y, Y], qid_val=[QID, QID[1:]])


def test_a_metric_of_ones_own_says_what_went_wrong(tmp_path):
    def fails(labels, scores):
        raise KeyError("revenue")

    with pytest.raises(KeyError) as caught:
        make_metric("mine", fails)(Y, X[:, 0], QID)
    assert "the metric 'mine' for query 1;" in caught.value.__notes__[0]
    with pytest.raises(ValueError, match="must return a number for each query; for query 1 it returned '1'"):
        make_metric("mine", lambda labels, scores: "1")(Y, X[:, 0], QID)
    with pytest.warns(UserWarning, match="mine is undefined: its function returned NaN"):
        assert np.isnan(make_metric("mine", lambda labels, scores: float("nan"))(Y, X[:, 0], QID))
    ranker = small(eval_metric=make_metric("mine", lambda labels, scores: 1.0)).fit(X, Y, qid=QID)
    ranker.save(tmp_path / "m.lmk")
    with pytest.raises(ValueError, match="was the callable 'mine', which a saved model does not contain"):
        load_ranker(tmp_path / "m.lmk").score(X, Y, qid=QID)


@pytest.mark.parametrize("rates", [0.1, {1: 0.1}, "cosine", None, [], np.array(0.1)])
def test_rates_that_are_no_list_are_refused(rates):
    with pytest.raises(ValueError, match="'rates' must be the learning rate of each round"):
        schedule(rates)


def test_callbacks_of_wrong_arguments_are_refused_where_they_are_made():
    with pytest.raises(ValueError, match="'rates' must be positive; got None for round 1"):
        schedule(lambda number: None).rate(1)
    assert schedule(pd.Series([0.1, 0.2])).rate(2) == 0.2
    with pytest.raises(ValueError, match="'trial' must be a trial of Optuna"):
        prune("trial")
    with pytest.raises(ValueError, match="'path' must be the path of a file"):
        log_to_jsonl(1)
    with pytest.raises(ValueError, match="'callbacks' must hold functions"):
        small(callbacks=[schedule]).fit(X, Y, qid=QID)


def test_models_to_go_on_from_that_are_no_such_models(tmp_path):
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="it does not begin as a LightGBM model does"):
        small().fit(X, Y, qid=QID, init_model=tmp_path / "text")
    own = small().fit(X, Y, qid=QID, init_score=X[:, 0])
    own.save(tmp_path / "m.lmk")
    with pytest.raises(ValueError, match=r"it is a ranker that the kit saved: pass .*load_ranker\(path\)"):
        small().fit(X, Y, qid=QID, init_model=tmp_path / "m.lmk")
    with pytest.warns(UserWarning, match="'init_model' was fitted with starting scores"):
        small().fit(X, Y, qid=QID, init_model=own)


def test_errors_name_the_objective_and_the_metric():
    with pytest.raises(ValueError, match="must be None with LambdaMART and objective 'map'"):
        small(objective="map").fit(X, Y, qid=QID, document_weight=np.arange(len(Y)))
    ranker = small(objective="pairwise").fit(X, Y - 2.0, qid=QID)
    with pytest.raises(ValueError, match=r"'eval_metric' must take labels below 0.*use 'kendall_tau'"):
        ranker.score(X, Y - 2.0, qid=QID)


def test_times_that_are_missing_or_sorted_as_text_are_said():
    ids = np.array([f"q{number}" for number in QID])
    with pytest.warns(UserWarning, match="sorted as text: 'q19' comes before 'q2'"):
        list(QueryTimeSeriesSplit(2).split(X, qid=ids))
    with pytest.raises(ValueError, match="'time' must have a time for every query; that of 3 is missing"):
        list(QueryTimeSeriesSplit(2, time=lambda name: None if name == 3 else float(name)).split(X, qid=QID))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(QueryTimeSeriesSplit(2, time=lambda name: f"2024-01-{name:02d}").split(X, qid=QID))


def test_qrels_that_judge_nothing_are_refused():
    results = pd.DataFrame({"qid": ["1", "1"], "docno": ["7", "8"]})
    qrels = results.assign(label=[1, -1])
    np.testing.assert_array_equal(_labels(results, qrels, "results"), [1.0, 0.0])
    with pytest.raises(ValueError, match="'docno' must be of one type"):
        _labels(results, qrels.assign(docno=[7, 8]), "results")
    with pytest.raises(ValueError, match="must judge one of its documents at least"):
        _labels(results, qrels.assign(qid="2"), "results")
    with pytest.raises(ValueError, match=r"must have the columns 'qid', 'docno' and 'label'.*lack"):
        _labels(results, qrels.rename(columns={"label": "rel"}), "results")
    with pytest.raises(ValueError, match="they are empty"):
        _labels(results, qrels.iloc[:0], "results")
