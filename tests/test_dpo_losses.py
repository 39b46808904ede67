"""The family of DPO losses against numbers checked with TRL 1.16.0, and against central differences."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, log_expit

from lambdamart_kit.preferences import dpo
from lambdamart_kit.preferences.dpo import LOSSES, UNPAIRED_LOSSES, PairLogps, RowLogps
from lambdamart_kit.preferences.dpo.losses.margin import MarginLoss

COLUMNS = ("chosen_logps", "rejected_logps", "ref_chosen_logps", "ref_rejected_logps")
ROW = PairLogps([-10.0], [-12.0], [-11.0], [-11.5], chosen_lengths=[20], rejected_lengths=[25])
FOUR = PairLogps(
    [-10.0, -20.0, -8.0, -14.0],
    [-12.0, -15.0, -11.6, -30.0],
    [-11.0, -18.0, -8.5, -14.75],
    [-11.5, -16.0, -8.0, -33.0],
    chosen_lengths=[20, 31, 9, 12],
    rejected_lengths=[25, 17, 14, 40],
)
LABELLED = RowLogps(
    [-10.0, -20.0, -8.0, -14.0],
    [-11.0, -18.0, -8.5, -14.75],
    [True, False, True, False],
    mismatched_logps=[-25.0, -31.0, -28.0, -40.0],
    ref_mismatched_logps=[-25.5, -30.0, -29.0, -40.5],
)
SMOOTHING = {"label_smoothing": 0.1}

# (loss, settings, value, gradient by chosen_logps, gradient by rejected_logps) of ROW at beta = 0.1
ORACLES = [
    ("sigmoid", {}, 0.620957047790, -0.046257015466, 0.046257015466),
    ("hinge", {}, 0.85, -0.1, 0.1),
    ("ipo", {}, 24.3049, -0.493, 0.3944),
    ("exo_pair", {}, 2.505516555478, -0.167972252634, 0.167972252634),
    ("nca_pair", {}, 1.350824814117, -0.021253121878, 0.024375130176),
    ("robust", {}, 0.620957047790, -0.046257015466, 0.046257015466),
    ("robust", SMOOTHING, 0.602207047790, -0.058757015466, 0.058757015466),
    ("bco_pair", {}, 1.312856308087, -0.047502081252, 0.048750260352),
    ("sppo_hard", {}, 36.25, -8.0, 9.0),
    ("apo_zero", {}, 0.962523416037, -0.024937604019, 0.024984381508),
    ("apo_down", {}, 0.987549342135, 0.000077703352, 0.024859900668),
    ("discopop", {}, 0.849337579289, -0.062520302012, 0.062520302012),
    ("sigmoid_norm", {}, 0.689653305547, -0.002491250036, 0.001993000029),
    ("sft", {}, 0.5, -0.05, 0.0),
    ("cdpo", SMOOTHING, 0.635957047790, -0.036257015466, 0.036257015466),
    ("rdpo", {}, 0.883382155419, -0.058661757892, 0.058661757892),
    ("cpo", {"nll_weight": 0.0}, 0.598138869382, -0.045016600269, 0.045016600269),
    ("cpo", {}, 1.098138869382, -0.045016600269 - 0.05, 0.045016600269),
    ("cpo_hinge", {"nll_weight": 0.0}, 0.8, -0.1, 0.1),
    ("cpo_ipo", {"nll_weight": 0.0}, 25.2004, None, None),
    ("simpo", {}, 0.975322372773, -0.062292922338 / 20, 0.062292922338 / 25),
    ("simpo", {"beta": 2.0}, 0.999162736271, None, None),
    ("simpo", {"nll_weight": 1.0}, 1.475322372773, -0.062292922338 / 20 - 0.05, 0.062292922338 / 25),
    ("alphapo", {}, 0.975484741395, None, None),
    ("orpo", {"nll_weight": 0.0}, 0.071929812569, None, None),
    ("orpo", {}, 0.571929812569, -0.056517737632, 0.005381780061),
    ("sigmoid", {"divergence": "forward_kl"}, 0.631154383572, -0.017217591443, 0.077163891387),
    ("sigmoid", {"divergence": "js_divergence"}, 0.660652162510, -0.013002931165, 0.030095013983),
    ("sigmoid", {"divergence": "alpha_divergence"}, 0.627690947069, -0.028275064058, 0.059858311080),
    ("sigmoid", {"divergence": "alpha_divergence", "divergence_alpha": 1.0}, 0.620957047790, None, None),
]
REFERENCE_FREE = ("sft", "cpo", "cpo_hinge", "cpo_ipo", "simpo", "alphapo", "orpo")
# Settings under which every part of a formula is at work.
FULL_SETTINGS = {
    "label_smoothing": 0.1,
    "divergence": "js_divergence",
    "gamma": 0.3,
    "nll_weight": 0.7,
    "desirable_weight": 1.3,
    "undesirable_weight": 0.6,
    "kl": 0.25,
    "delta": 0.1,
}


SORTED = ("aot", "aot_unpaired")


def losses(condition):
    """Parametrise over the losses that fulfil the condition."""
    kept = {name: loss for name, loss in LOSSES.items() if condition(loss)}
    return pytest.mark.parametrize("loss", kept.values(), ids=kept)


def settings_of(loss):
    return {name: value for name, value in FULL_SETTINGS.items() if name in loss.reads}


@pytest.mark.parametrize(("name", "settings", "value", "chosen", "rejected"), ORACLES)
def test_value_and_gradient_of_one_row(name, settings, value, chosen, rejected):
    loss = LOSSES[name]
    assert loss.value(ROW, **settings)[0] == pytest.approx(value, abs=2e-12)
    gradient = loss.gradient(ROW, **settings)
    if chosen is not None:
        assert gradient.chosen_logps[0] == pytest.approx(chosen, abs=2e-12)
        assert gradient.rejected_logps[0] == pytest.approx(rejected, abs=2e-12)
    reference = (0.0, 0.0) if name in REFERENCE_FREE else (-gradient[0][0], -gradient[1][0])
    assert (gradient.ref_chosen_logps[0], gradient.ref_rejected_logps[0]) == reference


def test_ipo_of_the_paper_has_no_lengths():
    sums = PairLogps([-10.0], [-12.0], [-11.0], [-11.5])
    assert LOSSES["ipo"].value(sums)[0] == pytest.approx(12.25)
    assert LOSSES["ipo"].gradient(sums).chosen_logps[0] == pytest.approx(-7.0)


def test_reference_free_sigmoid_has_zeros_for_a_reference():
    zeros = PairLogps([-10.0], [-12.0], [0.0], [0.0])
    assert LOSSES["sigmoid"].mean(zeros) == pytest.approx(0.598138869382, abs=2e-12)


@pytest.mark.parametrize(
    ("name", "smoothing", "value"),
    [
        ("aot", 0.0, 0.698092138209),
        ("aot", 0.1, 0.698967138209),
        ("aot_unpaired", 0.0, 0.691151151505),
        ("aot_unpaired", 0.1, 0.692026151505),
        ("cdpo", 0.0, 0.699072107100),
    ],
)
def test_sorted_losses_of_four_rows(name, smoothing, value):
    assert LOSSES[name].mean(FOUR, label_smoothing=smoothing) == pytest.approx(value, abs=2e-12)


def test_gradient_of_aot_goes_through_both_sorts():
    gradient = LOSSES["aot"].gradient(FOUR)
    by_policy = np.array([-0.010945587, -0.014361063, -0.010577868, -0.013900347])
    by_reference = np.array([0.010577868, 0.014361063, 0.010945587, 0.013900347])
    expected = (by_policy, -by_policy, by_reference, -by_reference)
    np.testing.assert_allclose(np.array(gradient), np.array(expected), atol=6e-10)


def test_gradient_of_aot_unpaired():
    gradient = LOSSES["aot_unpaired"].gradient(FOUR)
    np.testing.assert_allclose(
        gradient.chosen_logps, [-0.013745850, -0.011502128, -0.011875520, -0.012656242], atol=6e-10
    )
    np.testing.assert_allclose(
        gradient.rejected_logps, [0.011875520, 0.012656242, 0.011502128, 0.013745850], atol=6e-10
    )


def test_kto():
    kto = UNPAIRED_LOSSES["kto"]
    assert kto.mean(LABELLED) == pytest.approx(0.482873153890, abs=2e-12)  # k = (.5 - 1 + 1 + .5) / 4 = .25
    assert kto.mean(LABELLED, kl=0.25) == kto.mean(LABELLED)
    np.testing.assert_allclose(
        kto.gradient(LABELLED).logps,
        [-0.006241219171, 0.006171561102, -0.006249023539, 0.006246095377],
        atol=2e-12,
    )
    below = RowLogps([-1.0], [-1.0], [True], mismatched_logps=[-3.0], ref_mismatched_logps=[-2.0])
    assert kto.mean(below) == kto.mean(below, kl=0.0)  # a negative estimate counts as 0


def test_apo_zero_unpaired():
    assert UNPAIRED_LOSSES["apo_zero_unpaired"].mean(LABELLED) == pytest.approx(0.482857658651, abs=2e-12)


def test_bco_shifts_rewards_by_their_running_mean():
    shift = dpo.RunningMean()
    second = RowLogps(LABELLED.logps + 1, LABELLED.ref_logps, LABELLED.desirable)
    for rows, delta, value in ((LABELLED, 0.00625, 0.660581220071), (second, 0.05625, 0.660894514721)):
        assert shift.update(0.1 * rows.ratios) == pytest.approx(delta, abs=1e-15)
        assert UNPAIRED_LOSSES["bco"].mean(rows, delta=shift.mean) == pytest.approx(value, abs=2e-12)


def test_mixed_preference_optimisation():
    mpo = dpo.combined(["sigmoid", "bco_pair", "sft"], [0.8, 0.2, 1.0])
    assert mpo.mean(ROW, beta=0.1) == pytest.approx(1.259336899849, abs=2e-12)
    assert mpo.gradient(ROW).chosen_logps[0] == pytest.approx(-0.096506028623, abs=2e-12)
    assert dpo.combined(["sigmoid", "sft"]).mean(ROW) == pytest.approx(0.620957047790 + 0.5, abs=2e-12)


# Gradients ------------------------------------------------------------------------------------------------


def columns_of(batch):
    return {name: getattr(batch, name) for name in COLUMNS}


def with_columns(batch, columns):
    return PairLogps(
        **columns,
        chosen_lengths=batch.chosen_lengths,
        rejected_lengths=batch.rejected_lengths,
        weight=batch.weight,
    )


def assert_central_differences(loss, batch, settings, step=1e-5):
    gradient = loss.gradient(batch, **settings)
    for name in COLUMNS:
        for row in range(len(batch)):
            ends = []
            for sign in (1, -1):
                columns = {key: values.copy() for key, values in columns_of(batch).items()}
                columns[name][row] += sign * step
                ends.append(loss.mean(with_columns(batch, columns), **settings))
            slope = (ends[0] - ends[1]) / (2 * step)
            assert getattr(gradient, name)[row] == pytest.approx(slope, abs=2e-8, rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("batch", [ROW, FOUR], ids=["one", "four"])
def test_gradients_by_central_differences(loss, batch):
    assert_central_differences(loss, batch, settings_of(loss))


@losses(lambda loss: loss.name not in SORTED)
def test_weighted_gradients_by_central_differences(loss):
    weighted = with_columns(FOUR, columns_of(FOUR))
    weighted.weight = np.array([1.0, 0.5, 0.0, 3.0])
    assert_central_differences(loss, weighted, settings_of(loss))


@pytest.mark.parametrize("name", SORTED)
def test_quantiles_have_no_weights(name):
    weighted = with_columns(FOUR, columns_of(FOUR))
    weighted.weight = np.array([1.0, 0.5, 0.0, 3.0])
    with pytest.raises(ValueError, match="compares quantiles"):
        LOSSES[name].mean(weighted)


@losses(lambda loss: loss.name not in SORTED)
def test_a_weight_of_two_is_a_pair_given_twice(loss):
    rows = [0, 1, 1, 2, 3]
    twice = PairLogps(
        **{name: values[rows] for name, values in columns_of(FOUR).items()},
        chosen_lengths=FOUR.chosen_lengths[rows],
        rejected_lengths=FOUR.rejected_lengths[rows],
    )
    weighted = with_columns(FOUR, columns_of(FOUR))
    weighted.weight = np.array([1.0, 2.0, 1.0, 1.0])
    settings = settings_of(loss)
    assert loss.mean(weighted, **settings) == pytest.approx(loss.mean(twice, **settings))


@pytest.mark.parametrize("name", list(dpo.DIVERGENCES))
@losses(lambda loss: "divergence" in loss.reads)
def test_gradients_under_every_divergence(loss, name):
    assert_central_differences(loss, FOUR, {**settings_of(loss), "divergence": name})


@pytest.mark.parametrize("loss", UNPAIRED_LOSSES.values(), ids=UNPAIRED_LOSSES)
def test_unpaired_gradients_by_central_differences(loss):
    settings = settings_of(loss)
    gradient = loss.gradient(LABELLED, **settings)
    np.testing.assert_allclose(gradient.ref_logps, -gradient.logps)
    for row in range(len(LABELLED)):
        shift = 1e-5 * (np.arange(len(LABELLED)) == row)
        up, down = (
            loss.mean(RowLogps(LABELLED.logps + s, LABELLED.ref_logps, LABELLED.desirable), **settings)
            for s in (shift, -shift)
        )
        assert gradient.logps[row] == pytest.approx((up - down) / 2e-5, abs=1e-9)


@losses(lambda loss: loss.name not in (*SORTED, "sft") and "nll_weight" not in loss.reads)
def test_the_mean_of_a_batch_is_the_mean_of_its_rows(loss):
    """Except where a loss is one of the whole batch: quantiles, and means over all tokens."""
    settings = settings_of(loss)
    alone = [
        loss.mean(
            PairLogps(
                **{name: values[row : row + 1] for name, values in columns_of(FOUR).items()},
                chosen_lengths=FOUR.chosen_lengths[row : row + 1],
                rejected_lengths=FOUR.rejected_lengths[row : row + 1],
            ),
            **settings,
        )
        for row in range(4)
    ]
    assert loss.mean(FOUR, **settings) == pytest.approx(np.mean(alone))


# Identities -----------------------------------------------------------------------------------------------


def margins(z):
    """A batch with these margins at beta = 0.1, spread over both responses."""
    z = np.asarray(z, dtype=float)
    ones = np.ones(len(z))
    return PairLogps(
        6 * z - 50, -4 * z - 50, -50 * ones, -50 * ones, chosen_lengths=ones, rejected_lengths=ones
    )


Z = np.linspace(-3, 3, 13)


def test_swapping_the_responses_of_cdpo_swaps_the_flip_rate():
    e = 0.3
    swapped = -e * log_expit(Z) - (1 - e) * log_expit(-Z)
    np.testing.assert_allclose(LOSSES["cdpo"].value(margins(-Z), label_smoothing=e), swapped)


def test_cdpo_is_least_where_the_policy_is_as_sure_as_the_labels():
    e = 0.2
    at = np.log((1 - e) / e)
    assert LOSSES["cdpo"].gradient(margins([at]), label_smoothing=e).chosen_logps[0] == pytest.approx(
        0, abs=1e-14
    )


def test_robust_is_unbiased_for_the_clean_loss():
    e = 0.2
    seen = LOSSES["robust"].value(margins(Z), label_smoothing=e)
    flipped = LOSSES["robust"].value(margins(-Z), label_smoothing=e)
    np.testing.assert_allclose((1 - e) * seen + e * flipped, LOSSES["sigmoid"].value(margins(Z)), atol=1e-12)


def test_exo_pair_is_a_kl_divergence():
    e = 0.1
    p = np.stack([expit(Z), expit(-Z)])
    label = np.array([[1 - e], [e]])
    kl = (p * np.log(p / label)).sum(axis=0)
    np.testing.assert_allclose(LOSSES["exo_pair"].value(margins(Z), label_smoothing=e), kl, atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_which_losses_see_a_shift_of_both_log_ratios(loss):
    """Losses of the margin do not: that is why they let the chosen response become less likely."""
    base = PairLogps([-10.0], [-12.0], [-11.0], [-11.5], chosen_lengths=[4], rejected_lengths=[4])
    moved = PairLogps([-13.0], [-15.0], [-11.0], [-11.5], chosen_lengths=[4], rejected_lengths=[4])
    settings = {**settings_of(loss), **({"divergence": "reverse_kl"} if "divergence" in loss.reads else {})}
    of_margin = ("sigmoid", "hinge", "ipo", "cdpo", "robust", "exo_pair", "discopop", "sigmoid_norm", "rdpo")
    blind = (*of_margin, *SORTED)
    same = loss.mean(base, **settings) == pytest.approx(loss.mean(moved, **settings), abs=1e-12)
    assert same == (loss.name in blind), loss.name
    if loss.name in ("simpo", "cpo", "cpo_hinge", "cpo_ipo"):  # without the likelihood they are blind too
        settings["nll_weight"] = 0.0
        assert loss.mean(base, **settings) == pytest.approx(loss.mean(moved, **settings), abs=1e-12)


def test_alphapo_with_a_small_alpha_is_simpo():
    np.testing.assert_allclose(
        LOSSES["alphapo"].value(FOUR, reward_alpha=1e-9), LOSSES["simpo"].value(FOUR), atol=1e-8
    )


def test_divergences_agree_where_policy_and_reference_are_equal():
    """Every divergence is KL near there, up to a factor: score 0 and slope 1 (1/2 for Jensen-Shannon)."""
    for divergence in dpo.DIVERGENCES.values():
        assert divergence.score(np.zeros(1))[0] == pytest.approx(0, abs=1e-15)
        assert divergence.slope(np.zeros(1))[0] == pytest.approx(1 / 2 if "js" in divergence.name else 1)


# Extremes -------------------------------------------------------------------------------------------------


FAR = PairLogps(
    [-1e-3, -1e4],
    [-1e4, -1e-3],
    [-5.0, -5.0],
    [-5.0, -5.0],
    chosen_lengths=[1, 1],
    rejected_lengths=[1, 1],
)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_finite_at_extreme_log_probs(loss):
    for values in loss.terms(FAR, **settings_of(loss)):
        assert np.isfinite(values).all()


@pytest.mark.parametrize("name", list(dpo.DIVERGENCES))
@losses(lambda loss: "divergence" in loss.reads)
def test_finite_at_extreme_log_probs_under_every_divergence(loss, name):
    for values in loss.terms(FAR, **{**settings_of(loss), "divergence": name}):
        assert np.isfinite(values).all()


def test_discopop_is_finite_far_below():
    """TRL 1.16 gives nan at z = -990, from 0 * infinity: m exp(-z) = exp(log sigma(z / tau) - z) is 0."""
    terms = LOSSES["discopop"].terms(margins([-990.0]))
    assert terms.loss[0] == pytest.approx(990.0)  # m is 0: what is left is -log sigma(z)
    assert terms.chosen[0] == pytest.approx(-0.1)


def test_orpo_of_a_certain_response_is_finite():
    certain = PairLogps([0.0], [-3.0], chosen_lengths=[2], rejected_lengths=[3])
    assert np.isfinite(LOSSES["orpo"].value(certain)).all()
    assert np.isfinite(LOSSES["orpo"].gradient(certain)).all()


def test_infinite_margins():
    for name in ("sigmoid", "hinge", "cdpo"):
        assert dpo.dpo_loss([np.inf, -np.inf], loss=name).tolist() == [0.0, np.inf], name
    assert dpo.dpo_loss([np.inf], loss="robust", label_smoothing=0.1).tolist() == [-np.inf]
    assert dpo.dpo_loss([np.inf], loss="exo_pair").tolist() == [pytest.approx(-np.log(0.999))]


@losses(lambda loss: isinstance(loss, MarginLoss))
def test_slope_by_the_margin(loss):
    settings = {"label_smoothing": 0.1} if "label_smoothing" in loss.reads else {}
    ends = [dpo.dpo_loss(Z + step, loss=loss.name, beta=0.4, **settings) for step in (1e-6, -1e-6)]
    # Away from the kink of the hinge, which is at 1.
    slope = dpo.dpo_gradient(Z, loss=loss.name, beta=0.4, **settings)
    smooth = Z != 1
    np.testing.assert_allclose(slope[smooth], ((ends[0] - ends[1]) / 2e-6)[smooth], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LOSSES["sigmoid"].value(ROW, label_smoothing=0.1), "no setting 'label_smoothing'"),
        (lambda: LOSSES["nca_pair"].value(ROW, divergence="forward_kl"), "no setting 'divergence'"),
        (lambda: LOSSES["robust"].value(ROW, label_smoothing=0.5), r"\[0, 0.5\); got 0.5"),
        (lambda: LOSSES["exo_pair"].value(ROW, label_smoothing=0.0), "'label_smoothing' must be > 0"),
        (lambda: LOSSES["sigmoid"].value(ROW, beta=-1.0), "'beta' must be finite and > 0; got -1"),
        (lambda: LOSSES["sigmoid"].value(ROW, divergence="chi"), "'divergence' must be one of 'reverse_kl'"),
        (lambda: LOSSES["discopop"].value(ROW, tau=0.0), "'tau' must be finite and > 0"),
        (lambda: LOSSES["kto"].value(ROW), "'kto' needs its reference point"),
        (lambda: LOSSES["sigmoid"].value(PairLogps([-1.0], [-2.0])), "needs the column 'ref_chosen_logps'"),
        (lambda: LOSSES["simpo"].value(PairLogps([-1.0], [-2.0])), "needs the column 'chosen_lengths'"),
        (lambda: PairLogps([np.nan], [-2.0]), "'chosen_logps' must be finite; row 0 has nan"),
        (lambda: PairLogps([-1.0], [-np.inf]), "'rejected_logps' must be finite; row 0 has -inf"),
        (lambda: PairLogps([-1.0], [-2.0], [-1.0]), "must be given together"),
        (lambda: PairLogps([], []), "at least one pair"),
        (lambda: PairLogps([-1.0], [-2.0], weight=[-1.0]), "'weight' must hold 1 finite weights"),
        (lambda: RowLogps([-1.0], [-1.0], [2]), "'desirable' must hold 1 values, True or False"),
        (lambda: dpo.combined([]), "'losses' must name at least one"),
        (lambda: dpo.combined(["sft"], [1.0, 2.0]), "'weights' must hold one finite number"),
        (lambda: dpo.dpo_loss([np.nan]), "'margin' must hold numbers; row 0 is NaN"),
        (lambda: dpo.dpo_loss([0.1], beta=-1), "'beta' must be finite and > 0"),
        (lambda: dpo.dpo_loss([0.1], loss="nca_pair"), r"use LOSSES\['nca_pair'\].value"),
        (lambda: dpo.margin_accuracy([1.0, np.nan]), "'margin' must hold numbers; row 1 is NaN"),
        (lambda: dpo.compare_margins([1.0, np.nan], [1.0, 2.0]), "'implicit' must be finite; row 1"),
        (
            lambda: dpo.implicit_margin([-np.inf], [-1.0], [-2.0], [-1.0]),
            "'chosen_logps' must be finite; row 0",
        ),
        (lambda: dpo.implicit_rewards([[-1.0, -2.0]], [[-1.0, -2.0]]), "'logps' must be one-dimensional"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_guide_names_every_loss():
    guide = (Path(__file__).parents[1] / "docs" / "dpo.md").read_text()
    table = guide[guide.index("| what it sees") :].split("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", table)) - {"UNPAIRED_LOSSES", "LOSSES"}
    assert named == {loss.name for loss in LOSSES.values()}


def test_log_probabilities_say_whether_they_have_a_reference():
    assert repr(PairLogps([-1.0], [-2.0])) == "PairLogps: 1 pairs, no reference, no lengths"
    with_reference = PairLogps([-1.0], [-2.0], ref_chosen_logps=[-1.5], ref_rejected_logps=[-1.5])
    assert repr(with_reference) == "PairLogps: 1 pairs, with reference, no lengths"
