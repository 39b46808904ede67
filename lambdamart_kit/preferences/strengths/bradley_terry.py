"""Bradley-Terry strengths from paired comparisons."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.core.gains import check_choice, check_number
from lambdamart_kit.core.typing import Array, FloatArray, Ids, IndexArray
from lambdamart_kit.preferences.strengths.comparisons import Comparisons, check_rows, count_comparisons
from lambdamart_kit.preferences.strengths.connectivity import (
    describe_components,
    strong_components,
    ties_outweigh_wins,
)
from lambdamart_kit.preferences.strengths.cycles import HodgeDecomposition
from lambdamart_kit.preferences.strengths.goodness import (
    GoodnessOfFit,
    goodness_of_fit,
    vote_flow,
)
from lambdamart_kit.preferences.strengths.leaderboard import comparison_tallies
from lambdamart_kit.preferences.strengths.likelihood import StrengthModel
from lambdamart_kit.preferences.strengths.table import StrengthTable
from lambdamart_kit.preferences.strengths.ties import TIE_MODELS
from lambdamart_kit.preferences.strengths.uncertainty import ClusterCounts

_DISCONNECTED = ("raise", "components", "prior")


class BradleyTerry(StrengthTable):
    r"""Strength of each item from paired comparisons, by penalised maximum likelihood.

    .. math:: P(i \text{ beats } j) = \sigma(\eta), \qquad
              \eta = \theta_i - \theta_j + \alpha + x^\top \gamma

    with strengths :math:`\theta` that sum to zero, an optional order effect :math:`\alpha` (home advantage,
    position bias) and optional covariates of the comparison :math:`x` (difference in length, in style).
    The loss

    .. math:: \sum_k w_k \ell(\eta_k, y_k) + \frac{\mathrm{prior}}{2} \sum_i \theta_i^2

    is minimised by Newton's method on the distinct comparisons, so a million votes among a hundred items cost
    what counting them costs.

    Parameters
    ----------
    ties : {"half", "davidson", "rao-kupper"}
        A tie counts as half a win and half a loss; or has a probability of its own with one more parameter.
        Only "half" takes soft outcomes such as 0.8.
    prior : float
        Precision of a normal prior with mean zero on every strength: ``prior / 2 * sum(theta**2)`` is added
        to the negative log-likelihood. The order effect, covariates and tie parameter are not penalised.
    order_effect : bool
        Estimate an advantage of the first item of a comparison. For an advantage that some comparisons
        do not have (a neutral ground) give a 0/1 covariate instead.
    on_disconnected : {"raise", "components", "prior"}
        When no finite estimate exists because the graph of wins is not strongly connected: raise; fit each
        strongly connected component by itself, with strengths that sum to zero in each and comparisons
        between components left out; or use ``prior=1`` with a warning. Nothing to decide when `prior` > 0.
    max_iter : int
        Newton steps allowed.
    tol : float
        Converged once no parameter moves by more.

    Attributes
    ----------
    items_ : (n_items,) array
        Item ids, ascending.
    strengths_ : (n_items,) float64
        Strength of each item, on the logit scale; mean zero.
    order_effect_ : float
        Advantage of the first item; 0 when not estimated.
    covariate_coef_ : (q,) float64
        Coefficient of each covariate.
    covariate_names_ : list of str
        Their names.
    tie_parameter_ : float
        Davidson's nu or Rao and Kupper's kappa; NaN for "half".
    components_ : (n_items,) intp
        Component of each item; all 0 unless ``on_disconnected="components"`` split them.
    comparisons_ : Comparisons
        The counted comparisons used.
    loss_ : float
        Penalised negative log-likelihood.
    n_iter_ : int
        Newton steps taken.

    References
    ----------
    Bradley and Terry (1952), "Rank analysis of incomplete block designs", Biometrika 39. Ford (1957),
    "Solution of a ranking problem from binary comparisons". Firth (2005), "Bradley-Terry models in R",
    J. Stat. Software 12. Chiang et al. (2024), "Chatbot Arena", section 4 (sandwich intervals).

    Examples
    --------
    Two players, 3 wins to 1: the strengths differ by log 3.

    >>> bt = BradleyTerry().fit([["x", "y"]] * 4, [1, 1, 1, 0])
    >>> bt.items_.tolist(), bt.strengths_.round(4).tolist()
    (['x', 'y'], [0.5493, -0.5493])
    >>> bt.predict_proba([["x", "y"]]).round(4).tolist()
    [[0.25, 0.75]]
    """

    _likelihood: StrengthModel

    def __init__(
        self,
        *,
        ties: str = "half",
        prior: float = 0.0,
        order_effect: bool = False,
        on_disconnected: str = "raise",
        max_iter: int = 100,
        tol: float = 1e-8,
    ) -> None:
        self.ties = ties
        self.prior = prior
        self.order_effect = order_effect
        self.on_disconnected = on_disconnected
        self.max_iter = max_iter
        self.tol = tol

    def fit(
        self,
        pairs: Ids,
        outcomes: Any = None,
        sample_weight: Any = None,
        *,
        covariates: Any = None,
        counts: Any = None,
        groups: Ids = None,
    ) -> BradleyTerry:
        """Fit the strengths.

        Parameters
        ----------
        pairs : (n, 2) array or DataFrame
            Ids of the two items compared, of any dtype. A DataFrame with string or categorical columns is
            faster than an array of Python strings.
        outcomes : (n,) array, optional
            For the first item: 1 won, 0 lost, 0.5 tie; or the winner's id; or "model_a", "model_b", "tie" and
            the like. The first item won every comparison when left out.
        sample_weight : (n,) array, optional
            Importance of each row.
        covariates : (n, q) array or DataFrame, optional
            First item's value less the second's, for each comparison.
        counts : (n,) array, optional
            Times each row was observed; the same as repeating it.
        groups : (n,) array, optional
            Cluster of each row (annotator, day) for ``method="clustered"`` and the bootstrap.

        Returns
        -------
        BradleyTerry
            The fitted estimator itself.

        Raises
        ------
        ValueError
            On bad input, or when no finite estimate exists.
        """
        self._check_parameters()
        matrix, self.covariate_names_ = _covariate_matrix(covariates, len(pairs))
        design, self._covariate_scale = _design(matrix, len(pairs), order_effect=self.order_effect)
        counted = count_comparisons(
            pairs,
            outcomes,
            sample_weight=sample_weight,
            counts=counts,
            covariates=design,
            keep_rows=groups is not None,
        )
        model, used = self._model(counted)
        self._clusters = None
        if groups is not None and counted.record is not None:
            seen = check_rows(counts, len(counted.record), "counts")
            clusters = ClusterCounts.of_groups(groups, counted.record, seen, len(counted.first), rows="pairs")
            self._clusters = clusters.restricted(used)
        self.loss_ = self._maximise(model)
        strengths, coefficients, self._delta = model.split(self._parameters)
        coefficients = coefficients / self._covariate_scale
        self.items_ = counted.items
        self.strengths_ = strengths
        self.components_ = model.components
        natural = model.comparisons.covariates * self._covariate_scale
        self.comparisons_ = dataclasses.replace(model.comparisons, covariates=natural)
        self.order_effect_ = float(coefficients[0]) if self.order_effect else 0.0
        self.covariate_coef_ = coefficients[1:] if self.order_effect else coefficients
        self.tie_parameter_ = model.ties.parameter(self._delta)
        self.classes_ = np.array([0.0, 0.5, 1.0] if model.ties.has_parameter else [0.0, 1.0])
        return self

    def predict_proba(self, pairs: Ids, *, covariates: Any = None) -> FloatArray:
        """Probability of each outcome for the first item, (n, 2) loss and win, or (n, 3) loss, tie and win.

        Columns follow `classes_`. NaN for items of different components. `covariates` are as in `fit` and
        taken as zero when left out.

        Parameters
        ----------
        pairs : (n, 2) array or DataFrame
            Ids of the two items compared.
        covariates : (n, q) array or DataFrame, optional
            First item's value less the second's, as in `fit`; zero when left out.

        Returns
        -------
        (n, 2) or (n, 3) array
            Each row sums to 1.

        Raises
        ------
        ValueError
            If an item was not in the fit.
        """
        check_is_fitted(self)
        first, second = (self._position(side) for side in _columns(pairs))
        eta = self.strengths_[first] - self.strengths_[second] + self.order_effect_
        design, _ = _covariate_matrix(covariates, len(first))
        if design is not None:
            if design.shape[1] != len(self.covariate_coef_):
                raise ValueError(
                    f"'covariates' must have {len(self.covariate_coef_)} columns as in fit; "
                    f"got {design.shape[1]}"
                )
            eta = eta + design @ self.covariate_coef_
        probabilities = self._likelihood.ties.probabilities(eta, self._delta)
        probabilities[self.components_[first] != self.components_[second]] = np.nan
        return probabilities

    def predict(self, pairs: Ids, *, covariates: Any = None) -> FloatArray:
        """Expected outcome for the first item, (n,): P(win) + P(tie) / 2.

        Parameters
        ----------
        pairs : (n, 2) array or DataFrame
            Ids of the two items compared.
        covariates : (n, q) array or DataFrame, optional
            First item's value less the second's, as in `fit`; zero when left out.

        Returns
        -------
        (n,) array
            Values in [0, 1]; NaN for items of different components.
        """
        probabilities = self.predict_proba(pairs, covariates=covariates)
        expected: FloatArray = probabilities @ self.classes_
        return expected

    def goodness_of_fit(self, *, n_replicates: int = 1000, random_state: int | None = 0) -> GoodnessOfFit:
        r"""Whether one strength an item describes the votes, or they go round in circles.

        Tests described in :mod:`lambdamart_kit.preferences.strengths.goodness`: the likelihood ratio and a
        score test against a log-odds of its own for every pair of items, and the cyclic flow
        :math:`Q = \sum w_{ij} R_{ij}^2` against votes redrawn from this fit. Votes are taken as independent,
        unless `groups` were given to `fit`: then score test and bootstrap allow for groups that hang
        together.

        Parameters
        ----------
        n_replicates : int
            Vote tables redrawn for the parametric bootstrap; 0 for none.
        random_state : int
            Of the redrawn votes.

        Returns
        -------
        GoodnessOfFit
            Print it for the verdict in words. Its ``hodge`` has the shares and the worst cycles.

        Raises
        ------
        ValueError
            If replicates are asked for and outcomes are soft, so that there are no votes to redraw.

        Examples
        --------
        300 games of rock, paper, scissors are not three equal players:

        >>> games = [["rock", "scissors"], ["scissors", "paper"], ["paper", "rock"]] * 100
        >>> bt = BradleyTerry().fit(games, [1] * 290 + [0] * 10)
        >>> print(bt.goodness_of_fit())  # doctest: +NORMALIZE_WHITESPACE
        If votes are independent of each other, a single scale does not describe them (score test 262.6 on
        1 degree of freedom, p = 4.6e-59; parametric bootstrap p = 0.001). 99% of the squared log-odds go
        round in cycles, most clearly paper > rock > scissors > paper.
        """
        check_is_fitted(self)
        rng = np.random.default_rng(random_state)
        # A leaderboard asks before it is drawn, and whoever reads it asks again.
        known: tuple[FloatArray, GoodnessOfFit] | None = getattr(self, "_plain_fit_test", None)
        if n_replicates == 0 and known is not None and known[0] is self._parameters:
            return known[1]
        with self._threads():
            test = goodness_of_fit(
                self._likelihood, self._parameters, self._clusters, n_replicates=n_replicates, rng=rng
            )
        if n_replicates == 0:
            self._plain_fit_test = (self._parameters, test)
        return test

    def hodge(self) -> HodgeDecomposition:
        """The votes' log-odds split into what strengths explain and what goes round in cycles.

        Flows are of the smoothed votes themselves, whatever the fit; see
        :func:`lambdamart_kit.preferences.strengths.goodness.vote_flow`.

        Returns
        -------
        HodgeDecomposition
            Potentials of the items and the flow that is left.
        """
        check_is_fitted(self)
        with self._threads():
            return vote_flow(self.comparisons_)

    def _terms(self) -> tuple[list[str], FloatArray]:
        terms = (["order_effect"] if self.order_effect else []) + self.covariate_names_
        scale = self._covariate_scale
        if self._likelihood.free_ties:
            return [*terms, "log_tie_parameter"], np.append(scale, 1.0)
        return terms, scale

    def _check_scale(self) -> None:
        fit = self.goodness_of_fit(n_replicates=0)
        if fit.is_mostly_cyclic:
            warnings.warn(f"{fit} See goodness_of_fit().", UserWarning, stacklevel=3)

    def _tallies(self) -> dict[str, FloatArray]:
        return comparison_tallies(self.comparisons_)

    def _check_parameters(self) -> None:
        check_choice(self.ties, tuple(TIE_MODELS), name="ties")
        check_choice(self.on_disconnected, _DISCONNECTED, name="on_disconnected")
        check_number(self.prior, name="prior", least=0.0)

    def _model(self, comparisons: Comparisons) -> tuple[StrengthModel, Array]:
        """The likelihood to maximise, and which records are in it."""
        outcome, ties = comparisons.outcome, TIE_MODELS[self.ties]
        soft = ~np.isin(outcome, (0.0, 0.5, 1.0))
        if ties.has_parameter and soft.any():
            raise ValueError(
                f"'outcomes' must be 0, .5 or 1 with ties={self.ties!r}; got {outcome[soft][0]}; "
                "use ties='half' for soft outcomes"
            )
        prior, labels = float(self.prior), np.zeros(comparisons.n_items, dtype=np.intp)
        used = np.ones(len(outcome), dtype=bool)
        if prior == 0.0:
            strong = strong_components(comparisons)
            if strong.max() > 0:
                prior, labels = self._disconnected(comparisons, strong)
                used = labels[comparisons.first] == labels[comparisons.second]
        kept = comparisons if used.all() else _select(comparisons, used)
        if len(kept.first) == 0:
            raise ValueError(
                "no strongly connected component has two items, so nothing can be estimated; set 'prior'"
            )
        free_ties = ties.has_parameter and bool((kept.outcome == 0.5).any())
        if free_ties and (ties_outweigh_wins(kept) if prior == 0.0 else np.all(kept.outcome == 0.5)):
            raise ValueError(
                f"no finite estimate exists under ties={self.ties!r}: ties outweigh wins in every cycle of "
                "comparisons, so strengths and tie parameter grow without limit; use ties='half' or 'prior'"
            )
        return StrengthModel(kept, ties, free_ties, prior, labels), used

    def _disconnected(self, comparisons: Comparisons, labels: IndexArray) -> tuple[float, IndexArray]:
        what = describe_components(comparisons, labels)
        if self.on_disconnected == "raise":
            raise ValueError(
                f"no finite strengths exist: {what}; set 'prior' > 0, or on_disconnected='components' or "
                "'prior', or drop those items"
            )
        if self.on_disconnected == "components":
            return 0.0, labels
        warnings.warn(f"{what}: fitted with prior=1", UserWarning, stacklevel=4)
        return 1.0, np.zeros_like(labels)


def _columns(pairs: Ids) -> tuple[Array, Array]:
    if isinstance(pairs, pd.DataFrame):
        return pairs.iloc[:, 0].to_numpy(), pairs.iloc[:, 1].to_numpy()
    table = np.asarray(pairs)
    if table.ndim != 2 or table.shape[1] != 2:
        raise ValueError(f"'pairs' must have shape (n, 2); got {table.shape}")
    return table[:, 0], table[:, 1]


def _covariate_matrix(covariates: Any, n_rows: int) -> tuple[FloatArray | None, list[str]]:
    if covariates is None:
        return None, []
    names = [str(c) for c in getattr(covariates, "columns", [])]
    matrix = np.asarray(covariates, dtype=np.float64)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    if matrix.ndim != 2 or len(matrix) != n_rows:
        raise ValueError(f"'covariates' must have one row per comparison, {n_rows}; got shape {matrix.shape}")
    bad = np.argwhere(~np.isfinite(matrix))
    if len(bad):
        raise ValueError(f"'covariates' must be finite; row {bad[0][0]}, column {bad[0][1]} is not")
    return matrix, names or [f"covariate_{i}" for i in range(matrix.shape[1])]


def _design(
    covariates: FloatArray | None, n_rows: int, *, order_effect: bool
) -> tuple[FloatArray | None, FloatArray]:
    """Order effect and covariates in units of their root mean square, and those units.

    Newton's method and its stopping rule then see numbers of order one, whether a covariate is in dollars a
    token or in microseconds.
    """
    columns = [np.ones(n_rows)] if order_effect else []
    units = [1.0] if order_effect else []
    for column in [] if covariates is None else covariates.T:
        largest = np.abs(column).max(initial=0.0)
        # The largest value goes first, so that no square over- or underflows.
        unit = largest * float(np.sqrt(np.mean((column / largest) ** 2))) if largest > 0 else 1.0
        columns.append(column / unit)
        units.append(unit)
    return np.column_stack(columns) if columns else None, np.array(units)


def _select(comparisons: Comparisons, used: Array) -> Comparisons:
    fields = ("first", "second", "outcome", "covariates", "count", "sample_weight")
    return dataclasses.replace(comparisons, **{name: getattr(comparisons, name)[used] for name in fields})
