"""From values to places on a chart: a linear scale with round marks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lambdamart_kit.core.typing import ArrayLike, FloatArray

MINUS = "\u2212"  # as wide as a plus sign, unlike a hyphen


@dataclass(frozen=True)
class Scale:
    """A straight line from values to pixels.

    Attributes
    ----------
    low, high : float
        Values at the ends.
    start, stop : float
        Pixels at the ends.
    """

    low: float
    high: float
    start: float
    stop: float

    @classmethod
    def over(cls, values: ArrayLike, start: float, stop: float, *, around: float | None = None) -> Scale:
        """The scale that holds all finite `values`, and `around` where it is given, with a small margin."""
        known = np.asarray(values, dtype=np.float64)
        known = known[np.isfinite(known)]
        if around is not None:
            known = np.append(known, around)
        low = float(known.min()) if len(known) else 0.0
        high = float(known.max()) if len(known) else 1.0
        margin = 0.05 * (high - low) if high > low else max(abs(high), 1.0) * 0.05
        return cls(low - margin, high + margin, start, stop)

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def marks(self, most: int = 5) -> FloatArray:
        """At most `most` round values between the ends, with steps of 1, 2 or 5 times a power of ten.

        Examples
        --------
        >>> Scale(0.0, 1.03, 0, 100).marks().tolist()
        [0.0, 0.5, 1.0]
        """
        step = _round_step((self.high - self.low) / most)
        first = np.ceil(self.low / step - 1e-9)
        last = np.floor(self.high / step + 1e-9)
        return np.arange(first, last + 1) * step + 0.0


def written(values: Iterable[float]) -> list[str]:
    """Numbers with as many decimals as tell neighbours apart.

    Examples
    --------
    >>> written([-0.5, 0.0, 0.5])
    ['−0.5', '0.0', '0.5']
    """
    held = np.asarray(list(values), dtype=np.float64)
    if len(held) < 2:
        return [_signed(f"{value:g}") for value in held]
    step = float(np.diff(held).min())
    decimals = max(0, -int(np.floor(np.log10(step) + 1e-9))) if step > 0 else 2
    return [_signed(f"{value:,.{decimals}f}") for value in held]


def _signed(text: str) -> str:
    return text.replace("-", MINUS)


def _round_step(least: float) -> float:
    power = 10.0 ** np.floor(np.log10(least))
    for factor in (1.0, 2.0, 5.0, 10.0):
        if factor * power >= least * (1 - 1e-9):
            return float(factor * power)
    return float(10.0 * power)
