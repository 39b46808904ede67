"""Model specs: from ``lambdamart:pairwise@xgboost`` to an estimator and what to tune on it.

    spec = family [":" variant] ["@" booster]

A variant is the family's objective (or loss); a booster is whose trees learn it. ``str(spec)`` is canonical
and leaves defaults out, so one model has one name in every report and results file.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Settings


@dataclass(frozen=True)
class Between:
    """A parameter drawn between `low` and `high`, both reachable; on a log scale or not, whole or not."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def draw(self, rng: np.random.Generator) -> float | int:
        """One value; floats are rounded to three digits, so that what is printed is what was fitted."""
        low, high = (self.low - 0.5, self.high + 0.5) if self.whole else (self.low, self.high)
        value = np.exp(rng.uniform(np.log(low), np.log(high))) if self.log else rng.uniform(low, high)
        return int(np.clip(round(value), self.low, self.high)) if self.whole else float(f"{value:.3g}")


SearchSpace = Mapping[str, Between]

_GROWTH: SearchSpace = {
    "learning_rate": Between(0.02, 0.2, log=True),
    "num_leaves": Between(7, 63, log=True, whole=True),
    "reg_lambda": Between(0.01, 30.0, log=True),
    "subsample": Between(0.5, 1.0),
}
_ROWS, _HESSIAN = Between(5, 100, log=True, whole=True), Between(0.001, 10.0, log=True)
_FEATURES = Between(0.4, 1.0)
# Six parameters whoever grows the trees, the shared ones with the same draws: the same budget for all.
# XGBoost has no least number of rows in a leaf, and CatBoost draws features for each node only.
TREE_SPACES: Mapping[str, SearchSpace] = {
    "lightgbm": {**_GROWTH, "min_child_samples": _ROWS, "colsample_bytree": _FEATURES},
    "xgboost": {**_GROWTH, "min_child_weight": _HESSIAN, "colsample_bytree": _FEATURES},
    "catboost": {**_GROWTH, "min_child_samples": _ROWS, "colsample_bynode": _FEATURES},
}
_TREES: Mapping[str, Any] = {"n_estimators": 500, "early_stopping_rounds": 50}
# Penalties are against the mean loss of a query, which is a sum over pairs for some objectives: a wide range.
NEURAL_SPACE: SearchSpace = {
    "learning_rate": Between(2e-4, 2e-2, log=True),
    "reg_lambda": Between(1e-5, 0.1, log=True),
    "batch_size": Between(4, 64, log=True, whole=True),
}
LINEAR_SPACE: SearchSpace = {"reg_lambda": Between(1e-5, 100.0, log=True)}
_EPOCHS: Mapping[str, Any] = {"max_iter": 200, "early_stopping_rounds": 20}
_QUICK_EPOCHS: Mapping[str, Any] = {"max_iter": 40, "early_stopping_rounds": 10}
_STEPS: Mapping[str, Any] = {"max_iter": 50, "early_stopping_rounds": 10}
_QUICK_TREES: Mapping[str, Any] = {"n_estimators": 100, "early_stopping_rounds": 20}


@dataclass(frozen=True)
class Candidate:
    """A model to compare: a name, an unfitted estimator, and what tuning may change.

    Parameters
    ----------
    name : str
        How reports call it.
    estimator : object
        Unfitted, with the kit's contract: ``fit(X, y, qid, X_val=, y_val=, qid_val=)`` and ``predict(X)``.
    space : dict
        Parameter name to :class:`Between`; empty when there is nothing to tune.

    Examples
    --------
    >>> from lambdamart_kit.rankers import LinearRanker
    >>> Candidate("linear", LinearRanker(), {"reg_lambda": Between(0.1, 1.0)}).settings(1, seed=0)
    [{}]
    """

    name: str
    estimator: Any
    space: SearchSpace = field(default_factory=dict)

    def settings(self, n_settings: int, seed: int) -> list[Settings]:
        """The defaults, then random draws: `n_settings` in all, or one if nothing can be tuned.

        Parameters
        ----------
        n_settings : int
            How many to try, the defaults included.
        seed : int
            Of the draws.

        Returns
        -------
        list of dict
            Parameters by name; an empty dict is the defaults.
        """
        rng = np.random.default_rng(seed)
        drawn = [
            {name: between.draw(rng) for name, between in self.space.items()} for _ in range(n_settings - 1)
        ]
        return [{}, *drawn] if self.space else [{}]


@dataclass(frozen=True)
class Family:
    """What the parser knows of a family of models.

    Attributes
    ----------
    estimator : str
        Class, as ``module:name``, imported when it is asked for.
    variant_parameter : str
        Estimator parameter that takes the variant; empty when there are none.
    variants, boosters : callable
        Their names; the first is the default.
    alias : callable
        What users may write for a variant, to its name here.
    fixed, quick : dict
        Parameters of every fit, and of a quick one.
    space : callable
        What tuning may change, given the booster.
    requires : str
        Module of an optional extra.
    """

    estimator: str
    variant_parameter: str = ""
    variants: Callable[[], tuple[str, ...]] = tuple
    boosters: Callable[[], tuple[str, ...]] = tuple
    alias: Callable[[str], str] = str.strip
    fixed: Mapping[str, Any] = field(default_factory=lambda: _TREES)
    quick: Mapping[str, Any] = field(default_factory=lambda: _QUICK_TREES)
    space: Callable[[str], SearchSpace] = lambda booster: {}
    requires: str = ""

    def load(self) -> Any:
        """The estimator class."""
        module, name = self.estimator.split(":")
        return getattr(importlib.import_module(module), name)


def _objectives(default: str) -> Callable[[], tuple[str, ...]]:
    """Every objective that labels define, `default` first."""

    def names() -> tuple[str, ...]:
        from lambdamart_kit.objectives import OBJECTIVES

        return (default, *sorted(set(OBJECTIVES) - {default}))

    return names


def _boosters() -> tuple[str, ...]:
    from lambdamart_kit.boosters.registry import boosters_that_can
    from lambdamart_kit.rankers import LambdaMART

    default = LambdaMART().booster
    return (default, *sorted(set(boosters_that_can("runs_objectives")) - {default}))


FAMILIES: dict[str, Family] = {
    "lambdamart": Family(
        "lambdamart_kit.rankers:LambdaMART",
        "objective",
        _objectives("ndcg"),
        _boosters,
        space=lambda booster: TREE_SPACES.get(booster, TREE_SPACES["lightgbm"]),
    ),
    "lightgbm": Family(
        "lambdamart_kit.rankers:LightGBMRanker",
        "objective",
        lambda: ("lambdarank", "rank_xendcg"),
        space=lambda _: TREE_SPACES["lightgbm"],
    ),
    "xgboost": Family(
        "lambdamart_kit.rankers:XGBoostRanker",
        "objective",
        lambda: ("rank:ndcg", "rank:pairwise", "rank:map"),
        alias=lambda name: name if name.startswith("rank:") else f"rank:{name}",
        space=lambda _: TREE_SPACES["xgboost"],
    ),
    "catboost": Family(
        "lambdamart_kit.rankers:CatBoostRanker",
        "loss",
        lambda: ("YetiRank", "YetiRankPairwise", "PairLogit", "QueryRMSE", "QuerySoftMax"),
        space=lambda _: TREE_SPACES["catboost"],
        requires="catboost",
    ),
    "neural": Family(
        "lambdamart_kit.rankers:NeuralRanker",
        "objective",
        _objectives("pairwise"),
        fixed=_EPOCHS,
        quick=_QUICK_EPOCHS,
        space=lambda _: NEURAL_SPACE,
    ),
    "linear": Family(
        "lambdamart_kit.rankers:LinearRanker",
        "objective",
        _objectives("ndcg"),
        fixed=_STEPS,
        quick=_STEPS,
        space=lambda _: LINEAR_SPACE,
    ),
    # A budget in fits, so that a comparison can be repeated; 60 fits are its whole portfolio once.
    "auto": Family(
        "lambdamart_kit.rankers:AutoRanker",
        fixed={"budget": "fits=60"},
        quick={"budget": "fits=10"},
    ),
    # The same trees and the same early stopping as the others, with nothing but the loss replaced.
    "pointwise": Family(
        "lambdamart_kit.rankers:LightGBMRanker",
        "objective",
        lambda: ("regression",),
        space=lambda _: TREE_SPACES["lightgbm"],
    ),
}
DEFAULT_MODELS = ("lambdamart", "lambdamart:pairwise", "lightgbm", "xgboost", "catboost", "pointwise")


@dataclass(frozen=True)
class ModelSpec:
    """A parsed spec; ``str()`` is its canonical form.

    Examples
    --------
    >>> str(parse_model("xgboost:pairwise")), str(parse_model("lightgbm:lambdarank"))
    ('xgboost:rank:pairwise', 'lightgbm')
    """

    family: str
    variant: str = ""
    booster: str = ""

    def __str__(self) -> str:
        family = FAMILIES[self.family]
        shown = self.family
        if self.variant and self.variant != family.variants()[0]:
            shown += f":{self.variant}"
        if self.booster and self.booster != family.boosters()[0]:
            shown += f"@{self.booster}"
        return shown

    @property
    def missing(self) -> str:
        """The optional module this model needs and this machine lacks, or an empty string."""
        module = FAMILIES[self.family].requires
        return module if module and importlib.util.find_spec(module) is None else ""

    def candidate(self, *, quick: bool = False, **params: Any) -> Candidate:
        """The unfitted estimator with its search space; `params` it does not have are left out."""
        family = FAMILIES[self.family]
        estimator = family.load()()
        wanted = {**family.fixed, **(family.quick if quick else {}), **params}
        if self.variant:
            wanted[family.variant_parameter] = self.variant
        if self.booster:
            wanted["booster"] = self.booster
        known = estimator.get_params()
        estimator.set_params(**{name: value for name, value in wanted.items() if name in known})
        return Candidate(str(self), estimator, family.space(self.booster))


def parse_model(text: str) -> ModelSpec:
    """One spec.

    Raises
    ------
    ValueError
        If the family, variant or booster is unknown; the message lists all choices.
    """
    head, _, booster = text.strip().partition("@")
    name, _, variant = head.partition(":")
    family = FAMILIES.get(name)
    if family is None:
        raise ValueError(_unknown([text]))
    variants = family.variants()
    variant = family.alias(variant) if variant else (variants[0] if variants else "")
    boosters = family.boosters()
    booster = booster or (boosters[0] if boosters else "")
    if (variant and variant not in variants) or (booster and booster not in boosters):
        raise ValueError(_unknown([text]))
    return ModelSpec(name, variant, booster)


def parse_models(texts: Iterable[str]) -> list[ModelSpec]:
    """All specs, each model once, in the order given.

    Raises
    ------
    ValueError
        One error for all unknown names.
    """
    specs, bad = [], []
    for text in texts:
        try:
            specs.append(parse_model(text))
        except ValueError:
            bad.append(text)
    if bad:
        raise ValueError(_unknown(bad))
    if not specs:
        raise ValueError("'models' must name at least one model, e.g. lambdamart,lightgbm")
    return list(dict.fromkeys(specs))


def choices_table() -> list[dict[str, str]]:
    """One record a family: its name, its variants and its boosters, the first of each being the default."""
    return [
        {
            "model": name,
            "variants, after a colon": ", ".join(family.variants()),
            "trees, after @": ", ".join(family.boosters()),
        }
        for name, family in FAMILIES.items()
    ]


def _unknown(texts: list[str]) -> str:
    """The error for names that are not models, with the nearest ones that are."""
    hints = []
    for text in texts:
        family, _, variant = text.strip().partition("@")[0].partition(":")
        known = FAMILIES.get(family)
        among = list(FAMILIES) if known is None else [*known.variants()]
        near = difflib.get_close_matches(family if known is None else variant, among, n=3, cutoff=0.4)
        hints.append(f"{text!r}" + (f" (did you mean {' or '.join(near)}?)" if near else ""))
    families = ", ".join(FAMILIES)
    return (
        f"'models' must name models of the kit; got {', '.join(hints)}; there are {families}, and "
        "`lambdamart-kit bench -m ?` lists their variants"
    )
