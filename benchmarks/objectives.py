"""Which objective on which learner?  MQ2008: every combination, tuned on validation queries, paired tests.

    python benchmarks/objectives.py FOLDER [--quick] [--tune 8] [--out runs.jsonl] [--table FILE.md]

FOLDER holds Fold1..5 of LETOR 4.0 MQ2008. Every model gets the same number of settings (its defaults, then
random draws), chosen by NDCG@10 on the validation queries of each fold; NDCG@10, MAP, MRR and ERR on the test
queries, each against three peers. With ``--out`` a run that was stopped goes on where it stood.

The kit's answer is a choice that test queries have no part in, made twice. *By fold*: in each fold the
objective, learner and setting with the best NDCG@10 on that fold's validation queries, which are few. *By
mean*: the model (with each fold's setting) that is best on average over the validation queries of all folds
but those that hold test queries of the fold at hand: the parts of LETOR rotate, so a fold's test queries
are another's validation queries.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np

from lambdamart_kit.bench.data import find_folds
from lambdamart_kit.bench.fitting import FitTask, environment, fit_and_measure
from lambdamart_kit.bench.models import parse_models
from lambdamart_kit.bench.results import ResultsFile, Run, chosen
from lambdamart_kit.bench.runner import Options, plan, run_benchmark
from lambdamart_kit.cli.output import progress_bar
from lambdamart_kit.metrics.significance import bootstrap_interval, holm, sign_flip_test
from lambdamart_kit.objectives import OBJECTIVES

LEARNERS = (
    "lambdamart:{}@native",
    "lambdamart:{}@lightgbm",
    "lambdamart:{}@xgboost",
    "neural:{}",
    "linear:{}",
)
PEERS = ("lightgbm", "pointwise", "catboost")
METRICS = ("ndcg@10", "map", "mrr", "err")
CHOICE = "the kit"


def fit_here(task: FitTask) -> Run | None:
    """One fit without a process of its own; a failed one is left to `run_benchmark`, which says why."""
    try:
        return fit_and_measure(task)
    except Exception:
        return None


def fit_all(candidates, folds, options: Options, results: ResultsFile, processes: int) -> list[Run]:
    """Every run, those in `results` taken from there and new ones kept there as they finish."""
    tasks = [task for task in plan(candidates, folds, options) if results.get(task.key) is None]
    with progress_bar() as progress, ProcessPoolExecutor(processes) as pool:
        for done, run in enumerate(pool.map(fit_here, tasks)):
            if run is not None:
                results.add(run)
            progress(done + 1, len(tasks), f"{tasks[done].model} on {tasks[done].fold.name}")
    return run_benchmark(candidates, folds, options, results=results)


def tuned(runs: Sequence[Run], metric: str) -> dict[str, dict[str, Run]]:
    """Model to fold to the run that validation chose; models that failed on a fold are left out."""
    folds = list(dict.fromkeys(run.fold for run in runs))
    best: dict[str, dict[str, Run]] = {}
    for run in chosen(runs, metric):
        best.setdefault(run.model, {})[run.fold] = run
    whole = {model: {f: held[f] for f in folds} for model, held in best.items() if set(held) == set(folds)}
    for model in {run.model for run in runs} - set(whole):
        print(f"{model} failed on a fold: {next(r.error for r in runs if r.model == model and r.error)}")
    return whole


def choose(best: dict[str, dict[str, Run]], metric: str, judges: dict[str, list[str]]) -> dict[str, Run]:
    """For each fold the run of the kit's model that is best on the validation queries of its judges."""
    ours = [runs for model, runs in best.items() if model.partition(":")[0].partition("@")[0] not in PEERS]
    return {
        fold: max(ours, key=lambda runs: np.mean([runs[judge].valid[metric] for judge in judging]))[fold]
        for fold, judging in judges.items()
    }


def fair_judges(folds) -> dict[str, list[str]]:
    """For each fold the folds none of whose validation queries are among its test queries."""
    parts = {fold.name: fold.load() for fold in folds}
    valid = {name: set(part.valid.qid.tolist()) for name, part in parts.items()}
    return {
        name: [other for other in parts if not valid[other] & set(part.test.qid.tolist())]
        for name, part in parts.items()
    }


def pooled(runs: dict[str, Run], metric: str) -> np.ndarray:
    """Values of the test queries of all folds, NaN for blank ones."""
    return np.concatenate([run.per_query(metric) for run in runs.values()])


def against(best: dict[str, dict[str, Run]], peer: str, metric: str) -> dict[str, tuple[float, ...]]:
    """Model to (difference to the peer, its interval, p, Holm's p over the models)."""
    table = np.column_stack([pooled(runs, metric) for runs in best.values()])
    judged = table[~np.isnan(table).any(axis=1)]
    differences = judged - judged[:, [list(best).index(peer)]]
    low, high = bootstrap_interval(differences)
    raw = sign_flip_test(differences).pvalue
    raw[[list(best).index(peer)]] = np.nan
    columns = differences.mean(axis=0), low, high, raw, holm(raw)
    return dict(zip(best, zip(*(map(float, column) for column in columns))))


def pvalue(value: float) -> str:
    return "" if np.isnan(value) else "<.001" if value < 0.001 else f"{value:.3f}"


def answer(best: dict[str, dict[str, Run]], choice: dict[str, Run], metrics, peers) -> Iterator[str]:
    """The choice against each peer under each metric."""
    yield "| metric | the kit | peer | its mean | difference | 95% interval | p | p, Holm over the table |"
    yield "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |"
    rows = []
    for metric in metrics:
        for peer in peers:
            pair = against({CHOICE: choice, peer: best[peer]}, peer, metric)[CHOICE]
            rows.append((metric, peer, *pair))
    corrected = holm([row[5] for row in rows])
    for (metric, peer, difference, low, high, p, _), held in zip(rows, corrected):
        ours, theirs = (np.nanmean(pooled(runs, metric)) for runs in (choice, best[peer]))
        yield (
            f"| {metric} | {ours:.4f} | {peer} | {theirs:.4f} | {difference:+.4f} "
            f"| {low:+.4f} to {high:+.4f} | {pvalue(p)} | {pvalue(held)} |"
        )


def every_model(best: dict[str, dict[str, Run]], metrics, peers) -> Iterator[str]:
    """A line a model: means on validation and test queries, and the first metric against each peer."""
    first = metrics[0]
    compared = {peer: against(best, peer, first) for peer in peers}
    names = " | ".join(f"- {peer} (p)" for peer in peers)
    yield f"| model | {first} on validation | {' | '.join(metrics)} | {names} |"
    yield "| --- |" + " ---: |" * (1 + len(metrics) + len(peers))
    valid = {model: np.mean([run.valid[first] for run in runs.values()]) for model, runs in best.items()}
    for model in sorted(best, key=lambda model: -np.nanmean(pooled(best[model], first))):
        means = " | ".join(f"{np.nanmean(pooled(best[model], metric)):.4f}" for metric in metrics)
        cells = []
        for peer in peers:
            difference, *_, p = compared[peer][model]
            cells.append("" if model == peer else f"{difference:+.4f} ({pvalue(p)})")
        yield f"| {model} | {valid[model]:.4f} | {means} | {' | '.join(cells)} |"


def report(best, choices: dict[str, dict[str, Run]], runs: Sequence[Run], options: Options, peers) -> str:
    first = pooled(next(iter(best.values())), options.metrics[0])
    lines = [
        f"# Objectives and learners on MQ2008, {date.today()}",
        "",
        f"{len(first)} test queries in {len({run.fold for run in runs})} folds, {int(np.isnan(first).sum())} "
        "blank and left out; "
        f"{1 + max(run.setting for run in runs)} settings a model and fold, chosen by "
        f"{options.metrics[0]} on the validation queries; paired permutation tests over queries.",
        "",
    ]
    for how, choice in choices.items():
        lines += [f"## The kit's choice on validation queries alone, {how}", ""]
        lines += [*answer(best, choice, options.metrics, peers), ""]
        lines += [f"- {fold}: {run.model}, {run.params or 'defaults'}" for fold, run in choice.items()]
        lines += [""]
    lines += [
        "## Every model",
        "",
        "p of each column corrected by Holm over its rows.",
        "",
        *every_model(best, options.metrics, peers),
        "",
        ", ".join(f"{name} {version}" for name, version in environment().items()),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder with Fold1 .. Fold5")
    parser.add_argument("--quick", action="store_true", help="one fold, few rounds, one setting")
    parser.add_argument("--tune", type=int, default=8, help="settings a model and fold")
    parser.add_argument("--objectives", default=",".join(OBJECTIVES))
    parser.add_argument("--learners", default=",".join(LEARNERS), help="specs with {} for the objective")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--processes", type=int, default=2, help="fits at the same time, one thread each")
    parser.add_argument("--out", type=Path, help="keep runs here and continue from them")
    parser.add_argument("--table", type=Path, help="write the table to this file as well")
    args = parser.parse_args()

    models = [
        learner.format(name) for name in args.objectives.split(",") for learner in args.learners.split(",")
    ]
    peers = [str(spec) for spec in parse_models(args.peers.split(","))]
    specs = parse_models([*peers, *models])
    folds = find_folds(args.folder)
    options = Options(METRICS, 1 if args.quick else args.tune, n_jobs=1)
    candidates = [spec.candidate(quick=args.quick) for spec in specs]
    folds = folds[:1] if args.quick else folds
    runs = fit_all(candidates, folds, options, ResultsFile(args.out), args.processes)
    best = tuned(runs, options.metrics[0])
    alone, fair = {fold.name: [fold.name] for fold in folds}, fair_judges(folds)
    choices = {
        "by fold": choose(best, options.metrics[0], alone),
        "by mean": choose(best, options.metrics[0], fair),
    }
    table = report(best, choices, runs, options, peers)
    print(table)
    if args.table is not None:
        args.table.write_text(table)


if __name__ == "__main__":
    main()
