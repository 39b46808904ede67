"""What `LambdaMART.fit_files` does: rows from files, then the fit that rows in memory get."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from lambdamart_kit.boosters.rounds import Stopwatch
from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.files.bin_cache import BinCache, open_bin_cache
from lambdamart_kit.files.chunk import Columns
from lambdamart_kit.files.row_files import Files, RowFiles
from lambdamart_kit.files.training import FileRows, FileTraining, sample_size
from lambdamart_kit.objectives import names_rows, resolve_objective
from lambdamart_kit.rankers.categories import categorical_columns
from lambdamart_kit.runtime.rollback import unchanged_on_failure

if TYPE_CHECKING:
    from lambdamart_kit.rankers.lambdamart import LambdaMART


def fit_files(
    ranker: LambdaMART,
    files: Files,
    columns: Columns,
    eval_files: Files | None,
    work_dir: str | os.PathLike[str] | None,
) -> LambdaMART:
    """Fit `ranker` on the rows of `files`; see `LambdaMART.fit_files`."""
    _check_parameters(ranker)
    watch = Stopwatch()
    with unchanged_on_failure(ranker), open_bin_cache(work_dir) as store:
        with watch("data"):
            train, validation = _prepare(ranker, store, files, columns, eval_files)
        ranker._fit_ordered(train, validation, watch)
        ranker.fit_times_ = dict(watch.seconds)
    return ranker


def _prepare(
    ranker: LambdaMART, store: BinCache, files: Files, columns: Columns, eval_files: Files | None
) -> tuple[OrderedRows, OrderedRows | None]:
    """Training and held-out rows; what only their making needs, such as the sample, is gone afterwards."""
    n_threads = ranker._n_threads()
    training = FileTraining(store, n_threads=n_threads, verbose=bool(ranker.verbose))
    opened = RowFiles(files, columns, n_jobs=n_threads)
    held_out = None
    if eval_files is not None:
        known = replace(columns, sample_weight=None, features=opened.feature_names)
        held_out = RowFiles(eval_files, known, n_jobs=n_threads)
    native = ranker.booster == "native"
    n_sample = sample_size(None if held_out is not None else ranker.validation_fraction)
    rows = training.scan(opened, sample_rows=n_sample if native else 0)
    _note_columns(ranker, rows)
    return (_prepare_native if native else _prepare_external)(ranker, training, rows, held_out)


def _check_parameters(ranker: LambdaMART) -> None:
    if ranker.booster == "lightgbm":
        raise ValueError(
            "'booster' must be 'native' or 'xgboost' to fit files; got 'lightgbm', whose data sets are made "
            "from rows in memory; the native trees are saved as a LightGBM model too"
        )
    if ranker.warm_start and hasattr(ranker, "model_"):
        raise ValueError(
            "'warm_start' must be False to fit files; to go on after a crash, set "
            "booster_params={'checkpoint': path}"
        )
    if names_rows(resolve_objective(ranker.objective)):
        raise ValueError(
            f"'objective' must work on labels to fit files; got {ranker.objective!r}, which names rows"
        )


def _note_columns(ranker: LambdaMART, rows: FileRows) -> None:
    """The fitted attributes that say what was fitted on."""
    names = rows.files.feature_names
    if names is not None:
        ranker.feature_names_in_ = np.array(names, dtype=object)
    elif hasattr(ranker, "feature_names_in_"):
        del ranker.feature_names_in_
    array = None if names is None else ranker.feature_names_in_
    ranker.n_features_in_ = rows.n_features
    ranker.n_queries_in_ = rows.queries.n_queries
    ranker.categories_ = {}
    ranker._categorical_columns = tuple(categorical_columns(rows, ranker.categorical_features, array))
    ranker._single_query = False


def _split(
    ranker: LambdaMART, training: FileTraining, rows: FileRows, held_out: RowFiles | None
) -> tuple[OrderedRows, OrderedRows | None]:
    """Training and held-out rows in canonical order, their features still in the files."""
    if held_out is None:
        return ranker._hold_out(rows.in_order(), None, None, None, False)
    evaluated = training.scan(held_out, n_features=rows.n_features, suffix="_val")
    return rows.in_order(), evaluated.in_order(suffix="_val")


def _prepare_native(
    ranker: LambdaMART, training: FileTraining, rows: FileRows, held_out: RowFiles | None
) -> tuple[OrderedRows, OrderedRows | None]:
    """Rows whose features are bins on disk."""
    train, validation = _split(ranker, training, rows, held_out)
    mapper = training.fit_mapper(train, max_bin=ranker.max_bin, categorical=ranker._categorical_columns)
    parts = [train] if validation is None or held_out is not None else [train, validation]
    binned = training.bin(mapper, parts, "writing bins")
    if validation is not None and held_out is not None:
        binned += training.bin(mapper, [validation], "writing held-out bins")
    return binned[0], (binned[1] if validation is not None else None)


def _prepare_external(
    ranker: LambdaMART, training: FileTraining, rows: FileRows, held_out: RowFiles | None
) -> tuple[OrderedRows, OrderedRows | None]:
    """Rows whose features XGBoost reads from the files."""
    train, validation = _split(ranker, training, rows, held_out)
    return training.leave_in_files(train), None if validation is None else training.leave_in_files(validation)
