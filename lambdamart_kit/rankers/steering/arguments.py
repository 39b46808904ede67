"""What is said of arguments of `fit`: what other libraries call them, and labels of the wrong shape."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any

from sklearn.exceptions import DataConversionWarning

from lambdamart_kit.core.typing import ArrayLike

_GROUP = "pass 'qid', the query of each row: np.repeat(np.arange(len(group)), group)"
_HELD_OUT = "pass the held-out rows as X_val, y_val and qid_val, lists of them for several sets"
_START = "pass 'init_score', the score that each row starts from"
_CATEGORIES = "set the ranker's parameter 'categorical_features'"
FOREIGN = {
    "group": _GROUP,
    "groups": "pass 'qid', the query of each row",
    "group_id": "pass 'qid', the query of each row",
    "eval_set": _HELD_OUT,
    "eval_group": _HELD_OUT,
    "eval_qid": _HELD_OUT,
    "eval_metric": "set the ranker's parameter 'eval_metric'",
    "eval_at": "set the ranker's parameter 'eval_metric', as in 'ndcg@5'",
    "early_stopping_rounds": "set the ranker's parameter 'early_stopping_rounds'",
    "categorical_feature": _CATEGORIES,
    "cat_features": _CATEGORIES,
    "feature_name": "pass 'X' as a DataFrame, whose columns have names",
    "xgb_model": "pass 'init_model'",
    "base_margin": _START,
    "baseline": _START,
    "base_margin_eval_set": "pass 'init_score_val'",
    "eval_init_score": "pass 'init_score_val'",
    "sample_weight_eval_set": "pass 'sample_weight_val'",
    "eval_sample_weight": "pass 'sample_weight_val'",
    "eval_names": "pass 'names_val'",
    "callbacks": "set the ranker's parameter 'callbacks'",
    "verbose": "set the ranker's parameter 'verbose'",
    "group_weight": "pass 'sample_weight', the weight of each row's query",
}


def refuse_foreign_arguments(estimator: str, arguments: Mapping[str, Any]) -> None:
    """Raise a TypeError that says what each argument is called here, where that is known."""
    if not arguments:
        return
    hints = [f"instead of '{name}', {FOREIGN[name]}" for name in arguments if name in FOREIGN]
    names = ", ".join(map(repr, arguments))
    # PyTerrier's own stage for rankers passes sizes of groups.
    in_pipeline = pyterrier_hint() if "group" in arguments else ""
    said = "".join(f"; {hint}" for hint in hints) + in_pipeline
    raise TypeError(f"{estimator}.fit() got unexpected arguments {names}{said}")


def pyterrier_hint() -> str:
    """What to use in a pipeline of PyTerrier, whose own stage passes no `qid`; empty if it is not in use."""
    if "pyterrier" not in sys.modules:
        return ""
    return "; in a pipeline of PyTerrier use lambdamart_kit.adapters.ranking_stage(ranker)"


def warn_of_column(y: ArrayLike) -> None:
    """Warn, as scikit-learn does, of labels in a table of one column; they are taken as a vector."""
    shape: tuple[int, ...] = getattr(y, "shape", ())
    if len(shape) == 2 and shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. Please pass y with the shape "
            f"({shape[0]},), as y.ravel() has it.",
            DataConversionWarning,
            stacklevel=3,
        )
