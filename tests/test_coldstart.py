from __future__ import annotations

import gc
import os
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from lambdamart_kit import LambdaMART
from lambdamart_kit.boosters import native as boosters_native
from lambdamart_kit.compile import collector_at_rest, inner, kernel, kernels
from lambdamart_kit.compile.lean import Remembering
from lambdamart_kit.compile.second_process import compiled_aside
from lambdamart_kit.trees.growth.leafwise import grow
from lambdamart_kit.trees.growth.precompile import signature


class Parts(NamedTuple):
    whole: np.ndarray
    value: float


TYPES = ("f8",)
lean_only = pytest.mark.skipif(kernels.lean is None, reason="kernels compile the plain way")


class Kernel:
    """Just what a dispatcher shows to `compiled_aside`."""

    def __init__(self, cached=(), signatures=()):
        index = {(types, "this machine"): "file" for types in cached}
        self.signatures = list(signatures)
        self._cache = SimpleNamespace(_cache_file=SimpleNamespace(_load_index=lambda: index))

    def compile(self, signature):
        return f"compiled {signature}"


@pytest.fixture
def aside(tmp_path, monkeypatch):
    """Name of a module that leaves a mark when it has run, and the mark."""
    mark = tmp_path / "mark"
    code = f"import sys, time; time.sleep(0.5); open({str(mark)!r}, 'w').write(' '.join(sys.argv[1:]))"
    (tmp_path / "compiles_aside.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "compiles_aside", mark


def test_the_first_compilation_waits_for_the_other_process(aside):
    module, mark = aside
    fake = Kernel()
    with compiled_aside(fake, TYPES, module, "two", "words", n_threads=2):
        assert fake.compile("f8") == "compiled f8"
        assert mark.read_text() == "two words"
    assert "compile" not in vars(fake)


@pytest.mark.parametrize(
    ("fake", "n_threads"),
    [(Kernel(), 1), (Kernel(cached=[TYPES]), 2), (Kernel(signatures=[TYPES]), 2), (object(), 2)],
    ids=["one thread", "cached", "compiled", "no dispatcher"],
)
def test_nothing_is_started_without_need(aside, fake, n_threads):
    with compiled_aside(fake, TYPES, aside[0], n_threads=n_threads):
        assert "compile" not in getattr(fake, "__dict__", {})


def test_a_process_that_fails_or_is_not_needed_does_no_harm(aside):
    fake = Kernel()
    with compiled_aside(fake, TYPES, "no_such_module_at_all", n_threads=2):
        assert fake.compile("f8") == "compiled f8"
    with pytest.raises(KeyError), compiled_aside(fake, TYPES, aside[0], n_threads=2):
        raise KeyError
    assert "compile" not in vars(fake)
    assert not aside[1].exists()  # it was ended with the block
    other = Kernel()
    with (
        compiled_aside(fake, TYPES, aside[0], n_threads=2),
        compiled_aside(other, TYPES, aside[0], n_threads=2),
    ):
        assert "compile" in vars(fake)
        assert "compile" not in vars(other)  # one at a time


@lean_only
def test_a_kernel_compiles_what_it_calls_once_for_a_type():
    @inner
    def add(x, flag):
        if x > 3:
            raise ValueError("too large", x)
        return x + 1 if flag else x

    @kernel(cache=False)
    def middle(x):
        return add(x, True) + add(0, False) + add(1, True)

    @kernel(cache=False)
    def outer(a):
        return middle(a[0])

    assert outer(np.array([2])) == 5
    assert middle(2) == 5
    assert len(add.signatures) == 1
    with pytest.raises(ValueError, match="too large"):
        outer(np.array([4]))


def test_code_for_other_types_does_not_count(aside):
    fake = Kernel(cached=[("f4",)], signatures=[("i8",)])
    with compiled_aside(fake, TYPES, aside[0], n_threads=2):
        assert "compile" in vars(fake)


@pytest.mark.parametrize(
    "words", [(), ("categories",), ("monotone",), ("categories", "monotone"), ("interactions",)]
)
def test_the_kernel_compiled_aside_is_the_one_that_grows_trees(words):
    rng = np.random.default_rng(0)
    X = rng.integers(0, 5, (60, 2))
    settings = {"monotone_constraints": [1, 0]} if "monotone" in words else {}
    settings |= {"categorical_features": [1]} if "categories" in words else {}
    settings |= {"interaction_constraints": [[0], [1]]} if "interactions" in words else {}
    LambdaMART(n_estimators=1, n_jobs=1, **settings).fit(X, rng.integers(0, 3, 60), qid=np.arange(60) // 10)
    assert signature(*words) in grow.signatures


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ()),
        ({"categorical_features": [1]}, ("categories",)),
        ({"monotone_constraints": np.array([0, -1])}, ("monotone",)),
        ({"monotone_constraints": {"0": 0}}, ()),
        ({"monotone_constraints": [[1, 0], [1]]}, ("monotone",)),  # a mistake, but not for here to say
        ({"categorical_features": ["1"], "monotone_constraints": {"0": 1}}, ("categories", "monotone")),
        ({"interaction_constraints": "pairwise"}, ("interactions",)),
        ({"booster_params": {"grow_policy": "symmetric"}}, None),
        ({"booster": "lightgbm"}, None),
    ],
)
def test_compiling_begins_with_the_first_line_of_a_fit(settings, expected, monkeypatch):
    started = []

    @contextmanager
    def note(kernel, types, module, *words, n_threads):
        started.append((kernel, types, words))
        yield

    monkeypatch.setattr(boosters_native, "compiled_aside", note)
    X = pd.DataFrame(np.ones((4, 2)), columns=["0", "1"])
    with LambdaMART(n_jobs=2, **settings)._head_start(X):
        pass
    assert started == ([] if expected is None else [(grow, signature(*expected), expected)])


def test_what_is_none_is_not_compiled():
    @inner(borrows=True)
    def fill(a, value):
        for i in range(len(a)):
            a[i] = value

    @kernel(borrows=True, cache=False)
    def fill_if_given(a, value):
        if value is not None:
            fill(a, value)

    a = np.zeros(3)
    fill_if_given(a, None)
    assert not fill.signatures
    fill_if_given(a, 2.0)
    assert a.tolist() == [2.0] * 3


def test_the_type_of_a_call_is_worked_out_once():
    asked = []

    def resolve(function, args, kws):
        asked.append((function, *args))
        return f"of {function}" if args != ("unknown",) else None

    context = Remembering(SimpleNamespace(resolve_function_type=resolve, callstack="the context's"))
    for _ in range(2):
        assert context.resolve_function_type("max", ["i8", "i8"], {}) == "of max"
        assert context.resolve_function_type("max", ("i8", "f8"), {}) == "of max"
        assert context.resolve_function_type("max", ("unknown",), {}) is None  # it may be known by and by
    assert asked == [("max", "i8", "i8"), ("max", "i8", "f8"), ("max", "unknown"), ("max", "unknown")]
    assert context.callstack == "the context's"


def test_cycles_are_collected_again_after_compiling():
    @kernel(cache=False)
    def add_one(x):
        return x + 1

    assert gc.isenabled()
    assert add_one(1) == 2
    assert gc.isenabled()
    with collector_at_rest:
        with collector_at_rest:
            assert not gc.isenabled()
        assert not gc.isenabled()
        assert add_one(1.5) == 2.5
        assert not gc.isenabled()
    assert gc.isenabled()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_collects_cycles_though_the_parent_rests():
    with collector_at_rest:
        child = os.fork()
        if child == 0:
            os._exit(0 if gc.isenabled() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert not gc.isenabled()


def test_who_collects_no_cycles_still_does_not_afterwards():
    gc.disable()
    try:
        with collector_at_rest:
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_fitting_native_trees_does_not_wait_for_lightgbm():
    code = """
import sys
import numpy as np
from lambdamart_kit import LambdaMART
X = np.tile([[0.0], [1.0], [2.0]], (20, 1))
ranker = LambdaMART(n_estimators=2, n_jobs=1, min_child_samples=1).fit(X, [0, 1, 2] * 20, qid=[0, 1] * 30)
low, high = ranker.predict(np.array([[0.0], [2.0]]))
print("trees grew" if low < high else "no tree", "lightgbm" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert result.stdout.split("\n")[-2] == "trees grew False"


@lean_only
@pytest.mark.parametrize("shared", [False, True])
def test_what_borrows_its_arrays_counts_no_references(shared):
    @inner(borrows=True, shared=shared)
    def fill(a, value):
        for i in range(len(a)):
            a[i] = value

    @kernel(borrows=True, shared=shared, cache=False)
    def fill_all(parts):
        for i in range(parts.whole.shape[0]):
            fill(parts.whole[i], parts.value)

    parts = Parts(np.zeros((2, 3)), 4.0)
    fill_all(parts)
    assert (parts.whole == 4.0).all()
    assert "NRT_incref" not in fill_all.inspect_llvm(fill_all.signatures[0])
