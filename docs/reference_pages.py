"""The list of public names for the reference, made from what the packages say is public."""

from __future__ import annotations

import importlib
from pathlib import Path

# Rooms in the order in which a reader meets them, and what each is about.
ROOMS = {
    "rankers": "Rankers",
    "objectives": "Objectives",
    "metrics": "Metrics and tests",
    "model_selection": "Splitters, scorers and searches",
    "datasets": "Data sets",
    "files": "Files",
    "preferences": "Preferences",
    "explain": "Explanations",
    "report": "Reports",
    "export": "Export",
    "explore": "Exploration",
    "explore.evaluation": "Off-policy evaluation",
    "explore.interleaving": "Interleaving",
    "diversify": "Diversity",
    "clicks": "Clicks",
    "trec": "TREC",
    "distributed": "Clusters",
    "adapters": "Other tools",
    "bench": "Benchmarks",
}


def public_names(room: str) -> list[str]:
    """Names that a package states in ``__all__``, in a fixed order; empty if there is no such package."""
    try:
        module = importlib.import_module(f"lambdamart_kit.{room}")
    except ModuleNotFoundError as error:
        if error.name != f"lambdamart_kit.{room}":
            raise
        return []
    names = getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
    return sorted(names, key=lambda name: (name.lower(), name))


def write_reference(folder: Path) -> None:
    """Write ``index.rst``: one table a room."""
    lines = ["API reference", "=============", "", "Every public name, with an example that runs.", ""]
    for room, title in ROOMS.items():
        names = public_names(room)
        if not names:
            continue
        heading = f"{title}: ``lambdamart_kit.{room}``"
        lines += [heading, "-" * len(heading), "", f".. currentmodule:: lambdamart_kit.{room}", ""]
        lines += [".. autosummary::", "   :toctree: api", "", *[f"   {name}" for name in names], ""]
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines)
    target = folder / "index.rst"
    if not target.exists() or target.read_text() != text:
        target.write_text(text)
