"""What starts the image: supervisor, preflight, artifacts, gunicorn settings."""
