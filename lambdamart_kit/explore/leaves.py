"""What a fitted model says two rows have in common: the leaves they share, or the features themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from lambdamart_kit.core.precision import as_features
from lambdamart_kit.core.rowhash import mix
from lambdamart_kit.core.typing import ArrayLike

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
        With trees of any booster.
    X : (n_samples, n_features) array-like
        Rows as the model was fitted on.
    n_components : int
        Number of columns to hash to.

    Returns
    -------
    (n_samples, n_components) CSR array
        Rows of length 1, but for collisions of the hash.

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
    parts = _parts_with_trees(model)
    if not parts:
        raise TypeError(f"{type(model).__name__} has no trees whose leaves could be features")
    if hasattr(model, "rewards_"):  # a reward model's trees do not see its nuisance columns
        X = model.kept_columns(np.asarray(X))
    rows = as_features(X)
    leaves = np.concatenate([part.leaf_indices(rows) for part in parts], axis=1)
    n_rows, n_trees = leaves.shape
    codes = leaves.astype(np.uint64) + np.arange(n_trees, dtype=np.uint64) * np.uint64(_STRIDE)
    hashed = mix(codes.ravel()).reshape(codes.shape)
    columns = (hashed % np.uint64(n_components)).astype(np.intp)
    signs = np.where(hashed >> np.uint64(63), -1.0, 1.0) / np.sqrt(n_trees)
    starts = np.arange(0, n_rows * n_trees + 1, n_trees)
    return sparse.csr_array((signs.ravel(), columns.ravel(), starts), shape=(n_rows, n_components))


def has_trees(model: Any) -> bool:
    """Whether :func:`leaf_features` works on a fitted `model`."""
    return bool(_parts_with_trees(model))


def _parts_with_trees(model: Any) -> list[Any]:
    """The ranker itself, or the fitted scorers of a reward model, as far as they have trees."""
    return [part for part in getattr(model, "rewards_", [model]) if hasattr(part, "leaf_indices")]
