"""Splits by query, scorers and importance, inside scikit-learn's own tools and without any set_*_request."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import get_config
from sklearn.base import BaseEstimator, clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    validation_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import lambdamart_kit as lk
from lambdamart_kit.metrics import NDCG, ndcg
from lambdamart_kit.model_selection import (
    QueryKFold,
    QueryShuffleSplit,
    make_ranking_scorer,
    permutation_importance,
    query_routing,
)


class Ridge(BaseEstimator):
    """Least squares within queries: the least that a ranker needs."""

    __metadata_request__fit = {"qid": True, "sample_weight": True}  # noqa: RUF012
    __metadata_request__score = {"qid": True, "sample_weight": True}  # noqa: RUF012

    def __init__(self, alpha=1.0, n_rounds=1):
        self.alpha = alpha
        self.n_rounds = n_rounds

    def fit(self, X, y, qid=None, sample_weight=None):
        assert qid is not None
        X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
        assert len(qid) == len(X)
        self.queries_ = set(np.asarray(qid).tolist())
        self.n_rows_, self.weight_ = len(X), sample_weight
        code = np.unique(np.asarray(qid), return_inverse=True)[1]
        member = np.eye(code.max() + 1)[code]  # (n_samples, n_queries)
        X, y = (a - member @ (member.T @ a / member.sum(axis=0)[:, None]) for a in (X, y[:, None]))
        self.coef_ = np.linalg.solve(X.T @ X + self.alpha * np.eye(X.shape[1]), X.T @ y)[:, 0]
        return self

    def predict(self, X):
        return np.asarray(X, dtype=float) @ self.coef_

    def score(self, X, y, qid=None, sample_weight=None):
        return ndcg(y, self.predict(X), qid, k=10, sample_weight=sample_weight)


@pytest.fixture
def data(rng):
    """Shuffled rows, string ids, one feature that ranks."""
    qid = rng.permutation(np.repeat([f"q{i}" for i in range(30)], rng.integers(2, 20, 30)))
    X = rng.normal(size=(len(qid), 4))
    y = np.clip((2 * X[:, 1] + rng.normal(size=len(qid))).round(), 0, 4)
    return X, y, qid


GRID = {"ridge__alpha": [0.1, 10.0, 1e6]}


def pipeline():
    return make_pipeline(StandardScaler(), Ridge())


# ---- splitters


@pytest.mark.parametrize(
    "splitter",
    [
        QueryKFold(5),
        QueryKFold(4, shuffle=True, random_state=3),
        QueryShuffleSplit(6, random_state=0),
        QueryShuffleSplit(3, test_size=4, train_size=0.5, random_state=0),
    ],
    ids=repr,
)
def test_queries_stay_whole_and_apart(splitter, data):
    X, y, qid = data
    splits = list(splitter.split(X, y, qid=qid))
    assert len(splits) == splitter.get_n_splits(X, y, qid=qid)
    for train, test in splits:
        assert not set(qid[train]) & set(qid[test])
        assert len(set(train)) == len(train)
        assert len(set(test)) == len(test)
        for part in (train, test):
            assert len(part) == np.isin(qid, qid[part]).sum()
            changes = (qid[part][1:] != qid[part][:-1]).sum()
            assert changes == len(set(qid[part])) - 1  # query by query, so a prefix cuts at most one


@pytest.mark.parametrize("shuffle", [False, True])
def test_k_folds_partition_and_balance(shuffle, data):
    X, y, qid = data
    splitter = QueryKFold(4, shuffle=shuffle, random_state=0 if shuffle else None)
    tests = [test for _, test in splitter.split(X, y, qid)]
    assert sorted(np.concatenate(tests)) == list(range(len(y)))
    queries = [len(set(qid[test])) for test in tests]
    assert max(queries) - min(queries) <= 1
    assert max(map(len, tests)) - min(map(len, tests)) <= 20  # at most about one query


@pytest.mark.parametrize(
    "splitter",
    [QueryKFold(3), QueryKFold(3, shuffle=True, random_state=1), QueryShuffleSplit(3, random_state=1)],
    ids=repr,
)
def test_splits_do_not_depend_on_the_order_of_rows(splitter, data, rng):
    X, y, qid = data
    rows = rng.permutation(len(y))
    one = [set(qid[test]) for _, test in splitter.split(X, y, qid=qid)]
    other = [set(qid[rows][test]) for _, test in splitter.split(X[rows], y[rows], qid=qid[rows])]
    assert one == other


def test_shuffled_folds_differ_by_seed_and_repeat_by_seed(data):
    X, y, qid = data
    folds = [
        [sorted(test) for _, test in QueryKFold(3, shuffle=True, random_state=seed).split(X, y, qid)]
        for seed in (0, 0, 1)
    ]
    assert folds[0] == folds[1] != folds[2]


def test_shares_of_queries():
    qid = np.repeat(np.arange(10), 3)
    (train, test), *_ = QueryShuffleSplit(1, test_size=0.25, random_state=0).split(qid, qid=qid)
    assert (len(train), len(test)) == (21, 9)
    (train, test), *_ = QueryShuffleSplit(1, test_size=2, train_size=0.35, random_state=0).split(qid, qid=qid)
    assert (len(train), len(test)) == (9, 6)


@pytest.mark.parametrize(
    ("splitter", "message"),
    [
        (QueryKFold(4), r"'n_splits' must be at least 2 and at most the number of queries, 3; got 4"),
        (QueryKFold(1), "'n_splits' must be at least 2"),
        (QueryShuffleSplit(test_size=3), "must leave queries for both parts"),
        (QueryShuffleSplit(test_size=1.5), "'test_size' must be a share between 0 and 1 or a number"),
        (QueryShuffleSplit(test_size=True), "'test_size' must be"),
        (QueryShuffleSplit(train_size=0), "'train_size' must be"),
        (QueryShuffleSplit(test_size=1, train_size=0.1), "must leave queries for both parts"),
    ],
    ids=repr,
)
def test_impossible_splits_are_named(splitter, message):
    with pytest.raises(ValueError, match=message):
        list(splitter.split(np.zeros(6), qid=[1, 1, 2, 2, 3, 3]))


# ---- scorers


def test_scorer_is_the_metric(data):
    X, y, qid = data
    ranker = Ridge().fit(X, y, qid)
    scorer = make_ranking_scorer("NDCG@5")
    assert scorer(ranker, X, y, qid=qid) == ndcg(y, ranker.predict(X), qid, k=5)
    weight = 1.0 + np.char.str_len(qid)
    assert scorer(ranker, X, y, qid=qid, sample_weight=weight) == ndcg(
        y, ranker.predict(X), qid, k=5, sample_weight=weight
    )
    assert repr(scorer) == "make_ranking_scorer('ndcg@5')"
    assert pickle.loads(pickle.dumps(scorer))(ranker, X, y, qid=qid) == scorer(ranker, X, y, qid=qid)
    assert clone(GridSearchCV(ranker, {}, scoring=scorer), safe=False).scoring is not None


def test_scorer_without_qid_says_what_to_do(data):
    X, y, qid = data
    with pytest.raises(ValueError, match=r"make_ranking_scorer\('ndcg@10'\) got no 'qid'.*query_routing\(\)"):
        make_ranking_scorer()(Ridge().fit(X, y, qid), X, y)
    with pytest.raises(ValueError, match="unknown metric 'foo'"):
        make_ranking_scorer("foo")


# ---- inside scikit-learn


@pytest.mark.parametrize(("ids", "n_jobs"), [("strings", 1), ("strings", 2), ("integers", 1), ("series", 1)])
def test_grid_search_of_a_pipeline(data, ids, n_jobs):
    X, y, qid = data
    given = {
        "strings": qid,
        "integers": np.unique(qid, return_inverse=True)[1],
        "series": pd.Series(qid, index=range(7, 7 + len(qid))),
    }[ids]
    scorer = make_ranking_scorer("ndcg@10")
    with query_routing():
        search = GridSearchCV(
            pipeline(), GRID, cv=QueryKFold(5), scoring=scorer, n_jobs=n_jobs, error_score="raise"
        )
        search.fit(X, y, qid=given)
    for fold, (train, test) in enumerate(QueryKFold(5).split(X, y, given)):
        fitted = make_pipeline(StandardScaler(), Ridge(alpha=10.0)).fit(
            X[train], y[train], ridge__qid=qid[train]
        )
        expected = ndcg(y[test], fitted.predict(X[test]), qid[test], k=10)
        assert search.cv_results_[f"split{fold}_test_score"][1] == pytest.approx(expected, rel=1e-12)
    assert search.best_estimator_[-1].n_rows_ == len(y)
    assert not get_config()["enable_metadata_routing"]


def test_default_score_of_the_estimator_is_routed_too(data):
    X, y, qid = data
    with query_routing():
        default = GridSearchCV(pipeline(), GRID, cv=QueryKFold(5), error_score="raise").fit(X, y, qid=qid)
        named = GridSearchCV(pipeline(), GRID, cv=QueryKFold(5), scoring=make_ranking_scorer()).fit(
            X, y, qid=qid
        )
        assert default.score(X, y, qid=qid) == named.score(X, y, qid=qid)
    np.testing.assert_array_equal(
        default.cv_results_["mean_test_score"], named.cv_results_["mean_test_score"]
    )


def test_several_metrics_with_one_prediction(data):
    X, y, qid = data
    with query_routing():
        search = GridSearchCV(
            pipeline(), GRID, cv=QueryKFold(3), scoring=make_ranking_scorer(["ndcg@10", "map"]), refit="map"
        ).fit(X, y, qid=qid)
        of_dict = cross_validate(
            pipeline(),
            X,
            y,
            cv=QueryKFold(3),
            params={"qid": qid},
            scoring={"a": make_ranking_scorer("ndcg@10"), "b": make_ranking_scorer("map")},
        )
    assert search.cv_results_["mean_test_map"].shape == (3,)
    assert of_dict["test_a"].mean() <= search.cv_results_["mean_test_ndcg@10"].max()


def test_query_weights_are_routed(data):
    X, y, qid = data
    weight = 1.0 + np.char.str_len(qid)
    with query_routing():
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        results = cross_validate(
            make_pipeline(scaler, Ridge()),
            X,
            y,
            cv=QueryKFold(3),
            scoring=make_ranking_scorer(),
            params={"qid": qid, "sample_weight": weight},
            return_estimator=True,
            return_indices=True,
        )
    for fold, test in enumerate(results["indices"]["test"]):
        fitted = results["estimator"][fold]
        np.testing.assert_array_equal(fitted[-1].weight_, weight[results["indices"]["train"][fold]])
        expected = ndcg(y[test], fitted.predict(X[test]), qid[test], k=10, sample_weight=weight[test])
        assert results["test_score"][fold] == expected


def test_randomized_and_halving_searches(data):
    X, y, qid = data
    with query_routing():
        common = {"cv": QueryKFold(3), "scoring": make_ranking_scorer(), "error_score": "raise"}
        randomized = RandomizedSearchCV(pipeline(), GRID, n_iter=2, random_state=0, **common).fit(
            X, y, qid=qid
        )
        thinned = HalvingGridSearchCV(pipeline(), GRID, random_state=0, factor=2, min_resources=100, **common)
        thinned.fit(X, y, qid=qid)  # draws rows at random: unsorted, thinned queries
        whole = HalvingGridSearchCV(
            pipeline(), GRID, resource="ridge__n_rounds", max_resources=8, factor=2, **common
        ).fit(X, y, qid=qid)
    for search in (randomized, thinned, whole):
        assert search.best_estimator_[-1].n_rows_ == len(y)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_learning_curve_grows_by_whole_queries(data):
    X, y, qid = data
    sizes = []

    class Watched(Ridge):
        def fit(self, X, y, qid=None, sample_weight=None):
            counts = dict(zip(*np.unique(qid, return_counts=True), strict=True))
            sizes.append(sum(counts[q] < total[q] for q in counts))
            return super().fit(X, y, qid)

    total = dict(zip(*np.unique(qid, return_counts=True), strict=True))
    with query_routing():
        _, _, test = learning_curve(
            Watched(),
            X,
            y,
            cv=QueryKFold(3),
            params={"qid": qid},
            scoring=make_ranking_scorer(),
            train_sizes=[0.3, 0.6, 1.0],
            error_score="raise",
        )
    assert test.shape == (3, 3)
    assert max(sizes) <= 1


def test_validation_curve_cross_val_score_and_predict(data):
    X, y, qid = data
    with query_routing():
        scores = cross_val_score(
            pipeline(), X, y, cv=QueryKFold(3), params={"qid": qid}, scoring=make_ranking_scorer()
        )
        _, curve = validation_curve(
            pipeline(),
            X,
            y,
            param_name="ridge__alpha",
            param_range=[1.0],
            cv=QueryKFold(3),
            params={"qid": qid},
            scoring=make_ranking_scorer(),
        )
        predicted = cross_val_predict(pipeline(), X, y, cv=QueryKFold(3), params={"qid": qid})
    np.testing.assert_array_equal(curve[0], scores)
    assert ndcg(y, predicted, qid, k=10) > 0.8


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_nested_cross_validation(data, n_jobs):
    X, y, qid = data
    with query_routing():
        inner = GridSearchCV(
            pipeline(), GRID, cv=QueryKFold(3), scoring=make_ranking_scorer(), error_score="raise"
        )
        results = cross_validate(
            inner,
            X,
            y,
            cv=QueryKFold(4, shuffle=True, random_state=0),
            params={"qid": qid},
            n_jobs=n_jobs,
            scoring=make_ranking_scorer(),
            error_score="raise",
            return_estimator=True,
            return_indices=True,
        )
    for fold, search in enumerate(results["estimator"]):
        seen = search.best_estimator_[-1].queries_
        assert not seen & set(qid[results["indices"]["test"][fold]])
    assert results["test_score"].mean() > 0.8


# ---- routing off


def test_without_routing_the_remedy_is_named(data):
    X, y, qid = data
    search = GridSearchCV(Ridge(), {}, cv=QueryKFold(3), scoring=make_ranking_scorer(), error_score="raise")
    with pytest.raises(
        ValueError, match=r"QueryKFold.split got no 'qid'.*with lambdamart_kit.query_routing\(\)"
    ):
        search.fit(X, y, qid=qid)
    with pytest.raises(ValueError, match=r"got no 'qid'.*params=\{'qid': qid\}"):
        cross_validate(Ridge(), X, y, cv=QueryKFold(3), params={"qid": qid})
    search.set_params(cv=3)
    with pytest.raises(ValueError, match="would score all rows as one query"):
        search.fit(X, y, qid=qid)


def test_routing_on_without_qid_is_named_too(data):
    X, y, _ = data
    with query_routing(), pytest.raises(ValueError, match=r"QueryKFold.split got no 'qid'"):
        GridSearchCV(Ridge(), {}, cv=QueryKFold(3)).fit(X, y)


def test_groups_is_another_name_for_qid(data):
    X, y, qid = data
    one = [test.tolist() for _, test in QueryKFold(3).split(X, y, groups=qid)]
    assert one == [test.tolist() for _, test in QueryKFold(3).split(X, y, qid=qid)]


# ---- permutation importance


@pytest.mark.parametrize(
    "container", [np.asarray, pd.DataFrame, sparse.csr_matrix], ids=["array", "frame", "csr"]
)
@pytest.mark.parametrize("permute", ["rows", "within"])
def test_importance_finds_the_feature_that_ranks(data, container, permute):
    X, y, qid = data
    ranker = Ridge().fit(X, y, qid)

    class Dense:
        def predict(self, X):
            return ranker.predict(X.toarray() if sparse.issparse(X) else X)

    given = container(X)
    result = permutation_importance(Dense(), given, y, qid, permute=permute, n_repeats=4, random_state=0)
    assert result.importances.shape == (4, 4)
    assert result.importances_mean.argmax() == 1
    np.testing.assert_allclose(result.importances_mean, result.importances.mean(axis=1))
    np.testing.assert_allclose(result.importances_std, result.importances.std(axis=1))
    assert result.baseline == ndcg(y, ranker.predict(X), qid, k=10)
    assert (result.feature_names is None) == (container is not pd.DataFrame)
    np.testing.assert_array_equal(given.toarray() if sparse.issparse(given) else given, X)


def test_containers_agree_and_metric_and_weight_are_used(data):
    X, y, qid = data
    ranker = Ridge().fit(X, y, qid)
    weight = 1.0 + np.char.str_len(qid)
    options = {"metric": NDCG(k=3), "n_repeats": 2, "random_state": 5, "sample_weight": weight}
    one = permutation_importance(ranker, X, y, qid, **options)
    other = permutation_importance(ranker, pd.DataFrame(X, columns=list("abcd")), y, qid, **options)
    np.testing.assert_array_equal(one.importances, other.importances)
    assert other.feature_names.tolist() == list("abcd")
    assert one.baseline == ndcg(y, ranker.predict(X), qid, k=3, sample_weight=weight)


def test_within_permutes_within_queries(data):
    X, y, qid = data
    X[:, 2] = np.unique(qid, return_inverse=True)[1]
    seen = []

    class Spy:
        def predict(self, given):
            seen.append(given.copy())
            return given[:, 1] + given[:, 2]

    within = permutation_importance(Spy(), X, y, qid, permute="within", n_repeats=2, random_state=0)
    assert within.importances_mean[2] == 0
    for shuffled in seen[1:]:
        for q in np.unique(qid):
            np.testing.assert_array_equal(np.sort(shuffled[qid == q], axis=0), np.sort(X[qid == q], axis=0))
    assert any((shuffled[:, 0] != X[:, 0]).any() for shuffled in seen)
    assert permutation_importance(Spy(), X, y, qid, n_repeats=2, random_state=0).importances_mean[2] > 0


def test_bad_importance_options_are_named(data):
    X, y, qid = data
    with pytest.raises(ValueError, match="'permute' must be one of 'rows', 'within'; got 'columns'"):
        permutation_importance(Ridge(), X, y, qid, permute="columns")
    with pytest.raises(ValueError, match="'n_repeats' must be a whole number >= 1; got 0"):
        permutation_importance(Ridge(), X, y, qid, n_repeats=0)


# ---- with the real rankers


def test_the_promised_grid_search(rng):
    train = lk.datasets.make_letor(n_queries=40, random_state=0)
    rows = rng.permutation(len(train.y))
    X, y, qid = train.X[rows], train.y[rows], np.char.add("query ", train.qid[rows].astype(str))
    ranker = lk.LambdaMART(
        n_estimators=5, validation_fraction=0.2, early_stopping_rounds=2, random_state=0, n_jobs=1
    )
    grid = {"lambdamart__num_leaves": [4, 8], "lambdamart__objective": ["ndcg", "pairwise"]}
    with lk.query_routing():
        search = GridSearchCV(
            make_pipeline(StandardScaler(), ranker),
            grid,
            cv=QueryKFold(3),
            n_jobs=2,
            error_score="raise",
            scoring=make_ranking_scorer("ndcg@10"),
        ).fit(X, y, qid=qid)
    assert search.best_score_ > 0.3
    assert ndcg(y, search.predict(X), qid, k=10) > search.best_score_
