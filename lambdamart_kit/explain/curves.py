"""Effects of one and of two features within queries, as curves and surfaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lambdamart_kit.core.typing import FloatArray, IndexArray

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class Effect:
    """How a feature moves a document's score within its query, all other features as they are.

    Attributes
    ----------
    feature : str
    grid : ndarray (n_points,), float64
        Values of the feature.
    effect, standard_errors : ndarray (n_points,), float64
        Change of the score against the mean document, and its standard error over queries.
    n_queries : ndarray (n_points - 1,), intp
        Queries that have values in each interval of the grid.
    """

    feature: str
    grid: FloatArray
    effect: FloatArray
    standard_errors: FloatArray
    n_queries: IndexArray

    def to_frame(self) -> pd.DataFrame:
        """One row a point of the grid."""
        import pandas as pd

        columns = {"value": self.grid, "effect": self.effect, "standard_error": self.standard_errors}
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        return f"Effect of {self.feature} within queries\n\n{self.to_frame().to_string(index=False)}"

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the curve with a band of two standard errors."""
        from lambdamart_kit.explain.plots import curve_plot

        return curve_plot(self.feature, self.grid, self.effect, self.standard_errors, ax=ax)


@dataclass(frozen=True, eq=False)
class JointEffect:
    """How two features together move a document's score within its query.

    Attributes
    ----------
    features : tuple of str
    first_grid, second_grid : ndarray, float64
    effect : ndarray (n_first, n_second), float64
        Score less the mean score of the query, over documents of queries that reach both values; NaN where
        no query does.
    n_queries : ndarray (n_first, n_second), intp
    """

    features: tuple[str, str]
    first_grid: FloatArray
    second_grid: FloatArray
    effect: FloatArray
    n_queries: IndexArray

    def to_frame(self) -> pd.DataFrame:
        """One row a pair of values."""
        import pandas as pd

        first, second = np.meshgrid(self.first_grid, self.second_grid, indexing="ij")
        columns = {
            self.features[0]: first.ravel(),
            self.features[1]: second.ravel(),
            "effect": self.effect.ravel(),
            "n_queries": self.n_queries.ravel(),
        }
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        head = f"Effect of {self.features[0]} and {self.features[1]} within queries"
        return f"{head}\n\n{self.to_frame().to_string(index=False)}"

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the surface in colours."""
        from lambdamart_kit.explain.plots import surface_plot

        return surface_plot(self.features, self.first_grid, self.second_grid, self.effect, ax=ax)
