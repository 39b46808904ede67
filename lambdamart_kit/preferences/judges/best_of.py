r"""Scores of RewardBench 2: best of four, and the Ties subset.

References
----------
Malik et al. (2025), "RewardBench 2: advancing reward model evaluation", sections 3 and 4. The weights of the
Ties score are those of its evaluation code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from lambdamart_kit.core.typing import ArrayLike, FloatArray
from lambdamart_kit.preferences.pair_table import PairTable

_WEIGHTS = {
    "tied_accuracy": 0.30,
    "ref_accuracy": 0.30,
    "correctness_preferred": 0.20,
    "correctness_preferred_hard": 0.20,
    "margin_score": 0.01,
}


_TIES = "ties"  # the subset, in lower case, whose prompts come as twins "ref:n" and "tied:n"


def best_of_table(rewards: FloatArray, pairs: PairTable) -> pd.DataFrame:
    """Scores of a reward model on rows that hold a right response and several wrong ones, as RewardBench 2.

    Parameters
    ----------
    rewards : (n_responses,) array
        Reward of each response of the pairs.
    pairs : PreferencePairs
        All pairs of a row together, chosen against rejected, as the layout ``rewardbench2`` reads them.

    Returns
    -------
    DataFrame
        ``subset``, ``prompts`` (rows of the file), ``responses`` (mean number a row) and ``score``. The first
        row, "all", has the mean of the scores of the subsets, each counted alike. The score is that of
        :func:`ties_score` for the subset Ties, and the mean of :func:`best_of_n` for every other.

    Raises
    ------
    ValueError
        If a row is not one of right responses against wrong ones, or Ties have no ids ``ref:n`` and
        ``tied:n``.

    Examples
    --------
    >>> from lambdamart_kit.preferences import PreferencePairs
    >>> pairs = PreferencePairs.read([{"prompt": "p", "chosen": ["a"], "rejected": ["b", "c", "d"]}])
    >>> best_of_table(np.array([2.0, 1.0, 2.0, 0.0]), pairs)["score"].tolist()
    [0.5, 0.5]
    """
    if (pairs.rows[:, 0] != pairs.rows[:, 1]).any() or (pairs.target != 1.0).any():
        raise ValueError(
            "'pairs' must come from rows that hold right and wrong responses, as RewardBench 2 has them, "
            "without ties"
        )
    known = pairs.columns
    table = pd.DataFrame(
        {
            "row": pairs.rows[:, 0],
            "chosen": pairs.chosen,
            "rejected": pairs.rejected,
            "subset": known["subset"].astype(str).to_numpy() if "subset" in known else "all rows",
            "id": known["id"].astype(str).to_numpy() if "id" in known else "",
        }
    )
    lines = []
    for subset, part in table.groupby("subset", sort=True):
        rows = [group for _, group in part.groupby("row", sort=True)]
        right = [group["chosen"].unique() for group in rows]
        wrong = [group["rejected"].unique() for group in rows]
        scores = [rewards[np.concatenate(both)] for both in zip(right, wrong)]
        n_correct = [len(codes) for codes in right]
        if str(subset).lower() == _TIES:
            score = ties_score([group["id"].iloc[0] for group in rows], scores, n_correct).score
        else:
            score = float(best_of_n(scores, n_correct).mean())
        lines.append((str(subset), len(rows), float(np.mean([len(s) for s in scores])), score))
    columns = ["subset", "prompts", "responses", "score"]
    found = pd.DataFrame(lines, columns=columns)
    n_prompts = int(found["prompts"].sum())
    mean_size = float(found["prompts"] @ found["responses"]) / max(1, n_prompts)
    overall = pd.DataFrame([("all", n_prompts, mean_size, found["score"].mean())], columns=columns)
    return pd.concat([overall, found], ignore_index=True) if len(found) else overall


def best_of_n(scores: Sequence[ArrayLike], n_correct: Sequence[int] | None = None) -> FloatArray:
    """Credit of each prompt for giving a correct response the highest score.

    Parameters
    ----------
    scores : (n_prompts, k) array, or a list of arrays
        Scores of the responses of each prompt, the correct ones first: one of four in RewardBench 2.
    n_correct : list of int, optional
        Number of correct responses of each prompt; 1 when left out.

    Returns
    -------
    (n_prompts,) float64
        Share of correct ones among the responses with the highest score: 0 if a wrong one alone scores
        highest. Its mean over a subset is that subset's score.

    Raises
    ------
    ValueError
        If a prompt has fewer than two responses or a score is not finite.

    Examples
    --------
    >>> best_of_n([[3, 1, 2, 0], [1, 1, 0, 0], [0, 2, 1, 1]]).tolist()
    [1.0, 0.5, 0.0]
    """
    credit = np.empty(len(scores))
    for prompt, row in enumerate(_checked(scores)):
        best = row == row.max()
        correct = 1 if n_correct is None else n_correct[prompt]
        credit[prompt] = best[:correct].sum() / best.sum()
    return credit


class TiesScore(NamedTuple):
    """The Ties score and its parts, shares of prompts except `score` and `margin_score`.

    Attributes
    ----------
    score : float
        0.3 (tied accuracy + reference accuracy) + 0.2 (preferred + preferred hard) + 0.01 margin score.
    ref_accuracy, tied_accuracy : float
        Every correct answer outscores every wrong one, on prompts with one correct answer and with several.
    correctness_preferred : float
        The gap between the worst correct and the best wrong answer exceeds the spread of the correct ones.
    correctness_preferred_hard : float
        So does the smaller of that gap and the gap on the prompt's reference.
    margin_score : float
        Mean of tanh of that smaller gap over the spread, less one.
    """

    score: float
    ref_accuracy: float
    tied_accuracy: float
    correctness_preferred: float
    correctness_preferred_hard: float
    margin_score: float


def ties_score(ids: Sequence[str], scores: Sequence[ArrayLike], n_correct: Sequence[int]) -> TiesScore:
    """Score of the Ties subset of RewardBench 2.

    Parameters
    ----------
    ids : list of str
        ``ref:n`` for a prompt with one correct answer, ``tied:n`` for its twin with several.
    scores : list of arrays
        Scores of the answers to each prompt, the correct ones first.
    n_correct : list of int
        Number of correct answers.

    Returns
    -------
    TiesScore
        Margins are over prompts that have both twins.

    Raises
    ------
    ValueError
        If an id is of neither kind, a kind is missing, or a prompt lacks a correct or a wrong answer.

    Examples
    --------
    >>> ties_score(["ref:1", "tied:1"], [[5, 1, 0], [4, 3.5, 1]], [1, 2]).score
    1.0099932929973907
    """
    spread: dict[str, float] = {}
    gap: dict[str, dict[str, float]] = {"ref": {}, "tied": {}}
    for name, row, correct in zip(ids, _checked(scores), n_correct, strict=True):
        kind, _, number = str(name).partition(":")
        if kind not in gap or not number:
            raise ValueError(f"'ids' must be 'ref:n' or 'tied:n'; got {name!r}")
        if not 1 <= correct < len(row):
            raise ValueError(
                f"'n_correct' must leave a correct and a wrong answer; {name!r} has {correct} correct of "
                f"{len(row)}"
            )
        if number in gap[kind]:
            raise ValueError(f"'ids' must be different; {name!r} comes twice")
        gap[kind][number] = float(row[:correct].min() - row[correct:].max())
        if kind == "tied":
            spread[number] = float(np.ptp(row[:correct]))
    both = sorted(set(gap["ref"]) & set(gap["tied"]))
    if not both:
        raise ValueError("'ids' must hold a 'ref:n' and a 'tied:n' of the same n at least once")
    spreads = np.array([spread[n] for n in both])
    tied = np.array([gap["tied"][n] for n in both])
    smaller = np.minimum(tied, [gap["ref"][n] for n in both])
    with np.errstate(divide="ignore", invalid="ignore"):
        margins = np.nan_to_num(np.tanh(smaller / spreads - 1.0))
    parts = {
        "ref_accuracy": float(np.mean([g > 0 for g in gap["ref"].values()])),
        "tied_accuracy": float(np.mean([g > 0 for g in gap["tied"].values()])),
        "correctness_preferred": float(np.mean(tied > spreads)),
        "correctness_preferred_hard": float(np.mean(smaller > spreads)),
        "margin_score": float(margins.mean()),
    }
    return TiesScore(float(sum(_WEIGHTS[name] * value for name, value in parts.items())), **parts)


def _checked(scores: Sequence[ArrayLike]) -> list[FloatArray]:
    rows = [np.asarray(row, dtype=np.float64) for row in scores]
    for prompt, row in enumerate(rows):
        if row.ndim != 1 or len(row) < 2 or not np.isfinite(row).all():
            raise ValueError(
                f"'scores' must hold at least two finite scores a prompt; prompt {prompt} has {row.tolist()}"
            )
    return rows
