"""Diversity of generations, and whether labels reward sameness."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.sparse
from typer.testing import CliRunner

from lambdamart_kit.cli.app import app
from lambdamart_kit.diversify import intra_list_distance, vendi_score
from lambdamart_kit.preferences import (
    PreferencePairs,
    audit,
    distinct_n,
    generation_diversity,
    sameness,
    self_similarity,
)
from lambdamart_kit.preferences.auditing.page import audit_page


def test_distinct_n_by_hand():
    texts = ["The cat sat. The cat ran!", "the dog"]
    # the cat sat the cat ran | the dog: 8 words, of which the, cat, sat, ran, dog differ
    assert distinct_n(texts, 1) == 5 / 8
    # the-cat cat-sat sat-the the-cat cat-ran | the-dog: 6 pairs, 5 differ
    assert distinct_n(texts, 2) == 5 / 6
    assert distinct_n(texts, 2, n_words=3) == 1.0
    assert distinct_n(texts, 1, n_words=5) == 3 / 5
    assert distinct_n(texts, 2, n_words=7) == 4 / 5  # "the" alone makes no pair
    assert np.isnan(distinct_n(["a", "b"], 2))
    with pytest.raises(ValueError, match="'n' must be a whole number >= 1"):
        distinct_n(texts, 0)


def test_self_similarity_is_one_minus_the_distance(rng):
    X = rng.normal(size=(60, 5))
    X[7] = 0
    prompts = rng.integers(0, 12, 60)
    found = self_similarity(X, prompts, per_prompt=True)
    known = 1 - intra_list_distance(X, np.zeros(60), prompts, per_query=True)
    assert found == pytest.approx(known, nan_ok=True)
    assert self_similarity(X, prompts) == pytest.approx(np.nanmean(known))
    assert self_similarity(scipy.sparse.csr_array(X), prompts, per_prompt=True) == pytest.approx(
        known, nan_ok=True
    )
    shuffle = rng.permutation(60)
    assert self_similarity(X[shuffle], prompts[shuffle]) == pytest.approx(self_similarity(X, prompts))
    with pytest.raises(ValueError, match="'prompts' must be"):
        self_similarity(X, prompts[:3])
    with pytest.raises(ValueError, match="'features' must be"):
        self_similarity(np.full((2, 2), np.nan))


def test_copies_and_different_generations():
    texts = ["red car", "red car", "Red car!", "red car", "blue sky", "old tree"]
    table = generation_diversity(texts, ["a", "a", "a", "b", "b", "b"]).set_index("prompt")
    assert table.loc["a", "self_similarity"] == pytest.approx(1.0)
    assert table.loc["a", "vendi"] == pytest.approx(1.0)
    assert table.loc["a", "distinct_2"] == pytest.approx(1 / 3)
    assert table.loc["b", "self_similarity"] == pytest.approx(0.0)
    assert table.loc["b", "vendi"] == pytest.approx(3.0)
    assert table.loc["b", "distinct_1"] == 1.0
    assert table["responses"].tolist() == [3, 3]
    single = generation_diversity(["one answer"])
    assert single["vendi"].tolist() == pytest.approx([1.0])
    assert single["self_similarity"].isna().all()
    assert generation_diversity(["!", "?"])["vendi"].tolist() == pytest.approx([2.0])


def test_embeddings_replace_words(rng):
    E = rng.normal(size=(8, 3))
    prompts = np.repeat(["a", "b"], 4)
    table = generation_diversity(["same text"] * 8, prompts, features=E)
    assert table["vendi"].tolist() == pytest.approx(vendi_score(E, prompts, per_query=True).tolist())
    with pytest.raises(ValueError, match="'features' must have one row a response, 8"):
        generation_diversity(["same text"] * 8, prompts, features=E[:3])


def test_probabilities_weigh_the_vendi_score(rng):
    E = rng.normal(size=(6, 3))
    uniform = vendi_score(E, probabilities=np.full(6, 1 / 6))
    assert uniform == pytest.approx(vendi_score(E))
    # A response that stands twice is one with twice the probability.
    doubled = vendi_score(np.vstack([E, E[:1]]))
    weighted = vendi_score(E, probabilities=np.array([2, 1, 1, 1, 1, 1]) / 7)
    assert weighted == pytest.approx(doubled)
    assert vendi_score(E, probabilities=[1, 0, 0, 0, 0, 0]) == pytest.approx(1.0)
    S = (E / np.linalg.norm(E, axis=1, keepdims=True)) @ (E / np.linalg.norm(E, axis=1, keepdims=True)).T
    p = rng.dirichlet(np.ones(6))
    assert vendi_score(similarity=S, probabilities=p) == pytest.approx(vendi_score(E, probabilities=p))
    eigenvalues = np.linalg.eigvalsh(np.sqrt(np.outer(p, p)) * S).clip(1e-300)
    assert vendi_score(E, probabilities=p) == pytest.approx(
        np.exp(-(eigenvalues * np.log(eigenvalues)).sum())
    )
    for wrong, message in (([0.5] * 6, "must sum to 1 in each set; got 3"), ([1.0], "must be")):
        with pytest.raises(ValueError, match=message):
            vendi_score(E, probabilities=wrong)


def world(n_prompts, reward, seed=0, n=6):
    """Responses to each prompt: three near-copies and three on their own; `reward` says which is chosen."""
    rng = np.random.default_rng(seed)
    words = [f"w{i}" for i in range(400)]
    rows = []
    for prompt in range(n_prompts):
        common = list(rng.choice(words, 8))
        texts = [" ".join([*common, words[rng.integers(400)]]) for _ in range(3)]
        texts += [" ".join(rng.choice(words, 9)) for _ in range(3)]
        for _ in range(n):
            alike = texts[rng.integers(3)]
            own = texts[3 + rng.integers(3)]
            typical = rng.random() < reward
            rows.append(
                {
                    "prompt": f"prompt {prompt}",
                    "chosen": alike if typical else own,
                    "rejected": own if typical else alike,
                }
            )
    return PreferencePairs.read(rows)


@pytest.mark.parametrize(("reward", "sign"), [(0.9, 1), (0.1, -1)])
def test_rewarded_sameness_is_found(reward, sign):
    found = sameness(world(40, reward))
    within = found.sides[found.sides["of"] == "prompt"].set_index("measure")
    assert sign * within.loc["self_similarity", "difference"] > 0.1
    assert sign * within.loc["vendi", "difference"] < -0.1
    assert sign * within.loc["distinct_2", "difference"] < 0
    assert (sign * within.loc["self_similarity", ["lower", "upper"]] > 0).all()
    typical = found.typical.set_index("like").loc["its prompt"]
    assert typical["lower"] <= reward <= typical["upper"]
    assert typical["pairs"] == 240


def test_labels_that_do_not_care_reward_nothing():
    typical = sameness(world(60, 0.5, seed=3)).typical.set_index("like").loc["its prompt"]
    assert typical["lower"] <= 0.5 <= typical["upper"]


def test_soft_labels_and_row_order():
    pairs = world(12, 0.8)
    found = sameness(pairs)
    flipped = pairs.flipped(np.ones(len(pairs), dtype=bool))
    turned = type(flipped)(**{**vars(flipped), "target": 1 - flipped.target})
    again = sameness(turned.take(np.random.default_rng(0).permutation(len(turned))))
    assert again.sides.drop(columns="of").set_index("measure").to_numpy(float) == pytest.approx(
        found.sides.drop(columns="of").set_index("measure").to_numpy(float), nan_ok=True
    )
    assert again.typical["preferred"].tolist() == pytest.approx(found.typical["preferred"].tolist())


def test_the_audit_has_it_where_asked(tmp_path):
    pairs = world(10, 0.8)
    assert audit(pairs).sameness is None
    assert "Sameness" not in audit(pairs).to_markdown()
    report = pairs.audit(diversity=True)
    assert report.to_dict()["sameness"]["typical"][0]["like"] == "its prompt"
    json.dumps(report.to_dict())
    page = audit_page(report, pairs)
    assert "Sameness of responses" in [section.title for section in page.sections]
    file = tmp_path / "prefs.jsonl"
    pairs.write(file)
    done = CliRunner().invoke(app, ["pairs", "audit", str(file), "--diversity"])
    assert done.exit_code == 0, done.output
    assert "## Sameness of responses" in done.output
    assert "| its prompt | 60 |" in done.output
    bare = PreferencePairs.from_indices(np.eye(4), [0, 1], [2, 3])
    with pytest.raises(ValueError, match="these pairs have no texts"):
        audit(bare, diversity=True)


def test_one_pair_a_prompt_is_compared_across_prompts():
    rows = [
        {"prompt": f"p{i}", "chosen": f"sure here is {i}", "rejected": f"w{i} x{i} y{i}"} for i in range(20)
    ]
    found = sameness(PreferencePairs.read(rows))
    assert set(found.sides["of"]) == {"all"}
    assert found.typical["like"].tolist() == ["all prompts"]
    assert found.typical["preferred"].tolist() == [1.0]
    assert found.sides.set_index("measure").loc["self_similarity", "difference"] > 0.3


def test_a_tie_makes_neither_winners_nor_losers():
    """Two winners and two losers; the responses of the tied pair, which repeat a word, are on no side."""
    decided = [
        {"prompt": "p", "chosen": "red car", "rejected": "blue sky"},
        {"prompt": "p", "chosen": "red bus", "rejected": "old tree"},
    ]
    tied = {"prompt": "p", "chosen": "all all all", "rejected": "ant ant ant", "target": 0.5}
    without, found = (
        sameness(PreferencePairs.read([dict(row, target=row.get("target", 1.0)) for row in rows])).sides
        for rows in (decided, [*decided, tied])
    )
    # The weights of words depend on all texts, so similarity is left out; shares of words do not.
    words = ["distinct_1", "distinct_2"]
    assert not without.empty
    assert found.set_index("measure").loc[words].equals(without.set_index("measure").loc[words])
