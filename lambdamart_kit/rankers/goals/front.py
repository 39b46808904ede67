"""Which of several models no other one is better than in every goal, and what area they dominate."""

from __future__ import annotations

import numpy as np

from lambdamart_kit.core.typing import ArrayLike, BoolArray, FloatArray


def non_dominated(points: ArrayLike) -> BoolArray:
    """Models that no other model is at least as good as in every goal, and better in one.

    Parameters
    ----------
    points : (n_models, n_goals) array-like
        Greater is better. A model with a NaN is dominated.

    Returns
    -------
    (n_models,) bool
        Models with equal values are all in, or all out.

    Examples
    --------
    >>> non_dominated([[0.9, 0.1], [0.5, 0.5], [0.4, 0.5], [0.1, 0.9]]).tolist()
    [True, True, False, True]
    """
    values = _models(points)
    # Every model beside every other one: fronts have tens of models, not thousands.
    at_least = (values[:, None] >= values[None]).all(axis=2)
    better = (values[:, None] > values[None]).any(axis=2)
    dominated = (at_least & better).any(axis=0) | np.isnan(values).any(axis=1)
    return np.asarray(~dominated)


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """Volume of what is worse than one of the models and better than `reference`, in every goal.

    Parameters
    ----------
    points : (n_models, n_goals) array-like
        Greater is better.
    reference : (n_goals,) array-like
        The worst corner, such as the metrics of a random order.

    Returns
    -------
    float
        For two goals an area. Models below the reference in a goal add nothing.

    References
    ----------
    Zitzler and Thiele, "Multiobjective evolutionary algorithms: a comparative case study and the strength
    Pareto approach", IEEE Transactions on Evolutionary Computation 3(4), 1999.

    Examples
    --------
    >>> hypervolume([[3.0, 1.0], [1.0, 2.0]], [0.0, 0.0])                 # 3 x 1, and 1 x 1 above it
    4.0
    """
    values = _models(points) - np.asarray(reference, dtype=np.float64)
    return _volume(values[(values > 0).all(axis=1)])


def _volume(values: FloatArray) -> float:
    """Volume between 0 and the positive `values`."""
    if not len(values):
        return 0.0
    if values.shape[1] == 1:
        return float(values.max())
    # Cut into slices along the last goal: a slice up to a model's value lies below all models that reach it.
    levels = np.unique(values[:, -1])
    total = 0.0
    below = 0.0
    for level in levels.tolist():
        total += (level - below) * _volume(values[values[:, -1] >= level, :-1])
        below = level
    return total


def _models(points: ArrayLike) -> FloatArray:
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2:
        raise ValueError(
            f"'points' must hold a row for each model and a column for each goal; got shape {values.shape}"
        )
    return values
