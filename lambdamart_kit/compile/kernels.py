"""The two decorators of compiled functions: `kernel` for those that Python calls, `inner` for the others."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numba

from lambdamart_kit.compile import notices
from lambdamart_kit.compile.kernel_cache import cached
from lambdamart_kit.compile.typing import NumbaObject

# Releases of Numba, as (major, minor), whose internals `lean` is known to fit.
_FIRST_TESTED = (0, 62)
_LAST_TESTED = (0, 68)
_VARIABLE = "LAMBDAMART_KIT_JIT"
_SETTINGS = {"nogil": True, "error_model": "numpy"}


def kernel(
    function: Callable[..., Any] | None = None,
    /,
    *,
    borrows: bool = False,
    shared: bool = False,
    cache: bool = True,
    **options: NumbaObject,
) -> NumbaObject:
    """Compile a function that Python calls: no GIL, cached on disk, division by zero as in NumPy.

    A kernel returns nothing but numbers, arrays and plain tuples of them. Numba makes a NamedTuple by calling
    its class, and if ctrl-C was pressed meanwhile that call fails in a way that ends the process.

    What other kernels call is the kernel's `inner` twin; only a call from Python compiles the kernel itself.

    Parameters
    ----------
    function : callable
        The function.
    borrows, shared : bool
        What the function promises about its arrays; see `inner`.
    cache : bool
        Whether compiled code is kept on disk.
    options : any
        Public options of ``numba.njit``, such as ``fastmath``, ``inline`` and ``nogil``.

    Examples
    --------
    >>> @kernel(cache=False)
    ... def twice(x):
    ...     return 2 * x
    >>> twice(3)
    6
    """
    if function is None:
        return lambda function: kernel(function, borrows=borrows, shared=shared, cache=cache, **options)
    if lean is not None:
        entry = lean.entry(function, borrows=borrows, shared=shared, **options)
    else:
        entry = numba.njit(**(_SETTINGS | options))(function)
    return cached(entry) if cache else entry


def inner(
    function: Callable[..., Any] | None = None,
    /,
    *,
    borrows: bool = False,
    shared: bool = False,
    **options: NumbaObject,
) -> NumbaObject:
    """Compile a function that only kernels call: without an entry from Python, as part of its caller.

    Parameters
    ----------
    function : callable
        The function.
    borrows : bool
        The function neither makes arrays nor calls what does; its caller brings the space it needs
        (`run_tasks` has `scratch` for that). Then no references to arrays are counted, which would cost an
        atomic operation for every array passed on, and more where threads fight over the count.
    shared : bool
        Of a function that `borrows`: what it writes to may overlap with another of its arguments, or another
        thread may write to the same places before it returns. Without it, the compiler vectorises loops
        without a test for overlaps. What waits for other threads must be `shared`, or the compiler may move
        reads and writes past the wait.
    options : any
        Public options of ``numba.njit``, such as ``fastmath``, ``inline`` and ``nogil``.

    Examples
    --------
    >>> @inner
    ... def add(x, y):
    ...     return x + y
    >>> @kernel(cache=False)
    ... def add_three(x):
    ...     return add(x, 3)
    >>> add_three(4)
    7
    """
    if function is None:
        return lambda function: inner(function, borrows=borrows, shared=shared, **options)
    if lean is not None:
        return lean.linked(function, borrows=borrows, shared=shared, **options)
    return numba.njit(**(_SETTINGS | options))(function)


def _is_tested(version: str) -> bool:
    """Whether `lean` was tested with this release of Numba."""
    parts = version.split(".")[:2]
    return all(p.isdigit() for p in parts) and _FIRST_TESTED <= tuple(map(int, parts)) <= _LAST_TESTED


def _choose_lean(wanted: str, version: str) -> ModuleType | None:
    """The module `lean` where it is to be used, else None.

    Raises
    ------
    ValueError
        If `wanted`, the value of ``LAMBDAMART_KIT_JIT``, is not a way to compile.
    """
    if wanted not in ("", "plain", "lean"):
        raise ValueError(f"'{_VARIABLE}' must be 'plain', 'lean' or not set; got {wanted!r}")
    if wanted == "plain" or not (wanted == "lean" or _is_tested(version)):
        return None
    try:
        from lambdamart_kit.compile import lean

        lean.try_out()
    except Exception as error:
        warnings.warn(
            f"kernels compile the ordinary, slower way: Numba {version} lacks an internal that "
            f"lambdamart-kit uses ({type(error).__name__}: {error}); {_VARIABLE}=plain avoids this warning",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return lean


lean = _choose_lean(os.environ.get(_VARIABLE, ""), numba.__version__)
notices.listen()
