"""Judges of judges: agreement, reliability, RewardBench 2 scores, and effects planted in made-up votes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from typer.testing import CliRunner

from lambdamart_kit import BradleyTerry, PreferencePairs, RewardModel
from lambdamart_kit.cli.app import app
from lambdamart_kit.preferences.judges.agreement import LEVELS, alpha_of_codes, krippendorff_alpha
from lambdamart_kit.preferences.judges.best_of import best_of_n, best_of_table, ties_score
from lambdamart_kit.preferences.judges.crowd import CrowdBradleyTerry, crowd_loss
from lambdamart_kit.preferences.judges.families import family
from lambdamart_kit.preferences.judges.logistic import effect_table
from lambdamart_kit.preferences.reading.records import write_records

NAN = float("nan")
RATINGS = [[1, 2, 3, 3, NAN, 1], [1, 2, 3, 2, 2, NAN], [2, 2, 3, 3, 2, NAN]]


# Agreement -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.559322033898), ("ordinal", 0.723639455782)])
def test_published_alpha(level, alpha):
    found = krippendorff_alpha(RATINGS, level=level)
    assert found.alpha == pytest.approx(alpha, abs=1e-12)
    assert (found.n_units, found.n_ratings) == (5, 14)
    assert np.isnan(found.lower)


@pytest.mark.parametrize("level", sorted(LEVELS))
@pytest.mark.parametrize("seed", range(6))
def test_alpha_equals_the_package(level, seed):
    krippendorff = pytest.importorskip("krippendorff")
    rng = np.random.default_rng(seed)
    ratings = rng.integers(0, 4, (5, 40)).astype(float) ** (1 + seed % 2)
    ratings[rng.random(ratings.shape) < 0.4] = np.nan
    ratings[:, :10] = ratings[0, :10]
    expected = krippendorff.alpha(ratings, level_of_measurement=level)
    assert krippendorff_alpha(ratings, level=level).alpha == pytest.approx(expected, abs=1e-12)


def test_values_of_any_kind_and_none_at_all():
    words = [["a", "b", None, "a"], ["a", "b", "b", "a"], ["a", None, "b", "b"]]
    numbers = [[0, 1, NAN, 0], [0, 1, 1, 0], [0, NAN, 1, 1]]
    assert krippendorff_alpha(words).alpha == krippendorff_alpha(numbers).alpha
    assert np.isnan(krippendorff_alpha([[1, 1], [1, 1]], n_replicates=5).alpha)
    assert krippendorff_alpha([[1, NAN], [NAN, 2]]).n_units == 0
    with pytest.raises(ValueError, match="'ratings' must be numbers at level 'interval'; got 'a'"):
        krippendorff_alpha(words, level="interval")
    with pytest.raises(ValueError, match=r"shape \(n_raters, n_units\); got \(3,\)"):
        krippendorff_alpha([1, 2, 3])
    with pytest.raises(ValueError, match="'level' must be one of"):
        krippendorff_alpha(RATINGS, level="cardinal")
    with pytest.raises(ValueError, match="'confidence' must lie between 0 and 1; got 95"):
        krippendorff_alpha(RATINGS, confidence=95)


def test_interval_of_alpha_covers_repeated_samples():
    def sample(seed, n_units=60):
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, 3, n_units)
        seen = rng.random((3, n_units)) < 0.75
        return np.where(seen, truth, rng.integers(0, 3, (3, n_units)))

    population = krippendorff_alpha(sample(0, 200_00)).alpha
    covered = 0
    for seed in range(1, 41):
        found = krippendorff_alpha(sample(seed), n_replicates=200, random_state=seed)
        covered += found.lower <= population <= found.upper
    assert covered >= 34
    again = krippendorff_alpha(sample(1), n_replicates=200, random_state=1)
    assert again == krippendorff_alpha(sample(1), n_replicates=200, random_state=1)
    assert again != krippendorff_alpha(sample(1), n_replicates=200, random_state=2)


def test_mirrored_agreement_does_not_depend_on_which_response_is_called_first():
    rng = np.random.default_rng(0)
    units, codes = np.repeat(np.arange(50), 3), rng.choice(3, 150, p=[0.7, 0.1, 0.2])
    turned = rng.random(50) < 0.5
    mirrored = np.where(np.repeat(turned, 3), 2 - codes, codes)
    one, other = (
        alpha_of_codes(units, c, np.arange(3), level="ordinal", mirrored=True) for c in (codes, mirrored)
    )
    assert one.alpha == pytest.approx(other.alpha, abs=1e-12)
    plain = alpha_of_codes(units, codes, np.arange(3), level="ordinal")
    assert plain.alpha != pytest.approx(one.alpha, abs=1e-3)


# Crowd-BT --------------------------------------------------------------------------------------------------


def test_crowd_likelihood_and_gradient():
    judge, first, second = np.array([(0, 1, 0), (0, 0, 2), (0, 1, 2), (1, 0, 1), (1, 2, 0)]).T
    s, eta = np.array([0, 0.5, -1]), np.array([0.9, 0.6])
    loss, of_s, of_eta = crowd_loss(s, eta, first, second, np.ones(5), judge, 0.0)
    assert -loss == pytest.approx(-2.708558666061, abs=1e-11)
    np.testing.assert_allclose(-of_s, [-0.072542624, 0.373793218, -0.301250594], atol=1e-9)
    np.testing.assert_allclose(-of_eta, [1.926665760, -1.533421335], atol=1e-9)
    with_prior = crowd_loss(s, eta, first, second, np.ones(5), judge, 1.0)[0]
    assert -with_prior + loss == pytest.approx(-4.460971704517, abs=1e-11)


def test_crowd_gradient_by_central_differences():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 4, 60)
    second = (first + rng.integers(1, 4, 60)) % 4
    data = (first, second, rng.choice([0, 0.5, 1.0], 60), rng.integers(0, 3, 60), 0.7)
    at = np.concatenate([rng.normal(size=4), rng.uniform(0.2, 0.9, 3)])
    gradient = np.concatenate(crowd_loss(at[:4], at[4:], *data)[1:])
    for k, axis in enumerate(np.eye(7) * 1e-6):
        up, down = (crowd_loss((at + a)[:4], (at + a)[4:], *data)[0] for a in (axis, -axis))
        assert gradient[k] == pytest.approx((up - down) / 2e-6, abs=1e-6)


def crowd_votes(reliability, n_votes=6000, seed=0):
    rng = np.random.default_rng(seed)
    theta = np.array([1.5, 0.7, 0.0, -0.6, -1.6])
    first = rng.integers(0, 5, n_votes)
    second = (first + rng.integers(1, 5, n_votes)) % 5
    judge = rng.integers(0, len(reliability), n_votes)
    won = rng.random(n_votes) < expit(theta[first] - theta[second])
    honest = rng.random(n_votes) < np.asarray(reliability)[judge]
    return np.column_stack([first, second]), np.where(honest, won, ~won).astype(float), judge, theta


def test_crowd_finds_the_judge_who_votes_against_the_better_one():
    true = [0.97, 0.9, 0.8, 0.5, 0.1]
    pairs, outcomes, judge, theta = crowd_votes(true)
    names = np.array(["a", "b", "c", "d", "e"])[judge]
    crowd = CrowdBradleyTerry().fit(pairs, outcomes, names)
    table = crowd.reliability()
    assert table["judge"].tolist() == ["e", "d", "c", "b", "a"]
    np.testing.assert_allclose(table["reliability"], true[::-1], atol=0.06)
    assert table["votes"].sum() == 6000
    np.testing.assert_allclose(crowd.strengths_ - crowd.strengths_.mean(), theta, atol=0.25)
    plain = BradleyTerry().fit(pairs, outcomes).strengths_
    errors = [np.abs(s - s.mean() - theta).max() for s in (crowd.strengths_, plain)]
    assert errors[0] < errors[1] / 2


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        (lambda: CrowdBradleyTerry(reg_lambda=0).fit([[0, 1]], [1], ["a"]), "'reg_lambda' .* > 0; got 0"),
        (lambda: CrowdBradleyTerry().fit([[0, 1]], [1], [None]), "'judges' must hold one id per row"),
        (lambda: CrowdBradleyTerry().fit([[0, 1]], [1], ["a", "b"]), "'judges' must hold one id per row"),
        (lambda: CrowdBradleyTerry(max_iter=1).fit(*crowd_votes([0.9, 0.6])[:3]), "raise 'max_iter'"),
    ],
)
def test_crowd_bad_input(fit, message):
    with pytest.raises(ValueError, match=message):
        fit()


# RewardBench 2 ---------------------------------------------------------------------------------------------


def test_best_of_four():
    credit = best_of_n([[3, 1, 2, 0], [1, 1, 0, 0], [2, 2, 2, 2], [0, 2, 1, 1]])
    assert credit.tolist() == [1, 1 / 2, 1 / 4, 0]
    with pytest.raises(ValueError, match="prompt 1 has"):
        best_of_n([[1, 0], [np.nan, 0]])


def test_ties_score_written_out():
    ids = ["ref:1", "tied:1", "ref:2", "tied:2", "tied:3"]
    scores = [[5, 1, 0], [4, 3.5, 1], [1, 2], [3, 1, 0.5], [0, 1, 2]]
    found = ties_score(ids, scores, [1, 2, 1, 2, 1])
    assert found.ref_accuracy == 1 / 2
    assert found.tied_accuracy == pytest.approx(2 / 3)
    assert found.correctness_preferred == 1 / 2  # 2.5 > .5, and .5 < 2
    assert found.correctness_preferred_hard == 1 / 2  # min(4, 2.5) > .5, and -1 < 2
    margin = (np.tanh(2.5 / 0.5 - 1) + np.tanh(-1 / 2 - 1)) / 2
    assert found.margin_score == pytest.approx(margin)
    expected = 0.3 * (1 / 2 + 2 / 3) + 0.2 * (1 / 2 + 1 / 2) + 0.01 * margin
    assert found.score == pytest.approx(expected)
    equal = ties_score(["ref:1", "tied:1"], [[2, 1], [3, 3, 1]], [1, 2])
    assert equal.margin_score == 1.0  # correct answers without any spread


def test_a_gap_however_small_is_a_right_answer_and_none_is_wrong():
    """Of four twins the lowest correct answer is .5 and 1e-9 above the best wrong one, level, and below."""
    gaps = [0.5, 1e-9, 0.0, -0.5]
    ids = [f"{kind}:{n}" for n in range(4) for kind in ("ref", "tied")]
    scores = [
        [gap, 0.0] if kind == "ref" else [gap + 2, gap, 0.0] for gap in gaps for kind in ("ref", "tied")
    ]
    found = ties_score(ids, scores, [1, 2] * 4)
    assert found.ref_accuracy == found.tied_accuracy == 0.5
    assert found.correctness_preferred == found.correctness_preferred_hard == 0.0  # the spread is 2


def rewardbench(subset, right, wrong, name="1"):
    return {"id": name, "subset": subset, "prompt": f"{subset} {name}", "chosen": right, "rejected": wrong}


BENCH = [
    rewardbench("Math", ["r 4"], ["w 3", "w 1", "w 0"]),
    rewardbench("Math", ["r 2"], ["w 2 ", "w 1", "w 0"], "2"),
    rewardbench("Focus", ["r 1"], ["w 3", "w 1", "w 0"]),
    rewardbench("Ties", ["r 5"], ["w 1", "w 0"], "ref:1"),
    rewardbench("Ties", ["r 4", "r 3.5"], ["w 1"], "tied:1"),
]


def test_table_of_rewardbench_2():
    """Each response says its own reward. The subsets count alike, whatever their number of prompts."""
    pairs = PreferencePairs.read(BENCH)
    rewards = np.array([float(text.split()[1]) for text in pairs.responses.tolist()])
    table = best_of_table(rewards, pairs)
    ties = ties_score(["ref:1", "tied:1"], [[5, 1, 0], [4, 3.5, 1]], [1, 2]).score
    assert table["subset"].tolist() == ["all", "Focus", "Math", "Ties"]
    assert table["prompts"].tolist() == [5, 1, 2, 2]
    assert table["responses"].tolist() == pytest.approx([18 / 5, 4, 4, 3])
    assert table["score"].tolist() == pytest.approx([(0 + 0.75 + ties) / 3, 0, 0.75, ties])
    several = PreferencePairs.read([{"prompt": "p", "chosen": ["a", "b"], "rejected": ["c", "d"]}])
    given = {"a": 1.0, "b": 2.0, "c": 2.0, "d": 0.0}  # of the two highest, b is right and c is wrong
    rewards = np.array([given[text] for text in several.responses.tolist()])
    assert best_of_table(rewards, several)["score"].tolist() == [0.5, 0.5]
    rated = PreferencePairs.read(
        [{"prompt": "p", "response": r, "score": s} for r, s in (("a", 1), ("b", 2))]
    )
    with pytest.raises(ValueError, match="rows that hold right and wrong responses"):
        best_of_table(np.zeros(2), rated)


def test_reward_models_report_rewardbench_2(tmp_path):
    train = [{"prompt": f"q {i}", "chosen": "word " * (i % 7 + 3), "rejected": "word"} for i in range(40)]
    model = RewardModel("linear", features="text", random_state=0).fit_pairs(PreferencePairs.read(train))
    pairs = PreferencePairs.read(BENCH)
    expected = best_of_table(model.predict_responses(pairs), pairs)
    pd.testing.assert_frame_equal(model.report_best_of(pairs), expected)
    model.save(tmp_path / "rm.lmk")
    write_records(BENCH, tmp_path / "bench.jsonl")
    command = ["pairs", "best-of", str(tmp_path / "rm.lmk"), str(tmp_path / "bench.jsonl")]
    result = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "table.csv")])
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines()[1:5]] == expected["subset"].tolist()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv"), expected)


@pytest.mark.parametrize(
    ("ids", "scores", "correct", "message"),
    [
        (["one:1"], [[1, 0]], [1], "'ref:n' or 'tied:n'; got 'one:1'"),
        (["ref:1", "ref:1"], [[1, 0]] * 2, [1, 1], "'ref:1' comes twice"),
        (["ref:1", "tied:1"], [[1, 0]] * 2, [1, 2], "'tied:1' has 2 correct of 2"),
        (["ref:1", "tied:2"], [[1, 0]] * 2, [1, 1], "of the same n at least once"),
    ],
)
def test_ties_score_bad_input(ids, scores, correct, message):
    with pytest.raises(ValueError, match=message):
        ties_score(ids, scores, correct)


# Effects ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gpt-4-1106-preview", "openai"),
        ("o1-mini", "openai"),
        ("anthropic/claude-3.5-sonnet", "anthropic"),
        ("gemini-1.5-pro", "google"),
        ("Meta-Llama-3.1-8B-Instruct", "meta"),
        ("mixtral-8x7b", "mistral"),
        ("Qwen2.5-72B", "alibaba"),
        ("Yi-34B-Chat", "01-ai"),
        ("grok-2", "xai"),
        ("my Own model", "my own model"),
        ("yields", "yields"),
    ],
)
def test_families(name, expected):
    assert family(name) == expected


def test_effects_equal_logistic_regression():
    statsmodels = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"length": rng.normal(size=400) * 1e-6, "bold": rng.normal(size=400) * 1e5})
    won = (rng.random(400) < expit(X["length"] * 5e5 - X["bold"] * 3e-6)).astype(float)
    cluster = np.repeat(np.arange(100), 4)
    table = effect_table(X, won.to_numpy(), cluster)
    logit = statsmodels.Logit(won, X * [1e6, 1e-5]).fit(
        disp=0, tol=1e-12, cov_type="cluster", cov_kwds={"groups": cluster, "use_correction": False}
    )
    np.testing.assert_allclose(table["estimate"] * [1e-6, 1e5], logit.params, rtol=1e-6)
    np.testing.assert_allclose(table["z"] * np.sqrt(100 / 99), logit.tvalues, rtol=1e-6)
    turned = effect_table(-X, 1 - won.to_numpy(), cluster)
    np.testing.assert_allclose(turned["estimate"], table["estimate"], rtol=1e-9)
    for bad in (pd.DataFrame({"x": np.ones(400), "y": np.ones(400)}), pd.DataFrame({"x": 2 * won - 1})):
        with pytest.raises(ValueError, match="no finite estimate exists"):
            effect_table(bad, won.to_numpy(), cluster)
    with pytest.raises(ValueError, match="'x' is zero in every row"):
        effect_table(pd.DataFrame({"x": np.zeros(400)}), won.to_numpy(), cluster)
