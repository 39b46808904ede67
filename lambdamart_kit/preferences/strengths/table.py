"""What fitted tables of strengths offer: covariances, intervals, a leaderboard, tests of coefficients."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.core.gains import check_choice
from lambdamart_kit.core.typing import Array, FloatArray, IndexArray
from lambdamart_kit.preferences.strengths.comparisons import plain
from lambdamart_kit.preferences.strengths.leaderboard import (
    PointScale,
    check_confidence,
    from_covariance,
    from_replicates,
    leaderboard_table,
    normal_interval,
    percentile_interval,
    plot_leaderboard,
)
from lambdamart_kit.preferences.strengths.likelihood import Likelihood, newton
from lambdamart_kit.preferences.strengths.uncertainty import (
    ClusterCounts,
    bootstrap_replicates,
    hessian_covariance,
    sandwich_covariance,
)
from lambdamart_kit.runtime.blas import one_blas_thread

_SMALL = 500  # items up to which a second BLAS thread costs more than it helps
METHODS = ("hessian", "sandwich", "clustered", "bootstrap")


class StrengthTable(BaseEstimator):
    """Base of estimators that give every item one strength by maximum likelihood.

    A subclass's `fit` sets `items_`, `strengths_`, `components_` and the private ``_likelihood`` (with its
    ``_parameters``) and ``_clusters``.
    """

    items_: Array
    strengths_: FloatArray
    components_: IndexArray
    n_iter_: int
    max_iter: int
    tol: float
    _likelihood: Likelihood
    _parameters: FloatArray
    _clusters: ClusterCounts | None

    def covariance(
        self,
        *,
        method: str = "hessian",
        reference: Any = None,
        n_replicates: int = 1000,
        random_state: int | None = 0,
    ) -> FloatArray:
        r"""Covariance of the strengths, (n_items, n_items).

        Parameters
        ----------
        method : {"hessian", "sandwich", "clustered", "bootstrap"}
            :math:`H^+` (the model holds); :math:`H^+ B H^+` with B the sum of squared scores of rows (it may
            not hold); the same with scores summed over `groups` first (rows of a group hang together); the
            covariance of bootstrap replicates, of groups where groups were given to `fit`.
        reference : item id, optional
            Fix this item at zero instead of the mean.
        n_replicates, random_state : int
            For the bootstrap.
        """
        check_is_fitted(self)
        full = self._covariance_of_all(method, n_replicates, random_state)
        n_items = len(self.items_)
        return self._against(self._against(full[:n_items, :n_items], reference).T, reference)

    def replicates(
        self, n_replicates: int = 1000, *, random_state: int | None = 0, reference: Any = None
    ) -> FloatArray:
        """Bootstrap replicates of the strengths, (n_replicates, n_items), one Newton step each."""
        check_is_fitted(self)
        draws = self._replicates_of_all(n_replicates, random_state)
        return self._against(draws[:, : len(self.items_)].T, reference).T

    def confint(
        self,
        *,
        method: str = "sandwich",
        level: float = 0.95,
        reference: Any = None,
        n_replicates: int = 1000,
        random_state: int | None = 0,
    ) -> FloatArray:
        """Confidence interval of each strength, (n_items, 2).

        Normal intervals, except percentiles of the replicates for ``method="bootstrap"``. Parameters are
        those of :meth:`covariance`.
        """
        check_confidence(level)
        if method == "bootstrap":
            draws = self.replicates(n_replicates, random_state=random_state, reference=reference)
            return percentile_interval(draws, level)
        covariance = self.covariance(method=method, reference=reference)
        return normal_interval(self._against(self.strengths_, reference), covariance, level)

    def coefficients(
        self,
        *,
        method: str = "hessian",
        level: float = 0.95,
        n_replicates: int = 1000,
        random_state: int | None = 0,
    ) -> pd.DataFrame:
        """Every parameter that is not a strength, with its standard error and test of zero.

        Parameters
        ----------
        method, n_replicates, random_state
            Where standard errors come from, as in :meth:`covariance`.
        level : float
            Of the intervals.

        Returns
        -------
        DataFrame
            ``term``, ``estimate``, ``se``, ``z`` (estimate over standard error), ``p`` (two-sided, normal),
            ``lower``, ``upper``. Tie parameters are on the log scale, where zero means 1.
        """
        check_is_fitted(self)
        check_confidence(level)
        terms, scale = self._terms()
        n_items = len(self.items_)
        estimate = self._parameters[n_items:] / scale
        variance = np.empty(0)
        if len(terms):
            variance = np.diagonal(self._covariance_of_all(method, n_replicates, random_state))[n_items:]
        se = np.sqrt(np.maximum(variance, 0.0)) / scale
        z = estimate / np.where(se > 0, se, np.nan)
        half = norm.ppf((1 + level) / 2) * se
        return pd.DataFrame(
            {
                "term": terms,
                "estimate": estimate,
                "se": se,
                "z": z,
                "p": 2.0 * norm.sf(np.abs(z)),
                "lower": estimate - half,
                "upper": estimate + half,
            }
        )

    def leaderboard(
        self,
        *,
        method: str = "sandwich",
        level: float = 0.95,
        scale: str | float = "logit",
        base: float | None = None,
        anchor: Any = None,
        n_replicates: int = 1000,
        random_state: int | None = 0,
    ) -> pd.DataFrame:
        """Items from strongest to weakest, with intervals of their strengths and of their ranks.

        Parameters
        ----------
        method, level, n_replicates, random_state
            As in :meth:`confint`.
        scale : {"logit", "elo"} or float
            Points of a unit of strength: 1; ``400 / log(10)``; or this number.
        base : float, optional
            Points of the mean strength, or of the anchor: 0, and 1500 for "elo", when left out.
        anchor : item id, optional
            The item that has `base` points by definition: its own interval has no width, and the others'
            are of their distance to it.

        Returns
        -------
        DataFrame
            ``rank``, ``item``, ``strength``, ``se``, ``lower``, ``upper``, ``rank_lower``, ``rank_upper``,
            ``wins``, ``ties``, ``losses``, ``component``. An item's best possible rank is one more than the
            number of items whose strength is significantly above its own, by the standard error of the
            difference; its worst is the number of items not significantly below. With the bootstrap both are
            percentiles of its ranks in the replicates.

        Warns
        -----
        UserWarning
            If Bradley-Terry votes mostly go round in circles, so that no order of items describes them.
        """
        self._check_scale()
        points = PointScale.of(scale, base)
        check_confidence(level)
        strengths = self._against(self.strengths_, anchor)
        if method == "bootstrap":
            draws = self.replicates(n_replicates, random_state=random_state, reference=anchor)
            uncertainty = from_replicates(draws, self.components_, level=level)
        else:
            covariance = self.covariance(method=method, reference=anchor)
            uncertainty = from_covariance(strengths, covariance, self.components_, level=level)
        return leaderboard_table(
            self.items_, strengths, uncertainty, self._tallies(), self.components_, points=points
        )

    def plot(self, *, ax: Any = None, top: int | None = None, **options: Any) -> Any:
        """Draw :meth:`leaderboard` with its intervals; `options` are those of :meth:`leaderboard`.

        Returns the matplotlib axes. Needs matplotlib (``pip install "lambdamart-kit[plot]"``).
        """
        return plot_leaderboard(self.leaderboard(**options), ax=ax, top=top)

    def _maximise(self, model: Likelihood) -> float:
        """Fit all parameters of a likelihood; returns its penalised negative logarithm."""
        self._likelihood = model
        with self._threads():
            self._parameters, loss, self.n_iter_ = newton(model, max_iter=self.max_iter, tol=self.tol)
        return loss

    def _terms(self) -> tuple[list[str], FloatArray]:
        """Name of each parameter after the strengths, and by how much the fit's unit makes it larger."""
        raise NotImplementedError

    def _check_scale(self) -> None:
        """Warn where one strength an item says little of the data. Here: does nothing."""

    def _tallies(self) -> dict[str, FloatArray]:
        """Wins, ties and losses of each item."""
        raise NotImplementedError

    def _covariance_of_all(self, method: str, n_replicates: int, random_state: int | None) -> FloatArray:
        """Covariance of all parameters, (n_parameters, n_parameters), in the units of the fit."""
        check_choice(method, METHODS, name="method")
        if method == "bootstrap":
            return np.atleast_2d(np.cov(self._replicates_of_all(n_replicates, random_state).T))
        if method == "clustered" and self._clusters is None:
            raise ValueError("'method'='clustered' needs the cluster of each row; give 'groups' to fit")
        with self._threads():
            if method == "hessian":
                return hessian_covariance(self._likelihood, self._parameters)
            clusters = self._clusters if method == "clustered" else None
            return sandwich_covariance(self._likelihood, self._parameters, clusters)

    def _threads(self) -> AbstractContextManager[Any]:
        """One BLAS thread where waking a second costs more than it helps."""
        return one_blas_thread() if self._likelihood.n_items <= _SMALL else nullcontext()

    def _replicates_of_all(self, n_replicates: int, random_state: int | None) -> FloatArray:
        rng = np.random.default_rng(random_state)
        with self._threads():
            return bootstrap_replicates(self._likelihood, self._parameters, n_replicates, rng, self._clusters)

    def _position(self, ids: Array) -> IndexArray:
        index = pd.Index(self.items_).get_indexer(pd.Index(ids))
        unknown = np.flatnonzero(index < 0)
        if len(unknown):
            raise ValueError(
                f"'pairs' must hold items seen in fit; row {unknown[0]} has the unknown "
                f"{plain(ids[unknown[0]])!r}"
            )
        return np.asarray(index, dtype=np.intp)

    def _against(self, values: FloatArray, reference: Any) -> FloatArray:
        """Values per item (leading axis) less the reference item's."""
        if reference is None:
            return values
        if self.components_.max() > 0:
            raise ValueError("'reference' and 'anchor' must be None when components are fitted by themselves")
        try:
            position = pd.Index(self.items_).get_indexer(pd.Index([reference]))[0]
        except TypeError:  # what cannot be hashed is no item
            position = -1
        if position < 0:
            some = ", ".join(map(repr, self.items_[:10].tolist()))
            raise ValueError(
                f"'reference' or 'anchor' must be an item seen in fit; got {plain(reference)!r}, "
                f"have {some}{', ...' if len(self.items_) > 10 else ''}"
            )
        return values - values[position]
