"""Random numbers inside kernels: splitmix64, the same for the same seed on any thread."""

from __future__ import annotations

import numpy as np

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.typing import IndexArray


@kernel
def shuffle(positions: IndexArray, seed: np.uint64) -> None:
    """Fisher-Yates with a splitmix64 stream: the same for the same `seed`, whatever the thread."""
    state = seed
    for i in range(len(positions) - 1, 0, -1):
        state = next_state(state)
        # The remainder prefers small numbers by less than (i + 1) / 2**64, which no sample could show.
        j = np.intp(scramble(state) % np.uint64(i + 1))
        positions[i], positions[j] = positions[j], positions[i]


@kernel
def next_state(state: np.uint64) -> np.uint64:
    """Next state of a splitmix64 stream."""
    # 2**64 over the golden ratio, made odd: adding an odd number visits all 2**64 states before it repeats.
    return np.uint64(state) + np.uint64(0x9E3779B97F4A7C15)


@kernel
def scramble(state: np.uint64) -> np.uint64:
    """64 random bits of a splitmix64 state (Steele, Lea and Flood 2014)."""
    # Shifts and odd factors can be undone, so no two states give the same output. The constants are
    # Stafford's variant 13 of MurmurHash3's finaliser, as in the reference code of splitmix64.
    z = np.uint64(state)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@kernel
def uniform(state: np.uint64) -> float:
    """Uniform on [0, 1) from a splitmix64 state."""
    # The upper 53 bits, as many as a float64 holds: every value
    # is a multiple of 2**-53, and 1 is never reached.
    return np.float64(scramble(state) >> np.uint64(11)) * 2.0**-53


@kernel
def query_seed(seed: np.uint64, query: int) -> np.uint64:
    """Seed of one query's own stream."""
    # Both the query and the result are scrambled, so the streams of neighbouring queries, and of
    # neighbouring seeds, have nothing in common.
    return scramble(next_state(np.uint64(seed) ^ scramble(np.uint64(query))))
