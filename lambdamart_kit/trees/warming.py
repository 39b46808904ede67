"""``python -m lambdamart_kit.trees.warming`` compiles the kernels that grow trees, into the cache on disk.

See :mod:`lambdamart_kit.core.coldstart`. It grows one small tree, so the types are those of every other.
"""

from __future__ import annotations

import numpy as np

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.boosting import boost
from lambdamart_kit.trees.parameters import TreeParameters


class _Residuals:
    """The gradient of squared error to a target: nothing of it needs compiling."""

    def __init__(self, target: Array) -> None:
        self._target = target

    def gradient_hessian(self, scores: Array) -> tuple[Array, Array]:
        return scores - self._target, np.ones_like(scores)


def main() -> None:
    """Grow a tree."""
    X = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    queries = Queries.from_qid(np.arange(60) // 10, 60)
    boost(X, queries, _Residuals(X[:, 0]), TreeParameters(num_leaves=3), n_estimators=1)


if __name__ == "__main__":
    main()
