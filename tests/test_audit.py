"""The audit finds each planted problem, and label noise is found where it was put."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from sklearn.metrics import roc_auc_score

from lambdamart_kit.preferences import PreferencePairs, RewardModel, audit, cleaned, label_noise
from lambdamart_kit.preferences.auditing.near_duplicates import _similar, _spelt_alike


def read(*preferences, **columns):
    return PreferencePairs.read(
        [{"prompt": p, "chosen": c, "rejected": r, **columns} for p, c, r in preferences]
    )


def found(report):
    return {name: rows.tolist() for name, rows in report.rows.items() if len(rows)}


def test_each_problem():
    pairs = read(
        ("p", "a", "b"),
        ("p", "a", "b"),  # the same preference again
        ("p", "b", "a"),  # and its opposite
        ("q", "x", "x"),  # the same text
        ("q", "x", " X"),  # nearly
        ("q", "x", ""),
        ("r", "1", "2"),
        ("r", "2", "3"),
        ("r", "3", "1"),
        ("r", "1", "4"),
    )
    assert found(audit(pairs)) == {
        "chosen_equals_rejected": [3],
        "nearly_equal": [4],
        "empty_response": [5],
        "duplicate": [1],
        "contradiction": [0, 1, 2],
        "cycle": [6, 7, 8],
    }


def test_a_clean_set_is_clean():
    report = audit(read(("p", "a", "b"), ("p", "b", "c"), ("q", "a", "b")))
    assert found(report) == {}
    assert set(report.rows) >= {"duplicate", "contradiction", "cycle", "tie"}


def test_prompts_on_both_sides():
    train = read(("One  prompt", "a", "b"), ("two", "a", "b"), ("one prompt", "a", "b"))
    test = read(("one prompt", "c", "d"))
    expected = {"near_duplicate_prompt": [2], "prompt_in_both": [2], "near_prompt_in_both": [0]}
    assert found(audit(train, test)) == expected
    assert found(train.audit(test)) == expected


def test_near_duplicate_prompts_are_shown_as_clusters():
    asked = ["name a | fruit", "tell me a joke", "Name a Fruit!", "sing", "NAME a  fruit", "tell me a joke!"]
    pairs = read(*((prompt, "a", "b") for prompt in [*asked, "sing"]))
    report = pairs.audit()
    assert report.rows["near_duplicate_prompt"].tolist() == [2, 4, 5]
    assert report.prompt_clusters.to_dict("records") == [
        {"prompts": 3, "pairs": 3, "prompt": "name a | fruit", "another": "NAME a  fruit"},
        {"prompts": 2, "pairs": 2, "prompt": "tell me a joke", "another": "tell me a joke!"},
    ]
    assert "2 clusters" in report.to_markdown()
    assert "| 3 | 3 | name a \\| fruit | NAME a fruit |" in report.to_markdown()
    assert report.to_dict()["prompt_clusters"][1]["pairs"] == 2
    assert "clusters" not in pairs.take([3]).audit().to_markdown()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("", "really", True), ("", "not", False), ("", "never", False), ("not", "never", False)],
)
def test_a_negation_makes_another_question(one, other, same):
    question = "explain to a child of nine years why the moon does {} circle around the earth every month"
    assert _similar(*(" ".join(question.format(word).split()) for word in (one, other))) == same


def test_words_that_are_spelt_alike():
    """Twice the letters in common over all letters, from .85 on, and the same first letter."""
    twenty = "abcdefghijklmnopqrst"
    assert _spelt_alike(twenty, twenty[:17] + "xyz")  # 2 * 17 / 40 is .85
    assert not _spelt_alike(twenty, twenty[:16] + "wxyz")
    assert not _spelt_alike("possible", "impossible")
    assert not _spelt_alike("apple", "avenue")


def test_ties_and_logps():
    pairs = PreferencePairs.read(
        [
            {
                "prompt": "p",
                "chosen": "a",
                "rejected": "b",
                "target": target,
                "chosen_logps": -1.0,
                "rejected_logps": -2.0,
                "ref_chosen_logps": c,
                "ref_rejected_logps": -2.0,
            }
            for target, c in ((1.0, -1.0), (0.5, -3.0), (1.0, 0.0))
        ]
    )
    report = found(audit(pairs))
    assert report["tie"] == [1]
    assert report["policy_equals_reference"] == [0]
    assert report["zero_logps"] == [2]


def test_length_bias_and_annotators():
    rows = [
        {"prompt": "p", "chosen": "long answer", "rejected": "short", "worker": w}
        for w in ("ann", "bob", "cy")
    ]
    rows.append({"prompt": "p", "chosen": "short", "rejected": "long answer", "worker": "dot"})
    report = audit(PreferencePairs.read(rows))
    assert report.facts["longer_response_preferred"] == 0.75
    table = report.annotators.set_index("annotator")
    assert table.loc["dot", "agreement"] == 0.0
    assert table.loc["ann", "agreement"] == 1.0  # two of the other three agree
    assert table["votes"].tolist() == [1, 1, 1, 1]
    assert report.to_dict()["annotators"] == report.annotators.to_dict("records")
    assert audit(read(("p", "a", "b"))).to_dict()["annotators"] is None


def test_constant_features():
    X = np.random.default_rng(0).normal(size=(4000, 3))
    X[:, 1] = 7.0
    X[:, 2] = 0.0
    X[3, 2] = 1.0
    pairs = PreferencePairs.from_indices(X, np.arange(2000), np.arange(2000, 4000))
    report = audit(pairs)
    assert report.constant_features == ["1", "2"]
    assert "\n\nNearly constant features: 1, 2.\n" in report.to_markdown()


def test_reports():
    report = audit(read(("p", "a", "b"), ("p", "b", "a"), worker="w"))
    frame = report.to_frame().set_index("problem")
    assert frame.loc["contradiction", ["pairs", "first"]].tolist() == [2, 0]
    assert frame.loc["duplicate", "first"] == -1
    text = report.to_markdown()
    assert "| contradiction | 2 | 100.0% | 0 |" in text
    assert report.to_dict()["problems"]["contradiction"] == [0, 1]
    assert str(audit(PreferencePairs.read([])))


def vote(judge, outcome):
    """A vote between the responses `a` and `b`: for one of them, or a tie."""
    chosen, rejected = ("b", "a") if outcome == "b" else ("a", "b")
    target = 0.5 if outcome == "tie" else 1.0
    return {"prompt": "p", "chosen": chosen, "rejected": rejected, "target": target, "judge": judge}


@pytest.mark.parametrize(
    ("votes", "expected"),
    [
        # A first vote for a tie stays the judge's voice: "a" has none, whatever he says later.
        ([("ann", "tie"), ("ann", "a"), ("bob", "b")], {"outvoted": [1]}),
        ([("ann", "a"), ("ann", "tie"), ("bob", "b")], {"split_vote": [0, 2]}),
        ([("ann", "tie"), ("ann", "a")], {}),
        # Repeats make no majority, and are outvoted like the first vote.
        ([("ann", "a"), ("ann", "a"), ("bob", "b")], {"duplicate": [1], "split_vote": [0, 1, 2]}),
        (
            [("ann", "a"), ("ann", "a"), ("bob", "b"), ("cyd", "b")],
            {"duplicate": [1], "outvoted": [0, 1]},
        ),
        # Who votes for both contradicts himself and has no voice.
        ([("ann", "a"), ("ann", "b"), ("bob", "b")], {"contradiction": [0, 1]}),
        (
            [("ann", "a"), ("bob", "b"), ("cyd", "b"), ("cyd", "a")],
            {"contradiction": [2, 3], "split_vote": [0, 1]},
        ),
        ([("ann", "a"), ("bob", "tie")], {}),
    ],
)
def test_which_vote_of_a_judge_counts(votes, expected):
    found = audit(PreferencePairs.read([vote(*v) for v in votes])).rows
    names = ("duplicate", "contradiction", "outvoted", "split_vote", "cycle")
    assert {name: found[name].tolist() for name in names if len(found[name])} == expected


def test_agreement_is_with_the_voices_of_the_others():
    votes = [("ann", "a"), ("bob", "tie"), ("bob", "a"), ("cyd", "b"), ("dee", "a"), ("dee", "b")]
    table = audit(PreferencePairs.read([vote(*v) for v in votes])).annotators.set_index("annotator")
    # bob's voice is his tie and dee has none: ann and cyd stand alone against each other.
    assert table["shared"].to_dict() == {"ann": 1, "bob": 0, "cyd": 1, "dee": 0}
    assert table["agreement"]["ann"] == table["agreement"]["cyd"] == 0.0


def test_agreement_on_a_few_shared_votes_is_not_printed_beside_that_on_many():
    votes = [("p", f"a{i}", f"b{i}", judge) for i in range(25) for judge in ("ann", "bob", "cyd")]
    votes += [("p", "b0", "a0", "dee")]
    rows = [dict(zip(("prompt", "chosen", "rejected", "judge"), vote)) for vote in votes]
    report = audit(PreferencePairs.read(rows))
    assert report.annotators["annotator"].tolist()[0] == "dee"
    text = report.to_markdown()
    assert "| ann | 25 | 25 | 1.000 |" in text
    assert "| dee |" not in text
    assert "| ... 1 with fewer than 20 shared votes |" in text
    alone = audit(PreferencePairs.read([{"prompt": "p", "chosen": "a", "rejected": "b", "judge": "ann"}]))
    assert "1 annotators, none of whom judged" in alone.to_markdown()


def test_annotator_column_must_exist():
    with pytest.raises(ValueError, match="'annotator' must be a column; got 'who'"):
        audit(read(("p", "a", "b")), annotator="who")


def noisy(n_pairs=1500, rate=0.2):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2 * n_pairs, 3)).astype(np.float32)
    reward = 4 * X[:, 0]
    a, b = np.arange(n_pairs), np.arange(n_pairs, 2 * n_pairs)
    a_wins = reward[a] > reward[b]
    flipped = rng.random(n_pairs) < rate
    a_wins ^= flipped
    return PreferencePairs.from_indices(X, np.where(a_wins, a, b), np.where(a_wins, b, a)), flipped


def test_label_noise_finds_flips():
    pairs, flipped = noisy()
    table = label_noise(pairs, RewardModel(scorer="linear", random_state=0))
    probability = table.sort_values("pair")["probability"].to_numpy()
    assert roc_auc_score(flipped, -probability) > 0.9
    assert table["probability"].is_monotonic_increasing
    assert set(table["suggestion"]) <= {"flip", "drop", "down-weight", "keep"}
    assert np.mean(flipped[table["pair"][table["suggestion"] == "flip"]]) > 0.8


def test_cleaned_carries_out_the_suggestions():
    pairs, flipped = noisy(400)
    table = label_noise(pairs, RewardModel(scorer="linear", random_state=0))
    better = cleaned(pairs, table)
    assert len(better) == np.sum(table["suggestion"] != "drop")
    right = better.features[better.chosen, 0] > better.features[better.rejected, 0]
    assert right.mean() > 1 - flipped.mean()
    with pytest.raises(ValueError, match="'noise' must have one row per pair, 400; got 10"):
        cleaned(pairs, table.head(10))


def test_label_noise_checks_its_thresholds():
    with pytest.raises(ValueError, match=r"got 0\.4 and 0\.2"):
        label_noise(noisy(20)[0], flip_below=0.4, drop_below=0.2)


def test_no_rows_have_no_constant_features():
    none = scipy.sparse.csr_array((0, 2))
    assert audit(PreferencePairs.from_indices(none, [], [])).constant_features == []


def test_texts_that_share_too_few_words_are_not_alike():
    """One of three words is shared, less than .7, although nearly all runs of letters are."""
    assert not _similar("the internationalisation", "the internationalisations")
    assert _similar(
        "the internationalisation of most of the software",
        "the internationalisations of most of the software",
    )


def test_other_numbers_make_another_question():
    question = "how many litres of water does a person of {} years drink in a week of summer"
    assert not _similar(question.format(30), question.format(31))
    assert _similar(question.format(30), question.format(30) + "s")
