"""Measurements of the builder and of what it builds, as JSON: `python -m index_builder.bench --help`."""
