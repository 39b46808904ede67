"""How good are predicted preferences: accuracy, log loss, calibration, with intervals clustered by prompt."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, stdtrit

from lambdamart_kit.core.typing import Array, BoolArray, FloatArray, IndexArray

_LENGTH_MATCHED = 0.1  # responses whose lengths differ by at most this share of the longer


class Mean(NamedTuple):
    """A weighted mean and its confidence interval."""

    value: float
    lower: float
    upper: float


def accuracy(margin: FloatArray, target: FloatArray, *, half_ties: bool) -> FloatArray:
    """1 for each pair ordered as labelled, 0 for the opposite; a margin of zero is 0 or, `half_ties`, 1/2.

    Pairs labelled a tie (target 1/2) are NaN: no order is right. A target below 1/2 prefers the other one.

    Examples
    --------
    >>> accuracy(np.array([2.0, 0.0, -1.0]), np.ones(3), half_ties=True).tolist()
    [1.0, 0.5, 0.0]
    """
    signed = margin * np.sign(target - 0.5)
    right = (signed > 0) + (0.5 * (signed == 0) if half_ties else 0.0)
    return np.where(target == 0.5, np.nan, right)


def log_loss(margin: FloatArray, target: FloatArray) -> FloatArray:
    """Pair loss of each pair at its reward margin: log 2 is guessing.

    Examples
    --------
    >>> log_loss(np.zeros(1), np.ones(1)).round(6).tolist()
    [0.693147]
    """
    from lambdamart_kit.core.pairs import pair_terms

    return pair_terms(margin, target=target).loss


def label_probability(probability: FloatArray, target: FloatArray) -> FloatArray:
    """Probability that each label is right, from the probability that `chosen` is the better one.

    A target below 1/2 says that `rejected` is the better one. A tie (target 1/2) names no better one, so no
    probability says whether it is right: it is NaN.

    Parameters
    ----------
    probability : (n_pairs,) float64
        Of the model, that `chosen` is the better one.
    target : (n_pairs,) float64

    Examples
    --------
    >>> label_probability(np.array([0.9, 0.9, 0.9]), np.array([1.0, 0.0, 0.5])).tolist()
    [0.9, 0.09999999999999998, nan]
    """
    return np.select([target > 0.5, target < 0.5], [probability, 1.0 - probability], default=np.nan)


def calibration_slope(
    margin: FloatArray,
    target: FloatArray,
    weight: FloatArray,
    *,
    offset: FloatArray | float = 0.0,
    start: float = 0.0,
) -> float:
    r"""The factor a that minimises the loss of ``a * margin + offset``, by Newton's method from `start`.

    1 is calibrated, below 1 overconfident; infinite where the sign of the margin is always right.

    Examples
    --------
    Odds of 3 to 1 where the model says 9 to 1:

    >>> margin = np.full(4, np.log(9.0)) * [1, 1, 1, -1]
    >>> round(calibration_slope(margin, np.ones(4), np.ones(4)), 6)
    0.5
    """
    from lambdamart_kit.core.pairs import pair_terms

    spread = np.sqrt(np.average(margin**2, weights=weight)) if weight.sum() > 0 else 0.0
    if spread == 0.0:
        return float("nan")
    x = margin / spread
    slope = start * spread
    for _ in range(100):
        terms = pair_terms(slope * x + offset, target=target, weight=weight, n_threads=1)
        gradient = np.sum(terms.gradient * x)
        curvature = np.sum(terms.hessian * x**2)
        if curvature < 1e-10 * weight.sum():
            return float("inf") if gradient < 0 else float("-inf")
        step = float(np.clip(-gradient / curvature, -2.0, 2.0))
        slope += step
        if abs(step) < 1e-10:
            break
    return float(slope / spread)


def expected_calibration_error(
    margin: FloatArray, target: FloatArray, weight: FloatArray, *, n_bins: int = 15
) -> float:
    r"""Mean gap between stated and observed probability over bins of equal width.

    Each pair stands in both orientations (its order in the file is the label's doing), so a model that says
    p for one says 1 - p for the other.

    References
    ----------
    Guo et al. (2017), "On calibration of modern neural networks", equation 5.
    """
    stated = np.concatenate([expit(margin), expit(-margin)])
    observed = np.concatenate([target, 1.0 - target])
    w = np.tile(weight, 2)
    bins = np.minimum((stated * n_bins).astype(np.intp), n_bins - 1)
    gap = np.bincount(bins, w * (observed - stated), n_bins)
    return float(np.abs(gap).sum() / w.sum()) if w.sum() > 0 else float("nan")


def clustered_mean(
    values: FloatArray, weight: FloatArray, clusters: IndexArray, *, level: float = 0.95
) -> Mean:
    """Weighted mean of the values that are not NaN, with an interval clustered by prompt.

    The variance is that of a ratio estimator: sums of weighted residuals over G clusters, scaled by
    G / (G - 1). The interval is that of Student's t with G - 1 degrees of freedom, since few prompts say
    little of how prompts differ. A single cluster gives no interval, nor do values that are all equal: three
    right answers of three do not make an accuracy of 1 sure.

    Examples
    --------
    >>> clustered_mean(np.array([1.0, 0.0, 1.0, 1.0]), np.ones(4), np.array([0, 0, 1, 2])).value
    0.75
    """
    known = ~np.isnan(values)
    values, weight, clusters = values[known], weight[known], clusters[known]
    total = weight.sum()
    if total <= 0:
        return Mean(float("nan"), float("nan"), float("nan"))
    mean = float(weight @ values / total)
    _, code = np.unique(clusters, return_inverse=True)
    sums = np.bincount(code, weight * (values - mean))
    if len(sums) < 2 or values.min() == values.max():
        return Mean(mean, float("nan"), float("nan"))
    error = np.sqrt(np.sum(sums**2) * len(sums) / (len(sums) - 1)) / total
    half = float(stdtrit(len(sums) - 1, (1 + level) / 2) * error)
    return Mean(mean, mean - half, mean + half)


def length_matched(chosen_length: FloatArray, rejected_length: FloatArray) -> BoolArray:
    """Pairs of responses that are nearly equally long, and not empty.

    Examples
    --------
    >>> length_matched(np.array([100.0, 100.0, 0.0]), np.array([95.0, 80.0, 0.0])).tolist()
    [True, False, False]
    """
    longer = np.maximum(chosen_length, rejected_length)
    matched = (np.abs(chosen_length - rejected_length) <= _LENGTH_MATCHED * longer) & (longer > 0)
    return np.asarray(matched, dtype=np.bool_)


def preference_report(
    margin: FloatArray,
    target: FloatArray,
    weight: FloatArray,
    prompt: IndexArray,
    *,
    chosen_length: IndexArray,
    rejected_length: IndexArray,
    subset: Array | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """One row for all pairs and one for each subset; see :meth:`RewardModel.report` for the columns.

    Warns
    -----
    UserWarning
        When choosing the longer response is right at least as often as the model.
    """

    def describe(rows: Array) -> dict[str, float]:
        return _describe(
            margin[rows],
            target[rows],
            weight[rows],
            prompt[rows],
            chosen_length[rows].astype(float),
            rejected_length[rows].astype(float),
            level,
        )

    table = [{"subset": "all", **describe(np.ones(len(margin), dtype=bool))}]
    if subset is not None:
        # A subset of the data may itself be called "all": the row of all pairs is the first one.
        names = pd.Series(subset).astype(str).to_numpy()
        table += [{"subset": name, **describe(names == name)} for name in sorted(set(names))]
    report = pd.DataFrame(table)
    ours = report.loc[0, "accuracy_half_ties"]
    longer = report.loc[0, "longer_wins"]
    if longer >= ours:
        warnings.warn(
            f"the model is not better than length: choosing the longer response is right for {longer:.1%} of "
            f"the pairs, the model for {ours:.1%}",
            UserWarning,
            stacklevel=3,
        )
    return report


def _describe(
    margin: FloatArray,
    target: FloatArray,
    weight: FloatArray,
    prompt: IndexArray,
    chosen_length: FloatArray,
    rejected_length: FloatArray,
    level: float,
) -> dict[str, float]:
    def mean(function: Callable[[], FloatArray]) -> Mean:
        return clustered_mean(function(), weight, prompt, level=level)

    right = accuracy(margin, target, half_ties=True)
    correct = mean(lambda: right)
    loss = mean(lambda: log_loss(margin, target))
    longer = chosen_length - rejected_length
    known = np.maximum(chosen_length, rejected_length)
    matched = length_matched(chosen_length, rejected_length)
    by_length = np.where(known > 0, accuracy(longer, target, half_ties=True), np.nan)
    return {
        "pairs": len(margin),
        "prompts": len(np.unique(prompt)),
        "accuracy": mean(lambda: accuracy(margin, target, half_ties=False)).value,
        "accuracy_half_ties": correct.value,
        "accuracy_lower": correct.lower,
        "accuracy_upper": correct.upper,
        "log_loss": loss.value,
        "log_loss_lower": loss.lower,
        "log_loss_upper": loss.upper,
        "ece": expected_calibration_error(margin, target, weight),
        "calibration_slope": calibration_slope(margin, target, weight),
        "longer_wins": mean(lambda: by_length).value,
        "length_matched": mean(lambda: np.where(matched, right, np.nan)).value,
        "length_matched_pairs": int(matched.sum()),
    }
