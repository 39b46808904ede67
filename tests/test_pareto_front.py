"""Fronts of rankers with several goals: what is dominated, the area below, the fits, and the picture."""

from __future__ import annotations

import importlib.util
from argparse import Namespace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from lambdamart_kit import LambdaMART, LightGBMRanker, LinearRanker, NeuralRanker, pareto_front
from lambdamart_kit.metrics import ndcg
from lambdamart_kit.model_selection import QueryShuffleSplit
from lambdamart_kit.objectives import Combined
from lambdamart_kit.rankers import ParetoFront
from lambdamart_kit.rankers.goals.front import hypervolume, non_dominated

mpl.use("agg")
GOALS = Combined({"relevance": "ndcg", "margin": "ndcg"})
SMALL = {"n_estimators": 15, "num_leaves": 6, "random_state": 0, "n_jobs": 1}


def make_goals(n_queries, seed, n_goals=2):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_queries * 12, 5)).astype(np.float32)
    pull = np.eye(3, 5) - 0.4 * np.roll(np.eye(3, 5), 1, axis=1)
    told = X @ pull.T + 0.5 * rng.normal(size=(len(X), 3))
    return X, np.digitize(told, [0.3, 1.0])[:, :n_goals], np.repeat(np.arange(n_queries) + 1000 * seed, 12)


def dominated_slowly(points, at):
    return any(
        all(a >= b for a, b in zip(other, points[at])) and any(a > b for a, b in zip(other, points[at]))
        for other in points
    )


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("n_goals", [1, 2, 3])
def test_front_and_volume_against_grid_points(seed, n_goals):
    rng = np.random.default_rng(seed)
    points = rng.integers(-1, 6, size=(rng.integers(1, 9), n_goals))
    assert non_dominated(points).tolist() == [not dominated_slowly(points, at) for at in range(len(points))]
    # Whole numbers: the volume is the number of unit cells whose upper corner some point reaches.
    cells = np.stack(np.meshgrid(*[np.arange(1, 6)] * n_goals), axis=-1).reshape(-1, n_goals)
    reached = [any((point >= cell).all() for point in points) for cell in cells]
    assert hypervolume(points, np.zeros(n_goals)) == sum(reached)


def test_a_model_without_a_metric_is_not_on_the_front():
    assert non_dominated([[np.nan, 0.9], [0.1, 0.1]]).tolist() == [False, True]
    with pytest.raises(ValueError, match=r"'points' must hold a row for each model .* got shape \(2,\)"):
        non_dominated([1.0, 2.0])


@pytest.mark.parametrize(
    "ranker",
    [
        *[LambdaMART(GOALS, booster=booster, **SMALL) for booster in ("native", "lightgbm", "xgboost")],
        LinearRanker(GOALS, max_iter=8, random_state=0),
        NeuralRanker(GOALS, max_iter=15, learning_rate=0.01, hidden_layer_sizes=(8,), random_state=0),
    ],
    ids=["native", "lightgbm", "xgboost", "linear", "neural"],
)
def test_rankers_of_every_kind_make_a_front(ranker):
    X, Y, qid = make_goals(60, 0)
    front = pareto_front(ranker, 3, X, Y, qid)
    assert front.weights.tolist() == [[0, 1], [0.5, 0.5], [1, 0]]
    assert front.on_front.all()
    assert front.table.columns.tolist() == [
        "weight of relevance",
        "weight of margin",
        "relevance ndcg@10",
        "margin ndcg@10",
        "on front",
    ]
    # The queries that were held out are known: what the table says can be measured again.
    ((inside, outside),) = QueryShuffleSplit(1, test_size=0.25, random_state=0).split(X, qid=qid)
    for fitted, values in zip(front.rankers, front.values):
        assert fitted.n_queries_in_ == len(np.unique(qid[inside]))
        scores = fitted.predict(X[outside])
        assert values.tolist() == [ndcg(Y[outside, at], scores, qid[outside], k=10) for at in range(2)]
    assert front.hypervolume() == hypervolume(front.values, front.random)
    assert (front.random < front.values.max(axis=0)).all()


def test_given_queries_weights_and_early_stopping_reach_every_fit():
    X, Y, qid = make_goals(40, 0)
    test, held_out = make_goals(30, 1), make_goals(20, 2)
    weight = np.random.default_rng(0).integers(1, 3, len(X))
    rows = {"document_weight": weight, **dict(zip(("X_val", "y_val", "qid_val"), held_out))}
    ranker = LambdaMART(GOALS, **SMALL, early_stopping_rounds=3)
    given = dict(zip(("X_test", "y_test", "qid_test"), test))
    front = pareto_front(ranker, [{"relevance": 3, "margin": 1}, (0.2, 0.2)], X, Y, qid, **given, **rows)
    assert front.weights.tolist() == [[0.75, 0.25], [0.5, 0.5]]
    alone = LambdaMART(GOALS.with_weights((3, 1)), **SMALL, early_stopping_rounds=3)
    alone.fit(X, Y, qid=qid, **rows)
    np.testing.assert_array_equal(front.rankers[0].predict(test[0]), alone.predict(test[0]))
    assert front.values[0, 1] == ndcg(test[1][:, 1], alone.predict(test[0]), test[2], k=10)
    assert ranker.objective is GOALS


def test_columns_of_a_frame_survive_the_split():
    X, Y, qid = make_goals(40, 0)
    frame = pd.DataFrame(Y, columns=["relevance", "margin"])[["margin", "relevance"]]
    ranker = LinearRanker(GOALS, max_iter=3, random_state=0)
    by_name = pareto_front(ranker, 2, X, frame, qid)
    np.testing.assert_array_equal(by_name.values, pareto_front(ranker, 2, X, Y, qid).values)


def test_three_goals_have_a_grid_of_weights():
    X, Y, qid = make_goals(40, 0, n_goals=3)
    ranker = LinearRanker(Combined(dict.fromkeys("abc", "ndcg")), max_iter=3, random_state=0)
    front = pareto_front(ranker, 3, X, Y, qid)
    of_one = [(0, 0, 1), (0, 1, 0), (1, 0, 0)]
    of_two = [(0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)]
    assert sorted(map(tuple, front.weights)) == sorted(of_one + of_two)
    axes = front.plot("a", "c")
    assert axes.get_xlabel() == "a ndcg@10"
    assert axes.get_ylabel() == "c ndcg@10"


@pytest.fixture
def front():
    values = np.array([[0.3, 0.9], [0.5, 0.8], [0.4, 0.6], [0.9, 0.2]])
    weights = np.array([[0, 1], [0.4, 0.6], [0.5, 0.5], [1, 0]])
    measures = ("relevance ndcg@10", "margin ndcg@10")
    return ParetoFront(("relevance", "margin"), measures, weights, values, np.array([0.1, 0.1]), list("abcd"))


def test_the_best_of_a_front(front):
    assert front.best(at_least={"relevance": 0.35}) == "b"
    assert front.best(at_least={"relevance": 0.5}) == "b"
    assert front.best(at_least={"margin": 0.7}) == "b"
    assert front.best(at_least={"margin": 0.1, "relevance": 0.1}, most="margin") == "a"
    assert front.best(at_least={}, most="relevance") == "d"
    with pytest.raises(ValueError, match=r"best of each goal are {'relevance': 0\.9000"):
        front.best(at_least={"relevance": 0.95})
    for wrong in ({"at_least": {"price": 1}}, {"at_least": {}}, {"at_least": {}, "most": "price"}):
        with pytest.raises(ValueError, match="'at_least' and 'most' must name goals, which are 'relevance'"):
            front.best(**wrong)


def test_a_front_of_errors_goes_the_other_way(front):
    signed = ParetoFront(
        front.goals, front.measures, front.weights, -front.values, -front.random, front.rankers, False
    )
    assert signed.on_front.tolist() == front.on_front.tolist() == [True, True, False, True]
    assert signed.hypervolume() == pytest.approx(front.hypervolume())
    assert signed.best(at_least={"relevance": -0.35}) == "b"


def test_the_picture_shows_what_is_dominated(front):
    axes = front.plot()
    lines = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert lines["front"] == [[0.3, 0.9], [0.5, 0.8], [0.9, 0.2]]
    assert lines["dominated"] == [[0.4, 0.6]]
    assert [text.get_text() for text in axes.texts] == ["0 : 1", "0.4 : 0.6", "0.5 : 0.5", "1 : 0"]
    assert axes.get_xlabel() == "relevance ndcg@10"
    assert front.plot("margin", "relevance", ax=axes) is axes
    with pytest.raises(ValueError, match="'x' and 'y' must name goals"):
        front.plot("price")


def test_what_makes_no_front_is_refused():
    X, Y, qid = make_goals(20, 0)
    ranker = LinearRanker(GOALS, max_iter=2)
    bounded = LambdaMART(Combined(GOALS.objectives, constraints={"margin": 0.5}))
    cases = [
        ((LambdaMART(), 3), {}, "'ranker' must be a ranker with several goals"),
        ((LightGBMRanker(), 3), {}, "'ranker' must be a ranker with several goals"),
        ((bounded, 3), {}, "'ranker' must have goals without constraints"),
        ((ranker, 1), {}, "'weights' must be at least 2 if it is a number; got 1"),
        ((ranker, []), {}, "'weights' must hold at least one weighting"),
        ((ranker, [(1, 2, 3)]), {}, "'weights' must hold one weight for each of the 2 goals"),
        ((ranker, 3), {"X_test": X}, "'X_test' must be given with 'y_test' and 'qid_test'"),
        ((ranker, 3), {"y_test": Y}, "must be given with 'X_test' only"),
    ]
    for given, options, message in cases:
        with pytest.raises(ValueError, match=message):
            pareto_front(*given, X, Y, qid, **options)
    with pytest.raises(ValueError, match="'qid' must be given, for queries to be held out"):
        pareto_front(ranker, 3, X, Y)
    with pytest.raises(TypeError, match="unexpected arguments 'init_score'"):
        pareto_front(ranker, 3, X, Y, qid, init_score=X[:, 0])


# ------------------------------------------------------------------------- the benchmark's small twin


def benchmark():
    path = Path(__file__).parents[1] / "benchmarks" / "several_goals.py"
    spec = importlib.util.spec_from_file_location("several_goals", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_benchmark_in_small(monkeypatch):
    module = benchmark()
    options = Namespace(queries=60, test_queries=100, trees=30, leaves=8, threads=1, jobs=1)
    options.all = options.points = False
    monkeypatch.setattr(module, "WEIGHTS", np.array([0.2, 0.5, 0.8]))
    lines = module.compare([100, 101], options)
    cells = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]] for line in lines}
    assert list(cells)[2:] == ["Combined", module.BASE, module.GAINS]
    assert cells[module.BASE][2] == cells[module.GAINS][3] == ""
    assert cells[module.BASE][4:] == ["100%", "100%"]
    assert cells["Combined"][2].startswith("2, hull")
    assert cells["Combined"][2].endswith("of 2")


def test_area_below_the_hull():
    module = benchmark()
    # Of two models half as far in between, less what the corner at 1 cuts off; a model below adds nothing.
    points = np.array([[3.0, 1.0], [1.0, 3.0], [2.0, 1.5], [0.5, 0.5]])
    assert module.hull_area(points, [1.0, 1.0]) == pytest.approx(2.0)
    assert hypervolume(points, [1.0, 1.0]) == pytest.approx(0.5)


def test_shares_of_models_that_are_dominated():
    module = benchmark()
    ours, theirs = np.array([[0.5, 0.5], [0.9, 0.1]]), np.array([[0.5, 0.4], [0.2, 0.6], [0.9, 0.1]])
    assert module.covered(theirs, ours) == 2 / 3
    assert module.covered(ours, theirs) == 1 / 2


def test_lightgbm_gets_mixed_labels_without_rounding(monkeypatch):
    module = benchmark()
    seen = {}

    class Dataset:
        def __init__(self, X, label, group):
            seen.update(label=label, group=group)

    class Booster:
        predict = None

    def train(params, rows, trees):
        seen["gain"] = np.array(params["label_gain"])
        return Booster

    monkeypatch.setattr(module.lgb, "Dataset", Dataset)
    monkeypatch.setattr(module.lgb, "train", train)
    Y = np.array([[2.0, 1.0], [0.0, 0.0], [1.0, 2.0], [4.0, 0.0]])
    rows = module.Goals(np.zeros((4, 1)), Y, np.array([1, 0, 0, 1]))
    options = Namespace(leaves=2, threads=1, trees=1)
    order = [1, 2, 0, 3]
    for mix_gains in (False, True):
        module.fit_lightgbm(rows, 0.75, options, mix_gains=mix_gains)
        mixed = 0.75 * (2 ** Y[:, 0] - 1) + 0.25 * (2 ** Y[:, 1] - 1)
        expected = mixed if mix_gains else 2 ** (0.75 * Y[:, 0] + 0.25 * Y[:, 1]) - 1
        np.testing.assert_allclose(seen["gain"][seen["label"]], expected[order])
        assert seen["group"].tolist() == [2, 2]
