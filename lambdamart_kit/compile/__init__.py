"""How kernels are compiled: Numba, without the GIL, cached on disk, and not silent while it compiles.

Use `kernel` for a function that Python calls, and `inner` for one that only kernels call::

    from lambdamart_kit.compile import inner, kernel

Kernels are threaded by :mod:`lambdamart_kit.runtime.threads`, not by ``prange``. Numba's own threading layers
are either not safe to call from two threads at once (workqueue) or not safe after a fork (OpenMP), and
``prange`` compiles several times slower.

Two ways to compile
-------------------
"plain" is ``numba.njit(cache=True)`` with public options. "lean" (:mod:`.lean`) replaces some of Numba's
internal steps, because compiling is what a user waits for on a new machine. It is used with the Numba
versions it was tested with, and "plain" with any other, so a new Numba release never stops anyone. Both give
the same results; the environment variable ``LAMBDAMART_KIT_JIT=plain`` (or ``lean``) chooses by hand.

MEASUREMENTS
"""

from lambdamart_kit.compile.kernels import inner, kernel
from lambdamart_kit.compile.notices import collector_at_rest

__all__ = ["collector_at_rest", "inner", "kernel"]
