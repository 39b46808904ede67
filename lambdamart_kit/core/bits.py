"""Floats as the integers their bits spell, and back, inside kernels.

Non-negative floats have the same order as their bits. LLVM vectorises an integer maximum, and does not
vectorise the maximum of floats that Numba writes.
"""

from __future__ import annotations

from numba import types
from numba.extending import intrinsic

from lambdamart_kit.compile.typing import NumbaObject

_WIDTHS = {types.float64: types.int64, types.float32: types.int32}
_FLOATS = {integer: real for real, integer in _WIDTHS.items()}


@intrinsic
def bits_of(typing_context: NumbaObject, value: NumbaObject) -> NumbaObject:
    """The bits of a float64 as an int64, of a float32 as an int32."""
    return _WIDTHS[value](value), _same_bits


@intrinsic
def float_of(typing_context: NumbaObject, bits: NumbaObject) -> NumbaObject:
    """The float64 with the bits of an int64, the float32 with those of an int32."""
    return _FLOATS[bits](bits), _same_bits


def _same_bits(
    context: NumbaObject, builder: NumbaObject, signature: NumbaObject, arguments: NumbaObject
) -> NumbaObject:
    # LLVM's bitcast changes the type of a value and none of its bits: at most a move between registers.
    return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))
