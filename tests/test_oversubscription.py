"""More threads than cores, stopped processes and forks: slower at most, and the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.runtime.threads import MOST_THREADS, resolve_n_jobs

DATA = make_letor(n_queries=12, random_state=0)
SETTINGS = {"n_estimators": 3, "random_state": 0}


def scores(**settings):
    ranker = LambdaMART(**SETTINGS, **settings).fit(DATA.X, DATA.y, qid=DATA.qid)
    return ranker.predict(DATA.X)


@pytest.mark.parametrize("grow_policy", ["leafwise", "symmetric"])
@pytest.mark.parametrize("n_jobs", [16, 10_000])
def test_more_threads_than_cores_give_the_same_trees(n_jobs, grow_policy):
    """With 10,000 a block of the layout had no room for a feature, and the search for one never ended."""
    extra = {"grow_policy": grow_policy}
    np.testing.assert_array_equal(
        scores(n_jobs=n_jobs, booster_params=extra), scores(n_jobs=1, booster_params=extra)
    )


def test_n_jobs_is_capped():
    assert resolve_n_jobs(10**9) == MOST_THREADS
    assert resolve_n_jobs(3) == 3


PROGRAM = """
import os, sys
import numpy as np
from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor

data = make_letor(n_queries=12, random_state=0)
booster = sys.argv[1]

def fit(n_jobs=4):
    ranker = LambdaMART(booster=booster, n_estimators=3, random_state=0, n_jobs=n_jobs)
    return ranker.fit(data.X, data.y, qid=data.qid).predict(data.X)

expected = fit()
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(fit(), expected) else 3)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("booster", ["native", "lightgbm", "xgboost"])
def test_three_forked_children_at_once_fit_what_their_parent_fits(booster):
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, booster]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-2000:]


CHILDREN_WITH_FILES = """
import os, pickle, sys
import numpy as np
from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.rankers import load_ranker

os.chdir(sys.argv[2])
data = make_letor(n_queries=12, random_state=0)
ranker = LambdaMART(booster=sys.argv[1], n_estimators=3, n_jobs=2).fit(data.X, data.y, qid=data.qid)
ranker.save("model.lmk")
pickled = pickle.dumps(ranker)
expected = load_ranker("model.lmk").predict(data.X)
calls = [
    lambda: np.array_equal(load_ranker("model.lmk").predict(data.X), expected),
    lambda: np.array_equal(pickle.loads(pickled).predict(data.X), expected),
    lambda: ranker.save("again.lmk") is None,
    lambda: ranker.export("model.c", format="c"),
    lambda: ranker.contributions(data.X[:5]).sum() != 0,
]
for call in calls:
    child = os.fork()
    if child == 0:
        os._exit(0 if call() else 3)
    assert os.waitpid(child, 0)[1] == 0
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("booster", ["native", "lightgbm", "xgboost"])
def test_forked_children_read_and_write_models_after_their_parent_did(booster, tmp_path):
    """LightGBM reads and writes its text with the threads of the last fit, which a child does not have."""
    command = [sys.executable, "-W", "ignore", "-c", CHILDREN_WITH_FILES, booster, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-2000:]


STOPPED = (
    PROGRAM.split("expected = fit()")[0]
    + """
print("ready", flush=True)
for _ in range(60):
    result = fit()
print(result.tobytes().hex(), flush=True)
"""
)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system stops no process")
def test_a_fit_that_is_stopped_for_a_while_goes_on():
    """All its threads stand still wherever they are, also in the middle of waiting for each other."""
    command = [sys.executable, "-W", "ignore", "-c", STOPPED, "native"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        for _ in range(5):
            process.send_signal(signal.SIGSTOP)
            subprocess.run([sys.executable, "-c", "pass"], check=True)  # takes a moment, on any machine
            process.send_signal(signal.SIGCONT)
            subprocess.run([sys.executable, "-c", "pass"], check=True)
        found = np.frombuffer(bytes.fromhex(process.stdout.readline().strip()))
    assert process.returncode == 0
    np.testing.assert_array_equal(found, scores(n_jobs=4))


ONE_STOPPED = (
    PROGRAM.split("expected = fit()")[0]
    + """
import ctypes, os, signal, threading, time

# A handler in C, since Python runs its own in the main thread alone. SIGHUP is signal number 1, so a thread
# that gets it calls sleep(1), wherever it is.
library = ctypes.CDLL(None)
library.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
library.signal(signal.SIGHUP, ctypes.cast(library.sleep, ctypes.c_void_p))
expected = fit(n_jobs=1)  # makes no threads, so that all there are later belong to the fits
asleep = set()
done = threading.Event()
results, seconds = [], []

def fit_until_done():
    while not done.is_set():
        start = time.perf_counter()
        results.append(fit())
        seconds.append(time.perf_counter() - start)

before = set(os.listdir("/proc/self/task"))
fitting = threading.Thread(target=fit_until_done)
fitting.start()
while len(asleep) < 3:
    for thread in set(os.listdir("/proc/self/task")) - before - asleep:
        if int(thread) != fitting.native_id and not library.tgkill(os.getpid(), int(thread), signal.SIGHUP):
            asleep.add(thread)
            n_before = len(results)
            while len(results) < n_before + 2:
                fitting.join(0.05)
done.set()
fitting.join()
assert all(np.array_equal(result, expected) for result in results)
assert max(seconds) > 0.5, "no thread slept while it had work"
print("done")
"""
)


@pytest.mark.skipif(sys.platform != "linux", reason="sends a thread to sleep by Linux's signals")
def test_one_thread_that_is_stopped_for_a_second_holds_the_others_up_and_no_more():
    command = [sys.executable, "-W", "ignore", "-c", ONE_STOPPED, "native"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-2000:]


CPU_GROUPS = Path("/sys/fs/cgroup/cpu")  # of the first version of control groups
HALF_A_CORE = (
    PROGRAM.split("expected = fit()")[0]
    + """
print(fit().tobytes().hex(), flush=True)
"""
)


@pytest.fixture
def half_a_core():
    """A control group whose processes together get 50 of every 100 ms of one core."""
    group = CPU_GROUPS / f"lambdamart-kit-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_period_us").write_text("100000")
        (group / "cpu.cfs_quota_us").write_text("50000")
    except OSError:
        pytest.skip("this process may not make a control group")
    yield group
    group.rmdir()


@pytest.mark.slow
@pytest.mark.parametrize("booster", ["native", "lightgbm", "xgboost"])
def test_a_fit_with_four_threads_on_half_a_core_ends(booster, half_a_core):
    """The system stops all four threads for half of the time, wherever they are."""

    def enter() -> None:
        (half_a_core / "cgroup.procs").write_text(str(os.getpid()))

    command = [sys.executable, "-W", "ignore", "-c", HALF_A_CORE, booster]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, preexec_fn=enter)
    assert done.returncode == 0, done.stderr[-2000:]
    found = np.frombuffer(bytes.fromhex(done.stdout.strip()))
    np.testing.assert_array_equal(found, scores(n_jobs=1, booster=booster))
