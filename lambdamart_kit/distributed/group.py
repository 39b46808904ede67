"""The workers of one fit, as each of them sees it: sums over all, and a common end if one fails.

Both libraries exchange their histograms by themselves. What the kit adds to every round (a metric's two
sums, whether anybody failed) goes through XGBoost's collective library, for either booster.

References
----------
XGBoost's collective API: ``xgboost.collective`` and ``xgboost.tracker.RabitTracker``.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import lightgbm as lgb
import numpy as np
import xgboost as xgb
from xgboost import collective
from xgboost.tracker import RabitTracker

from lambdamart_kit.boosters.rounds import Evaluation, Stopwatch
from lambdamart_kit.core.typing import Array, Float32Array, Settings
from lambdamart_kit.metrics import BoundMetric
from lambdamart_kit.metrics.base import mean_of_sums
from lambdamart_kit.objectives import Bound

_PATIENCE = 3600  # seconds to wait for the slowest worker of an exchange; XGBoost's own default is 300
_NETWORK = {"machines": "", "num_machines": "1", "local_listen_port": "12400", "tree_learner": "serial"}


class PeerFailedError(RuntimeError):
    """Another worker of the same fit failed; its own error has the reason."""


class Group:
    """The workers of one fit.

    Attributes
    ----------
    rank : int
        This worker, from 0.
    size : int
        How many there are. A group of one exchanges nothing, so its model is the local one.
    """

    def __init__(self, rank: int, size: int, host: str) -> None:
        self.rank = rank
        self.size = size
        self._host = host
        self._failure: Exception | None = None

    def sum(self, values: Array) -> Array:
        """Sum of each entry over all workers; float64 (n,)."""
        values = np.asarray(values, dtype=np.float64)
        return values if self.size == 1 else collective.allreduce(values, collective.Op.SUM)

    def gather(self, item: Any) -> list[Any]:
        """The `item` of each worker, by rank."""
        if self.size == 1:
            return [item]
        return [collective.broadcast(item if root == self.rank else None, root) for root in range(self.size)]

    def note(self, failure: Exception) -> None:
        """Remember that this worker failed; it goes on with neutral values to the next :meth:`agree`."""
        self._failure = self._failure or failure

    def agree(self) -> None:
        """Raise on every worker if any has noted a failure: its own there, PeerFailedError elsewhere.

        Leaving an exchange half way would leave the others waiting in it, so failures wait for this call.
        """
        if self.sum(np.array([self._failure is not None]))[0] == 0:
            return
        raise self._failure or PeerFailedError("another worker of this fit failed")

    @contextmanager
    def lightgbm_network(self) -> Iterator[Settings]:
        """LightGBM's settings for this group; its sockets are closed at the end."""
        if self.size == 1:
            yield {}
            return
        with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as held:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(("", 0))  # a free port, kept until all workers know it
            port = held.getsockname()[1]
            machines = self.gather(f"{self._host}:{port}")
        try:
            yield {
                "tree_learner": "data",
                "machines": ",".join(machines),
                "num_machines": self.size,
                "local_listen_port": port,
                "time_out": _PATIENCE // 60,
                "pre_partition": True,
            }
        finally:
            # LightGBM keeps the network open for the thread, and the thread's next fit would wait for it.
            library = lgb.basic._LIB  # type: ignore[attr-defined]
            lgb.basic._safe_call(library.LGBM_NetworkFree())


@contextmanager
def join(rank: int, size: int, tracker: Settings | None, host: str) -> Iterator[Group]:
    """Be worker `rank` of `size`, which find each other through `tracker` (of :func:`start_tracker`)."""
    if tracker is None or size == 1:
        yield Group(0, 1, host)
        return
    # Ranks follow the sorted task ids.
    arguments = {**tracker, "dmlc_task_id": f"{rank:06d}", "dmlc_timeout": _PATIENCE}
    with xgb.config_context(verbosity=0), collective.CommunicatorContext(**arguments):
        yield Group(rank, size, host)


def start_tracker(size: int, host: str) -> tuple[RabitTracker, Settings]:
    """Start what introduces the workers to each other; the object is to be kept until they are done."""
    tracker = RabitTracker(n_workers=size, host_ip=host, sortby="task")
    tracker.start()
    return tracker, tracker.worker_args()


class GuardedBound:
    """A bound objective whose failure waits for the end of the round: see :meth:`Group.agree`."""

    def __init__(self, bound: Bound, group: Group, watch: Stopwatch) -> None:
        self._compute = watch.timed("gradient", bound.gradient_hessian)
        self._group = group

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian; zeros after a failure."""
        try:
            return self._compute(scores)
        except Exception as error:
            self._group.note(error)
            return np.zeros_like(scores), np.zeros_like(scores)


class GroupMetric:
    """The mean of a metric over the held-out queries of all workers, on each worker.

    ::

        mean = (sum over workers of sum w_q m_q) / (sum over workers of sum w_q)
    """

    def __init__(self, bound: BoundMetric, group: Group) -> None:
        self._bound = bound
        self._group = group

    def __call__(self, scores: Array) -> float:
        """The mean; also ends the round on all workers if one has failed."""
        sums = (0.0, 0.0)
        try:
            sums = self._bound.sums(scores)
        except Exception as error:
            self._group.note(error)
        weighted, total = self._group.sum(np.array(sums))
        return mean_of_sums(weighted, total, str(self._bound.metric))


class EndTogether:
    """Callback: every round ends with :meth:`Group.agree`."""

    def __init__(self, group: Group) -> None:
        self._group = group

    def __call__(self, n_rounds: int, evaluation: Evaluation) -> bool:
        """Raise if a worker failed; never stops."""
        self._group.agree()
        return False


def without_network(model: bytes) -> bytes:
    """A LightGBM model's text without the addresses it was trained at."""
    text = model.decode()
    for name, value in _NETWORK.items():
        text = re.sub(rf"^\[{name}: .*\]$", f"[{name}: {value}]", text, flags=re.MULTILINE)
    return text.encode()
