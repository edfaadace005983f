"""A serving process: start, sockets, the step loop, liveness."""
