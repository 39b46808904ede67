r"""The algebra of RLHF and DPO on arrays: no model, no training, only log-probabilities and rewards.

For one prompt, the policy that maximises reward minus a KL penalty has a closed form

.. math:: \pi^* = \arg\max_\pi \; E_\pi[r] - \beta \, KL(\pi \| \pi_{ref})
          = \pi_{ref} \, e^{r / \beta} / Z, \qquad Z = \sum_y \pi_{ref}(y) e^{r(y) / \beta}

so a policy *is* a reward model: :math:`r(y) = \beta \log(\pi(y) / \pi_{ref}(y)) + \beta \log Z`. The last
term cancels in the difference of two responses to one prompt, and what is left, the implicit reward margin,
is all that DPO's losses see.

Names of log-prob columns are TRL's: ``chosen_logps``, ``rejected_logps``, ``ref_chosen_logps``,
``ref_rejected_logps``, each a sum over the tokens of a response.

References
----------
Rafailov et al. (2023), "Direct Preference Optimization", equations 3-7. Azar et al. (2023), "A general
theoretical paradigm to understand learning from human preferences" (IPO), equation 17. Chowdhury et al.
(2024), "Provably robust DPO", equation 12. Mitchell (2023), "A note on DPO with noisy preferences". Zhao et
al. (2023), "SLiC-HF". Beirami et al. (2024), "Theoretical guarantees on the best-of-n alignment policy".
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp
from scipy.stats import rankdata

from lambdamart_kit.core.gains import check_choice
from lambdamart_kit.core.pairs import flipped_target, pair_terms
from lambdamart_kit.core.typing import ArrayLike, FloatArray, IndexArray
from lambdamart_kit.preferences.strengths.bradley_terry import BradleyTerry

LOSSES = ("sigmoid", "hinge", "ipo", "robust", "smoothed")


# Log-probs to rewards and losses ---------------------------------------------------------------------------


def implicit_rewards(logps: ArrayLike, ref_logps: ArrayLike, *, beta: float = 0.1) -> FloatArray:
    r"""Reward that a policy stands for, up to a constant per prompt: :math:`\beta (\log\pi - \log\pi_{ref})`.

    Examples
    --------
    >>> implicit_rewards([-10.0, -12.0], [-11.0, -11.5], beta=0.1).round(3).tolist()
    [0.1, -0.05]
    """
    policy, reference = _aligned(("logps", logps), ("ref_logps", ref_logps))
    return _check_beta(beta) * (policy - reference)


def implicit_margin(
    chosen_logps: ArrayLike,
    rejected_logps: ArrayLike,
    ref_chosen_logps: ArrayLike,
    ref_rejected_logps: ArrayLike,
    *,
    beta: float = 0.1,
    chosen_lengths: ArrayLike | None = None,
    rejected_lengths: ArrayLike | None = None,
) -> FloatArray:
    """Implicit reward of the chosen response less that of the rejected one, (n_pairs,).

    With lengths (tokens), log-ratios are divided by them first, as TRL does for IPO.

    Examples
    --------
    >>> implicit_margin([-10.0], [-12.0], [-11.0], [-11.5]).round(6).tolist()
    [0.15]
    """
    chosen = implicit_rewards(chosen_logps, ref_chosen_logps, beta=beta)
    rejected = implicit_rewards(rejected_logps, ref_rejected_logps, beta=beta)
    chosen, rejected = _aligned(("chosen_logps", chosen), ("rejected_logps", rejected))
    if chosen_lengths is not None or rejected_lengths is not None:
        chosen = chosen / _lengths(chosen_lengths, len(chosen), "chosen_lengths")
        rejected = rejected / _lengths(rejected_lengths, len(rejected), "rejected_lengths")
    margin: FloatArray = chosen - rejected
    return margin


def dpo_loss(
    margin: ArrayLike, *, loss: str = "sigmoid", beta: float = 0.1, label_smoothing: float = 0.0
) -> FloatArray:
    r"""Loss of each pair at its implicit reward margin, (n_pairs,).

    ============  ===========================================================  ========================
    ``loss``      formula (m the margin, e the flip rate)                      TRL's ``loss_type``
    ============  ===========================================================  ========================
    ``sigmoid``   :math:`-\log\sigma(m)`                                       ``sigmoid``
    ``smoothed``  :math:`-(1-e)\log\sigma(m) - e\log\sigma(-m)`                ``sigmoid``, smoothing e
    ``robust``    :math:`(-(1-e)\log\sigma(m) + e\log\sigma(-m)) / (1-2e)`     ``robust``, smoothing e
    ``hinge``     :math:`\max(0, 1 - m)`                                       ``hinge``
    ``ipo``       :math:`(m/\beta - 1/(2\beta))^2`                             ``ipo``
    ============  ===========================================================  ========================

    TRL computes IPO from length-normalised log-ratios (give lengths to :func:`implicit_margin`); the paper
    does not.

    Parameters
    ----------
    margin : (n_pairs,) array
        From :func:`implicit_margin` with the same `beta`.
    loss : str
        One of the above.
    beta : float
        Only IPO uses it.
    label_smoothing : float
        Probability e in [0, 0.5) that a label is flipped; for "smoothed" and "robust".

    Examples
    --------
    >>> [round(float(dpo_loss([0.15], loss=name)[0]), 6) for name in ("sigmoid", "hinge", "ipo")]
    [0.620957, 0.85, 12.25]
    >>> dpo_loss([0.15], loss="robust", label_smoothing=0.1).round(6).tolist()
    [0.602207]
    """
    check_choice(loss, LOSSES, name="loss")
    m = np.atleast_1d(np.asarray(margin, dtype=np.float64))
    if label_smoothing and loss not in ("smoothed", "robust"):
        raise ValueError(
            f"'label_smoothing' needs loss='smoothed' or 'robust'; got {label_smoothing} with {loss!r}"
        )
    if loss == "hinge":
        return np.maximum(0.0, 1.0 - m)
    if loss == "ipo":
        return (m / _check_beta(beta) - 1.0 / (2.0 * beta)) ** 2
    correction = "robust" if loss == "robust" else "smoothed"
    target = flipped_target(np.ones_like(m), label_smoothing, correction=correction)
    return pair_terms(m, target=target).loss


def margin_accuracy(margin: ArrayLike) -> tuple[float, float]:
    """Share of pairs with a margin above 0, and the same with ties counted as half.

    Examples
    --------
    A policy equal to its reference has only ties:

    >>> margin_accuracy([0.0, 0.0])
    (0.0, 0.5)
    """
    m = np.asarray(margin, dtype=np.float64)
    strict = float(np.mean(m > 0))
    return strict, strict + float(np.mean(m == 0)) / 2


# One prompt, all its responses ----------------------------------------------------------------------------


class Optimum(NamedTuple):
    """Optimal policy (n,), value of the objective there, and KL to the reference."""

    policy: FloatArray
    value: float
    kl: float


def optimal_policy(ref: ArrayLike, rewards: ArrayLike, *, beta: float) -> Optimum:
    r"""Maximiser of :math:`E_\pi[r] - \beta KL(\pi\|\pi_{ref})`, its value :math:`\beta\log Z`, and its KL.

    Parameters
    ----------
    ref : (n,) array
        Reference probabilities of all responses to a prompt; they sum to 1.
    rewards : (n,) array
    beta : float

    Examples
    --------
    >>> best = optimal_policy([0.5, 0.3, 0.2], [1.0, 0.0, -1.0], beta=1.0)
    >>> best.policy.round(6).tolist(), round(best.value, 6), round(best.kl, 6)
    ([0.784399, 0.173139, 0.042463], 0.549691, 0.192245)
    """
    reference, r = _distribution(ref, rewards)
    with np.errstate(divide="ignore"):
        logits = np.log(reference) + r / _check_beta(beta)
    log_z = float(logsumexp(logits))
    policy = np.exp(logits - log_z)
    return Optimum(policy, beta * log_z, float(policy @ r) / beta - log_z)


def objective(policy: ArrayLike, ref: ArrayLike, rewards: ArrayLike, *, beta: float) -> float:
    r"""The KL-regularised objective :math:`E_\pi[r] - \beta KL(\pi\|\pi_{ref})` of any policy.

    Examples
    --------
    >>> objective([0.5, 0.5], [0.5, 0.5], [1.0, 0.0], beta=0.1)
    0.5
    """
    reference, r = _distribution(ref, rewards)
    pi, _ = _distribution(policy, rewards, name="policy")
    return float(pi @ r) - _check_beta(beta) * kl_divergence(pi, reference)


def kl_divergence(policy: ArrayLike, ref: ArrayLike) -> float:
    """KL(policy || ref) in nats; infinite where the reference excludes what the policy does.

    Examples
    --------
    >>> round(kl_divergence([1.0, 0.0], [0.5, 0.5]), 6)
    0.693147
    """
    pi, reference = _aligned(("policy", policy), ("ref", ref))
    positive = pi > 0
    with np.errstate(divide="ignore"):
        return float(np.sum(pi[positive] * (np.log(pi[positive]) - np.log(reference[positive]))))


def temper(ref: ArrayLike, *, temperature: float) -> FloatArray:
    r"""Sampling at a temperature: :math:`\pi_{ref}^{1/T} / Z`.

    Temperature acts on :math:`\log\pi_{ref}` too, so it is the closed-form optimum for the reward
    :math:`\log\pi` only when the reference is uniform.

    Examples
    --------
    >>> temper([0.8, 0.2], temperature=0.5).round(6).tolist()
    [0.941176, 0.058824]
    """
    if not temperature > 0:
        raise ValueError(f"'temperature' must be > 0; got {temperature}")
    reference, _ = _distribution(ref, np.zeros_like(np.asarray(ref, dtype=np.float64)))
    with np.errstate(divide="ignore"):
        logits = np.log(reference) / temperature
    return np.exp(logits - logsumexp(logits))


def tabular_dpo(
    ref: ArrayLike,
    pairs: Any,
    outcomes: Any = None,
    *,
    beta: float,
    sample_weight: Any = None,
    prior: float = 0.0,
) -> FloatArray:
    r"""The policy that minimises DPO's loss over all policies of one prompt, (n,).

    With one free log-probability a response, DPO is the Bradley-Terry fit of strengths
    :math:`\theta = \beta \log(\pi / \pi_{ref}) + const`, so :math:`\pi = \pi_{ref} e^{\theta/\beta} / Z`, and
    :math:`\theta` does not depend on :math:`\beta`.

    Parameters
    ----------
    ref : (n,) array
        Reference probabilities of the responses 0 .. n - 1, each of which must stand in a pair.
    pairs : (n_pairs, 2) integers
        Responses compared; the first is the chosen one where `outcomes` is left out.
    outcomes, sample_weight, prior
        As in :class:`BradleyTerry`.

    Examples
    --------
    Three of four annotators prefer response 0; the odds are 3 to 1 at beta = 1, and 9 to 1 at 0.5:

    >>> tabular_dpo([0.5, 0.5], [[0, 1]] * 3 + [[1, 0]], beta=1.0).round(6).tolist()
    [0.75, 0.25]
    >>> tabular_dpo([0.5, 0.5], [[0, 1]] * 3 + [[1, 0]], beta=0.5).round(6).tolist()
    [0.9, 0.1]
    """
    fit = BradleyTerry(prior=prior).fit(pairs, outcomes, sample_weight)
    reference = np.asarray(ref, dtype=np.float64)
    if not np.array_equal(fit.items_, np.arange(len(reference))):
        raise ValueError(
            f"'pairs' must hold every response 0 to {len(reference) - 1}; got {fit.items_.tolist()}"
        )
    return optimal_policy(reference, fit.strengths_, beta=beta).policy


# Best of n ------------------------------------------------------------------------------------------------


def best_of_n(ref: ArrayLike, rewards: ArrayLike, *, n: int) -> FloatArray:
    """Probability that each response is the best of `n` draws from `ref`, (n_responses,).

    Equal rewards are drawn among in proportion to `ref`, as when the first of the best is kept.

    Examples
    --------
    >>> best_of_n([0.5, 0.5], [1.0, 0.0], n=2).tolist()
    [0.75, 0.25]
    """
    _check_n(n)
    reference, r = _distribution(ref, rewards)
    _, level = np.unique(r, return_inverse=True)
    mass = np.bincount(level, reference)
    at_most = np.minimum(np.cumsum(mass), 1.0)
    below = np.concatenate(([0.0], at_most[:-1]))
    share = np.divide(at_most**n - below**n, mass, out=np.zeros_like(mass), where=mass > 0)
    return reference * share[level]


def best_of_n_reward(ref: ArrayLike, rewards: ArrayLike, *, n: int) -> float:
    """Expected reward of the best of `n` draws.

    Examples
    --------
    >>> best_of_n_reward([0.5, 0.5], [1.0, 0.0], n=2)
    0.75
    """
    return float(best_of_n(ref, rewards, n=n) @ np.asarray(rewards, dtype=np.float64))


def best_of_n_kl(ref: ArrayLike, rewards: ArrayLike, *, n: int) -> float:
    """KL of the best-of-n policy to `ref`, exact for finitely many responses.

    Examples
    --------
    >>> round(best_of_n_kl([0.25] * 4, [0, 1, 2, 3], n=4), 5)
    0.59031
    """
    return kl_divergence(best_of_n(ref, rewards, n=n), ref)


def best_of_n_kl_bound(n: int) -> float:
    """``log n - (n - 1) / n``: the KL for a continuum of responses, and a bound for finitely many.

    Examples
    --------
    >>> round(best_of_n_kl_bound(4), 5)
    0.63629
    """
    _check_n(n)
    return math.log(n) - (n - 1) / n


def select_best(scores: ArrayLike, prompts: ArrayLike) -> np.ndarray:
    """Row of the highest score of each prompt, prompts ascending; the first of equals.

    Examples
    --------
    >>> select_best([0.1, 0.9, 0.5], ["a", "a", "b"]).tolist()
    [1, 2]
    """
    values, names = np.asarray(scores, dtype=np.float64), np.asarray(prompts)
    if values.shape != names.shape or values.ndim != 1:
        raise ValueError(f"'scores' and 'prompts' must be equally long; got {values.shape} and {names.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"'scores' must be finite; row {int(np.argmin(np.isfinite(values)))} is not")
    _, code = np.unique(names, return_inverse=True)
    order = np.lexsort((np.arange(len(values)), -values, code))
    first = np.concatenate(([True], np.diff(code[order]) > 0)) if len(order) else np.empty(0, bool)
    return order[first]


# Implicit against explicit rewards, and what the columns tell ---------------------------------------------


class Agreement(NamedTuple):
    """How two rewards compare on the same pairs.

    `agreement` is the share of pairs that both order alike, `rank_correlation` Spearman's of the margins,
    `effective_beta` the least-squares slope through zero of implicit on explicit margins (the factor between
    their scales), `disagree` the pairs ordered differently, largest conflict first.
    """

    agreement: float
    rank_correlation: float
    effective_beta: float
    disagree: np.ndarray


def compare_margins(implicit: ArrayLike, explicit: ArrayLike) -> Agreement:
    """Compare a policy's implicit reward margins with a reward model's.

    Conflict of a pair is the smaller of its two margins, each in units of its root mean square.

    Examples
    --------
    >>> result = compare_margins([0.1, -0.2, 0.3], [1.0, 2.0, 3.0])
    >>> round(result.agreement, 3), result.disagree.tolist()
    (0.667, [1])
    """
    a, b = _aligned(("implicit", implicit), ("explicit", explicit))
    if not len(a):
        raise ValueError("'implicit' must hold at least one pair; got none")
    disagree = np.flatnonzero(np.sign(a) * np.sign(b) < 0)
    scale_a, scale_b = np.sqrt(np.mean(a**2)) or 1.0, np.sqrt(np.mean(b**2)) or 1.0
    conflict = np.minimum(np.abs(a[disagree]) / scale_a, np.abs(b[disagree]) / scale_b)
    ranks = rankdata(a), rankdata(b)
    varied = np.ptp(ranks[0]) > 0 and np.ptp(ranks[1]) > 0
    return Agreement(
        float(np.mean(np.sign(a) == np.sign(b))),
        float(np.corrcoef(*ranks)[0, 1]) if varied else float("nan"),
        float(a @ b / (b @ b)) if b @ b > 0 else float("nan"),
        disagree[np.argsort(-conflict, kind="stable")],
    )


def audit_logps(
    chosen_logps: ArrayLike,
    rejected_logps: ArrayLike,
    ref_chosen_logps: ArrayLike,
    ref_rejected_logps: ArrayLike,
) -> dict[str, IndexArray]:
    """Find what is wrong with log-prob columns: rows with each problem, by name.

    ``policy_equals_reference``: the loss is exactly log 2, because the policy never moved or the columns are
    copies. ``zero``: log-probs of 0 stand for missing ones. ``positive``: no log-prob is above 0.
    ``not_finite``.

    Examples
    --------
    >>> found = audit_logps([-1.0, 0.0], [-2.0, -3.0], [-1.0, -1.0], [-2.0, -2.5])
    >>> {name: rows.tolist() for name, rows in found.items()}
    {'policy_equals_reference': [0], 'zero': [1], 'positive': [], 'not_finite': []}
    """
    columns = _aligned(
        ("chosen_logps", chosen_logps),
        ("rejected_logps", rejected_logps),
        ("ref_chosen_logps", ref_chosen_logps),
        ("ref_rejected_logps", ref_rejected_logps),
    )
    chosen, rejected, ref_chosen, ref_rejected = columns
    table = np.stack(columns)
    return {
        "policy_equals_reference": np.flatnonzero((chosen == ref_chosen) & (rejected == ref_rejected)),
        "zero": np.flatnonzero((table == 0).any(axis=0)),
        "positive": np.flatnonzero((table > 0).any(axis=0)),
        "not_finite": np.flatnonzero(~np.isfinite(table).all(axis=0)),
    }


# Checks ---------------------------------------------------------------------------------------------------


def _aligned(*named: tuple[str, ArrayLike]) -> tuple[FloatArray, ...]:
    arrays = [np.atleast_1d(np.asarray(values, dtype=np.float64)) for _, values in named]
    for (name, _), values in zip(named, arrays):
        if values.ndim != 1 or values.shape != arrays[0].shape:
            raise ValueError(
                f"{name!r} must have one value per row of {named[0][0]!r}, {arrays[0].shape}; "
                f"got {values.shape}"
            )
    return tuple(arrays)


def _distribution(
    probabilities: ArrayLike, rewards: ArrayLike, *, name: str = "ref"
) -> tuple[FloatArray, FloatArray]:
    p, r = _aligned((name, probabilities), ("rewards", rewards))
    if not (np.all(p >= 0) and abs(p.sum() - 1.0) < 1e-6):
        raise ValueError(f"{name!r} must hold probabilities that sum to 1; the sum is {p.sum()}")
    if not np.isfinite(r).all():
        raise ValueError(f"'rewards' must be finite; row {int(np.argmin(np.isfinite(r)))} is not")
    return p, r


def _lengths(lengths: ArrayLike | None, n_rows: int, name: str) -> FloatArray:
    values = np.asarray(lengths, dtype=np.float64)
    if values.shape != (n_rows,) or not np.all(values > 0):
        raise ValueError(f"{name!r} must hold {n_rows} token counts > 0")
    return values


def _check_beta(beta: float) -> float:
    if not (np.isfinite(beta) and beta > 0):
        raise ValueError(f"'beta' must be finite and > 0; got {beta}")
    return float(beta)


def _check_n(n: int) -> None:
    if int(n) != n or n < 1:
        raise ValueError(f"'n' must be a whole number >= 1; got {n}")
