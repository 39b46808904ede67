"""XGBoost's settings: which the kit passes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache

import numpy as np
import xgboost as xgb

from lambdamart_kit.boosters.gates.gate import Gate, Need, needs_value, owned_by_rankers, same_names
from lambdamart_kit.boosters.settings import ParameterNames
from lambdamart_kit.core.typing import Settings

PARAMETER_NAMES: ParameterNames = {
    "learning_rate": "eta",
    "num_leaves": "max_leaves",
    "max_depth": "max_depth",
    "min_child_samples": None,
    "min_child_weight": "min_child_weight",
    "min_split_gain": "gamma",
    "reg_lambda": "lambda",
    "reg_alpha": "alpha",
    "subsample": "subsample",
    "colsample_bytree": "colsample_bytree",
    "colsample_bynode": "colsample_bynode",
    "max_bin": "max_bin",
    "seed": "seed",
    "n_threads": "nthread",
    "split_criterion": None,
}
"""What XGBoost calls the settings of `BoosterParams`."""

OWNED = {
    **owned_by_rankers(PARAMETER_NAMES),
    "objective": "objective",
    "n_estimators": "n_estimators",
    "num_boost_round": "n_estimators",
    "monotone_constraints": "monotone_constraints",
    "interaction_constraints": "interaction_constraints",
    "enable_categorical": "categorical_features",
    "feature_types": "categorical_features",
    "early_stopping_rounds": "early_stopping_rounds",
    "eval_metric": "eval_metric",
    "disable_default_eval_metric": "eval_metric",
    "verbosity": "verbose",
}

_BY_POSITION = "pass 'position' to LambdaMART.fit, whose 'position_bias' says how it is allowed for"
ORDER_DEPENDENT = {"lambdarank_unbiased": _BY_POSITION, "lambdarank_bias_norm": _BY_POSITION}

_CLASSES = "it is for classification, and a ranker has one score a row"
_LINEAR = "it belongs to booster='gblinear', which grows no trees; use LinearRanker"
_LOSS = "it belongs to a loss that no ranker uses"
_TREES = "it changes trees that are there, and the kit grows new ones"

IDLE = {
    **dict.fromkeys(("num_class", "num_target", "multi_strategy", "scale_pos_weight"), _CLASSES),
    **dict.fromkeys(("feature_selector", "top_k", "tolerance", "max_row_perbatch"), _LINEAR),
    **dict.fromkeys(
        (
            "tweedie_variance_power",
            "huber_slope",
            "quantile_alpha",
            "expectile_alpha",
            "max_delta_step_poisson",
            "aft_loss_distribution",
            "aft_loss_distribution_scale",
        ),
        _LOSS,
    ),
    **dict.fromkeys(("process_type", "refresh_leaf", "updater", "updater_seq"), _TREES),
    "base_score": "scores start at 0, because a constant does not change a ranking",
    "boost_from_average": "scores start at 0, because a constant does not change a ranking",
    "missing": "NaN is what is missing",
    "feature_weights": "XGBoost takes it with the rows, and the kit does not pass it; use 'colsample_bytree'",
    "importance_type": "use 'feature_importances_', or ask 'booster_' for what you need",
    "callbacks": "it is no setting of XGBoost's training; use 'early_stopping_rounds' and 'verbose'",
    "validate_parameters": "the kit checks every name itself",
    "fail_on_invalid_gpu_id": "the kit refuses a device that is not there",
    "sketch_ratio": "only tree_method='approx' reads it, and the kit's data need 'hist'",
    "sparse_threshold": "XGBoost 2 and later read it nowhere",
    "extmem_single_page": "it is about XGBoost's external memory on a GPU; use 'fit_files'",
    "debug_synchronize": "it checks XGBoost's own workers against each other",
    "num_feature": "it is the number of columns of 'X'",
    "rng_state": "it is where XGBoost's random numbers stand; use 'random_state'",
    "num_trees": "it is what XGBoost counts; use the parameter 'n_estimators'",
}

_DART = needs_value("booster", "dart")
_RANKS = Need(
    "XGBoostRanker, whose objectives are XGBoost's own",
    lambda s: str(s.get("objective", "")).startswith("rank:"),
)
NEEDS = {
    **dict.fromkeys(("sample_type", "normalize_type", "rate_drop", "one_drop", "skip_drop"), _DART),
    **dict.fromkeys(
        (
            "lambdarank_num_pair_per_sample",
            "lambdarank_pair_method",
            "lambdarank_normalization",
            "lambdarank_score_normalization",
        ),
        _RANKS,
    ),
    "ndcg_exp_gain": needs_value("objective", "rank:ndcg"),
    "sampling_method": Need("'subsample' below 1", lambda s: s.get("subsample", 1.0) < 1),
}

VALUES = {"tree_method": ("hist",), "booster": ("gbtree", "dart")}

# Names that XGBoost takes but does not list in a configuration.
_UNLISTED = ("max_cached_hist_node",)
_PROBED = {"booster": "dart", "objective": "rank:ndcg", "tree_method": "hist"}


def configuration(settings: Settings) -> dict[str, str]:
    """What XGBoost makes of settings before it has seen data: every name it keeps, with its value."""
    rows = xgb.DMatrix(np.zeros((1, 1), dtype=np.float32), nthread=1)
    booster = xgb.Booster({"verbosity": 0, "nthread": 1, **settings}, cache=[rows])
    return dict(_leaves(json.loads(booster.save_config())))


def _leaves(tree: Settings) -> Iterator[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value)
        elif isinstance(value, str) and name != "name":
            yield name, value


@cache
def xgboost_gate() -> Gate:
    """The gate for XGBoost; its spellings are found by asking XGBoost which names move together."""
    kept = configuration(_PROBED)
    main_names = {*OWNED, *ORDER_DEPENDENT, *IDLE, *NEEDS, *VALUES}
    spellings = same_names([*main_names, *kept, *_UNLISTED, "device"])
    for name in kept:
        if name not in main_names:
            continue
        for other in _moved_with(name, kept):
            if other not in main_names:
                spellings[other] = name
    return Gate("XGBoost", spellings, OWNED, ORDER_DEPENDENT, IDLE, NEEDS, VALUES)


def _moved_with(name: str, kept: dict[str, str]) -> list[str]:
    """Names whose value changes when the number called `name` does: its other spellings."""
    try:
        value = float(kept[name])
    except ValueError:
        return []
    for other in (value + 1, value / 2):
        number = int(other) if value == int(value) and other == int(other) else other
        try:
            moved = configuration({**_PROBED, name: number})
        except xgb.core.XGBoostError:
            continue
        return [
            n
            for n in kept
            if n != name and kept[n] == kept[name] and moved.get(n) == moved[name] != kept[name]
        ]
    return []
