"""What a policy would show, row by row of a log: by scores of candidates, or by a policy in a file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lambdamart_kit.cli.exploring.tables import column, ids, matrix, numbers
from lambdamart_kit.core.typing import Array, FloatArray, IndexArray

if TYPE_CHECKING:
    import pandas as pd

# The column in which a table gets the policy's probability of what was shown.
TARGET = "_target"


def by_scores(table: pd.DataFrame, scores: str, qid: str, shown: str, beta: float | None) -> pd.DataFrame:
    """Rows that were shown, with their probability under a policy that follows scores.

    Parameters
    ----------
    table : DataFrame
        A row for each candidate.
    scores : str
        Column of scores.
    qid, shown : str
        Columns that say whose candidate a row is, and whether it was shown.
    beta : float or None
        Temperature; None shows the best candidate, and each of several best ones equally often.
    """
    from lambdamart_kit.explore import boltzmann

    values = numbers(table, scores, "--scores")

    def probabilities(rows: IndexArray) -> FloatArray:
        lists = values[rows]
        if beta is not None:
            return boltzmann(lists, beta=beta)
        best = lists == lists.max(axis=1, keepdims=True)
        return np.asarray(best / best.sum(axis=1, keepdims=True))

    return _of_candidates(table, qid, shown, probabilities)


def by_policy(table: pd.DataFrame, path: str, features: str, qid: str, shown: str) -> pd.DataFrame:
    """Rows that were shown, with their probability under a policy in a file.

    Parameters
    ----------
    table : DataFrame
        A row for each candidate; for a policy with arms, a row for each context.
    path : str
        The policy's file.
    features : str
        Columns of what the policy sees.
    qid, shown : str
        Columns that say whose candidate a row is, and whether it was shown; for a policy with arms, `shown`
        names the arm.
    """
    from lambdamart_kit.explore import load_policy
    from lambdamart_kit.explore.evaluation.log import policy_probabilities

    policy = load_policy(path)
    seen = matrix(table, features, "--features")
    expected = getattr(policy, "n_features_in_", seen.shape[1])
    if seen.shape[1] != expected:
        raise ValueError(
            f"--features must name the {expected} columns that the policy of {path} knows; got "
            f"{seen.shape[1]}"
        )
    arms = getattr(policy, "arms", None)
    if arms is None:
        return _of_candidates(
            table,
            qid,
            shown,
            lambda rows: policy_probabilities(policy, seen[rows]),  # type: ignore[arg-type]
        )
    names = [str(arm) for arm in arms]
    chosen = column(table, shown, "--shown").astype(str)
    unknown = sorted(set(chosen) - set(names))
    if unknown:
        raise ValueError(
            f"--shown names the column {shown!r}, which must hold arms of the policy ({', '.join(names)}); "
            "it "
            f"holds {unknown[0]!r}"
        )
    place = {name: i for i, name in enumerate(names)}
    found = policy_probabilities(policy, seen)  # type: ignore[arg-type]
    at = np.array([place[name] for name in chosen])
    return table.assign(**{TARGET: found[np.arange(len(table)), at]})


def _of_candidates(
    table: pd.DataFrame, qid: str, shown: str, probabilities: Callable[[IndexArray], FloatArray]
) -> pd.DataFrame:
    """Rows that were shown, with what `probabilities` says of them.

    `probabilities` gets the rows of lists of one length, (n_lists, n_candidates), and returns as many
    numbers.
    """
    was_shown = numbers(table, shown, "--shown")
    if not np.isin(was_shown, (0.0, 1.0)).all():
        raise ValueError(f"--shown names the column {shown!r}, which must hold 0 and 1 only")
    owner = ids(table, qid, "--qid")
    lists = list(table.groupby(owner, sort=False).indices.values())
    for rows in lists:
        if was_shown[rows].sum() != 1:
            raise ValueError(
                f"--shown must be 1 for one candidate of each {qid}; {owner[rows[0]]!r} has "
                f"{int(was_shown[rows].sum())}"
            )
    target = np.empty(len(table))
    lengths = np.array([len(rows) for rows in lists])
    # Lists of one length are one array, and a policy is asked once for each length, not for each list.
    for length in np.unique(lengths):
        rows = np.array([rows for rows in lists if len(rows) == length])
        target[rows] = probabilities(rows)
    kept: Array = was_shown == 1
    return table.loc[kept].assign(**{TARGET: target[kept]})
