"""Importance weights of a log, and whether they are good enough to give a number."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.core.typing import ArrayLike, BoolArray, FloatArray


class Overlap(NamedTuple):
    """How well a log covers what another policy would do.

    Parameters
    ----------
    effective_sample_size : float
        ``(sum w)^2 / sum w^2``: rows that a log of equal weights would need for the same precision.
    share_effective : float
        `effective_sample_size` as a share of the rows.
    largest_share : float
        Share of the sum of weights that the largest weight has.
    mean_weight : float
        1 in expectation if the propensities are right and cover the policy.
    unsupported : float
        Share of the policy's probability on actions that the log could not show; NaN if it is not known.
    expected_effective : float
        Effective sample size that the log has in expectation over the actions, from the probabilities of all
        of them: ``n / mean of sum_a policy(a)^2 / logging(a)``. It counts large weights that did not happen
        to be drawn; NaN if the probabilities are not known.

    Examples
    --------
    >>> overlap([1.0] * 99 + [40.0]).problems()
    ['the effective sample size is 11.4, below 30', 'one row has 29% of all weight, more than 20%']
    """

    effective_sample_size: float
    share_effective: float
    largest_share: float
    mean_weight: float
    unsupported: float
    expected_effective: float = np.nan

    def problems(
        self,
        *,
        least_effective: float = 30.0,
        most_largest: float = 0.2,
        most_unsupported: float = 0.01,
        most_deviations: float = 4.0,
    ) -> list[str]:
        """Reasons not to trust an estimate made from these weights; empty if there is none.

        Parameters
        ----------
        least_effective : float
            Smallest effective sample size, in rows; the expected one too, where it is known.
        most_largest, most_unsupported : float
            Largest shares, in [0, 1].
        most_deviations : float
            How many standard errors the mean weight may be from 1. It is below 1 where large weights are
            missing from the log, and on either side where propensities are wrong.

        Returns
        -------
        list of str
            One sentence a reason.
        """
        found = []
        if not self.effective_sample_size >= least_effective:
            found.append(
                f"the effective sample size is {self.effective_sample_size:.1f}, below {least_effective:g}"
            )
        elif self.expected_effective < least_effective:
            found.append(
                f"the effective sample size is {self.expected_effective:.1f} in expectation, below "
                f"{least_effective:g}: large weights did not happen to be drawn"
            )
        if self.largest_share > most_largest:
            found.append(f"one row has {self.largest_share:.0%} of all weight, more than {most_largest:.0%}")
        if self.unsupported > most_unsupported:
            found.append(
                f"{self.unsupported:.1%} of the policy's choices could not be logged, more than "
                f"{most_unsupported:.1%}"
            )
        # The variance of the mean weight is mean^2 (1 / effective - 1 / n), with n = effective / share.
        spread = max(1.0 - self.share_effective, 0.0) / max(self.effective_sample_size, 1e-300)
        error = self.mean_weight * np.sqrt(spread)
        if abs(self.mean_weight - 1.0) > max(most_deviations * error, 1e-6):
            found.append(
                f"the mean weight is {self.mean_weight:.3f}, with a standard error of {error:.3f}, and not "
                "1: propensities are wrong, or large weights are missing"
            )
        return found


def importance_weights(target: ArrayLike, logged: ArrayLike) -> FloatArray:
    """``target / logged``: how much more likely the policy does what was logged than the logging policy did.

    Parameters
    ----------
    target : (n,) or (n, k) array-like
        Probability that the policy would do what was logged; in [0, 1].
    logged : same shape
        Probability with which it was done; in (0, 1].

    Returns
    -------
    float64 of the same shape
        Weights >= 0.

    Raises
    ------
    ValueError
        If shapes differ or a probability is out of its range.

    Examples
    --------
    >>> importance_weights([0.6, 0.1], [0.5, 0.5]).tolist()
    [1.2, 0.2]
    """
    wanted = np.asarray(target, dtype=np.float64)
    shown = np.asarray(logged, dtype=np.float64)
    if wanted.shape != shown.shape or not wanted.size:
        raise ValueError(
            f"'target' and 'logged' must have one shape and a row; got {wanted.shape} and {shown.shape}"
        )
    # Comparisons with NaN are false, so NaN is refused too.
    _check_all((wanted >= 0) & (wanted <= 1 + 1e-9), wanted, "'target' must hold probabilities in [0, 1]")
    _check_all(
        (shown > 0) & (shown <= 1 + 1e-9),
        shown,
        "'logged' must hold probabilities in (0, 1], as what was shown had a chance",
        "; drop rows without a known propensity",
    )
    return wanted / shown


def _check_all(holds: BoolArray, values: FloatArray, rule: str, remedy: str = "") -> None:
    """Raise with the first row for which the rule does not hold, and how many there are."""
    if holds.all():
        return
    wrong = np.argwhere(~holds)
    row = wrong[0].tolist()
    where = f"row {row[0]}" if len(row) == 1 else f"row {row[0]}, position {row[1]},"
    raise ValueError(f"{rule}; {where} has {values[tuple(row)]} ({len(wrong)} such){remedy}")


def overlap(
    weights: ArrayLike, *, probabilities: ArrayLike | None = None, logging: ArrayLike | None = None
) -> Overlap:
    """Diagnostics of importance weights.

    Parameters
    ----------
    weights : (n,) array-like
        From :func:`importance_weights`.
    probabilities, logging : (n, n_actions) array-like, optional
        Probability of every action under the policy and under the logging policy. Both or neither.

    Returns
    -------
    Overlap
        Effective sample size, shares and the mean weight.

    Raises
    ------
    ValueError
        If weights are negative or not finite, or shapes do not fit.

    Examples
    --------
    >>> found = overlap([1.0, 1.0, 2.0])
    >>> round(found.effective_sample_size, 4), found.largest_share
    (2.6667, 0.5)
    """
    w = np.asarray(weights, dtype=np.float64)
    if w.ndim != 1 or not len(w) or not (np.isfinite(w) & (w >= 0)).all():
        raise ValueError(f"'weights' must be a list of finite numbers >= 0; got shape {w.shape}")
    total = w.sum()
    effective = total**2 / (w**2).sum() if total > 0 else 0.0
    unsupported = np.nan
    expected = np.nan
    if (probabilities is None) != (logging is None):
        raise ValueError("'probabilities' and 'logging' must be given together; got one of them")
    if probabilities is not None:
        wanted = np.asarray(probabilities, dtype=np.float64)
        chance = np.asarray(logging, dtype=np.float64)
        if wanted.shape != chance.shape or wanted.ndim != 2 or len(wanted) != len(w):
            raise ValueError(
                f"'probabilities' and 'logging' must be ({len(w)}, n_actions); "
                f"got {wanted.shape} and {chance.shape}"
            )
        possible = chance > 0
        unsupported = 0.0 if possible.all() else float(np.where(possible, 0.0, wanted).sum() / len(w))
        ratio = np.divide(wanted, chance, out=np.zeros_like(wanted), where=possible)
        second = float(np.einsum("na,na->", ratio, wanted)) / len(w)
        expected = len(w) / second if second > 0 else 0.0
    largest = w.max() / total if total > 0 else 1.0
    return Overlap(
        float(effective), float(effective / len(w)), float(largest), float(w.mean()), unsupported, expected
    )
