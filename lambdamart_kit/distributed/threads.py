"""How many threads a task may use."""

from __future__ import annotations

import distributed

from lambdamart_kit.runtime.threads import resolve_n_jobs


def own_threads(n_jobs: int | None) -> int:
    """`n_jobs`; None for the threads of the worker this runs on, or of the process outside of workers."""
    if n_jobs is not None:
        return resolve_n_jobs(n_jobs)
    try:
        return int(distributed.get_worker().state.nthreads)
    except ValueError:
        return resolve_n_jobs(None)
