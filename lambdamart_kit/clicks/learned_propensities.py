"""Position bias that is learned along with the scores: a term a position, or click propensities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lambdamart_kit.clicks.fixed_propensities import BoundShiftedClicks
from lambdamart_kit.clicks.harvesting import harvested_propensities
from lambdamart_kit.clicks.impressions import Debiasing, Impressions, check_share
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, Float32Array, FloatArray, IndexArray
from lambdamart_kit.metrics import Metric
from lambdamart_kit.objectives.base import Bound, Objective, names_rows


@dataclass
class _Tally:
    """Sums by position over the gradients of one pass through the rows; says when the pass is through."""

    n_samples: int
    n_positions: int
    seen: int = 0
    sums: dict[str, FloatArray] = field(default_factory=dict)

    def add(self, n_rows: int, position: IndexArray, **values: Array) -> bool:
        """Add values by position, from `n_rows` rows; whether every row was seen since the last `take`."""
        for name, value in values.items():
            own: FloatArray = np.bincount(position - 1, value, self.n_positions).astype(np.float64)
            self.sums[name] = self.sums[name] + own if name in self.sums else own
        self.seen += n_rows
        return self.seen >= self.n_samples

    def take(self) -> dict[str, FloatArray]:
        """The sums, which start anew."""
        sums = self.sums
        self.sums = {}
        self.seen = 0
        return sums


@dataclass(frozen=True, kw_only=True)
class PositionGAM:
    r"""A term for each position, added to the scores while training and left out afterwards.

    .. math:: s_i = f(x_i) + b_{k_i}, \qquad
              b \leftarrow b - \rho\, \frac{G_k + \lambda n_k b_k}{H_k + \lambda n_k}

    once a round (a pass through the rows), G and H the sums of gradient and hessian over the :math:`n_k` rows
    at position k. Clicks are taken one by one, each against its whole list, so that a pair of documents is a
    Bradley-Terry duel with log-odds :math:`f(x_i) + b_{k_i} - f(x_j) - b_{k_j}`: if the probability of a
    click is propensity times relevance, that is exactly what the ratio of two documents' clicks is, and
    :math:`e^{b_k}` are the propensities. Graded labels are taken as they are.

    The terms are learned while the scores do not know the documents yet, and some of that error stays in
    them. So once the ranker is fitted, the propensities it reports are those of
    :func:`lambdamart_kit.clicks.harvesting.harvested_propensities` for positions between which clicked
    documents (rows of equal features) moved; a position without goes by its term, relative to the nearest
    one above with. The ranking is the same.

    Parameters
    ----------
    reg_lambda : float
        :math:`\lambda`, pulls the terms towards 0.
    rate : float
        :math:`\rho`, in (0, 1]: share of a Newton step to take in a round.

    References
    ----------
    LightGBM's ``lambdarank_position_bias_regularization`` (a generalised additive model of score and
    position); Guo et al., "PAL: a position-bias aware learning framework for CTR prediction in live
    recommender systems", RecSys 2019.

    Examples
    --------
    >>> from lambdamart_kit.objectives import RankNet
    >>> log = Impressions(np.array([1.0, 0.0]), np.array([1, 2]), lambda: np.arange(2))
    >>> gam = PositionGAM(rate=0.5).start(log)
    >>> bound = gam.bind(RankNet(), log.y, Queries.from_qid(None, 2), log.position)
    >>> _ = bound.gradient_hessian(np.zeros(2, dtype=np.float32))
    >>> bool(gam.propensities[1] < 1)  # so far, position 2 is looked at less
    True
    """

    reg_lambda: float = 1e-3
    rate: float = 0.5

    def start(self, log: Impressions) -> Debiasing:
        """All terms 0.

        Parameters
        ----------
        log : Impressions
            The whole log: clicks, positions, and which rows show the same document.

        Returns
        -------
        Debiasing
            The estimate; it improves during the fit.
        """
        if not (np.isfinite(self.reg_lambda) and self.reg_lambda >= 0):
            raise ValueError(f"'reg_lambda' must be a finite number >= 0; got {self.reg_lambda!r}")
        check_share(self.rate, "rate")
        return _Additive(self, log)


class _Additive(Debiasing):
    def __init__(self, method: PositionGAM, log: Impressions) -> None:
        self.method = method
        self.log = log
        self.moved: FloatArray = np.ones(log.n_positions)  # what documents that moved correct
        self.terms = np.zeros(log.n_positions)
        self.counts = np.bincount(log.position - 1, minlength=log.n_positions).astype(np.float64)
        self.clicks = bool(((log.y == 0) | (log.y == 1)).all())
        self.tally = _Tally(len(log.y), log.n_positions)

    @property
    def propensities(self) -> FloatArray:  # type: ignore[override]
        """Exponentials of the terms, corrected at the end."""
        return np.asarray(np.exp(self.terms - self.terms[0]) * self.moved)

    def conclude(self) -> None:
        """Take propensities from documents that moved; positions without such documents follow the terms."""
        if not self.clicks:
            return
        log = self.log
        theta, known = harvested_propensities(log.y, log.position, log.documents(), log.n_positions)
        nearest = np.maximum.accumulate(np.where(known, np.arange(len(theta)), 0))
        self.moved = (theta / self.propensities)[nearest]

    def bind(
        self,
        objective: Objective,
        y: FloatArray,
        queries: Queries,
        position: IndexArray,
        sample_weight: FloatArray | None = None,
        *,
        n_threads: int | None = None,
    ) -> Bound:
        """The objective at scores with the terms added."""
        if self.clicks and not names_rows(objective):
            return BoundShiftedClicks(self, objective, y, queries, position, sample_weight, n_threads)
        bound = objective.bind(y, queries, sample_weight, n_threads=n_threads)
        return _BoundAdditive(self, bound, position)

    def measure(
        self,
        metric: Metric,
        y: FloatArray,
        queries: Queries,
        position: IndexArray,
        sample_weight: FloatArray | None = None,
        *,
        n_threads: int | None = None,
    ) -> Callable[[Array], float]:
        """With graded labels, which no propensity undoes, the metric as it is."""
        if self.clicks:
            return super().measure(metric, y, queries, position, sample_weight, n_threads=n_threads)
        return metric.bind(y, queries, sample_weight, n_threads=n_threads)

    def learn(self, n_rows: int, position: IndexArray, gradient: Float32Array, hessian: Float32Array) -> None:
        """Book a gradient; move the terms when every row was seen."""
        if self.tally.add(n_rows, position, gradient=gradient, hessian=hessian):
            sums = self.tally.take()
            pull = self.method.reg_lambda * self.counts
            curvature = np.maximum(sums["hessian"] + pull, 1e-12)
            self.terms = self.terms - self.method.rate * (sums["gradient"] + pull * self.terms) / curvature


class _BoundAdditive:
    def __init__(self, state: _Additive, bound: Bound, position: IndexArray) -> None:
        self._state = state
        self._bound = bound
        self._position = position

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores` plus the terms, ordered rows."""
        shifted = scores + self._state.terms[self._position - 1].astype(np.float32)
        gradient, hessian = self._bound.gradient_hessian(shifted)
        self._state.learn(len(self._position), self._position, gradient, hessian)
        return gradient, hessian


@dataclass(frozen=True, kw_only=True)
class JointPropensities:
    r"""Unbiased LambdaMART: propensities of clicks and of the lack of them, estimated round by round.

    A pair of a clicked document i and another j weighs :math:`1 / (t^+_{k_i} t^-_{k_j})`, and after each
    round, with :math:`L_{ij}` the loss of the pair under the objective's own weight,

    .. math:: t^+_k \propto \Big(\sum_{i\ \mathrm{at}\ k} \sum_j
              \frac{L_{ij}}{t^-_{k_j}}\Big)^{1/(p+1)}, \qquad
              t^-_k \propto \Big(\sum_{j\ \mathrm{at}\ k} \sum_i \frac{L_{ij}}{t^+_{k_i}}\Big)^{1/(p+1)}

    both 1 at position 1. The propensities of a round are those that the scores of the round before gave. With
    "pairwise" and p = 0 they come close to the probabilities of examination; with a weight that depends on
    ranks ("ndcg", "map", ...), or p > 0, they minimise the regularised loss but estimate something else.

    Parameters
    ----------
    p : float
        Exponent of the regularisation, >= 0. 0 trusts the ratios of losses as they are, more is flatter.
    clip : float
        Smaller propensities, relative to position 1, count as this.

    References
    ----------
    Hu, Wang, Peng and Li, "Unbiased LambdaMART: an unbiased pairwise learning-to-rank algorithm", WWW 2019,
    equations 30 and 31.

    Examples
    --------
    >>> from lambdamart_kit.objectives import RankNet
    >>> log = Impressions(np.array([1.0, 0, 1, 0, 0, 1]), np.array([1, 2, 1, 2, 1, 2]), lambda: np.arange(6))
    >>> joint = JointPropensities(p=0.0).start(log)
    >>> bound = joint.bind(RankNet(), log.y, Queries.from_qid([1, 1, 2, 2, 3, 3], 6), log.position)
    >>> _ = bound.gradient_hessian(np.zeros(6, dtype=np.float32))
    >>> joint.propensities.tolist(), joint.unclick_propensities.tolist()
    ([1.0, 0.5], [1.0, 2.0])
    """

    p: float = 1.0
    clip: float = 0.02

    def start(self, log: Impressions) -> Debiasing:
        """All propensities 1.

        Parameters
        ----------
        log : Impressions
            The whole log: clicks, positions, and which rows show the same document.

        Returns
        -------
        Debiasing
            The estimate; it improves during the fit.
        """
        log.check_clicks("joint")
        if not (np.isfinite(self.p) and self.p >= 0):
            raise ValueError(f"'p' must be a finite number >= 0; got {self.p!r}")
        return _Joint(self, log)


class _Joint(Debiasing):
    def __init__(self, method: JointPropensities, log: Impressions) -> None:
        self.exponent = 1.0 / (method.p + 1.0)
        self.clip = check_share(method.clip, "clip")
        self.propensities = np.ones(log.n_positions)
        self.unclick_propensities: FloatArray = np.ones(log.n_positions)
        self.tally = _Tally(len(log.y), log.n_positions)

    def bind(
        self,
        objective: Objective,
        y: FloatArray,
        queries: Queries,
        position: IndexArray,
        sample_weight: FloatArray | None = None,
        *,
        n_threads: int | None = None,
    ) -> Bound:
        """The objective with the weights of its pairs divided by the propensities of both documents."""
        bound = objective.bind(y, queries, sample_weight, n_threads=n_threads)
        if not hasattr(bound, "weighted"):
            raise ValueError(
                f"'objective' must be on pairs of documents with position_bias='joint'; "
                f"{type(objective).__name__} is not; use position_bias='gam' or 'harvest'"
            )
        return _BoundJoint(self, bound, queries.sort(y) > 0, position)

    def factor(self, clicked: Array, position: IndexArray) -> FloatArray:
        """What each row multiplies the weights of its pairs by."""
        unclick = np.maximum(self.unclick_propensities, self.clip)[position - 1]
        return np.where(clicked, self.inverse(position), 1.0 / unclick)

    def learn(self, clicked: Array, position: IndexArray, cost: Float32Array) -> None:
        """Book the losses of a gradient; estimate anew when every row was seen."""
        if self.tally.add(len(position), position, clicked=cost * clicked, other=cost * ~clicked):
            sums = self.tally.take()
            self.propensities = _relative(sums["clicked"]) ** self.exponent
            self.unclick_propensities = _relative(sums["other"]) ** self.exponent


class _BoundJoint:
    def __init__(self, state: _Joint, bound: Any, clicked: Array, position: IndexArray) -> None:
        self._state = state
        self._bound = bound
        self._clicked = clicked
        self._position = position

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores`, ordered rows."""
        factor = self._state.factor(self._clicked, self._position).astype(np.float32)
        gradient, hessian, cost = self._bound.weighted(scores, factor)
        self._state.learn(self._clicked, self._position, cost)
        return gradient, hessian


def _relative(sums: FloatArray) -> FloatArray:
    return sums / sums[0] if sums[0] > 0 else np.ones_like(sums)
