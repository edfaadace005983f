"""Builds the passage index offline: documents, passages, embeddings, index, evaluation, publication."""
