"""Kernels on the ranking of each query: pair gradients, listwise losses, ranking metrics.

A document's row can stand in four orders here. Each is a permutation of the one above it:

    given     as the user passed the rows                            X, y, qid
       |      `Queries.order`: the rows of a query become neighbours
    ordered   query after query                                      scores, gradient, hessian
       |      `LabelledQueries.layout`: within a query by label
    layout    labels descending                                      LabelledQueries.label and .gain
       |      `Ranked.order`: a stable sort of one query by score
    ranked    scores descending                                      all other arrays of Ranked

The sort by score is stable and starts from the layout. So documents of equal score stand with the larger
label first, whatever order the rows were given in.
"""
