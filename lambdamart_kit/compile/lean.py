"""Kernels compiled with some of Numba's internal steps replaced, for a shorter first start.

Numba compiles a function that kernels call as if it stood alone: it is optimised, made into machine code and
written to disk. Then every caller links it in and optimises it again, as often as the calls are deep. Here
such a function is only lowered to LLVM's language, and nothing but the kernel that Python calls, which links
everything in, is optimised (`_InnerLibrary`, `_LeanLibrary`).

Numba also compiles a function once more for every literal it is called with: ``f(0)``, ``f(1)`` and ``f(n)``
are three. Here it is compiled once for each type (`linked`). Numba works out the type of every call anew in
every round of inference; here it remembers them (`Remembering`). Kernels that only borrow arrays have no
references to count, which leaves less to compile and one round of optimisation to do (`_BorrowerLibrary`).

What is left to compile goes by the number of statements, and of values passed on: a call passes a tuple of
arrays field by field, seven fields for each one-dimensional array. So functions get the arrays they use, and
what a model does without is None, for which nothing is compiled.

The parts are private to Numba. :mod:`.kernels` does without this module where they are missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba import types
from numba.core import codegen, compiler, typed_passes, untyped_passes
from numba.core.compiler_machinery import register_pass
from numba.core.environment import lookup_environment
from numba.core.types.misc import unliteral

from lambdamart_kit.compile.typing import NumbaObject

_SETTINGS = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}


def entry(
    function: Callable[..., Any], *, borrows: bool, shared: bool, **options: NumbaObject
) -> NumbaObject:
    """What `kernel` makes of a function; other kernels get its `linked` twin."""
    settings: dict[str, Any] = {**_SETTINGS, "pipeline_class": _EntryCompiler}
    if borrows:
        settings |= {"_nrt": False, "pipeline_class": _BorrowerCompiler if shared else _ApartBorrowerCompiler}
    made = numba.njit(**(settings | options))(function)
    twin = linked(function, borrows=borrows, shared=shared, **options)
    # A kernel that calls this one asks it for the types and the code of the call: the twin answers.
    made.get_call_template = twin.get_call_template
    made.get_overload = twin.get_overload
    return made


def linked(
    function: Callable[..., Any], *, borrows: bool, shared: bool, **options: NumbaObject
) -> NumbaObject:
    """What `inner` makes of a function: compiled once for each set of argument types, literal or not."""
    settings: dict[str, Any] = {**_SETTINGS, "no_cpython_wrapper": True, "pipeline_class": _InnerCompiler}
    if borrows:
        settings |= {
            "_nrt": False,
            "pipeline_class": _InnerBorrowerCompiler if shared else _ApartInnerBorrowerCompiler,
        }
    made = numba.njit(**(settings | options))(function)
    specialise = made.get_call_template

    # Numba would compile f(0) and f(1) apart, each for its own literal.
    def of_types(args: NumbaObject, kws: NumbaObject) -> NumbaObject:
        return specialise([unliteral(a) for a in args], {name: unliteral(a) for name, a in kws.items()})

    made.get_call_template = of_types
    return made


def try_out() -> None:
    """Touch the internals that are used, without compiling anything.

    Raises
    ------
    Exception
        If one of them is missing.
    """
    for owner, names in (
        (
            codegen.JITCodeLibrary,
            (
                "_optimize_functions",
                "_optimize_final_module",
                "_finalize_final_module",
                "_finalize_dynamic_globals",
                "_ensure_finalized",
            ),
        ),
        (codegen.CPUCodegen, ("_module_pass_manager",)),
        (
            compiler.DefaultPassBuilder,
            ("define_untyped_pipeline", "define_typed_pipeline", "define_nopython_lowering_pipeline"),
        ),
    ):
        for name in names:
            getattr(owner, name)
    made = entry(lambda x: x, borrows=True, shared=False)
    made.enable_caching  # noqa: B018 -- it is there


def has_named_tuple(kind: NumbaObject) -> bool:
    """Whether a Numba type is, or holds, a named tuple."""
    if isinstance(kind, types.BaseNamedTuple):
        return True
    return isinstance(kind, types.BaseTuple) and any(has_named_tuple(part) for part in kind)


class _LeanLibrary(codegen.JITCodeLibrary):
    """Code whose functions are not optimised one by one before all of it is."""

    def _optimize_functions(self, ll_module: NumbaObject) -> None:
        ll_module.data_layout = self._codegen._data_layout


class _BorrowerLibrary(_LeanLibrary):
    """A kernel and all it calls, without the round that Numba makes first to find needless references."""

    def _optimize_final_module(self) -> None:
        passes, builder = self._codegen._module_pass_manager()
        passes.run(self._final_module, builder)


class _InnerLibrary(_LeanLibrary):
    """Code that others link in: neither optimised at all nor turned into machine code."""

    @property
    def codegen(self) -> NumbaObject:
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

    def set_env(self, name: str, env: NumbaObject) -> None:
        """Nothing to do."""


@register_pass(mutates_CFG=True, analysis_only=False)
class _EntryLowering(typed_passes.NativeLowering):
    _name = "entry_lowering"
    library: type[codegen.JITCodeLibrary] = codegen.JITCodeLibrary

    def run_pass(self, state: NumbaObject) -> bool:
        state.library = self.library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        if has_named_tuple(state.return_type):
            name = state.func_id.func_qualname
            raise TypeError(f"kernel {name} returns a NamedTuple; return a plain tuple, as `kernel` explains")
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

    def run_pass(self, state: NumbaObject) -> bool:
        state.library = _InnerLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        return bool(super().run_pass(state))


class Remembering:
    """Numba's typing context for one function, which does not work out the type of a call twice.

    Numba does so for every place of the call, and again in each round until all types are known.
    """

    def __init__(self, context: NumbaObject) -> None:
        self._context = context
        self._known: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> NumbaObject:
        return getattr(self._context, name)

    def resolve_function_type(
        self, function: NumbaObject, args: NumbaObject, kws: NumbaObject
    ) -> NumbaObject:
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

    def run_pass(self, state: NumbaObject) -> bool:
        context, state.typingctx = state.typingctx, Remembering(state.typingctx)
        try:
            return bool(super().run_pass(state))
        finally:
            state.typingctx = context


class _EntryCompiler(compiler.CompilerBase):
    """Numba's own steps but for type inference and lowering, and without what is not needed."""

    _lowering = _EntryLowering
    _needless: tuple[type, ...] = ()

    def define_pipelines(self) -> list[Any]:
        build = compiler.DefaultPassBuilder
        passes = compiler.PassManager("kit")
        # Numba's own pipeline, with two steps exchanged and those that find nothing to do left out.
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
