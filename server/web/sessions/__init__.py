"""GET and DELETE /sessions/{id}."""
