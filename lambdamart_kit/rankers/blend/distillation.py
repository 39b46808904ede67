"""One model of trees that is trained on the scores of a blend."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lambdamart_kit.boosters.rounds import Stopwatch
from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.objectives import LambdaNDCG
from lambdamart_kit.rankers.base import BaseRanker
from lambdamart_kit.rankers.blend.crossfit import Plan
from lambdamart_kit.rankers.blend.portfolio import TREES
from lambdamart_kit.rankers.lambdamart import LambdaMART
from lambdamart_kit.rankers.steering.training_set import TrainingSet

_LABEL_SHARE = 0.5  # of the true label in what the model learns; the rest is the blend's score
_TOP = 4.0  # the largest label that it learns


def distil(plan: Plan, blended: FloatArray) -> tuple[BaseRanker, FloatArray]:
    """Train one LambdaMART on the blend's out-of-fold scores, and measure it out of fold.

    The teacher's scores are those of models that had not seen the row, so the student learns what the blend
    knows, not what its members have learned by heart. The gain of a document is the mean of its label and its
    score. The number of trees is the mean of what the folds stopped at.

    Parameters
    ----------
    plan : Plan
    blended : (n_samples,) float64
        Out-of-fold scores in the order of the rows.

    Returns
    -------
    model : LambdaMART
        Fitted on all rows.
    scores : (n_samples,) float64
        Scores of the models of the folds on the queries that they had not seen. Their teachers had seen them,
        so a measure of these scores is flattered: on a fold of MQ2008 it was .008 above the blend's, and on
        test queries .007 below.
    """
    rows = plan.rows
    targets = _targets(rows, blended)
    fold = plan.folds(0)
    scores = np.full(len(blended), np.nan)
    n_trees = []
    for number in range(plan.n_folds):
        out = fold == number
        held_out = rows.select(out)
        student = _student(plan, number)
        learned = replace(rows, y=targets).select(~out)
        student.fit_rows(TrainingSet.of(learned, held_out), Stopwatch())
        n_trees.append(student.best_iteration_)
        found = student._predict_rows(held_out.X)
        scores[out[rows.queries.query_of_ordered_row]] = found
    model = _student(plan, plan.n_folds)
    model.set_params(n_estimators=max(1, round(float(np.mean(n_trees)))), early_stopping_rounds=None)
    model.fit_rows(TrainingSet.of(replace(rows, y=targets)), Stopwatch())
    model.query_traces_ = None
    return model, scores


def _student(plan: Plan, number: int) -> LambdaMART:
    student = LambdaMART(LambdaNDCG(gain="linear"), **TREES)
    student.set_params(
        eval_metric=plan.settings["eval_metric"],
        n_jobs=plan.settings["n_jobs"],
        random_state=int(plan.rng(1_000_000, number).integers(2**31 - 1)),
    )
    student.take_columns(plan.columns)
    student.n_queries_in_ = plan.rows.queries.n_queries
    student.single_query_ = plan.single_query
    return student


def _targets(rows: OrderedRows, blended: FloatArray) -> FloatArray:
    """Mean of label and blended score, both from 0 to `_TOP`."""
    known = np.nan_to_num(blended, nan=float(np.nanmean(blended)))
    low, high = np.quantile(known, [0.005, 0.995])
    score = np.clip((known - low) / (high - low) if high > low else 0.0 * known, 0.0, 1.0)
    label = rows.y / rows.y.max()
    return _TOP * (_LABEL_SHARE * label + (1.0 - _LABEL_SHARE) * score)
