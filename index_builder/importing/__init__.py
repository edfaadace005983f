"""Indexes that others have published, turned into index folders."""
