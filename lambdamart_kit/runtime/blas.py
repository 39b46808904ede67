"""Small matrix products and factors, kept to one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run a block with BLAS on one thread.

    How BLAS splits a sum depends on its number of threads, and so would the last bit of every weight. The
    matrices of a mini-batch or of a hundred items are too small to gain from more, and where other processes
    share the cores, BLAS threads that wait for each other were measured to cost 25 to 100 times the work.
    """
    with _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> ThreadpoolController:
    # Looking through the loaded libraries takes 3 ms; NumPy's and SciPy's are there from the start.
    return ThreadpoolController()
