"""LinearRanker: a weighted sum of features, driven by the gradient of any ranking objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from scipy.linalg import eigh
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import LinearOperator, cg
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.boosters.rounds import Stopwatch
from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rows import is_sparse
from lambdamart_kit.core.typing import Array, Features, FloatArray, RandomState
from lambdamart_kit.explain.explained import Explained
from lambdamart_kit.export.model import LinearSum
from lambdamart_kit.objectives import Bound
from lambdamart_kit.rankers import saving
from lambdamart_kit.rankers.binding import bind_rows, find_objective
from lambdamart_kit.rankers.click_learning import DEFAULT_POSITION_BIAS
from lambdamart_kit.rankers.columns.scaling import row_blocks
from lambdamart_kit.rankers.gradient_ranker import AfterRound, GradientRanker
from lambdamart_kit.rankers.steering.callbacks import find_schedule
from lambdamart_kit.rankers.steering.events import check_callbacks
from lambdamart_kit.rankers.steering.parameters import Callbacks, EvalMetric
from lambdamart_kit.rankers.steering.training_set import TrainingSet
from lambdamart_kit.runtime.blas import one_blas_thread

_MOST_DIRECT = 512  # features up to which the Newton matrix is formed: measured twice as fast at 136
_CG_TOLERANCE = 0.1  # of each Newton system: the field moves with the scores, so more would be wasted
_CG_STEPS = 50
_OVERSHOOT = 0.5  # share of the slope that may come back on the far side of a step's lowest point
_SHORTEST = 1e-3
_FLAT = 1e-5  # share of the largest curvature
_LEAST_CURVATURE = 1e-10  # separable queries end with none at all


class LinearRanker(GradientRanker):
    r"""A linear scorer under any ranking objective: the interpretable baseline.

    With T the input transform, :math:`s = (T(x) - \mathrm{mean})^\top w`, and w is where

    .. math:: G(w) = \frac{1}{|Q|} \sum_i g_i(s) (T(x_i) - \mathrm{mean}) + \lambda D^2 w = 0

    g the objective's gradient on each score and D the columns' spread, so that the penalty does not depend on
    units. There is no intercept: it would change no order.

    Parameters
    ----------
    objective : str, objective or callable
        As in `LambdaMART`: a name in `lambdamart_kit.objectives.OBJECTIVES`, an objective, or a function.
    reg_lambda : float
        L2 penalty ``reg_lambda / 2 * sum((D w) ** 2)`` against the mean loss of a query. "pairwise" sums over
        pairs, so its loss grows with the documents of a query.
    position_bias : str, array-like, callable or PositionBias
        What to do about positions when fit gets them, as in `LambdaMART`; a round is an evaluation of the
        gradient.
    max_iter : int
        Newton steps, at most.
    tol : float
        Converged when no coefficient moves by more than `tol` times the largest, in units of one deviation.
    input_transform : {"standard", "log1p", "quantile"} or None
        "standard" divides features by their spread during fit, which only matters for the penalty and for
        conditioning: coefficients are in units of the features. "log1p" (``sign(x) log(1 + |x|)``) and
        "quantile" (share of training rows below) bend heavy tails first; coefficients are of what is bent.
    n_bags : int
        Number of models, each fitted on a draw of the queries with replacement, a query that was drawn m
        times having m times its weight. `coef_` is the mean of their coefficients, which is the mean of
        their scores. With `early_stopping_rounds` and no held-out queries, each stops by the queries that it
        did not draw. Not with `position` or a function as objective.
    early_stopping_rounds : int, optional
        Stop after so many steps without a better `eval_metric` on held-out queries, and keep the best.
    validation_fraction : float, optional
        Share of the queries to hold out when fit gets no X_val. Whole queries, drawn by `random_state`.
    eval_metric : str, Metric, or list of them
        Measured on held-out queries after every step; the first one decides when to stop.
    min_delta : float
        With early stopping, a step is better only if the metric is better by more than this, >= 0.
    track_training : bool
        Whether the training rows are measured too: ``evals_result_["training"]``.
    callbacks : list of callable, optional
        Each is called after every step with a `TrainingEvent`, and stops training if it returns True;
        ready-made are `stop_after`, `schedule`, `prune`, `log_to_mlflow` and `log_to_jsonl`.
    random_state : int, RandomState or None
        Draws held-out queries.
    n_jobs : int, optional
        Threads of the gradient; None for all.
    verbose : int
        1 shows progress and the running metric on stderr.

    Attributes
    ----------
    coef_ : (n_features,) float64
        ``predict(X)`` is ``(T(X) - mean_) @ coef_``.
    bag_coefs_ : (n_bags, n_features) float64, or None
        Coefficients of each bag; None with ``n_bags=1``.
    bag_iterations_, oob_scores_, oob_score_
        Of bags, as in `LambdaMART`.
    mean_ : (n_features,) float64
        Of the features of the training rows; 0 for sparse ones.
    inputs_ : InputTransform
        The fitted transform of features.
    n_iter_ : int
        Newton steps behind the coefficients.
    best_score_ : float
        `eval_metric` at the last of them; NaN without held-out queries.
    evals_result_ : dict
        ``{"validation": {"ndcg@10": [...]}}``, one value a step; empty without held-out queries.
    fit_times_ : dict
        Seconds spent on "data", "gradient", "evaluation" and "solver".
    n_features_in_, n_queries_in_ : int
        Columns and queries that fit saw.

    Notes
    -----
    A lambda objective has a gradient but no loss, so the solver asks for gradients only. A step solves

    .. math:: \Big(\frac{1}{|Q|} \sum_i h_i \tilde x_i \tilde x_i^\top + \lambda I\Big) d = -G(w)

    directly, or by conjugate gradients for more than 512 features; h is the objective's hessian and
    :math:`\tilde x` features centred in each query by h, because shifting a query's scores changes nothing. A
    step is shortened where :math:`d^\top G` has changed sign by more than a half. For a convex loss
    ("pairwise", "listnet", "listmle") that ends at its minimum. The weight of a pair in a lambda objective
    jumps where two documents change places, so there may be no point where G is 0; `max_iter` ends that.

    References
    ----------
    Joachims (2002), Optimizing search engines using clickthrough data, KDD (the linear pairwise ranker);
    Burges (2010), From RankNet to LambdaRank to LambdaMART: an overview, MSR-TR-2010-82 (gradient only).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, qid = rng.normal(size=(400, 3)), np.repeat(np.arange(40), 10)
    >>> ranker = LinearRanker("pairwise").fit(X, X[:, 0] - X[:, 1] > 1, qid=qid)
    >>> bool(ranker.coef_[0] > 0 > ranker.coef_[1]), ranker.score(X, X[:, 0] - X[:, 1] > 1, qid=qid) > 0.99
    (True, True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **GradientRanker._parameter_constraints,
        "tol": [Interval(Real, 0, None, closed="left")],
    }

    coef_: FloatArray
    bag_coefs_: FloatArray | None = None

    def __init__(
        self,
        objective: Any = "ndcg",
        *,
        reg_lambda: float = 1e-3,
        position_bias: Any = DEFAULT_POSITION_BIAS,
        max_iter: int = 50,
        tol: float = 1e-3,
        input_transform: str | None = "standard",
        n_bags: int = 1,
        early_stopping_rounds: int | None = None,
        validation_fraction: float | None = None,
        eval_metric: EvalMetric = "ndcg@10",
        min_delta: float = 0.0,
        track_training: bool = False,
        callbacks: Callbacks = None,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.objective = objective
        self.reg_lambda = reg_lambda
        self.position_bias = position_bias
        self.max_iter = max_iter
        self.tol = tol
        self.input_transform = input_transform
        self.n_bags = n_bags
        self.early_stopping_rounds = early_stopping_rounds
        self.validation_fraction = validation_fraction
        self.eval_metric = eval_metric
        self.min_delta = min_delta
        self.track_training = track_training
        self.callbacks = callbacks
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def _fit_single(self, data: TrainingSet, watch: Stopwatch) -> None:
        train = data.train
        if find_schedule(check_callbacks(self.callbacks)) is not None:
            raise ValueError(
                "'callbacks' must hold no schedule with LinearRanker, whose Newton steps have no rate"
            )
        goals = self._goals()
        if goals is not None and goals.constraints:
            raise ValueError(
                "'constraints' must be None with LinearRanker, which does not learn in small rounds; fit it "
                "with several weights by pareto_front, and take front.best(...)"
            )
        objective = find_objective(self.objective, train, held_out=self.validation_fraction)
        with watch.remainder("solver"), one_blas_thread():
            bound = bind_rows(objective, train, n_threads=self._n_threads())
            field = _Field(self.inputs_(train.X), bound, train, self.reg_lambda, watch)
            with self._rounds(data, watch) as (_, after_round):
                path = _descend(field, self.max_iter, self.tol, after_round)
        self._take_weights(path[self.n_iter_ - 1])

    def _take_weights(self, weights: FloatArray) -> None:
        self.coef_ = weights / self.inputs_.scale
        self.bag_coefs_ = None

    @property
    def mean_(self) -> FloatArray:
        """Mean of each (bent) feature, taken off before weighing."""
        check_is_fitted(self)
        return self.inputs_.mean

    def _predict_rows(self, X: Features) -> FloatArray:
        scores = np.empty(X.shape[0])
        weights = self.coef_ * self.inputs_.scale
        for rows in row_blocks(X.shape[0]):
            scores[rows] = _product(self.inputs_(X[rows]).astype(np.float64), weights)
        return scores

    def contributions(self, X: Features, background: Features = None) -> FloatArray:
        """What each feature adds to the score of each row, ``w_j (t_j - mean t_j)`` with scaled features t.

        These are the exact Shapley values of a sum of features, whatever is done about unknown ones.

        Parameters
        ----------
        X : (n_samples, n_features) array-like, DataFrame or sparse matrix
            Features of the rows, in the columns of the fit.
        background : (n_samples, n_features) array-like, DataFrame or sparse matrix, optional
            For each row of X the row to compare it with. None for the mean of the training rows, which
            scaled features have at 0. With ``input_transform=None`` and sparse matrices, which are not
            centred, this is a row of zeros.

        Returns
        -------
        (n_samples, n_features + 1) float64
            The last column is the score of the background: 0 for None. Rows sum to ``predict(X)``.

        Examples
        --------
        >>> X = np.array([[0.0], [2.0], [0.0], [2.0]])
        >>> ranker = LinearRanker(random_state=0).fit(X, [0, 1, 0, 1], qid=[0, 0, 1, 1])
        >>> bool(np.allclose(ranker.contributions(X).sum(axis=1), ranker.predict(X)))
        True
        """
        check_is_fitted(self)
        rows = self._scored_features(X)
        others = None if background is None else self._scored_features(background, name="background")
        return self._contributions_of(rows, others)

    def _contributions_of(self, X: Features, background: Features = None) -> FloatArray:
        found = self._terms(X)
        if background is None:
            return found
        others = self._terms(background)
        if others.shape != found.shape:
            raise ValueError(
                f"'background' must have a row for each of the {len(found)} rows of 'X'; got {len(others)}"
            )
        found[:, -1] = others.sum(axis=1)
        found[:, :-1] -= others[:, :-1]
        return found

    def _terms(self, X: Features) -> FloatArray:
        """Each feature's term of the score, and a column of zeros."""
        terms = np.zeros((X.shape[0], X.shape[1] + 1))
        for rows in row_blocks(X.shape[0]):
            terms[rows, :-1] = _dense(self.inputs_(X[rows])) * (self.coef_ * self.inputs_.scale)
        return terms

    def _explainable(self) -> Explained:
        explained = super()._explainable()
        in_use = np.flatnonzero(self.coef_)
        return replace(explained, contributions=self._contributions_of, columns_in_use=in_use)

    def _exportable(self) -> LinearSum:
        check_is_fitted(self)
        return LinearSum(self.coef_ * self.inputs_.scale, self._scaling(), self._column_names())

    def _merge_bags(self, bags: Sequence[Self]) -> None:
        super()._merge_bags(bags)
        self.bag_coefs_ = np.stack([bag.coef_ for bag in bags])
        self.coef_ = self.bag_coefs_.mean(axis=0)

    def _bag_scores(self, X: Features) -> FloatArray:
        assert self.bag_coefs_ is not None
        weights = (self.bag_coefs_ * self.inputs_.scale).T
        scores = np.empty((len(self.bag_coefs_), X.shape[0]))
        for rows in row_blocks(X.shape[0]):
            scores[:, rows] = (self.inputs_(X[rows]).astype(np.float64) @ weights).T
        return scores

    def _arrays(self) -> dict[str, Array]:
        arrays: dict[str, Array] = {"coef": self.coef_}
        return arrays if self.bag_coefs_ is None else {**arrays, "bag_coefs": self.bag_coefs_}

    def _take_arrays(self, arrays: dict[str, Array]) -> None:
        self.coef_ = arrays["coef"]
        saving.check_shape(self.coef_, (self.n_features_in_,), "coef")
        self.bag_coefs_ = arrays.get("bag_coefs")
        if self.bag_coefs_ is not None:
            saving.check_shape(self.bag_coefs_, (None, self.n_features_in_), "bag_coefs")


@dataclass(frozen=True, eq=False)
class _Point:
    """Weights and what the objective says there."""

    weights: FloatArray
    gradient: FloatArray  # (n_features,) of the mean loss of a query plus the penalty
    curvature: FloatArray  # (n_samples,) share of each row


class _Field:
    """The gradient G of the weights, and products with its curvature."""

    def __init__(
        self, X: Features, bound: Bound, train: OrderedRows, reg_lambda: float, watch: Stopwatch
    ) -> None:
        self.n_features = X.shape[1]
        self._X = X
        self._gradient_hessian = watch.timed("gradient", bound.gradient_hessian)
        self._queries: Queries = train.queries
        weight = train.sample_weight
        starts = train.queries.ptr[:-1]
        self._total = float(len(starts) if weight is None else weight[starts].sum())
        self._reg_lambda = reg_lambda

    def at(self, weights: FloatArray) -> _Point:
        """Gradient and curvature at the scores that `weights` give."""
        gradient, hessian = self._gradient_hessian(_product(self._X, weights).astype(np.float32, copy=False))
        slope = _product(self._X.T, gradient) / self._total + self._reg_lambda * weights
        return _Point(weights, slope, np.maximum(hessian, 0.0).astype(np.float64) / self._total)

    def newton_step(self, point: _Point) -> FloatArray:
        """Solution of the Newton system at `point`: direct, or by conjugate gradients for many features."""
        curvature = point.curvature
        total = np.add.reduceat(curvature, self._queries.ptr[:-1])
        total[total == 0] = 1.0
        ridge = self._reg_lambda + _LEAST_CURVATURE
        if self.n_features <= _MOST_DIRECT:
            matrix = self._matrix(curvature, total)
            # In float32 a flat direction may come out slightly negative: such eigenvalues are raised.
            eigenvalues, directions = eigh(matrix)
            eigenvalues = np.maximum(eigenvalues, _FLAT * eigenvalues[-1]) + ridge
            return np.asarray(directions @ (directions.T @ -point.gradient / eigenvalues))
        shape = (self.n_features, self.n_features)
        operator = LinearOperator(
            shape,
            dtype=np.float64,
            matvec=lambda v: self._times(v.ravel(), curvature, total) + ridge * v.ravel(),
        )
        step, _ = cg(operator, -point.gradient, rtol=_CG_TOLERANCE, maxiter=_CG_STEPS)
        return np.asarray(step, dtype=np.float64)

    def _matrix(self, curvature: FloatArray, total: FloatArray) -> FloatArray:
        """Sum over rows of curvature times the square of features centred in their query."""
        matrix = np.zeros((self.n_features, self.n_features))
        weight = curvature.astype(np.float32)
        for rows in row_blocks(len(weight)):
            block = self._X[rows]
            weighed = block.multiply(weight[rows, None]) if is_sparse(block) else block * weight[rows, None]
            matrix += _dense(weighed.T @ block)
        share = curvature / np.repeat(np.sqrt(total), self._queries.sizes)
        of_query = csr_matrix(
            (share.astype(np.float32), np.arange(len(share)), self._queries.ptr),
            shape=(len(total), len(share)),
        )
        means = _dense(of_query @ self._X).astype(np.float64)
        matrix -= means.T @ means
        return matrix

    def _times(self, v: FloatArray, curvature: FloatArray, total: FloatArray) -> FloatArray:
        """The same matrix times `v`, without forming it."""
        forces = curvature * _product(self._X, v)
        mean = np.add.reduceat(forces, self._queries.ptr[:-1]) / total
        forces -= curvature * np.repeat(mean, self._queries.sizes)
        return _product(self._X.T, forces).astype(np.float64)


def _descend(field: _Field, max_iter: int, tol: float, after_round: AfterRound) -> list[FloatArray]:
    """Weights after each Newton step, until they stand still or `after_round` says stop."""
    point = field.at(np.zeros(field.n_features))
    path: list[FloatArray] = []
    for n_steps in range(1, max_iter + 1):
        following = _search(field, point, field.newton_step(point))
        moved = np.abs(following.weights - point.weights).max(initial=0.0)
        point = following
        path.append(point.weights)
        stop = after_round(n_steps, partial(_product, vector=point.weights), point.weights)
        if stop or moved <= tol * np.abs(point.weights).max(initial=0.0):
            break
    return path


def _search(field: _Field, point: _Point, step: FloatArray) -> _Point:
    """The point a step away, or nearer where the field points back too strongly there."""
    slope = float(step @ point.gradient)
    share = 1.0
    while True:
        reached = field.at(point.weights + share * step)
        ahead = float(step @ reached.gradient)
        if ahead <= -_OVERSHOOT * slope or share < _SHORTEST:
            return reached
        share *= max(0.1, slope / (slope - ahead))


def _dense(matrix: Any) -> Any:
    return matrix.toarray() if is_sparse(matrix) else matrix


def _product(X: Features, vector: Array) -> Array:
    """``X @ vector`` in the precision of X, which is float32 in training."""
    return np.asarray(X @ vector.astype(X.dtype, copy=False)).ravel()
