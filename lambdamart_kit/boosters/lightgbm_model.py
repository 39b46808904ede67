"""A fitted model in LightGBM's format. The library, slow to import, is imported when it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from lambdamart_kit.boosters.protocol import SumOfTrees, can_be_written
from lambdamart_kit.core.typing import Features, FloatArray, IndexArray
from lambdamart_kit.runtime.threads import library_threads, limit_libraries_after_fork
from lambdamart_kit.trees.model_text import ModelTree, mean_text, read_trees
from lambdamart_kit.trees.plain_tree import PlainTree, plain_trees_of_lightgbm
from lambdamart_kit.trees.validation import check_lightgbm_text

if TYPE_CHECKING:
    import lightgbm as lgb

    from lambdamart_kit.trees.forest import Forest


class LightGBMModel(SumOfTrees):
    """A model in LightGBM's text format: what its trees, and the native ones, are saved as.

    Scores are LightGBM's to the last bit, and its own for the first few thousand rows; then the trees are
    laid out as a `Forest`, which is faster.
    """

    suffix = "txt"

    def __init__(self, raw: lgb.Booster | None) -> None:
        self._raw = raw
        self._n_scored = 0
        self._is_mean: bool | None = None
        self._forests: dict[np.dtype[Any], Forest | None] = {}  # by the precision of rows

    @property
    def raw(self) -> lgb.Booster:
        """LightGBM's own model."""
        assert self._raw is not None  # only native models, which make it when it is asked for, start without
        limit_libraries_after_fork()
        return self._raw

    def with_categories(self, categories: Mapping[int, Sequence[Any]]) -> lgb.Booster:
        """LightGBM's model, which keeps the categories of a frame's columns in their order."""
        raw = self.raw
        if categories and can_be_written(categories, str, bool, int, float, np.generic):
            raw.pandas_categorical = [list(categories[column]) for column in sorted(categories)]
        return raw

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return self._counts[0]

    @cached_property
    def _counts(self) -> tuple[int, int]:
        """Trees and columns: to ask LightGBM for them takes longer than all checks of a short query."""
        return int(self.raw.num_trees()), int(self.raw.num_feature())

    def _scores(self, X: Features, start: int, stop: int, n_threads: int) -> FloatArray:
        forest = self._laid_out(X)
        if forest is not None:
            return forest.predict(X, start, min(stop, self.n_trees), n_threads=n_threads)
        scores = self.raw.predict(
            X,
            start_iteration=start,
            num_iteration=stop - start,
            raw_score=True,
            num_threads=library_threads(n_threads),
        )
        # A random forest is the mean of its trees, and LightGBM's raw score their sum.
        return np.asarray(scores, dtype=np.float64) / (stop - start if self._averages() else 1)

    def _averages(self) -> bool:
        """Whether the score is the mean of the trees, as that of LightGBM's random forests."""
        if self._is_mean is None:
            self._is_mean = "\naverage_output" in self.raw.model_to_string(num_iteration=1)
        return self._is_mean

    def staged(self, X: Features, *, n_threads: int = 1) -> Iterator[FloatArray]:
        """Scores of the first tree, of the first two, and so on, each (n_samples,) float64."""
        averages = self._averages()
        for n_trees, total in enumerate(super().staged(X, n_threads=n_threads), start=1):
            yield total / n_trees if averages else total

    @property
    def n_features(self) -> int:
        """Columns of the rows it scores."""
        return self._counts[1]

    def _laid_out(self, X: Features) -> Forest | None:
        """The trees as a forest, if X is what it reads and enough rows were scored to be worth it."""
        dtype = getattr(X, "dtype", None)
        if dtype not in (np.float32, np.float64) or X.shape[1] != self.n_features:
            return None
        self._n_scored += X.shape[0]
        if dtype not in self._forests and self._n_scored >= self._worth_a_forest():
            self._forests[dtype] = self._lay_out(dtype)
        return self._forests.get(dtype)

    def _worth_a_forest(self) -> int:
        """Number of scored rows after which a `Forest` pays off: laying out the trees takes as long."""
        return 4096

    def _lay_out(self, dtype: Any) -> Forest | None:
        from lambdamart_kit.trees.forest import Forest

        return Forest.of_text(self.raw.model_to_string(num_iteration=-1), dtype)

    def leaf_indices(self, X: Features) -> IndexArray:
        """The leaf that each row of X falls into in each tree, (n_samples, n_trees)."""
        leaves = np.asarray(self.raw.predict(X, pred_leaf=True))
        return leaves.reshape(X.shape[0], self.n_trees).astype(np.intp)

    def truncate(self, n_trees: int) -> LightGBMModel:
        """The model with its first `n_trees` trees."""
        if n_trees >= self.n_trees:
            return self
        return self.from_bytes(self.raw.model_to_string(num_iteration=n_trees).encode())

    def gain(self) -> FloatArray:
        """Total split gain of each feature, (n_features,)."""
        return np.asarray(self.raw.feature_importance("gain"), dtype=np.float64)

    def plain_trees(self) -> list[PlainTree]:
        """The trees without LightGBM."""
        return plain_trees_of_lightgbm(self.raw.model_to_string(num_iteration=-1))

    def model_trees(self) -> list[ModelTree]:
        """The trees as they stand in the model, so that scores are LightGBM's to the last bit."""
        found = read_trees(self.to_bytes().decode())
        return super().model_trees() if found is None else found

    def _scoring_dtype(self, X: Features) -> Any:
        return np.dtype(np.float64 if X.dtype == np.float64 else np.float32)

    def _library_contributions(self, X: Features, n_threads: int) -> FloatArray | None:
        if "\nis_linear=1\n" in self.raw.model_to_string(num_iteration=1):
            return None  # LightGBM has no SHAP values for linear leaves
        found: Any = self.raw.predict(X, pred_contrib=True, num_threads=library_threads(n_threads))
        dense = found.toarray() if sparse.issparse(found) else found
        return np.asarray(dense, dtype=np.float64).reshape(X.shape[0], X.shape[1] + 1)

    def to_bytes(self) -> bytes:
        """LightGBM's text format."""
        return str(self.raw.model_to_string(num_iteration=-1)).encode()

    @classmethod
    def average(cls, models: Sequence[LightGBMModel]) -> LightGBMModel:
        """One model whose scores are the mean of those of `models`, their trees one after the other."""
        texts = [model.to_bytes().decode() for model in models]
        return LightGBMModel.from_bytes(mean_text(texts).encode())

    @classmethod
    def from_bytes(cls, content: bytes) -> LightGBMModel:
        """The model that `to_bytes` wrote; a ValueError if its trees cannot be walked."""
        import lightgbm

        check_lightgbm_text(content.decode())
        limit_libraries_after_fork()
        return LightGBMModel(lightgbm.Booster(model_str=content.decode()))
