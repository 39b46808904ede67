"""What a mutant is: one operator, constant, condition or statement of a file changed."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.FloorDiv: ast.Mult,
}
# Arguments that say how a picture looks.
_LOOKS = {
    "alpha",
    "capsize",
    "elinewidth",
    "figsize",
    "fontsize",
    "linewidth",
    "lw",
    "markersize",
    "ms",
    "zorder",
}
_NAMES = {"min": "max", "max": "min", "argmin": "argmax", "argmax": "argmin", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutant:
    """One change: a file, the place of a node in the walk of its tree, and which of its changes."""

    path: Path
    node: int
    variant: int
    line: int
    change: str
    name: str

    def __str__(self) -> str:
        return f"{self.name}:{self.line} {self.change} #{self.node}.{self.variant}"


def mutated(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Copies of a node with one small mistake, and what it is."""
    if isinstance(node, (ast.AugAssign, ast.Assign)):
        yield ast.Pass(), f"{ast.unparse(node)!r} left out"
    new = copy.deepcopy(node)
    if isinstance(node, ast.Compare) and isinstance(new, ast.Compare) and type(node.ops[0]) in _SWAPS:
        new.ops[0] = _SWAPS[type(node.ops[0])]()  # type: ignore[call-overload]
    elif isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in _SWAPS:
        new.op = _SWAPS[type(node.op)]()  # type: ignore[attr-defined]
    elif isinstance(node, ast.Constant) and isinstance(node.value, (bool, int, float)):
        value = node.value
        new.value = not value if isinstance(value, bool) else value + 1  # type: ignore[attr-defined]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
        new = copy.deepcopy(node.operand)
    elif isinstance(node, ast.Name) and node.id in _NAMES:
        new.id = _NAMES[node.id]  # type: ignore[attr-defined]
    elif isinstance(node, ast.Attribute) and node.attr in _NAMES:
        new.attr = _NAMES[node.attr]  # type: ignore[attr-defined]
    elif isinstance(node, ast.IfExp) and isinstance(new, ast.IfExp):
        new.body = copy.deepcopy(node.orelse)
        new.orelse = copy.deepcopy(node.body)
    else:
        return
    yield new, f"{ast.unparse(node)!r} -> {ast.unparse(new)!r}"


def _untouched(tree: ast.Module) -> set[ast.AST]:
    """Nodes that no test could miss, or none should check: annotations, messages, decorators."""
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            parts += node.decorator_list
        if isinstance(node, ast.FunctionDef):
            parts.append(node.returns)
        if isinstance(node, (ast.arg, ast.AnnAssign)):
            parts.append(node.annotation)
        if isinstance(node, (ast.Raise, ast.Import, ast.ImportFrom, ast.JoinedStr)):
            parts.append(node)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn":
            parts.append(node)
        if isinstance(node, ast.keyword) and node.arg in _LOOKS | {"copy"}:
            parts.append(node)
        for part in parts:
            if part is not None:
                skipped |= set(ast.walk(part))
    return skipped


def mutants_of(path: Path, package: Path) -> list[Mutant]:
    """All mutants of a file of the package."""
    tree = ast.parse(path.read_text())
    skipped = _untouched(tree)
    found = []
    for i, node in enumerate(ast.walk(tree)):
        if node not in skipped:
            line = getattr(node, "lineno", 0)
            name = str(path.relative_to(package))
            found += [Mutant(path, i, k, line, change, name) for k, (_, change) in enumerate(mutated(node))]
    return found


def source_of(mutant: Mutant, copied: Path) -> str:
    """The source of a copy of the file, with the change."""
    tree = ast.parse(copied.read_text())
    target = list(ast.walk(tree))[mutant.node]
    new = list(mutated(target))[mutant.variant][0]

    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            return new if node is target else self.generic_visit(node)

    return ast.unparse(ast.fix_missing_locations(Replace().visit(tree))) + "\n"


def line_in_copy(mutant: Mutant, copied: Path) -> int:
    """The line of a mutant in the copy, whose lines are those of ``ast.unparse``."""
    node = list(ast.walk(ast.parse(copied.read_text())))[mutant.node]
    return int(getattr(node, "lineno", 0))
