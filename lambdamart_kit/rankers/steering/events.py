"""The event that callbacks get after every round, the same for all trees, linear functions and networks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from lambdamart_kit.boosters.rounds import EvalSet, Evaluation, History, MakeBytes
from lambdamart_kit.rankers.saving import UnsavedCallable

_LIBRARIES = ("lightgbm", "xgboost", "catboost", "optuna", "mlflow", "keras")


@dataclass(frozen=True, eq=False)
class TrainingEvent:
    """What a callback gets after a round; a round is a tree, a Newton step or an epoch.

    Parameters
    ----------
    round : int
        Rounds that are done, those of earlier fits with `warm_start` and the trees of `init_model` included.
    evaluation : dict of dict
        Measures of this round by set and metric: ``{"validation": {"ndcg@10": 0.71}}``; empty without
        held-out queries.
    score : float
        The first metric on the first set, by which early stopping goes; NaN without held-out queries.
    best : float
        The best score so far.
    best_round : int
        The round that had it; 0 without held-out queries.
    greater_is_better : bool
        Whether a greater score is a better one.
    seconds : float
        Since the fit began.
    bag : int, or None
        With ``n_bags`` above 1, which of the bags is fitted; bags may run side by side, but never two
        callbacks at the same time.
    make_model : callable
        Makes `model`.

    Examples
    --------
    >>> from lambdamart_kit import LambdaMART
    >>> from lambdamart_kit.datasets import make_letor
    >>> data, held_out = make_letor(n_queries=20, random_state=0), make_letor(n_queries=9, random_state=1)
    >>> seen = []
    >>> ranker = LambdaMART(n_estimators=5, callbacks=[lambda event: seen.append(event.round)])
    >>> ranker = ranker.fit(data.X, data.y, qid=data.qid)
    >>> seen
    [1, 2, 3, 4, 5]
    """

    round: int
    evaluation: Mapping[str, Mapping[str, float]]
    score: float
    best: float
    best_round: int
    greater_is_better: bool
    seconds: float
    bag: int | None
    make_model: Callable[[], Any]

    @property
    def model(self) -> Any:
        """A fitted ranker of the rounds so far, which can predict and be saved; made when it is asked for.

        Returns
        -------
        BaseRanker
            A copy; training goes on without it.
        """
        return self.make_model()


def check_callbacks(callbacks: Any) -> list[Callable[[TrainingEvent], Any]]:
    """The parameter 'callbacks' as a list.

    Raises
    ------
    ValueError
        If an entry cannot be called, or belongs to another library.
    """
    found = list(callbacks or ())
    for at, callback in enumerate(found):
        if isinstance(callback, UnsavedCallable):
            callback(None)  # raises an error that says what is missing
        library = (getattr(callback, "__module__", None) or "").partition(".")[0]
        if not callable(callback) or isinstance(callback, type) or library in _LIBRARIES:
            raise ValueError(
                f"'callbacks' must hold functions of a TrainingEvent; entry {at} is {callback!r}; of the kit "
                "are stop_after, schedule, prune, log_to_mlflow and log_to_jsonl"
            )
    return found


class CallUser:
    """Callback of the boosting loop that makes events and calls those of the user.

    Parameters
    ----------
    callbacks : list of callable
    eval_sets : sequence of EvalSet
    history : History
        Is called before this.
    started : float
        When the fit began, by ``time.perf_counter``.
    n_before : int
        Rounds of earlier fits.
    bag : int, or None
    turn : context manager, optional
        Held while a callback runs.
    """

    def __init__(
        self,
        callbacks: Sequence[Callable[[TrainingEvent], Any]],
        eval_sets: Sequence[EvalSet],
        history: History,
        *,
        started: float,
        n_before: int = 0,
        bag: int | None = None,
        turn: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._callbacks = callbacks
        self._eval_sets = eval_sets
        self._history = history
        self._started = started
        self._n_before = n_before
        self._bag = bag
        self._turn = nullcontext() if turn is None else turn
        self._make_model: Callable[[], Any] = _no_model
        self._now = 0

    def take_model(self, make_model: Callable[[], Any]) -> None:
        """Use `make_model` for the ranker of the round that comes next."""
        self._make_model = make_model

    def __call__(self, n_rounds: int, evaluation: Evaluation) -> bool:
        """Call all callbacks; whether one of them wants to stop."""
        if not self._callbacks:
            return False
        self._now = n_rounds
        event = self._event(n_rounds, evaluation)
        with self._turn:
            # A list, because any() on a generator would not call those after the first that stops.
            answers = [_answer(callback, callback(event)) for callback in self._callbacks]
        self._now = 0
        return any(answers)

    def _model_of(self, n_rounds: int) -> Any:
        """The model, as long as callbacks run: a booster changes the one that it shows."""
        if self._now != n_rounds:
            raise ValueError("'event.model' must be asked for inside of the callback, which is over")
        return self._make_model()

    def _event(self, n_rounds: int, evaluation: Evaluation) -> TrainingEvent:
        history = self._history
        by_set = {e.name: {m.name: evaluation[e.key(m)] for m in e.measures} for e in self._eval_sets}
        return TrainingEvent(
            round=self._n_before + n_rounds,
            evaluation=by_set if evaluation else {},
            score=next(iter(evaluation.values()), math.nan),
            best=history.best_value,
            best_round=self._n_before + history.best_round if evaluation else 0,
            greater_is_better=history.greater_is_better,
            seconds=time.perf_counter() - self._started,
            bag=self._bag,
            make_model=lambda: self._model_of(n_rounds),
        )


class CallUserOfTrees(CallUser):
    """The same for trees, whose booster shows the model as bytes."""

    def __init__(self, of_bytes: Callable[[bytes], Any], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._of_bytes = of_bytes

    def show(self, n_rounds: int, to_bytes: MakeBytes) -> None:
        """Take the model of `n_rounds` rounds."""
        self.take_model(lambda: self._of_bytes(to_bytes()))


def _no_model() -> Any:
    raise ValueError("'event.model' is not known during training with CatBoost, which does not show it")


def _answer(callback: Any, answer: Any) -> bool:
    if answer is None or isinstance(answer, bool | np.bool_):
        return bool(answer)
    raise ValueError(
        f"a callback must return True to stop, or False or None to go on; {callback!r} returned {answer!r}"
    )
