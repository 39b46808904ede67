"""Peak memory of `AutoRanker` against that of the members it fits, each fitted by itself on the same rows.

    python benchmarks/auto_memory.py [--queries 2000] [--fits 60]

Every contestant is a process of its own. What counts is the growth of its peak resident size during `fit`, X
not counted, after a warm-up on a few rows (Linux). A member by itself is its ranker with early stopping on a
share of the queries, fitted once: the smaller thing to compare with, since AutoRanker fits each of them on
several parts of the queries and keeps what they said out of fold.
"""

from __future__ import annotations

import argparse
import datetime
import multiprocessing
import warnings
from typing import Any

from lambdamart_kit import AutoRanker
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.rankers.blend.portfolio import PORTFOLIO
from training_footprint import grown_by

AUTO = "AutoRanker"


def ranker_of(name: str, n_fits: int) -> Any:
    """The contestant, unfitted."""
    if name == AUTO:
        return AutoRanker(f"fits={n_fits}", n_jobs=2, random_state=0)
    recipe = next(recipe for recipe in PORTFOLIO if recipe.name == name)
    return recipe.make(validation_fraction=0.2, n_jobs=2, random_state=0)


def growth(name: str, n_queries: int, n_fits: int, answer: multiprocessing.Queue[float]) -> None:
    """Put what the peak of this process grows by during the fit, in bytes."""
    warnings.simplefilter("ignore")
    data, few = make_letor(n_queries, random_state=0), make_letor(40, random_state=1)
    ranker_of(name, 10).fit(few.X, few.y, qid=few.qid)
    ranker = ranker_of(name, n_fits)
    answer.put(grown_by(lambda: ranker.fit(data.X, data.y, qid=data.qid)))


def main() -> None:
    """Print a table, largest first."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--fits", type=int, default=60)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    found = {}
    for name in (AUTO, *(recipe.name for recipe in PORTFOLIO)):
        answer: multiprocessing.Queue[float] = context.Queue()
        process = context.Process(target=growth, args=(name, options.queries, options.fits, answer))
        process.start()
        found[name] = answer.get()
        process.join()
    largest = max(grown for name, grown in found.items() if name != AUTO)
    size = make_letor(options.queries, random_state=0).X
    print(f"{datetime.date.today()}, {len(size):,} rows x {size.shape[1]} ({size.nbytes / 1e6:.0f} MB)\n")
    print("| fit | peak grows by, MB | to the largest member |\n|---|---|---|")
    for name, grown in sorted(found.items(), key=lambda pair: -pair[1]):
        print(f"| {name} | {grown / 1e6:.0f} | {grown / largest:.2f} |")


if __name__ == "__main__":
    main()
