"""Compressed rankers: documents stop by the rule alone, and the promise is kept or nothing is done."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from lambdamart_kit import CatBoostRanker, LambdaMART, LightGBMRanker, XGBoostRanker, query_routing, schedule
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.metrics import ndcg
from lambdamart_kit.rankers import ModelFormatError, load_ranker
from lambdamart_kit.rankers.compression.candidates import agreement_gains
from lambdamart_kit.rankers.compression.record import Compression
from lambdamart_kit.rankers.compression.search import least_queries, upper_bound
from lambdamart_kit.trees.forest import Forest
from lambdamart_kit.trees.model_text import read_trees
from lambdamart_kit.trees.scoring.exits import Exits

RANKERS = {
    "native": lambda: LambdaMART(n_estimators=40, random_state=0, n_jobs=1),
    "lightgbm trees": lambda: LambdaMART(booster="lightgbm", n_estimators=40, random_state=0, n_jobs=1),
    "xgboost trees": lambda: LambdaMART(booster="xgboost", n_estimators=40, random_state=0, n_jobs=1),
    "lightgbm": lambda: LightGBMRanker(n_estimators=40, random_state=0, n_jobs=1),
    "xgboost": lambda: XGBoostRanker(n_estimators=40, random_state=0, n_jobs=1),
    "catboost": lambda: CatBoostRanker(n_estimators=40, random_state=0, n_jobs=1),
    "bags": lambda: LambdaMART(n_bags=3, n_estimators=15, random_state=0, n_jobs=1),
}


@pytest.fixture(scope="module")
def train():
    return make_letor(60, mean_documents=30, random_state=0)


@pytest.fixture(scope="module")
def other():
    return make_letor(300, mean_documents=60, random_state=1)


@pytest.fixture(scope="module")
def test():
    return make_letor(40, mean_documents=60, random_state=2)


@pytest.fixture(scope="module")
def ranker(train):
    return RANKERS["native"]().fit(train.X, train.y, qid=train.qid)


@pytest.fixture(scope="module")
def small(ranker, other):
    return ranker.compress(other.X, other.qid, y=other.y, tolerance=0.01)


# ------------------------------------------------------------------------------------------------- the rule


def stops_by_hand(partial, ptr, exits):
    """The exit of each document, written out: one query and one exit after the other."""
    stopped = np.full(len(partial), len(exits.after))
    for start, end in pairwise(ptr):
        active = np.arange(start, end)
        for exit, margin in enumerate(exits.margins):
            scores = partial[active, exit]
            if len(active) <= exits.k:
                continue
            kth_best = np.sort(scores)[::-1][exits.k - 1]
            out = scores < kth_best - margin
            stopped[active[out]] = exit
            active = active[~out]
    return stopped


def scores_by_hand(partial, ptr, exits, final):
    """Scores where documents stop: those of a later exit are above those of an earlier one."""
    stopped = stops_by_hand(partial, ptr, exits)
    columns = np.column_stack([partial, final])
    scores = columns[np.arange(len(stopped)), stopped]
    for start, end in pairwise(ptr):
        own, exit_of = scores[start:end], stopped[start:end]
        for exit in reversed(range(len(exits.after))):
            here, further = exit_of == exit, exit_of > exit
            if here.any():
                lowest = own[further].min()
                highest = own[here].max()
                roof = min(highest, lowest - 1e-6 * max(1.0, abs(lowest)))
                own[here] = roof - (highest - own[here])
    return scores


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=8),
    st.integers(1, 12),
    st.integers(1, 4),
    st.sampled_from([1, 4, 1000]),
    st.integers(0, 2**32 - 1),
)
def test_documents_stop_by_the_rule(sizes, k, n_exits, levels, seed):
    rng = np.random.default_rng(seed)
    ptr = np.concatenate(([0], np.cumsum(sizes)))
    # Few levels make many ties, also at the bar.
    partial = rng.integers(0, levels, (ptr[-1], n_exits)) / 4
    margins = tuple((rng.integers(0, 4, n_exits) / 4).tolist())
    exits = Exits(tuple(range(1, n_exits + 1)), margins, k)
    found = exits.stops(partial, ptr)
    assert np.array_equal(found, stops_by_hand(partial, ptr, exits))
    # At least k documents, or all, go on to the end.
    going_on = np.add.reduceat(found == n_exits, ptr[:-1])
    assert (going_on >= np.minimum(sizes, k)).all()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(1, 150), min_size=1, max_size=30),
    st.integers(1, 12),
    st.sampled_from([(1,), (3, 10), (1, 2, 20), (39,)]),
    st.sampled_from([0.0, 0.05, 0.3]),
    st.integers(0, 2**32 - 1),
)
def test_scores_with_exits_are_those_of_the_rule(ranker, test, sizes, k, after, margin, seed):
    trees = read_trees(ranker.booster_.model_to_string())
    rng = np.random.default_rng(seed)
    X = test.X[rng.integers(0, len(test.X), sum(sizes))]
    qid = np.repeat(rng.permutation(len(sizes)), sizes)[rng.permutation(sum(sizes))]
    queries = Queries.from_qid(qid, len(qid))
    exits = Exits(after, (margin,) * len(after), k)
    forest = Forest.of_trees(trees, cuts=after)
    found = forest.predict_with_exits(X, queries, exits)
    assert np.array_equal(forest.predict_with_exits(X, queries, exits, n_threads=3), found)

    whole = Forest.of_trees(trees)
    partial = np.column_stack([whole.predict(X, 0, n) for n in after])[queries.order]
    final = whole.predict(X, 0, len(trees))[queries.order]
    expected = scores_by_hand(partial, queries.ptr, exits, final)
    assert np.array_equal(queries.sort(found), expected)


def test_a_document_that_stopped_stays_below_those_that_went_on(small, test):
    exits = small.compression_.exits
    assert exits.after
    queries = Queries.from_qid(test.qid, len(test.qid))
    scores = queries.sort(small.predict(test.X, qid=test.qid))
    partial = np.column_stack([small.predict(test.X, n_trees=n) for n in exits.after])
    stopped = exits.stops(partial[queries.order], queries.ptr)
    assert (stopped < len(exits.after)).mean() > 0.2
    for start, end in pairwise(queries.ptr):
        by_score = np.argsort(-scores[start:end].astype(np.float32), kind="stable")
        assert (np.diff(stopped[start:end][by_score]) <= 0).all()


def test_scores_do_not_depend_on_threads_row_order_or_the_other_queries(small, test):
    scores = small.predict(test.X, qid=test.qid)
    order = np.random.default_rng(0).permutation(len(scores))
    assert np.array_equal(small.predict(test.X[order], qid=test.qid[order]), scores[order])
    many = clone(small).set_params(n_jobs=4)
    many.__dict__.update({name: value for name, value in vars(small).items() if name.endswith("_")})
    X, qid = np.tile(test.X, (4, 1)), np.concatenate([test.qid + 1000 * copy for copy in range(4)])
    assert np.array_equal(many.predict(X, qid=qid), np.tile(scores, 4))
    for query in np.unique(test.qid)[:5]:
        rows = test.qid == query
        assert np.array_equal(small.predict(test.X[rows], qid=7), scores[rows])
        assert np.array_equal(small.predict(test.X[rows], qid="one"), scores[rows])


def test_sparse_rows_and_doubles_have_the_same_scores(small, test):
    scores = small.predict(test.X, qid=test.qid)
    assert np.array_equal(small.predict(sparse.csr_matrix(test.X), qid=test.qid), scores)
    assert np.array_equal(small.predict(test.X.astype(np.float64), qid=test.qid), scores)


# --------------------------------------------------------------------------------------- trees of libraries


@pytest.mark.parametrize("name", RANKERS)
def test_every_ranker_of_trees_is_compressed(name, train, other, test, tmp_path):
    ranker = RANKERS[name]().fit(train.X, train.y, qid=train.qid)
    before = ranker.predict(test.X)
    small = ranker.compress(other.X, other.qid, y=other.y, tolerance=0.02)
    found = small.compression_
    assert type(small) is type(ranker)
    assert ranker.compression_ is None
    assert np.array_equal(ranker.predict(test.X), before)
    assert found.speed_up > 1.0
    assert found.bound <= 0.02
    assert small.model_.n_trees == found.kept

    # All its trees, without exits: the first ones of the ranker.
    without = small.predict(test.X)
    assert np.allclose(without, ranker.model_.predict(test.X, iteration_range=(0, found.kept)), atol=1e-5)
    with_exits = small.predict(test.X, qid=test.qid)
    partial = np.column_stack([np.zeros(len(without)), with_exits])
    assert (partial[:, 1] == without).any()
    assert small.score(test.X, test.y, qid=test.qid) == ndcg(test.y, with_exits, test.qid, k=10)

    small.save(tmp_path / "small.lmk")
    for again in (load_ranker(tmp_path / "small.lmk"), pickle.loads(pickle.dumps(small))):
        assert again.compression_ == found
        assert np.array_equal(again.predict(test.X, qid=test.qid), with_exits)
        assert np.array_equal(again.predict(test.X), without)
    explained = small.contributions(test.X[:50])
    assert np.allclose(explained.sum(axis=1), without[:50], atol=1e-5)


def test_exports_hold_the_trees_that_were_kept(small, test, tmp_path):
    import lightgbm

    exported = small.export(tmp_path / "model.txt", format="lightgbm", check=test.X)
    assert exported.check.n_different == 0
    booster = lightgbm.Booster(model_file=tmp_path / "model.txt")
    assert booster.num_trees() == small.compression_.kept
    assert np.array_equal(booster.predict(test.X, raw_score=True), small.predict(test.X))


def test_frames_with_categories(train, other, test):
    def frame(data):
        columns = pd.DataFrame(data.X[:, :20], columns=[f"f{j}" for j in range(20)])
        columns["kind"] = pd.Categorical(np.array(["a", "b", "c"])[data.X[:, 130].astype(int) % 3])
        return columns

    ranker = LambdaMART(n_estimators=150, num_leaves=63, random_state=0).fit(
        frame(train), train.y, qid=train.qid
    )
    small = ranker.compress(frame(other), other.qid, tolerance=0.05)
    scores = small.predict(frame(test), qid=test.qid)
    shuffled = frame(test)[::-1]
    assert np.array_equal(small.predict(shuffled, qid=test.qid[::-1]), scores[::-1])
    assert small.compression_.exits.after
    assert len(np.unique(scores)) > 10


def test_it_predicts_in_a_pipeline(small, ranker, test):
    with query_routing():
        pipeline = make_pipeline(FunctionTransformer(), small)
        assert np.array_equal(pipeline.predict(test.X, qid=test.qid), small.predict(test.X, qid=test.qid))
        whole = make_pipeline(FunctionTransformer(), ranker)
        assert np.array_equal(whole.predict(test.X, qid=test.qid), ranker.predict(test.X))


def test_a_new_fit_starts_from_an_ordinary_ranker(small, train, test):
    unfitted = clone(small)
    assert not hasattr(unfitted, "model_")
    assert unfitted.compression_ is None
    again = pickle.loads(pickle.dumps(small)).fit(train.X, train.y, qid=train.qid)
    assert again.compression_ is None
    assert again.model_.n_trees == 40
    assert np.array_equal(again.predict(test.X, qid=test.qid), again.predict(test.X))


# ------------------------------------------------------------------------------------------------ the promise


def test_the_same_for_every_order_of_rows_and_number_of_threads(ranker, small, other):
    order = np.random.default_rng(1).permutation(len(other.y))
    twin = pickle.loads(pickle.dumps(ranker)).set_params(n_jobs=3)
    found = twin.compress(other.X[order], other.qid[order], y=other.y[order], tolerance=0.01)
    assert found.compression_ == small.compression_


def test_what_was_measured_is_what_it_does(ranker, small, other):
    """The recorded figures are those of the queries that had no part in learning."""
    found = small.compression_
    queries = Queries.from_qid(other.qid, len(other.qid))
    learned = np.random.default_rng(0).permutation(queries.n_queries)[: queries.n_queries // 3]
    measured = np.ones(queries.n_queries, dtype=bool)
    measured[learned] = False
    rows = queries.rows(measured)
    X, y, qid = other.X[rows], other.y[rows], other.qid[rows]
    before = ndcg(y, ranker.predict(X), qid, k=10, per_query=True)
    after = ndcg(y, small.predict(X, qid=qid), qid, k=10, per_query=True)
    losses = (before - after)[~np.isnan(before)]
    assert found.n_measured == len(losses)
    assert found.before == pytest.approx(np.nanmean(before))
    assert found.loss == pytest.approx(losses.mean())
    # Two orders of candidates were tested at half the level each, or one at all of it.
    bounds = [upper_bound(losses, confidence) for confidence in (0.95, 0.975)]
    assert any(found.bound == pytest.approx(bound) for bound in bounds)
    partial = np.column_stack([small.predict(X, n_trees=n) for n in found.exits.after])
    own = Queries.from_qid(qid, len(qid))
    shares = np.bincount(found.exits.stops(partial[own.order], own.ptr), minlength=2) / len(rows)
    assert np.allclose(found.stopped, shares[: len(found.stopped)])


def test_trees_that_change_nothing_are_left_out(train, other):
    rates = schedule(lambda number: 0.1 if number <= 20 else 1e-9)
    ranker = LambdaMART(n_estimators=100, callbacks=[rates], random_state=0).fit(train.X, train.y, train.qid)
    found = ranker.compress(other.X, other.qid, y=other.y, tolerance=0.01).compression_
    assert found.kept <= 35
    assert found.speed_up_without_qid > 1.3


def test_without_labels_it_is_the_agreement_that_counts(ranker, other, test):
    small = ranker.compress(other.X, other.qid, tolerance=0.02)
    found = small.compression_
    assert found.metric == "agreement@10"
    assert found.before == 1.0
    assert found.exits.after
    assert found.bound <= 0.02
    queries = Queries.from_qid(test.qid, len(test.qid))
    gains = agreement_gains(ranker.predict(test.X), queries, 10)
    scores = small.predict(test.X, qid=test.qid)
    from lambdamart_kit.metrics import NDCG

    assert NDCG(k=10, gain="linear")(gains, scores, test.qid) > 0.95


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 15), min_size=1, max_size=5), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_the_ranking_itself_is_the_best_by_agreement(sizes, k, seed):
    from lambdamart_kit.metrics import NDCG

    rng = np.random.default_rng(seed)
    qid = np.repeat(np.arange(len(sizes)), sizes)[rng.permutation(sum(sizes))]
    queries = Queries.from_qid(qid, len(qid))
    scores = rng.integers(0, 6, len(qid)).astype(float)
    gains = agreement_gains(scores, queries, k)
    assert NDCG(k=k, gain="linear")(gains, scores, qid) == pytest.approx(1.0)
    order = rng.permutation(len(qid))
    shuffled = agreement_gains(scores[order], Queries.from_qid(qid[order], len(qid)), k)
    assert np.allclose(shuffled, gains[order])


def test_the_bound_covers_the_mean_as_often_as_it_says():
    """Losses as exits make them: one query in ten loses a little."""
    rng = np.random.default_rng(0)
    losses = np.where(rng.random((2000, 400)) < 0.1, rng.exponential(0.01, (2000, 400)), 0.0)
    covered = np.mean([upper_bound(row, 0.95) >= 0.001 for row in losses])
    assert covered >= 0.94


def test_nothing_within_the_tolerance_is_said_and_changes_nothing(ranker, test):
    few = make_letor(25, mean_documents=20, random_state=5)
    with pytest.warns(UserWarning, match=r"found nothing faster.*at least 400 are needed.*raise 'tolerance'"):
        same = ranker.compress(few.X, few.qid, y=few.y)
    assert same is not ranker
    assert same.compression_.speed_up == 1.0
    assert same.compression_.kept == 40
    assert same.compression_.exits.after == ()
    assert np.array_equal(same.predict(test.X, qid=test.qid), ranker.predict(test.X))
    assert least_queries(5e-4, 0.95) == 400


def test_two_queries_are_too_few_for_any_tolerance(ranker, test):
    rows = np.isin(test.qid, np.unique(test.qid)[:2])
    with pytest.warns(UserWarning, match="found nothing faster"):
        same = ranker.compress(test.X[rows], test.qid[rows], tolerance=0.9)
    assert same.compression_.speed_up == 1.0
    with pytest.warns(UserWarning, match="found nothing faster"):
        ranker.compress(test.X[:1], [0], y=[1])


# ------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"qid": None}, "'qid' must be given to compress"),
        ({"tolerance": 0}, "'tolerance' must be a number above 0 and below 1.*got 0"),
        ({"tolerance": "5%"}, "'tolerance' must be a number.*got '5%'"),
        ({"confidence": 95}, "'confidence' must be a number from 0.5 to below 1.*got 95"),
        ({"metric": "ndcg"}, "'metric' must have a cut-off, such as 'ndcg@10'.*got 'ndcg'"),
        ({"metric": "nope@3"}, "unknown metric"),
        ({"y": [1, 0]}, "'y' must hold one label per row of 'X'.*got 2"),
    ],
)
def test_errors_say_what_to_do(ranker, test, options, message):
    given = {"qid": test.qid, **options}
    with pytest.raises(ValueError, match=message):
        ranker.compress(test.X, **given)


def test_labels_in_the_place_of_query_ids_are_refused(ranker, test):
    with pytest.raises(TypeError, match="positional"):
        ranker.compress(test.X, test.y, test.qid)


def test_starting_scores_are_refused(train):
    start = np.zeros(len(train.y))
    ranker = LambdaMART(n_estimators=3, random_state=0).fit(train.X, train.y, train.qid, init_score=start)
    with pytest.raises(ValueError, match="'init_score' must not have been given"):
        ranker.compress(train.X, train.qid, y=train.y)


def test_trees_that_the_kernel_does_not_hold_are_refused(train):
    linear = {"linear_tree": True}
    ranker = LightGBMRanker(n_estimators=3, booster_params=linear).fit(train.X, train.y, qid=train.qid)
    with pytest.raises(ValueError, match=r"'compress' cannot use these trees.*linear"):
        ranker.compress(train.X, train.qid, y=train.y)


def test_rows_without_a_query_id_are_refused(small, test):
    with pytest.raises(ValueError, match="'qid' must hold one query id per row"):
        small.predict(test.X, qid=test.qid[:-1])


@pytest.mark.parametrize(
    "change",
    [
        {"kept": 3},
        {"exits": {"after": [0], "margins": [0.1], "k": 10}},
        {"exits": {"after": [5, 4], "margins": [0.1, 0.1], "k": 10}},
        {"exits": {"after": [2], "margins": [float("nan")], "k": 10}},
        {"exits": {"after": [2], "margins": [], "k": 10}},
        {"exits": {"after": [2], "margins": [0.1], "k": 0}},
        {"unknown": 1},
    ],
    ids=str,
)
def test_damaged_files_are_refused(small, tmp_path, change):
    content = json.loads(small.compression_.to_bytes())
    assert Compression.from_bytes(json.dumps(content).encode()) == small.compression_
    parts = small._parts()
    parts[-1]["compression.json"] = json.dumps({**content, **change}).encode()
    from lambdamart_kit.rankers import saving

    saving.write(tmp_path / "damaged.lmk", *parts)
    assert "compression.json" in zipfile.ZipFile(tmp_path / "damaged.lmk").namelist()
    with pytest.raises(ModelFormatError):
        LambdaMART.load(tmp_path / "damaged.lmk")


def test_what_it_says(small):
    text = str(small.compression_)
    assert "of 40 trees" in text
    assert "% of the documents stop after" in text
    assert "with 95 % confidence it loses at most 0.01" in text


def test_no_warning_where_something_was_found(ranker, other):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ranker.compress(other.X, other.qid, y=other.y, tolerance=0.01)
