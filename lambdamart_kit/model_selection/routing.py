"""The context in which scikit-learn passes query ids on, and what to say where it did not."""

from __future__ import annotations

from contextlib import AbstractContextManager

from sklearn import config_context

REMEDY = (
    "pass qid=... to fit inside `with lambdamart_kit.query_routing():` "
    "(for cross_validate and learning_curve: params={'qid': qid})"
)


def query_routing() -> AbstractContextManager[None]:
    """Context in which scikit-learn routes `qid` to every step that asks for it.

    The same as ``sklearn.config_context(enable_metadata_routing=True)``; worker processes of ``n_jobs``
    inherit it.

    Returns
    -------
    context manager
        Yields nothing.

    Examples
    --------
    >>> import sklearn
    >>> with query_routing():
    ...     sklearn.get_config()["enable_metadata_routing"]
    True
    """
    context: AbstractContextManager[None] = config_context(enable_metadata_routing=True)
    return context
