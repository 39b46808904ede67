"""The reference: every public name says what it takes, what it returns, and shows itself in an example.

What is public comes from `docs/reference_pages.py`, which makes the pages of the site. A class stands there
with the methods and properties that it defines itself.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

validate = pytest.importorskip("numpydoc.validate").validate

# numpydoc's codes. Parameters: all are documented (PR01), all exist (PR02), in the signature's order (PR03),
# with a type (PR04) and a description (PR07). There is a Returns section (RT01) with a description (RT03).
CODES = {"PR01", "PR02", "PR03", "PR04", "PR07", "RT01", "RT03"}

# Rooms whose docstrings are not complete yet.
UNFINISHED: set[str] = set()

# Names whose docstring has no example, and why.
WITHOUT_EXAMPLE: dict[str, str] = {}


@cache
def reference_pages() -> ModuleType:
    path = Path(__file__).parents[1] / "docs" / "reference_pages.py"
    spec = importlib.util.spec_from_file_location("reference_pages", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rooms() -> list[object]:
    marks = pytest.mark.xfail(strict=True, reason="docstrings to be completed")
    return [
        pytest.param(room, marks=marks) if room in UNFINISHED else room for room in reference_pages().ROOMS
    ]


def documented(room: str) -> dict[str, object]:
    """Public classes and functions of a room by dotted name; tables such as METRICS have no docstring."""
    names = reference_pages().public_names(room)
    if not names:
        return {}
    module = importlib.import_module(f"lambdamart_kit.{room}")
    objects = {f"lambdamart_kit.{room}.{name}": getattr(module, name) for name in names}
    return {name: found for name, found in objects.items() if callable(found)}


def own_members(cls: type) -> list[str]:
    """Public methods and properties that the class itself defines, as the site shows them."""
    found = []
    for name, member in vars(cls).items():
        function = getattr(member, "__func__", member)  # of a class method or a static one
        if not name.startswith("_") and (inspect.isfunction(function) or isinstance(function, property)):
            found.append(name)
    return found


def findings(name: str, owner: object) -> list[str]:
    # The constructor of a protocol takes (*args, **kwargs), but nobody calls it.
    expected = CODES - {"PR01"} if getattr(owner, "_is_protocol", False) else CODES
    return [f"{name} {code}: {text}" for code, text in validate(name)["errors"] if code in expected]


@pytest.mark.parametrize("room", rooms())
def test_everything_public_says_what_it_takes_and_returns(room):
    found = []
    for name, what in documented(room).items():
        found += findings(name, what)
        if inspect.isclass(what):
            found += [line for member in own_members(what) for line in findings(f"{name}.{member}", None)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("room", rooms())
def test_everything_public_has_an_example(room):
    without = {name for name in documented(room) if "EX01" in {code for code, _ in validate(name)["errors"]}}
    assert without == {name for name in WITHOUT_EXAMPLE if name.startswith(f"lambdamart_kit.{room}.")}


def test_the_checks_find_what_is_missing():
    broken = "numpydoc.docscrape.dedent_lines"
    assert any(line.startswith(f"{broken} PR01") for line in findings(broken, None))
