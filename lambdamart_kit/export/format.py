"""What every export format has: what it holds, how it is written, and how its engine would score it."""

from __future__ import annotations

import importlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lambdamart_kit.core.typing import Array, Float32Array, FloatArray
from lambdamart_kit.export.model import KINDS, QUANTILE, Exportable, LinearSum, TreeSum
from lambdamart_kit.export.thresholds import sends_missing_as_zero

# Format name -> "module:class"; the one list that the library, the command line and the tests go by.
EXPORTS = {
    "elasticsearch": "lambdamart_kit.export.formats.plugins:Elasticsearch",
    "elasticsearch-native": "lambdamart_kit.export.formats.elastic:ElasticsearchNative",
    "opensearch": "lambdamart_kit.export.formats.plugins:OpenSearch",
    "solr": "lambdamart_kit.export.formats.solr:Solr",
    "vespa": "lambdamart_kit.export.formats.vespa:Vespa",
    "ranklib": "lambdamart_kit.export.formats.ranklib:RankLib",
    "xgboost": "lambdamart_kit.export.formats.xgboost:XGBoost",
    "lightgbm": "lambdamart_kit.export.formats.lightgbm:LightGBM",
    "onnx": "lambdamart_kit.export.formats.onnx:Onnx",
    "c": "lambdamart_kit.export.formats.c_source:CSource",
}


@dataclass(frozen=True)
class ExportOptions:
    """Settings of an export; see :func:`lambdamart_kit.export.export_model`."""

    name: str = "ranker"
    file_name: str = "ranker.json"
    flavour: str = ""
    store: str = "ranker_features"
    no_missing: bool = False
    approximate: bool = False


@dataclass
class Written:
    """What a format makes of a model.

    Attributes
    ----------
    content : bytes
        The model file.
    features : bytes, optional
        Feature definitions for the engine, to go beside it.
    notes : list of str
        What the user should know.
    constant : float
        What the file leaves out of every score, because the format has no place for it.
    """

    content: bytes
    features: bytes | None = None
    constant: float = 0.0
    notes: list[str] = field(default_factory=list)


class Format(ABC):
    """A file format of an engine or a library.

    A new one is a subclass in a module of its own and a line in `EXPORTS`.

    Attributes
    ----------
    title : str
        What messages call it.
    holds : tuple of type
        Among `TreeSum`, `LinearSum` and `Network`.
    holds_categories, holds_missing : bool
        Whether splits may be on sets of categories, and whether the engine can send missing values where the
        ranker sends them. Without the latter, they count as zero.
    sums_in_float32 : bool
        Whether `scores` cannot but sum in float32.
    reads_float64 : bool
        Whether features that need float64 reach the trees as they are.
    flavours : tuple of str
        Variants, the default first; empty for a format that has none.
    features_suffix : str
        Ending of the file with feature definitions, which stands beside the model.
    forbidden : str
        Regular expression of a character that a feature's name may not have.
    """

    title: ClassVar[str]
    holds: ClassVar[tuple[type, ...]] = (TreeSum,)
    holds_categories: ClassVar[bool] = False
    holds_missing: ClassVar[bool] = True
    sums_in_float32: ClassVar[bool] = False
    reads_float64: ClassVar[bool] = False
    flavours: ClassVar[tuple[str, ...]] = ()
    features_suffix: ClassVar[str] = ".features.json"
    forbidden: ClassVar[str] = r"[^\w.\-]"

    @abstractmethod
    def write(self, model: Exportable, options: ExportOptions) -> Written:
        """The file of a model that passed `check`."""

    @abstractmethod
    def scores(self, content: bytes, X: Float32Array, feature_names: Sequence[str]) -> FloatArray:
        """Scores as the engine computes them from the file.

        Values are compared as the engine compares them, and leaf values rounded as it rounds them. Only the
        sum is taken in float64, so that a row sent to another leaf is not hidden by the rounding of the sum.

        Parameters
        ----------
        content : bytes
        X : ndarray (n_samples, n_features), float32
        feature_names : sequence of str
            Names of the columns, as the engine knows them.
        """

    def check(self, model: Exportable, options: ExportOptions) -> None:
        """Raise if the format cannot hold the model such that scores are equal."""
        if not isinstance(model, self.holds):
            held = " or ".join(KINDS[kind] for kind in self.holds)
            able = [name for name, made in all_formats().items() if isinstance(model, made.holds)]
            raise ValueError(
                f"'format' must be one that holds {KINDS[type(model)]}: {', '.join(able)}; {self.title} "
                f"holds {held}"
            )
        if options.flavour and options.flavour not in self.flavours:
            known = ", ".join(self.flavours) or "none"
            raise ValueError(f"'flavour' of {self.title} must be one of: {known}; got {options.flavour!r}")
        if isinstance(model, TreeSum):
            self._check_trees(model, options)
        elif model.inputs.kind == "quantile":
            raise ValueError(QUANTILE)
        elif isinstance(model, LinearSum):
            self._check_linear(model, options)

    def features_path(self, path: Path) -> Path:
        """Where the feature definitions of a model at `path` go."""
        return path.with_name(path.stem + self.features_suffix)

    def flavour_of_suffix(self, suffix: str) -> str:
        """The flavour that a file's suffix stands for; empty for none."""
        return ""

    def flavour(self, options: ExportOptions) -> str:
        """The flavour asked for, or the default."""
        return options.flavour or (self.flavours[0] if self.flavours else "")

    def without_missing(self, options: ExportOptions) -> bool:
        """Whether the engine takes missing values for zero."""
        return not self.holds_missing

    def _check_trees(self, model: TreeSum, options: ExportOptions) -> None:
        if not all(np.isfinite(tree.value).all() for tree in model.trees):
            raise ValueError("the leaf values must be finite to be exported; training has diverged")
        if not self.holds_categories:
            for tree in model.trees:
                self._check_no_categories(tree.categories, tree.feature, model)
        if self.without_missing(options) and not options.no_missing:
            self._check_missing(model)

    def _check_no_categories(self, categories: Sequence[Any], feature: Array, model: TreeSum) -> None:
        for codes, column in zip(categories, feature.tolist()):
            if codes is not None:
                able = [name for name, made in all_formats().items() if made.holds_categories]
                raise ValueError(
                    f"'format' must hold splits on categories, because column "
                    f"{model.feature_names[column]!r} has them; {self.title} holds thresholds only; use "
                    f"{', '.join(able)}, or train with categorical_features=None on numbers"
                )

    def _check_missing(self, model: TreeSum) -> None:
        for tree in model.trees:
            wrong = np.flatnonzero(~sends_missing_as_zero(tree))
            if len(wrong):
                column = model.feature_names[int(tree.feature[wrong[0]])]
                raise ValueError(
                    f"{self.title} takes a missing value for 0, and the ranker sends missing values of "
                    f"{column!r} to another side than 0; if no feature is ever missing in the engine, say so "
                    "with no_missing=True (--no-missing), or use a format that holds missing values"
                )

    def _check_linear(self, model: LinearSum, options: ExportOptions) -> None:
        """Nothing to refuse: the format holds the scaling of features."""
        return


class LinearFormat(Format):
    """A format whose linear models are weights of the features as they are."""

    def _check_linear(self, model: LinearSum, options: ExportOptions) -> None:
        if model.inputs.kind == "log1p":
            raise ValueError(
                f"'input_transform' must not be 'log1p' for {self.title}, which weighs features as they are; "
                "use format='onnx' or 'c', or fit with 'standard' or None"
            )
        off = np.flatnonzero((model.raw_weights != 0) & (model.inputs.mean != 0))
        if len(off) and not options.no_missing:
            raise ValueError(
                f"{self.title} takes a missing value for 0, and the ranker takes a missing value of "
                f"{model.feature_names[off[0]]!r} for its mean, {model.inputs.mean[off[0]]:g}; if no feature "
                "is ever missing in the engine, say so with no_missing=True (--no-missing)"
            )


def find_format(name: str) -> Format:
    """The format of that name.

    Parameters
    ----------
    name : str
        A key of `EXPORTS`.

    Returns
    -------
    Format
        It writes models.

    Raises
    ------
    ValueError
        Naming the formats there are.

    Examples
    --------
    >>> find_format("ranklib").title
    'RankLib'
    """
    if name not in EXPORTS:
        raise ValueError(f"'format' must be one of {', '.join(EXPORTS)}; got {name!r}")
    module, _, attribute = EXPORTS[name].partition(":")
    found: Format = getattr(importlib.import_module(module), attribute)()
    return found


def all_formats() -> dict[str, Format]:
    """Every format by name."""
    return {name: find_format(name) for name in EXPORTS}


def engine_names(names: Sequence[str], forbidden: str) -> tuple[str, ...]:
    """Names without `forbidden` characters, no two of them equal.

    Examples
    --------
    >>> engine_names(["title bm25", "title_bm25", "age"], r"[^A-Za-z0-9_]")
    ('title_bm25', 'title_bm25_2', 'age')
    """
    taken: set[str] = set()
    found = []
    for name in names:
        cleaned = re.sub(forbidden, "_", name) or "_"
        candidate, n = cleaned, 1
        while candidate in taken:
            n += 1
            candidate = f"{cleaned}_{n}"
        taken.add(candidate)
        found.append(candidate)
    return tuple(found)


def as_json(content: Any, *, indent: int | None = None) -> bytes:
    """JSON without the NaN and Infinity that are not JSON."""
    separators = (",", ":") if indent is None else None
    return (json.dumps(content, allow_nan=False, indent=indent, separators=separators) + "\n").encode()


Step = Callable[[Any, Array], "float | tuple[Array, Any, Any]"]


def walk(root: Any, n_rows: int, step: Step) -> FloatArray:
    """Leaf value of each row: `step` says of a node and the rows that reach it what becomes of them.

    Parameters
    ----------
    root : object
        A node, as `step` knows them.
    n_rows : int
    step : callable
        Returns a leaf's value, or which rows go left, the left child and the right child.
    """
    values = np.zeros(n_rows)
    to_visit: list[tuple[Any, Array]] = [(root, np.arange(n_rows))]
    while to_visit:
        node, rows = to_visit.pop()
        if not len(rows):
            continue
        found = step(node, rows)
        if isinstance(found, tuple):
            goes_left, left, right = found
            to_visit += [(left, rows[goes_left]), (right, rows[~goes_left])]
        else:
            values[rows] = found
    return values
