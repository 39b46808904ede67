"""Shared fixtures. Real data is used where it lies beside the checkout, and skipped where it does not."""

from __future__ import annotations

import os
from pathlib import Path

# LightGBM's and XGBoost's idle threads spin; with a test process a core they would spin on each other's core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:  # and what uses all cores by default uses its own
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings

from lambdamart_kit.compile import notices

# On a new machine kernels compile during the tests. Tests compare what commands print, so the notice that a
# user gets after a second would make them depend on which kernel was compiled first.
notices._PATIENCE = 3600.0

# Locally every run tries new examples; CI's verdict on a commit must not depend on the draw.
settings.register_profile("ci", derandomize=True, deadline=None)
if os.environ.get("CI"):
    settings.load_profile("ci")

_DATA = Path(os.environ.get("LAMBDAMART_KIT_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data():
    """Folder with the public data sets used in tests; set LAMBDAMART_KIT_TEST_DATA to point elsewhere."""
    if not _DATA.is_dir():
        pytest.skip(f"no real data at {_DATA}")
    return _DATA


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def ragged(rng, n_queries=20, max_size=30, n_labels=5, tied=False):
    """Random labels, scores and qids; one query in five is blank, and scores tie when `tied`."""
    sizes = rng.integers(1, max_size + 1, n_queries)
    qid = np.repeat(np.arange(n_queries), sizes)
    y = rng.integers(0, n_labels, len(qid)).astype(float)
    y[np.isin(qid, rng.choice(n_queries, n_queries // 5, replace=False))] = 0
    scores = rng.normal(size=len(qid))
    return y, (scores.round(1) if tied else scores).astype(np.float32), qid
