"""The LETOR text format: reading, writing and caching, in plain and compressed files."""
