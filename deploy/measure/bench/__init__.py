"""Load on a chat server, and what it did with it: workloads, closed and open load, figures, reports."""
