"""What is said of arguments of `fit`: what other libraries call them, and labels of the wrong shape."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.exceptions import DataConversionWarning

from lambdamart_kit.core.queries import run_starts
from lambdamart_kit.core.rows import flat
from lambdamart_kit.core.typing import Array, ArrayLike, Features, Ids

_GROUP = "pass 'qid', the query of each row: np.repeat(np.arange(len(group)), group)"
_HELD_OUT = "pass the held-out rows as X_val, y_val and qid_val, lists of them for several sets"
_START = "pass 'init_score', the score that each row starts from"
_CATEGORIES = "set the ranker's parameter 'categorical_features'"
_QUERY = "pass 'qid', the query of each row"
_WEIGHT = "pass 'sample_weight', the weight of each row's query"
FOREIGN = {
    "group": _GROUP,
    "groups": _QUERY,
    "group_id": _QUERY,
    "query_id": _QUERY,
    "qids": _QUERY,
    "query": _QUERY,
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
    "group_weight": _WEIGHT,
    "weight": _WEIGHT,
    "weights": _WEIGHT,
    "sample_weights": _WEIGHT,
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


def warn_of_leaks(X: Features, y: ArrayLike, qid: Ids) -> None:
    """Warn if the labels or query ids are a column of the frame of features, and so a feature."""
    columns = getattr(X, "column_names", None) or getattr(X, "columns", None)
    if columns is None:
        return
    for role, values in (("y", y), ("qid", qid)):
        name = getattr(values, "name", None)
        if isinstance(name, str) and name in list(columns) and np.array_equal(X[name], np.asarray(values)):
            warnings.warn(
                f"{role!r} is column {name!r} of 'X', which is a feature, too, so the ranker learns from it; "
                f"leave it out, as in X.drop(columns=[{name!r}])",
                UserWarning,
                stacklevel=4,
            )


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


def warn_of_mistaken_ids(y: ArrayLike, qid: Ids) -> None:
    """Warn where the query ids look like the labels, or like the sizes of queries, one for each row.

    Both are numbers as query ids are, so nothing would fail. Labels and ids are taken to be exchanged if each
    label stands in one block of rows, as a query does, the ids are spread all over, and there are fewer of
    them. Ids are taken for sizes if most of their blocks have just as many rows as the id says.
    """
    ids = _whole_numbers(qid)
    if ids is None:
        return
    starts = run_starts(ids)
    lengths = np.diff(np.append(starts, len(ids)))
    different = len(np.unique(ids[starts]))
    sizes = np.maximum(ids[starts], 1)
    blocks_of_sizes = (lengths % sizes == 0).all() and np.mean(lengths == sizes) > 0.5
    if different > 2 and ids.min() > 1 and blocks_of_sizes:
        warnings.warn(
            f"'qid' looks like the size of each row's query: a block of {lengths[0]} rows has the id "
            f"{ids[0]:g}, and so on. Queries of one size would be one query; pass ids, as in "
            "np.repeat(np.arange(len(sizes)), sizes)",
            UserWarning,
            stacklevel=4,
        )
    labels = _whole_numbers(y)
    if labels is None or len(labels) != len(ids) or len(starts) < 2 * different:
        return
    of_labels = run_starts(labels)
    blocks = len(of_labels)
    if blocks > different and blocks == len(np.unique(labels[of_labels])) and len(labels) >= 2 * blocks:
        warnings.warn(
            f"'y' and 'qid' look exchanged: 'y' has {blocks} values, each in one block of rows, as queries "
            f"have, and 'qid' has {different}, spread over the rows, as labels are; pass the labels as 'y' "
            "and the query of each row as 'qid'",
            UserWarning,
            stacklevel=4,
        )


def _whole_numbers(values: Any) -> Array | None:
    """Values as a vector of numbers if they are whole ones, one a row; else None."""
    found = flat(values) if values is not None else None
    if found is None or found.dtype.kind not in "iuf" or found.ndim != 1 or len(found) < 2:
        return None
    with np.errstate(invalid="ignore"):
        whole = found.dtype.kind != "f" or bool((found == np.floor(found)).all())
    return found if whole else None
