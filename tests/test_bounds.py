"""Kernels under Numba's bounds checking: it reaches every way a function is compiled here."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
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
