"""The code in docs/ runs, page by page, in one namespace a page."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lambdamart_kit.cli.app import app

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


def test_every_file_of_results_is_linked():
    page = (DOCS / "measured.md").read_text()
    results = [path.name for path in (DOCS.parent / "benchmarks").glob("RESULTS-*.md")]
    assert results
    assert [name for name in results if f"(../benchmarks/{name})" not in page] == []


def test_the_worked_objective_is_there():
    assert len(blocks(DOCS / "objectives.md")) >= 4


_COMMANDS = re.compile(r"^```sh\n(?P<text>.*?)^```", re.M | re.S)


def commands(page):
    """Lines of a page's ``sh`` blocks, without the name of the program."""
    lines = [line for m in _COMMANDS.finditer(page.read_text()) for line in m["text"].splitlines()]
    assert all(line.startswith("lambdamart-kit ") for line in lines), lines
    return [shlex.split(line)[1:] for line in lines]


def test_the_way_from_a_table_to_a_search_engine_runs(tmp_path, monkeypatch):
    page = DOCS / "from_table_to_search.md"
    monkeypatch.chdir(tmp_path)
    for place, block in blocks(page):
        exec(compile(block, place, "exec", dont_inherit=True), {})
    printed = {}
    for arguments in commands(page):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, (arguments, done.output)
        printed[arguments[0]] = done.output
    assert len(commands(page)) == 10
    assert "recip_rank" in printed["evaluate"]
    assert "win/tie/loss" in printed["compare"]
    assert "checked: " in printed["export"]
    assert (tmp_path / "solr.json").exists()
    assert (tmp_path / "elasticsearch.json").exists()


@pytest.mark.slow
def test_the_notebook_of_steering_and_tools_runs(tmp_path, monkeypatch):
    """Its small twins are the blocks of the pages that it sums up."""
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("Agg")
    runpy.run_path(str(DOCS / "gallery" / "plot_23_steering_and_tools.py"))
    plt.close("all")
