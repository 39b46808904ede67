"""AutoRanker: the best ranking in one call, within a budget."""

from __future__ import annotations

import hashlib
import json
import math
import os
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.boosters.rounds import Stopwatch
from lambdamart_kit.core.ordered_rows import OrderedRows, row_contents
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rows import RowView, is_sparse
from lambdamart_kit.core.typing import Features, FloatArray, Ids, RandomState
from lambdamart_kit.explain.explained import Explained
from lambdamart_kit.export.model import TreeSum
from lambdamart_kit.metrics import Metric, noise_sentence
from lambdamart_kit.rankers.base import BaseRanker
from lambdamart_kit.rankers.binding import check_comparable
from lambdamart_kit.rankers.blend.budget import Budget
from lambdamart_kit.rankers.blend.calibration import Calibration
from lambdamart_kit.rankers.blend.checkpoint import FitStore
from lambdamart_kit.rankers.blend.crossfit import Plan, Run
from lambdamart_kit.rankers.blend.distillation import distil
from lambdamart_kit.rankers.blend.leaderboard import HasLeaderboard, Line, leaderboard
from lambdamart_kit.rankers.blend.measuring import Yardstick
from lambdamart_kit.rankers.blend.members import (
    Member,
    explained,
    member_files,
    member_records,
    read_members,
    read_ranker,
)
from lambdamart_kit.rankers.blend.portfolio import Facts, suitable
from lambdamart_kit.rankers.blend.weights import search_weights
from lambdamart_kit.rankers.click_learning import DEFAULT_POSITION_BIAS, POSITION_BIAS
from lambdamart_kit.rankers.columns.categories import Categorical, FeatureColumns
from lambdamart_kit.rankers.columns.query_features import KINDS, names_within_queries, within_queries
from lambdamart_kit.rankers.steering.given import FitInput
from lambdamart_kit.rankers.steering.training_set import TrainingSet
from lambdamart_kit.runtime.progress import Progress
from lambdamart_kit.runtime.randomness import draw_seed

BLEND = "blend"
DISTILLED = "distilled"
_CONTENT = "blend.json"
_DISTILLED_FILE = "distilled.lmk"


class AutoRanker(HasLeaderboard, BaseRanker):
    r"""A blend of different rankers, each cross-fitted by query, as large as a budget allows.

    On a few hundred queries, averaging wins over tuning: the mean of several different rankers is better than
    the best of them, while the choice of the best is mostly luck. So AutoRanker tunes nothing. It fits the
    members of a fixed portfolio (boosted trees on NDCG, on pairs and on lists, linear functions, networks,
    extremely random trees), each once for every fold of queries, trained on the other folds and stopped on
    that one. The models of all folds stay, and

    .. math:: s(x) = \sum_m w_m \frac{1}{K_m} \sum_{k=1}^{K_m} \frac{s_{mk}(x)}{\sigma_{mk}}

    where :math:`\sigma_{mk}` is the root mean square deviation within queries of the model's scores on the
    queries that it has not seen. The weights are equal, unless out-of-fold scores show beyond noise that
    others are better; see `lambdamart_kit.rankers.blend.weights`.

    Parameters
    ----------
    budget : str or float
        A time such as "10min", "1.5h" or 600 (seconds), or a number of fits such as "fits=40". At least one
        member is fitted, and no more than four rounds of the portfolio. What a budget in seconds fits depends
        on the speed of the machine. With a budget in fits the model is the same to the bit on any machine
        with the same libraries, for any order of the rows and any number of threads.
    cv : int
        Folds of queries.
    eval_metric : str or Metric
        What fits stop on, and what the leaderboard shows.
    query_features : bool
        Whether rank, z-score and share of the maximum of each feature within its query are added
        (`QueryFeatures`). Then `predict` needs the argument `qid`.
    calibrate : {"isotonic"} or None
        "isotonic" turns scores into expected labels, learned on out-of-fold scores. The order stays.
    distill : bool
        Whether one LambdaMART model is trained on the scores of the blend, and takes its place in `predict`,
        `save` and `export`: smaller and faster. The leaderboard shows what that costs, with a measure that
        flatters it; on a fold of MQ2008 it cost .007 of NDCG@10 on test queries.
    categorical_features : "auto", array-like or None
        As in `LambdaMART`. Data with categories or missing values has trees only.
    position_bias : str, array-like, callable or PositionBias
        What to do about positions when fit gets them, as in `LambdaMART`.
    checkpoint : path, optional
        A folder that keeps every finished fit. A run that was killed and is started again with the same data
        and parameters goes on there, and ends with the same model to the bit.
    random_state : int, RandomState or None
        Of folds and members.
    n_jobs : int, optional
        Threads; None for all.
    verbose : int
        1 shows progress on stderr.

    Attributes
    ----------
    leaderboard_ : DataFrame
        A row for the blend, one for each member, and one for the distilled model if there is one: ``model``,
        the mean of `eval_metric` on queries that the models had not seen, ``low`` and ``high`` (its 95%
        interval), ``weight`` in the blend, ``fits``, ``seconds``. Each model has stopped on the queries it is
        measured on, which flatters members a little; the blend is flattered less.
    noise_ : str
        What a difference in the leaderboard is worth on so many queries.
    members_ : list of Member
        Name, weight and fitted models of each.
    oof_scores_ : (n_samples,) float64
        Out-of-fold score of the blend for each training row, in the order of the rows; NaN with one query.
        Not in files.
    best_score_ : float
        The blend's mean on the leaderboard.
    n_fits_ : int
        Models that were fitted during the search.
    distilled_ : LambdaMART
        With `distill`.
    fit_times_ : dict
        Seconds spent on "data", "members", "weights" and "distillation".
    n_features_in_, n_queries_in_ : int
        Columns and queries that fit saw.

    Notes
    -----
    Ctrl-C during `fit` keeps the members that are done, says so, and returns; it is an error only while there
    is no member. `fit` takes no X_val: all queries given are learned from, and each is held out in turn.

    Without two queries that have different labels there is nothing to hold out. Members then have a fixed
    number of rounds, the blend has equal weights, and the leaderboard has no measures.

    References
    ----------
    van der Laan, Polley and Hubbard (2007), Super learner, Statistical Applications in Genetics and Molecular
    Biology 6 (cross-fitting); Breiman (1996), Bagging predictors, Machine Learning 24; Caruana et al. (2004),
    Ensemble selection from libraries of models, ICML.

    Examples
    --------
    >>> from lambdamart_kit.datasets import make_letor
    >>> data = make_letor(n_queries=30, mean_documents=10, random_state=0)
    >>> auto = AutoRanker(budget="fits=9", cv=3, random_state=0).fit(data.X, data.y, qid=data.qid)
    >>> auto.leaderboard_["model"].tolist()[0], auto.n_fits_, len(auto.members_)
    ('blend', 9, 3)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "budget": [str, Interval(Real, 0, None, closed="neither")],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "eval_metric": [str, Metric],
        "query_features": ["boolean"],
        "calibrate": [StrOptions({"isotonic"}), None],
        "distill": ["boolean"],
        "categorical_features": ["array-like", StrOptions({"auto"}), None],
        "position_bias": POSITION_BIAS,
        "checkpoint": [str, os.PathLike, None],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }
    __metadata_request__predict: ClassVar[dict[str, bool]] = {"qid": True}

    # Held-out rows join the training rows: whoever has both passes them together.
    holds_out_itself: ClassVar[bool] = True
    saved_attributes = (
        *BaseRanker.saved_attributes,
        "best_score_",
        "n_fits_",
        "noise_",
    )

    members_: list[Member]
    distilled_: BaseRanker | None
    calibration_: Calibration | None
    oof_scores_: FloatArray
    noise_: str
    best_score_: float
    n_fits_: int

    def __init__(
        self,
        budget: str | float = "10min",
        *,
        cv: int = 5,
        eval_metric: str | Metric = "ndcg@10",
        query_features: bool = False,
        calibrate: str | None = None,
        distill: bool = False,
        categorical_features: Categorical = "auto",
        position_bias: Any = DEFAULT_POSITION_BIAS,
        checkpoint: str | os.PathLike[str] | None = None,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.budget = budget
        self.cv = cv
        self.eval_metric = eval_metric
        self.query_features = query_features
        self.calibrate = calibrate
        self.distill = distill
        self.categorical_features = categorical_features
        self.position_bias = position_bias
        self.checkpoint = checkpoint
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    # ------------------------------------------------------------------------------------------ fitting

    def _training_rows(self, given: FitInput) -> OrderedRows:
        rows = super()._training_rows(given)
        if not self.query_features:
            return rows
        order = rows.order
        source = self._with_query_features(rows.view.source[order], rows.queries)
        return replace(rows, view=RowView(source, np.arange(len(order), dtype=np.intp)))

    def _with_query_features(self, X: Features, queries: Queries) -> Features:
        """The rows with their place within the query as further columns; categories have none."""
        if is_sparse(X):
            raise ValueError(
                "'query_features' must be False with a sparse 'X', whose ranks within a query are not sparse"
            )
        numeric = [j for j in range(X.shape[1]) if j not in self.categorical_columns_]
        extra = within_queries(X[:, numeric], queries, passthrough=False)
        return np.ascontiguousarray(np.hstack((X, extra)))

    def _member_columns(self) -> FeatureColumns:
        """The columns as members see them."""
        columns = self.columns
        if not self.query_features:
            return columns
        numeric = [j for j in range(self.n_features_in_) if j not in self.categorical_columns_]
        known = self._column_names()
        added = names_within_queries([known[j] for j in numeric], KINDS, passthrough=False)
        names = None if columns.names is None else np.array([*known, *added], dtype=object)
        return replace(columns, n_features=self.n_features_in_ + len(added), names=names)

    def _fit_given(self, given: FitInput) -> None:
        name = type(self).__name__
        remedy = "it holds out queries itself; add those rows to X, y and qid to learn from them too"
        given.refuse("X_val", by=name, remedy=remedy)
        given.refuse("init_score", "init_model", by=name, remedy="its members differ; use one ranker")
        super()._fit_given(given)

    def _debias(self, data: TrainingSet) -> TrainingSet:
        return data  # each member corrects the clicks that it learns from

    def _fit_ordered(self, data: TrainingSet, watch: Stopwatch) -> None:
        train = data.train
        budget = Budget.read(self.budget)
        plan, store = self._make_plan(train)
        total = int(budget.seconds) if budget.is_timed else int(budget.fits)
        show = bool(self.verbose)
        n_reserved = plan.n_folds + 1 if self.distill else 0
        with watch("members"), Progress("AutoRanker", max(1, total), bar=show, lines=show) as progress:
            run = Run(plan, budget, store, progress, n_reserved)
            run.go()
        with watch("weights"):
            blended, yardstick = self._blend(run)
        lines = self._lines(run, blended, yardstick)
        self.distilled_ = None
        if self.distill:
            with watch("distillation"):
                self.distilled_, scores = distil(plan, blended)
            seconds = watch.seconds["distillation"]
            lines.append(Line(DISTILLED, yardstick.per_query(scores), math.nan, plan.n_folds + 1, seconds))
        self._calibrate(train, blended)
        self._report(lines, yardstick.weights)

    def _make_plan(self, train: OrderedRows) -> tuple[Plan, FitStore | None]:
        check_comparable(train)
        n_comparable = int(train.comparable().sum())
        if n_comparable < 2 and (self.distill or self.calibrate is not None):
            raise ValueError(
                "'distill' and 'calibrate' need at least two queries with different labels, one to learn "
                "from and one to hold out; got one"
            )
        seed = draw_seed(self.random_state)
        store = None
        if self.checkpoint is not None:
            store = FitStore(self.checkpoint, self._fingerprint(train), seed)
            seed = store.seed
        source = train.view.source
        values = source.data if is_sparse(source) else source
        facts = Facts(
            has_missing=bool(np.isnan(values).any()),
            has_categories=len(self.categorical_columns_) > 0,
            has_positions=train.position is not None,
        )
        settings = {
            "eval_metric": self.eval_metric,
            "n_jobs": self.n_jobs,
            "position_bias": self.position_bias,
        }
        n_folds = min(self.cv, n_comparable)
        plan = Plan(
            train, self._member_columns(), suitable(facts), n_folds, seed, settings, self.single_query_
        )
        return plan, store

    def _fingerprint(self, train: OrderedRows) -> str:
        """Of all that decides what a fit is: data and parameters, but not how many fits there are."""
        digest = hashlib.sha256()
        content = row_contents(train.view.source, np.zeros(train.view.source.shape[0]))
        digest.update(content[train.order].tobytes())
        for part in (train.y, train.queries.ptr, train.sample_weight, train.position):
            digest.update(b"none" if part is None else np.ascontiguousarray(part).tobytes())
        seed = self.random_state if isinstance(self.random_state, Integral) else None
        settings = (self.cv, str(self.eval_metric), self.query_features, seed, self.categorical_columns_)
        digest.update(repr((*settings, repr(self.position_bias))).encode())
        return digest.hexdigest()

    def _blend(self, run: Run) -> tuple[FloatArray, Yardstick]:
        """Weigh the members; returns out-of-fold scores of the ordered rows, and their measure."""
        rows = run.plan.rows
        self.members_ = run.members
        self.n_fits_ = run.n_fits
        first = [fit.model for fit in run.members[0].fits]
        yardstick = Yardstick(rows, self.find_metric(), first, self._n_threads())
        repeats = [len({fit.repeat for fit in member.fits}) for member in run.members]
        scores = np.column_stack([run.out_of_fold[m.name] / n for m, n in zip(run.members, repeats)])
        weights = np.full(len(run.members), 1.0 / len(run.members))
        if run.plan.n_folds > 1 and len(run.members) > 1:
            weights = search_weights(yardstick.held(scores), run.plan.seed)
        for member, weight in zip(run.members, weights.tolist()):
            member.weight = weight
        blended: FloatArray = scores @ weights
        if run.plan.n_folds < 2:
            blended = np.full(len(blended), np.nan)
        self.oof_scores_ = np.empty(len(blended))
        self.oof_scores_[rows.order] = blended
        return blended, yardstick

    def _calibrate(self, rows: OrderedRows, blended: FloatArray) -> None:
        self.calibration_ = None
        if self.calibrate is None:
            return
        known = ~np.isnan(blended)
        weight = None if rows.sample_weight is None else rows.sample_weight[known]
        self.calibration_ = Calibration.fit(blended[known], rows.y[known], weight)

    def _lines(self, run: Run, blended: FloatArray, yardstick: Yardstick) -> list[Line]:
        """The blend's line of the leaderboard, then those of the members."""
        held_out = run.plan.n_folds > 1
        nothing = np.full(len(blended), np.nan)
        total = sum(member.seconds for member in run.members)
        lines = [Line(BLEND, yardstick.per_query(blended), 1.0, run.n_fits, total)]
        for member in run.members:
            scores = run.out_of_fold[member.name] if held_out else nothing
            per_query = yardstick.per_query(scores)
            lines.append(Line(member.name, per_query, member.weight, len(member.fits), member.seconds))
        return lines

    def _report(self, lines: list[Line], weights: FloatArray) -> None:
        metric = self.find_metric()
        name = str(metric)
        board = leaderboard(lines, weights, name, greater_is_better=metric.greater_is_better)
        self._leaderboard = board.to_dict("records")
        self.best_score_ = float(board[name].iloc[0])
        self.noise_ = noise_sentence(np.array([line.per_query for line in lines]), name)

    # --------------------------------------------------------------------------------------- predicting

    def predict(self, X: Features, qid: Ids = None) -> FloatArray:
        """Score of each row, higher is ranked first.

        Parameters
        ----------
        X : (n_samples, n_features) array-like, DataFrame or sparse matrix
            Features of the rows, in the columns of the fit.
        qid : (n_samples,) array-like, optional
            Query of each row; needed with `query_features`, and not looked at otherwise.

        Returns
        -------
        (n_samples,) float64
            In the order of the rows of X.
        """
        if not self.query_features:
            return super().predict(X)
        check_is_fitted(self)
        if qid is None and not self.single_query_:
            raise ValueError(
                "'qid' must be given to predict with query_features=True, because features are compared "
                "within the query"
            )
        checked = self._known_features(X)
        return self._predict_rows(self._with_query_features(checked, Queries.from_qid(qid, checked.shape[0])))

    def _scores_of(self, X: Features, qid: Ids) -> FloatArray:
        return self.predict(X, qid=qid)

    def _predict_rows(self, X: Features) -> FloatArray:
        if self.distilled_ is not None:
            scores = self.distilled_._predict_rows(X)
        else:
            scores = np.zeros(X.shape[0])
            for member in self.members_:
                if member.weight > 0:
                    scores += member.weight * member.scores(X)
        return scores if self.calibration_ is None else self.calibration_(scores)

    def _explainable(self) -> Explained:
        check_is_fitted(self)
        if self.query_features:
            raise TypeError(
                "AutoRanker with 'query_features' cannot be explained: a score depends on all rows of the "
                "query; fit without, or explain a pipeline's ranker on the rows that QueryFeatures makes"
            )
        name = type(self).__name__
        if self.calibration_ is not None:  # a bent score is no sum
            return Explained(name, self._predict_rows, self._column_names())
        if self.distilled_ is not None:
            return explained(name, self._predict_rows, [(self.distilled_, 1.0)])
        parts = [
            (fit.model, member.weight / (len(member.fits) * fit.scale))
            for member in self.members_
            for fit in member.fits
            if member.weight > 0
        ]
        return explained(name, self._predict_rows, parts)

    def _exportable(self) -> TreeSum:
        check_is_fitted(self)
        if self.calibration_ is not None:
            raise TypeError(
                "AutoRanker with 'calibrate' cannot be exported: no format bends a score; set it to None, "
                "which ranks alike"
            )
        if self.query_features:
            raise TypeError(
                "AutoRanker with 'query_features' cannot be exported: an engine does not know the other "
                "documents of the query; compute QueryFeatures outside, and fit without"
            )
        columns = self._column_names(), self.categories_
        if self.distilled_ is not None:
            model = self.distilled_._exportable()
            assert isinstance(model, TreeSum)
            return model
        trees = []
        for member in self.members_:
            of_member = member.trees() if member.weight > 0 else []
            if of_member is None:
                raise TypeError(
                    f"AutoRanker cannot be exported: its member {member.name!r} is no sum of trees; fit with "
                    "distill=True, which gives one model of trees"
                )
            trees += [tree.scaled(member.weight) for tree in of_member]
        return TreeSum(tuple(trees), *columns)

    # ------------------------------------------------------------------------------------------- saving

    def _files(self) -> dict[str, bytes]:
        calibration = self.calibration_
        content = {
            "leaderboard": self._leaderboard,
            "members": [] if self.distilled_ is not None else member_records(self.members_),
            "calibration": None if calibration is None else calibration.state(),
        }
        files = {_CONTENT: json.dumps(content).encode()}
        if self.distilled_ is not None:
            return files | {_DISTILLED_FILE: self.distilled_.to_bytes()}
        return files | member_files(self.members_)

    def _restore(self, files: dict[str, bytes]) -> None:
        content = json.loads(files[_CONTENT])
        self._leaderboard = content["leaderboard"]
        self.members_ = read_members(content["members"], files)
        state = content["calibration"]
        self.calibration_ = None if state is None else Calibration.of_state(state)
        distilled = files.get(_DISTILLED_FILE)
        self.distilled_ = None if distilled is None else read_ranker(distilled, _DISTILLED_FILE)
