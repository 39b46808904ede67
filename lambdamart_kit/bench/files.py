"""Rankers and metrics on files: what the commands ``train``, ``predict`` and ``evaluate`` do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lambdamart_kit.bench.models import parse_model
from lambdamart_kit.bench.report import CONFIDENCE, Evaluation
from lambdamart_kit.bench.significance import bootstrap_interval
from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.datasets import RankingDataset
from lambdamart_kit.files import FORMATS, Columns, read_rows
from lambdamart_kit.files.checks import describe, doubtful_columns, seen_before
from lambdamart_kit.files.formats import kind_of
from lambdamart_kit.files.row_files import Files, RowFiles
from lambdamart_kit.metrics import Metric, parse_metrics


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
    say: Callable[[str], None] = lambda line: None,
) -> Any:
    """Fit the ranker of a model spec on files, stopping early on others if there are any.

    Parameters
    ----------
    train, valid : path, glob, folder or list
        Files of any format of `lambdamart_kit.files`.
    spec : str
        See :mod:`lambdamart_kit.bench.models`.
    params : dict
        Estimator parameters, which win over the spec's.
    columns : Columns, optional
        Which columns of tables are what.
    stream : bool
        Train by `LambdaMART.fit_files`, for more rows than fit in memory; the model of native trees is the
        same.
    work_dir : path, optional
        Where `fit_files` works; implies `stream`.
    seed : int
        The estimator's ``random_state``.
    n_jobs : int, optional
        Threads.
    say : callable
        Told what was read, and what is doubtful about it.

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
    roles = columns or Columns()
    if stream or work_dir is not None:
        if not hasattr(estimator, "fit_files"):
            raise ValueError(f"--stream and --work-dir need the ranker lambdamart; got {spec!r}")
        return estimator.fit_files(
            train,
            **roles.roles,
            features=roles.features,
            ignore=roles.ignore,
            eval_files=valid,
            work_dir=work_dir,
        )
    rows = read_rows(train, roles, names=False, n_jobs=n_jobs)
    say(describe(rows))
    for sentence in doubtful_columns(rows):
        say(f"warning: {sentence}")
    if valid is None:
        return estimator.fit(_features(rows), rows.y, rows.qid)
    known = replace(roles, features=rows.feature_names)
    held_out = read_rows(valid, known, n_features=rows.X.shape[1], names=False, n_jobs=n_jobs)
    for sentence in seen_before(rows, held_out, "validation"):
        say(f"warning: {sentence}")
    return estimator.fit(
        _features(rows),
        rows.y,
        rows.qid,
        X_val=_features(held_out),
        y_val=held_out.y,
        qid_val=held_out.qid,
    )


def _features(rows: RankingDataset) -> Any:
    """Features as a frame where they have names, which a ranker then finds them by."""
    if rows.feature_names is None:
        return rows.X
    import pandas as pd

    return pd.DataFrame(rows.X, columns=list(rows.feature_names))


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
    data: Files,
    scores: str | Path,
    *,
    metrics: str | Sequence[str] = "ndcg@10",
    columns: Columns | None = None,
    seed: int = 0,
) -> list[Evaluation]:
    """Metrics of a file of scores against the labels of files.

    Parameters
    ----------
    data : path, glob, folder or list
        Files of any format of `lambdamart_kit.files`.
    scores : str or Path
        One score a row of `data`, in its order: numbers in lines, or a table with a column ``score``, as
        `predict` writes them.
    metrics : str or list of str
        Metric names.
    columns : Columns, optional
        Which columns of tables are what.
    seed : int
        Of the bootstrap.

    Returns
    -------
    list of Evaluation
        One a metric.

    Raises
    ------
    ValueError
        If there is not one score a row, or the scores are of other rows.
    """
    measured = parse_metrics(metrics)
    rows = read_rows(data, columns, names=False)
    values = read_scores(scores, rows)
    if len(values) != len(rows):
        raise ValueError(
            f"'scores' must have one number a row of the data: {scores} has {len(values):,}, "
            f"{data} has {len(rows):,} rows"
        )
    return [_evaluation(metric, rows, values, seed) for metric in measured]


def _evaluation(metric: Metric, rows: RankingDataset, scores: FloatArray, seed: int) -> Evaluation:
    bound = metric.bind(rows.y, rows.queries)
    per_query = bound.per_query(rows.queries.sort(scores))
    counted = per_query[~np.isnan(per_query)]
    low, high = bootstrap_interval(counted, confidence=CONFIDENCE, random_state=seed)
    return Evaluation(
        str(metric),
        bound.mean(per_query),
        float(low[0]),
        float(high[0]),
        float(np.where(bound.blank, 0.0, per_query).mean()),
        len(per_query),
        int(bound.blank.sum()),
    )


def read_scores(path: str | Path, rows: RankingDataset | None = None) -> FloatArray:
    """Scores from a file: one number a line, or the column ``score`` of a table.

    Parameters
    ----------
    path : str or Path
    rows : RankingDataset, optional
        What was scored: if the table has query ids, they must be those of these rows.

    Raises
    ------
    ValueError
        Naming the file and the line that is not a finite number.
    """
    place = Path(path)
    if FORMATS[kind_of(place)].named:
        return _score_column(place, rows)
    values = []
    with place.open(encoding="utf-8", errors="replace") as file:
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


def _score_column(path: Path, rows: RankingDataset | None) -> FloatArray:
    columns = Columns(y="score", features=(), required=False)
    chunks = list(RowFiles(path, columns).chunks())
    if any(chunk.y is None for chunk in chunks):
        raise ValueError(f"{path}: must have a column 'score', as `lambdamart-kit predict` writes it")
    scores = np.concatenate([chunk.y for chunk in chunks if chunk.y is not None] or [np.empty(0)])
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise ValueError(f"{path}, row {bad[0] + 1}: not a finite number: {scores[bad[0]]}")
    ids = [chunk.qid for chunk in chunks if chunk.qid is not None]
    if rows is not None and ids and len(scores) == len(rows):
        other = np.flatnonzero(np.concatenate(ids).astype(str) != np.asarray(rows.qid).astype(str))
        if len(other):
            raise ValueError(
                f"{path}, row {other[0] + 1}: is of another query than the same row of the data; scores must "
                "be in the order of the data"
            )
    return scores
