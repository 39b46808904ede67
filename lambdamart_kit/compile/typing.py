"""What Numba's own objects are called in signatures: Numba ships no types for them, so checkers see Any."""

from __future__ import annotations

from typing import Any, TypeAlias

NumbaObject: TypeAlias = Any
"""A type, context, builder, dispatcher or compiler state of Numba or llvmlite."""
