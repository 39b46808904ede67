"""Measurements that are too good because a split cut queries, and scores that follow the whole metric."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lambdamart_kit import LambdaMART, LinearRanker, XGBoostRanker, query_routing
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.query_traces import QueryTraces
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.metrics import parse_metric
from lambdamart_kit.model_selection import QueryKFold, make_ranking_scorer

SMALL = {"n_estimators": 2, "num_leaves": 4, "random_state": 0, "n_jobs": 1}
CUT = r"(\d+) of (\d+) queries of .* were also in training, with other rows.*QueryKFold"


@pytest.fixture(scope="module")
def data():
    made = make_letor(n_queries=24, mean_documents=10, random_state=0)
    return made.X[:, :8], made.y, made.qid


def traces(qid):
    return QueryTraces.of(Queries.from_qid(qid, len(qid)))


class TestTraces:
    def test_counts_queries_with_other_rows(self):
        trained = traces(["a", "a", "b", "b", "c"])
        assert trained.n_cut(traces(["b", "a", "a"])) == 1  # a is whole, b lacks a row
        assert trained.n_cut(traces(["d", "e"])) == 0
        assert trained.n_cut(traces(["a", "b", "c", "c"])) == 3

    @pytest.mark.parametrize("other", [[7, 8], ["7", "8"], [7.0, 8.0], np.array([7, 8], np.int32)], ids=repr)
    def test_ids_of_any_type(self, other):
        assert traces([7, 7, 8, 8]).n_cut(traces(other)) == 2

    def test_later_rows_of_a_query_count(self):
        both = traces(["a", "b"]).updated(traces(["a", "a", "c"]))
        assert len(both.ids) == 3
        assert both.n_cut(traces(["a", "a", "b", "c"])) == 0
        assert both.n_cut(traces(["a"])) == 1

    def test_nothing_trained_and_nothing_measured(self):
        assert traces([]).n_cut(traces(["a"])) == traces(["a"]).n_cut(traces([])) == 0


@pytest.mark.parametrize("ranker", [LambdaMART(**SMALL), XGBoostRanker(**SMALL), LinearRanker(max_iter=2)])
def test_score_warns_of_cut_queries_only(ranker, data):
    X, y, qid = data
    train, test = next(KFold(4, shuffle=True, random_state=0).split(X))
    ranker.fit(X[train], y[train], qid=qid[train])
    sizes = {q: ((qid[train] == q).sum(), (qid[test] == q).sum()) for q in np.unique(qid[test])}
    n_cut = sum(0 < trained != measured for trained, measured in sizes.values())
    with pytest.warns(UserWarning, match=CUT) as caught:
        ranker.score(X[test], y[test], qid=qid[test])
    assert str(caught[0].message).startswith(f"{n_cut} of {len(np.unique(qid[test]))} queries")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ranker.score(X[train], y[train], qid=qid[train])  # the training score is what it says
        other = make_letor(n_queries=5, random_state=1)
        ranker.score(other.X[:, :8], other.y, qid=other.qid)


def test_searches_name_the_splitter(data):
    X, y, qid = data
    pipeline = make_pipeline(StandardScaler(), LambdaMART(**SMALL))
    with query_routing():
        for scoring in (None, make_ranking_scorer("map")):
            with pytest.warns(UserWarning, match=CUT):
                cross_val_score(pipeline, X, y, scoring=scoring, cv=3, params={"qid": qid})
        search = GridSearchCV(pipeline, {"lambdamart__num_leaves": [3]}, cv=QueryKFold(3))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            search.set_params(return_train_score=True).fit(X, y, qid=qid)
        test = np.arange(len(y)) % 2 == 0
        with pytest.warns(UserWarning, match=CUT):
            make_ranking_scorer()(search, X[test], y[test], qid=qid[test])


def test_held_out_rows_of_training_queries(data):
    X, y, qid = data
    even = np.arange(len(y)) % 2 == 0
    with pytest.warns(UserWarning, match="queries of 'X_val' were also in training"):
        LambdaMART(**SMALL).fit(
            X[even], y[even], qid=qid[even], X_val=X[~even], y_val=y[~even], qid_val=qid[~even]
        )


def test_samples_of_other_seeds_are_other_queries():
    first, second, again = (make_letor(n_queries=5, random_state=seed) for seed in (0, 1, 0))
    assert not np.intersect1d(first.qid, second.qid).size
    assert first.qid.tolist() == again.qid.tolist()
    assert np.unique(first.qid).tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "name", ["ndcg@3", "ndcg", "ndcg(gain=linear)@10", "ndcg(ties=pessimistic)@5", "map", "ndcg(blank=one)"]
)
def test_score_is_the_whole_eval_metric(name, data):
    X, y, qid = data
    X = X.round(0)  # so that scores tie
    ranker = LambdaMART(eval_metric=name, **SMALL).fit(X, y, qid=qid)
    expected = parse_metric(name)(y, ranker.predict(X), qid)
    assert ranker.score(X, y, qid=qid) == expected


def test_labels_that_are_amounts(rng):
    """Gains of 2**y - 1 see nothing below the top label: a fit says so once, with a remedy."""
    X, qid = rng.normal(size=(120, 3)), np.repeat(np.arange(12), 10)
    y = np.round(np.exp(3 + X[:, 0])).clip(0, 300)
    ranker = LambdaMART(**SMALL)
    with pytest.warns(UserWarning, match=r"labels up to .* objective LambdaNDCG .*gain='linear'") as caught:
        ranker.fit(X, y, qid=qid)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match=r"gain of ndcg@10 \(a remedy: 'ndcg\(gain=linear\)'\)"):
        ranker.score(X, y, qid=qid)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grades = LambdaMART("ndcg", eval_metric="ndcg(gain=linear)@10", **SMALL)
        grades.fit(X, y.clip(0, 31), qid=qid).score(X, y, qid=qid)
        LambdaMART("pairwise", **SMALL).fit(X, y, qid=qid)
    for objective in ("err", "xendcg"):
        with (
            pytest.warns(UserWarning, match="XENDCG")
            if objective == "xendcg"
            else pytest.raises(ValueError, match=r"'max_relevance' must be >= .* another metric or objective")
        ):
            LambdaMART(objective, **SMALL).fit(X, y, qid=qid)


def test_xgboost_takes_any_label(rng):
    """Gains beyond float32 are divided by the largest: ratios, and so the model's order, stay."""
    X, qid = rng.normal(size=(200, 3)), np.repeat(np.arange(20), 10)
    low = rng.integers(0, 5, 200)
    ranker = XGBoostRanker(**SMALL)
    scores = [ranker.fit(X, labels, qid=qid).predict(X) for labels in (low, low + 120)]
    assert np.isfinite(scores[1]).all()
    assert np.ptp(scores[1]) > 0
    assert np.corrcoef(scores[1], low)[0, 1] > 0.3
