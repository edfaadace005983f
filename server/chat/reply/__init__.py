"""From tokens to text that may leave."""
