"""Numba as the kit uses it: compiled without the GIL, cached on disk, and not silent while it compiles.

Kernels are threaded by :mod:`lambdamart_kit.core.parallel`, not by ``prange``: Numba's own threading layers
are either not safe to call from two threads at once (workqueue) or not safe after a fork (OpenMP), and
``prange`` compiles several times slower.

What compiling costs, and what is done about it. Numba compiles a function that kernels call as if it stood
alone: it is optimised, made into machine code and written to disk; then every caller links it in and
optimises it again, as often as the calls are deep. Here such a function is only lowered to LLVM's language,
and nothing but the kernel that Python calls, which links everything in, is optimised. Numba also compiles a
function once more for every literal it is called with (``f(0)``, ``f(1)`` and ``f(n)`` are three); here once
for each type. Kernels that only borrow arrays have no references to count (see `inner`), which leaves less to
compile and one round of optimisation to do. And Python's collector of cycles, which would go through all that
the compiler holds every few milliseconds, rests meanwhile.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numba
from numba.core import codegen, compiler, event, typed_passes
from numba.core.compiler_machinery import register_pass
from numba.core.environment import lookup_environment
from numba.core.types.misc import unliteral

_PATIENCE = 1.0  # seconds of compilation a user sits through before being told why
_SETTINGS = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}


def kernel(
    function: Callable[..., Any] | None = None,
    /,
    *,
    borrows: bool = False,
    shared: bool = False,
    **options: Any,
) -> Any:
    """``numba.njit`` with the kit's defaults: ``nogil``, on-disk ``cache``, NumPy division semantics.

    What other kernels call is its `inner` twin; only a call from Python compiles the kernel itself. Both may
    `borrow`, as explained there.

    Numba's cache looks at the kernel's own file only: after editing a kernel that a kernel of *another*
    module calls, delete ``__pycache__``.
    """
    if function is None:
        return lambda function: kernel(function, borrows=borrows, shared=shared, **options)
    settings = {**_SETTINGS, "cache": True, "pipeline_class": _EntryCompiler, **options}
    if borrows:
        settings |= {"_nrt": False, "pipeline_class": _BorrowerCompiler if shared else _ApartBorrowerCompiler}
    entry = numba.njit(**settings)(function)
    linked = inner(function, borrows=borrows, shared=shared, **options)
    entry.get_call_template, entry.get_overload = linked.get_call_template, linked.get_overload
    return entry


def inner(
    function: Callable[..., Any] | None = None,
    /,
    *,
    borrows: bool = False,
    shared: bool = False,
    **options: Any,
) -> Any:
    """A function that only kernels call: without an entry from Python, and compiled as part of its caller.

    It is compiled once for each set of argument types; that an argument is a literal makes no difference.

    What `borrows` its arrays neither makes any nor calls what does; its caller brings what it needs to work
    in (`run_tasks` has `scratch`). So it counts no references (which costs an atomic operation for every
    array that is passed on, and more where threads fight over the count). Unless its arrays are `shared`,
    nothing that it writes to overlaps with another of its arguments, and no other thread writes to the same
    places before it returns: its loops are vectorised without a test for overlaps at each start. What waits
    for other threads must be `shared`, or the compiler may move reads and writes past the wait.
    """
    if function is None:
        return lambda function: inner(function, borrows=borrows, shared=shared, **options)
    settings = {**_SETTINGS, "no_cpython_wrapper": True, "pipeline_class": _InnerCompiler, **options}
    if borrows:
        settings |= {"_nrt": False, "pipeline_class": _InnerCompiler if shared else _ApartInnerCompiler}
    linked = numba.njit(**settings)(function)
    specialise = linked.get_call_template

    def of_types(args: Any, kws: Any) -> Any:
        return specialise([unliteral(a) for a in args], {name: unliteral(a) for name, a in kws.items()})

    linked.get_call_template = of_types
    return linked


class _BorrowerLibrary(codegen.JITCodeLibrary):
    """A kernel and all it calls, without the round that Numba makes first to find needless references."""

    def _optimize_final_module(self) -> None:
        passes, builder = self._codegen._module_pass_manager()
        passes.run(self._final_module, builder)


class _InnerLibrary(codegen.JITCodeLibrary):
    """Code that others link in: neither optimised as a whole nor turned into machine code."""

    @property
    def codegen(self) -> Any:
        return _NoEngine()

    def _optimize_functions(self, ll_module: Any) -> None:
        """Left, as all that follows, to the kernel that links this in."""
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0  # "no such function", as Numba says it


class _NoEngine:
    """Where a library that is not executed by itself registers what it needs for execution."""

    def set_env(self, name: str, env: Any) -> None:
        """Nothing to do."""


@register_pass(mutates_CFG=True, analysis_only=False)
class _EntryLowering(typed_passes.NativeLowering):
    _name = "entry_lowering"
    library: type[codegen.JITCodeLibrary] = codegen.JITCodeLibrary

    def run_pass(self, state: Any) -> bool:
        state.library = self.library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        changed = super().run_pass(state)
        for variable in state.library._final_module.global_variables:
            # The environments of the functions linked in: what they raise is described there.
            environment = lookup_environment(variable.name)
            if environment is not None:
                state.library.codegen.set_env(variable.name, environment)
        return bool(changed)


@register_pass(mutates_CFG=True, analysis_only=False)
class _BorrowerLowering(_EntryLowering):
    _name = "borrower_lowering"
    library = _BorrowerLibrary


@register_pass(mutates_CFG=True, analysis_only=False)
class _InnerLowering(typed_passes.NativeLowering):
    _name = "inner_lowering"

    def run_pass(self, state: Any) -> bool:
        state.library = _InnerLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        return bool(super().run_pass(state))


class _EntryCompiler(compiler.CompilerBase):
    _lowering = _EntryLowering

    def define_pipelines(self) -> list[Any]:
        build = compiler.DefaultPassBuilder
        passes = compiler.PassManager("kit")
        parts = (
            build.define_untyped_pipeline(self.state),
            build.define_typed_pipeline(self.state),
            build.define_nopython_lowering_pipeline(self.state),
        )
        for step, description in (p for part in parts for p in part.passes):
            passes.add_pass(self._lowering if step is typed_passes.NativeLowering else step, description)
        passes.finalize()
        return [passes]


class _BorrowerCompiler(_EntryCompiler):
    _lowering = _BorrowerLowering


class _InnerCompiler(_EntryCompiler):
    _lowering = _InnerLowering


class _Apart(compiler.CompilerBase):
    def define_pipelines(self) -> list[Any]:
        self.state.flags.noalias = True
        pipelines: list[Any] = super().define_pipelines()
        return pipelines


class _ApartBorrowerCompiler(_Apart, _BorrowerCompiler):
    """A kernel whose arrays are its own until it returns."""


class _ApartInnerCompiler(_Apart, _InnerCompiler):
    """The same for what kernels call."""


class _Compiling(event.Listener):
    """Collects no cycles meanwhile, and says on stderr, once a process, what takes over a second."""

    def __init__(self) -> None:
        self._depth = 0
        self._collects = False
        self._spent = 0.0
        self._started = 0.0
        self._timer: threading.Timer | None = None
        self._told = False

    def on_start(self, event: Any) -> None:
        self._depth += 1
        if self._depth > 1:
            return
        self._collects = gc.isenabled()
        gc.disable()
        if not self._told:
            self._started = time.perf_counter()
            self._timer = threading.Timer(max(0.0, _PATIENCE - self._spent), self._tell)
            self._timer.daemon = True
            self._timer.start()

    def on_end(self, event: Any) -> None:
        self._depth -= 1
        if self._depth > 0:
            return
        if self._collects:
            gc.enable()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._spent += time.perf_counter() - self._started

    def _tell(self) -> None:
        self._told = True
        print("lambdamart-kit: compiling kernels (first use on this machine; cached for the next)",
              file=sys.stderr, flush=True)  # fmt: skip


event.register("numba:compile", _Compiling())
