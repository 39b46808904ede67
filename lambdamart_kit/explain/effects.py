"""What features do to scores within queries: curves, surfaces, directions and interactions.

All take a sample of whole queries, and change one or two columns of its rows at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lambdamart_kit.core.typing import Array, BoolArray, FloatArray, IndexArray
from lambdamart_kit.explain.curves import Effect, JointEffect
from lambdamart_kit.explain.explained import Explained
from lambdamart_kit.explain.results import Interactions, Monotone

_NOTHING = 1e-9  # steps of the score below this share of its spread are rounding


@dataclass(frozen=True, eq=False)
class QuerySample:
    """Rows of some whole queries, query by query.

    Attributes
    ----------
    rows : ndarray (n, n_features)
    ptr : ndarray (n_queries + 1,)
        First row of each query.
    """

    rows: Array
    ptr: IndexArray

    def means(self, values: FloatArray) -> FloatArray:
        """Mean of each query's rows, along the first axis."""
        sizes = np.diff(self.ptr).reshape(-1, *[1] * (values.ndim - 1))
        means: FloatArray = np.add.reduceat(values, self.ptr[:-1], axis=0) / sizes
        return means

    def grid(self, column: int, n_points: int) -> FloatArray:
        """Distinct quantiles of a column's values."""
        values = self.rows[:, column].astype(np.float64)
        values = values[np.isfinite(values)]
        if not len(values):
            return np.zeros(0)
        return np.unique(np.quantile(values, np.linspace(0.0, 1.0, n_points), method="nearest"))

    def reach(self, column: int, low: FloatArray, high: FloatArray) -> BoolArray:
        """Queries (rows) whose own values of a column reach into the ranges from `low` to `high`."""
        values = self.rows[:, column].astype(np.float64)
        known = np.isfinite(values)
        smallest = np.minimum.reduceat(np.where(known, values, np.inf), self.ptr[:-1])
        largest = np.maximum.reduceat(np.where(known, values, -np.inf), self.ptr[:-1])
        reached: BoolArray = (smallest[:, None] <= high) & (largest[:, None] >= low)
        return reached

    def with_values(self, model: Explained, columns: list[int], values: list[float]) -> FloatArray:
        """Scores of all rows with these values in these columns."""
        changed = self.rows.copy()
        changed[:, columns] = values
        return model.predict(changed)

    def steps(self, model: Explained, column: int, grid: FloatArray) -> FloatArray:
        """Change of each row's score from one point of the grid to the next, (n, n_points - 1)."""
        scores = [self.with_values(model, [column], [float(value)]) for value in grid]
        return np.diff(np.stack(scores, axis=1), axis=1)


def effect_of(model: Explained, sample: QuerySample, column: int, n_points: int) -> Effect:
    """The effect of one feature: steps between points of the grid, averaged and added up.

    A query counts in an interval only if its own values reach into it, so no document is given a value that
    its query does not know. Where the score is a sum of functions of one feature each, the result is the
    function of this feature, up to a constant.
    """
    grid = sample.grid(column, n_points)
    if len(grid) < 2:
        flat = np.zeros(len(grid))
        return Effect(model.feature_names[column], grid, flat, flat, np.zeros(0, dtype=np.intp))
    step = sample.means(sample.steps(model, column, grid))
    reached = sample.reach(column, grid[:-1], grid[1:])
    count = reached.sum(axis=0)
    mean = np.where(reached, step, 0.0).sum(axis=0) / np.maximum(count, 1)
    squares = np.where(reached, (step - mean) ** 2, 0.0).sum(axis=0)
    variance = squares / np.maximum(count - 1, 1) / np.maximum(count, 1)
    curve = np.append(0.0, np.cumsum(mean))
    values = sample.rows[:, column].astype(np.float64)
    centre = np.interp(values[np.isfinite(values)], grid, curve).mean()
    # Errors grow from the middle of the documents outwards, where the curve is fixed.
    middle = int(np.searchsorted(grid, np.nanmedian(values)).clip(0, len(grid) - 1))
    total = np.append(0.0, np.cumsum(variance))
    errors = np.sqrt(np.abs(total - total[middle]))
    return Effect(model.feature_names[column], grid, curve - centre, errors, count.astype(np.intp))


def joint_effect_of(model: Explained, sample: QuerySample, columns: list[int], n_points: int) -> JointEffect:
    """Mean score, against the query's mean, with two features set to each pair of values of their grids."""
    first, second = (sample.grid(column, n_points) for column in columns)
    reach_first = sample.reach(columns[0], first, first)
    reach_second = sample.reach(columns[1], second, second)
    own = sample.means(model.predict(sample.rows))
    effect = np.full((len(first), len(second)), np.nan)
    n_queries = np.zeros(effect.shape, dtype=np.intp)
    for a in range(len(first)):
        for b in range(len(second)):
            both = reach_first[:, a] & reach_second[:, b]
            n_queries[a, b] = both.sum()
            if both.any():
                scores = sample.with_values(model, columns, [float(first[a]), float(second[b])])
                effect[a, b] = (sample.means(scores) - own)[both].mean()
    names = (model.feature_names[columns[0]], model.feature_names[columns[1]])
    return JointEffect(names, first, second, effect, n_queries)


def directions(model: Explained, sample: QuerySample, columns: Array, n_points: int) -> Monotone:
    """Which way scores go on steps of each feature's grid; features out of use stand still."""
    shape = len(model.feature_names)
    shares = np.zeros((4, shape))
    least = _NOTHING * (float(np.std(model.predict(sample.rows))) or 1.0)
    for column in columns.tolist():
        grid = sample.grid(column, n_points)
        if len(grid) < 2:
            continue
        steps = sample.steps(model, column, grid)
        shares[:, column] = (
            (steps > least).mean(),
            (steps < -least).mean(),
            max(0.0, float(steps.max())),
            max(0.0, float(-steps.min())),
        )
    return Monotone(model.feature_names, *shares)


def interactions_of(
    model: Explained, sample: QuerySample, columns: list[int], rng: np.random.Generator
) -> Interactions:
    """Strength of each pair of columns: half the root mean square of the mixed difference.

    With z another document of the same query, ``f(x) - f(x_i:z_i) - f(x_j:z_j) + f(x_ij:z_ij)`` is 0 for
    every x and z just where the score is a sum without a term in both features; a fourth of its mean square
    is the total interaction index of Liu and Owen (2006), "Estimating mean dimensionality".
    """
    partner = _other_documents(sample, rng)
    own = model.predict(sample.rows)

    def exchanged(chosen: list[int]) -> FloatArray:
        rows = sample.rows.copy()
        rows[:, chosen] = sample.rows[np.ix_(partner, np.array(chosen))]
        return model.predict(rows)

    alone = {column: exchanged([column]) for column in columns}
    pairs = [(i, j) for at, i in enumerate(columns) for j in columns[at + 1 :]]
    mixed = [own - alone[i] - alone[j] + exchanged([i, j]) for i, j in pairs]
    strengths = np.array([np.sqrt((difference**2).mean()) / 2.0 for difference in mixed])
    spread = float(np.sqrt(np.mean((own - np.repeat(sample.means(own), np.diff(sample.ptr))) ** 2)))
    strengths[strengths < _NOTHING * (spread or 1.0)] = 0.0
    names = [(model.feature_names[i], model.feature_names[j]) for i, j in pairs]
    return Interactions(names, strengths, spread)


def _other_documents(sample: QuerySample, rng: np.random.Generator) -> IndexArray:
    """For each row another row of its query: the next in a random circle of the query's rows."""
    partner = np.empty(len(sample.rows), dtype=np.intp)
    for start, stop in zip(sample.ptr[:-1], sample.ptr[1:]):
        circle = start + rng.permutation(stop - start)
        partner[circle] = np.roll(circle, 1)
    return partner
