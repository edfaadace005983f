"""Documents cut into passages: windows of sentences under one heading."""

from index_builder.passages.window import split_sentences

__all__ = ["split_sentences"]
