"""The log-linear policy: closed forms, equality with Bradley-Terry and logistic regression, its history."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from scipy.optimize import check_grad
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression

from lambdamart_kit import DPOPolicy, PreferencePairs
from lambdamart_kit.preferences import dpo
from lambdamart_kit.preferences.dpo import training
from lambdamart_kit.preferences.dpo.batches import make_batch, standard_deviations
from lambdamart_kit.preferences.dpo.training import PolicyLoss
from lambdamart_kit.rankers.saving import ModelFormatError

NAMES = [name for name in dpo.LOSSES if name != "smoothed"]
SMOOTH = [name for name in NAMES if name not in ("hinge", "cpo_hinge", "aot", "aot_unpaired")]


def noisy_pairs(n_prompts=60, n_responses=5, n_features=4, n_pairs=6, seed=0):
    """Prompts with a linear true reward and Bradley-Terry labels; returns the pairs and the reward."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_prompts * n_responses, n_features))
    reward = X @ np.linspace(1.0, -0.5, n_features)
    prompt = np.repeat(np.arange(n_prompts), n_pairs)
    first = prompt * n_responses + rng.integers(0, n_responses, len(prompt))
    second = prompt * n_responses + rng.integers(0, n_responses, len(prompt))
    second = np.where(first == second, prompt * n_responses + (second + 1) % n_responses, second)
    wins = rng.random(len(prompt)) < 1 / (1 + np.exp(reward[second] - reward[first]))
    chosen = np.where(wins, first, second)
    rejected = np.where(wins, second, first)
    return PreferencePairs.from_indices(X, chosen, rejected, prompt=prompt), reward


def fitted(pairs, **params):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return DPOPolicy(**params).fit_pairs(pairs)


# Closed forms ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.01, 0.1, 1.0, 7.0])
@pytest.mark.parametrize("uniform", [True, False])
def test_on_tabular_features_it_is_tabular_dpo(beta, uniform):
    rng = np.random.default_rng(0)
    ref = np.full(5, 0.2) if uniform else rng.dirichlet(np.ones(5))
    table = rng.integers(0, 5, (300, 2))
    table = table[table[:, 0] != table[:, 1]]
    pairs = PreferencePairs.from_indices(np.eye(5), table[:, 0], table[:, 1], prompt=np.zeros(len(table)))
    ref_logps = None if uniform else np.log(ref)
    policy = DPOPolicy(beta=beta).fit_pairs(pairs, ref_logps=ref_logps)
    found = policy.predict_policy(pairs, ref_logps=ref_logps)
    np.testing.assert_allclose(found["reference"], ref, atol=1e-14)
    np.testing.assert_allclose(found["probability"], dpo.tabular_dpo(ref, table, beta=beta), atol=1e-8)
    assert policy.converged_


def test_several_prompts_are_several_tables():
    rng = np.random.default_rng(1)
    cycle = np.tile([[0, 1], [1, 2], [2, 0], [1, 0]], (4, 1))
    tables = [np.concatenate([cycle, cycle[rng.integers(0, 16, 5)]]) for _ in range(3)]
    prompt = np.repeat(np.arange(3), [len(table) for table in tables])
    rows = np.concatenate([table + 3 * k for k, table in enumerate(tables)])
    pairs = PreferencePairs.from_indices(np.eye(9), rows[:, 0], rows[:, 1], prompt=prompt)
    found = DPOPolicy(beta=0.3).fit_pairs(pairs).predict_policy(pairs)
    for k, table in enumerate(tables):
        expected = dpo.tabular_dpo(np.full(3, 1 / 3), table, beta=0.3)
        np.testing.assert_allclose(found["probability"][found["prompt"] == k], expected, atol=1e-8)


def test_soft_labels_are_outcomes_of_tabular_dpo():
    table = np.array([[0, 1], [1, 2], [2, 0]])
    target = np.array([0.7, 0.5, 0.2])
    pairs = PreferencePairs.from_indices(np.eye(3), *table.T, prompt=[0, 0, 0], target=target)
    both = np.concatenate([table, table[:, ::-1]])
    expected = dpo.tabular_dpo([1 / 3] * 3, both, beta=0.5, sample_weight=np.r_[target, 1 - target])
    found = DPOPolicy(beta=0.5).fit_pairs(pairs).predict_policy(pairs)
    np.testing.assert_allclose(found["probability"], expected, atol=1e-8)


def test_sigmoid_is_logistic_regression_on_differences():
    pairs, _ = noisy_pairs()
    difference = pairs.features[pairs.chosen] - pairs.features[pairs.rejected]
    sign = np.where(np.arange(len(pairs)) % 2, 1, -1)
    plain = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-12, max_iter=1000)
    plain.fit(difference * sign[:, None], sign)
    policy = DPOPolicy(beta=0.2).fit_pairs(pairs)
    np.testing.assert_allclose(policy.beta * policy.coef_, plain.coef_[0], atol=1e-6)
    np.testing.assert_allclose(policy.predict(np.eye(4)), policy.beta * policy.coef_)


def test_penalty_is_that_of_logistic_regression_on_scaled_features():
    pairs, _ = noisy_pairs()
    scale = standard_deviations(make_batch(pairs.features, pairs, None, None).X)
    difference = (pairs.features[pairs.chosen] - pairs.features[pairs.rejected]) / scale
    sign = np.where(np.arange(len(pairs)) % 2, 1, -1)
    ridge = LogisticRegression(C=1 / 5.0, fit_intercept=False, tol=1e-12, max_iter=1000)
    ridge.fit(difference * sign[:, None], sign)
    policy = DPOPolicy(beta=0.2, reg_lambda=5.0).fit_pairs(pairs)
    np.testing.assert_allclose(policy.beta * policy.coef_ * scale, ridge.coef_[0], atol=1e-6)


def test_sppo_regresses_each_log_ratio_on_its_half_inverse_beta():
    """Two responses, one pair: a = 1/(2 beta), b = -1/(2 beta) is out of reach, as probabilities sum to 1."""
    pairs = PreferencePairs.from_indices(np.eye(2), [0], [1], prompt=["p"])
    policy = DPOPolicy(loss="sppo_hard", beta=1.0).fit_pairs(pairs)
    p = policy.predict_policy(pairs)["probability"][0]
    grid = np.linspace(0.5, 0.9, 400_001)
    loss = (np.log(2 * grid) - 0.5) ** 2 + (np.log(2 * (1 - grid)) + 0.5) ** 2
    assert p == pytest.approx(grid[loss.argmin()], abs=2e-6)


def test_cdpo_stops_at_the_odds_of_the_labels():
    pairs = PreferencePairs.from_indices(np.eye(2), [0], [1], prompt=["p"])
    policy = DPOPolicy(loss="cdpo", beta=0.5, loss_params={"label_smoothing": 0.2}).fit_pairs(pairs)
    rewards = policy.predict_responses(pairs)
    assert rewards[0] - rewards[1] == pytest.approx(np.log(0.8 / 0.2), abs=1e-9)


def test_aot_is_cdpo_where_the_reference_is_uniform():
    pairs, _ = noisy_pairs()
    one = DPOPolicy("aot", loss_params={"label_smoothing": 0.1}).fit_pairs(pairs)
    other = DPOPolicy("cdpo", loss_params={"label_smoothing": 0.1}).fit_pairs(pairs)
    np.testing.assert_allclose(one.coef_, other.coef_, atol=1e-7)


def test_ipo_has_a_margin_of_one_half():
    pairs = PreferencePairs.from_indices(np.eye(2), [0], [1], prompt=["p"])
    rewards = DPOPolicy(loss="ipo", beta=0.3).fit_pairs(pairs).predict_responses(pairs)
    assert rewards[0] - rewards[1] == pytest.approx(0.5, abs=1e-9)


def test_kto_agrees_with_its_own_kl():
    """At the end the reference point is the policy's KL, and the gradient at that constant is zero."""
    pairs, _ = noisy_pairs(n_pairs=12)
    policy = fitted(pairs, loss="kto", beta=0.5, reg_lambda=1.0)
    assert policy.converged_
    kl = policy.report(pairs)["kl"][0]
    again = fitted(pairs, loss="kto", beta=0.5, reg_lambda=1.0, loss_params={"kl": kl})
    np.testing.assert_allclose(policy.coef_, again.coef_, atol=1e-6)


def test_the_search_for_ktos_kl_uses_every_step_it_may(monkeypatch):
    """Where a round of the search ends one step before the last, the next round has that one step."""
    pairs, _ = noisy_pairs(n_prompts=20, n_pairs=12)
    ends = []

    def recorded(loss, steps, max_iter, tol):
        descend(loss, steps, max_iter, tol)
        ends.append(len(steps) - 1)

    descend = training._descend
    monkeypatch.setattr(training, "_descend", recorded)
    whole = fitted(pairs, loss="kto", beta=0.5, reg_lambda=1.0)
    assert ends[0] < ends[1] < whole.n_iter_
    for max_iter in (ends[0], ends[0] + 1):
        cut = fitted(pairs, loss="kto", beta=0.5, reg_lambda=1.0, max_iter=max_iter)
        assert cut.n_iter_ == max_iter


# Every loss -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMOOTH)
def test_gradient_of_every_loss_by_the_coefficients(name):
    pairs, _ = noisy_pairs(n_prompts=8)
    rng = np.random.default_rng(0)
    n = len(pairs.response_prompt)
    batch = make_batch(pairs.features, pairs, rng.normal(size=n), rng.integers(1, 9, n))
    loss = dpo.LOSSES[name]
    settings = {"kl": 0.2} if name == "kto" else {}
    objective = PolicyLoss(batch, loss, settings, 0.4, standard_deviations(batch.X), 0.1)
    for _ in range(3):
        weights = rng.normal(size=4) / 3
        error = check_grad(lambda w: objective(w)[0], objective.gradient, weights, epsilon=1e-6)
        assert error < 2e-5 * (1 + np.abs(objective.gradient(weights)).max())


@pytest.mark.parametrize("name", [name for name in NAMES if name != "discopop"])
def test_every_loss_learns_the_reward(name):
    pairs, reward = noisy_pairs(n_prompts=150)
    policy = fitted(pairs, loss=name, beta=0.5, reg_lambda=1e-2)
    learned = policy.predict(pairs.features)
    assert np.corrcoef(learned, reward)[0, 1] > (0.6 if name in ("apo_down", "sft") else 0.85)
    history = policy.history_
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]


def test_discopop_ends_in_its_local_minimum():
    """Its slope is positive at margin 0, so training from the reference moves margins below 0."""
    pairs = PreferencePairs.from_indices(np.eye(2), [0], [1], prompt=["p"])
    policy = fitted(pairs, loss="discopop", beta=0.5)
    z = np.linspace(-1.0, 0.0, 100_001)
    loss = dpo.dpo_loss(z, loss="discopop")
    assert 0 < loss.argmin() < len(z) - 1
    rewards = policy.predict_responses(pairs)
    assert rewards[0] - rewards[1] == pytest.approx(z[loss.argmin()], abs=2e-5)


def test_combined_losses():
    pairs, _ = noisy_pairs()
    lengths = np.ones(len(pairs.response_prompt))
    mixed = DPOPolicy(loss=["sigmoid", "sft"], loss_weights=[1.0, 0.2], beta=0.5).fit_pairs(
        pairs, lengths=lengths
    )
    alone = DPOPolicy(loss="sigmoid", beta=0.5).fit_pairs(pairs)
    weightless = DPOPolicy(loss=["sigmoid", "sft"], loss_weights=[1.0, 0.0], beta=0.5)
    weightless.fit_pairs(pairs, lengths=lengths)
    np.testing.assert_allclose(weightless.coef_, alone.coef_, atol=1e-7)
    # The likelihood of the chosen responses rises where it is asked for.
    assert mixed.report(pairs, lengths=lengths)["chosen_logps"][0] > alone.report(pairs)["chosen_logps"][0]


# What is reported -----------------------------------------------------------------------------------------


def test_report_by_hand():
    pairs = PreferencePairs.from_indices(np.array([[1.0], [0.0], [0.0]]), [0, 1], [1, 2], prompt=["p", "p"])
    policy = fitted(pairs, beta=0.5, max_iter=1)
    policy.coef_ = np.array([np.log(2.0)])  # probabilities 2/4, 1/4, 1/4
    row = policy.report(pairs, rewards=[3.0, 1.0, 1.0]).iloc[0]
    ratio = np.log([1.5, 0.75, 0.75])
    assert row["margin"] == pytest.approx(0.5 * np.log(2) / 2)
    assert row["accuracy"] == pytest.approx((1 + 0.5) / 2)
    assert row["chosen_rewards"] == pytest.approx(0.5 * (ratio[0] + ratio[1]) / 2)
    assert row["rejected_rewards"] == pytest.approx(0.5 * ratio[1])
    assert row["chosen_logps"] == pytest.approx((np.log(1 / 2) + np.log(1 / 4)) / 2)
    assert row["displaced"] == pytest.approx(0.5)
    assert row["kl"] == pytest.approx(0.5 * ratio[0] + 0.5 * ratio[1])
    # first pair: policy 2/3 against reference 1/2; second pair: equal
    assert row["win_rate"] == pytest.approx((0.5 + 0.5 * (2 / 3 - 1 / 2) + 0.5) / 2)
    assert row["reward"] == pytest.approx(0.5 * 3 + 0.5 * 1)
    assert row["reward_win_rate"] == pytest.approx(1 / 2 * (2 / 3 + 1 / 6) + 1 / 2 * (1 / 3))
    assert row["loss"] == pytest.approx((np.log1p(2**-0.5) + np.log(2)) / 2)


def test_reward_win_rate_by_brute_force():
    pairs, reward = noisy_pairs(n_prompts=7)
    reward = reward.round()  # ties
    policy = fitted(pairs, beta=0.5)
    table = policy.predict_policy(pairs)
    rates = []
    for _, rows in table.groupby("prompt"):
        r = reward[rows["response"]]
        beats = (r[:, None] > r[None, :]) + 0.5 * (r[:, None] == r[None, :])
        rates.append(rows["probability"].to_numpy() @ beats @ rows["reference"].to_numpy())
    assert policy.report(pairs, rewards=reward)["reward_win_rate"][0] == pytest.approx(np.mean(rates))


def test_history():
    pairs, reward = noisy_pairs()
    train, held_out = pairs.split(test_size=0.3, random_state=0)
    policy = DPOPolicy(beta=0.5).fit_pairs(train, rewards=reward, eval_pairs=held_out)
    history = policy.history_
    assert history["pairs"].unique().tolist() == ["train", "held out"]
    start = history.iloc[0]
    assert start["loss"] == pytest.approx(np.log(2))
    assert start[["margin", "kl", "win_rate", "accuracy"]].tolist() == pytest.approx([0, 0, 0.5, 0.5])
    assert start["reward_win_rate"] == pytest.approx(0.5)
    for name, given in (("train", train), ("held out", held_out)):
        last = history[history["pairs"] == name].iloc[-1].drop(["step", "pairs"])
        pd.testing.assert_series_equal(
            last, policy.report(given, rewards=reward).iloc[0], check_names=False, check_dtype=False
        )
        assert last["reward_win_rate"] > 0.6


def test_margins_grow_while_chosen_responses_are_displaced():
    """Razin et al.: when both responses look alike and a third does not, DPO moves mass to the third."""
    X = np.array([[1.0, 0.0], [1.0, -0.2], [-1.0, 3.0]])
    pairs = PreferencePairs.from_indices(X, [0, 2], [1, 0], prompt=["p", "p"], weight=[1.0, 1e-9])
    policy = fitted(pairs, beta=0.1, max_iter=5)
    history = policy.history_
    # The first steps change margins by 0.02, 0.022, 0.0242, ...
    assert history["margin"].iloc[-1] == pytest.approx(0.02 * (1.1**5 - 1) / 0.1, rel=1e-6)
    assert history["chosen_logps"].iloc[-1] < history["chosen_logps"].iloc[0] - 0.1
    assert history["displaced"].iloc[-1] == pytest.approx(1.0)


def test_log_probs_feed_the_losses():
    pairs, _ = noisy_pairs()
    policy = DPOPolicy(beta=0.5).fit_pairs(pairs)
    frame = policy.predict_logps(pairs)
    batch = dpo.PairLogps(**frame)
    assert dpo.LOSSES["sigmoid"].mean(batch, beta=0.5) == pytest.approx(policy.report(pairs)["loss"][0])
    margin = dpo.implicit_margin(**frame, beta=0.5)
    rewards = policy.predict_responses(pairs)
    np.testing.assert_allclose(margin, rewards[pairs.chosen] - rewards[pairs.rejected], atol=1e-12)
    np.testing.assert_allclose(policy.predict_proba_pairs(pairs), 1 / (1 + np.exp(-margin)))


def test_reference_from_columns():
    logps = {"ref_chosen_logps": np.log(0.3), "ref_rejected_logps": np.log(0.1)}
    rows = [
        {"prompt": "p", "chosen": "a", "rejected": "b", "chosen_logps": -1, "rejected_logps": -2, **logps}
    ]
    pairs = PreferencePairs.read(rows * 2).with_features(np.eye(2))
    policy = fitted(pairs, loss="cdpo", loss_params={"label_smoothing": 0.1})
    found = policy.predict_policy(pairs, ref_logps="columns")
    np.testing.assert_allclose(found["reference"], [0.75, 0.25])


def test_sample():
    pairs, _ = noisy_pairs(n_prompts=4)
    policy = DPOPolicy(beta=0.5, random_state=0).fit_pairs(pairs)
    drawn = policy.sample(pairs, 20_000)
    table = policy.predict_policy(pairs)
    share = drawn.groupby("prompt")["response"].value_counts(normalize=True).sort_index()
    expected = table.set_index(["prompt", "response"])["probability"]
    np.testing.assert_allclose(share.reindex(expected.index, fill_value=0), expected, atol=0.015)
    pd.testing.assert_frame_equal(drawn, policy.sample(pairs, 20_000))


def test_plot():
    pytest.importorskip("matplotlib")
    pairs, reward = noisy_pairs(n_prompts=10)
    figure = DPOPolicy().fit_pairs(pairs, rewards=reward, eval_pairs=pairs).plot()
    assert figure.axes[0].get_title() == "Loss"
    assert len(figure.axes[1].lines) == 4


# Conventions ----------------------------------------------------------------------------------------------


def test_the_order_of_pairs_changes_no_bit():
    pairs, _ = noisy_pairs()
    order = np.random.default_rng(0).permutation(len(pairs))
    for name in ("sigmoid", "kto", "aot"):
        one = fitted(pairs, loss=name)
        other = fitted(pairs.take(order), loss=name)
        assert one.coef_.tolist() == other.coef_.tolist(), name


def test_sparse_features_are_dense_features():
    pairs, _ = noisy_pairs()
    sparse = pairs.with_features(scipy.sparse.csr_matrix(pairs.features))
    one = DPOPolicy().fit_pairs(pairs)
    np.testing.assert_allclose(DPOPolicy().fit_pairs(sparse).coef_, one.coef_, atol=1e-8)


def test_the_units_of_features_do_not_matter():
    pairs, _ = noisy_pairs()
    units = np.array([1e-6, 1.0, 1e3, 1e6])
    scaled = pairs.with_features(pairs.features * units)
    one = DPOPolicy(reg_lambda=1.0).fit_pairs(pairs)
    np.testing.assert_allclose(
        DPOPolicy(reg_lambda=1.0).fit_pairs(scaled).coef_ * units, one.coef_, rtol=1e-7
    )


def test_fit_on_labels():
    pairs, reward = noisy_pairs()
    labels = (reward > np.median(reward)).astype(int)
    qid = np.repeat(np.arange(60), 5)
    policy = DPOPolicy(reg_lambda=1.0).fit(pairs.features, labels, qid=qid)
    assert policy.score(pairs.features, labels, qid=qid) > 0.9


def test_texts():
    rows = [
        {
            "prompt": f"question {k}",
            "chosen": "a long and careful answer " * (k % 3 + 1),
            "rejected": f"no {k}",
        }
        for k in range(12)
    ]
    pairs = PreferencePairs.read(rows)
    policy = fitted(pairs, features="text", reg_lambda=1.0)
    assert policy.report(pairs)["accuracy"][0] == 1.0


def test_clone_and_save(tmp_path):
    pairs, _ = noisy_pairs()
    policy = DPOPolicy(
        ["ipo", "sigmoid"],
        loss_weights=(0.5, 1.0),
        loss_params={"divergence": "js_divergence"},
        random_state=3,
    )
    policy = clone(policy).fit_pairs(pairs)
    policy.save(tmp_path / "policy.lmk")
    loaded = DPOPolicy.load(tmp_path / "policy.lmk")
    assert loaded.get_params() == policy.get_params()
    assert loaded.coef_.tolist() == policy.coef_.tolist()
    pd.testing.assert_frame_equal(loaded.history_, policy.history_)
    pd.testing.assert_frame_equal(loaded.report(pairs), policy.report(pairs))
    pd.testing.assert_frame_equal(loaded.sample(pairs, 3), policy.sample(pairs, 3))
    (tmp_path / "broken.lmk").write_bytes((tmp_path / "policy.lmk").read_bytes()[:200])
    with pytest.raises(ModelFormatError):
        DPOPolicy.load(tmp_path / "broken.lmk")


def test_texts_are_saved_with_their_extractor(tmp_path):
    rows = [{"prompt": f"q{k}", "chosen": f"good words {k}", "rejected": f"bad {k}"} for k in range(30)]
    pairs = PreferencePairs.read(rows)
    policy = fitted(pairs, features="tfidf", reg_lambda=1.0)
    policy.save(tmp_path / "policy.lmk")
    loaded = DPOPolicy.load(tmp_path / "policy.lmk")
    np.testing.assert_allclose(loaded.predict_responses(pairs), policy.predict_responses(pairs), rtol=1e-6)


def test_pairs_without_contradiction_have_no_optimum():
    pairs = PreferencePairs.from_indices(np.eye(3), [0, 1], [1, 2], prompt=["p", "p"])
    with pytest.warns(ConvergenceWarning, match="falls for ever"):
        policy = DPOPolicy().fit_pairs(pairs)
    assert not policy.converged_


def test_too_few_steps():
    pairs, _ = noisy_pairs()
    with pytest.warns(ConvergenceWarning, match="stopped after 2 steps"):
        policy = DPOPolicy(max_iter=2).fit_pairs(pairs)
    assert policy.n_iter_ == 2
    assert policy.history_["step"].tolist() == [0, 1, 2]


def test_what_would_be_ignored_is_said():
    pairs, _ = noisy_pairs(n_prompts=10)
    with pytest.warns(UserWarning, match="without 'lengths' each response counts as one token"):
        DPOPolicy("simpo", reg_lambda=1.0).fit_pairs(pairs)
    margins = PreferencePairs.from_indices(
        pairs.features, pairs.chosen, pairs.rejected, margin=np.ones(len(pairs))
    )
    with pytest.warns(UserWarning, match="does not read the margins"):
        DPOPolicy(reg_lambda=1.0).fit_pairs(margins)


PAIRS, _ = noisy_pairs(n_prompts=5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DPOPolicy("dpo").fit_pairs(PAIRS), "'loss' must be one of 'sigmoid'"),
        (lambda: DPOPolicy(beta=0).fit_pairs(PAIRS), "'beta' must be finite and > 0; got 0"),
        (lambda: DPOPolicy(reg_lambda=-1).fit_pairs(PAIRS), "'reg_lambda' must be finite and >= 0; got -1"),
        (lambda: DPOPolicy(max_iter=0).fit_pairs(PAIRS), "'max_iter' must be a whole number >= 1"),
        (lambda: DPOPolicy(loss_weights=[1]).fit_pairs(PAIRS), "'loss_weights' needs several losses"),
        (lambda: DPOPolicy(loss_params={"beta": 1}).fit_pairs(PAIRS), "must not hold 'beta'"),
        (
            lambda: DPOPolicy(loss_params={"label_smoothing": 0.1}).fit_pairs(PAIRS),
            "no setting 'label_smoothing'",
        ),
        (lambda: DPOPolicy().fit_pairs(PAIRS.take([])), "at least one pair"),
        (
            lambda: DPOPolicy().fit_pairs(PAIRS, eval_pairs=noisy_pairs(n_features=3)[0]),
            "must have 4",
        ),
        (
            lambda: DPOPolicy().fit_pairs(PreferencePairs.from_indices(np.eye(2), [0], [1], weight=[0.0])),
            "'weight' must hold",
        ),
        (lambda: DPOPolicy().fit_pairs(PAIRS, ref_logps=[0.0]), "'ref_logps' must hold one value a response"),
        (lambda: DPOPolicy().fit_pairs(PAIRS, ref_logps="cols"), "'ref_logps' must be 'columns'"),
        (lambda: DPOPolicy().fit_pairs(PAIRS, ref_logps="columns"), "log-probs need the columns"),
        (lambda: DPOPolicy().fit_pairs(PAIRS.with_features(PAIRS.features * np.nan)), "must be finite"),
        (
            lambda: DPOPolicy("aot").fit_pairs(
                PreferencePairs.from_indices(np.eye(2), [0], [1], target=[0.7])
            ),
            "compares quantiles",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_not_fitted():
    with pytest.raises(NotFittedError):
        DPOPolicy().report(PAIRS)
