"""Models and indexes: found, fetched, checked."""
