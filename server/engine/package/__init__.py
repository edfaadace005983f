"""Making a packaged folder: per-rank shards and golden answers."""
