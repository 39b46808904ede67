"""The members of a blend, and their place in its file."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Features, FloatArray
from lambdamart_kit.explain.explained import Explained
from lambdamart_kit.export.model import TreeSum
from lambdamart_kit.rankers import saving
from lambdamart_kit.rankers.base import BaseRanker
from lambdamart_kit.trees.plain_tree import PlainTree, averaged


@dataclass(frozen=True, eq=False)
class CrossFit:
    """One model of a member, which has seen all folds but one.

    Attributes
    ----------
    model : BaseRanker
        Fitted.
    repeat, fold : int
        Which division into folds, and the fold that it has not seen.
    scale : float
        Root mean square deviation within queries of its scores there.
    seconds : float
        What the fit took.
    """

    model: BaseRanker
    repeat: int
    fold: int
    scale: float
    seconds: float

    def scaled_scores(self, X: Features) -> FloatArray:
        """Scores of the rows of a checked array, divided by `scale`."""
        return np.asarray(self.model._predict_rows(X), dtype=np.float64) / self.scale


@dataclass(eq=False)
class Member:
    """A member of the blend: the mean of its models.

    Attributes
    ----------
    name : str
        What the leaderboard calls it.
    fits : list of CrossFit
    weight : float
        Of the mean in the blend.
    """

    name: str
    fits: list[CrossFit] = field(default_factory=list)
    weight: float = 0.0

    @property
    def seconds(self) -> float:
        """What all its fits took."""
        return sum(fit.seconds for fit in self.fits)

    def scores(self, X: Features) -> FloatArray:
        """Mean of the scaled scores of its models."""
        total = np.zeros(X.shape[0])
        for fit in self.fits:
            total += fit.scaled_scores(X)
        return total / len(self.fits)

    def trees(self) -> list[PlainTree] | None:
        """Trees whose sum is `scores`; None if a model is no sum of trees."""
        sums = [plain_trees(fit.model) for fit in self.fits]
        factors = [1.0 / (len(self.fits) * fit.scale) for fit in self.fits]
        known = [trees for trees in sums if trees is not None]
        return averaged(known, factors) if len(known) == len(sums) else None


def explained(
    name: str, predict: Callable[[Any], FloatArray], parts: Sequence[tuple[BaseRanker, float]]
) -> Explained:
    """What explanations need to know of a sum of models, each times a factor.

    Shapley values are linear, so those of the sum are the sum of those of its parts. If a part has none of
    its own, explanations work on `predict`.

    Parameters
    ----------
    name : str
    predict : callable
        Scores of checked rows.
    parts : sequence of (BaseRanker, float)
        Fitted, on the same columns.
    """
    known = [model._explainable() for model, _ in parts]
    whole = Explained(name, predict, known[0].feature_names)
    own = [part.contributions for part in known if part.contributions is not None]
    if len(own) < len(known):
        return whole
    factors = [factor for _, factor in parts]

    def contributions(X: Features, background: Features = None) -> FloatArray:
        total: FloatArray = sum(f * of_part(X, background) for f, of_part in zip(factors, own))  # type: ignore[assignment]
        return total

    in_use = np.unique(np.concatenate([part.in_use for part in known]))
    return replace(whole, contributions=contributions, columns_in_use=in_use)


def plain_trees(model: BaseRanker) -> Sequence[PlainTree] | None:
    """Trees whose sum is the score of a fitted ranker; None if it is no sum of trees."""
    try:
        plain = model._exportable()
    except TypeError:
        return None
    return plain.trees if isinstance(plain, TreeSum) else None


def read_ranker(content: bytes, where: str) -> BaseRanker:
    """The ranker whose file has this content, whatever its class.

    Raises
    ------
    ModelFormatError
        If it is no ranker of the kit, or damaged.
    """
    found = saving.unpack(content, where)
    if found.class_name not in saving.RANKERS:
        raise saving.ModelFormatError(f"{where}: holds a {found.class_name}, which is no ranker of the kit")
    module = importlib.import_module(f"lambdamart_kit.rankers.{saving.RANKERS[found.class_name]}")
    ranker: BaseRanker = getattr(module, found.class_name).of_content(found, where)
    return ranker


def member_files(members: Sequence[Member]) -> dict[str, bytes]:
    """A part of the file for each model."""
    return {
        f"members/{at:03d}/{number:04d}.lmk": fit.model.to_bytes()
        for at, member in enumerate(members)
        for number, fit in enumerate(member.fits)
    }


def member_records(members: Sequence[Member]) -> list[dict[str, Any]]:
    """What the file says of the members besides their models."""
    return [
        {
            "name": member.name,
            "weight": member.weight,
            "fits": [[fit.repeat, fit.fold, fit.scale, fit.seconds] for fit in member.fits],
        }
        for member in members
    ]


def read_members(records: Sequence[dict[str, Any]], files: dict[str, bytes]) -> list[Member]:
    """The members that `member_records` and `member_files` wrote."""
    members = []
    for at, record in enumerate(records):
        fits = []
        for number, (repeat, fold, scale, seconds) in enumerate(record["fits"]):
            name = f"members/{at:03d}/{number:04d}.lmk"
            model = read_ranker(files[name], name)
            fits.append(CrossFit(model, int(repeat), int(fold), float(scale), float(seconds)))
        members.append(Member(str(record["name"]), fits, float(record["weight"])))
    return members
