"""Mixin of the rankers that learn from clicks: the parameter 'position_bias' and estimated propensities."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.clicks.impressions import Impressions
from lambdamart_kit.clicks.position_bias import resolve_position_bias
from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rowhash import row_hashes
from lambdamart_kit.core.typing import Float32Array, FloatArray, IndexArray
from lambdamart_kit.objectives import Bound, names_rows, resolve_objective
from lambdamart_kit.rankers.steering.training_set import TrainingSet

if TYPE_CHECKING:
    import pandas as pd

POSITION_BIAS: list[Any] = [str, "array-like", callable, HasMethods("start")]
"""Constraint of the parameter."""
DEFAULT_POSITION_BIAS = "gam"
"""What is done about positions unless the user says otherwise."""


def collapse(train: OrderedRows, bound: Bound) -> tuple[OrderedRows, Bound]:
    """Merge rows of equal features into one row, because trees give them the same score.

    A click log shows the same document many times. After merging, trees grow on documents, and
    ``min_child_samples`` counts documents. Each document counts as a query of its own.
    """
    features = row_hashes(train.view.source)[train.order]
    _, first, code = np.unique(features, return_index=True, return_inverse=True)
    if len(first) == len(features):
        return train, bound
    n = len(first)
    queries = Queries(np.arange(n, dtype=np.intp), np.arange(n + 1, dtype=np.intp), np.arange(n))
    documents = OrderedRows(train.view.take(first), train.y[first], queries, None)
    code = code.astype(np.intp, copy=False)
    on_documents = getattr(
        bound, "on_documents", None
    )  # a bound objective may sum by document itself, which is faster
    return documents, on_documents(code, n) if on_documents else _BoundDocuments(bound, code, n)


class _BoundDocuments:
    """An objective on impressions whose gradient is summed over the impressions of each document."""

    def __init__(self, bound: Bound, document: IndexArray, n_documents: int) -> None:
        self._bound = bound
        self._document = document
        self._n_documents = n_documents

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores` of the documents."""
        gradient, hessian = self._bound.gradient_hessian(scores[self._document])
        return self._sum(gradient), self._sum(hessian)

    def _sum(self, values: Float32Array) -> Float32Array:
        return np.bincount(self._document, weights=values, minlength=self._n_documents).astype(np.float32)


class LearnsFromClicks:
    """Mixin: ``fit(..., position=...)`` allows for the position bias of clicks.

    Attributes
    ----------
    propensities_ : (n_positions,) float64, or None
        How much each position is looked at, relative to position 1; None without `position`.
    unclick_propensities_ : (n_positions,) float64, or None
        With ``position_bias="joint"``: the same for documents that were not clicked.
    """

    _estimates: ClassVar[tuple[str, ...]] = ("propensities_", "unclick_propensities_")

    objective: Any
    position_bias: Any
    propensities_: FloatArray | None = None
    unclick_propensities_: FloatArray | None = None

    def _debias(self, data: TrainingSet) -> TrainingSet:
        """Attach the correction for position bias to the rows."""
        train = data.train
        if train.position is None:
            return data
        log = Impressions(train.y, train.position, lambda: row_hashes(train.view.source)[train.order])
        debiasing = resolve_position_bias(self.position_bias).start(log)
        return data.map(lambda rows: replace(rows, debiasing=debiasing))

    def _needs_all_rows(self) -> bool:
        return names_rows(resolve_objective(self.objective))

    def _keep_estimates(self, train: OrderedRows) -> None:
        if train.debiasing is not None:
            train.debiasing.conclude()
        for name in self._estimates:
            setattr(self, name, getattr(train.debiasing, name.removesuffix("_"), None))

    def propensity_table(self) -> pd.DataFrame:
        """The estimated propensities as a table: a row a position, counted from 1.

        Raises
        ------
        ValueError
            If the ranker was fitted without `position`.
        """
        import pandas as pd

        columns = {name.removesuffix("_"): values for name, values in self._known_estimates().items()}
        positions = np.arange(1, len(columns["propensities"]) + 1)
        return pd.DataFrame(columns, index=pd.Index(positions, name="position"))

    def plot_propensities(self, ax: Any = None) -> Any:
        """Draw the estimated propensities by position, on new matplotlib axes or `ax`; returns the axes.

        Raises
        ------
        ValueError
            If the ranker was fitted without `position`.
        """
        known = self._known_estimates()
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.figure().subplots()
        for name, values in known.items():
            ax.plot(
                np.arange(1, len(values) + 1), values, marker="o", label=name.strip("_").replace("_", " ")
            )
        ax.set(xlabel="position", ylabel="relative to position 1", ylim=(0, None))
        ax.legend()
        return ax

    def _known_estimates(self) -> dict[str, FloatArray]:
        check_is_fitted(self)
        known = {name: getattr(self, name) for name in self._estimates if getattr(self, name) is not None}
        if not known:
            raise ValueError(
                f"{type(self).__name__} was fitted without 'position', so there are no propensities; pass "
                "position=... to fit"
            )
        return known

    def _restore(self, files: dict[str, bytes]) -> None:
        super()._restore(files)  # type: ignore[misc]
        for name in self._estimates:
            if getattr(self, name) is not None:
                setattr(self, name, np.asarray(getattr(self, name)))
