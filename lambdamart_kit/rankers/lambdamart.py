"""LambdaMART: any objective on any boosted trees."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sklearn.base import _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from lambdamart_kit.boosters.registry import boosters_that_can
from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.core.typing import FloatArray, RandomState
from lambdamart_kit.objectives import Bound, resolve_objective, weighs_documents
from lambdamart_kit.rankers.binding import bind_rows, find_objective, named_objective
from lambdamart_kit.rankers.click_learning import DEFAULT_POSITION_BIAS, POSITION_BIAS, LearnsFromClicks
from lambdamart_kit.rankers.columns.categories import Categorical
from lambdamart_kit.rankers.columns.constraints import Groups
from lambdamart_kit.rankers.steering.parameters import Callbacks, EvalMetric, RegisteredNames
from lambdamart_kit.rankers.tree_ranker import TreeRanker

if TYPE_CHECKING:
    from lambdamart_kit.files.chunk import LetorRules
    from lambdamart_kit.files.row_files import Files


class LambdaMART(LearnsFromClicks, TreeRanker):
    """Boosted trees driven by the gradient of a ranking objective (Burges 2010).

    In every round the objective turns the scores of each query into one gradient ``g`` and one hessian
    ``h`` a document, and a tree with leaf values ``-sum g / (sum h + reg_lambda)`` moves the scores. For
    the default objective, with ``z = sigma (s_high - s_low)``, each pair of documents with different labels
    contributes::

        g_high -= sigma |delta NDCG| / (1 + e^z)        g_low += the same
        h_high += sigma^2 |delta NDCG| p (1 - p)        h_low += the same          p = 1 / (1 + e^-z)

    The objective does not know which trees listen, and the trees do not know where the gradient comes from,
    so every objective runs on every booster.

    Parameters
    ----------
    objective : str, objective or callable
        A name in `lambdamart_kit.objectives.OBJECTIVES` ("ndcg", "pairwise", ...), an instance such as
        ``LambdaNDCG(truncation_level=20)``, anything with its ``bind(y, queries, sample_weight, n_threads=)``
        method, or a function ``scores -> (gradient, hessian)`` of the rows as they were given to fit (which
        therefore cannot be combined with `validation_fraction`, nor cross-validated; ``bind`` can).
    booster : {"native", "lightgbm", "xgboost"}
        Whose trees: the kit's own, or a library's. `lambdamart_kit.boosters.settings` has the table of what
        each calls the parameters below.
    n_estimators : int
        Number of trees, at most.
    learning_rate : float
        Factor on the values of each tree's leaves, > 0.
    num_leaves : int
        Leaves of a tree.
    max_depth : int, optional
        Depth of a tree; None for no limit.
    min_child_samples : int, optional
        Smallest number of documents in a leaf, each counting as its hessian over the mean hessian of the leaf
        that is split (native and LightGBM); None for 20, and for no limit with XGBoost, which has none.
    min_child_weight : float
        Smallest sum of hessians in a leaf.
    min_split_gain : float
        Smallest gain for which a leaf is split, >= 0.
    reg_lambda, reg_alpha : float
        L2 and L1 penalty on leaf values.
    subsample : float
        Share drawn for each tree: of the queries with native trees, of the rows with a library's.
    colsample_bytree, colsample_bynode : float
        Share of the features drawn for each tree, and for each split.
    max_bin : int
        Bins a feature is cut into.
    monotone_constraints : array-like of {-1, 0, 1} or dict, optional
        By column, or by feature name.
    interaction_constraints : list of lists, "pairwise", "no_interactions" or None
        Groups of columns, by index or feature name: a row's score is a sum of functions, each of the columns
        of one group. Groups may overlap, and columns in no group form one more. "no_interactions" makes every
        column a group of its own, "pairwise" every pair.
    categorical_features : "auto", array-like or None
        Columns that are categories, by index or name; "auto" takes a DataFrame's category columns.
    split_criterion : {"newton", "least_squares"}
        What splits maximise; "least_squares" fits the gradients as Burges (2010) does, native trees only.
    n_bags : int
        Number of models, each fitted on a draw of the queries with replacement; the fitted ranker is the mean
        of their scores, and one model: all trees, their leaves divided by `n_bags`. A query that was drawn m
        times has m times its weight, which gives the gradient of m copies; trees see its rows once. So
        `subsample` draws from the distinct queries of a bag, `min_child_samples` counts a row m times where
        it counts by hessians, and XGBoost's own objectives, which divide weights by their mean, have 63 % of
        the hessians of copies. Bags run side by side with native trees, each on one thread.
        Not with `warm_start`, `position`, a function as objective, files, or on a cluster.
    early_stopping_rounds : int, optional
        Stop after so many rounds without a better `eval_metric` on held-out queries, and keep the best round.
        With `n_bags` above 1 and no held-out queries, each bag stops by the queries that it did not draw.
    validation_fraction : float, optional
        Share of the queries to hold out when fit gets no X_val. Whole queries, drawn by `random_state`.
    eval_metric : str, Metric, or list of them
        Measured on held-out queries after every round; the first one decides when to stop.
    min_delta : float
        With early stopping, a round is better only if the metric is better by more than this, >= 0.
    track_training : bool
        Whether the training rows are measured too: ``evals_result_["training"]``.
    callbacks : list of callable, optional
        Each is called after every round with a `TrainingEvent`, and stops training if it returns True;
        ready-made are `stop_after`, `schedule`, `prune`, `log_to_mlflow` and `log_to_jsonl`.
    booster_params : dict, optional
        Further settings in the library's own names. Native trees know ``"checkpoint"``,
        ``"checkpoint_trees"``, ``"checkpoint_seconds"``, ``"grow_policy"`` ("leafwise" or "symmetric"),
        ``"mvs_noise"`` (0 looks at every row in the search for splits; 0.2, the default, samples rows with
        small gradients where there are 20,000 or more), ``"cat_smooth"``, ``"cat_l2"`` and
        ``"max_cat_threshold"``.
    position_bias : str, array-like, callable or PositionBias
        How to learn from clicks, when fit gets `position`: "gam", "harvest", "joint", known propensities by
        position (an array, or a function of positions), or an instance such as ``JointPropensities(p=0.5)``;
        :mod:`lambdamart_kit.clicks.position_bias` explains them. Without `position` it does nothing.
    warm_start : bool
        Keep the trees of the last fit and add to them up to `n_estimators`.
    random_state : int, RandomState or None
        Seed of all draws; None draws differently every time.
    n_jobs : int, optional
        Threads; None for all.
    verbose : int
        1 shows progress and the running metric on stderr.

    Attributes
    ----------
    booster_ : object
        The library's model. With ``booster="native"`` a ``lightgbm.Booster``, so its converters apply:
        ``treelite.frontend.from_lightgbm(ranker.booster_)`` predicts the same to the bit. For search engines,
        ONNX and C see `export`.
    best_iteration_ : int
        Number of trees that ``predict`` uses: those up to the best round, of all bags together.
    best_score_ : float
        `eval_metric` at that round, the mean over bags; NaN without held-out queries.
    evals_result_ : dict
        ``{"validation": {"ndcg@10": [...]}}``, one value a round; empty without held-out queries.
        With bags ``{"bag 0": {"ndcg@10": [...]}, "bag 1": ...}``.
    bag_iterations_ : list of int, or None
        Trees of each bag, in the order in which they stand in the model; None with ``n_bags=1``.
    oob_scores_ : (n_samples,) float64, or None
        Score of each training row, in the order of `fit`, by the bags that did not draw its query: their
        mean. NaN where every bag drew it, and for queries that `validation_fraction` held out. A file does
        not keep it. With early stopping these queries have chosen the number of trees, so it flatters a
        little.
    oob_score_ : float or None
        `eval_metric` of these scores over the queries that have them.
    feature_importances_ : (n_features,) float64
        Share of the total split gain.
    fit_times_ : dict
        Seconds spent on "data", "gradient", "evaluation" and "trees" (which is all the rest); of bags, added
        up over those that ran side by side.
    propensities_ : (n_positions,) float64, or None
        How much each position is looked at, relative to position 1, as estimated from `position` and clicks;
        ``propensity_table()`` and ``plot_propensities()`` show it.
    unclick_propensities_ : (n_positions,) float64, or None
        With ``position_bias="joint"``: the same for documents that were not clicked.
    n_features_in_, n_queries_in_ : int
        Columns and queries that fit saw.
    feature_names_in_ : (n_features,) array of str
        When X had column names.

    Notes
    -----
    Where the defaults come from: `n_estimators` aside, they are LightGBM's. Smaller steps (rate 0.05, 15
    leaves, 80 % of the queries, 60 % of the columns) were compared with them by NDCG@10: ahead by .005 on
    average of five small sets, by .001 with a standard error of .006 on the test queries of MQ2008, so the
    known ones stayed. ``reg_lambda=0`` because a penalty is measured against hessians, whose size differs a
    thousandfold between objectives. ``n_bags=10`` is worth more than any of them: .707 instead of .700 on
    MQ2008. `benchmarks/RESULTS-quality.md` has the figures.

    References
    ----------
    Burges (2010), From RankNet to LambdaRank to LambdaMART: an overview, MSR-TR-2010-82.
    Breiman (1996), Bagging predictors, Machine Learning 24 (`n_bags`, out-of-bag scores).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, qid = rng.normal(size=(400, 4)), np.repeat(np.arange(40), 10)
    >>> y = (X[:, 0] + X[:, 1] > 1).astype(int)
    >>> ranker = LambdaMART(n_estimators=20, random_state=0).fit(X[:200], y[:200], qid=qid[:200])
    >>> ranker.score(X[200:], y[200:], qid=qid[200:]) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **TreeRanker._parameter_constraints,
        "objective": [str, HasMethods("bind"), callable],
        "booster": [RegisteredNames(lambda: boosters_that_can("runs_objectives"))],
        "min_child_samples": [Interval(Integral, 1, None, closed="left"), None],
        "split_criterion": [StrOptions({"newton", "least_squares"})],
        "position_bias": POSITION_BIAS,
    }
    saved_attributes = (*TreeRanker.saved_attributes, *LearnsFromClicks._estimates)

    def __init__(
        self,
        objective: Any = "ndcg",
        *,
        booster: str = "native",
        n_estimators: int = 300,
        learning_rate: float = 0.1,
        num_leaves: int = 31,
        max_depth: int | None = None,
        min_child_samples: int | None = None,
        min_child_weight: float = 1e-3,
        min_split_gain: float = 0.0,
        reg_lambda: float = 0.0,
        reg_alpha: float = 0.0,
        subsample: float = 1.0,
        colsample_bytree: float = 1.0,
        colsample_bynode: float = 1.0,
        max_bin: int = 255,
        monotone_constraints: Sequence[int] | Mapping[str, int] | None = None,
        interaction_constraints: Groups = None,
        categorical_features: Categorical = "auto",
        split_criterion: str = "newton",
        n_bags: int = 1,
        early_stopping_rounds: int | None = None,
        validation_fraction: float | None = None,
        eval_metric: EvalMetric = "ndcg@10",
        min_delta: float = 0.0,
        track_training: bool = False,
        callbacks: Callbacks = None,
        booster_params: Mapping[str, Any] | None = None,
        position_bias: Any = DEFAULT_POSITION_BIAS,
        warm_start: bool = False,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.objective = objective
        self.booster = booster
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.max_depth = max_depth
        self.min_child_samples = min_child_samples
        self.min_child_weight = min_child_weight
        self.min_split_gain = min_split_gain
        self.reg_lambda = reg_lambda
        self.reg_alpha = reg_alpha
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.colsample_bynode = colsample_bynode
        self.max_bin = max_bin
        self.monotone_constraints = monotone_constraints
        self.interaction_constraints = interaction_constraints
        self.categorical_features = categorical_features
        self.split_criterion = split_criterion
        self.n_bags = n_bags
        self.early_stopping_rounds = early_stopping_rounds
        self.validation_fraction = validation_fraction
        self.eval_metric = eval_metric
        self.min_delta = min_delta
        self.track_training = track_training
        self.callbacks = callbacks
        self.booster_params = booster_params
        self.position_bias = position_bias
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_files(
        self,
        files: Files,
        *,
        y: str = "label",
        qid: str = "qid",
        sample_weight: str | None = None,
        features: Sequence[str] | None = None,
        ignore: Sequence[str] = (),
        docid: str | None = "docid",
        clip: float | None = None,
        letor: LetorRules | None = None,
        eval_files: Files | None = None,
        work_dir: str | os.PathLike[str] | None = None,
    ) -> Self:
        """Fit on files of more rows than fit in memory; the model is that of `fit` on the same rows.

        The files are read twice, a chunk at a time: once for labels, queries and a sample that the edges of
        the bins come from, and once to write the bins, one byte a value, to memory-mapped files. Training
        touches only those. In memory stay labels, ids and what training keeps of each row, about 100 bytes a
        row however many features there are. With ``booster="native"`` the trees are bit for bit those of
        `fit`; ``booster="xgboost"`` uses XGBoost's external memory, whose trees depend on how rows fall into
        chunks.

        Parameters
        ----------
        files : path, glob, folder, or list of them
            LETOR text (plain, ``.gz``, ``.zst``), Parquet (``.parquet``, ``.pq``) or CSV (``.csv``, also
            compressed), all of one kind. Rows of a query may stand anywhere, in several files too.
        y, qid : str
            Columns with the label and the query's id. LETOR lines have both, and nothing is to be named.
        sample_weight : str, optional
            Column with the weight of the row's query; in `eval_files`, too.
        features : sequence of str, optional
            Columns to learn from; all that have no other role by default.
        ignore : sequence of str
            Columns to leave out.
        docid : str, optional
            Column with names of documents, if there is one: it is not a feature.
        clip : float, optional
            Features beyond ``-clip`` and ``clip`` become these.
        letor : LetorRules, optional
            How LETOR lines are written, where they are not as LETOR has them.
        eval_files : like `files`, optional
            Held-out queries to measure on after every round; they win over `validation_fraction`.
        work_dir : path, optional
            Where the bins go: 2 to 4 bytes a value while training, 1 byte kept. What is there from an
            earlier fit on files of the same content is used again. By default a folder in the system's
            place for temporary files, removed at the end: mind that this may be kept in memory.

        Returns
        -------
        LambdaMART
            The fitted ranker itself.

        Raises
        ------
        ValueError
            If a file, a column or a value is not usable: the message names it.
        OSError
            If a file cannot be opened, or the disk is full.

        Examples
        --------
        >>> import tempfile
        >>> from lambdamart_kit.datasets import make_letor, write_letor
        >>> folder, data = tempfile.mkdtemp(), make_letor(n_queries=20, random_state=0)
        >>> write_letor(data, folder + "/train.txt")
        >>> from_files = LambdaMART(n_estimators=3, random_state=0).fit_files(folder + "/*.txt")
        >>> in_memory = LambdaMART(n_estimators=3, random_state=0).fit(data.X, data.y, data.qid)
        >>> from_files.booster_.model_to_string() == in_memory.booster_.model_to_string()
        True
        """
        from lambdamart_kit.files.chunk import Columns, LetorRules
        from lambdamart_kit.rankers.from_files import fit_files

        named = None if features is None else tuple(features)
        rules = LetorRules() if letor is None else letor
        columns = Columns(y, qid, sample_weight, docid, named, tuple(ignore), clip=clip, letor=rules)
        fit_files(self, files, columns, eval_files, work_dir)
        return self

    @property
    def booster_name(self) -> str:
        """Key in `BOOSTERS`: the parameter 'booster'."""
        return self.booster

    def _weighs_documents(self) -> bool:
        return weighs_documents(named_objective(self.objective))

    def _bind(self, train: OrderedRows) -> Bound:
        objective = find_objective(self.objective, train, held_out=self.validation_fraction)
        return bind_rows(objective, train, n_threads=self._n_threads())

    def bind_part(self, train: OrderedRows, labels: FloatArray) -> Bound:
        """The objective bound to whole queries of a larger set; see `TreeRanker.bind_part`.

        Parameters
        ----------
        train : OrderedRows
            The whole queries to bind to.
        labels : (n_samples,) array
            Labels of all rows, of other parts too, by which labels are checked and mapped.

        Returns
        -------
        Bound
            Gives gradient and hessian of these rows.
        """
        return bind_rows(resolve_objective(self.objective), train, n_threads=self._n_threads())
