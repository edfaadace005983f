"""What begins with an index that is there: one that somebody else made, or one's own that is brought up to date."""
