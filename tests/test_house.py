"""The manners of the house, measured from the source: sizes, comments, one assignment a line.

A limit that is not met yet stands at today's figure, with a note of the figure to come: a change may make it
better, never worse.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lambdamart_kit"

MOST_MODULES = 15  # in a folder
MOST_LINES = 50  # of a function's body, comments included
MOST_SKIPS = 0  # lines kept from the formatter, in the whole project
# Assignments `a, b = x, y` a code line, swaps aside.
MOST_PACKED = {"lambdamart_kit": 0.010, "lambdamart_kit/trees": 0.020}
# Comments a code line.
LEAST_COMMENTS = {"lambdamart_kit/trees": 0.10, "lambdamart_kit/core": 0.10}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def sources(folder: str = "lambdamart_kit") -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def docstring_lines(tree: ast.AST) -> set[int]:
    """Lines of strings that stand by themselves: docstrings."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            lines |= set(range(node.lineno, node.end_lineno + 1))
    return lines


def code_lines(source: str) -> int:
    """Lines with code: no blank ones, no comments, no docstrings."""
    docstrings = docstring_lines(ast.parse(source))
    lines = source.splitlines()
    written = [n for n, line in enumerate(lines, 1) if line.strip() and not line.strip().startswith("#")]
    return len([n for n in written if n not in docstrings])


def comments(source: str) -> int:
    """Comments, those behind code too; not the orders to tools."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    found = [t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT]
    return len([text for text in found if not text.startswith(("noqa", "type:", "fmt:", "pragma"))])


def packed_assignments(tree: ast.AST) -> list[ast.Assign]:
    """Statements ``a, b = x, y`` that are no swaps: no value uses a name that is assigned."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple | ast.List):
            continue
        targets = node.targets[0]
        if isinstance(targets, ast.Tuple) and len(targets.elts) == len(node.value.elts):
            assigned = {ast.unparse(target) for target in targets.elts}
            used = {
                ast.unparse(part)
                for value in node.value.elts
                for part in ast.walk(value)
                if isinstance(part, ast.expr)
            }
            if not assigned & used:
                found.append(node)
    return found


def body_length(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    """Lines of a function's body, comments included: no blank ones, no docstrings, and no signature."""
    documented = ast.get_docstring(node, clean=False) is not None
    first = node.body[0].end_lineno + 1 if documented else node.body[0].lineno
    docstrings = docstring_lines(node)
    body = [n for n in range(first, node.end_lineno + 1) if n not in docstrings]
    return len([n for n in body if lines[n - 1].strip()])


SAMPLE = '''"""Doc."""

x = 1  # why
# noqa: E501
# an idea


def f():
    """Doc.

    More.
    """
    # Another idea.

    a, b = 1, 2
    a, b = b, a
'''


def test_the_measures_themselves():
    tree = ast.parse(SAMPLE)
    assert code_lines(SAMPLE) == 4
    assert comments(SAMPLE) == 3
    assert [node.lineno for node in packed_assignments(tree)] == [15]
    assert body_length(tree.body[2], SAMPLE.splitlines()) == 3


@pytest.mark.parametrize("folder", sorted({path.parent for path in sources()}), ids=lambda p: p.name)
def test_no_folder_is_too_full_to_look_through(folder):
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= MOST_MODULES


def test_no_function_is_too_long_to_read():
    texts = {path: path.read_text().splitlines() for path in sources()}
    lengths = {
        (node.name, str(path.relative_to(ROOT))): body_length(node, texts[path])
        for path in sources()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {at: n for at, n in lengths.items() if n > MOST_LINES} == {}


def test_few_places_are_kept_from_the_formatter():
    order = "fmt: " + "skip"
    files = [path for folder in ("lambdamart_kit", "tests", "benchmarks") for path in sources(folder)]
    found = {str(path.relative_to(ROOT)): path.read_text().count(order) for path in files}
    assert sum(found.values()) <= MOST_SKIPS, sorted(found.items(), key=lambda item: -item[1])[:5]


@pytest.mark.parametrize("folder", MOST_PACKED)
def test_one_assignment_a_line(folder):
    paths = sources(folder)
    packed = sum(len(packed_assignments(parsed(path))) for path in paths)
    assert packed / sum(code_lines(path.read_text()) for path in paths) <= MOST_PACKED[folder]


@pytest.mark.parametrize("folder", LEAST_COMMENTS)
def test_hard_rooms_are_explained(folder):
    texts = [path.read_text() for path in sources(folder)]
    assert sum(map(comments, texts)) / sum(map(code_lines, texts)) >= LEAST_COMMENTS[folder]


# What a name in importorskip is called where it is installed from, and what tests do without: MLflow takes
# 60 packages with it, PyTerrier a Java machine.
INSTALLED_AS = {"pytrec_eval": "pytrec-eval-terrier", "ir_measures": "ir-measures", "distributed": "dask"}
NOT_IN_THE_TEST_EXTRA = {"mlflow", "pyterrier"}


def test_the_documented_command_skips_no_comparison():
    """Packages without which tests are skipped are in the extra that README's command installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    names = {re.split(r"[<>=\[]", line)[0] for line in (*project["dependencies"], *extras["test"])}
    of_extras = re.search(r"lambdamart-kit\[(.*)\]", extras["test"][0]).group(1).split(",")
    names |= {re.split(r"[<>=\[]", line)[0] for extra in of_extras for line in extras[extra]}
    texts = [path.read_text() for path in (ROOT / "tests").glob("*.py")]
    skipped = {name.split(".")[0] for text in texts for name in re.findall(r'importorskip\("([\w.]+)"', text)}
    assert len(skipped) > 15
    assert {INSTALLED_AS.get(name, name) for name in skipped} - names == NOT_IN_THE_TEST_EXTRA
    assert '".[test]"' in (ROOT / "README.md").read_text()
