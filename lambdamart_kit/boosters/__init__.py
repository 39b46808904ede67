"""Boosting libraries behind one protocol, and the rounds around them."""
