"""Several files of scores of the same rows, compared query by query."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lambdamart_kit.bench.measuring import Measured, measure_file
from lambdamart_kit.bench.report import CONFIDENCE
from lambdamart_kit.core.typing import Array, FloatArray
from lambdamart_kit.files import Columns
from lambdamart_kit.files.row_files import Files
from lambdamart_kit.metrics.significance import bootstrap_interval, holm, sign_flip_test

_ALIKE = 1e-12  # values that differ by less are a tie: sums in another order


@dataclass(frozen=True)
class ScoreDifference:
    """One file of scores against the first, under one metric.

    Attributes
    ----------
    metric, name, baseline : str
        What was compared.
    mean, baseline_mean : float
        Over the queries that count for all files.
    difference, low, high : float
        Mean of the paired differences, and its bootstrap interval over queries.
    effect_size : float
        The mean difference over the standard deviation of the differences (Cohen's d of pairs); NaN where
        all are equal.
    wins, ties, losses : int
        Queries that are better, alike and worse than with the baseline.
    pvalue, pvalue_holm : float
        Paired permutation test: signs of differences are flipped at random, and all of them where there
        are few queries. The second is corrected for the number of files compared.
    exact : bool
        Whether all flips were looked at.
    n_queries : int
        How many queries count.
    best, worst : tuple of (query id, difference)
        The queries that gained and lost most.
    """

    metric: str
    name: str
    baseline: str
    mean: float
    baseline_mean: float
    difference: float
    low: float
    high: float
    effect_size: float
    wins: int
    ties: int
    losses: int
    pvalue: float
    pvalue_holm: float
    exact: bool
    n_queries: int
    best: tuple[tuple[str, float], ...]
    worst: tuple[tuple[str, float], ...]


def compare_scores(
    data: Files,
    scores: Sequence[str | Path],
    *,
    metrics: str | Sequence[str] | None = None,
    columns: Columns | None = None,
    n_extreme: int = 3,
    n_resamples: int = 10_000,
    seed: int = 0,
    min_relevance: int = 1,
) -> list[ScoreDifference]:
    """Compare files of scores with the first of them on the same queries.

    Parameters
    ----------
    data, metrics, columns, min_relevance
        As in :func:`~lambdamart_kit.bench.measuring.measure_file`.
    scores : list of path
        Two or more; the first is the baseline. Queries that some file lacks count as 0 for it.
    n_extreme : int
        How many best and worst queries to name.
    n_resamples : int
        Of the permutation test, where the exact one takes too long.
    seed : int
        Of resampling.

    Returns
    -------
    list of ScoreDifference
        By metric, then by file.

    Raises
    ------
    ValueError
        If there are fewer than two files, a file is named twice, or no query counts.
    """
    if len(scores) < 2:
        raise ValueError(f"'scores' must be two files or more to compare; got {len(scores)}")
    names = [str(path) for path in scores]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"'scores' must be different files; {twice[0]} is named twice")
    held = [_measured(data, path, metrics, columns, min_relevance) for path in scores]
    for name, other in zip(names, held):
        if not np.array_equal(other.qid, held[0].qid):
            raise ValueError(f"{name}: is of other queries than {names[0]}")
    found = []
    for column, metric in enumerate(held[0].metrics):
        table = np.column_stack([other.values[:, column] for other in held])
        counted = ~np.isnan(table).any(axis=1)
        if not counted.any():
            raise ValueError(f"{metric} counts no query: no query has a relevant document")
        qid = held[0].qid[counted]
        found += _differences(metric, names, table[counted], qid, n_extreme, n_resamples, seed)
    return found


def _measured(
    data: Files,
    path: str | Path,
    metrics: str | Sequence[str] | None,
    columns: Columns | None,
    min_relevance: int,
) -> Measured:
    from lambdamart_kit.trec import is_qrels

    complete = isinstance(data, str | Path) and is_qrels(data)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*count as 0")
        return measure_file(
            data, path, metrics=metrics, columns=columns, min_relevance=min_relevance, complete=complete
        )


def _differences(
    metric: str,
    names: Sequence[str],
    table: FloatArray,
    qid: Array,
    n_extreme: int,
    n_resamples: int,
    seed: int,
) -> list[ScoreDifference]:
    differences = table[:, 1:] - table[:, [0]]
    differences[np.abs(differences) < _ALIKE] = 0.0
    low, high = bootstrap_interval(differences, confidence=CONFIDENCE, random_state=seed)
    test = sign_flip_test(differences, n_resamples=n_resamples, random_state=seed)
    adjusted = holm(test.pvalue)
    found = []
    for j, name in enumerate(names[1:]):
        paired = differences[:, j]
        order = np.argsort(-paired, kind="stable")
        gained = [row for row in order if paired[row] > 0][:n_extreme]
        lost = [row for row in order[::-1] if paired[row] < 0][:n_extreme]
        found.append(
            ScoreDifference(
                metric=metric,
                name=name,
                baseline=names[0],
                mean=float(table[:, j + 1].mean()),
                baseline_mean=float(table[:, 0].mean()),
                difference=float(paired.mean()),
                low=float(low[j]),
                high=float(high[j]),
                effect_size=_effect_size(paired),
                wins=int((paired > 0).sum()),
                ties=int((paired == 0).sum()),
                losses=int((paired < 0).sum()),
                pvalue=float(test.pvalue[j]),
                pvalue_holm=float(adjusted[j]),
                exact=test.exact,
                n_queries=len(paired),
                best=tuple((str(qid[row]), float(paired[row])) for row in gained),
                worst=tuple((str(qid[row]), float(paired[row])) for row in lost),
            )
        )
    return found


def _effect_size(differences: FloatArray) -> float:
    spread = differences.std(ddof=1) if len(differences) > 1 else 0.0
    return float(differences.mean() / spread) if spread > 0 else float("nan")
