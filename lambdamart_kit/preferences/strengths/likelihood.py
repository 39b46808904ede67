"""The likelihood of strengths, order effect, covariates and tie parameter, and Newton's method on it.

Parameters stand in one vector: ``theta`` (n_items), coefficients of the covariates (q), and the tie parameter
on the log scale where the tie model has one. The Hessian is a weighted graph Laplacian, bordered by a few
dense columns; so is the middle of the sandwich, with squared scores in the place of second derivatives.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse
from scipy.special import xlogy

from lambdamart_kit.core.information import laplacian, solve_sparse
from lambdamart_kit.core.typing import FloatArray, IndexArray
from lambdamart_kit.preferences.strengths.comparisons import Comparisons
from lambdamart_kit.preferences.strengths.identification import ScaledInformation, centre, factored
from lambdamart_kit.preferences.strengths.ties import Derivatives, TieModel

_MOST_FREE_STEPS = 300
_FREE_RIDGE = 1e-8  # keeps log-odds of pairs finite where one side won every vote
DENSE_NEWTON = 1000  # items up to which a dense factorisation beats conjugate gradients


class Likelihood(Protocol):
    """What Newton's method, the sandwich and the bootstrap need of a likelihood of strengths.

    The strengths of items are the leading parameters. A record is what was observed at once: one comparison
    or one ranking, `count` times with `sample_weight` each.
    """

    @property
    def n_items(self) -> int:
        """Number of items, the leading parameters."""
        ...

    @property
    def n_parameters(self) -> int:
        """Number of all parameters."""
        ...

    @property
    def prior(self) -> float:
        """Above 0 where a prior fixes the zero of strengths."""
        ...

    @property
    def count(self) -> FloatArray:
        """Times each record was observed, (n_records,)."""
        ...

    @property
    def sample_weight(self) -> FloatArray:
        """Weight of one observation of each record, (n_records,)."""
        ...

    def start(self) -> FloatArray:
        """Where Newton's method starts."""
        ...

    def condensed(self) -> Likelihood:
        """The same likelihood with fewer records, for fitting."""
        ...

    def derivatives(self, parameters: FloatArray) -> Any:
        """Loss and derivatives, which the methods below take."""
        ...

    def loss(self, parameters: FloatArray, derivatives: Any) -> float:
        """Penalised negative log-likelihood."""
        ...

    def newton_step(self, parameters: FloatArray, derivatives: Any) -> FloatArray:
        """``-H^-1 g``."""
        ...

    def hessian(self, derivatives: Any) -> FloatArray:
        """Dense Hessian of the loss."""
        ...

    def identified(self, hessian: FloatArray) -> ScaledInformation:
        """The Hessian factored, what it leaves undetermined pinned."""
        ...

    def centre(self, vectors: FloatArray) -> FloatArray:
        """Shift strengths (leading axis, in place) so that each component's sum to zero."""
        ...

    def scores(self, derivatives: Any) -> Any:
        """Gradient of each record observed once, (n_records, n_parameters), dense or CSR."""
        ...

    def meat(self, derivatives: Any) -> FloatArray:
        """Sum of squared scores of all observations."""
        ...

    def resampled_step(
        self, parameters: FloatArray, derivatives: Any, weight: FloatArray, gradient: FloatArray
    ) -> FloatArray:
        """Newton's step from the fit to a resample's, whose `gradient` (without a prior's) is given."""
        ...


@dataclass(frozen=True, eq=False)
class StrengthModel:
    """Penalised likelihood of all parameters given counted comparisons.

    Attributes
    ----------
    comparisons : Comparisons
        Records, with the order effect as a covariate where there is one.
    ties : TieModel
        What a tie says.
    free_ties : bool
        Whether the tie parameter is estimated (some record is a tie); it stays fixed otherwise.
    prior : float
        ``prior / 2 * sum(theta ** 2)`` is added to the loss; other parameters are not penalised.
    components : (n_items,) intp
        Items of one component share one zero.
    """

    comparisons: Comparisons
    ties: TieModel
    free_ties: bool
    prior: float
    components: IndexArray

    @property
    def n_items(self) -> int:
        """Number of items, the leading parameters."""
        return self.comparisons.n_items

    @property
    def n_parameters(self) -> int:
        """Items, covariates and the tie parameter where it is free."""
        return self.n_items + self.comparisons.covariates.shape[1] + self.free_ties

    @property
    def count(self) -> FloatArray:
        """Times each record was seen, (m,)."""
        return self.comparisons.count

    @property
    def sample_weight(self) -> FloatArray:
        """Weight of one such record, (m,)."""
        return self.comparisons.sample_weight

    def start(self) -> FloatArray:
        """Equal strengths, and the tie parameter that explains the share of ties."""
        parameters = np.zeros(self.n_parameters)
        if self.free_ties:
            weight = self.comparisons.weight
            parameters[-1] = self.ties.start(
                float(weight[self.comparisons.outcome == 0.5].sum() / weight.sum())
            )
        return parameters

    def split(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        """Strengths, covariate coefficients and ``delta``."""
        n_items, n_covariates = self.n_items, self.comparisons.covariates.shape[1]
        delta = float(parameters[-1]) if self.free_ties else self.fixed_delta
        return parameters[:n_items], parameters[n_items : n_items + n_covariates], delta

    @property
    def fixed_delta(self) -> float:
        """The tie parameter when no tie was seen: ties have probability (next to) zero."""
        return self.ties.start(1e-100) if self.ties.has_parameter else 0.0

    def linear_predictor(self, parameters: FloatArray) -> FloatArray:
        """``eta`` of each record, (m,)."""
        strengths, coefficients, _ = self.split(parameters)
        c = self.comparisons
        return strengths[c.first] - strengths[c.second] + c.covariates @ coefficients

    def derivatives(self, parameters: FloatArray) -> Derivatives:
        """Loss and derivatives of one comparison of each record."""
        delta = self.split(parameters)[2]
        return self.ties.derivatives(self.linear_predictor(parameters), delta, self.comparisons.outcome)

    def loss(self, parameters: FloatArray, derivatives: Derivatives) -> float:
        """Penalised negative log-likelihood."""
        strengths = parameters[: self.n_items]
        # Sums, not BLAS products: pairwise summation, and no thread pool to wake for a few thousand numbers.
        data = np.sum(self.comparisons.weight * derivatives.loss)
        return float(data + self.prior / 2 * np.sum(strengths**2))

    def gradient(self, parameters: FloatArray, derivatives: Derivatives) -> FloatArray:
        """Gradient of the loss, (n_parameters,)."""
        gradient = self.collect(
            self.comparisons.weight * derivatives.eta, self.comparisons.weight * derivatives.delta
        )
        gradient[: self.n_items] += self.prior * parameters[: self.n_items]
        return gradient

    def collect(self, eta: FloatArray, delta: FloatArray) -> FloatArray:
        """Sum values given per record for ``eta`` and for ``delta`` onto the parameters they move."""
        c = self.comparisons
        items = np.bincount(c.first, eta, c.n_items) - np.bincount(c.second, eta, c.n_items)
        return np.concatenate([items, c.covariates.T @ eta, [delta.sum()] if self.free_ties else []])

    def scores(self, derivatives: Derivatives) -> scipy.sparse.csr_array:
        """Gradient of one comparison of each record, (m, n_parameters) CSR."""
        c = self.comparisons
        m = len(c.first)
        blocks = [
            scipy.sparse.csr_array(
                (
                    np.concatenate([derivatives.eta, -derivatives.eta]),
                    (np.tile(np.arange(m), 2), np.concatenate([c.first, c.second])),
                ),
                shape=(m, c.n_items),
            ),
            scipy.sparse.csr_array(c.covariates * derivatives.eta[:, None]),
        ]
        if self.free_ties:
            blocks.append(scipy.sparse.csr_array(derivatives.delta[:, None]))
        return scipy.sparse.csr_array(scipy.sparse.hstack(blocks, format="csr"))

    def assemble(
        self, eta_eta: FloatArray, eta_delta: FloatArray, delta_delta: FloatArray, *, sparse: bool = False
    ) -> Any:
        """Sum of ``a z z'`` over records: a bordered Laplacian over all parameters, dense or CSR."""
        c = self.comparisons
        core = laplacian(c.first, c.second, eta_eta, c.n_items, sparse=sparse)
        if self.n_parameters == c.n_items:
            return core
        weighted = c.covariates * eta_eta[:, None]
        columns: FloatArray = weighted
        corner: FloatArray = c.covariates.T @ weighted
        if self.free_ties:
            side = c.covariates.T @ eta_delta
            columns = np.column_stack([columns, eta_delta])
            last = np.append(side, delta_delta.sum())
            corner = np.column_stack([np.vstack([corner, side]), last])
        border = np.column_stack(
            [
                np.bincount(c.first, column, c.n_items) - np.bincount(c.second, column, c.n_items)
                for column in columns.T
            ]
        )
        stack: Any = scipy.sparse.block_array if sparse else np.block
        whole = stack([[core, border], [border.T, corner]])
        return scipy.sparse.csr_array(whole) if sparse else whole

    def hessian(
        self, derivatives: Derivatives, weight: FloatArray | None = None, *, sparse: bool = False
    ) -> Any:
        """Hessian of the loss under record weights `weight` (the data's own when left out)."""
        w = self.comparisons.weight if weight is None else weight
        hessian = self.assemble(
            w * derivatives.eta_eta, w * derivatives.eta_delta, w * derivatives.delta_delta, sparse=sparse
        )
        if self.prior == 0.0:
            return hessian
        ridge = np.zeros(self.n_parameters)
        ridge[: self.n_items] = self.prior
        return hessian + (scipy.sparse.diags_array(ridge) if sparse else np.diag(ridge))

    def identified(self, hessian: FloatArray) -> ScaledInformation:
        """The dense Hessian factored, every component's zero pinned; see :func:`factored`."""
        return factored(hessian, self.n_items, self.components, pinned=self.prior > 0.0)

    def centre(self, vectors: FloatArray) -> FloatArray:
        """Shift strengths (leading axis, in place) so that each component's sum to zero."""
        return centre(vectors, self.n_items, self.components)

    def newton_step(self, parameters: FloatArray, derivatives: Derivatives) -> FloatArray:
        """``-H^-1 g``, by conjugate gradients where the dense factorisation would be slower."""
        gradient = self.gradient(parameters, derivatives)
        if self.n_items <= DENSE_NEWTON:
            step = -self.identified(self.hessian(derivatives)).solve(gradient)
        else:
            step = solve_sparse(self.hessian(derivatives, sparse=True), -gradient)
        return self.centre(step) if self.prior == 0.0 else step

    def resampled_step(
        self, parameters: FloatArray, derivatives: Derivatives, weight: FloatArray, gradient: FloatArray
    ) -> FloatArray:
        """Newton's step to the fit of a resample, whose records have these weights and this gradient.

        A resample whose own Hessian is singular (an item fell out) uses the data's.
        """
        gradient[: self.n_items] += self.prior * parameters[: self.n_items]
        if self.n_items > DENSE_NEWTON:
            hessian = self.hessian(derivatives, weight, sparse=True)
            return -solve_sparse(hessian, gradient, tolerance=1e-6)
        try:
            return -self.identified(self.hessian(derivatives, weight)).solve(gradient)
        except ValueError:
            return -self.identified(self.hessian(derivatives)).solve(gradient)

    def meat(self, derivatives: Derivatives) -> FloatArray:
        """Sum of squared scores of all comparisons, (n_parameters, n_parameters)."""
        squared = self.count * self.sample_weight**2
        meat: FloatArray = self.assemble(
            squared * derivatives.eta**2,
            squared * derivatives.eta * derivatives.delta,
            squared * derivatives.delta**2,
        )
        return meat

    def condensed(self) -> StrengthModel:
        """The same likelihood with one record a pair of items, where outcomes differ only in their mean.

        ``-t log sigma(eta) - (1 - t) log sigma(-eta)`` is linear in t, so wins, ties and losses of a pair are
        one soft outcome. Records of a pair follow each other.
        """
        c = self.comparisons
        if self.ties.has_parameter or c.covariates.shape[1]:
            return self
        starts = np.flatnonzero(np.append(True, (np.diff(c.first) != 0) | (np.diff(c.second) != 0)))
        weight = np.add.reduceat(c.weight, starts)
        condensed = dataclasses.replace(
            c,
            first=c.first[starts],
            second=c.second[starts],
            outcome=np.add.reduceat(c.weight * c.outcome, starts) / weight,
            covariates=c.covariates[starts],
            count=weight,
            sample_weight=np.ones(len(starts)),
            record=None,
        )
        return dataclasses.replace(self, comparisons=condensed)

    def restricted(self, kept: FloatArray | IndexArray) -> StrengthModel:
        """The same model on some of the records."""
        c = self.comparisons
        fields = ("first", "second", "outcome", "covariates", "count", "sample_weight")
        return dataclasses.replace(
            self, comparisons=dataclasses.replace(c, **{name: getattr(c, name)[kept] for name in fields})
        )


def newton(model: Likelihood, *, max_iter: int, tol: float) -> tuple[FloatArray, float, int]:
    """Minimise the loss by Newton's method with step halving: parameters, loss, iterations.

    Raises
    ------
    ValueError
        If the step does not fall below `tol` within `max_iter` iterations.
    """
    model = model.condensed()
    parameters = model.start()
    derivatives = model.derivatives(parameters)
    loss = model.loss(parameters, derivatives)
    for iteration in range(1, max_iter + 1):
        step = model.newton_step(parameters, derivatives)
        for _ in range(60):
            proposal = parameters + step
            derivatives = model.derivatives(proposal)
            proposed = model.loss(proposal, derivatives)
            if proposed <= loss + 1e-12 * abs(loss):
                break
            step /= 2.0
        parameters = proposal
        loss = proposed
        if np.abs(step).max() <= tol:
            return parameters, loss, iteration
    raise ValueError(
        f"strengths did not converge in {max_iter} iterations (last step {np.abs(step).max():.3g}, "
        f"'tol' {tol:g}): a parameter runs to infinity when covariates or ties predict the outcomes without "
        "error; set 'prior', drop covariates or raise 'max_iter'"
    )


def loss_of_free_pairs(model: StrengthModel, starts: IndexArray, pair: IndexArray) -> float:
    """Smallest negative log-likelihood when every pair of items has a log-odds of its own.

    Parameters
    ----------
    model : StrengthModel
        The model whose other parameters (order effect, covariates, ties) are kept.
    starts : (n_pairs,) intp
        First record of each pair.
    pair : (n_records,) intp
        Pair of each record.
    """
    c = model.comparisons
    if not model.ties.has_parameter and c.covariates.shape[1] == 0:
        wins = np.add.reduceat(c.weight * c.outcome, starts)
        total = np.add.reduceat(c.weight, starts)
        return float(-np.sum(xlogy(wins, wins / total) + xlogy(total - wins, 1.0 - wins / total)))
    # Newton's method: the Hessian is diagonal in the pairs' log-odds, bordered by the few other parameters,
    # which the Schur complement solves for first.
    phi = np.zeros(len(starts))
    rest = model.start()[model.n_items :]
    loss = np.inf
    step_phi = phi
    step_rest = rest
    scale = 1.0
    for _ in range(_MOST_FREE_STEPS):
        proposal_phi = phi + scale * step_phi
        proposal_rest = rest + (scale * step_rest if np.isfinite(loss) else 0.0)
        derivatives = _free_derivatives(model, proposal_phi, proposal_rest, pair)
        proposed = float(np.sum(c.weight * derivatives.loss) + _FREE_RIDGE / 2 * np.sum(proposal_phi**2))
        if not proposed <= loss + 1e-12 * abs(loss):
            scale /= 2.0
            continue
        gained = loss - proposed
        phi = proposal_phi
        rest = proposal_rest
        loss = proposed
        if gained < 1e-10 * max(1.0, loss):
            break
        scale = 1.0
        step_phi, step_rest = _free_step(model, derivatives, phi, pair)
    return loss - _FREE_RIDGE / 2 * float(np.sum(phi**2))


def _free_derivatives(
    model: StrengthModel, phi: FloatArray, rest: FloatArray, pair: IndexArray
) -> Derivatives:
    c = model.comparisons
    n_covariates = c.covariates.shape[1]
    delta = float(rest[-1]) if model.free_ties else model.fixed_delta
    return model.ties.derivatives(phi[pair] + c.covariates @ rest[:n_covariates], delta, c.outcome)


def _free_step(
    model: StrengthModel, derivatives: Derivatives, phi: FloatArray, pair: IndexArray
) -> tuple[FloatArray, FloatArray]:
    """Newton's step of the pairs' log-odds and of covariates and tie parameter."""
    c = model.comparisons
    w = c.weight
    columns = list(c.covariates.T)
    slopes = [w * derivatives.eta * x for x in columns]
    crosses = [w * derivatives.eta_eta * x for x in columns]
    if model.free_ties:
        slopes.append(w * derivatives.delta)
        crosses.append(w * derivatives.eta_delta)
    n_pairs = len(phi)
    gradient = np.bincount(pair, w * derivatives.eta, n_pairs) + _FREE_RIDGE * phi
    diagonal = np.bincount(pair, w * derivatives.eta_eta, n_pairs) + _FREE_RIDGE
    border = np.column_stack([np.bincount(pair, cross, n_pairs) for cross in crosses])
    corner = np.array([[np.sum(cross * x) for x in columns] for cross in crosses])
    if model.free_ties:
        last = np.append(corner[-1], np.sum(w * derivatives.delta_delta))
        corner = np.column_stack([np.vstack([corner[:-1], corner[-1:]]), last])
    schur = corner - border.T @ (border / diagonal[:, None])
    right = np.array([slope.sum() for slope in slopes]) - border.T @ (gradient / diagonal)
    # A covariate that is constant in each pair adds nothing to free pairs: its direction stays where it is.
    step_rest = -np.linalg.pinv(schur, rcond=1e-10, hermitian=True) @ right
    return -(gradient + border @ step_rest) / diagonal, step_rest
