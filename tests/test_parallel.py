import multiprocessing
import os
import threading
import time
import warnings

import numpy as np
import pytest

from lambdamart_kit.runtime.threads import (
    balanced_bounds,
    library_threads,
    resolve_n_jobs,
    run,
    run_tasks,
    threads_used,
)


def test_run_calls_once_per_thread():
    seen = []
    run(lambda thread, n, out: out.append((thread, n, threading.get_ident())), 3, seen)
    assert sorted(t for t, _, _ in seen) == [0, 1, 2]
    assert {n for _, n, _ in seen} == {3}


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_tasks_cover_everything_once(rng, n_threads):
    cost = rng.integers(1, 100, 1000)
    hits = np.zeros(1000, dtype=int)

    def touch(start, stop):
        hits[start:stop] += 1

    run_tasks(touch, balanced_bounds(cost, n_threads), n_threads)
    assert (hits == 1).all()


@pytest.mark.parametrize(("n_threads", "n_tasks"), [(1, 8), (3, 2), (3, 40)])
def test_every_thread_has_scratch_of_its_own(n_threads, n_tasks):
    bounds = np.arange(n_tasks + 1)
    users = [(set(),) for _ in range(threads_used(bounds, n_threads))]
    hits = np.zeros(n_tasks, dtype=int)

    def touch(start, stop, mine, weight):
        mine.add(threading.get_ident())
        time.sleep(0.001)
        hits[start:stop] += weight

    run_tasks(touch, bounds, n_threads, 3, scratch=users)
    assert (hits == 3).all()
    assert all(len(mine) <= 1 for (mine,) in users)


def test_bounds_of_nothing():
    assert balanced_bounds(np.empty(0), 2).tolist() == [0]


def test_errors_reach_the_caller():
    def fail(thread, n):
        if thread == 1:
            raise RuntimeError("from the helper thread")

    with pytest.raises(RuntimeError, match="helper thread"):
        run(fail, 2)


def test_usable_after_fork():
    run(lambda t, n: None, 2)
    pid = os.fork()
    if pid == 0:
        done = []
        run(lambda t, n: done.append(t), 2)
        os._exit(0 if sorted(done) == [0, 1] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_forked_process_says_once_that_libraries_get_one_thread():
    pid = os.fork()
    if pid == 0:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            threads = [library_threads(n) for n in (1, 3, 4)]
        said = [str(one.message) for one in caught]
        right = threads == [1, 1, 1] and len(said) == 1 and said[0].startswith("'n_jobs' is 3, and LightGBM")
        os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert library_threads(3) == 3


def _granted(connection):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        granted = library_threads(2)
    pid = os.fork()  # a child of the child has no such excuse
    if pid == 0:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            os._exit(library_threads(2))
    of_its_child = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    connection.send((granted, of_its_child, [str(one.message) for one in caught]))


@pytest.mark.skipif("forkserver" not in multiprocessing.get_all_start_methods(), reason="needs forkserver")
def test_a_server_that_forks_has_no_threads_to_lose():
    """`bench` starts its fits so, with the kit imported before: LightGBM and XGBoost get their threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lambdamart_kit.runtime.threads"])
    ours, theirs = context.Pipe()
    process = context.Process(target=_granted, args=(theirs,))
    process.start()
    assert ours.poll(60)
    assert ours.recv() == (2, 1, [])
    process.join()


def test_n_jobs():
    assert resolve_n_jobs(3) == 3
    assert resolve_n_jobs(None) == resolve_n_jobs(-1) >= 1
    with pytest.raises(ValueError, match="'n_jobs' must not be 0"):
        resolve_n_jobs(0)
