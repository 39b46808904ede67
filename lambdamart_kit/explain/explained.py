"""What explanations need to know of a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np

from lambdamart_kit.boosters.protocol import Model
from lambdamart_kit.core.typing import Array, Features, FloatArray


class Contributions(Protocol):
    """Exact Shapley values of each feature in a score; see ``contributions`` of rankers."""

    def __call__(self, X: Features, background: Features = None) -> FloatArray:
        """One row for each row of X, with the score of the background in the last column."""
        ...


@dataclass(frozen=True, eq=False)
class Explained:
    """A fitted model, as explanations see it: functions of checked rows of numbers.

    Parameters
    ----------
    name : str
        What a heading calls the model.
    predict : callable
        Scores of the rows of a dense array.
    feature_names : tuple of str
        One a column.
    contributions : callable, optional
        The model's own exact Shapley values; None if it has none.
    columns_in_use : ndarray of int, optional
        The columns that can change a score; None for all.

    Examples
    --------
    >>> double = Explained("double", lambda rows: 2 * rows[:, 0], ("price", "age"))
    >>> double.column("age"), double.in_use.tolist()
    (1, [0, 1])
    """

    name: str
    predict: Callable[[Any], FloatArray]
    feature_names: tuple[str, ...]
    contributions: Contributions | None = None
    columns_in_use: Array | None = None

    def with_trees(self, model: Model, n_threads: int) -> Explained:
        """The same with the contributions of the trees that make the scores.

        Trees that only their library can read have none against another row, and are left out.

        Parameters
        ----------
        model : Model
            The trees behind the scores, as their booster's model.
        n_threads : int
            Threads that compute contributions.

        Returns
        -------
        Explained
            A copy, or this one where the trees have no contributions.
        """
        columns = model.columns_in_use()
        if columns is None:
            return self
        contributions = partial(model.contributions, n_threads=n_threads)
        return replace(self, contributions=contributions, columns_in_use=columns)

    @property
    def in_use(self) -> Array:
        """The columns that can change a score."""
        every = np.arange(len(self.feature_names))
        return every if self.columns_in_use is None else np.asarray(self.columns_in_use)

    def column(self, feature: str | int) -> int:
        """Number of a feature that is given by name, or by number already.

        Parameters
        ----------
        feature : str or int
            Name or number of the feature.

        Returns
        -------
        int
            Number of its column.

        Raises
        ------
        ValueError
            If there is no such feature.
        """
        if isinstance(feature, str):
            if feature not in self.feature_names:
                raise ValueError(
                    f"'feature' must be one of the {len(self.feature_names)} features of the model; got "
                    f"{feature!r}"
                )
            return self.feature_names.index(feature)
        if not 0 <= feature < len(self.feature_names):
            raise ValueError(f"'feature' must be in 0 .. {len(self.feature_names) - 1}; got {feature!r}")
        return int(feature)
