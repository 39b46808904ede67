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
from lambdamart_kit.files.chunk import Columns
from lambdamart_kit.files.formats import kind_of
from lambdamart_kit.files.row_files import Files, find_files
from lambdamart_kit.metrics import parse_metrics


def train_file(
    train: Files,
    valid: Files | None = None,
    *,
    spec: str = "lambdamart",
    params: Mapping[str, Any] | None = None,
    columns: Columns | None = None,
    stream: bool = False,
    work_dir: str | Path | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
) -> Any:
    """Fit the ranker of a model spec on files, stopping early on others if there are any.

    Parameters
    ----------
    train, valid : path, glob, folder or list
        LETOR, Parquet or CSV files.
    spec : str
        See :mod:`lambdamart_kit.bench.models`.
    params : dict
        Estimator parameters, which win over the spec's.
    columns : Columns, optional
        Which columns of Parquet and CSV files are what.
    stream : bool
        Train by `LambdaMART.fit_files`, for more rows than fit in memory; the model is the same. Parquet, CSV
        and several files are always read so.
    work_dir : path, optional
        Where `fit_files` works; implies `stream`.
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
    paths = [find_files(files) for files in (train, valid) if files is not None]
    if stream or work_dir is not None or any(len(p) > 1 or kind_of(p[0]) != "letor" for p in paths):
        if not hasattr(estimator, "fit_files"):
            raise ValueError(
                f"the ranker must be lambdamart to train on several files, Parquet or CSV; got {spec!r}, "
                "which reads one LETOR file (`lambdamart-kit datasets convert` writes one)"
            )
        columns = columns or Columns()
        return estimator.fit_files(
            train, **columns.roles, features=columns.features, eval_files=valid, work_dir=work_dir
        )
    rows = read_letor(paths[0][0], docid="none", n_jobs=n_jobs)
    if valid is None:
        return estimator.fit(rows.X, rows.y, rows.qid)
    held_out = read_letor(paths[1][0], docid="none", n_features=rows.X.shape[1], n_jobs=n_jobs)
    return estimator.fit(rows.X, rows.y, rows.qid, X_val=held_out.X, y_val=held_out.y, qid_val=held_out.qid)


def predict_files(
    model: str | Path,
    data: Files,
    out: str | Path | None,
    *,
    columns: Columns | None = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> int:
    """Write the scores of a saved ranker for the rows of files: `score_files`, on `n_jobs` threads."""
    from lambdamart_kit.files.scoring import score_files
    from lambdamart_kit.rankers import load_ranker

    ranker = load_ranker(model)
    if "n_jobs" in ranker.get_params(deep=False):
        ranker.set_params(n_jobs=n_jobs)
    return score_files(ranker, data, out, columns=columns, n_jobs=n_jobs, progress=progress)


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
