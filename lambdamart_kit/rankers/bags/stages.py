"""Scores of the first trees of a model, in which the trees of each bag stand one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.boosters.protocol import Model
from lambdamart_kit.core.typing import ArrayLike, Features, FloatArray, Ids
from lambdamart_kit.rankers.bags.fitting import BaggedRanker


class ScoresByTrees(BaggedRanker):
    """Base of rankers whose model is a sum of trees: scores by all of them, or by the first of each bag."""

    model_: Model

    def predict(
        self,
        X: Features,
        *,
        init_score: ArrayLike | float | None = None,
        return_std: bool = False,
        n_trees: int | None = None,
        qid: Ids = None,
    ) -> Any:
        """Score of each row, higher is ranked first.

        Parameters
        ----------
        X : (n_samples, n_features) array-like, DataFrame or sparse matrix
            Features of the rows, in the columns of the fit.
        init_score : (n_samples,) array-like or float, optional
            Score that each row starts from, if the ranker was fitted with `init_score`; it is added. 0 for
            what the ranker adds to them.
        return_std : bool
            Whether to return how far the bags are apart, too. Needs ``n_bags`` of at least 2.
        n_trees : int, optional
            Score with the first so many trees only; with bags, the first of each bag. None for all.
        qid : (n_samples,) array-like, optional
            Query of each row; one id for rows of one query. Only a ranker that `compress` made looks at it,
            and lets documents stop early, if it is to score with all its trees.

        Returns
        -------
        scores : (n_samples,) float64
            In the order of the rows of X. Of a bag, the mean of its members' scores.
        std : (n_samples,) float64
            With `return_std` only: standard deviation of the bags' scores, with ``n_bags - 1`` below.

        Raises
        ------
        ValueError
            If `return_std` is asked of a ranker without bags, or together with `n_trees`, or if `n_trees` is
            not from 1 to the trees there are.

        Examples
        --------
        >>> from lambdamart_kit import LambdaMART
        >>> from lambdamart_kit.datasets import make_letor
        >>> data = make_letor(n_queries=20, random_state=0)
        >>> long = LambdaMART(n_estimators=9, random_state=0).fit(data.X, data.y, qid=data.qid)
        >>> short = LambdaMART(n_estimators=4, random_state=0).fit(data.X, data.y, qid=data.qid)
        >>> bool((long.predict(data.X, n_trees=4) == short.predict(data.X)).all())
        True
        """
        if qid is not None and n_trees is None and not return_std and self.stops_early:
            return self._from_start(self._predict_by_query(X, qid), init_score, "predict", X)
        if n_trees is None:
            return super().predict(X, init_score=init_score, return_std=return_std)
        check_is_fitted(self)
        if return_std:
            raise ValueError("'return_std' must be False with 'n_trees'; ask for one of the two")
        runs = self._runs_of_trees()
        longest = max(size for _, size in runs)
        if not isinstance(n_trees, Integral) or isinstance(n_trees, bool) or not 1 <= n_trees <= longest:
            raise ValueError(
                f"'n_trees' must be a number from 1 to {longest}, the trees there are; got {n_trees!r}"
            )
        rows = self._scored_features(X)
        found = sum_of_runs(self.model_, rows, runs, int(n_trees), self._n_threads())
        return self._from_start(found, init_score, "predict", X)

    def staged_predict(
        self, X: Features, *, init_score: ArrayLike | float | None = None
    ) -> Iterator[FloatArray]:
        """Scores after the first tree, after the second, and so on; the last are those of `predict`.

        Every stage costs one tree, so all of them together cost what `predict` does. With bags, stage t is
        the mean of the bags' first t trees.

        Parameters
        ----------
        X : (n_samples, n_features) array-like, DataFrame or sparse matrix
            Features of the rows, in the columns of the fit.
        init_score : (n_samples,) array-like or float, optional
            Score that each row starts from, if the ranker was fitted with `init_score`.

        Yields
        ------
        (n_samples,) float64
            In the order of the rows of X.

        Examples
        --------
        >>> from lambdamart_kit import LambdaMART
        >>> from lambdamart_kit.datasets import make_letor
        >>> from lambdamart_kit.metrics import ndcg
        >>> data = make_letor(n_queries=20, random_state=0)
        >>> ranker = LambdaMART(n_estimators=5, random_state=0).fit(data.X, data.y, qid=data.qid)
        >>> curve = [ndcg(data.y, scores, data.qid, k=10) for scores in ranker.staged_predict(data.X)]
        >>> len(curve), curve[0] < curve[-1]
        (5, True)
        """
        check_is_fitted(self)
        rows = self._scored_features(X)
        start = self._from_start(np.zeros(rows.shape[0]), init_score, "staged_predict", X)
        stages = stages_of_runs(self.model_, rows, self._runs_of_trees(), self._n_threads())
        return stages if init_score is None else (start + scores for scores in stages)

    @property
    def stops_early(self) -> bool:
        """Whether documents may stop before the last tree where `predict` gets the ids of their queries."""
        return False

    def _predict_by_query(self, X: Features, qid: Ids) -> FloatArray:
        """Scores of documents that may stop early."""
        raise NotImplementedError(f"{type(self).__name__} has no early exits")

    def _runs_of_trees(self) -> list[tuple[int, int]]:
        """First tree and number of trees of each bag; all trees are one run without bags."""
        sizes = self.bag_iterations_ or [self.model_.n_trees]
        return list(zip(np.cumsum([0, *sizes[:-1]]).tolist(), sizes))

    def _bag_scores(self, X: Features) -> FloatArray:
        """See `BaggedRanker._bag_scores`."""
        runs = self._runs_of_trees()
        # A run of trees in the merged model sums to its bag's share of the mean.
        parts = [
            self.model_.predict(X, iteration_range=(start, start + size), n_threads=self._n_threads())
            for start, size in runs
        ]
        return len(runs) * np.stack(parts)


def sum_of_runs(
    model: Model, X: Features, runs: Sequence[tuple[int, int]], n_trees: int, n_threads: int
) -> FloatArray:
    """Scores by the first `n_trees` of each run of trees, or by all of a run that has fewer.

    Parameters
    ----------
    model : Model
        The trees.
    X : (n_samples, n_features) array or CSR matrix
        Checked rows.
    runs : sequence of (int, int)
        First tree and number of trees of each run.
    n_trees, n_threads : int
        Trees to use of each run, and threads.
    """
    total = np.zeros(X.shape[0])
    for start, size in runs:
        bounds = (start, start + min(size, n_trees))
        total = total + model.predict(X, iteration_range=bounds, n_threads=n_threads)
    return total


def stages_of_runs(
    model: Model, X: Features, runs: Sequence[tuple[int, int]], n_threads: int
) -> Iterator[FloatArray]:
    """`sum_of_runs` of 1, 2, ... trees, each stage adding one tree of every run to the one before."""
    if len(runs) == 1:
        yield from model.staged(X, n_threads=n_threads)
        return
    total = np.zeros(X.shape[0])
    for tree in range(max(size for _, size in runs)):
        # A run that is over adds nothing more.
        for start, size in runs:
            if tree < size:
                bounds = (start + tree, start + tree + 1)
                total = total + model.predict(X, iteration_range=bounds, n_threads=n_threads)
        yield total
