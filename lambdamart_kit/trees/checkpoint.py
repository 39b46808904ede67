"""Checkpoints: the trees so far in one file, replaced atomically: a killed run loses minutes, not days."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Array, FloatArray
from lambdamart_kit.runtime.atomic_file import atomic_file, check_writable
from lambdamart_kit.runtime.file_lock import FileLock, take_lock
from lambdamart_kit.runtime.python_parser import PARSER
from lambdamart_kit.trees.binning import BinnedMatrix
from lambdamart_kit.trees.parameters import TreeParameters
from lambdamart_kit.trees.tree import Tree
from lambdamart_kit.trees.validation import check_children

_FIELDS = [f.name for f in dataclasses.fields(Tree)]
# Types and trailing axes of the fields of a tree, as growers write them: kernels are compiled for these.
_LIKE: dict[str, Array] = {
    name: np.empty(0, np.int64) for name in ("feature", "threshold_bin", "node_count", "leaf_count")
}
_LIKE |= {"nan_left": np.empty(0, bool), "bins_left": np.empty((0, 4), np.uint64)}
_LIKE |= {"children": np.empty((0, 2), np.int64)}
_LIKE |= {name: np.empty(0) for name in ("gain", "node_value", "node_weight", "leaf_value", "leaf_weight")}
_PER_LEAF = ("leaf_value", "leaf_weight", "leaf_count")


@dataclass(frozen=True)
class Checkpoint:
    """Where, and how often, to save a running fit.

    Parameters
    ----------
    path : str or path
        File to write, and to go on from if it is there.
    every_trees : int, optional
        Save after so many trees.
    every_seconds : float, optional
        Save when so many seconds have passed; 60 when neither is given.

    Raises
    ------
    ValueError
        If an interval is not above 0.
    """

    path: str | os.PathLike[str]
    every_trees: int | None = None
    every_seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("every_trees", "every_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name!r} must be above 0; got {value!r}")


@dataclass(frozen=True, eq=False)
class Problem:
    """What a checkpoint and the run that goes on from it have in common.

    The first gradient stands for labels, weights of queries and documents, the score that each row starts
    from, and the objective with its settings. The number of trees is no part, so a run may go on for longer.

    Attributes
    ----------
    binned : BinnedMatrix
    parameters : TreeParameters
    scores : (n_samples,) float64
        Of the model that training starts from: the same bins give other trees from another start.
    first : callable
        Returns the gradient and the hessian at these scores; called once, and only if there is a checkpoint.
    """

    binned: BinnedMatrix
    parameters: TreeParameters
    scores: FloatArray
    first: Callable[[], tuple[Array, Array]]

    def fingerprint(self) -> str:
        """A hash of all of it."""
        digest = hashlib.sha256(repr(self.parameters).encode())
        # Labels and weights have no other place that is the same for all objectives, those of users included.
        for part in (self.binned.columns, self.scores, *self.first(), *self.binned.mapper.edges):
            digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()


@contextmanager
def open_checkpoint(checkpoint: Checkpoint | None, problem: Problem) -> Iterator[CheckpointFile | None]:
    """The file of a run, held for it until the block ends; None if there is no checkpoint."""
    if checkpoint is None:
        yield None
        return
    identity = problem.fingerprint()
    file = CheckpointFile(checkpoint, identity, len(problem.binned.mapper.edges))
    try:
        yield file
    finally:
        file.close()


class CheckpointFile:
    """The file of one run.

    Parameters
    ----------
    checkpoint : Checkpoint
    identity : str
        From `Problem.fingerprint`.
    n_features : int
        Columns that trees may split on.
    """

    def __init__(self, checkpoint: Checkpoint, identity: str, n_features: int) -> None:
        self._path = Path(checkpoint.path)
        check_writable(self._path)
        self._identity = identity
        self._n_features = n_features
        self._every_trees = checkpoint.every_trees
        seconds = checkpoint.every_seconds
        self._every_seconds = 60.0 if seconds is None and checkpoint.every_trees is None else seconds
        self._saved_at = time.monotonic()
        self._saved_trees = 0
        self._warned = False
        self._lock = _take_lock(self._path)

    def read(self) -> list[Tree]:
        """The trees of an earlier run, none if there was none.

        Raises
        ------
        ValueError
            If the file is damaged, or was written by a run on other data or with other parameters.
        """
        if not self._path.exists():
            return []
        try:
            with PARSER, np.load(self._path, allow_pickle=False) as stored:
                identity = str(stored["identity"])
                # The trees of another run are not checked: that they are
                # another run's is the better error, raised below.
                trees = _unpacked(stored) if identity == self._identity else []
            for tree in trees:
                self._check(tree)
        except Exception as error:  # what damage raises in zipfile and NumPy is no closed list
            raise ValueError(
                f"'checkpoint' {str(self._path)!r} is damaged ({error}); remove it to start anew"
            ) from None
        if identity != self._identity:
            raise ValueError(
                f"'checkpoint' {str(self._path)!r} was written by a run on other data or with other "
                "parameters; remove it to start anew"
            )
        self._saved_trees = len(trees)
        return trees

    def _check(self, tree: Tree) -> None:
        """Raise unless the kernels can walk the tree."""
        for name, like in _LIKE.items():
            array = getattr(tree, name)
            if array.dtype != like.dtype or array.shape[1:] != like.shape[1:]:
                raise ValueError(f"{name} is of type {array.dtype} and shape {array.shape}")
        check_children(tree.children[:, 0], tree.children[:, 1], tree.n_leaves)
        if ((tree.feature < 0) | (tree.feature >= self._n_features)).any():
            raise ValueError("a tree splits on a column that does not exist")
        # A leaf this large is no step of a fit, and the sum of a few is infinite.
        if not (np.abs(tree.leaf_value) < np.finfo(np.float32).max).all():
            raise ValueError("leaf values must be finite, and within 3.4e38 of zero")

    def write_if_due(self, trees: list[Tree]) -> None:
        """Save `trees` if enough trees, or seconds, have passed.

        Training goes on if that fails, for example because the disk is full: a warning says so once, and the
        last checkpoint that could be written stays.
        """
        fresh = len(trees) - self._saved_trees
        due = self._every_trees is not None and fresh >= self._every_trees
        if self._every_seconds is not None:
            due |= fresh > 0 and time.monotonic() - self._saved_at >= self._every_seconds
        if not due:
            return
        self._saved_at = time.monotonic()
        self._saved_trees = len(trees)
        try:
            self._write(trees)
        except OSError as error:
            if not self._warned:
                warnings.warn(
                    f"'checkpoint' {str(self._path)!r} could not be written ({error.strerror or error}); "
                    "training goes on without it, and the last one that was written stays",
                    UserWarning,
                    stacklevel=2,
                )
            self._warned = True

    def close(self) -> None:
        """Let other runs have the file."""
        if self._lock is not None:
            self._lock.release()

    def _write(self, trees: list[Tree]) -> None:
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(tree, name) for tree in trees]) for name in _FIELDS
        }
        n_leaves = np.array([tree.n_leaves for tree in trees])
        with atomic_file(self._path, durable=True) as stream:
            np.savez(stream, identity=np.array(self._identity), n_leaves=n_leaves, **arrays)


def _unpacked(stored: Any) -> list[Tree]:
    """Trees from the concatenated arrays of a checkpoint."""
    n_leaves = stored["n_leaves"]
    if (n_leaves < 1).any():
        raise ValueError("a tree has no leaf")
    # Fields of all trees are stored end to end. A tree of L leaves has L - 1 nodes, so the numbers of
    # leaves are enough to cut both kinds of field.
    at_leaf = np.cumsum(n_leaves)[:-1]
    at_node = np.cumsum(n_leaves - 1)[:-1]
    columns = []
    for name in _FIELDS:
        array = stored[name]
        per_leaf = name in _PER_LEAF
        if len(array) != n_leaves.sum() - (0 if per_leaf else len(n_leaves)):
            raise ValueError(f"{name} does not fit the sizes of the trees")
        columns.append(np.split(array, at_leaf if per_leaf else at_node))
    return [Tree(*map(np.ascontiguousarray, arrays)) for arrays in zip(*columns)]


def _take_lock(path: Path) -> FileLock | None:
    """A lock that says to other runs that this one writes to `path`; a warning if another run does."""
    # The lock is on a file of its own: the checkpoint itself is replaced by every save, and a lock on the old
    # file would guard nothing.
    lock = take_lock(path.with_name(f".{path.name}.lock"))
    if lock is None:
        warnings.warn(
            f"'checkpoint' {str(path)!r} is written by another fit that is running; give each fit a file of "
            "its own, or they overwrite each other's trees",
            UserWarning,
            stacklevel=2,
        )
    return lock
