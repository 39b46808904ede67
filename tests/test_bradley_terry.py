"""Bradley-Terry: published values, closed forms, invariants, and peers' defects that are not ours."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from sklearn.linear_model import LogisticRegression

from lambdamart_kit.preferences import BradleyTerry
from lambdamart_kit.preferences.strengths.comparisons import count_comparisons, encode_outcomes
from lambdamart_kit.preferences.strengths.connectivity import ties_outweigh_wins
from lambdamart_kit.preferences.strengths.likelihood import StrengthModel
from lambdamart_kit.preferences.strengths.ties import TIE_MODELS

BIOMETRIKA, COMM_STATIST, JASA, JRSS_B = "Biometrika", "Comm Statist", "JASA", "JRSS-B"
STIGLER = {
    (BIOMETRIKA, COMM_STATIST): 730,
    (BIOMETRIKA, JASA): 498,
    (BIOMETRIKA, JRSS_B): 221,
    (COMM_STATIST, BIOMETRIKA): 33,
    (COMM_STATIST, JASA): 68,
    (COMM_STATIST, JRSS_B): 17,
    (JASA, BIOMETRIKA): 320,
    (JASA, COMM_STATIST): 813,
    (JASA, JRSS_B): 142,
    (JRSS_B, BIOMETRIKA): 284,
    (JRSS_B, COMM_STATIST): 276,
    (JRSS_B, JASA): 325,
}
ALL_TIES = ["half", "davidson", "rao-kupper"]


def random_votes(seed=0, n_votes=400, n_items=6, ties=0.25):
    rng = np.random.default_rng(seed)
    strengths = rng.normal(size=n_items)
    first = rng.integers(0, n_items, n_votes)
    second = (first + rng.integers(1, n_items, n_votes)) % n_items
    p = 1 / (1 + np.exp(strengths[second] - strengths[first]))
    outcomes = np.where(rng.random(n_votes) < ties, 0.5, (rng.random(n_votes) < p).astype(float))
    return np.column_stack([first, second]), outcomes


def citations(**options):
    return BradleyTerry(**options).fit(list(STIGLER), counts=list(STIGLER.values()))


def test_stigler_citations():
    bt = citations()
    assert bt.items_.tolist() == [BIOMETRIKA, COMM_STATIST, JASA, JRSS_B]
    against_biometrika = bt.strengths_ - bt.strengths_[0]
    np.testing.assert_allclose(against_biometrika, [0, -2.949072, -0.479570, 0.268954], atol=1e-6)
    errors = np.sqrt(np.diagonal(bt.covariance(reference=BIOMETRIKA)))
    np.testing.assert_allclose(errors, [0, 0.10255, 0.06059, 0.07083], atol=1e-5)


def test_two_players_three_to_one():
    bt = BradleyTerry().fit([["x", "y"]] * 4, [1, 1, 1, 0])
    assert bt.strengths_[0] - bt.strengths_[1] == pytest.approx(1.098612, abs=1e-6)
    assert np.sqrt(bt.covariance(reference="y")[0, 0]) == pytest.approx(1.154701, abs=1e-6)
    assert bt.strengths_.sum() == pytest.approx(0, abs=1e-12)


def test_two_players_with_prior():
    bt = BradleyTerry(prior=1.0).fit([[0, 1]] * 4, [1, 1, 1, 0])
    np.testing.assert_allclose(bt.strengths_, [0.341812, -0.341812], atol=1e-6)


@pytest.mark.parametrize(
    ("ties", "difference", "parameter"),
    [("half", 0.405465, np.nan), ("davidson", 0.510826, 0.516398), ("rao-kupper", 0.423649, 1.527525)],
)
def test_two_players_with_ties(ties, difference, parameter):
    """Five wins, three losses, two ties."""
    bt = BradleyTerry(ties=ties).fit([[0, 1]] * 10, [1] * 5 + [0] * 3 + [0.5] * 2)
    assert bt.strengths_[0] - bt.strengths_[1] == pytest.approx(difference, abs=1e-6)
    assert bt.tie_parameter_ == pytest.approx(parameter, abs=1e-6, nan_ok=True)
    if ties != "half":
        np.testing.assert_allclose(bt.predict_proba([[0, 1]])[0], [0.3, 0.2, 0.5], atol=1e-8)


@pytest.mark.parametrize("ties", ALL_TIES)
def test_gradient_and_hessian_by_central_differences(ties):
    pairs, outcomes = random_votes()
    x = np.random.default_rng(1).normal(size=len(pairs)).round(1)
    bt = BradleyTerry(ties=ties, prior=0.3, order_effect=True).fit(pairs, outcomes, covariates=x)
    model: StrengthModel = bt._likelihood
    at = np.random.default_rng(2).normal(size=model.n_parameters) * 0.5 + 0.6
    derivatives = model.derivatives(at)
    gradient, hessian = model.gradient(at, derivatives), model.hessian(derivatives)
    np.testing.assert_allclose(model.hessian(derivatives, sparse=True).toarray(), hessian, atol=1e-9)
    step = 1e-5
    for k, axis in enumerate(np.eye(model.n_parameters) * step):
        up, down = model.derivatives(at + axis), model.derivatives(at - axis)
        slope = (model.loss(at + axis, up) - model.loss(at - axis, down)) / (2 * step)
        assert slope == pytest.approx(gradient[k], rel=1e-6, abs=1e-5)
        bend = (model.gradient(at + axis, up) - model.gradient(at - axis, down)) / (2 * step)
        np.testing.assert_allclose(bend, hessian[k], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("ties", ALL_TIES)
def test_fit_is_the_minimum_of_the_written_out_likelihood(ties):
    pairs, outcomes = random_votes(3)
    bt = BradleyTerry(ties=ties).fit(pairs, outcomes)

    def loss(parameters):
        eta = np.append(parameters[:5], 0.0)
        eta = eta[pairs[:, 0]] - eta[pairs[:, 1]]
        if ties == "half":
            p = 1 / (1 + np.exp(-eta))
            return -np.sum(outcomes * np.log(p) + (1 - outcomes) * np.log(1 - p))
        if ties == "davidson":
            weights = np.stack([np.exp(-eta / 2), np.full_like(eta, np.exp(parameters[5])), np.exp(eta / 2)])
            probabilities = weights / weights.sum(axis=0)
        else:
            kappa = 1 + np.exp(parameters[5])
            won, lost = np.exp(eta) / (np.exp(eta) + kappa), 1 / (1 + kappa * np.exp(eta))
            probabilities = np.stack([lost, 1 - won - lost, won])
        return -np.log(probabilities[(2 * outcomes).astype(int), np.arange(len(eta))]).sum()

    found = minimize(loss, np.zeros(6), method="BFGS", options={"gtol": 1e-7})
    assert bt.loss_ == pytest.approx(found.fun, abs=1e-6)
    theta = np.append(found.x[:5], 0.0)
    np.testing.assert_allclose(bt.strengths_, theta - theta.mean(), atol=1e-4)


def test_davidson_and_rao_kupper_probabilities_sum_to_one():
    eta = np.linspace(-30, 30, 61)
    for model in (TIE_MODELS["davidson"], TIE_MODELS["rao-kupper"]):
        probabilities = model.probabilities(eta, 0.7)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-12)
        equal = model.probabilities(np.zeros(1), model.start(0.3))[0, 1]
        assert equal == pytest.approx(0.3)


# Invariants ------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(ALL_TIES))
def test_mirrored_permuted_and_doubled_votes(seed, ties):
    rng = np.random.default_rng(seed)
    pairs, outcomes = random_votes(seed)
    bt = BradleyTerry(ties=ties).fit(pairs, outcomes)
    mirror = rng.random(len(pairs)) < 0.5
    mirrored = np.where(mirror[:, None], pairs[:, ::-1], pairs)
    turned = BradleyTerry(ties=ties).fit(mirrored, np.where(mirror, 1 - outcomes, outcomes))
    np.testing.assert_array_equal(turned.strengths_, bt.strengths_)
    order = rng.permutation(len(pairs))
    shuffled = BradleyTerry(ties=ties).fit(pairs[order], outcomes[order])
    np.testing.assert_array_equal(shuffled.strengths_, bt.strengths_)
    names = np.array(["f", "b", "a", "e", "d", "c"])
    renamed = BradleyTerry(ties=ties).fit(names[pairs], outcomes)
    np.testing.assert_allclose(renamed.strengths_[np.argsort(np.argsort(names))], bt.strengths_, atol=1e-7)
    for doubled in (
        BradleyTerry(ties=ties).fit(pairs, outcomes, np.full(len(pairs), 2.0)),
        BradleyTerry(ties=ties).fit(pairs, outcomes, counts=np.full(len(pairs), 2)),
    ):
        np.testing.assert_allclose(doubled.strengths_, bt.strengths_, atol=1e-7)
        assert doubled.loss_ == pytest.approx(2 * bt.loss_)


def test_weights_and_counts_mean_different_things_to_the_sandwich():
    pairs, outcomes = random_votes(4)
    once = BradleyTerry().fit(pairs, outcomes).covariance(method="sandwich")
    weighted = BradleyTerry().fit(pairs, outcomes, np.full(len(pairs), 2.0)).covariance(method="sandwich")
    counted = BradleyTerry().fit(pairs, outcomes, counts=np.full(len(pairs), 2)).covariance(method="sandwich")
    np.testing.assert_allclose(weighted, once, rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(counted, once / 2, rtol=1e-7, atol=1e-12)


def test_counts_equal_repeated_rows():
    pairs, outcomes = random_votes(5)
    counts = np.random.default_rng(0).integers(0, 4, len(pairs))
    counted = BradleyTerry(ties="davidson").fit(pairs, outcomes, counts=counts)
    repeated = BradleyTerry(ties="davidson").fit(
        np.repeat(pairs, counts, axis=0), np.repeat(outcomes, counts)
    )
    np.testing.assert_array_equal(counted.strengths_, repeated.strengths_)


def test_sparse_newton_equals_dense(monkeypatch):
    pairs, outcomes = random_votes(6, n_votes=3000, n_items=40)
    x = np.random.default_rng(0).normal(size=len(pairs)).round(1)
    for ties in ALL_TIES:
        dense = BradleyTerry(ties=ties, order_effect=True).fit(pairs, outcomes, covariates=x)
        with monkeypatch.context() as patch:
            patch.setattr("lambdamart_kit.preferences.strengths.likelihood.DENSE_NEWTON", 10)
            sparse = BradleyTerry(ties=ties, order_effect=True).fit(pairs, outcomes, covariates=x)
        np.testing.assert_allclose(sparse.strengths_, dense.strengths_, atol=1e-6)
        np.testing.assert_allclose(sparse.covariate_coef_, dense.covariate_coef_, atol=1e-6)


def test_input_forms_agree():
    pairs, outcomes = random_votes(7)
    bt = BradleyTerry().fit(pairs, outcomes)
    names = np.array([f"m{i}" for i in range(6)])
    frame = pd.DataFrame(names[pairs], columns=["a", "b"])
    labels = np.array(["model_b", "tie", "model_a"])[(2 * outcomes).astype(int)]
    winners = np.where(outcomes == 1, names[pairs[:, 0]], np.where(outcomes == 0, names[pairs[:, 1]], "tie"))
    for form, result in (
        (frame, outcomes),
        (frame.astype("category"), labels),
        (frame.to_numpy(), winners),
        (names[pairs].tolist(), labels.tolist()),
        (pairs.astype(np.int8) - 100, outcomes.astype(np.float32)),
        (pairs * 10**9, outcomes),
        (pairs.astype(float), outcomes),
    ):
        np.testing.assert_allclose(BradleyTerry().fit(form, result).strengths_, bt.strengths_, atol=1e-12)


# Order effect and covariates -------------------------------------------------------------------------------


def test_order_effect_is_the_intercept_of_logistic_regression():
    pairs, outcomes = random_votes(8, ties=0.0)
    x = np.random.default_rng(0).normal(size=(len(pairs), 2))
    bt = BradleyTerry(order_effect=True).fit(pairs, outcomes, covariates=x)
    design = np.eye(6)[pairs[:, 0]] - np.eye(6)[pairs[:, 1]]
    logistic = LogisticRegression(C=1e8, tol=1e-10, max_iter=10_000).fit(np.hstack([design, x]), outcomes)
    strengths = logistic.coef_[0, :6]
    np.testing.assert_allclose(bt.strengths_, strengths - strengths.mean(), atol=1e-4)
    np.testing.assert_allclose(bt.covariate_coef_, logistic.coef_[0, 6:], atol=1e-4)
    assert bt.order_effect_ == pytest.approx(logistic.intercept_[0], abs=1e-4)
    expected = logistic.predict_proba(np.hstack([design, x]))
    np.testing.assert_allclose(bt.predict_proba(pairs, covariates=x), expected, atol=1e-4)


def test_covariates_change_sign_with_the_pair():
    pairs, outcomes = random_votes(9)
    x = pd.DataFrame({"length": np.random.default_rng(0).normal(size=len(pairs))})
    bt = BradleyTerry().fit(pairs, outcomes, covariates=x)
    turned = BradleyTerry().fit(pairs[:, ::-1], 1 - outcomes, covariates=-x)
    np.testing.assert_array_equal(turned.strengths_, bt.strengths_)
    assert bt.covariate_names_ == ["length"]


def test_covariate_that_is_an_item_difference_is_refused():
    pairs, outcomes = random_votes(10)
    quality = np.arange(6.0)
    with pytest.raises(ValueError, match="combination of item differences"):
        BradleyTerry().fit(pairs, outcomes, covariates=quality[pairs[:, 0]] - quality[pairs[:, 1]])


def test_covariate_that_separates_is_refused():
    pairs, outcomes = random_votes(11, ties=0.0)
    with pytest.raises(ValueError, match="without error"):
        BradleyTerry().fit(pairs, outcomes, covariates=2 * outcomes - 1)


# Existence -------------------------------------------------------------------------------------------------


def test_transitive_triple_is_refused():
    """A > B, B > C, A > C has no finite estimate; evalica returns 1e-06 for every player."""
    with pytest.raises(ValueError, match="no finite strengths exist: the items fall into 3 strongly"):
        BradleyTerry().fit([["A", "B"], ["B", "C"], ["A", "C"]])


def test_disconnected_groups_have_no_joint_scale():
    """Two groups that never met: evalica and choix put them on one scale."""
    pairs = [["a", "b"]] * 4 + [["c", "d"]] * 3
    outcomes = [1, 1, 1, 0, 1, 1, 0]
    with pytest.raises(ValueError, match="2 strongly connected components"):
        BradleyTerry().fit(pairs, outcomes)
    bt = BradleyTerry(on_disconnected="components").fit(pairs, outcomes)
    assert bt.components_.tolist() == [0, 0, 1, 1]
    half = np.array([np.log(3), -np.log(3), np.log(2), -np.log(2)]) / 2
    np.testing.assert_allclose(bt.strengths_, half, atol=1e-8)
    assert np.isnan(bt.predict_proba([["a", "c"]])).all()
    board = bt.leaderboard(method="hessian")
    assert board["item"].tolist() == ["a", "b", "c", "d"]
    assert board["rank"].tolist() == [1, 2, 1, 2]
    with pytest.raises(ValueError, match="'reference' and 'anchor' must be None"):
        bt.confint(reference="a")
    alone = BradleyTerry().fit(pairs[:4], outcomes[:4])
    np.testing.assert_allclose(
        bt.covariance(method="sandwich")[:2, :2], alone.covariance(method="sandwich"), atol=1e-9
    )


def test_fractions_are_no_ids():
    """Whole numbers may be the winners' ids; 1.0 and 0.0 are outcomes whatever the items are called."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first_won = encode_outcomes(
            np.array([1.0, 0.0]), np.array([0, 1]), np.array([0, 0]), np.array([1, 1])
        )
    assert first_won.tolist() == [1.0, 0.0]
    items, first, second = np.array([1, 2]), np.array([0, 1]), np.array([1, 0])
    assert encode_outcomes(np.array([2, 2]), items, first, second).tolist() == [0.0, 1.0]
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\] .* row 0 has 2.0 \(2 such rows\)"):
        encode_outcomes(np.array([2.0, 2.0]), items, first, second)


def test_ties_that_outweigh_wins_are_a_linear_program():
    """A solver looks for the direction: d_i - d_j >= 1 for every win, |d_i - d_j| <= 1 for every tie."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(60):
        n_votes = rng.integers(3, 12)
        first = rng.integers(0, 4, n_votes)
        second = (first + rng.integers(1, 4, n_votes)) % 4
        outcomes = rng.choice([0.5, 0.5, 0.5, 1.0, 0.0], n_votes)
        apart = np.eye(4)[first] - np.eye(4)[second]
        sign = np.where(outcomes == 0.5, 1.0, 1.0 - 2.0 * outcomes)
        both = np.vstack([sign[:, None] * apart, -apart[outcomes == 0.5]])
        limit = np.r_[np.where(outcomes == 0.5, 1.0, -1.0), np.ones((outcomes == 0.5).sum())]
        feasible = linprog(np.zeros(4), A_ub=both, b_ub=limit, bounds=(None, None)).status == 0
        found.append(ties_outweigh_wins(count_comparisons(np.column_stack([first, second]), outcomes)))
        assert found[-1] == feasible
    assert 10 < sum(found) < 50


@pytest.mark.parametrize("n_lonely", [5, 6])
def test_five_lonely_items_are_named(n_lonely):
    """Items 0 and 1 beat each other; the others lost to 0 alone."""
    pairs = [[0, 1], [1, 0], *([0, i] for i in range(2, 2 + n_lonely))]
    with pytest.raises(
        ValueError, match=rf"{n_lonely} alone in theirs \(never won or never lost\): 2"
    ) as error:
        BradleyTerry().fit(pairs)
    assert (": 2, 3, 4, 5, 6, ..." in str(error.value)) == (n_lonely == 6)


def test_item_that_never_wins():
    pairs, outcomes = random_votes(12, n_items=4)
    pairs = np.vstack([pairs, [[4, 0], [4, 1], [1, 4]]])
    outcomes = np.append(outcomes, [0, 0, 1])
    with pytest.raises(ValueError, match=r"1 alone in theirs \(never won or never lost\): 4"):
        BradleyTerry().fit(pairs, outcomes)
    with pytest.warns(UserWarning, match="fitted with prior=1"):
        bt = BradleyTerry(on_disconnected="prior").fit(pairs, outcomes)
    assert bt.items_[np.argmin(bt.strengths_)] == 4
    np.testing.assert_allclose(bt.strengths_, BradleyTerry(prior=1.0).fit(pairs, outcomes).strengths_)


@pytest.mark.parametrize("ties", ["davidson", "rao-kupper"])
def test_ties_that_outweigh_wins_are_refused(ties):
    """One win, one tie: the log odds and the tie parameter grow together without limit."""
    with pytest.raises(ValueError, match="ties outweigh wins in every cycle"):
        BradleyTerry(ties=ties).fit([[0, 1]] * 2, [1, 0.5])
    with pytest.raises(ValueError, match="ties outweigh wins"):  # a chain: 0 beat 1, ties elsewhere
        BradleyTerry(ties=ties).fit([[0, 1], [1, 2], [2, 0]], [1, 0.5, 0.5])
    cycle = BradleyTerry(ties=ties).fit([[0, 1], [1, 2], [2, 0]], [1, 1, 0.5])  # two wins against one tie
    assert np.isfinite(cycle.tie_parameter_)
    BradleyTerry(ties=ties, prior=0.1).fit([[0, 1]] * 2, [1, 0.5])


@pytest.mark.parametrize("ties", ["davidson", "rao-kupper"])
def test_without_ties_the_tie_models_are_bradley_terry(ties):
    pairs, outcomes = random_votes(13, ties=0.0)
    bt = BradleyTerry(ties=ties).fit(pairs, outcomes)
    np.testing.assert_allclose(bt.strengths_, BradleyTerry().fit(pairs, outcomes).strengths_, atol=1e-7)
    assert bt.tie_parameter_ == pytest.approx(0.0 if ties == "davidson" else 1.0)
    np.testing.assert_allclose(bt.predict_proba(pairs[:5])[:, 1], 0.0, atol=1e-12)


# Uncertainty -----------------------------------------------------------------------------------------------


def test_sandwich_written_out():
    pairs, outcomes = random_votes(14, ties=0.0)
    bt = BradleyTerry().fit(pairs, outcomes)
    Z = np.eye(6)[pairs[:, 0]] - np.eye(6)[pairs[:, 1]]
    p = 1 / (1 + np.exp(-Z @ bt.strengths_))
    bread = np.linalg.pinv(Z.T @ (Z * (p * (1 - p))[:, None]))
    scores = Z * (p - outcomes)[:, None]
    np.testing.assert_allclose(bt.covariance(), bread, atol=1e-9)
    np.testing.assert_allclose(bt.covariance(method="sandwich"), bread @ scores.T @ scores @ bread, atol=1e-9)
    groups = np.random.default_rng(0).integers(0, 30, len(pairs))
    clustered = BradleyTerry().fit(pairs, outcomes, groups=groups)
    sums = np.stack([scores[groups == g].sum(axis=0) for g in range(30)])
    np.testing.assert_allclose(
        clustered.covariance(method="clustered"), bread @ sums.T @ sums @ bread * 30 / 29, atol=1e-9
    )


def test_each_vote_its_own_cluster_is_the_sandwich():
    pairs, outcomes = random_votes(15)
    for ties in ALL_TIES:
        bt = BradleyTerry(ties=ties, order_effect=True).fit(pairs, outcomes, groups=np.arange(len(pairs)))
        n = len(pairs)
        np.testing.assert_allclose(
            bt.covariance(method="clustered"), bt.covariance(method="sandwich") * n / (n - 1), atol=1e-9
        )


@pytest.mark.parametrize("ties", ALL_TIES)
def test_one_step_bootstrap_has_the_spread_of_full_refits(ties):
    pairs, outcomes = random_votes(16, n_votes=2000)
    bt = BradleyTerry(ties=ties).fit(pairs, outcomes)
    draws = bt.replicates(1500, random_state=0)
    rng = np.random.default_rng(1)
    refits = []
    for _ in range(300):
        rows = rng.integers(0, len(pairs), len(pairs))
        refits.append(BradleyTerry(ties=ties).fit(pairs[rows], outcomes[rows]).strengths_)
    ratio = draws.std(axis=0).mean() / np.std(refits, axis=0).mean()
    assert ratio == pytest.approx(1.0, abs=0.06)
    np.testing.assert_array_equal(draws, bt.replicates(1500, random_state=0))


def test_cluster_bootstrap_is_wider_when_votes_repeat():
    pairs, outcomes = random_votes(17, n_votes=300)
    groups = np.repeat(np.arange(300), 4)
    bt = BradleyTerry().fit(np.repeat(pairs, 4, axis=0), np.repeat(outcomes, 4), groups=groups)
    wide, narrow = bt.covariance(method="bootstrap"), bt.covariance(method="sandwich")
    assert np.sqrt(np.trace(wide) / np.trace(narrow)) == pytest.approx(2.0, rel=0.1)


def test_intervals_cover_the_truth():
    truth = np.array([1.0, 0.3, 0.0, -0.4, -0.9])
    covered = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        first = rng.integers(0, 5, 500)
        second = (first + rng.integers(1, 5, 500)) % 5
        won = rng.random(500) < 1 / (1 + np.exp(truth[second] - truth[first]))
        interval = BradleyTerry().fit(np.column_stack([first, second]), won).confint()
        covered.append((interval[:, 0] <= truth) & (truth <= interval[:, 1]))
    assert np.mean(covered) == pytest.approx(0.95, abs=0.04)


def test_leaderboard():
    bt = citations()
    board = bt.leaderboard(method="hessian", scale="elo")
    assert board["item"].tolist() == [JRSS_B, BIOMETRIKA, JASA, COMM_STATIST]
    assert (
        board["rank"].tolist() == board["rank_lower"].tolist() == board["rank_upper"].tolist() == [1, 2, 3, 4]
    )
    assert board["wins"].tolist() == [885, 1449, 1275, 118]
    assert board["losses"].sum() == board["wins"].sum() == sum(STIGLER.values())
    elo = 1500 + 400 / np.log(10) * np.sort(bt.strengths_)[::-1]
    np.testing.assert_allclose(board["strength"], elo)
    boot = bt.leaderboard(method="bootstrap", n_replicates=200)
    np.testing.assert_allclose(boot["se"], bt.leaderboard(method="hessian")["se"], rtol=0.25)


def test_rank_interval_of_indistinguishable_items():
    pairs = [[0, 1], [1, 2], [2, 0]] * 2 + [[0, 3], [1, 3], [2, 3]] * 50 + [[3, 0], [3, 1], [3, 2]] * 3
    board = BradleyTerry().fit(pairs).leaderboard()
    assert board["rank_lower"].tolist() == [1, 1, 1, 4]
    assert board["rank_upper"].tolist() == [3, 3, 3, 4]


def test_plot():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    ax = citations().plot(top=3, method="hessian")
    assert [label.get_text().split("  ")[0] for label in ax.get_yticklabels()] == [JRSS_B, BIOMETRIKA, JASA]
    matplotlib.pyplot.close(ax.figure)


def test_more_items_than_a_dense_covariance(monkeypatch):
    monkeypatch.setattr("lambdamart_kit.preferences.strengths.uncertainty.DENSE_COVARIANCE", 5)
    monkeypatch.setattr("lambdamart_kit.preferences.strengths.likelihood.DENSE_NEWTON", 5)
    pairs, outcomes = random_votes(18)
    bt = BradleyTerry().fit(pairs, outcomes)
    with pytest.raises(ValueError, match="'method' must be 'bootstrap' above 5 items"):
        bt.leaderboard()
    sparse = bt.replicates(20, random_state=0)
    monkeypatch.setattr("lambdamart_kit.preferences.strengths.likelihood.DENSE_NEWTON", 50)
    np.testing.assert_allclose(sparse, bt.replicates(20, random_state=0), atol=1e-4)


# Bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        (lambda: BradleyTerry().fit([], []), "'pairs' must hold at least one comparison"),
        (lambda: BradleyTerry().fit([0, 1], [1]), r"'pairs' must have shape \(n, 2\)"),
        (lambda: BradleyTerry().fit([["a", "a"]], [1]), "row 0 compares 'a' with itself"),
        (lambda: BradleyTerry().fit([["a", None]], [1]), "missing ids; row 0"),
        (lambda: BradleyTerry().fit([[0.0, 1.0], [np.nan, 1.0]], [1, 0]), "missing ids; row 1"),
        (lambda: BradleyTerry().fit([[0, 1]] * 2, [1, np.nan]), "'outcomes' must lie in .* row 1 has nan"),
        (lambda: BradleyTerry().fit([[0, 1]] * 2, [1, 2]), "row 1 has 2"),
        (lambda: BradleyTerry().fit([[0, 1]] * 2, [1]), r"expected shape \(2,\), got \(1,\)"),
        (lambda: BradleyTerry().fit([[0, 1]] * 2, [1, 0], [1, -1]), "'sample_weight' .* row 1 has -1"),
        (lambda: BradleyTerry().fit([[0, 1]] * 2, [1, 0], [0, 0]), "leave at least one comparison"),
        (lambda: BradleyTerry().fit([[0, 1]] * 2, [1, 0], covariates=[[1.0], [np.inf]]), "row 1, column 0"),
        (lambda: BradleyTerry().fit([[0, 1]] * 2, [1, 0], groups=["x", None]), "'groups' must hold one"),
        (lambda: BradleyTerry(ties="maybe").fit([[0, 1]], [1]), "'ties' must be one of 'half'"),
        (lambda: BradleyTerry(prior=-1).fit([[0, 1]], [1]), "'prior' must be finite and >= 0; got -1"),
        (lambda: BradleyTerry(ties="davidson").fit([[0, 1]] * 2, [0.8, 0]), "must be 0, .5 or 1"),
        (lambda: citations().predict_proba([["Nature", JASA]]), "row 0 has the unknown 'Nature'"),
        (lambda: citations().confint(level=95), "'level' must lie between 0 and 1; got 95"),
        (lambda: citations().confint(level=0), "'level' must lie between 0 and 1; got 0"),
        (lambda: citations().covariance(method="magic"), "'method' must be one of"),
        (lambda: citations().covariance(method="clustered"), "give 'groups' to fit"),
    ],
)
def test_bad_input(fit, message):
    with pytest.raises(ValueError, match=message):
        fit()


def test_unknown_winner_label_is_not_a_tie():
    """arena-rank turns any unknown label into a tie."""
    with pytest.raises(ValueError, match="row 1 has 'modle_b' for 'x' against 'y'"):
        BradleyTerry().fit([["x", "y"]] * 2, ["model_a", "modle_b"])


def test_winner_must_be_one_of_the_two():
    with pytest.raises(ValueError, match="row 0 has 'z' for 'x' against 'y'"):
        BradleyTerry().fit([["x", "y"], ["y", "z"], ["z", "x"]], ["z", "y", "x"])
    with pytest.raises(
        ValueError, match="row 1 has 'x' for 'y' against 'z'"
    ):  # "x" is also a word for a side
        BradleyTerry().fit([["x", "y"], ["y", "z"]], ["x", "x"])


def test_real_football_has_a_home_advantage(real_data):
    games = pd.read_csv(real_data / "international_football" / "results.csv")
    games = games[games["date"] >= "2010"].dropna(subset=["home_score", "away_score"])
    played = games.groupby("home_team").size()
    known = played.index[played >= 40]
    games = games[games["home_team"].isin(known) & games["away_team"].isin(known)]
    outcomes = (np.sign(games["home_score"] - games["away_score"]) + 1) / 2
    at_home = (~games["neutral"].astype(bool)).astype(float).to_frame("home")
    bt = BradleyTerry(ties="davidson").fit(games[["home_team", "away_team"]], outcomes, covariates=at_home)
    assert bt.covariate_coef_[0] > 0.3
    assert set(bt.leaderboard()["item"].head(10)) & {"Brazil", "Spain", "Argentina", "France", "Germany"}


def test_a_fit_that_starts_at_its_optimum_takes_one_iteration():
    assert BradleyTerry().fit([["a", "b"], ["b", "a"]]).n_iter_ == 1


def test_a_lead_within_its_error_leaves_both_ranks_open():
    """Strengths differ by log(3 / 2); its standard error is 0.91 with 5 votes and 0.09 with 500."""
    for factor, ranks in ((1, [[1, 2], [1, 2]]), (100, [[1, 1], [2, 2]])):
        fit = BradleyTerry().fit([["a", "b"], ["b", "a"]], counts=[3 * factor, 2 * factor])
        table = fit.leaderboard().set_index("item").loc[["a", "b"]]
        assert table[["rank_lower", "rank_upper"]].to_numpy().tolist() == ranks


@pytest.mark.parametrize("anchor", ["nobody", {"a": 1500}])
def test_an_anchor_must_be_an_item(anchor):
    model = BradleyTerry().fit([["a", "b"], ["b", "a"]])
    with pytest.raises(ValueError, match=r"'anchor' must be an item seen in fit; got .* have 'a', 'b'"):
        model.leaderboard(anchor=anchor)
