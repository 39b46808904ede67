"""Preference models: Bradley-Terry strengths, reward models, preference pairs and what to check in them."""

from lambdamart_kit.preferences.audit import AuditReport, audit
from lambdamart_kit.preferences.dpo import DPOPolicy
from lambdamart_kit.preferences.noise import cleaned, label_noise
from lambdamart_kit.preferences.pairs import PreferencePairs
from lambdamart_kit.preferences.reward import RewardModel
from lambdamart_kit.preferences.strengths.bradley_terry import BradleyTerry
from lambdamart_kit.preferences.strengths.plackett_luce import PlackettLuce
from lambdamart_kit.preferences.text import SentenceEmbeddings, TextFeatures, TfidfFeatures

__all__ = [
    "AuditReport",
    "BradleyTerry",
    "DPOPolicy",
    "PlackettLuce",
    "PreferencePairs",
    "RewardModel",
    "SentenceEmbeddings",
    "TextFeatures",
    "TfidfFeatures",
    "audit",
    "cleaned",
    "label_noise",
]
