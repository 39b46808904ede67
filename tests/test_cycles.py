"""Hodge decomposition of comparison graphs and tests of a single scale, against written-out algebra."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import chi2

from lambdamart_kit import BradleyTerry
from lambdamart_kit.preferences.strengths import cycles
from lambdamart_kit.preferences.strengths.comparisons import Comparisons
from lambdamart_kit.preferences.strengths.cycles import hodge_decomposition
from lambdamart_kit.preferences.strengths.goodness import _cells, _with_ties
from lambdamart_kit.preferences.strengths.ties import TIE_MODELS

WINS = np.array([[0, 12, 3, 8], [4, 0, 11, 7], [9, 5, 0, 10], [6, 5, 4, 0]])  # row beats column


def votes_of(wins):
    rows, columns = np.nonzero(wins)
    return np.column_stack([rows, columns]), wins[rows, columns]


def fitted(wins, **options):
    pairs, counts = votes_of(wins)
    return BradleyTerry(**options).fit(pairs, counts=counts)


def random_graph(seed, n_items=9, density=0.5):
    rng = np.random.default_rng(seed)
    first, second = np.triu_indices(n_items, 1)
    kept = rng.random(len(first)) < density
    kept[0] = True
    first, second = first[kept], second[kept]
    return first, second, rng.normal(size=len(first)), rng.random(len(first)) * 5 + 0.1, n_items


def test_flow_with_triangles():
    flow, weight = np.array([1.0, 2, -1, 3, 1]), np.array([4.0, 2, 1, 3, 2])
    h = hodge_decomposition(np.array([0, 0, 0, 1, 2]), np.array([1, 2, 3, 2, 3]), flow, weight)
    expected = [-1.0434782609, -0.8260869565, 1.1304347826, 0.7391304348]
    np.testing.assert_allclose(h.strengths, expected, atol=1e-10)
    parts = [h.squared(part) for part in (h.flow, h.gradient, h.curl, h.harmonic)]
    np.testing.assert_allclose(parts, [42, 24.608695652174, 17.391304347826, 0], atol=1e-11)
    assert h.cyclicity == pytest.approx(0.414078674948, abs=1e-12)
    worst = h.worst_cycles()
    assert worst["log_odds"].tolist() == pytest.approx([4, 2])
    assert worst["cycle"].tolist() == ["0 > 3 > 2 > 0", "0 > 2 > 1 > 0"]
    np.testing.assert_allclose(
        worst["z"], [4 / np.sqrt(1 / 2 + 1 / 2 + 1), 2 / np.sqrt(1 / 4 + 1 / 3 + 1 / 2)]
    )


def test_flow_round_a_square_is_harmonic():
    flow, weight = np.array([2.0, 1, 0.5, 1.5]), np.array([1.0, 2, 3, 1])
    h = hodge_decomposition(np.array([0, 0, 1, 2]), np.array([1, 3, 2, 3]), flow, weight)
    expected = [-0.889705882353, 0.051470588235, 0.198529411765, 0.639705882353]
    np.testing.assert_allclose(h.strengths, expected, atol=1e-12)
    parts = [h.squared(part) for part in (h.flow, h.gradient, h.curl, h.harmonic)]
    np.testing.assert_allclose(parts, [9, 5.823529411765, 0, 3.176470588235], atol=1e-11)
    assert h.cyclicity == pytest.approx(0.352941176471, abs=1e-12)
    assert h.worst_cycles()["cycle"].tolist() == ["0 > 3 > 2 > 1 > 0"]
    assert h.worst_cycles()["log_odds"][0] == pytest.approx(2 + 0.5 + 1.5 - 1)


@pytest.mark.parametrize("scale", [0.0, 1e-9, 1e-3, 1e9])
def test_shares_do_not_depend_on_the_scale_of_weights(scale):
    first, second, flow, weight, n_items = random_graph(3)
    h = hodge_decomposition(first, second, flow, weight, np.arange(n_items))
    scaled = hodge_decomposition(first, second, flow * np.sqrt(scale), weight, np.arange(n_items))
    assert 0.0 < h.cyclicity < 1.0
    assert scaled.cyclicity == pytest.approx(h.cyclicity if scale else 0.0, rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 1.0))
def test_parts_are_orthogonal_and_add_up(seed, density):
    first, second, flow, weight, n_items = random_graph(seed, density=density)
    h = hodge_decomposition(first, second, flow, weight, np.arange(n_items))
    np.testing.assert_allclose(h.gradient + h.curl + h.harmonic, flow, atol=1e-10)
    for one, other in ((h.gradient, h.curl), (h.gradient, h.harmonic), (h.curl, h.harmonic)):
        assert abs(np.sum(weight * one * other)) < 1e-10
    squares = sum(h.squared(part) for part in (h.gradient, h.curl, h.harmonic))
    assert squares == pytest.approx(h.squared(flow), abs=1e-10)
    # The curl part is the projection on the flows round triangles, written out.
    triangles = [
        (i, j, k)
        for i in range(n_items)
        for j in range(i, n_items)
        for k in range(j, n_items)
        if {(i, j), (j, k), (i, k)} <= set(zip(first.tolist(), second.tolist()))
    ]
    assert sorted(map(tuple, h.triangles.tolist())) == triangles
    at = {pair: e for e, pair in enumerate(zip(first.tolist(), second.tolist()))}
    C = np.zeros((len(triangles), len(first)))
    for t, (i, j, k) in enumerate(triangles):
        C[t, at[i, j]], C[t, at[j, k]], C[t, at[i, k]] = 1, 1, -1
    root = np.sqrt(weight)
    A = (C / root).T
    projected = A @ np.linalg.pinv(A, rcond=1e-10) @ (root * (h.curl + h.harmonic)) / root
    np.testing.assert_allclose(h.curl, projected, atol=1e-9)


def test_large_graphs_take_the_sparse_ways_to_the_same_parts(monkeypatch):
    first, second, flow, weight, n_items = random_graph(3, n_items=40, density=0.25)
    dense = hodge_decomposition(first, second, flow, weight, np.arange(n_items))
    assert 0.01 < dense.shares["harmonic"] < 0.99
    monkeypatch.setattr(cycles, "_DENSE_ITEMS", 10)
    for limit in ("_EIGEN_PAIRS", "_RIDGE_PAIRS"):
        monkeypatch.setattr(cycles, limit, 10)
        sparse = hodge_decomposition(first, second, flow, weight, np.arange(n_items))
        np.testing.assert_allclose(sparse.strengths, dense.strengths, atol=1e-9)
        np.testing.assert_allclose(sparse.curl, dense.curl, atol=1e-7)
    monkeypatch.setattr(cycles, "MOST_TRIANGLES", 10)
    whole = hodge_decomposition(first, second, flow, weight, np.arange(n_items))
    assert not whole.separated
    assert np.isnan(whole.shares["curl"])
    assert whole.cyclicity == pytest.approx(dense.cyclicity)
    assert len(whole.worst_cycles()) > 0


def test_components_apart_and_order_of_pairs():
    first, second = np.array([3, 0, 0, 1]), np.array([4, 2, 1, 2])
    h = hodge_decomposition(first, second, np.array([2.0, -1, 1, 1]), np.ones(4), np.array(list("abcde")))
    assert h.strengths[:3].sum() == pytest.approx(0)
    np.testing.assert_allclose(h.strengths[3:], [-1, 1])
    assert h.worst_cycles()["cycle"].tolist() == ["a > c > b > a"]
    assert h.squared(h.cyclic) == pytest.approx(3)


def test_rock_paper_scissors_are_not_three_equal_players():
    games = [["rock", "scissors"], ["scissors", "paper"], ["paper", "rock"]] * 100
    bt = BradleyTerry().fit(games, [1] * 290 + [0] * 10)
    assert np.abs(bt.strengths_).max() < 0.02
    fit = bt.goodness_of_fit(n_replicates=99)
    assert fit.degrees_of_freedom == 1
    assert fit.rejects()
    assert fit.p_value < 1e-50
    assert fit.p_bootstrap == pytest.approx(0.01)
    assert fit.hodge.shares["curl"] > 0.98
    assert "does not describe" in str(fit)
    assert f"score test {fit.score:.1f} on 1 degree of freedom, p = " in fit.describe()
    assert " on 3 degrees of freedom, p = " in fitted(WINS).goodness_of_fit(n_replicates=0).describe()
    assert fit.hodge.worst_cycles()["cycle"].tolist() == ["paper > rock > scissors > paper"]


def test_four_items_with_published_counts():
    """Values computed apart: Q, its share, and the asymptotic and bootstrap probabilities."""
    fit = fitted(WINS).goodness_of_fit(n_replicates=2000)
    assert fit.cyclic_flow == pytest.approx(8.537393848243, abs=1e-9)
    assert fit.hodge.cyclicity == pytest.approx(0.786149390896, abs=1e-10)
    assert fit.degrees_of_freedom == 3
    assert chi2.sf(fit.cyclic_flow, 3) == pytest.approx(0.0361, abs=5e-5)
    assert fit.p_bootstrap == pytest.approx(0.015, abs=0.008)


def test_likelihood_ratio_written_out():
    bt = fitted(WINS)
    p = 1 / (1 + np.exp(bt.strengths_[None, :] - bt.strengths_[:, None]))
    observed = WINS / np.maximum(WINS + WINS.T, 1)
    played = WINS > 0
    ratio = 2 * np.sum(WINS[played] * np.log(observed[played] / p[played]))
    fit = bt.goodness_of_fit(n_replicates=0)
    assert fit.likelihood_ratio == pytest.approx(ratio, abs=1e-9)
    assert fit.p_likelihood_ratio == pytest.approx(chi2.sf(ratio, 3), abs=1e-12)
    assert np.isnan(fit.p_bootstrap)


def test_score_statistic_written_out():
    bt = fitted(WINS)
    p = 1 / (1 + np.exp(bt.strengths_[None, :] - bt.strengths_[:, None]))
    excess = variance = 0.0
    squares, information, leverages = [], [], []
    covariance = bt.covariance()
    for i in range(4):
        for j in range(i + 1, 4):
            votes = np.repeat([1.0, 0.0], [WINS[i, j], WINS[j, i]]) - p[i, j]
            V = len(votes) * p[i, j] * (1 - p[i, j])
            products = np.outer(votes, votes)
            excess += (products.sum() - np.trace(products)) / V
            variance += 2 * ((products**2).sum() - (np.diag(products) ** 2).sum()) / V**2
            squares.append(np.trace(products))
            information.append(V)
            spread = covariance[i, i] + covariance[j, j] - 2 * covariance[i, j]
            leverages.append(V * spread * (1 - 1 / len(votes)))
    effect = np.mean(np.array(squares) / information)
    expected = 3 + (excess + effect * np.sum(leverages)) * np.sqrt(2 * 6 / variance)
    fit = bt.goodness_of_fit(n_replicates=0)
    assert fit.score == pytest.approx(expected, abs=1e-9)
    assert fit.design_effect == pytest.approx(effect)
    assert fit.p_value == pytest.approx(chi2.sf(expected, 3))
    pearson = sum(
        (WINS[i, j] - (WINS[i, j] + WINS[j, i]) * p[i, j]) ** 2
        / ((WINS[i, j] + WINS[j, i]) * p[i, j] * (1 - p[i, j]))
        for i in range(4)
        for j in range(i + 1, 4)
    )
    assert fit.score == pytest.approx(pearson, rel=0.05)


@pytest.mark.parametrize("ties", ["davidson", "rao-kupper"])
def test_free_pairs_with_ties_written_out(ties):
    """Three pairs, an order effect in both models: the larger model is fitted by hand."""
    pairs = np.array([[0, 1], [1, 2], [2, 0], [1, 0]])
    counts = np.array([[5, 3, 4], [6, 2, 3], [7, 3, 2], [3, 2, 5]])  # wins, ties, losses of the first
    rows = np.repeat(np.arange(4), 3)
    outcomes = np.tile([1, 0.5, 0], 4)
    bt = BradleyTerry(ties=ties, order_effect=True).fit(pairs[rows], outcomes, counts=counts.ravel())
    model = TIE_MODELS[ties]

    def loss(x):  # log-odds of 01, 12, 20, order effect, tie parameter
        eta = np.array([x[0], x[1], x[2], -x[0]]) + x[3]
        lost, tied, won = model.probabilities(eta, x[4] if ties == "davidson" else np.exp(x[4])).T
        return -np.sum(counts * np.log(np.column_stack([won, tied, lost])))

    best = minimize(loss, np.full(5, 0.1), method="BFGS", options={"gtol": 1e-7}).fun
    fit = bt.goodness_of_fit(n_replicates=0)
    assert fit.degrees_of_freedom == 1
    assert fit.likelihood_ratio == pytest.approx(2 * (bt.loss_ - best), abs=1e-5)


def simulated_p_values(n_sets, *, bootstrap, order=0.0):
    rng = np.random.default_rng(0)
    theta = np.array([1.0, 0.4, 0.0, -0.5, -0.9])
    first, second = np.triu_indices(5, 1)
    values = []
    for _ in range(n_sets):
        eta = np.repeat(theta[first] - theta[second], 12) + order
        won = (rng.random(120) < 1 / (1 + np.exp(-eta))).astype(float)
        pairs = np.column_stack([np.repeat(first, 12), np.repeat(second, 12)])
        bt = BradleyTerry(prior=1e-6, order_effect=order != 0.0).fit(pairs, won)
        fit = bt.goodness_of_fit(n_replicates=bootstrap)
        values.append(fit.p_bootstrap if bootstrap else fit.p_value)
    return np.array(values)


def test_p_values_of_a_true_scale_are_uniform():
    for options in ({"bootstrap": 0}, {"bootstrap": 30, "order": 0.7}):
        values = simulated_p_values(40, **options)
        assert 0.35 < values.mean() < 0.65
        assert np.mean(values < 0.1) < 0.25


def test_prior_does_not_look_like_lack_of_fit():
    strong = BradleyTerry(prior=50.0).fit(*[votes_of(WINS)[0]], counts=votes_of(WINS)[1])
    plain = fitted(WINS)
    one, other = (bt.goodness_of_fit(n_replicates=0) for bt in (strong, plain))
    assert one.likelihood_ratio == pytest.approx(other.likelihood_ratio, abs=1e-5)


def test_votes_that_hang_together_are_allowed_for():
    """Every vote cast ten times over by one group: the copies say nothing more than the first."""
    rng = np.random.default_rng(3)
    theta = np.array([0.8, 0.3, 0.0, -0.4, -0.7])
    rejected = {"alone": 0, "grouped": 0}
    p_values = []
    for _ in range(30):
        first, second = np.repeat(np.triu_indices(5, 1), 15, axis=1)
        won = (rng.random(150) < 1 / (1 + np.exp(theta[second] - theta[first]))).astype(float)
        pairs = np.repeat(np.column_stack([first, second]), 10, axis=0)
        groups = np.repeat(np.arange(150), 10)
        fits = {
            "alone": BradleyTerry().fit(pairs, np.repeat(won, 10)),
            "grouped": BradleyTerry().fit(pairs, np.repeat(won, 10), groups=groups),
        }
        for name, bt in fits.items():
            rejected[name] += bt.goodness_of_fit(n_replicates=0).rejects()
        p_values.append(fits["grouped"].goodness_of_fit(n_replicates=0).p_value)
        once = BradleyTerry().fit(np.column_stack([first, second]), won).goodness_of_fit(n_replicates=0)
        assert p_values[-1] == pytest.approx(once.p_value, abs=0.05)
    assert rejected["alone"] >= 28
    assert rejected["grouped"] <= 2
    assert 0.3 < np.mean(p_values) < 0.7


def test_few_votes_a_pair_and_many_pairs_do_not_look_like_cycles():
    """Seven votes a pair: the likelihood ratio refutes the true scale, the score test does not."""
    rng = np.random.default_rng(0)
    theta = rng.normal(size=60)
    first, second = np.repeat(np.triu_indices(60, 1), 7, axis=1)
    won = (rng.random(len(first)) < 1 / (1 + np.exp(theta[second] - theta[first]))).astype(float)
    fit = BradleyTerry().fit(np.column_stack([first, second]), won).goodness_of_fit(n_replicates=0)
    assert fit.p_likelihood_ratio < 1e-3
    assert fit.p_value > 0.05
    once = BradleyTerry(prior=1.0).fit(np.column_stack([first, second])[::7], won[::7])
    assert "No two independent votes" in str(once.goodness_of_fit(n_replicates=0))


def test_half_ties_do_not_hide_cycles():
    """A tie counted as half a win varies less than a win or a loss: the ratio is divided by what it does."""
    rng = np.random.default_rng(4)
    values = []
    for _ in range(40):
        first, second = np.repeat(np.triu_indices(4, 1), 60, axis=1)
        outcomes = np.where(rng.random(360) < 0.5, 0.5, rng.integers(0, 2, 360))
        fit = BradleyTerry().fit(np.column_stack([first, second]), outcomes).goodness_of_fit(n_replicates=0)
        assert fit.design_effect == pytest.approx(0.5, abs=0.12)
        values.append(fit.p_value)
    assert 0.35 < np.mean(values) < 0.65


def test_nothing_to_test():
    tree = BradleyTerry().fit([[0, 1], [1, 0], [1, 2], [2, 1]])
    fit = tree.goodness_of_fit()
    assert fit.degrees_of_freedom == 0
    assert np.isnan(fit.p_value)
    assert fit.describe().startswith("The comparisons form no cycle,")
    assert not fit.rejects()
    assert "cannot be tested" in str(fit)


def test_soft_outcomes_are_tested_but_not_redrawn():
    rng = np.random.default_rng(0)
    first, second = np.repeat(np.triu_indices(4, 1), 25, axis=1)
    soft = rng.random(len(first))
    bt = BradleyTerry().fit(np.column_stack([first, second]), soft)
    fit = bt.goodness_of_fit(n_replicates=0)
    assert 0.0 < fit.p_value < 1.0
    assert np.isnan(fit.likelihood_ratio)
    with pytest.raises(ValueError, match=r"'outcomes' must be 0, \.5 or 1 for a bootstrap"):
        bt.goodness_of_fit()


def test_a_leaderboard_of_cycles_warns():
    games = [["rock", "scissors"], ["scissors", "paper"], ["paper", "rock"]] * 100
    cyclic = BradleyTerry().fit(games, [1] * 290 + [0] * 10)
    with pytest.warns(UserWarning, match="most clearly paper > rock > scissors > paper"):
        cyclic.leaderboard()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(WINS).leaderboard()
        BradleyTerry().fit([[0, 1], [1, 0], [1, 2], [2, 1]]).leaderboard()


def test_weights_leave_the_bootstrap_only():
    pairs, counts = votes_of(WINS)
    bt = BradleyTerry().fit(pairs, sample_weight=np.full(len(pairs), 2.0), counts=counts)
    fit = bt.goodness_of_fit(n_replicates=400)
    assert np.isnan(fit.likelihood_ratio)
    assert fit.p_bootstrap == pytest.approx(0.015, abs=0.03)


def test_a_single_weight_leaves_no_likelihood_ratio():
    """The ratio takes a vote for a draw; a vote of weight 2 is none."""
    pairs, counts = votes_of(WINS)
    weight = np.ones(len(pairs))
    assert BradleyTerry().fit(pairs, sample_weight=weight, counts=counts).goodness_of_fit(
        n_replicates=0
    ).likelihood_ratio == pytest.approx(fitted(WINS).goodness_of_fit(n_replicates=0).likelihood_ratio)
    weight[4] = 2.0
    fit = BradleyTerry().fit(pairs, sample_weight=weight, counts=counts).goodness_of_fit(n_replicates=0)
    assert np.isnan(fit.likelihood_ratio)
    assert 0.0 < fit.p_value < 1.0


def test_covariate_that_is_constant_in_each_pair_takes_a_degree_of_freedom():
    rng = np.random.default_rng(0)
    first, second = np.triu_indices(5, 1)
    pairs = np.column_stack([np.repeat(first, 30), np.repeat(second, 30)])
    outcomes = rng.integers(0, 2, 300)
    own = np.repeat(rng.normal(size=10), 30)
    assert BradleyTerry().fit(pairs, outcomes).goodness_of_fit(n_replicates=0).degrees_of_freedom == 6
    with_own = BradleyTerry().fit(pairs, outcomes, covariates=own)
    assert with_own.goodness_of_fit(n_replicates=0).degrees_of_freedom == 5
    within = BradleyTerry().fit(pairs, outcomes, covariates=rng.normal(size=300))
    assert within.goodness_of_fit(n_replicates=0).degrees_of_freedom == 6


def test_hodge_of_a_fit_counts_ties_as_half():
    bt = BradleyTerry().fit([["a", "b"]] * 4 + [["b", "c"]] * 2, [1, 1, 0.5, 0, 1, 0])
    h = bt.hodge()
    assert h.items.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(h.flow, [np.log((1.5 + 0.5) / (2.5 + 0.5)), 0.0])
    np.testing.assert_allclose(h.weight, [1 / (1 / 3 + 1 / 2), 1 / (1 / 1.5 + 1 / 1.5)])


@pytest.mark.parametrize(
    ("first", "second", "flow", "weight", "message"),
    [
        ([0, 1], [1], [1.0], [1.0], "equally long; got lengths 2, 1, 1 and 1"),
        ([1], [0], [1.0], [1.0], "0 <= first < second"),
        ([0, 0], [1, 1], [1.0, 2.0], [1.0, 1.0], "every pair once"),
        ([0], [1], [np.nan], [1.0], "'flow' must be finite"),
        ([0], [1], [1.0], [0.0], "'weight' finite and > 0"),
    ],
)
def test_bad_flow(first, second, flow, weight, message):
    with pytest.raises(ValueError, match=message):
        hodge_decomposition(*map(np.array, (first, second, flow, weight)))


def test_real_football_has_next_to_no_cycles(real_data):
    games = pd.read_csv(real_data / "international_football" / "results.csv")
    games = games[games["date"] >= "2015"].dropna(subset=["home_score", "away_score"])
    played = games.groupby("home_team").size()
    known = played.index[played >= 30]
    games = games[games["home_team"].isin(known) & games["away_team"].isin(known)]
    outcomes = (np.sign(games["home_score"] - games["away_score"]) + 1) / 2
    bt = BradleyTerry(ties="davidson", order_effect=True).fit(games[["home_team", "away_team"]], outcomes)
    fit = bt.goodness_of_fit(n_replicates=30)
    assert fit.degrees_of_freedom > 500
    assert not fit.rejects()


def test_the_worst_triangle_is_the_one_that_goes_round():
    """0 > 2 > 1 > 0 by one each; 3, 4, 5 have as large flows that cancel around the triangle."""
    first, second = np.array([0, 0, 1, 3, 3, 4]), np.array([1, 2, 2, 4, 5, 5])
    flow = np.array([1.0, -1.0, 1.0, 2.0, 0.0, -2.0])
    worst = hodge_decomposition(first, second, flow, np.ones(6)).worst_cycles(1, triangles_only=True)
    assert worst["cycle"].tolist() == ["0 > 2 > 1 > 0"]
    assert worst["log_odds"].tolist() == [3.0]


def cells_of(outcomes, covariates, counts):
    """Cells of one pair's votes."""
    n = len(outcomes)
    votes = Comparisons(
        np.arange(2),
        np.zeros(n, dtype=np.intp),
        np.ones(n, dtype=np.intp),
        np.array(outcomes),
        np.array(covariates, dtype=float),
        np.array(counts, dtype=float),
        np.ones(n),
    )
    return _cells(votes, np.zeros(n, dtype=np.intp))


def test_votes_share_a_cell_where_all_covariates_are_equal():
    covariates = [[1, 5], [2, 5], [2, 6], [1, 5]]
    cells = cells_of([1.0, 1.0, 0.0, 0.0], covariates, [1, 2, 4, 8])
    assert sorted(zip(cells.decided.tolist(), cells.won.tolist())) == [(2.0, 2.0), (4.0, 0.0), (9.0, 1.0)]


@pytest.mark.parametrize(
    ("decided", "lost", "expected"),
    [
        (3.0, 0.75, [0.625, 0.25, 0.125]),  # a tie in four votes; at most half of them can be ties
        (1.0, 0.9, [0.8, 0.2, 0.0]),  # a tie in two votes, and at most a fifth can be ties
    ],
)
def test_redrawn_ties_leave_the_expected_outcome(decided, lost, expected):
    """As many ties as were seen, if the outcomes have room for them: a tie is half a win and half a loss."""
    cells = cells_of([0.0, 0.5], np.zeros((2, 0)), [decided, 1.0])
    np.testing.assert_allclose(_with_ties(np.array([[lost, 1 - lost]]), cells), [expected], atol=1e-15)
