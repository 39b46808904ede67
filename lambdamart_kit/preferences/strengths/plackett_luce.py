"""Plackett-Luce strengths from rankings and from choices of the best."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.core.typing import FloatArray, Ids
from lambdamart_kit.preferences.strengths.comparisons import Comparisons
from lambdamart_kit.preferences.strengths.connectivity import describe_components, strong_components
from lambdamart_kit.preferences.strengths.ranking_likelihood import RankingModel
from lambdamart_kit.preferences.strengths.rankings import Rankings, encode_rankings
from lambdamart_kit.preferences.strengths.table import StrengthTable
from lambdamart_kit.preferences.strengths.uncertainty import ClusterCounts


class PlackettLuce(StrengthTable):
    r"""Strength of each item from rankings, by maximum likelihood.

    A ranking is a row of choices: the best of all items that were there, then the best of what is left, and
    so on. The item i is chosen from the alternatives A with probability

    .. math:: P(i \mid A) = \frac{e^{\theta_i}}{\sum_{j \in A} e^{\theta_j}}

    On rankings of two this is Bradley-Terry, and on one choice from each set it is the conditional logit with
    a constant for each item. Ties of any size are choices of several items at once, as Turner et al.: with
    :math:`\alpha = e^\theta` the set S has weight
    :math:`\delta_{|S|} (\prod_{i \in S} \alpha_i)^{1/|S|}` beside single items, with one parameter for each
    size of tie that was seen. For ties of two this is Davidson's model.

    The loss is convex in all parameters, and Newton's method minimises it.

    Parameters
    ----------
    n_pseudo : float
        So many wins, and as many losses, of every item against a ghost of strength 0. 0.5 is what the R
        package does; it keeps strengths finite where an item always or never won.
    max_iter : int
        Newton steps allowed.
    tol : float
        Converged once no parameter moves by more.

    Attributes
    ----------
    items_ : (n_items,) array
        Item ids, ascending.
    strengths_ : (n_items,) float64
        Log-worth of each item; mean zero.
    tie_parameters_ : dict of int to float
        ``delta`` of each size of tie that was seen.
    rankings_ : Rankings
        The rankings used.
    loss_ : float
        Negative log-likelihood of the rankings, pseudo-comparisons left out.
    n_iter_ : int
        Newton steps taken.

    References
    ----------
    Plackett (1975), "The analysis of permutations", Applied Statistics 24. Luce (1959), "Individual choice
    behavior". Turner, van Etten, Firth and Kosmidis (2020), "Modelling rankings in R: the PlackettLuce
    package", Computational Statistics 35. Hunter (2004), "MM algorithms for generalized Bradley-Terry
    models", Annals of Statistics 32, assumption 1 (when a finite estimate exists).

    Examples
    --------
    >>> pl = PlackettLuce().fit([["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "c", "b"]])
    >>> pl.items_.tolist(), pl.strengths_.round(3).tolist()
    (['a', 'b', 'c'], [0.321, -0.376, 0.055])

    The best of each set of alternatives, the order of the others unknown:

    >>> sets = [["a", "b", "c"]] * 4 + [["a", "b"]] * 2
    >>> chosen = [["a"], ["a"], ["b"], ["c"], ["a"], ["b"]]
    >>> PlackettLuce().fit(chosen, sets).strengths_.round(3).tolist()
    [0.331, -0.074, -0.257]
    """

    _likelihood: RankingModel

    def __init__(self, *, n_pseudo: float = 0.0, max_iter: int = 100, tol: float = 1e-8) -> None:
        self.n_pseudo = n_pseudo
        self.max_iter = max_iter
        self.tol = tol

    def fit(
        self,
        rankings: Ids,
        alternatives: Ids = None,
        sample_weight: Any = None,
        *,
        counts: Any = None,
        groups: Ids = None,
    ) -> PlackettLuce:
        """Fit the strengths.

        Parameters
        ----------
        rankings : list of lists, (n, k) array, or DataFrame
            Item ids of each ranking, best first. A set or list in the place of an id holds items that tie. A
            DataFrame has a column an item and a row a ranking, with ranks as values: 1 is best, equal ranks
            tie, a missing rank means that the item was not there.
        alternatives : list of lists, optional
            Every item that was there for each ranking. Those that are not ranked come after all that are, in
            unknown order: ``rankings=[["a"]], alternatives=[["a", "b", "c"]]`` is one choice of three.
        sample_weight : (n,) array, optional
            Importance of each ranking.
        counts : (n,) array, optional
            Times each ranking was observed; the same as repeating it.
        groups : (n,) array, optional
            Cluster of each ranking (annotator, day) for ``method="clustered"`` and the bootstrap.

        Returns
        -------
        PlackettLuce
            The fitted estimator itself.

        Raises
        ------
        ValueError
            On bad input, or when no finite estimate exists.
        """
        if not (np.isfinite(self.n_pseudo) and self.n_pseudo >= 0):
            raise ValueError(f"'n_pseudo' must be finite and >= 0; got {self.n_pseudo}")
        encoded = encode_rankings(rankings, alternatives, sample_weight=sample_weight, counts=counts)
        model = RankingModel(encoded, float(self.n_pseudo))
        if self.n_pseudo == 0.0:
            _check_connected(_as_comparisons(encoded))
        self._clusters = None
        if groups is not None:
            rows = np.arange(len(encoded))
            self._clusters = ClusterCounts.of_groups(
                groups, rows, encoded.count, len(encoded), rows="rankings"
            )
        self._maximise(model)
        self.items_ = encoded.items
        self.rankings_ = encoded
        self.components_ = model.components
        theta = self._parameters[: model.n_items]
        self.strengths_ = theta - theta.mean()
        self.tie_parameters_ = {
            int(size): float(np.exp(value))
            for size, value in zip(model.tie_sizes, self._parameters[model.n_items :])
        }
        self.loss_ = RankingModel(encoded).derivatives(self._parameters).loss
        return self

    def predict_proba(self, alternatives: Ids) -> list[FloatArray]:
        """Probability that each alternative is the best of its set, in the order given; ties left out.

        Parameters
        ----------
        alternatives : list of lists
            Item ids of each set.

        Returns
        -------
        list of arrays
            One array a set; it sums to 1.

        Raises
        ------
        ValueError
            If an item was not in the fit.
        """
        check_is_fitted(self)
        result = []
        for offered in alternatives:
            ids = np.empty(len(offered), dtype=object)
            ids[:] = list(offered)
            strengths = self.strengths_[self._position(ids)]
            worth = np.exp(strengths - strengths.max())
            result.append(worth / worth.sum())
        return result

    def _terms(self) -> tuple[list[str], FloatArray]:
        sizes = self._likelihood.tie_sizes
        return [f"log_tie_parameter_{size}" for size in sizes], np.ones(len(sizes))

    def _tallies(self) -> dict[str, FloatArray]:
        above, tied = self._likelihood.rankings.tallies()
        return {"wins": above.sum(axis=1), "ties": tied.sum(axis=1), "losses": above.sum(axis=0)}


def _as_comparisons(rankings: Rankings) -> Comparisons:
    """Who was placed above whom, and who tied with whom, each pair of items and outcome once."""
    above, tied = rankings.tallies()
    winner, loser = np.nonzero(above)
    one, other = np.nonzero(np.triu(tied))
    low = np.concatenate([np.minimum(winner, loser), one])
    high = np.concatenate([np.maximum(winner, loser), other])
    outcome = np.concatenate([np.where(winner < loser, 1.0, 0.0), np.full(len(one), 0.5)])
    count = np.concatenate([above[winner, loser], tied[one, other]])
    return Comparisons(rankings.items, low, high, outcome, np.empty((len(low), 0)), count, np.ones(len(low)))


def _check_connected(beats: Comparisons) -> None:
    labels = strong_components(beats)
    if labels.max() > 0:
        raise ValueError(
            f"no finite strengths exist: {describe_components(beats, labels)}; set 'n_pseudo' > 0, such as "
            "0.5, or drop those items"
        )
