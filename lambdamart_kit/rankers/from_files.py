"""Training from files: reads the rows that `LambdaMART.fit_files` names, then fits as on rows in memory."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from lambdamart_kit.boosters.registry import boosters_that_can, capabilities
from lambdamart_kit.boosters.rounds import Stopwatch
from lambdamart_kit.files.bin_cache import BinCache, open_bin_cache
from lambdamart_kit.files.chunk import Columns, for_other_files
from lambdamart_kit.files.row_files import Files, RowFiles
from lambdamart_kit.files.training import FileRows, FileTraining, sample_size
from lambdamart_kit.objectives import Combined, names_rows, resolve_objective
from lambdamart_kit.rankers.columns.categories import FeatureColumns, categorical_columns
from lambdamart_kit.rankers.steering.training_set import TrainingSet
from lambdamart_kit.rankers.tree_ranker import TreeRanker
from lambdamart_kit.runtime.rollback import unchanged_on_failure
from lambdamart_kit.runtime.threads import resolve_n_jobs


def fit_files(
    ranker: TreeRanker,
    files: Files,
    columns: Columns,
    eval_files: Files | None,
    work_dir: str | os.PathLike[str] | None,
) -> None:
    """Fit `ranker` on the rows of `files`; see `LambdaMART.fit_files`."""
    _check_parameters(ranker)
    watch = Stopwatch()
    with unchanged_on_failure(ranker), open_bin_cache(work_dir) as store:
        with watch("data"):
            data = _prepare(ranker, store, files, columns, eval_files)
        ranker.fit_rows(data, watch)


def _prepare(
    ranker: TreeRanker, store: BinCache, files: Files, columns: Columns, eval_files: Files | None
) -> TrainingSet:
    """Training and held-out rows. The sample that bin edges come from is freed when this returns."""
    n_threads = resolve_n_jobs(ranker.n_jobs)
    training = FileTraining(store, n_threads=n_threads, verbose=bool(ranker.verbose))
    opened = RowFiles(files, columns, n_jobs=n_threads)
    held_out = None
    if eval_files is not None:
        known = for_other_files(replace(columns, features=opened.feature_names))
        held_out = RowFiles(eval_files, known, n_jobs=n_threads)
    n_sample = sample_size(None if held_out is not None else ranker.validation_fraction)
    writes_bins = capabilities(ranker.booster_name).files == "bins"
    rows = training.scan(opened, sample_rows=n_sample if writes_bins else 0)
    _note_columns(ranker, rows)
    bring = _rows_as_bins if writes_bins else _rows_in_batches
    return bring(ranker, training, rows, held_out)


def _check_parameters(ranker: TreeRanker) -> None:
    if capabilities(ranker.booster_name).files is None:
        known = " or ".join(map(repr, boosters_that_can("files")))
        raise ValueError(
            f"'booster' must be {known} to fit files; got {ranker.booster_name!r}, which takes only rows in "
            "memory; native trees are saved as a LightGBM model too"
        )
    if ranker.warm_start and hasattr(ranker, "model_"):
        raise ValueError(
            "'warm_start' must be False to fit files; to go on after a crash, set "
            "booster_params={'checkpoint': path}"
        )
    if ranker.n_bags > 1:
        raise ValueError(
            f"'n_bags' must be 1 to fit files; got {ranker.n_bags}; fit rankers with different "
            "'random_state' and take the mean of their scores, or load the rows into memory"
        )
    if isinstance(ranker.objective, Combined):
        raise ValueError(
            "'objective' must have one goal to fit files; got Combined, whose goals need a column of labels "
            "each; load the rows into memory and call fit"
        )
    if names_rows(resolve_objective(ranker.objective)):
        raise ValueError(
            f"'objective' must work on labels to fit files; got {ranker.objective!r}, which names rows"
        )


def _note_columns(ranker: TreeRanker, rows: FileRows) -> None:
    """Set the fitted attributes that describe what the ranker is fitted on."""
    known = rows.files.feature_names
    names = None if known is None else np.array(known, dtype=object)
    categorical = categorical_columns(rows, ranker.categorical_features, names)
    ranker.take_columns(FeatureColumns(rows.n_features, names, tuple(categorical)))
    ranker.n_queries_in_ = rows.queries.n_queries
    ranker.single_query_ = False


def _split(
    ranker: TreeRanker, training: FileTraining, rows: FileRows, held_out: RowFiles | None
) -> TrainingSet:
    """Training and held-out rows in canonical order. Their features stay in the files."""
    if held_out is None:
        return ranker.hold_out(rows.in_order())
    evaluated = training.scan(held_out, n_features=rows.n_features, suffix="_val")
    return TrainingSet.of(rows.in_order(), evaluated.in_order(suffix="_val"))


def _rows_as_bins(
    ranker: TreeRanker, training: FileTraining, rows: FileRows, held_out: RowFiles | None
) -> TrainingSet:
    """Rows whose features are bins on disk."""
    data = _split(ranker, training, rows, held_out)
    mapper = training.fit_mapper(data.train, max_bin=ranker.max_bin, categorical=ranker.categorical_columns_)
    others = [part.rows for part in data.held_out]
    # Held-out rows of the same files are written in the same pass over them.
    if held_out is None:
        binned = training.bin(mapper, [data.train, *others], "writing bins")
    else:
        binned = training.bin(mapper, [data.train], "writing bins")
        binned += training.bin(mapper, others, "writing held-out bins")
    return TrainingSet.of(*binned)


def _rows_in_batches(
    ranker: TreeRanker, training: FileTraining, rows: FileRows, held_out: RowFiles | None
) -> TrainingSet:
    """Rows whose features the booster reads from the files, batch by batch."""
    return _split(ranker, training, rows, held_out).map(training.leave_in_files)
