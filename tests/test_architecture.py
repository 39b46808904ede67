"""Imports go down only: the floors of the house, walked from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "lambdamart_kit"

# A room may import from rooms on lower floors, and from itself.
FLOORS = {
    0: ["compile"],
    1: ["runtime"],
    2: ["core"],
    3: ["metrics", "objectives", "trees", "datasets"],
    4: ["boosters", "clicks"],
    5: ["files", "model_selection", "explore", "diversify", "export"],
    6: ["rankers"],
    7: ["preferences", "distributed"],
    8: ["bench", "simulation"],
    9: ["cli"],
    10: ["__main__"],
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
CORE_MAY_IMPORT = {"numpy", "scipy", "numba", "llvmlite"}


def modules():
    return sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Absolute names of all imports in a module, lazy ones inside functions included."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    floor = FLOOR_OF[room_of(path)]
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "lambdamart_kit" and len(parts) > 1 and parts[1] in FLOOR_OF:
            same_room = parts[1] == room_of(path)
            message = f"{path.relative_to(PACKAGE)} (floor {floor}) imports {name}"
            assert same_room or FLOOR_OF[parts[1]] < floor, message


@pytest.mark.parametrize("path", [p for p in modules() if room_of(p) == "core"], ids=lambda p: p.stem)
def test_core_is_arrays_only(path):
    outside = {n.split(".")[0] for n in imported(path)} - set(sys.stdlib_module_names) - {"lambdamart_kit"}
    assert outside <= CORE_MAY_IMPORT


def test_import_is_cheap():
    heavy = ["numba", "lightgbm", "xgboost", "catboost", "dask", "matplotlib", "sklearn", "pandas"]
    code = f"import sys, lambdamart_kit; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_resolve():
    code = "import lambdamart_kit as lk; [getattr(lk, name) for name in lk.__all__]"
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
