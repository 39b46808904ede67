"""Learning from clicks: objectives that know where a document stood when it was, or was not, clicked.

A document on top is looked at more often than one below, so it is clicked more often. Each class here is one
way to allow for that. It wraps any objective, for any learner: `start` looks at the whole log, `bind` wraps
the objective on some rows of it (all of them for trees, a mini-batch for networks), and what is estimated is
shared by all that was bound.

==========================  =====================================================================
``"gam"``                   a term for each position is added to the scores and learned with them
``"harvest"``               propensities from documents that moved, as fixed terms or inverse weights
``"joint"``                 Unbiased LambdaMART: click and unclick propensities, round by round
an array or a function      known propensities, as inverse weights or fixed terms
==========================  =====================================================================

**Inverse weights.** For every click the list it was made in counts as a query with that click as the only
relevant document, and with weight ``1 / propensity`` of its position. The gradient is then linear in the
clicks, so its expectation is exactly the gradient of the same queries weighted by relevance, whatever the
objective does inside a query (its truncation and normalisation included).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np

from lambdamart_kit.core.gains import check_choice
from lambdamart_kit.core.propensities import SingleClicks, harvested_propensities
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, Float32Array, FloatArray, IndexArray
from lambdamart_kit.core.weights import query_weights
from lambdamart_kit.metrics import Metric
from lambdamart_kit.objectives.base import Bound, FunctionObjective, Objective, check_positive

Correction: TypeAlias = Literal["weights", "offset"]


@dataclass(frozen=True, eq=False)
class Impressions:
    """A click log in ordered rows: what an estimate of the position bias is made from.

    Attributes
    ----------
    y : (n_samples,) float64
        Clicks.
    position : (n_samples,) intp
        From 1.
    documents : callable
        Returns one value a row, equal where the same document was shown for the same query.
    """

    y: FloatArray
    position: IndexArray
    documents: Callable[[], Array]

    @property
    def n_positions(self) -> int:
        """The lowest position in the log."""
        return int(self.position.max(initial=1))

    def check_clicks(self, method: str) -> None:
        """Raise unless labels are clicks, with at least one at position 1."""
        check_clicks(self.y, method)
        if not (self.y[self.position == 1] > 0).any():
            raise ValueError(
                f"'position' must hold clicked rows at position 1 with position_bias={method!r}, because "
                "propensities are relative to it; got none; positions count from 1"
            )


def check_clicks(y: FloatArray, method: str) -> None:
    """Raise unless all labels are 0 or 1."""
    bad = np.flatnonzero((y != 0) & (y != 1))
    if len(bad):
        raise ValueError(
            f"'y' must hold clicks, 0 or 1, with position_bias={method!r}; got {y[bad[0]]:g}; "
            "position_bias='gam' takes graded labels"
        )


class Debiasing(ABC):
    """An estimate of the position bias in the making.

    Attributes
    ----------
    propensities : (n_positions,) float64
        Relative to position 1, as known by now.
    unclick_propensities : (n_positions,) float64, or None
        How much more often a document that is not clicked at position 1 is irrelevant, by position ("joint").
    """

    propensities: FloatArray
    unclick_propensities: FloatArray | None = None

    @abstractmethod
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
        """The objective on these rows, debiased; `position` in ordered rows, the rest row-aligned."""

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
        """The metric on held-out clicks, each click a query of its own with its inverse propensity."""
        return _ClickMetric(self, metric, y, queries, position, sample_weight, n_threads)

    def inverse(self, position: IndexArray) -> FloatArray:
        """One over the propensity of each of these positions, clipped."""
        known = self.propensities[np.minimum(position, len(self.propensities)) - 1]
        return np.asarray(1.0 / np.maximum(known, self.clip))

    clip: float = 0.02


@runtime_checkable
class PositionBias(Protocol):
    """A way to allow for the position bias; see the module."""

    def start(self, log: Impressions) -> Debiasing:
        """Look at the whole log."""
        ...


# ----------------------------------------------------------------------------------- propensities known first


@dataclass(frozen=True)
class KnownPropensities:
    r"""Propensities that are known, undone by inverse weights or by an offset of the scores.

    .. math:: \hat L = \sum_{\mathrm{clicks}\ i} \frac{1}{\max(\theta_{k_i}, \tau)}
              L(\text{the list, } i \text{ its only relevant document})

    Parameters
    ----------
    propensities : (n_positions,) array-like or callable
        Probability that position 1, 2, ... is looked at, up to a factor; a function takes an array of
        positions.
    correction : {"weights", "offset"}
        ``"weights"`` is the formula above: unbiased for every objective. ``"offset"`` adds
        :math:`\log \theta_k` to the scores while training, as "gam" does with terms it learns: for a loss
        that is a likelihood of clicks ("pairwise", ``ListNet(target="gain")``) that is as consistent and has
        less variance, because no click weighs more than another.
    clip : float
        :math:`\tau`, relative to position 1: smaller propensities count as this. Less variance, some bias.

    References
    ----------
    Joachims, Swaminathan and Schnabel, "Unbiased learning-to-rank with biased feedback", WSDM 2017.

    Examples
    --------
    >>> from lambdamart_kit.objectives import RankNet
    >>> log = Impressions(np.array([0.0, 1.0]), np.array([1, 2]), lambda: np.arange(2))
    >>> known = KnownPropensities([1.0, 0.5]).start(log)
    >>> bound = known.bind(RankNet(), log.y, Queries.from_qid(None, 2), log.position)
    >>> bound.gradient_hessian(np.zeros(2, dtype=np.float32))[0].round(4)
    array([ 1., -1.], dtype=float32)
    """

    propensities: Any
    correction: Correction = "weights"
    clip: float = 0.02

    def start(self, log: Impressions) -> Debiasing:
        """Check the propensities against the positions of the log."""
        check_clicks(log.y, "known propensities")
        positions = np.arange(1, log.n_positions + 1)
        given = self.propensities(positions) if callable(self.propensities) else self.propensities
        theta = np.asarray(given, dtype=np.float64)
        if theta.ndim != 1 or len(theta) < log.n_positions:
            raise ValueError(
                f"'position_bias' must hold one propensity a position: 'position' goes up to "
                f"{log.n_positions}, got shape {theta.shape}; give more, or leave out lower rows"
            )
        bad = np.flatnonzero(~(np.isfinite(theta) & (theta > 0)))
        if len(bad):
            raise ValueError(
                f"'position_bias' must hold finite propensities above 0; position {bad[0] + 1} has "
                f"{theta[bad[0]]}"
            )
        return _corrected(theta / theta[0], self.correction, self.clip)


@dataclass(frozen=True, kw_only=True)
class HarvestedPropensities:
    """Propensities from documents that stood at several positions, undone like known ones.

    Rows with the same features are taken for the same document under the same query. Its clicks are spread
    over the positions where it stood in proportion to impressions times propensity, whatever its relevance:
    :func:`lambdamart_kit.core.propensities.harvested_propensities` has the equations. Rankings need not have
    been randomised on purpose: any change of the ranker, or of the candidates, moves documents.

    Parameters
    ----------
    correction, clip
        As in :class:`KnownPropensities`.

    Raises
    ------
    ValueError
        If no clicked document stood at two positions: then a log cannot tell position from relevance, and
        only a model of relevance ("gam", "joint") can.

    References
    ----------
    Agarwal, Zaitsev, Wang, Li, Najork and Joachims, "Estimating position bias without intrusive
    interventions", WSDM 2019 (intervention harvesting; here all positions are solved for at once); Hunter,
    "MM algorithms for generalized Bradley-Terry models", Annals of Statistics 2004.

    Examples
    --------
    Two documents that change places; clicks at position 2 are half as many:

    >>> document, position = np.repeat([0, 0, 1, 1], 100), np.repeat([1, 2, 1, 2], 100)
    >>> y = np.tile(np.arange(100), 4) < np.repeat([40, 20, 80, 40], 100)
    >>> log = Impressions(y.astype(float), position, lambda: document)
    >>> HarvestedPropensities().start(log).propensities.round(1).tolist()
    [1.0, 0.5]
    """

    correction: Correction = "offset"
    clip: float = 0.02

    def start(self, log: Impressions) -> Debiasing:
        """Estimate the propensities, once."""
        log.check_clicks("harvest")
        theta, known = harvested_propensities(log.y, log.position, log.documents(), log.n_positions)
        clicked = np.bincount(log.position[log.y > 0], minlength=log.n_positions + 1)[1:] > 0
        if not known[1:].any():
            raise ValueError(
                "'position' must show some clicked document (rows of equal features) at two positions with "
                "position_bias='harvest'; each stood at one only, so position and relevance cannot be told "
                "apart without a model of relevance; use position_bias='gam', or pass known propensities"
            )
        # A position that no moving document compares with the others counts as the nearest above it.
        nearest = np.maximum.accumulate(np.where(known | ~clicked, np.arange(len(theta)), 0))
        return _corrected(theta[nearest], self.correction, self.clip)


def _corrected(propensities: FloatArray, correction: str, clip: float) -> Debiasing:
    """What undoes propensities that do not change any more."""
    check_choice(correction, ("weights", "offset"), name="correction")
    share = check_share(clip, "clip")
    return (_Offsets if correction == "offset" else _InverseWeights)(propensities, share)


class _Offsets(Debiasing):
    """Logarithms of known propensities as fixed terms of the scores."""

    def __init__(self, propensities: FloatArray, clip: float) -> None:
        self.propensities = propensities
        self.clip = clip
        self.terms = np.log(np.maximum(propensities, clip))

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
        """Each click a query of its own, at scores with the terms added."""
        return _BoundShiftedClicks(self, objective, y, queries, position, sample_weight, n_threads)

    def learn(self, n_rows: int, position: IndexArray, gradient: Float32Array, hessian: Float32Array) -> None:
        """The terms stay."""


class _InverseWeights(Debiasing):
    """Propensities that do not change any more."""

    def __init__(self, propensities: FloatArray, clip: float) -> None:
        self.propensities = propensities
        self.clip = clip

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
        """Each click a query of its own; see the module."""
        return _BoundClicks(objective, y, queries, self.inverse(position), sample_weight, n_threads)


class _BoundClicks:
    """An objective on the queries of one click each, seen from the rows of the log."""

    def __init__(
        self,
        objective: Objective,
        y: FloatArray,
        queries: Queries,
        weight: FloatArray,
        sample_weight: FloatArray | None,
        n_threads: int | None,
    ) -> None:
        if isinstance(objective, FunctionObjective) or not getattr(objective, "uses_labels", True):
            raise ValueError(
                f"'position_bias' must be 'gam' with {type(objective).__name__} as 'objective', which does "
                "not go by the labels; or weigh the pairs yourself"
            )
        single = SingleClicks.of(queries.sort(y), queries)
        of_query = query_weights(sample_weight, queries)[queries.query_of_ordered_row[single.clicked]]
        weights = np.repeat(weight[single.clicked] * of_query, single.queries.sizes)
        self._bound = objective.bind(single.y, single.queries, weights, n_threads=n_threads)
        self._rows = single.rows
        self._n_samples = queries.n_samples

        self._log_rows = single.rows

    def on_documents(self, document: IndexArray, n_documents: int) -> Self:
        """Seen from the documents behind the rows instead: what was one score a row is one a document."""
        self._rows, self._n_samples = document[self._log_rows], n_documents
        return self

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores`, ordered rows (or documents)."""
        gradient, hessian = self._bound.gradient_hessian(scores[self._rows])
        return self._sum(gradient), self._sum(hessian)

    def _sum(self, values: Float32Array) -> Float32Array:
        return np.bincount(self._rows, weights=values, minlength=self._n_samples).astype(np.float32)


class _BoundShiftedClicks(_BoundClicks):
    """The same at scores plus a term for each position, which may learn from the gradient."""

    def __init__(
        self,
        state: _Additive | _Offsets,
        objective: Objective,
        y: FloatArray,
        queries: Queries,
        position: IndexArray,
        sample_weight: FloatArray | None,
        n_threads: int | None,
    ) -> None:
        super().__init__(objective, y, queries, np.ones(queries.n_samples), sample_weight, n_threads)
        self._state = state
        self._position = position[self._log_rows]
        self._n_log_rows = queries.n_samples

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores` plus the terms."""
        shifted = scores[self._rows] + self._state.terms.astype(np.float32)[self._position - 1]
        gradient, hessian = self._bound.gradient_hessian(shifted)
        self._state.learn(self._n_log_rows, self._position, gradient, hessian)
        return self._sum(gradient), self._sum(hessian)


class _ClickMetric:
    """Scores of held-out rows to the metric over clicks, weighted by their inverse propensities."""

    def __init__(
        self,
        debiasing: Debiasing,
        metric: Metric,
        y: FloatArray,
        queries: Queries,
        position: IndexArray,
        sample_weight: FloatArray | None,
        n_threads: int | None,
    ) -> None:
        single = SingleClicks.of(queries.sort(y), queries)
        of_query = query_weights(sample_weight, queries)[queries.query_of_ordered_row[single.clicked]]
        self._debiasing, self._rows, self._weights = debiasing, single.rows, of_query
        self._position = position[single.clicked]
        self._bound = metric.bind(single.y, single.queries, n_threads=n_threads)
        self.blank = self._bound.blank

    def __call__(self, scores: Array) -> float:
        values = self._bound.per_query(scores[self._rows])
        return float(np.average(values, weights=self._weights * self._debiasing.inverse(self._position)))


# ------------------------------------------------------------------------------------------ learned jointly


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
        sums, self.sums, self.seen = self.sums, {}, 0
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
        """All terms 0."""
        if not (np.isfinite(self.reg_lambda) and self.reg_lambda >= 0):
            raise ValueError(f"'reg_lambda' must be a finite number >= 0; got {self.reg_lambda!r}")
        check_share(self.rate, "rate")
        return _Additive(self, log)


class _Additive(Debiasing):
    def __init__(self, method: PositionGAM, log: Impressions) -> None:
        self.method = method
        self.terms = np.zeros(log.n_positions)
        self.counts = np.bincount(log.position - 1, minlength=log.n_positions).astype(np.float64)
        self.clicks = bool(((log.y == 0) | (log.y == 1)).all())
        self.tally = _Tally(len(log.y), log.n_positions)

    @property
    def propensities(self) -> FloatArray:  # type: ignore[override]
        """Exponentials of the terms."""
        return np.asarray(np.exp(self.terms - self.terms[0]))

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
        by_labels = getattr(objective, "uses_labels", True) and not isinstance(objective, FunctionObjective)
        if self.clicks and by_labels:
            return _BoundShiftedClicks(self, objective, y, queries, position, sample_weight, n_threads)
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
        self._state, self._bound, self._position = state, bound, position

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
    Hu, Wang, Peng and Li, "Unbiased LambdaMART: an unbiased pairwise learning-to-rank algorithm", WWW 2019.

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
        """All propensities 1."""
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
        self._state, self._bound, self._clicked, self._position = state, bound, clicked, position

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores`, ordered rows."""
        factor = self._state.factor(self._clicked, self._position).astype(np.float32)
        gradient, hessian, cost = self._bound.weighted(scores, factor)
        self._state.learn(self._clicked, self._position, cost)
        return gradient, hessian


def _relative(sums: FloatArray) -> FloatArray:
    return sums / sums[0] if sums[0] > 0 else np.ones_like(sums)


def check_share(value: float, name: str) -> float:
    """`value` if it lies in (0, 1]."""
    if check_positive(value, name) > 1:
        raise ValueError(f"{name!r} must lie in (0, 1]; got {value!r}")
    return float(value)


POSITION_BIASES: dict[str, type] = {
    "gam": PositionGAM,
    "harvest": HarvestedPropensities,
    "joint": JointPropensities,
}


def resolve_position_bias(position_bias: Any) -> PositionBias:
    """From the parameter 'position_bias': a name, an instance, known propensities or a function of positions.

    Raises
    ------
    ValueError
        If the name is not in `POSITION_BIASES`.
    TypeError
        If it is neither of these.

    Examples
    --------
    >>> resolve_position_bias("joint")
    JointPropensities(p=1.0, clip=0.02)
    """
    if isinstance(position_bias, str):
        if position_bias not in POSITION_BIASES:
            names = ", ".join(map(repr, sorted(POSITION_BIASES)))
            raise ValueError(
                f"'position_bias' must be one of {names}, an array of propensities or a function of "
                f"positions; got {position_bias!r}"
            )
        made: PositionBias = POSITION_BIASES[position_bias]()
        return made
    if isinstance(position_bias, PositionBias) and not isinstance(position_bias, type):
        return position_bias
    if isinstance(position_bias, (type, bool)) or np.ndim(position_bias) > 1:
        raise TypeError(f"'position_bias' must be a name, an instance or propensities; got {position_bias!r}")
    return KnownPropensities(position_bias)
