"""Load and moderation measured from outside."""
