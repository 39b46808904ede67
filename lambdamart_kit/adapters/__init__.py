"""Rankers inside the pipelines of other tools: `ranking_stage` for PyTerrier."""

from lambdamart_kit.adapters.pyterrier import ranking_stage

__all__ = ["ranking_stage"]
