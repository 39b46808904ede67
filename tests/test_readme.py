"""The README's code runs, and the commands it shows exist.

Python blocks run in order in one namespace, as a reader would paste them. A block after the comment
``<!-- not run: reason -->`` is left out.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from lambdamart_kit.cli.app import app

README = Path(__file__).parents[1] / "README.md"
_BLOCK = re.compile(
    r"(?P<skip><!-- not run: .+? -->\s*)?^```(?P<language>\w+)\n(?P<code>.*?)^```", re.M | re.S
)


def blocks(*languages):
    text = README.read_text()
    return [
        (f"{README.name}:{text[: m.start('code')].count(chr(10)) + 1}", m["code"])
        for m in _BLOCK.finditer(text)
        if m["language"] in languages and not m["skip"]
    ]


def commands():
    """Every ``lambdamart-kit ...`` of the shell blocks, as lists of words."""
    found = []
    for place, code in blocks("bash", "sh", "console", "shell"):
        lines = code.replace("\\\n", " ").splitlines()
        for part in (part for line in lines for part in re.split(r"&&|\|\||;|\|", line.split(" #")[0])):
            words = shlex.split(part.strip().removeprefix("$ "))
            if words and Path(words[0]).name == "lambdamart-kit":
                found.append((place, words[1:]))
    return found


def test_python_blocks_run(tmp_path, monkeypatch):
    code = blocks("python")
    if not code:
        pytest.skip("the README shows no Python")
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "readme"}
    for place, block in code:
        exec(compile(block, place, "exec"), namespace)


def test_the_first_command_is_the_benchmark():
    assert commands()[0][1][0] == "bench"


def test_commands_and_their_options_exist():
    root = typer.main.get_command(app)
    for place, words in commands():
        command, rest = root, list(words)
        while rest and not rest[0].startswith("-") and hasattr(command, "commands"):
            name = rest.pop(0)
            assert name in command.commands, f"{place}: no command {name!r}"
            command = command.commands[name]
        known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
        used = {word.split("=")[0] for word in rest if word.startswith("-")}
        assert used <= known | {"--help", "-h"}, f"{place}: no option {sorted(used - known)}"
