"""A world of users whose true preferences are known, to compare policies and re-rankers in."""
