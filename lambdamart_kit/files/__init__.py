"""Rows in files of any format: read whole or in chunks, binned on disk, scored, written, converted.

`FORMATS` is the registry of formats; see :mod:`lambdamart_kit.files.formats`.
"""

from __future__ import annotations

from lambdamart_kit.files.chunk import Columns
from lambdamart_kit.files.formats import FORMATS
from lambdamart_kit.files.reading import convert, read_rows, write_rows

__all__ = ["FORMATS", "Columns", "convert", "read_rows", "write_rows"]
