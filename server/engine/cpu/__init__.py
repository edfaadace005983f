"""The native CPU kernels and their Python side."""
