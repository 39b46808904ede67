"""Options that several commands have: one name, one letter and one meaning wherever they stand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ThreadsOption = Annotated[int | None, typer.Option("--n-jobs", "-j", help="Threads; all by default.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Show progress.")]
PlotOption = Annotated[Path | None, typer.Option("--plot", help="Draw it into this file (.png, .svg, .pdf).")]

# Of the commands on pairs.
PairsArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="Pairs: .jsonl, .json, .parquet, .csv or .tsv; a glob or a folder of such files."
    ),
]
RolesOption = Annotated[
    str | None,
    typer.Option(
        "--columns", help="What columns are, as ROLE=COLUMN,...: prompt, chosen, rejected and others."
    ),
]
LayoutOption = Annotated[
    str | None,
    typer.Option("--layout", help="Layout of the rows, if they do not say it: see `pairs layouts`."),
]
