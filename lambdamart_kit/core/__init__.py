"""Floor 0: arrays in, arrays out. NumPy, SciPy and Numba only."""
