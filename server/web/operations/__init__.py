"""/ping and /metrics."""
