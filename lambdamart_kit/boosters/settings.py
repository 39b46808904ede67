"""Settings of boosted trees in the kit's names, and what each library calls them.

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

   grows leaf by leaf (``grow_policy="Lossguide"``). XGBoost is told ``grow_policy="lossguide",
   tree_method="hist"``.
.. [2] XGBoost has no smallest number of rows in a leaf: asking for one is an error.
.. [3] XGBoost's own default is 1. Its own ranking objectives give every pair twice LightGBM's hessian, so the
   same number cuts half as deep there, and the leaves come out half as large.
.. [4] LightGBM's own default is 0, XGBoost's 1, CatBoost's 3.
.. [5] Drawn anew for every tree (``bagging_freq=1``), as XGBoost does.
.. [6] CatBoost draws columns once for each level or node, not for each tree.

A setting that a library does not have may only keep its default; any other value is an error. The names of
each library are one mapping in its own module of `lambdamart_kit.boosters.gates`, and a test compares this
table with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from lambdamart_kit.core.typing import Settings

ParameterNames: TypeAlias = Mapping[str, str | None]
"""What a library calls each setting of `BoosterParams`; None if it has no such setting."""


@dataclass(frozen=True)
class BoosterParams:
    """Settings of boosted trees, in the kit's names; the module's docstring has the table.

    Attributes
    ----------
    n_estimators : int
        Trees to grow in this fit.
    monotone_constraints : tuple of {-1, 0, 1}, or None
        One entry a column.
    interaction_constraints : tuple of tuple of int, or None
        Groups of columns, in which every column is at least once: all columns of a path are in one group.
    categorical_features : tuple of int
        Columns that hold category codes.
    feature_names : tuple of str, or None
    split_criterion : {"newton", "least_squares"}
        What a split maximises: the second-order gain, or the fit to the gradients as in Burges (2010).
        Native trees only; libraries have "newton".
    schedule : callable, optional
        Learning rate of each round of this fit, which counts from 1; None for `learning_rate` in all.
    extra : mapping
        Settings in the library's own names, as the user passed them in 'booster_params'.
    network : mapping
        Settings that connect the workers of a cluster, in the library's own names. No user sets them.
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
    interaction_constraints: tuple[tuple[int, ...], ...] | None = None
    categorical_features: tuple[int, ...] = ()
    feature_names: tuple[str, ...] | None = None
    split_criterion: str = "newton"
    seed: int = 0
    n_threads: int = 1
    schedule: Callable[[int], float] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)


def translate(params: BoosterParams, names: ParameterNames, *, library: str) -> Settings:
    """The settings of `params` under the `names` of a library; ``params.extra`` is not among them.

    Raises
    ------
    ValueError
        If a setting that the library does not have is not at its default.

    Examples
    --------
    >>> translate(BoosterParams(learning_rate=0.3), {"learning_rate": "eta", "reg_alpha": None}, library="x")
    {'eta': 0.3}
    """
    settings: dict[str, Any] = {}
    defaults = BoosterParams()
    for kit_name, library_name in names.items():
        value = getattr(params, kit_name)
        default = getattr(defaults, kit_name)
        if library_name is not None:
            settings[library_name] = value
        elif value != default:
            raise ValueError(
                f"{kit_name!r} must be left at {default!r} with {library}, which has no such setting; "
                f"got {value!r}"
            )
    return settings


def safe_names(names: Sequence[str] | None) -> list[str] | None:
    """Feature names without the characters libraries refuse; None if that would make two names one.

    An empty name, which a column of a CSV file may have, becomes "_".
    """
    if names is None:
        return None
    cleaned = ["".join(c if c.isalnum() or c in "_-." else "_" for c in name) or "_" for name in names]
    return cleaned if len(set(cleaned)) == len(cleaned) else None
