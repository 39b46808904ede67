"""Blends of rankers: `EnsembleRanker` of one's own members, and `AutoRanker`, which brings its own."""
