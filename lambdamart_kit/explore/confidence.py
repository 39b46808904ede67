"""How much is added to a mean so that it is an upper bound: rules that need neither a horizon nor tuning."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.core.information import InformationStack
from lambdamart_kit.core.typing import Array, FloatArray

_FLOOR = 2.0  # k^2 where a direction is known as well as it can be


def direction_bonus(
    stack: InformationStack,
    lists: Array,
    widths: FloatArray,
    *,
    noise: float,
    norm: float,
    reg_lambda: float,
) -> FloatArray:
    r"""The bonus of ``LinUCB(alpha="auto")``, (n_lists, n_candidates).

    .. math:: \max\big(k R w, \; \tfrac12 R w + S \lambda |A^{-1} x|\big), \qquad
              k^2 = 2 + \log \frac{(\lambda + \sum |x_s|^2) \, w^2}{|x|^2}

    The second term bounds what shrinkage does, ``lambda x' A^-1 theta``, by Cauchy and Schwarz. The sum of
    both bounds holds with more certainty and explores more: on the five arms of LinUCB's docstring its regret
    was 1.2 to 2.1 times as high, without fewer lock-ins, for there were none.
    """
    squares = np.square(lists).sum(axis=-1)
    squares = squares if lists.ndim == 3 else squares[:, None]
    # A <= (lambda + sum |x|^2) I, so the ratio is at least 1 but for rounding; 0 / 0 is a row of zeros.
    ratio = np.divide(
        _most_information(stack, reg_lambda) * widths**2, squares, where=squares > 0, out=np.ones_like(widths)
    )
    multiples = np.sqrt(_FLOOR + np.log(np.maximum(ratio, 1.0)))
    shrinkage = norm * reg_lambda * _solved_lengths(stack, lists)
    return np.asarray(np.maximum(multiples * noise * widths, 0.5 * noise * widths + shrinkage))


def _most_information(stack: InformationStack, reg_lambda: float) -> float:
    """``lambda + sum |x|^2`` over the rows of all models: what one direction of one model could have had."""
    traces = np.trace(stack.matrices, axis1=1, axis2=2) - reg_lambda * stack.matrices.shape[1]
    return float(reg_lambda + traces.sum())


def _solved_lengths(stack: InformationStack, lists: Array) -> FloatArray:
    """``|A^-1 x|`` of each candidate, (n_lists, n_candidates)."""
    if lists.ndim == 3:
        rows = lists.reshape(-1, lists.shape[-1])
        lengths = np.linalg.norm(stack[0].solve(rows.T), axis=0)
        return np.asarray(lengths.reshape(lists.shape[:-1]))
    by_model = [np.linalg.norm(stack[m].solve(lists.T), axis=0) for m in range(len(stack))]
    return np.stack(by_model, axis=1)


class LogDetBound(NamedTuple):
    r"""The self-normalised bound of Abbasi-Yadkori, Pál and Szepesvári (2011), theorem 2.

    .. math:: R \sqrt{\log \tfrac{\det A}{\lambda^d} + 2 \log \tfrac1\delta} + \sqrt\lambda S

    It holds for all rows and at all times at once, with probability ``1 - delta`` over all models.
    """

    noise: float
    norm: float
    delta: float
    reg_lambda: float

    def multiples(self, stack: InformationStack) -> FloatArray:
        """Widths to be added for each model, (n_models,)."""
        n_features = stack.matrices.shape[1]
        log_dets = np.array([stack[m].log_det for m in range(len(stack))])
        gained = np.maximum(log_dets - n_features * np.log(self.reg_lambda), 0.0)
        of_noise = self.noise * np.sqrt(gained + 2.0 * np.log(len(stack) / self.delta))
        return np.asarray(of_noise + np.sqrt(self.reg_lambda) * self.norm)
