"""The members that `AutoRanker` tries, in this order, and which of them a data set can have.

The order is such that the first seconds give a good answer: three members that differ as much as rankers can
(trees on NDCG, trees on pairs, a linear function) come first, and each next one adds what those before lack.
The settings of the trees were chosen on MQ2008, the MSLR sample and two more sets: 600 trees of 15 leaves at
a rate of .05, on 80 % of the queries and 60 % of the features, stopped on held-out queries.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from lambdamart_kit.core.typing import Settings
from lambdamart_kit.rankers.base import BaseRanker
from lambdamart_kit.rankers.saving import RANKERS

TREES: Mapping[str, Any] = MappingProxyType(
    {
        "n_estimators": 600,
        "num_leaves": 15,
        "learning_rate": 0.05,
        "subsample": 0.8,
        "colsample_bytree": 0.6,
        "reg_lambda": 1.0,
        "early_stopping_rounds": 50,
    }
)
STEPS: Mapping[str, Any] = MappingProxyType({"max_iter": 50, "early_stopping_rounds": 10})
EPOCHS: Mapping[str, Any] = MappingProxyType({"max_iter": 100, "early_stopping_rounds": 10})

# Linear and neural rankers copy and scale the features, and need fewer rows than trees.
_MOST_ROWS = 300_000


@dataclass(frozen=True)
class Facts:
    """What of the data decides which members it can have.

    Attributes
    ----------
    has_missing, has_categories, has_positions : bool
    """

    has_missing: bool = False
    has_categories: bool = False
    has_positions: bool = False


@dataclass(frozen=True)
class Recipe:
    """One member of the portfolio.

    Attributes
    ----------
    name : str
        What the leaderboard calls it.
    ranker : str
        Class of the ranker.
    settings : mapping
        Its parameters.
    cost : float
        Seconds of a fit against those of the first member, roughly; corrected by what fits are seen to take.
    most_rows : int or None
        It learns from whole queries of about so many rows, drawn anew for every fit.
    suits : callable
        Whether data of these `Facts` can have it.
    """

    name: str
    ranker: str
    settings: Mapping[str, Any]
    cost: float = 1.0
    most_rows: int | None = None
    suits: Callable[[Facts], bool] = lambda facts: True

    def make(self, **settings: Any) -> BaseRanker:
        """The unfitted ranker, with `settings` besides its own where it has such parameters."""
        module = importlib.import_module(f"lambdamart_kit.rankers.{RANKERS[self.ranker]}")
        ranker: BaseRanker = getattr(module, self.ranker)()
        known = ranker.get_params(deep=False)
        wanted: Settings = {**self.settings, **settings}
        ranker.set_params(**{name: value for name, value in wanted.items() if name in known})
        return ranker


def _is_plain(facts: Facts) -> bool:
    """Whether features are numbers that can be weighed: no missing values, no categories."""
    return not (facts.has_missing or facts.has_categories)


def _has_no_positions(facts: Facts) -> bool:
    """Whether labels are relevance: of the libraries' own objectives none allows for position bias."""
    return not facts.has_positions


def _trees(name: str, objective: str, *, cost: float = 1.0, **settings: Any) -> Recipe:
    return Recipe(name, "LambdaMART", {**TREES, "objective": objective, **settings}, cost)


_SYMMETRIC = {"grow_policy": "symmetric"}
_EXTRA = {"extra_trees": True}
PORTFOLIO: tuple[Recipe, ...] = (
    _trees("trees ndcg", "ndcg"),
    _trees("trees pairwise", "pairwise"),
    Recipe("linear ndcg", "LinearRanker", {**STEPS, "objective": "ndcg"}, 0.6, _MOST_ROWS, _is_plain),
    Recipe(
        "extra trees label",
        "LightGBMRanker",
        {**TREES, "objective": "regression", "booster_params": _EXTRA},
        suits=_has_no_positions,
    ),
    Recipe(
        "network pairwise", "NeuralRanker", {**EPOCHS, "objective": "pairwise"}, 2.0, _MOST_ROWS, _is_plain
    ),
    _trees("symmetric trees ndcg", "ndcg", booster_params=_SYMMETRIC),
    _trees("small trees pairwise", "pairwise", num_leaves=6),
    Recipe(
        "network ndcg log features",
        "NeuralRanker",
        {**EPOCHS, "objective": "ndcg", "input_transform": "log1p"},
        2.0,
        _MOST_ROWS,
        _is_plain,
    ),
    _trees("trees listnet", "listnet"),
    _trees("extra trees pairwise", "pairwise", booster="lightgbm", booster_params=_EXTRA),
    _trees("trees ndcg2++", "ndcg2++"),
    Recipe(
        "linear pairwise log features",
        "LinearRanker",
        {**STEPS, "objective": "pairwise", "input_transform": "log1p"},
        0.6,
        _MOST_ROWS,
        _is_plain,
    ),
)


def suitable(facts: Facts) -> list[Recipe]:
    """The members that data of these facts can have, in order.

    Examples
    --------
    >>> [recipe.name for recipe in suitable(Facts(has_missing=True))][:3]
    ['trees ndcg', 'trees pairwise', 'extra trees label']
    """
    return [recipe for recipe in PORTFOLIO if recipe.suits(facts)]
