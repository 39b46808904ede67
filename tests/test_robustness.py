"""A few inputs of every kind that the long run of benchmarks/robustness.py tries by the ten thousand."""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lambdamart_kit import LambdaMART, LinearRanker, RewardModel
from lambdamart_kit.bench.results import ResultsFile, Run
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.rankers import ModelFormatError
from lambdamart_kit.trec import read_qrels, read_run

_PATH = Path(__file__).parents[1] / "benchmarks" / "robustness.py"
_SPEC = importlib.util.spec_from_file_location("robustness", _PATH)
robustness = importlib.util.module_from_spec(_SPEC)
sys.modules["robustness"] = robustness
_SPEC.loader.exec_module(robustness)


@pytest.mark.parametrize("name", robustness.FORMATS)
def test_damaged_input_ends_in_the_right_value_or_a_documented_error(name, tmp_path):
    if "CatBoost" in name:
        pytest.importorskip("catboost", exc_type=ImportError)
    outcomes = [robustness.attack(name, seed, tmp_path) for seed in range(40)]
    failures = {seed: what for seed, what in enumerate(outcomes) if what not in ("right", "refused")}
    assert not failures


def test_a_failure_would_be_seen(tmp_path, monkeypatch):
    """An exception, another value, an endless loop and a dead process are told from what is allowed."""

    def key_error(rng, folder):
        raise KeyError("what")

    def endless(rng, folder):
        while True:
            pass

    monkeypatch.setattr(robustness, "SECONDS", 1)
    monkeypatch.setitem(robustness.FORMATS, "key", key_error)
    monkeypatch.setitem(robustness.FORMATS, "endless", endless)
    monkeypatch.setitem(robustness.FORMATS, "dies", lambda rng, folder: robustness.os._exit(7))
    assert robustness.attack("key", 0, tmp_path).startswith("KeyError")
    assert robustness.attack("endless", 0, tmp_path).startswith("TimeoutError")
    with pytest.raises(robustness.Failure):
        robustness.same([1.0], [2.0])
    tally = robustness.Tally()
    robustness.attack_many("dies", tally, 2, 60.0)
    assert (tally.attempts, tally.next_seed) == (2, 2)
    assert "ended with 7" in tally.failures["0"]
    assert tally.kinds() == ["2 x seed 0: the process ended with 7"]


def test_a_checkpoint_whose_arrays_are_of_other_types_is_damaged(tmp_path):
    """Kernels are compiled for the types that growers write: fewer bits would be read past the end."""
    data = make_letor(n_queries=6, random_state=0)
    path = tmp_path / "run.npz"
    settings = {"booster_params": {"checkpoint": str(path), "checkpoint_trees": 1}}
    settings |= {"n_jobs": 1, "random_state": 0}
    LambdaMART(n_estimators=2, **settings).fit(data.X, data.y, qid=data.qid)
    arrays = dict(np.load(path))
    for name in ("bins_left", "feature", "children", "leaf_value", "nan_left"):
        changed = arrays[name].astype(np.uint8 if name != "leaf_value" else np.float16)
        np.savez(path, **{**arrays, name: changed})
        with pytest.raises(ValueError, match=f"is damaged .{name} is of type"):
            LambdaMART(n_estimators=3, **settings).fit(data.X, data.y, qid=data.qid)
    np.savez(path, **{**arrays, "bins_left": arrays["bins_left"][:, :2]})
    with pytest.raises(ValueError, match="bins_left is of type uint64 and shape"):
        LambdaMART(n_estimators=3, **settings).fit(data.X, data.y, qid=data.qid)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("valid", "0.5"),
        ("valid", {"ndcg@10": "much"}),
        ("test", {"ndcg@10": [0.5, "x"]}),
        ("test", {"ndcg@10": 3}),
        ("setting", True),
        ("test_scores", "not base64!"),
        ("fit_seconds", None),
        ("n_iterations", -1),
        ("model", ["linear"]),
    ],
)
def test_a_run_with_a_value_that_cannot_be_is_no_run(name, value, tmp_path):
    run = json.loads(Run("k", "linear", "Fold1", 0, {}).to_json())
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps(run) + "\n")
    assert len(ResultsFile(path)) == 1
    path.write_text(json.dumps({**run, name: value}) + "\n")
    with pytest.raises(ValueError, match=rf"line 1, is no run .'{name}' cannot hold such a value"):
        ResultsFile(path)


def test_judgments_that_are_no_text_or_no_numbers(tmp_path):
    path = tmp_path / "a.qrels"
    path.write_bytes(b"q1 0 d1 1\nq1 0 d\xff 1\n")
    with pytest.raises(ValueError, match=r"a\.qrels, line 2: must be UTF-8"):
        read_qrels(path)
    path.write_text(f"q1 0 d1 {2**63}\n")
    with pytest.raises(ValueError, match="line 1: the relevance must be a whole number"):
        read_qrels(path)
    for number in ("1_0", "٣"):
        path.write_text(f"q1 0 d1 {number}\n")
        with pytest.raises(ValueError, match="line 1: the relevance must be a whole number"):
            read_qrels(path)
        run = tmp_path / "a.run"
        run.write_text(f"q1 Q0 d1 1 {number} mine\n")
        with pytest.raises(ValueError, match="line 1: the score must be a finite number"):
            read_run(run)
    packed = tmp_path / "a.qrels.gz"
    packed.write_bytes(gzip.compress(b"q1 0 d1 1\n")[:-6])
    with pytest.raises(ValueError, match="the gzip file is damaged"):
        read_qrels(packed)


@pytest.mark.parametrize("scorer", ["linear", "trees"])
def test_parts_of_a_model_that_do_not_fit_together(scorer, tmp_path):
    """Found when the file is read, not by whoever scores with it first."""
    data = make_letor(n_queries=6, random_state=0)
    reward = RewardModel(scorer=scorer, n_estimators=2, random_state=0).fit(data.X, data.y, qid=data.qid)
    path = tmp_path / "m.lmk"
    for model, load in (
        (LambdaMART(n_estimators=2).fit(data.X, data.y, qid=data.qid), LambdaMART.load),
        (LinearRanker(max_iter=2).fit(data.X, data.y, qid=data.qid), LinearRanker.load),
        (reward, RewardModel.load),
    ):
        model.save(path)
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        manifest = json.loads(members["manifest.json"])
        for name, value in (("n_features_in_", 3), ("n_features_in_", 10**15), ("n_features_in_", "x")):
            edited = {**manifest, "state": {**manifest["state"], name: value}}
            with zipfile.ZipFile(path, "w") as archive:
                for part, content in {**members, "manifest.json": json.dumps(edited).encode()}.items():
                    archive.writestr(part, content)
            with pytest.raises(ModelFormatError, match=r"m\.lmk: the model is damaged"):
                load(path)
