"""Splits of rows by query: folds, random draws, and splits in time."""

from __future__ import annotations

import re
import warnings
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from sklearn.model_selection import BaseCrossValidator, TimeSeriesSplit
from sklearn.utils import check_random_state

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, Features, Ids, IndexArray
from lambdamart_kit.model_selection.routing import REMEDY


class _QuerySplitter(BaseCrossValidator):
    """Splits rows by query; asks for `qid`."""

    __metadata_request__split: ClassVar[dict[str, bool]] = {"qid": True, "groups": True}

    def split(
        self, X: Features, y: Any = None, groups: Ids = None, qid: Ids = None
    ) -> Iterator[tuple[IndexArray, IndexArray]]:
        """Training and test rows of each split.

        Parameters
        ----------
        X : (n_samples, n_features) array-like
            Only its length counts.
        y : ignored
        groups, qid : (n_samples,) array-like
            Query of each row, under either name; one is required.

        Yields
        ------
        train, test : (n,) intp arrays
            Row indices, whole queries, query by query.

        Raises
        ------
        ValueError
            If there is no `qid`, or there are fewer queries than the splits need.
        """
        ids = groups if qid is None else qid
        if ids is None:
            raise ValueError(f"{type(self).__name__}.split got no 'qid'; {REMEDY}")
        queries = Queries.from_qid(ids, X.shape[0] if hasattr(X, "shape") else len(X))
        for train, test in self._split_ids(queries.ids, queries.sizes):
            yield _rows_of(queries, train), _rows_of(queries, test)

    def _split_ids(self, ids: Array, sizes: IndexArray) -> Iterator[tuple[IndexArray, IndexArray]]:
        """`_split_queries`, for splitters that look at the query ids, too; they stand in ascending order."""
        return self._split_queries(sizes)

    @abstractmethod
    def _split_queries(self, sizes: IndexArray) -> Iterator[tuple[IndexArray, IndexArray]]:
        """Training and test queries of each split, given the size of each query in order of id."""

    def get_n_splits(self, X: Features = None, y: Any = None, groups: Ids = None, qid: Ids = None) -> int:
        """Return the number of splits."""
        return int(self.n_splits)


class QueryKFold(_QuerySplitter):
    """K folds of whole queries, each the test part once.

    Folds hold equally many queries, to within one, and about equally many rows. The fold of a query does
    not depend on the order of the rows.

    Parameters
    ----------
    n_splits : int
        Number of folds, at least 2.
    shuffle : bool
        Draw the folds at random; otherwise queries are dealt out in ascending order of id.
    random_state : int, RandomState or None
        Seed of the shuffle.

    Examples
    --------
    >>> for train, test in QueryKFold(2).split(np.zeros(5), qid=["b", "a", "b", "c", "a"]):
    ...     print(train, test)
    [0 2] [1 4 3]
    [1 4 3] [0 2]
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        shuffle: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.random_state = random_state

    def _split_queries(self, sizes: IndexArray) -> Iterator[tuple[IndexArray, IndexArray]]:
        n_queries = len(sizes)
        if not 2 <= self.n_splits <= n_queries:
            raise ValueError(
                f"'n_splits' must be at least 2 and at most the number of queries, {n_queries}; "
                f"got {self.n_splits!r}"
            )
        turn = np.arange(n_queries)
        if self.shuffle:
            turn = check_random_state(self.random_state).permutation(n_queries)
        fold_of = np.empty(n_queries, dtype=np.intp)
        rows = np.zeros(self.n_splits, dtype=np.intp)
        for start in range(0, n_queries, self.n_splits):
            dealt = turn[start : start + self.n_splits]
            largest_first = dealt[np.argsort(-sizes[dealt], kind="stable")]
            folds = np.argsort(rows, kind="stable")[: len(dealt)]
            fold_of[largest_first] = folds
            rows[folds] += sizes[largest_first]
        for fold in range(self.n_splits):
            in_test = fold_of[turn] == fold
            yield turn[~in_test], turn[in_test]


class QueryShuffleSplit(_QuerySplitter):
    """Random splits of whole queries into a training and a test part.

    Parameters
    ----------
    n_splits : int
        Number of splits.
    test_size, train_size : float, int or None
        Share (float) or number (int) of the queries. Without a `train_size`, all queries that are not in the
        test part.
    random_state : int, RandomState or None
        Seed.

    Examples
    --------
    >>> splitter = QueryShuffleSplit(1, test_size=1, random_state=0)
    >>> next(splitter.split(np.zeros(5), qid=["b", "a", "b", "c", "a"]))
    (array([0, 2, 1, 4]), array([3]))
    """

    def __init__(
        self,
        n_splits: int = 10,
        *,
        test_size: float | int = 0.2,
        train_size: float | int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_splits = n_splits
        self.test_size = test_size
        self.train_size = train_size
        self.random_state = random_state

    def _split_queries(self, sizes: IndexArray) -> Iterator[tuple[IndexArray, IndexArray]]:
        n_queries = len(sizes)
        n_test = _share(self.test_size, n_queries, name="test_size")
        rest = n_queries - n_test
        n_train = rest if self.train_size is None else _share(self.train_size, n_queries, name="train_size")
        if not 1 <= n_train <= rest:
            raise ValueError(
                f"'train_size' and 'test_size' must leave queries for both parts: {n_train} and {n_test} "
                f"of {n_queries} queries; got train_size={self.train_size!r}, test_size={self.test_size!r}"
            )
        rng = check_random_state(self.random_state)
        for _ in range(self.n_splits):
            turn = rng.permutation(n_queries)
            yield turn[n_test : n_test + n_train], turn[:n_test]


class QueryTimeSeriesSplit(_QuerySplitter):
    """Splits of queries in time: every test part is later than all queries it is tested against.

    The queries stand in order of time and are cut into ``n_splits + 1`` parts, as scikit-learn's
    ``TimeSeriesSplit`` cuts rows. Split number i tests part i and trains on the parts before it, less the
    queries of the very time at which the test part begins.

    Parameters
    ----------
    n_splits : int
        Number of splits.
    time : mapping or callable, optional
        From a query's id to its time: any values that can be compared, such as dates. None takes the ids
        themselves, in ascending order.
    max_train_size : int, optional
        Number of queries to train on, at most: the latest ones. None for all.
    test_size : int, optional
        Number of queries in each test part; ``n_queries // (n_splits + 1)`` by default.
    gap : int
        Number of queries to leave out between the training part and the test part.

    Examples
    --------
    >>> day = {"b": "2024-01-03", "a": "2024-01-05", "c": "2024-01-01"}
    >>> for train, test in QueryTimeSeriesSplit(2, time=day).split(np.zeros(5), qid=list("baccb")):
    ...     print(train, test)
    [2 3] [0 4]
    [2 3 0 4] [1]
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        time: Any = None,
        max_train_size: int | None = None,
        test_size: int | None = None,
        gap: int = 0,
    ) -> None:
        self.n_splits = n_splits
        self.time = time
        self.max_train_size = max_train_size
        self.test_size = test_size
        self.gap = gap

    def _split_ids(self, ids: Array, sizes: IndexArray) -> Iterator[tuple[IndexArray, IndexArray]]:
        time_of = self.time if callable(self.time) else self._lookup
        times = np.array([time_of(name) for name in ids.tolist()]) if self.time is not None else ids
        _check_times(times, ids, given=self.time is not None)
        turn = np.argsort(times, kind="stable")
        splitter = TimeSeriesSplit(
            self.n_splits, max_train_size=self.max_train_size, test_size=self.test_size, gap=self.gap
        )
        in_time = times[turn]
        for train, test in splitter.split(turn):
            # Nothing is learned from queries of the time at which the test part begins.
            earlier = train[in_time[train] < in_time[test[0]]]
            if not len(earlier):
                raise ValueError(
                    f"'time' must tell training queries from test queries; all {len(train)} before a test "
                    f"part have its time, {in_time[test[0]]!r}"
                )
            yield turn[earlier], turn[test]

    def _split_queries(self, sizes: IndexArray) -> Iterator[tuple[IndexArray, IndexArray]]:
        raise NotImplementedError("queries are split by their ids")

    def _lookup(self, name: Any) -> Any:
        if name not in self.time:
            raise ValueError(f"'time' must have a time for every query; it has none for {name!r}")
        return self.time[name]


_DIGITS = re.compile(r"(\d+)")


def _check_times(times: Array, ids: Array, *, given: bool) -> None:
    """Refuse missing times, and warn of text whose numbers are not in order, such as 'q10' before 'q2'."""
    missing = np.array([time is None or bool(time != time) for time in times.tolist()])
    if times.dtype.kind == "M":
        missing |= np.isnat(times)
    if missing.any():
        name = ids.tolist()[int(np.argmax(missing))]
        raise ValueError(f"'time' must have a time for every query; that of {name!r} is missing")
    if times.dtype.kind not in "US":
        return
    texts = np.sort(times).tolist()
    numbered = [tuple(_DIGITS.split(text)[::2]) for text in texts]
    numbers = [tuple(map(int, _DIGITS.findall(text))) for text in texts]
    for at in range(1, len(texts)):
        if numbered[at] == numbered[at - 1] and numbers[at] < numbers[at - 1]:
            what = "'time'" if given else "the ids of queries, which stand for times without 'time',"
            warnings.warn(
                f"{what} are text and sorted as text: {texts[at - 1]!r} comes before {texts[at]!r}; give "
                "numbers or dates as 'time', such as time=lambda name: int(name[1:])",
                UserWarning,
                stacklevel=5,
            )
            return


def _rows_of(queries: Queries, selected: IndexArray) -> IndexArray:
    """Rows of the `selected` queries, query by query."""
    sizes = queries.sizes[selected]
    shift = np.repeat(queries.ptr[selected] - (np.cumsum(sizes) - sizes), sizes)
    rows: IndexArray = queries.order[np.arange(len(shift)) + shift]
    return rows


def _share(size: float | int, n_queries: int, *, name: str) -> int:
    """Number of queries that a share or a number of them means."""
    if isinstance(size, (int, np.integer)) and not isinstance(size, bool) and size > 0:
        return int(size)
    if isinstance(size, (float, np.floating)) and 0 < size < 1:
        return int(np.ceil(size * n_queries) if name == "test_size" else np.floor(size * n_queries))
    raise ValueError(f"{name!r} must be a share between 0 and 1 or a number of queries >= 1; got {size!r}")
