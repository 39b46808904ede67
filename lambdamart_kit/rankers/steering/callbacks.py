"""Ready-made callbacks: stop after a time, change the learning rate, prune trials, keep logs."""

from __future__ import annotations

import importlib
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import numpy as np

from lambdamart_kit.rankers.blend.budget import Budget
from lambdamart_kit.rankers.steering.events import TrainingEvent


class stop_after:
    """Stop training after a time; what is learned until then is kept.

    The time counts from the beginning of `fit`, and is looked at after every round, so that a fit takes about
    a round longer at most. The model depends on the speed of the machine then.

    Parameters
    ----------
    limit : str or float
        Such as "10min", "1.5h" or 600 (seconds).

    Raises
    ------
    ValueError
        If `limit` is not a time.

    Examples
    --------
    >>> from lambdamart_kit import LambdaMART
    >>> LambdaMART(callbacks=[stop_after("10min")])
    LambdaMART(callbacks=[stop_after('10min')])
    """

    def __init__(self, limit: str | float) -> None:
        try:
            budget = Budget.read(limit)
        except ValueError:
            budget = Budget()
        if not budget.is_timed:
            raise ValueError(
                f"'limit' must be a time such as '10min', '1.5h' or 600 (seconds); got {limit!r}"
            )
        self.limit = limit
        self._seconds = budget.seconds

    def __call__(self, event: TrainingEvent) -> bool:
        """Whether the time is over."""
        return event.seconds >= self._seconds

    def __repr__(self) -> str:
        return f"stop_after({self.limit!r})"


class schedule:
    """Another learning rate for every round; it takes the place of the parameter `learning_rate`.

    For trees of the kit, LightGBM and XGBoost, and for networks. CatBoost cannot change its rate, and a
    linear ranker has none: both refuse.

    Parameters
    ----------
    rates : sequence of float, or callable
        The rate of each round, at least as many as there are rounds; or a function of the round, which counts
        from 1, those of earlier fits with `warm_start` included.

    Raises
    ------
    ValueError
        If a rate is not a positive number, or there are no rates.

    Examples
    --------
    >>> from lambdamart_kit import LambdaMART
    >>> from lambdamart_kit.datasets import make_letor
    >>> data = make_letor(n_queries=20, random_state=0)
    >>> falling = schedule(lambda round: 0.2 * 0.9 ** (round - 1))
    >>> ranker = LambdaMART(n_estimators=5, callbacks=[falling]).fit(data.X, data.y, qid=data.qid)
    >>> round(falling.rate(3), 4)
    0.162
    """

    def __init__(self, rates: Sequence[float] | Callable[[int], float]) -> None:
        self.rates = rates
        listed = isinstance(rates, list | tuple) or np.ndim(np.asarray(rates, dtype=object)) == 1
        if not (callable(rates) or (listed and len(rates))):
            raise ValueError(
                "'rates' must be the learning rate of each round in a list, or a function of the round; got "
                f"{rates!r}"
            )
        if not callable(rates):
            for number in range(1, len(rates) + 1):
                self.rate(number)

    def rate(self, number: int) -> float:
        """The learning rate of round `number`, which counts from 1.

        Parameters
        ----------
        number : int
            The round.

        Returns
        -------
        float
            Positive.

        Raises
        ------
        ValueError
            If there is none, or it is not positive.
        """
        if not callable(self.rates) and number > len(self.rates):
            raise ValueError(
                f"'rates' must hold a learning rate for each round; got {len(self.rates)}, and none for "
                f"round {number}"
            )
        found = self.rates(number) if callable(self.rates) else self.rates[number - 1]
        if not (isinstance(found, Real | np.number) and math.isfinite(found) and found > 0):
            raise ValueError(f"'rates' must be positive; got {found} for round {number}")
        return float(found)

    def __call__(self, event: TrainingEvent) -> None:
        """Do nothing: the rate of a round is set before it."""

    def __repr__(self) -> str:
        return f"schedule({self.rates!r})"


class prune:
    """Report the score of each round to a trial of Optuna, and end the fit if the trial is pruned.

    Parameters
    ----------
    trial : optuna.trial.Trial
        Of a study whose direction is that of the metric.

    Raises
    ------
    optuna.TrialPruned
        From `fit`, when Optuna's pruner says so. The ranker is left as it was before.
    ValueError
        If it is no trial. From `fit`, without held-out queries, with bags, or if the study goes in the other
        direction, or in several.

    Examples
    --------
    >>> class Trial:  # stands for one of Optuna's
    ...     def report(self, value, step): print(step, round(value, 2))
    ...     def should_prune(self): return False
    >>> from lambdamart_kit import LambdaMART
    >>> from lambdamart_kit.datasets import make_letor
    >>> data = make_letor(n_queries=20, random_state=0)
    >>> ranker = LambdaMART(n_estimators=2, validation_fraction=0.5, random_state=0)
    >>> ranker = ranker.set_params(callbacks=[prune(Trial())]).fit(data.X, data.y, qid=data.qid)
    1 0.44
    2 0.39
    """

    def __init__(self, trial: Any) -> None:
        if not (hasattr(trial, "report") and hasattr(trial, "should_prune")):
            raise ValueError(
                "'trial' must be a trial of Optuna, which the objective of a study gets; got "
                f"{type(trial).__module__}.{type(trial).__qualname__}"
            )
        self.trial = trial

    def __deepcopy__(self, memo: Any) -> prune:
        return self  # scikit-learn clones parameters; a copy of a trial would report to nobody

    def __call__(self, event: TrainingEvent) -> None:
        """Report the score."""
        if event.bag is not None:
            raise ValueError("'n_bags' must be 1 with prune(trial): a trial follows one fit")
        if math.isnan(event.score):
            raise ValueError(
                "prune(trial) needs held-out queries: set 'validation_fraction', or pass X_val, y_val and "
                "qid_val"
            )
        study = getattr(self.trial, "study", None)
        if len(getattr(study, "directions", ())) > 1:
            raise ValueError(
                "prune(trial) needs a study of one direction; Optuna prunes no trials of several objectives"
            )
        direction = getattr(getattr(study, "direction", None), "name", None)
        wanted = "MAXIMIZE" if event.greater_is_better else "MINIMIZE"
        if direction not in (None, wanted):
            raise ValueError(
                f"prune(trial) needs a study with direction={wanted.lower()!r} for this metric; got "
                f"{direction.lower()!r}"
            )
        self.trial.report(event.score, step=event.round)
        if self.trial.should_prune():
            try:
                optuna = importlib.import_module("optuna")
            except ImportError:
                raise ImportError(
                    "prune(trial) needs Optuna to end a trial: pip install 'lambdamart-kit[optuna]'"
                ) from None
            raise optuna.TrialPruned(f"pruned at round {event.round} with a score of {event.score:.4f}")

    def __repr__(self) -> str:
        return f"prune({self.trial!r})"


class log_to_mlflow:
    """Log all measures of every round to a run of MLflow.

    Names are ``"validation ndcg_at_10"``, with ``"bag 0 "`` before them for bags.

    Parameters
    ----------
    run_id : str, optional
        The run; by default the one that is active at the first round. Bags that run side by side need it.

    Raises
    ------
    ValueError
        From `fit`, if there is no run.

    Examples
    --------
    >>> log_to_mlflow(run_id="4f2a")
    log_to_mlflow(run_id='4f2a')
    """

    def __init__(self, run_id: str | None = None) -> None:
        self.run_id = run_id

    def __call__(self, event: TrainingEvent) -> None:
        """Log the measures."""
        try:
            mlflow = importlib.import_module("mlflow")
        except ImportError:
            raise ImportError(
                "log_to_mlflow needs MLflow, which is not there: pip install 'lambdamart-kit[mlflow]'"
            ) from None
        active = mlflow.active_run()
        run_id = self.run_id or (None if active is None else active.info.run_id)
        if run_id is None:
            raise ValueError(
                "log_to_mlflow needs a run: fit inside `with mlflow.start_run():`, or pass run_id (bags that "
                "are fitted in threads need it)"
            )
        bag = "" if event.bag is None else f"bag {event.bag} "
        milliseconds = int(time.time() * 1000)
        client = mlflow.MlflowClient()
        for name, measures in event.evaluation.items():
            for metric, value in measures.items():
                key = f"{bag}{name} {metric}".replace("@", "_at_")
                client.log_metric(run_id, key, value, timestamp=milliseconds, step=event.round)

    def __repr__(self) -> str:
        return f"log_to_mlflow(run_id={self.run_id!r})"


class log_to_jsonl:
    """Append a line of JSON to a file after every round.

    A line has "round", "seconds", "score", "best", "best_round", "bag" and "evaluation"; numbers that are not
    known are null.

    Parameters
    ----------
    path : str or Path
        File to append to.

    Raises
    ------
    ValueError
        If `path` is none.

    Examples
    --------
    >>> import tempfile
    >>> from lambdamart_kit import LambdaMART
    >>> from lambdamart_kit.datasets import make_letor
    >>> data = make_letor(n_queries=20, random_state=0)
    >>> path = os.path.join(tempfile.mkdtemp(), "rounds.jsonl")
    >>> ranker = LambdaMART(n_estimators=2, callbacks=[log_to_jsonl(path)])
    >>> ranker = ranker.fit(data.X, data.y, qid=data.qid)
    >>> with open(path) as lines:
    ...     [json.loads(line)["round"] for line in lines]
    [1, 2]
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not isinstance(path, str | os.PathLike):
            raise ValueError(f"'path' must be the path of a file; got {path!r}")
        self.path = path

    def __call__(self, event: TrainingEvent) -> None:
        """Write the line."""
        line = {
            "round": event.round,
            "seconds": round(event.seconds, 3),
            "score": _plain(event.score),
            "best": _plain(event.best),
            "best_round": event.best_round,
            "bag": event.bag,
            "evaluation": {
                name: {metric: _plain(value) for metric, value in measures.items()}
                for name, measures in event.evaluation.items()
            },
        }
        # Opened for each line, so that a copy of the ranker shares no open file, and a crash loses no line.
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")

    def __repr__(self) -> str:
        return f"log_to_jsonl({os.fspath(self.path)!r})"


def find_schedule(callbacks: Sequence[Any]) -> schedule | None:
    """The schedule of the learning rate among callbacks.

    Raises
    ------
    ValueError
        If there are several.
    """
    found = [callback for callback in callbacks if isinstance(callback, schedule)]
    if len(found) > 1:
        raise ValueError(f"'callbacks' must hold one schedule of the learning rate at most; got {len(found)}")
    return found[0] if found else None


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
