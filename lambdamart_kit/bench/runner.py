"""Every model on every fold with every setting: planned, resumed, each fit in a process of its own.

Settings are compared on the validation queries and on nothing else; the test values of a setting that was not
chosen are stored but never looked at. A process per fit makes its peak memory its own and survives a crash.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, TextIO, cast

from lambdamart_kit.bench.fitting import FitTask, TrainTestFold, environment, fit_and_measure
from lambdamart_kit.bench.measuring import checked_names
from lambdamart_kit.bench.models import Candidate
from lambdamart_kit.bench.results import ResultsFile, Run, run_key
from lambdamart_kit.metrics.imported import find_metric, find_metrics, is_import_name, source_digest
from lambdamart_kit.runtime.workers import Call, Workers
from lambdamart_kit.trec import is_trec_name, parse_measures


@dataclass(frozen=True)
class Options:
    """What holds for every fit of a benchmark.

    Parameters
    ----------
    metrics : tuple of str
        Metric names, one's own as ``module:function``; tuning and early stopping use the first. Measures of
        trec_eval, such as
        ``ndcg_cut_10``, may follow, and come last. Made canonical, and with blank queries skipped:
        what they would be worth as 0 is reported beside it.
    n_settings : int
        Settings tried a model and fold: the defaults and ``n_settings - 1`` random draws.
    seed : int
        Of the draws and of the estimators' ``random_state``.
    n_jobs : int or None
        Threads of each fit.
    keep_scores : bool
        Whether runs keep the scores of the test rows; runs that were kept without them are made again.

    Examples
    --------
    >>> Options(metrics=("NDCG@10", "mrr"), n_settings=5).metrics
    ('ndcg@10', 'mrr')
    """

    metrics: tuple[str, ...] = ("ndcg@10",)
    n_settings: int = 1
    seed: int = 0
    n_jobs: int | None = None
    keep_scores: bool = False

    def __post_init__(self) -> None:
        if self.n_settings < 1:
            raise ValueError(f"'n_settings' must be at least 1 (the defaults); got {self.n_settings!r}")
        if not self.metrics:
            raise ValueError("'metrics' must name at least one metric, e.g. ndcg@10")
        theirs = [name for name in self.metrics if isinstance(name, str) and is_trec_name(name)]
        if self.metrics[0] in theirs:
            raise ValueError(
                "'metrics' must begin with a metric of the kit, which tunes and stops early, such as "
                f"ndcg@10,{theirs[0]}; got {theirs[0]!r} first"
            )
        parsed = find_metrics(checked_names(self.metrics, theirs))
        canonical = [str(replace(metric, blank="skip")) for metric in parsed]
        canonical += map(str, parse_measures(theirs) if theirs else ())
        object.__setattr__(self, "metrics", tuple(dict.fromkeys(canonical)))


Progress = Callable[[int, int, str], None]
_PRELOADED = ["lambdamart_kit.bench.runner", "sklearn.base", "lightgbm", "xgboost"]


def run_benchmark(
    candidates: Sequence[Candidate],
    folds: Sequence[TrainTestFold],
    options: Options | None = None,
    *,
    results: ResultsFile | None = None,
    isolated: bool = True,
    at_once: int = 1,
    progress: Progress | None = None,
) -> list[Run]:
    """Fit every candidate on every fold with every setting, except what `results` has already.

    Parameters
    ----------
    candidates : list of Candidate
        Models to compare.
    folds : list of TrainTestFold
        Data to compare them on.
    options : Options
        Metrics, settings, seed and threads.
    results : ResultsFile
        Where finished runs are looked up and new ones are kept.
    isolated : bool
        Fit in a process of its own; without, peak memory is that of this process.
    at_once : int
        How many fits may run at the same time; with more than one, times mean what they say only where each
        has cores of its own.
    progress : callable
        Called with (runs done, runs in all, what comes next).

    Returns
    -------
    list of Run
        One for each model, fold and setting, in that order; failed ones have ``error`` set.

    Raises
    ------
    ValueError
        If two candidates share a name.

    Examples
    --------
    >>> from lambdamart_kit.bench import Candidate
    >>> from lambdamart_kit.bench.data import find_folds
    >>> from lambdamart_kit.rankers import LinearRanker
    >>> models = [Candidate("linear", LinearRanker(max_iter=2))]
    >>> runs = run_benchmark(models, find_folds()[:1], isolated=False)
    >>> runs[0].error, runs[0].n_iterations
    ('', 2)
    """
    options = options or Options()
    results = ResultsFile() if results is None else results
    names = [candidate.name for candidate in candidates]
    if len(set(names)) < len(names):
        raise ValueError(f"'candidates' must have different names; got {', '.join(names)}")
    tasks = list(plan(candidates, folds, options))
    processes: set[Any] = set()
    execute = partial(_in_own_process, processes) if isolated else _here
    todo = (
        [task for task in tasks if results.get(task.key, with_scores=options.keep_scores) is None]
        if at_once > 1
        else []
    )
    workers = Workers(min(at_once, len(todo)))
    ahead = {task.key: workers.begin(execute, task) for task in todo}
    runs = []
    try:
        for done, task in enumerate(tasks):
            if progress is not None:
                progress(done, len(tasks), f"{task.model} on {task.fold.name}")
            run = results.get(task.key, with_scores=options.keep_scores)
            if run is None:
                run = ahead[task.key].result() if ahead else execute(task)
                results.add(run)
            runs.append(run)
    finally:
        _stop(ahead.values(), processes)
    if progress is not None:
        progress(len(tasks), len(tasks), "done")
    return runs


def _stop(calls: Collection[Call], processes: set[Any]) -> None:
    """After an interrupt, begin no more fits and end those that run; else all is done."""
    for call in calls:
        call.call_off()
    while True:
        for process in tuple(processes):
            process.terminate()
        if all(call.finished for call in calls):
            return
        time.sleep(0.01)  # a call may have been about to start its process


def plan(
    candidates: Sequence[Candidate], folds: Sequence[TrainTestFold], options: Options
) -> Iterator[FitTask]:
    """All fits, folds innermost, each with the key it is remembered under."""
    from sklearn.base import clone

    fingerprints = {fold.name: fold.fingerprint() for fold in folds}
    common = asdict(options) | {"environment": environment()}
    # More settings later reuse those that were tried, and scores do not change by being kept.
    del common["n_settings"]
    del common["keep_scores"]
    if own := [name for name in options.metrics if is_import_name(name)]:
        common["own_metrics"] = {name: source_digest(find_metric(name)) for name in own}
    decides = options.metrics[0]
    for candidate in candidates:
        settings = candidate.settings(options.n_settings, options.seed)
        for number, params in enumerate(settings):
            estimator = clone(candidate.estimator).set_params(**params)
            fixed = {
                "n_jobs": options.n_jobs,
                "random_state": options.seed,
                "eval_metric": find_metric(decides) if is_import_name(decides) else decides,
            }
            estimator.set_params(**{k: v for k, v in fixed.items() if k in estimator.get_params()})
            asked = {"model": candidate.name, "estimator": repr_of(estimator)} | common
            for fold in folds:
                key = run_key(asked | {"fold": fold.name, "data": fingerprints[fold.name]})
                keep = options.keep_scores
                yield FitTask(
                    key, candidate.name, clone(estimator), number, params, fold, options.metrics, keep
                )


def repr_of(estimator: Any) -> str:
    """Class and all parameters: what an estimator would do, as text."""
    params = ", ".join(f"{name}={value!r}" for name, value in sorted(estimator.get_params().items()))
    return f"{type(estimator).__module__}.{type(estimator).__qualname__}({params})"


def _here(task: FitTask) -> Run:
    try:
        return fit_and_measure(task)
    except Exception as error:
        return _failure(task, f"{type(error).__name__}: {error}")


def _failure(task: FitTask, reason: str) -> Run:
    return Run(task.key, task.model, task.fold.name, task.setting, task.params, error=reason)


def _in_own_process(processes: set[Any], task: FitTask) -> Run:
    """Forked from a server that has imported the libraries and done nothing; fresh on Windows."""
    methods = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(_PRELOADED)
    ours, theirs = context.Pipe()
    process = context.Process(target=_child, args=(theirs, task), daemon=True)
    process.start()
    processes.add(process)
    theirs.close()
    try:
        while True:
            content = ours.recv()
            if isinstance(content, Run):
                return content
            print(content, end="", file=sys.stderr, flush=True)
    except EOFError:
        process.join()
        return _failure(task, _ended(process.exitcode))
    finally:
        process.terminate()
        process.join()
        processes.discard(process)
        ours.close()


def _ended(code: int) -> str:
    if code == -9:
        return "its process was killed (out of memory?)"
    return f"its process ended with exit code {code}" if code >= 0 else f"its process got signal {-code}"


def _child(connection: Connection, task: FitTask) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    said = _Forward(connection)
    sys.stdout = sys.stderr = cast(TextIO, said)
    said.send(_here(task))


class _Forward:
    """Text that a fit writes goes to the parent, which knows where its progress bar is."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()  # the notice that kernels compile comes from a thread

    def send(self, message: str | Run) -> None:
        with self._lock:
            self._connection.send(message)

    def write(self, text: str) -> int:
        self.send(text)
        return len(text)

    def flush(self) -> None:
        return None

    def isatty(self) -> bool:
        return False
