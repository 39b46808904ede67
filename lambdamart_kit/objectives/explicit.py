"""Pairs given one by one: reward models, side-by-side judgements, clicks already turned into preferences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lambdamart_kit.core.pairs import PairLoss, flipped_target
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import ArrayLike, Float32Array
from lambdamart_kit.objectives.base import check_ordered_scores


@dataclass(frozen=True, eq=False)
class ExplicitPairs:
    r"""The Bradley-Terry loss on explicit pairs of rows; labels are not used.

    .. math:: L = \sum_k w_k \left( -t_k \log \sigma(z_k) - (1 - t_k) \log \sigma(-z_k) \right), \qquad
              z_k = s_{first} - s_{second} - margin_k

    No normalisation by scores or queries: the score difference is the log-odds of the preference.

    Parameters
    ----------
    pairs : (n_pairs, 2) integers
        Rows, as given to fit: the first beats the second.
    weight, target, margin : float or (n_pairs,) array
        Weight of a pair, probability that the first wins, and margin.
    flip_rate : float
        Probability in [0, 0.5) that a label is flipped.
    correction : {"smoothed", "robust"}
        What to do about it, see :func:`lambdamart_kit.core.pairs.flipped_target`.

    References
    ----------
    Bradley and Terry (1952); Ouyang et al. (2022), "Training language models to follow instructions with
    human feedback" (loss of the reward model).

    Examples
    --------
    >>> import numpy as np
    >>> from lambdamart_kit.core.queries import Queries
    >>> bound = ExplicitPairs([[0, 1], [2, 1]]).bind(np.zeros(3), Queries.from_qid(None, 3))
    >>> gradient, hessian = bound.gradient_hessian(np.zeros(3, dtype=np.float32))
    >>> gradient.tolist(), hessian.tolist()
    ([-0.5, 1.0, -0.5], [0.25, 0.5, 0.25])
    """

    names_rows: ClassVar[bool] = True

    pairs: Any
    weight: Any = 1.0
    target: Any = 1.0
    margin: Any = 0.0
    flip_rate: float = 0.0
    correction: str = "smoothed"

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> BoundExplicitPairs:
        """Bind to the rows of `queries`; `sample_weight` of its first row multiplies a pair's weight.

        Parameters
        ----------
        y : (n_samples,) array-like
            Not used: the pairs say what is preferred.
        queries : Queries
            How rows are grouped by query.
        sample_weight : (n_samples,) array-like, optional
            Weight of each row, row-aligned; that of a pair's first row multiplies the pair's weight.
        n_threads : int, optional
            Threads of the bound objective; None for all.

        Returns
        -------
        BoundExplicitPairs
            Gives gradient and hessian in ordered rows.
        """
        rows = np.asarray(self.pairs)
        if rows.ndim != 2 or rows.shape[1] != 2:
            raise ValueError(
                f"'pairs' must have shape (n_pairs, 2), rows that win and lose; got {rows.shape}"
            )
        outside = np.flatnonzero(((rows < 0) | (rows >= queries.n_samples)).any(axis=1))
        if len(outside):
            raise ValueError(
                f"'pairs' must hold rows from 0 to {queries.n_samples - 1}; pair {outside[0]} has "
                f"{rows[outside[0]].tolist()}; with 'validation_fraction' rows move: pass X_val instead"
            )
        weight = np.broadcast_to(np.asarray(self.weight, dtype=np.float64), len(rows))
        if sample_weight is not None:
            weight = weight * np.asarray(sample_weight, dtype=np.float64)[rows[:, 0]]
        position = np.empty(queries.n_samples, dtype=np.intp)
        position[queries.order] = np.arange(queries.n_samples)
        loss = PairLoss(
            position[rows[:, 0]],
            position[rows[:, 1]],
            queries.n_samples,
            weight=weight,
            target=flipped_target(self.target, self.flip_rate, correction=self.correction),
            margin=self.margin,
            n_threads=n_threads,
        )
        return BoundExplicitPairs(loss)


class BoundExplicitPairs:
    """Explicit pairs bound to ordered rows."""

    def __init__(self, loss: PairLoss) -> None:
        self.pair_loss = loss

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores`, ordered rows, float32."""
        ordered = check_ordered_scores(scores, self.pair_loss.n_items)
        gradient, hessian = self.pair_loss.gradient_hessian(ordered)
        return gradient.astype(np.float32), hessian.astype(np.float32)

    def loss(self, scores: Float32Array) -> float:
        """Loss summed over pairs at `scores`, ordered rows."""
        return self.pair_loss.loss(check_ordered_scores(scores, self.pair_loss.n_items))
