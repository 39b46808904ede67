"""Parameters of the trees, checked once."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from lambdamart_kit.core.gains import check_choice

SplitCriterion = Literal["newton", "least_squares"]
GrowPolicy = Literal["leafwise", "symmetric"]


@dataclass(frozen=True, kw_only=True)
class TreeParameters:
    """How trees are grown; the names are scikit-learn's and LightGBM's.

    Parameters
    ----------
    num_leaves : int
        Most leaves of a tree.
    max_depth : int
        Most splits on a path; 0 or less is no limit.
    learning_rate : float
        Factor on every leaf value.
    min_child_samples : int
        Fewest rows of a leaf, a row counting as its hessian over the mean hessian of the leaf that is split:
        LightGBM's rule. With one hessian for all rows, with "least_squares" splits and in symmetric trees, it
        is their number.
    min_child_weight : float
        Least hessian of a leaf. Not used with ``split_criterion="least_squares"``.
    min_split_gain : float
        Least gain of a split.
    reg_lambda, reg_alpha : float
        L2 and L1 on leaf values.
    subsample : float
        Share of queries each tree is grown on, drawn anew for each tree.
    colsample_bytree, colsample_bynode : float
        Share of features a tree, and each node of it, may split on.
    monotone_constraints : tuple of int
        +1, 0 or -1 for each feature: scores must not fall, or not rise, in it. Empty is none.
    interaction_constraints : tuple of tuple of int
        Groups of columns: all features of a path from the root to a leaf are in one group. Groups may
        overlap, and a feature that is in none of them is not split on. Empty is no constraint.
    grow_policy : {"leafwise", "symmetric"}
        "leafwise" splits the leaf with the largest gain, as LightGBM; "symmetric" all leaves of a level
        alike, as CatBoost: `num_leaves` is then rounded down to a power of two, and features must be numeric
        and without constraints. See :mod:`lambdamart_kit.trees.growth.symmetric`.
    split_criterion : {"newton", "least_squares"}
        "newton" splits by ``G^2 / (H + lambda)``. "least_squares" fits the gradients and ignores hessians and
        regularisation until the leaves, which take a Newton step: LambdaMART as published [1]_.
    mvs_noise : float
        In the search for splits, rows with small gradient and hessian are sampled in proportion to them and
        weighted up (minimal variance sampling, :mod:`.quantising`), such that the variance added is at most
        this share of the gradients' own; 0 takes all rows. Leaf-wise trees with "newton" splits only, on at
        least 20,000 rows: with fewer, the noise is larger and the time saved small.
    cat_smooth, cat_l2 : float
        Categories are sorted by ``G / (H + cat_smooth)``; a split on them has ``cat_l2`` more L2.
    max_cat_threshold : int
        Most categories on the smaller side of a split.
    max_bin : int
        Most bins of a feature, 2 to 255; NaN has one more.
    seed : int
        Seed of rounding and sampling.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    References
    ----------
    .. [1] C. Burges, "From RankNet to LambdaRank to LambdaMART: An Overview", MSR-TR-2010-82, section 7.
    """

    num_leaves: int = 31
    max_depth: int = -1
    learning_rate: float = 0.1
    min_child_samples: int = 20
    min_child_weight: float = 1e-3
    min_split_gain: float = 0.0
    reg_lambda: float = 0.0
    reg_alpha: float = 0.0
    subsample: float = 1.0
    colsample_bytree: float = 1.0
    colsample_bynode: float = 1.0
    monotone_constraints: tuple[int, ...] = field(default=())
    interaction_constraints: tuple[tuple[int, ...], ...] = field(default=())
    grow_policy: GrowPolicy = "leafwise"
    split_criterion: SplitCriterion = "newton"
    mvs_noise: float = 0.2
    cat_smooth: float = 10.0
    cat_l2: float = 10.0
    max_cat_threshold: int = 32
    max_bin: int = 255
    seed: int = 0

    def __post_init__(self) -> None:
        for name in fields(self):
            _check(name.name, getattr(self, name.name))


# Least and largest value of each number. A leaf's number has 16 bits and a bin's has 8.
_RANGES: dict[str, tuple[float, float]] = {
    "num_leaves": (2, 65_535),
    "min_child_samples": (1, 2**31 - 1),
    "max_cat_threshold": (1, 255),
    "max_bin": (2, 255),
    "min_child_weight": (0, float("inf")),
    "min_split_gain": (0, float("inf")),
    "reg_lambda": (0, float("inf")),
    "reg_alpha": (0, float("inf")),
    "mvs_noise": (0, 1),
    "cat_smooth": (0, float("inf")),
    "cat_l2": (0, float("inf")),
}
# These must be above 0 and, except for the learning rate, at most 1.
_SHARES = ("learning_rate", "subsample", "colsample_bytree", "colsample_bynode")


def _check(name: str, value: object) -> None:
    if name in _RANGES:
        low, high = _RANGES[name]
        if not (isinstance(value, (int, float)) and low <= value <= high):
            raise ValueError(f"{name!r} must be from {low:g} to {high:g}; got {value!r}")
    elif name in _SHARES:
        top = float("inf") if name == "learning_rate" else 1.0
        if not (isinstance(value, (int, float)) and 0 < value <= top):
            raise ValueError(f"{name!r} must be above 0 and at most {top:g}; got {value!r}")
    elif name == "split_criterion":
        check_choice(value, ("newton", "least_squares"), name=name)
    elif name == "grow_policy":
        check_choice(value, ("leafwise", "symmetric"), name=name)
    elif name == "monotone_constraints" and not all(v in (-1, 0, 1) for v in value):  # type: ignore[attr-defined]
        raise ValueError(f"{name!r} must hold -1, 0 or 1 for each feature; got {value!r}")
