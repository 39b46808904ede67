"""Look for what makes preference pairs worthless, misleading or unfair to evaluate on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse

from lambdamart_kit.core.typing import Array, Features, FloatArray, IndexArray
from lambdamart_kit.preferences.auditing.near_duplicates import near_any, near_duplicates
from lambdamart_kit.preferences.auditing.report import AuditReport
from lambdamart_kit.preferences.auditing.sameness import sameness
from lambdamart_kit.preferences.auditing.votes import annotator_table, findings_of_votes
from lambdamart_kit.preferences.judges.report import judge_report
from lambdamart_kit.preferences.pair_table import PairTable
from lambdamart_kit.preferences.reading.builder import LOGPS
from lambdamart_kit.preferences.scoring import accuracy, clustered_mean

_NEARLY_ALL = 0.999  # a feature with one value in this share of the responses says next to nothing


def audit(
    pairs: PairTable,
    other: PairTable | None = None,
    *,
    annotator: str | None = None,
    diversity: bool = False,
) -> AuditReport:
    """Look for what makes preference pairs worthless, misleading or unfair to evaluate on.

    Parameters
    ----------
    pairs : PreferencePairs
        The pairs to look at.
    other : PreferencePairs, optional
        The other side of a split: prompts on both sides are reported, exact ones and near ones.
    annotator : str, optional
        Column that says who judged; one of annotator, worker, judge and the like is found by itself. Votes of
        different judges on the same responses are neither duplicates nor contradictions.
    diversity : bool
        Also measure how alike responses are, and whether the labels reward it: :func:`sameness`. Needs texts.

    Returns
    -------
    AuditReport
        Rows with each problem, and facts such as the length bias.

    Examples
    --------
    >>> from lambdamart_kit.preferences import PreferencePairs
    >>> rows = [{"prompt": "p", "chosen": c, "rejected": r} for c, r in ["ab", "ba", "cc"]]
    >>> audit(PreferencePairs.read(rows)).rows["chosen_equals_rejected"].tolist()
    [2]
    """
    judged = pairs.annotators(annotator)
    judges = None if judged is None else judged[1]
    rows = _of_responses(pairs) | findings_of_votes(pairs, judges)
    rows["tie"] = np.flatnonzero(pairs.target == 0.5)
    if pairs.margin_is_gap.any():
        rows["rated_against"] = np.flatnonzero(pairs.margin_is_gap & (pairs.margin < 0))
    prompt_rows, clusters = _of_prompts(pairs, other)
    rows |= prompt_rows
    if all(name in pairs.columns for name in LOGPS):
        rows |= _of_logps(pairs)
    return AuditReport(
        len(pairs),
        len(np.unique(pairs.prompt)),
        len(np.unique(np.concatenate([pairs.chosen, pairs.rejected]))),
        rows,
        _length_facts(pairs),
        None if judges is None else annotator_table(pairs, judges),
        _constant_features(pairs.features),
        judge_report(pairs, annotator=annotator),
        pairs.margins(),
        clusters,
        sameness(pairs) if diversity else None,
    )


def _of_responses(pairs: PairTable) -> dict[str, IndexArray]:
    same = pairs.chosen == pairs.rejected
    rows = {"chosen_equals_rejected": np.flatnonzero(same)}
    facts = pairs.response_facts
    if facts is not None:
        plain = facts["plain_code"].to_numpy()
        empty = facts["empty"].to_numpy()
        rows["nearly_equal"] = np.flatnonzero(~same & (plain[pairs.chosen] == plain[pairs.rejected]))
        rows["empty_response"] = np.flatnonzero(empty[pairs.chosen] | empty[pairs.rejected])
    return rows


def _of_prompts(
    pairs: PairTable, other: PairTable | None
) -> tuple[dict[str, IndexArray], pd.DataFrame | None]:
    texts = pairs.prompts.tolist()
    rows = {}
    clusters = None
    if len(pairs.responses) or pairs.facts is not None:
        blank = np.array([not text.strip() for text in texts], dtype=bool)
        group = near_duplicates(texts)
        used = np.zeros(len(texts), dtype=bool)
        used[pairs.prompt] = True
        # The first prompt in use of each group stays; the others repeat it.
        first = np.full(len(texts), len(texts), dtype=np.intp)
        np.minimum.at(first, group[used], np.flatnonzero(used))
        later = first[group] < np.arange(len(texts))
        rows["empty_prompt"] = np.flatnonzero(blank[pairs.prompt])
        rows["near_duplicate_prompt"] = np.flatnonzero(later[pairs.prompt])
        clusters = _prompt_clusters(pairs, np.where(used, group, -1))
    if other is not None:
        theirs = [text for text in other.prompts[np.unique(other.prompt)].tolist() if text.strip()]
        known = set(theirs)
        exact = np.array([text in known for text in texts], dtype=bool)
        near = near_any(texts, theirs) & ~exact
        rows["prompt_in_both"] = np.flatnonzero(exact[pairs.prompt])
        rows["near_prompt_in_both"] = np.flatnonzero(near[pairs.prompt])
    return rows, clusters


def _prompt_clusters(pairs: PairTable, group: IndexArray) -> pd.DataFrame:
    """Groups of two and more prompts, the one with the most pairs first; -1 is no group."""
    n_pairs = np.bincount(pairs.prompt, minlength=len(group))
    sizes = np.bincount(group[group >= 0], minlength=len(group))
    # Most prompts are alone: a table of those that are not takes no memory.
    member = np.flatnonzero((group >= 0) & (sizes[group] > 1))
    prompts = pd.DataFrame({"group": group[member], "pairs": n_pairs[member], "text": pairs.prompts[member]})
    table = prompts.groupby("group", sort=False).agg(
        prompts=("text", "size"), pairs=("pairs", "sum"), prompt=("text", "first"), another=("text", "last")
    )
    return table.sort_values("pairs", ascending=False, kind="stable").reset_index(drop=True)


def _of_logps(pairs: PairTable) -> dict[str, IndexArray]:
    from lambdamart_kit.preferences.dpo.agreement import audit_logps

    table = [pd.to_numeric(pairs.columns[name], errors="coerce").to_numpy(np.float64) for name in LOGPS]
    found = audit_logps(*table)
    names = {"zero": "zero_logps", "positive": "positive_logps", "not_finite": "bad_logps"}
    return {names.get(name, name): rows for name, rows in found.items()}


def _length_facts(pairs: PairTable) -> dict[str, float]:
    lengths = pairs.lengths.astype(np.float64)
    if not lengths.any() or _responses_are_names(pairs, lengths):
        return {}
    difference = lengths[pairs.chosen] - lengths[pairs.rejected]
    longer = clustered_mean(
        accuracy(difference, pairs.target, half_ties=True), np.ones(len(pairs)), pairs.prompt
    )
    return {
        "longer_response_preferred": longer.value,
        "longer_response_preferred_lower": longer.lower,
        "longer_response_preferred_upper": longer.upper,
        "median_characters_chosen": _median(lengths[pairs.chosen]),
        "median_characters_rejected": _median(lengths[pairs.rejected]),
    }


def _responses_are_names(pairs: PairTable, lengths: FloatArray) -> bool:
    """Whether the names of models stand for responses that were not recorded: their length says nothing."""
    sides = (("chosen_model", pairs.chosen), ("rejected_model", pairs.rejected))
    if not len(pairs) or not all(name in pairs.columns for name, _ in sides):
        return False
    return all(
        np.array_equal(pairs.columns[name].astype(str).str.len().to_numpy(np.float64), lengths[code])
        for name, code in sides
    )


def _median(values: FloatArray) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _constant_features(features: Features) -> list[str]:
    if features is None or features.shape[0] == 0:
        return []
    if scipy.sparse.issparse(features):
        nonzero = np.asarray((features != 0).sum(axis=0)).ravel()
        return [str(c) for c in np.flatnonzero(nonzero <= (1 - _NEARLY_ALL) * features.shape[0])]
    return [str(c) for c in range(features.shape[1]) if _most_common_share(features[:, c]) >= _NEARLY_ALL]


def _most_common_share(column: Array) -> float:
    # The median is the most common value of any column that has one value in more than half its rows.
    known = column[~np.isnan(column)]
    if len(known) == 0:
        return 1.0
    middle = np.partition(known, len(known) // 2)[len(known) // 2]
    return float(np.sum(known == middle) / len(column))
