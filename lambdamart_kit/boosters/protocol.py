"""The protocol between rankers and the libraries that grow trees.

A ranker gives a `Booster` ordered rows, settings and a gradient (a bound objective of the kit), or the name
of an objective that the library computes itself (`LibraryObjective`). It gets a `Model` back.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from lambdamart_kit.boosters.rounds import Callback, EvalSet
from lambdamart_kit.boosters.settings import BoosterParams, ParameterNames
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rows import RowView
from lambdamart_kit.core.typing import Features, FloatArray, IndexArray
from lambdamart_kit.objectives import Bound
from lambdamart_kit.trees.plain_tree import PlainTree

if TYPE_CHECKING:
    from lambdamart_kit.trees.contributions import TreeContributions
    from lambdamart_kit.trees.forest import Forest
    from lambdamart_kit.trees.model_text import ModelTree


@dataclass(frozen=True, eq=False)
class LibraryObjective:
    """An objective that the library computes itself, and the labels it needs.

    Attributes
    ----------
    name : str
        In the library's words, such as ``"lambdarank"`` or ``"rank:ndcg"``.
    y : (n_samples,) float64
    queries : Queries
    sample_weight : (n_samples,) float64, or None
        Constant within a query.
    options : mapping
        Settings of the objective in the library's own names.
    init_score : (n_samples,) float64, or None
        Score that each row starts from.
    """

    name: str
    y: FloatArray
    queries: Queries
    sample_weight: FloatArray | None
    options: Mapping[str, Any] = field(default_factory=dict)
    init_score: FloatArray | None = None

    @property
    def query_weight(self) -> FloatArray | None:
        """One weight a query, or None."""
        return None if self.sample_weight is None else self.sample_weight[self.queries.ptr[:-1]]


class Model(Protocol):
    """A fitted ensemble of trees."""

    @property
    def raw(self) -> Any:
        """The library's own model."""

    @property
    def n_trees(self) -> int:
        """Number of trees."""

    def predict(
        self, X: Features, *, iteration_range: tuple[int, int] | None = None, n_threads: int = 1
    ) -> FloatArray:
        """Scores of the rows of X, (n_samples,) float64; of trees ``start:stop`` only, if given."""

    def staged(self, X: Features, *, n_threads: int = 1) -> Iterator[FloatArray]:
        """Scores of the first tree, of the first two, and so on, each (n_samples,) float64."""

    def with_categories(self, categories: Mapping[int, Sequence[Any]]) -> Any:
        """The library's own model, told what the codes 0, 1, ... of columns stand for.

        So it finds the codes of a data frame itself, whatever the order of the categories in there.
        """

    def truncate(self, n_trees: int) -> Model:
        """The model with its first `n_trees` trees."""

    def model_trees(self) -> list[ModelTree]:
        """The trees as the kit's kernel for scores reads them; see `SumOfTrees`."""

    def forest(self, X: Features, cuts: Sequence[int]) -> Forest:
        """The trees laid out for rows like X; see `SumOfTrees`."""

    def leaf_indices(self, X: Features) -> IndexArray:
        """The leaf that each row of X falls into in each tree, (n_samples, n_trees)."""

    def contributions(self, X: Features, background: Features = None, *, n_threads: int = 1) -> FloatArray:
        """What each feature adds to the score of each row, (n_samples, n_features + 1); see `SumOfTrees`."""

    def columns_in_use(self) -> IndexArray | None:
        """Columns that some tree looks at; None if the model does not say."""

    def gain(self) -> FloatArray:
        """Total split gain of each feature, (n_features,)."""

    def plain_trees(self) -> list[PlainTree]:
        """The trees without the library, as exports read them; their leaves sum to the scores.

        Raises
        ------
        ValueError
            If the scores are not a sum of leaves.
        """

    def to_bytes(self) -> bytes:
        """The model in the library's own text format."""

    @classmethod
    def from_bytes(cls, content: bytes) -> Model:
        """The model that `to_bytes` wrote."""


def can_be_written(categories: Mapping[int, Sequence[Any]], *kinds: type) -> bool:
    """Whether all categories are of `kinds`, those that a library's format has a form for."""
    values = [value for known in categories.values() for value in known]
    if bool not in kinds and any(isinstance(value, bool) for value in values):  # a bool is an int, too
        return False
    return all(isinstance(value, kinds) for value in values)


class SumOfTrees(ABC):
    """A `Model` that says how its library scores a run of trees."""

    _laid_out_contributions: TreeContributions | None = None
    _in_segments: Mapping[tuple[tuple[int, ...], Any], Forest] = MappingProxyType({})

    def __getstate__(self) -> dict[str, Any]:
        """The model in its library's own format, so that pickle and skops keep no type of the library."""
        model: Any = self
        return {"content": model.to_bytes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "content" not in state:  # a pickle from the time when the library's own object was kept
            self.__dict__.update(state)
            return
        model: Any = type(self)
        self.__dict__.update(vars(model.from_bytes(state["content"])))

    @property
    @abstractmethod
    def n_trees(self) -> int:
        """Number of trees."""

    @abstractmethod
    def _scores(self, X: Features, start: int, stop: int, n_threads: int) -> FloatArray:
        """Scores of the trees ``start:stop``, at least one."""

    def predict(
        self, X: Features, *, iteration_range: tuple[int, int] | None = None, n_threads: int = 1
    ) -> FloatArray:
        """Scores of the rows of X, (n_samples,) float64; of trees ``start:stop`` only, if given."""
        start, stop = iteration_range or (0, self.n_trees)
        return self._scores(X, start, stop, n_threads) if stop > start else np.zeros(X.shape[0])

    def staged(self, X: Features, *, n_threads: int = 1) -> Iterator[FloatArray]:
        """Scores of the first tree, of the first two, and so on, each (n_samples,) float64."""
        total = np.zeros(X.shape[0])
        # One tree at a time: each stage costs what its tree costs.
        for tree in range(self.n_trees):
            total = total + self._scores(X, tree, tree + 1, n_threads)
            yield total

    def with_categories(self, categories: Mapping[int, Sequence[Any]]) -> Any:
        """The library's own model, as it is: most libraries keep no names of categories."""
        model: Any = self
        return model.raw

    def plain_trees(self) -> list[PlainTree]:
        """The trees without the library; a model that does not say them cannot be exported."""
        raise TypeError(f"{type(self).__name__} cannot be exported: it has no 'plain_trees'")

    def truncate(self, n_trees: int) -> SumOfTrees:
        """The model with its first `n_trees` trees."""
        raise TypeError(f"{type(self).__name__} cannot be cut: it has no 'truncate'")

    def model_trees(self) -> list[ModelTree]:
        """The trees as the kit's kernel for scores reads them.

        Raises
        ------
        ValueError
            If the scores are not a sum of leaves, or missing categories go where the kernel cannot send them.
        """
        return [tree.in_model() for tree in self.plain_trees()]

    def forest(self, X: Features, cuts: Sequence[int]) -> Forest:
        """The trees laid out for rows like X in segments that end at `cuts`, which is done once.

        Raises
        ------
        ValueError
            If a tree has over 256 leaves, or as `model_trees` does.
        """
        from lambdamart_kit.trees.forest import Forest

        key = (tuple(cuts), self._scoring_dtype(X))
        if key not in self._in_segments:
            found = Forest.of_trees(self.model_trees(), key[1], cuts)
            if found is None:
                raise ValueError(
                    "trees must have at most 256 leaves to be scored by the kit; this one has more"
                )
            self._in_segments = {**dict(list(self._in_segments.items())[-3:]), key: found}
        return self._in_segments[key]

    def _scoring_dtype(self, X: Features) -> Any:
        """Precision in which the library reads rows."""
        return np.dtype(np.float32)

    def contributions(self, X: Features, background: Features = None, *, n_threads: int = 1) -> FloatArray:
        """What each feature adds to the score of each row, in exact SHAP values.

        Parameters
        ----------
        X : (n_samples, n_features) array or CSR matrix
        background : (n_samples, n_features) array or CSR matrix, optional
            For each row the row whose values a feature has while it is unknown. None for the training rows.
        n_threads : int

        Returns
        -------
        (n_samples, n_features + 1) float64
            The last column is the expected score. Rows sum to the score.
        """
        try:
            laid_out = self._with_contributions()
        except ValueError:
            found = None if background is not None else self._library_contributions(X, n_threads)
            if found is None:
                raise
            return found
        return laid_out(X, background, n_threads=n_threads)

    def columns_in_use(self) -> IndexArray | None:
        """Columns that some tree looks at; None if the model does not say."""
        try:
            return self._with_contributions().columns
        except (TypeError, ValueError):
            return None

    def _with_contributions(self) -> TreeContributions:
        """The trees laid out for contributions, which is done once."""
        if self._laid_out_contributions is None:
            self._laid_out_contributions = self._lay_out_contributions()
        return self._laid_out_contributions

    def _lay_out_contributions(self) -> TreeContributions:
        """The trees as the kit's kernel for contributions reads them; a ValueError if it cannot."""
        from lambdamart_kit.trees.contributions import TreeContributions

        return TreeContributions.of_trees(self.plain_trees())

    def _library_contributions(self, X: Features, n_threads: int) -> FloatArray | None:
        """The library's own SHAP values, for models that the kit's kernel cannot hold; None without any."""
        return None


class Booster(Protocol):
    """A learner of trees; `lambdamart_kit.boosters.registry` says what each can do.

    Attributes
    ----------
    model : type
        Class of the fitted model.
    parameter_names : mapping
        What the library calls each setting of `BoosterParams`; None if it has no such setting.
    reads_float64 : bool
        Whether features keep their precision; if not, they are taken as float32.
    reads_views : bool
        Whether X may be a :class:`~lambdamart_kit.core.rows.RowView`, which saves the copy in order.
    fits_in_threads : bool
        Whether several fits may run in threads of one process, each with ``n_threads=1``.
    """

    model: type[Model]
    parameter_names: ParameterNames
    reads_float64: bool = False
    reads_views: bool = False
    fits_in_threads: bool = False

    def share_rows(
        self, train: RowView, queries: Queries, held_out: Sequence[RowView], params: BoosterParams
    ) -> list[RowView]:
        """Training rows, then held-out rows, in a form that several fits can share; here as they are."""
        return [train, *held_out]

    def average(self, models: Sequence[Any]) -> Model:
        """One model whose scores are the mean of those of `models`, their trees one after the other."""
        raise TypeError(f"{type(self).__name__} cannot merge models: it has no 'average'")

    def head_start(
        self, params: BoosterParams, *, categories: bool, monotone: bool, interactions: bool = False
    ) -> AbstractContextManager[object]:
        """Context manager around a whole fit, entered before the rows are checked.

        A booster that compiles kernels may compile them in the background. `categories`, `monotone` and
        `interactions` say whether there seem to be categorical columns, monotone constraints and interaction
        constraints.
        """
        return nullcontext()

    def fit(
        self,
        X: Features,
        bound: Bound | LibraryObjective,
        params: BoosterParams,
        *,
        queries: Queries | None = None,
        eval_sets: Sequence[EvalSet] = (),
        callbacks: Sequence[Callback] = (),
        start: Model | None = None,
    ) -> Model:
        """Grow ``params.n_estimators`` trees on ordered rows, or fewer if a callback says stop.

        Parameters
        ----------
        X : (n_samples, n_features) float32 or float64 array or CSR matrix
            Ordered rows.
        bound : Bound or LibraryObjective
        params : BoosterParams
        queries : Queries, optional
            Of the ordered rows. Native trees draw whole queries where libraries draw rows (`subsample`).
        eval_sets : sequence of EvalSet
            Measured after every round.
        callbacks : sequence of callable
            Called by `finish_round` after every round; rounds are counted from 1 in this fit.
        start : Model, optional
            Trees to continue from; the returned model contains them.
        """
