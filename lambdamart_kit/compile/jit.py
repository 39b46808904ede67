"""Numba as the kit uses it: compiled without the GIL, cached on disk, and not silent while it compiles.

Kernels are threaded by :mod:`lambdamart_kit.runtime.threads`, not by ``prange``: Numba's own threading layers
are either not safe to call from two threads at once (workqueue) or not safe after a fork (OpenMP), and
``prange`` compiles several times slower.

What compiling costs, and what is done about it. Numba compiles a function that kernels call as if it stood
alone: it is optimised, made into machine code and written to disk; then every caller links it in and
optimises it again, as often as the calls are deep. Here such a function is only lowered to LLVM's language,
and nothing but the kernel that Python calls, which links everything in, is optimised. Numba also compiles a
function once more for every literal it is called with (``f(0)``, ``f(1)`` and ``f(n)`` are three); here once
for each type. It works out the type of every call anew, in every round of inference; here it remembers them.
Kernels that only borrow arrays have no references to count (see `inner`), which leaves less to compile and
one round of optimisation to do. And Python's collector of cycles, which would go through all that the
compiler holds every few milliseconds, rests meanwhile.

What is left goes by the number of statements, and of values passed on: a call passes a tuple of arrays field
by field, seven for each one-dimensional array. So functions get the arrays they use, and what a model does
without is None, for which nothing is compiled.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numba
from numba.core import codegen, compiler, event, typed_passes, untyped_passes
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
        settings |= {
            "_nrt": False,
            "pipeline_class": _InnerBorrowerCompiler if shared else _ApartInnerBorrowerCompiler,
        }
    linked = numba.njit(**settings)(function)
    specialise = linked.get_call_template

    def of_types(args: Any, kws: Any) -> Any:
        return specialise([unliteral(a) for a in args], {name: unliteral(a) for name, a in kws.items()})

    linked.get_call_template = of_types
    return linked


class _LeanLibrary(codegen.JITCodeLibrary):
    """Code whose functions are not optimised one by one before all of it is."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout


class _BorrowerLibrary(_LeanLibrary):
    """A kernel and all it calls, without the round that Numba makes first to find needless references."""

    def _optimize_final_module(self) -> None:
        passes, builder = self._codegen._module_pass_manager()
        passes.run(self._final_module, builder)


class _InnerLibrary(_LeanLibrary):
    """Code that others link in: neither optimised at all nor turned into machine code."""

    @property
    def codegen(self) -> Any:
        return _NoEngine()

    def _optimize_final_module(self) -> None:
        """Left to the kernel that links this in."""

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


class Remembering:
    """Numba's typing context for one function, which does not work out the type of a call twice.

    Numba does so for every place of the call, and again in each round until all types are known.
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        self._known: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def resolve_function_type(self, function: Any, args: Any, kws: Any) -> Any:
        """Signature of a call of `function` with arguments of these types; None is not remembered."""
        key = (function, tuple(args), tuple(kws.items()))
        if key not in self._known:
            found = self._context.resolve_function_type(function, args, kws)
            if found is None:
                return None
            self._known[key] = found
        return self._known[key]


@register_pass(mutates_CFG=True, analysis_only=False)
class _TypeInference(typed_passes.NopythonTypeInference):
    _name = "remembering_type_inference"

    def run_pass(self, state: Any) -> bool:
        context, state.typingctx = state.typingctx, Remembering(state.typingctx)
        try:
            return bool(super().run_pass(state))
        finally:
            state.typingctx = context


class _EntryCompiler(compiler.CompilerBase):
    _lowering = _EntryLowering
    _needless: tuple[type, ...] = ()

    def define_pipelines(self) -> list[Any]:
        build = compiler.DefaultPassBuilder
        passes = compiler.PassManager("kit")
        parts = (
            build.define_untyped_pipeline(self.state),
            build.define_typed_pipeline(self.state),
            build.define_nopython_lowering_pipeline(self.state),
        )
        own = {
            typed_passes.NopythonTypeInference: _TypeInference,
            typed_passes.NativeLowering: self._lowering,
        }
        for step, description in (p for part in parts for p in part.passes):
            if step not in self._needless:
                passes.add_pass(own.get(step, step), description)
        passes.finalize()
        return [passes]


class _InnerCompiler(_EntryCompiler):
    _lowering = _InnerLowering


class _Borrower(_EntryCompiler):
    """Looks neither for comprehensions nor for expressions of arrays: they would make arrays."""

    _needless = (untyped_passes.InlineClosureLikes, typed_passes.NopythonRewrites)


class _BorrowerCompiler(_Borrower):
    _lowering = _BorrowerLowering


class _InnerBorrowerCompiler(_Borrower):
    _lowering = _InnerLowering


class _Apart(_EntryCompiler):
    """What it writes to overlaps with nothing else."""

    def define_pipelines(self) -> list[Any]:
        self.state.flags.noalias = True
        return super().define_pipelines()


class _ApartBorrowerCompiler(_Apart, _BorrowerCompiler): ...


class _ApartInnerBorrowerCompiler(_Apart, _InnerBorrowerCompiler): ...


class _Collector:
    """Python's collector of cycles, at rest inside ``with``.

    What compilers and modules make is there to stay, and going through all of it takes a tenth of a second.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._depth = 0
        self._was_on = False
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._start_anew)

    def _start_anew(self) -> None:
        """A fork has none of the threads that may have asked for rest."""
        self._lock = threading.Lock()
        if self._depth > 0 and self._was_on:
            gc.enable()
        self._depth = 0

    def __enter__(self) -> None:
        with self._lock:
            self._depth += 1
            if self._depth == 1:
                self._was_on = gc.isenabled()
                gc.disable()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._depth = max(self._depth - 1, 0)
            if self._depth == 0 and self._was_on:
                gc.enable()


collector_at_rest = _Collector()


class _Loading(event.Listener):
    """Collects no cycles while Numba compiles a kernel, or reads it from disk."""

    def on_start(self, event: Any) -> None:
        collector_at_rest.__enter__()

    def on_end(self, event: Any) -> None:
        collector_at_rest.__exit__()


class _Compiling(event.Listener):
    """Says on stderr, once a process, what takes over a second."""

    def __init__(self) -> None:
        self._depth = 0
        self._spent = 0.0
        self._started = 0.0
        self._timer: threading.Timer | None = None
        self._told = False

    def on_start(self, event: Any) -> None:
        self._depth += 1
        if self._depth == 1 and not self._told:
            self._started = time.perf_counter()
            self._timer = threading.Timer(max(0.0, _PATIENCE - self._spent), self._tell)
            self._timer.daemon = True
            self._timer.start()

    def on_end(self, event: Any) -> None:
        self._depth -= 1
        if self._depth == 0 and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._spent += time.perf_counter() - self._started

    def _tell(self) -> None:
        self._told = True
        print("lambdamart-kit: compiling kernels (first use on this machine; cached for the next)",
              file=sys.stderr, flush=True)  # fmt: skip


event.register("numba:compiler_lock", _Loading())
event.register("numba:compile", _Compiling())
