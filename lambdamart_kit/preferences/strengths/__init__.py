"""One strength per item from pairwise outcomes: Bradley-Terry and what belongs to it."""
