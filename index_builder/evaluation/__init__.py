"""What an index finds of what exact search finds, how fast, and where it should be operated."""
