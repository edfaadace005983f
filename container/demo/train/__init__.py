"""Training the demo models."""
