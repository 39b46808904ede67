"""Which boosters there are, and what each of them can do.

To add a booster, write one module with a class that follows
:class:`~lambdamart_kit.boosters.protocol.Booster`, and add one line to `BOOSTERS`. Rankers, the command line,
the benchmark and the tests take their choices from there. Code asks what a booster can do and never compares
its name, so a new booster takes part wherever its `Capabilities` allow it.

This module imports no library and is cheap: a library is imported when its booster is asked for.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from lambdamart_kit.boosters.protocol import Booster, Model


@dataclass(frozen=True)
class Capabilities:
    """What a booster can do.

    Attributes
    ----------
    runs_objectives : bool
        Whether it grows trees on the gradient of any objective of the kit.
    symmetric_trees : bool
        Whether it knows ``booster_params={"grow_policy": "symmetric"}``.
    changes_rate : bool
        Whether the learning rate may change from round to round (`BoosterParams.schedule`).
    files : {"bins", "batches"}, optional
        How it learns from files of more rows than fit in memory: from bins that the kit writes to disk, or
        from batches of rows that it reads itself. None if it cannot.
    network : {"collective", "sockets"}, optional
        How its workers on a cluster exchange histograms: by XGBoost's collective library, or by LightGBM's
        sockets. None if they cannot.
    """

    runs_objectives: bool = True
    symmetric_trees: bool = False
    changes_rate: bool = False
    files: Literal["bins", "batches"] | None = None
    network: Literal["collective", "sockets"] | None = None


@dataclass(frozen=True)
class BoosterEntry:
    """A line of `BOOSTERS`.

    Attributes
    ----------
    path : str
        ``"module:class"``.
    library : str
        Whose trees these are, as messages call it.
    can : Capabilities
    """

    path: str
    library: str
    can: Capabilities = Capabilities()


_HERE = "lambdamart_kit.boosters"
BOOSTERS: dict[str, BoosterEntry] = {
    "native": BoosterEntry(
        f"{_HERE}.native:NativeBooster",
        "the kit",
        Capabilities(symmetric_trees=True, changes_rate=True, files="bins"),
    ),
    "lightgbm": BoosterEntry(
        f"{_HERE}.lightgbm:LightGBMBooster", "LightGBM", Capabilities(changes_rate=True, network="sockets")
    ),
    "xgboost": BoosterEntry(
        f"{_HERE}.xgboost:XGBoostBooster",
        "XGBoost",
        Capabilities(changes_rate=True, files="batches", network="collective"),
    ),
    "catboost": BoosterEntry(
        f"{_HERE}.catboost:CatBoostBooster", "CatBoost", Capabilities(runs_objectives=False)
    ),
}


def boosters_that_can(capability: str) -> list[str]:
    """Names of the boosters with a capability.

    Examples
    --------
    >>> boosters_that_can("network")
    ['lightgbm', 'xgboost']
    """
    return [name for name, entry in BOOSTERS.items() if getattr(entry.can, capability)]


def capabilities(name: str) -> Capabilities:
    """What the booster of that name can do.

    Raises
    ------
    ValueError
        If there is no such booster.
    """
    if name not in BOOSTERS:
        raise ValueError(f"'booster' must be one of {', '.join(map(repr, BOOSTERS))}; got {name!r}")
    return BOOSTERS[name].can


def find_booster(name: str) -> Booster:
    """The booster of that name.

    Raises
    ------
    ValueError
        If there is no such booster.
    ImportError
        If its library is not installed.
    """
    from lambdamart_kit.compile import collector_at_rest

    capabilities(name)
    module, _, attribute = BOOSTERS[name].path.partition(":")
    with collector_at_rest:
        found: Any = getattr(importlib.import_module(module), attribute)()
    booster: Booster = found
    return booster


def read_model(booster: str, content: bytes) -> Model:
    """The model of that booster which `Model.to_bytes` wrote."""
    return find_booster(booster).model.from_bytes(content)
