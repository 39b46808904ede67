"""CatBoost's own ranking losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

from sklearn.utils._param_validation import Interval

from lambdamart_kit.boosters.protocol import LibraryObjective
from lambdamart_kit.boosters.settings import BoosterParams
from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.core.typing import FloatArray, RandomState
from lambdamart_kit.rankers.columns.categories import Categorical
from lambdamart_kit.rankers.steering.parameters import Callbacks, EvalMetric
from lambdamart_kit.rankers.tree_ranker import TreeRanker


class CatBoostRanker(TreeRanker):
    """CatBoost's own ranking losses (needs ``pip install 'lambdamart-kit[catboost]'``).

    Parameters
    ----------
    loss : str
        "YetiRank", "YetiRankPairwise", "PairLogit", "PairLogitPairwise", "QuerySoftMax", "QueryRMSE",
        "StochasticRank:metric=NDCG", or another that CatBoost knows; options after a colon, as in CatBoost.
    n_estimators : int
        Number of trees, at most.
    learning_rate : float
        Factor on the values of each tree's leaves, > 0.
    num_leaves : int, optional
        None for symmetric trees of `max_depth` levels (6 unless given), CatBoost's own default; a number for
        trees grown leaf by leaf, which the "...Pairwise" losses do not have.
    max_depth : int, optional
        Depth of a tree; None for no limit.
    min_child_samples : int, optional
        Smallest number of documents in a leaf; None for the library's own.
    reg_lambda : float
        L2 penalty; 3 as in CatBoost.
    subsample : float
        Share of the rows drawn for each tree, in (0, 1].
    colsample_bynode : float
        Share of the features drawn for each split, in (0, 1].
    max_bin : int
        Bins a feature is cut into.
    monotone_constraints : array-like of {-1, 0, 1} or dict, optional
        Direction of each column, or by feature name.
    categorical_features : "auto", array-like or None
        Columns that are categories, by index or name; "auto" takes a DataFrame's category columns.
    n_bags : int
        Number of models, each fitted on a draw of the queries, whose mean is the fitted one.
    early_stopping_rounds : int, optional
        Stop after so many rounds without a better `eval_metric` on held-out queries.
    validation_fraction : float, optional
        Share of the queries to hold out when fit gets no X_val.
    eval_metric : str, Metric, or list of them
        Measured on held-out queries after every round; the first one decides when to stop.
    min_delta : float
        With early stopping, a round is better only if the metric is better by more than this, >= 0.
    track_training : bool
        Whether the training rows are measured too: ``evals_result_["training"]``.
    callbacks : list of callable, optional
        Each is called after every round with a `TrainingEvent`, and stops training if it returns True;
        ready-made are `stop_after`, `schedule`, `prune`, `log_to_mlflow` and `log_to_jsonl`.
    booster_params : dict, optional
        Further settings in CatBoost's names.
    warm_start : bool
        Keep the trees of the last fit and add to them up to `n_estimators`.
    random_state : int, RandomState or None
        Seed of all draws; None draws differently every time.
    n_jobs : int, optional
        Threads; None for all.
    verbose : int
        1 shows progress and the running metric on stderr.

    See Also
    --------
    LambdaMART : for the other parameters and the fitted attributes.

    Notes
    -----
    ``feature_importances_`` are CatBoost's "PredictionValuesChange": it keeps no split gains.

    References
    ----------
    Gulin, Kuralenok and Pavlov (2011), Winning the transfer learning track of Yahoo!'s learning to rank
    challenge with YetiRank, JMLR W&CP 14.

    Examples
    --------
    >>> import numpy as np
    >>> X, qid = np.random.default_rng(0).normal(size=(200, 3)), np.repeat(np.arange(20), 10)
    >>> ranker = CatBoostRanker(n_estimators=10, random_state=0)
    >>> ranker.fit(X, X[:, 0] > 0, qid=qid).score(X, X[:, 0] > 0, qid=qid) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{
            name: constraint
            for name, constraint in TreeRanker._parameter_constraints.items()
            if name not in ("min_child_weight", "min_split_gain", "reg_alpha", "colsample_bytree")
        },
        "loss": [str],
        "num_leaves": [Interval(Integral, 2, None, closed="left"), None],
        "min_child_samples": [Interval(Integral, 1, None, closed="left"), None],
        "reg_lambda": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        loss: str = "YetiRank",
        *,
        n_estimators: int = 300,
        learning_rate: float = 0.1,
        num_leaves: int | None = None,
        max_depth: int | None = None,
        min_child_samples: int | None = None,
        reg_lambda: float = 3.0,
        subsample: float = 1.0,
        colsample_bynode: float = 1.0,
        max_bin: int = 254,
        monotone_constraints: Sequence[int] | Mapping[str, int] | None = None,
        categorical_features: Categorical = "auto",
        n_bags: int = 1,
        early_stopping_rounds: int | None = None,
        validation_fraction: float | None = None,
        eval_metric: EvalMetric = "ndcg@10",
        min_delta: float = 0.0,
        track_training: bool = False,
        callbacks: Callbacks = None,
        booster_params: Mapping[str, Any] | None = None,
        warm_start: bool = False,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.loss = loss
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.max_depth = max_depth
        self.min_child_samples = min_child_samples
        self.reg_lambda = reg_lambda
        self.subsample = subsample
        self.colsample_bynode = colsample_bynode
        self.max_bin = max_bin
        self.monotone_constraints = monotone_constraints
        self.categorical_features = categorical_features
        self.n_bags = n_bags
        self.early_stopping_rounds = early_stopping_rounds
        self.validation_fraction = validation_fraction
        self.eval_metric = eval_metric
        self.min_delta = min_delta
        self.track_training = track_training
        self.callbacks = callbacks
        self.booster_params = booster_params
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    @property
    def booster_name(self) -> str:
        """Key in `BOOSTERS`."""
        return "catboost"

    def booster_settings(self, n_estimators: int, n_before: int = 0) -> BoosterParams:
        """See `TreeRanker.booster_settings`.

        Parameters
        ----------
        n_estimators : int
            Number of trees to grow.
        n_before : int
            Trees that there are already, which a schedule of the learning rate counts.

        Returns
        -------
        BoosterParams
            The estimator's parameters, checked.
        """
        params = super().booster_settings(n_estimators, n_before)
        if params.num_leaves is None and params.min_child_samples is not None:
            raise ValueError(
                "'min_child_samples' needs 'num_leaves' with CatBoost: symmetric trees have no smallest leaf"
            )
        return params

    def bind_part(self, train: OrderedRows, labels: FloatArray) -> LibraryObjective:
        """See `TreeRanker.bind_part`.

        Parameters
        ----------
        train : OrderedRows
            The whole queries to bind to.
        labels : (n_samples,) array
            Labels of all rows, of other parts too, by which labels are checked and mapped.

        Returns
        -------
        LibraryObjective
            Name, labels and settings for the library.
        """
        return LibraryObjective(self.loss, train.y, train.queries, train.sample_weight, {})
