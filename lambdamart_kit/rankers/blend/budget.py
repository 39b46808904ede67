"""How much work `AutoRanker` may do: so many fits, or so many seconds."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from numbers import Real

_UNITS = {"s": 1.0, "sec": 1.0, "min": 60.0, "h": 3600.0}
_TEXT = re.compile(r"(?:(fits)\s*=\s*([0-9]+)|([0-9]*\.?[0-9]+)\s*([a-z]*))")
_RULE = (
    "'budget' must be a time such as '10min', '1.5h' or 600 (seconds), or a number of fits such as 'fits=40'"
)


@dataclass(frozen=True)
class Budget:
    """A number of fits, or a number of seconds; the other one is infinite.

    Examples
    --------
    >>> Budget.read("10min").seconds, Budget.read(90).seconds, Budget.read("fits=40").fits
    (600.0, 90.0, 40)
    """

    seconds: float = math.inf
    fits: float = math.inf

    @classmethod
    def read(cls, budget: str | float) -> Budget:
        """The budget that a user wrote.

        Raises
        ------
        ValueError
            If it is neither a time nor a number of fits, or not positive.
        """
        if isinstance(budget, Real) and not isinstance(budget, bool):
            return cls(seconds=_positive(float(budget), budget))
        found = _TEXT.fullmatch(budget.strip().lower()) if isinstance(budget, str) else None
        if found is None:
            raise ValueError(f"{_RULE}; got {budget!r}")
        if found[1]:
            return cls(fits=int(_positive(float(found[2]), budget)))
        unit = found[4] or "s"
        if unit not in _UNITS:
            raise ValueError(f"{_RULE}; got {budget!r}, whose unit is none of {', '.join(_UNITS)}")
        return cls(seconds=_positive(float(found[3]) * _UNITS[unit], budget))

    @property
    def is_timed(self) -> bool:
        """Whether it counts seconds: what is fitted then depends on the speed of the machine."""
        return math.isfinite(self.seconds)


def _positive(value: float, given: object) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{_RULE}, greater than 0; got {given!r}")
    return value
