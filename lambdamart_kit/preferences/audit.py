"""What is wrong with a preference set: a report for people and a table for machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse
from scipy.sparse import csgraph

from lambdamart_kit.core.typing import Array, FloatArray, IndexArray
from lambdamart_kit.preferences.dpo.agreement import audit_logps
from lambdamart_kit.preferences.pairs import LOGPS, PreferencePairs
from lambdamart_kit.preferences.reading.formats import normalised
from lambdamart_kit.preferences.scoring import accuracy, clustered_mean

_ANNOTATORS = ("annotator", "annotator_id", "worker", "worker_id", "judge", "user_id")
_NEARLY_ALL = 0.999  # a feature with one value in this share of the responses says next to nothing

_MEANING = {
    "chosen_equals_rejected": "both responses are the same text: the pair says nothing",
    "empty_response": "a response has no text",
    "duplicate": "the same preference was seen before: repeated rows count twice and leak across splits",
    "contradiction": "the opposite preference is there too",
    "cycle": "part of a cycle of three or more responses (a > b > c > a): no ranking agrees with all of them",
    "tie": "labelled a tie",
    "prompt_in_both": "the prompt is in the other set too: scores on it are not held out",
    "policy_equals_reference": "policy and reference give equal log-probs: the DPO loss is log 2",
    "zero_logps": "a log-prob is exactly 0, which usually stands for missing",
    "positive_logps": "a log-prob is above 0, which no probability has",
    "bad_logps": "a log-prob is missing or not finite",
}


@dataclass(frozen=True, eq=False)
class AuditReport:
    """What was found.

    Attributes
    ----------
    n_pairs, n_prompts, n_responses : int
    rows : dict of str to (n,) intp
        Pairs with each problem; empty arrays for problems that were looked for and not found.
    facts : dict of str to float
        Length bias and the like.
    annotators : DataFrame or None
        Agreement of each annotator with the majority of the others on the same pairs.
    constant_features : list of str
        Features that are (nearly) constant.

    Examples
    --------
    >>> rows = [{"prompt": "p", "chosen": c, "rejected": r} for c, r in ["ab", "ba", "cc"]]
    >>> report = audit(PreferencePairs.read(rows))
    >>> {name: pairs.tolist() for name, pairs in report.rows.items() if len(pairs)}
    {'chosen_equals_rejected': [2], 'contradiction': [0, 1]}
    """

    n_pairs: int
    n_prompts: int
    n_responses: int
    rows: dict[str, IndexArray]
    facts: dict[str, float]
    annotators: pd.DataFrame | None
    constant_features: list[str]

    def to_frame(self) -> pd.DataFrame:
        """``problem``, ``pairs``, ``share``, ``first`` (first pair with it, or -1), ``meaning``."""
        return pd.DataFrame(
            [
                {
                    "problem": name,
                    "pairs": len(found),
                    "share": len(found) / max(1, self.n_pairs),
                    "first": int(found[0]) if len(found) else -1,
                    "meaning": _MEANING[name],
                }
                for name, found in self.rows.items()
            ]
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON can say it."""
        return {
            "pairs": self.n_pairs,
            "prompts": self.n_prompts,
            "responses": self.n_responses,
            "problems": {name: found.tolist() for name, found in self.rows.items()},
            "facts": {name: value if np.isfinite(value) else None for name, value in self.facts.items()},
            "annotators": None if self.annotators is None else self.annotators.to_dict("records"),
            "constant_features": self.constant_features,
        }

    def to_markdown(self) -> str:
        """The report as Markdown."""
        lines = [
            "# Audit of preference pairs",
            "",
            f"{self.n_pairs} pairs, {self.n_prompts} prompts, {self.n_responses} responses.",
            "",
            "| problem | pairs | share | first | what it means |",
            "|---|---:|---:|---:|---|",
        ]
        for row in self.to_frame().to_dict("records"):
            first = "" if row["first"] < 0 else row["first"]
            lines.append(
                f"| {row['problem']} | {row['pairs']} | {row['share']:.1%} | {first} | {row['meaning']} |"
            )
        lines += ["", "| fact | value |", "|---|---:|"]
        lines += [f"| {name.replace('_', ' ')} | {value:.3f} |" for name, value in self.facts.items()]
        if self.annotators is not None:
            lines += ["", "| annotator | votes | shared | agreement |", "|---|---:|---:|---:|"]
            lines += [
                f"| {r['annotator']} | {r['votes']} | {r['shared']} | {r['agreement']:.3f} |"
                for r in self.annotators.to_dict("records")
            ]
        if self.constant_features:
            lines += ["", f"Nearly constant features: {', '.join(self.constant_features)}."]
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        return self.to_markdown()


def audit(
    pairs: PreferencePairs, other: PreferencePairs | None = None, *, annotator: str | None = None
) -> AuditReport:
    """Look for what makes preference pairs worthless, misleading or unfair to evaluate on.

    Parameters
    ----------
    pairs : PreferencePairs
    other : PreferencePairs, optional
        The other side of a split: prompts on both sides are reported.
    annotator : str, optional
        Column that says who judged; one of annotator, worker, judge and the like is found by itself.

    Returns
    -------
    AuditReport
    """
    rows = _of_responses(pairs) | _of_graph(pairs)
    rows["tie"] = np.flatnonzero(pairs.target == 0.5)
    if other is not None:
        theirs = {normalised(p) for p in other.prompts[np.unique(other.prompt)]}
        shared = np.array([normalised(p) in theirs for p in pairs.prompts], dtype=bool)
        rows["prompt_in_both"] = np.flatnonzero(shared[pairs.prompt])
    if all(name in pairs.columns for name in LOGPS):
        rows |= _of_logps(pairs)
    return AuditReport(
        len(pairs),
        len(np.unique(pairs.prompt)),
        len(np.unique(np.concatenate([pairs.chosen, pairs.rejected]))),
        rows,
        _length_facts(pairs),
        _annotators(pairs, annotator),
        _constant_features(pairs.features),
    )


def _of_responses(pairs: PreferencePairs) -> dict[str, IndexArray]:
    rows = {}
    if len(pairs.responses):
        plain = np.array([normalised(text) for text in pairs.responses], dtype=object)
        rows["chosen_equals_rejected"] = np.flatnonzero(plain[pairs.chosen] == plain[pairs.rejected])
        empty = plain == ""
        rows["empty_response"] = np.flatnonzero(empty[pairs.chosen] | empty[pairs.rejected])
    else:
        rows["chosen_equals_rejected"] = np.flatnonzero(pairs.chosen == pairs.rejected)
    return rows


def _of_graph(pairs: PreferencePairs) -> dict[str, IndexArray]:
    """Duplicates, contradictions and cycles in the graph of "chosen beats rejected"."""
    winner = np.where(pairs.target >= 0.5, pairs.chosen, pairs.rejected)
    loser = np.where(pairs.target >= 0.5, pairs.rejected, pairs.chosen)
    n_responses = len(pairs.response_prompt)
    decided = (winner != loser) & (pairs.target != 0.5)
    code, mirror = winner * n_responses + loser, loser * n_responses + winner
    _, first = np.unique(code, return_index=True)
    repeated = np.ones(len(code), dtype=bool)
    repeated[first] = False
    opposed = decided & np.isin(mirror, code[decided])
    # A pair that is contradicted is a cycle of two, already named; longer ones are left when those are out.
    kept = decided & ~opposed
    graph = scipy.sparse.csr_array(
        (np.ones(kept.sum()), (winner[kept], loser[kept])), shape=(n_responses, n_responses)
    )
    _, component = csgraph.connected_components(graph, directed=True, connection="strong")
    return {
        "duplicate": np.flatnonzero(repeated & decided),
        "contradiction": np.flatnonzero(opposed),
        "cycle": np.flatnonzero(kept & (component[winner] == component[loser])),
    }


def _of_logps(pairs: PreferencePairs) -> dict[str, IndexArray]:
    table = [pd.to_numeric(pairs.columns[name], errors="coerce").to_numpy(np.float64) for name in LOGPS]
    found = audit_logps(*table)
    names = {"zero": "zero_logps", "positive": "positive_logps", "not_finite": "bad_logps"}
    return {names.get(name, name): rows for name, rows in found.items()}


def _length_facts(pairs: PreferencePairs) -> dict[str, float]:
    if not len(pairs.responses):
        return {}
    lengths = pairs.lengths.astype(np.float64)
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


def _median(values: FloatArray) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def _annotators(pairs: PreferencePairs, column: str | None) -> pd.DataFrame | None:
    """Share of each annotator's votes that agree with the majority of the others on the same question."""
    if column is None:
        column = next((name for name in _ANNOTATORS if name in pairs.columns), None)
        if column is None:
            return None
    elif column not in pairs.columns:
        raise ValueError(f"'annotator' must be a column; got {column!r}, have {list(pairs.columns)}")
    low, high = np.minimum(pairs.chosen, pairs.rejected), np.maximum(pairs.chosen, pairs.rejected)
    vote = np.sign(pairs.target - 0.5) * np.where(pairs.chosen == low, 1.0, -1.0)
    _, question = np.unique(low * len(pairs.response_prompt) + high, return_inverse=True)
    others = np.bincount(question, vote)[question] - vote
    comparable = (others != 0) & (vote != 0)
    table = pd.DataFrame(
        {
            "annotator": pairs.columns[column].to_numpy(),
            "shared": comparable,
            "agreement": np.where(comparable, np.sign(others) == vote, np.nan),
        }
    )
    grouped = table.groupby("annotator", sort=True)
    result = grouped["shared"].agg(votes="size", shared="sum").join(grouped["agreement"].mean())
    return result.reset_index().sort_values("agreement", kind="stable").reset_index(drop=True)


def _constant_features(features: Any) -> list[str]:
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
