"""Making a fitted ranker of trees faster: fewer trees, and documents that stop early.

Queries that the ranker was not trained on are parted. On a third, candidates are made: the first trees of
the model, and exits at which documents stop (:mod:`lambdamart_kit.trees.scoring.exits`). They are put in a
fixed order, from the safest to the fastest. On the others they are tested in that order, until the first
one of which it cannot be said that it loses no more than the tolerance.
"""
