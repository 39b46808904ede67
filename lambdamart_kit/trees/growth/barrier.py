"""What threads need to walk through one compiled function together: a barrier; and a prefetch.

A tree of 255 leaves has 254 splits, and each has three points where the threads must meet. Going back to
Python for each would cost more than the work between them on small data, so one compiled function grows the
whole tree on every thread (single program, multiple data) and the threads meet at spin barriers built on
LLVM's atomics.
"""

from __future__ import annotations

import os
import platform

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lambdamart_kit.compile import kernel
from lambdamart_kit.compile.typing import NumbaObject
from lambdamart_kit.core.typing import Array

# How often a thread that waits looks before it goes to sleep: it learns that from its own waits, within
# these bounds. 12,000 looks take about 150 microseconds on an AMD Zen 4, and more on an Intel.
_FEWEST_LOOKS = 250
_MOST_LOOKS = 12000
_NAPS_MICROSECONDS = 50, 1000  # the first sleep, and the longest: each is twice as long as the one before
_POSIX = os.name == "posix"
_X86 = platform.machine().lower() in ("x86_64", "amd64", "i686")
# Windows has no sleep under a millisecond: `Sleep` takes milliseconds, and 0 means to yield.
_sleep = types.ExternalFunction("usleep" if _POSIX else "Sleep", types.int32(types.uint32))
_SLEEP_UNIT = 1 if _POSIX else 1000  # microseconds


def _declared(builder: NumbaObject, kind: NumbaObject, name: str) -> NumbaObject:
    """The function `name` of LLVM, declared once in the module that is being built."""
    found = builder.module.globals.get(name)
    return ir.Function(builder.module, kind, name) if found is None else found


def _element(
    context: NumbaObject,
    builder: NumbaObject,
    array_type: NumbaObject,
    array: NumbaObject,
    index: NumbaObject,
) -> NumbaObject:
    """Pointer to ``array[index]``."""
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


@intrinsic
def _fetch_add(
    typingctx: NumbaObject, array: NumbaObject, index: NumbaObject, value: NumbaObject
) -> NumbaObject:
    """``array[index] += value`` as one step no thread can see half of; returns the new value."""

    def codegen(
        context: NumbaObject, builder: NumbaObject, sig: NumbaObject, args: NumbaObject
    ) -> NumbaObject:
        pointer = _element(context, builder, sig.args[0], args[0], args[1])
        # Sequentially consistent: what a thread wrote before it arrives is seen by every thread that saw it
        # arrive.
        return builder.add(builder.atomic_rmw("add", pointer, args[2], "seq_cst"), args[2])

    return types.int64(array, types.int64, types.int64), codegen


@intrinsic
def _load(typingctx: NumbaObject, array: NumbaObject, index: NumbaObject) -> NumbaObject:
    """``array[index]``, read from memory each time, before any later read."""

    def codegen(
        context: NumbaObject, builder: NumbaObject, sig: NumbaObject, args: NumbaObject
    ) -> NumbaObject:
        pointer = _element(context, builder, sig.args[0], args[0], args[1])
        return builder.load_atomic(pointer, "seq_cst", 8)

    return types.int64(array, types.int64), codegen


@intrinsic
def _pause(typingctx: NumbaObject) -> NumbaObject:
    """Tell the core that it spins, where it has a word for it."""

    def codegen(
        context: NumbaObject, builder: NumbaObject, sig: NumbaObject, args: NumbaObject
    ) -> NumbaObject:
        if _X86:
            void = ir.FunctionType(ir.VoidType(), [])
            builder.call(_declared(builder, void, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def cycles(typingctx: NumbaObject) -> NumbaObject:
    """The core's cycle counter, to see where the time goes; 0 where reading it may not be allowed."""

    def codegen(
        context: NumbaObject, builder: NumbaObject, sig: NumbaObject, args: NumbaObject
    ) -> NumbaObject:
        int64 = ir.IntType(64)
        if not _X86:
            return ir.Constant(int64, 0)
        return builder.call(_declared(builder, ir.FunctionType(int64, []), "llvm.readcyclecounter"), [])

    return types.int64(), codegen


@intrinsic
def prefetch(typingctx: NumbaObject, array: NumbaObject, index: NumbaObject) -> NumbaObject:
    """Ask for the cache line of ``array[index]``, into the second cache level; any index is safe.

    Nothing is read. The first level is too small for what is asked for and a histogram: lines that came
    early would push out slots. Measured on rows with gaps, asking for it there made histograms 15 to 25 %
    slower.
    """

    def codegen(
        context: NumbaObject, builder: NumbaObject, sig: NumbaObject, args: NumbaObject
    ) -> NumbaObject:
        byte_pointer = ir.IntType(8).as_pointer()
        int32 = ir.IntType(32)
        pointer = _element(context, builder, sig.args[0], args[0], args[1])
        kind = ir.FunctionType(ir.VoidType(), [byte_pointer, int32, int32, int32])
        function = _declared(builder, kind, "llvm.prefetch.p0")
        # read, keep in all cache levels but the first, data
        operands = [ir.Constant(int32, 0), ir.Constant(int32, 2), ir.Constant(int32, 1)]
        builder.call(function, [builder.bitcast(pointer, byte_pointer), *operands])
        return context.get_dummy_value()

    return types.void(array, types.int64), codegen


@kernel(borrows=True, shared=True)
def meet(arrivals: Array, thread: int, n_threads: int) -> None:
    """Wait until all `n_threads` threads have called this as often as this thread has.

    ``arrivals`` is int64, zeroed before the threads start: element 0 counts the arrivals of all threads, and
    each thread notes its own in element ``8 * (thread + 1)``, a cache line away from the others, and how
    many looks it spares itself in the element after that.

    A thread that waits spins at first, then sleeps, so that it leaves the core (or a container's share of
    one) to those it waits for where there are more threads than cores.

    It does not yield its core in between. That hands the core to whoever else wants it, for a whole time
    slice of some milliseconds, while the other threads usually arrive within microseconds; a sleeper gets
    its core back when its time is up. Beside busy processes training took three times as long with yields.
    """
    if n_threads == 1:
        return
    # Counts only ever grow, so a thread that is still leaving one barrier cannot be mistaken for one that
    # has arrived at the next, and nothing has to be set back to zero.
    mine = 8 * (thread + 1)
    arrivals[mine] += 1
    # At the k-th barrier all threads have arrived once the common count is k times their number.
    expected = arrivals[mine] * n_threads
    seen = _fetch_add(arrivals, 0, 1)
    spared = arrivals[mine + 1]
    looks = 0
    nap = _NAPS_MICROSECONDS[0]
    while seen < expected:
        looks += 1
        if looks <= _MOST_LOOKS - spared:
            _pause()
        else:
            _sleep(np.uint32(nap // _SLEEP_UNIT))
            nap = min(2 * nap, _NAPS_MICROSECONDS[1])
        seen = _load(arrivals, 0)
    # A wait that ended in sleep takes a quarter off the looks of the next one, and short waits bring them
    # back: on a quiet machine looking pays, and beside busy processes it is lost time.
    if looks > _MOST_LOOKS - spared:
        arrivals[mine + 1] = min((3 * spared + _MOST_LOOKS) // 4, _MOST_LOOKS - _FEWEST_LOOKS)
    elif looks > 0:
        arrivals[mine + 1] = spared // 2
