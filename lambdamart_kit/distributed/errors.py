"""Errors of fits on a cluster."""

from __future__ import annotations


class WorkerLostError(RuntimeError):
    """A worker left during a fit: killed, out of memory, or unreachable.

    Parameters
    ----------
    message : str
        What happened, and the remedy.
    workers : tuple of str
        Name and address of those that were lost.
    n_trees : int
        Trees in the last checkpoint; 0 without one.

    Examples
    --------
    >>> error = WorkerLostError("lost a worker", ("tcp://10.0.0.7:4000",), n_trees=40)
    >>> str(error), error.workers, error.n_trees
    ('lost a worker', ('tcp://10.0.0.7:4000',), 40)
    """

    def __init__(self, message: str, workers: tuple[str, ...], n_trees: int) -> None:
        super().__init__(message)
        self.workers = workers
        self.n_trees = n_trees

    def __reduce__(self) -> tuple[type, tuple[str, tuple[str, ...], int]]:
        return type(self), (str(self), self.workers, self.n_trees)
