from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from lambdamart_kit import LambdaMART
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.objectives import XENDCG, LambdaNDCG, RankNet, YetiLoss
from lambdamart_kit.trees import boosting
from lambdamart_kit.trees.boosting import boost
from lambdamart_kit.trees.checkpoint import Checkpoint
from lambdamart_kit.trees.parameters import TreeParameters

N = 600
PARAMETERS = TreeParameters(num_leaves=7, subsample=0.8, colsample_bynode=0.7)


class SquaredLoss:
    def __init__(self, y):
        self.y = y

    def gradient_hessian(self, scores):
        return (scores - self.y).astype(np.float32), np.ones(len(self.y), np.float32)


@dataclass
class Held:
    key: str
    X: Any
    metric: Any

    def evaluate(self, scores):
        return {self.key: self.metric(scores)}


def problem():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, 4)).astype(np.float32)
    y = (X[:, 0] * X[:, 1] + X[:, 2]).astype(np.float32)
    return X, y, Queries.from_qid(np.arange(N) // 10, N)


def train(n_estimators=12, parameters=PARAMETERS, bound=None, **options):
    X, y, queries = problem()
    boosting._WORTH_SHARING = 0  # small as it is, on as many threads as asked for
    return boost(X, queries, bound or SquaredLoss(y), parameters, n_estimators=n_estimators, **options)


def scores(ensemble):
    return ensemble.predict(problem()[0])


def test_held_out_scores_are_those_of_the_whole_model():
    X, y, _ = problem()
    seen = []
    held = Held("test", X[:100], lambda s: float(np.mean((s - y[:100]) ** 2)))
    measured = []

    def note(n_rounds, evaluation, _):
        seen.append(n_rounds)
        measured.append(evaluation["test"])
        return n_rounds == 8

    ensemble = train(eval_sets=[held], after_round=note)
    assert seen == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len(ensemble.trees) == 8
    assert measured[-1] == held.metric(ensemble.predict(X[:100]))
    assert measured[-1] < measured[0]


def test_a_resumed_run_is_the_same_run(tmp_path):
    whole = train()
    checkpoint = Checkpoint(tmp_path / "run.npz", every_trees=5)
    train(8, checkpoint=checkpoint)
    rounds = []
    resumed = train(checkpoint=checkpoint, after_round=lambda n, *_: rounds.append(n), n_threads=2)
    assert np.array_equal(scores(whole), scores(resumed))
    assert whole.to_lightgbm().model_to_string() == resumed.to_lightgbm().model_to_string()
    assert rounds == list(range(1, 13))  # early stopping sees the rounds of the first run too
    assert os.listdir(tmp_path) == ["run.npz"]


@pytest.mark.parametrize(
    "objective",
    [YetiLoss(), XENDCG(), LambdaNDCG(ties="random"), RankNet(n_partners=3)],
    ids=lambda objective: type(objective).__name__,
)
def test_a_resumed_run_draws_what_it_would_have_drawn(objective, tmp_path):
    X, y, _ = problem()
    grades, qid = np.digitize(y, [-1, 0, 1]), np.arange(N) // 10
    X = np.round(X)  # documents tie in every round

    def model(n_estimators, **booster_params):
        ranker = LambdaMART(
            objective, n_estimators=n_estimators, num_leaves=7, random_state=0, booster_params=booster_params
        )
        return ranker.fit(X, grades, qid=qid).booster_.model_to_string()

    saving = {"checkpoint": str(tmp_path / "run.npz"), "checkpoint_trees": 4}
    model(4, **saving)
    assert model(9, **saving) == model(9)


def test_a_killed_run_resumes(tmp_path):
    """kill -9 while training; what is on disk is a whole checkpoint."""
    path = tmp_path / "run.npz"
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_trees_boosting import train; from lambdamart_kit.trees.checkpoint import Checkpoint\n"
        "train(100_000, checkpoint=Checkpoint(sys.argv[2], every_trees=1),"
        " after_round=lambda n, *_: print(n, flush=True))"
    )
    command = [sys.executable, "-c", code, os.path.dirname(__file__), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while int(process.stdout.readline()) < 20:
            pass
        process.send_signal(signal.SIGKILL)
    assert np.array_equal(scores(train(25)), scores(train(25, checkpoint=Checkpoint(path, every_trees=100))))


def test_a_checkpoint_of_another_problem_is_refused(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run.npz", every_trees=1)
    train(2, checkpoint=checkpoint)
    with pytest.raises(ValueError, match=r"'checkpoint' .* other data or with other parameters; remove it"):
        train(2, TreeParameters(num_leaves=8), checkpoint=checkpoint)
    with pytest.raises(ValueError, match="'every_trees' must be above 0; got 0"):
        Checkpoint("x", every_trees=0)


@pytest.mark.parametrize(
    "change", ["labels", "weights", "documents", "start", "objective", "settings of the objective"]
)
def test_a_checkpoint_is_of_labels_weights_starts_and_objective(change, tmp_path):
    X, y, _ = problem()
    qid = np.arange(N) // 10
    grades = np.digitize(y, [-1, 0, 1])
    weight = 1.0 + qid % 3
    given = {"sample_weight": weight, "document_weight": 1.0 + np.arange(N) % 2, "init_score": 0.1 * X[:, 0]}
    saving = {"checkpoint": str(tmp_path / "run.npz"), "checkpoint_trees": 1}

    def fit(objective, n_estimators, grades=grades, booster_params=saving, **changed):
        ranker = LambdaMART(
            objective,
            n_estimators=n_estimators,
            num_leaves=7,
            random_state=0,
            booster_params=booster_params,
        )
        return ranker.fit(X, grades, qid=qid, **{**given, **changed}).booster_.model_to_string()

    fit(LambdaNDCG(), 2)
    other = {
        "labels": {"grades": np.where(qid == 3, grades[::-1], grades)},
        "weights": {"sample_weight": weight + (qid == 3)},
        "documents": {"document_weight": np.ones(N)},
        "start": {"init_score": 0.2 * X[:, 0]},
    }.get(change, {})
    objectives = {"objective": RankNet(), "settings of the objective": LambdaNDCG(truncation_level=3)}
    with pytest.raises(ValueError, match=r"'checkpoint' .* other data or with other parameters; remove it"):
        fit(objectives.get(change, LambdaNDCG()), 4, **other)
    assert fit(LambdaNDCG(), 4) == fit(LambdaNDCG(), 4, booster_params=None)


def test_seconds_between_checkpoints(tmp_path):
    train(3, checkpoint=Checkpoint(tmp_path / "run.npz", every_seconds=1e-9))
    assert (tmp_path / "run.npz").exists()
    train(3, checkpoint=Checkpoint(tmp_path / "never.npz", every_seconds=1e9))
    assert not (tmp_path / "never.npz").exists()


def test_fits_in_threads_at_once_do_not_disturb_each_other():
    expected, got = scores(train()), {}

    def fit(name):
        got[name] = scores(train(n_threads=2))

    threads = [threading.Thread(target=fit, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(expected, got[i]) for i in range(3))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_training_after_a_fork():
    expected = scores(train(n_threads=2))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, bytes([np.array_equal(expected, scores(train(n_threads=2)))]))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 1) == b"\x01"


def test_training_in_loky_workers():
    joblib = pytest.importorskip("joblib")
    results = joblib.Parallel(n_jobs=2)(joblib.delayed(_worker)() for _ in range(2))
    assert all(np.array_equal(scores(train()), result) for result in results)


def _worker():
    return scores(train(n_threads=2))


def test_a_full_disk_costs_the_checkpoint_and_not_the_fit(tmp_path, monkeypatch):
    path = tmp_path / "run.npz"
    train(4, checkpoint=Checkpoint(path, every_trees=2))
    good = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lambdamart_kit.trees.checkpoint.np.savez", full)
    with pytest.warns(
        UserWarning, match="could not be written .No space left on device.; training goes on"
    ) as seen:
        ensemble = train(10, checkpoint=Checkpoint(path, every_trees=2))
    assert len(seen) == 1
    assert path.read_bytes() == good
    assert np.array_equal(scores(ensemble), scores(train(10)))


def test_two_runs_of_one_checkpoint_are_told(tmp_path):
    checkpoint = Checkpoint(tmp_path / "run.npz", every_trees=1)
    inner = []

    def meanwhile(n_rounds, *_):
        if n_rounds == 1:
            with pytest.warns(UserWarning, match="is written by another fit that is running"):
                inner.append(train(2, checkpoint=checkpoint))

    train(3, checkpoint=checkpoint, after_round=meanwhile)
    assert len(inner) == 1
    assert os.listdir(tmp_path) == ["run.npz"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "circle", "feature"])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    path = tmp_path / "run.npz"
    train(3, checkpoint=Checkpoint(path, every_trees=1))
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        path.write_bytes(content.replace(b"children", b"childred"))
    else:
        with np.load(path) as stored:
            arrays = dict(stored)
        if damage == "circle":
            arrays["children"][0, 0] = 0
        else:
            arrays["feature"][0] = 10**6
        np.savez(path, **arrays)
    with pytest.raises(ValueError, match=r"run\.npz' is damaged .*; remove it to start anew"):
        train(5, checkpoint=Checkpoint(path, every_trees=1))


@pytest.mark.parametrize("grow_policy", ["leafwise", "symmetric"])
def test_a_leaf_without_curvature_and_without_l2_is_zero(grow_policy):
    """Where all hessians are 0, a Newton step would divide by 0: such rows say nothing of how far to go."""
    X = np.arange(40, dtype=np.float32)[:, None]

    class Flat:
        def gradient_hessian(self, scores):
            return np.where(X[:, 0] < 20, -1, 1).astype(np.float32), np.zeros(40, np.float32)

    parameters = TreeParameters(num_leaves=4, reg_lambda=0.0, min_child_samples=1, grow_policy=grow_policy)
    ensemble = boost(X, Queries.from_qid(np.zeros(40, int), 40), Flat(), parameters, n_estimators=1)
    assert not ensemble.predict(X).any()
