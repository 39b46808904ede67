"""All tests of judges that a set of pairs allows, in one report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lambdamart_kit.core.typing import Array, Settings
from lambdamart_kit.preferences.judges.agreement import Agreement, alpha_of_codes
from lambdamart_kit.preferences.judges.effects import (
    FEW_VOTES,
    position_effect,
    self_preference,
    style_effect,
    swap_consistency,
)
from lambdamart_kit.preferences.judges.judged import JudgedPairs
from lambdamart_kit.preferences.pair_table import PairTable

if TYPE_CHECKING:
    from lambdamart_kit.preferences.strengths.goodness import GoodnessOfFit

_MOST_CROWD_VOTES = 200_000  # votes up to which reliabilities are fitted, for seconds and not minutes
_MANY_TESTS = 10  # from which a reader is told how many are below 0.05 by chance
_SHOWN = 10  # judges in the report for people

_NO_ESTIMATE = (
    "Where there is no estimate, the votes do not determine it: they all went one way, or the effect cannot "
    "be told from the strengths of the models."
)
TITLES = {
    "position": "Position: log-odds of the response shown first",
    "swap": "The same two responses in both orders: does the verdict stay?",
    "style": "Style: log-odds of a response that has all of it against one that has none",
    "self_preference": "Self-preference: log-odds of a model of the judge's own family",
    "reliability": "Reliability of judges (Crowd-BT): 1 votes as the strengths of all votes say, 0.5 is a "
    "coin, below 0.5 is for the weaker one",
}


@dataclass(frozen=True, eq=False)
class JudgeReport:
    """What the votes say of their judges; None where the data do not have what a test needs.

    Attributes
    ----------
    agreement : Agreement or None
        Krippendorff's alpha of votes on the same two responses (ordinal: a tie is between).
    position, swap, style, self_preference : DataFrame or None
        See the functions of :mod:`lambdamart_kit.preferences.judges.effects`.
    reliability : DataFrame or None
        ``judge``, ``votes``, ``reliability``, ``se`` by Crowd-BT, the least reliable first; judges of fewer
        than 20 votes are left out.
    scale : GoodnessOfFit or None
        Whether one strength a model describes the votes.
    """

    agreement: Agreement | None
    position: pd.DataFrame | None
    swap: pd.DataFrame | None
    style: pd.DataFrame | None
    self_preference: pd.DataFrame | None
    reliability: pd.DataFrame | None
    scale: GoodnessOfFit | None

    def __bool__(self) -> bool:
        return any(value is not None for value in vars(self).values())

    def verdict_on_scale(self) -> str:
        """Whether one strength a model describes the votes, in words; empty where that was not tested."""
        return "" if self.scale is None else self.scale.describe(groups="on one prompt")

    def to_dict(self) -> Settings:
        """All of it as JSON can say it."""
        found: dict[str, Any] = {}
        if self.agreement is not None:
            found["agreement"] = {name: _json(value) for name, value in vars(self.agreement).items()}
        for name in TITLES:
            table = getattr(self, name)
            if table is not None:
                found[name] = [
                    {key: _json(value) for key, value in row.items()} for row in table.to_dict("records")
                ]
        if self.scale is not None:
            worst = self.scale.hodge.worst_cycles(5, triangles_only=len(self.scale.hodge.triangles) > 0)
            found["scale"] = {
                "single_scale_rejected": self.scale.rejects(),
                "degrees_of_freedom": self.scale.degrees_of_freedom,
                "score": _json(self.scale.score),
                "p": _json(self.scale.p_value),
                "likelihood_ratio": _json(self.scale.likelihood_ratio),
                "p_likelihood_ratio": _json(self.scale.p_likelihood_ratio),
                "cyclic_share": self.scale.hodge.cyclicity,
                "worst_cycles": worst.to_dict("records"),
                "verdict": self.verdict_on_scale(),
            }
        return found

    def to_markdown(self) -> str:
        """The report as Markdown, a section a test; empty where there is nothing to say."""
        if not self:
            return ""
        lines = ["## Judges"]
        if self.agreement is not None:
            a = self.agreement
            lines += [
                "",
                f"Agreement (Krippendorff's alpha): {a.alpha:.3f} [{a.lower:.3f}, {a.upper:.3f}] on "
                f"{a.n_units} pairs with several votes. 1 is perfect, 0 is chance.",
            ]
        if self.scale is not None:
            lines += ["", self.verdict_on_scale()]
        for name, title in TITLES.items():
            table = getattr(self, name)
            if table is not None:
                lines += ["", f"{title}.", "", *_markdown(table)]
                lines += _chance_findings(table)
                if "estimate" in table and table["estimate"].isna().any():
                    lines += ["", _NO_ESTIMATE]
        return "\n".join(lines) + "\n"


def judge_report(pairs: PairTable, *, annotator: str | None = None) -> JudgeReport:
    """Run every test of judges for which `pairs` have the columns.

    Parameters
    ----------
    pairs : PreferencePairs
        Who judged is in `annotator` or a column such as ``judge``; the models in ``chosen_model`` and
        ``rejected_model``; which response was shown first in ``chosen_shown_first``.
    annotator : str, optional
        Column that says who judged.

    Returns
    -------
    JudgeReport
        A test is None where the columns do not allow it.

    Examples
    --------
    >>> from lambdamart_kit.preferences import PreferencePairs
    >>> rows = [{"prompt": p, "chosen": "a", "rejected": "b", "judge": j} for p in "pq" for j in ("x", "y")]
    >>> report = judge_report(PreferencePairs.read(rows))
    >>> report.position is None  # no column says which response was shown first
    True
    """
    votes = JudgedPairs.of(pairs, annotator)
    return JudgeReport(
        agreement=vote_agreement(votes),
        position=position_effect(votes),
        swap=swap_consistency(votes),
        style=style_effect(votes),
        self_preference=self_preference(votes),
        reliability=judge_reliability(votes),
        scale=scale_of_models(votes),
    )


def vote_agreement(votes: JudgedPairs, *, n_replicates: int = 500) -> Agreement | None:
    """Krippendorff's alpha of votes on the same two responses; None unless judges are known to share some.

    The first vote of a judge on a pair counts: agreeing with oneself is no agreement between judges.
    """
    if votes.judge is None:
        return None
    low = np.minimum(votes.first, votes.second)
    toward_low = np.where(votes.first == low, votes.outcome, 1.0 - votes.outcome)
    table = pd.DataFrame(
        {
            "low": low,
            "high": np.maximum(votes.first, votes.second),
            "vote": np.sign(toward_low - 0.5).astype(np.intp) + 1,
            "judge": votes.judge,
        }
    )
    table = table.dropna(subset="judge").drop_duplicates(["low", "high", "judge"])
    unit = table.groupby(["low", "high"], sort=False).ngroup().to_numpy()
    if len(unit) == 0 or np.bincount(unit).max() < 2:
        return None
    return alpha_of_codes(
        unit,
        table["vote"].to_numpy(),
        np.arange(3),
        level="ordinal",
        mirrored=True,
        n_replicates=n_replicates,
    )


def judge_reliability(votes: JudgedPairs) -> pd.DataFrame | None:
    """Reliability of each judge by Crowd-BT; None unless at least three judges share pairs.

    It is also None where no judge has votes enough. Items are the models where they are named, else the
    responses.
    """
    if votes.judge is None or len(votes) == 0 or len(votes) > _MOST_CROWD_VOTES:
        return None
    known = votes.take(~pd.isna(votes.judge))
    named = known.with_models()
    if len(named) == len(known) and named.models is not None:
        items = named.models
    else:
        items = np.column_stack([known.first, known.second])
    if known.judge is None or not _shared(items, known.judge):
        return None
    from lambdamart_kit.preferences.judges.crowd import CrowdBradleyTerry

    table = CrowdBradleyTerry().fit(items, known.outcome, known.judge).reliability()
    known_well = table[table["votes"] >= FEW_VOTES].reset_index(drop=True)
    return known_well if len(known_well) else None


def _shared(items: Array, judge: Array) -> bool:
    """Whether at least three judges voted, and most votes are on pairs that another judge voted on."""
    if len(pd.unique(judge)) < 3:
        return False
    code = pd.factorize(items.ravel())[0].reshape(items.shape)
    pair = code.min(axis=1) * (int(code.max()) + 1) + code.max(axis=1)
    n_judges = pd.Series(pd.factorize(judge)[0]).groupby(pair).transform("nunique")
    return bool((n_judges > 1).mean() > 0.5)


def scale_of_models(votes: JudgedPairs) -> GoodnessOfFit | None:
    """Whether one strength a model describes the votes; None without names of models, or without cycles."""
    named = votes.with_models()
    if named.models is None or len(named) == 0:
        return None
    from lambdamart_kit.preferences.strengths.bradley_terry import BradleyTerry

    try:
        fitted = BradleyTerry(on_disconnected="components").fit(
            named.models, named.outcome, groups=named.prompt
        )
    except ValueError:
        return None
    fit = fitted.goodness_of_fit(n_replicates=0)
    return fit if fit.degrees_of_freedom > 0 else None


def _chance_findings(table: pd.DataFrame) -> list[str]:
    """How many of many tests are below 0.05 by chance alone."""
    n_tests = int(table["p"].notna().sum()) if "p" in table and "judge" in table else 0
    if n_tests < _MANY_TESTS:
        return []
    return ["", f"Of {n_tests} tests, about {0.05 * n_tests:.0f} would have p below 0.05 by chance alone."]


def _markdown(table: pd.DataFrame) -> list[str]:
    shown = table.head(_SHOWN + 1)
    lines = [f"| {' | '.join(shown.columns)} |", "|" + "---|" * shown.shape[1]]
    for row in shown.to_dict("records"):
        lines.append(f"| {' | '.join(map(_cell, row.values()))} |")
    if len(table) > len(shown):
        lines.append(f"| ... {len(table) - len(shown)} more |" + " |" * (shown.shape[1] - 1))
    return lines


def _cell(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if np.isfinite(value) else ""


def _json(value: Any) -> Any:
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
