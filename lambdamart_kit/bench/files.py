"""Rankers on files: what the commands ``train`` and ``predict`` do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lambdamart_kit.bench.fitting import fit_with_validation
from lambdamart_kit.bench.models import parse_model
from lambdamart_kit.datasets import RankingDataset
from lambdamart_kit.files import Columns, read_rows
from lambdamart_kit.files.checks import describe, doubtful_columns, seen_before, shown
from lambdamart_kit.files.chunk import for_other_files, reading_of
from lambdamart_kit.files.row_files import Files


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
        Which columns of tables are what, and how values are read.
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
    fitted = _fit(
        train,
        valid,
        spec=spec,
        params=params,
        roles=columns or Columns(),
        stream=stream,
        work_dir=work_dir,
        seed=seed,
        n_jobs=n_jobs,
        say=say,
    )
    fitted.reading_ = reading_of(columns or Columns())
    return fitted


def _fit(
    train: Files,
    valid: Files | None,
    *,
    spec: str,
    params: Mapping[str, Any] | None,
    roles: Columns,
    stream: bool,
    work_dir: str | Path | None,
    seed: int,
    n_jobs: int | None,
    say: Callable[[str], None],
) -> Any:
    estimator = parse_model(spec).candidate(n_jobs=n_jobs, random_state=seed).estimator
    wanted = dict(params or {})
    stops = "early_stopping_rounds" in estimator.get_params(deep=False)
    if stops and valid is None and wanted.get("n_bags", 1) == 1:
        estimator.set_params(early_stopping_rounds=None)  # bags stop on the queries they did not draw
    estimator.set_params(**wanted)
    if stream or work_dir is not None:
        if not hasattr(estimator, "fit_files"):
            raise ValueError(f"--stream and --work-dir need the ranker lambdamart; got {spec!r}")
        fitted = estimator.fit_files(
            train,
            **roles.roles,
            features=roles.features,
            ignore=roles.ignore,
            clip=roles.clip,
            letor=roles.letor,
            eval_files=valid,
            work_dir=work_dir,
        )
        names = getattr(fitted, "feature_names_in_", None)
        listed = "" if names is None else f": {shown(names.tolist())}"
        say(
            f"{fitted.n_queries_in_:,} queries, {fitted.n_features_in_:,} features{listed}; with --stream "
            "columns are not looked through for ids and constants"
        )
        return fitted
    rows = read_rows(train, roles, names=False, n_jobs=n_jobs)
    say(describe(rows))
    for sentence in doubtful_columns(rows):
        say(f"warning: {sentence}")
    if valid is None:
        return estimator.fit(features_of(rows), rows.y, rows.qid, sample_weight=rows.sample_weight)
    known = for_other_files(replace(roles, features=rows.feature_names))
    width = rows.X.shape[1]
    held_out = read_rows(valid, known, n_features=width, names=False, n_jobs=n_jobs)
    for sentence in seen_before(rows, held_out, "validation"):
        say(f"warning: {sentence}")
    return fit_with_validation(estimator, rows, held_out, features_of)


def features_of(rows: RankingDataset) -> Any:
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
