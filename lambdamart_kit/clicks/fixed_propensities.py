"""Position bias that is known before training: given propensities, or harvested from the log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, TypeAlias

import numpy as np

from lambdamart_kit.clicks.harvesting import SingleClicks, harvested_propensities
from lambdamart_kit.clicks.impressions import Debiasing, Impressions, check_clicks, check_share
from lambdamart_kit.core.gains import check_choice
from lambdamart_kit.core.queries import Queries, query_weights
from lambdamart_kit.core.typing import Float32Array, FloatArray, IndexArray
from lambdamart_kit.objectives.base import Bound, Objective, names_rows

Correction: TypeAlias = Literal["weights", "offset"]


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
        """Check the propensities against the positions of the log.

        Parameters
        ----------
        log : Impressions
            The whole log: clicks, positions, and which rows show the same document.

        Returns
        -------
        Debiasing
            The known propensities, relative to position 1.
        """
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
    :func:`lambdamart_kit.clicks.harvesting.harvested_propensities` has the equations. Rankings need not have
    been randomised on purpose: any change of the ranker, or of the candidates, moves documents.

    Parameters
    ----------
    correction : {"weights", "offset"}
        Undo the propensities by inverse weights of clicks, or by an offset of the scores while training.
    clip : float
        Smaller propensities, relative to position 1, count as this. Less variance, some bias.

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
        """Estimate the propensities, once.

        Parameters
        ----------
        log : Impressions
            The whole log: clicks, positions, and which rows show the same document.

        Returns
        -------
        Debiasing
            The estimate; it binds objectives and keeps the propensities.
        """
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
    """The correction for propensities that do not change any more."""
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
        return BoundShiftedClicks(self, objective, y, queries, position, sample_weight, n_threads)

    def learn(self, n_rows: int, position: IndexArray, gradient: Float32Array, hessian: Float32Array) -> None:
        """The terms stay."""


class _InverseWeights(Debiasing):
    """Propensities that do not change any more, as inverse weights of clicks."""

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
        """Each click a query of its own; see :mod:`lambdamart_kit.clicks.position_bias`."""
        return _BoundClicks(objective, y, queries, self.inverse(position), sample_weight, n_threads)


class _BoundClicks:
    """An objective on queries of one click each; takes and returns one value for each row of the log."""

    def __init__(
        self,
        objective: Objective,
        y: FloatArray,
        queries: Queries,
        weight: FloatArray,
        sample_weight: FloatArray | None,
        n_threads: int | None,
    ) -> None:
        if names_rows(objective):
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
        """Take and return one value for each document instead of one for each row of the log."""
        self._rows = document[self._log_rows]
        self._n_samples = n_documents
        return self

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores`, ordered rows (or documents)."""
        gradient, hessian = self._bound.gradient_hessian(scores[self._rows])
        return self._sum(gradient), self._sum(hessian)

    def _sum(self, values: Float32Array) -> Float32Array:
        return np.bincount(self._rows, weights=values, minlength=self._n_samples).astype(np.float32)


class ScoreTerms(Protocol):
    """A position bias that is a term of the scores, fixed or learned."""

    terms: FloatArray

    def learn(self, n_rows: int, position: IndexArray, gradient: Float32Array, hessian: Float32Array) -> None:
        """Gradient and hessian of clicked rows at `position`, out of `n_rows` rows."""


class BoundShiftedClicks(_BoundClicks):
    """Single clicks at scores plus a term for each position; the terms may learn from the gradient."""

    def __init__(
        self,
        state: ScoreTerms,
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
