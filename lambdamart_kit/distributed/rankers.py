"""Rankers that fit on a Dask cluster and end as ordinary ones."""

from __future__ import annotations

from typing import Any, ClassVar

from lambdamart_kit.boosters.registry import boosters_that_can
from lambdamart_kit.distributed.base import DaskRanker
from lambdamart_kit.objectives import names_rows, resolve_objective
from lambdamart_kit.rankers.lambdamart import LambdaMART
from lambdamart_kit.rankers.library_rankers import LightGBMRanker, XGBoostRanker
from lambdamart_kit.rankers.steering.parameters import RegisteredNames
from lambdamart_kit.rankers.tree_ranker import TreeRanker


class DaskLambdaMART(DaskRanker, LambdaMART):
    """LambdaMART on a Dask cluster: any objective of the kit, on XGBoost's or LightGBM's trees.

    Every worker gets whole queries, computes the objective's gradient on its own, and grows the same trees as
    the others from the sum of all histograms. What travels while trees grow is histograms, not rows.

    Parameters
    ----------
    objective : str or objective
        As in `LambdaMART`. Not a function of all rows, nor `ExplicitPairs`: no worker has all rows.
    booster : {"xgboost", "lightgbm"}
        Whose trees.
    shuffle : bool
        Whether to move rows so that each query is on one worker. With False, partitions must be whole queries
        (which is checked) and go to workers as they are.
    checkpoint : path, optional
        File of the client to save the trees to while they grow, an ordinary model file; a fit that finds one
        of the same parameters and rows goes on from it.
    checkpoint_trees : int
        How many trees a lost worker may cost.
    retries : int
        How often to go on by itself when a worker is lost, with the workers there are, instead of raising
        `WorkerLostError`.
    n_estimators : int
        Number of trees, at most.
    learning_rate : float
        Factor on the values of each tree's leaves, > 0.
    num_leaves : int
        Leaves of a tree, at most.
    max_depth : int, optional
        Depth of a tree; None for no limit.
    min_child_samples : int, optional
        Smallest number of documents in a leaf; None for the library's own.
    min_child_weight : float
        Smallest sum of hessians in a leaf.
    min_split_gain : float
        Smallest gain for which a leaf is split, >= 0.
    reg_lambda : float
        L2 penalty on leaf values, >= 0.
    reg_alpha : float
        L1 penalty on leaf values, >= 0.
    subsample : float
        Share of the rows drawn for each tree, in (0, 1].
    colsample_bytree : float
        Share of the features drawn for each tree, in (0, 1].
    colsample_bynode : float
        Share of the features drawn for each split, in (0, 1].
    max_bin : int
        Bins a feature is cut into.
    monotone_constraints : array-like of {-1, 0, 1} or dict, optional
        Direction of each column, or by feature name.
    interaction_constraints : list of lists, "pairwise", "no_interactions" or None
        Groups of columns, by index or feature name, that may be split on along one path of a tree.
    categorical_features : "auto", array-like or None
        Columns that are categories, by index or name; "auto" takes a DataFrame's category columns.
    split_criterion : {"newton", "least_squares"}
        What splits maximise; "least_squares" is for native trees only.
    n_bags : int
        Number of models, each fitted on a draw of the queries, whose mean is the fitted one.
    early_stopping_rounds : int, optional
        Stop after so many rounds without a better `eval_metric` on held-out queries.
    validation_fraction : float, optional
        Share of the queries to hold out. Each is drawn by its id, so the draw does not depend on the number
        of workers.
    eval_metric : str or Metric
        Measured on held-out queries after every round.
    min_delta : float
        With early stopping, a round is better only if the metric is better by more than this, >= 0.
    track_training : bool
        Must be False on a cluster.
    callbacks : None
        Not on a cluster.
    booster_params : dict, optional
        Further settings in the library's own names.
    position_bias : str, array-like, callable or PositionBias
        How to learn from clicks, when fit gets `position`.
    warm_start : bool
        Keep the trees of the last fit and add to them up to `n_estimators`.
    random_state : int, RandomState or None
        Seed of all draws; None draws differently every time.
    n_jobs : int, optional
        Threads of each worker; None for the worker's own number.
    verbose : int
        1 shows progress and the running metric on stderr.

    Attributes
    ----------
    workers_ : dict
        Training rows of each worker, by its name.

    Notes
    -----
    The result is the same for the same rows, parameters and number of workers. With one worker it is the
    local model, bit for bit. With several:

    - XGBoost merges quantile sketches, so bin edges, and with them trees, differ a little from the local
      ones where a feature has more than `max_bin` distinct values. With fewer the edges are equal, and the
      trees too, up to the order in which floats are summed (which can decide between two splits that are
      equally good). With ``subsample`` < 1 workers draw rows by themselves.
    - LightGBM finds the edges of each feature from the rows of one worker, so they differ in general.

    See Also
    --------
    LambdaMART : parameters and fitted attributes.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from distributed import Client
    >>> rng = np.random.default_rng(0)
    >>> X, qid = rng.normal(size=(400, 4)), np.repeat(np.arange(40), 10)
    >>> y = (X[:, 0] + X[:, 1] > 1).astype(int)
    >>> dX, dy, dqid = (da.from_array(a, chunks=100) for a in (X, y, qid))
    >>> with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None):
    ...     ranker = DaskLambdaMART(n_estimators=20, random_state=0).fit(dX, dy, qid=dqid)
    ...     ranker.score(dX, dy, qid=dqid) > 0.9
    True
    >>> ranker.to_local()
    LambdaMART(booster='xgboost', n_estimators=20, random_state=0)
    """

    _local: ClassVar[type[TreeRanker]] = LambdaMART
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **LambdaMART._parameter_constraints,
        **DaskRanker._dask_constraints,
        "booster": [RegisteredNames(lambda: boosters_that_can("network"))],
    }

    def __init__(self, objective: Any = "ndcg", *, booster: str = "xgboost", **parameters: Any) -> None:
        super().__init__(objective, booster=booster, **parameters)

    def _template(self, columns: Any) -> TreeRanker:
        if names_rows(resolve_objective(self.objective)):
            raise ValueError(
                "'objective' must not speak of rows by their number on a cluster, where no worker has all of "
                f"them; got {self.objective!r}; an objective with 'bind' gets the labels and queries it needs"
            )
        return super()._template(columns)


class DaskXGBoostRanker(DaskRanker, XGBoostRanker):
    """XGBoost's own ranking objectives on a Dask cluster.

    Parameters
    ----------
    objective : {"rank:ndcg", "rank:pairwise", "rank:map"}
        As in `XGBoostRanker`.
    shuffle : bool
        Whether to move rows so that each query is on one worker; False takes partitions of whole queries as
        they are.
    checkpoint : path, optional
        File of the client to save the trees to while they grow, from which a fit goes on.
    checkpoint_trees : int
        How many trees a lost worker may cost.
    retries : int
        How often to go on by itself when a worker is lost.
    n_estimators : int
        Number of trees, at most.
    learning_rate : float
        Factor on the values of each tree's leaves, > 0.
    num_leaves : int
        Leaves of a tree, at most.
    max_depth : int, optional
        Depth of a tree; None for no limit.
    min_child_weight : float
        Smallest sum of hessians in a leaf.
    min_split_gain : float
        Smallest gain for which a leaf is split, >= 0.
    reg_lambda : float
        L2 penalty on leaf values, >= 0.
    reg_alpha : float
        L1 penalty on leaf values, >= 0.
    subsample : float
        Share of the rows drawn for each tree, in (0, 1].
    colsample_bytree : float
        Share of the features drawn for each tree, in (0, 1].
    colsample_bynode : float
        Share of the features drawn for each split, in (0, 1].
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
        Share of the queries to hold out. Each is drawn by its id, so the draw does not depend on the number
        of workers.
    eval_metric : str or Metric
        Measured on held-out queries after every round.
    min_delta : float
        With early stopping, a round is better only if the metric is better by more than this, >= 0.
    track_training : bool
        Must be False on a cluster.
    callbacks : None
        Not on a cluster.
    booster_params : dict, optional
        Further settings in the library's own names.
    warm_start : bool
        Keep the trees of the last fit and add to them up to `n_estimators`.
    random_state : int, RandomState or None
        Seed of all draws; None draws differently every time.
    n_jobs : int, optional
        Threads of each worker; None for the worker's own number.
    verbose : int
        1 shows progress and the running metric on stderr.

    See Also
    --------
    DaskLambdaMART : what is guaranteed.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from distributed import Client
    >>> X, qid = np.random.default_rng(0).normal(size=(400, 3)), np.repeat(np.arange(40), 10)
    >>> dX, dy, dqid = (da.from_array(a, chunks=100) for a in (X, (X[:, 0] > 0).astype(int), qid))
    >>> with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None):
    ...     DaskXGBoostRanker(n_estimators=5, random_state=0).fit(dX, dy, qid=dqid).to_local()
    XGBoostRanker(n_estimators=5, random_state=0)
    """

    _local: ClassVar[type[TreeRanker]] = XGBoostRanker
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **XGBoostRanker._parameter_constraints,
        **DaskRanker._dask_constraints,
    }

    def __init__(self, objective: str = "rank:ndcg", **parameters: Any) -> None:
        super().__init__(objective, **parameters)


class DaskLightGBMRanker(DaskRanker, LightGBMRanker):
    """LightGBM's own ranking objectives on a Dask cluster.

    Parameters
    ----------
    objective : {"lambdarank", "rank_xendcg", "regression"}
        As in `LightGBMRanker`.
    shuffle : bool
        Whether to move rows so that each query is on one worker; False takes partitions of whole queries as
        they are.
    checkpoint : path, optional
        File of the client to save the trees to while they grow, from which a fit goes on.
    checkpoint_trees : int
        How many trees a lost worker may cost.
    retries : int
        How often to go on by itself when a worker is lost.
    n_estimators : int
        Number of trees, at most.
    learning_rate : float
        Factor on the values of each tree's leaves, > 0.
    num_leaves : int
        Leaves of a tree, at most.
    max_depth : int, optional
        Depth of a tree; None for no limit.
    min_child_samples : int, optional
        Smallest number of documents in a leaf; None for the library's own.
    min_child_weight : float
        Smallest sum of hessians in a leaf.
    min_split_gain : float
        Smallest gain for which a leaf is split, >= 0.
    reg_lambda : float
        L2 penalty on leaf values, >= 0.
    reg_alpha : float
        L1 penalty on leaf values, >= 0.
    subsample : float
        Share of the rows drawn for each tree, in (0, 1].
    colsample_bytree : float
        Share of the features drawn for each tree, in (0, 1].
    colsample_bynode : float
        Share of the features drawn for each split, in (0, 1].
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
        Share of the queries to hold out. Each is drawn by its id, so the draw does not depend on the number
        of workers.
    eval_metric : str or Metric
        Measured on held-out queries after every round.
    min_delta : float
        With early stopping, a round is better only if the metric is better by more than this, >= 0.
    track_training : bool
        Must be False on a cluster.
    callbacks : None
        Not on a cluster.
    booster_params : dict, optional
        Further settings in the library's own names.
    warm_start : bool
        Keep the trees of the last fit and add to them up to `n_estimators`.
    random_state : int, RandomState or None
        Seed of all draws; None draws differently every time.
    n_jobs : int, optional
        Threads of each worker; None for the worker's own number.
    verbose : int
        1 shows progress and the running metric on stderr.

    See Also
    --------
    DaskLambdaMART : what is guaranteed.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from distributed import Client
    >>> X, qid = np.random.default_rng(0).normal(size=(400, 3)), np.repeat(np.arange(40), 10)
    >>> dX, dy, dqid = (da.from_array(a, chunks=100) for a in (X, (X[:, 0] > 0).astype(int), qid))
    >>> with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None):
    ...     DaskLightGBMRanker(n_estimators=5, random_state=0).fit(dX, dy, qid=dqid).to_local()
    LightGBMRanker(n_estimators=5, random_state=0)
    """

    _local: ClassVar[type[TreeRanker]] = LightGBMRanker
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **LightGBMRanker._parameter_constraints,
        **DaskRanker._dask_constraints,
    }

    def __init__(self, objective: str = "lambdarank", **parameters: Any) -> None:
        super().__init__(objective, **parameters)
