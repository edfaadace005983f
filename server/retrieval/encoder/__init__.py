"""The query and passage encoder."""
