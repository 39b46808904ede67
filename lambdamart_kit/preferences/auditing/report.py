"""What an audit found: a report for people and a table for machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lambdamart_kit.core.typing import IndexArray, Settings

if TYPE_CHECKING:
    from lambdamart_kit.preferences.auditing.sameness import Sameness
    from lambdamart_kit.preferences.judges.report import JudgeReport

_MOST_CLUSTERS = 10
_EXCERPT = 60  # characters of a prompt in the report for people
_FEW_SHARED = 20  # votes below which an annotator's agreement says little
_MOST_ANNOTATORS = 20  # in the report for people, the least agreeing first

MEANING = {
    "chosen_equals_rejected": "both responses are the same text: the pair says nothing",
    "nearly_equal": "the responses differ in case or white space only; in code and mathematics that can "
    "matter",
    "empty_response": "a response has no text",
    "empty_prompt": "the prompt has no text: the pair counts as a question of its own",
    "duplicate": "the same preference was stated before, by the same judge where judges are known",
    "contradiction": "the opposite preference was stated too, by the same judge where judges are known",
    "outvoted": "more judges preferred the other of the two responses than this one",
    "split_vote": "as many judges preferred one response as the other",
    "cycle": "part of a cycle of three or more responses (a > b > c > a): no ranking agrees with all of them",
    "tie": "labelled a tie",
    "rated_against": "the ratings prefer the rejected response: the margin, their gap, is below 0",
    "near_duplicate_prompt": "the prompt asks what an earlier one asks, in nearly the same words: a split "
    "may part them",
    "prompt_in_both": "the prompt is in the other set too: scores on it are not held out",
    "near_prompt_in_both": "a prompt of the other set is nearly the same: scores on it are hardly held out",
    "policy_equals_reference": "policy and reference give equal log-probs: the DPO loss is log 2",
    "zero_logps": "a log-prob is exactly 0, which usually stands for missing",
    "positive_logps": "a log-prob is above 0, which no probability has",
    "bad_logps": "a log-prob is missing or not finite",
}


@dataclass(frozen=True, eq=False)
class AuditReport:
    """What was found.

    Parameters
    ----------
    n_pairs : int
        Number of pairs.
    n_prompts : int
        Number of different prompts.
    n_responses : int
        Number of different responses.
    rows : dict of str to (n,) intp
        Pairs with each problem; empty arrays for problems that were looked for and not found.
    facts : dict of str to float
        Length bias and the like.
    annotators : DataFrame or None
        Agreement of each annotator with the majority of the others on the same pairs.
    constant_features : list of str
        Features that are (nearly) constant.
    judges : JudgeReport
        What the votes say of the judges; false where the columns allow no test.
    margins : DataFrame or None
        Where margins are from: :meth:`PairTable.margins`.
    prompt_clusters : DataFrame or None
        Prompts that are near duplicates of each other, one row a cluster, the largest first: ``prompts``,
        ``pairs``, ``prompt`` (the first one's text), ``another``.
    sameness : Sameness or None
        How alike responses are and whether labels reward it, where that was asked for.

    Examples
    --------
    >>> from lambdamart_kit.preferences import PreferencePairs
    >>> rows = [{"prompt": "p", "chosen": c, "rejected": r} for c, r in ["ab", "ba", "cc"]]
    >>> report = PreferencePairs.read(rows).audit()
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
    judges: JudgeReport
    margins: pd.DataFrame | None = None
    prompt_clusters: pd.DataFrame | None = None
    sameness: Sameness | None = None

    def to_frame(self) -> pd.DataFrame:
        """``problem``, ``pairs``, ``share``, ``first`` (first pair with it, or -1), ``meaning``.

        Returns
        -------
        DataFrame
            One row a problem that was looked for.
        """
        return pd.DataFrame(
            [
                {
                    "problem": name,
                    "pairs": len(found),
                    "share": len(found) / max(1, self.n_pairs),
                    "first": int(found[0]) if len(found) else -1,
                    "meaning": MEANING[name],
                }
                for name, found in self.rows.items()
            ]
        )

    def to_dict(self) -> Settings:
        """All of it as JSON can say it.

        Returns
        -------
        dict
            Numbers, texts, lists and dicts only.
        """
        return {
            "pairs": self.n_pairs,
            "prompts": self.n_prompts,
            "responses": self.n_responses,
            "problems": {name: found.tolist() for name, found in self.rows.items()},
            "facts": {name: value if np.isfinite(value) else None for name, value in self.facts.items()},
            "annotators": None if self.annotators is None else self.annotators.to_dict("records"),
            "constant_features": self.constant_features,
            "judges": self.judges.to_dict(),
            "prompt_clusters": _records(self.prompt_clusters),
            "margins": _records(self.margins),
            "sameness": None if self.sameness is None else self.sameness.to_dict(),
        }

    def to_markdown(self) -> str:
        """The report as Markdown.

        Returns
        -------
        str
            Tables with a heading each.
        """
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
        known = {name: value for name, value in self.facts.items() if np.isfinite(value)}
        if known:
            lines += ["", "| fact | value |", "|---|---:|"]
        lines += [f"| {name.replace('_', ' ')} | {value:.3f} |" for name, value in known.items()]
        if self.prompt_clusters is not None and len(self.prompt_clusters):
            lines += _cluster_lines(self.prompt_clusters)
        if self.margins is not None:
            lines += _margin_lines(self.margins)
        if self.annotators is not None:
            lines += _annotator_lines(self.annotators)
        if self.constant_features:
            lines += ["", f"Nearly constant features: {', '.join(self.constant_features)}."]
        if self.sameness is not None:
            lines += ["", self.sameness.to_markdown().rstrip()]
        if self.judges:
            lines += ["", self.judges.to_markdown().rstrip()]
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        return self.to_markdown()


def _records(table: pd.DataFrame | None) -> list[Settings]:
    return [] if table is None else table.to_dict("records")


def _cluster_lines(clusters: pd.DataFrame) -> list[str]:
    """The largest clusters of near-duplicate prompts, with two of the prompts each to judge them by."""
    shown = clusters.head(_MOST_CLUSTERS)
    lines = [
        "",
        f"Near-duplicate prompts make {len(clusters)} clusters.",
        "",
        "| prompts | pairs | a prompt | another |",
        "|---:|---:|---|---|",
    ]
    for row in shown.to_dict("records"):
        lines.append(
            f"| {row['prompts']} | {row['pairs']} | {_excerpt(row['prompt'])} | {_excerpt(row['another'])} |"
        )
    if len(clusters) > len(shown):
        lines.append(f"| ... {len(clusters) - len(shown)} more | | | |")
    return lines


def _excerpt(text: str) -> str:
    """The start of a text as a cell of a table."""
    line = " ".join(text.split()).replace("|", "\\|")
    return line if len(line) <= _EXCERPT else f"{line[: _EXCERPT - 3]}..."


def _margin_lines(margins: pd.DataFrame) -> list[str]:
    """Where margins are from, and what training makes of them."""
    lines = ["", "| margins are from | pairs | lowest | median | highest |", "|---|---:|---:|---:|---:|"]
    lines += [
        f"| {r['source']} | {r['pairs']} | {r['lowest']:.3g} | {r['median']:.3g} | {r['highest']:.3g} |"
        for r in margins.to_dict("records")
    ]
    return [
        *lines,
        "",
        "A reward model uses the margins of a column 'margin', as TRL does, and gaps of ratings only with "
        "use_margins=True (`pairs fit --margins all`).",
    ]


def _annotator_lines(annotators: pd.DataFrame) -> list[str]:
    """The least agreeing annotators of those whose votes can be compared with others'."""
    compared = annotators[annotators["shared"] > 0]
    if not len(compared):
        none = "none of whom judged responses on which the others have a majority."
        return ["", f"{len(annotators)} annotators, {none}"]
    # Who shares a vote or two with the others agrees with all of them or with none by chance.
    enough = compared[compared["shared"] >= _FEW_SHARED]
    shown = (enough if len(enough) else compared).head(_MOST_ANNOTATORS)
    lines = [
        "",
        f"{len(annotators)} annotators, of whom {len(compared)} judged responses on which the others have a "
        "majority. Agreement is the share of those votes (shared) that go with that majority.",
        "",
        "| annotator | votes | shared | agreement |",
        "|---|---:|---:|---:|",
    ]
    lines += [
        f"| {r['annotator']} | {r['votes']} | {r['shared']} | {r['agreement']:.3f} |"
        for r in shown.to_dict("records")
    ]
    few = len(compared) - len(enough) if len(enough) else 0
    more = len(compared) - few - len(shown)
    if more:
        lines.append(f"| ... {more} more | | | |")
    if few:
        lines.append(f"| ... {few} with fewer than {_FEW_SHARED} shared votes | | | |")
    return lines
