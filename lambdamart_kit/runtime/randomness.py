"""Random generators from scikit-learn's `random_state`."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_random_state

_SEEDS = 2**31 - 1  # the range that a RandomState and every boosting library takes


def draw_seed(random_state: Any) -> int:
    """A seed drawn from `random_state`; a RandomState instance moves on, as in scikit-learn.

    Examples
    --------
    >>> draw_seed(0) == draw_seed(0)
    True
    """
    return int(check_random_state(random_state).randint(_SEEDS))


def make_rng(random_state: Any) -> np.random.Generator:
    """A generator that is seeded by `random_state`: None, a whole number or a RandomState."""
    return np.random.default_rng(draw_seed(random_state))
