"""Tools of scikit-learn, SHAP, skops, Optuna and MLflow that meet a ranker."""

from __future__ import annotations

import copy
import pickle
import sys
import types
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.feature_selection import RFECV, SequentialFeatureSelector
from sklearn.inspection import PartialDependenceDisplay, partial_dependence, permutation_importance
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lambdamart_kit import (
    EnsembleRanker,
    LambdaMART,
    LightGBMRanker,
    LinearRanker,
    NeuralRanker,
    PointwiseRanker,
    XGBoostRanker,
    log_to_mlflow,
    prune,
    query_routing,
)
from lambdamart_kit.adapters.pyterrier import _stage_class
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.metrics import ndcg
from lambdamart_kit.model_selection import QueryKFold, QueryTimeSeriesSplit, make_ranking_scorer
from lambdamart_kit.model_selection import permutation_importance as importance

SMALL = {"n_estimators": 5, "num_leaves": 6, "random_state": 0, "n_jobs": 1}
TREES = {
    "native": LambdaMART(**SMALL),
    "lightgbm": LambdaMART(booster="lightgbm", **SMALL),
    "xgboost": LambdaMART(booster="xgboost", **SMALL),
    "lambdarank": LightGBMRanker(**SMALL),
    "rank:ndcg": XGBoostRanker(**SMALL),
}
SAVED = {
    **TREES,
    "pipeline": make_pipeline(StandardScaler(), LambdaMART(**SMALL)),
    "bags": LambdaMART(n_bags=2, **SMALL),
    "pointwise": PointwiseRanker(),
    "linear": LinearRanker(),
    "neural": NeuralRanker(random_state=0),
    "blend": EnsembleRanker([("trees", LambdaMART(**SMALL)), ("linear", LinearRanker())]),
}
CV = {"cv": QueryKFold(3), "scoring": make_ranking_scorer("ndcg@10")}


@pytest.fixture(scope="module")
def data():
    found = make_letor(n_queries=30, mean_documents=12, max_documents=20, random_state=0)
    return found.X[:, :5], found.y, found.qid


@pytest.mark.parametrize("ranker", [*TREES.values(), LinearRanker()])
def test_partial_dependence_is_the_mean_score_along_a_feature(ranker, data):
    X, y, qid = data
    ranker = ranker.fit(X, y, qid=qid)
    found = partial_dependence(ranker, X, [1], grid_resolution=7)
    means = []
    for value in found["grid_values"][0]:
        moved = X.copy()
        moved[:, 1] = value
        means.append(ranker.predict(moved).mean())
    np.testing.assert_allclose(found["average"][0], means, rtol=1e-5, atol=1e-6)


def test_partial_dependence_is_drawn(data):
    plt = pytest.importorskip("matplotlib.pyplot")
    X, y, qid = data
    plt.switch_backend("Agg")
    ranker = LambdaMART(**SMALL).fit(X, y, qid=qid)
    shown = PartialDependenceDisplay.from_estimator(ranker, X, [0, (1, 2)], grid_resolution=5)
    assert len(shown.axes_.ravel()) == 2
    plt.close("all")


def test_scikit_learns_permutation_importance_measures_rankings(data):
    X, y, qid = data
    ranker = LambdaMART(**SMALL).fit(X, y, qid=qid)
    scorer = make_ranking_scorer("ndcg@10")
    found = permutation_importance(
        ranker, X, y, scoring=lambda model, X, y: scorer(model, X, y, qid=qid), n_repeats=3, random_state=0
    )
    used = ranker.feature_importances_ > 0
    assert (found.importances_mean[~used] == 0).all()
    assert found.importances_mean.max() > 0


def test_selectors_and_searches(data):
    from sklearn.experimental import enable_halving_search_cv  # noqa: F401
    from sklearn.model_selection import HalvingGridSearchCV

    X, y, qid = data
    ranker = LambdaMART(**SMALL)
    with query_routing():
        eliminated = RFECV(ranker, step=2, **CV).fit(X, y, qid=qid)
        chosen = SequentialFeatureSelector(ranker, n_features_to_select=1, **CV).fit(X, y, qid=qid)
        halved = HalvingGridSearchCV(
            ranker, {"num_leaves": [4, 6, 8]}, resource="n_estimators", min_resources=3, max_resources=9, **CV
        ).fit(X, y, qid=qid)
        alone = [
            np.mean(cross_validate(ranker, X[:, [j]], y, params={"qid": qid}, **CV)["test_score"])
            for j in range(5)
        ]
    assert eliminated.predict(X).shape == y.shape
    assert chosen.get_support().argmax() == np.argmax(alone)
    assert halved.best_params_["n_estimators"] == 9


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_set_output_keeps_names_up_to_the_ranker(kind, data):
    pytest.importorskip(kind)
    X, y, qid = data
    frame = pd.DataFrame(X, columns=list("abcde"))
    steps = make_pipeline(StandardScaler(), LambdaMART(**SMALL)).set_output(transform=kind)
    with query_routing():
        steps.fit(frame, y, qid=qid)
    assert list(steps[-1].feature_names_in_) == list("abcde")
    assert steps.predict(frame).shape == y.shape


def test_nested_cross_validation_in_three_lines(data):
    X, y, qid = data
    with query_routing():
        search = GridSearchCV(LambdaMART(**SMALL), {"num_leaves": [4, 8]}, **CV)
        scores = cross_validate(search, X, y, params={"qid": qid}, **CV)["test_score"]
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()


# ------------------------------------------------------------------------------------------- time


def test_splits_in_time_are_those_of_scikit_learn_over_queries():
    rng = np.random.default_rng(0)
    qid = rng.permutation(np.repeat(np.arange(23), rng.integers(1, 5, 23)))
    time = {q: float(t) for q, t in enumerate(rng.permutation(23))}
    in_time = np.array(sorted(time, key=time.get))
    settings = {"n_splits": 4, "gap": 1, "max_train_size": 9}
    expected = TimeSeriesSplit(**settings).split(in_time)
    found = list(QueryTimeSeriesSplit(**settings, time=time).split(np.zeros(len(qid)), qid=qid))
    for (train, test), (train_queries, test_queries) in zip(found, expected, strict=True):
        assert set(qid[train]) == set(in_time[train_queries])
        assert set(qid[test]) == set(in_time[test_queries])
        assert len(train) == np.isin(qid, in_time[train_queries]).sum()
    by_function = QueryTimeSeriesSplit(**settings, time=time.get).split(np.zeros(len(qid)), qid=qid)
    for one, other in zip(found, by_function, strict=True):
        np.testing.assert_array_equal(one[0], other[0])


def test_queries_of_the_time_of_the_test_are_not_trained_on():
    qid, day = np.arange(6), {0: 1, 1: 1, 2: 2, 3: 2, 4: 2, 5: 3}
    first, second = QueryTimeSeriesSplit(2, time=day).split(np.zeros(6), qid=qid)
    assert (first[0].tolist(), first[1].tolist()) == ([0, 1], [2, 3])
    assert (second[0].tolist(), second[1].tolist()) == ([0, 1], [4, 5])  # 2 and 3 are of the day of 4
    with pytest.raises(ValueError, match="'time' must tell training queries from test queries"):
        list(QueryTimeSeriesSplit(2, time=lambda q: 7).split(np.zeros(6), qid=qid))
    with pytest.raises(ValueError, match="'time' must have a time for every query; it has none for 5"):
        list(QueryTimeSeriesSplit(2, time={q: q for q in range(5)}).split(np.zeros(6), qid=qid))


def test_searches_split_in_time(data):
    X, y, qid = data
    with query_routing():
        search = GridSearchCV(
            LambdaMART(**SMALL), {"num_leaves": [4, 8]}, cv=QueryTimeSeriesSplit(3), scoring=CV["scoring"]
        )
        found = cross_validate(search, X, y, params={"qid": qid}, **{**CV, "cv": QueryTimeSeriesSplit(2)})
    assert len(found["test_score"]) == 2


# ------------------------------------------------------------------------------------------- others


@pytest.mark.parametrize("name", TREES)
def test_shap_explains_the_booster_as_contributions_do(name, data):
    shap = pytest.importorskip("shap")
    X, y, qid = data
    ranker = TREES[name].fit(X, y, qid=qid)
    found = shap.TreeExplainer(ranker.booster_).shap_values(X)
    np.testing.assert_allclose(found, ranker.contributions(X)[:, :-1], atol=1e-5)


def test_shaps_error_names_contributions(data):
    shap = pytest.importorskip("shap")
    X, y, qid = data
    ranker = TREES["native"].fit(X, y, qid=qid)
    with pytest.raises(shap.utils._exceptions.InvalidModelError, match=r"contributions\(X\) .* booster_"):
        shap.TreeExplainer(ranker)
    with pytest.raises(shap.utils._exceptions.InvalidModelError, match=r"LinearRanker.*contributions\(X\)"):
        shap.TreeExplainer(LinearRanker().fit(X, y, qid=qid))


def test_classes_name_what_explains_them_where_shap_is_loaded(monkeypatch):
    monkeypatch.delitem(sys.modules, "shap", raising=False)
    assert str(LambdaMART) == repr(LambdaMART) == "<class 'lambdamart_kit.rankers.lambdamart.LambdaMART'>"
    monkeypatch.setitem(sys.modules, "shap", sys)
    assert "contributions(X)" in str(LambdaMART)
    assert "explain(X)" in str(NeuralRanker)
    assert "contributions" not in repr(LambdaMART)


@pytest.mark.parametrize("name", SAVED)
def test_skops_loads_rankers_by_types_of_the_kit_alone(name, data):
    sio = pytest.importorskip("skops.io")
    X, y, qid = data
    ranker = SAVED[name]
    with query_routing():
        ranker = ranker.fit(X, y, qid=qid)
    content = sio.dumps(ranker)
    unknown = sio.get_untrusted_types(data=content)
    assert all(kind.startswith("lambdamart_kit.") for kind in unknown), unknown
    np.testing.assert_array_equal(sio.loads(content, trusted=unknown).predict(X), ranker.predict(X))


@pytest.mark.parametrize("name", TREES)
def test_pickles_and_copies_keep_scores_and_go_on(name, data):
    X, y, qid = data
    ranker = clone(TREES[name]).fit(X, y, qid=qid)
    for again in (pickle.loads(pickle.dumps(ranker)), copy.deepcopy(ranker)):
        np.testing.assert_array_equal(again.predict(X), ranker.predict(X))
        np.testing.assert_array_equal(again.contributions(X), ranker.contributions(X))
        assert again.to_bytes() == ranker.to_bytes()
        if name in ("native", "lightgbm", "xgboost"):
            more = {"warm_start": True, "n_estimators": 8}
            once = clone(TREES[name]).set_params(n_estimators=8).fit(X, y, qid=qid)
            again.set_params(**more).fit(X, y, qid=qid)
            np.testing.assert_allclose(again.predict(X), once.predict(X), rtol=1e-5, atol=1e-6)


def test_scorers_pass_starting_scores_and_weights_of_documents(data):
    X, y, qid = data
    rng = np.random.default_rng(0)
    start = rng.normal(size=len(y))
    weight = rng.integers(0, 3, len(y)).astype(float)
    given = {"qid": qid, "init_score": start, "document_weight": weight}
    ranker = LambdaMART(**SMALL)
    cv = QueryKFold(3)
    found = {}
    with query_routing(), warnings.catch_warnings():
        warnings.simplefilter("error")
        search = GridSearchCV(ranker, {"num_leaves": [4]}, **CV)
        for name, model in {"alone": ranker, "pipeline": make_pipeline(ranker), "search": search}.items():
            found[name] = cross_validate(model, X, y, params=given, **CV)["test_score"]
    expected = []
    for train, test in cv.split(X, qid=qid):
        fitted = clone(ranker).fit(
            X[train], y[train], **{name: values[train] for name, values in given.items()}
        )
        scores = fitted.predict(X[test], init_score=start[test])
        expected.append(ndcg(y[test], scores, qid[test], k=10, document_weight=weight[test]))
    np.testing.assert_array_equal(found["alone"], expected)
    np.testing.assert_array_equal(found["pipeline"], expected)
    assert found["search"].shape == (3,)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drops = importance(fitted, X[test], y[test], n_repeats=1, **{k: v[test] for k, v in given.items()})
    assert drops.baseline == expected[-1]


def test_a_study_of_optuna_prunes_rankers(data):
    optuna = pytest.importorskip("optuna")
    X, y, qid = data
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial):
        rate = trial.suggest_categorical("learning_rate", [0.3, 1e-6])
        ranker = LambdaMART(**SMALL, learning_rate=rate, validation_fraction=0.4, callbacks=[prune(trial)])
        return ranker.fit(X, y, qid=qid).best_score_

    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.ThresholdPruner(lower=2.0))
    study.optimize(objective, n_trials=2)
    assert [trial.state.name for trial in study.trials] == ["PRUNED", "PRUNED"]
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.ThresholdPruner(lower=0.0))
    study.optimize(objective, n_trials=2)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE"]
    assert [len(trial.intermediate_values) for trial in study.trials] == [5, 5]


def test_mlflow_logs_a_pipeline_and_loads_it_again(data, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    X, y, qid = data
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    mlflow.sklearn.autolog()
    try:
        with mlflow.start_run() as run, query_routing():
            steps = make_pipeline(StandardScaler(), LambdaMART(**SMALL)).fit(X, y, qid=qid)
            mlflow.log_metric("ndcg", make_ranking_scorer("ndcg@10")(steps, X, y, qid=qid))
    finally:
        mlflow.sklearn.autolog(disable=True)
    logged = mlflow.get_run(run.info.run_id).data
    assert logged.params["lambdamart__num_leaves"] == "6"
    assert 0 < logged.metrics["ndcg"] <= 1
    again = mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/model")
    np.testing.assert_array_equal(again.predict(X), steps.predict(X))


@pytest.mark.parametrize(
    ("name", "form"), [("native", "cloudpickle"), ("xgboost", "skops"), ("neural", "skops")]
)
def test_mlflow_logs_a_ranker_by_itself_and_loads_it_again(name, form, data, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("skops")
    X, y, qid = data
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/runs.db")
    ranker = clone(SAVED[name]).set_params(validation_fraction=0.4)
    mlflow.sklearn.autolog(serialization_format=form)
    try:
        ranker.fit(X, y, qid=qid)
        with mlflow.start_run() as run:
            LambdaMART(**SMALL, callbacks=[log_to_mlflow()], validation_fraction=0.4).fit(X, y, qid=qid)
        with query_routing(), mlflow.start_run() as of_search:
            GridSearchCV(LambdaMART(**SMALL), {"num_leaves": [4, 8]}, **CV).fit(X, y, qid=qid)
    finally:
        mlflow.sklearn.autolog(disable=True)
    runs = {found.info.run_id: found for found in mlflow.search_runs(output_format="list")}
    steered = runs.pop(run.info.run_id)
    assert steered.data.params["num_leaves"] == "6"
    searched = runs.pop(of_search.info.run_id).data
    # MLflow's autolog takes no list of types for skops to trust, and keeps no measure of a search there.
    assert ("best_cv_score" in searched.metrics) == (form == "cloudpickle")
    assert not any("ndcg" in name for name in searched.metrics)  # the fits of the search are its own affair
    children = [i for i, found in runs.items() if "mlflow.parentRunId" in found.data.tags]
    (alone,) = [found for run_id, found in runs.items() if run_id not in children]
    values = ranker.evals_result_["validation"]["ndcg@10"]
    history = mlflow.MlflowClient().get_metric_history(alone.info.run_id, "validation ndcg_at_10")
    assert [point.value for point in sorted(history, key=lambda point: point.step)] == values
    assert alone.data.metrics["best_score"] == ranker.best_score_
    assert alone.data.params["random_state"] == "0"
    again = mlflow.sklearn.load_model(f"runs:/{alone.info.run_id}/model")
    np.testing.assert_array_equal(again.predict(X), ranker.predict(X))
    ranker.fit(X, y, qid=qid)
    assert len(mlflow.search_runs(output_format="list")) == len(runs) + 2


def test_packages_that_are_missing_are_named(data, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyterrier", None)
    with pytest.raises(ImportError, match=r"pip install 'lambdamart-kit\[pyterrier\]'"):
        _stage_class.__wrapped__()
    monkeypatch.setitem(sys.modules, "optuna", None)
    X, y, qid = data
    trial = types.SimpleNamespace(report=lambda value, step: None, should_prune=lambda: True)
    with pytest.raises(ImportError, match=r"pip install 'lambdamart-kit\[optuna\]'"):
        LambdaMART(**SMALL, validation_fraction=0.4, callbacks=[prune(trial)]).fit(X, y, qid=qid)
