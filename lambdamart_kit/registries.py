"""Every name that the toolkit knows things by: objectives, metrics, boosters, file formats and more.

Each kind of thing has one registry, a dict. This module lists the registries, so that the command
``lambdamart-kit names`` and the page ``docs/names.md`` show what is registered. Nobody keeps a second list.

Examples
--------
>>> [name for name, _ in names_of("tie model")]
['half', 'davidson', 'rao-kupper']
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


def _summary(thing: Any) -> str:
    """First sentence of the docstring of a class, of a function, or of an instance's class."""
    documented = thing if inspect.isclass(thing) or inspect.isfunction(thing) else type(thing)
    first = " ".join((inspect.getdoc(documented) or "").partition("\n\n")[0].split())
    sentence = re.split(r"(?<=[a-z)`])\.(?:\s|$)", first)[0].rstrip(".")
    return re.sub(r"; see :func:`\w+`$", "", sentence)


def _load(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _booster(entry: Any) -> str:
    """What a booster can do, without an import of its library."""
    can = [
        "any objective" if entry.can.runs_objectives else "its own losses only",
        *(["symmetric trees"] if entry.can.symmetric_trees else []),
        *([f"files, as {entry.can.files}"] if entry.can.files else []),
        *(["Dask"] if entry.can.network else []),
    ]
    return "; ".join(can)


def _measure(kind: Any) -> str:
    """What a measure of trec_eval is, and which number its name ends in."""
    ends = {"k": "; its name ends in k, as in `_10`", "p": "; its name may end in p, as in `_0.5`"}
    return str(kind.title) + ends.get(kind.parameter, "")


@dataclass(frozen=True)
class Registry:
    """One kind of thing that has names.

    Attributes
    ----------
    kind : str
    path : str
        ``"module:DICT"``.
    used : str
        Where its names go.
    describe : callable
        One line on a value of the dict.
    """

    kind: str
    path: str
    used: str
    describe: Callable[[Any], str] = _summary

    @property
    def content(self) -> Mapping[str, Any]:
        """The dict itself."""
        found: Mapping[str, Any] = _load(self.path)
        return found


_KIT = "lambdamart_kit"
REGISTRIES = (
    Registry("objective", f"{_KIT}.objectives:OBJECTIVES", "`LambdaMART(objective=)`, `train --objective`"),
    Registry("metric", f"{_KIT}.metrics:METRICS", "`eval_metric=`, `evaluate --metrics`, as in `ndcg@10`"),
    Registry(
        "TREC measure",
        f"{_KIT}.trec:MEASURES",
        "`evaluate --metrics` and `compare --metrics`, in trec_eval's conventions, as in `ndcg_cut_10`",
        _measure,
    ),
    Registry(
        "booster", f"{_KIT}.boosters.registry:BOOSTERS", "`LambdaMART(booster=)`, `train --booster`", _booster
    ),
    Registry(
        "file format",
        f"{_KIT}.files.formats:FORMATS",
        "every command that reads rows, by the suffix of the file",
        lambda known: ", ".join(f"`{suffix}`" for suffix in known.suffixes),
    ),
    Registry(
        "layout",
        f"{_KIT}.preferences.reading.layouts:LAYOUTS",
        "`PreferencePairs.read(layout=)`, `pairs --layout`",
        lambda layout: str(layout.title).rstrip("."),
    ),
    Registry(
        "tie model",
        f"{_KIT}.preferences.strengths.ties:TIE_MODELS",
        "`BradleyTerry(ties=)`, `pairs leaderboard --ties`",
    ),
    Registry(
        "policy",
        f"{_KIT}.simulation.simulate:STRATEGIES",
        "`simulate --strategies`",
        lambda make: _summary(make(0)),
    ),
    Registry(
        "export format",
        f"{_KIT}.export.format:EXPORTS",
        "`ranker.export(format=)`, `export --to`",
        lambda path: _summary(_load(path)),
    ),
)


def find_registry(kind: str) -> Registry:
    """The registry of that kind.

    Raises
    ------
    ValueError
        If there is none.
    """
    for registry in REGISTRIES:
        if registry.kind == kind:
            return registry
    known = ", ".join(repr(registry.kind) for registry in REGISTRIES)
    raise ValueError(f"'kind' must be one of {known}; got {kind!r}")


def names_of(kind: str) -> list[tuple[str, str]]:
    """Name and description of everything of that kind."""
    registry = find_registry(kind)
    return [(name, registry.describe(thing)) for name, thing in registry.content.items()]


def _in_table(text: str) -> str:
    """Text of a docstring as text of a cell."""
    return text.replace("``", "`").replace("|", r"\|")


def as_markdown() -> str:
    """All names as the page ``docs/names.md``: a table a registry."""
    parts = [
        "# Names",
        "`lambdamart-kit names` prints this page from the registries; a test compares the two.",
    ]
    for registry in REGISTRIES:
        rows = [f"| `{name}` | {_in_table(text)} |" for name, text in names_of(registry.kind)]
        title = f"## {registry.kind[0].upper()}{registry.kind[1:]}s".replace("ys", "ies")
        module, _, name = registry.path.partition(":")
        where = f"`{name}` in `{module}`; used by {registry.used}."
        parts += [title, where, "\n".join(["| name | what it is |", "|---|---|", *rows])]
    return "\n\n".join(parts) + "\n"
