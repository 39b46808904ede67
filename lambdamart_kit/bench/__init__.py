"""Experiments: run rankers over folds, compare them with paired tests, report."""
