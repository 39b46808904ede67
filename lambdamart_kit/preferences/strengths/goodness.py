r"""Does one strength an item describe the votes? Tests of Bradley-Terry against any log-odds for each pair.

Three statistics with the same null hypothesis, with the independent cycles of the comparison graph as degrees
of freedom:

- the likelihood ratio :math:`2 (\ell_{pairs} - \ell_{BT})` against the model in which every pair of items has
  a log-odds of its own; order effect, covariates and tie parameter are in both. With ``ties="half"`` and no
  covariates that larger model is the saturated one. It is chi-squared where votes are independent and every
  pair has many. With seven votes a pair and thousands of pairs it is not any more.
- a score test, which the verdict rests on. With u the scores of votes and V their information at the fit,

  .. math:: T = \sum_{pairs} \frac{(\sum_v u_v)^2 - \sum_v u_v^2}{V}
              = \sum_{pairs} \frac{\sum_{v \ne w} u_v u_w}{V}

  has mean zero under the null hypothesis however votes are distributed, few or many, as long as they are
  independent. Where votes hang together (of one judge, on one prompt), v and w are sums over such groups.
  The test then keeps its level if outcomes of a pair differ from group to group, and is conservative if items
  do: with strengths that vary from prompt to prompt by 0.8, it rejected none of 40 sets of votes at level
  0.05.
- the cyclic flow :math:`Q = \sum w_{ij} R_{ij}^2` that no strengths explain (see
  :mod:`lambdamart_kit.preferences.strengths.cycles`), with
  :math:`Y_{ij} = \log \frac{n_{ji} + 1/2}{n_{ij} + 1/2}`, compared with its values on votes redrawn from the
  fitted model (parametric bootstrap).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse
from scipy.stats import chi2

from lambdamart_kit.core.typing import FloatArray, IndexArray
from lambdamart_kit.preferences.strengths.comparisons import Comparisons
from lambdamart_kit.preferences.strengths.cycles import (
    HodgeDecomposition,
    hodge_decomposition,
    potential,
    weak_components,
)
from lambdamart_kit.preferences.strengths.likelihood import StrengthModel, loss_of_free_pairs, newton
from lambdamart_kit.preferences.strengths.uncertainty import (
    DENSE_COVARIANCE,
    ClusterCounts,
    hessian_covariance,
)

_RIDGE = 1e-8  # of a fit that has to be finite and all but unpenalised


@dataclass(frozen=True, eq=False)
class GoodnessOfFit:
    """What the tests say.

    Attributes
    ----------
    degrees_of_freedom : int
        Independent cycles of the comparison graph; 0 means that nothing can be tested.
    likelihood_ratio : float
        Twice the gain in log-likelihood of a log-odds for each pair; NaN for soft or weighted votes.
    p_likelihood_ratio : float
        Its p-value under chi-squared: right for many independent votes a pair only, whatever `groups` say.
    score : float
        The score statistic, scaled to be chi-squared: Pearson's where votes are many and independent.
    p_value : float
        Of the score statistic; NaN where no pair has two independent votes.
    cyclic_flow : float
        Q, the weighted squared flow that no strengths explain.
    p_bootstrap : float
        Share of redrawn vote tables with at least this Q, the observed one counted in; NaN without any.
    design_effect : float
        Variance of the votes of a pair over what the model says: below 1 where ties count half, above 1 where
        `groups` of votes hang together.
    clustered : bool
        Whether groups of votes were allowed to hang together; else votes are taken as independent.
    hodge : HodgeDecomposition
        Shares of the flow and the worst cycles.
    """

    degrees_of_freedom: int
    likelihood_ratio: float
    p_likelihood_ratio: float
    score: float
    p_value: float
    cyclic_flow: float
    p_bootstrap: float
    design_effect: float
    clustered: bool
    hodge: HodgeDecomposition

    def rejects(self, level: float = 0.01) -> bool:
        """Whether a single scale is refuted: neither score test nor bootstrap leaves it more than `level`."""
        known = [p for p in (self.p_value, self.p_bootstrap) if not np.isnan(p)]
        return bool(known) and max(known) <= level

    @property
    def is_mostly_cyclic(self) -> bool:
        """Whether cycles are sure, and beyond sampling error a quarter of the squared log-odds or more."""
        total = self.hodge.squared(self.hodge.flow)
        beyond = (self.cyclic_flow - self.design_effect * self.degrees_of_freedom) / max(total, 1e-300)
        return self.rejects(0.001) and beyond > 0.25

    def describe(self, *, level: float = 0.01, groups: str = "of a group") -> str:
        """The verdict in whole sentences; `groups` says of which votes, such as "on one prompt"."""
        if self.degrees_of_freedom <= 0:
            return "The comparisons form no cycle, so whether a single scale describes them cannot be tested."
        if np.isnan(self.p_value) and np.isnan(self.p_bootstrap):
            return (
                "No two independent votes are on the same pair of items, so whether a single scale describes "
                "them cannot be tested."
            )
        degrees = "degree" if self.degrees_of_freedom == 1 else "degrees"
        tests = f"score test {self.score:.1f} on {self.degrees_of_freedom} {degrees} of freedom"
        tests += f", p = {self.p_value:.2g}"
        if not np.isnan(self.p_bootstrap):
            tests += f"; parametric bootstrap p = {self.p_bootstrap:.2g}"
        if self.clustered:
            tests += f"; votes {groups} may hang together"
        if not self.rejects(level):
            return f"A single scale describes the votes as far as they tell ({tests})."
        start = "A" if self.clustered else "If votes are independent of each other, a"
        text = (
            f"{start} single scale does not describe {'the votes' if self.clustered else 'them'} ({tests}). "
        )
        text += f"{self.hodge.cyclicity:.0%} of the squared log-odds go round in cycles"
        worst = self.hodge.worst_cycles(1, triangles_only=len(self.hodge.triangles) > 0)
        return f"{text}, most clearly {worst['cycle'][0]}." if len(worst) else f"{text}."

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
        If replicates are asked for and outcomes are soft, so that votes cannot be redrawn.
    """
    c = model.comparisons
    soft = bool(np.any(~np.isin(c.outcome, (0.0, 0.5, 1.0))))
    if n_replicates and soft:
        raise ValueError(
            "'outcomes' must be 0, .5 or 1 for a bootstrap, as soft outcomes are no votes to redraw; set "
            "'n_replicates' to 0"
        )
    if model.prior > 0.0:
        # The prior pulls strengths together, which is no lack of fit: test the (all but) unpenalised fit.
        model = dataclasses.replace(model, prior=_RIDGE)
        parameters = newton(model, max_iter=200, tol=1e-6)[0]
    hodge = vote_flow(c)
    starts, pair = _pairs(c)
    degrees = _degrees_of_freedom(model, pair)
    flow = hodge.squared(hodge.cyclic)
    ratio = p_bootstrap = np.nan
    score = _Score(np.nan, np.nan)
    if degrees > 0:
        score = _score_test(model, parameters, pair, degrees, clusters)
        if not soft and np.all(c.sample_weight == 1.0):
            loss = loss_of_free_pairs(model, starts, pair)
            ratio = max(0.0, 2.0 * (_data_loss(model, parameters) - loss))
    if n_replicates and degrees > 0:
        redrawn, usual_effect = _redrawn_flows(model, parameters, hodge, pair, n_replicates, rng)
        extreme = np.sum(redrawn >= flow * usual_effect / score.design_effect)
        p_bootstrap = float((1 + extreme) / (n_replicates + 1))
    return GoodnessOfFit(
        degrees_of_freedom=degrees,
        likelihood_ratio=ratio,
        p_likelihood_ratio=float(chi2.sf(ratio, degrees)) if degrees > 0 else np.nan,
        score=score.statistic,
        p_value=float(chi2.sf(score.statistic, degrees)) if degrees > 0 else np.nan,
        cyclic_flow=flow,
        p_bootstrap=p_bootstrap,
        design_effect=score.design_effect,
        clustered=clusters is not None,
        hodge=hodge,
    )


class _Score(NamedTuple):
    statistic: float
    design_effect: float


def _score_test(
    model: StrengthModel,
    parameters: FloatArray,
    pair: IndexArray,
    degrees: int,
    clusters: ClusterCounts | None,
) -> _Score:
    r"""The score statistic, scaled to chi-squared on its degrees of freedom, and the design effect.

    Under the null hypothesis the variance of T is :math:`2 \sum [(\sum_v u_v^2)^2 - \sum_v u_v^4] / V^2`.
    Fitting the strengths takes the share of its leverage h (their sum is the number of parameters) out of a
    pair's :math:`(\sum_v u_v)^2`, and next to nothing out of :math:`\sum_v u_v^2`: that much is added back.
    """
    c = model.comparisons
    derivatives = model.derivatives(parameters)
    u = c.sample_weight * derivatives.eta
    n_pairs = int(pair[-1]) + 1
    information: FloatArray = np.bincount(pair, c.weight * derivatives.eta_eta, n_pairs).astype(np.float64)
    information = np.maximum(information, np.finfo(float).tiny)
    totals = np.bincount(pair, c.count * u, n_pairs)
    if clusters is None:
        n_groups = np.bincount(pair, c.count, n_pairs)
        squares = np.bincount(pair, c.count * u**2, n_pairs)
        fourths = np.bincount(pair, c.count * u**4, n_pairs)
    else:
        records = np.arange(len(pair))
        to_pair = scipy.sparse.csr_array((np.ones(len(pair)), (records, pair)), shape=(len(pair), n_pairs))
        sums = scipy.sparse.csc_array(clusters.counts @ scipy.sparse.diags_array(u) @ to_pair)
        n_groups = np.diff(scipy.sparse.csc_array(clusters.counts @ to_pair).indptr).astype(np.float64)
        squares = np.asarray((sums**2).sum(axis=0)).ravel()
        fourths = np.asarray((sums**4).sum(axis=0)).ravel()
    effect = float(np.mean(squares / information))
    several = n_groups > 1.5
    variance = 2.0 * np.sum(((squares**2 - fourths) / information**2)[several])
    if not variance > 0.0:
        return _Score(np.nan, effect)
    excess = np.sum(((totals**2 - squares) / information)[several])
    starts = np.flatnonzero(np.diff(pair, prepend=-1))
    leverage = _leverages(model, parameters, c.first[starts], c.second[starts], information)
    excess += effect * np.sum((leverage * (1.0 - 1.0 / n_groups))[several])
    return _Score(float(degrees + excess * np.sqrt(2.0 * n_pairs / variance)), effect)


def _leverages(
    model: StrengthModel,
    parameters: FloatArray,
    first: IndexArray,
    second: IndexArray,
    information: FloatArray,
) -> FloatArray:
    """Share of each pair's information that fitting strengths uses up; the mean share with too many items."""
    if model.n_items > DENSE_COVARIANCE:
        n_strengths = model.n_items - (weak_components(first, second, model.n_items).max() + 1)
        return np.full(len(first), n_strengths / len(first))
    S = hessian_covariance(model, parameters)
    variance = np.diagonal(S)
    spread = variance[first] + variance[second] - 2.0 * S[first, second]
    return np.minimum(information * spread, 1.0)


def _pairs(c: Comparisons) -> tuple[IndexArray, IndexArray]:
    """First record of each pair of items, and the pair of each record; those of a pair follow each other."""
    new = np.append(True, (np.diff(c.first) != 0) | (np.diff(c.second) != 0))
    return np.flatnonzero(new), np.cumsum(new) - 1


def _flow(wins: FloatArray, losses: FloatArray) -> tuple[FloatArray, FloatArray]:
    return np.log((losses + 0.5) / (wins + 0.5)), 1.0 / (1.0 / (wins + 0.5) + 1.0 / (losses + 0.5))


def _data_loss(model: StrengthModel, parameters: FloatArray) -> float:
    return float(np.sum(model.comparisons.weight * model.derivatives(parameters).loss))


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
) -> tuple[FloatArray, float]:
    """Q of vote tables drawn from the fitted model with as many votes in each cell; their design effect."""
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
    return flows, _usual_effect(model, parameters, cells, probabilities)


def _usual_effect(
    model: StrengthModel, parameters: FloatArray, cells: _Cells, probabilities: FloatArray
) -> float:
    """Mean over pairs of the variance of redrawn votes over their information; 1 unless ties count half."""
    if model.ties.has_parameter:
        return 1.0
    lost, tied, won = probabilities.T
    p = won + tied / 2.0
    per_vote = lost * p**2 + tied * (0.5 - p) ** 2 + won * (1.0 - p) ** 2
    weight = (cells.decided + cells.tied) * cells.weight
    n_pairs = int(cells.pair[-1]) + 1
    information = np.bincount(cells.pair, weight * p * (1.0 - p), n_pairs)
    return float(np.mean(np.bincount(cells.pair, weight * cells.weight * per_vote, n_pairs) / information))


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
