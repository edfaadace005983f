"""The published index: memory-mapped vectors, words and passages."""
