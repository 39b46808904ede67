"""What a reader should know of the data before believing a number."""

from __future__ import annotations

import numpy as np

from lambdamart_kit.core.typing import Array, FloatArray
from lambdamart_kit.datasets import RankingDataset
from lambdamart_kit.files.checks import doubtful_columns, seen_before
from lambdamart_kit.report.ranked_rows import RankedRows

_DRIFTED = 0.2  # a Kolmogorov-Smirnov distance above it is worth a look
_DRIFT_ROWS = 20_000  # rows of each part that are compared


def health_sentences(rows: RankedRows, train: RankingDataset | None = None) -> list[str]:
    """Sentences about labels, equal scores and columns, and about rows that were trained on.

    Parameters
    ----------
    rows : RankedRows
        The test set.
    train : RankingDataset, optional
        The rows that the models were trained on.
    """
    found = _of_labels(rows) + _of_ties(rows) + doubtful_columns(rows.data)
    if train is not None:
        found += seen_before(train, rows.data, "test") or ["No test query is a training query, too"]
    return [sentence[:1].upper() + sentence[1:] + "." for sentence in found]


def drift(test: RankingDataset, train: RankingDataset) -> list[tuple[str, float]]:
    """Features whose distribution differs most between training and test rows.

    The distance is Kolmogorov and Smirnov's: the largest difference between the two cumulative
    distributions, from 0 (the same) to 1 (no value in common). Sparse features are not looked at.

    Parameters
    ----------
    test, train : RankingDataset
        The first 20,000 rows of each are compared.

    Returns
    -------
    list of (name, distance)
        Those above .2, the largest first.

    Examples
    --------
    >>> labels = np.zeros(3, np.float32)
    >>> low = RankingDataset(np.array([[1], [2], [3]], np.float32), labels, labels)
    >>> high = RankingDataset(np.array([[7], [8], [9]], np.float32), labels, labels)
    >>> drift(low, high)
    [('feature 1', 1.0)]
    """
    if not isinstance(test.X, np.ndarray) or not isinstance(train.X, np.ndarray):
        return []
    names = feature_names(test)
    width = min(test.X.shape[1], train.X.shape[1])
    distances = [
        (names[j], _distance(test.X[:_DRIFT_ROWS, j], train.X[:_DRIFT_ROWS, j])) for j in range(width)
    ]
    return sorted([entry for entry in distances if entry[1] > _DRIFTED], key=lambda entry: -entry[1])


def feature_names(data: RankingDataset) -> list[str]:
    """Names of the features, or their numbers from 1 as LETOR files count."""
    if data.feature_names is not None:
        return list(data.feature_names)
    return [f"feature {j + 1}" for j in range(data.X.shape[1])]


def _of_labels(rows: RankedRows) -> list[str]:
    labels = rows.queries.sort(np.asarray(rows.data.y, dtype=np.float64))
    starts = rows.queries.ptr[:-1]
    highest = np.maximum.reduceat(labels, starts)
    lowest = np.minimum.reduceat(labels, starts)
    n = rows.queries.n_queries
    blank = int((highest <= 0).sum())
    alike = int(((highest == lowest) & (highest > 0)).sum())
    single = int((rows.queries.sizes == 1).sum())
    found = []
    if blank:
        found.append(f"{blank:,} of {n:,} queries have no relevant document: they are left out of the means")
    if alike:
        found.append(f"{alike:,} of {n:,} queries have the same label on every document: any order is right")
    if single:
        found.append(f"{single:,} of {n:,} queries have one document only: there is no order to be right")
    return found


def _of_ties(rows: RankedRows) -> list[str]:
    """Equal scores leave an order to chance."""
    query = np.repeat(np.arange(rows.queries.n_queries), rows.queries.sizes)
    found = []
    for model in rows.models:
        places = np.stack([query, rows.queries.sort(rows.ranks(model))], axis=1)
        _, counts = np.unique(places, axis=0, return_counts=True)
        tied = int(counts[counts > 1].sum())
        if tied:
            found.append(
                f"{tied:,} of {len(places):,} documents share their score by {model} with another one of "
                "their query"
            )
    return found


def _distance(left: Array, right: Array) -> float:
    a = np.sort(left[np.isfinite(left)].astype(np.float64))
    b = np.sort(right[np.isfinite(right)].astype(np.float64))
    if not len(a) or not len(b):
        return 0.0
    both: FloatArray = np.concatenate([a, b])
    below_a = np.searchsorted(a, both, side="right") / len(a)
    below_b = np.searchsorted(b, both, side="right") / len(b)
    return float(np.abs(below_a - below_b).max())
