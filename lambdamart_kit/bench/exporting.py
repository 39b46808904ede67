"""A saved model exported from file to file: what the command ``export`` does."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from lambdamart_kit.core.typing import Float32Array
from lambdamart_kit.export import Exported, find_format
from lambdamart_kit.export.mixin import ExportOptions
from lambdamart_kit.files.checks import check_output
from lambdamart_kit.files.chunk import Columns
from lambdamart_kit.files.row_files import RowFiles, find_files
from lambdamart_kit.files.scoring import as_trained

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
    inputs = [Path(model), *(find_files(check) if check else [])]
    _check_outputs(Path(out), inputs, format, force)
    fitted = _load(model)
    rows = None if check is None else _rows(fitted, check, columns or Columns(required=False))
    with warnings.catch_warnings():
        # Columns were found by name, or have none here: either way they are in the order of the fit.
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        exported: Exported = fitted.export(out, format=format, check=rows, **options)
    return exported


def _check_outputs(out: Path, inputs: Sequence[Path], format: str, force: bool) -> None:
    """Refuse, before any work, what cannot be written and what would be written over."""
    for path in (out, find_format(format).features_path(out)):
        check_output(path, inputs, suffix="", force=force)
        if path.exists() and not force:
            raise FileExistsError(errno.EEXIST, "is there already, and --force writes over it", str(path))


def _load(path: str | Path) -> Any:
    from lambdamart_kit.preferences import RewardModel
    from lambdamart_kit.rankers import load_ranker, saving

    if saving.read(path).class_name == RewardModel.__name__:
        return RewardModel.load(path)
    return load_ranker(path)


def _rows(fitted: Any, files: Sequence[str], columns: Columns) -> Float32Array:
    """The first rows of files, with the columns that the model was fitted on."""
    columns = as_trained(fitted, columns, files)
    found: list[Float32Array] = []
    for chunk in RowFiles(files, columns).chunks(fitted.n_features_in_):
        found.append(chunk.X)
        if sum(map(len, found)) >= _MOST_ROWS:
            break
    return np.concatenate(found)[:_MOST_ROWS]
