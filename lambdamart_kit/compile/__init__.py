"""How kernels are compiled: ahead of everything else in the house."""
