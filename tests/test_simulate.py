import itertools

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from lambdamart_kit.cli.app import app
from lambdamart_kit.simulation.simulate import MEASURES, STRATEGIES, Simulation, Visits, World, simulate

SMALL = World(n_users=6, n_candidates=7, k=3, n_topics=3, n_features=4)


def test_best_slates_are_best(rng):
    visits = SMALL.visits(SMALL.taste(rng), rng)
    reached = SMALL.click_probabilities(visits, SMALL.best_slates(visits)).sum(axis=1)
    every = [
        SMALL.click_probabilities(visits, np.tile(slate, (6, 1))).sum(axis=1)
        for slate in itertools.permutations(range(7), 3)
    ]
    np.testing.assert_allclose(reached, np.max(every, axis=0), rtol=1e-12)


def test_users_tire_of_a_topic():
    world = World(n_users=1, n_candidates=4, k=3, n_topics=2, n_features=2, fatigue=0.5)
    visits = Visits(np.zeros((1, 4, 2)), np.array([[0, 0, 1, 0]]), np.array([[0.8, 0.8, 0.4, 0.8]]))
    assert world.click_probabilities(visits, np.array([[0, 1, 3]])).tolist() == [[0.8, 0.4, 0.2]]
    assert world.click_probabilities(visits, np.array([[0, 2, 1]])).tolist() == [[0.8, 0.4, 0.4]]


def test_a_new_kind_of_candidate_comes_after_the_cold_rounds(rng):
    world = World(cold_rounds=3, n_users=200)
    taste = world.taste(rng)
    before, after = (world.visits(taste, rng, step) for step in (2, 3))
    assert (before.features[..., 0] <= 0).all()
    new = after.features[..., 0]
    assert (new > 1.3).any()
    assert after.appeal[new > 1.3].mean() > 0.8  # the best of all, past a stretch that is worst
    assert after.appeal[(new > 0) & (new < 1)].mean() < before.appeal[before.features[..., 0] < -1].mean() / 2


def test_every_strategy_plays_and_repeats():
    options = {"world": World(n_users=4, n_candidates=8, k=3), "n_rounds": 6, "n_seeds": 1}
    one, other = simulate(**options), simulate(**options)
    pd.testing.assert_frame_equal(one.rounds, other.rounds)
    assert set(one.rounds["strategy"]) == set(STRATEGIES)
    assert (one.rounds["regret"] >= -1e-12).all()
    for measure in ("ndcg", "alpha_ndcg"):
        assert one.rounds[measure].between(0, 1.05).all()


def test_learning_pays_and_so_does_covering_topics():
    result = simulate(["linucb", "linucb+coverage"], world=World(n_users=20), n_rounds=30, n_seeds=3)
    regret = result.rounds.pivot_table(index="round", columns="strategy", values="regret")
    assert regret["linucb"].iloc[-5:].mean() < regret["linucb"].iloc[0]
    summary = result.summary().set_index("strategy")
    assert summary.loc["linucb+coverage", "regret"] + 0.05 < summary.loc["linucb", "regret"]
    assert summary.loc["linucb+coverage", "alpha_ndcg"] > summary.loc["linucb", "alpha_ndcg"]


def test_summary_is_a_mean_over_seeds_with_a_student_interval():
    rounds = pd.DataFrame(
        [
            {"strategy": "a", "seed": seed, "round": step, **dict.fromkeys(MEASURES, seed + step)}
            for seed in range(2)
            for step in range(3)
        ]
    )
    row = Simulation(rounds).summary().iloc[0]
    assert row["regret"] == 1.5  # seeds have means 1 and 2
    assert row["regret_±"] == pytest.approx(12.7062047 * np.sqrt(0.5) / np.sqrt(2))


def test_command_prints_a_table_and_draws(tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "loop.png"
    table = tmp_path / "rounds.csv"
    arguments = ["simulate", "--strategies", "linucb,epsilon-greedy", "--rounds", "3", "--seeds", "2"]
    result = CliRunner().invoke(app, [*arguments, "--plot", str(picture), "--out", str(table)])
    assert result.exit_code == 0, result.output
    assert "linucb" in result.stdout
    assert picture.stat().st_size > 10_000
    assert len(pd.read_csv(table)) == 12


def test_command_refuses_a_folder_that_does_not_exist_before_it_runs(tmp_path):
    result = CliRunner().invoke(app, ["simulate", "--out", str(tmp_path / "no" / "rounds.csv")])
    assert result.exit_code != 0
    assert "must be in a folder that exists" in str(result.exception) + result.output


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate(["bold"]), "'strategies' must be among .* got \\['bold'\\]"),
        (lambda: simulate([]), "'strategies' must be among"),
        (lambda: simulate(["linucb"], n_rounds=0), "'n_rounds' must be a whole number >= 1"),
        (lambda: World(fatigue=2.0), r"'fatigue' must be in \[0, 1\]; got 2.0"),
        (lambda: World(cold_rounds=-1), "'cold_rounds' must be >= 0; got -1"),
        (lambda: World(k=50), "'k' must be at most 'n_candidates'"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
