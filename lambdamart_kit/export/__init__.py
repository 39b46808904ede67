"""Rankers as files that search engines and other tools score with.

`EXPORTS` lists the formats. Each of them reads plain trees (:mod:`lambdamart_kit.trees.plain_tree`) or plain
weights (:mod:`lambdamart_kit.export.model`), so it works for every booster, and none knows a ranker.

An export scores every row of float32 values as the ranker does, or it is refused and the message says why.
"""

from lambdamart_kit.export.exporting import Exported as Exported
from lambdamart_kit.export.exporting import export_model as export_model
from lambdamart_kit.export.format import EXPORTS as EXPORTS
from lambdamart_kit.export.format import find_format as find_format

__all__ = ["EXPORTS", "Exported", "export_model", "find_format"]
