"""Past one machine: the kit's rankers and metrics on a Dask cluster (extra ``[dask]``).

`DaskLambdaMART`, `DaskXGBoostRanker` and `DaskLightGBMRanker` fit on Dask arrays, DataFrames or files, and
end as ordinary single-machine models; `evaluate` and the functions of
:mod:`lambdamart_kit.distributed.metrics` measure Dask collections. See docs/scaling.md for what
to use when, and what it costs.
"""

from __future__ import annotations

try:
    import dask.array
    import dask.dataframe  # noqa: F401
    import distributed.client  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"lambdamart_kit.distributed needs Dask ({error}); install it: pip install 'lambdamart-kit[dask]'"
    ) from error

from lambdamart_kit.distributed.errors import WorkerLostError
from lambdamart_kit.distributed.metrics import evaluate
from lambdamart_kit.distributed.rankers import DaskLambdaMART, DaskLightGBMRanker, DaskXGBoostRanker

__all__ = ["DaskLambdaMART", "DaskLightGBMRanker", "DaskXGBoostRanker", "WorkerLostError", "evaluate"]
