"""Double precision: what float32 would merge stays apart, and what it holds gives the model of float32."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from lambdamart_kit.core.ordered_rows import order_rows
from lambdamart_kit.core.precision import check_range, feature_dtype, fits_single, floor_single
from lambdamart_kit.datasets import RankingDataset, make_letor, read_letor, write_letor
from lambdamart_kit.files import read_rows, write_rows
from lambdamart_kit.files.scoring import score_files
from lambdamart_kit.preferences import PreferencePairs, RewardModel
from lambdamart_kit.rankers import (
    CatBoostRanker,
    LambdaMART,
    LightGBMRanker,
    LinearRanker,
    NeuralRanker,
    PointwiseRanker,
    QueryFeatures,
    XGBoostRanker,
)
from lambdamart_kit.trees.binning import BinMapper

doubles = st.floats(allow_nan=True, allow_infinity=True)
SMALL = {"n_estimators": 20, "num_leaves": 8, "random_state": 0, "n_jobs": 1}
READ_DOUBLES = {
    "native": LambdaMART(**SMALL),
    "symmetric": LambdaMART(**SMALL, booster_params={"grow_policy": "symmetric"}),
    "lightgbm": LambdaMART(booster="lightgbm", **SMALL),
    "LightGBMRanker": LightGBMRanker(**SMALL),
    "PointwiseRanker": PointwiseRanker(n_jobs=1),
    "LinearRanker": LinearRanker("pairwise", max_iter=20, n_jobs=1),
    "NeuralRanker": NeuralRanker(max_iter=30, random_state=0, n_jobs=1),
}
READ_SINGLES = {
    "xgboost": lambda: LambdaMART(booster="xgboost", **SMALL),
    "XGBoostRanker": lambda: XGBoostRanker(**SMALL),
    "CatBoostRanker": lambda: CatBoostRanker(n_estimators=20, n_jobs=1, random_state=0),
    "NeuralRanker": lambda: NeuralRanker(max_iter=2, input_transform=None, n_jobs=1),
    "LinearRanker": lambda: LinearRanker(max_iter=2, input_transform=None, n_jobs=1),
}


def posted(n_queries=60, of_query=10, seed=0):
    """Times in milliseconds within one minute, which float32 takes for one; late ones are relevant."""
    rng = np.random.default_rng(seed)
    n = n_queries * of_query
    ms = 1_750_000_000_000.0 + rng.integers(0, 60_000, n)
    y = (ms > 1_750_000_030_000).astype(int)
    return np.column_stack([ms, rng.normal(size=n)]), y, np.repeat(np.arange(n_queries), of_query)


@pytest.mark.parametrize("kind", ["array", "frame", "int64", "sparse"])
@pytest.mark.parametrize("name", READ_DOUBLES)
def test_large_numbers_stay_apart(name, kind):
    X, y, qid = posted()
    if kind == "sparse" and name in ("LinearRanker", "NeuralRanker"):
        pytest.skip("sparse features are not centred")
    make = {
        "array": lambda X: X,
        "frame": lambda X: pd.DataFrame({"posted": X[:, 0].astype(np.int64), "x": X[:, 1]}),
        "int64": lambda X: X.astype(np.int64),
        "sparse": sparse.csr_matrix,
    }[kind]
    ranker = READ_DOUBLES[name].__class__(**READ_DOUBLES[name].get_params())
    ranker.fit(make(X[:400]), y[:400], qid=qid[:400])
    assert ranker.score(make(X[400:]), y[400:], qid=qid[400:]) > 0.97


@pytest.mark.parametrize("name", READ_SINGLES)
def test_who_reads_float32_says_what_it_merges(name):
    if name == "CatBoostRanker":
        pytest.importorskip("catboost")
    X, y, qid = posted()
    frame = pd.DataFrame(X, columns=["posted", "x"])
    with pytest.warns(UserWarning, match=r"float32, which merges values of column 'posted' \(59\d distinct"):
        READ_SINGLES[name]().fit(frame, y, qid=qid)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        READ_SINGLES[name]().fit(X[:, 1:], y, qid=qid)  # doubles, and none are merged


@pytest.mark.parametrize("name", READ_DOUBLES)
def test_the_model_of_float32_is_that_of_the_same_numbers_in_float64(name):
    data = make_letor(n_queries=15, mean_documents=10, random_state=0)
    models = []
    for X in (data.X, data.X.astype(np.float64), np.asfortranarray(data.X, dtype=np.float64)):
        ranker = READ_DOUBLES[name].__class__(**READ_DOUBLES[name].get_params())
        models.append(ranker.fit(X, data.y, qid=data.qid))
    for model in models[1:]:
        if hasattr(model, "booster_"):
            assert model.booster_.model_to_string() == models[0].booster_.model_to_string()
        np.testing.assert_allclose(model.predict(data.X), models[0].predict(data.X), rtol=1e-6)


@pytest.mark.parametrize("kind", ["csv", "parquet", "letor"])
def test_xgboost_says_what_it_merges_of_files(kind, tmp_path):
    X, y, qid = posted()
    frame = pd.DataFrame({"posted": X[:, 0], "x": X[:, 1], "label": y, "qid": qid})
    if kind == "letor":
        lines = [f"{label} qid:{q} 1:{ms:.0f} 2:{x!r}" for label, q, (ms, x) in zip(y, qid, X.tolist())]
        (tmp_path / "rows.txt").write_text("\n".join(lines) + "\n")
    else:
        getattr(frame, f"to_{kind}")(tmp_path / f"rows.{kind}", index=False)
    (path,) = tmp_path.iterdir()
    ranker = LambdaMART(booster="xgboost", **SMALL)
    with pytest.warns(UserWarning, match=r"which merges values of column '(posted|1)' \(\d\d\d distinct"):
        ranker.fit_files(path)


def test_reading_letor_says_what_float32_merges(tmp_path):
    X, y, qid = posted()
    lines = [f"{label} qid:{q} 3:{ms:.0f} 7:{x!r} 8:0.5" for label, q, (ms, x) in zip(y, qid, X.tolist())]
    path = tmp_path / "rows.txt"
    path.write_text("\n".join(lines) + "\n")
    for sparse_rows in (False, True):
        with pytest.warns(
            UserWarning, match=r"rows.txt: LETOR .* column '3' \(59\d distinct values become \d\)"
        ):
            read_letor(path, sparse=sparse_rows)
    with pytest.warns(UserWarning, match=r"rows.txt: LETOR .* column '3' \(59\d distinct values become \d\)"):
        LambdaMART(**SMALL).fit_files(path)
    data = make_letor(n_queries=15, mean_documents=10, random_state=0)
    write_letor(data, path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_letor(path)
        read_letor(path, sparse=True)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".jsonl", ".parquet"])
def test_a_row_is_read_as_pandas_reads_it_whatever_the_other_rows(suffix, tmp_path):
    X, y, qid = posted()
    X[:, 1] = np.round(X[:, 1], 2)  # short decimals, which float32 does not hold
    frame = pd.DataFrame({"posted": X[:, 0], "x": X[:, 1], "half": qid / 2, "label": y, "qid": qid})
    ranker = LambdaMART(**SMALL).fit(frame[["posted", "x", "half"]], y, qid=qid)
    path = tmp_path / f"rows{suffix}"
    for rows in (frame, frame[:1], frame[37:38], frame[100:103]):
        if suffix == ".jsonl":
            rows.to_json(path, orient="records", lines=True, double_precision=15)
        elif suffix == ".parquet":
            rows.to_parquet(path, index=False)
        else:
            rows.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
        read = read_rows(path)
        np.testing.assert_array_equal(read.X, rows[["posted", "x", "half"]].to_numpy(np.float64))
        expected = ranker.predict(rows[["posted", "x", "half"]])
        np.testing.assert_array_equal(
            ranker.predict(pd.DataFrame(read.X, columns=read.feature_names)), expected
        )
        in_memory = RankingDataset.from_frame(rows)
        np.testing.assert_array_equal(in_memory.X, read.X)
        assert score_files(ranker, path, tmp_path / "scores.txt") == len(rows)
        np.testing.assert_allclose(np.loadtxt(tmp_path / "scores.txt", ndmin=1), expected, rtol=1e-12)


def test_numbers_of_float32_in_text_stay_float32(tmp_path):
    data = make_letor(n_queries=5, mean_documents=10, random_state=0)
    for suffix in (".csv", ".jsonl", ".parquet"):
        write_rows(data, tmp_path / f"rows{suffix}")
        found = read_rows(tmp_path / f"rows{suffix}").X
        np.testing.assert_array_equal(found, data.X)
        assert found.dtype == np.float32


@pytest.mark.parametrize("scorer", ["trees", "linear", "neural"])
def test_reward_models_tell_large_numbers_apart(scorer):
    X, y, _ = posted()
    late, early = np.flatnonzero(y == 1)[:250], np.flatnonzero(y == 0)[:250]
    model = RewardModel(scorer=scorer, n_jobs=1, random_state=0)
    model.fit_pairs(PreferencePairs.from_indices(X, late[:150], early[:150]))
    rewards = model.predict(X)
    assert (rewards[late[150:]] > rewards[early[150:]]).mean() > 0.95


def test_reward_models_on_float32_say_what_they_merge():
    X, y, _ = posted()
    pairs = PreferencePairs.from_indices(X, np.flatnonzero(y == 1)[:250], np.flatnonzero(y == 0)[:250])
    with pytest.warns(UserWarning, match=r"float32, which merges values of column 0 \("):
        RewardModel(scorer="trees", booster="xgboost", n_jobs=1, random_state=0).fit_pairs(pairs)


def test_query_features_pass_on_doubles():
    X, _, qid = posted()
    assert np.array_equal(QueryFeatures(("rank",)).fit_transform(X, qid=qid)[:, :2], X)
    assert QueryFeatures(("rank",)).fit_transform(X.astype(np.float32), qid=qid).dtype == np.float32


@pytest.mark.parametrize("ranker", [LinearRanker, NeuralRanker])
def test_a_number_for_missing_that_drowns_the_others_is_said(ranker, rng):
    X, y, qid = posted()
    X[:, 1] = rng.normal(size=len(X))
    X[5, 1] = 1e30
    for rows in (X, X.astype(np.float32)):
        with pytest.warns(UserWarning, match=r"column 1 \(600 distinct values become 2\), because the"):
            ranker("pairwise", max_iter=1, n_jobs=1).fit(rows[:, [1, 1]], y, qid=qid)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ranker("pairwise", max_iter=1, n_jobs=1, input_transform="quantile").fit(X, y, qid=qid)


def test_exports_say_where_an_engine_sees_values_as_one(tmp_path):
    X, y, qid = posted()
    frame = pd.DataFrame(X, columns=["posted", "x"])
    ranker = LambdaMART(**SMALL).fit(frame, y % 2 + (X[:, 0] % 3 == 0), qid=qid)
    for known in ("xgboost", "c", "solr"):
        with pytest.warns(UserWarning, match=r"takes features as float32, .* in 'posted'; subtract"):
            ranker.export(tmp_path / "model", format=known)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ranker.export(tmp_path / "model.txt", format="lightgbm")
        plain = LambdaMART(**SMALL).fit(X[:, 1:], y, qid=qid)
        plain.export(tmp_path / "model.json", format="xgboost")


def test_files_give_the_model_of_memory(tmp_path):
    X, y, qid = posted()
    frame = pd.DataFrame({"posted": X[:, 0], "x": X[:, 1], "label": y, "qid": qid})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    frame.to_parquet(tmp_path / "doubles.parquet", index=False)
    frame.astype({"posted": np.int64}).to_parquet(tmp_path / "integers.parquet", index=False)
    in_memory = LambdaMART(**SMALL).fit(frame[["posted", "x"]], y, qid=qid)
    for name in ("rows.csv", "doubles.parquet", "integers.parquet"):
        from_files = LambdaMART(**SMALL).fit_files(tmp_path / name)
        assert from_files.booster_.model_to_string() == in_memory.booster_.model_to_string()


def test_the_order_of_rows_does_not_matter_where_float32_cannot_tell_them_apart(rng):
    X, y, qid = posted()
    X[:, 1] = 0
    shuffled = rng.permutation(len(X))
    models = [
        LambdaMART(**SMALL).fit(X[rows], y[rows], qid=qid[rows]) for rows in (np.arange(len(X)), shuffled)
    ]
    assert models[0].booster_.model_to_string() == models[1].booster_.model_to_string()
    ordered = [order_rows(X[rows], y[rows], qid[rows], None).X for rows in (np.arange(len(X)), shuffled)]
    np.testing.assert_array_equal(*ordered)


@settings(max_examples=60, deadline=None)
@given(arrays(np.float64, st.integers(1, 60), elements=doubles), st.integers(2, 12))
def test_a_bin_says_how_many_edges_lie_below(column, max_bin):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mapper = BinMapper.fit(column[:, None], max_bin=max_bin)
    edges = mapper.edges[0]
    assert len(edges) <= max_bin - 1
    assert np.isfinite(edges).all()
    assert (np.diff(edges) > 0).all()
    for values in (column, column.astype(np.float32)):  # rows of the other precision are binned alike
        bins = mapper.transform(values[:, None]).columns[0]
        expected = (values[:, None].astype(np.float64) > edges[None]).sum(axis=1)
        assert np.array_equal(bins, np.where(np.isnan(values), len(edges) + 1, expected))


@settings(max_examples=60, deadline=None)
@given(doubles.filter(lambda x: x == x), st.floats(width=32, allow_nan=False))
def test_floor_single_decides_as_the_double_does(threshold, x):
    assert (np.float64(x) <= threshold) == (np.float32(x) <= floor_single(threshold))


def test_precision_of_types():
    assert feature_dtype(np.uint16) is np.float32
    assert feature_dtype(np.int32) is np.float64
    assert fits_single(np.array([1 / 3, 0.25, -np.inf])).tolist() == [False, True, True]


def test_values_that_predictions_take_for_zero_are_said():
    X, y, qid = posted()
    X[:, 1] *= 1e-40
    with pytest.warns(UserWarning, match=r"600 distinct values within 1e-35 of zero in column 1"):
        LambdaMART(**SMALL).fit(X, y, qid=qid)


def test_numbers_as_large_as_float32_holds_are_taken():
    largest = float(np.finfo(np.float32).max)
    X = np.array([[largest, -largest], [np.nan, np.inf - np.inf]])
    check_range(X, "X")
    for beyond in (np.nextafter(largest, np.inf), -np.nextafter(largest, np.inf)):
        X[0, 0] = beyond
        with pytest.raises(ValueError, match="Input X contains"):
            check_range(X, "X")


@pytest.mark.parametrize("value", [1e39, -1e300])
def test_numbers_beyond_float32_are_refused(value):
    X, y, qid = posted()
    X[3, 1] = value
    with pytest.raises(ValueError, match=r"too large for dtype\('float32'\): numbers must be within 3.4e38"):
        LambdaMART(**SMALL).fit(X, y, qid=qid)
