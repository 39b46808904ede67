"""Which pairs of responses to send to annotators next."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from scipy import sparse
from scipy.linalg import solve_triangular
from scipy.special import expit

from lambdamart_kit.core import greedy
from lambdamart_kit.core.gains import check_choice, check_count, check_number
from lambdamart_kit.core.information import Information
from lambdamart_kit.core.queries import factorize_ids, run_starts
from lambdamart_kit.core.rows import as_matrix
from lambdamart_kit.core.typing import Array, ArrayLike, Features, FloatArray, IndexArray
from lambdamart_kit.explore.leaves import has_trees, leaf_features

Method: TypeAlias = Literal["d-optimal", "double-thompson", "uncertainty", "disagreement", "random"]

_ROUNDS_PER_PAIR = 10
_MAX_COLUMNS = 4096  # a dense information matrix of 128 MB


def select_pairs(
    model: Any,
    features: ArrayLike,
    candidates: ArrayLike,
    k: int,
    *,
    method: Method = "d-optimal",
    prompt: ArrayLike | None = None,
    max_per_prompt: int | None = None,
    cost: ArrayLike | None = None,
    budget: float | None = None,
    labelled: ArrayLike | None = None,
    representation: ArrayLike | None = None,
    reg_lambda: float = 1.0,
    random_state: int | np.random.Generator | None = None,
) -> IndexArray:
    r"""Choose up to `k` candidate pairs whose labels would teach a reward model the most.

    With :math:`z = \phi(a) - \phi(b)`, p the model's probability that a beats b, and
    :math:`H = \lambda I + \sum_{labelled} p (1-p) z z^\top`:

    - "d-optimal" maximises :math:`\log\det(H + \sum_{chosen} p (1-p) z z^\top)` by lazy greedy: a monotone
      submodular batch objective, so at least 63 % of the best possible gain. The first pair maximises
      :math:`\log(1 + p (1-p) z^\top H^{-1} z)`; the next are worth less the more they resemble it.
    - "double-thompson" draws two models from :math:`N(\hat\theta, H^{-1})` and asks, prompt by prompt in
      random order, about the favourite response of the one against that of the other, when they differ.
    - "uncertainty" takes the pairs with p nearest to 1/2, each by itself: near duplicates come together.
    - "disagreement" takes the pairs for which the bags of a reward model (``n_bags=10``) differ most about p,
      in standard deviations: where labels drawn again would have led to another model. Unlike "uncertainty"
      it leaves alone what is known to be a toss-up.
    - "random" is the baseline.

    Parameters
    ----------
    model : fitted reward model or ranker, or None
        Its ``predict(features)`` gives the rewards; None, before the first label, makes every p = 1/2.
    features : (n_responses, d) array-like
        Features of the responses, as the model takes them.
    candidates : (n_candidates, 2) array-like of int
        Pairs of responses.
    k : int
        Pairs to choose; fewer when there are fewer candidates or a limit binds.
    method : {"d-optimal", "double-thompson", "uncertainty", "disagreement", "random"}
        How pairs are chosen, see above.
    prompt : (n_candidates,) array-like, optional
        Prompt of each candidate, any ids; needed by `max_per_prompt`, and used by "double-thompson" (without
        it, all candidates answer one prompt).
    max_per_prompt : int, optional
        Most pairs of one prompt.
    cost, budget : (n_candidates,) array-like and float, optional
        Cost of labelling each candidate (> 0; 1 each when left out), such as :func:`reading_seconds`, and
        the largest total cost. "d-optimal", "uncertainty" and "disagreement" then take the better of greedy
        by gain and greedy by gain per cost (Leskovec et al. 2007).
    labelled : (n_labelled, 2) array-like of int, optional
        Pairs of responses that are labelled already. "d-optimal" and "double-thompson" learn from them what
        is known; every method warns of candidates that are among them.
    representation : (n_responses, p) array-like, optional
        For "d-optimal" and "double-thompson": :math:`\phi`, when it is not `features`; by default the hashed
        leaf indicators of a tree model, and the features otherwise.
    reg_lambda : float
        > 0.
    random_state : int, Generator or None
        Seed of the draws; None draws differently every time.

    Returns
    -------
    (n_chosen,) intp
        Rows of `candidates`, first choice first.

    Raises
    ------
    ValueError
        If there are no candidates, indices are out of range, a pair is of a response with itself, values
        are not finite, a limit comes without what it limits, or a method does not use `representation`.

    Warns
    -----
    UserWarning
        If candidates are the same pair, or are labelled already, or the budget pays for none of them.

    References
    ----------
    Chaloner and Verdinelli (1995), "Bayesian experimental design: a review", Statistical Science 10(3).
    Dwaracherla et al. (2024), "Efficient exploration for LLMs", ICML, section 4.3 (double Thompson).
    Leskovec et al. (2007), "Cost-effective outbreak detection in networks", KDD, section 3. Seung, Opper,
    Sompolinsky (1992), "Query by committee", COLT (disagreement).

    Examples
    --------
    Asking about the same direction twice is worth less than asking about a new one:

    >>> features = [[0.0, 0.0], [3.0, 0.0], [2.9, 0.0], [0.0, 2.0]]
    >>> select_pairs(None, features, [[0, 1], [0, 2], [0, 3]], k=2).tolist()
    [0, 2]
    """
    check_choice(method, get_args(Method), name="method")
    if representation is not None and method not in _WITH_INFORMATION:
        raise ValueError(
            f"method={method!r} does not use 'representation'; those that use it: {_WITH_INFORMATION}"
        )
    task = _Task.check(model, features, candidates, representation, labelled, prompt, reg_lambda)
    rng = np.random.default_rng(random_state)
    limits = _limits(check_count(k, name="k"), task, max_per_prompt, cost, budget)
    if method == "d-optimal":
        return _d_optimal(task, limits)
    if method == "disagreement":
        worth = _disagreement(model, task)
    else:
        worth = _WORTH[method](task, limits.k, rng)
    # Without a utility, greedy takes the pairs by worth, within the limits.
    by_worth = greedy.problem(greedy.COVERAGE, np.empty((len(worth), 0)), modular=worth)
    if method in _ADDITIVE:
        return _greedy_within(by_worth, limits)
    return greedy.maximise(by_worth, limits).items


def reading_seconds(
    n_words: ArrayLike, pairs: ArrayLike, *, words_per_minute: float = 238.0, seconds_a_label: float = 5.0
) -> FloatArray:
    r"""Time of an annotator who reads both responses of each pair and decides.

    .. math:: \text{seconds} = \text{seconds\_a\_label}
              + \frac{60}{\text{words\_per\_minute}} (\text{words}_a + \text{words}_b)

    Parameters
    ----------
    n_words : (n_responses,) array-like
        Words of each response, and of its prompt where that has to be read, too.
    pairs : (n_pairs, 2) array-like of int
        Rows of the two responses.
    words_per_minute : float
        > 0; 238 is the mean of silent reading of English non-fiction.
    seconds_a_label : float
        >= 0: what a label takes besides reading.

    Returns
    -------
    (n_pairs,) array
        Seconds, to be given to :func:`select_pairs` as `cost`.

    Raises
    ------
    ValueError
        If a value is out of range.

    References
    ----------
    Brysbaert (2019), "How many words do we read per minute? A review and meta-analysis of reading rate",
    Journal of Memory and Language 109.

    Examples
    --------
    >>> reading_seconds([119, 119, 0], [[0, 1], [0, 2]]).tolist()
    [65.0, 35.0]
    """
    words = np.asarray(n_words, dtype=np.float64)
    if words.ndim != 1 or not np.all(np.isfinite(words) & (words >= 0)):
        raise ValueError("'n_words' must hold one finite number >= 0 for each response")
    if not (np.isfinite(words_per_minute) and words_per_minute > 0):
        raise ValueError(f"'words_per_minute' must be finite and > 0; got {words_per_minute!r}")
    if not (np.isfinite(seconds_a_label) and seconds_a_label >= 0):
        raise ValueError(f"'seconds_a_label' must be finite and >= 0; got {seconds_a_label!r}")
    rows = _check_pairs(pairs, len(words), "pairs")
    return np.asarray(seconds_a_label + words[rows].sum(axis=1) * 60.0 / words_per_minute)


@dataclass(frozen=True, eq=False)
class _Task:
    """Candidates over the responses that they use, and what is known so far."""

    phi: FloatArray  # (n_used, p)
    rewards: FloatArray  # (n_used,)
    first: IndexArray
    second: IndexArray
    prompt: IndexArray | None
    information: Information
    features: Features  # of the responses that are used, as the model takes them

    @classmethod
    def check(
        cls,
        model: Any,
        features: ArrayLike,
        candidates: ArrayLike,
        representation: ArrayLike | None,
        labelled: ArrayLike | None,
        prompt: ArrayLike | None,
        reg_lambda: float,
    ) -> _Task:
        """The checked task, on the responses that some pair uses."""
        responses = as_matrix(features, "features")
        phi_of = None if representation is None else as_matrix(representation, "representation")
        n_responses = responses.shape[0]
        pairs = _check_pairs(candidates, n_responses, "candidates")
        known = _check_pairs([] if labelled is None else labelled, n_responses, "labelled")
        if not len(pairs):
            raise ValueError("'candidates' must hold at least one pair; got none")
        _warn_of_repeats(pairs, known)
        used, position = np.unique(np.concatenate([pairs, known]), return_inverse=True)
        position = position.reshape(-1, 2)
        rewards, phi = _rewards_and_representation(model, responses, phi_of, used)
        information = Information.prior(phi.shape[1], reg_lambda=reg_lambda)
        first, second = position[len(pairs) :].T
        if len(known):
            information.update(phi[first] - phi[second], _variance(rewards[first] - rewards[second]))
        code = None
        if prompt is not None:
            code = factorize_ids(prompt, "prompt")[1]
            if len(code) != len(pairs):
                raise ValueError(f"'prompt' must hold one id per candidate, {len(pairs)}; got {len(code)}")
        first, second = (np.ascontiguousarray(column) for column in position[: len(pairs)].T)
        return cls(phi, rewards, first, second, code, information, responses[used])

    @property
    def variance(self) -> FloatArray:
        """``p (1 - p)`` of each candidate."""
        return _variance(self.rewards[self.first] - self.rewards[self.second])


def _d_optimal(task: _Task, limits: greedy.Limits) -> IndexArray:
    """Greedy on log det in coordinates where H is the identity."""
    upper = np.linalg.cholesky(task.information.matrix).T
    whitened = solve_triangular(upper, task.phi.T, trans="T").T
    problem = greedy.problem(
        greedy.LOGDET, whitened, first=task.first, second=task.second, weight=task.variance
    )
    return _greedy_within(problem, limits)


def _greedy_within(problem: greedy.Problem, limits: greedy.Limits) -> IndexArray:
    """What greedy takes; with costs the better of greedy by gain and greedy by gain per cost."""
    chosen = greedy.maximise(problem, limits)
    if len(limits.cost) and np.isfinite(limits.budget):
        per_cost = greedy.maximise(problem, limits._replace(per_cost=True))
        if per_cost.gains.sum() > chosen.gains.sum():
            chosen = per_cost
    return chosen.items


def _disagreement(model: Any, task: _Task) -> FloatArray:
    """Standard deviation over the bags of the probability that the first response wins."""
    bags = getattr(model, "rewards_", ())
    if len(bags) < 2:
        raise ValueError(
            "'method' disagreement needs a reward model of several bags; "
            f"got {type(model).__name__} with {len(bags)}; fit RewardModel(n_bags=10)"
        )
    rows = model.kept_columns(task.features)
    by_bag = []
    for bag in bags:
        rewards = np.asarray(bag.predict(rows), dtype=np.float64) / model.temperature_
        by_bag.append(expit(rewards[task.first] - rewards[task.second]))
    return np.std(by_bag, axis=0, ddof=1)


def _uncertainty(task: _Task, k: int, rng: np.random.Generator) -> FloatArray:
    return task.variance


def _random(task: _Task, k: int, rng: np.random.Generator) -> FloatArray:
    return rng.random(len(task.first))


def _double_thompson(task: _Task, k: int, rng: np.random.Generator) -> FloatArray:
    """Minus the turn in which each candidate was first asked for; never asked for: last, in random order."""
    n_candidates = len(task.first)
    prompts = np.zeros(n_candidates, dtype=np.intp) if task.prompt is None else task.prompt
    lists = _ResponsesByPrompt(prompts, task.first, task.second)
    turn = np.full(n_candidates, np.inf)
    asked = 0
    for _ in range(_ROUNDS_PER_PAIR * k):
        noise = task.information.sample(np.zeros(task.phi.shape[1]), rng, size=2)
        favourites = [lists.favourites(task.rewards + task.phi @ direction) for direction in noise]
        wanted = lists.candidates(*favourites)
        wanted = rng.permutation(wanted[np.isinf(turn[wanted])])
        turn[wanted] = asked + np.arange(len(wanted))
        asked += len(wanted)
        if asked >= min(k, n_candidates):
            break
    never = np.isinf(turn)
    turn[never] = asked + rng.permutation(int(never.sum()))
    return -turn


class _ResponsesByPrompt:
    """The responses of each prompt, and the candidate that compares two of them."""

    def __init__(self, prompt: IndexArray, first: IndexArray, second: IndexArray) -> None:
        self._n_responses = int(max(first.max(), second.max())) + 1
        codes = np.unique(
            np.concatenate([prompt, prompt]) * self._n_responses + np.concatenate([first, second])
        )
        self._prompt, self._response = np.divmod(codes, self._n_responses)
        self._starts = run_starts(self._prompt)
        keys = self._key(prompt, first, second)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def favourites(self, scores: FloatArray) -> IndexArray:
        """The response of each prompt with the highest score, (n_prompts,)."""
        order = np.lexsort((-scores[self._response], self._prompt))
        best: IndexArray = self._response[order[self._starts]]
        return best

    def candidates(self, first: IndexArray, second: IndexArray) -> IndexArray:
        """The candidate that compares two responses of each prompt, where they differ and there is one."""
        keys = self._key(self._prompt[self._starts], first, second)[first != second]
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return self._order[place[self._keys[place] == keys]]

    def _key(self, prompt: IndexArray, first: IndexArray, second: IndexArray) -> IndexArray:
        low, high = np.minimum(first, second), np.maximum(first, second)
        return (prompt * self._n_responses + low) * self._n_responses + high


_WORTH: dict[str, Callable[[_Task, int, np.random.Generator], FloatArray]] = {
    "double-thompson": _double_thompson,
    "uncertainty": _uncertainty,
    "random": _random,
}

_WITH_INFORMATION = ("d-optimal", "double-thompson")

# Methods whose worth of a batch is the sum over its pairs.
_ADDITIVE = ("uncertainty", "disagreement")


def _variance(difference: FloatArray) -> FloatArray:
    p = expit(difference)
    return np.asarray(p * (1.0 - p))


def _rewards_and_representation(
    model: Any, features: Features, representation: Any, used: IndexArray
) -> tuple[FloatArray, FloatArray]:
    """Reward and phi of the responses that are used."""
    rows = features[used]
    rewards = np.zeros(len(used)) if model is None else np.asarray(model.predict(rows), dtype=np.float64)
    phi = rows
    if representation is not None:
        if np.shape(representation)[0] < used[-1] + 1:
            raise ValueError(
                f"'representation' must hold one row per response; got shape {np.shape(representation)}"
            )
        phi = representation[used]
    elif model is not None and has_trees(model):
        phi = leaf_features(model, _dense(rows))
    if np.shape(phi)[1] > _MAX_COLUMNS:
        raise ValueError(
            f"'representation' must be given when 'features' have more than {_MAX_COLUMNS} columns, for the "
            f"information matrix is dense; got {np.shape(phi)[1]}; such as a TruncatedSVD of the features"
        )
    dense = np.asarray(_dense(phi), dtype=np.float64)
    for name, values in (("features", dense), ("model.predict", rewards)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name!r} must be finite; got NaN or infinity")
    return rewards, dense


def _dense(rows: Any) -> Any:
    return rows.toarray() if sparse.issparse(rows) else rows


def _check_pairs(pairs: ArrayLike, n_responses: int, name: str) -> Array:
    rows = np.asarray(pairs)
    if rows.size == 0:
        return np.empty((0, 2), dtype=np.intp)
    if rows.ndim != 2 or rows.shape[1] != 2 or rows.dtype.kind not in "iu":
        raise ValueError(
            f"{name!r} must be (n, 2) whole numbers, the rows of two responses; got {rows.shape}"
        )
    if rows.min() < 0 or rows.max() >= n_responses:
        raise ValueError(
            f"{name!r} must name responses 0 to {n_responses - 1}; got {rows.min()} to {rows.max()}"
        )
    same = np.flatnonzero(rows[:, 0] == rows[:, 1])
    if len(same):
        raise ValueError(f"{name!r} must pair different responses; row {same[0]} is {rows[same[0]].tolist()}")
    return rows.astype(np.intp)


def _warn_of_repeats(pairs: IndexArray, known: IndexArray) -> None:
    """Warn of candidates that are one pair, in either order, and of those that are labelled."""
    both = np.sort(np.concatenate([known, pairs]), axis=1)
    _, first, code = np.unique(both, axis=0, return_index=True, return_inverse=True)
    seen_at = first[code.ravel()][len(known) :]
    repeated = np.flatnonzero(seen_at != np.arange(len(known), len(both)))
    if not len(repeated):
        return
    row = repeated[0]
    place = seen_at[row]
    what = f"row {place - len(known)}" if place >= len(known) else f"the labelled pair {place}"
    warnings.warn(
        f"'candidates' names {len(repeated)} pairs that are there already, such as row {row}, which is the "
        f"pair of {what}; it may be asked about again; drop such rows if it should not be",
        UserWarning,
        stacklevel=4,
    )


def _limits(
    k: int, task: _Task, max_per_prompt: int | None, cost: ArrayLike | None, budget: float | None
) -> greedy.Limits:
    if max_per_prompt is not None:
        check_count(max_per_prompt, name="max_per_prompt")
        if task.prompt is None:
            raise ValueError("'prompt' must be given with 'max_per_prompt'; got None")
    if cost is not None and budget is None:
        raise ValueError("'budget' must be given with 'cost'; got None")
    costs = None
    if budget is not None:
        costs = np.ones(len(task.first)) if cost is None else np.asarray(cost, dtype=np.float64)
        if costs.shape != (len(task.first),):
            raise ValueError(f"'cost' must hold one value a candidate, {len(task.first)}; got {costs.shape}")
        wrong = np.flatnonzero(~((costs > 0) & np.isfinite(costs)))
        if len(wrong):
            raise ValueError(f"'cost' must be finite and > 0; row {wrong[0]} has {costs[wrong[0]]}")
        if budget != np.inf:
            check_number(budget, name="budget", least=0.0, open_ends="low")
        if budget < costs.min():
            warnings.warn(
                f"'budget' {budget:g} pays for no candidate, the cheapest of which costs {costs.min():g}: "
                "none is chosen",
                UserWarning,
                stacklevel=3,
            )
    return greedy.limits(
        min(k, len(task.first)), group=task.prompt, max_per_group=max_per_prompt, cost=costs, budget=budget
    )
