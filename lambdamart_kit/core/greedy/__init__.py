r"""The lazy greedy maximiser: one routine for diversified re-ranking and for choosing pairs to annotate.

It maximises, one item at a time,

.. math:: F(A) = \sum_{i \in A} m_i + c \, U(A), \qquad |A| \le k

with a modular part m (relevance; zero when annotating) and a set utility U:

============ ========================================================== ========== ======== ===============
`kind`       U(A)                                                       submodular monotone greedy reaches
============ ========================================================== ========== ======== ===============
FACILITY     sum over rows v of w_v max over i in A of sim(v, i)+^2     yes        yes      1 - (1 - 1/k)^k
COVERAGE     sum over topics t of w_t (1 - prod over i in A (1 - p_it)) yes        yes      1 - (1 - 1/k)^k
LOGDET       log det(I + sum over i in A of w_i z_i z_i')               yes        yes      1 - (1 - 1/k)^k
REDUNDANCY   - sum over pairs in A of sim(i, j)+                        yes        no       no bound
MMR          - sum over i in A of max over earlier j of sim(j, i)+      by gains   no       no bound
MAX_SUM      sum over pairs in A of abs(z_i - z_j) / 2                  super-     yes      1/2 (m halved)
============ ========================================================== ========== ======== ===============

``x+ = max(x, 0)``. What is not monotone should be allowed to stop early. The 1/2 of MAX_SUM holds when the
modular part is given at half its weight (Borodin, Lee and Ye 2012, theorem 1). MMR is a rule for the next
item rather than a set function: its sum depends on the order, but its gains only ever fall, so the same
routine serves it.

A submodular gain only ever falls as A grows, so a gain computed earlier bounds the gain now: `lazy`
re-evaluates an item only when its bound comes to the top (Minoux 1978), and picks exactly what plain greedy
picks, ties included (the lowest index wins). MAX_SUM's gains grow, so it always runs plain.

Items hold what they need from the chosen ones as running numbers and catch up when evaluated, so nothing of
size n x n is needed except a facility's similarity, and that only where it is quicker than the features.
"""

from lambdamart_kit.core.greedy.maximiser import first_gains, maximise, maximise_into
from lambdamart_kit.core.greedy.task import (
    COVERAGE,
    FACILITY,
    KINDS,
    LOGDET,
    MAX_SUM,
    MMR,
    NO_FLOATS,
    NO_VECTORS,
    REDUNDANCY,
    Limits,
    Problem,
    Selection,
    limits,
    problem,
)

__all__ = [
    "COVERAGE",
    "FACILITY",
    "KINDS",
    "LOGDET",
    "MAX_SUM",
    "MMR",
    "NO_FLOATS",
    "NO_VECTORS",
    "REDUNDANCY",
    "Limits",
    "Problem",
    "Selection",
    "first_gains",
    "limits",
    "maximise",
    "maximise_into",
    "problem",
]
