"""Calls as a careless engineer writes them: the outcome is right, or an error says what to do instead."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

from lambdamart_kit import LambdaMART, LightGBMRanker, LinearRanker, RewardModel, XGBoostRanker
from lambdamart_kit.model_selection import QueryKFold

SMALL = {"n_estimators": 3, "num_leaves": 6, "random_state": 0, "n_jobs": 1}
RANKERS = {
    "native": LambdaMART(**SMALL),
    "rank:ndcg": XGBoostRanker(**SMALL),
    "lambdarank": LightGBMRanker(**SMALL),
    "linear": LinearRanker(max_iter=10, random_state=0, n_jobs=1),
}
try:
    from lambdamart_kit import CatBoostRanker

    RANKERS["catboost"] = CatBoostRanker(n_estimators=3, random_state=0, n_jobs=1)
except ImportError:
    pass
every_ranker = pytest.mark.parametrize("name", RANKERS)

N = 240
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 4)).astype(np.float32)
Y = np.clip(np.round(X[:, 0] + 1), 0, 3)
QID = np.repeat(np.arange(24), 10)
FRAME = pd.DataFrame(X, columns=list("abcd"))
ONES = np.ones(N)
HOLES = np.where(X > 1.5, np.nan, np.where(X > 0, X, 0))


def fitted(ranker, rows=X, y=Y, qid=QID, **more):
    return clone(ranker).fit(rows, y, qid=qid, **more)


def with_value(values, value, row=3):
    changed = np.array(values, dtype=float)
    changed[row] = value
    return changed


# --------------------------------------------------------------------------- calls that must not pass

DATES = pd.date_range("2020", periods=N)
NO_NUMBERS = r"'y' must hold numbers \(graded relevance\)"
NOT_FINITE = "'y' must hold finite relevance labels >= 0; row 3"
BAD_FITS = {
    "labels of other rows": ({"y": Y[:-1]}, "'y' must hold one label per row of 'X': expected 240, got 239"),
    "labels in words": ({"y": np.array(["good", "bad"] * 120)}, NO_NUMBERS),
    "dates as labels": ({"y": DATES}, NO_NUMBERS),
    "complex labels": ({"y": Y.astype(complex)}, NO_NUMBERS),
    "a missing label": ({"y": with_value(Y, np.nan)}, NOT_FINITE),
    "an infinite label": ({"y": with_value(Y, np.inf)}, NOT_FINITE),
    "a negative label": ({"y": with_value(Y, -1)}, NOT_FINITE),
    "labels in two columns": ({"y": np.column_stack([Y, Y])}, "'y' must be one-dimensional"),
    "labels from a generator": ({"y": (v for v in Y)}, "'y' must be one-dimensional"),
    "no labels": ({"y": None}, "requires y to be passed"),
    "labels all the same": ({"y": ONES}, "'y' must hold two different labels in at least one query"),
    "X and y exchanged": ({"rows": Y, "y": X}, "Expected 2D array"),
    "ids of other rows": ({"qid": QID[:-1]}, "'qid' must hold one query id per row"),
    "group sizes as ids": ({"qid": np.full(24, 10)}, r"group sizes are not accepted, use numpy\.repeat"),
    "ids from a generator": ({"qid": (v for v in QID)}, "'qid' must hold one query id per row"),
    "a missing id": ({"qid": with_value(QID, np.nan)}, "'qid' must not be missing: row 3"),
    "no id": ({"qid": [None, *QID[1:].tolist()]}, "'qid' must not be missing: row 0"),
    "an id for each row": ({"qid": np.arange(N)}, "'y' must hold two different labels in at least one query"),
    "words in an array": ({"rows": np.full((N, 2), "x", dtype=object)}, "'X' must hold numbers; column 0"),
    "words in a frame": (
        {"rows": FRAME.assign(t="x")},
        r"column 't' holds 'x'; (make text a .*X\['t'\]\.astype\('category'\)|encode it as numbers)",
    ),
    "lists in a frame": ({"rows": FRAME.assign(t=[[1, 2]] * N)}, "'X' must hold numbers; column 't' holds"),
    "dates in a frame": ({"rows": FRAME.assign(t=DATES)}, "column 't' holds datetime64.*; pass seconds"),
    "times in a frame": ({"rows": FRAME.assign(t=DATES - DATES[0])}, "column 't' holds timedelta64"),
    "a name twice": (
        {"rows": pd.concat([FRAME, FRAME], axis=1)},
        "columns of different names, got 'a' 2 times",
    ),
    "one column as a vector": ({"rows": X[:, 0]}, r"Reshape your data .* array\.reshape\(-1, 1\)"),
    "three dimensions": ({"rows": X[:, :, None]}, "dim <= 2 is required"),
    "no rows": ({"rows": X[:0], "y": Y[:0], "qid": QID[:0]}, r"0 sample\(s\)"),
    "no columns": ({"rows": X[:, :0]}, r"0 feature\(s\)"),
    "complex features": ({"rows": X.astype(complex)}, "Complex data not supported"),
    "an infinite feature": ({"rows": np.where(X > 2, np.inf, X)}, "Input X contains infinity"),
    "rows of different width": ({"rows": [[1, 2], [3]] * 120}, "inhomogeneous shape"),
    "negative weights": ({"sample_weight": -ONES}, "'sample_weight' must be finite and >= 0; row 0"),
    "missing weights": ({"sample_weight": ONES * np.nan}, "'sample_weight' must be finite and >= 0; row 0"),
    "weights of nothing": ({"sample_weight": 0 * ONES}, "at least one non-zero weight"),
    "a weight a query": ({"sample_weight": np.ones(24)}, r"use weights\[query_index_of_row\]"),
    "weights by row": ({"sample_weight": 1 + np.arange(N)}, "must be the same for all rows of a query"),
    "one weight for all": ({"sample_weight": 2.0}, "'sample_weight' must hold one weight per row"),
    "held-out rows alone": ({"X_val": X}, "'y_val' must be given with 'X_val'"),
    "held-out rows without ids": ({"X_val": X, "y_val": Y}, "'qid_val' must be given with 'X_val'"),
    "held-out labels alone": ({"y_val": Y, "qid_val": QID}, "'X_val' must be given with 'y_val'"),
    "held-out rows of other width": ({"X_val": X[:, :3], "y_val": Y, "qid_val": QID}, "3 features, but .* 4"),
    "held-out weights alone": ({"sample_weight_val": ONES}, "'sample_weight_val' must be given with 'X_val'"),
}


@every_ranker
@pytest.mark.parametrize("call", BAD_FITS)
def test_a_fit_that_cannot_be_meant_is_refused(name, call):
    arguments, message = BAD_FITS[call]
    takes_signed = name == "linear" and call == "a negative label"  # its objective only compares labels
    if takes_signed:
        return
    if any(hasattr(value, "send") for value in arguments.values()):
        arguments = {key: (v for v in np.zeros(N)) for key in arguments}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=message):
            fitted(RANKERS[name], **arguments)


FOREIGN = {
    "group": "pass 'qid', the query of each row",
    "groups": "pass 'qid'",
    "query_id": "pass 'qid'",
    "eval_set": "X_val, y_val and qid_val",
    "early_stopping_rounds": "set the ranker's parameter 'early_stopping_rounds'",
    "verbose": "set the ranker's parameter 'verbose'",
    "weights": "pass 'sample_weight'",
    "cat_features": "set the ranker's parameter 'categorical_features'",
}


@every_ranker
@pytest.mark.parametrize("argument", FOREIGN)
def test_arguments_of_other_libraries_are_refused_with_their_name_here(name, argument):
    with pytest.raises(TypeError, match=f"'{argument}'.*{FOREIGN[argument]}"):
        fitted(RANKERS[name], **{argument: [1]})


def _of_frame(ranker):
    return fitted(ranker, FRAME)


BAD_USES = {
    "predict before fit": (lambda r: clone(r).predict(X), NotFittedError, "not fitted yet"),
    "score before fit": (lambda r: clone(r).score(X, Y, qid=QID), NotFittedError, "not fitted yet"),
    "save before fit": (lambda r: clone(r).save("x.lmk"), NotFittedError, "not fitted yet"),
    "predict with a clone": (lambda r: clone(fitted(r)).predict(X), NotFittedError, "not fitted yet"),
    "fewer columns": (lambda r: fitted(r).predict(X[:, :3]), ValueError, "3 features, but .* 4 features"),
    "one row as a vector": (lambda r: fitted(r).predict(X[0]), ValueError, r"reshape\(1, -1\)"),
    "no rows": (lambda r: fitted(r).predict(X[:0]), ValueError, r"0 sample\(s\)"),
    "another column": (
        lambda r: _of_frame(r).predict(FRAME.assign(e=1)),
        ValueError,
        "unseen at fit time:\n- e",
    ),
    "a column less": (
        lambda r: _of_frame(r).predict(FRAME[["a", "b", "c"]]),
        ValueError,
        "now missing:\n- d",
    ),
    "words": (lambda r: _of_frame(r).predict(FRAME.assign(a="x")), ValueError, "column 'a' holds 'x'"),
    "score without ids": (lambda r: fitted(r).score(X, Y), ValueError, "'qid' must be given to score"),
    "score words": (lambda r: fitted(r).score(X, np.full(N, "a"), qid=QID), ValueError, NO_NUMBERS),
    "score other rows": (lambda r: fitted(r).score(X, Y[:-1], qid=QID), ValueError, "'qid' must hold one"),
    "a misspelt parameter": (
        lambda r: clone(r).set_params(max_leafs=3),
        ValueError,
        "Invalid parameter 'max_leafs'",
    ),
    "no threads": (
        lambda r: clone(r).set_params(n_jobs=0).fit(X, Y, QID),
        ValueError,
        "'n_jobs' must not be 0",
    ),
    "a seed in words": (
        lambda r: clone(r).set_params(random_state="a").fit(X, Y, QID),
        ValueError,
        "'random_state'",
    ),
    "a metric misspelt": (
        lambda r: clone(r).set_params(eval_metric="ndgc@10").fit(X, Y, QID, X_val=X, y_val=Y, qid_val=QID),
        ValueError,
        "unknown metric 'ndgc@10'; known are ndcg",
    ),
    "half of 50": (
        lambda r: clone(r).set_params(validation_fraction=50).fit(X, Y, QID),
        ValueError,
        "'validation_fraction'",
    ),
    "stopping on nothing": (
        lambda r: clone(r).set_params(early_stopping_rounds=3, validation_fraction=None).fit(X, Y, QID),
        ValueError,
        "'early_stopping_rounds' needs held-out queries: set 'validation_fraction'",
    ),
    "a search whose splitter gets no ids": (
        lambda r: GridSearchCV(clone(r), {"random_state": [0]}, cv=QueryKFold(3)).fit(X, Y, qid=QID),
        ValueError,
        "QueryKFold.split got no 'qid'; pass qid=.*query_routing",
    ),
}


@every_ranker
@pytest.mark.parametrize("use", BAD_USES)
def test_a_use_that_cannot_be_meant_is_refused(name, use):
    call, error, message = BAD_USES[use]
    with pytest.raises(error, match=message):
        call(RANKERS[name])


@every_ranker
def test_files_that_are_no_model_of_the_class(name, tmp_path):
    ranker = fitted(RANKERS[name])
    with pytest.raises(FileNotFoundError, match="its folder does not exist"):
        ranker.save(tmp_path / "none" / "m.lmk")
    ranker.save(tmp_path / "m.lmk")
    with pytest.raises(ValueError, match=f"holds a {type(ranker).__name__}, not a RewardModel"):
        RewardModel.load(tmp_path / "m.lmk")
    (tmp_path / "text.lmk").write_text("hello")
    with pytest.raises(ValueError, match="not a model file"):
        type(ranker).load(tmp_path / "text.lmk")


# ----------------------------------------------------------------- calls that pass, and what they must give

SAME_MODEL = {
    "labels as objects": {"y": Y.astype(object)},
    "labels as text": {"y": Y.astype(int).astype(str)},
    "labels as a categorical": {"y": pd.Categorical(Y.astype(int))},
    "labels as a list": {"y": Y.tolist()},
    "labels with an index of their own": {"y": pd.Series(Y, index=np.arange(N)[::-1])},
    "ids as floats": {"qid": QID + 0.5},
    "ids as text with leading zeros": {"qid": np.char.zfill(QID.astype(str), 3)},
    "features as objects": {"rows": X.astype(object)},
    "features in Fortran's order": {"rows": np.asfortranarray(X)},
    "weights as text": {"sample_weight": ONES.astype(str)},
    "rows in another order": {"rows": X[::-1], "y": Y[::-1], "qid": QID[::-1]},
}


@every_ranker
@pytest.mark.parametrize("form", SAME_MODEL)
def test_another_form_of_the_same_rows_gives_the_same_model(name, form):
    scores = fitted(RANKERS[name]).predict(X)
    np.testing.assert_allclose(
        fitted(RANKERS[name], **SAME_MODEL[form]).predict(X), scores, rtol=0, atol=1e-6
    )


@every_ranker
def test_truths_count_as_one_and_zero(name):
    of_truths = fitted(RANKERS[name], X > 0, Y > 1).predict(X > 0)
    of_numbers = fitted(RANKERS[name], (X > 0).astype(np.float32), (Y > 1).astype(int)).predict(X > 0)
    np.testing.assert_array_equal(of_truths, of_numbers)
    some = fitted(RANKERS[name], sample_weight=QID % 2 == 0)
    np.testing.assert_array_equal(
        some.predict(X), fitted(RANKERS[name], sample_weight=(QID % 2 == 0).astype(float)).predict(X)
    )


@every_ranker
def test_columns_are_found_by_name(name):
    ranker = _of_frame(RANKERS[name])
    np.testing.assert_array_equal(ranker.predict(FRAME[list("dcba")]), ranker.predict(FRAME))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        np.testing.assert_array_equal(ranker.predict(X), ranker.predict(FRAME))
    held_out = {"y_val": Y, "qid_val": QID}
    as_they_were = fitted(RANKERS[name], FRAME, X_val=FRAME, **held_out)
    reordered = fitted(RANKERS[name], FRAME, X_val=FRAME[list("dcba")], **held_out)
    assert reordered.best_score_ == as_they_were.best_score_


@every_ranker
def test_fitted_again_on_other_columns_nothing_of_the_first_fit_is_left(name):
    ranker = _of_frame(RANKERS[name])
    ranker.fit(X[:, :2], Y, qid=QID)
    assert not hasattr(ranker, "feature_names_in_")
    np.testing.assert_array_equal(ranker.predict(X[:, :2]), fitted(RANKERS[name], X[:, :2]).predict(X[:, :2]))


@every_ranker
def test_copies_score_the_same(name):
    ranker = fitted(RANKERS[name])
    scores = ranker.predict(X)
    for other in (
        copy.deepcopy(ranker),
        pickle.loads(pickle.dumps(ranker)),
        clone(ranker).fit(X, Y, qid=QID),
    ):
        np.testing.assert_array_equal(other.predict(X), scores)
    np.testing.assert_array_equal(ranker.set_params(random_state=9).predict(X), scores)


@every_ranker
def test_sparse_rows_with_missing_values_score_as_dense_ones(name):
    dense = fitted(RANKERS[name], HOLES)
    for form in (sparse.csr_matrix, sparse.coo_matrix, sparse.csc_array):
        scores = fitted(RANKERS[name], form(HOLES)).predict(form(HOLES))
        assert np.isfinite(scores).all()
        # XGBoost takes what a sparse matrix leaves out for missing, and linear rankers do not centre it.
        if name not in ("rank:ndcg", "linear"):
            np.testing.assert_allclose(scores, dense.predict(HOLES), rtol=0, atol=1e-5)


# --------------------------------------------------------------- calls that pass with a warning that says it


@every_ranker
def test_without_ids_all_rows_are_one_query_and_a_warning_says_so(name):
    with pytest.warns(UserWarning, match="qid=None and takes all rows as one query; pass 'qid'"):
        clone(RANKERS[name]).fit(X, Y)


@every_ranker
def test_labels_left_among_the_features_are_said(name):
    table = FRAME.assign(label=Y, query=QID)
    with pytest.warns(UserWarning, match="which is a feature, too") as caught:
        clone(RANKERS[name]).fit(table, table["label"], qid=table["query"])
    said = [str(warning.message) for warning in caught]
    assert any(
        "'y' is column 'label' of 'X'" in text and "X.drop(columns=['label'])" in text for text in said
    )
    assert any("'qid' is column 'query' of 'X'" in text for text in said)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clone(RANKERS[name]).fit(FRAME, table["label"], qid=table["query"])


def test_ids_that_are_numbers_and_text_are_said():
    mixed = np.array([str(v) if i % 2 else int(v) for i, v in enumerate(QID)], dtype=object)
    with pytest.warns(UserWarning, match="a number in some rows and text in others, such as 0 and '0'"):
        fitted(RANKERS["native"], qid=mixed)


@every_ranker
def test_a_score_of_training_queries_under_other_labels_is_said(name):
    ranker = fitted(RANKERS[name])
    with pytest.warns(UserWarning, match="were also in training"):
        ranker.score(X, QID.astype(float), qid=Y)
