"""Reward models as files: the kit's model format, a zip of JSON and arrays without any pickle."""

from __future__ import annotations

import io
import os
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.boosters.registry import read_model
from lambdamart_kit.core.typing import Array, Features, FloatArray, Settings
from lambdamart_kit.preferences.rewards.scorers import LinearReward
from lambdamart_kit.preferences.text import SentenceEmbeddings, TextFeatures, TfidfFeatures
from lambdamart_kit.rankers import saving

_NUISANCE = "nuisance.npy"
_LEVELS = "bag_levels.npy"


class RewardFile:
    """`save` and `load` of a reward model with trees or a linear scorer."""

    saved_attributes: ClassVar[tuple[str, ...]]

    scorer: Any
    booster: str
    features: Features
    rewards_: list[Any]
    extractor_: Any
    nuisance_coef_: Array | None
    bag_levels_: FloatArray

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to one file that is safe to open.

        Raises
        ------
        TypeError
            If the scorer is a ranker or `features` a transformer of another library; use joblib for those.
        """
        saving.write(path, *self._parts())

    def to_bytes(self) -> bytes:
        """Content of the file that `save` writes, to put into another one.

        Returns
        -------
        bytes
            A zip file.

        Raises
        ------
        TypeError
            As `save` does.
        """
        return saving.pack(*self._parts())

    def _parts(self) -> tuple[str, Settings, Settings, dict[str, bytes]]:
        """What a file holds: name of the class, parameters, fitted attributes and parts of the model."""
        check_is_fitted(self)
        if self.scorer not in ("trees", "linear"):
            raise TypeError("a reward model on a ranker has no file format; store it with joblib")
        files = {}
        for k, reward in enumerate(self.rewards_):
            linear = self.scorer == "linear"
            content = array_bytes([reward.coef, reward.mean]) if linear else reward.to_bytes()
            files[f"reward{k}"] = content
        files[_LEVELS] = array_bytes(self.bag_levels_)
        if self.nuisance_coef_ is not None:
            files[_NUISANCE] = array_bytes(self.nuisance_coef_)
        params = self.get_params(deep=False)  # type: ignore[attr-defined]
        state = {name: getattr(self, name) for name in self.saved_attributes}
        state["n_bags"] = len(self.rewards_)
        state["extractor"] = extractor_state(self.extractor_, files)
        if self.extractor_ is not None:
            params["features"] = state["extractor"]["name"]
        return type(self).__name__, params, state, files

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model that `save` wrote.

        Raises
        ------
        ModelFormatError
            If the file is not one, is damaged, or holds another class.
        """
        return cls.of_content(saving.read_model(path, cls), os.fspath(path))

    @classmethod
    def of_content(cls, content: saving.Content, where: str) -> Self:
        """The model of a file's content; `where` is how errors call the file.

        Parameters
        ----------
        content : Content
            Parts of the file.
        where : str
            How errors call the file.

        Returns
        -------
        RewardModel
            The fitted model.

        Raises
        ------
        ModelFormatError
            If the content is damaged.
        """
        with saving.restoring(where):
            model = cls(**content.params)
            state = dict(content.state)
            n_bags = state.pop("n_bags")
            if not 1 <= n_bags <= len(content.files):
                raise ValueError(f"it has no {n_bags} rewards")
            names = [f"reward{k}" for k in range(n_bags)]
            model.extractor_ = restored_extractor(state.pop("extractor"), content.files)
            saving.check_state(state, model.saved_attributes, cls.__name__)
            for name, value in state.items():
                setattr(model, name, value)
            if model.scorer == "trees":
                model.rewards_ = [read_model(model.booster, content.files[name]) for name in names]
            else:
                model.rewards_ = [LinearReward(*saving.read_array(content.files[name])) for name in names]
            # Files of one bag were once written without levels, which only a spread of bags needs.
            levels = content.files.get(_LEVELS)
            model.bag_levels_ = np.zeros(len(names)) if levels is None else saving.read_array(levels)
            nuisance = content.files.get(_NUISANCE)
            model.nuisance_coef_ = None if nuisance is None else saving.read_array(nuisance)
            saving.try_out(model.n_features_in_, model.predict)  # type: ignore[attr-defined]
        return model


def extractor_state(extractor: Any, files: dict[str, bytes]) -> Settings | None:
    """What restores a feature extractor: JSON returned, arrays added to `files`."""
    if extractor is None:
        return None
    if isinstance(extractor, TextFeatures):
        return {"name": "text"}
    if isinstance(extractor, SentenceEmbeddings):
        return {"name": f"embeddings:{extractor.model}", "batch_size": extractor.batch_size}
    if isinstance(extractor, TfidfFeatures):
        terms = extractor.vectorizer_.get_feature_names_out().tolist()
        files["terms"] = "\n".join(terms).encode()
        files["idf.npy"] = array_bytes(extractor.vectorizer_.idf_)
        files["components.npy"] = array_bytes(extractor.svd_.components_)
        return {"name": "tfidf"}
    raise TypeError(
        f"features by {type(extractor).__name__} have no file format; store the model with joblib"
    )


def restored_extractor(state: Settings | None, files: dict[str, bytes]) -> Any:
    """The extractor that `extractor_state` described."""
    if state is None:
        return None
    if state["name"] == "text":
        return TextFeatures()
    if state["name"] == "tfidf":
        return _restored_tfidf(files)
    return SentenceEmbeddings(state["name"].removeprefix("embeddings:"), batch_size=state["batch_size"])


def _restored_tfidf(files: dict[str, bytes]) -> TfidfFeatures:
    terms = files["terms"].decode().split("\n")
    components = saving.read_array(files["components.npy"])
    extractor = TfidfFeatures(len(components))
    extractor.vectorizer_ = TfidfVectorizer(
        sublinear_tf=True, ngram_range=(1, 2), dtype=np.float32, vocabulary=terms
    )
    extractor.vectorizer_.idf_ = saving.read_array(files["idf.npy"])
    extractor.svd_ = TruncatedSVD(len(components))
    extractor.svd_.components_ = components
    extractor.svd_.n_features_in_ = components.shape[1]
    return extractor


def array_bytes(values: Any) -> bytes:
    """An array as the content of a ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values), allow_pickle=False)
    return buffer.getvalue()
