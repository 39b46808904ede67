"""What commands print at any width: nothing is wider than the terminal, and pipes get no escape codes."""

from __future__ import annotations

import shlex

import pytest
from typer.main import get_command

from lambdamart_kit.cli.app import app

COMMAND = get_command(app)


def walk(command, path=()):
    """The path of every command below `command`."""
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, (*path, name))


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("path", list(walk(COMMAND)), ids=" ".join)
def test_help_fits_and_is_plain(path, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    COMMAND([*path, "--help"], standalone_mode=False, prog_name="lambdamart-kit")
    text = capsys.readouterr().out
    assert text.startswith("Usage: lambdamart-kit")
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    # The list of commands has whole sentences, cut nowhere.
    commands = text.partition("Commands:")[2].splitlines()
    assert not [line for line in commands if line.endswith("...")]


LEAVES = [path for path in walk(COMMAND) if path and path not in (("datasets",), ("pairs",), ("policy",))]


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_shows_an_example_that_it_would_take(path, capsys):
    """An example with an option that is gone, or a value it does not take, does not parse."""
    COMMAND([*path, "--help"], standalone_mode=False, prog_name="lambdamart-kit")
    text = capsys.readouterr().out.partition("Example:\n")[2].partition("\n\n")[0]
    examples = text.replace("\\\n", " ").splitlines()
    assert examples
    for example in examples:
        words = shlex.split(example)
        assert words[: len(path) + 1] == ["lambdamart-kit", *path]
        command = COMMAND
        for name in path:
            command = command.commands[name]
        command.make_context(path[-1], words[len(path) + 1 :])
