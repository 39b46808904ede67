"""Columns of features: categories as codes, and comparable scales for linear and neural scorers."""
