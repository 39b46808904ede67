"""Plackett-Luce: values of R's model and of choix, brute force, derivatives, invariants, bad input."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from lambdamart_kit import BradleyTerry, PlackettLuce
from lambdamart_kit.preferences.strengths.ranking_likelihood import RankingModel
from lambdamart_kit.preferences.strengths.rankings import encode_rankings

TIED = [[0, 1, 2, 3], [1, [0, 2], 3], [2, 0, 3], [[0, 1], 2], [3, 1, 0]]
WIDE_TIES = [[0, [1, 2, 3], 4], [[4, 0], 1, 2, 3], [3, 4, 2, 1, 0], [[1, 2, 0], 4], [2, [3, 4]]]


def random_rankings(seed, n=200, n_items=6, length=None):
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=n_items)
    rankings = []
    for _ in range(n):
        among = rng.permutation(n_items)[: length or n_items]
        rankings.append(among[np.argsort(-(theta[among] + rng.gumbel(size=len(among))))].tolist())
    return rankings


def written_out(rankings, theta, log_delta):
    """Minus log-likelihood with every subset listed; `log_delta` by size of tie, {1: 0, 2: ...}."""
    largest = max(log_delta)

    def weight(subset):
        log_tie = log_delta.get(len(subset), -np.inf)
        return np.exp(log_tie + np.mean([theta[i] for i in subset]))

    loss = 0.0
    for ranking in rankings:
        groups = [group if isinstance(group, list) else [group] for group in ranking]
        left = [i for group in groups for i in group]
        for group in groups:
            if len(left) > 1:
                sizes = range(1, min(largest, len(left)) + 1)
                total = sum(weight(s) for k in sizes for s in itertools.combinations(left, k))
                loss -= np.log(weight(group) / total)
            left = [i for i in left if i not in group]
    return loss


def test_maximum_likelihood_with_ties():
    """BFGS, the MM algorithm of the R package and Newton agree on these values."""
    pl = PlackettLuce().fit(TIED)
    against_first = pl.strengths_ - pl.strengths_[0]
    np.testing.assert_allclose(
        against_first, [0, 0.958351023568, -0.125226205176, -1.595581296536], atol=1e-8
    )
    assert pl.tie_parameters_ == {2: pytest.approx(0.332925581296, abs=1e-8)}
    assert pl.loss_ == pytest.approx(13.271393108363, abs=1e-9)
    errors = np.sqrt(np.diagonal(pl.covariance(reference=0)))
    np.testing.assert_allclose(errors[1:], [1.048648116, 1.112560222, 1.377095221], atol=1e-7)
    coefficients = pl.coefficients()
    assert coefficients["term"].tolist() == ["log_tie_parameter_2"]
    assert coefficients["se"][0] == pytest.approx(0.825976717, abs=1e-7)
    assert coefficients["estimate"][0] == pytest.approx(np.log(0.332925581296), abs=1e-8)


def test_pseudo_comparisons_with_a_ghost():
    pl = PlackettLuce(n_pseudo=0.5).fit(TIED)
    worth = np.exp(pl.strengths_) / np.exp(pl.strengths_).sum()
    expected = [0.225693453985, 0.501853364018, 0.206084696157, 0.066368485840]
    np.testing.assert_allclose(worth, expected, atol=1e-9)
    assert pl.tie_parameters_[2] == pytest.approx(0.235517073795, abs=1e-9)
    assert pl.loss_ == pytest.approx(13.396410619690, abs=1e-9)


def test_likelihood_with_ties_of_any_size_written_out():
    model = RankingModel(encode_rankings(WIDE_TIES))
    assert model.tie_sizes.tolist() == [2, 3]
    at = np.random.default_rng(1).normal(size=model.n_parameters)
    expected = written_out(WIDE_TIES, at[:5], {1: 0.0, 2: at[5], 3: at[6]})
    assert model.derivatives(at).loss == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("n_pseudo", [0.0, 0.7])
@pytest.mark.parametrize(
    ("rankings", "alternatives"),
    [
        (TIED, None),
        (WIDE_TIES, None),
        (random_rankings(0, n=5), None),
        ([[0, 1, 2], [4, 3, 2, 1, 0], [2, 1]], [[0, 1, 2, 3, 4], range(5), [1, 2, 3]]),
        ([[[0, 1], 2], [3, 4]], [range(5), range(5)]),
    ],
)
def test_derivatives_by_central_differences(rankings, alternatives, n_pseudo):
    encoded = encode_rankings(rankings, alternatives, sample_weight=np.arange(1, len(rankings) + 1) / 2)
    model = RankingModel(encoded, n_pseudo)
    at = np.random.default_rng(2).normal(size=model.n_parameters)
    derivatives = model.derivatives(at)
    step = 1e-5
    for k, axis in enumerate(np.eye(model.n_parameters) * step):
        up, down = model.derivatives(at + axis), model.derivatives(at - axis)
        assert derivatives.gradient[k] == pytest.approx((up.loss - down.loss) / (2 * step), abs=1e-7)
        slope = (up.gradient - down.gradient) / (2 * step)
        np.testing.assert_allclose(derivatives.hessian[k], slope, atol=1e-7)
    scores = model.scores(derivatives)
    ghost = RankingModel(encoded, n_pseudo)._add_ghost(at, np.zeros(len(at)), np.zeros((len(at),) * 2))
    assert (ghost == 0.0) == (n_pseudo == 0.0)
    if n_pseudo == 0.0:
        np.testing.assert_allclose(encoded.weight @ scores, derivatives.gradient, atol=1e-12)
        np.testing.assert_allclose(scores[:, : model.n_items].sum(axis=1), 0.0, atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_equals_choix(seed):
    choix = pytest.importorskip("choix")
    rankings = random_rankings(seed, n=60, n_items=5 + seed % 4, length=None if seed % 2 else 4)
    n_items = 1 + max(map(max, rankings))
    expected = choix.ilsr_rankings(n_items, rankings, tol=1e-10, max_iter=1000)
    pl = PlackettLuce().fit(rankings)
    np.testing.assert_allclose(pl.strengths_, expected - expected.mean(), atol=1e-6)


def test_choices_of_the_best_equal_choix():
    choix = pytest.importorskip("choix")
    rng = np.random.default_rng(0)
    sets = [rng.permutation(6)[: rng.integers(2, 6)].tolist() for _ in range(300)]
    theta = rng.normal(size=6)
    best = [offered[int(np.argmax(theta[offered] + rng.gumbel(size=len(offered))))] for offered in sets]
    data = [(b, [i for i in offered if i != b]) for b, offered in zip(best, sets)]
    expected = choix.ilsr_top1(6, data, tol=1e-10, max_iter=1000)
    pl = PlackettLuce().fit([[b] for b in best], sets)
    np.testing.assert_allclose(pl.strengths_, expected - expected.mean(), atol=1e-6)


def test_rankings_of_two_are_bradley_terry():
    rng = np.random.default_rng(1)
    first = rng.integers(0, 5, 300)
    second = (first + rng.integers(1, 5, 300)) % 5
    outcome = rng.choice([0.0, 0.5, 1.0], 300, p=[0.3, 0.2, 0.5])
    pairs = np.column_stack([first, second])
    rankings = [[[a, b]] if o == 0.5 else ([a, b] if o == 1 else [b, a]) for (a, b), o in zip(pairs, outcome)]
    pl = PlackettLuce().fit(rankings, groups=np.arange(300) // 3)
    bt = BradleyTerry(ties="davidson").fit(pairs, outcome, groups=np.arange(300) // 3)
    np.testing.assert_allclose(pl.strengths_, bt.strengths_, atol=1e-8)
    assert pl.tie_parameters_[2] == pytest.approx(bt.tie_parameter_, abs=1e-8)
    assert pl.loss_ == pytest.approx(bt.loss_, abs=1e-8)
    for method in ("hessian", "sandwich", "clustered"):
        np.testing.assert_allclose(pl.covariance(method=method), bt.covariance(method=method), atol=1e-9)
        one, other = pl.coefficients(method=method), bt.coefficients(method=method)
        np.testing.assert_allclose(one["se"], other["se"], atol=1e-8)
    ours, theirs = pl.leaderboard(), bt.leaderboard()
    for column in ("item", "wins", "ties", "losses", "rank_lower", "rank_upper"):
        assert ours[column].tolist() == theirs[column].tolist()


def test_fit_is_the_minimum_of_the_written_out_likelihood():
    found = minimize(
        lambda p: written_out(WIDE_TIES, np.append(0.0, p[:4]), {1: 0.0, 2: p[4], 3: p[5]}),
        np.zeros(6),
        method="BFGS",
        options={"gtol": 1e-8},
    )
    pl = PlackettLuce().fit(WIDE_TIES)
    assert pl.loss_ == pytest.approx(found.fun, abs=1e-8)
    np.testing.assert_allclose(pl.strengths_[1:] - pl.strengths_[0], found.x[:4], atol=1e-4)
    np.testing.assert_allclose(np.log(list(pl.tie_parameters_.values())), found.x[4:], atol=1e-4)


def test_order_names_counts_and_weights():
    rankings = random_rankings(3, n=80)
    pl = PlackettLuce().fit(rankings)
    again = PlackettLuce().fit(rankings[::-1])
    np.testing.assert_allclose(again.strengths_, pl.strengths_, atol=1e-12)
    names = np.array(["f", "b", "a", "e", "d", "c"])
    renamed = PlackettLuce().fit([[str(names[i]) for i in r] for r in rankings])
    assert renamed.items_.tolist() == sorted(names)
    np.testing.assert_allclose(renamed.strengths_[np.argsort(np.argsort(names))], pl.strengths_, atol=1e-10)
    counts = np.random.default_rng(0).integers(1, 4, 80)
    repeated = PlackettLuce().fit([r for r, c in zip(rankings, counts) for _ in range(c)])
    counted = PlackettLuce().fit(rankings, counts=counts)
    weighted = PlackettLuce().fit(rankings, sample_weight=counts)
    for fitted in (counted, weighted):
        np.testing.assert_allclose(fitted.strengths_, repeated.strengths_, atol=1e-10)
    sandwich = repeated.covariance(method="sandwich")
    np.testing.assert_allclose(counted.covariance(method="sandwich"), sandwich, atol=1e-10)
    assert not np.allclose(weighted.covariance(method="sandwich"), sandwich, rtol=1e-3)


def test_table_of_ranks_and_arrays_are_the_same_rankings():
    rankings = [["a", "b", "c"], ["b", ["a", "c"]], ["c", "b"], ["c", "a", "b"]]
    table = pd.DataFrame({"a": [1, 2, np.nan, 2], "b": [2, 1, 20, 3], "c": [3, 2, 10, 1]})
    np.testing.assert_array_equal(
        PlackettLuce().fit(rankings).strengths_, PlackettLuce().fit(table).strengths_
    )
    array = np.array(random_rankings(4, n=40))
    np.testing.assert_array_equal(
        PlackettLuce().fit(array).strengths_, PlackettLuce().fit(array.tolist()).strengths_
    )


def test_unranked_alternatives_have_no_place():
    encoded = encode_rankings([["b", ["a", "c"]], ["d"]], [["a", "b", "c", "d"], ["c", "d", "a"]])
    assert encoded.items[encoded.item].tolist() == ["b", "a", "c", "d", "d", "c", "a"]
    assert encoded.place.tolist() == [0, 1, 1, -1, 0, -1, -1]


def test_predicted_choices_and_bootstrap():
    pl = PlackettLuce().fit(random_rankings(5, n=400), groups=np.repeat(np.arange(100), 4))
    (share,) = pl.predict_proba([[2, 0, 5]])
    worth = np.exp(pl.strengths_[[2, 0, 5]])
    np.testing.assert_allclose(share, worth / worth.sum())
    draws = pl.replicates(400, random_state=1)
    spread = np.sqrt(np.diagonal(pl.covariance(method="clustered")))
    np.testing.assert_allclose(draws.std(axis=0), spread, rtol=0.15)
    assert pl.leaderboard(method="bootstrap", scale=100, base=50)["strength"].mean() == pytest.approx(50)


def test_intervals_cover_the_truth():
    theta = np.array([1.5, 0.5, 0.0, -0.7, -1.3])
    covered = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        interval = PlackettLuce().fit(np.argsort(-(theta + rng.gumbel(size=(150, 5))))).confint()
        covered.append((interval[:, 0] <= theta) & (theta <= interval[:, 1]))
    assert np.mean(covered) == pytest.approx(0.95, abs=0.04)


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        (lambda: PlackettLuce().fit([]), "'rankings' must hold at least one"),
        (lambda: PlackettLuce().fit([[0, 1], []]), "empty rankings; row 1"),
        (lambda: PlackettLuce().fit([[0, 1], "ab"]), "one list of items each, best first; row 1 is 'ab'"),
        (lambda: PlackettLuce().fit([[0, 1], [2, 0, 2]]), "ranking 1 has 2 twice"),
        (lambda: PlackettLuce().fit([["a", None]]), "missing ids; ranking 0"),
        (lambda: PlackettLuce().fit([["a", "b"]], [["a"]]), "ranking 0 ranks 'b', which is no alternative"),
        (lambda: PlackettLuce().fit([["a"]], []), "one list for each of the 1 rankings; got 0"),
        (
            lambda: PlackettLuce().fit([[0, 1], [0, 2], [1, 2]]),
            "no finite strengths exist: .* set 'n_pseudo'",
        ),
        (lambda: PlackettLuce(n_pseudo=-1).fit([[0, 1]]), "'n_pseudo' must be finite and >= 0; got -1"),
        (lambda: PlackettLuce().fit([[0, 1], [1, 0]], groups=[0]), "one cluster id per row of 'rankings'"),
        (lambda: PlackettLuce().fit([[0, 1], [1, 0]], sample_weight=[1, -1]), "'sample_weight' .* row 1"),
        (lambda: PlackettLuce().fit(np.zeros((2, 2, 2))), r"'rankings' must have shape \(n, n_ranked\)"),
        (lambda: PlackettLuce().fit(TIED).predict_proba([[9]]), "unknown 9"),
    ],
)
def test_bad_input(fit, message):
    with pytest.raises(ValueError, match=message):
        fit()
