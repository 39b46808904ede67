"""LightGBM's settings: which the kit passes on."""

from __future__ import annotations

from functools import cache

import lightgbm as lgb

from lambdamart_kit.boosters.gates.gate import Gate, Need, Settings, needs_value, owned_by_rankers
from lambdamart_kit.boosters.settings import ParameterNames

PARAMETER_NAMES: ParameterNames = {
    "learning_rate": "learning_rate",
    "num_leaves": "num_leaves",
    "max_depth": "max_depth",
    "min_child_samples": "min_data_in_leaf",
    "min_child_weight": "min_sum_hessian_in_leaf",
    "min_split_gain": "min_gain_to_split",
    "reg_lambda": "lambda_l2",
    "reg_alpha": "lambda_l1",
    "subsample": "bagging_fraction",
    "colsample_bytree": "feature_fraction",
    "colsample_bynode": "feature_fraction_bynode",
    "max_bin": "max_bin",
    "seed": "seed",
    "n_threads": "num_threads",
    "split_criterion": None,
}
"""What LightGBM calls the settings of `BoosterParams`."""

OWNED = {
    **owned_by_rankers(PARAMETER_NAMES),
    "objective": "objective",
    "num_iterations": "n_estimators",
    "bagging_freq": "subsample",
    "monotone_constraints": "monotone_constraints",
    "interaction_constraints": "interaction_constraints",
    "categorical_feature": "categorical_features",
    "early_stopping_round": "early_stopping_rounds",
    "early_stopping_min_delta": "early_stopping_rounds",
    "metric": "eval_metric",
    "eval_at": "eval_metric",
    "first_metric_only": "eval_metric",
    "metric_freq": "eval_metric",
    "is_provide_training_metric": "eval_metric",
    "multi_error_top_k": "eval_metric",
    "auc_mu_weights": "eval_metric",
    "verbosity": "verbose",
}

ORDER_DEPENDENT = {
    "lambdarank_position_bias_regularization": (
        "pass 'position' to LambdaMART.fit, whose 'position_bias' says how it is allowed for"
    ),
}

_FILES = "it is about files, and the kit hands LightGBM arrays; use 'fit_files' or the command line"
_SCORING = "it acts when LightGBM scores rows, which 'predict' does under its own rules"
_CLUSTER = "it is about a cluster of LightGBM's; use lambdamart_kit.distributed"
_CLASSES = "it is for classification, and a ranker has one score a row"
_LOSS = "it belongs to a loss that no ranker uses"

IDLE = {
    **dict.fromkeys(
        (
            "config",
            "task",
            "data",
            "valid",
            "header",
            "label_column",
            "weight_column",
            "group_column",
            "ignore_column",
            "two_round",
            "save_binary",
            "precise_float_parser",
            "parser_config_file",
            "output_model",
            "input_model",
            "output_result",
            "snapshot_freq",
            "convert_model",
            "convert_model_language",
        ),
        _FILES,
    ),
    **dict.fromkeys(
        (
            "start_iteration_predict",
            "num_iteration_predict",
            "predict_raw_score",
            "predict_leaf_index",
            "predict_contrib",
            "predict_disable_shape_check",
            "pred_early_stop",
            "pred_early_stop_freq",
            "pred_early_stop_margin",
        ),
        _SCORING,
    ),
    **dict.fromkeys(
        (
            "num_machines",
            "local_listen_port",
            "time_out",
            "machine_list_filename",
            "machines",
            "pre_partition",
            "tree_learner",
            "top_k",
        ),
        _CLUSTER,
    ),
    **dict.fromkeys(
        ("num_class", "is_unbalance", "scale_pos_weight", "pos_bagging_fraction", "neg_bagging_fraction"),
        _CLASSES,
    ),
    **dict.fromkeys(("alpha", "fair_c", "poisson_max_delta_step", "tweedie_variance_power"), _LOSS),
    "boost_from_average": "scores start at 0, because a constant does not change a ranking",
    "deterministic": "fits are always deterministic",
    "force_row_wise": "it is on unless you pass 'force_col_wise': LightGBM's own choice is by time",
    "feature_pre_filter": "it is off, and does not change the trees",
    "refit_decay_rate": "it belongs to LightGBM's 'refit'; use 'warm_start'",
    "saved_feature_importance_type": "use 'feature_importances_', or ask 'booster_' for what you need",
}

_DART = needs_value("boosting", "dart")
_GOSS = Need(
    "data_sample_strategy='goss'",
    lambda s: s.get("data_sample_strategy") == "goss" or s.get("boosting") == "goss",
)
_LAMBDARANK = Need("LightGBMRanker(objective='lambdarank')", lambda s: s.get("objective") == "lambdarank")
_GPU = needs_value("device_type", "gpu", "cuda")


def _draws_rows(settings: Settings) -> bool:
    return settings.get("bagging_fraction", 1.0) < 1 or _GOSS.holds(settings)


def _constrained(settings: Settings) -> bool:
    return any(settings.get("monotone_constraints") or ())


NEEDS = {
    **dict.fromkeys(
        ("drop_rate", "max_drop", "skip_drop", "xgboost_dart_mode", "uniform_drop", "drop_seed"), _DART
    ),
    **dict.fromkeys(("top_rate", "other_rate"), _GOSS),
    **dict.fromkeys(("lambdarank_truncation_level", "lambdarank_norm", "label_gain", "sigmoid"), _LAMBDARANK),
    **dict.fromkeys(
        ("gpu_platform_id", "gpu_device_id", "gpu_device_id_list", "gpu_use_dp", "num_gpu"), _GPU
    ),
    **dict.fromkeys(
        ("num_grad_quant_bins", "quant_train_renew_leaf", "stochastic_rounding"),
        needs_value("use_quantized_grad", True),
    ),
    **dict.fromkeys(
        ("monotone_constraints_method", "monotone_penalty"), Need("'monotone_constraints'", _constrained)
    ),
    "objective_seed": needs_value("objective", "rank_xendcg"),
    "reg_sqrt": needs_value("objective", "regression"),
    "bagging_by_query": Need(
        "one of LightGBM's own ranking objectives and 'subsample' below 1",
        lambda s: s.get("objective") in ("lambdarank", "rank_xendcg") and s.get("bagging_fraction", 1.0) < 1,
    ),
    "bagging_seed": Need("'subsample' below 1", _draws_rows),
    "feature_fraction_seed": Need(
        "'colsample_bytree' or 'colsample_bynode' below 1",
        lambda s: min(s.get("feature_fraction", 1.0), s.get("feature_fraction_bynode", 1.0)) < 1,
    ),
    "extra_seed": needs_value("extra_trees", True),
    "linear_lambda": needs_value("linear_tree", True),
}


@cache
def lightgbm_gate() -> Gate:
    """The gate for LightGBM, its spellings from LightGBM's own table."""
    aliases = lgb.basic._ConfigAliases._get_all_param_aliases()
    spellings = {spelling: name for name, others in aliases.items() for spelling in (name, *others)}
    return Gate("LightGBM", spellings, OWNED, ORDER_DEPENDENT, IDLE, NEEDS)
