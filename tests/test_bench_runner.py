"""Plans, processes, resuming and choosing, with an estimator that is quick and can fail."""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator

from lambdamart_kit.bench.data import find_folds
from lambdamart_kit.bench.fitting import FoldData
from lambdamart_kit.bench.models import Between, Candidate
from lambdamart_kit.bench.results import ResultsFile, Run, chosen, run_key
from lambdamart_kit.bench.runner import Options, run_benchmark
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.rankers import LinearRanker


class Ridge(BaseEstimator):
    """Least squares on the labels; `mode` makes it fail, or end its process."""

    def __init__(self, alpha=1.0, mode="", random_state=None, n_jobs=None):
        self.alpha = alpha
        self.mode = mode
        self.random_state = random_state
        self.n_jobs = n_jobs

    def fit(self, X, y, qid=None, sample_weight=None, X_val=None, y_val=None, qid_val=None):
        if self.mode == "raise":
            raise ValueError("'alpha' is not to its liking")
        if self.mode == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode == "sleep":
            time.sleep(60)
        if self.mode == "talk":
            print("I fit")
        if self.mode == "hoard":
            np.ones(HOARD, np.uint8).sum()
        X = np.log1p(np.abs(X)).astype(float)
        self.center_ = X.mean(axis=0)
        X = X - self.center_
        self.coef_ = np.linalg.solve(X.T @ X + self.alpha * np.eye(X.shape[1]), X.T @ (y - y.mean()))
        self.evals_result_ = {"valid": {"ndcg@10": [0.1, np.float64(0.2)]}}
        return self

    def predict(self, X):
        return (np.log1p(np.abs(X)) - self.center_) @ self.coef_


@dataclass(frozen=True)
class Made:
    """A fold that is generated where it is needed."""

    name: str
    seed: int

    def fingerprint(self):
        return f"made {self.seed}"

    def load(self):
        parts = [make_letor(n_queries=n, random_state=3 * self.seed + i) for i, n in enumerate([30, 12, 20])]
        return FoldData(*parts)


HOARD = 256 * 2**20  # bytes that a fit takes in mode "hoard"
FOLDS = [Made("A", 0), Made("B", 1)]
RIDGE = Candidate("ridge", Ridge(), {"alpha": Between(0.1, 1000, log=True)})
OPTIONS = Options(metrics=("NDCG@10", "map"), n_settings=3)


@pytest.fixture(scope="module")
def runs():
    return run_benchmark([RIDGE, Candidate("flat", Ridge(alpha=1e9))], FOLDS, OPTIONS, isolated=False)


def test_every_model_setting_and_fold_runs_once(runs):
    asked = [(run.model, run.setting, run.fold) for run in runs]
    ridge = [("ridge", setting, fold) for setting in range(3) for fold in "AB"]
    assert asked == [*ridge, ("flat", 0, "A"), ("flat", 0, "B")]
    assert [run.params for run in runs[:2]] == [{}, {}]
    assert runs[2].params == runs[3].params != runs[4].params


def test_numbers_are_the_metrics_own(runs):
    data = FOLDS[0].load()
    model = Ridge().fit(data.train.X, data.train.y)
    from lambdamart_kit.metrics import ndcg

    expected = ndcg(data.test.y, model.predict(data.test.X), data.test.qid, k=10, per_query=True)
    np.testing.assert_allclose(runs[0].per_query("ndcg@10"), expected)
    assert runs[0].valid["ndcg@10"] == pytest.approx(
        ndcg(data.valid.y, model.predict(data.valid.X), data.valid.qid, k=10)
    )
    assert runs[0].test_qid == [str(q) for q in np.unique(data.test.qid)]
    assert runs[0].n_test_documents == len(data.test)
    assert runs[0].learning_curve == {"valid": {"ndcg@10": [0.1, 0.2]}}


def test_tuning_looks_at_validation_only(runs):
    best = {run.fold: run for run in chosen(runs, "ndcg@10") if run.model == "ridge"}
    for fold, run in best.items():
        ours = [r.valid["ndcg@10"] for r in runs if r.model == "ridge" and r.fold == fold]
        assert run.valid["ndcg@10"] == max(ours)
    # Test values may be anything: the choice is the same.
    blind = [replace(run, test={m: [0.0] * len(v) for m, v in run.test.items()}) for run in runs]
    assert [r.key for r in chosen(blind, "ndcg@10")] == [r.key for r in chosen(runs, "ndcg@10")]


def test_own_process_gives_the_same_numbers(runs, capfd):
    talker = Candidate("ridge", Ridge(mode="talk"))
    alone = run_benchmark([talker], FOLDS[:1], Options(metrics=("ndcg@10", "map")))[0]
    assert alone.error == ""
    assert alone.test == runs[0].test
    said = capfd.readouterr()
    assert "I fit" in said.err  # on stderr, whatever the fit wrote to: stdout belongs to the report
    assert said.out == ""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no measure of peak memory")
def test_memory_of_a_fit_is_what_it_takes_on_top():
    hoarder, plain = (
        run_benchmark([Candidate("ridge", Ridge(mode=mode))], FOLDS[:1], OPTIONS)[0].fit_memory
        for mode in ("hoard", "")
    )
    assert 0 <= plain < HOARD / 4
    assert HOARD * 0.75 < hoarder < HOARD * 1.5


def test_two_at_a_time_are_the_same_runs(runs):
    modes = ["", "kill", "raise"]
    candidates = [Candidate(mode or "fine", Ridge(mode=mode)) for mode in modes]
    seen = []
    found = run_benchmark(candidates, FOLDS, OPTIONS, at_once=2, progress=lambda *now: seen.append(now[0]))
    assert [(run.model, run.fold) for run in found] == [(c.name, f.name) for c in candidates for f in FOLDS]
    assert [bool(run.error) for run in found] == [bool(c.estimator.mode) for c in candidates for _ in FOLDS]
    assert seen == list(range(len(found) + 1))
    alone = run_benchmark(candidates[:1], FOLDS, OPTIONS, isolated=False)
    assert [run.test for run in found[: len(FOLDS)]] == [run.test for run in alone]


def test_an_interruption_ends_the_fits_under_way():
    def interrupt(done, total, name):
        if done == 1:
            raise KeyboardInterrupt

    slow = Candidate("slow", Ridge(mode="sleep"))
    with pytest.raises(KeyboardInterrupt):
        run_benchmark([Candidate("fine", Ridge()), slow], FOLDS[:1], OPTIONS, at_once=2, progress=interrupt)
    for child in multiprocessing.active_children():
        child.join(10)
        assert not child.is_alive()


def test_failures_and_killed_processes_are_reported_and_do_not_stop_the_rest():
    candidates = [Candidate(mode or "fine", Ridge(mode=mode)) for mode in ["raise", "kill", ""]]
    failed, killed, fine = run_benchmark(candidates, FOLDS[:1])
    assert failed.error == "ValueError: 'alpha' is not to its liking"
    assert killed.error == "its process was killed (out of memory?)"
    assert fine.error == ""
    assert [run.model for run in chosen([failed, killed, fine], "ndcg@10")] == ["fine"]


def test_resumes_from_the_file(tmp_path, runs):
    path = tmp_path / "runs.jsonl"
    first = run_benchmark([RIDGE], FOLDS, OPTIONS, results=ResultsFile(path), isolated=False)
    size = path.stat().st_size
    again = run_benchmark([RIDGE], FOLDS, OPTIONS, results=ResultsFile(path), isolated=False)
    assert again == first  # times included: nothing was fitted
    assert path.stat().st_size == size
    more = run_benchmark(
        [RIDGE], FOLDS, replace(OPTIONS, n_settings=4), results=ResultsFile(path), isolated=False
    )
    assert more[: len(first)] == first
    assert len(path.read_text().splitlines()) == len(more) == 8


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"metrics": ("map",)},
        {"n_jobs": 1},
    ],
)
def test_what_matters_is_in_the_key(change):
    one = Candidate("ridge", Ridge())
    keys = [
        run.key
        for options in (Options(), replace(Options(), **change))
        for run in run_benchmark([one], [Made("A", 0)], options, isolated=False)
    ]
    assert len(set(keys)) == 2


def test_data_and_parameters_are_in_the_key():
    tasks = [([Candidate("ridge", Ridge(alpha=a))], [Made("A", seed)]) for a in (1.0, 2.0) for seed in (0, 1)]
    keys = {run_benchmark(*task, isolated=False)[0].key for task in tasks}
    assert len(keys) == 4


def test_failed_runs_are_tried_again(tmp_path):
    path = tmp_path / "runs.jsonl"
    key = run_benchmark(
        [Candidate("m", Ridge(mode="raise"))], FOLDS[:1], results=ResultsFile(path), isolated=False
    )
    assert ResultsFile(path).get(key[0].key) is None
    assert len(ResultsFile(path)) == 1


def test_progress_is_told():
    seen = []
    run_benchmark([Candidate("m", Ridge())], FOLDS, isolated=False, progress=lambda *now: seen.append(now))
    assert seen == [(0, 2, "m on A"), (1, 2, "m on B"), (2, 2, "done")]


def test_truncated_last_line_is_dropped_and_the_file_goes_on(tmp_path, runs):
    path = tmp_path / "runs.jsonl"
    lines = [run.to_json() + "\n" for run in runs[:3]]
    for cut in (1, 9, 40, len(lines[2]) - 2):
        path.write_text("".join(lines[:2]) + lines[2][:cut])
        results = ResultsFile(path)
        assert [run.key for run in results] == [run.key for run in runs[:2]]
        results.add(runs[2])
        assert list(ResultsFile(path)) == runs[:3]


@pytest.mark.parametrize(
    "content",
    [
        "2 qid:1 1:0.5\n",
        "2 qid:1",
        '{"key": 1}\n',
        "[]\n",
        '{"key": "a", "model": "m", "fold": "f", "x": 1}\n',
    ],
)
def test_other_files_are_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "train.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"'out' must be.*train\.txt, line 1"):
        ResultsFile(path)
    assert path.read_text() == content


def test_run_round_trip(runs):
    for run in runs:
        assert Run.from_json(run.to_json()) == run
        assert "NaN" not in run.to_json()
    assert json.loads(runs[0].to_json())["model"] == "ridge"


def test_run_key_ignores_order_and_sees_values():
    assert run_key({"a": 1, "b": [1, 2]}) == run_key({"b": [1, 2], "a": 1})
    assert run_key({"a": 1}) != run_key({"a": 2})


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: Options(n_settings=0), "'n_settings'.*0"),
        (lambda: Options(metrics=()), "'metrics'"),
        (lambda: Options(metrics=("ndgc@10",)), "ndgc"),
        (lambda: run_benchmark([RIDGE, RIDGE], FOLDS), "'candidates'.*ridge, ridge"),
    ],
)
def test_bad_input(call, names):
    with pytest.raises(ValueError, match=names):
        call()


def test_measures_of_trec_eval_follow_in_its_conventions():
    """Blank queries count as 0, and values are those of the measure on the same scores."""
    models = [Candidate("linear", LinearRanker(max_iter=2))]
    options = Options(metrics=("ndcg@10", "P_5", "recip_rank"), keep_scores=True)
    assert options.metrics == ("ndcg@10", "P_5", "recip_rank")
    fold = find_folds()[0]
    (run,) = run_benchmark(models, [fold], options, isolated=False)
    test = fold.load().test
    scores = np.frombuffer(base64.b64decode(run.test_scores))
    values = run.test["P_5"]
    for at, qid in enumerate(test.queries.ids):
        rows = np.flatnonzero(test.qid == qid)
        best = rows[np.argsort(-scores[rows], kind="stable")][:5]
        assert values[at] == pytest.approx((test.y[best] > 0).sum() / 5)
    blank = np.array([v is None for v in run.test["ndcg@10"]])
    assert blank.any()
    assert not np.array(run.test["recip_rank"])[blank].any()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("P_5", "ndcg@10"), "must begin with a metric of the kit"),
        (("ndcg@10", "P_x"), "unknown metric 'P_x'"),
    ],
)
def test_a_measure_of_trec_eval_cannot_tune(names, message):
    with pytest.raises(ValueError, match=message):
        Options(metrics=names)


def test_a_line_that_does_not_fit_the_disk_is_not_there_by_half(tmp_path):
    """Half a line would make the next one unreadable, too, and with it the whole file."""
    import resource

    path = tmp_path / "runs.jsonl"
    results = ResultsFile(path)
    results.add(Run("first", "linear", "Fold1", 0, {}))
    whole = path.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, before[1]))
    try:
        with pytest.raises(OSError, match=r"runs\.jsonl"):
            results.add(Run("second", "linear", "Fold1", 0, {}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == whole
    results.add(Run("third", "linear", "Fold1", 0, {}))
    assert [run.key for run in ResultsFile(path)] == ["first", "third"]
