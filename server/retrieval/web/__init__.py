"""Passages from a web search."""
