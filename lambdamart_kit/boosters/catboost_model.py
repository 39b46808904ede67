"""CatBoost's model behind the model protocol, and a form of it that finds the codes of categories itself."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import catboost as cb
import numpy as np

from lambdamart_kit.boosters.catboost_trees import plain_trees_of_catboost
from lambdamart_kit.boosters.protocol import SumOfTrees
from lambdamart_kit.compile.interrupts import interrupts_held
from lambdamart_kit.core.rows import CODES_END, as_csr, is_sparse, with_pandas_columns
from lambdamart_kit.core.typing import Features, FloatArray, IndexArray, Settings
from lambdamart_kit.trees.plain_tree import PlainTree

if TYPE_CHECKING:
    from lambdamart_kit.trees.contributions import TreeContributions

_PLAIN_VALUES = (str, int, float, list, tuple, dict)
_KEPT = "lambdamart_kit_n_trees"


class CatBoostModel(SumOfTrees):
    """A model in CatBoost's own binary format (flat buffers, no code in it)."""

    suffix = "cbm"

    def __init__(self, raw: cb.CatBoost) -> None:
        self.raw = raw

    @property
    def n_trees(self) -> int:
        """Number of trees in use."""
        kept = self.raw.get_metadata().get(_KEPT)
        return int(self.raw.tree_count_ or 0) if kept is None else int(kept)

    @interrupts_held()
    def _scores(self, X: Features, start: int, stop: int, n_threads: int) -> FloatArray:
        categorical = self.raw.get_cat_feature_indices()
        scores = self.raw.predict(
            codes_table(X, categorical, self.raw.feature_names_),
            prediction_type="RawFormulaVal",
            ntree_start=start,
            ntree_end=stop,
            thread_count=n_threads,
        )
        return np.asarray(scores, dtype=np.float64)

    def with_categories(self, categories: Mapping[int, Sequence[Any]]) -> cb.CatBoost:
        """CatBoost's model of the trees in use; one that knows the categories of a frame's columns.

        CatBoost was given codes, so its own model would take every name in a frame for one never seen.
        """
        try:
            raw = self.cut()
        except ValueError:
            raw = self.raw  # trees that are not symmetric cannot be taken out, so they are left out of sums
        # A model that was read from bytes holds none of the kit's own objects, so it can be pickled.
        is_whole = int(raw.tree_count_ or 0) == self.n_trees
        if is_whole and not categories:
            found = CatBoostModel.from_bytes(CatBoostModel(raw).to_bytes()).raw
        else:
            found = KitCatBoost.of(raw, self.n_trees, categories)
        # Its bytes have no parameters of training; `get_params` is to tell those that are plain values.
        plain = {name: v for name, v in self.raw.get_params().items() if isinstance(v, _PLAIN_VALUES)}
        found._init_params.update(plain)
        return found

    @interrupts_held()
    def leaf_indices(self, X: Features) -> IndexArray:
        """The leaf that each row of X falls into in each tree, (n_samples, n_trees)."""
        table = codes_table(X, self.raw.get_cat_feature_indices(), self.raw.feature_names_)
        leaves = self.raw.calc_leaf_indexes(table, ntree_end=self.n_trees)
        return np.asarray(leaves).reshape(X.shape[0], self.n_trees).astype(np.intp)

    @interrupts_held()
    def truncate(self, n_trees: int) -> CatBoostModel:
        """The model with its first `n_trees` trees."""
        if n_trees >= self.n_trees:
            return self
        # CatBoost's own shrink() works on symmetric trees only, so the number is noted in the model instead.
        shorter = self.raw.copy()
        shorter.get_metadata()[_KEPT] = str(n_trees)
        return CatBoostModel(shorter)

    @interrupts_held()
    def cut(self) -> cb.CatBoost:
        """CatBoost's model without the trees that are not in use.

        Raises
        ------
        ValueError
            If there are such trees and they are not symmetric: CatBoost cannot take them out.
        """
        if self.n_trees == int(self.raw.tree_count_ or 0):
            return self.raw
        shorter = self.raw.copy()
        try:
            shorter.shrink(self.n_trees)
        except cb.CatBoostError:
            raise ValueError(
                "'num_leaves' must be None with CatBoost and a model that stopped early, with 'n_bags' above "
                "1 or to go on from it: CatBoost cannot shorten trees that are not symmetric; set "
                "num_leaves=None or early_stopping_rounds=None"
            ) from None
        return shorter

    @interrupts_held()
    def gain(self) -> FloatArray:
        """CatBoost's own importance (change of the prediction), (n_features,); it keeps no split gains."""
        return np.asarray(self.raw.get_feature_importance(type="PredictionValuesChange"), dtype=np.float64)

    @interrupts_held()
    def plain_trees(self) -> list[PlainTree]:
        """The trees without CatBoost."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.json"
            self.raw.save_model(str(path), format="json")
            return plain_trees_of_catboost(path.read_bytes(), self.n_trees)

    def _lay_out_contributions(self) -> TreeContributions:
        from lambdamart_kit.trees.contributions import TreeContributions

        return TreeContributions.of_trees(self.plain_trees(), single=True)

    @interrupts_held()
    def _library_contributions(self, X: Features, n_threads: int) -> FloatArray | None:
        table = codes_table(X, self.raw.get_cat_feature_indices(), self.raw.feature_names_)
        if self.n_trees < (self.raw.tree_count_ or 0):
            return None  # CatBoost computes them for all of its trees only
        pool = cb.Pool(table, cat_features=self.raw.get_cat_feature_indices())
        found = self.raw.get_feature_importance(pool, type="ShapValues", thread_count=n_threads)
        found = np.asarray(found, dtype=np.float64)
        # CatBoost 1.2's values of trees that are not symmetric do not sum to its scores.
        sums_up = np.allclose(found.sum(axis=1), self.predict(X, n_threads=n_threads), rtol=1e-6, atol=1e-6)
        return found if sums_up else None

    @interrupts_held()
    def to_bytes(self) -> bytes:
        """CatBoost's binary format."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.cbm"
            self.raw.save_model(str(path), format="cbm")
            return path.read_bytes()

    @classmethod
    @interrupts_held()
    def from_bytes(cls, content: bytes) -> CatBoostModel:
        """The model that `to_bytes` wrote."""
        raw = cb.CatBoost()
        _check_size(content)
        raw.load_model(blob=content)
        return cls(raw)


class KitCatBoost(cb.CatBoost):
    """CatBoost's model that finds the codes of a frame's categories itself, and adds only the trees in use.

    Both are kept in this object. A file that `save_model` writes knows the codes alone, and all trees.
    """

    kit_categories: Mapping[int, Sequence[Any]]
    kit_n_trees: int

    @classmethod
    @interrupts_held()
    def of(cls, raw: cb.CatBoost, n_trees: int, categories: Mapping[int, Sequence[Any]]) -> KitCatBoost:
        """The first `n_trees` trees of CatBoost's model with the names of its categories, by column."""
        named = cls()
        named.load_model(blob=CatBoostModel(raw).to_bytes())
        named.kit_categories = {j: list(known) for j, known in categories.items()}
        named.kit_n_trees = n_trees
        return named

    def __getstate__(self) -> Settings:
        kept = {"kit_categories": self.kit_categories, "kit_n_trees": self.kit_n_trees}
        return {**super().__getstate__(), "kit": kept}

    def __setstate__(self, state: Settings) -> None:
        self.__dict__.update(state.pop("kit"))
        super().__setstate__(state)

    def predict(
        self,
        data: Any,
        prediction_type: str = "RawFormulaVal",
        ntree_start: int = 0,
        ntree_end: int = 0,
        *args: Any,
        **options: Any,
    ) -> Any:
        """See ``CatBoost.predict``."""
        end = ntree_end or self.kit_n_trees
        return super().predict(self._with_codes(data), prediction_type, ntree_start, end, *args, **options)

    def calc_leaf_indexes(
        self, data: Any, ntree_start: int = 0, ntree_end: int = 0, *args: Any, **options: Any
    ) -> Any:
        """See ``CatBoost.calc_leaf_indexes``."""
        end = ntree_end or self.kit_n_trees
        return super().calc_leaf_indexes(self._with_codes(data), ntree_start, end, *args, **options)

    def get_feature_importance(self, data: Any = None, *args: Any, **options: Any) -> Any:
        """See ``CatBoost.get_feature_importance``.

        Raises
        ------
        ValueError
            If `data` is given and trees are left out, which CatBoost would count.
        """
        if data is None:
            return super().get_feature_importance(data, *args, **options)
        if self.kit_n_trees < int(self.tree_count_ or 0):
            raise ValueError(
                "'data' must be None with trees that are left out, because the fit stopped early on trees "
                "that are not symmetric; use ranker.contributions(X) or ranker.explain(X)"
            )
        found = self._with_codes(data)
        if not isinstance(found, cb.Pool):
            found = cb.Pool(found, cat_features=self.get_cat_feature_indices())
        return super().get_feature_importance(found, *args, **options)

    def save_model(self, fname: Any, *args: Any, **options: Any) -> None:
        """See ``CatBoost.save_model``; a warning says what the file will not hold."""
        lost = ["the names of the categories"] if self.kit_categories else []
        lost += ["where the fit stopped early"] if self.kit_n_trees < int(self.tree_count_ or 0) else []
        warnings.warn(
            f"CatBoost's file does not hold {' and '.join(lost)}, so other scores can come from it than from "
            "the ranker; use ranker.save() instead",
            UserWarning,
            stacklevel=2,
        )
        super().save_model(fname, *args, **options)

    def _with_codes(self, data: Any) -> Any:
        """A pandas or Polars frame with codes for its categories, -1 for unknown ones; arrays as they are.

        Raises
        ------
        ValueError
            If `data` is a pool with categories, of which CatBoost keeps hashes only.
        """
        import pandas as pd

        if isinstance(data, cb.Pool) and self.kit_categories:
            raise ValueError(
                "'data' must be a frame, not a catboost.Pool, which has only hashes of categories where this "
                "model needs their codes; pass the frame, or use ranker.contributions(X) or ranker.explain(X)"
                " in place of SHAP's TreeExplainer"
            )
        frame = with_pandas_columns(data)
        if not isinstance(frame, pd.DataFrame):
            return data
        frame = frame.copy(deep=False)
        for j, known in self.kit_categories.items():
            codes = pd.Index(known).get_indexer(frame.iloc[:, j].astype(object))
            frame.isetitem(j, codes.astype(np.int64))
        return frame


def codes_table(X: Features, categorical: Sequence[int], names: Sequence[str] | None) -> Any:
    """CatBoost takes categories as integers only, so with categories it gets a frame.

    NaN is category -1, and so is any number that no code can be: it was in no training row.
    """
    if not len(categorical):
        return X
    import pandas as pd

    frame = pd.DataFrame(as_csr(X).toarray() if is_sparse(X) else X)
    for j in categorical:
        frame[j] = frame[j].where((frame[j] >= 0) & (frame[j] < CODES_END), -1).astype(np.int64)
    return frame if names is None else frame.set_axis(list(names), axis=1)


def _check_size(content: bytes) -> None:
    """Refuse a model shorter than the size at its start says: CatBoost would read past its end."""
    size = int.from_bytes(content[4:8], "little")
    if content[:4] != b"CBM1" or len(content) < 8 + size:
        raise ValueError(f"not a whole CatBoost model: its head asks for {size:,} of {len(content):,} bytes")
