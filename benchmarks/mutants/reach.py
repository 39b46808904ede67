"""Which tests reach a line of the package, found from traces and, for compiled kernels, from names."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path


class Reached:
    """Which tests reach a line, and in which order to run them."""

    def __init__(self, traces: list[dict], copied: Path) -> None:
        self.seconds: dict[str, float] = {}
        self._lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for trace in traces:
            failed = set(trace["failed"])
            self.seconds.update({t: s for t, s in trace["seconds"].items() if t not in failed})
            for name, lines in trace["lines"].items():
                for line, contexts in lines.items():
                    self._lines[name][int(line)].update(contexts)
        self._modules = {str(path): ast.parse(path.read_text()) for path in sorted(copied.rglob("*.py"))}
        self._names = _uses(self._modules)

    def tests(self, path: Path, line: int) -> list[str]:
        """Tests that reach a line of a file, the quickest first."""
        function = _function_at(self._modules[str(path)], line)
        if function is not None and not _compiled(function):
            found = set(self._lines[str(path)][line])
        elif function is not None:
            found = self._by_name(function.name)
        else:
            # What a module keeps under a name shows in the functions that use it.
            found = set()
            for name in _assigned_at(self._modules[str(path)], line):
                found |= self._by_name(name)
            found = found or {t for tests in self._lines[str(path)].values() for t in tests}
        return sorted((t for t in found if t in self.seconds), key=self.seconds.__getitem__)

    def _by_name(self, name: str) -> set[str]:
        """Tests that reach a line of Python which names a kernel, or a kernel that reaches it."""
        seen, waiting, found = {name}, [name], set()
        while waiting:
            for path, line, function in self._names.get(waiting.pop(), ()):
                if function is not None and not _compiled(function):
                    found |= self._lines[path][line]
                    continue
                # A kernel calls it, or a module or class keeps it under another name.
                others = [function.name] if function is not None else []
                if function is None:
                    others = _assigned_at(self._modules[path], line)
                for other in others:
                    if other not in seen:
                        seen.add(other)
                        waiting.append(other)
        return found


def _compiled(function: ast.FunctionDef) -> bool:
    """Whether a function is compiled, or describes one that is."""
    names = {ast.unparse(d).split("(")[0].split(".")[-1] for d in function.decorator_list}
    return bool(names & {"kernel", "inner", "intrinsic", "_summing", "overload", "njit"})


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Functions of a module and methods of its classes, without those inside functions."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node
        elif isinstance(node, ast.ClassDef):
            yield from (n for n in node.body if isinstance(n, ast.FunctionDef))
        elif isinstance(node, ast.If):
            yield from (n for n in ast.walk(node) if isinstance(n, ast.FunctionDef))


def _function_at(tree: ast.Module, line: int) -> ast.FunctionDef | None:
    return next((f for f in _functions(tree) if f.lineno <= line <= (f.end_lineno or 0)), None)


def _assigned_at(tree: ast.Module, line: int) -> list[str]:
    """Names that a statement of a module or class assigns."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.lineno <= line <= (node.end_lineno or 0):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            return [n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)]
        if isinstance(node, ast.ClassDef) and node.lineno == line:
            return [node.name]
    return []


def _uses(modules: dict[str, ast.Module]) -> dict[str, list[tuple[str, int, ast.FunctionDef | None]]]:
    """Where each name is read: the file, the line, and the function."""
    uses = defaultdict(list)
    for path, tree in modules.items():
        inside: dict[ast.AST, ast.FunctionDef] = {}
        for function in _functions(tree):
            for node in ast.walk(function):
                inside[node] = function
        for node in ast.walk(tree):
            name = None
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                name = node.id
            elif isinstance(node, ast.Attribute):
                name = node.attr
            if name is not None:
                uses[name].append((path, node.lineno, inside.get(node)))
    return uses
