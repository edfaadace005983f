"""What the demo models learn from."""
