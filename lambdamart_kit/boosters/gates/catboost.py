"""CatBoost's settings: which the kit passes on."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import catboost as cb

from lambdamart_kit.boosters.gates.gate import Gate, Need, needs_value, owned_by_rankers
from lambdamart_kit.boosters.settings import ParameterNames

PARAMETER_NAMES: ParameterNames = {
    "learning_rate": "learning_rate",
    "num_leaves": "max_leaves",
    "max_depth": "depth",
    "min_child_samples": "min_data_in_leaf",
    "min_child_weight": None,
    "min_split_gain": None,
    "reg_lambda": "l2_leaf_reg",
    "reg_alpha": None,
    "subsample": "subsample",
    "colsample_bytree": None,
    "colsample_bynode": "rsm",
    "max_bin": "border_count",
    "seed": "random_seed",
    "n_threads": "thread_count",
    "split_criterion": None,
}
"""What CatBoost calls the settings of `BoosterParams`."""

OWNED = {
    **owned_by_rankers(PARAMETER_NAMES),
    "loss_function": "loss",
    "iterations": "n_estimators",
    "monotone_constraints": "monotone_constraints",
    "cat_features": "categorical_features",
    "od_wait": "early_stopping_rounds",
    "od_type": "early_stopping_rounds",
    "od_pval": "early_stopping_rounds",
    "use_best_model": "early_stopping_rounds",
    "best_model_min_trees": "early_stopping_rounds",
    "eval_fraction": "validation_fraction",
    "eval_metric": "eval_metric",
    "custom_metric": "eval_metric",
    "metric_period": "verbose",
    "verbose": "verbose",
    "silent": "verbose",
    "logging_level": "verbose",
}

ORDER_DEPENDENT = {
    "has_time": "leave it out; to test on later queries, pass them as 'X_val', 'y_val' and 'qid_val'",
}

_CLASSES = "it is for classification, and a ranker has one score a row"
_NUMBERS = "the kit hands CatBoost numbers and categories only"
_FILES = "the kit keeps CatBoost from writing files; use 'save' for the model"

IDLE = {
    **dict.fromkeys(
        (
            "classes_count",
            "class_weights",
            "auto_class_weights",
            "class_names",
            "scale_pos_weight",
            "target_border",
        ),
        _CLASSES,
    ),
    **dict.fromkeys(
        (
            "text_features",
            "tokenizers",
            "dictionaries",
            "feature_calcers",
            "text_processing",
            "embedding_features",
        ),
        _NUMBERS,
    ),
    **dict.fromkeys(
        (
            "allow_writing_files",
            "train_dir",
            "save_snapshot",
            "snapshot_file",
            "snapshot_interval",
            "output_borders",
            "name",
        ),
        _FILES,
    ),
    "callback": "the kit has its own; use 'early_stopping_rounds' and 'verbose'",
    "device_config": "CatBoost itself has dropped it; use 'devices'",
    "boost_from_average": "a constant does not change a ranking",
    "allow_const_label": "labels that are all equal teach nothing, and fit refuses them",
}

_GPU = needs_value("task_type", "GPU")
_LANGEVIN = Need("langevin=True", lambda s: bool(s.get("langevin") or s.get("posterior_sampling")))
NEEDS = {
    **dict.fromkeys(
        (
            "devices",
            "gpu_ram_part",
            "pinned_memory_size",
            "gpu_cat_features_storage",
            "data_partition",
            "fixed_binary_splits",
            "ctr_history_unit",
        ),
        _GPU,
    ),
    "bagging_temperature": needs_value("bootstrap_type", "Bayesian"),
    "mvs_reg": needs_value("bootstrap_type", "MVS"),
    "diffusion_temperature": _LANGEVIN,
    "model_shrink_mode": Need("'model_shrink_rate'", lambda s: bool(s.get("model_shrink_rate"))),
    "sampling_unit": Need("'subsample' below 1", lambda s: s.get("bootstrap_type") != "No"),
    "sampling_frequency": Need("'subsample' below 1", lambda s: s.get("bootstrap_type") != "No"),
    "grow_policy": Need(
        "num_leaves=None if it is 'SymmetricTree' or 'Depthwise', and with 'num_leaves' if not",
        lambda s: (s["grow_policy"] == "Lossguide") == ("max_leaves" in s),
    ),
}


@cache
def catboost_gate() -> Gate:
    """The gate for CatBoost: names from its signatures, synonyms from its own function for them."""
    names: dict[str, None] = {}
    for estimator in (cb.CatBoostRanker, cb.CatBoostRegressor, cb.CatBoostClassifier):
        names |= dict.fromkeys(list(inspect.signature(estimator.__init__).parameters)[1:])
    return Gate("CatBoost", {name: _main_name(name) for name in names}, OWNED, ORDER_DEPENDENT, IDLE, NEEDS)


def _main_name(name: str) -> str:
    if name == "objective":
        return "loss_function"
    params: dict[str, Any] = {name: 1}
    cb.core._process_synonyms_groups(params)
    (main,) = params
    return main
