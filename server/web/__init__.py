"""The HTTP front: Flask routes over one turn."""
