"""Ctrl-C at any moment of a fit: KeyboardInterrupt, the estimator as it was, and the same bits again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPRegressor

from lambdamart_kit import NeuralRanker
from lambdamart_kit.datasets import make_letor, write_letor
from lambdamart_kit.runtime.rollback import unchanged_on_failure
from lambdamart_kit.runtime.threads import run, run_tasks
from lambdamart_kit.runtime.workers import Workers

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
    try:
        timer.start()  # on a busy machine the interrupt may come before this returns
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
ANY_CALL = """
import os, random, signal, sys, threading, time, warnings
import numpy as np
from sklearn.exceptions import NotFittedError
from lambdamart_kit.datasets import make_letor, write_letor

signal.signal(signal.SIGINT, signal.default_int_handler)
warnings.simplefilter("ignore")
data = make_letor(n_queries=30, random_state=0)
setup, call, times, folder = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
os.chdir(folder)
here = globals()
exec(setup, here)
exec("def work():\\n    return " + call, here)
expected = work()
start = time.perf_counter()
work()
seconds = time.perf_counter() - start
lost_by_others = []


def note_lost(told):
    # What is raised in a destructor, Python drops. Those of the kit must not be where an interrupt comes.
    name = str(getattr(told.object, "__module__", ""))
    if told.exc_type is KeyboardInterrupt and not name.startswith("lambdamart_kit"):
        lost_by_others.append(told.object)
    else:
        sys.__unraisablehook__(told)


sys.unraisablehook = note_lost
draw = random.Random(0)
for turn in range(times):
    timer = threading.Timer(draw.uniform(0.0, 2 * seconds), os.kill, (os.getpid(), signal.SIGINT))
    lost_by_others.clear()
    try:
        timer.start()
        calls_after_it = 0
        while calls_after_it < 3:
            was_over = not timer.is_alive()
            work()
            calls_after_it += was_over
            if calls_after_it == 3 and lost_by_others:
                lost_by_others.clear()
                calls_after_it = 0
                os.kill(os.getpid(), signal.SIGINT)
        sys.exit(f"interrupt {turn} was lost: three calls began after it and ended")
    except KeyboardInterrupt:
        pass
    timer.join()
    if hasattr(here.get("subject"), "predict") and isinstance(expected, np.ndarray):
        try:
            assert np.array_equal(subject.predict(data.X), expected), "predicts otherwise than before"
        except NotFittedError:
            pass
assert np.array_equal(work(), expected), "another result after an interrupt"
print("done")
"""
FIT = "subject.fit(data.X, data.y, qid=data.qid).predict(data.X)"
PAIRS = (
    "from lambdamart_kit import RewardModel, PreferencePairs\n"
    "rows = np.arange(0, 200, 2)\n"
    "pairs = PreferencePairs.from_indices(data.X, rows, rows + 1)\n"
)
CALLS = {
    "lightgbm": (
        "from lambdamart_kit import LambdaMART\nsubject = LambdaMART(booster='lightgbm', n_estimators=3)",
        FIT,
    ),
    "xgboost": (
        "from lambdamart_kit import LambdaMART\nsubject = LambdaMART(booster='xgboost', n_estimators=3)",
        FIT,
    ),
    "catboost": (
        "from lambdamart_kit import CatBoostRanker\n"
        "subject = CatBoostRanker(n_estimators=5, early_stopping_rounds=5, validation_fraction=.2, "
        "random_state=0)",
        FIT,
    ),
    "linear": ("from lambdamart_kit import LinearRanker\nsubject = LinearRanker(max_iter=5)", FIT),
    "neural": (
        "from lambdamart_kit import NeuralRanker\nsubject = NeuralRanker(max_iter=2, random_state=0)",
        FIT,
    ),
    "reward model": (
        PAIRS + "subject = RewardModel(scorer='trees', n_estimators=3, random_state=0)",
        "subject.fit_pairs(pairs).predict(data.X)",
    ),
    "auto": (
        # It keeps the fits that are done and says so, which is an interrupt to this test.
        "from lambdamart_kit import AutoRanker\n"
        "auto = AutoRanker('fits=2', cv=2, n_jobs=1, random_state=0)\n"
        "def fit_auto():\n    with warnings.catch_warnings(record=True) as caught:\n"
        "        warnings.simplefilter('always')\n"
        "        scores = auto.fit(data.X, data.y, qid=data.qid).predict(data.X)\n"
        "    assert np.isfinite(scores).all()\n"
        "    if any('stopped by Ctrl-C' in str(one.message) for one in caught):\n"
        "        raise KeyboardInterrupt\n    return scores",
        "fit_auto()",
    ),
    "search": (
        "import lambdamart_kit as lk\nfrom sklearn.model_selection import GridSearchCV\n"
        "from lambdamart_kit.model_selection import QueryKFold\n"
        "grid = GridSearchCV(lk.LambdaMART(n_estimators=2), {'num_leaves': [3, 7]}, cv=QueryKFold(2))\n"
        "def search():\n    with lk.query_routing():\n"
        "        return grid.fit(data.X, data.y, qid=data.qid).predict(data.X)",
        "search()",
    ),
    "bench": (
        "from lambdamart_kit.bench.comparison import compare",
        "compare(models=['linear'], quick=True) is not None",
    ),
    "fit_files": (
        "from lambdamart_kit import LambdaMART\nwrite_letor(data, 'data.txt')\n"
        "subject = LambdaMART(n_estimators=3)",
        "subject.fit_files('data.txt', work_dir='work').predict(data.X)",
    ),
    "predict": (
        "from lambdamart_kit import LambdaMART\n"
        "subject = LambdaMART(n_estimators=30).fit(data.X, data.y, qid=data.qid)",
        "subject.predict(np.repeat(data.X, 50, axis=0))[::50]",
    ),
    "save and load": (
        "from lambdamart_kit import LambdaMART\n"
        "subject = LambdaMART(n_estimators=30).fit(data.X, data.y, qid=data.qid)\n"
        "def again():\n    subject.save('m.lmk')\n    return LambdaMART.load('m.lmk').predict(data.X)",
        "again()",
    ),
    "dask": (
        "from dask.distributed import Client\nimport dask.array as da\n"
        "from lambdamart_kit.distributed import DaskLambdaMART\n"
        "client = Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None)\n"
        "chunks = [da.from_array(part, chunks=(len(data.y), *part.shape[1:])) "
        "for part in (data.X, data.y, data.qid)]\n"
        "subject = DaskLambdaMART(n_estimators=2)",
        "np.asarray(subject.fit(chunks[0], chunks[1], qid=chunks[2]).to_local().predict(data.X))",
    ),
}
NATIVE = [{"n_jobs": 1}, {"n_jobs": 2}, {"n_jobs": 2, "booster_params": {"grow_policy": "symmetric"}}]
LIBRARIES = [{"n_jobs": 1, "booster": "lightgbm"}, {"n_jobs": 1, "booster": "xgboost"}]


def interrupt(settings: dict[str, object], times: int) -> None:
    command = [sys.executable, "-c", PROGRAM, repr(settings), str(times)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-2000:]


@pytest.mark.parametrize("settings", NATIVE, ids=str)
def test_ctrl_c_leaves_the_ranker_as_it_was(settings):
    interrupt(settings, 4)


def interrupt_call(name: str, times: int, folder: object) -> None:
    setup, call = CALLS[name]
    command = [sys.executable, "-c", ANY_CALL, setup, call, str(times), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["done"]), done.stderr[-3000:]
    assert not [path.name for path in Path(str(folder)).rglob("*.partial*")]


@pytest.mark.parametrize("name", ["xgboost", "catboost", "linear", "fit_files"])
def test_ctrl_c_in_any_call(name, tmp_path):
    interrupt_call(name, 3, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_ctrl_c_thirty_times_in_any_call(name, tmp_path):
    interrupt_call(name, 30, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("settings", NATIVE + LIBRARIES, ids=str)
def test_ctrl_c_thirty_times(settings):
    interrupt(settings, 30)


COMMAND = """
import os, signal, sys
from pathlib import Path

signal.signal(signal.SIGINT, signal.default_int_handler)
module, becomes = sys.argv.pop(1), sys.argv.pop(1)

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                if becomes == "an error":
                    raise ImportError("initialization failed") from None
                raise

sys.meta_path.insert(0, Interrupting())
from lambdamart_kit.cli import main
main()
"""


@pytest.mark.parametrize("becomes", ["an interrupt", "an error"])
@pytest.mark.parametrize("module", ["lambdamart_kit.cli.app", "lambdamart_kit.rankers.lambdamart"])
def test_ctrl_c_while_a_command_imports(module, becomes, tmp_path):
    """Extension modules turn it into an ImportError of their own."""
    path = tmp_path / "train.txt"
    path.write_text("1 qid:1 1:1\n0 qid:1 1:2\n")
    words = ["train", str(path), "--model", str(tmp_path / "m.lmk")]
    command = [sys.executable, "-c", COMMAND, module, becomes, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 130, done.stderr[-2000:]
    assert done.stderr.startswith("lambdamart-kit: stopped")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_ctrl_c_thirty_times_while_a_command_starts_and_compiles(tmp_path):
    """On a new machine every time: imports, compiling kernels, and the process that helps to compile."""
    data = make_letor(n_queries=60, random_state=0)
    write_letor(data, tmp_path / "train.txt")
    program = "print('begins', flush=True)\nfrom lambdamart_kit.cli import main\nmain()"
    words = ["train", str(tmp_path / "train.txt"), "--model", str(tmp_path / "m.lmk")]
    command = [sys.executable, "-c", program, *words, "-p", "n_estimators=100000"]
    draw = random.Random(0)
    for turn in range(30):
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / f"cache{turn}")}
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            process.stdout.readline()
            time.sleep(draw.uniform(0.0, 30.0))
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=300)
        assert process.returncode == 130, errors[-2000:]
        assert "lambdamart-kit: stopped" in errors
        assert "Traceback" not in errors
    assert not (tmp_path / "m.lmk").exists()


@pytest.mark.parametrize("n_steps", [1, 4])
def test_a_network_does_not_swallow_ctrl_c(n_steps, monkeypatch):
    """scikit-learn makes a warning of it and goes on, with other first weights or half a step."""
    seen = []
    ordinary = MLPRegressor._backprop

    def interrupted(self, *args):
        seen.append(self)
        if len(seen) == n_steps:
            os.kill(os.getpid(), signal.SIGINT)
        return ordinary(self, *args)

    data = make_letor(n_queries=10, random_state=0)
    ranker = NeuralRanker(max_iter=20, random_state=0)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(MLPRegressor, "_backprop", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            ranker.fit(data.X, data.y, qid=data.qid)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(seen) == n_steps
    with pytest.raises(NotFittedError):
        ranker.predict(data.X)


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


def interrupt_soon(seconds: float = 0.05) -> threading.Timer:
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    return timer


@pytest.fixture
def ctrl_c():
    """Interrupts raise, whatever the process that runs the tests was started with."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupted_wait_ends_after_the_threads():
    finished = np.zeros(2, bool)

    def work(thread: int, n_threads: int) -> None:
        if thread == 0:
            interrupt_soon()
        time.sleep(0.3)
        finished[thread] = True

    with pytest.raises(KeyboardInterrupt):
        run(work, 2)
    assert finished.all()


@pytest.mark.usefixtures("ctrl_c")
def test_after_an_interrupt_tasks_are_stopped_and_none_begins():
    begun = []
    stopped = threading.Event()

    def work(first: int, last: int) -> None:
        begun.append(first)
        if len(begun) == 2:
            interrupt_soon()
        assert stopped.wait(30)

    with pytest.raises(KeyboardInterrupt):
        run_tasks(work, np.arange(9), 2, stop=stopped.set)
    assert sorted(begun) == [0, 1]


def test_after_an_error_no_task_begins():
    begun = []

    def work(first: int, last: int) -> None:
        begun.append(first)
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        run_tasks(work, np.arange(100), 2)
    assert len(begun) <= 2


def test_a_call_that_is_called_off_is_never_made():
    workers = Workers(1)
    goes_on = threading.Event()
    made = []
    first = workers.begin(goes_on.wait, 30)
    second = workers.begin(made.append, 2)
    second.call_off()
    second.wait()
    goes_on.set()
    assert first.result() is True
    assert workers.run(None, made.copy) == []


def test_errors_of_a_call_are_raised_where_its_result_is_asked_for():
    with pytest.raises(ZeroDivisionError):
        Workers(1).begin(divmod, 1, 0).result()


def test_workers_end_with_what_they_belong_to():
    ended = threading.Event()

    class Kept:
        def __del__(self) -> None:
            ended.set()

    def keep() -> None:
        kept.it = Kept()

    kept = threading.local()  # what a thread keeps in it goes when the thread ends
    workers = Workers(1)
    workers.run(None, keep)
    assert not ended.is_set()
    del workers
    assert ended.wait(30)


def test_a_program_ends_after_the_calls_that_nobody_waits_for():
    program = (
        "import time\nfrom lambdamart_kit.runtime.workers import Workers\nworkers = Workers(1)\n"
        "def work():\n    time.sleep(0.3)\n    print('worked', flush=True)\n"
        "workers.begin(work)\ntime.sleep(0.1)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "worked\n"), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_program_does_not_wait_for_the_calls_of_its_parent():
    program = (
        "import os, sys, threading\nfrom lambdamart_kit.runtime.workers import Workers\n"
        "workers, begun, goes_on = Workers(1), threading.Event(), threading.Event()\n"
        "def work():\n    begun.set()\n    goes_on.wait()\n"
        "workers.begin(work)\nbegun.wait()\n"
        "pid = os.fork()\nif pid == 0:\n    sys.exit(7)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\ngoes_on.set()"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "7\n"), done.stderr
