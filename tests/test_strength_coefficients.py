"""Coefficients beside strengths, points of a leaderboard, units of covariates, and the one-step bootstrap."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from lambdamart_kit import BradleyTerry, PlackettLuce


def votes(seed=0, n_votes=600, n_items=6, unit=1.0):
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=n_items)
    first = rng.integers(0, n_items, n_votes)
    second = (first + rng.integers(1, n_items, n_votes)) % n_items
    x = rng.normal(size=(n_votes, 2))
    won = rng.random(n_votes) < expit(theta[first] - theta[second] + 0.4 + x @ [0.5, -0.2])
    frame = pd.DataFrame(x * unit, columns=["tokens", "headers"])
    return np.column_stack([first, second]), won.astype(float), frame


def test_standard_errors_are_those_of_logistic_regression():
    statsmodels = pytest.importorskip("statsmodels.api")
    pairs, outcomes, x = votes()
    bt = BradleyTerry(order_effect=True).fit(pairs, outcomes, covariates=x)
    items = np.eye(6)[pairs[:, 0]] - np.eye(6)[pairs[:, 1]]
    design = np.column_stack([items[:, 1:], np.ones(len(x)), x])
    logit = statsmodels.Logit(outcomes, design).fit(disp=0, tol=1e-12)
    table = bt.coefficients()
    assert table["term"].tolist() == ["order_effect", "tokens", "headers"]
    np.testing.assert_allclose(table["estimate"], logit.params[5:], atol=1e-6)
    np.testing.assert_allclose(table["se"], logit.bse[5:], atol=1e-6)
    np.testing.assert_allclose(table["z"], logit.tvalues[5:], atol=1e-5)
    np.testing.assert_allclose(table["p"], logit.pvalues[5:], atol=1e-6)
    np.testing.assert_allclose(table[["lower", "upper"]], logit.conf_int()[5:], atol=1e-5)
    robust = logit.get_robustcov_results(cov_type="HC0") if hasattr(logit, "get_robustcov_results") else None
    if robust is not None:
        np.testing.assert_allclose(bt.coefficients(method="sandwich")["se"], robust.bse[5:], atol=1e-6)
    against_first = np.sqrt(np.diagonal(bt.covariance(reference=0)))[1:]
    np.testing.assert_allclose(against_first, logit.bse[:5], atol=1e-6)


def test_sandwich_of_coefficients_written_out():
    pairs, outcomes, x = votes(1)
    groups = np.random.default_rng(0).integers(0, 40, len(x))
    bt = BradleyTerry().fit(pairs, outcomes, covariates=x, groups=groups)
    Z = np.column_stack([np.eye(6)[pairs[:, 0]] - np.eye(6)[pairs[:, 1]], x])
    p = expit(Z @ np.concatenate([bt.strengths_, bt.covariate_coef_]))
    bread = np.linalg.pinv(Z.T @ (Z * (p * (1 - p))[:, None]))
    scores = Z * (p - outcomes)[:, None]
    sums = np.stack([scores[groups == g].sum(axis=0) for g in range(40)])
    for method, meat in (("sandwich", scores.T @ scores), ("clustered", sums.T @ sums * 40 / 39)):
        expected = np.sqrt(np.diagonal(bread @ meat @ bread))[6:]
        np.testing.assert_allclose(bt.coefficients(method=method)["se"], expected, atol=1e-8)
    boot = bt.coefficients(method="bootstrap", n_replicates=600)
    np.testing.assert_allclose(boot["se"], bt.coefficients(method="clustered")["se"], rtol=0.15)


@pytest.mark.parametrize("ties", ["davidson", "rao-kupper"])
def test_tie_parameter_has_a_standard_error(ties):
    rng = np.random.default_rng(0)
    bt = BradleyTerry(ties=ties).fit([[0, 1]] * 100, rng.choice([0, 0.5, 1], 100, p=[0.3, 0.3, 0.4]))
    table = bt.coefficients()
    assert table["term"].tolist() == ["log_tie_parameter"]
    assert np.exp(table["estimate"][0]) == pytest.approx(bt.tie_parameter_)
    model, at = bt._likelihood, bt._parameters

    def slope(delta):  # derivative of the loss in the tie parameter with the strengths at their best
        derivatives = model.derivatives(np.append(at[:2], delta))
        return model.gradient(np.append(at[:2], delta), derivatives)[2]

    # Two items: strengths and tie parameter do not share information in Davidson's model at equal odds
    # only, so the information is compared with the numerical Hessian's Schur complement.
    H = model.hessian(model.derivatives(at))
    numeric = (slope(at[2] + 1e-5) - slope(at[2] - 1e-5)) / 2e-5
    assert H[2, 2] == pytest.approx(numeric, rel=1e-5)
    schur = H[2, 2] - H[2, 0] ** 2 / H[0, 0]
    assert table["se"][0] == pytest.approx(1 / np.sqrt(schur), rel=1e-8)


def test_nothing_beside_strengths():
    pairs, outcomes, _ = votes(2)
    assert BradleyTerry().fit(pairs, outcomes).coefficients().empty


@pytest.mark.parametrize("unit", [1e-200, 1e-8, 1e-3, 1e3, 1e8, 1e200])
def test_units_of_covariates_do_not_matter(unit):
    pairs, outcomes, x = votes()
    one = BradleyTerry(ties="half", order_effect=True).fit(pairs, outcomes, covariates=x)
    other = BradleyTerry(ties="half", order_effect=True).fit(pairs, outcomes, covariates=x * unit)
    np.testing.assert_allclose(other.strengths_, one.strengths_, atol=1e-9)
    np.testing.assert_allclose(other.covariate_coef_ * unit, one.covariate_coef_, rtol=1e-7)
    np.testing.assert_allclose(other.coefficients()["z"], one.coefficients()["z"], rtol=1e-7)
    np.testing.assert_allclose(other.covariance(method="sandwich"), one.covariance(method="sandwich"))
    expected = one.predict(pairs[:5], covariates=x[:5])
    np.testing.assert_allclose(other.predict(pairs[:5], covariates=x[:5] * unit), expected, rtol=1e-7)
    assert np.abs(other.comparisons_.covariates[:, 1]).max() == pytest.approx(
        np.abs(x["tokens"]).max() * unit
    )


def test_weights_that_float64_cannot_tell_apart_are_named():
    with pytest.raises(ValueError, match="'sample_weight' must not differ by so many orders of magnitude"):
        BradleyTerry().fit([["x", "y"], ["y", "x"], ["y", "z"], ["z", "y"]], [1] * 4, [1e15, 1, 1, 1])


@pytest.mark.parametrize("largest_code", [1, 1000, 1 << 62])
def test_codes_that_would_overflow_give_the_same_records(monkeypatch, largest_code):
    """Responses as items, a judge's probability as outcome, a weight and a covariate a row."""
    name = "lambdamart_kit.preferences.strengths.comparisons._LARGEST_CODE"
    rng = np.random.default_rng(0)
    pairs, _, x = votes(3, n_items=40)
    outcomes, weights = rng.random(len(x)).round(1), rng.random(len(x)).round(1) + 0.1
    expected = BradleyTerry(prior=1.0).fit(pairs, outcomes, weights, covariates=x.round(0))
    monkeypatch.setattr(name, largest_code)
    bt = BradleyTerry(prior=1.0).fit(pairs, outcomes, weights, covariates=x.round(0))
    for field in ("first", "second", "outcome", "covariates", "count", "sample_weight"):
        np.testing.assert_array_equal(getattr(bt.comparisons_, field), getattr(expected.comparisons_, field))


def test_many_items_with_soft_outcomes_weights_and_covariates():
    """30,000 items squared, times 60,000 outcomes, times 30,000 weights passes 2 ** 63."""
    rng = np.random.default_rng(0)
    first = rng.integers(0, 30_000, 40_000)
    second = (first + rng.integers(1, 30_000, 40_000)) % 30_000
    pairs = np.column_stack([first, second])
    outcomes, weights = rng.random(40_000), rng.random(40_000) + 0.1
    bt = BradleyTerry(prior=1.0).fit(pairs, outcomes, weights, covariates=rng.normal(size=40_000))
    assert len(bt.comparisons_.count) == 40_000
    assert bt.comparisons_.weight.sum() == pytest.approx(weights.sum())


@pytest.mark.parametrize("other", ["gpt-4 ", " gpt-4", "gpt-4\n"])
def test_names_that_look_alike_are_named(other):
    with pytest.warns(UserWarning, match=r"differ only in white space .* \(1 such names\)"):
        bt = BradleyTerry(prior=1).fit([["gpt-4", "y"], [other, "y"]], [1, 0])
    assert len(bt.items_) == 3
    with pytest.warns(
        UserWarning,
        match=re.escape(r"'caf\xe9' and 'cafe\u0301'") + "|" + re.escape(r"'cafe\u0301' and 'caf\xe9'"),
    ):
        PlackettLuce(n_pseudo=1).fit([["caf\u00e9", "y"], ["y", "cafe\u0301"]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BradleyTerry(prior=1).fit([["gpt-4", "GPT-4"], ["gpt-4o", "gpt-4"]], [1, 0])


# Points ----------------------------------------------------------------------------------------------------


def test_points_base_and_anchor():
    pairs, outcomes, _ = votes(4)
    bt = BradleyTerry().fit(pairs, outcomes)
    logit = bt.leaderboard().set_index("item")
    elo = bt.leaderboard(scale="elo", base=1000).set_index("item")
    slope = 400 / np.log(10)
    np.testing.assert_allclose(elo["strength"], 1000 + slope * logit["strength"])
    np.testing.assert_allclose(elo["se"], slope * logit["se"])
    hundred = bt.leaderboard(scale=100.0).set_index("item")
    np.testing.assert_allclose(hundred["lower"], 100 * logit["lower"])
    anchored = bt.leaderboard(scale="elo", base=1000, anchor=3).set_index("item")
    assert anchored["strength"][3] == anchored["lower"][3] == anchored["upper"][3] == 1000
    assert anchored["se"][3] == 0
    interval = bt.confint(reference=3)
    np.testing.assert_allclose(anchored["lower"].sort_index(), 1000 + slope * interval[:, 0])
    for column in ("rank_lower", "rank_upper", "rank"):
        assert anchored[column].tolist() == elo[column].tolist()
    boot = bt.leaderboard(method="bootstrap", n_replicates=50, anchor=3, base=7).set_index("item")
    assert boot["lower"][3] == boot["upper"][3] == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": "points"}, "'scale' must be one of 'logit', 'elo'"),
        ({"scale": -1}, "'scale' must be 'logit', 'elo' or a number > 0; got -1"),
        ({"base": np.nan}, "'base' must be finite"),
        ({"anchor": "nobody"}, "'anchor' must be an item seen in fit; got 'nobody', have 0, 1"),
    ],
)
def test_bad_points(options, message):
    pairs, outcomes, _ = votes(4)
    with pytest.raises(ValueError, match=message):
        BradleyTerry().fit(pairs, outcomes).leaderboard(**options)


# The one-step bootstrap ------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", [0.0, 0.7, 5.0])
def test_replicates_are_newton_steps_written_out(prior):
    """The step's sign, the prior's pull and the seed: each changes every number here."""
    pairs, outcomes, _ = votes(5, n_votes=80, n_items=4)
    bt = BradleyTerry(prior=prior).fit(pairs, outcomes)
    c = bt.comparisons_
    draws = bt.replicates(5, random_state=3)
    n_votes = int(c.count.sum())
    counts = np.random.default_rng(3).multinomial(n_votes, c.count / n_votes, size=5)
    Z = np.eye(4)[c.first] - np.eye(4)[c.second]
    p = expit(Z @ bt.strengths_)
    for draw, count in zip(draws, counts):
        gradient = Z.T @ (count * (p - c.outcome)) + prior * bt.strengths_
        hessian = Z.T @ (Z * (count * p * (1 - p))[:, None]) + prior * np.eye(4)
        expected = bt.strengths_ - np.linalg.pinv(hessian) @ gradient
        np.testing.assert_allclose(draw, expected, atol=1e-10)


def test_replicates_follow_the_resamples_and_not_their_mirror():
    pairs, outcomes, _ = votes(6, n_votes=400, n_items=3)
    bt = BradleyTerry().fit(pairs, outcomes)
    c = bt.comparisons_
    draws = bt.replicates(40, random_state=1)
    counts = np.random.default_rng(1).multinomial(400, c.count / 400, size=40)
    refits = [
        BradleyTerry().fit(np.column_stack([c.first, c.second]), c.outcome, counts=count).strengths_
        for count in counts
    ]
    deviations, true = draws - bt.strengths_, np.array(refits) - bt.strengths_
    assert np.corrcoef(deviations.ravel(), true.ravel())[0, 1] > 0.9


def test_seeds_differ_and_repeat():
    pairs, outcomes, _ = votes(7)
    bt = BradleyTerry().fit(pairs, outcomes)
    one = bt.replicates(10, random_state=0)
    np.testing.assert_array_equal(one, bt.replicates(10, random_state=0))
    np.testing.assert_array_equal(one, bt.replicates(10))
    assert np.abs(one - bt.replicates(10, random_state=1)).max() > 0.01
    for method in ("confint", "leaderboard", "covariance"):
        first, second = (
            np.asarray(getattr(bt, method)(method="bootstrap", n_replicates=30, random_state=seed))
            for seed in (0, 1)
        )
        assert not np.array_equal(first, second)
