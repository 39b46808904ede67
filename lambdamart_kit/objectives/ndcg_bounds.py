"""The bounds on NDCG of the LambdaLoss framework: NDCG-Loss1, NDCG-Loss2 and NDCG-Loss2++.

Truncation, normalisation, ties and partners are the options of
:class:`lambdamart_kit.objectives.pairwise.PairObjective`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lambdamart_kit.core.ranking.pair_loop import DISTANCE, WINNER
from lambdamart_kit.objectives.pairwise import NDCGObjective


@dataclass(frozen=True, kw_only=True)
class NDCGLoss1(NDCGObjective):
    r"""NDCG-Loss1 of LambdaLoss, on the pairs of different labels.

    .. math:: L = \sum_{y_i > y_j} w_{ij} \log(1 + e^{-\sigma (s_i - s_j)}), \qquad
              w_{ij} = \frac{g_i D_i}{\mathrm{ideal\ DCG}}

    A pair weighs gain times discount of its better document. The published loss sums the same terms over all
    ordered pairs of documents, so it also holds those with :math:`y_i \le y_j`. They push a document up
    against others of the same or a larger label, and vanish where its gain is 0. They are left out here,
    because they prefer nothing that the labels prefer. With binary labels the two differ only by the pairs
    of two relevant documents.

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
    gain : "exp2", "linear", table or callable
        Gain of a label.

    References
    ----------
    Wang, Li, Golbandi, Bendersky and Najork, "The LambdaLoss framework for ranking metric optimization",
    CIKM 2018, section 5 (NDCG-Loss1).

    Examples
    --------
    >>> import numpy as np
    >>> from lambdamart_kit.core.queries import Queries
    >>> bound = NDCGLoss1().bind([0, 1], Queries.from_qid([5, 5], 2))
    >>> bound.gradient_hessian(np.array([1e4, 0], dtype=np.float32))[0].round(4)
    array([ 0.6309, -0.6309], dtype=float32)
    """

    weighting: ClassVar[int] = WINNER


@dataclass(frozen=True, kw_only=True)
class NDCGLoss2(NDCGObjective):
    r"""NDCG-Loss2 of LambdaLoss: the discount is taken of the distance of the two ranks.

    .. math:: w_{ij} = \frac{|g_i - g_j|\,\delta_{ij}}{\mathrm{ideal\ DCG}}, \qquad
              \delta_{ij} = D(|i-j| - 1) - D(|i-j|)

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
    gain : "exp2", "linear", table or callable
        Gain of a label.

    References
    ----------
    Wang et al., "The LambdaLoss framework for ranking metric optimization", CIKM 2018, section 5
    (NDCG-Loss2), with D = 1 / log2(rank + 2) at 0-based ranks.

    Examples
    --------
    >>> import numpy as np
    >>> from lambdamart_kit.core.queries import Queries
    >>> bound = NDCGLoss2().bind([0, 1], Queries.from_qid([5, 5], 2))
    >>> bound.gradient_hessian(np.array([1e4, 0], dtype=np.float32))[0].round(4)
    array([ 0.3691, -0.3691], dtype=float32)
    """

    weighting: ClassVar[int] = DISTANCE

    def _shares(self) -> tuple[float, float]:
        return 0.0, 1.0


@dataclass(frozen=True, kw_only=True)
class NDCGLoss2pp(NDCGObjective):
    r"""NDCG-Loss2++ of LambdaLoss: LambdaRank's weight plus `mu` times that of NDCG-Loss2.

    .. math:: w_{ij} = \frac{|g_i - g_j|\,(\rho_{ij} + \mu\,\delta_{ij})}{\mathrm{ideal\ DCG}}, \qquad
              \rho_{ij} = |D(i) - D(j)|

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
    gain : "exp2", "linear", table or callable
        Gain of a label.
    mu : float
        Share of the distance term; 10 as published.

    References
    ----------
    Wang et al., "The LambdaLoss framework for ranking metric optimization", CIKM 2018, section 5
    (NDCG-Loss2++).

    Examples
    --------
    >>> import numpy as np
    >>> from lambdamart_kit.core.queries import Queries
    >>> bound = NDCGLoss2pp(mu=1).bind([0, 1], Queries.from_qid([5, 5], 2))
    >>> bound.gradient_hessian(np.array([1e4, 0], dtype=np.float32))[0].round(4)
    array([ 0.7381, -0.7381], dtype=float32)
    """

    weighting: ClassVar[int] = DISTANCE

    mu: float = 10.0

    def _shares(self) -> tuple[float, float]:
        if not (np.isfinite(self.mu) and self.mu >= 0):
            raise ValueError(f"'mu' must be a finite number >= 0; got {self.mu!r}")
        return 1.0, float(self.mu)
