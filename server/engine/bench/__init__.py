"""Measuring the engine: `python -m server.engine.bench`."""
