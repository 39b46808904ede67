r"""The likelihood of Plackett-Luce strengths with ties, with gradient and Hessian.

With :math:`f(S) = \delta_{|S|} (\prod_{i \in S} \alpha_i)^{1/|S|}` and :math:`\delta_1 = 1`, the choice C
from the alternatives A has probability

.. math:: P(C \mid A) = \frac{f(C)}{Z(A)}, \qquad Z(A) = \sum_{k \le D} \sum_{S \subseteq A, |S| = k} f(S)

The inner sum is :math:`\delta_k e_k(\alpha^{1/k})`, an elementary symmetric polynomial, so that no subset is
ever listed. log f is linear in :math:`\theta = \log\alpha` and :math:`\log\delta`, so the loss is convex.

References
----------
Turner, van Etten, Firth and Kosmidis (2020), "Modelling rankings in R: the PlackettLuce package",
Computational Statistics 35, equations 3 and 4.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.typing import FloatArray, IndexArray
from lambdamart_kit.preferences.strengths.identification import ScaledInformation, centre, factored
from lambdamart_kit.preferences.strengths.rankings import Rankings


class Choices(NamedTuple):
    """Every choice that had an alternative: positions of the chosen, of all alternatives, and its ranking."""

    start: IndexArray
    chosen_end: IndexArray
    end: IndexArray
    ranking: IndexArray


class RankingDerivatives(NamedTuple):
    """Loss and derivatives of all rankings under their weights, and where they were taken."""

    loss: float
    gradient: FloatArray
    hessian: FloatArray
    parameters: FloatArray


@dataclass(frozen=True, eq=False)
class RankingModel:
    """Likelihood of log-worths and tie parameters given rankings.

    Parameters stand in one vector: ``theta`` (n_items), then ``log delta`` of each size of tie that was seen.

    Attributes
    ----------
    rankings : Rankings
    n_pseudo : float
        Wins, and as many losses, of every item against a ghost of worth 1.
    """

    rankings: Rankings
    n_pseudo: float = 0.0

    def __post_init__(self) -> None:
        choices = find_choices(self.rankings)
        sizes = np.unique(choices.chosen_end - choices.start)
        object.__setattr__(self, "choices", choices)
        object.__setattr__(self, "tie_sizes", sizes[sizes > 1])

    choices: Choices = dataclasses.field(init=False)
    tie_sizes: IndexArray = dataclasses.field(init=False)

    @property
    def n_items(self) -> int:
        """Number of items, the leading parameters."""
        return len(self.rankings.items)

    @property
    def n_parameters(self) -> int:
        """Items and tie parameters."""
        return self.n_items + len(self.tie_sizes)

    @property
    def prior(self) -> float:
        """Above 0 where pseudo-comparisons fix the scale."""
        return self.n_pseudo

    @property
    def components(self) -> IndexArray:
        """All zeros, (n_items,): one scale."""
        return np.zeros(self.n_items, dtype=np.intp)

    @property
    def count(self) -> FloatArray:
        """Times each ranking was observed, (n,)."""
        return self.rankings.count

    @property
    def sample_weight(self) -> FloatArray:
        """Weight of one observation, (n,)."""
        return self.rankings.sample_weight

    def condensed(self) -> RankingModel:
        """The model itself."""
        return self

    def start(self) -> FloatArray:
        """Equal worths and tie parameters of 1."""
        return np.zeros(self.n_parameters)

    def derivatives(self, parameters: FloatArray, weight: FloatArray | None = None) -> RankingDerivatives:
        """Loss, gradient and Hessian under weights of rankings (the data's own when left out)."""
        gradient = np.zeros((1, self.n_parameters))
        hessian = np.zeros((self.n_parameters, self.n_parameters))
        weight = self.rankings.weight if weight is None else weight
        loss = self._accumulate(parameters, weight, gradient, hessian)
        loss += self._add_ghost(parameters, gradient[0], hessian)
        return RankingDerivatives(loss, gradient[0], hessian, parameters)

    def loss(self, parameters: FloatArray, derivatives: RankingDerivatives) -> float:
        """Negative log-likelihood, pseudo-comparisons included."""
        return derivatives.loss

    def hessian(self, derivatives: RankingDerivatives) -> FloatArray:
        """Hessian of the loss."""
        return derivatives.hessian

    def scores(self, derivatives: RankingDerivatives) -> FloatArray:
        """Gradient of the loss of each ranking, observed once, (n, n_parameters)."""
        gradient = np.zeros((len(self.rankings), self.n_parameters))
        ones = np.ones(len(self.rankings))
        self._accumulate(derivatives.parameters, ones, gradient, np.empty((0, 0)))
        return gradient

    def meat(self, derivatives: RankingDerivatives) -> FloatArray:
        """Sum of squared scores of all rankings, (n_parameters, n_parameters)."""
        scores = self.scores(derivatives)
        return scores.T @ (scores * (self.count * self.sample_weight**2)[:, None])

    def identified(self, hessian: FloatArray) -> ScaledInformation:
        """The Hessian factored; without pseudo-comparisons the mean of the log-worths is pinned."""
        return factored(hessian, self.n_items, self.components, pinned=self.n_pseudo > 0.0)

    def centre(self, vectors: FloatArray) -> FloatArray:
        """Shift log-worths (leading axis, in place) so that they sum to zero."""
        return centre(vectors, self.n_items, self.components)

    def newton_step(self, parameters: FloatArray, derivatives: RankingDerivatives) -> FloatArray:
        """``-H^-1 g``."""
        step = -self.identified(derivatives.hessian).solve(derivatives.gradient)
        return self.centre(step) if self.n_pseudo == 0.0 else step

    def resampled_step(
        self,
        parameters: FloatArray,
        derivatives: RankingDerivatives,
        weight: FloatArray,
        gradient: FloatArray,
    ) -> FloatArray:
        """Newton's step to the fit of a resample; the data's Hessian where the resample's is singular."""
        again = self.derivatives(parameters, weight)
        try:
            return -self.identified(again.hessian).solve(again.gradient)
        except ValueError:
            return -self.identified(derivatives.hessian).solve(again.gradient)

    def _accumulate(
        self, parameters: FloatArray, weight: FloatArray, gradient: FloatArray, hessian: FloatArray
    ) -> float:
        r = self.rankings
        if len(self.tie_sizes) == 0:
            return float(_without_ties(parameters, r.ptr, r.item, r.place, weight, gradient, hessian))
        largest = int(self.tie_sizes[-1])
        delta = np.zeros(largest + 1)
        delta[1] = 1.0
        delta[self.tie_sizes] = np.exp(parameters[self.n_items :])
        column = np.zeros(largest + 1, dtype=np.intp)
        column[self.tie_sizes] = self.n_items + np.arange(len(self.tie_sizes))
        most = int((self.choices.end - self.choices.start).max(initial=1))
        return float(
            _with_ties(parameters, delta, column, self.choices, r.item, weight, most, gradient, hessian)
        )

    def _add_ghost(self, parameters: FloatArray, gradient: FloatArray, hessian: FloatArray) -> float:
        """Add `n_pseudo` wins and losses of each item against worth 1, in place; returns their loss."""
        if self.n_pseudo == 0.0:
            return 0.0
        n = self.n_items
        theta = parameters[:n]
        tied = len(self.tie_sizes) > 0 and self.tie_sizes[0] == 2
        log_tie = parameters[n] + theta / 2.0 if tied else np.full(n, -np.inf)
        log_total = np.logaddexp(np.logaddexp(theta, 0.0), log_tie)
        win, tie = np.exp(theta - log_total), np.exp(log_tie - log_total)
        mean = win + tie / 2.0
        twice = 2.0 * self.n_pseudo
        gradient[:n] += twice * mean - self.n_pseudo
        items = np.arange(n)
        hessian[items, items] += twice * (win + tie / 4.0 - mean**2)
        if tied:
            gradient[n] += twice * tie.sum()
            hessian[n, n] += twice * np.sum(tie * (1.0 - tie))
            cross = twice * tie * (0.5 - mean)
            hessian[n, :n] += cross
            hessian[:n, n] += cross
        return float(self.n_pseudo * np.sum(2.0 * log_total - theta))


def find_choices(rankings: Rankings) -> Choices:
    """The choices that rankings are made of, those of the last item left out."""
    r = rankings
    new = np.ones(len(r.item), dtype=bool)
    new[1:] = r.place[1:] != r.place[:-1]
    new[r.ptr[:-1]] = True
    start = np.flatnonzero(new)
    chosen_end = np.append(start[1:], len(r.item))
    ranking = r.ranking[start]
    end = r.ptr[ranking + 1]
    kept = (r.place[start] >= 0) & (end - start > 1)
    return Choices(start[kept], chosen_end[kept], end[kept], ranking[kept])


@kernel
def _without_ties(
    theta: FloatArray,
    ptr: IndexArray,
    item: IndexArray,
    place: IndexArray,
    weight: FloatArray,
    gradient: FloatArray,
    hessian: FloatArray,
) -> float:
    """Add gradient (row 0, or a row each) and Hessian (unless empty) of all rankings; returns the loss.

    With e_a = exp(theta_a) and S_j the sum of e over position j and below, choice j has probability
    e_j / S_j. An item at position a was an alternative of choices 0 to a, so that its gradient is
    e_a sum_{j <= a} 1 / S_j - 1, and its second derivative with the item at b > a is
    -e_a e_b sum_{j <= a} 1 / S_j^2: running sums down the ranking do for all of them.
    """
    longest = 0
    for r in range(len(ptr) - 1):
        longest = max(longest, ptr[r + 1] - ptr[r])
    e = np.empty(longest)
    below = np.empty(longest)
    first_sum = np.empty(longest)
    second_sum = np.empty(longest)
    loss = 0.0
    for r in range(len(ptr) - 1):
        w = weight[r]
        if w == 0.0:
            continue
        start = ptr[r]
        n = ptr[r + 1] - start
        top = -np.inf
        for a in range(n):
            top = max(top, theta[item[start + a]])
        total = 0.0
        for a in range(n - 1, -1, -1):
            e[a] = np.exp(theta[item[start + a]] - top)
            total += e[a]
            below[a] = total
        one = 0.0
        two = 0.0
        for a in range(n):
            chosen = place[start + a] >= 0 and a < n - 1
            if chosen:
                one += 1.0 / below[a]
                two += 1.0 / (below[a] * below[a])
                loss += w * (np.log(below[a]) + top - theta[item[start + a]])
            first_sum[a] = one
            second_sum[a] = two
            row = r if len(gradient) > 1 else 0
            gradient[row, item[start + a]] += w * (e[a] * one - (1.0 if chosen else 0.0))
        if len(hessian) == 0:
            continue
        for a in range(n):
            i = item[start + a]
            hessian[i, i] += w * e[a] * (first_sum[a] - e[a] * second_sum[a])
            for b in range(a + 1, n):
                j = item[start + b]
                both = w * e[a] * e[b] * second_sum[a]
                hessian[i, j] -= both
                hessian[j, i] -= both
    return loss


@kernel
def _with_ties(
    parameters: FloatArray,
    delta: FloatArray,
    column: IndexArray,
    choices: Choices,
    item: IndexArray,
    weight: FloatArray,
    most: int,
    gradient: FloatArray,
    hessian: FloatArray,
) -> float:
    """As `_without_ties`, with ties; `delta` and the parameter `column` are by size of tie.

    `Z`, `first` and `second` are the normaliser and its derivatives in the worths of the alternatives and
    then in the tie parameters: row `most` + k stands for log delta_k.
    """
    largest = len(delta) - 1
    theta = np.empty(most)
    where = np.empty(most + largest + 1, dtype=np.intp)
    first = np.empty(most + largest + 1)
    second = np.empty((most + largest + 1, most + largest + 1))
    y = np.empty(most)
    loss = 0.0
    for c in range(len(choices.start)):
        start, end = choices.start[c], choices.end[c]
        w = weight[choices.ranking[c]]
        if w == 0.0:
            continue
        n = end - start
        top = -np.inf
        for a in range(n):
            where[a] = item[start + a]
            theta[a] = parameters[where[a]]
            top = max(top, theta[a])
        size = min(largest, n)
        n_terms = n + size + 1
        first[:n_terms] = 0.0
        second[:n_terms, :n_terms] = 0.0
        Z = 0.0
        for k in range(1, size + 1):
            where[n + k] = column[k]
            if delta[k] > 0.0:
                for a in range(n):
                    y[a] = np.exp((theta[a] - top) / k)
                Z += _add_size(k, delta[k], y[:n], first, second)
        n_chosen = choices.chosen_end[c] - start
        chosen_mean = 0.0
        for a in range(n_chosen):
            chosen_mean += theta[a] / n_chosen
        loss += w * (np.log(Z) + top - chosen_mean - np.log(delta[n_chosen]))
        row = choices.ranking[c] if len(gradient) > 1 else 0
        for a in range(n_terms):
            if a < n or (a > n + 1 and delta[a - n] > 0.0):
                observed = 1.0 / n_chosen if a < n_chosen else (1.0 if a == n + n_chosen else 0.0)
                gradient[row, where[a]] += w * (first[a] / Z - observed)
                if len(hessian) > 0:
                    for b in range(n_terms):
                        if b < n or (b > n + 1 and delta[b - n] > 0.0):
                            bend = second[a, b] / Z - first[a] * first[b] / (Z * Z)
                            hessian[where[a], where[b]] += w * bend
    return loss


@kernel
def _add_size(k: int, delta: float, y: FloatArray, first: FloatArray, second: FloatArray) -> float:
    """Add ``delta e_k(y)`` (returned) and its derivatives in log-worths and, at n + k, in log delta.

    With ``y = alpha^(1/k)`` the derivative of ``e_k(y)`` in ``log alpha_a`` is
    ``y_a e_{k-1}(y without a) / k``.
    Polynomials without one item follow from those with it: ``e_j(without a) = e_j - y_a e_{j-1}(without a)``.
    """
    n = len(y)
    e = np.zeros(k + 1)
    without = np.zeros(k + 1)
    without_two = np.zeros(k + 1)
    e[0] = 1.0
    without[0] = 1.0
    without_two[0] = 1.0
    for a in range(n):
        for j in range(k, 0, -1):
            e[j] += y[a] * e[j - 1]
    total = delta * e[k]
    at_delta = n + k
    first[at_delta] = total
    second[at_delta, at_delta] = total
    for a in range(n):
        for j in range(1, k):
            without[j] = e[j] - y[a] * without[j - 1]
        slope = delta * y[a] * without[k - 1] / k
        first[a] += slope
        second[a, a] += slope / k
        second[a, at_delta] = slope
        second[at_delta, a] = slope
        for b in range(a):
            if k < 2:
                break
            for j in range(1, k - 1):
                without_two[j] = without[j] - y[b] * without_two[j - 1]
            both = delta * y[a] * y[b] * without_two[k - 2] / (k * k)
            second[a, b] += both
            second[b, a] += both
    return total
