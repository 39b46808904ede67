"""Checks of what comes in: one value a row, probabilities, strength of the KL term."""

from __future__ import annotations

import numpy as np

from lambdamart_kit.core.gains import check_number
from lambdamart_kit.core.typing import ArrayLike, FloatArray


def aligned(*named: tuple[str, ArrayLike]) -> tuple[FloatArray, ...]:
    """Columns as float64, each one-dimensional and as long as the first."""
    arrays = [np.atleast_1d(np.asarray(values, dtype=np.float64)) for _, values in named]
    for (name, _), values in zip(named, arrays):
        if values.ndim != 1:
            raise ValueError(
                f"{name!r} must be one-dimensional, one value a row (log-probs: summed over the tokens of a "
                f"response); got shape {values.shape}"
            )
        if values.shape != arrays[0].shape:
            raise ValueError(
                f"{name!r} must have one value per row of {named[0][0]!r}, {arrays[0].shape}; "
                f"got {values.shape}"
            )
    return tuple(arrays)


def finite(*named: tuple[str, ArrayLike]) -> tuple[FloatArray, ...]:
    """The same as `aligned`, and no value is NaN or infinite."""
    arrays = aligned(*named)
    for (name, _), values in zip(named, arrays):
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise ValueError(
                f"{name!r} must be finite; row {bad[0]} has {values[bad[0]]} ({len(bad)} such rows); "
                "repair or drop those rows"
            )
    return arrays


def not_nan(values: ArrayLike, name: str) -> FloatArray:
    """One-dimensional float64 without NaN; infinities may stand."""
    (array,) = aligned((name, values))
    bad = np.flatnonzero(np.isnan(array))
    if len(bad):
        raise ValueError(
            f"{name!r} must hold numbers; row {bad[0]} is NaN ({len(bad)} such rows); drop those rows"
        )
    return array


def distribution(
    probabilities: ArrayLike, rewards: ArrayLike, *, name: str = "ref"
) -> tuple[FloatArray, FloatArray]:
    """Probabilities that sum to 1, and one finite reward for each."""
    p, r = aligned((name, probabilities), ("rewards", rewards))
    if not (np.all(p >= 0) and abs(p.sum() - 1.0) < 1e-6):
        raise ValueError(f"{name!r} must hold probabilities that sum to 1; the sum is {p.sum()}")
    if not np.isfinite(r).all():
        raise ValueError(f"'rewards' must be finite; row {int(np.argmin(np.isfinite(r)))} is not")
    return p, r


def token_counts(lengths: ArrayLike | None, n_rows: int, name: str) -> FloatArray:
    """Token counts of `n_rows` responses; none is below 1."""
    values = np.asarray(lengths, dtype=np.float64)
    if values.shape != (n_rows,) or not np.all(np.isfinite(values) & (values > 0)):
        raise ValueError(
            f"{name!r} must hold {n_rows} token counts > 0; drop empty responses, or count their end token"
        )
    return values


def check_beta(beta: float) -> float:
    """`beta` if it is finite and positive."""
    return check_number(beta, name="beta", least=0.0, open_ends="low")
