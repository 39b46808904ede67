"""Is AutoRanker ahead of tuned peers?  Every model on the same queries, test queries scored once, pooled.

    python benchmarks/auto_quality.py run DATA... --out runs.jsonl [--models auto:60,lightgbm] [--splits 3]
    python benchmarks/auto_quality.py table runs.jsonl

DATA is a folder of folds with train, vali and test, or files of one data set joined by "+", which are split
into five folds of queries, anew for every split; a query counts once, with its mean over the splits. Peers
train on the training queries, and stop and choose among 8 settings on the validation queries; "optuna" is
LightGBM's lambdarank with 80 trials of Optuna's TPE instead. "auto:60" is an `AutoRanker` with a budget of 60
fits, "bags" is `LambdaMART(n_bags=10)`, "single" is `LambdaMART()`: these three learn from the training and
the validation queries. One thread each.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from lambdamart_kit import AutoRanker, LambdaMART, LightGBMRanker
from lambdamart_kit.bench.fitting import FoldData, fit_with_validation
from lambdamart_kit.bench.models import parse_model
from lambdamart_kit.datasets import RankingDataset, load_folds, read_letor
from lambdamart_kit.metrics import ndcg

N_SETTINGS = 8
N_TRIALS = 80
N_FOLDS = 5
MODELS = "lightgbm,xgboost,xgboost:pairwise,catboost,optuna,single,bags,auto:60"


@dataclass(frozen=True)
class Fold:
    """Three parts of one data set, what the results file calls them, and names of the test queries."""

    data: str
    name: str
    parts: FoldData
    queries: list[str]


def joined(files: list[str]) -> RankingDataset:
    """The rows of several files, a query of one file not being that of another."""
    parts = [read_letor(file) for file in files]
    n_features = max(part.X.shape[1] for part in parts)
    wide = [np.pad(part.X, ((0, 0), (0, n_features - part.X.shape[1]))) for part in parts]
    qid = np.concatenate([np.char.add(f"{at} ", part.qid.astype(str)) for at, part in enumerate(parts)])
    return RankingDataset(np.concatenate(wide), np.concatenate([part.y for part in parts]), qid)


def folds_of(data: str, n_splits: int) -> Iterator[Fold]:
    """The folds of a folder, or five folds of the queries of the files for each split."""
    if Path(data).is_dir():
        for fold in load_folds(data):
            names = [f"{fold.name} {number}" for number in range(fold.test.queries.n_queries)]
            yield Fold(Path(data).name, fold.name, FoldData(fold.train, fold.vali, fold.test), names)
        return
    rows = joined(data.split("+"))
    for split in range(n_splits):
        pieces = np.array_split(np.random.default_rng(split).permutation(rows.queries.n_queries), N_FOLDS)
        for at in range(N_FOLDS):
            test = np.sort(pieces[at])
            vali = pieces[(at + 1) % N_FOLDS]
            train = np.concatenate([pieces[(at + k) % N_FOLDS] for k in range(2, N_FOLDS)])
            parts = FoldData(*(rows.select(np.sort(chosen)) for chosen in (train, vali, test)))
            names = [str(number) for number in test]
            yield Fold(Path(data.split("+")[0]).parent.name, f"split {split} fold {at}", parts, names)


def measured(rows: RankingDataset, scores: np.ndarray) -> np.ndarray:
    """NDCG@10 of each query, tied scores in the worst order, blank queries nan."""
    return ndcg(rows.y, scores, rows.qid, k=10, ties="pessimistic", per_query=True)


def tuned(name: str, parts: FoldData) -> Any:
    """The best of the default and seven drawn settings on the validation queries."""
    candidate = parse_model(name).candidate(n_jobs=1, random_state=0)
    best = (-np.inf, None)
    for settings in candidate.settings(N_SETTINGS, seed=0):
        ranker = parse_model(name).candidate(n_jobs=1, random_state=0, **settings).estimator
        fit_with_validation(ranker, parts.train, parts.valid)
        value = np.nanmean(measured(parts.valid, ranker.predict(parts.valid.X)))
        best = max(best, (value, ranker), key=lambda pair: pair[0])
    return best[1]


def by_optuna(parts: FoldData) -> Any:
    """LightGBM's lambdarank, the best of 80 trials of Optuna's default sampler on the validation queries."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    best: list[Any] = [-np.inf, None]

    def objective(trial: Any) -> float:
        ranker = LightGBMRanker(
            n_estimators=500,
            early_stopping_rounds=50,
            learning_rate=trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
            num_leaves=trial.suggest_int("num_leaves", 4, 63, log=True),
            min_child_samples=trial.suggest_int("min_child_samples", 5, 100, log=True),
            reg_lambda=trial.suggest_float("reg_lambda", 0.01, 30.0, log=True),
            subsample=trial.suggest_float("subsample", 0.5, 1.0),
            colsample_bytree=trial.suggest_float("colsample_bytree", 0.4, 1.0),
            n_jobs=1,
            random_state=0,
        )
        fit_with_validation(ranker, parts.train, parts.valid)
        value = float(np.nanmean(measured(parts.valid, ranker.predict(parts.valid.X))))
        if value > best[0]:
            best[:] = [value, ranker]
        return value

    optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0)).optimize(
        objective, n_trials=N_TRIALS
    )
    return best[1]


def on_everything(ranker: Any, parts: FoldData) -> Any:
    """Fit on training and validation queries together."""
    ids = [np.char.add(name, part.qid.astype(str)) for name, part in (("t", parts.train), ("v", parts.valid))]
    X = np.vstack((parts.train.X, parts.valid.X))
    return ranker.fit(X, np.concatenate((parts.train.y, parts.valid.y)), qid=np.concatenate(ids))


def fitted(model: str, parts: FoldData) -> Any:
    """The model named `model`, fitted as the text above says."""
    if model == "optuna":
        return by_optuna(parts)
    if model == "single":
        return on_everything(LambdaMART(n_jobs=1, random_state=0), parts)
    if model == "bags":
        return on_everything(LambdaMART(n_bags=10, n_jobs=1, random_state=0), parts)
    if model.startswith("auto:"):
        budget = f"fits={model.removeprefix('auto:')}"
        return on_everything(AutoRanker(budget=budget, n_jobs=1, random_state=0), parts)
    return tuned(model, parts)


def run(options: argparse.Namespace) -> None:
    """Fit what the results file does not hold yet."""
    known = {(r["data"], r["fold"], r["model"]) for r in records(options.out)}
    for data in options.data:
        for fold in folds_of(data, options.splits):
            for model in options.models.split(","):
                if (fold.data, fold.name, model) in known:
                    continue
                started = time.process_time()
                ranker = fitted(model, fold.parts)
                values = measured(fold.parts.test, ranker.predict(fold.parts.test.X))
                record = {
                    "data": fold.data,
                    "fold": fold.name,
                    "model": model,
                    "queries": fold.queries,
                    "ndcg": [None if np.isnan(v) else float(v) for v in values],
                    "seconds": time.process_time() - started,
                }
                with open(options.out, "a") as file:
                    file.write(json.dumps(record) + "\n")
                print(f"{fold.data} {fold.name} {model}: {np.nanmean(values):.4f}", flush=True)


def records(path: Path) -> list[dict[str, Any]]:
    """What is there, one record a fold and model."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def by_query(found: list[dict[str, Any]]) -> pd.DataFrame:
    """NDCG@10 of each query (a row) by each model (a column), mean over the splits that tested it.

    Only folds that every model has count, and queries with a relevant document.
    """
    rows = pd.DataFrame(found)[["fold", "model", "queries", "ndcg"]]
    complete = rows.groupby("fold")["model"].nunique() == rows["model"].nunique()
    rows = rows[rows["fold"].map(complete)].explode(["queries", "ndcg"])
    rows["ndcg"] = rows["ndcg"].astype(float)
    return rows.dropna().pivot_table(
        index="queries", columns="model", values="ndcg", aggfunc="mean", sort=False
    )


def table(options: argparse.Namespace) -> None:
    """Print each model's mean, and what `--ours` is ahead of it, for each data set and over all of them."""
    found = records(options.out)
    gains: dict[str, list[np.ndarray]] = {}
    for data in dict.fromkeys(r["data"] for r in found):
        of_data = [r for r in found if r["data"] == data]
        values = by_query(of_data)
        print(f"\n### {data}, {len(values)} queries\n")
        print(
            f"| model | NDCG@10 | {options.ours} less this (SE) | p | seconds a fold |\n|---|---|---|---|---|"
        )
        for model in dict.fromkeys(r["model"] for r in of_data):
            gain = (values[options.ours] - values[model]).to_numpy()
            seconds = np.mean([r["seconds"] for r in of_data if r["model"] == model])
            print(f"| {model} | {values[model].mean():.4f} | {tested(gain)} | {seconds:.0f} |")
            gains.setdefault(model, []).append(gain)
    print(f"\n### Pooled\n\n| model | queries | {options.ours} less this (SE) | p |\n|---|---|---|---|")
    for model, of_sets in gains.items():
        gain = np.concatenate(of_sets)
        print(f"| {model} | {len(gain)} | {tested(gain)} |")


def tested(gain: np.ndarray) -> str:
    """Mean, standard error and the p of a paired t test, as two cells of a table."""
    if not gain.any():
        return " | "
    error = gain.std(ddof=1) / np.sqrt(len(gain))
    return f"{gain.mean():+.4f} ({error:.4f}) | {stats.ttest_1samp(gain, 0).pvalue:.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("data", nargs="*")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--ours", default="auto:60")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    {"run": run, "table": table}[options.what](options)


if __name__ == "__main__":
    main()
