r"""Strengths from judges of different reliability: Crowd-BT.

Judge k sees what Bradley-Terry says with probability :math:`\eta_k` and the opposite otherwise:

.. math:: q = \eta_k p + (1 - \eta_k)(1 - p), \qquad p = \sigma(s_i - s_j)

The fit maximises :math:`\sum \log q + \lambda \sum_i [\log \sigma(s_i) + \log \sigma(-s_i)]`. The second sum
is one win and one loss of each item against a virtual item of strength 0.

References
----------
Chen, Bennett, Collins-Thompson and Horvitz (2013), "Pairwise ranking aggregation in a crowdsourced setting",
WSDM, equations 3 to 6.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, log_expit
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.core.rows import native
from lambdamart_kit.core.typing import FloatArray, Ids, IndexArray
from lambdamart_kit.preferences.strengths.comparisons import encode_items, encode_outcomes

_START = 0.9
_EDGE = 1e-6  # reliabilities stay this far from 0 and 1, where log q has no finite slope


class CrowdBradleyTerry(BaseEstimator):
    """Strengths of items and the reliability of each judge, fitted together.

    Without judges of known quality, all strengths and all reliabilities could be turned round at once. The
    fit starts from reliable judges (0.9 each) and so takes the solution in which most of them are.

    Parameters
    ----------
    reg_lambda : float
        Weight of the virtual comparisons, above 0: they fix the zero of strengths and keep them finite.
    max_iter : int
        Steps allowed.
    tol : float
        Converged once no derivative is larger.

    Attributes
    ----------
    items_ : (n_items,) array
        Item ids, ascending.
    strengths_ : (n_items,) float64
        Strength of each item, on the logit scale.
    judges_ : (n_judges,) array
        Judge ids, ascending.
    reliability_ : (n_judges,) float64
        Probability that a judge's vote is what Bradley-Terry says: 1 reliable, 1/2 a coin, below 1/2 one who
        votes for the weaker item.
    reliability_se_ : (n_judges,) float64
        Their standard errors, strengths taken as known.
    n_votes_ : (n_judges,) intp
        Votes of each judge.
    loss_ : float
        Minus the objective.

    Examples
    --------
    Three judges agree, and a fourth says the opposite:

    >>> votes = [("a", "b"), ("b", "c"), ("a", "c")] * 20
    >>> pairs = votes * 3 + [(y, x) for x, y in votes]
    >>> judges = ["ann"] * 60 + ["bob"] * 60 + ["cy"] * 60 + ["dee"] * 60
    >>> crowd = CrowdBradleyTerry().fit(pairs, None, judges)
    >>> crowd.items_[crowd.strengths_.argsort()[::-1]].tolist()
    ['a', 'b', 'c']
    >>> crowd.reliability()["judge"].tolist()[0]
    'dee'
    """

    def __init__(self, *, reg_lambda: float = 1.0, max_iter: int = 1000, tol: float = 1e-7) -> None:
        self.reg_lambda = reg_lambda
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, pairs: Ids, outcomes: Any, judges: Any) -> CrowdBradleyTerry:
        """Fit strengths and reliabilities.

        Parameters
        ----------
        pairs : (n, 2) array or DataFrame
            Ids of the two items compared.
        outcomes : (n,) array, optional
            As in :meth:`BradleyTerry.fit`; the first item won every comparison when None.
        judges : (n,) array
            Who voted.

        Returns
        -------
        CrowdBradleyTerry
            The fitted estimator itself.

        Raises
        ------
        ValueError
            On bad input, or if the fit does not converge.
        """
        if not (np.isfinite(self.reg_lambda) and self.reg_lambda > 0):
            raise ValueError(f"'reg_lambda' must be finite and > 0; got {self.reg_lambda}")
        self.items_, first, second = encode_items(pairs)
        outcome = encode_outcomes(outcomes, self.items_, first, second)
        judge, names = pd.factorize(native(judges), sort=True)
        if judge.shape != first.shape or (judge < 0).any():
            raise ValueError(f"'judges' must hold one id per row of 'pairs', {len(first)}, none missing")
        n_items = len(self.items_)
        n_judges = len(names)

        def objective(x: FloatArray) -> tuple[float, FloatArray]:
            loss, strengths, reliability = crowd_loss(
                x[:n_items], x[n_items:], first, second, outcome, judge, self.reg_lambda
            )
            return loss, np.concatenate([strengths, reliability])

        found = minimize(
            objective,
            np.concatenate([np.zeros(n_items), np.full(n_judges, _START)]),
            jac=True,
            method="L-BFGS-B",
            bounds=[(None, None)] * n_items + [(_EDGE, 1.0 - _EDGE)] * n_judges,
            options={"maxiter": self.max_iter, "maxfun": 20 * self.max_iter, "gtol": self.tol, "ftol": 1e-15},
        )
        if found.status == 1:
            raise ValueError(f"Crowd-BT did not converge in {self.max_iter} iterations; raise 'max_iter'")
        self.strengths_ = found.x[:n_items]
        self.judges_ = np.asarray(names)
        self.reliability_ = found.x[n_items:]
        self.n_votes_ = np.bincount(judge, minlength=n_judges)
        p = expit(self.strengths_[first] - self.strengths_[second])
        eta = self.reliability_[judge]
        q = eta * p + (1.0 - eta) * (1.0 - p)
        information = np.bincount(judge, (2.0 * p - 1.0) ** 2 / (q * (1.0 - q)), n_judges)
        self.reliability_se_ = 1.0 / np.sqrt(np.maximum(information, np.finfo(float).tiny))
        self.loss_ = float(found.fun)
        return self

    def reliability(self) -> pd.DataFrame:
        r"""``judge``, ``votes``, ``reliability`` and its ``se``, the least reliable first.

        The standard error takes strengths as known: :math:`1 / \sqrt{\sum (2p - 1)^2 / (q (1 - q))}`.

        Returns
        -------
        DataFrame
            One row a judge.
        """
        check_is_fitted(self)
        table = pd.DataFrame(
            {
                "judge": self.judges_,
                "votes": self.n_votes_,
                "reliability": self.reliability_,
                "se": self.reliability_se_,
            }
        )
        return table.sort_values("reliability", kind="stable").reset_index(drop=True)


def crowd_loss(
    strengths: FloatArray,
    reliability: FloatArray,
    first: IndexArray,
    second: IndexArray,
    outcome: FloatArray,
    judge: IndexArray,
    reg_lambda: float,
) -> tuple[float, FloatArray, FloatArray]:
    """Minus the objective, and its gradients in strengths and reliabilities.

    A tie (outcome 1/2) counts as half a vote for either item.
    """
    n_items = len(strengths)
    p = expit(strengths[first] - strengths[second])
    eta = reliability[judge]
    won = eta * p + (1.0 - eta) * (1.0 - p)
    lost = 1.0 - won
    loss = -float(np.sum(outcome * np.log(won) + (1.0 - outcome) * np.log(lost)))
    loss -= reg_lambda * float(np.sum(log_expit(strengths) + log_expit(-strengths)))
    slope = outcome / won - (1.0 - outcome) / lost  # of log q in the probability of `won`
    on_margin = slope * (2.0 * eta - 1.0) * p * (1.0 - p)
    of_strengths: FloatArray = np.bincount(second, on_margin, n_items).astype(np.float64)
    of_strengths -= np.bincount(first, on_margin, n_items)
    of_strengths += reg_lambda * (2.0 * expit(strengths) - 1.0)
    of_reliability = np.bincount(judge, slope * (1.0 - 2.0 * p), len(reliability)).astype(np.float64)
    return loss, of_strengths, of_reliability
