"""Listwise objectives: softmax cross-entropy with a target distribution, and the likelihood of the order.

All have a loss, O(documents) a query, and leave out blank queries (or queries of equal labels).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from lambdamart_kit.core.gains import Gain, check_choice, gains
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.ranking.listwise import likelihood_gradients, sampled_targets, softmax_gradients
from lambdamart_kit.core.sorting import label_order
from lambdamart_kit.core.typing import ArrayLike, Float32Array, FloatArray
from lambdamart_kit.core.weights import query_weights
from lambdamart_kit.objectives.base import CallSeeds, check_labels, check_scores
from lambdamart_kit.runtime.threads import balanced_bounds, resolve_n_jobs, run_tasks


@dataclass(frozen=True, kw_only=True)
class ListNet:
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
    >>> bound = ListNet(target="gain").bind([0, 1], Queries.from_qid(["a", "a"], 2))
    >>> bound.gradient_hessian(np.zeros(2, dtype=np.float32))[0].tolist()
    [0.5, -0.5]
    """

    target: Literal["softmax", "gain"] = "softmax"
    gain: Gain = "linear"

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> BoundList:
        """Bind to labels and queries; `y` and `sample_weight` are row-aligned."""
        check_choice(self.target, ("softmax", "gain"), name="target")
        labels = check_labels(y, queries)
        layout = label_order(labels, queries.ptr)
        gain = gains(labels, self.gain)[layout]
        top = np.repeat(np.maximum.reduceat(gain, queries.ptr[:-1]) if len(gain) else gain, queries.sizes)
        mass = np.exp(gain - top) if self.target == "softmax" else gain
        target = _normalized(np.where(top > 0, mass, 0.0), queries)
        return BoundList(softmax_gradients, target, layout, queries, sample_weight, n_threads)


@dataclass(frozen=True, kw_only=True)
class XENDCG:
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
    >>> bound = XENDCG(gamma=0.5).bind([0, 1], Queries.from_qid(["a", "a"], 2))
    >>> bound.gradient_hessian(np.zeros(2, dtype=np.float32))[0].tolist()  # target 1/4, 3/4
    [0.25, -0.25]
    """

    gamma: float | Literal["random"] = "random"
    random_state: int = 0

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> BoundList:
        """Bind to labels and queries; `y` and `sample_weight` are row-aligned."""
        labels = check_labels(y, queries)
        layout = label_order(labels, queries.ptr)
        power = gains(labels, "exp2")[layout] + 1.0
        if isinstance(self.gamma, str):
            check_choice(self.gamma, ("random",), name="gamma")
            return _BoundXENDCG(power, self.random_state, layout, queries, sample_weight, n_threads)
        if not 0 <= self.gamma <= 1:
            raise ValueError(f"'gamma' must be 'random' or a number in [0, 1]; got {self.gamma!r}")
        top = np.repeat(np.maximum.reduceat(power, queries.ptr[:-1]) if len(power) else power, queries.sizes)
        target = _normalized(np.where(top > 1, power - self.gamma, 0.0), queries)
        return BoundList(softmax_gradients, target, layout, queries, sample_weight, n_threads)


@dataclass(frozen=True, kw_only=True)
class ListMLE:
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
    >>> bound = ListMLE().bind([0, 1], Queries.from_qid(["a", "a"], 2))
    >>> bound.gradient_hessian(np.zeros(2, dtype=np.float32))[0].tolist()
    [0.5, -0.5]
    """

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> BoundList:
        """Bind to labels and queries; `y` and `sample_weight` are row-aligned."""
        labels = check_labels(y, queries)
        layout = label_order(labels, queries.ptr)
        return BoundList(likelihood_gradients, labels[layout], layout, queries, sample_weight, n_threads)


class BoundList:
    """A listwise objective bound to labels and queries."""

    def __init__(
        self,
        function: Callable[..., Any],
        values: FloatArray,
        layout: Any,
        queries: Queries,
        sample_weight: ArrayLike | None,
        n_threads: int | None,
    ) -> None:
        self._function = function
        self._values = values  # target or label of each document, in layout order
        self._layout = layout
        self._ptr = queries.ptr
        self._scale = query_weights(sample_weight, queries)
        self._n_threads = resolve_n_jobs(n_threads)
        self._bounds = balanced_bounds(queries.sizes, self._n_threads, tasks_per_thread=4)
        self._gradient = np.empty(queries.n_samples, dtype=np.float32)
        self._hessian = np.empty(queries.n_samples, dtype=np.float32)
        self._loss = np.empty(queries.n_queries)

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores`, ordered rows; the buffers are reused by the next call."""
        run_tasks(
            self._function, self._bounds, self._n_threads, self._ptr, self._layout, self._values,
            self._scale, check_scores(scores, len(self._gradient)), self._gradient, self._hessian, self._loss,
        )  # fmt: skip
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
        layout: Any,
        queries: Queries,
        sample_weight: ArrayLike | None,
        n_threads: int | None,
    ) -> None:
        BoundList.__init__(
            self, softmax_gradients, np.zeros(len(power)), layout, queries, sample_weight, n_threads
        )
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


def _normalized(mass: FloatArray, queries: Queries) -> FloatArray:
    """`mass` divided by its sum in each query; 0 where that is 0."""
    total = np.bincount(queries.query_of_ordered_row, weights=mass, minlength=queries.n_queries)
    share: FloatArray = mass / np.repeat(np.where(total > 0, total, 1.0), queries.sizes)
    return share
