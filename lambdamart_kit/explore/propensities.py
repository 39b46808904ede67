"""From scores of candidates to slates, and the probability that an item is put where it was put."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from lambdamart_kit.core.typing import FloatArray, IndexArray


class Propensities(NamedTuple):
    """Probability that a policy puts an item at a position, and how well it is known.

    Parameters
    ----------
    values : float64
        Of `Policy.probabilities`: (..., n_candidates, k), item by position. Of `Policy.select`: (..., k), of
        the items that were selected.
    standard_errors : float64, same shape
        Zero where the values are exact; otherwise the standard error of the Monte Carlo estimate.

    Examples
    --------
    >>> chances = Propensities.exact(np.array([[0.7, 0.3], [0.3, 0.7]]))  # item by position
    >>> chances.of(np.array([1, 0])).values.tolist()
    [0.3, 0.3]
    """

    values: FloatArray
    standard_errors: FloatArray

    @classmethod
    def exact(cls, values: FloatArray) -> Propensities:
        """Values that are known exactly.

        Parameters
        ----------
        values : array
            Probabilities.

        Returns
        -------
        Propensities
            Their standard errors are 0.
        """
        return cls(values, np.zeros_like(values))

    @classmethod
    def estimated(cls, counts: FloatArray, n_draws: int) -> Propensities:
        """From how often each candidate came in `n_draws`: the posterior's mean under a symmetric prior.

        With C candidates, ``(count + 1/C) / (n + 1)`` is never 0, so it can be divided by, and sums to 1
        over the candidates of a position. For two it is Jeffreys' prior. The error is the posterior's
        standard deviation.

        Parameters
        ----------
        counts : (..., n_candidates, k) array
            How often each candidate came at each position.
        n_draws : int
            Number of draws.

        Returns
        -------
        Propensities
            Estimates with their standard errors.
        """
        values = (counts + 1.0 / counts.shape[-2]) / (n_draws + 1.0)
        return cls(values, np.sqrt(values * (1.0 - values) / (n_draws + 2.0)))

    def of(self, items: IndexArray) -> Propensities:
        """Those of the selected `items`, (..., k).

        Parameters
        ----------
        items : (..., k) array of integers
            Number of the candidate at each position.

        Returns
        -------
        Propensities
            One value a position.
        """
        taken = (np.take_along_axis(part, items[..., None, :], axis=-2) for part in self)
        return Propensities(*(part[..., 0, :] for part in taken))


def top_slates(scores: FloatArray, k: int, rng: np.random.Generator) -> IndexArray:
    """The k best candidates of each row of `scores` (n_lists, n_candidates), equal scores in random order."""
    if k == 1:  # a maximum is several times cheaper than a sort
        first = scores.argmax(axis=1)
        best = scores == scores[np.arange(len(scores)), first][:, None]
        if np.count_nonzero(best) > len(best):
            first = np.where(best, rng.random(scores.shape), -1.0).argmax(axis=1)
        return first[:, None].astype(np.intp, copy=False)
    jitter = rng.random(scores.shape)
    return np.lexsort((jitter, -scores), axis=-1)[:, :k].astype(np.intp, copy=False)


def rank_probabilities(scores: FloatArray, k: int) -> FloatArray:
    """Probability that :func:`top_slates` puts candidate i at position j, (n_lists, n_candidates, k).

    A candidate is uniform over the positions of its block of equal scores.

    Examples
    --------
    >>> rank_probabilities(np.array([[2.0, 5.0, 2.0]]), 2)[0].tolist()
    [[0.0, 0.5], [1.0, 0.0], [0.0, 0.5]]
    """
    n_candidates = scores.shape[1]
    ascending = np.sort(scores, axis=1)
    below = np.stack([np.searchsorted(a, s, side="left") for a, s in zip(ascending, scores)])
    up_to = np.stack([np.searchsorted(a, s, side="right") for a, s in zip(ascending, scores)])
    position = np.arange(k)
    first, end = n_candidates - up_to, n_candidates - below
    inside = (position >= first[..., None]) & (position < end[..., None])
    return np.asarray(inside / (end - first)[..., None])


def epsilon_greedy_probabilities(scores: FloatArray, epsilon: float, k: int) -> FloatArray:
    """``epsilon / n + (1 - epsilon) * rank_probabilities``: a whole slate explores, or none of it.

    Examples
    --------
    >>> epsilon_greedy_probabilities(np.array([[2.0, 5.0]]), 0.1, 1)[0, :, 0].round(6).tolist()
    [0.05, 0.95]
    """
    return epsilon / scores.shape[1] + (1.0 - epsilon) * rank_probabilities(scores, k)


def gaussian_duel(mean_difference: FloatArray, standard_deviation: FloatArray) -> FloatArray:
    """``P(N(difference, sd^2) > 0)``: how often Thompson sampling puts the first of two candidates first.

    Examples
    --------
    >>> round(float(gaussian_duel(np.array(1.0), np.array(1.0))), 6)
    0.841345
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        z = mean_difference / standard_deviation
    return np.where(np.isnan(z), 0.5, ndtr(z))


def draw_frequencies(draws: FloatArray, k: int, rng: np.random.Generator) -> FloatArray:
    """How often each candidate comes at each position in posterior `draws`: (n_candidates, k) counts.

    `draws` are (n_draws, n_candidates) scores of one list.
    """
    slates = top_slates(draws, k, rng)
    n_candidates = draws.shape[1]
    codes = slates * k + np.arange(k)
    counts = np.bincount(codes.ravel(), minlength=n_candidates * k)
    return counts.reshape(n_candidates, k).astype(np.float64)
