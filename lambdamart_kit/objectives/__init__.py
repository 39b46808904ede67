"""Ranking objectives: what a learner descends. Any objective runs on any learner.

An objective is a small frozen dataclass of options. ``bind(y, queries, sample_weight)`` returns a bound
object whose ``gradient_hessian(scores)`` gives gradient and hessian of the minimised loss; nothing else is
asked of it (:class:`Objective`), so user-defined ones need no registration. `OBJECTIVES` maps names to
classes. :mod:`lambdamart_kit.clicks` wraps any of them for learning from clicks.
"""

from __future__ import annotations

from lambdamart_kit.objectives.base import (
    Bound,
    BoundFunction,
    FunctionObjective,
    Objective,
    names_rows,
    takes_signed_labels,
    weighs_documents,
)
from lambdamart_kit.objectives.combined import Combined
from lambdamart_kit.objectives.explicit import ExplicitPairs
from lambdamart_kit.objectives.lambda_metrics import LambdaERR, LambdaMAP, LambdaMRR, LambdaPrecision
from lambdamart_kit.objectives.listwise import XENDCG, ListMLE, ListNet
from lambdamart_kit.objectives.ndcg_bounds import NDCGLoss1, NDCGLoss2, NDCGLoss2pp
from lambdamart_kit.objectives.pairwise import LambdaNDCG, RankNet
from lambdamart_kit.objectives.registry import OBJECTIVES, resolve_objective
from lambdamart_kit.objectives.yeti import YetiLoss

__all__ = [
    "OBJECTIVES",
    "XENDCG",
    "Bound",
    "BoundFunction",
    "Combined",
    "ExplicitPairs",
    "FunctionObjective",
    "LambdaERR",
    "LambdaMAP",
    "LambdaMRR",
    "LambdaNDCG",
    "LambdaPrecision",
    "ListMLE",
    "ListNet",
    "NDCGLoss1",
    "NDCGLoss2",
    "NDCGLoss2pp",
    "Objective",
    "RankNet",
    "YetiLoss",
    "names_rows",
    "resolve_objective",
    "takes_signed_labels",
    "weighs_documents",
]
