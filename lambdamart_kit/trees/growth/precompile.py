"""``python -m lambdamart_kit.trees.growth.precompile`` compiles the kernel that grows trees.

The compiled kernel goes into the cache on disk; see :mod:`lambdamart_kit.compile.second_process`. Nothing is
run, so no other kernel is compiled. The words "categories", "monotone" and "interactions" after it say
what the trees have to do with.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import numba
import numpy as np

from lambdamart_kit.trees.growth.histogram import SlotLayout
from lambdamart_kit.trees.growth.leafwise import grow
from lambdamart_kit.trees.growth.splitting import CategoryRules, Interactions, TreeLimits
from lambdamart_kit.trees.growth.state import Rounding, Sample, Work
from lambdamart_kit.trees.parameters import TreeParameters

MODULE = "lambdamart_kit.trees.growth.precompile"


def words_of(*, categories: bool, monotone: bool, interactions: bool) -> tuple[str, ...]:
    """What to call this module with."""
    words = {"categories": categories, "monotone": monotone, "interactions": interactions}
    return tuple(word for word, is_so in words.items() if is_so)


@cache
def signature(*words: str) -> tuple[Any, ...]:
    """Types of the arguments that a grower calls `grow` with."""
    int64, uint64, float32 = (np.zeros(1, kind) for kind in (np.int64, np.uint64, np.float32))
    features, pointers, bins, allowed = (
        np.zeros((1, 1), kind) for kind in (np.int32, np.uint32, np.uint8, np.bool_)
    )
    parameters = TreeParameters()
    arguments = {
        "thread": 0,
        "n_threads": 1,
        "sample": Sample(np.zeros(1, np.int32), float32, float32, uint64),
        "rounding": Rounding.of(parameters, 0, 1),
        "limits": TreeLimits.of(parameters),
        "categories": CategoryRules.of(parameters) if "categories" in words else None,
        "monotone": int64 if "monotone" in words else None,
        "interactions": Interactions(allowed, allowed) if "interactions" in words else None,
        "layout": SlotLayout(features, int64, int64, pointers, int64, uint64),
        "columns": bins,
        "allowed": allowed,
        "work": Work.allocate(1, 1, 2, 2),
        "scores": np.zeros(1),
    }
    return tuple(numba.typeof(value) for value in arguments.values())


if __name__ == "__main__":
    grow.compile(signature(*sys.argv[1:]))
