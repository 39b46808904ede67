"""Starting scores: what a ranker that was fitted with them adds its own scores to."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from lambdamart_kit.core.rows import flat
from lambdamart_kit.core.typing import FloatArray


def from_start(scores: FloatArray, init_score: Any, *, fitted_with: bool, method: str) -> FloatArray:
    """Scores of a ranker added to the scores that rows start from.

    Parameters
    ----------
    scores : (n_samples,) float64
    init_score : (n_samples,) array-like, float, or None
    fitted_with : bool
        Whether the ranker was fitted with starting scores.
    method : str
        Name of the ranker's method that was called.

    Returns
    -------
    (n_samples,) float64

    Raises
    ------
    ValueError
        If the ranker was fitted without, or they are not finite numbers, one a row.

    Examples
    --------
    >>> from_start(np.array([1.0, 2.0]), [10.0, 20.0], fitted_with=True, method="predict").tolist()
    [11.0, 22.0]
    """
    if init_score is None:
        if fitted_with:
            warnings.warn(
                f"'{method}' got no 'init_score', but the ranker was fitted with starting scores, so these "
                "are only what it adds to them; pass 'init_score', or init_score=0 if that is what you want",
                UserWarning,
                stacklevel=4,
            )
        return scores
    if not fitted_with:
        raise ValueError(
            f"'init_score' must be None in {method}: the ranker was fitted without, so its scores are whole; "
            "fit with 'init_score' to learn what to add to them"
        )
    start = flat(np.asarray(init_score))
    if start.dtype.kind not in "iufb" or start.shape not in ((), scores.shape):
        raise ValueError(
            f"'init_score' must hold one number per row, or be a number: expected shape {scores.shape}, got "
            f"{start.shape} of dtype {start.dtype}"
        )
    if not np.isfinite(start).all():
        row = int(np.flatnonzero(~np.isfinite(start))[0])
        raise ValueError(f"'init_score' must be finite; row {row} is not")
    return scores + start
