"""The method ``export`` of everything that can be exported."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from lambdamart_kit.core.typing import Features, Float32Array, FloatArray

if TYPE_CHECKING:
    from lambdamart_kit.export.exporting import Exported, FeatureNames, Shift
    from lambdamart_kit.export.model import Exportable


class ExportOptions(TypedDict, total=False):
    """Settings of an export; :func:`lambdamart_kit.export.export_model` explains them."""

    flavour: str
    name: str
    store: str
    feature_names: FeatureNames
    no_missing: bool
    shift: Shift
    approximate: bool


class CanExport:
    """Adds `export`; a subclass says in `_exportable` what its fitted model is, in plain numbers."""

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        format: str,
        check: Any = None,
        **options: Unpack[ExportOptions],
    ) -> Exported:
        """Write the fitted model as a file that a search engine or another tool scores with.

        Every row of float32 values gets the ranker's score there, or the export is refused and the message
        says why. Feature definitions are written beside the file for engines that need them.

        Parameters
        ----------
        path : path
            The file to write.
        format : str
            A name in `lambdamart_kit.export.EXPORTS`, such as "solr", "elasticsearch", "onnx" or "c".
        check : (n_samples, n_features) array-like or DataFrame, optional
            Rows to compare scores on: those that the engine computes from the file, by its own rules or by
            itself where it is installed, with those of `predict`. Rows with values on thresholds and next to
            them are added.
        **options
            See :func:`lambdamart_kit.export.export_model`: ``flavour``, ``name``, ``store``,
            ``feature_names``, ``no_missing``, ``shift``, ``approximate``.

        Returns
        -------
        Exported
            What was written, with notes and the result of `check`.

        Raises
        ------
        ValueError
            If the format cannot hold the model such that scores are equal, or scores differ in `check`.
        TypeError
            If the ranker has no form that could be exported.
        """
        from lambdamart_kit.export.exporting import export_model

        model = self._exportable()
        rows = None if check is None else self._rows_and_scores(check)
        return export_model(model, path, format, check=rows, **options)

    def _exportable(self) -> Exportable:
        """The fitted model in plain numbers."""
        raise TypeError(
            f"{type(self).__name__} cannot be exported: it is no sum of trees and no linear function"
        )

    def _rows_and_scores(self, X: Features) -> tuple[Float32Array, FloatArray]:
        """Rows as the trees see them (float32, dense, categories as codes), and their scores."""
        raise NotImplementedError
