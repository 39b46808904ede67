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
    int32, int64, byte, uint64 = np.int32, np.int64, np.uint8, np.uint64
    one = {t: np.zeros(1, t) for t in (int32, int64, np.uint64, np.float32, np.float64, np.bool_)}
    layout = Layout(
        *(one[int32],) * 5, one[np.bool_], *(one[int64],) * 2, np.zeros((1, 1), np.uint32), one[int64],
        one[uint64],
    )  # fmt: skip
    data = Data(
        np.zeros((1, 1), byte), one[uint64], one[int32], one[np.float32], one[np.float32],
        np.zeros((1, 1), np.bool_), one[int64],
    )  # fmt: skip
    work = buffers(1, 1, 2, 2)._replace(scores=one[np.float64])
    return tuple(numba.typeof(a) for a in (0, 1, layout, data, limits_of(TreeParameters(), 0, 1), work))


if __name__ == "__main__":
    grow.compile(signature())
