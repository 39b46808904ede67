"""The native boosted-tree engine: binning, histograms, splits, growth, and hand-over to a LightGBM model."""
