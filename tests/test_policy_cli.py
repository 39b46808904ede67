"""``lambdamart-kit policy`` and ``diversify``: from files to the numbers of the library."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from lambdamart_kit.cli.app import app
from lambdamart_kit.diversify import choose_trade_off, rerank
from lambdamart_kit.explore import EpsilonGreedy, boltzmann
from lambdamart_kit.explore.evaluation import evaluate_ranking, evaluate_rows, evaluate_slates
from lambdamart_kit.preferences.reading.records import read_records


def run(*arguments, code=0):
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == code, done.output
    return done


def log_of(rng, n=400):
    logged = rng.uniform(0.3, 0.7, n)
    took = rng.random(n) < logged
    propensity = np.where(took, logged, 1 - logged)
    target = np.where(took, 0.6, 0.4)
    reward = (rng.random(n) < np.where(took, 0.7, 0.3)).astype(float)
    return pd.DataFrame({"propensity": propensity, "target": target, "reward": reward, "q": 0.5, "v": 0.45})


def write(table, path):
    if path.suffix == ".parquet":
        table.to_parquet(path)
    elif path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.to_json(path, orient="records", lines=True)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_policy_evaluate_prints_what_the_library_says(suffix, tmp_path, rng):
    table = log_of(rng)
    path = write(table, tmp_path / f"log{suffix}")
    done = run(
        "policy",
        "evaluate",
        path,
        "--estimator",
        "ips,snips,clipped,dr",
        "--limit",
        1.5,
        "--expected",
        "q",
        "--expected-under",
        "v",
        "--format",
        "json",
    )
    rows = {row["estimator"]: row for row in json.loads(done.stdout)}
    for name, options in (
        ("ips", {}),
        ("snips", {}),
        ("clipped", {"limit": 1.5}),
        ("dr", {"expected": table["q"], "expected_under": table["v"]}),
    ):
        known = evaluate_rows(
            table["target"], table["propensity"], table["reward"], estimator=name, **options
        )
        assert [rows[name][key] for key in ("value", "low", "high")] == pytest.approx(known[:3])
    assert rows["ips"]["logged"] == pytest.approx(table["reward"].mean())
    shown = run("policy", "evaluate", path).stdout
    assert "snips" in shown
    assert "effective rows" in shown


def test_scores_of_candidates_become_a_policy(tmp_path, rng):
    n, m = 300, 3
    scores = rng.normal(size=(n, m))
    actions = rng.integers(0, m, n)
    shown = np.zeros((n, m), dtype=int)
    shown[np.arange(n), actions] = 1
    reward = rng.random(n)
    table = pd.DataFrame(
        {
            "qid": np.repeat(np.arange(n), m),
            "score": scores.ravel(),
            "shown": shown.ravel(),
            "propensity": 1 / m,
            "reward": np.where(shown == 1, reward[:, None], 0).ravel(),
        }
    )
    path = write(table.sample(frac=1, random_state=0), tmp_path / "log.parquet")
    done = run("policy", "evaluate", path, "--scores", "score", "--beta", 1, "-f", "json")
    target = boltzmann(scores)[np.arange(n), actions]
    known = evaluate_rows(target, np.full(n, 1 / m), reward)
    assert json.loads(done.stdout)[0]["value"] == pytest.approx(known.value)
    greedy = run("policy", "evaluate", path, "--scores", "score", "-f", "json")
    best = (scores.argmax(axis=1) == actions).astype(float)
    known = evaluate_rows(best, np.full(n, 1 / m), reward)
    assert json.loads(greedy.stdout)[0]["value"] == pytest.approx(known.value)
    table.loc[0, "shown"] = 1 - table.loc[0, "shown"]
    failed = run("policy", "evaluate", write(table, path), "--scores", "score", code=1)
    assert "--shown must be 1 for one candidate of each qid" in failed.output


def test_a_saved_policy_is_evaluated(tmp_path, rng):
    """Lists of two and of three candidates, in any order of rows."""
    lengths = rng.integers(2, 4, 200)
    owner = np.repeat(np.arange(200), lengths)
    features = rng.normal(size=(len(owner), 2))
    first = np.concatenate(([0], np.cumsum(lengths)[:-1]))
    shown = np.zeros(len(owner), dtype=int)
    shown[first + rng.integers(0, lengths)] = 1
    reward = shown * rng.random(len(owner))
    table = pd.DataFrame({"qid": owner, "a": features[:, 0], "b": features[:, 1], "shown": shown})
    table = table.assign(propensity=1 / lengths[owner], reward=reward)
    policy = EpsilonGreedy(0.3, random_state=0).partial_fit(features[:50], features[:50, 0])
    policy.save(tmp_path / "policy.lmk")
    path = write(table.sample(frac=1, random_state=0), tmp_path / "log.csv")
    options = ("--policy", tmp_path / "policy.lmk", "--features", "a,b")
    done = run("policy", "evaluate", path, *options, "-f", "json")
    target = [
        policy.probabilities(features[owner == q]).values[:, 0][shown[owner == q] == 1] for q in range(200)
    ]
    known = evaluate_rows(np.concatenate(target), 1 / lengths, reward[shown == 1])
    assert json.loads(done.stdout)[0]["value"] == pytest.approx(known.value)
    failed = run("policy", "evaluate", path, *options[:3], "a", code=1)
    assert "--features must name the 2 columns that the policy" in failed.output
    failed = run("policy", "evaluate", path, *options[:2], code=1)
    assert "--policy and --features belong together" in failed.output


def test_a_saved_policy_with_arms_is_evaluated(tmp_path, rng):
    contexts = rng.normal(size=(300, 2))
    arms = rng.integers(0, 2, 300)
    reward = (contexts[:, 0] * (2 * arms - 1) > 0).astype(float)
    policy = EpsilonGreedy(0.2, arms=["no", "yes"], random_state=0)
    names = np.array(["no", "yes"])[arms]
    policy.partial_fit(contexts[:100], reward[:100], arms=names[:100])
    policy.save(tmp_path / "policy.lmk")
    table = pd.DataFrame({"a": contexts[:, 0], "b": contexts[:, 1], "arm": names, "reward": reward})
    path = write(table.assign(propensity=0.5), tmp_path / "log.parquet")
    options = ("--policy", tmp_path / "policy.lmk", "--features", "a,b", "--shown", "arm")
    done = run("policy", "evaluate", path, *options, "-f", "json")
    target = policy.probabilities(contexts).values[np.arange(300), arms, 0]
    known = evaluate_rows(target, np.full(300, 0.5), reward)
    assert json.loads(done.stdout)[0]["value"] == pytest.approx(known.value)
    failed = run("policy", "evaluate", path, *options[:4], "--shown", "a", code=1)
    assert "must hold arms of the policy (no, yes)" in failed.output


def test_slates_from_rows_of_positions(tmp_path, rng):
    n, k = 200, 2
    logged = rng.uniform(0.4, 0.6, (n, k))
    target = np.where(rng.random((n, k)) < 0.5, logged + 0.05, logged - 0.05)
    rewards = rng.random((n, k))
    table = pd.DataFrame(
        {
            "slate": np.repeat(np.arange(n), k),
            "position": np.tile([1, 2], n),
            "propensity": logged.ravel(),
            "target": target.ravel(),
            "reward": rewards.ravel(),
        }
    )
    path = write(table.sample(frac=1, random_state=1), tmp_path / "log.parquet")
    names = "cascade,independent,standard"
    done = run("policy", "evaluate", path, "--slate", "slate", "--estimator", names, "-f", "json")
    for row in json.loads(done.stdout):
        known = evaluate_slates(target, logged, rewards, estimator=row["estimator"])
        assert row["value"] == pytest.approx(known.value)
        assert row["rows"] == n
    broken = write(table.iloc[1:], path)
    assert (
        "--position must count from 1" in run("policy", "evaluate", broken, "--slate", "slate", code=1).output
    )


def test_clicks_of_another_order(tmp_path, rng):
    n, m = 300, 4
    position = np.argsort(rng.random((n, m)), axis=1) + 1
    theta = 1 / np.arange(1, m + 1)
    relevance = np.array([0.8, 0.5, 0.3, 0.1])
    clicks = (rng.random((n, m)) < theta[position - 1] * relevance).astype(int)
    table = pd.DataFrame(
        {
            "qid": np.repeat(np.arange(n), m),
            "docid": np.tile(np.arange(m), n),
            "position": position.ravel(),
            "click": clicks.ravel(),
            "score": np.tile(relevance, n),
            "old": -np.tile(relevance, n),
        }
    )
    path = write(table, tmp_path / "clicks.parquet")
    given = run("policy", "clicks", path, "--propensities", "1,0.5,0.3333333333333333,0.25", "-f", "json")
    known = evaluate_ranking(
        table["score"], table["click"], table["position"].to_numpy(), theta, table["qid"]
    )
    row = json.loads(given.stdout)[0]
    assert [row["value"], row["low"], row["high"]] == pytest.approx(known[:3])
    assert row["logged"] == pytest.approx(clicks.sum() / n)
    harvested = run("policy", "clicks", path, "-f", "json")
    assert abs(json.loads(harvested.stdout)[0]["value"] - (relevance * theta).sum()) < 0.25
    better = run("policy", "clicks", path, "--against", "old", "--measure", "dcg", "-k", 2, "-f", "json")
    assert json.loads(better.stdout)[0]["low"] > 0
    still = write(table.assign(position=np.tile([1, 2, 3, 4], n)), path)
    assert "no document of --docid docid moved" in run("policy", "clicks", still, code=1).output
    assert "must be numbers" in run("policy", "clicks", path, "--propensities", "a,b", code=2).output


def test_mistakes_are_named(tmp_path, rng):
    table = log_of(rng)
    path = write(table, tmp_path / "log.csv")
    for arguments, message in (
        (
            ["--target", "nowhere"],
            "--target names the column 'nowhere', which the file does not have; it has",
        ),
        (["--limit", "2"], "--limit is used by none of snips"),
        (["--expected", "q", "--expected-under", "v"], "--expected is used by none of snips"),
        (["--estimator", "best"], "must be one of"),
        (["--beta", "1"], "--beta makes a policy of --scores"),
        (["--width", "1"], "--width is for --interval bernstein only"),
        (["--slate", "q", "--limit", "2"], "--limit is not used for slates"),
    ):
        assert message in run("policy", "evaluate", path, *arguments, code=1).output
    bad = write(table.assign(reward="much"), tmp_path / "bad.csv")
    assert (
        "--reward names the column 'reward', which must hold finite numbers; row 0"
        in run("policy", "evaluate", bad, code=1).output
    )
    rare = write(table.assign(target=np.where(table.index < 3, 1.0, 0.0)), tmp_path / "rare.csv")
    refused = run("policy", "evaluate", rare, code=1).output
    assert "the log cannot tell what this policy is worth" in refused
    assert "--anyway gives it" in refused
    assert "snips" in run("policy", "evaluate", rare, "--anyway").output


# ---------------------------------------------------------------------------------------------- diversify


def posts(rng):
    topic = np.concatenate([np.zeros(10, int), np.arange(1, 21)])
    features = rng.normal(size=(21, 4))[topic] + 0.05 * rng.normal(size=(30, 4))
    scores = np.concatenate([np.linspace(1.0, 0.9, 10), np.linspace(0.89, 0.5, 20)])
    return topic, features, scores


def test_diversify_writes_the_lists_of_rerank(tmp_path, rng):
    _, features, scores = posts(rng)
    qid = np.repeat(["b", "a"], 15)
    table = pd.DataFrame(features, columns=list("wxyz")).assign(post=np.arange(30), score=scores, user=qid)
    path = write(table, tmp_path / "rows.csv")
    out = tmp_path / "lists.jsonl"
    given = ["--features", "w,x,y,z", "--qid", "user", "-k", 5]
    done = run("diversify", path, *given, "--utility", "mmr", "--trade-off", 0.4, "--out", out)
    rows = list(read_records(out))
    known = rerank(scores, 5, qid=qid, features=features, utility="mmr", trade_off=0.4)
    assert [int(row["post"]) for row in rows] == known.tolist()
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5] * 2
    found = choose_trade_off(scores, features, 1.0, 5, qid=qid, utility="mmr", grid=[0.4])
    assert f"-> {found.similarity:.3f}, {1 - found.relevance_kept:.1%}" in done.output
    wanted = run("diversify", path, *given, "--similarity", 0.1)
    lines = [json.loads(line) for line in wanted.stdout.splitlines() if line.startswith("{")]
    chosen = choose_trade_off(scores, features, 0.1, 5, qid=qid)
    known = rerank(scores, 5, qid=qid, features=features, trade_off=chosen.trade_off)
    assert [int(row["post"]) for row in lines] == known.tolist()


def test_diversify_reads_embeddings_and_topics(tmp_path, rng):
    topic, features, scores = posts(rng)
    table = pd.DataFrame(
        {"score": scores, "rank": 0, "embedding": list(features), "shoe": (topic == 0) * 1.0}
    )
    path = write(table, tmp_path / "rows.parquet")
    lines = run("diversify", path, "--features", "embedding").stdout.splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    known = rerank(scores, 10, features=features)
    assert [row["score"] for row in rows] == pytest.approx(scores[known].tolist())
    assert [row["new_rank"] for row in rows] == list(range(1, 11))
    covered = run("diversify", path, "--topics", "shoe", "--utility", "coverage", "-k", 3)
    assert len([line for line in covered.stdout.splitlines() if line.startswith("{")]) == 3
    for arguments, message in (
        (["--features", "embedding", "--trade-off", "0.5", "--similarity", "0.1"], "give one of them"),
        (["--topics", "shoe"], "--utility logdet needs --features"),
        ([], "--utility logdet needs --features"),
        (["--features", "score", "--utility", "coverage"], "--utility coverage needs --topics"),
        (["--features", ","], "--features must name a column"),
    ):
        assert message in run("diversify", path, *arguments, code=1).output
