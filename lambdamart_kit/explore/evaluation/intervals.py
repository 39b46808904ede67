"""Confidence intervals for the mean of one number a row."""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from lambdamart_kit.core.gains import check_choice, check_count, check_number
from lambdamart_kit.core.typing import ArrayLike, RandomState

KINDS = ("normal", "bootstrap", "bernstein")


def interval_of_mean(
    terms: ArrayLike,
    *,
    kind: str = "normal",
    confidence: float = 0.95,
    n_bootstrap: int = 1000,
    width: float | None = None,
    random_state: RandomState = 0,
) -> tuple[float, float]:
    r"""Interval that holds the expectation of `terms` with probability `confidence`.

    "normal" is mean plus and minus z standard errors. "bootstrap" takes quantiles of resampled means.
    "bernstein" holds for every n, for terms within a range of known `width` R, and is wide:

    .. math:: \bar x \pm \sqrt{2 s^2 \log(4/\delta) / n} + 7 R \log(4/\delta) / (3 (n - 1))

    Parameters
    ----------
    terms : (n,) array-like
        Finite; independent, with one expectation.
    kind : {"normal", "bootstrap", "bernstein"}
    confidence : float
        In (0, 1).
    n_bootstrap : int
        Resamples.
    width : float, optional
        Largest minus smallest possible term; needed for "bernstein". What was seen is no bound.
    random_state : int, Generator or None
        For "bootstrap".

    Returns
    -------
    (low, high) : tuple of float
        Ends of the interval.

    Raises
    ------
    ValueError
        If there are fewer than two terms, or a setting is not as above.

    References
    ----------
    Maurer and Pontil (2009), "Empirical Bernstein bounds and sample variance penalization", COLT, theorem 4
    (here for both sides).

    Examples
    --------
    >>> low, high = interval_of_mean(np.array([0.0, 1.0, 0.0, 1.0]))
    >>> round(low, 4), round(high, 4)
    (-0.0658, 1.0658)
    """
    check_choice(kind, KINDS, name="kind")
    check_number(confidence, name="confidence", least=0.0, most=1.0, open_ends="both")
    check_count(n_bootstrap, name="n_bootstrap")
    terms = np.asarray(terms, dtype=np.float64)
    if terms.ndim != 1 or not np.isfinite(terms).all():
        raise ValueError(
            f"'terms' must be a list of finite numbers; got shape {terms.shape}"
            + (", with NaN or infinity" if not np.isfinite(terms).all() else "")
        )
    if width is not None and kind != "bernstein":
        raise ValueError(f"'width' is for kind='bernstein' only; got {width!r} with kind={kind!r}")
    n = len(terms)
    if n < 2:
        raise ValueError(f"'terms' must hold at least two rows for an interval; got {n}")
    mean = float(terms.mean())
    tail = 1.0 - confidence
    if kind == "bootstrap":
        rng = np.random.default_rng(random_state)
        means = np.array([terms[rng.integers(0, n, n)].mean() for _ in range(n_bootstrap)])
        low, high = np.quantile(means, [tail / 2, 1 - tail / 2])
        return float(low), float(high)
    if kind == "normal":
        half = float(norm.ppf(1 - tail / 2) * terms.std(ddof=1) / np.sqrt(n))
        return mean - half, mean + half
    if width is None or not width >= np.ptp(terms):
        raise ValueError(
            "'width' must be given for kind='bernstein', as the largest possible term minus the smallest "
            f"possible one, at least the {np.ptp(terms):g} that was seen; got {width!r}"
        )
    log = np.log(4.0 / tail)
    half = float(np.sqrt(2 * terms.var(ddof=1) * log / n) + 7 * width * log / (3 * (n - 1)))
    return mean - half, mean + half
