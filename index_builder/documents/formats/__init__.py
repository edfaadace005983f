"""Formats of files that are a document each."""
