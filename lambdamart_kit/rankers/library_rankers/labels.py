"""What libraries ask of labels."""

from __future__ import annotations

import numpy as np

from lambdamart_kit.core.typing import FloatArray


def fractional(y: FloatArray) -> bool:
    """Whether some labels are no whole numbers."""
    return bool((y != np.floor(y)).any())
