r"""Training of a log-linear policy: the loss as a function of its weights, and the way down.

The policy over the responses y of prompt s is

.. math:: \log\pi(y | s) = \log\pi_{ref}(y | s) + w^\top x(y) / \beta - \log Z(s)

with weights w in units of reward and features x scaled to unit standard deviation. With G the gradient of the
loss with respect to the log-probs, the gradient with respect to the logits is
:math:`G - \pi \sum_{y'} G(y')`, the sum taken over the responses of the prompt.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.sparse.linalg import LinearOperator, cg

from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.preferences.dpo.batches import Batch
from lambdamart_kit.preferences.dpo.losses.base import PreferenceLoss, Setting

_NEWTON_STEPS = 8
_CG_STEPS = 200
_CG_TOLERANCE = 1e-6
_DIFFERENCE = 1e-5  # of central differences: about the cube root of the rounding error of a gradient
_FIRST_STEP = 0.05
_FLOW_STEPS = 30
_FLOW_MARGIN = 0.02  # change of the reward margins by the first small step
_FLOW_GROWTH = 1.1
_KL_ROUNDS = 60
_KL_TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class PolicyLoss:
    """Mean loss of a batch plus ``ridge / 2 |w|^2``, with its gradient, as a function of the weights.

    Attributes
    ----------
    batch : Batch
    loss : PreferenceLoss
    settings : mapping
        Settings of the loss.
    beta : float
    scale : (n_features,) float64
        Coefficients of the logits are ``w / (beta * scale)``.
    ridge : float
    """

    batch: Batch
    loss: PreferenceLoss
    settings: Mapping[str, Setting]
    beta: float
    scale: FloatArray
    ridge: float

    def theta(self, weights: FloatArray) -> FloatArray:
        """Coefficients of the logits."""
        return weights / (self.beta * self.scale)

    def on(self, batch: Batch, log_policy: FloatArray) -> PolicyLoss:
        """The same loss on another batch; a loss that reads a KL gets that of this policy there."""
        settings = dict(self.settings)
        if "kl" in self.loss.reads and settings.get("kl") is None:
            settings["kl"] = batch.kl(log_policy)
        return dataclasses.replace(self, batch=batch, settings=settings)

    def at(self, weights: FloatArray) -> PolicyLoss:
        """The same loss; one that reads a KL gets that of the policy with these weights."""
        if "kl" not in self.loss.reads:
            return self
        return self.on(self.batch, self.batch.log_policy(self.theta(weights)))

    def data_loss(self, log_policy: FloatArray) -> float:
        """Mean loss without the penalty."""
        logps = self.batch.pair_logps(log_policy)
        return self.loss.mean(logps, **self.settings)

    def __call__(self, weights: FloatArray) -> tuple[float, FloatArray]:
        """Value and gradient."""
        sets = self.batch.sets
        log_policy = self.batch.log_policy(self.theta(weights))
        logps = self.batch.pair_logps(log_policy)
        terms = self.loss.terms(logps, **self.settings)
        share = logps.share
        n_candidates = len(log_policy)
        ends = np.concatenate([sets.chosen, sets.rejected])
        derivatives = np.concatenate([share * terms.chosen, share * terms.rejected])
        by_logp = np.bincount(ends, derivatives, n_candidates).astype(np.float64, copy=False)
        by_logit = by_logp - np.exp(log_policy) * sets.spread(sets.sums(by_logp))
        gradient = (self.batch.X.T @ by_logit) / (self.beta * self.scale) + self.ridge * weights
        value = float(share @ terms.loss) + self.ridge / 2 * float(weights @ weights)
        return value, gradient

    def gradient(self, weights: FloatArray) -> FloatArray:
        """Gradient alone."""
        return self(weights)[1]


@dataclass(frozen=True, eq=False)
class Path:
    """Weights after each step of training, and how it ended.

    Attributes
    ----------
    weights : list of (n_features,) float64
        The start, then one entry a step.
    gradient : float
        Largest entry of the gradient at the end.
    unbounded : bool
        Whether larger weights in the same direction have a lower loss still: there is no finite minimum.
    loss : PolicyLoss
        What was minimised, as it was given.
    """

    weights: list[FloatArray]
    gradient: float
    unbounded: bool
    loss: PolicyLoss


def train(loss: PolicyLoss, *, max_iter: int, tol: float) -> Path:
    """Minimise: first along the gradient in small steps, then by L-BFGS, the last digits by Newton's method.

    The first part is what training with a small learning rate does, and worth looking at; L-BFGS alone would
    jump over it. A loss with the setting `kl` (KTO) is minimised at a constant KL, which is then set to that
    of the policy found, until the two agree: its reference point has no gradient by definition.
    """
    steps = [np.zeros(len(loss.scale))]
    _follow_gradient(loss, steps, max_iter)
    if "kl" not in loss.loss.reads or loss.settings.get("kl") is not None:
        _descend(loss, steps, max_iter, tol)
        return _ended(loss, loss, steps)
    at_kl = loss.at(steps[-1])
    for _ in range(_KL_ROUNDS):
        _descend(at_kl, steps, max_iter, tol)
        before = float(at_kl.settings["kl"] or 0.0)
        at_kl = loss.at(steps[-1])
        found = float(at_kl.settings["kl"] or 0.0)
        if abs(found - before) <= _KL_TOLERANCE * (1.0 + before) or len(steps) > max_iter:
            break
    return _ended(loss, at_kl, steps)


def _follow_gradient(loss: PolicyLoss, steps: list[FloatArray], max_iter: int) -> None:
    """Small steps down the gradient.

    Each step changes the reward margins by a given root mean square, whatever the loss and its gradient's
    size. That grows from step to step, because less and less happens, and shrinks after a step too far.
    """
    sets = loss.batch.sets
    length = _FLOW_MARGIN
    value, gradient = loss.at(steps[-1])(steps[-1])
    share = sets.weight / sets.weight.sum()
    for _ in range(min(_FLOW_STEPS, max_iter)):
        rewards = loss.batch.X @ (gradient / loss.scale)
        speed = float(np.sqrt(share @ (rewards[sets.chosen] - rewards[sets.rejected]) ** 2))
        if not speed > 0:
            return
        moved = steps[-1] - length / speed * gradient
        moved_value, moved_gradient = loss.at(moved)(moved)
        if moved_value < value:
            steps.append(moved)
            value = moved_value
            gradient = moved_gradient
            length *= _FLOW_GROWTH
        else:
            length /= 4.0


def _descend(loss: PolicyLoss, steps: list[FloatArray], max_iter: int, tol: float) -> None:
    left = max_iter - (len(steps) - 1)
    if left < 1:
        return

    # L-BFGS compares losses, whose rounding hides gradients below about 1e-8. Newton's method compares
    # gradients, and takes over there. The first step of L-BFGS has length 1 in its own variables, so they are
    # rewards over `_FIRST_STEP`: a longer step could jump out of the valley that the small steps led to.
    def scaled(variables: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = loss(_FIRST_STEP * variables)
        return value, _FIRST_STEP * gradient

    minimize(
        scaled,
        steps[-1] / _FIRST_STEP,
        jac=True,
        method="L-BFGS-B",
        callback=lambda variables: steps.append(_FIRST_STEP * variables),
        options={
            "maxiter": left,
            "gtol": tol * _FIRST_STEP,
            "ftol": 0.0,
            "maxcor": 20,
            "maxls": 40,
            "maxfun": 20 * left,
        },
    )
    for _ in range(min(_NEWTON_STEPS, max_iter - (len(steps) - 1))):
        polished = _newton_step(loss, steps[-1], tol)
        if polished is None:
            return
        steps.append(polished)


def _newton_step(loss: PolicyLoss, weights: FloatArray, tol: float) -> FloatArray | None:
    """Weights with a smaller gradient; None where it is small enough or does not become smaller."""
    gradient = loss.gradient(weights)
    size = float(np.abs(gradient).max())
    # Far from the minimum a Newton step may lead anywhere; that is L-BFGS's part of the way.
    if size <= tol or size > 1e-4:
        return None

    def curvature(direction: FloatArray) -> FloatArray:
        norm = float(np.linalg.norm(direction))
        step = _DIFFERENCE / norm if norm > 0 else 1.0
        ahead = loss.gradient(weights + step * direction)
        behind = loss.gradient(weights - step * direction)
        return (ahead - behind) / (2.0 * step)

    n = len(weights)
    hessian = LinearOperator((n, n), matvec=curvature, dtype=np.float64)
    step, _ = cg(hessian, -gradient, rtol=_CG_TOLERANCE, maxiter=_CG_STEPS)
    if not np.isfinite(step).all():
        return None
    moved = weights + step
    return moved if float(np.abs(loss.gradient(moved)).max()) < size else None


def _ended(given: PolicyLoss, loss: PolicyLoss, steps: list[FloatArray]) -> Path:
    weights = steps[-1]
    value, gradient = loss(weights)
    further, _ = loss(1.05 * weights)
    # At a minimum the loss rises in every direction, so a fall of this size means that there is none.
    unbounded = bool(weights.any()) and further < value - 1e-4 * abs(value) - 1e-15
    return Path(steps, float(np.abs(gradient).max()), unbounded, given)
