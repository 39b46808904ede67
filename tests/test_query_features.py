"""QueryFeatures: each column written out by hand, and its way through pipelines and searches."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import lambdamart_kit as lk
from lambdamart_kit import LambdaMART, QueryFeatures
from lambdamart_kit.metrics import ndcg
from lambdamart_kit.model_selection import QueryKFold, make_ranking_scorer


@pytest.fixture
def rows(rng):
    X = rng.normal(size=(120, 3)).round(1)  # rounded, so that values tie
    X[rng.integers(0, 120, 15), 0] = np.nan
    X[:, 2] = 7.0
    qid = rng.integers(0, 12, 120)
    return X, qid


def slow(X, qid):
    """Query by query and column by column, with SciPy's ranks."""
    blocks = [np.full(X.shape, np.nan) for _ in range(3)]
    for q in np.unique(qid):
        for j in range(X.shape[1]):
            own = np.flatnonzero((qid == q) & ~np.isnan(X[:, j]))
            x = X[own, j]
            if not len(x):
                continue
            blocks[0][own, j] = (stats.rankdata(x) - 1) / (len(x) - 1) if len(x) > 1 else 0.0
            blocks[1][own, j] = (x - x.mean()) / x.std() if len(set(x)) > 1 else 0.0
            blocks[2][own, j] = x / np.abs(x).max() if np.abs(x).max() > 0 else 0.0
    return np.hstack((X, *blocks))


def test_each_column_by_hand(rows):
    X, qid = rows
    np.testing.assert_allclose(QueryFeatures().fit_transform(X, qid=qid), slow(X, qid), atol=1e-6)


def test_row_order_changes_no_bit(rows, rng):
    X, qid = rows
    order = rng.permutation(len(X))
    whole = QueryFeatures().fit(X).transform(X, qid=qid)
    np.testing.assert_array_equal(QueryFeatures().fit(X).transform(X[order], qid=qid[order]), whole[order])


def test_a_query_does_not_know_of_others(rows):
    X, qid = rows
    fitted = QueryFeatures().fit(X)
    own = qid == 3
    np.testing.assert_array_equal(fitted.transform(X[own], qid=qid[own]), fitted.transform(X, qid=qid)[own])


def test_names_and_choices(rows):
    X, qid = rows
    frame = pd.DataFrame(X, columns=["bm25", "clicks", "seven"])
    chosen = QueryFeatures(("rank", "share"), passthrough=False).fit(frame)
    names = chosen.get_feature_names_out().tolist()
    assert names == [f"{n}_{k}" for k in ("rank", "share") for n in ("bm25", "clicks", "seven")]
    assert chosen.transform(frame, qid=qid).shape == (120, 6)
    assert QueryFeatures().fit(X).get_feature_names_out().tolist()[:4] == ["x0", "x1", "x2", "x0_rank"]
    with pytest.raises(ValueError, match="'kinds' must be some of 'rank', 'zscore', 'share'"):
        QueryFeatures(("median",)).fit(X)
    with pytest.raises(ValueError, match="'X' must be dense for QueryFeatures"):
        QueryFeatures().fit(sparse.csr_matrix(np.nan_to_num(X)))


def test_qid_goes_through_pipelines_and_searches(rng):
    X = rng.normal(size=(300, 2)) * np.repeat(10.0 ** rng.integers(-3, 4, 30), 10)[:, None]
    qid = np.repeat(np.arange(30), 10)
    y = (QueryFeatures(("rank",), passthrough=False).fit_transform(X, qid=qid)[:, 0] > 0.7).astype(float)
    ranker = LambdaMART(n_estimators=10, min_child_samples=5, random_state=0, n_jobs=1)
    with lk.query_routing():
        pipeline = make_pipeline(QueryFeatures(), ranker)
        pipeline.fit(X, y, qid=qid)
        scores = pipeline.predict(X, qid=qid)
        assert pipeline.score(X, y, qid=qid) == pytest.approx(ndcg(y, scores, qid, k=10))
        by_hand = QueryFeatures().fit_transform(X, qid=qid)
        np.testing.assert_array_equal(scores, ranker.fit(by_hand, y, qid=qid).predict(by_hand))
        search = GridSearchCV(
            make_pipeline(QueryFeatures(), LambdaMART(n_estimators=10, min_child_samples=5, n_jobs=1)),
            {"queryfeatures__kinds": [("rank",), ("zscore",)]},
            cv=QueryKFold(3),
            scoring=make_ranking_scorer("ndcg@10"),
        ).fit(X, y, qid=qid)
        assert search.best_score_ > 0.9
        raw = LambdaMART(n_estimators=10, min_child_samples=5, n_jobs=1)
        without = cross_val_score(
            raw, X, y, cv=QueryKFold(3), params={"qid": qid}, scoring=make_ranking_scorer("ndcg@10")
        )
        assert search.best_score_ > without.mean()


COMPARES_ROWS = "what a row becomes depends on the other rows of its query, which is the point"
FLOAT32 = "the result is float32 whatever X is, as rankers read it"


def expected_failures(estimator):
    return {
        "check_methods_subset_invariance": COMPARES_ROWS,
        "check_transformer_preserve_dtypes": FLOAT32,
    }


@parametrize_with_checks([QueryFeatures()], expected_failed_checks=expected_failures)
def test_scikit_learn_check(estimator, check):
    check(estimator)
