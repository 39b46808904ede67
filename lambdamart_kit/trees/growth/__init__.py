"""Growing one tree: histograms, splits, partitions, and the barrier that threads meet at."""
