"""Rows of files larger than memory, whatever their format: read in chunks, binned on disk, scored."""
