"""Objectives by name, and what the parameter 'objective' of a ranker may be."""

from __future__ import annotations

from typing import Any

from lambdamart_kit.objectives.base import FunctionObjective, Objective
from lambdamart_kit.objectives.lambda_metrics import LambdaERR, LambdaMAP, LambdaMRR, LambdaPrecision
from lambdamart_kit.objectives.listwise import XENDCG, ListMLE, ListNet
from lambdamart_kit.objectives.ndcg_bounds import NDCGLoss1, NDCGLoss2, NDCGLoss2pp
from lambdamart_kit.objectives.pairwise import LambdaNDCG, RankNet
from lambdamart_kit.objectives.yeti import YetiLoss

OBJECTIVES: dict[str, type] = {
    "ndcg": LambdaNDCG,
    "pairwise": RankNet,
    "map": LambdaMAP,
    "mrr": LambdaMRR,
    "err": LambdaERR,
    "precision": LambdaPrecision,
    "ndcg1": NDCGLoss1,
    "ndcg2": NDCGLoss2,
    "ndcg2++": NDCGLoss2pp,
    "xendcg": XENDCG,
    "listnet": ListNet,
    "listmle": ListMLE,
    "yeti": YetiLoss,
}


def resolve_objective(objective: Any) -> Objective:
    """Objective by name, by instance, or from a callable ``scores -> (gradient, hessian)``.

    Parameters
    ----------
    objective : str, objective or callable
        A name in `OBJECTIVES`, an instance, or a function of row-aligned scores.

    Returns
    -------
    Objective
        An instance is returned as it is; a name gives the objective with its defaults.

    Raises
    ------
    ValueError
        If the name is not in `OBJECTIVES`.
    TypeError
        If it is neither a name, nor has a ``bind``, nor can be called.

    Examples
    --------
    >>> resolve_objective("pairwise")
    RankNet(truncation_level=None, sigma=1.0, normalize=False, ties='expected', ...)
    """
    if isinstance(objective, str):
        if objective not in OBJECTIVES:
            raise ValueError(
                f"'objective' must be one of {', '.join(map(repr, sorted(OBJECTIVES)))}, an objective or a "
                f"callable; got {objective!r}"
            )
        made: Objective = OBJECTIVES[objective]()
        return made
    if isinstance(objective, type):
        raise TypeError(
            f"'objective' must be an instance: write {objective.__name__}() instead of {objective.__name__}"
        )
    if isinstance(objective, Objective):
        return objective
    if callable(objective):
        return FunctionObjective(objective)
    raise TypeError(
        "'objective' must be a name, an objective with a 'bind' method or a callable that returns "
        f"(gradient, hessian); got {type(objective).__name__}"
    )
