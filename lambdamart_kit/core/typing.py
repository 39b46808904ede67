"""Array types used in signatures."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike as ArrayLike
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
IndexArray: TypeAlias = NDArray[np.intp]
FloatArray: TypeAlias = NDArray[np.float64]
Float32Array: TypeAlias = NDArray[np.float32]
BoolArray: TypeAlias = NDArray[np.bool_]

# The libraries behind these ship no types, so a checker sees Any; the names say what is meant.
Features: TypeAlias = Any
"""Features of rows: an array, a frame (pandas, Polars, Arrow) or a SciPy sparse matrix."""
Ids: TypeAlias = Any
"""One hashable id a row: an array, a list or a column; None where there are none."""
RandomState: TypeAlias = Any
"""What scikit-learn takes as ``random_state``: None, an int or a ``numpy.random.RandomState``."""
Settings: TypeAlias = dict[str, Any]
"""Names to values of different types: parameters, records, JSON objects."""
