"""Methods of interleaving by name."""

from __future__ import annotations

from collections.abc import Callable

from lambdamart_kit.core.gains import check_choice
from lambdamart_kit.explore.interleaving.drafting import Balanced, TeamDraft
from lambdamart_kit.explore.interleaving.merged import Interleaving
from lambdamart_kit.explore.interleaving.optimised import Optimised
from lambdamart_kit.explore.interleaving.probabilistic import Probabilistic

INTERLEAVINGS: dict[str, Callable[[], Interleaving]] = {
    "team-draft": TeamDraft,
    "balanced": Balanced,
    "probabilistic": Probabilistic,
    "optimised": Optimised,
}
"""Methods with their default settings."""


def as_interleaving(method: str | Interleaving) -> Interleaving:
    """The method itself, or the one of that name."""
    if isinstance(method, Interleaving):
        return method
    check_choice(method, tuple(INTERLEAVINGS), name="method")
    return INTERLEAVINGS[method]()
