"""How good are the rankers on MQ2008?  Five folds, tuned on the validation queries, paired tests.

    python benchmarks/mq2008.py FOLDER [--quick] [--tune 8] [--out runs.jsonl] [--table RESULTS-mq2008.md]

FOLDER holds Fold1..5 of LETOR 4.0 MQ2008. Every model gets the same number of settings (its defaults, then
random draws), chosen by NDCG@10 on the validation queries of each fold. The table has NDCG@10 with tied
scores in the worst order and averaged over all orders, each with blank queries left out and counted as 0.
"""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

from lambdamart_kit.bench import compare
from lambdamart_kit.bench.render import to_markdown
from lambdamart_kit.cli.output import progress_bar

MODELS = (
    "lambdamart",
    "lambdamart:pairwise",
    "lambdamart@lightgbm",
    "lambdamart:pairwise@lightgbm",
    "lambdamart@xgboost",
    "lambdamart:pairwise@xgboost",
    "lightgbm",
    "lightgbm:rank_xendcg",
    "xgboost",
    "xgboost:pairwise",
    "catboost:YetiRank",
    "pointwise",
)
METRICS = "ndcg(ties=pessimistic)@10,ndcg@10"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with Fold1 .. Fold5")
    parser.add_argument("--quick", action="store_true", help="one fold, few trees, two settings")
    parser.add_argument("--tune", type=int, default=8, help="settings a model and fold")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--baseline", default="lightgbm")
    parser.add_argument("--n-jobs", type=int, help="threads of a fit; 1 where others use the machine")
    parser.add_argument("--out", type=Path, help="keep runs here and continue from them")
    parser.add_argument("--table", type=Path, help="write the table to this file as well")
    options = parser.parse_args()

    with progress_bar() as progress:
        comparison = compare(
            options.folder,
            models=options.models,
            metrics=METRICS,
            n_settings=2 if options.quick else options.tune,
            baseline=options.baseline,
            out=options.out,
            n_jobs=options.n_jobs,
            quick=options.quick,
            progress=progress,
        )
    table = f"# MQ2008, {date.today()}\n\n{to_markdown(comparison.report)}"
    print(table)
    if options.table is not None:
        options.table.write_text(table)


if __name__ == "__main__":
    main()
