"""The settings of the kit's own trees that are no parameters of a ranker."""

from __future__ import annotations

from lambdamart_kit.boosters.gates.gate import Gate, Need, same_names

CHECKPOINT = {"checkpoint": "path", "checkpoint_trees": "every_trees", "checkpoint_seconds": "every_seconds"}
OWN = ("grow_policy", "mvs_noise", "cat_smooth", "cat_l2", "max_cat_threshold")

_RANKERS_OWN = (
    "objective",
    "n_estimators",
    "learning_rate",
    "num_leaves",
    "max_depth",
    "min_child_samples",
    "min_child_weight",
    "min_split_gain",
    "reg_lambda",
    "reg_alpha",
    "subsample",
    "colsample_bytree",
    "colsample_bynode",
    "max_bin",
    "monotone_constraints",
    "interaction_constraints",
    "categorical_features",
    "split_criterion",
    "random_state",
    "n_jobs",
    "verbose",
)

_SAVES = Need("'checkpoint', the file to save to", lambda settings: "checkpoint" in settings)
NATIVE = Gate(
    "booster='native'",
    same_names([*CHECKPOINT, *OWN, *_RANKERS_OWN]),
    owned=same_names(_RANKERS_OWN),
    needs={"checkpoint_trees": _SAVES, "checkpoint_seconds": _SAVES},
)
