"""Kernels under Numba's bounds checking: it reaches every way a function is compiled here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from lambdamart_kit.compile import inner, kernel

@inner(borrows=True)
def read(values, i):
    return values[i]

@inner
def write(values, i):
    values[i] = 1.0

@kernel(cache=False)
def plain(values, i):
    write(values, i)
    return read(values, i)

@kernel(borrows=True, cache=False)
def borrower(values, i):
    return read(values, i) + values[i]

@kernel(borrows=True, shared=True, cache=False)
def shared_borrower(values, i):
    values[i] = 2.0
    return read(values, i)

values = np.zeros(4)
for function in (plain, borrower, shared_borrower):
    function(values, 3)
    for i in (4, 10**6, -5):
        try:
            function(values, i)
        except IndexError:
            continue
        sys.exit(f"{function.__name__} reads or writes {i} of 4 and nobody sees it")
print("every access is checked")
"""


@pytest.mark.parametrize("way", ["lean", "plain"])
def test_bounds_checking_reaches_every_kind_of_kernel(way):
    """`.ci/bounds` runs the kernels' tests with this switch; here it is shown to find what it is for."""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "LAMBDAMART_KIT_JIT": way}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "every access is checked\n"), done.stderr[-2000:]


def test_only_named_files_are_left_out_and_each_of_them_exists():
    """What `.ci/bounds` runs is everything else, so nothing new can be forgotten."""
    tests = Path(__file__).parent
    script = (tests.parent / ".ci" / "bounds").read_text()
    left_out = re.search(r'left_out="([^"]*)"', script)[1].split()
    assert script.rstrip().endswith('"${ignored[@]}" "$@" tests')
    missing = [name for name in left_out if not (tests / f"{name}.py").is_file()]
    assert not missing
    # A file that takes a kernel by its name tests what it computes, unless compiling is its subject.
    calls = re.compile(r"^from lambdamart_kit\.(core|trees|datasets\.letor)\b", re.MULTILINE)
    about_compiling = {"test_compile", "test_coldstart"}
    assert {name for name in left_out if calls.search((tests / f"{name}.py").read_text())} <= about_compiling
