"""Policies of any class read from their files."""

from __future__ import annotations

import os

from lambdamart_kit.explore.linear import EpsilonGreedy
from lambdamart_kit.explore.personal import PersonalPolicy
from lambdamart_kit.explore.ranker_policy import RankerPolicy
from lambdamart_kit.explore.saving import PolicyFile
from lambdamart_kit.explore.thompson import LinearThompson, LogisticThompson
from lambdamart_kit.explore.ucb import LinUCB
from lambdamart_kit.rankers import saving

POLICIES: dict[str, type[PolicyFile]] = {
    cls.__name__: cls
    for cls in (EpsilonGreedy, LinUCB, LinearThompson, LogisticThompson, PersonalPolicy, RankerPolicy)
}
"""Classes that a file may hold, by name."""


def load_policy(path: str | os.PathLike[str]) -> PolicyFile:
    """Read any policy that ``save`` wrote, whatever its class.

    Parameters
    ----------
    path : str or Path
        File to read.

    Returns
    -------
    Policy
        Of the class that was saved.

    Raises
    ------
    ModelFormatError
        If the file is not a policy of this package, is damaged, or was written by a newer version.

    Examples
    --------
    >>> import tempfile
    >>> from lambdamart_kit.explore import LinUCB
    >>> path = os.path.join(tempfile.mkdtemp(), "policy.lmk")
    >>> LinUCB(0.5).partial_fit([[1.0, 0.0]], [1.0]).save(path)
    >>> load_policy(path)
    LinUCB(alpha=0.5)
    """
    name = saving.read(path).class_name
    if name not in POLICIES:
        raise saving.ModelFormatError(f"{os.fspath(path)}: holds a {name}, which is no policy of the kit")
    return POLICIES[name].load(path)
