"""Objectives on pairs of documents of one query: the options they share, RankNet and LambdaNDCG.

All are the pair model (:mod:`lambdamart_kit.core.pairs`) with a weight a pair:

    loss = sum over pairs with y[high] > y[low] of  weight * log(1 + exp(-sigma * (s[high] - s[low])))

RankNet's weight is 1. The weight of a lambda objective is what swapping the two documents would change in a
metric; it counts as a constant when the loss is differentiated (Burges 2010, section 4).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from lambdamart_kit.core.gains import Gain, check_choice, discounts, gains
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.ranking.labelled import Discounts, LabelledQueries, new_discounts
from lambdamart_kit.core.ranking.pair_loop import SWAP, WINNER, PairSettings
from lambdamart_kit.core.ranking.places import ideal_placed_dcg, most_places
from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.objectives.base import Bound, LabelObjective, check_positive, check_ranks
from lambdamart_kit.objectives.bound_pairs import (
    BoundDocuments,
    BoundPairs,
    BoundRankNet,
    ideal_dcg_of_rows,
    labelled_queries,
    largest_size,
)

PairTies = Literal["expected", "input", "random"]
Normalize = bool | Literal["scores", "queries"]

_SCORE_OFFSET = 0.01  # as in LightGBM and XGBoost: |delta| / (0.01 + |s_i - s_j|)


@dataclass(frozen=True, kw_only=True)
class PairObjective(LabelObjective):
    """Options shared by all objectives on the pairs of a query.

    A subclass states its parts, and `bind` puts them together: `_relevance` says which document of a pair is
    the better one, `_gain` what a document is worth, `_discount` what a rank is worth, and the class
    attributes how the weight of a pair follows from these.

    Parameters
    ----------
    truncation_level : int or None
        Only pairs whose better ranked document is among the first `truncation_level` count; None = all pairs.
    sigma : float
        Slope of the sigmoid.
    normalize : bool, "scores" or "queries"
        ``"scores"`` divides the weight of a pair by ``0.01 + |s_i - s_j|`` (unless all scores of the query
        are equal); ``"queries"`` multiplies gradient and hessian of a query by ``log2(1 + S) / S``, S the sum
        of ``2 |lambda|`` over its pairs; True does both, False neither.
    ties : {"expected", "input", "random"}
        How documents with equal scores rank. ``"expected"``: the weight of a pair is its expectation over
        all orders of the tied documents, so the result does not depend on the order of the rows.
        ``"input"``: in the order of the rows that the objective is bound to, like LightGBM and XGBoost.
        Rankers bind to rows sorted by a hash of their content, so there the order of tied documents is
        arbitrary, but always the same. ``"random"``: shuffled anew at every call.
    n_partners : int or None
        None pairs a document with all documents ranked below it; a number with a random run of that many
        of them, weighted up so that the expected gradient is the same. Worth it for very long queries.
    hessian_factor : float
        Multiplies the hessian (XGBoost: 2).
    random_state : int
        Seed of what is random.
    """

    weighting: ClassVar[int] = SWAP
    metric: ClassVar[int | None] = None
    bound_type: ClassVar[type[BoundPairs]] = BoundPairs

    truncation_level: int | None = None
    sigma: float = 1.0
    normalize: Normalize = False
    ties: PairTies = "expected"
    n_partners: int | None = None
    hessian_factor: float = 1.0
    random_state: int = 0

    def _relevance(self, labels: FloatArray) -> FloatArray:
        """What decides which document of a pair is the better one; here the label."""
        return labels

    def _gain(self, relevance: FloatArray, queries: Queries) -> FloatArray:
        """What each document is worth in the metric."""
        return np.ones_like(relevance)

    def _discount(self, n_ranks: int) -> FloatArray:
        """What each rank is worth; unused with a `metric`."""
        return np.empty(0)

    def _shares(self) -> tuple[float, float]:
        """Shares of the difference of two discounts, and of the discount of the distance of two ranks."""
        return 1.0, 0.0

    def _truncation(self) -> int:
        """Only pairs whose better ranked document is among so many count."""
        return check_ranks(self.truncation_level, "truncation_level")

    @property
    def weighs_documents(self) -> bool:
        """Whether `bind` takes a weight of each document: where a pair weighs by gains and discounts."""
        return self.metric is None and self.weighting in (SWAP, WINNER)

    def _bind_labels(
        self, labels: FloatArray, queries: Queries, weights: FloatArray, n_threads: int
    ) -> BoundPairs:
        relevance = self._relevance(labels)
        gain = self._gain(relevance, queries)
        compared = self._compared(relevance, gain, queries)
        made = self._bound_arguments(compared, gain, queries, weights, largest_size(queries))
        return self.bound_type(*made, **self._bound_options(n_threads))

    def _bind_documents(
        self,
        labels: FloatArray,
        queries: Queries,
        weights: FloatArray,
        document_weight: FloatArray,
        n_threads: int,
    ) -> Bound:
        relevance = self._relevance(labels)
        n_ranks = most_places(document_weight, queries)
        places = new_discounts(self._discount(n_ranks))
        if n_ranks <= 3 and places.at[0] != places.at[1]:
            warnings.warn(
                "'document_weight' sums to at most 1 in every query, and a document takes as many places of "
                "the ranking as it weighs, so all documents share the first place and no pair can change the "
                "metric; multiply the weights by a number",
                UserWarning,
                stacklevel=2,
            )
        gain = self._placed_gain(relevance, queries, document_weight, places)
        compared = self._compared(relevance, gain, queries)
        made = self._bound_arguments(compared, gain, queries, weights, n_ranks)
        return BoundDocuments(*made, document_weight, **self._bound_options(n_threads))

    def _bound_arguments(
        self, relevance: FloatArray, gain: FloatArray, queries: Queries, weights: FloatArray, n_ranks: int
    ) -> tuple[PairSettings, int | None, int | None, LabelledQueries]:
        """What a bound objective is made of."""
        settings = self._settings(self._discount(n_ranks))
        n_partners = None if self.n_partners is None else check_ranks(self.n_partners, "n_partners")
        as_input = self.ties == "input"
        labelled = labelled_queries(relevance, gain, queries, weights, as_input=as_input)
        return settings, self.metric, n_partners, labelled

    def _bound_options(self, n_threads: int) -> dict[str, Any]:
        shuffle = self.ties == "random"
        return {"shuffle": shuffle, "random_state": self.random_state, "n_threads": n_threads}

    def _compared(self, relevance: FloatArray, gain: FloatArray, queries: Queries) -> FloatArray:
        """By what documents of a query are compared: here by their labels."""
        return relevance

    def _placed_gain(
        self, relevance: FloatArray, queries: Queries, document_weight: FloatArray, places: Discounts
    ) -> FloatArray:
        """What each document is worth, if documents take as many places as they weigh."""
        return self._gain(relevance, queries)

    def _settings(self, discount: FloatArray) -> PairSettings:
        check_choice(self.ties, ("expected", "input", "random"), name="ties")
        if self.normalize not in (True, False, "scores", "queries"):
            raise ValueError(
                f"'normalize' must be True, False, 'scores' or 'queries'; got {self.normalize!r}"
            )
        by_score = self.normalize in (True, "scores")
        swap_share, distance_share = self._shares()
        return PairSettings(
            weighting=self.weighting,
            swap_share=swap_share,
            distance_share=distance_share,
            truncation=self._truncation(),
            sigma=check_positive(self.sigma, "sigma"),
            offset=_SCORE_OFFSET if by_score else 1.0,
            slope=1.0 if by_score else 0.0,
            normalize=self.normalize in (True, "queries"),
            hessian_factor=check_positive(self.hessian_factor, "hessian_factor"),
            merge=self.ties == "expected",
            discounts=new_discounts(discount),
        )


@dataclass(frozen=True, kw_only=True)
class RankNet(PairObjective):
    r"""RankNet: logistic loss on every pair of documents with different labels; plain Bradley-Terry.

    .. math:: L = \sum_{y_i > y_j} \log(1 + e^{-\sigma (s_i - s_j)})

    Parameters
    ----------
    truncation_level : int or None
        Only pairs whose better ranked document is among the first so many count. None: all pairs.
    sigma : float
        Slope of the sigmoid, > 0.
    normalize : bool, "scores" or "queries"
        Divide pair weights by score differences, scale each query's gradient, both (True) or neither.
    ties : {"expected", "input", "random"}
        How equal scores rank: expected weight over all orders, order of the rows, or shuffled at every call.
    n_partners : int or None
        None pairs a document with all documents ranked below it, a number with a random run of that many.
    hessian_factor : float
        Multiplies the hessian, > 0.
    random_state : int
        Seed of random ties and partners.

    References
    ----------
    Burges et al., "Learning to rank using gradient descent", ICML 2005; Burges, "From RankNet to
    LambdaRank to LambdaMART", 2010, sections 2 and 2.1, equations 1 and 3.

    Examples
    --------
    >>> import numpy as np
    >>> from lambdamart_kit.core.queries import Queries
    >>> bound = RankNet().bind([1, 0], Queries.from_qid(["a", "a"], 2))
    >>> bound.gradient_hessian(np.zeros(2, dtype=np.float32))[0].round(4)
    array([-0.5,  0.5], dtype=float32)
    """

    weighting: ClassVar[int] = WINNER
    bound_type: ClassVar[type[BoundPairs]] = BoundRankNet
    takes_signed_labels: ClassVar[bool] = True

    @classmethod
    def xgboost(cls, **options: Any) -> RankNet:
        """XGBoost's ``rank:pairwise``: 32 top documents, both normalisations, twice the hessian.

        Parameters
        ----------
        **options : keyword arguments
            Settings that differ from the preset.

        Returns
        -------
        RankNet
            The preset with `options` put in.

        Examples
        --------
        >>> RankNet.xgboost(truncation_level=10).hessian_factor
        2.0
        """
        preset = cls(truncation_level=32, normalize=True, ties="input", hessian_factor=2.0)
        return replace(preset, **options)

    def _discount(self, n_ranks: int) -> FloatArray:
        return np.ones(n_ranks)


@dataclass(frozen=True, kw_only=True)
class NDCGObjective(PairObjective):
    """What the objectives on NDCG share: gains over the ideal DCG of the query, cut at the truncation.

    Parameters
    ----------
    gain : "exp2", "linear", table or callable
        Gain of a label, see :func:`lambdamart_kit.core.gains.gains`; a table as a tuple.
    truncation_level, sigma, normalize, ties, n_partners, hessian_factor, random_state
        See :class:`PairObjective`.
    """

    gain: Gain = "exp2"

    def _gain(self, relevance: FloatArray, queries: Queries) -> FloatArray:
        gain = gains(relevance, self.gain)
        discount = self._discount(largest_size(queries))
        share: FloatArray = gain / ideal_dcg_of_rows(gain, discount, self._truncation(), queries)
        return share

    def _placed_gain(
        self, relevance: FloatArray, queries: Queries, document_weight: FloatArray, places: Discounts
    ) -> FloatArray:
        gain = gains(relevance, self.gain)
        ideal = ideal_placed_dcg(gain, document_weight, places, self._truncation(), queries)
        share: FloatArray = gain / ideal
        return share

    def _discount(self, n_ranks: int) -> FloatArray:
        return discounts(n_ranks)


@dataclass(frozen=True, kw_only=True)
class LambdaNDCG(NDCGObjective):
    r"""LambdaRank's gradient for NDCG: each pair weighs what swapping it would change in NDCG.

    .. math:: |\Delta_{ij}| = \frac{|g_i - g_j|\,|D_i - D_j|}{\mathrm{ideal\ DCG}}, \qquad
              \lambda_{ij} = -\frac{\sigma |\Delta_{ij}|}{1 + e^{\sigma (s_i - s_j)}}

    with gain g and discount D(rank) = 1 / log2(rank + 2), not cut at the truncation level; the ideal DCG is.

    Parameters
    ----------
    truncation_level : int or None, default 30
        See :class:`PairObjective`. A good value is a little above the cut-off of the metric one cares about.
    sigma : float
        Slope of the sigmoid, > 0.
    normalize : bool, "scores" or "queries"
        Divide pair weights by score differences, scale each query's gradient, both (True) or neither.
    ties : {"expected", "input", "random"}
        How equal scores rank: expected weight over all orders, order of the rows, or shuffled at every call.
    n_partners : int or None
        None pairs a document with all documents ranked below it, a number with a random run of that many.
    hessian_factor : float
        Multiplies the hessian, > 0.
    random_state : int
        Seed of random ties and partners.
    gain : "exp2", "linear", table or callable
        Gain of a label, see :func:`lambdamart_kit.core.gains.gains`; a table as a tuple.

    References
    ----------
    Burges, Ragno and Le, "Learning to rank with nonsmooth cost functions", NIPS 2006; Burges, "From RankNet
    to LambdaRank to LambdaMART: an overview", MSR-TR-2010-82, section 4, equation 6. Normalisations: LightGBM
    ``lambdarank_norm``.

    Examples
    --------
    >>> import numpy as np
    >>> from lambdamart_kit.core.queries import Queries
    >>> bound = LambdaNDCG.burges().bind([1, 0], Queries.from_qid(["a", "a"], 2))
    >>> bound.gradient_hessian(np.array([1, 0], dtype=np.float32))[0].round(4)  # .3691 / (1 + e)
    array([-0.0993,  0.0993], dtype=float32)
    """

    truncation_level: int | None = 30
    normalize: Normalize = True

    @classmethod
    def lightgbm(cls, **options: Any) -> LambdaNDCG:
        """LightGBM's ``lambdarank``: truncation 30, both normalisations, ties as the rows come.

        Parameters
        ----------
        **options : keyword arguments
            Settings that differ from the preset.

        Returns
        -------
        LambdaNDCG
            The preset with `options` put in.
        """
        return replace(cls(truncation_level=30, normalize=True, ties="input"), **options)

    @classmethod
    def xgboost(cls, **options: Any) -> LambdaNDCG:
        """XGBoost's ``rank:ndcg``: truncation 32, both normalisations, twice the hessian.

        Parameters
        ----------
        **options : keyword arguments
            Settings that differ from the preset.

        Returns
        -------
        LambdaNDCG
            The preset with `options` put in.
        """
        preset = cls(truncation_level=32, normalize=True, ties="input", hessian_factor=2.0)
        return replace(preset, **options)

    @classmethod
    def burges(cls, **options: Any) -> LambdaNDCG:
        """As published by Burges in 2010: all pairs, nothing normalised.

        Parameters
        ----------
        **options : keyword arguments
            Settings that differ from the preset.

        Returns
        -------
        LambdaNDCG
            The preset with `options` put in.
        """
        return replace(cls(truncation_level=None, normalize=False), **options)
