"""What one client may take of the server."""
