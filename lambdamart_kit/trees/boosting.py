"""Boosting: gradient, tree, scores, measure, again; with checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rows import RowView
from lambdamart_kit.core.typing import Array, Features, FloatArray
from lambdamart_kit.trees.binning import BinMapper, BinnedMatrix
from lambdamart_kit.trees.checkpoint import Checkpoint, Problem, open_checkpoint
from lambdamart_kit.trees.ensemble import Ensemble
from lambdamart_kit.trees.growth.grower import Grower
from lambdamart_kit.trees.growth.symmetric import SymmetricGrower
from lambdamart_kit.trees.parameters import TreeParameters
from lambdamart_kit.trees.tree import Tree

# Values from which a second thread pays: on fewer, the threads wait for each other longer than they work.
_WORTH_SHARING = 300_000

AfterRound: TypeAlias = Callable[[int, Mapping[str, float], Ensemble], bool]


class Gradient(Protocol):
    """What drives the trees: an objective bound to the training rows."""

    def gradient_hessian(self, scores: Array) -> tuple[Array, Array]:
        """Gradient and hessian, float32 (n_samples,), at float32 `scores`."""


class Held(Protocol):
    """Held-out rows and measures of their scores."""

    @property
    def X(self) -> Any:
        """Features of the rows."""

    def evaluate(self, scores: Array) -> Mapping[str, float]:
        """All measures of scores, by name."""


def boost(
    X: Features,
    queries: Queries,
    bound: Gradient,
    parameters: TreeParameters,
    *,
    n_estimators: int,
    categorical: Sequence[int] = (),
    feature_names: Sequence[str] | None = None,
    eval_sets: Sequence[Held] = (),
    after_round: AfterRound | None = None,
    learning_rates: Callable[[int], float] | None = None,
    start: Any = None,
    checkpoint: Checkpoint | None = None,
    n_threads: int = 1,
) -> Ensemble:
    """Grow an ensemble: each tree fits the gradient at the scores of those before it.

    Parameters
    ----------
    X : ndarray (n_samples, n_features), float32, scipy.sparse matrix, RowView of one, or BinnedMatrix
        Features, rows in query order. Of a BinnedMatrix, `start` cannot be used.
    queries : Queries
        Their grouping, in order.
    bound : object
        ``gradient_hessian(scores) -> (gradient, hessian)``, float32, in the same order.
    parameters : TreeParameters
        How trees are grown.
    n_estimators : int
        Trees to grow.
    categorical : sequence of int
        Columns of category codes.
    feature_names : sequence of str, optional
        Names without white space; ``Column_0``, ... otherwise.
    eval_sets : sequence
        Objects with ``X`` and ``evaluate(scores) -> {name: float}``, measured after every tree. Only the new
        tree is walked. Their X is binned if, and only if, the training rows are, with the same edges.
    after_round : callable, optional
        Called with the number of trees, all measures, and the ensemble after every tree; True stops. The
        ensemble may hold more trees than that, from a checkpoint.
    learning_rates : callable, optional
        Learning rate of each tree, which count from 1 in this run; by default that of `parameters`.
    start : lightgbm.Booster, optional
        Model whose raw predictions the scores start from. Its trees are not in the result, but count where
        trees draw: if `bound` goes on drawing too, to go on from a native model is to have grown all trees
        in one run, to the bit.
    checkpoint : Checkpoint, optional
        Where and how often to save the trees. If the file is there, training goes on from it, to the same
        ensemble bit for bit, provided the gradient depends on nothing but the scores and, where `bound` has
        ``skip_calls``, on the number of gradients before it; it is told how many it missed.
    n_threads : int
        Threads to use; the ensemble does not depend on it.

    Returns
    -------
    Ensemble
        The trees.

    Raises
    ------
    ValueError
        If the checkpoint is of another problem, or a gradient is not finite.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(500, 3)).astype(np.float32)
    >>> class Squared:
    ...     def gradient_hessian(self, scores):
    ...         return scores - X[:, 0], np.ones(500, np.float32)
    >>> queries = Queries.from_qid(np.arange(500) // 10, 500)
    >>> ensemble = boost(X, queries, Squared(), TreeParameters(num_leaves=7), n_estimators=30)
    >>> bool(np.corrcoef(ensemble.predict(X), X[:, 0])[0, 1] > 0.95)
    True
    """
    names = feature_names if feature_names is not None else [f"Column_{j}" for j in range(X.shape[1])]
    # Rows from files come binned already; rows in memory are binned here, with edges from a sample of them.
    if isinstance(X, RowView) and isinstance(X.source, BinnedMatrix):
        X = X.source if X.is_whole else X.gather()
    if isinstance(X, BinnedMatrix):
        binned = X
    else:
        max_bin = parameters.max_bin
        mapper = BinMapper.fit(X, queries, max_bin=max_bin, categorical=categorical, n_threads=n_threads)
        binned = mapper.transform(X, n_threads=n_threads)
    scores = _start_scores(start, X, n_threads)
    held = [_HeldOut.of_rows(e, binned.mapper, start, n_threads) for e in eval_sets]
    if X.shape[0] * X.shape[1] < _WORTH_SHARING:
        n_threads = 1
    symmetric = parameters.grow_policy == "symmetric"
    grower = (SymmetricGrower if symmetric else Grower)(binned, queries, parameters, n_threads=n_threads)
    ensemble = Ensemble(binned.mapper, tuple(names), parameters.learning_rate)
    # Draws are numbered from the first tree of the model that is continued.
    n_before = 0 if start is None else start.num_trees()
    gradients = _Gradients(bound, scores)
    with open_checkpoint(checkpoint, Problem(binned, parameters, scores, gradients.first)) as file:
        if file is not None:
            ensemble.trees.extend(file.read()[:n_estimators])
        n_saved = len(ensemble.trees)
        gradients.skip(n_saved)
        # A round grows one tree, or takes it from the checkpoint, and adds it to all scores. Rounds from the
        # checkpoint are measured too, so that early stopping sees the same history as in one run.
        for n_rounds in range(1, n_estimators + 1):
            if n_rounds <= n_saved:
                ensemble.trees[n_rounds - 1].add_to(scores, binned, n_threads=n_threads)
            else:
                if learning_rates is not None:
                    grower.set_learning_rate(learning_rates(n_rounds))
                gradient, hessian = gradients.next()
                tree = grower.grow(gradient, hessian, scores, tree_index=n_before + n_rounds - 1)
                ensemble.trees.append(tree)
            evaluation: dict[str, float] = {}
            for rows in held:
                evaluation |= rows.measured_with(ensemble.trees[n_rounds - 1], n_threads)
            if file is not None:
                file.write_if_due(ensemble.trees)
            if after_round is not None and after_round(n_rounds, evaluation, ensemble):
                # The checkpoint may hold trees beyond the round at which this run stops.
                del ensemble.trees[n_rounds:]
                break
    return ensemble


class _Gradients:
    """The gradients of the rounds, each at the scores so far.

    Parameters
    ----------
    bound : Gradient
    scores : (n_samples,) float64
        Updated in place by the rounds.
    """

    def __init__(self, bound: Gradient, scores: FloatArray) -> None:
        self._bound = bound
        self._scores = scores
        self._rounded = np.empty(len(scores), dtype=np.float32)
        self._ahead: tuple[Array, Array] | None = None

    def first(self) -> tuple[Array, Array]:
        """The gradient of the first round, which a checkpoint looks at before that round takes it."""
        # Kept, not taken again: an objective that draws would draw once more than without a checkpoint.
        self._ahead = self.next()
        return self._ahead

    def next(self) -> tuple[Array, Array]:
        """Gradient and hessian of this round."""
        if self._ahead is not None:
            found = self._ahead
            self._ahead = None
            return found
        # Scores add up in float64; objectives take float32, which is twice as fast.
        self._rounded[:] = self._scores
        return self._bound.gradient_hessian(self._rounded)

    def skip(self, n_trees: int) -> None:
        """Go on after the trees of a checkpoint.

        An objective that draws has drawn once for every tree; it must go on from there.
        """
        if n_trees == 0:
            return
        if hasattr(self._bound, "skip_calls"):
            # The gradient that was taken ahead is that of the first of these trees.
            self._bound.skip_calls(n_trees - (self._ahead is not None))
        self._ahead = None


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """Held-out rows in the bins of the training rows, so that a tree walks both alike; and their scores."""

    of: Held
    binned: BinnedMatrix
    scores: FloatArray

    @classmethod
    def of_rows(cls, held: Held, mapper: BinMapper, start: Any, n_threads: int) -> _HeldOut:
        """Bin the rows, unless they come binned from files."""
        X = held.X
        binned = X if isinstance(X, BinnedMatrix) else mapper.transform(X, n_threads=n_threads)
        return cls(held, binned, _start_scores(start, X, n_threads))

    def measured_with(self, tree: Tree, n_threads: int) -> Mapping[str, float]:
        """The measures after one more tree."""
        tree.add_to(self.scores, self.binned, n_threads=n_threads)
        return self.of.evaluate(self.scores)


def _start_scores(start: Any, X: Features, n_threads: int) -> FloatArray:
    if start is None:
        return np.zeros(X.shape[0])
    features = X.gather() if isinstance(X, RowView) else X
    return np.asarray(start.predict(features, raw_score=True, num_threads=n_threads), dtype=np.float64)
