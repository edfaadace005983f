"""Hours of mixed requests with faults among them, and books that must balance at the end."""
