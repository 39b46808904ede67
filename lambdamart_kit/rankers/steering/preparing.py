"""From what `fit` got to checked rows in canonical order, and which of them are held out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from lambdamart_kit.core.ordered_rows import OrderedRows, order_rows
from lambdamart_kit.core.query_traces import QueryTraces
from lambdamart_kit.core.typing import Features
from lambdamart_kit.objectives import Combined, takes_signed_labels
from lambdamart_kit.objectives.combined import check_goal_labels
from lambdamart_kit.rankers.binding import EARLY_STOPPING_NEEDS_QUERIES, named_objective, split_queries
from lambdamart_kit.rankers.columns.categories import plain_frame
from lambdamart_kit.rankers.columns.checking import HasColumns
from lambdamart_kit.rankers.steering.given import FitInput, HeldOutInput
from lambdamart_kit.rankers.steering.training_set import HeldOutRows, TrainingSet
from lambdamart_kit.runtime.randomness import make_rng
from lambdamart_kit.runtime.threads import resolve_n_jobs


class PreparesRows(HasColumns):
    """A ranker's way from the arguments of `fit` to a `TrainingSet`.

    The public part, `hold_out`, belongs to the training seam of `BaseRanker`. It reads the parameters
    ``objective``, ``early_stopping_rounds``, ``validation_fraction``, ``random_state``, ``warm_start`` and
    ``n_jobs`` if the ranker has them.
    """

    n_queries_in_: int
    single_query_: bool
    random_state: Any

    def _training_rows(self, given: FitInput) -> OrderedRows:
        """The training rows, checked and in canonical order."""
        X = plain_frame(given.X)
        continues = self._continues()
        if continues:
            X = self._in_fitted_order(X)
        else:
            self._learn_categories(X)
        checked = self.training_features(X)
        validate_data(self, X, given.y, skip_check_array=True, reset=not continues)
        rows = self._order_rows(checked, given)
        self.n_queries_in_ = rows.queries.n_queries
        self.single_query_ = given.has_one_query
        return rows

    def _order_rows(self, checked: Features, given: FitInput | HeldOutInput, suffix: str = "") -> OrderedRows:
        """Rows with checked features in canonical order, with the labels of all goals."""
        y = given.y
        signed = self._takes_signed_labels()
        goals = self._goals()
        labels = None
        if goals is not None:
            labels = check_goal_labels(y, goals, name=f"y{suffix}")
            y = labels[:, 0]
            signed = goals.takes_signed()[0]
        n_threads = self._n_threads()
        return order_rows(
            checked, y, **given.aligned(), n_threads=n_threads, suffix=suffix, signed=signed, goals=labels
        )

    def _hold_out(self, rows: OrderedRows, given: FitInput) -> TrainingSet:
        """Training and held-out rows; the latter are those given, else a share of the queries, else none."""
        with_positions = [part.position is not None for part in given.held_out]
        if any(with_positions) and rows.position is None:
            raise ValueError("'position_val' must be given with 'X_val' and 'position' only")
        if not given.held_out:
            data = self.hold_out(rows)
        else:
            trained = None if given.has_one_query else QueryTraces.of(rows.queries)
            held_out = [self._held_out_rows(part, rows, trained) for part in given.held_out]
            data = TrainingSet(rows, tuple(held_out))
        return replace(data, init_model=given.init_model)

    def hold_out(self, rows: OrderedRows) -> TrainingSet:
        """Training rows, and the queries that `validation_fraction` asks to hold out.

        Parameters
        ----------
        rows : OrderedRows
            Checked rows in canonical order.

        Returns
        -------
        TrainingSet
            Rows to train on, and rows that are held out, if any.

        Raises
        ------
        ValueError
            If 'early_stopping_rounds' is set and nothing is held out.
        """
        fraction = getattr(self, "validation_fraction", None)
        if fraction is not None:
            return TrainingSet.of(*split_queries(rows, fraction, self._rng()))
        if getattr(self, "early_stopping_rounds", None) is not None:
            raise ValueError(EARLY_STOPPING_NEEDS_QUERIES)
        return TrainingSet.of(rows)

    def _held_out_rows(
        self, part: HeldOutInput, train: OrderedRows, trained: QueryTraces | None
    ) -> HeldOutRows:
        """One set of held-out rows, checked; it warns if training queries are among them in part."""
        name = f"X{part.suffix}"
        checked = self._known_features(part.X, name=name)
        if (part.init_score is None) != (train.init_score is None):
            given = "'init_score' was" if part.init_score is None else "'init_score' was not"
            raise ValueError(
                f"'init_score{part.suffix}' must be given with 'init_score' and only then, so that held-out "
                f"rows are scored as training rows are; {given} given"
            )
        rows = self._order_rows(checked, part, part.suffix)
        if part.qid is not None and trained is not None:
            trained.warn_if_cut(rows.queries, measured=repr(name), stacklevel=6)
        return HeldOutRows(part.name, rows)

    def _goals(self) -> Combined | None:
        """The several goals of the objective, if it has them."""
        found = getattr(self, "objective", None)
        return found if isinstance(found, Combined) else None

    def _takes_signed_labels(self) -> bool:
        """Whether labels may be negative, because the objective only compares them."""
        return takes_signed_labels(named_objective(getattr(self, "objective", None)))

    def _continues(self) -> bool:
        """Whether a fit goes on from the one before."""
        return bool(getattr(self, "warm_start", False)) and hasattr(self, "fit_times_")

    def _rng(self) -> np.random.Generator:
        """Generator of the parameter 'random_state'."""
        return make_rng(self.random_state)

    def _n_threads(self) -> int:
        """Threads that the parameter 'n_jobs' asks for."""
        return resolve_n_jobs(getattr(self, "n_jobs", None))
