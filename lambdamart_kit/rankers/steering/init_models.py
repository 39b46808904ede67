"""Models of LightGBM, XGBoost and CatBoost that training can go on from."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lambdamart_kit.boosters.protocol import Model
from lambdamart_kit.boosters.registry import BOOSTERS, find_booster
from lambdamart_kit.boosters.settings import safe_names
from lambdamart_kit.rankers.columns.categories import FeatureColumns


def find_init_model(given: Any, booster: str, columns: FeatureColumns) -> Model:
    """The trees that `fit` goes on from, checked against the columns of the training rows.

    Parameters
    ----------
    given : ranker, model or path
        The argument 'init_model'.
    booster : str
        Whose trees are grown.
    columns : FeatureColumns
        Columns of the training rows.

    Returns
    -------
    Model
        A copy: what was given stays as it is.

    Raises
    ------
    ValueError
        If it is of another library, cannot be read, is no plain sum of trees, or has other columns.
    """
    model_type = find_booster(booster).model
    library = BOOSTERS["lightgbm" if booster == "native" else booster].library
    wanted = f"a model of {library}, or a file of one, with {booster!r} trees"
    try:
        content = _content(given, library)
        if content is not None and library == "LightGBM":
            _check_lightgbm(content)
        model = None if content is None else model_type.from_bytes(content)
    except (ValueError, RuntimeError, KeyError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"'init_model' must be {wanted}; {given!r} cannot be read ({reason})") from error
    if model is None:
        raise ValueError(
            f"'init_model' must be {wanted}; got {type(given).__module__}.{type(given).__qualname__}; grow "
            "trees of that library, or pass the scores of that model as 'init_score'"
        )
    _check_columns(model, columns)
    return model


def _content(given: Any, library: str) -> bytes | None:
    """The model in its library's own format, as the kit's models read it; None if it is of another kind."""
    if isinstance(given, str | os.PathLike):
        path = Path(given)
        if not path.is_file():
            raise ValueError("there is no such file")
        return _of_file(path, library)
    own = getattr(given, "model_", None)
    if own is not None and hasattr(own, "to_bytes"):  # a ranker of the kit
        # Its class tells whose trees these are: those of another library have another format.
        return bytes(own.to_bytes()) if type(own).__module__.endswith(_MODULES[library]) else None
    return _OF_OBJECT[library](given)


_MODULES = {
    "LightGBM": ("lightgbm_model", "native"),
    "XGBoost": ("xgboost",),
    "CatBoost": ("catboost",),
}


def _of_file(path: Path, library: str) -> bytes:
    content = path.read_bytes()
    if zipfile.is_zipfile(path):
        raise ValueError("it is a ranker that the kit saved: pass lambdamart_kit.rankers.load_ranker(path)")
    if library == "XGBoost" and not content.lstrip()[:2].startswith((b'{"', b"{\n", b"{ ")):
        import xgboost

        # XGBoost's binary format; as JSON its trees can be checked.
        raw = xgboost.Booster()
        raw.load_model(bytearray(content))
        return bytes(raw.save_raw("json"))
    return content


def _of_lightgbm(given: Any) -> bytes | None:
    import lightgbm

    if isinstance(given, lightgbm.LGBMModel):
        given = given.booster_
    if not isinstance(given, lightgbm.Booster):
        return None
    return given.model_to_string().encode()  # up to the best round, if it stopped early


def _check_lightgbm(content: bytes) -> None:
    if not content.startswith(b"tree\n"):
        raise ValueError("it does not begin as a LightGBM model does")
    header = content.decode().partition("\nTree=")[0].split("\n")
    if "num_tree_per_iteration=1" not in header or "average_output" in header:
        raise ValueError("it has several classes or averages its trees, so its score is no sum of trees")


def _of_xgboost(given: Any) -> bytes | None:
    import xgboost

    last = None
    if isinstance(given, xgboost.XGBModel):
        last = getattr(given, "best_iteration", None) if given.early_stopping_rounds else None
        given = given.get_booster()
    if not isinstance(given, xgboost.Booster):
        return None
    raw = given if last is None else given[: last + 1]
    return bytes(raw.save_raw("json"))


def _of_catboost(given: Any) -> bytes | None:
    import tempfile

    import catboost

    if not isinstance(given, catboost.CatBoost):
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.cbm")
        given.save_model(path)
        return Path(path).read_bytes()


_OF_OBJECT = {"LightGBM": _of_lightgbm, "XGBoost": _of_xgboost, "CatBoost": _of_catboost}


def _check_columns(model: Model, columns: FeatureColumns) -> None:
    """Raise unless the model scores rows of these columns, each in its place."""
    raw = model.raw
    n_features, names, categorical = _facts(raw)
    if n_features != columns.n_features:
        raise ValueError(
            f"'init_model' must have the features of 'X', {columns.n_features}; it has {n_features}"
        )
    known = None if columns.names is None else safe_names([str(name) for name in columns.names])
    if names is not None and known is not None and safe_names(names) != known:
        differing = next(
            at for at, pair in enumerate(zip(safe_names(names) or names, known)) if len(set(pair)) > 1
        )
        raise ValueError(
            "'init_model' must have the features of 'X' in the same order; its feature "
            f"{differing} is {names[differing]!r}, that of 'X' is {str(columns.names[differing])!r}"  # type: ignore[index]
        )
    if categorical or columns.categorical:
        _check_categories(raw, categorical, columns)
    try:
        scores = model.predict(np.zeros((1, n_features), dtype=np.float32))
        usable = np.shape(scores) == (1,)
    except Exception:
        usable = False
    if not usable:
        raise ValueError("'init_model' must give one score a row; it has several outputs, or no trees")


def _facts(raw: Any) -> tuple[int, Sequence[str] | None, bool]:
    """Columns of a library's model: number, names if it was told any, whether some are categories."""
    if hasattr(raw, "feature_name"):
        names = raw.feature_name()
        made_up = names == [f"Column_{j}" for j in range(len(names))]
        named = bool(getattr(raw, "pandas_categorical", None))
        categorical = named or "cat_threshold=" in raw.model_to_string()
        return raw.num_feature(), None if made_up else names, categorical
    if hasattr(raw, "num_features"):
        kinds = raw.feature_types or []
        return raw.num_features(), raw.feature_names, "c" in kinds
    names = list(raw.feature_names_)
    made_up = names == [str(j) for j in range(len(names))]
    return len(names), None if made_up else names, bool(raw.get_cat_feature_indices())


def _check_categories(raw: Any, categorical: bool, columns: FeatureColumns) -> None:
    """Raise unless codes of categories mean the same in the model and in the training rows."""
    here: Mapping[int, Sequence[Any]] = columns.categories or {}
    there = getattr(raw, "pandas_categorical", None)
    same = there is not None and [list(here[j]) for j in sorted(here)] == [list(values) for values in there]
    if not (same and len(here) == len(columns.categorical)):
        raise ValueError(
            "'init_model' must have no categorical features, or be a LightGBM model with the very categories "
            "of the columns of 'X': codes would stand for others; pass its scores as 'init_score'"
        )
