"""What `deploy package` is about to write."""
