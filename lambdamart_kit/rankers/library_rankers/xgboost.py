"""XGBoost's own ranking objectives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import StrOptions

from lambdamart_kit.boosters.protocol import LibraryObjective
from lambdamart_kit.core.gains import gains
from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.core.typing import FloatArray, RandomState
from lambdamart_kit.rankers.columns.categories import Categorical
from lambdamart_kit.rankers.columns.constraints import Groups
from lambdamart_kit.rankers.library_rankers.labels import fractional
from lambdamart_kit.rankers.steering.parameters import Callbacks, EvalMetric
from lambdamart_kit.rankers.tree_ranker import TreeRanker

_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_XGBOOST_MAX_LABEL = 31


class XGBoostRanker(TreeRanker):
    """XGBoost's own ranking objectives.

    Parameters are those of `LambdaMART`, except that XGBoost has no ``min_child_samples``.

    Parameters
    ----------
    objective : {"rank:ndcg", "rank:pairwise", "rank:map"}
        "rank:map" needs labels 0 and 1.
    n_estimators : int
        Number of trees, at most.
    learning_rate : float
        Factor on the values of each tree's leaves, > 0.
    num_leaves : int
        Leaves of a tree, at most.
    max_depth : int, optional
        Depth of a tree; None for no limit.
    min_child_weight, min_split_gain : float
        Smallest sum of hessians in a leaf, and smallest gain for which a leaf is split.
    reg_lambda, reg_alpha : float
        L2 and L1 penalty on leaf values, >= 0.
    subsample, colsample_bytree, colsample_bynode : float
        Shares, in (0, 1], of the rows and features drawn for each tree, and of the features for each split.
    max_bin : int
        Bins a feature is cut into.
    monotone_constraints : array-like of {-1, 0, 1} or dict, optional
        Direction of each column, or by feature name.
    interaction_constraints : list of lists, "pairwise", "no_interactions" or None
        Groups of columns, by index or feature name, that may be split on along one path of a tree.
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
        Further settings in XGBoost's names, such as ``{"lambdarank_num_pair_per_sample": 10}``.
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

    References
    ----------
    Chen and Guestrin (2016), XGBoost: a scalable tree boosting system, KDD.

    Examples
    --------
    >>> import numpy as np
    >>> X, qid = np.random.default_rng(0).normal(size=(200, 3)), np.repeat(np.arange(20), 10)
    >>> ranker = XGBoostRanker(n_estimators=10, random_state=0).fit(X, X[:, 0] > 0, qid=qid)
    >>> ranker.score(X, X[:, 0] > 0, qid=qid)
    1.0
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **TreeRanker._parameter_constraints,
        "objective": [StrOptions({"rank:ndcg", "rank:pairwise", "rank:map"})],
    }

    def __init__(
        self,
        objective: str = "rank:ndcg",
        *,
        n_estimators: int = 300,
        learning_rate: float = 0.1,
        num_leaves: int = 31,
        max_depth: int | None = None,
        min_child_weight: float = 1e-3,
        min_split_gain: float = 0.0,
        reg_lambda: float = 0.0,
        reg_alpha: float = 0.0,
        subsample: float = 1.0,
        colsample_bytree: float = 1.0,
        colsample_bynode: float = 1.0,
        max_bin: int = 255,
        monotone_constraints: Sequence[int] | Mapping[str, int] | None = None,
        interaction_constraints: Groups = None,
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
        self.objective = objective
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.max_depth = max_depth
        self.min_child_weight = min_child_weight
        self.min_split_gain = min_split_gain
        self.reg_lambda = reg_lambda
        self.reg_alpha = reg_alpha
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.colsample_bynode = colsample_bynode
        self.max_bin = max_bin
        self.monotone_constraints = monotone_constraints
        self.interaction_constraints = interaction_constraints
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
        return "xgboost"

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
        y = train.y
        options: dict[str, Any] = {}
        if self.objective == "rank:map" and labels.max() > 1:
            raise ValueError(
                f"'y' must hold only 0 and 1 with objective='rank:map'; got {labels.max():g}; "
                "use (y >= threshold), or LambdaMART(objective='map')"
            )
        unusual = fractional(labels) or labels.max() > _XGBOOST_MAX_LABEL
        own_gain = "ndcg_exp_gain" in (self.booster_params or {})
        if self.objective == "rank:ndcg" and unusual and not own_gain:
            # Pass 2^y - 1 as labels and switch XGBoost's own exponential gain off: the same gains, without
            # its limit on labels. XGBoost keeps labels in float32. Where gains leave its range they are
            # divided by the largest, because NDCG depends on their ratios only.
            y = gains(y)
            largest = float(np.exp2(labels.max()))
            if largest > _LARGEST_FLOAT32:
                y = y / largest
            options = {"ndcg_exp_gain": False}
        return LibraryObjective(self.objective, y, train.queries, train.sample_weight, options)
