"""A saved model exported from file to file: what the command ``export`` does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from lambdamart_kit.core.typing import Float32Array
from lambdamart_kit.export import Exported
from lambdamart_kit.export.mixin import ExportOptions
from lambdamart_kit.files.chunk import Columns
from lambdamart_kit.files.row_files import RowFiles

_MOST_ROWS = 20_000  # to compare scores on: each costs the engine's rules in Python


def export_file(
    model: str | Path,
    out: str | Path,
    format: str,
    *,
    check: Sequence[str] | None = None,
    columns: Columns | None = None,
    force: bool = False,
    **options: Unpack[ExportOptions],
) -> Exported:
    """Export the ranker or reward model of a file.

    Parameters
    ----------
    model : path
        What `save` wrote.
    out : path
        The file to write.
    format : str
        A name in `lambdamart_kit.export.EXPORTS`.
    check : list of paths, optional
        Files of rows (the first 20,000 are taken) on which scores are compared.
    columns : Columns, optional
        Which columns of Parquet and CSV files are what.
    force : bool
        Whether a file that is there may be written over.
    **options
        See :func:`lambdamart_kit.export.export_model`.

    Returns
    -------
    Exported

    Raises
    ------
    ValueError
        If the model cannot be exported to this format, or scores differ.
    FileExistsError
        If `out` is there, and not `force`.
    """
    _check_output(Path(out), [model, *(check or ())], force)
    fitted = _load(model)
    rows = None if check is None else _rows(fitted, check, columns or Columns(required=False))
    exported: Exported = fitted.export(out, format=format, check=rows, **options)
    return exported


def _check_output(out: Path, inputs: Sequence[str | Path], force: bool) -> None:
    if not out.parent.is_dir():
        raise FileNotFoundError(2, "the folder of '--out' is not there", str(out.parent))
    if not out.exists():
        return
    for path in inputs:
        if os.path.exists(path) and os.path.samefile(out, path):
            raise ValueError(f"'--out' must not be a file that is read here; got {out}")
    if not force:
        raise FileExistsError(17, "the file is there already; --force writes over it", str(out))


def _load(path: str | Path) -> Any:
    from lambdamart_kit.preferences import RewardModel
    from lambdamart_kit.rankers import load_ranker, saving

    if saving.read(path).class_name == RewardModel.__name__:
        return RewardModel.load(path)
    return load_ranker(path)


def _rows(fitted: Any, files: Sequence[str], columns: Columns) -> Float32Array:
    """The first rows of files, with the columns that the model was fitted on."""
    names = getattr(fitted, "feature_names_in_", None)
    if names is not None:
        columns = replace(columns, features=tuple(names))
    found: list[Float32Array] = []
    for chunk in RowFiles(files, columns).chunks(fitted.n_features_in_):
        found.append(chunk.X)
        if sum(map(len, found)) >= _MOST_ROWS:
            break
    return np.concatenate(found)[:_MOST_ROWS]
