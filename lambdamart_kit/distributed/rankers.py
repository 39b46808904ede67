"""Rankers that fit on a Dask cluster and end as ordinary ones."""

from __future__ import annotations

from typing import Any, ClassVar

from lambdamart_kit.boosters.registry import boosters_that_can
from lambdamart_kit.distributed.base import DaskRanker
from lambdamart_kit.objectives import names_rows, resolve_objective
from lambdamart_kit.rankers.lambdamart import LambdaMART
from lambdamart_kit.rankers.library_rankers import LightGBMRanker, XGBoostRanker
from lambdamart_kit.rankers.tree_ranker import RegisteredNames, TreeRanker


class DaskLambdaMART(DaskRanker, LambdaMART):
    """LambdaMART on a Dask cluster: any objective of the kit, on XGBoost's or LightGBM's trees.

    Every worker gets whole queries, computes the objective's gradient on its own, and grows the same trees as
    the others from the sum of all histograms. What travels while trees grow is histograms, not rows.

    Parameters
    ----------
    objective : str or objective
        As in `LambdaMART`. Not a function of all rows, nor `ExplicitPairs`: no worker has all rows.
    booster : {"xgboost", "lightgbm"}
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
    **parameters
        Those of `LambdaMART`, by the same names. `n_jobs` is threads a worker, None for the worker's own
        number. `validation_fraction` draws each query by its id, so the draw does not depend on the number
        of workers; it is not the local draw.

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
    shuffle, checkpoint, checkpoint_trees, retries
        As in `DaskLambdaMART`.
    **parameters
        Those of `XGBoostRanker`, by the same names.

    See Also
    --------
    DaskLambdaMART : what is guaranteed.
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
    shuffle, checkpoint, checkpoint_trees, retries
        As in `DaskLambdaMART`.
    **parameters
        Those of `LightGBMRanker`, by the same names.

    See Also
    --------
    DaskLambdaMART : what is guaranteed.
    """

    _local: ClassVar[type[TreeRanker]] = LightGBMRanker
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **LightGBMRanker._parameter_constraints,
        **DaskRanker._dask_constraints,
    }

    def __init__(self, objective: str = "lambdarank", **parameters: Any) -> None:
        super().__init__(objective, **parameters)
