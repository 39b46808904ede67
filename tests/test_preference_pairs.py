"""Preference pairs: every shape of file, errors that name the row, splits by prompt."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from lambdamart_kit import preferences
from lambdamart_kit.preferences import PreferencePairs
from lambdamart_kit.preferences.reading.records import read_records, write_records

ROWS = [
    {"id": "a", "prompt": "Name a fruit.", "chosen": "apple", "rejected": "stone", "score": 3},
    {"id": "b", "prompt": "Name a fruit.", "chosen": "apple", "rejected": "iron", "margin": 0.5},
    {"id": "c", "prompt": "Name a city.", "chosen": "Rome", "rejected": "apple", "weight": 2},
]


def texts(pairs):
    return list(zip(pairs.responses[pairs.chosen], pairs.responses[pairs.rejected]))


def test_responses_are_stored_once_per_prompt():
    pairs = PreferencePairs.read(ROWS)
    assert len(pairs) == 3
    assert pairs.prompts.tolist() == ["Name a fruit.", "Name a city."]
    assert pairs.responses.tolist() == ["apple", "stone", "iron", "Rome", "apple"]
    assert pairs.prompt.tolist() == [0, 0, 1]
    assert texts(pairs) == [("apple", "stone"), ("apple", "iron"), ("Rome", "apple")]
    assert pairs.margin.tolist() == [0, 0.5, 0]
    assert pairs.weight.tolist() == [1, 1, 2]
    assert pairs.columns["id"].tolist() == ["a", "b", "c"]
    assert pairs.columns["score"].iloc[0] == 3
    assert pairs.lengths.tolist() == [5, 5, 4, 4, 5]


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "json", "parquet", "csv", "tsv"])
def test_file_formats(tmp_path, ending):
    path = tmp_path / f"prefs.{ending}"
    rows = [{k: r[k] for k in ("id", "prompt", "chosen", "rejected")} for r in ROWS]
    if ending in ("jsonl", "jsonl.gz", "parquet"):
        assert write_records(rows, path) == 3
    elif ending == "json":
        path.write_text(json.dumps(rows))
    else:
        pd.DataFrame(rows).to_csv(path, sep="\t" if ending == "tsv" else ",", index=False)
    pairs = PreferencePairs.read(path)
    assert texts(pairs) == texts(PreferencePairs.read(rows))
    assert pairs.columns["id"].tolist() == ["a", "b", "c"]
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_frames_and_data_sets():
    class DataSet:
        column_names = ("id", "prompt", "chosen", "rejected")

        def __iter__(self):
            return iter(ROWS)

    expected = texts(PreferencePairs.read(ROWS))
    assert texts(PreferencePairs.read(pd.DataFrame(ROWS)[["prompt", "chosen", "rejected"]])) == expected
    assert texts(PreferencePairs.read(DataSet())) == expected
    assert texts(PreferencePairs.read(row for row in ROWS)) == expected


def test_empty_input_is_an_empty_set():
    pairs = PreferencePairs.read([])
    assert len(pairs) == 0
    assert pairs.take([]).chosen.tolist() == []


def test_messages_and_implicit_prompts():
    user = {"role": "user", "content": "Hi"}
    pairs = PreferencePairs.read(
        [
            {"prompt": [user], "chosen": [{"role": "assistant", "content": "Hello"}], "rejected": "Go"},
            {
                "chosen": [user, {"role": "assistant", "content": "Hello"}],
                "rejected": [user, {"role": "assistant", "content": "No"}],
            },
            {
                "chosen": "\n\nHuman: Hi\n\nAssistant: Hello there",
                "rejected": "\n\nHuman: Hi\n\nAssistant: Hell no",
            },
        ]
    )
    assert texts(pairs) == [("Hello", "Go"), ("Hello", "No"), ("Hello there", "Hell no")]
    assert pairs.prompts.tolist() == ["Hi", "\n\nHuman: Hi\n\nAssistant:"]


def test_messages_from_parquet(tmp_path):
    rows = [{"prompt": [{"role": "user", "content": "Hi"}], "chosen": "a", "rejected": "b"}]
    write_records(rows, tmp_path / "m.parquet")
    assert PreferencePairs.read(tmp_path / "m.parquet").prompts.tolist() == ["Hi"]


def test_unpaired_completions():
    rows = [
        {"prompt": "p", "completion": "good", "label": True},
        {"prompt": "q", "completion": "lonely", "label": True},
        {"prompt": "p", "completion": "bad", "label": False},
        {"prompt": "p", "completion": "worse", "label": False},
    ]
    with pytest.warns(
        UserWarning, match="left out responses whose prompt has none .* 1 of them, the first in row 1"
    ):
        pairs = PreferencePairs.read(rows)
    assert texts(pairs) == [("good", "bad"), ("good", "worse")]
    assert pairs.rows.tolist() == [[0, 2], [0, 3]]


def test_rated_responses():
    listed = [{"prompt": "p", "responses": ["x", "y", "z"], "scores": [1, 3, 1], "source": "s"}]
    rowed = [{"prompt": "p", "response": r, "score": s, "source": "s"} for r, s in zip("xyz", (1, 3, 1))]
    for rows in (listed, rowed):
        pairs = PreferencePairs.read(rows)
        assert texts(pairs) == [("y", "x"), ("y", "z")]
        assert pairs.margin.tolist() == [2, 2]
        assert pairs.columns["source"].tolist() == ["s", "s"]


@pytest.mark.filterwarnings("ignore:all prompts are empty")
def test_votes():
    rows = [
        {"model_a": "m1", "model_b": "m2", "winner": "model_b", "judge": "j"},
        {"model_a": "m1", "model_b": "m2", "winner": "tie", "judge": "k"},
        {"model_a": "m1", "model_b": "m2", "winner": "m1", "judge": "k"},
    ]
    pairs = PreferencePairs.read(rows)
    assert texts(pairs) == [("m2", "m1"), ("m1", "m2"), ("m1", "m2")]
    assert pairs.target.tolist() == [1, 0.5, 1]
    assert pairs.columns["chosen_model"].tolist() == ["m2", "m1", "m1"]
    answered = [{**rows[0], "prompt": 7, "response_a": "no", "response_b": "yes"}]
    assert texts(PreferencePairs.read(answered)) == [("yes", "no")]


def test_real_files(real_data):
    pairs = PreferencePairs.read(real_data / "preferences" / "ukp_convarg1.jsonl")
    assert len(pairs) == 11_079
    train, test = pairs.split(by="subset", random_state=0)
    assert not set(train.columns["subset"]) & set(test.columns["subset"])
    votes = PreferencePairs.read(real_data / "llmfao" / "llmfao.csv")
    assert votes.columns["chosen_model"].iloc[2] == "Weaver 12k"
    assert np.mean(votes.target == 0.5) == pytest.approx(0.39, abs=0.01)


# Features ---------------------------------------------------------------------------------------------------


def test_features_of_responses_and_of_pairs():
    pairs = PreferencePairs.read(ROWS)
    X = np.arange(10.0).reshape(5, 2)
    by_response = pairs.with_features(X)
    by_pair = pairs.with_features(X[pairs.chosen], X[pairs.rejected])
    np.testing.assert_array_equal(by_response.features, X)
    np.testing.assert_array_equal(by_pair.features, X)
    sparse = pairs.with_features(scipy.sparse.csr_matrix(X)[pairs.chosen], X[pairs.rejected])
    np.testing.assert_array_equal(sparse.features.toarray(), X)
    assert by_response.take([0]).features is by_response.features


def test_one_response_cannot_have_two_vectors():
    pairs = PreferencePairs.read(ROWS)
    with pytest.raises(ValueError, match="row 1 of 'X_chosen' differs"):
        pairs.with_features(np.array([[1.0], [2.0], [3.0]]), np.zeros((3, 1)))


def test_transformers():
    pairs = PreferencePairs.read(ROWS)
    fitted = TfidfVectorizer().fit(["apple stone"])
    assert pairs.with_features(fitted).features.shape == (5, 2)
    fresh = TfidfVectorizer()
    assert pairs.with_features(fresh).features.shape == (5, 4)
    assert not hasattr(fresh, "vocabulary_")


def test_from_arrays_and_indices():
    X = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    shared = PreferencePairs.from_indices(X, [0, 0, 4], [1, 2, 5], prompt=["p", "p", "q"])
    assert shared.features is X
    stacked = PreferencePairs.from_arrays(X[[0, 0, 4]], X[[1, 2, 5]], prompt=["p", "p", "q"])
    np.testing.assert_array_equal(stacked.features[stacked.chosen], X[shared.chosen])
    assert stacked.features.dtype == np.float32
    assert stacked.prompt.tolist() == shared.prompt.tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="no texts"):
        _ = shared.texts


# Splits -----------------------------------------------------------------------------------------------------


def test_split_and_folds_keep_prompts_whole():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    pairs = PreferencePairs.from_indices(X, np.arange(30), np.arange(30, 60), prompt=rng.integers(0, 12, 30))
    train, test = pairs.split(test_size=0.25, random_state=0)
    assert not set(train.prompt) & set(test.prompt)
    assert len(train) + len(test) == 30
    again, _ = pairs.split(test_size=0.25, random_state=0)
    assert again.chosen.tolist() == train.chosen.tolist()
    seen = []
    for fit, held_out in pairs.folds(4, random_state=1):
        assert not set(pairs.prompt[fit]) & set(pairs.prompt[held_out])
        seen.extend(held_out)
    assert sorted(seen) == list(range(30))


def test_log_probs():
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "chosen_logps": -1.0, "rejected_logps": -2.0}
    old = {**row, "reference_chosen_logps": -3.0, "reference_rejected_logps": -4.0}
    logps = PreferencePairs.read([old]).logps()
    assert {name: values.tolist() for name, values in logps.items()} == {
        "chosen_logps": [-1.0],
        "rejected_logps": [-2.0],
        "ref_chosen_logps": [-3.0],
        "ref_rejected_logps": [-4.0],
    }
    with pytest.raises(ValueError, match="missing: ref_chosen_logps, ref_rejected_logps"):
        PreferencePairs.read([row]).logps()
    with pytest.raises(ValueError, match="'rejected_logps' must hold finite log-probs; pair 1 has nan"):
        PreferencePairs.read([old, {**old, "rejected_logps": None}]).logps()


# Bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "x"}], "the columns must hold chosen and rejected; .* got the columns 'text'"),
        ([ROWS[0], {"prompt": "p", "chosen": 3, "rejected": "b"}], "row 1: 'chosen' .* got int 3"),
        ([{"prompt": "p", "chosen": "a"}], "the columns must hold"),
        ([ROWS[0], {"prompt": "p", "chosen": "a"}], "row 1: 'rejected' must be text or messages"),
        ([{**ROWS[0], "target": 2}], r"row 0: 'target' must be a finite number in \[0, 1\]; got int 2"),
        ([{**ROWS[0], "margin": "wide"}], "row 0: 'margin' must be a finite number; got str 'wide'"),
        ([{**ROWS[0], "weight": -1}], r"row 0: 'weight' must be a finite number in \[0, inf\]; got int -1"),
        ([{"model_a": "x", "model_b": "y", "winner": "draw?"}], "row 0: 'winner' .* got 'draw"),
        ([{"prompt": "p", "completion": "c", "label": "yes"}], "row 0: 'label' must be .* got str 'yes'"),
        ([{"prompt": "p", "response": "c", "score": None}], "columns must hold .*without a value: .score"),
        ([{"prompt": "p", "responses": ["c"], "scores": [1, 2]}], "row 0: 'responses' and 'scores'"),
        ([{"chosen": "a", "rejected": ["b"]}], "row 0: 'chosen' and 'rejected' must both be"),
    ],
)
def test_bad_rows(rows, message):
    with pytest.raises(ValueError, match=message):
        PreferencePairs.read(rows)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: p.with_features(np.zeros((4, 2))), "'features' must have one row .* 5; got 4"),
        (lambda p: p.with_features(np.zeros((2, 2)), np.zeros((3, 2))), "'X_chosen' must have one"),
        (lambda p: p.with_features(np.zeros(5)), "'features' must have two dimensions"),
        (lambda p: p.split(test_size=1.5), "'test_size' must lie between 0 and 1; got 1.5"),
        (lambda p: p.split(by="topic"), "'by' must be a column; got 'topic'"),
        (lambda p: list(p.folds(9)), "'n_splits' must lie between 2 and the number of prompts, 2; got 9"),
        (lambda p: PreferencePairs.from_indices(np.zeros((2, 1)), [0], [2]), "'rejected' must hold rows"),
        (lambda p: PreferencePairs.from_arrays(np.zeros((2, 1)), np.zeros((3, 1))), "the same shape"),
    ],
)
def test_bad_calls(call, message):
    with pytest.raises(ValueError, match=message):
        call(PreferencePairs.read(ROWS))


def test_bad_files(tmp_path):
    path = tmp_path / "broken.jsonl.gz"
    with gzip.open(path, "wt") as out:
        out.write('{"chosen": "a"}\n{oops\n')
    with pytest.raises(ValueError, match="line 2: not JSON"):
        list(read_records(path))
    with pytest.raises(ValueError, match="cannot tell the format"):
        list(read_records("x.xml"))
    with pytest.raises(ValueError, match="'path' must end in"):
        write_records(ROWS, tmp_path / "x.json")
    with pytest.raises(TypeError, match="'source' must be"):
        list(read_records(7))


def test_write_keeps_nothing_of_a_failed_write(tmp_path):
    def failing():
        yield ROWS[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_records(failing(), tmp_path / "x.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_one_missing_prompt_is_refused():
    with pytest.raises(ValueError, match="'prompt' must hold one id per pair, none missing"):
        PreferencePairs.from_indices(np.eye(4), [0, 1], [2, 3], prompt=["a", None])


def test_margins_are_listed_where_some_are_zero():
    pairs = PreferencePairs.from_indices(np.eye(4), [0, 1], [2, 3], margin=[0.0, 0.5])
    assert pairs.margins()[["pairs", "lowest", "highest"]].to_numpy().tolist() == [[1, 0.5, 0.5]]


def test_the_public_names_are_listed():
    assert {"PreferencePairs", "BradleyTerry", "audit"} <= set(dir(preferences))
    assert preferences.__all__ == list(dict.fromkeys(preferences.__all__))
