"""scikit-learn's own checks, for real, on every ranker."""

from __future__ import annotations

import warnings

from sklearn.utils.estimator_checks import parametrize_with_checks

from lambdamart_kit.rankers import (
    AutoRanker,
    CatBoostRanker,
    EnsembleRanker,
    LambdaMART,
    LightGBMRanker,
    LinearRanker,
    PointwiseRanker,
    XGBoostRanker,
)

SMALL = {"n_estimators": 3, "num_leaves": 4, "n_jobs": 1}
MORE = {**SMALL, "n_estimators": 20}  # pairwise scores are on no scale, so more trees are to fit labels
ROW_A_BIN = {"min_data_in_bin": 1}
RANKERS = [
    LambdaMART(booster="native", min_child_samples=1, **SMALL),
    LambdaMART("pairwise", booster="lightgbm", min_child_samples=1, booster_params=ROW_A_BIN, **MORE),
    LambdaMART("pairwise", min_child_samples=1, **MORE),
    LambdaMART(booster="xgboost", objective="pairwise", **MORE),
    LambdaMART("pairwise", n_bags=2, min_child_samples=1, **MORE),
    LightGBMRanker(min_child_samples=1, **SMALL),
    XGBoostRanker(**SMALL),
    PointwiseRanker(n_jobs=1),
    AutoRanker("fits=1", n_jobs=1),
    EnsembleRanker([("a", LambdaMART(min_child_samples=1, **SMALL)), ("b", LinearRanker(max_iter=3))]),
]
try:
    import catboost  # noqa: F401
except ImportError:
    pass
else:
    RANKERS.append(CatBoostRanker(n_estimators=3, max_depth=3, n_jobs=1))


# The checks weigh rows and know no queries: with qid=None all rows are one query, and rankers that weigh
# documents take weights that differ as `document_weight`. A row of weight 2 then counts as two rows.
ONE_WEIGHT_A_QUERY = (
    "sample_weight is the weight of a query, so it must be constant within one: the ranker has no weights of "
    "documents, because the library that computes its objective has none, or because its members differ in "
    "what they know; the check passes qid=None, one query, with different weights, and the ranker says so"
)
ROWS_BY_HESSIAN = (
    "LightGBM tells the rows of a leaf from its share of the hessian, which copies change: its first trees "
    "are those of the copies, but not all 20 of this test (tests/test_document_weights.py has the first)"
)
BY_NAME = "a frame with the columns of the fit in another order is read by name; the check wants an error"
COLUMNS = {"check_dataframe_column_names_consistency": BY_NAME}
EXPECTED = {
    **COLUMNS,
    "check_sample_weights_not_overwritten": ONE_WEIGHT_A_QUERY,
    "check_sample_weight_equivalence_on_dense_data": ONE_WEIGHT_A_QUERY,
    "check_sample_weight_equivalence_on_sparse_data": ONE_WEIGHT_A_QUERY,
}


def expected_failures(estimator):
    if isinstance(estimator, LambdaMART) and estimator.booster == "lightgbm":
        equal = [check for check in EXPECTED if "equivalence" in check]
        return {**COLUMNS, **dict.fromkeys(equal, ROWS_BY_HESSIAN)}
    return COLUMNS if isinstance(estimator, LambdaMART | PointwiseRanker) else EXPECTED


@parametrize_with_checks(RANKERS, expected_failed_checks=expected_failures)
def test_scikit_learn_check(estimator, check):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*qid=None")
        check(estimator)
