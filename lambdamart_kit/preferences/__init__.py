"""Preference data: Bradley-Terry strengths, reward models, DPO algebra."""
