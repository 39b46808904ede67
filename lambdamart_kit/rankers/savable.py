"""Mixin of everything that can be saved: one file a ranker, written and read without pickle."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.core.typing import Array, FloatArray
from lambdamart_kit.rankers import saving


class CanSave:
    """A fitted ranker as one file.

    A subclass says in `_files` and `_restore` what its model consists of, and in `saved_attributes` which
    fitted attributes go with it.
    """

    saved_attributes: ClassVar[tuple[str, ...]] = ()
    """Fitted attributes that `save` writes beside the model."""

    get_params: Callable[..., Any]
    n_features_in_: int
    feature_names_in_: Array
    reading_: Any

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted ranker to one file: a zip of JSON and the model in its library's text format.

        No pickle is involved, so the file is safe to open and readable by later versions.

        Parameters
        ----------
        path : str or Path
            File to write.

        Raises
        ------
        TypeError
            If a parameter has no JSON form (a callable objective is kept by name only).
        """
        saving.write(path, *self._parts())

    def to_bytes(self) -> bytes:
        """Content of the file that `save` writes, to put into another one.

        Returns
        -------
        bytes
            A zip file.
        """
        return saving.pack(*self._parts())

    def _parts(self) -> tuple[str, dict[str, Any], dict[str, Any], dict[str, bytes]]:
        """What a file holds: name of the class, parameters, fitted attributes and parts of the model."""
        check_is_fitted(self)
        files = self._files()
        state = {name: getattr(self, name) for name in self.saved_attributes}
        if hasattr(self, "feature_names_in_"):
            state["feature_names_in_"] = self.feature_names_in_.tolist()
        if hasattr(self, "column_labels_"):
            state["column_labels_"] = self.column_labels_
        if getattr(self, "reading_", None):  # set by who read files, so that others are read alike
            state["reading_"] = self.reading_
        return type(self).__name__, self._saved_params(), state, files

    def _saved_params(self) -> dict[str, Any]:
        """Parameters as a file holds them."""
        params: dict[str, Any] = self.get_params(deep=False)
        return params

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a ranker that `save` wrote.

        Parameters
        ----------
        path : str or Path
            File to read.

        Raises
        ------
        ModelFormatError
            If the file is not one, is damaged, was written by a newer version, or holds another class.
        """
        remedy = "; use {found}.load or lambdamart_kit.rankers.load_ranker"
        return cls.of_content(saving.read_model(path, cls, remedy=remedy), os.fspath(path))

    @classmethod
    def of_content(cls, content: saving.Content, where: str) -> Self:
        """The ranker of a file's content; `where` is how errors call the file.

        Parameters
        ----------
        content : Content
            Parts of the file.
        where : str
            How errors call the file.

        Returns
        -------
        BaseRanker
            The fitted ranker.

        Raises
        ------
        ModelFormatError
            If the content is damaged.
        """
        with saving.restoring(where):
            ranker = cls(**content.params)
            state = dict(content.state)
            if "feature_names_in_" in state:
                ranker.feature_names_in_ = np.array(state.pop("feature_names_in_"), dtype=object)
            saving.check_state(state, ranker.saved_attributes, cls.__name__)
            for name, value in state.items():
                setattr(ranker, name, value)
            ranker._restore(content.files)
            saving.try_out(ranker.n_features_in_, ranker._predict_rows)
        return ranker

    def _predict_rows(self, X: Any) -> FloatArray:
        """Scores of the rows of a checked array or CSR matrix."""
        raise NotImplementedError

    def _files(self) -> dict[str, bytes]:
        """Name and content of each part of the fitted model, in a format that is safe to read."""
        raise TypeError(f"{type(self).__name__} has no file format; use joblib or skops to store it")

    def _restore(self, files: dict[str, bytes]) -> None:
        """Set the fitted attributes from what `_files` returned."""
        raise TypeError(f"{type(self).__name__} has no file format; use joblib or skops to store it")
