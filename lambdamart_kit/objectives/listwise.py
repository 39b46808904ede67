"""Listwise objectives: softmax cross-entropy with a target distribution, and the likelihood of the order.

All have a loss, O(documents) a query, and leave out blank queries (or queries of equal labels).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from lambdamart_kit.core.gains import Gain, check_choice, gains
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.ranking.labelled import ScoredRows
from lambdamart_kit.core.ranking.listwise import likelihood_gradients, sampled_targets, softmax_gradients
from lambdamart_kit.core.sorting import label_order
from lambdamart_kit.core.typing import Float32Array, FloatArray, IndexArray
from lambdamart_kit.objectives.base import CallSeeds, LabelObjective, check_ordered_scores
from lambdamart_kit.runtime.threads import balanced_bounds, run_tasks


@dataclass(frozen=True, kw_only=True)
class ListNet(LabelObjective):
    r"""Cross-entropy between a distribution made of the labels and the softmax of the scores.

    .. math:: L = -\sum_i t_i \log \frac{e^{s_i}}{\sum_j e^{s_j}}, \qquad
              \frac{\partial L}{\partial s_i} = p_i - t_i

    Parameters
    ----------
    target : {"softmax", "gain"}
        ``"softmax"``: :math:`t = \mathrm{softmax}(g)`, ListNet's top-one probabilities. ``"gain"``:
        :math:`t = g / \sum g`, the softmax cross-entropy of TF-Ranking and rax.
    gain : "linear", "exp2", table or callable
        g as a function of the label.

    References
    ----------
    Cao, Qin, Liu, Tsai and Li, "Learning to rank: from pairwise approach to listwise approach", ICML 2007
    (top-one probabilities); Bruch, Wang, Bendersky and Najork, "An analysis of the softmax cross entropy
    loss for learning-to-rank with binary relevance", ICTIR 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from lambdamart_kit.core.queries import Queries
    >>> bound = ListNet(target="gain").bind([0, 1], Queries.from_qid(["a", "a"], 2))
    >>> bound.gradient_hessian(np.zeros(2, dtype=np.float32))[0].tolist()
    [0.5, -0.5]
    """

    target: Literal["softmax", "gain"] = "softmax"
    gain: Gain = "linear"

    def _bind_labels(
        self, labels: FloatArray, queries: Queries, weights: FloatArray, n_threads: int
    ) -> BoundList:
        check_choice(self.target, ("softmax", "gain"), name="target")
        layout = label_order(labels, queries.ptr)
        gain = gains(labels, self.gain)[layout]
        top = _largest_of_query(gain, queries)
        mass = np.exp(gain - top) if self.target == "softmax" else gain
        target = _normalized(np.where(top > 0, mass, 0.0), queries)
        return BoundList(softmax_gradients, target, layout, queries, weights, n_threads)


@dataclass(frozen=True, kw_only=True)
class XENDCG(LabelObjective):
    r"""Cross-entropy with a randomised gain distribution, whose loss bounds NDCG.

    .. math:: t_i = \frac{2^{y_i} - \gamma_i}{\sum_j 2^{y_j} - \gamma_j}, \qquad
              L = -\sum_i t_i \log \mathrm{softmax}(s)_i

    Gradient and hessian are those of L itself (LightGBM's ``rank_xendcg`` uses an approximation of them).

    Parameters
    ----------
    gamma : "random" or float
        ``"random"`` draws :math:`\gamma_i` uniformly on [0, 1) at every call, as published; a number in
        [0, 1] makes the objective deterministic.
    random_state : int
        Seed of the draws.

    References
    ----------
    Bruch, "An alternative cross entropy loss for learning-to-rank", WWW 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from lambdamart_kit.core.queries import Queries
    >>> bound = XENDCG(gamma=0.5).bind([0, 1], Queries.from_qid(["a", "a"], 2))
    >>> bound.gradient_hessian(np.zeros(2, dtype=np.float32))[0].tolist()  # target 1/4, 3/4
    [0.25, -0.25]
    """

    gain: ClassVar[Gain] = "exp2"

    gamma: float | Literal["random"] = "random"
    random_state: int = 0

    def _bind_labels(
        self, labels: FloatArray, queries: Queries, weights: FloatArray, n_threads: int
    ) -> BoundList:
        layout = label_order(labels, queries.ptr)
        power = gains(labels, "exp2")[layout] + 1.0
        if isinstance(self.gamma, str):
            check_choice(self.gamma, ("random",), name="gamma")
            return _BoundXENDCG(power, self.random_state, layout, queries, weights, n_threads)
        if not 0 <= self.gamma <= 1:
            raise ValueError(f"'gamma' must be 'random' or a number in [0, 1]; got {self.gamma!r}")
        top = _largest_of_query(power, queries)
        target = _normalized(np.where(top > 1, power - self.gamma, 0.0), queries)
        return BoundList(softmax_gradients, target, layout, queries, weights, n_threads)


@dataclass(frozen=True, kw_only=True)
class ListMLE(LabelObjective):
    r"""Negative log-likelihood of the order of the labels under the Plackett-Luce model.

    .. math:: L = \sum_{i:\, y_i > y_{min}} \left(\log \sum_{j:\, y_j \le y_i} e^{s_j} - s_i\right)

    The paper's permutation leaves the order of equal labels open. Here documents with equal labels are
    drawn from the same pool (Breslow's treatment of ties), so the loss has no arbitrary order in it; the
    lowest label, whose order carries no information, is not drawn.

    References
    ----------
    Xia, Liu, Wang, Zhang and Li, "Listwise approach to learning to rank: theory and algorithm", ICML 2008,
    the likelihood loss; ties: Breslow, "Covariance analysis of censored survival data", Biometrics 1974.

    Examples
    --------
    >>> import numpy as np
    >>> from lambdamart_kit.core.queries import Queries
    >>> bound = ListMLE().bind([0, 1], Queries.from_qid(["a", "a"], 2))
    >>> bound.gradient_hessian(np.zeros(2, dtype=np.float32))[0].tolist()
    [0.5, -0.5]
    """

    def _bind_labels(
        self, labels: FloatArray, queries: Queries, weights: FloatArray, n_threads: int
    ) -> BoundList:
        layout = label_order(labels, queries.ptr)
        return BoundList(likelihood_gradients, labels[layout], layout, queries, weights, n_threads)


class BoundList:
    """A listwise objective bound to labels and queries."""

    def __init__(
        self,
        function: Callable[..., Any],
        values: FloatArray,
        layout: IndexArray,
        queries: Queries,
        weights: FloatArray,
        n_threads: int,
    ) -> None:
        self._function = function
        self._values = values  # target or label of each document, in layout order
        self._layout = layout
        self._ptr = queries.ptr
        self._scale = weights
        self._n_threads = n_threads
        self._bounds = balanced_bounds(queries.sizes, self._n_threads, tasks_per_thread=4)
        self._gradient = np.empty(queries.n_samples, dtype=np.float32)
        self._hessian = np.empty(queries.n_samples, dtype=np.float32)
        self._loss = np.empty(queries.n_queries)

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores`, ordered rows; the buffers are reused by the next call."""
        ordered = check_ordered_scores(scores, len(self._gradient))
        rows = ScoredRows(ordered, self._gradient, self._hessian)
        run_tasks(
            self._function,
            self._bounds,
            self._n_threads,
            self._ptr,
            self._layout,
            self._values,
            self._scale,
            rows,
            self._loss,
        )
        return self._gradient, self._hessian

    def loss(self, scores: Float32Array) -> float:
        """Loss summed over queries at `scores`, ordered rows."""
        self.gradient_hessian(scores)
        return float(self._loss.sum())


class _BoundXENDCG(BoundList, CallSeeds):
    """Draws a new target before every gradient; the loss keeps the last one drawn."""

    def __init__(
        self,
        power: FloatArray,
        random_state: int,
        layout: IndexArray,
        queries: Queries,
        weights: FloatArray,
        n_threads: int,
    ) -> None:
        BoundList.__init__(self, softmax_gradients, np.zeros(len(power)), layout, queries, weights, n_threads)
        CallSeeds.__init__(self, random_state)
        self._power = power

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores` for a newly drawn target."""
        seed = self.next_seed()
        run_tasks(sampled_targets, self._bounds, self._n_threads, self._ptr, self._power, seed, self._values)
        return super().gradient_hessian(scores)

    def loss(self, scores: Float32Array) -> float:
        """Loss summed over queries at `scores` for the target drawn last."""
        super().gradient_hessian(scores)
        return float(self._loss.sum())


def _largest_of_query(values: FloatArray, queries: Queries) -> FloatArray:
    """Largest value of each row's query."""
    if not len(values):
        return values
    return np.repeat(np.maximum.reduceat(values, queries.ptr[:-1]), queries.sizes)


def _normalized(mass: FloatArray, queries: Queries) -> FloatArray:
    """`mass` divided by its sum in each query; 0 where that is 0."""
    total = np.bincount(queries.query_of_ordered_row, weights=mass, minlength=queries.n_queries)
    share: FloatArray = mass / np.repeat(np.where(total > 0, total, 1.0), queries.sizes)
    return share
