"""Rankers of several goals, one for each weighting, and the front of those that no other is better than."""
