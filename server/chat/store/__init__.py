"""Where conversations live between requests: one row a turn, behind one set of rules."""
