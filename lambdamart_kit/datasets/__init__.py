"""LETOR files, the catalogue of public sets, and generated data."""

from __future__ import annotations

from lambdamart_kit.datasets.catalogue import catalogue, info
from lambdamart_kit.datasets.click_models import Cascade, DynamicBayesian, PositionBased, TrustBias
from lambdamart_kit.datasets.dataset import RankingDataset
from lambdamart_kit.datasets.errors import LetorFormatError
from lambdamart_kit.datasets.fetch import data_folder, fetch
from lambdamart_kit.datasets.folds import Fold, load_folds
from lambdamart_kit.datasets.letor.files import read_letor, write_letor
from lambdamart_kit.datasets.simulated_clicks import ClickLog, simulate_clicks
from lambdamart_kit.datasets.synthetic import load_sample, make_letor

__all__ = [
    "Cascade",
    "ClickLog",
    "DynamicBayesian",
    "Fold",
    "LetorFormatError",
    "PositionBased",
    "RankingDataset",
    "TrustBias",
    "catalogue",
    "data_folder",
    "fetch",
    "info",
    "load_folds",
    "load_sample",
    "make_letor",
    "read_letor",
    "simulate_clicks",
    "write_letor",
]
