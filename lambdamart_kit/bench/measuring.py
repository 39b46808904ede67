"""Metrics of files of scores, query by query: what ``evaluate`` and ``compare`` stand on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lambdamart_kit.bench.report import CONFIDENCE, Evaluation
from lambdamart_kit.core.typing import Array, BoolArray, FloatArray
from lambdamart_kit.datasets import RankingDataset
from lambdamart_kit.files import Columns, read_rows
from lambdamart_kit.files.chunk import LARGEST
from lambdamart_kit.files.row_files import Files
from lambdamart_kit.files.score_reading import read_scores
from lambdamart_kit.metrics.imported import find_metric, find_metrics
from lambdamart_kit.metrics.naming import split_names
from lambdamart_kit.metrics.significance import bootstrap_interval
from lambdamart_kit.trec import (
    MEASURES,
    Qrels,
    RunFile,
    evaluate_run,
    is_qrels,
    is_run,
    is_trec_name,
    parse_measures,
    read_qrels,
    read_run,
)

DEFAULT_METRICS = "ndcg@10"
DEFAULT_TREC = "map,ndcg_cut_10,P_10,recip_rank"


@dataclass(frozen=True, eq=False)
class Measured:
    """Values of metrics by query.

    Attributes
    ----------
    metrics : tuple of str
        Canonical names.
    qid : (n_queries,) array
        Ids of the queries.
    values : (n_queries, n_metrics) float64
        NaN where a query does not count under the metric's convention.
    blank : (n_queries, n_metrics) bool
        Queries without a relevant document.
    """

    metrics: tuple[str, ...]
    qid: Array
    values: FloatArray
    blank: BoolArray

    def records(self) -> list[dict[str, object]]:
        """One record a query: its id, and each metric; None where the query does not count."""
        return [
            {"qid": str(qid)} | {m: None if np.isnan(v) else float(v) for m, v in zip(self.metrics, row)}
            for qid, row in zip(self.qid, self.values)
        ]


def measure_file(
    data: str | Path | Files,
    scores: str | Path,
    *,
    metrics: str | Sequence[str] | None = None,
    columns: Columns | None = None,
    min_relevance: int = 1,
    complete: bool = False,
) -> Measured:
    """Metrics of a file of scores by query, against the labels of files or against TREC judgments.

    Parameters
    ----------
    data : path, glob, folder or list
        Files of any format of `lambdamart_kit.files`, or TREC judgments (``qid 0 docid relevance``).
    scores : str or Path
        One score a row of `data`, in its order, or a TREC run; see
        :func:`~lambdamart_kit.files.score_reading.read_scores`. Judgments need a run.
    metrics : str or list of str, optional
        The kit's metrics such as ``ndcg@10``, one's own as ``module:function``
        (:func:`~lambdamart_kit.metrics.imported.find_metric`), and trec_eval's measures such as
        ``ndcg_cut_10``, which are computed in its conventions: ties by the name of the document, linear gain,
        queries without a relevant document count as 0. Judgments have trec_eval's only.
    columns : Columns, optional
        Which columns of tables are what.
    min_relevance : int
        Of trec_eval's measures.
    complete : bool
        Count judged queries that the run lacks as 0; without, they are left out, as trec_eval does.

    Raises
    ------
    ValueError
        If there is not one score a row, or the scores are of other rows.
    """
    single = isinstance(data, str | Path) and is_qrels(data)
    if single:
        return _of_judgments(str(data), scores, metrics or DEFAULT_TREC, min_relevance, complete)
    if is_run(scores) and complete:
        raise ValueError("--complete needs judgments in TREC's format: rows of data have a score each")
    return _of_rows(data, scores, metrics or DEFAULT_METRICS, columns or Columns(), min_relevance)


def _of_judgments(
    path: str, scores: str | Path, metrics: str | Sequence[str], min_relevance: int, complete: bool
) -> Measured:
    if not is_run(scores):
        raise ValueError(
            f"{scores}: must be a TREC run ('qid Q0 docid rank score tag') where {path} holds TREC "
            "judgments; `lambdamart-kit predict --out x.run` writes one"
        )
    names = split_names(metrics)
    found = evaluate_run(
        read_qrels(path), read_run(scores), names, min_relevance=min_relevance, complete=complete
    )
    if found.n_not_found:
        counted = "are left out, as trec_eval does; --complete counts them as 0"
        if complete:
            counted = "count as 0"
        warnings.warn(
            f"{found.n_not_found:,} judged queries are not in {scores}: they {counted}", stacklevel=3
        )
    if found.n_not_judged:
        warnings.warn(f"{found.n_not_judged:,} queries of {scores} are not judged: left out", stacklevel=3)
    blank = np.repeat((found.n_relevant == 0)[:, None], len(found.measures), axis=1)
    return Measured(tuple(map(str, found.measures)), found.qid, found.values, blank)


def _of_rows(
    data: Files, scores: str | Path, metrics: str | Sequence[str], columns: Columns, min_relevance: int
) -> Measured:
    names = split_names(metrics)
    theirs = [name for name in names if is_trec_name(name)]
    ours = {name: find_metric(name) for name in checked_names(names, theirs)}
    # Features are not needed, so a column, or a value in LETOR, that could not be one is no matter here.
    rows = read_rows(data, replace(columns, features=(), clip=LARGEST), names=bool(theirs) or is_run(scores))
    values = read_scores(scores, rows)
    if len(values) != len(rows):
        raise ValueError(
            f"'scores' must have one number a row of the data: {scores} has {len(values):,}, "
            f"{data} has {len(rows):,} rows"
        )
    labels, held, blank = [], [], []
    of_trec = None if not theirs else measure_as_run(rows, values, theirs, min_relevance)
    for name in names:
        if of_trec is not None and name in theirs:
            column = theirs.index(name)
            labels.append(of_trec.metrics[column])
            held.append(of_trec.values[:, column])
            blank.append(of_trec.blank[:, column])
            continue
        bound = ours[name].bind(rows.y, rows.queries)
        labels.append(str(ours[name]))
        held.append(bound.per_query(rows.queries.sort(values)))
        blank.append(bound.blank)
    return Measured(
        tuple(labels), np.asarray(rows.queries.ids), np.column_stack(held), np.column_stack(blank)
    )


def checked_names(names: Sequence[str], theirs: Sequence[str]) -> list[str]:
    """The names that are the kit's; every unknown name is refused at once."""
    ours = [name for name in names if name not in theirs]
    try:
        find_metrics(ours)
    except ValueError as error:
        known = ", ".join(MEASURES)
        raise ValueError(f"{error}; measures of trec_eval are {known}, such as ndcg_cut_10") from None
    return ours


def measure_as_run(
    rows: RankingDataset, scores: FloatArray, names: Sequence[str], min_relevance: int = 1
) -> Measured:
    """Trec_eval's measures of rows, in the order of ``rows.queries.ids``."""
    qid = np.asarray(rows.qid).astype(str)
    docid = rows.docid
    if docid is None:
        # Numbers of one width, so that among equal scores the later row comes first, as a later name does.
        width = len(str(len(rows)))
        docid = np.array([f"{row:0{width}}" for row in range(len(rows))])
    qrels = Qrels.from_rows(qid, docid, rows.y)
    found = evaluate_run(qrels, RunFile(qid, docid.astype(str), scores), names, min_relevance=min_relevance)
    place = np.searchsorted(found.qid, np.asarray(rows.queries.ids).astype(str))
    blank = np.repeat((found.n_relevant == 0)[:, None], len(names), axis=1)
    labels = tuple(map(str, parse_measures(names)))
    return Measured(labels, found.qid[place], found.values[place], blank[place])


def evaluate_file(
    data: Files,
    scores: str | Path,
    *,
    metrics: str | Sequence[str] | None = None,
    columns: Columns | None = None,
    seed: int = 0,
    min_relevance: int = 1,
    complete: bool = False,
) -> list[Evaluation]:
    """Means of :func:`measure_file` with their intervals.

    Parameters
    ----------
    data, scores, metrics, columns, min_relevance, complete
        As there.
    seed : int
        Of the bootstrap.

    Returns
    -------
    list of Evaluation
        One a metric.

    Raises
    ------
    ValueError
        As there.
    """
    measured = measure_file(
        data, scores, metrics=metrics, columns=columns, min_relevance=min_relevance, complete=complete
    )
    return evaluations_of(measured, seed)


def evaluations_of(measured: Measured, seed: int = 0) -> list[Evaluation]:
    """Mean, interval and counts of each metric."""
    evaluations = []
    for name, values, blank in zip(measured.metrics, measured.values.T, measured.blank.T):
        counted = values[~np.isnan(values)]
        if not len(counted):
            warnings.warn(
                f"{name} is undefined: no query has a relevant document; is the label column right?",
                UserWarning,
                stacklevel=2,
            )
        low, high = bootstrap_interval(counted, confidence=CONFIDENCE, random_state=seed)
        evaluations.append(
            Evaluation(
                name,
                float(counted.mean()) if len(counted) else float("nan"),
                float(low[0]),
                float(high[0]),
                float(np.where(blank, 0.0, values).mean()),
                len(values),
                int(blank.sum()),
            )
        )
    return evaluations
