"""Checkpoints: the trees so far in one file, replaced atomically: a killed run loses minutes, not days."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.runtime.atomic_file import atomic_file
from lambdamart_kit.trees.binning import BinnedMatrix
from lambdamart_kit.trees.parameters import TreeParameters
from lambdamart_kit.trees.tree import Tree

_FIELDS = [f.name for f in dataclasses.fields(Tree)]
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


def fingerprint(binned: BinnedMatrix, parameters: TreeParameters, scores: FloatArray) -> str:
    """What a checkpoint and the run that goes on from it share: bins, parameters, starting scores."""
    digest = hashlib.sha256(repr(parameters).encode())
    for part in (binned.columns, scores, *binned.mapper.edges):
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


class CheckpointFile:
    """The file of one run."""

    def __init__(self, checkpoint: Checkpoint, identity: str) -> None:
        self._path = Path(checkpoint.path)
        self._identity = identity
        self._every_trees = checkpoint.every_trees
        seconds = checkpoint.every_seconds
        self._every_seconds = 60.0 if seconds is None and checkpoint.every_trees is None else seconds
        self._saved_at, self._saved_trees = time.monotonic(), 0

    def read(self) -> list[Tree]:
        """The trees of an earlier run, none if there was none.

        Raises
        ------
        ValueError
            If the file was written by a run on other data or with other parameters.
        """
        if not self._path.exists():
            return []
        with np.load(self._path, allow_pickle=False) as stored:
            if str(stored["identity"]) != self._identity:
                raise ValueError(
                    f"'checkpoint' {str(self._path)!r} was written by a run on other data or with other "
                    "parameters; remove it to start anew"
                )
            at_leaf, at_node = np.cumsum(stored["n_leaves"])[:-1], np.cumsum(stored["n_leaves"] - 1)[:-1]
            columns = [np.split(stored[name], at_leaf if name in _PER_LEAF else at_node) for name in _FIELDS]
        trees = [Tree(*map(np.ascontiguousarray, arrays)) for arrays in zip(*columns)]
        self._saved_trees = len(trees)
        return trees

    def write_if_due(self, trees: list[Tree]) -> None:
        """Save `trees` if enough trees, or seconds, have passed."""
        fresh = len(trees) - self._saved_trees
        due = self._every_trees is not None and fresh >= self._every_trees
        if self._every_seconds is not None:
            due |= fresh > 0 and time.monotonic() - self._saved_at >= self._every_seconds
        if due:
            self._write(trees)

    def _write(self, trees: list[Tree]) -> None:
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(tree, name) for tree in trees]) for name in _FIELDS
        }
        n_leaves = np.array([tree.n_leaves for tree in trees])
        with atomic_file(self._path, durable=True) as stream:
            np.savez(stream, identity=np.array(self._identity), n_leaves=n_leaves, **arrays)
        self._saved_at, self._saved_trees = time.monotonic(), len(trees)
