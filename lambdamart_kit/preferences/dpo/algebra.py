r"""The algebra of RLHF and DPO on arrays: no model, no training, only log-probabilities and rewards.

For one prompt, the policy that maximises reward minus a KL penalty has a closed form

.. math:: \pi^* = \arg\max_\pi \; E_\pi[r] - \beta \, KL(\pi \| \pi_{ref})
          = \pi_{ref} \, e^{r / \beta} / Z, \qquad Z = \sum_y \pi_{ref}(y) e^{r(y) / \beta}

so a policy *is* a reward model: :math:`r(y) = \beta \log(\pi(y) / \pi_{ref}(y)) + \beta \log Z`. The last
term cancels in the difference of two responses to one prompt, and what is left, the implicit reward margin,
is all that most of the losses in :mod:`lambdamart_kit.preferences.dpo.losses` see.

Names of log-prob columns are TRL's: ``chosen_logps``, ``rejected_logps``, ``ref_chosen_logps``,
``ref_rejected_logps``, each a sum over the tokens of a response.

References
----------
Rafailov et al. (2023), "Direct Preference Optimization", equations 3-7.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

from lambdamart_kit.core.typing import ArrayLike, FloatArray, Ids
from lambdamart_kit.preferences.dpo.checks import aligned, check_beta, distribution, finite, token_counts
from lambdamart_kit.preferences.strengths.bradley_terry import BradleyTerry


def implicit_rewards(logps: ArrayLike, ref_logps: ArrayLike, *, beta: float = 0.1) -> FloatArray:
    r"""Reward that a policy stands for, up to a constant per prompt: :math:`\beta (\log\pi - \log\pi_{ref})`.

    Examples
    --------
    >>> implicit_rewards([-10.0, -12.0], [-11.0, -11.5], beta=0.1).round(3).tolist()
    [0.1, -0.05]
    """
    policy, reference = finite(("logps", logps), ("ref_logps", ref_logps))
    return check_beta(beta) * (policy - reference)


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
    policy_chosen, policy_rejected, ref_chosen, ref_rejected = finite(
        ("chosen_logps", chosen_logps),
        ("rejected_logps", rejected_logps),
        ("ref_chosen_logps", ref_chosen_logps),
        ("ref_rejected_logps", ref_rejected_logps),
    )
    chosen = implicit_rewards(policy_chosen, ref_chosen, beta=beta)
    rejected = implicit_rewards(policy_rejected, ref_rejected, beta=beta)
    if chosen_lengths is not None or rejected_lengths is not None:
        chosen = chosen / token_counts(chosen_lengths, len(chosen), "chosen_lengths")
        rejected = rejected / token_counts(rejected_lengths, len(rejected), "rejected_lengths")
    margin: FloatArray = chosen - rejected
    return margin


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
    reference, r = distribution(ref, rewards)
    with np.errstate(divide="ignore"):
        logits = np.log(reference) + r / check_beta(beta)
    log_z = float(logsumexp(logits))
    policy = np.exp(logits - log_z)
    return Optimum(policy, beta * log_z, max(0.0, float(policy @ r) / beta - log_z))


def objective(policy: ArrayLike, ref: ArrayLike, rewards: ArrayLike, *, beta: float) -> float:
    r"""The KL-regularised objective :math:`E_\pi[r] - \beta KL(\pi\|\pi_{ref})` of any policy.

    Examples
    --------
    >>> objective([0.5, 0.5], [0.5, 0.5], [1.0, 0.0], beta=0.1)
    0.5
    """
    reference, r = distribution(ref, rewards)
    pi, _ = distribution(policy, rewards, name="policy")
    return float(pi @ r) - check_beta(beta) * kl_divergence(pi, reference)


def kl_divergence(policy: ArrayLike, ref: ArrayLike) -> float:
    """KL(policy || ref) in nats; infinite where the reference excludes what the policy does.

    Examples
    --------
    >>> round(kl_divergence([1.0, 0.0], [0.5, 0.5]), 6)
    0.693147
    """
    pi, reference = aligned(("policy", policy), ("ref", ref))
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
    reference, _ = distribution(ref, np.zeros_like(np.asarray(ref, dtype=np.float64)))
    with np.errstate(divide="ignore"):
        logits = np.log(reference) / temperature
    return np.exp(logits - logsumexp(logits))


def tabular_dpo(
    ref: ArrayLike,
    pairs: Ids,
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
