"""Benchmarks: one script a question. `python -m benchmarks` runs the headline comparisons of all of them."""
