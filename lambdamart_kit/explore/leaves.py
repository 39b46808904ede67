"""What a fitted model says two rows have in common: the leaves they share, or the features themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from lambdamart_kit.core.rowhash import mix
from lambdamart_kit.core.typing import Array, ArrayLike, IndexArray

_STRIDE = 1 << 32  # more than the leaves of any tree


def leaf_features(model: Any, X: ArrayLike, *, n_components: int = 512) -> sparse.csr_array:
    r"""Leaf indicators of a tree model, hashed to `n_components` columns.

    .. math:: \phi(x)_c = \frac{1}{\sqrt T} \sum_{t=1}^{T} \text{sign}(h) \, 1[\text{bucket}(h) = c],
              \qquad h = \text{hash}(t, \text{leaf}_t(x))

    The inner product of two rows is, in expectation over the hash, the share of the T trees in which they
    fall into the same leaf; its standard deviation is at most ``sqrt(2 / n_components)``.

    Parameters
    ----------
    model : fitted ranker or reward model
        With trees of LightGBM, XGBoost or CatBoost, the native engine's included.
    X : (n_samples, n_features) array-like
    n_components : int

    Returns
    -------
    (n_samples, n_components) CSR array

    Raises
    ------
    TypeError
        If the model has no trees.

    References
    ----------
    Weinberger et al. (2009), "Feature hashing for large scale multitask learning", ICML, section 2. He et al.
    (2014), "Practical lessons from predicting clicks on ads at Facebook", section 3.1 (leaves as features).

    Examples
    --------
    >>> from lambdamart_kit.datasets import make_letor
    >>> from lambdamart_kit.rankers import LambdaMART
    >>> data = make_letor(n_queries=20, random_state=0)
    >>> ranker = LambdaMART(n_estimators=5).fit(data.X, data.y, qid=data.qid)
    >>> leaf_features(ranker, data.X[:3], n_components=64).shape
    (3, 64)
    """
    raws = _raw_boosters(model)
    if not raws:
        raise TypeError(f"{type(model).__name__} has no trees whose leaves could be features")
    if hasattr(model, "rewards_"):  # a reward model's trees do not see its nuisance columns
        X = model._kept_columns(np.asarray(X))
    leaves = np.concatenate([_leaf_indices(raw, X) for raw in raws], axis=1)
    n_rows, n_trees = leaves.shape
    codes = leaves.astype(np.uint64) + np.arange(n_trees, dtype=np.uint64) * np.uint64(_STRIDE)
    hashed = mix(codes.ravel()).reshape(codes.shape)
    columns = (hashed % np.uint64(n_components)).astype(np.intp)
    signs = np.where(hashed >> np.uint64(63), -1.0, 1.0) / np.sqrt(n_trees)
    starts = np.arange(0, n_rows * n_trees + 1, n_trees)
    return sparse.csr_array((signs.ravel(), columns.ravel(), starts), shape=(n_rows, n_components))


def has_trees(model: Any) -> bool:
    """Whether :func:`leaf_features` works on a fitted `model`."""
    return bool(_raw_boosters(model))


def _raw_boosters(model: Any) -> list[Any]:
    """The libraries' boosters inside a ranker, or inside the bags of a reward model."""
    parts = getattr(model, "rewards_", [model])
    raws = [getattr(part, "raw", None) or getattr(part, "booster_", None) for part in parts]
    return [raw for raw in raws if type(raw).__module__.partition(".")[0] in _LEAVES]


def _leaf_indices(raw: Any, X: ArrayLike) -> IndexArray:
    rows = np.ascontiguousarray(X, dtype=np.float32)
    leaves = _LEAVES[type(raw).__module__.partition(".")[0]](raw, rows)
    return np.asarray(leaves).reshape(len(rows), -1).astype(np.intp)


def _xgboost_leaves(raw: Any, rows: Array) -> Any:
    import xgboost

    return raw.predict(xgboost.DMatrix(rows), pred_leaf=True)


_LEAVES = {
    "lightgbm": lambda raw, rows: raw.predict(rows, pred_leaf=True),
    "xgboost": _xgboost_leaves,
    "catboost": lambda raw, rows: raw.calc_leaf_indexes(rows),
}
