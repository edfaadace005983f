"""Passages for a question: query encoder, memory-mapped Faiss index, web search."""
