"""Folds of whole queries for cross-fitting."""

from __future__ import annotations

import numpy as np

from lambdamart_kit.core.typing import BoolArray, IndexArray


def deal_queries(comparable: BoolArray, n_folds: int, rng: np.random.Generator) -> IndexArray:
    """The fold of each query, (n_queries,) intp.

    Queries with two different labels are dealt first, one to each fold in turn, because only they can teach
    and measure anything; then the others.

    Parameters
    ----------
    comparable : (n_queries,) bool
        Queries with two different labels.
    n_folds : int
        At most the number of comparable queries.
    rng : numpy.random.Generator

    Examples
    --------
    >>> fold = deal_queries(np.array([True, False, True]), 2, np.random.default_rng(0))
    >>> sorted(fold[[0, 2]].tolist())
    [0, 1]
    """
    first = rng.permutation(np.flatnonzero(comparable))
    rest = rng.permutation(np.flatnonzero(~comparable))
    fold = np.empty(len(comparable), dtype=np.intp)
    fold[np.concatenate((first, rest))] = np.arange(len(comparable)) % n_folds
    return fold
