"""Rows in files of any format: read whole or in chunks, binned on disk, scored, written, converted.

`FORMATS` is the registry of formats; see :mod:`lambdamart_kit.files.formats`. Every name loads on first use:
readers of records do without the compiled kernels that readers of feature rows need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lambdamart_kit.files.chunk import Columns as Columns
    from lambdamart_kit.files.chunk import LetorRules as LetorRules
    from lambdamart_kit.files.formats import FORMATS as FORMATS
    from lambdamart_kit.files.reading import convert as convert
    from lambdamart_kit.files.reading import read_rows as read_rows
    from lambdamart_kit.files.reading import write_rows as write_rows

_HOME = {
    "FORMATS": "formats",
    "Columns": "chunk",
    "LetorRules": "chunk",
    "convert": "reading",
    "read_rows": "reading",
    "write_rows": "reading",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
