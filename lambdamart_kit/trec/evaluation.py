"""A run against judgments, as trec_eval does it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lambdamart_kit.core.typing import Array, FloatArray, IndexArray
from lambdamart_kit.trec.files import Qrels, RunFile
from lambdamart_kit.trec.measures import NOT_IN_POOL, UNJUDGED, JudgedList, TrecMeasure, parse_measures


@dataclass(frozen=True, eq=False)
class QueryValues:
    """Values of measures by query.

    Parameters
    ----------
    measures : tuple of TrecMeasure
        What was measured.
    qid : (n_queries,) array of str
        Queries that are counted, in ascending order.
    values : (n_queries, n_measures) float64
        Value of each.
    n_relevant : (n_queries,) int64
        Relevant documents of each query.
    n_not_found : int
        Judged queries of which the run has no document; left out of `qid`, or counted as 0.
    n_not_judged : int
        Queries of the run without judgments, which cannot be counted.

    Examples
    --------
    >>> from lambdamart_kit.trec import evaluate_run
    >>> qrels = Qrels(np.array(["q1", "q1"]), np.array(["a", "b"]), np.array([0, 1]))
    >>> run = RunFile(np.array(["q1", "q1"]), np.array(["a", "b"]), np.array([2.0, 1.0]))
    >>> evaluate_run(qrels, run, "recip_rank").means()  # the relevant document comes second
    {'recip_rank': 0.5}
    """

    measures: tuple[TrecMeasure, ...]
    qid: Array
    values: FloatArray
    n_relevant: IndexArray
    n_not_found: int
    n_not_judged: int

    def means(self) -> dict[str, float]:
        """Mean of each measure over the queries.

        Returns
        -------
        dict
            From the name of each measure to its mean.
        """
        return {str(m): float(v) for m, v in zip(self.measures, self.values.mean(axis=0))}


def evaluate_run(
    qrels: Qrels,
    run: RunFile,
    measures: str | Iterable[str] = ("map", "ndcg_cut_10", "P_10", "recip_rank"),
    *,
    min_relevance: int = 1,
    complete: bool = False,
) -> QueryValues:
    """Measures of a run by query, in trec_eval's conventions.

    Documents are sorted by score (as float32), equal ones by name, descending. Counted are queries that have
    both judgments and lines in the run; a query without a relevant document counts as 0.

    Parameters
    ----------
    qrels : Qrels
        Judgments.
    run : RunFile
        What was found.
    measures : str or list of str
        Names; see :mod:`lambdamart_kit.trec.measures`.
    min_relevance : int
        Grade from which a document is relevant (trec_eval's ``-l``).
    complete : bool
        Count judged queries that the run lacks as 0 (trec_eval's ``-c``).

    Returns
    -------
    QueryValues
        Of the counted queries.

    Raises
    ------
    ValueError
        If a measure is unknown, or no query is in both.

    Examples
    --------
    >>> qrels = Qrels(np.array(["q", "q"]), np.array(["a", "b"]), np.array([0, 1]))
    >>> run = RunFile(np.array(["q", "q"]), np.array(["a", "b"]), np.array([1.0, 1.0]))
    >>> evaluate_run(qrels, run, "recip_rank,P_1").means()      # the tie goes to b, the later name
    {'recip_rank': 1.0, 'P_1': 1.0}
    """
    parsed = tuple(parse_measures(measures))
    judged = np.unique(qrels.qid)
    found = np.unique(run.qid)
    counted = judged if complete else np.intersect1d(judged, found)
    if not np.isin(counted, found).any():
        raise ValueError(
            "the judgments and the run have no query in common: "
            f"{_first(judged)} is judged, {_first(found)} is in the run"
        )
    lists = _judged_lists(qrels, run, counted, min_relevance)
    values = np.array([[measure(query) for measure in parsed] for query in lists])
    return QueryValues(
        parsed,
        counted,
        values.reshape(len(counted), len(parsed)),
        np.array([query.n_relevant for query in lists], dtype=np.int64),
        int((~np.isin(judged, found)).sum()),
        int((~np.isin(found, judged)).sum()),
    )


def _judged_lists(qrels: Qrels, run: RunFile, counted: Array, min_relevance: int) -> list[JudgedList]:
    order = run.order()
    qid = run.qid[order]
    grades = _grades(qrels, run)[order]
    by_query = np.argsort(qrels.qid, kind="stable")
    judged_qid = qrels.qid[by_query]
    relevance = qrels.relevance[by_query]
    lists = []
    starts = np.searchsorted(qid, counted, "left"), np.searchsorted(judged_qid, counted, "left")
    stops = np.searchsorted(qid, counted, "right"), np.searchsorted(judged_qid, counted, "right")
    for a, b, c, d in zip(starts[0], stops[0], starts[1], stops[1]):
        lists.append(JudgedList(grades[a:b], relevance[c:d], min_relevance))
    return lists


def _grades(qrels: Qrels, run: RunFile) -> IndexArray:
    """Grade of each row of the run; `NOT_IN_POOL` where there is none."""
    import pandas as pd

    judged = pd.DataFrame(
        {"qid": qrels.qid, "docid": qrels.docid, "grade": np.maximum(qrels.relevance, UNJUDGED)}
    )
    rows = pd.DataFrame({"qid": run.qid, "docid": run.docid})
    grades: IndexArray = (
        rows.merge(judged, on=["qid", "docid"], how="left")["grade"].fillna(NOT_IN_POOL).to_numpy(np.int64)
    )
    return grades


def _first(ids: Array) -> str:
    return repr(str(ids[0])) if len(ids) else "nothing"
