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

What the private parts buy (``benchmarks/compile_ways.py``, one thread, Numba 0.68, in turn on a busy machine,
processor seconds from an empty cache to one tree on 1,000 rows, with the ratio to "lean" in the same turn):

=========================================================  ============  =====
way                                                        seconds       ratio
=========================================================  ============  =====
lean                                                       13.1          1
plain                                                      31.8          2.43
lean, but functions that kernels call are compiled alone   18.7          1.64
lean, but references to arrays are counted                 16.6          1.45
lean, but types of calls are not remembered                14.6          1.27
lean, but the collector of cycles runs                     14.3          1.25
lean, but a function is compiled for each literal          14.0          1.23
lean, but loops test for arrays that overlap               13.8          1.21
=========================================================  ============  =====

The first two rows are medians of three turns. The others are of one turn, in which "lean" took 11.4 seconds,
so a tenth more or less means nothing. Once compiled, "plain" takes 1.16 times as long for a gradient, 0.94
and 0.99 times for trees of 63 and 255 leaves (noise), and no longer for a warm start. So the private parts
earn their place by the first start, and a user of an untested Numba loses little else.
"""

from lambdamart_kit.compile.kernels import inner, kernel
from lambdamart_kit.compile.notices import collector_at_rest

__all__ = ["collector_at_rest", "inner", "kernel"]
