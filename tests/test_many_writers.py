"""Threads in several processes write and read one path: no error, no torn read, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lambdamart_kit.datasets import make_letor, write_letor

PROGRAM = """
import itertools, sys, threading, warnings
from dataclasses import replace
from pathlib import Path
import numpy as np
from lambdamart_kit import LambdaMART
from lambdamart_kit.bench.results import ResultsFile, Run
from lambdamart_kit.datasets import make_letor, read_letor, write_letor

# A second run that shares a checkpoint says so; that warning has a test of its own.
warnings.simplefilter("ignore")
kinds, folder, process = sys.argv[1].split(","), Path(sys.argv[2]), sys.argv[3]
n_threads, turns = int(sys.argv[4]), int(sys.argv[5])
data = make_letor(n_queries=4, random_state=0)
moved = replace(data, y=data.y + 2)
small = {"num_leaves": 4, "n_jobs": 1, "random_state": 0}


def fitted(n_estimators, **options):
    return LambdaMART(n_estimators=n_estimators, **small, **options).fit(data.X, data.y, qid=data.qid)


# Each writer returns what it then reads, which must be one of these.
one, three = fitted(1), fitted(3)
allowed = {
    "model": [one.predict(data.X).tolist(), three.predict(data.X).tolist()],
    "LETOR": [data.y.tolist(), moved.y.tolist()],
    "parse cache": [data.y.tolist(), moved.y.tolist()],
    "runs": [True],
    "checkpoint": [three.predict(data.X).tolist()],
    "work folder": [three.predict(data.X).tolist()],
}


def write_model(key, turn):
    (one, three)[turn % 2].save(folder / "model.lmk")
    return LambdaMART.load(folder / "model.lmk").predict(data.X).tolist()


def write_rows(key, turn, **options):
    write_letor((data, moved)[turn % 2], folder / "rows.txt")
    return read_letor(folder / "rows.txt", n_jobs=1, **options).y.tolist()


def add_run(key, turn):
    results = ResultsFile(folder / "runs.jsonl")
    name = f"{key} {turn}"
    values = {"ndcg@10": [0.25] * 40}
    results.add(Run(name, "linear", "Fold1", 0, {"a": 1}, {"ndcg@10": 0.5}, values, ["q"] * 40))
    return ResultsFile(folder / "runs.jsonl").get(name) is not None


def checkpoint(key, turn):
    kept = {"checkpoint": str(folder / "run.npz"), "checkpoint_trees": 1}
    return fitted(3, booster_params=kept).predict(data.X).tolist()


def work_folder(key, turn):
    ranker = LambdaMART(n_estimators=3, **small)
    return ranker.fit_files(folder / "given.txt", work_dir=folder / "work").predict(data.X).tolist()


writers = {
    "model": write_model,
    "LETOR": write_rows,
    "parse cache": lambda key, turn: write_rows(key, turn, cache=True),
    "runs": add_run,
    "checkpoint": checkpoint,
    "work folder": work_folder,
}
errors = []


def work(thread):
    for kind, turn in itertools.product(kinds, range(turns)):
        try:
            found = writers[kind](f"{process} {thread}", turn)
            assert found in allowed[kind], "a torn read"
        except Exception as error:
            errors.append(f"{kind}: {error!r}")


threads = [threading.Thread(target=work, args=(thread,)) for thread in range(n_threads)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
if errors:
    sys.exit(f"{len(errors)} errors, the first: {errors[0]}")
"""
# What stays beside the file itself, and is meant to.
EXPECTED = {
    "model": {"model.lmk"},
    "LETOR": {"rows.txt"},
    "parse cache": {"rows.txt", "rows.txt.lmkcache"},
    "runs": {"runs.jsonl"},
    "checkpoint": {"run.npz"},
    "work folder": {"given.txt", "work"},
}


def write_together(kinds, folder, *, n_processes, n_threads, turns):
    if "work folder" in kinds:
        write_letor(make_letor(n_queries=4, random_state=0), folder / "given.txt")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, ",".join(kinds), str(folder), str(i), str(n_threads), str(turns)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(n_processes)
    ]
    messages = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * n_processes, messages
    assert set(os.listdir(folder)) == set.union(*(EXPECTED[kind] for kind in kinds))


def test_two_processes_of_two_threads(tmp_path):
    write_together(list(EXPECTED), tmp_path, n_processes=2, n_threads=2, turns=4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXPECTED)
def test_four_processes_of_four_threads(kind, tmp_path):
    write_together([kind], tmp_path, n_processes=4, n_threads=4, turns=50)


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXPECTED)
@pytest.mark.parametrize(("n_processes", "n_threads"), [(1, 4), (4, 1)])
def test_two_hundred_turns(kind, n_processes, n_threads, tmp_path):
    write_together([kind], tmp_path, n_processes=n_processes, n_threads=n_threads, turns=200)
