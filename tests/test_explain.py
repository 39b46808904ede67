"""Explanations against brute force, and against functions whose answer is known."""

from __future__ import annotations

import itertools
import math
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lambdamart_kit import (
    LambdaMART,
    LinearRanker,
    NeuralRanker,
    PointwiseRanker,
    PreferencePairs,
    RewardModel,
    XGBoostRanker,
)
from lambdamart_kit.explain import explain
from lambdamart_kit.explain.shapley import exact_values, sampled_values
from lambdamart_kit.metrics import ndcg

N_QUERIES = 30


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12 * N_QUERIES, 6)).astype(np.float32)
    X[:, 4] = np.repeat(rng.normal(size=N_QUERIES), 12)  # the same for all documents of a query
    signal = X[:, 0] + X[:, 1] * X[:, 2] + 0.5 * X[:, 3] + 0.7 * rng.normal(size=len(X))
    return SimpleNamespace(X=X, y=np.digitize(signal, [0.5, 1.5]), qid=np.repeat(np.arange(N_QUERIES), 12))


@pytest.fixture(scope="module")
def rankers(data):
    def fit(ranker):
        return ranker.fit(data.X, data.y, qid=data.qid)

    return {
        "native": fit(LambdaMART(n_estimators=15, num_leaves=8, min_child_samples=5, random_state=0)),
        "xgboost": fit(XGBoostRanker(n_estimators=10, num_leaves=8, random_state=0)),
        "linear": fit(LinearRanker(random_state=0)),
        "pointwise": fit(PointwiseRanker(random_state=0)),
        "bags": fit(LambdaMART(n_estimators=5, num_leaves=8, n_bags=3, random_state=0)),
        "neural": fit(NeuralRanker(hidden_layer_sizes=(8,), max_iter=20, random_state=0)),
    }


RANKERS = ["native", "xgboost", "linear", "pointwise", "bags", "neural"]


# ------------------------------------------------------------------------------------------------- games


def brute_force(v, n):
    phi = np.zeros(n)
    for order in itertools.permutations(range(n)):
        for at, i in enumerate(order):
            phi[i] += v(frozenset(order[: at + 1])) - v(frozenset(order[:at]))
    return phi / math.factorial(n)


def random_game(seed, n=5):
    table = dict(
        zip(
            (frozenset(S) for size in range(n + 1) for S in itertools.combinations(range(n), size)),
            np.random.default_rng(seed).normal(size=2**n),
        )
    )
    return table, lambda masks, draw=0: np.array([table[frozenset(np.flatnonzero(m))] for m in masks])


def test_exact_values_are_shapleys():
    table, game = random_game(0)
    found = exact_values(game, 5)
    assert found.values == pytest.approx(brute_force(table.__getitem__, 5), abs=1e-12)
    assert found.values.sum() == pytest.approx(found.everybody - found.nobody, abs=1e-12)


def test_the_error_of_samples_shrinks_with_their_root():
    table, game = random_game(1)
    truth = brute_force(table.__getitem__, 5)

    def error(n_samples):
        errors = [
            sampled_values(game, 5, n_samples=n_samples, rng=np.random.default_rng(s)).values - truth
            for s in range(30)
        ]
        return np.sqrt(np.mean(np.square(errors)))

    # Sixteen times the samples: a fourth of the error, give or take what 30 repetitions leave open.
    assert 3.0 < error(20) / error(320) < 5.3


def test_stated_errors_are_the_real_ones():
    table, game = random_game(2)
    truth = brute_force(table.__getitem__, 5)
    found = [sampled_values(game, 5, n_samples=60, rng=np.random.default_rng(s)) for s in range(60)]
    z = np.array([(f.values - truth) / f.standard_errors for f in found])
    assert 0.8 < z.std() < 1.25


# ------------------------------------------------------------------------------------------------- pairs


@pytest.mark.parametrize("method", [None, "contributions", "interventional"])
@pytest.mark.parametrize("name", RANKERS)
def test_pairs_sum_to_the_gap(data, rankers, name, method):
    ranker = rankers[name]
    why = ranker.explain(data.X, qid=data.qid)
    if name == "neural" and method == "contributions":
        with pytest.raises(ValueError, match="must be 'interventional' for NeuralRanker"):
            why.pair(3, 8, method=method)
        return
    pair = why.pair(3, 8, method=method)
    scores = ranker.predict(data.X)
    tolerance = 1e-5 if name == "xgboost" else 1e-9  # XGBoost adds leaves up in float32
    assert pair.gap == pytest.approx(scores[3] - scores[8], abs=1e-12)
    assert pair.attributions.sum() == pytest.approx(pair.gap, abs=tolerance)
    assert pair.exact
    expected = "interventional" if name == "neural" else "contributions"
    assert pair.method == (method or expected)
    assert why.pair(8, 3, method=method).attributions == pytest.approx(-pair.attributions, abs=1e-9)


@pytest.mark.parametrize("name", RANKERS)
def test_against_the_other_row_is_brute_force(data, rankers, name):
    ranker = rankers[name]
    a, b = data.X[5], data.X[17]

    def v(S):
        mixed = np.array([a[j] if j in S else b[j] for j in range(6)])[None]
        return ranker.predict(mixed)[0]

    pair = ranker.explain(data.X).pair(5, 17, method="interventional")
    assert pair.attributions == pytest.approx(
        brute_force(cache(v), 6), abs=1e-5 if name == "xgboost" else 1e-9
    )


def test_linear_pairs_have_a_closed_form(data, rankers):
    linear = rankers["linear"]
    why = linear.explain(data.X)
    expected = linear.coef_ * (data.X[2].astype(float) - data.X[9])
    for method in ("contributions", "interventional"):
        assert why.pair(2, 9, method=method).attributions == pytest.approx(expected, abs=1e-6)


def test_many_differing_features_are_sampled_and_sum():
    X = np.random.default_rng(0).normal(size=(2, 14))
    pair = explain(SimpleNamespace(predict=lambda X: np.prod(1 + X, axis=1)), X).pair(0, 1, n_samples=50)
    assert not pair.exact
    assert "sampled" in repr(pair)
    assert pair.attributions.sum() == pytest.approx(pair.gap, abs=1e-9)


# ------------------------------------------------------------------------------------------------- lists


def list_game(ranker, data, q, k):
    """The game that lists are explained by, written out: mean NDCG over all background documents."""
    rows, labels = data.X[data.qid == q], data.y[data.qid == q]

    def v(S):
        values = []
        for b in rows:
            mixed = rows.copy()
            unknown = [j for j in range(6) if j not in S]
            mixed[:, unknown] = b[unknown]
            values.append(ndcg(labels, np.round(ranker.predict(mixed), 9), k=k))
        return np.mean(values)

    return v


@pytest.mark.parametrize("name", ["native", "linear"])
def test_lists_are_brute_force_up_to_sampling(data, rankers, name):
    v = list_game(rankers[name], data, 4, 5)
    truth = brute_force(cache(v), 6)
    why = rankers[name].explain(data.X, qid=data.qid, y=data.y)
    found = why.list(4, k=5, n_samples=300)
    assert found.attributions == pytest.approx(truth, abs=5 * found.standard_errors.max())
    assert found.standard_errors.max() < 0.05
    assert found.value == pytest.approx(v(range(6)), abs=1e-9)
    assert found.random_value == pytest.approx(v(()), abs=1e-9)


def test_the_error_of_lists_shrinks_with_the_root(data, rankers):
    v = list_game(rankers["linear"], data, 4, 5)
    truth = brute_force(cache(v), 6)

    def error(n_samples):
        whys = [rankers["linear"].explain(data.X, data.qid, data.y, random_state=s) for s in range(10)]
        found = [why.list(4, k=5, n_samples=n_samples).attributions - truth for why in whys]
        return np.sqrt(np.mean(np.square(found)))

    assert 2.4 < error(16) / error(256) < 6.0


@pytest.mark.parametrize("of", ["metric", "agreement"])
@pytest.mark.parametrize("name", RANKERS)
def test_lists_add_up_and_know_dummies(data, rankers, name, of):
    found = rankers[name].explain(data.X, qid=data.qid, y=data.y).list(7, k=5, n_samples=10, of=of)
    assert found.attributions.sum() == pytest.approx(found.value - found.random_value, abs=1e-9)
    assert found.attributions[4] == 0.0  # the same for all documents of the query
    if of == "agreement":
        assert (found.value, found.random_value) == pytest.approx((1.0, 0.0))
        assert found.measure == "agreement@5"


def test_features_that_do_the_same_share_equally():
    rng = np.random.default_rng(0)
    column = rng.normal(size=(20, 1))
    X = np.hstack([column, column, rng.normal(size=(20, 1))])
    both = SimpleNamespace(predict=lambda X: X[:, 0] + X[:, 1])
    why = explain(both, X, y=(column[:, 0] > 0).astype(int))
    found = why.list(0, n_samples=400)
    assert found.attributions[0] == pytest.approx(found.attributions[1], abs=4 * found.standard_errors[0])
    assert found.attributions[2] == 0.0


def test_same_seed_same_answer_whatever_was_asked_before(data, rankers):
    one = rankers["native"].explain(data.X, qid=data.qid, y=data.y)
    other = rankers["native"].explain(data.X, qid=data.qid, y=data.y)
    other.interactions()
    other.list(1, n_samples=4)
    assert np.array_equal(one.list(3, n_samples=8).attributions, other.list(3, n_samples=8).attributions)


# ------------------------------------------------------------------------------------------- all queries


def test_importance_is_the_loss_of_the_metric(data, rankers):
    ranker = rankers["native"]
    groups = np.where(data.qid < 10, "first", "other")
    found = ranker.explain(data.X, data.qid, data.y).importance(n_repeats=3, groups=groups)
    assert found.value == pytest.approx(ranker.score(data.X, data.y, qid=data.qid))
    assert found.top[0] in (0, 1, 2)
    assert found.losses[4] == 0.0  # exchanging equal values changes nothing
    table = found.by_group()
    assert table["first"].to_numpy() == pytest.approx(found.per_query[:10].mean(axis=0))
    # Rows in another order are the same queries.
    order = np.random.default_rng(1).permutation(len(data.X))
    moved = ranker.explain(data.X[order], data.qid[order], data.y[order]).importance(n_repeats=1)
    assert moved.value == pytest.approx(found.value)


def test_a_feature_that_says_only_which_query_has_no_importance(data):
    by_query = SimpleNamespace(predict=lambda X: X[:, 0] + 100 * X[:, 4])
    found = explain(by_query, data.X, data.qid, data.y).importance()
    assert found.losses[0] > 0.05
    assert not found.losses[1:].any()


def test_effects_of_a_sum_are_its_terms(data):
    additive = SimpleNamespace(predict=lambda X: np.sin(2 * X[:, 0].astype(float)) + X[:, 1] + 9 * X[:, 4])
    why = explain(additive, data.X, data.qid)
    found = why.effect(0)
    expected = np.sin(2 * found.grid)
    assert found.effect - found.effect[0] == pytest.approx(expected - expected[0], abs=1e-9)
    assert found.standard_errors == pytest.approx(0.0, abs=1e-9)
    # Where all queries reach all values, a surface is the sum of the two terms, too.
    rng = np.random.default_rng(0)
    X = np.stack(
        [rng.permuted(np.tile(np.arange(12.0), (N_QUERIES, 1)), axis=1).ravel() for _ in range(6)], 1
    )
    joint = explain(additive, X, data.qid).effect("f1", "f2", n_points=5)
    surface = np.sin(2 * joint.first_grid)[:, None] + joint.second_grid
    difference = joint.effect - surface
    assert (joint.n_queries == N_QUERIES).all()
    assert difference == pytest.approx(np.full(difference.shape, difference[0, 0]), abs=1e-9)


def test_interactions_are_zero_just_without_a_common_term(data):
    model = SimpleNamespace(predict=lambda X: X[:, 0].astype(float) * X[:, 1] + X[:, 2] ** 2 + X[:, 3])
    found = explain(model, data.X, data.qid).interactions([0, 1, 2, 3]).to_frame()
    assert found.loc[0, ["first", "second"]].tolist() == ["f1", "f2"]
    # E (x0 - z0)^2 (x1 - z1)^2 / 4 = 1 for independent standard normal values.
    assert found.loc[0, "strength"] == pytest.approx(1.0, abs=0.25)
    assert (found["strength"][1:] == 0).all()


def test_monotone_says_which_way(data):
    model = SimpleNamespace(predict=lambda X: X[:, 0] - 2.0 * X[:, 1] + X[:, 2].astype(float) ** 2)
    found = explain(model, data.X, data.qid).monotone()
    assert found.direction.tolist() == ["increasing", "decreasing", "mixed", "none", "none", "none"]
    constrained = XGBoostRanker(n_estimators=10, monotone_constraints=[1, 0, 0, 0, 0, 0], random_state=0)
    constrained.fit(data.X, data.y, qid=data.qid)
    assert constrained.explain(data.X, data.qid).monotone().direction[0] == "increasing"


# ------------------------------------------------------------------------------------- other models, frames


def test_pipelines_explain_their_last_step(data, rankers):
    frame = pd.DataFrame(data.X, columns=list("abcdef"))
    pipeline = make_pipeline(StandardScaler(), LambdaMART(n_estimators=5, random_state=0))
    pipeline.fit(frame, data.y, lambdamart__qid=data.qid)
    pair = explain(pipeline, frame, data.qid).pair(0, 1)
    assert pair.feature_names == tuple("abcdef")
    scores = pipeline.predict(frame)
    assert pair.attributions.sum() == pytest.approx(scores[0] - scores[1], abs=1e-9)
    with pytest.raises(TypeError, match="'model' must have a method 'predict'"):
        explain(object(), data.X)


def test_frames_with_categories(data):
    frame = pd.DataFrame(data.X, columns=list("abcdef"))
    frame["kind"] = pd.Categorical(np.where(data.y > 0, "good", "bad"))
    ranker = LambdaMART(n_estimators=5, random_state=0).fit(frame, data.y, qid=data.qid)
    why = ranker.explain(frame, qid=data.qid, y=data.y)
    best, worst = int(np.argmax(data.y)), int(np.argmin(data.y))
    assert why.pair(best, worst).top[0] == 6
    assert why.list(2, n_samples=20).to_frame()["feature"][0] == "kind"


@pytest.mark.parametrize(
    "settings",
    [{"scorer": "linear"}, {"n_bags": 2, "n_estimators": 20}, {"scorer": LinearRanker()}],
    ids=["linear", "trees", "ranker"],
)
@pytest.mark.parametrize("nuisance", [None, [2]])
def test_why_a_response_was_preferred(settings, nuisance):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    better = X[::2, 0] + 0.5 * X[::2, 1] > X[1::2, 0] + 0.5 * X[1::2, 1] + 0.3 * rng.logistic(size=150)
    first = np.arange(0, 300, 2)
    pairs = PreferencePairs.from_indices(X, first + ~better, first + better)
    rm = RewardModel(nuisance=nuisance, random_state=0, **settings).fit_pairs(pairs)
    assert rm.explain_pair(pairs, 7).feature_names == ("f1", "f2", "f3", "f4")
    margin = rm.score_pairs(pairs)["score_margin"]
    for method in ("contributions", "interventional"):
        found = rm.explain_pair(pairs, 7, method=method)
        assert found.gap == pytest.approx(margin[7], abs=1e-9)
        assert found.attributions.sum() == pytest.approx(margin[7], abs=1e-6)
        if nuisance:
            assert found.attributions[2] == 0.0
    with pytest.raises(ValueError, match=r"'k' must be the number of a pair, 0 \.\. 149"):
        rm.explain_pair(pairs, 150)


# ------------------------------------------------------------------------------------------- what is shown


def test_untrusted_names_are_shown_as_text(data):
    frame = pd.DataFrame(data.X, columns=["<script>x</script>", "\x1b[31mred", "$a$", "d", "e", "f"])
    ranker = LinearRanker().fit(frame, data.y, qid=data.qid)
    pair = ranker.explain(frame, qid=data.qid).pair(0, 1)
    assert "\x1b" not in repr(pair)
    assert "<script>" not in pair._repr_html_()
    assert "&lt;script&gt;" in pair._repr_html_()


def test_every_answer_has_a_table_and_a_picture(data, rankers, tmp_path):
    pytest.importorskip("matplotlib")
    why = rankers["native"].explain(data.X, qid=data.qid, y=data.y)
    asked = [("importance",), ("pair", 0, 1), ("list", 3), ("effect", 0), ("effect", 0, 1), ("interactions",)]
    for kind, *arguments in [*asked, ("monotone",)]:
        answer = getattr(why, kind)(*arguments)
        assert len(answer.to_frame())
        assert len(repr(answer).splitlines()) > 2
        axes = why.plot(kind, *arguments)
        assert axes.get_title(loc="left")
        axes.figure.savefig(tmp_path / "why.png")
    assert "with labels" in repr(why)


def test_queries_that_say_nothing():
    first = SimpleNamespace(predict=lambda X: X[:, 0])
    why = explain(first, np.eye(5), qid=["a", "b", "b", "b", "b"], y=[1, 0, 0, 0, 0])
    assert not why.list("a").attributions.any()  # one document has one order
    with pytest.raises(ValueError, match="query 'b' must have a relevant document"):
        why.list("b")
    found = why.importance()
    assert not found.losses.any()
    assert np.isnan(found.standard_errors).all()  # of one query that counts
    blank = explain(first, np.eye(5), y=np.zeros(5))
    with pytest.raises(ValueError, match="'y' must have a relevant document in at least one query"):
        blank.importance()


def test_mistakes_are_named(data, rankers):
    why = rankers["native"].explain(data.X, qid=data.qid)
    with pytest.raises(ValueError, match=r"'i' must be the number of a row, 0 \.\. 359; got 360"):
        why.pair(360, 0)
    with pytest.raises(ValueError, match="'q' must be the id of a query"):
        why.list("no such query")
    with pytest.raises(ValueError, match="'y' must be given to 'explain' for importance"):
        why.importance()
    with pytest.raises(ValueError, match="'method' must be"):
        why.pair(0, 1, method="shap")
    with pytest.raises(ValueError, match="'kind' must be one of"):
        why.plot("tree")
    with pytest.raises(ValueError, match="'feature' must be one of the 6 features"):
        why.effect("nothing")
    with pytest.raises(ValueError, match="'y' must hold a label"):
        rankers["native"].explain(data.X, y=[1])
    labelled = rankers["native"].explain(data.X, data.qid, data.y)
    with pytest.raises(ValueError, match="'groups' must be the same for all rows of a query"):
        labelled.importance(groups=np.arange(len(data.X)))
    with pytest.raises(ValueError, match="'groups' must be given to 'importance'"):
        labelled.importance(n_repeats=1).by_group()
