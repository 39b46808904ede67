"""Preference models: Bradley-Terry strengths, reward models, preference pairs and what to check in them."""

from lambdamart_kit.preferences.bradley_terry import BradleyTerry
from lambdamart_kit.preferences.pairs import PreferencePairs

__all__ = ["BradleyTerry", "PreferencePairs"]
