"""``lambdamart-kit inspect``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lambdamart_kit.cli.output import Format, FormatOption, print_records
from lambdamart_kit.runtime.terminal import printable


def inspect(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Ranker that `train` saved.")],
    features: Annotated[int, typer.Option(min=0, help="How many features to list.")] = 20,
    format: FormatOption = Format.table,
) -> None:
    """Print what a saved ranker is: its parameters, its features and their importance."""
    from lambdamart_kit.bench.render import Table
    from lambdamart_kit.rankers import load_ranker
    from lambdamart_kit.rankers.summary import summarise_ranker

    summary = summarise_ranker(load_ranker(model))
    if format is Format.json:
        sys.stdout.write(json.dumps(asdict(summary), indent=2, default=str) + "\n")
        return
    records = [{"feature": name, "importance": value} for name, value in summary.importance[:features]]
    if format is Format.table:
        print(printable(f"{summary.kind}, {summary.n_features:,} features"))
        for name, value in summary.fitted.items():
            print(f"{name.replace('_', ' ')}: {value:g}")
        for name, parameter in summary.parameters.items():
            print(printable(f"{name} = {parameter!r}"))
        print()
    if not records:
        return
    cells = tuple((printable(str(r["feature"])), f"{r['importance']:.4f}") for r in records)
    title = f"{len(records):,} of {summary.n_features:,} features"
    print_records(Table(title, ("feature", summary.importance_of), cells, {}), records, format)
