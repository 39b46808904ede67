"""The whole comparison in one call: from names of data and models to a report."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lambdamart_kit.bench.data import find_folds
from lambdamart_kit.bench.fitting import TrainTestFold
from lambdamart_kit.bench.models import DEFAULT_MODELS, Candidate, ModelSpec, parse_model, parse_models
from lambdamart_kit.bench.report import Report, summarise
from lambdamart_kit.bench.results import ResultsFile, Run
from lambdamart_kit.bench.runner import Options, Progress, run_benchmark
from lambdamart_kit.files import Columns
from lambdamart_kit.files.checks import doubtful_columns, seen_before
from lambdamart_kit.metrics.naming import split_names
from lambdamart_kit.runtime.threads import available_threads, resolve_n_jobs


@dataclass(frozen=True)
class Comparison:
    """A report and the runs behind it.

    Parameters
    ----------
    report : Report
        What to print.
    runs : tuple of Run
        Every fit, failed ones included.
    folds : tuple of TrainTestFold
        The data they were made on.

    Examples
    --------
    >>> from lambdamart_kit.bench import Report, Run
    >>> failed = Run("k", "linear", "Fold1", 0, {}, error="out of memory")
    >>> report = Report("linear", ("mrr",), ("Fold1",), 0, 0, 1, (), (), ("no model finished",), 1, {})
    >>> Comparison(report, (failed,)).failed
    True
    """

    report: Report
    runs: tuple[Run, ...]
    folds: tuple[TrainTestFold, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether any fit failed."""
        return any(run.error for run in self.runs)

    def print(self, format: str = "table") -> None:
        """Write the report to stdout as "table", "json", "csv" or "markdown".

        Parameters
        ----------
        format : {"table", "json", "csv", "markdown"}
            How the report is written.
        """
        from rich.console import Console

        from lambdamart_kit.bench.render import FORMATS, print_report

        if format == "table":
            print_report(self.report, Console())
        else:
            sys.stdout.write(FORMATS[format](self.report))

    def write_plots(self, folder: str | Path) -> list[Path]:
        """Write pictures; see :func:`~lambdamart_kit.bench.plots.write_plots`.

        Parameters
        ----------
        folder : str or Path
            Where the pictures go.

        Returns
        -------
        list of Path
            The files that were written.
        """
        from lambdamart_kit.bench.plots import write_plots

        return write_plots(self.report, self.runs, folder)


def compare(
    data: str | Path | None = None,
    *,
    models: str | Sequence[str] | None = None,
    metrics: str | Sequence[str] = "ndcg@10",
    n_settings: int = 1,
    n_bags: int = 1,
    folds: str | None = None,
    baseline: str | None = None,
    out: str | Path | None = None,
    seed: int = 0,
    n_jobs: int | None = None,
    quick: bool = False,
    columns: Columns | None = None,
    keep_scores: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Fit models on the same folds and compare them by query.

    Parameters
    ----------
    data : str or Path, optional
        A catalogued data set, a folder of folds, a folder with train, vali and test files, or one file of any
        format of `lambdamart_kit.files`; None is the built-in sample. See
        :func:`~lambdamart_kit.bench.data.find_folds`.
    models : str or list of str, optional
        Model specs, such as ``"lambdamart,xgboost:pairwise"``; by default ``DEFAULT_MODELS``, without those
        that are not installed. See :mod:`lambdamart_kit.bench.models`.
    metrics : str or list of str
        Metric names; the first one tunes and stops early. Measures of trec_eval may follow, in its
        conventions: ties by the name of the document, blank queries count as 0.
    n_settings : int
        Settings tried a model and fold: the defaults, then random draws.
    n_bags : int
        Bags of every model that can be fitted in bags; the notes of the report name those that cannot.
    folds : str, optional
        Which folds, or how many.
    baseline : str, optional
        Model spec to compare with; ``pointwise`` if it runs, else the first model.
    out : str or Path, optional
        Results file (JSON lines) to continue from and to append to.
    seed : int
        Of splits, draws and models.
    n_jobs : int, optional
        Threads of a fit; None is all. For the built-in sample, which is small, None is one: OpenMP's threads
        take twenty times as long when something else uses their cores, and one thread does not. Two fits
        then run at a time, if there are two cores.
    quick : bool
        Fewer trees, and the first fold only.
    columns : Columns, optional
        Which columns of a table are what.
    keep_scores : bool
        Keep the scores of the test rows, which a page of the comparison needs; runs that `out` holds without
        them are made again.
    progress : callable
        Called with (runs done, runs in all, what comes next).

    Returns
    -------
    Comparison
        With ``report`` and ``runs``.

    Raises
    ------
    ValueError
        If a name is unknown, or no model finished.

    Examples
    --------
    >>> compare(models=["linear"], metrics="mrr", quick=True).report.metrics
    ('mrr',)
    """
    specs, notes = _installed(DEFAULT_MODELS if models is None else _split(models))
    at_once = 1
    if data is None and n_jobs is None:
        n_jobs, at_once = 1, min(2, available_threads())
        if at_once > 1:
            notes.append(f"{at_once} fits at a time, of one thread each")
    options = Options(tuple(split_names(metrics)), n_settings, seed, n_jobs, keep_scores)
    reference = _baseline(baseline, specs)
    found = find_folds(data, folds=folds, seed=seed, columns=columns)
    found = found[:1] if quick else found
    notes += _data_notes(found)
    results = ResultsFile(out)
    bags: dict[str, int] = {"n_bags": n_bags} if n_bags > 1 else {}
    candidates: list[Candidate] = [spec.candidate(quick=quick, **bags) for spec in specs]
    if bags:
        notes += _bag_notes(candidates, n_bags)
    runs = run_benchmark(candidates, found, options, results=results, at_once=at_once, progress=progress)
    report = summarise(
        runs,
        metrics=options.metrics,
        baseline=reference,
        notes=notes,
        seed=seed,
        n_threads=resolve_n_jobs(n_jobs),
    )
    return Comparison(report, tuple(runs), tuple(found))


def _data_notes(folds: Sequence[TrainTestFold]) -> list[str]:
    """What a reader of the table must know of the data, which are read here once, before any fit.

    Data that cannot be read end the comparison with one error, not with one for each fit.
    """
    notes: list[str] = []
    for fold in folds:
        parts = fold.load()
        if fold is folds[0]:
            notes += doubtful_columns(parts.train)
        for name, part in (("validation", parts.valid), ("test", parts.test)):
            notes += [f"{fold.name}: {sentence}" for sentence in seen_before(parts.train, part, name)]
    return notes


def _bag_notes(candidates: Sequence[Candidate], n_bags: int) -> list[str]:
    """Which models are the mean of bags, and which could not be."""
    single = [c.name for c in candidates if "n_bags" not in c.estimator.get_params()]
    note = f"every model is the mean of {n_bags} fits on draws of the queries (--bags)"
    return [note + (f", but for {', '.join(single)}, which has no 'n_bags'" if single else "")]


def _installed(models: Iterable[str]) -> tuple[list[ModelSpec], list[str]]:
    """Specs that can run here, and a note for each that cannot."""
    specs = parse_models(models)
    notes = [
        f"{spec} did not run: {spec.missing} is not installed (pip install 'lambdamart-kit[{spec.missing}]')"
        for spec in specs
        if spec.missing
    ]
    present = [spec for spec in specs if not spec.missing]
    if not present:
        raise ImportError("; ".join(notes))
    return present, notes


def _baseline(name: str | None, specs: Sequence[ModelSpec]) -> str | None:
    if name is None:
        return None
    wanted = parse_model(name)
    if wanted not in specs:
        raise ValueError(f"'baseline' must be one of the models {', '.join(map(str, specs))}; got {name!r}")
    return str(wanted)


def _split(names: str | Sequence[str]) -> list[str]:
    return [name for name in names.split(",") if name.strip()] if isinstance(names, str) else list(names)
