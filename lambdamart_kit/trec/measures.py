r"""trec_eval's measures, under trec_eval's names.

All of them see one query at a time: the relevance of the retrieved documents in trec_eval's order, and that
of all judged documents. A document counts as relevant from `min_relevance` on; a document without a judgment
counts as not relevant, and bpref and infAP leave it out. With `R` relevant documents, ``rel(i)`` 1 if the
document at rank i (from 1) is relevant, and ``hits(i)`` how many of the first i are::

    map           1/R * sum of rel(i) * hits(i) / i               map_cut_K: over i <= K
    P_K           hits(K) / K                                     recall_K:  hits(K) / R
    Rprec         hits(R) / R                                     success_K: 1 if hits(K) > 0
    recip_rank    1 / rank of the first relevant document
    ndcg          sum of grade(i) / log2(i + 1), over the same of the best order; ndcg_cut_K: over i <= K
    bpref         1/R * sum over relevant of 1 - min(judged not relevant above it, R) / min(R, N)
    infAP         average precision estimated from incomplete judgments (Yilmaz and Aslam 2006)
    rbp_P         (1 - P) * sum of rel(i) * P^(i-1); not in trec_eval, as ir_measures and cwl_eval have it

Linear gain (the grade itself) in ndcg is trec_eval's; the kit's own ``ndcg@10`` has ``2**y - 1``.

References
----------
https://github.com/usnistgov/trec_eval. Buckley and Voorhees, "Retrieval evaluation with incomplete
information", SIGIR 2004 (bpref). Yilmaz and Aslam, "Estimating average precision with incomplete and
imperfect judgments", CIKM 2006. Moffat and Zobel, "Rank-biased precision for measurement of retrieval
effectiveness", TOIS 2008.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from lambdamart_kit.core.typing import BoolArray, IndexArray

UNJUDGED = -1  # in the judgments, but with a negative grade: in the pool, and nobody judged it
NOT_IN_POOL = -2  # not in the judgments
_EPSILON = 0.00001  # infAP's, which keeps its precision defined before the first judged document
_PERSISTENCE = 0.8


@dataclass(frozen=True, eq=False)
class JudgedList:
    """One query: what was found, and what was judged.

    Attributes
    ----------
    found : (n_found,) int64
        Grades of the retrieved documents in their order; `NOT_IN_POOL` for those without one, `UNJUDGED`
        for those of a negative one.
    judged : (n_judged,) int64
        Grades of all judged documents.
    min_relevance : int
        Grade from which a document is relevant.
    """

    found: IndexArray
    judged: IndexArray
    min_relevance: int = 1

    @property
    def hits(self) -> BoolArray:
        """Which of the found documents are relevant."""
        return self.found >= self.min_relevance

    @property
    def n_relevant(self) -> int:
        """How many documents are relevant, found or not."""
        return int((self.judged >= self.min_relevance).sum())


def _average_precision(query: JudgedList, k: float) -> float:
    ranks = np.flatnonzero(query.hits) + 1
    precisions = np.arange(1, len(ranks) + 1) / ranks
    return _share(float(precisions[ranks <= k].sum()), query.n_relevant)


def _precision(query: JudgedList, k: float) -> float:
    return float(query.hits[: int(k)].sum() / k)


def _recall(query: JudgedList, k: float) -> float:
    return _share(float(query.hits[: int(k)].sum()), query.n_relevant)


def _success(query: JudgedList, k: float) -> float:
    return float(query.hits[: int(k)].any())


def _r_precision(query: JudgedList, k: float) -> float:
    return _share(float(query.hits[: query.n_relevant].sum()), query.n_relevant)


def _reciprocal_rank(query: JudgedList, k: float) -> float:
    ranks = np.flatnonzero(query.hits)
    return 1.0 / (float(ranks[0]) + 1.0) if len(ranks) else 0.0


def _ndcg(query: JudgedList, k: float) -> float:
    ideal = np.sort(query.judged)[::-1]
    return _share(_discounted(query.found, k), _discounted(ideal, k))


def _discounted(grades: IndexArray, k: float) -> float:
    kept = np.maximum(grades[: int(min(k, len(grades)))], 0)
    return float((kept / np.log2(np.arange(2, len(kept) + 2))).sum())


def _bpref(query: JudgedList, k: float) -> float:
    n_relevant = query.n_relevant
    judged_not = (query.found >= 0) & ~query.hits
    n_not = int(((query.judged >= 0) & (query.judged < query.min_relevance)).sum())
    above = np.minimum(np.cumsum(judged_not)[query.hits], n_relevant)
    lost = above / max(min(n_not, n_relevant), 1)
    return _share(float((1.0 - lost).sum()), n_relevant)


def _inferred_average_precision(query: JudgedList, k: float) -> float:
    hits = query.hits
    relevant = np.cumsum(hits) - 1.0  # above each relevant document
    judged_not = np.cumsum((query.found >= 0) & ~hits)
    in_pool = relevant + judged_not + np.cumsum(query.found == UNJUDGED)
    above = np.arange(len(hits), dtype=np.float64)
    precision = (relevant + _EPSILON) / (relevant + judged_not + 2 * _EPSILON)
    share = np.divide(in_pool, above, out=np.zeros(len(hits)), where=above > 0)
    values = 1.0 / (above + 1.0) + above / (above + 1.0) * share * precision
    return _share(float(values[hits].sum()), query.n_relevant)


def _rank_biased_precision(query: JudgedList, persistence: float) -> float:
    weights = persistence ** np.arange(len(query.found))
    return float((1.0 - persistence) * weights[query.hits].sum())


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


@dataclass(frozen=True)
class _Kind:
    """A family of measures: its formula, what that says in a line, and which number its name ends in."""

    value: Callable[[JudgedList, float], float]
    title: str
    parameter: str = ""  # "k": a cut-off that must be there; "p": a persistence that may be


MEASURES: dict[str, _Kind] = {
    "map": _Kind(_average_precision, "Average precision"),
    "map_cut": _Kind(_average_precision, "Average precision of the first k documents", "k"),
    "P": _Kind(_precision, "Share of the first k documents that is relevant", "k"),
    "recall": _Kind(_recall, "Share of the relevant documents among the first k", "k"),
    "success": _Kind(_success, "1 if one of the first k documents is relevant", "k"),
    "hit": _Kind(_success, "1 if one of the first k documents is relevant, as others call success", "k"),
    "Rprec": _Kind(_r_precision, "Precision at the number of relevant documents"),
    "recip_rank": _Kind(_reciprocal_rank, "Reciprocal rank of the first relevant document"),
    "ndcg": _Kind(_ndcg, "NDCG with linear gain"),
    "ndcg_cut": _Kind(_ndcg, "NDCG of the first k documents with linear gain", "k"),
    "bpref": _Kind(_bpref, "How seldom a judged document that is not relevant stands above a relevant one"),
    "infAP": _Kind(_inferred_average_precision, "Average precision inferred from a sample of judgments"),
    "rbp": _Kind(_rank_biased_precision, "Rank-biased precision with persistence p, 0.8 by default", "p"),
}
_BY_LOWER = {name.lower(): name for name in MEASURES}
_FORM = re.compile(r"(?P<name>[A-Za-z_]+?)(?:[_@.](?P<number>[0-9]*\.?[0-9]+))?")
# Names that only trec_eval has: `map`, `ndcg` and their kind exist here too, with the kit's conventions.
_SHARED = ("map", "ndcg")


@dataclass(frozen=True)
class TrecMeasure:
    """One measure, such as ``ndcg_cut_10``.

    Parameters
    ----------
    kind : str
        Key of `MEASURES`.
    number : float
        Cut-off, or persistence of ``rbp``; infinite where there is none.

    Examples
    --------
    >>> from lambdamart_kit.trec.measures import JudgedList
    >>> query = JudgedList(found=np.array([0, 1, 0]), judged=np.array([1, 0, 0]))
    >>> str(TrecMeasure("P", 2)), TrecMeasure("P", 2)(query)
    ('P_2', 0.5)
    """

    kind: str
    number: float = np.inf

    def __str__(self) -> str:
        return self.kind if np.isinf(self.number) else f"{self.kind}_{self.number:g}"

    def __call__(self, query: JudgedList) -> float:
        """Value of one query."""
        return MEASURES[self.kind].value(query, self.number)


def parse_measure(name: str) -> TrecMeasure:
    """The measure of a name of trec_eval: ``P_5``, ``P@5`` and ``p.5`` are the same.

    Raises
    ------
    ValueError
        If there is no such measure, or its number is missing or wrong.

    Examples
    --------
    >>> str(parse_measure("ndcg_cut_10")), str(parse_measure("hit@10")), str(parse_measure("rbp"))
    ('ndcg_cut_10', 'hit_10', 'rbp_0.8')
    """
    form = _FORM.fullmatch(name.strip())
    found = None if form is None else _BY_LOWER.get(form["name"].lower())
    if form is None or found is None:
        near = get_close_matches(name.lower(), _BY_LOWER, n=1, cutoff=0.4)
        hint = f"did you mean {_BY_LOWER[near[0]]}? " if near else ""
        raise ValueError(f"unknown measure of trec_eval {name!r}; {hint}Known are {', '.join(MEASURES)}")
    parameter = MEASURES[found].parameter
    number = form["number"]
    if parameter == "k" and not (number and number.isdigit() and int(number) >= 1):
        raise ValueError(f"measure {name!r} needs a cut-off, a whole number >= 1, such as {found}_10")
    if parameter == "p":
        persistence = float(number or _PERSISTENCE)
        if not 0 < persistence < 1:
            raise ValueError(f"measure {name!r} needs a persistence between 0 and 1, such as rbp_0.8")
        return TrecMeasure(found, persistence)
    if not parameter and number:
        cut = f"; its form with a cut-off is {found}_cut_{number}" if f"{found}_cut" in MEASURES else ""
        raise ValueError(f"measure {name!r}: {found} of trec_eval has no cut-off{cut}")
    return TrecMeasure(found, float(number) if number else np.inf)


def parse_measures(names: str | Iterable[str]) -> list[TrecMeasure]:
    """Measures of several names, or of one string with commas between them.

    Parameters
    ----------
    names : str or iterable of str
        A string may hold several names with commas between them.

    Returns
    -------
    list of TrecMeasure
        In the order of the names.

    Raises
    ------
    ValueError
        Once, naming every bad name.

    Examples
    --------
    >>> [str(measure) for measure in parse_measures("map, P@5, recip_rank")]
    ['map', 'P_5', 'recip_rank']
    """
    parts = [part for part in names.split(",") if part.strip()] if isinstance(names, str) else list(names)
    measures = []
    problems = []
    for part in parts:
        try:
            measures.append(parse_measure(part))
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("; ".join(problems))
    return measures


def is_trec_name(name: str) -> bool:
    """Whether only trec_eval has a measure of this name: ``ndcg_cut_10``, ``recip_rank``, ``P_5``.

    ``map`` and ``ndcg``, ``P@5`` and ``recall@5`` mean the kit's own metrics where both exist.

    Parameters
    ----------
    name : str
        Name of a measure, as a user writes it.

    Returns
    -------
    bool
        False for names of the kit's own metrics and for unknown ones.

    Examples
    --------
    >>> is_trec_name("ndcg_cut_10"), is_trec_name("ndcg@10")
    (True, False)
    """
    text = name.strip()
    kind = text.partition("@")[0].lower()
    if kind in _SHARED or ("@" in text and kind in ("p", "recall")):
        return False
    try:
        parse_measure(text)
    except ValueError:
        return False
    return True
