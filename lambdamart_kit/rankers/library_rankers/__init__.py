"""The libraries' own ranking objectives, under the kit's parameter names and the kit's contract.

`lambdamart_kit.boosters.settings` has the table of parameter names. What differs between the objectives:

- XGBoost's pair hessian is twice LightGBM's, so with the same penalty its leaves are half as large.
- Both divide a pair's weight by the distance of its scores and rescale each query
  (LightGBM: ``lambdarank_norm``; XGBoost: ``lambdarank_normalization``, ``lambdarank_score_normalization``).
- Truncation: LightGBM ``lambdarank_truncation_level=30``, XGBoost ``lambdarank_num_pair_per_sample=32``.
- Both break ties of scores by position, also in the first round where all scores are equal. The kit puts
  rows in an order made from their content, so their result does not depend on how the rows came.
- Labels: LightGBM looks gains up by whole-number label, XGBoost shifts a 32-bit integer. The kit gives both
  the gains ``2**y - 1`` themselves where labels are fractions or too large for that.
"""

from lambdamart_kit.rankers.library_rankers.catboost import CatBoostRanker
from lambdamart_kit.rankers.library_rankers.lightgbm import LightGBMRanker
from lambdamart_kit.rankers.library_rankers.xgboost import XGBoostRanker

__all__ = ["CatBoostRanker", "LightGBMRanker", "XGBoostRanker"]
