"""Pages of the commands ``report`` and ``bench --html``, and what ``explain`` asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from markupsafe import Markup

from lambdamart_kit.bench.comparison import Comparison
from lambdamart_kit.bench.files import features_of
from lambdamart_kit.bench.plots import learning_curves
from lambdamart_kit.bench.render import Table, footer, tables
from lambdamart_kit.bench.results import Run, chosen
from lambdamart_kit.core.typing import Array, FloatArray
from lambdamart_kit.datasets import RankingDataset
from lambdamart_kit.explain import Explanation
from lambdamart_kit.files import Columns, read_rows
from lambdamart_kit.files.chunk import for_other_files
from lambdamart_kit.files.row_files import Files, find_files
from lambdamart_kit.files.score_reading import read_scores
from lambdamart_kit.files.scoring import as_trained, check_features
from lambdamart_kit.metrics.imported import find_metric
from lambdamart_kit.rankers import load_ranker
from lambdamart_kit.rankers.reporting import ranker_page
from lambdamart_kit.report import Page, RankedRows, Section, ranking_page
from lambdamart_kit.report.charts import Line
from lambdamart_kit.report.page import paragraph
from lambdamart_kit.report.ranking_page import ModelFacts
from lambdamart_kit.report.slices import Slice, column_slices
from lambdamart_kit.report.tables import Cell, html_table, text

_NAMED_FILES = 3


def report_file(
    model: str | Path,
    data: Files,
    *,
    baseline: str | Path | None = None,
    train: Files | None = None,
    metric: str = "ndcg@10",
    columns: Columns | None = None,
    slices: Sequence[str] = (),
    title: str | None = None,
    n_jobs: int | None = None,
) -> Page:
    """The page of a saved ranker on the rows of files.

    Parameters
    ----------
    model : path
        Ranker that `train` saved.
    data : path, glob, folder or list
        Test rows, in files of any format of `lambdamart_kit.files`.
    baseline : path, optional
        Another saved ranker (``.lmk``), or a file of scores of the same rows.
    train : path, glob, folder or list, optional
        Training rows: overlap and drift are looked for.
    metric : str
        Measures each query; ``module:function`` for one of your own.
    columns : Columns, optional
        Which columns of tables are what.
    slices : list of str
        Columns by which to slice the queries: features, or other columns of a table.
    title : str, optional
        Heading of the page.
    n_jobs : int, optional
        Threads of reading.

    Returns
    -------
    Page
        To be written to a file.

    Raises
    ------
    ValueError
        If a column is missing, the baseline is of other rows, or no query has a relevant document.
    """
    ranker = load_ranker(model)
    roles = as_trained(ranker, columns or Columns(), data)
    rows = read_rows(data, roles, n_features=ranker.n_features_in_, n_jobs=n_jobs)
    check_features(ranker, rows.feature_names, find_files(data)[0])
    baselines = {} if baseline is None else {Path(baseline).name: _scores(baseline, rows)}
    known = None
    if train is not None:
        like_test = for_other_files(replace(roles, features=rows.feature_names))
        known = read_rows(train, like_test, names=False, n_jobs=n_jobs)
    return ranker_page(
        ranker,
        features_of(rows),
        rows,
        baselines=baselines,
        metric=find_metric(metric),
        train=known,
        title=title or f"Report of {Path(model).name}",
        lead=[f"{len(rows):,} rows and {rows.queries.n_queries:,} queries of {_named(data)}."],
        slices=[part for name in slices for part in _slices_by(name, rows, data, roles)],
    )


def explain_file(
    model: str | Path, data: Files, *, columns: Columns | None = None, n_jobs: int | None = None
) -> tuple[Explanation, RankingDataset]:
    """Questions to a saved ranker about the rows of files, and these rows.

    Parameters
    ----------
    model : path
        Ranker that `train` saved.
    data : path, glob, folder or list
        Rows, in files of any format of `lambdamart_kit.files`.
    columns : Columns, optional
        Which columns of tables are what.
    n_jobs : int, optional
        Threads of reading and scoring.

    Returns
    -------
    (Explanation, RankingDataset)
    """
    ranker = load_ranker(model)
    if "n_jobs" in ranker.get_params():
        ranker.set_params(n_jobs=n_jobs)
    roles = as_trained(ranker, columns or Columns(), data)
    rows = read_rows(data, roles, n_features=ranker.n_features_in_, n_jobs=n_jobs)
    check_features(ranker, rows.feature_names, find_files(data)[0])
    return ranker.explain(features_of(rows), qid=rows.qid, y=rows.y), rows


def comparison_page(comparison: Comparison, *, title: str = "Comparison of rankers") -> Page:
    """The page of a benchmark: its tables, and every test query with the documents in each model's order.

    Parameters
    ----------
    comparison : Comparison
        Made with ``keep_scores=True``.
    title : str
        Heading of the page.

    Raises
    ------
    ValueError
        If the runs were made without scores.
    """
    report = comparison.report
    best = chosen(comparison.runs, report.metrics[0])
    # Models in the order in which they were asked for: no winner is picked on the test queries.
    models = dict.fromkeys(run.model for run in comparison.runs)
    complete = [m for m in models if sum(run.model == m for run in best) == len(report.folds)]
    scores = {m: _pooled_scores([run for run in best if run.model == m], report.folds) for m in complete}
    rows = RankedRows(_test_rows(comparison), scores)
    wide = [_as_section_part(table) for table in tables(report, wide=True)]
    notes = [paragraph(line, kind="muted") for line in footer(report)]
    return ranking_page(
        rows,
        metric=find_metric(report.metrics[0]),
        baseline=report.baseline if len(complete) > 1 else None,
        title=title,
        lead=[f"{len(complete)} models on {len(report.folds)} folds, {report.n_queries:,} test queries."],
        facts=ModelFacts(learning_curves=_lines(comparison)),
        headline=Section("headline", "Headline", [*wide, *notes]),
    )


def _test_rows(comparison: Comparison) -> RankingDataset:
    """Labels and ids of the test rows of all folds; features would only fill the memory."""
    parts = [(fold.name, fold.load().test) for fold in comparison.folds]
    several = len(parts) > 1
    ids = [_fold_ids(name, part) if several else np.asarray(part.qid).astype(str) for name, part in parts]
    labels = np.concatenate([np.asarray(part.y) for _, part in parts])
    named = all(part.docid is not None for _, part in parts)
    docid = np.concatenate([np.asarray(part.docid) for _, part in parts]) if named else None
    return RankingDataset(np.empty((len(labels), 0), np.float32), labels, np.concatenate(ids), docid)


def _fold_ids(name: str, part: RankingDataset) -> Array:
    """Query ids with the fold's name before them: folds may use the same ids for different queries."""
    return np.array([f"{name}: {qid}" for qid in np.asarray(part.qid)])


def _pooled_scores(runs: Sequence[Run], folds: Sequence[str]) -> FloatArray:
    by_fold = {run.fold: run for run in runs}
    held = [by_fold[fold].scores() for fold in folds]
    if any(not len(scores) for scores in held):
        raise ValueError("the runs were kept without scores; run the benchmark with --html from the start")
    return np.concatenate(held)


def _lines(comparison: Comparison) -> list[Line]:
    curves = learning_curves(comparison.runs, comparison.report.metrics[0])
    lines = []
    for model, folds in curves.items():
        spread = (folds.min(axis=0), folds.max(axis=0)) if len(folds) > 1 else (None, None)
        lines.append(Line(model, folds.mean(axis=0), *spread))
    return lines


def _as_section_part(table: Table) -> Markup:
    rows = [[text(row[0]), *[Cell(cell) for cell in row[1:]]] for row in table.rows]
    return html_table(table.title, table.columns, rows)


def _scores(baseline: str | Path, rows: RankingDataset) -> FloatArray:
    if Path(baseline).suffix == ".lmk":
        return np.asarray(load_ranker(baseline).predict(features_of(rows)), dtype=np.float64)
    return np.asarray(read_scores(baseline, rows), dtype=np.float64)


def _slices_by(name: str, rows: RankingDataset, data: Files, roles: Columns) -> list[Slice]:
    holder = RankedRows(rows, {"": np.zeros(len(rows))})
    if rows.feature_names is not None and name in rows.feature_names:
        return column_slices(holder, name, rows.X[:, rows.feature_names.index(name)])
    if rows.feature_names is None:
        raise ValueError(f"--slice {name!r}: LETOR files have no columns with names; use a table")
    # A column that is no feature is read as the documents' names are: as text.
    others = read_rows(data, replace(roles, docid=name, features=()))
    if others.docid is None:
        raise ValueError(f"--slice {name!r}: there is no such column")
    return column_slices(holder, name, others.docid)


def _named(data: Files) -> str:
    paths = find_files(data)
    first = ", ".join(path.name for path in paths[:_NAMED_FILES])
    return first + (f" and {len(paths) - _NAMED_FILES:,} more" if len(paths) > _NAMED_FILES else "")
