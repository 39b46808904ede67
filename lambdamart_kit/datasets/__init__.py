"""LETOR files, the catalogue of public sets, and generated data."""
