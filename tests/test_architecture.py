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
    4: ["boosters", "clicks", "trec"],
    5: ["files", "model_selection", "diversify", "explain", "export"],
    6: ["report"],
    7: ["rankers"],
    8: ["preferences", "distributed", "adapters"],
    9: ["explore"],
    10: ["bench", "simulation"],
    11: ["registries"],
    12: ["cli"],
    13: ["__main__"],
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


def imported_files(path: Path) -> set[Path]:
    """Files of the package that a file imports: lazily and for type checking too.

    ``from lambdamart_kit.rankers import saving`` imports the file ``saving.py``; it counts as an import of
    ``rankers/__init__.py`` only where a name is taken from there that is no module.
    """
    found = set()
    for name in imported(path):
        parts = name.split(".")
        if parts[0] != PACKAGE.name:
            continue
        # The longest part of the name that is a module: what follows it is a name inside of that module.
        for length in range(len(parts), 0, -1):
            module = PACKAGE.parent.joinpath(*parts[:length])
            files = [f for f in (module.with_suffix(".py"), module / "__init__.py") if f.is_file()]
            if files:
                found.add(files[0])
                break
    return found - {path}


def circles(graph: dict[Path, set[Path]]) -> list[set[str]]:
    """Groups of files each of which leads to every other one (strongly connected components)."""
    reached = {}
    for start in graph:
        seen: set[Path] = set()
        stack = list(graph[start])
        while stack:
            file = stack.pop()
            if file not in seen:
                seen.add(file)
                stack.extend(graph[file])
        reached[start] = seen
    inside = [file for file in graph if file in reached[file]]
    groups = {frozenset(g for g in inside if g in reached[f] and f in reached[g]) for f in inside}
    return [{str(f.relative_to(PACKAGE)) for f in group} for group in groups]


def test_no_file_imports_itself_in_a_circle():
    found = circles({path: imported_files(path) for path in PACKAGE.rglob("*.py")})
    assert found == []


def test_a_circle_would_be_found(tmp_path):
    a, b, c = (PACKAGE / f"{name}.py" for name in "abc")
    assert circles({a: {b}, b: {c}, c: set()}) == []
    assert circles({a: {b}, b: {a}, c: {a}}) == [{"a.py", "b.py"}]


# ---------------------------------------------------------------------------- private attributes of rankers


def is_private(name: object) -> bool:
    return isinstance(name, str) and name.startswith("_") and not name.startswith("__")


# Names that scikit-learn gives a meaning to: every estimator has them.
OF_SCIKIT_LEARN = {"_parameter_constraints", "_get_param_names"}


def private_names_of_rankers() -> tuple[set[str], set[str]]:
    """Private attributes and methods in `rankers`, and the names of its classes."""
    names, classes = set(), set()
    for path in (PACKAGE / "rankers").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                classes.add(node.name)
                names |= {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
                targets = [t for n in node.body if isinstance(n, ast.Assign) for t in n.targets]
                targets += [n.target for n in node.body if isinstance(n, ast.AnnAssign)]
                names |= {t.id for t in targets if isinstance(t, ast.Name)}
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                names.add(node.attr)
    return {name for name in names if is_private(name)} - OF_SCIKIT_LEARN, classes


def uses_of_private_names(
    tree: ast.AST, names: set[str], rankers: set[str], own: frozenset[str] = frozenset({"self", "cls"})
) -> list[str]:
    """Where code outside of `rankers` touches one of the private `names` of a ranker.

    What an object does with its own attributes (``self._rows``) is its own affair, unless its class is a
    ranker; `own` holds the names of variables that are such objects.
    """
    found = []
    for node in ast.iter_child_nodes(tree):
        own_here = own
        if isinstance(node, ast.ClassDef):
            bases = {n.id for base in node.bases for n in ast.walk(base) if isinstance(n, ast.Name)}
            if bases & rankers:
                rankers.add(node.name)
                own_here = frozenset()
                methods = [n.name for n in node.body if isinstance(n, ast.FunctionDef)]
                found += [f"{node.name}.{name}" for name in methods if name in names]
        if isinstance(node, ast.Attribute) and node.attr in names and ast.unparse(node.value) not in own:
            found.append(ast.unparse(node))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr", "hasattr"):
            named = [a for a in node.args if isinstance(a, ast.Constant) and a.value in names]
            found += [ast.unparse(node) for _ in named if ast.unparse(node.args[0]) not in own]
        found += uses_of_private_names(node, names, rankers, own_here)
    return found


@pytest.mark.parametrize(
    "path", [p for p in modules() if room_of(p) != "rankers"], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_private_attributes_of_rankers_stay_in_their_room(path):
    names, rankers = private_names_of_rankers()
    assert uses_of_private_names(ast.parse(path.read_text()), names, rankers | {"DaskRanker"}) == []


def test_a_private_attribute_would_be_found():
    names, rankers = private_names_of_rankers()
    assert "_fit_ordered" in names
    for code in (
        "def fit(ranker):\n    ranker._fit_ordered(1, 2, 3)",
        "class DaskRanker(LambdaMART):\n    def fit(self):\n        self._hold_out(1)",
        "class Mine(LambdaMART):\n    def _debias(self): ...",
        "getattr(ranker, '_rng')",
    ):
        assert uses_of_private_names(ast.parse(code), names, set(rankers)), code
    assert not uses_of_private_names(ast.parse("class Box:\n    def f(self): self._rng"), names, rankers)


def test_import_is_cheap():
    heavy = ["numba", "lightgbm", "xgboost", "catboost", "dask", "matplotlib", "sklearn", "pandas"]
    code = f"import sys, lambdamart_kit; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_resolve():
    code = "import lambdamart_kit as lk; [getattr(lk, name) for name in lk.__all__]"
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
