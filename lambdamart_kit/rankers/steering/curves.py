"""Learning curves: the measures of all rounds as a picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted


class HasLearningCurve:
    """Mixin of rankers with ``evals_result_``."""

    evals_result_: dict[str, dict[str, list[float]]]

    def plot_learning_curve(self, metric: str | None = None, ax: Any = None) -> Any:
        """Draw a metric by round, a line for each set of rows that was measured, or for each bag.

        Parameters
        ----------
        metric : str, optional
            One of those in ``evals_result_``; by default the first.
        ax : matplotlib axes, optional
            Where to draw; on new axes by default.

        Returns
        -------
        matplotlib axes
            With the lines, and a mark at the best round of the first one.

        Raises
        ------
        ValueError
            If nothing was measured, or not this metric.
        """
        check_is_fitted(self)
        results = self.evals_result_
        if not results:
            raise ValueError(
                "'plot_learning_curve' needs rows that were measured: fit with X_val, 'validation_fraction' "
                "or track_training=True"
            )
        known = list(next(iter(results.values())))
        name = known[0] if metric is None else str(metric)
        if name not in known:
            raise ValueError(f"'metric' must be one of {', '.join(map(repr, known))}; got {metric!r}")
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.figure().subplots()
        for at, (part, measures) in enumerate(results.items()):
            values = np.asarray(measures[name], dtype=np.float64)
            (line,) = ax.plot(np.arange(1, len(values) + 1), values, label=part)
            if at == 0 and not np.isnan(values).all():
                best = int(np.nanargmax(values))
                ax.plot(best + 1, values[best], "o", color=line.get_color())
        ax.set(xlabel="round", ylabel=name)
        ax.legend()
        return ax
