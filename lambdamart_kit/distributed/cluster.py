"""The cluster as the client sees it: its workers, lost workers, and results of tasks."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import distributed

from lambdamart_kit.core.typing import Settings
from lambdamart_kit.distributed.errors import WorkerLostError
from lambdamart_kit.distributed.group import PeerFailedError
from lambdamart_kit.distributed.worker import introduce, versions

_POLL_SECONDS = 0.2
_LOOK_SECONDS = 1.0  # between looks at who is still there
_GRACE_SECONDS = 15.0  # for the others to notice that one has failed


@dataclass(frozen=True)
class Worker:
    """A worker process.

    Attributes
    ----------
    name : str
    address : str
    id : str
        Of this process: a worker that was started anew has another one.
    has_nanny : bool
        Whether something starts it anew when it ends.
    memory_limit : int
        Bytes; 0 for none.
    """

    name: str
    address: str
    id: str
    has_nanny: bool
    memory_limit: int

    def __str__(self) -> str:
        return f"{self.name!r} ({self.address})"


class Cluster:
    """A client's cluster."""

    def __init__(self, client: Any = None) -> None:
        self.client = client or _default_client()

    def workers(self) -> list[Worker]:
        """All workers in the order of their names, after a check that they run what the client runs.

        Raises
        ------
        RuntimeError
            If there are none, or one has other versions than the client.
        """
        known = self._listed()
        if not known:
            raise RuntimeError(
                "the cluster must have workers; it has none; start some, then client.wait_for_workers(n)"
            )
        listed = [
            Worker(
                str(entry["name"]), address, "", bool(entry.get("nanny")), int(entry.get("memory_limit") or 0)
            )
            for address, entry in known.items()
        ]
        listed.sort(key=_by_name)
        # Tasks, not client.run: the first call imports the libraries, which would block the event loop.
        asked = [self.client.submit(introduce, workers=[w.address], pure=False) for w in listed]
        answers = self.results(asked, listed, doing="it was asked for its versions")
        found = [replace(w, id=answer[0]) for w, answer in zip(listed, answers)]
        _check_versions(found, {w.address: answer[1] for w, answer in zip(found, answers)})
        return found

    def has(self, address: str) -> bool:
        """Whether there is a worker at this address."""
        return address in self._listed()

    def wait_for(self, n_workers: int, seconds: float) -> None:
        """Give workers that are being started anew some time to come back."""
        end = time.monotonic() + seconds
        while len(self._listed()) < n_workers and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)

    def results(
        self,
        futures: Sequence[Any],
        workers: Sequence[Worker],
        *,
        doing: str,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> list[Any]:
        """Results of `futures`; future i runs on ``workers[i]``, or anywhere if there are no `workers`.

        Raises
        ------
        WorkerLostError
            If one of `workers` left.
        Exception
            What a task raised: the cause, where others failed because of it.
        """
        looked_at = failed_at = time.monotonic()
        while any(f.status == "pending" for f in futures):
            _wait_a_little(futures)
            meanwhile()
            now = time.monotonic()
            failed = any(f.status == "error" for f in futures)
            failed_at = failed_at if failed else now
            if now - looked_at > _LOOK_SECONDS or failed:
                looked_at = now
                self._check_all_there(futures, workers, doing)
            if now - failed_at > _GRACE_SECONDS:
                break
        meanwhile()
        errors = [f.exception() for f in futures if f.status == "error"]
        if errors:
            self._check_all_there(futures, workers, doing)
            self._release(futures, workers)
            raise _cause(errors)
        return self.client.gather(list(futures))

    def _check_all_there(self, futures: Sequence[Any], workers: Sequence[Worker], doing: str) -> None:
        listed = self._listed() if workers else {}
        lost = [worker for worker in workers if worker.address not in listed]
        if not lost:
            return
        stuck = self._release(futures, [w for w in workers if w not in lost])
        limit = lost[0].memory_limit
        reason = "killed, out of memory" + (f" (limit {limit / 2**30:.2g} GiB)" if limit else "")
        message = (
            f"worker {', '.join(map(str, lost))} was lost while {doing}: {reason}, or unreachable; its log, "
            "or the scheduler's, has more"
        )
        if stuck:
            message += f"; {', '.join(map(str, stuck))} did not notice, has no nanny and must be started anew"
        raise WorkerLostError(message, tuple(map(str, lost)), 0)

    def _release(self, futures: Sequence[Any], workers: Sequence[Worker]) -> list[Worker]:
        """Free `workers` of what they still wait in; those that could not be.

        Usually the library has noticed that its peer is gone and given up; one that did not is started anew
        by its nanny.
        """
        mine = dict(zip([w.address for w in workers], workers))
        end = time.monotonic() + _GRACE_SECONDS
        while (busy := self._busy(futures, mine)) and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
        self.client.cancel(list(futures), force=True)
        guarded = [w for w in busy if w.has_nanny]
        if guarded:
            self.client.restart_workers([w.address for w in guarded], timeout=60, raise_for_error=False)
        return [w for w in busy if not w.has_nanny]

    def _busy(self, futures: Sequence[Any], workers: dict[str, Worker]) -> list[Worker]:
        keys = {f.key for f in futures if f.status == "pending"}
        running = self.client.processing(list(workers)) if keys else {}
        return [w for address, w in workers.items() if keys & set(running.get(address, ()))]

    def _listed(self) -> Settings:
        # client.scheduler_info keeps the answer where a periodic refresh, without workers, may replace it
        # before it is returned (dask 2026.8): no worker would seem to be there.
        return dict(self.client.sync(self.client.scheduler.identity, n_workers=-1)["workers"])


def _by_name(worker: Worker) -> tuple[bool, int, str, str]:
    number = int(worker.name) if worker.name.isdigit() else 0
    return not worker.name.isdigit(), number, worker.name, worker.address


def _default_client() -> Any:
    try:
        return distributed.default_client()
    except ValueError:
        raise RuntimeError(
            "a Dask client must be there to fit: client = distributed.Client(...), of a cluster or its "
            "scheduler's address; got none"
        ) from None


def _wait_a_little(futures: Sequence[Any]) -> None:
    pending = [f for f in futures if f.status == "pending"]
    with suppress(TimeoutError):
        distributed.wait(pending, timeout=_POLL_SECONDS, return_when="FIRST_COMPLETED")


def _check_versions(workers: Sequence[Worker], found: dict[str, dict[str, str]]) -> None:
    """Raise if a worker has other versions than the client, which could give another model."""
    own = versions()
    different = [
        f"worker {worker} has {package} {found[worker.address].get(package, 'missing')}, the client {ours}"
        for worker in workers
        for package, ours in own.items()
        if found[worker.address].get(package, "missing") != ours
    ]
    if different:
        raise RuntimeError(
            f"all workers must have the client's versions; {'; '.join(different[:5])}"
            f"{'; ...' if len(different) > 5 else ''}; install the same versions everywhere"
        )


def _cause(errors: Sequence[BaseException]) -> BaseException:
    """The error that started it all, rather than one that reports the failure of another worker."""
    from xgboost.core import XGBoostError

    def follows(error: BaseException) -> bool:
        broken = isinstance(error, XGBoostError) and "ollective" in str(error)
        return broken or isinstance(error, PeerFailedError) or "Socket recv error" in str(error)

    return min(errors, key=follows)
