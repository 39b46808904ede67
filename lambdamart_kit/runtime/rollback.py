"""An estimator whose fit fails, or is interrupted, is what it was before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unchanged_on_failure(estimator: object) -> Iterator[None]:
    """Undo what the block sets on `estimator` if the block raises anything, KeyboardInterrupt included.

    An estimator that was not fitted is then still not fitted, and one that was keeps predicting with its old
    model. Attributes are put back, not copied: the block must replace what it changes.

    Examples
    --------
    >>> class Thing: ...
    >>> thing = Thing()
    >>> try:
    ...     with unchanged_on_failure(thing):
    ...         thing.model_ = "half"
    ...         raise KeyboardInterrupt
    ... except KeyboardInterrupt:
    ...     print(vars(thing))
    {}
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
