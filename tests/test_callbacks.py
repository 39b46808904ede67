"""Several held-out sets and metrics, and callbacks: the same protocol on all trees, lines and networks."""

from __future__ import annotations

import json
import sys
import threading
import types
from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from lambdamart_kit import (
    LambdaMART,
    LightGBMRanker,
    LinearRanker,
    NeuralRanker,
    XGBoostRanker,
    log_to_jsonl,
    log_to_mlflow,
    prune,
    query_routing,
    schedule,
    stop_after,
)
from lambdamart_kit.datasets import make_letor, write_letor
from lambdamart_kit.metrics import make_metric, parse_metric
from lambdamart_kit.model_selection import QueryKFold
from lambdamart_kit.rankers import load_ranker

SMALL = {"n_estimators": 6, "num_leaves": 6, "random_state": 0, "n_jobs": 1}
TREES = {
    "native": LambdaMART(**SMALL),
    "lightgbm": LambdaMART(booster="lightgbm", **SMALL),
    "xgboost": LambdaMART(booster="xgboost", **SMALL),
    "lambdarank": LightGBMRanker(**SMALL),
    "rank:ndcg": XGBoostRanker(**SMALL),
}
RANKERS = {
    **TREES,
    "linear": LinearRanker("pairwise", max_iter=6, tol=0.0, n_jobs=1),
    "neural": NeuralRanker(max_iter=6, hidden_layer_sizes=(8,), random_state=0, n_jobs=1),
}
try:
    from lambdamart_kit import CatBoostRanker

    RANKERS["catboost"] = CatBoostRanker(n_estimators=6, max_depth=3, random_state=0, n_jobs=1)
except ImportError:
    pass

every_ranker = pytest.mark.parametrize("name", RANKERS)


def sample(n_queries, random_state):
    data = make_letor(n_queries=n_queries, mean_documents=10, max_documents=20, random_state=random_state)
    return replace(data, X=data.X[:, :8].copy(), feature_names=None)


TRAIN = sample(40, 0)
A = sample(15, 1)
B = sample(12, 2)
SETS = {"X_val": [A.X, B.X], "y_val": [A.y, B.y], "qid_val": [A.qid, B.qid]}
ONE = {"X_val": A.X, "y_val": A.y, "qid_val": A.qid}


def fit(ranker, **given):
    return ranker.fit(TRAIN.X, TRAIN.y, qid=TRAIN.qid, **given)


def ranker_of(name, **params):
    return clone(RANKERS[name]).set_params(**params)


def n_rounds(ranker):
    return getattr(ranker, "best_iteration_", None) or ranker.n_iter_


# ------------------------------------------------------------------------------- several sets and metrics


@every_ranker
def test_every_metric_is_measured_on_every_set(name):
    """What a fit with one set and one metric measures, for all pairs at once."""
    ranker = fit(ranker_of(name, eval_metric=["ndcg@5", "map"]), **SETS)
    assert list(ranker.evals_result_) == ["validation", "validation 2"]
    for part, rows in (("validation", A), ("validation 2", B)):
        assert list(ranker.evals_result_[part]) == ["ndcg@5", "map"]
        for metric, values in ranker.evals_result_[part].items():
            assert len(values) == n_rounds(ranker) == 6
            last = parse_metric(metric)(rows.y, ranker.predict(rows.X), rows.qid)
            assert values[-1] == pytest.approx(last, abs=1e-4)
    assert ranker.best_score_ == ranker.evals_result_["validation"]["ndcg@5"][-1]
    assert str(ranker.find_metric()) == "ndcg@5"
    alone = fit(ranker_of(name, eval_metric="ndcg@5"), **ONE)
    assert alone.evals_result_["validation"]["ndcg@5"] == ranker.evals_result_["validation"]["ndcg@5"]


@every_ranker
def test_the_first_metric_on_the_first_set_stops(name):
    params = {"early_stopping_rounds": 2}
    if "max_iter" not in RANKERS[name].get_params():
        params["n_estimators"] = 25
    both = fit(ranker_of(name, eval_metric=["ndcg@5", "map"], **params), **SETS)
    alone = fit(ranker_of(name, eval_metric="ndcg@5", **params), **ONE)
    assert n_rounds(both) == n_rounds(alone)
    np.testing.assert_array_equal(both.predict(B.X), alone.predict(B.X))
    turned = {key: value[::-1] for key, value in SETS.items()}
    other = fit(ranker_of(name, eval_metric=["map", "ndcg@5"], **params), **turned)
    expected = fit(ranker_of(name, eval_metric="map", **params), X_val=B.X, y_val=B.y, qid_val=B.qid)
    assert n_rounds(other) == n_rounds(expected)


@every_ranker
def test_sets_have_names_weights_and_the_training_rows_beside_them(name):
    weight = 1.0 + (B.qid % 3)
    ranker = fit(
        ranker_of(name, track_training=True),
        **SETS,
        names_val=["new", "old"],
        sample_weight_val=[None, weight],
    )
    assert list(ranker.evals_result_) == ["new", "old", "training"]
    metric = ranker.find_metric()
    last = {part: measures["ndcg@10"][-1] for part, measures in ranker.evals_result_.items()}
    weighted = metric(B.y, ranker.predict(B.X), B.qid, sample_weight=weight)
    assert last["old"] == pytest.approx(weighted, abs=1e-4)
    assert last["old"] != pytest.approx(metric(B.y, ranker.predict(B.X), B.qid), abs=1e-5)
    on_training = metric(TRAIN.y, ranker.predict(TRAIN.X), TRAIN.qid)
    assert last["training"] == pytest.approx(on_training, abs=1e-4)


def test_training_rows_never_stop_early():
    tracked = fit(ranker_of("native", track_training=True, n_estimators=30, early_stopping_rounds=2), **ONE)
    alone = fit(ranker_of("native", n_estimators=30, early_stopping_rounds=2), **ONE)
    np.testing.assert_array_equal(tracked.predict(B.X), alone.predict(B.X))
    assert list(fit(ranker_of("native", track_training=True)).evals_result_) == ["training"]


@pytest.mark.parametrize("name", ["native", "lightgbm", "linear", "neural"])
def test_min_delta_is_what_a_better_round_must_gain(name):
    """The best round as it follows from the measures, written out."""
    rounds = {"n_estimators": 20} if name in TREES else {"max_iter": 20}
    measured = fit(ranker_of(name, **rounds), **ONE).evals_result_["validation"]["ndcg@10"]
    for min_delta in (0.0, 0.004, 0.05):
        best, best_round = -np.inf, 0
        for at, value in enumerate(measured, start=1):
            if value > best + max(min_delta, 1e-12):
                best, best_round = value, at
            if at - best_round >= 3:
                break
        ranker = ranker_of(name, early_stopping_rounds=3, min_delta=min_delta, **rounds)
        assert n_rounds(fit(ranker, **ONE)) == best_round


@pytest.mark.parametrize("name", ["native", "xgboost", "linear"])
def test_bags_measure_all_sets(name):
    ranker = fit(ranker_of(name, n_bags=3, eval_metric=["ndcg@10", "map"]), **SETS, names_val=["a", "b"])
    assert list(ranker.evals_result_) == [f"bag {n} {part}" for n in range(3) for part in ("a", "b")]
    assert all(list(measures) == ["ndcg@10", "map"] for measures in ranker.evals_result_.values())


def test_warm_start_adds_to_all_measures():
    whole = fit(ranker_of("native", eval_metric=["ndcg@10", "map"]), **SETS)
    ranker = fit(ranker_of("native", eval_metric=["ndcg@10", "map"], warm_start=True, n_estimators=2), **SETS)
    fit(ranker.set_params(n_estimators=6), **SETS)
    assert ranker.evals_result_ == whole.evals_result_


def test_saved_rankers_keep_metrics_and_measures(tmp_path):
    ranker = fit(ranker_of("native", eval_metric=["ndcg@10", parse_metric("map")]), **SETS)
    ranker.save(tmp_path / "model.lmk")
    loaded = load_ranker(tmp_path / "model.lmk")
    assert loaded.evals_result_ == ranker.evals_result_
    assert [str(metric) for metric in loaded.find_metrics()] == ["ndcg@10", "map"]
    assert loaded.score(A.X, A.y, qid=A.qid) == ranker.score(A.X, A.y, qid=A.qid)


def test_a_metric_of_ones_own_is_one_of_several():
    own = make_metric("first", lambda labels, scores: float(labels[0] > 0))
    ranker = fit(ranker_of("native", eval_metric=["ndcg@10", own]), **SETS)
    assert list(ranker.evals_result_["validation 2"]) == ["ndcg@10", "first"]


def test_lists_of_rows_are_one_set_and_tuples_of_sets_several():
    plain = fit(ranker_of("native"), X_val=A.X.tolist(), y_val=A.y.tolist(), qid_val=A.qid.tolist())
    np.testing.assert_allclose(
        plain.evals_result_["validation"]["ndcg@10"],
        fit(ranker_of("native"), **ONE).evals_result_["validation"]["ndcg@10"],
        atol=1e-12,
    )
    several = fit(ranker_of("native"), **{key: tuple(value) for key, value in SETS.items()})
    assert several.evals_result_ == fit(ranker_of("native"), **SETS).evals_result_


def test_a_pipeline_transforms_all_sets():
    with query_routing():
        steps = [("scale", StandardScaler()), ("rank", ranker_of("linear"))]
        pipeline = Pipeline(steps, transform_input=["X_val"])
        pipeline.fit(TRAIN.X, TRAIN.y, qid=TRAIN.qid, **{key: tuple(v) for key, v in SETS.items()})
    results = pipeline[-1].evals_result_
    scores = pipeline.predict(B.X)
    measured = parse_metric("ndcg@10")(B.y, scores, B.qid)
    assert results["validation 2"]["ndcg@10"][-1] == pytest.approx(measured, abs=1e-4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {**SETS, "y_val": [A.y]},
            r"'y_val' must be a list with one entry for each of the 2.*1 entries",
        ),
        ({**SETS, "y_val": A.y}, r"'y_val' must be a list with one entry.*got a ndarray"),
        ({**SETS, "qid_val": None}, r"'qid_val\[0\]' must be given with 'X_val'"),
        ({**SETS, "y_val": [A.y, None]}, r"'y_val\[1\]' must be given"),
        ({**SETS, "y_val": [A.y, A.y]}, r"'y_val\[1\]' must hold one label per row of 'X_val\[1\]'"),
        ({**SETS, "names_val": ["a", "a"]}, r"'names_val' must hold a name of its own for each of the 2"),
        ({**SETS, "names_val": ["a"]}, r"'names_val' must hold a name of its own"),
        ({**SETS, "names_val": ["a", "training"]}, r"'names_val' must not hold 'training'"),
        ({**SETS, "y_val": [A.y, 0 * B.y]}, r"the held-out queries of 'validation 2' must have a relevant"),
        ({"names_val": "a"}, r"'names_val' must be given with 'X_val' only"),
        ({**SETS, "X_val": [A.X, B.X[:, :2]]}, r"2 features"),
    ],
)
def test_bad_sets_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        fit(ranker_of("native"), **given)


@pytest.mark.parametrize("metrics", [[], ["map", "map"], ["ndcg@10", "nonsense"]])
def test_bad_lists_of_metrics_are_named(metrics):
    with pytest.raises(ValueError, match=r"'eval_metric'|nonsense"):
        fit(ranker_of("native", eval_metric=metrics), **ONE)


def test_training_queries_in_a_later_set_are_told():
    half = {key: [value[0], value[1]] for key, value in SETS.items()}
    cut = TRAIN.X[:5], TRAIN.y[:5], np.full(5, TRAIN.qid[0])
    for values, part in zip(half.values(), cut):
        values[1] = part
    with pytest.warns(UserWarning, match=r"'X_val\[1\]'"):
        ranker_of("native").fit(TRAIN.X[3:], TRAIN.y[3:], qid=TRAIN.qid[3:], **half)


def test_learning_curves_are_drawn():
    pytest.importorskip("matplotlib").use("Agg")
    ranker = fit(ranker_of("native", eval_metric=["ndcg@10", "map"], track_training=True), **ONE)
    ax = ranker.plot_learning_curve("map")
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    np.testing.assert_array_equal(lines["validation"], ranker.evals_result_["validation"]["map"])
    assert "training" in lines
    assert ax.get_ylabel() == "map"
    assert fit(ranker_of("linear"), **ONE).plot_learning_curve(ax=ax) is ax
    with pytest.raises(ValueError, match="'metric' must be one of 'ndcg@10', 'map'; got 'err'"):
        ranker.plot_learning_curve("err")
    with pytest.raises(ValueError, match="needs rows that were measured"):
        fit(ranker_of("native")).plot_learning_curve()


# ------------------------------------------------------------------------------------------- callbacks


@every_ranker
def test_events_tell_the_rounds(name):
    events = []
    ranker = fit(ranker_of(name, eval_metric=["ndcg@10", "map"], callbacks=[events.append]), **SETS)
    assert [event.round for event in events] == [1, 2, 3, 4, 5, 6]
    for at, event in enumerate(events):
        expected = {
            part: {metric: values[at] for metric, values in measures.items()}
            for part, measures in ranker.evals_result_.items()
        }
        assert event.evaluation == expected
        assert event.score == expected["validation"]["ndcg@10"]
    first = ranker.evals_result_["validation"]["ndcg@10"]
    assert events[-1].best == max(first)
    assert events[-1].best_round == 1 + int(np.argmax(first))
    seconds = [event.seconds for event in events]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    assert events[0].bag is None
    assert events[0].greater_is_better


@every_ranker
def test_true_stops_and_keeps_what_is_learned(name):
    ranker = fit(ranker_of(name, callbacks=[lambda event: None, lambda event: event.round == 3]))
    assert n_rounds(ranker) == 3
    rounds = "max_iter" if "max_iter" in ranker.get_params() else "n_estimators"
    np.testing.assert_allclose(
        ranker.predict(B.X), fit(ranker_of(name, **{rounds: 3})).predict(B.X), atol=1e-9
    )
    assert ranker.evals_result_ == {}


@every_ranker
def test_the_model_so_far_is_a_ranker(name, tmp_path):
    if name == "catboost":
        with pytest.raises(ValueError, match=r"'event\.model' is not known during training with CatBoost"):
            fit(ranker_of(name, callbacks=[lambda event: event.model and None]))
        return
    kept = []

    def keep(event):
        if event.round == 4:
            kept.append((event, event.model))

    fit(ranker_of(name, callbacks=[keep]), **ONE)
    ((event, model),) = kept
    rounds = "max_iter" if "max_iter" in model.get_params() else "n_estimators"
    shorter = fit(ranker_of(name, **{rounds: 4}))
    np.testing.assert_allclose(model.predict(B.X), shorter.predict(B.X), atol=1e-9)
    assert model.score(A.X, A.y, qid=A.qid) == pytest.approx(event.score, abs=1e-4)
    model.set_params(callbacks=None).save(tmp_path / "model.lmk")
    np.testing.assert_array_equal(load_ranker(tmp_path / "model.lmk").predict(B.X), model.predict(B.X))
    with pytest.raises(ValueError, match="must be asked for inside of the callback"):
        _ = event.model


@every_ranker
def test_an_error_in_a_callback_reaches_the_user_and_leaves_the_ranker_alone(name):
    class Mine(Exception):
        pass

    def fail(event):
        raise Mine(f"at {event.round}")

    ranker = fit(ranker_of(name))
    before = ranker.predict(B.X)
    with pytest.raises(Mine, match="at 1"):
        fit(ranker.set_params(callbacks=[fail]))
    np.testing.assert_array_equal(ranker.predict(B.X), before)


@pytest.mark.parametrize("name", ["native", "xgboost", "linear", "neural"])
def test_bags_call_one_callback_at_a_time(name):
    inside = threading.Lock()
    seen = []

    def note(event):
        assert inside.acquire(blocking=False)
        seen.append((event.bag, event.round))
        model = event.model
        assert model.predict(A.X[:1]).shape == (1,)
        inside.release()
        return event.bag == 1 and event.round == 2

    ranker = fit(ranker_of(name, n_bags=3, n_jobs=2, callbacks=[note]))
    assert ranker.bag_iterations_ == [6, 2, 6]
    assert sorted(seen) == sorted([(bag, n) for bag in (0, 2) for n in range(1, 7)] + [(1, 1), (1, 2)])


def test_rounds_count_on_with_warm_start_and_a_model():
    rounds = []
    params = {"n_estimators": 2, "callbacks": [lambda event: rounds.append(event.round)]}
    ranker = fit(ranker_of("native", warm_start=True, **params))
    fit(ranker.set_params(n_estimators=4))
    fit(ranker_of("native", **params), init_model=ranker)
    assert rounds == [1, 2, 3, 4, 5, 6]


def test_callbacks_run_on_files(tmp_path):
    write_letor(TRAIN, tmp_path / "train.txt")
    events = []
    params = {"callbacks": [events.append], "track_training": True, "eval_metric": ["ndcg@10", "map"]}
    for name in ("native", "xgboost"):
        events.clear()
        ranker = ranker_of(name, **params).fit_files(tmp_path / "train.txt")
        in_memory = fit(ranker_of(name, track_training=True, eval_metric=["ndcg@10", "map"]))
        assert len(events) == 6
        for metric, values in in_memory.evals_result_["training"].items():
            np.testing.assert_allclose(ranker.evals_result_["training"][metric], values, atol=0.05)


def test_stop_after_a_time():
    ranker = fit(ranker_of("native", n_estimators=100_000, callbacks=[stop_after(0.2)]))
    assert 1 <= ranker.best_iteration_ < 100_000
    assert stop_after("1.5h")._seconds == 5400.0
    for limit in ("fits=3", "soon", -1, 0, True):
        with pytest.raises(ValueError, match="'limit' must be a time"):
            stop_after(limit)


@pytest.mark.parametrize("name", [*TREES, "neural"])
def test_a_schedule_sets_the_rate_of_each_round(name):
    """A constant one is the parameter; a tree's values grow with its rate."""
    rate = 0.05
    constant = fit(ranker_of(name, callbacks=[schedule([rate] * 6)])).predict(B.X)
    np.testing.assert_allclose(constant, fit(ranker_of(name, learning_rate=rate)).predict(B.X), atol=1e-6)
    falling = fit(ranker_of(name, callbacks=[schedule(lambda number: rate if number <= 2 else 1e-12)]))
    rounds = "max_iter" if name == "neural" else "n_estimators"
    two = fit(ranker_of(name, learning_rate=rate, **{rounds: 2}))
    np.testing.assert_allclose(falling.predict(B.X), two.predict(B.X), atol=1e-5)


def test_a_schedule_counts_on_with_warm_start():
    rates = schedule([0.3, 0.2, 0.1, 0.05])
    whole = fit(ranker_of("native", n_estimators=4, callbacks=[rates]))
    ranker = fit(ranker_of("native", n_estimators=2, warm_start=True, callbacks=[rates]))
    fit(ranker.set_params(n_estimators=4))
    np.testing.assert_allclose(ranker.predict(B.X), whole.predict(B.X), atol=1e-9)
    symmetric = {"booster_params": {"grow_policy": "symmetric"}}
    constant = fit(ranker_of("native", callbacks=[schedule([0.05] * 6)], **symmetric))
    expected = fit(ranker_of("native", learning_rate=0.05, **symmetric))
    np.testing.assert_array_equal(constant.predict(B.X), expected.predict(B.X))


@pytest.mark.parametrize(
    ("name", "rates", "message"),
    [
        (
            "native",
            [0.1] * 5,
            r"'rates' must hold a learning rate for each round; got 5,",
        ),
        ("neural", [0.1] * 5, r"'rates' must hold a learning rate for each round"),
        ("native", lambda number: -number, r"'rates' must be positive; got -6"),
        ("linear", [0.1] * 6, r"'callbacks' must hold no schedule with LinearRanker"),
        ("catboost", [0.1] * 6, r"'callbacks' must hold no schedule with CatBoost"),
    ],
)
def test_bad_schedules_are_named(name, rates, message):
    if name not in RANKERS:
        pytest.skip("CatBoost is not installed")
    with pytest.raises(ValueError, match=message):
        fit(ranker_of(name, callbacks=[schedule(rates)]))
    with pytest.raises(ValueError, match="one schedule of the learning rate at most; got 2"):
        fit(ranker_of("native", callbacks=[schedule([0.1] * 6)] * 2))


@every_ranker
def test_optuna_prunes(name):
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.ThresholdPruner(upper=0.0))

    def objective(trial):
        # A clone has the trial itself, not a copy.
        fit(clone(ranker_of(name, callbacks=[prune(trial)])), **ONE)
        return 0.0

    study.optimize(objective, n_trials=1)
    (trial,) = study.trials
    assert trial.state == optuna.trial.TrialState.PRUNED
    assert list(trial.intermediate_values) == [1]


def test_optuna_gets_every_score():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    rankers = []

    def objective(trial):
        rankers.append(fit(ranker_of("native", callbacks=[prune(trial)]), **ONE))
        return rankers[-1].best_score_

    study.optimize(objective, n_trials=1)
    reported = study.trials[0].intermediate_values
    expected = rankers[0].evals_result_["validation"]["ndcg@10"]
    assert list(reported.values()) == expected
    study = optuna.create_study(direction="minimize")
    with pytest.raises(ValueError, match="needs a study with direction='maximize' for this metric"):
        study.optimize(objective, n_trials=1)
    with pytest.raises(ValueError, match=r"prune\(trial\) needs held-out queries"):
        fit(ranker_of("native", callbacks=[prune(study.ask())]))
    with pytest.raises(ValueError, match=r"'n_bags' must be 1 with prune\(trial\)"):
        fit(ranker_of("native", n_bags=2, callbacks=[prune(study.ask())]), **ONE)
    several = optuna.create_study(directions=["maximize", "minimize"])
    with pytest.raises(ValueError, match=r"prune\(trial\) needs a study of one direction"):
        fit(ranker_of("native", callbacks=[prune(several.ask())]), **ONE)


def test_mlflow_gets_every_measure(monkeypatch):
    logged = []
    run = types.SimpleNamespace(info=types.SimpleNamespace(run_id="active"))
    active = [run]

    class Client:
        def log_metric(self, run_id, key, value, timestamp, step):
            logged.append((run_id, key, value, step))

    fake = types.SimpleNamespace(active_run=lambda: active[0], MlflowClient=Client)
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    ranker = fit(ranker_of("native", n_estimators=2, callbacks=[log_to_mlflow()]), **SETS)
    first, second = ranker.evals_result_["validation"]["ndcg@10"]
    assert logged[0] == ("active", "validation ndcg_at_10", first, 1)
    assert logged[2] == ("active", "validation ndcg_at_10", second, 2)
    assert logged[3][1] == "validation 2 ndcg_at_10"
    logged.clear()
    active[0] = None
    fit(ranker_of("native", n_estimators=1, n_bags=2, callbacks=[log_to_mlflow(run_id="r")]), **ONE)
    assert [entry[:2] for entry in logged] == [("r", f"bag {n} validation ndcg_at_10") for n in range(2)]
    with pytest.raises(ValueError, match="log_to_mlflow needs a run"):
        fit(ranker_of("native", callbacks=[log_to_mlflow()]), **ONE)
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ImportError, match=r"pip install 'lambdamart-kit\[mlflow\]'"):
        fit(ranker_of("native", callbacks=[log_to_mlflow()]), **ONE)


def test_lines_of_json_say_the_rounds(tmp_path):
    path = tmp_path / "rounds.jsonl"
    ranker = fit(ranker_of("native", n_estimators=2, callbacks=[log_to_jsonl(path)]), **ONE)
    fit(ranker_of("linear", max_iter=1, callbacks=[log_to_jsonl(path)]))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["round"] for line in lines] == [1, 2, 1]
    measured = ranker.evals_result_["validation"]["ndcg@10"]
    assert [line["evaluation"] for line in lines[:2]] == [{"validation": {"ndcg@10": v}} for v in measured]
    assert lines[2]["score"] is None
    assert lines[2]["evaluation"] == {}


@pytest.mark.parametrize("callback", ["text", 3, object()])
def test_what_cannot_be_called_is_named(callback):
    for name in ("native", "linear", "neural"):
        with pytest.raises(ValueError, match="'callbacks' must hold functions of a TrainingEvent; entry 0"):
            fit(ranker_of(name, callbacks=[callback]))


def test_callbacks_of_libraries_are_named():
    import lightgbm
    import xgboost

    for callback in (lightgbm.early_stopping(3, verbose=False), xgboost.callback.EvaluationMonitor()):
        with pytest.raises(ValueError, match="'callbacks' must hold functions of a TrainingEvent"):
            fit(ranker_of("lightgbm", callbacks=[callback]))


def test_answers_must_be_plain():
    with pytest.raises(ValueError, match="a callback must return True to stop, or False or None"):
        fit(ranker_of("native", callbacks=[lambda event: "stop"]))
    assert n_rounds(fit(ranker_of("native", callbacks=[lambda event: np.bool_(True)]))) == 1


def test_saved_rankers_say_that_callbacks_are_missing(tmp_path):
    ranker = fit(ranker_of("native", callbacks=[stop_after("1h"), lambda event: None]))
    ranker.save(tmp_path / "model.lmk")
    loaded = load_ranker(tmp_path / "model.lmk")
    np.testing.assert_array_equal(loaded.predict(B.X), ranker.predict(B.X))
    with pytest.raises(ValueError, match="which a saved model does not contain"):
        fit(loaded)
    fit(loaded.set_params(callbacks=None))


def test_searches_clone_callbacks():
    rounds = []
    with query_routing():
        ranker = ranker_of("native", callbacks=[lambda event: rounds.append(event.round)])
        GridSearchCV(ranker, {"num_leaves": [3, 5]}, cv=QueryKFold(2)).fit(TRAIN.X, TRAIN.y, qid=TRAIN.qid)
    assert len(rounds) == 6 * 5
