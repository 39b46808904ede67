"""Preference models: Bradley-Terry strengths, reward models, preference pairs and what to check in them.

Every name loads on first use: an audit of a file needs neither compiled kernels nor scikit-learn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lambdamart_kit.preferences.auditing.audit import audit as audit
    from lambdamart_kit.preferences.auditing.diversity import distinct_n as distinct_n
    from lambdamart_kit.preferences.auditing.diversity import generation_diversity as generation_diversity
    from lambdamart_kit.preferences.auditing.diversity import self_similarity as self_similarity
    from lambdamart_kit.preferences.auditing.report import AuditReport as AuditReport
    from lambdamart_kit.preferences.auditing.sameness import Sameness as Sameness
    from lambdamart_kit.preferences.auditing.sameness import sameness as sameness
    from lambdamart_kit.preferences.dpo import DPOPolicy as DPOPolicy
    from lambdamart_kit.preferences.judges.agreement import krippendorff_alpha as krippendorff_alpha
    from lambdamart_kit.preferences.judges.crowd import CrowdBradleyTerry as CrowdBradleyTerry
    from lambdamart_kit.preferences.judges.report import judge_report as judge_report
    from lambdamart_kit.preferences.noise import cleaned as cleaned
    from lambdamart_kit.preferences.noise import label_noise as label_noise
    from lambdamart_kit.preferences.pairs import PreferencePairs as PreferencePairs
    from lambdamart_kit.preferences.reading.layouts import LAYOUTS as LAYOUTS
    from lambdamart_kit.preferences.reward import RewardModel as RewardModel
    from lambdamart_kit.preferences.strengths.bradley_terry import BradleyTerry as BradleyTerry
    from lambdamart_kit.preferences.strengths.plackett_luce import PlackettLuce as PlackettLuce
    from lambdamart_kit.preferences.text import SentenceEmbeddings as SentenceEmbeddings
    from lambdamart_kit.preferences.text import TextFeatures as TextFeatures
    from lambdamart_kit.preferences.text import TfidfFeatures as TfidfFeatures

_HOME = {
    "LAYOUTS": "reading.layouts",
    "AuditReport": "auditing.report",
    "audit": "auditing.audit",
    "BradleyTerry": "strengths.bradley_terry",
    "CrowdBradleyTerry": "judges.crowd",
    "DPOPolicy": "dpo",
    "PlackettLuce": "strengths.plackett_luce",
    "PreferencePairs": "pairs",
    "RewardModel": "reward",
    "SentenceEmbeddings": "text",
    "TextFeatures": "text",
    "TfidfFeatures": "text",
    "cleaned": "noise",
    "Sameness": "auditing.sameness",
    "distinct_n": "auditing.diversity",
    "generation_diversity": "auditing.diversity",
    "sameness": "auditing.sameness",
    "self_similarity": "auditing.diversity",
    "judge_report": "judges.report",
    "krippendorff_alpha": "judges.agreement",
    "label_noise": "noise",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
