"""Writing an exported model to a file, with what the engine needs beside it."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from lambdamart_kit.core.typing import Float32Array, FloatArray
from lambdamart_kit.export.check import Check, compare
from lambdamart_kit.export.format import ExportOptions, Format, Written, engine_names, find_format
from lambdamart_kit.export.model import Exportable, TreeSum
from lambdamart_kit.export.thresholds import merged_thresholds
from lambdamart_kit.runtime.atomic_file import atomic_file

FeatureNames = Sequence[str] | Mapping[str, str] | None
Shift = float | Literal["positive"]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Parameters
    ----------
    path : Path
        The model.
    features_path : Path or None
        Feature definitions beside it, for engines that need them.
    feature_names : tuple of str
        Names of the features in the engine, in the order of the columns.
    notes : tuple of str
        What is worth knowing: renamed features, scores that differ by a constant.
    check : Check or None
        How scores compare, where rows to compare on were given.

    Examples
    --------
    >>> written = Exported(Path("model.txt"), None, ("bm25",), ("scores differ by a constant",))
    >>> written.feature_names, written.check
    (('bm25',), None)
    """

    path: Path
    features_path: Path | None
    feature_names: tuple[str, ...]
    notes: tuple[str, ...]
    check: Check | None = None


def export_model(
    model: Exportable,
    path: str | os.PathLike[str],
    format: str,
    *,
    flavour: str = "",
    name: str = "ranker",
    store: str = "ranker_features",
    feature_names: FeatureNames = None,
    no_missing: bool = False,
    shift: Shift = 0.0,
    approximate: bool = False,
    check: tuple[Float32Array, FloatArray] | None = None,
) -> Exported:
    """Write a model in a format of `EXPORTS`.

    Parameters
    ----------
    model : TreeSum, LinearSum or Network
        What rankers make of themselves to be exported.
    path : str or Path
        File to write.
    format : str
        A name in `EXPORTS`.
    flavour : str
        A variant of the format, such as "ranklib" of "elasticsearch"; empty for its default.
    name : str
        Name of the model in the engine, and of the function in C: letters, digits and underscores.
    store : str
        Name of the feature store or feature set.
    feature_names : sequence of str, or mapping of str to str, optional
        Names of the features in the engine: one a column, or new names by the ranker's. Without, the ranker's
        own, with the characters replaced that the engine does not take.
    no_missing : bool
        Promise that no feature is ever missing in the engine: needed where it takes missing values for 0 and
        the ranker does not.
    shift : float or "positive"
        Added to every score; "positive" adds just enough for no score of trees to be negative.
    approximate : bool
        Whether thresholds that Solr cannot express exactly may be rounded down.
    check : tuple of X and scores, optional
        Rows (float32, categories as codes) and the ranker's scores, to compare the file's scores with.

    Returns
    -------
    Exported
        Paths, names of features and notes.

    Raises
    ------
    ValueError
        If the format cannot hold the model such that scores are equal, or `check` finds scores that differ.
    ImportError
        If a library is missing that the format needs.

    Examples
    --------
    >>> import tempfile
    >>> from lambdamart_kit.trees.plain_tree import PlainTree
    >>> tree = PlainTree.of_split(feature=0, threshold=0.5, left=-1.0, right=1.0, missing_left=True)
    >>> path = Path(tempfile.mkdtemp()) / "model.txt"
    >>> _ = export_model(TreeSum((tree,), ("bm25",)), path, "ranklib", no_missing=True)
    >>> path.read_text().splitlines()[:2]
    ['## LambdaMART', '<ensemble>']
    """
    target = Path(path)
    made = find_format(format)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(
            f"'name' must be of letters, digits and underscores, and not begin with a digit; got {name!r}"
        )
    if made.features_path(target) == target:
        raise ValueError(
            f"'path' must not end in {made.features_suffix}, as the feature definitions do; got {target}"
        )
    options = ExportOptions(
        name=name,
        file_name=target.name,
        flavour=flavour or made.flavour_of_suffix(target.suffix),
        store=store,
        no_missing=no_missing,
        approximate=approximate,
    )
    notes: list[str] = []
    named = _renamed(model, made, feature_names, notes)
    shifted = _shifted(named, shift, notes)
    made.check(shifted, options)
    _warn_of_float32(made, named)
    written = _written(made, shifted, options)
    found = None
    if check is not None:
        X, scores = check
        missing = not (no_missing or made.without_missing(options))
        found = compare(
            made,
            written.content,
            written.constant,
            shifted,
            X,
            scores + _constant(shift, named),
            missing=missing,
        )
        if found.n_different and not approximate:
            raise ValueError(f"{made.title}: {found}; nothing was written; this is a fault of lambdamart_kit")
    beside = _put(written, target, made)
    return Exported(target, beside, shifted.feature_names, (*notes, *written.notes), found)


def _warn_of_float32(made: Format, model: Exportable) -> None:
    """Warn of features of which the trees tell apart what the engine, in float32, cannot."""
    if made.reads_float64 or not isinstance(model, TreeSum):
        return
    merged = [repr(model.feature_names[j]) for j in merged_thresholds(model.trees)]
    if merged:
        shown = ", ".join(merged[:5]) + (f" and {len(merged) - 5} more" if len(merged) > 5 else "")
        warnings.warn(
            f"{made.title} takes features as float32, which merges values that the ranker tells apart, in "
            f"{shown}; subtract the feature's smallest value before fitting, or export as 'lightgbm'",
            UserWarning,
            stacklevel=4,
        )


def _written(made: Format, model: Exportable, options: ExportOptions) -> Written:
    try:
        return made.write(model, options)
    except RecursionError:
        raise ValueError(
            f"'max_depth' must be set at fit, to 200 for example: {made.title} nests nodes in each other, "
            "and a tree is too deep for that"
        ) from None


def _put(written: Written, target: Path, made: Format) -> Path | None:
    """Write the files; where the feature definitions are, if there are any."""
    with atomic_file(target) as stream:
        stream.write(written.content)
    if written.features is None:
        return None
    beside = made.features_path(target)
    with atomic_file(beside) as stream:
        stream.write(written.features)
    return beside


def _renamed(model: Exportable, made: Format, given: FeatureNames, notes: list[str]) -> Exportable:
    own = model.feature_names
    if given is None:
        names = engine_names(own, made.forbidden)
        changed = [f"{old!r} is {new!r}" for old, new in zip(own, names) if old != new]
        if changed:
            more = f", and {len(changed) - 5} more" if len(changed) > 5 else ""
            notes.append(f"Names were changed for {made.title}: {', '.join(changed[:5])}{more}.")
        return replace(model, feature_names=names)
    if isinstance(given, Mapping):
        unknown = [name for name in given if name not in own]
        if unknown:
            raise ValueError(
                f"'feature_names' has {unknown[0]!r}, which is no feature of the ranker; it has "
                f"{', '.join(own[:10])}"
            )
        names = tuple(given.get(name, name) for name in own)
    else:
        names = tuple(given)
    if len(names) != len(own):
        raise ValueError(f"'feature_names' must hold one name a feature, {len(own)}; got {len(names)}")
    if engine_names(names, made.forbidden) != names:
        bad = next(old for old, new in zip(names, engine_names(names, made.forbidden)) if old != new)
        raise ValueError(
            f"'feature_names' must be different, and without characters that {made.title} does not take; "
            f"got {bad!r}"
        )
    return replace(model, feature_names=names)


def _constant(shift: Shift, model: Exportable) -> float:
    if shift != "positive":
        return float(shift)
    if not isinstance(model, TreeSum):
        raise ValueError(
            "'shift' must be a number for a ranker without trees, whose scores have no lower bound"
        )
    if model.lowest_score >= 0.0:
        return 0.0
    # An engine that sums in float32 must not fall below zero by rounding either.
    return -model.lowest_score + 2.0 * model.rounding * (1 + len(model.trees))


def _shifted(model: Exportable, shift: Shift, notes: list[str]) -> Exportable:
    constant = _constant(shift, model)
    if constant == 0.0:
        return model
    if not np.isfinite(constant):
        raise ValueError(f"'shift' must be finite or 'positive'; got {shift!r}")
    notes.append(f"{constant:.6g} was added to every score.")
    return model.shifted(constant)
