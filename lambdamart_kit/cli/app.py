"""The application: its commands, and what becomes of errors.

Exit codes: 0 done, 1 the user's data or options do not work, 2 the command was written wrongly, 130 stopped
with Ctrl-C. A mistake is one line on stderr; ``--debug`` shows the traceback.
"""

from __future__ import annotations

import re
import sys
import warnings
from typing import Annotated, Any, TextIO

import typer

from lambdamart_kit.cli import (
    benchmark,
    datasets,
    export,
    files,
    inspecting,
    measuring,
    names,
    pairs,
    reporting,
)
from lambdamart_kit.cli.exploring import diversify, policy, simulation
from lambdamart_kit.cli.output import Group
from lambdamart_kit.runtime.ctrl_c import ctrl_c_was_pressed
from lambdamart_kit.runtime.terminal import printable
from lambdamart_kit.runtime.version import __version__

# Mistakes that the kit's messages explain. Anything else is a bug, and its traceback is worth having.
_EXPLAINED = (ValueError, TypeError, OSError, ImportError)


class _Application(Group):
    """Turns explained errors of any command into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except _EXPLAINED as error:
            if ctrl_c_was_pressed():  # the error may be what a library made of it, or not
                raise _stopped(f" ({_one_line(error)})") from None
            if ctx.params.get("debug"):
                raise
            print(f"lambdamart-kit: {_one_line(error)}", file=sys.stderr)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise _stopped() from None


def _stopped(why: str = "") -> typer.Exit:
    print(f"lambdamart-kit: stopped{why}", file=sys.stderr)
    return typer.Exit(130)


# What the library calls a parameter, to what the command line calls it.
_OPTION = {
    "'y'": "--label",
    "'qid'": "--qid",
    "'sample_weight'": "--weight",
    "'features'": "--features",
    "'ignore'": "--ignore",
    "'models'": "--models",
    "'baseline'": "--baseline",
    "'folds'": "--folds",
    "'docid'": "--docid",
    "'clip'": "--clip",
    "by='time'": "--by time",
    "by='query'": "--by query",
    "'time'": "--time",
    "'parts'": "--parts",
    "'stratified'": "--stratified",
    "'zero_based'": "--letor zero-based",
    "'unordered'": "--letor unordered",
    "'missing'": "--letor missing",
    "'query_file'": "--letor query-file",
    "'letor'": "--letor",
    "check_overlap=False": "--anyway",
    "'width'": "--width",
    "kind='bernstein'": "--interval bernstein",
    "accept_terms=True": "--accept-terms",
}


def _one_line(error: Exception) -> str:
    """The error in one line and in the words of the command line, safe to print whatever names it holds."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return printable(f"{error.filename}: {error.strerror}")
    return _in_command_words(str(error)) or type(error).__name__


def _in_command_words(text: str) -> str:
    """A message of the library in one line, with options in place of the names of parameters."""
    line = " ".join(text.split())
    for parameter, option in _OPTION.items():
        # Behind these words stands a name or a value of the file, which stays as it is.
        line = re.sub(
            rf"(?<!column )(?<!called )(?<!has no )(?<!holds )(?<!got ){re.escape(parameter)}", option, line
        )
    return printable(line)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as a sentence; where it was raised in the code tells the user of a command nothing."""
    print(f"warning: {_in_command_words(str(message))}", file=sys.stderr, flush=True)


app = typer.Typer(
    cls=_Application,
    help="Train, evaluate and honestly compare rankers on files of ranking data.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("bench")(benchmark.bench)
app.command("train")(files.train)
app.command("predict")(files.predict)
app.command("evaluate")(measuring.evaluate)
app.command("compare")(measuring.compare)
app.command("inspect")(inspecting.inspect)
app.command("explain")(inspecting.explain)
app.command("report")(reporting.report)
app.command("export")(export.export)
app.command("simulate")(simulation.simulate)
app.command("names")(names.names)
app.command("diversify")(diversify.diversify)
app.add_typer(policy.app, name="policy")
app.add_typer(datasets.app, name="datasets")
app.add_typer(pairs.app, name="pairs")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"lambdamart-kit {__version__}")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Learning to rank: train, evaluate and honestly compare rankers on files of ranking data."""
