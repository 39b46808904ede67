"""What sways judges besides quality: position, style, and kinship between judge and model.

Where the models that wrote the responses are known, an effect is a covariate of a Bradley-Terry fit, so that
a strong model that is often shown first does not look like an advantage of the first place. Otherwise it is a
logistic regression on the votes alone, which is right if the better response is first as often as not.
Votes on one prompt may hang together; see :func:`lambdamart_kit.preferences.judges.logistic.with_tests`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from lambdamart_kit.core.typing import Array, FloatArray
from lambdamart_kit.preferences.judges.families import family
from lambdamart_kit.preferences.judges.judged import JudgedPairs
from lambdamart_kit.preferences.judges.logistic import (
    FEW_CLUSTERS,
    clusters_of,
    effect_table,
    with_tests,
)

FEW_VOTES = 20  # votes below which a judge gets no effect of its own
_MOST_JUDGES = 30  # that get an effect of their own, those with the most votes


def position_effect(votes: JudgedPairs) -> pd.DataFrame | None:
    """Advantage of the response shown first, over all votes and for each judge.

    Returns
    -------
    DataFrame or None
        ``judge`` ("all" first), ``votes``, ``first_wins`` (share of votes for the response shown first, ties
        half), ``estimate`` (log-odds), ``se``, ``z``, ``p``. Judges with fewer than 20 votes are in "all"
        only. None where no order is known.
    """
    shown = votes.take(votes.order_known)
    if len(shown) == 0:
        return None
    ones = pd.DataFrame({"all": np.ones(len(shown))})
    result = _with_shares(_fit(shown, ones), shown, {"all": np.ones(len(shown), dtype=bool)})
    by_judge = _judge_masks(shown)
    if by_judge:
        columns = pd.DataFrame({name: mask.astype(np.float64) for name, mask in by_judge.items()})
        columns = columns.loc[:, [_undecided(shown.outcome[mask]) for mask in by_judge.values()]]
        result = pd.concat([result, _with_shares(_fit(shown, columns), shown, by_judge)], ignore_index=True)
    return result.rename(columns={"term": "judge"})


def style_effect(votes: JudgedPairs) -> pd.DataFrame | None:
    """Log-odds that go with length, headers, lists and bold text, all together.

    Returns
    -------
    DataFrame or None
        ``term``, ``estimate`` (log-odds of a response that has all of what the two have against one that has
        none), ``se``, ``z``, ``p``. None without texts, or where responses do not differ.
    """
    style = votes.style()
    if style is None or style.empty or len(votes) == 0:
        return None
    table = _fit(votes, style)
    return None if table["estimate"].isna().all() else table


def self_preference(votes: JudgedPairs) -> pd.DataFrame | None:
    """Advantage that judges give to models of their own family, strengths of models taken into account.

    Returns
    -------
    DataFrame or None
        ``judge`` ("all" first, then each family that judged its own), ``votes`` (in which exactly one of the
        two models was of the judge's family), ``own_wins`` (share of them for that model), ``estimate``
        (log-odds), ``se``, ``z``, ``p``. Estimates are NaN where kinship cannot be told from strength: for a
        family judged by nobody but itself. None where no judge shares a family with a model.
    """
    named = votes.with_models()
    if named.judge is None or named.models is None or len(named) == 0:
        return None
    names = pd.unique(np.concatenate([named.models.ravel(), named.judge]))
    families = {name: family(name) for name in names if not pd.isna(name)}
    judge = np.array([families.get(name, "") for name in named.judge], dtype=object)
    first, second = (np.array([families[name] for name in side], dtype=object) for side in named.models.T)
    own = (first == judge).astype(np.float64) - (second == judge)
    if not own.any():
        return None
    masks = {"all": own != 0} | {
        name: (own != 0) & (judge == name) for name in pd.unique(judge[own != 0]).tolist()
    }
    own_outcome = np.where(own > 0, named.outcome, 1.0 - named.outcome)
    table = _fit(named, pd.DataFrame({"all": own}))
    if len(masks) > 2:
        columns = pd.DataFrame({n: np.where(mask, own, 0.0) for n, mask in masks.items() if n != "all"})
        table = pd.concat([table, _fit(named, columns)], ignore_index=True)
    rows = table["term"].tolist()
    table.insert(1, "votes", [int(masks[name].sum()) for name in rows])
    table.insert(2, "own_wins", [float(own_outcome[masks[name]].mean()) for name in rows])
    return table.rename(columns={"term": "judge"})


def swap_consistency(votes: JudgedPairs) -> pd.DataFrame | None:
    """How often the same judge prefers the same response after the two have changed places.

    Returns
    -------
    DataFrame or None
        ``judge`` ("all" first), ``pairs`` (judged in both orders), ``consistent`` (share with the same
        verdict), ``se``, ``for_first``, ``for_second`` (shares whose verdict stayed with the place instead).
        None where nothing was judged in both orders.
    """
    shown = votes.take(votes.order_known)
    if len(shown) == 0:
        return None
    low = np.minimum(shown.first, shown.second)
    table = pd.DataFrame(
        {
            "judge": "" if shown.judge is None else shown.judge,
            "prompt": shown.prompt,
            "low": low,
            "high": np.maximum(shown.first, shown.second),
            "low_first": shown.first == low,
            "vote": shown.outcome - 0.5,
        }
    )
    keys = ["judge", "prompt", "low", "high"]
    means = table.groupby([*keys, "low_first"], dropna=False)["vote"].mean().unstack("low_first")
    if means.shape[1] < 2:
        return None
    means = means.dropna()
    if len(means) == 0:
        return None
    # Votes for the first place: with the low response first, and with the high one first.
    one, other = np.sign(means[True].to_numpy()), np.sign(means[False].to_numpy())
    verdicts = pd.DataFrame(
        {
            "judge": means.index.get_level_values("judge"),
            "prompt": means.index.get_level_values("prompt"),
            "consistent": one == -other,
            "for_first": one + other > 0,
            "for_second": one + other < 0,
        }
    )
    groups = [("all", verdicts)]
    sizes = verdicts["judge"].value_counts()
    if shown.judge is not None and len(sizes) > 1:
        groups += [(str(n), verdicts[verdicts["judge"] == n]) for n in sizes.index[:_MOST_JUDGES]]
    return pd.DataFrame([_consistency(name, part) for name, part in groups])


def _consistency(name: str, part: pd.DataFrame) -> dict[str, object]:
    same = part["consistent"].to_numpy(np.float64)
    mean = float(same.mean())
    sums = part.assign(residual=same - mean).groupby("prompt")["residual"].sum()
    se = float(np.sqrt(np.sum(sums**2)) / len(part))
    if len(sums) < FEW_CLUSTERS:  # residuals sum to zero over a single prompt
        se = max(se, float(np.sqrt(mean * (1.0 - mean) / len(part))))
    return {
        "judge": name,
        "pairs": len(part),
        "consistent": mean,
        "se": se,
        "for_first": float(part["for_first"].mean()),
        "for_second": float(part["for_second"].mean()),
    }


def _judge_masks(votes: JudgedPairs) -> dict[str, Array]:
    """Votes of each judge with enough of them, the busiest first; none where judges are not known."""
    if votes.judge is None:
        return {}
    sizes = pd.Series(votes.judge).value_counts()
    if len(sizes) == 1:  # its votes are all votes
        return {}
    names = sizes.index[sizes >= FEW_VOTES][:_MOST_JUDGES]
    return {str(name): votes.judge == name for name in names}


def _undecided(outcome: FloatArray) -> bool:
    """Whether votes went both ways, so that their log-odds are finite."""
    return bool(0.0 < outcome.mean() < 1.0)


def _with_shares(table: pd.DataFrame, votes: JudgedPairs, masks: dict[str, Array]) -> pd.DataFrame:
    """Votes and the share of the first response of each mask, with its estimate where there is one."""
    shares = pd.DataFrame(
        {
            "term": list(masks),
            "votes": [int(mask.sum()) for mask in masks.values()],
            "first_wins": [float(votes.outcome[mask].mean()) for mask in masks.values()],
        }
    )
    return shares.merge(table, on="term", how="left")


def _fit(votes: JudgedPairs, columns: pd.DataFrame) -> pd.DataFrame:
    """Log-odds of each column with their tests; NaN where the votes do not determine them."""
    if columns.shape[1]:
        try:
            named = votes.with_models()
            if len(named) == len(votes):
                return _fit_with_strengths(votes, columns)
            return effect_table(columns, votes.outcome, votes.prompt)
        except ValueError:
            pass  # no finite estimate: said by NaN
    nothing = np.full(columns.shape[1], np.nan)
    return pd.DataFrame(
        {"term": list(columns), "estimate": nothing, "se": nothing, "z": nothing, "p": nothing}
    )


def _fit_with_strengths(votes: JudgedPairs, columns: pd.DataFrame) -> pd.DataFrame:
    from lambdamart_kit.preferences.strengths.bradley_terry import BradleyTerry

    # Models that never won or never lost have no finite strength: their votes say nothing of the columns.
    fitted = BradleyTerry(on_disconnected="components").fit(
        votes.models, votes.outcome, covariates=columns, groups=votes.prompt
    )
    clustered = fitted.coefficients(method="clustered")
    return with_tests(
        clustered["term"].tolist(),
        clustered["estimate"].to_numpy(),
        clustered["se"].to_numpy(),
        fitted.coefficients(method="sandwich")["se"].to_numpy(),
        clusters_of(columns.to_numpy(np.float64), votes.prompt),
    )
