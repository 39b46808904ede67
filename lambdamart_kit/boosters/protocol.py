"""The learners behind one small protocol, and the one table that translates their parameters.

==================  =======================  ================  ===================  ===========
kit                 LightGBM                 XGBoost           CatBoost             default
==================  =======================  ================  ===================  ===========
learning_rate       learning_rate            eta               learning_rate        0.1
num_leaves          num_leaves               max_leaves        max_leaves [1]_      31
max_depth           max_depth (-1 = none)    max_depth (0)     depth [1]_           None
min_child_samples   min_data_in_leaf         --                min_data_in_leaf     None = 20 [2]_
min_child_weight    min_sum_hessian_in_leaf  min_child_weight  --                   1e-3 [3]_
min_split_gain      min_gain_to_split        gamma             --                   0
reg_lambda          lambda_l2                lambda            l2_leaf_reg          0 [4]_
reg_alpha           lambda_l1                alpha             --                   0
subsample           bagging_fraction [5]_    subsample         subsample            1
colsample_bytree    feature_fraction         colsample_bytree  --                   1
colsample_bynode    feature_fraction_bynode  colsample_bynode  rsm [6]_             1
max_bin             max_bin                  max_bin           border_count         255
==================  =======================  ================  ===================  ===========

.. [1] CatBoost: ``num_leaves=None`` grows symmetric trees of `max_depth` levels, its own default; a number
grows
   leaf by leaf (``grow_policy="Lossguide"``). XGBoost is told ``grow_policy="lossguide",
   tree_method="hist"``.
.. [2] XGBoost has no smallest number of rows in a leaf: asking for one is an error.
.. [3] XGBoost's own default is 1. Its own ranking objectives give every pair twice LightGBM's hessian, so the
   same number cuts half as deep there, and the leaves come out half as large.
.. [4] LightGBM's own default is 0, XGBoost's 1, CatBoost's 3.
.. [5] Drawn anew for every tree (``bagging_freq=1``), as XGBoost does.
.. [6] CatBoost draws columns once for each level or node, not for each tree.

A setting that a library does not have may only keep its default: anything else is a ValueError, never
ignored.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from lambdamart_kit.boosters.rounds import Callback, EvalSet
from lambdamart_kit.compile import collector_at_rest
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.objectives import Bound
from lambdamart_kit.trees.plain_tree import PlainTree

# kit name -> name in (LightGBM, XGBoost, CatBoost); None = the library has no such setting.
TRANSLATION: dict[str, dict[str, str | None]] = {
    kit: dict(zip(("lightgbm", "xgboost", "catboost"), names))
    for kit, names in {
        "learning_rate": ("learning_rate", "eta", "learning_rate"),
        "num_leaves": ("num_leaves", "max_leaves", "max_leaves"),
        "max_depth": ("max_depth", "max_depth", "depth"),
        "min_child_samples": ("min_data_in_leaf", None, "min_data_in_leaf"),
        "min_child_weight": ("min_sum_hessian_in_leaf", "min_child_weight", None),
        "min_split_gain": ("min_gain_to_split", "gamma", None),
        "reg_lambda": ("lambda_l2", "lambda", "l2_leaf_reg"),
        "reg_alpha": ("lambda_l1", "alpha", None),
        "subsample": ("bagging_fraction", "subsample", "subsample"),
        "colsample_bytree": ("feature_fraction", "colsample_bytree", None),
        "colsample_bynode": ("feature_fraction_bynode", "colsample_bynode", "rsm"),
        "max_bin": ("max_bin", "max_bin", "border_count"),
        "seed": ("seed", "seed", "random_seed"),
        "n_threads": ("num_threads", "nthread", "thread_count"),
    }.items()
}


@dataclass(frozen=True)
class BoosterParams:
    """Settings of boosted trees, in the kit's names; see the table in the module's docstring.

    Attributes
    ----------
    n_estimators : int
        Trees to grow in this fit.
    monotone_constraints : tuple of {-1, 0, 1}, or None
        One entry a column.
    categorical_features : tuple of int
        Columns that hold category codes.
    feature_names : tuple of str, or None
    split_criterion : {"newton", "least_squares"}
        What a split maximises: the second-order gain, or the fit to the gradients as in Burges (2010).
        Native trees only; libraries have "newton".
    extra : mapping
        Settings in the library's own names, passed on as they are.
    """

    n_estimators: int = 100
    learning_rate: float = 0.1
    num_leaves: int | None = 31
    max_depth: int | None = None
    min_child_samples: int | None = None
    min_child_weight: float = 1e-3
    min_split_gain: float = 0.0
    reg_lambda: float = 0.0
    reg_alpha: float = 0.0
    subsample: float = 1.0
    colsample_bytree: float = 1.0
    colsample_bynode: float = 1.0
    max_bin: int = 255
    monotone_constraints: tuple[int, ...] | None = None
    categorical_features: tuple[int, ...] = ()
    feature_names: tuple[str, ...] | None = None
    split_criterion: str = "newton"
    seed: int = 0
    n_threads: int = 1
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class LibraryObjective:
    """An objective that the library computes itself, and the labels it needs.

    Attributes
    ----------
    name : str
        In the library's words, such as ``"lambdarank"`` or ``"rank:ndcg"``.
    y : (n_samples,) float64
    queries : Queries
    sample_weight : (n_samples,) float64, or None
        Constant within a query.
    options : mapping
        Settings of the objective in the library's own names.
    """

    name: str
    y: FloatArray
    queries: Queries
    sample_weight: FloatArray | None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def query_weight(self) -> FloatArray | None:
        """One weight a query, or None."""
        return None if self.sample_weight is None else self.sample_weight[self.queries.ptr[:-1]]


class Model(Protocol):
    """A fitted ensemble of trees."""

    @property
    def raw(self) -> Any:
        """The library's own model."""

    @property
    def n_trees(self) -> int:
        """Number of trees."""

    def predict(
        self, X: Any, *, iteration_range: tuple[int, int] | None = None, n_threads: int = 1
    ) -> FloatArray:
        """Scores of the rows of X, (n_samples,) float64; of trees ``start:stop`` only, if given."""

    def with_categories(self, categories: Mapping[int, Sequence[Any]]) -> Any:
        """The library's own model, told what the codes 0, 1, ... of columns stand for.

        So it finds the codes of a data frame itself, whatever the order of the categories in there.
        """

    def truncate(self, n_trees: int) -> Model:
        """The model with its first `n_trees` trees."""

    def gain(self) -> FloatArray:
        """Total split gain of each feature, (n_features,)."""

    def plain_trees(self) -> list[PlainTree]:
        """The trees without the library, as exports read them; their leaves sum to the scores.

        Raises
        ------
        ValueError
            If the scores are not a sum of leaves.
        """

    def to_bytes(self) -> bytes:
        """The model in the library's own text format."""

    @classmethod
    def from_bytes(cls, content: bytes) -> Model:
        """The model that `to_bytes` wrote."""


class SumOfTrees(ABC):
    """A `Model` that says how its library scores a run of trees."""

    @property
    @abstractmethod
    def n_trees(self) -> int:
        """Number of trees."""

    @abstractmethod
    def _scores(self, X: Any, start: int, stop: int, n_threads: int) -> FloatArray:
        """Scores of the trees ``start:stop``, at least one."""

    def predict(
        self, X: Any, *, iteration_range: tuple[int, int] | None = None, n_threads: int = 1
    ) -> FloatArray:
        """Scores of the rows of X, (n_samples,) float64; of trees ``start:stop`` only, if given."""
        start, stop = iteration_range or (0, self.n_trees)
        return self._scores(X, start, stop, n_threads) if stop > start else np.zeros(X.shape[0])

    def with_categories(self, categories: Mapping[int, Sequence[Any]]) -> Any:
        """The library's own model, as it is: most libraries keep no names of categories."""
        model: Any = self
        return model.raw

    def plain_trees(self) -> list[PlainTree]:
        """The trees without the library; a model that does not say them cannot be exported."""
        raise TypeError(f"{type(self).__name__} cannot be exported: it has no 'plain_trees'")


class Booster(Protocol):
    """A learner of trees.

    Attributes
    ----------
    model : type
        Class of the fitted model.
    reads_views : bool
        Whether X may be a :class:`~lambdamart_kit.core.rows.RowView`, which saves the copy in order.
    """

    model: type[Model]
    reads_views: bool

    def fit(
        self,
        X: Any,
        bound: Bound | LibraryObjective,
        params: BoosterParams,
        *,
        queries: Queries | None = None,
        eval_sets: Sequence[EvalSet] = (),
        callbacks: Sequence[Callback] = (),
        start: Model | None = None,
    ) -> Model:
        """Grow ``params.n_estimators`` trees on ordered rows, or fewer if a callback says stop.

        Parameters
        ----------
        X : (n_samples, n_features) float32 array or CSR matrix
            Ordered rows.
        bound : Bound or LibraryObjective
        params : BoosterParams
        queries : Queries, optional
            Of the ordered rows. Native trees draw whole queries where libraries draw rows (`subsample`).
        eval_sets : sequence of EvalSet
            Measured after every round.
        callbacks : sequence of callable
            Called by `finish_round` after every round; rounds are counted from 1 in this fit.
        start : Model, optional
            Trees to continue from; the returned model contains them.
        """


# Name -> "module:class"; a library is imported when its booster is asked for.
BOOSTERS = {
    "native": "lambdamart_kit.boosters.native:NativeBooster",
    "lightgbm": "lambdamart_kit.boosters.lightgbm:LightGBMBooster",
    "xgboost": "lambdamart_kit.boosters.xgboost:XGBoostBooster",
    "catboost": "lambdamart_kit.boosters.catboost:CatBoostBooster",
}


def find_booster(name: str) -> Booster:
    """The booster of that name.

    Raises
    ------
    ImportError
        If its library is not installed.
    """
    if name not in BOOSTERS:
        raise ValueError(f"'booster' must be one of {', '.join(map(repr, BOOSTERS))}; got {name!r}")
    module, _, attribute = BOOSTERS[name].partition(":")
    with collector_at_rest:
        found: Booster = getattr(importlib.import_module(module), attribute)()
    return found


def read_model(booster: str, content: bytes) -> Model:
    """The model of that booster which `Model.to_bytes` wrote."""
    return find_booster(booster).model.from_bytes(content)


def translate(params: BoosterParams, library: str, *, skip: Sequence[str] = ()) -> dict[str, Any]:
    """The settings of `params` in the names of `library`, with ``params.extra`` on top.

    Settings in `skip` are left out: the caller translates those itself.

    Raises
    ------
    ValueError
        If a setting that the library does not have is not at its default, or ``params.extra`` holds a
        setting that has a name in the kit.
    """
    settings: dict[str, Any] = {}
    defaults = BoosterParams()
    for kit, names in TRANSLATION.items():
        value, name = getattr(params, kit), names[library]
        if name is None:
            if value != getattr(defaults, kit):
                raise ValueError(
                    f"{kit!r} must be left at {getattr(defaults, kit)!r} with {library}, which has no such "
                    f"setting; got {value!r}"
                )
        elif name in params.extra:
            raise ValueError(f"'booster_params' must not hold {name!r}; use the parameter {kit!r}")
        elif kit not in skip:
            settings[name] = value
    if params.split_criterion != "newton":
        raise ValueError(
            f"'split_criterion' must be 'newton' with {library}; got {params.split_criterion!r}, "
            "which only booster='native' has"
        )
    return {**settings, **params.extra}


def safe_names(names: Sequence[str] | None) -> list[str] | None:
    """Feature names without the characters libraries refuse; None if that would make two names one."""
    if names is None:
        return None
    cleaned = ["".join(c if c.isalnum() or c in "_-." else "_" for c in name) for name in names]
    return cleaned if len(set(cleaned)) == len(cleaned) else None
