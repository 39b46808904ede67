"""Instructions on 64 rows at a time, which Numba has no words for: one byte, one bit or one value a row.

They are written as LLVM's vectors of 64, which the compiler cuts into what the processor has. What a loop
carries from step to step stays in registers: in memory, every step would wait for the store of the one
before.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from lambdamart_kit.compile.typing import NumbaObject
from lambdamart_kit.core.precision import TINY

WIDTH = 64  # rows that go through a tree together
BLOCK = 16  # rows, and columns, that are turned together

_INT8 = ir.IntType(8)
_INT64 = ir.IntType(64)
_BYTES = ir.VectorType(_INT8, WIDTH)
_BITS = ir.VectorType(ir.IntType(1), WIDTH)


def _data(
    builder: NumbaObject, context: NumbaObject, array_type: NumbaObject, array: NumbaObject
) -> NumbaObject:
    """Pointer to the first element of an array."""
    return context.make_array(array_type)(context, builder, array).data


def _load(
    builder: NumbaObject, data: NumbaObject, index: NumbaObject, kind: NumbaObject, n: int
) -> NumbaObject:
    """The n elements of an array from `index` on, as a vector."""
    vector = ir.VectorType(kind, n)
    loaded = builder.load(builder.bitcast(builder.gep(data, [index]), vector.as_pointer()))
    # LLVM would assume the alignment of the whole vector. Arrays are only aligned to their elements.
    loaded.align = 1 if kind == _INT8 else 4
    return loaded


def _store(builder: NumbaObject, value: NumbaObject, data: NumbaObject, index: NumbaObject) -> None:
    """Write a vector to the elements of an array from `index` on."""
    pointer = builder.bitcast(builder.gep(data, [index]), value.type.as_pointer())
    builder.store(value, pointer).align = 1 if value.type.element == _INT8 else 4


def _splat(builder: NumbaObject, value: NumbaObject) -> NumbaObject:
    """A vector of 64 times `value`."""
    vector = ir.VectorType(value.type, WIDTH)
    int32 = ir.IntType(32)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(int32, 0))
    zeros = ir.Constant(ir.VectorType(int32, WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)


def _constant(kind: NumbaObject, value: float) -> NumbaObject:
    """A vector of 64 times a number that is known now."""
    return ir.Constant(ir.VectorType(kind, WIDTH), [value] * WIDTH)


@intrinsic
def turn_block(
    typingctx: NumbaObject,
    X: NumbaObject,
    rows: NumbaObject,
    first: NumbaObject,
    column: NumbaObject,
    block: NumbaObject,
) -> NumbaObject:
    """``block[64 * j + first + i] = X[rows[first + i], column + j]`` for 16 rows and 16 columns.

    Rows are read 16 values at a time: a column at a time, each value would be in another line of the cache.
    """

    def codegen(
        context: NumbaObject, builder: NumbaObject, sig: NumbaObject, args: NumbaObject
    ) -> NumbaObject:
        # Rows of X stand one after the other, each as wide as X.
        kind = context.get_value_type(sig.args[0].dtype)
        array = context.make_array(sig.args[0])(context, builder, args[0])
        width = cgutils.unpack_tuple(builder, array.shape)[1]
        numbers = _data(builder, context, sig.args[1], args[1])
        target = _data(builder, context, sig.args[4], args[4])
        lines = []
        # One vector a row, in registers: 16 of them are half of what AVX-512 has.
        for i in range(BLOCK):
            place = builder.add(args[2], ir.Constant(_INT64, i))
            row = builder.load(builder.gep(numbers, [place]))
            start = builder.add(builder.mul(row, width), args[3])
            lines.append(_load(builder, array.data, start, kind, BLOCK))
        # Four rounds of pairing rows turn the block: each round takes every second, fourth, ... element.
        size = 1
        while size < BLOCK:
            # After a round, squares of twice the size are turned.
            lines = _exchange(builder, lines, size)
            size *= 2
        for j, line in enumerate(lines):
            _store(builder, line, target, builder.add(args[2], ir.Constant(_INT64, WIDTH * j)))
        return context.get_dummy_value()

    return types.void(X, rows, types.int64, types.int64, block), codegen


def _exchange(builder: NumbaObject, lines: list[NumbaObject], size: int) -> list[NumbaObject]:
    """Exchange the off-diagonal squares of `size` in all squares of twice the size."""
    # Elements 16 to 31 of a shuffle are those of the second vector.
    low = [e if not e & size else BLOCK + e - size for e in range(BLOCK)]
    high = [e + size if not e & size else BLOCK + e for e in range(BLOCK)]
    masks = [ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), order) for order in (low, high)]
    turned = list(lines)
    for i in range(BLOCK):
        if not i & size:
            turned[i] = builder.shuffle_vector(lines[i], lines[i + size], masks[0])
            turned[i + size] = builder.shuffle_vector(lines[i], lines[i + size], masks[1])
    return turned


@intrinsic
def tidy(
    typingctx: NumbaObject,
    block: NumbaObject,
    at: NumbaObject,
    zero_is_missing: NumbaObject,
    values: NumbaObject,
) -> NumbaObject:
    """Copy 64 values from ``block[at]`` on, tiny ones as zero; bit r of the result says that r is missing."""

    def codegen(
        context: NumbaObject, builder: NumbaObject, sig: NumbaObject, args: NumbaObject
    ) -> NumbaObject:
        kind = context.get_value_type(sig.args[0].dtype)
        loaded = _load(builder, _data(builder, context, sig.args[0], args[0]), args[1], kind, WIDTH)
        zeros = _constant(kind, 0.0)
        # As LightGBM reads rows: values up to 1e-35 in size are zero.
        # NaN is unordered, so it counts as large and stays.
        above = builder.fcmp_unordered(">", loaded, _constant(kind, float(TINY)))
        below = builder.fcmp_unordered("<", loaded, _constant(kind, -float(TINY)))
        large = builder.or_(above, below)
        _store(
            builder,
            builder.select(large, loaded, zeros),
            _data(builder, context, sig.args[3], args[3]),
            ir.Constant(_INT64, 0),
        )
        # A value is unordered with itself just where it is NaN.
        no_number = builder.bitcast(builder.fcmp_unordered("uno", loaded, loaded), _INT64)
        zero = builder.not_(builder.bitcast(large, _INT64))
        return builder.or_(no_number, builder.select(args[2], zero, ir.Constant(_INT64, 0)))

    return types.uint64(block, types.int64, types.boolean, values), codegen


@intrinsic
def fill_codes(
    typingctx: NumbaObject,
    values: NumbaObject,
    thresholds: NumbaObject,
    start: NumbaObject,
    stop: NumbaObject,
    missing: NumbaObject,
    tile: NumbaObject,
    right: NumbaObject,
    left: NumbaObject,
) -> NumbaObject:
    """Codes of 64 values by ``thresholds[start:stop]``, which ascend, into columns of the tile.

    A value's code is the number of thresholds below it. In the column that begins at ``tile[right]``, a
    missing value has code 255; in the one at ``tile[left]`` it has code 0, and all others are one higher. -1
    for no such column.
    """

    def codegen(
        context: NumbaObject, builder: NumbaObject, sig: NumbaObject, args: NumbaObject
    ) -> NumbaObject:
        zero = ir.Constant(_INT64, 0)
        kind = context.get_value_type(sig.args[0].dtype)
        loaded = _load(builder, _data(builder, context, sig.args[0], args[0]), zero, kind, WIDTH)
        data = _data(builder, context, sig.args[1], args[1])
        # An ordered comparison is false for NaN, whose code is not used.
        total = cgutils.alloca_once_value(builder, _constant(_INT8, 0))
        with cgutils.for_range(builder, args[3], start=args[2]) as loop:
            threshold = builder.load(builder.gep(data, [loop.index]))
            bits = builder.fcmp_ordered(">", loaded, _splat(builder, threshold))
            builder.store(builder.add(builder.load(total), builder.zext(bits, _BYTES)), total)
            # No value is above the next threshold either.
            with builder.if_then(builder.icmp_unsigned("==", builder.bitcast(bits, _INT64), zero)):
                loop.do_break()
        # The missing rows get their code by one selection for each side.
        counts = builder.load(total)
        is_missing = builder.bitcast(args[4], _BITS)
        target = _data(builder, context, sig.args[5], args[5])
        with builder.if_then(builder.icmp_signed(">=", args[6], zero)):
            _store(builder, builder.select(is_missing, _constant(_INT8, 255), counts), target, args[6])
        with builder.if_then(builder.icmp_signed(">=", args[7], zero)):
            more = builder.add(counts, _constant(_INT8, 1))
            _store(builder, builder.select(is_missing, _constant(_INT8, 0), more), target, args[7])
        return context.get_dummy_value()

    int64 = types.int64
    return types.void(values, thresholds, int64, int64, types.uint64, tile, int64, int64), codegen


@intrinsic
def above(
    typingctx: NumbaObject, codes: NumbaObject, index: NumbaObject, threshold: NumbaObject
) -> NumbaObject:
    """Bit r of the result: ``codes[index + r] > threshold``, for 64 bytes."""

    def codegen(
        context: NumbaObject, builder: NumbaObject, sig: NumbaObject, args: NumbaObject
    ) -> NumbaObject:
        loaded = _load(builder, _data(builder, context, sig.args[0], args[0]), args[1], _INT8, WIDTH)
        bits = builder.icmp_unsigned(">", loaded, _splat(builder, args[2]))
        word = builder.bitcast(bits, _INT64)
        # An instruction of no text that wants a plain register. Without it, LLVM keeps the words of a tree in
        # AVX-512's mask registers, whose loads and stores are slow: 196 against 222 ns a tree of 63 leaves.
        same = ir.FunctionType(_INT64, [_INT64])
        return builder.call(ir.InlineAsm(same, "", "=r,0"), [word])

    return types.uint64(codes, types.int64, types.uint8), codegen


@intrinsic
def find_leaves(
    typingctx: NumbaObject, reached: NumbaObject, first: NumbaObject, n: NumbaObject, leaf: NumbaObject
) -> NumbaObject:
    """``leaf[r]`` becomes the k below n for which bit r of ``reached[first + k]`` is set."""

    def codegen(
        context: NumbaObject, builder: NumbaObject, sig: NumbaObject, args: NumbaObject
    ) -> NumbaObject:
        data = _data(builder, context, sig.args[0], args[0])
        # Rows reach one leaf each, so no number is overwritten.
        found = cgutils.alloca_once_value(builder, _constant(_INT8, 0))
        with cgutils.for_range(builder, args[2]) as loop:
            word = builder.load(builder.gep(data, [builder.add(args[1], loop.index)]))
            number = _splat(builder, builder.trunc(loop.index, _INT8))
            builder.store(builder.select(builder.bitcast(word, _BITS), number, builder.load(found)), found)
        target = _data(builder, context, sig.args[3], args[3])
        _store(builder, builder.load(found), target, ir.Constant(_INT64, 0))
        return context.get_dummy_value()

    return types.void(reached, types.int64, types.int64, leaf), codegen
