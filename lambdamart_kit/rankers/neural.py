"""NeuralRanker: a network as scorer, driven by the gradient of any ranking objective."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import expit
from sklearn import config_context
from sklearn.base import clone
from sklearn.neural_network import MLPRegressor
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.boosters.rounds import History, Stopwatch
from lambdamart_kit.compile.interrupts import interrupts_held
from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.core.typing import Array, Features, FloatArray, RandomState
from lambdamart_kit.export.model import Network
from lambdamart_kit.objectives import Bound, Objective, names_rows
from lambdamart_kit.rankers import saving
from lambdamart_kit.rankers.bags.networks import Weights, side_by_side
from lambdamart_kit.rankers.binding import bind_rows, find_objective
from lambdamart_kit.rankers.click_learning import DEFAULT_POSITION_BIAS
from lambdamart_kit.rankers.columns.scaling import row_blocks
from lambdamart_kit.rankers.gradient_ranker import COUNT, AfterRound, GradientRanker
from lambdamart_kit.rankers.steering.callbacks import find_schedule
from lambdamart_kit.rankers.steering.events import check_callbacks
from lambdamart_kit.rankers.steering.parameters import Callbacks, EvalMetric
from lambdamart_kit.rankers.steering.training_set import TrainingSet
from lambdamart_kit.runtime.blas import one_blas_thread

_PARTS = ("coef", "intercept")  # of a layer, in files
_STILL = 1e-30  # a step so small that no float32 weight moves


class NeuralRanker(GradientRanker):
    r"""A multilayer perceptron as scorer: RankNet (2005), LambdaRank (2006), or any other objective.

    For mini-batches of whole queries, with g the objective's gradient on the score of each document,

    .. math:: w \leftarrow w - \mathrm{Adam}\Big(\frac{1}{|Q|} \sum_{i} g_i
              \frac{\partial s_i}{\partial w} + \lambda w\Big)

    The network is scikit-learn's :class:`~sklearn.neural_network.MLPRegressor`. Its squared loss
    back-propagates (score - target) / rows, so the target ``score - g * rows / queries`` makes it
    back-propagate g.

    Parameters
    ----------
    objective : str, objective or callable
        As in `LambdaMART`: a name in `lambdamart_kit.objectives.OBJECTIVES`, an objective, or a function.
        A function and `ExplicitPairs`, which speak of rows, train on all rows at once.
    hidden_layer_sizes : int or array-like of int
        Neurons in each hidden layer.
    activation : {"relu", "tanh", "logistic", "identity"}
        What each hidden neuron makes of its weighted sum.
    learning_rate : float
        Of Adam.
    reg_lambda : float
        L2 penalty: ``reg_lambda / 2 * sum(w ** 2)`` against the mean loss of a query.
    batch_size : int
        Queries in a mini-batch. Which queries go together is drawn once, their order anew in every epoch.
    position_bias : str, array-like, callable or PositionBias
        What to do about positions when fit gets them, as in `LambdaMART`; a round is an epoch.
    max_iter : int
        Epochs, at most.
    input_transform : {"standard", "log1p", "quantile"} or None
        What happens to features first: "standard" centres them and divides by the standard deviation; "log1p"
        (``sign(x) log(1 + |x|)``) and "quantile" (share of training rows below) tame heavy tails before that.
    n_bags : int
        Number of networks, each fitted on a draw of the queries with replacement, a query that was drawn m
        times having m times its weight; scores are their mean. With `early_stopping_rounds` and no held-out
        queries, each stops by the queries that it did not draw. Not with `position` or a function as
        objective.
    early_stopping_rounds : int, optional
        Stop after so many epochs without a better `eval_metric` on held-out queries, and keep the best.
    validation_fraction : float, optional
        Share of the queries to hold out when fit gets no X_val. Whole queries, drawn by `random_state`.
    eval_metric : str, Metric, or list of them
        Measured on held-out queries after every epoch; the first one decides when to stop.
    min_delta : float
        With early stopping, a epoch is better only if the metric is better by more than this, >= 0.
    track_training : bool
        Whether the training rows are measured too: ``evals_result_["training"]``.
    callbacks : list of callable, optional
        Each is called after every epoch with a `TrainingEvent`, and stops training if it returns True;
        ready-made are `stop_after`, `schedule`, `prune`, `log_to_mlflow` and `log_to_jsonl`.
    random_state : int, RandomState or None
        First weights, batches and their order.
    n_jobs : int, optional
        Threads of the gradient; None for all. The result does not depend on it.
    verbose : int
        1 shows progress and the running metric on stderr.

    Attributes
    ----------
    coefs_, intercepts_ : list of arrays
        Weights of each layer, ``(n_in, n_out)`` and ``(n_out,)``, float32.
        With bags one network of blocks, whose score is the mean of theirs.
    bag_networks_ : list of (coefs, intercepts), or None
        The network of each bag; None with ``n_bags=1``.
    bag_iterations_, oob_scores_, oob_score_
        Of bags, as in `LambdaMART`.
    inputs_ : InputTransform
        The fitted transform of features.
    n_iter_ : int
        Epochs behind the weights: the best round with early stopping.
    best_score_ : float
        `eval_metric` at that epoch; NaN without held-out queries.
    evals_result_ : dict
        ``{"validation": {"ndcg@10": [...]}}``, one value an epoch; empty without held-out queries.
    fit_times_ : dict
        Seconds spent on "data", "gradient", "evaluation" and "network".
    n_features_in_, n_queries_in_ : int
        Columns and queries that fit saw.

    Notes
    -----
    Missing values count as the column's mean. Sparse features are scaled but not centred. BLAS is kept to one
    thread during fit: these matrices are small, and their sums would depend on the number of threads.

    References
    ----------
    Burges et al. (2005), Learning to rank using gradient descent, ICML.
    Burges, Ragno and Le (2006), Learning to rank with nonsmooth cost functions, NIPS.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, qid = rng.normal(size=(400, 4)), np.repeat(np.arange(40), 10)
    >>> y = (X[:, 0] * X[:, 1] > 0).astype(int)
    >>> ranker = NeuralRanker(max_iter=60, learning_rate=0.01, random_state=0).fit(X, y, qid=qid)
    >>> ranker.score(X, y, qid=qid) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **GradientRanker._parameter_constraints,
        "hidden_layer_sizes": ["array-like", COUNT],
        "activation": [StrOptions({"relu", "tanh", "logistic", "identity"})],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [COUNT],
    }

    coefs_: Weights
    intercepts_: Weights
    bag_networks_: list[tuple[Weights, Weights]] | None = None

    def __init__(
        self,
        objective: Any = "pairwise",
        hidden_layer_sizes: int | Sequence[int] = (64, 32),
        *,
        activation: str = "relu",
        learning_rate: float = 1e-3,
        reg_lambda: float = 1e-4,
        batch_size: int = 16,
        position_bias: Any = DEFAULT_POSITION_BIAS,
        max_iter: int = 100,
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
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.learning_rate = learning_rate
        self.reg_lambda = reg_lambda
        self.batch_size = batch_size
        self.position_bias = position_bias
        self.max_iter = max_iter
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

    # ------------------------------------------------------------------------------------------ fitting

    def _fit_single(self, data: TrainingSet, watch: Stopwatch) -> None:
        train = data.train
        objective = find_objective(self.objective, train, held_out=self.validation_fraction)
        rng = self._rng()
        with watch.remainder("network"), one_blas_thread():
            batches = self._batches(objective, train, rng, watch)
            with self._rounds(data, watch, getattr(objective, "balance", None)) as (history, after_round):
                best = self._train(batches, history, after_round, rng)
        if self.early_stopping_rounds is not None:
            self.coefs_, self.intercepts_ = best
        self.bag_networks_ = None

    def _train(
        self, batches: list[_Batch], history: History, after_round: AfterRound, rng: np.random.Generator
    ) -> tuple[Weights, Weights]:
        """Epochs until `after_round` says stop; the weights of the best one."""
        network = self._network(int(rng.integers(2**31 - 1)))
        self.coefs_, self.intercepts_ = _first_weights(network, batches[0].X)
        best = self.coefs_, self.intercepts_
        rates = find_schedule(check_callbacks(self.callbacks))
        if rates is not None:
            rates.rate(self.max_iter)
        for epoch in range(1, self.max_iter + 1):
            if rates is not None:
                _set_learning_rate(network, rates.rate(epoch))
            for at in rng.permutation(len(batches)):
                self._step(network, batches[at])
            stop = after_round(epoch, self._forward, (self.coefs_, self.intercepts_))
            if history.best_round == epoch:
                best = _copied((self.coefs_, self.intercepts_))
            if stop:
                break
        return best

    def _take_weights(self, weights: tuple[Weights, Weights]) -> None:
        self.coefs_, self.intercepts_ = _copied(weights)
        self.bag_networks_ = None

    def _step(self, network: MLPRegressor, batch: _Batch) -> None:
        """One step of Adam on the gradient of the batch's mean query loss plus the penalty."""
        n_rows = len(batch.scale)
        scores = self._forward(batch.X)
        gradient, _ = batch.gradient_hessian(scores)
        network.batch_size = n_rows
        network.alpha = self.reg_lambda * n_rows  # scikit-learn divides the penalty by the number of rows
        with config_context(assume_finite=True, skip_parameter_validation=True):
            _partial_fit(network, batch.X, scores - batch.scale * gradient)
        self.coefs_ = network.coefs_
        self.intercepts_ = network.intercepts_

    def _network(self, seed: int) -> MLPRegressor:
        return MLPRegressor(
            hidden_layer_sizes=self.hidden_layer_sizes,
            activation=self.activation,
            solver="adam",
            learning_rate_init=self.learning_rate,
            shuffle=False,
            n_iter_no_change=np.inf,
            random_state=seed,
        )

    def _batches(
        self, objective: Objective, train: OrderedRows, rng: np.random.Generator, watch: Stopwatch
    ) -> list[_Batch]:
        """Whole queries, drawn into mini-batches; the objective is bound to each of them once."""
        n_threads = self._n_threads()
        weight = train.sample_weight
        # Only ratios of weights matter, so weights are divided by their mean.
        unit = 1.0 if weight is None else float(weight[train.queries.ptr[:-1]].mean())
        if names_rows(objective):
            bound = bind_rows(objective, train, n_threads=n_threads)
            return [_Batch.make(self.inputs_(train.X), bound, train.queries.n_queries * unit, watch)]
        drawn = rng.permutation(train.queries.n_queries)
        batches = []
        for queries in np.array_split(drawn, -(-len(drawn) // self.batch_size)):
            chosen = np.zeros(len(drawn), dtype=bool)
            chosen[queries] = True
            part = train.select(chosen)
            bound = bind_rows(objective, part, n_threads=n_threads)
            batches.append(_Batch.make(self.inputs_(part.X), bound, len(queries) * unit, watch))
        return batches

    # --------------------------------------------------------------------------------------- predicting

    def _forward(self, X: Features, network: tuple[Weights, Weights] | None = None) -> Array:
        """Scores of transformed rows by a network, by default the fitted one, in its precision."""
        coefs, intercepts = network or (self.coefs_, self.intercepts_)
        layer = X
        for coef, intercept in zip(coefs[:-1], intercepts[:-1]):
            layer = layer @ coef
            layer += intercept
            layer = _activate(self.activation, layer)
        return np.asarray(layer @ coefs[-1] + intercepts[-1]).ravel()

    def _predict_rows(self, X: Features) -> FloatArray:
        if self.bag_networks_ is not None:
            return np.asarray(self._bag_scores(X).mean(axis=0))
        scores = np.empty(X.shape[0])
        for rows in row_blocks(X.shape[0]):
            scores[rows] = self._forward(self.inputs_(X[rows]).astype(np.float64))
        return scores

    def _merge_bags(self, bags: Sequence[Self]) -> None:
        super()._merge_bags(bags)
        self.bag_networks_ = [(bag.coefs_, bag.intercepts_) for bag in bags]
        self.coefs_, self.intercepts_ = side_by_side(self.bag_networks_)

    def _bag_scores(self, X: Features) -> FloatArray:
        # One by one: in the merged network, zeros between the blocks would take most of the time.
        networks = self.bag_networks_ or []
        scores = np.empty((len(networks), X.shape[0]))
        for rows in row_blocks(X.shape[0]):
            part = self.inputs_(X[rows]).astype(np.float64)
            for number, network in enumerate(networks):
                scores[number, rows] = self._forward(part, network)
        return scores

    def _exportable(self) -> Network:
        check_is_fitted(self)
        layers = tuple(self.coefs_), tuple(self.intercepts_)
        return Network(*layers, self.activation, self._scaling(), self._column_names())

    def _arrays(self) -> dict[str, Array]:
        if self.bag_networks_ is None:
            return _named((self.coefs_, self.intercepts_))
        return {
            f"bag{number}_{name}": part
            for number, network in enumerate(self.bag_networks_)
            for name, part in _named(network).items()
        }

    def _take_arrays(self, arrays: dict[str, Array]) -> None:
        self.bag_networks_ = None
        if self.bag_iterations_ is None:
            self.coefs_, self.intercepts_ = _network(arrays, self.n_features_in_)
            return
        self.bag_networks_ = []
        for number in range(len(self.bag_iterations_)):
            prefix = f"bag{number}_"
            own = {k.removeprefix(prefix): part for k, part in arrays.items() if k.startswith(prefix)}
            self.bag_networks_.append(_network(own, self.n_features_in_))
        self.coefs_, self.intercepts_ = side_by_side(self.bag_networks_)


def _named(network: tuple[Weights, Weights]) -> dict[str, Array]:
    layers = enumerate(zip(*network))
    return {f"{name}_{at}": part for at, layer in layers for name, part in zip(_PARTS, layer)}


def _network(arrays: dict[str, Array], n_inputs: int) -> tuple[Weights, Weights]:
    n_layers = len(arrays) // len(_PARTS)
    coefs, intercepts = ([arrays[f"{name}_{at}"] for at in range(n_layers)] for name in _PARTS)
    for at, (coef, intercept) in enumerate(zip(coefs, intercepts)):
        n_outputs = 1 if at == n_layers - 1 else len(intercept)
        saving.check_shape(coef, (n_inputs, n_outputs), f"coef_{at}")
        saving.check_shape(intercept, (n_outputs,), f"intercept_{at}")
        n_inputs = n_outputs
    return coefs, intercepts


@dataclass(frozen=True, eq=False)
class _Batch:
    """Transformed rows of some queries, the objective bound to them, and their target scale."""

    X: Features
    gradient_hessian: Callable[[Array], tuple[Array, Array]]
    scale: Array

    @classmethod
    def make(cls, X: Features, bound: Bound, total_weight: float, watch: Stopwatch) -> _Batch:
        scale = np.full(X.shape[0], X.shape[0] / total_weight, dtype=np.float32)
        return cls(X, watch.timed("gradient", bound.gradient_hessian), scale)


def _copied(network: tuple[Weights, Weights]) -> tuple[Weights, Weights]:
    return [w.copy() for w in network[0]], [b.copy() for b in network[1]]


def _set_learning_rate(network: MLPRegressor, rate: float) -> None:
    """Give the next steps another rate; scikit-learn's optimiser, made at the first step, has a copy."""
    network.learning_rate_init = rate
    optimiser = getattr(network, "_optimizer", None)
    if optimiser is not None:
        optimiser.learning_rate_init = rate


def _partial_fit(network: MLPRegressor, X: Features, y: Array) -> None:
    """One step. Ctrl-C in it counts when it is over: scikit-learn would make a warning of it, and go on."""
    with interrupts_held():
        network.partial_fit(X, y)


def _first_weights(network: MLPRegressor, X: Features) -> tuple[Weights, Weights]:
    """Initial weights of `network`: a copy takes one step too small to move any float32 weight."""
    twin = clone(network).set_params(solver="sgd", learning_rate_init=_STILL, batch_size=1)
    _partial_fit(twin, X[:1], np.zeros(1, dtype=np.float32))
    return twin.coefs_, twin.intercepts_


def _activate(name: str, values: Array) -> Array:
    if name == "relu":
        return np.maximum(values, 0, out=values)
    if name == "tanh":
        return np.tanh(values, out=values)
    if name == "logistic":
        return np.asarray(expit(values, out=values))
    return values
