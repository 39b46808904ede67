"""The code in docs/ runs, page by page, in one namespace a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
_BLOCK = re.compile(r"(?P<skip><!-- not run: .+? -->\s*)?^```python\n(?P<code>.*?)^```", re.M | re.S)


def blocks(page):
    text = page.read_text()
    return [
        (f"{page.name}:{text[: m.start('code')].count(chr(10)) + 1}", m["code"])
        for m in _BLOCK.finditer(text)
        if not m["skip"]
    ]


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.stem)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": page.stem}
    for place, block in blocks(page):
        exec(compile(block, place, "exec", dont_inherit=True), namespace)


def test_the_worked_objective_is_there():
    assert len(blocks(DOCS / "objectives.md")) >= 4
