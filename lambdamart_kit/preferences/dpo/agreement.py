"""What margins and log-prob columns tell: accuracy, agreement with a reward model, rows to distrust."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import rankdata

from lambdamart_kit.core.typing import ArrayLike, IndexArray
from lambdamart_kit.preferences.dpo.checks import aligned, finite, not_nan


def margin_accuracy(margin: ArrayLike) -> tuple[float, float]:
    """Share of pairs with a margin above 0, and the same with ties counted as half.

    Examples
    --------
    A policy equal to its reference has only ties:

    >>> margin_accuracy([0.0, 0.0])
    (0.0, 0.5)
    """
    m = not_nan(margin, "margin")
    if not len(m):
        raise ValueError("'margin' must hold at least one pair; got none")
    strict = float(np.mean(m > 0))
    return strict, strict + float(np.mean(m == 0)) / 2


class Agreement(NamedTuple):
    """How two rewards compare on the same pairs.

    `agreement` is the share of pairs that both order alike, `rank_correlation` Spearman's of the margins,
    `effective_beta` the least-squares slope through zero of implicit on explicit margins (the factor between
    their scales), `disagree` the pairs ordered differently, largest conflict first.
    """

    agreement: float
    rank_correlation: float
    effective_beta: float
    disagree: IndexArray


def compare_margins(implicit: ArrayLike, explicit: ArrayLike) -> Agreement:
    """Compare a policy's implicit reward margins with a reward model's.

    Conflict of a pair is the smaller of its two margins, each in units of its root mean square.

    Examples
    --------
    >>> result = compare_margins([0.1, -0.2, 0.3], [1.0, 2.0, 3.0])
    >>> round(result.agreement, 3), result.disagree.tolist()
    (0.667, [1])
    """
    a, b = finite(("implicit", implicit), ("explicit", explicit))
    if not len(a):
        raise ValueError("'implicit' must hold at least one pair; got none")
    disagree = np.flatnonzero(np.sign(a) * np.sign(b) < 0)
    scale_a = np.sqrt(np.mean(a**2)) or 1.0
    scale_b = np.sqrt(np.mean(b**2)) or 1.0
    conflict = np.minimum(np.abs(a[disagree]) / scale_a, np.abs(b[disagree]) / scale_b)
    ranks = rankdata(a), rankdata(b)
    varied = np.ptp(ranks[0]) > 0 and np.ptp(ranks[1]) > 0
    return Agreement(
        float(np.mean(np.sign(a) == np.sign(b))),
        float(np.corrcoef(*ranks)[0, 1]) if varied else float("nan"),
        float(a @ b / (b @ b)) if b @ b > 0 else float("nan"),
        disagree[np.argsort(-conflict, kind="stable")],
    )


def audit_logps(
    chosen_logps: ArrayLike,
    rejected_logps: ArrayLike,
    ref_chosen_logps: ArrayLike,
    ref_rejected_logps: ArrayLike,
) -> dict[str, IndexArray]:
    """Find what is wrong with log-prob columns: rows with each problem, by name.

    ``policy_equals_reference``: the loss is exactly log 2, because the policy never moved or the columns are
    copies. ``zero``: log-probs of 0 stand for missing ones. ``positive``: no log-prob is above 0.
    ``not_finite``.

    Examples
    --------
    >>> found = audit_logps([-1.0, 0.0], [-2.0, -3.0], [-1.0, -1.0], [-2.0, -2.5])
    >>> {name: rows.tolist() for name, rows in found.items()}
    {'policy_equals_reference': [0], 'zero': [1], 'positive': [], 'not_finite': []}
    """
    columns = aligned(
        ("chosen_logps", chosen_logps),
        ("rejected_logps", rejected_logps),
        ("ref_chosen_logps", ref_chosen_logps),
        ("ref_rejected_logps", ref_rejected_logps),
    )
    chosen, rejected, ref_chosen, ref_rejected = columns
    table = np.stack(columns)
    return {
        "policy_equals_reference": np.flatnonzero((chosen == ref_chosen) & (rejected == ref_rejected)),
        "zero": np.flatnonzero((table == 0).any(axis=0)),
        "positive": np.flatnonzero((table > 0).any(axis=0)),
        "not_finite": np.flatnonzero(~np.isfinite(table).all(axis=0)),
    }
