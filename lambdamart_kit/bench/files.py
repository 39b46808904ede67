"""Rankers and metrics on files: what the commands ``train``, ``predict`` and ``evaluate`` do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lambdamart_kit.bench.models import parse_model
from lambdamart_kit.bench.report import CONFIDENCE, Evaluation
from lambdamart_kit.bench.significance import bootstrap_interval
from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.datasets import read_letor
from lambdamart_kit.metrics import parse_metrics


def train_file(
    train: str | Path,
    valid: str | Path | None = None,
    *,
    spec: str = "lambdamart",
    params: Mapping[str, Any] | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
) -> Any:
    """Fit the ranker of a model spec on a LETOR file, stopping early on another if there is one.

    Parameters
    ----------
    train, valid : str or Path
        LETOR files.
    spec : str
        See :mod:`lambdamart_kit.bench.models`.
    params : dict
        Estimator parameters, which win over the spec's.
    seed : int
        The estimator's ``random_state``.
    n_jobs : int, optional
        Threads.

    Returns
    -------
    estimator
        Fitted.

    Raises
    ------
    ValueError
        If a parameter is unknown or the data does not work.
    """
    estimator = parse_model(spec).candidate(n_jobs=n_jobs, random_state=seed).estimator
    if valid is None:
        estimator.set_params(early_stopping_rounds=None)
    estimator.set_params(**(params or {}))
    rows = read_letor(train, docid="none", n_jobs=n_jobs)
    if valid is None:
        return estimator.fit(rows.X, rows.y, rows.qid)
    held_out = read_letor(valid, docid="none", n_features=rows.X.shape[1], n_jobs=n_jobs)
    return estimator.fit(rows.X, rows.y, rows.qid, X_val=held_out.X, y_val=held_out.y, qid_val=held_out.qid)


def predict_file(model: str | Path, data: str | Path, *, n_jobs: int | None = None) -> FloatArray:
    """Scores of a saved ranker for the rows of a LETOR file.

    Parameters
    ----------
    model : str or Path
        Written by ``save``.
    data : str or Path
        LETOR file.
    n_jobs : int, optional
        Threads.

    Returns
    -------
    (n_rows,) float64
        In the order of the file.
    """
    from lambdamart_kit.rankers import load_ranker

    ranker = load_ranker(model)
    rows = read_letor(data, docid="none", n_features=ranker.n_features_in_, n_jobs=n_jobs)
    return np.asarray(ranker.predict(rows.X), dtype=np.float64)


def evaluate_file(
    data: str | Path, scores: str | Path, *, metrics: str | Sequence[str] = "ndcg@10", seed: int = 0
) -> list[Evaluation]:
    """Metrics of a file of scores against the labels of a LETOR file.

    Parameters
    ----------
    data : str or Path
        LETOR file.
    scores : str or Path
        One number a line, in the order of `data`.
    metrics : str or list of str
        Metric names.
    seed : int
        Of the bootstrap.

    Returns
    -------
    list of Evaluation
        One a metric.

    Raises
    ------
    ValueError
        If there is not one number a row.
    """
    measured = parse_metrics(metrics)
    rows = read_letor(data, docid="none")
    values = read_scores(scores)
    if len(values) != len(rows):
        raise ValueError(
            f"'scores' must have one number a row of the data: {scores} has {len(values):,}, "
            f"{data} has {len(rows):,} rows"
        )
    evaluations = []
    for metric in measured:
        bound = metric.bind(rows.y, rows.queries)
        per_query = bound.per_query(rows.queries.sort(values))
        counted = per_query[~np.isnan(per_query)]
        low, high = bootstrap_interval(counted, confidence=CONFIDENCE, random_state=seed)
        evaluations.append(
            Evaluation(
                str(metric), bound.mean(per_query), float(low[0]), float(high[0]),
                float(np.where(bound.blank, 0.0, per_query).mean()), len(per_query), int(bound.blank.sum()),
            )
        )  # fmt: skip
    return evaluations


def read_scores(path: str | Path) -> FloatArray:
    """One number a line.

    Raises
    ------
    ValueError
        Naming the file and the line that is not a finite number.
    """
    values = []
    with Path(path).open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            try:
                values.append(float(line))
            except ValueError:
                raise ValueError(f"{path}, line {number}: not a number: {line.strip()[:60]!r}") from None
    scores = np.array(values, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise ValueError(f"{path}, line {bad[0] + 1}: not a finite number: {scores[bad[0]]}")
    return scores


def write_scores(scores: FloatArray) -> str:
    """One number a line, with every digit that tells it from its neighbours."""
    return "".join(f"{score!r}\n" for score in scores.tolist())
