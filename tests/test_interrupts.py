"""Ctrl-C at any moment of a fit: KeyboardInterrupt, the estimator as it was, and the same bits again."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from lambdamart_kit.runtime.rollback import unchanged_on_failure
from lambdamart_kit.runtime.threads import run

PROGRAM = """
import os, signal, sys, threading, time
import numpy as np
from sklearn.exceptions import NotFittedError
from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor

signal.signal(signal.SIGINT, signal.default_int_handler)
data = make_letor(n_queries=60, random_state=0)
settings = eval(sys.argv[1])
reference = LambdaMART(n_estimators=3, random_state=0, **settings).fit(data.X, data.y, qid=data.qid)
expected = reference.predict(data.X)
endless = reference.__class__(n_estimators=100_000, random_state=0, **settings)
for turn in range(int(sys.argv[2])):
    ranker = reference if turn % 2 else endless
    ranker.set_params(n_estimators=100_000)
    timer = threading.Timer(0.05 + 0.031 * (turn % 8), os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        ranker.fit(data.X, data.y, qid=data.qid)
    except KeyboardInterrupt:
        pass
    else:
        sys.exit("was not interrupted")
    timer.join()
    if ranker is reference:
        assert np.array_equal(ranker.predict(data.X), expected), "predicts otherwise than before"
    else:
        try:
            ranker.predict(data.X)
            sys.exit("predicts without a model")
        except NotFittedError:
            pass
again = endless.set_params(n_estimators=3).fit(data.X, data.y, qid=data.qid)
assert np.array_equal(again.predict(data.X), expected), "a refit differs"
print("done")
"""
NATIVE = [{"n_jobs": 1}, {"n_jobs": 2}, {"n_jobs": 2, "booster_params": {"grow_policy": "symmetric"}}]
LIBRARIES = [{"n_jobs": 1, "booster": "lightgbm"}, {"n_jobs": 1, "booster": "xgboost"}]


def interrupt(settings: dict[str, object], times: int) -> None:
    command = [sys.executable, "-c", PROGRAM, repr(settings), str(times)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-2000:]


@pytest.mark.parametrize("settings", NATIVE, ids=str)
def test_ctrl_c_leaves_the_ranker_as_it_was(settings):
    interrupt(settings, 4)


@pytest.mark.slow
@pytest.mark.parametrize("settings", NATIVE + LIBRARIES, ids=str)
def test_ctrl_c_thirty_times(settings):
    interrupt(settings, 30)


def test_a_failed_block_leaves_no_trace():
    class Thing:
        def __init__(self) -> None:
            self.kept = 1

    thing = Thing()

    def fail() -> None:
        with unchanged_on_failure(thing):
            thing.kept = 2
            thing.new = 3
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert vars(thing) == {"kept": 1}
    with unchanged_on_failure(thing):
        thing.kept = 4
    assert vars(thing) == {"kept": 4}


def test_threads_that_meet_never_run_on_the_main_thread():
    """An interrupt is raised in the main thread alone: one that never starts would be waited for for ever."""
    seen = []
    run(lambda thread, n_threads: seen.append(threading.current_thread()), 2)
    assert len(set(seen)) == 2
    assert threading.main_thread() not in seen


def test_an_interrupted_wait_ends_after_the_threads(monkeypatch):
    from concurrent.futures import Future

    finished = np.zeros(2, bool)

    def work(thread: int, n_threads: int) -> None:
        threading.Event().wait(0.1)
        finished[thread] = True

    def interrupted(self: Future[None], timeout: float | None = None) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(Future, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(work, 2)
    assert finished.all()
