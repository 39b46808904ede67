"""Run the headline comparisons: ``python -m benchmarks all --quick``.

    python -m benchmarks list                  # names, and what each compares
    python -m benchmarks training scoring      # some of them, printed
    python -m benchmarks all                   # all, in full sizes: hours on two cores
    python -m benchmarks all --quick           # under 20 minutes on two cores
    python -m benchmarks tables                # write page and README anew from the JSON

"all" writes RESULTS-headlines.json, RESULTS-headlines.md and README's table; names do so with ``--write``,
and their rows replace those of the same machine and sizes. Run it in the root of a checkout.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# The scripts import one another by their plain names, as they do when one of them is run by itself.
sys.path.insert(0, str(Path(__file__).parent))

import headline_tables as tables
from headlines import HEADLINES, quality

PACKAGES = (
    "lambdamart-kit",
    "numpy",
    "numba",
    "scikit-learn",
    "lightgbm",
    "xgboost",
    "catboost",
    "evalica",
    "choix",
    "ranx",
    "pandas",
)


def machine() -> dict[str, Any]:
    """What `lscpu` says of the processor."""
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(["lscpu"], capture_output=True, text=True, check=True, env=environment)
    parts = (line.partition(":") for line in done.stdout.splitlines())
    said = {key.strip(): value.strip() for key, _, value in parts}
    family = f"family {said.get('CPU family', '?')}, model {said.get('Model', '?')}"
    levels = {level: said.get(f"{level} cache") for level in ("L1d", "L2", "L3")}
    caches = ", ".join(f"{level} {size}" for level, size in levels.items() if size)
    name = f"{said.get('Model name', platform.processor())} ({family})"
    return {"name": name, "cores": len(os.sched_getaffinity(0)), "caches": caches}


def versions() -> dict[str, str]:
    """Python and the packages that take part, as far as installed."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def measure(name: str, quick: bool, beside: str) -> dict[str, Any]:
    """One headline on this machine, as a run that holds nothing else."""
    run: dict[str, Any] = {"machine": machine(), "quick": quick, "versions": versions(), "beside": beside}
    run |= {"comparisons": [], "left_out": {}}
    started = time.perf_counter()
    try:
        found = HEADLINES[name](quick)
    except ImportError as error:
        run["left_out"][name] = str(error)
        return run
    for comparison in found:
        record = {"headline": name, "date": str(datetime.date.today()), **comparison.record()}
        run["comparisons"].append(record)
        what = f"{record['what']} ({record['size']}), {record['peer']}"
        print(f"{what}: {tables.spread(record)}", flush=True)
    print(f"  {name}: {time.perf_counter() - started:.0f} s", flush=True)
    return run


def merged(runs: list[dict[str, Any]], new: dict[str, Any]) -> list[dict[str, Any]]:
    """The kept runs, in which the new one takes the place of the same headlines of its machine and sizes."""
    same = [run for run in runs if (run["machine"], run["quick"]) == (new["machine"], new["quick"])]
    others = [run for run in runs if run not in same]
    for old in same:
        measured = {record["headline"] for record in new["comparisons"]} | set(new["left_out"])
        kept = [record for record in old["comparisons"] if record["headline"] not in measured]
        order = list(HEADLINES)
        new["comparisons"] = sorted(
            kept + new["comparisons"], key=lambda record: order.index(record["headline"])
        )
        left_out = {name: why for name, why in old["left_out"].items() if name not in measured}
        new["left_out"] = left_out | new["left_out"]
        new.setdefault("quality", old.get("quality"))
        new["beside"] = new["beside"] or old["beside"]
    return [*others, new]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="+", metavar="name", help="all, list, tables, or names of list")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, under 20 minutes for all")
    parser.add_argument("--write", action="store_true", help="put named headlines into the tables")
    parser.add_argument("--beside", default="", help="what else the machine did meanwhile, for the page")
    options = parser.parse_args()
    if options.names == ["list"]:
        for name, headline in HEADLINES.items():
            print(f"{name:16}{headline.__doc__.splitlines()[0]}")
        return
    if options.names == ["tables"]:
        tables.write(tables.load())
        return
    everything = options.names == ["all"]
    names = list(HEADLINES) if everything else options.names
    if unknown := [name for name in names if name not in HEADLINES]:
        parser.error(f"no headline {', '.join(unknown)}; `python -m benchmarks list` shows them")
    started = time.perf_counter()
    # Each headline is written as soon as it is measured, so that a run that is cut short keeps the others.
    for name in names:
        run = measure(name, options.quick, options.beside)
        if everything and name == names[-1]:
            run["quality"] = quality(options.quick)
        if everything or options.write:
            tables.write(merged(tables.load(), run))
    print(f"{(time.perf_counter() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
