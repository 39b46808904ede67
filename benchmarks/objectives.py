"""Which objective on which learner?  MQ2008: every combination, tuned on validation queries, paired tests.

    python benchmarks/objectives.py FOLDER [--quick] [--tune 8] [--out runs.jsonl] [--table FILE.md]

FOLDER holds Fold1..5 of LETOR 4.0 MQ2008. Every model gets the same number of settings (its defaults, then
random draws), chosen by NDCG@10 on the validation queries of each fold; NDCG@10, MAP, MRR and ERR on the test
queries, with three peers. The last line is the answer that test queries have no part in: the model with the
best mean NDCG@10 on the validation queries, and what it reaches on the test queries.
"""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

import numpy as np

from lambdamart_kit.bench import compare
from lambdamart_kit.bench.comparison import Comparison
from lambdamart_kit.bench.render import to_markdown
from lambdamart_kit.bench.results import chosen
from lambdamart_kit.cli.output import progress_bar
from lambdamart_kit.objectives import OBJECTIVES

LEARNERS = (
    "lambdamart:{}@native",
    "lambdamart:{}@lightgbm",
    "lambdamart:{}@xgboost",
    "neural:{}",
    "linear:{}",
)
PEERS = ("lightgbm", "pointwise", "catboost:YetiRank")
METRICS = ("ndcg@10", "map", "mrr", "err")


def best_on_validation(comparison: Comparison) -> str:
    """The kit's model with the best validation NDCG@10, mean over folds, and its test NDCG@10."""
    metric = next(iter(comparison.runs[0].valid))
    ours = ("lambdamart", "neural", "linear")
    runs = [run for run in chosen(comparison.runs, metric) if run.model.startswith(ours)]
    valid: dict[str, list[float]] = {}
    test: dict[str, list[float]] = {}
    for run in runs:
        valid.setdefault(run.model, []).append(run.valid[metric])
        test.setdefault(run.model, []).extend(v for v in run.test[metric] if v is not None)
    best = max(valid, key=lambda model: np.mean(valid[model]))
    return (
        f"Chosen on validation queries alone: {best}, {metric} {np.mean(valid[best]):.4f} there, "
        f"{np.mean(test[best]):.4f} on the test queries (blank skipped)."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with Fold1 .. Fold5")
    parser.add_argument("--quick", action="store_true", help="one fold, few rounds, one setting")
    parser.add_argument("--tune", type=int, default=8, help="settings a model and fold")
    parser.add_argument("--objectives", default=",".join(OBJECTIVES))
    parser.add_argument("--learners", default=",".join(LEARNERS), help="specs with {} for the objective")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--baseline", default="lightgbm")
    parser.add_argument("--n-jobs", type=int, help="threads of a fit; 1 where others use the machine")
    parser.add_argument("--out", type=Path, help="keep runs here and continue from them")
    parser.add_argument("--table", type=Path, help="write the table to this file as well")
    options = parser.parse_args()

    objectives, learners = options.objectives.split(","), options.learners.split(",")
    models = [learner.format(objective) for learner in learners for objective in objectives]
    with progress_bar() as progress:
        comparison = compare(
            options.folder,
            models=[*models, *options.peers.split(",")],
            metrics=METRICS,
            n_settings=1 if options.quick else options.tune,
            baseline=options.baseline,
            out=options.out,
            n_jobs=options.n_jobs,
            quick=options.quick,
            progress=progress,
        )
    table = f"# Objectives and learners on MQ2008, {date.today()}\n\n{to_markdown(comparison.report)}\n"
    table += f"\n{best_on_validation(comparison)}\n"
    print(table)
    if options.table is not None:
        options.table.write_text(table)


if __name__ == "__main__":
    main()
