"""Wrong numbers and unclear errors of exploration, diversification and their commands, one test each."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from typer.testing import CliRunner

from lambdamart_kit import BradleyTerry, PreferencePairs, RewardModel
from lambdamart_kit.cli.app import app
from lambdamart_kit.core.gains import check_number
from lambdamart_kit.diversify import catalogue_coverage, choose_trade_off, rerank, vendi_score
from lambdamart_kit.explore import (
    LinearThompson,
    LinUCB,
    LogisticThompson,
    PersonalPolicy,
    boltzmann,
    select_pairs,
)
from lambdamart_kit.explore.evaluation import Log, evaluate_policy, evaluate_ranking, evaluate_rows
from lambdamart_kit.explore.interleaving import Probabilistic, TeamDraft, ab_impressions_needed, sign_test
from lambdamart_kit.preferences import distinct_n, generation_diversity, self_similarity


def run(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


def refused(*arguments):
    found = run(*arguments)
    assert found.exit_code != 0
    return str(found.exception) + found.output


# ------------------------------------------------------------------------------------- diversification


def test_scores_near_the_largest_float_keep_their_order():
    rows = rerank([1e308, -1e308, 0.0], 3, features=np.eye(3), trade_off=0.0)
    assert rows.tolist() == [0, 2, 1]


@pytest.mark.parametrize("scale", [1e-60, 1e300])
def test_cosines_do_not_depend_on_the_unit_of_features(scale):
    features = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    rows = rerank([1.0, 0.95, 0.9], 2, features=scale * features, utility="mmr")
    assert rows.tolist() == [0, 2]


@pytest.mark.parametrize("value", [None, "0.5", np.nan, 1.5])
def test_a_trade_off_that_is_none_is_named(value):
    with pytest.raises(ValueError, match="'trade_off' must be in"):
        rerank([1.0, 0.0], 1, features=np.eye(2), trade_off=value)


def test_lists_of_one_row_have_no_similarity():
    with pytest.raises(ValueError, match="no list has two; give a 'k' of at least 2"):
        choose_trade_off([1.0, 0.0], np.eye(2), 0.5, k=1)


def test_low_orders_of_the_vendi_score_do_not_count_rounding():
    assert vendi_score(similarity=np.ones((300, 300)), order=0.1) == pytest.approx(1.0)


def test_ids_of_two_types_stay_two():
    with pytest.warns(UserWarning, match="'items' has ids that are a number"):
        assert catalogue_coverage([1, "1"], [2.0, 1.0], k=1) == 0.5
    with pytest.raises(ValueError, match="'items' must not hold missing ids; number 1 is None"):
        catalogue_coverage(["a", None], [1.0, 2.0])
    with pytest.raises(ValueError, match="'n_items' must be a whole number"):
        catalogue_coverage(["a"], [1.0], n_items=2.5)
    with pytest.warns(UserWarning, match="'qid' has ids that are a number"):
        assert len(rerank([1.0, 2.0, 3.0], 1, qid=[1, "1", 2], features=np.eye(3))) == 3
    with pytest.warns(UserWarning, match="'rankings' has ids that are a number"):
        merged = TeamDraft().merge([[1, 2], ["1", "2"]], 4, random_state=0)
    assert set(merged.items[0].tolist()) == {1, 2, "1", "2"}
    assert BradleyTerry().fit([[1, "1"], ["1", 1]], [1, 1]).items_.tolist() == [1, "1"]


# ------------------------------------------------------------------------------------- texts


def test_equal_texts_without_words_are_alike():
    table = generation_diversity(["!", "!", "?", "?"], ["a", "a", "b", "b"])
    assert table["vendi"].round(9).tolist() == [1.0, 1.0]
    both = generation_diversity(["", "", "a"])
    assert both["vendi"][0] == pytest.approx(np.exp(np.log(3) - 2 / 3 * np.log(2)))


@pytest.mark.parametrize("texts", [["a", None], ["a", np.nan], [1], "abc"])
def test_what_is_no_text_is_named(texts):
    for measure in (distinct_n, generation_diversity):
        with pytest.raises(ValueError, match="'texts' must"):
            measure(texts)


def test_settings_of_text_measures_are_checked():
    with pytest.raises(ValueError, match=r"'n_words' must be a whole number >= 1; got 1\.5"):
        distinct_n(["a b"], 1, n_words=1.5)
    with pytest.raises(ValueError, match="'features' must be finite"):
        self_similarity(scipy.sparse.csr_array([[np.nan, 1.0], [1.0, 0.0]]))
    with pytest.raises(ValueError, match="'prompts' must not hold missing ids"):
        self_similarity(np.eye(2), ["a", None])
    with pytest.raises(ValueError, match="at least one generation"):
        generation_diversity([])


# ------------------------------------------------------------------------------------- policies


@pytest.mark.parametrize("policy", [LinUCB("auto"), LogisticThompson()])
def test_a_refused_reward_keeps_its_tickets(policy):
    tickets = policy.show([[1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match=r"got .*7"):
        policy.receive(tickets, [0.5, 7.0])
    assert policy.receive(tickets, [0.5, 0.7]).n_observations_ == 2
    assert policy.receive([], []).n_observations_ == 2


def test_estimated_probabilities_sum_to_one():
    rng = np.random.default_rng(0)
    policy = LinearThompson(n_propensity_draws=50, random_state=0).partial_fit(
        rng.normal(size=(9, 3)), np.ones(9)
    )
    found = policy.probabilities(rng.normal(size=(40, 3)), k=2).values
    assert found.sum(axis=0) == pytest.approx([1.0, 1.0])
    assert (found > 0).all()


def test_infinite_widths_and_no_draws_are_refused():
    for make, name in (
        (lambda: LinUCB(np.inf), "alpha"),
        (lambda: LinearThompson(np.inf), "scale"),
        (lambda: LinearThompson("1"), "scale"),
    ):
        with pytest.raises(ValueError, match=f"'{name}' must be"):
            make().select(np.eye(3))
    with pytest.raises(ValueError, match="'n_propensity_draws' must be a whole number"):
        LinearThompson(n_propensity_draws=0).probabilities(np.eye(3))


def test_arms_of_several_types_keep_them():
    policy = LinUCB(arms=[1, "a"]).partial_fit([[1.0], [1.0]], [1.0, 0.0], [1, "a"])
    assert policy.select([1.0]).tolist() == [1]
    with pytest.raises(ValueError, match="those of the policy, 1, 'a'; got '1'"):
        policy.partial_fit([[1.0]], [1.0], ["1"])


def test_users_are_a_list():
    with pytest.raises(ValueError, match="'users' must be a list"):
        PersonalPolicy().partial_fit(np.eye(3), np.ones(3), users="abc")


def test_boltzmann_takes_scores_of_any_size():
    assert boltzmann([1e308, -1e308], beta=1e-5).tolist() == [1.0, 0.0]
    assert boltzmann([1e3, 0.0], beta=1e-310).tolist() == [1.0, 0.0]
    assert boltzmann([3.0, 2.0], beta=2.0) == pytest.approx(np.exp([1.5, 1.0]) / np.exp([1.5, 1.0]).sum())


# ------------------------------------------------------------------------------------- evaluation


def a_log(n=200):
    rng = np.random.default_rng(0)
    logging = rng.dirichlet([5.0, 5.0, 5.0], n)
    actions = np.array([rng.choice(3, p=row) for row in logging])
    return Log(np.zeros((n, 3, 1)), actions, logging[np.arange(n), actions], rng.random(n), logging)


def uniform(candidates):
    return np.full(candidates.shape[:2], 1 / 3)


def test_probabilities_of_a_log_must_agree_with_its_propensities():
    log = a_log()
    assert np.isfinite(evaluate_policy(log, uniform).value)
    for logging, message in (
        (log.logging[::-1], "must give what was shown its propensity; row 0"),
        (log.logging[:, ::-1], "in another order"),
        (log.logging * 3, "whose rows sum to 1; row 0"),
        (np.full((200, 3), np.nan), "whose rows sum to 1"),
        (log.logging[:, :2], r"must be \(200, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_policy(log._replace(logging=logging), uniform)


def test_what_is_wrong_in_a_log_is_named_with_its_row():
    log = a_log()
    bad = log.rewards.copy()
    bad[7] = np.nan
    for change, message in (
        ({"rewards": bad}, r"'rewards' must be finite; row 7 has nan \(1 such rows\)"),
        ({"rewards": None}, "'rewards' of the log must have shape"),
        ({"actions": log.actions + 1}, "got int64 1 to 3"),
        ({"actions": log.actions[:, None]}, "'actions' of the log must have shape"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_policy(log._replace(**change), uniform)
    with pytest.raises(TypeError, match="'policy' must be a policy of the kit or a function"):
        evaluate_policy(log, PersonalPolicy())
    with pytest.raises(ValueError, match=r"'logged' must hold .* row 1 has 0.0 \(1 such\); drop rows"):
        evaluate_rows([0.5, 0.5], [0.5, 0.0], [1.0, 0.0])


def test_shrinkage_without_a_limit_is_doubly_robust():
    given = [0.6, 0.5] * 50, [0.5, 0.5] * 50, [1.0, 0.5] * 50
    model = {"expected": np.full(100, 0.6), "expected_under": np.full(100, 0.7)}
    shrunk = evaluate_rows(*given, estimator="shrinkage", limit=np.inf, check_overlap=False, **model)
    plain = evaluate_rows(*given, estimator="dr", check_overlap=False, **model)
    assert shrunk.value == pytest.approx(plain.value)


def test_two_rows_at_one_position_are_not_one_list():
    qid = np.repeat([0, 1, 2], 4)
    with pytest.raises(ValueError, match="rows 0 and 2 stand in one list, both at position 1"):
        evaluate_ranking(np.arange(12.0), np.ones(12), np.tile([1, 2], 6), [1.0, 0.5], qid)


# ------------------------------------------------------------------------------------- interleaving, pairs


def test_the_sign_test_warns_of_credits_that_are_no_whole_numbers():
    merged = Probabilistic().merge([["a", "b", "c"], ["b", "c", "a"]], 3, size=400, random_state=0)
    clicks = np.eye(3)[np.random.default_rng(0).integers(0, 3, 400)]
    with pytest.warns(UserWarning, match="use mean_test"):
        sign_test(merged.credit(clicks))


def test_deviations_are_not_negative():
    with pytest.raises(ValueError, match="'deviations' must be >= 0"):
        ab_impressions_needed((0.1, 0.2), (-1.0, 1.0))


def test_pairs_that_are_there_already_are_named():
    features = np.random.default_rng(0).normal(size=(5, 2))
    with pytest.warns(UserWarning, match="row 1, which is the pair of row 0"):
        select_pairs(None, features, [[0, 1], [1, 0], [2, 3]], 2)
    with pytest.warns(UserWarning, match="the pair of the labelled pair 0"):
        select_pairs(None, features, [[0, 1], [2, 3]], 1, labelled=[[1, 0]], method="uncertainty")
    with pytest.warns(UserWarning, match="'budget' 1 pays for no candidate"):
        assert len(select_pairs(None, features, [[0, 1]], 1, cost=[5.0], budget=1.0)) == 0
    with pytest.raises(ValueError, match="does not use 'representation'"):
        select_pairs(None, features, [[0, 1]], 1, representation=features, method="random")
    with pytest.raises(ValueError, match="'prompt' must not hold missing ids"):
        select_pairs(None, features, [[0, 1], [2, 3]], 1, prompt=["p", None], max_per_prompt=1)


def test_a_reward_model_refuses_pairs_without_weight():
    X = np.random.default_rng(0).normal(size=(20, 2))
    pairs = PreferencePairs.from_indices(X, np.arange(10), np.arange(10, 20), weight=np.zeros(10))
    with pytest.raises(ValueError, match="'weight' must leave at least one pair"):
        RewardModel("linear").fit_pairs(pairs)


@pytest.mark.parametrize("value", ["a", None, True, np.nan, np.inf, 0])
def test_numbers_are_checked_with_one_rule(value):
    with pytest.raises(ValueError, match="'x' must be finite and > 0; got"):
        check_number(value, name="x", least=0.0, open_ends="low")


# ------------------------------------------------------------------------------------- commands


@pytest.fixture
def rows(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "rows.csv"
    frame = pd.DataFrame({"qid": np.repeat([1, 2], 5), "score": rng.random(10), "x": rng.normal(size=10)})
    frame.assign(y=1.0).to_csv(path, index=False)
    return path


def test_outputs_do_not_destroy_inputs(rows, tmp_path):
    before = rows.read_text()
    assert "is read as input" in refused("diversify", rows, "--features", "x,y", "-o", rows)
    votes = tmp_path / "votes.csv"
    votes.write_text("model_a,model_b,winner\na,b,model_a\nb,a,model_a\n")
    assert "is read as input" in refused("pairs", "leaderboard", votes, "-o", votes)
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    for command in ("convert", "filter"):
        assert "is read as input" in refused("pairs", command, pairs, "-o", pairs)
    assert "is read as input" in refused("pairs", "convert", tmp_path / "*.jsonl", "-o", pairs)
    assert rows.read_text() == before


def test_lists_of_one_row_are_written_as_they_are(rows, tmp_path):
    out = tmp_path / "out.csv"
    found = run("diversify", rows, "--qid", "qid", "--features", "x,y", "-k", "1", "-o", out)
    assert found.exit_code == 0
    assert len(pd.read_csv(out)) == 2


def test_missing_ids_and_unused_options_are_refused(rows, tmp_path):
    holes = tmp_path / "holes.csv"
    holes.write_text(rows.read_text().replace("\n1,", "\n,", 1))
    assert "row 0 has no id" in refused("diversify", holes, "--qid", "qid", "--features", "x,y")
    log = tmp_path / "log.csv"
    log.write_text("reward,propensity,target\n" + "1,.5,.5\n0,.5,.5\n" * 30)
    assert run("policy", "evaluate", log, "--estimator", "ips, snips").exit_code == 0
    assert "--qid is used with --scores" in refused("policy", "evaluate", log, "--qid", "reward")
    assert "--position is used with --slate" in refused("policy", "evaluate", log, "--position", "reward")
    assert "--estimator must name" in refused("policy", "evaluate", log, "--estimator", "")
    log.write_text("reward,propensity,target\n1,.5,.5\n0,0,.5\n")
    assert "--propensity names the column 'propensity'" in refused("policy", "evaluate", log)
