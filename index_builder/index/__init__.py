"""Vectors as a Faiss index folder."""
