"""Whether an exported file scores as the ranker does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lambdamart_kit.core.typing import Array, Float32Array, FloatArray
from lambdamart_kit.export.format import Format
from lambdamart_kit.export.model import Exportable, LinearSum, Network, TreeSum
from lambdamart_kit.export.thresholds import LARGEST, float32_at_most

_MOST_PROBES = 2000


@dataclass(frozen=True)
class Check:
    """How scores of a file compare with the ranker's.

    Attributes
    ----------
    n_rows : int
        Rows compared: those given, and rows made of them with values on the ranker's thresholds and next to
        them.
    n_different : int
        Rows whose scores differ by more than rounding explains.
    largest_difference : float
        Over all rows.
    """

    n_rows: int
    n_different: int
    largest_difference: float

    def __str__(self) -> str:
        largest = f"the largest difference is {self.largest_difference:.2g}"
        if not self.n_different:
            return f"{self.n_rows:,} rows scored as the ranker scores them; {largest}"
        return f"{self.n_different:,} of {self.n_rows:,} rows are scored differently; {largest}"


def compare(
    format: Format,
    content: bytes,
    constant: float,
    model: Exportable,
    X: Float32Array,
    scores: FloatArray,
    *,
    missing: bool,
) -> Check:
    """Score rows as the engine does and compare.

    Parameters
    ----------
    format : Format
    content : bytes
        The exported file.
    constant : float
        What the file leaves out of every score.
    model : Exportable
        What was exported.
    X : ndarray (n_samples, n_features), float32
    scores : ndarray (n_samples,)
        The ranker's own scores of X.
    missing : bool
        Whether missing values are to be compared as well.
    """
    if not missing:
        known = ~np.isnan(X).any(axis=1)
        X, scores = X[known], scores[known]
    if not len(X):
        return Check(0, 0, 0.0)
    # XGBoost's own scores are sums in float32; the file's scores are held to more than that.
    own = model.predict(X)
    differs = ~(np.abs(own - scores) <= tolerance(model, X, sums_in_float32=True))
    if isinstance(model, TreeSum):
        probes = probe_rows(model, X[:_MOST_PROBES], missing=missing)
        X, own = np.concatenate([X, probes]), np.concatenate([own, model.predict(probes)])
        differs = np.concatenate([differs, np.zeros(len(probes), dtype=bool)])
    difference = np.abs(format.scores(content, X, model.feature_names) + constant - own)
    differs |= ~(difference <= tolerance(model, X, sums_in_float32=format.sums_in_float32))
    return Check(len(X), int(differs.sum()), float(difference.max()))


def tolerance(model: Exportable, X: Float32Array, *, sums_in_float32: bool) -> FloatArray:
    """What rounding may do to each score, (n_samples,)."""
    if isinstance(model, TreeSum):
        rounding = model.rounding * (1 + len(model.trees) if sums_in_float32 else 1)
        return np.full(len(X), 1.01 * rounding + 1e-12)
    if isinstance(model, LinearSum):
        weights = np.abs(model.raw_weights)
        bent = model.inputs.kind == "log1p"
        terms = (
            np.abs(model.inputs(X)) @ np.abs(model.weights) if bent else np.abs(np.nan_to_num(X)) @ weights
        )
        terms = terms + weights @ np.abs(model.inputs.mean) + abs(model.constant)
        return np.asarray(2.0**-21 * terms + 1e-12, dtype=np.float64)
    assert isinstance(model, Network)
    return 1e-5 * (1.0 + np.abs(model.predict(X)))


def probe_rows(model: TreeSum, X: Float32Array, *, missing: bool) -> Float32Array:
    """Rows of X with a third of the values replaced by thresholds, the numbers beside them, zeros and NaN."""
    rng = np.random.default_rng(0)
    probes = X[rng.integers(len(X), size=_MOST_PROBES)].copy()
    for column, values in enumerate(critical_values(model, X.shape[1], missing=missing)):
        rows = np.flatnonzero(rng.random(len(probes)) < 1 / 3)
        if len(values):
            probes[rows, column] = rng.choice(values, len(rows))
    return probes


def critical_values(model: TreeSum, n_features: int, *, missing: bool) -> list[Array]:
    """Of each feature, the values at which a test might go wrong."""
    found: list[list[Array]] = [[] for _ in range(n_features)]
    for tree in model.trees:
        for column, threshold, codes in zip(tree.feature.tolist(), tree.threshold, tree.categories):
            if codes is not None:
                found[column].append(np.concatenate([codes, codes + 1]).astype(np.float32))
                continue
            on = float32_at_most(np.array([threshold]))
            with np.errstate(over="ignore"):
                above = np.nextafter(on, np.float32(np.inf))
                under = np.nextafter(on, np.float32(-np.inf))
            zero = np.array([0.0, -0.0], dtype=np.float32)
            found[column].append(np.concatenate([on, above, under, zero]))
    nan = [np.array([np.nan], dtype=np.float32)] if missing else []
    values = [np.unique(np.concatenate([*parts, *nan])) if parts else np.empty(0) for parts in found]
    return [column[~(np.abs(column) > LARGEST)] for column in values]
