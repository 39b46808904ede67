"""The kernels that score rows with laid out trees: 64 rows at a time, all trees or until they may stop."""
