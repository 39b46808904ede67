r"""Does one strength an item describe the votes? Tests of Bradley-Terry against any log-odds for each pair.

Two tests with the same null hypothesis:

- the likelihood ratio :math:`2 (\ell_{pairs} - \ell_{BT})` against the model in which every pair of items has
  a log-odds of its own; order effect, covariates and tie parameter are in both. With ``ties="half"`` and no
  covariates that larger model is the saturated one. Its distribution is about chi-squared where pairs have
  many votes each.
- the cyclic flow :math:`Q = \sum w_{ij} R_{ij}^2` that no strengths explain (see
  :mod:`lambdamart_kit.preferences.strengths.cycles`), with
  :math:`Y_{ij} = \log \frac{n_{ji} + 1/2}{n_{ij} + 1/2}`, compared with its values on votes redrawn from the
  fitted model (parametric bootstrap). This one holds for few votes a pair too.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse
from scipy.special import logit, xlogy
from scipy.stats import chi2

from lambdamart_kit.core.typing import FloatArray, IndexArray
from lambdamart_kit.preferences.strengths.comparisons import Comparisons
from lambdamart_kit.preferences.strengths.cycles import (
    HodgeDecomposition,
    hodge_decomposition,
    potential,
    weak_components,
)
from lambdamart_kit.preferences.strengths.likelihood import StrengthModel, newton
from lambdamart_kit.preferences.strengths.ties import Derivatives
from lambdamart_kit.preferences.strengths.uncertainty import ClusterCounts

_MOST_STEPS = 300
_RIDGE = 1e-8  # keeps log-odds of pairs finite where one side won every vote
_FAR = 30.0  # log-odds that stand for infinite ones
_AFFORDABLE = ((300, 200), (1000, 50))  # items up to which so many replicates take a second or two
_FEW_VOTES = 5.0  # votes a pair below which chi-squared is no good approximation


@dataclass(frozen=True, eq=False)
class GoodnessOfFit:
    """What the tests say.

    Attributes
    ----------
    likelihood_ratio : float
        Twice the gain in log-likelihood of a log-odds for each pair; NaN where rows have weights.
    degrees_of_freedom : int
        Independent cycles of the comparison graph; 0 means that nothing can be tested.
    p_value : float
        Of the likelihood ratio under chi-squared; NaN without degrees of freedom.
    cyclic_flow : float
        Q, the weighted squared flow that no strengths explain.
    p_bootstrap : float
        Share of redrawn vote tables with at least this Q, the observed one counted in; NaN without any.
    design_effect : float
        Variance of the votes of a pair over what the model says: below 1 where ties count half, above 1 where
        `groups` of votes hang together. The likelihood ratio is divided by it before it is tested.
    clustered : bool
        Whether groups of votes were allowed to hang together; else votes are taken as independent.
    votes_per_pair : float
        Mean number of votes of a pair that met.
    hodge : HodgeDecomposition
        Shares of the flow and the worst cycles.
    """

    likelihood_ratio: float
    degrees_of_freedom: int
    p_value: float
    cyclic_flow: float
    p_bootstrap: float
    design_effect: float
    clustered: bool
    votes_per_pair: float
    hodge: HodgeDecomposition

    @property
    def p(self) -> float:
        """The bootstrap's p-value where there is one, else that of the likelihood ratio.

        NaN where there is neither, or chi-squared is no guide as pairs have few votes.
        """
        if not np.isnan(self.p_bootstrap):
            return self.p_bootstrap
        return np.nan if self._few_votes else self.p_value

    def rejects(self, level: float = 0.01) -> bool:
        """Whether a single scale is refuted: neither test leaves it a probability above `level`.

        The likelihood ratio is left out where pairs have few votes, as chi-squared is wrong there.
        """
        tests = [self.p_bootstrap] if self._few_votes else [self.p_bootstrap, self.p_value]
        known = [p for p in tests if not np.isnan(p)]
        return bool(known) and max(known) <= level

    def describe(self, *, level: float = 0.01) -> str:
        """The verdict in whole sentences."""
        if self.degrees_of_freedom <= 0:
            return "The comparisons form no cycle, so whether a single scale describes them cannot be tested."
        if self._few_votes and np.isnan(self.p_bootstrap):
            return (
                f"Pairs have {self.votes_per_pair:.1f} votes each, too few to test by chi-squared whether a "
                "single scale describes them; ask for bootstrap replicates."
            )
        tests = self._tests()
        if not self.rejects(level):
            return f"A single scale describes the votes as far as they tell ({tests})."
        start = "A" if self.clustered else "If votes are independent of each other, a"
        text = (
            f"{start} single scale does not describe {'the votes' if self.clustered else 'them'} ({tests}). "
        )
        text += f"{self.hodge.cyclicity:.0%} of the squared log-odds go round in cycles"
        worst = self.hodge.worst_cycles(1, triangles_only=len(self.hodge.triangles) > 0)
        return f"{text}, most clearly {worst['cycle'][0]}." if len(worst) else f"{text}."

    def _tests(self) -> str:
        parts = []
        if not np.isnan(self.likelihood_ratio):
            degrees = self.degrees_of_freedom
            ratio = f"likelihood ratio {self.likelihood_ratio:.1f} on {degrees} "
            ratio += "degree of freedom" if degrees == 1 else "degrees of freedom"
            if abs(self.design_effect - 1.0) >= 0.005:
                ratio += f", design effect {self.design_effect:.2f}"
            parts.append(ratio if self._few_votes else f"{ratio}, p = {self.p_value:.2g}")
        if not np.isnan(self.p_bootstrap):
            parts.append(f"parametric bootstrap p = {self.p_bootstrap:.2g}")
        return "; ".join(parts)

    @property
    def _few_votes(self) -> bool:
        return self.votes_per_pair < _FEW_VOTES

    def __str__(self) -> str:
        return self.describe()


class _Cells(NamedTuple):
    """Votes that have one probability: a pair under equal covariates and weights."""

    pair: IndexArray  # of each cell, ascending
    record: IndexArray  # one record of each cell
    decided: FloatArray  # votes that are no ties
    tied: FloatArray
    won: FloatArray  # by the first item
    weight: FloatArray  # of one vote


def replicates_needed(comparisons: Comparisons) -> int:
    """Replicates for a test in seconds: none where chi-squared will do, or with too many items to redraw."""
    n_pairs = len(_pairs(comparisons)[0])
    if comparisons.count.sum() >= _FEW_VOTES * n_pairs:
        return 0
    return next((replicates for most, replicates in _AFFORDABLE if comparisons.n_items <= most), 0)


def vote_flow(comparisons: Comparisons) -> HodgeDecomposition:
    r"""Hodge decomposition of the smoothed log-odds of each pair; a tie counts half for either side.

    .. math:: Y_{ij} = \log \frac{n_{ji} + 1/2}{n_{ij} + 1/2}, \qquad
              w_{ij} = \Bigl(\frac{1}{n_{ij} + 1/2} + \frac{1}{n_{ji} + 1/2}\Bigr)^{-1}

    with :math:`n_{ij}` the (weighted) votes for i against j.
    """
    c = comparisons
    starts, _ = _pairs(c)
    wins = np.add.reduceat(c.weight * c.outcome, starts)
    losses = np.add.reduceat(c.weight * (1.0 - c.outcome), starts)
    flow, weight = _flow(wins, losses)
    return hodge_decomposition(c.first[starts], c.second[starts], flow, weight, c.items)


def goodness_of_fit(
    model: StrengthModel,
    parameters: FloatArray,
    clusters: ClusterCounts | None = None,
    *,
    n_replicates: int,
    rng: np.random.Generator,
) -> GoodnessOfFit:
    """Both tests of a fitted model; see :meth:`BradleyTerry.goodness_of_fit`.

    Raises
    ------
    ValueError
        If outcomes are soft, so that votes cannot be redrawn.
    """
    c = model.comparisons
    if np.any(~np.isin(c.outcome, (0.0, 0.5, 1.0))):
        raise ValueError(
            "'outcomes' must be 0, .5 or 1 for a test of fit; soft outcomes are no votes to redraw"
        )
    if model.prior > 0.0:
        # The prior pulls strengths together, which is no lack of fit: test the (all but) unpenalised fit.
        model = dataclasses.replace(model, prior=_RIDGE)
        parameters = newton(model, max_iter=200, tol=1e-6)[0]
    hodge = vote_flow(c)
    starts, pair = _pairs(c)
    degrees = _degrees_of_freedom(model, pair)
    flow = hodge.squared(hodge.cyclic)
    ratio = p_value = p_bootstrap = np.nan
    of_votes = of_clusters = 1.0
    if degrees > 0:
        loss, free = _free_pairs(model, starts, pair)
        of_votes, of_clusters = _design_effects(c, free, pair, clusters)
        if np.all(c.sample_weight == 1.0):
            ratio = max(0.0, 2.0 * (_data_loss(model, parameters) - loss))
            p_value = float(chi2.sf(ratio / (of_votes * of_clusters), degrees))
    if n_replicates and degrees > 0:
        redrawn = _redrawn_flows(model, parameters, hodge, pair, n_replicates, rng)
        p_bootstrap = float((1 + np.sum(redrawn >= flow / of_clusters)) / (n_replicates + 1))
    per_pair = float(c.count.sum() / len(starts))
    effect = of_votes * of_clusters
    return GoodnessOfFit(
        ratio, degrees, p_value, flow, p_bootstrap, effect, clusters is not None, per_pair, hodge
    )


def _pairs(c: Comparisons) -> tuple[IndexArray, IndexArray]:
    """First record of each pair of items, and the pair of each record; those of a pair follow each other."""
    new = np.append(True, (np.diff(c.first) != 0) | (np.diff(c.second) != 0))
    return np.flatnonzero(new), np.cumsum(new) - 1


def _flow(wins: FloatArray, losses: FloatArray) -> tuple[FloatArray, FloatArray]:
    return np.log((losses + 0.5) / (wins + 0.5)), 1.0 / (1.0 / (wins + 0.5) + 1.0 / (losses + 0.5))


def _data_loss(model: StrengthModel, parameters: FloatArray) -> float:
    return float(np.sum(model.comparisons.weight * model.derivatives(parameters).loss))


def _free_pairs(model: StrengthModel, starts: IndexArray, pair: IndexArray) -> tuple[float, Derivatives]:
    """Smallest loss when every pair of items has a log-odds of its own, and the derivatives there."""
    c = model.comparisons
    if not model.ties.has_parameter and c.covariates.shape[1] == 0:
        wins = np.add.reduceat(c.weight * c.outcome, starts)
        total = np.add.reduceat(c.weight, starts)
        loss = float(-np.sum(xlogy(wins, wins / total) + xlogy(total - wins, 1.0 - wins / total)))
        eta = np.clip(logit(wins / total), -_FAR, _FAR)
        return loss, model.ties.derivatives(eta[pair], 0.0, c.outcome)
    # Newton's method: the Hessian is diagonal in the pairs' log-odds, bordered by the few other parameters,
    # which the Schur complement solves for first.
    phi = np.zeros(len(starts))
    rest = model.start()[model.n_items :]
    loss = np.inf
    step_phi = phi
    step_rest = rest
    scale = 1.0
    for _ in range(_MOST_STEPS):
        proposal_phi = phi + scale * step_phi
        proposal_rest = rest + (scale * step_rest if np.isfinite(loss) else 0.0)
        derivatives = _free_derivatives(model, proposal_phi, proposal_rest, pair)
        proposed = float(np.sum(c.weight * derivatives.loss) + _RIDGE / 2 * np.sum(proposal_phi**2))
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
    return loss - _RIDGE / 2 * float(np.sum(phi**2)), _free_derivatives(model, phi, rest, pair)


def _design_effects(
    c: Comparisons, free: Derivatives, pair: IndexArray, clusters: ClusterCounts | None
) -> tuple[float, float]:
    r"""How much more the votes of a pair vary than the model says, and clusters of votes than votes.

    At the log-odds of the pair's own, the sum of scores u of its votes has the variance
    :math:`\frac{N}{N - 1} \sum u^2` if votes are independent, and
    :math:`\frac{k}{k - 1} \sum_c (\sum_{r \in c} u_r)^2` if only the k clusters are. The first is below the
    model's where ties count half, the second above the first where votes of a judge or on a prompt hang
    together. Rao and Scott (1984), "On chi-squared tests for multiway contingency tables", Annals of
    Statistics 12, divide the likelihood ratio by the mean effect.
    """
    n_pairs = int(pair[-1]) + 1
    n_votes = np.bincount(pair, c.count, n_pairs)
    factor = np.where(n_votes > 1.5, n_votes / np.maximum(n_votes - 1.0, 0.5), 0.0)
    of_votes = factor * np.bincount(pair, c.count * free.eta**2, n_pairs)
    of_model = factor * np.bincount(pair, c.count * free.eta_eta, n_pairs)
    vote_effect = of_votes.sum() / of_model.sum() if of_model.sum() > 0 else 1.0
    if clusters is None:
        return float(vote_effect), 1.0
    shape = (len(pair), n_pairs)
    to_pair = scipy.sparse.csr_array((np.ones(len(pair)), (np.arange(len(pair)), pair)), shape=shape)
    sums = scipy.sparse.csc_array(clusters.counts @ scipy.sparse.diags_array(free.eta) @ to_pair)
    n_clusters = np.diff(scipy.sparse.csc_array(clusters.counts @ to_pair).indptr)
    many = n_clusters > 1
    squares = np.asarray(sums.multiply(sums).sum(axis=0)).ravel()
    of_clusters = np.sum(squares[many] * n_clusters[many] / (n_clusters[many] - 1.0))
    independent = of_votes[many].sum()
    return float(vote_effect), max(1.0, float(of_clusters / independent)) if independent > 0 else 1.0


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
    gradient = np.bincount(pair, w * derivatives.eta, n_pairs) + _RIDGE * phi
    diagonal = np.bincount(pair, w * derivatives.eta_eta, n_pairs) + _RIDGE
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


def _degrees_of_freedom(model: StrengthModel, pair: IndexArray) -> int:
    """Parameters of the model with free pairs less those of the model tested.

    A covariate that is the same in all votes of a pair, each seen from the pair's first item, adds nothing
    to free pairs.
    """
    c = model.comparisons
    n_pairs = int(pair[-1]) + 1
    n_components = weak_components(c.first, c.second, c.n_items).max() + 1
    n_covariates = c.covariates.shape[1]
    n_within = 0
    if n_covariates:
        means = np.zeros((n_pairs, n_covariates))
        np.add.at(means, pair, c.covariates)
        within = c.covariates - (means / np.bincount(pair)[:, None])[pair]
        n_within = int(np.linalg.matrix_rank(within))
    return int(n_pairs + n_within - (c.n_items - n_components) - n_covariates)


def _cells(c: Comparisons, pair: IndexArray) -> _Cells:
    keys = np.column_stack([c.sample_weight, c.covariates[:, ::-1], pair])
    order = np.lexsort(keys.T)
    new = np.append(True, np.any(np.diff(keys[order], axis=0) != 0, axis=1))
    starts = np.flatnonzero(new)
    outcome, count = c.outcome[order], c.count[order]
    tied = np.add.reduceat(count * (outcome == 0.5), starts)
    won = np.add.reduceat(count * (outcome == 1.0), starts)
    total = np.add.reduceat(count, starts)
    record = order[starts]
    return _Cells(pair[record], record, total - tied, tied, won, c.sample_weight[record])


def _redrawn_flows(
    model: StrengthModel,
    parameters: FloatArray,
    hodge: HodgeDecomposition,
    pair: IndexArray,
    n_replicates: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Q of vote tables drawn from the fitted model with as many votes in each cell, (n_replicates,)."""
    cells = _cells(model.comparisons, pair)
    eta, delta = model.linear_predictor(parameters)[cells.record], model.split(parameters)[2]
    probabilities = _with_ties(model.ties.probabilities(eta, delta), cells)
    starts = np.flatnonzero(np.append(True, np.diff(cells.pair) != 0))
    n_items = len(hodge.items)
    labels = weak_components(hodge.first, hodge.second, n_items)
    flows = np.empty(n_replicates)
    for replicate in range(n_replicates):
        won, tied, lost = _redraw(cells, probabilities, rng)
        wins = np.add.reduceat(cells.weight * (won + tied / 2.0), starts)
        losses = np.add.reduceat(cells.weight * (lost + tied / 2.0), starts)
        flow, weight = _flow(wins, losses)
        strengths = potential(hodge.first, hodge.second, flow, weight, n_items, labels=labels)
        flows[replicate] = np.sum(weight * (flow - strengths[hodge.second] + strengths[hodge.first]) ** 2)
    return flows


def _with_ties(probabilities: FloatArray, cells: _Cells) -> FloatArray:
    """Probability of loss, tie and win of each cell, (n_cells, 3).

    Where a tie is half a win, votes are redrawn with ties of probability 2 c min(p, 1 - p), which leaves the
    expected outcome p as it is; c makes as many ties as were seen.
    """
    if probabilities.shape[1] == 3:
        return probabilities
    lost, won = probabilities.T
    room = 2.0 * np.minimum(lost, won)
    possible = np.sum((cells.decided + cells.tied) * room)
    c = min(1.0, cells.tied.sum() / possible) if possible > 0 else 0.0
    tied = c * room
    return np.column_stack([lost - tied / 2.0, tied, won - tied / 2.0])


def _redraw(
    cells: _Cells, probabilities: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Votes for the first item, ties and votes against it in each cell."""
    total = np.round(cells.decided + cells.tied).astype(np.int64)
    lost, tie, won = probabilities.T
    tied = rng.binomial(total, np.clip(tie, 0.0, 1.0))
    decisive = won / np.maximum(won + lost, np.finfo(float).tiny)
    wins = rng.binomial(total - tied, np.clip(decisive, 0.0, 1.0))
    return wins.astype(np.float64), tied.astype(np.float64), (total - tied - wins).astype(np.float64)
