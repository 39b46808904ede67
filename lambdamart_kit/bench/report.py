"""From runs to an honest comparison: means with intervals, paired tests, and what each model costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lambdamart_kit.bench.results import Run, chosen
from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.metrics.significance import bootstrap_interval, holm, noise_sentence, sign_flip_test

CONFIDENCE = 0.95
FEWEST_DOCUMENTS = 1_000  # test documents below which the time of one is the time of the call


@dataclass(frozen=True)
class Quality:
    """One model under one metric, over all test queries of all folds.

    Attributes
    ----------
    model, metric : str
        What was measured.
    mean, low, high : float
        Mean over the queries that are not blank, and its bootstrap interval.
    mean_blank_zero : float
        Mean with blank queries counted as 0, as several other tools do.
    difference, difference_low, difference_high : float or None
        Paired with the baseline on the same queries, blank queries skipped; None for the baseline.
    pvalue, pvalue_holm : float or None
        Paired permutation test of no difference; corrected for the number of models compared.
    """

    model: str
    metric: str
    mean: float
    low: float
    high: float
    mean_blank_zero: float
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    pvalue: float | None = None
    pvalue_holm: float | None = None


@dataclass(frozen=True)
class Cost:
    """What one fit and one prediction of the chosen settings took: medians over folds.

    Attributes
    ----------
    model : str
        Which.
    n_iterations : float or None
        Trees or epochs kept.
    fit_seconds : float
        Wall clock of a fit.
    gradient_seconds : float or None
        Part of it spent in the kit's gradients; None where a library computes its own.
    predict_microseconds : float or None
        Per document, of a model that has predicted before; None where a fold has too few documents to tell.
    fit_memory : float or None
        Bytes by which the process grew at its peak during fit.
    """

    model: str
    n_iterations: float | None
    fit_seconds: float
    gradient_seconds: float | None
    predict_microseconds: float | None
    fit_memory: float | None


@dataclass(frozen=True)
class Report:
    """Everything a reader needs: see :func:`summarise`.

    Parameters
    ----------
    baseline : str
        Model that the others are compared with.
    metrics, folds : tuple of str
        What was measured, and where.
    n_queries, n_blank : int
        Test queries in all folds together; those of them without a relevant document.
    n_settings : int
        Settings tried a model and fold.
    quality : tuple of Quality
        By metric, best first.
    costs : tuple of Cost
        One a model, in the order of the first metric.
    notes : tuple of str
        What is missing and why.
    n_threads : int
        Threads of each fit.
    environment : dict
        Versions and core count.
    noise : str
        What a difference between two of the models is worth on so many queries, by the first metric.

    Examples
    --------
    >>> from lambdamart_kit.bench import Run, summarise
    >>> runs = [Run(m, m, "Fold1", 0, {}, valid={"mrr": v}, test={"mrr": [v] * 4}, test_qid=list("abcd"))
    ...         for m, v in (("pointwise", 0.5), ("linear", 1.0))]
    >>> report = summarise(runs, metrics=["mrr"])
    >>> report.baseline, report.n_queries, [row.model for row in report.quality]
    ('pointwise', 4, ['linear', 'pointwise'])
    """

    baseline: str
    metrics: tuple[str, ...]
    folds: tuple[str, ...]
    n_queries: int
    n_blank: int
    n_settings: int
    quality: tuple[Quality, ...]
    costs: tuple[Cost, ...]
    notes: tuple[str, ...]
    n_threads: int
    environment: dict[str, object]
    noise: str = ""


@dataclass(frozen=True)
class Evaluation:
    """One metric of one file of scores.

    Attributes
    ----------
    metric : str
        Canonical name.
    mean, low, high : float
        Mean over the queries that count under the metric's blank convention, and its bootstrap interval.
    mean_blank_zero : float
        Mean with blank queries counted as 0.
    n_queries, n_blank : int
        All queries, and those without a relevant document.
    """

    metric: str
    mean: float
    low: float
    high: float
    mean_blank_zero: float
    n_queries: int
    n_blank: int


def summarise(
    runs: Sequence[Run],
    *,
    metrics: Sequence[str],
    baseline: str | None = None,
    notes: Sequence[str] = (),
    seed: int = 0,
    n_threads: int = 1,
) -> Report:
    """Compare models on all test queries of all folds, each with the setting that was best on validation.

    The unit is the test query of a fold. A model that failed on a fold is left out, with a note.

    Parameters
    ----------
    runs : list of Run
        As :func:`~lambdamart_kit.bench.runner.run_benchmark` returns them.
    metrics : list of str
        Metrics to report; the first one chose the settings.
    baseline : str, optional
        Model to compare with; by default, and if it failed, ``pointwise`` if that ran, else the first.
    notes : list of str
        More lines for the reader.
    seed : int
        Of resampling.
    n_threads : int
        Threads that each fit had, to be printed.

    Returns
    -------
    Report
        Tables to be printed.

    Raises
    ------
    ValueError
        If no model finished every fold, or `baseline` is not among the models.

    Examples
    --------
    >>> from lambdamart_kit.bench import Run
    >>> runs = [Run(m, m, "Fold1", 0, {}, valid={"mrr": v}, test={"mrr": [v] * 4}, test_qid=list("abcd"))
    ...         for m, v in (("pointwise", 0.5), ("linear", 1.0))]
    >>> [round(row.mean, 2) for row in summarise(runs, metrics=["mrr"]).quality]
    [1.0, 0.5]
    """
    folds = tuple(dict.fromkeys(run.fold for run in runs))
    best: dict[str, list[Run]] = {}
    for run in chosen(runs, metrics[0]):
        best.setdefault(run.model, []).append(run)
    complete = {
        model: sorted(held, key=lambda run: folds.index(run.fold))
        for model, held in best.items()
        if len(held) == len(folds)
    }
    failures = _failures(runs)
    if not complete:
        raise ValueError("no model finished on every fold: " + "; ".join(failures))
    models = dict.fromkeys(run.model for run in runs)
    if baseline is not None and baseline not in models:
        raise ValueError(f"'baseline' must be one of {', '.join(models)}; got {baseline!r}")
    if baseline not in complete:  # or it failed, which the notes say
        baseline = "pointwise" if "pointwise" in complete else next(iter(complete))
    first = np.isnan(_pooled(complete[baseline], metrics[0]))
    if first.all():
        raise ValueError(f"no test query has a relevant document: {metrics[0]} is undefined")
    tables = {metric: _compare(complete, metric, baseline, seed) for metric in metrics}
    ranking = [row.model for row in tables[metrics[0]]]
    return Report(
        baseline=baseline,
        metrics=tuple(metrics),
        folds=folds,
        n_queries=len(first),
        n_blank=int(first.sum()),
        n_settings=1 + max(run.setting for run in runs),
        quality=tuple(row for metric in metrics for row in tables[metric]),
        costs=tuple(_cost(model, complete[model]) for model in ranking),
        notes=(*notes, *failures),
        n_threads=n_threads,
        environment=dict(complete[baseline][0].environment),
        noise=noise_sentence([_pooled(runs, metrics[0]) for runs in complete.values()], metrics[0]),
    )


def _pooled(runs: Sequence[Run], metric: str) -> FloatArray:
    return np.concatenate([run.per_query(metric) for run in runs])


def _compare(complete: dict[str, list[Run]], metric: str, baseline: str, seed: int) -> list[Quality]:
    models = list(complete)
    table = np.column_stack([_pooled(complete[model], metric) for model in models])
    judged = table[~np.isnan(table).any(axis=1)]
    low, high = bootstrap_interval(judged, confidence=CONFIDENCE, random_state=seed)
    differences = judged - judged[:, [models.index(baseline)]]
    below, above = bootstrap_interval(differences, confidence=CONFIDENCE, random_state=seed)
    raw = sign_flip_test(differences, random_state=seed).pvalue
    raw[models.index(baseline)] = np.nan
    adjusted = holm(raw)
    means, mean_differences = judged.mean(axis=0), differences.mean(axis=0)
    rows = []
    for column, model in enumerate(models):
        compared = (mean_differences[column], below[column], above[column], raw[column], adjusted[column])
        rows.append(
            Quality(
                model,
                metric,
                float(means[column]),
                float(low[column]),
                float(high[column]),
                float(np.nansum(table[:, column]) / len(table)),
                *(() if model == baseline else map(float, compared)),
            )
        )
    return sorted(rows, key=lambda row: -row.mean)


def _cost(model: str, runs: Sequence[Run]) -> Cost:
    return Cost(
        model,
        _median([run.n_iterations for run in runs]),
        float(np.median([run.fit_seconds for run in runs])),
        _median([run.fit_times.get("gradient") for run in runs]),
        _median(
            [
                1e6 * run.predict_seconds / run.n_test_documents
                for run in runs
                if run.n_test_documents >= FEWEST_DOCUMENTS
            ]
        ),
        _median([run.fit_memory for run in runs]),
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.median(known)) if known else None


def _failures(runs: Sequence[Run]) -> list[str]:
    reasons: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        if run.error:
            reasons.setdefault((run.model, run.error), []).append(run)
    return [
        f"{model} failed in {len(failed)} fit(s), first on {failed[0].fold}: {reason}"
        for (model, reason), failed in reasons.items()
    ]
