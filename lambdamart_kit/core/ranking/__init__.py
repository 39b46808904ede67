"""Kernels over the documents of a query: orders of ranks, pairs and their weights, blocks of ties."""
