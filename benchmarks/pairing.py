"""Contestants timed in turn, and what a comparison of two of them is.

Another program on the machine slows whoever runs at that moment. Contestants therefore take turns, every
second turn in the opposite order, and what counts is the ratio within a turn: its median and its spread.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


def orders(names: Sequence[str], turns: int) -> list[list[str]]:
    """Who runs after whom in each turn: as given, then backwards, then as given."""
    return [list(names) if turn % 2 == 0 else list(reversed(names)) for turn in range(turns)]


def in_turn(
    calls: Mapping[str, Callable[[], object]],
    turns: int,
    *,
    clock: Callable[[], float] = time.perf_counter,
    warm: bool = True,
) -> dict[str, list[float]]:
    """Seconds of each contestant in each turn; with ``warm`` everyone runs once before, unmeasured."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    if warm:
        for call in calls.values():
            call()
    for order in orders(list(calls), turns):
        for name in order:
            begun = clock()
            calls[name]()
            spent[name].append(clock() - begun)
    return spent


@dataclass(frozen=True)
class Comparison:
    """Our seconds and a peer's on the same work, turn by turn.

    `threads` are ours and theirs, `size` says what the work is, `note` what else belongs to the figure.
    """

    what: str
    peer: str
    size: str
    threads: tuple[int, int]
    ours: Sequence[float]
    theirs: Sequence[float]
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        """How many times as long the peer takes, ascending."""
        return sorted(theirs / ours for ours, theirs in zip(self.ours, self.theirs))

    def record(self) -> dict[str, Any]:
        """The comparison as JSON holds it."""
        ratios = self.ratios
        return {
            "what": self.what,
            "peer": self.peer,
            "size": self.size,
            "threads": list(self.threads),
            "seconds": [statistics.median(self.ours), statistics.median(self.theirs)],
            "ratio": statistics.median(ratios),
            "least": ratios[0],
            "most": ratios[-1],
            "pairs": len(ratios),
            "note": self.note,
        }
