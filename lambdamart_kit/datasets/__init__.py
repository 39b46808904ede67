"""LETOR files, the catalogue of public sets, and generated data."""

from __future__ import annotations

from lambdamart_kit.datasets.dataset import RankingDataset
from lambdamart_kit.datasets.synthetic import make_letor

__all__ = ["RankingDataset", "make_letor"]
