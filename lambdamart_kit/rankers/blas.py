"""Matrix products of scorers, kept to one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run a block with BLAS on one thread.

    How BLAS splits a sum depends on its number of threads, and so would the last bit of every weight. The
    matrices of a mini-batch are too small to gain from more, and where other processes share the cores, BLAS
    threads that wait for each other were measured to cost 25 times the work.
    """
    with threadpool_limits(1, user_api="blas"):
        yield
