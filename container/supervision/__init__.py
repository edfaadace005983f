"""PID 1's work: children started, watched, restarted within a budget, and drained."""
