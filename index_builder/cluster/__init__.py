"""The stages on a Ray cluster: the same functions, run by its tasks and actors; shards are written here alone."""
