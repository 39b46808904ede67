"""The gate of ``booster_params``: every setting of a library takes effect, or is refused with a reason."""

from __future__ import annotations

import json
import re

import lightgbm as lgb
import numpy as np
import pytest
import xgboost as xgb

from lambdamart_kit.boosters.gates.lightgbm import lightgbm_gate
from lambdamart_kit.boosters.gates.xgboost import xgboost_gate
from lambdamart_kit.rankers import CatBoostRanker, LambdaMART, LightGBMRanker, XGBoostRanker

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4)).astype(np.float32)
Y = RNG.integers(0, 3, 120)
QID = np.repeat(np.arange(12), 10)
SMALL = {"n_estimators": 2, "num_leaves": 4, "n_jobs": 1, "random_state": 0}

# A value that is not the default for every setting that is passed on, with the settings it acts with.
DART, GOSS = {"boosting": "dart"}, {"data_sample_strategy": "goss"}
QUANTISED, GPU = {"use_quantized_grad": True}, {"device_type": "gpu"}
MONOTONE, HALF = {"monotone_constraints": [1, 0, 0, 0]}, {"subsample": 0.5}
LIGHTGBM = {
    "bagging_by_query": (True, {}, HALF),
    "bagging_seed": (7, {}, HALF),
    "bin_construct_sample_cnt": (50, {}, {}),
    "boosting": ("dart", {}, {}),
    "cat_l2": (3.0, {}, {}),
    "cat_smooth": (3.0, {}, {}),
    "cegb_penalty_feature_coupled": ([0.1, 0.1, 0.1, 0.1], {}, {}),
    "cegb_penalty_feature_lazy": ([0.1, 0.1, 0.1, 0.1], {}, {}),
    "cegb_penalty_split": (0.1, {}, {}),
    "cegb_tradeoff": (0.5, {}, {}),
    "data_random_seed": (7, {}, {}),
    "data_sample_strategy": ("goss", {}, {}),
    "device_type": None,
    "drop_rate": (0.5, DART, {}),
    "drop_seed": (7, DART, {}),
    "enable_bundle": (False, {}, {}),
    "extra_seed": (7, {"extra_trees": True}, {}),
    "extra_trees": (True, {}, {}),
    "feature_contri": ([1.0, 0.5, 1.0, 1.0], {}, {}),
    "feature_fraction_seed": (7, {}, {"colsample_bytree": 0.5}),
    "force_col_wise": (True, {}, {}),
    "forcedbins_filename": None,
    "forcedsplits_filename": None,
    "gpu_device_id": None,
    "gpu_device_id_list": None,
    "gpu_platform_id": None,
    "gpu_use_dp": None,
    "num_gpu": None,
    "histogram_pool_size": (10.0, {}, {}),
    "is_enable_sparse": (False, {}, {}),
    "label_gain": ([0.0, 1.0, 5.0], {}, {}),
    "lambdarank_norm": (False, {}, {}),
    "lambdarank_truncation_level": (3, {}, {}),
    "linear_lambda": (0.5, {"linear_tree": True}, {}),
    "linear_tree": (True, {}, {}),
    "max_bin_by_feature": ([10, 10, 10, 10], {}, {}),
    "max_cat_threshold": (3, {}, {}),
    "max_cat_to_onehot": (3, {}, {}),
    "max_delta_step": (0.5, {}, {}),
    "max_drop": (3, DART, {}),
    "min_data_in_bin": (5, {}, {}),
    "min_data_per_group": (5, {}, {}),
    "monotone_constraints_method": ("advanced", {}, MONOTONE),
    "monotone_penalty": (1.5, {}, MONOTONE),
    "num_grad_quant_bins": (8, QUANTISED, {}),
    "objective_seed": (7, {}, {"objective": "rank_xendcg"}),
    "other_rate": (0.2, GOSS, {}),
    "path_smooth": (1.5, {}, {}),
    "quant_train_renew_leaf": (True, QUANTISED, {}),
    "reg_sqrt": (True, {}, {"objective": "regression"}),
    "sigmoid": (2.0, {}, {}),
    "skip_drop": (0.3, DART, {}),
    "stochastic_rounding": (False, QUANTISED, {}),
    "top_rate": (0.3, GOSS, {}),
    "uniform_drop": (True, DART, {}),
    "use_missing": (False, {}, {}),
    "use_quantized_grad": (True, {}, {}),
    "xgboost_dart_mode": (True, DART, {}),
    "zero_as_missing": (True, {}, {}),
}
XDART = {"booster": "dart"}
XGBOOST = {
    "booster": ("dart", {}, {}),
    "colsample_bylevel": (0.5, {}, {}),
    "device": ("cpu", {}, {}),
    "grow_policy": ("depthwise", {}, {}),
    "lambdarank_normalization": (0, {}, {}),
    "lambdarank_num_pair_per_sample": (3, {}, {}),
    "lambdarank_pair_method": ("mean", {}, {}),
    "lambdarank_score_normalization": (0, {}, {}),
    "max_cached_hist_node": None,  # memory only: XGBoost keeps it out of its configuration
    "max_cat_threshold": (3, {}, {}),
    "max_cat_to_onehot": (3, {}, {}),
    "max_delta_step": (0.5, {}, {}),
    "ndcg_exp_gain": (0, {}, {}),
    "normalize_type": ("forest", XDART, {}),
    "num_parallel_tree": (2, {}, {}),
    "one_drop": (1, XDART, {}),
    "rate_drop": (0.5, XDART, {}),
    "sample_type": ("weighted", XDART, {}),
    "sampling_method": None,  # "gradient_based" is for a GPU
    "seed_per_iteration": (1, {}, {}),
    "skip_drop": (0.5, XDART, {}),
    "tree_method": ("hist", {}, {}),
}
# https://xgboost.readthedocs.io/en/release_3.0.0/parameter.html, every name on the page.
_XGBOOST_PAGE = """
booster device verbosity validate_parameters nthread disable_default_eval_metric eta learning_rate gamma
min_split_loss max_depth min_child_weight max_delta_step subsample sampling_method colsample_bytree
colsample_bylevel colsample_bynode lambda reg_lambda alpha reg_alpha tree_method scale_pos_weight updater
refresh_leaf process_type grow_policy max_leaves max_bin num_parallel_tree monotone_constraints
interaction_constraints multi_strategy max_cached_hist_node extmem_single_page max_cat_to_onehot
max_cat_threshold sample_type normalize_type rate_drop one_drop skip_drop feature_selector top_k objective
base_score eval_metric seed seed_per_iteration tweedie_variance_power huber_slope quantile_alpha
aft_loss_distribution lambdarank_pair_method lambdarank_num_pair_per_sample lambdarank_normalization
lambdarank_score_normalization lambdarank_unbiased lambdarank_bias_norm ndcg_exp_gain sketch_ratio num_class
"""
XGBOOST_DOCUMENTED = _XGBOOST_PAGE.split()
CGPU = {"task_type": "GPU"}
CATBOOST = {
    "approx_on_full_history": (True, {"boosting_type": "Ordered"}, {}),
    "bagging_temperature": (2.0, {"bootstrap_type": "Bayesian"}, {}),
    "boosting_type": ("Ordered", {}, {}),
    "bootstrap_type": ("Bayesian", {}, {}),
    "combinations_ctr": ("Borders", {}, {}),
    "counter_calc_method": ("Full", {}, {}),
    "ctr_description": None,
    "ctr_history_unit": None,
    "ctr_leaf_count_limit": (5, {}, {}),
    "ctr_target_border_count": None,  # for losses of classification only, and CatBoost says so
    "data_partition": None,
    "dev_efb_max_buckets": None,
    "dev_score_calc_obj_block_size": (1000, {}, {}),
    "devices": None,
    "diffusion_temperature": (5000.0, {"langevin": True}, {}),
    "feature_border_type": ("Uniform", {}, {}),
    "feature_weights": ([1.0, 0.5, 1.0, 1.0], {}, {}),
    "final_ctr_computation_mode": ("Skip", {}, {}),
    "first_feature_use_penalties": ([1.0, 0.5, 1.0, 1.0], {}, {}),
    "fixed_binary_splits": None,
    "fold_len_multiplier": (3.0, {}, {}),
    "fold_permutation_block": (2, {}, {}),
    "gpu_cat_features_storage": None,
    "gpu_ram_part": None,
    "grow_policy": ("Depthwise", {}, {}),
    "ignored_features": ([1], {}, {}),
    "input_borders": None,
    "langevin": (True, {}, {}),
    "leaf_estimation_backtracking": ("No", {}, {}),
    "leaf_estimation_iterations": (3, {}, {}),
    "leaf_estimation_method": ("Gradient", {}, {}),
    "max_ctr_complexity": (2, {}, {}),
    "metadata": None,
    "model_shrink_mode": ("Decreasing", {"model_shrink_rate": 0.1}, {}),
    "model_shrink_rate": (0.1, {}, {}),
    "model_size_reg": (2.0, {}, {}),
    "mvs_reg": (0.5, {"bootstrap_type": "MVS"}, HALF),
    "nan_mode": ("Max", {}, {}),
    "one_hot_max_size": (5, {}, {}),
    "penalties_coefficient": (2.0, {}, {}),
    "per_feature_ctr": None,
    "per_float_feature_quantization": None,
    "per_object_feature_penalties": None,
    "pinned_memory_size": None,
    "posterior_sampling": (True, {}, {}),
    "random_score_type": ("Gumbel", {}, {}),
    "random_strength": (2.0, {}, {}),
    "sampling_frequency": ("PerTree", {}, HALF),
    "sampling_unit": ("Group", {}, HALF),
    "score_function": ("L2", {}, {}),
    "simple_ctr": ("Borders", {}, {}),
    "sparse_features_conflict_fraction": (0.1, {}, {}),
    "store_all_simple_ctr": (True, {}, {}),
    "task_type": ("CPU", {}, {}),
    "used_ram_limit": ("2gb", {}, {}),
}


def outcome(fit, extra, parameters):
    """The fitted ranker, or what the error says."""
    try:
        return fit(extra, parameters), None
    except ValueError as error:
        return None, str(error)


def check_every_name(spellings, passed_on, fit, value_of):
    """Fit with each name; what is passed on must be in the configuration that the library trained with."""
    kit_names = {*LambdaMART().get_params(), *CatBoostRanker().get_params()}
    seen = set()
    for spelling, name in spellings.items():
        if passed_on.get(name, ()) is None:
            seen.add(name)
            continue
        value, others, parameters = passed_on.get(name, (1, {}, {}))
        ranker, refusal = outcome(fit, {**others, spelling: value}, parameters)
        if refusal is not None:
            assert name not in passed_on, (spelling, refusal)
            assert f"must not hold '{spelling}'" in refusal
            used = re.search(r"use the parameter '(\w+)'", refusal)
            assert used is None or used[1] in kit_names, refusal
            continue
        assert name in passed_on, f"{spelling} was taken without a word"
        found = value_of(ranker, name)
        assert found == value, (spelling, name, value, found)
        seen.add(name)
    assert seen == set(passed_on)


def lightgbm_value(ranker, name):
    lines = ranker.booster_.model_to_string().split("\nparameters:")[1].splitlines()
    found = next(line for line in lines if line.startswith(f"[{name}:"))[len(name) + 3 : -1]
    expected = LIGHTGBM[name][0]
    if isinstance(expected, list):
        return [float(v) for v in found.split(",")]
    return type(expected)(float(found)) if isinstance(expected, int | float) else found


def test_every_setting_of_lightgbm():
    def fit(extra, parameters):
        return LightGBMRanker(**{**SMALL, **parameters}, booster_params=extra).fit(X, Y, qid=QID)

    aliases = lgb.basic._ConfigAliases._get_all_param_aliases()
    spellings = {spelling: name for name, others in aliases.items() for spelling in (name, *others)}
    check_every_name(spellings, LIGHTGBM, fit, lightgbm_value)


def xgboost_value(ranker, name):
    def leaves(tree):
        for key, value in tree.items():
            yield from leaves(value) if isinstance(value, dict) else [(key, value)]

    config = ranker.booster_.save_config()
    found = dict(leaves(json.loads(config)))[name]
    expected = XGBOOST[name][0]
    if name == "booster" and found == "gbtree" and "dart_train_param" in config:
        return "dart"  # since XGBoost 3.4 a setting of its tree booster
    return found if isinstance(expected, str) else type(expected)(float(found))


def test_every_setting_of_xgboost():
    def fit(extra, parameters):
        return XGBoostRanker(**{**SMALL, **parameters}, booster_params=extra).fit(X, Y, qid=QID)

    assert set(XGBOOST_DOCUMENTED) <= set(xgboost_gate().spellings)
    signature = set(xgb.XGBModel().get_params()) - {"kwargs"}
    assert signature <= set(xgboost_gate().spellings)
    check_every_name(xgboost_gate().spellings, XGBOOST, fit, xgboost_value)


def test_every_setting_of_catboost():
    pytest.importorskip("catboost")
    from lambdamart_kit.boosters.gates.catboost import catboost_gate

    def fit(extra, parameters):
        settings = {**SMALL, "num_leaves": None, **parameters}
        return CatBoostRanker("QueryRMSE", **settings, booster_params=extra).fit(X, Y, qid=QID)

    def value(ranker, name):
        return ranker.booster_.get_params()[name]

    check_every_name(catboost_gate().spellings, CATBOOST, fit, value)


@pytest.mark.parametrize(
    ("ranker", "extra", "message"),
    [
        (LightGBMRanker, {"eta": 0.1}, "must not hold 'eta'; use the parameter 'learning_rate'"),
        (
            LightGBMRanker,
            {"random_state": 1},
            "must not hold 'random_state'; use the parameter 'random_state'",
        ),
        (LightGBMRanker, {"lambdarank_position_bias_regularization": 1.0}, "order of the rows.*'position'"),
        (LightGBMRanker, {"drop_rate": 0.5}, "'drop_rate', which acts only with boosting='dart'"),
        (LightGBMRanker, {"bagging_seed": 3}, "'bagging_seed', which acts only with 'subsample' below 1"),
        (LightGBMRanker, {"boost": "dart", "boosting": "dart"}, "both 'boost' and 'boosting', one setting"),
        (LightGBMRanker, {"path_smoth": 1}, r"has no 'path_smoth' \(did you mean 'path_smooth'\?\)"),
        (LightGBMRanker, {1: 2}, "has no 1"),
        (XGBoostRanker, {"nthread": 2}, "must not hold 'nthread'; use the parameter 'n_jobs'"),
        (XGBoostRanker, {"lambdarank_unbiased": True}, "order of the rows.*'position'"),
        (XGBoostRanker, {"rate_drop": 0.5}, "'rate_drop', which acts only with booster='dart'"),
        (XGBoostRanker, {"tree_method": "exact"}, "got 'exact', and what works here is 'hist'"),
        (LambdaMART, {"learning_rate": 0.1}, "use the parameter 'learning_rate'"),
        (LambdaMART, {"checkpoint_trees": 3}, "acts only with 'checkpoint', the file to save to"),
        (LambdaMART, {"grow_polcy": "symmetric"}, "did you mean 'grow_policy'"),
    ],
)
def test_refusals(ranker, extra, message):
    with pytest.raises(ValueError, match=message):
        ranker(**SMALL, booster_params=extra).fit(X, Y, qid=QID)


def test_refusals_of_catboost():
    pytest.importorskip("catboost")
    for extra, message in [
        ({"has_time": True}, "order of the rows.*'X_val'"),
        ({"loss_function": "QueryRMSE"}, "use the parameter 'loss'"),
        ({"max_depth": 3}, "use the parameter 'max_depth'"),
        ({"devices": "0"}, "acts only with task_type='GPU'"),
        ({"grow_policy": "Lossguide"}, "acts only with num_leaves=None if it is 'SymmetricTree'"),
        ({"dept": 3}, "did you mean 'depth'"),
    ]:
        with pytest.raises(ValueError, match=message):
            CatBoostRanker(n_estimators=2, n_jobs=1, booster_params=extra).fit(X, Y, qid=QID)


@pytest.mark.parametrize("booster", ["lightgbm", "xgboost"])
def test_settings_of_the_librarys_own_objectives_do_nothing_under_the_kits(booster):
    gate = {"lightgbm": lightgbm_gate, "xgboost": xgboost_gate}[booster]()
    names = [name for name in gate.spellings if name.startswith("lambdarank") and name in gate.needs]
    assert names
    for name in names:
        with pytest.raises(ValueError, match=f"'{name}', which acts only with (LightGBM|XGBoost)Ranker"):
            LambdaMART(booster=booster, **SMALL, booster_params={name: 1}).fit(X, Y, qid=QID)


def test_a_device_that_is_not_there_is_an_error(monkeypatch):
    """XGBoost itself goes on with the CPU."""
    monkeypatch.setattr("lambdamart_kit.boosters.xgboost.configuration", lambda settings: {"device": "cpu"})
    with pytest.raises(ValueError, match="has device='cuda', but XGBoost finds no such device here"):
        XGBoostRanker(**SMALL, booster_params={"device": "cuda"}).fit(X, Y, qid=QID)


# ---------------------------------------------------------------------------------- settings by column


MASKED = np.column_stack([X[:, 0], RNG.integers(0, 5, 120), RNG.integers(0, 5, 120)])


@pytest.mark.parametrize("ranker", [LambdaMART, LightGBMRanker, XGBoostRanker])
@pytest.mark.parametrize(
    ("setting", "columns"),
    [
        ([False, False, True], (2,)),
        (np.array([False, True, True]), (1, 2)),
        ([np.True_, np.False_, np.False_], None),
        ([False, False, False], ()),
        ([2, 1], (1, 2)),
        (np.array([2]), (2,)),
    ],
)
def test_categorical_features_by_mask_or_index(ranker, setting, columns):
    estimator = ranker(**SMALL, categorical_features=setting)
    if columns is None:  # the mask means column 0, which does not hold codes
        with pytest.raises(ValueError, match="column 0 must hold codes"):
            estimator.fit(MASKED, Y, qid=QID)
        return
    assert estimator.fit(MASKED, Y, qid=QID).categorical_columns_ == columns


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ([True, False], "one entry a column if it is a mask: 'X' has 3 columns, got 2 entries"),
        ([True, 2], "must hold indices .whole numbers., names, or a mask.*got True"),
        ([0.0, 2.0], "must hold indices .whole numbers., names, or a mask.*got 0.0"),
        ([3], "must be in 0 .. 2"),
        ([-1], "must be in 0 .. 2"),
        (["2"], "has '2', which is not a column"),
    ],
)
def test_bad_categorical_features(setting, message):
    with pytest.raises(ValueError, match=message):
        LambdaMART(**SMALL, categorical_features=setting).fit(MASKED, Y, qid=QID)


@pytest.mark.parametrize(
    "setting",
    [[True, False, True], np.array([True, False, False]), {True: 1}, {1.0: 1}, {0: True}, [0.5, 0, 0]],
)
def test_bad_monotone_constraints(setting):
    with pytest.raises(ValueError, match=r"'monotone_constraints' (must hold -1, 0 or 1|names)"):
        LambdaMART(**SMALL, monotone_constraints=setting).fit(MASKED, Y, qid=QID)
