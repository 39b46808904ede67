"""``python -m lambdamart_kit.trees.warming`` compiles the kernel that grows trees, into the cache on disk.

See :mod:`lambdamart_kit.core.coldstart`. Nothing is run, so no other kernel is compiled.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from lambdamart_kit.trees.grower import buffers, limits_of
from lambdamart_kit.trees.growing import grow
from lambdamart_kit.trees.histogram import Layout
from lambdamart_kit.trees.parameters import TreeParameters
from lambdamart_kit.trees.state import Data


def signature() -> tuple[Any, ...]:
    """Types of the arguments that a grower calls `grow` with."""
    kinds = (np.int32, np.int64, np.uint64, np.float32, np.float64, np.bool_)
    int32, int64, uint64, float32, float64, boolean = (np.zeros(1, kind) for kind in kinds)
    pointers, bins, allowed = (np.zeros((1, 1), kind) for kind in (np.uint32, np.uint8, np.bool_))
    layout = Layout(int32, int32, int32, int32, int32, boolean, int64, int64, pointers, int64, uint64)
    data = Data(bins, uint64, int32, float32, float32, allowed, int64)
    work = buffers(1, 1, 2, 2)._replace(scores=float64)
    return tuple(numba.typeof(a) for a in (0, 1, layout, data, limits_of(TreeParameters(), 0, 1), work))


if __name__ == "__main__":
    grow.compile(signature())
